"""CPU per reading of the samplers, and of psutil asked for the same processes.

Claim: a reading costs less than psutil's, though it tells more, and grows with the processes of the group, not of the
machine. Looking for new members reads every process of the machine; it is held to a hundredth of one core.

    python benchmarks/sampler_cost.py [--readings 200]
"""

import argparse
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack

import psutil

from perfmon.clock import ManualClock
from perfmon.samplers import host, process

SLEEP = "import sys; print('ready', flush=True); sys.stdin.read()"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--readings", type=int, default=200, help="how many to take the mean of")
    readings = parser.parse_args().readings

    print(f"{len(psutil.pids())} processes on the machine, mean of {readings} readings, CPU us each\n")
    reader = host.open(host.Config(), ManualClock())
    print(f"{'host':24}{cpu_us(reader.sample, readings):10.0f}")
    for count in (1, 10, 100):
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
