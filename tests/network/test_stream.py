"""Lines and bytes of a stream, however the network cuts them."""

import asyncio
import contextlib
import socket

import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from perfmon.clock import SystemClock
from perfmon.network import Network
from perfmon.network.stream import Stream
from perfmon.trace import Trace


@contextlib.asynccontextmanager
async def fed(*pieces):
    """A stream on which these pieces come, a turn of the loop between them, and then the end."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)  # noqa: FBT003 - the standard library's word
    network = Network(clock=SystemClock())
    stream = Stream(ours, "peer", Trace(clock=SystemClock(), deadline=0, network=network))

    async def feed():
        with theirs:
            for piece in pieces:
                theirs.sendall(piece)
                await asyncio.sleep(0)

    feeding = asyncio.create_task(feed())
    try:
        yield stream
    finally:
        await feeding
        stream.close()


def cut(text, places):
    """The text in pieces."""
    ends = sorted({place % (len(text) + 1) for place in places} | {len(text)})
    return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def lines_of(text):
    """As Go's `bufio.ScanLines` has them."""
    *whole, last = text.split(b"\n")
    lines = [line.removesuffix(b"\r") for line in whole] + ([last] if last else [])
    return [line.decode("utf-8", "replace") for line in lines]


@settings(deadline=None)
@given(
    st.binary(max_size=60).map(lambda text: text.replace(b"a", b"\n").replace(b"b", b"\r\n")),
    st.lists(st.integers(0, 99)),
)
def test_lines_are_the_same_however_they_come(text, places):
    async def read():
        async with fed(*cut(text, places)) as stream:
            lines = []
            while (line := await stream.line()) is not None:
                lines.append(line)
            return lines

    assert lines_of(text) == asyncio.run(read())


@settings(deadline=None)
@given(st.binary(max_size=20), st.binary(min_size=1, max_size=6), st.lists(st.integers(0, 99)))
def test_a_marker_is_found_however_it_comes(before, marker, places):
    text = before + marker + b"after\n"

    async def read():
        async with fed(*cut(text, places)) as stream:
            found = await stream.skip_past(marker)
            return found, await stream.same(text[text.find(marker) + len(marker) :])

    assert (True, text[text.find(marker) + len(marker) :]) == asyncio.run(read())


async def test_a_marker_that_never_comes():
    async with fed(b"one two", b" three") as stream:
        assert not await stream.skip_past(b"four")


async def test_bytes_that_differ_are_known_at_the_first_difference():
    async with fed(b"SSH") as stream:
        assert b"SSH" == await asyncio.wait_for(stream.same(b"SMTP ready"), 1)


def test_uvloop_reads_the_same():
    """The daemon's loop is another one than that of the tests."""

    async def read():
        async with fed(b"one\r\ntw", b"o\nOK", b"AY") as stream:
            return await stream.line(), await stream.line(), await stream.same(b"OKAY"), await stream.line()

    assert ("one", "two", b"OKAY", None) == uvloop.run(read())
