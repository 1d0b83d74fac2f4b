"""The condition `change`: another level than before, and no noise, no season, no outlier."""

import math
import random

import pytest

from perfmon.conditions import change
from perfmon.model import Window

HOUR_S, DAY_S = 3600.0, 86_400.0
CONFIG = change.parse({})


def window(level, *, hours=25, every_s=100.0, seed=1, noise=0.05, unit="seconds"):
    """Hours up to now, of which `level(hours_ago)` is the mean; with noise in proportion."""
    dice = random.Random(seed)
    now, count = 1e6, int(hours * HOUR_S / every_s)
    times = [now - every_s * ago for ago in range(count - 1, -1, -1)]
    values = [level((now - at) / HOUR_S) * dice.gauss(1.0, noise) for at in times]
    return Window(
        metric="duration", type="gauge", unit=unit, times=times, values=values, now=now, span_s=25 * HOUR_S,
        since=times[0], last_at=now, interval_s=every_s,
    )  # fmt: skip


def judged(level, config=CONFIG, **more):
    return change.evaluate(window(level, **more), config)


def step(before, after, hours_ago=1.0):
    return lambda ago: after if ago < hours_ago else before


def daily(swing, phase=0.0):
    return lambda ago: 0.2 * (1 + swing * math.sin(2 * math.pi * (ago + phase) / 24))


@pytest.mark.parametrize(
    ("level", "words", "expected"),
    [
        (step(0.2, 0.28), {}, "critical"),
        (step(0.2, 0.21), {}, "ok"),  # too small to matter
        (step(0.2, 0.1), {}, "ok"),  # down, where up was asked for
        (step(0.2, 0.1), {"direction": "down"}, "critical"),
        (step(0.2, 0.1), {"direction": "any"}, "critical"),
        (step(0.2, 0.28), {"by": "100ms"}, "ok"),
        (step(0.2, 0.28), {"by": "50ms"}, "critical"),
        (step(0.2, 0.28, 0.25), {}, "ok"),  # a quarter of an hour is not yet the window's level
    ],
)
def test_a_step_is_a_change_when_it_is_large_enough_and_goes_where_it_matters(level, words, expected):
    assert expected == judged(level, change.parse(words)).level


def test_noise_is_none():
    """One verdict of each of 200 noisy series; of 2,000 others, with noise as large as the level, none was broken."""
    assert [] == [seed for seed in range(100) if judged(step(0.2, 0.2), seed=seed, noise=0.1).broken]
    assert [] == [seed for seed in range(1000, 1100) if judged(step(0.2, 0.2), seed=seed, noise=1.0).broken]


def test_a_step_that_drowns_in_noise_is_none_and_says_so():
    verdict = judged(step(0.2, 0.26), noise=3.0, every_s=400.0)

    assert "ok" == verdict.level
    assert "which its noise explains (p " in verdict.why or "expected less than 20% more" in verdict.why


@pytest.mark.parametrize("hour", range(0, 24, 3))
def test_a_season_of_a_day_is_none_as_soon_as_against_holds_a_day_of_it(hour):
    assert "ok" == judged(daily(0.6, phase=hour)).level


def test_what_was_there_before_is_none():
    bursts = judged(lambda ago: 0.4 if ago < 1 or 12 < ago < 14 else 0.2)

    assert "ok" == bursts.level
    assert ", which was there before: " in bursts.why


def test_outliers_are_none():
    dice = random.Random(3)

    assert "ok" == judged(lambda ago: 20.0 if ago < 1 and dice.random() < 0.3 else 0.2).level


@pytest.mark.parametrize(
    ("hours", "every_s", "why"),
    [
        (6, 100.0, "36 points in 1h, and 180 in 4h58m before, expected 6 of each and half of 1d"),
        (25, 1200.0, "3 points in 1h, and 72 in 23h40m before, expected 6 of each and half of 1d"),
    ],
)
def test_of_too_little_it_says_nothing(hours, every_s, why):
    verdict = judged(step(0.2, 0.4), hours=hours, every_s=every_s)

    assert ("waiting", why) == (verdict.level, verdict.why)


def test_it_says_what_it_saw_and_what_was_expected():
    verdict = judged(step(0.2, 0.3), noise=0.0)

    assert (
        "duration is 300ms over 1h, 50% more than 200ms over the 1d before (p < 0.0001), expected less than 20% more"
        == verdict.why
    )
    assert (0.3, pytest.approx(0.24)) == (verdict.value, verdict.limit)
    assert (
        "duration is 200ms over 1h, 0% more than 200ms over the 1d before, expected less than 20% more"
        == judged(step(0.2, 0.2), noise=0.0).why
    )


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"window": "1h", "against": "90m"}, "expected against of twice the window at least, 2h, got 1h30m"),
        ({"by": "0%"}, 'by: expected a change above 0 such as 20% or 50ms, got "0%"'),
        ({"by": "5/s"}, 'by: expected a change above 0 such as 20% or 50ms, got "5/s"'),
    ],
)
def test_settings_that_make_no_sense_are_refused(raw, message):
    with pytest.raises(ValueError, match="expected") as caught:
        change.parse(raw)

    assert message == str(caught.value)


@pytest.mark.parametrize("raw", [{}, {"window": "10m", "against": "7d", "by": "50ms", "direction": "any"}])
def test_it_is_written_as_it_is_read(raw):
    assert change.parse(raw) == change.parse(change.written(change.parse(raw)))


def test_it_is_of_levels_in_units_that_fit():
    assert None is change.problem(CONFIG, "gauge", "seconds")
    assert "the series is in bytes, and by is in seconds; a share such as 20% suits every series" == change.problem(
        change.parse({"by": "5ms"}), "gauge", "bytes"
    )
    assert change.problem(CONFIG, "counter", "").startswith("a counter only grows")
