"""`perfmon alerts`: what a daemon says, what its state file says after it, and a real message by the config."""

import json
import re

import msgspec
import pytest
from click.testing import CliRunner
from daemon import eventually, perfmon, service
from listener import Answer, Listener

from perfmon.cli import run
from perfmon.commands.alerts import command
from perfmon.errors import PerfmonError, UsageError


def said(*arguments):
    result = CliRunner().invoke(command, list(arguments), standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.output


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A daemon with an alert that fires, of which one receiver took the news, one refused it and one is away."""
    folder = tmp_path_factory.mktemp("alerts")
    with service() as shop, Listener() as well, Listener(lambda _: Answer(404)) as wrong, Listener() as away:
        away.answer = lambda _request: Answer(503, {"Retry-After": "60"}, b"overloaded\x1b[2J")
        shop.status = 500
        settings = {
            "probes": [
                {"name": name, "interval": "200ms", "timeout": "150ms", "targets": [shop.url]}
                for name in ("shop", "backup")
            ],
            "rules": [
                {
                    "name": "ShopDown",
                    "select": {"probe": "shop"},
                    "threshold": "last < 1",
                    "annotations": {"escalation_policy": "first ops\nthen the owner"},
                },
                {"name": "Soon", "select": {"probe": "shop"}, "threshold": "last < 1", "for": "1h"},
                {"name": "Waits", "select": {"probe": "backup"}, "threshold": "last < 1"},
            ],
            "maintenance": [{"name": "move", "cron": "* * * * *", "duration": "1h", "select": {"probe": "backup"}}],
            "receivers": [
                {"name": name, "webhook": {"url": f"{hook.url}/s3cret-path"}}
                for name, hook in (("well", well), ("wrong", wrong), ("away", away))
            ],
        }
        (folder / "perfmon.yml").write_bytes(msgspec.json.encode(settings))
        with perfmon(folder, "--config.file=perfmon.yml", "--state.path=state") as daemon:
            eventually(lambda: away.requests and wrong.requests and well.requests, "all were told")
            eventually(
                lambda: "FAILED" in said("--url", daemon.url) and "waiting" in said("--url", daemon.url), "noted"
            )
            yield folder, daemon


def test_a_list_for_eighty_columns_says_who_was_told_and_who_waits(world):
    _, daemon = world

    lines = said("--url", daemon.url).splitlines()

    assert re.match(r"firing   \S+ +critical ShopDown  shop http://127\.0\.0\.1:\d+$", lines[0])
    assert "         told: well; waiting: away; FAILED: wrong" == lines[2]
    assert lines[3].startswith("pending ")
    assert re.fullmatch(r' {9}held back: maintenance "move" until \S+:00\.000Z', lines[-1])
    assert max(map(len, lines)) <= 80


def test_it_explains_why_since_when_and_what_came_of_telling_each(world):
    _, daemon = world

    text = said("explain", "ShopDown", "--url", daemon.url)

    flat = " ".join(text.split())
    assert re.search(r"^ShopDown  firing since \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", text)
    assert "told well: firing sent" in flat
    assert "answered 404" in flat
    assert re.search(r"held away has yet to hear: firing, next try in \d+", flat)
    assert "answered 503: overloaded\\x1b[2J" in text.replace("\n              ", " ")
    assert "s3cret" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert "\n  escalation_policy first ops\n              then the owner\n" in text
    assert "not broken for long enough yet" in said("explain", "Soon", "--url", daemon.url)


def test_as_json_it_is_what_the_page_says(world):
    _, daemon = world
    [found] = json.loads(said("explain", "ShopDown", "--url", daemon.url, "--json"))

    assert found["labels"] == next(one["labels"] for one in daemon.alerts() if one["rule"] == "ShopDown")
    assert {"well": "sent", "wrong": "failed", "away": "retried"} == {
        one["to"]: one["outcome"] for one in found["told"]
    }
    assert [found] == json.loads(said("explain", found["fingerprint"], "--url", daemon.url, "--json")) or found[
        "waiting"
    ]


def test_the_state_file_says_the_same_beside_the_daemon_and_after_it(world):
    folder, daemon = world
    of_daemon = json.loads(said("--url", daemon.url, "--json"))["alerts"]
    state = str(folder / "state")

    def of_file():
        return {one["fingerprint"]: one for one in json.loads(said("--state", state, "--json"))["alerts"]}

    eventually(lambda: len(of_file()) == len(of_daemon), "written down")
    for alert in of_daemon:
        stored = of_file()[alert["fingerprint"]]
        assert (alert["state"], alert["labels"]) == (stored["state"], stored["labels"])
        assert alert["fired_at"] == pytest.approx(stored["fired_at"], abs=0.01)
        assert {told["to"] for told in alert["told"]} == {told["to"] for told in stored["told"]}
        assert [waiting["to"] for waiting in alert["waiting"]] == [waiting["to"] for waiting in stored["waiting"]]


def test_what_is_no_source_is_said(world, tmp_path, capsys):
    _, daemon = world
    (tmp_path / "text").write_text("this is no state file, but long enough to be one" * 100)

    with pytest.raises(UsageError, match='did you mean "ShopDown"'):
        said("explain", "ShopDwn", "--url", daemon.url)
    with pytest.raises(UsageError, match="either --url or --state"):
        said("--url", daemon.url, "--state", "x")
    with pytest.raises(PerfmonError, match="file is not a database"):
        said("--state", str(tmp_path / "text"))
    with pytest.raises(PerfmonError, match="answered 404"):
        said("--url", f"{daemon.url}/metrics")
    assert 1 == run(["alerts", "--url", "http://127.0.0.1:1/"])
    assert "does not answer: connection refused" in capsys.readouterr().err


# ---------------------------------------------------------------- a real message


@pytest.fixture
def config(tmp_path):
    def write(**receivers):
        written = [{"name": name, **kind} for name, kind in receivers.items()]
        (tmp_path / "perfmon.yml").write_bytes(msgspec.json.encode({"receivers": written}))
        return str(tmp_path / "perfmon.yml")

    return write


def test_a_message_is_sent_and_what_was_answered_is_printed(config, capsys):
    with Listener(lambda _request: Answer(body=b"thank you")) as listener:
        file = config(pager={"webhook": {"url": listener.url}})
        assert 0 == run(["alerts", "test", "pager", "--config", file, "--resolved", "--severity", "warning"])

        assert f"pager: firing was taken: {listener.url}: answered 200: thank you\n" in capsys.readouterr().out
        assert ["firing", "resolved"] == listener.statuses()
        assert {"alertname": "PerfmonTest", "severity": "warning", "receiver": "pager"} == listener.alerts()[0][
            "labels"
        ]


def test_each_address_is_tried_and_one_that_refuses_is_exit_code_1(config, capsys):
    with Listener() as one, Listener(lambda _request: Answer(503, body=b"no")) as other:
        file = config(am={"alertmanager": {"urls": [one.url, other.url]}})
        assert 1 == run(["alerts", "test", "am", "--config", file])

        out, err = capsys.readouterr()
        assert out.startswith(f"am {one.url}: firing was taken: {one.url}: answered 200")
        assert f"am {other.url}: firing was not taken: {other.url}: answered 503: no\n" == err


def test_an_unknown_receiver_is_exit_code_104(config, capsys):
    file = config(pager={"log": {}})

    assert 104 == run(["alerts", "test", "pagr", "--config", file])

    assert 'unknown receiver "pagr", did you mean "pager"?' in capsys.readouterr().err
