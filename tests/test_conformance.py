"""Rows of the conformance cases that are about no part alone; docs/conformance.md has all of them."""

import threading

import pytest
from daemon import eventually, perfmon, service
from listener import Answer, Listener
from probing import outcome, probe_http
from servers import answer, http, serve

from perfmon import config
from perfmon.errors import ConfigError


def test_s08_a_timeout_above_the_interval_is_a_mistake(tmp_path):
    file = tmp_path / "perfmon.yml"
    file.write_text("probes:\n  - {name: shop, interval: 1s, timeout: 2s, targets: ['http://127.0.0.1/']}\n")

    with pytest.raises(ConfigError, match="the timeout 2s is longer than the interval 1s"):
        config.load([file])


def test_s11_a_receiver_that_hangs_holds_up_no_probe(tmp_path):
    """The alert is under way for as long as the receiver says nothing, and all slots are used meanwhile."""
    release, file = threading.Event(), tmp_path / "perfmon.yml"
    with service() as shop, Listener(lambda _request: release.wait(30) and Answer()) as hanging:
        shop.status = 503
        file.write_text(
            f"""
probes:
  - {{name: shop, interval: 200ms, timeout: 100ms, targets: ["{shop.url}/"]}}
rules:
  - {{name: Down, threshold: last < 1}}
receivers:
  - {{name: slow, webhook: {{url: "{hanging.url}/"}}}}
state: {{path: ""}}
"""
        )
        with perfmon(tmp_path, f"--config.file={file}") as daemon:
            eventually(lambda: hanging.requests, "the receiver is told, and hangs")
            before = daemon.metric("perfmon_probe_latency_seconds_count")
            eventually(lambda: daemon.metric("perfmon_probe_latency_seconds_count") >= before + 8, "probes go on")
            skipped = daemon.metric("perfmon_schedule_skipped_total")
            release.set()

    assert not skipped


SOLD = b'{"results": [{"state": "sell_only"}, {"state": "open"}, {"state": "sell_only"}]}'
COUNT = 'body.results.filter(one, one.state == "sell_only").size()'


@pytest.mark.parametrize(
    ("condition", "body", "expected"),
    [
        (f"{COUNT} == 2", SOLD, "ok"),
        (f"{COUNT} == 3", SOLD, "json"),
        ("body.results[0].state", SOLD, "json"),
        (f"{COUNT} == 2", b"no JSON", "json"),
    ],
    ids=["true", "false", "neither", "no JSON"],
)
async def test_e19_values_of_a_body_are_selected_and_counted(network, condition, body, expected):
    async with serve(http(answer(body))) as port:
        measurement = await probe_http(
            network, f"http://127.0.0.1:{port}/", fail_if_body_json_not_matches_cel=condition
        )

    assert expected == outcome(measurement)
    assert (expected != "ok") == measurement.facts["probe_failed_due_to_cel"]
