"""The schedule of arrivals is arithmetic: exact, the same each time, and the sum of its shards."""

import math
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmon.offer import Closed, Course, Open
from perfmon.shapes import SHAPES, shaped

STAGES = st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0, 3.0]), st.floats(0, 200)), min_size=1, max_size=5)


@pytest.mark.parametrize(("rate", "duration"), [(200, 30), (7, 3), (0.1, 100), (3333.3, 3)])
def test_a_rate_gives_exactly_rate_times_duration_arrivals(rate, duration):
    """A5."""
    times = list(Open(course=Course.level(rate, duration)).times())

    assert math.ceil(rate * duration - 1e-6) == len(times)
    assert max(abs(due - number / rate) for number, due in enumerate(times)) < 1e-9


def test_a_ramp_has_as_many_arrivals_as_lie_below_it():
    """A8: by the time t they are R t² / 2D."""
    times = list(Open(course=Course.through(0, [(10, 100)])).times())

    assert 500 == len(times)
    for t in (1.0, 2.5, 5.0, 9.99):
        assert abs(sum(due < t for due in times) - 100 * t * t / 20) <= 1


def test_a_spike_has_its_arrivals_within_its_own_time():
    """A9: 50/s, a second of 500/s, 50/s."""
    course = Course.through(50, [(2, 50), (0, 500), (1, 500), (0, 50), (2, 50)])
    times = list(Open(course=course).times())

    assert [100, 500, 100] == [sum(a <= due < b for due in times) for a, b in ((0, 2), (2, 3), (3, 5))]
    assert 2.0 == times[100]


def test_poisson_arrivals_come_as_independent_people_do():
    """A5: gaps are exponential (Kolmogorov and Smirnov, p > 0.01) and counts of a second vary as their mean does."""
    times = list(Open(course=Course.level(100, 60), spacing="poisson", seed=7).times())
    gaps = sorted(b - a for a, b in pairwise(times))
    n = len(gaps)
    cumulated = [1 - math.exp(-100 * gap) for gap in gaps]
    distance = max(max((i + 1) / n - f, f - i / n) for i, f in enumerate(cumulated))
    counts = [sum(s <= due < s + 1 for due in times) for s in range(60)]
    chi2 = sum((count - 100) ** 2 / 100 for count in counts)

    assert distance < 1.63 / math.sqrt(n)  # the bound of p = 0.01
    assert 34.8 < chi2 < 91.9  # of 60 counts, at 1 % and 99.5 %: the chi-squared quantiles of 59 degrees
    assert times != list(Open(course=Course.level(100, 60), spacing="poisson", seed=8).times())


@given(st.floats(0, 200), STAGES, st.sampled_from(["uniform", "poisson"]), st.integers(1, 7), st.integers(0, 99))
def test_the_shards_together_are_the_whole_to_the_last_bit(start, stages, spacing, of, seed):
    offer = Open(course=Course.through(start, [*stages, (1.0, 1.0)]), spacing=spacing, seed=seed)
    whole = list(offer.times())
    shards = [list(offer.times(shard, of)) for shard in range(of)]

    assert [due.hex() for due in whole] == [due.hex() for due in sorted(due for shard in shards for due in shard)]
    assert all(shards[number % of][number // of] == due for number, due in enumerate(whole))


@given(st.floats(0, 200), STAGES)
def test_arrivals_ascend_and_stay_within_the_test(start, stages):
    course = Course.through(start, [*stages, (1.0, 1.0)])
    times = list(Open(course=course).times())

    assert times == sorted(times)
    assert all(0 <= due <= course.duration_s for due in times)
    assert abs(len(times) - course.area) <= 1


def test_ten_million_arrivals_are_no_list():
    times = Open(course=Course.level(10_000, 86_400)).times()

    assert [0.0, 1e-4, 2e-4] == pytest.approx(list(islice(times, 3)))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_keeps_to_its_duration_and_its_peak(shape):
    course = Course.through(0, shaped(shape, 200, 60))

    assert 60 == pytest.approx(course.duration_s)
    assert 200 == course.highest


def test_users_of_a_ramp_come_and_go_one_after_the_other():
    course = Closed(course=Course.through(0, [(10, 10), (5, 10), (10, 0)])).course

    assert [(0, 25)] == course.above(0)
    assert [(9.0, pytest.approx(16.0))] == course.above(9)
    assert [] == course.above(10)


def test_a_user_who_is_not_needed_for_a_while_comes_back():
    course = Course.through(5, [(2, 5), (0, 1), (2, 1), (0, 5), (2, 5)])

    assert [(0, 6)] == course.above(0)
    assert [(0, 2), (4, 6)] == course.above(4)


@given(st.integers(1, 50), st.integers(1, 500))
def test_the_shards_have_all_users_and_all_iterations(users, iterations):
    offer = Closed(course=Course.level(users, 10), iterations=iterations, shared=True)
    shards = [(offer.users_of(shard, 3), offer.iterations_of(shard, 3)) for shard in range(3)]

    assert iterations == sum(share for _, share in shards)
    assert list(range(users)) == sorted(user for mine, _ in shards for user in mine)
