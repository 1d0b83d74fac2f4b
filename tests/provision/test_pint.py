"""Rules and dashboards as cloudflare's pint would have them, and that our port of it finds what it should."""

import json
import re
from pathlib import Path

import pint
import pytest
import yaml

ROOT = Path(__file__).parents[2]
GROUPS = yaml.safe_load((ROOT / "rules/perfmon.rules.yml").read_text())["groups"]
RULES = [rule for group in GROUPS for rule in group["rules"]]
RECORDED = {rule["record"]: rule["expr"] for rule in RULES if "record" in rule}
ALERTS = [rule for rule in RULES if "alert" in rule]
MEANT = {  # what pint would say and is so on purpose
    "Watchdog": "alerts/comparison",  # it always fires
    "PerfmonNotificationsFailing": "promql/counter",  # new or not: a labelled counter begins with its first event
    "PerfmonDefect": "promql/counter",
}


def name_of(rule):
    return rule.get("alert") or rule["record"]


def queries():
    for file in sorted((ROOT / "dashboards").glob("*.json")):
        board = json.loads(file.read_text())
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                expr = re.sub(r"\[\$__(rate_interval|range)\]", "[1h]", target["expr"]).replace("$objective", "99.9")
                yield pytest.param(re.sub(r"\$\w+", ".+", expr), id=f"{file.stem}-{panel['id']}-{target['refId']}")


@pytest.mark.parametrize("rule", RULES, ids=name_of)
def test_rules_are_as_they_should_be(rule):
    meant = MEANT.get(rule.get("alert", ""), "-")

    found = pint.problems(rule["expr"], RECORDED, alert="alert" in rule)

    assert [] == [one for one in found if not one.startswith(meant)]


@pytest.mark.parametrize("expr", list(queries()))
def test_queries_of_dashboards_are_as_they_should_be(expr):
    shown = ("promql/counter",)  # a total may be shown as it is

    assert [] == [one for one in pint.problems(expr, RECORDED) if not one.startswith(shown)]


@pytest.mark.parametrize("alert", ALERTS, ids=name_of)
def test_templates_name_labels_that_the_alert_has(alert):
    has = pint.labels(alert["expr"], RECORDED)
    asked = {label for text in alert["annotations"].values() for label in re.findall(r"\$labels\.(\w+)", text)}
    may_be_absent = {"group", "sampler", "cgroup", "metric", "rule", "instance"}

    assert "*" in has or asked - may_be_absent <= has
    assert not any("$" in value for value in alert["labels"].values())


def test_nothing_is_written_twice():
    written = [(name_of(rule), json.dumps(rule.get("labels"))) for rule in RULES]
    expressions = [rule["expr"] for rule in RULES]

    assert len(written) == len(set(written))
    assert len(expressions) == len(set(expressions))


def test_an_absence_is_told_after_two_scrapes_at_least():
    """One scrape that fails is no absence."""
    waits = {rule["alert"]: rule.get("for", "0s") for rule in ALERTS if "absent(" in rule["expr"]}

    assert {"PerfmonDown": "30s"} == waits


@pytest.mark.parametrize("text", [(ROOT / "rules/perfmon.rules.yml").read_text()])
def test_nothing_in_the_rules_changed_its_meaning_with_prometheus_3(text):
    """Left-open ranges, `le`, renamed functions (docs/migration.md of Prometheus)."""
    assert [] == re.findall(r"holt_winters|\ble=|\[[^\]]+:[^\]]*\]", text)  # a subquery of one step has one point fewer
    ranges = [one for rule in RULES for one in re.findall(r"\[(\d+)([smhd])\]", rule["expr"])]
    assert 60 <= min(int(count) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[unit] for count, unit in ranges)


@pytest.mark.parametrize(
    ("expr", "check"),
    [
        ("probe_sucess == 0", "promql/series"),
        ('probe_success{groop="x"} == 0', "promql/series"),
        ("perfmon_store_errors_total > 0", "promql/counter"),
        ("rate(probe_success[5m]) > 0", "promql/rate"),
        ("rate(perfmon_store_errors_total[30s]) > 0", "promql/rate"),
        ("topk(3, probe_duration_seconds) > 1", "promql/fragile"),
        ('probe_success{job=~"perfmon"} == 0', "promql/regexp"),
        ('probe_success{job=~"^perf.*"} == 0', "promql/regexp"),
        ('rate(perfmon_probe_latency_seconds_bucket{le="1"}[5m]) > 0', "promql/regexp"),
        ("probe_success / perfmon_process_up > 0", "promql/vector_matching"),
        ("sum by (probe) (probe_success) / probe_success > 0", "promql/vector_matching"),
        ("probe_success > 0 and on (sampler) probe_success", "promql/vector_matching"),
        ("perfmon_probe_runs_total / ignoring (result) perfmon_probe_attempts_total > 0", "promql/vector_matching"),
        ("probe_success", "alerts/comparison"),
        ("probe_success == 0 or probe_duration_seconds", "alerts/comparison"),
    ],
)
def test_the_port_finds(expr, check):
    assert check in {one.partition(":")[0] for one in pint.problems(expr, alert=True)}
