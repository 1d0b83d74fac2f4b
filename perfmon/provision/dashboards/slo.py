"""SLO and burn rate: how much of the error budget is left, and how fast it goes, from the counters of runs alone.

The shares are of counted runs, never means of gauges, so that a window of thirty days is as exact as one of an hour.
A burn rate is the share of failed runs over the share that the objective allows: at 1 the budget lasts for its period.
Windows and rates are those of the SRE Workbook, chapter 5: https://sre.google/workbook/alerting-on-slos/
"""

from perfmon.provision.dashboards.asked import (
    PERFMON,
    RELOADS,
    TARGET,
    TARGETS,
    TO_TARGET,
    alerts,
    failures,
    opens,
    success,
)
from perfmon.provision.grafana import Board, Choice, Column, Frame, Panel, Query, Row, lines, number, targets_table

__all__ = ["board"]

ALLOWED = "(1 - $objective / 100)"
PAIRS = (("5m", "1h", 14.4), ("30m", "6h", 6.0), ("2h", "1d", 3.0), ("6h", "3d", 1.0))
"""Short window, long window, and the burn rate above which both mean trouble: two wake somebody, two are tickets."""

_LEFT = ((None, "red"), (0.0, "orange"), (0.25, "green"))
_BURN = ((None, "green"), (1.0, "yellow"), (6.0, "orange"), (14.4, "red"))


def board() -> Board:
    """What failures cost."""
    return Board(
        uid="perfmon-slo",
        title="perfmon / SLO and burn rate",
        description="Whether targets keep what is promised: the error budget of the chosen time, and how fast it goes.",
        variables=(*TARGETS, Choice("objective", "Objective (%)", ("99.9", "99", "99.5", "99.95", "99.99"))),
        annotations=(
            alerts(f'probe=~"$probe", target=~"$target", {PERFMON}', "{{probe}} {{target}}"),
            RELOADS,
        ),
        rows=(
            Row(1, "The chosen time", _now()),
            Row(2, "Budget", _budget()),
            Row(3, "Burn rate", _burn()),
        ),
        since="now-7d",
    )


def _burned(by: str, window: str) -> str:
    """How many times too fast; 0 while nothing fails."""
    runs = f"sum{by} (increase(perfmon_probe_latency_seconds_count{{{TARGET}}}[{window}]))"
    return f"({failures(by, window)}) / {runs} / {ALLOWED}"


def _now() -> tuple[Panel, ...]:
    return (
        number(
            Frame(11, "Objective", "The share of runs that must succeed; chosen above.", "percent", 4, 4),
            Query("vector($objective)"),
        ),
        number(
            Frame(
                12,
                "Success",
                "Share of the runs in the chosen time that succeeded.",
                "percentunit",
                5,
                4,
                decimals=3,
            ),
            Query(success("", "$__range")),
        ),
        number(
            Frame(
                13,
                "Error budget left",
                "Of the failures that the objective allows in the chosen time; below 0 there were more.",
                "percentunit",
                5,
                4,
                _LEFT,
                decimals=1,
            ),
            Query(f"1 - {_burned('', '$__range')}"),
        ),
        number(
            Frame(
                14,
                "Failed runs",
                "In the chosen time, and with them how many runs there were to fail.",
                "short",
                5,
                4,
                decimals=0,
            ),
            Query(failures("", "$__range")),
        ),
        number(
            Frame(
                15,
                "Burn rate of the last hour",
                "At 1 the budget lasts for its period, at 14.4 thirty days' budget is gone in two days.",
                "short",
                5,
                4,
                _BURN,
                decimals=1,
            ),
            Query(_burned("", "1h")),
        ),
    )


def _budget() -> tuple[Panel, ...]:
    by = "instance, probe, target"
    return (
        targets_table(
            Frame(21, "Targets", "Each target's budget in the chosen time.", "short", 24, 8),
            {"probe": "Probe", "target": "Target", "instance": "perfmon"},
            (
                Column("Budget left", f"1 - {_burned(f' by ({by})', '$__range')}", "percentunit", _LEFT, decimals=1),
                Column("Success", success(f" by ({by})", "$__range"), "percentunit", decimals=3),
                Column("Failed runs", failures(f" by ({by})", "$__range"), "short", decimals=0),
                *(
                    Column(f"Burn {window}", _burned(f" by ({by})", window), "short", _BURN, decimals=1)
                    for window in ("1h", "6h", "1d")
                ),
            ),
            {
                "target": (
                    "All about this target",
                    opens("perfmon-target", probe='__data.fields["Probe"]', target="__value.raw"),
                ),
                "probe": ("Only this probe", opens("perfmon-slo", probe="__value.raw")),
            },
        ),
        lines(
            Frame(
                22,
                "Error budget left",
                "Of a period as long as the chosen time, at each moment; below 0 more failed than is allowed. What lies"
                " below -100 % is not drawn.",
                "percentunit",
                12,
                9,
                ((None, "red"), (0.0, "green")),
                opens=TO_TARGET,
            ),
            Query(f"1 - {_burned(' by (probe, target)', '$__range')}", "{{probe}} {{target}}"),
            bottom=-1,
            top=1,
        ),
        lines(
            Frame(
                23,
                "Runs",
                "Failures and successes, over all chosen targets.",
                "short",
                12,
                9,
                colors={"failed": "red", "succeeded": "green"},
            ),
            Query(failures("", "$__rate_interval"), "failed"),
            Query(
                f'sum(increase(perfmon_probe_runs_total{{result="success", {TARGET}}}[$__rate_interval]))', "succeeded"
            ),
            stacked=True,
            bars=True,
        ),
    )


def _burn() -> tuple[Panel, ...]:
    return tuple(
        lines(
            Frame(
                id_,
                f"Burn rate of {short} and {long}",
                f"Over all chosen targets. Where both are above {limit:g}, the budget goes too fast: {then}.",
                "short",
                12,
                8,
                ((None, "green"), (limit, "red")),
                colors={long: "blue", short: "orange"},
            ),
            Query(_burned("", long), long),
            Query(_burned("", short), short),
        )
        for id_, (short, long, limit), then in zip(
            (31, 32, 33, 34),
            PAIRS,
            ("wake somebody", "wake somebody", "write a ticket", "write a ticket"),
            strict=True,
        )
    )
