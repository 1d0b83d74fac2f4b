"""perfmon inside of another program: `perfmon.Monitor`.

from perfmon import Monitor

monitor = Monitor("perfmon.yml")

@monitor.on_alert
def tell(alert):
    print(alert.status, alert.labels["alertname"], alert.why)

monitor.run()
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import structlog
import uvloop

from perfmon import config, logs
from perfmon.clock import SystemClock
from perfmon.config import Config
from perfmon.errors import UsageError
from perfmon.monitor import daemon
from perfmon.monitor.daemon import Daemon
from perfmon.network import Network
from perfmon.receivers import Notice

__all__ = ["Monitor"]

Source = str | Path | Sequence[str | Path] | Mapping[str, Any] | Config
Callback = TypeVar("Callback", bound=Callable[[Notice], object])

STOP_S = 20.0  # probes and notifications have five seconds each


class Monitor:
    """Watches what a configuration says, as `perfmon serve` does, and calls back when alerts begin and end."""

    def __init__(self, source: Source) -> None:
        """A file or several, their content as a mapping, or a Config; ConfigError names everything wrong with it."""
        self._read = _reader(source)
        self._config = self._read()
        self._callbacks: list[Callable[[Notice], object]] = []
        self._thread: threading.Thread | None = None
        self._life = _Life()

    def on_alert(self, callback: Callback) -> Callback:
        """Call this with each alert that begins to fire or is over; also as a decorator, before the start.

        Each callback has a thread of its own, so one that hangs delays nobody. What it raises is logged and counted
        in `perfmon_notifications_total{receiver="on_alert NAME",outcome="failed"}`; PassingError asks for another try.
        """
        if self._thread is not None:
            raise UsageError("on_alert: the monitor runs already, expected callbacks before its start")
        self._callbacks.append(callback)
        return callback

    def run(self) -> None:
        """Watch until `stop`, SIGTERM or SIGINT, in the calling thread; logs as `perfmon serve` does.

        SIGHUP reads the configuration anew. Elsewhere than in the main thread signals are left alone.
        """
        self._claim(threading.current_thread())
        logs.configure(level=self._config.log.level, form=self._config.log.format)
        try:
            uvloop.run(self._watch())
        finally:
            self._thread = None

    def start(self) -> None:
        """Watch in a thread of its own, and return once it does; raises what keeps it from that (a port is taken).

        Signals, the garbage collector and the logging of the program are left alone.
        """
        if not structlog.is_configured():
            logs.configure(level=self._config.log.level, form=self._config.log.format, libraries=False)
        thread = threading.Thread(target=self._run_quietly, name="perfmon-monitor", daemon=True)
        self._claim(thread)
        thread.start()
        self._life.begun.wait()
        if self._life.error is not None:
            self._thread = None
            raise self._life.error

    def stop(self) -> None:
        """End in order: probes under way, notifications, state; returns when that is done, or after 20 s."""
        thread = self._thread
        if thread is None:
            return
        self._life.ask_to_stop()
        if thread is not threading.current_thread():
            thread.join(STOP_S)
        self._thread = None

    @property
    def url(self) -> str:
        """Of its page, once it watches; "" before."""
        return self._life.url

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _claim(self, thread: threading.Thread) -> None:
        if self._thread is not None:
            raise UsageError("the monitor runs already")
        self._thread, self._life = thread, _Life()

    def _run_quietly(self) -> None:
        """Whatever ends it is raised by `start`, if that still waits, and logged otherwise."""
        life = self._life
        try:
            uvloop.run(self._watch())
        except BaseException as error:  # noqa: BLE001 - this is the thread's end
            if life.begun.is_set():
                structlog.get_logger(__name__).error("monitor ended", exc_info=error)
            life.error = error
        finally:
            life.begun.set()

    async def _watch(self) -> None:
        life = self._life
        life.take(asyncio.get_running_loop())
        async with Network(clock=SystemClock()) as network:
            inside = Daemon(
                self._read,
                self._config,
                clock=SystemClock(),
                network=network,
                callbacks=self._callbacks,
                embedded=True,
            )
            if threading.current_thread() is threading.main_thread():
                _heed_signals(life.stop, inside)
            await inside.watch(life.stop, on_watching=partial(life.note, inside.scheme))


class _Life:
    """From one start to its end."""

    def __init__(self) -> None:
        self.begun = threading.Event()  # it watches, or never will
        self.error: BaseException | None = None
        self.url = ""
        self.stop: asyncio.Event
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked = False
        self._lock = threading.Lock()

    def take(self, loop: asyncio.AbstractEventLoop) -> None:
        """Called by the loop's own thread when it begins."""
        with self._lock:
            self.stop, self._loop = asyncio.Event(), loop
            if self._asked:
                self.stop.set()

    def note(self, scheme: str, addresses: Sequence[str]) -> None:
        """Called once everything is under way."""
        self.url = daemon.page_url(addresses[0], scheme)
        self.begun.set()

    def ask_to_stop(self) -> None:
        """From any thread, at any time; a life that is over has nothing to stop."""
        with self._lock:
            self._asked = True
            if self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self.stop.set)


def _reader(source: Source) -> Callable[[], Config]:
    if isinstance(source, Config):
        return lambda: source
    if isinstance(source, Mapping):
        return lambda: config.from_mapping(source)
    files = [source] if isinstance(source, str | Path) else list(source)
    if not files:
        raise UsageError("expected a configuration: a file, several, a mapping or a Config")
    return lambda: config.load(files)


def _heed_signals(stop: asyncio.Event, inside: Daemon) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, inside.ask_for_reload)
