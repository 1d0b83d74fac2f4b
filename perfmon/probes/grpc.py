"""Ask a gRPC server for its health (grpc.health.v1), or call one of its methods and look for words in the answer.

The call goes over libcurl's HTTP/2, not over grpcio, which is the field's own client. What a unary call needs beyond
HTTP/2 is five bytes before the message, a header and two trailers, and the health protocol's messages have one field
each; the hand-made reading of both is held against grpcio and protobuf in the tests. For that, each phase is timed,
certificates are shown as for any other probe, also refused ones, each run dials anew the address that was looked up,
and the daemon is spared grpcio's seven threads and 20 MB. What is lost is what a probe must not have: retries,
balancing, and a connection kept warm.
"""

import asyncio
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from typing import Literal
from urllib.parse import unquote

import msgspec

import perfmon
from perfmon.metrics import Family
from perfmon.model import Failure, Phase, Reason, Target, fact_key
from perfmon.network import tls
from perfmon.network.address import bracketed, objection, parse_host_port, parse_name
from perfmon.network.exchange import FIRST_BYTES
from perfmon.network.reach import Hop, reach
from perfmon.network.tls import TlsConfig
from perfmon.network.transfer import Exchange, Request, Response
from perfmon.patterns import Pattern, compile_pattern, problem
from perfmon.secret import quoted_or_masked
from perfmon.trace import Trace
from perfmon.units import format_bytes, quoted

__all__ = ["FAMILIES", "Config", "check", "check_target", "probe", "read_status", "unframed"]


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """blackbox_exporter's `grpc` section, field by field, and calls of other methods."""

    service: str = ""  # whose health; "" = the server's as a whole
    preferred_ip_protocol: Literal["ip4", "ip6"] = "ip6"
    ip_protocol_fallback: bool = True
    metadata: dict[str, list[str]] = {}
    tls: bool = False
    tls_config: TlsConfig = TlsConfig()

    method: str = ""  # "/package.Service/Method"; "" = the health check
    request: str = ""  # its message, serialized, in base64
    fail_if_response_matches_regexp: list[str] = []
    fail_if_response_not_matches_regexp: list[str] = []


FAMILIES = (
    Family(
        "probe_grpc_duration_seconds",
        "gauge",
        "Time taken by the name look-up, and by all that follows it.",
        ("phase",),
        "seconds",
    ),
    Family("probe_grpc_ssl", "gauge", "Whether the answer came over TLS."),
    Family("probe_grpc_status_code", "gauge", "Status code of the call; without an answer, 14 or 4."),
    Family("probe_grpc_healthcheck_response", "gauge", "The health that was told.", ("serving_status",)),
)

_SERVING_STATUSES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
_SERVING = 1
_HEALTH_CHECK = "/grpc.health.v1.Health/Check"
_METHOD = re.compile(r"/[A-Za-z0-9_.]+/[A-Za-z0-9_]+")

# https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md: what metadata may look like, and what is not metadata
_KEY = re.compile(r"[0-9a-z_.-]+")
_VALUE = re.compile(r"(?:[!-~](?:[ -~]*[!-~])?)?")
_RESERVED = ("content-type", "te", "user-agent", "host")

_LONGEST_ANSWER_BYTES = 64 * 1024  # RE2 reads some 100 MB/s, and the loop waits
_FRAME_BYTES = 5

# https://github.com/grpc/grpc/blob/master/doc/statuscodes.md
_CODE = re.compile(r"[0-9]{1,3}")
_CODES = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED"),
    *("INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
)
_OK, _UNKNOWN, _DEADLINE_EXCEEDED, _INTERNAL, _UNAVAILABLE = 0, 2, 4, 13, 14
_REASONS: Mapping[int, Reason] = {7: "permission", 16: "auth"}
# https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md: of answers that are none of gRPC's
_OF_HTTP = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}
_TIMEOUTS: tuple[Reason, ...] = ("timeout", "connect_timeout", "dns_timeout")


# ---------------------------------------------------------------- what config.py asks


