"""Bind rules to series as these come and go, evaluate them, and keep their alerts.

A rule is evaluated for a series at each new point (`evaluate`), and by `sweep` when no point comes. One whose condition
takes its time (`every_s`) is evaluated by `judge_next` alone, on the long past. States are put into the store
and receivers told in one transaction. All methods belong to one thread, the daemon's event loop.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from heapq import nsmallest
from itertools import islice
from typing import Protocol
from zlib import crc32

import msgspec
import structlog
from msgspec.structs import replace

from perfmon import kinds
from perfmon.annotation import annotate
from perfmon.clock import Clock
from perfmon.model import Alert, Count, Labels, Rule, Verdict, Window
from perfmon.monitor import alert as alerts
from perfmon.monitor.counting import counted
from perfmon.monitor.store import Store
from perfmon.monitor.turns import Turns
from perfmon.selection import PROBE_COUNTERS, matches

__all__ = ["Held", "Judged", "Rules"]

_log = structlog.get_logger(__name__)

WindowOf = Callable[[str, str, float, float], Window]
"""The series' key, the metric, the span in seconds, now."""
CountsOf = Callable[[str, str, Collection[float], float], Mapping[float, Count]]
"""The series' key, the metric, spans in seconds, now."""
Tell = Callable[[Sequence[Alert]], None]
Holds = Callable[[Alert, "Held"], str]
"""Why an alert must wait, in words; "" when it may fire."""
Show = Callable[[str, Labels, Mapping[str, float]], None]
"""A key for what is shown, its labels, and the verdict's facts; none when it is over."""

Selection = tuple[tuple[str, str], ...]
"""Labels and globs, as a key."""

SWEEP_AT_MOST = 100
ORPHAN_S = 3600.0
COUNTERS_AT_MOST = 32  # of a rule; each takes half a millisecond of a turn of the event loop


