"""Kinds of receivers, a file each: how an alert leaves the process.

A receiver is a function, called in a thread of its own, never at the same time as itself:

    def notify(notices: Sequence[Notice], config: Config) -> str

It returns when all of `notices` were taken, with what the receiver answered, in words for a person and without secrets
("" when it says nothing). It raises `PassingError` when another try may help (a timeout, a refused
connection, a 5xx, a 429 with its Retry-After) and `PermanentError` when none can (a 4xx); anything else is a defect of
its own. After a PermanentError for several the caller tries each alone, so one bad notice costs the others nothing.
At least once is promised, exactly once is not: a process that dies between the send and the note of it sends again.

Each file exports

    Config      a frozen msgspec Struct with `forbid_unknown_fields=True`
    notify      the function
    check       optional: `check(config) -> Iterable[tuple[path, message]]`, mistakes that types cannot express
    resend_s    optional: `resend_s(config) -> float | None`, how often to say again what still holds; None, and the
                default: only changes are told
    split       optional: `split(config) -> Mapping[str, Config]`, one config for each address that must hear of
                everything for itself, with its own queue and retries, by a name that shows no secret
    BATCH       optional: how many notices it takes at once, 64 if it does not say
    MODES       optional: in which modes of alerting (`Mode`) it has a place, `("notify",)` if it does not say

Kinds import no other kind; what they share lies below them, in `perfmon.post`.
"""

from functools import lru_cache
from typing import Literal, get_args

import msgspec

from perfmon.model import Labels

__all__ = ["ALL_MODES", "Mode", "Notice", "fingerprint"]

Mode = Literal["rules", "alertmanager", "notify"]
"""Who alerts: Prometheus alone, Alertmanagers that perfmon tells, or perfmon itself."""

ALL_MODES: tuple[Mode, ...] = get_args(Mode)


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One alert as a receiver is told of it. It is about to leave the process, so its instants are Unix time."""

    labels: Labels  # the alert's identity
    annotations: Labels
    why: str  # in words: what was expected, what was seen
    starts_at: float  # when it began to fire; the same number in every notice of one episode
    ends_at: float | None = None  # when it was over; None while it fires
    valid_until: float | None = None  # of a firing one that is told again: until when it holds without that
    reminder_at: float | None = None  # set when it was told before and still fires: when the reminder was due
    page_url: str = ""  # perfmon's own page
    receiver: str = "perfmon"  # who is told, as the user named it; filled in when it is told

    @property
    def status(self) -> Literal["firing", "resolved"]:
        """Alertmanager's word for it."""
        return "firing" if self.ends_at is None else "resolved"

    @property
    def lasted_s(self) -> float:
        """How long it fired until it was over, or until this reminder; 0 when it has just begun."""
        until = self.ends_at if self.ends_at is not None else self.reminder_at
        return 0.0 if until is None else until - self.starts_at

    @property
    def fingerprint(self) -> str:
        """The identity in 16 hex digits."""
        return fingerprint(self.labels)


def fingerprint(labels: Labels) -> str:
    """The identity of an alert, the same as Alertmanager's: FNV-1a (64 bit) of the sorted labels, in 16 hex digits.

    https://github.com/prometheus/common/blob/main/model/signature.go: each name and value is followed by a byte 255.
    """
    return _fnv1a(tuple(sorted(labels.items())))


@lru_cache(maxsize=1024)  # the same alert is asked for many times in a row, and 20 us each add up
def _fnv1a(labels: tuple[tuple[str, str], ...]) -> str:
    text = b"".join(name.encode() + b"\xff" + value.encode() + b"\xff" for name, value in labels)
    digest = 0xCBF29CE484222325
    for byte in text:
        digest = ((digest ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{digest:016x}"
