"""The Prometheus rules: accepted by promtool, firing when they should, explained, linked, of known metrics only."""

import json
import re
import subprocess
from functools import cache
from pathlib import Path
from urllib.parse import quote_plus

import msgspec
import promql
import pytest
import yaml

from perfmon.provision import rules
from perfmon.provision.rules import ALERTS, GROUPS, Alerting, Recording

ROOT = Path(__file__).parents[2]
RULES = ROOT / "rules" / "perfmon.rules.yml"
RUNBOOKS = ROOT / "docs" / "runbooks.md"

SELF = {"job": "perfmon", "instance": "perfmon:10737"}
LISTED = SELF | {"probe": "shop", "kind": "http"}
TARGET = {**SELF, "probe": "shop", "target": "http://shop/?a=1", "module": "http_2xx"}
SUCCESSES = {**TARGET, "result": "success", "reason": "none"}
PROCESS = {**SELF, "sampler": "shop", "group": "api"}
HOST = {**SELF, "sampler": "host"}
LEAK = {**PROCESS, "rule": "MemoryLeak", "metric": "perfmon_process_private_memory_bytes"}
CGROUP = {**SELF, "sampler": "units", "group": "api", "cgroup": "/system.slice/api.service"}
DISK = {**HOST, "device": "/dev/sda1", "fstype": "ext4", "mountpoint": "/srv"}

LOAD = {
    "job": "perf-test",
    "instance": "127.0.0.1:10738",
    "scenario": "checkout",
    "test": "load_checkout_20270115_080000",
    "name": "http://shop/",
}
BROKEN = {**LOAD, "threshold": "duration: p(95) < 200ms"}
INVALID = {**LOAD, "verdict": "INVALID"}


class Case(msgspec.Struct):
    """Series as promtool reads them, and at which times an alert is silent, fires, and is over."""

    alert: str
    severity: str
    series: list[tuple[str, dict[str, str], str]]
    labels: dict[str, str]  # of the alert, beside alertname and severity
    silent: str
    firing: str  # "" when it must not fire at all
    resolved: str  # "" where that takes days, and another case shows it
    summary: str = ""
    description: str = ""
    interval: str = "1m"


def histogram(name, labels, fast, slow_le, fast_le="0.1"):
    """All observations are up to `slow_le`, those of the series `fast` up to `fast_le`."""
    return [
        (f"{name}_bucket", {**labels, "le": fast_le}, fast),
        (f"{name}_bucket", {**labels, "le": slow_le}, "0+100x100"),
        (f"{name}_bucket", {**labels, "le": "+Inf"}, "0+100x100"),
    ]


SLOW_FROM_11M_TO_40M = "0+100x10 1000x29 1100+100x60"


def failing(share_failed, *, of=200, after=100):
    """A hundred runs a minute: fine for 100 minutes, some of them failing for `of` minutes, fine `after` it."""
    fine = 100 * (1 - share_failed)
    end = 9900 + fine * of
    return [
        ("perfmon_probe_latency_seconds_count", TARGET, f"0+100x{100 + of + after}"),
        (
            "perfmon_probe_runs_total",
            SUCCESSES,
            f"0+100x99 {9900 + fine:.9g}+{fine:.9g}x{of - 1} {end + 100:.9g}+100x{after}",
        ),
    ]


BURNS = "http://shop/?a=1 fails too often for its objective of 99.9%"

