"""The long past of a series: bounded, cut at restarts, and back after a restart of perfmon."""

import math
import random
import sys

import pytest

from perfmon import leak
from perfmon.clock import ManualClock
from perfmon.measure import Reading
from perfmon.model import Check, Measurement, Module, Sample, Sampler, Target
from perfmon.monitor.series import Series
from perfmon.monitor.store import Store
from perfmon.monitor.summary import POINTS, Stretch, Summary, restarts_of

DAY_S = 86_400.0
RSS = "perfmon_process_resident_memory_bytes"
STARTED = "perfmon_process_oldest_start_timestamp_seconds"
SHOP = Sampler(name="shop", kind="process", interval_s=10.0, config=None)
KEY = f'sampler/shop/{RSS}{{group="shop"}}'


def filled(span_s, count, every=1.0):
    summary = Summary(span_s)
    for number in range(count):
        summary.add(number * every, float(number))
    return summary


# ---------------------------------------------------------------- one summary


def test_points_that_are_far_apart_stay_as_they_are():
    found = filled(POINTS * 1.0, 50).window(50.0)

    assert [Stretch(float(n), float(n), float(n), math.nan)[:3] for n in range(50)] == [one[:3] for one in found]


def test_a_stretch_stands_for_its_points_with_their_median_and_lowest():
    summary = Summary(10.0 * POINTS)
    for at, value in enumerate([5.0, 1.0, 9.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 7.0]):
        summary.add(float(at), value)

    assert [(4.5, 5.0, 1.0), (10.0, 7.0, 7.0)] == [stretch[:3] for stretch in summary.window(11.0)]


def test_two_weeks_at_a_second_take_no_more_than_their_points():
    summary = filled(14 * DAY_S, 300_000, every=14 * DAY_S / 200_000)
    found = summary.window(300_000 * 14 * DAY_S / 200_000)

    assert POINTS - 1 <= len(found) <= POINTS + 1
    assert 40 * 1024 >= sum(sys.getsizeof(getattr(summary, name)) for name in ("_at", "_middle", "_low", "_life"))


def test_a_target_that_begins_anew_at_each_point_does_not_make_it_grow():
    summary = Summary(14 * DAY_S)
    for number in range(20 * POINTS):
        summary.add(float(number), 1.0, life=100.0 * number)

    assert len(summary.window(20.0 * POINTS)) <= 2 * POINTS


def test_no_stretch_holds_two_lives():
    summary = Summary(10.0 * POINTS)
    for at, life in enumerate([0.0, 0.0, 0.4, 50.0, 50.0, math.nan, 50.0]):
        summary.add(float(at), float(at), life)
    found = summary.window(10.0)

    assert [1.0, 4.5] == [stretch.at for stretch in found]
    assert [4.5] == restarts_of(found)


def test_a_life_that_is_not_known_for_a_while_is_no_restart():
    known = [Stretch(float(i), 0.0, 0.0, life) for i, life in enumerate([7.0, math.nan, 7.0, math.nan, 99.0])]

    assert [4.0] == restarts_of(known)
    assert [] == restarts_of(known[:3])


def test_what_ended_is_handed_out_once():
    summary = filled(POINTS * 1.0, 5)

    assert [0.0, 1.0, 2.0, 3.0] == [stretch.at for stretch in summary.take_unsaved()]
    assert [] == summary.take_unsaved()


# ---------------------------------------------------------------- among the series


@pytest.fixture
def clock():
    return ManualClock(monotonic=50_000.0, wall=1_800_000_000.0)


def read(series, clock, value, started=1_700_000_000.0):
    samples = [Sample(name=RSS, value=value, labels={"group": "shop"})]
    samples += [Sample(name=STARTED, value=started, labels={"group": "shop"})]
    clock.advance(10.0)
    series.add_reading(
        SHOP, Reading(sampler=SHOP, at=clock.monotonic(), duration_s=0.0, samples=tuple(samples), error="")
    )


