"""Name the lines of a running program that keep memory: a short capture, a long one, and what grew between them."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from perfmon.clock import Clock
from perfmon.process_table import in_words
from perfmon.procfs import Procfs
from perfmon.profile.attach import Tracking
from perfmon.profile.capture import alone, capture, folder_for, read, reclaim
from perfmon.profile.sites import SHOWN, Site, growing
from perfmon.profile.subject import Refused, Subject, inspect

__all__ = ["Attribution", "Plan", "attribute", "cost_in_words", "flamegraph", "run", "take"]

_DRAW_S = 120.0
_ENDS_S = 30.0  # what a script has after Ctrl-C

_COSTS = {  # python_allocators: how much longer the same work took while it was tracked (docs/profiling.md)
    True: "x2 to x3 for web work, x3 to x5 for large buffers, x13 for tight arithmetic",
    False: "x1.1 for web work, x1.5 to x2.7 for large buffers, x1.8 for tight arithmetic",
}


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How to look."""

    short_s: int = 10
    long_s: int = 40
    limit_s: float = 15.0  # to get into the target, each time
    python_allocators: bool = True  # without, a leak of objects of at most 512 bytes is charged to an innocent line
    folder: Path | None = None  # where captures are written meanwhile, None = the system's folder for such
    shown: int = SHOWN


class Attribution(msgspec.Struct, frozen=True, kw_only=True):
    """What was found."""

    pid: int
    command: str
    short_s: float  # as the target measured it
    long_s: float
    sites: tuple[Site, ...]  # blocks and bytes per second, most blocks first
    flamegraph: str = ""  # path of the file
    undrawn: str = ""  # why there is none, though one was wanted: the places are known all the same


Tell = Callable[[str], None]


def attribute(pid: int, plan: Plan, *, graph: Path | None, procfs: Procfs, clock: Clock, tell: Tell) -> Attribution:
    """Two captures one after the other; `graph` is where the flamegraph of the second goes, None for none.

    `Refused` with the reason when it cannot be done; the target goes on in any case. Takes the two durations, and four
    times the limit at most.
    """
    subject = inspect(pid, procfs)
    with alone(subject), folder_for(subject, inside=plan.folder, procfs=procfs) as folder:
        short, long = folder / "short.bin", folder / "long.bin"
        for file, duration_s in ((short, plan.short_s), (long, plan.long_s)):
            tell(f"tracking pid {pid} for {duration_s}s")
            capture(subject, _tracking(plan, file, duration_s), limit_s=plan.limit_s, procfs=procfs, clock=clock)
        reclaim(folder)
        first, second = read(short), read(long)
        undrawn = _undrawn(long, graph)
    return Attribution(
        pid=pid,
        command=subject.command,
        short_s=first.duration_s,
        long_s=second.duration_s,
        sites=growing(first, second, shown=plan.shown),
        flamegraph="" if undrawn else str(graph or ""),
        undrawn=undrawn,
    )


def take(pid: int, plan: Plan, *, snapshot: Path, procfs: Procfs, clock: Clock, tell: Tell) -> Subject:
    """One capture of the plan's short span, kept as a file; `Refused` as above."""
    subject = inspect(pid, procfs)
    with alone(subject), folder_for(subject, inside=plan.folder, procfs=procfs) as folder:
        file = folder / "snapshot.bin"
        tell(f"tracking pid {pid} for {plan.short_s}s")
        capture(subject, _tracking(plan, file, plan.short_s), limit_s=plan.limit_s, procfs=procfs, clock=clock)
        reclaim(folder)
        read(file)  # the target has written it, so it is looked at before it is kept
        _keep(file, snapshot)
    return subject


def run(command: Sequence[str], plan: Plan, *, snapshot: Path) -> int:
    """Run a script from its beginning to its end under memray, and keep the capture; answers with its exit code.

    `Refused` when there is no capture afterwards. Ctrl-C is the script's to obey; KeyboardInterrupt follows its end.
    """
    allocators = ["--trace-python-allocators"] if plan.python_allocators else []
    arguments = [sys.executable, "-m", "memray", "run", "--quiet", "--aggregate", *allocators, "--force", "--output"]
    script = subprocess.Popen([*arguments, str(snapshot), *command])  # noqa: S603 - its user named it, and no shell
    try:
        code = script.wait()
    except KeyboardInterrupt:
        script.wait(_ENDS_S)
        raise
    if not snapshot.exists() or not snapshot.stat().st_size:
        raise Refused("not_written", f'"{command[0]}" left no capture: it ended with {code} before memray was through')
    return code


def _keep(file: Path, path: Path) -> None:
    """Put a capture where it stays; `Refused` when it cannot be written there."""
    try:
        path.write_bytes(file.read_bytes())
    except OSError as error:
        raise Refused("not_written", f'"{path}" cannot be written: {in_words(error)}') from None


def _undrawn(file: Path, graph: Path | None) -> str:
    try:
        if graph is not None:
            flamegraph(file, graph)
    except Refused as refused:
        return str(refused)
    return ""


def flamegraph(file: Path, graph: Path) -> None:
    """Draw what a capture still holds at its end as one HTML page that fetches nothing; `Refused` when it cannot be."""
    arguments = [sys.executable, "-m", "memray", "flamegraph", "--leaks", "--no-web", "--force"]
    try:
        drawn = subprocess.run(  # noqa: S603 - a list of arguments, and no shell
            [*arguments, "--output", str(graph), str(file)],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_DRAW_S,
        )
    except subprocess.TimeoutExpired:
        raise Refused("failed", f"the flamegraph was not drawn within {_DRAW_S:g}s") from None
    if drawn.returncode:
        raise Refused("not_written", f'the flamegraph "{graph}" was not written: {_last_line(drawn.stderr)}')


def cost_in_words(plan: Plan, *, captures: int) -> tuple[str, ...]:
    """What it does to the target, to be said before it is done."""
    spans = f"{plan.short_s}s" if captures == 1 else f"{plan.short_s}s and {plan.long_s}s"
    return (
        f"the target is tracked by memray for {spans}, and meanwhile slower: {_COSTS[plan.python_allocators]}",
        f"each time gdb enters it, which stops it for some 0.3s, and is given up after {plan.limit_s:g}s",
        "memory of its own for each live block meanwhile; one line on its stderr at the end of each capture",
        "do not end gdb with SIGKILL while it enters: the target would die with it",
    )


def _tracking(plan: Plan, file: Path, duration_s: int) -> Tracking:
    return Tracking(file=file, duration_s=duration_s, python_allocators=plan.python_allocators)


def _last_line(said: str) -> str:
    return (said.strip().splitlines() or ["it said nothing"])[-1]
