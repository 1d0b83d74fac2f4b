"""Write each change of an alert to perfmon's own log."""

from collections.abc import Sequence

import msgspec
import structlog

from perfmon.clock import iso
from perfmon.receivers import ALL_MODES, Notice
from perfmon.units import format_duration

__all__ = ["MODES", "Config", "notify"]

MODES = ALL_MODES  # a line in the log pages nobody


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nothing to set."""


def notify(notices: Sequence[Notice], _config: Config) -> str:
    """One line for each: `alert firing` (and `alert still firing`) as a warning, `alert resolved` as information."""
    log = structlog.get_logger("perfmon.alerts")
    for notice in notices:
        write = log.warning if notice.ends_at is None else log.info
        write(f"alert {'still ' if notice.reminder_at is not None else ''}{notice.status}", **_fields(notice))
    return "written to the log"


def _fields(notice: Notice) -> dict[str, object]:
    over = {} if notice.ends_at is None else {"ends_at": iso(notice.ends_at)}
    lasted = {"lasted": format_duration(round(notice.lasted_s, 1))} if notice.lasted_s else {}
    return {
        "alertname": notice.labels["alertname"],
        "why": notice.why,
        "labels": {name: value for name, value in notice.labels.items() if name != "alertname"},
        "summary": notice.annotations.get("summary", ""),
        "starts_at": iso(notice.starts_at),
        **over,
        **lasted,
    }
