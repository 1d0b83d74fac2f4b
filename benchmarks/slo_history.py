"""Thirty days of a made-up past in a real Prometheus: are burn rates what they should be, and who is paged when?

Seeded runs of three targets: outages, a spell in which one run in ten fails, single failures in quiet hours, restarts of
perfmon, hours without Prometheus. What Prometheus would have scraped goes into its database by `promtool tsdb
create-blocks-from openmetrics`; Debian's Prometheus starts on it, and is asked what `rules/perfmon.rules.yml` records.

Claims: burn rates over all windows equal those computed by hand from the runs, to 1e-9; one failed run in a quiet hour
pages nobody; an outage pages before it has cost more of the month's budget than its windows promise.

.venv/bin/python benchmarks/slo_history.py --seed 1 --instants 200
"""

import argparse
import math
import random
import re
import socket
import subprocess
import tempfile
import time
from bisect import bisect_left, bisect_right
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import requests

from perfmon.provision.rules import BUDGETS, LONG_COUNTS, OBJECTIVE, SHORT_COUNTS, SYMPTOMS

DAY_S = 86_400.0
DAYS = 31
BEFORE = 100_000  # runs that perfmon had counted before the past begins, all of them fine
PART_S = DAY_S
WINDOWS = {"5m": 300, "30m": 1800, "1h": 3600, "2h": 7200, "6h": 21_600, "1d": 86_400, "3d": 259_200, "30d": 2_592_000}
PLACE = 'job="perfmon",instance="perfmon:10737",probe="shop",module="http_2xx"'
SCRAPED_AFTER_S = 1.0  # a run is seen by the scrape that follows it
RECORDED = {rule.record: rule.expr for rule in (*SHORT_COUNTS, *LONG_COUNTS)}
PAGES = {rule.alert: rule.expr for rule in (*BUDGETS, *SYMPTOMS) if rule.severity == "critical"}


class Run(NamedTuple):
    at: float
    failed: bool
    life: int  # of perfmon: its counters begin anew with each
    seen: bool  # by a scrape


class Spell(NamedTuple):
    """When so many of the runs fail."""

    begin: float
    end: float
    share: float


class Past(NamedTuple):
    """Runs of one target, and what was done to it."""

    target: str
    runs: list[Run]
    spells: list[Spell]
    lonely: list[float]  # failures with nothing else near them


def past(target, seed, begin, end, *, interval_s, spells=()):
    """A failure each 25 to 40 hours by itself; perfmon is away for minutes some times, Prometheus for hours twice."""
    chance = random.Random(f"{seed} {target}")
    spells = [Spell(begin + day * DAY_S, begin + day * DAY_S + length_s, share) for day, length_s, share in spells]
    spells = [one for one in spells if one.end < end]
    lonely = [at for at in _now_and_then(chance, begin, end, 25, 40) if not any(_near(at, one) for one in spells)]
    blind = [begin + chance.uniform(0.1, 0.4) * (end - begin), begin + chance.uniform(0.8, 0.95) * (end - begin)]
    # Where perfmon ends while nobody scrapes it, Prometheus never learns of its last runs; that is left out here.
    full = [*spells, *(Spell(at, at + 7200, 0.0) for at in blind)]
    away = [at for at in _now_and_then(chance, begin, end, 80, 160) if not any(_near(at, one) for one in full)]
    to_fail = {round((at - begin) / interval_s) for at in lonely}
    runs, life, gone = [], 0, False
    for number in range(int((end - begin) / interval_s)):
        at = begin + number * interval_s
        was_gone, gone = gone, any(0 <= at - one < 420 for one in away)
        if gone:
            continue
        life += was_gone
        spell = next((one for one in spells if one.begin <= at < one.end), None)
        failed = number in to_fail if spell is None else chance.random() < spell.share
        seen = not any(0 <= at - one < 7200 for one in blind)
        runs.append(Run(at, failed, life, seen))
    alone = [run.at for run in runs if round((run.at - begin) / interval_s) in to_fail and run.seen]
    return Past(target, runs, spells, alone)


