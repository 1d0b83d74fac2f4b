"""One recorded past, judged twice: by perfmon's own evaluator, and by Prometheus with the rules generated for it.

The past is a text, a character for each tick of five seconds:

    .   a run that is fine          x   one that fails          s   one that is slow
    -   no run, and the page is scraped as it stands            R   perfmon is down, and so is its page

A sampler reads the same text: `-` is a reading without the process, `x` one that finds none of it running.
"""

import json
import re
import subprocess
from collections import Counter

from prometheus_client.parser import text_string_to_metric_families

from perfmon import config
from perfmon.clock import ManualClock
from perfmon.measure import Reading
from perfmon.model import Failure, Measurement, Sample
from perfmon.monitor.exposition import Exposition
from perfmon.monitor.rule import Rules
from perfmon.monitor.selfmetrics import Instruments
from perfmon.monitor.series import Series
from perfmon.monitor.store import Store
from perfmon.provision.user_rules import Scraping, document
from perfmon.selection import PROBE_METRICS

TICK_S = 5.0
DOCUMENT = """
probes: [{name: shop, interval: 5s, timeout: 2s, targets: [{address: "http://127.0.0.1:1/?a=b", labels: {path: "a\\"b"}}]}]
samplers: [{name: api, interval: 5s, process: {groups: [{name: api, self: true}]}}]
state: {path: ""}
"""
PLACE = {"job": "perfmon", "instance": "perfmon:10737"}
REFUSED = Failure(reason="connect_refused", phase="connect", message="nobody listens there")


def configured(folder, rules):
    file = folder / "perfmon.yml"
    file.write_text(DOCUMENT + "rules:\n" + "".join(f"  - {rule}\n" for rule in rules))
    return config.load([file])


class Life:
    """perfmon from a start to an end, without its daemon: series, page, rules and store as it has them."""

    def __init__(self, read, clock, path):
        self.clock, self.config, self.store = clock, read, Store(path, clock=clock)
        self.series = Series(clock)
        self.exposition = Exposition(clock, 10_000, Instruments())
        self.defects = []
        self.rules = Rules(
            read.rules,
            window=self.series.window,
            long_window=self.series.long_window,
            counts=self.series.counts,
            show=self.exposition.observe_facts,
            store=self.store,
            tell=lambda alerts: None,
            clock=clock,
            on_defect=lambda where, error: self.defects.append((where, error)),
        )
        now = clock.monotonic()
        for check in read.checks:
            self.series.add_check(check)
            self.rules.add(check.key, check.labels, PROBE_METRICS, interval_s=check.interval_s, now=now)
        for sampler in read.samplers:
            self.series.add_sampler(sampler)

    def live(self, sign, cpu_s):
        """One tick: what runs, and what the sweep looks at."""
        now = self.clock.monotonic()
        [check], [sampler] = self.config.checks, self.config.samplers
        if sign != "-":
            seconds = {"s": 0.6}.get(sign, 0.1)
            seen = Measurement(
                target=check.target, module=check.module.name, at=now, duration_s=seconds,
                phases={"connect": seconds}, facts={}, failure=REFUSED if sign == "x" else None,
            )  # fmt: skip
            self.series.add(check.key, seen)
            self.exposition.observe(seen, check)
            self.rules.evaluate(check.key, now)
        self._read(sampler, sign, cpu_s, now)
        self.rules.sweep(now)
        assert not self.defects

    def _read(self, sampler, sign, cpu_s, now):
        labels = {"group": "api"}
        found = [
            Sample(name="perfmon_process_up", value=float(sign != "x"), labels=labels),
            Sample(name="perfmon_process_threads", value={"s": 60.0}.get(sign, 10.0), labels=labels),
            Sample(name="perfmon_process_cpu_usage_seconds_total", value=cpu_s, labels=labels),
        ]
        reading = Reading(sampler=sampler, at=now, duration_s=0.001, samples=[] if sign == "-" else found)
        past = self.series.samplers[sampler.key]
        for series in self.series.add_reading(sampler, reading):
            self.rules.add(series.key, series.labels, (series.what.name,), interval_s=sampler.interval_s, now=now)
        self.exposition.observe_reading(sampler, reading)
        for series in past.series.values():
            if series.last_at == now:
                self.rules.evaluate(series.key, now)

    def states(self):
        """By labels: `pending` or `firing`."""
        return {
            frozenset(alert.labels.items()): alert.state for alert in self.rules.alerts() if alert.state != "inactive"
        }

    async def page(self):
        """By series as promtool names it: the value scraped."""
        body, _ = await self.exposition.scrape()
        return {
            _series(sample.name, PLACE | sample.labels): sample.value
            for family in text_string_to_metric_families(body.decode())
            for sample in family.samples
        }


