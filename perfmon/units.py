"""Numbers as people write them ("30s", "10MiB", "5%", "2/s") to base units and back.

Base units are seconds, bytes, and shares of one. `format_*` is exact: parsing its text gives the same float back.
With `brief=True` it rounds for a person's eye (three digits, or the two largest parts of a long duration).
Every `parse_*` also takes the bare number that YAML gives, read in base units, and raises only ValueError.
"""

import json
import math
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Any, Literal, get_args

import msgspec

Duration = Annotated[float, msgspec.Meta(extra_json_schema={"x-unit": "duration"})]
"""A field in seconds, written "1h30m" in a file."""
Bytes = Annotated[float, msgspec.Meta(extra_json_schema={"x-unit": "bytes"})]
"""A field in bytes, written "10MiB" in a file."""
Ratio = Annotated[float, msgspec.Meta(extra_json_schema={"x-unit": "ratio"})]
"""A field that is a share of one, written "5%" in a file."""

FilePath = Annotated[str, msgspec.Meta(extra_json_schema={"x-path": True})]
"""A field that names a file; a relative one counts from the folder of the configuration file."""

Unit = Literal["seconds", "bytes", "ratio", ""]


def unit_of(annotation: Any) -> str:
    """What a field of this type is in: `duration`, `bytes` or `ratio`, also where it may be None; else ""."""
    for one in (annotation, *get_args(annotation)):
        for meta in getattr(one, "__metadata__", ()):
            if isinstance(meta, msgspec.Meta) and "x-unit" in (meta.extra_json_schema or {}):
                return str((meta.extra_json_schema or {})["x-unit"])
    return ""


class Quantity(msgspec.Struct, frozen=True):
    """A number in base units that knows which; `str` writes it so that `parse_quantity` reads the same back."""

    value: float
    unit: Unit = ""
    per_s: bool = False  # of something per second: "10MiB/min"

    def __str__(self) -> str:
        return format_quantity(self.value, self.unit) + ("/s" if self.per_s else "")


def parse_duration(raw: object) -> float:
    """Seconds of "1h30m", "250ms", "0.5", 5: not negative; parts go from large to small, each unit once."""
    return _parse(raw, "seconds", "a duration such as 250ms, 5s or 1h30m")


def parse_bytes(raw: object) -> float:
    """Bytes of "10MiB" (1024s), "1.5kB" (1000s), "512 B", 1024: not negative."""
    return _parse(raw, "bytes", "a size such as 512B, 1.5kB or 10MiB")


def parse_ratio(raw: object) -> float:
    """A share of one from "5%" or 0.05: not negative; above one is a share as well ("250%" of a core)."""
    return _parse(raw, "ratio", "a share such as 5% or 0.05")


def parse_rate(raw: object) -> float:
    """How much per second, of "10MiB/min" or "2/s": not negative; a bare number is per second already."""
    quantity = _read(raw)
    if quantity is None or quantity.value < 0 or not (quantity.per_s or quantity.unit == ""):
        raise ValueError(f"expected a rate such as 2/s or 10MiB/min, got {quoted(raw)}")
    return quantity.value


def parse_quantity(raw: object) -> Quantity:
    """Any of the above by its unit, also with a sign: "-1.5s", "3", "10MiB/min"."""
    quantity = _read(raw)
    if quantity is None:
        raise ValueError(f"expected a quantity such as 3, 250ms, 10MiB, 5% or 2/s, got {quoted(raw)}")
    return quantity


def format_duration(seconds: float, *, brief: bool = False) -> str:
    """`250ms`, `1.5s`, `2m30s`, `3d4h`."""
    if not math.isfinite(seconds):
        return str(seconds)
    rest = abs(_decimal(_brief_seconds(seconds) if brief else seconds))
    sign = "-" if seconds < 0 else ""
    if rest < 60 or rest >= _LONGEST:
        return sign + _short_duration(rest)
    text = ""
    for unit in ("d", "h", "m"):
        whole, rest = divmod(rest, _SECONDS[unit])
        text += f"{whole:f}{unit}" if whole else ""
    return sign + text + (f"{_plain(rest)}s" if rest else "")


def format_bytes(size: float, *, brief: bool = False) -> str:
    """`10 MiB`, `1.5 KiB`, `1000001 B`: the largest binary unit that needs no more than two decimals."""
    if not math.isfinite(size):
        return str(size)
    exact = _decimal(size)
    for unit in _BINARY:
        scaled = exact / _BYTES[unit]
        if abs(scaled) < 1:
            continue
        if brief:
            return f"{_brief(float(scaled))} {unit}"
        text = _plain(scaled)
        if len(text.partition(".")[2]) <= 2 and Decimal(text) * _BYTES[unit] == exact:
            return f"{text} {unit}"
    return f"{_brief(size) if brief else _plain(exact)} B"


def format_ratio(share: float, *, brief: bool = False) -> str:
    """`5%`, `0.125%`."""
    if not math.isfinite(share):
        return str(share)
    return f"{_brief(share * 100) if brief else _plain(_decimal(share) * 100)}%"


def format_quantity(value: float, unit: Unit, *, brief: bool = False) -> str:
    """A value in base units with the writing of its unit; a plain number when it has none."""
    match unit:
        case "seconds":
            return format_duration(value, brief=brief)
        case "bytes":
            return format_bytes(value, brief=brief)
        case "ratio":
            return format_ratio(value, brief=brief)
        case "":
            return _brief(value) if brief or not math.isfinite(value) else _plain(_decimal(value))


