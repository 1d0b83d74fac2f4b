"""A config taken while the daemon runs, or not taken: what goes on and what is said."""

import asyncio
import gc
import json
import math
import re
import sqlite3
from contextlib import asynccontextmanager, closing

import pytest
from msgspec.structs import replace
from servers import serve
from structlog.testing import capture_logs

from perfmon import config, kinds
from perfmon.clock import SystemClock, to_wall
from perfmon.config import Config, State
from perfmon.measure import Reading
from perfmon.model import Failure, Measurement, Receiver, Rule, Sample, Sampler
from perfmon.monitor import store
from perfmon.monitor.daemon import Daemon

THRESHOLD = kinds.load("conditions", "threshold")
LOAD = Sample(name="perfmon_host_load1", value=9.0)


@pytest.fixture(autouse=True)
def collector():
    """A daemon sets Python's garbage collector for itself, and here it is a guest."""
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


def watching(*urls: str) -> Config:
    read = config.from_urls(urls)
    return replace(read, web=replace(read.web, listen=("127.0.0.1:0",)), state=State(path=""))


ONE, OTHER = watching("127.0.0.1:1"), watching("127.0.0.1:2")


class Source:
    """What the files say."""

    def __init__(self, said):
        self.said = said

    def __call__(self):
        if isinstance(self.said, Exception):
            raise self.said
        return self.said


@asynccontextmanager
async def running(source, network):
    stop = asyncio.Event()
    daemon = Daemon(source, source(), clock=SystemClock(), network=network)
    life = asyncio.create_task(daemon.watch(stop))
    while not daemon.watching:  # noqa: ASYNC110 - what a user can see, too, is asked for again
        await asyncio.sleep(0.01)
    try:
        yield daemon
    finally:
        stop.set()
        await life


def watched(daemon):
    return sorted([*daemon.series.checks, *daemon.series.samplers])


def defects(daemon):
    return daemon.instruments.registry.get_sample_value("perfmon_defects_total", {"where": "reload"})


def successful(daemon):
    return daemon.instruments.registry.get_sample_value("perfmon_config_last_reload_successful")


async def test_a_config_whose_sampler_does_not_open_changes_nothing(network):
    source = Source(ONE)
    async with running(source, network) as daemon:
        before = watched(daemon)
        broken = Sampler(name="broken", kind="process", interval_s=1.0, config="no config")
        source.said = replace(OTHER, samplers=(broken,))
        problems = await daemon.reload()

        assert ["this is a defect of perfmon's own; its log says more"] == problems
        assert before == watched(daemon)
        assert ONE == daemon.config
        assert (1.0, 0.0) == (defects(daemon), successful(daemon))

        source.said = OTHER
        assert [] == await daemon.reload()
        assert "tcp/127.0.0.1:2" in watched(daemon)
        assert 1.0 == successful(daemon)


async def test_a_source_with_a_defect_is_counted_and_the_old_config_goes_on(network):
    source = Source(ONE)
    async with running(source, network) as daemon:
        source.said = RuntimeError("boom")

        assert ["this is a defect of perfmon's own; its log says more"] == await daemon.reload()
        assert (1.0, 0.0) == (defects(daemon), successful(daemon))


async def test_a_config_that_comes_when_the_end_has_begun_is_not_taken(network):
    source = Source(ONE)
    async with running(source, network) as daemon:
        pass
    source.said = OTHER

    assert ["perfmon is stopping"] == await daemon.reload()
    assert "tcp/127.0.0.1:1" in watched(daemon)


async def test_what_waits_for_a_restart_is_said_for_as_long_as_it_waits(network):
    elsewhere = replace(ONE, web=replace(ONE.web, listen=("127.0.0.1:1",)), limits=replace(ONE.limits, series=7))
    source = Source(ONE)
    said = []
    async with running(source, network) as daemon:
        for source.said in (elsewhere, elsewhere, ONE):
            with capture_logs() as lines:
                await daemon.reload()
            said.append([line["setting"] for line in lines if "setting" in line])

    assert [["web.listen", "limits.series"], ["web.listen", "limits.series"], []] == said