async def lived(read, past, folder):
    """perfmon's timeline, None where it judged nothing, and what Prometheus scraped at each tick.

    It judges nothing while it is down, and where a run is missing: silence is looked at half an interval later.
    """
    clock, path = ManualClock(1000.0, 0.0), folder / "state.sqlite3"
    life, cpu_s, timeline, pages = Life(read, clock, path), 0.0, [], []
    for number, sign in enumerate(past):
        if number:
            clock.advance(TICK_S)
        if sign == "R":
            if life is not None:
                assert life.store.close()
            life = None
            timeline.append(None)
            pages.append({})
            continue
        if life is None:
            life = Life(read, clock, path)
        cpu_s += 0.2 + 4.0 * (sign == "s")
        life.live(sign, cpu_s)
        judged = sign != "-" or past[number - 1] == "-"
        timeline.append(life.states() if judged else None)
        pages.append(await life.page())
    assert life is None or life.store.close()
    return timeline, pages


def told_by_prometheus(promtool, folder, read, pages, timeline, *, scrape_s=TICK_S):
    """Whether Prometheus' alerts are those of the timeline at each tick, and what promtool printed."""
    written = document(read, Scraping(interval_s=scrape_s))
    assert not written.missing
    (folder / "user.rules.yml").write_text(written.text)
    asked = set(re.findall(r"\b(?:perfmon|probe)_\w+(?=[{\[\s])", written.text)) | {"perfmon_series"}
    names = dict.fromkeys(name for page in pages for name in page if name.partition("{")[0] in asked)
    test = {
        "interval": "5s",
        "input_series": [{"series": name, "values": _values([page.get(name) for page in pages])} for name in names],
        "promql_expr_test": [
            {"expr": "ALERTS", "eval_time": f"{number * 5}s", "exp_samples": _expected(states)}
            for number, states in enumerate(timeline)
            if states is not None
        ],
    }
    file = folder / "replay.test.yml"
    file.write_text(
        json.dumps({"rule_files": [str(folder / "user.rules.yml")], "evaluation_interval": "5s", "tests": [test]})
    )
    ran = subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, text=True, check=False)
    return ran.returncode == 0, ran.stdout + ran.stderr


def kept_longer(timeline, read):
    """The timeline as Prometheus keeps it: it counts `keep_firing_for` from the first evaluation that finds all fine."""
    kept = {rule.name for rule in read.rules if rule.keep_firing_for_s}
    later = [None if states is None else dict(states) for states in timeline]
    for before, states, after in zip(timeline, timeline[1:], later[1:], strict=False):
        if before is None or after is None:
            continue
        for labels, state in before.items():
            if state == "firing" and labels not in states and dict(labels)["alertname"] in kept:
                after[labels] = "firing"
    return later


def changes(timeline):
    """How often each alert went to which state: what a replay has shown."""
    seen, known = Counter(), {}
    for states in filter(lambda one: one is not None, timeline):
        for labels in known.keys() | states.keys():
            before, now = known.get(labels), states.get(labels)
            if before != now:
                seen[dict(labels)["alertname"], now or "over"] += 1
        known = states
    return seen


def _expected(states):
    named = [
        {"labels": _series("ALERTS", PLACE | dict(labels) | {"alertstate": state}), "value": 1}
        for labels, state in states.items()
    ]
    return sorted(named, key=lambda one: one["labels"])


def _series(name, labels):
    return f"{name}{{{', '.join(f'{label}={json.dumps(value)}' for label, value in sorted(labels.items()))}}}"


def _values(values):
    words, before = [], None
    for value in values:
        words.append(repr(value) if value is not None else "stale" if before is not None else "_")
        before = value
    return " ".join(words)
