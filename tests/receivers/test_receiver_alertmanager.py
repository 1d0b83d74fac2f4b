"""Alertmanager's v2 API: against a listener, and against the real one."""

import time

import msgspec
import pytest
import requests
from listener import Answer, Listener, eventually
from real_alertmanager import running_alertmanager

from perfmon.errors import PassingError, PermanentError
from perfmon.receivers import Notice, alertmanager, fingerprint

LABELS = {"alertname": "ShopDown", "severity": "critical", "target": "http://shop/ä", "empty": ""}


def notice(name="ShopDown", **kwargs):
    facts = {"labels": LABELS | {"alertname": name}, "annotations": {"summary": "down"}, "why": "", "starts_at": 0.25}
    return Notice(**(facts | kwargs))


def config(*listeners):
    return alertmanager.Config(urls=[listener if isinstance(listener, str) else listener.url for listener in listeners])


@pytest.fixture
def two():
    with Listener() as one, Listener() as other:
        yield one, other


@pytest.fixture
def real(tmp_path, binary):
    """Debian's Alertmanager, and the webhook that it tells."""
    with Listener() as pager, running_alertmanager(binary("prometheus-alertmanager"), tmp_path, pager.url) as url:
        yield url, pager


def _get(url, path):
    with requests.Session() as session:
        return session.get(f"{url}/api/v2/{path}", timeout=5).json()


def test_every_address_is_told(two):
    one, other = two

    alertmanager.notify([notice()], config(one, f"{other.url}/prefix/"))

    assert ["/api/v2/alerts"] == [request.path for request in one.requests]
    assert ["/prefix/api/v2/alerts"] == [request.path for request in other.requests]
    assert one.requests[0].body == other.requests[0].body


def test_one_that_is_gone_keeps_nothing_from_the_others_and_is_raised(two):
    one, other = two
    one.answer = lambda _request: Answer(503)

    with pytest.raises(PassingError):
        alertmanager.notify([notice()], config(one, other))

    assert 1 == len(other.requests)


def test_what_may_heal_counts_before_what_cannot(two):
    one, other = two
    one.answer = lambda _request: Answer(401)
    with pytest.raises(PermanentError):
        alertmanager.notify([notice()], config(one, other))
    other.answer = lambda _request: Answer(500)

    with pytest.raises(PassingError):
        alertmanager.notify([notice()], config(one, other))


def test_each_address_gets_a_config_of_its_own_under_a_name_without_secrets():
    whole = config("http://a:9093/x/", "https://b/y?token=z")

    parts = alertmanager.split(whole)

    assert {"http://a:9093/x": ["http://a:9093/x/"], "https://b/y": ["https://b/y?token=z"]} == {
        name: part.urls for name, part in parts.items()
    }
    assert whole.resend == parts["https://b/y"].resend == alertmanager.resend_s(whole) == 60.0


def test_a_firing_alert_ends_when_it_is_not_told_again_and_a_resolved_one_when_it_ended():
    firing = alertmanager.alert(notice(valid_until=240.0, page_url="http://perfmon/"))
    resolved = alertmanager.alert(notice(ends_at=10.0, valid_until=240.0))

    assert ("1970-01-01T00:00:00.250Z", "1970-01-01T00:04:00.000Z") == (firing["startsAt"], firing["endsAt"])
    assert "1970-01-01T00:00:10.000Z" == resolved["endsAt"]
    assert ("http://perfmon/", False) == (firing["generatorURL"], "generatorURL" in resolved)
    assert "empty" not in firing["labels"]


def test_mistakes_in_the_settings_are_said():
    def check(**kwargs):
        return list(alertmanager.check(alertmanager.Config(**kwargs)))

    assert [("urls", "expected at least one address")] == check(urls=[])
    assert ["urls[1]"] == [path for path, _ in check(urls=["http://a", "b"])]
    assert [("urls[1]", "the same address stands above: each Alertmanager is told once")] == check(
        urls=["http://a"] * 2
    )
    assert [("resend", "expected more than 0 s, got 0")] == check(urls=["http://a"], resend=0)
    assert ["bearer_token"] == [path for path, _ in check(urls=["http://a"], bearer_token="\n")]


@pytest.mark.servers
def test_the_real_one_takes_it_pages_once_and_knows_it_by_the_same_fingerprint(real):
    url, pager = real
    now = time.time()
    firing = notice(starts_at=now - 1, valid_until=now + 240, page_url="http://perfmon:10737/")

    alertmanager.notify([firing], config(url))
    alertmanager.notify([firing], config(url))
    eventually(lambda: len(pager.requests) == 1)
    [stored] = _get(url, "alerts")
    alertmanager.notify([msgspec.structs.replace(firing, ends_at=now)], config(url))
    eventually(lambda: len(pager.requests) == 2)

    assert ["firing", "resolved"] == pager.statuses()
    assert fingerprint(stored["labels"]) == stored["fingerprint"] == pager.alerts()[0]["fingerprint"]
    assert "http://perfmon:10737/" == stored["generatorURL"]
    assert 1 == len({alert["startsAt"] for alert in pager.alerts()})


@pytest.mark.servers
def test_the_real_one_refuses_a_bad_alert_and_stores_the_good_ones_of_its_batch(real):
    url, _ = real
    now = time.time()
    good = notice("Good", starts_at=now, valid_until=now + 60)
    bad = notice("Bad", labels={"no-label": "x"}, starts_at=now, valid_until=now + 60)

    with pytest.raises(PermanentError, match=r"answered 400: .*no-label"):
        alertmanager.notify([good, bad], config(url))

    eventually(lambda: ["Good"] == [stored["labels"]["alertname"] for stored in _get(url, "alerts")])