def _now_and_then(chance, begin, end, least_h, most_h):
    at, found = begin, []
    while at < end:
        at += 3600 * chance.uniform(least_h, most_h)
        found.append(at)
    return found


def _near(at, spell):
    return spell.begin - 1.2 * DAY_S < at < spell.end + 1.2 * DAY_S


def history(seed, end, *, days=DAYS, interval_s=15.0):
    begin = end - days * DAY_S
    spells = {
        "a": [(4.4, 1800, 1.0), (6.3, 7200, 0.1)],
        "b": [],
        "c": [(5.7, 600, 0.5), (18.2, 5400, 0.3), (27.6, 900, 1.0)],
    }
    return [past(name, seed, begin, end, interval_s=interval_s, spells=own) for name, own in spells.items()]


# ---------------------------------------------------------------- by hand


class Counted(NamedTuple):
    runs: int
    failures: int
    alike: bool = True  # whether `increase` extrapolates both counters by the same factor, see `Hand.over`


class Hand:
    """Counts of one target over any window, from its runs alone."""

    def __init__(self, one):
        self.runs = one.runs
        self.failures = [0, *accumulate(run.failed for run in one.runs)]
        self.seen = [number for number, run in enumerate(one.runs) if run.seen]
        self.seen_at = [one.runs[number].at + SCRAPED_AFTER_S for number in self.seen]
        self.born = {run.life: number for number, run in reversed(list(enumerate(one.runs)))}

    def over(self, window_s, now):
        """Runs after that of the window's first scrape, up to that of its last: what counters tell of a window.

        `increase` extrapolates to the window's edges, but no further back than to where a counter was 0. So of a life
        of perfmon that began near the window's beginning its two counters may be extrapolated differently.
        """
        first = bisect_left(self.seen_at, now - window_s)
        last = bisect_right(self.seen_at, now) - 1
        if last <= first:
            return Counted(0, 0)
        begin, end = self.seen[first], self.seen[last]
        runs, failures = end - begin, self.failures[end + 1] - self.failures[begin + 1]
        sampled_s = self.seen_at[last] - self.seen_at[first]
        to_start_s = self.seen_at[first] - (now - window_s)
        to_zero_s = min(
            sampled_s * value / grown
            for value, grown in zip(self._values(begin), (runs, runs - failures), strict=True)
            if grown
        )
        return Counted(runs, failures, to_zero_s >= min(to_start_s, 1.1 * sampled_s / (last - first)))

    def _values(self, number):
        """Both counters right after a run: all, and those that were fine."""
        born = self.born[self.runs[number].life]
        count = number - born + 1 + (BEFORE if born == 0 else 0)
        return count, count - (self.failures[number + 1] - self.failures[born])

    def plainly(self, window_s, now):
        """All runs that began in the window."""
        begin = bisect_right(self.runs, now - window_s, key=lambda run: run.at)
        end = bisect_right(self.runs, now, key=lambda run: run.at)
        return Counted(end - begin, self.failures[end] - self.failures[begin])


# ---------------------------------------------------------------- in Prometheus


