"""What holds alerts back: what they depend on, in whatever order things fail; and maintenance, in a whole daemon."""

import pytest
from daemon import eventually, free_port, get, perfmon, service
from hypothesis import given
from hypothesis import strategies as st

from perfmon.clock import ManualClock
from perfmon.maintenance import Dates, Maintenance, cron, open_at, weekly
from perfmon.model import Alert
from perfmon.monitor.holding import SETTLES_AT_MOST_S, WAITS_AT_MOST_S, Health, Subject, Windows, held_by

BROKEN = Subject(broken_since=1000.0, settles_s=60.0)


def gateway(*, down=False, looked_at=1005.0, up_since=None, name="gateway"):
    return Health(name=name, down=down, looked_at=looked_at, up_since=up_since)


@pytest.mark.parametrize(
    ("needs", "why"),
    [
        ([], ""),
        ([[]], ""),
        ([[gateway()]], ""),
        ([[gateway(down=True)]], "inhibited by gateway"),
        ([[gateway(looked_at=999.0)]], "waits for the next look at gateway"),
        ([[gateway(looked_at=None)]], "waits for the next look at gateway"),
        ([[gateway(up_since=1004.0)]], "gateway has just come back"),
        ([[gateway(up_since=950.0)]], ""),
        ([[gateway(down=True), gateway(name="uplink")]], ""),  # one of them is a way through
        ([[gateway(down=True), gateway(down=True, name="uplink")]], "inhibited by gateway and uplink"),
        ([[gateway(down=True), gateway(down=True)]], "inhibited by gateway"),
        ([[gateway()], [gateway(down=True, name="router")]], "inhibited by router"),  # each entry must be met
    ],
)
def test_an_alert_waits_for_what_it_depends_on(needs, why):
    assert why == held_by(needs, BROKEN, 1010.0)


def test_it_waits_for_a_look_five_minutes_at_most():
    unseen = [[gateway(looked_at=900.0)]]

    assert "waits for the next look at gateway" == held_by(unseen, BROKEN, 1000.0 + WAITS_AT_MOST_S - 1)
    assert "" == held_by(unseen, BROKEN, 1000.0 + WAITS_AT_MOST_S)


def test_a_rule_over_days_waits_five_minutes_at_most_for_it_to_settle():
    subject = Subject(broken_since=1000.0, settles_s=86_400.0)
    back = [[gateway(looked_at=1300.0, up_since=1100.0)]]

    assert "gateway has just come back" == held_by(back, subject, 1100.0 + SETTLES_AT_MOST_S - 1)
    assert "" == held_by(back, subject, 1100.0 + SETTLES_AT_MOST_S)


@given(
    st.floats(5, 60),
    st.floats(5, 60),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
    st.floats(1, 600),
    st.floats(0, 120),
)
def test_a_dead_gateway_inhibits_in_whatever_order_the_two_are_looked_at(
    gateway_every_s, shop_every_s, phases, longer_s, window_s
):
    """The shop answers as long as its gateway does, which is dead long enough for a look at it to tell.

    The shop's alert, broken as long as its window holds a failure, never fires.
    """
    dead_s = gateway_every_s + longer_s
    settles_s = window_s + 1.5 * shop_every_s
    died, back, end = 1000.0, 1000.0 + dead_s, 1000.0 + dead_s + 900.0
    looks = sorted(
        [(gateway_every_s * (n + phases[0]), "gateway") for n in range(int(end / gateway_every_s))]
        + [(shop_every_s * (n + phases[1]), "shop") for n in range(int(end / shop_every_s))]
    )
    looked_at, up_since, down, failed_at, broken_since = None, None, False, None, None
    for at, who in looks:
        is_dead = died <= at < back
        if who == "gateway":
            up_since = at if down and not is_dead else up_since
            looked_at, down = at, is_dead
        else:
            failed_at = at if is_dead else failed_at
            still = is_dead or (failed_at is not None and at - failed_at < window_s)
            broken_since = None if not still else at if broken_since is None else broken_since
        if broken_since is not None:
            seen = gateway(down=down, looked_at=looked_at, up_since=up_since)
            assert held_by([[seen]], Subject(broken_since=broken_since, settles_s=settles_s), at)


