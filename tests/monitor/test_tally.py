"""Counts of months: exact sums, of fixed size, also over restarts."""

from hypothesis import given
from hypothesis import strategies as st

from perfmon.model import Count
from perfmon.monitor.tally import DAYS, QUARTERS, Counted, Tally, total

NOTHING = Counted(-1, 0, 0)
NOW = 30_000_000  # a minute of Unix time, in 2027

minutes = st.lists(
    st.tuples(st.integers(0, 95 * 1440), st.integers(1, 600), st.integers(0, 600)).map(
        lambda drawn: Counted(NOW - drawn[0], drawn[1], min(drawn[2], drawn[1]))
    ),
    max_size=60,
    unique_by=lambda counted: counted.minute,
)


def tally(counted):
    made = Tally()
    for one in sorted(counted):
        made.add(one)
    return made


def summed(counted, first, per):
    """The same by hand: what lies in the slots from `first` to that of now."""
    return total(Count(one.runs, one.failures) for one in counted if first <= one.minute // per <= NOW // per)


@given(minutes, st.integers(1, QUARTERS), st.integers(1, DAYS))
def test_every_span_is_the_sum_of_its_slots(counted, quarters, days):
    made = tally(counted)

    assert summed(counted, NOW // 15 - quarters + 1, 15) == total(made.quarters(NOW, quarters, NOTHING))
    assert summed(counted, NOW // 1440 - days + 1, 1440) == total(made.days(NOW, days, NOTHING))


@given(minutes, minutes)
def test_a_life_goes_on_from_what_the_one_before_had_counted(before, after):
    boundary = NOW - 500
    first = [one for one in before if one.minute < boundary]
    second = [one for one in after if one.minute >= boundary]
    made = Tally()
    made.restore(tally(first).kept(), NOW)
    for one in sorted(second):
        made.add(one)

    whole = tally([*first, *second])
    assert whole.quarters(NOW, QUARTERS, NOTHING) == made.quarters(NOW, QUARTERS, NOTHING)
    assert whole.days(NOW, DAYS, NOTHING) == made.days(NOW, DAYS, NOTHING)


@given(minutes, minutes)
def test_a_past_that_is_read_late_is_added_to_what_was_counted_meanwhile(before, after):
    boundary = NOW - 500
    first = [one for one in before if one.minute < boundary]
    second = [one for one in after if one.minute >= boundary]
    made = tally(second)
    made.restore(tally(first).kept(), NOW)

    assert tally([*first, *second]).days(NOW, DAYS, NOTHING) == made.days(NOW, DAYS, NOTHING)


def test_the_minute_that_is_open_counts_in_its_slot():
    made = tally([Counted(NOW, 10, 1)])

    assert [Count(0, 0), Count(14, 3)] == made.quarters(NOW, 2, Counted(NOW, 4, 2))
    assert Count(10, 1) == made.quarters(NOW, 2, Counted(NOW - 15 * 500, 4, 2))[-1]


def test_what_a_wrong_clock_wrote_about_the_future_is_left_out():
    ahead = tally([Counted(NOW, 10, 1), Counted(NOW + 400 * 1440, 5, 5)])
    made = Tally()
    made.restore(ahead.kept(), NOW)
    made.add(Counted(NOW + 1, 3, 0))

    assert Count(3, 0) == made.days(NOW, 1, NOTHING)[0]
    assert NOW + 2 == made.kept().until


def test_a_target_of_an_hour_is_written_in_few_words():
    assert [Count(10, 1)] == tally([Counted(NOW, 10, 1)]).kept().quarters
