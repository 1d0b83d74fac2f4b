"""What a client of the metrics page wants: the format, and whether compressed.

Pure. https://prometheus.io/docs/instrumenting/content_negotiation/, RFC 9110 section 12.5.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from perfmon.monitor.textformat import OPENMETRICS, TEXT, Format

__all__ = ["accepts_gzip", "negotiate"]


def negotiate(accept: str) -> Format:
    """The format for an `Accept` header, by its qualities; never a refusal.

    OpenMetrics must be asked for, in version 1.0.0 or without one; a client that takes anything gets
    the text that older tools and people read too. At equal quality OpenMetrics wins.
    """
    ranges = [each for each in _ranges(accept) if each.version in _VERSIONS.get(each.name, (each.version,))]
    openmetrics = _quality(ranges, ("application/openmetrics-text",), ("application/*",))
    text = _quality(ranges, ("text/plain",), ("text/*",), ("*/*",))
    return OPENMETRICS if openmetrics > 0 and openmetrics >= text else TEXT


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether an `Accept-Encoding` header allows gzip and does not like `identity` better (RFC 9110, 12.5.3)."""
    ranges = list(_ranges(accept_encoding))
    gzip = _quality(ranges, ("gzip", "x-gzip"), ("*",))
    return gzip > 0 and gzip >= _quality(ranges, ("identity",))


_VERSIONS = {"application/openmetrics-text": ("", "1.0.0")}  # of other types any version will do


class _Range(NamedTuple):
    """One element of an Accept header."""

    name: str
    version: str
    quality: float


def _ranges(header: str) -> Iterator[_Range]:
    for element in header.split(","):
        name, *rest = element.split(";")
        parameters = {
            key.strip().lower(): value.strip(' \t"') for key, _, value in (item.partition("=") for item in rest)
        }
        yield _Range(name.strip().lower(), parameters.get("version", ""), _q(parameters.get("q", "1")))


def _q(text: str) -> float:
    """0 to 1; what is no such number counts as a quality that was not given."""
    try:
        quality = float(text)
    except ValueError:
        return 1.0
    return quality if 0.0 <= quality <= 1.0 else 1.0


def _quality(ranges: Iterable[_Range], *names: tuple[str, ...]) -> float:
    """The best quality under the first group of names that occurs: the most specific range decides."""
    for group in names:
        found = [each.quality for each in ranges if each.name in group]
        if found:
            return max(found)
    return 0.0
