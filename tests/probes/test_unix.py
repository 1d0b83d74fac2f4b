"""The unix probe against real sockets."""

import asyncio
import contextlib
import os
import socket
import time

import pytest
from probing import outcome, probe_unix

from perfmon.network.query_response import QueryResponse
from perfmon.network.tls import TlsConfig
from perfmon.probes.unix import Config, check, check_target


@contextlib.asynccontextmanager
async def listening(path, text=b"220 ready\n", tls=None):
    """A server that greets and waits."""

    async def handle(reader, writer):
        writer.write(text)
        await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(handle, path, ssl=tls)
    try:
        yield
    finally:
        server.close()
        await asyncio.sleep(0.01)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "s")


async def test_c14_a_listener_is_up_and_a_missing_path_is_down(network, path):
    async with listening(path):
        up = await probe_unix(network, path)
    down = await probe_unix(network, f"{path}.missing")

    assert ["ok", "unreachable"] == [outcome(up), outcome(down)]
    assert ["connect"] == list(up.phases)
    assert f"{path}.missing cannot be reached: no such file or directory" == down.failure.message


async def test_a_dialogue_is_held(network, path):
    async with listening(path):
        good = await probe_unix(network, path, query_response=[QueryResponse(expect="^220", send="QUIT")])
        bad = await probe_unix(network, path, query_response=[QueryResponse(expect_bytes="250")])

    assert ["ok", "body"] == [outcome(good), outcome(bad)]
    assert (0, 1) == (bad.facts["probe_failed_due_to_regex"], bad.facts["probe_failed_due_to_bytes"])


async def test_a_socket_in_no_file_system_is_probed(network):
    name = f"perfmon-test-{os.getpid()}"
    async with listening(f"\0{name}"):
        measurement = await probe_unix(network, f"@{name}")

    assert "ok" == outcome(measurement)


async def test_tls_is_spoken_for_the_name_that_is_given(network, path, authority):
    async with listening(path, tls=authority.context("shop.example")):
        good = await probe_unix(
            network, path, tls=True, tls_config=TlsConfig(ca_file=authority.file, server_name="shop.example")
        )
        other = await probe_unix(
            network, path, tls=True, tls_config=TlsConfig(ca_file=authority.file, server_name="localhost")
        )
        blind = await probe_unix(network, path, tls=True, tls_config=TlsConfig(insecure_skip_verify=True))

    assert ["ok", "tls_name_mismatch", "ok"] == [outcome(good), outcome(other), outcome(blind)]
    assert f"certificate of {path} is for shop.example, not for localhost" == other.failure.message


async def test_a_file_that_nobody_listens_on_refuses(network, path):
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(path)
    measurement = await probe_unix(network, path)

    assert "connect_refused" == outcome(measurement)
    assert f"connection refused by {path}" == measurement.failure.message


@contextlib.contextmanager
def as_nobody():
    """Root may use every socket."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(before)


async def test_a_socket_that_may_not_be_used_says_so(network, path):
    async with listening(path):
        os.chmod(path, 0)  # noqa: PTH101 - an async function
        with as_nobody():
            measurement = await probe_unix(network, path)

    assert ("permission", "connect") == (outcome(measurement), measurement.failure.phase)
    assert f"{path} cannot be reached: permission denied" == measurement.failure.message


async def test_a_full_queue_is_no_connection(network, path):
    """The kernel says "try again" at once, and asyncio would take that for a connection."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(path)
        listener.listen(0)
        stack.enter_context(socket.socket(socket.AF_UNIX)).connect(path)
        began = time.monotonic()
        measurement = await probe_unix(network, path, timeout_s=0.15)

    assert ("connect_timeout", "connect") == (outcome(measurement), measurement.failure.phase)
    assert time.monotonic() - began < 0.25


@pytest.mark.parametrize("address", ["", "/" + "x" * 107, "a\0b"])
async def test_an_address_that_is_no_path_fails_in_words(network, address):
    measurement = await probe_unix(network, address)

    assert "unreachable" == outcome(measurement)
    assert "expected a path" in measurement.failure.message
    assert measurement.failure.message == check_target(address, Config())


def test_tls_needs_a_name():
    ((path, _),) = check(Config(tls=True))

    assert "tls_config.server_name" == path
    assert [] == list(check(Config(tls=True, tls_config=TlsConfig(server_name="shop.example"))))
    assert [] == list(check(Config()))
