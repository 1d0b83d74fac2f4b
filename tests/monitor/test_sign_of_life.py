"""Signs of life: sent while perfmon does its work, withheld when it does not."""

import json

import msgspec
import pytest
from daemon import eventually, perfmon
from listener import Answer, Listener
from structlog.testing import capture_logs

from perfmon.clock import ManualClock
from perfmon.config import from_mapping
from perfmon.monitor.sign_of_life import SignsOfLife, ills

HOOK = {"name": "am", "alertmanager": {"urls": ["http://127.0.0.1:9"], "resend": "5s"}}


class Daemon:
    """What signs of life see of it."""

    def __init__(self, **alerting):
        self.config = from_mapping({"alerting": alerting, "receivers": [HOOK] if alerting.get("watchdog") else []})
        self.clock = ManualClock()
        self.wrong = []
        self.told = []
        self.outcomes = []
        self.work = {}
        self.signs = SignsOfLife(
            clock=self.clock,
            ills=lambda: self.wrong,
            beat=self.told.append,
            page_url="https://perfmon.example/",
            on_heartbeat=self.outcomes.append,
        )
        self.schedule(self.config)

    def schedule(self, config):
        self.signs.schedule(
            config,
            lambda key, every_s, work: self.work.update({key: (every_s, work)}),
            lambda key: self.work.pop(key, None),
        )


@pytest.mark.parametrize(
    ("store", "shortest_s", "silent_s", "expected"),
    [
        ("", 15.0, 60.0, []),
        ("", 15.0, 76.0, ["nothing was measured for 76 s"]),
        ("", None, 1e6, []),
        ("the state file cannot be written", 15.0, 0.0, ["the state file cannot be written"]),
    ],
)
def test_it_does_its_work_while_it_measures_and_can_write(store, shortest_s, silent_s, expected):
    assert expected == ills(store=store, shortest_s=shortest_s, silent_s=silent_s)


async def test_the_watchdog_holds_four_resends_ahead_and_is_withheld_from_what_is_ill():
    daemon = Daemon(watchdog=True)
    every_s, work = daemon.work["/watchdog"]
    await work()
    daemon.clock.advance(5)
    await work()
    daemon.wrong = ["the state file cannot be written"]
    with capture_logs() as logs:
        await work()
        await work()

    assert 5.0 == every_s
    labels = {"alertname": "Watchdog", "severity": "none", "job": "perfmon", "instance": "perfmon.example"}
    assert [labels] * 2 == [notice.labels for notice in daemon.told]
    assert [20.0, 25.0] == [notice.valid_until - daemon.told[0].starts_at for notice in daemon.told]
    assert 1 == len({notice.starts_at for notice in daemon.told})
    assert ["signs of life are withheld"] == [line["event"] for line in logs]


async def test_the_heartbeat_says_once_that_it_is_not_heard_and_shows_no_address():
    with Listener(lambda _request: Answer(404)) as switch:
        daemon = Daemon(heartbeat={"url": f"{switch.url}/s3cret", "method": "POST"})
        _, work = daemon.work["/heartbeat"]
        with capture_logs() as logs:
            await work()
            await work()
            switch.answer = lambda _request: Answer()
            await work()
            daemon.wrong = ["ill"]
            await work()

    assert ["failed", "failed", "sent", "withheld"] == daemon.outcomes
    assert 3 == len(switch.requests)
    assert ("/s3cret", "well") == (switch.requests[0].path, switch.requests[0].body["status"])
    events = ["heartbeat is not heard", "heartbeat is not heard no longer", "signs of life are withheld"]
    assert events == [line["event"] for line in logs]
    assert "s3cret" not in str(logs)


def test_a_reload_takes_off_the_schedule_what_is_not_wanted_any_more():
    daemon = Daemon(watchdog=True, heartbeat={"url": "http://a"})
    assert {"/watchdog", "/heartbeat"} == set(daemon.work)

    daemon.schedule(from_mapping({"alerting": {}, "receivers": [HOOK]}))

    assert {} == daemon.work


def test_a_daemon_sends_both_as_long_as_it_lives(tmp_path):
    with Listener() as switch, Listener() as manager:
        settings = {
            "samplers": [{"name": "host", "interval": "1s", "host": {}}],
            "receivers": [{"name": "am", "alertmanager": {"urls": [manager.url], "resend": "200ms"}}],
            "alerting": {"watchdog": True, "heartbeat": {"url": switch.url, "interval": "200ms", "method": "POST"}},
        }
        (tmp_path / "perfmon.yml").write_bytes(msgspec.json.encode(settings))
        with perfmon(tmp_path, "--config.file=perfmon.yml", "--state.path=state") as daemon:
            eventually(lambda: len(switch.requests) > 2 and len(manager.requests) > 2, "both are heard")
            assert daemon.metric("perfmon_heartbeats_total", outcome="sent") >= 2
            daemon.kill()
        told = [alert for request in manager.requests for alert in request.body]

    assert {"Watchdog"} == {alert["labels"]["alertname"] for alert in told}
    assert 1 == len({alert["startsAt"] for alert in told})
    assert sorted(alert["endsAt"] for alert in told) == [alert["endsAt"] for alert in told]
    assert "Watchdog" not in json.dumps(daemon.events())
