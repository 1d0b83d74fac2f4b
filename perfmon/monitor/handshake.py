"""TLS between a socket and the connection that speaks HTTP: a protocol to the one, a transport to the other.

asyncio has its own, but counts no connection before its handshake is over, asks for settings once and not at each
connection, and waits half a minute for a client's part of the end. Here a handshake is bounded in number and in time
as a request is.
"""

import asyncio
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, cast

from perfmon.monitor.bounds import Bounds

__all__ = ["Handshake", "Secure"]

_READ_BYTES = 65_536


class Secure(Protocol):
    """What connections begin with; asked at each of them, so that a change counts from the next one on."""

    def context(self) -> ssl.SSLContext:
        """The settings of TLS."""
        ...

    def admits(self, certificate: dict[str, Any] | None) -> bool:
        """Whether a client with this verified certificate, as `getpeercert()` gives it, may come in."""
        ...


class Handshake(asyncio.Protocol):
    """One connection. Until the handshake is over it stands among uvicorn's connections, and then what it made does."""

    def __init__(self, bounds: Bounds, secure: Secure, make: Callable[..., asyncio.Protocol], **rest: Any) -> None:
        """`make` with the rest, which is uvicorn's, makes the connection that speaks HTTP."""
        self.transport: asyncio.Transport
        self._bounds = bounds
        self._secure = secure
        self._make = partial(make, **rest)
        self._among: set[Any] = rest["server_state"].connections
        self._within: asyncio.Protocol | None = None  # once the handshake is over
        self._timer: asyncio.TimerHandle | None = None
        self._received, self._to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject

    # ------------------------------------------------------------ what the socket tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake, unless there are too many connections."""
        self.transport = cast("asyncio.Transport", transport)
        self._among.add(self)
        if len(self._among) > self._bounds.connections:
            self.transport.abort()
            return
        self._tls = self._secure.context().wrap_bio(self._received, self._to_send, server_side=True)
        self._timer = asyncio.get_running_loop().call_later(self._bounds.request_s, self.transport.abort)

    def data_received(self, data: bytes) -> None:
        """Some of the handshake, or of what comes after it."""
        if self.transport.is_closing():
            return
        self._received.write(data)
        try:
            if self._within is None:
                self._shake()
            self._hand_on()
        except ssl.SSLError:
            # What strangers send is no event of ours; the reason goes to them, as an alert of TLS.
            self._flush()
            self.transport.close()

    def pause_writing(self) -> None:
        """The client does not read."""
        if self._within is not None:
            self._within.pause_writing()

    def resume_writing(self) -> None:
        """It does again."""
        if self._within is not None:
            self._within.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client went, or was sent away."""
        self._among.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._within is not None:
            self._within.connection_lost(exc)

    def shutdown(self) -> None:
        """The server ends, and no request has begun."""
        self.transport.abort()

    # ------------------------------------------------------------ the handshake and after it

    def _shake(self) -> None:
        """Go on with the handshake, and put the real connection in place when it is over."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return
        finally:
            self._flush()
        assert self._timer is not None, "it was set when the connection was made"
        self._timer.cancel()
        self._among.discard(self)
        if not self._secure.admits(self._tls.getpeercert()):
            self.transport.abort()
            return
        self._within = self._make()
        self._within.connection_made(_Within(self.transport, self._tls, self._flush))

    def _hand_on(self) -> None:
        """All that was decrypted; nothing after the client's end, which closes the connection."""
        while self._within is not None and not self.transport.is_closing():
            try:
                data = self._tls.read(_READ_BYTES)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                data = b""
            if not data:
                self.transport.close()
                break
            self._within.data_received(data)
        self._flush()

    def _flush(self) -> None:
        if self._to_send.pending and not self.transport.is_closing():
            self.transport.write(self._to_send.read())


class _Within(asyncio.Transport):
    """What the connection within writes to; all else is the socket's."""

    def __init__(self, outer: asyncio.Transport, tls: ssl.SSLObject, flush: Callable[[], None]) -> None:
        super().__init__({"sslcontext": tls.context, "ssl_object": tls})
        self._outer = outer
        self._tls = tls
        self._flush = flush

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        own = super().get_extra_info(name)
        return self._outer.get_extra_info(name, default) if own is None else own

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if data and not self.is_closing():
            try:
                self._tls.write(data)
            except ssl.SSLError:  # the client broke the protocol: it can be told nothing any more
                self.abort()
            self._flush()

    def close(self) -> None:
        """Say the end, and do not wait for the client's: every answer tells its own length."""
        if not self.is_closing():
            try:
                self._tls.unwrap()
            except ssl.SSLError:  # it has not said its own end yet
                self._flush()
            self._outer.close()

    def abort(self) -> None:
        self._outer.abort()

    def is_closing(self) -> bool:
        return self._outer.is_closing()

    def is_reading(self) -> bool:
        return self._outer.is_reading()

    def pause_reading(self) -> None:
        self._outer.pause_reading()

    def resume_reading(self) -> None:
        self._outer.resume_reading()

    def get_write_buffer_size(self) -> int:
        return self._outer.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._outer.set_write_buffer_limits(high, low)

    def can_write_eof(self) -> bool:
        return False
