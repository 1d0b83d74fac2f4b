"""The months behind a check, as JSON-ready values: shares of runs that succeeded, strips of states, incidents."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import asdict

from perfmon.model import Count
from perfmon.monitor import incidents
from perfmon.monitor.incidents import Incident
from perfmon.monitor.series import CheckSeries
from perfmon.monitor.tally import DAY_S, DAYS, QUARTER_S

__all__ = ["DAY_QUARTERS", "PERIODS", "failed_shares", "incident", "strip", "strips", "success_ratio", "uptime"]

Json = dict[str, Any]

DAY_QUARTERS = 96
PERIODS: Mapping[str, float] = {
    "1h": 3600.0,
    "24h": DAY_S,
    "7d": 7 * DAY_S,
    "30d": 30 * DAY_S,
    "90d": 90 * DAY_S,
}
"""Over which shares are told, in seconds."""


def uptime(past: CheckSeries, minute: int) -> Json:
    """Runs, failures and the share that succeeded, by period."""
    return {name: _counted(past.counts(span_s, minute)) for name, span_s in PERIODS.items()}


def strips(past: CheckSeries, minute: int) -> Json:
    """The last day by quarters of an hour, and the last ninety days."""
    return {
        "day": strip(past.quarters(minute, DAY_QUARTERS), minute * 60 // QUARTER_S * QUARTER_S, QUARTER_S),
        "days": strip(past.days(minute, DAYS), minute * 60 // DAY_S * DAY_S, DAY_S),
    }


def strip(counts: Sequence[Count], newest: float, every_s: float) -> Json:
    """Slots of equal length, oldest first; `newest` is when the last one began, in Unix time."""
    return {"from": newest - (len(counts) - 1) * every_s, "every_s": every_s, "counts": [list(one) for one in counts]}


def failed_shares(counts: Iterable[Count]) -> list[float | None]:
    """Of each slot the share of runs that failed, None where there was no run; never rounded to 0 or to 1."""
    return [None if not runs else _rounded(failures / runs) for runs, failures in counts]


def success_ratio(count: Count) -> float | None:
    """The share that did not fail; None when nothing ran."""
    return 1 - count.failures / count.runs if count.runs else None


def incident(one: Incident, wall: Callable[[float], float]) -> Json:
    """One incident in Unix time."""
    shown = asdict(incidents.shifted(one, wall))
    return shown | {"causes": [asdict(cause) for cause in one.causes]}


def _counted(count: Count) -> Json:
    return {"runs": count.runs, "failures": count.failures, "success_ratio": success_ratio(count)}


def _rounded(share: float) -> float:
    return share if share in (0.0, 1.0) else min(0.999, max(0.001, round(share, 3)))
