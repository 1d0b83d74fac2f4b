"""What perfmon.instrument costs the service that imports it: a page, the collector's callback, the import.

python benchmarks/instrument_cost.py
"""

import subprocess
import sys
import timeit

from perfmon.instrument import malloc, pauses, python

IMPORT = "import time; t = time.perf_counter(); from perfmon.instrument import python; print(time.perf_counter() - t)"


def best_us(call, number):
    return min(timeit.repeat(call, number=number, repeat=5)) / number * 1e6


def main():
    one = pauses.Pauses()
    print(
        f"import                                {1e3 * min(float(subprocess.check_output([sys.executable, '-c', IMPORT])) for _ in range(5)):8.1f} ms"
    )
    print(f"one page as text                      {best_us(python.text, 500):8.1f} us")
    print(
        f"callbacks of one garbage collection   {best_us(lambda: (one('start', {}), one('stop', {})), 10_000):8.2f} us"
    )
    blocks = [[index] for index in range(1_000_000)]
    print(
        f"one page with a million objects       {best_us(lambda: python.text(objects=True), 1) / 1e3:8.1f} ms (objects=True)"
    )
    blocks = [bytes(600 + index % 50 * 8) for index in range(400_000)]
    del blocks[::2]
    print(
        f"mallinfo2 with 200,000 free blocks    {best_us(malloc.heap, 3) / 1e3:8.1f} ms (other threads run, but may wait for malloc)"
    )


if __name__ == "__main__":
    main()
