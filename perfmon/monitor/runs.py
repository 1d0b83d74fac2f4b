"""Starts what is due: never two runs of one entry at a time, and probes only where there is room for them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import structlog

from perfmon.clock import Clock
from perfmon.monitor.room import OBSTACLES, Obstacle, Room
from perfmon.monitor.schedule import Due, Schedule
from perfmon.monitor.selfmetrics import Instruments

__all__ = ["Entry", "Runs", "Work"]

HUNG_S = 0.1
"""A failed run that took longer hung: it held a place that others may need. Most failures are over in milliseconds."""

Work = Callable[[], Awaitable[bool | None]]
"""What is done; true when what it is about failed."""

_log = structlog.get_logger(__name__)


class Entry:
    """Something that is done each time it is due."""

    __slots__ = ("host", "limited", "running", "suspect", "waiting_since", "waits_for", "work")

    def __init__(self, work: Work, *, limited: bool, host: str) -> None:
        self.work = work
        self.limited = limited  # needs a place in the room
        self.host = host
        self.running = False
        self.suspect = True  # hung the last time, or has not run yet
        self.waits_for: Obstacle = ""
        self.waiting_since = 0.0


class Runs:
    """Belongs to the event loop it is started in; `stop` ends what still runs."""

    def __init__(self, clock: Clock, instruments: Instruments, *, in_flight: int, per_host: int) -> None:
        self.schedule: Schedule[Entry] = Schedule(clock, self._start)
        self.room: Room[Entry] = Room(in_flight=in_flight, per_host=per_host)
        self._clock = clock
        self._instruments = instruments
        self._entries: dict[str, Entry] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._skipped = {why: instruments.skipped.labels(why) for why in ("running", "late", *OBSTACLES)}
        instruments.in_flight.set_function(lambda: self.room.taken)

    def add(self, key: str, interval_s: float, work: Work, *, limited: bool = False, host: str = "") -> None:
        """Do `work` every `interval_s` seconds from here on; call `schedule.realign` after the last one.

        What is `limited` needs a place in the room. An entry of the same key is replaced, and known by its past.
        """
        entry = Entry(work, limited=limited, host=host)
        former = self._entries.get(key)
        if former is not None:
            entry.suspect = former.suspect
            self.remove(key)
        self._entries[key] = entry
        self.schedule.add(key, interval_s, entry)

    def remove(self, key: str) -> None:
        """Do it no longer; a run that has begun goes on. One that is not there is no mistake."""
        self.schedule.remove(key)
        entry = self._entries.pop(key, None)
        if entry is not None and entry.waits_for:
            self._launch_waiting(self.room.withdraw(entry))

    async def stop(self, deadline_s: float) -> None:
        """Start nothing more, give what runs until the deadline, then cut it off."""
        await self.schedule.stop()
        self.room.dismiss()
        if self._tasks:
            _done, late = await asyncio.wait(self._tasks, timeout=deadline_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _start(self, due: Due[Entry]) -> None:
        entry = due.item
        self._instruments.due.inc(1 + due.skipped)
        if due.skipped:
            self._skipped["late"].inc(due.skipped)
        if entry.running or entry.waits_for:
            self._skipped[entry.waits_for or "running"].inc()
            return
        now = self._clock.monotonic()
        self._instruments.lateness.observe(max(0.0, now - due.at))
        if entry.limited and self.room.enter(entry):
            entry.waiting_since = now
        else:
            self._launch(entry, now)

    def _launch_waiting(self, entries: Iterable[Entry]) -> None:
        """Begin with those who waited and have a place now."""
        now = self._clock.monotonic()
        for entry in entries:
            self._instruments.wait.labels(entry.waits_for).observe(now - entry.waiting_since)
            entry.waits_for = ""
            self._launch(entry, now)

    def _launch(self, entry: Entry, now: float) -> None:
        entry.running = True
        task = asyncio.get_running_loop().create_task(self._run(entry, now))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, entry: Entry, began: float) -> None:
        hung = False
        try:
            if await entry.work():
                hung = self._clock.monotonic() - began > HUNG_S
        except Exception:  # noqa: BLE001 - one run is spoilt, not all
            # A target's failure is data and never comes here: this is a defect of ours, and the rest goes on.
            self._instruments.defects.labels("run").inc()
            _log.exception("defect")
        finally:
            entry.running = False
            if entry.limited:
                admitted = self.room.leave(entry)
                entry.suspect = hung
                if admitted:
                    self._launch_waiting(admitted)
