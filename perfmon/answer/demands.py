"""What a user may demand of an HTTP answer, and the first of it that an answer does not meet.

A kind's own `Config` has these fields by `class Config(Demands)`. It asks `check` for mistakes, `prepare` once for each
config, and `judge` in each run, with a response that was asked for as `Prepared` says.
"""

import asyncio
from collections.abc import Iterable
from typing import Literal

import msgspec

from perfmon.model import Failure, Phase, Reason
from perfmon.network.exchange import FIRST_BYTES, Response
from perfmon.patterns import Pattern, compile_pattern, problem
from perfmon.secret import quoted_or_masked
from perfmon.trace import Trace
from perfmon.units import Bytes, format_bytes, quoted

__all__ = ["Demands", "HeaderRule", "Prepared", "as_asked", "check", "judge", "prepare"]


class HeaderRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A demand on one response header; `regexp` is RE2 and matches anywhere in the value."""

    header: str
    regexp: str
    allow_missing: bool = False


class Demands(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """blackbox_exporter's demands, field by field."""

    valid_status_codes: list[int] = []  # empty = 2xx
    valid_http_versions: list[str] = []  # "HTTP/1.1", "HTTP/2.0"; empty = any
    compression: Literal["", "gzip", "br", "deflate", "identity"] = ""
    body_size_limit: Bytes = 0.0  # 0 = none
    fail_if_ssl: bool = False
    fail_if_not_ssl: bool = False
    fail_if_body_matches_regexp: list[str] = []
    fail_if_body_not_matches_regexp: list[str] = []
    fail_if_header_matches: list[HeaderRule] = []
    fail_if_header_not_matches: list[HeaderRule] = []


