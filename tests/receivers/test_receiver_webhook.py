"""Alertmanager's webhook payload, version 4, from perfmon itself."""

import time

import msgspec
import pytest
from listener import Answer, Listener, eventually
from real_alertmanager import running_alertmanager

from perfmon.errors import PassingError
from perfmon.receivers import Notice, alertmanager, fingerprint, webhook

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
        "groupKey": '{}:{alertname="ShopDown", severity="critical", target="http://shop/"}',
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
                "startsAt": "2027-01-15T08:00:00.25Z",
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
    assert "2027-01-15T08:01:00Z" == payload["alerts"][0]["endsAt"]


def test_what_the_server_refuses_is_raised():
    with Listener(lambda _request: Answer(503)) as listener, pytest.raises(PassingError):
        webhook.notify([FIRING], webhook.Config(url=listener.url))


def test_a_bad_address_is_a_problem_of_the_setting():
    assert ["url"] == [path for path, _ in webhook.check(webhook.Config(url="shop"))]
    assert ["timeout"] == [path for path, _ in webhook.check(webhook.Config(url="http://a", timeout=0))]


@pytest.mark.servers
def test_it_is_what_the_real_alertmanager_sends_of_the_same_alert_letter_by_letter(tmp_path, binary):
    """Its own address excepted, which stands in `externalURL`, and the order of labels, which JSON does not have."""
    labels = LABELS | {"path": 'C:\\temp "x"\n\t\x07\x7f\u00e4\u200b\U000e0001', "empty": ""}
    now = round(time.time(), 3)
    firing = Notice(
        labels=labels,
        annotations={"summary": "<b>shop & ä</b>", "nothing": ""},
        why="",
        starts_at=now - 10,
        valid_until=now + 240,
        page_url="http://perfmon:10737/",
        receiver="pager",
    )
    over = msgspec.structs.replace(firing, ends_at=now, valid_until=None)
    with Listener() as pager, running_alertmanager(binary("prometheus-alertmanager"), tmp_path, pager.url) as url:
        alertmanager.notify([firing], alertmanager.Config(urls=[url]))
        eventually(lambda: len(pager.requests) == 1)
        alertmanager.notify([over], alertmanager.Config(urls=[url]))
        eventually(lambda: len(pager.requests) == 2)

    theirs = [request.body for request in pager.requests]
    ours = [webhook.payload(notice) for notice in (firing, over)]

    assert [list(body) for body in theirs] == [list(body) for body in ours]
    # Until it is over, Alertmanager keeps the end that it expects to itself.
    assert [body | {"externalURL": ""} for body in theirs] == [
        msgspec.json.decode(msgspec.json.encode(body)) | {"externalURL": ""} for body in ours
    ]
