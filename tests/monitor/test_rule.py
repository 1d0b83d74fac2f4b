"""Rules, bound to series as these come and go."""

import time
from array import array

import pytest

from perfmon import kinds
from perfmon.clock import ManualClock
from perfmon.model import Rule, Window
from perfmon.monitor.rule import Rules
from perfmon.monitor.store import Store

THRESHOLD = kinds.load("conditions", "threshold")
ABSENT = kinds.load("conditions", "absent")
SHOP = {"probe": "shop", "target": "http://shop/", "module": "http_2xx"}


class World:
    """Series that a test fills by hand, rules over them, and what receivers heard."""

    def __init__(self, *rules, path="", clock=None):
        self.clock = clock or ManualClock()
        self.points = {}
        self.told = []
        self.shown = {}
        self.defects = []
        self.held_by = ""  # what holds back every alert that would fire
        self.asked = []
        self.store = Store(path, clock=self.clock)
        self.rules = Rules(
            rules,
            window=self.window,
            long_window=self.window,
            show=self.show,
            store=self.store,
            tell=self.told.extend,
            clock=self.clock,
            on_defect=lambda where, error: self.defects.append((where, type(error))),
            holds=self.holds,
        )

    def holds(self, _alert, held):
        self.asked.append(held)
        return self.held_by

    def show(self, key, labels, facts):
        self.shown[key] = (labels, facts)
        if not facts:
            del self.shown[key]

    @property
    def now(self):
        return self.clock.monotonic()

    def add(self, key, labels=SHOP, metrics=("failed", "duration"), interval_s=10.0):
        self.points.setdefault(key, [])
        return self.rules.add(key, labels, metrics, interval_s=interval_s, now=self.now)

    def point(self, key, value, after_s=10.0):
        self.clock.advance(after_s)
        self.points[key].append((self.now, value))
        return self.rules.evaluate(key, self.now)

    def window(self, key, metric, span_s, now):
        points = self.points[key]
        recent = [point for point in points if point[0] > now - span_s]
        return Window(
            metric=metric,
            type="flag" if metric == "failed" else "gauge",
            unit="" if metric == "failed" else "seconds",
            times=array("d", [at for at, _ in recent]),
            values=array("d", [value for _, value in recent]),
            now=now,
            span_s=span_s,
            since=1000.0,
            last_at=points[-1][0] if points else None,
            interval_s=10.0,
        )

    def states(self):
        return {(alert.series, alert.labels["severity"]): alert.state for alert in self.rules.alerts()}

    def heard(self):
        heard = [
            (alert.labels["severity"], "firing" if alert.resolved_at is None else "resolved") for alert in self.told
        ]
        self.told.clear()
        return heard


def down(**kwargs):
    facts = {"name": "Down", "kind": "threshold", "config": THRESHOLD.parse("last < 1"), "select": {"probe": "shop"}}
    return Rule(**(facts | kwargs))


def slow(**kwargs):
    config = THRESHOLD.parse("last < 200ms warning, 500ms critical")
    return Rule(name="Slow", kind="threshold", config=config, metric="duration", **kwargs)


def test_a_broken_series_fires_and_is_resolved_and_receivers_hear_of_both():
    world = World(down())
    world.add("a")

    assert [] == world.point("a", 0.0)
    assert ["firing"] == [alert.state for alert in world.point("a", 1.0)]
    assert [] == world.point("a", 1.0)
    assert ["inactive"] == [alert.state for alert in world.point("a", 0.0)]
    assert [("critical", "firing"), ("critical", "resolved")] == world.heard()


def test_labels_are_those_of_the_series_and_of_the_rule_with_name_and_severity():
    world = World(down(severity="warning", labels={"team": "web", "empty": ""}))
    world.add("a", SHOP | {"path": "slow", "bytes": "\udcff"})

    [alert] = world.point("a", 1.0)

    assert (
        SHOP | {"path": "slow", "bytes": "?", "team": "web", "alertname": "Down", "severity": "warning"} == alert.labels
    )


