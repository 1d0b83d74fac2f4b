"""Shake hands by TLS, at once or after STARTTLS, and hold certificates and versions against what was demanded."""

import ssl
from collections.abc import Iterable
from html import escape
from typing import Literal

import msgspec

from perfmon.clock import iso
from perfmon.metrics import Family
from perfmon.model import Failure, Reason, Target, fact_key
from perfmon.network import tls
from perfmon.network.address import objection, parse_host_port
from perfmon.network.dialogue import Dialogue, Ended, Step, hold
from perfmon.network.stream import check_source, route_to
from perfmon.network.tls import TlsConfig
from perfmon.patterns import compile_pattern
from perfmon.trace import Trace
from perfmon.units import Duration, format_duration

__all__ = ["FAMILIES", "Config", "check", "check_target", "probe"]

Version = Literal["TLS10", "TLS11", "TLS12", "TLS13"]


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to demand of the handshake."""

    preferred_ip_protocol: Literal["ip4", "ip6"] = "ip6"
    ip_protocol_fallback: bool = True
    source_ip_address: str = ""
    starttls: Literal["", "ftp", "imap", "pop3", "postgres", "smtp", "xmpp"] = ""
    alpn: list[str] = []  # offered; the server must take one
    tls_config: TlsConfig = TlsConfig()

    fail_if_expires_within: Duration = 0.0
    fail_if_accepts: list[Version] = []  # each one costs a connection more


FAMILIES = (
    Family("probe_tls_alpn_info", "gauge", "The protocol that ALPN agreed on.", ("protocol",)),
    Family("probe_tls_accepts", "gauge", "Whether a TLS version that should be refused is accepted.", ("version",)),
)

_ACCEPTS_KEYS: dict[Version, str] = {
    "TLS10": fact_key("probe_tls_accepts", version="TLS 1.0"),
    "TLS11": fact_key("probe_tls_accepts", version="TLS 1.1"),
    "TLS12": fact_key("probe_tls_accepts", version="TLS 1.2"),
    "TLS13": fact_key("probe_tls_accepts", version="TLS 1.3"),
}
_SPOKEN_HERE = {
    "TLS10": ssl.HAS_TLSv1,
    "TLS11": ssl.HAS_TLSv1_1,
    "TLS12": ssl.HAS_TLSv1_2,
    "TLS13": ssl.HAS_TLSv1_3,
}
_REFUSALS: tuple[Reason, ...] = ("tls_handshake", "reset", "closed")  # how servers say no to a version


# ---------------------------------------------------------------- what config.py asks


def check(config: Config) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express, as (path, message)."""
    for path, message in tls.check(config.tls_config):
        yield f"tls_config.{path}", message
    for number, name in enumerate(config.alpn):
        if not 0 < len(name.encode()) < 256:
            yield f"alpn[{number}]", "a protocol's name has 1 to 255 bytes"
    for version in config.fail_if_accepts:
        if not _SPOKEN_HERE[version]:
            yield "fail_if_accepts", f"OpenSSL of this machine cannot try {_spoken(version)}"
    yield from check_source(config.source_ip_address)


def check_target(address: str, _config: Config) -> str | None:
    """Why an address cannot be probed."""
    return objection(parse_host_port, address)


# ---------------------------------------------------------------- a run


async def probe(target: Target, config: Config, trace: Trace) -> Failure | None:
    """Fail unless hands were shaken with a certificate to trust that lasts, in a version that is fine."""
    dialogue = trace.network.prepared.get(target, config, _dialogue)
    if isinstance(dialogue, Failure):
        return dialogue
    ended = await hold(dialogue, trace)
    if ended.protocol:
        trace.facts[fact_key("probe_tls_alpn_info", protocol=ended.protocol)] = 1.0
    return (
        ended.failure
        or _no_protocol(config, ended, target.address, trace)
        or _ends_too_soon(config, ended, target.address, trace)
        or await _takes_too_much(config, dialogue, target.address, trace)
    )


def _no_protocol(config: Config, ended: Ended, address: str, trace: Trace) -> Failure | None:
    if not config.alpn:
        return None
    offered, met = " or ".join(config.alpn), bool(ended.protocol)
    trace.demand("protocol of ALPN", expected=offered, got=ended.protocol or "none", met=met)
    if met:
        return None
    message = f"{address} takes none of the protocols {', '.join(config.alpn)}"
    return Failure(reason="tls_handshake", phase="tls", message=message)


