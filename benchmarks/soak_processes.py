"""200 processes that come and go under a real `perfmon serve`: its memory and descriptors must stay flat.

    .venv/bin/python benchmarks/soak_processes.py [--minutes 30] [--processes 200] > soak.csv

Each lives for 2 to 40 seconds and is followed by another, so some ten are born a second; perfmon samples them each
second in four groups, looks for new ones every two, and judges their memory and descriptors for leaks. Printed as CSV
every ten seconds: minutes, RSS, descriptors, processes that it sees, CPU share, and how many have lived so far. After the first five
minutes RSS must be flat: its slope is fitted by Theil-Sen over the rest and printed with the verdict. The last hour of
each series, which the page draws, fills in that time: some 30 KiB a minute of the figure.
"""

import argparse
import heapq
import itertools
import random
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import fds, get, metric, perfmon, rss_bytes, temporary, ticks_s, verdict, workplace

WARM_UP_S = 300.0
ROW_S = 10.0
LIFE_S = (2.0, 40.0)
GROUPS = 4

Row = tuple[float, float, int, float, float, int]


class Crowd:
    """So many processes at any time, each with a short life."""

    def __init__(self, size: int, word: str) -> None:
        self.born = 0
        self._word = word
        self._chance = random.Random(7)
        self._ends: list[tuple[float, int, subprocess.Popen[bytes]]] = []
        for _ in range(size):
            self._bear(time.monotonic())

    def go_on(self, until: float) -> None:
        """End each when its time is up, and let the next one come."""
        while (now := time.monotonic()) < until:
            if self._ends[0][0] > now:
                time.sleep(min(self._ends[0][0], until) - now)
                continue
            self._end(heapq.heappop(self._ends)[2])
            self._bear(now)

    def end(self) -> None:
        for _, _, process in self._ends:
            self._end(process)

    def _bear(self, now: float) -> None:
        name = f"{self._word}-{self.born % GROUPS}"
        process = subprocess.Popen([name, "600"], executable="/bin/sleep")
        heapq.heappush(self._ends, (now + self._chance.uniform(*LIFE_S), self.born, process))
        self.born += 1

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()


@contextmanager
def crowd(size: int, word: str) -> Iterator[Crowd]:
    found = Crowd(size, word)
    try:
        yield found
    finally:
        found.end()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--processes", type=int, default=200)
    options = parser.parse_args()
    print(f"# {workplace()}")
    word = f"soak-{uuid.uuid4().hex[:8]}"
    with (
        temporary() as folder,
        crowd(options.processes, word) as processes,
        perfmon(config(word), Path(folder)) as (child, url),
    ):
        rows = watch(child.pid, url, processes, 60 * options.minutes)
    report(rows)


def config(word: str) -> str:
    groups = ", ".join(f"{{name: crowd-{number}, cmdline: '^{word}-{number} '}}" for number in range(GROUPS))
    return f"""
samplers: [{{name: crowd, interval: 1s, process: {{groups: [{groups}], discover: 2s}}}}]
rules:
  - {{name: MemoryLeak, metric: perfmon_process_private_memory_bytes, leak: {{window: 5m}}}}
  - {{name: FdLeak, metric: perfmon_process_open_fds, leak: {{window: 5m}}}}
receivers: [{{name: console, log: {{}}}}]
state: {{path: ""}}
"""


def watch(pid: int, url: str, processes: Crowd, seconds: float) -> list[Row]:
    print("minutes,rss_mib,fds,processes_seen,cpu_share,lived")
    rows: list[Row] = []
    began, cpu = time.monotonic(), ticks_s(pid)
    for number in range(1, round(seconds / ROW_S) + 1):
        processes.go_on(until=began + number * ROW_S)
        page, cpu_now = get(f"{url}/metrics"), ticks_s(pid)
        row = (
            (time.monotonic() - began) / 60,
            rss_bytes(pid) / 2**20,
            fds(pid),
            metric(page, "perfmon_process_processes"),
            (cpu_now - cpu) / ROW_S,
            processes.born,
        )
        rows.append(row)
        print(",".join(f"{value:.6g}" for value in row), flush=True)
        cpu = cpu_now
    return rows


def report(rows: list[Row]) -> None:
    warm = [row for row in rows if 60 * row[0] > WARM_UP_S] or rows
    half = len(warm) // 2
    slope = 60 * theil_sen([(row[0], row[1]) for row in warm])
    early, late = (statistics.median(row[2] for row in part) for part in (warm[:half], warm[half:]))
    say(f"{verdict('RSS slope after warm-up', slope, 2.0, ' MiB/h')} ({warm[0][1]:.1f} to {warm[-1][1]:.1f} MiB)")
    say(f"descriptors: {early:.0f} in the first half, {late:.0f} in the second, {max(row[2] for row in warm)} at most")
    say(f"{warm[-1][5]} processes lived, CPU {100 * statistics.mean(row[4] for row in warm):.1f} % of one core")


def say(line: str) -> None:
    print(f"# {line}", file=sys.stderr)


def theil_sen(points: list[tuple[float, float]]) -> float:
    """Median of the slopes of all pairs; per minute."""
    return statistics.median((b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.combinations(points, 2))


if __name__ == "__main__":
    main()
