"""When things are due: a fixed grid per interval, driven by one APScheduler job.

Every entry is due at `phase + k * interval`, with a phase that hangs on its key alone: a restart
keeps it, and no two entries march in step. Phases lie on slots of at most `SLOT_S`, so that what is due
together starts by one timer. APScheduler takes some 140 us a run of a job, too dear for each target and
even for each slot; its one job plans the next seconds. The grid lives on the monotonic clock, anchored once
to wall time at the start; a step of the wall clock moves nothing.
"""

import asyncio
import math
import zlib
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC
from typing import Generic, NamedTuple, TypeVar

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from perfmon.clock import Clock

__all__ = ["SLOT_S", "Due", "Grid", "Like", "Schedule", "phase"]

SLOT_S = 0.030
"""Probes that start together share wake-ups, which cost more than they do; more at once would wait for each other.

Narrower slots cost more CPU a probe (benchmarks/probe_cost.py), wider ones add to the median (benchmarks/accuracy.py):
of 20, 30, 40 and 50 ms this was the widest whose own bias stayed under 0.2 ms.
"""

HORIZON_S = 2.5  # a plan that comes a second late still finds its slots ahead
_TIMER_STEP_S = 0.001

Item = TypeVar("Item")


class Due(NamedTuple, Generic[Item]):
    """One entry that is due."""

    item: Item
    at: float  # monotonic instant of the grid at which it was due
    skipped: int  # due times before `at` that were slept through; they are not made up for


class Like(NamedTuple):
    """Another entry, on whose due times one is to lie: on all of them where the one's interval divides the other's."""

    key: str
    interval_s: float


def phase(key: str, slots: int) -> int:
    """The slot of a key, 0 <= slot < slots, uniform over keys and stable over restarts (CRC-32)."""
    return zlib.crc32(key.encode()) * slots >> 32


