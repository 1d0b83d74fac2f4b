"""A test in words, for a terminal and for whoever reads a log."""

from perfmon import telling
from perfmon.run import Report
from perfmon.units import printable

__all__ = ["FILE", "render"]

FILE = "report.txt"


def render(report: Report) -> str:
    """Verdict first, then what it rests on."""
    run = report.run
    lines = [telling.headline(report), ""]
    lines += [f"  {name:<9} {text}" for name, text in telling.facts(run)]
    lines += ["", f"  {'':<9} {''.join(f'{name:>10}' for name in _COLUMNS)}"]
    for name, what, values in telling.latencies(run):
        lines.append(f"  {name:<9} {''.join(f'{value:>10}' for value in values)}   {what}")
    if telling.reasons(run):
        lines += ["", "  failed"]
        lines += [f"  {count:>9} {reason}: {example}" for reason, count, example in telling.reasons(run)]
    lines += ["", "  thresholds"]
    lines += [f"  {telling.outcome(one):>9} {one.demand}: {one.verdict.why}" for one in report.judged]
    lines += ["", f"  generator {telling.honesty(run)}"]
    lines += [f"  note      {note}" for note in run.notes]
    return printable("\n".join(lines) + "\n")


_COLUMNS = (*(f"p{q * 100:g}" for q in telling.QUANTILES), "max")