CASES = [
    Case(
        "ErrorBudgetBurns",
        "warning",
        failing(0.005),  # never so fast that it is critical
        TARGET,
        silent="99m",
        firing="290m",
        resolved="",
        summary=BURNS,
        description='0.3293% of the runs of probe "shop" of http://shop/?a=1 fail. At this pace more fails in 30 days than may.',
    ),
    *(
        Case("ErrorBudgetBurns", "critical", given, TARGET, silent="99m", firing="", resolved=resolved)
        for given, resolved in [
            # One failure in a quiet hour, and another: each is some 16 times too many.
            (
                [
                    ("perfmon_probe_latency_seconds_count", TARGET, "0+1x200"),
                    ("perfmon_probe_runs_total", SUCCESSES, "0+1x99 99 100+1x2 102 103+1x95"),
                ],
                "104m",
            ),
            # Half of the runs, and the target has an objective of its own.
            ([*failing(0.5), ("perfmon_slo_objective_ratio", TARGET | {"rule": "Own"}, "0.5x400")], "200m"),
        ]
    ),
    Case(
        "PerfTestThresholdBroken",
        "warning",
        [("perf_test_threshold_ok", BROKEN, "1x9 0x10 1x20")],
        BROKEN,
        silent="10m",
        firing="12m",
        resolved="22m",
        summary='Load test "checkout" breaks its threshold duration: p(95) < 200ms',
        description="Of all arrivals at http://shop/ so far, the threshold duration: p(95) < 200ms is broken. The run is "
        "load_checkout_20270115_080000.",
    ),
    Case(
        "PerfTestGeneratorInvalid",
        "warning",
        # When the test is over, so is the alert.
        [("perf_test_generator_verdict", INVALID, "0x9 1x10 stale")],
        INVALID,
        silent="10m",
        firing="12m",
        resolved="23m",
        summary='The figures of load test "checkout" are not the target\'s',
        description="The generator of run load_checkout_20270115_080000 is the limit, and not http://shop/: it is late, or "
        "its loop stands still. What the test shows is its own slowness.",
    ),
    Case(
        "ProbeDown",
        "critical",
        # Probed every 15 s, down from 2m to 3m: the second failure is seen at 2m15s, and lasts.
        [
            ("probe_success", TARGET, "1x23 0x11 1x24"),
            ("perfmon_probe_latency_seconds_count", TARGET, " ".join(f"{run}x2" for run in range(1, 21))),
            (
                "perfmon_probe_runs_total",
                SUCCESSES,
                " ".join(f"{run}x2" for run in [*range(1, 9), *[8] * 4, *range(9, 17)]),
            ),
        ],
        TARGET,
        silent="2m19s",
        firing="2m21s",
        resolved="3m5s",
        summary="http://shop/?a=1 is down",
        description='Probe "shop" of http://shop/?a=1 fails, as seen by perfmon:10737, '
        "and it is not the first failure of the last ten minutes.",
        interval="5s",
    ),
    Case(
        "ProbeDown",
        "critical",
        # Probed every 15 s, one failure only.
        [
            ("probe_success", TARGET, "1x23 0x2 1x33"),
            ("perfmon_probe_latency_seconds_count", TARGET, " ".join(f"{run}x2" for run in range(1, 21))),
            (
                "perfmon_probe_runs_total",
                SUCCESSES,
                " ".join(f"{run}x2" for run in [*range(1, 9), 8, *range(9, 20)]),
            ),
        ],
        TARGET,
        silent="2m10s",
        firing="",
        resolved="2m14s",
        interval="5s",
    ),
    Case(
        "ProbeDown",
        "critical",
        # Probed every ten minutes: there is no second run to wait for.
        [
            ("probe_success", TARGET, "1x29 0x10 1x10"),
            ("perfmon_probe_latency_seconds_count", TARGET, "1x9 2x9 3x9 4x9 5x9"),
            ("perfmon_probe_runs_total", SUCCESSES, "1x9 2x9 3x9 3x9 4x9"),
        ],
        TARGET,
        silent="29m",
        firing="30m30s",
        resolved="41m",
        summary="http://shop/?a=1 is down",
        description='Probe "shop" of http://shop/?a=1 fails, as seen by perfmon:10737, '
        "and it is not the first failure of the last ten minutes.",
    ),
    Case(
        "ProbeDown",
        "critical",
        # Down from the first run on, and a scrape in the middle fails: it goes on firing.
        [
            ("probe_success", TARGET, "0x5 stale _ 0x10 1x5"),
            ("perfmon_probe_latency_seconds_count", TARGET, "1+1x5 stale _ 9+1x15"),
            ("perfmon_probe_runs_total", SUCCESSES, "0x5 stale _ 0x10 1+1x5"),
        ],
        TARGET,
        silent="0m",
        firing="1m35s",
        resolved="4m45s",
        summary="http://shop/?a=1 is down",
        description='Probe "shop" of http://shop/?a=1 fails, as seen by perfmon:10737, '
        "and it is not the first failure of the last ten minutes.",
        interval="15s",
    ),
    Case(
        "ProbeFlapping",
        "warning",
        [("probe_success", TARGET, "1x30 0 1 0 1 0 1 1x70")],
        TARGET,
        silent="35m",
        firing="38m",
        resolved="80m",
        summary="http://shop/?a=1 fails on and off",
        description='Probe "shop" of http://shop/?a=1 went from good to bad or back 6 times in the last 30 minutes.',
    ),
    Case(
        "ProbeSlow",
        "warning",
        [
            *histogram("perfmon_probe_latency_seconds", TARGET, SLOW_FROM_11M_TO_40M, "5.0", "2.5"),
            ("probe_timeout_seconds", TARGET, "5x100"),
        ],
        TARGET,
        silent="20m",
        firing="25m",
        resolved="65m",
        summary="http://shop/?a=1 is slow",
        description='One in twenty runs of probe "shop" of http://shop/?a=1 takes 4.875s or longer: '
        "more than half the time it is given.",
    ),
    Case(
        "CertificateExpiring",
        "warning",
        [("probe_ssl_earliest_cert_expiry", TARGET, "1209900x60 9999999x30")],  # 14 days and 5 minutes from 0m
        TARGET,
        silent="14m",
        firing="35m",
        resolved="65m",
        summary="A certificate of http://shop/?a=1 expires in less than 14 days",
        description="The first certificate of the chain that http://shop/?a=1 sends expires in 13d 23h 30m 0s.",
    ),
    Case(
        "ProcessDown",
        "critical",
        [("perfmon_process_up", PROCESS, "1x20 0x20 1x20")],
        PROCESS,
        silent="5m40s",
        firing="6m",
        resolved="10m30s",
        summary='Process group "api" is not running',
        description='Sampler "shop" of perfmon:10737 finds no process of the group "api".',
        interval="15s",
    ),
    Case(
        "ProcessRestarting",
        "warning",
        [("perfmon_process_restarts_total", PROCESS, "0x10 1 2 3 3x60")],
        PROCESS,
        silent="12m",
        firing="20m",
        resolved="50m",
        summary='Process group "api" keeps restarting',
        description='Processes of the group "api" ended and were replaced 3 times in the last 15 minutes.',
    ),
    Case(
        "ProcessDescriptorsLow",
        "warning",
        [("perfmon_process_worst_fd_ratio", PROCESS, "0.5x10 0.85x20 0.5x30")],
        PROCESS,
        silent="15m",
        firing="20m",
        resolved="40m",
        summary='Process group "api" is about to run out of file descriptors',
        description='A process of the group "api" has 85% of the file descriptors open that it may have.',
    ),
    Case(
        "HostMemoryLow",
        "warning",
        [
            ("perfmon_host_memory_available_bytes", HOST, "200x10 50x20 200x40"),
            ("perfmon_host_memory_total_bytes", HOST, "1000x80"),
        ],
        HOST,
        silent="20m",
        firing="25m",
        resolved="40m",
        summary="The machine of perfmon:10737 is short of memory",
        description="5% of the memory of the machine of perfmon:10737 is left.",
    ),
    Case(
        "HostCpuSaturated",
        "warning",
        [
            (
                "perfmon_host_pressure_waiting_seconds_total",
                {**HOST, "resource": "cpu"},
                "0+6x10 108+48x39 1986+6x60",
            )
        ],
        {**HOST, "resource": "cpu"},
        silent="25m",
        firing="40m",
        resolved="65m",
        summary="The machine of perfmon:10737 has too little CPU",
        description="On the machine of perfmon:10737 somebody waited for a CPU in 80% of the time: "
        "services answer later, and perfmon measures later.",
    ),
    *(
        Case(
            "HostFilesystemFull",
            severity,
            [
                ("perfmon_host_filesystem_available_bytes", DISK, f"200x10 {available}x20 200x40"),
                ("perfmon_host_filesystem_size_bytes", DISK, "1000x80"),
                ("perfmon_host_filesystem_readonly", DISK, f"{readonly}x80"),
            ],
            DISK,
            silent="15m",
            firing=firing,
            resolved="45m",
            summary="/srv of perfmon:10737 is nearly full",
            description=f"{available / 10:g}% of the filesystem /srv on the machine of perfmon:10737 is left.",
        )
        for severity, available, readonly, firing in [("warning", 50, 0, "20m"), ("warning", 50, 1, "")]
    ),
    Case(
        "SamplerFailing",
        "warning",
        [("perfmon_sampler_success", HOST, "1x10 0x20 1x20")],
        HOST,
        silent="15m",
        firing="20m",
        resolved="33m",
        summary='Sampler "host" reads nothing',
        description='Sampler "host" of perfmon:10737 does not find what it looks for; '
        "perfmon's status page and log say what.",
    ),
    Case(
        "SamplerFailing",
        "warning",
        # That is ProcessDown's matter.
        [
            ("perfmon_sampler_success", {**SELF, "sampler": "shop"}, "1x10 0x40"),
            ("perfmon_process_up", PROCESS, "1x10 0x40"),
        ],
        PROCESS,
        silent="20m",
        firing="",
        resolved="40m",
    ),
    Case(
        "PerfmonDown",
        "critical",
        [("up", SELF, "1x20 0x20 1x20")],
        SELF,
        silent="6m",
        firing="7m30s",
        resolved="10m30s",
        summary="perfmon does not answer",
        description="Prometheus cannot scrape perfmon at perfmon:10737: nothing that it watches is being watched.",
        interval="15s",
    ),
    Case(
        "PerfmonDown",
        "critical",
        [("up", SELF, "1x10 stale _x30 1x10")],  # Prometheus' configuration has no such job for a while
        {"job": "perfmon"},
        silent="10m",
        firing="13m",
        resolved="42m",
        summary="perfmon does not answer",
        description="Prometheus cannot scrape perfmon (it knows no such target): "
        "nothing that it watches is being watched.",
    ),
    Case(
        "PerfmonConfigReloadFailed",
        "warning",
        [("perfmon_config_last_reload_successful", SELF, "1x10 0x20 1x20")],
        SELF,
        silent="15m",
        firing="20m",
        resolved="33m",
        summary="perfmon perfmon:10737 runs on an old configuration",
        description="The last reload of perfmon perfmon:10737 failed; it goes on with the configuration it had. "
        "`perfmon check FILE` tells every mistake.",
    ),
    Case(
        "PerfmonSchedulerStuck",
        "critical",
        [("perfmon_schedule_due_total", SELF, "0+60x10 600x40 660+60x20"), ("perfmon_series", SELF, "100x80")],
        SELF,
        silent="28m",
        firing="35m",
        resolved="55m",
        summary="perfmon perfmon:10737 runs no probes",
        description="perfmon perfmon:10737 has probes or samplers and has started none in 15 minutes.",
    ),
    Case(
        "PerfmonSchedulerStuck",
        "critical",
        [("perfmon_schedule_due_total", SELF, "0x60"), ("perfmon_series", SELF, "0x60")],  # nothing is to be watched
        SELF,
        silent="10m",
        firing="",
        resolved="40m",
    ),
    Case(
        "LeakFound",
        "warning",
        [("perfmon_leak_verdict", {**LEAK, "verdict": "leak"}, "0x10 1x40 0x90")],
        {**LEAK, "verdict": "leak"},
        silent="20m",
        firing="22m",
        resolved="110m",
        summary='perfmon_process_private_memory_bytes of "api" leaks',
        description='Rule "MemoryLeak" of perfmon perfmon:10737 finds that perfmon_process_private_memory_bytes of '
        '"api" grows, and nothing that speaks against a leak.',
    ),
    Case(
        "LeakFound",
        "warning",
        [
            ("perfmon_leak_verdict", {**LEAK, "verdict": "growing"}, "1x60"),
            ("perfmon_leak_verdict", {**LEAK, "verdict": "leak"}, "0x60"),
        ],
        {},
        silent="20m",
        firing="",
        resolved="60m",
    ),
    Case(
        "LeakNearLimit",
        "critical",
        # The gauge of the time left goes with the leak; a leak with days to go is no emergency.
        [
            ("perfmon_leak_verdict", {**LEAK, "verdict": "leak"}, "1x100 0x90"),
            ("perfmon_leak_seconds_to_limit", LEAK, "28800-240x100 _x90"),
        ],
        LEAK,
        silent="60m",
        firing="80m",
        resolved="180m",
        summary='perfmon_process_private_memory_bytes of "api" reaches its limit within hours',
        description='At its rate of now, perfmon_process_private_memory_bytes of "api" reaches its limit in 2h 40m 0s.',
    ),
    Case(
        "CgroupOomKill",
        "critical",
        [("perfmon_cgroup_memory_events_total", {**CGROUP, "event": "oom_kill"}, "0x10 1x60")],
        {**CGROUP, "event": "oom_kill"},
        silent="10m",
        firing="12m",
        resolved="30m",
        summary="Control group /system.slice/api.service ran out of memory",
        description="The kernel killed a process of /system.slice/api.service in the last 10 minutes, for the group "
        "was at its memory limit.",
    ),
    Case(
        "CgroupMemoryNearLimit",
        "warning",
        [
            ("perfmon_cgroup_memory_working_set_bytes", CGROUP, "500x10 950x30 500x60"),
            ("perfmon_cgroup_memory_limit_bytes", CGROUP, "1000x100"),
        ],
        CGROUP,
        silent="14m",
        firing="20m",
        resolved="60m",
        summary="Control group /system.slice/api.service is near its memory limit",
        description="/system.slice/api.service uses 95% of the memory it may have, file cache that can be dropped left "
        "out. What comes next is the OOM killer.",
    ),
    Case(
        "CgroupThrottled",
        "warning",
        [
            ("perfmon_cgroup_cpu_throttled_periods_total", CGROUP, "0x10 0+300x40 12000x60"),
            ("perfmon_cgroup_cpu_periods_total", CGROUP, "0+600x110"),
        ],
        CGROUP,
        silent="20m",
        firing="40m",
        resolved="80m",
        summary="Control group /system.slice/api.service is held back by its CPU limit",
        description="/system.slice/api.service had used up its share of CPU in 50% of the periods in which it ran: "
        "what it serves waits, though CPUs may be idle.",
    ),
    Case(
        "CgroupTasksNearLimit",
        "warning",
        [
            ("perfmon_cgroup_tasks", CGROUP, "10x10 95x30 10x60"),
            ("perfmon_cgroup_tasks_limit", CGROUP, "100x100"),
        ],
        CGROUP,
        silent="14m",
        firing="20m",
        resolved="60m",
        summary="Control group /system.slice/api.service can soon start no thread",
        description="/system.slice/api.service has 95% of the processes and threads that it may have.",
    ),
    Case(
        "PerfmonSchedulerLate",
        "warning",
        histogram("perfmon_schedule_lateness_seconds", SELF, SLOW_FROM_11M_TO_40M, "2.5"),
        SELF,
        silent="20m",
        firing="25m",
        resolved="60m",
        summary="perfmon perfmon:10737 is late",
        description="One in a hundred runs of perfmon perfmon:10737 begins 2.476s or more after it was due: "
        "the machine is too small or too busy for what is watched.",
    ),
    Case(
        "PerfmonRunsSkipped",
        "warning",
        [
            ("perfmon_schedule_skipped_total", {**SELF, "why": "busy"}, "0x10 5+5x30 155x60"),
            ("perfmon_schedule_due_total", SELF, "0+100x100"),
        ],
        SELF,
        silent="12m",
        firing="40m",
        resolved="75m",
        summary="perfmon perfmon:10737 skips runs",
        description="perfmon perfmon:10737 left out 5% of the runs that were due in the last 15 minutes, "
        "for the run before was not over or too many were under way.",
    ),
    Case(
        "PerfmonLoopBlocked",
        "warning",
        histogram("perfmon_loop_lag_seconds", SELF, SLOW_FROM_11M_TO_40M, "1.0"),
        SELF,
        silent="20m",
        firing="25m",
        resolved="60m",
        summary="perfmon perfmon:10737 measures too long",
        description="The event loop of perfmon perfmon:10737 is held up for 991ms, which adds to what it measures.",
    ),
    *(
        Case(
            "PerfmonNotificationsFailing",
            "critical",
            [
                ("perfmon_notifications_total", {**SELF, "receiver": "pager", "outcome": outcome}, values),
                ("perfmon_series", SELF, "9x70"),
            ],
            {**SELF, "receiver": "pager", "outcome": outcome},
            silent="9m",
            firing=firing,
            resolved="45m",
            summary='perfmon perfmon:10737 cannot tell "pager"',
            description=f'Alerts for the receiver "pager" of perfmon perfmon:10737 are lost ({outcome}).',
        )
        for outcome, values, firing in [
            ("failed", "_x10 1x60", "12m"),  # the series begins with the failure
            ("dropped", "3x10 4x60", "13m"),
            ("sent", "3x10 4x60", ""),
            ("failed", "4x70", ""),  # long ago, but a Prometheus that just started sees it for the first time
        ]
    ),
    Case(
        "PerfmonNotificationsWaiting",
        "warning",
        [("perfmon_notifications_queued", SELF | {"receiver": "pager"}, "0x10 2x5 0 3x30 0x40")],
        SELF | {"receiver": "pager"},
        silent="25m",
        firing="29m",
        resolved="55m",
        summary='perfmon perfmon:10737 waits for "pager"',
        description='For 10 minutes there has been something to tell the receiver "pager" of perfmon perfmon:10737. '
        "It is kept and tried again, and comes late.",
    ),
    Case(
        "PerfmonRestarting",
        "warning",
        [("perfmon_schedule_due_total", SELF, "0+60x10 0+60x10 0+60x10 0+60x120")],
        SELF,
        silent="30m",
        firing="36m",
        resolved="100m",
        summary="perfmon perfmon:10737 keeps restarting",
        description="perfmon perfmon:10737 began anew 3 times in the last hour.",
    ),
    Case(
        "PerfmonSeriesLimit",
        "warning",
        [("perfmon_series_dropped_total", SELF, "0x10 5+5x20 105x40")],
        SELF,
        silent="10m",
        firing="15m",
        resolved="55m",
        summary="perfmon perfmon:10737 exports not all series",
        description="perfmon perfmon:10737 has reached `limits.series`; what came last is not exported.",
    ),
    *(
        Case(
            "PerfmonDiscoveryFailing",
            "warning",
            [
                ("perfmon_discovery_refreshes_total", LISTED | {"outcome": "failed"}, failed),
                ("perfmon_discovery_last_success_timestamp_seconds", LISTED, succeeded),
            ],
            LISTED | {"outcome": "failed"},
            silent="20m",
            firing=firing,
            resolved="150m",
            summary='perfmon perfmon:10737 does not learn the targets of "shop"',
            description='A http source of targets of the probe "shop" fails. The targets that it named last are watched '
            "on; new ones are missed.",
        )
        for failed, succeeded, firing in [
            ("0x10 1+1x40 41x150", "600x50 3060x150", "30m"),
            ("0x20 1x200", "0x20 1260x200", ""),  # once
            ("0x110 1x200", "0x135 8160x200", "140m"),  # looked at once in a while, and silent for two hours
        ]
    ),
    *(
        Case(
            "PerfmonStoreFailing",
            "warning",
            [(f"perfmon_store_{what}_total", SELF, "0x10 1x60")],
            SELF,
            silent="10m",
            firing="15m",
            resolved="45m",
            summary="perfmon perfmon:10737 cannot keep its state",
            description="perfmon perfmon:10737 cannot write its state file. It goes on measuring and alerting; "
            "after a restart it may tell of alerts again.",
        )
        for what in ("errors", "lost")
    ),
    Case(
        "PerfmonDefect",
        "info",
        [("perfmon_defects_total", {**SELF, "where": "probe"}, "_x70 1x150"), ("perfmon_series", SELF, "9x200")],
        {**SELF, "where": "probe"},
        silent="69m",
        firing="73m",
        resolved="140m",
        summary="perfmon perfmon:10737 met a defect of its own",
        description='An error of perfmon\'s own was caught in "probe"; the log of perfmon:10737 has the traceback. '
        "Please report it.",
    ),
]


