"""Tell somebody outside that perfmon does its work, for as long as it does: silence is the alarm.

Both signs, the `Watchdog` of Alertmanager and the heartbeat of a dead man's switch, are entries of the schedule: an
event loop that hangs and a schedule that stands still send none. They are withheld, and it is said why, while the state
file cannot be written, and when nothing was measured for three times the shortest interval and half a minute.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from urllib.parse import urlsplit

import structlog

from perfmon import __version__, kinds
from perfmon.clock import Clock
from perfmon.config import Config
from perfmon.config.file import HeartbeatSection
from perfmon.errors import ReceiverError
from perfmon.monitor.notify import STALE_AFTER_RESENDS
from perfmon.post import Http, get, post
from perfmon.receivers import Notice
from perfmon.threads import in_thread

__all__ = ["OUTCOMES", "SignsOfLife", "ills"]

OUTCOMES = ("sent", "failed", "withheld")
STILL_S = 30.0

_log = structlog.get_logger(__name__)

Add = Callable[[str, float, Callable[[], Awaitable[None]]], None]
"""Puts a piece of work on the schedule, under a key, every so many seconds."""


def ills(*, store: str, shortest_s: float | None, silent_s: float) -> list[str]:
    """Why perfmon does not do its work.

    `store` is what is wrong with the state file; the shortest interval is that of what is watched, None when that is
    nothing; `silent_s` seconds ago the last measurement came in.
    """
    found = [store] if store else []
    if shortest_s is not None and silent_s > 3 * shortest_s + STILL_S:
        found.append(f"nothing was measured for {silent_s:.0f} s")
    return found


class SignsOfLife:
    """What the schedule does for them. Belongs to the event loop's thread."""

    def __init__(
        self,
        *,
        clock: Clock,
        ills: Callable[[], Sequence[str]],
        beat: Callable[[Notice], None],
        page_url: str,
        on_heartbeat: Callable[[str], None],
    ) -> None:
        """`ills` says what is wrong now, `beat` tells Alertmanagers; `on_heartbeat` hears one of `OUTCOMES`."""
        self._clock = clock
        self._ills = ills
        self._beat = beat
        self._page_url = page_url
        self._on_heartbeat = on_heartbeat
        self._began_at = clock.wall()
        self._wrong = ""  # what was last said in the log
        self._unheard = ""

    def schedule(self, config: Config, add: Add, remove: Callable[[str], None]) -> None:
        """Put on the schedule what the config asks for, and take off what it does not."""
        alerting = config.alerting
        if alerting.heartbeat is None:
            remove(_HEARTBEAT)
        else:
            add(_HEARTBEAT, alerting.heartbeat.interval, partial(self._heartbeat, alerting.heartbeat))
        if alerting.watchdog:
            resend_s = min(_resends(config))
            add(_WATCHDOG, resend_s, partial(self._watchdog, resend_s))
        else:
            remove(_WATCHDOG)

    async def _watchdog(self, resend_s: float) -> None:
        if not self._is_well():
            return
        until = self._clock.wall() + STALE_AFTER_RESENDS * resend_s
        here = urlsplit(self._page_url).netloc  # several perfmons have a Watchdog each
        labels = {"alertname": "Watchdog", "severity": "none", "job": "perfmon", "instance": here}
        self._beat(
            Notice(
                labels=labels,
                annotations={"summary": "perfmon is well: silence is the alarm"},
                why="perfmon is well",
                starts_at=self._began_at,
                valid_until=until,
                page_url=self._page_url,
            )
        )

    async def _heartbeat(self, to: HeartbeatSection) -> None:
        if not self._is_well():
            self._on_heartbeat("withheld")
            return
        http = Http(connect_timeout=to.timeout, timeout=to.timeout)
        body = {"status": "well", "version": __version__, "page": self._page_url}
        send = partial(get, to.url, http) if to.method == "GET" else partial(post, to.url, body, http)
        try:
            await in_thread(send, name="perfmon-heartbeat")
        except ReceiverError as error:
            self._on_heartbeat("failed")
            self._unheard = _said("heartbeat is not heard", str(error), self._unheard)
        else:
            self._on_heartbeat("sent")
            self._unheard = _said("heartbeat is not heard", "", self._unheard)

    def _is_well(self) -> bool:
        wrong = "; ".join(self._ills())
        self._wrong = _said("signs of life are withheld", wrong, self._wrong)
        return not wrong


_HEARTBEAT, _WATCHDOG = "/heartbeat", "/watchdog"  # no key of a check or a sampler begins like these


def _said(event: str, why: str, before: str) -> str:
    """One line for each change of what is wrong; answers with it."""
    if why and why != before:
        _log.warning(event, why=why)
    elif before and not why:
        _log.info(f"{event} no longer")
    return why


def _resends(config: Config) -> list[float]:
    """How often each receiver that wants to be told again and again is told."""
    every = ((kinds.load("receivers", receiver.kind), receiver.config) for receiver in config.receivers)
    return [kind.resend_s(settings) for kind, settings in every if hasattr(kind, "resend_s")]
