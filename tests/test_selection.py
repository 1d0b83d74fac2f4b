"""What a rule may select, as far as the configuration tells."""

import pytest

from perfmon.selection import PROBE_METRICS, matches, mistakes, of_check, of_sampler, selected

SHOP = of_check({"probe": "shop", "target": "http://127.0.0.1/", "module": "http_2xx"}, {"team": "web"})
BROKEN = of_check({"probe": "bank", "target": None, "module": "http_2xx"}, None)
PROCESSES = of_sampler("shop", "process", {})


@pytest.mark.parametrize(
    ("select", "labels", "expected"),
    [
        ({}, {}, True),
        ({"probe": "sh*"}, {"probe": "shop"}, True),
        ({"probe": "sh?"}, {"probe": "shop"}, False),
        ({"probe": "[st]hop"}, {"probe": "shop"}, True),
        ({"probe": "SHOP"}, {"probe": "shop"}, False),
        ({"probe": "*", "team": "*"}, {"probe": "shop"}, False),
    ],
)
def test_every_label_must_be_there_and_fit(select, labels, expected):
    assert expected is matches(select, labels)


def test_a_label_that_only_a_run_shows_may_have_any_value():
    assert [PROCESSES] == selected({"group": "whatever"}, [SHOP, PROCESSES])
    assert [] == selected({"group": "whatever"}, [SHOP])


def test_a_section_that_is_wrong_may_have_what_its_mistakes_hide():
    assert [BROKEN] == selected({"probe": "bank", "target": "x", "team": "money"}, [SHOP, BROKEN])
    assert [] == selected({"sampler": "x"}, [SHOP, BROKEN])


def test_nothing_is_wrong_with_a_rule_that_can_be_about_something():
    assert [] == list(mistakes({"probe": "shop"}, "duration:tls", [SHOP, PROCESSES]))
    assert [] == list(mistakes({}, "perfmon_process_threads", [SHOP, PROCESSES]))


def test_metrics_know_their_type_and_unit():
    assert ("flag", "") == (PROBE_METRICS["failed"].type, PROBE_METRICS["failed"].unit)
    cpu = PROCESSES.metrics["perfmon_process_cpu_seconds_total"]
    assert ("counter", "seconds") == (cpu.type, cpu.unit)


def test_a_tag_selects_those_that_have_it_among_others():
    assert matches({"tag": "pay*"}, {"probe": "shop"}, ("web", "payment"))
    assert not matches({"tag": "pay*"}, {"probe": "shop"}, ("web",))
    assert not matches({"tag": "web"}, {"tag": "own label"}, ("web",))


def test_a_tag_that_nobody_has_is_a_mistake_with_the_nearest_that_somebody_has():
    known = [of_check({"probe": "shop", "target": "a:1", "module": "tcp"}, {}, ("payment",))]

    assert [] == list(mistakes({"tag": "pay*"}, "failed", known))
    assert [("select.tag", 'selects nothing: no series has "paymnet", did you mean "payment"?')] == list(
        mistakes({"tag": "paymnet"}, "failed", known)
    )
