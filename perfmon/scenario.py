"""A test as it is to be run: what is offered to which target, how it is measured, and what must hold of it. Pure."""

import re
from collections.abc import Mapping
from typing import Any, Literal, get_args

import msgspec

from perfmon import threshold
from perfmon.model import Module, Target
from perfmon.offer import Offer
from perfmon.threshold import Threshold
from perfmon.units import quoted

__all__ = ["METRICS", "STANDARD", "Demand", "Late", "Metric", "Scenario", "demand", "named_demand"]

Metric = Literal["duration", "service", "queue", "failed", "done"]
METRICS: tuple[Metric, ...] = get_args(Metric)
Late = Literal["queue", "drop"]


class Demand(msgspec.Struct, frozen=True):
    """One sentence about one figure of a test."""

    metric: Metric
    threshold: Threshold

    def __str__(self) -> str:
        return f"{self.metric}: {_CLAUSES.sub('', str(self.threshold)).strip()}"


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One test."""

    name: str
    target: Target
    module: Module  # what one arrival, or one user once, does
    executor: str  # executors/<executor>.py
    settings: Any  # that executor's own `Config`
    offer: Offer
    demands: tuple[Demand, ...]
    max_in_flight: int = 1_000  # arrivals beyond wait, or are dropped
    late: Late = "queue"
    think_s: float = 0.0  # between two runs of a user
    stop_s: float = 30.0  # after the last arrival, for those under way
    keep_alive: bool = True


def demand(metric: str, text: str) -> Demand:
    """A sentence about a metric: `p(95) < 200ms`; ValueError with what stood there and what was expected.

    A test is judged as a whole, so there is no time to look back on.
    """
    if metric not in METRICS:
        raise ValueError(f"unknown metric {quoted(metric)}, expected one of: {', '.join(METRICS)}")
    one = threshold.parse(text)
    if _CLAUSES.search(text):
        raise ValueError(f'a test is judged as a whole, expected no "over", "for" or "within", got {quoted(text)}')
    if any(limit.factor for limit in one.limits):
        raise ValueError(f"a test has no baseline yet, expected a limit such as 200ms, got {quoted(text)}")
    made = Demand(_METRICS[metric], one)
    problem = _misfit(made)
    if problem:
        raise ValueError(f"{problem}, got {quoted(text)}")
    return made


def named_demand(text: str) -> Demand:
    """`failed: rate < 1%`; a sentence without a metric is about the duration."""
    metric, colon, rest = text.partition(":")
    return demand(metric.strip(), rest.strip()) if colon else demand("duration", text)


_METRICS: Mapping[str, Metric] = {metric: metric for metric in METRICS}
_CLAUSES = re.compile(r"\b(?:over|for|within)\b.*", re.DOTALL)
_OF_TIMES = ("p", "avg", "min", "max", "med")


def _misfit(one: Demand) -> str:
    """Why a sentence makes no sense of its metric; "" when it does."""
    aggregation, unit = one.threshold.aggregation, one.threshold.unit
    per_s = any(limit.quantity.per_s for limit in one.threshold.limits)
    match one.metric:
        case "failed":
            if aggregation != "rate" or per_s or unit not in ("ratio", ""):
                return "expected a share such as rate < 1% of failed"
        case "done":
            if aggregation not in ("rate", "count") or unit == "ratio":
                return "expected a rate such as rate > 100/s, or a count, of done"
        case _:
            if aggregation not in _OF_TIMES:
                return f"expected p(N), avg, min, max or med of {one.metric}"
            if unit != "seconds":  # a bare number is milliseconds to k6, seconds to the grammar, and wrong to somebody
                return f"expected a duration with its unit, such as 200ms, for {one.metric}"
    return ""


STANDARD = (demand("failed", "rate < 1%"),)
"""What must hold where nobody says anything: a test in which everything failed is no success."""
