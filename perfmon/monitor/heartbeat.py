"""Feels the event loop's pulse: how late it is, and whether somebody set the wall clock."""

import asyncio
from collections.abc import Callable

import structlog

from perfmon.clock import Clock
from perfmon.monitor.selfmetrics import Instruments

__all__ = ["BEAT_S", "beat"]

BEAT_S = 0.25
STEP_S = 1.0  # the wall clock moved this much against the monotonic one within a beat: a step, no drift

_log = structlog.get_logger(__name__)


async def beat(clock: Clock, instruments: Instruments, on_step: Callable[[], None]) -> None:
    """Beat until cancelled. A late beat is time in which a probe's answer would have waited, too."""
    offset = clock.wall() - clock.monotonic()
    while True:
        began = clock.monotonic()
        await asyncio.sleep(BEAT_S)
        instruments.loop_lag.observe(max(0.0, clock.monotonic() - began - BEAT_S))
        now_offset = clock.wall() - clock.monotonic()
        if abs(now_offset - offset) > STEP_S:
            instruments.clock_steps.inc()
            _log.warning("the wall clock was set", by_s=round(now_offset - offset, 3))
            on_step()
        offset = now_offset
