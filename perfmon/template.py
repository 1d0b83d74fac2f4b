"""Texts with variables, `{{name}}`: read once, filled in again and again, escaped for where the text goes.

`{{` without a name behind it is a mistake; `}}` alone is a text like any other, since JSON is full of it. What fills a
place is never read for places itself.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import msgspec

__all__ = [
    "NAME",
    "Template",
    "Value",
    "Values",
    "fill_json",
    "in_url",
    "names_in_json",
    "parse",
    "parse_json",
    "text_of",
]

Value = str | int | float | bool
Values = Mapping[str, Value]
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Template(msgspec.Struct, frozen=True):
    """Texts with a name between each two of them."""

    texts: tuple[str, ...]
    names: tuple[str, ...] = ()  # one less

    @property
    def alone(self) -> str:
        """The name, where there is nothing else; "" otherwise."""
        return self.names[0] if self.texts == ("", "") else ""

    def fill(self, values: Values, escape: Callable[[str], str] = str) -> str:
        """The text with `escape`d values in place of names; KeyError for one that has none."""
        filled = [self.texts[0]]
        for name, text in zip(self.names, self.texts[1:], strict=True):
            filled += (escape(text_of(values[name])), text)
        return "".join(filled)

    def after_first(self) -> "Template":
        """What stands behind the first name."""
        return Template(self.texts[1:], self.names[1:])


def parse(text: str) -> Template:
    """Read a template; ValueError with a sentence that shows nothing of the text, which may be a secret."""
    parts = _PLACE.split(str(text))  # plain, also of a secret: JSON encoders take nothing else
    if any("{{" in part for part in parts[::2]):
        raise ValueError("expected a name between {{ and }}, as in {{token}}")
    return Template(tuple(parts[::2]), tuple(parts[1::2]))


def parse_json(document: Any) -> Any:
    """Lists and mappings with a Template in place of each text."""
    if isinstance(document, str):
        return parse(document)
    if isinstance(document, Mapping):
        return {key: parse_json(item) for key, item in document.items()}
    return [parse_json(item) for item in document] if isinstance(document, list) else document


def names_in_json(document: Any) -> Iterator[str]:
    """The names in all texts of what `parse_json` gave."""
    if isinstance(document, Template):
        yield from document.names
    elif isinstance(document, Collection) and not isinstance(document, str):
        for item in document.values() if isinstance(document, Mapping) else document:
            yield from names_in_json(item)


def fill_json(document: Any, values: Values) -> Any:
    """What `parse_json` gave, filled in, for a JSON encoder to escape.

    A text that is one place and nothing else becomes the value itself: a number stays a number.
    """
    if isinstance(document, Template):
        return values[document.alone] if document.alone else document.fill(values)
    if isinstance(document, dict):
        return {key: fill_json(item, values) for key, item in document.items()}
    return [fill_json(item, values) for item in document] if isinstance(document, list) else document


def in_url(text: str) -> str:
    """A text as a part of a path or query: what is not a letter, a digit or one of `-._~` percent-encoded."""
    return quote(text, safe="", errors="replace")


def text_of(value: Value) -> str:
    """A value as a text, as JSON writes it."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


_PLACE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
