"""What is kept of a check's newest runs for a person who asks why: the phases of each, and the failures by spell.

Memory is bounded whatever a target answers: twenty rows of numbers, and ten spells whose texts are cut.
"""

from array import array
from collections.abc import Callable, Iterable, Mapping

import msgspec

from perfmon.model import PHASES, Failure, Measurement, Phase, Reason

__all__ = ["RUNS", "SPELLS", "Recent", "Run", "Spell", "shifted"]

RUNS = 20
SPELLS = 10

_MESSAGE = 500  # characters
_EVIDENCE = 300
_MOST_EVIDENCE = 12
_ABSENT = -1.0  # of a phase that was not begun


class Spell(msgspec.Struct, frozen=True, kw_only=True):
    """Failures of one reason in one phase, one after the other, and the newest of them in full.

    A target that is down for a day is one spell: what failed before it is still to be seen.
    """

    first_at: float
    last_at: float
    runs: int
    reason: Reason
    phase: str
    message: str
    evidence: Mapping[str, str]
    phases: Mapping[Phase, float]
    duration_s: float
    address: str


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One of the newest runs, in numbers."""

    at: float
    duration_s: float
    success: bool
    phases: Mapping[Phase, float]


class Recent:
    """The newest runs of one check, and its last spells of failures."""

    __slots__ = ("_next", "_numbers", "_spells", "_times", "failed_in_a_row", "failing_since")

    def __init__(self) -> None:
        self.failed_in_a_row = 0  # up to the newest run, whatever their reasons
        self.failing_since: float | None = None  # the first of these
        self._spells: list[Spell] = []  # oldest first; most checks have none, and an empty deque is 600 bytes
        self._next = 0
        self._times = array("d", [-1.0]) * RUNS
        self._numbers = array("f", [_ABSENT]) * (RUNS * _WIDTH)

    def add(self, measurement: Measurement) -> None:
        """Take in one run."""
        row = self._next * _WIDTH
        get = measurement.phases.get
        self._times[self._next] = measurement.at
        self._numbers[row : row + _WIDTH] = array(
            "f", (measurement.duration_s, measurement.failure is None, *[get(phase, _ABSENT) for phase in PHASES])
        )
        self._next = (self._next + 1) % RUNS
        if measurement.failure is None:
            self.failed_in_a_row, self.failing_since = 0, None
        else:
            self._note_failure(measurement, measurement.failure)

    def runs(self) -> list[Run]:
        """The newest runs, oldest first."""
        rows = [(self._next + number) % RUNS for number in range(RUNS)]
        return [self._run(row) for row in rows if self._times[row] >= 0]

    def spells(self) -> list[Spell]:
        """The last spells of failures, newest first."""
        return list(reversed(self._spells))

    def restore(self, spells: Iterable[Spell]) -> None:
        """Put back what `spells` gave in a former life; a failure that comes now begins a spell of its own."""
        self._spells.extend(reversed(list(spells)[:SPELLS]))

    def _note_failure(self, measurement: Measurement, failure: Failure) -> None:
        self.failed_in_a_row += 1
        if self.failing_since is None:
            self.failing_since = measurement.at
        spell = _spell(measurement, failure)
        former = self._spells[-1] if self._spells and self.failed_in_a_row > 1 else None
        if former is not None and (former.reason, former.phase) == (spell.reason, spell.phase):
            self._spells.pop()
            spell = msgspec.structs.replace(spell, first_at=former.first_at, runs=former.runs + 1)
        self._spells.append(spell)
        del self._spells[:-SPELLS]

    def _run(self, row: int) -> Run:
        duration_s, success, *seconds = self._numbers[row * _WIDTH : (row + 1) * _WIDTH]
        phases = {phase: value for phase, value in zip(PHASES, seconds, strict=True) if value >= 0}
        return Run(at=self._times[row], duration_s=duration_s, success=bool(success), phases=phases)


def _spell(measurement: Measurement, failure: Failure) -> Spell:
    """A spell of this failure alone, its texts cut."""
    evidence = list(failure.evidence.items())[:_MOST_EVIDENCE]
    return Spell(
        first_at=measurement.at,
        last_at=measurement.at,
        runs=1,
        reason=failure.reason,
        phase=failure.phase,
        message=failure.message[:_MESSAGE],
        evidence={name[:_EVIDENCE]: text[:_EVIDENCE] for name, text in evidence},
        phases=measurement.phases,
        duration_s=measurement.duration_s,
        address=measurement.address,
    )


def shifted(spell: Spell, clock: Callable[[float], float]) -> Spell:
    """The same by another clock."""
    return msgspec.structs.replace(spell, first_at=clock(spell.first_at), last_at=clock(spell.last_at))


_WIDTH = 2 + len(PHASES)
