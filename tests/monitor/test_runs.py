"""What is due is started: never twice at once, and where there is room."""

import asyncio
import time
from collections import Counter
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from servers import serve, silent

from perfmon import measure
from perfmon.clock import SystemClock
from perfmon.model import Module, Target
from perfmon.monitor.runs import HUNG_S, Runs
from perfmon.monitor.selfmetrics import Instruments
from perfmon.probes import http

pytestmark = pytest.mark.alone

INTERVAL_S = 0.1


class Begun:
    """Work that tells when it was begun, takes its time, and ends as it is told."""

    def __init__(self, *, takes_s=0.0, failed=False):
        self.at = []
        self.now = self.most = 0
        self.takes_s = takes_s
        self.failed = failed

    async def __call__(self):
        self.at.append(time.monotonic())
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(self.takes_s)
        finally:
            self.now -= 1
        return self.failed


@asynccontextmanager
async def running(*, in_flight=100, per_host=100):
    runs = Runs(SystemClock(), Instruments(), in_flight=in_flight, per_host=per_host)
    runs.schedule.start()
    yield runs
    await asyncio.wait_for(runs.stop(1.0), 2.0)
    assert 0 == runs.room.taken


def value(runs, name, **labels):
    return runs._instruments.registry.get_sample_value(name, labels)


def skipped(runs, why):
    return value(runs, "perfmon_schedule_skipped_total", why=why)


async def test_a_run_that_is_not_over_is_not_started_again():
    async with running() as runs:
        work = Begun(takes_s=0.25)
        runs.add("a", INTERVAL_S, work)
        runs.schedule.realign()
        await asyncio.sleep(0.65)

        assert 1 == work.most
        assert len(work.at) + skipped(runs, "running") == value(runs, "perfmon_schedule_due_total")
        assert skipped(runs, "running") >= 3


async def test_what_finds_no_room_at_its_host_waits_and_runs_and_is_not_called_late():
    """Ten of one host are due in half a second, two may run at once: the others wait for them, none is left out."""
    async with running(per_host=2) as runs:
        work = Begun(takes_s=0.06)
        for number in range(10):
            runs.add(f"{number}", 0.5, work, limited=True, host="shop")
        runs.schedule.realign()
        await asyncio.sleep(1.1)
        begun = value(runs, "perfmon_schedule_lateness_seconds_count")

        assert 2 == work.most
        assert 18 <= len(work.at)
        assert begun - 10 <= len(work.at) <= begun
        assert 0.0 == skipped(runs, "host")
        assert value(runs, "perfmon_schedule_wait_seconds_count", why="host") >= 5
        assert value(runs, "perfmon_schedule_lateness_seconds_sum") < 0.01 * begun + 0.1


async def test_targets_that_hang_leave_half_of_the_room_to_those_that_do_not():
    async with running(in_flight=4) as runs:
        dead, live = Begun(takes_s=2 * HUNG_S, failed=True), Begun()
        for number in range(20):
            runs.add(f"dead {number}", INTERVAL_S, dead, limited=True, host=f"{number}")
        runs.add("live", INTERVAL_S, live, limited=True, host="live")
        runs.schedule.realign()
        eventually_proven_s = 3.0  # the live one stands in line once, behind twenty that hang
        await asyncio.sleep(eventually_proven_s)
        before = len(live.at)
        await asyncio.sleep(1.0)

        assert 2 == dead.most
        assert 9 <= len(live.at) - before <= 11
        assert skipped(runs, "slow") > 100
        assert 0.0 == skipped(runs, "in_flight")


async def test_all_that_hang_are_asked_in_turn():
    """Stable phases would let the same ones lose each time, if they were skipped and did not wait."""
    async with running(in_flight=2) as runs:
        asked = Counter()

        def hanging(name):
            async def work():
                asked[name] += 1
                await asyncio.sleep(1.1 * HUNG_S)
                return True

            return work

        for name in range(8):
            runs.add(f"{name}", INTERVAL_S, hanging(name), limited=True)
        runs.schedule.realign()
        await asyncio.sleep(2.5)

        assert 8 == len(asked)
        assert max(asked.values()) - min(asked.values()) <= 1


async def test_a_failure_that_is_over_quickly_makes_nobody_wait():
    async with running(in_flight=2) as runs:
        work = Begun(failed=True)
        for number in range(5):
            runs.add(f"{number}", INTERVAL_S, work, limited=True)
        runs.schedule.realign()
        await asyncio.sleep(0.55)

        assert 20 <= len(work.at)
        assert 0.0 == skipped(runs, "slow")


async def test_what_is_taken_out_while_it_waits_never_runs_and_what_is_replaced_runs_anew():
    async with running(in_flight=1) as runs:
        first, gone, replaced, anew = Begun(takes_s=0.3), Begun(), Begun(), Begun()
        runs.add("first", INTERVAL_S, first, limited=True)
        runs.schedule.realign()
        await asyncio.sleep(0.15)
        runs.add("gone", INTERVAL_S, gone, limited=True)
        runs.add("replaced", INTERVAL_S, replaced, limited=True)
        runs.schedule.realign()
        await asyncio.sleep(0.12)
        runs.remove("gone")
        runs.add("replaced", INTERVAL_S, anew, limited=True)
        runs.schedule.realign()
        await asyncio.sleep(0.4)

        assert ([], []) == (gone.at, replaced.at)
        assert anew.at


async def test_what_is_replaced_while_it_waits_keeps_its_turn():
    """With an interval of an hour it would be an hour late."""
    async with running(in_flight=1) as runs:
        blocks, replaced, anew = Begun(takes_s=0.1), Begun(), Begun()
        for name, work in (("blocks", blocks), ("waits", replaced)):
            runs.add(name, 3600.0, work, limited=True)
            runs._enter(runs._entries[name])
        runs.add("waits", 3600.0, anew, limited=True)
        await asyncio.sleep(0.2)

        assert ([], 1) == (replaced.at, len(anew.at))


