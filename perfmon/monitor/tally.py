"""How often a check ran and failed, by quarters of an hour for three days and by days of UTC for three months.

Sums of whole numbers, so that a share over any span is failures by runs and never an average of averages. Of fixed
size: 2 KiB a check whatever its interval. For people; rules count over sliding spans of their own (`counts.py`).
"""

from array import array
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from perfmon.model import Count

__all__ = ["DAYS", "DAY_S", "QUARTERS", "QUARTER_S", "Counted", "Kept", "Tally", "total"]

QUARTER_S = 900.0
DAY_S = 86_400.0
QUARTERS = 3 * 96 + 4  # three days, and an hour so that a window of three days has its oldest quarter whole
DAYS = 90

_QUARTER_MINUTES = 15
_DAY_MINUTES = 1440


class Counted(NamedTuple):
    """What one minute came to; minutes are those of Unix time, as `Series.minute` numbers them."""

    minute: int
    runs: int
    failures: int


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A tally as the state file has it: oldest slot first, up to those of the numbers given."""

    until: int  # minutes before this one are counted
    quarter: int
    quarters: Sequence[Count]
    day: int
    days: Sequence[Count]


class Tally:
    """Counts of one check by time: of minutes that are over. Who asks brings along the one that is open."""

    __slots__ = ("_days", "_quarters", "_until")

    def __init__(self) -> None:
        self._until = 0
        self._quarters = _Ring(QUARTERS, "H", _QUARTER_MINUTES)  # of ten runs a second, 9,000
        self._days = _Ring(DAYS, "I", _DAY_MINUTES)

    def add(self, counted: Counted) -> None:
        """Take in a minute that is over."""
        self._until = max(counted.minute + 1, self._until)
        self._quarters.add(counted)
        self._days.add(counted)

    def quarters(self, minute: int, count: int, open_minute: Counted) -> list[Count]:
        """As many quarters up to the one that a minute lies in, oldest first; at most `QUARTERS`."""
        return self._quarters.last(minute // _QUARTER_MINUTES, count, open_minute)

    def days(self, minute: int, count: int, open_minute: Counted) -> list[Count]:
        """As many days of UTC up to the one that a minute lies in, oldest first; at most `DAYS`."""
        return self._days.last(minute // _DAY_MINUTES, count, open_minute)

    def kept(self) -> Kept:
        """What a restart goes on from."""
        quarter, day = self._quarters.newest, self._days.newest
        return Kept(
            until=self._until, quarter=quarter, quarters=self._quarters.known(), day=day, days=self._days.known()
        )

    def restore(self, kept: Kept, minute: int) -> None:
        """Add what a former life of the daemon had counted; slots after that of the minute, by a wrong clock, not."""
        self._until = max(min(kept.until, minute + 1), self._until)
        self._quarters.restore(kept.quarter, kept.quarters, minute)
        self._days.restore(kept.day, kept.days, minute)


def total(counts: Iterable[Count]) -> Count:
    """All of them together."""
    runs = failures = 0
    for count in counts:
        runs += count.runs
        failures += count.failures
    return Count(runs, failures)


class _Ring:
    """The newest counts, by slots of so many minutes."""

    __slots__ = ("_failures", "_minutes", "_runs", "newest")

    def __init__(self, size: int, typecode: str, minutes: int) -> None:
        self.newest = 0  # number of the newest slot
        self._minutes = minutes
        self._runs = array(typecode, [0]) * size
        self._failures = array(typecode, [0]) * size

    def add(self, counted: Counted) -> None:
        self._add(counted.minute // self._minutes, counted.runs, counted.failures)

    def restore(self, newest: int, counts: Sequence[Count], minute: int) -> None:
        size = len(self._runs)
        first, last = newest - len(counts) + 1, min(newest, minute // self._minutes)
        self._add(last, 0, 0)
        for number in range(max(first, self.newest - size + 1), last + 1):
            runs, failures = counts[number - first]
            self._runs[number % size] += runs
            self._failures[number % size] += failures

    def last(self, number: int, count: int, open_minute: Counted) -> list[Count]:
        """As many slots up to a number; those that nobody knows have no runs."""
        first = number - min(count, len(self._runs)) + 1
        found = [self._at(slot) for slot in range(first, number + 1)]
        at = open_minute.minute // self._minutes - first
        if 0 <= at < len(found):
            found[at] = Count(found[at].runs + open_minute.runs, found[at].failures + open_minute.failures)
        return found

    def known(self) -> list[Count]:
        """All slots from the first that has runs."""
        oldest = (self.newest + 1) % len(self._runs)
        runs, failures = (column[oldest:] + column[:oldest] for column in (self._runs, self._failures))
        first = next((index for index, found in enumerate(runs) if found), len(runs))
        return [*map(Count, runs[first:], failures[first:])]

    def _at(self, slot: int) -> Count:
        size = len(self._runs)
        if not self.newest - size < slot <= self.newest:
            return Count(0, 0)
        return Count(self._runs[slot % size], self._failures[slot % size])

    def _add(self, slot: int, runs: int, failures: int) -> None:
        """Count in a slot, also in one that is not the newest."""
        size = len(self._runs)
        for passed in range(max(self.newest, slot - size) + 1, slot + 1):
            self._runs[passed % size] = self._failures[passed % size] = 0
        self.newest = max(slot, self.newest)
        if slot > self.newest - size:
            self._runs[slot % size] += runs
            self._failures[slot % size] += failures
