"""PostgreSQL's protocol as a probe needs it: start, prove who one is, ask one question, read the answer.

https://www.postgresql.org/docs/current/protocol.html, version 3.0. Of an answer only the first row is kept; the others
are counted and skipped, so that its length matters only for the time it takes.
"""

import struct
from collections.abc import Callable, Container, Iterator, Mapping

from perfmon.model import Failure, Reason
from perfmon.network.database import MAX_MESSAGE_BYTES, Answer, shown
from perfmon.network.scram import Scram, ScramError, md5_password
from perfmon.network.stream import Broken
from perfmon.network.wire import Wire

__all__ = ["PostgresConversation", "cells_of", "columns_of", "fields_of", "reason_of"]

_VERSION_3_0 = 196_608
_SSL_REQUEST = struct.pack("!II", 8, 80_877_103)
_ADMITTED = bytes(4)  # AuthenticationOk
_OTHER_METHODS = {2: "Kerberos V5", 7: "GSSAPI", 9: "SSPI"}
# What a server may send when: any other first letter means that it is no PostgreSQL.
_FIRST, _LOG_IN, _ANSWER = frozenset(b"RENv"), frozenset(b"RENvSKAZ"), frozenset(b"TDCIENSAZGHW")


class PostgresConversation:
    """One connection to PostgreSQL, whose answer goes into `answer`."""

    def __init__(self, answer: Answer, parameters: Mapping[str, str], password: str, query: str, *, tls: bool) -> None:
        self.answer = answer
        self.farewell = b""
        self._parameters = parameters  # user, database and settings of the session
        self._password = password
        self._query = query
        self._tls = tls

    async def before_tls(self, wire: Wire) -> None:
        """Ask for TLS; the server says in one byte whether it has any."""
        if not self._tls:
            return
        wire.trace.begin("tls")
        await wire.write(_SSL_REQUEST)
        match await wire.read(1):
            case b"S":
                return
            case b"N":
                raise wire.broken("tls_handshake", f"{wire.peer} does not offer TLS")
            case b"E":
                raise wire.broken("status", f"{wire.peer} refused before TLS began: too busy or too old")
            case other:
                raise _no_postgres(wire, other)

    async def talk(self, wire: Wire) -> Failure | None:
        """Log in, ask, and read to the end."""
        await self._log_in(wire)
        self.farewell = b"X\0\0\0\4"
        return await self._ask(wire)

    async def _log_in(self, wire: Wire) -> None:
        wire.trace.begin("request")
        pairs = "".join(f"{name}\0{value}\0" for name, value in self._parameters.items()).encode() + b"\0"
        await wire.write(struct.pack("!II", len(pairs) + 8, _VERSION_3_0) + pairs)
        scram: Scram | None = None
        known, admitted = _FIRST, False
        while True:
            kind, size = await _head(wire, known)
            known = _LOG_IN
            body = await wire.read(_bounded(wire, size))
            if kind == b"Z" and admitted:
                return
            if kind == b"Z":
                raise _no_postgres(wire, kind)
            if kind == b"E":
                raise Broken(_error(wire, body, "log-in"))
            if kind == b"R":
                admitted = body[:4] == _ADMITTED
                scram = await self._prove(wire, body, scram)

    async def _prove(self, wire: Wire, body: bytes, scram: Scram | None) -> Scram | None:
        """One step of authentication."""
        if len(body) < 4:
            raise _no_postgres(wire, body)
        (method,), data = struct.unpack_from("!I", body), body[4:]
        wire.trace.note("asked to authenticate", method=method)
        match method:
            case 0:
                if scram is not None and not scram.proved:
                    raise wire.broken("auth", f"{wire.peer} did not prove that it knows the password")
            case 3 if self._tls:
                await wire.write(_message(b"p", self._password.encode() + b"\0"))
            case 3:
                raise wire.broken("auth", f"{wire.peer} wants the password in clear text, which is sent over TLS only")
            case 5 if len(data) == 4:
                hashed = md5_password(self._parameters["user"], self._password, data)
                await wire.write(_message(b"p", hashed.encode() + b"\0"))
            case 10 if b"SCRAM-SHA-256" in data.split(b"\0"):
                scram = Scram(self._password)
                first = scram.first()
                head = b"SCRAM-SHA-256\0" + struct.pack("!I", len(first))
                await wire.write(_message(b"p", head + first))
            case 11 if scram is not None:
                await wire.write(_message(b"p", _step(wire, scram.final, data)))
            case 12 if scram is not None:
                _step(wire, scram.verify, data)
            case _:
                name = _OTHER_METHODS.get(method, f"method {method}")
                raise wire.broken("auth", f"{wire.peer} wants authentication by {name}, which perfmon does not speak")
        return scram

    async def _ask(self, wire: Wire) -> Failure | None:
        await wire.write(_message(b"Q", self._query.encode() + b"\0"))
        wire.trace.begin("processing")
        failure: Failure | None = None
        answered = False
        while True:
            kind, size = await _head(wire, _ANSWER)
            if wire.trace.phase == "processing" and kind != b"N":
                wire.trace.begin("transfer")
            answered = answered or kind in (b"C", b"I", b"E")
            match kind:
                case b"Z" if not answered:  # ready for the next query, and silent about this one
                    raise _no_postgres(wire, kind)
                case b"Z":
                    await wire.skip(size)
                    return failure
                case b"E":
                    body = await wire.read(_bounded(wire, size))
                    failure = failure or _error(wire, body, "query")
                    if failure.evidence.get("severity") in ("FATAL", "PANIC"):
                        return failure
                case b"T":
                    columns = columns_of(await wire.read(_bounded(wire, size)))
                    self.answer.columns, self.answer.first, self.answer.rows = columns, (), 0
                case b"D":
                    await self._row(wire, size)
                case b"G" | b"H" | b"W":
                    raise wire.broken("query", "the query is a COPY, expected one that gives rows")
                case _:
                    await wire.skip(size)

    async def _row(self, wire: Wire, size: int) -> None:
        self.answer.rows += 1
        if self.answer.rows > 1:
            await wire.skip(size)
        else:
            self.answer.first = cells_of(await wire.read(_bounded(wire, size)))


