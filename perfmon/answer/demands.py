"""What a user may demand of an HTTP answer, and the first of it that an answer does not meet.

A kind's own `Config` has these fields by `class Config(Demands)`. It asks `check` for mistakes, `prepare` once for each
config, and `judge` in each run, with a response that was asked for as `Prepared` says.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Literal

import msgspec

from perfmon.answer import body, headers, statuses
from perfmon.answer.body import BodyRules
from perfmon.answer.headers import HeaderRule, HeaderRules
from perfmon.answer.json_rules import JsonRule
from perfmon.clock import iso
from perfmon.metrics import Family
from perfmon.model import Failure, Phase, Reason
from perfmon.network.exchange import FIRST_BYTES, Response
from perfmon.trace import Trace
from perfmon.units import Bytes, Duration, format_bytes, format_duration

__all__ = [
    "FAMILIES", "FINE", "VERSIONS", "Demands", "HeaderRule", "JsonRule", "Prepared", "as_asked", "check", "encoding_of",
    "judge", "prepare",
]  # fmt: skip


class Demands(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """blackbox_exporter's demands, field by field, and below them those that it does not have."""

    valid_status_codes: list[int | str] = []  # 404, "200-299", "2xx"; empty = 2xx
    valid_http_versions: list[str] = []  # "HTTP/1.1", "HTTP/2.0"; empty = any
    compression: Literal["", "gzip", "br", "deflate", "identity"] = ""
    body_size_limit: Bytes = 0.0  # 0 = none
    fail_if_ssl: bool = False
    fail_if_not_ssl: bool = False
    fail_if_body_matches_regexp: list[str] = []
    fail_if_body_not_matches_regexp: list[str] = []
    fail_if_body_json_matches_cel: str = ""
    fail_if_body_json_not_matches_cel: str = ""
    fail_if_header_matches: list[HeaderRule] = []
    fail_if_header_not_matches: list[HeaderRule] = []

    invalid_status_codes: list[int | str] = []  # above the valid ones
    fail_if_header_not_equals: dict[str, str] = {}
    fail_if_body_json_not_matches: list[JsonRule] = []
    fail_if_last_modified_older_than: Duration = 0.0  # 0 = any age, and none at all
    fail_if_certificate_expires_within: Duration = 0.0  # 0 = off; also fails without TLS


FAMILIES = (
    Family("probe_failed_due_to_cel", "gauge", "Whether a CEL condition on the body failed the run."),
    Family("probe_http_json_value", "gauge", "The number at each path of a demand on the body's JSON.", ("json_path",)),
)


