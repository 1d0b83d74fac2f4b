"""Real leaky releases beside their fixed twins, watched by a real `perfmon serve`: the leak found, the twin silent.

    .venv/bin/python benchmarks/soak_leaks.py [--minutes 20] [--growth 64KiB] [--pairs numpy ujson ...]

Each release lives in a process of its own that calls what leaks so often that the leaky one grows by `--growth` a
second, and does a little other work; its fixed twin does exactly the same. One daemon samples all of them each second with one rule:
`leak`, half of the run as its window. The slope is held against the leak of one call, as the reference screened it,
times the calls that were made. Releases are installed from PyPI into `--releases` (default `.run/leaks`), a folder each,
so that no two meet. Ends with 1 unless each leak fires and each twin is silent.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
from harness import get, metric, perfmon, temporary, workplace

from perfmon.units import parse_quantity

PROGRAM = """
import contextlib, sys, threading, time
sys.path.insert(0, sys.argv[1])
{imports}
per_s, calls, told = float(sys.argv[2]), 0, threading.Event()
def asked():
    sys.stdin.readline()
    told.set()
threading.Thread(target=asked, daemon=True).start()
print("ready", flush=True)
began = time.monotonic()
while not told.wait(0.05):
    work = [str(number) for number in range(50)]
    while calls < (time.monotonic() - began) * per_s:
        calls += 1
        {operation}
print(calls / (time.monotonic() - began), flush=True)
"""
"""Calls an operation so often a second until a line comes in; then says how often that was."""

POLL_S = 2.0
MEMORY = "perfmon_process_private_memory_bytes"
SLOPE = "perfmon_leak_slope{}_bytes_per_second"


class Pair(NamedTuple):
    """A release that leaks and one that does not, and what leaks."""

    leaky: str
    fixed: str
    imports: str
    operation: str
    leak_bytes: float  # of one call, screened over many


PAIRS = {
    "numpy": Pair("2.4.0", "2.4.1", "import numpy", "numpy.eye(10, dtype=numpy.complex128)", 2768),
    "protobuf": Pair(
        "4.22.1", "4.24.4", "from google.protobuf.type_pb2 import Type", "p = Type(); p.source_context.ByteSize()", 80
    ),
    "ujson": Pair(
        "5.11.0",
        "5.12.0",
        "import ujson",
        "with contextlib.suppress(ValueError): ujson.loads('[' + '1' * 60 + ']')",
        64,
    ),
    "multidict": Pair(
        "6.6.3",
        "6.6.4",
        "import multidict",
        "d = multidict.MultiDict(); d['key'] = '1'; d.popall('key'); d['key'] = '2'; del d['key']",
        193,
    ),
}


class Target(NamedTuple):
    """One release at work."""

    name: str  # `numpy-2.4.0`
    leaks: bool
    leak_bytes: float
    process: subprocess.Popen[str]


class Seen:
    """What the daemon said of one target, over the run."""

    def __init__(self) -> None:
        self.first_s: dict[str, float] = {}  # by verdict, since the start; "firing" as well
        self.verdict = "none"
        self.slope = (0.0, 0.0, 0.0)  # as of the last verdict, with its interval

    def note(self, page: str, group: str, now: float) -> None:
        for verdict in ("clean", "suspect", "growing", "leak", "insufficient_data"):
            if metric(page, "perfmon_leak_verdict", group=group, verdict=verdict):
                self.verdict = verdict
                self.first_s.setdefault(verdict, now)
        low, slope, high = (metric(page, SLOPE.format(bound), group=group) for bound in ("_lower", "", "_upper"))
        self.slope = (low, slope, high)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--pairs", nargs="+", choices=sorted(PAIRS), default=sorted(PAIRS))
    parser.add_argument("--releases", type=Path, default=Path(".run/leaks"), help="where they are installed")
    parser.add_argument("--growth", type=growth, default="64KiB", help="of the leaky ones, a second")
    options = parser.parse_args()
    if options.minutes < 4:
        parser.error(
            "expected 4 minutes at least: a verdict needs some hundred points, and half of them are its window"
        )
    for name in options.pairs:
        install(options.releases, name, PAIRS[name])
    print(
        f"{workplace()}; {options.minutes:g} minutes, window {60 * options.minutes / 2:g} s, {options.growth:g} B/s\n",
        flush=True,
    )
    with temporary() as folder, ExitStack() as stack:
        started = [start(stack, options.releases, name, PAIRS[name], options.growth) for name in options.pairs]
        targets = [target for pair in started for target in pair]
        with perfmon(config(targets, 60 * options.minutes / 2), Path(folder)) as (_, url):
            seen = watch(url, targets, 60 * options.minutes)
        return report(targets, seen)


def growth(text: str) -> float:
    """`64KiB` in bytes."""
    quantity = parse_quantity(text)
    if quantity.unit != "bytes" or quantity.per_s or quantity.value <= 0:
        raise argparse.ArgumentTypeError(f"expected a size such as 64KiB, got {text}")
    return quantity.value


def install(releases: Path, name: str, pair: Pair) -> None:
    """Into a folder each, once; wheels only, so that nothing is compiled with other flags than everybody's."""
    for version in (pair.leaky, pair.fixed):
        folder = releases / f"{name}-{version}"
        if not folder.exists():
            pip = ["uv", "pip", "install", "-q", "--python", sys.executable, "--only-binary", ":all:"]
            subprocess.run([*pip, "--target", str(folder), f"{name}=={version}"], check=True, timeout=300)


