"""Wakes one task at an instant, finer than the event loop's timers.

uvloop rounds them to a millisecond and fires up to 0.6 ms early, which is the whole answer of a fast service. A timerfd
is exact to some 50 us and costs two system calls.
"""

import asyncio
import ctypes
import os
from types import TracebackType
from typing import Self

from perfmon.clock import Clock

__all__ = ["Alarm"]

_CLOCK_MONOTONIC = 1  # that of `time.monotonic`
_TFD_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC
_TFD_TIMER_ABSTIME = 1


class Alarm:
    """For one task at a time, inside the running loop: `with Alarm(clock) as alarm: await alarm.until(instant)`.

    Where there is no timerfd the loop's timers must do, and the lag says what that costs.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._libc = ctypes.CDLL(None, use_errno=True)
        create = getattr(self._libc, "timerfd_create", None)
        self._fd: int = -1 if create is None else create(_CLOCK_MONOTONIC, _TFD_NONBLOCK_CLOEXEC)

    def __enter__(self) -> Self:
        if self._fd >= 0:
            self._loop.add_reader(self._fd, self._rang)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)

    async def until(self, instant: float) -> None:
        """Wait for a monotonic instant; at once when it has passed."""
        while (left_s := instant - self._clock.monotonic()) > 0:
            if self._fd < 0:
                await asyncio.sleep(left_s)
                continue
            self._waiter = self._loop.create_future()
            seconds = int(instant)
            timer = _Timer(0, 0, seconds, max(1, int((instant - seconds) * 1e9)))
            self._libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, ctypes.byref(timer), None)
            await self._waiter

    def _rang(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # set anew since
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class _Timer(ctypes.Structure):
    """`struct itimerspec`: no interval, then the instant."""

    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("at_s", ctypes.c_long),
        ("at_ns", ctypes.c_long),
    )
