"""One look at the processes: a file is read once, however many ask for it."""

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import TypeVar

from perfmon.clock import Clock, to_wall
from perfmon.process_life import Moment, read_moment
from perfmon.procfs import ProcessStat, Procfs

__all__ = ["Look", "in_words"]

_T = TypeVar("_T")


class Look:
    """What one call of `sample` sees: a file is read once, however many groups ask for it."""

    def __init__(self, procfs: Procfs, clock: Clock, *, before: Mapping[int, ProcessStat] | None) -> None:
        self.before = before  # the process table at the look before, None when there was none
        self.table: dict[int, ProcessStat] = {}  # the process table, once `look` was called
        self.unreadable: set[int] = set()  # pids that are hidden from us
        self._procfs = procfs
        self._clock = clock
        self._readings: dict[int, Moment | None] = {}
        self._command_lines: dict[int, str] = {}
        self._cgroup_files: dict[int, str] = {}
        self._listeners: dict[int, set[str]] = {}

    @cached_property
    def own_pid(self) -> int | None:
        """perfmon's, as this process table counts; None when it is not in it."""
        return self._procfs.own_pid()

    def look(self) -> None:
        """Read the process table; LookupError when there is none."""
        try:
            pids = self._procfs.pids()
        except OSError as error:
            raise LookupError(f'no process table at "{self._procfs.path}": {in_words(error)}') from error
        if not pids:
            raise LookupError(f'no process table at "{self._procfs.path}": no process in it')
        self.table = {pid: stat for pid in pids if (stat := self.stat(pid)) is not None}

    def process(self, pid: int) -> Moment | None:
        """All of a process, None when there is none."""
        if pid not in self._readings:
            self._readings[pid] = self._unless_gone(pid, partial(read_moment, self._procfs, pid))
        return self._readings[pid]

    def stat(self, pid: int) -> ProcessStat | None:
        """What the process table holds of a process, None when there is none."""
        reading = self._readings.get(pid)
        known = reading.stat if reading else self.table.get(pid)
        return known or self._unless_gone(pid, partial(self._procfs.stat, pid))

    def command_line(self, pid: int) -> str:
        """Its arguments joined by spaces, "" when there is none."""
        if pid not in self._command_lines:
            self._command_lines[pid] = self._unless_gone(pid, partial(self._procfs.command_line, pid)) or ""
        return self._command_lines[pid]

    def cgroups(self, pid: int) -> tuple[str, ...]:
        """Paths of the control groups that it is in: one of version 2, of version 1 one for each controller."""
        return tuple(line.split(":", 2)[2] for line in self.cgroup_file(pid).splitlines())

    def cgroup_file(self, pid: int) -> str:
        """Which control groups it is in, as the kernel writes it; "" when there is no process, or no such thing."""
        if pid not in self._cgroup_files:
            raw = self._unless_gone(pid, partial(self._procfs.read, f"{pid}/cgroup")) or b""
            self._cgroup_files[pid] = raw.decode(errors="replace")
        return self._cgroup_files[pid]

    def machine_bytes(self) -> float | None:
        """The machine's memory; None where that is not told."""
        try:
            lines = self._procfs.read("meminfo").splitlines()
        except OSError:
            return None  # a tree that holds processes only
        return next((1024.0 * int(line.split()[1]) for line in lines if line.startswith(b"MemTotal:")), None)

    def listens(self, pid: int, port: int) -> bool:
        """Whether it has a socket open that listens on this TCP port."""
        if port not in self._listeners:
            self._listeners[port] = self._procfs.listeners(port)
        sockets = self._listeners[port]
        return bool(sockets and self._unless_gone(pid, partial(self._procfs.holds, pid, sockets)))

    def started_at(self, stat: ProcessStat) -> float:
        """Unix time of a start. Asked once for each life: asked again it would tremble with the wall clock."""
        age_s = self._procfs.uptime_s() - stat.start_s
        return to_wall(self._clock, self._clock.monotonic() - age_s)

    def _unless_gone(self, pid: int, read: Callable[[], _T]) -> _T | None:
        try:
            return read()
        except (FileNotFoundError, ProcessLookupError):
            return None  # it ended since its pid was heard of
        except PermissionError:
            self.unreadable.add(pid)
            return None


def in_words(error: OSError) -> str:
    """What the kernel says, for the middle of a sentence."""
    return (error.strerror or str(error)).lower()
