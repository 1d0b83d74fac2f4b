"""The line of a verdict: through the points, of each life."""

import pytest

from perfmon.leak import lines_of


def test_a_line_lies_on_what_rises_evenly_and_leaves_the_warm_up_out():
    times = [float(t) for t in range(101)]
    values = [900.0 if t < 25 else 10.0 + 2 * t for t in times]
    [line] = lines_of(times, values, slope=2.0)

    assert (25.0, 100.0) == (line.begin, line.end)
    assert [60.0, 210.0] == [line.at(at, 2.0) for at in (line.begin, line.end)]


def test_the_band_is_narrow_in_the_middle_and_wide_at_the_ends():
    times = [float(t) for t in range(101)]
    [line] = lines_of(times, [2 * t for t in times], slope=2.0)

    spread = [line.at(at, 2.5) - line.at(at, 1.5) for at in (line.begin, line.middle, line.end)]
    assert [-37.5, 0.0, 37.5] == spread


def test_each_life_has_a_level_of_its_own():
    times = [float(t) for t in range(100)]
    values = [100.0 + t if t < 60 else 10.0 + t for t in times]
    lines = lines_of(times, values, slope=1.0, restarts=[60.0])

    assert [125.0, 159.0] == [lines[0].at(at, 1.0) for at in (lines[0].begin, lines[0].end)]
    assert [70.0, 109.0] == [lines[1].at(at, 1.0) for at in (lines[1].begin, lines[1].end)]


@pytest.mark.parametrize("times", [[], [1.0], [1.0, 2.0]])
def test_too_few_points_have_no_line(times):
    assert [] == lines_of(times, times, slope=1.0)


def test_a_restart_before_the_window_or_in_its_warm_up_cuts_nothing():
    times = [float(t) for t in range(100)]

    assert 1 == len(lines_of(times, times, slope=1.0, restarts=[-5.0, 10.0]))
