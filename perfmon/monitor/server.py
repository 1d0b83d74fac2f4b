"""The web face of the daemon: the page, `/metrics`, `/probe`, health, reload, and the JSON behind the page.

The routes know nothing of the daemon but `View`. Who may ask what is decided in `perfmon.monitor.guard`,
how sockets are bound and closed in `perfmon.monitor.listen`.
"""

import asyncio
import hashlib
import json
import math
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar
from urllib.parse import unquote, urlencode

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from perfmon.errors import UsageError
from perfmon.model import Module, Target
from perfmon.monitor import guard, openapi, public
from perfmon.monitor.exemplar import RunId
from perfmon.monitor.exemplar import read as read_run_id
from perfmon.monitor.listen import serve
from perfmon.monitor.page_files import FOLDER, framed
from perfmon.monitor.pushes import NotAllowed, Pushed, pushed
from perfmon.monitor.rerun import Busy

__all__ = ["Answer", "View", "app", "probe_timeout", "public_app", "serve"]

Json = dict[str, Any]
Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Answer = tuple[bytes, Mapping[str, str]]  # a body and its headers, "Content-Type" among them


class View(public.View, Protocol):
    """What the daemon shows to the web. Calls that are not async answer at once, from what is there."""

    @property
    def probe_allow(self) -> Sequence[guard.Network]:
        """Networks whose clients may use `/probe`; asked at each request, so that a reload is heeded."""
        ...

    @property
    def timeout_offset_s(self) -> float:
        """Seconds of the scraper's time that `/probe` keeps back; asked at each request."""
        ...

    async def targets(self, minutes: int) -> Json:
        """The answer of `/api/v1/targets`; each `history` has its newest `minutes` entries, at most 60."""
        ...

    async def days(self) -> Json:
        """The answer of `/api/v1/days`."""
        ...

    def target(self, key: str) -> Json:
        """The answer of `/api/v1/target`; its `probe` is None when there is no such one."""
        ...

    def group(self, sampler: str, group: str, cgroup: str) -> Json:
        """The answer of `/api/v1/group`; its `group` is None when the sampler reads no such one."""
        ...

    def run(self, sought: RunId) -> Json:
        """The answer of `/api/v1/run`; its `run` is None when its check is not watched."""
        ...

    async def run_now(self, key: str) -> bytes:
        """One run of a check that counts in nothing, explained, as JSON; cancelled when the client goes.

        Raises LookupError for one that is not watched, Busy when too many run already.
        """
        ...

    def push(self, key: str, token: str, told: Callable[[], Pushed]) -> None:
        """Take in a result that somebody pushed.

        Raises NotAllowed, LookupError for a key that is none of a push, Busy when they come too fast, and what `told`
        raises; that is asked only of one who may push.
        """
        ...

    async def alerts(self) -> Json:
        """The answer of `/api/v1/alerts`."""
        ...

    def healthy(self) -> tuple[bool, str]:
        """Whether the daemon does its work, and what it says of it: (True, "Healthy")."""
        ...

    def ready(self) -> tuple[bool, str]:
        """Whether the daemon has begun its work, and what it says of it."""
        ...

    def module(self, name: str) -> Module | None:
        """The module of that name; None is answered with 400."""
        ...

    def modules(self) -> str:
        """All modules, as YAML in which no secret stands."""
        ...

    def runs(self) -> Sequence[Json]:
        """The runs that `probe` has made of late, each with its `id`, `module`, `target` and `success`."""
        ...

    def run_by_id(self, number: int) -> str | None:
        """One of them in words; None when it is not known."""
        ...

    def newest_run(self, target: str, module: str) -> str | None:
        """The newest of a target, under a module unless that is ""; None when there is none."""
        ...

    async def scrape(self, accept: str, accept_encoding: str) -> Answer:
        """The metrics page, in the format and encoding that suit these two headers."""
        ...

    async def probe(self, target: Target, module: Module, *, timeout_s: float, debug: bool) -> Answer:
        """One run of a probe on request, as blackbox_exporter answers it; cancelled when the client goes.

        A UsageError is answered with 400 and its words.
        """
        ...

    async def reload(self) -> Sequence[str]:
        """Read the configuration anew; the problems that kept it from being taken, none when it was."""
        ...

    def defect(self, error: Exception) -> None:
        """Log and count an error of perfmon's own; the client is told no more than that there was one."""
        ...


