"""A test as one page: no script, nothing fetched from anywhere, the verdict first."""

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import msgspec

from perfmon import __version__, telling
from perfmon.chart import Axis, Line, draw
from perfmon.histogram import Histogram
from perfmon.run import Judged, Report, Run, Snapshot, percentile
from perfmon.units import format_duration, printable

__all__ = ["FILE", "render"]

FILE = "report.html"


def render(report: Report) -> str:
    """The page; every text of foreign origin is escaped."""
    run = report.run
    parts = [
        f"<h1>{_text(run.scenario.name)}</h1>",
        f'<p class="verdict {_tone(report)}">{_text(telling.headline(report))}</p>',
        _facts(telling.facts(run)),
        "<h2>Thresholds</h2>",
        _table(("", "threshold", "value", "limit", "95 % interval", "n"), map(_threshold, report.judged), "left2"),
        "<h2>Latency</h2>",
        _figure("Response time over time, from the intended start", _over_time(run), _SECONDS, _LATENCY),
        _figure("How many took how long", _distribution(run), _RARITY, _LATENCY),
        _latencies(run),
        "<h2>Throughput</h2>",
        _figure("Arrivals per second", _throughput(run), _SECONDS, _RATE),
        *_failures(run),
        "<h2>Was the generator the limit?</h2>",
        f'<p class="{_HONEST[run.generator.verdict]}">{_text(telling.honesty(run))}</p>',
        "<h2>Configuration</h2>",
        _configuration(run),
        *(f"<p>{_text(note)}</p>" for note in run.notes),
        f"<footer>perfmon {escape(__version__)}</footer>",
    ]
    title = _text(f"{run.scenario.name}: {telling.headline(report)}")
    return _PAGE.format(title=title, style=_STYLE, body="\n".join(parts))


_HONEST = {"VALID": "good", "SATURATED": "warning", "INVALID": "critical"}


def _tone(report: Report) -> str:
    """Good, warning or critical."""
    run = report.run
    if run.generator.verdict == "INVALID" or not report.passed:
        return "critical"
    mild = any(one.verdict.level == "warning" for one in report.judged)
    return "warning" if mild or run.generator.verdict == "SATURATED" or run.ended != "complete" else "good"


# ---------------------------------------------------------------- tables


def _threshold(one: Judged) -> Sequence[str]:
    verdict = one.verdict
    word = telling.outcome(one)
    tone = {"holds": "good", "warning": "warning", "broken": "critical"}[word]
    low, high = (telling.value(one.demand, bound) for bound in (verdict.low, verdict.high))
    return (
        f'<b class="{tone}">{word}</b>',
        _text(str(one.demand)),
        _text(telling.value(one.demand, verdict.value)),
        _text(telling.value(one.demand, verdict.limit)),
        _text(f"{low} to {high}" if verdict.low is not None and verdict.high is not None else "-"),
        str(verdict.n),
    )


def _latencies(run: Run) -> str:
    names = ("", *(f"p{q * 100:g}" for q in telling.QUANTILES), "max", "")
    rows = ((_text(name), *map(_text, values), _text(what)) for name, what, values in telling.latencies(run))
    return _table(names, rows)


def _failures(run: Run) -> list[str]:
    reasons = telling.reasons(run)
    if not reasons:
        return []
    rows = ((_text(reason), str(count), _text(example)) for reason, count, example in reasons)
    return ["<h2>Failures</h2>", _table(("reason", "how many", "for example"), rows, "left1")]


def _configuration(run: Run) -> str:
    scenario = run.scenario
    settings: dict[str, Any] = msgspec.to_builtins(scenario.settings) or {}
    told = {"executor": scenario.executor} | settings
    told |= {"module": scenario.module.name, "timeout": format_duration(scenario.module.timeout_s)}
    told |= {"max_in_flight": scenario.max_in_flight, "late": scenario.late, "keep_alive": scenario.keep_alive}
    return _facts([(name, _plain(value)) for name, value in told.items() if value not in (None, "", [], ())])


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _facts(pairs: Iterable[tuple[str, str]]) -> str:
    return "<dl>" + "".join(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in pairs) + "</dl>"


def _table(names: Sequence[str], rows: Iterable[Sequence[str]], css: str = "") -> str:
    """Cells are HTML already."""
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table class="{css}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _text(text: str) -> str:
    return escape(printable(text))


# ---------------------------------------------------------------- charts

_SECONDS = Axis(words=lambda t: format_duration(t, brief=True), low=0.0)
_LATENCY = Axis(words=lambda t: format_duration(t, brief=True), log=True)
_RATE = Axis(words=lambda rate: f"{rate:.4g}/s", low=0.0)


def _over_time(run: Run) -> list[Line]:
    return [
        Line(
            name=f"p{q * 100:g}",
            css=css,
            points=[(point.end_s, percentile(point.response, 0, q)) for point in run.timeline],
        )
        for q, css in ((0.5, "a"), (0.95, "b"), (0.99, "c"))
    ]


