"""Runs of probes and samplers as values: deadlines, defects, cancellation, many at once."""

import asyncio
import resource
import sys
import time
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
from probing import outcome, probe_http, probe_tcp
from servers import answer, dripping, endless, http, resetting, serve, silent, unused_port

from perfmon import kinds, measure
from perfmon.clock import SystemClock
from perfmon.model import Confirm, Failure, Module, Sample, Sampler, Target

TARGET = Target(probe="test", address="anywhere")


@pytest.fixture
def kind(monkeypatch):
    """A kind of probe for one test: `kind(function)` gives the module that runs it."""

    def make(function):
        file = ModuleType("perfmon.probes.made_up")
        file.probe = function
        monkeypatch.setitem(sys.modules, file.__name__, file)
        monkeypatch.setattr(kinds, "names", lambda folder: ("made_up",))
        kinds.load.cache_clear()
        return Module(name="made", kind="made_up", timeout_s=0.1, config=None)

    yield make
    kinds.load.cache_clear()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def run(module, network, **how):
    return await measure.probe(TARGET, module, clock=SystemClock(), network=network, **how)


# ---------------------------------------------------------------- confirmation


@pytest.mark.parametrize(
    ("m_of_n", "tries", "result"),
    [
        ((3, 3), "S", "ok"),
        ((3, 3), "FS", "ok"),
        ((3, 3), "FFS", "ok"),  # case D26: the third try is the first that is answered
        ((3, 3), "FFF", "closed"),
        ((2, 3), "FF", "closed"),
        ((2, 3), "FSF", "closed"),
        ((2, 3), "FSS", "ok"),
        ((3, 4), "FFSS", "ok"),
        ((3, 4), "FSFF", "closed"),
        ((2, 5), "FSSSF", "closed"),
        ((2, 2), "FF", "closed"),
    ],
)
async def test_a_run_fails_when_m_of_n_tries_failed_and_no_try_is_made_in_vain(kind, network, m_of_n, tries, result):
    """Cases A01 and A02 within one run. A try too few or too many would end the script or leave some of it."""
    confirm = Confirm(failures=m_of_n[0], attempts=m_of_n[1])
    script = iter(tries)

    async def scripted(target, config, trace):
        return None if next(script) == "S" else Failure(reason="closed", phase="request", message="closed")

    measurement = await measure.confirmed(TARGET, kind(scripted), confirm=confirm, clock=SystemClock(), network=network)

    assert result == outcome(measurement)
    assert [] == list(script)
    made = [*measurement.earlier, measurement]
    assert tries == "".join("S" if one.success else "F" for one in made)
    assert made[0] is measurement.first
    assert [one.at for one in made] == sorted(one.at for one in made)


async def test_a_repetition_waits_for_its_pause(kind, network):
    async def failing(target, config, trace):
        return Failure(reason="closed", phase="request", message="closed")

    confirm = Confirm(attempts=3, failures=3, pause_s=0.05)
    measurement = await measure.confirmed(TARGET, kind(failing), confirm=confirm, clock=SystemClock(), network=network)

    assert 0.1 <= measurement.at - measurement.first.at < 0.3


# ---------------------------------------------------------------- deadlines


async def test_a_probe_that_ignores_its_deadline_is_cut(kind, network):
    async def stuck(target, config, trace):
        trace.add("resolve", 0.001)
        trace.begin("connect")
        await asyncio.sleep(60)

    began = time.monotonic()
    measurement = await run(kind(stuck), network)

    assert time.monotonic() - began < 0.25
    assert "connect_timeout" == measurement.failure.reason
    assert "connect" == measurement.failure.phase
    assert "not over after 100ms" == measurement.failure.message
    assert 0.001 == measurement.phases["resolve"]
    assert 0.1 <= measurement.phases["connect"] < 0.25


async def test_a_shorter_timeout_may_be_given(kind, network):
    async def remaining(target, config, trace):
        trace.facts["remaining"] = trace.remaining()

    measurement = await run(kind(remaining), network, timeout_s=0.05)

    assert 0.04 < measurement.facts["remaining"] <= 0.05


