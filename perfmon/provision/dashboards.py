"""The dashboards that perfmon ships. Ids are for good: a new panel takes a new number, a removed one leaves a gap."""

from collections.abc import Mapping

from perfmon.provision.grafana import (
    Annotation,
    Board,
    Column,
    Frame,
    Panel,
    Query,
    Row,
    Variable,
    document,
    gauges,
    heat,
    lines,
    number,
    states,
    targets_table,
)

__all__ = ["documents"]

_PERFMON = 'job=~"$job", instance=~"$instance"'
_TARGET = f'{_PERFMON}, probe=~"$probe", target=~"$target"'
_GROUP = f'{_PERFMON}, group=~"$group"'
_CGROUP = f'{_GROUP}, cgroup=~"$cgroup"'

_UP_AND_DOWN = {"1": ("up", "green"), "0": ("down", "red")}
_GOOD_AT_ZERO = ((None, "green"), (1.0, "red"))


def documents() -> Mapping[str, str]:
    """The JSON of each dashboard by the name of its file."""
    return {"fleet.json": document(_fleet()), "resources.json": document(_resources())}


def _fleet() -> Board:
    return Board(
        uid="perfmon-fleet",
        title="perfmon / Fleet overview",
        description="Everything that perfmon watches: targets, processes, machines, and perfmon itself.",
        variables=(
            Variable("job", "Job", "perfmon_build_info"),
            Variable("instance", "perfmon", 'perfmon_build_info{job=~"$job"}'),
            Variable("probe", "Probe", f"probe_success{{{_PERFMON}}}"),
            Variable("target", "Target", f'probe_success{{{_PERFMON}, probe=~"$probe"}}'),
        ),
        annotations=(
            Annotation(
                name="Alerts",
                expr=f'ALERTS{{alertstate="firing", alertname!="Watchdog", {_PERFMON}}}',
                title="{{alertname}} ({{severity}})",
                text="{{target}} {{group}} {{mountpoint}}",
                color="red",
            ),
            Annotation(
                name="Config reloads",
                expr=f"perfmon_config_last_reload_success_timestamp_seconds{{{_PERFMON}}} * 1000",
                title="perfmon {{instance}} read its configuration",
                text="",
                color="blue",
                value_is_time=True,
            ),
        ),
        rows=(
            Row(1, "Now", _now()),
            Row(2, "Targets", _targets()),
            Row(3, "Processes", _processes()),
            Row(4, "Machines", _machines()),
            Row(5, "perfmon itself", _itself()),
        ),
    )


def _quantile(q: float, metric: str, selector: str, *by: str) -> str:
    kept = ", ".join(("le", *by))
    return f"histogram_quantile({q}, sum by ({kept}) (rate({metric}_bucket{{{selector}}}[$__rate_interval])))"


def _success(by: str, window: str) -> str:
    """The share of runs that succeeded; both counters are there from the first run on."""
    successes = f'increase(perfmon_probe_runs_total{{result="success", {_TARGET}}}[{window}])'
    runs = f"increase(perfmon_probe_latency_seconds_count{{{_TARGET}}}[{window}])"
    return f"sum{by} ({successes}) / sum{by} ({runs})"