def _throughput(run: Run) -> list[Line]:
    counts = (
        ("due", "d", [point.due for point in run.timeline]),
        ("done", "a", [point.done for point in run.timeline]),
        ("failed", "c", [point.failed.total() + point.dropped for point in run.timeline]),
    )
    return [
        Line(name=name, css=css, points=list(map(_per_s, run.timeline, each)))
        for name, css, each in counts
        if any(each)
    ]


def _per_s(point: Snapshot, count: int) -> tuple[float, float | None]:
    """A rest that is too short to have a rate has none."""
    seconds = point.end_s - point.begin_s
    return point.end_s, count / seconds if seconds > _SHORTEST_S else None


_SHORTEST_S = 0.5


def _distribution(run: Run) -> list[Line]:
    """Percentiles on the scale that HdrHistogram's plots have: each step to the right is ten times as rare."""
    return [
        Line(name="response", css="c", points=_percentiles(run.total.response, run.missed)),
        Line(name="service", css="a", points=_percentiles(run.total.service, 0)),
    ]


def _percentiles(histogram: Histogram, missed: int) -> list[tuple[float, float | None]]:
    n = histogram.count + missed
    steps = int(8 * math.log10(n)) if n > 1 else 0
    rare = [10 ** (step / 8) for step in range(steps + 1)]
    return [(one_in, percentile(histogram, missed, 1 - 1 / one_in)) for one_in in rare]


def _percent(one_in: float) -> str:
    return "min" if one_in == 1 else f"p{100 * (1 - 1 / one_in):.5g}"


_RARITY = Axis(words=_percent, log=True, ticks=(1.0, 10.0, 100.0, 1e3, 1e4, 1e5), low=1.0)


def _figure(caption: str, lines: Sequence[Line], x: Axis, y: Axis) -> str:
    """A chart with its legend, which a narrow window would else have out of sight; "" when nothing can be drawn."""
    chart = draw(caption, lines, x, y)
    if not chart:
        return ""
    keys = "".join(f'<span class="{line.css}">{escape(line.name)}</span>' for line in lines)
    return f'<figure><figcaption>{escape(caption)} {keys}</figcaption><div class="wide">{chart}</div></figure>'


# ---------------------------------------------------------------- the page

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title><style>{style}</style></head><body><main>
{body}
</main></body></html>
"""

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #5d6675; --line: #dfe3ea; --page: #fff;
  --good: #18794e; --warning: #8a5a00; --critical: #b42334; --a: #2563b0; --b: #a8620b; --c: #b42334; --d: #6b7280; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #9aa4b5; --line: #333b4a; --page: #14181f;
  --good: #4cc38a; --warning: #e0a63a; --critical: #f2727f; --a: #6aa9f4; --b: #e0a63a; --c: #f2727f; --d: #9aa4b5; } }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 900px; margin: 0 auto; padding: 24px 16px 48px; }
h1 { font-size: 22px; margin: 0 0 4px; overflow-wrap: anywhere; } h2 { font-size: 17px; margin: 32px 0 8px; }
.verdict { font-size: 18px; font-weight: 600; border-left: 6px solid; padding: 6px 0 6px 12px; margin: 8px 0 16px; }
.good { color: var(--good); } .warning { color: var(--warning); } .critical { color: var(--critical); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 4px 12px 4px 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 500; }
td:first-child, th:first-child, td:last-child, .left2 td:nth-child(2), .left2 th:nth-child(2) { text-align: left; }
.left2 td:last-child, .left2 th:last-child { text-align: right; } .left1 th:last-child { text-align: left; }
.left1 td:last-child { white-space: normal; }
figcaption span { margin-left: 10px; font-weight: 600; }
span.a { color: var(--a); } span.b { color: var(--b); } span.c { color: var(--c); } span.d { color: var(--d); }
figure { margin: 12px 0; } figcaption { color: var(--soft); margin-bottom: 4px; }
svg { display: block; width: 100%; min-width: 560px; font: 12px system-ui, sans-serif; }
.grid { stroke: var(--line); } .tick { fill: var(--soft); }
path { fill: none; stroke-width: 2; stroke-linejoin: round; } circle { fill: transparent; stroke: none; }
path.a { stroke: var(--a); } path.b { stroke: var(--b); } path.c { stroke: var(--c); }
path.d { stroke: var(--d); stroke-dasharray: 5 4; }
circle:hover { fill: currentColor; } text.a { fill: var(--a); } text.b { fill: var(--b); } text.c { fill: var(--c); }
text.d { fill: var(--d); }
footer { color: var(--soft); margin-top: 40px; }
@media print { body { font-size: 12px; } h2 { break-after: avoid; } figure { break-inside: avoid; } }
"""
