"""A real daemon, and a small real service, as processes and servers that tests start and end."""

import contextlib
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

DEADLINE_S = 20.0


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def eventually(true: Callable[[], Any], what: str, within_s: float = DEADLINE_S) -> Any:
    """The first true answer; fails with `what` when there is none in time."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if answer := true():
                return answer
        time.sleep(0.05)
    raise AssertionError(f"not within {within_s} s: {what}")


def get(url: str, *, method: str = "GET", headers: dict[str, str] | None = None) -> tuple[int, str]:
    request = urllib.request.Request(url, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


class Perfmon:
    """`perfmon serve` as a child process."""

    def __init__(self, folder: Path, *arguments: str, env: dict[str, str] | None = None) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "perfmon.log"
        self._command = [
            sys.executable, "-m", "perfmon", "serve", *arguments,
            f"--web.listen-address=127.0.0.1:{self.port}", "--log.format=json",
        ]  # fmt: skip
        self._env = os.environ | (env or {})
        self._folder = folder
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self._command, stdout=out, stderr=out, cwd=self._folder, env=self._env, start_new_session=True
            )
        eventually(self._ready, f"perfmon is ready; its log: {self.log}")

    def _ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        return get(f"{self.url}/-/ready")[0] == 200

    def kill(self) -> None:
        """As a power cut would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; answers with the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def metrics(self) -> str:
        return get(f"{self.url}/metrics")[1]

    def metric(self, name: str, **labels: str) -> float | None:
        """The value of the first series that has these labels; None when there is none."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        for line in self.metrics().splitlines():
            if line.startswith((f"{name}{{", f"{name} ")) and all(label in line for label in wanted):
                return float(line.rpartition(" ")[2])
        return None

    def alerts(self) -> list[dict[str, Any]]:
        return json.loads(get(f"{self.url}/api/v1/alerts")[1])["alerts"]

    def targets(self) -> dict[str, Any]:
        return json.loads(get(f"{self.url}/api/v1/targets")[1])

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]


@contextlib.contextmanager
def perfmon(folder: Path, *arguments: str, env: dict[str, str] | None = None) -> Iterator[Perfmon]:
    daemon = Perfmon(folder, *arguments, env=env)
    try:
        yield daemon
    finally:
        if daemon.process.poll() is None:
            daemon.kill()


class Service:
    """A small HTTP service on loopback whose status can be changed, and that keeps what was posted to it."""

    def __init__(self, port: int = 0) -> None:
        self.status = 200
        self.statuses: Iterator[int] | None = None  # when set, one a request, in place of `status`
        self.posted: list[Any] = []
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                service.posted.append(json.loads(body))
                self._answer()

            def _answer(self) -> None:
                self.send_response(service.status if service.statuses is None else next(service.statuses))
                self.send_header("Content-Length", "2")
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextlib.contextmanager
def service() -> Iterator[Service]:
    running = Service()
    try:
        yield running
    finally:
        running.stop()
