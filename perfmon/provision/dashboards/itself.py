"""perfmon itself: does it run on time, what does it cost, does it get its alerts told, what went wrong."""

from perfmon.provision.dashboards.asked import GOOD_AT_ZERO, INSTANCES, PERFMON, RELOADS, alerts, quantile
from perfmon.provision.grafana import Board, Frame, Panel, Query, Row, heat, lines, number

__all__ = ["board"]

BY = "{{instance}}"


def board() -> Board:
    """The watcher, watched."""
    return Board(
        uid="perfmon-itself",
        title="perfmon / perfmon itself",
        description="Whether perfmon can be believed: its schedule, its event loop, what it costs, whom it told.",
        variables=INSTANCES,
        annotations=(alerts(f'alertname=~"Perfmon.*", {PERFMON}', "{{instance}}"), RELOADS),
        rows=(
            Row(1, "Now", _now()),
            Row(2, "Schedule", _schedule()),
            Row(3, "Alerts and notifications", _alerts()),
            Row(4, "What it costs", _cost()),
            Row(5, "What went wrong", _trouble()),
        ),
    )


def _rate(counter: str, *by: str) -> str:
    return f"sum by ({', '.join(('instance', *by))}) (rate({counter}{{{PERFMON}}}[$__rate_interval]))"


def _own(series: str) -> str:
    """Of perfmon's processes and pages alone, whatever jobs are chosen: others have series of these names, too."""
    return f"{series} and on (job, instance) perfmon_build_info{{{PERFMON}}}"


def _own_rate(counter: str, *by: str) -> str:
    return f"sum by ({', '.join(('instance', *by))}) ({_own(f'rate({counter}{{{PERFMON}}}[$__rate_interval])')})"


def _increase(counter: str, *by: str) -> str:
    """Also of a perfmon that has no series of it: 0, with "none" for the labels."""
    none = f"0 * sum by (instance) (perfmon_series{{{PERFMON}}})"
    for label in by:
        none = f'label_replace({none}, "{label}", "none", "", "")'
    counted = f"sum by ({', '.join(('instance', *by))}) (increase({counter}{{{PERFMON}}}[$__rate_interval]))"
    return f"{counted} or on (instance) {none}"


def _now() -> tuple[Panel, ...]:
    return (
        number(
            Frame(11, "perfmons", "Of the chosen job that answer.", "short", 4, 4, ((None, "red"), (1.0, "green"))),
            Query(f"count(perfmon_build_info{{{PERFMON}}})"),
        ),
        number(
            Frame(
                12,
                "Last reading of the configuration",
                "Whether it succeeded; when it did not, the former one goes on.",
                "short",
                5,
                4,
                ((None, "red"), (1.0, "green")),
            ),
            Query(f"min(perfmon_config_last_reload_successful{{{PERFMON}}})"),
            words={"1": ("fine", "green"), "0": ("failed", "red")},
        ),
        number(
            Frame(
                13,
                "Lateness p99",
                "All but one in a hundred runs begin no later against their grid.",
                "s",
                5,
                4,
                ((None, "green"), (0.1, "orange"), (0.5, "red")),
            ),
            Query(quantile(0.99, "perfmon_schedule_lateness_seconds", PERFMON)),
            history=True,
        ),
        number(
            Frame(14, "Series", "Exported for targets and samplers.", "short", 5, 4, decimals=0),
            Query(f"sum(perfmon_series{{{PERFMON}}})"),
            history=True,
        ),
        number(
            Frame(
                15,
                "Trouble",
                "Skipped runs, defects, series not exported, and failed writes of state in the chosen time.",
                "short",
                5,
                4,
                GOOD_AT_ZERO,
                decimals=0,
            ),
            Query(
                " + ".join(
                    f"(sum(increase({counter}{{{PERFMON}}}[$__range])) or vector(0))" for counter in _TROUBLE.values()
                )
            ),
        ),
    )


_TROUBLE = {
    "skipped": "perfmon_schedule_skipped_total",
    "defects": "perfmon_defects_total",
    "series dropped": "perfmon_series_dropped_total",
    "store errors": "perfmon_store_errors_total",
    "records lost": "perfmon_store_lost_total",
    "clock steps": "perfmon_clock_steps_total",
}


