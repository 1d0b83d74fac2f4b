"""A number of runs that users share, as fast as they can: so much work, however long it takes."""

from typing import Annotated

import msgspec

from perfmon.offer import Closed, Course
from perfmon.units import Duration

__all__ = ["Config", "offer"]


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much, by how many, and within which time."""

    users: Annotated[int, msgspec.Meta(ge=1, le=100_000)]  # Users at the same time.
    iterations: Annotated[int, msgspec.Meta(ge=1)]  # Runs of all users together.
    max_duration: Annotated[Duration, msgspec.Meta(ge=0.1, le=31 * 86_400.0)] = 600.0  # When to stop anyway.


def offer(config: Config) -> Closed:
    """A level course with an end by count."""
    course = Course.level(config.users, config.max_duration)
    return Closed(course=course, iterations=config.iterations, shared=True)
