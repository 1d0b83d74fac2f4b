"""Two samples of blocks, compared: against figures from scipy, and on noise of every scale."""

import math
import random
from statistics import mean, variance

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmon.shift import compare, medians

LEVELS = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=12)


def test_it_is_welchs_test():
    before, after = [10.0, 12.0, 9.0, 11.0, 13.0], [14.0, 11.0, 16.0, 12.0, 15.0, 13.5, 10.0, 15.5]
    errors = [variance(sample) / len(sample) for sample in (before, after)]
    freedom = sum(errors) ** 2 / sum(e * e / (n - 1) for e, n in zip(errors, (5, 8), strict=True))
    t = (mean(after) - mean(before)) / math.sqrt(sum(errors))
    shift = compare(before, after)

    assert (11.0, 13.75, 2.75) == (shift.before, shift.after, shift.size)
    assert pytest.approx(2.75 / 11) == shift.relative
    assert pytest.approx(beyond(t, freedom), rel=0.01) == shift.p
    assert pytest.approx(0.05, rel=0.01) == beyond((shift.high - shift.low) / 2 / math.sqrt(sum(errors)), freedom)


def beyond(t, freedom):
    """The chance of Student's t beyond +-t, by adding up its density."""
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)
    step = 0.001
    inside = sum((1 + (step * (n + 0.5)) ** 2 / freedom) ** (-(freedom + 1) / 2) for n in range(round(t / step)))
    return 1 - 2 * scale * step * inside


@given(LEVELS, LEVELS)
def test_the_other_way_round_is_the_other_sign(before, after):
    there, back = compare(before, after), compare(after, before)

    assert (there.size, there.p) == (-back.size, pytest.approx(back.p, abs=1e-9))
    assert 0.0 <= there.p <= 1.0
    assert there.low <= there.high


@given(st.floats(1e-6, 1e6), st.integers(2, 12), st.integers(2, 12))
def test_what_stays_the_same_has_not_shifted(level, before, after):
    shift = compare([level] * before, [level] * after)

    assert (0.0, 0.0, 1.0) == (shift.size, shift.relative, shift.p)


def test_what_was_nothing_grew_without_end():
    assert math.inf == compare([0.0, 0.0], [1.0, 1.0]).relative
    assert 0.0 == compare([1.0, 1.0], [2.0, 2.0]).p


def test_chance_is_what_it_says_it_is():
    """Of two thousand pairs from one distribution some 5 % have a p below 0.05, and some 1 % one below 0.01."""
    dice = random.Random(7)
    found = [compare(*([dice.gauss(5, 2) for _ in range(12)] for _ in "ab")).p for _ in range(2000)]

    assert 0.035 < sum(p < 0.05 for p in found) / 2000 < 0.065
    assert 0.004 < sum(p < 0.01 for p in found) / 2000 < 0.018


def test_medians_of_blocks_shrug_at_outliers():
    assert [2.0, 5.0] == medians([1.0, 2.0, 900.0, 4.0, 5.0, 6.0], 2)
    assert [1.0, 2.0] == medians([1.0, 2.0], 12)
    assert [] == medians([], 3)
