"""How many requests came until each of some instants, by counters that were read at others."""

import math

from perfmon.model import Window
from perfmon.monitor.counting import counted


def counter(*points):
    times, values = [at for at, _ in points], [float(value) for _, value in points]
    return Window(
        metric="requests", type="counter", unit="", times=times, values=values, now=100.0, span_s=100.0, since=0.0,
        last_at=None, interval_s=10.0,
    )  # fmt: skip


def test_between_two_readings_a_counter_rises_evenly():
    assert [0.0, 5.0, 10.0, 40.0] == counted([0.0, 5.0, 10.0, 20.0], [counter((0.0, 100), (10.0, 110), (20.0, 140))])


def test_counters_are_added_up_from_their_first_points():
    counters = [counter((0.0, 7), (10.0, 17)), counter((0.0, 1000), (10.0, 1001))]

    assert [0.0, 5.5, 11.0] == counted([0.0, 5.0, 10.0], counters)


def test_a_counter_that_falls_began_anew():
    assert [0.0, 10.0, 13.0, 20.0] == counted(
        [0.0, 10.0, 20.0, 30.0], [counter((0.0, 90), (10.0, 100), (20.0, 3), (30.0, 10))]
    )


def test_one_that_came_later_or_went_earlier_counts_while_it_was_there():
    counters = [counter((0.0, 0), (30.0, 30)), counter((10.0, 5), (20.0, 9))]

    assert [0.0, 10.0, 24.0, 34.0] == counted([0.0, 10.0, 20.0, 30.0], counters)


def test_before_the_first_point_and_after_the_last_nobody_knows():
    before, there, after = counted([5.0, 10.0, 31.0], [counter((10.0, 0), (30.0, 20))])

    assert (True, 0.0, True) == (math.isnan(before), there, math.isnan(after))


def test_without_counters_nobody_knows():
    assert all(map(math.isnan, counted([1.0, 2.0], [])))
    assert all(map(math.isnan, counted([1.0, 2.0], [counter()])))
