"""A run's folder: rows and seconds are written while it runs, reports when it is over."""

import csv
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from msgspec.structs import replace

from perfmon import kinds
from perfmon.clock import Clock, to_wall
from perfmon.errors import UsageError
from perfmon.perftest.engine import Row, reason_of
from perfmon.run import Report, Snapshot, percentile
from perfmon.scenario import Scenario

__all__ = ["ROWS", "SECONDS", "Folder", "folder_name"]

ROWS, SECONDS = "results.csv", "seconds.csv"
_ROW = (
    *("timestamp", "endpoint", "method", "status", "response_time_s", "success", "error", "size_bytes"),
    *("service_time_s", "queue_time_s"),
)
_SECOND = (
    *("begin_s", "end_s", "due", "started", "done", "failed", "dropped", "in_flight", "waiting", "resent"),
    *("response_p50_s", "response_p95_s", "response_p99_s", "response_max_s", "service_p99_s", "lag_p99_s", "cpu_s"),
)


def folder_name(scenario: Scenario, wall: float) -> str:
    """`load_shop_20270115_080000`, in UTC."""
    kind = getattr(scenario.settings, "preset", None) or "load"
    plain = "".join(sign if sign.isalnum() or sign in "-." else "_" for sign in scenario.name)[:60].strip("_.")
    return f"{kind}_{plain or 'test'}_{datetime.fromtimestamp(wall, UTC):%Y%m%d_%H%M%S}"


class Folder:
    """Where a run is kept. A disk that is full ends the writing, not the test; the report says what is missing."""

    def __init__(self, path: Path, scenario: Scenario, *, clock: Clock, rows: bool) -> None:
        self.path = _made(path)
        self._clock = clock
        self._address = scenario.target.address
        self._method = str(getattr(scenario.module.config, "method", ""))
        self._rows = _Table(self.path / ROWS, _ROW) if rows else None
        self._seconds = _Table(self.path / SECONDS, _SECOND)

    def row(self, row: Row) -> None:
        """Add an arrival that has ended, in the order in which they end."""
        if self._rows is None:
            return
        seen = row.measurement
        status = seen.facts.get("probe_http_status_code", 0.0)
        self._rows.add(
            (
                f"{to_wall(self._clock, row.intended):.6f}",
                self._address,
                self._method,
                f"{status:.0f}" if status else "",
                f"{row.queue_s + row.service_s:.6f}",
                "true" if seen.success else "false",
                "" if seen.failure is None else reason_of(seen.failure),
                f"{seen.facts.get('probe_http_uncompressed_body_length', 0.0):.0f}",
                f"{row.service_s:.6f}",
                f"{row.queue_s:.6f}",
            )
        )

    def second(self, second: Snapshot) -> None:
        """Add a second."""
        response = second.response
        quantiles = [percentile(response, 0, q) for q in (0.5, 0.95, 0.99, 1.0)]
        more = [percentile(second.service, 0, 0.99), percentile(second.lag, 0, 0.99), second.cpu_s]
        counts = (second.due, second.started, second.done, second.failed.total(), second.dropped)
        times = ["" if value is None else f"{value:.6f}" for value in (*quantiles, *more)]
        self._seconds.add(
            (
                f"{second.begin_s:.3f}",
                f"{second.end_s:.3f}",
                *map(str, counts),
                *map(str, (second.in_flight, second.waiting, second.resent)),
                *times,
            )
        )
        self._seconds.flush()

    def finish(self, report: Report) -> Report:
        """Close the tables and write a file of each kind of report; answers with the report as it was written."""
        notes = list(report.run.notes)
        for table in (self._rows, self._seconds):
            if table is not None:
                table.close()
                notes += [f"{table.name} is not whole: {table.trouble}"] if table.trouble else []
        report = replace(report, run=replace(report.run, notes=tuple(notes)))
        for name in kinds.names("reports"):
            kind = kinds.load("reports", name)
            (self.path / kind.FILE).write_text(kind.render(report), encoding="utf-8")
        return report


class _Table:
    """A CSV file that stops at its first trouble and remembers what that was."""

    def __init__(self, path: Path, header: Iterable[str]) -> None:
        self.name = path.name
        self.trouble = ""
        self._file: IO[str] = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file)
        self.add(header)

    def add(self, values: Iterable[str]) -> None:
        """Write a row; it reaches the disk with the next `flush`, or earlier."""
        if not self.trouble:
            try:
                self._writer.writerow(values)
            except OSError as error:
                self.trouble = str(error.strerror).lower()

    def flush(self) -> None:
        """Have it where others can read it."""
        if not self.trouble:
            try:
                self._file.flush()
            except OSError as error:
                self.trouble = str(error.strerror).lower()

    def close(self) -> None:
        """Write what is left."""
        self.flush()
        try:
            self._file.close()
        except OSError as error:  # what was buffered is lost, and the rows with it
            self.trouble = self.trouble or str(error.strerror).lower()


def _made(path: Path) -> Path:
    """The folder, or one beside it with a number where there is one already."""
    for number in range(1, 1_000):
        fresh = path if number == 1 else path.with_name(f"{path.name}_{number}")
        try:
            fresh.mkdir(parents=True)
        except FileExistsError:
            if not fresh.is_dir():
                raise UsageError(f'--out: "{fresh}" is no folder') from None
            continue
        except OSError as error:
            raise UsageError(f'--out: "{fresh}" cannot be made: {str(error.strerror).lower()}') from None
        return fresh
    raise UsageError(f'--out: "{path}" and 998 others are there already')
