"""Begin and end memray's tracking in a running process, each within a time limit and with its failure in words."""

import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from perfmon.procfs import Procfs
from perfmon.profile.injector import EXIT_INTERRUPTED
from perfmon.profile.subject import Reason, Refused, Subject, no_right, tracer

__all__ = ["Tracking", "begin", "end"]

_OVER_S = 20.0  # what the injector has beyond its own limit before nobody waits for it any more


class Tracking(msgspec.Struct, frozen=True, kw_only=True):
    """What memray is to do in the target."""

    file: Path  # as the target sees it; it must not exist yet
    duration_s: int  # after which it ends by itself
    python_allocators: bool  # each small object too, not only what CPython asks the system for


def begin(subject: Subject, tracking: Tracking, *, limit_s: float, procfs: Procfs) -> None:
    """Attach; `Refused` when it cannot be, and then nothing is left in the target."""
    options = ["--aggregate", "--no-compress", "--duration", str(tracking.duration_s), "--output", str(tracking.file)]
    if tracking.python_allocators:
        options.append("--trace-python-allocators")
    _inject("attach", subject, options, limit_s=limit_s, procfs=procfs)


def end(subject: Subject, *, limit_s: float, procfs: Procfs) -> None:
    """Detach before the time; `Refused` when it cannot be: it then ends by itself at its time."""
    _inject("detach", subject, [], limit_s=limit_s, procfs=procfs)


def _inject(verb: str, subject: Subject, options: Sequence[str], *, limit_s: float, procfs: Procfs) -> None:
    arguments = [sys.executable, "-m", "perfmon.profile.injector", str(limit_s), verb, *options, str(subject.pid)]
    injector = subprocess.Popen(  # noqa: S603 - a list of arguments, and no shell
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C is for perfmon, which then ends this in order
        text=True,
        errors="replace",
    )
    try:
        said, _ = injector.communicate(timeout=limit_s + _OVER_S)
    except subprocess.TimeoutExpired:
        raise _timeout(subject, limit_s, procfs) from None
    except BaseException:
        injector.terminate()  # it takes that for a request
        injector.communicate()
        raise
    if injector.returncode == EXIT_INTERRUPTED:
        raise _timeout(subject, limit_s, procfs)
    if injector.returncode:
        raise _refusal(subject, said, procfs)


def _timeout(subject: Subject, limit_s: float, procfs: Procfs) -> Refused:
    message = (
        f"pid {subject.pid} could not be entered within {limit_s:g}s: it sleeps, waits for input or is busy in C code;"
        " Python can be entered only where it allocates memory"
    )
    try:
        if by := tracer(subject.pid, procfs):
            message += f"; gdb (pid {by}) has not let go of it yet: send it SIGINT, never SIGTERM or SIGKILL"
    except OSError:
        return _gone(subject)
    return Refused("timeout", message)


def _refusal(subject: Subject, said: str, procfs: Procfs) -> Refused:
    """What memray said, as a reason and a sentence with the way out."""
    if not _lives(subject, procfs):
        return _gone(subject)
    reason, message = next(
        ((reason, say(subject)) for pattern, reason, say in _MEANINGS if re.search(pattern, said)),
        ("failed", f"memray failed: {_last(said)}"),
    )
    return Refused(reason, message)


def _gone(subject: Subject) -> Refused:
    return Refused("gone", f"pid {subject.pid} ended while it was being profiled")


def _lives(subject: Subject, procfs: Procfs) -> bool:
    try:
        stat = procfs.stat(subject.pid)
    except OSError:
        return False
    return stat.start_s == subject.start_s and not stat.ended


def _last(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return " ".join(lines[-2:]) or "it said nothing"


_MEANINGS: Sequence[tuple[str, Reason, Callable[[Subject], str]]] = (
    (
        "No module named 'memray'",
        "no_memray",
        lambda subject: f"memray is missing in the Python of pid {subject.pid}: install it there (pip install memray)",
    ),
    (
        "Cannot find a supported lldb or gdb",
        "no_debugger",
        lambda _: "no debugger is there: install gdb (apt-get install gdb)",
    ),
    ("does not exist", "gone", lambda subject: f"there is no process with pid {subject.pid}"),
    ("owned by a different user|permission to trace", "no_right", lambda subject: no_right(subject.pid)),
    ("seem to be running Python", "not_python", lambda subject: f"pid {subject.pid} is not Python"),
    (
        "couldn't open the memray shared library",
        "elsewhere",
        lambda subject: (
            f"pid {subject.pid} cannot read perfmon's memray, {Path(sys.prefix)}:"
            " it belongs to another user, or lives in a container; run perfmon in there"
        ),
    ),
    (
        "Tracker instance can be active",
        "taken",
        lambda subject: f"pid {subject.pid} tracks its allocations already: one memray at a time",
    ),
    (
        "No space left|Could not create output file|Permission denied|Read-only file system|No such file",
        "not_written",
        lambda subject: f"pid {subject.pid} (uid {subject.uid}) could not write the capture: no space, or no right",
    ),
    (
        "Timed out waiting for connection",
        "timeout",
        lambda subject: f"pid {subject.pid} was entered, but did not answer: another thread keeps Python busy",
    ),
)
