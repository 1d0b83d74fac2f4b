"""One capture of a running process: bounded in time and size, in a folder that only it and we can enter."""

import contextlib
import os
import select
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from perfmon.clock import Clock
from perfmon.procfs import Procfs
from perfmon.profile import attach
from perfmon.profile.attach import Tracking
from perfmon.profile.sites import Capture, Frame, Live, Stack
from perfmon.profile.subject import Refused, Subject

__all__ = ["LARGEST_BYTES", "alone", "capture", "folder_for", "read", "reclaim"]

LARGEST_BYTES = 256 << 20  # an aggregated capture has some 10 kB
_DEPTH = 4  # calls that make a place: fewer mix callers up, more tear one leak into many
_LATE_S = 10.0  # after its time, until the tracking is ended from outside
_SETTLE_S = 0.3  # the timer in the target began a little later than ours
_LOOK_EACH_S = 0.2


@contextlib.contextmanager
def alone(subject: Subject) -> Iterator[None]:
    """Hold the process for ourselves: a second capture would end the first. `Refused` when another perfmon has it."""
    # An abstract socket needs no file, and is free again when its owner dies.
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as claim:
        try:
            claim.bind(f"\0perfmon-profile-{subject.pid}-{subject.start_s}")
        except OSError:
            raise Refused("taken", f"pid {subject.pid} is being profiled by another perfmon") from None
        yield


@contextlib.contextmanager
def folder_for(subject: Subject, *, inside: Path | None, procfs: Procfs) -> Iterator[Path]:
    """A folder that the process can write and nobody else can enter, removed at the end.

    It belongs to the process's user until `reclaim`, so what is found in it is not trusted (`read`).
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix="perfmon-profile-", dir=inside)).resolve()  # mode 0700
    except OSError as error:
        raise Refused("not_written", f"no folder for the capture: {error.strerror}: {inside}") from None
    try:
        if os.geteuid() == 0 and subject.uid != 0:
            os.chown(folder, subject.uid, subject.gid)
        _demand_seen(subject, folder, procfs)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # root of a container's user may have left more than is ours


def capture(subject: Subject, tracking: Tracking, *, limit_s: float, procfs: Procfs, clock: Clock) -> None:
    """Track for the time and wait for the file; over in the target when this returns or raises, or at its time."""
    try:
        attach.begin(subject, tracking, limit_s=limit_s, procfs=procfs)
        _await(subject, tracking, procfs=procfs, clock=clock)
    except BaseException as error:
        if not isinstance(error, Refused) or error.reason in ("late", "unreadable"):
            with contextlib.suppress(Refused):  # it ends by itself at its time
                attach.end(subject, limit_s=limit_s, procfs=procfs)
        raise


def reclaim(folder: Path) -> None:
    """Take a folder back, before anything in it is read: from now on the target cannot put a link in a file's place."""
    os.chown(folder, os.geteuid(), os.getegid())


def read(path: Path, *, at: Literal["end", "peak"] = "end") -> Capture:
    """What lived at the end of a capture, or when most memory was in use.

    `Refused` when it is none that this memray reads.
    """
    from memray import FileReader  # noqa: PLC0415 - takes 0.2 s and 20 MB

    live: dict[Stack, Live] = {}
    try:
        _demand_plain(path)
        with FileReader(path) as reader:
            span = reader.metadata.end_time - reader.metadata.start_time
            records = (
                reader.get_leaked_allocation_records if at == "end" else reader.get_high_watermark_allocation_records
            )
            for record in records(merge_threads=True):
                stack = tuple(Frame(*frame) for frame in record.stack_trace(max_stacks=_DEPTH)) or _NATIVE
                former = live.get(stack, Live(0, 0))
                live[stack] = Live(former.blocks + record.n_allocations, former.size_bytes + record.size)
    except (OSError, ValueError) as error:
        raise Refused("unreadable", f"{path}: not a capture that this memray can read: {error}") from None
    return Capture(span.total_seconds(), live)


_NATIVE: Stack = (Frame("<no Python frame>", "", 0),)


def _await(subject: Subject, tracking: Tracking, *, procfs: Procfs, clock: Clock) -> None:
    """Until the target has written its capture and closed it."""
    until = clock.monotonic() + tracking.duration_s
    with _death_of(subject) as death:
        while clock.monotonic() < until + _LATE_S:
            if death.poll(1000 * _LOOK_EACH_S):
                raise Refused("gone", f"pid {subject.pid} ended while it was being profiled")
            if clock.monotonic() >= until + _SETTLE_S and not _is_open(subject, tracking.file, procfs):
                _demand_written(subject, tracking.file)
                return
            if _size_of(tracking.file) > LARGEST_BYTES:
                raise Refused("unreadable", f"the capture of pid {subject.pid} grows above {LARGEST_BYTES >> 20} MiB")
    raise Refused("late", f"pid {subject.pid} did not end its capture {_LATE_S:g}s after its time")


@contextlib.contextmanager
def _death_of(subject: Subject) -> Iterator["select.poll"]:
    """A poll that answers when the process has ended."""
    try:
        file = os.pidfd_open(subject.pid)
    except OSError:
        raise Refused("gone", f"pid {subject.pid} ended while it was being profiled") from None
    try:
        death = select.poll()
        death.register(file, select.POLLIN)
        yield death
    finally:
        os.close(file)


def _demand_written(subject: Subject, path: Path) -> None:
    """An aggregated capture is written when it ends, and closed then."""
    if not _size_of(path):
        raise Refused(
            "not_written", f"pid {subject.pid} (uid {subject.uid}) could not write its capture: no space left?"
        )


def _is_open(subject: Subject, path: Path, procfs: Procfs) -> bool:
    try:
        return procfs.holds(subject.pid, {str(path)})
    except OSError:
        return False  # it has ended; the poll tells


def _size_of(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0  # not begun


def _demand_plain(path: Path) -> None:
    """No link, no pipe that nobody writes, nothing too large: the target may have put it there."""
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("expected a plain file")
    if found.st_size > LARGEST_BYTES:
        raise ValueError(f"it has {found.st_size} bytes, expected {LARGEST_BYTES} at most")


def _demand_seen(subject: Subject, folder: Path, procfs: Procfs) -> None:
    """The target may have files of its own: a container, or systemd's PrivateTmp."""
    theirs = Path(f"{procfs.path}/{subject.pid}/root{folder}")
    try:
        seen = theirs.samefile(folder)
    except OSError:
        seen = False
    if not seen:
        raise Refused(
            "elsewhere",
            f"pid {subject.pid} does not see {folder}: it has files of its own (a container, systemd's PrivateTmp);"
            " name a folder that both see by --folder, or run perfmon in there",
        )
