"""Demand that a series stays at its level: broken when it is another one now than before.

    change: {window: 1h, against: 1d, by: 20%, direction: up}

The last `window` is held against the `against` before it, and three things must hold of a change. Its size is `by` of
what was before, or more. It is beyond chance: the medians of blocks differ by Welch's test (`perfmon.shift`). And it is
nothing that has been there before: no stretch of the same length in `against` was as far from the usual. So a series
that swings with the day is left alone as soon as `against` holds a day of it.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Annotated, Any, Literal, NoReturn

import msgspec

from perfmon import units
from perfmon.model import Verdict, Window
from perfmon.promql import Source
from perfmon.shift import Shift, compare, medians
from perfmon.units import Duration, Quantity, Unit, format_duration, format_quantity, format_ratio, quoted

__all__ = ["Config", "Settings", "Written", "evaluate", "every_s", "parse", "problem", "promql", "span_s", "written"]

Direction = Literal["up", "down", "any"]
Length = Annotated[Duration, msgspec.Meta(ge=60, le=31 * 86_400.0)]


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The form in a file."""

    window: Length = 3600.0  # what is now
    against: Length = 86_400.0  # what was before it: twice as long at least
    by: str = "20%"  # the smallest change that matters: `20%` of what was before, `50ms`, `100MiB`
    direction: Direction = "up"  # where to