def test_annotations_are_filled_in_when_it_fires_and_stay_so_when_it_is_over():
    world = World(down(annotations={"summary": "{{target}}: {{value}}"}))
    world.add("a")

    fired, over = world.point("a", 1.0) + world.point("a", 0.0)

    assert "http://shop/: 1" == fired.annotations["summary"] == over.annotations["summary"]
    assert "last of failed is 0" in over.verdict.why


def test_what_was_found_out_stays_with_an_alert_as_long_as_it_fires_also_after_a_restart(tmp_path):
    world = World(down(keep_firing_for_s=60.0), path=str(tmp_path / "state"))
    world.add("a")
    world.point("a", 1.0)
    world.heard()

    world.rules.annotate("a", {"leak_stack": "shop.py:31"})
    assert [("critical", "firing")] == world.heard()
    world.point("a", 0.0)
    world.point("a", 1.0)
    world.store.close(5.0)
    later = World(down(), path=str(tmp_path / "state"))
    later.add("a")
    [over] = later.point("a", 0.0)
    [again] = later.point("a", 1.0)

    assert "shop.py:31" == over.annotations["leak_stack"]
    assert "leak_stack" not in again.annotations


def test_what_does_not_fire_gets_no_annotation():
    world = World(down(for_s=20.0))
    world.add("a")
    world.point("a", 1.0)

    assert [] == world.rules.annotate("a", {"leak_stack": "shop.py:31"})
    assert [] == world.rules.annotate("b", {"leak_stack": "shop.py:31"})


def test_for_and_keep_firing_for_are_kept():
    world = World(down(for_s=20.0, keep_firing_for_s=15.0))
    world.add("a")

    states = []
    for value in (1, 1, 1, 0, 0):
        world.point("a", float(value))
        states.append(world.states()["a", "critical"])

    assert ["pending", "pending", "firing", "firing", "inactive"] == states


def test_two_levels_are_two_alerts_and_critical_implies_warning():
    world = World(slow())
    world.add("a")

    world.point("a", 0.3)
    assert [("warning", "firing")] == world.heard()
    world.point("a", 0.6)
    assert [("critical", "firing")] == world.heard()
    world.point("a", 0.3)
    assert [("critical", "resolved")] == world.heard()
    world.point("a", 0.1)
    assert [("warning", "resolved")] == world.heard()
    world.point("a", 0.6)
    assert [("warning", "firing"), ("critical", "firing")] == world.heard()


@pytest.mark.parametrize(
    ("labels", "metrics", "bound"),
    [
        ({"probe": "shop"}, ("failed",), True),
        ({"probe": "shop-2"}, ("failed",), False),
        ({"probe": "shop"}, ("duration",), False),
        ({"sampler": "shop"}, ("failed",), False),
    ],
)
def test_a_rule_is_bound_to_what_its_globs_select_and_has_its_metric(labels, metrics, bound):
    world = World(down(select={"probe": "sho[p]"}))
    world.add("a", labels, metrics)

    assert bound == bool(world.point("a", 1.0))


def test_a_series_that_is_silent_is_judged_by_the_sweep():
    world = World(Rule(name="Gone", kind="absent", config=ABSENT.parse("25s")))
    world.add("a")
    world.add("b")
    world.point("a", 0.0)

    told = []
    for _ in range(5):
        world.point("b", 0.0)
        told += world.rules.sweep(world.now)

    assert [("a", 30.0)] == [(alert.series, alert.verdict.value) for alert in told]


def test_a_sweep_leaves_alone_what_has_just_been_judged_and_has_a_bound():
    world = World(down())
    for number in range(150):
        world.add(str(number))
    world.clock.advance(14)
    world.rules.sweep(world.now)
    assert 0 == world.rules.evaluations["Down"]

    world.clock.advance(1)
    world.rules.sweep(world.now)
    assert 100 == world.rules.evaluations["Down"]
    world.rules.sweep(world.now)
    assert 150 == world.rules.evaluations["Down"]


