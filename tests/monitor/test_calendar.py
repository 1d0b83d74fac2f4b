"""Maintenance as the pages show it."""

from datetime import UTC, datetime

from perfmon.clock import ManualClock
from perfmon.maintenance import Maintenance, cron, dates
from perfmon.monitor.calendar import Calendar, near, since_to_until

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
HOUR = 3600.0
MOVE = Maintenance(name="move", when=dates("2026-11-20T11:00", "2026-11-20T14:00", "UTC"), select={"probe": "shop"})
NIGHTLY = Maintenance(name="nightly", when=cron("0 2 * * *", HOUR, "UTC"))
NEXT_MONTH = Maintenance(name="far", when=dates("2026-12-20T11:00", "2026-12-20T14:00", "UTC"))


def times(found):
    return [(one.window.name, (one.since - NOON) / HOUR, (one.until - NOON) / HOUR) for one in found]


def test_what_is_open_and_what_comes_within_a_week():
    assert [("move", -1, 2), ("nightly", 14, 15)] == times(near([NEXT_MONTH, NIGHTLY, MOVE], NOON))


def test_a_window_that_is_open_is_followed_by_its_next():
    assert [("nightly", -10, -9), ("nightly", 14, 15)] == times(near([NIGHTLY], NOON - 9.5 * HOUR))


def test_the_past_day_has_what_was_open_in_it_from_its_beginning_on():
    assert [("nightly", -10, -9), ("move", -1, 2)] == times(since_to_until([MOVE, NIGHTLY], NOON - 24 * HOUR, NOON))
    assert [("move", -1, 2)] == times(since_to_until([MOVE], NOON, NOON + 24 * HOUR))


def test_occurrences_of_a_window_that_opens_each_minute_are_bounded():
    every = Maintenance(name="every", when=cron("* * * * *", 1.0, "UTC"))

    assert 200 <= len(since_to_until([every], NOON - 24 * HOUR, NOON)) <= 201


def test_a_probe_has_the_windows_that_are_about_it():
    clock = ManualClock(wall=NOON)
    calendar = Calendar(lambda: windows, clock)
    windows = (MOVE, NIGHTLY)

    assert ["nightly", "move"] == [one.window.name for one in calendar.past_day({"probe": "shop"}, ())]
    assert ["nightly"] == [one.window.name for one in calendar.past_day({"probe": "till"}, ())]


def test_windows_are_looked_up_again_after_a_while_and_after_a_reload():
    clock = ManualClock(wall=NOON)
    windows = [MOVE]
    calendar = Calendar(lambda: windows, clock)
    first = calendar.near()
    again = calendar.near()
    windows = []

    assert ["move"] == [one.window.name for one in first]
    assert again is first
    assert [] == calendar.near()
