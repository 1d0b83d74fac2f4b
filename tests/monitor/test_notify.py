"""Telling receivers: nothing lost, nobody told twice, nobody waits for anybody."""

import random
import signal
import subprocess
import sys
import threading
import time
from datetime import datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from listener import Answer, Listener, eventually
from real_alertmanager import running_alertmanager
from structlog.testing import capture_logs

from perfmon.clock import SystemClock, iso
from perfmon.model import Alert, Receiver, Verdict
from perfmon.monitor import notify
from perfmon.monitor.notify import Notifier, backoff_s, reminder_due
from perfmon.monitor.store import Store
from perfmon.receivers import alertmanager, log, webhook

CLOCK = SystemClock()


def alert(name="Down", *, over=False, fired_at=None):
    now = CLOCK.monotonic()
    return Alert(
        rule=name,
        labels={"alertname": name, "severity": "critical", "target": "x"},
        series="shop/x",
        state="inactive" if over else "firing",
        active_at=fired_at or now,
        fired_at=fired_at or now,
        resolved_at=now if over else None,
        verdict=Verdict(level="ok" if over else "critical", why="is 2, expected < 1"),
    )


def hook(listener, name="pager", **kwargs):
    return Receiver(name=name, kind="webhook", config=webhook.Config(url=listener.url, **kwargs))


def manager(*listeners, resend=60.0, **kwargs):
    config = alertmanager.Config(urls=[listener.url for listener in listeners], resend=resend, **kwargs)
    return Receiver(name="am", kind="alertmanager", config=config)


def posted(listener):
    """Names and whether they fire, of all alerts posted to an Alertmanager."""
    return [alert["labels"]["alertname"] for request in list(listener.requests) for alert in request.body]


@pytest.fixture
def listener():
    with Listener() as listener:
        yield listener


@pytest.fixture
def quick(monkeypatch):
    """Retries come at once."""
    monkeypatch.setattr(notify, "FIRST_RETRY_S", 0.02)
    monkeypatch.setattr(notify, "LONGEST_RETRY_S", 0.05)


class Life:
    """One life of the daemon as far as notifications go."""

    def __init__(self, path, *receivers):
        self.outcomes = []
        self.store = Store(path, clock=CLOCK)
        self.notifier = Notifier(
            receivers,
            clock=CLOCK,
            store=self.store,
            page_url="http://perfmon/",
            on_outcome=lambda *outcome: self.outcomes.append(outcome),
        )

    def tell(self, *alerts):
        with self.store.together():
            self.store.put_alerts(alerts)
            self.notifier.tell(alerts)

    def end(self, deadline_s=2.0):
        left = self.notifier.stop(deadline_s)
        self.store.close()
        return left

    def die(self):
        """As SIGKILL would: no flush, and the threads do nothing any more."""
        for worker in self.notifier._workers.values():
            worker._dismissed = True
            worker.stop(0.0)
        self.store.close()


@pytest.fixture
def begin(tmp_path):
    lives = []

    def begin_(*receivers):
        lives.append(Life(tmp_path / "state", *receivers))
        return lives[-1]

    yield begin_
    for life in lives:
        life.end(0.0)


def test_a_change_is_told_once_with_the_same_beginning_and_leaves_the_outbox(begin, listener):
    life = begin(hook(listener))
    firing = alert()

    life.tell(firing)
    eventually(lambda: life.notifier.queued() == {"pager": 0})
    life.tell(alert(over=True, fired_at=firing.fired_at))
    eventually(lambda: len(listener.requests) == 2)

    assert ["firing", "resolved"] == listener.statuses()
    assert 1 == len({told["startsAt"] for told in listener.alerts()})
    assert "http://perfmon/" == listener.requests[0].body["externalURL"]
    assert 0 == life.end()
    assert [("pager", "sent")] * 2 == life.outcomes
    assert {} == begin().store.outbox()


