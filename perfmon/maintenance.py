"""Windows of maintenance: when they are open, by the clock of their time zone, and pure.

Three forms: from one date to another, at the times of a crontab's line for so long, and by the local clock on days of
the week (`Fri 20:00` to `Sun 17:00`; `18:00` to `23:59`). Each occurrence opens once and closes once, also where the
clock is set in between (`instant`).
"""

import math
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from perfmon.model import Labels

__all__ = [
    "Cron",
    "Dates",
    "Maintenance",
    "Open",
    "Weekly",
    "between",
    "cron",
    "dates",
    "is_date",
    "next_of",
    "open_at",
    "weekly",
]

LONGEST_S = 31 * 86_400.0
"""Of an occurrence of a crontab's line."""

_AHEAD_DAYS = 366 * 8 + 2  # a line such as `0 0 29 2 *` may have to wait for eight years


class Dates(msgspec.Struct, frozen=True):
    """From one instant to another, once; Unix time."""

    since: float
    until: float


class Cron(msgspec.Struct, frozen=True):
    """At the times of a crontab's line, each for so long, in time that passes and not by the clock."""

    line: str
    duration_s: float
    time_zone: str


class Weekly(msgspec.Struct, frozen=True):
    """By the local clock, beginning on each of some days of the week (Monday is 0)."""

    days: frozenset[int]
    begin: time
    end: time
    later_days: int  # from the day on which it begins to that on which it ends
    time_zone: str


class Maintenance(msgspec.Struct, frozen=True, kw_only=True):
    """Work that was announced: what it touches is measured, and nobody is woken."""

    name: str
    when: Dates | Cron | Weekly
    select: Labels = {}  # labels of alerts, as globs; none = all of them
    counted: bool = True  # whether runs meanwhile count in error budgets


class Open(NamedTuple):
    """One occurrence of a window, in Unix time."""

    window: Maintenance
    since: float
    until: float  # it is closed from then on


def open_at(windows: Sequence[Maintenance], wall: float) -> list[Open]:
    """Those that are open at a Unix time, in the order given."""
    found = ((window, _around(window.when, wall)) for window in windows)
    return [Open(window, *span) for window, span in found if span is not None]


def next_of(window: Maintenance, wall: float) -> Open | None:
    """The first occurrence that begins after a Unix time; None when there is none in the next eight years."""
    spans = (span for span in _from_day(window.when, wall, -1, _AHEAD_DAYS) if span[0] > wall)
    return next((Open(window, *span) for span in spans), None)


def between(window: Maintenance, since: float, until: float) -> Iterator[Open]:
    """The occurrences that begin after one Unix time and before another, in their order."""
    days = math.ceil((until - since) / 86_400.0) + 2
    return (Open(window, *span) for span in _from_day(window.when, since, -1, days) if since < span[0] < until)


# ---------------------------------------------------------------- reading


