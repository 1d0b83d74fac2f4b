"""Performance tests: the one that runs, whether its figures are the target's, and several runs side by side.

What `perfmon load --metrics-port` exports. A run is a `test`, its scenario has the same name each time, so to compare
runs is to choose a scenario and a time in which it ran more than once.
"""

from perfmon.provision.dashboards.asked import GOOD_AT_ZERO, PERFMON, RELOADS, alerts, opens, quantile
from perfmon.provision.grafana import (
    Board,
    Column,
    Frame,
    Panel,
    Query,
    Row,
    Variable,
    heat,
    lines,
    number,
    states,
    targets_table,
)

__all__ = ["board"]

TESTS = f'{PERFMON}, scenario=~"$scenario", test=~"$test"'

_SHARE = ((None, "green"), (0.001, "orange"), (0.01, "red"))
_VERDICTS = {"0": ("VALID", "green"), "1": ("SATURATED", "orange"), "2": ("INVALID", "red")}
_HOLDS = {"1": ("holds", "green"), "0": ("broken", "red")}
_RUNNING = {"1": ("running", "blue"), "0": ("over", "text")}
_NONE = "no test in this time"


def board() -> Board:
    """What load does to a target."""
    return Board(
        uid="perfmon-load",
        title="perfmon / Performance tests",
        description="Load tests while they run, and runs side by side, from perfmon load --metrics-port.",
        variables=(
            Variable("job", "Job", "perf_test_info"),
            Variable("instance", "Generator", 'perf_test_info{job=~"$job"}'),
            Variable("scenario", "Scenario", f"perf_test_info{{{PERFMON}}}"),
            Variable("test", "Run", f'perf_test_info{{{PERFMON}, scenario=~"$scenario"}}'),
        ),
        annotations=(alerts(f'alertname=~"PerfTest.+", {TESTS}', "{{scenario}} {{test}}"), RELOADS),
        rows=(
            Row(1, "Now", _now()),
            Row(2, "What was offered, and what came of it", _load()),
            Row(3, "Whether the figures are the target's", _generator()),
            Row(4, "Runs side by side", _runs()),
        ),
        since="now-1h",
    )


def _rate(counter: str, more: str = "") -> str:
    return f"rate({counter}{{{more}{TESTS}}}[$__rate_interval])"


def _failed(window: str) -> str:
    """The share of arrivals that were not served, those included that were dropped."""
    failed = f'sum(increase(perf_test_requests_total{{result="failure", {TESTS}}}[{window}]))'
    dropped = f"sum(increase(perf_test_dropped_total{{{TESTS}}}[{window}]))"
    done = f"sum(increase(perf_test_requests_total{{{TESTS}}}[{window}]))"
    return f"({failed} + {dropped}) / ({done} + {dropped})"


def _verdict(by: str) -> str:
    saturated, invalid = (
        f'max by ({by}) (perf_test_generator_verdict{{verdict="{one}", {TESTS}}})' for one in ("SATURATED", "INVALID")
    )
    return f"{saturated} + 2 * {invalid}"


def _percentile(percent: str) -> str:
    """The last that was known in the chosen time, of each run."""
    last = f'last_over_time(perf_test_percentile_seconds{{percentile="{percent}", {TESTS}}}[$__range])'
    return f"max by (scenario, test) ({last})"


def _now() -> tuple[Panel, ...]:
    return (
        number(
            Frame(11, "Tests", "Whether one of the chosen tests runs.", "short", 4, 4, empty=_NONE),
            Query(f"max(perf_test_running{{{TESTS}}})"),
            words=_RUNNING,
        ),
        number(
            Frame(12, "Done", "Arrivals that are over, per second.", "reqps", 4, 4, empty=_NONE),
            Query(f"sum({_rate('perf_test_requests_total')})"),
            history=True,
        ),
        number(
            Frame(
                13,
                "Failed",
                "Share of the arrivals of the last few scrapes that failed or were dropped.",
                "percentunit",
                4,
                4,
                _SHARE,
                decimals=2,
                empty=_NONE,
            ),
            Query(_failed("$__rate_interval")),
            history=True,
        ),
        number(
            Frame(14, "p95", "Of the last few scrapes, from the intended start.", "s", 4, 4, empty=_NONE),
            Query(quantile(0.95, "perf_test_request_duration_seconds", TESTS)),
            history=True,
        ),
        number(
            Frame(
                15,
                "Thresholds broken",
                "Of all so far; those of what is done per second are judged at the end.",
                "short",
                4,
                4,
                GOOD_AT_ZERO,
                decimals=0,
                empty=_NONE,
            ),
            Query(f"sum(1 - perf_test_threshold_ok{{{TESTS}}})"),
        ),
        number(
            Frame(
                16,
                "Generator",
                "VALID: the figures are the target's. SATURATED: it did not keep up. INVALID: the generator was the"
                " limit.",
                "short",
                4,
                4,
                empty=_NONE,
            ),
            Query(f"max({_verdict('test')})"),
            words=_VERDICTS,
        ),
    )


