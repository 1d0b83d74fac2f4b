"""Quantiles, averages and their 95 % intervals, in plain Python: a window of some hundred values needs no numpy."""

import math
from collections.abc import Sequence
from functools import lru_cache

Interval = tuple[float | None, float | None]
"""Lower and upper bound at 95 % confidence; None where the sample is too small to have one."""


def quantile(sorted_values: Sequence[float], q: float) -> float:
    """The value below which a share `q` (0 to 1) lies, interpolated between neighbours (type 7, as numpy's default).

    The values must ascend and there must be one at least. Source: Hyndman and Fan, "Sample Quantiles in Statistical
    Packages", 1996.
    """
    place = (len(sorted_values) - 1) * q
    below = int(place)
    value = sorted_values[below]
    part = place - below
    return value + part * (sorted_values[below + 1] - value) if part else value


def mean(values: Sequence[float]) -> float:
    """The average of one value or more."""
    return sum(values) / len(values)


def stddev(values: Sequence[float]) -> float:
    """How far one value or more lie from their mean (population: divided by n, as PromQL's `stddev_over_time`)."""
    middle = mean(values)
    return math.sqrt(sum((value - middle) * (value - middle) for value in values) / len(values))


def proportion_interval(hits: float, n: int) -> tuple[float, float]:
    """Wilson's score interval of the share `hits / n`: honest for few runs, and at 0 % and 100 %.

    `n` is at least one. Source: Wilson, "Probable Inference", 1927; Brown, Cai and DasGupta, 2001.
    """
    share = hits / n
    z2 = _Z**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    # At the ends the bound is the share itself; rounding must not push it past.
    return min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))


def quantile_interval(sorted_values: Sequence[float], q: float) -> Interval:
    """Where the true quantile lies, whatever the distribution: two order statistics.

    How many of n values lie below the q-quantile is binomial(n, q), so ranks with a binomial tail of 2.5 % on each side
    enclose it. Thirty values have no upper bound for p95: one in five such samples lies below it altogether.
    """
    low, high = ranks(len(sorted_values), q)
    # At the rim of a tiny sample the interpolated quantile lies beyond its own bound; widening errs on the safe side.
    middle = quantile(sorted_values, q)
    return (
        None if low is None else min(sorted_values[low], middle),
        None if high is None else max(sorted_values[high], middle),
    )


def effective_n(blocks: Sequence[tuple[float, float]]) -> float:
    """How many independent trials a share is worth that comes from blocks of (hits, n), such as the seconds of a test.

    What happens in the same second is alike: of a freeze that a hundred arrivals meet, one is known, not a hundred. So
    the variance of the share is taken from between the blocks (a ratio estimate: Cochran, "Sampling Techniques", 1977,
    6.3), and never below that of independent trials. Fewer than ten blocks say too little: then it is n.
    """
    hits, n = sum(hits for hits, _ in blocks), sum(n for _, n in blocks)
    if len(blocks) < _FEW_BLOCKS or not 0 < hits < n:
        return n
    share = hits / n
    scatter = sum((own - share * size) ** 2 for own, size in blocks) * len(blocks) / (len(blocks) - 1)
    return min(n, share * (1 - share) * n * n / scatter) if scatter else n


_FEW_BLOCKS = 10
_Z = 1.959963984540054  # of the normal distribution, for 95 %
_TAIL = 0.025


@lru_cache(maxsize=4096)
def ranks(n: int, q: float) -> tuple[int | None, int | None]:
    """Positions (from 0) of the order statistics that enclose the q-quantile of n values, None where there is none.

    Remembered: a full window asks with the same n each time.
    """
    below = _largest_below_tail(n, q)
    above = _largest_below_tail(n, 1 - q)  # the upper end is the lower end seen from above
    return below, None if above is None else n - 1 - above


def _largest_below_tail(n: int, q: float) -> int | None:
    """The largest k with P(binomial(n, q) <= k) <= 2.5 %, or None."""
    if not 0 < q < 1:
        return None
    if n > 2000:  # the exact sum would take n steps; here the normal approximation is off by a rank at most
        k = math.floor(n * q - _Z * math.sqrt(n * q * (1 - q)) - 0.5)
        return k if k >= 0 else None
    total = 0.0
    for k in range(n):
        total += math.exp(_log_binomial(n, k, q))
        if total > _TAIL:
            return k - 1 if k else None
    return n - 1


def _log_binomial(n: int, k: int, q: float) -> float:
    """The logarithm of P(binomial(n, q) = k): its factors alone are out of a float's range."""
    choose = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return choose + k * math.log(q) + (n - k) * math.log1p(-q)