def _now() -> tuple[Panel, ...]:
    return (
        number(
            Frame(11, "Targets up", "Targets whose last run succeeded.", "short", 4, 4, ((None, "green"),)),
            Query(f"count(probe_success{{{_TARGET}}} == 1) or vector(0)"),
        ),
        number(
            Frame(12, "Targets down", "Targets whose last run failed.", "short", 4, 4, _GOOD_AT_ZERO),
            Query(f"count(probe_success{{{_TARGET}}} == 0) or vector(0)"),
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
            Query(_success("", "$__range")),
        ),
        number(
            Frame(14, "Latency p95", "Nineteen in twenty runs take no longer, over all targets.", "s", 4, 4),
            Query(_quantile(0.95, "perfmon_probe_latency_seconds", _TARGET)),
            history=True,
        ),
        number(
            Frame(15, "Alerts", "Alerts that fire, without the Watchdog.", "short", 4, 4, _GOOD_AT_ZERO),
            Query(f'count(ALERTS{{alertstate="firing", severity!="none", {_PERFMON}}}) or vector(0)'),
        ),
        number(
            Frame(
                16,
                "Next certificate expires in",
                "Time until the first certificate of any target expires.",
                "dtdurations",
                4,
                4,
                ((None, "red"), (3 * 86400.0, "orange"), (14 * 86400.0, "green")),
                empty="no TLS",
            ),
            Query(f"min(probe_ssl_earliest_cert_expiry{{{_TARGET}}}) - time()"),
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
                Column("State", f"min by ({by}) (probe_success{{{_TARGET}}})", "short", words=_UP_AND_DOWN),
                Column(
                    "Success",
                    _success(f" by ({by})", "$__range"),
                    "percentunit",
                    ((None, "red"), (0.95, "orange"), (0.99, "text")),
                    decimals=2,
                ),
                *(
                    Column(
                        f"p{q}",
                        f"histogram_quantile(0.{q}, sum by (le, {by}) "
                        f"(increase({latency}_bucket{{{_TARGET}}}[$__range])))",
                        "s",
                    )
                    for q in (50, 95, 99)
                ),
                Column(
                    "Last run",
                    f"max by ({by}) (perfmon_probe_last_run_timestamp_seconds{{{_TARGET}}}) * 1000",
                    "dateTimeFromNow",
                ),
            ),
            {
                "target": "/d/perfmon-fleet?${__url_time_range}&var-target=${__value.raw:percentencode}",
                "probe": "/d/perfmon-fleet?${__url_time_range}&var-probe=${__value.raw:percentencode}",
            },
        ),
        states(
            Frame(22, "State", "Up and down over time; a gap is a time without a scrape.", "short", 24, 8),
            Query(f"probe_success{{{_TARGET}}}", "{{probe}} {{target}}"),
            _UP_AND_DOWN,
        ),
        lines(
            Frame(23, "Latency p95 by target", "Nineteen in twenty runs take no longer.", "s", 12, 9),
            Query(_quantile(0.95, latency, _TARGET, "probe", "target"), "{{probe}} {{target}}"),
        ),
        heat(
            Frame(24, "Latency", "How many runs took how long, over all chosen targets.", "s", 12, 9),
            Query(f"sum by (le) (increase({latency}_bucket{{{_TARGET}}}[$__rate_interval]))", "{{le}}"),
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
            ),
            Query(f"avg by (phase) (perfmon_probe_phase_seconds{{{_TARGET}}})", "{{phase}}"),
            stacked=True,
        ),
        lines(
            Frame(
                26, "Failures by reason", "Failed runs; docs/runbooks.md tells what to do by reason.", "short", 12, 9
            ),
            Query(
                "sum by (reason) "
                f'(increase(perfmon_probe_runs_total{{result="failure", {_TARGET}}}[$__rate_interval]))',
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
                ((None, "red"), (3 * 86400.0, "orange"), (14 * 86400.0, "green")),
                empty="no target speaks TLS",
            ),
            Query(f"min by (target) (probe_ssl_earliest_cert_expiry{{{_TARGET}}}) - time()", "{{target}}"),
            top=90 * 86400.0,
        ),
    )


