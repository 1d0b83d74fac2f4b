"""All demands on an HTTP answer, each with what came, for the explanation of a run: also those that are met.

It is asked for by `debug` alone, so each demand is looked at again, whether or not one before it has failed the run.
"""

import asyncio
from collections.abc import Iterable

from perfmon.answer import body, headers, json_path, json_rules, statuses
from perfmon.answer.body import BodyRules
from perfmon.answer.demands import FINE, VERSIONS, Prepared, encoding_of
from perfmon.answer.headers import HeaderRules
from perfmon.network.exchange import Response
from perfmon.secret import quoted_or_masked
from perfmon.steps import Demand
from perfmon.trace import Trace
from perfmon.units import format_bytes, format_duration, quoted

__all__ = ["tell"]

_SHOWN = 200  # characters of what a pattern found


async def tell(prepared: Prepared, response: Response, trace: Trace, *, tls: bool, of: str = "") -> None:
    """Write each demand into the trace; nothing when nobody asked. `of` names the request, where there are several."""
    if trace.steps is None:
        return
    for demand in (*_on_the_answer(prepared, response, trace, tls=tls), *_on_headers(prepared.header_rules, response)):
        trace.demand(of + demand.name, expected=demand.expected, got=demand.got, met=demand.met)
    rules = prepared.body_rules
    if not rules:
        return
    # A body may have 10 MiB, and each demand reads all of it.
    for demand in await asyncio.to_thread(lambda: [*_on_body(rules, response.body)]):
        trace.demand(of + demand.name, expected=demand.expected, got=demand.got, met=demand.met)


def _on_the_answer(prepared: Prepared, response: Response, trace: Trace, *, tls: bool) -> Iterable[Demand]:
    status, wall = response.status, trace.clock.wall()
    fine = "2xx" if prepared.statuses == FINE else statuses.shown(prepared.statuses) or "none"
    yield _demand("status code", fine, str(status), met=status in prepared.statuses)
    if prepared.versions:
        version = VERSIONS.get(response.http_version, "an unknown version")
        yield _demand("HTTP version", " or ".join(prepared.versions), version, met=version in prepared.versions)
    if prepared.plain_only or prepared.tls_only:
        got = "TLS" if tls else "plain text"
        yield _demand("transport", "TLS" if prepared.tls_only else "plain text", got, met=tls == prepared.tls_only)
    if prepared.decode:
        sent = encoding_of(response)
        yield _demand("body's encoding", prepared.decode, sent or "none", met=sent == prepared.decode)
    if prepared.youngest_expiry_s:
        expiry = trace.facts.get("probe_ssl_earliest_cert_expiry") if tls else None
        left_s = None if expiry is None else expiry - wall
        got = "no certificate" if left_s is None else _in_words(left_s, "{} left", "expired {} ago")
        met = left_s is not None and left_s >= prepared.youngest_expiry_s
        yield _demand("certificate lasts", f"{format_duration(prepared.youngest_expiry_s)} at least", got, met=met)
    if prepared.oldest_change_s:
        age_s = None if response.last_modified < 0 else wall - response.last_modified
        got = "no such header" if age_s is None else _in_words(age_s, "{} ago", "in {}")
        met = age_s is not None and age_s < prepared.oldest_change_s
        yield _demand("Last-Modified", f"less than {format_duration(prepared.oldest_change_s)} ago", got, met=met)


def _on_headers(rules: HeaderRules, response: Response) -> Iterable[Demand]:
    for rule in rules.patterns:
        setting, _, must_match = rule
        met = not headers.unmet(HeaderRules(patterns=(rule,), equal=()), response.headers)
        expected = f"{'matches' if must_match else 'does not match'} {quoted_or_masked(setting.regexp)}"
        yield _demand(f"header {setting.header}", expected, _sent(setting.header, response), met=met)
    for name, wanted in rules.equal:
        met = not headers.unequal(HeaderRules(patterns=(), equal=((name, wanted),)), response.headers)
        yield _demand(f"header {name}", quoted_or_masked(wanted), _sent(name, response), met=met)


def _on_body(rules: BodyRules, content: bytes) -> Iterable[Demand]:
    size = format_bytes(len(content), brief=True)
    for text, pattern, must_match in rules.patterns:
        found = pattern.search(content)
        got = f"no match in {size}" if found is None else quoted(_text(found.group()))
        expected = f"{'matches' if must_match else 'does not match'} {quoted_or_masked(text)}"
        yield _demand("body", expected, got, met=(found is not None) == must_match)
    for condition in rules.conditions:
        text, _, must_hold = condition
        message = body.failed_condition(BodyRules(patterns=(), conditions=(condition,), values=()), content)
        got = message or ("it holds" if must_hold else "it does not hold")
        yield _demand(
            "condition", f"{'holds' if must_hold else 'does not hold'}: {quoted_or_masked(text)}", got, met=not message
        )
    try:
        document = json_path.read_json(content) if rules.values else None
    except ValueError as error:
        yield from (
            _demand(f"JSON at {rule.path}", json_rules.expected(rule), str(error), met=False) for rule in rules.values
        )
        return
    for rule in rules.values:
        met = not json_rules.unmet((rule,), document)
        yield _demand(f"JSON at {rule.path}", json_rules.expected(rule), json_rules.found(rule, document), met=met)


def _text(found: object) -> str:
    """What a pattern found; of a body it is bytes."""
    return found[:_SHOWN].decode("utf-8", "replace") if isinstance(found, bytes) else str(found)[:_SHOWN]


def _sent(name: str, response: Response) -> str:
    values = [value for other, value in response.headers if other == name.lower()]
    return ", ".join(map(quoted, values)) or "no such header"


def _in_words(seconds: float, positive: str, negative: str) -> str:
    return (positive if seconds >= 0 else negative).format(format_duration(abs(seconds), brief=True))


def _demand(name: str, expected: str, got: str, *, met: bool) -> Demand:
    return Demand(name=name, expected=expected, got=got, met=met)
