"""Starts what is due: never two runs of one entry at a time, never more probes at a time than allowed."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from perfmon.clock import Clock
from perfmon.monitor.schedule import Due, Schedule
from perfmon.monitor.selfmetrics import Instruments

__all__ = ["Entry", "Runs"]

_log = structlog.get_logger(__name__)


class Entry:
    """Something that is done each time it is due."""

    __slots__ = ("limited", "running", "work")

    def __init__(self, work: Callable[[], Awaitable[None]], *, limited: bool) -> None:
        self.work = work
        self.limited = limited  # counts against the limit of probes in flight
        self.running = False


class Runs:
    """Belongs to the event loop it is started in; `stop` ends what still runs."""

    def __init__(self, clock: Clock, instruments: Instruments, *, in_flight_limit: int) -> None:
        self.in_flight_limit = in_flight_limit
        self.schedule: Schedule[Entry] = Schedule(clock, self._start)
        self._clock = clock
        self._instruments = instruments
        self._in_flight = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._skipped = {why: instruments.skipped.labels(why) for why in ("running", "in_flight", "late")}
        instruments.in_flight.set_function(lambda: self._in_flight)

    def add(self, key: str, interval_s: float, work: Callable[[], Awaitable[None]], *, limited: bool = False) -> None:
        """Do `work` every `interval_s` seconds from here on; call `schedule.realign` after the last one."""
        self.schedule.add(key, interval_s, Entry(work, limited=limited))

    async def stop(self, deadline_s: float) -> None:
        """Start nothing more, give what runs until the deadline, then cut it off."""
        await self.schedule.stop()
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
        if entry.running:
            self._skipped["running"].inc()
        elif entry.limited and self._in_flight >= self.in_flight_limit:
            self._skipped["in_flight"].inc()
        else:
            self._instruments.lateness.observe(max(0.0, self._clock.monotonic() - due.at))
            entry.running = True
            self._in_flight += entry.limited
            task = asyncio.get_running_loop().create_task(self._run(entry))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, entry: Entry) -> None:
        try:
            await entry.work()
        except Exception:  # noqa: BLE001 - one run is spoilt, not all
            # A target's failure is data and never comes here: this is a defect of ours, and the rest goes on.
            self._instruments.defects.labels("run").inc()
            _log.exception("defect")
        finally:
            entry.running = False
            self._in_flight -= entry.limited
