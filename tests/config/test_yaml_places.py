"""YAML with places: what is read, where it stands, and what is refused."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from perfmon.config import yaml_places
from perfmon.config.yaml_places import Mapping, Scalar, Sequence, parse, plain_scalar


def root(text):
    node, problems = parse(text.encode(), "f.yml")
    assert [] == problems
    return node


def plain(node):
    """As lists, dicts and scalars by their looks."""
    if isinstance(node, Scalar):
        return plain_scalar(node)
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return {key: plain(entry.value) for key, entry in node.entries.items()}


def test_every_node_and_key_knows_its_line():
    node = root("a: 1\nb:\n  - x\n  - {c: y}\n")

    assert isinstance(node, Mapping)
    assert ("f.yml", 1) == (node.file, node.line)
    assert [1, 2] == [entry.key.line for entry in node.entries.values()]
    assert [3, 4] == [item.line for item in node.entries["b"].value.items]


def test_quotes_are_remembered_and_a_block_is_quoted():
    node = root("a: 5\nb: '5'\nc: |\n  5\nd: !!str 5\n")

    assert {"a": 5, "b": "5", "c": "5\n", "d": "5"} == plain(node)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("~", None), ("null", None), ("true", True), ("FALSE", False), ("yes", "yes"), ("0x1F", "0x1F"), ("1_000", "1_000"),
        ("12", 12), ("-7", -7), ("+3", 3), ("1.5", 1.5), (".5", 0.5), ("1.", 1.0), ("1e3", 1000.0), ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"), (".inf", ".inf"), ("9" * 400, "9" * 400), ("1.2.3", "1.2.3"),
    ],
)  # fmt: skip
def test_a_scalar_by_its_looks(text, value):
    assert value == plain_scalar(Scalar("f.yml", 1, text))


def test_a_merge_keeps_what_is_written_and_takes_the_first_of_several():
    node = root("a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], x: 3}\n")

    assert {"x": 3, "y": 1, "z": 2} == plain(node)["c"]


def test_an_alias_points_to_where_its_anchor_stands():
    node = root("a: &a\n  x: 1\nb: *a\n")

    assert 1 == node.entries["b"].value.line
    assert 3 == node.entries["b"].key.line


def test_every_key_that_stands_twice_is_reported():
    _, problems = parse(b"a: 1\na: 2\nb: {c: 1, c: 2}\n", "f.yml")

    assert [
        'f.yml:2: "a" stands here a second time, first in line 1',
        'f.yml:3: "c" stands here a second time, first in line 3',
    ] == list(map(str, problems))


def test_a_text_beyond_the_limit_is_not_read():
    node, (problem,) = parse(b"a" * (yaml_places.MAX_BYTES + 1), "f.yml")

    assert (None, "f.yml: is larger than 16 MiB") == (node, str(problem))


@pytest.mark.parametrize("bomb", ["[" * 1_000_000, "{a: " * 100_000, "- " * 100_000, "? " * 100_000])
def test_depth_without_end_is_given_up_at_once(bomb):
    node, (problem,) = parse(bomb.encode(), "f.yml")

    assert (None, "is nested deeper than 64 levels") == (node, problem.message)


def test_aliases_that_multiply_are_counted_not_written_out():
    text = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 64))

    node, (problem,) = parse(text.encode(), "f.yml")

    assert (None, "grows beyond 2000000 values when its aliases are written out") == (node, problem.message)


TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.text(st.characters(codec="utf-8"), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), inner)
    ),
    max_leaves=10,
)


@given(TREES)
def test_what_pyyaml_writes_is_read_back(tree):
    """PyYAML quotes whatever looks like something else to YAML 1.1, which is more than looks so to us."""
    # Without allow_unicode: with it PyYAML writes U+0085 bare, which its own reader takes for a line break.
    node, problems = parse(yaml.safe_dump({"tree": tree}).encode(), "f.yml")

    assert [] == problems
    assert {"tree": tree} == plain(node)
