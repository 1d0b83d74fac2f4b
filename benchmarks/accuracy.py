"""How true a measured latency is: perfmon against a server that knows its own delay, while being scraped.

The server answers after a delay and writes down how long it took from reading the request to writing the
answer; spinning through the last fraction of a millisecond, it is exact to some microseconds. The bias is what
perfmon reports for the phase `processing` (the request's last byte sent to the answer's first byte read), minus
what the server wrote down, quantile against quantile. Two wake-ups across loopback are in it, too; how much they are
here is what a bare blocking socket measures, and blackbox_exporter stands beside.

    .venv/bin/python benchmarks/accuracy.py [--targets 50] [--delay-ms 20] [--seconds 30]
"""

import argparse
import http.client
import multiprocessing
import select
import socket
import threading
import time
from collections import deque
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from harness import free_port, get, perfmon, process, temporary, verdict, workplace

from perfmon import stats

SPIN_S = 0.0003


def server(port: int, delay_s: float, log: Path) -> None:
    """One thread for all connections, so that none waits for another's turn; each answer's true delay goes to the log."""
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    listener.settimeout(0.0)
    ready = select.epoll()
    ready.register(listener, select.EPOLLIN)
    open_: dict[int, socket.socket] = {}
    due: deque[tuple[float, float, socket.socket, str]] = deque()  # when to answer, when it was read, where, for whom
    with log.open("w", buffering=1) as out:
        while True:
            wait_s = max(0.0, due[0][0] - time.perf_counter() - SPIN_S) if due else -1
            for fd, _ in ready.poll(wait_s):
                if fd == listener.fileno():
                    connection, _ = listener.accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    open_[connection.fileno()] = connection
                    ready.register(connection, select.EPOLLIN)
                    continue
                now = time.perf_counter()
                connection = open_.pop(fd)
                ready.unregister(fd)
                if request := connection.recv(4096):
                    target = parse_qs(urlsplit(request.split()[1].decode()).query).get("target", ["?"])[0]
                    due.append((now + delay_s, now, connection, target))
            while due and time.perf_counter() >= due[0][0]:
                _, read_at, connection, target = due.popleft()
                true_s = time.perf_counter() - read_at
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                connection.close()
                out.write(f"{target} {true_s:.9f}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=50)
    parser.add_argument("--delay-ms", type=float, default=20.0)
    parser.add_argument("--seconds", type=float, default=30.0)
    arguments = parser.parse_args()
    print(workplace())
    print(f"{arguments.targets} runs a second, {arguments.delay_ms:g} ms delay, scraped each second")
    with temporary() as name:
        folder = Path(name)
        floor = compare("bare socket", bare, folder, arguments)
        compare("blackbox_exporter", blackbox, folder, arguments)
        ours = compare("perfmon", watch, folder, arguments)
    for name, ours_ms, floor_ms, aim_ms in zip(("p50", "p99"), ours, floor, (0.2, 2.0), strict=True):
        own = verdict(f"perfmon's own bias at {name}", ours_ms - floor_ms, aim_ms, " ms")
        print(f"  {own} ({ours_ms:.3f} ms less the {floor_ms:.3f} ms of the bare socket)")


def compare(name: str, client, folder: Path, arguments: argparse.Namespace) -> tuple[float, float]:
    """Bias in milliseconds at p50 and p99 of one client against a server of its own."""
    port, log = free_port(), folder / f"{name}.txt"
    child = multiprocessing.Process(target=server, args=(port, arguments.delay_ms / 1e3, log), daemon=True)
    child.start()
    time.sleep(0.5)
    measured = sorted(client(port, folder, arguments))
    child.terminate()
    child.join()
    truth = sorted(float(line.split()[1]) for line in log.read_text().splitlines() if line.split()[0].isdigit())
    biases = [1e3 * (stats.quantile(measured, q) - stats.quantile(truth, q)) for q in (0.5, 0.99)]
    print(
        f"  {name}: {len(measured)} runs, p50 {1e3 * stats.quantile(measured, 0.5):.3f} ms (bias {biases[0]:.3f}), "
        f"p99 {1e3 * stats.quantile(measured, 0.99):.3f} ms (bias {biases[1]:.3f})"
    )
    return biases[0], biases[1]


def bare(port: int, _folder: Path, arguments: argparse.Namespace) -> list[float]:
    """The floor on this machine: a blocking socket that does nothing else, one run at a time."""
    measured = []
    began = time.monotonic()
    for number in range(int(min(arguments.targets, 40) * arguments.seconds)):
        time.sleep(max(0.0, began + number / min(arguments.targets, 40) - time.monotonic()))
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sent = time.perf_counter()
            connection.sendall(b"GET /?target=1 HTTP/1.1\r\nHost: x\r\n\r\n")
            connection.recv(4096)
            measured.append(time.perf_counter() - sent)
    return measured


def blackbox(port: int, folder: Path, arguments: argparse.Namespace) -> list[float]:
    """Debian's blackbox_exporter, asked for the same targets at the same rate from eight connections."""
    own, config = free_port(), folder / "blackbox.yml"
    config.write_text("modules: {bench: {prober: http, timeout: 900ms, http: {preferred_ip_protocol: ip4}}}\n")
    command = [
        "/usr/bin/prometheus-blackbox-exporter", f"--config.file={config}", f"--web.listen-address=127.0.0.1:{own}",
        "--log.level=error",
    ]  # fmt: skip
    measured: list[float] = []
    began, total = time.monotonic(), int(arguments.targets * arguments.seconds)

    def client(first: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", own, timeout=10)
        for number in range(first, total, 8):
            time.sleep(max(0.0, began + number / arguments.targets - time.monotonic()))
            connection.request("GET", f"/probe?module=bench&target=http://127.0.0.1:{port}/?target={number}")
            page = connection.getresponse().read().decode()
            line = next(line for line in page.splitlines() if 'phase="processing"' in line)
            measured.append(float(line.rpartition(" ")[2]))
        connection.close()

    with process(command, ready=f"http://127.0.0.1:{own}/-/healthy", log=folder / "blackbox.log"):
        threads = [threading.Thread(target=client, args=(first,)) for first in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return measured


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


if __name__ == "__main__":
    main()
