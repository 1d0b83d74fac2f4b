"""What a run makes is freed when it ends, not when Python's collector comes by: libcurl's handles weigh 10 KB each."""

import asyncio
import contextlib
import gc

import pytest
from probing import outcome, probe_http
from servers import answer, http, redirecting, serve, silent

from perfmon import measure
from perfmon.clock import SystemClock
from perfmon.model import Module, Target
from perfmon.network.curl_handle import Handle
from perfmon.probes.http import Config


@pytest.fixture
def uncollected():
    """The collector stands still, so that whatever only it could free is still there."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def handles():
    return sum(isinstance(found, Handle) for found in gc.get_objects())


async def test_a_run_that_is_cancelled_leaves_its_handle_to_the_next(network, uncollected):
    module = Module(name="http", kind="http", timeout_s=5.0, config=Config())
    async with serve(silent) as port:
        target = Target(probe="test", address=f"http://127.0.0.1:{port}/")
        for _ in range(20):
            run = asyncio.create_task(measure.probe(target, module, clock=SystemClock(), network=network))
            await asyncio.sleep(0.01)
            run.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await run

    assert 1 == handles()


async def test_the_hops_of_a_redirect_are_freed_with_the_run(network, uncollected):
    async with serve(http(redirecting(5))) as port:
        for _ in range(3):
            assert "ok" == outcome(await probe_http(network, f"http://127.0.0.1:{port}/"))

    assert 3 == handles()


async def test_a_run_that_talks_and_a_second_look_at_certificates_are_freed_with_the_run(
    network, uncollected, authority
):
    async with serve(http(answer()), tls=authority.context("localhost")) as port:
        for _ in range(3):
            assert "tls_untrusted" == outcome(await probe_http(network, f"https://localhost:{port}/", debug=True))

    assert 0 == handles()
