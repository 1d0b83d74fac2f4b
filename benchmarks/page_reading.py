"""Reading a target's page of metrics: a few named series of it, and all, beside prometheus_client's own parser.

python benchmarks/page_reading.py
"""

import timeit

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from perfmon.prometheus_text import read

PATHS = 300


def page():
    registry = CollectorRegistry()
    waits = Histogram("http_request_duration_seconds", "Time to answer.", ["path", "code"], registry=registry)
    orders = Counter("orders", "Orders.", ["path"], registry=registry)
    for number in range(PATHS):
        orders.labels(f"/p/{number}").inc()
        for code in ("200", "500"):
            waits.labels(f"/p/{number}", code).observe(0.1)
    return generate_latest(registry).decode()


def best_us(call, lines):
    return min(timeit.repeat(call, number=1, repeat=7)) / lines * 1e6


def main():
    text = page()
    lines = read(text, lambda _name: False).lines
    none = best_us(lambda: read(text, lambda _name: False), lines)
    every = best_us(lambda: read(text, lambda _name: True), lines)
    theirs = best_us(lambda: list(text_string_to_metric_families(text)), lines)
    print(f"a page of {lines} series, {len(text) // 1024} KiB; a line takes")
    print(f"perfmon, series that nobody asks for  {none:6.2f} us  {theirs / none:5.1f} times less")
    print(f"perfmon, series that are asked for    {every:6.2f} us  {theirs / every:5.1f} times less")
    print(f"prometheus_client                     {theirs:6.2f} us")


if __name__ == "__main__":
    main()
