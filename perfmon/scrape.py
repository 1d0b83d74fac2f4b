"""Fetch a page of metrics, for samplers: one GET in the calling thread, bounded in time and size."""

from collections.abc import Iterable
from typing import Annotated

import msgspec
import pycurl

import perfmon
from perfmon.network import credentials, tls
from perfmon.network.address import bracketed, objection, parse_url
from perfmon.network.credentials import Authorization, BasicAuth
from perfmon.network.curl_handle import Handle
from perfmon.network.exchange import Request, Response
from perfmon.network.header import is_token, is_value
from perfmon.network.own_files import Files, Unreadable
from perfmon.network.tls import TlsConfig
from perfmon.units import Bytes, Duration, FilePath, quoted

__all__ = ["Source", "check", "fetch", "origin"]


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the page is. Messages show the URL's host and never its path, which may be a secret."""

    url: str  # http://127.0.0.1:9101/metrics
    timeout: Annotated[Duration, msgspec.Meta(ge=0.01, le=60.0)] = 5.0  # for the whole answer
    body_limit: Annotated[Bytes, msgspec.Meta(ge=1, le=256 * 1024.0**2)] = 16 * 1024.0**2  # of what was unpacked
    headers: dict[str, str] = {}  # beside those that perfmon sends
    basic_auth: BasicAuth | None = None
    bearer_token: str = ""
    bearer_token_file: FilePath = ""
    authorization: Authorization | None = None
    tls_config: TlsConfig = TlsConfig()

    @property
    def oauth2(self) -> None:
        """A way to prove who asks that needs the event loop; not for samplers."""


def check(source: Source) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express, as (path, message)."""
    yield from ((f"tls_config.{path}", message) for path, message in tls.check(source.tls_config))
    yield from credentials.check(source)
    if objection(parse_url, source.url) or "://" not in source.url:
        yield "url", "expected an address that begins with http:// or https:// and names a host"
    elif "@" in source.url.partition("://")[2].partition("/")[0]:
        yield "url", "holds a user or a password: give them as basic_auth, by reference"
    for name, value in source.headers.items():
        if not is_token(name):
            yield f"headers.{name}", f"expected the name of a header, got {quoted(name)}"
        if not is_value(value):  # it may be a secret, so it is not shown
            yield f"headers.{name}", "holds a line break or another character that no header can have"


def fetch(source: Source) -> str:
    """The page; a plain LookupError says in words why there is none."""
    try:
        response = _get(source)
    except Unreadable as error:
        raise LookupError(str(error)) from None
    if response.error is not None:
        raise LookupError(f"{origin(source)}: {response.error.message}")
    if response.status != 200:
        raise LookupError(f"{origin(source)}: answered {response.status}, expected 200")
    return response.body.decode("utf-8", "replace")


def origin(source: Source) -> str:
    """`https://host:port`: what may be shown of it."""
    url = parse_url(source.url)
    return f"{url.scheme}://{url.authority}"


_TEXT = "text/plain;version=0.0.4;q=0.9,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1"


def _get(source: Source) -> Response:
    request = _request(source)
    handle = Handle(request, None)
    try:
        # libcurl looks the name up itself, since it can do so within the time that there is.
        handle.aim(request.name, source.timeout, (), ())
        try:
            handle.curl.perform()
            code, message = 0, ""
        except pycurl.error as error:
            code, message = error.args
        if code == pycurl.E_COULDNT_RESOLVE_HOST:
            raise LookupError(f"{origin(source)}: the name leads to no address")
        return handle.response(code, message)
    finally:
        handle.close()


def _request(source: Source) -> Request:
    url = parse_url(source.url)
    ours = {
        "User-Agent": f"perfmon/{perfmon.__version__}",
        "Accept": _TEXT,
        "X-Prometheus-Scrape-Timeout-Seconds": format(source.timeout, "g"),
        "Authorization": credentials.authorization(source, url, Files()),
    }
    given = {name.lower() for name in source.headers}
    headers = {name: value for name, value in ours.items() if value and name.lower() not in given} | source.headers
    return Request(
        url=f"{url.scheme}://{bracketed(url.host)}:{url.port}{url.path}",
        name=url.host,
        port=url.port,
        headers=tuple(f"{name}: {value}" if value else f"{name};" for name, value in headers.items()),
        tls=source.tls_config if url.scheme == "https" else None,
        decode="gzip",
        keep_body_bytes=int(source.body_limit),
        body_limit_bytes=source.body_limit,
    )
