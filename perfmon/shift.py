"""Did the level of something shift: two samples of blocks, compared robustly, in plain Python and pure.

A series is no sample of independent values: what follows each other is alike. So each side is cut into blocks, each
stands for its median, and only the blocks are compared: by Welch's test, which grants each side its own scatter, and by
the size of the difference. Nothing here knows of time.
"""

import math
from collections.abc import Sequence
from statistics import median

import msgspec

from perfmon.stats import mean

__all__ = ["Shift", "compare", "medians"]


class Shift(msgspec.Struct, frozen=True, kw_only=True):
    """What lies between two samples of blocks."""

    before: float  # median of the blocks
    after: float
    relative: float  # of what was before; inf when that is 0 and something is there now, nan when nothing is
    low: float  # 95 % interval of `after` less `before`
    high: float
    p: float  # the chance of such a difference of means, or a larger one, where there is none; of both directions

    @property
    def size(self) -> float:
        """In the unit of the values."""
        return self.after - self.before


def medians(values: Sequence[float], blocks: int) -> list[float]:
    """The medians of so many blocks of equal length, or of each value where there are fewer."""
    n = min(blocks, len(values))
    return [median(values[len(values) * i // n : len(values) * (i + 1) // n]) for i in range(n)]


def compare(before: Sequence[float], after: Sequence[float]) -> Shift:
    """Two samples of blocks, two of each at least, by Welch's t-test (Biometrika 34, 1947)."""
    middle_before, middle_after = median(before), median(after)
    error2 = [_variance(sample) / len(sample) for sample in (before, after)]
    error, difference = math.sqrt(sum(error2)), mean(after) - mean(before)
    freedom = _freedom(error2, (len(before), len(after)))
    rounding = 1e-9 * max(map(abs, (*before, *after)))
    half = _quantile(freedom) * error
    return Shift(
        before=middle_before,
        after=middle_after,
        relative=_relative(middle_before, middle_after),
        low=difference - half,
        high=difference + half,
        p=_p_beyond(abs(difference) / error, freedom) if error > rounding else float(abs(difference) <= rounding),
    )


def _relative(before: float, after: float) -> float:
    if before:
        return (after - before) / abs(before)
    return math.copysign(math.inf, after) if after else 0.0


def _variance(sample: Sequence[float]) -> float:
    middle = mean(sample)
    return sum((value - middle) ** 2 for value in sample) / (len(sample) - 1)


def _freedom(error2: Sequence[float], sizes: Sequence[int]) -> float:
    """Welch and Satterthwaite's degrees of freedom; never below those of the smaller sample."""
    least = min(sizes) - 1
    spread = sum(one * one / (n - 1) for one, n in zip(error2, sizes, strict=True))
    return max(float(least), sum(error2) ** 2 / spread) if spread else float(least)


def _p_beyond(t: float, freedom: float) -> float:
    """The chance of Student's t as far from 0 or farther, by Wallace's approximation (1959), good to three digits."""
    z = math.sqrt(freedom * math.log1p(t * t / freedom)) * (8 * freedom + 1) / (8 * freedom + 3)
    return math.erfc(z / math.sqrt(2))


def _quantile(freedom: float) -> float:
    """Student's t that 2.5 % lie above, by bisection of `_p_beyond`."""
    low, high = 0.0, 100.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _p_beyond(middle, freedom) > _TAILS else (low, middle)
    return high


_TAILS = 0.05