def app(view: View, *, listen: Sequence[str] = (), gate: Sequence[Middleware] = ()) -> Starlette:
    """The ASGI application; the hosts of `listen` are names it may be called by, `gate` stands before every route.

    Whether it is healthy it tells by any name: an orchestrator asks as it likes, and a stranger learns nothing.
    """
    routes = [
        Route("/", _by_name(_sent(framed("index.html"), ".html"))),
        Route("/target", _by_name(_sent(framed("target.html"), ".html"))),
        Route("/run", _by_name(_run_page)),
        Route("/group", _by_name(_sent(framed("group.html"), ".html"))),
        *(
            Route(f"/page/{file.name}", _sent(file.read_bytes(), file.suffix))
            for file in FOLDER.iterdir()
            if file.suffix in _TYPES and file.suffix != ".html"
        ),
        Route("/metrics", _by_name(_metrics)),
        Route("/probe", _by_name(_probe)),
        Route("/logs", _by_name(_logs)),
        Route("/config", _by_name(_config)),
        Route("/api/v1/runs", _by_name(_runs)),
        Route("/-/healthy", _healthy),
        Route("/-/ready", _ready),
        Route("/-/reload", _by_name(_reload), methods=["POST", "PUT"]),
        Route("/api/v1/targets", _by_name(_targets)),
        Route("/api/v1/days", _by_name(_days)),
        Route("/api/v1/target", _by_name(_target)),
        Route("/api/v1/target/run", _by_name(_run_now), methods=["POST"]),
        Route("/api/v1/push", _by_name(_push), methods=["POST"]),
        Route("/api/v1/run", _by_name(_run)),
        Route("/api/v1/group", _by_name(_group)),
        Route("/api/v1/alerts", _by_name(_alerts)),
        Route("/api/v1/openapi.json", _by_name(_openapi)),
        *(
            Route(one.path, _by_name(one.endpoint))
            for one in public.routes(view, _STATUS_CSS.read_bytes(), alone=False)
        ),
    ]
    application = _application(routes, view, gate)
    application.state.view = view
    application.state.names = guard.own_names(listen)
    return application


def public_app(view: View, *, gate: Sequence[Middleware] = ()) -> Starlette:
    """The ASGI application for outsiders: what they may ask, and nothing else; `gate` as in `app`."""
    return _application(public.routes(view, _STATUS_CSS.read_bytes(), alone=True), view, gate)


def _application(routes: Sequence[Route], view: View, gate: Sequence[Middleware] = ()) -> Starlette:
    application = Starlette(
        routes=routes,
        middleware=[Middleware(_Envelope, view=view), *gate],
        exception_handlers={HTTPException: _http_error},
    )
    application.router.redirect_slashes = False  # it would redirect to whatever the Host header says
    return application


def probe_timeout(module_timeout_s: float, header: str, offset_s: float = 0.5) -> float:
    """Seconds that a probe on request may take: blackbox_exporter's rule.

    `header` is X-Prometheus-Scrape-Timeout-Seconds, "" when it was not sent (120 s then); `offset_s` is
    kept back for the answer's way. A module without a timeout of its own has 0. ValueError when the
    header is no number of seconds.
    """
    scrape_s = _seconds(header) or 120.0
    # A scraper in a hurry gets what fits into half its time; blackbox_exporter would exceed it or time out at once.
    most_s = scrape_s - offset_s if scrape_s > offset_s else scrape_s / 2
    return min(module_timeout_s, most_s) if module_timeout_s > 0 else most_s


# ---------------------------------------------------------------- what is asked


async def _metrics(request: Request) -> Response:
    headers = request.headers
    body, own = await _view(request).scrape(headers.get("accept", ""), headers.get("accept-encoding", ""))
    return Response(body, headers=own)


async def _probe(request: Request) -> Response:
    view = _view(request)
    _refuse_strangers(request)
    name = _parameter(request, "module") or "http_2xx"
    module = view.module(name)
    if module is None:
        return _words(400, f"Unknown module {json.dumps(name, ensure_ascii=False)}")
    header = request.headers.get("x-prometheus-scrape-timeout-seconds", "")
    try:
        timeout_s = probe_timeout(module.timeout_s, header, view.timeout_offset_s)
    except ValueError as error:
        return _words(500, f"Failed to parse timeout from Prometheus header: {error}")
    address = _parameter(request, "target")
    if not address:
        return _words(400, "Target parameter is missing")
    target = Target(probe="", address=_decoded(address), hostname=_parameter(request, "hostname"))
    debug = _parameter(request, "debug") == "true"
    return await _answer_while_connected(request, view.probe(target, module, timeout_s=timeout_s, debug=debug))


