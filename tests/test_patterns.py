"""RE2, and Go's way to fill in what was found."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmon.patterns import compile_pattern, expand, problem

MATCH = compile_pattern("^(?P<name>[a-z]+)=([^ ]*)(?: (.*))?$").search("key=value")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("$1 ${2}", "key value"),
        ("$name-${name}", "key-key"),
        ("$0", "key=value"),
        ("<${3}>", "<>"),  # took no part
        ("<${4}${other}>", "<>"),  # is not there
        ("$1x", ""),  # as long as it can be
        ("${1}x", "keyx"),
        ("$$1", "$1"),
        ("$ $- ${ ${} ${1 end$", "$ $- ${ ${} ${1 end$"),
        ("$01", ""),  # no number in Go
        ("$99999999999999999999", ""),
    ],
)
def test_groups_are_filled_in(template, expected):
    assert expected == expand(template, MATCH)


def go_expand(template, groups, names):
    """`Regexp.expand` of Go's regexp package, in its own steps."""
    done, rest = "", template
    while "$" in rest:
        before, _, rest = rest.partition("$")
        done += before
        if rest.startswith("$"):
            done, rest = done + "$", rest[1:]
            continue
        brace = rest.startswith("{")
        body = rest[1:] if brace else rest
        size = next((at for at, char in enumerate(body) if not (char.isalnum() or char == "_")), len(body))
        if size == 0 or (brace and body[size : size + 1] != "}"):
            done += "$"
            continue
        name, rest = body[:size], body[size + brace :]
        number = int(name) if name.isascii() and name.isdigit() and not (name[0] == "0" and len(name) > 1) else -1
        if number >= 0:
            done += groups[number] if number < len(groups) else ""
        else:
            done += names.get(name, "")
    return done + rest


@given(st.text(alphabet="${}aname01230_ x-", max_size=30))
def test_any_template_is_filled_in_as_go_does(template):
    assert go_expand(template, ["key=value", "key", "value", ""], {"name": "key"}) == expand(template, MATCH)


def test_what_is_no_pattern_is_told():
    assert problem("^ok$") is None
    assert "missing )" in problem("(")
    assert "RE2" in problem("(?=lookahead)")
