"""Badges: two words side by side as SVG, as shields.io draws them, with no font or picture from elsewhere."""

from html import escape
from typing import Literal

__all__ = ["Tone", "badge"]

Tone = Literal["good", "fair", "bad", "none"]

# White on each has a contrast of 4.5 and more (WCAG AA).
_FILLS: dict[Tone, str] = {"good": "#1c7a4b", "fair": "#8f5b00", "bad": "#b8261d", "none": "#5f6369"}
_LEFT = "#3b3f44"
_MOST = 60  # characters of each side


def badge(label: str, value: str, tone: Tone) -> str:
    """The SVG; texts are cut, and escaped."""
    label, value = _cut(label), _cut(value)
    left, right = _width(label), _width(value)
    words = escape(f"{label}: {value}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" aria-label="{words}">'
        f"<title>{words}</title>"
        f'<clipPath id="r"><rect width="{left + right}" height="20" rx="3"/></clipPath>'
        f'<g clip-path="url(#r)"><rect width="{left}" height="20" fill="{_LEFT}"/>'
        f'<rect x="{left}" width="{right}" height="20" fill="{_FILLS[tone]}"/></g>'
        '<g fill="#fff" text-anchor="middle" font-family="Verdana,Geneva,DejaVu Sans,sans-serif" font-size="11">'
        f"{_text(label, left / 2, left)}{_text(value, left + right / 2, right)}</g></svg>\n"
    )


def _text(text: str, middle: float, width: int) -> str:
    # The length is given, so that another font fills the same room.
    return (
        f'<text x="{middle:g}" y="14" textLength="{width - 12}" lengthAdjust="spacingAndGlyphs">{escape(text)}</text>'
    )


def _cut(text: str) -> str:
    plain = "".join(letter if letter.isprintable() else "?" for letter in text)
    return plain if len(plain) <= _MOST else f"{plain[: _MOST - 1]}…"


def _width(text: str) -> int:
    """About the width in Verdana of 11 pixels, and room at both sides."""
    return round(sum(_letter(letter) for letter in text)) + 12


def _letter(letter: str) -> float:
    if letter in "ijltfrI.,:;|!'()[]- ":
        return 4.2
    if letter in "mwMW%@":
        return 10.5
    return 12.0 if ord(letter) > 0x2E80 else 7.7 if letter.isupper() else 6.9