def series(name, labels, values):
    pairs = ", ".join(f"{label}={json.dumps(value)}" for label, value in labels.items())
    return {"series": f"{name}{{{pairs}}}", "values": values}


def shown_on(case):
    """The dashboard that the alert leads to, and what is chosen there."""
    if case.alert == "ErrorBudgetBurns":
        return "slo", ("target", "probe")
    if case.alert.startswith(("Leak", "Cgroup", "Process")):
        return "resources", ("instance", "group", "cgroup") if "cgroup" in case.labels else ("instance", "group")
    if case.alert.startswith("PerfTest"):
        return "load", ("instance", "test")
    if case.alert.startswith("Host"):
        return "fleet", ("instance",)
    if case.alert.startswith(("Perfmon", "Sampler", "Watchdog")):
        return "itself", ("instance",)
    return "target", ("target", "probe")


def expected_alert(case, severity=None, **annotations):
    board, shown = shown_on(case)
    place = "&".join(f"var-{label}={quote_plus(case.labels.get(label, ''))}" for label in shown)
    return {
        "exp_labels": {**case.labels, "severity": severity or case.severity},
        "exp_annotations": {
            "summary": case.summary,
            "description": case.description,
            "runbook_url": f"docs/runbooks.md#{case.alert.lower()}",
            "dashboard_url": f"http://127.0.0.1:3000/d/perfmon-{board}?{place}",
            **annotations,
        },
    }


