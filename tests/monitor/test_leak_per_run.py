"""What each of perfmon's own runs leaves in the service that it probes: an hour replayed, without a daemon."""

import re

import pytest

from perfmon import config
from perfmon.clock import ManualClock
from perfmon.measure import Reading
from perfmon.model import Measurement, Sample
from perfmon.monitor.rule import Rules
from perfmon.monitor.series import Series
from perfmon.monitor.store import Store
from perfmon.selection import PROBE_METRICS

PRIVATE = "perfmon_process_private_memory_bytes"
EACH_BYTES = 4.1 * 1024
TICK_S = 5.0
DOCUMENT = f"""
probes:
  - {{name: checkout, interval: 5s, timeout: 2s, targets: ["http://127.0.0.1:1/"]}}
  - {{name: search, interval: 5s, timeout: 2s, targets: ["http://127.0.0.1:2/"]}}
samplers: [{{name: api, interval: 5s, process: {{groups: [{{name: api, self: true}}]}}}}]
rules:
  - name: Leak
    metric: {PRIVATE}
    leak: {{window: 30m, requests: {{metric: perfmon_probe_runs_total, select: {{probe: checkout}}}}}}
state: {{path: ""}}
"""


class Hour:
    """Two probes and the memory of the service, five seconds a tick; `runs` is what either has run so far."""

    def __init__(self, folder):
        file = folder / "perfmon.yml"
        file.write_text(DOCUMENT)
        self.config, self.clock, self.runs, self.facts = config.load([file]), ManualClock(), 0, {}
        self.series = Series(self.clock)
        self.rules = Rules(
            self.config.rules,
            window=self.series.window,
            long_window=self.series.long_window,
            show=lambda key, labels, facts: self.facts.update(facts),
            store=Store("", clock=self.clock),
            tell=lambda alerts: None,
            clock=self.clock,
            on_defect=lambda where, error: pytest.fail(f"{where}: {error!r}"),
        )
        for check in self.config.checks:
            self.series.add_check(check)
            self.rules.add(check.key, check.labels, PROBE_METRICS, interval_s=TICK_S, now=self.clock.monotonic())
        self.series.add_sampler(self.config.samplers[0])

    def tick(self, *, pauses):
        """`checkout` runs unless it pauses, `search` always; what `checkout` leaves is kept."""
        self.clock.advance(TICK_S)
        now = self.clock.monotonic()
        self.runs += not pauses
        for check in self.config.checks:
            if not (pauses and check.target.probe == "checkout"):
                ran = Measurement(
                    target=check.target, module=check.module.name, at=now, duration_s=0.1, phases={}, facts={}, failure=None
                )  # fmt: skip
                self.series.add(check.key, ran)
        [sampler] = self.config.samplers
        memory = Sample(name=PRIVATE, value=5e7 + EACH_BYTES * self.runs, labels={"group": "api"})
        seen = self.series.add_reading(sampler, Reading(sampler=sampler, at=now, duration_s=0.001, samples=[memory]))
        for one in seen:
            self.rules.add(one.key, one.labels, (PRIVATE,), interval_s=TICK_S, now=now)
        self.rules.judge_next(now)

    def why(self):
        [judged] = [found for key in self.series.samplers["sampler/api"].series for found in self.rules.judged(key)]
        return judged.verdict.why


def test_growth_is_told_for_each_run_of_the_probe_that_is_named(tmp_path):
    hour = Hour(tmp_path)
    for number in range(720):
        hour.tick(pauses=number // 36 % 2 == 1)

    assert EACH_BYTES == pytest.approx(hour.facts["perfmon_leak_slope_bytes_per_request"], rel=0.05)
    assert re.search(
        r"; 4\.\d+ KiB per run of checkout \(95 % interval 4\.\d+ to 4\.\d+\), nothing by time", hour.why()
    )
    assert hour.why().endswith(' of perfmon_probe_runs_total{probe="checkout"}')


def test_a_probe_that_runs_all_the_time_may_as_well_be_time(tmp_path):
    hour = Hour(tmp_path)
    for _ in range(720):
        hour.tick(pauses=False)

    assert "if it is the runs of checkout: they came at a steady rate, so it may as well be time" in hour.why()