def write(pasts, folder):
    """What was scraped, in OpenMetrics: many small files, for promtool reads one anew for each block of two hours."""
    for place, name in enumerate(("perfmon_probe_latency_seconds_count", "perfmon_probe_runs_total", "probe_success")):
        own = ',result="success",reason="none"' if name.endswith("_total") else ""
        parts = {}
        for one in pasts:
            series = f'{name}{{{PLACE},target="{one.target}"{own}}}'
            for at, values in _scraped(one.runs):
                parts.setdefault(int(at // PART_S), []).append(f"{series} {values[place]} {at:.3f}\n")
        for part, lines in parts.items():
            with (folder / f"{part}.txt").open("a") as out:
                out.write(f"# TYPE {name.removesuffix('_total')} {'counter' if own else 'unknown'}\n")
                out.writelines(lines)
    files = sorted(folder.glob("*.txt"))
    for file in files:
        with file.open("a") as out:
            out.write("# EOF\n")
    return files


def _scraped(runs):
    life, counts = 0, (BEFORE, BEFORE)
    for run in runs:
        counts = counts if run.life == life else (0, 0)
        life = run.life
        counts = (counts[0] + 1, counts[1] + (not run.failed))
        if run.seen:
            yield run.at + SCRAPED_AFTER_S, (*counts, int(not run.failed))


@contextmanager
def prometheus(pasts, folder, find=lambda name: name):
    """The URL of one that has this past."""
    fill = [find("promtool"), "tsdb", "create-blocks-from", "openmetrics", "-q"]
    with ThreadPoolExecutor(2) as two:  # most of the time it waits for the disk
        files = write(pasts, folder)
        list(
            two.map(lambda file: subprocess.run([*fill, file, folder / "data"], check=True, capture_output=True), files)
        )
    (folder / "prometheus.yml").write_text("{}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [
        find("prometheus"), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
        "--storage.tsdb.retention.time=90d", f"--web.listen-address={address}",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            _await(f"http://{address}/-/ready", process)
            yield f"http://{address}/api/v1"
        finally:
            process.terminate()


def _await(url, process):
    deadline = time.monotonic() + 60
    while True:
        try:
            if requests.get(url, timeout=1).ok:
                return
        except requests.ConnectionError:
            pass  # not up yet
        assert process.poll() is None, "Prometheus has ended"
        assert time.monotonic() < deadline, "Prometheus does not come up"
        time.sleep(0.05)


@cache
def in_full(expr):
    """An expression with what is recorded in place of its names, for a past in which nothing was recorded."""
    return re.sub(r"target:[\w:]+", lambda name: f"({in_full(RECORDED[name[0]])})", expr)


def asked(api, expr, now):
    found = requests.get(f"{api}/query", params={"query": in_full(expr), "time": f"{now:.3f}"}, timeout=60).json()
    assert found["status"] == "success", found
    return {one["metric"]["target"]: float(one["value"][1]) for one in found["data"]["result"]}


# ---------------------------------------------------------------- the claims


class Difference(NamedTuple):
    """Greatest differences of burn rates, of a window at some instants."""

    window: str
    compared: int
    by_hand: float  # from what counters tell
    from_all: float  # from all runs that began in the window
    excepted: int  # counters that are extrapolated differently
    of_excepted: float  # from what they tell


def differences(api, pasts, instants):
    """By window: how far Prometheus' burn rates are from those by hand."""
    hands = {one.target: Hand(one) for one in pasts}
    return [_difference(api, hands, instants, window, seconds) for window, seconds in WINDOWS.items()]


def _difference(api, hands, instants, window, seconds):
    alike, otherwise, from_all = [], [], []
    for now in instants:
        found = asked(api, f"target:perfmon_probe_failures:ratio_increase{window}", now)
        for target, hand in hands.items():
            counted = hand.over(seconds, now)
            if not counted.runs:
                continue
            burn = found[target] / (1 - OBJECTIVE)
            (alike if counted.alike else otherwise).append(abs(burn - _burn(counted)))
            from_all.append(abs(burn - _burn(hand.plainly(seconds, now))))
    return Difference(
        window, len(alike), max(alike, default=0.0), max(from_all), len(otherwise), max(otherwise, default=0.0)
    )


def _burn(counted):
    return counted.failures / counted.runs / (1 - OBJECTIVE) if counted.runs else 0.0


def paged_at(api, alert, target, between, *, step_s=15.0, wait_s=60.0):
    """When the alert would have fired first, None when it would not: its expression, held for its `for`."""
    expr = in_full(PAGES[alert])
    parameters = {"query": expr, "start": between[0], "end": between[1], "step": step_s}
    found = requests.get(f"{api}/query_range", params=parameters, timeout=60).json()
    assert found["status"] == "success", found
    held = next((one["values"] for one in found["data"]["result"] if one["metric"]["target"] == target), [])
    since = before = -math.inf
    for at, _ in held:
        since = at if at - before > 1.5 * step_s else since
        before = at
        if at - since >= wait_s:
            return at
    return None


def promised_s(interval_s, step_s=15.0):
    """How long all runs may fail until the windows' page: 14.4 times the budget of an hour, three failures, `for`."""
    return max(14.4 * (1 - OBJECTIVE) * 3600, 3 * interval_s) + SCRAPED_AFTER_S + 60.0 + step_s


def due_at(hand, begin, end, step_s=15.0, wait_s=60.0):
    """When the alert would have fired first by the runs alone, judged at the same instants as `paged_at`."""
    since = None
    for step in range(int((end - begin) / step_s) + 1):
        now = begin + step * step_s
        since = (now if since is None else since) if _burns(hand, now) else None
        if since is not None and now - since >= wait_s:
            return now
    return None


def _burns(hand, now):
    def too_fast(long, short, times):
        counted = [hand.over(WINDOWS[window], now) for window in (long, short)]
        return min(map(_burn, counted)) > times and counted[0].failures >= 3

    return too_fast("1h", "5m", 14.4) or too_fast("6h", "30m", 6.0)


def instants(seed, end, count, *, days=DAYS):
    """Anywhere but in the first three days; the last half of them in the last day, with all of the past before them."""
    chance = random.Random(seed)
    begins = [end - (days - 3.1) * DAY_S] * (count // 2) + [end - 0.9 * DAY_S] * (count - count // 2)
    return [chance.uniform(begin, end) for begin in begins]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--interval", type=float, default=15.0, help="of probes and scrapes, in seconds")
    parser.add_argument("--instants", type=int, default=200)
    options = parser.parse_args()
    # Prometheus drops what is older than its retention, so the past ends today.
    end = (time.time() // 3600 - 5) * 3600
    pasts = history(options.seed, end, interval_s=options.interval)
    print(f"{sum(len(one.runs) for one in pasts)} runs, {sum(run.failed for one in pasts for run in one.runs)} failed")
    with tempfile.TemporaryDirectory() as folder, prometheus(pasts, Path(folder)) as api:
        print("\nwindow  compared   by hand  from all runs  excepted  their difference")
        for one in differences(api, pasts, instants(options.seed, end, options.instants)):
            print(
                f"{one.window:6} {one.compared:9} {one.by_hand:9.1e} {one.from_all:14.1e} {one.excepted:9} {one.of_excepted:17.1e}"
            )
        print("\nspell                     ErrorBudgetBurns after     by hand  promised  ProbeDown after")
        for one in pasts:
            hand = Hand(one)
            for spell in one.spells:
                after = [
                    at and round(at - spell.begin)
                    for at in (
                        paged_at(api, "ErrorBudgetBurns", one.target, spell[:2]),
                        due_at(hand, spell.begin, spell.end),
                        paged_at(api, "ProbeDown", one.target, spell[:2], step_s=5.0, wait_s=5.0),
                    )
                ]
                told = f"{spell.share:.0%} for {(spell.end - spell.begin) / 60:.0f}m"
                promised = f"{promised_s(options.interval):.0f} s" if spell.share == 1 else ""
                print(f"{one.target} {told:22} {after[0]!s:>19} s {after[1]!s:>9} s {promised:>9} {after[2]!s:>14} s")
        pages = [
            (one.target, at, alert)
            for one in pasts
            for at in one.lonely
            for alert in ("ErrorBudgetBurns", "ProbeDown")
            if paged_at(api, alert, one.target, (at - 600, at + 7 * 3600)) is not None
        ]
        print(f"\n{sum(len(one.lonely) for one in pasts)} failed runs in quiet hours paged {len(pages)} times {pages}")


if __name__ == "__main__":
    main()
