"""A few of the random fault schedules of benchmarks/alert_faults.py: no page lost, none doubled without an excuse."""

from concurrent.futures import ThreadPoolExecutor

import alert_faults
import pytest

# With Alertmanager one in which perfmon lives on: a machine that takes ten seconds to start it again lets alerts expire.
SEEDS = {"alertmanager": 502, "notify": 3}


def test_a_schedule_is_made_from_its_seed_alone():
    assert alert_faults.schedule(7) == alert_faults.schedule(7)
    assert alert_faults.schedule(7) != alert_faults.schedule(9)


def test_these_schedules_kill_and_restart_and_break_connections():
    acts = {mode: _acts(seed) for mode, seed in SEEDS.items()}

    assert {"restart", "hang", "429", "refuse", "reset after taking"} <= acts["alertmanager"]
    assert not {"kill", "kill after taking"} & acts["alertmanager"]
    assert {"kill", "kill after taking", "reset", "reset after taking"} <= acts["notify"]


@pytest.mark.servers
def test_no_page_is_lost_and_none_is_doubled_without_an_excuse(binary):
    server = binary("prometheus-alertmanager")

    def play(seed):
        return alert_faults.play(alert_faults.schedule(seed), server, resend_s=2.0)

    with ThreadPoolExecutor(len(SEEDS)) as pool:
        outcomes = list(pool.map(play, SEEDS.values()))

    assert [(mode, [], []) for mode in SEEDS] == [(one.mode, one.lost, one.doubled) for one in outcomes]
    assert {2 * alert_faults.TARGETS} == {one.pages for one in outcomes}


def _acts(seed):
    return {act.what for half in alert_faults.schedule(seed).halves for act in half}
