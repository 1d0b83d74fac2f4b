"""Windows for the rules and the last hour for the page, on made-up time."""

import math

import pytest
from msgspec.structs import replace

from perfmon import stats
from perfmon.clock import ManualClock
from perfmon.measure import Reading
from perfmon.model import Check, Failure, Measurement, Module, Sample, Sampler, Target
from perfmon.monitor.series import MINUTES, Minute, Series, sample_key

REFUSED = Failure(reason="connect_refused", phase="connect", message="connection refused")


@pytest.fixture
def clock():
    return ManualClock(monotonic=10_000.0, wall=1_800_000_000.0)  # the wall stands at a full minute


@pytest.fixture
def series(clock):
    return Series(clock)


def check(interval_s=10.0, address="http://127.0.0.1/"):
    module = Module(name="http_2xx", kind="http", timeout_s=5.0, config=None)
    return Check(target=Target(probe="shop", address=address), module=module, interval_s=interval_s)


def run(series, clock, watched, **how):
    return series.add(watched.key, measured(clock, watched, **how))


def measured(clock, watched, *, duration_s=0.1, failure=None, phases=None):
    return Measurement(
        target=watched.target,
        module="http_2xx",
        at=clock.monotonic(),
        duration_s=duration_s,
        phases=phases or {},
        facts={},
        failure=failure,
    )


def test_a_window_holds_the_points_of_its_span_and_no_older_ones(series, clock):
    watched = check()
    series.add_check(watched)
    series.window(watched.key, "duration", 60.0, clock.monotonic())
    for number in range(100):
        run(series, clock, watched, duration_s=float(number))
        clock.advance(10.0)
    window = series.window(watched.key, "duration", 60.0, clock.monotonic())

    assert [95.0, 96.0, 97.0, 98.0, 99.0] == list(window.values)[-5:]
    assert all(clock.monotonic() - 60.0 < at <= clock.monotonic() for at in window.times)
    assert ("gauge", "seconds", 10.0) == (window.type, window.unit, window.interval_s)
    assert clock.monotonic() - 10.0 == window.last_at


def test_failures_are_a_flag(series, clock):
    watched = check()
    series.add_check(watched)
    run(series, clock, watched)
    run(series, clock, watched, failure=REFUSED)
    window = series.window(watched.key, "failed", 60.0, clock.monotonic())

    assert [0.0, 1.0] == list(window.values)
    assert "flag" == window.type


def test_of_a_repeated_run_the_result_is_the_last_tries_and_the_duration_the_firsts(series, clock):
    """Nobody survives into the statistics: neither a repetition that was quick, nor only what succeeded."""
    watched = check()
    series.add_check(watched)
    metrics = ("failed", "first_try_failed", "duration", "duration:tls")
    for metric in metrics:
        series.window(watched.key, metric, 60.0, clock.monotonic())
    first = measured(clock, watched, duration_s=5.0, failure=REFUSED, phases={"tls": 4.0})
    series.add(watched.key, replace(measured(clock, watched, duration_s=0.1, phases={"tls": 0.05}), earlier=(first,)))

    windows = {metric: series.window(watched.key, metric, 60.0, clock.monotonic()) for metric in metrics}
    assert {"failed": [0.0], "first_try_failed": [1.0], "duration": [5.0], "duration:tls": [4.0]} == {
        metric: list(window.values) for metric, window in windows.items()
    }
    assert ("flag", "") == (windows["first_try_failed"].type, windows["first_try_failed"].unit)
    past = series.checks[watched.key]
    assert (1, 0, 0.1) == (past.runs, past.failures, past.last.duration_s)
    assert (5.0, 5.0, 5.0) == past.quantiles(series.minute(clock.monotonic()))


