"""What must outlive the daemon: alerts, notices not yet delivered, last results and failures, the past.

One SQLite file (WAL), written by one thread. Nobody waits for the disk: `put_*` change memory, the thread writes what
changed, and what it cannot write it keeps and tries again, so a disk that was full for an hour leaves no gap in the
alerts: they are last-write-wins by identity, so what waits is never more than there are alerts. Minutes wait up to a
bound, then the oldest are dropped and counted. Instants are monotonic here and Unix time in the file.
"""

import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
import structlog
from msgspec.structs import replace

from perfmon.clock import Clock, from_wall, to_wall
from perfmon.errors import UsageError
from perfmon.model import Alert, Measurement
from perfmon.monitor import incidents
from perfmon.monitor.incidents import Incident
from perfmon.monitor.recent import Spell, shifted
from perfmon.monitor.state_file import Key, Rows, StateFile, Taken
from perfmon.monitor.tally import DAY_S, DAYS, Kept
from perfmon.receivers import Notice, fingerprint
from perfmon.target_groups import Found

__all__ = ["History", "MinuteRow", "Store", "SummaryRow"]

MINUTES_WAITING = 20_000
RETRY_S = 5.0
HEARTBEAT_S = 30.0

T = TypeVar("T")


class MinuteRow(NamedTuple):
    """One minute of one series, in whatever numbers its owner needs to draw it again."""

    series: str
    start: float  # Unix time
    values: Sequence[float | None]


class SummaryRow(NamedTuple):
    """A piece of the long past of one series."""

    series: str
    start: float  # Unix time
    until: float  # Unix time after which nobody needs it
    values: Sequence[float | None]


