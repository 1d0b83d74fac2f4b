"""What one control group uses, read from the kernel's files of version 1 or 2 into the same names.

What a kernel, a layout or a controller does not tell is absent, never 0.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from errno import EOPNOTSUPP
from pathlib import Path

from perfmon.cgroupfs import Cgroup, flat, parse_pressure, single

__all__ = ["Key", "memory_limit", "usage"]

Key = tuple[str, str]
"""A family less its prefix `perfmon_cgroup_`, and the value of its own label, "" when it has none."""


def usage(group: Cgroup) -> tuple[dict[Key, float], int]:
    """All that can be read of a group, and how many files could not be; counters are the kernel's own."""
    values: dict[Key, float] = {}
    errors = 0
    for part in _V2_PARTS if group.is_v2 else _V1_PARTS:
        try:
            values.update(part(group))
        except (FileNotFoundError, ProcessLookupError):
            continue  # this kernel has no such file, or the group is gone
        except OSError as error:
            errors += error.errno != EOPNOTSUPP  # so says a kernel started with psi=0
    return values, errors


_Part = Callable[[Cgroup], Iterable[tuple[Key, float]]]

_NANOSECONDS, _MICROSECONDS = 1e-9, 1e-6
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_NO_LIMIT_V1 = 1 << 62  # PAGE_COUNTER_MAX, in bytes and rounded down to pages, differs with the page size


def _one(controller: str, file: str, name: str) -> _Part:
    """A file of one number under the name of one family; nothing where it says `max`."""

    def read(group: Cgroup) -> Iterator[tuple[Key, float]]:
        value = single(group.read(controller, file))
        if value is not None and value < _NO_LIMIT_V1:
            yield (name, ""), float(value)

    return read


def _stat(values: Mapping[str, int], names: Mapping[str, str]) -> Iterator[tuple[Key, float]]:
    """Families of one number each, by the kernel's words for them."""
    yield from (((name, ""), float(values[word])) for word, name in names.items() if word in values)


def _labelled(values: Mapping[str, int], name: str, words: Mapping[str, str]) -> Iterator[tuple[Key, float]]:
    """One family, the values of its own label by the kernel's words for them."""
    yield from (((name, own), float(values[word])) for word, own in words.items() if word in values)


def _memory_v2(group: Cgroup) -> Iterator[tuple[Key, float]]:
    values = flat(group.read("", "memory.stat"))
    names = {
        "anon": "anonymous",
        "file": "file",
        "shmem": "shared",
        "kernel": "kernel",
        "slab": "slab",
        "sock": "socket",
    }
    yield from _stat(values, {word: f"memory_{name}_bytes" for word, name in names.items()})
    faults = values | {"minor": values["pgfault"] - values["pgmajfault"]} if "pgmajfault" in values else values
    yield from _labelled(faults, "memory_faults_total", {"pgmajfault": "major", "minor": "minor"})
    refaults = {"workingset_refault_anon": "anon", "workingset_refault_file": "file"}
    yield from _labelled(values, "memory_refaults_total", refaults)
    usage = single(group.read("", "memory.current"))
    if usage is not None:
        yield ("memory_usage_bytes", ""), float(usage)
        yield ("memory_working_set_bytes", ""), float(max(0, usage - values.get("inactive_file", 0)))


def _memory_v1(group: Cgroup) -> Iterator[tuple[Key, float]]:
    """The `total_` numbers hold the groups below as well, as all numbers of version 2 do."""
    values = flat(group.read("memory", "memory.stat"))
    names = {"rss": "anonymous", "cache": "file", "shmem": "shared", "swap": "swap"}
    yield from _stat(values, {f"total_{word}": f"memory_{name}_bytes" for word, name in names.items()})
    if "total_pgmajfault" in values:
        yield ("memory_faults_total", "major"), float(values["total_pgmajfault"])
        yield ("memory_faults_total", "minor"), float(values["total_pgfault"] - values["total_pgmajfault"])
    refaults = {f"total_workingset_refault_{kind}": kind for kind in ("anon", "file")}
    yield from _labelled(values, "memory_refaults_total", refaults)
    if values.get("hierarchical_memory_limit", _NO_LIMIT_V1) < _NO_LIMIT_V1:
        yield ("memory_limit_bytes", ""), float(values["hierarchical_memory_limit"])
    usage = single(group.read("memory", "memory.usage_in_bytes"))
    if usage is not None:
        yield ("memory_usage_bytes", ""), float(usage)
        yield ("memory_working_set_bytes", ""), float(max(0, usage - values.get("total_inactive_file", 0)))


