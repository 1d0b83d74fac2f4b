"""Looks at the sources of targets that come and go, and keeps what each said last.

Each source has a task of its own, so one that hangs delays neither probes nor other sources. What a source said is made
into checks here; that they are watched is the daemon's work (`on_found`).
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping
from functools import partial
from typing import Any

import structlog
from msgspec.structs import replace

from perfmon import kinds
from perfmon.clock import Clock
from perfmon.config.discovered import Blueprint, Discovery, checks_of, told
from perfmon.model import Check
from perfmon.monitor.selfmetrics import Instruments, remove
from perfmon.monitor.store import Store
from perfmon.network import Network
from perfmon.target_groups import Found, Listing
from perfmon.threads import in_thread

__all__ = ["OUTCOMES", "Discoveries"]

OUTCOMES = ("complete", "partial", "failed")
_SAID = 5  # refused targets that a line of the log names

_log = structlog.get_logger(__name__)


class Discoveries:
    """All sources. Belongs to the event loop's thread."""

    def __init__(
        self,
        *,
        network: Network,
        clock: Clock,
        instruments: Instruments,
        store: Store,
        on_found: Callable[[bool], Awaitable[None]],
        on_defect: Callable[[str, Exception], None],
    ) -> None:
        """`on_found(first)` is awaited when the targets of a source changed, and after its first full answer."""
        self._network = network
        self._clock = clock
        self._instruments = instruments
        self._store = store
        self._on_found = on_found
        self._on_defect = on_defect
        self._sources: dict[str, _Source] = {}
        self._left_out = 0

    async def replace(self, discoveries: Iterable[Discovery]) -> None:
        """Go on with other sources. One that looks in the same place goes on as it is.

        One that looks elsewhere has the targets of the former until its own first answer.
        """
        former, self._sources = self._sources, {}
        outdated: list[_Source] = []
        for new in discoveries:
            source = former.pop(new.key, None)
            if source is None or not _looks_the_same(source.discovery, new):
                source = self._opened(new, source)
                outdated.append(source)
            elif source.discovery.blueprint != new.blueprint:
                outdated.append(source)
            source.discovery = new
            self._sources[new.key] = source
        for gone in former.values():
            gone.end()
        self._forget_instruments(gone.labels for gone in former.values())
        self._store.forget_found(but=self._sources.keys())
        for source in outdated:
            if source.found:
                await self._make_anew(source)

    def checks(self, beside: Mapping[str, Check], limit: int, watched_now: Container[str] = ()) -> dict[str, Check]:
        """Those `beside` by key, and what the sources name beside them: first come, and `limit` in all at most.

        Where they are too many, those that are watched now go on: sources list their targets in any order.
        """
        every = dict(beside)
        watched: Counter[_Labels] = Counter({source.labels: 0 for source in self._sources.values()})
        left_out: Counter[_Labels] = Counter()
        for source in self._sources.values():
            left_out[source.labels] += len(source.refused)
        for source, key, check in self._in_turn(limit - len(every), watched_now):
            if key not in every and len(every) >= limit:
                left_out[source.labels] += 1
            elif every.setdefault(key, check) is check:
                watched[source.labels] += 1
        self._tell(watched, left_out)
        self._say_left_out(left_out.total() - sum(len(source.refused) for source in self._sources.values()), limit)
        return every

    def _in_turn(self, room: int, first: Container[str]) -> "Iterable[tuple[_Source, str, Check]]":
        """All checks of all sources; where there is no room for all, these keys `first`."""
        sources = self._sources.values()
        every = ((source, key, check) for source in sources for key, check in source.checks.items())
        if sum(len(source.checks) for source in sources) <= room:
            return every
        return sorted(every, key=lambda one: one[1] not in first)

    def may_bring(self, key: str) -> bool:
        """Whether a check of that key may still come: one of its probe's sources has not answered in full yet."""
        probe = key.partition("/")[0]
        return any(not source.answered and source.labels[0] == probe for source in self._sources.values())

    async def stop(self) -> None:
        """Look no more."""
        tasks = [source.task for source in self._sources.values() if source.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ------------------------------------------------------------ one source

    def _opened(self, discovery: Discovery, former: "_Source | None") -> "_Source":
        kind = kinds.load("discoveries", discovery.kind)
        source = _Source(discovery, kind.open(discovery.config, self._network, self._clock))
        if former is not None:
            former.end()
        source.found = source.inherited = former.found if former is not None else self._store.found(discovery.key)
        for outcome in OUTCOMES:
            self._instruments.discovery_refreshes.labels(*source.labels, outcome)
        source.task = asyncio.get_running_loop().create_task(self._watch(source))
        return source

    async def _watch(self, source: "_Source") -> None:
        while True:
            try:
                await self._look(source)
            except Exception as error:  # noqa: BLE001 - a defect of ours; the others go on, and so does this one
                self._count(source, "failed")
                self._on_defect(f"discovery {source.discovery.key}", error)
            await asyncio.sleep(source.discovery.refresh_s)

    async def _look(self, source: "_Source") -> None:
        try:
            listing: Listing = await source.finder.find()
        except (KeyError, IndexError):
            raise
        except LookupError as error:
            self._count(source, "failed")
            source.say(str(error))
            return
        changed = await self._take(source, _with_inherited(listing, source))
        refused = (*listing.refused, *source.refused)
        self._count(source, "failed" if listing.broken else "partial" if refused else "complete")
        source.say("; ".join(listing.broken))
        source.say_refused(refused)
        first = not source.answered and not listing.broken
        source.answered = source.answered or first
        if changed or first:
            await self._on_found(first)

    async def _take(self, source: "_Source", found: tuple[Found, ...]) -> bool:
        """Make checks of what was found; whether it is something else than the last time."""
        while found != source.found:
            blueprint = source.discovery.blueprint
            made = await _made(blueprint, found)
            if source.discovery.blueprint is blueprint:  # no reload came between
                source.found, (source.checks, source.refused) = found, made
                await in_thread(partial(self._keep, source), name="perfmon-discovery")
                return True
        return False

    def _keep(self, source: "_Source") -> None:
        """For a restart while the source is away. Not what is refused: it may hold a password."""
        probe = source.labels[0]
        watched = [one for one in source.found if f"{probe}/{one.address}" in source.checks]
        self._store.put_found(source.discovery.key, [replace(one, labels=told(one.labels)) for one in watched])

    async def _make_anew(self, source: "_Source") -> None:
        """Make other checks of what was found before the discovery was changed."""
        while True:
            found = source.found
            made = await _made(source.discovery.blueprint, found)
            if found is source.found:  # nothing else was found meanwhile
                source.checks, source.refused = made
                return

    # ------------------------------------------------------------ telling

    def _count(self, source: "_Source", outcome: str) -> None:
        self._instruments.discovery_refreshes.labels(*source.labels, outcome).inc()
        if outcome != "failed":
            source.success_at = self._clock.wall()
            known = (one.success_at for one in self._sources.values() if one.labels == source.labels)
            self._instruments.discovery_last_success.labels(*source.labels).set(min(filter(None, known)))

    def _tell(self, watched: Mapping["_Labels", int], left_out: Mapping["_Labels", int]) -> None:
        for labels, count in watched.items():
            self._instruments.discovery_targets.labels(*labels).set(count)
            self._instruments.discovery_refused.labels(*labels).set(left_out[labels])

    def _say_left_out(self, left_out: int, limit: int) -> None:
        if left_out and left_out != self._left_out:
            _log.warning("targets left out: more than limits.targets", left_out=left_out, limit=limit)
        self._left_out = left_out

    def _forget_instruments(self, gone: Iterable["_Labels"]) -> None:
        for probe, kind in set(gone) - {source.labels for source in self._sources.values()}:
            for gauge in ("discovery_targets", "discovery_refused", "discovery_last_success"):
                remove(getattr(self._instruments, gauge), probe, kind)
            for outcome in OUTCOMES:
                remove(self._instruments.discovery_refreshes, probe, kind, outcome)


_Labels = tuple[str, str]  # probe, kind


class _Source:
    """A source and what it said last."""

    def __init__(self, discovery: Discovery, finder: Any) -> None:
        self.discovery = discovery
        self.finder = finder
        self.found: tuple[Found, ...] = ()
        self.inherited: tuple[Found, ...] = ()  # of before a reload or restart, until the first full answer
        self.checks: dict[str, Check] = {}  # by key
        self.refused: list[str] = []  # of `found`
        self.answered = False  # in full, once at least
        self.success_at = 0.0  # Unix time
        self.task: asyncio.Task[None] | None = None
        self._trouble = ""
        self._refused_said: tuple[str, ...] = ()

    @property
    def labels(self) -> _Labels:
        """Of the metrics about it."""
        return self.discovery.blueprint.probe, self.discovery.kind

    def end(self) -> None:
        """Look no more."""
        if self.task is not None:
            self.task.cancel()

    def say(self, trouble: str) -> None:
        """One line for each change of state: it failed, or it is back."""
        where = {"probe": self.labels[0], "kind": self.labels[1]}
        if trouble and trouble != self._trouble:
            _log.warning("discovery fails, the targets known last go on", **where, error=trouble[:1000])
        elif self._trouble and not trouble:
            _log.info("discovery recovered", **where)
        self._trouble = trouble

    def say_refused(self, refused: tuple[str, ...]) -> None:
        """One line when other targets are refused than the last time."""
        if refused and refused != self._refused_said:
            where = {"probe": self.labels[0], "kind": self.labels[1]}
            _log.warning("targets refused", **where, count=len(refused), why=[text[:300] for text in refused[:_SAID]])
        self._refused_said = refused


def _made(blueprint: Blueprint, found: tuple[Found, ...]) -> "asyncio.Future[tuple[dict[str, Check], list[str]]]":
    """Checks of what was found, in a thread: thousands of targets take a while, and probes shall not wait for it."""
    return in_thread(partial(checks_of, blueprint, found), name="perfmon-discovery")


def _with_inherited(listing: Listing, source: _Source) -> tuple[Found, ...]:
    """What was found; until the whole source can be read, what was known before may still be right."""
    if not listing.broken:
        source.inherited = ()
    named = {one.address for one in listing.found}
    return (*listing.found, *(one for one in source.inherited if one.address not in named))


def _looks_the_same(former: Discovery, now: Discovery) -> bool:
    return (former.kind, former.config, former.refresh_s) == (now.kind, now.config, now.refresh_s)
