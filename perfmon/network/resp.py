"""Redis' protocol as a probe needs it: commands out, replies in, of each reply the beginning.

https://redis.io/docs/latest/develop/reference/protocol-spec/, RESP2, which Valkey, KeyDB and Dragonfly speak too.
"""

from collections.abc import Callable, Mapping, Sequence

from perfmon.model import Failure, Reason
from perfmon.network.database import MAX_MESSAGE_BYTES, Answer, shown
from perfmon.network.stream import Broken
from perfmon.network.wire import Wire

__all__ = ["PING", "ReplyError", "RespConversation", "command", "fields_of", "read_reply", "reason_of"]

_MAX_LINE_BYTES = 64 << 10
_KINDS = (b"+", b"-", b":", b"$", b"*")
_MAX_DEPTH = 8
_MAX_DIGITS = 18


class ReplyError(Exception):
    """The server's own words for why it does not do what it was asked."""


class RespConversation:
    """One connection to Redis, whose answer goes into `answer`."""

    def __init__(
        self,
        answer: Answer,
        log_in: Sequence[bytes],
        query: bytes,
        *,
        read_info: Callable[[Mapping[str, str]], Mapping[str, float]] | None,
    ) -> None:
        self.answer = answer
        self.farewell = b""
        self._log_in = log_in  # commands whose replies must be fine before anything is asked
        self._query = query
        self._read_info = read_info  # the facts in what INFO says; None = it is not asked

    async def before_tls(self, wire: Wire) -> None:
        """Nothing: TLS begins with the first byte."""

    async def talk(self, wire: Wire) -> Failure | None:
        """Log in, ask, and read to the end. What is asked goes out at once, with INFO behind it."""
        wire.trace.begin("request")
        if self._log_in:
            await wire.write(b"".join(self._log_in))
            for _ in self._log_in:
                await self._reply(wire, "log-in")
        await wire.write(self._query if self._read_info is None else self._query + command("INFO"))
        wire.trace.begin("processing")
        head = await wire.read(1)
        wire.trace.begin("transfer")
        reply = await self._reply(wire, "query", head)
        if self._query == PING and reply[0] != ("PONG",):  # POP3 greets with +OK, which would be a reply as well
            raise _no_redis(wire, (reply[0] or ("",))[0] or "")
        self.answer.columns, self.answer.first, self.answer.rows = ("reply",), *reply
        if self._read_info is not None:
            text, _ = await self._reply(wire, "INFO")
            wire.trace.facts.update(self._read_info(fields_of((text or ("",))[0] or "")))
        return None

    async def _reply(self, wire: Wire, to: str, head: bytes = b"") -> tuple[tuple[str | None, ...], int]:
        try:
            return await read_reply(wire, head)
        except ReplyError as error:
            raise Broken(_refused(wire, str(error), to)) from None


def command(*words: str) -> bytes:
    """A command as an array of its words."""
    encoded = [word.encode() for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)


PING = command("PING")
"""Whoever does not answer it with PONG is no Redis."""


async def read_reply(wire: Wire, head: bytes = b"", depth: int = 0) -> tuple[tuple[str | None, ...], int]:
    """The first value of a reply, if it has one, and how many there are; the others are read and dropped.

    ReplyError for an error, `Broken` for what is no reply. `head` is its first byte, if that was read before.
    """
    kind = head or await wire.read(1)
    if kind not in _KINDS:
        raise _no_redis(wire, kind)
    line = await wire.read_line(_MAX_LINE_BYTES)
    match kind:
        case b"+":
            return (line.decode("utf-8", "replace"),), 1
        case b"-" if depth:
            return (line.decode("utf-8", "replace"),), 1
        case b"-":
            raise ReplyError(line.decode("utf-8", "replace"))
        case b":":
            return (str(_number(wire, line)),), 1
        case b"$":
            return await _bulk(wire, _number(wire, line))
        case _ if depth < _MAX_DEPTH:
            return await _array(wire, _number(wire, line), depth)
        case _:
            raise wire.broken("too_large", f"{wire.peer} sent lists within lists, more than {_MAX_DEPTH} levels")


async def _bulk(wire: Wire, size: int) -> tuple[tuple[str | None, ...], int]:
    if size < 0:
        return (None,), 0
    if size > MAX_MESSAGE_BYTES:
        raise wire.broken("too_large", f"{wire.peer} announces a value of {size} bytes, expected 1 MiB at most")
    data = await wire.read(size + 2)
    return (data[:-2].decode("utf-8", "replace"),), 1


async def _array(wire: Wire, count: int, depth: int) -> tuple[tuple[str | None, ...], int]:
    first: tuple[str | None, ...] = ()
    for index in range(count):
        value, _ = await read_reply(wire, depth=depth + 1)
        if index == 0:
            first = value
    return first, max(0, count)


def _number(wire: Wire, line: bytes) -> int:
    digits = line.removeprefix(b"-")
    if not digits.isdigit() or len(digits) > _MAX_DIGITS + 1:
        raise _no_redis(wire, line)
    return int(line)


def fields_of(info: str) -> dict[str, str]:
    """What INFO says, by name; headings and lines without a colon are left out."""
    pairs = (line.partition(":") for line in info.splitlines() if not line.startswith("#"))
    return {name: value for name, colon, value in pairs if colon}


def reason_of(error: str, to: str) -> Reason:
    """What an error means: Redis says it by its first word, and where that is ERR, by its sentence."""
    word = error.partition(" ")[0]
    if word in _REASONS:
        return _REASONS[word]
    if to == "log-in" and ("password" in error or "AUTH" in error):
        return "auth"
    return "status" if to == "log-in" or "max number of clients" in error else "query"


_REASONS: dict[str, Reason] = {
    "NOAUTH": "auth",
    "WRONGPASS": "auth",
    "NOPERM": "permission",
    "DENIED": "permission",  # protected mode
    "LOADING": "loading",
    "MASTERDOWN": "loading",  # a replica that has lost its master and may not answer from old data
    "READONLY": "readonly",
    "BUSY": "status",
}


def _refused(wire: Wire, error: str, to: str) -> Failure:
    return Failure(
        reason=reason_of(error, to),
        phase=wire.trace.phase or "",
        message=f"{wire.peer} refused the {to}: {shown(error)}",
        evidence={"code": shown(error.partition(" ")[0])},
    )


def _no_redis(wire: Wire, said: bytes | str) -> Broken:
    return wire.broken("header", f"{wire.peer} does not speak Redis' protocol", first_bytes=shown(said))
