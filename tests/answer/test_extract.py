"""Values taken out of answers."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmon.answer.extract import Extract, extract
from perfmon.answer.json_path import parse_path, value_at
from perfmon.model import Failure
from perfmon.network.exchange import Response


def response(body=b"", headers=(), body_bytes=None) -> Response:
    return Response(
        phases={}, error=None, status=200, http_version=1.1, content_length=-1, body=body, headers=tuple(headers),
        body_bytes=len(body) if body_bytes is None else body_bytes, last_modified=-1, location="", cookies=(),
        certificates=(), tls_version="",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("body", "path", "expected"),
    [
        ('{"a": "x"}', "$.a", "x"),
        ('{"a": "x"}', "a", "x"),
        ('{"a": {"b": [1, {"c": 2.5}]}}', "$.a.b[1].c", 2.5),
        ('{"a.b": true}', '$["a.b"]', True),
        ("[1, 2]", "$[1]", 2),
        ('"x"', "$", "x"),
        ('{"a": 0}', "a", 0),
        ('{"a": ""}', "a", ""),
        ('{"a": {"b": [1]}}', "a", '{"b":[1]}'),
        ('{"a": 123456789012345678901234567890}', "a", "123456789012345678901234567890"),
        ('{"a": null}', "a", "json"),
        ("{}", "a", "json"),
        ("[1]", "$[1]", "json"),
        ("[1]", "a", "json"),
        ('{"a": 1', "a", "json"),
        ("", "a", "json"),
        ("\xff", "a", "json"),
    ],
)
def test_a_value_of_json(body, path, expected):
    found = extract("x", Extract(json=path), response(body.encode("latin-1")))

    assert expected == (found.reason if isinstance(found, Failure) else found)


@pytest.mark.parametrize(
    ("body", "regexp", "expected"),
    [
        (b'<input name="csrf" value="abc">', 'name="csrf" value="([^"]+)"', "abc"),
        (b"order 12 of 34", "[0-9]+", "12"),
        (b"order", "[0-9]+", "body"),
        (b"ab", "a(x)?b", "body"),
        (b"a=", "a=(.*)", ""),
        ("é=ü".encode(), "é=(.)", "ü"),
        (b"\xff=1", "=(.)", "1"),
    ],
)
def test_a_value_of_the_text(body, regexp, expected):
    found = extract("x", Extract(regexp=regexp), response(body))

    assert expected == (found.reason if isinstance(found, Failure) else found)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Extract(header="X-Id"), "first"),
        (Extract(header="x-id", regexp="^s(.*)"), "econd"),
        (Extract(header="x-id", regexp="^t"), "header"),
        (Extract(header="x-no"), "header"),
    ],
)
def test_a_value_of_a_header(rule, expected):
    found = extract("x", rule, response(headers=[("x-id", "first"), ("x-id", "second")]))

    assert expected == (found.reason if isinstance(found, Failure) else found)


@pytest.mark.parametrize("rule", [Extract(json="a"), Extract(regexp=".")])
def test_nothing_is_taken_out_of_half_a_body(rule):
    assert "too_large" == extract("x", rule, response(b'{"a": 1}', body_bytes=9)).reason


def test_a_header_of_an_answer_with_a_long_body_is_fine():
    assert "1" == extract("x", Extract(header="a"), response(b"b", [("a", "1")], body_bytes=9))


@given(st.binary(max_size=200), st.sampled_from([Extract(json="$.a[0]"), Extract(regexp="a(.)"), Extract(json="$")]))
def test_no_body_is_too_much(body, rule):
    found = extract("x", rule, response(body))

    assert isinstance(found, Failure | str | int | float | bool)


@given(st.lists(st.text() | st.integers(0, 999_999_999), max_size=6), st.text())
def test_a_path_leads_to_what_is_there(steps, value):
    document = value
    for step in reversed(steps):
        document = {step: document} if isinstance(step, str) else [None] * min(step, 5) + [document]
    steps = [step if isinstance(step, str) else min(step, 5) for step in steps]
    path = "$" + "".join(f"[{json.dumps(step)}]" for step in steps)

    assert value == value_at(parse_path(path), document)


@given(st.text())
def test_any_text_is_a_path_or_none(text):
    try:
        path = parse_path(text)
    except ValueError:
        return

    assert path or text == "$"
    assert all(isinstance(step, str | int) for step in path)
