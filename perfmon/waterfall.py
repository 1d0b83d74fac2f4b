"""Shows measurements at a terminal of 80 columns: one as a waterfall of its phases, many as lines and a summary."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from rich.bar import Bar
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from perfmon.clock import iso
from perfmon.explanation import Explanation, sections
from perfmon.model import Failure, Measurement
from perfmon.network.address import masked
from perfmon.stats import mean, quantile
from perfmon.units import format_bytes, format_duration, printable

__all__ = ["explain", "line", "sum_up", "tell_all"]

_BAR_COLUMNS = 50
_INDENT = (0, 0, 0, 2)  # two blanks before, none behind: what is piped on is not filled up to the width
_DAY_S = 86_400
_INFO = "probe_ssl_last_chain_info{"
_VERSION = 'probe_tls_version_info{version="'


def explain(console: Console, measurement: Measurement, wall: float) -> None:
    """The verdict, the phases one below the other, and what was seen; `wall` is the Unix time now."""
    _tell_verdict(console, measurement)
    if measurement.failure is not None:
        _say(console, Text("  "), Text(printable(measurement.failure.message), style="red"))
    console.print()
    if measurement.phases:
        console.print(Padding(_waterfall(measurement), _INDENT, expand=False))
        console.print()
    steps = list(_steps(measurement.facts))
    if steps:
        console.print(Padding(_steps_table(steps), _INDENT, expand=False))
        console.print()
    for name, value in _seen(measurement, wall):
        _say(console, Text(f"  {name:<10} ", style="dim"), Text(printable(value)))


def tell_all(console: Console, measurement: Measurement, explained: Explanation) -> None:
    """The verdict, and each section of the explanation under its title."""
    _tell_verdict(console, measurement)
    for title, lines in sections(explained):
        console.print()
        console.print(Text(title, style="bold"))
        for text in lines:
            _say(console, Text("  "), Text(text, style=_STYLES.get(text[:4], "")))


def _say(console: Console, before: Text, text: Text) -> None:
    """Print a text behind another one, folded below itself, and not filled up to the width: it may be piped on."""
    for piece in text.wrap(console, max(_NARROWEST, console.width - len(before)), overflow="fold"):
        piece.rstrip()
        console.print(before.copy().append_text(piece) if piece.plain else "")
        before = Text(" " * len(before))


_NARROWEST = 20
_STYLES = {"FAIL": "red"}


def line(number: int, count: int, measurement: Measurement) -> Text:
    """One run: `  3/10  ok   12.4ms   connect 0.2ms  processing 11.9ms`."""
    failure = measurement.failure
    text = Text(f"{number:>{len(str(count))}}/{count}  ", no_wrap=True, overflow="ellipsis")
    text.append("ok  " if failure is None else "FAIL", style="green" if failure is None else "bold red")
    text.append(f"  {_duration(measurement.duration_s):>8}  ")
    if failure is not None:
        return text.append(printable(failure.message))
    took = [item for item in measurement.phases.items() if item[1] > 0]
    longest = sorted(took, key=lambda item: -item[1])[:3]
    return text.append("  ".join(f"{phase} {_duration(seconds)}" for phase, seconds in longest), style="dim")


def sum_up(console: Console, measurements: Sequence[Measurement]) -> None:
    """How many succeeded, why the others did not, and how long the good ones took."""
    failures = Counter(_cause(measurement.failure) for measurement in measurements if measurement.failure is not None)
    times = sorted(measurement.duration_s for measurement in measurements if measurement.success)
    console.print()
    console.print(f"{len(measurements)} runs, {len(times)} ok, {failures.total()} failed", style="bold")
    for cause, number in failures.most_common():
        console.print(Text(f"  {number:>5}  {cause}", style="red"))
    if times:
        figures = {"min": times[0], "mean": mean(times)} | {f"p{q}": quantile(times, q / 100) for q in (50, 95)}
        shown = (f"{name} {_duration(seconds)}" for name, seconds in (figures | {"max": times[-1]}).items())
        console.print(f"  {'   '.join(shown)}   (n = {len(times)})")


# ---------------------------------------------------------------- one run


def _tell_verdict(console: Console, measurement: Measurement) -> None:
    """In one line where that fits, else the cause below: never folded in the middle of it."""
    failure = measurement.failure
    text = Text()
    text.append("ok" if failure is None else "FAILED", style="bold green" if failure is None else "bold red")
    text.append(f"  {printable(masked(measurement.target.address))}", style="bold")
    text.append(f"  {_duration(measurement.duration_s)}")
    cause = Text("" if failure is None else f"  {_cause(failure)}", style="red")
    if len(text) + len(cause) <= console.width:
        console.print(text.append_text(cause))
    else:
        _say(console, Text(), text)
        console.print(cause)


def _cause(failure: Failure) -> str:
    return f"{failure.reason} in {failure.phase}" if failure.phase else failure.reason


def _waterfall(measurement: Measurement) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(width=10)
    table.add_column(width=_BAR_COLUMNS)
    table.add_column(justify="right", width=9)
    total = measurement.duration_s
    begin = 0.0
    failed = measurement.failure.phase if measurement.failure else ""
    for phase, seconds in measurement.phases.items():
        style = "red" if phase == failed else "cyan"
        # A phase of no length still gets an eighth of a column, so that it is seen.
        end = max(begin + seconds, begin + total / _BAR_COLUMNS / 8)
        bar = Bar(size=total or 1.0, begin=begin, end=end, width=_BAR_COLUMNS, color=style)
        table.add_row(Text(phase, style="red" if phase == failed else ""), bar, _duration(seconds))
        begin += seconds
    table.add_row(Text("total", style="dim"), "", Text(_duration(total), style="bold"))
    return table


# ---------------------------------------------------------------- the steps of a flow


class _Step(Struct, frozen=True, kw_only=True):
    """What became of one."""

    name: str
    seconds: float
    status: float  # 0 = no answer
    passed: bool


def _steps(facts: Mapping[str, float]) -> Iterable[_Step]:
    """Those that were taken, in their order, the clean-up's too."""
    for key, seconds in facts.items():
        if key.startswith(_STEP_SECONDS):
            step = key.removeprefix(_STEP_SECONDS)
            yield _Step(
                name=_labels(key)["step"],
                seconds=seconds,
                status=facts[f"probe_flow_step_status_code{step}"],
                passed=facts[f"probe_flow_step_success{step}"] == 1.0,
            )