# ---------------------------------------------------------------- what a restart goes on from


def rarely(path, *, interval_s=3600.0, **how) -> Config:
    [check] = ONE.checks
    return replace(ONE, checks=(replace(check, interval_s=interval_s, **how),), state=State(path=str(path)))


def seen(daemon, *, at, failure=None):
    """Have a run of the one check."""
    [check] = daemon.config.checks
    measurement = Measurement(
        target=check.target,
        module=check.module.name,
        at=at,
        duration_s=0.25,
        phases={"connect": 0.25},
        facts={"probe_ip_protocol": 4.0},
        failure=failure,
    )
    daemon.observe(check, measurement)


async def page(daemon):
    return [line for line in (await daemon.exposition.scrape())[0].decode().splitlines() if line[0] != "#"]


def valued(lines, name):
    return [float(line.split()[-1]) for line in lines if line.startswith(name)]


CLOSED = Failure(reason="closed", phase="request", message="closed")


async def test_the_last_result_of_an_hourly_check_is_shown_again_after_a_restart(network, tmp_path):
    """In the spirit of case S05: no hole between two runs, and no stamp that would let a value go stale."""
    clock, config_ = SystemClock(), rarely(tmp_path / "state")
    at = clock.monotonic() - 1800.0
    async with running(Source(config_), network) as daemon:
        seen(daemon, at=at)
        before = await page(daemon)
    async with running(Source(config_), network) as daemon:
        after = await page(daemon)
        [past] = daemon.series.checks.values()

    about = ("probe_", "perfmon_probe_phase")
    assert [line for line in before if line.startswith(about)] == [line for line in after if line.startswith(about)]
    ran, runs = "perfmon_probe_last_run_timestamp_seconds", "perfmon_probe_runs_total"
    assert valued(before, ran) == [pytest.approx(clock.wall() - 1800.0, abs=60.0)]
    assert valued(before, ran) == [pytest.approx(one, abs=0.1) for one in valued(after, ran)]
    assert ([1.0], [0.0]) == (valued(before, runs), valued(after, runs))
    assert all(2 == len(line.rpartition("}")[2].split(" ")) for line in after if "{" in line)
    assert (True, pytest.approx(at, abs=0.1), 0) == (past.last.success, past.last.at, past.runs)


@pytest.mark.parametrize(
    ("age_s", "former", "now"),
    [
        pytest.param(7300.0, {}, {}, id="older-than-two-intervals"),
        pytest.param(10.0, {}, {"interval_s": 5.0}, id="runs-again-soon-anyway"),
        pytest.param(10.0, {"module": "other"}, {}, id="of-another-module"),
    ],
)
async def test_a_result_that_says_nothing_of_today_is_not_shown(network, tmp_path, age_s, former, now):
    path = tmp_path / "state"
    [check] = ONE.checks
    async with running(
        Source(rarely(path, **{"module": replace(check.module, name="other")} if former else {})), network
    ) as daemon:
        seen(daemon, at=SystemClock().monotonic() - age_s)
    async with running(Source(rarely(path, **now)), network) as daemon:
        assert [] == [line for line in await page(daemon) if line.startswith("probe_success")]


async def test_what_failed_before_the_restart_is_rechecked_after_it(network, tmp_path):
    """Nothing listens there, so the rechecks fail as well."""
    config_ = rarely(tmp_path / "state", interval_failing_s=0.1)
    async with running(Source(config_), network) as daemon:
        seen(daemon, at=SystemClock().monotonic() - 60.0, failure=CLOSED)
    async with running(Source(config_), network) as daemon:
        await asyncio.sleep(0.5)
        [rechecks] = [line for line in await page(daemon) if line.startswith("perfmon_probe_rechecks_total")]

    assert 'reason="connect_refused"' in rechecks
    assert float(rechecks.split()[-1]) >= 2


