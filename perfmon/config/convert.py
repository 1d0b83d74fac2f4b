"""Turn nodes of a file into typed values, and keep every mistake with its place.

`msgspec.convert` stops at the first mistake and knows no lines, so the fields are walked here; msgspec still says
what each type is and what it demands (`msgspec.inspect`).
"""

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from perfmon import units
from perfmon.config.yaml_places import Mapping as MappingNode
from perfmon.config.yaml_places import Node, Scalar, is_null, plain_scalar
from perfmon.config.yaml_places import Sequence as SequenceNode
from perfmon.errors import Problem
from perfmon.kinds import nearest, unknown
from perfmon.secret import References, secret_in, shell_variable_in
from perfmon.units import quoted

__all__ = ["WRONG", "Reading", "key_path", "node_at"]

WRONG: Any = type("Wrong", (), {"__repr__": lambda _self: "WRONG"})()
"""Stands for a value that could not be made; why is among the problems."""


class Reading:
    """One reading of the configuration: turns nodes into values, and gathers what is wrong with them."""

    def __init__(self, env: Mapping[str, str] | None, *, secrets: re.Pattern[str] | None = None) -> None:
        """`env` is where `${env:NAME}` leads; None for a file of another program, in which that is a plain text.

        Such a file holds its secrets as they are: in settings whose path has what `secrets` looks for.
        """
        self.problems: list[Problem] = []
        self._secrets = secrets
        self.references = References(env)

    def problem(self, node: Node, path: str, message: str) -> None:
        """Keep a mistake."""
        self.problems.append(Problem(node.file, node.line, path, message))

    def unexpected(self, node: Node, path: str, expected: str) -> Any:
        """Keep that something else was expected; WRONG, for the caller to return."""
        self.problem(node, path, f"expected {expected}, got {_found(node)}")
        return WRONG

    def convert(self, node: Node, wanted: Any, path: str) -> Any:
        """The node as a value of the type `wanted`, or WRONG."""
        return self._value(node, _info(wanted), path)

    def fields(
        self, node: Node, struct: type[msgspec.Struct], path: str, *, beside: Collection[str] = ()
    ) -> dict[str, Any]:
        """The mapping as the fields of `struct`, each one its value, its default, or WRONG.

        Keys in `beside` are allowed and left to the caller.
        """
        return self._fields(node, _info(struct), path, beside)

    def plain(self, node: Node, path: str) -> Any:
        """The node as lists, dicts and scalars by their looks, with references resolved; or WRONG."""
        if isinstance(node, Scalar):
            value = plain_scalar(node)
            return self._resolved(node, path) if isinstance(value, str) else value
        if isinstance(node, SequenceNode):
            items = [self.plain(item, f"{path}[{i}]") for i, item in enumerate(node.items)]
            return WRONG if _any_wrong(items) else items
        values = {key: self.plain(entry.value, key_path(path, key)) for key, entry in node.entries.items()}
        return WRONG if _any_wrong(values.values()) else values

    # ------------------------------------------------------------ by type

    def _value(self, node: Node, info: inspect.Type, path: str, hints: Mapping[str, Any] | None = None) -> Any:
        """By the wanted type; `hints` are the `x-...` of the annotations met on the way to it."""
        hints = hints or {}
        match info:
            case inspect.Metadata():
                value = self._value(node, info.type, path, {**(info.extra_json_schema or {}), **hints})
            case inspect.AnyType():
                value = self.plain(node, path)
            case inspect.UnionType():
                value = self._union(node, info, path, hints)
            case inspect.StructType():
                value = self._struct(node, info, path)
            case inspect.DictType():
                value = self._dict(node, info, path)
            case inspect.ListType() | inspect.VarTupleType() | inspect.SetType() | inspect.FrozenSetType():
                value = self._list(node, info, path)
            case _:
                value = self._scalar(node, info, path, hints)
        return value

    def _scalar(self, node: Node, info: inspect.Type, path: str, hints: Mapping[str, Any]) -> Any:
        match info:
            case inspect.NoneType():
                value = None if is_null(node) else self.unexpected(node, path, "nothing")
            case inspect.BoolType():
                value = self._truth(node, path)
            case inspect.IntType():
                value = self._integer(node, info, path)
            case inspect.FloatType():
                value = self._number(node, info, path, hints)
            case inspect.StrType():
                value = self._text(node, info, path, hints)
            case inspect.LiteralType():
                value = self._choice(node, info, path)
            case _:
                raise AssertionError(f"{path}: a setting cannot be of type {info}")
        return value

    def _truth(self, node: Node, path: str) -> Any:
        """YAML 1.1's `yes` and `on` count as well, since files written for Go programs have them."""
        text = node.text.lower() if isinstance(node, Scalar) and not node.quoted else ""
        return _TRUTHS.get(text) if text in _TRUTHS else self.unexpected(node, path, "true or false")

    def _integer(self, node: Node, info: inspect.IntType, path: str) -> Any:
        value = plain_scalar(node) if isinstance(node, Scalar) else None
        if isinstance(value, bool) or not isinstance(value, int):
            return self.unexpected(node, path, "a whole number")
        return self._within(node, value, info, path, str)

    def _number(self, node: Node, info: inspect.FloatType, path: str, hints: Mapping[str, Any]) -> Any:
        unit = _UNITS.get(hints.get("x-unit", ""))
        value = plain_scalar(node) if isinstance(node, Scalar) else None
        if unit is not None and isinstance(node, Scalar) and not isinstance(value, bool):
            return self._quantity(node, unit, info, path)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return self.unexpected(node, path, unit.expected if unit else "a number")
        return self._within(node, float(value), info, path, _number_text)

    def _quantity(self, node: Scalar, unit: "_Unit", info: inspect.FloatType, path: str) -> Any:
        try:
            value = unit.parse(plain_scalar(node) if node.text else "")
        except ValueError as error:
            self.problem(node, path, str(error))
            return WRONG
        return self._within(node, value, info, path, unit.format)

    def _text(self, node: Node, info: inspect.StrType, path: str, hints: Mapping[str, Any]) -> Any:
        """A text as it is written: an unquoted 1.10 or `no` needs no quotes where a text is wanted."""
        if not isinstance(node, Scalar) or is_null(node):
            return self.unexpected(node, path, "a text")
        public = bool(hints.get("x-public"))
        if public and (secret := secret_in(node.text)):
            self.problem(node, path, f"{quoted(secret)} may not stand here: the value is shown in labels and pages")
            return WRONG
        text = self._resolved(node, path, public=public)
        expected = "" if text is WRONG else _expected_of_text(text, info, hints)
        if expected:
            return self.unexpected(node, path, expected)
        if hints.get("x-path") and text is not WRONG and text:
            return str(Path(node.file).parent / text)  # an absolute one stays
        return text

    def _choice(self, node: Node, info: inspect.LiteralType, path: str) -> Any:
        text = node.text if isinstance(node, Scalar) else None
        for value in info.values:
            if text == str(value):
                return value
        if text is None or is_null(node):
            return self.unexpected(node, path, _words(info))
        self.problem(node, path, unknown(text, _choices(info)))
        return WRONG

    def _list(self, node: Node, info: Any, path: str) -> Any:
        if not isinstance(node, SequenceNode):
            return self.unexpected(node, path, _a_list_for(node, info.item_type))
        if len(node.items) < (info.min_length or 0):
            self.problem(node, path, f"expected at least {info.min_length} item, got {len(node.items)}")
            return WRONG
        values = [self._value(item, info.item_type, f"{path}[{i}]") for i, item in enumerate(node.items)]
        make = _COLLECTIONS[type(info)]
        return WRONG if _any_wrong(values) else make(values)

    def _dict(self, node: Node, info: inspect.DictType, path: str) -> Any:
        if not isinstance(node, MappingNode):
            return self.unexpected(node, path, "a mapping")
        values = {}
        for key, entry in node.entries.items():
            here = key_path(path, key)
            name = self._value(entry.key, info.key_type, here)
            value = self._value(entry.value, info.value_type, here)
            name = (
                str(name) if self._secrets is not None and name is not WRONG else name
            )  # of `X-Token: abc` only the latter is a secret
            values[name] = WRONG if name is WRONG else value
        return WRONG if _any_wrong(values.values()) else values

    def _struct(self, node: Node, info: inspect.StructType, path: str) -> Any:
        before = len(self.problems)
        values = self._fields(node, info, path, ())
        if len(self.problems) > before:
            return WRONG
        try:
            return info.cls(**values)
        except ValueError as error:
            # Its `__post_init__` has demands of its own.
            self.problem(node, path, self.references.mask(str(error)))
            return WRONG

    def _fields(self, node: Node, info: Any, path: str, beside: Collection[str]) -> dict[str, Any]:
        fields = {field.encode_name: field for field in info.fields}
        if not isinstance(node, MappingNode):
            return dict.fromkeys((field.name for field in info.fields), self.unexpected(node, path, "a mapping"))
        values: dict[str, Any] = {}
        misspelt: set[str] = set()
        for key, entry in node.entries.items():
            if key not in fields:
                misspelt |= self._misspelt(entry.key, key_path(path, key), (*fields, *beside), beside)
            # A setting without a value (`labels:` with all its lines commented out) is one that is not written.
            elif not is_null(entry.value):
                values[fields[key].name] = self._value(entry.value, fields[key].type, key_path(path, key))
        for name, field in fields.items():
            if field.name not in values:
                values[field.name] = self._default(node, name, field, path, misspelt)
        return values

    def _misspelt(self, key: Scalar, path: str, known: Sequence[str], beside: Collection[str]) -> set[str]:
        """Complain of a key that nobody knows; which setting was probably meant."""
        if key.text in beside:
            return set()
        self.problem(key, path, unknown(key.text, known, "setting"))
        return set(nearest(key.text, known))

    def _default(self, node: Node, name: str, field: inspect.Field, path: str, misspelt: Collection[str]) -> Any:
        if not field.required:
            return _default_of(field)
        if name not in misspelt:
            self.problem(node, path, f"{quoted(name)} is missing, expected {_words(field.type)}")
        return WRONG

    def _union(self, node: Node, info: inspect.UnionType, path: str, hints: Mapping[str, Any]) -> Any:
        """The first type that fits; when none does, the complaints of the one that came nearest."""
        options = [option for option in info.types if _fits(node, option)]
        if not options:
            return self.unexpected(node, path, _words(info))
        before = len(self.problems)
        nearest: list[Problem] | None = None
        for option in options:
            value = self._value(node, option, path, hints)
            if value is not WRONG:
                return value
            complaints = self.problems[before:]
            del self.problems[before:]
            if nearest is None or len(complaints) < len(nearest):
                nearest = complaints
        self.problems += nearest or ()
        return WRONG

    # ------------------------------------------------------------ words

    def _resolved(self, node: Scalar, path: str, *, public: bool = False) -> Any:
        if self._secrets is not None and self._secrets.search(path):
            return self.references.hide(node.text)
        if self.references.env is not None and (variable := shell_variable_in(path, node.text)):
            expected = variable.replace("{", "{env:")
            self.problem(node, path, f"{quoted(variable)} is no reference, did you mean {quoted(expected)}?")
            return WRONG
        try:
            return self.references.resolve(node.text, Path(node.file).parent, public=public)
        except ValueError as error:
            self.problem(node, path, str(error))
            return WRONG

    def _within(self, node: Scalar | Any, value: float, info: Any, path: str, say: Callable[[Any], str]) -> Any:
        """The value if it lies within the type's limits."""
        for name, words, holds in _LIMITS:
            limit = getattr(info, name)
            if limit is not None and not holds(value, limit):
                return self.unexpected(node, path, f"{words} {say(limit)}")
        return value


