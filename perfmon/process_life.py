"""One process from birth to end: what it uses at a moment, and what it used since it was last counted.

Two numbers of a process rise when a child of its ends and is waited for: the CPU time of its children, and, less well
known, the bytes that it read and wrote. What was counted of such a child itself is taken off again, so nothing counts
twice.
"""

from collections.abc import Callable, Iterable, Mapping

import msgspec

from perfmon.clock import Clock
from perfmon.procfs import PAGE_BYTES, ProcessStat, Procfs

__all__ = ["BORN", "GAUGES", "Key", "Life", "Moment", "PssBudget", "read_moment", "up_to"]

Key = tuple[str, str]
"""A family less its prefix `perfmon_process_`, and the value of its own label `mode` or `kind`, "" when it has none."""

_USER, _SYSTEM = ("cpu_seconds_total", "user"), ("cpu_seconds_total", "system")
_CHILDREN_USER, _CHILDREN_SYSTEM = ("children_cpu_seconds_total", "user"), ("children_cpu_seconds_total", "system")
_BYTES_READ, _BYTES_WRITTEN = ("read_bytes_total", ""), ("written_bytes_total", "")

BORN: Mapping[Key, float] = {
    _USER: 0.0,
    _SYSTEM: 0.0,
    _CHILDREN_USER: 0.0,
    _CHILDREN_SYSTEM: 0.0,
    _BYTES_READ: 0.0,
    _BYTES_WRITTEN: 0.0,
    ("page_faults_total", "major"): 0.0,
    ("page_faults_total", "minor"): 0.0,
    ("context_switches_total", "voluntary"): 0.0,
    ("context_switches_total", "involuntary"): 0.0,
}
"""The counters of a process at its birth."""

GAUGES: Mapping[str, Callable[[Iterable[float]], float]] = {
    "resident_memory_bytes": sum,
    "shared_memory_bytes": sum,
    "private_memory_bytes": sum,
    "virtual_memory_bytes": sum,
    "swap_memory_bytes": sum,
    "open_fds": sum,
    "worst_fd_ratio": max,
    "fds_limit": sum,
    "proportional_memory_bytes": sum,
    "unique_memory_bytes": sum,
    "threads": sum,
}
"""How the values of several processes become that of their group."""

_INHERITED: Mapping[Key, tuple[Key, ...]] = {
    _CHILDREN_USER: (_USER, _CHILDREN_USER),
    _CHILDREN_SYSTEM: (_SYSTEM, _CHILDREN_SYSTEM),
    _BYTES_READ: (_BYTES_READ,),
    _BYTES_WRITTEN: (_BYTES_WRITTEN,),
}
"""What a process takes over from a child that it waited for (`wait_task_zombie` in the kernel's exit.c), by what of
the child it is made of. /proc/PID/io does not tell a process's own bytes from those of such children."""


class Moment(msgspec.Struct, frozen=True):
    """A process at one moment: every value that could be read."""

    stat: ProcessStat
    alive: bool  # False for a zombie, and for one that ended while it was being read
    values: Mapping[Key, float]
    errors: int  # files that could not be read


def read_moment(procfs: Procfs, pid: int) -> Moment:
    """All of a process; FileNotFoundError or ProcessLookupError when there is none."""
    stat = procfs.stat(pid)
    values = up_to(stat)
    alive, errors = not stat.ended, 0
    for part in (_memory, _switches_and_swap, _transfers, _descriptors) if alive else ():
        try:
            values |= part(procfs, pid)
        except (FileNotFoundError, ProcessLookupError):
            alive = alive and _goes_on(procfs, stat)  # if so, this kernel keeps no such file: absent, and no error
        except OSError:
            errors += 1
    return Moment(stat, alive, values, errors)


def _goes_on(procfs: Procfs, stat: ProcessStat) -> bool:
    try:
        return procfs.stat(stat.pid).start_s == stat.start_s
    except (FileNotFoundError, ProcessLookupError):
        return False


def up_to(stat: ProcessStat) -> dict[Key, float]:
    """What the process table alone tells of a process."""
    return {
        _USER: stat.user_s,
        _SYSTEM: stat.system_s,
        _CHILDREN_USER: stat.children_user_s,
        _CHILDREN_SYSTEM: stat.children_system_s,
        ("page_faults_total", "major"): stat.major_faults,
        ("page_faults_total", "minor"): stat.minor_faults,
        ("threads", ""): stat.threads,
    }


def _memory(procfs: Procfs, pid: int) -> dict[Key, float]:
    """From `statm`; never from `smaps`, for which the kernel walks every page and a large process stands still."""
    size, resident, shared, *_ = (int(pages) * PAGE_BYTES for pages in procfs.read(f"{pid}/statm").split())
    return {
        ("virtual_memory_bytes", ""): size,
        ("resident_memory_bytes", ""): resident,
        ("shared_memory_bytes", ""): shared,
        ("private_memory_bytes", ""): resident - shared,
    }


def _switches_and_swap(procfs: Procfs, pid: int) -> dict[Key, float]:
    """A kernel thread has no line for swap."""
    lines = {
        ("context_switches_total", "voluntary"): b"\nvoluntary_ctxt_switches:",
        ("context_switches_total", "involuntary"): b"\nnonvoluntary_ctxt_switches:",
        ("swap_memory_bytes", ""): b"\nVmSwap:",  # in kB
    }
    found = _numbers(procfs.read(f"{pid}/status"), lines)
    return found | {key: 1024 * number for key, number in found.items() if key == ("swap_memory_bytes", "")}


