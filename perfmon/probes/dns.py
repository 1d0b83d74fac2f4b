"""Ask a name server a question, and hold its answer against what was demanded."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal, get_args

import msgspec

from perfmon.metrics import Family
from perfmon.model import Failure, Phase, Reason, Target, fact_key
from perfmon.network import tls
from perfmon.network.address import BadAddress, bracketed, objection, parse_host_port, parse_name
from perfmon.network.dns_ask import ATTEMPTS, ask_stream, ask_udp
from perfmon.network.exchange import FIRST_BYTES
from perfmon.network.reach import addresses_to_try, look_up
from perfmon.network.stream import Route, check_source, route_to
from perfmon.network.tls import TlsConfig
from perfmon.patterns import Pattern, compile_pattern, problem
from perfmon.trace import Trace
from perfmon.units import Duration, format_duration, quoted

if TYPE_CHECKING:
    from perfmon.network.dns_message import Answer, Query, Record

__all__ = ["FAMILIES", "Config", "check", "check_target", "probe"]

Section = Literal["answer", "authority", "additional"]


class RecordRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Demands on the records of one section, each written as `name<TAB>TTL<TAB>class<TAB>type<TAB>data`."""

    fail_if_matches_regexp: list[str] = []  # Fail when a record matches one of these (RE2).
    fail_if_not_matches_regexp: list[str] = []  # Fail when a record does not match all of these, or there is none.
    fail_if_none_matches_regexp: list[str] = []  # Fail when no record matches any of these, or there is none.
    fail_if_all_match_regexp: list[str] = []  # Fail unless all records match all of these: see below.
    fail_if_every_record_matches_regexp: list[str] = []  # Fail when there are records and all match one of these.


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """blackbox_exporter's `dns` section, field by field, and what it lacks."""

    query_name: str  # The name to ask about. For type PTR an address will do.
    query_type: str = "ANY"  # The type of record to ask for.
    query_class: str = "IN"  # The class of record to ask for.
    recursion_desired: bool = True  # Whether to ask the server to look further if it does not know.
    transport_protocol: Literal["udp", "tcp"] = "udp"  # How to ask. An answer cut over UDP is asked for again over TCP.
    dns_over_tls: bool = False  # Whether to ask over TLS, which needs `transport_protocol: tcp`.
    tls_config: TlsConfig = TlsConfig()  # See [tls_config](#tls_config).
    preferred_ip_protocol: Literal["ip4", "ip6"] = "ip6"  # Which addresses of a name to prefer.
    ip_protocol_fallback: bool = True  # Whether to use the other kind when there is none of the preferred.
    source_ip_address: str = ""  # Address to send from.
    attempts: int = 1  # How often to ask over UDP before giving up, in equal parts of the time there is.
    edns0_udp_size: int = 0  # The largest answer to take over UDP, in bytes. 0 for 512, the default of DNS.
    dnssec: bool = False  # Whether to ask for signatures (EDNS0 with DO, AD).

    valid_rcodes: list[str] = []  # Response codes that are fine. Without any, NOERROR.
    min_answers: int = 0  # The fewest records that the answer section may have.
    fail_if_not_authoritative: bool = False  # Fail when the server does not speak for the zone (AA).
    fail_if_not_authenticated: bool = False  # Fail when the server has not verified the signatures (AD).
    fail_if_rrsig_expires_within: Duration = 0.0  # Fail when a signature of the answer ends sooner. 0 for never.
    validate_answer_rrs: RecordRules = RecordRules()  # [Rules](#record-rules) for the answer section.
    validate_authority_rrs: RecordRules = RecordRules()  # [Rules](#record-rules) for the authority section.
    validate_additional_rrs: RecordRules = RecordRules()  # [Rules](#record-rules) for the additional section.


FAMILIES = (
    Family(
        "probe_dns_duration_seconds",
        "gauge",
        "Time taken by each phase; `connect` includes TLS.",
        ("phase",),
        "seconds",
    ),
    Family("probe_dns_answer_rrs", "gauge", "Records in the answer section."),
    Family("probe_dns_authority_rrs", "gauge", "Records in the authority section."),
    Family("probe_dns_additional_rrs", "gauge", "Records in the additional section."),
    Family("probe_dns_query_succeeded", "gauge", "Whether an answer came, whatever it said."),
    Family("probe_dns_serial", "gauge", "Serial number of the zone, when asked for its SOA."),
    Family(ATTEMPTS, "gauge", "How often the question was asked in the last run."),
    Family(
        "probe_dns_rrsig_expiry_timestamp_seconds",
        "gauge",
        "When the first signature of the answer ends, in Unix time; absent when it has none.",
        (),
        "seconds",
    ),
)

