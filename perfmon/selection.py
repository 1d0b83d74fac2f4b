"""Which series a rule is about, as far as the configuration tells before anything has run."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from typing import Literal

import msgspec
from msgspec.structs import replace

from perfmon import kinds
from perfmon.model import PHASES, Labels
from perfmon.units import Unit, quoted

__all__ = [
    "PROBE_COUNTERS", "PROBE_METRICS", "RUNS", "Metric", "Selectable",
    "countable", "matches", "mistakes", "mistakes_of_select", "of_check", "of_sampler", "selected",
]  # fmt: skip


class Metric(msgspec.Struct, frozen=True):
    """What the points of a series are."""

    type: Literal["gauge", "counter", "flag"]
    unit: Unit


class Selectable(msgspec.Struct, frozen=True):
    """What is known of the series of one check or sampler."""

    labels: Labels
    metrics: Mapping[str, Metric]
    open: Collection[str] = ()  # labels whose values only a run shows
    complete: bool = True  # False when its section is wrong in a way that hides labels or metrics
    tags: tuple[str, ...] = ()
    any_labels: bool = False  # True when its series bring labels whose names only a run shows


PROBE_METRICS: Mapping[str, Metric] = {
    "failed": Metric("flag", ""),
    "first_try_failed": Metric("flag", ""),
    "duration": Metric("gauge", "seconds"),
    **{f"duration:{phase}": Metric("gauge", "seconds") for phase in PHASES},
}
"""What a rule can ask of a check."""

RUNS = "perfmon_probe_runs_total"
PROBE_COUNTERS: Mapping[str, Metric] = {RUNS: Metric("counter", "")}
"""What can be counted of a check beside the series that a rule is about: its runs, by their name on /metrics."""


def of_check(identity: Mapping[str, str | None], labels: Labels | None, tags: tuple[str, ...] = ()) -> Selectable:
    """The series of a check: its probe, target and module, and the user's labels; None for what is not known."""
    known = {name: value for name, value in identity.items() if value is not None}
    return Selectable(known | dict(labels or {}), PROBE_METRICS, identity.keys() - known, labels is not None, tags)


def of_sampler(name: str | None, kind: str, labels: Labels | None) -> Selectable:
    """The series of a sampler; None, and "" for the kind, for what is not known."""
    families = kinds.load("samplers", kind).FAMILIES if kind else ()
    own = {label for family in families for label in family.labels} | ({"sampler"} if name is None else set())
    known = {} if name is None else {"sampler": name}
    return Selectable(
        known | dict(labels or {}),
        _sampler_metrics(kind),
        own,
        complete=bool(kind) and labels is not None,
        any_labels=bool(kind) and getattr(kinds.load("samplers", kind), "ANY_LABELS", False),
    )


def countable(series: Sequence[Selectable]) -> list[Selectable]:
    """The same series with what can be counted of each: of a check its runs, of a sampler what it reads."""
    return [replace(one, metrics=PROBE_COUNTERS) if one.metrics is PROBE_METRICS else one for one in series]


def matches(select: Labels, labels: Labels, tags: Collection[str] = ()) -> bool:
    """Whether labels satisfy a rule's `select`: each one named is there, and its value fits the glob.

    `tag` is satisfied by any of the tags, unless there is a label of that name.
    """
    return all(any(fnmatchcase(value, glob) for value in _values(labels, tags, name)) for name, glob in select.items())


def selected(select: Labels, series: Sequence[Selectable]) -> list[Selectable]:
    """Those that may satisfy `select`."""
    return [one for one in series if all(_may_have(one, name, glob) for name, glob in select.items())]


def mistakes(select: Labels, metric: str, series: Sequence[Selectable]) -> Iterator[tuple[str, str]]:
    """Why a rule can never be about anything: paths of its settings, and messages."""
    chosen = selected(select, series)
    if not chosen:
        yield from _nothing_selected(select, series)
    elif not any(metric in one.metrics or not one.complete for one in chosen):
        yield "metric", _no_such_metric(metric, chosen)


def mistakes_of_select(select: Labels, series: Sequence[Selectable]) -> Iterator[tuple[str, str]]:
    """Why labels can never select any of the series: paths below what holds `select`, and messages."""
    if not selected(select, series):
        yield from _nothing_selected(select, series)


@cache
def _sampler_metrics(kind: str) -> dict[str, Metric]:
    """What a rule can ask of a sampler of that kind."""
    families = kinds.load("samplers", kind).FAMILIES if kind else ()
    return {family.name: Metric(family.type, family.unit) for family in families}


def _values(labels: Labels, tags: Collection[str], name: str) -> Collection[str]:
    """What `select` can find under a name."""
    return (labels[name],) if name in labels else tags if name == "tag" else ()


def _may_have(one: Selectable, name: str, glob: str) -> bool:
    values = _values(one.labels, one.tags, name)
    if name in one.labels or any(fnmatchcase(value, glob) for value in values):
        return any(fnmatchcase(value, glob) for value in values)
    return name in one.open or ((one.any_labels or not one.complete) and name not in _SURE)


_SURE = frozenset({"probe", "target", "module", "sampler"})  # whose absence tells a check from a sampler


def _nothing_selected(select: Labels, series: Sequence[Selectable]) -> Iterator[tuple[str, str]]:
    if not series:
        yield "", "selects nothing: there is no probe and no sampler"
        return
    alone = True
    for name, glob in select.items():
        if not any(_may_have(one, name, glob) for one in series):
            alone = False
            yield f"select.{name}", _no_such_label(name, glob, series)
    if alone:
        yield "select", "selects nothing: no series has all of these labels"


def _no_such_label(name: str, glob: str, series: Sequence[Selectable]) -> str:
    values = {value for one in series for value in _values(one.labels, one.tags, name)}
    if values:
        return f"selects nothing: no series has {quoted(glob)}, {kinds.hint(glob, sorted(values))}"
    if name == "tag":
        return "selects nothing: no probe or target has `tags`"
    names = {label for one in series for label in (*one.labels, *one.open)}
    return "selects nothing: " + kinds.unknown(name, sorted(names), "label")


def _no_such_metric(metric: str, chosen: Sequence[Selectable]) -> str:
    names = {name for one in chosen for name in one.metrics}
    known = sorted(names, key=lambda name: (name.startswith(_OF_OTHER_EXPORTERS), name))
    owner = _owner(metric)
    if owner:
        return f"{quoted(metric)} is a metric of {owner}, and none is selected; {kinds.choice(known)}"
    return kinds.unknown(metric, known, "metric")


_OF_OTHER_EXPORTERS = ("namedprocess_", "container_", "node_")  # compatible names, shown last: few mean those


def _owner(metric: str) -> str:
    """Who would have the metric, "" when nobody."""
    if metric in PROBE_METRICS:
        return "probes"
    kind = next((kind for kind in kinds.names("samplers") if metric in _sampler_metrics(kind)), "")
    return f"samplers of kind {kind}" if kind else ""
