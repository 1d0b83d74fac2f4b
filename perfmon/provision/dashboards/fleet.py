"""Fleet overview: all that is watched, at one look, and the way from there to one target."""

from perfmon.provision.dashboards.asked import (
    CERTIFICATE,
    GOOD_AT_ZERO,
    PERFMON,
    PHASE_COLORS,
    PHASES,
    REASON_COLORS,
    RELOADS,
    TARGET,
    TARGETS,
    TO_TARGET,
    UP_AND_DOWN,
    alerts,
    opens,
    quantile,
    success,
)
from perfmon.provision.grafana import (
    Board,
    Column,
    Frame,
    Panel,
    Query,
    Row,
    gauges,
    heat,
    lines,
    number,
    states,
    targets_table,
)

__all__ = ["board"]


def board() -> Board:
    """All that is watched, at one look."""
    return Board(
        uid="perfmon-fleet",
        title="perfmon / Fleet overview",
        description="Everything that perfmon watches: targets, processes, machines, and perfmon itself.",
        variables=TARGETS,
        annotations=(
            alerts(f'alertname!="Watchdog", {PERFMON}', "{{target}} {{group}} {{mountpoint}}"),
            RELOADS,
        ),
        rows=(
            Row(1, "Now", _now()),
            Row(2, "Targets", _targets()),
            Row(3, "Processes", _processes()),
            Row(4, "Machines", _machines()),
            Row(5, "perfmon itself", _itself()),
        ),
    )


def _now() -> tuple[Panel, ...]:
    return (
        number(
            Frame(11, "Targets up", "Targets whose last run succeeded.", "short", 4, 4, ((None, "green"),)),
            Query(f"count(probe_success{{{TARGET}}} == 1) or vector(0)"),
        ),
        number(
            Frame(12, "Targets down", "Targets whose last run failed.", "short", 4, 4, GOOD_AT_ZERO),
            Query(f"count(probe_success{{{TARGET}}} == 0) or vector(0)"),
        ),
        number(
            Frame(
                13,
                "Success",
                "Share of the runs in the chosen time that succeeded.",
                "percentunit",
                4,
                4,
                ((None, "red"), (0.95, "orange"), (0.99, "green")),
            ),
            Query(success("", "$__range")),
        ),
        number(
            Frame(14, "Latency p95", "Nineteen in twenty runs take no longer, over all targets.", "s", 4, 4),
            Query(quantile(0.95, "perfmon_probe_latency_seconds", TARGET)),
            history=True,
        ),
        number(
            Frame(15, "Alerts", "Alerts that fire, without the Watchdog.", "short", 4, 4, GOOD_AT_ZERO),
            Query(f'count(ALERTS{{alertstate="firing", severity!="none", {PERFMON}}}) or vector(0)'),
        ),
        number(
            Frame(
                16,
                "Next certificate expires in",
                "Time until the first certificate of any target expires.",
                "dtdurations",
                4,
                4,
                CERTIFICATE,
                empty="no TLS",
            ),
            Query(f"min(probe_ssl_earliest_cert_expiry{{{TARGET}}}) - time()"),
        ),
    )