def test_a_series_that_goes_resolves_its_alerts_and_takes_them_along():
    world = World(down())
    world.add("a")
    world.point("a", 1.0)
    world.heard()

    [alert] = world.rules.remove("a", world.now)

    assert ("it is no longer watched", world.now) == (alert.verdict.why, alert.resolved_at)
    assert [("critical", "resolved")] == world.heard()
    assert [] == world.rules.alerts()
    assert [] == world.rules.evaluate("a", world.now)


async def test_a_reload_keeps_what_did_not_change_and_resolves_what_is_gone():
    world = World(down(), slow(), down(name="Other"))
    world.add("a")
    world.point("a", 1.0)
    world.heard()
    fired_at = {alert.rule: alert.fired_at for alert in world.rules.alerts()}

    told = await world.rules.replace([slow(), down(name="Other", labels={"team": "web"})], world.now)

    assert {"Down", "Other"} == {alert.rule for alert in told}
    assert {"Slow"} == {alert.rule for alert in world.rules.alerts()}
    assert fired_at["Slow"] == world.rules.alerts()[0].fired_at
    world.heard()
    world.point("a", 1.0)
    assert [("critical", "firing")] == world.heard(), "the one with other labels is another alert"


async def test_a_rule_with_another_limit_goes_on_with_its_alert():
    world = World(down())
    world.add("a")
    world.point("a", 1.0)

    assert [] == await world.rules.replace([down(config=THRESHOLD.parse("last < 0.5"))], world.now)
    assert [] == world.point("a", 1.0)
    assert {("a", "critical"): "firing"} == world.states()


async def test_a_new_rule_is_bound_to_series_that_are_there():
    world = World()
    world.add("a")
    assert [] == world.point("a", 1.0)

    await world.rules.replace([down()], world.now)

    assert ["Down"] == [alert.rule for alert in world.point("a", 1.0)]


def test_a_series_with_other_labels_is_another_alert():
    world = World(down())
    world.add("a")
    world.point("a", 1.0)
    world.heard()

    assert ["inactive"] == [alert.state for alert in world.add("a", SHOP | {"team": "web"})]
    assert [("critical", "resolved")] == world.heard()
    assert [] == world.add("a", SHOP | {"team": "web"})
    assert ["web"] == [alert.labels["team"] for alert in world.point("a", 1.0)]


def test_a_pending_alert_that_goes_back_leaves_nothing_behind(tmp_path):
    world = World(down(for_s=60.0), path=tmp_path / "state")
    world.add("a")
    world.point("a", 1.0)
    assert {("Down", "pending"): 1, ("Down", "firing"): 0} == world.rules.states()

    world.point("a", 0.0)

    assert {("Down", "pending"): 0, ("Down", "firing"): 0} == world.rules.states()
    assert ([], []) == (world.rules.alerts(), world.heard())
    world.store.close()
    assert [] == World(path=tmp_path / "state").rules.alerts()


def test_a_defect_of_a_condition_is_counted_and_spares_the_other_rules():
    world = World(down(), slow())
    world.add("a")
    world.rules._rules[0].evaluate = lambda _window: 1 / 0

    told = world.point("a", 0.6)

    assert [("rule Down", ZeroDivisionError)] == world.defects
    assert {"Slow"} == {alert.rule for alert in told}


# ---------------------------------------------------------------- restarts


@pytest.fixture
def restart(tmp_path):
    """The next life of a world: same clock, same file."""

    def restart_(world, *rules, down_s=5.0):
        world.store.close()
        world.clock.advance(down_s)
        return World(*rules, path=tmp_path / "state", clock=world.clock)

    return restart_


@pytest.fixture
def fired(tmp_path):
    world = World(down(keep_firing_for_s=30.0), path=tmp_path / "state")
    world.add("a")
    world.point("a", 1.0)
    return world


def test_after_a_restart_a_firing_alert_goes_on_and_nobody_hears_of_it_again(fired, restart):
    [before] = fired.rules.alerts()

    world = restart(fired, down())
    world.add("a")
    assert [] == world.point("a", 1.0)
    [alert] = world.rules.alerts()
    over = world.point("a", 0.0)

    assert (before.labels, before.fired_at) == (alert.labels, alert.fired_at)
    assert [("critical", "resolved")] == world.heard()
    assert before.fired_at == over[0].fired_at


