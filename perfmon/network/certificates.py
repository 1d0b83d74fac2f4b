"""What the certificates of a TLS server say, as facts and as words.

A chain is parsed once: one that did not change since the last run costs a dictionary look-up. Imported by the first
handshake only, since the library is heavy.
"""

import contextlib
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.utils import CryptographyDeprecationWarning

from perfmon.clock import iso
from perfmon.model import Failure, fact_key
from perfmon.steps import Certificate

__all__ = ["Chain", "Leaf", "describe", "explain", "read_chain"]

_NAMES_SHOWN = 5
_UNREADABLE = (
    ValueError,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class Leaf(msgspec.Struct, frozen=True, kw_only=True):
    """The server's own certificate, as a person wants to read it."""

    subject: str  # RFC 4514: "CN=example.org,O=Example"
    issuer: str
    names: tuple[str, ...]  # what it is valid for: DNS names and addresses
    not_before: float  # Unix time
    not_after: float  # Unix time

    def evidence(self) -> dict[str, str]:
        """The same as strings, for `Failure.evidence`."""
        return {
            "subject": self.subject,
            "issuer": self.issuer,
            "names": ", ".join(self.names),
            "not_before": iso(self.not_before),
            "not_after": iso(self.not_after),
        }


class Chain(msgspec.Struct, frozen=True, kw_only=True):
    """The certificates that a server sent: the leaf, and the facts to export under their finished keys."""

    leaf: Leaf
    facts: Mapping[str, float]


@lru_cache(maxsize=4096)
def read_chain(pems: tuple[str, ...], trusted: str) -> Chain | None:
    """The chain in `pems`, leaf first. `trusted` is the file of roots it was verified by, "" when it was not.

    None when a certificate is none that the library can read: the handshake may have succeeded all the same.
    """
    with _quietly():
        chain = [certificate for pem in pems if (certificate := _read(pem.encode())) is not None]
        if len(chain) < len(pems):
            return None
        try:
            return _facts(chain, trusted)
        except _UNREADABLE:  # parts are parsed when they are asked for, and OpenSSL is more forgiving
            return None


def describe(pems: Sequence[str]) -> Iterable[Certificate]:
    """Each certificate of a chain for a person; those that cannot be read are left out."""
    for pem in pems:
        certificate = _read(pem.encode())
        if certificate is None:
            continue
        try:
            yield _described(certificate)
        except _UNREADABLE:  # as in `read_chain`
            continue


def _described(certificate: x509.Certificate) -> Certificate:
    with _quietly():
        leaf = _leaf(certificate)
        return Certificate(
            subject=leaf.subject,
            issuer=leaf.issuer,
            names=leaf.names,
            not_before=leaf.not_before,
            not_after=leaf.not_after,
            serial=f"{certificate.serial_number:x}",
            fingerprint=certificate.fingerprint(SHA256()).hex(),
        )


def _facts(chain: Sequence[x509.Certificate], trusted: str) -> Chain:
    leaf = _leaf(chain[0])
    facts = {
        "probe_ssl_earliest_cert_expiry": min(_expiry(certificate) for certificate in chain),
        _info_key(chain[0], leaf): 1.0,
    }
    if trusted:
        roots = _roots(trusted, Path(trusted).stat().st_mtime_ns)
        facts["probe_ssl_last_chain_expiry_timestamp_seconds"] = _last_expiry(chain, roots)
    return Chain(leaf=leaf, facts=facts)


def explain(refused: Failure, leaf: Leaf, *, peer: str, name: str, wall: float) -> Failure:
    """The same failure in the words of the certificate that was refused; `name` is what it should have been for."""
    whose = f"certificate of {peer}"
    match refused.reason:
        case "tls_name_mismatch":
            message = f"{whose} is for {_list(leaf.names)}, not for {name}"
        case "tls_untrusted":
            message = f"{whose} is issued by {leaf.issuer}, which is not trusted"
        case _ if wall < leaf.not_before:
            message = f"{whose} is not valid before {_day(leaf.not_before)}"
        case _:
            message = f"{whose} expired on {_day(leaf.not_after)}"
    return Failure(reason=refused.reason, phase=refused.phase, message=message, evidence=leaf.evidence())


def _day(wall: float) -> str:
    return iso(wall).partition("T")[0]


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN])
    return (f"{shown} and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else shown) or "no name"


def _leaf(certificate: x509.Certificate) -> Leaf:
    return Leaf(
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        names=(*_dns_names(certificate), *_addresses(certificate)),
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=_expiry(certificate),
    )


def _info_key(certificate: x509.Certificate, leaf: Leaf) -> str:
    serial = f"{certificate.serial_number:x}"
    return fact_key(
        "probe_ssl_last_chain_info",
        fingerprint_sha256=certificate.fingerprint(SHA256()).hex(),
        subject=leaf.subject,
        issuer=leaf.issuer,
        subjectalternative=",".join(_dns_names(certificate)),
        serialnumber=serial.zfill(len(serial) + len(serial) % 2),  # whole bytes: a leading zero stays
    )


def _last_expiry(chain: Iterable[x509.Certificate], roots: Mapping[bytes, float]) -> float:
    """Of all paths from the leaf to a trusted root, the one that lasts longest; a path ends with its first end.

    libcurl has verified that a path exists but does not say which, so paths are followed by name: each round carries
    the best expiry one certificate further down, and no path is longer than the chain.
    """
    leaf, *others = chain
    best = dict(roots)
    for _ in others:
        for other in others:
            through = min(_expiry(other), best.get(other.issuer.public_bytes(), 0.0))
            subject = other.subject.public_bytes()
            best[subject] = max(best.get(subject, 0.0), through)
    return min(_expiry(leaf), best.get(leaf.issuer.public_bytes(), _expiry(leaf)))


@lru_cache(maxsize=32)
def _roots(name: str, _modified_ns: int) -> Mapping[bytes, float]:
    """The latest expiry of each subject in a file of roots, read again when the file changed."""
    roots: dict[bytes, float] = {}
    for pem in _PEM.findall(Path(name).read_bytes()):
        certificate = _read(pem)
        if certificate is not None:
            subject = certificate.subject.public_bytes()
            roots[subject] = max(_expiry(certificate), roots.get(subject, 0.0))
    return roots


def _read(pem: bytes) -> x509.Certificate | None:
    """None for what the library refuses."""
    with _quietly():
        try:
            return x509.load_pem_x509_certificate(pem)
        except _UNREADABLE:
            return None


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without the library's warnings: old roots with odd serial numbers are still trusted by machines."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        yield


def _expiry(certificate: x509.Certificate) -> float:
    return certificate.not_valid_after_utc.timestamp()


def _dns_names(certificate: x509.Certificate) -> list[str]:
    names = _alternatives(certificate)
    return names.get_values_for_type(x509.DNSName) if names else []


def _addresses(certificate: x509.Certificate) -> list[str]:
    names = _alternatives(certificate)
    return [str(address) for address in names.get_values_for_type(x509.IPAddress)] if names else []


def _alternatives(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except _UNREADABLE:
        return None
