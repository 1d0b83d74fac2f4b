"""A test for programs: everything that is known of it, with the histograms, so that runs can be merged and compared."""

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from perfmon import __version__
from perfmon.histogram import Histogram
from perfmon.run import Judged, Report, Run, percentile
from perfmon.telling import QUANTILES, headline, offered

__all__ = ["FILE", "render"]

FILE = "metrics.json"


def render(report: Report) -> str:
    """Seconds, shares and counts; a percentile that never came is null, and `missed` says how many never did."""
    run = report.run
    told = {
        "perfmon": __version__,
        "headline": headline(report),
        "passed": report.passed,
        "scenario": _scenario(run),
        "began": run.began,
        "took_s": run.took_s,
        "ended": run.ended,
        "counts": _counts(run),
        "failed_by_reason": run.reasons,
        "examples": {reason: failure.message for reason, failure in run.total.examples.items()},
        "latency_s": _latencies(run),
        "thresholds": [_threshold(one) for one in report.judged],
        "generator": msgspec.structs.asdict(run.generator),
        "notes": run.notes,
    }
    return msgspec.json.format(msgspec.json.encode(told)).decode() + "\n"


def _scenario(run: Run) -> Mapping[str, Any]:
    scenario = run.scenario
    return {
        "name": scenario.name,
        "target": scenario.target.address,
        "module": scenario.module.name,
        "executor": scenario.executor,
        "settings": scenario.settings,
        "offered": offered(scenario.offer),
        "max_in_flight": scenario.max_in_flight,
        "late": scenario.late,
        "think_s": scenario.think_s,
        "keep_alive": scenario.keep_alive,
    }


def _counts(run: Run) -> Mapping[str, float]:
    total = run.total
    return {
        "due": total.due,
        "started": total.started,
        "done": total.done,
        "done_per_s": run.done_per_s,
        "failed": run.failures,
        "dropped": total.dropped,
        "unfinished": run.unfinished,
        "cut": run.cut,
        "resent": total.resent,
    }


def _latencies(run: Run) -> Mapping[str, Any]:
    total = run.total
    return {
        "response": _distribution(total.response, run.missed),
        "service": _distribution(total.service, 0),
        "queue": _distribution(total.queue, 0),
        "lag": _distribution(total.lag, 0),
    }


def _distribution(histogram: Histogram, missed: int) -> Mapping[str, Any]:
    known = {
        "n": histogram.count,
        "missed": missed,
        "histogram": histogram.to_dict(),
        **{f"p{q * 100:g}": _finite(percentile(histogram, missed, q)) for q in QUANTILES},
    }
    if not histogram.count:
        return known
    return known | {"min": histogram.min, "mean": histogram.mean, "max": histogram.max}


def _threshold(one: Judged) -> Mapping[str, Any]:
    verdict = one.verdict
    return {
        "threshold": str(one.demand),
        "passed": one.passed,
        "level": verdict.level,
        "value": _finite(verdict.value),
        "limit": verdict.limit,
        "n": verdict.n,
        "low": _finite(verdict.low),
        "high": _finite(verdict.high),
        "why": verdict.why,
    }


def _finite(value: float | None) -> float | None:
    return None if value is None or math.isinf(value) else value
