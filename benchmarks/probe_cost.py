"""CPU of one scheduled probe, kind by kind: perfmon's whole daemon against Debian's blackbox_exporter, same targets.

perfmon schedules, probes, keeps, judges by a rule, and is scraped every five seconds; all of that is in
its figure. blackbox_exporter probes when asked: it is asked as often, over kept-alive connections and
without compression, by a client whose own cost is not counted (nor is Prometheus', which would do the
scheduling, keeping and judging for it). Runs alternate, the ratio is that of the medians.

    .venv/bin/python benchmarks/probe_cost.py [--rate 200] [--seconds 20] [--rounds 3] [--kinds http https tcp ...]

Debian's blackbox_exporter knows neither websocket nor unix: of these there is perfmon's figure alone. Databases have a
script of their own, database_cost.py. icmp needs root, or a group that may ping (net.ipv4.ping_group_range).
"""

import argparse
import asyncio
import base64
import contextlib
import hashlib
import http.client
import json
import multiprocessing
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from harness import (
    certificate,
    cpu_s,
    free_port,
    get,
    median,
    metric,
    nginx,
    perfmon,
    process,
    temporary,
    verdict,
    workplace,
)

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

AIMS = {
    "http": 0.25,
    "https": 0.75,
    "tcp": 1.0,
    "tcp_dialogue": 1.0,
    "tcp_tls": 1.0,
    "tls": 1.0,
    "dns": 1.0,
    "dns_tcp": 1.0,
    "icmp": 1.0,
    "grpc": 0.75,
    "websocket": 1.0,
    "unix": 1.0,
}


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
    """What both are to probe, and how."""

    module: dict  # perfmon's, and blackbox_exporter's too unless `theirs` says otherwise
    targets: list[str]
    theirs: dict | None = None
    alone: bool = False  # blackbox_exporter has nothing of the kind


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
    port, hosts = free_port(), addresses(count)
    settings = {"query_name": "example.com", "query_type": "A", "transport_protocol": transport}
    with in_another_process(lambda: answer(transport, hosts, port, response.to_wire()[2:])):
        yield Workload({"prober": "dns", "timeout": "900ms", "dns": settings}, [f"{host}:{port}" for host in hosts])


@contextlib.contextmanager
def in_another_process(serve: Callable[[], Coroutine[Any, Any, None]]) -> Iterator[None]:
    """A server whose cost is not counted."""
    server = multiprocessing.get_context("fork").Process(target=lambda: asyncio.run(serve()), daemon=True)
    server.start()
    time.sleep(1)
    try:
        yield
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
    hosts = addresses(count)
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
        targets = [f"{host}:{port}" for host in addresses(count)]
        for target in targets:
            server.add_insecure_port(target)
        server.start()
        module = {"prober": "grpc", "timeout": "900ms", "grpc": {"preferred_ip_protocol": "ip4"}}
        yield Workload(module, targets)
        server.stop(0).wait()


def addresses(count: int) -> list[str]:
    """As many addresses of the loopback device."""
    return [f"127.0.{number // 250}.{1 + number % 250}" for number in range(count)]


@contextlib.contextmanager
def stream(name: str, folder: Path, count: int) -> Iterator[Workload]:
    """A server that takes connections, with TLS or a dialogue where that is what is measured."""
    port, hosts, handler = free_port(), addresses(count), mail if name == "tcp_dialogue" else quiet
    ca_file = certificate(folder)
    tls = {"ca_file": str(ca_file), "server_name": "localhost"}
    greeting = [{"expect": "^220 ", "send": "EHLO perfmon"}, {"expect": "^250 "}]
    tcp = {"preferred_ip_protocol": "ip4"} | {
        "tcp": {},
        "tcp_dialogue": {"query_response": greeting},
        "tcp_tls": {"tls": True, "tls_config": tls},
        "tls": {"tls": True, "tls_config": tls},
    }[name]
    theirs = {"prober": "tcp", "timeout": "900ms", "tcp": tcp}
    ours = {"prober": "tls", "timeout": "900ms", "tls": {"preferred_ip_protocol": "ip4", "tls_config": tls}}
    context = shaking_hands(folder) if "tls" in tcp else None
    with in_another_process(lambda: listen(handler, hosts, port, context)):
        yield Workload(ours if name == "tls" else theirs, [f"{host}:{port}" for host in hosts], theirs)


