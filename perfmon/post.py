"""Send JSON to somebody who may be slow, gone, or wrong: HTTP off the hot path, for receivers.

Blocking, for a thread that may wait. Whatever goes wrong becomes a PassingError or a PermanentError whose message names
the host and never a path, a header or a password: a webhook's path is often its secret.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec
import requests
import urllib3
import urllib3.exceptions
from requests.utils import get_auth_from_url, get_environ_proxies

from perfmon.errors import PassingError, PermanentError
from perfmon.secret import Secret, basic_proof, hidden, without
from perfmon.units import Duration

__all__ = ["BasicAuth", "Http", "Tls", "check", "check_url", "get", "origin", "post"]


class BasicAuth(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`Authorization: Basic`."""

    username: str
    password: str = ""


class Tls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to trust the other side, and how to be trusted; files are read at each request, so a renewed one is seen."""

    ca_file: str = ""  # "" = what the machine trusts
    cert_file: str = ""
    key_file: str = ""
    insecure_skip_verify: bool = False


class Http(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every receiver that speaks HTTP can be told. Proxies are taken from the environment, as curl takes them."""

    headers: dict[str, str] = {}
    basic_auth: BasicAuth | None = None
    bearer_token: str = ""
    tls_config: Tls = Tls()
    connect_timeout: Duration = 3.0
    timeout: Duration = 10.0  # the longest silence once the connection stands


def post(url: str, body: Any, http: Http) -> str:
    """POST `body` as JSON, and tell of a 2xx in words. Follows no redirect, reads no more than a first line.

    Raises PassingError for what may heal (no connection, a timeout, a 5xx, 408, 425, 429, a missing certificate file)
    and PermanentError for the rest: another 4xx, a redirect, an address that cannot be.
    """
    headers = {"Content-Type": "application/json"}
    return _exchange(requests.Request("POST", url, data=msgspec.json.encode(body), headers=headers), http)


def get(url: str, http: Http) -> str:
    """GET, and the same in all else."""
    return _exchange(requests.Request("GET", url), http)


def check_url(url: str, path: str) -> Iterable[tuple[str, str]]:
    """What is wrong with a receiver's address, as (path, message)."""
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    # An address may hold a secret, so it is not shown.
    if not fine:
        yield path, "expected an address that begins with http:// or https:// and names a host"
    elif "@" in parts.netloc:
        yield path, "holds a user or a password: give them as basic_auth, by reference"


def check(http: Http) -> Iterable[tuple[str, str]]:
    """What types cannot say of `http`, as (path, message)."""
    if http.basic_auth is not None and http.bearer_token:
        yield "bearer_token", "excludes basic_auth: one request has one Authorization header"
    if http.tls_config.key_file and not http.tls_config.cert_file:
        yield "tls_config.key_file", "needs cert_file: a key without its certificate proves nothing"
    for name, value in http.headers.items():
        if not _HEADER_NAME.fullmatch(name):
            yield f"headers.{name}", f"expected the name of a header, got {name!r}"
        if not _HEADER_VALUE.fullmatch(value):
            yield f"headers.{name}", "the value holds a line break or another character that no header can have"
    if not _HEADER_VALUE.fullmatch(http.bearer_token):
        yield "bearer_token", "holds a line break or another character that no header can have"
    for field in ("connect_timeout", "timeout"):
        if getattr(http, field) <= 0:
            yield field, f"expected more than 0 s, got {getattr(http, field):g}"