def key_path(path: str, key: str) -> str:
    """`probes[0]` and `interval` to `probes[0].interval`; a key that is no word is quoted."""
    if not re.fullmatch(r"[\w-]{1,60}", key):
        return f"{path}[{quoted(key)}]"
    return f"{path}.{key}" if path else key


def node_at(node: Node, path: str) -> Node:
    """The node at `groups[0].cmdline` below `node`, or the last one on the way that is written."""
    for key, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path):
        if isinstance(node, MappingNode) and key in node.entries:
            node = node.entries[key].value
        elif isinstance(node, SequenceNode) and index and int(index) < len(node.items):
            node = node.items[int(index)]
        else:
            return node
    return node


# ---------------------------------------------------------------- tables


class _Unit(msgspec.Struct, frozen=True):
    parse: Callable[[object], float]
    format: Callable[[float], str]
    expected: str


def _number_text(value: float) -> str:
    return f"{value:g}"


_UNITS = {
    "duration": _Unit(units.parse_duration, units.format_duration, "a duration such as 250ms, 5s or 1h30m"),
    "bytes": _Unit(units.parse_bytes, units.format_bytes, "a size such as 512B, 1.5kB or 10MiB"),
    "ratio": _Unit(units.parse_ratio, units.format_ratio, "a share such as 5% or 0.05"),
}

