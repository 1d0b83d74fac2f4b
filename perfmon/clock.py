"""The only place that reads the time.

Inside perfmon every instant is a reading of `Clock.monotonic`: it never steps, so nothing fires
because somebody set the machine's clock. Wall time is made at the border, for stamps that leave the
process (`to_wall`) or come back into it after a restart (`from_wall`).
"""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Readings in seconds."""

    def monotonic(self) -> float:
        """Seconds on a clock that never steps; only differences mean anything."""
        ...

    def wall(self) -> float:
        """Unix time, as the machine believes it now."""
        ...

    def cpu(self) -> float:
        """CPU time that the calling thread has used; only differences mean anything."""
        ...


class SystemClock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        """`CLOCK_MONOTONIC`; not the event loop's time, which uvloop rounds to a millisecond."""
        return time.monotonic()

    def wall(self) -> float:
        """Unix time in seconds."""
        return time.time()

    def cpu(self) -> float:
        """`CLOCK_THREAD_CPUTIME_ID`."""
        return time.thread_time()


class ManualClock:
    """A clock that moves when told, for tests and for replaying history; whoever reads it is at work all the time."""

    def __init__(self, monotonic: float = 1_000.0, wall: float = 1_800_000_000.0) -> None:
        self._monotonic = monotonic
        self._wall = wall

    def monotonic(self) -> float:
        """Seconds, moved only by `advance`."""
        return self._monotonic

    def wall(self) -> float:
        """Unix time, moved by `advance` and `step_wall`."""
        return self._wall

    def cpu(self) -> float:
        """Moved by `advance`."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self._monotonic += seconds
        self._wall += seconds

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock, as an administrator or NTP would; no time passes."""
        self._wall += seconds


def to_wall(clock: Clock, monotonic: float) -> float:
    """The Unix time of a monotonic instant, by what the wall clock says now."""
    return clock.wall() - (clock.monotonic() - monotonic)


def from_wall(clock: Clock, wall: float) -> float:
    """The monotonic instant of a Unix time, by what the wall clock says now."""
    return clock.monotonic() - (clock.wall() - wall)


def iso(wall: float) -> str:
    """RFC 3339 in UTC with milliseconds: `2027-01-15T08:00:00.000Z`."""
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