def shaking_hands(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


@contextlib.contextmanager
def web_socket(_folder: Path, count: int) -> Iterator[Workload]:
    """A server that upgrades and says a word."""
    port, hosts = free_port(), addresses(count)
    settings = {"query_response": [{"expect": "^hello"}], "preferred_ip_protocol": "ip4"}
    module = {"prober": "websocket", "timeout": "900ms", "websocket": settings}
    with in_another_process(lambda: listen(upgrading, hosts, port, None)):
        yield Workload(module, [f"ws://{host}:{port}/" for host in hosts], alone=True)


@contextlib.contextmanager
def unix_sockets(folder: Path, count: int) -> Iterator[Workload]:
    """Files that a server listens on, with the same dialogue as over TCP."""
    paths = [f"{folder}/{number}.sock" for number in range(count)]
    greeting = [{"expect": "^220 ", "send": "EHLO perfmon"}, {"expect": "^250 "}]

    async def serve() -> None:
        for path in paths:
            await asyncio.start_unix_server(mail, path)
        await asyncio.Event().wait()

    with in_another_process(serve):
        module = {"prober": "unix", "timeout": "900ms", "unix": {"query_response": greeting}}
        yield Workload(module, paths, alone=True)


async def listen(handler: Handler, hosts: list[str], port: int, tls: ssl.SSLContext | None) -> None:
    for host in hosts:
        await asyncio.start_server(handler, host, port, ssl=tls)
    await asyncio.Event().wait()


async def quiet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take a connection, and let it end."""
    with contextlib.suppress(OSError):
        await reader.read()
    writer.close()


async def mail(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The beginning of a mail server's dialogue."""
    writer.write(b"220 mail.example ready\r\n")
    await reader.readline()
    writer.write(b"250 fine\r\n")
    await quiet(reader, writer)


async def upgrading(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Become a WebSocket, and say hello (RFC 6455)."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    key = next(line for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key"))
    proof = hashlib.sha1((key.partition(": ")[2] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode())
    accept = base64.b64encode(proof.digest()).decode()
    writer.write(
        f"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        "\x81\x05hello".encode("latin-1")
    )
    await quiet(reader, writer)


WORKLOADS = {
    "grpc": grpc_server,
    "http": partial(web, "http"),
    "https": partial(web, "https"),
    "dns": partial(name_server, "udp"),
    "dns_tcp": partial(name_server, "tcp"),
    "icmp": loopback,
    **{name: partial(stream, name) for name in ("tcp", "tcp_dialogue", "tcp_tls", "tls")},
    "websocket": web_socket,
    "unix": unix_sockets,
}


def compare(kind: str, workload: Workload, folder: Path, arguments: argparse.Namespace) -> None:
    ours, theirs = [], []
    for _ in range(arguments.rounds):
        ours.append(perfmon_cost(workload, folder, arguments.seconds))
        if not workload.alone:
            theirs.append(blackbox_cost(workload, folder, arguments.seconds, arguments.rate))
    if workload.alone:
        print(
            f"{kind}: perfmon {us(ours)} CPU a probe, {arguments.rate}/s; blackbox_exporter has no such kind",
            flush=True,
        )
        return
    print(f"{kind}: perfmon {us(ours)}, blackbox_exporter {us(theirs)} CPU a probe, {arguments.rate}/s")
    print(f"  {verdict('ratio', median(ours) / median(theirs), AIMS[kind])}", flush=True)


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
    config.write_text(json.dumps({"modules": {"bench": workload.theirs or workload.module}}))
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
