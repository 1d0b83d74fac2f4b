"""CPU of one `/probe` on request, and memory after ever new targets, beside blackbox_exporter with the same file.

    .venv/bin/python benchmarks/on_request_cost.py

Each is asked over new connections, eight at a time, as many exporters of a small fleet are; its own CPU by the kernel's
count, a probe's target being one small server of this script. Aims: no more CPU than blackbox_exporter; memory that
stays where it is when targets go on being new.
"""

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from harness import PERFMON, free_port, process, rss_bytes, ticks_s

MODULES = "modules: {http_2xx: {prober: http, timeout: 5s, http: {preferred_ip_protocol: ip4}}}"
AT_ONCE = 8
RUNS = 3_000
FLEETS: dict[str, Callable[[int, int], str]] = {
    "50 targets": lambda _round, number: f"fleet-{number % 50}",
    "1,000 targets": lambda _round, number: f"many-{number % 1000}",
    "ever new targets": lambda round_, number: f"new-{round_}-{number}",
}


async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    await writer.drain()
    writer.close()


async def probe(port: int, target: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /probe?module=http_2xx&target={target} HTTP/1.0\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    assert b"probe_success 1" in answer, answer.decode()


async def measure(name: str, port: int, pid: int) -> None:
    """Print a line for each fleet; the last one twice as often, so that growth shows."""
    server = await asyncio.start_server(answering, "127.0.0.1", 0)
    base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    room = asyncio.Semaphore(AT_ONCE)

    async def one(path: str) -> None:
        async with room:
            await probe(port, f"{base}/{path}")

    for fleet, path in FLEETS.items():
        for round_ in range(4 if fleet == "ever new targets" else 1):
            before_s = ticks_s(pid)
            await asyncio.gather(*(one(path(round_, number)) for number in range(RUNS)))
            cost_us = (ticks_s(pid) - before_s) / RUNS * 1e6
            print(f"{name:18} {fleet:17} {cost_us:6.0f} us a probe, RSS {rss_bytes(pid) / 2**20:5.1f} MiB", flush=True)
    server.close()


def main() -> None:
    rival = shutil.which("prometheus-blackbox-exporter")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "blackbox.yml"
        file.write_text(MODULES)
        commands = {"perfmon": [*PERFMON, "serve", f"--blackbox={file}"]}
        if rival:
            commands["blackbox_exporter"] = [rival, f"--config.file={file}"]
        else:
            print("prometheus-blackbox-exporter is not installed: perfmon alone", file=sys.stderr)
        for exporter, command in commands.items():
            port = free_port()
            listen = [f"--web.listen-address=127.0.0.1:{port}"]
            ready, log = f"http://127.0.0.1:{port}/-/healthy", folder / f"{exporter}.log"
            with process([*command, *listen], ready=ready, log=log) as child:
                asyncio.run(measure(exporter, port, child.pid))


if __name__ == "__main__":
    main()
