"""When things are due: a fixed grid per interval, driven by one APScheduler job.

Every entry is due at `phase + k * interval`, with a phase that hangs on its key alone: a restart
keeps it, and no two entries march in step. Phases lie on slots of at most `SLOT_S`, so ten thousand
entries are a few dozen wake-ups a second and not ten thousand jobs (APScheduler takes some 140 us a
job). The grid lives on the monotonic clock, anchored once to wall time at the start; a step of the
wall clock moves nothing.
"""

import math
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Generic, NamedTuple, TypeVar

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from perfmon.clock import Clock

__all__ = ["SLOT_S", "Due", "Grid", "Schedule", "phase"]

SLOT_S = 0.020
_FAR_S = 3600.0  # an empty grid looks again after this long; `Schedule.realign` wakes it before

Item = TypeVar("Item")


class Due(NamedTuple, Generic[Item]):
    """One entry that is due."""

    item: Item
    at: float  # monotonic instant of the grid at which it was due
    skipped: int  # due times before `at` that were slept through; they are not made up for


def phase(key: str, slots: int) -> int:
    """The slot of a key, 0 <= slot < slots, uniform over keys and stable over restarts (CRC-32)."""
    return zlib.crc32(key.encode()) * slots >> 32


class Grid(Generic[Item]):
    """Entries by interval and slot. `take(now)` is the only thing that moves it forward."""

    def __init__(self, anchor: float) -> None:
        """`anchor` is the monotonic instant of Unix time 0; it may be negative."""
        self._anchor = anchor
        self._rings: dict[float, _Ring[Item]] = {}
        self._ring_of: dict[str, _Ring[Item]] = {}

    def __len__(self) -> int:
        return len(self._ring_of)

    def __contains__(self, key: str) -> bool:
        return key in self._ring_of

    def add(self, key: str, interval_s: float, item: Item, now: float) -> None:
        """Put an entry on the grid; its first due time is the first one after `now`."""
        self.remove(key)
        ring = self._rings.get(interval_s)
        if ring is None:
            ring = self._rings[interval_s] = _Ring(interval_s, self._anchor, now)
        ring.add(key, item)
        self._ring_of[key] = ring

    def remove(self, key: str) -> None:
        """Take an entry off the grid; one that is not there is no mistake."""
        ring = self._ring_of.pop(key, None)
        if ring is not None:
            ring.remove(key)
            if not ring.slots:
                del self._rings[ring.interval_s]

    def next_due(self, after: float = -math.inf) -> float | None:
        """The next instant, later than `after`, at which something is due; None for an empty grid."""
        return min((ring.next_due(after) for ring in self._rings.values()), default=None)

    def take(self, now: float) -> list[Due[Item]]:
        """All that became due since the last call, in the order of their due times."""
        due = [entry for ring in self._rings.values() for entry in ring.take(now)]
        if len(self._rings) > 1:
            due.sort(key=_at)
        return due