class Counters(Protocol):
    """What a condition wants counted beside the series, by its function `counters`."""

    @property
    def metric(self) -> str: ...

    @property
    def select(self) -> Labels: ...


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What hangs on an alert's series and rule when it is asked whether something holds it back."""

    tags: Collection[str]
    needs: Collection[Sequence[str]]  # the keys of the checks that each entry of `depends_on` names
    broken_since: float  # not before perfmon began to watch
    settles_s: float  # for how long the rule sees what was before


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule that takes its time says of a series."""

    rule: str
    metric: str
    span_s: float
    every_s: float
    verdict: Verdict | None  # None until it was judged for the first time


class Rules:
    """All rules, the series that they are bound to, and the alerts that are not inactive or were resolved once."""

    def __init__(
        self,
        rules: Iterable[Rule],
        *,
        window: WindowOf,
        long_window: WindowOf,
        show: Show,
        store: Store,
        tell: Tell,
        clock: Clock,
        on_defect: Callable[[str, Exception], None],
        counts: CountsOf = lambda *_: {},
        holds: Holds = lambda *_: "",
        page_url: str = "",
    ) -> None:
        """Take up the alerts that the store holds; they wait for their series to be added."""
        self.evaluations: Counter[str] = Counter()  # by the name of the rule
        self._window = window
        self._long_window = long_window
        self._counts = counts
        self._holds = holds
        self._page_url = page_url
        self._held: dict[tuple[str, _Identity], None] = {}  # alerts that are held back, the longest unasked first
        self._needed: dict[Selection, list[str]] = {}  # keys of series by entries of `depends_on`
        self._show = show
        self._store = store
        self._tell = tell
        self._clock = clock
        self._on_defect = on_defect
        self._rules = [_Judge(rule) for rule in rules]
        self._series: dict[str, _Series] = {}
        self._bound: dict[str, _Series] = {}  # those with a rule at least that is evaluated at each point
        self._appointments: dict[str, list[_Appointment]] = {}  # by series: the rules that are not
        self._born_at = clock.monotonic()
        self._alerts: dict[str, dict[_Identity, Alert]] = {}  # by series
        self.take_up(self._born_at)

    def add(
        self,
        key: str,
        labels: Labels,
        metrics: Collection[str],
        *,
        interval_s: float,
        now: float,
        tags: Collection[str] = (),
        depends_on: Sequence[Labels] = (),
    ) -> list[Alert]:
        """Begin to judge a series, or go on with other labels; answers with alerts told.

        `metrics` are those that `window` knows for this key, `interval_s` is how often a point is due.
        """
        if key in self._series:
            self._unbind(self._series[key])
        series = self._series[key] = _Series(key, labels, metrics, interval_s, now, tags=tags, depends_on=depends_on)
        self._needed.clear()
        self._bind(series, now)
        return self._end_gone(self._alerts_of(key), now)

    def remove(self, key: str, now: float) -> list[Alert]:
        """Judge a series no longer: what fires is resolved and forgotten; answers with alerts told."""
        series = self._series.pop(key, None)
        self._needed.clear()
        if series is not None:
            self._unbind(series)
        return self._end(self._alerts_of(key), _NOT_WATCHED, now)

    async def replace(self, rules: Iterable[Rule], now: float) -> list[Alert]:
        """Go on with other rules, series by series in turns with what else is to be done; answers with alerts told.

        An alert goes on when a rule of the new ones makes one with the same labels: with another limit or `for` it is
        still the same alert to those who were told. The others are resolved and forgotten.
        """
        rules = list(rules)
        if rules == [judge.rule for judge in self._rules]:
            return []
        self._rules = [_Judge(rule) for rule in rules]
        turns = Turns(self._clock)
        for series in list(self._series.values()):
            if self._series.get(series.key) is series:  # not one that went away in somebody else's turn
                self._unbind(series)
                self._bind(series, now)
            await turns.next()
        for name in self.evaluations.keys() - {rule.name for rule in rules}:
            del self.evaluations[name]
        told: list[Alert] = []
        for key in list(self._alerts):
            told += self._end_gone(self._alerts_of(key), now)
            await turns.next()
        return told

    def take_up(self, now: float) -> list[Alert]:
        """Go on with those alerts of a former life that are not known already; answers with them."""
        gap_s = self._store.unwatched_s()
        found = [alerts.resume(one, unwatched_s=gap_s, now=now) for one in self._store.alerts()]
        new = [one for one in found if _identity(one) not in self._alerts.get(one.series, {})]
        for one in new:
            self._keep(one)
        self._store.forget_alerts(one for one in found if one not in new)
        return new

    def settle(self, now: float, *, may_come: Callable[[str], bool]) -> list[Alert]:
        """Say that all series known at the start were added: alerts left over from the former life are resolved.

        Those whose series `may_come` later (a sampler's show at its first reading) wait for it, an hour at most.
        """
        orphans = self._orphans()
        lost = [found for found in orphans if not may_come(found.series)]
        waiting = [found for found in orphans if may_come(found.series)]
        return self._end(lost, _NOT_WATCHED, now) + self._end_gone(waiting, now)

    def evaluate(self, key: str, now: float) -> list[Alert]:
        """Judge a series that has a new point; answers with alerts told. Costs one look-up when no rule is bound."""
        series = self._bound.get(key)
        if series is None:
            return []
        return self._record(self._judged(series, now, rest=1.5))

    def sweep(self, now: float) -> list[Alert]:
        """Judge series that have been silent for one and a half intervals, then each half; answers with alerts told.

        At most 100 at a time, the longest due first, so that it never holds the event loop for long: with six rules
        each that takes 4 ms, and 25 ms when all of them begin to fire.
        """
        due = nsmallest(SWEEP_AT_MOST, self._due(now), key=lambda series: series.due_at)
        told = self._record([change for series in due for change in self._judged(series, now, rest=0.5)])
        told += self._release(now)
        if now - self._born_at < ORPHAN_S:
            return told
        return told + self._end(self._orphans(), "its series has not come back since the start an hour ago", now)

    def judge_next(self, now: float) -> list[Alert] | None:
        """Of the rules whose condition takes its time judge the one that is due the longest, in some 2 ms.

        Answers with alerts told, None when none is due.
        """
        due = (one for of_series in self._appointments.values() for one in of_series if now >= one.due_at)
        appointment = min(due, key=lambda one: one.due_at, default=None)
        if appointment is None:
            return None
        judge, series = appointment.judge, appointment.series
        # Times that were missed are not made up for.
        appointment.due_at += judge.every_s * (1 + (now - appointment.due_at) // judge.every_s)
        self.evaluations[judge.rule.name] += 1
        verdict = appointment.verdict = self._verdict(judge, series, now)
        self._show_facts(judge, series, verdict)
        return self._record(list(self._moved(judge, series, verdict, now)))

    def annotate(self, key: str, notes: Labels) -> list[Alert]:
        """Give what fires for a series annotations that stay as long as it does; answers with alerts told."""
        firing = [found for found in self._alerts_of(key) if found.state == "firing"]
        return self._record([_Change(alert=_noted(found, notes), told=True, gone=False) for found in firing])

    def alerts(self) -> list[Alert]:
        """Every alert that is pending or firing, or was resolved and has not been pending since."""
        return [found for of_series in self._alerts.values() for found in of_series.values()]

    def judged(self, key: str) -> list[Judged]:
        """What the rules that take their time said last of a series."""
        return [
            Judged(
                rule=one.judge.rule.name,
                metric=one.judge.rule.metric,
                span_s=one.judge.span_s,
                every_s=one.judge.every_s,
                verdict=one.verdict,
            )
            for one in self._appointments.get(key, ())
        ]

    def says_down(self, key: str) -> bool:
        """Whether a rule on a check's results says now that it is down, fired or not: of failures, or of silence."""
        of_results = {judge.rule.name for judge in self._rules if judge.says_down}
        return any(found.rule in of_results and _is_broken(found) for found in self._alerts_of(key))

    def states(self) -> Mapping[tuple[str, str], int]:
        """How many alerts are pending and firing, by rule and state, zeros included."""
        counts = {(judge.rule.name, state): 0 for judge in self._rules for state in ("pending", "firing")}
        for found in self.alerts():
            if found.state != "inactive":
                counts[found.rule, found.state] = counts.get((found.rule, found.state), 0) + 1
        return counts

    # ------------------------------------------------------------ binding

    def _bind(self, series: "_Series", now: float) -> None:
        judges = tuple(judge for judge in self._rules if judge.suits(series))
        series.judges = tuple(judge for judge in judges if not judge.every_s)
        if series.judges:
            self._bound[series.key] = series
        for judge in judges:
            if judge.count_spans:
                self._counts(series.key, judge.rule.metric, judge.count_spans, now)  # from now on they are kept
        for judge in self._rules:
            if judge.counters is not None and judge.counts(series):
                judge.counting.add(series.key)
                self._long_window(series.key, judge.counters.metric, judge.span_s, now)
            for beside in judge.beside:
                if beside.suits(series):
                    beside.keys.add(series.key)
                    self._long_window(series.key, beside.metric, judge.span_s, now)
        for judge in judges:
            if judge.every_s:
                # Where in its time a series is judged hangs on its name, so that not all are at once.
                place = crc32(f"{series.key} {judge.rule.name}".encode("utf-8", "replace")) / 2**32
                self._appointments.setdefault(series.key, []).append(
                    _Appointment(series, judge, now + place * judge.every_s)
                )
                self._long_window(series.key, judge.rule.metric, judge.span_s, now)  # from now on it is kept

    def _unbind(self, series: "_Series") -> None:
        self._bound.pop(series.key, None)
        for judge in series.judges:
            if judge.shows:
                self._show(_shown_key(judge.rule, series.key), {}, {})
        for judge in self._rules:
            judge.counting.discard(series.key)
            for beside in judge.beside:
                beside.keys.discard(series.key)
        for one in self._appointments.pop(series.key, ()):
            self._show(one.key, {}, {})

    def _end_gone(self, found: Iterable[Alert], now: float) -> list[Alert]:
        """Resolve those of the alerts that no rule makes any more."""
        return self._end((one for one in found if self._is_gone(one)), "its rule or its labels were changed", now)

    def _is_gone(self, found: Alert) -> bool:
        series = self._series.get(found.series)
        if series is None:
            return all(judge.rule.name != found.rule for judge in self._rules)
        return all(
            found.labels != judge.labels(series, severity)
            for judge in (*series.judges, *(one.judge for one in self._appointments.get(series.key, ())))
            for severity in judge.severities
        )

    def _end(self, found: Iterable[Alert], why: str, now: float) -> list[Alert]:
        ended = [alerts.end(one, why, now) for one in found]
        return self._record([_Change(alert=after, told=told, gone=True) for after, told in ended])

    def _alerts_of(self, key: str) -> list[Alert]:
        return list(self._alerts.get(key, {}).values())

    def _orphans(self) -> list[Alert]:
        """Alerts whose series has not come back since the restart."""
        return [found for key in self._alerts.keys() - self._series.keys() for found in self._alerts_of(key)]

    # ------------------------------------------------------------ judging

    def _due(self, now: float) -> Iterator["_Series"]:
        return (series for series in self._bound.values() if now >= series.due_at)

    def _judged(self, series: "_Series", now: float, *, rest: float) -> list["_Change"]:
        """What comes of judging a series that the sweep then leaves alone for `rest` of its intervals."""
        series.due_at = now + rest * series.interval_s
        changes: list[_Change] = []
        for judge in series.judges:
            self.evaluations[judge.rule.name] += 1
            verdict = self._verdict(judge, series, now)
            if judge.shows:
                self._show_facts(judge, series, verdict)
            changes += self._moved(judge, series, verdict, now)
        return changes

    def _show_facts(self, judge: "_Judge", series: "_Series", verdict: Verdict) -> None:
        labels = {"rule": judge.rule.name, "metric": judge.rule.metric} | dict(series.labels)
        self._show(_shown_key(judge.rule, series.key), labels, verdict.facts)

    def _verdict(self, judge: "_Judge", series: "_Series", now: float) -> Verdict:
        try:
            return judge.evaluate(self._seen(judge, series, now))
        except Exception as error:  # noqa: BLE001 - one rule's defect spares the others
            self._on_defect(f"rule {judge.rule.name}", error)
            return Verdict(level="waiting", why=f"the rule could not be evaluated: {error!r}")

    def _seen(self, judge: "_Judge", series: "_Series", now: float) -> Window:
        window = self._long_window if judge.every_s else self._window
        seen = window(series.key, judge.rule.metric, judge.span_s, now)
        if judge.count_spans:
            seen = replace(seen, counts=self._counts(series.key, judge.rule.metric, judge.count_spans, now))
        if judge.beside:
            # Of several nobody knows which is meant; the condition says that there is none.
            found = {one.metric: next(iter(one.keys)) for one in judge.beside if len(one.keys) == 1}
            brought = {name: self._long_window(key, name, judge.span_s, now) for name, key in found.items()}
            seen = replace(seen, beside=brought)
        if judge.counters is None or not 0 < len(judge.counting) <= COUNTERS_AT_MOST:
            return seen
        metric = judge.counters.metric
        counters = [self._long_window(key, metric, judge.span_s, now) for key in judge.counting]
        return replace(seen, requests=counted(seen.times, counters))

    def _moved(self, judge: "_Judge", series: "_Series", verdict: Verdict, now: float) -> Iterator["_Change"]:
        """The alerts of one rule on one series after a verdict, those that are worth a note."""
        known = self._alerts.get(series.key)
        if known is None and not verdict.broken:
            return
        for severity in judge.severities:
            before = known.get((judge.rule.name, severity)) if known else None
            if before is None:
                before = Alert(rule=judge.rule.name, labels=judge.labels(series, severity), series=series.key)
            seen = alerts.seen_at(severity, judge.severities, verdict)
            after, told = alerts.next(before, seen, judge.rule, now, partial(self._hold, series, judge))
            if _turned(before, after):
                yield _Change(alert=self._annotated(after, judge.rule), told=told, gone=_is_over(after))
            elif before.state != "inactive":
                self._keep(after)

    def _hold(self, series: "_Series", judge: "_Judge", found: Alert) -> str:
        assert found.active_at is not None, "a pending alert knows since when"
        return self._holds(
            found,
            Held(
                tags=series.tags,
                needs=[[key for key in self._keys(one) if key != series.key] for one in series.depends_on],
                broken_since=max(found.active_at, self._born_at),
                settles_s=judge.looks_back_s + 1.5 * series.interval_s,
            ),
        )

    def _keys(self, wanted: Selection) -> list[str]:
        """The series that an entry of `depends_on` names."""
        found = self._needed.get(wanted)
        if found is None:
            select = dict(wanted)
            named = (one for one in self._series.values() if one.is_check and matches(select, one.labels, one.tags))
            found = self._needed[wanted] = [one.key for one in named]
        return found

    def _release(self, now: float) -> list[Alert]:
        """Let go what nothing holds any more; of many the longest unasked, so that it takes no longer than a sweep."""
        changes = []
        for key, identity in list(islice(self._held, SWEEP_AT_MOST)):
            del self._held[key, identity]
            before = self._alerts.get(key, {}).get(identity)
            series = self._series.get(key)
            judge = next((one for one in self._rules if one.rule.name == identity[0]), None)
            if before is None or not before.held:
                continue
            self._held[key, identity] = None
            if series is None or judge is None:
                continue  # it is not there yet after a restart
            after, told = alerts.release(before, now, partial(self._hold, series, judge))
            if _turned(before, after):
                changes.append(_Change(alert=self._annotated(after, judge.rule), told=told, gone=False))
        return self._record(changes)

    def _annotated(self, found: Alert, rule: Rule) -> Alert:
        """With its words as of now; when it is fine again it keeps those of when it was last broken."""
        if found.state == "inactive" or not _is_broken(found):
            return found
        return _noted(replace(found, annotations=annotate(rule.annotations, found, self._clock, self._page_url)), {})

    def _record(self, changes: Sequence["_Change"]) -> list[Alert]:
        """Keep the alerts, remember them in the store and tell receivers, all or nothing."""
        if not changes:
            return []
        told = [change.alert for change in changes if change.told]
        with self._store.together():
            self._store.put_alerts(change.alert for change in changes if not change.gone)
            if told:
                self._tell(told)
            self._store.forget_alerts(change.alert for change in changes if change.gone)
        for change in changes:
            self._say_held(change.alert)
            if change.gone:
                self._drop(change.alert)
            else:
                self._keep(change.alert)
        return told

    def _keep(self, found: Alert) -> None:
        if found.held:
            self._held.setdefault((found.series, _identity(found)))
        self._alerts.setdefault(found.series, {})[_identity(found)] = found

    def _say_held(self, after: Alert) -> None:
        """One line for each change of what holds an alert back."""
        before = self._alerts.get(after.series, {}).get(_identity(after))
        if after.held and (before is None or before.held != after.held):
            _log.info("alert is held back", alert=after.rule, series=after.series, why=after.held)
        elif before is not None and before.held and not after.held:
            _log.info("alert is held back no longer", alert=after.rule, series=after.series, state=after.state)

    def _drop(self, found: Alert) -> None:
        of_series = self._alerts[found.series]
        del of_series[_identity(found)]
        if not of_series:
            del self._alerts[found.series]


_NOT_WATCHED = "it is no longer watched"


class _Judge:
    """A rule, ready to be evaluated."""

    __slots__ = (
        "beside", "count_spans", "counters", "counting", "evaluate", "every_s", "looks_back_s", "rule", "says_down",
        "severities", "shows", "span_s",
    )  # fmt: skip

    def __init__(self, rule: Rule) -> None:
        condition = kinds.load("conditions", rule.kind)
        self.rule = rule
        self.span_s: float = condition.span_s(rule.config)
        ask = getattr(condition, "looks_back_s", condition.span_s)
        self.looks_back_s: float = ask(rule.config)
        self.evaluate: Callable[[Window], Verdict] = partial(condition.evaluate, config=rule.config)
        self.every_s: float = condition.every_s(rule.config) if hasattr(condition, "every_s") else 0.0
        named = condition.severities(rule.config) if hasattr(condition, "severities") else ()
        self.severities: tuple[str, ...] = named or (rule.severity,)
        self.counters: Counters | None = condition.counters(rule.config) if hasattr(condition, "counters") else None
        self.counting: set[str] = set()  # keys of the series that are those counters
        spans = getattr(condition, "count_spans", None)
        self.count_spans: tuple[float, ...] = spans(rule.config) if spans else ()
        # Whether it is broken when a check is down and fine when it is not: not of budgets, which take days.
        self.says_down = rule.metric == "failed" and rule.kind in ("threshold", "absent")
        self.shows = bool(getattr(condition, "FAMILIES", ()))  # whether its verdicts carry facts
        asked = condition.beside(rule.config) if hasattr(condition, "beside") else ()
        self.beside = [_Beside(one.metric, one.select) for one in asked]

    def suits(self, series: "_Series") -> bool:
        return self.rule.metric in series.metrics and matches(self.rule.select, series.labels, series.tags)

    def counts(self, series: "_Series") -> bool:
        asked = self.counters
        return asked is not None and asked.metric in series.countable and matches(asked.select, series.labels)

    def labels(self, series: "_Series", severity: str) -> dict[str, str]:
        """An alert's identity. An empty label is an absent one, to Prometheus as to Alertmanager."""
        own = {"alertname": self.rule.name, "severity": severity}
        every = {**series.labels, **self.rule.labels, **own}
        return {name: _clean(value) for name, value in every.items() if value}


class _Beside:
    """A series that a condition wants to see too, by its function `beside`."""

    __slots__ = ("_select", "keys", "metric")

    def __init__(self, metric: str, select: Labels) -> None:
        self.metric = metric
        self._select = select
        self.keys: set[str] = set()  # of the series that are it

    def suits(self, series: "_Series") -> bool:
        return self.metric in series.metrics and matches(self._select, series.labels)


class _Series:
    """What is judged, and by which rules."""

    __slots__ = ("depends_on", "due_at", "interval_s", "judges", "key", "labels", "metrics", "tags")

    def __init__(
        self,
        key: str,
        labels: Labels,
        metrics: Collection[str],
        interval_s: float,
        now: float,
        *,
        tags: Collection[str],
        depends_on: Sequence[Labels],
    ) -> None:
        self.key = key
        self.labels = labels
        self.metrics = metrics
        self.tags = tags
        self.interval_s = interval_s
        self.due_at = now + 1.5 * interval_s  # when the sweep judges it if no point came
        self.judges: tuple[_Judge, ...] = ()
        self.depends_on: list[Selection] = [tuple(sorted(one.items())) for one in depends_on]

    @property
    def is_check(self) -> bool:
        """Whether it can be up or down."""
        return "failed" in self.metrics

    @property
    def countable(self) -> Collection[str]:
        """What a condition can have counted of it beside another series."""
        return (*self.metrics, *PROBE_COUNTERS) if self.is_check else self.metrics


class _Appointment:
    """A series and a rule whose condition takes its time."""

    __slots__ = ("due_at", "judge", "series", "verdict")

    def __init__(self, series: _Series, judge: _Judge, due_at: float) -> None:
        self.series = series
        self.judge = judge
        self.due_at = due_at
        self.verdict: Verdict | None = None  # the last one

    @property
    def key(self) -> str:
        return _shown_key(self.judge.rule, self.series.key)


def _shown_key(rule: Rule, series_key: str) -> str:
    """No key of a check or a sampler begins like this: a name holds no "/"."""
    return f"/rule/{rule.name}/{series_key}"


_Identity = tuple[str, str]  # rule, severity


def _identity(found: Alert) -> _Identity:
    return found.rule, found.labels["severity"]


class _Change(msgspec.Struct, frozen=True, kw_only=True):
    """An alert that is no longer what it was."""

    alert: Alert
    told: bool  # receivers hear of it
    gone: bool  # nothing needs to remember it


def _clean(text: str) -> str:
    """Names of files and processes may hold bytes that are no UTF-8; neither JSON nor a fingerprint takes them."""
    return text.encode("utf-8", "replace").decode()


def _turned(before: Alert, after: Alert) -> bool:
    """Whether a restart would need to know: the state moved, or a firing one stopped or began again to be broken."""
    if before.state != after.state or before.held != after.held:
        return True
    return after.state == "firing" and _is_broken(before) != _is_broken(after)


def _is_broken(found: Alert) -> bool:
    return found.verdict is not None and found.verdict.broken


def _noted(found: Alert, more: Labels) -> Alert:
    """With what was found out about it among its annotations."""
    notes = {**found.notes, **more}
    return replace(found, notes=notes, annotations={**found.annotations, **notes})


def _is_over(found: Alert) -> bool:
    """Whether it went back from pending: an episode of which nobody has heard."""
    return found.state == "inactive" and found.resolved_at is None