def memory_limit(group: Cgroup) -> float | None:
    """The lowest memory limit on a group and on those above it, in bytes; None when none is known."""
    try:
        found = dict(_limit_v2(group) if group.is_v2 else _memory_v1(group))
    except OSError:
        return None  # the group is gone, which reads as ENODEV too, or its files are not ours to read
    return found.get(("memory_limit_bytes", ""))


def _limit_v2(group: Cgroup) -> Iterator[tuple[Key, float]]:
    """The lowest of its own and those above: the kernel enforces them all. The root has no such file."""
    limits = []
    for folder in group.upwards(""):
        file = Path(folder, "memory.max")
        if file.exists():
            limits.append(single(file.read_text(encoding="utf-8")))
    known = [limit for limit in limits if limit is not None]
    if known:
        yield ("memory_limit_bytes", ""), float(min(known))


_EVENTS = {event: event for event in ("low", "high", "max", "oom", "oom_kill", "oom_group_kill")}


def _events_v2(group: Cgroup) -> Iterator[tuple[Key, float]]:
    yield from _labelled(flat(group.read("", "memory.events")), "memory_events_total", _EVENTS)


def _oom_v1(group: Cgroup) -> Iterator[tuple[Key, float]]:
    yield from _labelled(flat(group.read("memory", "memory.oom_control")), "memory_events_total", _EVENTS)


def _failures_v1(group: Cgroup) -> Iterator[tuple[Key, float]]:
    hits = single(group.read("memory", "memory.failcnt"))
    if hits is not None:
        yield ("memory_events_total", "max"), float(hits)


def _cpu_v2(group: Cgroup) -> Iterator[tuple[Key, float]]:
    values = flat(group.read("", "cpu.stat"))
    modes = {"user_usec": "user", "system_usec": "system"}
    for key, value in _labelled(values, "cpu_seconds_total", modes):
        yield key, value * _MICROSECONDS
    yield from _throttling(values, "throttled_usec", _MICROSECONDS)


def _cpu_time_v1(group: Cgroup) -> Iterator[tuple[Key, float]]:
    """In nanoseconds where the kernel tells them (since 4.9), else in ticks."""
    try:
        for mode, file in (("user", "cpuacct.usage_user"), ("system", "cpuacct.usage_sys")):
            yield ("cpu_seconds_total", mode), (single(group.read("cpuacct", file)) or 0) * _NANOSECONDS
    except FileNotFoundError:
        values = flat(group.read("cpuacct", "cpuacct.stat"))
        for key, value in _labelled(values, "cpu_seconds_total", {"user": "user", "system": "system"}):
            yield key, value * _TICK_S


def _cpu_v1(group: Cgroup) -> Iterator[tuple[Key, float]]:
    yield from _throttling(flat(group.read("cpu", "cpu.stat")), "throttled_time", _NANOSECONDS)


def _throttling(values: Mapping[str, int], word: str, unit_s: float) -> Iterator[tuple[Key, float]]:
    names = {"nr_periods": "cpu_periods_total", "nr_throttled": "cpu_throttled_periods_total"}
    yield from _stat(values, names)
    if word in values:
        yield ("cpu_throttled_seconds_total", ""), values[word] * unit_s


def _cpu_limit_v2(group: Cgroup) -> Iterator[tuple[Key, float]]:
    """`50000 100000`: that many microseconds of CPU in each so many of time; `max 100000` is no limit."""
    quota, _, period = group.read("", "cpu.max").strip().partition(" ")
    if quota != "max" and period:
        yield ("cpu_limit", ""), int(quota) / int(period)


