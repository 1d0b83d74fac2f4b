"""POST each change of an alert to a URL, as the payload that Alertmanager's own webhooks get (version 4).

Whatever understands Alertmanager's webhooks understands these. Each alert is a group of its own, as with
`group_by: ['...']`: so `status` and `groupKey` are true of it, and what one POST opens another closes.
Who wants groups, silences and routes puts an Alertmanager in between.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from perfmon.clock import iso
from perfmon.model import render_labels
from perfmon.post import Http, check_url, post
from perfmon.post import check as check_http
from perfmon.receivers import Notice

__all__ = ["BATCH", "Config", "check", "notify"]

BATCH = 1


class Config(Http, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to."""

    url: str


def notify(notices: Sequence[Notice], config: Config) -> None:
    """One POST for each notice, in order."""
    for notice in notices:
        post(config.url, payload(notice), config)


def check(config: Config) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express."""
    yield from check_http(config)
    yield from check_url(config.url, "url")


def payload(notice: Notice) -> dict[str, Any]:
    """https://prometheus.io/docs/alerting/latest/configuration/#webhook_config."""
    alert = {
        "status": notice.status,
        "labels": notice.labels,
        "annotations": notice.annotations,
        "startsAt": iso(notice.starts_at),
        "endsAt": _NEVER if notice.ends_at is None else iso(notice.ends_at),
        "generatorURL": notice.page_url,
        "fingerprint": notice.fingerprint,
    }
    return {
        "version": "4",
        "groupKey": f"{{}}:{{{render_labels(dict(sorted(notice.labels.items())))}}}",
        "truncatedAlerts": 0,
        "status": notice.status,
        "receiver": "perfmon",
        "groupLabels": notice.labels,
        "commonLabels": notice.labels,
        "commonAnnotations": notice.annotations,
        "externalURL": notice.page_url,
        "alerts": [alert],
    }


_NEVER = "0001-01-01T00:00:00Z"  # Go's zero time: what Alertmanager writes for an alert that is not over
