"""OAuth 2.0 client credentials (RFC 6749, section 4.4): a token for requests, kept until it expires.

The token is fetched within the deadline of the run that needs it. What goes wrong at the token's endpoint is the
failure `auth`, in the endpoint's own words. The time that it takes is not the target's, so it counts for no phase.
"""

import asyncio
import os
from collections.abc import Iterable, Mapping
from urllib.parse import quote_plus, urlencode

import msgspec

import perfmon
from perfmon.model import Failure, Target
from perfmon.network import proxy, tls
from perfmon.network.address import BadAddress, parse_url
from perfmon.network.exchange import Response
from perfmon.network.follow import Errand, Leg, first_leg, follow
from perfmon.network.header import is_value
from perfmon.network.own_files import Files, Unreadable, missing
from perfmon.network.tls import TlsConfig
from perfmon.secret import basic_proof
from perfmon.trace import Trace
from perfmon.units import FilePath

__all__ = ["OAuth2", "Token", "check", "forget", "token"]

_LARGEST_ANSWER_BYTES = 64 << 10
_EARLY_S = 10.0  # before its end a token counts as expired, as Go has it: the request takes its time too
_LONGEST_WORDS = 200


class OAuth2(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to get a token from, and as whom."""

    client_id: str
    client_secret: str = ""
    client_secret_file: FilePath = ""
    scopes: list[str] = []
    token_url: str
    endpoint_params: dict[str, str] = {}
    tls_config: TlsConfig = TlsConfig()
    proxy_url: str = ""
    no_proxy: str = ""
    proxy_from_environment: bool = False
    proxy_connect_header: dict[str, list[str]] = {}


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """What a request says for it."""

    text: str
    expires_at: float  # monotonic, inf = the endpoint did not say
    fetched_s: float  # what it took to get it, 0 when it was there


def check(config: OAuth2) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express, as (path, message)."""
    if not config.client_id:
        yield "client_id", "expected a text that is not empty"
    if config.client_secret and config.client_secret_file:
        yield "client_secret_file", "client_secret is there already"
    yield from missing({"client_secret_file": config.client_secret_file})
    try:
        parse_url(config.token_url)
    except BadAddress as error:
        yield "token_url", str(error)
    yield from ((f"tls_config.{path}", message) for path, message in tls.check(config.tls_config))
    yield from proxy.check(config)


async def token(config: OAuth2, trace: Trace) -> Token | Failure:
    """A token that is still good, from memory or from the endpoint."""
    source = trace.network.prepared.get(Target(probe=config.client_id, address=config.token_url), config, _source)
    found = source if isinstance(source, Failure) else await source.token(trace)
    if isinstance(found, Token):
        trace.hide(found.text.partition(" ")[2])  # also in a run that has not fetched it
    return found


def forget(config: OAuth2, trace: Trace) -> None:
    """Fetch a new token next time, since the target refused this one."""
    source = trace.network.prepared.get(Target(probe=config.client_id, address=config.token_url), config, _source)
    if isinstance(source, _Source):
        source.forget()


def _source(_target: Target, config: OAuth2) -> "_Source":
    return _Source(config)


class _Source:
    """One endpoint with its token. Runs that need one at the same time fetch it once."""

    def __init__(self, config: OAuth2) -> None:
        self._config = config
        self._kept: Token | None = None
        self._fetching = asyncio.Lock()
        self._in_body = False  # where the endpoint wants the secret; it is asked by header first

    def forget(self) -> None:
        """The token is no good."""
        self._kept = None

    async def token(self, trace: Trace) -> Token | Failure:
        """The kept one, or a new one."""
        kept = self._kept
        if kept is not None and trace.clock.monotonic() < kept.expires_at - _EARLY_S:
            return kept
        async with self._fetching:
            if self._kept is not None and self._kept is not kept:
                return self._kept  # somebody else has fetched it meanwhile
            began = trace.clock.monotonic()
            fetched = await self._fetch(trace)
            if isinstance(fetched, Failure):
                return fetched
            taken_s = trace.clock.monotonic() - began
            trace.note("token fetched", seconds=f"{taken_s:.6f}", url=parse_url(self._config.token_url))
            self._kept = msgspec.structs.replace(fetched, fetched_s=0.0)
            return msgspec.structs.replace(fetched, fetched_s=taken_s)

    async def _fetch(self, trace: Trace) -> Token | Failure:
        answer = await self._ask(trace, in_body=self._in_body)
        if not isinstance(answer, Failure) and answer.status in (400, 401) and not self._in_body:
            # RFC 6749, 2.3.1: the header is what every endpoint must know, yet some know the body only.
            second = await self._ask(trace, in_body=True)
            if not isinstance(second, Failure) and second.status == 200:
                self._in_body, answer = True, second
        return answer if isinstance(answer, Failure) else _read(answer, self._config, trace)

    async def _ask(self, trace: Trace, *, in_body: bool) -> Response | Failure:
        config, files = self._config, Files()
        try:
            secret = files.secret(config.client_secret_file) if config.client_secret_file else config.client_secret
        except Unreadable as error:
            return _failure(config, str(error))
        trace.hide(secret, _proof(config, secret))
        errand = _errand(config, secret, in_body=in_body)
        trace.hide(*proxy.secrets_of(errand.proxies))
        leg = first_leg(errand, config.token_url, "")
        try:
            return await _performed(config, leg, errand, trace)
        finally:
            leg.hop.exchange.close()


async def _performed(config: OAuth2, leg: Leg, errand: Errand, trace: Trace) -> Response | Failure:
    arrival = await follow(leg, errand, trace.aside())
    if arrival.failure is not None:
        return _failure(config, arrival.failure.message)
    assert arrival.response is not None, "who did not fail has an answer"
    return arrival.response


def _errand(config: OAuth2, secret: str, *, in_body: bool) -> Errand:
    form = {"grant_type": "client_credentials"} | ({"scope": " ".join(config.scopes)} if config.scopes else {})
    headers = {
        "User-Agent": f"perfmon/{perfmon.__version__}",
        "Content-Type": "application/x-www-form-urlencoded",
        "Accept": "application/json",
    }
    if in_body:
        form |= {"client_id": config.client_id, "client_secret": secret}
    else:
        headers["Authorization"] = f"Basic {_proof(config, secret)}"
    return Errand(
        method="POST",
        headers=headers,
        host_header="",
        body=urlencode(form | config.endpoint_params).encode(),
        tls=config.tls_config,
        decode="",
        keep_headers=False,
        keep_body_bytes=_LARGEST_ANSWER_BYTES,
        body_limit_bytes=_LARGEST_ANSWER_BYTES,
        prefer="ip6",
        fallback=True,
        follow=False,
        proxies=proxy.of_config(config, os.environ),
    )


def _proof(config: OAuth2, secret: str) -> str:
    return basic_proof(quote_plus(config.client_id), quote_plus(secret))


class _Answer(msgspec.Struct):
    """RFC 6749, 5.1 and 5.2; what some endpoints write as a text is a text here."""

    access_token: str = ""
    token_type: str = ""
    expires_in: float | str | None = None
    error: str = ""
    error_description: str = ""


def _read(response: Response, config: OAuth2, trace: Trace) -> Token | Failure:
    try:
        answer = msgspec.json.decode(response.body, type=_Answer)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        answer = _Answer()
    if response.status != 200 or not answer.access_token:
        said = ": ".join(words[:_LONGEST_WORDS] for words in (answer.error, answer.error_description) if words)
        return _failure(config, f"it answered {response.status} {said or 'without a token'}", status=response.status)
    kind = "Bearer" if answer.token_type.lower() in ("", "bearer") else answer.token_type
    text = f"{kind} {answer.access_token}"
    if not is_value(text):
        return _failure(config, "its token holds a character that no header can have")
    return Token(text=text, expires_at=trace.clock.monotonic() + _lifetime_s(answer.expires_in), fetched_s=0.0)


def _lifetime_s(said: float | str | None) -> float:
    try:
        seconds = float(said) if said is not None else float("inf")
    except ValueError:
        return float("inf")
    return seconds if seconds > 0 else float("inf")


def _failure(config: OAuth2, words: str, *, status: int = 0) -> Failure:
    evidence: Mapping[str, str] = {"token_status": str(status)} if status else {}
    message = f"no token from {parse_url(config.token_url)}: {words}"
    return Failure(reason="auth", phase="", message=message, evidence=evidence)
