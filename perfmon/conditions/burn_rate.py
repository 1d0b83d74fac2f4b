"""Demand that failures leave an error budget: broken when they use it up too fast (multi-window, multi-burn-rate).

    burn_rate: {objective: 99.9%, period: 30d}

Of 99.9 % over 30 days one run in a thousand may fail; a burn rate of 1 uses that up in just these 30 days. Four pairs
of windows, as Google's SRE Workbook (chapter 5) has them, are judged by counts of runs and failures, never by averages
of shares:

    critical   2 % of the budget in 1h (14.4 times too fast), and still so in 5m
               5 % in 6h (6 times), and still so in 30m
    warning   10 % in 1d (3 times), and still so in 2h
              10 % in 3d (once), and still so in 6h

Probes are few: at one a minute, one failure in five is 200 times too fast. So the long window needs `min_failures`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from perfmon import promql as prometheus
from perfmon import units
from perfmon.metrics import Family
from perfmon.model import Count, Verdict, Window, fact_key
from perfmon.promql import Expression, Source
from perfmon.units import Duration, Ratio, Unit, format_duration, format_quantity, format_ratio, quoted

__all__ = [
    "FAMILIES", "Config", "Pair", "PairSettings", "Settings", "Written",
    "count_spans", "evaluate", "parse", "problem", "promql", "severities", "span_s", "written",
]  # fmt: skip

Severity = Literal["critical", "warning"]
Time = Annotated[Duration, msgspec.Meta(gt=0, le=366 * 86_400.0)]


class PairSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Two windows that must both burn too fast: the long one says that it matters, the short one that it goes on."""

    long: Time  # over which the budget is used up
    short: Time  # over which it still is
    burn: Annotated[float, msgspec.Meta(gt=0)]  # how many times faster than the period allows
    severity: Severity  # of the alert


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The form in a file."""

    objective: Ratio  # the share of runs that must not fail: `99.9%`
    period: Time = 30 * 86_400.0  # over which
    min_failures: Annotated[int, msgspec.Meta(ge=1)] = 3  # in the long window, for it to count
    windows: Annotated[list[PairSettings], msgspec.Meta(min_length=1)] | None = None  # in place of the usual four


Written = Settings


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """A pair of windows in base units."""

    long_s: float
    short_s: float
    burn: float
    severity: Severity


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The settings in base units; the severest pairs first."""

    objective: float
    period_s: float
    min_failures: int
    pairs: tuple[Pair, ...]


FAMILIES = (
    Family("perfmon_slo_objective_ratio", "gauge", "The share of runs that must not fail.", (), "ratio"),
    Family(
        "perfmon_slo_error_budget_remaining_ratio",
        "gauge",
        "What is left of the failures that the period allows; below 0 when there were more.",
        (),
        "ratio",
    ),
    Family("perfmon_slo_burn_rate", "gauge", "How many times too fast failures use up the budget.", ("window",)),
)


def parse(raw: Any) -> Config:
    """The settings as YAML gives them; ValueError with what was expected."""
    given = {name: value for name, value in raw.items() if value is not None} if isinstance(raw, Mapping) else {}
    objective = units.parse_ratio(given.get("objective"))
    if not 0 < objective < 1:
        raise ValueError(f"expected an objective between 0% and 100% such as 99.9%, got {quoted(given['objective'])}")
    period_s = units.parse_duration(given.get("period", "30d"))
    pairs = [_pair(one, period_s) for one in given["windows"]] if "windows" in given else _usual(period_s)
    if not pairs:
        raise ValueError(f"expected a period of {format_duration(_USUAL[0][0])} at least, or `windows`")
    return Config(
        objective=objective,
        period_s=period_s,
        min_failures=given.get("min_failures", 3),
        pairs=tuple(sorted(pairs, key=lambda one: one.severity)),
    )


