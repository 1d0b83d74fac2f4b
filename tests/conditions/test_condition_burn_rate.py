"""The condition `burn_rate`: failures must leave an error budget."""

import pytest

from perfmon.clock import ManualClock
from perfmon.conditions import burn_rate
from perfmon.model import Check, Count, Failure, Measurement, Module, Rule, Target, Window
from perfmon.monitor.rule import Rules
from perfmon.monitor.series import Series
from perfmon.monitor.store import Store

CONFIG = burn_rate.parse({"objective": "99.9%"})
HOUR_S, DAY_S = 3600.0, 86_400.0


def seen(failures, runs=None):
    """Spans in which so many runs failed; the others had nothing but successes, at one run a minute."""
    spans = burn_rate.count_spans(CONFIG)
    counts = {span: Count(int((runs or {}).get(span, span / 60)), failures.get(span, 0)) for span in spans}
    return Window(
        metric="failed", type="flag", unit="", times=(), values=(), now=1e4, span_s=0.0, since=0.0, last_at=1e4,
        interval_s=60.0, counts=counts,
    )  # fmt: skip


def judged(failures, runs=None):
    return burn_rate.evaluate(seen(failures, runs), CONFIG)


def test_the_usual_windows_are_googles():
    pairs = {(one.long_s, one.short_s, one.burn, one.severity) for one in CONFIG.pairs}

    assert {
        (HOUR_S, 300.0, 14.4, "critical"),
        (6 * HOUR_S, 1800.0, 6.0, "critical"),
        (DAY_S, 2 * HOUR_S, 3.0, "warning"),
        (3 * DAY_S, 6 * HOUR_S, 1.0, "warning"),
    } == pairs
    assert ("warning", "critical") == burn_rate.severities(CONFIG)


def test_of_another_period_the_shares_stay_and_windows_that_are_longer_are_left_out():
    week, hours = (burn_rate.parse({"objective": "99%", "period": period}) for period in ("7d", "12h"))

    assert {HOUR_S: 3.36, 6 * HOUR_S: 1.4, DAY_S: 0.7, 3 * DAY_S: 0.233333333} == {
        one.long_s: one.burn for one in week.pairs
    }
    assert [HOUR_S, 6 * HOUR_S] == [one.long_s for one in hours.pairs]


def test_both_windows_must_burn_and_the_long_one_have_failures_enough():
    fast = {HOUR_S: 3, 300.0: 1}

    assert "critical" == judged(fast).level
    assert "ok" == judged(fast | {300.0: 0}).level  # it is over
    assert "ok" == judged(fast | {HOUR_S: 2}).level  # 33 times too fast, of two failures


def test_a_slow_burn_is_a_warning_and_the_worst_pair_is_told():
    slow = {DAY_S: 5, 2 * HOUR_S: 1}

    assert "warning" == judged(slow).level
    assert "critical" == judged(slow | {HOUR_S: 3, 300.0: 1}).level


def test_it_says_all_of_it():
    runs = {HOUR_S: 360, 300.0: 30, 30 * DAY_S: 259_200}
    verdict = judged({HOUR_S: 12, 300.0: 2, 30 * DAY_S: 171}, runs)

    assert (
        "budget burns 33.3 times too fast: 12 of 360 runs failed in 1h, 2 of 30 in 5m, expected below 14.4;"
        " left: 34% of 30d" == verdict.why
    )
    assert (pytest.approx(33.3333333), 14.4, 360) == (verdict.value, verdict.limit, verdict.n)
    assert judged({DAY_S: 2}).why.startswith("budget burns at 1.39 times its pace: 2 of 1440 runs failed in 1d, 0 of")


def test_gauges_tell_objective_budget_and_every_burn_rate():
    facts = judged({HOUR_S: 3, 30 * DAY_S: 43}).facts

    assert pytest.approx(0.999) == facts["perfmon_slo_objective_ratio"]
    assert pytest.approx(1 - 43 / 43.2) == facts["perfmon_slo_error_budget_remaining_ratio"]
    assert pytest.approx(50.0) == facts['perfmon_slo_burn_rate{window="1h"}']
    windows = ["5m", "30m", "1h", "2h", "6h", "1d", "3d", "30d"]
    assert [f'perfmon_slo_burn_rate{{window="{window}"}}' for window in windows] == list(facts)[2:]