class History(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a check for months."""

    tally: Kept
    incidents: Sequence[Incident]  # newest first


class Store:
    """The state file; `path` "" keeps nothing. Safe to call from any thread."""

    def __init__(
        self,
        path: str | Path,
        *,
        clock: Clock,
        on_error: Callable[[], None] = lambda: None,
        on_lost: Callable[[int], None] = lambda _count: None,
        on_return: Callable[[], None] = lambda: None,
    ) -> None:
        """Open or create the file. One that cannot be used is no exception: it is logged, and tried again.

        When that is there after all, what it holds is added to what is known, and `on_return` is told in the store's
        thread.

        One that another perfmon uses is a UsageError: either would take the other's alerts for its own and end them.
        """
        self._on_error = on_error
        self._on_lost = on_lost
        self._on_return = on_return
        self._log = structlog.get_logger("perfmon.store", path=str(path))  # not bound: a reload may change the format
        self._changed = threading.Condition(threading.RLock())  # reentrant: `together` holds it around `put_*`
        self._clock = clock
        self._walls = _Walls(clock)
        self._kept: dict[Key, bytes] = {}  # alerts, outbox, results, found targets and profiles, as they are
        self._unsaved: dict[Key, bytes | None] = {}  # what of them the file does not know yet; None = delete
        self._minutes: dict[Key, bytes | None] = {}  # what of the minutes it does not know yet
        self._receipts: list[threading.Event] = []
        self._restored: list[Alert] = []
        self._unwatched_s = 0.0
        self._unread = False  # there was no reading of the file at the start
        self._failing = False
        self._closing = False
        self._lost = 0  # since the file began to fail
        self._thread = threading.Thread(target=self._run, name="perfmon-store", daemon=True)
        self._file = StateFile(Path(path), clock, self._log) if path else None
        if self._file is not None:
            self._begin(self._file)
            self._thread.start()

    def put_alerts(self, alerts: Iterable[Alert]) -> None:
        """Remember alerts as they are now."""
        with self.together():
            for alert in alerts:
                self._put(_alert_key(alert), msgspec.json.encode(self._walls.outward(alert)))

    def forget_alerts(self, alerts: Iterable[Alert]) -> None:
        """Remember them no longer."""
        with self.together():
            for alert in alerts:
                self._walls.forget(alert)
                self._put(_alert_key(alert), None)

    def alerts(self) -> list[Alert]:
        """Those that a former life of the daemon left behind, as far as the file could be read."""
        return list(self._restored)

    def trouble(self) -> str:
        """Why what is put cannot be relied on to be on disk soon; "" when it can, or when nothing is kept."""
        with self._changed:
            if self._file is None or self._closing:
                return ""
            if not self._thread.is_alive():
                return "the state file's thread has ended"
            return "the state file cannot be written" if self._failing else ""

    def unwatched_s(self) -> float:
        """Seconds from the last sign of that former life to the start of this one; 0 when there was none."""
        return self._unwatched_s

    def wall(self, alert: Alert, instant: float) -> float:
        """Unix time of one of the alert's instants: the same number each time, also after a restart.

        The wall clock is corrected all the time, and Alertmanager knows an episode by when it began.
        """
        with self._changed:
            return self._walls.wall(alert, instant)

    def put_outbox(self, receiver: str, identity: str, notices: Sequence[Notice]) -> None:
        """Remember what a receiver has yet to hear of one alert, in order; nothing when it knows all."""
        with self.together():
            self._put(("outbox", receiver, identity), msgspec.json.encode(notices) if notices else None)

    def outbox(self) -> dict[str, list[Notice]]:
        """What each receiver has yet to hear."""
        found: dict[str, list[Notice]] = {}
        with self._changed:
            for (table, receiver, *_), row in self._kept.items():
                if table == "outbox":
                    found.setdefault(receiver, []).extend(self._decode(row, list[Notice]) or [])
        return found

    def put_deliveries(self, identity: str, told: Mapping[str, msgspec.Struct]) -> None:
        """Remember what came of telling of one alert, by address; nothing forgets it."""
        with self.together():
            self._put(("deliveries", identity, ""), msgspec.json.encode(told) if told else None)

    def deliveries(self, of: type[T]) -> dict[str, dict[str, T]]:
        """What came of telling of each alert."""
        with self._changed:
            rows = [(identity, row) for (table, identity, *_), row in self._kept.items() if table == "deliveries"]
        found = ((identity, self._decode(row, dict[str, of])) for identity, row in rows)  # type: ignore[valid-type]
        return {identity: told for identity, told in found if told}

    def put_results(self, results: Mapping[str, Measurement]) -> None:
        """Remember the last result of checks by their keys."""
        with self.together():
            for key, result in results.items():
                self._put(("results", key, ""), msgspec.json.encode(self._dated(result, to_wall)))

    def forget_result(self, key: str) -> None:
        """Remember it no longer; one that is not there is no mistake."""
        with self.together():
            self._put(("results", key, ""), None)

    def with_results(self) -> list[str]:
        """The keys of checks whose last result is remembered."""
        with self._changed:
            return [key for table, key, *_ in self._kept if table == "results"]

    def result(self, key: str) -> Measurement | None:
        """The last result of a check; None for one that is not known or not understood."""
        with self._changed:
            row = self._kept.get(("results", key, ""))
        found = None if row is None else self._decode(row, Measurement)
        return None if found is None else self._dated(found, from_wall)

    def put_found(self, source: str, found: Sequence[Found]) -> None:
        """Remember which targets a source named last."""
        row = msgspec.json.encode(found) if found else None
        with self.together():
            self._put(("found", source, ""), row)

    def forget_found(self, but: Collection[str]) -> None:
        """Remember those of no other sources."""
        with self.together():
            for key in [key for key in self._kept if key[0] == "found" and key[1] not in but]:
                self._put(key, None)

    def found(self, source: str) -> tuple[Found, ...]:
        """The targets that a source named last, in this life or a former one."""
        with self._changed:
            row = self._kept.get(("found", source, ""))
        return (None if row is None else self._decode(row, tuple[Found, ...])) or ()

    def put_profiled(self, series: str, rest_s: float | None) -> None:
        """Remember that a series is looked into now, and not again within `rest_s`; None: that time is over."""
        row = None if rest_s is None else msgspec.json.encode((self._clock.wall(), rest_s))
        with self.together():
            self._put(("profiled", series, ""), row)

    def not_profiled_before(self) -> dict[str, float]:
        """The instants before which these series are not to be looked into again."""
        with self._changed:
            rows = [(series, row) for (table, series, *_), row in self._kept.items() if table == "profiled"]
        found = ((series, self._decode(row, tuple[float, float])) for series, row in rows)
        return {series: self._walls.from_wall(began[0]) + began[1] for series, began in found if began}

    def put_minutes(self, rows: Iterable[MinuteRow]) -> None:
        """Remember minutes; the same minute of a series again replaces it."""
        if self._file is None:
            return
        with self._changed:
            for row in rows:
                self._minutes[("minutes", row.series, row.start)] = msgspec.json.encode(row.values)
            self._drop_oldest_minutes()
            self._changed.notify_all()

    def put_failures(self, series: str, spells: Sequence[Spell]) -> None:
        """Remember what last failed of a series; nothing of one that is not watched any more."""
        if self._file is None:
            return
        with self._changed:
            walls = [shifted(spell, self._walls.to_wall) for spell in spells]
            self._unsaved[("failures", series, "")] = msgspec.json.encode(walls) if walls else None
            self._changed.notify_all()

    def failures(self) -> dict[str, list[Spell]]:
        """What last failed of each series in a former life of the daemon."""
        rows = self._read(lambda file: file.failures())
        found = ((series, self._decode(row, list[Spell])) for series, row in rows)
        return {
            series: [shifted(spell, self._walls.from_wall) for spell in spells] for series, spells in found if spells
        }

    def put_summaries(self, rows: Iterable[SummaryRow]) -> None:
        """Remember pieces of long series until they are of no use."""
        if self._file is None:
            return
        with self._changed:
            for row in rows:
                self._minutes["summaries", row.series, row.start, row.until] = msgspec.json.encode(row.values)
            self._drop_oldest_minutes()
            self._changed.notify_all()

    def summaries(self, now: float) -> list[SummaryRow]:
        """Those in the file that are of use after the Unix time `now`, oldest first."""
        found = self._read(lambda file: file.summaries(now))
        rows = ((row, self._decode(row[3], list[float | None])) for row in found)
        return [SummaryRow(row[0], row[1], row[2], values) for row, values in rows if values is not None]

    @property
    def readable(self) -> bool:
        """Whether what a former life left can be read, or there is no file at all."""
        return not self._unread

    def put_history(self, series: str, history: History) -> None:
        """Remember what a check came to for as long as anybody can ask for it, whether it is watched or not."""
        if self._file is None:
            return
        with self._changed:
            walls = [incidents.shifted(one, self._walls.to_wall) for one in history.incidents]
            # The day stands in the key, so that what waits for a disk is one row a day.
            until = (self._clock.wall() // DAY_S + 1 + DAYS) * DAY_S
            self._unsaved["histories", series, until] = msgspec.json.encode(replace(history, incidents=walls))
            self._changed.notify_all()

    def histories(self, of: Collection[str]) -> dict[str, History]:
        """What these checks came to in a former life of the daemon."""
        rows = self._read(lambda file: file.histories(of))
        found = ((series, self._decode(row, History)) for series, row in rows)
        return {
            series: replace(
                history, incidents=[incidents.shifted(one, self._walls.from_wall) for one in history.incidents]
            )
            for series, history in found
            if history is not None
        }

    def minutes(self, since: float, *, of: Collection[str] | None = None) -> list[MinuteRow]:
        """Minutes in the file that began at Unix time `since` or later, oldest first; `of` these series alone."""
        rows = self._read(lambda file: file.minutes(since))
        wanted = rows if of is None else [row for row in rows if row[0] in of]
        values = ((series, start, self._decode(row, list[float | None])) for series, start, row in wanted)
        return [MinuteRow(series, start, found) for series, start, found in values if found is not None]

    @contextmanager
    def together(self) -> Iterator[threading.Event]:
        """What is put inside goes into one transaction. The event is set once that is written, or cannot be.

        Another lock may be taken inside, never around it.
        """
        receipt = threading.Event()
        with self._changed:
            yield receipt
            if self._file is None or self._failing or self._closing:
                receipt.set()
            else:
                self._receipts.append(receipt)
                self._changed.notify_all()

    def close(self, deadline_s: float = 5.0) -> bool:
        """Write what is left and close the file; False when that was not done in time."""
        if self._file is None:
            return True
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(deadline_s)
        with self._changed:
            saved = not self._thread.is_alive() and not self._unsaved and not self._minutes
        if not saved:
            self._log.warning("state was not written completely before the end")
        return saved

    # ------------------------------------------------------------ memory

    def _begin(self, file: StateFile) -> None:
        try:
            file.connect()
            self._kept, alive_at = file.load()
        except Taken as error:
            raise UsageError(f"{error}: give each its own (--state.path)") from None
        except (sqlite3.Error, OSError) as error:
            self._unread = True
            self._fail(error, {})
            return
        self._restore(self._kept, alive_at)

    def _catch_up(self, file: StateFile, batch: Rows) -> None:
        """Take what a former life left in a file that could not be read at the start; what was put since then wins."""
        found, alive_at = file.load()
        with self._changed:
            news = self._kept.keys() | self._unsaved.keys() | batch.keys()
            late = {key: row for key, row in found.items() if key not in news}
            self._kept |= late
            self._restore(late, alive_at)
            self._unread = False
        self._on_return()

    def _restore(self, rows: Mapping[Key, bytes], alive_at: float | None) -> None:
        self._unwatched_s = self._walls.since(alive_at)
        stored = [self._decode(row, Alert) for key, row in rows.items() if key[0] == "alerts"]
        self._restored = [self._walls.inward(alert) for alert in stored if alert is not None]

    def _dated(self, result: Measurement, turn: Callable[[Clock, float], float]) -> Measurement:
        """A result and its earlier tries with their times on the other clock."""
        earlier = tuple(self._dated(one, turn) for one in result.earlier)
        return replace(result, at=turn(self._clock, result.at), earlier=earlier, lines=(), steps=())

    def _read(self, rows: Callable[[StateFile], list[Any]]) -> list[Any]:
        if self._file is None:
            return []
        try:
            return rows(self._file)
        except (sqlite3.Error, OSError) as error:
            self._log.warning("the past cannot be read", error=str(error))
            return []

    def _put(self, key: "Key", row: bytes | None) -> None:
        nothing_to_delete = row is None and key not in self._kept and key not in self._unsaved
        if self._file is None or nothing_to_delete:
            return
        self._unsaved[key] = row
        if row is None:
            self._kept.pop(key, None)
        else:
            self._kept[key] = row

    def _drop_oldest_minutes(self) -> None:
        excess = len(self._minutes) - MINUTES_WAITING
        for key in list(self._minutes)[: max(0, excess)]:
            del self._minutes[key]
        if excess > 0:
            self._lost += excess
            self._on_lost(excess)

    def _decode(self, row: bytes, type_: type[T]) -> T | None:
        try:
            return msgspec.json.decode(row, type=type_)
        except msgspec.DecodeError as error:
            self._log.warning("a record of the state file is not understood and left out", error=str(error))
            return None

    # ------------------------------------------------------------ the writing thread

    def _run(self) -> None:
        assert self._file is not None, "the thread is started only with a file"
        over = False
        while not over:
            with self._changed:
                self._changed.wait_for(self._due, RETRY_S if self._failing else HEARTBEAT_S)
                over = self._closing
                batch = self._unsaved | self._minutes
                receipts = self._receipts
                self._unsaved, self._minutes, self._receipts = {}, {}, []
            self._save(self._file, batch)
            for receipt in receipts:
                receipt.set()
        self._file.leave()

    def _due(self) -> bool:
        return self._closing or (not self._failing and bool(self._unsaved or self._minutes))

    def _save(self, file: StateFile, batch: Rows) -> None:
        try:
            if file.connect():
                # A file that was not there before knows nothing of what the lost one had.
                with self._changed:
                    batch = {**self._kept, **batch}
            if self._unread:
                self._catch_up(file, batch)
            file.save(batch)
        except (sqlite3.Error, OSError) as error:
            self._fail(error, batch)
            return
        if self._failing:
            self._recover()

    def _fail(self, error: Exception, batch: Rows) -> None:
        self._on_error()
        with self._changed:
            self._unsaved = {key: row for key, row in batch.items() if key[0] not in _PAST} | self._unsaved
            self._minutes = {key: row for key, row in batch.items() if key[0] in _PAST} | self._minutes
            self._drop_oldest_minutes()
            first, self._failing = not self._failing, True
            for receipt in self._receipts:
                receipt.set()
            self._receipts = []
        if first:
            self._log.error("state file cannot be written, perfmon goes on without it", error=str(error))

    def _recover(self) -> None:
        with self._changed:
            self._failing = False
            lost, self._lost = self._lost, 0
        self._log.info("state file is written again", minutes_lost=lost)


_PAST = ("minutes", "summaries")  # tables of which rows may be lost

_INSTANTS = ("active_at", "broken_at", "resolved_at", "fired_at")


def _alert_key(alert: Alert) -> Key:
    return ("alerts", alert.series, fingerprint(alert.labels))


class _Walls:
    """The Unix times of alerts' instants, each made once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[Key, dict[float, float]] = {}  # alert -> instant -> Unix time

    def wall(self, alert: Alert, instant: float) -> float:
        known = self._known.setdefault(_alert_key(alert), {})
        if instant not in known:
            known[instant] = to_wall(self._clock, instant)
        return known[instant]

    def outward(self, alert: Alert) -> Alert:
        """The alert in Unix time; instants that it no longer has are forgotten."""
        walls = {at: self.wall(alert, at) for name in _INSTANTS if (at := getattr(alert, name)) is not None}
        self._known[_alert_key(alert)] = walls
        return _shift(alert, walls.__getitem__)

    def inward(self, stored: Alert) -> Alert:
        """The alert in monotonic instants."""
        alert = _shift(stored, self.from_wall)
        pairs = [(getattr(alert, name), getattr(stored, name)) for name in _INSTANTS]
        self._known[_alert_key(alert)] = {instant: wall for instant, wall in pairs if wall is not None}
        return alert

    def forget(self, alert: Alert) -> None:
        self._known.pop(_alert_key(alert), None)

    def to_wall(self, instant: float) -> float:
        return to_wall(self._clock, instant)

    def from_wall(self, wall: float) -> float:
        """What lies ahead, since the clock was set back, is taken for now."""
        return min(from_wall(self._clock, wall), self._clock.monotonic())

    def since(self, wall: float | None) -> float:
        return 0.0 if wall is None else max(0.0, self._clock.wall() - wall)


def _shift(alert: Alert, clock: Callable[[float], float]) -> Alert:
    times = {name: clock(at) for name in _INSTANTS if (at := getattr(alert, name)) is not None}
    return replace(alert, **times)
