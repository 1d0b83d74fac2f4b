"""Demands on the body of a response: regular expressions, CEL, and values in its JSON.

Each kind of demand reads the whole body, in time that is linear in its length. A long one is read in a thread, so that
the loop does not wait.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from perfmon.answer import cel, json_rules
from perfmon.answer.json_path import read_json
from perfmon.answer.json_rules import JsonRule
from perfmon.model import Reason, fact_key
from perfmon.patterns import Pattern, compile_pattern, problem
from perfmon.secret import quoted_or_masked

__all__ = ["BodyRules", "Verdict", "check", "failed_condition", "judge", "prepare"]

_IN_LOOP_BYTES = 64 * 1024  # RE2 reads some 100 MB/s: a longer body goes to a thread


class BodyRules(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """All demands on a body, made ready."""

    patterns: tuple[tuple[str, Pattern, bool], ...]  # with whether it must match
    conditions: tuple[tuple[str, Any, bool], ...]  # CEL, likewise
    values: tuple[JsonRule, ...]

    def __bool__(self) -> bool:
        return bool(self.patterns or self.conditions or self.values)


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    reason: Reason | None = None  # None = all demands are met
    message: str = ""
    facts: Mapping[str, float] = {}


def check(
    patterns: Mapping[str, Sequence[str]], conditions: Mapping[str, str], values: Mapping[str, Sequence[JsonRule]]
) -> Iterable[tuple[str, str]]:
    """Mistakes in what each setting says, as (path, message)."""
    for field, texts in patterns.items():
        for index, text in enumerate(texts):
            if message := problem(text) if text else "expected a pattern that is not empty":
                yield f"{field}[{index}]", message
    for field, text in conditions.items():
        if text and (message := cel.problem(text)):
            yield field, message
    for field, rules in values.items():
        for index, rule in enumerate(rules):
            yield from ((f"{field}[{index}].{path}", message) for path, message in json_rules.check(rule))


def prepare(
    *, matching: Iterable[str], lacking: Iterable[str], matching_cel: str, lacking_cel: str, values: Iterable[JsonRule]
) -> BodyRules:
    """What is `matching` fails by matching, what is `lacking` by not matching."""
    return BodyRules(
        patterns=(
            *((text, compile_pattern(text), False) for text in matching),
            *((text, compile_pattern(text), True) for text in lacking),
        ),
        conditions=tuple(
            (text, cel.compile_cel(text), must_hold)
            for text, must_hold in ((matching_cel, False), (lacking_cel, True))
            if text
        ),
        values=tuple(values),
    )


async def judge(rules: BodyRules, body: bytes) -> Verdict:
    """Whether a whole body meets all demands."""
    if len(body) > _IN_LOOP_BYTES:
        return await asyncio.to_thread(_judge, rules, body)
    return _judge(rules, body)


def _judge(rules: BodyRules, body: bytes) -> Verdict:
    for text, pattern, must_match in rules.patterns:
        if (pattern.search(body) is not None) != must_match:
            verb = "does not match" if must_match else "matches"
            return Verdict(
                reason="body", message=f"body {verb} {quoted_or_masked(text)}", facts={"probe_failed_due_to_regex": 1.0}
            )
    facts: dict[str, float] = {}
    if rules.conditions:
        message = failed_condition(rules, body)
        facts["probe_failed_due_to_cel"] = 1.0 if message else 0.0
        if message:
            return Verdict(reason="json", message=message, facts=facts)
    if not rules.values:
        return Verdict(facts=facts)
    return _judge_values(rules.values, body, facts)


def failed_condition(rules: BodyRules, body: bytes) -> str:
    """Why a CEL condition fails the body, "" when none does; one that cannot be told fails too."""
    try:
        document = cel.read_body(body)
    except ValueError as error:
        return str(error)
    for text, expression, must_hold in rules.conditions:
        try:
            held = cel.holds(expression, document)
        except ValueError as error:
            return f"condition {quoted_or_masked(text)} {error}"
        if held != must_hold:
            return f"body {'does not meet' if must_hold else 'meets'} the condition {quoted_or_masked(text)}"
    return ""


def _judge_values(rules: Sequence[JsonRule], body: bytes, facts: dict[str, float]) -> Verdict:
    try:
        document = read_json(body)
    except ValueError as error:
        return Verdict(reason="json", message=str(error), facts=facts)
    for rule in rules:
        number = json_rules.number_at(rule.path, document)
        if number is not None:
            facts[fact_key("probe_http_json_value", json_path=rule.path)] = number
    message = json_rules.unmet(rules, document)
    return Verdict(reason="json" if message else None, message=message, facts=facts)
