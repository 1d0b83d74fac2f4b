"""Names to addresses: literals for nothing, /etc/hosts from memory, the rest by c-ares without a thread per look-up.

Files and DNS are asked, in this order; other sources that nsswitch.conf may name (mDNS, LDAP) are not.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

import aiodns
import msgspec
from pycares import errno as ares

from perfmon.clock import Clock
from perfmon.model import Failure, Reason
from perfmon.units import quoted

__all__ = ["Family", "ResolveFailed", "Resolved", "Resolver", "is_localhost"]

Family = Literal["ip4", "ip6"]

_OTHER: Mapping[Family, Family] = {"ip4": "ip6", "ip6": "ip4"}
_AF = {"ip4": socket.AF_INET, "ip6": socket.AF_INET6}
_SPOKEN = {"ip4": "IPv4", "ip6": "IPv6"}
_LOOPBACK = ("127.0.0.1", "::1")  # RFC 6761: localhost needs no file
_FRESH_S = 1.0  # how old an answer of DNS may be


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """The address to use for a name, and the others that it has."""

    address: str
    family: Family
    all_addresses: tuple[str, ...]
    seconds: float  # what the look-up took


class ResolveFailed(Exception):
    """A name that leads nowhere; `seconds` is what it took to know."""

    def __init__(self, failure: Failure, seconds: float) -> None:
        self.failure = failure
        self.seconds = seconds
        super().__init__(failure.message)


class Resolver:
    """Looks names up, each time anew: an answer of DNS is a second old at most, whatever its time to live.

    c-ares keeps answers for their time to live, up to an hour, and pycares cannot tell it not to: a probe would see
    a broken name server an hour late. So c-ares itself is made anew each second that a name needs it (200 us).
    """

    def __init__(
        self,
        *,
        clock: Clock,
        servers: Sequence[str] = (),
        hosts_file: str = "/etc/hosts",
        private: bool = False,
    ) -> None:
        """`servers` are `host:port`, none for those of resolv.conf; with `private`, public addresses count for none."""
        self._clock = clock
        self._private = private
        self._servers = tuple(servers)  # "127.0.0.1:53"; none = those of resolv.conf
        self._hosts_file = Path(hosts_file)
        self._dns: _Dns | None = None  # from the first name that needs it

    async def close(self) -> None:
        """Stop c-ares; call it in the loop that resolved."""
        if self._dns is not None:
            await self._dns.resolver.close()
            self._dns = None

    async def resolve(self, host: str, *, prefer: Family, fallback: bool, deadline: float) -> Resolved:
        """The first address of the preferred family, or of the other one where `fallback` allows it.

        A preferred address that this machine has no route to counts as missing, so that IPv6 may be preferred on a
        machine that has none. Raises ResolveFailed, at `deadline` (monotonic) at the latest.
        """
        resolved = await self._resolve(host, prefer=prefer, fallback=fallback, deadline=deadline)
        if self._private and any(map(_is_public, resolved.all_addresses)):
            public = next(filter(_is_public, resolved.all_addresses))
            which = f"{quoted(host)} is {public}, which" if host != public else public
            message = f"{which} is a public address, and none may be reached here"
            raise ResolveFailed(Failure(reason="permission", phase="resolve", message=message), resolved.seconds)
        return resolved

    async def _resolve(self, host: str, *, prefer: Family, fallback: bool, deadline: float) -> Resolved:
        literal = _literal(host)
        if literal is not None and (fallback or literal.family == prefer) and "%" not in host:
            return literal
        began = self._clock.monotonic()
        try:
            _check_zone(host)
            addresses = literal.all_addresses if literal else await self._addresses(host, deadline)
            address = _choose(host, addresses, prefer, fallback=fallback)
        except _NoAddress as error:
            failure = Failure(reason=error.reason, phase="resolve", message=str(error))
            raise ResolveFailed(failure, self._clock.monotonic() - began) from None
        return Resolved(
            address=address,
            family=_family(address),
            all_addresses=addresses,
            seconds=self._clock.monotonic() - began,
        )

    async def _addresses(self, host: str, deadline: float) -> tuple[str, ...]:
        name = host.lower().removesuffix(".")
        found = self._hosts().get(name)
        if found:
            return found
        if is_localhost(name):
            return _LOOPBACK
        return await self._ask(name, deadline)

    def _hosts(self) -> Mapping[str, tuple[str, ...]]:
        try:
            modified_ns = self._hosts_file.stat().st_mtime_ns
        except OSError:
            return {}  # a machine may well have no such file
        return _read_hosts(self._hosts_file, modified_ns)

    async def _ask(self, name: str, deadline: float) -> tuple[str, ...]:
        dns = await self._fresh_dns()
        dns.asking += 1
        try:
            async with asyncio.timeout(max(0.0, deadline - self._clock.monotonic())):
                answer = await dns.resolver.getaddrinfo(name, family=socket.AF_UNSPEC, type=socket.SOCK_STREAM)
        except TimeoutError:
            raise _NoAddress("dns_timeout", f'look-up of "{name}" was not over in time') from None
        except aiodns.error.DNSError as error:
            raise _dns_error(name, error) from None
        finally:
            dns.asking -= 1
            await self._close_if_old(dns)
        return tuple(dict.fromkeys(node.addr[0].decode() for node in answer.nodes))

    async def _fresh_dns(self) -> "_Dns":
        old, now = self._dns, self._clock.monotonic()
        if old is not None and now - old.since < _FRESH_S:
            return old
        # lookups="b": DNS only, the hosts file is ours, and c-ares would answer "localhost" by itself.
        resolver = aiodns.DNSResolver(nameservers=self._servers or None, lookups="b")
        self._dns = _Dns(resolver=resolver, since=now)
        if old is not None:
            await self._close_if_old(old)
        return self._dns

    async def _close_if_old(self, dns: "_Dns") -> None:
        if dns is not self._dns and not dns.asking:
            await dns.resolver.close()


class _Dns(msgspec.Struct):
    """One life of c-ares."""

    resolver: aiodns.DNSResolver
    since: float
    asking: int = 0


def is_localhost(host: str) -> bool:
    """Whether a name means this machine, whatever any file or server says."""
    name = host.lower().removesuffix(".")
    return name == "localhost" or name.endswith(".localhost")


class _NoAddress(Exception):
    def __init__(self, reason: Reason, message: str) -> None:
        self.reason: Reason = reason
        super().__init__(message)


def _choose(host: str, addresses: Sequence[str], prefer: Family, *, fallback: bool) -> str:
    preferred = [address for address in addresses if _family(address) == prefer]
    others = [address for address in addresses if _family(address) != prefer]
    if not fallback:
        if not preferred:
            raise _NoAddress("dns_nxdomain", f'"{host}" has no {_SPOKEN[prefer]} address')
        return preferred[0]
    if preferred and (not others or _has_route(preferred[0], prefer)):
        return preferred[0]
    if not others:
        raise _NoAddress("dns_nxdomain", f'"{host}" has no address')
    return others[0]


def _has_route(address: str, family: Family) -> bool:
    """Whether the kernel would know where to send; a UDP socket is connected without a packet."""
    try:
        with socket.socket(_AF[family], socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
    except OSError:
        return False
    return True


def _check_zone(host: str) -> None:
    """Nobody else says that a link-local address names no link of ours: libcurl tries until its time is over."""
    zone = host.partition("%")[2]
    if not zone or _literal(host) is None:
        return
    known = {str(part) for link in socket.if_nameindex() for part in link}  # a number does as well
    if zone not in known:
        raise _NoAddress("unreachable", f"no network interface {quoted(zone)} on this machine")


@lru_cache(maxsize=4096)
def _is_public(address: str) -> bool:
    """Whether it is a machine of the Internet: neither this one, nor of a private or link-local network."""
    return not ipaddress.ip_address(address.partition("%")[0]).is_private


def _family(address: str) -> Family:
    return "ip6" if ":" in address else "ip4"


@lru_cache(maxsize=65_536)
def _literal(host: str) -> Resolved | None:
    try:
        address = str(ipaddress.ip_address(host))
    except ValueError:
        return None
    return Resolved(address=address, family=_family(address), all_addresses=(address,), seconds=0.0)


@lru_cache(maxsize=2)
def _read_hosts(path: Path, _modified_ns: int) -> Mapping[str, tuple[str, ...]]:
    """Names in lower case to their addresses, in the file's order; read again when the file changed."""
    hosts: dict[str, tuple[str, ...]] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        if _literal(address) is not None:
            for name in names:
                hosts[name.lower()] = (*hosts.get(name.lower(), ()), address)
    return hosts


def _dns_error(name: str, error: aiodns.error.DNSError) -> _NoAddress:
    code = error.args[0] if error.args else ares.ARES_ESERVFAIL
    match code:
        case ares.ARES_ENOTFOUND:
            return _NoAddress("dns_nxdomain", f'no such name: "{name}"')
        case ares.ARES_ENODATA:
            return _NoAddress("dns_nxdomain", f'"{name}" has no address')
        case ares.ARES_EBADNAME:
            return _NoAddress("dns_nxdomain", f'"{name}" cannot be a name')
        case ares.ARES_ETIMEOUT:
            return _NoAddress("dns_timeout", f'no name server answered for "{name}"')
        case _:
            return _NoAddress("dns_servfail", f'look-up of "{name}" failed: {_said(code)}')


def _said(code: int) -> str:
    text = ares.strerror(code)
    return (text.decode() if isinstance(text, bytes) else text).lower()
