"""libcurl's multi interface on the event loop: one HTTP exchange, or one bare connection, timed phase by phase.

One hop at a time: redirects are the caller's. A fault of the target is never an exception, it is `Response.error`.
Every transfer opens a connection of its own and closes it, since libcurl resends a GET in silence when a connection
that it reuses dies before the first byte: the server sees two requests and the caller hears of one. A request with
`fresh=False` reuses connections and accepts that. A transfer made with `keep_alive` reuses those of all its requests,
as browsers and clients do, and says in `Response.resent` what libcurl resent.

Addresses come from `perfmon.network.resolve`; libcurl looks up no name here, so it starts no thread.
"""

import asyncio
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import msgspec
import pycurl

from perfmon.clock import Clock
from perfmon.model import Phase
from perfmon.network.curl_handle import Handle
from perfmon.network.curl_multi import Multi
from perfmon.network.exchange import Request, Response
from perfmon.network.tls import TlsConfig, trust_file
from perfmon.network.websocket import WebSocket

__all__ = ["Exchange", "Request", "Response", "Transfer"]

Note = Callable[[str], None]
OnCut = Callable[[Mapping[Phase, float], Phase], None]

_AFTER_S = 0.005  # so that libcurl, which knows the phase, comes first as long as it looks at the time
_STUCK_S = 1.0  # of one turn of libcurl, which takes microseconds


class Exchange:
    """A request with its configured handles: one, and more only while it runs more than once at a time."""

    __slots__ = ("_idle", "request")

    def __init__(self, request: Request) -> None:
        self.request = request
        self._idle: list[Handle] = []

    def take(self, note: Note | None, *, keep_alive: bool = False) -> Handle:
        """A handle for one run. One that talks is made for that run alone."""
        if self._idle and note is None:
            return self._idle.pop()
        return Handle(self.request, note, keep_alive=keep_alive)

    def give_back(self, handle: Handle) -> None:
        """Keep a handle for the next run."""
        if handle.talks:
            handle.close()
        else:
            self._idle.append(handle)

    def close(self) -> None:
        """Let go of the handles of an exchange that was made for one run."""
        while self._idle:
            self._idle.pop().close()


class Transfer:
    """The engine, one per process. `open` inside the running loop, `close` when nothing needs it any more."""

    def __init__(self, *, clock: Clock, keep_alive: bool = False) -> None:
        self._clock = clock
        self._keep_alive = keep_alive
        self._multis: dict[tuple[str, int], Multi] = {}
        self._loop: asyncio.AbstractEventLoop
        self._closing = threading.Event()
        self._watchman = threading.Thread(target=self._cut_what_is_stuck, name="perfmon-watchman", daemon=True)

    def open(self) -> None:
        """Bind to the running loop."""
        self._loop = asyncio.get_running_loop()
        self._watchman.start()

    def close(self) -> None:
        """Cancel what still runs and give every descriptor back."""
        self._closing.set()
        self._watchman.join()
        for multi in self._multis.values():
            multi.close()
        self._multis.clear()

    async def perform(
        self,
        exchange: Exchange,
        *,
        address: str,
        timeout_s: float,
        proxy_address: str = "",
        cookies: Collection[bytes] = (),
        headers: Collection[str] = (),
        note: Note | None = None,
        on_cut: OnCut | None = None,
    ) -> Response:
        """Run one exchange against one address, in `timeout_s` at most; whatever goes wrong is in the response.

        When it is cancelled, `on_cut` is told how far it came.

        `headers` are those of this run alone, beside the request's. `note` hears what libcurl says and the headers of
        both sides, without secrets.
        """
        handle = exchange.take(note, keep_alive=self._keep_alive)
        handle.aim(address, timeout_s, cookies, headers, proxy_address)
        multi = self._multi(exchange.request.tls)
        began = self._clock.monotonic()
        try:
            code, message = await (multi.run(handle) if not handle.holds else _upgrade(multi, handle, timeout_s))
        except asyncio.CancelledError:
            if on_cut is not None:
                on_cut(*handle.progress(self._clock.monotonic() - began))
            multi.abandon(handle)
            exchange.give_back(handle)
            raise
        response = handle.response(code, message)
        if handle.holds and not code:
            return msgspec.structs.replace(response, websocket=WebSocket(handle, multi, exchange.give_back))
        exchange.give_back(handle)
        return response

    def _cut_what_is_stuck(self) -> None:
        while not self._closing.wait(_STUCK_S):
            for multi in tuple(self._multis.values()):
                multi.cut_if_stuck()

    def _multi(self, tls: TlsConfig | None) -> Multi:
        """One multi per state of each file of roots: libcurl parses it once per multi, and keeps it for a day."""
        key = ("", 0)
        if tls is not None and not tls.insecure_skip_verify:
            name = tls.ca_file or trust_file()
            key = (name, _modified_ns(name))
        multi = self._multis.get(key)
        if multi is None:
            self._close_idle(key[0])
            multi = self._multis[key] = Multi(self._loop, self._clock)
        return multi

    def _close_idle(self, name: str) -> None:
        """Let go of the former states of a file."""
        for key, multi in tuple(self._multis.items()):
            if key[0] == name and multi.idle:
                del self._multis[key]
                multi.close()


async def _upgrade(multi: Multi, handle: Handle, timeout_s: float) -> tuple[int, str]:
    """A transfer whose connection is to be kept: libcurl's own time-out of such a one ends when it is connected."""
    try:
        async with asyncio.timeout(timeout_s + _AFTER_S):
            return await multi.run(handle)
    except TimeoutError:
        multi.abandon(handle)
        return pycurl.E_OPERATION_TIMEDOUT, ""


def _modified_ns(name: str) -> int:
    try:
        return Path(name).stat().st_mtime_ns
    except OSError:
        return 0  # libcurl will say what is wrong with the file