def _processes() -> tuple[Panel, ...]:
    return (
        lines(
            Frame(31, "CPU", "CPU time that the processes of a group use; 100 % is one core.", "percentunit", 8, 9),
            Query(
                f"sum by (instance, group) (rate(perfmon_process_cpu_seconds_total{{{_PERFMON}}}[$__rate_interval]))",
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
            Query(f"perfmon_process_resident_memory_bytes{{{_PERFMON}}}", "{{group}} resident"),
            Query(f"perfmon_process_private_memory_bytes{{{_PERFMON}}}", "{{group}} private"),
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
            Query(f"perfmon_process_worst_fd_ratio{{{_PERFMON}}}", "{{group}}"),
            top=1,
        ),
        lines(
            Frame(34, "Processes", "How many processes a group has.", "short", 12, 8),
            Query(f"perfmon_process_processes{{{_PERFMON}}}", "{{group}}"),
        ),
        lines(
            Frame(35, "Restarts", "Processes that ended and were replaced.", "short", 12, 8),
            Query(
                f"sum by (instance, group) (increase(perfmon_process_restarts_total{{{_PERFMON}}}[$__rate_interval]))",
                "{{group}}",
            ),
            bars=True,
        ),
    )


def _machines() -> tuple[Panel, ...]:
    cpu = f'rate(perfmon_host_cpu_seconds_total{{mode!="idle", {_PERFMON}}}[$__rate_interval])'
    cpus = f"group_left () sum by (instance) (perfmon_host_cpus{{{_PERFMON}}})"
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
                f"perfmon_host_memory_used_bytes{{{_PERFMON}}} / perfmon_host_memory_total_bytes{{{_PERFMON}}}",
                "{{instance}}",
            ),
            top=1,
        ),
        lines(
            Frame(43, "Pressure", "Share of the time in which somebody waited for the resource.", "percentunit", 8, 9),
            Query(
                f"sum by (instance, resource) "
                f"(rate(perfmon_host_pressure_waiting_seconds_total{{{_PERFMON}}}[$__rate_interval]))",
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
                f"1 - perfmon_host_filesystem_available_bytes{{{_PERFMON}}}"
                f" / perfmon_host_filesystem_size_bytes{{{_PERFMON}}}",
                "{{instance}} {{mountpoint}}",
            ),
            top=1,
        ),
        lines(
            Frame(45, "Network", "Bytes received and sent by all interfaces but loopback.", "Bps", 8, 9),
            *(
                Query(
                    f"sum by (instance) (rate(perfmon_host_network_{way}_bytes_total{{{_PERFMON}}}[$__rate_interval]))",
                    f"{{{{instance}}}} {way}",
                )
                for way in ("receive", "transmit")
            ),
        ),
        lines(
            Frame(46, "Disks", "Bytes read and written.", "Bps", 8, 9),
            *(
                Query(
                    f"sum by (instance) (rate(perfmon_host_disk_{way}_bytes_total{{{_PERFMON}}}[$__rate_interval]))",
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
                    _quantile(q, "perfmon_schedule_lateness_seconds", _PERFMON, "instance"),
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
            Query(_quantile(0.99, "perfmon_loop_lag_seconds", _PERFMON, "instance"), "{{instance}}"),
        ),
        lines(
            Frame(53, "Scrapes p99", "Time to write the metrics page.", "s", 8, 8),
            Query(_quantile(0.99, "perfmon_scrape_duration_seconds", _PERFMON, "instance"), "{{instance}}"),
        ),
        lines(
            Frame(54, "Runs", "Runs that were due in a second.", "reqps", 8, 8),
            Query(
                f"sum by (instance) (rate(perfmon_schedule_due_total{{{_PERFMON}}}[$__rate_interval]))", "{{instance}}"
            ),
        ),
        lines(
            Frame(55, "In flight", "Probes under way.", "short", 8, 8),
            Query(f"perfmon_probes_in_flight{{{_PERFMON}}}", "{{instance}}"),
        ),
        lines(
            Frame(56, "Series", "Series exported for targets and samplers.", "short", 8, 8),
            Query(f"perfmon_series{{{_PERFMON}}}", "{{instance}}"),
        ),
        lines(
            Frame(57, "Notifications", "Notifications by receiver and outcome.", "short", 16, 8),
            Query(
                f"sum by (receiver, outcome) "
                f"(increase(perfmon_notifications_total{{{_PERFMON}}}[$__rate_interval])) or vector(0)",
                "{{receiver}} {{outcome}}",
            ),
            bars=True,
        ),
        number(
            Frame(
                58,
                "Trouble of its own",
                "Skipped runs, defects, series not exported and failed writes of state in the chosen time.",
                "short",
                8,
                8,
                _GOOD_AT_ZERO,
                decimals=0,
            ),
            Query(
                " + ".join(
                    f"(sum(increase({counter}{{{_PERFMON}}}[$__range])) or vector(0))"
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


# ---------------------------------------------------------------- resources and leaks


def _resources() -> Board:
    return Board(
        uid="perfmon-resources",
        title="perfmon / Resources and leaks",
        description="What leaks and when it reaches its limit; processes, control groups and the machine's pressure.",
        variables=(
            Variable("job", "Job", "perfmon_build_info"),
            Variable("instance", "perfmon", 'perfmon_build_info{job=~"$job"}'),
            Variable("group", "Group", f'{{__name__=~"perfmon_(process|cgroup)_up", {_PERFMON}}}'),
            Variable("cgroup", "Control group", f"perfmon_cgroup_memory_usage_bytes{{{_GROUP}}}"),
        ),
        annotations=(
            Annotation(
                name="Alerts",
                expr=f'ALERTS{{alertstate="firing", group!="", {_GROUP}}}',
                title="{{alertname}} ({{severity}})",
                text="{{group}} {{cgroup}} {{metric}}",
                color="red",
            ),
            Annotation(
                name="Restarts",
                expr=f"perfmon_process_oldest_start_timestamp_seconds{{{_GROUP}}} * 1000",
                title="{{group}} started",
                text="",
                color="blue",
                value_is_time=True,
            ),
        ),
        rows=(
            Row(1, "Leaks", _leaks()),
            Row(2, "Process groups", _process_groups()),
            Row(3, "Control groups", _cgroups()),
            Row(4, "Pressure of the machine", _pressure()),
        ),
    )


_VERDICTS = {
    "0": ("insufficient data", "text"),
    "1": ("clean", "green"),
    "2": ("suspect", "yellow"),
    "3": ("growing", "orange"),
    "4": ("leak", "red"),
}
_SERIES = "{{group}} {{cgroup}} {{metric}}"


def _verdict_number(by: str = "") -> str:
    """The verdict as a number: insufficient_data 0, clean 1, suspect 2, growing 3, leak 4."""
    of_one = 'perfmon_leak_verdict{{verdict="{word}", {selector}}} * {number}'
    words = ("insufficient_data", "clean", "suspect", "growing", "leak")
    parts = [of_one.format(word=word, selector=_LEAKS, number=number) for number, word in enumerate(words)]
    every = " or ".join(parts)
    return f"max {by or 'without (verdict)'} ({every})"


_LEAKS = f'{_PERFMON}, group=~"$group|"'  # a leak rule may watch a probe or the machine, which have no group


def _leaks() -> tuple[Panel, ...]:
    by = "instance, rule, metric, sampler, group, cgroup"
    slopes = " or ".join(f"perfmon_leak_slope{what}_per_second{{{_LEAKS}}}" for what in ("_bytes", ""))
    return (
        number(
            Frame(11, "Leaks", "Series of which the verdict is now that they leak.", "short", 4, 5, _GOOD_AT_ZERO),
            Query(f'sum(perfmon_leak_verdict{{verdict="leak", {_LEAKS}}}) or vector(0)'),
        ),
        number(
            Frame(
                12,
                "First limit reached in",
                "At the rate of now, of all series that rise and whose limit is known.",
                "dtdurations",
                5,
                5,
                ((None, "red"), (14_400.0, "orange"), (86_400.0 * 3, "text")),
                empty="none in sight",
            ),
            Query(f"min(perfmon_leak_seconds_to_limit{{{_LEAKS}}})"),
        ),
        states(
            Frame(13, "Verdicts", "What each leak rule says of each series over time.", "short", 15, 8),
            Query(_verdict_number(), _SERIES),
            _VERDICTS,
        ),
        targets_table(
            Frame(14, "What rises", "Each series that a leak rule judges, with its slope now.", "short", 24, 8),
            {"group": "Group", "cgroup": "Control group", "metric": "Metric", "rule": "Rule", "instance": "perfmon"},
            (
                Column("Verdict", _verdict_number(f"by ({by})"), "short", words=_VERDICTS),
                Column("Grows per second", f"max by ({by}) ({slopes})", "short", decimals=2),
                Column(
                    "Limit reached in",
                    f"min by ({by}) (perfmon_leak_seconds_to_limit{{{_LEAKS}}})",
                    "dtdurations",
                    ((None, "red"), (14_400.0, "orange"), (86_400.0 * 3, "text")),
                ),
            ),
            {"group": "/d/perfmon-resources?${__url_time_range}&var-group=${__value.raw:percentencode}"},
            without=("sampler",),
        ),
        lines(
            Frame(15, "Slope of memory", "How fast it grows, with the 95 % interval.", "Bps", 12, 9),
            *(
                Query(f"perfmon_leak_slope{bound}_bytes_per_second{{{_LEAKS}}}", f"{_SERIES}{words}")
                for bound, words in (("", ""), ("_lower", " at least"), ("_upper", " at most"))
            ),
            from_zero=False,
        ),
        lines(
            Frame(16, "Time to the limit", "At the rate of each moment; a leak goes down to 0.", "dtdurations", 12, 9),
            Query(f"perfmon_leak_seconds_to_limit{{{_LEAKS}}}", _SERIES),
        ),
    )


def _process_groups() -> tuple[Panel, ...]:
    return (
        lines(
            Frame(21, "Memory", "Resident memory, and the private part, where a leak shows.", "bytes", 8, 9),
            Query(f"perfmon_process_resident_memory_bytes{{{_GROUP}}}", "{{group}} resident"),
            Query(f"perfmon_process_private_memory_bytes{{{_GROUP}}}", "{{group}} private"),
        ),
        lines(
            Frame(22, "CPU", "CPU time that a group uses; 100 % is one core.", "percentunit", 8, 9),
            Query(
                f"sum by (instance, group, mode) "
                f"(rate(perfmon_process_cpu_seconds_total{{{_GROUP}}}[$__rate_interval]))",
                "{{group}} {{mode}}",
            ),
        ),
        lines(
            Frame(23, "File descriptors", "Open descriptors of a group.", "short", 8, 9),
            Query(f"perfmon_process_open_fds{{{_GROUP}}}", "{{group}}"),
        ),
        lines(
            Frame(24, "Threads and children", "Threads of a group, and its child processes.", "short", 8, 8),
            Query(f"perfmon_process_threads{{{_GROUP}}}", "{{group}} threads"),
            Query(f"perfmon_process_children{{{_GROUP}}}", "{{group}} children"),
        ),
        lines(
            Frame(25, "Major page faults", "Times that a group waited for a page from a device.", "cps", 8, 8),
            Query(
                f"sum by (instance, group) "
                f'(rate(perfmon_process_page_faults_total{{kind="major", {_GROUP}}}[$__rate_interval]))',
                "{{group}}",
            ),
        ),
        lines(
            Frame(26, "Disk", "Bytes that a group read from and wrote to devices.", "Bps", 8, 8),
            *(
                Query(
                    f"sum by (instance, group) (rate(perfmon_process_{way}_bytes_total{{{_GROUP}}}[$__rate_interval]))",
                    f"{{{{group}}}} {way}",
                )
                for way in ("read", "written")
            ),
        ),
    )


def _cgroups() -> tuple[Panel, ...]:
    ratio = f"perfmon_cgroup_memory_working_set_bytes{{{_CGROUP}}} / perfmon_cgroup_memory_limit_bytes{{{_CGROUP}}}"
    throttled, periods = (
        f"sum by (instance, group, cgroup) (rate(perfmon_cgroup_cpu_{what}_total{{{_CGROUP}}}[$__rate_interval]))"
        for what in ("throttled_periods", "periods")
    )
    return (
        lines(
            Frame(31, "Memory", "Working set and limit; what the OOM killer weighs.", "bytes", 8, 9),
            Query(f"perfmon_cgroup_memory_working_set_bytes{{{_CGROUP}}}", "{{cgroup}}"),
            Query(f"perfmon_cgroup_memory_limit_bytes{{{_CGROUP}}}", "{{cgroup}} limit"),
        ),
        gauges(
            Frame(
                32,
                "Memory of its limit",
                "Working set over the limit; control groups without one are not shown.",
                "percentunit",
                8,
                9,
                ((None, "green"), (0.8, "orange"), (0.9, "red")),
                empty="no limit",
            ),
            Query(ratio, "{{cgroup}}"),
            top=1,
        ),
        lines(
            Frame(33, "OOM kills", "Processes that the kernel killed for want of memory.", "short", 8, 9),
            Query(
                f"sum by (instance, group, cgroup) "
                f'(increase(perfmon_cgroup_memory_events_total{{event="oom_kill", {_CGROUP}}}[$__rate_interval]))',
                "{{cgroup}}",
            ),
            bars=True,
        ),
        lines(
            Frame(34, "CPU", "CPU time and limit; 100 % is one core.", "percentunit", 8, 9),
            Query(
                f"sum by (instance, group, cgroup) "
                f"(rate(perfmon_cgroup_cpu_seconds_total{{{_CGROUP}}}[$__rate_interval]))",
                "{{cgroup}}",
            ),
            Query(f"perfmon_cgroup_cpu_limit{{{_CGROUP}}}", "{{cgroup}} limit"),
        ),
        lines(
            Frame(
                35,
                "Throttled",
                "Share of the periods in which a control group had used up its share of CPU.",
                "percentunit",
                8,
                9,
                ((None, "green"), (0.25, "red")),
            ),
            Query(f"{throttled} / {periods}", "{{cgroup}}"),
            top=1,
        ),
        lines(
            Frame(36, "Tasks", "Processes and threads, and how many there may be.", "short", 8, 9),
            Query(f"perfmon_cgroup_tasks{{{_CGROUP}}}", "{{cgroup}}"),
            Query(f"perfmon_cgroup_tasks_limit{{{_CGROUP}}}", "{{cgroup}} limit"),
        ),
        lines(
            Frame(37, "Pressure", "Share of the time in which a task of it waited.", "percentunit", 24, 8),
            Query(
                f"sum by (instance, cgroup, resource) "
                f"(rate(perfmon_cgroup_pressure_waiting_seconds_total{{{_CGROUP}}}[$__rate_interval]))",
                "{{cgroup}} {{resource}}",
            ),
        ),
    )


def _pressure() -> tuple[Panel, ...]:
    return tuple(
        lines(
            Frame(id_, title, description, "percentunit", 12, 8),
            Query(
                f"sum by (instance, resource) "
                f"(rate(perfmon_host_pressure_{how}_seconds_total{{{_PERFMON}}}[$__rate_interval]))",
                "{{instance}} {{resource}}",
            ),
        )
        for id_, title, description, how in (
            (41, "Somebody waits", "Share of the time in which at least one task waited.", "waiting"),
            (42, "Everybody waits", "Share of the time in which no task could go on.", "stalled"),
        )
    )