_STEP_SECONDS = "probe_flow_step_duration_seconds"


def _steps_table(steps: Sequence[_Step]) -> Table:
    """One below the other, as the phases, with the status of each."""
    table = Table.grid(padding=(0, 1))
    table.add_column(width=_STEP_COLUMNS, overflow="ellipsis", no_wrap=True)
    table.add_column(width=_STEP_BAR_COLUMNS)
    table.add_column(justify="right", width=9)
    table.add_column(justify="right", width=9)
    total = sum(step.seconds for step in steps)
    begin = 0.0
    for step in steps:
        style = "cyan" if step.passed else "red"
        end = max(begin + step.seconds, begin + total / _STEP_BAR_COLUMNS / 8)
        bar = Bar(size=total or 1.0, begin=begin, end=end, width=_STEP_BAR_COLUMNS, color=style)
        status = f"{step.status:.0f}" if step.status else "no answer"
        told = Text(printable(step.name), style="" if step.passed else "red")
        table.add_row(told, bar, Text(status, style="dim" if step.passed else "red"), _duration(step.seconds))
        begin += step.seconds
    return table


_STEP_COLUMNS, _STEP_BAR_COLUMNS = 20, 34


# ---------------------------------------------------------------- what was seen


def _seen(measurement: Measurement, wall: float) -> Iterable[tuple[str, str]]:
    facts = measurement.facts
    if measurement.address:
        yield "address", measurement.address
    if facts.get("probe_http_status_code"):
        yield "status", f"{facts['probe_http_status_code']:.0f} (HTTP/{facts['probe_http_version']:g})"
        yield "body", format_bytes(facts["probe_http_uncompressed_body_length"], brief=True)
    if facts.get("probe_http_redirects"):
        yield "redirects", f"{facts['probe_http_redirects']:.0f}"
    yield from _certificate(measurement, wall)
    yield from _numbers(facts)
    if measurement.failure is not None and measurement.failure.evidence.get("body"):
        yield "answer", measurement.failure.evidence["body"].strip()


def _numbers(facts: Mapping[str, float]) -> Iterable[tuple[str, str]]:
    """What the target itself said: columns, values in JSON, what a program printed; packets that came back."""
    if "probe_icmp_packets_sent" in facts:
        yield (
            "packets",
            f"{facts['probe_icmp_packets_received']:.0f} of {facts['probe_icmp_packets_sent']:.0f} came back",
        )
    if facts.get("probe_dns_answer_rrs"):
        yield "records", f"{facts['probe_dns_answer_rrs']:.0f} in the answer"
    if "probe_query_rows" in facts:
        yield "rows", f"{facts['probe_query_rows']:.0f}"
    told = [(key, value) for key, value in facts.items() if key.partition("{")[0] in _TOLD]
    for key, value in told[:_MOST_NUMBERS]:
        yield "value", f"{' '.join(_labels(key).values())} {value:.15g}"
    if len(told) > _MOST_NUMBERS:
        yield "", f"and {len(told) - _MOST_NUMBERS} more: --explain shows all"


_TOLD = ("probe_query_value", "probe_http_json_value", "perfmon_exec_value")
_MOST_NUMBERS = 10


def _certificate(measurement: Measurement, wall: float) -> Iterable[tuple[str, str]]:
    facts = measurement.facts
    version = next((key for key in facts if key.startswith(_VERSION)), None)
    if version is not None:
        yield "protocol", version.removeprefix(_VERSION).removesuffix('"}')
    info = next((key for key in facts if key.startswith(_INFO)), None)
    if info is None:
        return
    labels = _labels(info)
    expiry = facts["probe_ssl_earliest_cert_expiry"]
    yield "subject", labels["subject"] or "none"
    yield "issuer", labels["issuer"] or "none"
    yield "names", labels["subjectalternative"].replace(",", ", ") or "none"
    yield "expires", f"{_days(expiry - wall)} ({iso(expiry)[:16].replace('T', ' ')} UTC)"


def _days(seconds: float) -> str:
    days = abs(seconds) / _DAY_S
    text = f"{days:.0f} days" if days >= 2 else format_duration(abs(seconds), brief=True)
    return f"in {text}" if seconds >= 0 else f"{text} ago"


def _labels(key: str) -> dict[str, str]:
    r"""The labels of a fact, `name{a="1",b="x\"y"}`, unescaped."""
    pairs = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', key.partition("{")[2])
    return {name: re.sub(r"\\(.)", lambda found: _PLAIN.get(found[1], found[1]), value) for name, value in pairs}


_PLAIN = {"n": "\n"}


def _duration(seconds: float) -> str:
    return format_duration(seconds, brief=True)
