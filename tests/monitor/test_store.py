"""The state file: what it brings back, and what it does when the disk does not."""

import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest
from listener import eventually
from msgspec.structs import replace
from structlog.testing import capture_logs

from perfmon.clock import ManualClock, SystemClock
from perfmon.errors import UsageError
from perfmon.model import Alert, Failure, Measurement, Target, Verdict
from perfmon.monitor import store as store_module
from perfmon.monitor.recent import Spell
from perfmon.monitor.store import MinuteRow, Store
from perfmon.receivers import Notice

LABELS = {"alertname": "Down", "severity": "critical", "target": "x"}
FIRING = Alert(
    rule="Down",
    labels=LABELS,
    series="shop/x",
    state="firing",
    active_at=900.0,
    fired_at=910.25,
    broken_at=990.0,
    verdict=Verdict(level="critical", why="is 2, expected < 1", value=2.0),
    annotations={"summary": "down"},
)
NOTICE = Notice(labels=LABELS, annotations={}, why="", starts_at=1.5)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "perfmon.sqlite3"


@pytest.fixture
def open_store():
    """Stores that are closed at the end, whatever happens."""
    opened = []

    def open_(path, **kwargs):
        store = Store(path, **({"clock": ManualClock()} | kwargs))
        opened.append(store)
        return store

    yield open_
    for store in opened:
        store.close()


@pytest.fixture
def impatient(monkeypatch):
    """Retries come at once."""
    monkeypatch.setattr(store_module, "RETRY_S", 0.02)


def rows(path, sql):
    db = sqlite3.connect(path)
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


def minutes(count, start=1_800_000_000.0):
    return [MinuteRow("shop/x", start + 60 * number, [10, 1, 0.25, None]) for number in range(count)]


def test_alerts_come_back_with_monotonic_instants_of_the_new_life(path, open_store):
    store = open_store(path)
    store.put_alerts([FIRING])
    store.close()

    later = ManualClock(monotonic=50.0, wall=1_800_000_100.0)
    [alert] = open_store(path, clock=later).alerts()

    assert (FIRING.labels, FIRING.state, FIRING.verdict) == (alert.labels, alert.state, alert.verdict)
    assert (50.0 - 200.0, 50.0 - 189.75) == (alert.active_at, alert.fired_at)


def test_an_instant_has_one_unix_time_whatever_the_clock_does(path, open_store):
    clock = ManualClock()
    store = open_store(path, clock=clock)
    store.put_alerts([FIRING])
    first = store.wall(FIRING, FIRING.fired_at)
    clock.step_wall(-3600)
    store.put_alerts([FIRING])
    store.close()

    reopened = open_store(path, clock=ManualClock(monotonic=7.0, wall=1_800_000_777.7))
    [alert] = reopened.alerts()

    assert first == store.wall(FIRING, FIRING.fired_at) == reopened.wall(alert, alert.fired_at)


def test_an_instant_that_the_clock_says_is_to_come_is_taken_for_now(path, open_store):
    store = open_store(path)
    store.put_alerts([FIRING])
    store.close()

    set_back = ManualClock(monotonic=5.0, wall=1_000_000_000.0)
    [alert] = open_store(path, clock=set_back).alerts()

    assert (5.0, 5.0) == (alert.active_at, alert.fired_at)


def test_forgotten_alerts_do_not_come_back(path, open_store):
    store = open_store(path)
    store.put_alerts([FIRING])
    store.forget_alerts([FIRING])
    store.close()

    assert [] == open_store(path).alerts()


def test_the_outbox_keeps_order_and_forgets_what_arrived(path, open_store):
    over = Notice(labels=LABELS, annotations={}, why="", starts_at=1.0, ends_at=1.25)
    store = open_store(path)
    store.put_outbox("pager", "a", [over, NOTICE])
    store.put_outbox("pager", "b", [NOTICE])
    store.put_outbox("log", "a", [NOTICE])
    store.put_outbox("pager", "b", [])
    store.close()

    assert {"pager": [over, NOTICE], "log": [NOTICE]} == open_store(path).outbox()