def check(config: Config) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express, as (path, message)."""
    yield from ((f"tls_config.{path}", message) for path, message in tls.check(config.tls_config))
    yield from _bad_metadata(config.metadata)
    yield from _bad_call(config)
    for field in ("fail_if_response_matches_regexp", "fail_if_response_not_matches_regexp"):
        for i, text in enumerate(getattr(config, field)):
            if message := problem(text):
                yield f"{field}[{i}]", message


def check_target(address: str, _config: Config) -> str | None:
    """Why an address cannot be probed."""
    return objection(_host_port, address)


def _bad_metadata(metadata: Mapping[str, list[str]]) -> Iterable[tuple[str, str]]:
    for key, values in metadata.items():
        name = key.lower()
        if not _KEY.fullmatch(name):
            yield f"metadata.{key}", "a key has letters, digits, _ . and - only"
        elif name in _RESERVED or name.startswith("grpc-"):
            yield f"metadata.{key}", f"{quoted(name)} is gRPC's own"
        elif not name.endswith("-bin") and not all(map(_VALUE.fullmatch, values)):
            yield f"metadata.{key}", "a value is one line of ASCII; a key that ends in -bin may have any"


def _bad_call(config: Config) -> Iterable[tuple[str, str]]:
    if not config.method:
        for field in ("request", "fail_if_response_matches_regexp", "fail_if_response_not_matches_regexp"):
            if getattr(config, field):
                yield field, f"{field} needs a method to call; the health check has its own"
        return
    if config.service:
        yield "service", "service is for the health check, not for a method"
    if not _METHOD.fullmatch(config.method):
        yield "method", f"expected /package.Service/Method, got {quoted(config.method)}"
    try:
        b64decode(config.request, validate=True)
    except ValueError as error:
        yield "request", f"not base64: {str(error).lower()}"


# ---------------------------------------------------------------- a run


async def probe(target: Target, config: Config, trace: Trace) -> Failure | None:
    """Fail unless the health is SERVING, or the method's answer is all that `config` demands."""
    call = trace.network.prepared.get(target, config, _call)
    if isinstance(call, Failure):
        _write_facts(trace, config, _unanswered(call), ssl=False)
        return call
    try:
        reached = await reach(call.hop, trace)
    except asyncio.CancelledError:
        _write_facts(trace, config, _CUT_OFF, ssl=False)
        raise
    answer = _unanswered(reached) if isinstance(reached, Failure) else _read(call, reached)
    _write_facts(trace, config, answer, ssl=config.tls and isinstance(reached, Response) and reached.status != 0)
    if trace.steps is not None and isinstance(reached, Response) and reached.error is None:
        _tell_demands(call, reached, answer, trace)
    return answer.failure


