"""Long work on the event loop, in turns: probes wait for half a millisecond of it at most."""

import asyncio

from perfmon.clock import Clock

__all__ = ["Turns"]

TURN_S = 0.0005


class Turns:
    """`await turns.next()` after each piece of the work."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.monotonic()

    async def next(self) -> None:
        """Let the others go on when this turn has lasted long enough."""
        if self._clock.monotonic() - self._began >= TURN_S:
            await asyncio.sleep(0)
            self._began = self._clock.monotonic()
