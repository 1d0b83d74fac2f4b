"""libcurl's multi handle on the event loop.

Sockets come and go with every probe, and to tell the loop of each costs more than the transfer itself: uvloop makes a
handle and three system calls of it. So libcurl's sockets live in an epoll set of their own, of which the loop knows
one descriptor; that saves about 15 us of 75 a probe (benchmarks/probe_micro.py).

A server that floods the handshake with HelloRequests, which OpenSSL skips one after the other, would keep libcurl and
so the loop busy for as long as it sends: `cut_if_stuck`, called by a thread, ends such a connection.
"""

import asyncio
import contextlib
import os
import select
import socket
import stat
from collections.abc import Callable
from typing import Any, TypeVar

import pycurl

from perfmon.clock import Clock
from perfmon.network.curl_handle import Handle

__all__ = ["Multi"]

T = TypeVar("T")

_EPOLL = {
    pycurl.POLL_NONE: 0,
    pycurl.POLL_IN: select.EPOLLIN,
    pycurl.POLL_OUT: select.EPOLLOUT,
    pycurl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
}
_ACTION = {select.EPOLLIN: pycurl.CSELECT_IN, select.EPOLLOUT: pycurl.CSELECT_OUT}
_ANY_ACTION = pycurl.CSELECT_IN | pycurl.CSELECT_OUT  # hang-up and error: libcurl looks for itself
_EVENTS_AT_ONCE = 256  # then the loop gets its turn


class Multi:
    """Runs handles to their end, any number at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock) -> None:
        self._loop = loop
        self._clock = clock
        self._epoll = select.epoll()
        self._sockets: set[int] = set()
        self._own_fd = -1  # libcurl's own wake-up descriptor, -1 until seen
        self._running: set[Handle] = set()
        self._held: set[Handle] = set()  # done, but somebody talks over their connections
        self._waiting: dict[int, asyncio.Future[None]] = {}  # for those connections' sockets
        self._due = float("inf")  # when libcurl wants to be called
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        self._acting: int | None = None  # the descriptor that libcurl works on now, or its timers
        self._actions = 0
        self._actions_seen = -1
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_due)
        loop.add_reader(self._epoll.fileno(), self._on_sockets)

    @property
    def idle(self) -> bool:
        """True when nothing runs or is held."""
        return not self._running and not self._held

    def run(self, handle: Handle) -> "asyncio.Future[tuple[int, str]]":
        """Start; the future gives libcurl's code (0 = fine) and its message. Cancelled with the transfer."""
        handle.ended = self._loop.create_future()
        self._running.add(handle)
        self._multi.add_handle(handle.curl)
        self._act(pycurl.SOCKET_TIMEOUT, 0)
        return handle.ended

    def abandon(self, handle: Handle) -> None:
        """Stop a transfer, or a talk after it, and close its connection; nothing when both are over."""
        if handle in self._running or handle in self._held:
            self._running.discard(handle)
            self._held.discard(handle)
            self._multi.remove_handle(handle.curl)

    async def ready(self, fd: int, events: int) -> None:
        """Wait for the socket of a held handle; `events` are epoll's."""
        ready = self._waiting[fd] = self._loop.create_future()
        self._epoll.register(fd, events)
        try:
            await ready
        finally:
            if self._waiting.pop(fd, None) is not None:
                self._epoll.unregister(fd)

    def talk(self, fd: int, say: Callable[..., T], *words: Any) -> T:
        """Have libcurl read or write on the socket of a held handle; `cut_if_stuck` has an eye on it."""
        self._acting = fd
        self._actions += 1
        try:
            return say(*words)
        finally:
            self._acting = None

    def cut_if_stuck(self) -> None:
        """Shut down what libcurl has been at since the last call; for a thread, as long as the loop is not free.

        pycurl lets go of the GIL meanwhile. Whose turn it is among several is not known when libcurl's timers ran.
        """
        fd, actions = self._acting, self._actions
        if fd is not None and actions == self._actions_seen:
            for number in tuple(self._sockets) if fd == pycurl.SOCKET_TIMEOUT else (fd,):
                _shut_down(number)
        self._actions_seen = actions

    def close(self) -> None:
        """Stop all transfers and give back every descriptor."""
        while self._waiting:
            self._waiting.popitem()[1].cancel()
        for handle in (*self._running, *self._held):
            self.abandon(handle)
            handle.ended.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._epoll.fileno())
        self._multi.close()
        self._epoll.close()

    # ------------------------------------------------------------ called by libcurl

    def _watch(self, what: int, fd: int, _multi: object, _data: object) -> None:
        if fd == self._own_fd:
            return
        if what == pycurl.POLL_REMOVE:
            if fd in self._sockets:
                self._sockets.discard(fd)
                self._epoll.unregister(fd)
        elif fd in self._sockets:
            self._epoll.modify(fd, _EPOLL[what])
        elif self._own_fd == -1 and not stat.S_ISSOCK(os.fstat(fd).st_mode):
            # It wakes libcurl when a thread of its own has resolved a name. Here no thread ever does, and libcurl
            # comes with it anew whenever it was idle.
            self._own_fd = fd
        else:
            self._epoll.register(fd, _EPOLL[what])
            self._sockets.add(fd)

    def _set_due(self, timeout_ms: int) -> None:
        self._due = self._clock.monotonic() + timeout_ms / 1000 if timeout_ms >= 0 else float("inf")

    # ------------------------------------------------------------ called by the loop

    def _on_sockets(self) -> None:
        for fd, events in self._epoll.poll(0, _EVENTS_AT_ONCE):
            waiting = self._waiting.get(fd)
            if waiting is None:
                self._act(fd, _ACTION.get(events, _ANY_ACTION))
            elif not waiting.done():
                waiting.set_result(None)

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_at = float("inf")
        if self._clock.monotonic() >= self._due:
            self._due = float("inf")
            self._act(pycurl.SOCKET_TIMEOUT, 0)
        elif self._due < self._timer_at:
            self._arm()

    def _act(self, fd: int, events: int) -> None:
        self._acting = fd
        self._actions += 1
        _, running = self._multi.socket_action(fd, events)
        self._acting = None
        if running < len(self._running):
            self._settle()
        if self._due < self._timer_at:
            self._arm()

    def _settle(self) -> None:
        queued = 1
        while queued:
            queued, fine, failed = self._multi.info_read()
            for curl in fine:
                self._end(curl.handle, 0, "")
            for curl, code, message in failed:
                self._end(curl.handle, code, message)

    def _end(self, handle: Handle, code: int, message: str) -> None:
        if handle.holds and not code:
            self._running.discard(handle)
            self._held.add(handle)
        else:
            self.abandon(handle)
        if not handle.ended.done():
            handle.ended.set_result((code, message))

    def _arm(self) -> None:
        """One timer, which may fire too early and then is set again: cheaper than to move it with each transfer."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self._due
        self._timer = self._loop.call_later(max(0.0, self._due - self._clock.monotonic()), self._on_timer)


def _shut_down(fd: int) -> None:
    # It may be gone by now: libcurl went on meanwhile, and nothing is left to do.
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(fd)) as connection:
        connection.shutdown(socket.SHUT_RDWR)
