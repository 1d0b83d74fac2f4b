"""Alert states, as Prometheus' ruler has them."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from perfmon.model import Alert, Rule, Verdict
from perfmon.monitor import alert as alerts

ALERT = Alert(rule="Down", labels={"alertname": "Down", "severity": "critical"}, series="shop/x")
BROKEN, FINE = Verdict(level="critical", why="is 2, expected < 1"), Verdict(level="ok", why="is 0, expected < 1")
NO_DATA, WAITING = Verdict(level="no_data", why="no point"), Verdict(level="waiting", why="no point yet")


def demand(for_s=0.0, keep_firing_for_s=0.0):
    return Rule(name="Down", kind="threshold", config=None, for_s=for_s, keep_firing_for_s=keep_firing_for_s)


def run(verdicts, rule=None, alert=ALERT):
    """States and whether told after each of (now, verdict)."""
    seen = []
    for now, verdict in verdicts:
        alert, told = alerts.next(alert, verdict, rule or demand(), now)
        seen.append((alert.state, told))
    return alert, seen


def test_without_for_the_first_broken_verdict_fires():
    alert, seen = run([(10.0, BROKEN)])

    assert [("firing", True)] == seen
    assert (10.0, 10.0) == (alert.active_at, alert.fired_at)


def test_with_for_it_is_pending_first_and_fires_when_that_is_over():
    alert, seen = run([(10.0, BROKEN), (19.9, BROKEN), (20.0, BROKEN), (30.0, BROKEN)], demand(for_s=10))

    assert [("pending", False), ("pending", False), ("firing", True), ("firing", False)] == seen
    assert (10.0, 20.0, 30.0) == (alert.active_at, alert.fired_at, alert.broken_at)


def test_a_fine_verdict_before_for_is_over_begins_it_anew():
    alert, seen = run([(0.0, BROKEN), (9.0, FINE), (10.0, BROKEN), (19.0, BROKEN)], demand(for_s=10))

    assert [("pending", False), ("inactive", False), ("pending", False), ("pending", False)] == seen
    assert alert.active_at == 10.0


def test_an_instant_of_zero_is_an_instant():
    _, seen = run([(0.0, BROKEN), (10.0, BROKEN)], demand(for_s=10))

    assert ("firing", True) == seen[-1]


def test_a_firing_alert_is_resolved_by_the_first_fine_verdict():
    alert, seen = run([(1.0, BROKEN), (2.0, FINE), (3.0, FINE)])

    assert [("firing", True), ("inactive", True), ("inactive", False)] == seen
    assert (1.0, 2.0) == (alert.fired_at, alert.resolved_at)


def test_keep_firing_for_counts_from_when_it_was_last_broken():
    rule = demand(keep_firing_for_s=10)

    alert, seen = run([(0.0, BROKEN), (5.0, BROKEN), (14.9, FINE), (15.0, FINE)], rule)

    assert [("firing", True), ("firing", False), ("firing", False), ("inactive", True)] == seen
    assert alert.resolved_at == 15.0


def test_broken_again_while_it_is_kept_firing_is_no_news():
    _, seen = run([(0.0, BROKEN), (5.0, FINE), (9.0, BROKEN), (18.0, FINE)], demand(keep_firing_for_s=10))

    assert [("firing", True), ("firing", False), ("firing", False), ("firing", False)] == seen


def test_no_data_counts_as_broken():
    _, seen = run([(0.0, NO_DATA)])

    assert [("firing", True)] == seen


@pytest.mark.parametrize("before", [[], [(0.0, BROKEN)], [(0.0, BROKEN), (10.0, BROKEN)]])
def test_waiting_leaves_the_alert_as_it_is(before):
    alert, _ = run(before, demand(for_s=10))

    assert (alert, False) == alerts.next(alert, WAITING, demand(for_s=10), 99.0)


def test_a_new_episode_forgets_the_last_one():
    alert, _ = run([(0.0, BROKEN), (1.0, FINE), (7.0, BROKEN)], demand(for_s=0))

    assert (7.0, 7.0, None) == (alert.active_at, alert.fired_at, alert.resolved_at)


def test_an_alert_whose_rule_goes_is_resolved_only_when_it_fired():
    firing, _ = run([(0.0, BROKEN)])
    pending, _ = run([(0.0, BROKEN)], demand(for_s=10))

    ended, told = alerts.end(firing, "it is no longer watched", 4.0)

    assert ("inactive", 4.0, True) == (ended.state, ended.resolved_at, told)
    assert ended.verdict.why == "it is no longer watched"
    assert ("inactive", False) == (alerts.end(pending, "", 4.0)[0].state, alerts.end(pending, "", 4.0)[1])


def test_the_time_in_which_nobody_looked_does_not_count_towards_for():
    pending, _ = run([(0.0, BROKEN), (6.0, BROKEN)], demand(for_s=10))

    resumed = alerts.resume(pending, unwatched_s=100.0, now=106.0)
    _, seen = run([(109.0, BROKEN), (110.0, BROKEN)], demand(for_s=10), resumed)

    assert [("pending", False), ("firing", True)] == seen


def test_the_time_in_which_nobody_looked_does_not_end_keep_firing_for():
    rule = demand(keep_firing_for_s=10)
    firing, _ = run([(0.0, BROKEN)], rule)
    kept, _ = run([(5.0, FINE)], rule, firing)

    _, from_broken = run([(109.0, FINE), (110.0, FINE)], rule, alerts.resume(firing, unwatched_s=50, now=100.0))
    _, from_kept = run([(59.0, FINE), (60.0, FINE)], rule, alerts.resume(kept, unwatched_s=50, now=55.0))

    assert [("firing", False), ("inactive", True)] == from_broken
    assert [("firing", False), ("inactive", True)] == from_kept


def test_of_two_levels_critical_implies_warning_and_warning_leaves_critical_fine():
    both = ("warning", "critical")
    warning = Verdict(level="warning", why="")

    assert warning == alerts.seen_at("warning", both, warning)
    assert alerts.seen_at("critical", both, warning).level == "ok"
    assert BROKEN == alerts.seen_at("warning", both, BROKEN)
    assert NO_DATA == alerts.seen_at("critical", both, NO_DATA)
    assert warning == alerts.seen_at("critical", ("critical",), warning)


class Episodes(RuleBasedStateMachine):
    """Whatever verdicts come, and however far apart: receivers hear a beginning and an end by turns."""

    def __init__(self):
        super().__init__()
        self.now = 1000.0
        self.rule = demand(for_s=30.0, keep_firing_for_s=20.0)
        self.alert = ALERT
        self.told = []
        self.broken_since = None
        self.last_broken = None

    @rule(verdict=st.sampled_from([BROKEN, NO_DATA, FINE, WAITING]), gap_s=st.floats(0.0, 40.0))
    def judged(self, verdict, gap_s):
        self.now += gap_s
        self._judge(verdict)

    @rule(count=st.integers(1, 8), gap_s=st.floats(1.0, 15.0))
    def broken_for_a_while(self, count, gap_s):
        for _ in range(count):
            self.now += gap_s
            self._judge(BROKEN)

    @rule(unwatched_s=st.floats(0.0, 100.0))
    def restarted(self, unwatched_s):
        self.now += unwatched_s
        before = self.alert
        self.alert = alerts.resume(before, unwatched_s=unwatched_s, now=self.now)
        assert before.state == self.alert.state
        if self.broken_since is not None:
            self.broken_since += unwatched_s  # never earlier than with a daemon that goes on
        self.last_broken = self.alert.broken_at

    @precondition(lambda self: self.alert.state == "firing")
    @rule()
    def fine_for_long(self):
        self._judge(FINE)
        self.now += self.rule.keep_firing_for_s
        self._judge(FINE)
        assert self.alert.state == "inactive", "it always resolves"

    def _judge(self, verdict):
        if verdict.broken and self.broken_since is None:
            self.broken_since = self.now
        if verdict is FINE:
            self.broken_since = None
        before = self.alert
        self.alert, told = alerts.next(before, verdict, self.rule, self.now)
        if told:
            self.told.append(self.alert.state)
        assert told == (before.state != self.alert.state and "firing" in (before.state, self.alert.state))
        if told and self.alert.state == "firing":
            assert self.now - self.broken_since >= self.rule.for_s - 1e-6, "never before `for` is over"
        if told and self.alert.state == "inactive":
            assert self.now - self.last_broken >= self.rule.keep_firing_for_s - 1e-6
        if verdict.broken:
            self.last_broken = self.now

    @invariant()
    def told_by_turns(self):
        assert self.told == ["firing", "inactive"] * (len(self.told) // 2) + ["firing"] * (len(self.told) % 2)

    @invariant()
    def instants_in_order(self):
        alert = self.alert
        if alert.state == "firing":
            assert alert.active_at <= alert.fired_at <= self.now
            assert alert.resolved_at is None
        if alert.resolved_at is not None:
            assert alert.fired_at <= alert.resolved_at <= self.now


TestEpisodes = Episodes.TestCase
TestEpisodes.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
