"""A week of a made-up past in a real Prometheus: burn rates to the ninth digit, and who is paged when.

The whole month is `benchmarks/slo_history.py`; this is eight days of it, one run in two minutes.
"""

import time

import pytest
import slo_history
from slo_history import Hand

pytestmark = pytest.mark.servers
DAYS, INTERVAL_S, SEED = 8, 120.0, 3


@pytest.fixture(scope="module")
def known(binary, tmp_path_factory):
    """The past of two targets, when it ends, and the API of a Prometheus that has it."""
    end = (time.time() // 3600 - 5) * 3600  # what is older than the retention would be dropped
    pasts = {one.target: one for one in slo_history.history(SEED, end, days=DAYS, interval_s=INTERVAL_S)}
    folder = tmp_path_factory.mktemp("history")
    with slo_history.prometheus([pasts["a"], pasts["b"]], folder, binary) as api:
        yield pasts, end, api


def test_burn_rates_are_those_of_the_runs_over_every_window(known):
    pasts, end, api = known
    at = slo_history.instants(SEED, end, 12, days=DAYS)

    found = slo_history.differences(api, [pasts["a"], pasts["b"]], at)

    assert list(slo_history.WINDOWS) == [one.window for one in found]
    assert all(one.by_hand < 1e-9 for one in found), found
    assert all(one.compared >= 20 for one in found), found


@pytest.mark.parametrize("number", [0, 1])
def test_an_outage_pages_when_the_windows_promise_it(known, number):
    """All runs fail, or one in ten: at the very evaluation at which the runs by themselves say so."""
    pasts, _, api = known
    spell = pasts["a"].spells[number]

    paged_at = slo_history.paged_at(api, "ErrorBudgetBurns", "a", spell[:2])

    assert paged_at is not None
    assert slo_history.due_at(Hand(pasts["a"]), *spell[:2]) == paged_at
    if spell.share == 1:
        assert paged_at - spell.begin <= slo_history.promised_s(INTERVAL_S)


def test_one_failed_run_in_a_quiet_hour_pages_nobody(known):
    pasts, _, api = known
    lonely = pasts["b"].lonely

    paged = [
        (alert, at)
        for at in lonely
        for alert in slo_history.PAGES
        if alert in {"ErrorBudgetBurns", "ProbeDown"}
        if slo_history.paged_at(api, alert, "b", (at - 600, at + 7 * 3600), step_s=30.0)
    ]

    seen = [
        slo_history.asked(api, f"target:perfmon_probe_failures:ratio_increase{window}", at + INTERVAL_S / 2)
        for at in lonely
        for window in ("5m", "1h")
    ]
    burns = [one["b"] / 0.001 for one in seen if "b" in one]  # which it is not right after hours without a scrape
    assert 8 <= len(burns)
    assert min(burns) > 14.4  # but for the floor of failures each of them would
    assert 4 <= len(lonely)
    assert [] == paged
