"""The metrics page: what every check and sampler said last, written for Prometheus.

Measuring comes first: `observe` only keeps values (a few microseconds a run), and `render` writes
the page from one instant's snapshot while it lets the event loop go on every half millisecond.
A line is `family, own labels | the target's labels | value`: the first part is shared by all targets,
the second by all series of one target, so a series costs its value and two references.
"""

import asyncio
import re
import zlib
from bisect import bisect_left
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from sys import intern

import structlog

from perfmon import kinds
from perfmon.clock import Clock, to_wall
from perfmon.measure import Reading
from perfmon.metrics import LATENCY_BUCKETS_S, Family
from perfmon.model import PHASES, Check, Labels, Measurement, Sampler, fact_key, render_labels
from perfmon.monitor.exemplar import Exemplar, RunId, at_ms, check_id
from perfmon.monitor.negotiation import accepts_gzip, negotiate
from perfmon.monitor.selfmetrics import Instruments
from perfmon.monitor.textformat import (
    HIDDEN,
    TEXT,
    TIMING_LINES,
    Format,
    family_name,
    number,
    write,
    write_samples,
)

__all__ = ["Exposition", "render_probe"]

TURN_S = 0.0005
"""How long the page is written before others get their turn on the event loop."""

GZIP_FLOOR_BYTES = 1000

_log = structlog.get_logger(__name__)


_Subject = Check | Sampler | Labels
"""What series are about; of a rule on a series its labels are all there is."""


