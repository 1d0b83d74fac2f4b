"""The protocol of MySQL and MariaDB as a probe needs it: greet, prove who one is, ask one question, read the answer.

https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html and https://mariadb.com/kb/en/clientserver-protocol/,
version 10. Of an answer only the first row is kept; the others are counted and skipped.
"""

import hashlib
import struct
from collections.abc import Callable, Iterator

import msgspec

from perfmon.model import Failure, Reason
from perfmon.network.database import MAX_MESSAGE_BYTES, Answer, shown
from perfmon.network.stream import Broken
from perfmon.network.wire import Wire
from perfmon.units import quoted

__all__ = [
    "Credentials",
    "Greeting",
    "MysqlConversation",
    "cells_of",
    "column_of",
    "greeting_of",
    "native_password",
    "sha2_password",
]

_LONG_PASSWORD, _WITH_DATABASE, _PROTOCOL_41, _TLS = 0x1, 0x8, 0x200, 0x800
_TRANSACTIONS, _SECURE_CONNECTION, _PLUGIN_AUTH = 0x2000, 0x8000, 0x80000
_CAPABILITIES = _LONG_PASSWORD | _PROTOCOL_41 | _TRANSACTIONS | _SECURE_CONNECTION | _PLUGIN_AUTH
_UTF8MB4 = 45
_QUIT, _QUERY, _PING = b"\x01", b"\x03", b"\x0e"
_OK, _NULL, _EOF, _ERROR = 0x00, 0xFB, 0xFE, 0xFF
_MAX_PACKET = 0xFFFFFF  # a packet of this size is continued in the next one
_FIRST_NUMBERS = 2  # a greeting has number 0, and some servers' refusals have 1
_MAX_COLUMNS, _NAME_CHARACTERS = 4096, 256  # MySQL's own limits


class Greeting(msgspec.Struct, frozen=True, kw_only=True):
    """What a server says first."""

    version: str  # "10.11.6-MariaDB-0+deb12u1"
    capabilities: int
    salt: bytes
    method: str  # of authentication

    @property
    def is_mariadb(self) -> bool:
        """Both speak the same protocol, but not the same SQL."""
        return "MariaDB" in self.version


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """Who logs in, and where."""

    username: str
    password: str
    database: str


