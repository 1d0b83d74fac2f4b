"""What came of a test, as values: seconds of it, the whole, its judgement. Pure.

A `Snapshot` is a second of one engine; `Tally.add` merges any number of them, in any order, without loss.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from perfmon import stats
from perfmon.histogram import Histogram
from perfmon.model import Failure, Verdict
from perfmon.scenario import Demand, Scenario
from perfmon.stats import Interval

__all__ = [
    "Ended",
    "Generator",
    "Judged",
    "Report",
    "Run",
    "Snapshot",
    "Tally",
    "Timeline",
    "percentile",
    "percentile_interval",
    "percentiles",
]

Ended = Literal["complete", "interrupted", "aborted"]


class Snapshot(msgspec.Struct, kw_only=True):
    """What happened within a second (the last one may be shorter), counted when it did."""

    begin_s: float = 0.0  # from the beginning of the test
    end_s: float = 0.0
    due: int = 0  # arrivals that the schedule had
    started: int = 0
    done: int = 0  # answered or failed, in whatever way
    failed: Counter[str] = msgspec.field(default_factory=Counter)  # of those done, by reason
    dropped: int = 0  # never started, since there was no room
    resent: int = 0  # requests that the transport sent again on its own
    in_flight: int = 0  # at the end of the second
    waiting: int = 0  # for room, at the end of the second
    response: Histogram = msgspec.field(default_factory=Histogram)  # from the intended start to the end
    service: Histogram = msgspec.field(default_factory=Histogram)  # from the actual start to the end
    queue: Histogram = msgspec.field(default_factory=Histogram)  # from the intended start to the actual one
    lag: Histogram = msgspec.field(default_factory=Histogram)  # of the generator: from when due to when it looked
    stall_s: float = 0.0  # how long the generator's own loop stood still, beyond `STALL_S` at a time
    cpu_s: float = 0.0  # of the generator
    examples: dict[str, Failure] = msgspec.field(default_factory=dict)  # the first of each reason


class Tally:
    """The sum of snapshots: one that has all that each of them had."""

    def __init__(self) -> None:
        self.sum = Snapshot()

    def add(self, one: Snapshot) -> None:
        """Merge a second."""
        total = self.sum
        total.end_s = max(total.end_s, one.end_s)
        for field in _COUNTS:
            setattr(total, field, getattr(total, field) + getattr(one, field))
        for field in _HISTOGRAMS:
            getattr(total, field).merge(getattr(one, field))
        total.failed.update(one.failed)
        total.in_flight, total.waiting = one.in_flight, one.waiting
        for reason, failure in one.examples.items():
            total.examples.setdefault(reason, failure)


_COUNTS = ("due", "started", "done", "dropped", "resent", "stall_s", "cpu_s")
_HISTOGRAMS = ("response", "service", "queue", "lag")


class Timeline:
    """The seconds of a test in so many points at most: when there are more, neighbours become one. Nothing is lost."""

    def __init__(self, most: int = 120) -> None:
        self._most = most
        self._seconds_each = 1
        self._parts: list[Tally] = []
        self._in_last = 0

    def add(self, one: Snapshot) -> None:
        """The next second."""
        if not self._parts or self._in_last >= self._seconds_each:
            if len(self._parts) >= self._most:
                self._halve()
            self._parts.append(Tally())
            self._parts[-1].sum.begin_s = one.begin_s
            self._in_last = 0
        self._parts[-1].add(one)
        self._in_last += 1

    @property
    def points(self) -> tuple[Snapshot, ...]:
        """One after the other."""
        return tuple(part.sum for part in self._parts)

    def _halve(self) -> None:
        pairs = [self._parts[index : index + 2] for index in range(0, len(self._parts), 2)]
        for first, *second in pairs:
            for part in second:
                first.add(part.sum)
        self._parts = [pair[0] for pair in pairs]
        self._seconds_each *= 2


class Generator(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the figures are the target's: what the generator says of itself."""

    verdict: Literal["VALID", "SATURATED", "INVALID"]
    why: str
    lag_p99_s: float | None  # None where there is no schedule
    lag_max_s: float | None
    cpu_share: float  # of one core
    stall_share: float  # of the time


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of a test."""

    scenario: Scenario
    began: float  # Unix time
    took_s: float  # until the last answer, or until it was given up
    ended: Ended
    total: Snapshot
    timeline: tuple[Snapshot, ...] = ()  # the same in points of equal length, few enough to draw
    unfinished: int  # had no answer `stop_s` after the last arrival; misses, as what was dropped
    cut: int  # had no answer when somebody ended the test; nobody's fault
    generator: Generator
    notes: tuple[str, ...] = ()  # what else a reader must know

    @property
    def missed(self) -> int:
        """Arrivals that never had an answer: to whoever came, that is for ever."""
        return self.total.dropped + self.unfinished

    @property
    def failures(self) -> int:
        """Arrivals that were not served, for whatever reason."""
        return self.total.failed.total() + self.missed

    @property
    def n(self) -> int:
        """All that counts: what is done and what was missed."""
        return self.total.done + self.missed

    @property
    def reasons(self) -> Mapping[str, int]:
        """How many failed for which reason, the most frequent first."""
        missed = {"dropped": self.total.dropped, "unfinished": self.unfinished}
        return dict((self.total.failed + Counter(missed)).most_common())

    @property
    def done_per_s(self) -> float:
        """How many were done each second, on average over all of its time."""
        return self.total.done / self.took_s if self.took_s else 0.0


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A demand and what became of it."""

    demand: Demand
    verdict: Verdict

    @property
    def passed(self) -> bool:
        """A warning does not fail a test; no data does."""
        return self.verdict.level in ("ok", "warning")


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What reports are made of."""

    run: Run
    judged: tuple[Judged, ...]

    @property
    def passed(self) -> bool:
        """Whether every demand holds."""
        return all(one.passed for one in self.judged)


def percentile(histogram: Histogram, missed: int, q: float) -> float | None:
    """Seconds at the share `q` of all arrivals, infinite where those that never had an answer begin; None without any.

    To leave them out would be survivorship: the worse the target, the better its percentiles.
    """
    return next(iter(percentiles(histogram, missed, (q,))), None)


def percentiles(histogram: Histogram, missed: int, qs: Sequence[float]) -> list[float]:
    """The same at several shares, at the price of one; none without any arrival."""
    n = histogram.count + missed
    if not n:
        return []
    ranks = [max(1, int(round(q * n, 6) + 0.5)) for q in qs]
    known = [rank / histogram.count for rank in ranks if rank <= histogram.count]
    values = iter(histogram.quantiles(known) if known else ())
    return [next(values) if rank <= histogram.count else math.inf for rank in ranks]


def percentile_interval(
    histogram: Histogram, missed: int, q: float, blocks: Sequence[tuple[Histogram, int]] = ()
) -> Interval:
    """Where the true percentile lies at 95 %: two order statistics, of as many arrivals as these are worth.

    `blocks` are the seconds of the test, each with what it missed; without them arrivals count as independent.
    """
    value = percentile(histogram, missed, q)
    if value is None:
        return None, None
    n = int(_worth(value, blocks)) if blocks else histogram.count + missed
    low, high = stats.ranks(n, q) if n else (None, None)
    return (
        None if low is None else percentile(histogram, missed, (low + 1) / n),
        None if high is None else percentile(histogram, missed, (high + 1) / n),
    )


def _worth(value: float, blocks: Sequence[tuple[Histogram, int]]) -> float:
    """What the arrivals of these blocks are worth, as a share below the value or one up to it: many may be equal."""
    sizes = [block.count + lost for block, lost in blocks]
    around = [block.counts_around(value) for block, _ in blocks]
    below, up_to = ([(own[side], size) for own, size in zip(around, sizes, strict=True) if size] for side in (0, 1))
    return min(stats.effective_n(below), stats.effective_n(up_to))
