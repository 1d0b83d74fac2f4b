"""Cuts off what overruns its time, with one timer for all that runs.

`asyncio.timeout` makes a timer of the loop for each run, which on uvloop costs 11 us: a tenth of a whole probe. Here a
run costs a dictionary entry, and is cut up to one tick later than its time.
"""

import asyncio

from perfmon.clock import Clock

__all__ = ["Backstop"]

_TICK_S = 0.05


class Backstop:
    """The runs that are under way and when each must be over. Used by the tasks of one loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._runs: dict[Run, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def guard(self, deadline: float) -> "Run":
        """Cancel the current task soon after `deadline` (monotonic), unless the run is released before."""
        task = asyncio.current_task()
        assert task is not None, "a run is part of a task"
        run = Run(task, deadline)
        self._runs[run] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_TICK_S, self._tick)
        return run

    def release(self, run: "Run") -> None:
        """The run is over, in time or not."""
        del self._runs[run]

    def close(self) -> None:
        """Watch no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        now = self._clock.monotonic()
        for run in self._runs:
            if run.deadline <= now and not run.cut:
                run.cut = True
                run.task.cancel()
        self._timer = asyncio.get_running_loop().call_later(_TICK_S, self._tick) if self._runs else None


class Run:
    """One task's run under guard."""

    __slots__ = ("cancelled_before", "cut", "deadline", "task")

    def __init__(self, task: "asyncio.Task[object]", deadline: float) -> None:
        self.task = task
        self.deadline = deadline
        self.cancelled_before = task.cancelling()
        self.cut = False

    def overran(self) -> bool:
        """In an `except CancelledError`: whether this backstop cut the run, and nobody else wants the task to end."""
        return self.cut and self.task.uncancel() <= self.cancelled_before