def written(config: Config) -> dict[str, Any]:
    """What `parse` makes this of."""
    told: dict[str, Any] = {
        "objective": format_ratio(config.objective),
        "period": format_duration(config.period_s),
        "min_failures": config.min_failures,
    }
    if sorted(config.pairs, key=lambda one: one.long_s) == _usual(config.period_s):
        return told
    return told | {"windows": [_written_pair(one) for one in config.pairs]}


def problem(config: Config, series_type: Literal["gauge", "counter", "flag"], unit: Unit = "") -> str | None:  # noqa: ARG001 -- every condition is asked alike
    """Why the settings make no sense for such a series, in words; None when they do."""
    return None if series_type == "flag" else "a budget is of runs that fail, expected `failed` or `first_try_failed`"


def severities(config: Config) -> tuple[Severity, ...]:
    """The levels that the pairs of windows name, the milder first."""
    named = {one.severity for one in config.pairs}
    return tuple(level for level in _LEVELS if level in named)


def span_s(config: Config) -> float:  # noqa: ARG001 -- every condition is asked alike
    """No points: counts are all it takes."""
    return 0.0


def count_spans(config: Config) -> tuple[float, ...]:
    """The spans over which it wants runs and failures counted, in ascending order."""
    return tuple(
        sorted({config.period_s, *(one.long_s for one in config.pairs), *(one.short_s for one in config.pairs)})
    )


def evaluate(window: Window, config: Config) -> Verdict:
    """The severest pair of windows that both burn too fast; waiting while nothing ran in any of them."""
    if not any(window.counts[span].runs for span in count_spans(config)):
        return Verdict(level="waiting", why=f"no run in {format_duration(config.period_s)}")
    too_fast = [one for one in config.pairs if _is_too_fast(one, window, config)]
    pair = (
        too_fast[0]
        if too_fast
        else max(config.pairs, key=lambda one: _burn(window.counts[one.long_s], config) / one.burn)
    )
    count = window.counts[pair.long_s]
    return Verdict(
        level=pair.severity if too_fast else "ok",
        why=_sentence(pair, window, config, broken=bool(too_fast)),
        value=_burn(count, config),
        limit=pair.burn,
        n=count.runs,
        facts=_facts(window, config),
    )


def promql(config: Config, source: Source, severity: Severity = "critical") -> Expression:
    """Where a pair of windows of this level or a worse one burns too fast, by the counters of runs."""
    pairs = [one for one in config.pairs if severity == "warning" or one.severity == "critical"]
    allowed = f"{format_ratio(1 - config.objective, brief=True)} failures in {format_duration(config.period_s)}"
    wanted = " or ".join(f"{_number(one.burn)} in {format_duration(one.long_s)}" for one in pairs)
    return Expression(
        text="\nor\n".join(_too_fast(one, config, source) for one in pairs),
        says=f"the budget of {allowed} burns {{{{ $value | humanize }}}} times too fast, expected below {wanted}",
        limit=_number(pairs[0].burn),
        remarks=("Prometheus knows of no run that was before it first looked, and counts by scrapes",),
    )


_LEVELS: tuple[Severity, ...] = ("warning", "critical")

# ---------------------------------------------------------------- the settings

# The long window, the short one, the share of the budget that the long one may use up, and what exceeding it is.
_USUAL: tuple[tuple[float, float, float, Severity], ...] = (
    (3600.0, 300.0, 0.02, "critical"),
    (6 * 3600.0, 1800.0, 0.05, "critical"),
    (86_400.0, 2 * 3600.0, 0.10, "warning"),
    (3 * 86_400.0, 6 * 3600.0, 0.10, "warning"),
)


def _usual(period_s: float) -> list[Pair]:
    """The four pairs; a window that is longer than the period has nothing to say of it."""
    return [
        Pair(long_s=long_s, short_s=short_s, burn=float(f"{share * period_s / long_s:.9g}"), severity=severity)
        for long_s, short_s, share, severity in _USUAL
        if long_s <= period_s
    ]


