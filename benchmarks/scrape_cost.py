"""A scrape of 100,000 series, against client_python's generate_latest for the same series in the same run.

    .venv/bin/python benchmarks/scrape_cost.py

Aims (DESIGN.md, 6): a tenth of client_python's time; the event loop's lag p99 under 5 ms while the page is written.
Lag is how late a heartbeat of 2 ms runs on uvloop, timer rounding included: the idle figure stands beside it. On a
machine with other work part of it is waiting for a CPU that somebody else has; the kernel counts that
(/proc/thread-self/schedstat), and the verdict is on what is left.
Memory is the growth of a child process's RSS, also after it was scraped.
"""

import asyncio
import gc
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import prometheus_client
import uvloop
from observe_cost import FAMILIES, run
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from perfmon.clock import SystemClock
from perfmon.metrics import LATENCY_BUCKETS_S
from perfmon.model import Check, Module, Target
from perfmon.monitor.exposition import Exposition
from perfmon.monitor.selfmetrics import Instruments

TARGETS = 2500  # of 40 series each
ACCEPT = "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
AIM_RATIO = 0.1
AIM_LAG_S = 0.005
HEARTBEAT_S = 0.002
SCHEDSTAT = Path("/proc/thread-self/schedstat")


def checks(count: int) -> list[Check]:
    module = Module(name="http_2xx", kind="http", timeout_s=5.0, config=None)
    targets = [Target(probe="shop", address=f"http://127.0.0.1:8080/path/{n}") for n in range(count)]
    return [Check(target=target, module=module, interval_s=15.0) for target in targets]


def ours(watched: list[Check]) -> Exposition:
    exposition = Exposition(SystemClock(), 1_000_000, Instruments(), FAMILIES)
    for number, check in enumerate(watched):
        exposition.observe(run(check, number), check)
    return exposition


def theirs(watched: list[Check]) -> CollectorRegistry:
    """The same series in client_python's own instruments, without `_created`."""
    prometheus_client.disable_created_metrics()
    registry = CollectorRegistry()
    labels = ("probe", "target", "module")
    types = {"gauge": Gauge, "counter": Counter}
    metrics = {
        name: types[family.type](name, family.help, (*family.labels, *labels), registry=registry)
        for name, family in FAMILIES.items()
        if family.type in types and "sampler" not in name
    }
    latency = Histogram(
        "perfmon_probe_latency_seconds", "Latency.", labels, registry=registry, buckets=LATENCY_BUCKETS_S
    )
    for number, check in enumerate(watched):
        of_target = tuple(check.labels.values())
        measurement = run(check, number)
        latency.labels(*of_target).observe(measurement.duration_s)
        metrics["probe_success"].labels(*of_target).set(1)
        metrics["probe_duration_seconds"].labels(*of_target).set(measurement.duration_s)
        metrics["probe_timeout_seconds"].labels(*of_target).set(5)
        metrics["perfmon_probe_last_run_timestamp_seconds"].labels(*of_target).set(time.time())
        metrics["perfmon_probe_runs_total"].labels("success", "none", *of_target).inc()
        for phase, seconds in measurement.phases.items():
            metrics["perfmon_probe_phase_seconds"].labels(phase, *of_target).set(seconds)
        for key, value in measurement.facts.items():
            name, _, own = key.partition("{")
            metrics[name].labels(*(own.split('"')[1:2]), *of_target).set(value)
    return registry


class Lag(NamedTuple):
    """How late one heartbeat was, in seconds."""

    whole: float
    own: float  # without the time in which this thread was ready to run and had no CPU


async def beat(lags: list[Lag]) -> None:
    while True:
        due, waited = time.perf_counter() + HEARTBEAT_S, waited_s()
        await asyncio.sleep(HEARTBEAT_S)
        late = max(0.0, time.perf_counter() - due)
        lags.append(Lag(late, max(0.0, late - (waited_s() - waited))))


def waited_s() -> float:
    return int(SCHEDSTAT.read_text().split()[1]) / 1e9