def test_what_is_put_together_is_written_together_or_not_at_all(path, open_store):
    store = open_store(path)
    with store.together() as written:
        store.put_alerts([FIRING])
        time.sleep(0.05)  # the writer has all the time it wants
        assert not rows(path, "SELECT 1 FROM alerts")
        store.put_outbox("pager", "a", [NOTICE])
        assert not written.is_set()

    assert written.wait(5)
    assert [(1, 1)] == rows(path, "SELECT (SELECT count(*) FROM alerts), (SELECT count(*) FROM outbox)")


def test_minutes_come_back_in_order_and_old_ones_are_dropped(path, open_store):
    clock = ManualClock()
    store = open_store(path, clock=clock)
    store.put_minutes(reversed(minutes(3)))
    store.put_minutes([MinuteRow("shop/x", 1_800_000_000.0, [99])])
    store.close()

    clock.advance(7_260)
    store = open_store(path, clock=clock)
    assert [[99], [10, 1, 0.25, None]] == [row.values for row in store.minutes(1_800_000_000.0)][:2]
    assert minutes(3)[2:] == store.minutes(1_800_000_120.0)

    store.put_minutes([MinuteRow("new", clock.wall(), [1])])
    store.close()
    assert [1_800_000_060.0, 1_800_000_120.0] == [row.start for row in store.minutes(0)][:2]


def test_last_results_come_back_with_their_tries_on_the_new_lifes_clock(path, open_store):
    target = Target(probe="shop", address="x", labels={"team": "web"})
    failure = Failure(reason="status", phase="transfer", message="got 503", evidence={"status": "503"})
    first = Measurement(
        target=target, module="m", at=990.0, duration_s=0.5, phases={"tls": 0.25}, facts={}, failure=failure
    )
    last = replace(
        first, at=995.0, failure=None, facts={"probe_ip_protocol": 4.0}, earlier=(first,), address="127.0.0.1"
    )
    store = open_store(path)
    store.put_results({"shop/x": first, "shop/gone": first})
    store.put_results({"shop/x": last})
    store.forget_result("shop/gone")
    store.forget_result("never there")
    store.close()
    later = open_store(path, clock=ManualClock(monotonic=50.0, wall=1_800_003_600.0))

    assert ["shop/x"] == later.with_results()
    assert replace(last, at=-3555.0, earlier=(replace(first, at=-3560.0),)) == later.result("shop/x")
    assert later.result("shop/gone") is None


def test_a_file_of_the_version_before_is_brought_up_to_date(path, open_store):
    """It has alerts, and no results and summaries yet."""
    store = open_store(path)
    store.put_alerts([FIRING])
    store.close()
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE results")
        db.execute("DROP TABLE failures")
        db.execute("DELETE FROM migrations WHERE version > 1")
        db.execute("DROP TABLE summaries")
        db.execute("DROP TABLE found")
        db.execute("DROP TABLE histories")
        db.execute("DROP TABLE deliveries")
        db.execute("DROP TABLE profiled")
    db.close()
    later = open_store(path)

    assert ([], [FIRING], []) == (later.with_results(), later.alerts(), later.summaries(0.0))


def test_it_says_how_long_nobody_watched(path, open_store):
    clock = ManualClock()
    store = open_store(path, clock=clock)
    assert store.unwatched_s() == 0.0
    clock.advance(10)
    store.close()
    clock.advance(33)

    assert open_store(path, clock=clock).unwatched_s() == 33.0


def test_without_a_path_nothing_is_kept_but_everything_works(open_store, tmp_path):
    store = open_store("")
    with store.together() as written:
        store.put_alerts([FIRING])
        store.put_outbox("pager", "a", [NOTICE])
    store.put_minutes(minutes(1))

    assert written.is_set()
    assert ([], {}, []) == (store.alerts(), store.outbox(), store.minutes(0))
    assert store.wall(FIRING, 1000.0) == 1_800_000_000.0
    assert store.close()
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"this was never a database" * 100, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_corrupt_file_is_set_aside_and_a_new_one_begun(path, open_store, content):
    path.parent.mkdir()
    path.write_bytes(content)

    with capture_logs() as logs:
        store = open_store(path)
        store.put_alerts([FIRING])
        assert store.close()

    [line] = [line for line in logs if line["log_level"] == "error"]
    assert line["event"] == "state file is corrupt, it was set aside and a new one begun"
    assert line["aside"] == f"{path}.corrupt-20270115T080000Z"
    assert content == path.with_name("perfmon.sqlite3.corrupt-20270115T080000Z").read_bytes()
    assert [FIRING.labels] == [alert.labels for alert in open_store(path).alerts()]


