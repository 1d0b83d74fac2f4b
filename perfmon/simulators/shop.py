"""A service to watch: fast, slow, flaky and leaking endpoints, and one that fails in every way a service can."""

import asyncio
import random
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from perfmon.simulators import transport
from perfmon.units import Bytes, Duration, Ratio

__all__ = ["Config", "app"]

INDEX = """\
/fast                            answers at once
/slow?ms=200&jitter=50           answers after that time, give or take the jitter
/flaky?rate=0.2&status=503       fails that share of the time
/leak?kb=64                      keeps that much memory for good; /leak/reset lets go
/fail?how=status|hang|reset|drip|short|endless&seconds=30
                                 no answer of use: an error, none at all, a cut, one byte at a time, less than
                                 promised, more than anybody wants
/health                          ok
/metrics                         what the shop says of itself
"""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the endpoints do when the query does not say."""

    seed: Annotated[int, msgspec.Meta(description="Seed of what looks random: same seed, same sequence.")] = 1
    slow_ms: Annotated[float, msgspec.Meta(ge=0, le=60_000, description="Milliseconds that /slow takes.")] = 200.0
    jitter_ms: Annotated[float, msgspec.Meta(ge=0, le=60_000, description="Milliseconds by which /slow varies.")] = 50.0
    flaky_rate: Annotated[Ratio, msgspec.Meta(ge=0, le=1, description="Share of the calls of /flaky that fail.")] = 0.2
    leak_kb: Annotated[int, msgspec.Meta(ge=0, le=65_536, description="Kibibytes that a call of /leak keeps.")] = 64
    leak_limit: Annotated[Bytes, msgspec.Meta(description="What /leak keeps at most.")] = 200.0 * 2**20
    fail_limit: Annotated[Duration, msgspec.Meta(description="How long a call of /fail lasts at most.")] = 30.0


def app(config: Config) -> ASGIApp:
    """The shop as an ASGI application with a memory and a registry of its own."""
    return _Shop(config).counted


class _Shop:
    def __init__(self, config: Config) -> None:
        self._config = config
        self._jitter = random.Random(config.seed)  # noqa: S311 - repeatable, and no secret
        self._luck = random.Random(config.seed)  # noqa: S311 - repeatable, and no secret
        self._kept: list[bytearray] = []
        self._figures = _Figures()
        routes = [
            Route("/", self.index),
            Route("/fast", self.fast),
            Route("/slow", self.slow),
            Route("/flaky", self.flaky),
            Route("/leak", self.leak),
            Route("/leak/reset", self.forget, methods=["GET", "POST"]),
            Route("/fail", self.fail),
            Route("/health", self.health),
            Route("/metrics", self.metrics),
        ]
        self._paths = frozenset(route.path for route in routes)
        self._starlette = Starlette(routes=routes)

    async def counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, and count it under the status that went out: `none` when none did."""
        status = "none"

        async def send_and_look(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        with self._figures.seconds.labels(self._endpoint(scope["path"])).time():
            try:
                await self._starlette(scope, receive, send_and_look)
            finally:
                self._figures.requests.labels(self._endpoint(scope["path"]), status).inc()

    async def index(self, _request: Request) -> Response:
        return PlainTextResponse(INDEX)

    async def fast(self, _request: Request) -> Response:
        return PlainTextResponse("here you are\n")

    async def slow(self, request: Request) -> Response:
        ms = _number(request, "ms", self._config.slow_ms, at_most=60_000)
        jitter = _number(request, "jitter", self._config.jitter_ms, at_most=60_000)
        ms = max(0.0, ms + self._jitter.uniform(-jitter, jitter))
        await asyncio.sleep(ms / 1000)
        return PlainTextResponse(f"here you are, after {ms:.0f} ms\n")

    async def flaky(self, request: Request) -> Response:
        rate = _number(request, "rate", self._config.flaky_rate, at_most=1)
        status = _number(request, "status", 503, at_least=400, at_most=599)
        if self._luck.random() < rate:
            return PlainTextResponse("no luck\n", status_code=int(status))
        return PlainTextResponse("here you are, this time\n")

    async def leak(self, request: Request) -> Response:
        size = int(_number(request, "kb", self._config.leak_kb, at_most=65_536) * 1024)
        kept = sum(map(len, self._kept))
        if kept + size > self._config.leak_limit:
            return PlainTextResponse(f"full: keeping {kept} bytes\n")
        # Ones, not zeros: untouched zero pages would not count as resident memory.
        self._kept.append(bytearray(b"\x01") * size)
        self._figures.leaked.set(kept + size)
        return PlainTextResponse(f"keeping {kept + size} bytes\n")

    async def forget(self, _request: Request) -> Response:
        self._kept.clear()
        self._figures.leaked.set(0)
        return PlainTextResponse("keeping 0 bytes\n")

    async def fail(self, request: Request) -> ASGIApp:
        how = request.query_params.get("how", "status")
        seconds = _number(request, "seconds", self._config.fail_limit, at_most=self._config.fail_limit)
        if how not in _WAYS:
            raise HTTPException(400, f'unknown how "{how}", expected one of: {", ".join(_WAYS)}')

        async def failing(scope: Scope, receive: Receive, send: Send) -> None:
            await _WAYS[how](scope, receive, send, seconds)

        return failing

    async def health(self, _request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def metrics(self, request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(self._figures.registry), headers={"content-type": content_type})

    def _endpoint(self, path: str) -> str:
        """The path when it is one of ours, so that strangers' paths make no series."""
        return (
            path if any(path == route.path for route in self._starlette.routes if isinstance(route, Route)) else "other"
        )


class _Figures:
    """The shop's own metrics, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "shop_requests_total", "Requests by endpoint and status.", ("endpoint", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "shop_request_duration_seconds", "Time to answer a request.", ("endpoint",), registry=self.registry
        )
        self.leaked = Gauge("shop_leaked_bytes", "Memory that /leak keeps.", registry=self.registry)


def _number(request: Request, name: str, default: float, *, at_least: float = 0, at_most: float) -> float:
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        raise HTTPException(400, f'{name}="{text}" is not a number') from None
    if not at_least <= value <= at_most:
        raise HTTPException(400, f"{name}={text} is not between {at_least:g} and {at_most:g}")
    return value


# ---------------------------------------------------------------- the ways to fail


async def _status(scope: Scope, receive: Receive, send: Send, _seconds: float) -> None:
    await PlainTextResponse("it broke\n", status_code=500)(scope, receive, send)


async def _hang(scope: Scope, receive: Receive, _send: Send, seconds: float) -> None:
    """Say nothing, then hang up."""
    await _gone(receive, within_s=seconds)
    transport(scope).close()


async def _reset(scope: Scope, receive: Receive, _send: Send, _seconds: float) -> None:
    """Cut the connection with a TCP reset, before a byte of the answer."""
    # To linger for 0 s is the one way to make close() send RST instead of FIN: see socket(7).
    transport(scope).get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport(scope).abort()
    await _gone(receive, within_s=1)


async def _drip(_scope: Scope, receive: Receive, send: Send, seconds: float) -> None:
    """Ten bytes a second, for as long as the connection is to last."""
    size = int(seconds * 10)
    await send(_start(("content-length", str(size))))
    for sent in range(size):
        if await _gone(receive, within_s=0.1):
            return
        await send(_body(b".", more=sent + 1 < size))


async def _short(scope: Scope, receive: Receive, send: Send, _seconds: float) -> None:
    """Promise 1000 bytes, send 100, hang up."""
    await send(_start(("content-length", "1000")))
    await send(_body(b"." * 100, more=True))
    transport(scope).close()
    await _gone(receive, within_s=1)


async def _endless(scope: Scope, receive: Receive, send: Send, seconds: float) -> None:
    """A body without an end, as fast as the reader takes it, then a cut."""
    chunk = b"." * 65_536
    try:
        async with asyncio.timeout(seconds):
            await send(_start())
            while not await _gone(receive, within_s=0):
                await send(_body(chunk, more=True))
    except TimeoutError:
        transport(scope).abort()
        await _gone(receive, within_s=1)


_WAYS: Mapping[str, Callable[[Scope, Receive, Send, float], Awaitable[None]]] = {
    "status": _status,
    "hang": _hang,
    "reset": _reset,
    "drip": _drip,
    "short": _short,
    "endless": _endless,
}


async def _gone(receive: Receive, *, within_s: float) -> bool:
    """Wait that long for the client to go away, and say whether it did."""
    try:
        async with asyncio.timeout(within_s):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return False
    return True


def _start(*headers: tuple[str, str]) -> Message:
    pairs = [(name.encode(), value.encode()) for name, value in headers]
    return {"type": "http.response.start", "status": 200, "headers": pairs}


def _body(chunk: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": chunk, "more_body": more}
