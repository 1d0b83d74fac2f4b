"""A config taken while the daemon runs, or not taken: what goes on and what is said."""

import asyncio
import gc
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from perfmon import config
from perfmon.clock import SystemClock
from perfmon.config import Config, State
from perfmon.model import Sampler
from perfmon.monitor.daemon import Daemon


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
