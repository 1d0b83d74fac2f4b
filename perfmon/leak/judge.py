"""The verdict on a series, with its slope, its interval, and what speaks against a leak."""

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import msgspec

from perfmon.leak.blocks import points_of
from perfmon.leak.fit import quantile
from perfmon.leak.guards import objections
from perfmon.leak.trend import LEAST_POINTS, Trend, trend_of

__all__ = ["VERDICTS", "Judgement", "LeakVerdict", "judge"]

LeakVerdict = Literal["clean", "suspect", "growing", "leak", "insufficient_data"]
VERDICTS: tuple[LeakVerdict, ...] = get_args(LeakVerdict)

ALPHA = 0.01  # of a rise that is called one
SUSPECT_P = 0.05

_FILLING = ("deceleration", "saturation")
_SMALL = ("effect_size", "horizon")


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. Slopes are per second, in the unit of the series."""

    verdict: LeakVerdict
    n: int  # points looked at
    span_s: float  # from the first to the last
    slope: float | None = None  # None with insufficient data
    low: float | None = None  # its 95 % interval
    high: float | None = None
    p: float | None = None  # the chance of such a rise without a trend, one-sided
    seconds_to_limit: float | None = None  # at this rate; None when there is no limit or nothing rises
    failed: Mapping[str, str] = {}  # the guards that are not content, each with why


def judge(
    times: Sequence[float],
    values: Sequence[float],
    *,
    lows: Sequence[float] | None = None,
    restarts: Sequence[float] = (),
    season_s: float | None = None,
    limit: float | None = None,
    horizon_s: float | None = None,
) -> Judgement:
    """Whether the series leaks. `times` are seconds that ascend; they may have gaps, and values that are not finite.

    `lows[i]` is the lowest raw value where `values[i]` stands for many. `restarts` are instants at which what is
    watched began anew; a fall alone is none, since what gives memory back falls as well. `season_s` is the length of a
    cycle that the series follows. With a `limit`, growth that takes longer than `horizon_s` to get there is no leak.
    Deterministic: the same points make the same judgement.
    """
    points = points_of(times, values, lows)
    cuts = [at for at in restarts if len(points) and points.times[0] < at <= points.times[-1]]
    enough = len(points) >= LEAST_POINTS and points.span_s > 0
    trend = trend_of(points, cuts, season_s) if enough else None
    if trend is None:
        why = "the points have too many gaps" if enough else f"{len(points)} points, {LEAST_POINTS} are needed"
        span_s = points.span_s if len(points) else 0.0
        return Judgement(verdict="insufficient_data", n=len(points), span_s=span_s, failed={"data": why})
    return _judged(trend, n=len(points), newest=points.values[-1], limit=limit, horizon_s=horizon_s)


def _judged(trend: Trend, *, n: int, newest: float, limit: float | None, horizon_s: float | None) -> Judgement:
    lead = trend.lead
    left_s = _seconds_to(limit, newest, lead.slope / trend.span_s)
    failed: dict[str, str] = {}
    rises = lead.slope > 0 and lead.p < ALPHA
    if rises:
        failed = objections(trend)
        if left_s is not None and horizon_s is not None and left_s > horizon_s:
            failed["horizon"] = "at this rate the limit is further away than the horizon"
    half = quantile(lead.fit.freedom) * lead.error
    return Judgement(
        verdict=_verdict(failed) if rises else "suspect" if lead.slope > 0 and lead.p < SUSPECT_P else "clean",
        n=n,
        span_s=trend.whole_s,
        slope=lead.slope / trend.span_s,
        low=(lead.slope - half) / trend.span_s,
        high=(lead.slope + half) / trend.span_s,
        p=lead.p,
        seconds_to_limit=left_s,
        failed=failed,
    )


def _verdict(failed: Mapping[str, str]) -> LeakVerdict:
    """Of a rise that is none by chance."""
    if not failed:
        return "leak"
    if any(name in failed for name in _SMALL):
        return "clean"
    return "growing" if any(name in failed for name in _FILLING) else "suspect"


def _seconds_to(limit: float | None, newest: float, slope: float) -> float | None:
    if limit is None or slope <= 0:
        return None
    return max(0.0, (limit - newest) / slope)
