"""The schedule alone: 10,000 targets at 10 s, how late each began and what starting it cost.

The work of each target is empty, so what is measured is the grid, APScheduler, the guard against
overlapping runs and one asyncio task a run.

    .venv/bin/python benchmarks/schedule.py [--targets 10000] [--interval 10] [--seconds 60]
"""

import argparse
import asyncio
import time

import uvloop
from harness import verdict, workplace

from perfmon import stats
from perfmon.clock import SystemClock
from perfmon.monitor.runs import Runs
from perfmon.monitor.selfmetrics import Instruments


async def measure(targets: int, interval_s: float, seconds: float) -> None:
    clock = SystemClock()
    runs = Runs(clock, Instruments(), in_flight=10_000, per_host=10_000)
    late: list[float] = []
    start = runs._start

    def note(due) -> None:  # beside the daemon's own way, so that its cost stays in
        late.append(clock.monotonic() - due.at)
        start(due)

    runs.schedule._run = note

    async def nothing() -> None:
        return

    for number in range(targets):
        runs.add(f"shop/http://127.0.0.1/{number}", interval_s, nothing, limited=True)
    runs.schedule.start()
    await asyncio.sleep(interval_s)
    late.clear()
    cpu, began = time.process_time(), time.monotonic()
    await asyncio.sleep(seconds)
    cpu, elapsed = time.process_time() - cpu, time.monotonic() - began
    await runs.stop(1.0)
    late.sort()
    p50, p99 = (stats.quantile(late, q) for q in (0.5, 0.99))
    print(
        f"{targets} targets every {interval_s:g} s: {len(late)} runs in {elapsed:.0f} s ({targets / interval_s * elapsed:.0f} were due)"
    )
    print(f"  lateness p50 {1e3 * p50:.2f} ms, max {1e3 * late[-1]:.2f} ms; {verdict('p99', 1e3 * p99, 20, ' ms')}")
    print(f"  {verdict('CPU a due probe', 1e6 * cpu / len(late), 20, ' us')}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=10_000)
    parser.add_argument("--interval", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    print(workplace())
    uvloop.run(measure(arguments.targets, arguments.interval, arguments.seconds))


if __name__ == "__main__":
    main()
