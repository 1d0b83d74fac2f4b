"""Read named series from a target's own page of metrics, so that rules, leaks and pages can look at them.

They keep their labels and their type, and get the families of this file: one for each type and unit, with the series'
own name as label `series`. Under their own names they would be there twice for a Prometheus that scrapes both the
target and perfmon, and every sum over them wrong.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Annotated

import msgspec
from msgspec import Meta

from perfmon import scrape
from perfmon.clock import Clock
from perfmon.metrics import family_named
from perfmon.model import Sample
from perfmon.prometheus_text import Series, read
from perfmon.scrape import Source

__all__ = ["ANY_LABELS", "FAMILIES", "Config", "Reader", "Selection", "check", "open"]


class Selection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which series."""

    name: Annotated[str, Meta(min_length=1)]  # a glob: http_requests_total, go_*
    labels: dict[str, str] = {}  # globs that its labels must match; a label that is missing is ""


class Config(Source, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The page, and what to read from it."""

    series: Annotated[tuple[str | Selection, ...], Meta(min_length=1)]  # names (globs), or mappings with labels too
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 100  # series at most


# Two stems: in OpenMetrics a counter is declared without its `_total`, and would be a gauge of the same name.
_GAUGE, _COUNTER = "perfmon_prometheus_value", "perfmon_prometheus_counted"
_UNITS = ("", "_bytes", "_seconds", "_ratio")

FAMILIES = (
    *(family_named(f"{_GAUGE}{unit}", "A gauge of the target's own page of metrics.", "series") for unit in _UNITS),
    *(
        family_named(f"{_COUNTER}{unit}_total", "A counter of the target's own page of metrics.", "series")
        for unit in _UNITS
    ),
    family_named("perfmon_prometheus_page_series", "Series on the page, those included that nobody asked for."),
    family_named("perfmon_prometheus_unread_lines_total", "Lines of the page that could not be read."),
)

ANY_LABELS = True


def check(config: Config) -> Iterator[tuple[str, str]]:
    """Mistakes that types cannot express."""
    yield from scrape.check(config)
    for index, one in enumerate(config.series):
        name, below = (one, "") if isinstance(one, str) else (one.name, ".name")
        if not re.fullmatch(r"[a-zA-Z0-9_:*?\[\]!-]+", name):
            yield f"series[{index}]{below}", f'expected the name of a series or a glob such as go_*, got "{name}"'


def open(config: Config, clock: Clock) -> "Reader":  # noqa: A001 - the contract of all samplers
    """A reader that has asked for nothing yet."""
    return Reader(config, clock)


class Reader:
    """Fetches the page anew at each reading."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self.missing = ""
        self._config = config
        self._clock = clock
        self._selections = [one if isinstance(one, Selection) else Selection(one) for one in config.series]
        self._unread_lines = 0
        self._known: dict[str, float] = {}  # series shown, and when last

    def sample(self) -> list[Sample]:
        """The series that are there; LookupError when there is no page of metrics."""
        found = read(scrape.fetch(self._config), self._is_named)
        if not found.lines or found.unread_lines == found.lines:
            raise LookupError(f"{scrape.origin(self._config)}: the answer is no page of metrics")
        self._unread_lines += found.unread_lines
        chosen = [one for one in found.series if any(_suits(one, selection) for selection in self._selections)]
        samples = list(self._bounded(map(_sample, chosen)))
        self.missing = "; ".join(
            [
                *self._not_found(chosen),
                *_left_out(len(chosen) - len(samples), self._config.limit),
                *_unread(found.unread_lines, found.unread),
            ]
        )
        return [
            *samples,
            Sample(name="perfmon_prometheus_page_series", value=found.lines),
            Sample(name="perfmon_prometheus_unread_lines_total", value=self._unread_lines),
        ]

    def _is_named(self, name: str) -> bool:
        return any(fnmatchcase(name, selection.name) for selection in self._selections)

    def _bounded(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        """As many as the limit allows, those that were shown before first: what the page's order is changes nothing.

        A target whose labels change at each reading is stopped as well: of those it left behind each keeps its place
        for an hour, as it does in the daemon.
        """
        now, limit = self._clock.monotonic(), self._config.limit
        self._known = {key: at for key, at in self._known.items() if now - at < _REMEMBERED_S}
        keyed = [(f"{sample.name}{sorted(sample.labels.items())}", sample) for sample in samples]
        keyed.sort(key=lambda pair: pair[0] not in self._known)
        for key, sample in keyed[:limit]:
            if key in self._known or len(self._known) < _LIVES * limit:
                self._known[key] = now
                yield sample

    def _not_found(self, chosen: Iterable[Series]) -> Iterator[str]:
        found = Counter[int]()
        for one in chosen:
            found.update(index for index, selection in enumerate(self._selections) if _suits(one, selection))
        for index, selection in enumerate(self._selections):
            if not found[index]:
                with_labels = " with these labels" if selection.labels else ""
                yield f'no series is called "{selection.name}"{with_labels}'


_REMEMBERED_S = 3600.0
_LIVES = 4
_TAKEN = frozenset({"series", "sampler", "alertname", "severity", "rule", "metric"})  # labels of perfmon's own


def _suits(one: Series, selection: Selection) -> bool:
    if not fnmatchcase(one.name, selection.name):
        return False
    labels = dict(one.labels)
    return all(fnmatchcase(labels.get(name, ""), glob) for name, glob in selection.labels.items())


def _sample(one: Series) -> Sample:
    labels = {(f"exported_{name}" if name in _TAKEN else name): value for name, value in one.labels}
    return Sample(name=_family(one), value=one.value, labels={"series": one.name} | labels)


def _family(one: Series) -> str:
    stem = one.name.removesuffix("_total").removesuffix("_sum")
    unit = next(unit for unit in (*_UNITS[1:], "") if stem.endswith(unit))
    return f"{_COUNTER}{unit}_total" if one.type == "counter" else f"{_GAUGE}{unit}"


def _left_out(count: int, limit: int) -> Iterator[str]:
    if count:
        yield f"{count} series are left out: more than {limit} match, or their labels change all the time"


def _unread(count: int, first: str) -> Iterator[str]:
    if count:
        yield f"{count} line{'' if count == 1 else 's'} cannot be read, the first: {first}"