_TRUTHS = dict.fromkeys(("true", "yes", "on", "y"), True) | dict.fromkeys(("false", "no", "off", "n"), False)

_LIMITS: tuple[tuple[str, str, Callable[[float, float], bool]], ...] = (
    ("ge", "at least", lambda value, limit: value >= limit),
    ("gt", "more than", lambda value, limit: value > limit),
    ("le", "at most", lambda value, limit: value <= limit),
    ("lt", "less than", lambda value, limit: value < limit),
)

_COLLECTIONS: dict[type, Callable[[Iterable[Any]], Any]] = {
    inspect.ListType: list,
    inspect.VarTupleType: tuple,
    inspect.SetType: set,
    inspect.FrozenSetType: frozenset,
}

_SCALAR_TYPES = (inspect.BoolType, inspect.IntType, inspect.FloatType, inspect.StrType, inspect.LiteralType)

_WORDS: dict[type, str] = {
    inspect.NoneType: "nothing",
    inspect.BoolType: "true or false",
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
    inspect.StrType: "a text",
    inspect.DictType: "a mapping",
    inspect.StructType: "a mapping",
    **dict.fromkeys(_COLLECTIONS, "a list"),
}


@cache
def _info(wanted: Any) -> inspect.Type:
    return inspect.type_info(wanted)


