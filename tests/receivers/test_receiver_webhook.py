"""Alertmanager's webhook payload, version 4, from perfmon itself."""

import pytest
from listener import Answer, Listener

from perfmon.errors import PassingError
from perfmon.receivers import Notice, fingerprint, webhook

LABELS = {"target": "http://shop/", "alertname": "ShopDown", "severity": "critical"}
FIRING = Notice(
    labels=LABELS,
    annotations={"summary": "shop is down"},
    why="",
    starts_at=1_800_000_000.25,
    page_url="http://perfmon:10737/",
)


def test_a_firing_alert_is_a_group_of_its_own():
    with Listener() as listener:
        webhook.notify([FIRING], webhook.Config(url=f"{listener.url}/hook", headers={"X-Key": "k"}))

    [request] = listener.requests
    assert ("/hook", "k") == (request.path, request.headers["X-Key"])
    assert request.body == {
        "version": "4",
        "groupKey": '{}:{alertname="ShopDown",severity="critical",target="http://shop/"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "perfmon",
        "groupLabels": LABELS,
        "commonLabels": LABELS,
        "commonAnnotations": {"summary": "shop is down"},
        "externalURL": "http://perfmon:10737/",
        "alerts": [
            {
                "status": "firing",
                "labels": LABELS,
                "annotations": {"summary": "shop is down"},
                "startsAt": "2027-01-15T08:00:00.250Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "http://perfmon:10737/",
                "fingerprint": fingerprint(LABELS),
            }
        ],
    }


def test_a_resolved_alert_says_when_it_ended():
    notice = Notice(labels=LABELS, annotations={}, why="", starts_at=1_800_000_000.0, ends_at=1_800_000_060.0)

    payload = webhook.payload(notice)

    assert ("resolved", "resolved") == (payload["status"], payload["alerts"][0]["status"])
    assert "2027-01-15T08:01:00.000Z" == payload["alerts"][0]["endsAt"]


def test_what_the_server_refuses_is_raised():
    with Listener(lambda _request: Answer(503)) as listener, pytest.raises(PassingError):
        webhook.notify([FIRING], webhook.Config(url=listener.url))


def test_a_bad_address_is_a_problem_of_the_setting():
    assert ["url"] == [path for path, _ in webhook.check(webhook.Config(url="shop"))]
    assert ["timeout"] == [path for path, _ in webhook.check(webhook.Config(url="http://a", timeout=0))]