class Prepared(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Demands made ready, and what of an answer they need."""

    lenient: bool  # a status of 2xx is all that is demanded
    decode: str  # the Content-Encoding to ask for and to undo
    keep_headers: bool
    keep_body_bytes: int
    body_limit_bytes: float  # 0 = none
    statuses: frozenset[int]  # empty = 2xx
    versions: tuple[str, ...]  # empty = any
    plain_only: bool
    tls_only: bool
    header_rules: tuple[tuple[HeaderRule, Pattern, bool], ...]  # with whether it must match
    body_rules: tuple[tuple[str, Pattern, bool], ...]


_MATCHED_BYTES = 10 * 1024 * 1024  # how much of a body regular expressions see, when no limit is set
_UNPACKED_BYTES = 64 * 1024 * 1024  # what a compressed body may become, when no limit is set: a bomb stops the loop
_MATCHED_IN_LOOP_BYTES = 64 * 1024  # RE2 reads some 100 MB/s: a longer body goes to a thread
_VERSIONS = {1.0: "HTTP/1.0", 1.1: "HTTP/1.1", 2.0: "HTTP/2.0", 3.0: "HTTP/3.0"}


# ---------------------------------------------------------------- before any run


def check(demands: Demands) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express, as (path, message)."""
    yield from _bad_patterns(demands)
    if demands.fail_if_ssl and demands.fail_if_not_ssl:
        yield "fail_if_ssl", "fail_if_ssl and fail_if_not_ssl together can never be met"
    for version in demands.valid_http_versions:
        if version not in _VERSIONS.values():
            yield "valid_http_versions", f'expected one of {", ".join(_VERSIONS.values())}, got "{version}"'
    for index, status in enumerate(demands.valid_status_codes):
        if not 100 <= status <= 599:
            yield f"valid_status_codes[{index}]", f"expected a status code of 100 to 599, got {status}"


def _bad_patterns(demands: Demands) -> Iterable[tuple[str, str]]:
    bodies = {
        "fail_if_body_matches_regexp": demands.fail_if_body_matches_regexp,
        "fail_if_body_not_matches_regexp": demands.fail_if_body_not_matches_regexp,
    }
    headers = {
        "fail_if_header_matches": demands.fail_if_header_matches,
        "fail_if_header_not_matches": demands.fail_if_header_not_matches,
    }
    patterns = {f"{field}[{i}]": text for field, texts in bodies.items() for i, text in enumerate(texts)}
    patterns |= {
        f"{field}[{i}].regexp": rule.regexp for field, rules in headers.items() for i, rule in enumerate(rules)
    }
    for path, text in patterns.items():
        message = problem(text)
        if message:
            yield path, message


def prepare(demands: Demands) -> Prepared:
    """All that can be known before the run."""
    decode = "" if demands.compression == "identity" else demands.compression
    header_rules = (
        *((rule, compile_pattern(rule.regexp), False) for rule in demands.fail_if_header_matches),
        *((rule, compile_pattern(rule.regexp), True) for rule in demands.fail_if_header_not_matches),
    )
    body_rules = (
        *((text, compile_pattern(text), False) for text in demands.fail_if_body_matches_regexp),
        *((text, compile_pattern(text), True) for text in demands.fail_if_body_not_matches_regexp),
    )
    return Prepared(
        lenient=_is_lenient(demands),
        decode=decode,
        keep_headers=bool(header_rules or decode),
        keep_body_bytes=_MATCHED_BYTES if body_rules else FIRST_BYTES,
        body_limit_bytes=demands.body_size_limit or (_UNPACKED_BYTES if decode else 0.0),
        statuses=frozenset(demands.valid_status_codes),
        versions=tuple(demands.valid_http_versions),
        plain_only=demands.fail_if_ssl,
        tls_only=demands.fail_if_not_ssl,
        header_rules=header_rules,
        body_rules=body_rules,
    )


def _is_lenient(demands: Demands) -> bool:
    """Whether nothing is demanded; a limit of the body's size has its failure from the transfer."""
    return not any(getattr(demands, field) for field in Demands.__struct_fields__ if field != "body_size_limit")


# ---------------------------------------------------------------- the verdict


def as_asked(prepared: Prepared, response: Response | None) -> Response | None:
    """A body that came otherwise than asked for counts as not decoded, though libcurl undoes all that it knows."""
    if not prepared.decode or response is None or _encoding(response) == prepared.decode:
        return response
    return msgspec.structs.replace(response, body_bytes=0)


async def judge(prepared: Prepared, response: Response, trace: Trace, *, tls: bool) -> Failure | None:
    """The first demand that a whole answer does not meet; patterns last, since they may take a while.

    `tls` says whether the answer came over TLS. Whether a pattern was to blame is written among the facts.
    """
    if prepared.lenient and 200 <= response.status < 300:
        return None
    found = (
        _wrong_status(prepared, response)
        or _wrong_version(prepared, response)
        or _wrong_transport(prepared, tls=tls)
        or _wrong_encoding(prepared, response)
        or _body_cut(prepared, response)
    )
    if found is None:
        found = _wrong_header(prepared, response) or await _wrong_body(prepared, response)
        trace.facts["probe_failed_due_to_regex"] = 0.0 if found is None else 1.0
    if found is None:
        return None
    reason, phase, message = found
    return Failure(reason=reason, phase=phase, message=message, evidence=_evidence(response))


_Found = tuple[Reason, Phase, str] | None


def _wrong_status(prepared: Prepared, response: Response) -> _Found:
    status = response.status
    if status in prepared.statuses if prepared.statuses else 200 <= status < 300:
        return None
    expected = ", ".join(map(str, sorted(prepared.statuses))) or "2xx"
    return "status", "processing", f"status {status}, expected {expected}"


def _wrong_version(prepared: Prepared, response: Response) -> _Found:
    version = _VERSIONS.get(response.http_version, "an unknown version")
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
    expected, sent = prepared.decode, _encoding(response)
    if not expected or sent == expected:
        return None
    return "body", "transfer", f"body has encoding {sent or 'none'}, expected {expected}"


def _encoding(response: Response) -> str:
    return next((value.lower() for name, value in response.headers if name == "content-encoding"), "")


def _wrong_header(prepared: Prepared, response: Response) -> _Found:
    for rule, pattern, must_match in prepared.header_rules:
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


def _body_cut(prepared: Prepared, response: Response) -> _Found:
    """A body that is longer than what is kept of it cannot be judged, so it fails."""
    if not prepared.body_rules or response.body_bytes <= len(response.body):
        return None
    kept = format_bytes(len(response.body))
    return "too_large", "transfer", f"body is longer than the {kept} that regular expressions are matched against"


async def _wrong_body(prepared: Prepared, response: Response) -> _Found:
    if len(response.body) > _MATCHED_IN_LOOP_BYTES and prepared.body_rules:
        return await asyncio.to_thread(_match_body, prepared, response.body)
    return _match_body(prepared, response.body)


def _match_body(prepared: Prepared, body: bytes) -> _Found:
    for text, pattern, must_match in prepared.body_rules:
        if (pattern.search(body) is not None) != must_match:
            verb = "does not match" if must_match else "matches"
            return "body", "transfer", f"body {verb} {quoted_or_masked(text)}"
    return None


def _evidence(response: Response) -> dict[str, str]:
    return {"status": str(response.status), "body": response.body[:FIRST_BYTES].decode("utf-8", "replace")}
