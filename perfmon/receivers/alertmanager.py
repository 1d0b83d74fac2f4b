"""Tell Alertmanagers, by their v2 API, as Prometheus' ruler does: all of them, again and again while it holds."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from perfmon.clock import iso
from perfmon.errors import PassingError, PermanentError, ReceiverError
from perfmon.post import Http, check_url, origin, post
from perfmon.post import check as check_http
from perfmon.receivers import Mode, Notice
from perfmon.units import Duration

__all__ = ["MODES", "Config", "check", "notify", "resend_s", "split"]

MODES: tuple[Mode, ...] = ("alertmanager",)


class Config(Http, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where they are. Every one is told by itself, so name each, and no balancer in front of them."""

    urls: list[str]  # with the path prefix, if there is one: "/api/v2/alerts" is added
    resend: Duration = 60.0  # a firing alert holds four times as long without being told again


def notify(notices: Sequence[Notice], config: Config) -> str:
    """POST to every address, and raise after all were tried if one did not take them.

    A batch with a bad alert is answered with 400 although the good ones are stored, so the whole is not sent again:
    the caller tries each alone, and an alert that is stored already is the same alert to Alertmanager.
    """
    body = [alert(notice) for notice in notices]
    answers: list[str] = []
    refusals: list[ReceiverError] = []
    for url in config.urls:
        try:
            answers.append(post(f"{url.rstrip('/')}/api/v2/alerts", body, config))
        except (PassingError, PermanentError) as refusal:
            refusals.append(refusal)
    if refusals:
        # What may heal counts first: another try also reaches those that took it, to whom it is the same alert.
        raise min(refusals, key=lambda refusal: isinstance(refusal, PermanentError))
    return ", ".join(answers)


def resend_s(config: Config) -> float:
    """How often to say again what still holds."""
    return config.resend


def split(config: Config) -> Mapping[str, Config]:
    """A config for each Alertmanager: one that is gone delays none of its peers."""
    return {_name(url): msgspec.structs.replace(config, urls=[url]) for url in config.urls}


def check(config: Config) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express."""
    yield from check_http(config)
    if not config.urls:
        yield "urls", "expected at least one address"
    for number, url in enumerate(config.urls):
        yield from check_url(url, f"urls[{number}]")
        if url in config.urls[:number]:
            yield f"urls[{number}]", "the same address stands above: each Alertmanager is told once"
    if config.resend <= 0:
        yield "resend", f"expected more than 0 s, got {config.resend:g}"


def alert(notice: Notice) -> dict[str, Any]:
    """A notice as `POST /api/v2/alerts` wants it; empty labels and annotations are absent ones there."""
    ends_at = notice.ends_at if notice.ends_at is not None else notice.valid_until
    times = {"startsAt": iso(notice.starts_at)} | ({} if ends_at is None else {"endsAt": iso(ends_at)})
    return {
        "labels": {name: value for name, value in notice.labels.items() if value},
        "annotations": {name: value for name, value in notice.annotations.items() if value},
        **times,
        **({"generatorURL": notice.page_url} if notice.page_url else {}),
    }


def _name(url: str) -> str:
    """The address without a password, to tell several apart in the log and in the outbox."""
    path = url.rstrip("/").partition("://")[2].partition("/")[2].partition("?")[0]
    return origin(url) + (f"/{path}" if path else "")
