"""The parts of one or many files: where each stands, and the kind that its further key names."""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from perfmon import kinds
from perfmon.config.convert import WRONG, Reading, key_path, node_at
from perfmon.config.yaml_places import Entry, Mapping, Node, Scalar, is_null
from perfmon.config.yaml_places import Sequence as SequenceNode
from perfmon.units import quoted

__all__ = ["Place", "items", "kind_config", "kind_key", "members", "seen_from", "settings", "single"]


class Place(msgspec.Struct, frozen=True):
    """A part of a file, and the way to say that something in it is wrong."""

    reading: Reading
    node: Node
    path: str

    def problem(self, below: str, message: str) -> None:
        """Of the setting `below`, any levels down; where that is not written, at what should hold it."""
        dot = "." if self.path and below and not below.startswith("[") else ""
        self.reading.problem(node_at(self.node, below), f"{self.path}{dot}{below}", message)

    def has(self, below: str) -> bool:
        """Whether the setting is written."""
        return isinstance(self.node, Mapping) and below in self.node.entries and not is_null(self._value(below))

    def text(self, below: str) -> str | None:
        """The text of a setting, None when there is none."""
        value = self._value(below) if self.has(below) else None
        return value.text if isinstance(value, Scalar) else None

    @property
    def written(self) -> list[str]:
        """The names of the settings that stand here."""
        return list(self.node.entries) if isinstance(self.node, Mapping) else []

    def at(self, key: str) -> "Place":
        """The place of a setting, also of one that is not written."""
        node = self._value(key) if key in self.written else Scalar(self.node.file, self.node.line, "")
        return Place(self.reading, node, key_path(self.path, key))

    def item(self, index: int) -> "Place":
        """The place of a member of the list that this is."""
        assert isinstance(self.node, SequenceNode), f"{self.path} is no list"
        return Place(self.reading, self.node.items[index], f"{self.path}[{index}]")

    def seen_from(self, other: "Place") -> str:
        """`line 12`, or `a.yml:12` from a place in another file."""
        return seen_from(other.node, self.node)

    def _value(self, key: str) -> Node:
        assert isinstance(self.node, Mapping), f"{self.path} is no mapping"
        return self.node.entries[key].value


def seen_from(here: Node, there: Node) -> str:
    """`line 12`, or `a.yml:12` when the one is in another file than the other."""
    return f"line {there.line}" if here.file == there.file else f"{there.file}:{there.line}"


def items(roots: Sequence[Mapping], section: str, reading: Reading) -> list[Place]:
    """The members of a list in all files, one file after the other; paths count within the file."""
    found: list[Place] = []
    for node in _nodes(roots, section):
        if isinstance(node, SequenceNode):
            whole = Place(reading, node, section)
            found += [whole.item(index) for index in range(len(node.items))]
        else:
            reading.unexpected(node, section, "a list")
    return found


def members(roots: Sequence[Mapping], section: str, reading: Reading) -> list[tuple[Scalar, Place]]:
    """The keys and values of a mapping in all files, one file after the other; a name may come twice."""
    found: list[tuple[Scalar, Place]] = []
    for node in _nodes(roots, section):
        if isinstance(node, Mapping):
            whole = Place(reading, node, section)
            found += [(entry.key, whole.at(key)) for key, entry in node.entries.items()]
        else:
            reading.unexpected(node, section, "a mapping")
    return found


def single(roots: Sequence[Mapping], section: str, reading: Reading) -> Place:
    """A section that exists once: its settings gathered from all files, each set in one of them only."""
    entries: dict[str, Entry] = {}
    for key, place in members(roots, section, reading):
        entry = Entry(key, place.node)
        first = entries.setdefault(key.text, entry)
        if first is not entry:
            reading.problem(key, place.path, f"is set in {seen_from(key, first.key)} already")
    nodes = [node for node in _nodes(roots, section) if isinstance(node, Mapping)]
    file, line = (nodes[0].file, nodes[0].line) if nodes else ("", 0)
    return Place(reading, Mapping(file, line, entries), section)


def settings(place: Place, struct: type[msgspec.Struct], *, beside: Collection[str] = ()) -> dict[str, Any]:
    """The value of every field of `struct`: what is written, or the default, or WRONG each for itself.

    Keys in `beside` are left to the caller.
    """
    return place.reading.fields(place.node, struct, place.path, beside=beside)


def kind_key(place: Place, folder: str, own: Collection[str]) -> str:
    """The one key that names a kind, "" and a problem when there is none or more than one."""
    known = kinds.names(folder)
    named = [key for key in place.written if key in known]
    if len(named) > 1:
        both = " and ".join(map(quoted, named))
        place.problem(named[1], f"{both} stand side by side, expected one of them")
        return ""
    # A misspelt kind is reported as an unknown setting already.
    if not named and all(key in own for key in place.written) and isinstance(place.node, Mapping):
        place.problem("", f"its kind is missing, {kinds.choice(known)}")
    return named[0] if named else ""


def kind_config(place: Place, folder: str, name: str) -> Any:
    """A kind's settings, or WRONG. One that exports `parse` makes its Config of what stands there itself.

    It says by the type `Written` which form that must have, so that its mistakes have their places too.
    """
    kind = kinds.load(folder, name)
    if hasattr(kind, "parse"):
        config = _parsed(place, kind)
    else:
        # `host:` alone is the kind with nothing set.
        node = Mapping(place.node.file, place.node.line, {}) if is_null(place.node) else place.node
        config = place.reading.convert(node, kind.Config, place.path)
    if config is not WRONG and hasattr(kind, "check"):
        mistakes = list(kind.check(config))
        for below, message in mistakes:
            place.problem(below, place.reading.references.mask(message))
        return WRONG if mistakes else config
    return config


def _parsed(place: Place, kind: Any) -> Any:
    written = place.reading.convert(place.node, kind.Written, place.path)
    if written is WRONG:
        return WRONG
    try:
        return kind.parse(written if isinstance(place.node, Scalar) else place.reading.plain(place.node, place.path))
    except ValueError as error:
        place.problem("", place.reading.references.mask(str(error)))
        return WRONG


def _nodes(roots: Sequence[Mapping], section: str) -> list[Node]:
    """What stands under a section's name in each file; nothing where it stands for itself (`rules:`)."""
    found = [root.entries[section].value for root in roots if section in root.entries]
    return [node for node in found if not is_null(node)]