def _transfers(procfs: Procfs, pid: int) -> dict[Key, float]:
    lines = {_BYTES_READ: b"\nread_bytes:", _BYTES_WRITTEN: b"\nwrite_bytes:"}
    return _numbers(procfs.read(f"{pid}/io"), lines)


def _descriptors(procfs: Procfs, pid: int) -> dict[Key, float]:
    count = procfs.descriptors(pid)
    _, _, tail = procfs.read(f"{pid}/limits").partition(b"Max open files")
    soft = tail.split(maxsplit=1)[0]
    if soft == b"unlimited":
        return {("open_fds", ""): count, ("worst_fd_ratio", ""): 0.0}
    return {("open_fds", ""): count, ("worst_fd_ratio", ""): count / max(1, int(soft)), ("fds_limit", ""): int(soft)}


def _numbers(raw: bytes, lines: Mapping[Key, bytes]) -> dict[Key, float]:
    """The numbers that stand after these words, where they do: no need to split the 60 lines of `status` for three."""
    places = {key: raw.find(line) + len(line) for key, line in lines.items() if line in raw}
    return {key: int(raw[place:].split(maxsplit=1)[0]) for key, place in places.items()}


class PssBudget:
    """Asks for PSS and USS, which makes a process wait: of none that is too large, of no more than there is time for.

    The kernel cannot be stopped in the middle of one (a process of 200 GB stood still for 4.5 s in process-exporter's
    issue 246), so the size of each bounds what the time cannot.
    """

    def __init__(self, clock: Clock, *, largest_bytes: float, time_s: float) -> None:
        self._clock = clock
        self._largest_bytes = largest_bytes
        self._until = clock.monotonic() + time_s

    def ask(self, procfs: Procfs, moment: Moment) -> tuple[Moment, bool]:
        """The moment with PSS and USS added, and whether it was asked for them at all."""
        resident = moment.values.get(("resident_memory_bytes", ""), 0.0)
        if resident > self._largest_bytes or self._clock.monotonic() >= self._until:
            return moment, False
        try:
            found = _rollup(procfs.read(f"{moment.stat.pid}/smaps_rollup"))
        except (FileNotFoundError, ProcessLookupError):
            return moment, True  # gone, a kernel thread, or a kernel before 4.14
        except OSError:
            return msgspec.structs.replace(moment, errors=moment.errors + 1), True
        return msgspec.structs.replace(moment, values={**moment.values, **found}), True


def _rollup(raw: bytes) -> dict[Key, float]:
    """Sizes in kB; what is unique is private, whether written to or not."""
    words = {("pss", ""): b"\nPss:", ("clean", ""): b"\nPrivate_Clean:", ("dirty", ""): b"\nPrivate_Dirty:"}
    found = {key[0]: 1024 * number for key, number in _numbers(raw, words).items()}
    if found.keys() != {"pss", "clean", "dirty"}:
        return {}  # a process without memory of its own
    unique = found["clean"] + found["dirty"]
    return {("proportional_memory_bytes", ""): found["pss"], ("unique_memory_bytes", ""): unique}


class Life:
    """A process from its first sight in the group to its end; a later one with the same pid is another life."""

    def __init__(self, reading: Moment, *, counted: Mapping[Key, float], started_at: float) -> None:
        self.reading = reading
        self.started_at = started_at
        self.ended = False
        self.counted = counted  # the counters up to which it is counted
        self._owed: dict[Key, float] = {}
        self._owed_for = 0  # readings

    @property
    def pid(self) -> int:
        """Free again when this life is over."""
        return self.reading.stat.pid

    def is_of(self, reading: Moment | None) -> bool:
        """Whether what stands under its pid now is still this life."""
        return reading is not None and reading.stat.start_s == self.reading.stat.start_s

    def grow(self, reading: Moment) -> dict[Key, float]:
        """What it used since it was last counted. What cannot be read for a while is counted when it can be again."""
        growth = {
            key: self._less_owed(key, reading.values[key] - self.counted[key])
            for key in BORN
            if key in reading.values and key in self.counted
        }
        self.counted = {**self.counted, **reading.values}
        self.reading = reading
        return growth

    def inherit(self, child: "Life") -> None:
        """A child ended that was counted as a member: its counters will show in this process too.

        Now, or in the next reading: parents are read first, and the child may have gone just after.
        """
        for key, parts in _INHERITED.items():
            self._owed[key] = self._owed.get(key, 0.0) + sum(child.counted.get(part, 0.0) for part in parts)
        self._owed_for = 2

    def _less_owed(self, key: Key, growth: float) -> float:
        """Never below 0, whatever the kernel's counter does."""
        owed = self._owed.get(key, 0.0)
        if owed:
            self._owed[key] = max(0.0, owed - growth)
        return max(0.0, growth - owed)

    def settle(self) -> None:
        """Forget what did not show in two readings: a parent that ignores SIGCHLD inherits nothing."""
        self._owed_for -= 1
        if self._owed_for <= 0:
            self._owed.clear()
