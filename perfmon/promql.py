"""A rule's metric as Prometheus has it, and the words of PromQL in which a condition asks for it.

What Prometheus sees of a probe are gauges of its last run, scraped now and then, and counters of all its runs. Shares
and averages are said by the counters: these miss no run, however seldom they are scraped. For the rest there are only
the gauges. Every function answers with text; all are pure.
"""

import math
import re
from typing import Literal

import msgspec

from perfmon.units import Unit

__all__ = [
    "Expression", "Source", "duration", "escaped", "failed_runs", "failed_share", "gauge", "literally", "matcher",
    "number", "reach_s", "runs", "selector", "silence", "without", "words",
]  # fmt: skip


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """The series that a rule is about."""

    rule: str
    metric: str  # as the rule names it: `failed`, `duration:tls`, `perfmon_host_load1`
    type: Literal["gauge", "counter", "flag"]
    unit: Unit
    probed: bool  # of a probe; else of a sampler
    matchers: str  # `job="perfmon",probe="shop"`
    interval_s: float  # how often a point is due; of several series the longest
    scrape_s: float  # how often Prometheus looks


class Expression(msgspec.Struct, frozen=True, kw_only=True):
    """Where a rule is broken, in PromQL."""

    text: str
    says: str  # what was expected and seen, in words, with Prometheus' own templates
    limit: str = ""  # as a number
    remarks: tuple[str, ...] = ()  # where it does not say quite what perfmon's own evaluator would


# ---------------------------------------------------------------- the smallest words


def duration(seconds: float) -> str:
    """`1m30s`, `1s500ms`: no fractions, for Prometheus takes none; a millisecond at least."""
    rest = max(1, round(seconds * 1000))
    parts = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, rest = divmod(rest, size)
        parts += [f"{count}{unit}"] * (count > 0)
    return "".join(parts)


def number(value: float) -> str:
    """The shortest writing that is this number."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    return repr(int(value)) if value == int(value) and abs(value) < 2**53 else repr(value)


def escaped(text: str) -> str:
    """A text inside of double quotes."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def matcher(label: str, glob: str) -> str:
    """A label against a glob of `select`. The label must be there, which an empty one is not to Prometheus."""
    if not any(sign in glob for sign in "*?["):
        return f'{label}="{escaped(glob)}"'
    pattern = ".+" if set(glob) == {"*"} else escaped(_regex(glob))
    return f'{label}=~"{pattern}"'


def literally(text: str) -> str:
    """A pattern that matches just this text."""
    return re.sub(r"[\\.+*?()|\[\]{}^$]", r"\\\g<0>", text)


def _regex(glob: str) -> str:
    """Python's glob in RE2, which Prometheus anchors by itself."""
    pattern, place = "", 0
    while place < len(glob):
        sign, end = glob[place], _end_of_set(glob, place)
        if sign == "[" and end:
            pattern += _set(glob[place + 1 : end])
            place = end
        elif sign == "*" and pattern.endswith(".*"):
            pass
        else:
            pattern += {"*": ".*", "?": "."}.get(sign) or literally(sign)
        place += 1
    return pattern


def _end_of_set(glob: str, place: int) -> int:
    """Where a set of characters ends; 0 for a bracket that begins none."""
    first = place + 2 if glob[place + 1 : place + 2] == "!" else place + 1
    return max(0, glob.find("]", first + 1))


def _set(inside: str) -> str:
    negated, members = (True, inside[1:]) if inside.startswith("!") else (False, inside)
    escaped_members = re.sub(r"[\\\[\]^]", r"\\\g<0>", members)
    return f"[{'^' * negated}{escaped_members}]"


def words(unit: Unit) -> str:
    """How a template shows the value."""
    shown = {"seconds": "humanizeDuration", "ratio": "humanizePercentage", "bytes": "humanize1024"}.get(
        unit, "humanize"
    )
    return f"{{{{ $value | {shown} }}}}{'B' if unit == 'bytes' else ''}"


# ---------------------------------------------------------------- what is asked for


def selector(name: str, source: Source, **more: str) -> str:
    """`probe_success{job="perfmon",probe="shop"}`."""
    own = [f'{label}="{escaped(value)}"' for label, value in more.items()]
    inside = ",".join([*filter(None, [source.matchers]), *own])
    return f"{name}{{{inside}}}" if inside else name


def gauge(source: Source, function: str, span_s: float, parameter: str = "", *, offset_s: float = 0.0) -> str:
    """A function over the last values scraped: `max_over_time(probe_duration_seconds{...}[5m])`."""
    name, phase = _gauge_of(source.metric)
    asked = selector(name, source, **({"phase": phase} if phase else {}))
    ago = f" offset {duration(offset_s)}" if offset_s else ""
    call = f"{function}({parameter and parameter + ', '}{asked}[{duration(span_s)}]{ago})"
    return f"max without (phase) ({call})" if phase else call


def reach_s(source: Source, span_s: float, scrapes: int) -> float:
    """How far a range must reach to hold so many scrapes, and a point of the series."""
    return max(span_s, source.interval_s, scrapes * source.scrape_s)


def runs(source: Source, function: str, span_s: float) -> str:
    """`rate` or `increase` of all runs of a probe."""
    return f"{function}({selector('perfmon_probe_latency_seconds_count', source)}[{duration(span_s)}])"


def failed_runs(source: Source, function: str, span_s: float) -> str:
    """`rate` or `increase` of its failed runs: all but the successes, whose counter is there from the first run on."""
    return f"{runs(source, function, span_s)} - ignoring (result, reason) {_successes(source, function, span_s)}"


def failed_share(source: Source, span_s: float) -> str:
    """The share of runs that failed. Extrapolation, the same for both counters, cancels out."""
    successes, all_runs = _successes(source, "rate", span_s), runs(source, "rate", span_s)
    return f"1 - {successes}\n/ ignoring (result, reason) {all_runs}"


def silence(source: Source, after_s: float, op: Literal[">", ">="]) -> str:
    """Where nothing came for so long, as long as perfmon answers: else it is PerfmonDown's matter."""
    if source.probed:
        last = selector("perfmon_probe_last_run_timestamp_seconds", source)
        return f"time() - {last} {op} {number(after_s)}"
    # A series that a reading has not is gone from the page, and forgotten by perfmon after an hour.
    there = f"last_over_time({selector(source.metric, source)}[{duration(max(_FORGOTTEN_S, 2 * after_s))}])"
    lately = f"last_over_time({selector(source.metric, source)}[{duration(max(after_s, 2 * source.scrape_s))}])"
    return f"{there}\nunless {lately}\nand on (job, instance) perfmon_series"


_FORGOTTEN_S = 3600.0


def _successes(source: Source, function: str, span_s: float) -> str:
    counters = ["perfmon_probe_runs_total"]
    if source.metric == "first_try_failed":  # which only a probe with `confirm` has
        counters.insert(0, "perfmon_probe_first_try_runs_total")
    asked = [f"{function}({selector(one, source, result='success')}[{duration(span_s)}])" for one in counters]
    return asked[0] if len(asked) == 1 else f"({' or '.join(asked)})"


def _gauge_of(metric: str) -> tuple[str, str]:
    """Name and phase of the gauge that has the metric's last value."""
    name, _, phase = metric.partition(":")
    if phase:
        return "perfmon_probe_phase_seconds", phase
    return {"failed": "probe_success", "duration": "probe_duration_seconds"}.get(name, metric), ""


def without(expression: str, *labels: str) -> str:
    """The same series without labels that perfmon's own alerts do not have."""
    return f"max without ({', '.join(labels)}) ({expression})"
