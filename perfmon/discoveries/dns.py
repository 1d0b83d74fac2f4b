"""Ask DNS for targets: every address of a name, or the hosts and ports that its SRV records name."""

import re
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from perfmon.clock import Clock
from perfmon.model import Failure
from perfmon.network import Network
from perfmon.network.address import bracketed, parse_name, parse_service
from perfmon.network.dns_ask import ask_stream, ask_udp
from perfmon.network.dns_message import MalformedAnswer, Query, build_query, rcode, read_answer, was_cut
from perfmon.network.stream import Route
from perfmon.network.tls import TlsConfig
from perfmon.target_groups import Found, Listing
from perfmon.trace import Trace
from perfmon.units import Duration, quoted

__all__ = ["Config", "check", "open", "refresh_s"]

_RESOLV_CONF = "/etc/resolv.conf"
_SERVERS_AT_MOST = 3  # as the C library has it
_NXDOMAIN = rcode("NXDOMAIN")


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prometheus' `dns_sd_config` for one name, and what the target of each record looks like."""

    name: str  # looked up as it is, without the machine's search domains
    type: Literal["A", "AAAA", "SRV"]
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] | None = None  # of A and AAAA, which name none
    url: str = ""  # with {{host}} and {{port}}; "" = host:port, or the host alone where there is no port
    server: str = ""  # "127.0.0.1:5353"; "" = those of resolv.conf
    refresh_interval: Annotated[Duration, msgspec.Meta(ge=1.0, le=86_400.0)] = 30.0
    timeout: Annotated[Duration, msgspec.Meta(ge=0.01, le=600.0)] = 5.0  # for each name server


def check(config: Config) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express, as (path, message)."""
    try:
        _query(config)
    except ValueError as error:
        yield "name", f"{quoted(config.name)}: {error}"
    if config.server and not _server(config.server):
        yield "server", f"expected an address such as 127.0.0.1:53 or [::1]:53, got {quoted(config.server)}"
    if config.type == "SRV" and config.port is not None:
        yield "port", "has no effect, since SRV records name the port"
    yield from (("url", message) for message in _url_mistakes(config))


def refresh_s(config: Config, interval_s: float) -> float:
    """Not more often than the targets are probed: they would not notice."""
    return max(config.refresh_interval, interval_s)


def open(config: Config, network: Network, clock: Clock) -> "_Finder":  # noqa: A001 - the contract's name
    """What asks for the name."""
    return _Finder(config, network, clock)


_PLACE = re.compile(r"\{\{ *(\w*) *\}\}")


def _url_mistakes(config: Config) -> Iterator[str]:
    places = _PLACE.findall(config.url)
    for place in places:
        if place not in ("host", "port"):
            yield f"expected {{{{host}}}} or {{{{port}}}}, got {quoted(place)}"
    if config.url and "host" not in places:
        yield "expected {{host}} in it: every address would make the same target"
    if "port" in places and config.type != "SRV" and config.port is None:
        yield f"has {{{{port}}}}, and a record of type {config.type} names none: set port"


def _server(text: str) -> tuple[str, int] | None:
    """Address and port of a name server; None when it is no address."""
    try:
        bare = text if text.count(":") < 2 or text.startswith("[") else f"[{text}]"
        host, port, path = parse_service(bare, 53)
        ip_address(host)
    except ValueError:
        return None
    return None if path else (host, port)


def _query(config: Config) -> Query:
    return build_query(config.name, config.type, "IN", recursion=True)


class _Finder:
    def __init__(self, config: Config, network: Network, clock: Clock) -> None:
        self._config = config
        self._network = network
        self._clock = clock
        self._query = _query(config)

    async def find(self) -> Listing:
        told = ""
        for server in self._servers():
            answer = await self._ask(*server)
            if not isinstance(answer, str):
                return Listing(found=tuple(_found(self._config, answer)))
            told = answer
        raise LookupError(f"{self._config.type} of {quoted(self._config.name)}: {told or 'no name server is known'}")

    def _servers(self) -> list[tuple[str, int]]:
        texts = [self._config.server] if self._config.server else _resolv_conf()
        named = [_server(text) for text in texts]
        return [server for server in named if server is not None]

    async def _ask(self, address: str, port: int) -> list[str] | str:
        """The data of the records, or why they are not known. That the name does not exist is an answer: none."""
        trace = Trace(clock=self._clock, deadline=self._clock.monotonic() + self._config.timeout, network=self._network)
        route = Route(host=address, port=port, name="", tls=TlsConfig())
        wire = await ask_udp(self._query, route, address, trace, attempts=2)
        if isinstance(wire, bytes) and was_cut(wire):
            wire = await ask_stream(self._query, route, address, trace, tls=False)
        if isinstance(wire, Failure):
            return wire.message
        try:
            answer = read_answer(wire)
        except MalformedAnswer as error:
            return f"answer of {bracketed(address)}:{port} cannot be read: {error}"
        if answer.rcode not in (0, _NXDOMAIN):
            return f"{bracketed(address)}:{port} answered {answer.rcode_name}"
        return [record.text.rpartition("\t")[2] for record in answer.answer if record.type == self._config.type]


def _resolv_conf() -> list[str]:
    try:
        lines = Path(_RESOLV_CONF).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []  # said by who finds no server
    words = [line.split() for line in lines]
    return [line[1] for line in words if len(line) > 1 and line[0] == "nameserver"][:_SERVERS_AT_MOST]


# ---------------------------------------------------------------- from records to targets


def _found(config: Config, records: Iterable[str]) -> Iterator[Found]:
    """A target for each record, in an order that does not hang on how the server shuffles."""
    where = f"{config.type} of {config.name}"
    for host, port in sorted(set(_places(config, records))):
        # An address is called by the name that led to it; a host of an SRV record has its own.
        labels = {} if config.type == "SRV" else {"__param_hostname": parse_name(config.name).rstrip(".")}
        yield Found(_address(config, host, port), labels, where)


def _places(config: Config, records: Iterable[str]) -> Iterator[tuple[str, int]]:
    for data in records:
        if config.type != "SRV":
            yield data, config.port or 0
            continue
        _priority, _weight, port, host = data.split()
        if host != ".":  # RFC 2782: decidedly not there
            yield host.rstrip("."), int(port)


def _address(config: Config, host: str, port: int) -> str:
    url = config.url or ("{{host}}:{{port}}" if port else "{{host}}")
    alone = url.replace(" ", "") == "{{host}}"
    values = {"host": host if alone else bracketed(host), "port": str(port)}
    return _PLACE.sub(lambda match: values[match[1]], url)
