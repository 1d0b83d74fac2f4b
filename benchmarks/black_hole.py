"""Dead targets beside live ones: 2,000 that never answer must not make 200 that do late, slower or fewer.

The dead ones are listening sockets on loopback addresses of their own with a full backlog: the first connection is taken
by the kernel and never answered, further ones get no answer to their SYN. How late a live one was is what its server
saw, against the grid that the daemon's own arithmetic gives for its key; its own time is what the daemon says.

    .venv/bin/python benchmarks/black_hole.py [--live 200] [--dead 2000] [--seconds 30] [--rounds 2]
"""

import argparse
import asyncio
import contextlib
import json
import math
import multiprocessing
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from harness import cpu_s, get, median, metric, perfmon, temporary, verdict, workplace

from perfmon import stats
from perfmon.monitor.schedule import SLOT_S, phase

LIVE_INTERVAL_S, DEAD_INTERVAL_S = 1.0, 10.0
WHYS = ("running", "late", "host", "slow", "in_flight")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--live", type=int, default=200)
    parser.add_argument("--dead", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    print(workplace())
    with temporary() as name, live_server(arguments.live) as server, dead(arguments.dead) as addresses:
        rows: dict[str, list[Row]] = {"live alone": [], "beside the dead": []}
        for _ in range(arguments.rounds):
            rows["live alone"].append(observe(Path(name), server, [], arguments))
            rows["beside the dead"].append(observe(Path(name), server, addresses, arguments))
    report(rows, arguments)


class Row(NamedTuple):
    """What one run of the daemon came to."""

    made: float  # runs of live targets that their server saw, of those due
    late_p50_s: float
    late_p99_s: float
    late_max_s: float
    own_p50_s: float
    own_p99_s: float
    cores: float
    in_flight: float
    dead_runs: float  # a second
    skipped: dict[str, float]  # a second


class Server(NamedTuple):
    """The live targets, and a way to empty what their server wrote down: (path, Unix time) of each request."""

    urls: list[str]
    seen: "multiprocessing.Queue[list[tuple[str, float]] | None]"
    ask: "multiprocessing.Queue[None]"

    def taken(self) -> list[tuple[str, float]]:
        self.ask.put(None)
        return self.seen.get(timeout=10) or []


# ---------------------------------------------------------------- the targets


@contextlib.contextmanager
def live_server(count: int) -> Iterator[Server]:
    port, seen, ask = multiprocessing.Queue(), multiprocessing.Queue(), multiprocessing.Queue()
    process = multiprocessing.Process(target=serve, args=(port, seen, ask), daemon=True)
    process.start()
    try:
        number = port.get(timeout=10)
        yield Server([f"http://127.0.0.1:{number}/{target}" for target in range(count)], seen, ask)
    finally:
        process.terminate()
        process.join(5)


def serve(port, seen, ask) -> None:
    arrived: list[tuple[str, float]] = []

    class Http(asyncio.Protocol):
        def connection_made(self, transport) -> None:
            self.transport, self.at = transport, time.time()

        def data_received(self, data: bytes) -> None:
            arrived.append((data.split(b" ", 2)[1].decode(), self.at))
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            self.transport.close()

    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Http, "127.0.0.1", 0, backlog=1024)
        port.put(server.sockets[0].getsockname()[1])
        while True:
            await loop.run_in_executor(None, ask.get)
            taken = arrived.copy()
            arrived.clear()
            seen.put(taken)

    asyncio.run(run())


@contextlib.contextmanager
def dead(count: int) -> Iterator[list[str]]:
    """Sockets that listen and never accept, each with a loopback address, and so a host, of its own."""
    with contextlib.ExitStack() as sockets:
        urls = []
        for number in range(count):
            address = f"127.1.{number // 250}.{number % 250 + 1}"
            listening = sockets.enter_context(socket.socket())
            listening.bind((address, 0))
            listening.listen(0)
            urls.append(f"http://{address}:{listening.getsockname()[1]}/")
        yield urls


# ---------------------------------------------------------------- one run of the daemon