def watched(clock, *, rows=()):
    series = Series(clock)
    series.remember(rows)
    series.add_sampler(SHOP)
    read(series, clock, 1.0)
    series.long_window(KEY, RSS, 3600.0, clock.monotonic())
    return series


def test_a_long_window_begins_when_it_is_asked_for_and_knows_restarts(clock):
    series = watched(clock)
    for number in range(20):
        read(series, clock, float(number), started=1_700_000_000.0 + 1000 * (number >= 12))
    window = series.long_window(KEY, RSS, 3600.0, clock.monotonic())

    assert list(map(float, range(20))) == window.values == window.lows
    assert [window.times[12]] == list(window.restarts)
    assert ("gauge", "bytes", 10.0, clock.monotonic()) == (window.type, window.unit, window.interval_s, window.last_at)


def test_a_level_that_perfmon_itself_changed_cuts_the_window_until_it_has_left_it(clock):
    """memray stays in a process that was looked into: some 15 MiB, which are no growth of its own."""
    series = watched(clock)
    read(series, clock, 2.0)
    with series.set_aside(KEY):
        read(series, clock, 9.0)
    cut_at = clock.monotonic()
    read(series, clock, 3.0)
    window = series.long_window(KEY, RSS, 3600.0, clock.monotonic())
    clock.advance(3600.0)

    assert ([2.0, 3.0], [cut_at]) == (list(window.values), list(window.cuts))
    assert [] == list(window.restarts)
    assert [] == list(series.long_window(KEY, RSS, 3600.0, clock.monotonic()).cuts)


def test_a_slow_leak_is_still_one_after_it_was_looked_into(clock):
    """16 KiB/s over half an hour: as much as memray's own memory, which came in its last third."""
    series, noise = watched(clock), random.Random(1)
    for number in range(180):
        if number == 160:
            with series.set_aside(KEY):
                pass  # it comes at once
        memray = 15.0 * 2**20 * (number >= 160)
        read(series, clock, 2.0**26 + 16_384.0 * 10 * number + memray + noise.gauss(0, 200e3))
    window = series.long_window(KEY, RSS, 3600.0, clock.monotonic())
    judged = [leak.judge(window.times, window.values, restarts=restarts) for restarts in ((), window.cuts)]

    assert ["suspect", "leak"] == [one.verdict for one in judged]
    assert 16_384 == pytest.approx(judged[1].growth.slope, rel=0.05)


def test_a_series_is_gone_while_its_sampler_reads_others_and_not_while_it_reads_nothing(clock):
    series = watched(clock)

    def gone_s(*samples, error=""):
        clock.advance(10.0)
        reading = Reading(sampler=SHOP, at=clock.monotonic(), duration_s=0.0, samples=samples, error=error)
        series.add_reading(SHOP, reading)
        return series.long_window(KEY, RSS, 3600.0, clock.monotonic()).gone_s

    up = Sample(name="perfmon_process_up", value=0.0, labels={"group": "shop"})
    back = Sample(name=RSS, value=1.0, labels={"group": "shop"})

    assert [10.0, 20.0, 0.0, 0.0] == [gone_s(up), gone_s(up), gone_s(error="no /proc"), gone_s(up, back)]


def test_a_long_window_knows_the_ceiling_that_was_read_with_it(clock):
    used, total = "perfmon_host_memory_used_bytes", "perfmon_host_memory_total_bytes"
    host = Sampler(name="host", kind="host", interval_s=10.0, config=None)
    series = Series(clock)
    series.add_sampler(host)

    def read(*samples):
        clock.advance(10.0)
        series.add_reading(host, Reading(sampler=host, at=clock.monotonic(), duration_s=0.0, samples=samples, error=""))
        return series.long_window(f"sampler/host/{used}", used, 3600.0, clock.monotonic()).ceiling

    assert 64.0 == read(Sample(name=used, value=8.0), Sample(name=total, value=64.0))
    assert read(Sample(name=used, value=9.0)) is None


