"""Which envelope of a series to believe, and how it rises."""

import math
from collections.abc import Sequence
from statistics import median

import msgspec

from perfmon.leak.blocks import WARM_UP, Block, Points, blocks_of
from perfmon.leak.fit import Fit, Track, memory_of, p_above, regress, residuals, theil_sen

__all__ = ["LEAST_FOR_GROWTH", "LEAST_POINTS", "SEASONS", "Envelope", "Trend", "envelope_of", "trend_of"]

LEAST_POINTS = 96
"""Fewer make no 24 blocks of three points after the warm-up was left out."""

LEAST_FOR_GROWTH = 8
"""Fewer points make no slope with an interval."""

SEASONS = 1.9
"""So many cycles a window must hold to tell a cycle from a trend: two, but for a point that is not there yet."""

_BLOCKS = 32
_COARSE = (16, 8)
_LEAST_BLOCKS = 8
_POINTS_A_BLOCK = 3
_SMOOTH = 0.6


class Envelope(msgspec.Struct, frozen=True):
    """The middle or the low of the blocks, and its rise over the window that is judged."""

    track: Track
    slope: float  # Theil-Sen's, over the whole of that window
    spread: float  # of what lies around the line
    phi: float  # memory of the noise, see `memory_of`
    fit: Fit  # the same line by least squares that know of `phi`: its error and its significance

    @property
    def error(self) -> float:
        """Standard error of the slope."""
        return self.fit.errors[0]

    @property
    def p(self) -> float:
        """The chance of such a rise without a trend."""
        return p_above(self.fit.t(0), self.fit.freedom)

    @property
    def noise(self) -> float:
        """How uncertain the spread alone makes a slope; to compare envelopes of different blocks."""
        return self.spread / math.sqrt(max(1, len(self.track) - 2))


_Pair = tuple[Envelope, Envelope]
"""The middle and the low one of the same blocks."""


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """What is judged."""

    lead: Envelope  # the one to believe
    other: Envelope
    is_low: bool  # whether the low one leads
    span_s: float  # of the window that is judged: the given one without its warm-up
    whole_s: float  # of the window that was given
    level: float  # where the series lies
    countable: bool  # whether all values are whole numbers
    seasons: float | None  # how many cycles the given window holds; None when no cycle was named


def trend_of(points: Points, restarts: Sequence[float], season_s: float | None) -> Trend | None:
    """The trend after the warm-up; None when there are too few points, or too many gaps."""
    kept = points.since(_warm_at(points, season_s))
    if kept.span_s <= 0:  # all but the last point lie in the first quarter
        return None
    counts = (_BLOCKS,) if restarts else (_BLOCKS, *_COARSE)
    pairs = [pair for count in counts if (pair := _envelopes(kept, restarts, kept.span_s / count, season_s))]
    if not pairs:
        return None
    lead, other = _chosen(pairs)
    return Trend(
        lead=lead,
        other=other,
        is_low=any(lead is low for _, low in pairs),
        span_s=kept.span_s,
        whole_s=points.span_s,
        level=median(kept.values),
        countable=all(value.is_integer() for value in kept.values),
        seasons=None if season_s is None else points.span_s / season_s,
    )


def envelope_of(points: Points) -> Envelope | None:
    """The middle of all points, warm-up included; None when gaps leave too few blocks."""
    length_s = points.span_s / _BLOCKS
    blocks = blocks_of(points, restarts=(), length_s=length_s, least=1)
    if len(blocks) < LEAST_FOR_GROWTH:
        return None
    return _envelope(_track(points, blocks, [block.middle for block in blocks], length_s))


def _warm_at(points: Points, season_s: float | None) -> float:
    """When the warm-up is over: after a quarter, unless two cycles of the season need the time."""
    warm_s = WARM_UP * points.span_s
    if season_s is not None and points.span_s >= SEASONS * season_s:
        warm_s = min(warm_s, max(0.0, points.span_s - 2 * season_s))
    return points.times[0] + warm_s


def _chosen(pairs: Sequence[_Pair]) -> tuple[Envelope, Envelope]:
    """The envelope to believe, and the other one of its blocks; `pairs` of finer blocks come first.

    Where a collector's teeth are longer than a block, the low of 32 blocks is as rough as their middle, and that of 16
    or 8 is smooth. So coarser blocks are taken when they make the line twice as certain or nearly so.
    """
    (middle, low), *coarser = pairs
    lead, other = (low, middle) if 2 * low.spread < middle.spread else (middle, low)
    smooth = [(low, middle) for middle, low in coarser if low.noise < _SMOOTH * lead.noise]
    return min(smooth, key=lambda pair: pair[0].noise, default=(lead, other))


def _envelopes(points: Points, restarts: Sequence[float], length_s: float, season_s: float | None) -> _Pair | None:
    """Those of blocks of that length."""
    blocks = blocks_of(points, restarts=restarts, length_s=length_s, least=_POINTS_A_BLOCK)
    expected = points.span_s / length_s
    if len(blocks) < max(_LEAST_BLOCKS, expected / 2):
        return None
    middle = _track(points, blocks, [block.middle for block in blocks], length_s)
    low = _track(points, blocks, [block.low for block in blocks], length_s)
    if season_s is not None and points.span_s > season_s:
        middle, low = (_without_season(track, season_s / points.span_s) for track in (middle, low))
    return _envelope(middle), _envelope(low)


def _track(points: Points, blocks: Sequence[Block], values: Sequence[float], length_s: float) -> Track:
    times = [(block.at - points.times[0]) / points.span_s for block in blocks]
    return Track(
        times, [value - values[0] for value in values], [block.life for block in blocks], length_s / points.span_s
    )


def _without_season(track: Track, period: float) -> Track:
    """Less a wave of that period and one of half of it, fitted beside a line."""
    angles = [[2 * math.pi * order * at / period for at in track.times] for order in (1, 2)]
    waves = [[wave(angle) for angle in turns] for turns in angles for wave in (math.sin, math.cos)]
    heights = regress(track, [track.times, *waves], 0.0).slopes[1:]
    values = [
        value - sum(height * wave[i] for height, wave in zip(heights, waves, strict=True))
        for i, value in enumerate(track.values)
    ]
    return Track(track.times, values, track.lives, track.step)


def _envelope(track: Track) -> Envelope:
    slope = theil_sen(track)
    left = residuals(track, [track.times], [slope])
    phi = memory_of(track, left)
    # Of a series in few whole steps more than half may lie on the line, and still it has a spread.
    spread = 1.4826 * median(map(abs, left)) or math.sqrt(sum(one * one for one in left) / len(left))
    return Envelope(track, slope, spread, phi, regress(track, [track.times], phi))
