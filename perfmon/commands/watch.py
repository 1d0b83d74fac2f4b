"""Watch one process, or all of a name, in the terminal: what it uses, and whether it leaks."""

import math
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
import msgspec
from msgspec.structs import replace

from perfmon import kinds
from perfmon.clock import Clock, SystemClock
from perfmon.errors import EXIT_FINE, EXIT_INVALID_RUN, EXIT_THRESHOLD, UsageError
from perfmon.model import Sampler, Verdict, Window
from perfmon.units import format_duration, parse_bytes, parse_duration, quoted

if TYPE_CHECKING:
    from perfmon import measure
    from perfmon.monitor.series import SampleSeries
    from perfmon.watched import Seen, Track

__all__ = ["command"]


class _Quantity(click.ParamType[float]):
    """A duration or a size with its unit, of at least so much."""

    def __init__(self, name: str, parse: Callable[[object], float], least: float) -> None:
        self.name = name
        self._parse = parse
        self._least = least

    def convert(self, value: object, _param: click.Parameter | None, _context: click.Context | None) -> float:
        try:
            number = self._parse(value)
        except ValueError as error:
            self.fail(str(error))
        if number < self._least:
            least = format_duration(self._least) if self.name == "duration" else f"{self._least:g} byte"
            self.fail(f"expected at least {least}, got {quoted(str(value))}")
        return number


_LEAST_INTERVAL_S = 0.1
_LOOKS = 600


