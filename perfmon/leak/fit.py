"""Lines and curves through blocks whose noise remembers itself: a robust slope, and tests that stay honest about it."""

import math
import operator
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

import msgspec

__all__ = ["Curve", "Fit", "Track", "fit_of", "memory_of", "p_above", "quantile", "regress", "residuals", "theil_sen"]

Curve = Sequence[float]
"""A value for each block: its time, the square of that, ..."""


class Track(msgspec.Struct, frozen=True):
    """One envelope: `values[i]` at `times[i]` in the life `lives[i]`. Lives stand one after another.

    Times are shares of the window that is judged, and `step` is the length of a block.
    """

    times: Curve
    values: Curve
    lives: Sequence[int]
    step: float

    def __len__(self) -> int:
        return len(self.values)

    def part(self, first: int, last: int) -> "Track":
        """The blocks with the numbers `first` to `last` - 1."""
        return Track(self.times[first:last], self.values[first:last], self.lives[first:last], self.step)

    def of_life(self, life: int) -> "Track":
        """The blocks of one life."""
        return self.part(self.lives.index(life), self.lives.index(life) + self.lives.count(life))


class Fit(msgspec.Struct, frozen=True):
    """The coefficient of each curve with its standard error."""

    slopes: tuple[float, ...]
    errors: tuple[float, ...]
    rss: float  # sum of squares of what the noise did anew at each block
    freedom: int

    def t(self, index: int) -> float:
        """The coefficient over its error."""
        slope, error = self.slopes[index], self.errors[index]
        if error > 0:
            return slope / error
        return math.copysign(math.inf, slope) if slope else 0.0


def theil_sen(track: Track) -> float:
    """The median of the slopes between any two blocks of one life: up to 29 % of the blocks may be anywhere."""
    rows = list(zip(track.times, track.values, track.lives, strict=True))
    slopes = [
        (value - other) / (at - then)
        for index, (at, value, life) in enumerate(rows)
        for then, other, lived in rows[:index]
        if lived == life
    ]
    return median(slopes) if slopes else 0.0


def residuals(track: Track, curves: Sequence[Curve], slopes: Sequence[float]) -> list[float]:
    """What the curves leave of the values, around 0 in each life."""
    raw = [
        value - sum(slope * curve[i] for slope, curve in zip(slopes, curves, strict=True))
        for i, value in enumerate(track.values)
    ]
    levels = {life: _mean([left for left, lived in zip(raw, track.lives, strict=True) if lived == life])
              for life in set(track.lives)}  # fmt: skip
    return [left - levels[life] for left, life in zip(raw, track.lives, strict=True)]


def memory_of(track: Track, left: Sequence[float]) -> float:
    """How much of one block's residual is left in the next: 0 for white noise, 1 for a random walk.

    The plain estimate is too low in a short series that was freed of a trend, by (2 + 4 phi) / n (Marriott and Pope,
    1954). What is close to 1 is taken for 1, so that the test holds for random walks too (Perron and Yabu, 2009).
    """
    neighbours = [
        (before, now)
        for (before, now), (then, at), (lived, life) in zip(
            pairwise(left), pairwise(track.times), pairwise(track.lives), strict=True
        )
        if lived == life and at - then < 1.5 * track.step
    ]
    square = math.fsum(before * before for before, _ in neighbours)
    if len(neighbours) < 4 or square <= 0:
        return 0.0
    phi = math.fsum(before * now for before, now in neighbours) / square
    phi += (2 + 4 * phi) / len(neighbours)
    return 1.0 if phi > 1 - 1 / math.sqrt(len(neighbours)) else max(0.0, phi)


