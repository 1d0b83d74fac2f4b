"""Resources and leaks: what leaks and when it reaches its limit; processes, control groups, pressure."""

from perfmon.provision.dashboards.asked import GOOD_AT_ZERO, INSTANCES, PERFMON, RELOADS, alerts, opens
from perfmon.provision.grafana import (
    Annotation,
    Board,
    Column,
    Frame,
    Panel,
    Query,
    Row,
    Variable,
    gauges,
    lines,
    number,
    states,
    targets_table,
)

__all__ = ["board"]

GROUP = f'{PERFMON}, group=~"$group"'
CGROUP = f'{GROUP}, cgroup=~"$cgroup"'


def board() -> Board:
    """What leaks, and what processes and control groups use."""
    return Board(
        uid="perfmon-resources",
        title="perfmon / Resources and leaks",
        description="What leaks and when it reaches its limit; processes, control groups and the machine's pressure.",
        variables=(
            *INSTANCES,
            Variable("group", "Group", f'{{__name__=~"perfmon_(process|cgroup)_up", {PERFMON}}}'),
            Variable("cgroup", "Control group", f"perfmon_cgroup_memory_usage_bytes{{{GROUP}}}"),
        ),
        annotations=(
            alerts(f'group!="", {GROUP}', "{{group}} {{cgroup}} {{metric}}"),
            RELOADS,
            Annotation(
                name="Restarts",
                expr=f"perfmon_process_oldest_start_timestamp_seconds{{{GROUP}}} * 1000",
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
    "0": ("insufficient data", "rgba(128, 128, 128, 0.6)"),
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


_LEAKS = f'{PERFMON}, group=~"$group|"'  # a leak rule may watch a probe or the machine, which have no group


def _leaks() -> tuple[Panel, ...]:
    by = "instance, rule, metric, sampler, group, cgroup"
    return (
        number(
            Frame(11, "Leaks", "Series of which the verdict is now that they leak.", "short", 4, 8, GOOD_AT_ZERO),
            Query(f'sum(perfmon_leak_verdict{{verdict="leak", {_LEAKS}}}) or vector(0)'),
        ),
        number(
            Frame(
                12,
                "First limit reached in",
                "At the rate of now, of all series that rise and whose limit is known.",
                "dtdurations",
                5,
                8,
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
                Column(
                    "Memory grows",
                    f"max by ({by}) (perfmon_leak_slope_bytes_per_second{{{_LEAKS}}})",
                    "Bps",
                    decimals=2,
                ),
                Column(
                    "Grows per second",
                    f"max by ({by}) (perfmon_leak_slope_per_second{{{_LEAKS}}})",
                    "short",
                    decimals=2,
                ),
                Column(
                    "Limit reached in",
                    f"min by ({by}) (perfmon_leak_seconds_to_limit{{{_LEAKS}}})",
                    "dtdurations",
                    ((None, "red"), (14_400.0, "orange"), (86_400.0 * 3, "text")),
                ),
            ),
            {"group": ("Only this group", opens("perfmon-resources", group="__value.raw"))},
            without=("sampler",),
        ),
        lines(
            Frame(15, "Slope of memory", "How fast it grows, with the 95 % interval.", "Bps", 12, 9),
            *(
                Query(f"perfmon_leak_slope{bound}_bytes_per_second{{{_LEAKS}}}", f"{_SERIES}{words}")
                for bound, words in (("", ""), ("_lower", " at least"), ("_upper", " at most"))
            ),
            bottom=None,
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
            Query(f"perfmon_process_resident_memory_bytes{{{GROUP}}}", "{{group}} resident"),
            Query(f"perfmon_process_private_memory_bytes{{{GROUP}}}", "{{group}} private"),
        ),
        lines(
            Frame(22, "CPU", "CPU time that a group uses; 100 % is one core.", "percentunit", 8, 9),
            Query(
                f"sum by (instance, group, mode) "
                f"(rate(perfmon_process_cpu_seconds_total{{{GROUP}}}[$__rate_interval]))",
                "{{group}} {{mode}}",
            ),
        ),
        lines(
            Frame(23, "File descriptors", "Open descriptors of a group.", "short", 8, 9),
            Query(f"perfmon_process_open_fds{{{GROUP}}}", "{{group}}"),
        ),
        lines(
            Frame(24, "Threads and children", "Threads of a group, and its child processes.", "short", 8, 8),
            Query(f"perfmon_process_threads{{{GROUP}}}", "{{group}} threads"),
            Query(f"perfmon_process_children{{{GROUP}}}", "{{group}} children"),
        ),
        lines(
            Frame(25, "Major page faults", "Times that a group waited for a page from a device.", "cps", 8, 8),
            Query(
                f"sum by (instance, group) "
                f'(rate(perfmon_process_page_faults_total{{kind="major", {GROUP}}}[$__rate_interval]))',
                "{{group}}",
            ),
        ),
        lines(
            Frame(26, "Disk", "Bytes that a group read from and wrote to devices.", "Bps", 8, 8),
            *(
                Query(
                    f"sum by (instance, group) (rate(perfmon_process_{way}_bytes_total{{{GROUP}}}[$__rate_interval]))",
                    f"{{{{group}}}} {way}",
                )
                for way in ("read", "written")
            ),
        ),
    )


def _cgroups() -> tuple[Panel, ...]:
    ratio = f"perfmon_cgroup_memory_working_set_bytes{{{CGROUP}}} / perfmon_cgroup_memory_limit_bytes{{{CGROUP}}}"
    throttled, periods = (
        f"sum by (instance, group, cgroup) (rate(perfmon_cgroup_cpu_{what}_total{{{CGROUP}}}[$__rate_interval]))"
        for what in ("throttled_periods", "periods")
    )
    return (
        lines(
            Frame(31, "Memory", "Working set and limit; what the OOM killer weighs.", "bytes", 8, 9),
            Query(f"perfmon_cgroup_memory_working_set_bytes{{{CGROUP}}}", "{{cgroup}}"),
            Query(f"perfmon_cgroup_memory_limit_bytes{{{CGROUP}}}", "{{cgroup}} limit"),
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
                f'(increase(perfmon_cgroup_memory_events_total{{event="oom_kill", {CGROUP}}}[$__rate_interval]))',
                "{{cgroup}}",
            ),
            bars=True,
        ),
        lines(
            Frame(34, "CPU", "CPU time and limit; 100 % is one core.", "percentunit", 8, 9),
            Query(
                f"sum by (instance, group, cgroup) "
                f"(rate(perfmon_cgroup_cpu_seconds_total{{{CGROUP}}}[$__rate_interval]))",
                "{{cgroup}}",
            ),
            Query(f"perfmon_cgroup_cpu_limit{{{CGROUP}}}", "{{cgroup}} limit"),
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
            Query(f"perfmon_cgroup_tasks{{{CGROUP}}}", "{{cgroup}}"),
            Query(f"perfmon_cgroup_tasks_limit{{{CGROUP}}}", "{{cgroup}} limit"),
        ),
        lines(
            Frame(37, "Pressure", "Share of the time in which a task of it waited.", "percentunit", 24, 8),
            Query(
                f"sum by (instance, cgroup, resource) "
                f"(rate(perfmon_cgroup_pressure_waiting_seconds_total{{{CGROUP}}}[$__rate_interval]))",
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
                f"(rate(perfmon_host_pressure_{how}_seconds_total{{{PERFMON}}}[$__rate_interval]))",
                "{{instance}} {{resource}}",
            ),
        )
        for id_, title, description, how in (
            (41, "Somebody waits", "Share of the time in which at least one task waited.", "waiting"),
            (42, "Everybody waits", "Share of the time in which no task could go on.", "stalled"),
        )
    )