@click.command("watch")
@click.argument("subject", metavar="PID|NAME")
@click.option(
    "--interval",
    "interval_s",
    type=_Quantity("duration", parse_duration, _LEAST_INTERVAL_S),
    default=1.0,
    help="How often to look. [1s]",
)
@click.option(
    "--duration",
    "duration_s",
    type=_Quantity("duration", parse_duration, _LEAST_INTERVAL_S),
    help="End after so long. [until Ctrl-C, or until the process ends]",
)
@click.option(
    "--window",
    "window_s",
    type=_Quantity("duration", parse_duration, 10.0),
    help="How far back a verdict looks. [600 looks: 10m]",
)
@click.option(
    "--limit", "limit", type=_Quantity("bytes", parse_bytes, 1.0), help="Where memory ends, to tell the time left."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a look on stdout, and nothing else.")
@click.option("--no-tty", is_flag=True, help="Lines instead of a table that is redrawn, as when stdout is no terminal.")
def command(
    subject: str,
    interval_s: float,
    duration_s: float | None,
    window_s: float | None,
    limit: float | None,
    *,
    as_json: bool,
    no_tty: bool,
) -> int:
    """Watch a process by its pid, or all of a name: what it uses, and whether it leaks.

    A name is that of the program, or else found anywhere in the command line. A verdict needs 96 samples.

    Exits with 0 when nothing was seen to leak, 99 for a leak, 97 when too little was seen to say, 104 for bad usage.
    Ctrl-C ends it with a summary, and with the same codes.

    \b
    Examples:
      perfmon watch 4711
      perfmon watch nginx --interval 5s --window 1h --limit 1GiB
      perfmon watch $! --duration 5m --json | tail -1
    """
    plan = Plan(interval_s=interval_s, window_s=window_s or _LOOKS * interval_s, limit=limit)
    watch = Watch(subject, plan, SystemClock())
    with _report(as_json=as_json, plain=no_tty or not sys.stdout.isatty()) as tell:
        last, ended = _follow(watch, duration_s, tell)
    return _end(last, ended=ended, quiet=as_json)


def _follow(watch: "Watch", duration_s: float | None, tell: "Callable[[Seen], None]") -> "tuple[Seen, bool]":
    """Look until it is time, Ctrl-C, or the process ends; answers with the last look that found it, and if it ended."""
    clock, interval_s = watch.clock, watch.plan.interval_s
    began = clock.monotonic()
    last = seen = watch.look()
    try:
        while True:
            tell(seen)
            if not seen.up and watch.is_pid:
                return last, True
            last = seen
            passed = (clock.monotonic() - began) // interval_s  # looks that were missed are not made up for
            due = began + interval_s * (passed + 1)
            if duration_s is not None and due > began + duration_s:
                return last, False
            time.sleep(max(0.0, due - clock.monotonic()))
            seen = watch.look()
    except KeyboardInterrupt:
        return last, False


def _end(last: "Seen", *, ended: bool, quiet: bool) -> int:
    from perfmon import watched  # noqa: PLC0415 - --help need not load rich

    for line in () if quiet else watched.summary(last, ended=ended):
        click.echo(line)
    match watched.worst(last):
        case "leak":
            return EXIT_THRESHOLD
        case "insufficient_data":
            return EXIT_INVALID_RUN
        case _:
            return EXIT_FINE


# ---------------------------------------------------------------- looking


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How to look."""

    interval_s: float
    window_s: float
    limit: float | None


_P = "perfmon_process_"
_JUDGED = (("memory", "private_memory_bytes"), ("fds", "open_fds"), ("threads", "threads"))


class Watch:
    """A sampler with one group in it, and its past."""

    def __init__(self, subject: str, plan: Plan, clock: Clock) -> None:
        """UsageError when nothing is found by that pid or name."""
        from perfmon.monitor.series import Series  # noqa: PLC0415 - loads sqlite3, which --help need not

        self.clock = clock
        self.plan = plan
        self.is_pid = _is_pid(subject)
        self._subject = f"pid {subject}" if self.is_pid else subject
        self._leak = kinds.load("conditions", "leak")
        self._sampler, self._reader = _found(subject, plan, clock)
        self._series = Series(clock)
        self._series.add_sampler(self._sampler)
        self._history: dict[str, list[float]] = {}
        self._verdicts: dict[str, Verdict] = {}
        self._began = clock.monotonic()

    def look(self) -> "Seen":
        """Read once, and judge."""
        from perfmon import measure, watched  # noqa: PLC0415 - --help need not load them

        reading = measure.sample(self._sampler, self._reader, clock=self.clock)
        for new in self._series.add_reading(self._sampler, reading):
            if new.what.name in [_P + name for _, name in _JUDGED]:
                self._window(new)  # from now on its past is kept
        found = self._current()
        value = {series.what.name.removeprefix(_P): series.value for series in found}
        born = value.get("oldest_start_timestamp_seconds")
        return watched.Seen(
            subject=self._subject,
            at=self.clock.wall(),
            elapsed_s=self.clock.monotonic() - self._began,
            interval_s=self.plan.interval_s,
            up=value.get("up") == 1.0,
            processes=int(value.get("processes", 0)),
            restarts=int(value.get("restarts_total", 0)),
            age_s=None if born is None else max(0.0, self.clock.wall() - born),
            resident_bytes=value.get("resident_memory_bytes"),
            tracks=self._tracks(found),
        )

    def _current(self) -> "list[SampleSeries]":
        return self._series.samplers[self._sampler.key].current()

    def _tracks(self, found: "Sequence[SampleSeries]") -> "list[Track]":
        memory, *others = (self._judged(name, _P + family, found) for name, family in _JUDGED)
        return [memory, self._cpu(found), *others]

    def _judged(self, name: str, family: str, found: "Sequence[SampleSeries]") -> "Track":
        """One that may leak; when it cannot be read, what was said of it last stands."""
        from perfmon.watched import SPARK, Track  # noqa: PLC0415 - --help need not load rich

        series = next((one for one in found if one.what.name == family), None)
        if series is not None:
            window = self._window(series)
            self._history[name] = [*self._history.get(name, ())[1 - SPARK :], series.value]
            self._verdicts[name] = self._verdict(window)
        return Track(
            name=name,
            unit="bytes" if family.endswith("_bytes") else "",
            value=None if series is None else series.value,
            history=self._history.get(name, ()),
            verdict=self._verdicts.get(name, _UNSEEN),
        )

    def _cpu(self, found: "Sequence[SampleSeries]") -> "Track":
        """In cores; there is none at the first look."""
        from perfmon.watched import SPARK, Track  # noqa: PLC0415 - as above

        levels = [one.level() for one in found if one.what.name == f"{_P}cpu_seconds_total"]
        cores = sum(levels) if levels and all(map(math.isfinite, levels)) else None
        if cores is not None:
            self._history["cpu"] = [*self._history.get("cpu", ())[1 - SPARK :], cores]
        return Track(name="cpu", unit="", value=cores, history=self._history.get("cpu", ()))

    def _window(self, series: "SampleSeries") -> Window:
        return self._series.long_window(series.key, series.what.name, self.plan.window_s, self.clock.monotonic())

    def _verdict(self, window: Window) -> Verdict:
        """Of what was seen so far, however short it is against the window."""
        covered_s = window.times[-1] - window.times[0] if len(window) > 1 else 0.0
        given = {"limit": self.plan.limit} if self.plan.limit is not None and window.unit == "bytes" else {}
        config = replace(self._leak.parse(given), window_s=max(covered_s, 1.0))
        verdict: Verdict = self._leak.evaluate(window, config)
        return verdict


_UNSEEN = Verdict(level="waiting", why="it cannot be read", word="insufficient_data")


# Not those who started this command and have the name among their own arguments: sudo, timeout, a shell.
_ELSEWHERE = r"(?s)^(?!.*\bperfmon watch\b).*"


def _is_pid(subject: str) -> bool:
    return subject.isascii() and subject.isdigit() and len(subject) <= _LONGEST_PID


_LONGEST_PID = 10  # digits; the kernel's own limit has seven


def _found(subject: str, plan: Plan, clock: Clock) -> "tuple[Sampler, measure.Reader]":
    """The first of the ways to take the subject by which a process is found."""
    module = kinds.load("samplers", "process")
    ways: list[dict[str, Any]] = [{"comm": subject}, {"cmdline": _ELSEWHERE + re.escape(subject)}]
    if _is_pid(subject):
        ways = [{"pid": int(subject)}]
    if not subject.strip():
        raise UsageError('expected a pid or a name, got ""')
    for way in ways:
        config = module.Config(groups=(module.Group(name="watched", **way),), discover_s=max(1.0, plan.interval_s))
        if any(module.check(config)):
            continue  # a program's name is never that long
        reader = module.open(config, clock)
        try:
            found = {sample.name: sample.value for sample in reader.sample()}
        except LookupError as error:
            raise UsageError(str(error)) from None  # no process table here
        if found[f"{_P}up"]:
            return Sampler(name="watch", kind="process", interval_s=plan.interval_s, config=config), reader
    if "pid" in ways[0]:
        raise UsageError(f"no process has the pid {subject}")
    raise UsageError(f"no process is called {quoted(subject)}, nor has that in its command line")


# ---------------------------------------------------------------- telling


@contextmanager
def _report(*, as_json: bool, plain: bool) -> "Iterator[Callable[[Seen], None]]":
    """What to call with each look."""
    from perfmon import watched  # noqa: PLC0415 - --help need not load rich

    if as_json:
        yield lambda seen: click.echo(msgspec.json.encode(watched.as_json(seen)))
    elif plain:
        yield _lines()
    else:
        from rich.console import Console  # noqa: PLC0415 - as above
        from rich.live import Live  # noqa: PLC0415 - as above

        with Live(console=Console(highlight=False), auto_refresh=False) as live:
            yield lambda seen: live.update(watched.table(seen), refresh=True)


def _lines() -> "Callable[[Seen], None]":
    """A line a look, and one for each verdict that is another than before."""
    from perfmon import watched  # noqa: PLC0415 - as above

    before: Seen | None = None

    def tell(seen: "Seen") -> None:
        nonlocal before
        for line in (watched.line(seen), *watched.changes(before, seen)):
            click.echo(line)
        before = seen

    return tell