def _default_of(field: inspect.Field) -> Any:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def _words(info: inspect.Type) -> str:
    """What a type asks for, in words."""
    if isinstance(info, inspect.Metadata):
        hints = info.extra_json_schema or {}
        unit = _UNITS.get(hints.get("x-unit", ""))
        return unit.expected if unit else hints.get("x-expected", _words(info.type))
    if isinstance(info, inspect.LiteralType):
        return "one of: " + ", ".join(_choices(info))
    if isinstance(info, inspect.UnionType):
        return " or ".join(_words(option) for option in info.types if not isinstance(option, inspect.NoneType))
    return _WORDS.get(type(info), "a value")


def _expected_of_text(text: str, info: inspect.StrType, hints: Mapping[str, Any]) -> str:
    """What the text lacks of its type's demands, "" when nothing."""
    if info.min_length is not None and len(text) < info.min_length:
        return "a text that is not empty" if info.min_length == 1 else f"at least {info.min_length} characters"
    if info.max_length is not None and len(text) > info.max_length:
        return f"at most {info.max_length} characters"
    # Python's `$` would let a newline pass at the end.
    if info.pattern is not None and not re.search(re.sub(r"\$$", r"\\Z", info.pattern), text):
        return str(hints.get("x-expected", f"a text that matches {info.pattern}"))
    return ""


def _choices(info: inspect.LiteralType) -> tuple[str, ...]:
    return tuple(str(value) for value in info.values if value != "")


def _fits(node: Node, info: inspect.Type) -> bool:
    """Whether the node has the shape of the type; its content is another question."""
    if isinstance(info, inspect.Metadata):
        return _fits(node, info.type)
    if isinstance(info, inspect.NoneType):
        return is_null(node)
    if isinstance(node, Scalar):
        return isinstance(info, _SCALAR_TYPES) and not is_null(node)
    if isinstance(node, SequenceNode):
        return type(info) in _COLLECTIONS
    return isinstance(info, inspect.StructType | inspect.DictType)


def _found(node: Node) -> str:
    """What stands there, in words. References are shown as they are written."""
    if isinstance(node, SequenceNode):
        return "a list"
    if isinstance(node, MappingNode):
        return "a mapping"
    return "nothing" if is_null(node) else quoted(node.text)


def _a_list_for(node: Node, item: inspect.Type) -> str:
    """A lone value where a list is expected is most often what it should have; a command line is not."""
    scalar = any(_fits(node, one) for one in (item.types if isinstance(item, inspect.UnionType) else (item,)))
    if not isinstance(node, Scalar) or not scalar or not re.fullmatch(r"\S{1,40}", node.text):
        return "a list"
    return f"a list such as [{node.text if node.text.isalnum() else quoted(node.text)}]"


def _any_wrong(values: Iterable[Any]) -> bool:
    return any(value is WRONG for value in values)