def _ends_too_soon(config: Config, ended: Ended, address: str, trace: Trace) -> Failure | None:
    """By the best chain that was verified, since a root sent needlessly may expire; else by all that was sent."""
    if not config.fail_if_expires_within:
        return None
    from perfmon.network.certificates import read_chain  # noqa: PLC0415 - heavy, and loaded by the handshake

    chain = read_chain(ended.certificates, "") if ended.certificates else None
    if chain is None:
        message = f"certificate of {address} cannot be read, so nobody knows when it expires"
        return Failure(reason="tls_untrusted", phase="tls", message=message)
    earliest = chain.facts["probe_ssl_earliest_cert_expiry"]
    until = trace.facts.get("probe_ssl_last_chain_expiry_timestamp_seconds", earliest)
    left_s = until - trace.clock.wall()
    met = left_s >= config.fail_if_expires_within
    if trace.steps is not None:
        least, got = format_duration(config.fail_if_expires_within), format_duration(max(0.0, left_s), brief=True)
        trace.demand("certificate lasts", expected=f"{least} at least", got=f"{got} left", met=met)
    if met:
        return None
    day, demanded = iso(until).partition("T")[0], format_duration(config.fail_if_expires_within, brief=True)
    when = f"expires on {day}, in {format_duration(left_s, brief=True)}" if left_s > 0 else f"expired on {day}"
    message = f"certificate of {address} {when}, expected {demanded} at least"
    return Failure(reason="tls_expired", phase="tls", message=message, evidence=chain.leaf.evidence())


async def _takes_too_much(config: Config, dialogue: Dialogue, address: str, trace: Trace) -> Failure | None:
    """Try each version that must be refused, on a connection of its own that counts for no phase."""
    for version in config.fail_if_accepts:
        quiet = Trace(clock=trace.clock, deadline=trace.deadline, network=trace.network)
        tried = await hold(_only(dialogue, version), quiet)
        if tried.failure is not None and not _is_no(tried.failure):
            return tried.failure
        trace.facts[_ACCEPTS_KEYS[version]] = 0.0 if tried.failure else 1.0
        got = "refused" if tried.failure else "accepted"
        trace.demand(_spoken(version), expected="refused", got=got, met=tried.failure is not None)
        if tried.failure is None:
            message = f"{address} accepts {_spoken(version)}, expected it refused"
            return Failure(reason="tls_handshake", phase="tls", message=message)
    return None


def _is_no(failure: Failure) -> bool:
    return failure.phase == "tls" and failure.reason in _REFUSALS


def _only(dialogue: Dialogue, version: Version) -> Dialogue:
    """The same with this version alone, whatever the certificate."""
    replace = msgspec.structs.replace
    demands = replace(dialogue.route.tls, min_version=version, max_version=version, insecure_skip_verify=True)
    return replace(dialogue, route=replace(dialogue.route, tls=demands))


def _spoken(version: Version) -> str:
    return f"TLS {version[3]}.{version[4]}"


# ---------------------------------------------------------------- before the run


def _dialogue(target: Target, config: Config) -> Dialogue:
    route = route_to(
        target.address,
        target.hostname,
        prefer=config.preferred_ip_protocol,
        fallback=config.ip_protocol_fallback,
        source=config.source_ip_address,
        tls=config.tls_config,
        alpn=tuple(config.alpn),
    )
    return Dialogue(route=route, tls=not config.starttls, steps=_steps(config.starttls, route.name))


def _steps(protocol: str, name: str) -> tuple[Step, ...]:
    """What is said before both sides go over to TLS."""
    if protocol != "xmpp":
        return _STEPS[protocol]
    attributes = f"to='{escape(name)}' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    return (
        Step(data=f"<?xml version='1.0'?><stream:stream {attributes} version='1.0'>".encode()),
        Step(until=b"<starttls", data=b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
        Step(until=b"<proceed", starttls=True),
    )


def _hear(pattern: str, refusal: str, *, say: str = "", starttls: bool = False) -> Step:
    return Step(
        pattern=compile_pattern(pattern), refusal=compile_pattern(refusal), data=say.encode(), starttls=starttls
    )


_IMAP_NO = r"(?i)^1 (NO|BAD)|^\* BYE"
_STEPS: dict[str, tuple[Step, ...]] = {
    "": (),
    "ftp": (  # RFC 4217
        _hear("^220( |$)", "^[45]", say="AUTH TLS\r\n"),
        _hear("^234", "^[45]", starttls=True),
    ),
    "imap": (  # RFC 3501
        _hear(r"(?i)^\* OK", _IMAP_NO, say="1 STARTTLS\r\n"),
        _hear("(?i)^1 OK", _IMAP_NO, starttls=True),
    ),
    "pop3": (  # RFC 2595
        _hear(r"^\+OK", "^-ERR", say="STLS\r\n"),
        _hear(r"^\+OK", "^-ERR", starttls=True),
    ),
    "postgres": (  # SSLRequest of https://www.postgresql.org/docs/current/protocol-message-formats.html
        Step(data=bytes.fromhex("00000008 04d2162f")),
        Step(expected=b"S", starttls=True),
    ),
    "smtp": (  # RFC 3207
        _hear("^220( |$)", "^[45]", say="EHLO perfmon\r\n"),
        _hear("^250( |$)", "^[45]", say="STARTTLS\r\n"),
        _hear("^220( |$)", "^[45]", starttls=True),
    ),
}
