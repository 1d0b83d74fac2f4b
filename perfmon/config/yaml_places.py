"""Read YAML into nodes that know the file and line where they stand.

PyYAML's C parser gives the events; what becomes of a scalar is left to the reader of the node, who knows which
type is wanted, so `version: 1.10` stays "1.10" where a text is wanted and `no` is no surprise. Bounded against
hostile input: the size of the text, the depth, and the number of nodes once every alias is written out.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import yaml
from yaml.events import (
    AliasEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from perfmon.errors import Problem
from perfmon.units import quoted

__all__ = ["Entry", "Mapping", "Node", "Scalar", "Sequence", "is_null", "parse", "plain_scalar"]

MAX_BYTES = 16 << 20
MAX_DEPTH = 64
MAX_NODES = 2_000_000  # a thousand nested aliases cost nothing to write and everything to read


class Scalar(msgspec.Struct, frozen=True):
    """A single value, as it is written. Only an unquoted one may be a number, a truth or nothing."""

    file: str
    line: int  # from 1
    text: str
    quoted: bool = False
    size: int = 1


class Sequence(msgspec.Struct, frozen=True):
    """A list."""

    file: str
    line: int
    items: "tuple[Node, ...]"
    size: int = 1  # nodes within, aliases written out


class Entry(msgspec.Struct, frozen=True):
    """One `key: value` of a mapping."""

    key: Scalar
    value: "Node"


class Mapping(msgspec.Struct, frozen=True):
    """Keys and values, in the order of the file."""

    file: str
    line: int
    entries: dict[str, Entry]
    size: int = 1


Node = Scalar | Sequence | Mapping


def parse(data: bytes, file: str) -> tuple[Node | None, list[Problem]]:
    """The root of the one document in `data`, None when it is empty or cannot be read; and all mistakes."""
    if len(data) > MAX_BYTES:
        return None, [Problem(file, 0, "", f"is larger than {MAX_BYTES >> 20} MiB")]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return None, [Problem(file, line, "", f"is not UTF-8 text: byte 0x{data[error.start]:02x}")]
    composer = _Composer(text, file)
    try:
        return composer.document(), composer.problems
    except _Unreadable as error:
        return None, [*composer.problems, error.problem]


def is_null(node: Node) -> bool:
    """Whether nothing stands there: `key:`, `key: ~`, `key: null`."""
    return isinstance(node, Scalar) and plain_scalar(node) is None


def plain_scalar(node: Scalar) -> bool | int | float | str | None:
    """The value by its looks, after YAML 1.2's core schema: `yes` and `0o7` are texts, `1e3` is a number."""
    if node.quoted:
        return node.text
    if node.text in _CONSTANTS:
        return _CONSTANTS[node.text]
    if _INTEGER.fullmatch(node.text):
        return int(node.text)
    return float(node.text) if _NUMBER.fullmatch(node.text) else node.text


