"""A number of users, each of whom comes again when he is done: a closed model, which waits for a slow target."""

from typing import Annotated

import msgspec

from perfmon.offer import Closed, Course
from perfmon.units import Duration

__all__ = ["Config", "offer"]


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many users, for how long."""

    users: Annotated[int, msgspec.Meta(ge=1, le=100_000)]  # Users at the same time.
    duration: Annotated[Duration, msgspec.Meta(ge=0.1, le=31 * 86_400.0)]  # How long they come.


def offer(config: Config) -> Closed:
    """A level course."""
    return Closed(course=Course.level(config.users, config.duration))
