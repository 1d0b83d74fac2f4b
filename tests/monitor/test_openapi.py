"""The API's document against its routes, against real answers, and against schemathesis, on one real daemon."""

import json
import re
from typing import get_args
from urllib.parse import quote

import msgspec
import pytest
import schemathesis
from daemon import eventually, free_port, get, perfmon, service
from hypothesis import HealthCheck, Phase, settings
from jsonschema import Draft202012Validator
from schemathesis.specs.openapi.checks import positive_data_acceptance
from test_docs import ROOT
from web_face import FakeView

from perfmon.explanation import Explanation
from perfmon.monitor import answers
from perfmon.monitor.openapi import OPERATIONS, document
from perfmon.monitor.public import BadgeKind
from perfmon.monitor.server import app

pytestmark = pytest.mark.alone  # xdist drops what schemathesis parametrizes, and says nothing

# For people, and no part of the API: pages and their files. `/run` leads from an exemplar to such a page.
PAGES = re.compile(r"^/($|page/|target$|group$|run$|status$|status\.css$)")
DOCUMENT = document()
OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}
# /probe would send requests to whatever comes up.
FUZZED = schemathesis.openapi.from_dict(DOCUMENT).exclude(path=["/probe"])
SETTINGS = settings(
    max_examples=15, deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


def test_every_route_is_documented_and_no_other():
    told = {(one.path, one.method.upper()) for one in OPERATIONS}
    routes = {
        (route.path, method)
        for route in app(FakeView()).routes
        for method in route.methods - {"HEAD"}
        if not PAGES.match(route.path)
    }

    assert routes == told
    table = re.findall(r"^\| (.*?) \|", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE)
    paths = set(re.findall(r"`(?:GET |POST )?(/[^`?\[]*)", " ".join(table)))
    badges = {f"/badge/{kind}" for kind in get_args(BadgeKind)}
    assert set() == ({path for path, _ in told} - {"/badge/{kind}"} | badges) - paths


def test_the_document_is_openapi():
    FUZZED.validate()
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    """One that has much to tell: a probe that is up, one that is down and confirmed, a rule on a leak, an alert."""
    folder = tmp_path_factory.mktemp("openapi")
    with service() as shop:
        up = {"name": "up", "module": "http_2xx", "interval": "0.2s", "targets": [shop.url]}
        down = {"name": "<down>", "module": "tcp_connect", "interval": "0.2s", "targets": [f"127.0.0.1:{free_port()}"]}
        config = {
            "probes": [up, down | {"confirm": {"attempts": 2, "pause": "10ms"}}],
            "samplers": [
                {
                    "name": "own",
                    "interval": "0.2s",
                    "process": {"groups": [{"name": "perfmon", "self": True}]},
                    "thresholds": {"memory_growth": "10MiB/min"},
                }
            ],
            "maintenance": [
                {"name": "long", "from": "2026-01-01T00:00", "to": "2099-01-01T00:00", "select": {"probe": "up"}}
            ],
            "web": {"public": {"title": "<Shop>", "select": {"probe": "*"}}},
            "rules": [{"name": "Down", "select": {"probe": "<down>"}, "threshold": "rate < 50% over 2s"}],
        }
        (folder / "perfmon.yml").write_text(json.dumps(config))
        with perfmon(folder, "--config.file=perfmon.yml", "--state.path=") as running:
            eventually(running.alerts, "an alert")
            eventually(lambda: "perfmon_process_up" in running.metrics(), "a reading")
            yield running


def test_real_answers_have_these_fields_and_no_others(daemon):
    """Those that schemathesis comes by only by chance: of what is there, and of what is not."""

    def read(path, answer, expected=200, method="GET"):
        code, body = get(daemon.url + path, method=method)
        assert expected == code, body
        return msgspec.json.decode(body, type=answer)

    def states():
        return {one.state for one in read("/api/v1/targets", answers.Targets).probes}

    eventually(lambda: "unknown" not in states(), "each has run")
    assert {"up", "down"} == states()
    targets = read("/api/v1/targets", answers.Targets)
    for probe in targets.probes:
        key = quote(probe.key, safe="")
        assert probe.key == read(f"/api/v1/target?key={key}", answers.Target).probe.key
        assert probe.target == read(f"/api/v1/target/run?key={key}", Explanation, method="POST").target
    run_id = re.search(r'run_id="([^"]+)"', get(daemon.url + "/metrics", headers=OPENMETRICS)[1])[1]
    assert run_id == read(f"/api/v1/run?id={run_id}", answers.Run).run.id
    eventually(lambda: read("/api/v1/group?sampler=own&group=perfmon", answers.Group).group.leaks, "a verdict")
    told = read("/api/v1/alerts", answers.Alerts)
    assert (["long"], 1) == ([window.name for window in told.maintenance], len(told.alerts))
    assert read("/api/v1/days", answers.Days).probes
    assert {"up": "up", "<down>": "down"} == {
        one.key: one.state for one in read("/status.json", answers.Status).components
    }
    assert None is read("/api/v1/target?key=gone", answers.Target, 404).probe
    assert None is read("/api/v1/group?sampler=a&group=b", answers.Group, 404).group
    assert "probe_success" in get(f"{daemon.url}/probe?target=127.0.0.1:1&module=tcp_connect")[1]
    assert read("/api/v1/runs", answers.Runs).runs
    assert DOCUMENT == json.loads(get(daemon.url + "/api/v1/openapi.json")[1])


def unsaid(case):
    """What OpenAPI cannot say: `/logs` takes one of two parameters, and exactly one."""
    return [positive_data_acceptance] if case.path == "/logs" else []


@FUZZED.parametrize()
@SETTINGS
def test_whatever_is_asked_is_answered_as_the_document_says(daemon, case):
    case.call_and_validate(base_url=daemon.url, timeout=20, excluded_checks=unsaid(case))