_CONSTANTS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
# Eighteen digits hold every count and size; int() of thousands of digits raises.
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]{1,300}(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")


_EVENTS = (ScalarEvent, AliasEvent, SequenceStartEvent, SequenceEndEvent, MappingStartEvent, MappingEndEvent)


class _Unreadable(Exception):
    """Nothing after this place can be understood."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem


class _Composer:
    """Makes nodes of the parser's events; keeps the mistakes that do not end the reading."""

    def __init__(self, text: str, file: str) -> None:
        self.problems: list[Problem] = []
        self._text = text
        self._file = file
        self._events = self._read()
        self._anchors: dict[str, Node] = {}

    def document(self) -> Node | None:
        event = self._next()
        if event is None:
            return None
        root = self._node(event, 1)
        event = self._next()
        if event is not None:
            raise self._unreadable(event, "begins a second document, expected one only")
        return root

    def _read(self) -> Iterator[Event]:
        """The events that matter, with the parser's complaints turned into ours."""
        try:
            # The loader reads the text at once, so it too may complain of a character.
            loader = yaml.CSafeLoader(self._text)
            while (event := loader.get_event()) is not None:
                if isinstance(event, _EVENTS):
                    yield event
        except yaml.MarkedYAMLError as error:
            raise _Unreadable(self._syntax_problem(error)) from None
        except yaml.reader.ReaderError as error:
            line = self._text.encode()[: error.position].count(b"\n") + 1
            raise _Unreadable(Problem(self._file, line, "", f"is not YAML: {error.reason}")) from None

    def _next(self) -> Event | None:
        return next(self._events, None)

    def _inside(self) -> Event:
        """The next event of a list or mapping under way, which the parser always closes."""
        event = self._next()
        assert event is not None, "the parser ended inside a collection"
        return event

    def _node(self, event: Event, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise self._unreadable(event, f"is nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, AliasEvent):
            return self._alias(event)
        node = self._fresh(event, depth)
        if node.size > MAX_NODES:
            raise self._unreadable(event, f"grows beyond {MAX_NODES} values when its aliases are written out")
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _alias(self, event: AliasEvent) -> Node:
        """The node of the anchor. A node that is still being read cannot be meant: it would contain itself."""
        node = self._anchors.get(event.anchor or "")
        if node is None:
            self._problem(event, f'"*{event.anchor}" stands for nothing: no complete "&{event.anchor}" before it')
            return self._nothing(event)
        return node

    def _fresh(self, event: Event, depth: int) -> Node:
        tag = getattr(event, "tag", None)
        if tag not in (None, "!", "tag:yaml.org,2002:str"):
            self._problem(event, f"the tag {quoted(_short_tag(tag))} is not allowed: write the value without it")
            self._content(event, depth)
            return self._nothing(event)
        return self._content(event, depth)

    def _content(self, event: Event, depth: int) -> Node:
        if isinstance(event, ScalarEvent):
            return Scalar(self._file, _line(event), event.value, quoted=not event.implicit[0])
        if isinstance(event, SequenceStartEvent):
            return self._sequence(event, depth)
        return self._mapping(event, depth)

    def _sequence(self, start: Event, depth: int) -> Sequence:
        items: list[Node] = []
        while not isinstance(event := self._inside(), SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return Sequence(self._file, _line(start), tuple(items), 1 + sum(item.size for item in items))

    def _mapping(self, start: Event, depth: int) -> Mapping:
        entries: dict[str, Entry] = {}
        merged: dict[str, Entry] = {}
        while not isinstance(event := self._inside(), MappingEndEvent):
            key = self._node(event, depth + 1)
            value = self._node(self._inside(), depth + 1)
            if not isinstance(key, Scalar):
                self._problem(event, "a list or mapping cannot be a key, expected a text")
            elif key.text == "<<" and not key.quoted:
                merged |= self._merged(event, value) | merged
            elif key.text in entries:
                first = entries[key.text].key.line
                self._problem(event, f"{quoted(key.text)} stands here a second time, first in line {first}")
            else:
                entries[key.text] = Entry(key, value)
        entries |= {name: entry for name, entry in merged.items() if name not in entries}
        size = 1 + sum(entry.value.size for entry in entries.values())
        return Mapping(self._file, _line(start), entries, size)

    def _merged(self, event: Event, value: Node) -> dict[str, Entry]:
        """What `<<: *other` brings in; of several, the first that has a key counts."""
        sources = value.items if isinstance(value, Sequence) else (value,)
        merged: dict[str, Entry] = {}
        for source in sources:
            if not isinstance(source, Mapping):
                self._problem(event, '"<<" takes mappings in: expected an alias of a mapping, or a list of such')
                return {}
            merged = source.entries | merged
        return merged

    def _nothing(self, event: Event) -> Scalar:
        return Scalar(self._file, _line(event), "")

    def _problem(self, event: Event, message: str) -> None:
        self.problems.append(Problem(self._file, _line(event), "", message))

    def _unreadable(self, event: Event, message: str) -> _Unreadable:
        return _Unreadable(Problem(self._file, _line(event), "", message))

    def _syntax_problem(self, error: yaml.MarkedYAMLError) -> Problem:
        mark = error.problem_mark or error.context_mark
        assert mark is not None, "libyaml marks every complaint"
        line = mark.line + 1
        begun = error.context_mark.line + 1 if error.context_mark is not None else line
        context = f", {error.context}" if error.context else ""
        context += f" that begins in line {begun}" if begun != line else ""
        written = self._text.splitlines()[line - 1 : line]
        tab = "; indent with blanks, not with a tab" if written and _TAB_INDENT.match(written[0]) else ""
        return Problem(self._file, line, "", f"is not YAML: {error.problem} in column {mark.column + 1}{context}{tab}")


_TAB_INDENT = re.compile(r" *\t")


def _line(event: Event) -> int:
    mark: Any = event.start_mark
    return int(mark.line) + 1


def _short_tag(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")
