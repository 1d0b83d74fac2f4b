"""Line charts as SVG: no script, nothing fetched, sharp on paper and on a telephone. Pure."""

import math
from collections.abc import Callable, Sequence
from html import escape

import msgspec

__all__ = ["Axis", "Line", "draw"]

_WIDTH, _HEIGHT = 720, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 70, 14, 30


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line: points (x, y) in the order of x; where y is None it has a gap."""

    name: str
    points: Sequence[tuple[float, float | None]]
    css: str  # a class of the page's style, which says the colour


class Axis(msgspec.Struct, frozen=True, kw_only=True):
    """How values become places, and places words."""

    words: Callable[[float], str]
    log: bool = False
    ticks: Sequence[float] | None = None  # None = made from the values
    low: float | None = None  # None = the least value
    name: str = ""


def draw(title: str, lines: Sequence[Line], x: Axis, y: Axis) -> str:
    """An `<svg>`; "" when there is nothing to draw. Each line is named at its end, each point by its tooltip."""
    known = [(px, py) for line in lines for px, py in line.points if py is not None and math.isfinite(py)]
    if not known:
        return ""
    across = _Scale(x, [px for px, _ in known], _LEFT, _WIDTH - _RIGHT)
    up = _Scale(y, [py for _, py in known], _HEIGHT - _BOTTOM, _TOP)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">',
        *(_across(across.place(tick), x.words(tick)) for tick in across.ticks),
        *(_upwards(up.place(tick), y.words(tick)) for tick in up.ticks),
        *(_drawn(line, across, up) for line in lines),
        *_names(lines, up),
        "</svg>",
    ]
    return "".join(parts)


class _Scale:
    """From values to pixels."""

    def __init__(self, axis: Axis, values: Sequence[float], begin: float, end: float) -> None:
        low = min(values) if axis.low is None else axis.low
        high = max(values)
        self.axis = axis
        if axis.log:
            low = max(low, 1e-9)
            high = max(high, low * 1.0001)
            low, high = 10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high) - 1e-9)
        elif high <= low:
            high = low + 1
        self._low, self._high, self._begin, self._end = low, high, begin, end
        self.ticks = [tick for tick in axis.ticks or self._made() if low <= tick <= high * 1.0001]

    def place(self, value: float) -> float:
        """The pixel of a value; one beyond the scale lies at its end."""
        low, high = self._low, self._high
        value = min(max(value, low), high)
        share = math.log(value / low) / math.log(high / low) if self.axis.log else (value - low) / (high - low)
        return self._begin + share * (self._end - self._begin)

    def _made(self) -> list[float]:
        if self.axis.log:
            first, last = round(math.log10(self._low)), round(math.log10(self._high))
            return [10.0**power for power in range(first, last + 1)]
        step = 10 ** math.floor(math.log10((self._high - self._low) / 3))
        step *= next((factor for factor in (1, 2, 5) if (self._high - self._low) / (step * factor) <= 5), 10)
        first = math.ceil(self._low / step)
        return [step * number for number in range(first, math.floor(self._high / step + 1e-9) + 1)]


def _across(px: float, words: str) -> str:
    return f'<text class="tick" x="{px:.1f}" y="{_HEIGHT - 10}" text-anchor="middle">{escape(words)}</text>'


def _upwards(py: float, words: str) -> str:
    return (
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{py:.1f}" y2="{py:.1f}"/>'
        f'<text class="tick" x="{_LEFT - 6}" y="{py + 4:.1f}" text-anchor="end">{escape(words)}</text>'
    )


def _drawn(line: Line, across: _Scale, up: _Scale) -> str:
    placed = [
        (px, py, across.place(px), up.place(py)) for px, py in line.points if py is not None and math.isfinite(py)
    ]
    path = "".join(f"{'M' if not number else 'L'}{sx:.1f} {sy:.1f}" for number, (*_, sx, sy) in enumerate(placed))
    dots = "".join(
        f'<circle class="{line.css}" cx="{sx:.1f}" cy="{sy:.1f}" r="5">'
        f"<title>{escape(f'{line.name} {up.axis.words(py)} at {across.axis.words(px)}')}</title></circle>"
        for px, py, sx, sy in placed
    )
    return f'<path class="{line.css}" d="{path}"/>{dots}'


def _names(lines: Sequence[Line], up: _Scale) -> list[str]:
    """Each line's name beside its end, none on top of another."""
    ends = [(up.place(line.points[-1][1] or 0.0), line) for line in lines if line.points]
    drawn: list[str] = []
    free = float(_TOP)
    for py, line in sorted(ends, key=lambda end: end[0]):
        at = max(py, free)
        free = at + 14
        drawn.append(f'<text class="{line.css}" x="{_WIDTH - _RIGHT + 6}" y="{at + 4:.1f}">{escape(line.name)}</text>')
    return drawn
