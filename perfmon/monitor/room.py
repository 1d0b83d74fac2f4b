"""Who may run now: so many at once, so many at one host, and those that hang no more than half of all.

A run that is over quickly, well or not, harms nobody. One that hangs holds its place until its timeout, and a few
hundred dead targets would hold every place there is. So whoever hung the last time, or has not shown yet that it does
not, is a suspect: suspects share half of the places and wait in line for them, and the others always find the other
half.

Who finds no room waits in line: first come, first served. So each dead target is still asked in its turn and is
found when it is back, where skipping at once would let the same ones lose each time, phases being what they are.
Pure: counts and lines, neither clock nor tasks.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Generic, Literal, Protocol, TypeVar

__all__ = ["OBSTACLES", "Guest", "Obstacle", "Room"]

Obstacle = Literal["", "host", "slow", "in_flight"]
OBSTACLES: tuple[Obstacle, ...] = ("host", "slow", "in_flight")
"""What a guest can wait for: places at its host, in the half for suspects, or any at all."""


class Guest(Protocol):
    """Who wants a place. Nobody changes `host` and `suspect` while it waits for one or has one."""

    host: str  # "" = of no host, and not limited by it
    suspect: bool
    waits_for: Obstacle  # set by the room when it finds no place


G = TypeVar("G", bound=Guest)
_Line = OrderedDict[G, None]  # one who goes away leaves it at once, wherever he stood


class Room(Generic[G]):
    """The places. Limits may change at any time; who has a place keeps it."""

    def __init__(self, *, in_flight: int, per_host: int) -> None:
        self.in_flight = in_flight
        self.per_host = per_host
        self.taken = 0
        self._suspects = 0  # how many of `taken`
        self._at: dict[str, int] = {}  # how many of them at each host
        self._of_host: dict[str, _Line[G]] = {}
        self._suspected: _Line[G] = OrderedDict()
        self._proven: _Line[G] = OrderedDict()

    def enter(self, guest: G) -> Obstacle:
        """Take a place; if there is none, stand in line, and the answer is what for."""
        obstacle = self._obstacle(guest)
        if obstacle:
            guest.waits_for = obstacle
            self._line(guest)[guest] = None
        else:
            self.taken += 1
            self._suspects += guest.suspect
            self._at[guest.host] = self._at.get(guest.host, 0) + 1
        return obstacle

    def leave(self, guest: G) -> Sequence[G]:
        """Give a place back; answers with those who waited and have one now."""
        self.taken -= 1
        self._suspects -= guest.suspect
        left = self._at.pop(guest.host) - 1
        if left:
            self._at[guest.host] = left
        return self._admit(guest.host) if self._suspected or self._proven or self._of_host else ()

    def withdraw(self, guest: G) -> Sequence[G]:
        """Wait no longer; answers with those who have a place now."""
        self._line(guest).pop(guest, None)
        return self._admit(guest.host)

    def dismiss(self) -> None:
        """Send away all who wait."""
        for line in (*self._of_host.values(), self._suspected, self._proven):
            for guest in line:
                guest.waits_for = ""
            line.clear()
        self._of_host.clear()

    def _obstacle(self, guest: G) -> Obstacle:
        if guest.host and self._at.get(guest.host, 0) >= self.per_host:
            return "host"
        if guest.suspect:
            return "slow" if self._is_full_for_suspects() else ""
        return "in_flight" if self.taken >= self.in_flight else ""

    def _is_full_for_suspects(self) -> bool:
        return self.taken >= self.in_flight or self._suspects >= max(1, self.in_flight // 2)

    def _line(self, guest: G) -> "_Line[G]":
        """Where a guest stands. Suspects keep to their own line, also when there is no place at all."""
        if guest.waits_for == "host":
            return self._of_host.setdefault(guest.host, OrderedDict())
        return self._suspected if guest.suspect else self._proven

    def _admit(self, host: str) -> list[G]:
        """Let in whom a place that became free at `host` makes room for.

        Who is called from the host's line and finds no place stands in another line from then on, and the calling ends.
        When he leaves in his turn, the next one is called: nobody is forgotten, and no long line is walked through.
        """
        admitted: list[G] = []
        line = self._of_host.get(host)
        while line and self._at.get(host, 0) < self.per_host and self._call(line, admitted):
            pass
        if line is not None and not line:
            del self._of_host[host]
        while self._proven and self.taken < self.in_flight:
            self._call(self._proven, admitted)
        while self._suspected and not self._is_full_for_suspects():
            self._call(self._suspected, admitted)
        return admitted

    def _call(self, line: "_Line[G]", admitted: list[G]) -> bool:
        """Call the first in line; whether he found a place, and else he stands in another line now."""
        guest, _ = line.popitem(last=False)
        obstacle = self.enter(guest)
        if not obstacle:
            admitted.append(guest)
        return not obstacle
