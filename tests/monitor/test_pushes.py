"""Results that others push, by a real daemon and by curl's way; and what silence amounts to, by a clock of the test's."""

import json
from types import SimpleNamespace
from urllib.parse import urlencode

import pytest
from daemon import eventually, get, perfmon
from msgspec.structs import replace

from perfmon import config, kinds
from perfmon.errors import ConfigError
from perfmon.model import Measurement
from perfmon.monitor.pushes import is_pushed, overdue, pushed

TOKEN = "t0ken-of-the-backup"
CONFIG = """
modules:
  cron: {prober: push, push: {token: "${env:PUSH_TOKEN}"}}
  other: {prober: push, push: {token: another-token-of-16}}
probes:
  - {name: backup, module: cron, interval: 25h, targets: [db1]}
  - {name: brisk, module: cron, interval: 1s, targets: [job]}
rules:
  - {name: Down, select: {probe: backup}, threshold: last < 1}
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    folder = tmp_path_factory.mktemp("push")
    (folder / "perfmon.yml").write_text(CONFIG)
    with perfmon(folder, "--config.file=perfmon.yml", f"--state.path={folder}/state", env={"PUSH_TOKEN": TOKEN}) as it:
        yield it


def push(daemon, token=TOKEN, headers=None, **parameters):
    sent = {"Authorization": f"Bearer {token}"} if token else {}
    url = f"{daemon.url}/api/v1/push?{urlencode({'key': 'backup/db1', 'success': 'true'} | parameters)}"
    return get(url, method="POST", headers=sent | (headers or {}))


def last_run(daemon, key="backup/db1"):
    return json.loads(get(f"{daemon.url}/api/v1/target?key={key}")[1])["probe"]["last"]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"token": ""}, 401),
        ({"token": "bad-token-of-some-length"}, 401),
        ({"token": "bad-token-of-some-length", "key": "no/such"}, 401),
        ({"key": "no/such"}, 404),
        ({"success": "invalid"}, 400),
        ({"duration": "invalid"}, 400),
        ({"duration": "1.2s"}, 200),
        ({"success": "false", "error": "disk full"}, 200),
    ],
    ids=["no token", "bad token", "stranger", "bad key", "success", "duration", "ok", "failed"],
)
def test_b01_a_push_is_taken_of_who_has_the_token_and_says_what_it_must(daemon, sent, status):
    assert status == push(daemon, **sent)[0]


def test_b01_what_is_pushed_is_a_run_like_any_other(daemon):
    runs = daemon.metric("perfmon_probe_runs_total", probe="backup", result="success") or 0
    push(daemon, duration="1.2s")

    assert 1.0 == daemon.metric("probe_success", probe="backup")
    assert 1.2 == daemon.metric("probe_duration_seconds", probe="backup")
    assert runs + 1 == daemon.metric("perfmon_probe_runs_total", probe="backup", result="success")
    push(daemon, success="false", error=f"<script> {TOKEN} " + "x" * 3000)
    message = last_run(daemon)["failure"]["message"]
    assert message.startswith("<script> ")
    assert TOKEN not in message
    assert len(message) <= 1000
    eventually(lambda: [one["state"] for one in daemon.alerts()] == ["firing"], "the rule is about it")


def test_b02_silence_is_a_failure_and_one_push_recovers(daemon):
    eventually(lambda: daemon.metric("probe_success", probe="brisk") == 0.0, "silence is a failure")
    assert "timeout" == last_run(daemon, "brisk/job")["failure"]["reason"]

    assert 200 == push(daemon, key="brisk/job")[0]
    eventually(lambda: (daemon.metric("perfmon_probe_runs_total", probe="brisk", result="success") or 0) > 0, "back")


def test_pages_of_other_sites_are_refused_and_those_who_push_too_fast(daemon):
    assert 403 == push(daemon, headers={"Origin": "http://evil.example"})[0]
    assert 429 in {push(daemon, key="brisk/job")[0] for _ in range(100)}


def test_a_push_outlives_a_restart(daemon):
    push(daemon, success="false", error="of the former life")
    eventually(lambda: last_run(daemon)["failure"]["message"] == "of the former life", "taken in")
    kept = last_run(daemon)
    before = daemon.metric("perfmon_state_store_errors_total")
    daemon.stop()
    daemon.start()

    eventually(lambda: last_run(daemon), "known again")
    assert kept["failure"] == last_run(daemon)["failure"]
    assert kept["at"] == pytest.approx(last_run(daemon)["at"], abs=1.0)
    assert not before


def past(check, last_at=None):
    last = None if last_at is None else Measurement(
        target=check.target, module="cron", at=last_at, duration_s=0.0, phases={}, facts={}
    )  # fmt: skip
    return SimpleNamespace(check=check, since=100.0, last=last)


@pytest.mark.parametrize(
    ("last_at", "now", "started_at", "fails"),
    [
        (None, 129.0, 0.0, False),
        (None, 130.0, 0.0, True),
        (120.0, 149.0, 0.0, False),
        (120.0, 150.0, 0.0, True),
        (20.0, 129.0, 100.0, False),
        (20.0, 130.0, 100.0, True),
    ],
    ids=["never, early", "never", "heard", "silent", "due while it was down", "and still silent"],
)
def test_b02_thirty_seconds_of_silence_count_from_the_last_push_and_not_while_perfmon_was_down(
    last_at, now, started_at, fails
):
    document = {
        "modules": {"cron": {"prober": "push", "push": {"token": TOKEN}}},
        "probes": [{"name": "backup", "module": "cron", "interval": "30s", "targets": ["db1"]}],
    }
    (check,) = config.from_mapping(document).checks
    missed = overdue(past(check, last_at), now, started_at)

    assert fails == (missed is not None)
    assert missed is None or missed.failure.message == "no push came for 30s"


@pytest.mark.parametrize("duration", ["-1s", "inf", "nan", "1s1s", "500d"])
def test_a_duration_is_one_or_refused(duration):
    with pytest.raises(ValueError, match='parameter "duration"'):
        pushed("true", duration, "")


def test_what_means_nothing_to_a_push_is_a_mistake_and_so_is_a_short_token(tmp_path):
    file = tmp_path / "perfmon.yml"
    file.write_text(CONFIG.replace("another-token-of-16", "short").replace("interval: 1s", "interval: 1s, timeout: 1s"))

    with pytest.raises(ConfigError) as raised:
        config.load([file], env={"PUSH_TOKEN": TOKEN})
    assert "modules.other.push.token: expected at least 16 printable characters of ASCII" in str(raised.value)
    assert 'probes[1].timeout: has no effect, since the prober is "push"' in str(raised.value)


@pytest.mark.parametrize("kind", kinds.names("probes"))
def test_no_other_kind_is_taken_for_one_whose_results_are_pushed(kind):
    """A check that were would never be probed again; a name that a kind merely imports is enough for that."""
    (check,) = config.from_mapping({"probes": [{"name": "shop", "targets": ["http://a/"]}]}).checks
    module = replace(check.module, kind=kind)

    assert (kind == "push") == is_pushed(replace(check, module=module))
