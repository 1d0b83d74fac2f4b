"""Tell the receivers: a thread and a bounded queue for each, so one that hangs delays nobody else.

A notice goes into the state file's outbox in the same transaction as the alert's new state, is sent once that is
written, and leaves the outbox right after it arrived. So a daemon that is killed loses no notice, and none is sent
twice but for one case: it arrived, and the daemon died in the milliseconds before the file said so. Alertmanager takes
that for the same alert (equal labels and startsAt); a webhook's reader can by `fingerprint` and `startsAt`.
"""

import random
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import structlog
from msgspec.structs import replace

from perfmon import kinds
from perfmon.clock import Clock
from perfmon.errors import PassingError, PermanentError
from perfmon.model import Alert, Receiver
from perfmon.monitor.deliveries import Deliveries, Delivery, Said
from perfmon.monitor.mailbox import RESOLVED_AGAIN_S, Mailbox
from perfmon.monitor.store import Store
from perfmon.receivers import Notice

__all__ = ["OUTCOMES", "Callback", "Notifier", "Outcome", "Waiting", "backoff_s", "reminder_due"]

OUTCOMES = ("sent", "retried", "failed", "dropped")

Callback = Callable[[Notice], object]
"""A function of the program that perfmon runs in."""

Outcome = Callable[[str, str], None]
"""Called with a receiver's name and one of `OUTCOMES`, once a notice, from any thread."""

NONE_OWN: Mapping[str, float] = MappingProxyType({})
BATCH = 64
FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 60.0
WRITE_AHEAD_S = 1.0  # a disk that hangs holds a page up no longer than this
STALE_AFTER_RESENDS = 4  # as Prometheus: endsAt of a firing alert is four resends ahead


