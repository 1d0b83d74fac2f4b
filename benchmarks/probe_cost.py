"""CPU of one scheduled probe: perfmon's whole daemon against Debian's blackbox_exporter on the same nginx.

perfmon schedules, probes, keeps, judges by a rule, and is scraped every five seconds; all of that is in
its figure. blackbox_exporter probes when asked: it is asked as often, over kept-alive connections and
without compression, by a client whose own cost is not counted (nor is Prometheus', which would do the
scheduling, keeping and judging for it). Runs alternate, the ratio is that of the medians.

    .venv/bin/python benchmarks/probe_cost.py [--rate 200] [--seconds 20] [--rounds 3]
"""

import argparse
import http.client
import threading
import time
from pathlib import Path

from harness import cpu_s, free_port, get, median, metric, nginx, perfmon, process, temporary, verdict, workplace

AIMS = {"http": 0.25, "https": 0.75}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=200, help="probes a second, each of its own target")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(workplace())
    with temporary() as name:
        folder = Path(name)
        with nginx(folder) as (http_port, https_port):
            for scheme, port in (("http", http_port), ("https", https_port)):
                urls = [f"{scheme}://127.0.0.1:{port}/?target={number}" for number in range(arguments.rate)]
                compare(scheme, urls, folder, arguments)


def compare(scheme: str, urls: list[str], folder: Path, arguments: argparse.Namespace) -> None:
    ours, theirs = [], []
    for _ in range(arguments.rounds):
        ours.append(perfmon_cost(urls, folder, arguments.seconds))
        theirs.append(blackbox_cost(urls, folder, arguments.seconds, arguments.rate))
    print(f"{scheme}: perfmon {us(ours)}, blackbox_exporter {us(theirs)} CPU a probe, {arguments.rate}/s")
    print(f"  {verdict('ratio', median(ours) / median(theirs), AIMS[scheme])}")


def us(values: list[float]) -> str:
    each = ", ".join(f"{1e6 * value:.0f}" for value in values)
    return f"{1e6 * median(values):.0f} us ({each})"


def perfmon_cost(urls: list[str], folder: Path, seconds: float) -> float:
    """CPU seconds of the daemon for one probe, all that it does included."""
    config = f"""
modules:
  bench: {{prober: http, timeout: 900ms, http: {{tls_config: {{ca_file: {folder}/ca.pem}}, preferred_ip_protocol: ip4}}}}
probes:
  - {{name: bench, module: bench, interval: 1s, targets: {urls}}}
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
        assert runs == good > 0.95 * seconds * len(urls), (runs, good)
        return used / runs


def blackbox_cost(urls: list[str], folder: Path, seconds: float, rate: int) -> float:
    """CPU seconds of blackbox_exporter for one probe."""
    port = free_port()
    config = folder / "blackbox.yml"
    config.write_text(
        "modules:\n  bench:\n    prober: http\n    timeout: 900ms\n    http:\n      preferred_ip_protocol: ip4\n"
        f"      tls_config: {{ca_file: {folder}/ca.pem}}\n"
    )
    command = [
        "/usr/bin/prometheus-blackbox-exporter", f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]  # fmt: skip
    with process(command, ready=f"http://127.0.0.1:{port}/-/healthy", log=folder / "blackbox.log") as child:
        ask(port, urls, rate, 3.0)
        before = cpu_s(child.pid)
        asked = ask(port, urls, rate, seconds)
        return (cpu_s(child.pid) - before) / asked


def ask(port: int, urls: list[str], rate: int, seconds: float) -> int:
    """Ask for a probe of each URL in turn, `rate` a second, from eight kept-alive connections."""
    from urllib.parse import quote

    paths = [f"/probe?module=bench&target={quote(url, safe='')}" for url in urls]
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
