"""Looks into PromQL, for tests: which series an expression asks for, and through which functions."""

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import promql_parser

from perfmon import kinds

OPERANDS = ("expr", "lhs", "rhs", "param")


class Asked(NamedTuple):
    """One selector in an expression."""

    name: str
    matchers: dict  # label -> (MatchOp, value)
    function: str  # the innermost call around it, "" when there is none


def asked(expression) -> list[Asked]:
    """All selectors of an expression, in order."""
    return list(_walk(promql_parser.parse(expression), ""))


def _walk(node, function) -> Iterator[Asked]:
    if isinstance(node, promql_parser.VectorSelector):
        matchers = {matcher.name: (matcher.op, matcher.value) for matcher in node.matchers.matchers}
        yield Asked(node.name, matchers, function)
    elif isinstance(node, promql_parser.MatrixSelector):
        yield from _walk(node.vector_selector, function)
    elif isinstance(node, promql_parser.Call):
        for argument in node.args:
            yield from _walk(argument, node.func.name)
    else:
        for operand in OPERANDS:
            if (child := getattr(node, operand, None)) is not None:
                yield from _walk(child, function)


@cache
def exported() -> dict:
    """Every series name that perfmon can export, with its family."""
    names = {}
    for family in kinds.catalogue().values():
        parts = [f"{family.name}_{part}" for part in ("bucket", "sum", "count")]
        names |= dict.fromkeys(parts if family.type == "histogram" else [family.name], family)
    return names
