"""What one receiver has yet to hear, and what it is to hear again: pure bookkeeping, no thread and no clock.

The newest state of an alert replaces an older one that was not sent yet, so a receiver that was away for an hour is
told what holds, not what held. One order is kept: an episode that ended is told as over before the next one begins.
"""

from collections.abc import Iterable, Sequence
from functools import reduce
from math import inf

import msgspec

from perfmon.receivers import Notice

__all__ = ["Mailbox", "merge"]

RESOLVED_AGAIN_S = 15 * 60.0
"""How long a resolved alert is told again, as Prometheus' `resolvedRetention`."""


class Mailbox:
    """One receiver's unsent notices by alert, in the order in which they came."""

    def __init__(self, *, batch: int, resend_s: float | None, capacity: int = 10_000) -> None:
        self.batch = batch
        self.resend_s = resend_s
        self.capacity = capacity  # alerts that may wait
        self._unsent: dict[str, tuple[Notice, ...]] = {}
        self._flying: dict[str, Notice] = {}
        self._again: dict[str, _Again] = {}  # by when it was sent last, earliest first
        self._not_before = -inf

    def __len__(self) -> int:
        """Notices that wait or are on their way."""
        return sum(map(len, self._unsent.values())) + len(self._flying)

    def put(self, notice: Notice) -> list[str]:
        """Add a notice; answers with the identities of alerts whose notices had to go for it.

        Nobody is reminded of what he has not heard yet.
        """
        identity = notice.fingerprint
        if notice.reminder_at is not None and self.unsent(identity):
            return []
        self._again.pop(identity, None)
        self._unsent[identity] = merge(self._unsent.get(identity, ()), notice)
        excess = list(self._unsent)[: max(0, len(self._unsent) - self.capacity)]
        for oldest in excess:
            del self._unsent[oldest]
        return excess

    def withdraw(self, identity: str) -> None:
        """What waits of one alert is not to be said any more; what is on its way is."""
        self._unsent.pop(identity, None)
        self._again.pop(identity, None)

    def resume(self, notice: Notice, until: float = inf) -> None:
        """Tell again, from now on, what a former life of the daemon told already."""
        identity = notice.fingerprint
        if self.resend_s is not None and identity not in self._unsent:
            self._again[identity] = _Again(notice, -inf, until)  # due at once: nobody knows when it was told last

    def unsent(self, identity: str) -> tuple[Notice, ...]:
        """What of one alert is not known to have arrived."""
        flying = self._flying.get(identity)
        return (() if flying is None else (flying,)) + self._unsent.get(identity, ())

    def identities(self) -> list[str]:
        """The alerts of which something is not known to have arrived."""
        return list(self._flying | self._unsent)

    def take(self, now: float) -> list[Notice]:
        """What to send now, at most one notice of an alert; it counts as on its way until told otherwise."""
        if now < self._not_before:
            return []
        for identity in list(self._unsent)[: self.batch]:
            first, *rest = self._unsent.pop(identity)
            self._flying[identity] = first
            if rest:
                self._unsent[identity] = tuple(rest)
        return [*self._flying.values(), *self._due_again(now)][: self.batch]

    def due_in(self, now: float) -> float | None:
        """Seconds until there is something to take, None when nothing is in sight."""
        if self._unsent:
            return max(0.0, self._not_before - now)
        first = next(iter(self._again.values()), None)
        if first is None or self.resend_s is None:
            return None
        return max(0.0, first.sent_at + self.resend_s - now, self._not_before - now)

    def settle(self, notices: Iterable[Notice], now: float) -> None:
        """These need no further try: they arrived, or never will. What is told again comes round again all the same."""
        self._not_before = -inf
        for notice in notices:
            identity = notice.fingerprint
            self._flying.pop(identity, None)
            before = self._again.pop(identity, None)
            if self.resend_s is None or identity in self._unsent or notice.valid_until is not None:
                continue  # or it says itself until when it holds
            until = inf if notice.ends_at is None else now + RESOLVED_AGAIN_S if before is None else before.until
            self._again[identity] = _Again(notice, now, until)

    def postpone(self, notices: Sequence[Notice], until: float) -> None:
        """These did not arrive: try again, but nothing at all before `until`."""
        self._not_before = until
        back = {}
        for identity in [notice.fingerprint for notice in notices]:
            flying = self._flying.pop(identity, None)
            if flying is not None:
                waiting: tuple[Notice, ...] = (flying,)
                back[identity] = reduce(merge, self._unsent.pop(identity, ()), waiting)
        self._unsent = back | self._unsent

    @property
    def postponed_until(self) -> float | None:
        """When the next try is made, where the last one failed."""
        return None if self._not_before == -inf else self._not_before

    def hurry(self) -> None:
        """Try at once what was postponed."""
        self._not_before = -inf

    def _due_again(self, now: float) -> list[Notice]:
        due: list[Notice] = []
        for identity, again in list(self._again.items()):
            if self.resend_s is None or now < again.sent_at + self.resend_s or len(due) >= self.batch:
                break
            if now >= again.until:
                del self._again[identity]
            else:
                due.append(again.notice)
        return due


def merge(unsent: tuple[Notice, ...], newest: Notice) -> tuple[Notice, ...]:
    """The notices of one alert once a newer one came: at most the end of one episode and the beginning of the next."""
    if newest.ends_at is not None:
        return (newest,)
    ended = [notice for notice in unsent if notice.ends_at is not None]
    return (*ended[-1:], newest)


class _Again(msgspec.Struct, frozen=True):
    notice: Notice
    sent_at: float
    until: float
