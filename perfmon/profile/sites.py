"""Where memory was allocated that is still in use, and which of these places grow. Pure.

A capture sees only what was allocated after it began, so what lives at its end is the working set of that span and
what is kept for good. The first is as large in a long capture as in a short one, the second grows with the span. So
places are ranked by how many more blocks live at the end of the long one, for each second that it is longer. By
blocks, not bytes: one cache that fills outweighs a leak of small objects (docs/profiling.md has the figures).
"""

from collections.abc import Iterable, Mapping

import msgspec

__all__ = ["SHOWN", "Capture", "Frame", "Live", "Site", "Stack", "differing", "growing", "in_words", "living"]

SHOWN = 5


class Frame(msgspec.Struct, frozen=True, order=True):
    """A call on a stack."""

    function: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.function} ({self.file}:{self.line})" if self.file else self.function


Stack = tuple[Frame, ...]
"""Innermost first; only its uppermost calls."""


class Live(msgspec.Struct, frozen=True):
    """What one stack allocated that is in use at the end of a capture."""

    blocks: int
    size_bytes: int


class Capture(msgspec.Struct, frozen=True):
    """What lived at the end of a capture, or at a program's peak."""

    duration_s: float
    live: Mapping[Stack, Live]


class Site(msgspec.Struct, frozen=True):
    """A place that allocates, and what it is found to do; blocks and bytes per second, or counts when compared."""

    stack: Stack
    blocks: float
    size_bytes: float


def growing(short: Capture, long: Capture, *, shown: int = SHOWN) -> tuple[Site, ...]:
    """The places that keep ever more, fastest growth in blocks per second first.

    The one that grows fastest in bytes is the last of them when it is not among the first: few large buffers.
    ValueError when the second capture is not longer than the first.
    """
    span_s = long.duration_s - short.duration_s
    if span_s <= 0:
        raise ValueError(f"expected the second capture to be longer than {short.duration_s:.1f}s")
    return _ranked(
        (Site(site.stack, site.blocks / span_s, site.size_bytes / span_s) for site in _more(short, long)), shown
    )


def differing(before: Capture, after: Capture, *, shown: int = SHOWN) -> tuple[Site, ...]:
    """The places of which more is in use at the end of `after`: how many blocks and bytes more, most blocks first."""
    return _ranked(_more(before, after), shown)


def living(capture: Capture, *, shown: int = SHOWN) -> tuple[Site, ...]:
    """The places that use most memory, most bytes first."""
    sites = (Site(stack, live.blocks, live.size_bytes) for stack, live in capture.live.items())
    return tuple(sorted(sites, key=lambda site: (-site.size_bytes, site.stack)))[:shown]


def in_words(site: Site) -> str:
    """Its calls in one line, the innermost first: `remember (shop.py:31) < handle (shop.py:12)`."""
    return " < ".join(map(str, site.stack))


def _more(before: Capture, after: Capture) -> Iterable[Site]:
    for stack, live in after.live.items():
        former = before.live.get(stack, _NOTHING)
        if live.blocks > former.blocks:
            yield Site(stack, live.blocks - former.blocks, live.size_bytes - former.size_bytes)


def _ranked(sites: Iterable[Site], shown: int) -> tuple[Site, ...]:
    ranked = sorted(sites, key=lambda site: (-site.blocks, -site.size_bytes, site.stack))
    first = ranked[:shown]
    heaviest = max(ranked, key=lambda site: site.size_bytes, default=None)
    if heaviest is not None and heaviest not in first:
        first[-1] = heaviest
    return tuple(first)


_NOTHING = Live(0, 0)
