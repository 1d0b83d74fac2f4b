"""Latencies in constant memory that merge without loss: HdrHistogram's bucket layout, kept sparse."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import isfinite
from typing import Any, Self

from perfmon.units import quoted


class Histogram:
    """A distribution of durations: every quantile within 0.1 % of the value recorded, or half a microsecond.

    Buckets are those of an HdrHistogram with three significant digits and a unit of one microsecond: up to 2,047 us one
    bucket each, then 1,024 to each doubling. An hour takes 23,000 buckets at most; only those that were hit exist.
    HdrHistogram must be told its largest value beforehand; the layout does not depend on it, so here there is none.
    """

    __slots__ = ("_counts", "_max_us", "_min_us", "_total_us", "count")

    def __init__(self) -> None:
        self.count = 0
        self._counts: dict[int, int] = {}  # index of the bucket, as in HdrHistogram's array -> how many
        self._total_us = 0  # whole microseconds: sums of ints do not depend on their order, so merges commute
        self._min_us = 0
        self._max_us = 0

    def record(self, seconds: float, count: int = 1) -> None:
        """Add a duration, `count` times; ValueError unless it is finite and not negative."""
        if not (isfinite(seconds) and seconds >= 0 and count > 0):
            raise ValueError(f"expected a duration not negative and a count above 0, got {seconds} s {count} times")
        us = round(seconds * 1e6)
        shift = max(0, us.bit_length() - _BITS)
        index = (shift << _HALF_BITS) + (us >> shift)  # as in `_index`, without the call
        self._counts[index] = self._counts.get(index, 0) + count
        self._max_us = max(self._max_us, us)
        self._min_us = min(self._min_us, us) if self.count else us
        self.count += count
        self._total_us += us * count

    def merge(self, other: Self) -> None:
        """Add all that the other has; the order in which many are merged does not matter."""
        if not other.count:
            return
        for index, count in other._counts.items():
            self._counts[index] = self._counts.get(index, 0) + count
        self._min_us = min(self._min_us, other._min_us) if self.count else other._min_us
        self._max_us = max(self._max_us, other._max_us)
        self.count += other.count
        self._total_us += other._total_us

    def quantile(self, q: float) -> float:
        """Seconds at the share `q` (0 to 1) of the durations; ValueError when there is none.

        The upper edge of the bucket, as HdrHistogram's `getValueAtPercentile`, but never more than the maximum.
        """
        return self.quantiles((q,))[0]

    def quantiles(self, qs: Sequence[float]) -> list[float]:
        """The same for several shares, at the price of one."""
        self._refuse_empty()
        indices = sorted(self._counts)
        ends = list(accumulate(self._counts[index] for index in indices))
        return [self._at(indices, ends, q) for q in qs]

    def _at(self, indices: Sequence[int], ends: Sequence[int], q: float) -> float:
        if q <= 0:
            return self.min
        # Rounded first: 0.29 * 50 is 14.499999999999998, and the rank is 15.
        rank = max(1, int(round(min(1.0, q) * self.count, 6) + 0.5))
        lowest, width = _bounds_us(indices[bisect_left(ends, rank)])
        return max(self._min_us, min(self._max_us, lowest + width - 1)) / 1e6

    def counts_around(self, seconds: float) -> tuple[int, int]:
        """How many are shorter than that by a bucket at least, and how many are no longer or in the same bucket."""
        if seconds * 1e6 > self._max_us + 1:
            return self.count, self.count
        at = _index(round(seconds * 1e6))
        below = sum(count for index, count in self._counts.items() if index < at)
        return below, below + self._counts.get(at, 0)

    def counts_up_to(self, bounds: Sequence[float]) -> list[int]:
        """For ascending bounds in seconds, how many are no longer than each, or in the same bucket."""
        limits = [_index(round(bound * 1e6)) for bound in bounds]
        parts = [0] * (len(limits) + 1)
        for index, count in self._counts.items():
            parts[bisect_left(limits, index)] += count
        return list(accumulate(parts))[:-1]

    @property
    def total(self) -> float:
        """Seconds of all together, exact to the microsecond of each."""
        return self._total_us / 1e6

    @property
    def mean(self) -> float:
        """Seconds, exact to the microsecond; ValueError when empty, as for `min` and `max`."""
        self._refuse_empty()
        return self._total_us / self.count / 1e6

    @property
    def min(self) -> float:
        """The shortest, in seconds."""
        self._refuse_empty()
        return self._min_us / 1e6

    @property
    def max(self) -> float:
        """The longest, in seconds."""
        self._refuse_empty()
        return self._max_us / 1e6

    def to_dict(self) -> dict[str, Any]:
        """For JSON and back by `from_dict`: `counts` are pairs of bucket index and count, in order."""
        return {
            "total_us": self._total_us,
            "min_us": self._min_us,
            "max_us": self._max_us,
            "counts": [[index, self._counts[index]] for index in sorted(self._counts)],
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """What `to_dict` gave; ValueError when it cannot have."""
        histogram = cls()
        try:
            histogram._counts = {int(index): int(count) for index, count in raw["counts"]}
            histogram._total_us = int(raw["total_us"])
            histogram._min_us = int(raw["min_us"])
            histogram._max_us = int(raw["max_us"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"expected a histogram as perfmon writes it, got {quoted(raw)}") from error
        if any(index < 0 or count <= 0 for index, count in histogram._counts.items()):
            raise ValueError(f"expected buckets from 0 with a count above 0, got {quoted(raw)}")
        histogram.count = sum(histogram._counts.values())
        return histogram

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]  # it changes with each record

    def _refuse_empty(self) -> None:
        if not self.count:
            raise ValueError("expected a histogram with values, got an empty one")


_BITS = 11  # 2,048 is the first power of two with three digits at a resolution of one: 2 * 10**3
_HALF_BITS = _BITS - 1


def _index(us: int) -> int:
    """The bucket of a value."""
    shift = max(0, us.bit_length() - _BITS)
    return (shift << _HALF_BITS) + (us >> shift)


def _bounds_us(index: int) -> tuple[int, int]:
    """The lowest value of a bucket and how many microseconds it spans."""
    shift = max(0, (index >> _HALF_BITS) - 1)
    return (index - (shift << _HALF_BITS)) << shift, 1 << shift
