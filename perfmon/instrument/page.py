"""The smallest page there is: one thread, one request at a time, `GET /metrics` and nothing else."""

import contextlib
import socket
import threading
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Self

__all__ = ["Page"]

_REQUEST_BYTES = 8192
_PATIENCE_S = 2.0  # for one request, however slowly it comes, and for its answer
_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Page:
    """Serves what `render` says until it is closed; OSError when it cannot listen.

    A process that forks afterwards leaves its children without it: there, open it after the fork.
    """

    def __init__(self, render: Callable[[], str], port: int, host: str) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(
            target=_serve, args=(self._listener, render), name="perfmon-instrument", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening; a request under way is answered first."""
        with contextlib.suppress(OSError):  # closed already
            self._listener.shutdown(socket.SHUT_RDWR)  # a thread in accept() wakes up by this alone
        self._thread.join(2 * _PATIENCE_S)
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _serve(listener: socket.socket, render: Callable[[], str]) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except ConnectionAbortedError:
            continue  # it went before its turn came
        except OSError:
            return  # closed
        # A client that goes away or says nothing has only itself to blame.
        with client, contextlib.suppress(OSError):
            client.settimeout(_PATIENCE_S)
            client.sendall(_answer(_first_line(client), render))


def _first_line(client: socket.socket) -> str:
    """`GET /metrics HTTP/1.1`, once the whole head has come; "" when it has not in time."""
    until = monotonic() + _PATIENCE_S
    head = b""
    while b"\r\n\r\n" not in head:
        chunk = client.recv(_REQUEST_BYTES)
        head += chunk
        if not chunk or len(head) > _REQUEST_BYTES or monotonic() > until:
            return ""
    return head.partition(b"\r\n")[0].decode("latin-1")


def _answer(request: str, render: Callable[[], str]) -> bytes:
    method, _, rest = request.partition(" ")
    if method not in ("GET", "HEAD"):
        return _response("405 Method Not Allowed", "expected GET\n")
    if rest.partition(" ")[0].partition("?")[0] not in ("/metrics", "/"):
        return _response("404 Not Found", "expected /metrics\n")
    try:
        body = render()
    except Exception as error:  # noqa: BLE001 - whoever asks is told, and the next one is served
        return _response("500 Internal Server Error", f"{type(error).__name__}: {error}\n")
    return _response("200 OK", body, with_body=method == "GET")


def _response(status: str, body: str, *, with_body: bool = True) -> bytes:
    raw = body.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: {_TYPE}\r\nContent-Length: {len(raw)}\r\nConnection: close\r\n\r\n"
    return head.encode() + (raw if with_body else b"")