async def with_heartbeat(work: Callable[[], Awaitable[object]], times: int) -> tuple[list[float], list[Lag]]:
    """Seconds of each piece of work, and the heartbeat's lags meanwhile."""
    lags: list[Lag] = []
    seconds = []
    heart = asyncio.create_task(beat(lags))
    for _ in range(times):
        began = time.perf_counter()
        await work()
        seconds.append(time.perf_counter() - began)
    heart.cancel()
    return seconds, lags


def say_lags(name: str, lags: list[Lag]) -> float:
    """The p99 of our own part, in seconds."""
    for part, late in (("whole", sorted(lag.whole for lag in lags)), ("own", sorted(lag.own for lag in lags))):
        p50, p99 = (late[int(len(late) * q)] for q in (0.5, 0.99))
        figures = f"p50 {p50 * 1e3:.2f} ms, p99 {p99 * 1e3:.2f} ms, max {late[-1] * 1e3:.2f} ms"
        print(f"  loop lag, {name}, {part}: {figures} ({len(late)} beats)")
    return p99


def verdict(*, good: bool) -> str:
    return "PASS" if good else "MISS"


async def time_both() -> None:
    watched = checks(TARGETS)
    exposition, registry = ours(watched), theirs(watched)
    gc.collect()
    gc.freeze()  # as the daemon does once it has started
    cpu = []
    for _ in range(5):
        began = time.process_time()
        page, _ = await exposition.scrape("text/plain")
        cpu.append(time.process_time() - began)
    their_cpu = []
    for _ in range(3):
        began = time.process_time()
        their_page = generate_latest(registry)
        their_cpu.append(time.process_time() - began)
    lines, their_lines = page.count(b"\n"), their_page.count(b"\n")
    mine, other = min(cpu), min(their_cpu)
    print(f"text: {exposition.series_count} series; CPU, best of some")
    print(f"  perfmon       {mine:.3f} s, {mine / lines * 1e6:.2f} us a line, {lines} lines, {len(page) / 1e6:.1f} MB")
    print(f"  client_python {other:.3f} s, {other / their_lines * 1e6:.2f} us a line, {their_lines} lines")
    print(f"  ratio {mine / other:.3f}  {verdict(good=mine / other < AIM_RATIO)} (aim {AIM_RATIO})")
    _, idle = await with_heartbeat(lambda: asyncio.sleep(1), 1)
    say_lags("idle", idle)
    for name, accept, encoding in (("text, plain", "text/plain", ""), ("OpenMetrics, gzip", ACCEPT, "gzip")):
        seconds, lags = await with_heartbeat(lambda: exposition.scrape(accept, encoding), 20)  # noqa: B023 called at once
        print(f"{name}: {statistics.median(seconds):.3f} s a scrape with the loop shared (median of {len(seconds)})")
        p99 = say_lags("while scraped", lags)
        print(f"  {verdict(good=p99 < AIM_LAG_S)} (aim p99 {AIM_LAG_S * 1e3:.0f} ms)")


def rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def grow(who: str) -> None:
    """In the child: how much 1,000 targets take, then after scrapes."""
    watched = checks(1000)
    ours(watched[:1])
    theirs(watched[:1])
    gc.collect()
    before = rss_bytes()
    if who == "ours":
        exposition = ours(watched)
        gc.collect()
        filled = rss_bytes()
        for _ in range(5):
            asyncio.run(exposition.scrape(ACCEPT, "gzip"))
    else:
        registry = theirs(watched)
        gc.collect()
        filled = rss_bytes()
        for _ in range(5):
            generate_latest(registry)
    print(filled - before, rss_bytes() - filled)


def weigh_both() -> None:
    print("memory, 1,000 targets of 40 series:")
    for who in ("ours", "theirs"):
        answer = subprocess.run([sys.executable, __file__, "--grow", who], capture_output=True, check=True, text=True)
        held, scraped = map(int, answer.stdout.split())
        print(f"  {who:6} {held / 40_000:.0f} bytes a series ({held / 1e6:.1f} MB), scrapes add {scraped / 1e6:.1f} MB")


if __name__ == "__main__":
    if "--grow" in sys.argv:
        grow(sys.argv[-1])
    else:
        uvloop.run(time_both())
        weigh_both()
