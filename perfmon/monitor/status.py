"""What the page and `/api/v1` show, as JSON-ready values; docs/api.md describes the shape."""

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec.structs import asdict

import perfmon
from perfmon.clock import Clock, to_wall
from perfmon.explanation import settings
from perfmon.maintenance import Open
from perfmon.model import Alert, Labels, Measurement
from perfmon.monitor import history
from perfmon.monitor.calendar import Calendar
from perfmon.monitor.deliveries import Delivery
from perfmon.monitor.exemplar import Exemplar, RunId, check_id
from perfmon.monitor.notify import Notifier
from perfmon.monitor.recent import Run, Spell, shifted
from perfmon.monitor.series import MINUTES, CheckSeries, Minute, SamplerSeries, SampleSeries, Series
from perfmon.monitor.tally import QUARTER_S
from perfmon.receivers import fingerprint

__all__ = ["Show", "alerts", "days", "run", "shown_alert", "shown_deliveries", "target", "targets"]

TURN_S = 0.0005
"""How long an answer is put together before others get their turn on the event loop."""

_SAME_MS = 2.0
"""How far the same instant may lie apart, told once by the wall clock of then and once by that of now."""

Json = dict[str, Any]
Subject = TypeVar("Subject")


async def targets(series: Series, clock: Clock, *, started_at: float, minutes: int) -> Json:
    """Every probe and sampler with its state, its last run, and as many minutes of its last hour."""
    show = Show(series, clock, minutes)
    return {
        "now": clock.wall(),
        "version": perfmon.__version__,
        "started_at": to_wall(clock, started_at),
        "probes": await _in_turns(clock, show.probe, series.checks.values()),
        "samplers": await _in_turns(clock, show.sampler, series.samplers.values()),
    }


