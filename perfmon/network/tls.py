"""TLS as a user sees it: what may be demanded of a connection, and whom this machine trusts."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from perfmon.model import fact_key
from perfmon.units import FilePath

__all__ = ["TlsConfig", "check", "trust_file", "version_key"]

Version = Literal["", "TLS10", "TLS11", "TLS12", "TLS13"]
ORDER = ("TLS10", "TLS11", "TLS12", "TLS13")

# Where distributions keep what they trust: Debian and Alpine, Fedora, SUSE, the BSDs.
_TRUST_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


class TlsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """blackbox_exporter's `tls_config`. Files are read at the handshake, so a renewed certificate is seen."""

    insecure_skip_verify: bool = False
    ca_file: FilePath = ""  # "" = what the machine trusts
    cert_file: FilePath = ""
    key_file: FilePath = ""
    server_name: str = ""  # "" = the host of the target
    min_version: Version = ""  # "" = TLS 1.2, as libcurl and Go have it
    max_version: Version = ""


def check(config: TlsConfig) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express, as (path, message)."""
    for field in ("ca_file", "cert_file", "key_file"):
        name = getattr(config, field)
        if name and not Path(name).is_file():
            yield field, f'no such file: "{name}"'
    if bool(config.cert_file) != bool(config.key_file):
        yield "cert_file", "cert_file and key_file must be given together"
    low, high = config.min_version, config.max_version
    if low and high and ORDER.index(low) > ORDER.index(high):
        yield "min_version", f"min_version {low} is above max_version {high}"


@cache
def trust_file() -> str:
    """The bundle of roots that this machine trusts; certifi's where the system has none."""
    for name in _TRUST_FILES:
        if Path(name).is_file():
            return name
    import certifi  # noqa: PLC0415 - only machines without roots

    return certifi.where()


@cache
def version_key(version: str) -> str:
    """The fact for `TLSv1.3`, as OpenSSL says it: `probe_tls_version_info` has Go's `TLS 1.3`."""
    number = {"TLSv1": "1.0"}.get(version, version.removeprefix("TLSv"))
    return fact_key("probe_tls_version_info", version=f"TLS {number}")
