"""Quantiles, averages and intervals against closed forms, numpy's figures and simulation."""

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmon import stats

samples = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=50)


@pytest.mark.parametrize(
    ("values", "q", "expected"),
    [
        ([7.0], 0.95, 7.0),
        ([1.0, 2.0, 3.0, 4.0], 0.0, 1.0),
        ([1.0, 2.0, 3.0, 4.0], 0.25, 1.75),
        ([1.0, 2.0, 3.0, 4.0], 0.5, 2.5),
        ([1.0, 2.0, 3.0, 4.0], 1.0, 4.0),
        ([10.0, 20.0, 30.0, 40.0, 50.0], 0.9, 46.0),
    ],
)
def test_a_quantile_is_interpolated_as_numpy_does_by_default(values, q, expected):
    assert expected == stats.quantile(values, q)


@given(samples, st.floats(0, 1), st.floats(0, 1))
def test_quantiles_lie_inside_the_sample_and_rise_with_q(values, one, other):
    values = sorted(values)
    low, high = sorted((one, other))
    slack = 1e-6  # the rounding of one interpolation

    assert values[0] <= stats.quantile(values, low) <= stats.quantile(values, high) + slack
    assert stats.quantile(values, high) <= values[-1] + slack


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30))
def test_the_median_is_that_of_the_standard_library(values):
    assert math.isclose(statistics.median(values), stats.quantile(sorted(values), 0.5), abs_tol=1e-9)


@given(samples)
def test_mean_and_deviation_are_those_of_the_standard_library(values):
    assert math.isclose(statistics.fmean(values), stats.mean(values), rel_tol=1e-12, abs_tol=1e-300)
    assert math.isclose(statistics.pstdev(values), stats.stddev(values), rel_tol=1e-6, abs_tol=1e-6)


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (1, 10), (5, 10), (10, 10), (3, 1000)])
def test_the_interval_of_a_share_ends_where_the_normal_test_would_just_reject(hits, n):
    """Wilson's definition: the shares p with (hits/n - p)^2 = z^2 p (1 - p) / n."""
    for p in stats.proportion_interval(hits, n):
        assert math.isclose((hits / n - p) ** 2, 1.959964**2 * p * (1 - p) / n, rel_tol=1e-6, abs_tol=1e-12)


def test_no_failure_in_ten_runs_still_allows_28_percent():
    assert (0.0, 0.27753) == pytest.approx(stats.proportion_interval(0, 10), abs=1e-5)  # z^2 / (n + z^2)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_of_a_share_encloses_it_within_0_and_1(case):
    hits, n = case
    low, high = stats.proportion_interval(hits, n)

    assert 0 <= low <= hits / n <= high <= 1


def test_the_median_of_ten_lies_between_the_second_and_the_ninth():
    """The textbook's table: P(binomial(10, 1/2) <= 1) is 1.07 %, of <= 2 it is 5.5 %."""
    assert (2, 9) == stats.quantile_interval(range(1, 11), 0.5)


def test_thirty_values_have_no_upper_bound_for_p95():
    low, high = stats.quantile_interval(range(30), 0.95)

    assert 25 == low
    assert high is None


def test_the_least_and_the_largest_have_no_interval():
    assert (None, None) == stats.quantile_interval(range(300), 0.0)
    assert (None, None) == stats.quantile_interval(range(300), 1.0)


@pytest.mark.parametrize("q", [0.5, 0.95])
def test_the_interval_of_a_quantile_holds_the_truth_95_times_in_a_hundred(q):
    """Of 2,000 uniform samples of 100; 95 % is the floor, as the ranks are discrete."""
    rng = random.Random(7)
    hits = 0
    for _ in range(2000):
        low, high = stats.quantile_interval(sorted(rng.random() for _ in range(100)), q)
        hits += (low is None or low <= q) and (high is None or q <= high)

    assert 0.945 <= hits / 2000 <= 0.985


@pytest.mark.parametrize("q", [0.01, 0.5, 0.95])
def test_the_approximation_for_large_samples_meets_the_exact_sum(q):
    exact = stats.quantile_interval(range(2000), q)
    approximate = stats.quantile_interval(range(2001), q)

    assert approximate == pytest.approx(exact, abs=3)


@given(samples, st.floats(0, 1))
def test_the_interval_of_a_quantile_encloses_it(values, q):
    values = sorted(values)
    low, high = stats.quantile_interval(values, q)
    middle = stats.quantile(values, q)

    assert low is None or low <= middle
    assert high is None or middle <= high
