"""The text that Prometheus reads: format 0.0.4 and OpenMetrics 1.0.0.

Pure. Sources:
https://prometheus.io/docs/instrumenting/exposition_formats/
https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from prometheus_client.samples import Sample

from perfmon.metrics import LATENCY_BUCKETS_S, Family
from perfmon.model import fact_key
from perfmon.monitor.exemplar import Exemplar, written

__all__ = [
    "HIDDEN",
    "LATENCY",
    "OPENMETRICS",
    "TEXT",
    "TIMING_LINES",
    "Format",
    "Row",
    "Timing",
    "family_name",
    "number",
    "write",
    "write_samples",
]

HIDDEN = ""
"""The key of a value that is not exported."""

LATENCY = "perfmon_probe_latency_seconds"

Row = tuple[str, Sequence[str], Sequence[float]]
"""Gauges and counters of one check or sampler: its labels (`a="b",c="d"} `), series keys, their values."""

Timing = tuple[str, Sequence[int], float, str, Mapping[int, Exemplar]]
"""A latency histogram: the check's labels, runs per bucket (not cumulative, +Inf last), seconds in sum, and for the
buckets that have one a run that stands for it, with the check's id."""

TIMING_LINES = len(LATENCY_BUCKETS_S) + 3
"""Of one latency histogram: its buckets, that for +Inf, `_count` and `_sum`."""

_LINES_AT_ONCE = 500  # some 0.3 ms of work
_ROWS_AT_ONCE = 50


class Format(NamedTuple):
    """One of the two formats. They differ in what stands around the samples; the samples are the same."""

    content_type: str
    header: Callable[[Family], str]
    end: str
    exemplars: bool  # whether it has a place for them


def write(
    rows: Iterable[Row], timings: Sequence[Timing], families: Mapping[str, Family], form: Format
) -> Iterator[str]:
    """All series, grouped by family, families by name; inside a family in the order of the rows.

    Comes in pieces of some 0.3 ms of work each, so that the caller can let others run in between;
    a piece can be empty. One timing is never split.
    """
    columns = _Columns()
    for turned, row in enumerate(rows):
        columns.add(row)
        if turned % _ROWS_AT_ONCE == 0:
            yield ""
    for name in sorted(columns.keys | ({LATENCY: []} if timings else {})):
        yield form.header(families[name])
        for key in columns.keys.get(name, ()):
            yield from _lines(key, *columns.column[key])
        if name == LATENCY:
            yield from _timing_lines(timings)


def write_samples(family: Family, samples: Iterable[Sample], form: Format) -> str:
    """One family of prometheus-client's; nothing for one that has no series yet."""
    lines = [f"{fact_key(sample.name, **sample.labels)} {number(sample.value)}\n" for sample in samples]
    return form.header(family) + "".join(lines) if lines else ""


def number(value: float) -> str:
    """A sample value: shortest digits that give back the same float, `NaN`, `+Inf`, `-Inf`."""
    if math.isfinite(value):
        return repr(float(value))
    if math.isnan(value):
        return "NaN"
    return "+Inf" if value > 0 else "-Inf"


def family_name(key: str) -> str:
    """The family of a series key."""
    return key.partition("{")[0]


# ---------------------------------------------------------------- lines


class _Columns:
    """Rows turned by a quarter: for each series key the labels of all who have it, and their values."""

    def __init__(self) -> None:
        self.column: dict[str, tuple[list[str], list[float]]] = {}
        self.keys: dict[str, list[str]] = {}  # family -> its series keys

    def add(self, row: Row) -> None:
        labels, keys, values = row
        known = self.column
        for key, value in zip(keys, values, strict=True):
            column = known.get(key)
            if column is None:
                column = self._begin(key)
            column[0].append(labels)
            column[1].append(value)

    def _begin(self, key: str) -> tuple[list[str], list[float]]:
        if key != HIDDEN:
            self.keys.setdefault(family_name(key), []).append(key)
        column = self.column[key] = ([], [])
        return column


def _lines(key: str, labels: list[str], values: list[float]) -> Iterator[str]:
    prefix = _prefix(key)
    for start in range(0, len(values), _LINES_AT_ONCE):
        some = values[start : start + _LINES_AT_ONCE]
        pairs = zip(labels[start : start + _LINES_AT_ONCE], some, strict=True)
        # `!r` is what `number` gives for a finite value, without a call a line; the sum is a cheap way
        # to see that all are finite (one that overflows only takes the slower way).
        if math.isfinite(sum(some)):
            yield "".join([f"{prefix}{label}{value!r}\n" for label, value in pairs])
        else:
            yield "".join([f"{prefix}{label}{number(value)}\n" for label, value in pairs])


def _timing_lines(timings: Sequence[Timing]) -> Iterator[str]:
    at_once = _LINES_AT_ONCE // TIMING_LINES
    for start in range(0, len(timings), at_once):
        yield "".join([_timing(*timing) for timing in timings[start : start + at_once]])


def _timing(labels: str, buckets: Sequence[int], seconds: float, check: str, exemplars: Mapping[int, Exemplar]) -> str:
    counts = list(accumulate(buckets))
    lines = [f"{prefix}{labels}{count}\n" for prefix, count in zip(_BUCKETS, counts, strict=True)]
    for bucket, exemplar in exemplars.items():
        lines[bucket] = f"{lines[bucket][:-1]}{written(check, exemplar)}\n"
    return f"{''.join(lines)}{_COUNT}{labels}{counts[-1]}\n{_SUM}{labels}{number(seconds)}\n"


def _prefix(key: str) -> str:
    """What stands before the labels of a check or sampler: `name{` or `name{phase="tls",`."""
    return f"{key[:-1]}," if key.endswith("}") else f"{key}{{"


# `le="1.0"` in both formats: OpenMetrics demands it, and a series must not change its name with the format.
_BUCKETS = tuple(_prefix(fact_key(f"{LATENCY}_bucket", le=number(bound))) for bound in (*LATENCY_BUCKETS_S, math.inf))
_COUNT = _prefix(f"{LATENCY}_count")
_SUM = _prefix(f"{LATENCY}_sum")


# ---------------------------------------------------------------- headers


def _text_header(family: Family) -> str:
    text = family.help.replace("\\", r"\\").replace("\n", r"\n")
    return f"# HELP {family.name} {text}\n# TYPE {family.name} {family.type}\n"


def _openmetrics_header(family: Family) -> str:
    """OpenMetrics names a counter's family without `_total`, and a unit only where the name ends in it."""
    name = family.name.removesuffix("_total") if family.type == "counter" else family.name
    text = family.help.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    unit = f"# UNIT {name} {family.unit}\n" if family.unit and name.endswith(f"_{family.unit}") else ""
    return f"# HELP {name} {text}\n# TYPE {name} {family.type}\n{unit}"


TEXT = Format("text/plain; version=0.0.4; charset=utf-8", _text_header, "", exemplars=False)
OPENMETRICS = Format(
    "application/openmetrics-text; version=1.0.0; charset=utf-8", _openmetrics_header, "# EOF\n", exemplars=True
)
