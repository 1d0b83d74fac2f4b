"""A request written with variables: its mistakes, and what it comes to once the variables are known.

No variable says which host is asked, but the target; a URL that a server gave leads to the target or nowhere.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import urlencode, urljoin

import msgspec

from perfmon import kinds
from perfmon import template as templates
from perfmon.network.address import BadAddress, Url, bracketed, objection, parse_url
from perfmon.network.header import is_token, is_value
from perfmon.template import Template, Values, in_url, text_of
from perfmon.units import quoted

__all__ = ["TARGET", "Draft", "Filled", "Request", "Unfit", "base_url", "check", "fill", "is_at", "read"]

TARGET = "target"
"""The variable that every request has."""


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to ask for. Every text may have variables, but not the method and the names of headers and fields."""

    url: str  # Where: `{{target}}/login`, or `/login` for short.
    method: str = ""  # The method. Without it, GET, and POST where there is something to send.
    headers: dict[str, str] = {}  # Headers of the request; `Host` included.
    json: Any = None  # What to send as JSON, written as YAML.
    form: dict[str, str] = {}  # What to send as the fields of a form.
    body: str = ""  # What to send as it is written.
    follow_redirects: bool = True  # Whether to follow redirects, ten at most.


class Draft(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A request, read."""

    url: Template
    method: str
    headers: Mapping[str, Template]
    json: Any  # with templates; None = none
    form: Mapping[str, Template]
    body: Template

    @property
    def names(self) -> set[str]:
        """The variables that it needs."""
        documents = (self.url, self.headers, self.json, self.form, self.body)
        return {name for document in documents for name in templates.names_in_json(document)}


class Filled(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to send."""

    url: Url
    headers: Mapping[str, str]  # as written; nothing of perfmon's own
    body: bytes | None
    content_type: str  # of `body`, "" where nobody knows


class Unfit(ValueError):
    """A value that cannot stand where it is to stand."""


# ---------------------------------------------------------------- as written


def check(request: Request, known: Collection[str]) -> Iterator[tuple[str, str]]:
    """Mistakes that types cannot express, as (path, message); `known` are the variables there may be."""
    if request.method and not is_token(request.method):
        yield "method", f"expected a method such as GET, got {quoted(request.method)}"
    if sum((request.json is not None, bool(request.form), bool(request.body))) > 1:
        yield "body", "at most one of json, form and body may be given"
    for name in request.headers:
        if not is_token(name):
            yield f"headers.{name}", f"expected the name of a header, got {quoted(name)}"
    for path, document in _documents(request):
        yield from ((path, message) for message in _bad_document(path, document, known))


def read(request: Request) -> Draft:
    """The draft of a request that `check` has let pass."""
    sends = request.json is not None or request.form or request.body
    return Draft(
        url=templates.parse(request.url),
        method=request.method or ("POST" if sends else "GET"),
        headers=templates.parse_json(request.headers),
        json=templates.parse_json(request.json),
        form=templates.parse_json(request.form),
        body=templates.parse(request.body),
    )


def _documents(request: Request) -> Iterator[tuple[str, Any]]:
    """All that may have variables, with its path."""
    yield "url", request.url
    yield from ((f"headers.{name}", value) for name, value in request.headers.items())
    yield "json", request.json
    yield from ((f"form.{name}", value) for name, value in request.form.items())
    yield "body", request.body


def _bad_document(path: str, document: Any, known: Collection[str]) -> Iterator[str]:
    try:
        parsed = templates.parse_json(document)
    except ValueError as error:
        yield str(error)
        return
    names = list(templates.names_in_json(parsed))
    for name in names:
        if name not in known:
            yield kinds.unknown(name, sorted(known), "variable")
    if path == "url" and (message := _bad_url(parsed)):
        yield message
    if path.startswith("headers.") and not names and not is_value(document):  # it may be a secret, so it is not shown
        yield "holds a line break or another character that no header can have"


def _bad_url(url: Template) -> str:
    first = url.texts[0]
    if url.alone or first.startswith("/"):
        return ""
    if not first and url.names[:1] == (TARGET,):
        return "" if url.texts[1].startswith(("/", "?")) else "expected a / or ? behind {{target}}"
    if not first.startswith(("http://", "https://")):
        return "expected {{target}}/path, /path, a URL with its host, or a variable alone"
    if url.names and not any(sign in first.partition("://")[2] for sign in "/?"):
        return "expected no variable in the URL's host"
    return objection(parse_url, first) or ""


# ---------------------------------------------------------------- as sent


def base_url(address: str) -> Url:
    """The target without the slash at its end; BadAddress when no path can be put behind it."""
    url = parse_url(address)
    if "?" in url.path:
        raise BadAddress("expected a URL without a query, since paths are put behind it")
    return msgspec.structs.replace(url, path=url.path.rstrip("/"))


def fill(draft: Draft, values: Values, base: Url) -> Filled:
    """The request with these variables; BadAddress or Unfit when one of them does not fit."""
    body, content_type = _body(draft, values)
    return Filled(
        url=_url(draft.url, values, base),
        headers={name: _header(name, value.fill(values)) for name, value in draft.headers.items()},
        body=body,
        content_type=content_type,
    )


def is_at(url: Url, base: Url) -> bool:
    """Whether a URL leads to the server of another."""
    return (url.scheme, url.host, url.port) == (base.scheme, base.host, base.port)


def _url(url: Template, values: Values, base: Url) -> Url:
    if url.names[:1] == (TARGET,) and not url.texts[0]:
        return parse_url(f"{base}{url.after_first().fill(values, in_url)}")
    if url.alone:
        return _led_to(url.alone, text_of(values[url.alone]), base)
    origin = f"{base.scheme}://{base.authority}" if url.texts[0].startswith("/") else ""
    return parse_url(origin + url.fill(values, in_url))


def _led_to(name: str, location: str, base: Url) -> Url:
    """Where a server says to go. What is sent there may be secret, so it must be the target."""
    try:
        there = parse_url(urljoin(f"{base}/", location))
    except ValueError:
        raise BadAddress(f"{name} is no URL that could be followed") from None
    if not is_at(there, base):
        raise BadAddress(f"{name} leads to another server, {bracketed(there.host)}:{there.port}")
    return there


def _header(name: str, value: str) -> str:
    if not is_value(value):  # it may be a secret, so it is not shown
        raise Unfit(f"what is to be sent as header {name} holds a character that no header can have")
    return value


def _body(draft: Draft, values: Values) -> tuple[bytes | None, str]:
    """What to send, and its type."""
    if draft.json is not None:
        return msgspec.json.encode(templates.fill_json(draft.json, values)), "application/json"
    if draft.form:
        fields = {name: value.fill(values) for name, value in draft.form.items()}
        return urlencode(fields, errors="replace").encode(), "application/x-www-form-urlencoded"
    body = draft.body.fill(values).encode(errors="replace")
    return (body if body or draft.method in ("POST", "PUT", "PATCH") else None), ""
