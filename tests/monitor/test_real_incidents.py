"""Incidents at Debian's Alertmanager, told by perfmon as Prometheus tells it: what people hear of them."""

from datetime import UTC, datetime, timedelta

import pytest
import requests
from listener import Listener, eventually
from real_alertmanager import EACH_BY_ITSELF, Alertmanager

from perfmon.clock import SystemClock
from perfmon.model import Alert, Receiver, Verdict
from perfmon.monitor.notify import Notifier
from perfmon.monitor.store import Store
from perfmon.receivers import alertmanager

pytestmark = pytest.mark.servers
CLOCK = SystemClock()


def alert(name, target="x", severity="critical", **kwargs):
    now = CLOCK.monotonic()
    labels = {"alertname": name, "severity": severity, "target": target}
    facts = {"rule": name, "labels": labels, "series": target, "state": "firing", "active_at": now, "fired_at": now}
    return Alert(**(facts | {"verdict": Verdict(level="critical", why="is 2")} | kwargs))


def over(fired):
    return alert(
        fired.rule,
        fired.series,
        fired.labels["severity"],
        state="inactive",
        fired_at=fired.fired_at,
        resolved_at=CLOCK.monotonic(),
    )


@pytest.fixture
def telling():
    """A notifier for Alertmanagers; ended in the end."""
    begun = []

    def tell(*urls, resend=0.3):
        config = alertmanager.Config(urls=list(urls), resend=resend, connect_timeout=0.5, timeout=2)
        store = Store("", clock=CLOCK)
        receiver = Receiver(name="am", kind="alertmanager", config=config)
        begun.append((Notifier([receiver], clock=CLOCK, store=store), store))
        return begun[-1][0]

    yield tell
    for notifier, store in begun:
        notifier.stop(0.0)
        store.close()


@pytest.fixture(scope="module")
def grouping(tmp_path_factory, binary):
    """One that groups by name, and lets a critical alert silence the warning of the same."""
    route = EACH_BY_ITSELF | {"group_by": ["alertname"], "group_wait": "300ms"}
    inhibit = {
        "source_matchers": ['severity="critical"'],
        "target_matchers": ['severity="warning"'],
        "equal": ["alertname", "target"],
    }
    folder = tmp_path_factory.mktemp("grouping")
    with Listener() as pager:
        server = Alertmanager(
            binary("prometheus-alertmanager"), folder, pager.url, route=route, inhibit_rules=[inhibit]
        )
        with server:
            yield server, pager


def pages_of(pager, name):
    """The alerts of each page about one name: (target, severity, status)."""
    bodies = [request.body for request in list(pager.requests) if request.body["groupLabels"]["alertname"] == name]
    return [
        sorted((one["labels"]["target"], one["labels"]["severity"], one["status"]) for one in body["alerts"])
        for body in bodies
    ]


def test_what_belongs_together_is_one_page_and_a_warning_below_its_critical_is_none(grouping, telling):
    server, pager = grouping
    fired = [alert("Slow", "a", "warning"), alert("Slow", "a"), alert("Slow", "b")]

    notifier = telling(server.url)
    notifier.tell(fired)
    eventually(lambda: server.states().get(("Slow", "warning")) == "suppressed")
    eventually(lambda: pages_of(pager, "Slow"), 10)
    notifier.tell([over(one) for one in fired])
    eventually(lambda: len(pages_of(pager, "Slow")) > 1, 10)

    begun, ended = pages_of(pager, "Slow")
    assert [("a", "critical", "firing"), ("b", "critical", "firing")] == begun
    # Alertmanager tells of the warning's end, too: nothing inhibits it any more.
    assert {("a", "critical", "resolved"), ("b", "critical", "resolved")} <= set(ended)


def test_a_silence_holds_a_page_back_and_its_end_lets_it_go(grouping, telling):
    server, pager = grouping
    now = datetime.now(UTC)
    matcher = {"name": "alertname", "value": "Quiet", "isRegex": False, "isEqual": True}
    silence = {
        "matchers": [matcher],
        "startsAt": now.isoformat(),
        "endsAt": (now + timedelta(hours=1)).isoformat(),
        "createdBy": "me",
        "comment": "sleep",
    }
    with requests.Session() as session:
        identity = session.post(f"{server.url}/api/v2/silences", json=silence, timeout=5).json()["silenceID"]
        telling(server.url).tell([alert("Quiet"), alert("Loud")])
        eventually(lambda: server.states().get(("Quiet", "critical")) == "suppressed")
        eventually(lambda: pages_of(pager, "Loud"), 10)
        assert [] == pages_of(pager, "Quiet")
        session.delete(f"{server.url}/api/v2/silence/{identity}", timeout=5)
        eventually(lambda: pages_of(pager, "Quiet"), 10)

    assert [[("x", "critical", "firing")]] == pages_of(pager, "Quiet")


def test_one_that_is_restarted_in_mid_incident_learns_of_it_again_and_pages_nobody_twice(tmp_path, binary, telling):
    with Listener() as pager, Alertmanager(binary("prometheus-alertmanager"), tmp_path, pager.url) as server:
        notifier = telling(server.url)
        notifier.tell([fired := alert("Down")])
        eventually(lambda: pager.requests)
        [before] = server.api("alerts")
        server.stop()
        server.start()
        eventually(lambda: server.states() == {("Down", "critical"): "active"})
        [after] = server.api("alerts")
        notifier.tell([over(fired)])
        eventually(lambda: len(pager.requests) > 1)

        assert (before["startsAt"], before["fingerprint"]) == (after["startsAt"], after["fingerprint"])
        assert ["firing", "resolved"] == pager.statuses()


def test_one_that_was_away_at_the_end_hears_of_it_later(tmp_path, binary, telling):
    """It has forgotten the alert, but not that it told of it: the end, said again for 15 minutes, is a page."""
    with Listener() as pager, Alertmanager(binary("prometheus-alertmanager"), tmp_path, pager.url) as server:
        notifier = telling(server.url)
        notifier.tell([fired := alert("Down")])
        eventually(lambda: pager.requests)
        server.stop()
        notifier.tell([over(fired)])
        server.start()
        eventually(lambda: len(pager.requests) > 1, 10)

        assert ["firing", "resolved"] == pager.statuses()


def test_of_two_a_dead_one_keeps_nothing_from_the_other_and_hears_all_when_it_is_back(tmp_path, binary, telling):
    server = binary("prometheus-alertmanager")
    with Listener() as pager, Listener() as its_pager, Alertmanager(server, tmp_path / "a", pager.url) as alive:
        dead = Alertmanager(server, tmp_path / "b", its_pager.url)
        notifier = telling(alive.url, dead.url)
        notifier.tell([fired := alert("Down")])
        eventually(lambda: pager.requests)
        [(_, waiting)] = notifier.waiting(_fingerprint(fired)).items()
        with dead:
            eventually(lambda: its_pager.requests, 10)
            notifier.tell([over(fired)])
            eventually(lambda: len(pager.requests) > 1 and len(its_pager.requests) > 1, 10)

        assert "connection refused" in waiting.trouble
        assert ["firing", "resolved"] == pager.statuses() == its_pager.statuses()
        assert [{"am": 0}] == [dict(notifier.queued())]


def _fingerprint(found):
    from perfmon.receivers import fingerprint

    return fingerprint(found.labels)
