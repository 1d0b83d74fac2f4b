"""Demand that a sentence about the recent past holds: `p(95) < 200ms over 5m` (grammar: `perfmon.threshold`)."""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal, get_args

import msgspec

from perfmon import promql as prometheus
from perfmon import stats, threshold
from perfmon.model import Level, Verdict, Window
from perfmon.promql import Expression, Source
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
        expected = "expected a limit such as 200ms, or `change: {window: 5m, against: 1d, by: 10%}` in place of it"
        raise ValueError(f"a threshold has no baseline, {expected}")
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


def looks_back_s(config: Config) -> float:
    """As far back as a point bears on the verdict: of `last`, nothing but the newest does."""
    return max(one.over_s for one in config.thresholds)


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


def promql(config: Config, source: Source, severity: Severity | Literal[""] = "") -> Expression:
    """Where a sentence is false at this level or a worse one, or nothing comes; ValueError when it cannot be said."""
    asked = [(one, bound) for one in config.thresholds if (bound := _bound(one, severity)) is not None]
    broken = [_false(one, bound, source) for one, bound in asked]
    patience_s, op = min((_quiet_s(one, source), ">" if one.over_s == 0 else ">=") for one, _ in asked)
    silent = prometheus.silence(source, patience_s, ">" if op == ">" else ">=")
    wanted = " and ".join(f"{_of(one, source.metric)} {one.op} {_exact(bound, _unit(one, source.type, source.unit))}"
                          for one, bound in asked)  # fmt: skip
    seen = prometheus.words(_unit(asked[0][0], source.type, source.unit))
    return Expression(
        text="\nor\n".join([*broken, silent]),
        says=f"expected {wanted}, seen {seen} (or nothing for {format_duration(patience_s)})",
        limit=prometheus.number(asked[0][1]),
        remarks=tuple(dict.fromkeys(remark for one, _ in asked for remark in _remarks(one, source))),
    )


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


# ---------------------------------------------------------------- as PromQL


def _bound(one: Threshold, severity: str) -> float | None:
    """The limit whose breach makes an alert of this severity; None when the sentence has none."""
    limit = one.limits[-1 if severity == "critical" else 0]
    if severity == "critical" and limit.level == "warning":
        return None
    return limit.quantity.value


def _false(one: Threshold, bound: float, source: Source) -> str:
    """The comparison turned round, for an alert fires where its expression holds."""
    text = f"{_asked(one, source)} {_TURNED[one.op]} {prometheus.number(bound)}"
    if not one.within_s:
        return text
    there = prometheus.gauge(source, "last_over_time", prometheus.reach_s(source, 0.0, 4), offset_s=one.within_s)
    return f"{text}\nand {there}"


_TURNED = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}


def _asked(one: Threshold, source: Source) -> str:
    """What the sentence is about: by counters where there are some, for these miss no run."""
    span_s = prometheus.reach_s(source, one.over_s, 2)
    by_counters = _by_counters(one, source, span_s)
    if by_counters:
        return by_counters
    return _of_flag(one, source, span_s) if source.type == "flag" else _by_gauge(one, source, span_s)


def _by_counters(one: Threshold, source: Source, span_s: float) -> str:
    """Empty where there are none. A counter's first scrape in a range says where it began, so that is one longer."""
    counted_s = prometheus.reach_s(source, one.over_s, 3) + source.scrape_s
    match source.type, one.aggregation:
        case "flag", "rate" | "avg":
            return prometheus.failed_share(source, counted_s)
        case "flag", "sum":
            return f"({prometheus.failed_runs(source, 'rate', counted_s)}) * {prometheus.number(span_s)}"
        case "flag" | "gauge", "count" if source.probed:
            return f"{prometheus.runs(source, 'rate', counted_s)} * {prometheus.number(span_s)}"
        case "gauge", "avg" if source.metric == "duration":
            spent = prometheus.selector("perfmon_probe_latency_seconds_sum", source)
            reach = prometheus.duration(counted_s)
            return f"rate({spent}[{reach}])\n/ {prometheus.runs(source, 'rate', counted_s)}"
        case "counter", "rate":
            return prometheus.gauge(source, "rate", prometheus.reach_s(source, one.over_s, 4))
        case _:
            return ""


def _by_gauge(one: Threshold, source: Source, span_s: float) -> str:
    if one.aggregation == "last":
        return prometheus.gauge(source, "last_over_time", _last_s(source))
    if one.aggregation in ("p", "med"):
        return prometheus.gauge(source, "quantile_over_time", span_s, prometheus.number(_share(one)))
    return prometheus.gauge(source, f"{one.aggregation}_over_time", span_s)


def _of_flag(one: Threshold, source: Source, span_s: float) -> str:
    """`probe_success` says the opposite of `failed`, so its greatest is the other's least."""
    if source.metric != "failed":
        raise ValueError(f"of `{source.metric}` Prometheus has counters alone: use `rate`, `sum` or `count`")
    match one.aggregation:
        case "last":
            return f"1 - {prometheus.gauge(source, 'last_over_time', _last_s(source))}"
        case "stddev":
            return prometheus.gauge(source, "stddev_over_time", span_s)
        case "p" | "med":
            share = prometheus.number(1 - _share(one))
            return f"1 - {prometheus.gauge(source, 'quantile_over_time', span_s, share)}"
        case _:
            opposite = {"min": "max", "max": "min"}[one.aggregation]
            return f"1 - {prometheus.gauge(source, f'{opposite}_over_time', span_s)}"


def _last_s(source: Source) -> float:
    """How old the newest point may be; and a scrape that fails is no point that is missing."""
    return prometheus.reach_s(source, 3 * source.interval_s, 4)


def _share(one: Threshold) -> float:
    return 0.5 if one.percentile is None else one.percentile / 100


def _quiet_s(one: Threshold, source: Source) -> float:
    """As `_patience_s`: how long silence is no cause for alarm."""
    return 3 * source.interval_s if one.aggregation == "last" else max(one.over_s, 2 * source.interval_s)


def _remarks(one: Threshold, source: Source) -> Iterator[str]:
    """Where Prometheus cannot say quite the same."""
    by_gauge = not (source.probed and one.aggregation in ("rate", "count", "sum")) and one.aggregation != "last"
    averaged = one.aggregation == "avg" and source.metric in ("failed", "first_try_failed", "duration")
    if by_gauge and not averaged and source.scrape_s > source.interval_s:
        yield (
            f"Prometheus looks each {format_duration(source.scrape_s)} at what is measured each "
            f"{format_duration(source.interval_s)}: {one.name} is of what it sees"
        )
    if one.over_s and one.over_s < 3 * source.scrape_s:
        yield f"{format_duration(one.over_s)} hold less than three scrapes, so the range is longer"
    if source.metric.startswith("duration:"):
        yield "a run that did not come to the phase is not counted, where perfmon counts it as 0s"


def _of(one: Threshold, metric: str) -> str:
    return f"{one.name} of {metric}{f' over {_duration(one.over_s)}' if one.over_s else ''}"
