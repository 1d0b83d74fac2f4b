"""Send an HTTP request, follow its redirects, and hold the answer against what was demanded."""

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

import perfmon
from perfmon.answer import demands
from perfmon.answer.demands import Demands, Prepared
from perfmon.answer.told import tell
from perfmon.metrics import Family
from perfmon.model import Failure, Target, fact_key
from perfmon.network import credentials, tls
from perfmon.network.address import Url, parse_url
from perfmon.network.credentials import Authorization, BasicAuth
from perfmon.network.exchange import Response
from perfmon.network.follow import Arrival, Errand, Leg, first_leg, follow
from perfmon.network.header import is_token, is_value
from perfmon.network.tls import TlsConfig
from perfmon.trace import Trace
from perfmon.units import quoted

__all__ = ["FAMILIES", "Config", "check", "check_target", "probe"]


class Config(Demands, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """blackbox_exporter's `http` section, field by field; what it demands of the answer stands in `Demands`."""

    method: str = "GET"
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    body: str = ""
    preferred_ip_protocol: Literal["ip4", "ip6"] = "ip6"
    ip_protocol_fallback: bool = True
    follow_redirects: bool = True
    basic_auth: BasicAuth | None = None
    bearer_token: str = ""
    authorization: Authorization | None = None
    tls_config: TlsConfig = TlsConfig()


FAMILIES = (
    *demands.FAMILIES,
    Family(
        "probe_http_duration_seconds",
        "gauge",
        "Time taken by each phase of the request, summed over redirects.",
        ("phase",),
        "seconds",
    ),
    Family("probe_http_status_code", "gauge", "Status code of the final response."),
    Family("probe_http_content_length", "gauge", "Content-Length of the final response, -1 when it had none."),
    Family("probe_http_uncompressed_body_length", "gauge", "Bytes of the final body, after decompression."),
    Family("probe_http_redirects", "gauge", "How many redirects were met."),
    Family("probe_http_ssl", "gauge", "Whether the final response came over TLS."),
    Family("probe_http_version", "gauge", "HTTP version of the final response."),
    Family(
        "probe_http_last_modified_timestamp_seconds",
        "gauge",
        "Last-Modified of the final response in Unix time; absent when it had none.",
        (),
        "seconds",
    ),
)

# ---------------------------------------------------------------- what config.py asks


def check(config: Config) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express, as (path, message)."""
    yield from ((f"tls_config.{path}", message) for path, message in tls.check(config.tls_config))
    yield from demands.check(config)
    yield from credentials.check(config)
    yield from _bad_request(config)


def check_target(address: str, _config: Config) -> str | None:
    """Why an address cannot be probed."""
    try:
        parse_url(address)
    except ValueError as error:
        return str(error)
    return None


def _bad_request(config: Config) -> Iterable[tuple[str, str]]:
    """What no request can hold."""
    if not is_token(config.method):
        yield "method", f"expected a method such as GET, got {quoted(config.method)}"
    for name in config.headers:
        if not is_token(name):
            yield f"headers.{name}", f"expected the name of a header, got {quoted(name)}"
    values = {f"headers.{name}": value for name, value in config.headers.items()}
    values["bearer_token"] = config.bearer_token
    if config.authorization is not None:
        values |= {f"authorization.{name}": getattr(config.authorization, name) for name in ("type", "credentials")}
    for path, value in values.items():
        if not is_value(value):  # it may be a secret, so it is not shown
            yield path, "holds a line break or another character that no header can have"


# ---------------------------------------------------------------- a run


async def probe(target: Target, config: Config, trace: Trace) -> Failure | None:
    """Fail unless the final answer is all that `config` demands."""
    plan = trace.network.prepared.get(target, config, _plan)
    if isinstance(plan, Failure):
        _write_facts(trace, Arrival(failure=plan), None)
        return plan
    arrival = await follow(plan.leg, plan.errand, trace)
    response = demands.as_asked(plan.demands, arrival.response)
    _write_facts(trace, arrival, response)
    if arrival.failure is not None or response is None:
        return arrival.failure
    await tell(plan.demands, response, trace, tls=arrival.tls)
    return await demands.judge(plan.demands, response, trace, tls=arrival.tls)


class _Plan(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """All that can be known before the run."""

    errand: Errand
    leg: Leg
    demands: Prepared


def _plan(target: Target, config: Config) -> _Plan | Failure:
    prepared = demands.prepare(config)
    try:
        errand = _errand(config, prepared, parse_url(target.address))
        leg = first_leg(errand, target.address, target.hostname)
    except ValueError as error:
        return Failure(reason="unreachable", phase="", message=str(error))
    return _Plan(errand=errand, leg=leg, demands=prepared)


def _errand(config: Config, prepared: Prepared, url: Url) -> Errand:
    own = {name: value for name, value in config.headers.items() if name.lower() != "host"}
    body = config.body.encode()
    return Errand(
        method=config.method,
        headers=_missing(own, _defaults(config, url)) | own,
        host_header=next((value for name, value in config.headers.items() if name.lower() == "host"), ""),
        body=body if body or config.method in ("POST", "PUT", "PATCH") else None,
        tls=config.tls_config,
        decode=prepared.decode,
        keep_headers=prepared.keep_headers,
        keep_body_bytes=prepared.keep_body_bytes,
        body_limit_bytes=prepared.body_limit_bytes,
        prefer=config.preferred_ip_protocol,
        fallback=config.ip_protocol_fallback,
        follow=config.follow_redirects,
    )


def _defaults(config: Config, url: Url) -> dict[str, str]:
    proof = credentials.authorization(config, url)
    return {"User-Agent": f"perfmon/{perfmon.__version__}"} | ({"Authorization": proof} if proof else {})


def _missing(own: Mapping[str, str], defaults: Mapping[str, str]) -> dict[str, str]:
    given = {name.lower() for name in own}
    return {name: value for name, value in defaults.items() if name.lower() not in given}


# ---------------------------------------------------------------- facts

_RESOLVE, _CONNECT, _TLS, _PROCESSING, _TRANSFER = (
    fact_key("probe_http_duration_seconds", phase=phase)
    for phase in ("resolve", "connect", "tls", "processing", "transfer")
)


def _write_facts(trace: Trace, arrival: Arrival, response: Response | None) -> None:
    """blackbox_exporter's gauges, all of them in each run; its phases have no `request`, so `processing` holds it."""
    facts, phases = trace.facts, trace.phases
    facts[_RESOLVE] = phases.get("resolve", 0.0)
    facts[_CONNECT] = phases.get("connect", 0.0)
    facts[_TLS] = phases.get("tls", 0.0)
    facts[_PROCESSING] = phases.get("request", 0.0) + phases.get("processing", 0.0)
    facts[_TRANSFER] = phases.get("transfer", 0.0)
    facts["probe_http_redirects"] = arrival.redirects
    facts["probe_http_ssl"] = 1.0 if arrival.tls else 0.0
    facts["probe_failed_due_to_regex"] = 0.0  # until a pattern says otherwise
    if response is None:
        facts["probe_http_status_code"] = facts["probe_http_version"] = 0.0
        facts["probe_http_content_length"] = facts["probe_http_uncompressed_body_length"] = 0.0
        return
    facts["probe_http_status_code"] = response.status
    facts["probe_http_version"] = response.http_version
    facts["probe_http_content_length"] = response.content_length
    facts["probe_http_uncompressed_body_length"] = response.body_bytes
    if response.last_modified >= 0:
        facts["probe_http_last_modified_timestamp_seconds"] = response.last_modified
