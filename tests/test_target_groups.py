"""Target groups as Prometheus has them: what is read, what is refused, and that nothing else can come of a text."""

import contextlib
import re

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from perfmon.target_groups import MAX_BYTES, Found, Listing, read

GROUPS = [
    {"targets": ["http://a/", "http://b/"], "labels": {"env": "prod", "__param_module": "http_2xx"}},
    {"targets": ["http://c/"]},
]
FOUND = (
    Found("http://a/", GROUPS[0]["labels"], "t [0].targets[0]"),
    Found("http://b/", GROUPS[0]["labels"], "t [0].targets[1]"),
    Found("http://c/", {}, "t [1].targets[0]"),
)


@pytest.mark.parametrize(
    ("text", "form"), [(msgspec.json.encode(GROUPS), "json"), (yaml.safe_dump(GROUPS).encode(), "yaml")]
)
def test_groups_are_read_in_both_forms(text, form):
    assert Listing(found=FOUND) == read(text, "t", form)


def test_yaml_scalars_are_the_texts_that_stand_there():
    listing = read(b"- {targets: [web:80], labels: {release: 1.10, on: yes, day: 2024-01-01, none: }}", "t", "yaml")

    assert {"release": "1.10", "on": "yes", "day": "2024-01-01", "none": ""} == listing.found[0].labels


@pytest.mark.parametrize(("text", "form"), [(b"[]", "json"), (b"[]", "yaml"), (b'[{"targets": []}]', "json")])
def test_no_targets_are_an_answer(text, form):
    assert Listing(found=()) == read(text, "t", form)


@pytest.mark.parametrize(
    ("text", "form", "words"),
    [
        (b"", "json", "is empty, expected a list of target groups ([] for none)"),
        (b" \n", "yaml", "is empty, expected a list of target groups ([] for none)"),
        (b"# nothing", "yaml", "expected a list of target groups, got nothing"),
        (b'{"targets": ["a"]}', "json", "expected a list of target groups, got a mapping"),
        (b'["a"', "json", "is not JSON: Input data was truncated"),
        (b"- [a\n- b: }", "yaml", "is not YAML: "),
        (b"\xff\xfe\xfd", "yaml", "is not UTF-8 text"),
        (b'["\xff"]', "json", "is not JSON: "),
        (b"[" * 100_000, "json", "is "),
        (b"[" * 100_000, "yaml", "is nested deeper than 8 levels"),
        (b" " * (MAX_BYTES + 1), "json", "is larger than 16 MiB"),
    ],
)
def test_a_text_that_is_no_list_of_groups_is_refused_as_a_whole(text, form, words):
    with pytest.raises(ValueError, match=f"^{re.escape(words)}"):
        read(text, "t", form)


@pytest.mark.parametrize(
    ("group", "words"),
    [
        ("a", 't [0]: expected a mapping with targets and labels, got "a"'),
        ({"labels": {}}, "t [0]: targets: expected a list of addresses, got nothing"),
        ({"targets": "a:1"}, 't [0]: targets: expected a list of addresses, got "a:1"'),
        ({"targets": ["a:1"], "label": {}}, 't [0]: expected targets and labels, got "label"'),
        ({"targets": ["a:1"], "labels": ["a"]}, "t [0]: labels: expected a mapping, got a list"),
        ({"targets": ["a:1"], "labels": {"n": 1}}, "t [0]: labels.n: expected a text, got 1"),
        ({"targets": [7]}, "t [0].targets[0]: expected an address, got 7"),
    ],
)
def test_one_bad_group_or_target_is_refused_in_words_and_the_others_go_on(group, words):
    listing = read(msgspec.json.encode([group, {"targets": ["b:1"]}]), "t", "json")

    assert (words,) == listing.refused
    assert ["b:1"] == [one.address for one in listing.found]


def test_aliases_cannot_make_more_targets_than_memory_holds():
    bomb = "- targets: &a [" + ", ".join(["x:1"] * 1_000) + "]\n" + "- targets: *a\n" * 1_000

    with pytest.raises(ValueError, match="names more than 100000 targets"):
        read(bomb.encode(), "t", "yaml")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["targets", "labels", "a"]), inner),
    max_leaves=20,
)


@given(JSON, st.sampled_from(["json", "yaml"]))
def test_whatever_a_text_says_each_target_is_found_or_refused(value, form):
    text = msgspec.json.encode(value) if form == "json" else yaml.safe_dump(value).encode()
    try:
        listing = read(text, "t", form)
    except ValueError:
        return
    assert all(isinstance(one.address, str) for one in listing.found)
    assert all(isinstance(text, str) for one in listing.found for text in (*one.labels, *one.labels.values()))
    assert isinstance(value, list)


@given(st.binary(max_size=60), st.sampled_from(["json", "yaml"]))
def test_bytes_are_read_or_refused_and_nothing_else(data, form):
    with contextlib.suppress(ValueError):
        assert isinstance(read(data, "t", form), Listing)