def test_it_survives_a_restart_of_perfmon_and_one_of_the_target_meanwhile(clock, tmp_path):
    store = Store(tmp_path / "state.sqlite3", clock=clock)
    series = watched(clock)
    for number in range(100):
        read(series, clock, float(number))
    store.put_summaries(series.take_summaries())
    assert store.close()

    later = ManualClock(monotonic=7.0, wall=clock.wall() + 600.0)
    again = Store(tmp_path / "state.sqlite3", clock=later)
    series = watched(later, rows=again.summaries(later.wall()))
    again.close()
    for number in range(5):
        read(series, later, float(number), started=1_799_999_000.0)
    window = series.long_window(KEY, RSS, 3600.0, later.monotonic())

    assert [*map(float, range(99)), *map(float, range(5))] == window.values
    assert 610.0 <= window.times[99] - window.times[98] <= 640.0
    assert [window.times[99]] == list(window.restarts)


def test_what_is_too_old_is_neither_kept_nor_read(clock, tmp_path):
    store = Store(tmp_path / "state.sqlite3", clock=clock)
    series = watched(clock)
    read(series, clock, 2.0)
    read(series, clock, 3.0)
    store.put_summaries(series.take_summaries())
    store.close()
    later = ManualClock(monotonic=7.0, wall=clock.wall() + 7200.0)

    store = Store(tmp_path / "state.sqlite3", clock=later)
    assert [] == store.summaries(later.wall())
    store.put_summaries(watched(later).take_summaries())
    store.close()


def test_a_clock_that_was_set_back_puts_nothing_into_the_future(clock):
    series = watched(clock)
    for number in range(9):
        read(series, clock, float(number))
    rows = series.take_summaries()
    back = ManualClock(monotonic=7.0, wall=clock.wall() - 45.0)
    window = watched(back, rows=rows).long_window(KEY, RSS, 3600.0, back.monotonic())

    assert list(window.times) == sorted(window.times)
    assert all(at <= back.monotonic() for at in window.times)


def test_a_window_that_no_rule_asks_for_any_more_is_forgotten(clock):
    series = watched(clock)
    read(series, clock, 2.0)
    series.forget_unasked(clock.monotonic() + 1)
    read(series, clock, 3.0)

    assert [] == list(series.long_window(KEY, RSS, 3600.0, clock.monotonic()).values)


def test_a_series_that_is_gone_takes_its_long_window_with_it(clock):
    series = watched(clock)
    series.remove(SHOP.key)

    assert [] == series.take_summaries()
    with pytest.raises(KeyError):
        series.long_window(KEY, RSS, 3600.0, clock.monotonic())


@pytest.mark.parametrize("metric", ["failed", "duration", "duration:tls"])
def test_a_check_has_long_windows_too(clock, metric):
    module = Module(name="http_2xx", kind="http", timeout_s=5.0, config=None)
    check = Check(target=Target(probe="shop", address="x"), module=module, interval_s=10.0)
    series = Series(clock)
    series.add_check(check)
    series.long_window(check.key, metric, 600.0, clock.monotonic())
    series.add(
        check.key,
        Measurement(
            target=check.target, module="m", at=clock.monotonic(), duration_s=0.2, phases={"tls": 0.1}, facts={}
        ),
    )
    expected = {"failed": 0.0, "duration": 0.2, "duration:tls": 0.1}[metric]

    assert [expected] == series.long_window(check.key, metric, 600.0, clock.monotonic()).values


def test_noise_of_many_points_is_not_lost(clock):
    """The lows of stretches are those of their raw points, however many there were."""
    chance = random.Random(1)
    summary = Summary(100.0 * POINTS)
    values = [chance.random() for _ in range(1000)]
    for at, value in enumerate(values):
        summary.add(float(at), value)

    assert [min(values[i : i + 100]) for i in range(0, 1000, 100)] == [
        stretch.low for stretch in summary.window(1000.0)
    ]
