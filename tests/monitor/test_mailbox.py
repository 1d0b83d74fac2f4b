"""What a receiver has yet to hear."""

from hypothesis import given
from hypothesis import strategies as st

from perfmon.monitor.mailbox import Mailbox, merge
from perfmon.receivers import Notice


def firing(name="A", starts_at=1.0):
    return Notice(labels={"alertname": name}, annotations={}, why="", starts_at=starts_at)


def resolved(name="A", starts_at=1.0):
    return Notice(labels={"alertname": name}, annotations={}, why="", starts_at=starts_at, ends_at=starts_at + 0.5)


def changes_only(**kwargs):
    return Mailbox(**({"batch": 10, "resend_s": None} | kwargs))


def put_all(mailbox, *notices):
    for notice in notices:
        mailbox.put(notice)
    return mailbox


def test_notices_are_taken_in_the_order_in_which_they_came_a_batch_at_a_time():
    mailbox = put_all(changes_only(batch=2), firing("A"), firing("B"), firing("C"))

    assert [firing("A"), firing("B")] == mailbox.take(0.0)
    mailbox.settle([firing("A"), firing("B")], 0.0)
    assert [firing("C")] == mailbox.take(0.0)


def test_the_newest_state_replaces_an_older_one_that_was_not_sent():
    mailbox = put_all(changes_only(), firing(), resolved())

    assert [resolved()] == mailbox.take(0.0)


def test_an_end_is_told_before_the_next_beginning_and_not_in_one_batch():
    mailbox = put_all(changes_only(), resolved(starts_at=1), firing(starts_at=2))

    assert [resolved(starts_at=1)] == mailbox.take(0.0)
    mailbox.settle([resolved(starts_at=1)], 0.0)
    assert [firing(starts_at=2)] == mailbox.take(0.0)


def test_what_failed_is_taken_again_after_the_pause_unless_something_newer_came():
    mailbox = put_all(changes_only(), firing("A"), firing("B"))
    batch = mailbox.take(0.0)
    mailbox.put(resolved("A"))

    mailbox.postpone(batch, 5.0)

    assert [] == mailbox.take(4.9)
    assert 1.0 == mailbox.due_in(4.0)
    assert [resolved("A"), firing("B")] == mailbox.take(5.0)


def test_an_end_on_its_way_is_not_lost_when_a_new_episode_begins_meanwhile():
    mailbox = put_all(changes_only(), resolved(starts_at=1))
    batch = mailbox.take(0.0)
    mailbox.put(firing(starts_at=2))

    assert (resolved(starts_at=1), firing(starts_at=2)) == mailbox.unsent(firing().fingerprint)
    mailbox.postpone(batch, 0.0)

    assert (resolved(starts_at=1), firing(starts_at=2)) == mailbox.unsent(firing().fingerprint)


def test_a_full_mailbox_drops_the_oldest_and_says_which():
    mailbox = put_all(changes_only(capacity=2), firing("A"), firing("B"))

    assert [firing("A").fingerprint] == mailbox.put(firing("C"))
    assert [] == mailbox.put(resolved("B"))
    assert [resolved("B"), firing("C")] == mailbox.take(0.0)


def test_it_counts_what_waits_and_what_is_on_its_way():
    mailbox = put_all(changes_only(batch=1), firing("A"), resolved("B", 1), firing("B", 2))
    assert 3 == len(mailbox)

    mailbox.settle(mailbox.take(0.0), 0.0)

    assert 2 == len(mailbox)
    assert [firing("B").fingerprint] == mailbox.identities()


def test_changes_alone_are_told_once():
    mailbox = put_all(changes_only(), firing())
    mailbox.settle(mailbox.take(0.0), 0.0)

    assert ([], None) == (mailbox.take(1e9), mailbox.due_in(1e9))


def test_a_firing_alert_is_told_again_and_again():
    mailbox = put_all(changes_only(resend_s=60.0), firing())
    for now in (0.0, 60.0, 120.0):
        assert [firing()] == mailbox.take(now)
        mailbox.settle([firing()], now)
        assert [] == mailbox.take(now + 59.9)
        assert 60.0 == mailbox.due_in(now)


def test_a_resolved_alert_is_told_again_for_fifteen_minutes():
    mailbox = put_all(changes_only(resend_s=60.0), resolved())

    taken = 0
    for minute in range(30):
        batch = mailbox.take(minute * 60.0)
        taken += len(batch)
        mailbox.settle(batch, minute * 60.0)

    assert 15 == taken
    assert None is mailbox.due_in(1e9)


def test_what_is_new_goes_before_what_is_told_again():
    mailbox = put_all(changes_only(resend_s=60.0, batch=2), firing("A"), firing("B"))
    mailbox.settle(mailbox.take(0.0), 0.0)
    mailbox.put(firing("C"))

    assert [firing("C"), firing("A")] == mailbox.take(60.0)


def test_a_newer_state_ends_telling_the_older_one_again():
    mailbox = put_all(changes_only(resend_s=60.0), firing())
    mailbox.settle(mailbox.take(0.0), 0.0)
    mailbox.put(resolved())

    assert [resolved()] == mailbox.take(60.0)


def test_a_state_that_came_while_the_older_one_was_on_its_way_is_the_one_told_again():
    mailbox = put_all(changes_only(resend_s=60.0), firing())
    batch = mailbox.take(0.0)
    mailbox.put(resolved())
    mailbox.settle(batch, 0.0)

    assert [resolved()] == mailbox.take(0.0)


def test_what_a_former_life_told_is_told_again_at_once_until_its_time_is_over():
    mailbox = changes_only(resend_s=60.0)
    mailbox.resume(firing("A"))
    mailbox.resume(resolved("B"), until=100.0)

    assert 0.0 == mailbox.due_in(5.0)
    assert [firing("A"), resolved("B")] == mailbox.take(5.0)
    mailbox.settle([firing("A"), resolved("B")], 5.0)
    assert [firing("A"), resolved("B")] == mailbox.take(65.0)
    mailbox.settle([firing("A"), resolved("B")], 65.0)
    assert [firing("A")] == mailbox.take(125.0)


def test_telling_again_that_fails_waits_for_the_pause_too():
    mailbox = changes_only(resend_s=60.0)
    mailbox.resume(firing())

    mailbox.postpone(mailbox.take(0.0), 7.0)

    assert ([], 7.0) == (mailbox.take(6.0), mailbox.due_in(0.0))
    assert [firing()] == mailbox.take(7.0)


@given(st.lists(st.booleans(), max_size=12))
def test_however_often_it_flaps_at_most_an_end_and_a_beginning_wait_and_the_last_is_the_newest(ends):
    unsent = ()
    for number, over in enumerate(ends):
        newest = resolved(starts_at=number) if over else firing(starts_at=number)
        unsent = merge(unsent, newest)

        assert newest == unsent[-1]
        assert ["resolved", "firing"][-len(unsent) :] == [notice.status for notice in unsent] or len(unsent) == 1
        assert len(unsent) <= 2
