"""Send an HTTP request, follow its redirects, and hold the answer against what was demanded."""

import asyncio
import os
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

import msgspec

import perfmon
from perfmon.answer import demands
from perfmon.answer.demands import Demands, Prepared
from perfmon.answer.told import tell
from perfmon.metrics import Family
from perfmon.model import Failure, Target, fact_key
from perfmon.network import credentials, oauth2, proxy, tls
from perfmon.network.address import Url, objection, parse_url
from perfmon.network.coding import accepts
from perfmon.network.credentials import Authorization, BasicAuth, OAuth2
from perfmon.network.exchange import Response
from perfmon.network.follow import Arrival, Errand, Leg, first_leg, follow
from perfmon.network.header import is_token, is_value
from perfmon.network.own_files import Files, Unreadable, missing
from perfmon.network.reach import Policy
from perfmon.network.tls import TlsConfig
from perfmon.trace import Trace
from perfmon.units import FilePath, quoted

__all__ = ["FAMILIES", "Config", "check", "check_target", "probe"]


class HttpHeader(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Values of one header, each sent in a line of its own."""

    values: list[str] = []
    secrets: list[str] = []
    files: list[FilePath] = []


class Config(Demands, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """blackbox_exporter's `http` section, field by field; what it demands of the answer stands in `Demands`."""

    method: str = "GET"
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    http_headers: dict[str, HttpHeader] = msgspec.field(default_factory=dict)
    body: str = ""
    body_file: FilePath = ""
    preferred_ip_protocol: Literal["ip4", "ip6"] = "ip6"
    ip_protocol_fallback: bool = True
    ip_policy: Policy = "first"  # perfmon's own
    follow_redirects: bool = True
    max_redirects: Annotated[int, msgspec.Meta(ge=0, le=50)] | None = None  # perfmon's own
    enable_http2: bool = True
    enable_http3: bool = False
    basic_auth: BasicAuth | None = None
    bearer_token: str = ""
    bearer_token_file: FilePath = ""
    authorization: Authorization | None = None
    oauth2: OAuth2 | None = None
    tls_config: TlsConfig = TlsConfig()
    proxy_url: str = ""
    no_proxy: str = ""
    proxy_from_environment: bool = False
    proxy_connect_header: dict[str, list[str]] = msgspec.field(default_factory=dict)
    skip_resolve_phase_with_proxy: bool = False


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
    Family(
        "probe_http_oauth2_duration_seconds",
        "gauge",
        "Time taken to fetch a token, which counts for no phase; 0 when one was there.",
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
    yield from proxy.check(config)
    yield from _bad_request(config)
    yield from _bad_http_headers(config.http_headers)


def check_target(address: str, _config: Config) -> str | None:
    """Why an address cannot be probed."""
    return objection(parse_url, address)


def _bad_request(config: Config) -> Iterable[tuple[str, str]]:
    """What no request can hold, or no server can do."""
    if not is_token(config.method):
        yield "method", f"expected a method such as GET, got {quoted(config.method)}"
    for name, value in config.headers.items():
        if not is_token(name):
            yield f"headers.{name}", f"expected the name of a header, got {quoted(name)}"
        if not is_value(value):  # it may be a secret, so it is not shown
            yield f"headers.{name}", "holds a line break or another character that no header can have"
        if name.lower() == "accept-encoding" and config.compression and not accepts(value, config.compression):
            yield f"headers.{name}", f"forbids {config.compression}, which compression expects"
    if config.body and config.body_file:
        yield "body_file", "body is there already"
    yield from missing({"body_file": config.body_file})
    if config.enable_http3 and (config.proxy_url or config.proxy_from_environment):
        yield "enable_http3", "HTTP/3 goes over UDP, which no proxy here passes on"


# As Prometheus has it: those that other settings are for, and those of the connection.
_NOT_FOR_HTTP_HEADERS = frozenset(
    {
        *("authorization", "host", "user-agent", "content-type", "content-length", "content-encoding"),
        *("accept-encoding", "connection", "keep-alive", "www-authenticate"),
        *("proxy-authenticate", "proxy-authorization"),
    }
)


def _bad_http_headers(headers: Mapping[str, HttpHeader]) -> Iterable[tuple[str, str]]:
    for name, header in headers.items():
        if not is_token(name):
            yield f"http_headers.{name}", f"expected the name of a header, got {quoted(name)}"
        if name.lower() in _NOT_FOR_HTTP_HEADERS:
            yield f"http_headers.{name}", "cannot stand here; expected it in headers, or the setting that is for it"
        for field in ("values", "secrets"):
            for index, value in enumerate(getattr(header, field)):
                if not is_value(value):
                    yield (
                        f"http_headers.{name}.{field}[{index}]",
                        "holds a line break or another character that no header can have",
                    )
        yield from missing({f"http_headers.{name}.files[{i}]": path for i, path in enumerate(header.files)})


# ---------------------------------------------------------------- a run


async def probe(target: Target, config: Config, trace: Trace) -> Failure | None:
    """Fail unless the final answer is all that `config` demands."""
    plan = _up_to_date(target, config, trace)
    if isinstance(plan, Failure):
        return _never_sent(plan, trace)
    try:
        arrival = await _sent(plan, config, trace)
    except asyncio.CancelledError:  # cut off: what is known of it is told all the same
        _write_facts(trace, Arrival(failure=None), None)
        raise
    response = demands.as_asked(plan.demands, arrival.response)
    _write_facts(trace, arrival, response)
    if config.oauth2 is not None and response is not None and response.status == _UNAUTHORIZED:
        oauth2.forget(config.oauth2, trace)
    if arrival.failure is not None or response is None:
        return arrival.failure
    await tell(plan.demands, response, trace, tls=arrival.tls)
    return await demands.judge(plan.demands, response, trace, tls=arrival.tls)


async def _sent(plan: "_Plan", config: Config, trace: Trace) -> Arrival:
    """Where the request ended, with the token of this run if there must be one."""
    if config.oauth2 is None:
        return await follow(plan.leg, plan.errand, trace)
    token = await credentials.prove(config, plan.leg.url, trace)
    if isinstance(token, Failure):
        return Arrival(failure=token)
    return await follow(plan.leg, plan.errand, trace, secrets=(f"Authorization: {token}",))


_UNAUTHORIZED = 401


def _never_sent(failure: Failure, trace: Trace) -> Failure:
    _write_facts(trace, Arrival(failure=failure), None)
    return failure


class _Plan(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """All that can be known before the run."""

    errand: Errand
    leg: Leg
    demands: Prepared
    files: Files | None  # that it is made of; None = none
    secrets: tuple[str, ...]  # that are none of the settings


def _up_to_date(target: Target, config: Config, trace: Trace) -> _Plan | Failure:
    """The plan; made anew when a file that it is made of has changed."""
    try:
        plan = trace.network.prepared.get(target, config, _plan)
        if isinstance(plan, Failure):
            return plan
        if plan.files is not None and plan.files.changed():
            trace.network.prepared.forget(target, config, _plan)
            plan.leg.hop.exchange.close()
            return _up_to_date(target, config, trace)
    except Unreadable as error:
        return Failure(reason=error.reason, phase="", message=str(error))
    trace.hide(*plan.secrets)
    return plan


def _plan(target: Target, config: Config) -> _Plan:
    address = target.address
    if config.enable_http3:  # which is never plain text
        address = _HTTP.sub("https://", address, count=1) if "://" in address else f"https://{address}"
    prepared, files = demands.prepare(config), Files()
    errand = _errand(config, prepared, parse_url(address), files)
    leg = first_leg(errand, address, target.hostname)
    secrets = (*files.secrets, *proxy.secrets_of(errand.proxies))
    return _Plan(errand=errand, leg=leg, demands=prepared, files=files or None, secrets=secrets)


_HTTP = re.compile(r"^http://", re.IGNORECASE)


def _errand(config: Config, prepared: Prepared, url: Url, files: Files) -> Errand:
    own = {name: value for name, value in config.headers.items() if name.lower() != "host"}
    body = files.content(config.body_file) if config.body_file else config.body.encode()
    return Errand(
        method=config.method,
        headers=_missing(own, _defaults(config, url, files)) | own,
        more_headers=tuple(_more_headers(config, files)),
        host_header=next((value for name, value in config.headers.items() if name.lower() == "host"), ""),
        body=body if body or config.method in ("POST", "PUT", "PATCH") else None,
        tls=config.tls_config,
        decode=prepared.decode,
        keep_headers=prepared.keep_headers,
        keep_body_bytes=prepared.keep_body_bytes,
        body_limit_bytes=prepared.body_limit_bytes,
        prefer=config.preferred_ip_protocol,
        fallback=config.ip_protocol_fallback,
        policy=config.ip_policy,
        follow=config.follow_redirects,
        most_redirects=config.max_redirects,
        versions="3" if config.enable_http3 else "" if config.enable_http2 else "1.1",
        proxies=proxy.of_config(config, os.environ),
        skip_look_up=config.skip_resolve_phase_with_proxy,
    )


def _defaults(config: Config, url: Url, files: Files) -> dict[str, str]:
    proof = credentials.authorization(config, url, files)
    return {"User-Agent": f"perfmon/{perfmon.__version__}"} | ({"Authorization": proof} if proof else {})


def _more_headers(config: Config, files: Files) -> Iterable[tuple[str, str]]:
    for name, header in config.http_headers.items():
        for value in (*header.values, *header.secrets, *map(files.secret, header.files)):
            yield name, value


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
