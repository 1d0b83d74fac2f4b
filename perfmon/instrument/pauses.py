"""How long the garbage collector stops a process, as a histogram."""

import gc
from bisect import bisect_left
from functools import cache
from time import perf_counter

__all__ = ["BOUNDS_S", "Pauses", "watched"]

BOUNDS_S = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0)
"""Upper bounds in seconds; +Inf is implied."""


class Pauses:
    """Counts collections by how long they took. One of `gc.callbacks`, which are called one at a time."""

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS_S) + 1)
        self.seconds = 0.0
        self._began: float | None = None

    def __call__(self, phase: str, _info: object) -> None:
        """Called by the interpreter before and after each collection."""
        if phase == "start":
            self._began = perf_counter()
        elif self._began is not None:
            self.note(perf_counter() - self._began)
            self._began = None

    def note(self, seconds: float) -> None:
        """Count one pause."""
        self.buckets[bisect_left(BOUNDS_S, seconds)] += 1
        self.seconds += seconds


@cache
def watched() -> Pauses:
    """Those of this process, from the first call on."""
    pauses = Pauses()
    gc.callbacks.append(pauses)
    return pauses
