"""Hold a test against what was demanded of it. Pure."""

import math
from collections.abc import Callable, Sequence

from perfmon import stats
from perfmon.histogram import Histogram
from perfmon.model import Verdict
from perfmon.run import Judged, Snapshot, percentile, percentile_interval
from perfmon.scenario import Demand, Metric
from perfmon.units import Unit, format_quantity

__all__ = ["judge"]

_Value = tuple[float | None, float | None, float | None, int]  # value, its interval, and how many it rests on


def judge(
    demand: Demand, total: Snapshot, *, unfinished: int, took_s: float, timeline: Sequence[Snapshot] = ()
) -> Judged:
    """The verdict on the whole; no data is no success. `timeline` tells how alike neighbours are: see `effective_n`."""
    value, low, high, n = _values(demand, total, unfinished, took_s, timeline)
    level, limit = demand.threshold.evaluate(value)
    return Judged(
        demand=demand,
        verdict=Verdict(
            level=level, why=_why(demand, value, low, high, n), value=value, limit=limit, n=n, low=low, high=high
        ),
    )


def _values(demand: Demand, total: Snapshot, unfinished: int, took_s: float, timeline: Sequence[Snapshot]) -> _Value:
    missed = total.dropped + unfinished
    n = total.done + missed
    if demand.metric == "failed":
        return _share(total.failed.total() + missed, n, timeline)
    if demand.metric == "done":
        served = total.done - total.failed.total()
        if demand.threshold.aggregation == "count":
            return float(served), None, None, n
        return (served / took_s, None, None, n) if took_s else (None, None, None, 0)
    field = _FIELDS[demand.metric]
    counts_missed = demand.metric == "duration"
    blocks = [(getattr(point, field), point.dropped * counts_missed) for point in timeline]
    return _of_times(demand, getattr(total, field), missed * counts_missed, blocks)


_FIELDS = {"duration": "response", "service": "service", "queue": "queue"}


def _share(failed: int, n: int, timeline: Sequence[Snapshot]) -> _Value:
    if not n:
        return None, None, None, 0
    blocks = [(point.failed.total() + point.dropped, point.done + point.dropped) for point in timeline]
    worth = stats.effective_n(blocks) or n
    return failed / n, *stats.proportion_interval(failed / n * worth, max(1, int(worth))), n


def _of_times(demand: Demand, histogram: Histogram, missed: int, blocks: Sequence[tuple[Histogram, int]]) -> _Value:
    n = histogram.count + missed
    if not n:
        return None, None, None, 0
    one = demand.threshold
    if one.aggregation in ("p", "med"):
        q = 0.5 if one.percentile is None else one.percentile / 100
        return percentile(histogram, missed, q), *percentile_interval(histogram, missed, q, blocks), n
    if missed and one.aggregation != "min":
        return math.inf, None, None, n
    return (_SIMPLE[one.aggregation](histogram), None, None, n) if histogram.count else (math.inf, None, None, n)


_SIMPLE: dict[str, Callable[[Histogram], float]] = {
    "avg": lambda histogram: histogram.mean,
    "min": lambda histogram: histogram.min,
    "max": lambda histogram: histogram.max,
}


def _why(demand: Demand, value: float | None, low: float | None, high: float | None, n: int) -> str:
    """`p95 of duration is 312ms (95 % between 305ms and 320ms, n=6000), expected < 200ms`."""
    one = demand.threshold
    if value is None:
        return f"no data: nothing was measured of {demand.metric}"
    unit = _UNITS[demand.metric] if one.aggregation != "count" else ""
    per = "/s" if demand.metric == "done" and one.aggregation == "rate" else ""
    interval = ""
    if low is not None and high is not None:
        interval = f"95 % between {_shown(low, unit)} and {_shown(high, unit)}, "
    limits = ", ".join(
        f"{format_quantity(limit.quantity.value, unit)}{per} {limit.level}".rstrip() for limit in one.limits
    )
    seen = f"{one.name} of {demand.metric} is {_shown(value, unit)}{per}"
    return f"{seen} ({interval}n={n}), expected {one.op} {limits}"


_UNITS: dict[Metric, Unit] = {
    "duration": "seconds",
    "service": "seconds",
    "queue": "seconds",
    "failed": "ratio",
    "done": "",
}


def _shown(value: float, unit: Unit) -> str:
    return "never" if math.isinf(value) else format_quantity(value, unit, brief=True)