class MysqlConversation:
    """One connection to MySQL or MariaDB, whose answer goes into `answer`."""

    def __init__(
        self, answer: Answer, credentials: Credentials, query: str, *, tls: bool, statement_timeout_s: float
    ) -> None:
        self.answer = answer
        self.farewell = b""
        self._credentials = credentials
        self._query = query
        self._tls = tls
        self._statement_timeout_s = statement_timeout_s  # 0 = the server may go on after the deadline
        self._greeting: Greeting
        self._number = 0  # of the next packet, counted by both sides

    async def before_tls(self, wire: Wire) -> None:
        """Hear the greeting, and ask for TLS."""
        wire.trace.begin("request")
        size = await self._size(wire)
        if size > MAX_MESSAGE_BYTES or self._number > _FIRST_NUMBERS:
            raise _no_mysql(wire, size.to_bytes(3, "little"))
        body = await self._rest(wire, size)
        if body[:1] == bytes([_ERROR]):
            raise Broken(_error(wire, body, "connection"))
        greeting = greeting_of(body)
        if greeting is None:
            raise _no_mysql(wire, body)
        wire.trace.note("greeted", version=greeting.version, method=greeting.method)
        self._greeting = greeting
        if not self._tls:
            return
        if not greeting.capabilities & _TLS:
            raise wire.broken("tls_handshake", f"{wire.peer} does not offer TLS")
        wire.trace.begin("tls")
        await self._send(wire, self._login_head())

    async def talk(self, wire: Wire) -> Failure | None:
        """Log in, ask, and read to the end."""
        wire.trace.begin("request")
        await self._log_in(wire)
        self.farewell = _numbered(_QUIT, 0)
        if self._query and self._statement_timeout_s:
            await self._limit_statements(wire)
        self._number = 0
        await self._send(wire, _QUERY + self._query.encode() if self._query else _PING)
        wire.trace.begin("processing")
        return await self._read_answer(wire)

    # ------------------------------------------------------------ log-in

    async def _log_in(self, wire: Wire) -> None:
        method, salt = self._greeting.method, self._greeting.salt
        proof = self._proof(wire, method, salt) if method in _METHODS else b""
        who = self._credentials
        database = who.database.encode() + b"\0" if who.database else b""
        name = (method if method in _METHODS else "mysql_native_password").encode() + b"\0"
        response = bytes([len(proof)]) + proof + database + name
        await self._send(wire, self._login_head() + who.username.encode() + b"\0" + response)
        while True:
            body = await self._packet(wire)
            match body[0] if body else _EOF:
                case 0x00:
                    return
                case 0xFF:
                    raise Broken(_error(wire, body, "log-in"))
                case 0xFE:
                    method, salt = _switch_of(body)
                    await self._send(wire, self._proof(wire, method, salt))
                case 0x01 if body[1:2] == b"\x04":
                    await self._send(wire, self._in_clear(wire))
                case 0x01 if body[1:2] == b"\x03":
                    continue  # caching_sha2_password: the server had the hash at hand
                case _:
                    raise _no_mysql(wire, body)

    def _login_head(self) -> bytes:
        """What the request for TLS and the log-in begin with."""
        capabilities = _CAPABILITIES | (_TLS if self._tls else 0)
        capabilities |= _WITH_DATABASE if self._credentials.database else 0
        return struct.pack("<IIB23x", capabilities, _MAX_PACKET, _UTF8MB4)

    def _proof(self, wire: Wire, method: str, salt: bytes) -> bytes:
        prove = _METHODS.get(method)
        if prove is None:
            wanted = f"{wire.peer} wants authentication by {quoted(method)}, which perfmon does not speak"
            raise wire.broken("auth", wanted)
        wire.trace.note("asked to authenticate", method=method)
        return prove(self._credentials.password, salt[:20]) if self._credentials.password else b""

    def _in_clear(self, wire: Wire) -> bytes:
        """caching_sha2_password, when the server has forgotten the hash."""
        if not self._tls:
            raise wire.broken("auth", f"{wire.peer} wants the password in clear text, which is sent over TLS only")
        return self._credentials.password.encode() + b"\0"

    async def _limit_statements(self, wire: Wire) -> None:
        """Let the server end the query by itself: it notices only late that a client has gone."""
        seconds = self._statement_timeout_s
        setting = (
            f"max_statement_time={seconds:.3f}"
            if self._greeting.is_mariadb
            else f"max_execution_time={max(1, round(1000 * seconds))}"
        )
        self._number = 0
        await self._send(wire, _QUERY + f"SET SESSION {setting}".encode())
        body = await self._packet(wire)
        if body[:1] != bytes([_OK]):
            # Older servers do not know the setting; the query itself says all that matters.
            wire.trace.note("no statement timeout", code=int.from_bytes(body[1:3], "little"))

    # ------------------------------------------------------------ the answer

    async def _read_answer(self, wire: Wire) -> Failure | None:
        body = await self._packet(wire)
        wire.trace.begin("transfer")
        match body[0] if body else _EOF:
            case 0x00:
                return None
            case 0xFF:
                return _error(wire, body, "query")
            case 0xFE:
                raise _no_mysql(wire, body)
            case 0xFB:
                raise wire.broken("query", "the query asks for a file of the client's, which is not given")
        count, _ = _length(body, 0)
        if not 0 < (count or 0) <= _MAX_COLUMNS:
            raise _no_mysql(wire, body)
        self.answer.columns = tuple([column_of(await self._packet(wire)) for _ in range(count or 0)])
        await self._packet(wire)  # the end of the columns
        return await self._rows(wire)

    async def _rows(self, wire: Wire) -> Failure | None:
        while True:
            size = await self._size(wire)
            if not self.answer.rows or size < 1024:
                body = await self._rest(wire, size)
                if body[:1] == bytes([_EOF]) and len(body) < 9:
                    return None
                if body[:1] == bytes([_ERROR]):
                    return _error(wire, body, "query")
                if not self.answer.rows:
                    self.answer.first = cells_of(body)
            else:
                await self._skip(wire, size)
            self.answer.rows += 1

    # ------------------------------------------------------------ packets

    async def _packet(self, wire: Wire) -> bytes:
        return await self._rest(wire, await self._size(wire))

    async def _size(self, wire: Wire) -> int:
        head = await wire.read(4)
        self._number = head[3] + 1 & 0xFF
        return int.from_bytes(head[:3], "little")

    async def _rest(self, wire: Wire, size: int) -> bytes:
        if size > MAX_MESSAGE_BYTES:
            raise wire.broken("too_large", f"{wire.peer} announces a packet of {size} bytes, expected 1 MiB at most")
        return await wire.read(size)

    async def _skip(self, wire: Wire, size: int) -> None:
        await wire.skip(size)
        while size == _MAX_PACKET:
            size = await self._size(wire)
            await wire.skip(size)

    async def _send(self, wire: Wire, body: bytes) -> None:
        await wire.write(_numbered(body, self._number))
        self._number = self._number + 1 & 0xFF