async def test_a_run_that_was_cut_does_not_poison_its_task(kind, network):
    """The cancellation is taken back, so the task that runs many probes goes on."""

    async def stuck(target, config, trace):
        await asyncio.sleep(60)

    module = kind(stuck)
    assert "timeout" == outcome(await run(module, network, timeout_s=0.01))
    assert 0 == asyncio.current_task().cancelling()
    assert "timeout" == outcome(await run(module, network, timeout_s=0.01))


async def test_cancellation_from_outside_passes_through(kind, network):
    async def stuck(target, config, trace):
        await asyncio.sleep(60)

    task = asyncio.create_task(run(kind(stuck), network, timeout_s=30))
    await asyncio.sleep(0.02)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancellation_from_outside_wins_over_the_deadline(kind, network):
    """Cut and cancelled in the same instant: whoever cancelled must not be told that all is well."""

    async def stuck(target, config, trace):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            task.cancel()
            raise

    task = asyncio.create_task(run(kind(stuck), network, timeout_s=0.01))

    with pytest.raises(asyncio.CancelledError):
        await task


# ---------------------------------------------------------------- defects


async def test_a_defect_of_a_probe_is_internal_and_told(kind, network):
    told = []

    async def broken(target, config, trace):
        trace.begin("tls")
        raise ZeroDivisionError("by zero")

    measurement = await run(kind(broken), network, on_defect=lambda where, error: told.append((where, str(error))))

    assert "internal" == measurement.failure.reason
    assert "tls" == measurement.failure.phase
    assert "defect of the made_up probe: ZeroDivisionError: by zero" == measurement.failure.message
    assert [("probes/made_up", "by zero")] == told


async def test_a_time_out_that_a_probe_raises_itself_is_its_defect(kind, network):
    async def broken(target, config, trace):
        raise TimeoutError("mine")

    assert "internal" == outcome(await run(kind(broken), network))


async def test_a_probe_without_phases_lasts_as_long_as_it_takes(kind, network):
    async def slow(target, config, trace):
        await asyncio.sleep(0.03)

    measurement = await run(kind(slow), network)

    assert measurement.success
    assert {} == measurement.phases
    assert 0.03 <= measurement.duration_s < 0.08


# ---------------------------------------------------------------- many, and for long


async def test_200_at_once_each_get_their_own_answer(network):
    async with serve(http(lambda request: answer(request.path.encode()), delay_s=0.05)) as port:
        began = time.monotonic()
        measurements = await asyncio.gather(
            *(
                probe_http(
                    network,
                    f"http://127.0.0.1:{port}/number/{number}",
                    fail_if_body_not_matches_regexp=[f"^/number/{number}$"],
                    timeout_s=5,
                )
                for number in range(200)
            )
        )

    assert {"ok"} == {outcome(measurement) for measurement in measurements}
    assert time.monotonic() - began < 3


async def test_a_silent_server_holds_up_no_other_probe(network):
    async with serve(silent) as dead, serve(http(answer())) as alive:
        waiting = [
            asyncio.create_task(probe_http(network, f"http://127.0.0.1:{dead}/", timeout_s=1)) for _ in range(50)
        ]
        await asyncio.sleep(0.05)
        began = time.monotonic()
        measurement = await probe_http(network, f"http://127.0.0.1:{alive}/")
        took = time.monotonic() - began
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    assert "ok" == outcome(measurement)
    assert took < 0.1