def at(alert, time, *expected):
    return {"alertname": alert, "eval_time": time, "exp_alerts": list(expected)}


@cache
def groups_as_written():
    return yaml.safe_load(RULES.read_text())["groups"]


def only(alert):
    """The rules of the file that have to do with an alert: the others would cost as much for nothing."""
    groups = groups_as_written()
    every = [rule for group in groups for rule in group["rules"]]
    wanted = [rule for rule in every if rule.get("alert") == alert]
    for rule in wanted:  # which grows meanwhile
        wanted += [one for one in every if one.get("record", "-") in rule["expr"] and one not in wanted]
    kept = [group | {"rules": [rule for rule in group["rules"] if rule in wanted]} for group in groups]
    return {"groups": [group for group in kept if group["rules"]]}


def promtool(binary, tmp_path, alert, test, *, every="30s"):
    """Run a unit test of one alert; returns the exit code and what was printed."""
    kept = only(alert)
    (tmp_path / "only.rules.yml").write_text(json.dumps(kept))
    file = tmp_path / "rules.test.yml"
    order = [group["name"] for group in kept["groups"]]  # else it is another one at each run
    settings = {"rule_files": ["only.rules.yml"], "evaluation_interval": every, "group_eval_order": order}
    file.write_text(json.dumps(settings | {"tests": [test]}))
    ran = subprocess.run([binary("promtool"), "test", "rules", str(file)], capture_output=True, text=True, check=False)
    return ran.returncode, ran.stdout + ran.stderr


