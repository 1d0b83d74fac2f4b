"""Windows of maintenance as the pages show them: those that are open, those to come, those of the past day."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice

from perfmon.clock import Clock
from perfmon.maintenance import Maintenance, Open, between, next_of, open_at
from perfmon.model import Labels
from perfmon.selection import matches

__all__ = ["Calendar", "about", "near", "since_to_until"]

AHEAD_S = 7 * 86_400.0
BACK_S = 86_400.0
MOST = 200
FRESH_S = 30.0


class Calendar:
    """Asked at each look at a page; a crontab's line that comes every leap year is not looked up each time."""

    def __init__(self, windows: Callable[[], Sequence[Maintenance]], clock: Clock) -> None:
        self._windows = windows
        self._clock = clock
        self._asked: tuple[float, Sequence[Maintenance]] | None = None
        self._near: list[Open] = []
        self._past: list[Open] = []

    def near(self) -> list[Open]:
        """Those that are open, and the next of each within a week."""
        self._refresh()
        return self._near

    def past_day(self, labels: Labels, tags: Collection[str]) -> list[Open]:
        """Those of the past day that are about what has these labels and tags, the ones that are open included."""
        self._refresh()
        return list(about(self._past, labels, tags))

    def _refresh(self) -> None:
        now, windows = self._clock.monotonic(), self._windows()
        if self._asked is not None and self._asked[1] is windows and now - self._asked[0] < FRESH_S:
            return
        wall = self._clock.wall()
        self._asked = (now, windows)
        self._near = near(windows, wall)
        self._past = since_to_until(windows, wall - BACK_S, wall)


def near(windows: Sequence[Maintenance], wall: float) -> list[Open]:
    """Those that are open at a Unix time, and the next of each within a week; in the order of their beginnings."""
    coming = (next_of(window, wall) for window in windows)
    soon = [one for one in coming if one is not None and one.since <= wall + AHEAD_S]
    return sorted([*open_at(windows, wall), *soon], key=lambda one: (one.since, one.window.name))


def since_to_until(windows: Sequence[Maintenance], since: float, until: float) -> list[Open]:
    """When they were open between two Unix times, the first 200 of each at most."""
    found = (one for window in windows for one in _occurrences(window, since, until))
    return sorted(found, key=lambda one: one.since)


def about(occurrences: Iterable[Open], labels: Labels, tags: Collection[str]) -> Iterator[Open]:
    """Those that are about what has these labels and tags."""
    return (one for one in occurrences if matches(one.window.select, labels, tags))


def _occurrences(window: Maintenance, since: float, until: float) -> Iterator[Open]:
    yield from open_at([window], since)
    yield from islice(between(window, since, until), MOST)