def test_what_is_unwell_of_itself_is_told_at_the_next_look_at_its_gateway():
    told = [at for at in range(1000, 1100) if not held_by([[gateway(looked_at=at // 15 * 15.0)]], BROKEN, float(at))]

    assert 1005 == told[0]


def test_a_window_holds_alerts_by_their_labels_and_leaves_runs_out_of_budgets():
    clock = ManualClock()
    work = Maintenance(
        name="move", when=Dates(clock.wall(), clock.wall() + 60), select={"probe": "shop*"}, counted=False
    )
    windows = Windows(clock, [work])
    shop, mail = ({"alertname": "Down", "severity": "critical", "probe": name} for name in ("shop", "mail"))

    assert 'maintenance "move" until 2027-01-15T08:01:00.000Z' == windows.hold(
        Alert(rule="Down", labels=shop, series="a"), ()
    )
    assert "" == windows.hold(Alert(rule="Down", labels=mail, series="b"), ())
    assert (False, True) == (windows.counts(shop, ()), windows.counts(mail, ()))
    clock.advance(60.0)
    assert "" == windows.hold(Alert(rule="Down", labels=shop, series="a"), ())
    assert windows.counts(shop, ())


@given(st.lists(st.sampled_from([1.0, 30.0, 1500.0, 2700.0, 86_400.0, -600.0, -100_000.0]), max_size=30))
def test_what_is_open_is_right_at_any_time_also_when_the_clock_was_set(steps):
    whens = [cron("*/50 * * * *", 1500.0, "UTC"), weekly("18:00", "23:59", [], "Europe/Vienna")]
    clock = ManualClock()
    made = [Maintenance(name=str(number), when=when) for number, when in enumerate(whens)]
    windows = Windows(clock, made)
    for step in steps:
        clock.step_wall(step)

        assert open_at(made, clock.wall()) == windows.open()


def test_what_opens_each_minute_costs_a_run_nothing():
    """Each evaluation of an alert that waits, and each run, asks for the windows."""
    work = Maintenance(name="always", when=cron("* * * * *", 2700.0, "UTC"), select={"probe": "shop"}, counted=False)
    windows = Windows(ManualClock(), [work])
    first = windows.open()

    assert all(windows.open() is first for _ in range(100))


# ---------------------------------------------------------------- in a whole daemon


@pytest.fixture
def pager():
    with service() as running:
        yield running


def paged(pager):
    """`probe status` of each alert that the webhook was told of, in order."""
    found = [alert for body in pager.posted for alert in body["alerts"]]
    return [f"{alert['labels']['probe']} {alert['status']}" for alert in found]


def config(gateway_url, shop_url, pager, extra=""):
    return f"""
probes:
  - {{name: shop, interval: 200ms, timeout: 150ms, depends_on: [gateway], targets: ["{shop_url}/"]}}
  - {{name: gateway, interval: 300ms, timeout: 150ms, targets: ["{gateway_url}/"]}}
rules:
  - {{name: Down, threshold: "last < 1"}}
receivers: [{{name: pager, webhook: {{url: '{pager.url}/'}}}}]
state: {{path: state.sqlite3}}
{extra}
"""


def test_a_dead_gateway_pages_once_and_who_is_dead_beside_it_when_it_is_back(tmp_path, pager):
    file = tmp_path / "perfmon.yml"
    shop_url = f"http://127.0.0.1:{free_port()}"
    with service() as first:
        file.write_text(config(first.url, shop_url, pager))
        first.status = 503
        with perfmon(tmp_path, f"--config.file={file}") as daemon:
            held = ("pending", "inhibited by gateway")
            eventually(lambda: held in [(one["state"], one["held_back"]) for one in daemon.alerts()], "it is held")
            eventually(lambda: paged(pager), "the gateway pages")
            assert ["gateway firing"] == paged(pager)
            daemon.kill()
            daemon.start()  # nothing of this is lost by a restart
            eventually(
                lambda: held in [(one["state"], one["held_back"]) for one in daemon.alerts()], "it is held again"
            )
            first.status = 200
            eventually(lambda: len(paged(pager)) == 3, "the shop pages")
            assert ["gateway firing", "gateway resolved", "shop firing"] == paged(pager)
            assert "alert is held back" in [event["event"] for event in daemon.events()]


def test_maintenance_holds_pages_back_until_it_is_over(tmp_path, pager):
    file = tmp_path / "perfmon.yml"
    with service() as healthy:
        dead = f"http://127.0.0.1:{free_port()}"
        window = "maintenance: [{name: move, from: 2026-01-01T00:00, to: 2126-01-01T00:00, select: {probe: shop}}]"
        file.write_text(config(healthy.url, dead, pager, window))
        with perfmon(tmp_path, f"--config.file={file}") as daemon:
            held = 'maintenance "move" until 2126-01-01T00:00:00.000Z'
            eventually(lambda: [one["held_back"] for one in daemon.alerts()] == [held], "it is held")
            assert 'perfmon_maintenance{name="move"} 1' in daemon.metrics()
            assert [] == paged(pager)
            file.write_text(config(healthy.url, dead, pager))
            assert (200, "") == get(f"{daemon.url}/-/reload", method="POST")
            eventually(lambda: paged(pager) == ["shop firing"], "what is still broken pages")
            assert "perfmon_maintenance{" not in daemon.metrics()


def test_a_rule_reminds_while_it_fires_and_not_in_maintenance(tmp_path, pager):
    file = tmp_path / "perfmon.yml"
    with service() as healthy:
        dead = f"http://127.0.0.1:{free_port()}"
        often = config(healthy.url, dead, pager).replace('threshold: "last < 1"', 'threshold: "last < 1", reminder: 1s')
        file.write_text(often)
        with perfmon(tmp_path, f"--config.file={file}") as daemon:
            eventually(lambda: paged(pager)[:3] == ["shop firing"] * 3, "it reminds")
            file.write_text(f"{often}\nmaintenance: [{{name: move, from: 2026-01-01T00:00, to: 2126-01-01T00:00}}]\n")
            assert (200, "") == get(f"{daemon.url}/-/reload", method="POST")
            before = daemon.metric("perfmon_rule_evaluations_total", rule="Down")
            said = len(paged(pager))
            eventually(lambda: daemon.metric("perfmon_rule_evaluations_total", rule="Down") > before + 25, "3 s pass")
            assert len(paged(pager)) <= said + 1  # one may have been on its way
            assert ["firing"] == [one["state"] for one in daemon.alerts()]
