"""What Prometheus sees of a test while it runs."""

import json
import math
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from loading import arrivals, scenario, users
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as text

from perfmon.cli import run
from perfmon.metrics import PERF_TEST_BUCKETS_S, PERF_TEST_FAMILIES
from perfmon.perftest.exported import Exported
from perfmon.run import Snapshot, Tally


def page(url, accept="text/plain"):
    with urllib.request.urlopen(urllib.request.Request(url, headers={"accept": accept}), timeout=10) as answer:
        return answer.read().decode()


def samples(families):
    """Value by name and own labels."""
    shared = {"test", "scenario", "name"}
    return {
        (sample.name, *(value for label, value in sample.labels.items() if label not in shared)): sample.value
        for family in families
        for sample in family
    }


def exported(one):
    return samples(found for _, found in one.families())


def second(*seconds, **counts):
    """A second in which arrivals took so long."""
    snapshot = Snapshot(end_s=1.0, due=len(seconds), started=len(seconds), done=len(seconds), **counts)
    for response in seconds:
        snapshot.response.record(response)
        snapshot.service.record(response)
        snapshot.lag.record(0.0)
    tally = Tally()
    tally.add(snapshot)
    return tally


# ---------------------------------------------------------------- a real test


@pytest.fixture(scope="module")
def over(truth, tmp_path_factory):
    """A test that is over and still answers: text, OpenMetrics, its metrics.json, its exit code, and its folder's name."""
    folder = tmp_path_factory.mktemp("runs")
    command = [sys.executable, "-m", "perfmon", "load", f"{truth}/delay?ms=2", "--rate=50", "--duration=1s"]
    command += ["--threshold=p(95) < 1us", "--metrics-port=0", "--metrics-linger=60s", f"--out={folder}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        url = re.search(r"metrics at (http://127\.0\.0\.1:\d+/metrics)", process.stderr.readline())[1]
        before = page(url)
        while f"{folder}/" not in process.stderr.readline():
            assert process.poll() is None
        plain, modern = page(url), page(url, "application/openmetrics-text; version=1.0.0")
        process.send_signal(signal.SIGINT)
        code = process.wait(10)
    (kept,) = folder.iterdir()
    return before, plain, modern, json.loads((kept / "metrics.json").read_text()), code, kept.name


def test_the_last_page_says_what_the_report_says(over):
    _, plain, _, told, _, name = over
    families = list(text(plain))
    seen = samples(family.samples for family in families)

    assert {name} == {sample.labels["test"] for family in families for sample in family.samples}
    assert 50 == seen["perf_test_due_total",] == seen["perf_test_requests_total", "success"]
    assert told["counts"]["done"] == seen["perf_test_request_duration_seconds_count",]
    assert told["thresholds"][0]["value"] == seen["perf_test_threshold_value", "duration: p(95) < 1us"]
    assert (0, 0, 0) == (
        seen["perf_test_running",],
        seen["perf_test_passed",],
        seen["perf_test_threshold_ok", "duration: p(95) < 1us"],
    )
    assert 1 == seen["perf_test_generator_verdict", told["generator"]["verdict"]]


def test_ctrl_c_ends_the_wait_with_the_exit_code_of_the_test(over):
    *_, told, code, _ = over

    assert (97 if told["generator"]["verdict"] == "INVALID" else 99) == code


def test_both_formats_have_the_same_samples(over):
    before, plain, modern, *_ = over

    assert samples(family.samples for family in text(plain)) == samples(
        family.samples for family in openmetrics(modern)
    )
    assert "perf_test_requests_total" in before or not before  # nothing, or a test that has begun


@pytest.mark.servers
def test_promtool_has_nothing_to_say(over, binary):
    checked = subprocess.run(
        [binary("promtool"), "check", "metrics"], input=over[1], capture_output=True, text=True, check=False
    )

    assert (0, "", "") == (checked.returncode, checked.stdout, checked.stderr)


def test_a_port_that_is_taken_ends_it_before_any_load(capsys, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code = run(["load", "http://127.0.0.1:1/", "--rate=1", f"--metrics-port={port}", f"--out={tmp_path}"])

    assert (104, f"perfmon: cannot listen on 127.0.0.1:{port}: address already in use\n") == (
        code,
        capsys.readouterr().err,
    )


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--metrics-linger=1s"], "--metrics-linger has no effect without --metrics-port or --metrics-listen"),
        (["--metrics-port=1", "--metrics-listen=[::1]:2"], "stand side by side, expected one of them"),
        (["--metrics-listen=nowhere"], 'cannot listen on "nowhere": expected HOST:PORT'),
    ],
)
def test_flags_that_make_no_sense_are_refused(flags, said, capsys):
    assert 104 == run(["load", "http://127.0.0.1:1/", "--rate=1", *flags])
    assert said in capsys.readouterr().err


# ---------------------------------------------------------------- values


def test_buckets_count_what_is_no_longer():
    one = Exported(scenario("http://a/", arrivals(3, 1)), test="t", began=1.0)
    one.second(second(0.0004, 0.001, 0.04, 99.0))
    seen = exported(one)
    counts = [seen["perf_test_request_duration_seconds_bucket", str(bound)] for bound in PERF_TEST_BUCKETS_S]

    assert [1, 2, 3, 3] == [counts[PERF_TEST_BUCKETS_S.index(bound)] for bound in (0.0005, 0.001, 0.05, 30.0)]
    assert sorted(counts) == counts
    assert 4 == seen["perf_test_request_duration_seconds_bucket", "+Inf"]
    assert math.isclose(99.0414, seen["perf_test_request_duration_seconds_sum",])


def test_failures_stand_there_before_the_first():
    """A series that begins with its first failure shows no rise of it."""
    one = Exported(scenario("http://a/", arrivals(3, 1)), test="t", began=1.0)

    assert 0 == exported(one)["perf_test_requests_total", "failure"]


def test_what_never_had_an_answer_took_for_ever():
    one = Exported(scenario("http://a/", arrivals(3, 1)), test="t", began=1.0)
    one.second(second(0.01, dropped=1))
    seen = exported(one)

    assert (0.01, math.inf) == (
        seen["perf_test_percentile_seconds", "50"],
        seen["perf_test_percentile_seconds", "99"],
    )


def test_of_what_is_done_nothing_is_said_before_the_end():
    """A ramp begins slowly."""
    one = Exported(scenario("http://a/", arrivals(3, 1), "p(95) < 1s", "done: rate > 9/s"), test="t", began=1.0)
    one.second(second(0.01))

    assert ["duration: p(95) < 1s"] == [key[1] for key in exported(one) if key[0] == "perf_test_threshold_ok"]


def test_users_are_offered_as_users():
    of_users = exported(Exported(scenario("http://a/", users(3, 9)), test="t", began=1.0))
    of_arrivals = exported(Exported(scenario("http://a/", arrivals(5, 9)), test="t", began=1.0))

    assert 3 == of_users["perf_test_target_users",]
    assert 5 == of_arrivals["perf_test_target_rate",]
    assert not {("perf_test_target_rate",)} & of_users.keys()


def test_the_name_has_no_password_and_no_query():
    one = Exported(scenario("http://me:secret@a:1/b?token=c#d", arrivals(3, 1)), test="t", began=1.0)

    assert {"http://a:1/b"} == {sample.labels["name"] for _, found in one.families() for sample in found}


def test_nothing_is_exported_that_the_catalogue_has_not():
    one = Exported(scenario("http://a/", arrivals(3, 1)), test="t", began=1.0)
    one.second(second(0.01))
    families = {family.name: set(family.labels) for family, _ in one.families()}

    assert families.keys() < {family.name for family in PERF_TEST_FAMILIES}
    for family, found in one.families():
        own = {"le"} if family.type == "histogram" else set(family.labels)
        assert all(set(sample.labels) - {"test", "scenario", "name"} <= own for sample in found)
