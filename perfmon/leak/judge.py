"""The verdict on a series, with its slope, its interval, and what speaks against a leak."""

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import msgspec

from perfmon.leak.blocks import points_of
from perfmon.leak.fit import quantile
from perfmon.leak.guards import objections
from perfmon.leak.trend import LEAST_FOR_GROWTH, LEAST_POINTS, Envelope, envelope_of, trend_of

__all__ = ["VERDICTS", "Growth", "Judgement", "LeakVerdict", "growth", "judge"]

LeakVerdict = Literal["clean", "suspect", "growing", "leak", "insufficient_data"]
VERDICTS: tuple[LeakVerdict, ...] = get_args(LeakVerdict)

ALPHA = 0.01  # of a rise that is called one
SUSPECT_P = 0.05

_FILLING = ("deceleration", "saturation")
_SMALL = ("effect_size", "horizon")


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """A slope per second in the unit of the series, with its 95 % interval."""

    slope: float
    low: float
    high: float
    p: float  # the chance of such a rise without a trend, one-sided
    n: int  # points looked at
    span_s: float  # from the first to the last


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What was found."""

    verdict: LeakVerdict
    n: int  # points looked at
    growth: Growth | None = None  # None with insufficient data
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
        return Judgement(verdict="insufficient_data", n=len(points), failed={"data": why})
    grown = _growth(trend.lead, len(points), trend.whole_s, per_s=1 / trend.span_s, unit=float(trend.countable))
    left_s = _seconds_to(limit, points.values[-1], grown.slope)
    failed = objections(trend) if grown.slope > 0 and grown.p < ALPHA else {}
    if left_s is not None and horizon_s is not None and left_s > horizon_s:
        failed["horizon"] = "at this rate the limit is further away than the horizon"
    return Judgement(
        verdict=_verdict(grown, failed), n=len(points), growth=grown, seconds_to_limit=left_s, failed=failed
    )


def growth(times: Sequence[float], values: Sequence[float]) -> Growth | None:
    """How fast a series grows, whatever its shape; None when there are fewer than `LEAST_FOR_GROWTH` points."""
    points = points_of(times, values, None)
    envelope = envelope_of(points) if len(points) >= LEAST_FOR_GROWTH and points.span_s > 0 else None
    if envelope is None:
        return None
    counted = all(value.is_integer() for value in points.values)
    return _growth(envelope, len(points), points.span_s, per_s=1 / points.span_s, unit=float(counted))


def _growth(envelope: Envelope, n: int, span_s: float, *, per_s: float, unit: float) -> Growth:
    """In seconds; of what is counted, one `unit` more or less over the window cannot be told."""
    half = max(quantile(envelope.fit.freedom) * envelope.error, unit)
    # The robust slope and that of least squares differ where noise is in steps or has outliers: it holds both.
    slopes = (envelope.slope, envelope.fit.slopes[0])
    return Growth(
        slope=envelope.slope * per_s,
        low=(min(slopes) - half) * per_s,
        high=(max(slopes) + half) * per_s,
        p=envelope.p,
        n=n,
        span_s=span_s,
    )


def _verdict(grown: Growth, failed: Mapping[str, str]) -> LeakVerdict:
    if grown.slope <= 0 or grown.p >= SUSPECT_P or any(name in failed for name in _SMALL):
        return "clean"
    if grown.p >= ALPHA:
        return "suspect"
    if not failed:
        return "leak"
    return "growing" if any(name in failed for name in _FILLING) else "suspect"


def _seconds_to(limit: float | None, newest: float, slope: float) -> float | None:
    if limit is None or slope <= 0:
        return None
    return max(0.0, (limit - newest) / slope)
