"""The times in which a check failed: since when, until when, of what, and how it was before. The newest twenty."""

from collections.abc import Callable, Iterable, Sequence

import msgspec
from msgspec.structs import replace

from perfmon.model import Failure, Measurement

__all__ = ["INCIDENTS", "Cause", "Incident", "Incidents", "shifted"]

INCIDENTS = 20

_CAUSES = 4
_MESSAGE = 300  # characters


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """One reason in one phase, and how many runs failed of it."""

    reason: str
    phase: str
    runs: int


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """From the first run that failed to the first that did not."""

    began_at: float
    last_at: float  # of the newest failure
    ended_at: float | None  # None while it goes on
    runs: int  # that failed
    causes: Sequence[Cause]  # in the order they came, at most four
    message: str  # of the first failure, cut
    p95_before_s: float | None  # of the hour before; None when there was none


class Incidents:
    """Those of one check."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: list[Incident] = []  # oldest first

    def note(self, measurement: Measurement, p95_s: Callable[[], float | None]) -> None:
        """Take in a run; `p95_s` is asked when an incident begins."""
        going_on = self._known[-1] if self._known and self._known[-1].ended_at is None else None
        if measurement.failure is None:
            if going_on is not None:
                self._known[-1] = replace(going_on, ended_at=measurement.at)
        elif going_on is None:
            self._known.append(_begun(measurement, measurement.failure, p95_s()))
            del self._known[:-INCIDENTS]
        elif not measurement.recheck:
            self._known[-1] = _gone_on(going_on, measurement.at, measurement.failure)

    def newest_first(self) -> list[Incident]:
        """All that are known."""
        return list(reversed(self._known))

    def restore(self, incidents: Iterable[Incident], last: Measurement | None, *, only_failed: bool) -> None:
        """Put those of a former life, newest first, before what is known already.

        `last` is the newest run of this life, None before the first; `only_failed` when none of them succeeded.
        """
        former = list(incidents)[::-1]
        if former and former[-1].ended_at is None and last is not None:
            if self._known and only_failed:
                self._known[0] = _joined(former.pop(), self._known[0])
            else:
                former[-1] = replace(former[-1], ended_at=self._known[0].began_at if self._known else last.at)
        self._known[:] = [*former, *self._known][-INCIDENTS:]


def shifted(incident: Incident, clock: Callable[[float], float]) -> Incident:
    """The same by another clock."""
    ended = None if incident.ended_at is None else clock(incident.ended_at)
    return replace(incident, began_at=clock(incident.began_at), last_at=clock(incident.last_at), ended_at=ended)


def _begun(measurement: Measurement, failure: Failure, p95_s: float | None) -> Incident:
    return Incident(
        began_at=measurement.at,
        last_at=measurement.at,
        ended_at=None,
        runs=1,
        causes=(Cause(reason=failure.reason, phase=failure.phase, runs=1),),
        message=failure.message[:_MESSAGE],
        p95_before_s=p95_s,
    )


def _gone_on(incident: Incident, at: float, failure: Failure) -> Incident:
    return replace(incident, last_at=at, runs=incident.runs + 1, causes=_with(incident.causes, failure))


def _joined(former: Incident, later: Incident) -> Incident:
    """One that went on while nobody looked."""
    known = {(cause.reason, cause.phase): cause for cause in former.causes}
    for cause in later.causes:
        before = known.get((cause.reason, cause.phase))
        known[cause.reason, cause.phase] = cause if before is None else replace(before, runs=before.runs + cause.runs)
    return replace(
        former,
        last_at=later.last_at,
        ended_at=later.ended_at,
        runs=former.runs + later.runs,
        causes=tuple(known.values())[:_CAUSES],
    )


def _with(causes: Sequence[Cause], failure: Failure) -> Sequence[Cause]:
    """One run more of its cause; a fifth cause is not told."""
    for index, cause in enumerate(causes):
        if (cause.reason, cause.phase) == (failure.reason, failure.phase):
            return (*causes[:index], replace(cause, runs=cause.runs + 1), *causes[index + 1 :])
    return (*causes, Cause(reason=failure.reason, phase=failure.phase, runs=1))[:_CAUSES]
