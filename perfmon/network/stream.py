"""A TCP connection to talk over: lines and bytes both ways, TLS from the beginning or from the middle.

Each thing done is a phase of the trace. Whatever the other side does wrong is a `Broken` with the failure in it; time
that runs out is the caller's affair (`asyncio.timeout`), and so is `close`, however the talk ended.
"""

import asyncio
import contextlib
import errno
import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec

from perfmon.model import Failure, Phase, Reason
from perfmon.network import blame
from perfmon.network.address import BadAddress, bracketed, objection, parse_host_port, parse_name
from perfmon.network.resolve import Family
from perfmon.network.tls import TlsConfig, version_key
from perfmon.network.tls_context import Unusable, client_context, sent_chain
from perfmon.trace import Trace
from perfmon.units import quoted

__all__ = ["Broken", "Route", "Stream", "check_source", "connect", "route_to"]

_LONGEST_LINE_BYTES = 64 * 1024  # as Go's line scanner has it, and so blackbox_exporter
_CHUNK_BYTES = 4096
_TRY_AGAIN_S = 0.01
_GONE = (errno.ECONNRESET, errno.EPIPE)

T = TypeVar("T")


class Route(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Where to connect to, and from where."""

    host: str = ""  # the name to look up, or an address
    port: int = 0
    path: str = ""  # of a Unix socket, instead of both; "@name" for one that is in no file system
    name: str  # what SNI says and the certificate must be for, "" when nobody asks
    prefer: Family = "ip6"
    fallback: bool = True
    source: str = ""  # the address of this machine's to connect from
    tls: TlsConfig
    alpn: tuple[str, ...] = ()  # protocols to offer in the handshake

    def to(self, address: str) -> str:
        """The other side as messages name it: "[::1]:25"."""
        return self.path or f"{bracketed(address)}:{self.port}"

    @property
    def peer(self) -> str:
        """The other side by its name."""
        return self.to(self.host)


def route_to(
    address: str,
    hostname: str,
    *,
    prefer: Family,
    fallback: bool,
    source: str,
    tls: TlsConfig,
    alpn: tuple[str, ...] = (),
) -> Route:
    """The way to `host:port`; `hostname` is what the certificate must be for when it differs. BadAddress in words."""
    host, port = parse_host_port(address)
    return Route(
        host=host,
        port=port,
        name=parse_name(tls.server_name or hostname or host),
        prefer=prefer,
        fallback=fallback,
        source=_source(source),
        tls=tls,
        alpn=alpn,
    )


def check_source(address: str) -> Iterable[tuple[str, str]]:
    """What is wrong with a module's `source_ip_address`, as (path, message)."""
    message = objection(_source, address)
    if message is not None:
        yield "source_ip_address", message


def _source(address: str) -> str:
    try:
        return address and str(ipaddress.ip_address(address))
    except ValueError as error:
        raise BadAddress(str(error)) from None


class Broken(Exception):
    """The connection is of no more use; `failure` says why. `refused` when it was us who did not like a certificate."""

    def __init__(self, failure: Failure, *, refused: bool = False) -> None:
        self.failure = failure
        self.refused = refused
        super().__init__(failure.message)


async def connect(route: Route, addresses: Iterable[str], trace: Trace) -> "Stream":
    """A connection that stands, without TLS, to the first address that does not refuse it."""
    trace.begin("connect")
    failure = None
    for address in addresses:
        peer = route.to(address)
        trace.note("connecting", to=peer)
        try:
            sock = await (_dial_path(route.path) if route.path else _dial(address, route))
            return Stream(sock, peer, trace)
        except OSError as error:
            failure = _not_connected(error, peer, route, trace)
        if failure.reason != "connect_refused":
            break
    assert failure is not None, "a name leads somewhere"
    raise Broken(failure)


class Stream:
    """The connection, and what came on it that nobody has read yet."""

    __slots__ = ("_buffer", "_incoming", "_loop", "_outgoing", "_sock", "_tls", "_trace", "peer")

    def __init__(self, sock: socket.socket, peer: str, trace: Trace) -> None:
        self.peer = peer  # "127.0.0.1:25"
        self._sock = sock
        self._trace = trace
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._tls: ssl.SSLObject | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()

    async def send(self, data: bytes) -> None:
        """Exactly these bytes."""
        self._trace.begin("request")
        await self.write(data)

    async def write(self, data: bytes) -> None:
        """Exactly these bytes, in the phase that is under way."""
        tls = self._tls
        try:
            if tls is None:
                await self._loop.sock_sendall(self._sock, data)
            else:
                await self._through_tls(lambda: tls.write(data))
        except OSError as error:
            raise self._lost(error) from None

    async def read(self) -> bytes:
        """What comes next, in the phase that is under way; nothing when the other side has said all."""
        if not self._buffer:
            await self._more()
        return self._take(len(self._buffer))

    async def line(self) -> str | None:
        """The next line, without its end and with U+FFFD for what is no UTF-8; None when there are no more.

        What stands after the last line end when the connection ends is a line, too.
        """
        self._trace.begin("processing")
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > _LONGEST_LINE_BYTES:
                raise self._broken("too_large", "processing", f"{self.peer} sent a line of more than 64 KiB")
            if not await self._more():
                return self._take(searched).decode("utf-8", "replace") if searched else None
        line = self._take(end + 1)[:-1]
        return line.removesuffix(b"\r").decode("utf-8", "replace")

    async def same(self, expected: bytes) -> bytes:
        """Read until `expected` has come or something else has; what came, as many bytes at most."""
        self._trace.begin("processing")
        while expected.startswith(self._buffer) and len(self._buffer) < len(expected):
            if not await self._more():
                break
        return self._take(len(expected))

    async def skip_past(self, marker: bytes) -> bool:
        """Read until `marker` has come, and forget it and all before it; False when it never did."""
        self._trace.begin("processing")
        while (at := self._buffer.find(marker)) < 0:
            del self._buffer[: 1 - len(marker) or None]  # the marker may have come in part
            if not await self._more():
                return False
        self._take(at + len(marker))
        return True

    async def exactly(self, size: int) -> bytes:
        """As many bytes; fewer when the connection ends before."""
        self._trace.begin("processing")
        while len(self._buffer) < size:
            if not await self._more():
                break
        return self._take(size)

    async def start_tls(self, route: Route) -> None:
        """Shake hands. What was sent unencrypted and is not read yet is forgotten, as RFC 3207 demands."""
        self._trace.begin("tls")
        self._buffer.clear()
        try:
            context = client_context(route.tls, route.alpn)
        except Unusable as error:
            reason: Reason = "tls_handshake" if error.own else "tls_untrusted"
            raise self._broken(reason, "tls", str(error)) from None
        try:
            tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=route.name or None)
            await self._through_tls(tls.do_handshake)
        except OSError as error:
            self._flush_without_waiting()  # the alert that says why we go
            raise self._not_shaken(error) from None
        except ValueError as error:
            message = f"{quoted(route.name)} is no name to ask for by TLS: {error}"
            raise self._broken("tls_name_mismatch", "tls", message) from None
        self._tls = tls
        self._trace.end()
        self._trace.facts[version_key(tls.version() or "")] = 1.0
        self._trace.note("hands shaken", version=tls.version(), cipher=(tls.cipher() or ("",))[0])

    @property
    def certificates(self) -> tuple[str, ...]:
        """What the server showed, PEM, leaf first; nothing without TLS."""
        return sent_chain(self._tls) if self._tls else ()

    @property
    def protocol(self) -> str:
        """What ALPN agreed on."""
        return (self._tls.selected_alpn_protocol() if self._tls else None) or ""

    def close(self, farewell: bytes = b"") -> None:
        """Say goodbye, in the protocol's words too where it has any, do not wait for an answer, and let go."""
        if self._tls is None:
            self._outgoing.write(farewell)
        else:
            with contextlib.suppress(ssl.SSLError):  # it wants to hear the other side's goodbye
                if farewell:
                    self._tls.write(farewell)
                self._tls.unwrap()
        self._flush_without_waiting()
        self._sock.close()

    # ------------------------------------------------------------ bytes

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    async def _more(self) -> bool:
        """Wait for more to stand in the buffer; False when the other side has said all."""
        tls = self._tls
        try:
            if tls is None:
                chunk = await self._receive()
            else:
                chunk = await self._through_tls(lambda: tls.read(_CHUNK_BYTES))
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return False
        except OSError as error:
            raise self._lost(error) from None
        self._buffer += chunk
        return bool(chunk)

    async def _receive(self) -> bytes:
        chunk = await self._loop.sock_recv(self._sock, _CHUNK_BYTES)
        if len(chunk) == _CHUNK_BYTES:
            await asyncio.sleep(0)  # more is there at once: let others have their turn, the deadline too
        return chunk

    async def _through_tls(self, act: Callable[[], T]) -> T:
        """Do what OpenSSL is asked for, and carry its records to and fro meanwhile."""
        while True:
            try:
                done = act()
            except ssl.SSLWantReadError:
                await self._flush()
                chunk = await self._receive()
                if chunk:
                    self._incoming.write(chunk)
                else:
                    self._incoming.write_eof()
            else:
                await self._flush()
                return done

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._loop.sock_sendall(self._sock, self._outgoing.read())

    def _flush_without_waiting(self) -> None:
        if self._outgoing.pending:
            with contextlib.suppress(OSError):  # nobody waits for it
                self._sock.send(self._outgoing.read())

    # ------------------------------------------------------------ what went wrong

    def _broken(self, reason: Reason, phase: Phase, message: str) -> Broken:
        return Broken(Failure(reason=reason, phase=phase, message=message))

    def _lost(self, error: OSError) -> Broken:
        phase = self._trace.phase or "connect"
        if isinstance(error, ssl.SSLError):  # TLS 1.3: the server judges our certificate after our handshake is over
            return self._broken("tls_handshake", phase, f"{self.peer} ended the TLS session: {_said(error)}")
        if error.errno in _GONE:
            return self._broken("reset", phase, f"connection reset by {self.peer}")
        return self._broken("closed", phase, f"connection with {self.peer} broke: {_said(error)}")

    def _not_shaken(self, error: OSError) -> Broken:
        if isinstance(error, ssl.SSLCertVerificationError):
            reason, message = blame.judge_certificate(error.verify_code, error.verify_message, self.peer)
            return Broken(Failure(reason=reason, phase="tls", message=message), refused=True)
        if isinstance(error, ssl.SSLError):
            return self._broken("tls_handshake", "tls", f"TLS handshake with {self.peer} failed: {_said(error)}")
        return self._lost(error)


