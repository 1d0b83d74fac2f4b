"""Users whose number changes, in stages or a shape that has a name; each comes again when he is done."""

from collections.abc import Iterable
from typing import Annotated

import msgspec

from perfmon.offer import Closed, Course
from perfmon.shapes import Shape, objection, shaped
from perfmon.units import Duration

__all__ = ["Config", "Stage", "check", "offer"]

Users = Annotated[int, msgspec.Meta(ge=0, le=100_000)]
Time = Annotated[Duration, msgspec.Meta(ge=0, le=31 * 86_400.0)]


class Stage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A straight line to a number of users."""

    duration: Time  # How long it takes; 0 is a jump.
    target: Users  # Users at its end.


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Either stages, or a preset with its peak and its duration."""

    start: Users = 0  # Users at the beginning.
    stages: tuple[Stage, ...] = ()  # One after the other.
    preset: Shape | None = None  # A shape in place of stages.
    users: Users = 0  # Its peak.
    duration: Time = 0.0  # How long it takes.


def check(config: Config) -> Iterable[tuple[str, str]]:
    """Either form, whole; and somebody must come."""
    found = objection(
        stages=bool(config.stages),
        preset=config.preset,
        start=config.start,
        peak=config.users,
        peak_name="users",
        duration_s=config.duration,
    )
    if found is not None:
        yield found
    elif config.stages and offer(config).course.area <= 0:
        yield "stages", "nobody comes in them"


def offer(config: Config) -> Closed:
    """The course through the stages: user v is there while it is higher than v."""
    stages = [(stage.duration, float(stage.target)) for stage in config.stages]
    if config.preset is not None:
        stages = shaped(config.preset, config.users, config.duration)
    return Closed(course=Course.through(config.start, stages))
