"""Sockets of the web face: bounds, binding, and an end in time."""

import asyncio
import contextlib
import socket
import time

import pytest
import uvloop
from web_face import FakeView, connection, exchange, parse, pick, request, until

from perfmon.errors import UsageError
from perfmon.monitor.listen import Bounds
from perfmon.monitor.server import app, serve


@pytest.fixture
def view():
    return FakeView()


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /-/healthy?" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /-/healthy HTTP/1.1\r\nX: " + b"a" * 200_000,
        b"POST /-/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\n" + b"a" * 200_000,
    ],
    ids=["url", "header", "body"],
)
async def test_a_request_that_is_too_large_is_refused(view, raw):
    async with serve(app(view), ["127.0.0.1:0"]) as (address,):
        answer = await until_closed(address, raw)

    assert b"request larger than 65536 bytes" in answer or answer == b""


@pytest.mark.parametrize(
    "raw", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nX: ", b"\r\n"], ids=["nothing", "method", "header", "blank"]
)
async def test_a_client_that_does_not_finish_its_request_is_cut(view, raw):
    async with serve(app(view), ["127.0.0.1:0"], Bounds(request_s=0.1)) as (address,):
        assert b"" == await until_closed(address, raw)


async def test_connections_beyond_the_bound_are_cut_and_the_others_live(view):
    async with serve(app(view), ["127.0.0.1:0"], Bounds(connections=2)) as (address,):
        async with connection(address), connection(address):
            await asyncio.sleep(0.05)
            assert b"" == await until_closed(address, b"GET /-/healthy HTTP/1.1\r\n\r\n")
        await asyncio.sleep(0.05)
        assert (200, "Healthy\n") == pick(await request(address, "/-/healthy"))


@pytest.mark.parametrize("header", ["", "Connection: close\r\n"], ids=["kept", "closed"])
async def test_a_client_that_does_not_read_its_answer_is_cut(view, header):
    async def endless(accept, accept_encoding):
        return bytes(20_000_000), {"Content-Type": "text/plain"}

    view.scrape = endless
    async with (
        serve(app(view), ["127.0.0.1:0"], Bounds(keep_alive_s=1)) as (address,),
        connection(address) as (reader, writer),
    ):
        writer.write(f"GET /metrics HTTP/1.1\r\nHost: {address}\r\n{header}\r\n".encode())
        await asyncio.sleep(1.3)  # the reader stops at its limit, the kernel's buffers fill
        assert await read_to_the_end(reader) < 20_000_000


async def read_to_the_end(reader):
    count = 0
    with contextlib.suppress(ConnectionResetError):
        while data := await asyncio.wait_for(reader.read(65_536), 5):
            count += len(data)
    return count


async def test_garbage_is_answered_with_400_and_logged_nowhere(view, caplog):
    async with serve(app(view), ["127.0.0.1:0"]) as (address,):
        status, _, _ = parse(await exchange(address, b"\x16\x03\x01\x02\x00 hello\r\n\r\n"))

    assert 400 == status
    assert [] == caplog.records


async def until_closed(address, raw):
    """What came back before the server closed; a reset may swallow it, since bytes of ours were never read."""
    async with connection(address) as (reader, writer):
        writer.write(raw)
        try:
            return await asyncio.wait_for(reader.read(), 5)
        except ConnectionResetError:
            return b""


# ---------------------------------------------------------------- listening and ending


async def test_it_listens_on_several_addresses_of_both_families(view):
    async with serve(app(view), ["127.0.0.1:0", "[::1]:0", "localhost:0"]) as addresses:
        answers = [pick(await request(address, "/-/healthy")) for address in addresses]

    assert [(200, "Healthy\n")] * 3 == answers
    assert ["127.0.0.1", "[::1]", "127.0.0.1"] == [address.rpartition(":")[0] for address in addresses]


async def test_no_host_means_all_addresses(view):
    async with serve(app(view), [":0"]) as (address,):
        port = address.rpartition(":")[2]
        assert (200, "Healthy\n") == pick(await request(f"127.0.0.1:{port}", "/-/healthy"))
        assert (200, "Healthy\n") == pick(await request(f"127.0.0.2:{port}", "/-/healthy"))
        assert 200 == (await request(f"127.0.0.1:{port}", "/probe?target=a"))[0]


async def test_a_taken_port_is_a_clear_error_and_leaves_nothing_open(view):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError) as caught:
            async with serve(app(view), ["127.0.0.1:0", f"127.0.0.1:{port}"]):
                pass

    assert f"cannot listen on 127.0.0.1:{port}: address already in use" == str(caught.value)


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        ("10737", 'cannot listen on "10737": expected HOST:PORT, [HOST]:PORT or :PORT'),
        ("::1:10737", 'cannot listen on "::1:10737": expected HOST:PORT, [HOST]:PORT or :PORT'),
        ("127.0.0.1:70000", 'cannot listen on "127.0.0.1:70000": expected HOST:PORT, [HOST]:PORT or :PORT'),
        ("192.0.2.1:0", "cannot listen on 192.0.2.1:0: cannot assign requested address"),
    ],
)
async def test_an_address_that_cannot_be_listened_on_is_named(view, listen, expected):
    with pytest.raises(UsageError) as caught:
        async with serve(app(view), [listen]):
            pass

    assert expected == str(caught.value)


async def test_stopping_ends_idle_connections_at_once_and_running_answers_at_the_deadline(view):
    view.probe_seconds = 30
    async with serve(app(view), ["127.0.0.1:0"], Bounds(stop_s=1)) as (address,):
        idle = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
        busy = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
        idle[1].write(f"GET /-/healthy HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
        await idle[0].readuntil(b"Healthy\n")
        busy[1].write(f"GET /probe?target=a HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
        await until(lambda: view.probed)
        began = time.monotonic()

    assert 0.9 < time.monotonic() - began < 2.5
    assert view.cancelled_at is not None
    assert b"" == await idle[0].read()
    for _, writer in (idle, busy):
        writer.close()


def test_it_stops_fast_on_uvloop_with_open_keep_alive_connections(view):
    async def run():
        async with serve(app(view), ["127.0.0.1:0"]) as (address,):
            _, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
            began = time.monotonic()
        writer.close()
        return time.monotonic() - began

    assert uvloop.run(run()) < 1.0