def start(stack: ExitStack, releases: Path, name: str, pair: Pair, growth_bytes: float) -> list[Target]:
    """The leaky one and its twin."""
    targets = []
    for version in (pair.leaky, pair.fixed):
        folder = (releases / f"{name}-{version}").resolve()
        child = stack.enter_context(running(pair, folder, growth_bytes / pair.leak_bytes))
        targets.append(Target(f"{name}-{version}", version == pair.leaky, pair.leak_bytes, child))
    return targets


@contextmanager
def running(pair: Pair, folder: Path, per_s: float) -> Iterator[subprocess.Popen[str]]:
    program = PROGRAM.format(imports=pair.imports, operation=pair.operation)
    command = [sys.executable, "-c", program, str(folder), str(per_s)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            if child.stdout.readline() != "ready\n":
                raise SystemExit(f"{folder.name} did not start, see above")
            yield child
        finally:
            child.kill()


def config(targets: Sequence[Target], window_s: float) -> str:
    groups = ", ".join(f"{{name: {target.name}, pid: {target.process.pid}}}" for target in targets)
    return f"""
samplers: [{{name: releases, interval: 1s, process: {{groups: [{groups}]}}}}]
rules: [{{name: MemoryLeak, metric: {MEMORY}, leak: {{window: {window_s:g}s}}}}]
receivers: [{{name: console, log: {{}}}}]
state: {{path: ""}}
"""


def watch(url: str, targets: Sequence[Target], seconds: float) -> Mapping[str, Seen]:
    seen = {target.name: Seen() for target in targets}
    began = time.monotonic()
    while (now := time.monotonic() - began) < seconds:
        page, alerts = get(f"{url}/metrics"), get(f"{url}/api/v1/alerts")
        firing = firing_groups(alerts)
        for target in targets:
            seen[target.name].note(page, target.name, now)
            if target.name in firing:
                seen[target.name].first_s.setdefault("firing", now)
        time.sleep(POLL_S)
    return seen


def firing_groups(alerts: str) -> set[str]:
    return {one["labels"]["group"] for one in msgspec.json.decode(alerts)["alerts"] if one["state"] == "firing"}


def report(targets: Sequence[Target], seen: Mapping[str, Seen]) -> int:
    """A table for docs/benchmarks.md; 1 if anything was missed or falsely called."""
    print("| release | leaks, by calls made | slope (95 % interval) | off by | last verdict | first leak | alert | |")
    print("|---|---|---|---|---|---|---|---|")
    failed = 0
    for target in targets:
        found = seen[target.name]
        right = ("firing" in found.first_s) == target.leaks
        failed += not right
        truth = calls_per_s(target) * target.leak_bytes if target.leaks else 0.0
        print(row(target.name, truth, found, right=right))
    return int(failed > 0)


def row(name: str, truth: float, found: Seen, *, right: bool) -> str:
    low, slope, high = (value / 1024 for value in found.slope)
    cells = [
        name,
        f"{truth / 1024:.2f} KiB/s" if truth else "nothing",
        f"{slope:.2f} KiB/s ({low:.2f} to {high:.2f})",
        f"{100 * (found.slope[1] / truth - 1):+.1f} %" if truth else "",
        found.verdict,
        minutes(found.first_s.get("leak")),
        minutes(found.first_s.get("firing")),
        "right" if right else "WRONG",
    ]
    return f"| {' | '.join(cells)} |"


def calls_per_s(target: Target) -> float:
    """What the process says of itself when it is told to end."""
    said, _ = target.process.communicate("end\n", timeout=30)
    return float(said)


def minutes(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds / 60:.1f} min"


if __name__ == "__main__":
    sys.exit(main())
