"""POST each change of an alert to a URL, as the payload that Alertmanager's own webhooks get (version 4).

Whatever understands Alertmanager's webhooks understands these. Each alert is a group of its own, as with
`group_by: ['...']`: so `status` and `groupKey` are true of it, and what one POST opens another closes.
Who wants groups, silences and routes puts an Alertmanager in between.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from perfmon.clock import iso
from perfmon.model import Labels
from perfmon.post import Http, check_url, post
from perfmon.post import check as check_http
from perfmon.receivers import Notice, fingerprint

__all__ = ["BATCH", "Config", "check", "notify", "payload"]

BATCH = 1


class Config(Http, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to."""

    url: str


def notify(notices: Sequence[Notice], config: Config) -> str:
    """One POST for each notice, in order."""
    return ", ".join([post(config.url, payload(notice), config) for notice in notices])


def check(config: Config) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express."""
    yield from check_http(config)
    yield from check_url(config.url, "url")


def payload(notice: Notice) -> dict[str, Any]:
    """Word by word what Alertmanager's `notify/webhook` sends of a group of one alert, order and all.

    https://prometheus.io/docs/alerting/latest/configuration/#webhook_config. To Alertmanager an empty label or
    annotation is an absent one.
    """
    labels = {name: value for name, value in sorted(notice.labels.items()) if value}
    annotations = {name: value for name, value in sorted(notice.annotations.items()) if value}
    return {
        "receiver": notice.receiver,
        "status": notice.status,
        "alerts": [
            {
                "status": notice.status,
                "labels": labels,
                "annotations": annotations,
                "startsAt": _go_time(notice.starts_at),
                "endsAt": _NEVER if notice.ends_at is None else _go_time(notice.ends_at),
                "generatorURL": notice.page_url,
                "fingerprint": fingerprint(labels),
            }
        ],
        "groupLabels": labels,
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": notice.page_url,
        "version": "4",
        "groupKey": _group_key(labels),
        "truncatedAlerts": 0,
    }


_NEVER = "0001-01-01T00:00:00Z"  # Go's zero time: what Alertmanager writes for an alert that is not over


def _go_time(wall: float) -> str:
    """RFC 3339 as Go writes it: without the zeros at the end of a fraction."""
    seconds, _, fraction = iso(wall).removesuffix("Z").partition(".")
    shown = fraction.rstrip("0")
    return f"{seconds}.{shown}Z" if shown else f"{seconds}Z"


def _group_key(labels: Labels) -> str:
    """The route's key, that of the topmost, and the labels that the group has in common."""
    return "{}:{" + ", ".join(f"{name}={_go_quoted(value)}" for name, value in labels.items()) + "}"


def _go_quoted(text: str) -> str:
    """As Go's `%q`: https://pkg.go.dev/strconv#Quote."""
    return '"' + "".join(_ESCAPES.get(letter) or _go_letter(letter) for letter in text) + '"'


_ESCAPES = {
    '"': r"\"",
    "\\": r"\\",
    "\a": r"\a",
    "\b": r"\b",
    "\f": r"\f",
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
    "\v": r"\v",
}


def _go_letter(letter: str) -> str:
    code = ord(letter)
    if letter.isprintable():
        return letter
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
