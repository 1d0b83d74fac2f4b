"""Arrivals at a rate that changes: stages, or a shape that has a name (load, stress, spike, burst, ramp, soak)."""

from collections.abc import Iterable
from typing import Annotated

import msgspec

from perfmon.offer import Course, Open, Spacing
from perfmon.shapes import Shape, objection, shaped
from perfmon.units import Duration

__all__ = ["Config", "Stage", "check", "offer"]

Rate = Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]
Time = Annotated[Duration, msgspec.Meta(ge=0, le=31 * 86_400.0)]


class Stage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A straight line to a rate."""

    duration: Time  # How long it takes; 0 is a jump.
    target: Rate  # Arrivals per second at its end.


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Either stages, or a preset with its peak and its duration."""

    start: Rate = 0.0  # Arrivals per second at the beginning.
    stages: tuple[Stage, ...] = ()  # One after the other.
    preset: Shape | None = None  # A shape in place of stages.
    rate: Rate = 0.0  # Its peak, in arrivals per second.
    duration: Time = 0.0  # How long it takes.
    arrivals: Spacing = "uniform"  # Spaced evenly, or by chance as independent people come.
    seed: int = 1  # Of `poisson`: same seed, same instants.


def check(config: Config) -> Iterable[tuple[str, str]]:
    """Either form, whole; and somebody must arrive."""
    found = objection(
        stages=bool(config.stages),
        preset=config.preset,
        start=config.start,
        peak=config.rate,
        peak_name="rate",
        duration_s=config.duration,
    )
    if found is not None:
        yield found
    elif config.stages and offer(config).course.area < 1:
        yield "stages", "nobody arrives in them"


def offer(config: Config) -> Open:
    """The course through the stages."""
    stages = [(stage.duration, stage.target) for stage in config.stages]
    if config.preset is not None:
        stages = shaped(config.preset, config.rate, config.duration)
    return Open(course=Course.through(config.start, stages), spacing=config.arrivals, seed=config.seed)