async def _logs(request: Request) -> Response:
    """One run of `/probe` in words, as blackbox_exporter answers it."""
    _refuse_strangers(request)
    view = _view(request)
    number, target = _parameter(request, "id"), _decoded(_parameter(request, "target"))
    known = number.isascii() and number.isdigit() and len(number) < 18
    if known and target:
        return _words(400, "Probe id and target can't be defined at the same time")
    if not known and not target:
        return _words(400, "Probe id or target must be defined as http query parameters")
    text = view.newest_run(target, _parameter(request, "module")) if target else view.run_by_id(int(number))
    if text is None:
        return _words(404, "Probe target not found" if target else "Probe id not found")
    return Response(text, media_type="text/plain")


async def _config(request: Request) -> Response:
    _refuse_strangers(request)
    return Response(_view(request).modules(), media_type="text/plain")


async def _runs(request: Request) -> Response:
    _refuse_strangers(request)
    return _json({"runs": _view(request).runs()})


def _refuse_strangers(request: Request) -> None:
    """Who may not have this machine probe something may not read what came of it either."""
    client = request.client.host if request.client else ""
    _refuse(guard.client_objection(client, _view(request).probe_allow, request.url.path))
    _refuse(guard.reader_objection(request))


_ENCODED_SCHEME = re.compile(r"(?i)[a-z][a-z0-9+.-]*%3a%2f%2f")
_AUTHORITY = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]*://)?[^/?#]*")


def _decoded(target: str) -> str:
    """A target that was encoded twice on its way (Grafana Alloy does it), decoded once more.

    Only what stands before the path can tell, and no host has a `%3A` in it; a path is left as it is.
    """
    if "%" not in target:
        return target
    if _ENCODED_SCHEME.match(target):
        return unquote(target)
    return _AUTHORITY.sub(lambda found: re.sub("(?i)%3a", ":", found[0]), target, count=1)


async def _answer_while_connected(request: Request, work: Coroutine[Any, Any, Answer]) -> Response:
    try:
        answer = await _while_connected(request, work)
    except UsageError as error:
        return _words(400, str(error))
    if answer is None:
        return Response(status_code=499)  # nobody is there to read it
    body, headers = answer
    return Response(body, headers=headers)


async def _healthy(request: Request) -> Response:
    return _health(*_view(request).healthy())


async def _ready(request: Request) -> Response:
    return _health(*_view(request).ready())


def _health(fine: bool, words: str) -> Response:  # noqa: FBT001 - unpacked from the pair
    return _words(200 if fine else 503, words)


async def _reload(request: Request) -> Response:
    _refuse(guard.writer_objection(request))
    problems = await _view(request).reload()
    if problems:
        return _words(500, "failed to reload config:\n" + "\n".join(problems))
    return Response(media_type="text/plain")


async def _targets(request: Request) -> Response:
    text = _parameter(request, "minutes") if "minutes" in request.query_params else "60"
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:4]) <= 60):
        return _words(400, f'parameter "minutes" must be 1 to 60, not {json.dumps(text[:20])}')
    return _json(await _view(request).targets(int(text)))


async def _days(request: Request) -> Response:
    return _json(await _view(request).days())


async def _target(request: Request) -> Response:
    shown = _view(request).target(_parameter(request, "key"))
    return _json(shown, 404 if shown["probe"] is None else 200)


async def _group(request: Request) -> Response:
    sampler, group, cgroup = (_parameter(request, name) for name in ("sampler", "group", "cgroup"))
    shown = _view(request).group(sampler, group, cgroup)
    return _json(shown, 404 if shown["group"] is None else 200)


async def _run(request: Request) -> Response:
    """One run by the id that an exemplar has."""
    sought = read_run_id(_parameter(request, "id"))
    if sought is None:
        return _words(400, 'parameter "id" must be that of a run, such as 1c291ca3-19aa3f2c1b0')
    shown = _view(request).run(sought)
    return _json(shown, 404 if shown["run"] is None else 200)


async def _run_page(request: Request) -> Response:
    """The page of the run's probe, which shows it: where Grafana leads from an exemplar."""
    sought = read_run_id(_parameter(request, "id"))
    run = None if sought is None else _view(request).run(sought)["run"]
    if run is None:
        return _words(404, "no run of a probe that is watched has this id")
    return Response(
        status_code=303, headers={"Location": f"/target?{urlencode({'key': run['key'], 'run': run['id']})}"}
    )


