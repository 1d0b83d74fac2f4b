"""Demands on the headers of a response."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from perfmon.network.header import is_token
from perfmon.patterns import Pattern, compile_pattern, problem
from perfmon.secret import quoted_or_masked
from perfmon.units import quoted

__all__ = ["HeaderRule", "HeaderRules", "check", "demanded", "prepare", "unequal", "unmet"]

Headers = Sequence[tuple[str, str]]  # names in lower case


class HeaderRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A demand on one response header; `regexp` is RE2 and matches anywhere in the value."""

    header: str
    regexp: str
    allow_missing: bool = False


class HeaderRules(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """All demands on headers, made ready."""

    patterns: tuple[tuple[HeaderRule, Pattern, bool], ...]  # with whether it must match
    equal: tuple[tuple[str, str], ...]  # the header's name as written, and its one value

    def __bool__(self) -> bool:
        return bool(self.patterns or self.equal)


def check(rules: Mapping[str, Sequence[HeaderRule]]) -> Iterable[tuple[str, str]]:
    """Mistakes in the rules of each setting, as (path, message)."""
    for field, listed in rules.items():
        for index, rule in enumerate(listed):
            if message := problem(rule.regexp) if rule.regexp else "expected a pattern that is not empty":
                yield f"{field}[{index}].regexp", message
            if not is_token(rule.header):
                yield f"{field}[{index}].header", f"expected the name of a header, got {quoted(rule.header)}"


def prepare(matching: Iterable[HeaderRule], lacking: Iterable[HeaderRule], equal: Mapping[str, str]) -> HeaderRules:
    """`matching` fail by matching, `lacking` by not matching, `equal` by another value."""
    return HeaderRules(
        patterns=(
            *((rule, compile_pattern(rule.regexp), False) for rule in matching),
            *((rule, compile_pattern(rule.regexp), True) for rule in lacking),
        ),
        equal=tuple(equal.items()),
    )


def unmet(rules: HeaderRules, headers: Headers) -> str:
    """The first pattern that is not met, in words; "" when all are. Of a header sent twice one value is enough."""
    for rule, pattern, must_match in rules.patterns:
        values = _values(rule.header, headers)
        if not values and not rule.allow_missing:
            return f"no header {rule.header}"
        matched = any(pattern.search(value) for value in values)
        if values and matched != must_match:
            verb = "does not match" if must_match else "matches"
            return f"header {rule.header} {verb} {quoted_or_masked(rule.regexp)}: {quoted(values[0])}"
    return ""


def unequal(rules: HeaderRules, headers: Headers) -> str:
    """The first header that has another value than demanded, in words; "" when none has."""
    for name, wanted in rules.equal:
        values = _values(name, headers)
        if not values:
            return f"no header {name}"
        if wanted not in values:
            return f"header {name} is {quoted(values[0])}, expected {quoted_or_masked(wanted)}"
    return ""


def demanded(rules: HeaderRules, headers: Headers) -> dict[str, str]:
    """The headers that the rules are about, as they came; those that did not come are left out."""
    names = dict.fromkeys([*(rule.header for rule, _, _ in rules.patterns), *(name for name, _ in rules.equal)])
    came = {name: ", ".join(_values(name, headers))[:_SHOWN] for name in names}
    return {f"header {name}": value for name, value in came.items() if value}


_SHOWN = 200


def _values(name: str, headers: Headers) -> list[str]:
    wanted = name.lower()
    return [value for other, value in headers if other == wanted]
