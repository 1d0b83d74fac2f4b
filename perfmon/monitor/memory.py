"""What a restart goes on from: written down while the daemon runs, and given back to checks that are there again.

Minutes for the page, last results of checks that run rarely, last failures, long pasts, and histories. Alerts and
notices are kept by those whose they are.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from msgspec.structs import replace

from perfmon.clock import Clock, to_wall
from perfmon.model import Check
from perfmon.monitor.exposition import Exposition
from perfmon.monitor.recent import Spell
from perfmon.monitor.runs import Runs
from perfmon.monitor.series import Minute, Series
from perfmon.monitor.store import History, MinuteRow, Store
from perfmon.monitor.tally import Counted
from perfmon.monitor.turns import Turns
from perfmon.threads import in_thread

__all__ = ["Memory"]

HOUR_S = 3600.0
MINUTES_AT_ONCE = 100  # written down in one turn
RARE_S = 60.0  # checks that run less often show their last result again after a restart
QUARTER_MINUTES = 15
FAILURES_KEPT_S = 7 * 86_400.0  # of a check that is not watched any more


class Memory:
    """Belongs to the event loop's thread, but for `note_all` at the end."""

    def __init__(
        self,
        *,
        clock: Clock,
        store: Store,
        series: Series,
        exposition: Exposition,
        runs: Runs,
        may_bring: Callable[[str], bool],
    ) -> None:
        """`may_bring(key)`: whether a check that is not watched may yet be found."""
        self._clock = clock
        self._store = store
        self._series = series
        self._exposition = exposition
        self._runs = runs
        self._may_bring = may_bring
        self._minutes: list[MinuteRow] = []
        self._results_at: dict[str, float] = {}  # of the results that the store has, by check
        self._failed: set[str] = set()  # of these the state file does not know the last failures
        self._former_failures: dict[str, list[Spell]] = {}  # of a former life, for checks that discovery brings later
        self._uncounted: set[str] = set()  # checks whose history of a former life has not been read yet
        self._counted_until: dict[str, int] = {}  # the first minute that a history read does not count
        self._quarters: dict[str, int] = {}  # the newest in a history that was written, or is about to be
        self._moved: set[str] = set()  # checks whose history the state file does not know

    # ------------------------------------------------------------ writing down

    def failed(self, key: str) -> None:
        """A check has failed once more."""
        self._failed.add(key)

    def turned(self, key: str) -> None:
        """A check began to fail, or is back."""
        self._moved.add(key)

    def pushed(self, key: str) -> None:
        """A result was pushed, which nobody would make a second time: it is written down at once."""
        last = self._series.checks[key].last
        if last is not None and self._series.checks[key].check.interval_s >= RARE_S:
            self._store.put_results({key: last})
            self._results_at[key] = last.at

    def closed(self, key: str, minute: Minute) -> None:
        """A minute of a check is over."""
        quarter = minute.number // QUARTER_MINUTES
        if self._quarters.get(key) != quarter:
            self._quarters[key] = quarter
            self._moved.add(key)
        self._minutes.append(self._row(key, minute))

    def _row(self, key: str, minute: Minute) -> MinuteRow:
        """In whole seconds: the minute that two lives have a part in is one, though their clocks were read apart."""
        start = round(to_wall(self._clock, self._series.minute_began(minute.number)))
        return MinuteRow(key, start, (minute.runs, minute.failures, minute.p50_s, minute.max_s))

    def forget(self, key: str) -> None:
        """Remember nothing of a check any more; call it before its series go. What is none is no mistake."""
        if self._results_at.pop(key, None) is not None:
            self._store.forget_result(key)
        past = self._series.checks.get(key)
        if past is None:
            return
        if past.recent.spells():
            self._failed.add(key)  # and when it is written down there is nothing to know of it
        past.close_minute()
        self._note_history(key)  # which stays, for one that comes back
        for of_key in (self._quarters, self._counted_until):
            of_key.pop(key, None)
        self._moved.discard(key)
        self._uncounted.discard(key)

    async def note(self) -> None:
        """Write down what the state file does not know yet, in turns."""
        turns = Turns(self._clock)
        for _ in self._noting(last=False):
            await turns.next()

    def note_all(self) -> None:
        """The same at once, for the last time."""
        for _ in self._noting(last=True):
            pass
        for key, past in self._series.checks.items():
            minute = past.close_minute()
            if minute is not None:
                self._store.put_minutes([self._row(key, minute)])
            self._note_history(key)

    def _noting(self, *, last: bool) -> Iterator[None]:
        """In small pieces of work."""
        yield from self._note_minutes()
        self._store.put_summaries(self._series.take_summaries(last=last))
        yield
        yield from self._note_results()
        yield from self._note_failures()
        while self._moved:
            self._note_history(self._moved.pop())
            yield

    def _note_minutes(self) -> Iterator[None]:
        while self._minutes:
            rows, self._minutes = self._minutes[:MINUTES_AT_ONCE], self._minutes[MINUTES_AT_ONCE:]
            self._store.put_minutes(rows)
            yield

    def _note_results(self) -> Iterator[None]:
        """The last results of checks that will not run again soon after a restart."""
        for key, past in list(self._series.checks.items()):
            last = past.last
            if past.check.interval_s < RARE_S or last is None or self._results_at.get(key) == last.at:
                continue
            if key in self._series.checks:  # and did not go away in somebody else's turn
                self._store.put_results({key: last})
                self._results_at[key] = last.at
            yield

    def _note_failures(self) -> Iterator[None]:
        while self._failed:
            key = self._failed.pop()
            past = self._series.checks.get(key)
            self._store.put_failures(key, () if past is None else past.recent.spells())
            yield

    def _note_history(self, key: str) -> None:
        past = self._series.checks.get(key)
        if past is None or key in self._uncounted:  # what the file has of it must not be lost
            return
        incidents = past.incidents.newest_first()
        kept = past.tally.kept()
        if kept.until or incidents:
            self._store.put_history(key, History(tally=kept, incidents=incidents))

    # ------------------------------------------------------------ giving back

    def recall(self) -> None:
        """Read what has to be known before the first check is watched."""
        self._former_failures = self._known_failures()
        self._series.remember(self._store.summaries(self._clock.wall()))

    def greet(self, key: str) -> None:
        """Give a check that is new its last failures back."""
        self._series.checks[key].recent.restore(self._former_failures.pop(key, ()))
        self._uncounted.add(key)

    async def recount(self) -> None:
        """Give checks that are new their histories back, those that were watched at any time in three months."""
        new = frozenset(self._uncounted)
        if not new or not self._store.readable:
            return
        found = await in_thread(partial(self._store.histories, new), name="perfmon-histories")
        turns = Turns(self._clock)
        for key in new:
            self._give_back(key, found.get(key))
            await turns.next()

    def _give_back(self, key: str, history: History | None) -> None:
        self._uncounted.discard(key)
        past = self._series.checks.get(key)
        if past is None or history is None:
            return
        past.tally.restore(history.tally, self._series.minute(self._clock.monotonic()))
        past.incidents.restore(history.incidents, past.last, only_failed=past.runs == past.failures)
        self._counted_until[key] = history.tally.until

    async def take_up(self, new: Mapping[str, Check]) -> None:
        """Give these checks their last results and the last hour back; only while the schedule fires."""
        await self.recount()
        await self._resume(new)
        known = partial(self._store.minutes, self._clock.wall() - HOUR_S, of=new.keys())
        turns = Turns(self._clock)
        for row in await in_thread(known, name="perfmon-minutes"):
            self._restore(row)
            await turns.next()

    def _known_failures(self) -> dict[str, list[Spell]]:
        """What last failed in a former life; what nobody has watched for a week is forgotten."""
        found = self._store.failures()
        before = self._clock.monotonic() - FAILURES_KEPT_S
        for key in [key for key, spells in found.items() if spells[0].last_at < before]:
            del found[key]
            self._store.put_failures(key, ())
        return found

    def _restore(self, row: MinuteRow) -> None:
        """So that a restart leaves no hole in the page."""
        past = self._series.checks.get(row.series)
        if past is not None and len(row.values) == len(Minute._fields) - 1:
            runs, failures, p50_s, max_s = (value or 0.0 for value in row.values)
            number = self._series.minute_at_wall(row.start)
            if number >= self._counted_until.get(row.series, 0):  # the end was no orderly one
                past.tally.add(Counted(number, int(runs), int(failures)))
                self._counted_until[row.series] = number + 1
            past.restore([Minute(number, int(runs), int(failures), p50_s, max_s)])

    async def _resume(self, checks: Mapping[str, Check]) -> None:
        """Go on from the last results of checks that run rarely: a restart leaves no hole as long as their interval."""
        turns = Turns(self._clock)
        for key in self._store.with_results():
            check = checks.get(key)
            if check is not None:
                self._resume_one(check)
            elif key not in self._series.checks and not self._may_bring(key):
                self._store.forget_result(key)
            await turns.next()

    def _resume_one(self, check: Check) -> None:
        """One that is older than two intervals says nothing of today."""
        now, key = self._clock.monotonic(), check.key
        found = self._store.result(key)
        if found is None or check.interval_s < RARE_S or check.module.name != found.module:
            self._store.forget_result(key)
        elif now - found.at < 2 * check.interval_s and self._series.checks[key].last is None:
            result = replace(found, target=check.target, at=min(found.at, now))
            self._series.checks[key].resume(result)
            self._exposition.observe(result, check, counted=False)
            self._runs.resume(key, failing=not result.success)
            self._results_at[key] = result.at
