"""Say where a leak allocates: `perfmon profile` as a process of its own, once an alert of a leak begins to fire.

Only what its sampler gave leave for is looked into, one process at a time. The profile is ended by SIGTERM, after which
it leaves the target in order; when the daemon cannot wait for that, it goes on by itself, in its own session.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import get_args

import msgspec
import structlog

from perfmon.clock import Clock
from perfmon.model import Alert, Labels
from perfmon.monitor.flamegraphs import Flamegraphs
from perfmon.profile.order import Order
from perfmon.profile.sites import Site, in_words
from perfmon.profile.subject import Reason
from perfmon.threads import in_thread
from perfmon.units import format_quantity, printable

__all__ = ["FLAMEGRAPH", "OUTCOMES", "STACK", "Attributions", "in_text"]

STACK = "leak_stack"
"""The annotation with the places."""

FLAMEGRAPH = "leak_flamegraph"
"""The annotation with the path of the page, where one is kept."""

OUTCOMES = ("found", "nothing", "ended", *get_args(Reason))
"""Places were named, nothing grew, perfmon ended meanwhile, or the reason why it could not be done."""

_OVER_S = 240.0  # what a profile has beyond its two captures: each time to get in, to read what was written, to draw
_ENDS_S = 60.0  # after SIGTERM, to leave the target in order
_SAYS_AT_MOST = 1 << 18
_TEXT_AT_MOST = 2000
_LINE_AT_MOST = 600
_TELLING = 0.01  # of what the fastest place grows by; the rest is noise to who is woken, and is in the flamegraph

_log = structlog.get_logger(__name__)


class Attributions:
    """Which alerts wait for a profile, and the one that is under way. Belongs to the event loop's thread."""

    def __init__(
        self,
        *,
        clock: Clock,
        order: Callable[[Alert], Order | None],
        annotate: Callable[[str, Labels], object],
        graphs: Flamegraphs,
        set_aside: Callable[[str], AbstractContextManager[None]],
        on_outcome: Callable[[Alert, str], None],
        on_defect: Callable[[str, BaseException], None],
        not_before: Mapping[str, float],
        remember: Callable[[str, float | None], None],
    ) -> None:
        """`order` says whom to look into for an alert, None: nobody; `annotate` takes a series' key and annotations.

        `set_aside` keeps a series from being judged by what happens meanwhile: the process is slower, and memray stays
        in it, some 15 MiB that it did not leak. `not_before` are instants by series, of a former life; `remember` takes
        for the next one that a series is looked into now, and for how long not again, None: that time is over.
        """
        self._clock = clock
        self._order = order
        self._annotate = annotate
        self._graphs = graphs
        self._set_aside = set_aside
        self._on_outcome = on_outcome
        self._on_defect = on_defect
        self._waiting: dict[str, Alert] = {}  # by series
        self._remember = remember
        self._not_before = dict(not_before)  # by series: when it may be looked into again
        self._work: asyncio.Task[None] | None = None
        self._profile: subprocess.Popen[bytes] | None = None
        self._stopping = False

    def consider(self, alerts: Sequence[Alert]) -> None:
        """Take in alerts that receivers are told of; returns at once."""
        self._forget_rested(self._clock.monotonic())
        for alert in alerts:
            if alert.state != "firing":
                self._forget(alert)
            elif STACK not in alert.notes and alert.series not in self._not_before and self._order(alert):
                self._waiting[alert.series] = alert
        if self._waiting and not self._stopping and (self._work is None or self._work.done()):
            self._work = asyncio.get_running_loop().create_task(self._look_into_all())

    async def stop(self, deadline_s: float) -> None:
        """End what is under way in order; what takes longer than `deadline_s` ends by itself."""
        self._stopping = True
        self._waiting.clear()
        if self._profile is not None:
            self._profile.terminate()
        if self._work is not None:
            await asyncio.wait({self._work}, timeout=deadline_s)
            self._work.cancel()
            await asyncio.wait({self._work})

    def _forget_rested(self, now: float) -> None:
        for series in [series for series, until in self._not_before.items() if until <= now]:
            del self._not_before[series]
            self._remember(series, None)

    def _forget(self, alert: Alert) -> None:
        waiting = self._waiting.get(alert.series)
        if waiting is not None and waiting.labels == alert.labels:
            del self._waiting[alert.series]

    async def _look_into_all(self) -> None:
        while self._waiting:
            alert = self._waiting.pop(next(iter(self._waiting)))
            order = self._order(alert)  # anew: it may have restarted meanwhile, or a reload has taken the leave away
            if order is None:
                continue
            self._not_before[alert.series] = self._clock.monotonic() + order.every_s
            self._remember(alert.series, order.every_s)
            try:
                await self._look_into(alert, order)
            except Exception as error:  # noqa: BLE001 - the alert goes on without, and the next has its turn
                self._on_defect("attribution", error)

    async def _look_into(self, alert: Alert, order: Order) -> None:
        _log.info("profile begins", alert=alert.rule, pid=order.pid)
        with self._set_aside(alert.series):
            said = await self._said(order, self._graphs.place(order.pid, self._clock.wall()))
        outcome = "ended" if self._stopping else said.refused or ("found" if said.sites else "nothing")
        _log.info("profile is over", alert=alert.rule, pid=order.pid, outcome=outcome, message=said.message)
        self._on_outcome(alert, outcome)
        if not self._stopping:
            drawn = {FLAMEGRAPH: printable(said.flamegraph)} if said.flamegraph else {}
            self._annotate(alert.series, {STACK: in_text(said)} | drawn)

    async def _said(self, order: Order, graph: Path | None) -> "Said":
        profile = self._profile = _started(order, graph)
        try:
            answer = in_thread(partial(_read_to_end, profile), name="perfmon-profile")
            limit_s = order.short_s + order.long_s + _OVER_S
            in_time, _ = await asyncio.wait({answer}, timeout=limit_s)
            if not in_time:
                profile.terminate()
                if not (await asyncio.wait({answer}, timeout=_ENDS_S))[0]:
                    profile.kill()  # its injector has a session of its own, and still lets gdb end in order
                await asyncio.wait({answer})
                return Said(refused="late", message=f"the profile took longer than {limit_s:g}s")
            return _understood(await answer, profile.returncode)
        finally:
            self._profile = None


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What `perfmon profile --json` prints: places, most blocks first, or why there are none."""

    sites: tuple[Site, ...] = ()
    flamegraph: str = ""  # path of the page, where it was drawn
    refused: str = ""  # one of `Reason`
    message: str = ""


def in_text(said: Said) -> str:
    """Lines for a person, 2 kB at most: the place, its callers, and how fast it grows."""
    if said.refused:
        return f"not attributed: {printable(said.message)}"[:_TEXT_AT_MOST]
    lines = [_line(site) for site in _telling(said.sites)] or ["nothing grew while it was looked at"]
    while len("\n".join(lines).encode("utf-8", "replace")) > _TEXT_AT_MOST:
        lines.pop()
    return "\n".join(lines)


def _telling(sites: Sequence[Site]) -> Sequence[Site]:
    """Those that grow by blocks or by bytes as if they mattered beside the others."""
    blocks = _TELLING * max((site.blocks for site in sites), default=0.0)
    size_bytes = _TELLING * max((site.size_bytes for site in sites), default=0.0)
    return [site for site in sites if site.blocks > blocks or site.size_bytes > size_bytes]


def _line(site: Site) -> str:
    """The figures stand behind the innermost call, its callers after that; long names are cut."""
    blocks = f"{format_quantity(site.blocks, '', brief=True)} blocks/s"
    size = f"{format_quantity(site.size_bytes, 'bytes', brief=True)}/s"
    place, _, callers = printable(in_words(site)).partition(" < ")
    line = f"{place[:_LINE_AT_MOST]}  {blocks}, {size}" + (f"  < {callers}" if callers else "")
    return line.encode("utf-8", "replace")[:_LINE_AT_MOST].decode("utf-8", "ignore")


def _started(order: Order, graph: Path | None) -> "subprocess.Popen[bytes]":
    drawing = ["--no-flamegraph"] if graph is None else ["--flamegraph", str(graph)]
    words = ["profile", str(order.pid), "--yes", "--json", *drawing]
    spans = ["--short", f"{order.short_s}s", "--long", f"{order.long_s}s"]
    return subprocess.Popen(  # noqa: S603 - a list of arguments, and no shell
        [sys.executable, "-m", "perfmon", *words, *spans],
        # `-m` would look for modules in the folder that the daemon was started in, first of all.
        env={**os.environ, "PYTHONSAFEPATH": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _read_to_end(profile: "subprocess.Popen[bytes]") -> bytes:
    """What it prints, up to a limit; one that prints more ends by the pipe that is closed."""
    assert profile.stdout is not None, "it was started with a pipe"
    with profile.stdout as pipe:
        said = pipe.read(_SAYS_AT_MOST)
    profile.wait()
    return said


def _understood(said: bytes, exit_code: int) -> Said:
    try:
        return msgspec.json.decode(said, type=Said)
    except msgspec.DecodeError:
        return Said(refused="failed", message=f"perfmon profile ended with exit code {exit_code}, and no result")
