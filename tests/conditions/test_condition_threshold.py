"""The condition `threshold`: sentences about windows, and the words it finds."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from perfmon.conditions import threshold as condition
from perfmon.model import Verdict, Window

NOW = 10_000.0


def window(values, *, type="gauge", unit="seconds", every=10.0, span_s=300.0, since=0.0, last_at=None, newest=NOW, metric="duration"):  # fmt: skip # noqa: A002 -- named as the model's field
    times = [newest - every * (len(values) - 1 - i) for i in range(len(values))]
    return Window(
        metric=metric, type=type, unit=unit, times=times, values=values, now=NOW, span_s=span_s, since=since,
        last_at=times[-1] if times else last_at, interval_s=every,
    )  # fmt: skip


def judge(text, seen):
    return condition.evaluate(seen, condition.parse(text))


def failed(*values):
    return window([float(value) for value in values], type="flag", unit="", metric="failed", span_s=60.0)


def sent_bytes(*values, every=10.0):
    return window([float(value) for value in values], type="counter", unit="bytes", metric="sent", every=every)


# ---------------------------------------------------------------- what it says


def test_a_slow_p95_is_broken_and_says_what_was_seen():
    verdict = judge("p(95) < 200ms over 5m", window([0.1] * 27 + [0.312] * 3))

    assert "p95 of duration over 5m is 312ms, expected < 200ms (30 points)" == verdict.why
    assert ("critical", 0.312, 0.2, 30) == (verdict.level, verdict.value, verdict.limit, verdict.n)
    assert (0.1, None) == (verdict.low, verdict.high)  # thirty points bound a p95 from below only


@pytest.mark.parametrize(
    ("text", "seen", "why"),
    [
        ("avg < 2s", window([1.0, 2.0]), "avg of duration over 5m is 1.5s, expected < 2s (2 points)"),
        ("med <= 2", window([1.0, 2.0]), "med of duration over 5m is 1.5s, expected <= 2s (2 points)"),
        ("min > 0.5s", window([1.0, 2.0]), "min of duration over 5m is 1s, expected > 500ms (2 points)"),
        ("max != 3s", window([1.0, 2.0]), "max of duration over 5m is 2s, expected != 3s (2 points)"),
        ("sum == 3s", window([1.0, 2.0]), "sum of duration over 5m is 3s, expected == 3s (2 points)"),
        ("stddev < 1s", window([1.0, 2.0]), "stddev of duration over 5m is 500ms, expected < 1s (2 points)"),
        ("count >= 2", window([1.0, 2.0]), "count of duration over 5m is 2, expected >= 2 (2 points)"),
        ("last < 3s", window([1.0, 2.0]), "last of duration is 2s, expected < 3s (1 point)"),
        ("< 3MiB", window([1048576.0], unit="bytes"), "last of duration is 1 MiB, expected < 3 MiB (1 point)"),
        ("last < 5%", window([0.04], unit=""), "last of duration is 4%, expected < 5% (1 point)"),
        ("rate < 50% over 1m", failed(1, 0, 0, 0), "rate of failed over 1m is 25%, expected < 50% (4 points)"),
        ("rate < 3kB/s", sent_bytes(0, 20480), "rate of sent over 5m is 2 KiB/s, expected < 3000 B/s (2 points)"),
    ],
)
def test_a_true_sentence_is_ok_and_says_the_value_in_the_series_unit(text, seen, why):
    verdict = judge(text, seen)

    assert ("ok", why) == (verdict.level, verdict.why)


def test_a_value_that_rounds_to_the_limit_is_shown_with_more_digits():
    assert "last of duration is 200.04ms, expected < 200ms (1 point)" == judge("< 200ms", window([0.20004])).why


def test_seconds_per_second_are_a_share():
    """A process that used 3 s of CPU in 10 s."""
    verdict = judge("rate < 25%", window([1.0, 4.0], type="counter", metric="cpu"))

    assert "rate of cpu over 5m is 30%, expected < 25% (2 points)" == verdict.why
    assert "critical" == verdict.level


def test_the_rate_of_a_flag_has_wilsons_interval():
    verdict = judge("rate < 1%", failed(*[0] * 10))

    assert "ok" == verdict.level
    assert (0.0, 0.27753) == pytest.approx((verdict.low, verdict.high), abs=1e-5)


# ---------------------------------------------------------------- counters


@pytest.mark.parametrize(
    ("values", "per_second"),
    [
        ([100, 200, 400], 15.0),
        ([100, 200, 50, 80], 6.0),  # a restart: 100 before it, 50 and 30 after
        ([7, 7, 7], 0.0),
    ],
)
def test_the_rate_of_a_counter_is_its_increase_per_second_across_restarts(values, per_second):
    assert per_second == judge("rate < 1MiB/s", sent_bytes(*values)).value


def test_one_point_of_a_counter_is_awaited_then_missed():
    seen = sent_bytes(5)
    young = window([5.0], type="counter", unit="bytes", metric="sent", since=NOW - 60)

    assert "waiting" == judge("rate < 1kB/s", young).level
    assert Verdict(
        level="no_data", n=1, why="1 point of sent over 5m, expected two at least for a rate"
    ) == judge("rate < 1kB/s", seen)  # fmt: skip


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=50))
def test_growth_is_never_negative_and_exact_without_a_restart(values):
    assert judge("rate < 1", sent_bytes(*values)).value >= 0
    rising = sorted(values)
    seconds = 10.0 * (len(values) - 1)

    assert math.isclose((rising[-1] - rising[0]) / seconds, judge("rate < 1 over 1h", sent_bytes(*rising)).value)


# ---------------------------------------------------------------- levels


@pytest.mark.parametrize(("value", "level"), [(0.1, "ok"), (0.3, "warning"), (0.6, "critical")])
def test_two_levels_in_one_sentence_or_two_say_the_same(value, level):
    seen = window([value] * 5)

    assert level == judge("p95 < 200ms warning, 500ms critical", seen).level
    assert level == judge({"warning": "p95 < 200ms", "critical": "p95 < 500ms"}, seen).level


def test_two_sentences_may_look_at_different_things():
    text = {"warning": "max < 1s over 1m", "critical": "avg < 2s over 10m"}
    seen = window([9.0] * 54 + [0.5] * 6, span_s=600.0)

    assert 600.0 == condition.span_s(condition.parse(text))
    assert ("critical", 60) == (judge(text, seen).level, judge(text, seen).n)
    assert ("ok", 6) == (judge("max < 1s over 1m", seen).level, judge("max < 1s over 1m", seen).n)


def test_a_counters_shorter_sentence_in_a_longer_window_has_its_own_time():
    seen = window([float(60 * i) for i in range(10)], type="counter", unit="bytes", span_s=300.0)

    assert 6.0 == judge("rate < 1kB/s over 30s", seen).value


# ---------------------------------------------------------------- silence


@pytest.mark.parametrize(
    ("text", "since", "level"),
    [
        ("avg < 1s", NOW - 299, "waiting"),
        ("avg < 1s", NOW - 300, "no_data"),
        ("avg < 1s over 10s", NOW - 19, "waiting"),  # two intervals of 10 s
        ("avg < 1s over 10s", NOW - 20, "no_data"),
        ("last < 1s", NOW - 29, "waiting"),  # three intervals
        ("last < 1s", NOW - 30, "no_data"),
    ],
)
def test_a_series_without_a_point_is_awaited_then_missed(text, since, level):
    verdict = judge(text, window([], since=since))

    assert level == verdict.level
    assert "no point yet of duration, expected one every 10s" == verdict.why
    assert (level == "no_data") == verdict.broken


@pytest.mark.parametrize(("ago", "level"), [(299, "waiting"), (300, "no_data")])
def test_a_series_that_falls_silent_is_missed_after_its_window(ago, level):
    verdict = judge("avg < 1s", window([], last_at=NOW - ago))

    assert level == verdict.level
    assert verdict.why.startswith("no point of duration for ")


def test_silence_before_a_restart_does_not_count():
    assert "waiting" == judge("avg < 1s", window([], last_at=NOW - 5000, since=NOW - 5)).level


@pytest.mark.parametrize(("age", "level"), [(30, "ok"), (31, "no_data")])
def test_the_last_point_must_be_fresh(age, level):
    assert level == judge("last < 1s", window([0.5], newest=NOW - age)).level


def test_a_grace_time_excuses_what_is_broken_and_what_is_missing():
    broken = window([5.0], since=NOW - 59)
    text = "avg < 1s over 10s within 1m"

    assert "waiting" == judge(text, broken).level
    assert judge(text, broken).why.endswith("(1 point), which does not count within the first 1m")
    assert "waiting" == judge(text, window([], since=NOW - 59)).level
    assert "ok" == judge(text, window([0.5], since=NOW - 59)).level
    assert "critical" == judge(text, window([5.0], since=NOW - 60)).level


def test_a_value_that_is_no_number_is_no_data():
    assert "no_data" == judge("avg < 1s", window([1.0, math.nan])).level


# ---------------------------------------------------------------- settings


def test_span_and_for_come_from_the_sentence():
    config = condition.parse("avg < 1s over 10m for 30s")

    assert (600.0, 30.0) == (condition.span_s(config), condition.for_s(config))


@pytest.mark.parametrize(
    ("raw", "severities"),
    [
        ("avg < 1s", ()),
        ("avg < 1s warning", ("warning",)),
        ("avg < 2s critical, 1s warning", ("warning", "critical")),
        ({"critical": "avg < 2s", "warning": "max < 3s"}, ("warning", "critical")),
    ],
)
def test_the_levels_that_are_named_are_known(raw, severities):
    assert severities == condition.severities(condition.parse(raw))


def test_without_over_and_for_the_defaults_hold():
    assert (300.0, None) == (condition.span_s(condition.parse("< 1s")), condition.for_s(condition.parse("< 1s")))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            3,
            'expected a threshold such as "p(95) < 200ms over 5m", or a mapping with one for warning and one for critical, got 3',
        ),
        (
            {"fatal": "avg < 3"},
            'expected a threshold such as "p(95) < 200ms over 5m", or a mapping with one for warning and one for critical, got {"fatal": "avg < 3"}',
        ),
        (
            {"warning": 3},
            'expected a threshold such as "p(95) < 200ms over 5m", or a mapping with one for warning and one for critical, got {"warning": 3}',
        ),
        (
            {"warning": "avg < 3 warning"},
            'warning: expected a threshold without a level of its own, got "avg < 3 warning"',
        ),
        ({"warning": "avg < 3 for 5s", "critical": "avg < 5"}, 'expected the same "for" for warning and critical'),
        (
            "avg < baseline * 1.1",
            "a threshold has no baseline, expected a limit such as 200ms, or `change: {window: 5m, against: 1d, by: 10%}` in place of it",
        ),
        ("avg", 'expected a threshold such as "p(95) < 200ms over 5m", got "avg"'),
    ],
)
def test_a_setting_that_means_nothing_is_told_why(raw, message):
    with pytest.raises(ValueError) as error:
        condition.parse(raw)

    assert message == str(error.value)


@pytest.mark.parametrize(
    ("text", "type", "unit", "expected"),
    [
        ("rate < 1%", "flag", "", None),
        ("rate < 10MiB/min", "counter", "bytes", None),
        ("rate < 10MiB", "counter", "bytes", None),
        ("rate < 50%", "counter", "seconds", None),
        ("rate < 0.5s/s", "counter", "seconds", None),
        ("count > 3", "counter", "seconds", None),
        ("last < 3", "gauge", "bytes", None),
        ("last < 5%", "gauge", "", None),
        ("rate < 1%", "gauge", "seconds", "`rate` needs a flag or a counter, and this is a gauge: use `avg`, `max` or `last`"),
        ("p95 < 3", "counter", "", "`p95` of a counter says nothing, since it only grows: use `rate`"),
        ("rate < 2/s", "flag", "", "`rate` of a flag is a share, expected a limit such as 1%"),
        ("avg < 500MiB", "gauge", "seconds", "the series is in seconds, and the limit in bytes"),
        ("avg < 5ms", "flag", "", "the series is of zeros and ones, and the limit in seconds: is `metric` missing?"),
        ("p95 < 200ms", "flag", "", "the series is of zeros and ones, and the limit in seconds: is `metric` missing?"),
        ("avg < 5%", "gauge", "bytes", "the series is in bytes, and the limit in shares of one"),
        ("rate < 5ms/s", "counter", "bytes", "the series is in bytes, and the limit in seconds"),
    ],
)  # fmt: skip
def test_a_sentence_that_does_not_fit_the_series_is_told_why(text, type, unit, expected):  # noqa: A002 -- named as the model's field
    assert expected == condition.problem(condition.parse(text), type, unit)


SENTENCES = ["p95 < 1s", "avg > 3", "last < 1", "stddev < 1 over 1m", "count > 3", "med < 1 within 1h"]


@given(
    st.sampled_from(SENTENCES).map(lambda text: (text, "gauge")) | st.just(("rate < 5%", "flag")),
    st.lists(st.floats(0, 1e9), max_size=30),
    st.floats(0, NOW),
)
def test_every_window_gets_a_verdict_that_is_whole(case, values, since):
    """A level with its reason; a value with its limit, inside its interval."""
    text, type_ = case
    points = [float(value > 1e6) for value in values] if type_ == "flag" else values
    verdict = judge(text, window(points, type=type_, since=since))

    assert verdict.why
    assert (verdict.value is None) == (verdict.limit is None)
    if verdict.value is not None:
        assert verdict.n > 0
        assert verdict.low is None or verdict.low <= verdict.value
        assert verdict.high is None or verdict.high >= verdict.value


def test_a_recheck_is_the_last_value_and_none_of_those_that_are_aggregated():
    seen = replace(failed(0, 0, 0, 1), newer=(NOW, 0.0))

    assert "ok" == judge("last < 1", seen).level
    assert 0.25 == judge("rate < 50%", seen).value
    long_ago = NOW - 31.0
    stale = replace(seen, newer=(long_ago, 0.0), last_at=long_ago, times=[], values=[])
    assert "no_data" == judge("last < 1", stale).level
