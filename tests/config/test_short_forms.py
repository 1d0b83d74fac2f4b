"""Thresholds in short are rules like any others: expanded when the file is read, shown in full on request."""

import os
import signal
import subprocess
import sys
import time

import msgspec
import pytest

from perfmon import config, kinds, measure
from perfmon.clock import SystemClock
from perfmon.config.written import rules_as_written
from perfmon.errors import ConfigError
from perfmon.model import Sample
from perfmon.monitor.series import Series, sample_key
from perfmon.short_form import OF_PROBES

PROBE = 'probes: [{{name: shop, interval: {interval}, targets: ["http://127.0.0.1:1/"], thresholds: {{{short}}}}}]'
PROCESS = "samplers: [{{name: shop, interval: {interval}, process: {{groups: [{{name: shop, port: 8080}}]}}, thresholds: {{{short}}}}}]"
CGROUP = "samplers: [{{name: shop, interval: {interval}, cgroup: {{groups: [{{name: shop, unit: a.service}}]}}, thresholds: {{{short}}}}}]"


def rules(tmp_path, form, short, interval="10s"):
    (tmp_path / "perfmon.yml").write_text(form.format(short=short, interval=interval))
    return config.load([tmp_path / "perfmon.yml"], env={}).rules


def in_full(tmp_path, form, short, interval="10s"):
    """Name, metric, settings of the condition and severity of each."""
    return [
        (rule.name, rule.metric, kinds.load("conditions", rule.kind).written(rule.config), rule.severity)
        for rule in rules(tmp_path, form, short, interval)
    ]


@pytest.mark.parametrize(
    ("form", "short", "rule"),
    [
        (PROBE, "response_time: 5s", ("ResponseTimeHigh", "duration", "p(95) <= 5s over 5m", "critical")),
        (PROBE, "error_rate_warning: 5%", ("ErrorRateHigh", "failed", "rate <= 5% warning over 5m", "critical")),
        (PROBE, "error_rate: 0", ("ErrorRateHigh", "failed", "rate <= 0% over 5m", "critical")),
        (
            PROCESS,
            "memory_critical: 1GiB, memory_warning: 512MiB",
            (
                "MemoryHigh",
                "perfmon_process_resident_memory_bytes",
                "last <= 512 MiB warning, 1 GiB critical",
                "critical",
            ),
        ),
        (
            PROCESS,
            "cpu_warning: 70%, cpu_critical: 250%",
            (
                "CpuHigh",
                "perfmon_process_cpu_usage_seconds_total",
                "rate <= 70% warning, 250% critical over 1m",
                "critical",
            ),
        ),
        (
            PROCESS,
            "memory_growth: 10MiB/min",
            ("MemoryGrowth", "perfmon_process_resident_memory_bytes", {"growth": "10 MiB/min", "agree": 3}, "critical"),
        ),
        (
            CGROUP,
            "memory_growth_warning: 1GiB/d",
            ("MemoryGrowth", "perfmon_cgroup_memory_working_set_bytes", {"growth": "1 GiB/d", "agree": 3}, "warning"),
        ),
        (
            CGROUP,
            "memory: 1GiB",
            ("MemoryHigh", "perfmon_cgroup_memory_working_set_bytes", "last <= 1 GiB", "critical"),
        ),
        (CGROUP, "tasks: 100", ("TasksHigh", "perfmon_cgroup_tasks", "last <= 100", "critical")),
        (PROCESS, "fds: 900", ("FdsHigh", "perfmon_process_open_fds", "last <= 900", "critical")),
        (PROCESS, "threads: 64", ("ThreadsHigh", "perfmon_process_threads", "last <= 64", "critical")),
    ],
)
def test_a_short_form_is_this_rule(tmp_path, form, short, rule):
    assert [rule] == in_full(tmp_path, form, short)


def test_what_looks_back_sees_three_points_however_rare_they_are(tmp_path):
    assert "rate <= 5% over 15m" == in_full(tmp_path, PROBE, "error_rate: 5%", "5m")[0][2]


def test_a_rule_is_about_its_own_probe_or_sampler_alone(tmp_path):
    (tmp_path / "perfmon.yml").write_text(
        'probes: [{name: "shop[1]*", targets: ["a:1"], module: tcp_connect, thresholds: {error_rate: 5%}}]'
    )
    (rule,) = config.load([tmp_path / "perfmon.yml"]).rules

    assert {"probe": "shop[[]1][*]"} == rule.select


