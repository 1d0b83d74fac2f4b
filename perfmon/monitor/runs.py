"""Starts what is due: never two runs of one entry at a time, and probes only where there is room for them."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

import structlog

from perfmon.clock import Clock
from perfmon.monitor.room import OBSTACLES, Obstacle, Room
from perfmon.monitor.schedule import Due, Like, Schedule
from perfmon.monitor.selfmetrics import Instruments

__all__ = ["Entry", "Runs", "Work"]

HUNG_S = 0.1
"""A failed run that took longer hung: it held a place that others may need. Most failures are over in milliseconds."""

Work = Callable[[], Awaitable[bool | None]]
"""What is done; true when what it is about failed."""

_log = structlog.get_logger(__name__)


class Entry:
    """Something that is done each time it is due."""

    __slots__ = (
        "began_at", "failing", "failing_s", "host", "interval_s", "key", "limited", "recheck", "running", "suspect",
        "waiting_since", "waits_for", "work",
    )  # fmt: skip

    def __init__(
        self, key: str, interval_s: float, work: Work, *, limited: bool, host: str, failing_s: float | None
    ) -> None:
        self.key = key
        self.interval_s = interval_s
        self.work = work
        self.limited = limited  # needs a place in the room
        self.host = host
        self.failing_s = failing_s  # how often it is rechecked while it fails; None = not at all
        self.failing = False  # only known of those that are rechecked
        self.running = False
        self.recheck = False  # whether the run under way, or the last one, was none that was due
        self.began_at = -math.inf
        self.suspect = True  # hung the last time, or has not run yet
        self.waits_for: Obstacle = ""
        self.waiting_since = 0.0


class Recheck(NamedTuple):
    """What stands on the grid beside an entry while that fails."""

    entry: Entry


class Runs:
    """Belongs to the event loop it is started in; `stop` ends what still runs."""

    def __init__(self, clock: Clock, instruments: Instruments, *, in_flight: int, per_host: int) -> None:
        self.schedule: Schedule[Entry | Recheck] = Schedule(clock, self._start)
        self.room: Room[Entry] = Room(in_flight=in_flight, per_host=per_host)
        self._clock = clock
        self._instruments = instruments
        self._entries: dict[str, Entry] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._skipped = {why: instruments.skipped.labels(why) for why in ("running", "late", *OBSTACLES)}
        instruments.in_flight.set_function(lambda: self.room.taken)

    def add(
        self,
        key: str,
        interval_s: float,
        work: Work,
        *,
        limited: bool = False,
        host: str = "",
        failing_s: float | None = None,
    ) -> None:
        """Do `work` every `interval_s` seconds from here on; call `schedule.realign` after the last one.

        What is `limited` needs a place in the room. After a failed run it is rechecked every `failing_s` seconds until
        it is fine; its own due times stay what they are. An entry of the same key is replaced, and known by its past:
        what was due and waits for a place is done by the new one.
        """
        entry = Entry(key, interval_s, work, limited=limited, host=host, failing_s=failing_s)
        former = self._entries.get(key)
        waited = former is not None and bool(former.waits_for)
        if former is not None:
            entry.suspect = former.suspect
            self.remove(key)
        self._entries[key] = entry
        self.schedule.add(key, interval_s, entry)
        if former is not None and former.failing:
            self._pace(entry, failing=True)
        if former is not None and waited and (failing_s is not None or not former.recheck):
            entry.recheck = former.recheck
            self._enter(entry)

    def remove(self, key: str) -> None:
        """Do it no longer; a run that has begun goes on. One that is not there is no mistake."""
        self.schedule.remove(key)
        self.schedule.remove(_recheck_key(key))
        entry = self._entries.pop(key, None)
        if entry is not None and entry.waits_for:
            self._launch_waiting(self.room.withdraw(entry))

    def is_recheck(self, key: str) -> bool:
        """Whether the run under way is one between due times."""
        entry = self._entries.get(key)
        return entry is not None and entry.recheck

    def resume(self, key: str, *, failing: bool) -> None:
        """Go on with what a former life of the daemon knew of an entry; only while the schedule fires."""
        entry = self._entries[key]
        if not (entry.running or entry.waits_for):  # the room gives back what it gave to a suspect only from a suspect
            entry.suspect = failing
        if entry.failing_s is not None:
            self._pace(entry, failing=failing)

    async def stop(self, deadline_s: float) -> None:
        """Start nothing more, give what runs until the deadline, then cut it off."""
        await self.schedule.stop()
        self.room.dismiss()
        if self._tasks:
            _done, late = await asyncio.wait(self._tasks, timeout=deadline_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _start(self, due: Due[Entry | Recheck]) -> None:
        entry = due.item
        if isinstance(entry, Recheck):
            self._start_recheck(entry.entry, due.at)
            return
        self._instruments.due.inc(1 + due.skipped)
        if due.skipped:
            self._skipped["late"].inc(due.skipped)
        if entry.recheck and (entry.running or entry.waits_for):
            entry.recheck = False  # it is what is due now, and counts as that
        elif entry.running or entry.waits_for:
            self._skipped[entry.waits_for or "running"].inc()
        else:
            entry.recheck = False
            self._instruments.lateness.observe(max(0.0, self._clock.monotonic() - due.at))
            self._enter(entry)

    def _start_recheck(self, entry: Entry, at: float) -> None:
        """Run between due times, unless a run is under way, was a moment ago, or is due in a moment."""
        assert entry.failing_s is not None, "only what is rechecked stands on the grid as such"
        near_s = 0.5 * entry.failing_s
        just_run = at < entry.began_at + near_s
        due_soon = any(self.schedule.grid.due_times(entry.key, at, at + near_s))
        if not (entry.running or entry.waits_for or just_run or due_soon):
            entry.recheck = True
            self._enter(entry)

    def _enter(self, entry: Entry) -> None:
        now = self._clock.monotonic()
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
        entry.began_at = now
        task = asyncio.get_running_loop().create_task(self._run(entry))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, entry: Entry) -> None:
        hung = False
        try:
            failed = bool(await entry.work())
            hung = failed and self._clock.monotonic() - entry.began_at > HUNG_S
            if entry.failing_s is not None:
                self._pace(entry, failing=failed)
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

    def _pace(self, entry: Entry, *, failing: bool) -> None:
        """Begin to recheck, or end it."""
        if failing == entry.failing or self._entries.get(entry.key) is not entry or entry.failing_s is None:
            return
        entry.failing = failing
        if failing:
            like = Like(entry.key, entry.interval_s)
            self.schedule.join(_recheck_key(entry.key), entry.failing_s, Recheck(entry), like=like)
        else:
            self.schedule.remove(_recheck_key(entry.key))


def _recheck_key(key: str) -> str:
    return f"/recheck/{key}"  # no check's or sampler's: a name holds no "/"
