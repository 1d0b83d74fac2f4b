"""A test in words and rows, for whichever report tells of it. Pure."""

import math
from collections.abc import Sequence

from perfmon.clock import iso
from perfmon.histogram import Histogram
from perfmon.offer import Closed, Offer, Open
from perfmon.run import Judged, Report, Run, percentile
from perfmon.scenario import Demand
from perfmon.units import format_duration, format_ratio

__all__ = [
    "QUANTILES",
    "ended",
    "facts",
    "headline",
    "honesty",
    "latencies",
    "offered",
    "outcome",
    "reasons",
    "time",
    "value",
]

QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999)


def headline(report: Report) -> str:
    """The verdict first: `FAILED: 1 of 2 thresholds is broken`."""
    run, broken = report.run, sum(not one.passed for one in report.judged)
    if run.generator.verdict == "INVALID":
        return f"INVALID: {run.generator.why}"
    how = {"complete": "", "interrupted": ", interrupted", "aborted": ", aborted"}[run.ended]
    of = f"{len(report.judged)} threshold{'s' * (len(report.judged) != 1)}"
    if broken:
        return f"FAILED{how}: {broken} of {of} {'is' if broken == 1 else 'are'} broken"
    saturated = f"; {run.generator.why}" if run.generator.verdict == "SATURATED" else ""
    return f"PASSED{how}: {of} {'holds' if len(report.judged) == 1 else 'hold'}{saturated}"


def facts(run: Run) -> list[tuple[str, str]]:
    """What was done to what."""
    scenario = run.scenario
    return [
        ("target", f"{scenario.target.address} ({scenario.module.name})"),
        ("offered", offered(scenario.offer)),
        ("began", iso(run.began)),
        ("took", f"{format_duration(run.took_s, brief=True)}{ended(run)}"),
        ("done", _done(run)),
    ]


def offered(offer: Offer) -> str:
    """`200/s for 30s, evenly spaced`."""
    course = offer.course
    level = len(course.pieces) == 1 and course.pieces[0].begin == course.pieces[0].end
    over = format_duration(offer.duration_s, brief=True)
    if isinstance(offer, Open):
        spaced = "evenly spaced" if offer.spacing == "uniform" else f"by chance (Poisson, seed {offer.seed})"
        rate = f"{course.highest:g}/s" if level else f"up to {course.highest:g}/s, {course.area:.0f} in all,"
        return f"{rate} for {over}, {spaced}"
    users = f"{offer.users} user{'s' * (offer.users != 1)}"
    return f"{users if level else f'up to {users}'} {_iterations(offer, over)}"


def ended(run: Run) -> str:
    """How it ended, where that was not as planned."""
    if run.ended == "complete":
        return ""
    cut = f"; {run.cut} under way were cut" if run.cut else ""
    return f", {'interrupted' if run.ended == 'interrupted' else 'aborted by a broken threshold'}{cut}"


def latencies(run: Run) -> list[tuple[str, str, Sequence[str]]]:
    """Rows of (name, what it is, percentiles and the longest)."""
    total = run.total
    rows = (
        ("response", "from the intended start", total.response, run.missed),
        ("service", "from the actual start", total.service, 0),
        ("queue", "between the two", total.queue, 0),
    )
    return [(name, what, _quantiles(histogram, missed)) for name, what, histogram, missed in rows]


def time(seconds: float | None) -> str:
    """`12.3ms`; `never` for what never came, `-` for what there is none of."""
    if seconds is None:
        return "-"
    return "never" if math.isinf(seconds) else format_duration(seconds, brief=True)


def value(demand: Demand, number: float | None) -> str:
    """A figure of a demand with its unit."""
    if demand.metric in ("duration", "service", "queue"):
        return time(number)
    if number is None:
        return "-"
    if demand.metric == "failed":
        return format_ratio(number, brief=True)
    return f"{number:.4g}{'/s' if demand.threshold.aggregation == 'rate' else ''}"


def outcome(one: Judged) -> str:
    """`holds`, `warning` or `broken`."""
    return "warning" if one.verdict.level == "warning" else "holds" if one.passed else "broken"


def reasons(run: Run) -> list[tuple[str, int, str]]:
    """Why arrivals failed, how many, and an example."""
    examples = run.total.examples
    return [
        (reason, count, examples[reason].message if reason in examples else _MISSED[reason])
        for reason, count in run.reasons.items()
    ]


_MISSED = {
    "dropped": "found no room when it was due, and was dropped",
    "unfinished": "was not over when the test no longer waited",
}


def honesty(run: Run) -> str:
    """What the generator says of itself, in a line."""
    it = run.generator
    told = [
        f"lag p99 {time(it.lag_p99_s)}, max {time(it.lag_max_s)}",
        f"core busy {format_ratio(it.cpu_share, brief=True)}",
        f"loop stood still {format_ratio(it.stall_share, brief=True)}",
    ]
    if run.total.resent:
        told.append(f"{run.total.resent} requests resent by libcurl over connections that had died")
    return f"{it.verdict}{f' ({it.why})' if it.why else ''}: {', '.join(told)}"


def _done(run: Run) -> str:
    total = run.total
    due = f" of {total.due} due" if total.due else ""
    missed = f", {run.missed} never answered" if run.missed else ""
    share = format_ratio(run.failures / run.n, brief=True) if run.n else "-"
    return f"{total.done}{due}, {run.done_per_s:.4g}/s; {run.failures} failed ({share}){missed}"


def _iterations(offer: Closed, over: str) -> str:
    if offer.iterations is None:
        return f"for {over}"
    return f"{offer.iterations} times {'in all' if offer.shared else 'each'}, {over} at most"


def _quantiles(histogram: Histogram, missed: int) -> Sequence[str]:
    longest = None if not histogram.count else math.inf if missed else histogram.max
    return [*(time(percentile(histogram, missed, q)) for q in QUANTILES), time(longest)]