# ---------------------------------------------------------------- parts of packets


def _numbered(body: bytes, number: int) -> bytes:
    return len(body).to_bytes(3, "little") + bytes([number]) + body


def greeting_of(body: bytes) -> Greeting | None:
    """The server's first packet; None when it is none."""
    end = body.find(b"\0", 1)
    if body[:1] != b"\x0a" or end < 0 or len(body) < end + 32:
        return None
    at = end + 5  # behind the connection's number
    low, high = body[at + 9 : at + 11], body[at + 14 : at + 16]
    size = max(13, body[at + 16] - 8)
    rest = at + 27
    return Greeting(
        version=body[1:end].decode("utf-8", "replace").removeprefix("5.5.5-"),
        capabilities=int.from_bytes(low + high, "little"),
        salt=body[at : at + 8] + body[rest : rest + size].removesuffix(b"\0"),
        method=body[rest + size :].partition(b"\0")[0].decode("utf-8", "replace"),
    )


def _switch_of(body: bytes) -> tuple[str, bytes]:
    """The method that the server would rather have, and its salt."""
    method, _, salt = body[1:].partition(b"\0")
    return method.decode("utf-8", "replace"), salt.removesuffix(b"\0")


def column_of(body: bytes) -> str:
    """The name in a column's definition, the fifth of its texts; "" when it is cut short."""
    texts = list(_texts(body, 5))
    return (texts[4] or "")[:_NAME_CHARACTERS] if len(texts) > 4 else ""


def cells_of(body: bytes) -> tuple[str | None, ...]:
    """The values of a row, None for NULL; what is cut short ends it."""
    return tuple(_texts(body, _MAX_COLUMNS))


def _texts(body: bytes, count: int) -> Iterator[str | None]:
    at = 0
    for _ in range(count):
        if at >= len(body):
            return
        size, at = _length(body, at)
        if at + (size or 0) > len(body):
            return
        yield None if size is None else body[at : at + size].decode("utf-8", "replace")
        at += size or 0


def _length(body: bytes, at: int) -> tuple[int | None, int]:
    """A length-encoded number (None for NULL), and where it ends."""
    first = body[at]
    if first == _NULL:
        return None, at + 1
    width = _WIDTHS.get(first, 0)
    if not width:
        return first, at + 1
    return int.from_bytes(body[at + 1 : at + 1 + width], "little"), at + 1 + width


_WIDTHS = {0xFC: 2, 0xFD: 3, 0xFE: 8}


# ---------------------------------------------------------------- passwords


def native_password(password: str, salt: bytes) -> bytes:
    """`SHA1(password) XOR SHA1(salt + SHA1(SHA1(password)))`."""
    hashed = _sha1(password.encode())
    return _xor(hashed, _sha1(salt + _sha1(hashed)))


def sha2_password(password: str, salt: bytes) -> bytes:
    """`SHA256(password) XOR SHA256(SHA256(SHA256(password)) + salt)`."""
    hashed = _sha256(password.encode())
    return _xor(hashed, _sha256(_sha256(hashed) + salt))


_METHODS: dict[str, Callable[[str, bytes], bytes]] = {
    "mysql_native_password": native_password,
    "caching_sha2_password": sha2_password,
}


def _sha1(data: bytes) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).digest()


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


# ---------------------------------------------------------------- errors


def reason_of(code: int, during: str) -> Reason:
    """What an error's number means (https://mariadb.com/kb/en/mariadb-error-code-reference/)."""
    return _REASONS.get(code, "query" if during == "query" else "status")


_REASONS: dict[int, Reason] = {
    **dict.fromkeys((1045, 1698, 1251, 1820, 1862, 3118, 4151), "auth"),
    **dict.fromkeys((1044, 1129, 1130, 1142, 1143, 1227, 1370), "permission"),
    **dict.fromkeys((1290, 1792, 1836), "readonly"),
    **dict.fromkeys((1969, 3024), "timeout"),
}


def _error(wire: Wire, body: bytes, during: str) -> Failure:
    code, text = int.from_bytes(body[1:3], "little"), body[3:]
    state = ""
    if text[:1] == b"#":  # not before the client has said which protocol it speaks
        state, text = shown(text[1:6]), text[6:]
    return Failure(
        reason=reason_of(code, during),
        phase=wire.trace.phase or "",
        message=f"{wire.peer} refused the {during}: {shown(text)}",
        evidence={"code": str(code), "state": state},
    )


def _no_mysql(wire: Wire, said: bytes) -> Broken:
    return wire.broken("header", f"{wire.peer} does not speak MySQL's protocol", first_bytes=shown(said))
