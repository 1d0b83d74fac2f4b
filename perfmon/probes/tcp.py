"""Connect to a TCP port, with TLS when asked, and hold the dialogue that the module tells."""

from collections.abc import Iterable
from typing import Literal

import msgspec

from perfmon.metrics import Family
from perfmon.model import Failure, Reason, Target, fact_key
from perfmon.network import tls
from perfmon.network.address import bracketed, objection, parse_host_port
from perfmon.network.dialogue import Dialogue
from perfmon.network.query_response import BLAMELESS, QueryResponse, check_entries, steps_of, talk
from perfmon.network.reach import Hop, reach
from perfmon.network.stream import Route, check_source, route_to
from perfmon.network.tls import TlsConfig
from perfmon.network.transfer import Exchange, Request
from perfmon.trace import Trace

__all__ = ["FAMILIES", "Config", "check", "check_target", "probe"]


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """blackbox_exporter's `tcp` section, field by field, and `expect_closed`."""

    preferred_ip_protocol: Literal["ip4", "ip6"] = "ip6"
    ip_protocol_fallback: bool = True
    source_ip_address: str = ""
    query_response: list[QueryResponse] = []
    tls: bool = False
    tls_config: TlsConfig = TlsConfig()

    expect_closed: Literal["", "refused", "filtered", "either"] = ""


FAMILIES = (Family("probe_tcp_port_info", "gauge", "How a port that should be closed was found.", ("state",)),)

_STATES: dict[Reason, str] = {"connect_refused": "refused", "connect_timeout": "filtered"}
_STATE_KEYS = {state: fact_key("probe_tcp_port_info", state=state) for state in ("open", "refused", "filtered")}


# ---------------------------------------------------------------- what config.py asks


def check(config: Config) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express, as (path, message)."""
    for path, message in tls.check(config.tls_config):
        yield f"tls_config.{path}", message
    yield from check_entries(config.query_response, tls=config.tls)
    yield from check_source(config.source_ip_address)
    if config.expect_closed and (config.tls or config.query_response):
        yield "expect_closed", "a port that is closed has no TLS and no query_response"


def check_target(address: str, _config: Config) -> str | None:
    """Why an address cannot be probed."""
    return objection(parse_host_port, address)


# ---------------------------------------------------------------- a run


async def probe(target: Target, config: Config, trace: Trace) -> Failure | None:
    """Fail unless the connection stands, TLS included, and each entry of the dialogue went as told."""
    trace.facts.update(BLAMELESS)
    plan = trace.network.prepared.get(target, config, _plan)
    if isinstance(plan, Failure):
        return plan
    failure = await (talk(plan, trace) if isinstance(plan, Dialogue) else _connect(plan, trace))
    if config.expect_closed:
        return _closed(target.address, config.expect_closed, failure, trace)
    return failure


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
        fine = "refused or filtered" if expected == "either" else expected
        trace.demand("port", expected=fine, got=state, met=state in fine)
    if state == "open":
        said = "refused or filtered" if expected == "either" else expected
        return Failure(reason="status", phase="connect", message=f"{address} takes connections, expected it {said}")
    return None if state and expected in (state, "either") else failure


def _plan(target: Target, config: Config) -> Dialogue | Hop:
    """All that can be known before the run. Where there is nothing to say libcurl connects: for half the CPU."""
    route = route_to(
        target.address,
        target.hostname,
        prefer=config.preferred_ip_protocol,
        fallback=config.ip_protocol_fallback,
        source=config.source_ip_address,
        tls=config.tls_config,
    )
    if not config.source_ip_address and not config.query_response:
        return _hop(route, tls=config.tls_config if config.tls else None)
    return Dialogue(route=route, tls=config.tls, steps=steps_of(config.query_response))


def _hop(route: Route, tls: TlsConfig | None) -> Hop:
    request = Request(
        url=f"{'https' if tls else 'http'}://{bracketed(route.name)}:{route.port}/",
        name=route.name,
        port=route.port,
        tls=tls,
        connect_only=True,
    )
    return Hop(host=route.host, exchange=Exchange(request), prefer=route.prefer, fallback=route.fallback)
