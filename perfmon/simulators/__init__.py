"""Small real servers to watch and to test against: a file here has a `Config` and `app(config)`, an ASGI application.

`serve` runs one. It gives the application the connection itself, as the ASGI extension `perfmon.transport`, because a
service that fails in earnest does what HTTP has no word for: it resets, hangs up half-way, lies about its length.
"""

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp, Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["serve", "transport"]

_EXTENSION = "perfmon.transport"
_DRAIN_S = 1


async def serve(app: ASGIApp, listener: socket.socket) -> None:
    """Answer on a listening socket until SIGINT or SIGTERM; answers under way get a second to end."""
    settings = uvicorn.Config(
        app,
        http=_Connection,
        ws="none",
        interface="asgi3",
        proxy_headers=False,
        lifespan="off",
        log_level="error",
        access_log=False,
        timeout_graceful_shutdown=_DRAIN_S,
    )
    await _Server(settings).serve(sockets=[listener])


def transport(scope: Scope) -> asyncio.Transport:
    """The connection that a request came by; KeyError when the application is not run by `serve`."""
    connection: asyncio.Transport = scope["extensions"][_EXTENSION]
    return connection


class _Connection(HttpToolsProtocol):
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {_EXTENSION: self.transport}  # type: ignore[dict-item]


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at a signal and leave it at that: uvicorn would raise it again, and the process die of it."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