class _Call(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """All that can be known before the run."""

    hop: Hop
    whose: str  # the health check's service in words, "" = another method is called
    rules: tuple[tuple[str, Pattern, bool], ...]  # with whether it must match


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the call came to."""

    code: int  # gRPC's
    failure: Failure | None = None
    serving: int | None = None


_CUT_OFF = _Answer(code=_DEADLINE_EXCEEDED)


def _call(target: Target, config: Config) -> _Call:
    host, port = _host_port(target.address)
    name = parse_name(config.tls_config.server_name or target.hostname or host)
    message = b64decode(config.request) if config.method else _service_field(config.service)
    request = Request(
        url=f"{'https' if config.tls else 'http'}://{bracketed(name)}:{port}{config.method or _HEALTH_CHECK}",
        name=name,
        port=port,
        method="POST",
        headers=tuple(_headers(config.metadata)),
        body=b"\0" + len(message).to_bytes(4, "big") + message,
        tls=config.tls_config if config.tls else None,
        keep_headers=True,
        keep_body_bytes=_LONGEST_ANSWER_BYTES,
        body_limit_bytes=_LONGEST_ANSWER_BYTES,
        http2=True,
    )
    return _Call(
        hop=Hop(
            host=host,
            exchange=Exchange(request),
            prefer=config.preferred_ip_protocol,
            fallback=config.ip_protocol_fallback,
        ),
        whose="" if config.method else f"service {quoted(config.service)}" if config.service else "the server",
        rules=(
            *((text, compile_pattern(text), False) for text in config.fail_if_response_matches_regexp),
            *((text, compile_pattern(text), True) for text in config.fail_if_response_not_matches_regexp),
        ),
    )


def _host_port(address: str) -> tuple[str, int]:
    """`host:port`; blackbox_exporter takes a URL as well, and ignores its scheme."""
    for scheme in ("http://", "https://"):
        if address.lower().startswith(scheme):
            return parse_host_port(address[len(scheme) :].removesuffix("/"))
    return parse_host_port(address)


def _headers(metadata: Mapping[str, list[str]]) -> Iterable[str]:
    """In libcurl's form: `Name;` for an empty value, `Name:` against a header of libcurl's own."""
    yield from ("Content-Type: application/grpc", "TE: trailers", "Expect:", "Accept:")
    yield f"User-Agent: perfmon/{perfmon.__version__}"
    for key, values in metadata.items():
        for value in values:
            sent = b64encode(value.encode()).decode().rstrip("=") if key.lower().endswith("-bin") else value
            yield f"{key}: {sent}" if sent else f"{key};"


# ---------------------------------------------------------------- the answer


def _unanswered(failure: Failure) -> _Answer:
    return _Answer(code=_DEADLINE_EXCEEDED if failure.reason in _TIMEOUTS else _UNAVAILABLE, failure=failure)


def _read(call: _Call, response: Response) -> _Answer:
    """What the headers, the trailers and the message say; a call is fine only when all three of them do."""
    if response.error is not None:
        return _unanswered(response.error)
    failed = _not_ok(response)
    if failed is not None:
        return failed
    try:
        message = unframed(response.body)
    except ValueError as error:
        return _failed(response, _INTERNAL, "body", f"not a message of gRPC: {error}", phase="transfer")
    return _judge_health(call, message) if call.whose else _judge_words(call, message)


def _not_ok(response: Response) -> _Answer | None:
    """What headers and trailers object to."""
    headers = dict(response.headers)  # the trailers are among them
    if response.status != 200:
        code = _OF_HTTP.get(response.status, _UNKNOWN)
        return _failed(response, code, "status", f"status {response.status} of HTTP, expected 200")
    content_type = headers.get("content-type", "")
    if not content_type.startswith("application/grpc"):
        return _failed(response, _UNKNOWN, "header", f"not an answer of gRPC: its type is {quoted(content_type)}")
    if not _CODE.fullmatch(headers.get("grpc-status", "")):
        return _failed(response, _UNKNOWN, "header", "no status of gRPC came, not even in the trailers")
    code = int(headers["grpc-status"])
    if code == _OK:
        return None
    name = _CODES[code] if code < len(_CODES) else "no code of gRPC"
    words = unquote(headers.get("grpc-message", ""))
    message = f"status {code} {name}" + (f": {quoted(words)}" if words else "")
    return _failed(response, code, _REASONS.get(code, "status"), message)


def _failed(response: Response, code: int, reason: Reason, message: str, *, phase: Phase = "processing") -> _Answer:
    evidence = {"status": str(response.status), "grpc_status": str(code)}
    if response.body:
        evidence["body"] = response.body[:FIRST_BYTES].decode("utf-8", "replace")
    return _Answer(code=code, failure=Failure(reason=reason, phase=phase, message=message, evidence=evidence))


def _tell_demands(call: _Call, response: Response, answer: _Answer, trace: Trace) -> None:
    """All of them for the explanation, met or not."""
    failed = _not_ok(response)
    said = "0 OK" if failed is None or failed.failure is None else failed.failure.message
    trace.demand("status of gRPC", expected="0 OK", got=said, met=failed is None)
    if failed is not None:
        return
    if call.whose:
        serving = -1 if answer.serving is None else answer.serving
        health = _SERVING_STATUSES[serving] if 0 <= serving < len(_SERVING_STATUSES) else "no known one"
        trace.demand("health", expected="SERVING", got=health, met=serving == _SERVING)
    for text, pattern, must_match in call.rules:
        found = pattern.search(response.body[_FRAME_BYTES:]) is not None
        expected = f"{'matches' if must_match else 'does not match'} {quoted_or_masked(text)}"
        got = "it matches" if found else "no match"
        trace.demand("response", expected=expected, got=got, met=found == must_match)


def _judge_health(call: _Call, message: bytes) -> _Answer:
    try:
        serving = read_status(message)
    except ValueError as error:
        failure = Failure(reason="body", phase="transfer", message=f"not a health of gRPC: {error}")
        return _Answer(code=_INTERNAL, failure=failure)
    if serving == _SERVING:
        return _Answer(code=_OK, serving=serving)
    said = _SERVING_STATUSES[serving] if 0 <= serving < len(_SERVING_STATUSES) else str(serving)
    failure = Failure(
        reason="status",
        phase="processing",
        message=f"{call.whose} is {said}, expected SERVING",
        evidence={"serving_status": said},
    )
    return _Answer(code=_OK, serving=serving, failure=failure)


def _judge_words(call: _Call, message: bytes) -> _Answer:
    for text, pattern, must_match in call.rules:
        if (pattern.search(message) is not None) != must_match:
            verb = "does not match" if must_match else "matches"
            failure = Failure(
                reason="body",
                phase="transfer",
                message=f"response {verb} {quoted_or_masked(text)}",
                evidence={"body": message[:FIRST_BYTES].decode("utf-8", "replace")},
            )
            return _Answer(code=_OK, failure=failure)
    return _Answer(code=_OK)


# ---------------------------------------------------------------- the wire


def unframed(body: bytes) -> bytes:
    """The message of a unary answer: a byte that says whether it is compressed, its length in four, and itself."""
    if len(body) < _FRAME_BYTES:
        raise ValueError(f"{len(body)} bytes, a frame begins with {_FRAME_BYTES}")
    if body[0]:
        raise ValueError("it is compressed, though that was not offered")
    length = int.from_bytes(body[1:_FRAME_BYTES], "big")
    if len(body) != _FRAME_BYTES + length:
        raise ValueError(f"{format_bytes(length)} announced, {format_bytes(len(body) - _FRAME_BYTES)} came")
    return body[_FRAME_BYTES:]


def read_status(message: bytes) -> int:
    """Field 1 of a HealthCheckResponse, an enum of 32 bits: 0 when it is not there, the last when it is there twice.

    Fields that are not known are skipped, as https://protobuf.dev/programming-guides/encoding/ demands.
    """
    status, at = 0, 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        if tag == _STATUS_TAG:
            value, at = _read_varint(message, at)
            status = (value & 0xFFFF_FFFF ^ 0x8000_0000) - 0x8000_0000  # sign of 32 bits
        else:
            at = _skip(message, at, tag)
    return status


_STATUS_TAG = 1 << 3  # field 1, wire type 0
_MOST_VARINT_BYTES = 10
_FIXED_BYTES = {1: 8, 5: 4}


def _skip(message: bytes, at: int, tag: int) -> int:
    """The place after a field's value."""
    wire_type = tag & 7
    if tag >> 3 == 0 or tag >> 32:
        raise ValueError(f"there is no field {tag >> 3}")
    if wire_type == 0:
        _, at = _read_varint(message, at)
    elif wire_type == 2:
        length, at = _read_varint(message, at)
        at += length
    elif wire_type in _FIXED_BYTES:
        at += _FIXED_BYTES[wire_type]
    else:
        raise ValueError(f"a field of wire type {wire_type}")
    if at > len(message):
        raise ValueError("it ends within a field")
    return at


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift, byte in enumerate(message[at : at + _MOST_VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return value, at + shift + 1
    raise ValueError("it ends within a number" if at + _MOST_VARINT_BYTES > len(message) else "a number has no end")


def _service_field(service: str) -> bytes:
    """A HealthCheckRequest: field 1, a string, left out when it is empty."""
    text = service.encode()
    if not text:
        return b""
    length = bytearray()
    rest = len(text)
    while rest >= 0x80:
        length.append(rest & 0x7F | 0x80)
        rest >>= 7
    return b"\x0a" + bytes(length) + bytes([rest]) + text


# ---------------------------------------------------------------- facts

_RESOLVE, _CHECK = (fact_key("probe_grpc_duration_seconds", phase=phase) for phase in ("resolve", "check"))
_RESPONSES = tuple(fact_key("probe_grpc_healthcheck_response", serving_status=status) for status in _SERVING_STATUSES)


def _write_facts(trace: Trace, config: Config, answer: _Answer, *, ssl: bool) -> None:
    """blackbox_exporter's gauges, all of them in each run; the health's only when it was asked for."""
    facts = trace.facts
    facts[_RESOLVE] = trace.phases.get("resolve", 0.0)
    facts[_CHECK] = sum(trace.phases.values()) - facts[_RESOLVE]
    facts["probe_grpc_ssl"] = float(ssl)
    facts["probe_grpc_status_code"] = answer.code
    if not config.method:
        for status, key in enumerate(_RESPONSES):
            facts[key] = float(status == answer.serving)
