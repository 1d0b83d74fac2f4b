"""What a test offers to its target: arrivals at a rate, or users who come again. Pure: one offer, the same instants.

Instants are seconds from the beginning of the test.
"""

import math
import random
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

__all__ = ["Closed", "Course", "Offer", "Open", "Piece", "Spacing", "Span"]

Spacing = Literal["uniform", "poisson"]
Span = tuple[float, float]
"""From and to."""


class Piece(msgspec.Struct, frozen=True):
    """A straight line: from one height to another."""

    duration_s: float
    begin: float
    end: float

    @property
    def area(self) -> float:
        """What lies below the line: how many arrive while this is their rate."""
        return self.duration_s * (self.begin + self.end) / 2

    def at(self, t: float) -> float:
        """The height `t` seconds after the beginning."""
        return self.begin + (self.end - self.begin) * t / self.duration_s

    def reaches(self, area: float) -> float:
        """When that much lies below the line: `t` of `begin * t + (end - begin) / (2 * duration) * t**2 = area`.

        The root in the form that loses no digits, and is `area / begin` where the line is level.
        """
        slope = (self.end - self.begin) / self.duration_s
        root = math.sqrt(max(0.0, self.begin * self.begin + 2 * slope * area))
        return min(self.duration_s, 2 * area / (self.begin + root)) if area > 0 else 0.0


class Course(msgspec.Struct, frozen=True):
    """How a rate or a number of users goes over time: straight lines one after the other, with jumps between them."""

    pieces: tuple[Piece, ...]

    @classmethod
    def level(cls, height: float, duration_s: float) -> "Course":
        """The same all the time."""
        return cls((Piece(duration_s, height, height),))

    @classmethod
    def through(cls, start: float, stages: Sequence[tuple[float, float]]) -> "Course":
        """From `start` to each stage's target (duration, target) in a straight line; one of no duration is a jump."""
        pieces: list[Piece] = []
        height = start
        for duration_s, target in stages:
            if duration_s > 0:
                pieces.append(Piece(duration_s, height, target))
            height = target
        return cls(tuple(pieces))

    @property
    def duration_s(self) -> float:
        """How long it lasts."""
        return math.fsum(piece.duration_s for piece in self.pieces)

    @property
    def area(self) -> float:
        """What lies below the whole: of a rate, how many arrive."""
        return math.fsum(piece.area for piece in self.pieces)

    @property
    def highest(self) -> float:
        """The greatest height."""
        return max(max(piece.begin, piece.end) for piece in self.pieces)

    def at(self, t: float) -> float:
        """The height at an instant; 0 after the end."""
        for piece in self.pieces:
            if t < piece.duration_s:
                return piece.at(max(0.0, t))
            t -= piece.duration_s
        return 0.0

    def reach(self, areas: Iterator[float]) -> Iterator[float]:
        """When the area below reaches each of these, which ascend; ends where the course does."""
        began_s, below = 0.0, 0.0
        area = next(areas)
        for piece in self.pieces:
            # An arrival at the very end is none: 200/s for 30 s are 6,000, the first of them at 0.
            while area < below + piece.area - _ROUNDING * max(1.0, below + piece.area):
                yield began_s + piece.reaches(area - below)
                area = next(areas)
            began_s += piece.duration_s
            below += piece.area

    def above(self, height: float) -> list[Span]:
        """While it is higher than that: the times of a user who is there as long as there are more than `height`."""
        spans: list[Span] = []
        began_s = 0.0
        for piece in self.pieces:
            span = _above(piece, height)
            if span is not None:
                begin, end = began_s + span[0], began_s + span[1]
                if spans and begin - spans[-1][1] <= _ROUNDING:
                    begin = spans.pop()[0]
                spans.append((begin, end))
            began_s += piece.duration_s
        return spans


class Open(msgspec.Struct, frozen=True, kw_only=True):
    """Arrivals that wait for nobody: a rate, and how they are spaced in it."""

    course: Course  # arrivals per second
    spacing: Spacing = "uniform"
    seed: int = 1

    @property
    def duration_s(self) -> float:
        """How long there are arrivals."""
        return self.course.duration_s

    def times(self, shard: int = 0, of: int = 1) -> Iterator[float]:
        """When each arrival of a shard is due: arrival k of all belongs to shard k mod `of`.

        So the shards together are the schedule of one machine to the last bit. Each shard draws all of the random
        numbers: it costs 0.2 us an arrival, and nothing has to be agreed upon.
        """
        areas = map(float, _integers()) if self.spacing == "uniform" else _poisson(self.seed)
        for number, due in enumerate(self.course.reach(areas)):
            if number % of == shard:
                yield due


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    """Users, each of whom comes again when he is done: the target's slowness slows the test down as well."""

    course: Course  # how many users there are
    iterations: int | None = None  # of all users together, or of each; None = as many as there is time for
    shared: bool = False  # whether the iterations are of all together

    @property
    def duration_s(self) -> float:
        """How long users come at most."""
        return self.course.duration_s

    @property
    def users(self) -> int:
        """How many there are at most."""
        return math.ceil(self.course.highest - _ROUNDING)

    def users_of(self, shard: int, of: int) -> Sequence[int]:
        """The users of a shard: user v belongs to shard v mod `of`."""
        return range(shard, self.users, of)

    def iterations_of(self, shard: int, of: int) -> int | None:
        """What the users of a shard share, or what each of them makes; None = as many as there is time for."""
        if self.iterations is None or not self.shared:
            return self.iterations
        return len(range(shard, self.iterations, of))


Offer = Open | Closed

_ROUNDING = 1e-9


def _integers() -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += 1


def _poisson(seed: int) -> Iterator[float]:
    """Sums of unit exponentials: a Poisson stream of rate one, which the course stretches to its own.

    `random.random` gives the same numbers for a seed in every version of Python; `expovariate` promises no such thing.
    """
    draw = random.Random(seed).random  # noqa: S311 - repeatable, and no secret
    total = 0.0
    while True:
        total -= math.log(1.0 - draw())
        yield total


def _above(piece: Piece, height: float) -> Span | None:
    """When one piece is above a height."""
    low, high = sorted((piece.begin, piece.end))
    if high <= height + _ROUNDING:
        return None
    if low >= height:
        return 0.0, piece.duration_s
    crossing = (height - piece.begin) / (piece.end - piece.begin) * piece.duration_s
    return (crossing, piece.duration_s) if piece.end > piece.begin else (0.0, crossing)
