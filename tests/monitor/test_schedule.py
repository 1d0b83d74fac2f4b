"""The grid is pure and is tested on made-up time; the APScheduler job that drives it is tested on a real loop."""

import asyncio
import math
import zlib
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmon.clock import ManualClock, SystemClock
from perfmon.monitor.schedule import SLOT_S, Grid, Like, Schedule, phase

pytestmark = pytest.mark.alone


def taken(grid, now):
    return [(due.item, round(due.at, 6), due.skipped) for due in grid.take(now)]


def test_an_entry_is_due_at_its_phase_and_then_every_interval():
    grid = Grid(anchor=0.0)
    grid.add("shop/fast", 10.0, "fast", now=0.0)
    slots = math.ceil(10.0 / SLOT_S)
    first = phase("shop/fast", slots) * 10.0 / slots

    assert pytest.approx(first) == grid.next_due()
    assert [] == taken(grid, first - 0.001)
    assert [("fast", round(first, 6), 0)] == taken(grid, first + 0.001)
    assert pytest.approx(first + 10.0) == grid.next_due()


def test_a_restart_keeps_the_phase():
    before, after = Grid(anchor=-5.0), Grid(anchor=995.0)  # the same wall time on two monotonic clocks
    before.add("shop/fast", 10.0, "fast", now=0.0)
    after.add("shop/fast", 10.0, "fast", now=1000.0)

    assert pytest.approx(before.next_due() + 1000.0) == after.next_due()


def test_after_a_long_sleep_an_entry_runs_once_and_the_rest_are_counted_as_skipped():
    grid = Grid(anchor=0.0)
    grid.add("a", 1.0, "a", now=0.0)
    first = grid.next_due()

    assert [("a", round(first + 7.0, 6), 7)] == taken(grid, first + 7.5)
    assert pytest.approx(first + 8.0) == grid.next_due()


def test_a_clock_that_stands_still_or_goes_back_makes_nothing_due_twice():
    grid = Grid(anchor=0.0)
    grid.add("a", 1.0, "a", now=0.0)
    now = grid.next_due() + 0.001

    assert 1 == len(grid.take(now))
    assert [] == grid.take(now)
    assert [] == grid.take(now - 100.0)


def test_removing_an_entry_leaves_the_others_on_their_phase():
    grid = Grid(anchor=0.0)
    for key in ("a", "b", "c"):
        grid.add(key, 5.0, key, now=0.0)
    slots = math.ceil(5.0 / SLOT_S)
    expected = phase("c", slots) * 5.0 / slots
    grid.remove("a")
    grid.remove("b")
    grid.remove("never there")

    assert pytest.approx(expected) == grid.next_due()
    assert ["c"] == [item for item, _, _ in taken(grid, 5.0)]


def test_an_empty_grid_has_nothing_due():
    grid = Grid(anchor=0.0)
    grid.add("a", 1.0, "a", now=0.0)
    grid.remove("a")

    assert grid.next_due() is None
    assert [] == grid.take(100.0)


def test_s10_phases_are_uniform_over_ten_thousand_keys():
    """Chi-square over 100 bins, 99 degrees of freedom: 148 is the 99.9th percentile (case S10)."""
    bins = [0] * 100
    for number in range(10_000):
        bins[phase(f"shop/http://127.0.0.1:{number}/", 100)] += 1

    assert sum((count - 100) ** 2 / 100 for count in bins) < 148
    assert zlib.crc32(b"shop") * 100 // 2**32 == phase("shop", 100)


@given(
    keys=st.dictionaries(
        st.text(max_size=8), st.sampled_from([0.1, 0.13, 0.5, 1.0, 7.0, 60.0]), min_size=1, max_size=8
    ),
    steps=st.lists(st.floats(min_value=0.0, max_value=30.0), max_size=30),
    anchor=st.floats(min_value=-1e9, max_value=1e9),
)
def test_every_due_time_is_either_run_or_counted_as_skipped(keys, steps, anchor):
    """Whatever the rhythm of the wake-ups: runs + skipped = due times, in order, never early."""
    now = start = anchor + 1000.0
    grid = Grid(anchor=anchor)
    for key, interval_s in keys.items():
        grid.add(key, interval_s, key, now=start)
    seen = dict.fromkeys(keys, 0)
    newest = dict.fromkeys(keys, start - 1e-3)
    for step in steps:
        now += step
        for due in grid.take(now):
            assert newest[due.item] < due.at <= now + 1e-3
            newest[due.item] = due.at
            seen[due.item] += 1 + due.skipped

    for key, interval_s in keys.items():
        assert abs(seen[key] - (now - start) / interval_s) <= 1 + 1e-3


@given(key=st.text(max_size=8), interval_s=st.sampled_from([0.5, 1.0, 7.0, 60.0]), divisor=st.integers(1, 5))
def test_an_entry_like_another_shares_its_due_times_where_its_interval_divides_the_others(key, interval_s, divisor):
    """At the other's instant or within the slot behind it, never before it: the other one comes first."""
    grid = Grid(anchor=-5.0)
    shorter_s = interval_s / divisor
    grid.add("slow", interval_s, "slow", now=100.0)
    grid.add("quick", shorter_s, "quick", now=100.0, like=Like("slow", interval_s))
    slow, quick = ([*grid.due_times(one, 100.0, 100.0 + 3 * interval_s)] for one in ("slow", "quick"))

    assert 3 <= len(slow) <= 4
    for at in slow[:-1]:
        nearest = min(quick, key=lambda other, at=at: abs(other - at))
        assert -1e-6 <= nearest - at <= SLOT_S
    assert all(abs(later - earlier - shorter_s) < 1e-6 for earlier, later in pairwise(quick))


