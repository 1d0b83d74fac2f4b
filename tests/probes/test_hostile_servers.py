"""Whatever bytes a server says, a run ends in time with an answer or a failure in words, and none is a defect of ours.

Each example is a dozen runs at once against as many servers, each of which says something else and leaves.
"""

import asyncio
import contextlib
import time
import unicodedata

import pytest
from database_words import MY_COLUMN, MY_OK, PG_COLUMN, PG_READY, PG_ROW, greeting, my
from grpc_frames import GOOD, HEAD, OK_TRAILER, SETTINGS, data
from hypothesis import given, settings
from hypothesis import strategies as st
from servers import serve
from websocket_server import BINARY, CLOSE, PING, TEXT, frame

from perfmon import kinds, measure
from perfmon.clock import SystemClock
from perfmon.model import Module, Target
from perfmon.network import Network
from perfmon.network.query_response import QueryResponse
from perfmon.probes.websocket import Step

TIMEOUT_S, GRACE_S = 0.3, 2.0  # for twelve servers in the same loop, on a machine that does other things
RUNS = 12

WORDS = [
    b"HTTP/1.1 ", b"200 OK", b"302 Found", b"\r\n", b"\r\n\r\n", b"\n", b": ", b"Content-Length", b"5", b"-1", b"hello",
    b"Transfer-Encoding: chunked\r\n", b"Content-Encoding: gzip\r\n", b"Location: ", b"/next", b"http://[::1", b"//",
    b"Set-Cookie: a=b; Domain=", b"Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT", b"Connection: close\r\n", b"0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 302 Found\r\nLocation: ", b"Content-Length: 5\r\n\r\n",
]  # fmt: skip
UPGRADED = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
FRAMES = [frame(kind, b"word") for kind in (TEXT, BINARY, CLOSE, PING)] + [frame(TEXT, b"a", final=False), b"\xff" * 4]
LINES = [b"220 ready\r\n", b"\n", b"\r", b"\xff", b"\0", b"250-a\n", b"250 ", b"bytes", b"x" * 100]

# What to probe with, and what the server's words are made of.
PROBES = {
    "http": (
        "http://127.0.0.1:{}/",
        {"compression": "gzip", "fail_if_body_not_matches_regexp": ["hello"], "fail_if_header_matches": []},
        WORDS,
    ),
    "websocket": (
        "ws://127.0.0.1:{}/",
        {"query_response": [Step(expect="word", send="more"), Step(expect="x")]} | {"ignore_bad_accept": True},
        [UPGRADED, UPGRADED + FRAMES[0], *FRAMES, *WORDS[:8]],
    ),
    "grpc": ("127.0.0.1:{}", {}, [SETTINGS, HEAD, data(GOOD), OK_TRAILER, b"\0\0\4", b"\0\0\0\0\1", b"\xff" * 9]),
    "tcp": (
        "127.0.0.1:{}",
        {
            "query_response": [
                QueryResponse(expect="^220 (.*)", send="EHLO ${1}"),
                QueryResponse(expect_bytes="bytes"),
                QueryResponse(expect="^250 "),
            ]
        },
        LINES,
    ),
    "tls": ("127.0.0.1:{}", {"starttls": "smtp"}, [*LINES, b"250 STARTTLS\r\n", b"\x16\x03\x03\0\4\2\0\0\0"]),
    "dns": (
        "127.0.0.1:{}",
        {"query_name": "a.test", "transport_protocol": "tcp"},
        [b"\0\x1c", b"\0\0", b"\1a\4test\0\0\1\0\1", b"\x81\x80\0\1\0\1\0\0\0\0", b"\xc0\x0c", b"\xff\xff"],
    ),
    "postgres": (
        "127.0.0.1:{}",
        {"username": "u", "query": "SELECT 1", "expect": "1"},
        [PG_READY, PG_COLUMN, PG_ROW, b"R\0\0\0\x0c\0\0\0\5salt", b"E\0\0\0\x05\0", b"Z\0\0\0\5I", b"C\0\0\0\4"],
    ),
    "mysql": (
        "127.0.0.1:{}",
        {"username": "u", "query": "SELECT 1", "expect": "1"},
        [greeting(), my(2, MY_OK), my(1, MY_OK), MY_COLUMN, my(4, b"\x011"), my(5, b"\xfe\0\0\2\0"), my(1, b"\xfe"), my(1, b"\xff")],
    ),
    "redis": ("127.0.0.1:{}", {"query": "GET x", "info": True}, [b"+OK", b"-ERR", b":1", b"$-1", b"$3", b"*2", b"\r\n", b"abc", b"-"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", PROBES)
@settings(max_examples=12, deadline=None)
@given(given=st.data())
def test_whatever_a_server_says_no_defect_is_found(kind, given):
    *_, words = PROBES[kind]
    said = given.draw(st.lists(spoilt(words), min_size=RUNS, max_size=RUNS))
    measurements = asyncio.run(all_of(kind, said))

    assert {} == {
        measurement.failure.message: text
        for measurement, text in zip(measurements, said, strict=True)
        if measurement.failure and (measurement.failure.reason == "internal" or commands(measurement.failure.message))
    }


def commands(message):
    """Whether a terminal would do something else than show it."""
    return any(unicodedata.category(letter) == "Cc" for letter in message)


def spoilt(words):
    """Some of the words one after the other, with bytes in between that are none."""
    return st.lists(st.sampled_from(words) | st.sampled_from(words) | st.binary(max_size=4), max_size=14).map(b"".join)


async def all_of(kind, said):
    async with Network(clock=SystemClock()) as network:
        return await asyncio.gather(*(run(kind, network, text) for text in said))


async def run(kind, network, text):
    address, config, _ = PROBES[kind]
    module = Module(name=kind, kind=kind, timeout_s=TIMEOUT_S, config=kinds.load("probes", kind).Config(**config))
    async with serve(saying(text)) as port:
        began = time.monotonic()
        target = Target(probe="test", address=address.format(port))
        measurement = await measure.probe(target, module, clock=SystemClock(), network=network, debug=True)
    assert time.monotonic() - began < TIMEOUT_S + GRACE_S, measurement.failure
    return measurement


def saying(text):
    """Say it once the probe said something, or at once where it waits; then leave."""

    async def handle(reader, writer):
        with contextlib.suppress(TimeoutError):  # it may wait for us
            await asyncio.wait_for(reader.read(65_536), 0.02)
        writer.write(text)
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.close()

    return handle
