"""Read a web-config.yml: TLS, passwords, headers and pace of the web face, as Prometheus' exporters have them.

The file as exporter-toolkit describes it:
https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md

What Python's TLS cannot do is refused by name: a certificate of the client's that is demanded and not verified, and
more than one curve.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from perfmon.config import yaml_places
from perfmon.config.convert import WRONG, Reading, key_path, node_at
from perfmon.config.file import Section
from perfmon.config.yaml_places import Node
from perfmon.errors import ConfigError, Problem
from perfmon.kinds import unknown
from perfmon.units import Duration, quoted

__all__ = ["CIPHER_SUITES", "CURVES", "HEADERS", "MAX_COST", "RateLimit", "TlsServer", "WebFile", "Written", "read"]

Version = Literal["TLS10", "TLS11", "TLS12", "TLS13"]
FilePath = Annotated[str, msgspec.Meta(extra_json_schema={"x-path": True})]

MAX_COST = 18
"""Of a bcrypt hash: some twenty seconds of one core. Each step doubles it; the highest, 31, takes days."""

CIPHER_SUITES: Mapping[str, str] = {
    "TLS_AES_128_GCM_SHA256": "",
    "TLS_AES_256_GCM_SHA384": "",
    "TLS_CHACHA20_POLY1305_SHA256": "",
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
}
"""Go's names, and OpenSSL's; those of TLS 1.3 have none: it always offers all of its suites, in Go too."""

CURVES: Mapping[str, str] = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}
"""Go's names, and OpenSSL's."""

HEADERS: Mapping[str, tuple[str, ...]] = {
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
    "Content-Security-Policy": (),
}
"""Headers that may be set, and their values where there is a choice."""


class TlsServer(Section, frozen=True, kw_only=True):
    """Certificate and key, whose certificates are demanded of clients, and which TLS is spoken."""

    cert: str = ""  # PEM, in place of cert_file
    key: str = ""  # PEM, in place of key_file
    cert_file: FilePath = ""
    key_file: FilePath = ""
    client_auth_type: Literal[
        "",
        "NoClientCert",
        "RequestClientCert",
        "RequireAnyClientCert",
        "RequireClientCert",
        "VerifyClientCertIfGiven",
        "RequireAndVerifyClientCert",
    ] = ""
    client_ca: str = ""  # PEM, in place of client_ca_file
    client_ca_file: FilePath = ""
    client_allowed_sans: tuple[str, ...] = ()
    min_version: Version = "TLS12"
    max_version: Version = "TLS13"
    cipher_suites: tuple[str, ...] = ()
    curve_preferences: tuple[str, ...] = ()
    prefer_server_cipher_suites: bool = True

    @property
    def is_wanted(self) -> bool:
        """Whether TLS is spoken at all, by the toolkit's rule."""
        named = (self.cert, self.key, self.cert_file, self.key_file, self.client_ca, self.client_ca_file)
        return any((*named, self.client_auth_type))


class HttpServer(Section, frozen=True, kw_only=True):
    """Headers of every answer."""

    http2: bool = True  # taken as it is: perfmon speaks HTTP/1.1, which every client of HTTP/2 does too
    headers: dict[str, str] = msgspec.field(default_factory=dict)


class RateLimit(Section, frozen=True, kw_only=True):
    """A token bucket for all requests together."""

    interval: Annotated[Duration, msgspec.Meta(ge=0, le=86_400)] = 0.0  # seconds a token; 0 = no limit
    burst: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0  # tokens that are kept


class WebFile(Section, frozen=True, kw_only=True):
    """The whole file. An empty one demands nothing."""

    tls_server_config: TlsServer = TlsServer()
    http_server_config: HttpServer = HttpServer()
    basic_auth_users: dict[str, str] = msgspec.field(default_factory=dict)  # bcrypt hashes by name
    rate_limit: RateLimit = RateLimit()


class Written(msgspec.Struct, frozen=True):
    """The file as read, and where in it each setting stands."""

    file: WebFile
    name: str
    root: Node | None  # None for an empty file

    def problem(self, path: str, message: str) -> Problem:
        """A mistake at a setting, `tls_server_config.cert_file`, or at the nearest part of it that is written."""
        line = node_at(self.root, path).line if self.root is not None else 0
        return Problem(self.name, line, path, message)


