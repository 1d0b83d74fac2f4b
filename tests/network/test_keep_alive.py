"""Connections that are used again, as load tests use them, and the requests that libcurl then resends in silence."""

import asyncio

import pytest
from servers import read_request, serve

from perfmon import measure
from perfmon.clock import SystemClock
from perfmon.model import Module, Target
from perfmon.network import Network
from perfmon.network.resolve import ResolveFailed
from perfmon.probes import http

MODULE = Module(name="http", kind="http", timeout_s=2.0, config=http.Config())
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def probe(network, url):
    """By one module, as those of one test are: what is prepared for it is kept."""
    target = Target(probe="test", address=url)
    return await measure.probe(target, MODULE, clock=SystemClock(), network=network)


@pytest.fixture
async def keeping():
    async with Network(clock=SystemClock(), keep_alive=True) as network:
        yield network


def mortal(requests, *, answers):
    """A server whose connections die when asked once more than it answers."""

    async def handle(reader, writer):
        for number in range(answers + 1):
            await read_request(reader)
            requests.append(number)
            if number < answers:
                writer.write(ANSWER)

    return handle


async def test_probes_share_connections_and_say_which_phases_there_were(keeping):
    connections = []

    async def handle(reader, writer):
        connections.append(writer)
        while True:
            await read_request(reader)
            writer.write(ANSWER)

    async with serve(handle) as port:
        runs = [await probe(keeping, f"http://127.0.0.1:{port}/") for _ in range(4)]

    assert [True] * 4 == [run.success for run in runs]
    assert 1 == len(connections)
    assert "connect" in runs[0].phases
    assert ["connect" in run.phases for run in runs[1:]] == [False] * 3
    assert all(sum(run.phases.values()) == pytest.approx(run.duration_s) for run in runs)


async def test_every_request_that_the_server_saw_is_a_run_or_told_as_resent(keeping):
    requests = []
    async with serve(mortal(requests, answers=2)) as port:
        runs = [await probe(keeping, f"http://127.0.0.1:{port}/") for _ in range(9)]

    assert [True] * 9 == [run.success for run in runs]
    assert len(requests) > 9
    assert len(requests) == 9 + sum(run.resent for run in runs)


async def test_so_it_is_when_many_run_at_once(keeping):
    requests = []
    async with serve(mortal(requests, answers=3)) as port:
        url = f"http://127.0.0.1:{port}/"
        runs = []
        for _ in range(6):
            runs += await asyncio.gather(*(probe(keeping, url) for _ in range(8)))

    assert len(requests) == 48 + sum(run.resent for run in runs)
    assert sum(run.resent for run in runs) > 0


async def test_a_server_that_never_answers_twice_fails_nobody_and_hides_nothing(keeping):
    requests = []
    async with serve(mortal(requests, answers=0)) as port:
        runs = [await probe(keeping, f"http://127.0.0.1:{port}/") for _ in range(3)]

    assert ["closed"] * 3 == [run.failure.reason for run in runs]
    assert 3 == len(requests)
    assert 0 == sum(run.resent for run in runs)


@pytest.mark.parametrize("host", ["93.184.216.34", "2606:2800:220:1::1"])
async def test_a_private_network_reaches_no_public_address(host):
    async with Network(clock=SystemClock(), private=True) as network:
        with pytest.raises(ResolveFailed) as raised:
            await network.resolver.resolve(host, prefer="ip4", fallback=True, deadline=SystemClock().monotonic() + 1)

    assert f"{host} is a public address, and none may be reached here" == str(raised.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "10.1.2.3", "localhost"])
async def test_but_it_reaches_private_ones(host):
    async with Network(clock=SystemClock(), private=True) as network:
        found = await network.resolver.resolve(
            host, prefer="ip4", fallback=True, deadline=SystemClock().monotonic() + 1
        )

    assert found.address


async def test_a_redirect_does_not_lead_out_either():
    async def handle(reader, writer):
        await read_request(reader)
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://93.184.216.34/\r\nContent-Length: 0\r\n\r\n")

    async with Network(clock=SystemClock(), private=True) as network, serve(handle) as port:
        run = await probe(network, f"http://127.0.0.1:{port}/")

    assert ("permission", "resolve") == (run.failure.reason, run.failure.phase)
