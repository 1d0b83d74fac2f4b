"""What the daemon shows to the web: `perfmon.monitor.server.View`, answered from the parts."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import structlog
from msgspec.structs import replace

from perfmon import kinds, measure
from perfmon.clock import Clock, to_wall
from perfmon.config import Config
from perfmon.errors import UsageError
from perfmon.explanation import Explanation
from perfmon.explanation import explain as make_explanation
from perfmon.model import Measurement, Module, Target
from perfmon.monitor import explain, resources, status
from perfmon.monitor.calendar import Calendar
from perfmon.monitor.exemplar import RunId
from perfmon.monitor.exposition import Exposition, render_probe
from perfmon.monitor.guard import Network as AllowedNetwork
from perfmon.monitor.holding import Windows
from perfmon.monitor.notify import Notifier
from perfmon.monitor.public import BadgeKind, Outsiders, Shown
from perfmon.monitor.pushes import Pushed
from perfmon.monitor.requested import Requested, Run
from perfmon.monitor.rerun import Reruns
from perfmon.monitor.rule import Rules
from perfmon.monitor.selfmetrics import Instruments
from perfmon.monitor.series import Series
from perfmon.monitor.server import Answer
from perfmon.monitor.textformat import TEXT
from perfmon.network import Network
from perfmon.network.address import masked, shown

__all__ = ["Face", "Parts"]

_log = structlog.get_logger(__name__)


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What the face looks at. The daemon owns all of it."""

    clock: Clock
    network: Network
    series: Series
    exposition: Exposition
    rules: Rules
    notifier: Notifier
    maintenance: Windows
    instruments: Instruments
    started_at: float
    config: Callable[[], Config]
    watching: Callable[[], bool]
    reload: Callable[[], Awaitable[Sequence[str]]]
    push: Callable[[str, str, Callable[[], Pushed]], None]
    defect: Callable[[str, Exception], None]


class Face:
    """Answers from what is there; only `probe`, `run_now`, `push` and `reload` do anything."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._requested = Requested()
        self._reruns = Reruns()
        self._calendar = Calendar(lambda: parts.maintenance.windows, parts.clock)
        self._outsiders = Outsiders(
            parts.series, parts.clock, settings=lambda: parts.config().web.public, calendar=self._calendar
        )

    @property
    def probe_allow(self) -> Sequence[AllowedNetwork]:
        """Networks whose clients may use `/probe`."""
        return self._parts.config().web.probe_allow

    @property
    def timeout_offset_s(self) -> float:
        """What `/probe` keeps back of the scraper's time."""
        return self._parts.config().web.timeout_offset_s

    async def targets(self, minutes: int) -> dict[str, Any]:
        """The answer of `/api/v1/targets`."""
        parts = self._parts
        return await status.targets(parts.series, parts.clock, started_at=parts.started_at, minutes=minutes)

    async def days(self) -> dict[str, Any]:
        """The answer of `/api/v1/days`."""
        return await status.days(self._parts.series, self._parts.clock)

    async def status(self) -> Shown | None:
        """What outsiders are shown; None when there is nothing for them."""
        return await self._outsiders.status()

    def badge(self, kind: BadgeKind, key: str, period: str, *, chosen: bool) -> str | None:
        """A badge of a probe, with `chosen` of one that outsiders may know of; None when there is none."""
        return self._outsiders.badge(kind, key, period, chosen=chosen)

    async def alerts(self) -> dict[str, Any]:
        """The answer of `/api/v1/alerts`."""
        parts = self._parts
        mode = parts.config().alerting.mode
        open_ = parts.maintenance.open()
        coming = [one for one in self._calendar.near() if one.since > parts.clock.wall()]
        return await status.alerts(
            parts.rules.alerts(), parts.notifier, parts.clock, mode=mode, maintenance=open_, coming=coming
        )

    def target(self, key: str) -> dict[str, Any]:
        """The answer of `/api/v1/target`."""
        parts = self._parts
        return status.target(key, parts.series, parts.rules.alerts(), parts.clock, self._calendar)

    def group(self, sampler: str, group: str, cgroup: str) -> dict[str, Any]:
        """The answer of `/api/v1/group`."""
        wanted = resources.Wanted(sampler=sampler, group=group, cgroup=cgroup)
        return resources.group(wanted, self._parts.series, self._parts.rules, self._parts.clock)

    def run(self, sought: RunId) -> dict[str, Any]:
        """The answer of `/api/v1/run`."""
        parts = self._parts
        return status.run(sought, parts.series, lambda key: parts.exposition.run(key, sought), parts.clock)

    async def run_now(self, key: str) -> bytes:
        """One run of a check, explained, as JSON. It is beside the schedule and counts in nothing.

        Raises LookupError for one that is not watched, Busy when too many run already.
        """
        past = self._parts.series.checks.get(key)
        if past is None:
            raise LookupError(key)
        target, module = past.check.target, past.check.module
        with self._reruns.place(key):
            measurement = await self._measure(target, module, timeout_s=module.timeout_s, debug=True)
        at = to_wall(self._parts.clock, measurement.at)
        return msgspec.json.encode(_explanation(measurement, module, at=at, timeout_s=module.timeout_s))

    def push(self, key: str, token: str, told: Callable[[], Pushed]) -> None:
        """Take in a result that somebody pushed; raises NotAllowed, LookupError, Busy."""
        self._parts.push(key, token, told)

    def healthy(self) -> tuple[bool, str]:
        """Healthy as long as the event loop answers."""
        return True, "Healthy"

    def ready(self) -> tuple[bool, str]:
        """Ready from the first schedule to the beginning of the end."""
        return (True, "Ready") if self._parts.watching() else (False, "not watching")

    def module(self, name: str) -> Module | None:
        """The module of that name; that there is none is counted."""
        module = self._parts.config().modules.get(name)
        if module is None:
            self._parts.instruments.module_unknown.inc()
            _log.debug("unknown module", module=name[:100])
        return module

    def modules(self) -> str:
        """All modules that `/probe` knows, as YAML, secrets masked."""
        return explain.modules_text(self._parts.config().modules.values())

    async def scrape(self, accept: str, accept_encoding: str) -> Answer:
        """The metrics page."""
        self._refresh()
        return await self._parts.exposition.scrape(accept, accept_encoding)

    async def probe(self, target: Target, module: Module, *, timeout_s: float, debug: bool) -> Answer:
        """One run of a probe on request, kept for `run` among the latest."""
        module, target = _with_hostname(module, target)
        # What a run has to say costs half as much again as the run, so it is heard only while the target fails.
        before = self._requested.newest(target.address, module.name)
        heard = debug or (before is not None and not before.measurement.success)
        measurement = await self._measure(target, module, timeout_s=timeout_s, debug=heard)
        at = to_wall(self._parts.clock, measurement.at)
        self._requested.add(measurement, module, at=at, timeout_s=timeout_s)
        _tell(measurement)
        if debug:
            return _text(measurement, module, at=at, timeout_s=timeout_s).encode(), {
                "Content-Type": "text/plain; charset=utf-8"
            }
        return render_probe(measurement, timeout_s), {"Content-Type": TEXT.content_type}

    def runs(self) -> list[dict[str, Any]]:
        """The runs of `probe` that are still known, the newest first."""
        return [
            {
                "id": run.id,
                "at": run.at,
                "module": run.module.name,
                "target": masked(run.measurement.target.address),
                "success": run.measurement.success,
            }
            for run in self._requested
        ]

    def run_by_id(self, number: int) -> str | None:
        """What `probe` with `debug` would have answered in that run; None when it is not known any more."""
        return _text_of(self._requested.by_id(number))

    def newest_run(self, target: str, module: str) -> str | None:
        """The same of the newest run of a target; `module` may be ""."""
        return _text_of(self._requested.newest(target, module))

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

    def _refresh(self) -> None:
        """Bring the instruments up to date that others count."""
        instruments, rules = self._parts.instruments, self._parts.rules
        instruments.alerts.clear()
        for (rule, state), count in rules.states().items():
            instruments.alerts.labels(rule, state).set(count)
        open_ = {one.window.name for one in self._parts.maintenance.open()}
        instruments.maintenance.clear()
        for window in self._parts.maintenance.windows:
            instruments.maintenance.labels(window.name).set(window.name in open_)
        instruments.notifications_queued.clear()
        for receiver, count in self._parts.notifier.queued().items():
            instruments.notifications_queued.labels(receiver).set(count)
        for rule, count in rules.evaluations.items():
            instruments.rule_evaluations.labels(rule).inc(count)
        rules.evaluations.clear()


