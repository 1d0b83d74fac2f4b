"""The answers behind the page: what they say, and that nobody waits for them."""

import asyncio

import msgspec
import pytest
from msgspec.structs import replace

from perfmon.clock import ManualClock, SystemClock
from perfmon.model import Alert, Check, Confirm, Failure, Measurement, Module, Target
from perfmon.monitor import status
from perfmon.monitor.exemplar import RunId, check_id
from perfmon.monitor.series import Series
from perfmon.probes.http import Config

MODULE = Module(name="http_2xx", kind="http", timeout_s=5.0, config=None)
REFUSED = Failure(reason="connect_refused", phase="connect", message="connection refused")


def check(address="http://shop/"):
    return Check(target=Target(probe="shop", address=address), module=MODULE, interval_s=10.0)


def run(check, at, failure=None):
    return Measurement(
        target=check.target, module="http_2xx", at=at, duration_s=0.2, phases={}, facts={}, failure=failure
    )


@pytest.fixture
def clock():
    return ManualClock()


async def answer(series, clock, minutes=60):
    told = await status.targets(series, clock, started_at=clock.monotonic(), minutes=minutes)
    return msgspec.json.decode(msgspec.json.encode(told))


async def test_the_share_of_success_is_of_the_hour_however_few_minutes_are_asked_for(clock):
    series, shop = Series(clock), check()
    series.add_check(shop)
    for failure in (REFUSED, None, None, None):
        clock.advance(60)
        series.add(shop.key, run(shop, clock.monotonic(), failure))
    [probe] = (await answer(series, clock, minutes=2))["probes"]

    assert (0.75, 4, 1) == (probe["success_ratio"], probe["runs"], probe["failures"])
    assert [1, 1] == [minute["runs"] for minute in probe["history"]]


async def test_the_tries_before_the_one_that_decided_are_shown(clock):
    series, shop = Series(clock), check()
    series.add_check(shop)
    first = run(shop, clock.monotonic(), REFUSED)
    series.add(shop.key, replace(run(shop, clock.monotonic() + 1.0), earlier=(first,)))
    [probe] = (await answer(series, clock))["probes"]

    told = {"at": clock.wall(), "duration_s": 0.2, "reason": "connect_refused", "message": "connection refused"}
    assert ("up", [told]) == (probe["state"], probe["last"]["earlier"])


async def test_one_probe_in_full_has_its_settings_failures_runs_and_its_alerts_alone(clock):
    series, shop = Series(clock), check()
    shop = replace(shop, module=Module(name="m", kind="http", timeout_s=5.0, config=Config(bearer_token="sesame")))
    shop = replace(shop, interval_failing_s=2.0, confirm=Confirm(attempts=3, failures=2))
    series.add_check(shop)
    for failure in (None, REFUSED, REFUSED):
        clock.advance(10)
        series.add(shop.key, run(shop, clock.monotonic(), failure))
    alerts = [Alert(rule=rule, labels={}, series=key) for rule, key in (("Mine", shop.key), ("Other", "x"))]
    told = msgspec.json.decode(msgspec.json.encode(status.target(shop.key, series, alerts, clock)))
    probe = told["probe"]

    assert ["Mine"] == [alert["rule"] for alert in told["alerts"]]
    assert "prober: http\ntimeout: 5s\nhttp:\n  bearer_token: <secret>" == probe["config"]
    assert (2.0, {"attempts": 3, "failures": 2, "pause_s": 0.0}) == (probe["interval_failing_s"], probe["confirm"])
    assert {"runs": 2, "since": clock.wall() - 10} == probe["failing"]
    assert [True, False, False] == [one["success"] for one in probe["recent"]]
    [spell] = probe["failure_spells"]
    assert ("connect_refused", 2, clock.wall() - 10, clock.wall()) == (
        spell["reason"], spell["runs"], spell["first_at"], spell["last_at"],
    )  # fmt: skip
    assert 60 == len(probe["history"])
    assert 3 == sum(minute["runs"] for minute in probe["history"])
    assert pytest.approx([0.2]) == [minute["p99"] for minute in probe["history"] if minute["p99"]]


def test_a_probe_that_is_not_watched_is_none(clock):
    assert (None, []) == tuple(status.target("x", Series(clock), [], clock)[name] for name in ("probe", "alerts"))


async def test_others_get_their_turn_while_a_thousand_targets_are_put_together():
    clock = SystemClock()
    series = Series(clock)
    for number in range(1000):
        series.add_check(check(f"http://shop/{number}"))
    turns = 0

    async def other():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    waiting = asyncio.create_task(other())
    assert 1000 == len((await answer(series, clock))["probes"])
    waiting.cancel()
    assert turns > 10


def test_a_run_is_told_as_far_as_it_is_kept(clock):
    """As the one that stands for its bucket, then as one of the newest twenty, then when it began and no more."""
    series, shop = Series(clock), check()
    series.add_check(shop)
    sought = RunId(check_id(shop.key), round(clock.wall() * 1000))
    series.add(shop.key, replace(run(shop, clock.monotonic()), phases={"tls": 0.125}))

    def told(kept=None):
        shown = status.run(sought, series, lambda key: kept, clock)["run"]
        assert ("shop/http://shop/", clock.wall() - clock.monotonic() + 1000.0) == (shown["key"], shown["at"])
        return tuple(shown[name] for name in ("duration_s", "success", "phases", "reason"))

    assert (0.3, False, {"tls": 0.3}, "status") == told((0.3, sought.at_ms / 1000, {"tls": 0.3}, "status"))
    assert (pytest.approx(0.2), True, {"tls": 0.125}, None) == told()
    for _ in range(20):
        clock.advance(10)
        series.add(shop.key, run(shop, clock.monotonic()))
    assert (None, None, None, None) == told()
    assert status.run(RunId("00000000", 1), series, lambda key: None, clock)["run"] is None


async def test_uptime_is_counted_in_runs_and_an_incident_is_told(clock):
    series = Series(clock)
    shop = replace(check(), module=replace(MODULE, config=Config()))
    series.add_check(shop)
    for failure in (None, None, REFUSED, REFUSED, None, None, None, None):
        clock.advance(900)
        series.add(shop.key, run(shop, clock.monotonic(), failure))
    probe = msgspec.json.decode(msgspec.json.encode(status.target(shop.key, series, [], clock)))["probe"]
    days = msgspec.json.decode(msgspec.json.encode(await status.days(series, clock)))
    [incident] = probe["incidents"]

    assert {"runs": 8, "failures": 2, "success_ratio": 0.75} == probe["uptime"]["24h"] == probe["uptime"]["90d"]
    assert {"runs": 4, "failures": 0, "success_ratio": 1.0} == probe["uptime"]["1h"]
    assert [[1, 0], [1, 0], [1, 1], [1, 1], [1, 0], [1, 0], [1, 0], [1, 0]] == probe["day"]["counts"][-8:]
    assert (900.0, 86_400.0) == (probe["day"]["every_s"], probe["days"]["every_s"])
    assert clock.wall() // 900 * 900 == probe["day"]["from"] + 95 * 900 == days["from"] + 95 * 900
    assert (1800.0, 2, 0.2) == (
        incident["ended_at"] - incident["began_at"], incident["runs"], pytest.approx(incident["p95_before_s"], abs=1e-6),
    )  # fmt: skip
    assert [{"reason": "connect_refused", "phase": "connect", "runs": 2}] == incident["causes"]
    assert ([shop.key], [None, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]) == (
        [one["key"] for one in days["probes"]], days["probes"][0]["failed"][-9:],
    )  # fmt: skip
