"""Reads the addresses that people write and servers answer with: URLs and host:port."""

from urllib.parse import quote, unquote, urlsplit

import msgspec

from perfmon.units import quoted

__all__ = ["Url", "bracketed", "parse_host_port", "parse_url"]

_PORTS = {"http": 80, "https": 443}


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
    """Read `https://user:password@host:port/path?query`; without a scheme it is http. ValueError with a sentence."""
    parts = urlsplit(text if "://" in text else f"http://{text}")
    if parts.scheme not in _PORTS:
        raise ValueError(f"expected an http or https URL, got {quoted(text)}")
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
    query = quote(parts.query, safe="/%:@!$&'()*+,;=~?[]|^`{}\\\"<>")
    return Url(
        scheme=parts.scheme,
        host=_host(parts.hostname, text),
        port=_port(parts.port, text) if parts.port is not None else _PORTS[parts.scheme],
        path=f"{path}?{query}" if parts.query else path,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )


def parse_host_port(text: str) -> tuple[str, int]:
    """Read `host:port` or `[::1]:port`. ValueError with a sentence."""
    parts = urlsplit(f"//{text}")
    if parts.port is None or parts.path or parts.query or parts.username is not None:
        raise ValueError(f"expected host:port, got {quoted(text)}")
    return _host(parts.hostname, text), _port(parts.port, text)


def bracketed(host: str) -> str:
    """A host or address as it stands before a port."""
    return f"[{host}]" if ":" in host else host


def _host(host: str | None, text: str) -> str:
    if not host:
        raise ValueError(f"no host in {quoted(text)}")
    if host.isascii():
        return host
    return host.encode("idna").decode()


def _port(port: int, text: str) -> int:
    if port == 0:
        raise ValueError(f"port 0 in {quoted(text)} cannot be reached")
    return port