def _load() -> tuple[Panel, ...]:
    duration = "perf_test_request_duration_seconds"
    served, failures = (_rate("perf_test_requests_total", f'result="{one}", ') for one in ("success", "failure"))
    return (
        lines(
            Frame(
                21,
                "Rate",
                "What the scenario wants, what was due, and what was done: where done falls behind due, the target does"
                " not keep up.",
                "reqps",
                12,
                9,
                colors={"wanted": "text", "due": "blue", "served": "green", "failed": "red", "dropped": "dark-red"},
            ),
            Query(f"sum(perf_test_target_rate{{{TESTS}}})", "wanted"),
            Query(f"sum({_rate('perf_test_due_total')})", "due"),
            Query(f"sum({served})", "served"),
            Query(f"sum({failures})", "failed"),
            Query(f"sum({_rate('perf_test_dropped_total')})", "dropped"),
        ),
        lines(
            Frame(
                22,
                "Latency",
                "From the intended start, over the last few scrapes: what a user would have seen.",
                "s",
                12,
                9,
                colors={"p50": "green", "p95": "orange", "p99": "red", "p99.9": "dark-red"},
            ),
            *(Query(quantile(q, duration, TESTS), f"p{q * 100:g}") for q in (0.5, 0.95, 0.99, 0.999)),
        ),
        heat(
            Frame(23, "How long arrivals took", "How many fell into each bucket, at each moment.", "s", 12, 9),
            Query(f"sum by (le) (increase({duration}_bucket{{{TESTS}}}[$__rate_interval]))", "{{le}}"),
        ),
        lines(
            Frame(24, "Failures", "Arrivals that failed, by reason, per second.", "reqps", 12, 9),
            Query(f"sum by (reason) ({_rate('perf_test_errors_total')})", "{{reason}}"),
            stacked=True,
            bars=True,
        ),
        lines(
            Frame(
                25,
                "Under way",
                "Arrivals under way and those that wait for room at the end of each second: what grows is not served.",
                "short",
                12,
                8,
                colors={"under way": "blue", "waiting": "orange"},
            ),
            Query(f"sum(perf_test_in_flight{{{TESTS}}})", "under way"),
            Query(f"sum(perf_test_waiting{{{TESTS}}})", "waiting"),
        ),
        states(
            Frame(26, "Thresholds", "Whether each holds of all so far.", "short", 12, 8),
            Query(f"min by (scenario, threshold) (perf_test_threshold_ok{{{TESTS}}})", "{{scenario}} {{threshold}}"),
            _HOLDS,
        ),
    )


def _generator() -> tuple[Panel, ...]:
    return (
        states(
            Frame(31, "Verdict", "Of the generator on itself, on all so far.", "short", 8, 8),
            Query(_verdict("test"), "{{test}}"),
            _VERDICTS,
        ),
        lines(
            Frame(
                32,
                "Lag",
                "From when an arrival was due to when the generator looked at it: part of the latency, and none of the"
                " target's. Over 10 ms, and over a tenth of the latency's p99, a run is INVALID.",
                "s",
                8,
                8,
                ((None, "green"), (0.01, "red")),
            ),
            Query(quantile(0.5, "perf_test_dispatch_lag_seconds", TESTS), "p50"),
            Query(quantile(0.99, "perf_test_dispatch_lag_seconds", TESTS), "p99"),
        ),
        lines(
            Frame(
                33,
                "Core and loop",
                "Share of one core that the generator takes, and of the time in which its loop stood still (over 2 % a"
                " run is INVALID).",
                "percentunit",
                8,
                8,
            ),
            Query(f"max by (test) ({_rate('perf_test_generator_cpu_seconds_total')})", "core {{test}}"),
            Query(f"max by (test) ({_rate('perf_test_generator_stall_seconds_total')})", "stood still {{test}}"),
        ),
    )


def _runs() -> tuple[Panel, ...]:
    done = f"sum by (scenario, test) (increase(perf_test_requests_total{{{TESTS}}}[$__range]))"
    failed = f'sum by (scenario, test) (increase(perf_test_requests_total{{result="failure", {TESTS}}}[$__range]))'
    holds = f"min by (scenario, test) (last_over_time(perf_test_threshold_ok{{{TESTS}}}[$__range]))"
    return (
        targets_table(
            Frame(
                41,
                "Runs",
                "One row a run, with the last that Prometheus heard of it in the chosen time; percentiles are exact, of"
                " the whole run, and without end where arrivals never had an answer.",
                "short",
                24,
                7,
            ),
            {"scenario": "Scenario", "test": "Run"},
            (
                Column("Thresholds", holds, "short", words=_HOLDS),
                Column("Done", done, "locale", decimals=0),
                Column("Failed", f"{failed} / {done}", "percentunit", _SHARE, decimals=2),
                Column("p50", _percentile("50"), "s"),
                Column("p95", _percentile("95"), "s"),
                Column("p99", _percentile("99"), "s"),
                Column("p99.9", _percentile("99.9"), "s"),
                Column("Longest", _percentile("100"), "s"),
            ),
            {
                "scenario": ("Only this scenario", opens("perfmon-load", scenario="__value.raw")),
                "test": ("Only this run", opens("perfmon-load", test="__value.raw")),
            },
        ),
        lines(
            Frame(42, "p95 by run", "Over the last few scrapes, from the intended start.", "s", 12, 9),
            Query(quantile(0.95, "perf_test_request_duration_seconds", TESTS, "test"), "{{test}}"),
        ),
        lines(
            Frame(43, "Done by run", "Arrivals that are over, per second.", "reqps", 12, 9),
            Query(f"sum by (test) ({_rate('perf_test_requests_total')})", "{{test}}"),
        ),
    )
