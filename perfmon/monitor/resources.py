"""One process group or control group with all that is known of it, as JSON-ready values for its page."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import msgspec
from msgspec.structs import replace

import perfmon
from perfmon import kinds
from perfmon.clock import Clock
from perfmon.leak import lines_of
from perfmon.model import Verdict, Window
from perfmon.monitor.rule import Judged, Rules
from perfmon.monitor.series import MINUTES, SamplerSeries, SampleSeries, Series
from perfmon.monitor.status import Show, shown_alert

__all__ = ["Wanted", "group"]

Json = dict[str, Any]

MOST_POINTS = 450  # of a verdict's window; a screen shows no more
LEFT = "perfmon_leak_seconds_to_limit"
_SAME_LIFE_S = 10.0


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which group: a sampler's name, the label `group`, and the label `cgroup` where one name holds several."""

    sampler: str
    group: str
    cgroup: str = ""


def group(wanted: Wanted, series: Series, rules: Rules, clock: Clock) -> Json:
    """The group with its hour, its verdicts and its alerts; `group` is None when no series is one of it."""
    past = series.samplers.get(f"sampler/{wanted.sampler}")
    of_name = (
        [] if past is None else [one for one in past.series.values() if one.what.labels.get("group") == wanted.group]
    )
    cgroups = _cgroups(of_name)
    if not wanted.cgroup and len(cgroups) == 1:
        wanted = replace(wanted, cgroup=cgroups[0])
    members = [one for one in of_name if one.what.labels.get("cgroup", wanted.cgroup) == wanted.cgroup]
    if wanted.cgroup and wanted.cgroup not in cgroups:
        members = []
    keys = {one.key for one in members}
    return {
        "now": clock.wall(),
        "version": perfmon.__version__,
        "group": _group(wanted, past, members, _Leaks(series, rules, clock)) if past and members else None,
        "cgroups": [] if wanted.cgroup else cgroups,
        "alerts": [shown_alert(alert, clock) for alert in rules.alerts() if alert.series in keys],
    }


def _cgroups(of_name: Iterable[SampleSeries]) -> list[str]:
    """The control groups that one name holds, or held within the hour."""
    return sorted({one.what.labels["cgroup"] for one in of_name if "cgroup" in one.what.labels})


def _group(wanted: Wanted, past: SamplerSeries, members: Sequence[SampleSeries], leaks: "_Leaks") -> Json:
    current = [one for one in members if past.last is not None and one.last_at == past.last.at]
    up = [one.value for one in members if one.what.name.endswith("_up")]
    found = not (past.last and past.last.error) if not up else up[0] == 1.0
    if wanted.cgroup and not any("cgroup" in one.what.labels for one in current):
        found = False  # its name may hold others that are there
    return leaks.show.reading(past) | {
        "group": wanted.group,
        "cgroup": wanted.cgroup,
        "state": "unknown" if past.last is None else "up" if found else "down",
        "series": [leaks.show.sample(one) for one in current],
        "restarts": _restarts(past.sampler.kind, members),
        "leaks": [found for one in members for found in leaks.of(one)],
    }


def _restarts(kind: str, members: Iterable[SampleSeries]) -> list[float]:
    """When what is watched began anew within the hour, in Unix time; of kinds that know (`LIFE`)."""
    family = getattr(kinds.load("samplers", kind), "LIFE", None)
    births = [[value for _, value in one.history()] for one in members if one.what.name == family]
    return [now for lives in births for before, now in pairwise(lives) if abs(now - before) > _SAME_LIFE_S]


class _Leaks:
    """What the rules that look back for long say of series, with the points and the line."""

    def __init__(self, series: Series, rules: Rules, clock: Clock) -> None:
        self.show = Show(series, clock, MINUTES)
        self._series = series
        self._rules = rules
        self._now = clock.monotonic()

    def of(self, one: SampleSeries) -> list[Json]:
        """Of one series: a rule each."""
        return [self._leak(one, judged) for judged in self._rules.judged(one.key)]

    def _leak(self, one: SampleSeries, judged: Judged) -> Json:
        window = self._series.long_window(one.key, judged.metric, judged.span_s, self._now)
        verdict = judged.verdict or Verdict(level="waiting", why="not judged yet")
        step = math.ceil(len(window) / MOST_POINTS) or 1
        return {
            "rule": judged.rule,
            "metric": judged.metric,
            "labels": dict(one.what.labels),
            "type": one.type,
            "unit": one.unit,
            "window_s": judged.span_s,
            "every_s": judged.every_s,
            "level": verdict.level,
            "verdict": verdict.word,
            "why": verdict.why,
            "remarks": dict(verdict.remarks),
            "slope": verdict.value,
            "low": verdict.low,
            "high": verdict.high,
            "p": verdict.p,
            "n": verdict.n,
            "seconds_to_limit": verdict.facts.get(LEFT),
            "points": [
                [self.show.wall(at), value]
                for at, value in list(zip(window.times, window.values, strict=True))[::-step][::-1]
            ],
            "restarts": [self.show.wall(at) for at in window.restarts],
            "cuts": [self.show.wall(at) for at in window.cuts],
            "lines": self._lines(window, verdict),
        }

    def _lines(self, window: Window, verdict: Verdict) -> list[list[list[float | None]]]:
        """Of each life three points of the line, with the band: begin, middle and end."""
        if verdict.value is None or verdict.low is None or verdict.high is None:
            return []
        slope, edges = verdict.value, (verdict.low, verdict.high)
        return [
            [
                [self.show.wall(at), line.at(at, slope), *sorted(line.at(at, edge) for edge in edges)]
                for at in (line.begin, line.middle, line.end)
            ]
            for line in lines_of(window.times, window.values, slope=slope, restarts=[*window.restarts, *window.cuts])
        ]
