"""Runs of a check that a person asks for: few at a time, and never two of one check, whoever clicks how often."""

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Busy", "Reruns"]


class Busy(Exception):
    """Not now; the text says why."""


class Reruns:
    """Who runs now."""

    def __init__(self, most: int = 4) -> None:
        self._most = most
        self._running: set[str] = set()

    @contextmanager
    def place(self, key: str) -> Iterator[None]:
        """A place for one run of a check, given back at the end however it ends. Raises Busy when there is none."""
        if key in self._running:
            raise Busy("a run of this check that somebody asked for is under way; ask again when it is over")
        if len(self._running) >= self._most:
            raise Busy(f"{self._most} runs that somebody asked for are under way; ask again when one of them is over")
        self._running.add(key)
        try:
            yield
        finally:
            self._running.discard(key)