def _targets() -> tuple[Panel, ...]:
    by = "instance, probe, target, module"
    latency = "perfmon_probe_latency_seconds"
    return (
        targets_table(
            Frame(21, "Targets", "Each target with its state now and its figures of the chosen time.", "short", 24, 9),
            {"probe": "Probe", "target": "Target", "module": "Module", "instance": "perfmon"},
            (
                Column("State", f"min by ({by}) (probe_success{{{TARGET}}})", "short", words=UP_AND_DOWN),
                Column(
                    "Success",
                    success(f" by ({by})", "$__range"),
                    "percentunit",
                    ((None, "red"), (0.95, "orange"), (0.99, "text")),
                    decimals=2,
                ),
                *(
                    Column(
                        f"p{q}",
                        f"histogram_quantile(0.{q}, sum by (le, {by}) "
                        f"(increase({latency}_bucket{{{TARGET}}}[$__range])))",
                        "s",
                    )
                    for q in (50, 95, 99)
                ),
                Column(
                    "Last run",
                    f"max by ({by}) (perfmon_probe_last_run_timestamp_seconds{{{TARGET}}}) * 1000",
                    "dateTimeFromNow",
                ),
            ),
            {
                "target": (
                    "All about this target",
                    opens("perfmon-target", probe='__data.fields["Probe"]', target="__value.raw"),
                ),
                "probe": ("Only this probe", opens("perfmon-fleet", probe="__value.raw")),
                "instance": ("This perfmon itself", opens("perfmon-itself", instance="__value.raw")),
            },
        ),
        states(
            Frame(
                22, "State", "Up and down over time; a gap is a time without a scrape.", "short", 24, 8, opens=TO_TARGET
            ),
            Query(f"probe_success{{{TARGET}}}", "{{probe}} {{target}}"),
            UP_AND_DOWN,
        ),
        lines(
            Frame(23, "Latency p95 by target", "Nineteen in twenty runs take no longer.", "s", 12, 9, opens=TO_TARGET),
            Query(quantile(0.95, latency, TARGET, "probe", "target"), "{{probe}} {{target}}", exemplars=True),
        ),
        heat(
            Frame(24, "Latency", "How many runs took how long, over all chosen targets.", "s", 12, 9),
            Query(f"sum by (le) (increase({latency}_bucket{{{TARGET}}}[$__rate_interval]))", "{{le}}", exemplars=True),
        ),
        lines(
            Frame(
                25,
                "Phases",
                "Where the time of a run goes, in the mean of all chosen targets: resolve the name, connect, agree on "
                "TLS, send the request, wait for the answer's first byte (processing), read it (transfer).",
                "s",
                12,
                9,
                colors=PHASE_COLORS,
            ),
            *PHASES,
            stacked=True,
        ),
        lines(
            Frame(
                26,
                "Failures by reason",
                "Failed runs; docs/runbooks.md tells what to do by reason.",
                "short",
                12,
                9,
                colors=REASON_COLORS,
            ),
            Query(
                f'sum by (reason) (increase(perfmon_probe_runs_total{{result="failure", {TARGET}}}[$__rate_interval]))',
                "{{reason}}",
            ),
            stacked=True,
            bars=True,
        ),
        gauges(
            Frame(
                27,
                "Certificates",
                "Time until the first certificate of the chain expires.",
                "dtdurations",
                24,
                6,
                CERTIFICATE,
                empty="no target speaks TLS",
            ),
            Query(f"min by (target) (probe_ssl_earliest_cert_expiry{{{TARGET}}}) - time()", "{{target}}"),
            top=90 * 86400.0,
        ),
    )


def _processes() -> tuple[Panel, ...]:
    return (
        lines(
            Frame(31, "CPU", "CPU time that the processes of a group use; 100 % is one core.", "percentunit", 8, 9),
            Query(
                f"sum by (instance, group) (rate(perfmon_process_cpu_seconds_total{{{PERFMON}}}[$__rate_interval]))",
                "{{group}}",
            ),
        ),
        lines(
            Frame(
                32,
                "Memory",
                "Resident memory of a group, and the private part of it: heap and stacks, where a leak shows.",
                "bytes",
                8,
                9,
            ),
            Query(f"perfmon_process_resident_memory_bytes{{{PERFMON}}}", "{{group}} resident"),
            Query(f"perfmon_process_private_memory_bytes{{{PERFMON}}}", "{{group}} private"),
        ),
        lines(
            Frame(
                33,
                "File descriptors",
                "Open descriptors over the limit, of the process nearest to it.",
                "percentunit",
                8,
                9,
                ((None, "green"), (0.8, "red")),
            ),
            Query(f"perfmon_process_worst_fd_ratio{{{PERFMON}}}", "{{group}}"),
            top=1,
        ),
        lines(
            Frame(34, "Processes", "How many processes a group has.", "short", 12, 8),
            Query(f"perfmon_process_processes{{{PERFMON}}}", "{{group}}"),
        ),
        lines(
            Frame(35, "Restarts", "Processes that ended and were replaced.", "short", 12, 8),
            Query(
                f"sum by (instance, group) (increase(perfmon_process_restarts_total{{{PERFMON}}}[$__rate_interval]))",
                "{{group}}",
            ),
            bars=True,
        ),
    )