async def days(series: Series, clock: Clock) -> Json:
    """The last day of every probe: of each quarter of an hour the share of runs that failed."""
    minute = series.minute(clock.monotonic())
    newest = series.minute_began(minute // 15 * 15) + to_wall(clock, 0.0)

    def shown(past: CheckSeries) -> Json:
        return {
            "key": past.check.key,
            "failed": history.failed_shares(past.quarters(minute, history.DAY_QUARTERS)),
            "success_ratio": history.success_ratio(past.counts(history.PERIODS["24h"], minute)),
        }

    return {
        "now": clock.wall(),
        "from": round(newest) - (history.DAY_QUARTERS - 1) * QUARTER_S,
        "every_s": QUARTER_S,
        "probes": await _in_turns(clock, shown, series.checks.values()),
    }


def target(key: str, series: Series, known: Iterable[Alert], clock: Clock, calendar: Calendar | None = None) -> Json:
    """One probe with all that is known of it, and the alerts about it; `probe` is None for one that is not watched."""
    past = series.checks.get(key)
    if past is None:
        shown, windows = None, []
    else:
        shown = Show(series, clock, MINUTES).probe_in_full(past)
        windows = [] if calendar is None else calendar.past_day(past.check.labels, past.check.target.tags)
    return {
        "now": clock.wall(),
        "version": perfmon.__version__,
        "probe": shown,
        "maintenance": [_window(one) for one in windows],
        "alerts": [shown_alert(alert, clock) for alert in known if alert.series == key],
    }


def run(sought: RunId, series: Series, kept: Callable[[str], Exemplar | None], clock: Clock) -> Json:
    """One run by its id; `kept` says what is known of it as an exemplar, by the key of its check.

    `run` is None when its check is not watched. Of a run that is not kept any more, the figures are None.
    """
    past = next((past for key, past in series.checks.items() if check_id(key) == sought.check), None)
    return {
        "now": clock.wall(),
        "version": perfmon.__version__,
        "run": None if past is None else Show(series, clock, MINUTES).run(sought, past, kept(past.check.key)),
    }


async def alerts(
    known: Iterable[Alert],
    notifier: Notifier,
    clock: Clock,
    *,
    mode: str,
    maintenance: Iterable[Open],
    coming: Iterable[Open] = (),
) -> Json:
    """Every alert that is pending or firing, or was resolved and has not been pending since, and who was told of it.

    `maintenance` are the windows that are open, `coming` the next ones.
    """

    def show(alert: Alert) -> Json:
        return shown_alert(alert, clock) | _told(notifier, alert)

    return {
        "now": clock.wall(),
        "mode": mode,
        "maintenance": [_window(one) for one in maintenance],
        "maintenance_next": [_window(one) for one in coming],
        "alerts": await _in_turns(clock, show, known),
    }


def _window(one: Open) -> Json:
    return {"name": one.window.name, "since": one.since, "until": one.until}


async def _in_turns(clock: Clock, show: Callable[[Subject], Json], subjects: Iterable[Subject]) -> list[msgspec.Raw]:
    """What is shown of each, as JSON: a page over a thousand targets takes 30 ms, for which no probe should wait."""
    shown: list[msgspec.Raw] = []
    turn = clock.monotonic()
    for subject in list(subjects):
        shown.append(msgspec.Raw(msgspec.json.encode(show(subject))))
        if clock.monotonic() - turn >= TURN_S:
            await asyncio.sleep(0)
            turn = clock.monotonic()
    return shown


class Show:
    """One answer's view of the series: the same minute and the same wall clock for all of it."""

    def __init__(self, series: Series, clock: Clock, minutes: int) -> None:
        self._series = series
        self._minute = series.minute(clock.monotonic())
        self._offset = to_wall(clock, 0.0)
        self._minutes = minutes

    def probe(self, past: CheckSeries) -> Json:
        """A probe with its state, its last run and its hour."""
        runs, failures = past.totals(self._minute)
        p50, p95, p99 = past.quantiles(self._minute) or (None, None, None)
        check = past.check
        return {
            "key": check.key,
            "probe": check.target.probe,
            "target": check.target.address,
            "module": check.module.name,
            "kind": check.module.kind,
            "labels": _plain(check.target.labels),
            "group": check.target.labels.get("group", ""),
            "tags": list(check.target.tags),
            "interval_s": check.interval_s,
            "state": "unknown" if past.last is None else "up" if past.last.success else "down",
            "since": self.wall(past.state_since),
            "runs": past.runs,
            "failures": past.failures,
            "last": None if past.last is None else self._run(past.last),
            "last_failure": None if past.last_failure is None else self._failure(past.last_failure),
            "p50": p50,
            "p95": p95,
            "p99": p99,
            "success_ratio": 1 - failures / runs if runs else None,
            "history": [self._minute_json(minute) for minute in past.history(self._minute, self._minutes)],
        }

    def probe_in_full(self, past: CheckSeries) -> Json:
        """The same with its newest runs, its failures and its settings."""
        check, recent = past.check, past.recent
        tails = past.tails(self._minute)
        shown = self.probe(past)
        for entry, minute in zip(shown["history"], past.history(self._minute), strict=True):
            entry["p95"], entry["p99"] = tails.get(minute.number, (None, None))
        return shown | {
            "hostname": check.target.hostname,
            "timeout_s": check.module.timeout_s,
            "interval_failing_s": check.interval_failing_s,
            "confirm": None if check.confirm is None else asdict(check.confirm),
            "config": settings(check.module),
            "failing": {"runs": recent.failed_in_a_row, "since": self.wall(recent.failing_since)},
            "recent": [asdict(run) | {"at": self.wall(run.at)} for run in recent.runs()],
            "failure_spells": [self._spell(spell) for spell in recent.spells()],
            "uptime": history.uptime(past, self._minute),
            **history.strips(past, self._minute),
            "incidents": [history.incident(one, self._shift) for one in past.incidents.newest_first()],
        }

    def run(self, sought: RunId, past: CheckSeries, kept: Exemplar | None) -> Json:
        """A run of a probe: one that stands for a bucket of its latency, or one of its newest."""
        check = past.check
        known = None if kept is None else Run(at=kept[1], duration_s=kept[0], success=kept[3] == "none", phases=kept[2])
        if known is None:
            near = (one for one in past.recent.runs() if abs((one.at + self._offset) * 1000 - sought.at_ms) < _SAME_MS)
            known = next(near, None)
        return {
            "id": str(sought),
            "key": check.key,
            "probe": check.target.probe,
            "target": check.target.address,
            "at": sought.at_ms / 1000,
            "duration_s": None if known is None else known.duration_s,
            "success": None if known is None else known.success,
            "phases": None if known is None else _plain(known.phases),
            "reason": None if kept is None or kept[3] == "none" else kept[3],
        }

    def sampler(self, past: SamplerSeries) -> Json:
        """A sampler with its series."""
        return self.reading(past) | {"series": [self.sample(series) for series in past.current()]}

    def reading(self, past: SamplerSeries) -> Json:
        """A sampler, and how its last reading went."""
        last = past.last
        return {
            "key": past.sampler.key,
            "sampler": past.sampler.name,
            "kind": past.sampler.kind,
            "labels": _plain(past.sampler.labels),
            "interval_s": past.sampler.interval_s,
            "state": "unknown" if last is None else "down" if last.error else "up",
            "since": self.wall(past.state_since),
            "last": None
            if last is None
            else {"at": self.wall(last.at), "duration_s": last.duration_s, "error": last.error},
        }

    def _run(self, run: Measurement) -> Json:
        return {
            "at": self.wall(run.at),
            "duration_s": run.duration_s,
            "phases": _plain(run.phases),
            "failure": None if run.failure is None else asdict(run.failure),
            "earlier": [self._earlier(one) for one in run.earlier],
        }

    def _earlier(self, attempt: Measurement) -> Json:
        """A try of a run that was repeated."""
        failure = attempt.failure
        return {
            "at": self.wall(attempt.at),
            "duration_s": attempt.duration_s,
            "reason": None if failure is None else failure.reason,
            "message": "" if failure is None else failure.message,
        }

    def _failure(self, run: Measurement) -> Json:
        assert run.failure is not None, "only failed runs are kept as the last failure"
        return {
            "at": self.wall(run.at),
            "reason": run.failure.reason,
            "phase": run.failure.phase,
            "message": run.failure.message,
        }

    def _spell(self, spell: Spell) -> Json:
        return asdict(shifted(spell, self._shift))

    def _minute_json(self, minute: Minute) -> Json:
        return {
            "t": round(self._series.minute_began(minute.number) + self._offset),
            "runs": minute.runs,
            "failures": minute.failures,
            "p50": minute.p50_s if minute.runs else None,
            "max": minute.max_s if minute.runs else None,
        }

    def sample(self, series: SampleSeries) -> Json:
        """One series of a sampler with its hour."""
        history = series.history()[-self._minutes :]
        return {
            "name": series.what.name,
            "labels": _plain(series.what.labels),
            "type": series.type,
            "unit": series.unit,
            "value": _finite(series.level()),
            "history": [[self.wall(at), level] for at, level in history if math.isfinite(level)],
        }

    def wall(self, instant: float | None) -> float | None:
        """Unix time, to the millisecond."""
        return None if instant is None else self._shift(instant)

    def _shift(self, instant: float) -> float:
        return round(instant + self._offset, 3)


def shown_alert(alert: Alert, clock: Clock) -> Json:
    """One alert with what it says."""
    verdict = alert.verdict

    def wall(instant: float | None) -> float | None:
        return None if instant is None else round(to_wall(clock, instant), 3)

    return {
        "rule": alert.rule,
        "state": alert.state,
        "labels": _plain(alert.labels),
        "annotations": _plain(alert.annotations),
        "active_at": wall(alert.active_at),
        "fired_at": wall(alert.fired_at),
        "resolved_at": wall(alert.resolved_at),
        "value": None if verdict is None else _finite(verdict.value),
        "limit": None if verdict is None else _finite(verdict.limit),
        "why": _why(alert),
        "held_back": alert.held,
    }


def shown_deliveries(deliveries: Mapping[str, Delivery]) -> list[Json]:
    """What each address was told last of an alert."""
    return [{"to": address} | asdict(told) for address, told in deliveries.items()]


def _told(notifier: Notifier, alert: Alert) -> Json:
    """What each address was told last, and what it has yet to hear."""
    identity = fingerprint(alert.labels)
    return {
        "fingerprint": identity,
        "told": shown_deliveries(notifier.deliveries(identity)),
        "waiting": [{"to": address} | waiting._asdict() for address, waiting in notifier.waiting(identity).items()],
    }


def _why(alert: Alert) -> str:
    if alert.verdict is None:
        return ""
    if alert.state == "firing" and not alert.verdict.broken:
        return f"fine again, but kept firing for a while: {alert.verdict.why}"
    return alert.verdict.why


def _plain(labels: Labels | Any) -> dict[str, Any]:
    return dict(labels)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