class Exposition:
    """All series of checks and samplers. Belongs to the event loop's thread.

    Nothing is registered beforehand: a check or sampler is on the page from its first `observe` to
    its `remove`. A reload needs no call for one that stays: its counters go on as long as its labels are the same.
    """

    def __init__(
        self,
        clock: Clock,
        series_limit: int,
        instruments: Instruments,
        families: Mapping[str, Family] | None = None,
    ) -> None:
        """`families`: what may be exported; the whole catalogue when not given."""
        self.series_count = 0
        self._clock = clock
        self._limit = series_limit
        self._instruments = instruments
        self._families = kinds.catalogue() if families is None else families
        self._sources: dict[str, _Source] = {}
        self._sorted = True  # whether `_sources` stand in the order of their keys
        self._said: set[str] = set()  # what was logged, to say it once
        self._rendering = asyncio.Lock()

    def observe(self, measurement: Measurement, check: Check, *, counted: bool = True) -> None:
        """Take in one run of a probe. A fact that this run has not is gone from the page.

        One that a former life of the daemon has counted is shown, and not counted again.
        """
        source = self._sources.get(check.key)
        if source is None or source.subject is not check:
            source = self._admit(check.key, check, check.labels)
        failure, phases, facts, runs = measurement.failure, measurement.phases, measurement.facts, source.runs
        wall = to_wall(self._clock, measurement.at)
        if not counted:
            pass  # the counters begin anew, at 0, as those of any process that starts
        elif measurement.recheck:
            source.count_recheck(measurement)
        else:
            first = measurement.earlier[0] if measurement.earlier else measurement
            bucket = source.count(_RAN if failure is None else _outcome(_RUNS, failure.reason), first.duration_s)
            source.exemplars[bucket] = (
                first.duration_s,
                wall,
                first.phases,
                "none" if first.failure is None else first.failure.reason,
            )
        if check.confirm is not None:
            facts = {**facts, _LAST_ATTEMPTS: source.count_attempts(measurement) if counted else measurement.attempts}
        values = (
            1.0 if failure is None else 0.0,
            measurement.duration_s,
            check.module.timeout_s,
            wall,
            *runs.values(),
            *phases.values(),
            *map(float, facts.values()),
        )
        shape = (*runs, *phases, *facts)
        if shape != source.shape or source.refused:
            self._reshape(source, shape, (*_CHECK_KEYS, *runs, *(_PHASE_KEYS[phase] for phase in phases), *facts))
        source.values = values

    def observe_reading(self, sampler: Sampler, reading: Reading) -> None:
        """Take in one reading of a sampler. A series that this reading has not is gone from the page."""
        source = self._sources.get(sampler.key)
        if source is None or source.subject is not sampler:
            source = self._admit(sampler.key, sampler, {"sampler": sampler.name, **sampler.labels})
        source.count(_READ_FAILED if reading.error else _READ, reading.duration_s)
        samples = {fact_key(sample.name, **sample.labels): float(sample.value) for sample in reading.samples}
        values = (0.0 if reading.error else 1.0, source.seconds, *source.runs.values(), *samples.values())
        keys = (*_SAMPLER_KEYS, *source.runs, *samples)
        if keys != source.shape or source.refused:
            self._reshape(source, keys, keys)
        source.values = values

    def observe_facts(self, key: str, labels: Labels, facts: Mapping[str, float]) -> None:
        """Take in what a rule says of a series in numbers; nothing any more when there are no facts."""
        if not facts:
            self.remove(key)
            return
        source = self._sources.get(key)
        if source is None or source.subject != labels:
            source = self._admit(key, labels, labels)
        keys = tuple(facts)
        if keys != source.shape or source.refused:
            self._reshape(source, keys, keys)
        source.values = tuple(facts.values())

    def remove(self, key: str) -> None:
        """Take all series of a check, sampler or rule off the page; one that is not there is no mistake."""
        source = self._sources.pop(key, None)
        if source is not None:
            self.series_count -= source.exported

    def run(self, key: str, sought: RunId) -> Exemplar | None:
        """A run of a check that stands for one of its buckets; None when another one took its place since."""
        source = self._sources.get(key)
        known = () if source is None else source.exemplars.values()
        return next((one for one in known if at_ms(one) == sought.at_ms), None)

    async def render(self, form: Format = TEXT) -> AsyncIterator[bytes]:
        """The page, in chunks of about half a millisecond's work, all of the instant at which it began."""
        pieces: list[str] = []
        turn = self._clock.monotonic()
        for piece in self._pieces(form):
            pieces.append(piece)
            if self._clock.monotonic() - turn >= TURN_S:
                yield "".join(pieces).encode()
                pieces.clear()
                await asyncio.sleep(0)
                turn = self._clock.monotonic()
        yield "".join(pieces).encode()

    async def scrape(self, accept: str = "", accept_encoding: str = "") -> tuple[bytes, dict[str, str]]:
        """Body and headers for the `Accept` and `Accept-Encoding` of a request; one page is written at a time."""
        form = negotiate(accept)
        headers = {"Content-Type": form.content_type, "Vary": "Accept, Accept-Encoding"}
        async with self._rendering:
            began = self._clock.monotonic()
            chunks = [chunk async for chunk in self.render(form)]
            if accepts_gzip(accept_encoding) and sum(map(len, chunks)) > GZIP_FLOOR_BYTES:
                headers["Content-Encoding"] = "gzip"
                chunks = [await asyncio.to_thread(_gzip, chunks)]
            self._instruments.scrape_duration.observe(self._clock.monotonic() - began)
        return b"".join(chunks), headers

    # ------------------------------------------------------------ the page

    def _pieces(self, form: Format) -> Iterator[str]:
        """The page in small pieces of work; what it shows is fixed before the first of them."""
        if not self._sorted:
            self._sources = dict(sorted(self._sources.items()))
            self._sorted = True
        sources = self._sources.values()
        rows = [(source.labels, source.keys, source.values) for source in sources]
        timings = [
            (
                source.labels,
                source.buckets,
                source.seconds,
                source.check,
                source.exemplars.copy() if form.exemplars else {},
            )
            for source in sources
            if source.timing_shown
        ]
        self._instruments.series.set(self.series_count)
        yield from write(rows, timings, self._families, form)
        for family, samples in self._instruments.collect():
            yield write_samples(family, samples, form)
        yield form.end

    # ------------------------------------------------------------ which series

    def _admit(self, key: str, subject: _Subject, labels: Labels) -> "_Source":
        """The source of a subject that is new, or that a reload made anew."""
        text = render_labels(labels) + "} "
        source = self._sources.get(key)
        if source is not None and source.labels == text:
            source.go_on_with(subject)
            return source
        self.remove(key)
        source = self._sources[key] = _Source(subject, text, frozenset(labels))
        self._sorted = False
        return source

    def _reshape(self, source: "_Source", shape: tuple[str, ...], keys: Sequence[str]) -> None:
        """Choose which series of a source are exported: those declared, as many as the limit leaves room for."""
        self.series_count -= source.exported
        room = max(0, self._limit - self.series_count)
        declared = self._declared(keys)
        shown = set(islice(declared, room))
        source.shape = tuple(map(intern, shape))
        source.keys = tuple(_take(shown, key, source.names) for key in keys)
        values = min(room, len(declared))
        source.timing_shown = source.timed and room - values >= TIMING_LINES
        source.exported = values + TIMING_LINES * source.timing_shown
        source.refused = len(declared) + TIMING_LINES * source.timed - source.exported
        self.series_count += source.exported
        if source.refused:
            self._say_dropped(source.refused)

    def _declared(self, keys: Iterable[str]) -> dict[str, None]:
        """The keys that may be exported, in order; a kind that wrote any other has a defect, said once."""
        declared: dict[str, None] = {}
        for key in keys:
            family = self._families.get(family_name(key))
            if family is None or family.type == "histogram":
                self._say_defect(key, "no gauge or counter of the catalogue")
            elif key in declared:
                self._say_defect(key, "written twice")
            else:
                declared[key] = None
        return declared

    def _say_defect(self, key: str, why: str) -> None:
        name = family_name(key)
        if name not in self._said:
            self._said.add(name)
            self._instruments.defects.labels("exposition").inc()
            _log.error("series not exported", family=name, why=why)

    def _say_dropped(self, refused: int) -> None:
        """Counted with every run, so that the counter grows for as long as series are missing; logged once."""
        self._instruments.series_dropped.inc(refused)
        if _LIMIT not in self._said:
            self._said.add(_LIMIT)
            _log.warning("series dropped", why="limits.series is reached", limit=self._limit)


