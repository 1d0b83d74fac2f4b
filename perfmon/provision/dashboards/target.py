"""Target detail: one target, or a few: is it up, how fast, where the time goes, why it fails, how long it may."""

from perfmon.provision.dashboards.asked import (
    CERTIFICATE,
    GOOD_AT_ZERO,
    PERFMON,
    PHASE_COLORS,
    PHASES,
    REASON_COLORS,
    RELOADS,
    TARGET,
    TARGETS,
    UP_AND_DOWN,
    alerts,
    failures,
    quantile,
    success,
)
from perfmon.provision.grafana import (
    Board,
    Column,
    Frame,
    Panel,
    Query,
    Row,
    heat,
    lines,
    number,
    states,
    targets_table,
)

__all__ = ["board"]

LATENCY = "perfmon_probe_latency_seconds"
NAME = "{{probe}} {{target}}"


def board() -> Board:
    """All about the chosen targets."""
    return Board(
        uid="perfmon-target",
        title="perfmon / Target detail",
        description="One target, or a few: how it is, where the time of a run goes, and why runs failed.",
        variables=TARGETS,
        annotations=(
            alerts(f'probe=~"$probe", target=~"$target", {PERFMON}', "{{probe}} {{target}}"),
            RELOADS,
        ),
        rows=(
            Row(1, "Now", _now()),
            Row(2, "Latency", _latency()),
            Row(3, "Failures", _failures()),
            Row(4, "What it answers", _answers()),
            Row(5, "Certificates", _certificates()),
        ),
    )


def _now() -> tuple[Panel, ...]:
    return (
        number(
            Frame(
                11,
                "State",
                "Whether the last run succeeded; of several targets, that of the worst.",
                "short",
                4,
                4,
                ((None, "red"), (1.0, "green")),
            ),
            Query(f"min(probe_success{{{TARGET}}})"),
            words=UP_AND_DOWN,
        ),
        number(
            Frame(
                12,
                "Success",
                "Share of the runs in the chosen time that succeeded.",
                "percentunit",
                4,
                4,
                ((None, "red"), (0.95, "orange"), (0.99, "green")),
                decimals=2,
            ),
            Query(success("", "$__range")),
        ),
        number(
            Frame(13, "Failed runs", "Runs in the chosen time that failed.", "short", 4, 4, GOOD_AT_ZERO, decimals=0),
            Query(failures("", "$__range")),
        ),
        number(
            Frame(14, "Latency p95", "Nineteen in twenty runs take no longer.", "s", 4, 4),
            Query(quantile(0.95, LATENCY, TARGET)),
            history=True,
        ),
        number(
            Frame(
                15,
                "Last run",
                "How long ago the last run began; of several targets, the one not seen longest.",
                "s",
                4,
                4,
                decimals=0,
            ),
            Query(f"time() - min(perfmon_probe_last_run_timestamp_seconds{{{TARGET}}})"),
        ),
        number(
            Frame(
                16,
                "Certificate expires in",
                "Time until the first certificate of the chain expires.",
                "dtdurations",
                4,
                4,
                CERTIFICATE,
                empty="no TLS",
            ),
            Query(f"min(probe_ssl_earliest_cert_expiry{{{TARGET}}}) - time()"),
        ),
        states(
            Frame(17, "State over time", "Up and down; a gap is a time without a scrape.", "short", 24, 4),
            Query(f"probe_success{{{TARGET}}}", NAME),
            UP_AND_DOWN,
        ),
    )


