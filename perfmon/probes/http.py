"""Send an HTTP request, follow its redirects, and hold the answer against what was demanded."""

import asyncio
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

import perfmon
from perfmon.metrics import Family
from perfmon.model import Failure, Phase, Reason, Target, fact_key
from perfmon.network import tls
from perfmon.network.address import Url, parse_url
from perfmon.network.exchange import FIRST_BYTES, Response
from perfmon.network.follow import Arrival, Errand, Leg, first_leg, follow
from perfmon.network.tls import TlsConfig
from perfmon.patterns import Pattern, compile_pattern, problem
from perfmon.secret import quoted_or_masked
from perfmon.trace import Trace
from perfmon.units import Bytes, format_bytes, quoted

__all__ = ["FAMILIES", "Config", "check", "check_target", "probe"]


class BasicAuth(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`Authorization: Basic`."""

    username: str
    password: str = ""


class Authorization(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`Authorization: <type> <credentials>`."""

    type: str = "Bearer"
    credentials: str


class HeaderRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A demand on one response header; `regexp` is RE2 and matches anywhere in the value."""

    header: str
    regexp: str
    allow_missing: bool = False


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """blackbox_exporter's `http` section, field by field."""

    method: str = "GET"
    headers: dict[str, str] = {}
    body: str = ""
    preferred_ip_protocol: Literal["ip4", "ip6"] = "ip6"
    ip_protocol_fallback: bool = True
    follow_redirects: bool = True
    compression: Literal["", "gzip", "br", "deflate", "identity"] = ""
    basic_auth: BasicAuth | None = None
    bearer_token: str = ""
    authorization: Authorization | None = None
    tls_config: TlsConfig = TlsConfig()

    valid_status_codes: list[int] = []  # empty = 2xx
    valid_http_versions: list[str] = []  # "HTTP/1.1", "HTTP/2.0"; empty = any
    body_size_limit: Bytes = 0.0  # 0 = none
    fail_if_ssl: bool = False
    fail_if_not_ssl: bool = False
    fail_if_body_matches_regexp: list[str] = []
    fail_if_body_not_matches_regexp: list[str] = []
    fail_if_header_matches: list[HeaderRule] = []
    fail_if_header_not_matches: list[HeaderRule] = []


FAMILIES = (
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

_DEMANDS = (
    "valid_status_codes",
    "valid_http_versions",
    "fail_if_ssl",
    "fail_if_not_ssl",
    "fail_if_body_matches_regexp",
    "fail_if_body_not_matches_regexp",
    "fail_if_header_matches",
    "fail_if_header_not_matches",
    "compression",
)
_MATCHED_BYTES = 10 * 1024 * 1024  # how much of a body regular expressions see, when no limit is set
_UNPACKED_BYTES = 64 * 1024 * 1024  # what a compressed body may become, when no limit is set: a bomb stops the loop
_MATCHED_IN_LOOP_BYTES = 64 * 1024  # RE2 reads some 100 MB/s: a longer body goes to a thread
_VERSIONS = {1.0: "HTTP/1.0", 1.1: "HTTP/1.1", 2.0: "HTTP/2.0", 3.0: "HTTP/3.0"}


# ---------------------------------------------------------------- what config.py asks


def check(config: Config) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express, as (path, message)."""
    yield from ((f"tls_config.{path}", message) for path, message in tls.check(config.tls_config))
    yield from _bad_patterns(config)
    yield from _bad_request(config)
    ways = [field for field in ("basic_auth", "bearer_token", "authorization") if getattr(config, field)]
    if len(ways) > 1:
        yield ways[0], "at most one of basic_auth, bearer_token and authorization may be given"
    if config.fail_if_ssl and config.fail_if_not_ssl:
        yield "fail_if_ssl", "fail_if_ssl and fail_if_not_ssl together can never be met"
    for version in config.valid_http_versions:
        if version not in _VERSIONS.values():
            yield "valid_http_versions", f'expected one of {", ".join(_VERSIONS.values())}, got "{version}"'


def check_target(address: str, _config: Config) -> str | None:
    """Why an address cannot be probed."""
    try:
        parse_url(address)
    except ValueError as error:
        return str(error)
    return None


# What RFC 9110 (sections 5.5 and 5.6.2) has in a method, in a header's name, and in its value.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"(?:[!-~](?:[\t -~]*[!-~])?)?")


def _bad_request(config: Config) -> Iterable[tuple[str, str]]:
    """What no request can hold and no response can have."""
    if not _TOKEN.fullmatch(config.method):
        yield "method", f"expected a method such as GET, got {quoted(config.method)}"
    for name in config.headers:
        if not _TOKEN.fullmatch(name):
            yield f"headers.{name}", f"expected the name of a header, got {quoted(name)}"
    values = {f"headers.{name}": value for name, value in config.headers.items()}
    values["bearer_token"] = config.bearer_token
    if config.authorization is not None:
        values |= {f"authorization.{name}": getattr(config.authorization, name) for name in ("type", "credentials")}
    for path, value in values.items():
        if not _VALUE.fullmatch(value):  # it may be a secret, so it is not shown
            yield path, "holds a line break or another character that no header can have"
    for index, status in enumerate(config.valid_status_codes):
        if not 100 <= status <= 599:
            yield f"valid_status_codes[{index}]", f"expected a status code of 100 to 599, got {status}"


def _bad_patterns(config: Config) -> Iterable[tuple[str, str]]:
    bodies = {
        "fail_if_body_matches_regexp": config.fail_if_body_matches_regexp,
        "fail_if_body_not_matches_regexp": config.fail_if_body_not_matches_regexp,
    }
    headers = {
        "fail_if_header_matches": config.fail_if_header_matches,
        "fail_if_header_not_matches": config.fail_if_header_not_matches,
    }
    patterns = {f"{field}[{i}]": text for field, texts in bodies.items() for i, text in enumerate(texts)}
    patterns |= {
        f"{field}[{i}].regexp": rule.regexp for field, rules in headers.items() for i, rule in enumerate(rules)
    }
    for path, text in patterns.items():
        message = problem(text)
        if message:
            yield path, message


# ---------------------------------------------------------------- a run


async def probe(target: Target, config: Config, trace: Trace) -> Failure | None:
    """Fail unless the final answer is all that `config` demands."""
    plan = trace.network.prepared.get(target, config, _plan)
    if isinstance(plan, Failure):
        _write_facts(trace, Arrival(failure=plan))
        return plan
    arrival = _undone(await follow(plan.leg, plan.errand, trace), plan.errand.decode)
    _write_facts(trace, arrival)
    if arrival.failure is not None or arrival.response is None:
        return arrival.failure
    if plan.lenient and 200 <= arrival.response.status < 300:
        return None
    return await _judge(plan, config, arrival.response, trace, tls=arrival.tls)


class _Plan(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """All that can be known before the run."""

    errand: Errand
    leg: Leg
    lenient: bool  # demands a status of 2xx and nothing else
    statuses: frozenset[int]  # empty = 2xx
    header_rules: tuple[tuple[HeaderRule, Pattern, bool], ...]  # with whether it must match
    body_rules: tuple[tuple[str, Pattern, bool], ...]


def _plan(target: Target, config: Config) -> _Plan | Failure:
    try:
        errand = _errand(config, parse_url(target.address))
        leg = first_leg(errand, target.address, target.hostname)
    except ValueError as error:
        return Failure(reason="unreachable", phase="", message=str(error))
    return _Plan(
        errand=errand,
        leg=leg,
        lenient=not any(getattr(config, field) for field in _DEMANDS),
        statuses=frozenset(config.valid_status_codes),
        header_rules=(
            *((rule, compile_pattern(rule.regexp), False) for rule in config.fail_if_header_matches),
            *((rule, compile_pattern(rule.regexp), True) for rule in config.fail_if_header_not_matches),
        ),
        body_rules=(
            *((text, compile_pattern(text), False) for text in config.fail_if_body_matches_regexp),
            *((text, compile_pattern(text), True) for text in config.fail_if_body_not_matches_regexp),
        ),
    )


def _errand(config: Config, url: Url) -> Errand:
    own = {name: value for name, value in config.headers.items() if name.lower() != "host"}
    body = config.body.encode()
    matches_body = bool(config.fail_if_body_matches_regexp or config.fail_if_body_not_matches_regexp)
    matches_header = bool(config.fail_if_header_matches or config.fail_if_header_not_matches)
    decode = "" if config.compression == "identity" else config.compression
    return Errand(
        method=config.method,
        headers=_missing(own, {"User-Agent": f"perfmon/{perfmon.__version__}", **_credentials(config, url)}) | own,
        host_header=next((value for name, value in config.headers.items() if name.lower() == "host"), ""),
        body=body if body or config.method in ("POST", "PUT", "PATCH") else None,
        tls=config.tls_config,
        decode=decode,
        keep_headers=matches_header or bool(decode),
        keep_body_bytes=_MATCHED_BYTES if matches_body else FIRST_BYTES,
        body_limit_bytes=config.body_size_limit or (_UNPACKED_BYTES if decode else 0.0),
        prefer=config.preferred_ip_protocol,
        fallback=config.ip_protocol_fallback,
        follow=config.follow_redirects,
    )


def _credentials(config: Config, url: Url) -> dict[str, str]:
    if config.authorization is not None:
        return {"Authorization": f"{config.authorization.type} {config.authorization.credentials}"}
    if config.bearer_token:
        return {"Authorization": f"Bearer {config.bearer_token}"}
    basic = config.basic_auth or (
        BasicAuth(username=url.user, password=url.password) if url.user or url.password else None
    )
    if basic is None:
        return {}
    return {"Authorization": "Basic " + b64encode(f"{basic.username}:{basic.password}".encode()).decode()}


def _missing(own: Mapping[str, str], defaults: Mapping[str, str]) -> dict[str, str]:
    given = {name.lower() for name in own}
    return {name: value for name, value in defaults.items() if name.lower() not in given}


# ---------------------------------------------------------------- the verdict


async def _judge(plan: _Plan, config: Config, response: Response, trace: Trace, *, tls: bool) -> Failure | None:
    """The first demand that the answer does not meet; patterns last, since they may take a while."""
    found = (
        _wrong_status(plan, response)
        or _wrong_version(config, response)
        or _wrong_transport(config, tls=tls)
        or _wrong_encoding(plan, response)
        or _body_cut(plan, response)
    )
    if found is None:
        found = _wrong_header(plan, response) or await _wrong_body(plan, response)
        trace.facts["probe_failed_due_to_regex"] = 0.0 if found is None else 1.0
    if found is None:
        return None
    reason, phase, message = found
    return Failure(reason=reason, phase=phase, message=message, evidence=_evidence(response))


_Found = tuple[Reason, Phase, str] | None


def _wrong_status(plan: _Plan, response: Response) -> _Found:
    status = response.status
    if status in plan.statuses if plan.statuses else 200 <= status < 300:
        return None
    expected = ", ".join(map(str, sorted(plan.statuses))) or "2xx"
    return "status", "processing", f"status {status}, expected {expected}"


def _wrong_version(config: Config, response: Response) -> _Found:
    version = _VERSIONS.get(response.http_version, "an unknown version")
    if not config.valid_http_versions or version in config.valid_http_versions:
        return None
    return "status", "processing", f"answered with {version}, expected {' or '.join(config.valid_http_versions)}"


def _wrong_transport(config: Config, *, tls: bool) -> _Found:
    if config.fail_if_ssl and tls:
        return "tls_handshake", "tls", "the final response came over TLS, expected plain text"
    if config.fail_if_not_ssl and not tls:
        return "tls_handshake", "connect", "the final response was not over SSL, expected TLS"
    return None


def _wrong_header(plan: _Plan, response: Response) -> _Found:
    for rule, pattern, must_match in plan.header_rules:
        values = [value for name, value in response.headers if name == rule.header.lower()]
        if not values:
            if rule.allow_missing:
                continue
            return "header", "processing", f"no header {rule.header}"
        matched = any(pattern.search(value) for value in values)
        if matched != must_match:
            verb = "does not match" if must_match else "matches"
            return (
                "header",
                "processing",
                f"header {rule.header} {verb} {quoted_or_masked(rule.regexp)}: {quoted(values[0])}",
            )
    return None


def _wrong_encoding(plan: _Plan, response: Response) -> _Found:
    expected, sent = plan.errand.decode, _encoding(response)
    if not expected or sent == expected:
        return None
    return "body", "transfer", f"body has encoding {sent or 'none'}, expected {expected}"


def _undone(arrival: Arrival, decode: str) -> Arrival:
    """A body that came otherwise than asked for counts as not decoded, though libcurl undoes all that it knows."""
    response = arrival.response
    if not decode or response is None or _encoding(response) == decode:
        return arrival
    return msgspec.structs.replace(arrival, response=msgspec.structs.replace(response, body_bytes=0))


def _encoding(response: Response) -> str:
    return next((value.lower() for name, value in response.headers if name == "content-encoding"), "")


def _body_cut(plan: _Plan, response: Response) -> _Found:
    """A body that is longer than what is kept of it cannot be judged, so it fails."""
    if not plan.body_rules or response.body_bytes <= len(response.body):
        return None
    kept = format_bytes(len(response.body))
    return "too_large", "transfer", f"body is longer than the {kept} that regular expressions are matched against"


async def _wrong_body(plan: _Plan, response: Response) -> _Found:
    if len(response.body) > _MATCHED_IN_LOOP_BYTES and plan.body_rules:
        return await asyncio.to_thread(_match_body, plan, response.body)
    return _match_body(plan, response.body)


def _match_body(plan: _Plan, body: bytes) -> _Found:
    for text, pattern, must_match in plan.body_rules:
        if (pattern.search(body) is not None) != must_match:
            verb = "does not match" if must_match else "matches"
            return "body", "transfer", f"body {verb} {quoted_or_masked(text)}"
    return None


def _evidence(response: Response) -> dict[str, str]:
    return {"status": str(response.status), "body": _text(response.body[:FIRST_BYTES])}


def _text(raw: bytes | str) -> str:
    return raw if isinstance(raw, str) else raw.decode("utf-8", "replace")


# ---------------------------------------------------------------- facts

_RESOLVE, _CONNECT, _TLS, _PROCESSING, _TRANSFER = (
    fact_key("probe_http_duration_seconds", phase=phase)
    for phase in ("resolve", "connect", "tls", "processing", "transfer")
)


def _write_facts(trace: Trace, arrival: Arrival) -> None:
    """blackbox_exporter's gauges, all of them in each run; its phases have no `request`, so `processing` holds it."""
    facts, phases, response = trace.facts, trace.phases, arrival.response
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
