"""One group with all that is known of it, as its page gets it."""

import msgspec
import pytest

from perfmon import kinds
from perfmon.clock import ManualClock
from perfmon.measure import Reading
from perfmon.model import Rule, Sample, Sampler
from perfmon.monitor.resources import MOST_POINTS, Wanted, group
from perfmon.monitor.rule import Rules
from perfmon.monitor.series import Series
from perfmon.monitor.store import Store

LEAK = kinds.load("conditions", "leak")
MEMORY = "perfmon_process_private_memory_bytes"
BORN = "perfmon_process_oldest_start_timestamp_seconds"
SHOP = Wanted(sampler="services", group="shop")


class World:
    """A sampler that reads what a test says, and a rule that looks for leaks in it."""

    def __init__(self, *, kind="process", name="services", limit="1GiB", metric=MEMORY):
        config = LEAK.parse({"window": "20m", "limit": limit, "agree": 1})
        rule = Rule(name="MemoryLeak", kind="leak", config=config, metric=metric, for_s=LEAK.for_s(config))
        self.clock = ManualClock()
        self.series = Series(self.clock)
        self.sampler = Sampler(name=name, kind=kind, interval_s=5.0, config=None)
        self.series.add_sampler(self.sampler)
        self.rules = Rules(
            [rule], window=self.series.window, long_window=self.series.long_window, show=lambda *_: None,
            store=Store("", clock=self.clock), tell=lambda _: None, clock=self.clock, on_defect=self.defect,
        )  # fmt: skip

    def defect(self, where, error):
        raise AssertionError(where) from error

    def read(self, values, *, error=""):
        """Take in one reading of {(family, *labels): value} or {family: value}, all of the group shop."""
        self.clock.advance(5.0)
        samples = [Sample(name=name, value=value, labels={"group": "shop"} | labels) for name, labels, value in values]
        reading = Reading(
            sampler=self.sampler, at=self.clock.monotonic(), duration_s=0.001, samples=tuple(samples), error=error
        )
        for new in self.series.add_reading(self.sampler, reading):
            self.rules.add(new.key, new.labels, (new.what.name,), interval_s=5.0, now=self.clock.monotonic())
        while self.rules.judge_next(self.clock.monotonic()) is not None:
            pass

    def grow(self, count, *, born=1000.0, start=100.0):
        for number in range(count):
            self.read([(MEMORY, {}, (start + number / 12) * 2**20), (BORN, {}, born), ("perfmon_process_up", {}, 1.0)])

    def shown(self, wanted=SHOP):
        return msgspec.json.decode(msgspec.json.encode(group(wanted, self.series, self.rules, self.clock)))


def test_a_leak_is_shown_with_its_points_its_line_its_words_and_its_alert():
    world = World()
    world.grow(240)
    told = world.shown()
    [leak] = told["group"]["leaks"]
    [line] = leak["lines"]

    assert ("up", "shop", "services") == tuple(told["group"][name] for name in ("state", "group", "sampler"))
    assert ("MemoryLeak", MEMORY, "bytes", 1200.0, "leak") == tuple(
        leak[name] for name in ("rule", "metric", "unit", "window_s", "verdict")
    )
    assert leak["why"].startswith("leak: grows 1 MiB/min")
    assert 2**20 / 60 == pytest.approx(leak["slope"], rel=0.02)
    assert (1024 - 120) * 60 == pytest.approx(leak["seconds_to_limit"], rel=0.02)
    assert 200 < len(leak["points"]) <= MOST_POINTS
    assert leak["points"][-1] == [pytest.approx(told["now"]), pytest.approx((100 + 239 / 12) * 2**20)]
    for at, value, low, high in line:
        elapsed = (at - told["now"]) / 60
        assert (120 + elapsed) * 2**20 == pytest.approx(value, rel=0.01)
        assert low <= value <= high
    assert ["MemoryLeak"] == [alert["rule"] for alert in told["alerts"]]


def test_before_there_is_enough_it_says_how_much_is_missing():
    world = World()
    world.grow(20)
    [leak] = world.shown()["group"]["leaks"]

    assert ("insufficient_data", "waiting", []) == (leak["verdict"], leak["level"], leak["lines"])
    assert "of perfmon_process_private_memory_bytes so far" in leak["why"]


def test_what_is_not_judged_yet_is_said_to_be_so():
    world = World()
    world.grow(2)
    [leak] = world.shown()["group"]["leaks"]

    assert ("", "not judged yet", 1) == (leak["verdict"], leak["why"], len(leak["points"]))


def test_a_restart_is_shown_when_it_was_and_each_life_has_its_line():
    world = World()
    world.grow(120, born=1000.0)
    world.grow(120, born=1601.0)
    told = world.shown()["group"]
    [leak] = told["leaks"]

    assert [1601.0] == told["restarts"]
    assert 1 == len(leak["restarts"])
    assert 2 == len(leak["lines"])


def test_a_group_that_is_not_found_is_down_with_its_words():
    world = World()
    world.grow(2)
    world.read([("perfmon_process_up", {}, 0.0)], error="no process listens on port 8080")
    told = world.shown()["group"]

    assert ("down", "no process listens on port 8080") == (told["state"], told["last"]["error"])
    assert ["perfmon_process_up"] == [one["name"] for one in told["series"]]


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(sampler="services", group="gone"),
        Wanted(sampler="gone", group="shop"),
        Wanted(sampler="services", group="shop", cgroup="/x"),
    ],
)
def test_what_is_not_watched_is_none(wanted):
    world = World()
    world.grow(1)

    assert (None, []) == (world.shown(wanted)["group"], world.shown(wanted)["alerts"])


def cgroups(*paths):
    world = World(kind="cgroup", name="units")
    usage = [("perfmon_cgroup_memory_usage_bytes", {"cgroup": path}, 100.0 + len(path)) for path in paths]
    world.read([("perfmon_cgroup_up", {}, 1.0), *usage])
    return world


def test_a_name_with_one_control_group_is_that_one():
    told = cgroups("/a").shown(Wanted(sampler="units", group="shop"))

    assert ("/a", [], 102.0) == (told["group"]["cgroup"], told["cgroups"], told["group"]["series"][1]["value"])


def test_a_name_with_several_tells_them_and_each_is_shown_alone():
    world = cgroups("/b", "/a/c")
    of_name = world.shown(Wanted(sampler="units", group="shop"))
    of_one = world.shown(Wanted(sampler="units", group="shop", cgroup="/b"))

    assert (["/a/c", "/b"], ["perfmon_cgroup_up"]) == (
        of_name["cgroups"],
        [one["name"] for one in of_name["group"]["series"]],
    )
    assert ("/b", [], [1.0, 102.0]) == (
        of_one["group"]["cgroup"],
        of_one["cgroups"],
        [one["value"] for one in of_one["group"]["series"]],
    )


def test_a_control_group_that_went_is_down_while_its_name_holds_another():
    world = cgroups("/a", "/b")
    world.read([("perfmon_cgroup_up", {}, 1.0), ("perfmon_cgroup_memory_usage_bytes", {"cgroup": "/b"}, 100.0)])

    states = [
        world.shown(Wanted(sampler="units", group="shop", cgroup=path))["group"]["state"] for path in ("/a", "/b")
    ]
    assert ["down", "up"] == states