async def test_what_joins_while_it_fires_is_on_time_and_disturbs_nobody():
    clock = SystemClock()
    late = {"a": [], "b": []}
    schedule = Schedule(clock, lambda due: late[due.item].append(clock.monotonic() - due.at))
    schedule.add("a", 0.5, "a")
    schedule.start()
    await asyncio.sleep(0.1)
    schedule.join("b", 0.1, "b", like=Like("a", 0.5))
    await asyncio.sleep(1.0)
    schedule.remove("b")
    joined = len(late["b"])
    await asyncio.sleep(0.5)
    await schedule.stop()
    schedule.join("b", 0.1, "b", like=Like("a", 0.5))
    await asyncio.sleep(0.15)

    assert 9 <= joined <= 11
    assert joined == len(late["b"])
    assert 3 == len(late["a"])
    assert max(*late["a"], *late["b"]) < 0.05


def test_a_thousand_cold_checks_start_evenly_over_their_minute_and_a_restart_keeps_each_ones_place():
    """Case S10. Chi-square of 60 bins, 59 degrees of freedom: 99.6 is the 99.95th percentile."""
    keys = [f"shop/http://127.0.0.1:{number}/" for number in range(1000)]
    offsets = []
    for start in (0.0, 86_423.0):  # a restart a day later
        grid = Grid(anchor=0.0)
        for key in keys:
            grid.add(key, 60.0, key, now=start)
        first = {due.item: due.at - start for due in grid.take(start + 60.0)}
        assert 1000 == len(first)
        offsets.append({key: (start + first[key]) % 60.0 for key in keys})
        counts = Counter(int(offset) for offset in first.values())
        assert sum((counts[second] - 1000 / 60) ** 2 / (1000 / 60) for second in range(61)) < 99.6

    assert max(abs(offsets[0][key] - offsets[1][key]) for key in keys) < 1e-3


async def test_the_scheduler_fires_on_the_grid_for_real():
    clock = SystemClock()
    late = []
    schedule = Schedule(clock, lambda due: late.append(clock.monotonic() - due.at))
    for number in range(20):
        schedule.add(f"entry {number}", 0.1, number)
    schedule.start()
    await asyncio.sleep(0.55)
    await schedule.stop()

    assert 80 <= len(late) <= 120
    assert min(late) > -0.002
    assert sorted(late)[len(late) // 2] < 0.02


async def test_a_wall_clock_set_back_by_an_hour_neither_stalls_nor_bursts():
    """Case S13. APScheduler keeps wall times: set back, its next run lies an hour ahead; `realign` mends that."""
    fired = []
    schedule = Schedule(SystemClock(), lambda due: fired.append(due.skipped))
    schedule.add("a", 0.5, "a")
    schedule.start()
    await asyncio.sleep(1.0)
    schedule._job.modify(next_run_time=datetime.now(UTC) + timedelta(hours=1))
    schedule.realign()  # what the daemon does when its heartbeat sees the step
    await asyncio.sleep(3.5)  # longer than what was planned ahead before the step
    await schedule.stop()

    assert 8 <= len(fired) <= 10
    assert 0 == sum(fired)


async def test_a_plan_that_comes_late_loses_nothing():
    fired = []
    schedule = Schedule(SystemClock(), lambda due: fired.append(due.skipped))
    schedule.add("a", 0.1, "a")
    schedule.start()
    schedule._job.modify(next_run_time=datetime.now(UTC) + timedelta(seconds=2.2))
    await asyncio.sleep(3.0)
    await schedule.stop()

    assert 28 <= len(fired) <= 31
    assert 0 == sum(fired)


async def test_what_is_added_while_it_runs_fires_in_its_first_slot():
    fired = []
    schedule = Schedule(SystemClock(), lambda due: fired.append(due.item))
    schedule.start()
    schedule.add("a", 0.2, "a")
    schedule.realign()
    await asyncio.sleep(0.3)
    schedule.remove("a")
    schedule.realign()
    before = len(fired)
    await asyncio.sleep(0.3)
    await schedule.stop()

    assert 1 <= before <= 2
    assert before == len(fired)


async def test_a_wall_clock_set_forward_by_an_hour_fires_nothing_before_its_time():
    fired = []
    schedule = Schedule(SystemClock(), lambda due: fired.append(due.skipped))
    schedule.add("a", 86400.0, "a")
    schedule.start()
    schedule._job.modify(next_run_time=datetime.now(UTC) - timedelta(hours=1))
    await asyncio.sleep(0.1)
    await schedule.stop()

    assert [] == fired


def test_ten_thousand_entries_need_no_more_wake_ups_than_slots():
    grid = Grid(anchor=0.0)
    for number in range(10_000):
        grid.add(f"shop/{number}", 10.0, number, now=0.0)
    wake_ups, now, taken_items = 0, 0.0, 0
    while (now := grid.next_due()) <= 10.0:
        wake_ups += 1
        taken_items += len(grid.take(now))

    assert wake_ups <= 10 / SLOT_S + 2
    assert 10_000 <= taken_items <= 10_050


def test_a_manual_clock_tells_what_it_was_told():
    clock = ManualClock(monotonic=1.0, wall=2.0)
    clock.advance(3.0)
    clock.step_wall(-1.0)

    assert (4.0, 4.0) == (clock.monotonic(), clock.wall())
