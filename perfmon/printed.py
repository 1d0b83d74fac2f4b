"""Numbers among what programs print: lines in Prometheus' text form, and the performance data of Nagios' plugins.

Sources:
https://prometheus.io/docs/instrumenting/exposition_formats/#text-format-details
https://nagios-plugins.org/doc/guidelines.html (sections 2.6, 2.10)
"""

import re
from collections.abc import Iterator, Mapping

import msgspec

from perfmon.units import parse_quantity

__all__ = ["Number", "nagios_numbers", "prometheus_numbers"]


class Number(msgspec.Struct, frozen=True):
    """A value with its name, in base units."""

    name: str
    value: float
    labels: Mapping[str, str] = {}


def prometheus_numbers(text: str) -> Iterator[Number]:
    """The samples of a text, comments and every other line left out.

    >>> list(prometheus_numbers('all is well\\norders{shop="eu"} 5'))
    [Number(name='orders', value=5.0, labels={'shop': 'eu'})]
    """
    for line in text.split("\n"):
        found = _SAMPLE.fullmatch(line) if len(line) <= _LINE_CHARACTERS else None
        if found:
            labels = {label[1]: _unescaped(label[2]) for label in _LABEL.finditer(found[2] or "")}
            yield Number(found[1], float(found[3]), labels)


def nagios_numbers(text: str) -> Iterator[Number]:
    """The performance data: what stands behind a `|`, of the first line and of all the others together.

    Times come in seconds, sizes in bytes (`KB` is 1000), percentages as shares; the value `U` is unknown and left out.

    >>> list(nagios_numbers("PING OK | rta=12.5ms;100;200 'packet loss'=5%"))
    [Number(name='rta', value=0.0125, labels={}), Number(name='packet loss', value=0.05, labels={})]
    """
    first, _, rest = text.partition("\n")
    for part in (first, rest):
        for found in _DATUM.finditer(part.partition("|")[2]):
            value = _quantity(found[3])
            if value is not None:
                yield Number(found[1].replace("''", "'") if found[1] else found[2], value)


_LINE_CHARACTERS = 1000
# Bounded repeats, so that a long text of quotes takes no time square to its length.
_LABELS = r'[a-zA-Z_]\w{0,99}="(?:[^"\\\n]|\\.)*"'
_SAMPLE = re.compile(
    rf"\s*([a-zA-Z_:][a-zA-Z0-9_:]{{0,199}})\s*(?:\{{\s*({_LABELS}(?:\s*,\s*{_LABELS})*)?\s*,?\s*\}})?"
    r"\s+([+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|[iI]nf|NaN))(?:\s+-?\d+)?\s*",
    re.ASCII,
)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"', re.ASCII)
_DATUM = re.compile(r"(?:'((?:[^'\n]|''){1,99})'|([^\s=';|]{1,99}))=([^\s;]{1,40})")
_PARTS = re.compile(r"(-?[0-9.]+)([a-zA-Z%]*)")
_ESCAPES = {r"\n": "\n", r"\"": '"', r"\\": "\\"}


def _unescaped(text: str) -> str:
    return re.sub(r"\\.", lambda found: _ESCAPES.get(found[0], found[0]), text)


def _quantity(text: str) -> float | None:
    found = _PARTS.fullmatch(text)
    if found is None:
        return None
    for candidate in (text, found[1]):  # a unit that nobody knows counts for none; `c` is a counter's
        try:
            return parse_quantity(candidate).value
        except ValueError:
            continue
    return None
