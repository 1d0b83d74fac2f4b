"""Targets that come and go under a running daemon: who stays goes on as it was, and nothing is left of who went."""

import asyncio
import gc
import json
import threading
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace
from servers import answer, http, serve, unused_port
from structlog.testing import capture_logs

from perfmon import config
from perfmon.clock import SystemClock
from perfmon.monitor.daemon import Daemon
from perfmon.monitor.series import CheckSeries

CONFIG = """
probes:
  - name: shop
    module: tcp_connect
    interval: {interval}
    tags: [web, shop]
    targets: ["127.0.0.1:9"]
    discover: [{{file: {{paths: [targets.json]}}}}]
rules:
  - {{name: Down, select: {{probe: shop, tag: web}}, threshold: rate < 50% over 1m}}
web: {{listen: ["127.0.0.1:0"]}}
state: {{path: "{state}"}}
limits: {{targets: {limit}}}
"""


@pytest.fixture(autouse=True)
def collector():
    """A daemon sets Python's garbage collector for itself, and here it is a guest."""
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


class Shop:
    """A configuration with a file of targets, which is looked at every 20 ms."""

    def __init__(self, folder: Path, interval="100ms", state="", limit=10_000):
        self.folder = folder
        self.text = CONFIG.format(interval=interval, state=state and folder / state, limit=limit)
        self.refresh_s = 0.02

    def name(self, *targets: str, **labels: str) -> None:
        self.write(json.dumps([{"targets": targets, "labels": labels}]))

    def write(self, text: str) -> None:
        new = self.folder / "new"
        new.write_text(text)
        new.replace(self.folder / "targets.json")

    def __call__(self):
        path = self.folder / "perfmon.yml"
        path.write_text(self.text)
        read = config.load([path])
        return replace(read, discoveries=tuple(replace(one, refresh_s=self.refresh_s) for one in read.discoveries))


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path)


@asynccontextmanager
async def running(source, network):
    stop = asyncio.Event()
    daemon = Daemon(source, source(), clock=SystemClock(), network=network)
    life = asyncio.create_task(daemon.watch(stop))
    await until(lambda: daemon.watching, "the daemon watches")
    try:
        yield daemon
    finally:
        stop.set()
        await life


async def until(true, what, within_s=10.0):
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.01)


def watched(daemon):
    return sorted(key.removeprefix("shop/") for key in daemon.series.checks)


def value(daemon, name, **labels):
    return daemon.instruments.registry.get_sample_value(name, {"probe": "shop", "kind": "file"} | labels)


async def page(daemon):
    return (await daemon.exposition.scrape())[0].decode()


async def test_targets_come_and_go_and_those_that_stay_go_on_as_they_were(shop, network):
    """S01, S07, S14."""
    async with serve(http(answer())) as port, running(shop, network) as daemon:
        stays, comes = f"127.0.0.1:{port}", f"127.0.0.1:{unused_port()}"
        shop.name(stays)
        await until(lambda: stays in watched(daemon), "it is watched")
        await until(lambda: daemon.series.checks[f"shop/{stays}"].runs >= 2, "it has run")
        before = daemon.series.checks[f"shop/{stays}"]
        entry = daemon.runs._entries[f"shop/{stays}"]
        runs = before.runs

        shop.name(stays, comes)
        await until(lambda: comes in watched(daemon), "the other is watched")
        await until(lambda: "Down" in [one.rule for one in firing(daemon, comes)], "its alert fires")
        assert daemon.series.checks[f"shop/{stays}"] is before
        assert daemon.runs._entries[f"shop/{stays}"] is entry
        assert before.runs >= runs

        shop.name(stays)
        await until(lambda: comes not in watched(daemon), "the other is gone")
        text = await page(daemon)
        assert comes not in text
        assert stays in text
        assert [] == firing(daemon, comes)
        assert f"shop/{comes}" not in daemon.runs.schedule.grid
        assert (1.0, 0.0) == (value(daemon, "perfmon_discovery_targets"), value(daemon, "perfmon_discovery_refused_targets"))  # fmt: skip


def firing(daemon, target):
    return [one for one in daemon.rules.alerts() if one.labels["target"] == target and one.state == "firing"]


