"""Whether a process may be looked into and can be: every reason against it, before anything is done to it."""

import os
from typing import Literal

import msgspec

from perfmon.errors import ProfileError
from perfmon.procfs import Procfs

__all__ = ["Reason", "Refused", "Subject", "inspect", "named", "tracer"]

Reason = Literal[
    "gone",  # there is no such process, or it ended meanwhile
    "itself",
    "stopped",  # by SIGSTOP: it cannot answer
    "not_python",
    "no_right",  # to look into another user's process
    "traced",  # by another debugger
    "taken",  # another perfmon profiles it, or it tracks its own allocations
    "elsewhere",  # it has files of its own: a container
    "no_debugger",
    "no_memray",  # in the target's Python
    "timeout",  # it did not get to a point at which it may be entered
    "late",  # it was entered, and did not end its capture
    "not_written",  # the capture: no space, or no right
    "unreadable",  # the capture: of another version of memray, or too large
    "failed",  # memray says something else
]


class Refused(ProfileError):
    """A process that is not profiled, or not to the end; it goes on as before."""

    def __init__(self, reason: Reason, message: str) -> None:
        self.reason: Reason = reason
        super().__init__(message)


class Subject(msgspec.Struct, frozen=True):
    """One life of a process that may be profiled."""

    pid: int
    start_s: float  # since boot
    uid: int
    gid: int
    command: str  # its arguments joined by spaces


def inspect(pid: int, procfs: Procfs) -> Subject:
    """The process, or `Refused` with the reason. Reads files of the kernel only: the process notices nothing."""
    if pid == os.getpid():
        raise Refused("itself", f"pid {pid} is perfmon itself: it cannot wait for itself")
    try:
        stat = procfs.stat(pid)
        if stat.ended:
            raise Refused("gone", f"pid {pid} has ended: it is a zombie")
        if stat.state in "Tt" and not tracer(pid, procfs):
            raise Refused("stopped", f"pid {pid} is stopped, send it SIGCONT first")
        if by := tracer(pid, procfs):
            raise Refused("traced", f"pid {pid} is traced by pid {by} already: one debugger at a time")
        maps = procfs.read(f"{pid}/maps")
        owner = os.stat(f"{procfs.path}/{pid}")  # noqa: PTH116 - beside the other files of the kernel
        subject = Subject(pid, stat.start_s, owner.st_uid, owner.st_gid, procfs.command_line(pid))
    except (FileNotFoundError, ProcessLookupError):
        raise Refused("gone", f"there is no process with pid {pid}") from None
    except PermissionError:
        raise Refused("no_right", no_right(pid)) from None
    if b"python" not in maps:
        raise Refused("not_python", f"pid {pid} ({stat.comm}) is not Python: no part of Python is in its memory")
    return subject


def no_right(pid: int) -> str:
    """Why a process may not be traced, and the ways out."""
    return f"no right to trace pid {pid}: run perfmon as root or as its user, or give it CAP_SYS_PTRACE{_yama()}"


def tracer(pid: int, procfs: Procfs) -> int:
    """The pid of the debugger that traces a process, 0 when there is none."""
    _, _, tail = procfs.read(f"{pid}/status").partition(b"\nTracerPid:")
    return int(tail.split(maxsplit=1)[0])


def named(name: str, procfs: Procfs) -> list[int]:
    """Processes whose program, script or module has this name, perfmon's own aside."""
    own = {os.getpid(), os.getppid()}
    return sorted(pid for pid in procfs.pids() if pid not in own and _is_called(pid, name, procfs))


def _is_called(pid: int, name: str, procfs: Procfs) -> bool:
    """By the kernel's name of it, or by the last part of the path of an argument: `python /srv/shop.py`, `-m shop`."""
    try:
        words = procfs.read(f"{pid}/cmdline").decode(errors="replace").split("\0")
        comm = procfs.stat(pid).comm
    except OSError:
        return False  # it ended, or is hidden: nothing that could be profiled
    parts = [word.rpartition("/")[2] for word in words]
    return name in (comm, *parts) or f"{name}.py" in parts


def _yama() -> str:
    try:
        with open("/proc/sys/kernel/yama/ptrace_scope", encoding="ascii") as file:  # noqa: PTH123 - as above
            scope = file.read().strip()
    except OSError:
        return ""  # a kernel without it
    return f" (kernel.yama.ptrace_scope is {scope})" if scope != "0" else ""