_PORT, _TLS_PORT = 53, 853
_MOST_ATTEMPTS = 100


# ---------------------------------------------------------------- what config.py asks


def check(config: Config) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express, as (path, message)."""
    yield from ((f"tls_config.{path}", message) for path, message in tls.check(config.tls_config))
    yield from _bad_patterns(config)
    if config.dns_over_tls and config.transport_protocol != "tcp":
        yield "dns_over_tls", "DNS over TLS needs transport_protocol: tcp"
    yield from check_source(config.source_ip_address)
    if not 1 <= config.attempts <= _MOST_ATTEMPTS:
        yield "attempts", f"expected 1 to {_MOST_ATTEMPTS}, got {config.attempts}"
    if config.edns0_udp_size and not 512 <= config.edns0_udp_size <= 65_535:
        yield "edns0_udp_size", f"expected 512 to 65535, got {config.edns0_udp_size}"
    if config.min_answers < 0:
        yield "min_answers", f"expected 0 or more, got {config.min_answers}"
    for field in ("fail_if_not_authenticated", "fail_if_rrsig_expires_within"):
        if getattr(config, field) and not config.dnssec:
            yield field, "signatures are not asked for without dnssec: true"
    yield from _bad_names(config)


def check_target(address: str, config: Config) -> str | None:
    """Why an address cannot be probed."""
    return objection(lambda text: _server_of(text, config), address)


def _bad_patterns(config: Config) -> Iterable[tuple[str, str]]:
    for section in _SECTIONS:
        rules = _rules_of(config, section)
        for field in RecordRules.__struct_fields__:
            for number, text in enumerate(getattr(rules, field)):
                message = problem(text)
                if message:
                    yield f"validate_{section}_rrs.{field}[{number}]", message


def _bad_names(config: Config) -> Iterable[tuple[str, str]]:
    from perfmon.network.dns_message import build_query, rcode  # noqa: PLC0415 - heavy, and only this kind needs it

    fields = {"query_name": (config.query_name, "A", "IN"), "query_type": (".", config.query_type, "IN")}
    for field, (name, kind, klass) in (fields | {"query_class": (".", "A", config.query_class)}).items():
        try:
            build_query(name, kind, klass, recursion=False)
        except ValueError as error:
            yield field, str(error)
    for number, name in enumerate(config.valid_rcodes):
        try:
            rcode(name)
        except ValueError as error:
            yield f"valid_rcodes[{number}]", str(error)


# ---------------------------------------------------------------- a run


async def probe(target: Target, config: Config, trace: Trace) -> Failure | None:
    """Fail unless the server answers, and the answer is all that `config` demands."""
    trace.facts.update(_NOTHING)
    plan = trace.network.prepared.get(target, config, _plan)
    if isinstance(plan, Failure):
        return plan
    try:
        answer = await _ask(plan, config, trace)
    finally:
        _write_durations(trace)  # also of a run that is cut off
    if isinstance(answer, Failure):
        return answer
    _write_facts(config, answer, trace)
    if trace.steps is not None:
        _tell_demands(plan, config, answer, trace)
    return _judge(plan, config, answer, trace.clock.wall())


class _Plan(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """All that can be known before the run."""

    route: Route
    query: "Query"
    rcodes: frozenset[int]
    bad_rcode: str  # a name that is none, in words
    rules: tuple["_Rule", ...]


def _plan(target: Target, config: Config) -> _Plan | Failure:
    from perfmon.network.dns_message import build_query, rcode  # noqa: PLC0415 - heavy, and only this kind needs it

    route = _route(target, config)
    try:
        query = build_query(
            config.query_name,
            config.query_type,
            config.query_class,
            recursion=config.recursion_desired,
            dnssec=config.dnssec,
            udp_bytes=config.edns0_udp_size,
        )
    except ValueError as error:
        return Failure(reason="query", phase="", message=str(error))
    bad_rcode, rcodes = "", frozenset({0})
    try:
        rcodes = frozenset(rcode(name) for name in config.valid_rcodes) or rcodes
    except ValueError as error:
        bad_rcode = str(error)
    return _Plan(
        route=route,
        query=query,
        rcodes=rcodes,
        bad_rcode=bad_rcode,
        rules=tuple(_rules(config)),
    )


def _route(target: Target, config: Config) -> Route:
    """An address to send from decides on the family of the one to send to. ValueError in words."""
    host, port = _server_of(target.address, config)
    source = config.source_ip_address
    return route_to(
        f"{bracketed(host)}:{port}",
        target.hostname,
        prefer=config.preferred_ip_protocol if not source else "ip6" if ":" in source else "ip4",
        fallback=config.ip_protocol_fallback and not source,
        source=source,
        tls=config.tls_config,
    )


async def _ask(plan: _Plan, config: Config, trace: Trace) -> "Answer | Failure":
    """The answer, from the first of the server's addresses; of localhost from the one that listens."""
    route = plan.route
    resolved = await look_up(route.host, trace, prefer=route.prefer, fallback=route.fallback)
    if isinstance(resolved, Failure):
        return resolved
    for address in addresses_to_try(route.host, resolved, fallback=route.fallback):
        trace.note("asking", server=route.to(address), name=config.query_name, type=config.query_type)
        trace.said("perfmon", f"{config.query_name} {config.query_class} {config.query_type}?")
        answer = await _ask_server(plan, config, address, trace)
        if not (isinstance(answer, Failure) and answer.reason == "connect_refused"):
            break
    return answer


