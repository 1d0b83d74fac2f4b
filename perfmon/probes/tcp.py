"""Connect to a TCP port, do the TLS handshake when asked, and nothing more."""

from collections.abc import Iterable
from typing import Literal

import msgspec

from perfmon.metrics import Family
from perfmon.model import Failure, Target
from perfmon.network import tls
from perfmon.network.address import bracketed, parse_host_port, parse_name
from perfmon.network.reach import Hop, reach
from perfmon.network.tls import TlsConfig
from perfmon.network.transfer import Exchange, Request
from perfmon.trace import Trace

__all__ = ["FAMILIES", "Config", "check", "check_target", "probe"]

FAMILIES: tuple[Family, ...] = ()  # address, certificate and phases are families of all probes


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """blackbox_exporter's `tcp` section, field by field."""

    preferred_ip_protocol: Literal["ip4", "ip6"] = "ip6"
    ip_protocol_fallback: bool = True
    tls: bool = False
    tls_config: TlsConfig = TlsConfig()


def check(config: Config) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express, as (path, message)."""
    for path, message in tls.check(config.tls_config):
        yield f"tls_config.{path}", message


def check_target(address: str, _config: Config) -> str | None:
    """Why an address cannot be probed."""
    try:
        parse_host_port(address)
    except ValueError as error:
        return str(error)
    return None


async def probe(target: Target, config: Config, trace: Trace) -> Failure | None:
    """Fail unless the connection stands before the deadline, with a certificate to trust when TLS is asked for."""
    hop = trace.network.prepared.get(target, config, _hop)
    if isinstance(hop, Failure):
        return hop
    response = await reach(hop, trace)
    return response if isinstance(response, Failure) else response.error


def _hop(target: Target, config: Config) -> Hop | Failure:
    try:
        host, port = parse_host_port(target.address)
        name = parse_name(config.tls_config.server_name or target.hostname or host)
    except ValueError as error:
        return Failure(reason="unreachable", phase="", message=str(error))
    request = Request(
        url=f"{'https' if config.tls else 'http'}://{bracketed(name)}:{port}/",
        name=name,
        port=port,
        tls=config.tls_config if config.tls else None,
        connect_only=True,
    )
    return Hop(
        host=host,
        exchange=Exchange(request),
        prefer=config.preferred_ip_protocol,
        fallback=config.ip_protocol_fallback,
    )
