"""Demands on values in JSON. Ids are rows of the conformance cases."""

import json

import pytest

from perfmon.answer import json_rules
from perfmon.answer.json_path import parse_path, read_json
from perfmon.answer.json_rules import JsonRule


def objection(document, **rule):
    return json_rules.unmet([JsonRule(**rule)], document)


@pytest.mark.parametrize(
    ("document", "rule"),
    [
        pytest.param({"status": "UP"}, {"path": "status", "expect": "UP"}, id="E07"),
        pytest.param({"a": {"b": "c"}}, {"path": "$.a.b", "expect": "c"}, id="E07 nested"),
        pytest.param([{"id": 1}], {"path": "[0].id", "expect": "1"}, id="E07 list"),
        pytest.param(
            {"data": [{"id": 1}, {"id": 2}]}, {"path": "data[1].id", "expect_value": "== 2"}, id="E07 in list"
        ),
        pytest.param({"n": "0xF"}, {"path": "n", "expect_value": "== 15"}, id="E10 hex"),
        pytest.param({"n": "0o2"}, {"path": "n", "expect_value": "== 2"}, id="E10 octal"),
        pytest.param({"n": "0b0010"}, {"path": "n", "expect_value": "== 2"}, id="E10 binary"),
        pytest.param({"n": "123.40000000000005"}, {"path": "n", "expect_value": "> 123.3"}, id="E11"),
        pytest.param({"n": 123.4}, {"path": "n", "expect_value": "== 123.4"}, id="E11 equal"),
        pytest.param({}, {"path": "errors", "expect_missing": True}, id="E13"),
        pytest.param({"name": "big john"}, {"path": "name", "expect_regexp": "john"}, id="E14"),
        pytest.param({"code": 404}, {"path": "code", "expect_regexp": "^4"}, id="E14 number"),
        pytest.param({"code": 429}, {"path": "code", "expect_regexp": "^(200|429)$"}, id="E16"),
        pytest.param({"l": [1]}, {"path": "l", "expect_length": ">= 1"}, id="length"),
        pytest.param({"ok": True}, {"path": "ok", "expect": "true"}, id="truth"),
        pytest.param({"n": 1.0}, {"path": "n", "expect": "1"}, id="1.0 is 1"),
        pytest.param({"n": 9007199254740993}, {"path": "n", "expect": "9007199254740993"}, id="an exact int"),
        pytest.param({"a.b": 1}, {"path": '["a.b"]'}, id="quoted key"),
        pytest.param({"a": {"b c": 1}}, {"path": "a['b c']"}, id="quoted key, JSONPath's way"),
        pytest.param({"$ref": 1}, {"path": "$ref"}, id="a name with a dollar"),
        pytest.param([1], {"path": "$", "expect_length": "== 1"}, id="whole body"),
        pytest.param({"size": 20_000_000}, {"path": "size", "expect_value": "> 10MiB"}, id="unit"),
    ],
)
def test_a_value_meets_what_is_expected(document, rule):
    assert "" == objection(document, **rule)


@pytest.mark.parametrize(
    ("document", "rule", "words"),
    [
        pytest.param({}, {"path": "missing", "expect_value": "< 5"}, "no value at missing", id="E05"),
        pytest.param({"n": None}, {"path": "n", "expect_value": "< 5"}, "no value at n", id="E08 null"),
        pytest.param([None], {"path": "[0]"}, "no value at [0]", id="E08 null in a list"),
        pytest.param(None, {"path": "$"}, "no value at $", id="E08 null body"),
        pytest.param({"a": 1}, {"path": "[0].a"}, "no value at [0].a", id="E08 list path on a mapping"),
        pytest.param([1], {"path": "[1]"}, "no value at [1]", id="E08 beyond the end"),
        pytest.param({"l": []}, {"path": "l.b"}, "no value at l.b", id="E08 name on a list"),
        pytest.param(
            {"errors": ["1"]}, {"path": "errors", "expect_missing": True}, "a list of 1, expected none", id="E13"
        ),
        pytest.param(
            {"n": "potato"}, {"path": "n", "expect_value": "< 5"}, '"potato", expected "< 5"', id="E04 in a body"
        ),
        pytest.param({"n": True}, {"path": "n", "expect_value": "== 1"}, "true, expected", id="truth is no number"),
        pytest.param({"n": True}, {"path": "n", "expect": "1"}, 'true, expected "1"', id="truth is not 1"),
        pytest.param({"n": 1}, {"path": "n", "expect": '"1"'}, "1, expected", id="a number is no text"),
        pytest.param({"n": "1"}, {"path": "n", "expect": "1.0"}, '"1", expected', id="a text is compared as such"),
        pytest.param({"n": 10**400}, {"path": "n", "expect_value": "> 5"}, "expected", id="too large for a float"),
        pytest.param({"n": "1_000"}, {"path": "n", "expect_value": "> 5"}, "expected", id="Python's own way"),
        pytest.param({"n": "NaN"}, {"path": "n", "expect_value": "!= 5"}, "expected", id="NaN"),
        pytest.param({"l": []}, {"path": "l", "expect_length": ">= 1"}, "a list of 0, expected a length", id="length"),
        pytest.param({"n": 5}, {"path": "n", "expect_length": ">= 0"}, "5, expected a length", id="no length"),
        pytest.param({"a": "UP"}, {"path": "a", "expect": "UP", "expect_regexp": "^D"}, "does not match", id="both"),
    ],
)
def test_a_missing_or_other_value_fails(document, rule, words):
    assert words in objection(document, **rule)


@pytest.mark.parametrize(
    "path", ["", "a..b", "a.", "a[", "a[*]", "a[-1]", "..a", "a[?(@.b)]", 'a["b]', "a b", 'a["\\x"]', "[1e3]"]
)
def test_a_path_that_is_none_is_refused_e04(path):
    with pytest.raises(ValueError, match=r"expected|JSON"):
        parse_path(path)


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ({"path": "a", "expect_value": "potato"}, "expect_value"),
        ({"path": "a", "expect_value": "p(95) < 5 over 1m"}, "expect_value"),
        ({"path": "a", "expect_length": "5"}, "expect_length"),
        ({"path": "a", "expect_regexp": "(?=a)"}, "expect_regexp"),
        ({"path": "a", "expect_missing": True, "expect": "1"}, "expect_missing"),
        ({"path": "a[*]"}, "path"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_e04_e26(rule, field):
    assert [field] == [path for path, _ in json_rules.check(JsonRule(**rule))]


@pytest.mark.parametrize("body", [b"", b"hello", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": NaN}'])
def test_a_body_that_is_no_json_is_told_in_words(body):
    with pytest.raises(ValueError, match="body is not JSON"):
        read_json(body)


@pytest.mark.parametrize(("value", "number"), [(5, 5.0), (True, None), ("5", None), (10**400, None), (None, None)])
def test_only_a_number_is_a_gauge(value, number):
    assert number == json_rules.number_at("a", json.loads(json.dumps({"a": value})))
