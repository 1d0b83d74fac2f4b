"""Name the lines of a running Python program that keep memory, by memray."""

import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click
import msgspec

from perfmon.clock import Clock, SystemClock, iso
from perfmon.errors import EXIT_DEFECT, EXIT_FINE, UsageError
from perfmon.procfs import Procfs
from perfmon.profile import attribution
from perfmon.profile.attribution import Attribution, Plan
from perfmon.profile.capture import read
from perfmon.profile.sites import SHOWN, Capture, Site, differing, living
from perfmon.profile.subject import Refused, named
from perfmon.units import format_quantity, parse_duration, printable, quoted

__all__ = ["command"]

_MANY = 10
_WIDE = 120


def _seconds(_context: click.Context, option: click.Parameter, text: str) -> int:
    """Whole seconds: memray takes no parts of them."""
    try:
        duration_s = parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if not 1 <= duration_s <= _LONGEST_S or duration_s != int(duration_s):
        raise click.BadParameter(f"expected whole seconds from 1s to 1h, got {quoted(text)}", param=option)
    return int(duration_s)


_LONGEST_S = 3600


@click.command("profile", context_settings={"ignore_unknown_options": True})
@click.argument("arguments", metavar="PID|NAME", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--yes", "agreed", is_flag=True, help="Go on without asking; what it costs the target is told anyway.")
@click.option("--short", default="10s", show_default=True, callback=_seconds, help="The first capture, or a snapshot.")
@click.option("--long", default="40s", show_default=True, callback=_seconds, help="The second capture.")
@click.option(
    "--timeout", default="15s", show_default=True, callback=_seconds, help="To get into the target, each time."
)
@click.option(
    "--python-allocators/--no-python-allocators",
    default=True,
    help="Follow each small object too. Without, it costs less, and leaks of small objects are not seen.  [on]",
)
@click.option("--top", default=SHOWN, show_default=True, type=click.IntRange(1, 1000), help="How many places to show.")
@click.option(
    "--flamegraph", type=click.Path(path_type=Path), help="Where the page goes.  [profile_PID_TIME.html here]"
)
@click.option("--no-flamegraph", "undrawn", is_flag=True, help="Draw none.")
@click.option("--snapshot", type=click.Path(path_type=Path), help="Take one capture (of --short), and keep it here.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Where captures are written meanwhile; the target must see it.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.option("--compare", is_flag=True, help="Compare two snapshots: perfmon profile --compare BEFORE AFTER")
@click.option("--run", "runs", is_flag=True, help="Run a script from begin to end: perfmon profile --run SCRIPT [ARGS]")
def command(
    arguments: tuple[str, ...],
    short: int,
    long: int,
    timeout: int,
    top: int,
    flamegraph: Path | None,
    snapshot: Path | None,
    folder: Path | None,
    *,
    undrawn: bool,
    agreed: bool,
    python_allocators: bool,
    as_json: bool,
    compare: bool,
    runs: bool,
) -> int:
    """Name the lines of a running Python program that keep memory.

    Two captures by memray, a short one and a long one: what lives longer than both shows as more blocks in the long
    one. The target must have memray installed; perfmon needs gdb, and the right to trace it. A process that cannot be
    profiled is left as it was, and the reason told (exit code 1).

    \b
    Examples:
      perfmon profile 4711 --yes
      perfmon profile shop --no-python-allocators --flamegraph shop.html
      perfmon profile 4711 --yes --snapshot before.bin  # then after.bin
      perfmon profile --compare before.bin after.bin
      perfmon profile --run script.py --its-own-option
    """
    plan = Plan(
        short_s=short,
        long_s=long,
        limit_s=float(timeout),
        python_allocators=python_allocators,
        folder=folder,
        shown=top,
    )
    if undrawn and flamegraph is not None:
        raise UsageError("--flamegraph and --no-flamegraph exclude each other")
    if compare and runs:
        raise UsageError("--compare and --run exclude each other")
    if not runs:
        _refuse_flags(arguments)
    if runs:
        return _run(arguments, plan, snapshot=snapshot, graph=flamegraph, as_json=as_json)
    if compare:
        return _compare(arguments, plan, as_json=as_json)
    if len(arguments) != 1:
        raise UsageError(f"expected one PID or NAME, got {len(arguments)}")
    if snapshot is None and long <= short:
        raise UsageError(f"--long: expected more than --short ({short}s), got {long}s")
    with _ended_in_order():
        draw = None if undrawn else partial(_graph, flamegraph)
        return _attach(arguments[0], plan, snapshot=snapshot, draw=draw, agreed=agreed, as_json=as_json)


def _refuse_flags(arguments: Sequence[str]) -> None:
    """Only a script may have options that are unknown to us."""
    for argument in arguments:
        if argument.startswith("-"):
            raise UsageError(f"no such option: {argument}")


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """SIGTERM and SIGHUP end it as Ctrl-C does: the target is left in order first."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    former = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


# ---------------------------------------------------------------- the three things it does


def _attach(name: str, plan: Plan, *, snapshot: Path | None, draw: "_Draw | None", agreed: bool, as_json: bool) -> int:
    procfs, clock = Procfs(), SystemClock()
    pid = _pid(name, procfs)
    _agree(attribution.cost_in_words(plan, captures=1 if snapshot else 2), agreed=agreed)
    tell = partial(click.echo, err=True)
    try:
        if snapshot is not None:
            attribution.take(pid, plan, snapshot=snapshot, procfs=procfs, clock=clock, tell=tell)
            click.echo(f"snapshot: {snapshot}", err=True)
            return EXIT_FINE
        graph = None if draw is None else draw(pid, clock)
        found = attribution.attribute(pid, plan, graph=graph, procfs=procfs, clock=clock, tell=tell)
    except Refused as refused:
        if not as_json:
            raise
        click.echo(_json({"refused": refused.reason, "message": str(refused)}))
        return EXIT_DEFECT
    if as_json:
        click.echo(_json(found))
    else:
        _tell_attribution(found)
    return EXIT_FINE


_Draw = Callable[[int, Clock], Path]
"""Where the flamegraph of a pid goes."""


def _graph(named: Path | None, pid: int, clock: Clock) -> Path:
    return named or Path(f"profile_{pid}_{_stamp(clock)}.html")


def _compare(files: Sequence[str], plan: Plan, *, as_json: bool) -> int:
    if len(files) != 2:
        raise UsageError(f"--compare: expected two snapshots, got {len(files)}")
    before, after = (read(Path(file)) for file in files)
    sites = differing(before, after, shown=plan.shown)
    if as_json:
        click.echo(_json({"before_s": before.duration_s, "after_s": after.duration_s, "sites": sites}))
        return EXIT_FINE
    click.echo(f"in use at the end of {files[1]} beyond {files[0]}, most blocks first:")
    _tell_sites(sites, per_s=False)
    if abs(after.duration_s - before.duration_s) > 0.1 * before.duration_s:
        click.echo(f"note: {before.duration_s:.0f}s is compared with {after.duration_s:.0f}s; a longer one holds more")
    return EXIT_FINE


def _run(words: Sequence[str], plan: Plan, *, snapshot: Path | None, graph: Path | None, as_json: bool) -> int:
    with tempfile.TemporaryDirectory(prefix="perfmon-profile-") as folder:
        file = snapshot or Path(folder) / "run.bin"
        code = attribution.run(words, plan, snapshot=file)
        peak, end = read(file, at="peak"), read(file)
        if graph is not None:
            attribution.flamegraph(file, graph)
    if as_json:
        told = {"exit_code": code, "peak": living(peak, shown=plan.shown), "end": living(end, shown=plan.shown)}
        click.echo(_json(told))
        return EXIT_FINE if code == 0 else EXIT_DEFECT
    for when, capture in (("when it used most memory", peak), ("at its end", end)):
        click.echo(f"in use {when}: {_total(capture)}")
        _tell_sites(living(capture, shown=plan.shown), per_s=False)
    if code:
        click.echo(f"perfmon: {quoted(words[0])} ended with exit code {code}", err=True)
    return EXIT_FINE if code == 0 else EXIT_DEFECT


# ---------------------------------------------------------------- who, and whether


def _pid(name: str, procfs: Procfs) -> int:
    if name.isdecimal():
        return int(name)
    found = named(name, procfs)
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(f"no process is called {quoted(name)}")
    lines = [f"  {pid}  {_one_line(procfs.command_line(pid))}" for pid in found[:_MANY]]
    raise UsageError("\n".join([f"{len(found)} processes are called {quoted(name)}, name one by its pid:", *lines]))


def _agree(costs: Sequence[str], *, agreed: bool) -> None:
    """Tell what it costs, and go on only with a yes."""
    for line in costs:
        click.echo(f"- {line}", err=True)
    if agreed:
        return
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to agree to this: say --yes")
    click.confirm("go on?", abort=True, err=True)


# ---------------------------------------------------------------- telling


def _tell_attribution(found: Attribution) -> None:
    click.echo(f"pid {found.pid}: {_one_line(found.command)}")
    click.echo(f"what grew between captures of {found.short_s:.1f}s and {found.long_s:.1f}s, most blocks first:")
    _tell_sites(found.sites, per_s=True)
    if found.flamegraph:
        click.echo(f"flamegraph: {found.flamegraph}")
    if found.undrawn:
        click.echo(f"perfmon: {found.undrawn}", err=True)


def _tell_sites(sites: Sequence[Site], *, per_s: bool) -> None:
    if not sites:
        click.echo("  nothing")
    unit = "/s" if per_s else ""
    for number, site in enumerate(sites, start=1):
        blocks = f"{format_quantity(site.blocks, '', brief=True)}{unit} blocks"
        size = f"{format_quantity(site.size_bytes, 'bytes', brief=True)}{unit}"
        click.echo(f"{number:3}. {blocks:>18} {size:>14}  {printable(str(site.stack[0]))}")
        for frame in site.stack[1:]:
            click.echo(f"{'':38}    {printable(str(frame))}")


def _one_line(command_line: str) -> str:
    """`python -c` holds a whole program."""
    return printable(" ".join(command_line.split()))[:_WIDE]


def _total(capture: Capture) -> str:
    return format_quantity(float(sum(live.size_bytes for live in capture.live.values())), "bytes", brief=True)


def _stamp(clock: Clock) -> str:
    return iso(clock.wall()).partition(".")[0].replace("-", "").replace(":", "").replace("T", "_")


def _json(told: object) -> str:
    return msgspec.json.encode(told).decode()
