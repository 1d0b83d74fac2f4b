"""A connected datagram socket on the event loop, without a thread and without a transport of the loop's own.

Each datagram comes with the kernel's time of its arrival, so that how busy the event loop was is not billed to the
target, and with the hop limit that was left of it.
"""

import asyncio
import socket
import struct
import sys
from collections.abc import Iterable
from types import TracebackType
from typing import Self

import msgspec

from perfmon.clock import Clock

__all__ = ["Datagram", "Datagrams", "connect_udp"]

# Linux' own numbers (bits/in.h, asm-generic/socket.h), which Python has no names for.
_SO_TIMESTAMPNS = 35
_IP_RECVTTL = 12
_TIMESPEC = struct.Struct("@ll")

_LARGEST = 65_535
_ANCILLARY = 512


class Datagram(msgspec.Struct, frozen=True, gc=False):
    """What came, from whom and when."""

    data: bytes
    source: str  # the sender's address, without its port
    at: float  # monotonic, by the kernel
    hop_limit: int  # -1 = not told


class Datagrams:
    """Owns a socket that does not block: `with Datagrams(sock, clock) as socket`. One reader at a time."""

    def __init__(self, sock: socket.socket, clock: Clock) -> None:
        self.sock = sock
        self._clock = clock
        self._opened = clock.monotonic()
        self._loop = asyncio.get_running_loop()
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        if sock.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, _IP_RECVTTL, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.sock.close()

    async def receive(self, until: float) -> Datagram:
        """The next datagram. TimeoutError at `until` (monotonic); OSError when the network says that none will come.

        It waits for the event loop also when something lies there already: a flood must not keep the loop from others.
        """
        while True:
            await self._readable(until)
            try:
                data, ancillary, _flags, source = self.sock.recvmsg(_LARGEST, _ANCILLARY)
            except BlockingIOError:  # the kernel dropped it: a checksum was wrong
                continue
            stamp, hop_limit = _told(ancillary)
            return Datagram(data, source[0].partition("%")[0], self._arrived(stamp), hop_limit)

    async def _readable(self, until: float) -> None:
        left = until - self._clock.monotonic()
        if left <= 0:
            raise TimeoutError
        ready: asyncio.Future[str] = self._loop.create_future()
        self._loop.add_reader(self.sock, _settle, ready, "data")
        timer = self._loop.call_later(left, _settle, ready, "")
        try:
            if not await ready:
                raise TimeoutError
        finally:
            timer.cancel()
            self._loop.remove_reader(self.sock)

    def _arrived(self, stamp: float) -> float:
        """The kernel's stamp is wall time: it counts as long as nobody set the clock meanwhile."""
        now = self._clock.monotonic()
        lay_s = self._clock.wall() - stamp
        return now - lay_s if 0 <= lay_s <= now - self._opened else now


def connect_udp(address: str, port: int, source: str = "") -> socket.socket:
    """A UDP socket that hears from this peer alone, since the kernel drops what others send. OSError when none can be.

    Bound to `source`, where one is given.
    """
    sock = socket.socket(
        socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
    )
    try:
        if source:
            sock.bind((source, 0))
        sock.connect((address, port))
    except OSError:
        sock.close()
        raise
    return sock


def _settle(ready: "asyncio.Future[str]", what: str) -> None:
    if not ready.done():
        ready.set_result(what)


def _told(ancillary: Iterable[tuple[int, int, bytes]]) -> tuple[float, int]:
    """The time of arrival in wall time and the hop limit, of what the kernel tells beside the data."""
    stamp, hop_limit = float("inf"), -1
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack(data[: _TIMESPEC.size])
            stamp = seconds + nanoseconds / 1e9
        elif (level, kind) in _HOP_LIMITS:
            hop_limit = int.from_bytes(data[:4], sys.byteorder)
    return stamp, hop_limit


_HOP_LIMITS = ((socket.IPPROTO_IP, socket.IP_TTL), (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT))