def test_what_fails_for_now_is_tried_again_until_it_arrives(begin, listener, quick):
    left = iter([Answer(500), Answer(429), Answer(503)])
    listener.answer = lambda _request: next(left, Answer())
    life = begin(hook(listener))

    with capture_logs() as logs:
        life.tell(alert())
        eventually(lambda: ("pager", "sent") in life.outcomes)

    assert [("pager", "retried")] * 3 + [("pager", "sent")] == life.outcomes
    assert 4 == len(listener.requests)
    assert "receiver takes notifications again" == logs[-1]["event"]


def test_the_pause_that_a_receiver_asks_for_is_kept(begin, listener, quick):
    left = iter([Answer(429, {"Retry-After": "1"})])
    listener.answer = lambda _request: next(left, Answer())
    life = begin(hook(listener))
    began = time.monotonic()

    life.tell(alert())
    eventually(lambda: ("pager", "sent") in life.outcomes)

    assert 1.0 <= time.monotonic() - began < 1.5


def test_what_is_refused_is_counted_said_and_not_tried_again(begin, listener):
    listener.answer = lambda _request: Answer(404, body=b"no such hook")
    life = begin(hook(listener))

    with capture_logs() as logs:
        life.tell(alert())
        eventually(lambda: life.outcomes)

    assert [("pager", "failed")] == life.outcomes
    assert f"refused: {listener.url}: answered 404: no such hook" == logs[0]["error"]
    assert 0 == life.end()
    assert ({}, 1) == (begin().store.outbox(), len(listener.requests))


def test_one_bad_alert_in_a_batch_costs_the_others_nothing(begin, listener):
    def refuse_bad(request):
        return Answer(400 if any(one["labels"]["alertname"] == "Bad" for one in request.body) else 200)

    listener.answer = refuse_bad
    life = begin(manager(listener))

    life.tell(alert("Good"), alert("Bad"), alert("Fine"))
    eventually(lambda: len(life.outcomes) == 3)

    assert [("am", "failed"), ("am", "sent"), ("am", "sent")] == sorted(life.outcomes)
    assert ["Good", "Bad", "Fine"] * 2 == posted(listener), "once together, once alone"


def test_a_receiver_that_hangs_delays_nobody(begin, listener):
    release = threading.Event()
    answered = []
    with Listener(lambda _request: answered.append(release.wait(60)) or Answer()) as hanging:
        life = begin(hook(hanging, "hanging"), hook(listener, "well"))

        life.tell(*(alert(str(number)) for number in range(20)))
        # A listener knows of a request before its sender knows of the answer.
        eventually(lambda: {"hanging": 20, "well": 0} == life.notifier.queued())
        left = life.notifier.stop(0.2)
        heard, answered_meanwhile = len(listener.requests), list(answered)
        release.set()

    assert 20 == heard
    assert 20 == left
    assert [] == answered_meanwhile


def test_of_two_alertmanagers_one_that_is_gone_is_tried_again_by_itself(begin, listener, quick):
    up = threading.Event()
    with Listener(lambda _request: Answer(200 if up.is_set() else 503)) as other:
        life = begin(manager(listener, other))

        life.tell(alert())
        eventually(lambda: len(other.requests) > 2)
        assert ["Down"] == posted(listener)
        up.set()
        eventually(lambda: life.notifier.queued() == {"am": 0})
        assert 2 == life.outcomes.count(("am", "sent"))


def test_the_newest_state_replaces_one_that_could_not_be_sent(begin, listener, quick):
    up = threading.Event()
    listener.answer = lambda _request: Answer(200 if up.is_set() else 503)
    life = begin(hook(listener))

    life.tell(first := alert())
    eventually(lambda: ("pager", "retried") in life.outcomes)
    life.tell(alert(over=True, fired_at=first.fired_at))
    life.tell(second := alert())
    listener.requests.clear()
    up.set()
    eventually(lambda: life.outcomes.count(("pager", "sent")) == 2)

    told = listener.alerts()[-2:]
    assert ["resolved", "firing"] == [one["status"] for one in told]
    starts = [iso(life.store.wall(one, one.fired_at)) for one in (first, second)]
    assert starts[1] == told[1]["startsAt"]


