"""One hop of a probe: resolve the name, connect, transfer, and write into the trace what it took and what was seen."""

import ipaddress
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Literal

import msgspec

from perfmon.model import Failure, Reason
from perfmon.network.address import bracketed
from perfmon.network.resolve import Family, Resolved, ResolveFailed, is_localhost
from perfmon.network.tls import TlsConfig, trust_file, version_key
from perfmon.network.transfer import Exchange, Request, Response
from perfmon.steps import Exchange as ExchangeSeen
from perfmon.steps import LookUp
from perfmon.trace import Trace

__all__ = ["WORTH_A_LOOK_S", "Hop", "Policy", "addresses_to_try", "look_up", "reach", "tell_certificates"]

_REFUSED: tuple[Reason, ...] = ("tls_expired", "tls_name_mismatch", "tls_untrusted")
WORTH_A_LOOK_S = 0.001  # libcurl's time-out in milliseconds cannot be 0


Policy = Literal["first", "any"]
"""Of a name's addresses: the first one decides, or any that can be connected to will do."""


class Hop(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Where to go and what to do there."""

    host: str  # the name to look up, or an address
    exchange: Exchange
    prefer: Family
    fallback: bool
    policy: Policy = "first"
    skip_look_up: bool = False  # leave the name to the proxy


async def reach(
    hop: Hop, trace: Trace, *, cookies: Collection[bytes] = (), headers: Collection[str] = ()
) -> Response | Failure:
    """The response, which may hold an error; a failure alone when there was nobody to ask."""
    proxy = hop.exchange.request.proxy
    resolved: Resolved | Failure | None = None
    if proxy is None or not hop.skip_look_up:
        resolved = await look_up(hop.host, trace, prefer=hop.prefer, fallback=hop.fallback)
    if isinstance(resolved, Failure):
        return resolved
    via = "" if proxy is None else await _look_up_proxy(proxy.host, hop, trace)
    if isinstance(via, Failure):
        return via
    response, address = await _perform(hop, trace, resolved, cookies, headers, via=via)
    tls = hop.exchange.request.tls
    return response if tls is None else await _with_certificates(response, hop, trace, tls, address, via=via)


async def _look_up_proxy(host: str, hop: Hop, trace: Trace) -> str | Failure:
    """The proxy's address; the time it takes counts, but it is no fact of the target's."""
    try:
        resolved = await trace.network.resolver.resolve(
            host, prefer=hop.prefer, fallback=hop.fallback, deadline=trace.deadline
        )
    except ResolveFailed as error:
        trace.add("resolve", error.seconds)
        return msgspec.structs.replace(error.failure, message=f"proxy: {error.failure.message}")
    trace.add("resolve", resolved.seconds)
    return resolved.address


async def look_up(host: str, trace: Trace, *, prefer: Family, fallback: bool) -> Resolved | Failure:
    """The addresses of a name, with the phase and the facts of the look-up in the trace."""
    try:
        resolved = await trace.network.resolver.resolve(host, prefer=prefer, fallback=fallback, deadline=trace.deadline)
    except ResolveFailed as error:
        _write_look_up(trace, error.seconds, "", 0.0, 0.0)
        trace.tell(LookUp(host=host, addresses=(), used="", error=error.failure.message))
        return error.failure
    _write_look_up(trace, resolved.seconds, resolved.address, *_address_facts(resolved.address))
    if trace.steps is not None and resolved.address != host:
        trace.tell(LookUp(host=host, addresses=resolved.all_addresses, used=resolved.address))
    return resolved


def addresses_to_try(host: str, resolved: Resolved, *, fallback: bool, policy: Policy = "first") -> Sequence[str]:
    """The first address decides, unless any will do; only localhost is the same machine at each of its addresses."""
    others = [address for address in resolved.all_addresses if address != resolved.address]
    if policy == "any":
        same = [address for address in others if (":" in address) == (":" in resolved.address)]
        return (resolved.address, *same, *([other for other in others if other not in same] if fallback else ()))
    return (resolved.address, *others) if fallback and is_localhost(host) else (resolved.address,)


def _write_look_up(trace: Trace, seconds: float, address: str, protocol: float, address_hash: float) -> None:
    """The phase of each hop, but the facts of the first one, as blackbox_exporter has it."""
    trace.add("resolve", seconds)
    if "probe_ip_protocol" not in trace.facts:
        trace.address = address
        trace.facts["probe_dns_lookup_time_seconds"] = seconds
        trace.facts["probe_ip_protocol"] = protocol
        trace.facts["probe_ip_addr_hash"] = address_hash


async def _perform(
    hop: Hop, trace: Trace, resolved: Resolved | None, cookies: Collection[bytes], headers: Collection[str], *, via: str
) -> tuple[Response, str]:
    addresses: Sequence[str] = ("",)
    if resolved is not None:
        addresses = addresses_to_try(hop.host, resolved, fallback=hop.fallback, policy=hop.policy)
    for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
        hearer = None if trace.lines is None else _Hearer(hop, address, trace)
        response = await trace.network.transfer.perform(
            hop.exchange,
            address=address,
            timeout_s=trace.remaining() / (left if hop.policy == "any" else 1),  # one that is silent leaves time
            proxy_address=via,
            cookies=cookies,
            headers=headers,
            note=hearer,
            on_cut=trace.cut,
        )
        trace.add_all(response.phases)
        trace.resent += response.resent
        if hearer is not None:
            hearer.tell(response.error)
        if not _worth_another(response, hop.policy):
            break
    if resolved is not None and address != resolved.address and trace.address == resolved.address:
        trace.address = address
        trace.facts["probe_ip_protocol"], trace.facts["probe_ip_addr_hash"] = _address_facts(address)
    return response, address


def _worth_another(response: Response, policy: Policy) -> bool:
    """Whether nobody was there. A server that answers, however badly, decides."""
    reason = None if response.error is None else response.error.reason
    return reason == "connect_refused" or (policy == "any" and reason in ("connect_timeout", "unreachable"))


class _Hearer:
    """Takes down what libcurl says of one exchange; the headers of both sides become a step of the explanation."""

    def __init__(self, hop: Hop, address: str, trace: Trace) -> None:
        self._trace = trace
        self._url = "" if hop.exchange.request.connect_only else hop.exchange.request.url
        self._address = f"{bracketed(address or hop.host)}:{hop.exchange.request.port}"
        self._sent: list[str] = []
        self._received: list[str] = []
        trace.note("connecting", address=address, host=hop.host, url=hop.exchange.request.url)

    def __call__(self, line: str) -> None:
        self._trace.note(line)
        lines = {"> ": self._sent, "< ": self._received}.get(line[:2])
        if lines is not None and len(lines) < _MOST_HEADERS:
            lines.append(line[2 : 2 + _LONGEST_HEADER])

    def tell(self, error: Failure | None) -> None:
        self._trace.tell(
            ExchangeSeen(
                url=self._url,
                address=self._address,
                sent=tuple(self._sent),
                received=tuple(self._received),
                error="" if error is None or (self._received and error.reason == "internal") else error.message,
            )
        )


_MOST_HEADERS, _LONGEST_HEADER = 100, 1_000


@lru_cache(maxsize=65_536)
def _address_facts(address: str) -> tuple[float, float]:
    """4 or 6, and the FNV-1a hash of the address's bytes, both as blackbox_exporter exports them."""
    parsed = ipaddress.ip_address(address)
    hashed = 0x811C9DC5
    for byte in parsed.packed:
        hashed = (hashed ^ byte) * 0x01000193 & 0xFFFFFFFF
    return float(parsed.version), float(hashed)


# ---------------------------------------------------------------- certificates


async def _with_certificates(
    response: Response, hop: Hop, trace: Trace, tls: TlsConfig, address: str, *, via: str
) -> Response:
    """Write the facts of the handshake, also of one refused for its certificates, and say what is wrong with them."""
    if response.tls_version:
        trace.facts[version_key(response.tls_version)] = 1.0
    refused = response.error if response.error and response.error.reason in _REFUSED else None
    pems = response.certificates
    if refused and not pems:
        pems = await _look(hop.exchange.request, tls, trace, address, via)
    if not pems:
        return response
    told = tell_certificates(
        trace,
        pems,
        tls,
        refused,
        peer=f"{bracketed(hop.host)}:{hop.exchange.request.port}",
        name=hop.exchange.request.name,
    )
    return msgspec.structs.replace(response, error=told) if refused else response


def tell_certificates(
    trace: Trace, pems: tuple[str, ...], tls: TlsConfig, refused: Failure | None, *, peer: str, name: str
) -> Failure | None:
    """Write the facts of a chain into the trace; `refused` in the chain's own words, None where it was not refused."""
    from perfmon.network.certificates import describe, explain, read_chain  # noqa: PLC0415 - heavy, only TLS needs it

    if trace.steps is not None:
        for certificate in describe(pems):
            trace.tell(certificate)
    verified = not refused and not tls.insecure_skip_verify
    chain = read_chain(pems, (tls.ca_file or trust_file()) if verified else "")
    if chain is None:
        return refused
    trace.facts.update(chain.facts)
    return explain(refused, chain.leaf, peer=peer, name=name, wall=trace.clock.wall()) if refused else None


async def _look(request: Request, tls: TlsConfig, trace: Trace, address: str, via: str) -> tuple[str, ...]:
    """The certificates of a server that OpenSSL hung up on, by a handshake that believes everything.

    It takes place within the deadline and counts for no phase.
    """
    if trace.remaining() < WORTH_A_LOOK_S:
        return ()
    believing = msgspec.structs.replace(tls, insecure_skip_verify=True)
    url = f"https://{bracketed(request.name)}:{request.port}/"
    look = Exchange(
        Request(url=url, name=request.name, port=request.port, tls=believing, connect_only=True, proxy=request.proxy)
    )
    try:
        response = await trace.network.transfer.perform(
            look, address=address, timeout_s=trace.remaining(), proxy_address=via
        )
    finally:
        look.close()
    return response.certificates