def quoted(raw: object) -> str:
    """What stood there, for an error message: strings in double quotes without control characters, long ones cut."""
    text = printable(json.dumps(raw, ensure_ascii=False, default=str))
    return text if len(text) <= 60 else f"{text[:56]}...{text[-1]}"


def printable(text: str) -> str:
    """A text of foreign origin for a terminal: control characters as escapes, so that they command nothing."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # not tab and newline


# ---------------------------------------------------------------- reading

# Decimal keeps 0.1 s and 100 ms the same number: in binary floats 3 * 0.1 is not 0.3.
_SECONDS = {
    unit: Decimal(scale)
    for unit, scale in {
        "w": "604800",
        "d": "86400",
        "h": "3600",
        "min": "60",
        "m": "60",
        "s": "1",
        "ms": "1e-3",
        "us": "1e-6",
        "µs": "1e-6",  # U+00B5, the micro sign of most keyboards
        "\u03bcs": "1e-6",  # the Greek letter, which looks the same
        "ns": "1e-9",
    }.items()
}
_BINARY = ("PiB", "TiB", "GiB", "MiB", "KiB")
_BYTES = {unit: Decimal(1024) ** (5 - power) for power, unit in enumerate(_BINARY)} | {
    unit: Decimal(1000) ** power
    for unit, power in {"PB": 5, "TB": 4, "GB": 3, "MB": 2, "kB": 1, "KB": 1, "B": 0}.items()
}
_UNITS: dict[str, tuple[Unit, Decimal]] = {
    "": ("", Decimal(1)),
    "%": ("ratio", Decimal("0.01")),
    **{unit: ("seconds", scale) for unit, scale in _SECONDS.items()},
    **{unit: ("bytes", scale) for unit, scale in _BYTES.items()},
}
# Exponents of three digits are enough for every float and cannot make Decimal overflow.
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]{1,3})?)\s*([A-Za-zµ\u03bc%]*)\s*")


def _parse(raw: object, unit: Unit, expected: str) -> float:
    quantity = _read(raw)
    if quantity is None or quantity.per_s or quantity.unit not in (unit, "") or quantity.value < 0:
        raise ValueError(f"expected {expected}, got {quoted(raw)}")
    return quantity.value


def _read(raw: object) -> Quantity | None:
    """The quantity, or None for what is none: other types, not finite, unknown units, nonsense."""
    if isinstance(raw, bool):
        return None
    if isinstance(raw, int | float):
        return _finite(raw, "")
    if not isinstance(raw, str):
        return None
    text = raw.strip()
    sign = -1 if text.startswith("-") else 1
    amount, slash, per = text.removeprefix("-").strip().partition("/")
    total = _sum_of_parts(amount)
    if total is None or (slash and per.strip() not in _SECONDS):
        return None
    value, unit = total
    per_s = _SECONDS[per.strip()] if slash else 1
    return _finite(sign * value / per_s, unit, per_s=bool(slash))


def _sum_of_parts(text: str) -> tuple[Decimal, Unit] | None:
    """Add up "1h30m"; every other unit stands alone."""
    parts = [match.groups() for match in _PART.finditer(text)]
    if not parts or _PART.sub("", text) or any(unit not in _UNITS for _, unit in parts):
        return None
    scales = [_UNITS[unit][1] for _, unit in parts]
    unit = _UNITS[parts[0][1]][0]
    if len(parts) > 1 and not (all(name in _SECONDS for _, name in parts) and _strictly_falling(scales)):
        return None
    return sum((Decimal(number) * scale for (number, _), scale in zip(parts, scales, strict=True)), Decimal(0)), unit


def _strictly_falling(scales: Iterable[Decimal]) -> bool:
    listed = list(scales)
    return listed == sorted(set(listed), reverse=True)


def _finite(number: float | Decimal, unit: Unit, *, per_s: bool = False) -> Quantity | None:
    try:
        value = float(number)
    except OverflowError:  # an int of more than 308 digits
        return None
    return Quantity(value, unit, per_s) if math.isfinite(value) else None


# ---------------------------------------------------------------- writing

_LONGEST = Decimal(10) ** 15  # beyond, a count of days is exact no more and helps nobody


def _decimal(value: float) -> Decimal:
    """The shortest decimal that is this float."""
    return Decimal(repr(float(value)))


def _plain(value: Decimal) -> str:
    """No trailing zeros; no exponent either, but for sizes that nobody reads."""
    if value and not -20 < value.adjusted() < 20:
        return str(value.normalize())
    text = f"{value:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def _brief(value: float) -> str:
    """Three digits, whole numbers in full."""
    return f"{value:.0f}" if abs(value) >= 999.5 else f"{value:.3g}"  # three digits of 999.9 are "1e+03"


def _brief_seconds(seconds: float) -> float:
    """Three digits below a minute, above it the two largest parts."""
    size = abs(seconds)
    if size < 59.95:
        return float(f"{seconds:.3g}")
    step = 1 if size < 3600 else 60 if size < 86400 else 3600
    return float(round(seconds / step) * step)


def _short_duration(seconds: Decimal) -> str:
    """Of less than a minute, or of no length anybody lives to see."""
    if seconds == 0:
        return "0s"
    unit = next((unit for unit in ("s", "ms", "us") if seconds >= _SECONDS[unit]), "ns")
    return f"{_plain(seconds / _SECONDS[unit])}{unit}"


assert set(get_args(Unit)) == {unit for unit, _ in _UNITS.values()}