class Prepared(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Demands made ready, and what of an answer they need."""

    lenient: bool  # a status of 2xx is all that is demanded
    decode: str  # the Content-Encoding to ask for and to undo
    keep_headers: bool
    keep_body_bytes: int
    body_limit_bytes: float  # 0 = none
    statuses: frozenset[int]
    versions: tuple[str, ...]  # empty = any
    plain_only: bool
    tls_only: bool
    youngest_expiry_s: float  # 0 = none is demanded
    oldest_change_s: float  # 0 = none is demanded
    header_rules: HeaderRules
    body_rules: BodyRules


_MATCHED_BYTES = 10 * 1024 * 1024  # how much of a body demands see, when no limit is set
_UNPACKED_BYTES = 64 * 1024 * 1024  # what a compressed body may become, when no limit is set: a bomb stops the loop
VERSIONS = {1.0: "HTTP/1.0", 1.1: "HTTP/1.1", 2.0: "HTTP/2.0", 3.0: "HTTP/3.0"}
FINE = statuses.parse(["2xx"])


# ---------------------------------------------------------------- before any run


def check(demands: Demands) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express, as (path, message)."""
    yield from statuses.check("valid_status_codes", demands.valid_status_codes)
    yield from statuses.check("invalid_status_codes", demands.invalid_status_codes)
    yield from headers.check(_written(demands, "fail_if_header_matches", "fail_if_header_not_matches"))
    yield from body.check(
        _written(demands, "fail_if_body_matches_regexp", "fail_if_body_not_matches_regexp"),
        _written(demands, "fail_if_body_json_matches_cel", "fail_if_body_json_not_matches_cel"),
        _written(demands, "fail_if_body_json_not_matches"),
    )
    if demands.fail_if_ssl and demands.fail_if_not_ssl:
        yield "fail_if_ssl", "fail_if_ssl and fail_if_not_ssl together can never be met"
    if demands.fail_if_ssl and demands.fail_if_certificate_expires_within:
        yield "fail_if_certificate_expires_within", "without TLS, which fail_if_ssl demands, there is no certificate"
    for version in demands.valid_http_versions:
        if version not in VERSIONS.values():
            yield "valid_http_versions", f'expected one of {", ".join(VERSIONS.values())}, got "{version}"'


def _written(demands: Demands, *fields: str) -> dict[str, Any]:
    return {field: getattr(demands, field) for field in fields}


def prepare(demands: Demands) -> Prepared:
    """All that can be known before the run."""
    decode = "" if demands.compression == "identity" else demands.compression
    header_rules = headers.prepare(
        demands.fail_if_header_matches, demands.fail_if_header_not_matches, demands.fail_if_header_not_equals
    )
    body_rules = body.prepare(
        matching=demands.fail_if_body_matches_regexp,
        lacking=demands.fail_if_body_not_matches_regexp,
        matching_cel=demands.fail_if_body_json_matches_cel,
        lacking_cel=demands.fail_if_body_json_not_matches_cel,
        values=demands.fail_if_body_json_not_matches,
    )
    return Prepared(
        lenient=_is_lenient(demands),
        decode=decode,
        keep_headers=bool(header_rules or decode),
        keep_body_bytes=_MATCHED_BYTES if body_rules else FIRST_BYTES,
        body_limit_bytes=demands.body_size_limit or (_UNPACKED_BYTES if decode else 0.0),
        statuses=_statuses(tuple(demands.valid_status_codes), tuple(demands.invalid_status_codes)),
        versions=tuple(demands.valid_http_versions),
        plain_only=demands.fail_if_ssl,
        tls_only=demands.fail_if_not_ssl,
        youngest_expiry_s=demands.fail_if_certificate_expires_within,
        oldest_change_s=demands.fail_if_last_modified_older_than,
        header_rules=header_rules,
        body_rules=body_rules,
    )


@lru_cache(maxsize=256)
def _statuses(valid: tuple[int | str, ...], invalid: tuple[int | str, ...]) -> frozenset[int]:
    """The same one for all targets of a module: a hundred numbers are 4 KB."""
    return (statuses.parse(valid) or FINE) - statuses.parse(invalid)


def _is_lenient(demands: Demands) -> bool:
    """Whether nothing is demanded; a limit of the body's size has its failure from the transfer."""
    return not any(getattr(demands, field) for field in Demands.__struct_fields__ if field != "body_size_limit")


# ---------------------------------------------------------------- the verdict


def as_asked(prepared: Prepared, response: Response | None) -> Response | None:
    """A body that came otherwise than asked for counts as not decoded, though libcurl undoes all that it knows."""
    if not prepared.decode or response is None or encoding_of(response) == prepared.decode:
        return response
    return msgspec.structs.replace(response, body_bytes=0)


async def judge(prepared: Prepared, response: Response, trace: Trace, *, tls: bool) -> Failure | None:
    """The first demand that a whole answer does not meet; those on its body last, since they may take a while.

    `tls` says whether the answer came over TLS. What a pattern or a condition is to blame for, and the numbers found
    in the body, are written among the facts.
    """
    if prepared.lenient and 200 <= response.status < 300:
        return None
    if prepared.body_rules.conditions:
        trace.facts["probe_failed_due_to_cel"] = 0.0  # until one says otherwise
    found = (
        _wrong_status(prepared, response)
        or _wrong_version(prepared, response)
        or _wrong_transport(prepared, tls=tls)
        or _wrong_encoding(prepared, response)
        or _expiring(prepared, trace, tls=tls)
        or _stale(prepared, response, trace)
        or _body_cut(prepared, response)
        or _wrong_header(prepared, response, trace)
    )
    if found is None and prepared.body_rules:
        verdict = await body.judge(prepared.body_rules, response.body)
        trace.facts.update(verdict.facts)
        found = (verdict.reason, "transfer", verdict.message) if verdict.reason else None
    if found is None:
        return None
    reason, phase, message = found
    evidence = _evidence(prepared, response, trace, reason)
    return Failure(reason=reason, phase=phase, message=message, evidence=evidence)


_Found = tuple[Reason, Phase, str] | None


def _wrong_status(prepared: Prepared, response: Response) -> _Found:
    status = response.status
    if status in prepared.statuses:
        return None
    expected = "2xx" if prepared.statuses == FINE else statuses.shown(prepared.statuses) or "none"
    return "status", "processing", f"status {status}, expected {expected}"


def _wrong_version(prepared: Prepared, response: Response) -> _Found:
    version = VERSIONS.get(response.http_version, "an unknown version")
    if not prepared.versions or version in prepared.versions:
        return None
    return "status", "processing", f"answered with {version}, expected {' or '.join(prepared.versions)}"


def _wrong_transport(prepared: Prepared, *, tls: bool) -> _Found:
    if prepared.plain_only and tls:
        return "tls_handshake", "tls", "the final response came over TLS, expected plain text"
    if prepared.tls_only and not tls:
        return "tls_handshake", "connect", "the final response was not over SSL, expected TLS"
    return None


def _wrong_encoding(prepared: Prepared, response: Response) -> _Found:
    expected, sent = prepared.decode, encoding_of(response)
    if not expected or sent == expected:
        return None
    return "body", "transfer", f"body has encoding {sent or 'none'}, expected {expected}"


def encoding_of(response: Response) -> str:
    """The Content-Encoding that came, "" for none."""
    return next((value.lower() for name, value in response.headers if name == "content-encoding"), "")


def _expiring(prepared: Prepared, trace: Trace, *, tls: bool) -> _Found:
    """Of the chain that the server sent, the certificate that ends first."""
    limit_s = prepared.youngest_expiry_s
    if not limit_s:
        return None
    expiry = trace.facts.get(_EXPIRY) if tls else None
    if expiry is None:
        return "tls_handshake", "tls", "the final response came with no certificate that could be read"
    left_s = expiry - trace.clock.wall()
    if left_s >= limit_s:
        return None
    left = f"in {format_duration(left_s, brief=True)}" if left_s > 0 else "already"
    return "tls_expired", "tls", f"certificate expires {left}, expected {format_duration(limit_s)} at least"


_EXPIRY = "probe_ssl_earliest_cert_expiry"


def _stale(prepared: Prepared, response: Response, trace: Trace) -> _Found:
    if not prepared.oldest_change_s:
        return None
    if response.last_modified < 0:
        return "header", "processing", "no header Last-Modified"
    age_s = trace.clock.wall() - response.last_modified
    if age_s < prepared.oldest_change_s:
        return None
    limit = format_duration(prepared.oldest_change_s)
    return "header", "processing", f"last modified {format_duration(age_s, brief=True)} ago, expected less than {limit}"


def _wrong_header(prepared: Prepared, response: Response, trace: Trace) -> _Found:
    message = headers.unmet(prepared.header_rules, response.headers)
    if message:
        trace.facts["probe_failed_due_to_regex"] = 1.0
    message = message or headers.unequal(prepared.header_rules, response.headers)
    return ("header", "processing", message) if message else None


def _body_cut(prepared: Prepared, response: Response) -> _Found:
    """A body that is longer than what is kept of it cannot be judged, so it fails."""
    if not prepared.body_rules or response.body_bytes <= len(response.body):
        return None
    kept = format_bytes(len(response.body))
    return "too_large", "transfer", f"body is longer than the {kept} that demands on it are held against"


def _evidence(prepared: Prepared, response: Response, trace: Trace, reason: Reason) -> dict[str, str]:
    evidence = {"status": str(response.status), "body": response.body[:FIRST_BYTES].decode("utf-8", "replace")}
    if reason == "tls_expired":
        return (
            evidence | _certificate(response) | {"not_after": iso(trace.facts[_EXPIRY])}
        )  # of the chain's first to end
    if reason == "header":
        return evidence | headers.demanded(prepared.header_rules, response.headers)
    return evidence


def _certificate(response: Response) -> dict[str, str]:
    from perfmon.network.certificates import read_chain  # noqa: PLC0415 - heavy, and loaded by the handshake

    chain = read_chain(response.certificates, "")
    return {} if chain is None else chain.leaf.evidence()