async def test_a_broken_source_keeps_its_targets_is_said_once_and_counted(shop, network):
    async with running(shop, network) as daemon:
        shop.name("127.0.0.1:1")
        await until(lambda: len(watched(daemon)) == 2, "it is watched")
        with capture_logs() as lines:
            shop.write("[")
            await until(lambda: value(daemon, "perfmon_discovery_refreshes_total", outcome="failed") >= 3, "it fails")
            still = watched(daemon)
            shop.name()
            await until(lambda: len(watched(daemon)) == 1, "an empty list is an answer")
        events = [line["event"] for line in lines if line["event"].startswith("discovery")]

    assert ["127.0.0.1:1", "127.0.0.1:9"] == still
    assert ["discovery fails, the targets known last go on", "discovery recovered"] == events


async def test_a_bad_target_is_refused_and_the_others_are_watched(shop, network):
    async with running(shop, network) as daemon:
        with capture_logs() as lines:
            shop.name("127.0.0.1:1", "nonsense")
            await until(lambda: len(watched(daemon)) == 2, "the good one is watched")
            await until(lambda: value(daemon, "perfmon_discovery_refreshes_total", outcome="partial") >= 3, "counted")

        assert 1.0 == value(daemon, "perfmon_discovery_refused_targets")
    (said,) = [line for line in lines if line["event"] == "targets refused"]
    assert [f'{shop.folder}/targets.json [0].targets[1]: expected host:port, got "nonsense"'] == said["why"]


async def test_more_targets_than_allowed_are_left_out_in_words(tmp_path, network):
    shop = Shop(tmp_path, limit=3)
    with capture_logs() as lines:
        async with running(shop, network) as daemon:
            shop.name(*(f"127.0.0.1:{port}" for port in range(1, 6)))
            await until(lambda: len(watched(daemon)) == 3, "as many as allowed")

            assert (2.0, 3.0) == (value(daemon, "perfmon_discovery_targets"), value(daemon, "perfmon_discovery_refused_targets"))  # fmt: skip
    assert [(3, 3)] == [(line["left_out"], line["limit"]) for line in lines if "left_out" in line]


async def test_of_too_many_targets_those_that_are_watched_go_on_in_whatever_order_they_are_named(tmp_path, network):
    shop = Shop(tmp_path, limit=3)
    many = [f"127.0.0.1:{port}" for port in range(1, 6)]
    shop.name(*many)
    async with running(shop, network) as daemon:
        await until(lambda: len(watched(daemon)) == 3, "as many as are allowed")
        before = watched(daemon)
        shop.name(*reversed(many), "127.0.0.1:7")
        await until(lambda: value(daemon, "perfmon_discovery_refused_targets") == 4, "the other list is read")

        assert before == watched(daemon)


async def test_a_reload_of_something_else_leaves_discovered_targets_as_they_are(shop, network):
    """S14."""
    async with running(shop, network) as daemon:
        shop.name("127.0.0.1:1", "127.0.0.1:2")
        await until(lambda: len(watched(daemon)) == 3, "they are watched")
        before = dict(daemon.series.checks)
        shop.text = shop.text.replace('"127.0.0.1:9"', '"127.0.0.1:8"')
        assert [] == await daemon.reload()

        assert ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:8"] == watched(daemon)
        assert all(daemon.series.checks[key] is before[key] for key in ("shop/127.0.0.1:1", "shop/127.0.0.1:2"))


async def test_a_reload_that_looks_elsewhere_has_the_former_targets_until_the_first_answer(shop, network):
    async with running(shop, network) as daemon:
        shop.name("127.0.0.1:1")
        await until(lambda: len(watched(daemon)) == 2, "it is watched")
        shop.text = shop.text.replace("targets.json", "elsewhere.json")
        failed = value(daemon, "perfmon_discovery_refreshes_total", outcome="failed")
        await daemon.reload()
        await until(
            lambda: value(daemon, "perfmon_discovery_refreshes_total", outcome="failed") >= failed + 2, "it fails"
        )
        assert ["127.0.0.1:1", "127.0.0.1:9"] == watched(daemon)
        (shop.folder / "elsewhere.json").write_text('[{"targets": ["127.0.0.1:2"]}]')
        await until(lambda: watched(daemon) == ["127.0.0.1:2", "127.0.0.1:9"], "the new ones are watched")


async def test_a_reload_without_the_source_takes_its_targets_and_its_series_away(shop, network):
    async with running(shop, network) as daemon:
        shop.name("127.0.0.1:1")
        await until(lambda: len(watched(daemon)) == 2, "it is watched")
        shop.text = shop.text.replace("discover: [", "x: [").replace("    x: [{file: {paths: [targets.json]}}]\n", "")
        assert [] == await daemon.reload()

        assert ["127.0.0.1:9"] == watched(daemon)
        assert "perfmon_discovery_targets{" not in await page(daemon)