def test_an_alertmanager_is_told_again_what_fires_and_that_it_is_over(begin, listener):
    life = begin(manager(listener, resend=0.1))

    life.tell(firing := alert())
    eventually(lambda: len(listener.requests) >= 3)
    over = alert(over=True, fired_at=firing.fired_at)
    life.tell(over)
    ended = iso(life.store.wall(over, over.resolved_at))
    eventually(lambda: [one["endsAt"] for one in _bodies(listener)[-3:]] == [ended] * 3)

    assert 1 == len({one["startsAt"] for one in _bodies(listener)})


def _bodies(listener):
    return [one for request in list(listener.requests) for one in request.body]


def test_a_firing_alert_holds_four_resends_beyond_each_telling(begin, listener):
    life = begin(manager(listener, resend=50.0))
    life.tell(alert())
    eventually(lambda: listener.requests)

    ends_at = listener.requests[0].body[0]["endsAt"]
    assert iso(CLOCK.wall() + 195) < ends_at < iso(CLOCK.wall() + 201)


def test_a_defect_of_a_receiver_is_said_and_costs_its_notice_only(begin, listener, monkeypatch):
    monkeypatch.setattr(log, "notify", lambda *_args: 1 / 0)
    life = begin(Receiver(name="log", kind="log", config=log.Config()), hook(listener))

    with capture_logs() as logs:
        life.tell(alert())
        eventually(lambda: len(life.outcomes) == 2)

    assert {("log", "failed"), ("pager", "sent")} == set(life.outcomes)
    assert "defect: ZeroDivisionError('division by zero')" in [line.get("error") for line in logs]


def test_at_a_clean_end_what_can_be_sent_is_sent_and_the_rest_waits_for_the_next_life(begin, listener, quick):
    with Listener(lambda _request: Answer(503)) as down:
        life = begin(hook(listener, "well"), hook(down, "down"))
        life.tell(alert("A"), alert("B"), alert("C"))
        assert 3 == life.end()

    assert ["A", "B", "C"] == [one["labels"]["alertname"] for one in listener.alerts()]
    life = begin(hook(listener, "well"), hook(listener, "down"))
    eventually(lambda: len(life.outcomes) == 3)
    assert [("down", "sent")] * 3 == life.outcomes


def test_after_a_crash_what_was_not_sent_is_sent_and_what_was_is_not(begin, listener, quick):
    listener.answer = lambda request: Answer(503 if request.body["groupLabels"]["alertname"] == "B" else 200)
    life = begin(hook(listener))
    life.tell(alert("A"))
    eventually(lambda: ("pager", "sent") in life.outcomes)
    life.tell(alert("B"))
    eventually(lambda: ("pager", "retried") in life.outcomes)
    life.die()
    listener.requests.clear()
    listener.answer = lambda _request: Answer()

    life = begin(hook(listener))
    eventually(lambda: ("pager", "sent") in life.outcomes)
    life.end()

    assert ["B"] == [one["labels"]["alertname"] for one in listener.alerts()]


def test_after_a_crash_an_alertmanager_goes_on_being_told_with_the_same_beginning(begin, listener):
    life = begin(manager(listener))
    life.tell(alert("Fires"), alert("Over", over=True, fired_at=CLOCK.monotonic() - 5))
    eventually(lambda: len(posted(listener)) == 2)
    before = {one["labels"]["alertname"]: one["startsAt"] for one in listener.requests[0].body}
    life.die()
    listener.requests.clear()

    begin(manager(listener))
    eventually(lambda: len(posted(listener)) == 2)

    after = {one["labels"]["alertname"]: one["startsAt"] for request in listener.requests for one in request.body}
    assert before == after


