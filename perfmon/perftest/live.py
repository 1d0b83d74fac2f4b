"""What is seen of a test while it runs: a panel where there is a terminal, plain lines where there is none."""

from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from perfmon.perftest import gate
from perfmon.run import Snapshot, Tally, percentile
from perfmon.scenario import Scenario
from perfmon.telling import time
from perfmon.units import format_duration, printable

__all__ = ["View", "open_view"]

_RECENT = 5  # seconds that the current figures look back on


class View(Protocol):
    """Told of each second, used as a context."""

    def __enter__(self) -> Self:
        """Begin to show."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give the terminal back."""
        ...

    def second(self, second: Snapshot, tally: Tally) -> None:
        """A second is over."""
        ...


def open_view(scenario: Scenario, console: Console) -> View:
    """The one that fits where the console leads."""
    return _Panel(scenario, console) if console.is_terminal else _Lines(scenario, console.print)


class _Lines:
    """A line now and then: each second of a short test, each minute of a long one."""

    def __init__(self, scenario: Scenario, say: Callable[[str], None]) -> None:
        self._duration_s = scenario.offer.duration_s
        self._every_s = min(60.0, max(1.0, self._duration_s / 30))
        self._next_s = self._every_s
        self._say = say

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """There is nothing to give back."""

    def second(self, second: Snapshot, tally: Tally) -> None:
        if second.end_s >= self._next_s:
            self._next_s += self._every_s
            self._say(_line(second, tally, self._duration_s))


def _line(second: Snapshot, tally: Tally, duration_s: float) -> str:
    """`12s of 30s: 200/s, 3 in flight, p50 2.1ms p95 4ms p99 9ms, 0 failed`."""
    rate = second.done / max(1e-9, second.end_s - second.begin_s)
    quantiles = " ".join(f"p{q * 100:g} {time(percentile(second.response, 0, q))}" for q in (0.5, 0.95, 0.99))
    waiting = f", {second.waiting} waiting" if second.waiting else ""
    missed = f", {tally.sum.dropped} dropped" if tally.sum.dropped else ""
    return (
        f"{second.end_s:.0f}s of {format_duration(duration_s)}: {rate:.4g}/s, {second.in_flight} in flight{waiting},"
        f" {quantiles}, {tally.sum.failed.total()} failed{missed}"
    )


class _Panel:
    """Drawn anew each second."""

    def __init__(self, scenario: Scenario, console: Console) -> None:
        self._scenario = scenario
        self._recent: deque[Snapshot] = deque(maxlen=_RECENT)
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, traceback)

    def second(self, second: Snapshot, tally: Tally) -> None:
        self._recent.append(second)
        self._live.update(self._drawn(second, tally.sum), refresh=True)

    def _drawn(self, second: Snapshot, total: Snapshot) -> RenderableType:
        duration_s = self._scenario.offer.duration_s
        left_s = max(0.0, duration_s - second.end_s)
        left = f"{format_duration(round(left_s))} left" if left_s else "waiting for the last answers"
        return Group(
            Text(printable(f"{self._scenario.name}  {self._scenario.target.address}"), style="bold"),
            Group(ProgressBar(total=duration_s, completed=min(duration_s, second.end_s), width=60), Text(left)),
            self._figures(second, total),
            *self._failures(total),
            *self._demands(total),
        )

    def _figures(self, second: Snapshot, total: Snapshot) -> Table:
        recent = Tally()
        for one in self._recent:
            recent.add(one)
        seconds = max(1e-9, second.end_s - self._recent[0].begin_s)
        table = Table(box=None, padding=(0, 2, 0, 0))
        for name in ("", "done", "rate", "p50", "p95", "p99", "max", "in flight", "waiting"):
            table.add_column(name, justify="left" if not name else "right")
        rows = ((f"last {len(self._recent)}s", recent.sum, seconds), ("whole", total, max(1e-9, total.end_s)))
        for name, seen, over_s in rows:
            quantiles = [time(percentile(seen.response, 0, q)) for q in (0.5, 0.95, 0.99, 1.0)]
            now = [str(second.in_flight), str(second.waiting)] if seen is not total else ["", ""]
            table.add_row(name, str(seen.done), f"{seen.done / over_s:.4g}/s", *quantiles, *now)
        return table

    def _failures(self, total: Snapshot) -> list[Text]:
        lines = [Text(f"{count} {reason}", style="red") for reason, count in total.failed.most_common(5)]
        return [*lines, *([Text(f"{total.dropped} dropped", style="red")] if total.dropped else [])]

    def _demands(self, total: Snapshot) -> list[Text]:
        judged = [gate.judge(one, total, unfinished=0, took_s=total.end_s) for one in self._scenario.demands]
        return [
            Text(f"{'ok    ' if one.passed else 'BROKEN'} {one.verdict.why}", style="green" if one.passed else "red")
            for one in judged
        ]
