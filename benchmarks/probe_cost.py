"""CPU of one scheduled probe: perfmon's whole daemon against Debian's blackbox_exporter on the same servers.

perfmon schedules, probes, keeps, judges by a rule, and is scraped every five seconds; all of that is in
its figure. blackbox_exporter probes when asked: it is asked as often, over kept-alive connections and
without compression, by a client whose own cost is not counted (nor is Prometheus', which would do the
scheduling, keeping and judging for it). Runs alternate, the ratio is that of the medians.

    .venv/bin/python benchmarks/probe_cost.py [--rate 200] [--seconds 20] [--rounds 3] [--kind grpc]
"""

import argparse
import contextlib
import http.client
import threading
import time
from pathlib import Path

import msgspec
from harness import cpu_s, free_port, get, median, metric, nginx, perfmon, process, temporary, verdict, workplace


class Kind(msgspec.Struct, frozen=True):
    """What is compared, and the share of blackbox_exporter's cost that ours may be."""

    prober: str
    aim: float
    tls: bool = False


KINDS = {
    "http": Kind("http", 0.25),
    "https": Kind("http", 0.75, tls=True),
    "grpc": Kind("grpc", 0.75),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=200, help="probes a second, each of its own target")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kind", choices=KINDS, action="append", help="these alone [all]")
    arguments = parser.parse_args()
    print(workplace())
    with temporary() as name:
        folder = Path(name)
        with nginx(folder) as (http_port, https_port), grpc_server() as grpc_port:
            targets = {
                "http": [f"http://127.0.0.1:{http_port}/?target={number}" for number in range(arguments.rate)],
                "https": [f"https://127.0.0.1:{https_port}/?target={number}" for number in range(arguments.rate)],
                "grpc": [f"127.0.0.1:{grpc_port}"] * arguments.rate,
            }
            for kind in arguments.kind or KINDS:
                compare(kind, targets[kind], folder, arguments)


@contextlib.contextmanager
def grpc_server():
    """The port of a server of grpcio's that is healthy. Its cost is not counted."""
    from concurrent.futures import ThreadPoolExecutor

    import grpc
    from grpc_health.v1 import health, health_pb2_grpc

    with ThreadPoolExecutor(4) as threads:
        server = grpc.server(threads)
        health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield port
        server.stop(0).wait()


def compare(name: str, targets: list[str], folder: Path, arguments: argparse.Namespace) -> None:
    ours, theirs = [], []
    module = module_of(KINDS[name], folder)
    for _ in range(arguments.rounds):
        ours.append(perfmon_cost(targets, module, folder, arguments.seconds))
        theirs.append(blackbox_cost(targets, module, folder, arguments))
    print(f"{name}: perfmon {us(ours)}, blackbox_exporter {us(theirs)} CPU a probe, {arguments.rate}/s")
    print(f"  {verdict('ratio', median(ours) / median(theirs), KINDS[name].aim)}")


def module_of(kind: Kind, folder: Path) -> str:
    """The module of both, in YAML."""
    settings = "preferred_ip_protocol: ip4"
    if kind.tls:
        settings += f", tls_config: {{ca_file: {folder}/ca.pem}}"
    return f"{{prober: {kind.prober}, timeout: 900ms, {kind.prober}: {{{settings}}}}}"


def us(values: list[float]) -> str:
    each = ", ".join(f"{1e6 * value:.0f}" for value in values)
    return f"{1e6 * median(values):.0f} us ({each})"


def perfmon_cost(targets: list[str], module: str, folder: Path, seconds: float) -> float:
    """CPU seconds of the daemon for one probe, all that it does included."""
    probes = "\n".join(
        f"  - {{name: bench{number}, module: bench, interval: 1s, targets: [{target!r}]}}"
        for number, target in enumerate(targets)
    )
    config = f"""
modules:
  bench: {module}
probes:
{probes}
rules:
  - {{name: Down, select: {{probe: "bench*"}}, threshold: "rate < 50% over 1m", for: 10s}}
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
        assert runs == good > 0.95 * seconds * len(targets), (runs, good)
        return used / runs


def blackbox_cost(targets: list[str], module: str, folder: Path, arguments: argparse.Namespace) -> float:
    """CPU seconds of blackbox_exporter for one probe."""
    port = free_port()
    config = folder / "blackbox.yml"
    config.write_text(f"modules:\n  bench: {module}\n")
    command = [
        "/usr/bin/prometheus-blackbox-exporter", f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]  # fmt: skip
    with process(command, ready=f"http://127.0.0.1:{port}/-/healthy", log=folder / "blackbox.log") as child:
        ask(port, targets, arguments.rate, 3.0)
        before = cpu_s(child.pid)
        asked = ask(port, targets, arguments.rate, arguments.seconds)
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
