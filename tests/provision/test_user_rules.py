"""The user's own rules as Prometheus': accepted by promtool, about the right series, with the right words."""

import re
import subprocess

import promql as looked_into
import promql_parser
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from perfmon import config, kinds, promql, selection
from perfmon.commands.rules import command
from perfmon.provision.user_rules import Scraping, document

WATCHED = """
probes:
  - name: shop
    interval: 5s
    timeout: 2s
    tags: [web]
    targets: ["http://127.0.0.1:1/fast", {address: "http://127.0.0.1:1/slow", tags: [slow]}]
  - {name: port, interval: 30s, module: tcp_connect, targets: ["127.0.0.1:1"]}
samplers:
  - {name: host, interval: 10s, host: {}}
  - {name: api, interval: 5s, process: {groups: [{name: api, self: true}]}}
state: {path: ""}
rules:
"""
EVERY = [
    f'{{name: Probe{number}, threshold: "{sentence}"}}'
    for number, sentence in enumerate(
        f"{aggregation} < {limit} over 5m" if aggregation != "last" else "last < 1 within 1m"
        for aggregation, limit in [
            ("rate", "5%"), ("avg", "5%"), ("sum", "3"), ("count", "9"), ("max", "1"), ("min", "1"), ("med", "1"),
            ("p(90)", "1"), ("stddev", "0.4"), ("last", "1"),
        ]
    )
] + [
    f'{{name: Time{number}, metric: "{metric}", threshold: "{aggregation} < 1s over 5m within 90s"}}'
    for metric in ("duration", "duration:tls")
    for number, aggregation in enumerate(["avg", "max", "min", "med", "p(99.5)", "stddev"], 10 * len(metric))
] + [
    '{name: First, metric: first_try_failed, threshold: "rate < 1% warning, 5% critical"}',
    '{name: Load, metric: perfmon_host_load1, select: {sampler: h*}, threshold: "avg < 9 for 1m"}',
    '{name: Cpu, metric: perfmon_process_cpu_usage_seconds_total, threshold: "rate < 50%"}',
    "{name: Budget, burn_rate: {objective: 99.9%}, select: {probe: shop}}",
    "{name: FirstBudget, metric: first_try_failed, burn_rate: {objective: 95%, period: 7d, min_failures: 1}}",
    "{name: Silent, absent: 1m}",
    "{name: SilentHost, metric: perfmon_host_load1, absent: 90m}",
    "{name: Leak, metric: perfmon_process_private_memory_bytes, leak: {}}",
    "{name: Growth, metric: perfmon_process_threads, leak: {growth: 3/h}}",
]  # fmt: skip


def read(folder, *rules):
    file = folder / "perfmon.yml"
    file.write_text(WATCHED + "".join(f"  - {rule}\n" for rule in rules))
    return config.load([file])


def alerts(text):
    return yaml.safe_load(text)["groups"][0]["rules"]


def written(folder, *rules, scraping=None):
    made = document(read(folder, *rules), scraping)
    assert () == made.missing
    return alerts(made.text)


@pytest.mark.servers
def test_promtool_takes_every_condition_and_aggregation(binary, tmp_path):
    made = document(read(tmp_path, *EVERY))
    file = tmp_path / "perfmon.user.rules.yml"
    file.write_text(made.text)

    command = [binary("promtool"), "check", "rules", "--lint=all", "--lint-fatal", str(file)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)

    assert () == made.missing
    assert 0 == checked.returncode, checked.stdout + checked.stderr


def test_only_metrics_of_the_catalogue_are_asked_for(tmp_path):
    found = {one.name for alert in written(tmp_path, *EVERY) for one in looked_into.asked(alert["expr"])}

    assert set() == found - set(looked_into.exported())


def test_a_rule_is_written_with_its_time_labels_and_words(tmp_path):
    [mild, severe] = written(
        tmp_path,
        '{name: Slow, metric: duration, select: {probe: shop}, threshold: "p(95) < 500ms warning, 2s critical over 1m",'
        ' for: 90s, keep_firing_for: 1500ms, labels: {team: "{{x}}"},'
        ' annotations: {summary: "{{target}} of {{ probe }}: {{value}} for {{limit}}",'
        ' dashboard_url: "https://g/?t={{target}}", runbook_url: "https://w/{{severity}}#{{alertname}}"}}',
    )

    assert ["quantile_over_time(0.95, probe_duration_seconds", "0.5"] == [
        mild["expr"].partition("{")[0],
        mild["expr"].splitlines()[0].rpartition(" ")[2],
    ]
    assert {"team": '{{"{{"}}x}}', "severity": "warning"} == mild["labels"]
    assert ("1m30s", "1s500ms") == (mild["for"], mild["keep_firing_for"])
    assert "{{ $labels.target }} of {{ $labels.probe }}: {{ $value }} for 0.5" == mild["annotations"]["summary"]
    assert ["https://w/warning#Slow", "https://w/critical#Slow"] == [
        one["annotations"]["runbook_url"] for one in (mild, severe)
    ]  # Prometheus' own $labels have neither
    assert "https://g/?t={{ $labels.target | urlquery }}" == mild["annotations"]["dashboard_url"]
    assert (
        "expected p95 of duration over 1m < 2s, seen {{ $value | humanizeDuration }} (or nothing for 1m)"
        == severe["annotations"]["description"]
    )


