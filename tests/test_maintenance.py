"""Windows of maintenance, by the clock of their time zone, in the weeks in which it is set too."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmon.maintenance import Maintenance, cron, dates, next_of, open_at, weekly

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"
# Berlin: forward on 2026-03-29 at 02:00 (01:00 UTC), back on 2026-10-25 at 03:00 (01:00 UTC).
MARCH, OCTOBER = datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 10, 24, 12, tzinfo=UTC)


def wall(text, zone="UTC"):
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def window(when, **more):
    return Maintenance(name="work", when=when, **more)


def spans(when, since, days=2):
    """What is open from an instant on, by asking at each minute: (begin in UTC, minutes)."""
    found, opened = [], None
    for minute in range(days * 1440 + 1):
        at = since + timedelta(minutes=minute)
        is_open = bool(open_at([window(when)], at.timestamp()))
        if is_open and opened is None:
            opened = at
        elif not is_open and opened is not None:
            found.append((f"{opened:%d %H:%M}", (at - opened) // timedelta(minutes=1)))
            opened = None
    return found


# Cloudprober's schedule_test.go: daily, over a weekend, on Tuesdays in New York, asked in other zones too.
DAILY = weekly("18:00", "23:59", (), "UTC")
WEEKEND = weekly("Fri 20:00", "Sun 17:00", (), "UTC")
TUESDAY = weekly("19:00", "20:00", ("Tuesday",), NEW_YORK)


@pytest.mark.parametrize(
    ("when", "at", "zone", "is_open"),
    [
        (DAILY, "2026-11-16T17:59:59", "UTC", False),
        (DAILY, "2026-11-16T18:00", "UTC", True),
        (DAILY, "2026-11-16T23:58:59", "UTC", True),
        (DAILY, "2026-11-16T23:59", "UTC", False),
        (WEEKEND, "2026-11-20T19:59:59", "UTC", False),
        (WEEKEND, "2026-11-20T20:00", "UTC", True),
        (WEEKEND, "2026-11-21T12:00", "UTC", True),
        (WEEKEND, "2026-11-22T16:59:59", "UTC", True),
        (WEEKEND, "2026-11-22T17:00", "UTC", False),
        (WEEKEND, "2026-11-18T12:00", "UTC", False),
        (TUESDAY, "2026-11-17T18:59", NEW_YORK, False),
        (TUESDAY, "2026-11-17T19:00", NEW_YORK, True),
        (TUESDAY, "2026-11-17T16:30", "America/Los_Angeles", True),
        (TUESDAY, "2026-11-17T19:30", "America/Los_Angeles", False),
        (TUESDAY, "2026-11-18T00:30", "UTC", True),
        (TUESDAY, "2026-11-18T19:30", NEW_YORK, False),
    ],
)
def test_m01_by_the_local_clock_on_days_of_the_week(when, at, zone, is_open):
    assert is_open == bool(open_at([window(when)], wall(at, zone)))


def test_one_that_is_open_says_since_when_and_until_when():
    [found] = open_at([window(WEEKEND)], wall("2026-11-22T01:00"))

    assert (wall("2026-11-20T20:00"), wall("2026-11-22T17:00")) == (found.since, found.until)


@pytest.mark.parametrize(
    ("begin", "end", "zone", "at", "is_open"),
    [
        ("2026-12-01T20:00", "2026-12-01 22:00", BERLIN, "2026-12-01T18:59:59", False),
        ("2026-12-01T20:00", "2026-12-01 22:00", BERLIN, "2026-12-01T19:00", True),
        ("2026-12-01T20:00", "2026-12-01 22:00", BERLIN, "2026-12-01T21:00", False),
        ("2026-12-01T20:00Z", "2026-12-01T23:00+01:00", BERLIN, "2026-12-01T21:59", True),
    ],
)
def test_from_one_date_to_another(begin, end, zone, at, is_open):
    assert is_open == bool(open_at([window(dates(begin, end, zone))], wall(at)))


@pytest.mark.parametrize(
    ("line", "at", "is_open"),
    [
        ("30 2 * * *", "2026-11-17T02:29", False),
        ("30 2 * * *", "2026-11-17T03:14", True),
        ("30 2 * * *", "2026-11-17T03:15", False),
        ("45 23 * * *", "2026-11-17T00:15", True),  # over midnight
        ("*/20 9-17 * nov mon-fri", "2026-11-17T17:59", True),
        ("0 12 * * sun", "2026-11-22T12:30", True),
        ("0 12 * * 7", "2026-11-22T12:30", True),
        ("0 12 22 * mon", "2026-11-22T12:30", True),  # the 22nd, or a Monday
        ("0 12 21 * mon", "2026-11-22T12:30", False),
        ("0 12 */2 * sun", "2026-11-22T12:30", False),  # with a `*`, both must hold: the 22nd is even
    ],
)
def test_at_the_times_of_a_crontab_for_so_long(line, at, is_open):
    assert is_open == bool(open_at([window(cron(line, 45 * 60.0, "UTC"))], wall(at)))


@pytest.mark.parametrize(
    ("since", "when", "expected"),
    [
        # The clock goes forward over 02:00 to 03:00.
        (MARCH, cron("30 2 * * *", 1800.0, BERLIN), [("29 01:30", 30), ("30 00:30", 30)]),
        (MARCH, weekly("02:00", "03:00", (), BERLIN), [("29 01:00", 60), ("30 00:00", 60)]),
        (MARCH, weekly("01:30", "03:30", (), BERLIN), [("29 00:30", 60), ("29 23:30", 120)]),
        (MARCH, weekly("Sat 20:00", "Sun 17:00", (), BERLIN), [("28 19:00", 20 * 60)]),
        # It goes back, and 02:00 to 03:00 comes twice.
        (OCTOBER, cron("30 2 * * *", 1800.0, BERLIN), [("25 00:30", 30), ("26 01:30", 30)]),
        (OCTOBER, weekly("02:15", "02:45", (), BERLIN), [("25 00:15", 90), ("26 01:15", 30)]),
        (OCTOBER, weekly("Sat 20:00", "Sun 17:00", (), BERLIN), [("24 18:00", 22 * 60)]),
        (OCTOBER, cron("0 20 24 10 *", 21 * 3600.0, BERLIN), [("24 18:00", 21 * 60)]),
    ],
)
def test_m04_when_the_clock_is_set_each_opens_once_and_closes_once(since, when, expected):
    assert expected == spans(when, since)


ZONES = st.sampled_from([BERLIN, NEW_YORK, "UTC", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Sao_Paulo"])


@given(ZONES, st.integers(0, 23), st.integers(0, 59), st.integers(0, 3000), st.integers(1, 1440))
def test_every_day_has_its_occurrence_whatever_the_clock_does(zone, hour, minute, day, minutes):
    """From each occurrence the next one is on the next day of the local calendar, and open from its first instant."""
    one = window(cron(f"{minute} {hour} * * *", 60.0 * minutes, zone))
    first = next_of(one, 1.6e9 + 86_400.0 * day)
    second = next_of(one, first.since)
    begun = [datetime.fromtimestamp(found.since, ZoneInfo(zone)) for found in (first, second)]

    assert timedelta(days=1) == begun[1].date() - begun[0].date()
    assert [60.0 * minutes] * 2 == [found.until - found.since for found in (first, second)]
    assert first in open_at([one], first.since)
    assert second in open_at([one], second.until - 1)


@given(
    ZONES,
    st.floats(1.6e9, 1.9e9),
    st.sampled_from(["Mon 00:00", "Tue 02:30", "Sun 01:15"]),
    st.sampled_from(["Sun 03:00", "Mon 00:00", "Thu 12:00"]),
)
def test_a_week_has_one_occurrence_and_the_next_is_found_from_any_instant(zone, at, begin, end):
    one = window(weekly(begin, end, (), zone))
    found = next_of(one, at)

    assert at < found.since <= at + 8 * 86_400.0
    assert found.since < found.until
    assert found == next_of(one, found.since - 1.0)
    assert [found] == [seen for seen in open_at([one], found.since) if seen.since == found.since]


def test_what_comes_next_may_be_nothing():
    over = window(dates("2026-01-01T00:00", "2026-01-02T00:00", "UTC"))

    assert None is next_of(over, wall("2026-01-01T12:00"))
    assert wall("2026-01-01T00:00") == next_of(over, 0.0).since
    assert wall("2028-02-29T00:00") == next_of(window(cron("0 0 29 2 *", 60.0, "UTC")), wall("2026-01-01T00:00")).since


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (
            lambda: weekly("2200", "23:00", (), "UTC"),
            'expected a time such as 22:00, Fri 22:00 or 2026-12-01T22:00, got "2200"',
        ),
        (
            lambda: weekly("22:00", "02:00", (), "UTC"),
            (
                'expected "to" after "from", got 22:00 to 02:00; over midnight: cron and duration, such as'
                " `cron: 0 22 * * *` and `duration: 4h`"
            ),
        ),
        (
            lambda: dates("2026-12-02T00:00", "2026-12-01T00:00", "UTC"),
            'expected "to" after "from", got 2026-12-02T00:00 to 2026-12-01T00:00',
        ),
        (
            lambda: dates("2026-13-02T00:00", "2026-12-01T00:00", "UTC"),
            'expected a date and a time such as 2026-12-01T22:00, got "2026-13-02T00:00"',
        ),
        (
            lambda: weekly("Fri 20:00", "22:00", (), "UTC"),
            'expected a day of the week in both of "from" and "to" or in none, got Fri 20:00 to 22:00',
        ),
        (
            lambda: weekly("Fri 20:00", "Sat 20:00", ("Mon",), "UTC"),
            "weekdays has no effect, since from and to name the days",
        ),
        (
            lambda: weekly("20:00", "21:00", ("Someday",), "UTC"),
            'expected a day of the week such as Mon, got "Someday"',
        ),
        (
            lambda: dates("2026-12-01T00:00", "2026-12-02T00:00", "Mars/Base"),
            'expected a time zone such as Europe/Berlin or UTC, got "Mars/Base"',
        ),
        (
            lambda: cron("30 2 * *", 60.0, "UTC"),
            'expected a line of a crontab such as "30 2 * * sun" (minute hour day month weekday), got "30 2 * *"',
        ),
        (
            lambda: cron("60 2 * * *", 60.0, "UTC"),
            'expected 0 to 59, `*`, a range such as 0-59, or steps such as */2, got "60"',
        ),
        (lambda: cron("0 0 30 2 *", 60.0, "UTC"), 'expected a time that comes, "0 0 30 2 *" never does'),
        (lambda: cron("0 0 * * *", 0.0, "UTC"), "expected a duration above 0 and up to 31d"),
    ],
)
def test_m02_what_is_no_window_is_refused_in_words(read, message):
    with pytest.raises(ValueError, match=r"expected|effect") as caught:
        read()

    assert message == str(caught.value)
