"""Reads the addresses that people write and servers answer with: URLs and host:port."""

import re
from collections.abc import Callable
from ipaddress import IPv6Address
from urllib.parse import SplitResult, quote, unquote, urlsplit

import msgspec

from perfmon.units import quoted

__all__ = [
    "BadAddress",
    "Url",
    "bracketed",
    "host_of",
    "masked",
    "objection",
    "parse_host_port",
    "parse_name",
    "parse_service",
    "parse_url",
    "shown",
]

_PORTS = {"http": 80, "https": 443}
_USER_INFO = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://|(?=[^/?#]*:[^/?#]*@))[^/?#]*@")
_USER = re.compile(r"(^|//).*@", re.DOTALL)  # greedy: a password may hold what ends it elsewhere
_NOT_IN_HOST = re.compile(r"""[\x00-\x20\x7f"#/<>?@\\^`{|}\[\]]""")


class BadAddress(ValueError):
    """An address that leads nowhere as it is written; says in words why, and never a password."""


class Url(msgspec.Struct, frozen=True, kw_only=True):
    """An absolute http or https URL in parts that are ready to use."""

    scheme: str  # "http" or "https"
    host: str  # lower case, ASCII, IPv6 without brackets
    port: int
    path: str  # with the query, quoted; never empty, no fragment
    user: str = ""
    password: str = ""

    @property
    def authority(self) -> str:
        """What the Host header says: the port only when it is not the scheme's own."""
        host = bracketed(self.host)
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


def parse_url(text: str) -> Url:
    """Read `https://user:password@host:port/path?query`; without a scheme it is http. BadAddress with a sentence."""
    parts = _split(text if "://" in text else f"http://{text}", text)
    if parts.scheme not in _PORTS:
        raise BadAddress(f"expected an http or https URL, got {shown(text)}")
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
    query = quote(parts.query, safe="/%:@!$&'()*+,;=~?[]|^`{}\\\"<>")
    return Url(
        scheme=parts.scheme,
        host=_host(parts.hostname, text),
        port=_port(parts, text) or _PORTS[parts.scheme],
        path=f"{path}?{query}" if parts.query else path,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )


def parse_host_port(text: str) -> tuple[str, int]:
    """Read `host:port` or `[::1]:port`. BadAddress with a sentence."""
    parts = _split(f"//{text}", text)
    port = _port(parts, text)
    if port is None or parts.path or parts.query or parts.username is not None:
        raise BadAddress(f"expected host:port, got {shown(text)}")
    return _host(parts.hostname, text), port


def parse_service(text: str, default_port: int) -> tuple[str, int, str]:
    """Read `host`, `host:port` or `host:port/name`; the name is unquoted. BadAddress with a sentence."""
    parts = _split(f"//{text}", text)
    if parts.username is not None:
        raise BadAddress(f"expected host:port/name without a user, who stands in the module, got {shown(text)}")
    name = unquote(parts.path.removeprefix("/"))
    if "://" in text or parts.query or parts.fragment or "\0" in name:
        raise BadAddress(f"expected host:port/name, got {shown(text)}")
    return _host(parts.hostname, text), _port(parts, text) or default_port, name


def parse_name(text: str) -> str:
    """Read a host that stands alone, name or address, IPv6 with or without brackets. BadAddress with a sentence."""
    whole = text.startswith("[") and text.endswith("]")
    host = _host((text[1:-1] if whole else text).lower(), text)
    if ":" in host and not _is_ipv6(host):
        raise BadAddress(f"expected a host without a port, got {shown(text)}")
    return host


def objection(read: Callable[[str], object], text: str) -> str | None:
    """What one of these readers says against a text; None when it can be read."""
    try:
        read(text)
    except BadAddress as error:
        return str(error)
    return None


def host_of(text: str) -> str:
    """The host of an address of any kind, lower case; "" for one that names none, as the path of a socket."""
    if text.startswith("/"):
        return ""
    if _is_ipv6(text):
        return text.lower()
    try:
        return urlsplit(text if "://" in text else f"//{text}").hostname or ""
    except ValueError:
        return ""


def bracketed(host: str) -> str:
    """A host or address as it stands before a port."""
    return f"[{host}]" if ":" in host else host


def shown(text: str) -> str:
    """An address in a message: quoted, without the user and the password that it may hold."""
    return quoted(_USER.sub(r"\1", text))


def masked(address: str) -> str:
    """An address as it was written, but for the user and the password that it may hold."""
    return _USER_INFO.sub(r"\1<secret>@", address)


def _split(url: str, text: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # its message may hold the password
        raise BadAddress(f"not a URL: {shown(text)}") from None


def _host(host: str | None, text: str) -> str:
    if not host:
        raise BadAddress(f"no host in {shown(text)}")
    if _NOT_IN_HOST.search(host):
        raise BadAddress(f"no host can be named as in {shown(text)}")
    if host.isascii():
        return host.replace("%25", "%", 1) if ":" in host else host  # RFC 6874: a zone's sign is quoted in a URL
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        raise BadAddress(f"no host can be named as in {shown(text)}") from None


def _is_ipv6(host: str) -> bool:
    try:
        IPv6Address(host)
    except ValueError:
        return False
    return True


def _port(parts: SplitResult, text: str) -> int | None:
    try:
        port = parts.port
    except ValueError:
        raise BadAddress(f"expected a port of 1 to 65535 in {shown(text)}") from None
    if port == 0:
        raise BadAddress(f"port 0 in {shown(text)} cannot be reached")
    return port
