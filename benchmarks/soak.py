"""A day in an hour: 1,000 targets at one second, half of them failing in every way there is.

The failing half: status 503, hanging, resetting, dripping, short and endless bodies of the shop, and a
closed port. Printed as CSV every ten seconds: minutes, RSS, descriptors, p99 lateness of the last ten
seconds, runs, failures, CPU share. After the first five minutes RSS must be flat: its slope is fitted
by Theil-Sen over the rest and printed with the verdict.

    .venv/bin/python benchmarks/soak.py [--targets 1000] [--minutes 30] > soak.csv
"""

import argparse
import itertools
import statistics
import sys
import time
from pathlib import Path

from harness import (
    PERFMON,
    cpu_s,
    fds,
    free_port,
    get,
    histogram_quantile,
    metric,
    perfmon,
    process,
    rss_bytes,
    temporary,
    verdict,
    workplace,
)

WAYS = ("status", "hang", "reset", "drip", "short", "endless", "closed")
WARM_UP_S = 300.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=30.0)
    arguments = parser.parse_args()
    print(f"# {workplace()}")
    with temporary() as name:
        folder = Path(name)
        port = free_port()
        shop = [*PERFMON, "simulate", "shop", f"--port={port}"]
        with (
            process(shop, ready=f"http://127.0.0.1:{port}/health", log=folder / "shop.log"),
            perfmon(config(port, free_port(), arguments.targets), folder) as (child, url),
        ):
            rows = watch(child.pid, url, 60 * arguments.minutes)
    report(rows)


def config(port: int, closed: int, targets: int) -> str:
    """Half of the targets fine, the other half spread over the ways to fail."""
    urls = [f"http://127.0.0.1:{port}/fast?target={number}" for number in range(targets // 2)]
    for number, way in zip(range(targets - len(urls)), itertools.cycle(WAYS), strict=False):
        base = f"http://127.0.0.1:{closed}/" if way == "closed" else f"http://127.0.0.1:{port}/fail?how={way}"
        urls.append(f"{base}{'&' if '?' in base else '?'}target={number}")
    return f"""
modules: {{soak: {{prober: http, timeout: 500ms, http: {{preferred_ip_protocol: ip4, body_size_limit: 1MiB}}}}}}
probes: [{{name: soak, module: soak, interval: 1s, targets: {urls}}}]
rules:
  - {{name: Down, select: {{probe: soak}}, threshold: "rate < 50% over 1m", for: 10s}}
  - {{name: Slow, select: {{probe: soak}}, metric: duration, threshold: "p(95) < 300ms over 1m", for: 10s}}
receivers: [{{name: console, log: {{}}}}]
samplers:
  - {{name: self, interval: 5s, process: {{groups: [{{name: perfmon, self: true}}]}}}}
state: {{path: perfmon-soak.sqlite3}}
""".replace("perfmon-soak.sqlite3", "")


def watch(pid: int, url: str, seconds: float) -> list[tuple[float, ...]]:
    print("minutes,rss_mib,fds,lateness_p99_s,runs,failures,cpu_share")
    rows = []
    began, cpu, page = time.monotonic(), cpu_s(pid), get(f"{url}/metrics")
    while time.monotonic() - began < seconds:
        time.sleep(10.0)
        now, cpu_now, page_now = time.monotonic() - began, cpu_s(pid), get(f"{url}/metrics")
        row = (
            now / 60,
            rss_bytes(pid) / 2**20,
            fds(pid),
            lateness_p99(page, page_now),
            metric(page_now, "perfmon_probe_runs_total"),
            metric(page_now, "perfmon_probe_runs_total", result="failure"),
            (cpu_now - cpu) / 10.0,
        )
        rows.append(row)
        print(",".join(f"{value:.6g}" for value in row), flush=True)
        cpu, page = cpu_now, page_now
    return rows


def lateness_p99(before: str, after: str) -> float:
    """Of the runs between two pages: their buckets subtracted."""
    name = "perfmon_schedule_lateness_seconds"
    old = dict(line.rsplit(" ", 1) for line in before.splitlines() if line.startswith(f"{name}_bucket"))
    new = dict(line.rsplit(" ", 1) for line in after.splitlines() if line.startswith(f"{name}_bucket"))
    page = "\n".join(f"{key} {float(value) - float(old.get(key, 0))}" for key, value in new.items())
    return histogram_quantile(page, name, 0.99)


def report(rows: list[tuple[float, ...]]) -> None:
    warm = [row for row in rows if 60 * row[0] > WARM_UP_S] or rows
    slope = theil_sen([(row[0], row[1]) for row in warm])
    half = len(warm) // 2
    print(
        f"# {verdict('RSS slope after warm-up', 60 * slope, 1.0, ' MiB/h')} ({warm[0][1]:.1f} to {warm[-1][1]:.1f} MiB)",
        file=sys.stderr,
    )
    print(
        f"# descriptors: {statistics.median(row[2] for row in warm[:half]):.0f} in the first half, {statistics.median(row[2] for row in warm[half:]):.0f} in the second",
        file=sys.stderr,
    )
    print(
        f"# p99 lateness bucket: {max(row[3] for row in warm[:half])} s at most in the first half, {max(row[3] for row in warm[half:])} s in the second",
        file=sys.stderr,
    )
    print(
        f"# {warm[-1][4]:.0f} runs, {warm[-1][5]:.0f} failures, CPU {100 * statistics.mean(row[6] for row in warm):.0f} % of one core",
        file=sys.stderr,
    )


def theil_sen(points: list[tuple[float, float]]) -> float:
    """Median of the slopes of all pairs; per minute."""
    return statistics.median((b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.combinations(points, 2))


if __name__ == "__main__":
    main()