def test_a_recheck_is_the_state_and_no_point(series, clock):
    """A minute of failure must not weigh as much as an hour of success, for being looked at more closely."""
    watched = check()
    series.add_check(watched)
    series.window(watched.key, "duration:tls", 60.0, clock.monotonic())
    run(series, clock, watched, failure=REFUSED)
    for failure in (REFUSED, REFUSED, None):
        clock.advance(2.0)
        recheck = measured(clock, watched, duration_s=0.5, failure=failure, phases={"tls": 0.25})
        assert series.add(watched.key, replace(recheck, recheck=True)) is None

    past, now = series.checks[watched.key], clock.monotonic()
    assert (1, 1, (1, 1)) == (past.runs, past.failures, past.totals(series.minute(now)))
    assert pytest.approx((0.1, 0.1, 0.1)) == past.quantiles(series.minute(now))
    assert (None, now, now - 2.0) == (past.last.failure, past.state_since, past.last_failure.at)
    window = series.window(watched.key, "failed", 60.0, now)
    assert ([1.0], (now, 0.0), now, 10.0) == (list(window.values), window.newer, window.last_at, window.interval_s)
    assert (now, 0.25) == series.window(watched.key, "duration:tls", 60.0, now).newer
    clock.advance(4.0)
    run(series, clock, watched)
    assert series.window(watched.key, "failed", 60.0, clock.monotonic()).newer is None


def test_a_phase_becomes_a_column_when_a_rule_asks_for_it(series, clock):
    watched = check()
    series.add_check(watched)
    run(series, clock, watched, phases={"tls": 0.5})

    assert [] == list(series.window(watched.key, "duration:tls", 60.0, clock.monotonic()).values)
    run(series, clock, watched, phases={"connect": 0.1, "tls": 0.25})
    run(series, clock, watched, phases={"connect": 0.1})
    assert [0.25, 0.0] == list(series.window(watched.key, "duration:tls", 60.0, clock.monotonic()).values)


def test_a_column_that_begins_leaves_the_others_their_past(series, clock):
    watched = check()
    series.add_check(watched)
    series.window(watched.key, "duration", 60.0, clock.monotonic())
    for duration_s in (0.5, 0.75):
        run(series, clock, watched, duration_s=duration_s, phases={"tls": 0.5})
        clock.advance(10.0)
    series.window(watched.key, "duration:tls", 60.0, clock.monotonic())
    run(series, clock, watched, duration_s=1.0, phases={"tls": 0.25})
    duration, tls = (series.window(watched.key, name, 60.0, clock.monotonic()) for name in ("duration", "duration:tls"))

    assert [0.5, 0.75, 1.0] == list(duration.values)
    assert ([0.25], [clock.monotonic()]) == (list(tls.values), list(tls.times))


@pytest.mark.parametrize(("interval_s", "kept"), [(1200.0, [3.0, 4.0, 5.0]), (100.0, [2.0, 3.0, 4.0, 5.0])])
def test_a_check_that_runs_more_or_less_often_from_now_on_keeps_its_past(series, clock, interval_s, kept):
    watched = check(interval_s=900.0)  # four durations are kept
    series.add_check(watched)
    series.window(watched.key, "duration", 7200.0, clock.monotonic())
    for number in range(6):
        run(series, clock, watched, duration_s=float(number), failure=REFUSED)
        clock.advance(1.0)
    series.add_check(check(interval_s=interval_s))
    past = series.checks[watched.key]
    minute = series.minute(clock.monotonic())

    assert 6 == len(series.window(watched.key, "duration", 7200.0, clock.monotonic()))
    assert (6, 6, REFUSED) == (past.runs, past.recent.failed_in_a_row, past.last.failure)
    assert stats.quantile(kept, 0.5) == past.quantiles(minute)[0]
    run(series, clock, watched, duration_s=6.0)
    assert stats.quantile([*kept[interval_s == 1200.0 :], 6.0], 0.5) == past.quantiles(minute)[0]


def test_raw_points_do_not_grow_with_time(series, clock):
    watched = check(interval_s=1.0)
    series.add_check(watched)
    sizes = []
    for _ in range(20_000):
        run(series, clock, watched)
        clock.advance(1.0)
        sizes.append(len(series.checks[watched.key]._points._times))
        series.window(watched.key, "failed", 300.0, clock.monotonic())

    assert max(sizes[5_000:]) <= 2 * 300 + 64


