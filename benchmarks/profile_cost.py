"""What memray costs the program that it tracks: the same work untracked and tracked, in turns, as ratios of CPU time.

python benchmarks/profile_cost.py
"""

import json
import statistics
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from memray import FileDestination, FileFormat, Tracker

TURNS = 5


def web_work():
    order = {"id": 7, "lines": [{"name": f"item {number}", "price": number / 7} for number in range(60)]}
    for _ in range(60):
        json.loads(json.dumps(order))["lines"].sort(key=lambda line: -line["price"])


def tight_arithmetic():
    total = 1000
    for number in range(120_000):
        total += number * 3


def large_buffers():
    for number in range(4_000):
        bytearray(20_000 + number)


def cpu_s(work, folder, python_allocators):
    if python_allocators is None:
        tracking = nullcontext()
    else:
        tracking = Tracker(
            destination=FileDestination(Path(folder) / "capture.bin", overwrite=True, compress_on_exit=False),
            file_format=FileFormat.AGGREGATED_ALLOCATIONS,
            trace_python_allocators=python_allocators,
        )
    with tracking:
        began = time.process_time()
        work()
        return time.process_time() - began


def main():
    print(f"{'work':<18} {'tracked':>8} {'with --python-allocators':>25}")
    with tempfile.TemporaryDirectory() as folder:
        for work in (web_work, tight_arithmetic, large_buffers):
            cpu_s(work, folder, None)
            turns = [[cpu_s(work, folder, how) for how in (None, False, True)] for _ in range(TURNS)]
            system, every = (statistics.median(turn[how] / turn[0] for turn in turns) for how in (1, 2))
            print(f"{work.__name__:<18} {f'x{system:.2f}':>8} {f'x{every:.2f}':>25}")


if __name__ == "__main__":
    main()
