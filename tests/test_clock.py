"""Two clocks, and the border between them."""

import pytest

from perfmon.clock import ManualClock, SystemClock, from_wall, iso, to_wall


def test_an_instant_goes_out_as_unix_time_and_comes_back():
    clock = ManualClock(monotonic=100.0, wall=1_800_000_000.0)

    assert 1_799_999_990.0 == to_wall(clock, 90.0)
    assert 90.0 == from_wall(clock, 1_799_999_990.0)


def test_setting_the_wall_clock_moves_no_instant():
    clock = ManualClock()
    before = clock.monotonic()
    clock.step_wall(-3600.0)

    assert before == clock.monotonic()
    assert clock.wall() == to_wall(clock, before)


def test_the_machines_clocks_tell_the_same_time():
    clock = SystemClock()

    assert pytest.approx(clock.wall(), abs=0.1) == to_wall(clock, clock.monotonic())


def test_a_stamp_is_rfc_3339_in_utc():
    assert "2027-01-15T08:00:00.250Z" == iso(1_800_000_000.25)
