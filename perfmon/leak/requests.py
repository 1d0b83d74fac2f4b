"""Growth for each request, told apart from growth by time."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Literal, get_args

import msgspec

from perfmon.leak.blocks import WARM_UP, Points, blocks_of, is_number, points_of
from perfmon.leak.fit import Fit, Track, fit_of, p_above, quantile, regress
from perfmon.leak.words import with_interval
from perfmon.units import Unit

__all__ = ["CAUSES", "PerRequest", "per_request", "per_request_of_load"]

Cause = Literal["requests", "time", "both", "neither", "indistinguishable", "insufficient_data"]
CAUSES: tuple[Cause, ...] = get_args(Cause)

_BLOCKS = 32
_LEAST_BLOCKS = 12
_ALPHA = 0.01
_TIED = 0.05
"""The share of the requests' course that time must leave unexplained: below, the two cannot be told apart."""


class PerRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What requests leave behind, and what comes by time alone; intervals at 95 %."""

    cause: Cause
    per_request: float | None = None  # in the unit of the series
    low: float | None = None
    high: float | None = None
    per_second: float | None = None  # of growth that goes on without requests
    per_second_low: float | None = None
    per_second_high: float | None = None
    requests: float = 0.0  # how many there were

    def sentence(self, unit: Unit, *, one: str = "request", many: str = "requests") -> str:
        """`4.1 KiB per request (95 % interval 3.9 to 4.4), nothing by time alone`, for a series of that unit.

        `one` and `many` are what to call what was counted.
        """
        each = _told(self.per_request, self.low, self.high, unit, f" per {one}")
        by_time = _told(self.per_second, self.per_second_low, self.per_second_high, unit, "/s")
        match self.cause:
            case "requests":
                return f"{each}, nothing by time alone"
            case "time":
                return f"{by_time} by time alone, nothing per {one}"
            case "both":
                return f"{each}, and {by_time} by time alone"
            case "indistinguishable":
                return f"{each} if it is the {many}: they came at a steady rate, so it may as well be time"
            case "neither":
                return f"nothing, neither per {one} nor by time"
            case "insufficient_data":
                return f"too few points, or no {many}"


def per_request(times: Sequence[float], values: Sequence[float], requests: Sequence[float]) -> PerRequest:
    """Growth regressed on requests and on time together; `requests[i]` is a counter's value at `times[i]`.

    The counter may begin anew. When requests come at a steady rate, their growth and that by time are the same line:
    the cause is then "indistinguishable", and `per_request` says what each request left if it was the requests.
    """
    known = [row for row in zip(times, values, requests, strict=True) if is_number(row[1]) and is_number(row[2])]
    points = points_of([row[0] for row in known], [row[1] for row in known], None)
    counted = _climbing([row[2] for row in known])
    blocks = _blocks(points, counted)
    if blocks is None:
        return PerRequest(cause="insufficient_data")
    track, done = blocks
    return _told_apart(track, done, span_s=points.span_s * (1 - WARM_UP), requests=counted[-1])


def per_request_of_load(
    times: Sequence[float], values: Sequence[float], ends: Sequence[float], done: Sequence[float]
) -> PerRequest:
    """As `per_request`, of a load counted by spans: `done[i]` requests had an answer from the end before to `ends[i]`.

    Times and ends are of one clock and ascend; what lies outside of the spans is left out.
    """
    # The first span's own count stays out: nobody says when it began.
    totals = [0.0, *accumulate(map(float, done[1:]))]
    return per_request(times, values, [_between(ends, totals, at) for at in times])


def _between(ends: Sequence[float], totals: Sequence[float], at: float) -> float:
    """On the straight line between the two ends around an instant; nan outside of all."""
    after = bisect_right(ends, at)
    if after == 0 or (after == len(ends) and at > ends[-1]):
        return math.nan
    if after == len(ends):
        return totals[-1]
    share = (at - ends[after - 1]) / (ends[after] - ends[after - 1])
    return totals[after - 1] + share * (totals[after] - totals[after - 1])


def _blocks(points: Points, counted: Sequence[float]) -> tuple[Track, list[float]] | None:
    """The envelope of the values, and the mean of the counter over the same blocks, after the warm-up."""
    if len(points) < 3 * _LEAST_BLOCKS or points.span_s <= 0 or counted[-1] <= 0:
        return None
    warm_at = points.times[0] + WARM_UP * points.span_s
    ends = (points.since(warm_at), points_of(points.times, counted, None).since(warm_at))
    length_s = ends[0].span_s / _BLOCKS
    if length_s <= 0:
        return None
    values, counts = (blocks_of(part, restarts=(), length_s=length_s, least=3) for part in ends)
    if len(values) < _LEAST_BLOCKS:
        return None
    first = values[0].at
    times = [(block.at - first) / ends[0].span_s for block in values]
    track = Track(times, [block.middle for block in values], [0] * len(values), 1 / _BLOCKS)
    return track, [block.middle for block in counts]


def _told_apart(track: Track, done: Sequence[float], *, span_s: float, requests: float) -> PerRequest:
    course = Track(track.times, done, track.lives, track.step)
    if regress(course, [track.times], 0.0).rss < _TIED**2 * regress(course, [], 0.0).rss:
        alone = fit_of(track, [done])
        low, high = _interval(alone, 0)
        return PerRequest(cause="indistinguishable", per_request=alone.slopes[0], low=low, high=high, requests=requests)
    fit = fit_of(track, [done, track.times])
    low, high = _interval(fit, 0)
    slow, fast = _interval(fit, 1)
    return PerRequest(
        cause=_cause(by_requests=_rises(fit, 0), by_time=_rises(fit, 1)),
        per_request=fit.slopes[0],
        low=low,
        high=high,
        per_second=fit.slopes[1] / span_s,
        per_second_low=slow / span_s,
        per_second_high=fast / span_s,
        requests=requests,
    )


def _interval(fit: Fit, index: int) -> tuple[float, float]:
    half = quantile(fit.freedom) * fit.errors[index]
    return fit.slopes[index] - half, fit.slopes[index] + half


def _told(value: float | None, low: float | None, high: float | None, unit: Unit, per: str) -> str:
    return "" if value is None or low is None or high is None else with_interval(value, low, high, unit, per)


def _rises(fit: Fit, index: int) -> bool:
    return p_above(fit.t(index), fit.freedom) < _ALPHA


def _cause(*, by_requests: bool, by_time: bool) -> Cause:
    if by_requests:
        return "both" if by_time else "requests"
    return "time" if by_time else "neither"


def _climbing(counts: Sequence[float]) -> list[float]:
    """The counter from 0, without its falls: after one it shows what came since."""
    total, climbed = 0.0, [0.0]
    for before, now in pairwise(counts):
        total += now - before if now >= before else now
        climbed.append(total)
    return climbed