def _text_of(run: Run | None) -> str | None:
    return None if run is None else _text(run.measurement, run.module, at=run.at, timeout_s=run.timeout_s)


def _text(measurement: Measurement, module: Module, *, at: float, timeout_s: float) -> str:
    page = render_probe(measurement, timeout_s)
    return explain.text(measurement, module, page, _explanation(measurement, module, at=at, timeout_s=timeout_s))


def _explanation(measurement: Measurement, module: Module, *, at: float, timeout_s: float) -> Explanation:
    lines = render_probe(measurement, timeout_s).decode().split("\n")
    return make_explanation(measurement, module, at=at, timeout_s=timeout_s, metrics=lines)


def _with_hostname(module: Module, target: Target) -> tuple[Module, Target]:
    """What `hostname` means to a kind beside Host header and TLS server name. UsageError when it cannot be that."""
    hostname = target.hostname
    if not hostname:
        return module, target
    if module.kind == "http":
        for name, value in module.config.headers.items():
            if name.lower() == "host" and value != hostname:
                both = f"in module configuration ({value}) and with URL-parameter 'hostname' ({hostname})"
                raise UsageError(f"host header defined both {both}")
    if module.kind == "dns":
        asked = replace(module, config=replace(module.config, query_name=hostname))
        for below, message in kinds.load("probes", "dns").check(asked.config):
            raise UsageError(f"URL-parameter 'hostname': {below}: {message}")
        return asked, target
    return module, target


def _tell(measurement: Measurement) -> None:
    """One line a run is for those who look for something: Prometheus knows how each ended."""
    failure = measurement.failure
    said = {} if failure is None else {"reason": failure.reason, "phase": failure.phase, "message": failure.message}
    _log.debug(
        "probe on request",
        module=measurement.module,
        target=shown(measurement.target.address),
        success=measurement.success,
        duration_s=measurement.duration_s,
        **said,
    )
