"""The histogram against sorted truth, and against HdrHistogram's own Python port."""

import json
import math
import random

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from perfmon.histogram import Histogram

HOUR_US = 3_600_000_000

durations = st.lists(st.floats(0, 3600), max_size=40)
microseconds = st.lists(st.integers(1, HOUR_US), min_size=1, max_size=60)
percents = st.integers(0, 10_000).map(lambda hundredths: hundredths / 100)


def histogram_of(seconds):
    histogram = Histogram()
    for one in seconds:
        histogram.record(one)
    return histogram


def merged(*parts):
    whole = Histogram()
    for part in parts:
        whole.merge(part)
    return whole


@given(microseconds, percents)
def test_every_percentile_is_the_one_of_hdrhistogram(values, percent):
    oracle = HdrHistogram(1, HOUR_US, 3)
    for us in values:
        oracle.record_value(us)
    # HdrHistogram answers with the bucket's edge even when nothing that large was ever seen; perfmon knows better.
    expected = max(min(values), min(max(values), oracle.get_value_at_percentile(percent)))

    assert expected == round(histogram_of(us / 1e6 for us in values).quantile(percent / 100) * 1e6)


@given(st.lists(st.floats(1e-3, 3600), min_size=1, max_size=60), st.floats(0, 1))
def test_a_quantile_is_within_a_thousandth_of_the_recorded_value(values, q):
    """At the rank that HdrHistogram takes: the nearest, halves upwards."""
    rank = max(1, int(round(q * len(values), 6) + 0.5)) if q > 0 else 1
    exact = sorted(values)[rank - 1]

    assert math.isclose(exact, histogram_of(values).quantile(q), rel_tol=1e-3, abs_tol=0.5e-6)


def test_a_hundred_thousand_lognormal_values_keep_their_quantiles():
    rng = random.Random(1)
    values = sorted(rng.lognormvariate(-3, 1) for _ in range(100_000))
    histogram = histogram_of(values)

    for q in (0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999):
        assert math.isclose(values[round(q * 100_000) - 1], histogram.quantile(q), rel_tol=1e-3)
    assert math.isclose(sum(values) / 100_000, histogram.mean, rel_tol=1e-6)


@given(durations, durations)
def test_the_order_of_a_merge_does_not_matter(one, other):
    assert merged(histogram_of(one), histogram_of(other)) == merged(histogram_of(other), histogram_of(one))


@given(durations, durations, durations)
def test_the_grouping_of_a_merge_does_not_matter(one, two, three):
    a, b, c = histogram_of(one), histogram_of(two), histogram_of(three)

    assert merged(merged(a, b), c) == merged(a, merged(b, c))


@given(durations, durations)
def test_merged_parts_are_the_whole(one, other):
    assert histogram_of(one + other) == merged(histogram_of(one), histogram_of(other))


@given(durations)
def test_a_histogram_survives_json(values):
    histogram = histogram_of(values)

    assert histogram == Histogram.from_dict(json.loads(json.dumps(histogram.to_dict())))


def test_count_mean_min_and_max_are_of_the_values():
    histogram = histogram_of([0.001, 0.002, 0.006])
    histogram.record(0.007, count=2)

    assert (5, 0.0046, 0.001, 0.007) == (histogram.count, histogram.mean, histogram.min, histogram.max)


def test_no_quantile_lies_outside_what_was_recorded():
    histogram = histogram_of([1.0001, 1.0002])

    assert (1.0001, 1.0002) == (histogram.quantile(0.0), histogram.quantile(1.0))


def test_beyond_an_hour_it_is_as_exact():
    assert math.isclose(86_400.0, histogram_of([1.0, 86_400.0, 100_000.0]).quantile(0.5), rel_tol=1e-3)


def test_memory_is_bounded_by_buckets_not_by_values():
    rng = random.Random(2)
    histogram = histogram_of(rng.uniform(0.0, 0.1) for _ in range(50_000))

    assert len(histogram.to_dict()["counts"]) < 8 * 1024


@pytest.mark.parametrize("seconds", [-0.001, math.nan, math.inf])
def test_what_is_no_duration_is_refused(seconds):
    with pytest.raises(ValueError, match="expected a duration not negative"):
        Histogram().record(seconds)


@pytest.mark.parametrize("read", [lambda h: h.quantile(0.5), lambda h: h.mean, lambda h: h.min, lambda h: h.max])
def test_an_empty_histogram_says_so(read):
    with pytest.raises(ValueError, match="got an empty one"):
        read(Histogram())


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"counts": 3},
        {"counts": [[1]]},
        {"counts": [["a", 1]]},
        {"counts": [[1, -1]], "total_us": 1, "min_us": 1, "max_us": 1},
    ],
)
def test_what_is_no_histogram_is_refused(raw):
    with pytest.raises(ValueError, match=r"expected (a histogram|buckets)"):
        Histogram.from_dict(raw)