class _Ring(Generic[Item]):
    """Entries of one interval. Slot `k` of absolute number n is due at `anchor + n * width`, k = n mod count."""

    def __init__(self, interval_s: float, anchor: float, now: float) -> None:
        self.interval_s = interval_s
        self.count = max(1, math.ceil(interval_s / SLOT_S - 1e-9))
        self.slots: dict[int, dict[str, Item]] = {}
        self._anchor = anchor
        self._width = interval_s / self.count
        self._taken = self._number(now)  # newest absolute slot that is behind us
        self._order: list[int] = []  # occupied slots, ascending

    def add(self, key: str, item: Item) -> None:
        slot = phase(key, self.count)
        if slot not in self.slots:
            self.slots[slot] = {}
            self._order.insert(bisect_left(self._order, slot), slot)
        self.slots[slot][key] = item

    def remove(self, key: str) -> None:
        slot = phase(key, self.count)
        del self.slots[slot][key]
        if not self.slots[slot]:
            del self.slots[slot]
            self._order.remove(slot)

    def next_due(self, after: float) -> float:
        behind = self._taken if after == -math.inf else max(self._taken, self._number(after))
        return self._instant(self._next_occupied(behind))

    def take(self, now: float) -> Iterator[Due[Item]]:
        """Entries of every slot up to `now`; after a long sleep each entry comes once, with its newest due time."""
        newest = self._number(now)
        if newest <= self._taken:
            return
        behind = newest - self._taken
        turns, rest = divmod(behind, self.count)
        oldest_kept = newest - (self.count if turns else rest) + 1
        number = self._next_occupied(oldest_kept - 1)
        while number <= newest:
            skipped = (number - self._taken - 1) // self.count
            for item in self.slots[number % self.count].values():
                yield Due(item, self._instant(number), skipped)
            number = self._next_occupied(number)
        self._taken = newest

    def _next_occupied(self, after: int) -> int:
        """The first occupied absolute slot later than `after`."""
        turn, slot = divmod(after + 1, self.count)
        index = bisect_left(self._order, slot)
        if index == len(self._order):
            return (turn + 1) * self.count + self._order[0]
        return turn * self.count + self._order[index]

    def _instant(self, number: int) -> float:
        return self._anchor + number * self._width

    def _number(self, now: float) -> int:
        # The tolerance keeps an instant that `_instant` made from falling into the slot before it.
        return math.floor((now - self._anchor) / self._width + 1e-5)


class Schedule(Generic[Item]):
    """Calls `run(due)` for each entry when it is due, from the running event loop.

    `run` must not block and must not raise: it starts the work and returns.
    """

    def __init__(self, clock: Clock, run: Callable[[Due[Item]], None]) -> None:
        self.grid: Grid[Item] = Grid(anchor=clock.monotonic() - clock.wall())
        self._clock = clock
        self._run = run
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        # The grid itself decides what a late tick still runs: nothing may be dropped before it.
        self._job = self._scheduler.add_job(
            self._tick, _GridTrigger(self.grid, clock), misfire_grace_time=None, coalesce=True, max_instances=4
        )

    def start(self) -> None:
        """Begin to fire; needs a running event loop."""
        self._scheduler.start()

    def stop(self) -> None:
        """Fire nothing more."""
        self._scheduler.shutdown(wait=False)

    def add(self, key: str, interval_s: float, item: Item) -> None:
        """Put an entry on the grid; call `realign` after the last one."""
        self.grid.add(key, interval_s, item, self._clock.monotonic())

    def remove(self, key: str) -> None:
        """Take an entry off the grid."""
        self.grid.remove(key)

    def realign(self) -> None:
        """Compute the next wake-up anew: after entries changed, and after the wall clock was set.

        APScheduler keeps the next run as wall time; set back by an hour, it would sleep for that hour.
        """
        self._fire()  # what is due this very moment would otherwise wait for its next turn
        self._job.reschedule(_GridTrigger(self.grid, self._clock))

    async def _tick(self) -> None:
        self._fire()

    def _fire(self) -> None:
        if self._scheduler.running:
            for due in self.grid.take(self._clock.monotonic()):
                self._run(due)


class _GridTrigger(BaseTrigger):  # type: ignore[misc]  # apscheduler ships no types
    """Answers APScheduler's question for the next run with the grid's next occupied slot."""

    def __init__(self, grid: Grid[Item], clock: Clock) -> None:
        self._grid = grid
        self._clock = clock

    def get_next_fire_time(self, _previous: datetime | None, wall_now: datetime) -> datetime:
        # Always later than `wall_now`, even while a slot is due: APScheduler asks on until the answer lies ahead.
        now = self._clock.monotonic()
        due = self._grid.next_due(after=now)
        # A timedelta holds microseconds; one more than is cut off, so as not to wake before the slot.
        return wall_now + timedelta(seconds=_FAR_S if due is None else due - now, microseconds=1)


def _at(due: Due[Item]) -> float:
    return due.at