def _pair(raw: Mapping[str, Any], period_s: float) -> Pair:
    long_s, short_s = units.parse_duration(raw["long"]), units.parse_duration(raw["short"])
    if not short_s < long_s <= period_s:
        expected = f"expected a short window below the long one, and that within {format_duration(period_s)}"
        raise ValueError(f"{expected}, got {format_duration(short_s)} and {format_duration(long_s)}")
    return Pair(long_s=long_s, short_s=short_s, burn=float(raw["burn"]), severity=raw["severity"])


def _written_pair(one: Pair) -> dict[str, Any]:
    spans = {"long": format_duration(one.long_s), "short": format_duration(one.short_s)}
    return spans | {"burn": one.burn, "severity": one.severity}


# ---------------------------------------------------------------- the verdict


def _is_too_fast(pair: Pair, window: Window, config: Config) -> bool:
    long, short = window.counts[pair.long_s], window.counts[pair.short_s]
    enough = long.failures >= config.min_failures
    return enough and _burn(long, config) > pair.burn and _burn(short, config) > pair.burn


def _burn(count: Count, config: Config) -> float:
    """How many times faster than allowed; 0 where nothing ran."""
    return count.failures / count.runs / (1 - config.objective) if count.runs else 0.0


def _left(window: Window, config: Config) -> float:
    """The share of the period's budget that is left, by the runs that are known of it."""
    return 1 - _burn(window.counts[config.period_s], config)


def _sentence(pair: Pair, window: Window, config: Config, *, broken: bool) -> str:
    """`budget burns 21 times too fast: 12 of 360 runs failed in 1h, 2 of 30 in 5m; left: 34% of 30d`."""
    long, short = window.counts[pair.long_s], window.counts[pair.short_s]
    burn, limit = _number(_burn(long, config)), _number(pair.burn)
    pace = f"burns {burn} times too fast" if broken else f"burns at {burn} times its pace"
    seen = f"{long.failures} of {long.runs} runs failed in {format_duration(pair.long_s)}"
    still = f"{short.failures} of {short.runs} in {format_duration(pair.short_s)}"
    left = f"{format_ratio(_left(window, config), brief=True)} of {format_duration(config.period_s)}"
    return f"budget {pace}: {seen}, {still}, expected below {limit}; left: {left}"


def _number(value: float) -> str:
    return format_quantity(value, "", brief=True)


def _facts(window: Window, config: Config) -> dict[str, float]:
    burns = {
        fact_key("perfmon_slo_burn_rate", window=format_duration(span)): _burn(window.counts[span], config)
        for span in count_spans(config)
    }
    return {
        "perfmon_slo_objective_ratio": config.objective,
        "perfmon_slo_error_budget_remaining_ratio": _left(window, config),
        **burns,
    }


# ---------------------------------------------------------------- as PromQL


def _too_fast(pair: Pair, config: Config, source: Source) -> str:
    """As `_is_too_fast`; the long window's burn comes first, for it is the value that an alert shows."""
    long, short = (_share_over_budget(span_s, config, source) for span_s in (pair.long_s, pair.short_s))
    failed = prometheus.failed_runs(source, "increase", pair.long_s + source.scrape_s)
    burn = prometheus.number(pair.burn)
    # `increase` extrapolates, so three failures may be 3.02 or 2.98.
    least = prometheus.number(config.min_failures - 0.5)
    return f"{long} > {burn}\nand {short} > {burn}\nand {failed} > {least}"


def _share_over_budget(span_s: float, config: Config, source: Source) -> str:
    reach_s = prometheus.reach_s(source, span_s, 3) + source.scrape_s
    budget = prometheus.number(float(f"{1 - config.objective:.9g}"))  # not 0.0010000000000000009
    return f"({prometheus.failed_share(source, reach_s)}) / {budget}"
