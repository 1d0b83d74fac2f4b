"""Proxies for HTTP: which URL goes through which, as Go programs decide it."""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol
from urllib.parse import unquote, urlsplit

import msgspec

from perfmon.network.address import Url, parse_name, shown
from perfmon.network.header import is_token, is_value
from perfmon.secret import basic_proof
from perfmon.units import quoted

__all__ = ["Proxied", "Proxies", "Proxy", "check", "of_config", "secrets_of"]


class Proxied(Protocol):
    """The settings of whoever may send its requests through a proxy."""

    @property
    def proxy_url(self) -> str:
        """Of the proxy, "" = none."""

    @property
    def no_proxy(self) -> str:
        """What goes without it, separated by commas."""

    @property
    def proxy_from_environment(self) -> bool:
        """Whether HTTP_PROXY, HTTPS_PROXY and NO_PROXY say it instead."""

    @property
    def proxy_connect_header(self) -> Mapping[str, list[str]]:
        """Headers of each CONNECT."""


class Proxy(msgspec.Struct, frozen=True, kw_only=True):
    """Where to connect instead."""

    scheme: str  # "http" or "https"
    host: str
    port: int
    user: str = ""
    password: str = ""
    headers: tuple[str, ...] = ()  # "Name: value", of CONNECT

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Proxies(msgspec.Struct, frozen=True, kw_only=True):
    """Which scheme goes where, and what goes straight."""

    by_scheme: Mapping[str, Proxy]
    exempt: tuple[str, ...] = ()  # "*", "10.0.0.0/8", "192.0.2.1:80", ".example.org", "example.org:8080"
    loopback: bool = True  # whether this machine's own addresses go through it too

    def of(self, url: Url) -> Proxy | None:
        """The proxy for a URL, None for none."""
        proxy = self.by_scheme.get(url.scheme)
        if proxy is None or (not self.loopback and _is_loopback(url.host)):
            return None
        return None if any(_matches(entry, url) for entry in self.exempt) else proxy


def check(config: Proxied) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express, as (path, message)."""
    if config.proxy_from_environment and (config.proxy_url or config.no_proxy):
        yield "proxy_from_environment", "excludes proxy_url and no_proxy: the environment says both"
    if config.no_proxy and not (config.proxy_url or config.proxy_from_environment):
        yield "no_proxy", "has no effect without a proxy_url"
    if config.proxy_connect_header and not (config.proxy_url or config.proxy_from_environment):
        yield "proxy_connect_header", "has no effect without a proxy"
    try:
        _read(config.proxy_url)
    except ValueError as error:
        yield "proxy_url", str(error)
    for name, values in config.proxy_connect_header.items():
        if not is_token(name):
            yield f"proxy_connect_header.{name}", f"expected the name of a header, got {quoted(name)}"
        if not all(map(is_value, values)):
            yield f"proxy_connect_header.{name}", "holds a line break or another character that no header can have"


def of_config(config: Proxied, env: Mapping[str, str]) -> Proxies | None:
    """The proxies that are set, None for none. What the environment has that is no URL of a proxy counts as none."""
    headers = tuple(
        f"{name}: {value}" if value else f"{name};"
        for name, values in config.proxy_connect_header.items()
        for value in values
    )
    if config.proxy_from_environment:
        return _of_environment(env, headers)
    proxy = _read(config.proxy_url)
    if proxy is None:
        return None
    proxy = msgspec.structs.replace(proxy, headers=headers)
    # As Go has it: whoever names exceptions means this machine too.
    return Proxies(
        by_scheme=dict.fromkeys(("http", "https"), proxy),
        exempt=_entries(config.no_proxy),
        loopback=not config.no_proxy,
    )


def secrets_of(proxies: Proxies | None) -> Iterator[str]:
    """What must not be shown of them, should a proxy repeat it."""
    for proxy in proxies.by_scheme.values() if proxies is not None else ():
        if proxy.user or proxy.password:
            yield from (proxy.password, basic_proof(proxy.user, proxy.password))


def _of_environment(env: Mapping[str, str], headers: tuple[str, ...]) -> Proxies:
    by_scheme = {}
    for scheme in ("http", "https"):
        name = f"{scheme}_proxy"
        try:
            proxy = _read(env.get(name.upper()) or env.get(name) or "")
        except ValueError:
            continue
        if proxy is not None:
            by_scheme[scheme] = msgspec.structs.replace(proxy, headers=headers)
    return Proxies(
        by_scheme=by_scheme, exempt=_entries(env.get("NO_PROXY") or env.get("no_proxy") or ""), loopback=False
    )


_PORTS = {"http": 80, "https": 443}


def _read(text: str) -> Proxy | None:
    """A proxy's URL, which is http unless it says otherwise; ValueError with a sentence that holds no password."""
    if not text:
        return None
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port
    except ValueError:
        raise ValueError(f"not the URL of a proxy: {shown(text)}") from None
    if parts.scheme not in _PORTS:
        raise ValueError(f"expected an http or https proxy, got {shown(text)}")
    return Proxy(
        scheme=parts.scheme,
        host=parse_name(parts.hostname or ""),
        port=port or _PORTS[parts.scheme],
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )


# ---------------------------------------------------------------- exceptions


def _entries(text: str) -> tuple[str, ...]:
    return tuple(entry.strip().lower() for entry in text.split(",") if entry.strip())


def _matches(entry: str, url: Url) -> bool:
    """Whether an exception is about a URL: a name with all below it, `.name` without itself, an address, a network."""
    if entry == "*":
        return True
    name, port = _without_port(entry)
    if port and port != str(url.port):
        return False
    if _address(url.host) is not None:
        return _holds(name, url.host)
    name = name.removeprefix("*")
    return url.host.endswith(name) if name.startswith(".") else url.host == name or url.host.endswith(f".{name}")


def _without_port(entry: str) -> tuple[str, str]:
    if entry.startswith("["):
        name, _, port = entry[1:].partition("]")
        return name, port.removeprefix(":")
    if entry.count(":") == 1:
        name, _, port = entry.partition(":")
        return name, port
    return entry, ""


def _holds(network: str, host: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
