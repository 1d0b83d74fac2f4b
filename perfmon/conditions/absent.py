"""Demand that a series goes on: broken when its newest point is older than `after`."""

from collections.abc import Mapping
from typing import Any

import msgspec

from perfmon import promql as prometheus
from perfmon import units
from perfmon.model import Verdict, Window
from perfmon.promql import Expression, Source
from perfmon.units import Duration, format_duration, quoted


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`absent: {after: 5m}`, or `absent: 5m`."""

    after: Duration  # longest time without a point

    def __post_init__(self) -> None:
        if not self.after > 0:
            raise ValueError(f'expected a duration above 0, got "{format_duration(self.after)}"')


Written = Duration | Config
"""The form in a file."""


def parse(raw: Any) -> Config:
    """The settings as YAML gives them; ValueError with what was expected."""
    if not isinstance(raw, Mapping):
        return Config(units.parse_duration(raw))
    if set(raw) != {"after"}:
        raise ValueError(f"expected a duration such as 5m, or {{after: 5m}}, got {quoted(raw)}")
    return Config(units.parse_duration(raw["after"]))


def written(config: Config) -> str:
    """What `parse` makes this of."""
    return format_duration(config.after)


def span_s(config: Config) -> float:  # noqa: ARG001 -- every condition is asked alike
    """No history: the age of the newest point, however old, is all it takes."""
    return 0.0


def evaluate(window: Window, config: Config) -> Verdict:
    """Critical when nothing came for longer than `after`; waiting while nothing came since the beginning."""
    newest = window.since if window.last_at is None else max(window.since, window.last_at)
    heard = newest == window.last_at
    age = window.now - newest
    return Verdict(
        level="critical" if age > config.after else "ok" if heard else "waiting",
        why=f"{_seen(window)}, expected one at least every {format_duration(config.after)}",
        value=age,
        limit=config.after,
        n=int(heard),
    )


def promql(config: Config, source: Source, severity: str = "") -> Expression:  # noqa: ARG001 -- it has one level
    """Where nothing came for longer than `after`."""
    after = format_duration(config.after)
    return Expression(
        text=prometheus.silence(source, config.after, ">"),
        says=f"no point of {source.metric} for {after}, expected one at least as often",
        remarks=("what never came at all is not known to Prometheus, and perfmon says it of what it expects",),
    )


def _seen(window: Window) -> str:
    if window.last_at is None:
        return f"no point of {window.metric} in the {_brief(window.now - window.since)} since it is expected"
    return f"newest point of {window.metric} is {_brief(window.now - window.last_at)} old"


def _brief(seconds: float) -> str:
    return format_duration(seconds, brief=True)
