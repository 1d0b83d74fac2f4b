"""A proxy between a probe and a server that is well: it hands on what the server says, but not as it came.

A fault is a function of what the server says and of the probe's end; it says what it wants, and returns when it is
through, or never. What the probe says reaches the server untouched.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable

from servers import Handler, reset, serve

Fault = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_CHUNK_BYTES = 65_536


@contextlib.asynccontextmanager
async def behind(port: int, fault: Fault, *, before: Handler | None = None) -> AsyncIterator[int]:
    """The port of a proxy to `port` with this fault; `before` talks to the probe before there is a server."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if before is not None:
            await before(reader, writer)
        server, to_server = await asyncio.open_connection("127.0.0.1", port)
        saying = asyncio.create_task(_hand_on(reader, to_server))
        try:
            await fault(server, writer)
            await saying  # the probe may stay as long as it likes
        except ConnectionResetError:  # by either side: the other one is to see it, too
            reset(writer)
        finally:
            saying.cancel()
            to_server.transport.abort()

    async with serve(handle) as proxy:
        yield proxy


async def _hand_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(_CHUNK_BYTES):
        sink.write(data)
        await sink.drain()


# ---------------------------------------------------------------- faults of what is said


async def untouched(server: asyncio.StreamReader, probe: asyncio.StreamWriter) -> None:
    """None at all."""
    await _hand_on(server, probe)
    probe.close()


def counted(sizes: list[int]) -> Fault:
    """None at all; appends how many bytes the server said."""

    async def fault(server: asyncio.StreamReader, probe: asyncio.StreamWriter) -> None:
        sizes.append(0)
        while data := await server.read(_CHUNK_BYTES):
            sizes[-1] += len(data)
            probe.write(data)

    return fault


def delayed(seconds: float) -> Fault:
    """Everything comes that much later."""

    async def fault(server: asyncio.StreamReader, probe: asyncio.StreamWriter) -> None:
        while data := await server.read(_CHUNK_BYTES):
            await asyncio.sleep(seconds)
            probe.write(data)

    return fault


def dripping(interval_s: float) -> Fault:
    """A byte at a time."""

    async def fault(server: asyncio.StreamReader, probe: asyncio.StreamWriter) -> None:
        while data := await server.read(1):
            probe.write(data)
            await asyncio.sleep(interval_s)

    return fault


def torn(size: int) -> Fault:
    """So many bytes, and then the end of the connection."""

    async def fault(server: asyncio.StreamReader, probe: asyncio.StreamWriter) -> None:
        await _first(size, server, probe)
        probe.close()

    return fault


def half_closed(size: int) -> Fault:
    """So many bytes, and then the end of what is said; what the probe says is taken all the same."""

    async def fault(server: asyncio.StreamReader, probe: asyncio.StreamWriter) -> None:
        await _first(size, server, probe)
        probe.write_eof()

    return fault


def broken_off(size: int) -> Fault:
    """So many bytes, and then a reset."""

    async def fault(server: asyncio.StreamReader, probe: asyncio.StreamWriter) -> None:
        await _first(size, server, probe)
        await asyncio.sleep(0.02)  # what came before a reset is lost when nobody has read it by then
        reset(probe)

    return fault


def stuck(size: int) -> Fault:
    """So many bytes, and then silence."""

    async def fault(server: asyncio.StreamReader, probe: asyncio.StreamWriter) -> None:
        await _first(size, server, probe)
        await asyncio.Event().wait()

    return fault


def flipped(at: int, bit: int = 0) -> Fault:
    """One bit of the byte there is another one."""

    async def fault(server: asyncio.StreamReader, probe: asyncio.StreamWriter) -> None:
        said = 0
        while data := bytearray(await server.read(_CHUNK_BYTES)):
            if said <= at < said + len(data):
                data[at - said] ^= 1 << bit
            said += len(data)
            probe.write(data)

    return fault


async def _first(size: int, server: asyncio.StreamReader, probe: asyncio.StreamWriter) -> None:
    while size and (data := await server.read(size)):
        size -= len(data)
        probe.write(data)
    await probe.drain()


# ---------------------------------------------------------------- faults whatever is said


async def noise(_server: asyncio.StreamReader, probe: asyncio.StreamWriter) -> None:
    """Bytes that are nothing in any protocol, and then silence."""
    probe.write(bytes(itertools.islice(itertools.cycle(range(251, 3, -7)), 4096)))
    await asyncio.Event().wait()


def flood(data: bytes) -> Fault:
    """The same again and again, as fast as it is taken."""

    async def fault(_server: asyncio.StreamReader, probe: asyncio.StreamWriter) -> None:
        chunk = data * (_CHUNK_BYTES // len(data))
        while True:
            probe.write(chunk)
            await probe.drain()

    return fault