def origin(url: str) -> str:
    """`https://host:port` of a URL: what may be shown of it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


_EXCERPT_BYTES = 300
_LONGEST_RETRY_AFTER_S = 3600.0
_PASSING = frozenset({408, 425, 429})
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"(?:[!-~](?:[\t -~]*[!-~])?)?")


def _exchange(request: requests.Request, http: Http) -> str:
    url = request.url
    place = origin(url)
    try:
        with requests.Session() as session, _send(session, request, http) as response:
            return _judged(response, place, _secrets(url, http))
    except requests.exceptions.SSLError as error:
        raise PassingError(f"{place}: no trusted TLS connection: {_root(error)}") from None
    except requests.exceptions.ConnectTimeout:
        raise PassingError(f"{place}: no connection within {http.connect_timeout:g} s") from None
    except requests.exceptions.Timeout:
        raise PassingError(f"{place}: no answer within {http.timeout:g} s") from None
    except requests.exceptions.ConnectionError as error:
        raise PassingError(f"{place}: {_root(error)}") from None
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
        raise PermanentError(f"{place}: the request cannot be sent: {type(error).__name__}") from None
    except OSError as error:
        # A certificate file that is not there, said before connecting; one that is being renewed comes back.
        raise PassingError(f"{place}: {without(_secrets(url, http), str(error))}") from None


def _send(session: requests.Session, request: requests.Request, http: Http) -> requests.Response:
    # An auth that does nothing keeps requests from looking a password up in ~/.netrc.
    session.auth = (lambda request: request) if http.basic_auth is None else _basic(http.basic_auth)
    headers = {"User-Agent": "perfmon"} | http.headers | request.headers
    if http.bearer_token:
        headers["Authorization"] = f"Bearer {http.bearer_token}"
    tls = http.tls_config
    if tls.insecure_skip_verify:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # who set it knows
    certificate = (tls.cert_file, tls.key_file) if tls.key_file else tls.cert_file or None
    return session.request(
        request.method,
        request.url,
        data=request.data,
        headers=headers,
        timeout=(http.connect_timeout, http.timeout),
        allow_redirects=False,
        stream=True,
        verify=False if tls.insecure_skip_verify else tls.ca_file or True,
        cert=certificate,
    )


def _basic(auth: BasicAuth) -> requests.auth.HTTPBasicAuth:
    # requests writes a str as Latin-1; bytes let any password through, as UTF-8.
    return requests.auth.HTTPBasicAuth(auth.username.encode(), auth.password.encode())


def _judged(response: requests.Response, place: str, secrets: Sequence[str]) -> str:
    """What was answered, when that is fine."""
    status = response.status_code
    if 300 <= status < 400:
        raise PermanentError(f"{place}: answered {status}, a redirect, which is not followed: give the final address")
    fine = 200 <= status < 300
    # It was taken already: no words are waited for that may never come.
    said = "" if fine and not response.headers.get("Content-Length") else without(secrets, _excerpt(response))
    message = f"{place}: answered {status}{': ' if said else ''}{said}"
    if fine:
        return message
    if status >= 500 or status in _PASSING:
        raise PassingError(message, retry_after_s=_retry_after_s(response))
    raise PermanentError(message)


def _excerpt(response: requests.Response) -> str:
    """The first bytes of a body that have come by now: one read, so a dripping server holds nobody up."""
    try:
        data = response.raw.read1(_EXCERPT_BYTES)
    except (urllib3.exceptions.HTTPError, OSError):
        return ""  # the status says enough, the body is only a comment on it
    return " ".join(data[:_EXCERPT_BYTES].decode("utf-8", "replace").split())


def _retry_after_s(response: requests.Response) -> float | None:
    """Seconds or a date, RFC 9110 10.2.3; at most an hour, so a nonsense date cannot silence a pager."""
    text = response.headers.get("Retry-After", "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), _LONGEST_RETRY_AFTER_S)
    try:
        until = parsedate_to_datetime(text)
        # The server's own date is the best clock to hold its promise against.
        now = parsedate_to_datetime(response.headers["Date"])
    except (KeyError, ValueError):
        return None
    return min(max((_utc(until) - _utc(now)).total_seconds(), 0.0), _LONGEST_RETRY_AFTER_S)


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _root(error: BaseException) -> str:
    """The innermost reason, "connection refused": the outer texts of requests hold the whole URL."""
    while True:
        inner = error.__cause__ or error.__context__ or next((a for a in error.args if isinstance(a, Exception)), None)
        inner = getattr(error, "reason", None) if isinstance(getattr(error, "reason", None), Exception) else inner
        if inner is None:
            break
        error = inner
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text.lower()


def _secrets(url: str, http: Http) -> tuple[str, ...]:
    parts = urlsplit(url)
    texts = (parts.path, parts.query, http.bearer_token, *http.headers.values(), *_of_proxies(url))
    return hidden([http, *(Secret(text) for text in texts if len(text) > 1)])


def _of_proxies(url: str) -> Iterable[str]:
    """What the environment's proxies are told, and may repeat."""
    for proxy in get_environ_proxies(url).values():
        user, password = get_auth_from_url(proxy)
        if user or password:
            yield from (password, basic_proof(user, password))
