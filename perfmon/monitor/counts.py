"""How many runs there were and how many failed, over spans from minutes to a month, in whole numbers.

Each span is a ring of sixty buckets with their sum kept beside it, so a count costs the same whatever the span, and is
exact: what it covers is the open bucket and those of the last 59 sixtieths before it. Fixed in size: half a KiB a span.
"""

import math
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence

from perfmon.model import Count

__all__ = ["BUCKETS", "Counts", "Ring", "read_counts"]

BUCKETS = 60
WRITTEN_EVERY_S = 300.0
"""How often counts without a new failure are worth a row of the state file; those with one are written at once."""


class Ring:
    """The runs of the last `span_s` seconds; instants are Unix time, so that buckets outlive the process."""

    __slots__ = ("_failures", "_newest", "_runs", "failures", "runs", "span_s")

    def __init__(self, span_s: float) -> None:
        self.span_s = span_s
        self.runs = self.failures = 0
        self._newest = -1  # number of the open bucket
        self._runs = array("I", [0]) * BUCKETS
        self._failures = array("I", [0]) * BUCKETS

    def add(self, at: float, *, failed: bool) -> None:
        """Count a run. One of a bucket that is not open any more, since the clock was set back, counts in the open."""
        self.advance(at)
        self.runs += 1
        self.failures += failed
        self._runs[self._newest % BUCKETS] += 1
        self._failures[self._newest % BUCKETS] += failed

    def advance(self, at: float) -> None:
        """Leave out what is too old at an instant."""
        number = math.floor(at * BUCKETS / self.span_s)
        for passed in range(max(self._newest, number - BUCKETS) + 1, number + 1):
            slot = passed % BUCKETS
            self.runs -= self._runs[slot]
            self.failures -= self._failures[slot]
            self._runs[slot] = self._failures[slot] = 0
        self._newest = max(self._newest, number)

    def kept(self) -> list[int]:
        """What `restore` takes: the open bucket's number, and the buckets from the oldest on."""
        order = [(self._newest + 1 + place) % BUCKETS for place in range(BUCKETS)]
        return [self._newest, *(self._runs[slot] for slot in order), *(self._failures[slot] for slot in order)]

    def restore(self, kept: Sequence[int]) -> None:
        """Go on from what `kept` gave, before the first run is counted."""
        self._newest = kept[0]
        for place in range(BUCKETS):
            slot = (self._newest + 1 + place) % BUCKETS
            self._runs[slot], self._failures[slot] = kept[1 + place], kept[1 + BUCKETS + place]
        self.runs, self.failures = sum(self._runs), sum(self._failures)


class Counts:
    """The counts of one metric of a check, over as many spans as rules ask for."""

    __slots__ = ("_rings", "_urgent", "_written_at", "asked_at")

    def __init__(self) -> None:
        self.asked_at = -math.inf  # monotonic: when a rule last wanted to see them
        self._rings: dict[float, Ring] = {}
        self._written_at = -math.inf
        self._urgent = False

    def watch(self, spans_s: Collection[float], former: Mapping[float, Sequence[int]]) -> None:
        """Count over these spans too, from now on or from what a former life of the daemon had counted."""
        for span_s in spans_s:
            if span_s not in self._rings:
                ring = self._rings[span_s] = Ring(span_s)
                if span_s in former:
                    ring.restore(former[span_s])

    def add(self, at: float, *, failed: bool) -> None:
        """Count a run at a Unix time."""
        self._urgent = self._urgent or failed
        for ring in self._rings.values():
            ring.add(at, failed=failed)

    def over(self, spans_s: Collection[float], at: float) -> dict[float, Count]:
        """What there was in each span up to a Unix time."""
        found = {}
        for span_s in spans_s:
            ring = self._rings[span_s]
            ring.advance(at)
            found[span_s] = Count(ring.runs, ring.failures)
        return found

    def is_due(self, at: float, *, last: bool) -> bool:
        """Whether they are worth writing down at a Unix time; `last`: there will be no other."""
        return last or self._urgent or abs(at - self._written_at) >= WRITTEN_EVERY_S

    def take(self, at: float) -> list[float]:
        """All of it in numbers, for `read_counts`; written down at a Unix time."""
        self._urgent, self._written_at = False, at
        return [number for span_s, ring in self._rings.items() for number in (span_s, *ring.kept())]

    @property
    def longest_s(self) -> float:
        """After this long none of it is of use."""
        return max(self._rings, default=0.0)


def read_counts(numbers: Sequence[float | None]) -> dict[float, list[int]]:
    """What `Counts.take` wrote, by span; what is not understood is left out."""
    return dict(_rings(numbers))


def _rings(numbers: Sequence[float | None]) -> Iterator[tuple[float, list[int]]]:
    width = 2 + 2 * BUCKETS
    for first in range(0, len(numbers) - width + 1, width):
        known = [number for number in numbers[first : first + width] if number is not None]
        if len(known) == width and known[0] > 0 and all(0 <= number < 2**32 for number in known[2:]):
            yield known[0], [int(number) for number in known[1:]]