def render_probe(measurement: Measurement, timeout_s: float, families: Mapping[str, Family] | None = None) -> bytes:
    """One measurement as blackbox_exporter answers `/probe`: gauges with their own labels only, format 0.0.4."""
    known = kinds.catalogue() if families is None else families
    facts = {
        **measurement.facts,
        "probe_success": 1.0 if measurement.success else 0.0,
        "probe_duration_seconds": measurement.duration_s,
        "probe_timeout_seconds": timeout_s,
    }
    page: list[str] = []
    for name, keys in groupby(sorted(facts, key=lambda key: (family_name(key), key)), family_name):
        if name not in known:
            _log.error("series not exported", family=name, why="not in the catalogue")
            continue
        page.append(TEXT.header(known[name]))
        # Whole numbers without a point, as Go writes them: scripts look for `probe_success 1` at a line's end.
        page.extend(f"{key} {number(facts[key]).removesuffix('.0')}\n" for key in keys)
    return "".join(page).encode()


# ---------------------------------------------------------------- one check or sampler


class _Source:
    """One check or sampler on the page, or one rule about one series.

    `buckets` and `values` are replaced, never changed, so that a page under way keeps what it began with.
    """

    __slots__ = (
        "buckets",
        "check",
        "exemplars",
        "exported",
        "keys",
        "labels",
        "names",
        "refused",
        "runs",
        "seconds",
        "shape",
        "subject",
        "timed",
        "timing_shown",
        "values",
    )

    def __init__(self, subject: _Subject, labels: str, names: frozenset[str]) -> None:
        self.subject = subject
        self.check = check_id(subject.key) if isinstance(subject, Check) else ""
        self.labels = labels  # the second part of each of its lines: `probe="shop",target="..."} `
        self.names = names  # of those labels
        self.timed = isinstance(subject, Check)
        # Success is there from the first run, for a share needs both. Failures come with their reason when
        # they happen: 23 reasons a target would be series that nearly always say nothing.
        self.runs = dict.fromkeys((_RAN,) if self.timed else (_READ, _READ_FAILED), 0)
        self.go_on_with(subject)
        self.buckets = [0] * (len(LATENCY_BUCKETS_S) + 1)
        self.exemplars: dict[int, Exemplar] = {}  # by bucket, the newest run in it
        self.seconds = 0.0  # in all runs
        self.shape: tuple[str, ...] = ()  # what the last run brought
        self.keys: tuple[str, ...] = ()  # the series key of each value, or HIDDEN
        self.values: tuple[float, ...] = ()
        self.timing_shown = False
        self.exported = 0  # series
        self.refused = 0  # series for which the limit left no room

    def go_on_with(self, subject: _Subject) -> None:
        """Be of a subject with the same labels; what is counted only with `confirm` comes and goes with it."""
        self.subject = subject
        if isinstance(subject, Check) and subject.confirm is not None:
            self.runs = {_FIRST_RAN: 0, _ATTEMPTS: 0} | self.runs
        else:
            self.runs = {key: count for key, count in self.runs.items() if family_name(key) not in _OF_CONFIRM}

    def count_attempts(self, measurement: Measurement) -> int:
        """Count how the first try of a run went, and all its tries; answers with how many it took."""
        failure, attempts = measurement.first.failure, measurement.attempts
        if not measurement.recheck:
            outcome = _FIRST_RAN if failure is None else _outcome(_FIRST_TRY, failure.reason)
            self.runs[outcome] = self.runs.get(outcome, 0) + 1
        self.runs[_ATTEMPTS] += attempts
        return attempts

    def count_recheck(self, measurement: Measurement) -> None:
        """Count a run between due times, which is none of the runs and has no part in the durations."""
        failure = measurement.failure
        outcome = _RECHECKED if failure is None else _outcome(_RECHECKS, failure.reason)
        self.runs[outcome] = self.runs.get(outcome, 0) + 1

    def count(self, outcome: str, seconds: float) -> int:
        """Count one run and its time; answers with the bucket it fell into."""
        self.runs[outcome] = self.runs.get(outcome, 0) + 1
        self.seconds += seconds
        buckets = self.buckets.copy()
        bucket = bisect_left(LATENCY_BUCKETS_S, seconds)
        buckets[bucket] += 1
        self.buckets = buckets
        return bucket


