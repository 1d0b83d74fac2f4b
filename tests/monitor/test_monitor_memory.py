"""What a check came to over months, through ends of the daemon that are orderly and others."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfmon.clock import ManualClock
from perfmon.model import Check, Failure, Measurement, Module, Target
from perfmon.monitor.memory import Memory
from perfmon.monitor.series import Series
from perfmon.monitor.store import Store

SHOP = Check(
    target=Target(probe="shop", address="x"),
    module=Module(name="http_2xx", kind="http", timeout_s=5.0, config=None),
    interval_s=20.0,
)
REFUSED = Failure(reason="connect_refused", phase="connect", message="connection refused by 10.0.0.1:80")
STATUS = Failure(reason="status", phase="processing", message="status 503")


class Life:
    """A daemon's life with nothing but its memory; `kill` ends it with what was noted."""

    def __init__(self, path, clock, *checks):
        self.clock = clock
        self.series = Series(clock)
        self.store = Store(path, clock=clock)
        self.memory = Memory(
            clock=clock, store=self.store, series=self.series, exposition=None, runs=None, may_bring=lambda _key: False
        )
        self.memory.recall()
        self.watch(*checks)
        asyncio.run(self.memory.take_up({check.key: check for check in checks}))

    def watch(self, *checks):
        for check in checks:
            self.series.add_check(check)
            self.memory.greet(check.key)
        asyncio.run(self.memory.recount())

    def run(self, *failures, interval_s=20.0):
        """One run for each, None for one that succeeds; what is new is written down."""
        for failure in failures:
            past = self.series.checks[SHOP.key]
            turned = past.last is None or past.last.failure is not failure
            ran = Measurement(
                target=SHOP.target, module="http_2xx", at=self.clock.monotonic(), duration_s=0.012, phases={}, facts={},
                failure=failure,
            )  # fmt: skip
            closed = self.series.add(SHOP.key, ran)
            if closed is not None:
                self.memory.closed(SHOP.key, closed)
            if turned:
                self.memory.turned(SHOP.key)
            self.clock.advance(interval_s)
        asyncio.run(self.memory.note())

    def counts(self, span_s=86_400.0):
        return tuple(self.series.checks[SHOP.key].counts(span_s, self.series.minute(self.clock.monotonic())))

    def incidents(self):
        return self.series.checks[SHOP.key].incidents.newest_first()

    def end(self):
        self.memory.note_all()
        assert self.store.close()

    def kill(self):
        self.store.close()


@pytest.fixture
def clock():
    return ManualClock(wall=1_800_000_000.0)


@given(lives=st.lists(st.tuples(st.lists(st.booleans(), min_size=1, max_size=150), st.integers(60, 4_000)), max_size=4))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_orderly_ends_lose_and_double_nothing(tmp_path_factory, lives):
    path, clock = tmp_path_factory.mktemp("state") / "perfmon.sqlite3", ManualClock(wall=1_800_000_000.0)
    runs = failures = 0
    for outcomes, pause_s in lives:
        life = Life(path, clock, SHOP)
        life.run(*(REFUSED if failed else None for failed in outcomes))
        runs, failures = runs + len(outcomes), failures + sum(outcomes)
        assert (runs, failures) == life.counts()
        life.end()
        clock.advance(pause_s)


@given(lives=st.lists(st.lists(st.booleans(), max_size=9), min_size=2, max_size=8), pause_s=st.integers(0, 20))
@settings(max_examples=25, deadline=None)
def test_restarts_within_a_minute_lose_and_double_nothing_of_the_hour(tmp_path_factory, lives, pause_s):
    path, clock = tmp_path_factory.mktemp("state") / "perfmon.sqlite3", ManualClock(wall=1_800_000_000.0)
    runs = failures = 0
    for outcomes in lives:
        life = Life(path, clock, SHOP)
        life.run(*(REFUSED if failed else None for failed in outcomes), interval_s=2.0)
        runs, failures = runs + len(outcomes), failures + sum(outcomes)
        assert [(runs, failures)] * 2 == [life.counts(span_s) for span_s in (3_600.0, 86_400.0)]
        life.end()
        clock.advance(pause_s)


