"""CPU of one scheduled probe, kind by kind: perfmon's whole daemon against Debian's blackbox_exporter, same targets.

perfmon schedules, probes, keeps, judges by a rule, and is scraped every five seconds; all of that is in
its figure. blackbox_exporter probes when asked: it is asked as often, over kept-alive connections and
without compression, by a client whose own cost is not counted (nor is Prometheus', which would do the
scheduling, keeping and judging for it). Runs alternate, the ratio is that of the medians.

    .venv/bin/python benchmarks/probe_cost.py [--rate 200] [--seconds 20] [--rounds 3] [--kinds http https dns icmp grpc]

icmp needs root, or a group that may ping (net.ipv4.ping_group_range).
"""

import argparse
import asyncio
import contextlib
import http.client
import json
import multiprocessing
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from harness import cpu_s, free_port, get, median, metric, nginx, perfmon, process, temporary, verdict, workplace

AIMS = {"http": 0.25, "https": 0.75, "dns": 1.0, "dns_tcp": 1.0, "icmp": 1.0, "grpc": 0.75}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=200, help="probes a second, each of its own target")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", default=list(AIMS), choices=list(AIMS))
    arguments = parser.parse_args()
    print(workplace())
    with temporary() as name:
        folder = Path(name)
        for kind in arguments.kinds:
            with WORKLOADS[kind](folder, arguments.rate) as workload:
                compare(kind, workload, folder, arguments)


class Workload(NamedTuple):
    """What both are to probe, and how: one module in the form that both read."""

    module: dict
    targets: list[str]


@contextlib.contextmanager
def web(scheme: str, folder: Path, count: int) -> Iterator[Workload]:
    """One small page of nginx."""
    settings = {"tls_config": {"ca_file": f"{folder}/ca.pem"}, "preferred_ip_protocol": "ip4"}
    with nginx(folder) as (http_port, https_port):
        port = {"http": http_port, "https": https_port}[scheme]
        urls = [f"{scheme}://127.0.0.1:{port}/?target={number}" for number in range(count)]
        yield Workload({"prober": "http", "timeout": "900ms", "http": settings}, urls)


@contextlib.contextmanager
def name_server(transport: str, _folder: Path, count: int) -> Iterator[Workload]:
    """Two addresses of one name, from a server that runs in a process of its own and on an address for each target."""
    import dns.message
    import dns.rrset

    query = dns.message.make_query("example.com", "A")
    response = dns.message.make_response(query)
    for number in (1, 2):
        response.answer.append(dns.rrset.from_text("example.com.", 3600, "IN", "A", f"192.0.2.{number}"))
    port = free_port()
    hosts = [f"127.0.{number // 250}.{1 + number % 250}" for number in range(count)]
    server = multiprocessing.get_context("fork").Process(
        target=lambda: asyncio.run(answer(transport, hosts, port, response.to_wire()[2:])), daemon=True
    )
    server.start()
    time.sleep(1)
    settings = {"query_name": "example.com", "query_type": "A", "transport_protocol": transport}
    try:
        yield Workload({"prober": "dns", "timeout": "900ms", "dns": settings}, [f"{host}:{port}" for host in hosts])
    finally:
        server.kill()
        server.join()


