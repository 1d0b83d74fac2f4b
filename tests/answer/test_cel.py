"""CEL conditions. Ids are rows of the conformance cases."""

import time

import pytest

from perfmon.answer import cel


def held(text, body):
    return cel.holds(cel.compile_cel(text), cel.read_body(body.encode()))


COUNT = "body.results.filter(r, has(r.state) && r.state == 'sell_only').size() == 2"


@pytest.mark.parametrize(
    ("text", "body", "expected"),
    [
        pytest.param("body.foo.bar == 'baz'", '{"foo":{"bar":"baz"}}', True, id="H37"),
        pytest.param("body.foo.bar == 'baz'", '{"foo":{"bar":"qux"}}', False, id="H37 other"),
        pytest.param("!has(body.foo)", "{}", True, id="H40"),
        pytest.param("body.foo == '🤠'", '{"foo":"🤠"}', True, id="emoji in JSON"),
        pytest.param("body[0].id == 1", '[{"id":1}]', True, id="list"),
        pytest.param("body.n + 1.5 == 4.5", '{"n":3}', True, id="every number is a double, as in Go"),
        pytest.param("body.items.exists(i, i.id == 2)", '{"items":[{"id":1},{"id":2}]}', True, id="macro"),
        pytest.param(COUNT, '{"results":[{"state":"sell_only"},{"state":"sell_only"},{}]}', True, id="E19"),
        pytest.param(COUNT, '{"results":[{"state":"sell_only"}]}', False, id="E19 other count"),
        pytest.param("has(body.errors) == false", "{}", True, id="E13"),
        pytest.param("has(body.errors) == false", '{"errors":["1"]}', False, id="E13 there"),
        pytest.param("body.big > 1.0", '{"big":18446744073709551616}', True, id="beyond 64 bits"),
    ],
)
def test_a_condition_holds_or_not(text, body, expected):
    assert expected == held(text, body)


@pytest.mark.parametrize(
    ("text", "body", "words"),
    [
        pytest.param("body.foo.bar == 'baz'", "{}", 'cannot be evaluated: Key not found in map : "foo"', id="H38 key"),
        pytest.param("body.foo", '{"foo":"a"}', "neither true nor false: it gives string", id="H38 E19 no bool"),
        pytest.param("body.foo", "hello world", "body is not JSON", id="H38 E19 text"),
        pytest.param("body.foo", "", "body is not JSON", id="H38 empty"),
        pytest.param("body.foo", "🤠🤠🤠", "body is not JSON", id="H38 emoji"),
        pytest.param("body.foo", "NaN", "it holds NaN, which is no number", id="NaN"),
        pytest.param("body.foo", "[" * 100_000, "nested too deep", id="deep"),
        pytest.param("body.foo == 'baz'", "[1]", "cannot be evaluated", id="name on a list"),
    ],
)
def test_what_cannot_be_told_is_told_in_words_h38(text, body, words):
    with pytest.raises(ValueError, match=words):
        held(text, body)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("body.x == 1", None, id="P23 valid"),
        pytest.param("bdy.x == 1", "undeclared reference", id="P23 undeclared"),
        pytest.param("", "Syntax error", id="P23 empty"),
        pytest.param("body.x ==", "line 1, character 10", id="syntax"),
        pytest.param(
            "1 + 1", "expected a condition, which is true or false, got one that gives int", id="no condition"
        ),
        pytest.param("body.s.matches('(?=a)')", None, id="a pattern is seen at run time only"),
    ],
)
def test_an_expression_is_checked_when_it_is_read_p23(text, words):
    message = cel.problem(text)

    assert (message is None) if words is None else words in message


def test_a_hostile_body_cannot_make_a_condition_work_for_long():
    """All pairs of 100,000 numbers would be ten thousand million rounds."""
    expression = cel.compile_cel("body.all(x, body.all(y, x + y >= 0.0))")
    document = cel.read_body(b"[" + b",".join([b"1"] * 100_000) + b"]")
    began = time.monotonic()

    with pytest.raises(ValueError, match="Iteration budget exceeded"):
        cel.holds(expression, document)

    assert time.monotonic() - began < 1