def test_a_killed_daemon_loses_only_the_minute_that_was_open(tmp_path, clock):
    path = tmp_path / "perfmon.sqlite3"
    life = Life(path, clock, SHOP)
    life.run(*[None] * 100, *[REFUSED] * 30)  # the last minute has two of them
    before = life.counts()
    opened = life.series.checks[SHOP.key].open_minute()
    life.kill()
    after = Life(path, clock, SHOP)
    counted = after.counts()
    after.end()

    assert (130, 30) == before
    assert (130 - opened.runs, 30 - opened.failures) == counted
    assert 0 < opened.runs <= 3


def test_spans_are_summed_by_minutes_quarters_and_days(tmp_path, clock):
    life = Life(tmp_path / "perfmon.sqlite3", clock, SHOP)
    for _ in range(10):
        life.run(*[None] * 23, REFUSED, interval_s=3_600.0)
    life.run(REFUSED, interval_s=0.0)

    assert (1, 1) == life.counts(300.0)
    assert (2, 2) == life.counts(7_200.0)
    assert (72, 4) == life.counts(3 * 86_400.0)
    assert (241, 11) == life.counts(30 * 86_400.0)
    life.end()


def test_a_check_that_comes_back_has_its_history_again(tmp_path, clock):
    life = Life(tmp_path / "perfmon.sqlite3", clock, SHOP)
    life.run(None, REFUSED, None)
    life.memory.forget(SHOP.key)
    life.series.remove(SHOP.key)
    life.end()
    life = Life(tmp_path / "perfmon.sqlite3", clock)
    life.watch(SHOP)
    closed = life.counts()
    life.run(None)

    assert 1 <= len(life.incidents())
    assert closed[0] + 1 == life.counts()[0]
    life.end()


def test_an_incident_has_its_times_its_causes_and_what_was_before(tmp_path, clock):
    life = Life(tmp_path / "perfmon.sqlite3", clock, SHOP)
    life.run(*[None] * 10, REFUSED, REFUSED, STATUS, None, None)
    (incident,) = life.incidents()
    life.end()

    assert (60.0, 40.0) == (incident.ended_at - incident.began_at, incident.last_at - incident.began_at)
    assert [("connect_refused", "connect", 2), ("status", "processing", 1)] == [
        (cause.reason, cause.phase, cause.runs) for cause in incident.causes
    ]
    assert 3 == incident.runs
    assert "connection refused by 10.0.0.1:80" == incident.message
    assert pytest.approx(0.012) == incident.p95_before_s


def test_an_incident_that_a_restart_interrupts_is_one(tmp_path, clock):
    path = tmp_path / "perfmon.sqlite3"
    life = Life(path, clock, SHOP)
    life.run(None, REFUSED, REFUSED)
    began = life.incidents()[0].began_at
    life.end()
    clock.advance(100.0)
    after = Life(path, clock, SHOP)
    after.run(REFUSED, None)
    (incident,) = after.incidents()
    after.end()

    assert (began, 160.0, 3) == (incident.began_at, incident.ended_at - incident.began_at, incident.runs)


def test_a_history_that_is_read_late_joins_what_failed_meanwhile(tmp_path, clock):
    path = tmp_path / "perfmon.sqlite3"
    life = Life(path, clock, SHOP)
    life.run(None, REFUSED, REFUSED)
    life.end()
    after = Life(path, clock)
    after.series.add_check(SHOP)
    after.memory.greet(SHOP.key)
    after.run(REFUSED, STATUS)
    asyncio.run(after.memory.recount())
    (incident,) = after.incidents()
    counted = after.counts()
    after.end()

    assert (4, [("connect_refused", 3), ("status", 1)]) == (
        incident.runs, [(cause.reason, cause.runs) for cause in incident.causes],
    )  # fmt: skip
    assert (5, 4) == counted


def test_an_incident_that_was_over_when_somebody_looked_again_has_ended(tmp_path, clock):
    path = tmp_path / "perfmon.sqlite3"
    life = Life(path, clock, SHOP)
    life.run(None, REFUSED)
    life.end()
    after = Life(path, clock)
    after.series.add_check(SHOP)
    after.memory.greet(SHOP.key)
    after.run(None)
    asyncio.run(after.memory.recount())
    (incident,) = after.incidents()
    after.end()

    assert 20.0 == incident.ended_at - incident.began_at


def test_of_a_target_that_flaps_the_newest_incidents_are_kept(tmp_path, clock):
    life = Life(tmp_path / "perfmon.sqlite3", clock, SHOP)
    life.run(*[REFUSED, None] * 30)
    known = life.incidents()
    life.end()

    assert 20 == len(known)
    assert sorted((one.began_at for one in known), reverse=True) == [one.began_at for one in known]
