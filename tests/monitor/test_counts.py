"""Counts of runs and failures over long spans: whole numbers, small, and kept over restarts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmon.clock import ManualClock
from perfmon.model import Check, Count, Failure, Measurement, Module, Target
from perfmon.monitor.counts import BUCKETS, Counts, Ring, read_counts
from perfmon.monitor.series import Series

RUNS = st.lists(st.tuples(st.floats(0, 50), st.booleans()), max_size=120)
DAY_S = 86_400.0


@given(RUNS, st.floats(0, 200), st.sampled_from([60.0, 90.0, 300.0]))
def test_a_ring_counts_what_a_list_of_all_runs_would(runs, pause_s, span_s):
    ring, at, seen = Ring(span_s), 1e9, []
    for after_s, failed in runs:
        at += after_s
        ring.add(at, failed=failed)
        seen.append((at, failed))
    now = at + pause_s
    ring.advance(now)
    oldest = now * BUCKETS // span_s - BUCKETS  # the bucket that is just too old
    recent = [failed for at, failed in seen if at * BUCKETS // span_s > oldest]

    assert (len(recent), sum(recent)) == (ring.runs, ring.failures)


@given(RUNS, st.integers(0, 119))
def test_a_restart_in_between_changes_no_count(runs, cut):
    whole, former = Counts(), Counts()
    for counts in (whole, former):
        counts.watch((60.0, 300.0), {})
    at = 1e9
    for number, (after_s, failed) in enumerate(runs):
        at += after_s
        if number == cut:
            kept, former = read_counts(former.take(at)), Counts()
            former.watch((60.0, 300.0), kept)
        whole.add(at, failed=failed)
        former.add(at, failed=failed)

    assert whole.over((60.0, 300.0), at) == former.over((60.0, 300.0), at)


@pytest.mark.parametrize("row", [[], [60.0], [None] * 122, [60.0, 1.0, *[-1.0] * 120], [60.0, 1.0, *[None] * 120]])
def test_a_row_that_is_not_understood_is_left_out(row):
    assert {} == read_counts(row)


def test_a_clock_that_is_set_back_loses_no_run():
    ring = Ring(60.0)
    ring.add(1000.0, failed=False)
    ring.add(900.0, failed=True)

    assert (2, 1) == (ring.runs, ring.failures)


def test_new_failures_are_written_at_once_and_successes_each_five_minutes():
    counts = Counts()
    counts.watch((3600.0,), {})
    counts.add(1000.0, failed=False)
    counts.take(1000.0)

    assert not counts.is_due(1299.0, last=False)
    assert counts.is_due(1300.0, last=False)
    assert counts.is_due(1001.0, last=True)
    counts.add(1001.0, failed=True)
    assert counts.is_due(1002.0, last=False)


# ---------------------------------------------------------------- among the series

CHECK = Check(
    target=Target(probe="shop", address="x"),
    module=Module(name="http_2xx", kind="http", timeout_s=5.0, config=None),
    interval_s=60.0,
)
REFUSED = Failure(reason="connect_refused", phase="connect", message="refused")


class Watched:
    """A check whose failures and first tries are counted over an hour and a day."""

    def __init__(self, clock, rows=()):
        self.clock = clock
        self.series = Series(clock)
        self.series.remember(rows)
        self.series.add_check(CHECK)
        for metric in ("failed", "first_try_failed"):
            self.counted(metric)

    def run(self, failure=None, *, counted=True, **more):
        self.clock.advance(60.0)
        now = self.clock.monotonic()
        shown = Measurement(
            target=CHECK.target, module="m", at=now, duration_s=0.1, phases={}, facts={}, failure=failure, **more
        )
        self.series.add(CHECK.key, shown, counted=counted)
        return shown

    def counted(self, metric="failed"):
        return tuple(self.series.counts(CHECK.key, metric, (3600.0, DAY_S), self.clock.monotonic()).values())


def test_runs_count_rechecks_and_what_is_told_not_to_do_not():
    watched = Watched(ManualClock())
    watched.run()
    first = watched.run(REFUSED)
    watched.run(earlier=(first,))
    watched.run(REFUSED, recheck=True)
    watched.run(REFUSED, counted=False)

    assert (Count(3, 1), Count(3, 1)) == watched.counted()
    assert (Count(3, 2), Count(3, 2)) == watched.counted("first_try_failed")


def test_the_next_life_goes_on_counting():
    clock = ManualClock()
    watched = Watched(clock)
    watched.run()
    watched.run(REFUSED)
    rows = watched.series.take_summaries(last=True)
    clock.advance(7200.0)
    again = Watched(clock, rows)
    again.run(REFUSED)

    assert (Count(1, 1), Count(3, 2)) == again.counted()


def test_counts_that_no_rule_asks_for_any_more_are_forgotten():
    watched = Watched(ManualClock())
    watched.run()
    watched.clock.advance(3600.0)
    watched.series.forget_unasked(watched.clock.monotonic() - 1800.0)

    assert (Count(0, 0), Count(0, 0)) == watched.counted()
