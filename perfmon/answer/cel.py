"""Conditions on a JSON body in CEL, as blackbox_exporter has them: the body is `body`, and its numbers are doubles.

The library is Google's own, checks names and types when it compiles, matches by RE2 and gives up after ten thousand
rounds of a comprehension, so a hostile body cannot make it work without end. It is heavy, and so an extra.
"""

import json
import re
from functools import lru_cache
from typing import Any

__all__ = ["compile_cel", "holds", "problem", "read_body"]


def problem(text: str) -> str | None:
    """Why an expression cannot be used."""
    try:
        compile_cel(text)
    except ValueError as error:
        return str(error)
    return None


@lru_cache(maxsize=1024)
def compile_cel(text: str) -> Any:
    """An expression made ready for `holds`; ValueError with a sentence."""
    try:
        from cel_expr_python import cel  # noqa: PLC0415 - heavy, and few need it
    except ImportError:
        raise ValueError("needs the package cel-expr-python: pip install 'perfmon[cel]'") from None
    try:
        expression = cel.NewEnv(variables={"body": cel.Type.DYN}).compile(text)
    except RuntimeError as error:  # all that it raises
        raise ValueError(f"not a CEL expression about `body`: {_said(str(error))}") from None
    kind = expression.return_type()
    if kind not in (cel.Type.BOOL, cel.Type.DYN):
        raise ValueError(f"expected a condition, which is true or false, got one that gives {kind.name().lower()}")
    return expression


def read_body(body: bytes) -> Any:
    """What a body says, with every number a double as Go reads it; ValueError with a sentence when it is no JSON."""
    try:
        return json.loads(body.decode("utf-8", "replace"), parse_int=float, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("body is not JSON that can be read: it is nested too deep") from None
    except ValueError as error:
        raise ValueError(f"body is not JSON: {str(error)[:1].lower()}{str(error)[1:]}") from None


def holds(expression: Any, document: Any) -> bool:
    """Whether the expression is true of a body; ValueError with a sentence when it is neither true nor false."""
    try:
        result = expression.eval(data={"body": document})
        kind, value = result.type().name(), result.plain_value()
    except RuntimeError as error:
        raise ValueError(f"cannot be evaluated: {_said(str(error))}") from None
    if kind.lower() == "bool":
        return bool(value)
    if kind.lower().strip("*") == "error":
        raise ValueError(f"cannot be evaluated: {_said(str(value))}")
    raise ValueError(f"is neither true nor false: it gives {kind.lower()}")


def _no_number(name: str) -> float:
    raise ValueError(f"it holds {name}, which is no number")


_COMPLAINT = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
_CODE = re.compile(r"^[A-Z_]+: | \[[A-Z_]+\]$")


def _said(message: str) -> str:
    """The library's own words, without its codes and drawings."""
    found = _COMPLAINT.search(message)
    if found:
        return f"line {found[1]}, character {int(found[2])}: {_CODE.sub('', found[3])}"
    return _CODE.sub("", _CODE.sub("", message.partition("\n")[0]))