@pytest.mark.servers
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.alert}-{case.series[0][0]}-{case.firing or 'silent'}")
def test_alert_fires_when_it_should_and_only_then(binary, tmp_path, case):
    """Silent before, firing with its labels and its words, resolved afterwards."""
    firing = [at(case.alert, case.firing, expected_alert(case))] if case.firing else []
    over = [at(case.alert, case.resolved)] if case.resolved else []
    test = {
        "interval": case.interval,
        "input_series": [series(*given) for given in case.series],
        "alert_rule_test": [at(case.alert, case.silent), *firing, *over],
    }

    code, printed = promtool(
        binary, tmp_path, case.alert, test, every="30s" if case.interval == "1m" else case.interval
    )
    assert 0 == code, printed


TWO_LEVELS = [
    (
        "CertificateExpiring",
        [("probe_ssl_earliest_cert_expiry", TARGET, "259200x60 9999999x30")],
        TARGET,
        ("5m", "30m", "75m"),
        {
            level: (
                f"A certificate of http://shop/?a=1 expires in less than {days} days",
                "The first certificate of the chain that http://shop/?a=1 sends expires in 2d 23h 30m 0s.",
            )
            for level, days in [("warning", 14), ("critical", 3)]
        },
    ),
    (
        "HostFilesystemFull",
        [
            ("perfmon_host_filesystem_available_bytes", DISK, "200x10 20x50 200x40"),
            ("perfmon_host_filesystem_size_bytes", DISK, "1000x90"),
            ("perfmon_host_filesystem_readonly", DISK, "0x90"),
        ],
        DISK,
        ("5m", "30m", "75m"),
        dict.fromkeys(
            ("warning", "critical"),
            (
                "/srv of perfmon:10737 is nearly full",
                "2% of the filesystem /srv on the machine of perfmon:10737 is left.",
            ),
        ),
    ),
    (
        "ErrorBudgetBurns",
        failing(0.1, of=60, after=400),
        TARGET,
        ("99m", "150m", "550m"),
        {
            level: (BURNS, f'{share}% of the runs of probe "shop" of http://shop/?a=1 fail. At this pace {means}')
            for level, share, means in [
                ("warning", 3.4, "more fails in 30 days than may."),
                ("critical", 8.5, "what may fail in 30 days has failed in 5 days or less."),
            ]
        },
    ),
]


