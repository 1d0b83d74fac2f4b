"""Texts with variables."""

import json
import time
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmon.network.address import parse_url
from perfmon.template import Template, fill_json, in_url, names_in_json, parse, parse_json, text_of

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
VALUES = st.one_of(
    st.text(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain }} {a} { {b} }", "plain }} {a} { {b} }"),
        ("{{a}}", "1"),
        ("x{{ a }}y{{b}}{{a}}", "x1y{{a}}1"),
        ("{{{a}}}", "{1}"),
        ("{{a", None),
        ("{{}}", None),
        ("{{a b}}", None),
        ("{{a-b}}", None),
        ("{{1a}}", None),
        ("{{ä}}", None),
        ('{"a": {"b": {{a}}}}', '{"a": {"b": 1}}'),
    ],
)
def test_a_template_is_filled_in_once(text, expected):
    values = {"a": 1, "b": "{{a}}"}
    if expected is None:
        with pytest.raises(ValueError, match="expected a name between"):
            parse(text)
        return

    assert expected == parse(text).fill(values)


def test_a_name_without_a_value_is_a_key_error():
    with pytest.raises(KeyError):
        parse("{{a}}").fill({})


@pytest.mark.parametrize(
    ("value", "expected"), [("a", "a"), (True, "true"), (7, "7"), (1.5, "1.5"), (1e22, "1e22"), (-0.0, "-0.0")]
)
def test_a_value_is_written_as_json_has_it(value, expected):
    assert expected == text_of(value)


@given(st.text())
def test_any_text_is_a_template_or_none(text):
    try:
        template = parse(text)
    except ValueError:
        assert "{{" in text
        return

    assert len(template.texts) == len(template.names) + 1
    if not template.names:
        assert text == template.fill({})


@given(st.lists(st.tuples(st.text(alphabet=st.characters(exclude_characters="{")), NAMES)), st.data())
def test_texts_and_values_come_back_in_their_order(parts, data):
    values = {name: data.draw(VALUES) for _, name in parts}
    template = parse("".join(f"{text}{{{{{name}}}}}" for text, name in parts))

    assert Template((*(text for text, _ in parts), ""), tuple(name for _, name in parts)) == template
    assert "".join(text + text_of(values[name]) for text, name in parts) == template.fill(values)


@given(st.text(alphabet=st.characters(exclude_categories=("Cs",))))
def test_a_value_in_a_url_stays_where_it_stands(value):
    """Whatever a server gave: it adds no path, no parameter, no host."""
    url = str(parse_url(parse("http://shop.example/a/{{x}}/b?c={{x}}&d=e").fill({"x": value}, in_url)))
    parts = urlsplit(url)

    assert "shop.example" == parts.netloc
    assert ["", "a", value, "b"] == [unquote(piece) for piece in parts.path.split("/")]
    assert {"c": [value], "d": ["e"]} == parse_qs(parts.query, keep_blank_values=True)


@given(st.text(alphabet=st.characters(exclude_categories=("Cs",))))
def test_a_value_in_json_and_in_a_form_stays_where_it_stands(value):
    document = parse_json({"a": ["{{x}}", {"b": "<{{x}}>"}], "n": 1, "none": None})

    assert {"a": [value, {"b": f"<{value}>"}], "n": 1, "none": None} == json.loads(
        json.dumps(fill_json(document, {"x": value}))
    )
    assert {"f": [value]} == parse_qs(urlencode({"f": parse("{{x}}").fill({"x": value})}), keep_blank_values=True)


@pytest.mark.parametrize("value", [7, 1.5, True, "7"])
def test_a_variable_alone_keeps_its_type_in_json(value):
    assert [value, f"{text_of(value)}!"] == fill_json(parse_json(["{{x}}", "{{x}}!"]), {"x": value})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_json_without_variables_comes_back_as_it_is(document):
    try:
        parsed = parse_json(document)
    except ValueError:
        return

    if not list(names_in_json(parsed)):
        assert document == fill_json(parsed, {})


@pytest.mark.parametrize("text", ["{" * 100_000, "{{" + " " * 100_000, "{{a" * 30_000, "{{" + "a" * 100_000])
def test_the_time_is_that_of_the_length(text):
    began = time.process_time()
    with pytest.raises(ValueError, match="expected a name"):
        parse(text)

    assert time.process_time() - began < 0.5