async def _run_now(request: Request) -> Response:
    """Sends a request to a target, so it is for those who may use `/probe`, and for no other site's pages."""
    view, key = _view(request), _parameter(request, "key")
    client = request.client.host if request.client else ""
    _refuse(guard.client_objection(client, view.probe_allow, "running a check now"))
    _refuse(guard.writer_objection(request))
    try:
        explained = await _while_connected(request, view.run_now(key))
    except LookupError:
        return _words(404, f"no probe has the key {json.dumps(key, ensure_ascii=False)}")
    except Busy as error:
        return _words(429, str(error), {"Retry-After": "1"})
    return Response(explained or b"", 499 if explained is None else 200, media_type="application/json")


async def _push(request: Request) -> Response:
    """Its token guards it, wherever it comes from, but no page of another site has business here."""
    _refuse(guard.writer_objection(request))
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    key, words = _parameter(request, "key"), [_parameter(request, name) for name in ("success", "duration", "error")]
    try:
        # The token comes first: strangers are told nothing of what they send.
        _view(request).push(key, token.strip() if scheme.lower() == "bearer" else "", lambda: pushed(*words))
    except NotAllowed:
        return _words(401, "the token of this push is needed", {"WWW-Authenticate": "Bearer"})
    except LookupError:
        return _words(404, f"no push has the key {json.dumps(key[:200], ensure_ascii=False)}")
    except Busy as error:
        return _words(429, str(error), {"Retry-After": "1"})
    except ValueError as error:
        return _words(400, str(error))
    return _words(200, "taken")


async def _alerts(request: Request) -> Response:
    return _json(await _view(request).alerts())


async def _openapi(_request: Request) -> Response:
    return _json(openapi.document())


# ---------------------------------------------------------------- the page's files

_STATUS_CSS = FOLDER / "status.css"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def _sent(body: bytes, suffix: str) -> Handler:
    """A handler that sends one file, or 304 to a browser that has it as it is."""
    etag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
    # no-cache: kept, but asked for again each time, so an upgrade of perfmon shows at once.
    headers = {"Cache-Control": "no-cache", "ETag": etag, "Content-Type": _TYPES[suffix]}

    async def send(request: Request) -> Response:
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers)

    return send


# ---------------------------------------------------------------- around every answer

_UNLESS_SET = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class _Envelope:
    """Puts the security headers on every answer, and turns an error of ours into one that tells nothing."""

    def __init__(self, application: ASGIApp, view: View) -> None:
        self._application = application
        self._view = view

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = _with_headers(message["headers"])
            await send(message)

        try:
            await self._application(scope, receive, send_with_headers)
        except Exception as error:
            if _hung_up(error):
                return
            self._view.defect(error)
            if started:
                raise  # half an answer must not look like a whole one: the server closes the connection
            await _words(500, "perfmon failed to answer; its log says why")(scope, receive, send_with_headers)


def _hung_up(error: Exception) -> bool:
    """Whether an answer met a connection that was cut; asyncio's transports drop it in silence, uvloop's say so."""
    return isinstance(error, RuntimeError) and "the handler is closed" in str(error)


def _with_headers(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    there = {name for name, _ in headers}
    extra = ((name.lower().encode(), value.encode()) for name, value in _UNLESS_SET.items())
    return [*headers, *(item for item in extra if item[0] not in there)]


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = error.headers or {}
    words = error.detail
    if error.status_code == 404:
        words = f"there is nothing at {request.url.path}"
    elif error.status_code == 405:
        allowed = headers.get("Allow", "")
        words = "This endpoint requires a POST request." if "POST" in allowed else f"only {allowed} is answered here"
    return _words(error.status_code, words, headers)


# ---------------------------------------------------------------- small pieces


def _by_name(handler: Handler) -> Handler:
    """The handler, for requests that call this server by a name of its own."""

    async def answer(request: Request) -> Response:
        _refuse(guard.host_objection(request, request.app.state.names))
        return await handler(request)

    return answer


_Result = TypeVar("_Result")


async def _while_connected(request: Request, work: Coroutine[Any, Any, _Result]) -> _Result | None:
    """The result of `work`; None when the client went first: the work is cancelled then, and over."""
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_disconnected(request.receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass  # the body, which nobody wants


def _refuse(objection: str) -> None:
    if objection:
        raise HTTPException(403, objection)


def _view(request: Request) -> View:
    view: View = request.app.state.view
    return view


def _parameter(request: Request, name: str) -> str:
    """The first value of a query parameter, as Go's `Get` has it; Starlette's own `get` has the last."""
    return next(iter(request.query_params.getlist(name)), "")


def _seconds(header: str) -> float:
    try:
        seconds = float(header or 0)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"{json.dumps(header)} is not a number of seconds")
    return seconds


def _words(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    return Response(text + "\n", status, dict(headers or {}), media_type="text/plain")


def _json(value: Json, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
