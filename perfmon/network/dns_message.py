"""DNS messages: a query as bytes, an answer as values. Bytes come and go elsewhere; nothing here waits.

Imported by the first query only, since dnspython is heavy.
"""

import ipaddress
import secrets
import struct
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.reversename
import msgspec

from perfmon.units import quoted

__all__ = [
    "Answer",
    "MalformedAnswer",
    "Query",
    "Record",
    "build_query",
    "rcode",
    "rcode_name",
    "read_answer",
    "was_cut",
]

_HEADER_BYTES = 12
_RESPONSE, _AUTHORITATIVE, _TRUNCATED, _AUTHENTICATED = 0x8000, 0x0400, 0x0200, 0x0020
_OPCODE = 0x7800
_REMEMBERED_BYTES = 512
_SOA, _CNAME, _RRSIG = 6, 5, 46
_QUERY_EDNS_BYTES = 1_232  # https://dnsflagday.net/2020/: fits every way without being cut


class MalformedAnswer(ValueError):
    """Bytes that are no DNS message, with the reason."""


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """A question, ready to be sent any number of times."""

    wire: bytes  # with 0 for its id
    question: bytes  # the section as it must come back: name, type, class

    def with_id(self) -> tuple[int, bytes]:
        """A fresh id, which nobody can guess, and the message that has it."""
        ident = secrets.randbits(16)
        return ident, struct.pack("!H", ident) + self.wire[2:]

    def is_answered_by(self, wire: bytes, idents: Collection[int]) -> bool:
        """Whether these bytes say that they answer this query under one of the ids that it was sent with.

        A server that refuses may leave the question out.
        """
        if len(wire) < _HEADER_BYTES:
            return False
        ident, flags, questions = struct.unpack_from("!HHH", wire)
        if ident not in idents or not flags & _RESPONSE or flags & _OPCODE:
            return False
        if questions == 0:
            return bool(flags & 0x0F)
        ours, theirs = self.question, wire[_HEADER_BYTES : _HEADER_BYTES + len(self.question)]
        return bool(questions == 1 and theirs[:-4].lower() == ours[:-4].lower() and theirs[-4:] == ours[-4:])


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One resource record."""

    name: str
    type: str
    text: str  # as blackbox_exporter matches it: name, TTL, class, type and data with tabs between


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a name server said."""

    rcode: int
    rcode_name: str
    authoritative: bool
    truncated: bool
    authenticated: bool
    answer: tuple[Record, ...]
    authority: tuple[Record, ...]
    additional: tuple[Record, ...]  # EDNS' and TSIG's own pseudo records included, as they are counted
    aliases: tuple[tuple[str, str], ...]  # CNAME of the answer: from, to
    serial: int | None  # of the first SOA in the answer
    signatures_end: float | None  # Unix time of the first RRSIG in the answer to expire


def build_query(
    name: str, kind: str, klass: str, *, recursion: bool, dnssec: bool = False, udp_bytes: int = 0
) -> Query:
    """The question. ValueError with a sentence for a name, type or class that is none.

    PTR takes a plain address too. `udp_bytes` (EDNS0) is the largest answer that may come over UDP, 0 for DNS' own.
    """
    try:
        asked = dns.rdatatype.from_text(kind), dns.rdataclass.from_text(klass)
    except (dns.exception.DNSException, ValueError) as error:
        raise ValueError(f"no type or class of DNS: {error}") from None
    try:
        owner = (
            dns.reversename.from_address(name)
            if kind.upper() == "PTR" and _is_address(name)
            else dns.name.from_text(name)
        )
    except (dns.exception.DNSException, ValueError) as error:
        raise ValueError(f"not a name: {error}") from None
    flags = (dns.flags.RD if recursion else 0) | (dns.flags.AD if dnssec else 0)
    message = dns.message.make_query(owner, *asked, flags=dns.flags.Flag(flags), id=0)
    if dnssec or udp_bytes:
        message.use_edns(edns=0, ednsflags=dns.flags.DO if dnssec else 0, payload=udp_bytes or _QUERY_EDNS_BYTES)
    wire = message.to_wire()
    return Query(wire=wire, question=wire[_HEADER_BYTES : _HEADER_BYTES + len(owner.to_wire() or b"") + 4])


def was_cut(wire: bytes) -> bool:
    """Whether the server says (TC) that there is more; where it cut need not be between two records."""
    return bool(wire[2] << 8 & _TRUNCATED)


def read_answer(wire: bytes) -> Answer:
    """Parse a whole message; MalformedAnswer for one that is none.

    An answer that did not change since the last run costs a look-up: all but its id is remembered while it is short.
    """
    return (_remembered if len(wire) <= _REMEMBERED_BYTES else _read)(wire[2:])


@lru_cache(maxsize=1_024)
def _remembered(rest: bytes) -> Answer:
    return _read(rest)


def _read(rest: bytes) -> Answer:
    try:
        message = dns.message.from_wire(b"\0\0" + rest, one_rr_per_rrset=True, ignore_trailing=True)
        answer, authority, additional = (
            tuple(_records(section)) for section in (message.answer, message.authority, message.additional)
        )
    except (dns.exception.DNSException, ValueError) as error:
        raise MalformedAnswer(f"{type(error).__name__}: {error}") from None
    rcode = message.rcode()
    return Answer(
        rcode=int(rcode),
        rcode_name=str(dns.rcode.to_text(rcode)),
        authoritative=bool(message.flags & _AUTHORITATIVE),
        truncated=bool(message.flags & _TRUNCATED),
        authenticated=bool(message.flags & _AUTHENTICATED),
        answer=answer,
        authority=authority,
        additional=additional + tuple(_pseudo_records(message)),
        aliases=tuple(_aliases(message.answer)),
        serial=next((rrset[0].serial for rrset in message.answer if rrset.rdtype == _SOA and rrset), None),
        signatures_end=min(
            (rrset[0].expiration for rrset in message.answer if rrset.rdtype == _RRSIG and rrset), default=None
        ),
    )


def _records(section: Iterable[Any]) -> Iterator[Record]:
    """Of dnspython's sets, which hold one record each here."""
    for rrset in section:
        name, kind, klass = (
            rrset.name.to_text(),
            dns.rdatatype.to_text(rrset.rdtype),
            dns.rdataclass.to_text(rrset.rdclass),
        )
        for rdata in rrset:
            yield Record(name=name, type=kind, text=f"{name}\t{rrset.ttl}\t{klass}\t{kind}\t{rdata.to_text()}")


def _pseudo_records(message: Any) -> Iterator[Record]:
    if message.opt is not None:
        yield from _records([message.opt])
    if message.tsig is not None:
        yield from _records([message.tsig])


def _aliases(section: Iterable[Any]) -> Iterator[tuple[str, str]]:
    for rrset in section:
        if rrset.rdtype == _CNAME and rrset:
            yield rrset.name.to_text().lower(), rrset[0].target.to_text().lower()


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def rcode(name: str) -> int:
    """The number of a response code; ValueError with a sentence for a name that is none."""
    try:
        return int(dns.rcode.from_text(name))
    except (dns.exception.DNSException, ValueError):
        raise ValueError(f"{quoted(name)} is no response code of DNS, such as NOERROR or NXDOMAIN") from None


def rcode_name(code: int) -> str:
    """NOERROR, NXDOMAIN and so on."""
    return str(dns.rcode.to_text(dns.rcode.Rcode.make(code)))
