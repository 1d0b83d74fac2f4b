"""Thresholds in short, in the words that people expect: `memory_warning: 512MiB`, `error_rate: 5%`.

Each is nothing but an ordinary rule: a word stands for a metric and a sentence, and only the limit is left to say.
Which words there are a sampler's kind says in its file (`thresholds`), and `OF_PROBES` for all probes.
"""

from collections.abc import Mapping

import msgspec

from perfmon import units
from perfmon.units import Quantity, Unit, format_duration, quoted

__all__ = ["LEVELS", "OF_PROBES", "Growth", "Sentence", "Short", "limit"]

LEVELS = ("warning", "critical")


class Sentence(msgspec.Struct, frozen=True, kw_only=True):
    """A word whose sentence is one of the threshold grammar."""

    alert: str  # the alert's name
    metric: str
    begin: str  # the sentence up to the limit: `rate <=`
    unit: Unit  # that the limit is written in
    over_s: float = 0.0  # how far to look back, three intervals at least; 0 for a sentence about the newest point

    def write(self, limits: Mapping[str, Quantity], interval_s: float) -> str:
        """The whole of it, of limits by their level, "" for one without."""
        over = f" over {format_duration(max(self.over_s, _LEAST_POINTS * interval_s))}" if self.over_s else ""
        return f"{self.begin} {', '.join(f'{limit} {level}'.strip() for level, limit in limits.items())}{over}"


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """A word for the simple rule of the condition `leak`, which has one level."""

    alert: str
    metric: str
    unit: Unit  # of the limit, which is that much a time


Short = Sentence | Growth

OF_PROBES: Mapping[str, Short] = {
    "response_time": Sentence(
        alert="ResponseTimeHigh", metric="duration", begin="p(95) <=", unit="seconds", over_s=300.0
    ),
    "error_rate": Sentence(alert="ErrorRateHigh", metric="failed", begin="rate <=", unit="ratio", over_s=300.0),
}


def limit(text: str, short: Short) -> Quantity:
    """The limit as a quantity; ValueError with what was expected."""
    if isinstance(short, Growth):
        quantity = units.parse_quantity(text)
        if not quantity.per_s or quantity.unit not in ("", short.unit) or not quantity.value > 0:
            raise ValueError(f"expected a rate above 0 such as 10MiB/min, got {quoted(text)}")
        return quantity
    return Quantity(_READ[short.unit](text), short.unit)


def _number(text: object) -> float:
    quantity = units.parse_quantity(text)
    if quantity.unit or quantity.per_s or quantity.value < 0:
        raise ValueError(f"expected a number such as 100, got {quoted(text)}")
    return quantity.value


_READ = {"seconds": units.parse_duration, "bytes": units.parse_bytes, "ratio": units.parse_ratio, "": _number}
_LEAST_POINTS = 3
