"""What TLS the web face speaks: an SSLContext of the settings, and whether a client's certificate will do."""

import contextlib
import os
import ssl
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from perfmon.config.web_file import CIPHER_SUITES, CURVES, TlsServer, Written
from perfmon.errors import ConfigError

__all__ = ["MAX_FILE_BYTES", "context", "files", "is_allowed"]

MAX_FILE_BYTES = 1 << 20

_VERSIONS = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
_DEMANDS = {"VerifyClientCertIfGiven": ssl.CERT_OPTIONAL, "RequireAndVerifyClientCert": ssl.CERT_REQUIRED}


def files(tls: TlsServer) -> tuple[str, ...]:
    """The files that the settings name."""
    return tuple(filter(None, (tls.cert_file, tls.key_file, tls.client_ca_file)))


def context(written: Written) -> ssl.SSLContext | None:
    """What connections begin with; None where TLS is not wanted. ConfigError when the files are not what they must be.

    Blocks for as long as it takes to read three files.
    """
    tls = written.file.tls_server_config
    if not tls.is_wanted:
        return None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.options |= ssl.OP_NO_RENEGOTIATION
    made.set_alpn_protocols(["http/1.1"])
    with _blamed(written, "cert_file", "is no certificate with its key"):
        _load_pair(made, written)
    with _blamed(written, "client_ca_file", "has no certificate in PEM"):
        _demand_certificate(made, written)
    with _blamed(written, "cipher_suites", "none of them can be used"):
        _set_suites(made, tls)
    _set_versions(made, tls)
    for curve in tls.curve_preferences:
        made.set_ecdh_curve(CURVES[curve])
    return made


def is_allowed(tls: TlsServer, certificate: Mapping[str, Any] | None) -> bool:
    """Whether a verified certificate, as `getpeercert()` gives it, has one of `client_allowed_sans`."""
    if not tls.client_allowed_sans:
        return True
    named = (certificate or {}).get("subjectAltName", ())
    return any(_plain(kind, value) in tls.client_allowed_sans for kind, value in named)


def _plain(kind: str, value: str) -> str:
    """A name as one writes it; Python spells IPv6 addresses out."""
    return str(ip_address(value.strip())) if kind == "IP Address" else value


def _load_pair(made: ssl.SSLContext, written: Written) -> None:
    tls = written.file.tls_server_config
    cert = tls.cert.encode() or _content(written, "cert_file", tls.cert_file)
    key = tls.key.encode() or _content(written, "key_file", tls.key_file)
    # Both from memory: they are read once, and what a text in the settings holds touches no disk.
    with _in_memory(cert + b"\n" + key) as path:
        made.load_cert_chain(path, password=_no_password)


def _no_password() -> bytes:
    """OpenSSL would ask for it on the terminal otherwise."""
    raise ValueError("the key is encrypted, expected one without a password")


def _demand_certificate(made: ssl.SSLContext, written: Written) -> None:
    tls = written.file.tls_server_config
    made.verify_mode = _DEMANDS.get(tls.client_auth_type, ssl.CERT_NONE)
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # an intermediate CA may be trusted alone, as in Go
    if tls.client_ca or tls.client_ca_file:
        pem = tls.client_ca or _content(written, "client_ca_file", tls.client_ca_file).decode("ascii", "replace")
        made.load_verify_locations(cadata=pem)
    elif made.verify_mode != ssl.CERT_NONE:
        made.load_default_certs(ssl.Purpose.CLIENT_AUTH)


def _set_suites(made: ssl.SSLContext, tls: TlsServer) -> None:
    suites = [CIPHER_SUITES[name] for name in tls.cipher_suites if CIPHER_SUITES[name]]
    if suites:
        made.set_ciphers(":".join(_with_old(suites, tls)))
    elif tls.min_version in ("TLS10", "TLS11"):
        made.set_ciphers(":".join(_with_old(["DEFAULT"], tls)))
    if tls.prefer_server_cipher_suites:
        made.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        made.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE


def _with_old(suites: Sequence[str], tls: TlsServer) -> Sequence[str]:
    """TLS 1.0 and 1.1 sign with SHA-1, which OpenSSL allows at its lowest level of security only."""
    return [*suites, "@SECLEVEL=0"] if tls.min_version in ("TLS10", "TLS11") else suites


def _set_versions(made: ssl.SSLContext, tls: TlsServer) -> None:
    only_new = tls.cipher_suites and not any(CIPHER_SUITES[name] for name in tls.cipher_suites)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # who writes TLS10 knows that it is old
        made.minimum_version = _VERSIONS["TLS13" if only_new else tls.min_version]
        made.maximum_version = _VERSIONS[tls.max_version]


@contextlib.contextmanager
def _blamed(written: Written, setting: str, words: str) -> Iterator[None]:
    """Turn what OpenSSL objects to into a mistake of a setting."""
    try:
        yield
    except (ssl.SSLError, ValueError) as error:
        why = getattr(error, "reason", None) or str(error)
        raise ConfigError([written.problem(f"tls_server_config.{setting}", f"{words}: {_said(why)}")]) from None


def _said(why: str) -> str:
    return why.replace("_", " ").lower() if why.isupper() else why


def _content(written: Written, setting: str, path: str) -> bytes:
    def refuse(why: str) -> ConfigError:
        return ConfigError([written.problem(f"tls_server_config.{setting}", f'the file "{path}" {why}')])

    return read_bounded(path, refuse)


def read_bounded(path: str, refuse: Callable[[str], ConfigError]) -> bytes:
    """A file's content; what `refuse` makes of the reason why it cannot be had is raised."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise refuse(f"cannot be read: {(getattr(error, 'strerror', None) or str(error)).lower()}") from None
    if len(data) > MAX_FILE_BYTES:
        raise refuse(f"is larger than {MAX_FILE_BYTES >> 20} MiB")
    return data


@contextlib.contextmanager
def _in_memory(data: bytes) -> Iterator[str]:
    """A path under which OpenSSL reads these bytes."""
    number = os.memfd_create("perfmon-tls")
    try:
        os.write(number, data)
        yield f"/proc/self/fd/{number}"
    finally:
        os.close(number)