# ---------------------------------------------------------------- messages


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


async def _head(wire: Wire, known: Container[int]) -> tuple[bytes, int]:
    """The kind of the next message, one of those `known` now, and the length of its body."""
    head = await wire.read(5)
    (size,) = struct.unpack_from("!I", head, 1)
    if head[0] not in known or size < 4:
        raise _no_postgres(wire, head)
    return head[:1], size - 4


def _bounded(wire: Wire, size: int) -> int:
    if size > MAX_MESSAGE_BYTES:
        raise wire.broken("too_large", f"{wire.peer} announces a message of {size} bytes, expected 1 MiB at most")
    return size


def _no_postgres(wire: Wire, said: bytes) -> Broken:
    return wire.broken("header", f"{wire.peer} does not speak PostgreSQL's protocol", first_bytes=shown(said))


def _step(wire: Wire, take: Callable[[bytes], bytes], data: bytes) -> bytes:
    try:
        return take(data)
    except ScramError as error:
        raise wire.broken("auth", f"{wire.peer}: {error}") from None


def columns_of(body: bytes) -> tuple[str, ...]:
    """The names in a RowDescription; what is cut short ends it."""
    count, at, names = int.from_bytes(body[:2], "big"), 2, []
    for _ in range(count):
        end = body.find(b"\0", at)
        if end < 0:
            break
        names.append(body[at:end].decode("utf-8", "replace"))
        at = end + 19
    return tuple(names)


def cells_of(body: bytes) -> tuple[str | None, ...]:
    """The values of a DataRow, None for NULL; what is cut short ends it."""
    return tuple(_cells(body, int.from_bytes(body[:2], "big")))


def _cells(body: bytes, count: int) -> Iterator[str | None]:
    at = 2
    for _ in range(count):
        size = int.from_bytes(body[at : at + 4], "big", signed=True)
        at += 4
        if at > len(body) or at + size > len(body):
            return
        yield None if size < 0 else body[at : at + size].decode("utf-8", "replace")
        at += max(0, size)


# ---------------------------------------------------------------- errors


def fields_of(body: bytes) -> dict[str, str]:
    """The fields of an ErrorResponse by their letter: S severity, C SQLSTATE, M message."""
    parts = (part.decode("utf-8", "replace") for part in body.split(b"\0") if part)
    return {part[0]: part[1:] for part in parts}


def reason_of(code: str, during: str) -> Reason:
    """What an SQLSTATE means (https://www.postgresql.org/docs/current/errcodes-appendix.html)."""
    if code in _REASONS:
        return _REASONS[code]
    if code.startswith("28"):
        return "auth"
    return "query" if during == "query" else "status"


_REASONS: dict[str, Reason] = {
    "42501": "permission",  # insufficient_privilege
    "57P03": "loading",  # cannot_connect_now: starting up, or in recovery
    "25006": "readonly",  # read_only_sql_transaction
    "57014": "timeout",  # query_canceled, by statement_timeout
    "57P01": "closed",  # admin_shutdown
    "57P02": "closed",  # crash_shutdown
}


def _error(wire: Wire, body: bytes, during: str) -> Failure:
    fields = fields_of(body)
    code, severity, said = fields.get("C", ""), fields.get("V", fields.get("S", "")), shown(fields.get("M", ""))
    return Failure(
        reason=reason_of(code, during),
        phase=wire.trace.phase or "",
        message=f"{wire.peer} refused the {during}: {said}{_HINTS.get(said, '')}",
        evidence={"code": shown(code), "severity": shown(severity)},
    )


# PgBouncer hands no settings on that it does not know.
_HINTS = {"unsupported startup parameter: statement_timeout": "; set statement_timeout: false"}
