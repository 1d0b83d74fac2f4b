"""The kernel's files under /proc: read cheaply, parsed into numbers.

Not by psutil, for three reasons. Its path to /proc is one global of the interpreter, so a reading of a host's /proc in
a container, or of a test's files, would change every other one. It tells swap only by `smaps`, for which the kernel
walks all pages while the process waits, and page faults not at all. And the little that it tells takes more CPU than
all of this (`benchmarks/sampler_cost.py`). The tests take it as their oracle.

Every function raises OSError as the kernel gives it: FileNotFoundError or ProcessLookupError when a process is gone
(the first at open, the second at read), PermissionError when its owner is another and we are not root.
"""

# A Path would cost as much as reading one of these small files.
# ruff: noqa: PTH110, PTH115, PTH116, PTH208

import os
from collections.abc import Iterator
from functools import cached_property

import msgspec

__all__ = ["PAGE_BYTES", "ProcessStat", "Procfs", "parse_stat"]

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_CHUNK_BYTES = 65536
_LISTEN = b"0A"  # TCP_LISTEN of include/net/tcp_states.h, as /proc/net/tcp writes it


class ProcessStat(msgspec.Struct, frozen=True, gc=False):
    """/proc/PID/stat, see proc_pid_stat(5). A pid may be given again; `pid` with `start_s` is one life of a process."""

    pid: int
    comm: str  # at most 15 bytes, may hold spaces and parentheses
    state: str  # R S D Z T t X I
    parent: int
    minor_faults: int
    major_faults: int
    user_s: float
    system_s: float
    children_user_s: float  # of children that it waited for, and of theirs
    children_system_s: float
    threads: int
    start_s: float  # since boot, in steps of 10 ms

    @property
    def ended(self) -> bool:
        """True for a zombie; a process whose main thread has ended goes on while other threads live."""
        return self.state in "ZX" and self.threads <= 1


class Procfs:
    """One mounted /proc, or a folder of files that looks like it."""

    def __init__(self, path: str = "/proc") -> None:
        self.path = path

    def read(self, name: str) -> bytes:
        """The whole of a file, whatever its size: the kernel says 0 and gives a page at a time."""
        return b"".join(self._chunks(name))

    def pids(self) -> list[int]:
        """Every process in this pid namespace that we may see, in no order."""
        return [int(name) for name in os.listdir(self.path) if name.isdecimal()]

    def own_pid(self) -> int | None:
        """The pid of this very process as this /proc counts it (another namespace counts otherwise), None if unseen."""
        try:
            return int(os.readlink(f"{self.path}/self"))
        except FileNotFoundError:
            return None

    def uptime_s(self) -> float:
        """Seconds since boot, suspend included: the clock that start times are on, in steps of 10 ms."""
        return float(self.read("uptime").split()[0])

    def stat(self, pid: int) -> ProcessStat:
        """What the scheduler knows of a process."""
        return parse_stat(self.read(f"{pid}/stat"))

    def command_line(self, pid: int) -> str:
        """The arguments joined by spaces; empty for kernel threads and zombies."""
        return self.read(f"{pid}/cmdline").rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")

    def descriptors(self, pid: int) -> int:
        """How many files a process has open.

        Since Linux 6.2 that is the size of its folder `fd`, free of charge and of permissions; before, it is 0 and
        the folder is listed. An ordinary folder (in a test) has a size of another meaning, but then so has its root.
        """
        folder = f"{self.path}/{pid}/fd"
        if self._is_real and (told := os.stat(folder).st_size):
            return told
        return len(os.listdir(folder))

    def listeners(self, port: int) -> set[str]:
        """Sockets that listen on a TCP port, as the links in /proc/PID/fd name them: `socket:[4711]`."""
        found = set()
        for name in ("net/tcp", "net/tcp6"):
            if not os.path.exists(f"{self.path}/{name}"):
                continue  # a kernel without IPv6
            for fields in self._listening(name):
                if int(fields[1].rpartition(b":")[2], 16) == port:
                    found.add(f"socket:[{int(fields[9])}]")
        return found

    def holds(self, pid: int, links: set[str]) -> bool:
        """Whether one of a process's open files is one of these; a file closed meanwhile is none of them."""
        folder = f"{self.path}/{pid}/fd"
        for entry in os.listdir(folder):
            try:
                if os.readlink(f"{folder}/{entry}") in links:
                    return True
            except FileNotFoundError:
                continue  # closed since the folder was listed
        return False

    @cached_property
    def _is_real(self) -> bool:
        return os.stat(self.path).st_size == 0

    def _listening(self, name: str) -> Iterator[list[bytes]]:
        """Rows of listening sockets. They come first, so a table of 100,000 connections is left unread behind them."""
        rest = b""
        for chunk in self._chunks(name):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                fields = line.split()
                if fields[0] == b"sl":
                    continue
                if fields[3] != _LISTEN:
                    return
                yield fields

    def _chunks(self, name: str) -> Iterator[bytes]:
        # Bare system calls: `open` adds fstat, lseek and an object, a third of the cost of such small files.
        file = os.open(f"{self.path}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            while chunk := os.read(file, _CHUNK_BYTES):
                yield chunk
        finally:
            os.close(file)


def parse_stat(raw: bytes) -> ProcessStat:
    """Of `7 (a (b) c) S 1 ...`: the name ends at the last parenthesis, since it may hold any of its own."""
    head, _, tail = raw.rpartition(b")")
    pid, _, comm = head.partition(b" (")
    fields = tail.split()  # fields[0] is field 3 of proc_pid_stat(5)
    return ProcessStat(
        pid=int(pid),
        comm=comm.decode(errors="replace"),
        state=fields[0].decode(),
        parent=int(fields[1]),
        minor_faults=int(fields[7]),
        major_faults=int(fields[9]),
        user_s=int(fields[11]) / _TICKS_PER_S,
        system_s=int(fields[12]) / _TICKS_PER_S,
        children_user_s=int(fields[13]) / _TICKS_PER_S,
        children_system_s=int(fields[14]) / _TICKS_PER_S,
        threads=int(fields[17]),
        start_s=int(fields[19]) / _TICKS_PER_S,
    )
