"""Growth in words: numbers with their intervals, at a pace that one can read."""

from perfmon.units import Unit, format_quantity

__all__ = ["pace", "with_interval"]

DAY_S = 86_400.0


def with_interval(value: float, low: float, high: float, unit: Unit, per: str) -> str:
    """`1.2 MiB/min (95 % interval 1.1 to 1.3)`: the bounds in the unit of the value, `per` behind it."""
    shown = format_quantity(value, unit, brief=True)
    amount, _, name = shown.partition(" ")
    scale = value / float(amount) if name and float(amount) else 1.0
    return f"{shown}{per} (95 % interval {_short(low / scale)} to {_short(high / scale)})"


def pace(per_s: float, unit: Unit) -> tuple[float, str]:
    """Seconds and name of the time over which the growth is a number that one can read."""
    least = 1024.0 if unit == "bytes" else 1.0
    paces = ((60.0, "min"), (3600.0, "h"), (DAY_S, "d"))
    return next((found for found in paces if abs(per_s) * found[0] >= least), paces[0] if per_s == 0 else paces[-1])


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