def test_a_file_that_goes_corrupt_while_it_is_open_is_begun_anew_with_all_that_holds(path, open_store, impatient):
    store = open_store(path)
    with store.together() as written:
        store.put_alerts([FIRING])
    written.wait(5)
    other = sqlite3.connect(path)
    other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.close()
    with path.open("r+b") as file:
        file.seek(0)
        file.write(b"\xff" * path.stat().st_size)

    store.put_outbox("pager", "a", [NOTICE])
    eventually(lambda: list(path.parent.glob("*.corrupt-*")) and path.exists())
    assert store.close()

    reopened = open_store(path)
    assert [FIRING.labels] == [alert.labels for alert in reopened.alerts()]
    assert {"pager": [NOTICE]} == reopened.outbox()


def test_a_file_that_another_perfmon_uses_is_refused_until_that_has_ended(path, open_store):
    first = open_store(path)
    with pytest.raises(UsageError, match=r'perfmon\.sqlite3" is in use by another perfmon'):
        Store(path, clock=ManualClock())
    first.put_alerts([FIRING])
    first.close()

    assert ["Down"] == [alert.rule for alert in open_store(path).alerts()]


def test_a_file_of_a_newer_perfmon_is_set_aside(path, open_store):
    open_store(path).close()
    db = sqlite3.connect(path)
    db.execute("INSERT INTO migrations VALUES (99, 0)")
    db.commit()
    db.close()

    with capture_logs() as logs:
        open_store(path)

    assert "version 99 was written by a newer perfmon, this one knows 8" in [line.get("error") for line in logs]


def test_a_full_disk_stops_nothing_and_is_caught_up_with_later(path, open_store, impatient):
    errors = []
    store = open_store(path, on_error=lambda: errors.append(1))
    with store.together() as written:
        store.put_alerts([FIRING])
    assert written.wait(5)
    pages = store._file._db.execute("PRAGMA page_count").fetchone()[0]
    store._file._db.execute(f"PRAGMA max_page_count = {pages}")
    reopen = store._file._open

    def open_on_a_full_disk():
        db = reopen()
        db.execute(f"PRAGMA max_page_count = {pages}")
        return db

    store._file._open = open_on_a_full_disk
    big = Notice(labels=LABELS, annotations={"text": "x" * 50_000}, why="", starts_at=1.0)
    with capture_logs() as logs:
        store.put_outbox("pager", "a", [big])
        eventually(lambda: len(errors) >= 3)
        began = time.monotonic()
        with store.together() as hopeless:
            store.forget_alerts([FIRING])
        assert hopeless.wait(0.5), "nobody waits for a disk that takes nothing"
        assert time.monotonic() - began < 0.5
        assert store._lost == 0
        store._file._open = reopen
        store._file.close()
        eventually(lambda: logs[-1]["event"] == "state file is written again")

    assert ["database or disk is full"] == [line["error"] for line in logs if line["log_level"] == "error"]
    assert store.close()
    reopened = open_store(path)
    assert ([], {"pager": [big]}) == (reopened.alerts(), reopened.outbox())


def test_minutes_wait_for_the_disk_up_to_a_bound_and_losses_are_counted(path, open_store, impatient, monkeypatch):
    monkeypatch.setattr(store_module, "MINUTES_WAITING", 5)
    path.parent.mkdir()
    path.mkdir()  # a folder where the file should be
    lost = []
    with capture_logs() as logs:
        store = open_store(path, on_lost=lost.append)
        store.put_minutes(minutes(7))
        store.put_minutes(minutes(2, start=1_800_001_000.0))
        assert sum(lost) == 4
        path.rmdir()
        eventually(lambda: logs[-1]["event"] == "state file is written again")
    store.close()

    assert [line["minutes_lost"] for line in logs if "minutes_lost" in line] == [4]
    assert [row.start for row in store.minutes(0)] == [
        *(1_800_000_240.0 + 60 * number for number in range(3)),
        1_800_001_000.0,
        1_800_001_060.0,
    ]


