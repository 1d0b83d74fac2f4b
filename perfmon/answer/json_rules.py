"""Demands on values in a JSON body. A value that is missing, or of the wrong type, meets none of them."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from perfmon import threshold
from perfmon.answer.json_path import parse_path, value_at
from perfmon.patterns import compile_pattern, problem
from perfmon.secret import quoted_or_masked
from perfmon.units import quoted

__all__ = ["JsonRule", "check", "expected", "found", "number_at", "unmet"]


class JsonRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A demand on one value of a JSON body; of several expectations all must hold, with none it must be there."""

    path: str
    expect: str = ""  # as JSON has it, or a text without its quotes
    expect_regexp: str = ""
    expect_value: str = ""  # "< 5"
    expect_length: str = ""  # ">= 1", of a list, a mapping or a text
    expect_missing: bool = False  # null is missing too


# ---------------------------------------------------------------- before any run


def check(rule: JsonRule) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express, as (path, message)."""
    try:
        parse_path(rule.path)
    except ValueError as error:
        yield "path", str(error)
    if rule.expect_regexp and (message := problem(rule.expect_regexp)):
        yield "expect_regexp", message
    for field in ("expect_value", "expect_length"):
        try:
            threshold.comparison(getattr(rule, field))
        except ValueError as error:
            yield field, str(error)
    if rule.expect_missing and (rule.expect or rule.expect_regexp or rule.expect_value or rule.expect_length):
        yield "expect_missing", "what is missing can meet no other expectation"


# ---------------------------------------------------------------- a body


def unmet(rules: Sequence[JsonRule], document: Any) -> str:
    """The first demand that is not met, in words; "" when all are."""
    return next((message for rule in rules if (message := _objection(rule, document))), "")


def expected(rule: JsonRule) -> str:
    """What a rule demands, in words."""
    if rule.expect_missing:
        return "none"
    wanted = (f"{words} {quoted_or_masked(text)}" for field, words in _DEMANDED if (text := getattr(rule, field)))
    return " and ".join(wanted) or "any value"


def found(rule: JsonRule, document: Any) -> str:
    """What stands at a rule's path, in words."""
    value = value_at(parse_path(rule.path), document)
    return "no value" if value is None else _shown(value)


_DEMANDED = (
    ("expect", "is"),
    ("expect_regexp", "matches"),
    ("expect_value", "is"),
    ("expect_length", "has a length of"),
)


def number_at(path: str, document: Any) -> float | None:
    """The number at a path, None for every other value."""
    value = value_at(parse_path(path), document)
    return float(value) if _is_number(value) and abs(value) < _LARGEST else None


def _objection(rule: JsonRule, document: Any) -> str:
    value = value_at(parse_path(rule.path), document)
    if rule.expect_missing:
        return "" if value is None else f"{rule.path} is {_shown(value)}, expected none"
    if value is None:
        return f"body has no value at {rule.path}"
    for field, holds, words in _EXPECTATIONS:
        wanted = getattr(rule, field)
        if wanted and not holds(value, wanted):
            return f"{rule.path} is {_shown(value)}, {words} {quoted_or_masked(wanted)}"
    return ""


def _equals(value: Any, text: str) -> bool:
    """A text must be the same letter by letter; everything else is compared as JSON, so 1.0 is 1 and "1" is not."""
    if isinstance(value, str):
        return value == str(text)
    try:
        wanted = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return False
    return bool(value == wanted) and isinstance(value, bool) == isinstance(wanted, bool)


def _matches(value: Any, pattern: str) -> bool:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return compile_pattern(pattern).search(text) is not None


def _compares(value: Any, comparison: str) -> bool:
    return _holds(comparison, _number(value))


def _has_length(value: Any, comparison: str) -> bool:
    return _holds(comparison, len(value) if isinstance(value, str | list | dict) else None)


_EXPECTATIONS: tuple[tuple[str, Callable[[Any, str], bool], str], ...] = (
    ("expect", _equals, "expected"),
    ("expect_regexp", _matches, "which does not match"),
    ("expect_value", _compares, "expected"),
    ("expect_length", _has_length, "expected a length"),
)


def _holds(comparison: str, number: float | None) -> bool:
    parsed = threshold.comparison(comparison)
    assert parsed is not None, "an expectation that is written"
    return parsed.evaluate(number)[0] == "ok"


def _number(value: Any) -> float | None:
    """A number that a float can hold, also one that is written as a text: "15", "0xF", "1e3"."""
    number = value if _is_number(value) else _written_number(value)
    return number if number is not None and abs(number) < _LARGEST else None


def _written_number(value: Any) -> float | None:
    if not isinstance(value, str) or "_" in value or len(value) > _LONGEST_NUMBER:  # Python alone takes 1_000
        return None
    for read in (lambda text: int(text, 0), float):
        try:
            return read(value)
        except ValueError:
            continue
    return None


_LARGEST = 1e308  # an int of JSON may be larger than any float
_LONGEST_NUMBER = 400


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    if isinstance(value, list | dict):
        return f"a {'list' if isinstance(value, list) else 'mapping'} of {len(value)}"
    return quoted(value)