def _schedule() -> tuple[Panel, ...]:
    lateness = "perfmon_schedule_lateness_seconds"
    return (
        heat(
            Frame(21, "Lateness", "How many runs began how late against their grid.", "s", 8, 9),
            Query(f"sum by (le) (increase({lateness}_bucket{{{PERFMON}}}[$__rate_interval]))", "{{le}}"),
        ),
        lines(
            Frame(22, "Lateness", "Half of the runs, and all but one in a hundred, begin no later.", "s", 8, 9, _LATE),
            *(Query(quantile(q, lateness, PERFMON, "instance"), f"{BY} p{q * 100:.0f}") for q in (0.5, 0.99)),
        ),
        lines(
            Frame(
                23,
                "Event loop lag p99",
                "How late the event loop is; it adds to what is measured.",
                "s",
                8,
                9,
                ((None, "green"), (0.25, "red")),
            ),
            Query(quantile(0.99, "perfmon_loop_lag_seconds", PERFMON, "instance"), BY),
        ),
        lines(
            Frame(24, "Runs", "Runs that were due in a second.", "reqps", 8, 8),
            Query(_rate("perfmon_schedule_due_total"), BY),
        ),
        lines(
            Frame(25, "In flight", "Probes under way at the moment of a scrape.", "short", 8, 8),
            Query(f"perfmon_probes_in_flight{{{PERFMON}}}", BY),
        ),
        lines(
            Frame(
                26,
                "Skipped",
                "Due times at which nothing was run, by why: the last run was not over, or there was no room.",
                "short",
                8,
                8,
            ),
            Query(_increase("perfmon_schedule_skipped_total", "why"), f"{BY} {{{{why}}}}"),
            bars=True,
            stacked=True,
        ),
    )


_LATE = ((None, "green"), (0.5, "red"))


def _alerts() -> tuple[Panel, ...]:
    return (
        lines(
            Frame(
                31,
                "Alerts of its own rules",
                "By state; firing ones are told.",
                "short",
                8,
                8,
                colors={"firing": "red", "pending": "orange"},
                empty="no rules",
            ),
            Query(f"sum by (state) (perfmon_alerts{{{PERFMON}}})", "{{state}}"),
        ),
        lines(
            Frame(32, "Notifications", "By receiver and outcome.", "short", 8, 8),
            Query(
                _increase("perfmon_notifications_total", "receiver", "outcome"),
                f"{BY} {{{{receiver}}}} {{{{outcome}}}}",
            ),
            bars=True,
            stacked=True,
        ),
        lines(
            Frame(
                33,
                "Waiting to be told",
                "Notifications that a receiver has not taken yet.",
                "short",
                8,
                8,
                empty="no receivers",
            ),
            Query(f"perfmon_notifications_queued{{{PERFMON}}}", f"{BY} {{{{receiver}}}}"),
        ),
    )


def _cost() -> tuple[Panel, ...]:
    return (
        lines(
            Frame(41, "CPU", "CPU time of perfmon's process; 100 % is one core.", "percentunit", 8, 8),
            Query(_own_rate("process_cpu_seconds_total"), BY),
        ),
        lines(
            Frame(42, "Memory", "Of perfmon's process, in RAM.", "bytes", 8, 8),
            Query(_own(f"process_resident_memory_bytes{{{PERFMON}}}"), BY),
        ),
        lines(
            Frame(43, "File descriptors", "Open ones, and how many there may be.", "short", 8, 8),
            Query(_own(f"process_open_fds{{{PERFMON}}}"), BY),
            Query(_own(f"process_max_fds{{{PERFMON}}}"), f"{BY} limit"),
            log=True,
        ),
        lines(
            Frame(44, "Scrapes p99", "Time to write the metrics page.", "s", 8, 8),
            Query(quantile(0.99, "perfmon_scrape_duration_seconds", PERFMON, "instance"), BY),
        ),
        lines(
            Frame(45, "Size of a scrape", "Samples on the metrics page.", "short", 8, 8),
            Query(_own(f"scrape_samples_scraped{{{PERFMON}}}"), BY),
        ),
        lines(
            Frame(46, "Garbage collections", "In a second, by generation.", "cps", 8, 8),
            Query(_own_rate("python_gc_collections_total", "generation"), f"{BY} {{{{generation}}}}"),
        ),
        lines(
            Frame(
                47,
                "Samplers",
                "Time spent in each sampler for each second.",
                "percentunit",
                12,
                8,
                empty="no samplers",
            ),
            Query(_rate("perfmon_sampler_duration_seconds_total", "sampler"), f"{BY} {{{{sampler}}}}"),
        ),
        lines(
            Frame(48, "Rules judged", "In a second, by rule.", "cps", 12, 8, empty="no rules"),
            Query(_rate("perfmon_rule_evaluations_total", "rule"), f"{BY} {{{{rule}}}}"),
        ),
    )


def _trouble() -> tuple[Panel, ...]:
    return (
        lines(
            Frame(
                51,
                "Trouble by kind",
                "Each of these is a gap in what is known: see docs/runbooks.md.",
                "short",
                12,
                8,
            ),
            *(Query(_increase(counter), f"{BY} {name}") for name, counter in _TROUBLE.items()),
            bars=True,
            stacked=True,
        ),
        lines(
            Frame(
                52,
                "Looks at sources of targets",
                "By outcome: complete, partial (some targets were refused) or failed (what was known goes on).",
                "short",
                12,
                8,
                colors={"complete": "green", "partial": "orange", "failed": "red"},
                empty="no sources",
            ),
            Query(
                f"sum by (outcome) (increase(perfmon_discovery_refreshes_total{{{PERFMON}}}[$__rate_interval]))",
                "{{outcome}}",
            ),
            bars=True,
            stacked=True,
        ),
    )
