"""One run of a probe in one line, for tests."""

from perfmon import measure
from perfmon.clock import SystemClock
from perfmon.model import Measurement, Module, Target
from perfmon.network import Network
from perfmon.probes import dns, flow, http, icmp, mysql, postgres, redis, tcp, tls, unix
from perfmon.probes import exec as exec_probe


async def probe_http(
    network: Network, address: str, *, timeout_s: float = 2.0, hostname: str = "", debug: bool = False, **config: object
) -> Measurement:
    module = Module(name="http", kind="http", timeout_s=timeout_s, config=http.Config(**config))
    target = Target(probe="test", address=address, hostname=hostname)
    return await measure.probe(target, module, clock=SystemClock(), network=network, debug=debug)


async def probe_tcp(
    network: Network, address: str, *, timeout_s: float = 2.0, hostname: str = "", **config: object
) -> Measurement:
    module = Module(name="tcp", kind="tcp", timeout_s=timeout_s, config=tcp.Config(**config))
    target = Target(probe="test", address=address, hostname=hostname)
    return await measure.probe(target, module, clock=SystemClock(), network=network)


async def probe_tls(
    network: Network, address: str, *, timeout_s: float = 2.0, hostname: str = "", **config: object
) -> Measurement:
    module = Module(name="tls", kind="tls", timeout_s=timeout_s, config=tls.Config(**config))
    target = Target(probe="test", address=address, hostname=hostname)
    return await measure.probe(target, module, clock=SystemClock(), network=network)


async def probe_unix(network: Network, path: str, *, timeout_s: float = 2.0, **config: object) -> Measurement:
    module = Module(name="unix", kind="unix", timeout_s=timeout_s, config=unix.Config(**config))
    return await measure.probe(Target(probe="test", address=path), module, clock=SystemClock(), network=network)


async def probe_dns(
    network: Network, address: str, *, timeout_s: float = 2.0, hostname: str = "", debug: bool = False, **config: object
) -> Measurement:
    module = Module(name="dns", kind="dns", timeout_s=timeout_s, config=dns.Config(**config))
    target = Target(probe="test", address=address, hostname=hostname)
    return await measure.probe(target, module, clock=SystemClock(), network=network, debug=debug)


async def probe_database(
    kind: str,
    network: Network,
    address: str,
    *,
    timeout_s: float = 2.0,
    hostname: str = "",
    debug: bool = False,
    **config: object,
) -> Measurement:
    """`kind` is postgres, mysql or redis."""
    file = {"postgres": postgres, "mysql": mysql, "redis": redis}[kind]
    module = Module(name=kind, kind=kind, timeout_s=timeout_s, config=file.Config(**config))
    target = Target(probe="test", address=address, hostname=hostname)
    return await measure.probe(target, module, clock=SystemClock(), network=network, debug=debug)


async def probe_icmp(network: Network, address: str, *, timeout_s: float = 2.0, **config: object) -> Measurement:
    module = Module(name="icmp", kind="icmp", timeout_s=timeout_s, config=icmp.Config(**config))
    target = Target(probe="test", address=address)
    return await measure.probe(target, module, clock=SystemClock(), network=network)


async def probe_exec(
    network: Network,
    *command: str,
    target: str = "shop.example",
    timeout_s: float = 5.0,
    hostname: str = "",
    debug: bool = False,
    **config: object,
) -> Measurement:
    module = Module(
        name="exec", kind="exec", timeout_s=timeout_s, config=exec_probe.Config(command=list(command), **config)
    )
    whom = Target(probe="test", address=target, hostname=hostname)
    return await measure.probe(whom, module, clock=SystemClock(), network=network, debug=debug)


async def probe_flow(
    network: Network,
    address: str,
    config: flow.Config,
    *,
    timeout_s: float = 2.0,
    hostname: str = "",
    debug: bool = False,
) -> Measurement:
    module = Module(name="flow", kind="flow", timeout_s=timeout_s, config=config)
    target = Target(probe="test", address=address, hostname=hostname)
    return await measure.probe(target, module, clock=SystemClock(), network=network, debug=debug)


def outcome(measurement: Measurement) -> str:
    """`ok`, or the reason of the failure."""
    return "ok" if measurement.failure is None else measurement.failure.reason