async def _ask_server(plan: _Plan, config: Config, address: str, trace: Trace) -> "Answer | Failure":
    from perfmon.network.dns_message import was_cut  # noqa: PLC0415 - loaded by the query

    told: bytes | Failure | None = None
    if config.transport_protocol == "udp":
        told = await ask_udp(plan.query, plan.route, address, trace, attempts=config.attempts)
        if isinstance(told, bytes) and was_cut(told):
            trace.note("answer was cut, asking again over TCP")
            told = None
    if told is None:
        told = await ask_stream(plan.query, plan.route, address, trace, tls=config.dns_over_tls)
    return told if isinstance(told, Failure) else await _read(told, trace)


async def _read(wire: bytes, trace: Trace) -> "Answer | Failure":
    from perfmon.network.dns_message import MalformedAnswer, read_answer  # noqa: PLC0415 - loaded by the query

    try:
        answer = await asyncio.to_thread(read_answer, wire) if len(wire) > _READ_IN_LOOP_BYTES else read_answer(wire)
    except MalformedAnswer as error:
        message = f"answer is not a message of DNS: {error}"
        evidence = {"body": wire[:FIRST_BYTES].hex()}
        return Failure(reason="body", phase="processing", message=message, evidence=evidence)
    if trace.lines is not None:
        trace.note("answered", rcode=answer.rcode_name, authoritative=answer.authoritative)
        trace.said("target", answer.rcode_name + (", authoritative" if answer.authoritative else ""))
        for section in _SECTIONS:
            for record in getattr(answer, section):
                trace.note(f"{section}: {record.text.replace(_TAB, ' ')}")
                trace.said("target", f"{section}: {record.text.replace(_TAB, ' ')}")
    return answer


_TAB = "\t"
_READ_IN_LOOP_BYTES = 4_096  # some five milliseconds of work: a longer answer goes to a thread


# ---------------------------------------------------------------- the verdict

_SECTIONS: tuple[Section, ...] = get_args(Section)
_Found = tuple[Reason, Phase, str] | None


def _judge(plan: _Plan, config: Config, answer: "Answer", wall: float) -> Failure | None:
    """The first demand that the answer does not meet."""
    found = (
        _wrong_rcode(plan, answer)
        or _wrong_flags(config, answer)
        or _aliases_in_a_circle(answer)
        or _too_few(config, answer)
        or _ending_signature(config, answer, wall)
        or _wrong_records(plan, answer)
    )
    if found is None:
        return None
    reason, phase, message = found
    return Failure(reason=reason, phase=phase, message=message, evidence=_evidence(answer))