def test_what_is_left_for_a_receiver_that_is_gone_is_dropped_and_said(begin, listener, quick):
    listener.answer = lambda _request: Answer(503)
    life = begin(hook(listener))
    life.tell(alert())
    life.end()

    with capture_logs() as logs:
        life = begin()

    assert [("pager", "dropped")] == life.outcomes
    assert "notifications are left for a receiver that is gone" == logs[0]["event"]
    assert {} == life.store.outbox()


def test_a_reload_keeps_queues_dismisses_who_is_gone_and_tells_new_ones_what_fires(begin, listener, quick):
    listener.answer = lambda request: Answer(503 if request.path == "/old" else 200)
    stays = Receiver(name="stays", kind="webhook", config=webhook.Config(url=f"{listener.url}/old"))
    goes = Receiver(name="goes", kind="webhook", config=webhook.Config(url=f"{listener.url}/old"))
    life = begin(stays, goes)
    life.tell(firing := alert())
    eventually(lambda: ("stays", "retried") in life.outcomes)

    moved = Receiver(name="stays", kind="webhook", config=webhook.Config(url=f"{listener.url}/new"))
    with Listener() as new:
        life.notifier.replace([moved, manager(new)], [firing])
        eventually(lambda: ("stays", "sent") in life.outcomes)
        eventually(lambda: posted(new) == ["Down"])

        assert ["/new"] == [request.path for request in listener.requests if request.path != "/old"]
        assert ("goes", "dropped") in life.outcomes
        assert {"stays": 0, "am": 0} == life.notifier.queued()
        assert {} == life.store.outbox()


def test_a_wall_clock_that_was_set_back_ends_no_alert_before_it_began(begin, listener):
    life = begin(hook(listener))
    firing = alert()
    life.store.put_alerts([firing])
    life.store._walls._known.clear()
    ahead = life.store._walls._known.setdefault(("alerts", firing.series, _fingerprint(firing)), {})
    ahead[firing.fired_at] = CLOCK.wall() + 3600

    life.tell(alert(over=True, fired_at=firing.fired_at))
    eventually(lambda: listener.requests)

    [told] = listener.alerts()
    assert told["startsAt"] == told["endsAt"] > iso(CLOCK.wall() + 3000)


def _fingerprint(of):
    from perfmon.receivers import fingerprint

    return fingerprint(of.labels)


def test_a_disk_that_hangs_holds_a_page_up_for_a_second_at_most(begin, listener, monkeypatch):
    monkeypatch.setattr(notify, "WRITE_AHEAD_S", 0.1)
    life = begin(hook(listener))
    release = threading.Event()
    save = life.store._file.save
    life.store._file.save = lambda rows: release.wait(5) and save(rows)

    began = time.monotonic()
    life.tell(alert())
    eventually(lambda: listener.requests)
    took_s = time.monotonic() - began
    release.set()

    assert 0.1 <= took_s < 0.6


def test_without_a_state_file_it_all_works_in_memory(listener):
    life = Life("", hook(listener), manager(listener))

    life.tell(alert())
    eventually(lambda: len(listener.requests) == 2)

    assert 0 == life.end()


# ---------------------------------------------------------------- reminders, and who does not hear of the end


