"""Read a page of metrics as Prometheus scrapes it, text 0.0.4 or OpenMetrics: those series that somebody asks for.

A line that cannot be read costs that line alone, unlike with Prometheus, which refuses the page. Lines that nobody asks
for are not looked at beyond their name.
"""

import math
import re
from collections.abc import Callable
from typing import Literal, NamedTuple

import msgspec

from perfmon.units import quoted

__all__ = ["Found", "Series", "read"]

Type = Literal["gauge", "counter"]

MAX_LABEL_CHARS = 4096  # of one series, names and values together


class Series(NamedTuple):
    """One line. An empty label is an absent one."""

    name: str
    type: Type
    labels: tuple[tuple[str, str], ...]  # by name
    value: float  # finite


class Found(msgspec.Struct, frozen=True):
    """What of a page was asked for."""

    series: list[Series]
    lines: int = 0  # of series, on the whole page
    unread: str = ""  # in words, the first line that could not be read
    unread_lines: int = 0


def read(text: str, wanted: Callable[[str], bool]) -> Found:
    """The series whose name is `wanted`, in the order of the page; those that are no number now are left out.

    `wanted` is asked once a name.
    """
    series: dict[_Identity, Series] = {}
    types: dict[str, str] = {}
    is_wanted: dict[str, bool] = {}
    lines, unread, unread_lines = 0, "", 0
    for line in text.split("\n"):
        if not line or line[0] == "#":
            _take_type(line, types)
            continue
        lines += 1
        match = _NAME.match(line)
        name = match[1] if match is not None else ""
        if name not in is_wanted:
            is_wanted[name] = bool(name) and wanted(name)
        if name and not is_wanted[name]:
            continue
        try:
            _add(_series(line, name, types), series)
        except ValueError as error:
            unread_lines += 1
            unread = unread or f"{error}: {quoted(line[:80])}"
    numbers = [one for one in series.values() if math.isfinite(one.value)]
    return Found(numbers, lines, unread, unread_lines)


_Identity = tuple[str, tuple[tuple[str, str], ...]]

_NAME = re.compile(r"[ \t]*([a-zA-Z_:][a-zA-Z0-9_:]*)(?=[ \t{])")
_LABEL = re.compile(r'[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"([^"\\]*(?:\\.[^"\\]*)*)"[ \t]*(,|(?=\}))')
_BRACE = re.compile(r"[ \t]*\{")
_END = re.compile(r"[ \t]*\}")
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"n": "\n", '"': '"', "\\": "\\"}


def _take_type(line: str, types: dict[str, str]) -> None:
    if line.startswith("# TYPE "):
        words = line.split()
        if len(words) == 4:
            types[words[2]] = words[3]


def _add(one: Series, series: dict[_Identity, Series]) -> None:
    if (one.name, one.labels) in series:
        raise ValueError("stands there twice")
    series[one.name, one.labels] = one


def _series(line: str, name: str, types: dict[str, str]) -> Series:
    """ValueError when the line is none."""
    if not name:
        raise ValueError("no name that could be read")
    at = line.index(name) + len(name)
    labels: tuple[tuple[str, str], ...] = ()
    if (brace := _BRACE.match(line, at)) is not None:
        at, labels = _labels(line, brace.end())
    words = line[at:].split(None, 2)
    if not words or (len(words) > 1 and words[1] != "#" and not _is_number(words[1])):
        raise ValueError("no value")
    if not _is_number(words[0]):
        raise ValueError("the value is no number")
    return Series(name, _type(name, types), labels, float(words[0]))


def _labels(line: str, at: int) -> tuple[int, tuple[tuple[str, str], ...]]:
    """Where they end, and what they are, by name."""
    first, found = at, {}
    while (end := _END.match(line, at)) is None:
        label = _LABEL.match(line, at)
        if label is None:
            raise ValueError("its labels cannot be read")
        if label[1] in found:
            raise ValueError("one label stands there twice")
        found[label[1]] = _ESCAPE.sub(_unescaped, label[2]) if "\\" in label[2] else label[2]
        at = label.end()
        if at - first > MAX_LABEL_CHARS:
            raise ValueError(f"its labels are longer than {MAX_LABEL_CHARS} characters")
    return end.end(), tuple(sorted((name, value) for name, value in found.items() if value))


def _unescaped(match: re.Match[str]) -> str:
    return _ESCAPED.get(match[1], match[0])


def _is_number(word: str) -> bool:
    if "_" in word:  # Python's own way to write 1_000
        return False
    try:
        float(word)
    except ValueError:
        return False
    return True


def _type(name: str, types: dict[str, str]) -> Type:
    """Whether it only goes up: what the page says, and where it says nothing, what the name says."""
    told = types.get(name)
    if told in _PLAIN:
        return _PLAIN[told]
    family, _, end = name.rpartition("_")
    told = types.get(family, "untyped")
    if (told, end) in _COUNTED:
        return "counter"
    if told not in ("untyped", "unknown"):
        return "gauge"
    return "counter" if end == "total" else "gauge"


_PLAIN: dict[str | None, Type] = {"counter": "counter", "gauge": "gauge", "summary": "gauge"}
_COUNTED = {
    ("counter", "total"),
    *((type_, end) for type_ in ("histogram", "summary") for end in ("bucket", "sum", "count")),
}
