"""The latest runs that `/probe` made, and the failures among those before them, for `/logs`.

Runs are kept as they are; a text is made of one when somebody asks for it.
"""

from collections import deque
from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from perfmon.model import Measurement, Module

__all__ = ["LIMIT", "Requested", "Run"]

LIMIT = 100
"""Latest runs kept, and failures beside them, as blackbox_exporter's --history.limit has it."""

_LINES = 60  # of a run, from its beginning; with what `perfmon.trace` leaves of a line, 200 runs are 24 MB at worst


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run on request."""

    id: int  # counts from 0
    at: float  # when it began, Unix time
    measurement: Measurement
    module: Module
    timeout_s: float


class Requested:
    """Two rings: the latest runs, and the latest failures that fell out of the first. Belongs to the loop's thread."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._latest: deque[Run] = deque(maxlen=limit)
        self._failures: deque[Run] = deque(maxlen=limit)
        self._next = 0

    def add(self, measurement: Measurement, module: Module, *, at: float, timeout_s: float) -> None:
        """Keep a run; of what it had to say only the beginning."""
        latest = self._latest
        if len(latest) == latest.maxlen and not latest[0].measurement.success:
            self._failures.append(latest[0])
        kept = replace(measurement, lines=_beginning(measurement), steps=measurement.steps[:_LINES])
        latest.append(Run(id=self._next, at=at, measurement=kept, module=module, timeout_s=timeout_s))
        self._next += 1

    def by_id(self, number: int) -> Run | None:
        """The run with that number, if it is still here."""
        return next((run for run in self if run.id == number), None)

    def newest(self, target: str, module: str = "") -> Run | None:
        """The newest run of a target, under a module if one is named.

        blackbox_exporter answers with the oldest failure it has kept, which tells nothing of now.
        """
        found = (run for run in self if run.measurement.target.address == target)
        return next((run for run in found if module in ("", run.module.name)), None)

    def __iter__(self) -> Iterator[Run]:
        """The newest first."""
        yield from reversed(self._latest)
        yield from reversed(self._failures)


def _beginning(measurement: Measurement) -> list[str]:
    lines = measurement.lines[:_LINES]
    more = len(measurement.lines) - len(lines)
    return [*lines, f"... and {more} more lines; ask with debug=true to see all"] if more else [*lines]
