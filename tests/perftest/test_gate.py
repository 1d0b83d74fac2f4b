"""What is demanded of a test, held against it: values, intervals, and what they are worth."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmon import stats
from perfmon.histogram import Histogram
from perfmon.perftest import gate
from perfmon.run import Snapshot, Tally, percentile, percentile_interval
from perfmon.scenario import named_demand


def second(values, dropped=0):
    made = Snapshot(end_s=1.0, due=len(values) + dropped, done=len(values), dropped=dropped)
    for value in values:
        made.response.record(value)
    return made


def whole(seconds):
    tally = Tally()
    for one in seconds:
        tally.add(one)
    return tally.sum


def interval(seconds, q):
    blocks = [(one.response, one.dropped) for one in seconds]
    total = whole(seconds)
    return percentile_interval(total.response, total.dropped, q, blocks)


def test_seconds_that_are_alike_are_worth_all_of_their_arrivals():
    draw = random.Random(1)
    seconds = [second([draw.expovariate(10) for _ in range(100)]) for _ in range(60)]
    total = whole(seconds)
    alone = percentile_interval(total.response, 0, 0.95)
    together = interval(seconds, 0.95)

    assert together == pytest.approx(alone, rel=0.1)


def test_a_freeze_that_a_hundred_arrivals_meet_is_known_once():
    seconds = [second([0.5] * 100 if number % 15 == 0 else [0.001] * 100) for number in range(60)]
    low, high = interval(seconds, 0.95)
    alone = percentile_interval(whole(seconds).response, 0, 0.95)

    assert (0.5, 0.5) == pytest.approx(alone, rel=1e-3)  # all 6,000 as if each had been asked for himself
    assert low == pytest.approx(0.001, rel=1e-2)  # 4 freezes in 60 s might as well have been 2
    assert high is None or high == pytest.approx(0.5, rel=1e-3)


def test_intervals_of_bursts_cover_what_is_true_about_as_often_as_they_say():
    """Two hundred tests of a target that is slow for whole seconds, one in five; the truth of p(80) lies between."""
    draw = random.Random(7)
    covered = {"alone": 0, "blocks": 0}
    for _ in range(200):
        seconds = [second([0.1 if draw.random() < 0.2 else 0.001] * 20) for _ in range(60)]
        total = whole(seconds)
        truth_low, truth_high = 0.001, 0.1
        for name, found in (
            ("alone", percentile_interval(total.response, 0, 0.8)),
            ("blocks", interval(seconds, 0.8)),
        ):
            low, high = found
            covered[name] += (low or 0.0) <= truth_low * 1.01 and (high or 1.0) >= truth_high * 0.99

    assert covered["blocks"] > 180
    assert covered["alone"] < 120


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=40))
def test_nothing_is_worth_more_than_it_is(pairs):
    blocks = [(min(hits, n), n) for hits, n in pairs]
    n = sum(size for _, size in blocks)

    assert 0 <= stats.effective_n(blocks) <= n


@given(st.lists(st.floats(0, 100), min_size=1, max_size=200), st.floats(0, 101))
def test_a_histogram_counts_around_a_value_as_a_list_does(values, limit):
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    below, up_to = histogram.counts_around(limit)

    assert (
        sum(value <= limit * 0.998 - 1e-6 for value in values) <= below <= sum(value < limit + 1e-6 for value in values)
    )
    assert sum(value <= limit - 1e-6 for value in values) <= up_to
    assert up_to <= sum(value <= limit * 1.002 + 1e-6 for value in values)


@given(st.lists(st.floats(0, 10), max_size=50), st.integers(0, 50), st.floats(0.01, 0.999))
def test_a_percentile_with_missed_arrivals_is_never_below_that_without(values, missed, q):
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    without, with_missed = percentile(histogram, 0, q), percentile(histogram, missed, q)

    if without is not None:
        assert with_missed >= without
    assert (with_missed is None) == (not values and not missed)


def test_no_data_fails_and_says_so():
    """A15."""
    for text in ("p(95) < 1h", "failed: rate < 100%", "max < 1h"):
        judged = gate.judge(named_demand(text), Snapshot(), unfinished=0, took_s=1.0)

        assert ("no_data", False) == (judged.verdict.level, judged.passed)
        assert "no data" in judged.verdict.why
