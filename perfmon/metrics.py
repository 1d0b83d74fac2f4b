"""The catalogue: every family that perfmon exports, once.

Families that all probes share and those of perfmon itself stand here; a kind declares its own in its
file as `FAMILIES` (`perfmon.kinds.catalogue` gathers them), so a new kind needs no edit here.
Names and units follow https://prometheus.io/docs/practices/naming/.
"""

from typing import Literal

import msgspec

Type = Literal["gauge", "counter", "histogram"]

LATENCY_BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds; +Inf is implied. Twelve, since every bucket is a series per target."""

PERF_TEST_BUCKETS_S = (
    *(0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1),
    *(0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0),
)
"""Of a load test, which has few series of its own and asks more of each: half as far from one to the next."""


class Family(msgspec.Struct, frozen=True):
    """One metric family. A counter's name ends in `_total`; a histogram's `_bucket _sum _count` are implied."""

    name: str
    type: Type
    help: str
    labels: tuple[str, ...] = ()  # its own, beside those of the target or sampler it is about
    unit: Literal["seconds", "bytes", "ratio", ""] = ""


def family_named(name: str, text: str, *labels: str) -> Family:
    """A gauge or counter whose name tells its type and unit: `_total` ends a counter, and the unit stands before it."""
    stem = name.removesuffix("_total")
    unit = next(unit for unit in _UNITS if stem.endswith(unit))  # the last of them is "", which ends every name
    return Family(name, "gauge" if stem == name else "counter", text, labels, unit)


_UNITS: tuple[Literal["seconds", "bytes", "ratio", ""], ...] = ("seconds", "bytes", "ratio", "")


# Labels of every probe series: probe, target, module, and the user's own.
PROBE_FAMILIES = (
    Family("probe_success", "gauge", "Whether the last run of the probe succeeded."),
    Family("probe_duration_seconds", "gauge", "How long the last run of the probe took.", (), "seconds"),
    Family("probe_timeout_seconds", "gauge", "The time the probe is given at most.", (), "seconds"),
    Family("probe_dns_lookup_time_seconds", "gauge", "Time taken for the name look-up.", (), "seconds"),
    Family("probe_ip_protocol", "gauge", "Whether the probe used IPv4 (4) or IPv6 (6)."),
    Family("probe_ip_addr_hash", "gauge", "FNV-1a hash of the address probed; it changes when the address does."),
    Family(
        "probe_ssl_earliest_cert_expiry",
        "gauge",
        "When the first certificate of the chain that was sent expires, in Unix time.",
        (),
        "seconds",
    ),
    Family(
        "probe_ssl_last_chain_expiry_timestamp_seconds",
        "gauge",
        "When the last of the verified chains expires, in Unix time.",
        (),
        "seconds",
    ),
    Family(
        "probe_ssl_last_chain_info",
        "gauge",
        "Facts of the leaf certificate.",
        ("fingerprint_sha256", "subject", "issuer", "subjectalternative", "serialnumber"),
    ),
    Family("probe_tls_version_info", "gauge", "The TLS version used.", ("version",)),
    Family("probe_failed_due_to_regex", "gauge", "Whether the probe failed because of a regular expression."),
    Family("probe_failed_due_to_bytes", "gauge", "Whether the probe failed because of bytes that were not expected."),
    Family("probe_expect_info", "gauge", "What a dialogue found out: 1, with the labels that the module asks for."),
    Family(
        "probe_step_duration_seconds",
        "gauge",
        "Time taken by each step of a dialogue, counted from 1; also by the one that failed.",
        ("step",),
        "seconds",
    ),
    Family("probe_query_rows", "gauge", "How many rows the query of a database's probe gave."),
    Family("probe_query_value", "gauge", "Numbers of the first row that it gave.", ("column",)),
    Family(
        "perfmon_probe_runs_total",
        "counter",
        "Runs of the probe by result and reason; of one with `confirm` the final ones.",
        ("result", "reason"),
    ),
    Family(
        "perfmon_probe_rechecks_total",
        "counter",
        "Runs between due times while the probe fails (`interval_failing`) by result and reason; none of the runs.",
        ("result", "reason"),
    ),
    Family(
        "perfmon_probe_first_try_runs_total",
        "counter",
        "Runs of a probe with `confirm` by result and reason of their first try.",
        ("result", "reason"),
    ),
    Family("perfmon_probe_attempts_total", "counter", "Attempts made by a probe with `confirm`, first tries included."),
    Family("perfmon_probe_last_run_attempts", "gauge", "Attempts that the last run of a probe with `confirm` took."),
    Family(
        "perfmon_probe_latency_seconds",
        "histogram",
        "Duration of the probe's runs, failed ones too; of one that was repeated the duration of the first try.",
        (),
        "seconds",
    ),
    Family("perfmon_probe_phase_seconds", "gauge", "Phases of the last run; they add up.", ("phase",), "seconds"),
    Family(
        "perfmon_probe_last_run_timestamp_seconds", "gauge", "When the probe last ran, in Unix time.", (), "seconds"
    ),
)

# Labels of every sampler series: sampler, and the user's own.
SAMPLER_FAMILIES = (
    Family("perfmon_sampler_success", "gauge", "Whether the last reading of the sampler found what it looks for."),
    Family("perfmon_sampler_runs_total", "counter", "Readings of the sampler by result.", ("result",)),
    Family(
        "perfmon_sampler_duration_seconds_total",
        "counter",
        "Time spent in the sampler: its own cost.",
        (),
        "seconds",
    ),
)

# perfmon itself.
SELF_FAMILIES = (
    Family("perfmon_build_info", "gauge", "Version of perfmon and of Python.", ("version", "pythonversion")),
    Family(
        "perfmon_schedule_lateness_seconds",
        "histogram",
        "How late due times were taken up, against the grid; waiting for room comes after it.",
        (),
        "seconds",
    ),
    Family(
        "perfmon_schedule_wait_seconds",
        "histogram",
        "How long runs waited for room that found none, by what for: `host`, `slow` or `in_flight`.",
        ("why",),
        "seconds",
    ),
    Family(
        "perfmon_schedule_skipped_total",
        "counter",
        "Due times at which nothing was run, by why: the last run was still `running`, or still waited because too many"
        " were `in_flight`, at its `host`, or `slow` as it was itself; or perfmon itself was too `late`.",
        ("why",),
    ),
    Family("perfmon_schedule_due_total", "counter", "Due times reached."),
    Family("perfmon_probes_in_flight", "gauge", "Probes running now."),
    Family("perfmon_loop_lag_seconds", "histogram", "How late the event loop's own heartbeat was.", (), "seconds"),
    Family("perfmon_series", "gauge", "Series exported for targets and samplers."),
    Family("perfmon_series_dropped_total", "counter", "Series not exported because the limit was reached."),
    Family("perfmon_maintenance", "gauge", "1 while a window of maintenance is open, else 0.", ("name",)),
    Family("perfmon_scrape_duration_seconds", "histogram", "Time to write the metrics page.", (), "seconds"),
    Family("perfmon_defects_total", "counter", "Errors of perfmon's own, by where they were caught.", ("where",)),
    Family("perfmon_clock_steps_total", "counter", "Steps of the machine's wall clock seen."),
    Family(
        "perfmon_web_config_reads_total",
        "counter",
        "Readings of a web-config.yml that had changed: taken, or refused, when the former one goes on.",
        labels=("outcome",),
    ),
    Family("perfmon_config_last_reload_successful", "gauge", "Whether the last reading of the config succeeded."),
    Family(
        "perfmon_config_last_reload_success_timestamp_seconds",
        "gauge",
        "When the config was last read with success, in Unix time.",
        (),
        "seconds",
    ),
    Family(
        "perfmon_discovery_refreshes_total",
        "counter",
        "Looks at the probe's sources of targets: `complete`, `partial` (some targets were refused) or `failed` (what"
        " was known last goes on).",
        ("probe", "kind", "outcome"),
    ),
    Family("perfmon_discovery_targets", "gauge", "Targets of the probe's sources that are watched.", ("probe", "kind")),
    Family(
        "perfmon_discovery_refused_targets",
        "gauge",
        "Targets of the probe's sources that are not watched, since they make no sense or are too many.",
        ("probe", "kind"),
    ),
    Family(
        "perfmon_discovery_last_success_timestamp_seconds",
        "gauge",
        "When the probe's source of targets last answered, in Unix time; of several, the one that is silent longest.",
        ("probe", "kind"),
        "seconds",
    ),
    Family("perfmon_rule_evaluations_total", "counter", "Evaluations of the rule.", ("rule",)),
    Family("perfmon_alerts", "gauge", "Alerts by state.", ("rule", "state")),
    Family(
        "perfmon_notifications_total",
        "counter",
        "Notifications by receiver and outcome: sent, retried, failed, dropped.",
        ("receiver", "outcome"),
    ),
    Family("perfmon_notifications_queued", "gauge", "Notifications waiting to be sent.", ("receiver",)),
    Family(
        "perfmon_heartbeats_total",
        "counter",
        "Signs of life to the dead man's switch: `sent`, `failed`, or `withheld` since something is wrong here.",
        ("outcome",),
    ),
    Family(
        "perfmon_profiles_total",
        "counter",
        "Looks by memray into processes whose series leak, by outcome: `found` (places were named), `nothing`"
        " (that grew), `ended` (with perfmon), or the reason why it could not be done.",
        ("sampler", "outcome"),
    ),
    Family("perfmon_store_errors_total", "counter", "Writes to the state file that failed."),
    Family("blackbox_module_unknown_total", "counter", "Requests to /probe for a module that does not exist."),
    Family("perfmon_store_lost_total", "counter", "Records dropped because the state file could not take them."),
    # As every exporter names what its own process takes, in the words of prometheus-client's collectors.
    Family("process_cpu_seconds_total", "counter", "CPU time of perfmon's process.", (), "seconds"),
    Family("process_resident_memory_bytes", "gauge", "Memory of perfmon's process in RAM.", (), "bytes"),
    Family("process_virtual_memory_bytes", "gauge", "Address space of perfmon's process.", (), "bytes"),
    Family("process_open_fds", "gauge", "File descriptors that perfmon's process has open."),
    Family("process_max_fds", "gauge", "File descriptors that it may have open."),
    Family("process_start_time_seconds", "gauge", "When perfmon's process started, in Unix time.", (), "seconds"),
    Family("python_gc_collections_total", "counter", "Garbage collections in perfmon's process.", ("generation",)),
    Family(
        "python_gc_objects_collected_total",
        "counter",
        "Objects that these freed, by generation.",
        ("generation",),
    ),
    Family(
        "python_gc_objects_uncollectable_total",
        "counter",
        "Objects that these could not free, by generation.",
        ("generation",),
    ),
)

# What dashboards and alerts of blackbox_exporter look at; only where a file of its is used.
BLACKBOX_FAMILIES = (
    Family(
        "blackbox_exporter_build_info",
        "gauge",
        "Version of perfmon, where blackbox_exporter has its own.",
        ("version",),
    ),
    Family("blackbox_exporter_config_last_reload_successful", "gauge", "Blackbox exporter config loaded successfully."),
    Family(
        "blackbox_exporter_config_last_reload_success_timestamp_seconds",
        "gauge",
        "Timestamp of the last successful configuration reload.",
        (),
        "seconds",
    ),
)

# A load test while it runs (`perfmon load --metrics-port`). Labels of each: test (the run's folder), scenario, and name
# (what is asked for).
PERF_TEST_FAMILIES = (
    Family("perf_test_info", "gauge", "How the test is run.", ("executor", "module")),
    Family("perf_test_running", "gauge", "1 while the test runs, 0 when it is over."),
    Family("perf_test_start_timestamp_seconds", "gauge", "When the test began, in Unix time.", (), "seconds"),
    Family("perf_test_end_timestamp_seconds", "gauge", "When the test was over, in Unix time.", (), "seconds"),
    Family("perf_test_duration_seconds", "gauge", "How long the test offers load.", (), "seconds"),
    Family("perf_test_target_rate", "gauge", "Arrivals per second that the scenario has now; of arrivals, not users."),
    Family("perf_test_target_users", "gauge", "Users that the scenario has now; of users, not arrivals."),
    Family(
        "perf_test_due_total", "counter", "Arrivals that the schedule had, answered or not; users have no schedule."
    ),
    Family("perf_test_requests_total", "counter", "Arrivals that are over, by result.", ("result",)),
    Family("perf_test_errors_total", "counter", "Arrivals that failed, by reason.", ("reason",)),
    Family("perf_test_dropped_total", "counter", "Arrivals that were never started, since there was no room."),
    Family("perf_test_unfinished_total", "counter", "Arrivals without an answer when the test was over."),
    Family("perf_test_resent_total", "counter", "Requests that the transport sent a second time on its own."),
    Family("perf_test_in_flight", "gauge", "Arrivals under way."),
    Family("perf_test_waiting", "gauge", "Arrivals that wait for room."),
    Family(
        "perf_test_request_duration_seconds",
        "histogram",
        "From the intended start to the end: what a user would have seen.",
        (),
        "seconds",
    ),
    Family(
        "perf_test_service_duration_seconds",
        "histogram",
        "From the actual start to the end: what the target took.",
        (),
        "seconds",
    ),
    Family(
        "perf_test_percentile_seconds",
        "gauge",
        "Exact percentiles of the request's duration since the test began; +Inf where arrivals never had an answer.",
        ("percentile",),
        "seconds",
    ),
    Family(
        "perf_test_dispatch_lag_seconds",
        "histogram",
        "Of the generator: from when an arrival was due to when it looked at it.",
        (),
        "seconds",
    ),
    Family("perf_test_generator_cpu_seconds_total", "counter", "CPU time of the generator.", (), "seconds"),
    Family(
        "perf_test_generator_stall_seconds_total",
        "counter",
        "How long the generator's own loop stood still.",
        (),
        "seconds",
    ),
    Family(
        "perf_test_generator_verdict",
        "gauge",
        "1 for whether the figures are the target's: VALID, SATURATED (it did not keep up) or INVALID (the generator"
        " was the limit); 0 for the others.",
        ("verdict",),
    ),
    Family(
        "perf_test_threshold_ok",
        "gauge",
        "Whether the threshold holds of all so far; of `done` only when the test is over.",
        ("threshold",),
    ),
    Family("perf_test_threshold_value", "gauge", "What the threshold is held against, in its unit.", ("threshold",)),
    Family("perf_test_threshold_limit", "gauge", "The limit that decided, in the same unit.", ("threshold",)),
    Family("perf_test_passed", "gauge", "Whether every threshold held; there when the test is over."),
)

FAMILIES = PROBE_FAMILIES + SAMPLER_FAMILIES + SELF_FAMILIES + BLACKBOX_FAMILIES + PERF_TEST_FAMILIES