async def test_what_is_learned_of_a_former_life_while_it_runs_or_waits_takes_no_place_for_ever():
    async with running(in_flight=2) as runs:  # one place for suspects, and all are until they have run
        works = {name: Begun(takes_s=0.05) for name in ("running", "waiting", "third")}
        for name, work in works.items():
            runs.add(name, 3600.0, work, limited=True)
            runs._enter(runs._entries[name])
        runs.resume("running", failing=False)
        runs.resume("waiting", failing=False)
        await asyncio.sleep(0.3)

        assert [1, 1, 1] == [len(work.at) for work in works.values()]
        assert (0, 0) == (runs.room.taken, runs.room._suspects)


async def test_a_defect_spoils_one_run_and_gives_its_place_back():
    async def broken():
        raise RuntimeError("boom")

    async with running(in_flight=1) as runs:
        runs.add("a", INTERVAL_S, broken, limited=True)
        runs.schedule.realign()
        await asyncio.sleep(0.35)

        assert value(runs, "perfmon_defects_total", where="run") >= 2


async def test_the_end_starts_nobody_who_waits():
    async with running(in_flight=1) as runs:
        work = Begun(takes_s=0.3)
        for number in range(5):
            runs.add(f"{number}", INTERVAL_S, work, limited=True)
        runs.schedule.realign()
        await asyncio.sleep(0.25)
        begun = len(work.at)
    for number in range(5):  # as a reload does that was under way when the end began
        runs.add(f"{number}", INTERVAL_S, work, limited=True)
    await asyncio.sleep(0.1)

    assert begun == len(work.at)


async def test_probes_that_block_end_at_their_deadline_each_time_and_hold_up_no_end(network):
    """Case S02, at the shortest interval there is: 100 ms, timeout 50 ms; the server accepts and says nothing."""
    measured = []
    module = Module(name="http_2xx", kind="http", timeout_s=0.05, config=http.Config())
    async with serve(silent) as port:
        target = Target(probe="shop", address=f"http://127.0.0.1:{port}/")

        async def probe():
            measured.append(await measure.probe(target, module, clock=SystemClock(), network=network))
            return not measured[-1].success

        async with running() as runs:
            runs.add("shop", INTERVAL_S, probe, limited=True)
            runs.schedule.realign()
            await asyncio.sleep(1.0)
            began = time.monotonic()

    assert time.monotonic() - began < 0.3
    assert 9 <= len(measured) <= 11
    assert {"timeout"} == {one.failure.reason for one in measured}
    assert all(0.04 < one.duration_s < 0.1 for one in measured)


# ---------------------------------------------------------------- rechecks


class Told:
    """Work whose results a test sets, and which knows of each run when it was and whether it was a recheck."""

    def __init__(self, runs, *, failed, takes_s=0.0):
        self.runs = runs
        self.failed = failed
        self.takes_s = takes_s
        self.seen = []

    async def __call__(self):
        began = time.monotonic()
        await asyncio.sleep(self.takes_s)
        self.seen.append((began, self.runs.is_recheck("shop")))
        return self.failed

    def times(self, *, recheck):
        return [at for at, was in self.seen if was == recheck]


def gaps(times):
    return [later - earlier for earlier, later in pairwise(times)]


async def test_what_fails_is_rechecked_on_its_own_grid_until_it_is_fine():
    """No drift, no burst at either switch, and the due times stay what they are."""
    async with running() as runs:
        work = Told(runs, failed=True)
        runs.add("shop", 1.0, work, failing_s=0.2)
        runs.schedule.realign()
        await asyncio.sleep(2.5)
        work.failed = False
        await asyncio.sleep(0.3)
        rechecked = len(work.times(recheck=True))
        await asyncio.sleep(1.4)

        every = [at for at, _ in work.seen]
        assert 6 <= rechecked <= 12
        assert rechecked == len(work.times(recheck=True))
        assert all(0.9 < gap < 1.1 for gap in gaps(work.times(recheck=False)))
        assert 0.1 <= min(gaps(every))
        assert 4 <= len(work.times(recheck=False)) <= 5
        assert len(work.times(recheck=False)) == value(runs, "perfmon_schedule_due_total")
        assert 0.0 == skipped(runs, "running")


async def test_a_recheck_that_is_under_way_when_a_run_is_due_is_that_run():
    """Otherwise the failures of a target that hangs would be missing from what is counted."""
    async with running() as runs:
        work = Told(runs, failed=True, takes_s=0.28)
        runs.add("shop", 0.5, work, failing_s=0.3)
        runs.schedule.realign()
        await asyncio.sleep(3.2)

        assert 0.0 == skipped(runs, "running")
        assert abs(len(work.times(recheck=False)) - value(runs, "perfmon_schedule_due_total")) <= 1
        assert work.times(recheck=True) or gaps([at for at, _ in work.seen])


async def test_a_replaced_entry_that_fails_is_rechecked_on_and_a_removed_one_is_not():
    async with running() as runs:
        work, anew = Told(runs, failed=True), Told(runs, failed=True)
        runs.add("shop", 0.5, work, failing_s=0.1)
        runs.schedule.realign()
        await asyncio.sleep(0.75)
        runs.add("shop", 31.0, anew, failing_s=0.1)
        runs.schedule.realign()
        await asyncio.sleep(0.5)
        runs.remove("shop")
        runs.schedule.realign()
        await asyncio.sleep(0.02)  # one may have been under way
        rechecked = len(anew.seen)
        await asyncio.sleep(0.3)

        assert 3 <= rechecked <= 6
        assert rechecked == len(anew.seen)
