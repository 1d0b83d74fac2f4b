"""What outsiders may ask: the status page, its JSON and feed, badges. Made every few seconds, however many ask.

On the daemon's own addresses badges are of every probe; where only this face listens (`web.public.listen`), of those
that the page shows, and everything else is not there.
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol, get_args

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perfmon.clock import Clock, to_wall
from perfmon.config import Public
from perfmon.monitor.badge import Tone, badge
from perfmon.monitor.calendar import Calendar
from perfmon.monitor.components import Choice, Component, State, component, parted, state_of, works
from perfmon.monitor.history import PERIODS, success_ratio
from perfmon.monitor.series import CheckSeries, Series
from perfmon.monitor.status_page import Standing, as_feed, as_html, as_json, share_words
from perfmon.monitor.turns import Turns

__all__ = ["BadgeKind", "Outsiders", "Shown", "View", "routes"]

FRESH_S = 5.0  # an answer is as old at most
MOST_COMPONENTS = 500
CACHE_S = 30
BADGE_CACHE_S = 60

BadgeKind = Literal["uptime", "state", "latency"]


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """An answer for everybody, as bytes."""

    html: bytes
    json: bytes
    feed: bytes


class View(Protocol):
    """What a daemon shows to outsiders."""

    async def status(self) -> Shown | None:
        """The page; None where there is none."""
        ...

    def badge(self, kind: BadgeKind, key: str, period: str, *, chosen: bool) -> str | None:
        """An SVG; None when there is no such probe, or with `chosen` none that may be shown."""
        ...


class Outsiders:
    """The view of a daemon; `settings` are asked each time, so that a reload is heeded."""

    def __init__(self, series: Series, clock: Clock, settings: Callable[[], Public | None], calendar: Calendar) -> None:
        self._series = series
        self._clock = clock
        self._settings = settings
        self._calendar = calendar
        self._making = asyncio.Lock()
        self._made: tuple[float, Public, Shown] | None = None

    async def status(self) -> Shown | None:
        """The page as of some seconds ago at most; made once however many ask."""
        settings = self._settings()
        if settings is None:
            return None
        async with self._making:
            now = self._clock.monotonic()
            if self._made is None or self._made[1] != settings or now - self._made[0] >= FRESH_S:
                self._made = (now, settings, await self._make(settings))
            return self._made[2]

    def badge(self, kind: BadgeKind, key: str, period: str, *, chosen: bool) -> str | None:
        """Of a check by its key, or of all the checks of a probe by its name."""
        one = self._chosen(key) if chosen else self._any(key)
        return None if one is None else _badge(one, kind, period)

    async def _make(self, settings: Public) -> Shown:
        choice = Choice(select=settings.select, show_target=settings.show_target)
        by_key = parted(self._series.checks.values(), choice)
        turns = Turns(self._clock)
        shown = []
        for key, members in _most_wanted(by_key):
            shown.append(self._component(key, members, choice))
            await turns.next()
        left_out = len(by_key) - len(shown)
        maintenance = works(self._calendar.near(), by_key)
        standing = Standing(settings.title, self._clock.wall(), shown, left_out, maintenance)
        return Shown(
            html=as_html(standing).encode(errors="replace"),
            json=msgspec.json.encode(as_json(standing)),
            feed=as_feed(standing).encode(errors="replace"),
        )

    def _chosen(self, key: str) -> Component | None:
        settings = self._settings()
        if settings is None:
            return None
        choice = Choice(select=settings.select, show_target=settings.show_target)
        members = parted(self._called(key), choice).get(key)
        return None if members is None else self._component(key, members, choice)

    def _any(self, key: str) -> Component | None:
        members = self._called(key)
        return self._component(key, members, Choice(select={})) if members else None

    def _called(self, key: str) -> list[CheckSeries]:
        """The check of that key, or those of the probe of that name."""
        past = self._series.checks.get(key)
        of_probe = (one for one in self._series.checks.values() if one.check.target.probe == key)
        return [past] if past is not None else list(of_probe)

    def _component(self, key: str, members: Sequence[CheckSeries], choice: Choice) -> Component:
        minute = self._series.minute(self._clock.monotonic())
        return component(key, members, choice, minute, lambda instant: to_wall(self._clock, instant))


def _most_wanted(by_key: Mapping[str, Sequence[CheckSeries]]) -> list[tuple[str, Sequence[CheckSeries]]]:
    """As many as a page holds; of too many those that are up are left out first."""
    every = list(by_key.items())
    if len(every) > MOST_COMPONENTS:
        every.sort(key=lambda entry: state_of(entry[1]) in ("up", "unknown"))
    return every[:MOST_COMPONENTS]


# ---------------------------------------------------------------- badges

_TONES: Mapping[State, Tone] = {"up": "good", "degraded": "fair", "down": "bad", "unknown": "none"}
_GOOD, _FAIR = 0.999, 0.99


def _badge(one: Component, kind: BadgeKind, period: str) -> str:
    if kind == "state":
        return badge(one.name, "not known" if one.state == "unknown" else one.state, _TONES[one.state])
    if kind == "latency":
        return badge(f"{one.name} p95", "–" if one.p95_s is None else _latency(one.p95_s), "none")
    count = one.uptime[period]
    ratio = success_ratio(count)
    tone: Tone = "none" if ratio is None else "good" if ratio >= _GOOD else "fair" if ratio >= _FAIR else "bad"
    return badge(f"{one.name} {period}", share_words(count), tone)


def _latency(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 0.9995 else f"{seconds * 1000:.3g} ms"


# ---------------------------------------------------------------- routes

# The page has no script, so none may run: stricter than the policy of perfmon's own pages.
_POLICY = (
    "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def routes(view: View, css: bytes, *, alone: bool) -> list[Route]:
    """`alone` where nothing else is served: the page is at `/` too, and badges are of what it shows."""

    async def page(request: Request) -> Response:
        answer = await _shown(request, view, "html", "text/html; charset=utf-8")
        answer.headers["Content-Security-Policy"] = _POLICY
        return answer

    async def data(request: Request) -> Response:
        return await _shown(request, view, "json", "application/json")

    async def feed(request: Request) -> Response:
        return await _shown(request, view, "feed", "application/atom+xml; charset=utf-8")

    async def style(request: Request) -> Response:
        return _cached(request, css, "text/css; charset=utf-8", CACHE_S)

    async def of_badge(request: Request) -> Response:
        return _badge_answer(request, view, chosen=alone)

    return [
        *([Route("/", page)] if alone else []),
        Route("/status", page),
        Route("/status.json", data),
        Route("/status.atom", feed),
        Route("/status.css", style),
        Route("/badge/{kind}", of_badge),
    ]


async def _shown(request: Request, view: View, form: str, media_type: str) -> Response:
    shown = await view.status()
    if shown is None:
        return Response("there is no public page: set web.public\n", 404, media_type="text/plain")
    return _cached(request, getattr(shown, form), media_type, CACHE_S)


def _badge_answer(request: Request, view: View, *, chosen: bool) -> Response:
    kind, period = request.path_params["kind"], request.query_params.get("period", "24h")
    if kind not in get_args(BadgeKind):
        return Response(f"expected a badge of {', '.join(get_args(BadgeKind))}\n", 404, media_type="text/plain")
    if period not in PERIODS:
        return Response(f"expected a period of {', '.join(PERIODS)}\n", 400, media_type="text/plain")
    svg = view.badge(kind, request.query_params.get("key", ""), period, chosen=chosen)
    found = svg if svg is not None else badge("probe", "not known", "none")
    answer = _cached(request, found.encode(errors="replace"), "image/svg+xml; charset=utf-8", BADGE_CACHE_S)
    # Badges stand in pages of others, which is what they are for.
    answer.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    if svg is None:
        answer.status_code = 404
    return answer


def _cached(request: Request, body: bytes, media_type: str, max_age_s: int) -> Response:
    etag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
    # Not "public": a cache on the way would then give strangers what a password was asked for (RFC 9111, 3.5).
    headers = {"Cache-Control": f"max-age={max_age_s}", "ETag": etag}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=media_type)