def test_the_last_hour_is_counted_by_minutes_with_gaps(series, clock):
    watched = check()
    series.add_check(watched)
    for _ in range(6):
        run(series, clock, watched, duration_s=0.2)
        clock.advance(10.0)
    clock.advance(120.0)
    run(series, clock, watched, duration_s=0.4, failure=REFUSED)
    history = series.checks[watched.key].history(series.minute(clock.monotonic()))

    assert MINUTES == len(history)
    assert [(6, 0), (0, 0), (0, 0), (1, 1)] == [(minute.runs, minute.failures) for minute in history[-4:]]
    assert pytest.approx(0.2) == history[-4].p50_s
    assert pytest.approx(0.4) == history[-1].max_s


def test_a_minute_is_handed_out_once_when_it_closes(series, clock):
    watched = check()
    series.add_check(watched)
    closed = []
    for _ in range(13):
        closed.append(run(series, clock, watched, duration_s=0.5))
        clock.advance(10.0)
    handed = [minute for minute in closed if minute is not None]

    assert [(6, 0, 0.5, 0.5), (6, 0, 0.5, 0.5)] == [tuple(minute)[1:] for minute in handed]
    assert handed[0].number + 1 == handed[1].number


def test_quantiles_of_the_last_hour_are_exact_and_forget_what_is_older(series, clock):
    watched = check(interval_s=10.0)
    series.add_check(watched)
    for _ in range(400):
        run(series, clock, watched, duration_s=9.0)  # older than an hour in the end
        clock.advance(10.0)
    recent = [0.001 * number for number in range(360)]
    for duration_s in recent:
        run(series, clock, watched, duration_s=duration_s)
        clock.advance(10.0)
    clock.advance(-10.0)
    p50, p95, p99 = series.checks[watched.key].quantiles(series.minute(clock.monotonic()))

    assert pytest.approx(stats.quantile(recent, 0.50), rel=0.02) == p50
    assert pytest.approx(stats.quantile(recent, 0.95), rel=0.02) == p95
    assert pytest.approx(stats.quantile(recent, 0.99), rel=0.02) == p99


def test_a_check_without_a_run_has_no_quantiles(series):
    watched = check()
    series.add_check(watched)

    assert () == series.checks[watched.key].quantiles(0)


def test_since_when_it_is_up_or_down_moves_only_with_the_outcome(series, clock):
    watched = check()
    series.add_check(watched)
    run(series, clock, watched)
    clock.advance(10.0)
    run(series, clock, watched)
    assert clock.monotonic() - 10.0 == series.checks[watched.key].state_since

    clock.advance(10.0)
    run(series, clock, watched, failure=REFUSED)
    assert clock.monotonic() == series.checks[watched.key].state_since
    assert REFUSED == series.checks[watched.key].last_failure.failure


def test_restored_minutes_fill_the_past_and_join_the_minute_under_way(series, clock):
    watched = check()
    series.add_check(watched)
    run(series, clock, watched)
    now = series.minute(clock.monotonic())
    series.checks[watched.key].restore([Minute(now - 2, 6, 1, 0.25, 0.5), Minute(now, 99, 99, 9.0, 9.0)])
    history = series.checks[watched.key].history(now)

    assert Minute(now - 2, 6, 1, 0.25, 0.5) == history[-3]
    assert (100, 99, 9.0) == (history[-1].runs, history[-1].failures, history[-1].max_s)
    assert 1 == series.checks[watched.key].open_minute().runs, "the former life counted its own"


def test_an_unchanged_check_keeps_its_past_over_a_reload(series, clock):
    watched = check()
    series.add_check(watched)
    run(series, clock, watched)
    series.add_check(check())

    assert 1 == series.checks[watched.key].runs
    assert [watched.key] == series.remove(watched.key)
    assert [] == series.remove(watched.key)


# ---------------------------------------------------------------- samplers