async def test_results_of_what_is_no_longer_watched_are_forgotten(network, tmp_path):
    source = Source(rarely(tmp_path / "state"))
    async with running(source, network) as daemon:
        seen(daemon, at=SystemClock().monotonic())
        await daemon._keep()
        assert 1 == len(daemon._store.with_results())
        source.said = replace(source.said, checks=OTHER.checks)
        assert [] == await daemon.reload()
        assert [] == daemon._store.with_results()


# ---------------------------------------------------------------- what is gone


async def test_numbers_about_rules_and_receivers_that_are_gone_leave_the_page(network):
    webhook = Receiver(name="pager", kind="log", config=kinds.load("receivers", "log").Config())
    source = Source(replace(ONE, receivers=(*ONE.receivers, webhook)))
    async with running(source, network) as daemon:
        [check] = ONE.checks
        daemon.observe(check, failed_run(check))
        for outcome in ("sent", "failed"):
            daemon.instruments.notifications.labels("pager", outcome).inc()
        before = await shown(daemon)
        source.said = replace(ONE, rules=(replace(ONE.rules[0], name="Other"),))
        assert [] == await daemon.reload()
        after = await shown(daemon)

    assert 'perfmon_rule_evaluations_total{rule="ProbeDown"}' in before
    assert 'perfmon_notifications_total{receiver="pager",outcome="sent"}' in before
    assert "ProbeDown" not in after
    assert "pager" not in after


async def shown(daemon):
    """The page as it is scraped."""
    body, _ = await daemon._face().scrape("", "")
    return body.decode()


async def test_an_alert_that_waits_for_a_sampler_ends_with_it_and_not_an_hour_later(network, tmp_path):
    """Its series has not come back since the restart when a reload takes the sampler away."""
    rule = Rule(name="Busy", kind="threshold", config=THRESHOLD.parse("last < 1"), metric="perfmon_host_load1")
    slow = Sampler(name="slow", kind="host", interval_s=3600.0, config=kinds.load("samplers", "host").Config())
    config_ = replace(ONE, samplers=(slow,), rules=(rule,), state=State(path=str(tmp_path / "state")))
    async with running(Source(config_), network) as daemon:
        reading = Reading(sampler=slow, at=SystemClock().monotonic(), duration_s=0.0, samples=(LOAD,))
        daemon.observe_reading(slow, reading)
        assert ["firing"] == [alert.state for alert in daemon.rules.alerts()]
    source = Source(config_)
    async with running(source, network) as daemon:
        assert ["firing"] == [alert.state for alert in daemon.rules.alerts()]
        source.said = replace(config_, samplers=())
        assert [] == await daemon.reload()
        assert [] == daemon.rules.alerts()


# ---------------------------------------------------------------- thousands


async def test_no_reload_and_no_keeping_of_thousands_holds_up_the_others(network, tmp_path):
    many = watching(*[f"127.0.0.1:{port}" for port in range(10_000, 12_000)])
    rule = Rule(name="Down", kind="threshold", config=THRESHOLD.parse("last < 1"))
    checks = tuple(replace(check, interval_s=3600.0) for check in many.checks)
    many = replace(many, checks=checks, rules=(rule,), receivers=(), state=State(path=str(tmp_path / "state")))
    source = Source(many)
    async with running(source, network) as daemon:
        for check in many.checks:
            daemon.observe(check, failed_run(check))
        source.said = replace(many, rules=(replace(rule, name="Other"),))
        another_rule = await turns_during(daemon.reload())
        source.said = replace(source.said, checks=tuple(replace(check, interval_s=1800.0) for check in checks))
        another_interval = await turns_during(daemon.reload())
        keeping = await turns_during(daemon._keep())
        kept = len(daemon._store.with_results())

    assert 2_000 == kept
    assert min(another_rule, another_interval, keeping) > 25


async def turns_during(work):
    """How often others got their turn on the event loop."""
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await work
    counting.cancel()
    return turns


# ---------------------------------------------------------------- a state file that comes late