def _latency() -> tuple[Panel, ...]:
    return (
        heat(
            Frame(
                21,
                "Latency",
                "How many runs took how long. Each dot is one run; a click on it opens that run in perfmon.",
                "s",
                12,
                10,
            ),
            Query(f"sum by (le) (increase({LATENCY}_bucket{{{TARGET}}}[$__rate_interval]))", "{{le}}", exemplars=True),
        ),
        lines(
            Frame(
                22,
                "Percentiles",
                "Half of the runs, nineteen in twenty, and all but one in a hundred take no longer. Each dot is one"
                " run; a click on it opens that run in perfmon.",
                "s",
                12,
                10,
                colors={"p50": "green", "p95": "orange", "p99": "red"},
            ),
            *(
                Query(quantile(q, LATENCY, TARGET), f"p{q * 100:.0f}", exemplars=q == _HIGHEST)
                for q in (0.5, 0.95, _HIGHEST)
            ),
        ),
        lines(
            Frame(
                23,
                "Phases",
                "Where the time of a run goes: resolve the name, connect, agree on TLS, send the request, wait for the"
                " answer's first byte (processing), read it (transfer).",
                "s",
                16,
                10,
                colors=PHASE_COLORS,
            ),
            *PHASES,
            stacked=True,
        ),
        lines(
            Frame(
                24,
                "Last run of its time-out",
                "How much of the time that it is given at most the last run took.",
                "percentunit",
                8,
                10,
                ((None, "green"), (0.8, "red")),
            ),
            Query(f"probe_duration_seconds{{{TARGET}}} / probe_timeout_seconds{{{TARGET}}}", NAME),
            top=1,
        ),
    )


_HIGHEST = 0.99


def _failures() -> tuple[Panel, ...]:
    reasons = f'increase(perfmon_probe_runs_total{{result="failure", {TARGET}}}[$__rate_interval])'
    return (
        lines(
            Frame(
                31,
                "Failures by reason",
                "Failed runs; docs/runbooks.md tells what to do by reason.",
                "short",
                12,
                9,
                colors=REASON_COLORS,
            ),
            Query(f"sum by (reason) ({reasons})", "{{reason}}"),
            stacked=True,
            bars=True,
        ),
        lines(
            Frame(
                32,
                "Share of runs that fail",
                "Of the runs of each target.",
                "percentunit",
                12,
                9,
                ((None, "green"), (0.05, "red")),
            ),
            Query(
                f"({failures(' by (probe, target)', '$__rate_interval')})"
                f" / sum by (probe, target) (increase({LATENCY}_count{{{TARGET}}}[$__rate_interval]))",
                NAME,
            ),
            top=1,
        ),
    )


def _answers() -> tuple[Panel, ...]:
    return (
        states(
            Frame(
                41,
                "Status codes",
                "Of the final answer over HTTP; 0 where none came.",
                "short",
                24,
                6,
                empty="no HTTP",
            ),
            Query(f"probe_http_status_code{{{TARGET}}}", NAME),
            {"0": ("no answer", "red")},
            ranges=_STATUSES,
        ),
        lines(
            Frame(
                42, "Redirects", "How many were met on the way to the final answer.", "short", 12, 8, empty="no HTTP"
            ),
            Query(f"probe_http_redirects{{{TARGET}}}", NAME),
        ),
        lines(
            Frame(43, "Body", "Size of the final answer, decompressed.", "bytes", 12, 8, empty="no HTTP"),
            Query(f"probe_http_uncompressed_body_length{{{TARGET}}}", NAME),
        ),
    )


_STATUSES = (
    (100, 199, "text"),
    (200, 299, "green"),
    (300, 399, "blue"),
    (400, 499, "orange"),
    (500, 599, "red"),
)


def _certificates() -> tuple[Panel, ...]:
    by = "probe, target"
    return (
        targets_table(
            Frame(51, "Certificates", "What each target shows who speaks TLS with it.", "short", 24, 5, empty="no TLS"),
            {"probe": "Probe", "target": "Target", "subject": "Subject", "issuer": "Issuer"},
            (
                Column(
                    "Expires in",
                    f"min by ({by}) (probe_ssl_earliest_cert_expiry{{{TARGET}}}) - time()"
                    f" + on ({by}) group_right () 0 * max by ({by}, subject, issuer)"
                    f" (probe_ssl_last_chain_info{{{TARGET}}})",
                    "dtdurations",
                    CERTIFICATE,
                ),
            ),
            {},
        ),
        lines(
            Frame(
                52,
                "Days left",
                "Until the first certificate of the chain expires; it goes up when it was renewed.",
                "d",
                24,
                7,
                ((None, "red"), (3.0, "orange"), (14.0, "green")),
                empty="no TLS",
                decimals=1,
            ),
            Query(f"(min by ({by}) (probe_ssl_earliest_cert_expiry{{{TARGET}}}) - time()) / 86400", NAME),
        ),
    )
