"""A test in metrics while it runs, from the sums that are there anyway: arrivals cost nothing more. Pure."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from urllib.parse import urlsplit, urlunsplit

from prometheus_client.samples import Sample

from perfmon.histogram import Histogram
from perfmon.metrics import PERF_TEST_BUCKETS_S, PERF_TEST_FAMILIES, Family
from perfmon.model import Labels
from perfmon.offer import Open
from perfmon.perftest import gate, generator
from perfmon.run import Judged, Report, Snapshot, Tally, percentiles
from perfmon.scenario import Scenario

__all__ = ["Exported"]

_QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999, 1.0)
_VERDICTS = ("VALID", "SATURATED", "INVALID")

_Values = Mapping[str, Sequence[tuple[Labels, float]]]
"""Own labels and value of each series, by family."""

_FAMILIES = {family.name: family for family in PERF_TEST_FAMILIES}


class Exported:
    """Keeps the last sums that it was told of; what is exported is worked out when somebody asks."""

    def __init__(self, scenario: Scenario, *, test: str, began: float) -> None:
        """`test` names this run among all others, `began` is Unix time."""
        self._scenario = scenario
        self._labels = {"test": test, "scenario": scenario.name, "name": _name(scenario.target.address)}
        self._began = began
        self._total = Snapshot()
        self._report: Report | None = None

    def second(self, tally: Tally) -> None:
        """A second is over."""
        self._total = tally.sum

    def finish(self, report: Report) -> None:
        """The test is over."""
        self._report = report
        self._total = report.run.total

    def families(self) -> Iterator[tuple[Family, list[Sample]]]:
        """Each family with what there is of it now; each is worked out when it is taken."""
        for part in (self._counted, self._course, self._end, self._percentiles, self._verdicts, self._thresholds):
            for name, values in part().items():
                samples = [Sample(name, {**self._labels, **labels}, value) for labels, value in values]
                yield _FAMILIES[name], samples
        for name, histogram in _HISTOGRAMS.items():
            yield _FAMILIES[name], self._histogram(name, getattr(self._total, histogram))

    def _histogram(self, name: str, histogram: Histogram) -> list[Sample]:
        counts = zip((*PERF_TEST_BUCKETS_S, math.inf), _cumulative(histogram), strict=True)
        buckets = [Sample(f"{name}_bucket", {**self._labels, "le": _bound(bound)}, count) for bound, count in counts]
        return [
            *buckets,
            Sample(f"{name}_count", self._labels, histogram.count),
            Sample(f"{name}_sum", self._labels, histogram.total),
        ]

    def _counted(self) -> _Values:
        """Both results stand there from the beginning: the first failure of a series that was not there is no rise."""
        total, failed = self._total, self._total.failed.total()
        return {
            "perf_test_info": [({"executor": self._scenario.executor, "module": self._scenario.module.name}, 1)],
            "perf_test_requests_total": [({"result": "success"}, total.done - failed), ({"result": "failure"}, failed)],
            "perf_test_errors_total": [({"reason": reason}, count) for reason, count in sorted(total.failed.items())],
            **{name: [({}, value(total))] for name, value in _COUNTS.items()},
        }

    def _course(self) -> _Values:
        """When, how long, and how much is offered now."""
        offer, running = self._scenario.offer, self._report is None
        name = "perf_test_target_rate" if isinstance(offer, Open) else "perf_test_target_users"
        return {
            "perf_test_running": [({}, running)],
            "perf_test_start_timestamp_seconds": [({}, self._began)],
            "perf_test_duration_seconds": [({}, offer.duration_s)],
            name: [({}, offer.course.at(self._total.end_s) if running else 0)],
        }

    def _end(self) -> _Values:
        """What is known when the test is over; a counter stands at 0 before."""
        report = self._report
        if report is None:
            return {"perf_test_unfinished_total": [({}, 0)]}
        return {
            "perf_test_unfinished_total": [({}, report.run.unfinished)],
            "perf_test_end_timestamp_seconds": [({}, report.run.began + report.run.took_s)],
            "perf_test_passed": [({}, report.passed)],
        }

    def _percentiles(self) -> _Values:
        missed = self._total.dropped if self._report is None else self._report.run.missed
        known = zip(_QUANTILES, percentiles(self._total.response, missed, _QUANTILES), strict=False)
        return {"perf_test_percentile_seconds": [({"percentile": f"{q * 100:g}"}, value) for q, value in known]}

    def _verdicts(self) -> _Values:
        """None before anything was started, which would look like a generator that cannot start."""
        total = self._total
        if self._report is not None:
            verdict = self._report.run.generator.verdict
        elif not total.started:
            return {}
        else:
            verdict = generator.judge(self._scenario, total, backlog=0, unfinished=0, took_s=total.end_s).verdict
        return {"perf_test_generator_verdict": [({"verdict": one}, one == verdict) for one in _VERDICTS]}

    def _thresholds(self) -> _Values:
        """By the sentence; one that stands there twice is one series."""
        verdicts = {str(one.demand): one for one in self._judged()}
        values = {text: (one.verdict.value, one.verdict.limit) for text, one in verdicts.items()}
        return {
            "perf_test_threshold_ok": [({"threshold": text}, one.passed) for text, one in verdicts.items()],
            "perf_test_threshold_value": [
                ({"threshold": text}, value) for text, (value, _) in values.items() if value is not None
            ],
            "perf_test_threshold_limit": [
                ({"threshold": text}, limit) for text, (_, limit) in values.items() if limit is not None
            ],
        }

    def _judged(self) -> Sequence[Judged]:
        """Of what is done per second nothing is known before the end: a ramp begins slowly."""
        if self._report is not None:
            return self._report.judged
        total = self._total
        demands = [demand for demand in self._scenario.demands if demand.metric != "done" and total.end_s]
        return [gate.judge(demand, total, unfinished=0, took_s=total.end_s) for demand in demands]


_HISTOGRAMS = {
    "perf_test_request_duration_seconds": "response",
    "perf_test_service_duration_seconds": "service",
    "perf_test_dispatch_lag_seconds": "lag",
}
_COUNTS: Mapping[str, Callable[[Snapshot], float]] = {
    "perf_test_due_total": lambda total: total.due,
    "perf_test_dropped_total": lambda total: total.dropped,
    "perf_test_resent_total": lambda total: total.resent,
    "perf_test_in_flight": lambda total: total.in_flight,
    "perf_test_waiting": lambda total: total.waiting,
    "perf_test_generator_cpu_seconds_total": lambda total: total.cpu_s,
    "perf_test_generator_stall_seconds_total": lambda total: total.stall_s,
}


def _cumulative(histogram: Histogram) -> list[int]:
    return [*histogram.counts_up_to(PERF_TEST_BUCKETS_S), histogram.count]


def _bound(bound: float) -> str:
    return "+Inf" if math.isinf(bound) else repr(bound)


def _name(address: str) -> str:
    """What is asked for, without what may be secret or different each time: the user, the query, the fragment."""
    if "://" not in address:
        return address
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
