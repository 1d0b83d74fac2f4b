"""What is seen of a process that somebody watches: as a table for a terminal, as lines, as JSON."""

from collections.abc import Mapping, Sequence
from textwrap import fill

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from perfmon.leak import LEAST_POINTS
from perfmon.model import Verdict
from perfmon.units import Unit, format_duration, format_quantity, printable

__all__ = ["SPARK", "Seen", "Track", "as_json", "changes", "line", "summary", "table", "worst"]

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 80
SPARK = 30  # newest readings that a sparkline shows
LEFT = "perfmon_leak_seconds_to_limit"
STYLES = {"leak": "bold red", "growing": "yellow", "suspect": "yellow", "clean": "green", "insufficient_data": "dim"}


class Track(msgspec.Struct, frozen=True, kw_only=True):
    """One series that is watched."""

    name: str  # "memory"
    unit: Unit
    value: float | None  # None when it is not told
    history: Sequence[float] = ()  # the newest values, oldest first
    verdict: Verdict | None = None  # None for what cannot leak


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One look."""

    subject: str  # what was asked for: "pid 1234", "nginx"
    at: float  # Unix time
    elapsed_s: float
    interval_s: float
    up: bool
    processes: int
    restarts: int
    age_s: float | None  # of the oldest process
    resident_bytes: float | None
    tracks: Sequence[Track]


def worst(seen: Seen) -> str:
    """The verdict that matters most: "leak" if anything leaks, "insufficient_data" if nothing could be judged."""
    words = {track.verdict.word for track in seen.tracks if track.verdict is not None}
    order = ("leak", "growing", "suspect", "clean")
    return next((word for word in order if word in words), "insufficient_data")


# ---------------------------------------------------------------- a table


def table(seen: Seen) -> RenderableType:
    """For a terminal, redrawn at each look; 80 columns will do."""
    rows = Table.grid(padding=(0, 2))
    rows.add_column(no_wrap=True)
    rows.add_column(justify="right", no_wrap=True)
    rows.add_column(no_wrap=True)
    rows.add_column(style="dim", no_wrap=True)
    for track in seen.tracks:
        rows.add_row(track.name, _value(track), spark(track.history), _range(track, seen))
    verdicts = Table.grid(padding=(0, 2))
    verdicts.add_column(no_wrap=True)
    verdicts.add_column()
    for track in seen.tracks:
        if track.verdict is not None:
            verdicts.add_row(track.name, Text(said(track.verdict), style=STYLES.get(track.verdict.word, "")))
    return Group(Text(_head(seen)), Text(_state(seen), style="dim"), "", rows, "", verdicts)


def spark(values: Sequence[float]) -> str:
    """The newest values as bars; what hardly varies is flat."""
    shown = values[-SPARK:]
    if not shown:
        return ""
    low, high = min(shown), max(shown)
    reach = max(high - low, 0.02 * abs(high)) or 1.0
    return "".join(BARS[min(len(BARS) - 1, int((value - low) / reach * len(BARS)))] for value in shown)


def _head(seen: Seen) -> str:
    return f"perfmon watch  {printable(seen.subject)}"


def _state(seen: Seen) -> str:
    parts = [
        "running" if seen.up else "not there",
        f"{seen.processes} process{'' if seen.processes == 1 else 'es'}",
        f"up for {format_duration(seen.age_s, brief=True)}" if seen.age_s is not None else "",
        f"{seen.restarts} restart{'' if seen.restarts == 1 else 's'}" if seen.restarts else "",
        f"watched for {format_duration(seen.elapsed_s, brief=True)}, every {format_duration(seen.interval_s)}",
    ]
    return " · ".join(part for part in parts if part)


def _value(track: Track) -> str:
    return "–" if track.value is None else format_quantity(track.value, track.unit, brief=True)


def _range(track: Track, seen: Seen) -> str:
    if track.unit == "bytes" and seen.resident_bytes is not None:
        return f"private; resident {format_quantity(seen.resident_bytes, 'bytes', brief=True)}"
    return "cores" if track.verdict is None else ""


def said(verdict: Verdict) -> str:
    """A verdict in words; while it builds up, how far it is."""
    if verdict.word != "insufficient_data":
        return verdict.why
    if verdict.n < LEAST_POINTS:
        return f"insufficient data: {verdict.n} of {LEAST_POINTS} samples"
    return f"insufficient data: {verdict.why.partition(': ')[2] or verdict.why}"


# ---------------------------------------------------------------- lines


def line(seen: Seen) -> str:
    """One look on one line: `+2m10s  memory 83.5 MiB  CPU 0.31  fds 16  threads 1  leak`."""
    told = "  ".join(f"{track.name} {_value(track)}" for track in seen.tracks)
    return f"+{format_duration(seen.elapsed_s, brief=True):<7} {told}  {_progress(seen)}"


def _progress(seen: Seen) -> str:
    if not seen.up:
        return "not there"
    word = worst(seen)
    known = max((track.verdict.n for track in seen.tracks if track.verdict is not None), default=0)
    return f"{known} of {LEAST_POINTS} samples" if word == "insufficient_data" and known < LEAST_POINTS else word


def changes(before: Seen | None, seen: Seen) -> list[str]:
    """A line for each verdict that is another than it was."""
    known = _words(before)
    return [
        _wrapped(f"{track.name}: {said(track.verdict)}")
        for track in seen.tracks
        if track.verdict is not None and track.verdict.word != known.get(track.name, "insufficient_data")
    ]


def _wrapped(text: str, hang: str = "    ") -> str:
    """Indented, and no wider than a terminal."""
    return fill(text, WIDTH, initial_indent="  ", subsequent_indent=hang, break_on_hyphens=False)


def _words(seen: Seen | None) -> Mapping[str, str]:
    tracks = () if seen is None else seen.tracks
    return {track.name: track.verdict.word for track in tracks if track.verdict is not None}


def summary(seen: Seen, *, ended: bool) -> list[str]:
    """What came of it, at the end."""
    head = f"watched {printable(seen.subject)} for {format_duration(seen.elapsed_s, brief=True)}"
    restarts = f", {seen.restarts} restart{'' if seen.restarts == 1 else 's'}" if seen.restarts else ""
    lines = [f"{head}{restarts}{'; it has ended' if ended else ''}"]
    told = [(track.name, said(track.verdict)) for track in seen.tracks if track.verdict is not None]
    return lines + [_wrapped(f"{name:<8} {words}", " " * 11) for name, words in told]


# ---------------------------------------------------------------- JSON


def as_json(seen: Seen) -> dict[str, object]:
    """One look as one object, in base units."""
    return {
        "at": round(seen.at, 3),
        "subject": seen.subject,
        "up": seen.up,
        "processes": seen.processes,
        "restarts": seen.restarts,
        "age_s": seen.age_s,
        "resident_bytes": seen.resident_bytes,
        **{track.name: track.value for track in seen.tracks},
        "verdict": worst(seen),
        "verdicts": {track.name: _verdict(track.verdict) for track in seen.tracks if track.verdict is not None},
    }


def _verdict(verdict: Verdict) -> dict[str, object]:
    return {
        "verdict": verdict.word,
        "why": said(verdict),
        "slope_per_s": verdict.value,
        "low": verdict.low,
        "high": verdict.high,
        "p": verdict.p,
        "samples": verdict.n,
        "seconds_to_limit": verdict.facts.get(LEFT),
        "remarks": dict(verdict.remarks),
    }
