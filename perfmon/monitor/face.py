"""What the daemon shows to the web: `perfmon.monitor.server.View`, answered from the parts."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from perfmon import measure
from perfmon.clock import Clock, to_wall
from perfmon.config import Config
from perfmon.explanation import Explanation
from perfmon.explanation import explain as make_explanation
from perfmon.model import Measurement, Module, Target
from perfmon.monitor import explain, status
from perfmon.monitor.exposition import Exposition, render_probe
from perfmon.monitor.guard import Network as AllowedNetwork
from perfmon.monitor.notify import Notifier
from perfmon.monitor.rule import Rules
from perfmon.monitor.selfmetrics import Instruments
from perfmon.monitor.series import Series
from perfmon.monitor.server import Answer
from perfmon.monitor.textformat import TEXT
from perfmon.network import Network

__all__ = ["Face", "Parts"]


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What the face looks at. The daemon owns all of it."""

    clock: Clock
    network: Network
    series: Series
    exposition: Exposition
    rules: Rules
    notifier: Notifier
    instruments: Instruments
    started_at: float
    config: Callable[[], Config]
    watching: Callable[[], bool]
    reload: Callable[[], Awaitable[Sequence[str]]]
    defect: Callable[[str, Exception], None]


class Face:
    """Answers from what is there; only `probe` and `reload` do anything."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @property
    def probe_allow(self) -> Sequence[AllowedNetwork]:
        """Networks whose clients may use `/probe`."""
        return self._parts.config().web.probe_allow

    async def targets(self, minutes: int) -> dict[str, Any]:
        """The answer of `/api/v1/targets`."""
        parts = self._parts
        return await status.targets(parts.series, parts.clock, started_at=parts.started_at, minutes=minutes)

    async def alerts(self) -> dict[str, Any]:
        """The answer of `/api/v1/alerts`."""
        return await status.alerts(self._parts.rules.alerts(), self._parts.clock)

    def healthy(self) -> tuple[bool, str]:
        """Healthy as long as the event loop answers."""
        return True, "Healthy"

    def ready(self) -> tuple[bool, str]:
        """Ready from the first schedule to the beginning of the end."""
        return (True, "Ready") if self._parts.watching() else (False, "not watching")

    def module(self, name: str) -> Module | None:
        """The module of that name."""
        return self._parts.config().modules.get(name)

    async def scrape(self, accept: str, accept_encoding: str) -> Answer:
        """The metrics page."""
        self._refresh()
        return await self._parts.exposition.scrape(accept, accept_encoding)

    async def probe(self, target: Target, module: Module, *, timeout_s: float, debug: bool) -> Answer:
        """One run of a probe on request; nothing of it is kept."""
        measurement = await self._measure(target, module, timeout_s=timeout_s, debug=debug)
        page = render_probe(measurement, timeout_s)
        if debug:
            explained = self._explained(measurement, module, timeout_s, page)
            page = explain.text(measurement, module, page, explained).encode()
            return page, {"Content-Type": "text/plain; charset=utf-8"}
        return page, {"Content-Type": TEXT.content_type}

    async def reload(self) -> Sequence[str]:
        """Read the configuration anew; answers with the problems that kept it from being taken."""
        return await self._parts.reload()

    def defect(self, error: Exception) -> None:
        """Log and count an error of perfmon's own."""
        self._parts.defect("server", error)

    async def _measure(self, target: Target, module: Module, *, timeout_s: float, debug: bool) -> Measurement:
        parts = self._parts
        return await measure.probe(
            target,
            module,
            clock=parts.clock,
            network=parts.network,
            timeout_s=timeout_s,
            debug=debug,
            on_defect=parts.defect,
        )

    def _explained(self, measurement: Measurement, module: Module, timeout_s: float, page: bytes) -> Explanation:
        at = to_wall(self._parts.clock, measurement.at)
        return make_explanation(measurement, module, at=at, timeout_s=timeout_s, metrics=page.decode().splitlines())

    def _refresh(self) -> None:
        """Bring the instruments up to date that others count."""
        instruments, rules = self._parts.instruments, self._parts.rules
        instruments.alerts.clear()
        for (rule, state), count in rules.states().items():
            instruments.alerts.labels(rule, state).set(count)
        instruments.notifications_queued.clear()
        for receiver, count in self._parts.notifier.queued().items():
            instruments.notifications_queued.labels(receiver).set(count)
        for rule, count in rules.evaluations.items():
            instruments.rule_evaluations.labels(rule).inc(count)
        rules.evaluations.clear()
