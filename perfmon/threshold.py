"""The one grammar of thresholds: a sentence that says what must be true, parsed once.

    threshold   = [ aggregation ] op limit [ level ] [ "," limit level ] { clause }
    aggregation = "p(" N ")" | "pN" | "avg" | "mean" | "min" | "max" | "med" | "median" | "stddev"
                | "count" | "rate" | "sum" | "last"                  default: last
    op          = "<" | "<=" | ">" | ">=" | "==" | "===" | "!="
    limit       = quantity                                           200ms   1%   500MiB   3   10MiB/min
                | "baseline" [ "*" number | ( "+" | "-" ) quantity ] baseline * 1.10   baseline + 5ms   baseline + 10%
    level       = "warning" | "critical"
    clause      = "over" duration      what the aggregation looks back on; 5m unless said; `last` has none
                | "for" duration       how long it must be false without a break before somebody is told
                | "within" duration    grace: a false sentence does not count that long after the beginning

    p(95) < 200ms warning, 500ms critical over 5m for 1m

A superset of k6's expressions. `rate` is the share of ones of a flag and the increase per second of a counter.
A percentage added to the baseline is a share of the baseline. A threshold is broken when it is false, and without
data it is not true.
"""

import operator
import re
from collections.abc import Callable
from functools import lru_cache
from math import isnan
from typing import Literal, get_args

import msgspec

from perfmon import units
from perfmon.model import Level
from perfmon.units import Quantity, Unit, quoted

Aggregation = Literal["p", "avg", "min", "max", "med", "stddev", "count", "rate", "sum", "last"]
Op = Literal["<", "<=", ">", ">=", "==", "!="]
Severity = Literal["warning", "critical"]

DEFAULT_OVER_S = 300.0


class Limit(msgspec.Struct, frozen=True):
    """One bound: `factor * baseline + quantity`, where most have no baseline."""

    quantity: Quantity
    factor: float = 0.0
    level: Severity | Literal[""] = ""

    def at(self, baseline: float | None) -> float | None:
        """The bound in base units; None when it needs a baseline and there is none."""
        if not self.factor:
            return self.quantity.value
        return None if baseline is None else self.factor * baseline + self.quantity.value

    def __str__(self) -> str:
        return f"{self._term()} {self.level}".rstrip()

    def _term(self) -> str:
        if not self.factor:
            return str(self.quantity)
        if self.factor != 1:
            return f"baseline * {units.format_quantity(self.factor, '')}"
        amount = self.quantity.value
        if not amount:
            return "baseline"
        return f"baseline {'+' if amount > 0 else '-'} {units.format_quantity(abs(amount), self.quantity.unit)}"


