"""A conversation with a server whose protocol perfmon speaks itself, read piece by piece over a stream.

Nothing is read before somebody asks for it, so a server can fill no memory. A connection never outlives its `converse`:
it is closed at the deadline, at a failure, and when the task is cancelled.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from perfmon.model import Failure, Phase, Reason
from perfmon.network.reach import WORTH_A_LOOK_S, addresses_to_try, look_up, tell_certificates
from perfmon.network.stream import Broken, Route, Stream, connect
from perfmon.trace import Trace
from perfmon.units import format_duration

__all__ = ["Conversation", "Wire", "converse"]


class Conversation(Protocol):
    """What to say on one connection; a new one for each."""

    async def before_tls(self, wire: "Wire") -> None:
        """What comes before the TLS handshake, or before everything else where there is none."""
        ...

    async def talk(self, wire: "Wire") -> Failure | None:
        """The rest. Writes phases and facts into `wire.trace`; may raise `Broken` instead of returning a failure."""
        ...

    @property
    def farewell(self) -> bytes:
        """What a polite client says before it hangs up, as far as things have come."""
        ...


async def converse(route: Route, begin: Callable[[], Conversation], trace: Trace, *, tls: bool) -> Failure | None:
    """Look up, connect, encrypt, talk, and close, all of it before the deadline; what goes wrong is the failure."""
    resolved = await look_up(route.host, trace, prefer=route.prefer, fallback=route.fallback)
    if isinstance(resolved, Failure):
        return resolved
    addresses = addresses_to_try(route.host, resolved, fallback=route.fallback)
    try:
        async with asyncio.timeout(trace.remaining()):
            return await _talk(route, addresses, begin(), trace, tls=tls)
    except TimeoutError:
        return _late(trace, route.peer)
    except Broken as broken:
        failure, refused = broken.failure, broken.refused
    finally:
        trace.end()
    return await _explained(failure, route, addresses, begin(), trace) if refused else failure


class Wire:
    """One connection. Reads raise `Broken` when the server hangs up, in the phase that is under way."""

    def __init__(self, stream: Stream, trace: Trace) -> None:
        self.peer = stream.peer  # "127.0.0.1:5432"
        self.trace = trace
        self._stream = stream
        self._buffer = bytearray()

    async def read(self, count: int) -> bytes:
        """Exactly `count` bytes, all of them in memory: bound what the server may choose before asking."""
        while len(self._buffer) < count:
            await self._fill()
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    async def skip(self, count: int) -> None:
        """Read `count` bytes that nobody wants, and keep none of them."""
        while len(self._buffer) < count:
            count -= len(self._buffer)
            self._buffer.clear()
            await self._fill()
        del self._buffer[:count]

    async def read_line(self, limit: int) -> bytes:
        """Up to CRLF, which is read but not given; `Broken` for a line longer than `limit`."""
        searched = 0
        while (end := self._buffer.find(b"\r\n", searched)) < 0:
            searched = max(0, len(self._buffer) - 1)  # its CR may have come already
            if searched > limit:
                raise self.broken("too_large", f"{self.peer} sent a line of more than {limit} bytes")
            await self._fill()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    async def write(self, data: bytes) -> None:
        """Send all of it."""
        await self._stream.write(data)

    async def start_tls(self, route: Route) -> None:
        """Shake hands. What came ahead of it may come from somebody between us (CVE-2021-23222), so nothing may."""
        if self._buffer:
            raise self.broken("tls_handshake", f"{self.peer} said more than it may before the TLS handshake")
        await self._stream.start_tls(route)

    def broken(self, reason: Reason, message: str, **evidence: str) -> Broken:
        """To raise: the conversation ends here, in the phase under way."""
        return Broken(Failure(reason=reason, phase=self.trace.phase or "", message=message, evidence=evidence))

    async def _fill(self) -> None:
        data = await self._stream.read()
        if not data:
            raise self.broken("closed", f"connection closed by {self.peer} {_DURING[self.trace.phase or 'connect']}")
        self._buffer += data


_DURING: dict[Phase, str] = {
    "resolve": "before anything was said",
    "connect": "before anything was said",
    "tls": "during the TLS handshake",
    "request": "during the log-in",
    "processing": "without an answer",
    "transfer": "in the middle of the answer",
}


async def _talk(
    route: Route, addresses: Sequence[str], conversation: Conversation, trace: Trace, *, tls: bool
) -> Failure | None:
    stream = await connect(route, addresses, trace)
    try:
        wire = Wire(stream, trace)
        await conversation.before_tls(wire)
        if tls:
            await wire.start_tls(route)
            tell_certificates(trace, stream.certificates, route.tls, None, peer=route.peer, name=route.name)
        return await conversation.talk(wire)
    finally:
        stream.close(conversation.farewell)


def _late(trace: Trace, peer: str) -> Failure:
    """Time ran out in the phase under way."""
    phase = trace.phase or "connect"
    trace.end()
    elapsed = format_duration(trace.phases.get(phase, 0.0), brief=True)
    reason: Reason = "connect_timeout" if phase == "connect" else "timeout"
    return Failure(reason=reason, phase=phase, message=_LATE[phase].format(peer=peer, elapsed=elapsed))


_LATE: dict[Phase, str] = {
    "resolve": "look-up of {peer} was not over after {elapsed}",
    "connect": "no connection to {peer} after {elapsed}",
    "tls": "TLS handshake with {peer} was not over after {elapsed}",
    "request": "log-in at {peer} was not over after {elapsed}",
    "processing": "no answer from {peer} after {elapsed}",
    "transfer": "answer of {peer} was not over after {elapsed}",
}


async def _explained(
    refused: Failure, route: Route, addresses: Sequence[str], conversation: Conversation, trace: Trace
) -> Failure:
    """The refusal in the certificate's own words, and its facts.

    OpenSSL keeps no certificate that it refused, so there is a second handshake by one who believes everything: within
    the deadline, counting for no phase, and saying nothing after it.
    """
    if trace.remaining() < WORTH_A_LOOK_S:
        return refused
    believing = msgspec.structs.replace(route, tls=msgspec.structs.replace(route.tls, insecure_skip_verify=True))
    quiet = Trace(clock=trace.clock, deadline=trace.deadline, network=trace.network)
    try:
        async with asyncio.timeout(trace.remaining()):
            seen = await _look(believing, addresses, conversation, quiet)
    except (TimeoutError, Broken):
        return refused  # which says all that is needed; its words and facts would have been better
    told = tell_certificates(trace, seen, route.tls, refused, peer=route.peer, name=route.name) if seen else None
    return told or refused


async def _look(route: Route, addresses: Sequence[str], conversation: Conversation, quiet: Trace) -> tuple[str, ...]:
    stream = await connect(route, addresses, quiet)
    try:
        wire = Wire(stream, quiet)
        await conversation.before_tls(wire)
        await wire.start_tls(route)
        return stream.certificates
    finally:
        stream.close()