Written = Settings


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The settings in base units."""

    window_s: float
    against_s: float
    by: Quantity
    direction: Direction


def parse(raw: Any) -> Config:
    """The settings as YAML gives them; ValueError with what was expected."""
    given = {name: value for name, value in raw.items() if value is not None} if isinstance(raw, Mapping) else {}
    window_s = units.parse_duration(given.get("window", "1h"))
    against_s = units.parse_duration(given.get("against", "1d"))
    if against_s < 2 * window_s:
        expected = f"expected against of twice the window at least, {format_duration(2 * window_s)}"
        raise ValueError(f"{expected}, got {format_duration(against_s)}")
    return Config(
        window_s=window_s,
        against_s=against_s,
        by=_by(given.get("by", "20%")),
        direction=given.get("direction", "up"),
    )


def written(config: Config) -> dict[str, str]:
    """What `parse` makes this of."""
    return {
        "window": format_duration(config.window_s),
        "against": format_duration(config.against_s),
        "by": str(config.by),
        "direction": config.direction,
    }


def problem(config: Config, series_type: Literal["gauge", "counter", "flag"], unit: Unit = "") -> str | None:
    """Why the settings make no sense for such a series, in words; None when they do."""
    if series_type != "gauge":
        return "a counter only grows and a flag has no level, expected a gauge such as `duration`"
    if config.by.unit not in ("ratio", unit):
        kinds = f"the series is in {unit or 'bare numbers'}, and by is in {config.by.unit or 'bare numbers'}"
        return f"{kinds}; a share such as 20% suits every series"
    return None


def span_s(config: Config) -> float:
    """As far back as both reach."""
    return config.window_s + config.against_s


def every_s(config: Config) -> float:
    """Thirty times a window, once in ten seconds at most and every ten minutes at least."""
    return min(max(config.window_s / 30, 10.0), 600.0)


def promql(config: Config, source: Source, severity: str = "") -> NoReturn:  # noqa: ARG001 -- every condition is asked alike
    """ValueError: blocks of medians and their test are no functions of PromQL."""
    raise ValueError("Prometheus has no test of whether a level changed beyond chance and season")


def evaluate(window: Window, config: Config) -> Verdict:
    """Critical while the level is another one; waiting as long as too little is known of either side."""
    points = [(at, value) for at, value in zip(window.times, window.values, strict=True) if math.isfinite(value)]
    first = bisect_right([at for at, _ in points], window.now - config.window_s)
    if first < len(points):
        points_before, points_after = points[:first], points[first:]
    else:
        points_before, points_after = points, []
    before, after = (medians([value for _, value in some], _BLOCKS) for some in (points_before, points_after))
    if min(len(before), len(after)) < _LEAST or _reach(points_before) < config.against_s / 2:
        return Verdict(level="waiting", why=_too_little(points_before, points_after, config), n=len(points))
    shift = compare(before, after)
    usual = _farthest(points_before, shift, config)
    why = _objection(shift, usual, window, config)
    return Verdict(
        level="ok" if why else "critical",
        why=_sentence(shift, window, config, why),
        value=shift.after,
        limit=_limit(shift, config),
        n=len(points),
        low=shift.before + shift.low,
        high=shift.before + shift.high,
        p=shift.p,
    )


_BLOCKS = 12  # of each side: enough for a test, few enough that what follows each other is not taken for evidence
_LEAST = 6
_CHANCE = 0.0001  # of a verdict each few minutes, for months


def _by(raw: Any) -> Quantity:
    found = units.parse_quantity(raw)
    if found.value <= 0 or found.per_s:
        raise ValueError(f"by: expected a change above 0 such as 20% or 50ms, got {quoted(raw)}")
    return found


def _reach(points: Sequence[tuple[float, float]]) -> float:
    return points[-1][0] - points[0][0] if points else 0.0


# ---------------------------------------------------------------- the three demands


def _objection(shift: Shift, usual: float, window: Window, config: Config) -> str:
    """Why it is no change, in words; "" when it is one."""
    if not _is_large(shift, config):
        return f"expected less than {_amount(config.by, window.unit)} {_WORDS[config.direction]}"
    if shift.p > _CHANCE or (shift.low <= 0 <= shift.high):
        return f"which its noise explains (p {shift.p:.2g})"
    if abs(shift.size) <= abs(usual - shift.before):
        return f"which was there before: {format_quantity(usual, window.unit, brief=True)}"
    return ""


def _is_large(shift: Shift, config: Config) -> bool:
    size = shift.relative if config.by.unit == "ratio" else shift.size
    directed = {"up": size, "down": -size, "any": abs(size)}[config.direction]
    return directed >= config.by.value


def _farthest(points: Sequence[tuple[float, float]], shift: Shift, config: Config) -> float:
    """The median of that stretch before, as long as the window, which lies farthest in the direction of the shift.

    Stretches overlap by half, so that none that matters is cut in two.
    """
    end, levels = points[-1][0], [shift.before]
    times = [at for at, _ in points]
    while end > times[0] + config.window_s / 2:
        inside = points[bisect_right(times, end - config.window_s) : bisect_right(times, end)]
        if inside:
            levels.append(median(value for _, value in inside))
        end -= config.window_s / 2
    return max(levels) if shift.size > 0 else min(levels)


def _limit(shift: Shift, config: Config) -> float:
    """The level at which it would be a change, in the direction in which it went."""
    size = config.by.value * abs(shift.before) if config.by.unit == "ratio" else config.by.value
    return shift.before + math.copysign(size, shift.size)


# ---------------------------------------------------------------- the words

_WORDS = {"up": "more", "down": "less", "any": "of a difference"}


def _sentence(shift: Shift, window: Window, config: Config, objection: str) -> str:
    """`duration is 240ms over 1h, 41% more than 170ms over the 1d before (p < 0.0001), expected less than 20% more`."""
    now, before = (format_quantity(value, window.unit, brief=True) for value in (shift.after, shift.before))
    spans = format_duration(config.window_s), format_duration(config.against_s)
    more = "more" if shift.size >= 0 else "less"
    size = format_ratio(abs(shift.relative), brief=True) if math.isfinite(shift.relative) else "no share"
    text = f"{window.metric} is {now} over {spans[0]}, {size} {more} than {before} over the {spans[1]} before"
    if objection:
        return f"{text}, {objection}"
    chance = "p < 0.0001" if shift.p < _CHANCE else f"p {shift.p:.2g}"
    return f"{text} ({chance}), expected less than {_amount(config.by, window.unit)} {_WORDS[config.direction]}"


def _amount(by: Quantity, unit: Unit) -> str:
    return format_quantity(by.value, by.unit or unit)


def _too_little(before: Sequence[tuple[float, float]], after: Sequence[tuple[float, float]], config: Config) -> str:
    known = format_duration(_reach(before), brief=True)
    return (
        f"{len(after)} points in {format_duration(config.window_s)}, and {len(before)} in {known} before, expected "
        f"{_LEAST} of each and half of {format_duration(config.against_s)}"
    )
