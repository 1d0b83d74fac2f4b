"""The answers behind the page: what they say, and that nobody waits for them."""

import asyncio

import msgspec
import pytest
from msgspec.structs import replace

from perfmon.clock import ManualClock, SystemClock
from perfmon.model import Check, Failure, Measurement, Module, Target
from perfmon.monitor import status
from perfmon.monitor.series import Series

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
