"""Arrivals at one rate, however long each takes: what a service meets that many people use."""

from typing import Annotated

import msgspec

from perfmon.offer import Course, Open, Spacing
from perfmon.units import Duration

__all__ = ["Config", "offer"]


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many arrive, for how long."""

    rate: Annotated[float, msgspec.Meta(ge=0.001, le=1_000_000)]  # Arrivals per second.
    duration: Annotated[Duration, msgspec.Meta(ge=0.1, le=31 * 86_400.0)]  # How long.
    arrivals: Spacing = "uniform"  # Spaced evenly, or by chance as independent people come.
    seed: int = 1  # Of `poisson`: same seed, same instants.


def offer(config: Config) -> Open:
    """A level course."""
    return Open(course=Course.level(config.rate, config.duration), spacing=config.arrivals, seed=config.seed)