def test_without_a_run_it_waits():
    nothing = dict.fromkeys(burn_rate.count_spans(CONFIG), 0)

    assert ("waiting", "no run in 30d") == (judged({}, nothing).level, judged({}, nothing).why)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"objective": "100%"}, 'expected an objective between 0% and 100% such as 99.9%, got "100%"'),
        ({"objective": "99.9"}, 'expected an objective between 0% and 100% such as 99.9%, got "99.9"'),
        ({"objective": "99%", "period": "30m"}, "expected a period of 1h at least, or `windows`"),
        (
            {"objective": "99%", "windows": [{"long": "1h", "short": "1h", "burn": 2, "severity": "warning"}]},
            "expected a short window below the long one, and that within 30d, got 1h and 1h",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(raw, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")) as caught:
        burn_rate.parse(raw)

    assert message == str(caught.value)


@pytest.mark.parametrize(
    "raw",
    [
        {"objective": "99.9%"},
        {"objective": "95%", "period": "7d", "min_failures": 1},
        {"objective": "99%", "windows": [{"long": "10m", "short": "1m", "burn": 2.5, "severity": "warning"}]},
    ],
)
def test_it_is_written_as_it_is_read(raw):
    config = burn_rate.parse(raw)

    assert config == burn_rate.parse(burn_rate.written(config))
    assert raw.keys() <= burn_rate.written(config).keys()


def test_a_duration_has_no_budget():
    assert "a budget is of runs that fail, expected `failed` or `first_try_failed`" == burn_rate.problem(
        CONFIG, "gauge"
    )
    assert None is burn_rate.problem(CONFIG, "flag")


# ---------------------------------------------------------------- over time

CHECK = Check(
    target=Target(probe="shop", address="x"),
    module=Module(name="http_2xx", kind="http", timeout_s=5.0, config=None),
    interval_s=60.0,
)
REFUSED = Failure(reason="connect_refused", phase="connect", message="refused")


class Month:
    """A check once a minute under the rule, and what receivers hear."""

    def __init__(self):
        self.clock = ManualClock()
        self.series = Series(self.clock)
        self.series.add_check(CHECK)
        self.told, self.shown = [], {}
        self.rules = Rules(
            [Rule(name="Budget", kind="burn_rate", config=CONFIG)],
            window=self.series.window,
            long_window=self.series.long_window,
            counts=self.series.counts,
            show=lambda key, _labels, facts: self.shown.__setitem__(key, facts),
            store=Store("", clock=self.clock),
            tell=self.told.extend,
            clock=self.clock,
            on_defect=lambda where, error: pytest.fail(f"{where}: {error!r}"),
        )
        self.rules.add(CHECK.key, CHECK.labels, ("failed",), interval_s=60.0, now=self.clock.monotonic())

    def minutes(self, count, *, failing=False):
        """So many runs; answers with the minutes at which somebody was told, and what."""
        heard = []
        for minute in range(1, count + 1):
            self.clock.advance(60.0)
            now, failure = self.clock.monotonic(), REFUSED if failing else None
            run = Measurement(
                target=CHECK.target, module="m", at=now, duration_s=0.1, phases={}, facts={}, failure=failure
            )
            self.series.add(CHECK.key, run)
            for alert in self.rules.evaluate(CHECK.key, now):
                word = "resolved" if alert.resolved_at else "firing"
                heard.append((minute, alert.labels["severity"], word))
        return heard


def test_one_failed_probe_in_a_quiet_hour_pages_nobody():
    month = Month()

    assert [] == month.minutes(300) + month.minutes(1, failing=True) + month.minutes(600)


def test_an_outage_pages_at_its_third_failure_and_is_over_soon_after_it():
    month = Month()
    month.minutes(600)

    told = month.minutes(10, failing=True)
    assert [(3, "warning", "firing"), (3, "critical", "firing")] == told
    over = month.minutes(700)
    assert ["critical", "warning"] == [severity for _, severity, _ in over]
    assert over[0][0] <= 31  # the short window of 6h is half an hour
    assert over[1][0] <= 361
    assert 'perfmon_slo_burn_rate{window="5m"}' in month.shown[f"/rule/Budget/{CHECK.key}"]


def test_a_rule_that_goes_takes_its_gauges_along():
    month = Month()
    month.minutes(1)
    month.rules.remove(CHECK.key, month.clock.monotonic())

    assert {f"/rule/Budget/{CHECK.key}": {}} == month.shown
