"""Write each change of an alert to perfmon's own log."""

from collections.abc import Sequence

import msgspec
import structlog

from perfmon.clock import iso
from perfmon.receivers import Notice

__all__ = ["Config", "notify"]


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nothing to set."""


def notify(notices: Sequence[Notice], _config: Config) -> None:
    """One line for each: `alert firing` as a warning, `alert resolved` as information."""
    log = structlog.get_logger("perfmon.alerts")
    for notice in notices:
        write = log.warning if notice.ends_at is None else log.info
        write(f"alert {notice.status}", **_fields(notice))


def _fields(notice: Notice) -> dict[str, object]:
    over = {} if notice.ends_at is None else {"ends_at": iso(notice.ends_at)}
    return {
        "alertname": notice.labels["alertname"],
        "why": notice.why,
        "labels": {name: value for name, value in notice.labels.items() if name != "alertname"},
        "summary": notice.annotations.get("summary", ""),
        "starts_at": iso(notice.starts_at),
        **over,
    }
