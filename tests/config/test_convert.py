"""Nodes to typed values: every mistake of a struct, each with its path."""

from typing import Annotated, Any, Literal

import msgspec
import pytest

from perfmon.config.convert import WRONG, Reading, key_path, node_at
from perfmon.config.yaml_places import parse
from perfmon.units import Bytes, Duration, Ratio


class Inner(msgspec.Struct, frozen=True):
    name: str
    share: Ratio = 0.5


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    text: str = ""
    whole: Annotated[int, msgspec.Meta(ge=1, lt=10)] = 1
    number: float = 0.0
    truth: bool = False
    every: Annotated[Duration, msgspec.Meta(gt=0, le=3600)] = 5.0
    size: Bytes | None = None
    choice: Literal["a", "b", 3] = "a"
    names: list[str] = []
    pair: tuple[int, ...] = ()
    table: dict[str, int] = {}
    inner: Inner | None = None
    mixed: list[str | Inner] = []
    any: Any = None
    short: Annotated[str, msgspec.Meta(min_length=2, max_length=4)] = "ab"
    renamed: int = msgspec.field(default=0, name="for")


def converted(text, wanted=Sample, env=None):
    node, problems = parse(text.encode(), "f.yml")
    assert [] == problems
    reading = Reading(env or {})
    value = reading.convert(node, wanted, "")
    return value, [f"{one.line}: {one.path}: {one.message}" for one in reading.problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("text: 1.10", {"text": "1.10"}),
        ("text: no", {"text": "no"}),
        ("whole: 9", {"whole": 9}),
        ("number: 1e3", {"number": 1000.0}),
        ("number: 3", {"number": 3.0}),
        ("truth: yes", {"truth": True}),
        ("truth: Off", {"truth": False}),
        ("every: 1m30s", {"every": 90.0}),
        ("every: 7", {"every": 7.0}),
        ("every: '7'", {"every": 7.0}),
        ("size: 1KiB", {"size": 1024.0}),
        ("size: null", {"size": None}),
        ("choice: 3", {"choice": 3}),
        ("names: [a, 1, true]", {"names": ["a", "1", "true"]}),
        ("pair: [1, 2]", {"pair": (1, 2)}),
        ("table: {a: 1}", {"table": {"a": 1}}),
        ("inner: {name: x, share: 5%}", {"inner": Inner("x", 0.05)}),
        ("mixed: [a, {name: b}]", {"mixed": ["a", Inner("b")]}),
        ("any: [1, 'x', {y: null}, 2.5, true]", {"any": [1, "x", {"y": None}, 2.5, True]}),
        ("for: 2", {"renamed": 2}),
    ],
)
def test_a_value_of_each_type(text, expected):
    assert (Sample(**expected), []) == converted(text)


def test_all_mistakes_of_a_struct_come_at_once():
    text = """\
text: [a]
whole: 10
number: .nan
truth: 1
every: 0s
size: [1]
choice: c
names: a
pair: [1, b]
table: {a: x, "b c": y}
inner: {nam: x, share: lots}
mixed: [[a], {share: 1}]
short: a
For: 3
"""

    value, problems = converted(text)

    assert WRONG is value
    assert [
        "1: text: expected a text, got a list",
        '2: whole: expected less than 10, got "10"',
        '3: number: expected a number, got ".nan"',
        '4: truth: expected true or false, got "1"',
        '5: every: expected more than 0s, got "0s"',
        "6: size: expected a size such as 512B, 1.5kB or 10MiB, got a list",
        '7: choice: unknown "c", expected one of: 3, a, b',
        '8: names: expected a list such as [a], got "a"',
        '9: pair[1]: expected a whole number, got "b"',
        '10: table.a: expected a whole number, got "x"',
        '10: table["b c"]: expected a whole number, got "y"',
        '11: inner.nam: unknown setting "nam", did you mean "name"?',
        '11: inner.share: expected a share such as 5% or 0.05, got "lots"',
        "12: mixed[0]: expected a text or a mapping, got a list",
        '12: mixed[1]: "name" is missing, expected a text',
        '13: short: expected at least 2 characters, got "a"',
        '14: For: unknown setting "For", did you mean "for"?',
    ] == problems


def test_a_struct_may_have_demands_of_its_own():
    class Picky(msgspec.Struct):
        a: int = 0

        def __post_init__(self):
            if self.a == 1:
                raise ValueError("a must not be 1")

    assert (WRONG, ["1: : a must not be 1"]) == converted("a: 1", Picky)


def test_a_type_that_no_setting_can_have_is_a_defect():
    class Odd(msgspec.Struct):
        a: bytes = b""

    with pytest.raises(AssertionError, match="a: a setting cannot be of type"):
        converted("a: x", Odd)


def test_references_are_resolved_in_texts_and_shown_as_written_elsewhere():
    value, problems = converted("text: 'a ${env:X} b'\nany: {k: '${env:X}'}\n", env={"X": "hidden"})
    assert ("a hidden b", {"k": "hidden"}, []) == (value.text, value.any, problems)
    assert "hidden" not in repr(value)

    value, problems = converted("whole: '${env:X}'", env={"X": "hidden"})
    assert ['1: whole: expected a whole number, got "${env:X}"'] == problems


def test_paths_are_written_as_one_would_read_them():
    assert "probes[0].interval" == key_path("probes[0]", "interval")
    assert 'headers["X Y"]' == key_path("headers", "X Y")
    assert "log" == key_path("", "log")


def test_the_node_at_a_path_or_the_last_one_that_is_written():
    node, _ = parse(b"a:\n  - b: 1\n  -\n    b: 2\nc: 3\n", "f.yml")

    lines = [node_at(node, path).line for path in ("", "a", "a[1].b", "a[1].x", "a[9]", "c", "z.y")]

    assert [1, 2, 4, 4, 2, 5, 1] == lines
