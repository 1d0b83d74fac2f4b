"""The months behind a check, as the API tells them."""

from perfmon.model import Count
from perfmon.monitor.history import failed_shares, strip, success_ratio


def test_a_share_is_none_only_where_none_failed_and_all_only_where_all_did():
    counts = [Count(0, 0), Count(60, 0), Count(60, 60), Count(60, 28), Count(90_000, 1), Count(90_000, 89_999)]

    assert [None, 0.0, 1.0, 0.467, 0.001, 0.999] == failed_shares(counts)


def test_a_strip_says_when_its_oldest_slot_began():
    assert {"from": 8_200.0, "every_s": 900.0, "counts": [[0, 0], [4, 1], [4, 0]]} == strip(
        [Count(0, 0), Count(4, 1), Count(4, 0)], 10_000.0, 900.0
    )


def test_no_runs_have_no_share():
    assert (None, 0.75) == (success_ratio(Count(0, 0)), success_ratio(Count(4, 1)))
