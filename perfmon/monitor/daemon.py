"""The daemon: puts the parts together, keeps them going, takes a new config while they go on.

One measurement's way: `Runs` starts it when it is due, `measure` makes it, `observe` hands it by name
to the series, the exposition and the rules; these tell the notifier. A scrape reads what is there.
"""

import asyncio
import gc
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import structlog
import uvloop
from msgspec.structs import replace
from starlette.middleware import Middleware

import perfmon
from perfmon import kinds, logs, measure
from perfmon.clock import Clock, SystemClock
from perfmon.config import Config
from perfmon.errors import PerfmonError
from perfmon.measure import Reading
from perfmon.model import Alert, Check, Measurement, Sampler
from perfmon.monitor import heartbeat
from perfmon.monitor.attribution import OUTCOMES as PROFILED
from perfmon.monitor.attribution import Attributions
from perfmon.monitor.discovery import Discoveries
from perfmon.monitor.exposition import Exposition
from perfmon.monitor.face import Face, Parts
from perfmon.monitor.flamegraphs import Flamegraphs
from perfmon.monitor.gate import FromWebConfig, Gate
from perfmon.monitor.holding import Health, Subject, Windows, held_by
from perfmon.monitor.memory import Memory
from perfmon.monitor.notify import OUTCOMES, Callback, Notifier
from perfmon.monitor.pushes import Pushed, Pushes, is_pushed, overdue, tick_s
from perfmon.monitor.rule import Held, Rules
from perfmon.monitor.runs import Runs
from perfmon.monitor.selfmetrics import Instruments
from perfmon.monitor.series import SampleSeries, Series
from perfmon.monitor.server import app, public_app, serve
from perfmon.monitor.sign_of_life import SignsOfLife, ills
from perfmon.monitor.store import Store
from perfmon.monitor.systemd import Supervisor
from perfmon.monitor.turns import Turns
from perfmon.monitor.web_config import WebConfig
from perfmon.network import Network
from perfmon.network.address import host_of
from perfmon.profile.order import Order
from perfmon.selection import PROBE_METRICS
from perfmon.threads import in_thread
from perfmon.units import format_duration

__all__ = ["Daemon", "run"]

SWEEP_S = 1.0
SLOW_RULES_AT_MOST = 25  # a sweep
KEEP_S = 15.0
SILENT_S = 3600.0  # a sampler's series without a value for this long is forgotten
STOP_S = 5.0  # what running probes have left at the end, and after them the notifications
YOUNG = 1_000  # new checks that the garbage collector may walk through at each pass
HANGS_S = 10.0  # a reading that takes longer is said to hang

_log = structlog.get_logger(__name__)


def run(source: Callable[[], Config], *, sockets: Sequence[socket.socket] = ()) -> None:
    """Watch what `source` says until SIGTERM or SIGINT; SIGHUP asks `source` again.

    `sockets` that listen already are served in place of the addresses of the config.
    """
    config = source()
    logs.configure(level=config.log.level, form=config.log.format)
    uvloop.run(_main(source, config, sockets))