async def answer(transport: str, hosts: list[str], port: int, rest: bytes) -> None:
    """Say the same to whatever is asked, under its id."""

    class Datagrams(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport = transport

        def datagram_received(self, data, sender):
            self.transport.sendto(data[:2] + rest, sender)

    async def connection(reader, writer):
        query = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        writer.write(len(query[:2] + rest).to_bytes(2, "big") + query[:2] + rest)
        await reader.read()
        writer.close()

    for host in hosts:
        if transport == "udp":
            await asyncio.get_running_loop().create_datagram_endpoint(Datagrams, local_addr=(host, port))
        else:
            await asyncio.start_server(connection, host, port)
    await asyncio.Event().wait()


@contextlib.contextmanager
def loopback(_folder: Path, count: int) -> Iterator[Workload]:
    """Addresses of the loopback device, which the kernel answers for."""
    hosts = [f"127.0.{number // 250}.{1 + number % 250}" for number in range(count)]
    yield Workload({"prober": "icmp", "timeout": "900ms", "icmp": {"preferred_ip_protocol": "ip4"}}, hosts)


@contextlib.contextmanager
def grpc_server(_folder: Path, count: int) -> Iterator[Workload]:
    """A server of grpcio's that is healthy. Its cost is not counted."""
    from concurrent.futures import ThreadPoolExecutor

    import grpc
    from grpc_health.v1 import health, health_pb2_grpc

    with ThreadPoolExecutor(4) as threads:
        server = grpc.server(threads)
        health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
        port = free_port()
        targets = [f"127.0.{number // 250}.{1 + number % 250}:{port}" for number in range(count)]
        for target in targets:
            server.add_insecure_port(target)
        server.start()
        module = {"prober": "grpc", "timeout": "900ms", "grpc": {"preferred_ip_protocol": "ip4"}}
        yield Workload(module, targets)
        server.stop(0).wait()


WORKLOADS = {
    "grpc": grpc_server,
    "http": partial(web, "http"),
    "https": partial(web, "https"),
    "dns": partial(name_server, "udp"),
    "dns_tcp": partial(name_server, "tcp"),
    "icmp": loopback,
}


def compare(kind: str, workload: Workload, folder: Path, arguments: argparse.Namespace) -> None:
    ours, theirs = [], []
    for _ in range(arguments.rounds):
        ours.append(perfmon_cost(workload, folder, arguments.seconds))
        theirs.append(blackbox_cost(workload, folder, arguments.seconds, arguments.rate))
    print(f"{kind}: perfmon {us(ours)}, blackbox_exporter {us(theirs)} CPU a probe, {arguments.rate}/s")
    print(f"  {verdict('ratio', median(ours) / median(theirs), AIMS[kind])}")


def us(values: list[float]) -> str:
    each = ", ".join(f"{1e6 * value:.0f}" for value in values)
    return f"{1e6 * median(values):.0f} us ({each})"


def perfmon_cost(workload: Workload, folder: Path, seconds: float) -> float:
    """CPU seconds of the daemon for one probe, all that it does included."""
    config = f"""
modules: {{bench: {json.dumps(workload.module)}}}
probes:
  - {{name: bench, module: bench, interval: 1s, targets: {json.dumps(workload.targets)}}}
rules:
  - {{name: Down, select: {{probe: bench}}, threshold: "rate < 50% over 1m", for: 10s}}
receivers:
  - {{name: console, log: {{}}}}
state: {{path: {folder}/state.sqlite3}}
"""
    with perfmon(config, folder) as (child, url):
        time.sleep(3)
        before, page = cpu_s(child.pid), get(f"{url}/metrics")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(min(5.0, max(0.0, end - time.monotonic())))
            after_page = get(f"{url}/metrics")
        used = cpu_s(child.pid) - before
        runs = metric(after_page, "perfmon_probe_runs_total") - metric(page, "perfmon_probe_runs_total")
        good = metric(after_page, "perfmon_probe_runs_total", result="success") - metric(
            page, "perfmon_probe_runs_total", result="success"
        )
        assert runs == good > 0.95 * seconds * len(workload.targets), (runs, good)
        return used / runs


def blackbox_cost(workload: Workload, folder: Path, seconds: float, rate: int) -> float:
    """CPU seconds of blackbox_exporter for one probe."""
    port = free_port()
    config = folder / "blackbox.yml"
    config.write_text(json.dumps({"modules": {"bench": workload.module}}))
    command = [
        "/usr/bin/prometheus-blackbox-exporter", f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]  # fmt: skip
    with process(command, ready=f"http://127.0.0.1:{port}/-/healthy", log=folder / "blackbox.log") as child:
        ask(port, workload.targets, rate, 3.0)
        before = cpu_s(child.pid)
        asked = ask(port, workload.targets, rate, seconds)
        return (cpu_s(child.pid) - before) / asked


def ask(port: int, targets: list[str], rate: int, seconds: float) -> int:
    """Ask for a probe of each target in turn, `rate` a second, from eight kept-alive connections."""
    from urllib.parse import quote

    paths = [f"/probe?module=bench&target={quote(target, safe='')}" for target in targets]
    began = time.monotonic()
    total = int(rate * seconds)
    failures: list[str] = []

    def client(first: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        for number in range(first, total, 8):
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
            connection.request("GET", paths[number % len(paths)])
            if b"probe_success 1" not in connection.getresponse().read():
                failures.append(paths[number % len(paths)])
        connection.close()

    threads = [threading.Thread(target=client, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[:3]
    return total


if __name__ == "__main__":
    main()
