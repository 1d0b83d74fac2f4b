"""The shapes of tests that have a name, as stages (duration in seconds, height) below a peak."""

from collections.abc import Callable, Mapping
from typing import Literal

__all__ = ["SHAPES", "Shape", "Stages", "objection", "shaped"]

Shape = Literal["load", "stress", "spike", "burst", "ramp", "soak"]
Stages = list[tuple[float, float]]


def shaped(shape: Shape, peak: float, duration_s: float) -> Stages:
    """The stages of a shape; before the first the height is 0."""
    return [(share * duration_s, height * peak) for share, height in SHAPES[shape]()]


def objection(
    *, stages: bool, preset: Shape | None, start: float, peak: float, peak_name: str, duration_s: float
) -> tuple[str, str] | None:
    """Why these make neither stages nor a preset with its peak and duration, as (path, message); None when they do."""
    if stages == (preset is not None):
        return "", "expected either stages or a preset"
    if stages:
        unused = peak or duration_s
        return ("stages", f"{peak_name} and duration are a preset's, and have no effect on stages") if unused else None
    if not (peak > 0 and duration_s > 0):
        return "preset", f"needs its peak ({peak_name}) and its duration, both above 0"
    return ("start", "has no effect on a preset, which begins at 0") if start else None


def _load() -> Stages:
    """Up in a tenth of the time, the peak, down in a tenth."""
    return [(0.1, 1.0), (0.8, 1.0), (0.1, 0.0)]


def _stress() -> Stages:
    """Five steps to the peak, each held."""
    return [stage for step in range(1, 6) for stage in ((0.0, step / 5), (0.2, step / 5))]


def _spike() -> Stages:
    """A tenth of the peak, the peak at once and for a fifth of the time, a tenth again."""
    return [(0.0, 0.1), (0.4, 0.1), (0.0, 1.0), (0.2, 1.0), (0.0, 0.1), (0.4, 0.1)]


def _burst() -> Stages:
    """Five bursts at the peak, each followed by as long a silence."""
    return [stage for _ in range(5) for stage in ((0.0, 1.0), (0.1, 1.0), (0.0, 0.0), (0.1, 0.0))]


def _ramp() -> Stages:
    """A straight line up to the peak."""
    return [(1.0, 1.0)]


def _soak() -> Stages:
    """Up in a twentieth of the time, then the peak to the end."""
    return [(0.05, 1.0), (0.95, 1.0)]


# Shares of the duration, and of the peak.
SHAPES: Mapping[Shape, Callable[[], Stages]] = {
    "load": _load,
    "stress": _stress,
    "spike": _spike,
    "burst": _burst,
    "ramp": _ramp,
    "soak": _soak,
}
