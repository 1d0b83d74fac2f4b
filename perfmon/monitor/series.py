"""The recent past of everything that is watched: windows for the rules, the last hour for the page.

Memory is fixed by the config, not by time: the last hour is preallocated at its full size, and raw
points are kept only as far back as a rule has asked (`Series.window`), those of long windows as
summaries (`Series.long_window`), so a daemon that has run for five minutes is as large as it will be
after a month, but for the summaries that fill.
"""

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from msgspec.structs import replace

from perfmon import kinds, stats
from perfmon.clock import Clock, from_wall, to_wall
from perfmon.measure import Reading
from perfmon.model import Check, Count, Measurement, Sample, Sampler, Window, fact_key
from perfmon.monitor.counts import Counts, read_counts
from perfmon.monitor.incidents import Incidents
from perfmon.monitor.recent import Recent
from perfmon.monitor.store import SummaryRow
from perfmon.monitor.summary import Stretch, Summary, restarts_of
from perfmon.monitor.tally import DAY_S, QUARTER_S, QUARTERS, Counted, Tally, total
from perfmon.selection import PROBE_COUNTERS, PROBE_METRICS

__all__ = ["MINUTES", "CheckSeries", "Minute", "SampleSeries", "SamplerSeries", "Series", "sample_key"]

MINUTES = 60  # of history that each check and sample has
_POINTS_PER_HOUR = 3600
_TRIM_EVERY = 32
_MINUTE_S = 60.0
_USUAL = ("failed", "duration")  # columns of a check that are always kept


class Minute(NamedTuple):
    """What one minute of a check's runs came to."""

    number: int  # minutes of Unix time, by the clock of the daemon's start
    runs: int
    failures: int
    p50_s: float
    max_s: float


def sample_key(sampler: Sampler, sample: Sample) -> str:
    """The series key of one value of a sampler: `sampler/host/perfmon_host_load1`."""
    return f"{sampler.key}/{fact_key(sample.name, **sample.labels)}"


