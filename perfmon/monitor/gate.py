"""In front of every route, what web-config.yml demands: pace, headers, and a password. In exporter-toolkit's order.

`/-/healthy` is no exception, as it is none there.
"""

import ssl
from collections.abc import Mapping, MutableMapping
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from perfmon.clock import Clock
from perfmon.config.web_file import RateLimit
from perfmon.monitor.passwords import Crowded, Passwords, credentials
from perfmon.monitor.tls import is_allowed
from perfmon.monitor.web_config import WebConfig

__all__ = ["Bucket", "FromWebConfig", "Gate"]


_BY_TOKEN = frozenset({"/api/v1/push"})  # what a token of its own guards: a request brings one of both


class FromWebConfig:
    """What new connections begin with, by the file as it is then."""

    def __init__(self, config: WebConfig) -> None:
        self._config = config

    def context(self) -> ssl.SSLContext:
        """The settings of TLS."""
        made = self._config.now().context
        assert made is not None, "a change that ends TLS is not taken"
        return made

    def admits(self, certificate: Mapping[str, Any] | None) -> bool:
        """Whether the client's certificate has a name that is allowed."""
        return is_allowed(self._config.now().file.tls_server_config, certificate)


class Bucket:
    """Tokens that come at a pace and are kept up to a number; full at first."""

    def __init__(self, limit: RateLimit, now: float) -> None:
        self.limit = limit
        self._tokens = float(limit.burst)
        self._at = now

    def take(self, now: float) -> bool:
        """Whether there was one for a request."""
        if not self.limit.interval:
            return True
        self._tokens = min(self.limit.burst, self._tokens + (now - self._at) / self.limit.interval)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Gate:
    """ASGI middleware; asks at each request what counts now. Without `locked` nobody needs a password."""

    def __init__(self, application: ASGIApp, *, config: WebConfig, clock: Clock, locked: bool = True) -> None:
        self._application = application
        self._config = config
        self._clock = clock
        self._locked = locked
        self._bucket = Bucket(RateLimit(), clock.monotonic())
        self._passwords = Passwords()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer it with 429, 401 or 503."""
        file = self._config.now().file
        now = self._clock.monotonic()
        if self._bucket.limit != file.rate_limit:
            self._bucket = Bucket(file.rate_limit, now)
        sent = _with(file.http_server_config.headers, send)
        if not self._bucket.take(now):
            await _refusal(429, "too many requests")(scope, receive, sent)
            return
        refusal = await self._objection(scope, file.basic_auth_users if self._locked else {})
        await (refusal or self._application)(scope, receive, sent)

    async def _objection(self, scope: Scope, users: dict[str, str]) -> PlainTextResponse | None:
        if not users or scope.get("path") in _BY_TOKEN:
            return None
        brought = credentials(Headers(scope=scope).get("authorization", ""))
        try:
            if brought is not None and await self._passwords.holds(users, *brought):
                return None
        except Crowded:
            return _refusal(503, "too many passwords wait to be verified", {"Retry-After": "1"})
        return _refusal(401, "a user and a password are needed", {"WWW-Authenticate": "Basic"})


def _refusal(status: int, words: str, headers: MutableMapping[str, str] | None = None) -> PlainTextResponse:
    return PlainTextResponse(words + "\n", status, dict(headers or {}))


def _with(headers: dict[str, str], send: Send) -> Send:
    """Sends what it is given with these headers; those without a value stay as they are by default."""
    extra: list[tuple[bytes, bytes]] = [
        (name.lower().encode(), value.encode()) for name, value in headers.items() if value
    ]
    names = {name for name, _ in extra}

    async def sent(message: Message) -> None:
        if extra and message["type"] == "http.response.start":
            own: list[Any] = [item for item in message["headers"] if item[0] not in names]
            message["headers"] = [*own, *extra]
        await send(message)

    return sent
