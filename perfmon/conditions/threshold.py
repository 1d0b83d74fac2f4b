"""Demand that a sentence about the recent past holds: `p(95) < 200ms over 5m` (grammar: `perfmon.threshold`)."""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal, get_args

import msgspec

from perfmon import stats, threshold
from perfmon.model import Level, Verdict, Window
from perfmon.threshold import DEFAULT_OVER_S, Severity, Threshold
from perfmon.units import Unit, format_duration, format_quantity, quoted


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One sentence, or one for each level."""

    thresholds: tuple[Threshold, ...]


class Levels(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sentence for each level; one of the two may be missing."""

    warning: str | None = None  # what should hold: `p(95) < 200ms over 5m`
    critical: str | None = None  # what must hold: `p(95) < 500ms over 5m`


Written = str | Levels
"""The form in a file."""


def parse(raw: Any) -> Config:
    """A sentence, or `{warning: "p(95) < 200ms", critical: "p(95) < 500ms"}`; ValueError says what was expected."""
    if isinstance(raw, str):
        thresholds: tuple[Threshold, ...] = (threshold.parse(raw),)
    elif _is_levels(raw):
        thresholds = tuple(_levelled(raw[level], level) for level in get_args(Severity) if level in raw)
    else:
        raise ValueError(
            'expected a threshold such as "p(95) < 200ms over 5m", '
            f"or a mapping with one for warning and one for critical, got {quoted(raw)}"
        )
    if len({one.for_s for one in thresholds}) > 1:
        raise ValueError('expected the same "for" for warning and critical')
    if any(limit.factor for one in thresholds for limit in one.limits):
        raise ValueError("a rule has no baseline, expected a limit such as 200ms")
    return Config(thresholds)


def written(config: Config) -> str | dict[str, str]:
    """What `parse` makes this of."""
    if len(config.thresholds) == 1:
        return str(config.thresholds[0])
    return {one.limits[0].level: str(_unlevelled(one)) for one in config.thresholds}


def problem(config: Config, series_type: Literal["gauge", "counter", "flag"], unit: Unit = "") -> str | None:
    """Why the sentences make no sense for such a series, in words; None when they do."""
    found = (_problem(one, series_type, unit) for one in config.thresholds)
    return next((one for one in found if one), None)


def span_s(config: Config) -> float:
    """As far back as the longest `over` looks."""
    return max(one.over_s or DEFAULT_OVER_S for one in config.thresholds)


def for_s(config: Config) -> float | None:
    """The `for` of the sentence; None when it has none."""
    return config.thresholds[0].for_s


def severities(config: Config) -> tuple[Severity, ...]:
    """The levels that the sentences name, the milder first; none when the rule's own severity holds."""
    named = {limit.level for one in config.thresholds for limit in one.limits}
    return tuple(level for level in get_args(Severity) if level in named)


def evaluate(window: Window, config: Config) -> Verdict:
    """The worst of what the sentences say."""
    return max((_judge(window, one) for one in config.thresholds), key=lambda verdict: _BADNESS[verdict.level])


def _is_levels(raw: Any) -> bool:
    if not isinstance(raw, Mapping) or not raw:
        return False
    return set(raw) <= set(get_args(Severity)) and all(isinstance(text, str) for text in raw.values())


def _levelled(raw: str, level: Severity) -> Threshold:
    """One of the two sentences of a mapping, where the key says the level."""
    one = threshold.parse(raw)
    if one.limits[0].level:
        raise ValueError(f"{level}: expected a threshold without a level of its own, got {quoted(raw)}")
    return msgspec.structs.replace(one, limits=(msgspec.structs.replace(one.limits[0], level=level),))


def _unlevelled(one: Threshold) -> Threshold:
    return msgspec.structs.replace(one, limits=(msgspec.structs.replace(one.limits[0], level=""),))


_BADNESS: dict[Level, int] = {"ok": 0, "waiting": 1, "warning": 2, "no_data": 3, "critical": 4}


def _judge(window: Window, one: Threshold) -> Verdict:
    values = _recent(window, one)
    if len(values) < _needed(window, one):
        return _silent(window, one, len(values))
    value, low, high = _aggregate(window, one, values)
    level, limit = one.evaluate(value)
    assert limit is not None, "a rule has no baseline, so each limit is known"
    why = _sentence(window, one, value, limit, len(values), broken=level != "ok")
    if level != "ok" and _in_grace(window, one):
        level, why = "waiting", f"{why}, which does not count within the first {_duration(one.within_s)}"
    return Verdict(level=level, why=why, value=value, limit=limit, n=len(values), low=low, high=high)


# ---------------------------------------------------------------- the points


def _recent(window: Window, one: Threshold) -> Sequence[float]:
    """The values that the sentence looks at; the window may reach further back for another sentence's sake."""
    if one.aggregation == "last":
        at, value = _newest(window)
        return (value,) if window.now - at <= _patience_s(window, one) else ()
    return window.values[_first(window, one) :]


def _newest(window: Window) -> tuple[float, float]:
    """Time and value of what is known last, be it a recheck; long ago when there is nothing."""
    if window.newer is not None:
        return window.newer
    return (window.times[-1], window.values[-1]) if len(window) else (-math.inf, math.nan)


def _first(window: Window, one: Threshold) -> int:
    return bisect_right(window.times, window.now - one.over_s) if window.span_s > one.over_s else 0