async def test_an_alert_of_a_discovered_target_survives_a_restart_and_ends_when_the_target_does_not_come(tmp_path, network):  # fmt: skip
    shop = Shop(tmp_path, state="state.sqlite3")
    shop.name("127.0.0.1:1", "127.0.0.1:2")
    async with running(shop, network) as daemon:
        await until(lambda: all(firing(daemon, f"127.0.0.1:{port}") for port in (1, 2)), "both fire")
        fired_at = daemon.clock.wall()
    shop.name("127.0.0.1:1")
    shop.refresh_s = 0.02
    async with running(shop, network) as daemon:
        await until(lambda: len(watched(daemon)) == 2, "it is watched again")
        await until(lambda: not firing(daemon, "127.0.0.1:2"), "what does not come is over")
        (alert,) = firing(daemon, "127.0.0.1:1")

        assert fired_at >= daemon.clock.wall() - (daemon.clock.monotonic() - alert.fired_at)


async def test_targets_are_watched_after_a_restart_while_their_source_is_away(tmp_path, network):
    """Their alerts go on; and what the source does not name when it is back is over."""
    shop = Shop(tmp_path, state="state.sqlite3")
    shop.name("127.0.0.1:1", "127.0.0.1:2", "tcp://somebody:hush@127.0.0.1:3", env="prod", __meta_dc="x")
    async with running(shop, network) as daemon:
        await until(lambda: all(firing(daemon, f"127.0.0.1:{port}") for port in (1, 2)), "both fire")
        await asyncio.sleep(0.1)
        fired_at = daemon.clock.wall()
    kept = (tmp_path / "state.sqlite3").read_bytes()
    (tmp_path / "targets.json").unlink()
    async with running(shop, network) as daemon:
        assert ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:9"] == watched(daemon)
        (alert,) = firing(daemon, "127.0.0.1:2")
        assert "prod" == alert.labels["env"]
        assert fired_at >= daemon.clock.wall() - (daemon.clock.monotonic() - alert.fired_at)
        await until(lambda: value(daemon, "perfmon_discovery_refreshes_total", outcome="failed"), "the source fails")
        await asyncio.sleep(0.1)
        assert 3 == len(watched(daemon))

        shop.name("127.0.0.1:1")
        await until(lambda: len(watched(daemon)) == 2, "what it does not name is gone")
        assert [] == firing(daemon, "127.0.0.1:2")
        assert not any(word in kept for word in (b"hush", b"__meta_dc"))


async def test_what_a_source_found_is_forgotten_with_the_source(tmp_path, network):
    shop = Shop(tmp_path, state="state.sqlite3")
    shop.name("127.0.0.1:1")
    async with running(shop, network) as daemon:
        await until(lambda: daemon._store.found("shop/discover[0]/file"), "it is kept")
        shop.text = "\n".join(line for line in shop.text.splitlines() if "discover" not in line)
        assert [] == await daemon.reload()
        assert () == daemon._store.found("shop/discover[0]/file")


async def test_two_thousand_targets_that_come_and_go_twenty_times_leave_nothing_behind(tmp_path, network):
    shop = Shop(tmp_path, interval="1h")
    many = [f"127.0.0.1:{port}" for port in range(10_000, 12_000)]
    async with running(shop, network) as daemon:
        left = []
        for _ in range(20):
            shop.name(*many)
            await until(lambda: len(watched(daemon)) == 2_001, "all are watched", 30)
            shop.name()
            await until(lambda: len(watched(daemon)) == 1, "none is left", 30)
            await asyncio.sleep(0.03)
            left.append(remains(daemon))

        gc.unfreeze()
        gc.collect()
        pasts = [one for one in gc.get_objects() if isinstance(one, CheckSeries)]

    descriptors = [of.pop("descriptors") for of in left]
    assert [left[0]] * 19 == left[1:]
    assert abs(descriptors[-1] - descriptors[0]) < 10  # some are open at any time, for a look or a probe
    assert ["shop/127.0.0.1:9"] == [past.check.key for past in pasts]


def remains(daemon):
    """What there is of everything that a target has."""
    schedule = daemon.runs.schedule
    return {
        "plans": len(schedule.grid),
        "timers": len([timer for timer in schedule._timers if timer.when() > asyncio.get_running_loop().time() + 5]),
        "sources": len(daemon.exposition._sources),
        "series": len(daemon.rules._series),
        "checks": len(daemon._checks),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "threads": len([one for one in threading.enumerate() if one.name == "perfmon-discovery"]),
        "tasks": len([task for task in asyncio.all_tasks() if "_watch" in repr(task.get_coro())]),
    }