def _tell_demands(plan: _Plan, config: Config, answer: "Answer", trace: Trace) -> None:
    """All of them for the explanation, met or not."""
    codes = " or ".join(config.valid_rcodes) or "NOERROR"
    trace.demand("response code", expected=codes, got=answer.rcode_name, met=_wrong_rcode(plan, answer) is None)
    for wanted, flag, is_set in (
        (config.fail_if_not_authoritative, "authoritative (AA)", answer.authoritative),
        (config.fail_if_not_authenticated, "authenticated (AD)", answer.authenticated),
    ):
        if wanted:
            trace.demand(flag, expected="set", got="set" if is_set else "not set", met=is_set)
    if config.min_answers:
        count, least = len(answer.answer), config.min_answers
        trace.demand("records in the answer section", expected=f"{least} or more", got=count, met=count >= least)
    if config.fail_if_rrsig_expires_within:
        found = _ending_signature(config, answer, trace.clock.wall())
        lasts = f"lasts {format_duration(config.fail_if_rrsig_expires_within)} at least"
        trace.demand("signatures", expected=lasts, got="they do" if found is None else found[2], met=found is None)
    for rule in plan.rules:
        records = [record.text for record in getattr(answer, rule.section)]
        why = _JUDGES[rule.field](rule.patterns, records)
        expected = f"{rule.field}: {', '.join(map(_written, rule.patterns))}"
        got = why or f"fine, records: {len(records)}"
        trace.demand(f"{rule.section} section", expected=expected, got=got, met=not why)


def _wrong_rcode(plan: _Plan, answer: "Answer") -> _Found:
    if plan.bad_rcode:
        return "query", "processing", plan.bad_rcode
    if answer.rcode in plan.rcodes:
        return None
    from perfmon.network.dns_message import rcode_name  # noqa: PLC0415 - loaded by the query

    expected = " or ".join(rcode_name(code) for code in sorted(plan.rcodes))
    return "status", "processing", f"answered {answer.rcode_name}, expected {expected}"


def _wrong_flags(config: Config, answer: "Answer") -> _Found:
    if answer.truncated:
        return "short_body", "processing", "the answer was cut although it came over TCP"
    if config.fail_if_not_authoritative and not answer.authoritative:
        return "status", "processing", "the answer is not authoritative (no AA)"
    if config.fail_if_not_authenticated and not answer.authenticated:
        return "auth", "processing", "the server has not verified the answer's signatures (no AD)"
    return None


def _aliases_in_a_circle(answer: "Answer") -> _Found:
    """A CNAME that leads back to where the way came from leads nowhere."""
    leads = dict(answer.aliases)
    for start in leads:
        way = [start]
        while way[-1] in leads:
            way.append(leads[way[-1]])
            if way[-1] in way[:-1]:
                return "body", "processing", f"CNAME loop: {' -> '.join(way[:_SHOWN])}"
    return None


def _too_few(config: Config, answer: "Answer") -> _Found:
    count = len(answer.answer)
    if count >= config.min_answers:
        return None
    return "body", "processing", f"records in the answer section: {count}, expected {config.min_answers} or more"


def _ending_signature(config: Config, answer: "Answer", wall: float) -> _Found:
    within_s = config.fail_if_rrsig_expires_within
    if not within_s:
        return None
    if answer.signatures_end is None:
        return "body", "processing", "the answer has no signature (RRSIG)"
    left_s = answer.signatures_end - wall
    if left_s >= within_s:
        return None
    when = f"ends in {format_duration(left_s, brief=True)}" if left_s > 0 else "has ended"
    return "body", "processing", f"a signature {when}, expected {format_duration(within_s)} at least"