def _needed(window: Window, one: Threshold) -> int:
    """How many points a value takes: a counter's rate is a difference."""
    return 2 if one.aggregation == "rate" and window.type == "counter" else 1


def _patience_s(window: Window, one: Threshold) -> float:
    """How long silence is no cause for alarm."""
    if one.aggregation == "last":
        return 3 * window.interval_s
    return max(one.over_s, 2 * window.interval_s)


def _in_grace(window: Window, one: Threshold) -> bool:
    return window.now - window.since < one.within_s


def _silent(window: Window, one: Threshold, n: int) -> Verdict:
    """Too few points: waiting while they may still come, no data when they should have."""
    if n:
        heard = window.since
        why = f"{n} point of {window.metric} over {_duration(one.over_s)}, expected two at least for a {one.name}"
    elif window.last_at is None:
        heard = window.since
        why = f"no point yet of {window.metric}, expected one every {_duration(window.interval_s)}"
    else:
        heard = max(window.since, window.last_at)
        ago = format_duration(window.now - window.last_at, brief=True)
        why = f"no point of {window.metric} for {ago}, expected one every {_duration(window.interval_s)}"
    waiting = window.now - heard < _patience_s(window, one) or _in_grace(window, one)
    return Verdict(level="waiting" if waiting else "no_data", why=why, n=n)


# ---------------------------------------------------------------- the value


def _aggregate(window: Window, one: Threshold, values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """The value and its 95 % interval, where one can be given without assuming a distribution."""
    match one.aggregation:
        case "p" | "med":
            ordered, q = sorted(values), 0.5 if one.percentile is None else one.percentile / 100
            return stats.quantile(ordered, q), *stats.quantile_interval(ordered, q)
        case "rate" if window.type == "flag":
            ones = sum(values)
            return ones / len(values), *stats.proportion_interval(ones, len(values))
        case "rate":
            times = window.times
            return _increase(values) / (times[-1] - times[_first(window, one)]), None, None
        case _:
            return _SIMPLE[one.aggregation](values), None, None


_SIMPLE: dict[str, Callable[[Sequence[float]], float]] = {
    "avg": stats.mean,
    "min": min,
    "max": max,
    "stddev": stats.stddev,
    "sum": sum,
    "count": len,
    "last": lambda values: values[-1],
}


def _increase(values: Sequence[float]) -> float:
    """How much a counter grew; a fall is a restart from zero, so the new value is growth as well."""
    listed = list(values)
    if listed == sorted(listed):  # no fall: by far the fastest way to know, as sorting a sorted list is one pass
        return listed[-1] - listed[0]
    return sum(new - old if new >= old else new for old, new in pairwise(listed))


# ---------------------------------------------------------------- the words


def _sentence(window: Window, one: Threshold, value: float, limit: float, n: int, *, broken: bool) -> str:
    """`p95 of duration over 5m is 312ms, expected < 200ms (30 points)`."""
    unit = _unit(one, window.type, window.unit)
    per = "/s" if one.aggregation == "rate" and window.type == "counter" and unit != "ratio" else ""
    expected = _exact(limit, unit)
    seen = format_quantity(value, unit, brief=True)
    if broken and seen == expected:  # rounded, it would read "is 200ms, expected < 200ms"
        seen = format_quantity(float(f"{value:.6g}"), unit)
    over = f" over {_duration(one.over_s)}" if one.over_s else ""
    points = "1 point" if n == 1 else f"{n} points"
    return f"{one.name} of {window.metric}{over} is {seen}{per}, expected {one.op} {expected}{per} ({points})"


# Limits and spans are the same at each evaluation, and writing them exactly is the slow part of a verdict.
_exact = lru_cache(maxsize=4096)(format_quantity)
_duration = lru_cache(maxsize=4096)(format_duration)


def _unit(one: Threshold, series_type: str, unit: Unit) -> Unit:
    """What the value is in: a flag's average and a rate of seconds per second are shares."""
    if one.aggregation == "count":
        return ""
    if series_type == "flag" and one.aggregation in ("rate", "avg"):
        return "ratio"
    if series_type == "counter" and one.aggregation == "rate" and unit == "seconds":
        return "ratio"
    return unit or one.unit


def _problem(one: Threshold, series_type: str, unit: Unit) -> str | None:
    if series_type == "gauge" and one.aggregation == "rate":
        return "`rate` needs a flag or a counter, and this is a gauge: use `avg`, `max` or `last`"
    if series_type == "counter" and one.aggregation not in ("rate", "last", "count"):
        return f"`{one.name}` of a counter says nothing, since it only grows: use `rate`"
    if series_type == "flag" and any(limit.quantity.per_s for limit in one.limits):
        return "`rate` of a flag is a share, expected a limit such as 1%"
    if series_type == "flag" and one.unit not in ("", "ratio"):
        return f"the series is of zeros and ones, and the limit in {_words(one.unit)}: is `metric` missing?"
    seen = _unit(one, series_type, unit)
    rate_of_seconds = seen == "ratio" and unit == "seconds" and one.unit == "seconds"
    if seen and one.unit and seen != one.unit and not rate_of_seconds:
        return f"the series is in {_words(seen)}, and the limit in {_words(one.unit)}"
    return None


def _words(unit: Unit) -> str:
    return "shares of one" if unit == "ratio" else unit
