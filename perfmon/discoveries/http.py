"""Ask a URL for targets, in the form of Prometheus' `http_sd`."""

import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Annotated
from urllib.parse import urlsplit

import msgspec

import perfmon
from perfmon.clock import Clock
from perfmon.model import Failure
from perfmon.network import Network, credentials, tls
from perfmon.network.address import parse_url
from perfmon.network.credentials import Authorization, BasicAuth, OAuth2
from perfmon.network.exchange import Response
from perfmon.network.follow import Errand, first_leg, follow
from perfmon.network.tls import TlsConfig
from perfmon.secret import cut_out, without
from perfmon.target_groups import MAX_BYTES, Form, Listing, read
from perfmon.threads import in_thread
from perfmon.trace import Trace
from perfmon.units import Duration, FilePath, quoted

__all__ = ["Config", "check", "open", "refresh_s"]


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prometheus' `http_sd_config`. Messages show the URL's host and never its path, which may be a secret."""

    url: str
    refresh_interval: Annotated[Duration, msgspec.Meta(ge=1.0, le=86_400.0)] = 60.0
    timeout: Annotated[Duration, msgspec.Meta(ge=0.01, le=600.0)] = 10.0  # for the whole answer
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    basic_auth: BasicAuth | None = None
    bearer_token: str = ""
    bearer_token_file: FilePath = ""
    authorization: Authorization | None = None
    oauth2: OAuth2 | None = None
    follow_redirects: bool = True
    tls_config: TlsConfig = TlsConfig()


def check(config: Config) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express, as (path, message)."""
    yield from ((f"tls_config.{path}", message) for path, message in tls.check(config.tls_config))
    yield from credentials.check(config)
    if not _is_address(config.url):
        yield "url", "expected an address that begins with http:// or https:// and names a host"
    elif "@" in urlsplit(config.url).netloc:
        yield "url", "holds a user or a password: give them as basic_auth, by reference"
    for name, value in config.headers.items():
        if not _TOKEN.fullmatch(name):
            yield f"headers.{name}", f"expected the name of a header, got {quoted(name)}"
        if not _VALUE.fullmatch(value):  # it may be a secret, so it is not shown
            yield f"headers.{name}", "holds a line break or another character that no header can have"
    if not _VALUE.fullmatch(config.bearer_token):
        yield "bearer_token", "holds a line break or another character that no header can have"


def refresh_s(config: Config, interval_s: float) -> float:
    """Not more often than the targets are probed: they would not notice."""
    return max(config.refresh_interval, interval_s)


def open(config: Config, network: Network, clock: Clock) -> "_Finder":  # noqa: A001 - the contract's name
    """What asks the URL."""
    return _Finder(config, network, clock)


_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"(?:[!-~](?:[\t -~]*[!-~])?)?")


def _is_address(url: str) -> bool:
    try:
        parse_url(url)
    except ValueError:
        return False
    return "://" in url


class _Finder:
    def __init__(self, config: Config, network: Network, clock: Clock) -> None:
        self._config = config
        self._network = network
        self._clock = clock
        self._origin = _origin(config.url)
        self._last: tuple[bytes, Listing] | None = None

    async def find(self) -> Listing:
        response = await self._ask()
        if response.status != 200:
            raise LookupError(f"{self._origin}: answered {response.status}, expected 200")
        if self._last is None or self._last[0] != response.body:
            form: Form = "yaml" if "yaml" in dict(response.headers).get("content-type", "") else "json"
            try:
                # A long list takes a while to read, and probes shall not wait for it.
                listing = await in_thread(
                    partial(read, response.body, self._origin, form), name="perfmon-discovery-http"
                )
            except ValueError as error:
                raise LookupError(f"{self._origin}: {error}") from None
            self._last = (response.body, listing)
        return self._last[1]

    async def _ask(self) -> Response:
        deadline = self._clock.monotonic() + self._config.timeout
        trace = Trace(clock=self._clock, deadline=deadline, network=self._network)
        proof = await credentials.prove(self._config, parse_url(self._config.url), trace)
        if isinstance(proof, Failure):
            words = without(tuple(trace.hidden), proof.message)
            raise LookupError(f"{self._origin}: {words}")  # noqa: TRY004 - a failure is a value here
        errand = _errand(self._config, proof)
        leg = first_leg(errand, self._config.url, "")
        try:
            arrival = await follow(leg, errand, trace)
        finally:
            leg.hop.exchange.close()
        if arrival.failure is not None or arrival.response is None:
            said = arrival.failure.message if arrival.failure is not None else "no answer"
            raise LookupError(f"{self._origin}: {_secretless(said, self._config.url)}")
        return arrival.response


def _errand(config: Config, proof: str) -> Errand:
    own = {name: value for name, value in config.headers.items() if name.lower() != "host"}
    given = {name.lower() for name in own}
    ours = {name: value for name, value in _headers(config, proof).items() if value and name.lower() not in given}
    return Errand(
        method="GET",
        headers=ours | own,
        host_header=next((value for name, value in config.headers.items() if name.lower() == "host"), ""),
        body=None,
        tls=config.tls_config,
        decode="",
        keep_headers=True,
        keep_body_bytes=MAX_BYTES,
        body_limit_bytes=MAX_BYTES,
        prefer="ip6",
        fallback=True,
        follow=config.follow_redirects,
    )


def _headers(config: Config, proof: str) -> Mapping[str, str]:
    return {
        "User-Agent": f"perfmon/{perfmon.__version__}",
        "Accept": "application/json",
        "X-Prometheus-Refresh-Interval-Seconds": format(config.refresh_interval, "g"),
        "Authorization": proof,
    }


def _origin(url: str) -> str:
    """`https://host:port`: what may be shown of it."""
    parts = parse_url(url)
    return f"{parts.scheme}://{parts.authority}"


def _secretless(message: str, url: str) -> str:
    """A message of the transport; some quote the address."""
    path = urlsplit(url).path
    return cut_out(path, message) if len(path) > 1 else message