@pytest.mark.servers
@pytest.mark.parametrize(("alert", "given", "labels", "times", "words"), TWO_LEVELS, ids=lambda one: str(one)[:20])
def test_an_alert_of_two_levels_fires_both(binary, tmp_path, alert, given, labels, times, words):  # noqa: PLR0917 - pytest names them
    """Alertmanager is told of the warning too, and inhibits it by the critical one."""
    silent, firing, resolved = times
    case = Case(alert, "", given, labels, silent=silent, firing=firing, resolved=resolved)
    both = [
        expected_alert(case, severity, summary=summary, description=description)
        for severity, (summary, description) in words.items()
    ]
    test = {
        "interval": "1m",
        "input_series": [series(*one) for one in given],
        "alert_rule_test": [at(alert, silent), at(alert, firing, *both), at(alert, resolved)],
    }

    code, printed = promtool(binary, tmp_path, alert, test, every="1m")
    assert 0 == code, printed


@pytest.mark.servers
def test_watchdog_always_fires(binary, tmp_path):
    case = Case("Watchdog", "none", [], {}, silent="", firing="0m", resolved="")
    case.summary = "The way of alerts is open"
    case.description = (
        "This alert always fires. Have somebody outside told when it no longer arrives: then Prometheus, "
        "Alertmanager or the way between them is broken."
    )
    alerts = [at("Watchdog", time, expected_alert(case)) for time in ("0m", "1h")]

    code, printed = promtool(binary, tmp_path, "Watchdog", {"interval": "1m", "alert_rule_test": alerts})
    assert 0 == code, printed