def _cpu_limit_v1(group: Cgroup) -> Iterator[tuple[Key, float]]:
    quota = single(group.read("cpu", "cpu.cfs_quota_us"))
    period = single(group.read("cpu", "cpu.cfs_period_us"))
    if quota is not None and quota > 0 and period:  # -1 is no limit
        yield ("cpu_limit", ""), quota / period


_IO_WORDS = {
    "rbytes": "io_read_bytes_total",
    "wbytes": "io_written_bytes_total",
    "rios": "io_reads_total",
    "wios": "io_writes_total",
}


def _io_v2(group: Cgroup) -> Iterator[tuple[Key, float]]:
    """Lines of `8:0 rbytes=1 wbytes=2 rios=3 wios=4`, a device each; a group that did none has no line."""
    totals = dict.fromkeys(_IO_WORDS.values(), 0)
    for line in group.read("", "io.stat").splitlines():
        for pair in line.split()[1:]:
            word, _, number = pair.partition("=")
            if word in _IO_WORDS and number.isdigit():
                totals[_IO_WORDS[word]] += int(number)
    yield from (((name, ""), float(total)) for name, total in totals.items())


def _io_v1(file: str, read: str, written: str) -> _Part:
    """Lines of `8:0 Read 4096`, with those of the groups below; the last is the sum of all devices."""

    def part(group: Cgroup) -> Iterator[tuple[Key, float]]:
        totals = {"Read": 0, "Write": 0}
        for line in group.read("blkio", file).splitlines():
            words = line.split()
            if len(words) == 3 and words[1] in totals:
                totals[words[1]] += int(words[2])
        yield (read, ""), float(totals["Read"])
        yield (written, ""), float(totals["Write"])

    return part


def _pressure(resource: str) -> _Part:
    """The machine's `full` of cpu says nothing, but a group's does: all its tasks waited for a CPU of others."""

    def read(group: Cgroup) -> Iterator[tuple[Key, float]]:
        seconds = parse_pressure(group.read("", f"{resource}.pressure"))
        for word, how in (("some", "waiting"), ("full", "stalled")):
            if word in seconds:
                yield (f"pressure_{how}_seconds_total", resource), seconds[word]

    return read


_PRESSURES = tuple(_pressure(resource) for resource in ("cpu", "memory", "io"))
_V2_PARTS: tuple[_Part, ...] = (
    _memory_v2,
    _limit_v2,
    _events_v2,
    _one("", "memory.high", "memory_high_bytes"),
    _one("", "memory.peak", "memory_peak_bytes"),
    _one("", "memory.swap.current", "memory_swap_bytes"),
    _one("", "memory.swap.max", "memory_swap_limit_bytes"),
    _cpu_v2,
    _cpu_limit_v2,
    _one("", "pids.current", "tasks"),
    _one("", "pids.max", "tasks_limit"),
    _io_v2,
    *_PRESSURES,
)
_V1_PARTS: tuple[_Part, ...] = (
    _memory_v1,
    _oom_v1,
    _failures_v1,
    _one("memory", "memory.max_usage_in_bytes", "memory_peak_bytes"),
    _one("memory", "memory.kmem.usage_in_bytes", "memory_kernel_bytes"),
    _one("memory", "memory.kmem.tcp.usage_in_bytes", "memory_socket_bytes"),
    _cpu_time_v1,
    _cpu_v1,
    _cpu_limit_v1,
    _one("pids", "pids.current", "tasks"),
    _one("pids", "pids.max", "tasks_limit"),
    _io_v1("blkio.throttle.io_service_bytes_recursive", "io_read_bytes_total", "io_written_bytes_total"),
    _io_v1("blkio.throttle.io_serviced_recursive", "io_reads_total", "io_writes_total"),
    *_PRESSURES,  # of the tree of version 2 that a hybrid has beside
)
