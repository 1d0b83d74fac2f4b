"""Hold a dialogue over a stream: hear a line or bytes, answer, go over to TLS, and say where it went wrong."""

import asyncio
from collections.abc import Sequence
from typing import Literal

import msgspec

from perfmon.model import Failure, Phase, Reason, fact_key
from perfmon.network.reach import WORTH_A_LOOK_S, addresses_to_try, look_up, tell_certificates
from perfmon.network.stream import Broken, Route, Stream, connect
from perfmon.patterns import Match, Pattern, expand
from perfmon.secret import Secret
from perfmon.trace import Trace
from perfmon.units import format_duration, quoted

__all__ = ["Dialogue", "Ended", "Step", "hold"]

_SHOWN = 200  # of a line or of bytes, as evidence
_SECRET = repr(Secret())


class Step(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What one entry asks for, in the order of its fields; nothing when left out."""

    pattern: Pattern | None = None  # a line to wait for; lines before it are skipped
    refusal: Pattern | None = None  # but one of these is the server's no to TLS
    labels: tuple[tuple[str, str], ...] = ()  # of `probe_expect_info`, filled in from the line
    expected: bytes = b""  # bytes that must come next
    until: bytes = b""  # bytes to come some time, for protocols that have no lines
    reply: str = ""  # a line to send, filled in from the line that was heard, "\n" is added
    data: bytes = b""  # bytes to send as they are
    starttls: bool = False
    secret: bool = False  # what is expected may not be shown
    secret_reply: bool = False  # nor what is sent
    duration_key: str = ""  # the fact that tells how long this step took, "" = none


class Dialogue(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Where to go and what to talk about there."""

    route: Route
    tls: bool = False  # from the beginning
    steps: Sequence[Step] = ()


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """What a dialogue came to."""

    failure: Failure | None
    certificates: tuple[str, ...] = ()  # PEM, leaf first
    protocol: str = ""  # what ALPN agreed on
    mismatch: Literal["", "regex", "bytes"] = ""  # what failed it, where it was words that were not the expected


async def hold(dialogue: Dialogue, trace: Trace) -> Ended:
    """Go through all steps, or to the first that fails; over by the trace's deadline."""
    route = dialogue.route
    addresses = await _addresses(route, trace)
    if isinstance(addresses, Failure):
        return Ended(failure=addresses)
    talk = _Talk(dialogue, trace)
    refused = False
    try:
        async with asyncio.timeout(trace.remaining()):
            await talk.go(addresses)
        failure = None
    except TimeoutError:
        phase = trace.phase or "connect"
        trace.end()
        failure = talk.out_of_time(phase, trace.phases[phase])
    except Broken as broken:
        refused = broken.refused
        failure = msgspec.structs.replace(broken.failure, evidence=talk.evidence())
    finally:
        trace.end()
        talk.close()
    if failure is not None and refused:
        failure = await _explained(failure, talk, dialogue, trace)
    return Ended(failure=failure, certificates=talk.certificates, protocol=talk.protocol, mismatch=talk.mismatch)


async def _addresses(route: Route, trace: Trace) -> Sequence[str] | Failure:
    if route.path:
        return (route.path,)
    resolved = await look_up(route.host, trace, prefer=route.prefer, fallback=route.fallback)
    if isinstance(resolved, Failure):
        return resolved
    return addresses_to_try(route.host, resolved, fallback=route.fallback)


class _Talk:
    """A dialogue under way: how far it came, and what was heard last."""

    def __init__(self, dialogue: Dialogue, trace: Trace) -> None:
        self.certificates: tuple[str, ...] = ()
        self.protocol = ""
        self.mismatch: Literal["", "regex", "bytes"] = ""
        self.number = 0  # of the step under way, from 1
        self._dialogue = dialogue
        self._trace = trace
        self._stream: Stream | None = None
        self._last_line: str | None = None  # of the step under way, that did not match
        self._expected = ""  # what is waited for, in words

    async def go(self, addresses: Sequence[str]) -> None:
        """From the connection to the last step."""
        self._stream = stream = await connect(self._dialogue.route, addresses, self._trace)
        if self._dialogue.tls:
            await self._start_tls(stream)
        for step in self._dialogue.steps:
            self.number += 1
            self._last_line = None
            began = self._trace.clock.monotonic()
            try:
                await self._take(step, stream)
            finally:
                if step.duration_key:
                    self._trace.facts[step.duration_key] = self._trace.clock.monotonic() - began

    def close(self) -> None:
        """Hang up, if there ever was a connection."""
        if self._stream is not None:
            self._stream.close()

    async def _take(self, step: Step, stream: Stream) -> None:
        reply = step.reply
        if step.pattern is not None:
            match = await self._hear(step.pattern, step, stream)
            reply = expand(reply, match)
            if step.labels:
                labels = {name: expand(text, match) for name, text in step.labels}
                self._trace.heard(fact_key("probe_expect_info", **labels), 1.0)
        if step.expected:
            await self._hear_bytes(step.expected, step, stream)
        if step.until:
            await self._hear_until(step.until, stream)
        data = f"{reply}\n".encode() if reply else step.data
        if data:
            self._trace.note("sending", step=self.number, bytes=len(data))
            self._say(step, data)
            await stream.send(data)
        if step.starttls:
            await self._start_tls(stream)

    def _say(self, step: Step, data: bytes) -> None:
        if self._trace.steps is not None:
            self._trace.said("perfmon", _SECRET if step.secret_reply else _as_text(data))

    def _demand(self, name: str, expected: str, got: str, *, met: bool) -> None:
        self._trace.demand(f"step {self.number}: {name}", expected=expected, got=got, met=met)

    async def _hear(self, pattern: Pattern, step: Step, stream: Stream) -> Match:
        """Skip lines up to the first that matches."""
        self._expected = f"a line that matches {_SECRET if step.secret else quoted(pattern.pattern)}"
        while (line := await stream.line()) is not None:
            match = pattern.search(line)
            if self._trace.lines is not None:
                shown = _SECRET if step.secret and match else quoted(line)
                self._trace.note("read line", step=self.number, line=shown, matches=match is not None)
                self._trace.said("target", _SECRET if step.secret and match else line)
            if match is not None:
                self._demand("line", self._expected, _SECRET if step.secret else quoted(line), met=True)
                return match
            self._last_line = line
            if step.refusal is not None and step.refusal.search(line) is not None:
                raise self._broken("tls_handshake", f"{stream.peer} refused TLS: {quoted(line)}")
        self.mismatch = "regex"
        self._demand("line", self._expected, "none" if self._last_line is None else quoted(self._last_line), met=False)
        if self._last_line is None:
            raise self._broken("closed", f"{stream.peer} closed the connection, expected {self._expected}")
        raise self._broken("body", f"expected {self._expected}, the last was {quoted(self._last_line)}")

    async def _hear_bytes(self, expected: bytes, step: Step, stream: Stream) -> None:
        self._expected = f"the bytes {_SECRET if step.secret else _shown(expected)}"
        came = await stream.same(expected)
        if self._trace.lines is not None:
            shown = _SECRET if step.secret and came == expected else _shown(came)
            self._trace.note("read bytes", step=self.number, bytes=shown, matches=came == expected)
            self._trace.said("target", shown)
            self._demand("bytes", self._expected, shown, met=came == expected)
        if came == expected:
            return
        self.mismatch = "bytes"
        if not came:
            raise self._broken("closed", f"{stream.peer} closed the connection, expected {self._expected}")
        raise self._broken("body", f"expected {self._expected}, got {_shown(came)}")

    async def _hear_until(self, marker: bytes, stream: Stream) -> None:
        self._expected = f"the bytes {_shown(marker)}"
        if not await stream.skip_past(marker):
            self._demand("bytes", self._expected, "none", met=False)
            raise self._broken("closed", f"{stream.peer} closed the connection, expected {self._expected}")
        self._trace.said("target", f"... {_shown(marker)}")
        self._demand("bytes", self._expected, "these", met=True)

    async def _start_tls(self, stream: Stream) -> None:
        route = self._dialogue.route
        await stream.start_tls(route)
        self.certificates, self.protocol = stream.certificates, stream.protocol
        if self.certificates:
            tell_certificates(self._trace, self.certificates, route.tls, None, peer=route.peer, name=route.name)

    # ------------------------------------------------------------ what went wrong

    def _broken(self, reason: Reason, message: str) -> Broken:
        return Broken(Failure(reason=reason, phase="processing", message=message))

    def out_of_time(self, phase: Phase, elapsed_s: float) -> Failure:
        """The failure of a dialogue that was cut off in `phase`."""
        route, elapsed = self._dialogue.route, format_duration(elapsed_s, brief=True)
        peer = self._stream.peer if self._stream else route.peer
        reason: Reason = "connect_timeout" if phase == "connect" else "timeout"
        match phase:
            case "connect":
                message = f"no connection to {peer} after {elapsed}"
            case "tls":
                message = f"TLS handshake with {peer} was not over after {elapsed}"
            case "request":
                message = f"{peer} had not taken what was sent after {elapsed}"
            case _:
                message = f"{peer} had not sent {self._expected} after {elapsed}"
                self._demand("answer", self._expected, "nothing of it in time", met=False)
        return Failure(reason=reason, phase=phase, message=message, evidence=self.evidence())

    def evidence(self) -> dict[str, str]:
        """Which step was under way, and the last line heard in it that was none of the expected."""
        evidence = {"step": str(self.number)} if self.number else {}
        if self._last_line is not None:
            evidence["line"] = self._last_line[:_SHOWN]
        return evidence


async def _explained(refused: Failure, talk: _Talk, dialogue: Dialogue, trace: Trace) -> Failure:
    """OpenSSL keeps no certificate that it refused, so the dialogue is held again, by one who believes everything.

    It takes place within the deadline and counts for no phase.
    """
    if trace.remaining() < WORTH_A_LOOK_S:
        return refused
    route = dialogue.route
    believing = msgspec.structs.replace(route, tls=msgspec.structs.replace(route.tls, insecure_skip_verify=True))
    steps = dialogue.steps[: talk.number]
    quiet = Trace(clock=trace.clock, deadline=trace.deadline, network=trace.network)
    seen = await hold(msgspec.structs.replace(dialogue, route=believing, steps=steps), quiet)
    talk.certificates = seen.certificates
    if not seen.certificates:
        return refused
    told = tell_certificates(trace, seen.certificates, route.tls, refused, peer=route.peer, name=route.name)
    return told or refused


def _as_text(data: bytes) -> str:
    """A line as it is, anything else as bytes are written."""
    try:
        text = data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        return _shown(data)
    return text if text.isprintable() else _shown(data)


def _shown(data: bytes) -> str:
    """Bytes as Python writes them, without its b."""
    return repr(data[:_SHOWN])[1:]