SAMPLER = Sampler(name="shop", kind="process", interval_s=5.0, config=None, labels={"team": "web"})
RSS = "perfmon_process_resident_memory_bytes"
CPU = "perfmon_process_cpu_seconds_total"


def read(series, clock, *samples, error=""):
    return series.add_reading(
        SAMPLER,
        Reading(sampler=SAMPLER, at=clock.monotonic(), duration_s=0.001, samples=samples, error=error),
    )


def test_a_new_series_is_named_once(series, clock):
    series.add_sampler(SAMPLER)
    sample = Sample(name=RSS, value=1e6, labels={"group": "shop"})

    assert [sample_key(SAMPLER, sample)] == [new.key for new in read(series, clock, sample)]
    clock.advance(5.0)
    assert [] == read(series, clock, sample)
    known = series.samplers[SAMPLER.key].series[sample_key(SAMPLER, sample)]
    assert {"sampler": "shop", "team": "web", "group": "shop"} == known.labels
    assert ("gauge", "bytes", 1e6) == (known.type, known.unit, known.level())


def test_a_counter_is_shown_as_its_rate_also_over_a_restart(series, clock):
    series.add_sampler(SAMPLER)
    levels = []
    for value in (100.0, 102.5, 1.0):
        read(series, clock, Sample(name=CPU, value=value, labels={"group": "shop", "mode": "user"}))
        levels.extend(known.level() for known in series.samplers[SAMPLER.key].series.values())
        clock.advance(5.0)

    assert math.isnan(levels[0])
    assert [0.5, 0.2] == levels[1:]


def test_a_series_that_is_silent_for_long_is_forgotten(series, clock):
    series.add_sampler(SAMPLER)
    gone = Sample(name=RSS, value=1.0, labels={"group": "gone"})
    stays = Sample(name=RSS, value=1.0, labels={"group": "stays"})
    read(series, clock, gone, stays)
    clock.advance(4000.0)
    read(series, clock, stays)

    assert [sample_key(SAMPLER, gone)] == series.forget_silent(clock.monotonic() - 3600.0)
    assert [sample_key(SAMPLER, stays)] == series.remove(SAMPLER.key)


def test_a_series_of_a_sampler_that_reads_nothing_is_not_forgotten(series, clock):
    """Otherwise an alert on its silence would be resolved after an hour of silence."""
    series.add_sampler(SAMPLER)
    read(series, clock, Sample(name=RSS, value=1.0, labels={"group": "shop"}))
    clock.advance(4000.0)
    read(series, clock, error="hangs")

    assert [] == series.forget_silent(clock.monotonic() - 3600.0)


def test_an_unknown_series_has_no_window(series, clock):
    with pytest.raises(KeyError):
        series.window("nobody", "failed", 60.0, clock.monotonic())


def test_the_tails_of_each_minute_are_those_of_its_own_runs(series, clock):
    watched = check(interval_s=1.0)
    series.add_check(watched)
    past = series.checks[watched.key]
    past.restore([Minute(series.minute(clock.monotonic()) - 1, 60, 0, 0.1, 0.2)])
    for second in range(120):
        run(series, clock, watched, duration_s=float(second % 60) + (100.0 if second >= 60 else 0.0))
        clock.advance(1.0)
    now = series.minute(clock.monotonic() - 1.0)
    tails = past.tails(now)

    expected = [stats.quantile([float(second) for second in range(60)], q) for q in (0.95, 0.99)]
    assert {now - 1: pytest.approx(expected), now: pytest.approx([value + 100.0 for value in expected])} == {
        number: list(pair) for number, pair in tails.items()
    }


def test_the_tails_of_minutes_older_than_what_is_kept_are_not_guessed(series, clock):
    watched = check(interval_s=1800.0)  # two durations are kept
    series.add_check(watched)
    for _ in range(3):
        run(series, clock, watched)
        clock.advance(60.0)
    now = series.minute(clock.monotonic() - 60.0)

    assert [now, now - 1] == list(series.checks[watched.key].tails(now))
