"""The leak verdict: what it says of each sort of series, and why."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfmon.leak import growth, judge
from perfmon.leak.guards import GUARDS

N = 600
SECONDS = range(N)


def noisy(shape, sigma=1.0, seed=1):
    """100 and what `shape` makes of the share of the window that has passed, in white noise."""
    noise = random.Random(seed)
    return [100 + shape(i / N) + noise.gauss(0, sigma) for i in SECONDS]


def sawtooth(i, period=30, height=15):
    return height * (i % period) / period


# ---------------------------------------------------------------- leaks


def test_a_steady_rise_is_a_leak_with_its_slope_and_interval():
    found = judge(SECONDS, noisy(lambda u: 10 * u, seed=2))

    assert ("leak", {}) == (found.verdict, found.failed)
    assert found.growth.low < 10 / N < found.growth.high
    assert 10 / N == pytest.approx(found.growth.slope, rel=0.1)
    assert found.growth.p < 0.001
    assert (N, N - 1) == (found.growth.n, found.growth.span_s)


def test_the_interval_holds_the_true_slope_nearly_always():
    found = [judge(SECONDS, noisy(lambda u: 5 * u, seed=seed)).growth for seed in range(100)]
    inside = sum(one.low <= 5 / N <= one.high for one in found)

    assert 90 <= inside <= 100


def test_a_leak_below_a_collectors_teeth_is_seen_by_its_lows():
    values = [value + sawtooth(i) for i, value in enumerate(noisy(lambda u: 15 * u, sigma=0.3))]

    assert "leak" == judge(SECONDS, values).verdict


def test_a_leak_beside_a_daily_cycle_is_found_once_the_cycle_is_named():
    values = noisy(lambda u: 10 * u + 5 * math.sin(4 * math.pi * u))

    assert "leak" == judge(SECONDS, values, season_s=N / 2).verdict


def test_a_gap_is_neither_filled_nor_counted():
    values = noisy(lambda u: 10 * u)
    holes = [i for i in SECONDS if not 250 <= i < 350]
    found = judge(holes, [values[i] for i in holes])

    assert ("leak", 500) == (found.verdict, found.n)
    assert 10 / N == pytest.approx(found.growth.slope, rel=0.15)


def test_growth_that_begins_anew_at_each_restart_is_a_leak_when_the_restarts_are_told():
    values = noisy(lambda u: 20 * (u % 0.26), sigma=0.5)
    restarts = [math.ceil(0.26 * N * k) for k in (1, 2, 3)]

    assert "leak" == judge(SECONDS, values, restarts=restarts).verdict
    assert "leak" != judge(SECONDS, values).verdict


def test_lows_of_summaries_are_the_low_envelope():
    """A summary of a point and its low says as much as the raw points did."""
    values = [value + sawtooth(i, period=6) for i, value in enumerate(noisy(lambda u: 15 * u, sigma=0.3))]
    tens = [sorted(values[i : i + 3]) for i in range(0, N, 3)]
    found = judge(range(0, N, 3), [ten[1] for ten in tens], lows=[ten[0] for ten in tens])

    assert "leak" == found.verdict


# ---------------------------------------------------------------- healthy, each for a reason of its own


@pytest.mark.parametrize(
    ("shape", "verdict"),
    [
        (lambda u: 0.0, "clean"),
        (lambda u: -10 * u, "clean"),
        (lambda u: 10 * (u > 0.15), "clean"),  # a warm-up that is over
        (lambda u: 20 * (1 - math.exp(-u / 0.3)), "growing"),
        (lambda u: 20 * math.sqrt(u), "growing"),
        (lambda u: 8 * math.log1p(u / 0.05), "growing"),
        (lambda u: 20 * min(u / 0.6, 1), "growing"),
        (lambda u: 8 * (u > 0.6), "clean"),
        (lambda u: 5 * math.sin(4 * math.pi * u), "clean"),
    ],
)
def test_what_grows_for_another_reason_is_no_leak(shape, verdict):
    assert verdict == judge(SECONDS, noisy(shape, sigma=0.5)).verdict


def rises(u):
    return 10 * u


@pytest.mark.parametrize(
    ("guard", "values", "known"),
    [
        ("effect_size", noisy(lambda u: 0.3 * u, sigma=0.05), {}),
        ("envelope", [v + (i % 20 == 0) * -30 for i, v in enumerate(noisy(rises))], {}),
        ("persistence", noisy(lambda u: 20 * min(u / 0.55, 1)), {}),
        ("step", noisy(lambda u: 6 * (u > 0.5) + 6 * (u > 0.8), sigma=2), {}),
        ("restarts", noisy(lambda u: 40 * u * (0.55 < u < 0.85), sigma=2), {"restarts": [200, 330, 510]}),
        ("deceleration", noisy(lambda u: 20 * math.sqrt(u), sigma=0.3), {}),
        ("saturation", noisy(lambda u: 20 * min(u / 0.7, 1), sigma=0.5), {}),
        ("season", noisy(rises), {"season_s": N}),
        ("horizon", noisy(rises), {"limit": 1e6, "horizon_s": 3600}),
    ],
)
def test_each_guard_speaks_by_its_name_and_in_words(guard, values, known):
    found = judge(SECONDS, values, **known)

    assert "leak" != found.verdict
    assert len(found.failed[guard].split()) > 3


def test_every_guard_is_tried_above():
    tried = {
        mark.args[1][i][0] for mark in test_each_guard_speaks_by_its_name_and_in_words.pytestmark for i in range(9)
    }

    assert set(GUARDS) | {"horizon"} == tried


def test_a_window_of_less_than_two_seasons_is_suspect_at_most():
    found = judge(SECONDS, noisy(lambda u: 10 * u), season_s=N / 1.2)

    assert "suspect" == found.verdict
    assert "the window holds 1.2 cycles of the season, two are needed to tell it from growth" == found.failed["season"]


def test_a_step_of_whole_descriptors_is_no_leak_and_a_staircase_is_one():
    assert "leak" != judge(SECONDS, [20.0 + (i > 300) for i in SECONDS]).verdict
    assert "leak" == judge(SECONDS, [20.0 + i // 40 for i in SECONDS]).verdict


# ---------------------------------------------------------------- growth, whatever the reason


def test_growth_is_measured_also_of_what_is_no_leak():
    found = growth(SECONDS, noisy(lambda u: 20 * min(u / 0.5, 1)))

    assert 0 < found.low < 20 / N < found.high


def test_eight_points_are_enough_for_growth():
    assert growth(range(7), [float(i) for i in range(7)]) is None
    assert (2.0, 8) == (growth(range(8), [2.0 * i for i in range(8)]).slope, 8)
    assert growth([*range(99), 1e9], [1.0] * 100) is None


# ---------------------------------------------------------------- limits


def test_the_time_to_the_limit_is_what_is_left_over_the_slope():
    found = judge(SECONDS, [100.0 + i for i in SECONDS], limit=1000.0, horizon_s=3600)

    assert ("leak", 1000.0 - 699.0) == (found.verdict, found.seconds_to_limit)


def test_beyond_the_limit_no_time_is_left():
    assert 0.0 == judge(SECONDS, [100.0 + i for i in SECONDS], limit=50.0, horizon_s=3600).seconds_to_limit


def test_without_growth_there_is_no_time_to_the_limit():
    assert judge(SECONDS, [100.0] * N, limit=1000.0).seconds_to_limit is None


# ---------------------------------------------------------------- what is not enough, and what is broken


@pytest.mark.parametrize(
    ("times", "values", "why"),
    [
        ([], [], "0 points, 96 are needed"),
        (range(95), [1.0] * 95, "95 points, 96 are needed"),
        (SECONDS, [math.nan] * N, "0 points, 96 are needed"),
        ([0.0] * N, [1.0] * N, "600 points, 96 are needed"),
        ([*range(99), 1e6], [1.0] * 100, "the points have too many gaps"),
    ],
)
def test_too_little_is_said_to_be(times, values, why):
    found = judge(times, values)

    assert ("insufficient_data", None, {"data": why}) == (found.verdict, found.growth, found.failed)


def test_values_that_are_no_numbers_are_left_out():
    values = noisy(lambda u: 10 * u)
    values[7], values[300] = math.nan, math.inf

    assert ("leak", N - 2) == (judge(SECONDS, values).verdict, judge(SECONDS, values).n)


@pytest.mark.parametrize("values", [[5.0] * N, [0.0] * N, [-3.0 + (i % 2) for i in SECONDS]])
def test_what_stands_still_is_clean(values):
    assert "clean" == judge(SECONDS, values).verdict


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e12])
def test_the_unit_does_not_matter(scale):
    values = noisy(lambda u: 10 * u)
    found = judge([1e6 + 60 * t for t in SECONDS], [value * scale for value in values])

    assert "leak" == found.verdict
    assert judge(SECONDS, values).growth.slope * scale / 60 == pytest.approx(found.growth.slope, rel=1e-6)


finite = st.floats(-1e12, 1e12)
anything = st.one_of(finite, st.sampled_from([math.nan, math.inf, 0.0, 1.0, 1e99, -1e99]))


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(anything, min_size=96, max_size=160),
    gaps=st.lists(st.floats(0, 1e4), min_size=160, max_size=160),
    restarts=st.lists(st.floats(0, 1e6), max_size=3),
    season=st.sampled_from([None, 1.0, 1e3, 1e5]),
)
def test_any_series_gets_a_verdict(values, gaps, restarts, season):
    times = [sum(gaps[:i]) for i in range(len(values))]
    found = judge(times, values, restarts=restarts, season_s=season, limit=5.0, horizon_s=60.0)

    assert found.growth is None or found.growth.low <= found.growth.slope <= found.growth.high
    assert ("leak" == found.verdict) <= (not found.failed)
