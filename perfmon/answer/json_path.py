"""The way to one value in a JSON document.

A path is the names and numbers on the way: `data[0].id`, `["key.with.dots"]`; `$` before it is JSONPath's, and alone it
is the whole body. It leads to one value: there are no wildcards and no filters, for which there is CEL.
"""

import re
from functools import lru_cache
from typing import Any

import msgspec

from perfmon.units import quoted

__all__ = ["Path", "parse_path", "read_json", "value_at"]

Path = tuple[str | int, ...]


@lru_cache(maxsize=4096)
def parse_path(text: str) -> Path:
    """The steps of a path; ValueError with a sentence."""
    rest = text[1:] if text == "$" or text.startswith(("$.", "$[")) else text  # "$ref" is a name
    if rest and rest[0] not in ".[":
        rest = f".{rest}"
    steps: list[str | int] = []
    at = 0
    while at < len(rest):
        step = _STEP.match(rest, at)
        if step is None:
            raise ValueError(f'expected a path such as data[0].id or ["a.b"], got {quoted(text)}')
        steps.append(int(step["index"]) if step["index"] else _name(step))
        at = step.end()
    if not steps and text != "$":
        raise ValueError(f"expected a path such as data[0].id, or $ for the whole body, got {quoted(text)}")
    return tuple(steps)


def read_json(body: bytes) -> Any:
    """What a body says; ValueError with a sentence when it is no JSON."""
    try:
        return msgspec.json.decode(body)
    except RecursionError:
        raise ValueError("body is not JSON that can be read: it is nested too deep") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"body is not JSON: {str(error)[:1].lower()}{str(error)[1:]}") from None


def value_at(path: Path, document: Any) -> Any:
    """None for what is missing, and for null."""
    for step in path:
        if isinstance(step, str) and isinstance(document, dict):
            document = document.get(step)
        elif isinstance(step, int) and isinstance(document, list) and step < len(document):
            document = document[step]
        else:
            return None
    return document


_STEP = re.compile(
    r"""
      \.(?P<name>[^.\[\]*?()"'\s@]+)
    | \[(?P<index>[0-9]{1,9})\]
    | \[(?P<key>"(?:[^"\\]|\\.)*")\]
    | \['(?P<plain>[^']*)'\]
    """,
    re.VERBOSE,
)


def _name(step: re.Match[str]) -> str:
    if step["key"] is None:
        return step["name"] if step["name"] is not None else step["plain"]
    name: str = msgspec.json.decode(step["key"], type=str)
    return name
