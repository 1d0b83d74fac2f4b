"""The condition `absent`: a series must go on."""

import pytest

from perfmon.conditions import absent
from perfmon.model import Window

NOW = 10_000.0


def silent(*, last_at=None, since=0.0):
    return Window(
        metric="duration", type="gauge", unit="seconds", times=(), values=(), now=NOW, span_s=0.0,
        since=since, last_at=last_at, interval_s=10.0,
    )  # fmt: skip


def judge(seen):
    return absent.evaluate(seen, absent.parse("5m"))


@pytest.mark.parametrize(("age", "level"), [(0, "ok"), (300, "ok"), (301, "critical")])
def test_a_series_is_broken_when_its_newest_point_is_too_old(age, level):
    verdict = judge(silent(last_at=NOW - age))

    assert (level, age, 300.0) == (verdict.level, verdict.value, verdict.limit)


def test_it_says_since_when():
    why = judge(silent(last_at=NOW - 420)).why

    assert "newest point of duration is 7m old, expected one at least every 5m" == why


@pytest.mark.parametrize(("age", "level"), [(300, "waiting"), (301, "critical")])
def test_a_series_that_never_came_is_awaited_then_missed(age, level):
    assert level == judge(silent(since=NOW - age)).level


def test_it_says_how_long_a_series_is_overdue_that_never_came():
    why = judge(silent(since=NOW - 420)).why

    assert "no point of duration in the 7m since it is expected, expected one at least every 5m" == why


def test_silence_before_a_restart_does_not_count():
    verdict = judge(silent(last_at=NOW - 7200, since=NOW - 10))

    assert ("waiting", 10.0) == (verdict.level, verdict.value)
    assert "newest point of duration is 2h old, expected one at least every 5m" == verdict.why


@pytest.mark.parametrize("raw", ["5m", 300, {"after": "5m"}, {"after": 300}])
def test_the_short_and_the_long_form_are_the_same(raw):
    assert absent.Config(after=300.0) == absent.parse(raw)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("soon", 'expected a duration such as 250ms, 5s or 1h30m, got "soon"'),
        ("0s", 'expected a duration above 0, got "0s"'),
        ({}, "expected a duration such as 5m, or {after: 5m}, got {}"),
        ({"before": "5m"}, 'expected a duration such as 5m, or {after: 5m}, got {"before": "5m"}'),
    ],
)
def test_a_setting_that_means_nothing_is_told_why(raw, message):
    with pytest.raises(ValueError) as error:
        absent.parse(raw)

    assert message == str(error.value)