class Notifier:
    """All receivers. `tell`, `replace` and `stop` belong to one thread, the daemon's."""

    def __init__(
        self,
        receivers: Iterable[Receiver],
        *,
        clock: Clock,
        store: Store,
        page_url: str = "",
        on_outcome: Outcome = lambda _receiver, _outcome: None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        """Take up where the former life of the daemon ended: send what is in its outbox, tell again what fires."""
        self._clock = clock
        self._store = store
        self._page_url = page_url
        self._on_outcome = on_outcome
        self._callbacks = _parts_of_callbacks(callbacks)
        self._deliveries = Deliveries(store)
        # What came due while nobody was there is said at once: a restart skips no reminder.
        self._reminded_at = clock.monotonic() - store.unwatched_s()
        self._workers: dict[str, _Worker] = {}
        self._hire(receivers, store.alerts())

    def tell(self, alerts: Sequence[Alert]) -> None:
        """Queue alerts that began to fire or were resolved, for every receiver. Returns at once."""
        notices = [self._notice(alert) for alert in alerts]
        with self._store.together() as written:
            for worker in self._workers.values():
                worker.put(notices, written)

    def remind(self, alerts: Iterable[Alert], of_rules: Mapping[str, float] = NONE_OWN) -> None:
        """Say again what still fires to those whose time has come; call it every second or so.

        Everybody's time counts from when the alert began to fire, however late he heard of that. A rule's own time, in
        seconds by its name, is that of all receivers.
        """
        since, self._reminded_at = self._reminded_at, self._clock.monotonic()
        if not of_rules and not any(worker.part.reminder_s for worker in self._workers.values()):
            return
        for alert in alerts:
            if alert.state == "firing" and alert.fired_at is not None:
                self._remind(alert, alert.fired_at, of_rules.get(alert.rule, 0.0), since)

    def beat(self, notice: Notice) -> None:
        """Tell those that want to be told again and again of something that holds until its `valid_until`."""
        with self._store.together() as written:
            for worker in self._workers.values():
                if _resend_s(worker.part) is not None:
                    worker.put([notice], written)

    def deliveries(self, fingerprint: str) -> Mapping[str, Delivery]:
        """What came of telling of an alert, by address: the receiver's name, and its own where it has several."""
        return self._deliveries.of(fingerprint)

    def waiting(self, fingerprint: str) -> "dict[str, Waiting]":
        """Who has yet to hear of an alert, by address."""
        found = {name: worker.waiting(fingerprint) for name, worker in self._workers.items()}
        return {name: waiting for name, waiting in found.items() if waiting is not None}

    def replace(self, receivers: Iterable[Receiver], alerts: Iterable[Alert]) -> None:
        """Go on with other receivers: those whose name and kind stay keep their queue, the others' is dropped.

        A new one that wants to be told again and again hears of `alerts`, all that there are.
        """
        receivers = list(receivers)
        kept = {part.name: part.kind for part in self._all_parts(receivers)}
        for name, worker in list(self._workers.items()):
            if kept.get(name) is not worker.part.kind:
                worker.dismiss()
                del self._workers[name]
        self._hire(receivers, alerts)

    def take_up(self, alerts: Iterable[Alert]) -> None:
        """Send what a former life left unsent in a state file that is there only now, and tell again of its alerts."""
        outbox, told = self._store.outbox(), self._told(alerts)
        with self._store.together() as written:
            for worker in self._workers.values():
                worker.take_up(outbox.get(worker.part.name, ()), told, written)

    def queued(self) -> Mapping[str, int]:
        """Notices waiting, by the name of the receiver."""
        counts: dict[str, int] = {}
        for worker in self._workers.values():
            counts[worker.part.receiver] = counts.get(worker.part.receiver, 0) + worker.queued()
        return counts

    def stop(self, deadline_s: float) -> int:
        """Send what can be sent within `deadline_s` and stop; answers how many notices stay in the outbox."""
        deadline = self._clock.monotonic() + deadline_s
        for worker in self._workers.values():
            worker.stop(deadline)
        for worker in self._workers.values():
            worker.join(max(0.0, deadline - self._clock.monotonic()))
        return sum(self.queued().values())

    def _hire(self, receivers: Iterable[Receiver], alerts: Iterable[Alert]) -> None:
        outbox = self._store.outbox()
        parts = self._all_parts(receivers)
        new = [part for part in parts if part.name not in self._workers]
        told = self._told(alerts) if new else []
        for part in parts:
            if part not in new:
                self._workers[part.name].reconfigure(part)
        for part in new:
            worker = self._workers[part.name] = _Worker(
                part, self._clock, self._store, self._on_outcome, self._deliveries
            )
            worker.start(outbox.get(part.name, ()), told)
        for name, notices in outbox.items():
            if name not in self._workers:
                self._abandon(name, notices)

    def _all_parts(self, receivers: Iterable[Receiver]) -> "list[_Part]":
        return [*(part for receiver in receivers for part in _parts(receiver)), *self._callbacks]

    def _remind(self, alert: Alert, fired_at: float, of_rule_s: float, since: float) -> None:
        for worker in self._workers.values():
            every_s = 0.0 if _resend_s(worker.part) is not None else of_rule_s or worker.part.reminder_s
            due_at = reminder_due(fired_at, every_s, since, self._reminded_at)
            if due_at is None:
                continue
            notice = replace(self._notice(alert), reminder_at=self._store.wall(alert, fired_at) + due_at - fired_at)
            with self._store.together() as written:
                worker.put([notice], written)

    def _abandon(self, name: str, notices: Sequence[Notice]) -> None:
        _log().warning("notifications are left for a receiver that is gone", receiver=name, dropped=len(notices))
        for notice in notices:
            self._store.put_outbox(name, notice.fingerprint, ())
            self._on_outcome(name, "dropped")

    def _told(self, alerts: Iterable[Alert]) -> list[tuple[Notice, float]]:
        """Notices of what fires or was resolved lately, each with the instant up to which it is told again."""
        now = self._clock.monotonic()
        found = []
        for alert in alerts:
            until = float("inf") if alert.resolved_at is None else alert.resolved_at + RESOLVED_AGAIN_S
            if alert.fired_at is not None and until > now:
                found.append((self._notice(alert), until))
        return found

    def _notice(self, alert: Alert) -> Notice:
        assert alert.fired_at is not None, "only what has fired is told"
        starts_at = self._store.wall(alert, alert.fired_at)
        ended = None if alert.resolved_at is None else self._store.wall(alert, alert.resolved_at)
        return Notice(
            labels=alert.labels,
            annotations=alert.annotations,
            why=alert.verdict.why if alert.verdict else "",
            starts_at=starts_at,
            # A wall clock that was set back meanwhile must not end an episode before it began.
            ends_at=None if ended is None else max(ended, starts_at),
            page_url=self._page_url,
        )


class _Part(NamedTuple):
    """One address that must hear of everything for itself."""

    receiver: str  # as the user named it
    name: str  # the outbox knows it by this
    kind: Any  # the module, or what does as it does
    config: Any
    send_resolved: bool = True
    reminder_s: float = 0.0


class Waiting(NamedTuple):
    """What an address has yet to hear of an alert."""

    statuses: tuple[str, ...]
    retry_in_s: float | None  # None when it is being told now, or soon
    trouble: str


class _ByCall:
    """What a kind of receiver does, for a function in place of settings."""

    BATCH = 1

    @staticmethod
    def notify(notices: Sequence[Notice], callback: Callback) -> str:
        for notice in notices:
            callback(notice)
        return ""


class _Worker:
    """The thread and the mailbox of one part of a receiver.

    The store's lock is taken before the worker's own (`Store.together`), here as in `Notifier.tell`.
    """

    def __init__(self, part: _Part, clock: Clock, store: Store, on_outcome: Outcome, deliveries: Deliveries) -> None:
        self.part = part
        self._clock = clock
        self._store = store
        self._on_outcome = on_outcome
        self._deliveries = deliveries
        self._changed = threading.Condition()  # its lock is reentrant
        self._mailbox = Mailbox(batch=getattr(part.kind, "BATCH", BATCH), resend_s=_resend_s(part))
        self._written = threading.Event()  # of the newest note in the outbox; older ones were written before it
        self._written.set()
        self._until: float | None = None  # set when it is to stop
        self._dismissed = False
        self._retries = 0
        self._trouble = ""  # what was last said in the log
        self._thread = threading.Thread(target=self._run, name=f"perfmon-notify-{part.name}", daemon=True)

    def start(self, unsent: Iterable[Notice], told: Iterable[tuple[Notice, float]]) -> None:
        for notice in unsent:
            self._mailbox.put(notice)
        for notice, until in told:
            self._mailbox.resume(notice, until)
        self._thread.start()

    def put(self, notices: Iterable[Notice], written: threading.Event) -> None:
        with self._changed:
            for notice in notices:
                self._put(notice)
            self._written = written
            self._changed.notify_all()

    def _put(self, notice: Notice) -> None:
        if notice.ends_at is not None and not self.part.send_resolved:
            self._mailbox.withdraw(notice.fingerprint)
        else:
            for lost in self._mailbox.put(notice):
                self._store.put_outbox(self.part.name, lost, self._mailbox.unsent(lost))
                self._on_outcome(self.part.receiver, "dropped")
        self._note(notice)

    def waiting(self, identity: str) -> Waiting | None:
        with self._changed:
            unsent = self._mailbox.unsent(identity)
            until = self._mailbox.postponed_until
            pause_s = None if until is None else max(0.0, until - self._clock.monotonic())
            statuses = tuple(notice.status for notice in unsent)
            return Waiting(statuses, pause_s, self._trouble) if unsent else None

    def take_up(self, unsent: Iterable[Notice], told: Iterable[tuple[Notice, float]], written: threading.Event) -> None:
        with self._changed:
            known = set(self._mailbox.identities())
            self.put([notice for notice in unsent if notice.fingerprint not in known], written)
            for notice, until in told:
                self._mailbox.resume(notice, until)

    def reconfigure(self, part: _Part) -> None:
        with self._changed:
            self.part = part
            self._mailbox.resend_s = _resend_s(part)
            self._mailbox.hurry()
            self._changed.notify_all()

    def queued(self) -> int:
        with self._changed:
            return len(self._mailbox)

    def dismiss(self) -> None:
        """Send nothing any more, and forget what was left."""
        with self._store.together(), self._changed:
            self._dismissed = True
            self._until = self._clock.monotonic()
            for identity in self._mailbox.identities():
                for _ in self._mailbox.unsent(identity):
                    self._on_outcome(self.part.receiver, "dropped")
                self._store.put_outbox(self.part.name, identity, ())
            self._changed.notify_all()

    def stop(self, deadline: float) -> None:
        with self._changed:
            self._until = deadline
            self._mailbox.hurry()
            self._changed.notify_all()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        while True:
            with self._changed:
                batch = self._wait_for_batch()
                written, part = self._written, self.part
            if not batch:
                return
            # Sent before it is written, a notice would be sent again by a daemon that was killed in between.
            written.wait(WRITE_AHEAD_S)
            self._deliver(batch, part)

    def _wait_for_batch(self) -> list[Notice]:
        """What to send next; empty when it is time to go."""
        while self._until is None:
            now = self._clock.monotonic()
            batch = self._mailbox.take(now)
            if batch:
                return batch
            self._changed.wait(self._mailbox.due_in(now))
        now = self._clock.monotonic()
        out_of_time = self._dismissed or now >= self._until or not len(self._mailbox)
        return [] if out_of_time else self._mailbox.take(now)

    def _deliver(self, batch: Sequence[Notice], part: _Part) -> None:
        try:
            words = part.kind.notify([self._stamped(notice, part) for notice in batch], part.config)
        except PassingError as error:
            self._postpone(batch, error)
        except PermanentError as error:
            if len(batch) == 1:
                self._settle(batch, "failed", str(error), f"refused: {error}")
            else:
                for notice in batch:
                    self._deliver([notice], part)
        except Exception as error:  # noqa: BLE001 - a receiver's defect costs its notice only
            self._settle(batch, "failed", f"a defect: {type(error).__name__}", f"defect: {error!r}", defect=error)
        else:
            self._settle(batch, "sent", words or "", "")

    def _stamped(self, notice: Notice, part: _Part) -> Notice:
        notice = replace(notice, receiver=part.receiver)
        resend_s = self._mailbox.resend_s
        if resend_s is None or notice.ends_at is not None or notice.valid_until is not None:
            return notice
        ahead = STALE_AFTER_RESENDS * resend_s
        return replace(notice, valid_until=max(self._clock.wall(), notice.starts_at) + ahead)

    def _settle(
        self, batch: Sequence[Notice], outcome: str, words: str, trouble: str, defect: Exception | None = None
    ) -> None:
        with self._store.together() as written, self._changed:
            if self._dismissed:
                return
            # The next is not sent before the file says that these were: a crash repeats one batch at most.
            self._written = written
            self._retries = 0
            self._mailbox.settle(batch, self._clock.monotonic())
            for notice in batch:
                self._note(notice)
                self._came_to(notice, outcome, words)
        self._say(trouble, defect)

    def _postpone(self, batch: Sequence[Notice], error: PassingError) -> None:
        jitter = random.random()  # noqa: S311 - spreads retries, guards no secret
        delay_s = backoff_s(self._retries, error.retry_after_s, jitter)
        with self._store.together(), self._changed:
            if self._dismissed:
                return
            self._retries += 1
            self._mailbox.postpone(batch, self._clock.monotonic() + delay_s)
            for notice in batch:
                self._came_to(notice, "retried", str(error))
            if self._until is not None:
                self._until = self._clock.monotonic()  # one more try was all there is at the end
        self._say(f"retried: {error}")

    def _note(self, notice: Notice) -> None:
        if notice.valid_until is None:  # else another one comes soon, and this one is of no use to the next life
            self._store.put_outbox(self.part.name, notice.fingerprint, self._mailbox.unsent(notice.fingerprint))

    def _came_to(self, notice: Notice, outcome: str, words: str) -> None:
        self._on_outcome(self.part.receiver, outcome)
        now = self._clock.wall()
        said: Said = "reminder" if notice.reminder_at is not None else notice.status
        told = Delivery(said=said, starts_at=notice.starts_at, outcome=outcome, words=words, at=now, again_at=now)
        self._deliveries.note(notice.fingerprint, self.part.name, told)

    def _say(self, trouble: str, defect: Exception | None = None) -> None:
        """One line for each change of what is wrong."""
        if trouble == self._trouble:
            return
        self._trouble = trouble
        if trouble:
            _log().warning("notification did not arrive", receiver=self.part.name, error=trouble, exc_info=defect)
        else:
            _log().info("receiver takes notifications again", receiver=self.part.name)


def backoff_s(retries: int, retry_after_s: float | None, jitter: float) -> float:
    """How long to wait after that many retries in a row, but no shorter than the receiver asked for.

    It doubles from 1 s to 1 min; `jitter` from 0 to 1 picks a point of its upper half.
    """
    longest = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(retries, 16))
    return max(longest * (1 + jitter) / 2, retry_after_s or 0.0)


