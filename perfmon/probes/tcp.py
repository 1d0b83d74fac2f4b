"""Connect to a TCP port, with TLS when asked, and hold the dialogue that the module tells."""

import re
from collections.abc import Iterable
from typing import Literal

import msgspec

from perfmon.metrics import Family
from perfmon.model import Failure, Reason, Target, fact_key
from perfmon.network import tls
from perfmon.network.address import bracketed, parse_host_port
from perfmon.network.dialogue import Dialogue, Step, hold
from perfmon.network.reach import Hop, reach
from perfmon.network.stream import Route, check_source, route_to
from perfmon.network.tls import TlsConfig
from perfmon.network.transfer import Exchange, Request
from perfmon.patterns import compile_pattern, problem
from perfmon.trace import Trace

__all__ = ["FAMILIES", "Config", "check", "check_target", "probe"]


class Label(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A label of `probe_expect_info`; its value may name groups of `expect`."""

    name: str
    value: str = ""


class QueryResponse(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of a dialogue: what to hear, then what to say, then whether to go over to TLS.

    `expect`, `expect_bytes`, `labels`, `send` and `starttls` are blackbox_exporter's, the rest is perfmon's own.
    """

    expect: str = ""  # RE2, found anywhere in a line; lines that do not match are skipped
    labels: list[Label] = []
    expect_bytes: str = ""  # UTF-8
    expect_hex: str = ""
    send: str = ""  # a line; "\n" is added
    send_bytes: str = ""  # UTF-8, exactly
    send_hex: str = ""
    starttls: bool = False


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """blackbox_exporter's `tcp` section, field by field, and `expect_closed`."""

    preferred_ip_protocol: Literal["ip4", "ip6"] = "ip6"
    ip_protocol_fallback: bool = True
    source_ip_address: str = ""
    query_response: list[QueryResponse] = []
    tls: bool = False
    tls_config: TlsConfig = TlsConfig()

    expect_closed: Literal["", "refused", "filtered", "either"] = ""


FAMILIES = (
    Family(
        "probe_expect_info",
        "gauge",
        "What the dialogue found out: 1, with the labels that the module asks for.",
    ),
    Family(
        "probe_failed_due_to_bytes", "gauge", "Whether the probe failed because of bytes that were not the expected."
    ),
    Family(
        "probe_tcp_step_duration_seconds",
        "gauge",
        "Time taken by each entry of query_response, counted from 1; also by the one that failed.",
        ("step",),
        "seconds",
    ),
    Family("probe_tcp_port_info", "gauge", "How a port that should be closed was found.", ("state",)),
)

_STATES: dict[Reason, str] = {"connect_refused": "refused", "connect_timeout": "filtered"}
_STATE_KEYS = {state: fact_key("probe_tcp_port_info", state=state) for state in ("open", "refused", "filtered")}
_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")


# ---------------------------------------------------------------- what config.py asks


def check(config: Config) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express, as (path, message)."""
    for path, message in tls.check(config.tls_config):
        yield f"tls_config.{path}", message
    for number, entry in enumerate(config.query_response):
        for path, message in _check_entry(entry):
            yield f"query_response[{number}].{path}", message
    yield from check_source(config.source_ip_address)
    if config.expect_closed and (config.tls or config.query_response):
        yield "expect_closed", "a port that is closed has no TLS and no query_response"


def _check_entry(entry: QueryResponse) -> Iterable[tuple[str, str]]:
    if entry.expect and (message := problem(entry.expect)):
        yield "expect", message
    for field in ("expect_hex", "send_hex"):
        try:
            bytes.fromhex(getattr(entry, field))
        except ValueError as error:
            yield field, f"expected pairs of hexadecimal digits: {error}"
    for choice in (("expect_bytes", "expect_hex"), ("send", "send_bytes", "send_hex")):
        given = [field for field in choice if getattr(entry, field)]
        if len(given) > 1:
            yield given[0], f"at most one of {', '.join(choice)} may be given"
    for number, label in enumerate(entry.labels):
        if not _LABEL.fullmatch(label.name):
            yield f"labels[{number}].name", f'"{label.name}" is no label name'
    if entry.labels and not entry.expect:
        yield "labels", "labels are filled in from what expect found, and there is no expect"


def check_target(address: str, _config: Config) -> str | None:
    """Why an address cannot be probed."""
    try:
        parse_host_port(address)
    except ValueError as error:
        return str(error)
    return None


# ---------------------------------------------------------------- a run


async def probe(target: Target, config: Config, trace: Trace) -> Failure | None:
    """Fail unless the connection stands, TLS included, and each entry of the dialogue went as told."""
    trace.facts["probe_failed_due_to_regex"] = 0.0
    trace.facts["probe_failed_due_to_bytes"] = 0.0
    plan = trace.network.prepared.get(target, config, _plan)
    if isinstance(plan, Failure):
        return plan
    failure = await (_talk(plan, trace) if isinstance(plan, Dialogue) else _connect(plan, trace))
    if config.expect_closed:
        return _closed(target.address, config.expect_closed, failure, trace)
    return failure


async def _talk(dialogue: Dialogue, trace: Trace) -> Failure | None:
    ended = await hold(dialogue, trace)
    if ended.mismatch:
        trace.facts[f"probe_failed_due_to_{ended.mismatch}"] = 1.0
    return ended.failure


async def _connect(hop: Hop, trace: Trace) -> Failure | None:
    response = await reach(hop, trace)
    return response if isinstance(response, Failure) else response.error


def _closed(address: str, expected: str, failure: Failure | None, trace: Trace) -> Failure | None:
    """The verdict turned round: a refusal proves that nobody listens, silence that something swallows the packets.

    Any other failure (no such name, no route) says nothing of the port, and stays one.
    """
    state = "open" if failure is None else _STATES.get(failure.reason, "")
    if state:
        trace.facts[_STATE_KEYS[state]] = 1.0
    if state == "open":
        said = "refused or filtered" if expected == "either" else expected
        return Failure(reason="status", phase="connect", message=f"{address} takes connections, expected it {said}")
    return None if state and expected in (state, "either") else failure


def _plan(target: Target, config: Config) -> Dialogue | Hop | Failure:
    """All that can be known before the run. Where there is nothing to say libcurl connects: for half the CPU."""
    try:
        route = route_to(
            target.address,
            target.hostname,
            prefer=config.preferred_ip_protocol,
            fallback=config.ip_protocol_fallback,
            source=config.source_ip_address,
            tls=config.tls_config,
        )
    except ValueError as error:
        return Failure(reason="unreachable", phase="", message=str(error))
    if not config.source_ip_address and not config.query_response:
        return _hop(route, tls=config.tls_config if config.tls else None)
    steps = tuple(_step(number, entry) for number, entry in enumerate(config.query_response, 1))
    return Dialogue(route=route, tls=config.tls, steps=steps)


def _hop(route: Route, tls: TlsConfig | None) -> Hop:
    request = Request(
        url=f"{'https' if tls else 'http'}://{bracketed(route.name)}:{route.port}/",
        name=route.name,
        port=route.port,
        tls=tls,
        connect_only=True,
    )
    return Hop(host=route.host, exchange=Exchange(request), prefer=route.prefer, fallback=route.fallback)


def _step(number: int, entry: QueryResponse) -> Step:
    line = f"{entry.send}\n".encode() if entry.send else b""
    return Step(
        pattern=compile_pattern(entry.expect) if entry.expect else None,
        labels=tuple((label.name, label.value) for label in entry.labels),
        expected=entry.expect_bytes.encode() or bytes.fromhex(entry.expect_hex),
        reply=entry.send if entry.expect else "",
        data=entry.send_bytes.encode() or bytes.fromhex(entry.send_hex) or (b"" if entry.expect else line),
        starttls=entry.starttls,
        duration_key=fact_key("probe_tcp_step_duration_seconds", step=str(number)),
    )