class _Rule(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The patterns of one field for one section."""

    section: Section
    field: str
    patterns: tuple[Pattern, ...]


def _rules(config: Config) -> Iterable[_Rule]:
    for section in _SECTIONS:
        for field in RecordRules.__struct_fields__:
            texts = getattr(_rules_of(config, section), field)
            if texts:
                yield _Rule(section=section, field=field, patterns=tuple(map(compile_pattern, texts)))


def _rules_of(config: Config, section: Section) -> RecordRules:
    rules: RecordRules = getattr(config, f"validate_{section}_rrs")
    return rules


def _wrong_records(plan: _Plan, answer: "Answer") -> _Found:
    for rule in plan.rules:
        records: Sequence[Record] = getattr(answer, rule.section)
        why = _JUDGES[rule.field](rule.patterns, [record.text for record in records])
        if why:
            return "body", "processing", f"{rule.section} section: {why}"
    return None


def _no_match_allowed(patterns: Sequence[Pattern], records: Sequence[str]) -> str:
    return next(
        (
            f"record {_shown(record)} matches {_written(pattern)}"
            for record in records
            for pattern in patterns
            if pattern.search(record)
        ),
        "",
    )


def _each_must_match(patterns: Sequence[Pattern], records: Sequence[str]) -> str:
    if not records:
        return f"no record to match {_written(patterns[0])}"
    return _all_must_match(patterns, records)


def _all_must_match(patterns: Sequence[Pattern], records: Sequence[str]) -> str:
    return next(
        (
            f"record {_shown(record)} does not match {_written(pattern)}"
            for record in records
            for pattern in patterns
            if not pattern.search(record)
        ),
        "",
    )


def _one_must_match(patterns: Sequence[Pattern], records: Sequence[str]) -> str:
    if any(pattern.search(record) for record in records for pattern in patterns):
        return ""
    return f"no record matches {' or '.join(map(_written, patterns))}"


def _not_all_may_match(patterns: Sequence[Pattern], records: Sequence[str]) -> str:
    return next(
        (
            f"every record matches {_written(pattern)}"
            for pattern in patterns
            if records and all(pattern.search(record) for record in records)
        ),
        "",
    )


# blackbox_exporter's `fail_if_all_match_regexp` fails unless all match, as its own tests demand: a module that is
# taken over must go on meaning what it meant. What the name says is `fail_if_every_record_matches_regexp`.
_JUDGES = {
    "fail_if_matches_regexp": _no_match_allowed,
    "fail_if_not_matches_regexp": _each_must_match,
    "fail_if_none_matches_regexp": _one_must_match,
    "fail_if_all_match_regexp": _all_must_match,
    "fail_if_every_record_matches_regexp": _not_all_may_match,
}
_SHOWN = 8


def _shown(record: str) -> str:
    return quoted(record.replace(_TAB, " "))


def _written(pattern: Pattern) -> str:
    text = pattern.pattern
    return quoted(text if isinstance(text, str) else text.decode("utf-8", "replace"))


def _evidence(answer: "Answer") -> dict[str, str]:
    records = "; ".join(record.text.replace(_TAB, " ") for record in answer.answer[:_SHOWN])
    return {"rcode": answer.rcode_name, "answer": records}


# ---------------------------------------------------------------- facts

_RESOLVE, _CONNECT, _REQUEST = (
    fact_key("probe_dns_duration_seconds", phase=phase) for phase in ("resolve", "connect", "request")
)
_NOTHING = {
    _RESOLVE: 0.0,
    _CONNECT: 0.0,
    _REQUEST: 0.0,
    "probe_dns_answer_rrs": 0.0,
    "probe_dns_authority_rrs": 0.0,
    "probe_dns_additional_rrs": 0.0,
    "probe_dns_query_succeeded": 0.0,
    ATTEMPTS: 0.0,
}


def _write_durations(trace: Trace) -> None:
    phases = trace.phases
    trace.facts[_RESOLVE] = phases.get("resolve", 0.0)
    trace.facts[_CONNECT] = phases.get("connect", 0.0) + phases.get("tls", 0.0)
    trace.facts[_REQUEST] = phases.get("request", 0.0) + phases.get("processing", 0.0)


def _write_facts(config: Config, answer: "Answer", trace: Trace) -> None:
    facts = trace.facts
    facts["probe_dns_query_succeeded"] = 1.0
    facts["probe_dns_answer_rrs"] = len(answer.answer)
    facts["probe_dns_authority_rrs"] = len(answer.authority)
    facts["probe_dns_additional_rrs"] = len(answer.additional)
    if config.query_type.upper() == "SOA" and answer.serial is not None:
        facts["probe_dns_serial"] = answer.serial
    if answer.signatures_end is not None:
        facts["probe_dns_rrsig_expiry_timestamp_seconds"] = answer.signatures_end


def _server_of(address: str, config: Config) -> tuple[str, int]:
    """`host`, `host:port`, an IPv6 address bare or in brackets; the port is that of the transport unless it is said."""
    try:
        return parse_name(address), _TLS_PORT if config.dns_over_tls else _PORT
    except BadAddress:
        return parse_host_port(address)
