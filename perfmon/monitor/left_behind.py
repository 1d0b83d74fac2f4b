"""What a state file says of alerts, read beside the daemon that writes it or after its end; nothing is changed."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from perfmon.clock import Clock, ManualClock
from perfmon.errors import StoreError
from perfmon.model import Alert
from perfmon.monitor.deliveries import Delivery
from perfmon.monitor.status import shown_alert, shown_deliveries
from perfmon.receivers import Notice, fingerprint

__all__ = ["alerts"]

Json = dict[str, Any]


def alerts(path: str, clock: Clock) -> Json:
    """As `/api/v1/alerts` has them, with whom nobody can ask any more when he is told again.

    Raises StoreError for a file that is not there, or is no state file of this version's.
    """
    try:
        with closing(sqlite3.connect(f"file:{quote(str(Path(path).absolute()))}?mode=ro", uri=True)) as db:
            (alive_at,) = db.execute("SELECT at FROM alive").fetchone() or (None,)
            told = {row[0]: msgspec.json.decode(row[1], type=dict[str, Delivery]) for row in _rows(db, "deliveries")}
            unsent = [(row[0], msgspec.json.decode(row[1], type=list[Notice])) for row in _rows(db, "outbox")]
            found = [msgspec.json.decode(row[1], type=Alert) for row in _rows(db, "alerts")]
    except sqlite3.Error as error:
        raise StoreError(f"{path}: cannot be read as a state file: {str(error).lower()}") from None
    except msgspec.DecodeError as error:
        raise StoreError(f"{path}: holds what this version does not understand: {error}") from None
    # Instants in the file are Unix time, so they are read by a clock of which both hands show the same.
    wall = ManualClock(monotonic=0.0, wall=0.0)
    shown = [shown_alert(one, wall) | _told(fingerprint(one.labels), told, unsent) for one in found]
    return {"now": clock.wall(), "written_at": alive_at, "alerts": shown}


def _rows(db: sqlite3.Connection, table: str) -> Iterator[tuple[str, bytes]]:
    columns = {"deliveries": "alert, told", "outbox": "receiver, notices", "alerts": "series, alert"}[table]
    return iter(db.execute(f"SELECT {columns} FROM {table}").fetchall())  # noqa: S608 - names of our own


def _told(identity: str, told: dict[str, dict[str, Delivery]], unsent: list[tuple[str, list[Notice]]]) -> Json:
    waiting = [
        {"to": address, "statuses": [one.status for one in notices], "retry_in_s": None, "trouble": ""}
        for address, notices in unsent
        if notices and notices[0].fingerprint == identity
    ]
    return {"fingerprint": identity, "told": shown_deliveries(told.get(identity, {})), "waiting": waiting}