class Series:
    """All series of the daemon, by key: a check's key, or a sample's (`sample_key`)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._born_at = clock.monotonic()
        self._minute_anchor = from_wall(clock, 0.0)
        self.checks: dict[str, CheckSeries] = {}
        self.samplers: dict[str, SamplerSeries] = {}
        self._samples: dict[str, SampleSeries] = {}
        self._long: dict[str, dict[_Column, Summary]] = {}  # by key
        self._aside: set[str] = set()  # keys that long windows do not see at the moment
        self._former: dict[str, list[Stretch]] = {}  # of a former life of the daemon, by name, until they are asked for
        self._counts: dict[str, dict[str, Counts]] = {}  # by key and metric
        self._former_counts: dict[str, SummaryRow] = {}  # as `_former`

    def add_check(self, check: Check) -> None:
        """Begin to expect a check; one that is known already keeps its past."""
        if check.key in self.checks:
            self.checks[check.key].go_on_as(check)
        else:
            self.checks[check.key] = CheckSeries(check, since=self._clock.monotonic())

    def add_sampler(self, sampler: Sampler) -> "list[SampleSeries]":
        """Begin to expect a sampler; one that is known already keeps its past. Answers with the series it has."""
        known = self.samplers.setdefault(sampler.key, SamplerSeries(sampler))
        known.sampler = sampler
        for series in known.series.values():
            series.sampler = sampler
        return list(known.series.values())

    def remove(self, key: str) -> list[str]:
        """Forget a check or a sampler; answers with the keys of the series that went with it."""
        if self.checks.pop(key, None) is not None:
            self._long.pop(key, None)
            self._counts.pop(key, None)
            return [key]
        sampler = self.samplers.pop(key, None)
        gone = [] if sampler is None else list(sampler.series)
        for series_key in gone:
            del self._samples[series_key]
            self._long.pop(series_key, None)
        return gone

    def add(self, key: str, measurement: Measurement, *, counted: bool = True) -> Minute | None:
        """Take in one run; answers with the minute that it closed, if it closed one.

        One that is not `counted` enters no `counts`.
        """
        if not measurement.recheck:
            for (metric, _), summary in self._long.get(key, {}).items():
                counted = metric in PROBE_COUNTERS
                summary.add(measurement.at, self.checks[key].runs + 1 if counted else _column(metric, measurement))
            for metric, known in self._counts.get(key, {}).items() if counted else ():
                known.add(self._unix(measurement.at), failed=bool(_column(metric, measurement)))
        return self.checks[key].add(measurement, self.minute(measurement.at))

    def add_reading(self, sampler: Sampler, reading: Reading) -> "list[SampleSeries]":
        """Take in one reading; answers with the series seen for the first time."""
        known = self.samplers[sampler.key]
        known.note(reading)
        minute = self.minute(reading.at)
        lives = _lives(sampler, reading.samples)
        new = []
        for sample in reading.samples:
            key = sample_key(sampler, sample)
            series = known.series.get(key)
            if series is None:
                series = known.series[key] = self._samples[key] = SampleSeries(key, sampler, sample, since=reading.at)
                new.append(series)
            series.add(reading.at, sample.value, minute)
            for summary in self._long.get(key, {}).values() if key not in self._aside else ():
                summary.add(reading.at, sample.value, lives.get(frozenset(sample.labels.items()), math.nan))
        return new

    def forget_silent(self, before: float) -> list[str]:
        """Forget samples without a value since `before` (a disk taken out); answers with their keys.

        Not while their sampler reads nothing at all: then nobody knows whether they are gone, and an alert that says
        so must not be resolved for it.
        """
        reading = [sampler for sampler in self.samplers.values() if sampler.last is not None and sampler.last.samples]
        known = [series for sampler in reading for series in sampler.series.values()]
        silent = [series for series in known if series.last_at is not None and series.last_at < before]
        for series in silent:
            del self.samplers[series.sampler.key].series[series.key]
            del self._samples[series.key]
            self._long.pop(series.key, None)
        return [series.key for series in silent]

    def window(self, key: str, metric: str, span_s: float, now: float) -> Window:
        """The last `span_s` seconds of one metric of a series; KeyError for a series that is not known.

        Asking makes the series keep that much from here on.
        """
        if key in self.checks:
            return self.checks[key].window(metric, span_s, now)
        return self._samples[key].window(span_s, now)

    def long_window(self, key: str, metric: str, span_s: float, now: float) -> Window:
        """As `window`, of a past that may be long: in some 900 points, with their lows, restarts and cuts."""
        summary = self._summary(key, metric, span_s)
        found = summary.window(now)
        series = (
            self.checks[key].with_points(metric, span_s, now)
            if key in self.checks
            else self._samples[key].with_points(span_s, now)
        )
        return replace(
            series,
            times=[stretch.at for stretch in found],
            values=[stretch.middle for stretch in found],
            lows=[stretch.low for stretch in found],
            restarts=restarts_of(found),
            cuts=summary.cuts(now),
            ceiling=self._ceiling(key),
            gone_s=self._gone_s(key),
        )

    @contextmanager
    def set_aside(self, key: str) -> Iterator[None]:
        """While perfmon itself changes the level of a sample, and of all with its labels, long windows do not see them.

        Afterwards they stand at a level of their own, which is no growth of theirs.
        """
        one = self._samples.get(key)
        others = [] if one is None else self.samplers[one.sampler.key].series.values()
        keys = {other.key for other in others if one is not None and other.what.labels == one.what.labels}
        self._aside |= keys
        try:
            yield
        finally:
            self._aside -= keys
            for summary in (found for key in keys for found in self._long.get(key, {}).values()):
                summary.cut(self._clock.monotonic())

    def counts(self, key: str, metric: str, spans_s: Collection[float], now: float) -> dict[float, Count]:
        """How many runs of a check there were in each span up to now, and how many of them failed, in whole numbers.

        Asking makes them be counted from here on; nothing of what is no check.
        """
        if key not in self.checks:
            return dict.fromkeys(spans_s, Count(0, 0))
        of_check = self._counts.setdefault(key, {})
        known = of_check.get(metric)
        if known is None:
            known = of_check[metric] = Counts()
        row = self._former_counts.pop(_name_of_counts(key, metric), None)
        known.watch(spans_s, {} if row is None else read_counts(row.values))
        known.asked_at = now
        return known.over(spans_s, self._unix(now))

    def remember(self, rows: Iterable[SummaryRow]) -> None:
        """Hold what a former life of the daemon wrote down of long windows, until one is asked for again."""
        for row in rows:
            if row.series.endswith(_OF_COUNTS):
                self._former_counts[row.series] = row
            else:
                self._former.setdefault(row.series, []).extend(_stretches(row, self._clock))

    def take_summaries(self, *, last: bool = False) -> "list[SummaryRow]":
        """What is new of long windows and counts since this was last asked, for the store; `last`: never again."""
        return [
            _summary_row(_name(key, column), summary.span_s, stretches, self._clock)
            for key, columns in self._long.items()
            for column, summary in columns.items()
            if (stretches := summary.take_unsaved())
        ] + self._take_counts(last=last)

    def _take_counts(self, *, last: bool) -> "list[SummaryRow]":
        """One row of a check's metric replaces the one before."""
        at = self._unix(self._clock.monotonic())
        return [
            SummaryRow(_name_of_counts(key, metric), 0.0, at + known.longest_s, known.take(at))
            for key, metrics in self._counts.items()
            for metric, known in metrics.items()
            if known.is_due(at, last=last)
        ]

    def forget_unasked(self, before: float) -> None:
        """Forget long windows that no rule has asked for since `before`, and what was remembered for none."""
        for key, columns in list(self._long.items()):
            self._long[key] = {column: summary for column, summary in columns.items() if summary.asked_at >= before}
            if not self._long[key]:
                del self._long[key]
        for key, metrics in list(self._counts.items()):
            self._counts[key] = {metric: known for metric, known in metrics.items() if known.asked_at >= before}
            if not self._counts[key]:
                del self._counts[key]
        if self._born_at < before:
            self._former.clear()
            self._former_counts.clear()

    def minute(self, at: float) -> int:
        """The number of the minute an instant lies in."""
        return int((at - self._minute_anchor) // _MINUTE_S)

    def minute_at_wall(self, wall: float) -> int:
        """The number of the minute that began nearest to a Unix time."""
        return round((from_wall(self._clock, wall) - self._minute_anchor) / _MINUTE_S)

    def minute_began(self, number: int) -> float:
        """The instant at which a minute began."""
        return self._minute_anchor + number * _MINUTE_S

    def _unix(self, at: float) -> float:
        """Unix time by the clock of the daemon's start: it goes on evenly when somebody sets the clock."""
        return at - self._minute_anchor

    def _gone_s(self, key: str) -> float:
        """How long a sampler has read others without this one; 0 while it reads nothing, for then nobody knows."""
        series = self._samples.get(key)
        last = None if series is None else self.samplers[series.sampler.key].last
        if series is None or series.last_at is None or last is None or not last.samples:
            return 0.0
        return last.at - series.last_at

    def _ceiling(self, key: str) -> float | None:
        """What a sampler's series cannot pass, as of the last reading; None when nobody knows."""
        series = self._samples.get(key)
        if series is None:
            return None
        families: Mapping[str, str] = getattr(kinds.load("samplers", series.sampler.kind), "CEILINGS", {})
        family = families.get(series.what.name)
        if family is None:
            return None
        above = self._samples.get(f"{series.sampler.key}/{fact_key(family, **series.what.labels)}")
        return above.value if above is not None and above.last_at == series.last_at else None

    def _summary(self, key: str, metric: str, span_s: float) -> Summary:
        if key not in self.checks and key not in self._samples:
            raise KeyError(key)
        columns = self._long.setdefault(key, {})
        column = (metric, span_s)
        if column not in columns:
            columns[column] = Summary(span_s)
            columns[column].restore(self._former.pop(_name(key, column), ()))
        return columns[column]


class CheckSeries:
    """The past of one check."""

    __slots__ = (
        "__weakref__", "_begun",
        "_hour", "_hour_count", "_hour_next", "_max", "_minute", "_numbers", "_p50", "_points", "_quantiles",
        "_run_failures", "_run_total", "check", "failures", "incidents", "last", "last_failure", "recent", "runs",
        "since", "state_since", "tally",
    )  # fmt: skip

    def __init__(self, check: Check, since: float) -> None:
        self.check = check
        self.since = since  # when it was first expected
        self.state_since: float | None = None  # when the last run's outcome was first seen
        self.last: Measurement | None = None
        self.last_failure: Measurement | None = None
        self.runs = 0
        self.failures = 0
        self.recent = Recent()
        self.tally = Tally()
        self.incidents = Incidents()
        self._points = _Points(_USUAL)
        self._hour = _hour_of(check)  # durations of the last hour's runs, a ring
        self._hour_next = 0
        self._hour_count = 0
        self._minute = -1  # number of the minute that is open
        self._begun = _no_minute(-1)  # what a former life had of the minute in which it ended and this one goes on
        self._numbers = array("q", [-1]) * MINUTES
        self._run_total = array("I", [0]) * MINUTES
        self._run_failures = array("I", [0]) * MINUTES
        self._p50 = array("f", [0.0]) * MINUTES
        self._max = array("f", [0.0]) * MINUTES
        self._quantiles: tuple[int, tuple[float, ...]] = (-1, ())

    def add(self, measurement: Measurement, minute: int) -> Minute | None:
        """Take in one run of the given minute; answers with the minute that it closed.

        A recheck tells the state, and enters nothing that is counted or aggregated: there are more of them the worse
        things are, so a minute of failure would weigh as much as an hour of success.
        """
        failed = measurement.failure is not None
        turned = self.last is None or failed != (self.last.failure is not None)
        if turned:
            self.state_since = measurement.at
        self.last = measurement
        if failed or turned:
            self.incidents.note(measurement, lambda: (self.quantiles(minute) or (None, None))[1])
        if measurement.recheck:
            self.last_failure = measurement if failed else self.last_failure
            return None
        closed = self._open(minute) if minute != self._minute else None
        self.runs += 1
        slot = minute % MINUTES
        self._run_total[slot] += 1
        if failed:
            self.failures += 1
            self.last_failure = measurement
            self._run_failures[slot] += 1
        self._hour[self._hour_next] = measurement.first.duration_s
        self._hour_next = (self._hour_next + 1) % len(self._hour)
        self._hour_count += 1
        self._points.add(measurement.at, _columns(self._points.names, measurement))
        self.recent.add(measurement)
        return closed

    def go_on_as(self, check: Check) -> None:
        """Be of a check with the same key; how many durations an hour has hangs on how often it runs."""
        before, self.check = self.check, check
        if check.interval_s == before.interval_s:
            return
        durations = self._newest(min(self._hour_count, len(self._hour)))
        self._hour = _hour_of(check)
        kept = durations[-len(self._hour) :]
        self._hour[: len(kept)] = array("f", kept)
        self._hour_next, self._hour_count = len(kept) % len(self._hour), len(kept)

    def window(self, metric: str, span_s: float, now: float) -> Window:
        """The last `span_s` seconds of "failed", "first_try_failed", "duration" or "duration:<phase>"."""
        times, values = self._points.window(metric, span_s, now)
        return self.with_points(metric, span_s, now, times, values)

    def with_points(
        self, metric: str, span_s: float, now: float, times: Sequence[float] = (), values: Sequence[float] = ()
    ) -> Window:
        """A window with the points given."""
        last = self.last
        what = PROBE_METRICS.get(metric) or PROBE_COUNTERS[metric]
        return Window(
            metric=metric,
            type=what.type,
            unit=what.unit,
            times=times,
            values=values,
            now=now,
            span_s=span_s,
            since=self.since,
            last_at=None if last is None else last.at,
            interval_s=self.check.interval_s,
            newer=(last.at, _column(metric, last)) if last is not None and last.recheck else None,
        )

    def quantiles(self, minute: int) -> tuple[float, ...]:
        """p50, p95 and p99 in seconds over all runs of the last hour, failed ones too; () before the first.

        Computed once a minute when there are many, since the page asks every two seconds for all checks.
        """
        runs, _ = self.totals(minute)
        count = min(runs, self._hour_count, len(self._hour))
        stamp = self.runs if count <= _MINUTE_S else minute
        if self._quantiles[0] != stamp:
            ordered = sorted(self._newest(count))
            values = tuple(stats.quantile(ordered, q) for q in (0.5, 0.95, 0.99)) if ordered else ()
            self._quantiles = (stamp, values)
        return self._quantiles[1]

    def totals(self, minute: int) -> tuple[int, int]:
        """Runs and failures of the sixty minutes up to the one given."""
        return self._sums(minute, MINUTES)

    def _sums(self, minute: int, count: int) -> tuple[int, int]:
        """Runs and failures of as many minutes."""
        slots = [slot for slot, number in enumerate(self._numbers) if minute - count < number <= minute]
        begun = self._begun if minute - count < self._begun.number <= minute else _no_minute(-1)
        runs, failures = (sum(map(of.__getitem__, slots)) for of in (self._run_total, self._run_failures))
        return runs + begun.runs, failures + begun.failures

    def counts(self, span_s: float, minute: int) -> Count:
        """Runs and failures in the last `span_s` seconds up to a minute, for people.

        Exact sums of whole slots, the open one among them: of minutes for spans up to an hour, of quarters of an hour
        up to three days, then of days of UTC, at most ninety.
        """
        if span_s <= MINUTES * _MINUTE_S:
            return Count(*self._sums(minute, max(1, round(span_s / _MINUTE_S))))
        if span_s <= QUARTERS * QUARTER_S:
            return total(self.quarters(minute, round(span_s / QUARTER_S)))
        return total(self.days(minute, round(span_s / DAY_S)))

    def quarters(self, minute: int, count: int) -> list[Count]:
        """As many quarters of an hour up to the one that a minute lies in, oldest first."""
        return self.tally.quarters(minute, count, self.open_minute())

    def days(self, minute: int, count: int) -> list[Count]:
        """As many days of UTC up to the one that a minute lies in, oldest first."""
        return self.tally.days(minute, count, self.open_minute())

    def close_minute(self) -> Minute | None:
        """Count the minute that is open, when no more runs come; answers with it, if there is one."""
        if self._minute < 0:
            return None
        self._summarise()
        self.tally.add(self.open_minute())
        return self._minute_of(self._minute)

    def open_minute(self) -> Counted:
        """What the minute has come to that is not over, and in no tally yet."""
        slot = self._minute % MINUTES
        if self._minute < 0:
            return Counted(-1, 0, 0)
        return Counted(self._minute, self._run_total[slot], self._run_failures[slot])

    def history(self, minute: int, count: int = MINUTES) -> list[Minute]:
        """As many minutes up to the one given, oldest first, sixty at most; minutes without a run have runs 0."""
        self._summarise()
        return [self._minute_of(number) for number in range(minute - count + 1, minute + 1)]

    def resume(self, result: Measurement) -> None:
        """Know again how the last run of a former life of the daemon went; it counts for nothing more than that."""
        self.last = result
        self.state_since = result.at
        self.last_failure = result if result.failure is not None else None

    def tails(self, minute: int) -> dict[int, tuple[float, float]]:
        """p95 and p99 in seconds of each of the sixty minutes up to the one given.

        Not of minutes before the daemon's start or before the oldest duration that is kept.
        """
        durations = self._newest(min(self._hour_count, len(self._hour)))
        end, found = len(durations), {}
        for number in range(minute, minute - MINUTES, -1):
            runs = self._run_total[number % MINUTES] if self._numbers[number % MINUTES] == number else 0
            if runs > end:
                break
            if runs:
                ordered = sorted(durations[end - runs : end])
                found[number] = (stats.quantile(ordered, 0.95), stats.quantile(ordered, 0.99))
                end -= runs
        return found

    def restore(self, minutes: Iterable[Minute]) -> None:
        """Put back minutes that a former life of the daemon wrote down; the hour's durations are not among them."""
        for minute in minutes:
            slot = minute.number % MINUTES
            if minute.number == self._minute:
                self._begun = minute
            elif minute.number > self._numbers[slot]:
                self._numbers[slot] = minute.number
                self._run_total[slot] = minute.runs
                self._run_failures[slot] = minute.failures
                self._p50[slot] = minute.p50_s
                self._max[slot] = minute.max_s

    def _open(self, minute: int) -> Minute | None:
        closed = None
        if self._minute >= 0:
            self._summarise()
            closed = self._minute_of(self._minute)
            self.tally.add(self.open_minute())
        self._minute = minute
        slot = minute % MINUTES
        if self._numbers[slot] == minute:  # it was put back, and now this life has a part in it too
            self._begun = self._minute_of(minute)
        self._numbers[slot] = minute
        self._run_total[slot] = self._run_failures[slot] = 0
        self._p50[slot] = self._max[slot] = 0.0
        return closed

    def _summarise(self) -> None:
        """Write the open minute's median and maximum."""
        if self._minute < 0:
            return
        slot = self._minute % MINUTES
        durations = sorted(self._newest(min(self._run_total[slot], self._hour_count, len(self._hour))))
        if durations:
            self._p50[slot] = stats.quantile(durations, 0.5)
            self._max[slot] = durations[-1]

    def _minute_of(self, number: int) -> Minute:
        slot = number % MINUTES
        if self._numbers[slot] != number:
            return _no_minute(number)
        own = Minute(number, self._run_total[slot], self._run_failures[slot], self._p50[slot], self._max[slot])
        return _together(own, self._begun) if self._begun.number == number else own

    def _newest(self, count: int) -> Sequence[float]:
        start = self._hour_next - count
        if start >= 0:
            return self._hour[start : self._hour_next]
        return self._hour[start:] + self._hour[: self._hour_next]


def _no_minute(number: int) -> Minute:
    return Minute(number, 0, 0, 0.0, 0.0)


def _together(one: Minute, other: Minute) -> Minute:
    """The parts that two lives have in a minute; the median is that of the larger, since nobody knows that of both."""
    larger = max(one, other, key=lambda part: part.runs)
    return Minute(
        one.number, one.runs + other.runs, one.failures + other.failures, larger.p50_s, max(one.max_s, other.max_s)
    )


def _hour_of(check: Check) -> "array[float]":
    """A place for the duration of each run of an hour."""
    return array("f", [0.0]) * min(_POINTS_PER_HOUR, math.ceil(_POINTS_PER_HOUR / check.interval_s))


class SamplerSeries:
    """The past of one sampler: how its readings went, and the series they brought."""

    __slots__ = ("last", "sampler", "series", "state_since")

    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler
        self.series: dict[str, SampleSeries] = {}
        self.last: Reading | None = None
        self.state_since: float | None = None

    def current(self) -> "list[SampleSeries]":
        """The series that had a value in the last reading."""
        at = None if self.last is None else self.last.at
        return [series for series in self.series.values() if at is not None and series.last_at == at]

    def note(self, reading: Reading) -> None:
        """Take in how a reading went."""
        if self.last is None or bool(self.last.error) != bool(reading.error):
            self.state_since = reading.at
        self.last = reading


class SampleSeries:
    """The past of one value of a sampler."""

    __slots__ = (
        "_history",
        "_points",
        "key",
        "last_at",
        "previous",
        "sampler",
        "since",
        "type",
        "unit",
        "value",
        "what",
    )

    def __init__(self, key: str, sampler: Sampler, sample: Sample, since: float) -> None:
        self.key = key
        self.sampler = sampler
        self.what = sample  # its name and labels; the value in it is the first one seen
        self.since = since
        family = kinds.catalogue()[sample.name]
        self.type = family.type
        self.unit = family.unit
        self.value: float = math.nan
        self.last_at: float | None = None
        self.previous: tuple[float, float] | None = None  # (at, value) of the reading before
        self._points = _Points((sample.name,))
        self._history: dict[int, tuple[float, float]] = {}  # minute -> (at, level or rate)

    @property
    def labels(self) -> dict[str, str]:
        """The labels of the series, those of its sampler included."""
        given = {"sampler": self.sampler.name} | dict(self.sampler.labels)
        # Renamed as on the metrics page, where the user's labels of the sampler stand before those of the series.
        own = {(f"exported_{name}" if name in given else name): value for name, value in self.what.labels.items()}
        return given | own

    def add(self, at: float, value: float, minute: int) -> None:
        """Take in one value."""
        if self.last_at is not None:
            self.previous = (self.last_at, self.value)
        self.value, self.last_at = value, at
        self._points.add(at, (value,))
        self._history[minute] = (at, self.level())
        if len(self._history) > MINUTES:
            del self._history[next(iter(self._history))]

    def level(self) -> float:
        """A gauge's value; a counter's increase per second since the reading before, nan when there is none."""
        if self.type != "counter":
            return self.value
        if self.previous is None or self.last_at is None or self.last_at <= self.previous[0]:
            return math.nan
        rise = self.value - self.previous[1]
        # A counter that fell began anew: what it shows now came since.
        return (rise if rise >= 0 else self.value) / (self.last_at - self.previous[0])

    def history(self) -> list[tuple[float, float]]:
        """(at, level) for each of the last sixty minutes that had a reading, oldest first."""
        return list(self._history.values())

    def window(self, span_s: float, now: float) -> Window:
        """The last `span_s` seconds."""
        times, values = self._points.window(self.what.name, span_s, now)
        return self.with_points(span_s, now, times, values)

    def with_points(
        self, span_s: float, now: float, times: Sequence[float] = (), values: Sequence[float] = ()
    ) -> Window:
        """A window with the points given."""
        return Window(
            metric=self.what.name,
            type="counter" if self.type == "counter" else "gauge",
            unit=self.unit,
            times=times,
            values=values,
            now=now,
            span_s=span_s,
            since=self.since,
            last_at=self.last_at,
            interval_s=self.sampler.interval_s,
        )


_Column = tuple[str, float]  # metric, span


class _Points:
    """Raw points of columns that share their times, kept as far back as the longest window asked for."""

    __slots__ = ("_columns", "_keep_s", "_times", "_trim_at", "names")

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self._times = array("d")
        self._columns = tuple(array("d") for _ in names)
        self._keep_s = 0.0
        self._trim_at = _TRIM_EVERY

    def add(self, at: float, values: Sequence[float]) -> None:
        self._times.append(at)
        for column, value in zip(self._columns, values, strict=True):
            column.append(value)
        if len(self._times) >= self._trim_at:
            self._trim(at)

    def window(self, name: str, span_s: float, now: float) -> tuple[Sequence[float], Sequence[float]]:
        self._keep_s = max(self._keep_s, span_s)
        if name not in self.names:
            self._begin_column(name)
        column = self._columns[self.names.index(name)]
        first = bisect_right(self._times, now - span_s)
        if first < len(column) and not _is_known(column[first]):
            first = bisect_left(column, 1, lo=first, key=_is_known)
        return self._times[first:], column[first:]

    def _begin_column(self, name: str) -> None:
        """A column is kept from the first time a rule asks for it; what came before is not known, and is `nan`."""
        self.names = (*self.names, name)
        self._columns = (*self._columns, array("d", [math.nan]) * len(self._times))

    def _trim(self, now: float) -> None:
        first = bisect_right(self._times, now - self._keep_s)
        del self._times[:first]
        for column in self._columns:
            del column[:first]
        self._trim_at = 2 * len(self._times) + _TRIM_EVERY


def _is_known(value: float) -> bool:
    return not math.isnan(value)


def _columns(names: Sequence[str], measurement: Measurement) -> Sequence[float]:
    usual = (0.0 if measurement.failure is None else 1.0, measurement.first.duration_s)
    if len(names) == len(usual):
        return usual
    return (*usual, *(_column(name, measurement) for name in names[2:]))


def _column(name: str, measurement: Measurement) -> float:
    """What a rule sees of a run by the metric's name. But for the result, it is the first try's."""
    first = measurement.first
    match name:
        case "failed":
            value = float(measurement.failure is not None)
        case "first_try_failed":
            value = float(first.failure is not None)
        case "duration":
            value = first.duration_s
        case _:
            value = next((seconds for phase, seconds in first.phases.items() if name == f"duration:{phase}"), 0.0)
    return value


# ---------------------------------------------------------------- long windows


def _lives(sampler: Sampler, samples: Sequence[Sample]) -> dict[frozenset[tuple[str, str]], float]:
    """When what is watched began, in Unix time, by the labels of its series; for kinds that know (`LIFE`)."""
    family = getattr(kinds.load("samplers", sampler.kind), "LIFE", None)
    return {frozenset(sample.labels.items()): sample.value for sample in samples if sample.name == family}


def _name(key: str, column: _Column) -> str:
    """Under which a long window is stored."""
    metric, span_s = column
    return f"{key}\n{metric}\n{span_s:g}"


_OF_COUNTS = "\ncounts"


def _name_of_counts(key: str, metric: str) -> str:
    """Under which counts are stored."""
    return f"{key}\n{metric}{_OF_COUNTS}"


def _summary_row(name: str, span_s: float, stretches: Sequence[Stretch], clock: Clock) -> SummaryRow:
    """In Unix time, and `nan` as nothing, which JSON has no word for."""
    walls = [to_wall(clock, stretch.at) for stretch in stretches]
    values = [
        value
        for at, stretch in zip(walls, stretches, strict=True)
        for value in (at, stretch.middle, stretch.low, None if math.isnan(stretch.life) else stretch.life)
    ]
    return SummaryRow(name, walls[0], walls[-1] + span_s, values)


def _stretches(row: SummaryRow, clock: Clock) -> Iterator[Stretch]:
    """In monotonic time; what lies ahead, since the clock was set back, is left out."""
    width = len(Stretch._fields)
    for at, middle, low, life in zip(*(row.values[column::width] for column in range(width)), strict=False):
        if at is not None and middle is not None and low is not None and from_wall(clock, at) < clock.monotonic():
            yield Stretch(from_wall(clock, at), middle, low, math.nan if life is None else life)
