"""Carry an HTTP request through its redirects: each hop resolved anew, phases summed, cookies kept, secrets not."""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Literal

import msgspec

from perfmon.model import Failure
from perfmon.network.address import Url, bracketed, parse_name, parse_url, shown
from perfmon.network.curl_log import HARMLESS
from perfmon.network.proxy import Proxies
from perfmon.network.reach import Hop, Policy, reach
from perfmon.network.resolve import Family
from perfmon.network.tls import TlsConfig
from perfmon.network.transfer import Exchange, Request, Response
from perfmon.trace import Trace

__all__ = ["MOST_REDIRECTS", "Arrival", "Errand", "Leg", "first_leg", "follow"]

MOST_REDIRECTS = 10  # as blackbox_exporter has it
_REDIRECTS = (301, 302, 303, 307, 308)
_SAME_METHOD = (307, 308)


class Errand(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What to ask for, wherever redirects lead."""

    method: str
    headers: Mapping[str, str]  # Authorization among them, Host not
    host_header: str  # "" = the URL's
    body: bytes | None
    tls: TlsConfig
    decode: str
    keep_headers: bool
    keep_body_bytes: int
    body_limit_bytes: float
    prefer: Family
    fallback: bool
    follow: bool
    most_redirects: int | None = None  # then one more is the answer; None = `MOST_REDIRECTS`, then it is a failure
    more_headers: tuple[tuple[str, str], ...] = ()  # beside those; a name may come twice
    body_stays: bool = False  # it is for the target alone: a redirect that would take it elsewhere is a failure
    policy: Policy = "first"
    versions: Literal["", "1.1", "3"] = ""  # "3" only over TLS
    proxies: Proxies | None = None
    skip_look_up: bool = False  # where there is a proxy


class Leg(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One hop of the way."""

    url: Url  # its host is the name: what SNI says and redirects are relative to
    hop: Hop  # its host is where to connect to
    host_header: str  # "" = the URL's
    method: str
    with_body: bool
    trusted: bool  # may hear the errand's secrets


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """Where it ended."""

    failure: Failure | None  # of the transport, or of too many redirects
    response: Response | None = None  # the last one; None when nobody was reached
    redirects: int = 0  # met, the one not followed included
    tls: bool = False  # the last response came over TLS
    cookies: Collection[bytes] = ()  # for the next errand


def first_leg(errand: Errand, address: str, hostname: str) -> Leg:
    """The way to `address`; `hostname` is what Host and SNI say when they differ. ValueError when it is no URL."""
    url = parse_url(address)
    vhost = parse_name(hostname) if hostname else ""
    name = vhost or url.host
    if url.scheme == "https" and errand.tls.server_name:
        name = parse_name(errand.tls.server_name)
    return _leg(
        errand,
        msgspec.structs.replace(url, host=name),
        host=url.host,
        host_header=errand.host_header or bracketed(vhost) or url.authority,
        method=errand.method,
        with_body=True,
        trusted=True,
    )


async def follow(
    leg: Leg, errand: Errand, trace: Trace, *, cookies: Collection[bytes] = (), secrets: Collection[str] = ()
) -> Arrival:
    """Go from `leg` to the end, or to where the errand says to stop; `cookies` are those of an errand before.

    `secrets` are headers of this run alone, as `Name: value`, for whoever may hear the errand's own.
    """
    later: list[Leg] = []  # made for this run alone
    try:
        return await _follow(leg, errand, trace, later, cookies=cookies, secrets=secrets)
    finally:
        for made in later:
            made.hop.exchange.close()


async def _follow(
    leg: Leg, errand: Errand, trace: Trace, later: list[Leg], *, cookies: Collection[bytes], secrets: Collection[str]
) -> Arrival:
    redirects = 0
    while True:
        response = await reach(leg.hop, trace, cookies=cookies, headers=secrets if leg.trusted else ())
        if isinstance(response, Failure):
            return Arrival(failure=response, redirects=redirects, cookies=cookies)
        tls = leg.url.scheme == "https" and response.status != 0
        cookies = response.cookies
        arrival = Arrival(failure=response.error, response=response, redirects=redirects, tls=tls, cookies=cookies)
        if response.status not in _REDIRECTS or not response.location or _broken(response):
            return arrival
        redirects += 1
        if not errand.follow or (errand.most_redirects is not None and redirects > errand.most_redirects):
            return msgspec.structs.replace(arrival, redirects=redirects)
        if errand.most_redirects is None and redirects > MOST_REDIRECTS:
            return msgspec.structs.replace(arrival, redirects=redirects, failure=_too_many(response))
        try:
            leg = _next_leg(leg, errand, response)
        except ValueError as error:
            failure = Failure(reason="unreachable", phase="", message=f"redirect leads nowhere: {error}")
            return msgspec.structs.replace(arrival, redirects=redirects, failure=failure)
        later.append(leg)
        trace.note("redirected", status=response.status, to=leg.url)


def _too_many(response: Response) -> Failure:
    message = f"still redirected after {MOST_REDIRECTS} redirects"
    evidence = {"status": str(response.status), "location": _shown(response.location)}
    return Failure(reason="status", phase="processing", message=message, evidence=evidence)


def _shown(location: str) -> str:
    """Without user and password, and its beginning alone: it may hold a megabyte."""
    return _USER.sub("//", location[:_LOCATION_SHOWN])


_LOCATION_SHOWN = 500
_USER = re.compile(r"//[^/\s]*@")


def _broken(response: Response) -> bool:
    """A redirect's own body matters to nobody, so it may be too long."""
    return response.error is not None and response.error.reason != "too_large"


def _next_leg(leg: Leg, errand: Errand, response: Response) -> Leg:
    if "://" not in response.location:  # `mailto:`, `javascript:`: libcurl makes every relative one absolute
        raise ValueError(f"expected an http or https URL, got {shown(response.location)}")
    url = parse_url(response.location)
    same_host = url.host == leg.url.host
    same_port = url.port == leg.url.port
    same_origin = same_host and same_port and url.scheme == leg.url.scheme
    same_method = response.status in _SAME_METHOD or leg.method in ("GET", "HEAD")
    with_body = leg.with_body and response.status in _SAME_METHOD
    encrypted = same_host and (leg.url.scheme, url.scheme) == ("http", "https")  # which is no other server
    if errand.body_stays and with_body and errand.body and not (same_origin or encrypted):
        raise ValueError(f"{bracketed(url.host)}:{url.port} is another server, and the body is not for it")
    return _leg(
        errand,
        url,
        host=leg.hop.host if same_host else url.host,
        host_header=leg.host_header if same_host and same_port else "",
        method=leg.method if same_method else "GET",
        with_body=with_body,
        trusted=leg.trusted and same_origin,
    )


def _leg(errand: Errand, url: Url, *, host: str, host_header: str, method: str, with_body: bool, trusted: bool) -> Leg:
    body = errand.body if with_body else None
    tls = errand.tls if url.scheme == "https" else None
    proxy = None if errand.proxies is None else errand.proxies.of(url)
    # The proxy's URL may name an address; the header says whose it is.
    host_line = _host_line(host_header, url) or (
        (f"Host: {url.authority}",) if proxy is not None and tls is None else ()
    )
    request = Request(
        url=f"{url.scheme}://{bracketed(url.host)}:{url.port}{url.path}",
        name=url.host,
        port=url.port,
        method=method,
        headers=tuple(_header_lines(errand, trusted=trusted, has_body=body is not None)) + host_line,
        body=body,
        tls=tls,
        decode=errand.decode,
        keep_headers=errand.keep_headers,
        keep_body_bytes=errand.keep_body_bytes,
        body_limit_bytes=errand.body_limit_bytes,
        versions="" if errand.versions == "3" and tls is None else errand.versions,
        proxy=proxy,
    )
    hop = Hop(
        host=host,
        exchange=Exchange(request),
        prefer=errand.prefer,
        fallback=errand.fallback,
        policy=errand.policy,
        skip_look_up=errand.skip_look_up,
    )
    return Leg(url=url, hop=hop, host_header=host_header, method=method, with_body=with_body, trusted=trusted)


def _header_lines(errand: Errand, *, trusted: bool, has_body: bool) -> Iterable[str]:
    """In libcurl's form: `Name: value`, `Name;` for an empty value, `Name:` against a header of libcurl's own."""
    for name, value in (*errand.headers.items(), *errand.more_headers):
        if trusted or name.lower() in HARMLESS:
            yield f"{name}: {value}" if value else f"{name};"
    if has_body:
        yield "Expect:"  # one answer, not two
        if "content-type" not in map(str.lower, errand.headers):
            yield "Content-Type:"


def _host_line(host_header: str, url: Url) -> tuple[str, ...]:
    return (f"Host: {host_header}",) if host_header not in ("", url.authority) else ()