# ---------------------------------------------------------------- connecting


async def _dial(address: str, route: Route) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if route.source:
            sock.bind((route.source, 0))
        await asyncio.get_running_loop().sock_connect(sock, (address, route.port))
    except BaseException:
        sock.close()
        raise
    return sock


async def _dial_path(path: str) -> socket.socket:
    """A Unix socket connects at once or not at all; when its queue is full the kernel says "try again", not when."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        while True:
            try:
                sock.connect(f"\0{path[1:]}" if path.startswith("@") else path)
            except BlockingIOError:
                await asyncio.sleep(_TRY_AGAIN_S)
            else:
                return sock
    except BaseException:
        sock.close()
        raise


def _not_connected(error: OSError, peer: str, route: Route, trace: Trace) -> Failure:
    trace.end()
    reason, message = blame.judge_connect(error.errno or 0, _said(error), peer, trace.phases["connect"])
    trace.begin("connect")
    if route.path and isinstance(error, PermissionError):
        reason = "permission"
    if route.source and reason == "unreachable":
        message += f" (from {route.source})"
    return Failure(reason=reason, phase="connect", message=message)


def _said(error: OSError) -> str:
    """OpenSSL's own words: of `[SSL: X] tlsv1 alert unknown ca (_ssl.c:1006)` three of them."""
    if isinstance(error, ssl.SSLError):
        text = str(error.args[1] if len(error.args) > 1 else error)
        return text.partition("] ")[2].partition(" (_ssl.c")[0] or text
    return (error.strerror or str(error)).lower()
