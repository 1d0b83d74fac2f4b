"""One test from its beginning to its end: look first, run, judge. What it meets on the way it tells an `Observer`."""

import asyncio
import contextlib
import resource
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from perfmon import measure
from perfmon.clock import Clock, to_wall
from perfmon.errors import Interrupted, UsageError
from perfmon.network import Network
from perfmon.offer import Open
from perfmon.perftest import gate, generator
from perfmon.perftest.engine import Engine, Row
from perfmon.perftest.plan import shard
from perfmon.run import Ended, Report, Run, Snapshot, Tally, Timeline
from perfmon.scenario import Demand, Scenario

__all__ = ["NoAnswer", "Observer", "linger", "preflight", "run"]

_SOON_S = 0.1  # from now to the first arrival
_SURE_AFTER_S = 3.0  # before that, no threshold ends a test
_SPARE = 64  # descriptors for all else
_MUTE = (
    *("dns_nxdomain", "dns_servfail", "dns_timeout", "connect_refused", "connect_timeout", "unreachable", "permission"),
    *("tls_expired", "tls_name_mismatch", "tls_untrusted", "tls_handshake", "timeout", "reset", "closed"),
)


class NoAnswer(Interrupted):
    """The target does not answer, so no test was begun."""


class Observer(Protocol):
    """Whoever looks on while a test runs."""

    def second(self, second: Snapshot, tally: Tally) -> None:
        """A second is over."""
        ...

    def row(self, row: Row) -> None:
        """An arrival has ended."""
        ...

    def defect(self, where: str, error: Exception) -> None:
        """Something of perfmon's own went wrong."""
        ...


async def run(
    scenario: Scenario,
    begin: Callable[[], AbstractContextManager[Observer]],
    *,
    clock: Clock,
    rows: bool = True,
    abort: bool = False,
    public: bool = False,
    look_first: bool = True,
) -> Report:
    """Run a test inside the running loop. SIGINT and SIGTERM end it, with a report of what was measured.

    Nothing is begun, `begin` not called, before the target has answered.
    `abort` ends it too, when a demand is broken for certain. Unless `public`, no machine of the Internet is reached.
    Raises NoAnswer before any load when the target is not there, UsageError when this machine cannot hold so much.
    """
    _make_room(scenario)
    async with Network(clock=clock, keep_alive=scenario.keep_alive, private=not public) as network:
        if look_first:
            await preflight(scenario, network, clock=clock)
        with begin() as observer:
            return await _load(scenario, observer, clock=clock, network=network, rows=rows, abort=abort)


async def linger(seconds: float) -> None:
    """Wait so long; SIGINT or SIGTERM end it."""
    over = asyncio.Event()
    with _signals(over.set), contextlib.suppress(TimeoutError):
        await asyncio.wait_for(over.wait(), seconds)


async def preflight(scenario: Scenario, network: Network, *, clock: Clock) -> None:
    """Ask once. A wrong answer is one; none at all raises NoAnswer, with the reason in words."""
    failure = (await measure.probe(scenario.target, scenario.module, clock=clock, network=network)).failure
    if failure is not None and failure.reason in _MUTE:
        if failure.reason == "permission" and failure.phase == "resolve":
            raise UsageError(f"{failure.message}; where that is what you want, say --allow-public")
        raise NoAnswer(f"{scenario.name} does not answer, so there is no load: {failure.message}")


async def _load(
    scenario: Scenario, observer: Observer, *, clock: Clock, network: Network, rows: bool, abort: bool
) -> Report:
    tally, timeline = Tally(), Timeline()
    began = clock.monotonic() + _SOON_S
    ended: Ended = "complete"

    def second(one: Snapshot) -> None:
        nonlocal ended
        tally.add(one)
        timeline.add(one)
        observer.second(one, tally)
        if abort and ended == "complete" and _is_lost(scenario, tally.sum, timeline.points):
            ended = "aborted"
            engine.stop()

    engine = Engine(
        shard(scenario),
        clock=clock,
        network=network,
        tell=second,
        row=observer.row if rows else None,
        on_defect=observer.defect,
    )

    def interrupt() -> None:
        nonlocal ended
        ended = "interrupted"
        engine.stop()

    with _signals(interrupt):
        await engine.run(began)
    return _report(scenario, tally, timeline, engine, ended, began=to_wall(clock, began))


def _report(
    scenario: Scenario, tally: Tally, timeline: Timeline, engine: Engine, ended: Ended, *, began: float
) -> Report:
    total = tally.sum
    took_s = max(0.0, total.end_s)
    run_ = Run(
        scenario=scenario,
        began=began,
        took_s=took_s,
        ended=ended,
        total=total,
        timeline=timeline.points,
        unfinished=engine.unfinished,
        cut=engine.cut,
        generator=generator.judge(scenario, total, backlog=engine.backlog, unfinished=engine.unfinished, took_s=took_s),
    )
    return Report(
        run=run_,
        judged=tuple(
            gate.judge(demand, total, unfinished=engine.unfinished, took_s=took_s, timeline=timeline.points)
            for demand in scenario.demands
        ),
    )


def _is_lost(scenario: Scenario, total: Snapshot, timeline: Sequence[Snapshot]) -> bool:
    """Whether a demand is broken for certain: its value, and its interval at both ends where it has one."""
    if total.end_s < _SURE_AFTER_S:
        return False
    # Of what is done per second nothing is known before the end: a ramp begins slowly.
    demands = [demand for demand in scenario.demands if demand.metric != "done"]
    # The timeline's share costs the loop milliseconds, so it is asked only where the rest says so already.
    return any(_is_certain(one, total, ()) and _is_certain(one, total, timeline) for one in demands)


def _is_certain(demand: Demand, total: Snapshot, timeline: Sequence[Snapshot]) -> bool:
    verdict = gate.judge(demand, total, unfinished=0, took_s=total.end_s, timeline=timeline).verdict
    known = [value for value in (verdict.value, verdict.low, verdict.high) if value is not None]
    return bool(known) and all(demand.threshold.evaluate(value)[0] == "critical" for value in known)


@contextlib.contextmanager
def _signals(interrupt: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in _ENDING:
        loop.add_signal_handler(number, interrupt)
    try:
        yield
    finally:
        for number in _ENDING:
            loop.remove_signal_handler(number)


_ENDING = (signal.SIGINT, signal.SIGTERM)


def _make_room(scenario: Scenario) -> None:
    """Raise the number of descriptors to what so many connections need; UsageError where that is not allowed."""
    offer = scenario.offer
    most = scenario.max_in_flight if isinstance(offer, Open) else offer.users
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = most + _SPARE
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise UsageError(
            f"{most} at the same time need {needed} descriptors, and this process may have {hard}:"
            " lower max_in_flight or users, or raise the limit (ulimit -Hn)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