class Grid(Generic[Item]):
    """Entries by interval and slot. `take(now)` is the only thing that moves it forward."""

    def __init__(self, anchor: float) -> None:
        """`anchor` is the monotonic instant of Unix time 0; it may be negative."""
        self._anchor = anchor
        self._rings: dict[float, _Ring[Item]] = {}
        self._place_of: dict[str, tuple[_Ring[Item], int]] = {}

    def __len__(self) -> int:
        return len(self._place_of)

    def __contains__(self, key: str) -> bool:
        return key in self._place_of

    def add(self, key: str, interval_s: float, item: Item, now: float, *, like: Like | None = None) -> None:
        """Put an entry on the grid; its first due time is the first one after `now`."""
        self.remove(key)
        ring = self._rings.get(interval_s)
        if ring is None:
            ring = self._rings[interval_s] = _Ring(interval_s, self._anchor, now)
        slot = phase(key, ring.count) if like is None else ring.slot_like(like)
        ring.add(slot, key, item)
        self._place_of[key] = (ring, slot)

    def remove(self, key: str) -> None:
        """Take an entry off the grid; one that is not there is no mistake."""
        ring, slot = self._place_of.pop(key, (None, 0))
        if ring is not None:
            ring.remove(slot, key)
            if not ring.slots:
                del self._rings[ring.interval_s]

    def due_times(self, key: str, after: float, until: float) -> Iterator[float]:
        """When an entry is due, later than `after` and up to `until`."""
        ring, slot = self._place_of[key]
        at = ring.next_due_of(slot, after)
        while at <= until:
            yield at
            at += ring.interval_s

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
        self.count = _slots(interval_s)
        self.slots: dict[int, dict[str, Item]] = {}
        self._anchor = anchor
        self._width = interval_s / self.count
        self._taken = self._number(now)  # newest absolute slot that is behind us
        self._order: list[int] = []  # occupied slots, ascending

    def slot_like(self, like: Like) -> int:
        """The slot at the other's due times, or right behind them."""
        count = _slots(like.interval_s)
        offset_s = phase(like.key, count) * like.interval_s / count
        return math.ceil(offset_s % self.interval_s / self._width - 1e-6) % self.count

    def add(self, slot: int, key: str, item: Item) -> None:
        if slot not in self.slots:
            self.slots[slot] = {}
            self._order.insert(bisect_left(self._order, slot), slot)
        self.slots[slot][key] = item

    def remove(self, slot: int, key: str) -> None:
        del self.slots[slot][key]
        if not self.slots[slot]:
            del self.slots[slot]
            self._order.remove(slot)

    def next_due_of(self, slot: int, after: float) -> float:
        first = self._number(after) + 1
        return self._instant(first + (slot - first) % self.count)

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

    `run` must not block and must not raise: it starts the work and returns. Once a second APScheduler's job sets
    a timer of the event loop for each occupied slot of the next `HORIZON_S` seconds.
    """

    def __init__(self, clock: Clock, run: Callable[[Due[Item]], None]) -> None:
        self.grid: Grid[Item] = Grid(anchor=clock.monotonic() - clock.wall())
        self._clock = clock
        self._run = run
        self._timers: deque[asyncio.TimerHandle] = deque()
        self._planned_until = -math.inf
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        self._job = self._scheduler.add_job(
            self._plan, IntervalTrigger(seconds=1), misfire_grace_time=None, coalesce=True, max_instances=2
        )

    def start(self) -> None:
        """Begin to fire; needs a running event loop."""
        self._scheduler.start()
        self.realign()

    async def stop(self) -> None:
        """Fire nothing more."""
        self._cancel()
        self._job.remove()
        await asyncio.sleep(0)  # a plan under way ends by itself; cut off, APScheduler would log it as an error
        self._scheduler.shutdown(wait=False)

    def add(self, key: str, interval_s: float, item: Item) -> None:
        """Put an entry on the grid; call `realign` after the last one."""
        self.grid.add(key, interval_s, item, self._clock.monotonic())

    def join(self, key: str, interval_s: float, item: Item, *, like: Like) -> None:
        """Put an entry on the grid while it fires; the others need not be planned anew."""
        if not self._scheduler.running:
            return
        now = self._clock.monotonic()
        self.grid.add(key, interval_s, item, now, like=like)
        for at in self.grid.due_times(key, now, self._planned_until):
            self._set_timer(at, now)

    def remove(self, key: str) -> None:
        """Take an entry off the grid."""
        self.grid.remove(key)

    def realign(self) -> None:
        """Plan anew: after entries changed, and after the wall clock was set.

        APScheduler keeps the next run as wall time; set back by an hour, it would sleep for that hour.
        """
        if self._scheduler.running:
            self._cancel()
            self._job.reschedule(IntervalTrigger(seconds=1))
            self._set_timers()

    async def _plan(self) -> None:
        self._set_timers()

    def _set_timers(self) -> None:
        """A timer for each occupied slot from where the last plan ended to the horizon."""
        loop = asyncio.get_running_loop()
        now = self._clock.monotonic()
        while self._timers and self._timers[0].when() < loop.time():
            self._timers.popleft()
        after = max(now, self._planned_until)
        while (due := self.grid.next_due(after)) is not None and due <= now + HORIZON_S:
            self._set_timer(due, now)
            after = due
        self._planned_until = max(after, now + HORIZON_S)
        self._fire()  # what became due while nothing was planned

    def _set_timer(self, due: float, now: float) -> None:
        # uvloop's timers have steps of a millisecond and may fire up to one early: nothing would be due yet.
        timer = asyncio.get_running_loop().call_later(due - now + _TIMER_STEP_S, self._fire)
        self._timers.append(timer)

    def _fire(self) -> None:
        for due in self.grid.take(self._clock.monotonic()):
            self._run(due)

    def _cancel(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._planned_until = -math.inf


def _slots(interval_s: float) -> int:
    return max(1, math.ceil(interval_s / SLOT_S - 1e-9))


def _at(due: Due[Item]) -> float:
    return due.at
