"""Ask a name server over UDP, TCP or TLS, timed phase by phase; what it says is not judged here."""

import asyncio
import struct
from typing import TYPE_CHECKING

import msgspec

from perfmon.model import Failure
from perfmon.network.blame import judge_connect
from perfmon.network.datagram import Datagrams, connect_udp
from perfmon.network.dialogue import Dialogue, hold
from perfmon.network.reach import WORTH_A_LOOK_S, tell_certificates
from perfmon.network.stream import Broken, Route, Stream, connect
from perfmon.trace import Trace
from perfmon.units import format_duration

if TYPE_CHECKING:
    from perfmon.network.dns_message import Query

__all__ = ["ATTEMPTS", "ask_stream", "ask_udp"]

ATTEMPTS = "probe_dns_attempts"  # how often the question was sent, over whatever it was


async def ask_udp(query: "Query", route: Route, address: str, trace: Trace, *, attempts: int) -> bytes | Failure:
    """Send the query to `address`, `attempts` times at most in equal parts of the time that is left.

    An answer to any of them counts. What answers none is left aside, as it may be forged.
    """
    trace.begin("connect")
    try:
        sock = connect_udp(address, route.port, route.source)
    except OSError as error:
        return _broken(error, route, address, trace)
    sent: set[int] = set()
    ignored = 0
    with Datagrams(sock, trace.clock) as socket:
        trace.begin("processing")
        for left in range(attempts, 0, -1):
            until = trace.clock.monotonic() + trace.remaining() / left
            try:
                ident, wire = query.with_id()
                sent.add(ident)
                sock.send(wire)
                _count_attempt(trace)
                while True:
                    datagram = await socket.receive(until)
                    if query.is_answered_by(datagram.data, sent):
                        trace.end(at=datagram.at)
                        return datagram.data
                    ignored += 1
            except TimeoutError:
                trace.note("no answer", attempt=attempts - left + 1)
            except OSError as error:
                return _broken(error, route, address, trace)
    return _silent(route.to(address), trace, ignored)


async def ask_stream(query: "Query", route: Route, address: str, trace: Trace, *, tls: bool) -> bytes | Failure:
    """Send the query once over a connection of its own to `address`, encrypted where `tls` says so."""
    ignored = 0
    stream: Stream | None = None
    try:
        async with asyncio.timeout(trace.remaining()):
            stream = await connect(route, (address,), trace)
            if tls:
                await _start_tls(stream, route, trace)
            ident, wire = query.with_id()
            _count_attempt(trace)
            await stream.send(_LENGTH.pack(len(wire)) + wire)
            while True:
                answer = await _message(stream)
                if isinstance(answer, Failure) or query.is_answered_by(answer, (ident,)):
                    return answer
                ignored += 1
    except TimeoutError:
        return _silent(route.to(address), trace, ignored)
    except Broken as error:
        return await _explained(error.failure, route, address, trace) if error.refused else error.failure
    finally:
        trace.end()
        if stream is not None:
            stream.close()


async def _start_tls(stream: Stream, route: Route, trace: Trace) -> None:
    await stream.start_tls(route)
    if stream.certificates:
        tell_certificates(trace, stream.certificates, route.tls, None, peer=route.peer, name=route.name)


async def _explained(refused: Failure, route: Route, address: str, trace: Trace) -> Failure:
    """OpenSSL keeps no certificate that it refused, so hands are shaken again, by one who believes everything.

    It takes place within the deadline and counts for no phase.
    """
    trace.end()
    if trace.remaining() < WORTH_A_LOOK_S:
        return refused
    tls = msgspec.structs.replace(route.tls, insecure_skip_verify=True)
    quiet = Trace(clock=trace.clock, deadline=trace.deadline, network=trace.network)
    seen = await hold(Dialogue(route=msgspec.structs.replace(route, host=address, tls=tls), tls=True), quiet)
    if not seen.certificates:
        return refused
    told = tell_certificates(trace, seen.certificates, route.tls, refused, peer=route.peer, name=route.name)
    return told or refused


_LENGTH = struct.Struct("!H")


async def _message(stream: Stream) -> bytes | Failure:
    """RFC 1035, 4.2.2: two bytes of length, then the message."""
    head = await stream.exactly(_LENGTH.size)
    if not head:
        message = f"connection closed by {stream.peer} without an answer"
        return Failure(reason="closed", phase="processing", message=message)
    size = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 0
    body = await stream.exactly(size)
    if size and len(body) == size:
        return body
    message = f"connection closed by {stream.peer} in the middle of its answer, {len(body)} of {size} bytes came"
    return Failure(reason="short_body", phase="processing", message=message)


def _count_attempt(trace: Trace) -> None:
    trace.facts[ATTEMPTS] = trace.facts.get(ATTEMPTS, 0.0) + 1


# ---------------------------------------------------------------- what went wrong


def _silent(peer: str, trace: Trace, ignored: int) -> Failure:
    phase, elapsed = trace.phase or "processing", format_duration(_elapsed(trace), brief=True)
    match phase:
        case "connect":
            return Failure(reason="connect_timeout", phase=phase, message=f"no connection to {peer} after {elapsed}")
        case "tls":
            message = f"TLS handshake with {peer} was not over after {elapsed}"
        case _:
            message = f"no answer from {peer} after {elapsed}"
    if ignored:
        message += f", but {ignored} to another question"
    return Failure(reason="timeout", phase=phase, message=message)


def _elapsed(trace: Trace) -> float:
    trace.end()
    return sum(seconds for phase, seconds in trace.phases.items() if phase != "resolve")


def _broken(error: OSError, route: Route, address: str, trace: Trace) -> Failure:
    phase, said = trace.phase or "connect", (error.strerror or str(error)).lower()
    reason, message = judge_connect(error.errno or 0, said, route.to(address), _elapsed(trace))
    if route.source and reason == "unreachable":
        message += f" (from {route.source})"
    return Failure(reason=reason, phase=phase, message=message)