def test_every_alert_is_shown_silent_firing_and_resolved():
    """Each level of each alert in the file; the Watchdog alone is never silent."""
    one_level = {(case.alert, case.severity) for case in CASES if case.silent and case.firing and case.resolved}
    two_levels = {(alert, level) for alert, *_, words in TWO_LEVELS for level in words}

    assert {(rule["alert"], rule["labels"]["severity"]) for rule in alerts_as_written()} == (
        one_level | two_levels | {("Watchdog", "none")}
    )


@pytest.mark.servers
def test_promtool_accepts_the_rules(binary):
    command = [binary("promtool"), "check", "rules", "--lint=all", "--lint-fatal", str(RULES)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)

    assert 0 == checked.returncode, checked.stdout + checked.stderr


def test_the_committed_rules_are_current():
    """`perfmon rules --out rules` was run after the last change."""
    assert rules.document() == RULES.read_text()


def test_links_can_be_set():
    text = rules.document(rules.Links(runbooks="https://runbooks.example/p", grafana="https://grafana.example"))

    assert "https://runbooks.example/p#probedown" in text
    assert "https://grafana.example/d/perfmon-target?var-" in text
    assert "127.0.0.1" not in text


def alerts_as_written():
    return [rule for group in groups_as_written() for rule in group["rules"] if "alert" in rule]


