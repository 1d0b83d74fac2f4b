"""Runs one shard of a test and tells what happened, a snapshot a second.

Latency counts from the intended start. An arrival is due when the schedule says so, whatever the target is doing: if
there is no room it waits, and its waiting is part of its response time (queue time); if it is dropped it is a miss.
A tool that counts from when it got round to sending measures how patient it was itself.
"""

import asyncio
import resource
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from perfmon import measure
from perfmon.clock import Clock
from perfmon.measure import OnDefect
from perfmon.model import Failure, Measurement
from perfmon.network import Network
from perfmon.perftest.alarm import Alarm
from perfmon.perftest.plan import Shard, User
from perfmon.run import Snapshot

__all__ = ["STALL_S", "Engine", "Row", "reason_of"]

STALL_S = 0.01
"""A loop that is this late for a timer stands still for whoever else waits."""

_HEARTBEAT_S = 0.02
_SECOND_S = 1.0
_AT_ONCE = 64  # arrivals that were due already, before the loop gets its turn
_MOST_WAITING = 1_000_000  # 32 MB; what comes then is dropped


class Row(msgspec.Struct, frozen=True):
    """One arrival, or one run of a user."""

    intended: float  # monotonic
    started: float
    ended: float
    measurement: Measurement

    @property
    def queue_s(self) -> float:
        """From the intended start to the actual one; uvloop wakes a user up to 0.6 ms early."""
        return max(0.0, self.started - self.intended)

    @property
    def service_s(self) -> float:
        """From the actual start to the end."""
        return self.ended - self.started