def test_after_a_restart_a_pending_alert_waits_for_the_rest_of_its_for(tmp_path, restart):
    world = World(down(for_s=30.0), path=tmp_path / "state")
    world.add("a")
    world.point("a", 1.0)
    world.point("a", 1.0)  # 10 s of 30 s are over

    world = restart(world, down(for_s=30.0), down_s=1000.0)
    world.add("a")

    assert [] == world.point("a", 1.0)
    assert ["firing"] == [alert.state for alert in world.point("a", 1.0)]


def test_after_a_restart_alerts_of_rules_and_series_that_are_gone_are_resolved(tmp_path, restart):
    world = World(down(), slow(), path=tmp_path / "state")
    for key in ("a", "b", "sampler/x/y"):
        world.add(key)
        world.point(key, 1.0)

    world = restart(world, down())
    told = world.add("a")
    told += world.rules.settle(world.now, may_come=lambda key: key.startswith("sampler/"))

    assert {("a", "Slow"), ("b", "Slow"), ("b", "Down"), ("sampler/x/y", "Slow")} == {
        (alert.series, alert.rule) for alert in told
    }
    assert {"a", "sampler/x/y"} == {alert.series for alert in world.rules.alerts()}
    assert [] == world.rules.sweep(world.now)
    world.points["a"] = [(world.now, 1.0)]
    world.clock.advance(3600)
    world.points["a"].append((world.now, 1.0))
    assert ["sampler/x/y"] == [alert.series for alert in world.rules.sweep(world.now)]


def test_after_a_restart_a_series_with_other_labels_resolves_the_alert_of_the_old_ones(fired, restart):
    world = restart(fired, down())

    [alert] = world.add("a", SHOP | {"team": "web"})

    assert (SHOP.keys() | {"alertname", "severity"}, "inactive") == (alert.labels.keys(), alert.state)


def test_evaluating_a_series_without_rules_costs_a_look_up():
    world = World(down())
    world.add("a", {"probe": "other"})

    def cost(call):
        began = time.perf_counter()
        for _ in range(10_000):
            call()
        return time.perf_counter() - began

    empty = {}
    look_up = min(cost(lambda: empty.get("a")) for _ in range(5))
    evaluate = min(cost(lambda: world.rules.evaluate("a", 1.0)) for _ in range(5))

    assert evaluate < 5 * look_up


# ---------------------------------------------------------------- N of M, as thresholds say it


def flagged(text, **settings):
    """A rule on `failed` of checks that run every 10 s."""
    return Rule(name="Down", kind="threshold", config=THRESHOLD.parse(text), **settings)


def turns(world, key, failed, **labels):
    """Which points, counted from 0, made the alert fire (+) or resolve (-)."""
    found = []
    for number, value in enumerate(failed):
        found += [f"{'+' if alert.state == 'firing' else '-'}{number}" for alert in world.point(key, float(value))]
    return found


@pytest.mark.parametrize(
    ("text", "settings", "failed", "expected"),
    [
        pytest.param("last < 1", {}, [0, 1, 1, 0], ["+1", "-3"], id="A01-1-of-1-one-alert-and-the-first-alone-is-none"),
        pytest.param(
            "sum < 3 over 50s", {}, [1, 0, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1], ["+8", "-11", "+14"], id="A02-3-of-5"
        ),
        pytest.param(
            "last < 1",
            {"for_s": 5.0, "keep_firing_for_s": 25.0},
            [1, 0, 1, 1, 0, 0, 1, 0, 0, 0, 1, 0, 1, 1],
            ["+3", "-9", "+13"],
            id="A05-fires-at-the-2nd-failure-resolves-at-the-3rd-success-and-begins-anew",
        ),
    ],
)
def test_n_of_m_runs_is_a_threshold(text, settings, failed, expected):
    world = World(flagged(text, **settings))
    world.add("shop/a")

    assert expected == turns(world, "shop/a", failed)


def test_only_the_target_that_fails_alerts():
    """Case A04."""
    world = World(flagged("last < 1"))
    for name in "ab":
        world.add(name, SHOP | {"target": name})

    assert ["+0"] == turns(world, "a", [1, 1])
    assert [] == turns(world, "b", [0, 0])


