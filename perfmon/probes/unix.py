"""Connect to a Unix socket, with TLS when asked, and hold the dialogue that the module tells."""

from collections.abc import Iterable

import msgspec

from perfmon.metrics import Family
from perfmon.model import Failure, Target
from perfmon.network import tls
from perfmon.network.address import BadAddress, objection
from perfmon.network.dialogue import Dialogue
from perfmon.network.query_response import BLAMELESS, QueryResponse, check_entries, steps_of, talk
from perfmon.network.stream import Route
from perfmon.network.tls import TlsConfig
from perfmon.trace import Trace
from perfmon.units import quoted

__all__ = ["FAMILIES", "Config", "check", "check_target", "probe"]

_LONGEST_PATH_BYTES = 107  # sun_path of struct sockaddr_un, without its end

FAMILIES: tuple[Family, ...] = ()  # those of a dialogue are families of all probes


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """blackbox_exporter's `unix` section, field by field."""

    query_response: list[QueryResponse] = []
    tls: bool = False
    tls_config: TlsConfig = TlsConfig()


def check(config: Config) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express, as (path, message)."""
    for path, message in tls.check(config.tls_config):
        yield f"tls_config.{path}", message
    yield from check_entries(config.query_response, tls=config.tls)
    shakes_hands = config.tls or any(entry.starttls for entry in config.query_response)
    if shakes_hands and not config.tls_config.server_name and not config.tls_config.insecure_skip_verify:
        yield "tls_config.server_name", "a path says no name that the certificate could be for, expected one here"


def check_target(address: str, _config: Config) -> str | None:
    """Why an address cannot be probed."""
    return objection(_path, address)


async def probe(target: Target, config: Config, trace: Trace) -> Failure | None:
    """Fail unless the connection stands, TLS included, and each entry of the dialogue went as told."""
    trace.facts.update(BLAMELESS)
    dialogue = trace.network.prepared.get(target, config, _dialogue)
    return dialogue if isinstance(dialogue, Failure) else await talk(dialogue, trace)


def _dialogue(target: Target, config: Config) -> Dialogue:
    name = config.tls_config.server_name or target.hostname
    route = Route(path=_path(target.address), name=name, tls=config.tls_config)
    return Dialogue(route=route, tls=config.tls, steps=steps_of(config.query_response))


def _path(address: str) -> str:
    if not 0 < len(address.encode()) <= _LONGEST_PATH_BYTES or "\0" in address:
        raise BadAddress(f"expected a path of at most {_LONGEST_PATH_BYTES} bytes, got {quoted(address)}")
    return address