def reminder_due(fired_at: float, every_s: float, after: float, until: float) -> float | None:
    """The last time of `fired_at` + k x `every_s`, k = 1, 2, ..., that lies in (after, until]; None when none does."""
    if every_s <= 0:
        return None
    # Counted on both sides alike: compared as instants, one that falls on a side would be lost to rounding.
    before, by_now = (max(0.0, (instant - fired_at) // every_s) for instant in (after, until))
    return fired_at + by_now * every_s if by_now > before else None


def _parts_of_callbacks(callbacks: Sequence[Callback]) -> list[_Part]:
    """By name, so that a restart finds what is left for each in the outbox; of one name, numbered."""
    parts: list[_Part] = []
    for callback in callbacks:
        name = f"on_alert {getattr(callback, '__qualname__', type(callback).__qualname__)}"
        number = sum(part.name.partition("#")[0] == name for part in parts)
        name = f"{name}#{number + 1}" if number else name
        parts.append(_Part(name, name, _ByCall, callback))
    return parts


def _parts(receiver: Receiver) -> list[_Part]:
    kind = kinds.load("receivers", receiver.kind)
    telling = (receiver.send_resolved, receiver.reminder_s)
    if not hasattr(kind, "split"):
        return [_Part(receiver.name, receiver.name, kind, receiver.config, *telling)]
    addresses = kind.split(receiver.config).items()
    return [_Part(receiver.name, f"{receiver.name} {address}", kind, config, *telling) for address, config in addresses]


def _resend_s(part: _Part) -> float | None:
    ask = getattr(part.kind, "resend_s", None)
    return None if ask is None else float(ask(part.config))


def _log() -> structlog.typing.FilteringBoundLogger:
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger("perfmon.notify")
    return log
