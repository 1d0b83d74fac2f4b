"""Gauges of a Python process that tell a leak from fragmentation.

Resident memory that grows while `allocated_blocks` and `malloc_in_use_bytes` stay flat is memory that is free and
cannot be given back: no leak. perfmon's sampler `python` reads these from the service's own /metrics by their names.
"""

import gc
import os
import platform
import sys
import threading
from collections.abc import Iterator
from functools import cache, partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from perfmon.instrument import malloc
from perfmon.instrument.page import Page
from perfmon.instrument.pauses import BOUNDS_S, watched

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

__all__ = ["HELP", "PAUSES", "Collector", "Reading", "read", "register", "serve", "text"]


class Reading(NamedTuple):
    """One value."""

    name: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()


HELP = {
    "perfmon_python_info": "Version of Python, its implementation, and the malloc below it.",
    "perfmon_python_start_timestamp_seconds": "When the process started, in Unix time.",
    "perfmon_python_resident_memory_bytes": "Memory of the process in RAM.",
    "perfmon_python_allocated_blocks": "Blocks that Python's allocator has handed out (sys.getallocatedblocks).",
    "perfmon_python_malloc_in_use_bytes": "Memory that malloc has handed out, without large blocks (glibc only).",
    "perfmon_python_malloc_arena_bytes": "Memory that malloc took from the kernel for it, in use or free (glibc only).",
    "perfmon_python_malloc_mapped_bytes": "Large blocks that malloc maps one by one (glibc only).",
    "perfmon_python_threads": "Threads that Python knows.",
    "perfmon_python_tracked_objects": "Objects that the garbage collector tracks; on request only.",
    "perfmon_python_gc_pending": "How far each generation is on its way to its next collection (gc.get_count).",
    "perfmon_python_gc_collections_total": "Collections by generation.",
    "perfmon_python_gc_collected_objects_total": "Objects freed by the garbage collector, by generation.",
    "perfmon_python_gc_uncollectable_objects_total": "Objects that it could not free, by generation.",
}
"""All but the histogram, by name."""

PAUSES = "perfmon_python_gc_pause_seconds"
_PAUSES_HELP = "How long each run of the garbage collector held the process up."


def read(*, objects: bool = False) -> list[Reading]:
    """All gauges and counters now; what this platform does not tell is absent. `objects` counts tracked ones too.

    Some 30 us, and milliseconds where malloc has ten thousands of free blocks. With `objects` a list of all of them is
    made, some 10 ms per million.
    """
    watched()
    return [*_process(), *_memory(), *_collector(objects=objects)]


def text(*, objects: bool = False) -> str:
    """The page, in Prometheus' text format 0.0.4."""
    lines: list[str] = []
    for name, value, labels in read(objects=objects):
        header = f"# HELP {name} {HELP[name]}\n# TYPE {name} {_type(name)}"
        if header not in lines:
            lines.append(header)
        lines.append(f"{name}{_rendered(labels)} {value}")
    lines += [f"# HELP {PAUSES} {_PAUSES_HELP}", f"# TYPE {PAUSES} histogram"]
    lines += [f'{PAUSES}_bucket{{le="{le}"}} {runs}' for le, runs in _cumulated()]
    lines += [f"{PAUSES}_sum {watched().seconds}", f"{PAUSES}_count {sum(watched().buckets)}"]
    return "\n".join(lines) + "\n"


def serve(port: int, *, host: str = "127.0.0.1", objects: bool = False) -> Page:
    """Serve the page at `/metrics` from a thread of its own until it is closed; port 0 takes a free one (`.port`)."""
    watched()
    return Page(partial(text, objects=objects), port, host)


def register(registry: "CollectorRegistry | None" = None, *, objects: bool = False) -> "Collector":
    """Add the gauges to a registry of prometheus_client, its default one unless said otherwise."""
    from prometheus_client import REGISTRY  # noqa: PLC0415 - the service has it, or uses `serve`

    collector = Collector(objects=objects)
    (REGISTRY if registry is None else registry).register(collector)
    return collector


class Collector:
    """What a registry of prometheus_client asks at each scrape."""

    def __init__(self, *, objects: bool = False) -> None:
        self._objects = objects
        watched()

    def collect(self) -> "Iterator[Metric]":
        """The families of prometheus_client."""
        from prometheus_client.metrics_core import HistogramMetricFamily, Metric  # noqa: PLC0415 - see `register`

        families: dict[str, Metric] = {}
        for name, value, labels in read(objects=self._objects):
            family = families.setdefault(name, Metric(name.removesuffix("_total"), HELP[name], _type(name)))
            family.add_sample(name, dict(labels), value)
        yield from families.values()
        buckets = [(le, float(runs)) for le, runs in _cumulated()]
        yield HistogramMetricFamily(PAUSES, _PAUSES_HELP, buckets=buckets, sum_value=watched().seconds)


# ---------------------------------------------------------------- what is read


def _process() -> Iterator[Reading]:
    version, implementation = platform.python_version(), platform.python_implementation()
    labels = (("implementation", implementation), ("malloc", malloc.version()), ("version", version))
    yield Reading("perfmon_python_info", 1, labels)
    started = _started_at()
    if started is not None:
        yield Reading("perfmon_python_start_timestamp_seconds", started)
    yield Reading("perfmon_python_threads", threading.active_count())


def _memory() -> Iterator[Reading]:
    resident = _resident()
    if resident is not None:
        yield Reading("perfmon_python_resident_memory_bytes", resident)
    if hasattr(sys, "getallocatedblocks"):  # CPython has it
        yield Reading("perfmon_python_allocated_blocks", sys.getallocatedblocks())
    heap = malloc.heap()
    if heap is not None:
        yield Reading("perfmon_python_malloc_in_use_bytes", heap.in_use)
        yield Reading("perfmon_python_malloc_arena_bytes", heap.arena)
        yield Reading("perfmon_python_malloc_mapped_bytes", heap.mapped)


def _collector(*, objects: bool) -> Iterator[Reading]:
    if objects:
        yield Reading("perfmon_python_tracked_objects", len(gc.get_objects()))
    for generation, pending in enumerate(gc.get_count()):
        yield Reading("perfmon_python_gc_pending", pending, (("generation", str(generation)),))
    for word, name in _OF_GC.items():
        for generation, of in enumerate(gc.get_stats()):
            yield Reading(f"perfmon_python_gc_{name}_total", of[word], (("generation", str(generation)),))


_OF_GC = {
    "collections": "collections",
    "collected": "collected_objects",
    "uncollectable": "uncollectable_objects",
}


def _cumulated() -> list[tuple[str, int]]:
    """Upper bound and how many pauses were no longer."""
    return list(zip([*map(str, BOUNDS_S), "+Inf"], accumulate(watched().buckets), strict=True))


def _resident() -> int | None:
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except FileNotFoundError:
        return None  # not Linux
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _started_at() -> float | None:
    return _start_of(os.getpid())


@cache
def _start_of(_pid: int) -> float | None:
    """By pid, since what was forked began later."""
    try:
        # The name before it, in parentheses, may hold anything.
        ticks = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
        boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
    except FileNotFoundError:
        return None  # not Linux
    return int(boot.split()[1]) + int(ticks) / os.sysconf("SC_CLK_TCK")


# ---------------------------------------------------------------- how it is written


def _type(name: str) -> str:
    return "counter" if name.endswith("_total") else "gauge"


def _rendered(labels: tuple[tuple[str, str], ...]) -> str:
    """Versions and numbers: nothing in them needs to be escaped."""
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels) + "}" if labels else ""