# ---------------------------------------------------------------- what is held back


def test_an_alert_that_is_held_back_is_pending_and_fires_when_nothing_holds_it_any_more():
    world = World(down())
    world.add("a")
    world.held_by = 'maintenance "move"'

    assert [] == world.point("a", 1.0)
    [alert] = world.rules.alerts()
    assert ("pending", 'maintenance "move"') == (alert.state, alert.held)
    world.clock.advance(1.0)
    assert [] == world.rules.sweep(world.now)
    world.held_by = ""
    [told] = world.rules.sweep(world.now)
    assert ("firing", "", world.now) == (told.state, told.held, told.fired_at)
    assert [("critical", "firing")] == world.heard()


def test_one_that_is_fine_before_it_was_let_go_was_never_told():
    world = World(down())
    world.add("a")
    world.held_by = "inhibited by gateway"
    world.point("a", 1.0)

    assert [] == world.point("a", 0.0)
    world.held_by = ""
    assert ([], [], []) == (world.rules.sweep(world.now), world.heard(), world.rules.alerts())


def test_one_that_fires_already_goes_on_and_its_end_is_told():
    world = World(down())
    world.add("a")
    world.point("a", 1.0)
    world.held_by = "inhibited by gateway"
    world.point("a", 1.0)
    world.point("a", 0.0)

    assert [("critical", "firing"), ("critical", "resolved")] == world.heard()


def test_nothing_holds_what_is_not_broken_for_long_enough():
    world = World(down(for_s=60.0))
    world.add("a")
    world.held_by = "inhibited by gateway"
    world.point("a", 1.0)

    assert [""] == [alert.held for alert in world.rules.alerts()]
    assert [] == world.asked


def test_a_restart_keeps_what_is_held_back_and_lets_it_go_when_its_time_comes(tmp_path):
    world = World(down(), path=tmp_path / "state.sqlite3")
    world.add("a")
    world.held_by = 'maintenance "move"'
    world.point("a", 1.0)
    world.store.close()
    again = World(down(), path=tmp_path / "state.sqlite3", clock=world.clock)

    assert [] == again.rules.sweep(again.now)  # its series is not there yet
    again.add("a")
    assert ["pending"] == [alert.state for alert in again.rules.alerts()]
    assert ["firing"] == [alert.state for alert in again.rules.sweep(again.now)]
    again.store.close()


def test_of_thousands_that_are_held_back_a_sweep_asks_a_hundred_in_turn():
    world = World(down())
    for number in range(250):
        world.add(str(number))
    world.held_by = "inhibited by gateway"
    for number in range(250):
        world.point(str(number), 1.0, after_s=0.0)
    world.held_by = ""

    assert [100, 100, 50, 0] == [len(world.rules.sweep(world.now)) for _ in range(4)]


def test_a_check_is_named_by_depends_on_unless_it_is_the_one_itself():
    world = World(down())
    gateways = SHOP | {"probe": "gateway", "role": "edge"}
    world.rules.add("g1", gateways | {"target": "1"}, ("failed",), interval_s=10.0, now=world.now)
    world.rules.add("g2", gateways | {"target": "2"}, ("failed",), interval_s=10.0, now=world.now)
    world.points["a"] = []
    needs = [{"probe": "gate*"}, {"role": "edge", "target": "2"}, {"probe": "*"}]
    world.rules.add("a", SHOP, ("failed",), interval_s=10.0, now=world.now, depends_on=needs)
    world.point("a", 1.0)

    [asked] = world.asked
    assert [["g1", "g2"], ["g2"], ["g1", "g2"]] == asked.needs
    assert (world.now, 15.0) == (asked.broken_since, asked.settles_s)


def test_a_rule_on_results_says_that_a_check_is_down():
    world = World(down(for_s=60.0), slow())
    world.add("a")
    world.point("a", 1.0)

    assert world.rules.says_down("a")
    world.point("a", 0.0)
    assert not world.rules.says_down("a")