def _machines() -> tuple[Panel, ...]:
    cpu = f'rate(perfmon_host_cpu_seconds_total{{mode!="idle", {PERFMON}}}[$__rate_interval])'
    cpus = f"group_left () sum by (instance) (perfmon_host_cpus{{{PERFMON}}})"
    return (
        lines(
            Frame(41, "CPU", "Share of all CPUs that is used, by mode.", "percentunit", 8, 9),
            Query(f"sum by (instance, mode) ({cpu}) / on (instance) {cpus}", "{{instance}} {{mode}}"),
            stacked=True,
            top=1,
        ),
        lines(
            Frame(
                42,
                "Memory in use",
                "Memory that programs could not get any more.",
                "percentunit",
                8,
                9,
                ((None, "green"), (0.9, "red")),
            ),
            Query(
                f"perfmon_host_memory_used_bytes{{{PERFMON}}} / perfmon_host_memory_total_bytes{{{PERFMON}}}",
                "{{instance}}",
            ),
            top=1,
        ),
        lines(
            Frame(43, "Pressure", "Share of the time in which somebody waited for the resource.", "percentunit", 8, 9),
            Query(
                f"sum by (instance, resource) "
                f"(rate(perfmon_host_pressure_waiting_seconds_total{{{PERFMON}}}[$__rate_interval]))",
                "{{instance}} {{resource}}",
            ),
        ),
        gauges(
            Frame(
                44,
                "Filesystems",
                "Share of each filesystem that is not available to those who are not root.",
                "percentunit",
                8,
                9,
                ((None, "green"), (0.9, "orange"), (0.97, "red")),
            ),
            Query(
                f"1 - perfmon_host_filesystem_available_bytes{{{PERFMON}}}"
                f" / perfmon_host_filesystem_size_bytes{{{PERFMON}}}",
                "{{instance}} {{mountpoint}}",
            ),
            top=1,
        ),
        lines(
            Frame(45, "Network", "Bytes received and sent by all interfaces but loopback.", "Bps", 8, 9),
            *(
                Query(
                    f"sum by (instance) (rate(perfmon_host_network_{way}_bytes_total{{{PERFMON}}}[$__rate_interval]))",
                    f"{{{{instance}}}} {way}",
                )
                for way in ("receive", "transmit")
            ),
        ),
        lines(
            Frame(46, "Disks", "Bytes read and written.", "Bps", 8, 9),
            *(
                Query(
                    f"sum by (instance) (rate(perfmon_host_disk_{way}_bytes_total{{{PERFMON}}}[$__rate_interval]))",
                    f"{{{{instance}}}} {way}",
                )
                for way in ("read", "written")
            ),
        ),
    )


def _itself() -> tuple[Panel, ...]:
    return (
        lines(
            Frame(
                51,
                "Lateness",
                "How late runs begin against their grid: half of them, and one in a hundred.",
                "s",
                8,
                8,
                ((None, "green"), (0.5, "red")),
            ),
            *(
                Query(
                    quantile(q, "perfmon_schedule_lateness_seconds", PERFMON, "instance"),
                    f"{{{{instance}}}} p{q * 100:.0f}",
                )
                for q in (0.5, 0.99)
            ),
        ),
        lines(
            Frame(
                52,
                "Event loop lag p99",
                "How late the event loop is; it adds to what is measured.",
                "s",
                8,
                8,
                ((None, "green"), (0.25, "red")),
            ),
            Query(quantile(0.99, "perfmon_loop_lag_seconds", PERFMON, "instance"), "{{instance}}"),
        ),
        number(
            Frame(
                58,
                "Trouble of its own",
                "Skipped runs, defects, series not exported and failed writes of state in the chosen time.",
                "short",
                8,
                8,
                GOOD_AT_ZERO,
                decimals=0,
            ),
            Query(
                " + ".join(
                    f"(sum(increase({counter}{{{PERFMON}}}[$__range])) or vector(0))"
                    for counter in (
                        "perfmon_schedule_skipped_total",
                        "perfmon_defects_total",
                        "perfmon_series_dropped_total",
                        "perfmon_store_errors_total",
                    )
                )
            ),
        ),
    )