def regress(track: Track, curves: Sequence[Curve], phi: float) -> Fit:
    """The values on the curves, each life with a level of its own, by generalised least squares.

    Noise is AR(1) with the memory `phi`; after a gap of d blocks phi ** d of it is left.
    """
    *xs, y = _without_levels(_whitened(track, [*curves, track.values], phi), track)
    inverse = _inverse([[_dot(x, other) for other in xs] for x in xs])
    right = [_dot(x, y) for x in xs]
    slopes = tuple(_dot(line, right) for line in inverse)
    left = y
    for slope, x in zip(slopes, xs, strict=True):
        left = [value - slope * curve for value, curve in zip(left, x, strict=True)]
    rss = _dot(left, left)
    # Each life costs a degree of freedom: for its level, or for its first value where that says nothing.
    freedom = max(1, len(track) - len(curves) - len(set(track.lives)))
    errors = tuple(math.sqrt(max(0.0, inverse[i][i] * rss / freedom)) for i in range(len(xs)))
    return Fit(slopes, errors, rss, freedom)


def fit_of(track: Track, curves: Sequence[Curve]) -> Fit:
    """`regress` with the memory that is left beside these curves: beside a line alone, a bend looks like memory."""
    plain = regress(track, curves, 0.0)
    return regress(track, curves, memory_of(track, residuals(track, curves, plain.slopes)))


def p_above(t: float, freedom: int) -> float:
    """The chance of a value of Student's t as large or larger (Wallace's approximation, 1959: to three digits)."""
    if math.isinf(t):
        return 0.0 if t > 0 else 1.0
    z = math.copysign(math.sqrt(freedom * math.log1p(t * t / freedom)), t) * (8 * freedom + 1) / (8 * freedom + 3)
    return 0.5 * math.erfc(z / math.sqrt(2))


def quantile(freedom: int) -> float:
    """Student's t that 2.5 % lie above (Abramowitz and Stegun 26.7.5; from five degrees of freedom on to 1 %)."""
    z = 1.959963984540054
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


# ---------------------------------------------------------------- least squares

_Column = list[float]


def _whitened(track: Track, columns: Sequence[Curve], phi: float) -> list[_Column]:
    """A column of levels and then those given, each value less what the block before it says of it."""
    shares, scales = [0.0], [float(phi < 1)]  # of a random walk the first value says nothing
    for (then, at), (lived, life) in zip(pairwise(track.times), pairwise(track.lives), strict=True):
        gap = max(1.0, (at - then) / track.step)
        share = phi**gap if lived == life else 0.0
        shares.append(share)
        scales.append(scales[0] if lived != life else 1 / math.sqrt(gap if phi >= 1 else 1 - share * share))
    level = [scale * (1 - share) for scale, share in zip(scales, shares, strict=True)]
    return [level] + [
        [
            scale * (now - share * before)
            for scale, share, now, before in zip(scales, shares, column, [0.0, *column], strict=False)
        ]
        for column in columns
    ]


def _without_levels(columns: Sequence[_Column], track: Track) -> list[_Column]:
    """The columns behind the first, less their projection on it within each life: a level for each, uncounted."""
    level, *others = columns
    edges = [0, *(i for i in range(1, len(track)) if track.lives[i] != track.lives[i - 1]), len(track)]
    lives = [(slice(first, last), _dot(level[first:last], level[first:last])) for first, last in pairwise(edges)]
    found = []
    for column in others:
        free: _Column = []
        for life, weight in lives:
            height = _dot(level[life], column[life]) / weight if weight else 0.0
            free += [value - height * one for value, one in zip(column[life], level[life], strict=True)]
        found.append(free)
    return found


def _inverse(matrix: Sequence[_Column]) -> list[_Column]:
    """By Gauss and Jordan; all 0 when the curves are not independent, which makes no slope of them."""
    size = len(matrix)
    work = [[*row, *(float(i == j) for j in range(size))] for i, row in enumerate(matrix)]
    for i in range(size):
        if work[i][i] <= 1e-12 * matrix[i][i]:
            return [[0.0] * size for _ in range(size)]
        work[i] = [value / work[i][i] for value in work[i]]
        for k in range(size):
            if k != i:
                work[k] = [value - work[k][i] * pivot for value, pivot in zip(work[k], work[i], strict=True)]
    return [row[size:] for row in work]


def _dot(one: Curve, other: Curve) -> float:
    return float(sum(map(operator.mul, one, other)))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