def observe(folder: Path, server: Server, dead_urls: list[str], arguments: argparse.Namespace) -> Row:
    with perfmon(configuration(server.urls, dead_urls), folder) as (daemon, url):
        time.sleep(2 * DEAD_INTERVAL_S)  # all have run, and are known for what they are
        before = get(f"{url}/metrics")
        server.taken()
        cpu, began = cpu_s(daemon.pid), time.monotonic()
        time.sleep(arguments.seconds)
        elapsed, cpu, seen = time.monotonic() - began, cpu_s(daemon.pid) - cpu, server.taken()
        after = get(f"{url}/metrics")
        probes = json.loads(get(f"{url}/api/v1/targets?minutes=1"))["probes"]
    late = sorted(lateness_s(f"live/{server.urls[0].rpartition('/')[0]}{path}", at) for path, at in seen)
    own = [probe for probe in probes if probe["probe"] == "live"]

    def rate(name: str, **labels: str) -> float:
        return (metric(after, name, **labels) - metric(before, name, **labels)) / elapsed

    return Row(
        made=len(seen) / (arguments.live * elapsed / LIVE_INTERVAL_S),
        late_p50_s=stats.quantile(late, 0.5),
        late_p99_s=stats.quantile(late, 0.99),
        late_max_s=late[-1],
        own_p50_s=median([probe["p50"] for probe in own]),
        own_p99_s=median([probe["p99"] for probe in own]),
        cores=cpu / elapsed,
        in_flight=metric(after, "perfmon_probes_in_flight"),
        dead_runs=rate("perfmon_probe_runs_total", probe="dead"),
        skipped={why: rate("perfmon_schedule_skipped_total", why=why) for why in WHYS},
    )


def lateness_s(key: str, at: float) -> float:
    """How long after the last due time of the key; up to half an interval before the next one is early."""
    slots = max(1, math.ceil(LIVE_INTERVAL_S / SLOT_S - 1e-9))
    due = phase(key, slots) * LIVE_INTERVAL_S / slots
    late = (at - due) % LIVE_INTERVAL_S
    return late if late < LIVE_INTERVAL_S / 2 else late - LIVE_INTERVAL_S


def configuration(live: list[str], dead_urls: list[str]) -> str:
    probes = [{"name": "live", "interval": f"{LIVE_INTERVAL_S}s", "timeout": "900ms", "targets": live}]
    if dead_urls:
        probes.append({"name": "dead", "interval": f"{DEAD_INTERVAL_S}s", "targets": dead_urls})
    return json.dumps({"probes": probes, "state": {"path": ""}})


# ---------------------------------------------------------------- what is printed


def report(rows: dict[str, list[Row]], arguments: argparse.Namespace) -> None:
    print(
        f"{arguments.live} live targets every {LIVE_INTERVAL_S:g} s, {arguments.dead} dead ones every {DEAD_INTERVAL_S:g} s;"
        f" {arguments.rounds} rounds of {arguments.seconds:g} s, medians"
    )
    print(
        f"{'':16} {'runs made':>9} {'late p50':>9} {'p99':>8} {'max':>8} {'own p50':>8} {'p99':>8} {'cores':>6}  dead"
    )
    middle = {name: Row(*map(middle_of, zip(*found, strict=True))) for name, found in rows.items()}
    for name, row in middle.items():
        times = (row.late_p50_s, row.late_p99_s, row.late_max_s, row.own_p50_s, row.own_p99_s)
        shown = " ".join(f"{1e3 * seconds:>5.1f} ms" for seconds in times)
        skipped = ", ".join(f"{value:.0f}/s skipped {why}" for why, value in row.skipped.items() if value)
        print(
            f"{name:16} {row.made:>9.1%} {shown} {row.cores:>6.2f}  {row.dead_runs:.0f}/s run, {row.in_flight:.0f} in flight"
            f"{', ' if skipped else ''}{skipped}"
        )
    alone, beside = middle.values()
    print(verdict("later by the dead, p99", 1e3 * (beside.late_p99_s - alone.late_p99_s), 5, " ms"))
    print(verdict("slower by the dead, p99", 1e3 * (beside.own_p99_s - alone.own_p99_s), 5, " ms"))
    print(verdict("live runs lost", 100 * (1 - beside.made), 0.5, " %"))


def middle_of(values):
    if isinstance(values[0], dict):
        return {key: median([value[key] for value in values]) for key in values[0]}
    return median(values)


if __name__ == "__main__":
    main()
