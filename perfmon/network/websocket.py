"""A WebSocket that stands (RFC 6455): whole messages in and out, over libcurl's connection and by libcurl's framing.

libcurl masks, and refuses frames that the RFC forbids; here messages are put together from their fragments, pings are
answered (libcurl would keep its answer until something else is sent), and a message that is too long is refused.
"""

import asyncio
import contextlib
import itertools
import select
from collections.abc import Callable

import pycurl

from perfmon.model import Reason
from perfmon.network.curl_handle import Handle
from perfmon.network.curl_multi import Multi

__all__ = ["MESSAGE_BYTES", "TalkFailed", "WebSocket"]

MESSAGE_BYTES = 1 << 20  # the longest message that is taken
_CHUNK_BYTES = 1 << 16
_FRAMES_AT_ONCE = 64
_CONTROL = pycurl.WS_PING | pycurl.WS_PONG | pycurl.WS_CLOSE
_GOT_NOTHING = 52  # CURLE_GOT_NOTHING
_NORMAL = (1000).to_bytes(2, "big")


class TalkFailed(Exception):
    """The other side ended or broke the talk."""

    def __init__(self, reason: Reason, message: str) -> None:
        self.reason: Reason = reason
        super().__init__(message)


class WebSocket:
    """Open until `close`. For one task."""

    def __init__(self, handle: Handle, multi: Multi, give_back: Callable[[Handle], None]) -> None:
        self._handle = handle
        self._multi = multi
        self._give_back = give_back
        self._fd: int = handle.curl.getinfo(pycurl.ACTIVESOCKET)

    async def receive(self) -> bytes:
        """The next message, text or not, as its bytes. Waits for ever: the deadline is the caller's."""
        message, control = bytearray(), bytearray()
        for turn in itertools.count(1):
            if turn % _FRAMES_AT_ONCE == 0:
                await asyncio.sleep(0)  # a server that never pauses must not hold up the loop
            try:
                chunk, frame = self._multi.talk(self._fd, self._handle.curl.ws_recv, _CHUNK_BYTES)
            except BlockingIOError:
                await self._multi.ready(self._fd, select.EPOLLIN)
                continue
            except pycurl.error as error:
                raise _broken(*error.args) from None
            if frame.flags & _CONTROL:
                control += chunk
                if not frame.bytesleft:
                    await self._obey(frame.flags, bytes(control))
                    control.clear()
                continue
            message += chunk
            if len(message) > MESSAGE_BYTES:
                raise TalkFailed("too_large", f"sent a message longer than {MESSAGE_BYTES >> 20} MiB")
            if not frame.bytesleft and not frame.flags & pycurl.WS_CONT:
                break
        return bytes(message)

    async def send(self, text: bytes) -> None:
        """Send one text message."""
        await self._send(text, pycurl.WS_TEXT)

    def close(self) -> None:
        """Say good-bye, without waiting for an answer, and close the connection."""
        with contextlib.suppress(BlockingIOError, pycurl.error):  # who does not hear it sees the connection end
            self._handle.curl.ws_send(_NORMAL, pycurl.WS_CLOSE)
        self._multi.abandon(self._handle)
        self._give_back(self._handle)

    async def _obey(self, flags: int, payload: bytes) -> None:
        """Do what a control frame asks for."""
        if flags & pycurl.WS_PING:
            await self._send(payload, pycurl.WS_PONG)
        elif flags & pycurl.WS_CLOSE:
            raise TalkFailed("closed", f"said good-bye with {_read_close(payload)}")

    async def _send(self, payload: bytes, kind: int) -> None:
        rest = payload
        while True:
            try:
                rest = rest[self._multi.talk(self._fd, self._handle.curl.ws_send, rest, kind) :]
            except BlockingIOError:
                await self._multi.ready(self._fd, select.EPOLLOUT)
                continue
            except pycurl.error as error:
                raise _broken(*error.args) from None
            if not rest:
                return


def _read_close(payload: bytes) -> str:
    """What a close frame says; for the numbers see https://www.iana.org/assignments/websocket/websocket.xhtml."""
    if len(payload) < 2:
        return "no code"
    code, why = int.from_bytes(payload[:2], "big"), payload[2:].decode("utf-8", "replace")
    return f"code {code} ({why})" if why else f"code {code}"


def _broken(code: int, message: str = "") -> TalkFailed:
    if code == _GOT_NOTHING:
        return TalkFailed("closed", "closed the connection without a close frame")
    if message.startswith("[WS] "):
        return TalkFailed("body", f"sent what is no frame of a WebSocket: {message.removeprefix('[WS] ')}")
    return TalkFailed("reset", f"broke the connection: {message}")
