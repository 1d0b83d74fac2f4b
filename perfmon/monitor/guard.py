"""Who may ask what of the web face: pure decisions, each answering with its objection in words, or "".

What they keep out: `/probe` fetches whatever it is told to, so it is a request forger in wrong hands; and
a browser on the operator's machine can be made to call loopback by any page it has open, directly
(cross-site requests) or under the name of that page's own host (DNS rebinding).
"""

import json
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.requests import HTTPConnection

__all__ = ["Network", "client_objection", "host_objection", "own_names", "reader_objection", "writer_objection"]

Network = IPv4Network | IPv6Network


def client_objection(client: str, allow: Sequence[Network], path: str = "/probe") -> str:
    """Against a client that is neither on this machine nor on the allow-list."""
    address = _address(client)
    if address is not None and (address.is_loopback or any(address in network for network in allow)):
        return ""
    return f"{path} is refused to {client}: add its network to web.probe_allow"


def host_objection(request: HTTPConnection, names: frozenset[str]) -> str:
    """Against a Host header that a rebound DNS name would send: a foreign name for a loopback address.

    An address literal is always fine, since no page can make it its own origin; so is no Host at all,
    since every browser sends one.
    """
    local = _address((request.scope.get("server") or ("", 0))[0])
    if local is None or not local.is_loopback:
        return ""
    host = _host_of(request.headers.get("host", ""))
    if not host or host in names or host.endswith(".localhost") or _address(host) is not None:
        return ""
    return f"host {json.dumps(host)} is not a name of this address; call it as localhost, or set web.external_url"


def reader_objection(request: HTTPConnection) -> str:
    """Against a request that a page of another site makes a browser send; only browsers send the header."""
    if request.headers.get("sec-fetch-site") == "cross-site":
        return "refused: a page of another site asked for it"
    return ""


def writer_objection(request: HTTPConnection) -> str:
    """Against a request that changes something and comes from a page that is not perfmon's own."""
    if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return "refused: a page of another origin asked for it"
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("host", ""):
        return f"refused: origin {json.dumps(origin)} is not this server"
    return ""


def own_names(listen: Sequence[str]) -> frozenset[str]:
    """Names this server goes by: localhost, the machine's, and those it was told to listen on."""
    return frozenset({"localhost", socket.gethostname().lower(), *(_host_of(address) for address in listen)} - {""})


def _host_of(address: str) -> str:
    """The host of `host`, `host:port` or `[host]:port`, in lower case."""
    if address.startswith("["):
        return address[1:].partition("]")[0].lower()
    return address.partition(":")[0].lower()


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """The address a text spells, an IPv4 one in its own form (`::ffff:10.0.0.1` is 10.0.0.1); None for a name."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
