"""Results that others push: who may, what they say, and when silence has become a failure."""

from collections.abc import Callable, Mapping
from weakref import WeakKeyDictionary

import msgspec

from perfmon import kinds
from perfmon.clock import Clock
from perfmon.config.web_file import RateLimit
from perfmon.model import Check, Failure, Measurement
from perfmon.monitor.gate import Bucket
from perfmon.monitor.rerun import Busy
from perfmon.monitor.series import CheckSeries
from perfmon.secret import hidden, without
from perfmon.units import format_duration, parse_duration, quoted

__all__ = ["NotAllowed", "Pushed", "Pushes", "is_pushed", "overdue", "pushed", "tick_s"]

MOST_ERROR = 1_000  # characters of the words of a failure
LONGEST_S = 366 * 86_400.0
AFTER_START_S = 60.0  # what fell due while perfmon was down may still come
PACE = RateLimit(interval=1.0, burst=10)  # of one check


class NotAllowed(Exception):
    """No token, or a wrong one."""


class Pushed(msgspec.Struct, frozen=True, kw_only=True):
    """What was told of one piece of work."""

    success: bool
    duration_s: float
    error: str


def pushed(success: str, duration: str, error: str) -> Pushed:
    """From the parameters of a request. ValueError with what was expected."""
    if success not in ("true", "false"):
        raise ValueError(f'parameter "success" must be true or false, not {quoted(success[:20])}')
    try:
        duration_s = parse_duration(duration) if duration else 0.0
    except ValueError as wrong:
        raise ValueError(f'parameter "duration": {wrong}') from None
    if not duration_s <= LONGEST_S:
        raise ValueError(f'parameter "duration" must be at most {format_duration(LONGEST_S)}')
    return Pushed(success=success == "true", duration_s=duration_s, error=error[:MOST_ERROR])


def is_pushed(check: Check) -> bool:
    """Whether its results are pushed: its kind says who may."""
    return hasattr(kinds.load("probes", check.module.kind), "may_push")


def tick_s(check: Check) -> float:
    """How often to look whether somebody was silent for too long."""
    return min(check.interval_s, 15.0, max(1.0, check.interval_s / 30))


def overdue(past: CheckSeries, now: float, started_at: float) -> Measurement | None:
    """The failed run that silence amounts to; None while there is time yet."""
    check = past.check
    heard_at = past.since if past.last is None else past.last.at
    if now < max(heard_at + check.interval_s, started_at + min(check.interval_s, AFTER_START_S)):
        return None
    failure = kinds.load("probes", check.module.kind).silence(format_duration(check.interval_s))
    return _measurement(check, now, 0.0, failure)


class Pushes:
    """Takes them in; never more of one check than `PACE`."""

    def __init__(self, checks: Mapping[str, CheckSeries], clock: Clock) -> None:
        self._checks = checks
        self._clock = clock
        self._buckets: WeakKeyDictionary[CheckSeries, Bucket] = WeakKeyDictionary()

    def take(self, key: str, token: str, told: Callable[[], Pushed]) -> tuple[Check, Measurement]:
        """The run that a push amounts to.

        Raises NotAllowed, Busy, and LookupError for a key that is none of a push: only to one who has a token of
        another, so that strangers cannot try out keys.
        """
        past = self._checks.get(key)
        if past is None or not is_pushed(past.check):
            if not any(_may_push(one.check, token) for one in self._checks.values()):
                raise NotAllowed
            raise LookupError(key)
        if not _may_push(past.check, token):
            raise NotAllowed
        what = told()
        now = self._clock.monotonic()
        if not self._buckets.setdefault(past, Bucket(PACE, now)).take(now):
            raise Busy("too many pushes of this check; one a second is taken")
        return past.check, _measurement(past.check, now, what.duration_s, _failure(past.check, what))


def _may_push(check: Check, token: str) -> bool:
    return is_pushed(check) and kinds.load("probes", check.module.kind).may_push(token, check.module.config)


def _failure(check: Check, told: Pushed) -> Failure | None:
    if told.success:
        return None
    words = " ".join(told.error.split()) or "it was pushed as failed"
    return without(hidden(check.module.config), Failure(reason="status", phase="", message=words))


def _measurement(check: Check, at: float, duration_s: float, failure: Failure | None) -> Measurement:
    return Measurement(
        target=check.target,
        module=check.module.name,
        at=at,
        duration_s=duration_s,
        phases={},
        facts={},
        failure=failure,
    )