def _zone(name: str) -> ZoneInfo:
    """The time zone of that name; ValueError with what was expected."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, ZoneInfoNotFoundError):  # there is no such file, or no file of a time zone
        raise ValueError(f'expected a time zone such as Europe/Berlin or UTC, got "{name}"') from None


def dates(begin: str, end: str, time_zone: str) -> Dates:
    """`2026-12-01T20:00` to `2026-12-01 22:00`; ValueError when the one does not lie before the other."""
    since, until = (_unix(text, time_zone, last=last) for text, last in ((begin, False), (end, True)))
    if since >= until:
        raise ValueError(f'expected "to" after "from", got {begin} to {end}')
    return Dates(since, until)


def weekly(begin: str, end: str, days: Sequence[str], time_zone: str) -> Weekly:
    """`Fri 20:00` to `Sun 17:00`, or `18:00` to `23:59` on some days, all when none are named; ValueError."""
    _zone(time_zone)
    (first, opens), (last, closes) = _of_week(begin), _of_week(end)
    if (first is None) != (last is None):
        raise ValueError(f'expected a day of the week in both of "from" and "to" or in none, got {begin} to {end}')
    if first is not None and last is not None:
        if days:
            raise ValueError("weekdays has no effect, since from and to name the days")
        later = (last - first) % 7 or (7 if closes <= opens else 0)
        return Weekly(frozenset((first,)), opens, closes, later, time_zone)
    if closes <= opens:
        over_midnight = "; over midnight: cron and duration, such as `cron: 0 22 * * *` and `duration: 4h`"
        raise ValueError(f'expected "to" after "from", got {begin} to {end}{over_midnight}')
    return Weekly(frozenset(map(_day, days)) or frozenset(range(7)), opens, closes, 0, time_zone)


def cron(line: str, duration_s: float, time_zone: str) -> Cron:
    """`30 2 * * sun` for so long; ValueError when the line is none or never comes."""
    _fields(line)
    if not 0 < duration_s <= LONGEST_S:
        raise ValueError("expected a duration above 0 and up to 31d")
    found = Cron(line, duration_s, time_zone)
    if next(_from_day(found, 0.0, 0, _AHEAD_DAYS), None) is None:
        raise ValueError(f'expected a time that comes, "{line}" never does')
    return found


def is_date(text: str) -> bool:
    """Whether it means to be a date, and no time of the week."""
    return re.match(r"\s*\d{4}-", text) is not None


_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_TIME = re.compile(r"\s*(?:([A-Za-z]+)\s+)?(\d{1,2}):(\d{2})\s*")


def _of_week(text: str) -> tuple[int | None, time]:
    match = _TIME.fullmatch(text)
    if match is None or int(match[2]) > 23 or int(match[3]) > 59:
        raise ValueError(f'expected a time such as 22:00, Fri 22:00 or 2026-12-01T22:00, got "{text}"')
    return None if match[1] is None else _day(match[1]), time(int(match[2]), int(match[3]))


def _day(text: str) -> int:
    if text[:3].lower() not in _DAYS:
        raise ValueError(f'expected a day of the week such as Mon, got "{text}"')
    return _DAYS.index(text[:3].lower())


def _unix(text: str, time_zone: str, *, last: bool) -> float:
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f'expected a date and a time such as 2026-12-01T22:00, got "{text}"') from None
    return found.timestamp() if found.tzinfo is not None else instant(found, _zone(time_zone), last=last)


# ---------------------------------------------------------------- occurrences


def instant(local: datetime, zone_: ZoneInfo, *, last: bool = False) -> float:
    """The Unix time at which the local clock shows this: of two the first, or the last.

    One that the clock skips is counted on from the hour before, as if it had not been set: 02:30 is then at 03:30.
    """
    first, second = (local.replace(tzinfo=zone_, fold=fold).timestamp() for fold in (0, 1))
    return second if last and second > first else first  # of a skipped one the second is the earlier


def _around(when: Dates | Cron | Weekly, wall: float) -> tuple[float, float] | None:
    """The occurrence that is open at a Unix time, the one that ends last if there are several."""
    back = _days_of(when) + 1
    spans = [span for span in _from_day(when, wall, -back, back + 2) if span[0] <= wall < span[1]]
    return max(spans, key=lambda span: span[1], default=None)


def _days_of(when: Dates | Cron | Weekly) -> int:
    """How many days an occurrence may last beyond the one on which it begins."""
    match when:
        case Cron():
            return math.ceil(when.duration_s / 86_400.0)
        case Weekly():
            return when.later_days
        case Dates():
            return 0


def _from_day(when: Dates | Cron | Weekly, wall: float, first: int, count: int) -> Iterator[tuple[float, float]]:
    """Occurrences that begin on so many days, from the `first` one beside that of a Unix time on, in their order."""
    if isinstance(when, Dates):
        yield when.since, when.until
        return
    here = _zone(when.time_zone)
    today = datetime.fromtimestamp(wall, UTC).astimezone(here).date()
    for number in range(first, first + count):
        day = today + timedelta(days=number)
        yield from _times_of(when, day, here) if isinstance(when, Cron) else _spans_of(when, day, here)


def _spans_of(when: Weekly, day: date, here: ZoneInfo) -> Iterator[tuple[float, float]]:
    if day.weekday() not in when.days:
        return
    begin, end = datetime.combine(day, when.begin), datetime.combine(day + timedelta(days=when.later_days), when.end)
    since, until = instant(begin, here), instant(end, here, last=True)
    skipped = datetime.fromtimestamp(since, here).time() != when.begin
    # One whose beginning the clock skips begins later and is as long as ever; else it might be over before it began.
    yield since, since + (end - begin).total_seconds() if skipped else until


def _times_of(when: Cron, day: date, here: ZoneInfo) -> Iterator[tuple[float, float]]:
    fields = _fields(when.line)
    if not fields.is_on(day):
        return
    for hour in fields.hours:
        for minute in fields.minutes:
            since = instant(datetime.combine(day, time(hour, minute)), here)
            yield since, since + when.duration_s


class _Fields(NamedTuple):
    """A line of a crontab."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]  # Sunday is 0, and 7 as well
    either: bool  # both days are restricted: then either will do, as in every crontab since Unix V7

    def is_on(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        by_date, by_week = day.day in self.days, (day.weekday() + 1) % 7 in self.weekdays
        return (by_date or by_week) if self.either else (by_date and by_week)


@lru_cache(maxsize=256)  # it is asked for each of the days on which the line may come
def _fields(line: str) -> _Fields:
    parts = line.split()
    if len(parts) != 5:
        raise ValueError(
            f'expected a line of a crontab such as "30 2 * * sun" (minute hour day month weekday), got "{line}"'
        )
    minutes, hours, days, months = (
        _field(text, low, high, names)
        for text, low, high, names in zip(parts, (0, 0, 1, 1), (59, 23, 31, 12), ((), (), (), _MONTHS), strict=False)
    )
    weekdays = tuple(sorted({day % 7 for day in _field(parts[4], 0, 7, (_DAYS[-1], *_DAYS[:-1]))}))
    return _Fields(
        minutes, hours, days, months, weekdays, not parts[2].startswith("*") and not parts[4].startswith("*")
    )


def _field(text: str, low: int, high: int, names: Sequence[str]) -> tuple[int, ...]:
    """`*`, `5`, `1-5`, `*/15`, `mon-fri`, and lists of them."""
    found: set[int] = set()
    for part in text.lower().split(","):
        match = re.fullmatch(r"(?:\*|(\w+)(?:-(\w+))?)(?:/(\d{1,4}))?", part)
        step = int(match[3]) if match and match[3] else 1
        first = _number(match[1], low, names) if match and match[1] else low
        open_ended = match is not None and match[1] is not None and not match[2] and not match[3]
        last = _number(match[2], low, names) if match and match[2] else first if open_ended else high
        if match is None or first is None or last is None or not (low <= first <= last <= high and step > 0):
            raise ValueError(
                f'expected {low} to {high}, `*`, a range such as {low}-{high}, or steps such as */2, got "{part}"'
            )
        found |= set(range(first, last + 1, step))
    return tuple(sorted(found))


def _number(text: str, low: int, names: Sequence[str]) -> int | None:
    if text[:3] in names:
        return low + names.index(text[:3])
    return int(text) if text.isdecimal() else None
