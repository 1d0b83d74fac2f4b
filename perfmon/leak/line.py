"""The line of a verdict through the points it was made from, for those who look at it."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

import msgspec

__all__ = ["Line", "lines_of"]

WARM_UP = 0.25
"""Of the window; what is left out of the verdict has no line either."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """The line of one life: through `level` at `middle`, the slope being the verdict's."""

    begin: float
    middle: float
    end: float
    level: float

    def at(self, instant: float, slope: float) -> float:
        """Its height, for any slope: with the ends of the interval it is the edge of the band."""
        return self.level + slope * (instant - self.middle)


def lines_of(
    times: Sequence[float], values: Sequence[float], *, slope: float, restarts: Sequence[float] = ()
) -> list[Line]:
    """One line for each life that has three points at least: lives have the slope in common, and each its own level.

    The level is the median of what the slope leaves, so that it lies where most points are.
    """
    if not times:
        return []
    first = bisect_left(times, times[0] + WARM_UP * (times[-1] - times[0]))
    edges = sorted({first, len(times), *(at for cut in restarts if (at := bisect_left(times, cut)) > first)})
    return [_line(times[begin:end], values[begin:end], slope) for begin, end in pairwise(edges) if end - begin > 2]


def _line(times: Sequence[float], values: Sequence[float], slope: float) -> Line:
    middle = (times[0] + times[-1]) / 2
    level = median(value - slope * (at - middle) for at, value in zip(times, values, strict=True))
    return Line(begin=times[0], middle=middle, end=times[-1], level=level)
