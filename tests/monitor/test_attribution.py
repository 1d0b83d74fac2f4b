"""An alert that says where it leaks: real processes, looked into by memray when a leak's alert begins to fire."""

import asyncio
import contextlib
import subprocess
import sys
import time

import programs
import pytest
from daemon import eventually, perfmon, service
from programs import running

from perfmon.clock import SystemClock
from perfmon.model import Alert
from perfmon.monitor.attribution import FLAMEGRAPH, STACK, Attributions, Said, in_text
from perfmon.monitor.flamegraphs import KEPT, Flamegraphs
from perfmon.monitor.store import Store
from perfmon.procfs import Procfs
from perfmon.profile.order import Order
from perfmon.profile.sites import Frame, Site

LEAKY = """
import time
kept = []
def remember():
    kept.append(bytearray(b"x" * 200_000))
for _ in range(1200):  # 240 MB at most
    remember()
    time.sleep(0.05)
"""
PRIVATE = "perfmon_process_private_memory_bytes"
FIRING = Alert(rule="MemoryLeak", labels={"severity": "warning"}, series="shop", state="firing", fired_at=0.0)


# ---------------------------------------------------------------- by the daemon


@pytest.fixture
def leaky():
    """Two processes that leak alike."""
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(subprocess.Popen([sys.executable, "-c", LEAKY])) for _ in range(2)]
        yield [process.pid for process in processes]
        for process in processes:
            process.kill()


@pytest.mark.servers
def test_receivers_are_told_where_it_leaks_and_nobody_is_looked_into_without_leave(leaky, tmp_path, binary):
    binary("gdb")
    open_pid, closed_pid = leaky
    with service() as pager:
        file = tmp_path / "perfmon.yml"
        file.write_text(
            f"""
samplers:
  - name: open
    interval: 100ms
    process: {{groups: [{{name: shop, pid: {open_pid}}}], profile: true, profile_short: 1s, profile_long: 2s}}
  - {{name: closed, interval: 100ms, process: {{groups: [{{name: shop, pid: {closed_pid}}}]}}}}
rules: [{{name: MemoryLeak, metric: {PRIVATE}, leak: {{window: 16s, limit: 1GiB, agree: 2}}}}]
receivers: [{{name: pager, webhook: {{url: "{pager.url}/"}}}}]
state: {{path: state.sqlite3}}
"""
        )

        def told(sampler):
            alerts = [alert for post in pager.posted for alert in post["alerts"]]
            return [alert for alert in alerts if alert["labels"]["sampler"] == sampler and alert["status"] == "firing"]

        with perfmon(tmp_path, f"--config.file={file}") as daemon:
            first, again = eventually(lambda: told("open")[1:] and told("open"), "it is told again", within_s=60)[:2]
            assert STACK not in first["annotations"]
            assert again["annotations"][STACK].startswith("remember (<string>:5)  ")
            page = tmp_path / "flamegraphs" / again["annotations"][FLAMEGRAPH].rpartition("/")[2]
            assert ("html", 0o700) == (page.name.rpartition(".")[2], page.parent.stat().st_mode & 0o777)
            assert "remember" in page.read_text()
            assert first["fingerprint"] == again["fingerprint"]
            assert 1.0 == daemon.metric("perfmon_profiles_total", sampler="open", outcome="found")
            eventually(lambda: told("closed"), "the other fires too", within_s=30)
            assert b"memray" not in Procfs().read(f"{closed_pid}/maps")
            assert None is daemon.metric("perfmon_profiles_total", sampler="closed")
            assert 0 == daemon.stop()

        with perfmon(tmp_path, f"--config.file={file}") as daemon:
            known = {alert["labels"]["sampler"]: alert["annotations"] for alert in daemon.alerts()}
            assert again["annotations"][STACK] == known["open"][STACK]
            assert STACK not in known["closed"]


# ---------------------------------------------------------------- one process


class World:
    """Attributions over one process, and what came of them."""

    def __init__(self, pid, *, short_s=1, long_s=2, every_s=3600.0, store=None):
        store = Store("", clock=SystemClock()) if store is None else store
        self.texts, self.outcomes, self.defects, self.aside = [], [], [], []
        self.allowed = Order(pid=pid, every_s=every_s, short_s=short_s, long_s=long_s)
        self.attributions = Attributions(
            clock=SystemClock(),
            order=lambda _: self.allowed,
            annotate=lambda _, notes: self.texts.append(notes[STACK]),
            graphs=Flamegraphs(""),
            set_aside=self.set_aside,
            on_outcome=lambda _, outcome: self.outcomes.append(outcome),
            on_defect=lambda _, error: self.defects.append(error),
            not_before=store.not_profiled_before(),
            remember=store.put_profiled,
        )

    @contextlib.contextmanager
    def set_aside(self, series):
        self.aside.append(series)
        yield
        self.aside.append("back")


