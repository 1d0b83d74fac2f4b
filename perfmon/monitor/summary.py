"""The long past of a series in a thousand points at most, for conditions that look back for days.

A point stands for a stretch of the window: its median and its lowest value. Stretches that are over go into the store,
so that a window of two weeks does not begin anew with perfmon; and where what is watched began anew, a stretch ends,
so that none mixes two lives.
"""

import math
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

__all__ = ["POINTS", "Stretch", "Summary", "restarts_of"]

POINTS = 900
"""Of a full window: 28 for each of the leak verdict's 32 blocks."""

_TRIM_EVERY = 32
_SAME_LIFE_S = 10.0
"""Start times that differ by less are the same: they are computed from clocks that are corrected."""


class Stretch(NamedTuple):
    """One point of a summary."""

    at: float  # mean time of its raw points
    middle: float
    low: float
    life: float  # when what is watched began, in Unix time; nan when nobody knows


class Summary:
    """The last `span_s` seconds of one series. Bounded: `POINTS` stretches, and the raw points of the one under way."""

    __slots__ = (
        "_at", "_cuts", "_life", "_life_open", "_low", "_middle", "_open_at", "_open_values", "_slot", "_unsaved",
        "asked_at", "span_s",
    )  # fmt: skip

    def __init__(self, span_s: float) -> None:
        self.span_s = span_s
        self.asked_at = -math.inf  # when somebody last wanted to see it
        self._at, self._middle, self._low, self._life = (array("d") for _ in Stretch._fields)
        self._cuts: list[float] = []
        self._unsaved: list[Stretch] = []
        self._slot = -1
        self._life_open = math.nan
        self._open_at, self._open_values = array("d"), array("d")

    def add(self, at: float, value: float, life: float = math.nan) -> None:
        """Take in a raw point; `at` must not go back."""
        slot = int(at // self._stretch_s)
        if self._open_at and (slot != self._slot or _began_anew(self._life_open, life)):
            self._close()
        self._slot, self._life_open = slot, life
        self._open_at.append(at)
        self._open_values.append(value)

    def cut(self, at: float) -> None:
        """What comes from `at` on stands at a level of its own, though what is watched lives on."""
        if self._open_at:
            self._close()
        self._cuts = [*(one for one in self._cuts if one > at - self.span_s), at]

    def restore(self, stretches: Sequence[Stretch]) -> None:
        """Put back what a former life of the daemon wrote down, before the first point is added."""
        for stretch in stretches:
            self._append(stretch)

    def take_unsaved(self) -> list[Stretch]:
        """The stretches that ended since this was last asked."""
        taken, self._unsaved = self._unsaved, []
        return taken

    def window(self, now: float) -> list[Stretch]:
        """What lies in the window, the stretch under way included."""
        self.asked_at = now
        first = bisect_right(self._at, now - self.span_s)
        columns = (column[first:] for column in (self._at, self._middle, self._low, self._life))
        return [*map(Stretch._make, zip(*columns, strict=True)), *([self._open()] if self._open_at else [])]

    def cuts(self, now: float) -> list[float]:
        """Where its level changed for a reason that lies outside of it, of those that lie in the window."""
        return [at for at in self._cuts if at > now - self.span_s]

    @property
    def _stretch_s(self) -> float:
        return self.span_s / POINTS

    def _open(self) -> Stretch:
        n = len(self._open_at)
        return Stretch(sum(self._open_at) / n, median(self._open_values), min(self._open_values), self._life_open)

    def _close(self) -> None:
        stretch = self._open()
        self._append(stretch)
        self._unsaved.append(stretch)
        del self._open_at[:], self._open_values[:]

    def _append(self, stretch: Stretch) -> None:
        for column, value in zip((self._at, self._middle, self._low, self._life), stretch, strict=True):
            column.append(value)
        if len(self._at) > POINTS + _TRIM_EVERY:
            # A target that begins anew all the time makes more stretches than there are slots.
            first = max(bisect_right(self._at, stretch.at - self.span_s), len(self._at) - POINTS)
            for column in (self._at, self._middle, self._low, self._life):
                del column[:first]


def restarts_of(stretches: Sequence[Stretch]) -> list[float]:
    """When a new life began; a stretch of which nobody knows the life belongs to the one before."""
    found, known = [], math.nan
    for stretch in stretches:
        if _began_anew(known, stretch.life):
            found.append(stretch.at)
        known = known if math.isnan(stretch.life) else stretch.life
    return found


def _began_anew(before: float, now: float) -> bool:
    """Whether these are start times of two lives; nan is none."""
    return abs(now - before) > _SAME_LIFE_S