async def _main(source: Callable[[], Config], config: Config, sockets: Sequence[socket.socket]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Network(clock=SystemClock()) as network:
        supervisor = Supervisor.of(os.environ, os.getpid())
        daemon = Daemon(source, config, clock=SystemClock(), network=network, supervisor=supervisor)
        loop.add_signal_handler(signal.SIGHUP, daemon.ask_for_reload)
        await daemon.watch(stop, sockets=sockets)


class Daemon:
    """Everything that runs. Belongs to the event loop's thread; samplers, the store and receivers have their own."""

    def __init__(
        self,
        source: Callable[[], Config],
        config: Config,
        *,
        clock: Clock,
        network: Network,
        callbacks: Sequence[Callback] = (),
        embedded: bool = False,
        supervisor: Supervisor | None = None,
    ) -> None:
        """`config` is what `source` said first; the parts are made here and begin in `watch`.

        `callbacks` are told of alerts beside the receivers. `embedded` leaves the garbage collector to the program that
        this is a part of. `supervisor` hears how it fares.
        """
        self.clock = clock
        self.network = network
        self.config = config
        self.instruments = Instruments(blackbox=config.blackbox is not None)
        self.series = Series(clock)
        self.exposition = Exposition(clock, config.limits.series, self.instruments)
        limits = config.limits
        self.runs = Runs(clock, self.instruments, in_flight=limits.in_flight, per_host=limits.in_flight_per_host)
        file = config.web.config_file
        self._web = WebConfig(file, self._note_web_config) if file else None
        self.scheme = "https" if self._web is not None and self._web.now().context else "http"
        self.started_at = clock.monotonic()
        self.watching = False
        self._source = source
        self._embedded = embedded
        self._supervisor = supervisor or Supervisor()
        self._started_with = config
        self._store = Store(
            config.state.path,
            clock=clock,
            on_error=self.instruments.store_errors.inc,
            on_lost=self.instruments.store_lost.inc,
            on_return=partial(_in_loop, asyncio.get_running_loop(), self._ask_to_take_back),
        )
        own_page = config.web.external_url or page_url(config.web.listen[0], self.scheme)
        self.notifier = Notifier(
            config.receivers,
            clock=clock,
            store=self._store,
            page_url=own_page,
            on_outcome=lambda receiver, outcome: self.instruments.notifications.labels(receiver, outcome).inc(),
            callbacks=callbacks,
        )
        self.maintenance = Windows(clock, config.maintenance)
        self.rules = Rules(
            config.rules,
            window=self.series.window,
            long_window=self.series.long_window,
            counts=self.series.counts,
            holds=self._holds,
            page_url=own_page,
            show=self.exposition.observe_facts,
            store=self._store,
            tell=self._tell,
            clock=clock,
            on_defect=self.defect,
        )
        self._signs = SignsOfLife(
            clock=clock,
            ills=self._ills,
            beat=self.notifier.beat,
            page_url=own_page,
            on_heartbeat=lambda outcome: self.instruments.heartbeats.labels(outcome).inc(),
        )
        self._measured_at = self.started_at
        self._attributions = Attributions(
            clock=clock,
            order=self._order,
            annotate=self.rules.annotate,
            graphs=Flamegraphs(config.state.path),
            set_aside=self.series.set_aside,
            on_outcome=lambda alert, outcome: self.instruments.profiles.labels(alert.labels["sampler"], outcome).inc(),
            on_defect=self.defect,
            not_before=self._store.not_profiled_before(),
            remember=self._store.put_profiled,
        )
        self.discoveries = Discoveries(
            network=network,
            clock=clock,
            instruments=self.instruments,
            store=self._store,
            on_found=self._take_found,
            on_defect=self.defect,
        )
        self._memory = Memory(
            clock=clock,
            store=self._store,
            series=self.series,
            exposition=self.exposition,
            runs=self.runs,
            may_bring=self.discoveries.may_bring,
        )
        self._pushes = Pushes(self.series.checks, clock)
        self._checks: dict[str, Check] = {}
        self._samplers: dict[str, Sampler] = {}
        self._readers: dict[str, measure.Reader] = {}  # by the key of the sampler
        self._young = 0  # checks that were new since the garbage collector was last spared
        self._reloading = asyncio.Lock()
        self._asked: set[asyncio.Task[Any]] = set()

    # ------------------------------------------------------------ life

    async def watch(
        self,
        stop: asyncio.Event,
        on_watching: Callable[[Sequence[str]], None] | None = None,
        *,
        sockets: Sequence[socket.socket] = (),
    ) -> None:
        """Watch until `stop` is set, then end in order: probes, notifications, state.

        `on_watching` is called with the addresses that are listened on, once everything is under way. `sockets` that
        listen already are served in place of the addresses of the config.
        """
        async with self._served(sockets) as addresses:
            await self._begin()
            pulse = asyncio.create_task(heartbeat.beat(self.clock, self.instruments, self.runs.schedule.realign))
            _log.info("watching", version=perfmon.__version__, page=page_url(addresses[0], self.scheme), **self._size())
            self._supervisor.ready(self._status())
            if on_watching is not None:
                on_watching(addresses)
            await stop.wait()
            _log.info("stopping")
            self._supervisor.stopping()
            self.watching = False
            pulse.cancel()
            await self.discoveries.stop()
            await asyncio.gather(self.runs.stop(STOP_S), self._attributions.stop(STOP_S))
            await asyncio.to_thread(self._end)
        _log.info("stopped")

    def _gate(self, *, locked: bool) -> list[Middleware]:
        """What stands before every route, as the web-config.yml says."""
        return [] if self._web is None else [Middleware(Gate, config=self._web, clock=self.clock, locked=locked)]

    def _note_web_config(self, outcome: str) -> None:
        self.instruments.web_config_reads.labels(outcome).inc()

    @asynccontextmanager
    async def _served(self, sockets: Sequence[socket.socket]) -> AsyncIterator[tuple[str, ...]]:
        """The web face, and that for outsiders where it has addresses of its own; yields the addresses of the first.

        Outsiders give no password; where connections are TLS, theirs are too, and headers and pace are the same.
        """
        web, face = self.config.web, self._face()
        names = (*web.listen, urlsplit(web.external_url).netloc)
        secure = FromWebConfig(self._web) if self._web is not None and self.scheme == "https" else None
        inside = serve(
            app(face, listen=names, gate=self._gate(locked=True)), web.listen, sockets=sockets, secure=secure
        )
        async with AsyncExitStack() as both:
            addresses = await both.enter_async_context(inside)
            if web.public is not None and web.public.listen:
                outside = public_app(face, gate=self._gate(locked=False))
                public = await both.enter_async_context(serve(outside, web.public.listen, secure=secure))
                _log.info("the public page is served", addresses=public)
            yield addresses

    def _face(self) -> Face:
        return Face(
            Parts(
                clock=self.clock,
                network=self.network,
                series=self.series,
                exposition=self.exposition,
                rules=self.rules,
                notifier=self.notifier,
                maintenance=self.maintenance,
                instruments=self.instruments,
                started_at=self.started_at,
                config=lambda: self.config,
                watching=lambda: self.watching,
                reload=self.reload,
                push=self._push,
                defect=self.defect,
            )
        )

    async def _begin(self) -> None:
        self._memory.recall()
        async with self._reloading:  # what the sources of targets find meanwhile waits
            await self._apply(self.config)
            # No key of a check or a sampler begins like these: a name holds no "/".
            self.runs.add("/sweep", SWEEP_S, self._sweep)
            self.runs.add("/keep", KEEP_S, self._keep)
            self.runs.schedule.start()
            await self._memory.take_up(self._checks)
        self.watching = True
        self._note_reload(success=True)
        # What is there now stays: the collector need not walk it again (22 ms a pass at 1,000 targets). A run leaves
        # nothing behind that only the collector could free, so the young are looked through less often.
        if not self._embedded:
            gc.collect()
            gc.freeze()
            gc.set_threshold(10_000, 10, 10)

    def _ask_to_take_back(self) -> None:
        self._ask(self._take_back())

    async def _take_back(self) -> None:
        """Go on with what a former life left in a state file that could not be read until now."""
        async with self._reloading:
            known = self.rules.take_up(self.clock.monotonic())
            self.notifier.take_up(known)
            _log.info("the state file is there after all", alerts=len(known))
            if self.watching:  # else the beginning does it, or the end has come
                await self._take_up(self._checks)

    def _end(self) -> None:
        self._memory.note_all()
        left = self.notifier.stop(STOP_S)
        saved = self._store.close(STOP_S)
        if left:
            _log.warning("notifications are left for the next start", count=left)
        if not saved:
            _log.error("state was not saved in full")

    # ------------------------------------------------------------ config

    def ask_for_reload(self) -> None:
        """Reload soon; for signal handlers, which cannot wait."""
        self._ask(self.reload())

    def _ask(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)

    async def reload(self) -> list[str]:
        """Read the config anew and go on with it; with problems, answer them and go on as before."""
        async with self._reloading:
            self._supervisor.reloading(self.clock.monotonic())
            problems = await self._reload()
            if self.watching:
                self._supervisor.ready(f"configuration not taken: {problems[0]}" if problems else self._status())
            return problems

    async def _reload(self) -> list[str]:
        try:
            config = await asyncio.to_thread(self._source)
            if not self.watching:  # the end has begun meanwhile, and the parts belong to `_end`
                return self._not_taken(["perfmon is stopping"])
            if config == self.config:  # its plans and windows stay as they are
                self._note_reload(success=True)
                self._say_what_waits_for_a_restart()
                _log.info("config is unchanged")
                return []
            await self._apply(config)
        except PerfmonError as error:
            return self._not_taken(str(error).splitlines())
        except Exception as error:  # noqa: BLE001 - the old config goes on
            self.defect("reload", error)
            return self._not_taken(["this is a defect of perfmon's own; its log says more"])
        self.runs.schedule.realign()
        self._note_reload(success=True)
        _log.info("config taken", **self._size())
        return []

    def _not_taken(self, problems: list[str]) -> list[str]:
        _log.error("config not taken", problems=problems)
        self._note_reload(success=False)
        return problems

    async def _apply(self, config: Config) -> None:
        """Go over to a config. What did not change keeps its phase, its counters and its alerts.

        Among thousands of targets in turns: no probe waits for it. Until it is over, some are watched the old way.
        """
        samplers = {sampler.key: sampler for sampler in config.samplers}
        # A reader may fail to open. So it comes before any change: a config is taken as a whole or not at all.
        readers = {key: _opened(new, self.clock) for key, new in samplers.items() if self._samplers.get(key) != new}
        await self.discoveries.replace(config.discoveries)
        self.maintenance.replace(config.maintenance)
        checks = self._wanted(config)
        await self._forget_all_but(checks.keys() | samplers.keys())
        await self.rules.replace(config.rules, self.clock.monotonic())
        self.notifier.replace(config.receivers, self.rules.alerts())
        self._forget_instruments(config)
        await self._watch_all(checks)
        for key, reader in readers.items():
            self._watch_sampler(samplers[key], reader, self.clock.monotonic())
        self.rules.settle(self.clock.monotonic(), may_come=self._may_come)
        self._signs.schedule(config, self.runs.add, self.runs.remove)
        self.runs.room.in_flight = config.limits.in_flight
        self.runs.room.per_host = config.limits.in_flight_per_host
        if config.log != self.config.log:
            logs.configure(level=config.log.level, form=config.log.format)
        self.config = config
        self._say_what_waits_for_a_restart()

    async def _take_found(self, first: bool) -> None:  # noqa: FBT001 - a callback's one argument
        """Go over to the targets that the sources name now; those that stay keep their phase, counters and alerts."""
        async with self._reloading:
            wanted = self._wanted(self.config)
            gone = await self._forget_all_but(wanted.keys() | self._samplers.keys())
            new = await self._watch_all(wanted)
            self.runs.schedule.realign()
            if gone or new:
                _log.info("targets changed", gone=gone, new_or_changed=len(new), **self._size())
            if first:
                await self._take_up(new)

    async def _take_up(self, new: Mapping[str, Check]) -> None:
        """Go on with what a former life knew of checks that are there only now."""
        await self._memory.take_up(new)
        self.rules.settle(self.clock.monotonic(), may_come=self._may_come)

    def _wanted(self, config: Config) -> dict[str, Check]:
        """All checks by key: what is written, and what was found."""
        written = {check.key: check for check in config.checks}
        return self.discoveries.checks(written, config.limits.targets, self._checks)

    async def _watch_all(self, checks: Mapping[str, Check]) -> dict[str, Check]:
        """Watch those that are not watched like that already, in turns; answers with these."""
        new: dict[str, Check] = {}
        turns = Turns(self.clock)
        for key, check in checks.items():
            if self._checks.get(key) is not check and self._checks.get(key) != check:
                self._watch_check(check, self.clock.monotonic())
                new[key] = check
                self._spare_the_collector()
            await turns.next()
        if self.watching:  # at the beginning it is done once the schedule fires
            await self._memory.recount()
        return new

    def _spare_the_collector(self) -> None:
        """Of thousands of new checks a pass of the garbage collector would take a fifth of a second."""
        self._young += 1
        if self._young >= YOUNG and self.watching and not self._embedded:
            self._young = 0
            gc.collect(0)
            gc.freeze()

    async def _forget_all_but(self, keys: Collection[str]) -> int:
        """Watch no others, in turns; answers with how many that were."""
        gone = [key for key in (*self._checks, *self._samplers) if key not in keys]
        turns = Turns(self.clock)
        for key in gone:
            self._forget(key, self.clock.monotonic())
            await turns.next()
        return len(gone)

    def _forget_instruments(self, config: Config) -> None:
        """Take what perfmon says of rules and receivers that are not in `config` off the page."""
        for rule in {rule.name for rule in self.config.rules} - {rule.name for rule in config.rules}:
            self.instruments.forget_rule(rule)
        for name in {one.name for one in self.config.receivers} - {one.name for one in config.receivers}:
            self.instruments.forget_receiver(name, OUTCOMES)

    def _watch_check(self, check: Check, now: float) -> None:
        is_new = check.key not in self._checks
        self._checks[check.key] = check
        self.series.add_check(check)
        if is_new:
            self._memory.greet(check.key)
        self.rules.add(
            check.key,
            check.labels,
            PROBE_METRICS,
            interval_s=check.interval_s,
            now=now,
            tags=check.target.tags,
            depends_on=check.depends_on,
        )
        if is_pushed(check):
            self.runs.add(check.key, tick_s(check), partial(self._await_push, check))
            return
        self.runs.add(
            check.key,
            check.interval_s,
            partial(self._probe, check),
            limited=True,
            host=host_of(check.target.address),
            failing_s=check.interval_failing_s,
        )

    def _watch_sampler(self, sampler: Sampler, reader: measure.Reader, now: float) -> None:
        former = self._samplers.get(sampler.key)
        if former is not None and not _reads_the_same(former, sampler):
            self._forget(sampler.key, now)
        self._samplers[sampler.key] = sampler
        self._readers[sampler.key] = reader
        for series in self.series.add_sampler(sampler):
            self._judge(series, now)
        self.runs.add(sampler.key, sampler.interval_s, partial(self._sample, sampler, reader))

    def _forget(self, key: str, now: float) -> None:
        self._checks.pop(key, None)
        self._readers.pop(key, None)
        if (sampler := self._samplers.pop(key, None)) is not None:
            self.instruments.forget_sampler(sampler.name, PROFILED)
        self._memory.forget(key)
        self.runs.remove(key)
        self.exposition.remove(key)
        for series in self.series.remove(key):
            self.rules.remove(series, now)

    def _say_what_waits_for_a_restart(self) -> None:
        started, now = self._started_with, self.config
        settings = {
            "web.listen": (started.web.listen, now.web.listen),
            "web.external_url": (started.web.external_url, now.web.external_url),
            "web.config_file": (started.web.config_file, now.web.config_file),
            "web.public.listen": (_public_listen(started), _public_listen(now)),
            "state.path": (started.state.path, now.state.path),
            "limits.series": (started.limits.series, now.limits.series),
        }
        for setting, (runs, wanted) in settings.items():
            if runs != wanted:
                _log.warning("takes effect at the next start", setting=setting)

    def _note_reload(self, *, success: bool) -> None:
        own = self.instruments
        own.reload_successful.set(success)
        own.blackbox_reload_successful.set(success)
        if success:
            own.reload_success_timestamp.set(self.clock.wall())
            own.blackbox_reload_success_timestamp.set(self.clock.wall())
            for warning in self.config.blackbox.warnings if self.config.blackbox else ():
                _log.warning("taken from the modules of blackbox_exporter, but", problem=warning)

    def _size(self) -> dict[str, int]:
        return {
            "targets": len(self._checks),
            "samplers": len(self._samplers),
            "rules": len(self.config.rules),
            "receivers": len(self.config.receivers),
        }

    def _status(self) -> str:
        """What `systemctl status` shows in a line."""
        return "watching: " + ", ".join(f"{count} {what}" for what, count in self._size().items())

    # ------------------------------------------------------------ what is done when it is due

    async def _probe(self, check: Check) -> bool:
        make = measure.probe if check.confirm is None else partial(measure.confirmed, confirm=check.confirm)
        measurement = await make(
            check.target, check.module, clock=self.clock, network=self.network, on_defect=self.defect
        )
        if self._checks.get(check.key) is check:  # not one that a reload has taken away meanwhile
            if check.interval_failing_s is not None and self.runs.is_recheck(check.key):
                measurement = replace(measurement, recheck=True)
            self.observe(check, measurement)
        return measurement.failure is not None

    async def _await_push(self, check: Check) -> None:
        past = self.series.checks.get(check.key)
        missed = None if past is None else overdue(past, self.clock.monotonic(), self.started_at)
        if missed is not None and self._checks.get(check.key) is check:
            self.observe(check, missed)

    def _push(self, key: str, token: str, told: Callable[[], Pushed]) -> None:
        check, measurement = self._pushes.take(key, token, told)
        self.observe(check, measurement)
        self._memory.pushed(key)

    async def _sample(self, sampler: Sampler, reader: measure.Reader) -> None:
        began = self.clock.monotonic()
        coming = in_thread(
            partial(measure.sample, sampler, reader, clock=self.clock, on_defect=self.defect),
            name=f"perfmon-sampler-{sampler.name}",
        )
        if not (await asyncio.wait({coming}, timeout=HANGS_S))[0]:
            # Its time is counted when it comes back, if it does; until then it is not started again.
            hangs = f"hangs: it has not come back for {format_duration(HANGS_S)}"
            self._take_in(sampler, Reading(sampler=sampler, at=began, duration_s=0.0, samples=(), error=hangs))
        self._take_in(sampler, await coming)

    def _take_in(self, sampler: Sampler, reading: Reading) -> None:
        if self._samplers.get(sampler.key) is sampler:  # not one that a reload has taken away meanwhile
            self.observe_reading(sampler, reading)

    def observe(self, check: Check, measurement: Measurement) -> None:
        """Take in one run of a probe: series, page, rules."""
        past = self.series.checks[check.key]
        self._measured_at = self.clock.monotonic()
        before = past.last
        counted = self.maintenance.counts(check.labels, check.target.tags)
        closed = self.series.add(check.key, measurement, counted=counted)
        self.exposition.observe(measurement, check)
        self.rules.evaluate(check.key, self.clock.monotonic())
        if measurement.failure is not None:
            self._memory.failed(check.key)
        if closed is not None:
            self._memory.closed(check.key, closed)
        if before is None or before.success != measurement.success:
            self._memory.turned(check.key)
            _say_turn(measurement, first=before is None)

    def observe_reading(self, sampler: Sampler, reading: Reading) -> None:
        """Take in one reading of a sampler: series, page, rules."""
        past = self.series.samplers[sampler.key]
        before = past.last
        now = self._measured_at = self.clock.monotonic()
        for series in self.series.add_reading(sampler, reading):
            self._judge(series, now)
        self.exposition.observe_reading(sampler, reading)
        for series in past.series.values():
            if series.last_at == reading.at:
                self.rules.evaluate(series.key, now)
        if reading.error != ("" if before is None else before.error):
            _say_found(reading)

    def _judge(self, series: SampleSeries, now: float) -> None:
        names, interval_s = (series.what.name,), series.sampler.interval_s
        self.rules.add(series.key, series.labels, names, interval_s=interval_s, now=now)

    def _holds(self, alert: Alert, held: Held) -> str:
        """Why an alert that would fire has to wait; "" when it need not."""
        subject = Subject(broken_since=held.broken_since, settles_s=held.settles_s)
        needs = ([self._health(key) for key in keys if key in self.series.checks] for keys in held.needs)
        return self.maintenance.hold(alert, held.tags) or held_by(needs, subject, self.clock.monotonic())

    def _health(self, key: str) -> Health:
        past = self.series.checks[key]
        last = past.last
        failed = last is not None and not last.success
        return Health(
            name=past.check.target.probe,
            down=failed or self.rules.says_down(key),
            looked_at=None if last is None else last.at,
            up_since=None if failed or past.last_failure is None else past.state_since,
        )

    def _tell(self, alerts: Sequence[Alert]) -> None:
        self.notifier.tell(alerts)
        self._attributions.consider(alerts)

    def _order(self, alert: Alert) -> Order | None:
        """Whom to profile for an alert: its series leaks, and its sampler has leave to look into the process."""
        if not any(rule.name == alert.rule and rule.kind == "leak" for rule in self.config.rules):
            return None
        for key, past in self.series.samplers.items():
            series = past.series.get(alert.series)
            ask = getattr(self._readers.get(key), "to_profile", None)
            if series is not None and ask is not None:
                order: Order | None = ask(series.what.name, series.what.labels)
                return order
        return None

    async def _sweep(self) -> None:
        self._supervisor.alive()  # here, since it takes the event loop and the schedule to come here
        self.rules.sweep(self.clock.monotonic())
        self._remind()
        for _ in range(SLOW_RULES_AT_MOST):
            if self.rules.judge_next(self.clock.monotonic()) is None:
                break
            await asyncio.sleep(0)  # each takes longer than a turn by itself

    def _remind(self) -> None:
        """Say again what still fires; not of what maintenance is about."""
        of_rules = {rule.name: rule.reminder_s for rule in self.config.rules if rule.reminder_s}
        alerts = self.rules.alerts()
        if self.maintenance.windows:
            alerts = [one for one in alerts if not self.maintenance.hold(one, self._tags(one.series))]
        self.notifier.remind(alerts, of_rules)

    def _tags(self, key: str) -> Collection[str]:
        past = self.series.checks.get(key)
        return () if past is None else past.check.target.tags

    async def _keep(self) -> None:
        """Write down what is new, and forget what has been silent for an hour."""
        await self._memory.note()
        now = self.clock.monotonic()
        for key in self.series.forget_silent(now - SILENT_S):
            self.rules.remove(key, now)
        self.series.forget_unasked(now - SILENT_S)

    def _ills(self) -> list[str]:
        """Why perfmon does not do its work, as far as it can tell."""
        intervals = [check.interval_s for check in self._checks.values()]
        intervals += [sampler.interval_s for sampler in self._samplers.values()]
        silent_s = self.clock.monotonic() - self._measured_at
        return ills(store=self._store.trouble(), shortest_s=min(intervals, default=None), silent_s=silent_s)

    def _may_come(self, key: str) -> bool:
        return self.discoveries.may_bring(key) or any(key.startswith(f"{sampler}/") for sampler in self._samplers)

    def defect(self, where: str, error: BaseException) -> None:
        """Count and log an error of our own; what it spoilt is one run, one rule or one answer."""
        self.instruments.defects.labels(where.partition(" ")[0]).inc()
        _log.error("defect", where=where, exc_info=error)


def _opened(sampler: Sampler, clock: Clock) -> measure.Reader:
    reader: measure.Reader = kinds.load("samplers", sampler.kind).open(sampler.config, clock)
    return reader


def _public_listen(config: Config) -> tuple[str, ...]:
    return () if config.web.public is None else config.web.public.listen


def _in_loop(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    """For other threads."""
    with suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(call)


def page_url(listen: str, scheme: str = "http") -> str:
    """Where a person finds the page, by an address that is listened on."""
    host, _, port = listen.rpartition(":")
    return f"{scheme}://{listen}/" if host not in ("", "0.0.0.0", "[::]") else f"{scheme}://localhost:{port}/"  # noqa: S104


def _reads_the_same(former: Sampler, now: Sampler) -> bool:
    """Whether the series of the one are those of the other; how often they are read is another matter."""
    return (former.kind, former.config, former.labels) == (now.kind, now.config, now.labels)


def _say_turn(measurement: Measurement, *, first: bool) -> None:
    """One line for each change of state: it failed, or it is back."""
    where = {"probe": measurement.target.probe, "target": measurement.target.address}
    failure = measurement.failure
    if failure is not None:
        _log.warning("probe fails", **where, reason=failure.reason, phase=failure.phase, message=failure.message)
    elif not first:
        _log.info("probe recovered", **where)


def _say_found(reading: Reading) -> None:
    """One line for each change of what a sampler does not find."""
    if reading.error:
        _log.warning("sampler fails", sampler=reading.sampler.name, error=reading.error)
    else:
        _log.info("sampler recovered", sampler=reading.sampler.name)