@cache
def dashboards():
    return [json.loads(file.read_text()) for file in (ROOT / "dashboards").glob("*.json")]


@pytest.mark.parametrize("alert", alerts_as_written(), ids=lambda rule: f"{rule['alert']}-{rule['labels']['severity']}")
def test_every_alert_is_explained(alert):
    """Severity, words, and a runbook that exists."""
    anchors = {heading.lower() for heading in re.findall(r"^## (\w+)$", RUNBOOKS.read_text(), re.MULTILINE)}
    annotations = alert["annotations"]

    assert alert["labels"]["severity"] in ("critical", "warning", "info", "none")
    assert {"summary", "description", "runbook_url", "dashboard_url"} == set(annotations)
    assert "$value" not in annotations["summary"]  # it would change while the alert fires
    assert annotations["runbook_url"] == f"docs/runbooks.md#{alert['alert'].lower()}"
    assert alert["alert"].lower() in anchors
    assert re.search(r"/d/([\w-]+)\?", annotations["dashboard_url"])[1] in {board["uid"] for board in dashboards()}
    assert "for" in alert or alert["alert"] == "Watchdog"


def test_every_runbook_has_its_alert():
    headings = re.findall(r"^## (\w+)$", RUNBOOKS.read_text(), re.MULTILINE)

    assert sorted({rule.alert for rule in ALERTS}) == sorted(headings)


@pytest.mark.parametrize(
    "rule",
    [rule for group in GROUPS for rule in group.rules],
    ids=lambda rule: getattr(rule, "alert", "") or rule.record,
)
def test_every_metric_is_in_the_catalogue(rule):
    recorded = {one.record for group in GROUPS for one in group.rules if isinstance(one, Recording)}

    assert {one.name for one in promql.asked(rule.expr)} <= set(promql.exported()) | recorded | {"up", "ALERTS"}


def test_recorded_names_say_level_metric_and_operations():
    names = [one.record for group in GROUPS for one in group.rules if isinstance(one, Recording)]

    assert all(re.fullmatch(r"(target|instance):perfmon_\w+:\w+", name) for name in names)
    assert not [name for name in names if "_total:" in name]


def test_state_gauges_are_read_over_a_window():
    """A scrape that fails must neither fire nor resolve: no bare gauge is compared."""
    bare = re.compile(r"(?<![\w(])(probe_success|perfmon_process_up|perfmon_sampler_success)\b(?!\[)")

    assert [] == [rule.alert for rule in ALERTS if isinstance(rule, Alerting) and bare.search(rule.expr)]
