"""Ask an HTTP server to become a WebSocket, and talk with it: expect messages, send messages.

Connection, upgrade and framing are libcurl's (`perfmon.network.websocket`), so phases and certificates are those of any
other probe; what the server must prove by RFC 6455, section 4.1, is judged here, since libcurl takes any 101.
"""

import asyncio
import hashlib
import os
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

import perfmon
from perfmon.metrics import Family
from perfmon.model import Failure, Reason, Target, fact_key
from perfmon.network import tls
from perfmon.network.address import BadAddress, Url, bracketed, objection, parse_name, parse_url, shown
from perfmon.network.exchange import FIRST_BYTES, Talk
from perfmon.network.header import is_token, is_value
from perfmon.network.reach import Hop, reach
from perfmon.network.tls import TlsConfig
from perfmon.network.transfer import Exchange, Request, Response
from perfmon.network.websocket import TalkFailed
from perfmon.patterns import Match, Pattern, compile_pattern, expand, problem
from perfmon.secret import quoted_or_masked
from perfmon.trace import Trace
from perfmon.units import quoted

__all__ = ["FAMILIES", "Config", "check", "check_target", "probe"]


class BasicAuth(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`Authorization: Basic`."""

    username: str
    password: str = ""


class HttpConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The request that asks for the upgrade."""

    headers: dict[str, str | list[str]] = {}
    basic_auth: BasicAuth | None = None
    bearer_token: str = ""
    tls_config: TlsConfig = TlsConfig()


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The next message to come, and what to send after it."""

    expect: str = ""  # RE2, found anywhere in it; "" = wait for none
    send: str = ""  # `${1}` and `${name}` are what groups of `expect` matched; "" = send none


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """blackbox_exporter's `websocket` section, field by field, and what it lacks."""

    http_config: HttpConfig = HttpConfig()
    query_response: list[Step] = []
    preferred_ip_protocol: Literal["ip4", "ip6"] = "ip6"
    ip_protocol_fallback: bool = True
    subprotocols: list[str] = []  # to offer, the first preferred; the server must choose one
    ignore_bad_accept: bool = False  # whether a wrong Sec-WebSocket-Accept does not matter


FAMILIES = (
    Family(
        "probe_websocket_duration_seconds",
        "gauge",
        "Time taken by each phase: connect has the TLS handshake in it, processing is the upgrade, transfer the talk.",
        ("phase",),
        "seconds",
    ),
    Family("probe_websocket_status_code", "gauge", "Status code of the answer to the upgrade, 0 when none came."),
    Family("probe_websocket_connection_upgraded", "gauge", "Whether the connection became a WebSocket."),
    Family("probe_websocket_failed_due_to_regex", "gauge", "Whether a message was not the expected one."),
)

_SWITCHING = 101
_OWN_HEADERS = ("connection", "upgrade")
_MATCHED_IN_LOOP = 64 * 1024  # characters; RE2 reads some 100 MB/s: a longer message goes to a thread


# ---------------------------------------------------------------- what config.py asks


def check(config: Config) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express, as (path, message)."""
    http = config.http_config
    yield from ((f"http_config.tls_config.{path}", message) for path, message in tls.check(http.tls_config))
    yield from _bad_headers(http)
    for i, step in enumerate(config.query_response):
        if message := problem(step.expect):
            yield f"query_response[{i}].expect", message
        if not step.expect and not step.send:
            yield f"query_response[{i}]", "a step expects a message, sends one, or both"
    for i, name in enumerate(config.subprotocols):
        if not is_token(name):
            yield f"subprotocols[{i}]", f"expected the name of a subprotocol, got {quoted(name)}"


def check_target(address: str, _config: Config) -> str | None:
    """Why an address cannot be probed."""
    return objection(_parse, address)


def _bad_headers(http: HttpConfig) -> Iterable[tuple[str, str]]:
    if http.basic_auth and http.bearer_token:
        yield "http_config.basic_auth", "at most one of basic_auth and bearer_token may be given"
    for path, value in (*_pairs(http.headers, "headers."), ("bearer_token", http.bearer_token)):
        if not is_value(value):  # it may be a secret, so it is not shown
            yield f"http_config.{path}", "holds a line break or another character that no header can have"
    for name in http.headers:
        if not is_token(name):
            yield f"http_config.headers.{name}", f"expected the name of a header, got {quoted(name)}"
        if name.lower().startswith("sec-websocket-") or name.lower() in _OWN_HEADERS:
            yield f"http_config.headers.{name}", "the upgrade's own header"


# ---------------------------------------------------------------- a run


async def probe(target: Target, config: Config, trace: Trace) -> Failure | None:
    """Fail unless the server becomes a WebSocket and says what is expected, all before the deadline."""
    plan = trace.network.prepared.get(target, config, _plan)
    _write_upgrade(trace, config, None, upgraded=False)
    try:
        return plan if isinstance(plan, Failure) else await _run(plan, config, trace)
    finally:
        _write_phases(trace)  # also of a run that is cut off


async def _run(plan: "_Plan", config: Config, trace: Trace) -> Failure | None:
    key = b64encode(os.urandom(16)).decode()
    response = await reach(plan.hop, trace, headers=(f"Sec-WebSocket-Key: {key}",))
    if isinstance(response, Failure):
        return response
    try:
        refusal = _refusal(response, key, config)
        if trace.steps is not None:
            got = "upgraded" if refusal is None else refusal.message
            trace.demand("connection", expected="upgraded to a WebSocket", got=got, met=refusal is None)
        _write_upgrade(trace, config, response, upgraded=refusal is None)
        if refusal is not None or response.websocket is None:
            return refusal
        return await _talk(plan.steps, response.websocket, trace)
    finally:
        if response.websocket is not None:
            response.websocket.close()


class _Step(msgspec.Struct, frozen=True):
    """A step as it is gone through."""

    expect: str
    pattern: Pattern | None  # of the message to wait for
    reply: str


class _Plan(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """All that can be known before the run."""

    hop: Hop
    steps: tuple[_Step, ...]


def _plan(target: Target, config: Config) -> _Plan:
    url = _parse(target.address)
    server_name = config.http_config.tls_config.server_name if url.scheme == "https" else ""
    name = parse_name(server_name or target.hostname or url.host)
    request = Request(
        url=f"{'wss' if url.scheme == 'https' else 'ws'}://{bracketed(name)}:{url.port}{url.path}",
        name=name,
        port=url.port,
        headers=tuple(_header_lines(config, target.hostname or url.authority)),
        tls=config.http_config.tls_config if url.scheme == "https" else None,
        keep_headers=True,
        websocket=True,
    )
    hop = Hop(
        host=url.host,
        exchange=Exchange(request),
        prefer=config.preferred_ip_protocol,
        fallback=config.ip_protocol_fallback,
    )
    return _Plan(hop=hop, steps=tuple(map(_step, config.query_response)))


def _step(step: Step) -> _Step:
    return _Step(step.expect, compile_pattern(step.expect) if step.expect else None, step.send)


def _parse(address: str) -> Url:
    """A ws or wss URL, with the scheme of HTTP that it goes by. BadAddress with a sentence."""
    scheme, mark, rest = address.partition("://")
    secure = {"ws": False, "wss": True}.get(scheme.lower()) if mark else None
    if secure is None:
        raise BadAddress(f"expected a ws or wss URL, got {shown(address)}")
    url = parse_url(f"{'https' if secure else 'http'}://{rest}")
    if url.user or url.password:
        raise BadAddress("a WebSocket's URL has no user and no password, basic_auth has")
    return url


def _header_lines(config: Config, host: str) -> Iterable[str]:
    """In libcurl's form: `Name;` for an empty value, `Name:` against a header of libcurl's own."""
    own = _pairs(config.http_config.headers)
    given = {name.lower() for name, _ in own}
    yield from (line for name, line in _default_headers(config.http_config, host) if name not in given)
    yield from (f"{name}: {value}" if value else f"{name};" for name, value in own)
    if config.subprotocols:
        yield f"Sec-WebSocket-Protocol: {', '.join(config.subprotocols)}"


def _default_headers(http: HttpConfig, host: str) -> Iterable[tuple[str, str]]:
    yield "host", f"Host: {host}"
    yield "user-agent", f"User-Agent: perfmon/{perfmon.__version__}"
    yield "accept", "Accept:"
    if http.basic_auth:
        pair = f"{http.basic_auth.username}:{http.basic_auth.password}".encode()
        yield "authorization", f"Authorization: Basic {b64encode(pair).decode()}"
    if http.bearer_token:
        yield "authorization", f"Authorization: Bearer {http.bearer_token}"


def _pairs(headers: Mapping[str, str | list[str]], prefix: str = "") -> list[tuple[str, str]]:
    listed = {name: [values] if isinstance(values, str) else values for name, values in headers.items()}
    return [(prefix + name, value) for name, values in listed.items() for value in values]


# ---------------------------------------------------------------- the upgrade

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


def _refusal(response: Response, key: str, config: Config) -> Failure | None:
    """Why the connection is no WebSocket."""
    if response.status not in (0, _SWITCHING):
        return _failed(response, "status", f"status {response.status}, expected 101 Switching Protocols")
    if response.error is not None:
        return response.error
    message = _bad_proof(dict(response.headers), key, config)
    return _failed(response, "header", message) if message else None


def _bad_proof(headers: Mapping[str, str], key: str, config: Config) -> str:
    """What is wrong with the headers of a 101, "" when nothing is."""
    for name, token in (("upgrade", "websocket"), ("connection", "upgrade")):
        if token not in headers.get(name, "").lower().replace(" ", "").split(","):
            return f"header {name.title()} does not say {quoted(token)}"
    accept = b64encode(hashlib.sha1(key.encode() + _MAGIC, usedforsecurity=False).digest()).decode()
    if headers.get("sec-websocket-accept") != accept and not config.ignore_bad_accept:
        return "header Sec-WebSocket-Accept is not the answer to our key"
    if headers.get("sec-websocket-extensions"):
        return "the server uses an extension that was not offered"
    chosen = headers.get("sec-websocket-protocol", "")
    if chosen not in (config.subprotocols or [""]):
        offered = ", ".join(config.subprotocols) or "none"
        return f"the server speaks {f'the subprotocol {quoted(chosen)}' if chosen else 'no subprotocol'}, not {offered}"
    return ""


def _failed(response: Response, reason: Reason, message: str) -> Failure:
    return Failure(reason=reason, phase="processing", message=message, evidence={"status": str(response.status)})


# ---------------------------------------------------------------- the talk


async def _talk(steps: Sequence[_Step], websocket: Talk, trace: Trace) -> Failure | None:
    """Go through the steps, to the first that fails; it is over by the deadline."""
    if not steps:
        return None
    trace.begin("transfer")
    try:
        async with asyncio.timeout(trace.remaining()):
            for number, step in enumerate(steps, 1):
                failed = await _take(number, step, websocket, trace)
                if failed is not None:
                    return failed
    except TimeoutError:
        return _talk_failure(number, "timeout", f"time is over, {_awaited(steps[number - 1])}")
    except TalkFailed as error:
        return _talk_failure(number, error.reason, f"the server {error}")
    finally:
        trace.end()
    return None


async def _take(number: int, step: _Step, websocket: Talk, trace: Trace) -> Failure | None:
    reply = step.reply
    if step.pattern is not None:
        message = (await websocket.receive()).decode("utf-8", "replace")
        match = await _search(step.pattern, message)
        trace.note("received", step=number, message=quoted(message), matches=match is not None)
        trace.said("target", message)
        if trace.steps is not None:
            expected = f"matches {quoted_or_masked(step.expect)}"
            trace.demand(f"step {number}: message", expected=expected, got=quoted(message), met=match is not None)
        if match is None:
            trace.facts["probe_websocket_failed_due_to_regex"] = 1.0
            return _talk_failure(
                number, "body", f"message does not match {quoted_or_masked(step.expect)}: {quoted(message)}", message
            )
        reply = expand(reply, match)
    if reply:
        trace.note("sending", step=number, characters=len(reply))
        trace.said("perfmon", reply)
        await websocket.send(reply.encode())
    return None


async def _search(pattern: Pattern, message: str) -> Match | None:
    if len(message) > _MATCHED_IN_LOOP:
        return await asyncio.to_thread(pattern.search, message)
    return pattern.search(message)


def _awaited(step: _Step) -> str:
    return f"no message came to match {quoted_or_masked(step.expect)}" if step.expect else "our message was not taken"


def _talk_failure(number: int, reason: Reason, message: str, received: str = "") -> Failure:
    evidence = {"step": str(number)} | ({"message": received[:FIRST_BYTES]} if received else {})
    return Failure(reason=reason, phase="transfer", message=f"step {number}: {message}", evidence=evidence)


# ---------------------------------------------------------------- facts

_RESOLVE, _CONNECT, _PROCESSING, _TRANSFER = (
    fact_key("probe_websocket_duration_seconds", phase=phase)
    for phase in ("resolve", "connect", "processing", "transfer")
)


def _write_upgrade(trace: Trace, config: Config, response: Response | None, *, upgraded: bool) -> None:
    """blackbox_exporter's gauges, all of them in each run; the one about expressions only where there are any."""
    trace.facts["probe_websocket_status_code"] = response.status if response else 0
    trace.facts["probe_websocket_connection_upgraded"] = float(upgraded)
    if config.query_response:
        trace.facts["probe_websocket_failed_due_to_regex"] = 0.0  # until a message says otherwise


def _write_phases(trace: Trace) -> None:
    """blackbox_exporter's four phases: `connect` holds `tls`, `processing` holds `request`."""
    facts, phases = trace.facts, trace.phases
    facts[_RESOLVE] = phases.get("resolve", 0.0)
    facts[_CONNECT] = phases.get("connect", 0.0) + phases.get("tls", 0.0)
    facts[_PROCESSING] = phases.get("request", 0.0) + phases.get("processing", 0.0)
    facts[_TRANSFER] = phases.get("transfer", 0.0)
