"""Listen: an ASGI application on several addresses, inside the loop that runs already.

uvicorn serves; here are the sockets, the bounds that it does not keep (size and time of a request's
head, number of connections), and an end that comes in time.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from perfmon.errors import UsageError
from perfmon.monitor.bounds import Bounds
from perfmon.monitor.handshake import Handshake, Secure

__all__ = ["Bounds", "addresses", "serve"]


@contextlib.asynccontextmanager
async def serve(
    app: ASGIApp,
    listen: Sequence[str],
    bounds: Bounds = Bounds(),  # noqa: B008 - a frozen value
    *,
    sockets: Sequence[socket.socket] = (),
    secure: Secure | None = None,
) -> AsyncIterator[tuple[str, ...]]:
    """Serve while the context lasts; yields the addresses as bound, `127.0.0.1:10737`.

    `listen` has `HOST:PORT`, `[HOST]:PORT` or `:PORT` (all addresses); port 0 lets the system choose.
    UsageError when one cannot be listened on. `sockets` that are bound already are served in their place.
    With `secure` connections are TLS.
    """
    sockets = list(sockets) or await _bind_all(listen)
    server = _Server(_settings(app, bounds, secure))
    running = asyncio.create_task(server.serve(sockets=sockets))
    try:
        yield addresses(sockets)
    finally:
        server.stop()
        await running
        await server.cut()


def addresses(sockets: Sequence[socket.socket]) -> tuple[str, ...]:
    """Where sockets are bound: `127.0.0.1:10737`, `[::1]:10737`."""
    return tuple(_spell(*sock.getsockname()[:2]) for sock in sockets)


def _settings(app: ASGIApp, bounds: Bounds, secure: Secure | None) -> uvicorn.Config:
    plain = partial(_Connection, bounds)
    return uvicorn.Config(
        app,
        loop="none",
        http=cast("type[asyncio.Protocol]", plain if secure is None else partial(Handshake, bounds, secure, plain)),
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",  # the application reports its defects itself; the rest is what clients do wrong
        access_log=False,
        proxy_headers=False,  # anybody could write X-Forwarded-For: 127.0.0.1
        server_header=False,
        timeout_keep_alive=bounds.keep_alive_s,
        timeout_graceful_shutdown=bounds.stop_s,
    )


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, which are the daemon's, and without its ten looks a second at a flag."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopping = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        while not self._stopping.is_set():
            await self.on_tick(0)  # it writes the Date header
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), 1.0)

    def stop(self) -> None:
        """Begin to end."""
        self.should_exit = True
        self._stopping.set()

    async def cut(self) -> None:
        """End what did not end in time: uvicorn cancels such tasks, but neither waits nor closes."""
        await asyncio.gather(*self.server_state.tasks, return_exceptions=True)
        for connection in list(self.server_state.connections):
            connection.transport.abort()


class _Connection(HttpToolsProtocol):
    """uvicorn's connection, bounded in number, in size and in time."""

    def __init__(self, bounds: Bounds, **rest: Any) -> None:
        super().__init__(**rest)
        self._bounds = bounds
        self._received = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_request()
        if len(self.connections) > self._bounds.connections:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        self._expect_request()  # also before on_message_begin: blank lines stop uvicorn's own timer
        super().data_received(data)
        if self._received > self._bounds.request_bytes and not self.transport.is_closing():
            self.send_400_response(f"request larger than {self._bounds.request_bytes} bytes\n")

    def on_message_begin(self) -> None:
        self._expect_request()
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self._received = 0
        self._stop_timer()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """An answer is handed over; a client that asked for the end behind it has as long to read it as any other."""
        super().on_response_complete()
        if self.transport.is_closing() and self._timer is None:
            self._timer = self.loop.call_later(self._bounds.keep_alive_s, self.transport.abort)

    def timeout_keep_alive_handler(self) -> None:
        """Cut, not close: a client that does not read its answer would keep it in memory for ever."""
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def _expect_request(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self._bounds.request_s, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


# ---------------------------------------------------------------- sockets


async def _bind_all(listen: Sequence[str]) -> list[socket.socket]:
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(await _bind(address)) for address in listen]
        opened.pop_all()  # all are there: they stay open
    return sockets


async def _bind(address: str) -> socket.socket:
    host, port = _split(address)
    try:
        if not host:
            return _open_any(port)
        family, sockaddr = await _resolve(host, port)
        return socket.create_server(sockaddr, family=family)
    except socket.gaierror as error:
        raise UsageError(f"cannot listen on {address}: {(error.strerror or str(error)).lower()}") from error
    except OSError as error:
        raise UsageError(f"cannot listen on {address}: {os.strerror(error.errno or 0).lower()}") from error


def _open_any(port: int) -> socket.socket:
    """All addresses of the machine, of both families where it has both."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("0.0.0.0", port))  # noqa: S104 - the user wrote no host


async def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, Any]:
    """One address to bind, an IPv4 one where the name has one: `localhost` means 127.0.0.1."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, _, _, _, sockaddr = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    return family, sockaddr


def _split(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    well_formed = colon and port.isascii() and port.isdigit() and int(port) <= 65535 and (bracketed or ":" not in host)
    if not well_formed:
        raise UsageError(f'cannot listen on "{address}": expected HOST:PORT, [HOST]:PORT or :PORT')
    return host.strip("[]"), int(port)


def _spell(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
