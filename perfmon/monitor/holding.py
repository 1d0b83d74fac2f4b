"""What holds an alert back that would fire: maintenance, and a dependency that is down or has yet to be looked at.

An alert that is held back stays pending. It fires as soon as nothing holds it and it is still broken; when it is fine
before, nobody has heard of it. One that fires already is not touched.
"""

import math
from collections.abc import Collection, Iterable, Sequence

import msgspec

from perfmon import maintenance
from perfmon.clock import Clock, iso
from perfmon.maintenance import Maintenance
from perfmon.model import Alert, Labels
from perfmon.selection import matches
from perfmon.units import quoted

__all__ = ["SETTLES_AT_MOST_S", "WAITS_AT_MOST_S", "Health", "Need", "Subject", "Windows", "held_by"]

WAITS_AT_MOST_S = 300.0
"""For the next look at what an alert depends on."""

SETTLES_AT_MOST_S = 300.0
"""After that came back: so long a window of the alert's rule may still hold what was seen meanwhile."""


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How one check fares that others depend on."""

    name: str  # for people
    down: bool  # its last run failed, or an alert says that it is down
    looked_at: float | None  # when its last run of this life of the daemon began
    up_since: float | None  # when it came back; None = it never failed, or nobody knows


Need = Sequence[Health]
"""The checks that one entry of `depends_on` names: one of them that is up will do. None at all is no need."""


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """The alert that would fire, as far as its dependencies matter."""

    broken_since: float  # when it was first seen broken, but not before perfmon began to watch
    settles_s: float  # for how long its rule sees what was before


def held_by(needs: Iterable[Need], subject: Subject, now: float) -> str:
    """Why the alert has to wait, in words; "" when it need not."""
    for need in needs:
        why = _held_by(need, subject, now)
        if why:
            return why
    return ""


def _held_by(need: Need, subject: Subject, now: float) -> str:
    if not need or any(_is_proven(one, subject, now) for one in need):
        return ""
    names = " and ".join(dict.fromkeys(one.name for one in need))
    if all(one.down for one in need):
        return f"inhibited by {names}"
    if any(not one.down and one.up_since is not None and not _has_settled(one, subject, now) for one in need):
        return f"{names} has just come back"
    if now - subject.broken_since < WAITS_AT_MOST_S:
        return f"waits for the next look at {names}"
    return ""


def _is_proven(one: Health, subject: Subject, now: float) -> bool:
    """Whether it was seen to be up since the alert's series broke. The one that depends on it often fails first."""
    seen = one.looked_at is not None and one.looked_at >= subject.broken_since
    return seen and not one.down and _has_settled(one, subject, now)


def _has_settled(one: Health, subject: Subject, now: float) -> bool:
    up_since = -math.inf if one.up_since is None else one.up_since
    return now - up_since >= min(subject.settles_s, SETTLES_AT_MOST_S)


class Windows:
    """The windows of maintenance, asked for by alerts and by the page."""

    def __init__(self, clock: Clock, windows: Sequence[Maintenance] = ()) -> None:
        self._clock = clock
        self.replace(windows)

    def replace(self, windows: Sequence[Maintenance]) -> None:
        """Go on with other windows."""
        self.windows = windows
        self._open: list[maintenance.Open] = []
        self._holds_from, self._holds_until = math.inf, -math.inf

    def open(self) -> list[maintenance.Open]:
        """Those that are open now: worked out when one opens or closes, or the wall clock was set back."""
        wall = self._clock.wall()
        if not self._holds_from <= wall < self._holds_until:
            self._open = maintenance.open_at(self.windows, wall)
            self._holds_from, self._holds_until = wall, self._next_turn(wall)
        return self._open

    def _next_turn(self, wall: float) -> float:
        coming = (maintenance.next_of(window, wall) for window in self.windows)
        begins = [one.since for one in coming if one is not None]
        return min([*begins, *(one.until for one in self._open)], default=math.inf)

    def hold(self, alert: Alert, tags: Collection[str]) -> str:
        """Which one holds an alert back, in words; "" when none does."""
        if not self.windows:
            return ""
        open_ = next((one for one in self.open() if matches(one.window.select, alert.labels, tags)), None)
        return "" if open_ is None else f"maintenance {quoted(open_.window.name)} until {iso(open_.until)}"

    def counts(self, labels: Labels, tags: Collection[str]) -> bool:
        """Whether a run of a check counts in error budgets now."""
        if all(window.counted for window in self.windows):
            return True
        return all(one.window.counted or not matches(one.window.select, labels, tags) for one in self.open())
