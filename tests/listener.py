"""A real HTTP server on a free port that writes down what it is told and answers as a test says."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, NamedTuple, Self


class Request(NamedTuple):
    path: str
    headers: dict[str, str]
    body: Any  # JSON


class Answer(NamedTuple):
    status: int = 200
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes = b""


class Listener:
    """`with Listener() as listener:`; `answer` decides by request, or raises to break the connection."""

    def __init__(self, answer: Callable[[Request], Answer] = lambda _request: Answer()) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def alerts(self) -> list[Any]:
        """All alerts of all webhook payloads, in order."""
        return [alert for request in list(self.requests) for alert in request.body["alerts"]]

    def statuses(self) -> list[str]:
        return [alert["status"] for alert in self.alerts()]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                request = Request(self.path, dict(self.headers), json.loads(body))
                listener.requests.append(request)
                try:
                    status, headers, text = listener.answer(request)
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(text)))
                    self.end_headers()
                    self.wfile.write(text)
                except ConnectionError:
                    self.close_connection = True

            def log_message(self, *_args: object) -> None:
                """A test's output is its own."""

        return Handler


def eventually(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    """Wait for what another thread or process does."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.005)
