"""CPU of one probe in microseconds, layer by layer: libcurl alone, the transfer, the whole measurement.

Against Debian's nginx on loopback, http and https (ECDSA P-256), a fresh connection each. The variants take turns, so
that a noisy machine is noisy for all; of each the lower quartile of the rounds is printed, and its ratio to libcurl.

    python benchmarks/probe_micro.py [--rounds 30]
"""

import argparse
import socket
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pycurl
import trustme
import uvloop

from perfmon import measure
from perfmon.clock import SystemClock
from perfmon.model import Module, Target
from perfmon.network import Network
from perfmon.network.tls import TlsConfig
from perfmon.network.transfer import Exchange, Request
from perfmon.probes import http, tcp

NGINX = """
worker_processes 1; pid {folder}/pid; error_log {folder}/error.log; daemon off;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
    uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
    server {{
        listen 127.0.0.1:{plain}; listen 127.0.0.1:{secure} ssl;
        ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.key;
        ssl_protocols TLSv1.2 TLSv1.3;
        location / {{ return 200 "hello\\n"; }}
    }}
}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain, secure = free_port(), free_port()
        write_certificates(folder)
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, plain=plain, secure=secure))
        server = subprocess.Popen(["nginx", "-c", folder / "nginx.conf", "-p", folder], stderr=subprocess.DEVNULL)
        try:
            wait_for(plain)
            uvloop.run(compare(rounds, plain, secure, str(folder / "ca.pem")))
        finally:
            server.terminate()
            server.wait()


async def compare(rounds: int, plain: int, secure: int, ca_file: str) -> None:
    clock = SystemClock()
    async with Network(clock=clock) as network:
        for scheme, port, runs in (("http", plain, 200), ("https", secure, 40)):
            variants = {
                "libcurl alone (easy_perform)": libcurl(scheme, port, ca_file),
                "transfer.perform": transfer(network, scheme, port, ca_file),
                "measure.probe http": probe(clock, network, scheme, port, ca_file),
                "measure.probe tcp": probe_tcp(clock, network, scheme, port, ca_file),
            }
            print_table(scheme, await take_turns(variants, rounds, runs))


async def take_turns(
    variants: dict[str, Callable[[], Awaitable[None]]], rounds: int, runs: int
) -> dict[str, list[float]]:
    costs: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, run in variants.items():
            began = time.process_time()
            for _ in range(runs):
                await run()
            costs[name].append((time.process_time() - began) / runs * 1e6)
    return costs


def print_table(scheme: str, costs: dict[str, list[float]]) -> None:
    quartile = {name: sorted(values)[len(values) // 4] for name, values in costs.items()}
    floor = next(iter(quartile.values()))
    print(f"{scheme:<32}{'us CPU':>8}{'ratio':>8}")
    for name, cost in quartile.items():
        print(f"  {name:<30}{cost:8.1f}{cost / floor:8.2f}")


# ---------------------------------------------------------------- the variants


def libcurl(scheme: str, port: int, ca_file: str) -> Callable[[], Awaitable[None]]:
    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, f"{scheme}://127.0.0.1:{port}/")
    curl.setopt(pycurl.FRESH_CONNECT, 1)
    curl.setopt(pycurl.FORBID_REUSE, 1)
    curl.setopt(pycurl.SSL_SESSIONID_CACHE, 0)
    curl.setopt(pycurl.CAINFO, ca_file)
    curl.setopt(pycurl.WRITEFUNCTION, len)

    async def run() -> None:
        curl.perform()
        assert curl.getinfo(pycurl.RESPONSE_CODE) == 200

    return run


def transfer(network: Network, scheme: str, port: int, ca_file: str) -> Callable[[], Awaitable[None]]:
    tls = TlsConfig(ca_file=ca_file) if scheme == "https" else None
    request = Request(url=f"{scheme}://127.0.0.1:{port}/", name="127.0.0.1", port=port, tls=tls)
    exchange = Exchange(request)

    async def run() -> None:
        response = await network.transfer.perform(exchange, address="127.0.0.1", timeout_s=5.0)
        assert response.status == 200, response.error

    return run


def probe(clock: SystemClock, network: Network, scheme: str, port: int, ca_file: str) -> Callable[[], Awaitable[None]]:
    target = Target(probe="bench", address=f"{scheme}://127.0.0.1:{port}/")
    config = http.Config(tls_config=TlsConfig(ca_file=ca_file))
    module = Module(name="bench", kind="http", timeout_s=5.0, config=config)

    async def run() -> None:
        measurement = await measure.probe(target, module, clock=clock, network=network)
        assert measurement.failure is None, measurement.failure

    return run


def probe_tcp(
    clock: SystemClock, network: Network, scheme: str, port: int, ca_file: str
) -> Callable[[], Awaitable[None]]:
    target = Target(probe="bench", address=f"127.0.0.1:{port}")
    config = tcp.Config(tls=scheme == "https", tls_config=TlsConfig(ca_file=ca_file))
    module = Module(name="bench", kind="tcp", timeout_s=5.0, config=config)

    async def run() -> None:
        measurement = await measure.probe(target, module, clock=clock, network=network)
        assert measurement.failure is None, measurement.failure

    return run


# ---------------------------------------------------------------- the server


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def write_certificates(folder: Path) -> None:
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    server.private_key_pem.write_to_path(folder / "server.key")
    (folder / "server.pem").write_bytes(b"".join(pem.bytes() for pem in server.cert_chain_pems))


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.02)
        else:
            return
    raise SystemExit("nginx did not start")


if __name__ == "__main__":
    main()
