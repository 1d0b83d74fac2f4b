"""A test for a pull request: the verdict, what was demanded, and the figures in tables."""

import re

from perfmon import telling
from perfmon.run import Report
from perfmon.units import printable

__all__ = ["FILE", "render"]

FILE = "report.md"


def render(report: Report) -> str:
    """GitHub's Markdown."""
    run = report.run
    lines = [f"### {_plain(run.scenario.name)}: {_plain(telling.headline(report))}", ""]
    lines += [f"| threshold | | {'what was seen'} |", "|---|---|---|"]
    for one in report.judged:
        lines.append(
            f"| {_plain(str(one.demand))} | {'ok' if one.passed else '**broken**'} | {_plain(one.verdict.why)} |"
        )
    lines += ["", f"| | {' | '.join(_COLUMNS)} |", f"|---|{'---:|' * len(_COLUMNS)}"]
    lines += [f"| {name} | {' | '.join(values)} |" for name, _, values in telling.latencies(run)]
    if telling.reasons(run):
        lines += ["", "| failed | | for example |", "|---|---:|---|"]
        lines += [f"| {_plain(why)} | {count} | {_plain(example)} |" for why, count, example in telling.reasons(run)]
    lines.append("")
    lines += [f"- {name}: {_plain(text)}" for name, text in telling.facts(run)]
    lines.append(f"- generator: {_plain(telling.honesty(run))}")
    lines += [f"- {_plain(note)}" for note in run.notes]
    return "\n".join(lines) + "\n"


_COLUMNS = (*(f"p{q * 100:g}" for q in telling.QUANTILES), "max")
_MARKS = re.compile(r"([\\`*_\[\]<>|#@!~])")


def _plain(text: str) -> str:
    """A text of any origin as text and nothing else: no table, link, tag or mention can come of it."""
    return _MARKS.sub(r"\\\1", printable(text).replace("\n", " "))
