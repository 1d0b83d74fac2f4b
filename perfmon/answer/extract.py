"""Take a value out of an HTTP answer: by its path in a JSON body, by a regular expression, or out of a header.

A value that is not there, or that is null, is a failure of the target.
"""

from collections.abc import Iterable

import msgspec

from perfmon.answer.json_path import parse_path, read_json, value_at
from perfmon.model import Failure, Phase, Reason
from perfmon.network.exchange import Response
from perfmon.patterns import compile_pattern, problem
from perfmon.template import Value
from perfmon.units import format_bytes, quoted

__all__ = ["EXTRACTED_BYTES", "Extract", "check", "extract"]

EXTRACTED_BYTES = 1 << 20
"""How much of a body is kept for values to be taken out of it."""
_LONGEST = 8192  # characters of a value
_LARGEST = 2**63 - 1  # of a number that can be written as JSON again


class Extract(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a value stands; of a regular expression (RE2) it is the first group, or all where there is none."""

    json: str = ""  # Path in a JSON body, as `$.data[0].id`.
    header: str = ""  # Name of a header.
    regexp: str = ""  # Regular expression (RE2), found in the body, or in the header where one is named.


def check(rule: Extract) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express, as (path, message)."""
    if not (rule.json or rule.header or rule.regexp):
        yield "", "expected one of json, header and regexp"
    if rule.json and (rule.header or rule.regexp):
        yield "json", "expected json, or header and regexp, not both"
    if rule.json:
        try:
            parse_path(rule.json)
        except ValueError as error:
            yield "json", str(error)
    if rule.regexp and (message := problem(rule.regexp)):
        yield "regexp", message


def extract(name: str, rule: Extract, response: Response) -> Value | Failure:
    """The value, or why it is not there."""
    if not rule.header and response.body_bytes > len(response.body):
        return _missing(
            "too_large", f"body is longer than {format_bytes(len(response.body))}, of which {name} is taken"
        )
    if rule.json:
        found = _by_path(name, rule.json, response.body)
    elif rule.header:
        found = _from_header(name, rule, response)
    else:
        found = _by_pattern(name, rule.regexp, response.body.decode("utf-8", "replace"))
    if isinstance(found, str) and len(found) > _LONGEST:
        return _missing("too_large", f"the value of {name} is longer than {_LONGEST} characters")
    return found


def _by_path(name: str, path: str, body: bytes) -> Value | Failure:
    try:
        found = value_at(parse_path(path), read_json(body))
    except ValueError as error:
        return _missing("json", f"{error}, expected {name} in it")
    if found is None:
        return _missing("json", f"body has no value at {path}, expected {name}")
    if isinstance(found, int) and abs(found) > _LARGEST:
        return str(found)
    return found if isinstance(found, str | int | float | bool) else msgspec.json.encode(found).decode()


def _from_header(name: str, rule: Extract, response: Response) -> Value | Failure:
    values = [value for header, value in response.headers if header == rule.header.lower()]
    if not values:
        return _missing("header", f"no header {rule.header}, expected {name} in it", "processing")
    if not rule.regexp:
        return values[0]
    for value in values:
        found = _by_pattern(name, rule.regexp, value)
        if not isinstance(found, Failure):
            return found
    message = f"header {rule.header} does not match {quoted(rule.regexp)}, expected {name} in it"
    return _missing("header", message, "processing")


def _by_pattern(name: str, regexp: str, text: str) -> str | Failure:
    match = compile_pattern(regexp).search(text)
    found = match.group(1 if match.groups() else 0) if match else None
    return found if found is not None else _missing("body", f"body does not match {quoted(regexp)}, expected {name}")


def _missing(reason: Reason, message: str, phase: Phase = "transfer") -> Failure:
    return Failure(reason=reason, phase=phase, message=message)
