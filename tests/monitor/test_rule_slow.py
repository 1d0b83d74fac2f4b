"""Rules whose condition takes its time: judged in their own time, on the long past, one by one."""

import pytest
from test_rule import SHOP, World, down

from perfmon import kinds
from perfmon.model import Rule

LEAK = kinds.load("conditions", "leak")
CONFIG = LEAK.parse({"window": "20m", "agree": 3})  # judged each 40 seconds
RULE = Rule(name="Leak", kind="leak", config=CONFIG, metric="duration", for_s=LEAK.for_s(CONFIG))


def filled(*rules, keys=("a",), rise=0.01, count=120):
    """A world whose series have twenty minutes behind them."""
    world = World(*rules)
    for key in keys:
        world.add(key)
        world.points[key] = [(world.now + 10.0 * number, 1.0 + rise * number) for number in range(count)]
    world.clock.advance(10.0 * (count - 1))
    return world


def swept(world, seconds):
    told = []
    for _ in range(seconds):
        world.clock.advance(1.0)
        assert [] == world.rules.sweep(world.now)
        while (heard := world.rules.judge_next(world.now)) is not None:
            told += heard
    return told


def test_points_do_not_wake_it_and_it_is_judged_in_its_own_time():
    world = filled(RULE)
    world.point("a", 2.2)

    assert 0 == world.rules.evaluations["Leak"]
    swept(world, 1)
    assert 1 == world.rules.evaluations["Leak"]
    swept(world, 40)
    assert 2 == world.rules.evaluations["Leak"]
    swept(world, 400)
    assert 12 == world.rules.evaluations["Leak"]


def test_three_verdicts_that_agree_make_an_alert():
    world = filled(RULE)

    swept(world, 1)
    assert {("a", "critical"): "pending"} == world.states()
    fired = swept(world, 120)
    assert ["firing"] == [alert.state for alert in fired]
    assert 80.0 <= fired[0].fired_at - fired[0].active_at <= 120.0
    assert world.rules.alerts()[0].verdict.why.startswith("leak: grows ")


def test_beside_it_other_rules_are_judged_at_each_point():
    world = filled(RULE, down())

    assert ["firing"] == [alert.state for alert in world.point("a", 1.0)]
    assert {"Leak": 0, "Down": 1} == {name: world.rules.evaluations[name] for name in ("Leak", "Down")}


def test_the_one_that_is_due_the_longest_comes_first_and_each_once():
    world = filled(RULE, keys=[f"series {number}" for number in range(12)])
    while world.rules.judge_next(world.now) is not None:
        pass

    assert 12 == world.rules.evaluations["Leak"] == len(world.shown)
    world.clock.advance(41.0)
    order = list(world.shown)
    world.shown.clear()
    while world.rules.judge_next(world.now) is not None:
        pass
    assert sorted(order) == sorted(world.shown)


def test_series_that_begin_together_are_not_judged_together():
    world = World(RULE)
    for number in range(40):
        world.add(f"series {number}")
    counts = []
    for _ in range(40):
        before = world.rules.evaluations["Leak"]
        swept(world, 1)
        counts.append(world.rules.evaluations["Leak"] - before)

    assert 40 == sum(counts)
    assert max(counts) <= 5
    assert sum(count > 0 for count in counts) >= 15


def test_what_the_verdict_says_in_numbers_is_shown_with_the_labels_of_the_series_and_the_rule():
    world = filled(RULE)
    swept(world, 1)
    labels, facts = world.shown["/rule/Leak/a"]

    assert SHOP | {"rule": "Leak", "metric": "duration"} == labels
    assert 1.0 == facts['perfmon_leak_verdict{verdict="leak"}']


@pytest.mark.parametrize(("gone", "evaluations"), [("series", 1), ("rule", 0)])
async def test_with_the_series_or_the_rule_its_numbers_go(gone, evaluations):
    world = filled(RULE)
    swept(world, 1)
    if gone == "series":
        world.rules.remove("a", world.now)
    else:
        await world.rules.replace([], world.now)

    assert {} == world.shown
    assert [] == swept(world, 60)
    assert evaluations == world.rules.evaluations["Leak"]


async def test_an_alert_goes_on_over_a_reload_with_another_window():
    world = filled(RULE)
    swept(world, 130)
    wider = LEAK.parse({"window": "19m", "agree": 3})
    await world.rules.replace([Rule(name="Leak", kind="leak", config=wider, metric="duration")], world.now)

    assert {("a", "critical"): "firing"} == world.states()
    assert {} == world.shown


# ---------------------------------------------------------------- requests counted beside it

COUNTING = LEAK.parse({"window": "20m", "requests": {"metric": "failed", "select": {"target": "counter*"}}})
BY_REQUEST = Rule(name="Leak", kind="leak", config=COUNTING, metric="duration", for_s=LEAK.for_s(COUNTING))


def counting(*counters):
    """A series that grows by 2 with each request, and those that count them: busy and quiet by turns."""
    world = filled(BY_REQUEST)
    times = [at for at, _ in world.points["a"]]
    done = [float(20 * (i // 40 * 20 + min(i % 40, 20))) for i in range(len(times))]
    world.points["a"] = [(at, 100.0 + 2 * count) for at, count in zip(times, done, strict=True)]
    for key in counters:
        world.points[key] = [(at, count / len(counters)) for at, count in zip(times, done, strict=True)]
        world.rules.add(key, SHOP | {"target": key}, ("failed",), interval_s=10.0, now=world.now)
    return world


def per_request(world):
    swept(world, 41)
    [facts] = [facts for key, (_, facts) in world.shown.items() if key == "/rule/Leak/a"]
    return facts.get("perfmon_leak_slope_per_request")


@pytest.mark.parametrize("counters", [["counter-1"], ["counter-1", "counter-2"]])
def test_growth_is_regressed_on_all_counters_that_match(counters):
    assert 2.0 == pytest.approx(per_request(counting(*counters)), rel=0.05)


def test_a_counter_that_is_gone_counts_no_more():
    world = counting("counter-1", "counter-2")
    world.rules.remove("counter-2", world.now)

    assert 4.0 == pytest.approx(per_request(world), rel=0.05)


def test_without_counters_it_is_judged_all_the_same():
    world = counting()

    assert per_request(world) is None
    assert 1.0 == world.shown["/rule/Leak/a"][1]['perfmon_leak_cause{cause="insufficient_data"}']


def test_more_counters_than_can_be_added_up_in_a_turn_are_refused_and_not_cut():
    assert per_request(counting(*(f"counter-{number}" for number in range(33)))) is None