@given(st.floats(1, 1e5), st.floats(0, 1e6), st.lists(st.floats(0, 1e5), max_size=20))
@example(27589.56028873117, 496699.0, [27589.56028873117, 1.0])  # asked for at the very instant, as rounding has it
def test_each_reminder_comes_once_however_often_and_seldom_it_is_asked_for(every_s, fired_at, steps):
    now, told = fired_at, []
    for step in steps:
        due_at = reminder_due(fired_at, every_s, now, now + step)
        now += step
        told += [] if due_at is None else [due_at]

    assert told == sorted(set(told))
    assert all(fired_at + every_s <= due_at <= now + 1e-6 for due_at in told)
    assert len(told) <= (now - fired_at) // every_s
    assert bool(told) == ((now - fired_at) // every_s >= 1)


def test_a07_a_reminder_comes_to_all_at_the_same_time_and_to_nobody_who_has_not_heard_yet(begin, listener, quick):
    """The time counts from the beginning of the alert, not from when somebody heard of it."""
    with Listener(lambda _request: Answer(503)) as away, Listener() as never:
        life = begin(reminding(listener, "well"), reminding(away, "away"), hook(never, "never"))
        life.tell(firing := alert())
        eventually(lambda: ("away", "retried") in life.outcomes and len(listener.requests) == 1)
        wait_until(firing.fired_at + 0.3)
        life.notifier.remind([firing])
        life.notifier.remind([firing])
        eventually(lambda: len(listener.requests) == 2)
        away.requests.clear()
        away.answer = lambda _request: Answer()
        eventually(lambda: ("away", "sent") in life.outcomes)

        assert ["firing"] * 2 == listener.statuses()
        assert 1 == len({told["startsAt"] for told in listener.alerts()})
        assert 1 == len(never.requests)
        assert {"away": 0, "well": 0, "never": 0} == life.notifier.queued()
        told = life.notifier.deliveries(_fingerprint(firing))
        assert ("reminder", "firing") == (told["well"].said, told["away"].said)


def test_a_rules_own_reminder_is_that_of_all_receivers_but_those_that_remind_by_themselves(begin, listener):
    with Listener() as managed, Listener() as seldom:
        life = begin(hook(listener), reminding(seldom, "seldom", 3600.0), manager(managed))
        life.tell(firing := alert())
        eventually(lambda: all(one.requests for one in (listener, managed, seldom)))
        wait_until(firing.fired_at + 0.2)
        life.notifier.remind([firing], {firing.rule: 0.2})
        eventually(lambda: len(listener.requests) == len(seldom.requests) == 2)
        assert 0 == life.end()

    assert 1 == len(managed.requests)


def test_a_reminder_that_came_due_during_a_restart_is_said_after_it_and_one_that_was_said_is_not(begin, listener):
    life = begin(reminding(listener, "pager", 0.5))
    life.tell(firing := alert())
    eventually(lambda: life.notifier.queued() == {"pager": 0})
    life.end()
    wait_until(firing.fired_at + 0.5)

    life = begin(reminding(listener, "pager", 0.5))
    [again] = life.store.alerts()
    life.notifier.remind([again])
    eventually(lambda: len(listener.requests) == 2)
    life.end()
    life = begin(reminding(listener, "pager", 0.5))
    life.notifier.remind(life.store.alerts())
    life.end()

    came_due = (CLOCK.monotonic() - again.fired_at) // 0.5
    assert 1 <= len(listener.requests) - 1 <= came_due


def test_who_does_not_want_to_hear_of_the_end_hears_nothing_of_what_is_over(begin, listener, quick):
    up = threading.Event()
    listener.answer = lambda _request: Answer(200 if up.is_set() else 503)
    life = begin(Receiver(name="pager", kind="webhook", config=webhook.Config(url=listener.url), send_resolved=False))
    life.tell(first := alert("Over"))
    eventually(lambda: ("pager", "retried") in life.outcomes)
    life.tell(alert("Over", over=True, fired_at=first.fired_at), alert("Fires"))
    up.set()
    eventually(lambda: life.notifier.queued() == {"pager": 0})

    assert ["Fires"] == [one["labels"]["alertname"] for one in listener.alerts()[-1:]]
    assert {"firing"} == set(listener.statuses())
    assert 0 == life.end()


def reminding(listener, name, every_s=0.3):
    return Receiver(name=name, kind="webhook", config=webhook.Config(url=listener.url), reminder_s=every_s)


def wait_until(instant):
    while CLOCK.monotonic() < instant:
        time.sleep(0.01)


# ---------------------------------------------------------------- who was told


def test_what_came_of_telling_outlives_a_restart(begin, listener, quick):
    left = iter([Answer(503, body=b"not now"), Answer(503, body=b"not now")])
    listener.answer = lambda _request: next(left, Answer(body=b"thanks"))
    life = begin(hook(listener))
    life.tell(firing := alert())
    eventually(lambda: ("pager", "sent") in life.outcomes)
    life.end()

    told = begin(hook(listener)).notifier.deliveries(_fingerprint(firing))["pager"]

    assert ("firing", "sent", f"{listener.url}: answered 200: thanks", 1) == (
        told.said,
        told.outcome,
        told.words,
        told.times,
    )
    assert abs(CLOCK.wall() - told.at) < 60


def test_what_waits_says_why_and_when_it_is_tried_again(begin, listener):
    listener.answer = lambda _request: Answer(503, headers={"Retry-After": "60"}, body=b"not now")
    life = begin(hook(listener))
    life.tell(firing := alert())
    eventually(lambda: life.outcomes)

    waiting = life.notifier.waiting(_fingerprint(firing))["pager"]

    assert ("firing",) == waiting.statuses
    assert 50 < waiting.retry_in_s <= 60
    assert f"retried: {listener.url}: answered 503: not now" == waiting.trouble


def test_what_is_known_of_deliveries_is_bounded(tmp_path, monkeypatch):
    from perfmon.monitor import deliveries

    monkeypatch.setattr(deliveries, "ALERTS_KEPT", 3)
    store = Store(tmp_path / "state", clock=CLOCK)
    known = deliveries.Deliveries(store)
    for number in range(5):
        said = deliveries.Delivery(said="firing", starts_at=0.0, outcome="sent", at=1.0, again_at=1.0)
        known.note(str(number), "pager", said)
        known.note(str(number), "pager", said)

    assert {} == known.of("1")
    assert 2 == known.of("4")["pager"].times
    assert {"2", "3", "4"} == set(store.deliveries(deliveries.Delivery))
    store.close()


@given(st.integers(0, 100), st.none() | st.floats(0, 3600), st.floats(0, 1))
def test_the_pause_doubles_up_to_a_minute_and_is_never_shorter_than_asked(retries, asked_s, jitter):
    pause_s = backoff_s(retries, asked_s, jitter)

    longest = min(60.0, 2.0**retries)
    assert max(longest / 2, asked_s or 0) <= pause_s <= max(longest, asked_s or 0)


@pytest.mark.servers
def test_over_a_crash_a_real_alertmanager_pages_once_for_the_beginning_and_once_for_the_end(
    begin, listener, binary, tmp_path
):
    with running_alertmanager(binary("prometheus-alertmanager"), tmp_path, listener.url) as url:
        receiver = Receiver(name="am", kind="alertmanager", config=alertmanager.Config(urls=[url], resend=1.0))
        life = begin(receiver)
        life.tell(firing := alert())
        eventually(lambda: listener.requests)
        life.die()
        life = begin(receiver)
        eventually(lambda: life.outcomes.count(("am", "sent")) >= 2)
        [stored] = life.store.alerts()
        life.tell(alert(over=True, fired_at=stored.fired_at))
        eventually(lambda: len(listener.requests) > 1)
        time.sleep(0.3)

    assert ["firing", "resolved"] == listener.statuses()
    began = datetime.fromisoformat(listener.alerts()[0]["startsAt"])  # Go writes 54.5 where we write 54.500
    assert iso(life.store.wall(firing, stored.fired_at)) == iso(began.timestamp())


# ---------------------------------------------------------------- kill -9

_DAEMON = """
import sys, time
from array import array
from perfmon import kinds
from perfmon.clock import SystemClock
from perfmon.model import Receiver, Rule, Window
from perfmon.monitor.notify import Notifier
from perfmon.monitor.rule import Rules
from perfmon.monitor.store import Store
from perfmon.receivers import webhook

path, url, value = sys.argv[1:4]
clock = SystemClock()
store = Store(path, clock=clock)
receiver = Receiver(name="pager", kind="webhook", config=webhook.Config(url=url))
notifier = Notifier([receiver], clock=clock, store=store)

def window(key, metric, span_s, now):
    return Window(metric=metric, type="flag", unit="", times=array("d", [now]), values=array("d", [float(value)]),
                  now=now, span_s=span_s, since=0.0, last_at=now, interval_s=1.0)

def defect(where, error):
    raise error

demand = kinds.load("conditions", "threshold").parse("last < 1")
rules = Rules([Rule(name="Down", kind="threshold", config=demand)], window=window, long_window=window, show=print, store=store,
              tell=notifier.tell, clock=clock, on_defect=defect)
for key in map(str, range(30)):
    rules.add(key, {"target": key}, ("failed",), interval_s=1.0, now=clock.monotonic())
rules.settle(clock.monotonic(), may_come=lambda key: False)
print("ready", flush=True)
sys.stdin.readline()
for _ in range(2):
    for key in map(str, range(30)):
        rules.evaluate(key, clock.monotonic())
        time.sleep(0.001)
sys.stdin.readline()
notifier.stop(5.0)
store.close()
"""


class Child:
    """A daemon of its own process: begins to judge when told, then goes on until it is ended or killed."""

    def __init__(self, path, url, value):
        command = [sys.executable, "-c", _DAEMON, str(path), url, str(value)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert "ready\n" == self._process.stdout.readline()

    def judge(self):
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end(self):
        self._process.communicate("\n", timeout=10)
        assert 0 == self._process.returncode

    def kill(self):
        self._process.send_signal(signal.SIGKILL)
        self._process.communicate()


def told_of(listener):
    """(target, status, startsAt) of everything that arrived."""
    return [(one["labels"]["target"], one["status"], one["startsAt"]) for one in listener.alerts()]


def test_killed_after_it_told_it_tells_nobody_twice_and_resolves_with_the_same_beginning(tmp_path, listener):
    child = Child(tmp_path / "state", listener.url, 1)
    child.judge()
    eventually(lambda: len(listener.requests) == 30)
    time.sleep(0.2)  # the note of the last one is on the disk
    child.kill()

    for _ in range(2):
        child = Child(tmp_path / "state", listener.url, 1)
        child.judge()
        time.sleep(0.2)
        child.kill()
    assert 30 == len(listener.requests)

    child = Child(tmp_path / "state", listener.url, 0)
    child.judge()
    eventually(lambda: len(listener.requests) == 60)
    child.end()
    told = told_of(listener)
    assert {(target, start) for target, _, start in told[:30]} == {(target, start) for target, _, start in told[30:]}
    assert {"resolved"} == {status for _, status, _ in told[30:]}


def test_killed_while_the_receiver_is_down_it_loses_nothing(tmp_path, listener):
    listener.answer = lambda _request: Answer(503)
    child = Child(tmp_path / "state", listener.url, 1)
    child.judge()
    eventually(lambda: listener.requests)
    time.sleep(0.3)
    child.kill()
    listener.requests.clear()
    listener.answer = lambda _request: Answer()

    child = Child(tmp_path / "state", listener.url, 1)
    child.judge()
    eventually(lambda: len(listener.requests) == 30)
    child.end()

    assert sorted(map(str, range(30))) == sorted(target for target, _, _ in told_of(listener))


def test_killed_at_any_moment_it_loses_nothing_and_repeats_only_what_it_was_just_sending(tmp_path, listener):
    rng = random.Random(7)
    path = tmp_path / "state"
    for _ in range(4):
        child = Child(path, listener.url, 1)
        child.judge()
        time.sleep(rng.uniform(0.0, 0.1))
        child.kill()
    child = Child(path, listener.url, 1)
    child.judge()
    eventually(lambda: len({target for target, _, _ in told_of(listener)}) == 30)
    time.sleep(0.1)
    child.end()

    told = told_of(listener)
    assert {"firing"} == {status for _, status, _ in told}
    assert 30 == len(set(told)), "a repetition is recognisable: same labels, same beginning"
    assert len(told) <= 30 + 4, "each kill repeats the one notice that was on its way at most"