def test_tags_which_are_not_exported_become_probes_and_targets(tmp_path):
    rules = written(
        tmp_path,
        '{name: Web, select: {tag: w*}, threshold: "last < 1"}',
        '{name: Slow, select: {tag: slow}, threshold: "last < 1"}',
    )

    assert [
        [("job", "perfmon"), ("probe", "shop")],
        [("job", "perfmon"), ("probe", "shop"), ("target", "http://127.0.0.1:1/slow")],
    ] == [
        sorted((name, value) for name, (_, value) in looked_into.asked(rule["expr"])[0].matchers.items())
        for rule in rules
    ]


def test_the_longest_interval_decides_when_silence_is_told(tmp_path):
    [all_probes, shop] = written(
        tmp_path, '{name: All, threshold: "last < 1"}', '{name: Shop, select: {probe: shop}, threshold: "last < 1"}'
    )

    assert all_probes["expr"].endswith("> 90")
    assert shop["expr"].endswith("> 15")


def test_what_differs_is_said_above_the_rule(tmp_path):
    read_ = read(tmp_path, '{name: Slow, metric: duration, select: {probe: shop}, threshold: "max < 1s over 20s"}')

    said = [line.strip() for line in document(read_, Scraping(interval_s=15.0)).text.splitlines() if "  #" in line]

    assert [
        "# Prometheus looks each 15s at what is measured each 5s: max is of what it sees",
        "# 20s hold less than three scrapes, so the range is longer",
    ] == said


def test_what_cannot_be_said_is_left_out_with_the_reason(tmp_path):
    made = document(read(tmp_path, '{name: First, metric: first_try_failed, threshold: "max < 1"}'))

    why = "of `first_try_failed` Prometheus has counters alone: use `rate`, `sum` or `count`"
    assert (("First", why),) == made.missing
    assert f"  # First is missing: {why}\n" in made.text
    assert [] == alerts(made.text)


def test_a_change_is_for_perfmon_to_find(tmp_path):
    made = document(read(tmp_path, "{name: Moved, metric: duration, change: {}}"))

    assert (("Moved", "Prometheus has no test of whether a level changed beyond chance and season"),) == made.missing


def test_every_condition_says_itself_in_promql_or_why_it_cannot():
    assert [] == [name for name in kinds.names("conditions") if not hasattr(kinds.load("conditions", name), "promql")]


def test_the_command_writes_both_files_and_tells_what_it_left_out(tmp_path):
    read(tmp_path, '{name: First, metric: first_try_failed, threshold: "max < 1"}', "{name: Silent, absent: 1m}")
    arguments = ["--config", str(tmp_path / "perfmon.yml"), "--out", str(tmp_path), "--job", "watch"]

    ran = CliRunner().invoke(command, arguments, standalone_mode=False)
    again = CliRunner().invoke(command, [*arguments, "--check"], standalone_mode=False)

    assert 0 == ran.return_value == again.return_value
    assert "warning: First is left out: of `first_try_failed` Prometheus has counters alone" in ran.stderr
    assert 'job="watch"' in (tmp_path / "perfmon.user.rules.yml").read_text()
    assert (tmp_path / "perfmon.rules.yml").exists()


def test_the_command_warns_of_what_holds_alerts_back_in_perfmon_alone(tmp_path):
    (tmp_path / "perfmon.yml").write_text(
        "probes:\n"
        "  - {name: gateway, interval: 5s, timeout: 2s, targets: ['http://127.0.0.1:1/']}\n"
        "  - {name: shop, interval: 5s, timeout: 2s, targets: ['http://127.0.0.1:1/'], depends_on: [gateway]}\n"
        "rules: [{name: Silent, absent: 1m}]\n"
        "maintenance: [{name: night, from: '22:00', to: '23:00'}]\n"
    )

    ran = CliRunner().invoke(command, ["--config", str(tmp_path / "perfmon.yml"), "--out", str(tmp_path)])

    assert [
        f"warning: `{setting}` holds none of these back: say it in Alertmanager (docs/prometheus.md)"
        for setting in ("depends_on", "maintenance")
    ] == ran.stderr.splitlines()


@given(st.text('ab*?[]!^-.\\+|"', max_size=6), st.text('ab[]!^.\\+|"', min_size=1, max_size=4))
def test_a_glob_becomes_a_pattern_that_fits_the_same(glob, value):
    """Ranges that run backwards, `[b-a]`, are no pattern to RE2."""
    if re.search(r"\[[^\]]*-", glob):
        return
    matcher = promql_parser.parse(f"up{{{promql.matcher('label', glob)}}}").matchers.matchers[0]
    equal = str(matcher.op) == str(promql_parser.MatchOp.Equal)

    fits = matcher.value == value if equal else re.fullmatch(matcher.value, value) is not None

    assert selection.matches({"label": glob}, {"label": value}) == fits


@given(st.floats(0.001, 1e7))
def test_a_duration_says_the_same_to_the_millisecond(seconds):
    text = promql.duration(seconds)
    sizes = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}

    read_back = sum(int(count) * sizes[unit] for count, unit in re.findall(r"(\d+)(ms|[dhms])", text))

    assert abs(seconds - read_back) <= 0.0006
