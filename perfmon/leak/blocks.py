"""From raw points to blocks of equal length with two envelopes, cut where what is watched began anew."""

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise

import msgspec

__all__ = ["WARM_UP", "Block", "Points", "blocks_of", "is_number", "points_of"]

WARM_UP = 0.25
"""The share of a window, and of each life in it, that is taken for warming up."""

_TRIMMED = 0.25  # of each end of a block, what its middle leaves out: safe from outliers, and less noisy than a median


_HUGE = 1e100


class Points(msgspec.Struct, frozen=True):
    """A series: `lows[i]` is the smallest value that `values[i]` stands for, itself for a raw point."""

    times: Sequence[float]
    values: Sequence[float]
    lows: Sequence[float]

    def __len__(self) -> int:
        return len(self.times)

    @property
    def span_s(self) -> float:
        """From the first to the last."""
        return self.times[-1] - self.times[0]

    def since(self, at: float) -> "Points":
        """Those from an instant on."""
        return self.part(bisect_left(self.times, at), len(self))

    def part(self, first: int, last: int) -> "Points":
        """Those with the numbers `first` to `last` - 1."""
        return Points(self.times[first:last], self.values[first:last], self.lows[first:last])


class Block(msgspec.Struct, frozen=True):
    """The points of one stretch of time."""

    at: float  # their mean time
    middle: float  # their mean without the quarter at either end
    low: float
    life: int  # which life of the process they belong to, from 0


def is_number(value: float) -> bool:
    """Whether it is finite, and its square is."""
    return abs(value) < _HUGE


def points_of(times: Sequence[float], values: Sequence[float], lows: Sequence[float] | None) -> Points:
    """The points that are numbers."""
    rows = [row for row in zip(times, values, values if lows is None else lows, strict=True) if is_number(row[1])]
    return Points(*([float(row[column]) for row in rows] for column in range(3)))


def blocks_of(points: Points, *, restarts: Sequence[float], length_s: float, least: int) -> list[Block]:
    """Blocks of `length_s` from the beginning of each life on; those with fewer than `least` points are left out.

    What a new life does first is warming up, so the first quarter of each but the first is left out too.
    """
    found: list[Block] = []
    for life, whole in enumerate(_lives(points, restarts)):
        lived = whole.since(whole.times[0] + WARM_UP * whole.span_s) if life else whole
        found += [_block(part, life) for part in _stretches(lived, length_s) if len(part) >= least]
    return found


def _lives(points: Points, restarts: Sequence[float]) -> Iterator[Points]:
    edges = sorted({0, len(points), *(bisect_left(points.times, at) for at in restarts)})
    return (points.part(first, last) for first, last in pairwise(edges))


def _stretches(points: Points, length_s: float) -> Iterator[Points]:
    """Consecutive parts, each of the points of one slot of the grid that begins with the first."""
    first, began = 0, points.times[0]
    while first < len(points):
        slot = math.floor((points.times[first] - began) / length_s + 1e-9)
        last = max(first + 1, bisect_left(points.times, began + (slot + 1) * length_s))
        yield points.part(first, last)
        first = last


def _block(points: Points, life: int) -> Block:
    ordered, n = sorted(points.values), len(points)
    cut = int(n * _TRIMMED)
    middle = sum(ordered[cut : n - cut]) / (n - 2 * cut)
    return Block(at=sum(points.times) / n, middle=middle, low=min(points.lows), life=life)