async def until(true, within_s=20.0):
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


@pytest.mark.servers
async def test_a_target_without_memray_gives_the_words_and_is_left_alone_for_the_time(binary):
    binary("gdb")
    with running(programs.IS_HEALTHY, python=(sys._base_executable, "-I", "-S")) as target:
        world = World(target.pid)
        world.attributions.consider([FIRING, FIRING])
        await until(lambda: world.texts)
        world.attributions.consider([FIRING])
        await world.attributions.stop(5.0)

        way_out = "install it there (pip install memray)"
        assert [f"not attributed: memray is missing in the Python of pid {target.pid}: {way_out}"] == world.texts
        assert (["no_memray"], [], ["shop", "back"]) == (world.outcomes, world.defects, world.aside)
        assert target.is_unharmed()


@pytest.mark.servers
async def test_a_daemon_that_ends_leaves_the_target_in_order(binary):
    binary("gdb")
    with running(programs.LEAKS_SMALL_OBJECTS) as target:
        world = World(target.pid, short_s=30, long_s=60)
        world.attributions.consider([FIRING])
        await until(lambda: b"memray" in Procfs().read(f"{target.pid}/maps"))
        await world.attributions.stop(20.0)

        assert (["ended"], [], []) == (world.outcomes, world.texts, world.defects)
        assert target.is_unharmed()


async def test_an_alert_that_was_resolved_before_its_turn_is_not_looked_into():
    world = World(0)
    world.attributions.consider([FIRING])
    world.attributions.consider([Alert(rule="MemoryLeak", labels=FIRING.labels, series="shop", resolved_at=1.0)])
    await world.attributions.stop(5.0)

    assert ([], [], []) == (world.outcomes, world.texts, world.defects)


@pytest.fixture
def ended():
    """The pid of a process that is gone."""
    with subprocess.Popen(["/bin/true"]) as process:
        process.wait()
    return process.pid


@pytest.mark.parametrize(("every_s", "outcomes"), [(3600.0, 1), (1e-6, 2)])
async def test_a_restart_does_not_shorten_the_time_between_two_profiles(ended, tmp_path, every_s, outcomes):
    came = 0
    for _ in range(2):
        store = Store(tmp_path / "state.sqlite3", clock=SystemClock())
        world = World(ended, every_s=every_s, store=store)
        world.attributions.consider([FIRING])
        if not came or outcomes == 2:
            await until(lambda world=world: world.outcomes)
        await world.attributions.stop(5.0)
        store.close()
        came += len(world.outcomes)

    assert outcomes == came


# ---------------------------------------------------------------- its words


def test_a_place_stands_before_its_figures_and_its_callers_after_them():
    stack = (Frame("remember", "shop.py", 31), Frame("checkout", "shop.py", 58))

    said = Said(sites=(Site(stack, 2560.0, 218_000.0),))

    assert "remember (shop.py:31)  2560 blocks/s, 213 KiB/s  < checkout (shop.py:58)" == in_text(said)


def test_names_without_end_do_not_make_texts_without_end():
    long = Site((Frame("\u00e9" * 5000, "shop\n.py", 1),), 1.0, 1.0)

    text = in_text(Said(sites=(long,) * 5))

    assert 1000 < len(text.encode()) <= 2000
    assert "\u00e9" == text[0]


def test_places_that_hardly_grow_are_left_out_and_few_large_buffers_are_not():
    """Who is woken reads what matters."""
    places = {"leak": (500.0, 40_000.0), "buffers": (0.2, 90_000.0), "noise": (0.17, 90.0), "shrinks": (1.0, -7.16)}
    said = Said(sites=tuple(Site((Frame(name, "a.py", 1),), *grows) for name, grows in places.items()))

    assert ["leak", "buffers"] == [line.split(" ", 1)[0] for line in in_text(said).splitlines()]


def test_when_nothing_grows_it_says_so():
    assert "nothing grew while it was looked at" == in_text(Said())


# ---------------------------------------------------------------- its flamegraphs


def test_the_newest_flamegraphs_are_kept_and_no_more(tmp_path):
    graphs = Flamegraphs(str(tmp_path / "state.sqlite3"))
    for number in range(KEPT + 5):
        graphs.place(4711, 1_800_000_000.0 + 60 * number).write_text(str(number))
    kept = sorted(tmp_path.glob("flamegraphs/*.html"))

    assert list(map(str, range(5, KEPT + 5))) == [page.read_text() for page in kept]


def test_without_a_place_for_state_or_for_a_folder_none_is_kept(tmp_path):
    (tmp_path / "flamegraphs").write_text("a file")

    assert [None, None] == [Flamegraphs(path).place(1, 0.0) for path in ("", str(tmp_path / "state.sqlite3"))]