def _take(shown: set[str], key: str, names: frozenset[str]) -> str:
    """The key under which a value is exported; out of `shown`, so that one written twice is exported once."""
    if key not in shown:
        return HIDDEN
    shown.remove(key)
    return intern(_without_clash(key, names))


def _without_clash(key: str, names: frozenset[str]) -> str:
    """Rename own labels that the user took for a target's, as Prometheus does; one name twice costs the whole page."""
    if "{" not in key or not any(f'{name}="' in key for name in names):  # nearly always, and far cheaper
        return key
    return _OWN_LABEL.sub(lambda own: f"exported_{own[0]}" if own[1] in names else own[0], key)


def _outcome(counter: str, reason: str) -> str:
    return fact_key(counter, result="failure", reason=reason)


def _gzip(chunks: Iterable[bytes]) -> bytes:
    """Level 1: level 9 takes eight times as long for a tenth less. zlib lets go of the GIL for each chunk."""
    compressor = zlib.compressobj(level=1, wbits=31)  # 31: with gzip's header and the largest window
    return b"".join([*map(compressor.compress, chunks), compressor.flush()])


_LIMIT = "limits.series"
_OWN_LABEL = re.compile(r'(\w+)="(?:[^"\\]|\\.)*"')  # whole values, so that no name is found inside of one

_CHECK_KEYS = (
    "probe_success",
    "probe_duration_seconds",
    "probe_timeout_seconds",
    "perfmon_probe_last_run_timestamp_seconds",
)
_PHASE_KEYS = {phase: fact_key("perfmon_probe_phase_seconds", phase=phase) for phase in PHASES}
_RUNS = "perfmon_probe_runs_total"
_RAN = fact_key(_RUNS, result="success", reason="none")
_RECHECKS = "perfmon_probe_rechecks_total"
_RECHECKED = fact_key(_RECHECKS, result="success", reason="none")

_FIRST_TRY = "perfmon_probe_first_try_runs_total"
_FIRST_RAN = fact_key(_FIRST_TRY, result="success", reason="none")
_ATTEMPTS = "perfmon_probe_attempts_total"
_LAST_ATTEMPTS = "perfmon_probe_last_run_attempts"
_OF_CONFIRM = (_FIRST_TRY, _ATTEMPTS)

_SAMPLER_KEYS = ("perfmon_sampler_success", "perfmon_sampler_duration_seconds_total")
_READ = fact_key("perfmon_sampler_runs_total", result="success")
_READ_FAILED = fact_key("perfmon_sampler_runs_total", result="failure")