def read(data: bytes, name: str) -> Written:
    """The file's content; `name` is its path, from whose folder relative paths count. Raises ConfigError."""
    reading = Reading(None, secrets=re.compile(r"\.key$|^basic_auth_users\b"))
    root, reading.problems[:] = yaml_places.parse(data, name)
    file = WebFile() if root is None or yaml_places.is_null(root) else reading.convert(root, WebFile, "")
    written = Written(file, name, root)
    problems = reading.problems or _mistakes(written)
    if problems or file is WRONG:
        raise ConfigError(problems)
    return written


def _mistakes(written: Written) -> list[Problem]:
    """What the types do not tell: settings that need each other, and texts out of a list."""
    file = written.file
    found = {
        **_of_tls(file.tls_server_config),
        **{f"http_server_config.headers.{name}": _of_header(*item) for name, *item in _pairs(file)},
        **{key_path("basic_auth_users", user): _of_hash(text) for user, text in file.basic_auth_users.items()},
    }
    if file.rate_limit.interval and not file.rate_limit.burst:
        found["rate_limit.burst"] = "expected at least 1: with none, no request would ever be answered"
    return [written.problem(path, message) for path, message in found.items() if message]


def _pairs(file: WebFile) -> list[tuple[str, str, str]]:
    return [(name, name, value) for name, value in file.http_server_config.headers.items()]


def _of_header(name: str, value: str) -> str:
    if name not in HEADERS:
        return unknown(name, tuple(HEADERS), "header")
    if HEADERS[name] and value not in HEADERS[name]:
        return f"expected {' or '.join(HEADERS[name])}, got {quoted(value)}"
    bad = re.search(r"[^\x20-\x7e]", value)
    return f"expected printable ASCII characters, got {quoted(bad[0])}" if bad else ""


_HASH = re.compile(r"\$2[aby]\$(?P<cost>\d\d)\$[./A-Za-z0-9]{53}")


def _of_hash(text: str) -> str:
    found = _HASH.fullmatch(text)
    if found is None:
        return 'expected a bcrypt hash, such as `htpasswd -nBC 10 ""` prints behind the colon'
    cost = int(found["cost"])
    return "" if 4 <= cost <= MAX_COST else f"expected a hash of cost 4 to {MAX_COST}, got {cost}"


def _of_tls(tls: TlsServer) -> dict[str, str]:
    if not tls.is_wanted:
        return {}
    found = {
        "cert_file": _one_of("cert", bool(tls.cert), bool(tls.cert_file)),
        "key_file": _one_of("key", bool(tls.key), bool(tls.key_file)),
        "client_auth_type": _of_client_auth(tls),
        "client_allowed_sans": _of_sans(tls),
        "max_version": f"expected {tls.min_version}, the min_version, or a later one, got {tls.max_version}"
        if tls.max_version < tls.min_version
        else "",
        "curve_preferences": _of_curves(tls.curve_preferences),
    }
    for index, name in enumerate(tls.cipher_suites):
        if name not in CIPHER_SUITES:
            found[f"cipher_suites[{index}]"] = unknown(name, tuple(CIPHER_SUITES), "cipher suite")
    return {f"tls_server_config.{name}": message for name, message in found.items()}


def _one_of(name: str, inline: bool, in_file: bool) -> str:  # noqa: FBT001 - two facts of one kind
    if inline and in_file:
        return f"expected {name} or {name}_file, not both"
    return "" if inline or in_file else f"is missing, expected {name} or {name}_file"


def _of_client_auth(tls: TlsServer) -> str:
    if tls.client_auth_type in ("RequireAnyClientCert", "RequireClientCert"):
        return (
            "perfmon cannot demand a certificate without verifying it, and it would keep nobody out: anybody can make"
            " one; expected RequireAndVerifyClientCert"
        )
    if (tls.client_ca or tls.client_ca_file) and tls.client_auth_type in ("", "NoClientCert"):
        return "client CAs have no effect without it: expected RequireAndVerifyClientCert or VerifyClientCertIfGiven"
    return "expected client_ca or client_ca_file, not both" if tls.client_ca and tls.client_ca_file else ""


def _of_sans(tls: TlsServer) -> str:
    if tls.client_allowed_sans and tls.client_auth_type != "RequireAndVerifyClientCert":
        return "expected client_auth_type RequireAndVerifyClientCert: otherwise a client need not show a certificate"
    return ""


def _of_curves(names: tuple[str, ...]) -> str:
    for name in names:
        if name not in CURVES:
            return unknown(name, tuple(CURVES), "curve")
    return f"expected one curve, got {len(names)}: Python's TLS can be told one, or none" if len(names) > 1 else ""
