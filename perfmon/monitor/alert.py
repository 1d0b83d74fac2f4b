"""From one verdict to the next state of an alert, as Prometheus' ruler does it, and pure.

    inactive ── broken ──> pending ── broken all through `for` ──> firing* ── fine all through `keep_firing_for` ──┐
       ^                      │        and nothing holds it back                                                   │
       ├────── fine ──────────┘                                                                                    │
       └─────────────────────────────────────── resolved_at is set* <──────────────────────────────────────────────┘
    * receivers are told

A rule with two levels makes two alerts, which differ in their label `severity`, as two rules of one name do in a ruler:
an alert's labels are its identity, so a severity that changed in place would be a new alert to Alertmanager and leave
the old one to time out. Critical implies warning: the warning goes on while the critical fires, and falling back to
it is no news. That the two do not both page is Alertmanager's inhibition (critical mutes warning of the same name).
"""

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from perfmon.model import Alert, Rule, Verdict

__all__ = ["Hold", "end", "next", "release", "resume", "seen_at"]

Hold = Callable[[Alert], str]
"""Why an alert must not fire yet, in words; "" when it may. Asked of one that otherwise would."""


def nothing_holds(_alert: Alert) -> str:
    """The `Hold` of a world without maintenance and dependencies."""
    return ""


def next(  # noqa: A001 - read as alert.next by callers
    alert: Alert, verdict: Verdict, rule: Rule, now: float, hold: Hold = nothing_holds
) -> tuple[Alert, bool]:
    """The alert after a verdict at `now`, and whether receivers are to be told: it began to fire, or it was resolved.

    No data counts as broken; `waiting` leaves everything as it is. `now` must not go back between calls.
    """
    if verdict.level == "waiting":
        return alert, False
    alert = replace(alert, verdict=verdict)
    return _broken(alert, rule, now, hold) if verdict.broken else _fine(alert, rule, now)


def release(alert: Alert, now: float, hold: Hold) -> tuple[Alert, bool]:
    """One that was held back, asked again between two verdicts, and whether receivers are to be told of it now."""
    return _fired(alert, now, hold)


def end(alert: Alert, why: str, now: float) -> tuple[Alert, bool]:
    """The alert after its rule or its series is gone, and whether receivers are to be told."""
    if alert.state != "firing":
        return replace(alert, state="inactive", held=""), False
    return _resolved(replace(alert, verdict=Verdict(level="ok", why=why)), now), True


def resume(alert: Alert, *, unwatched_s: float, now: float) -> Alert:
    """An alert of a former life of the daemon, `unwatched_s` seconds after that ended.

    The time in which nobody looked counts neither as broken nor as fine: `for` and `keep_firing_for` stand still in it.
    """
    if alert.state == "inactive":
        return alert
    if alert.state == "pending":
        return replace(alert, active_at=_later(alert.active_at, unwatched_s, now))
    # A firing one was written when its verdict last changed, so one that was broken then was so to the end.
    was_broken = alert.verdict is not None and alert.verdict.broken
    return replace(alert, broken_at=now if was_broken else _later(alert.broken_at, unwatched_s, now))


def seen_at(severity: str, severities: Sequence[str], verdict: Verdict) -> Verdict:
    """The verdict as the alert of one severity sees it: a warning leaves the critical of two levels fine."""
    if len(severities) > 1 and severity == "critical" and verdict.level == "warning":
        return replace(verdict, level="ok")
    return verdict


def _broken(alert: Alert, rule: Rule, now: float, hold: Hold) -> tuple[Alert, bool]:
    if alert.state == "firing":
        return replace(alert, broken_at=now), False
    if alert.state == "inactive":
        alert = replace(alert, state="pending", active_at=now, fired_at=None, resolved_at=None, notes={})
    alert = replace(alert, broken_at=now)
    assert alert.active_at is not None, "a pending alert knows since when"
    if now - alert.active_at < rule.for_s:
        return alert, False
    return _fired(alert, now, hold)


def _fired(alert: Alert, now: float, hold: Hold) -> tuple[Alert, bool]:
    held = hold(alert)
    if held:
        return replace(alert, held=held), False
    return replace(alert, state="firing", fired_at=now, held=""), True


def _fine(alert: Alert, rule: Rule, now: float) -> tuple[Alert, bool]:
    if alert.state == "inactive":
        return alert, False
    if alert.state == "pending":
        return replace(alert, state="inactive", active_at=None, broken_at=None, held=""), False
    if alert.broken_at is not None and now - alert.broken_at < rule.keep_firing_for_s:
        return alert, False
    return _resolved(alert, now), True


def _resolved(alert: Alert, now: float) -> Alert:
    return replace(alert, state="inactive", resolved_at=now)


def _later(instant: float | None, seconds: float, now: float) -> float:
    return now if instant is None else min(instant + seconds, now)
