"""How many requests came until each of some instants, by counters that were read at others."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from perfmon.model import Window

__all__ = ["counted"]


def counted(times: Sequence[float], counters: Sequence[Window]) -> list[float]:
    """All counters together at each of `times`, which ascend, from 0 at their first point; nan outside of all points.

    A counter that falls began anew. Between two points it rises evenly; one that appears later than others rose by
    nothing before, and one that is gone rises no more.
    """
    known = [window for window in counters if len(window)]
    if not known:
        return [math.nan] * len(times)
    first, last = min(window.times[0] for window in known), max(window.times[-1] for window in known)
    columns = [_at(times, window.times, list(_climbed(window.values))) for window in known]
    return [
        sum(values) if first <= at <= last else math.nan
        for at, values in zip(times, zip(*columns, strict=True), strict=True)
    ]


def _climbed(values: Sequence[float]) -> Iterator[float]:
    """The counter from 0, without its falls: after one it shows what came since."""
    total = 0.0
    yield total
    for before, now in pairwise(values):
        total += now - before if now >= before else now
        yield total


def _at(times: Sequence[float], known: Sequence[float], values: Sequence[float]) -> list[float]:
    """Values on the line between the two known points around each of `times`, or of the nearest end."""
    found, index, end = [], 0, len(known) - 1
    for at in times:
        while index < end and known[index + 1] <= at:
            index += 1
        if at <= known[index] or index == end:
            found.append(values[index])
        else:
            share = (at - known[index]) / (known[index + 1] - known[index])
            found.append(values[index] + share * (values[index + 1] - values[index]))
    return found