class Engine:
    """One shard, in one event loop. `tell` hears of each second, `row` (where given) of each arrival that ended."""

    def __init__(
        self,
        shard: Shard,
        *,
        clock: Clock,
        network: Network,
        tell: Callable[[Snapshot], None],
        row: Callable[[Row], None] | None = None,
        on_defect: OnDefect | None = None,
    ) -> None:
        self._shard = shard
        self._scenario = shard.scenario
        self._clock = clock
        self._network = network
        self._tell = tell
        self._row = row
        self._on_defect = on_defect
        self._began = 0.0
        self._now = Snapshot()  # the second under way
        self._cpu_s = _cpu_s()
        self._waiting: deque[float] = deque()  # intended starts of arrivals that found no room
        self._in_flight = 0
        self._shared = shard.shared  # iterations that are left
        self._group: asyncio.TaskGroup
        self._running: set[asyncio.Task[None]] = set()
        self._stopped = asyncio.get_running_loop().create_future()
        self._idle = asyncio.Event()  # nothing is under way or waits
        self._idle.set()
        self.backlog = 0  # what was under way or waited when the schedule ended
        self.unfinished = 0  # what was given up `stop_s` after the schedule ended
        self.cut = 0  # what was under way or waited when `stop` was called

    def stop(self) -> None:
        """End at once, with what has been measured so far."""
        if not self._stopped.done():
            self._stopped.set_result(None)

    async def run(self, began: float) -> None:
        """Run the shard; `began` is the monotonic instant that all shards count from."""
        self._began = began
        async with asyncio.TaskGroup() as group:  # a defect in any run ends all, and is raised
            self._group = group
            heartbeat = group.create_task(self._beat())
            offering = group.create_task(self._offer())
            await asyncio.wait((offering, self._stopped), return_when=asyncio.FIRST_COMPLETED)
            await self._drain()
            for task in (heartbeat, offering, *self._running):
                task.cancel()
        self._flush()

    async def _drain(self) -> None:
        """Let what is under way end, for a while; then it is given up."""
        self.backlog = self._left
        if not self._stopped.done():
            idle = asyncio.create_task(self._idle.wait())
            stop_s = self._scenario.stop_s
            await asyncio.wait((idle, self._stopped), timeout=stop_s, return_when=asyncio.FIRST_COMPLETED)
            idle.cancel()
        if self._stopped.done():
            self.cut = self._left
        else:
            self.unfinished = self._left

    @property
    def _left(self) -> int:
        return self._in_flight + len(self._waiting)

    # ------------------------------------------------------------ what is offered

    async def _offer(self) -> None:
        users = self._shard.users()
        if not users:
            await self._arrivals()
            return
        tasks = [self._spawn(self._come_and_go(user)) for user in users]
        await asyncio.wait(tasks, timeout=self._began + self._shard.duration_s - self._clock.monotonic())

    async def _arrivals(self) -> None:
        """Issue all that is due, then sleep until the next; never a pause that is counted from now."""
        at_once = 0
        with Alarm(self._clock) as alarm:
            for due_s in self._shard.arrivals():
                due = self._began + due_s
                at_once += 1
                if due > self._clock.monotonic():
                    await alarm.until(due)
                    at_once = 0
                elif at_once % _AT_ONCE == 0:
                    await asyncio.sleep(0)
                self._arrive(due)
            await alarm.until(self._began + self._shard.duration_s)

    def _arrive(self, due: float) -> None:
        second = self._now
        second.due += 1
        second.lag.record(max(0.0, self._clock.monotonic() - due))
        if self._in_flight < self._shard.max_in_flight:
            self._in_flight += 1
            self._idle.clear()
            self._spawn(self._serve(due))
        elif self._scenario.late == "drop" or len(self._waiting) >= _MOST_WAITING:
            second.dropped += 1
        else:
            self._waiting.append(due)

    async def _serve(self, due: float) -> None:
        """One arrival, and then those that wait: the room is handed on without a pause."""
        try:
            await self._one(due)
            while self._waiting:
                await asyncio.sleep(0)  # answers that are there at once would else keep the loop to themselves
                if self._waiting:
                    await self._one(self._waiting.popleft())
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()

    async def _come_and_go(self, user: User) -> None:
        """One user: he comes, is served, thinks, and comes again."""
        left = self._shard.each
        for begin_s, end_s in user.spans:
            due = self._began + begin_s
            # Always at least one turn of the loop: an answer may be there at once, and then nobody else got his.
            await asyncio.sleep(max(0.0, due - self._clock.monotonic()))
            while due < self._began + end_s and left != 0 and self._take():
                left = None if left is None else left - 1
                self._in_flight += 1
                self._idle.clear()
                self._now.lag.record(max(0.0, self._clock.monotonic() - due))
                await self._serve(due)
                due = self._clock.monotonic() + self._scenario.think_s
                await asyncio.sleep(max(0.0, due - self._clock.monotonic()))

    def _take(self) -> bool:
        """Take one of the shared iterations; False when none is left."""
        if self._shared is not None:
            self._shared -= 1
            return self._shared >= 0
        return True

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = self._group.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    # ------------------------------------------------------------ what came of it

    async def _one(self, intended: float) -> None:
        started = self._clock.monotonic()
        self._now.started += 1
        measurement = await measure.probe(
            self._scenario.target,
            self._scenario.module,
            clock=self._clock,
            network=self._network,
            on_defect=self._on_defect,
        )
        row = Row(intended, started, self._clock.monotonic(), measurement)
        second = self._now
        second.done += 1
        second.resent += measurement.resent
        second.service.record(row.service_s)
        second.queue.record(row.queue_s)
        second.response.record(row.queue_s + row.service_s)
        if measurement.failure is not None:
            self._count_failure(measurement.failure)
        if self._row is not None:
            self._row(row)

    def _count_failure(self, failure: Failure) -> None:
        reason = reason_of(failure)
        self._now.failed[reason] += 1
        self._now.examples.setdefault(reason, failure)

    # ------------------------------------------------------------ seconds

    async def _beat(self) -> None:
        """Cut the time into seconds, and watch for how long the loop stands still."""
        while True:
            began = self._clock.monotonic()
            await asyncio.sleep(_HEARTBEAT_S)
            now = self._clock.monotonic()
            late_s = now - began - _HEARTBEAT_S
            if late_s > STALL_S:
                self._now.stall_s += late_s
            if now - self._began >= self._now.begin_s + _SECOND_S:
                self._flush()

    def _flush(self) -> None:
        second, cpu_s = self._now, _cpu_s()
        second.end_s = self._clock.monotonic() - self._began
        second.in_flight, second.waiting = self._in_flight, len(self._waiting)
        second.cpu_s = cpu_s - self._cpu_s
        self._cpu_s = cpu_s
        self._now = Snapshot(begin_s=second.end_s)
        self._tell(second)


def reason_of(failure: Failure) -> str:
    """The failure's reason, of a status with its number: of the closed set, so there are never many."""
    if failure.reason == "status" and "status" in failure.evidence:
        return f"status {failure.evidence['status']}"
    return failure.reason


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