class Threshold(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence, parsed. `str` writes it so that `parse` reads the same back."""

    aggregation: Aggregation
    percentile: float | None = None  # 0 to 100, of "p" only
    op: Op
    limits: tuple[Limit, ...]  # one, or two from the milder to the severer
    over_s: float  # 0 for `last`
    for_s: float | None = None
    within_s: float = 0.0

    @property
    def name(self) -> str:
        """`p95`, `rate`: for a sentence about it."""
        return self.aggregation if self.percentile is None else f"p{units.format_quantity(self.percentile, '')}"

    @property
    def unit(self) -> Unit:
        """That of its limits; "" when they are bare numbers."""
        return next((limit.quantity.unit for limit in self.limits if limit.quantity.unit), "")

    def evaluate(self, value: float | None, baseline: float | None = None) -> tuple[Level, float | None]:
        """How bad a value is, and the bound that says so (of "ok": the nearest one).

        A broken limit without a level is critical. No value, NaN, and a missing baseline are no data.
        """
        bound = None
        for limit in reversed(self.limits):
            bound = limit.at(baseline)
            if value is None or bound is None or isnan(value):
                return "no_data", bound
            if not _HOLDS[self.op](value, bound):
                return limit.level or "critical", bound
        return "ok", bound

    def __str__(self) -> str:
        subject = f"p({self.name[1:]})" if self.aggregation == "p" else self.aggregation
        clauses = {"over": self.over_s, "for": self.for_s, "within": self.within_s}
        tail = "".join(f" {word} {units.format_duration(s)}" for word, s in clauses.items() if s)
        return f"{subject} {self.op} {', '.join(map(str, self.limits))}{tail}"


def parse(text: str) -> Threshold:
    """The sentence as a value; ValueError with what stood there and what was expected."""
    op = _OP.search(text)
    if op is None:
        raise ValueError(f'expected a threshold such as "p(95) < 200ms over 5m", got {quoted(text)}')
    aggregation, percentile = _aggregation(text[: op.start()].strip())
    limits, clauses = _limits_and_clauses(text[op.end() :])
    if aggregation == "last" and "over" in clauses:
        raise ValueError('`last` looks at the newest point alone, expected no "over"')
    threshold = Threshold(
        aggregation=aggregation,
        percentile=percentile,
        op=_OPS[op.group()],
        limits=limits,
        over_s=0.0 if aggregation == "last" else clauses.get("over", DEFAULT_OVER_S),
        for_s=clauses.get("for"),
        within_s=clauses.get("within", 0.0),
    )
    _check_units(threshold)
    _check_levels(threshold)
    return threshold


@lru_cache(maxsize=1024)
def comparison(text: str) -> Threshold | None:
    """`< 30s`, `>= 1`: an operator and a limit, and nothing else of the grammar. None for an empty text.

    ValueError with what stood there and what was expected.
    """
    if not text:
        return None
    expected = f"expected an operator and a number such as < 30 or >= 1, got {quoted(text)}"
    try:
        parsed = parse(text)
    except ValueError:
        raise ValueError(expected) from None
    limit = parsed.limits[0]
    bare = parsed.aggregation == "last" and len(parsed.limits) == 1 and not (limit.level or limit.factor)
    if not bare or parsed.for_s is not None or parsed.within_s:
        raise ValueError(expected)
    return parsed


# ---------------------------------------------------------------- the parts of a sentence

_HOLDS: dict[Op, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_OPS: dict[str, Op] = {op: op for op in _HOLDS} | {"===": "=="}
_OP = re.compile(r"<=|>=|===?|!=|<|>")
_AGGREGATIONS: dict[str, Aggregation] = {
    **{name: name for name in get_args(Aggregation) if name != "p"},
    "mean": "avg",
    "median": "med",
    "": "last",
}
_PERCENTILE = re.compile(r"p(?:\(\s*([0-9.]+)\s*\)|([0-9.]+))")
_CLAUSE = re.compile(r"\b(over|for|within)\b")
_LEVEL = re.compile(r"\b(warning|critical)\s*\Z")
_BASELINE = re.compile(r"baseline\b\s*(?:([*+-])\s*(.*))?", re.DOTALL)


def _aggregation(text: str) -> tuple[Aggregation, float | None]:
    if text in _AGGREGATIONS:
        return _AGGREGATIONS[text], None
    match = _PERCENTILE.fullmatch(text)
    if match is None:
        known = ", ".join(["p(N)", *(name for name in get_args(Aggregation) if name != "p")])
        raise ValueError(f"unknown aggregation {quoted(text)}, expected one of: {known}")
    try:
        percentile = float(match[1] or match[2])
    except ValueError:
        percentile = -1.0
    if not 0 <= percentile <= 100:
        raise ValueError(f"expected a percentile from 0 to 100, got {quoted(text)}")
    return "p", percentile


def _limits_and_clauses(text: str) -> tuple[tuple[Limit, ...], dict[str, float]]:
    terms, *rest = _CLAUSE.split(text)
    clauses: dict[str, float] = {}
    for word, amount in zip(rest[::2], rest[1::2], strict=True):
        if word in clauses:
            raise ValueError(f'expected "{word}" once, got it twice')
        clauses[word] = _clause(word, amount.strip())
    limits = [_limit(term.strip()) for term in terms.split(",")]
    return tuple(sorted(limits, key=lambda limit: limit.level == "critical")), clauses


def _clause(word: str, text: str) -> float:
    try:
        seconds = units.parse_duration(text)
    except ValueError as error:
        raise ValueError(f'after "{word}" {error}') from error
    if seconds == 0:
        raise ValueError(f'after "{word}" expected a duration above 0, got {quoted(text)}')
    return seconds


def _limit(text: str) -> Limit:
    level = _LEVEL.search(text)
    term = text[: level.start()].strip() if level else text
    severity: Severity | Literal[""] = "" if level is None else "warning" if level[1] == "warning" else "critical"
    baseline = _BASELINE.fullmatch(term)
    try:
        if baseline is None:
            return Limit(units.parse_quantity(term), 0.0, severity)
        factor, quantity = _baseline(baseline[1], baseline[2])
    except ValueError as error:
        expected = 'expected a limit such as 200ms, 1%, 500MiB, 3 or "baseline * 1.10"'
        raise ValueError(f"{expected}, got {quoted(term)}") from error
    return Limit(quantity, factor, severity)


def _baseline(sign: str | None, text: str) -> tuple[float, Quantity]:
    """Factor and offset of what stands behind the word; ValueError when it is neither."""
    if sign is None:
        return 1.0, Quantity(0.0)
    amount = units.parse_quantity(text)
    if amount.value < 0 or amount.per_s:
        raise ValueError
    signed = -amount.value if sign == "-" else amount.value
    if sign == "*" or amount.unit == "ratio":
        factor = amount.value if sign == "*" else 1 + signed
        if factor <= 0 or (sign == "*" and amount.unit):
            raise ValueError
        return factor, Quantity(0.0)
    return 1.0, Quantity(signed, amount.unit) if signed else Quantity(0.0)


# ---------------------------------------------------------------- what makes no sense together


def _check_units(threshold: Threshold) -> None:
    known = {limit.quantity.unit for limit in threshold.limits} - {""}
    if len(known) > 1:
        raise ValueError(f"expected both limits in one unit, got {' and '.join(sorted(known))}")
    if threshold.aggregation == "count" and (known or _per_s(threshold)):
        raise ValueError(f"`count` counts points, expected a bare number, got {quoted(str(threshold.limits[0]))}")
    if threshold.aggregation != "rate" and _per_s(threshold):
        raise ValueError(f"only `rate` has a limit per time, got {quoted(str(threshold.limits[0]))}")


def _per_s(threshold: Threshold) -> bool:
    return any(limit.quantity.per_s for limit in threshold.limits)


def _check_levels(threshold: Threshold) -> None:
    if len(threshold.limits) == 1:
        return
    if [limit.level for limit in threshold.limits] != ["warning", "critical"]:
        raise ValueError("expected one limit, or two of which one says warning and one says critical")
    mild, severe = threshold.limits
    if threshold.op in ("==", "!="):
        raise ValueError(f'"{threshold.op}" has no degrees, expected one limit')
    if mild.factor or severe.factor:
        return  # which is the nearer one depends on the baseline
    if mild.quantity.value == severe.quantity.value or not _HOLDS[threshold.op](
        mild.quantity.value, severe.quantity.value
    ):
        raise ValueError(f"expected the warning before the critical limit, got {mild}, {severe}")