async def test_a_state_file_that_is_not_there_at_the_start_is_read_when_it_comes(network, tmp_path, monkeypatch):
    """A disk that was not mounted: the alert goes on as of then, the last result shows, and what was unsent is sent."""
    monkeypatch.setattr(store, "RETRY_S", 0.05)
    heard = []
    disk, place = tmp_path / "disk", tmp_path / "mounted"
    async with serve(collecting(heard)) as port:
        webhook = kinds.load("receivers", "webhook").Config(url=f"http://127.0.0.1:{port}/")
        rule = Rule(name="Down", kind="threshold", config=THRESHOLD.parse("last < 1"))
        config_ = rarely(place / "state")
        config_ = replace(config_, rules=(rule,), receivers=(Receiver(name="pager", kind="webhook", config=webhook),))
        place.symlink_to(disk)
        disk.mkdir()
        async with running(Source(config_), network) as daemon:
            [check] = config_.checks
            daemon.observe(check, failed_run(check))
            [fired] = daemon.rules.alerts()
            fired_at = to_wall(daemon.clock, fired.fired_at)
            while not heard:  # noqa: ASYNC110 - what arrived is asked for again
                await asyncio.sleep(0.01)
        place.unlink()
        place.write_text("no folder")
        with closing(sqlite3.connect(disk / "state")) as db:
            db.execute("INSERT INTO outbox SELECT 'pager', 'x', ?", (UNSENT,))
            db.commit()
        async with running(Source(config_), network) as daemon:
            assert [] == daemon.rules.alerts()
            await asyncio.sleep(0.1)
            place.unlink()
            place.symlink_to(disk)
            while not daemon.rules.alerts() or len(heard) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            [alert] = daemon.rules.alerts()
            text = await page(daemon)

    assert ("firing", pytest.approx(fired_at, abs=0.01)) == (alert.state, to_wall(daemon.clock, alert.fired_at))
    assert ["0.0"] == [line.split()[-1] for line in text if line.startswith("probe_success{")]
    assert ["Down", "Other"] == [one["alerts"][0]["labels"]["alertname"] for one in heard]


UNSENT = b'[{"labels": {"alertname": "Other"}, "annotations": {}, "why": "", "starts_at": 1.0}]'


def collecting(heard):
    """A receiver that keeps what it is told."""

    async def receive(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
        heard.append(json.loads(await reader.readexactly(length)))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    return receive


# ---------------------------------------------------------------- one of a thousand


async def test_a_reload_of_one_in_a_thousand_leaves_the_others_alone(network):
    """Case S14: counters, phase and alert state; and S07: what the removed one had is gone at once."""
    addresses = [f"127.0.0.1:{port}" for port in range(10_000, 11_000)]
    rule = Rule(name="Down", kind="threshold", config=kinds.load("conditions", "threshold").parse("last < 1"))
    many = replace(watching(*addresses), rules=(rule,))
    many = replace(many, checks=tuple(replace(check, interval_s=3600.0) for check in many.checks))
    changed, *others = many.checks
    source = Source(many)
    async with running(source, network) as daemon:
        for check in many.checks:
            daemon.observe(check, failed_run(check))
        before = [state_of(daemon, check) for check in others]
        source.said = replace(many, checks=(replace(changed, interval_s=1800.0), *others[:-1]))
        assert [] == await daemon.reload()
        after = [state_of(daemon, check) for check in others]
        gone = others[-1].target.address
        left = [line for line in await page(daemon) if f'target="{gone}"' in line]

    assert 999 == len(before)
    assert before[:-1] == after[:-1]
    assert {"firing"} == {state for *_, state in after[:-1]}
    assert [] == left
    assert (None, 0, None) == after[-1]


def failed_run(check):
    return Measurement(
        target=check.target, module=check.module.name, at=SystemClock().monotonic(), duration_s=0.1, phases={}, facts={}, failure=CLOSED
    )  # fmt: skip


def state_of(daemon, check):
    """When it is due next, how many runs it has counted, and its alert."""
    grid, now = daemon.runs.schedule.grid, 1e6 + daemon.started_at
    due = next(grid.due_times(check.key, now, math.inf)) if check.key in grid else None
    past = daemon.series.checks.get(check.key)
    states = [alert.state for alert in daemon.rules.alerts() if alert.series == check.key]
    return due, past.runs if past else 0, *(states or [None])
