"""How true a measured latency is: perfmon against a server that knows its own delay, while being scraped.

The server answers after a delay and says in the answer how long it took from the request's last byte to
its own first byte; spinning through the last millisecond, it is exact to some microseconds. Bias of a run
is what perfmon reports for the phase `processing` (the request's last byte sent to the answer's first byte
read), minus what the server says of that very run. Loopback and the kernel are in it, and cost some 30 us.

    .venv/bin/python benchmarks/accuracy.py [--targets 50] [--delay-ms 20] [--seconds 30]
"""

import argparse
import multiprocessing
import socket
import threading
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from harness import free_port, get, perfmon, temporary, verdict, workplace

from perfmon import stats


def server(port: int, delay_s: float, log: Path) -> None:
    """One thread a connection; each answer's true delay goes to the log as `target seconds wall`."""
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    with log.open("w", buffering=1) as out:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=answer, args=(connection, delay_s, out), daemon=True).start()


def answer(connection: socket.socket, delay_s: float, out) -> None:
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = connection.recv(4096)
        began = time.perf_counter()
        if not request:
            return
        target = parse_qs(urlsplit(request.split()[1].decode()).query).get("target", ["?"])[0]
        time.sleep(max(0.0, delay_s - 0.001))
        while time.perf_counter() - began < delay_s:
            pass
        true_s = time.perf_counter() - began
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        out.write(f"{target} {true_s:.9f} {time.time():.6f}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=50)
    parser.add_argument("--delay-ms", type=float, default=20.0)
    parser.add_argument("--seconds", type=float, default=30.0)
    arguments = parser.parse_args()
    print(workplace())
    with temporary() as name:
        folder = Path(name)
        port, log = free_port(), folder / "truth.txt"
        child = multiprocessing.Process(target=server, args=(port, arguments.delay_ms / 1e3, log), daemon=True)
        child.start()
        measured = watch(port, folder, arguments)
        child.terminate()
        truth = [float(line.split()[1]) for line in log.read_text().splitlines() if line.split()[0].isdigit()]
    report(sorted(measured), sorted(truth), arguments)


def watch(port: int, folder: Path, arguments: argparse.Namespace) -> list[float]:
    """Let the daemon probe each second and scrape it each second; answers with every run's `processing` seconds."""
    urls = [f"http://127.0.0.1:{port}/?target={number}" for number in range(arguments.targets)]
    config = f"""
modules: {{bench: {{prober: http, timeout: 900ms, http: {{preferred_ip_protocol: ip4}}}}}}
probes: [{{name: bench, module: bench, interval: 1s, targets: {urls}}}]
state: {{path: ""}}
"""
    seen: dict[tuple[str, str], float] = {}
    with perfmon(config, folder) as (_child, url):
        time.sleep(2)
        end = time.monotonic() + arguments.seconds
        while time.monotonic() < end:
            time.sleep(1.0)
            page = get(f"{url}/metrics")
            for target, stamp, seconds in runs(page):
                seen[target, stamp] = seconds
    return list(seen.values())


def runs(page: str):
    """(target, when it ran, seconds of processing) of each target's last run on the page."""
    stamps, processing = {}, {}
    for line in page.splitlines():
        name, _, rest = line.partition("{")
        if name == "perfmon_probe_last_run_timestamp_seconds":
            stamps[target_of(rest)] = line.rpartition(" ")[2]
        elif name == "perfmon_probe_phase_seconds" and 'phase="processing"' in rest:
            processing[target_of(rest)] = float(line.rpartition(" ")[2])
    return [(target, stamp, processing[target]) for target, stamp in stamps.items() if target in processing]


def target_of(labels: str) -> str:
    return labels.partition('target="')[2].partition('"')[0]


def report(measured: list[float], truth: list[float], arguments: argparse.Namespace) -> None:
    """Quantile against quantile: the same runs, and both distributions are a fraction of a millisecond wide."""
    print(
        f"{arguments.targets} targets each second, {arguments.delay_ms:g} ms delay, scraped each second: {len(measured)} runs"
    )
    for q in (0.5, 0.99):
        bias_ms = 1e3 * (stats.quantile(measured, q) - stats.quantile(truth, q))
        line = f"p{100 * q:.0f}: server {1e3 * stats.quantile(truth, q):.3f} ms, perfmon {1e3 * stats.quantile(measured, q):.3f} ms"
        print(f"  {line}; {verdict('bias', bias_ms, 0.2 if q == 0.5 else 2.0, ' ms')}")


if __name__ == "__main__":
    main()