@pytest.mark.parametrize("kind", ["process", "cgroup"])
def test_every_word_is_about_a_metric_that_its_kind_has(kind):
    module = kinds.load("samplers", kind)
    families = {family.name: family for family in module.FAMILIES}
    words = module.thresholds(msgspec.convert({"groups": [{"name": "a"}]}, module.Config))

    assert words
    for short in words.values():
        assert short.metric in families
        assert families[short.metric].unit in (short.unit, "seconds")  # a rate of seconds is a share


def test_what_is_shown_in_full_says_the_same_when_it_is_read(tmp_path):
    """All words of all kinds, and rules with every setting."""
    text = "\n".join(
        [
            PROBE.format(
                interval="10s", short=", ".join(f"{word}_warning: 0.1, {word}_critical: 0.2" for word in OF_PROBES)
            ),
            PROCESS.format(
                interval="10s",
                short="memory: 1GiB, cpu_warning: 70%, cpu_critical: 90%, memory_growth_warning: 7KiB/h, fds: 9, threads: 3",
            ),
            "rules:",
            '  - {name: A, threshold: {warning: "p(95) < 200ms over 5m", critical: "p(99.5) < 1s over 10m"}, metric: duration, annotations: {summary: "{{target}}"}}',
            '  - {name: B, threshold: "rate < 1% over 1m for 30s", keep_firing_for: 1m, labels: {team: web}, severity: info}',
            "  - {name: C, absent: 5m, for: 10s}",
            "  - {name: D, select: {sampler: shop}, metric: perfmon_process_open_fds, leak: {window: 2h, growth: 2/h, limit: 1024, horizon: 3d, agree: 5}}",
        ]
    )
    (tmp_path / "perfmon.yml").write_text(text)
    first = config.load([tmp_path / "perfmon.yml"]).rules
    full = rules_as_written(first)
    (tmp_path / "again.yml").write_text(
        "\n".join([PROBE.format(interval="10s", short=""), PROCESS.format(interval="10s", short=""), full])
    )
    again = config.load([tmp_path / "again.yml"]).rules

    assert first == again


def test_check_shows_rules_in_full(tmp_path):
    (tmp_path / "perfmon.yml").write_text(PROBE.format(interval="10s", short="error_rate: 5%"))
    ended = subprocess.run(
        [sys.executable, "-m", "perfmon", "check", "--show-rules", tmp_path / "perfmon.yml"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert (
        "rules:\n- name: ErrorRateHigh\n  select:\n    probe: shop\n  threshold: rate <= 5% over 5m\n" == ended.stdout
    )


def test_a_kind_that_has_no_words_says_so(tmp_path):
    (tmp_path / "perfmon.yml").write_text("samplers: [{name: m, host: {}, thresholds: {memory: 1GiB}}]")
    with pytest.raises(ConfigError) as raised:
        config.load([tmp_path / "perfmon.yml"])

    assert str(raised.value).endswith('samplers[0].thresholds.memory: unknown threshold "memory", expected none')


def test_a_process_that_burns_a_core_breaks_its_cpu_threshold(tmp_path):
    """Of a real process: the share of both modes, by the rule that the short form stands for."""
    burner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        text = f"samplers: [{{name: b, interval: 200ms, process: {{groups: [{{name: b, pid: {burner.pid}}}]}}, thresholds: {{cpu_warning: 1%, cpu_critical: 900%}}}}]"
        (tmp_path / "perfmon.yml").write_text(text)
        read = config.load([tmp_path / "perfmon.yml"])
        (sampler,), (rule,) = read.samplers, read.rules
        verdict = judged(sampler, rule, 1.0)
    finally:
        os.kill(burner.pid, signal.SIGKILL)
        burner.wait()

    assert "warning" == verdict.level
    assert 0.05 < verdict.value < 1.3


def judged(sampler, rule, seconds):
    """The verdict of a rule on the one series that it selects, after some seconds of readings."""
    clock = SystemClock()
    series, reader = Series(clock), kinds.load("samplers", sampler.kind).open(sampler.config, clock)
    condition = kinds.load("conditions", rule.kind)
    series.add_sampler(sampler)
    key = sample_key(sampler, Sample(name=rule.metric, value=0.0, labels={"group": "b"}))
    until = clock.monotonic() + seconds
    while clock.monotonic() < until:
        series.add_reading(sampler, measure.sample(sampler, reader, clock=clock))
        window = series.window(key, rule.metric, condition.span_s(rule.config), clock.monotonic())
        time.sleep(sampler.interval_s)
    return condition.evaluate(window, rule.config)
