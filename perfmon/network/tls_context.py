"""OpenSSL's side of a `TlsConfig`, where libcurl is not at work: made once for each state of its files."""

import ssl
import warnings
from functools import lru_cache
from pathlib import Path

from perfmon.network.tls import TlsConfig, Version, trust_file

__all__ = ["Unusable", "client_context", "sent_chain"]

_VERSIONS: dict[Version, ssl.TLSVersion] = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
_OLD = ("TLS10", "TLS11")
_PEM = 1  # _ssl.ENCODING_PEM


class Unusable(Exception):
    """A file that OpenSSL cannot use; `own` when it is the client's own certificate or key."""

    def __init__(self, message: str, *, own: bool) -> None:
        self.own = own
        super().__init__(message)


def client_context(config: TlsConfig, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
    """What a handshake needs. Reading the roots takes milliseconds, so a context lives as long as its files do."""
    names = (_roots(config), config.cert_file, config.key_file)
    return _context(config, alpn, tuple(_modified_ns(name) for name in names if name))


def sent_chain(tls: ssl.SSLObject) -> tuple[str, ...]:
    """The certificates that the server sent, PEM, leaf first."""
    public = getattr(tls, "get_unverified_chain", None)  # from Python 3.13 on
    if public is not None:
        return tuple(ssl.DER_cert_to_PEM_cert(der) for der in public())
    chain = tls._sslobj.get_unverified_chain()  # type: ignore[attr-defined]  # noqa: SLF001 - the same, unnamed
    return tuple(certificate.public_bytes(_PEM) for certificate in chain or ())


@lru_cache(maxsize=256)
def _context(config: TlsConfig, alpn: tuple[str, ...], _modified: tuple[int, ...]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _set_versions(context, config)
    if alpn:
        context.set_alpn_protocols(alpn)
    if config.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        _trust(context, _roots(config))
    if config.cert_file:
        _identify(context, config)
    return context


def _set_versions(context: ssl.SSLContext, config: TlsConfig) -> None:
    low, high = config.min_version, config.max_version
    if not low and high in _OLD:
        low = high
    if low in _OLD:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")  # OpenSSL 3 refuses them otherwise
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of versions that the user asked for by name
        context.minimum_version = _VERSIONS[low or "TLS12"]
        if high:
            context.maximum_version = _VERSIONS[high]


def _trust(context: ssl.SSLContext, name: str) -> None:
    try:
        context.load_verify_locations(name)
    except OSError as error:
        raise Unusable(f"the file of trusted roots cannot be read: {_said(error)}", own=False) from None


def _identify(context: ssl.SSLContext, config: TlsConfig) -> None:
    try:
        # Without a password OpenSSL asks for one at the terminal, and waits.
        context.load_cert_chain(config.cert_file, config.key_file, password="")
    except OSError as error:
        raise Unusable(f"the client certificate cannot be used: {_said(error)}", own=True) from None


def _roots(config: TlsConfig) -> str:
    return "" if config.insecure_skip_verify else config.ca_file or trust_file()


def _modified_ns(name: str) -> int:
    try:
        return Path(name).stat().st_mtime_ns
    except OSError:
        return 0  # OpenSSL will say what is wrong with the file


def _said(error: OSError) -> str:
    return error.strerror or str(error)
