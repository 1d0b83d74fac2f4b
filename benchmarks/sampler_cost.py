"""CPU per reading of the samplers, and of psutil asked for the same processes.

Claim: a reading costs less than psutil's, though it tells more, and grows with the processes of the group, not of the
machine. Looking for new members reads every process of the machine; it is held to a hundredth of one core.
`--live N` takes the whole daemon instead: N processes in ten groups every 5 s under `perfmon serve`, all that they cost
it, with a leak rule on each group, less what the same daemon costs without them.
500 processes shall take less than 3 % of a core.

    python benchmarks/sampler_cost.py [--readings 200] [--live 500 [--seconds 60]]
"""

import argparse
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import psutil
from harness import get, metric, perfmon, temporary, ticks_s, verdict, workplace

from perfmon.clock import ManualClock
from perfmon.samplers import host, process

GROUPS = 10
IDLE = "samplers: [{name: bench, interval: 5s, process: {groups: [{name: self, self: true}]}}]\nstate: {path: ''}\n"
SLEEP = "import sys; print('ready', flush=True); sys.stdin.read()"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--readings", type=int, default=200, help="how many to take the mean of")
    parser.add_argument("--live", type=int, metavar="N", help="so many processes under a daemon")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the daemon is watched")
    options = parser.parse_args()
    if options.live:
        live(options.live, options.seconds)
    else:
        in_place(options.readings)


def live(count: int, seconds: float) -> None:
    word = uuid.uuid4().hex
    print(workplace())
    with ExitStack() as stack:
        for number in range(count):
            start(stack, f"{word}-{number % GROUPS}")
        alone, beside = share_of_core(IDLE, 1, seconds), share_of_core(watching(word), count, seconds)
    print(f"a daemon with {count} processes of {GROUPS} groups {100 * beside:.2f} %, without {100 * alone:.2f} %")
    print(verdict("their share of a core", 100 * (beside - alone), 3.0, " %"))


def watching(word: str) -> str:
    groups = ", ".join(f"{{name: bench-{number}, cmdline: '{word}-{number}$'}}" for number in range(GROUPS))
    return f"""
samplers: [{{name: bench, interval: 5s, process: {{groups: [{groups}]}}}}]
rules: [{{name: MemoryLeak, metric: perfmon_process_private_memory_bytes, leak: {{window: 30m}}}}]
state: {{path: ""}}
"""


def share_of_core(config: str, count: int, seconds: float) -> float:
    """Of a daemon that has been up for ten seconds and sees so many processes."""
    with temporary() as folder, perfmon(config, Path(folder)) as (child, url):
        time.sleep(10)
        assert count == metric(get(f"{url}/metrics"), "perfmon_process_processes")
        before = ticks_s(child.pid)
        time.sleep(seconds)
        return (ticks_s(child.pid) - before) / seconds


def in_place(readings: int) -> None:
    print(f"{len(psutil.pids())} processes on the machine, mean of {readings} readings, CPU us each\n")
    reader = host.open(host.Config(), ManualClock())
    print(f"{'host':24}{cpu_us(reader.sample, readings):10.0f}")
    for count in (1, 10, 100, 500):
        measure_group(count, max(20, readings // count))


def measure_group(count: int, readings: int) -> None:
    word, clock = uuid.uuid4().hex, ManualClock()

    def look() -> None:
        clock.advance(60)
        reader.sample()

    with ExitStack() as stack:
        pids = [start(stack, word) for _ in range(count)]
        reader = process.open(process.Config(groups=(process.Group("bench", cmdline=word),)), clock)
        found = {sample.name: sample.value for sample in reader.sample()}
        assert found["perfmon_process_processes"] == count
        ours, theirs = cpu_us(reader.sample, readings), cpu_us(lambda: ask_psutil(pids), readings)
        print(f"\n{f'group of {count}':24}{ours:10.0f}{ours / count:10.0f} a process")
        print(f"{'  with a look for more':24}{cpu_us(look, readings):10.0f}")
        print(f"{'  psutil, fewer values':24}{theirs:10.0f}{theirs / ours:10.1f} times as much")


def start(stack: ExitStack, word: str) -> int:
    child = subprocess.Popen(
        [sys.executable, "-S", "-c", SLEEP, word], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    stack.enter_context(child)
    stack.callback(child.kill)
    assert child.stdout is not None
    child.stdout.readline()
    return child.pid


def ask_psutil(pids: list[int]) -> None:
    """What it can tell of what the sampler tells: neither page faults, nor swap without a walk through `smaps`."""
    for pid in pids:
        oracle = psutil.Process(pid)
        with oracle.oneshot():
            oracle.cpu_times(), oracle.memory_info(), oracle.io_counters(), oracle.num_ctx_switches()
            oracle.num_fds(), oracle.num_threads(), oracle.create_time(), oracle.rlimit(psutil.RLIMIT_NOFILE)


def cpu_us(act: Callable[[], object], times: int) -> float:
    act()
    began = time.process_time()
    for _ in range(times):
        act()
    return (time.process_time() - began) / times * 1e6


if __name__ == "__main__":
    main()
