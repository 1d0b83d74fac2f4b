"""The state file: one SQLite file, claimed by one perfmon, brought up to date, and set aside when it is none.

Rows are opaque bytes under a table and a place in it; what they mean is `perfmon.monitor.store`'s.
"""

import fcntl
import sqlite3
from collections.abc import Collection
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import structlog

from perfmon.clock import Clock

__all__ = ["Key", "Rows", "StateFile", "Taken"]

MINUTES_KEPT_S = 2 * 3600.0

Key = tuple[str, str, str | float] | tuple[str, str, float, float]
"""Table, series, receiver, source or alert, and fingerprint, start, or ""; of a summary its end too."""

Rows = dict[Key, bytes | None]
"""None = delete it."""


class Taken(OSError):
    """The file is another perfmon's."""


class StateFile:
    """The SQLite file: opened, migrated, set aside when it is none. Raises sqlite3.Error and OSError."""

    def __init__(self, path: Path, clock: Clock, log: structlog.typing.FilteringBoundLogger) -> None:
        self._path = path
        self._clock = clock
        self._log = log
        self._db: sqlite3.Connection | None = None
        self._claim: IO[str] | None = None

    def connect(self) -> bool:
        """Make sure that the file is open; True when it is a new one. A corrupt one is set aside."""
        if self._db is not None:
            return False
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._claim is None:
            self._claim = _claimed(self._path)
        try:
            return self._begin()
        except sqlite3.Error as error:
            if not _is_corrupt(error):
                raise
        return self._begin()  # in the place of the one that was set aside

    def load(self) -> tuple[dict[Key, bytes], float | None]:
        """Alerts, outbox, deliveries, results, found targets, profiles, and when it was last written (Unix time)."""
        assert self._db is not None, "connected first"
        alerts = self._db.execute("SELECT 'alerts', series, fingerprint, alert FROM alerts")
        outbox = self._db.execute("SELECT 'outbox', receiver, identity, notices FROM outbox")
        results = self._db.execute("SELECT 'results', series, part, result FROM results")
        listed = self._db.execute("SELECT 'found', source, part, targets FROM found")
        told = self._db.execute("SELECT 'deliveries', alert, part, told FROM deliveries")
        profiled = self._db.execute("SELECT 'profiled', series, part, began FROM profiled")
        found = (row for rows in (alerts, outbox, results, listed, told, profiled) for row in rows)
        kept: dict[Key, bytes] = {(row[0], row[1], row[2]): row[3] for row in found}
        alive = self._db.execute("SELECT at FROM alive").fetchone()
        return kept, alive[0] if alive else None

    def save(self, rows: Rows) -> None:
        """Write all of it, or nothing."""
        assert self._db is not None, "connected first"
        now = self._clock.wall()
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for sql, parameters in _statements(rows).items():
                self._db.executemany(sql, parameters)
            self._db.execute("DELETE FROM minutes WHERE start < ?", (now - MINUTES_KEPT_S,))
            self._db.execute("DELETE FROM summaries WHERE until < ?", (now,))
            self._db.execute("DELETE FROM histories WHERE until < ?", (now,))
            self._db.execute("INSERT OR REPLACE INTO alive VALUES (1, ?)", (now,))
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self.close()  # the next `connect` begins anew, with whatever stands under the path then
            self._set_aside_if_corrupt(error)
            raise

    def minutes(self, since: float) -> list[tuple[str, float, bytes]]:
        """(series, start, values as JSON), read by a connection of its own: callable from any thread."""
        with closing(self._open()) as db:
            rows = db.execute("SELECT series, start, vals FROM minutes WHERE start >= ? ORDER BY start", (since,))
            return rows.fetchall()

    def failures(self) -> list[tuple[str, bytes]]:
        """(series, spells as JSON), read as `minutes` are."""
        with closing(self._open()) as db:
            return db.execute("SELECT series, spells FROM failures").fetchall()

    def summaries(self, now: float) -> list[tuple[str, float, float, bytes]]:
        """(series, start, until, values as JSON), as `minutes`."""
        with closing(self._open()) as db:
            sql = "SELECT series, start, until, vals FROM summaries WHERE until >= ? ORDER BY start"
            return db.execute(sql, (now,)).fetchall()

    def histories(self, series: Collection[str]) -> list[tuple[str, bytes]]:
        """(series, history as JSON) of these, read as `minutes` are."""
        with closing(self._open()) as db:
            return [row for row in db.execute("SELECT series, history FROM histories") if row[0] in series]

    def close(self) -> None:
        """Close the file; an open transaction is undone."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def leave(self) -> None:
        """Close the file, and let another perfmon have it."""
        self.close()
        if self._claim is not None:
            self._claim.close()
            self._claim = None

    def _begin(self) -> bool:
        db = None
        try:
            db = self._open()
            fresh = _migrate(db, self._clock.wall())
        except sqlite3.Error as error:
            if db is not None:
                db.close()
            self._set_aside_if_corrupt(error)
            raise
        self._db = db
        return fresh

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=2.0, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            # Each commit is on the disk before anybody is told, so that a power cut pages nobody twice.
            db.execute("PRAGMA synchronous = FULL")
        except sqlite3.Error:
            db.close()
            raise
        return db

    def _set_aside_if_corrupt(self, error: sqlite3.Error) -> None:
        if not _is_corrupt(error):
            return
        stamp = datetime.fromtimestamp(self._clock.wall(), UTC).strftime("%Y%m%dT%H%M%SZ")
        aside = f"{self._path}.corrupt-{stamp}"
        for suffix in ("", "-wal", "-shm"):
            part = Path(f"{self._path}{suffix}")
            if part.exists():
                part.rename(f"{aside}{suffix}")
        self._log.error("state file is corrupt, it was set aside and a new one begun", error=str(error), aside=aside)


def _claimed(path: Path) -> IO[str]:
    """A lock for as long as it is open, and the process lives; `Taken` when another perfmon has it.

    On a file beside it: SQLite holds its own locks on the state file, and loses them when that is closed once more.
    """
    claim = Path(f"{path}-lock").open("w")  # noqa: SIM115 - open for as long as it is claimed
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        claim.close()
        raise Taken(f'the state file "{path}" is in use by another perfmon') from None
    except OSError:
        pass  # a filesystem without locks: nothing can be told there
    return claim


# What brings a file from version n to n + 1; only ever added to.
_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE alerts (series TEXT, fingerprint TEXT, alert BLOB NOT NULL, PRIMARY KEY (series, fingerprint))",
        "CREATE TABLE outbox (receiver TEXT, identity TEXT, notices BLOB NOT NULL, PRIMARY KEY (receiver, identity))",
        "CREATE TABLE minutes (start REAL, series TEXT, vals BLOB NOT NULL, PRIMARY KEY (start, series)) WITHOUT ROWID",
        "CREATE TABLE alive (id INTEGER PRIMARY KEY CHECK (id = 1), at REAL NOT NULL)",
    ),
    ("CREATE TABLE results (series TEXT, part TEXT, result BLOB NOT NULL, PRIMARY KEY (series, part))",),
    ("CREATE TABLE failures (series TEXT, part TEXT, spells BLOB NOT NULL, PRIMARY KEY (series, part))",),
    (
        "CREATE TABLE summaries (series TEXT, start REAL, until REAL, vals BLOB NOT NULL, PRIMARY KEY (series, start))",
        "CREATE INDEX summaries_until ON summaries (until)",
    ),
    ("CREATE TABLE found (source TEXT, part TEXT, targets BLOB NOT NULL, PRIMARY KEY (source, part))",),
    (
        "CREATE TABLE histories (series TEXT PRIMARY KEY, until REAL, history BLOB NOT NULL)",
        "CREATE INDEX histories_until ON histories (until)",
    ),
    ("CREATE TABLE deliveries (alert TEXT, part TEXT, told BLOB NOT NULL, PRIMARY KEY (alert, part))",),
    ("CREATE TABLE profiled (series TEXT, part TEXT, began BLOB NOT NULL, PRIMARY KEY (series, part))",),
)

_PUT = {
    "alerts": "INSERT OR REPLACE INTO alerts (series, fingerprint, alert) VALUES (?, ?, ?)",
    "outbox": "INSERT OR REPLACE INTO outbox (receiver, identity, notices) VALUES (?, ?, ?)",
    "results": "INSERT OR REPLACE INTO results (series, part, result) VALUES (?, ?, ?)",
    "found": "INSERT OR REPLACE INTO found (source, part, targets) VALUES (?, ?, ?)",
    "deliveries": "INSERT OR REPLACE INTO deliveries (alert, part, told) VALUES (?, ?, ?)",
    "profiled": "INSERT OR REPLACE INTO profiled (series, part, began) VALUES (?, ?, ?)",
    "minutes": "INSERT OR REPLACE INTO minutes (series, start, vals) VALUES (?, ?, ?)",
    "failures": "INSERT OR REPLACE INTO failures (series, part, spells) VALUES (?, ?, ?)",
    "summaries": "INSERT OR REPLACE INTO summaries (series, start, until, vals) VALUES (?, ?, ?, ?)",
    "histories": "INSERT OR REPLACE INTO histories (series, until, history) VALUES (?, ?, ?)",
}
_DELETE = {
    "alerts": "DELETE FROM alerts WHERE series = ? AND fingerprint = ?",
    "outbox": "DELETE FROM outbox WHERE receiver = ? AND identity = ?",
    "results": "DELETE FROM results WHERE series = ? AND part = ?",
    "found": "DELETE FROM found WHERE source = ? AND part = ?",
    "deliveries": "DELETE FROM deliveries WHERE alert = ? AND part = ?",
    "profiled": "DELETE FROM profiled WHERE series = ? AND part = ?",
    "failures": "DELETE FROM failures WHERE series = ? AND part = ?",
}


class _Corrupt(sqlite3.DatabaseError):
    """A file that opens but is not what it should be."""


def _is_corrupt(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return isinstance(error, _Corrupt) or code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _migrate(db: sqlite3.Connection, now: float) -> bool:
    """Bring the file to the newest version; True when it was empty. Raises `_Corrupt` for one that is damaged."""
    (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise _Corrupt(str(found))
    db.execute("BEGIN IMMEDIATE")
    db.execute("CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, at REAL NOT NULL)")
    (version,) = db.execute("SELECT coalesce(max(version), 0) FROM migrations").fetchone()
    if version > len(_MIGRATIONS):
        raise _Corrupt(f"version {version} was written by a newer perfmon, this one knows {len(_MIGRATIONS)}")
    for number, statements in enumerate(_MIGRATIONS[version:], start=version + 1):
        for statement in statements:
            db.execute(statement)
        db.execute("INSERT INTO migrations VALUES (?, ?)", (number, now))
    db.execute("COMMIT")
    return bool(version == 0)


def _statements(rows: Rows) -> dict[str, list[tuple[Any, ...]]]:
    """The rows by the statement that writes them."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for (table, *place), row in rows.items():
        if row is None:
            found.setdefault(_DELETE[table], []).append(tuple(place))
        else:
            found.setdefault(_PUT[table], []).append((*place, row))
    return found