@pytest.mark.parametrize("folder", ["a file, no folder", "/proc/nobody may write here, not even root"])
def test_a_folder_that_cannot_be_written_is_no_reason_to_stop(tmp_path, open_store, folder):
    (tmp_path / "a file, no folder").write_text("")

    with capture_logs() as logs:
        store = open_store(tmp_path / folder / "perfmon.sqlite3")
        with store.together() as written:
            store.put_alerts([FIRING])
        assert written.is_set()
        assert [] == store.alerts() == store.minutes(0)
        assert not store.close(), "it does not pretend"

    said = [line["event"] for line in logs]
    assert 1 == said.count("state file cannot be written, perfmon goes on without it")
    assert "state was not written completely before the end" == said[-1]


def test_a_record_that_is_not_understood_is_left_out(path, open_store):
    store = open_store(path)
    store.put_alerts([FIRING])
    store.close()
    db = sqlite3.connect(path)
    db.execute("INSERT INTO alerts VALUES ('shop/y', 'f', x'7b7d')")
    db.commit()
    db.close()

    with capture_logs() as logs:
        [alert] = open_store(path).alerts()

    assert alert.series == "shop/x"
    assert "a record of the state file is not understood and left out" == logs[0]["event"]


_WRITES = """
import itertools, sys
from perfmon.clock import SystemClock
from perfmon.monitor.recent import Spell
from perfmon.monitor.store import Store
from perfmon.receivers import Notice
store = Store(sys.argv[1], clock=SystemClock())
for number in itertools.count():
    notice = Notice(labels={"alertname": str(number)}, annotations={}, why="", starts_at=number)
    with store.together() as written:
        store.put_outbox("one", "x", [notice])
        store.put_outbox("other", "x", [notice])
    written.wait()
    print(number, flush=True)
"""


def test_after_sigkill_everything_that_was_said_to_be_written_is_there(path, open_store):
    with subprocess.Popen([sys.executable, "-c", _WRITES, path], stdout=subprocess.PIPE, text=True) as child:
        last = 0
        for line in child.stdout:
            last = int(line)
            if last == 20:
                child.send_signal(signal.SIGKILL)

    outbox = open_store(path).outbox()

    assert outbox["one"] == outbox["other"]
    assert outbox["one"][0].starts_at >= last >= 20


# ---------------------------------------------------------------- what last failed


def spell(first_at, last_at, runs=1):
    return Spell(
        first_at=first_at, last_at=last_at, runs=runs, reason="status", phase="processing", message="status 503",
        evidence={"status": "503"}, phases={"connect": 0.25}, duration_s=0.5, address="10.0.0.1",
    )  # fmt: skip


def test_the_last_failures_of_a_series_are_known_after_a_restart(tmp_path):
    clock = ManualClock()
    store = Store(tmp_path / "state.db", clock=clock)
    store.put_failures("shop/a", [spell(9.0, 9.0)])
    store.put_failures("shop/a", [spell(4.0, 6.0, runs=3), spell(1.0, 2.0)])
    store.put_failures("shop/gone", [spell(1.0, 1.0)])
    store.put_failures("shop/gone", [])
    assert store.close()
    later = ManualClock(monotonic=5_000.0, wall=clock.wall() + 60)
    again = Store(tmp_path / "state.db", clock=later)
    found = again.failures()
    again.close()

    gone_by = 5_000.0 - 60 - clock.monotonic()
    assert {"shop/a": [spell(4.0 + gone_by, 6.0 + gone_by, runs=3), spell(1.0 + gone_by, 2.0 + gone_by)]} == found


def test_failures_of_a_file_written_by_an_older_perfmon_are_none(tmp_path):
    path = tmp_path / "state.db"
    Store(path, clock=SystemClock()).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE failures")
        db.execute("DROP TABLE summaries")
        db.execute("DROP TABLE found")
        db.execute("DROP TABLE histories")
        db.execute("DROP TABLE deliveries")
        db.execute("DROP TABLE profiled")
        db.execute("DELETE FROM migrations WHERE version >= 3")
        db.commit()
    store = Store(path, clock=SystemClock())
    store.put_failures("shop/a", [spell(1.0, 1.0)])
    store.close()

    again = Store(path, clock=SystemClock())
    assert ["shop/a"] == list(again.failures())
    again.close()