async def test_nothing_leaks_whatever_happens(network, authority):
    """After good, failed, cut and cancelled runs no descriptor and no task is left."""
    closed = unused_port()
    async with (
        serve(http(answer())) as good,
        serve(silent) as dead,
        serve(resetting) as rude,
        serve(dripping()) as slow,
        serve(http(answer()), tls=authority.context("elsewhere.example")) as wrong,
    ):

        async def all_of_them():
            await asyncio.gather(
                probe_http(network, f"http://127.0.0.1:{good}/"),
                probe_http(network, f"http://127.0.0.1:{dead}/", timeout_s=0.05),
                probe_http(network, f"http://127.0.0.1:{rude}/"),
                probe_http(network, f"http://127.0.0.1:{slow}/", timeout_s=0.05),
                probe_http(network, f"https://localhost:{wrong}/"),
                probe_tcp(network, f"127.0.0.1:{closed}"),
                probe_tcp(network, f"127.0.0.1:{dead}"),
            )
            cancelled = [asyncio.create_task(probe_http(network, f"http://127.0.0.1:{port}/")) for port in (dead, slow)]
            await asyncio.sleep(0.02)
            for task in cancelled:
                task.cancel()
            await asyncio.gather(*cancelled, return_exceptions=True)

        await all_of_them()
        await asyncio.sleep(0.1)
        files, tasks = open_files(), len(asyncio.all_tasks())
        for _ in range(5):
            await all_of_them()
        await asyncio.sleep(0.1)

        # The servers' own ends of connections that were just cut may lag behind by one or two.
        assert open_files() <= files + 2
        assert len(asyncio.all_tasks()) <= tasks + 2


async def test_a_closed_network_gives_everything_back():
    from perfmon.network import Network

    files = open_files()
    async with serve(http(answer())) as port, Network(clock=SystemClock()) as network:
        await probe_http(network, f"http://127.0.0.1:{port}/")
    await asyncio.sleep(0.05)

    assert files == open_files()


async def test_h62_an_endless_body_takes_no_memory(network):
    async with serve(endless) as port:
        await probe_http(network, f"http://127.0.0.1:{port}/", timeout_s=0.2)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/", timeout_s=1)

    assert "timeout" == outcome(measurement)
    assert measurement.facts["probe_http_uncompressed_body_length"] > 20_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4_000  # KiB


# ---------------------------------------------------------------- samplers


class Reader(msgspec.Struct):
    outcome: object
    missing: str = ""

    def sample(self):
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


SAMPLER = Sampler(name="s", kind="host", interval_s=1, config=None)


def test_a_reading_has_its_samples_and_its_own_cost():
    samples = [Sample(name="perfmon_host_load1", value=1.0)]
    reading = measure.sample(SAMPLER, Reader(samples), clock=SystemClock())

    assert samples == reading.samples
    assert "" == reading.error
    assert 0 < reading.duration_s < 0.1


def test_a_reading_that_finds_nothing_says_so():
    reading = measure.sample(SAMPLER, Reader(LookupError("no process has 'x'")), clock=SystemClock())

    assert "no process has 'x'" == reading.error
    assert [] == list(reading.samples)


def test_a_defect_of_a_sampler_is_told():
    told = []
    reading = measure.sample(
        SAMPLER, Reader(RuntimeError("oops")), clock=SystemClock(), on_defect=lambda where, error: told.append(where)
    )

    assert "defect of the sampler: RuntimeError: oops" == reading.error
    assert ["samplers/host"] == told


def test_a_part_that_is_missing_spoils_no_other():
    samples = [Sample(name="perfmon_host_load1", value=1.0)]
    reading = measure.sample(SAMPLER, Reader(samples, missing="no process matches"), clock=SystemClock())

    assert samples == reading.samples
    assert "no process matches" == reading.error


def test_a_slip_of_a_sampler_is_no_missing_thing():
    told = []
    measure.sample(
        SAMPLER, Reader(KeyError("oops")), clock=SystemClock(), on_defect=lambda where, error: told.append(where)
    )

    assert ["samplers/host"] == told


@pytest.mark.parametrize(
    ("phase", "reason"), [("resolve", "dns_timeout"), ("connect", "connect_timeout"), ("tls", "timeout")]
)
async def test_what_is_cut_off_has_the_reason_of_its_phase(kind, network, phase, reason):
    """The same one that a probe gives which ends by itself in time."""

    async def stuck(target, config, trace):
        trace.begin(phase)
        await asyncio.sleep(9)

    failure = (await run(kind(stuck), network)).failure

    assert (reason, phase) == (failure.reason, failure.phase)
