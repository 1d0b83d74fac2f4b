"""`perfmon load` as a person or a pipeline calls it."""

import contextlib
import csv
import io
import json
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET

import msgspec
import pytest
from loading import served

from perfmon.cli import run

pytestmark = pytest.mark.alone


class Ended(msgspec.Struct):
    returncode: int
    stdout: str
    stderr: str


def perfmon(folder, *arguments):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(["load", *arguments, "--out", str(folder)])
    return Ended(code, out.getvalue(), err.getvalue())


def kept(folder):
    """The one run's folder."""
    (found,) = folder.iterdir()
    return found


def ended(done, *codes):
    """The exit code; a machine that is busy with other tests may make the run invalid, which 97 says."""
    assert done.returncode in (*codes, 97), done.stderr
    assert "Traceback" not in done.stderr
    return done.returncode


def test_a_run_leaves_a_folder_whose_parts_agree(server, tmp_path):
    done = perfmon(tmp_path, f"{server}/delay?ms=2", "--rate=100", "--duration=2s", "--threshold=p(95) < 1s")
    ended(done, 0)
    folder = kept(tmp_path)
    with (folder / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    with (folder / "seconds.csv").open() as file:
        seconds = list(csv.DictReader(file))
    told = json.loads((folder / "metrics.json").read_text())

    assert (
        200
        == len(rows)
        == sum(int(second["done"]) for second in seconds)
        == told["counts"]["done"]
        == served(server) - 1
    )
    assert {"200"} == {row["status"] for row in rows}
    assert 200 == sum(count for _, count in told["latency_s"]["response"]["histogram"]["counts"])
    assert done.stdout == (folder / "report.txt").read_text()
    assert "/s, 0 in flight" in done.stderr
    assert folder.name.startswith("load_127.0.0.1_")
    (suite,) = ET.parse(folder / "junit.xml").getroot()
    assert ["duration: p(95) < 1s"] == [case.get("name") for case in suite.findall("testcase")]


def test_a_broken_threshold_is_99_with_value_limit_n_and_interval(server, tmp_path):
    done = perfmon(
        tmp_path, f"{server}/delay?ms=30", "--users=5", "--duration=1s", "--threshold=p(95) < 10ms", "--json"
    )
    code = ended(done, 99)
    told = json.loads(done.stdout)
    (threshold,) = told["thresholds"]

    assert not told["passed"]
    assert threshold["value"] >= 0.03 > threshold["limit"]
    assert threshold["low"] <= threshold["value"] <= threshold["high"]
    assert threshold["n"] == told["counts"]["done"]
    assert (code == 97) == (told["generator"]["verdict"] == "INVALID")


def test_without_thresholds_a_target_that_fails_is_no_success(server, tmp_path):
    done = perfmon(tmp_path, f"{server}/status?code=500", "--rate=50", "--duration=1s", "--no-rows")

    ended(done, 99)
    assert "status 500: status 500, expected 2xx" in done.stdout
    assert not (kept(tmp_path) / "results.csv").exists()


def test_a_target_that_does_not_answer_gets_no_load_and_a_sentence(tmp_path):
    done = perfmon(tmp_path, "http://127.0.0.1:1/", "--rate=50")

    assert 105 == done.returncode
    assert (
        "perfmon: 127.0.0.1:1 does not answer, so there is no load: connection refused by 127.0.0.1:1\n" == done.stderr
    )
    assert [] == list(tmp_path.iterdir())


def test_a_target_that_is_down_is_a_report_where_nobody_looks_first(tmp_path):
    done = perfmon(tmp_path, "http://127.0.0.1:1/", "--rate=50", "--duration=1s", "--no-preflight")

    ended(done, 99)
    assert "50 connect_refused: connection refused by 127.0.0.1:1" in done.stdout


def test_the_internet_is_not_put_under_load_by_a_slip(tmp_path):
    done = perfmon(tmp_path, "http://93.184.216.34/", "--rate=50")

    assert 104 == done.returncode
    assert "93.184.216.34 is a public address" in done.stderr
    assert "--allow-public" in done.stderr


def test_ctrl_c_ends_with_a_report_of_what_was_measured(server, tmp_path):
    command = [sys.executable, "-m", "perfmon", "load", f"{server}/delay?ms=1", "--rate=50", "--duration=1h"]
    with subprocess.Popen(
        [*command, "--out", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        while not list(tmp_path.glob("*/seconds.csv")):
            assert child.poll() is None
        time.sleep(1.5)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=10)

    assert 105 == child.returncode
    assert "interrupted" in out
    assert "Traceback" not in err
    told = json.loads((kept(tmp_path) / "metrics.json").read_text())
    assert "interrupted" == told["ended"]
    assert 30 < told["counts"]["done"] < 200


def test_a_threshold_that_is_broken_for_certain_ends_the_run_when_asked_to(server, tmp_path):
    done = perfmon(tmp_path, f"{server}/status?code=503", "--rate=50", "--duration=1h", "--abort")

    ended(done, 99)
    told = json.loads((kept(tmp_path) / "metrics.json").read_text())
    assert "aborted" == told["ended"]
    assert 3 <= told["took_s"] < 10


def test_a_scenario_of_a_file_is_run_by_its_name(server, tmp_path):
    (tmp_path / "perfmon.yml").write_text(
        "modules: {post: {prober: http, http: {method: POST, body: x, valid_status_codes: [200]}}}\n"
        "scenarios:\n"
        f"  - {{name: one, target: '{server}/', shared_iterations: {{users: 2, iterations: 20}}, module: post,"
        " thresholds: ['p(99) < 5s', 'failed: rate < 1%', 'done: count >= 20']}\n"
        f"  - {{name: two, target: '{server}/', constant_vus: {{users: 2, duration: 1s}}}}\n"
    )
    file, out = str(tmp_path / "perfmon.yml"), tmp_path / "out"

    assert f'--scenario is missing: "{file}" has 2 of them, expected one of: one, two' in perfmon(out, file).stderr
    done = perfmon(out, file, "--scenario=one")
    ended(done, 0)
    told = json.loads((kept(out) / "metrics.json").read_text())
    assert 20 == told["counts"]["done"]
    assert 3 == len(told["thresholds"])
    assert told["passed"]


@pytest.mark.parametrize(
    ("arguments", "least", "most"),
    [
        (["--stages=500ms:40,1s:40,0s:0"], 50, 50),
        (["--preset=spike", "--rate=100", "--duration=1s"], 28, 28),
        (["--executor=ramping_vus", "--stages=0s:2,1s:2"], 20, 100),
        (["--executor=per_vu_iterations", "--users=3", "--iterations=4"], 12, 12),
    ],
)
def test_each_way_to_offer_load_by_flags(server, tmp_path, arguments, least, most):
    done = perfmon(tmp_path, f"{server}/delay?ms=20", *arguments, "--json")

    ended(done, 0)
    assert least <= json.loads(done.stdout)["counts"]["done"] <= most


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected --rate (arrivals per second) or --users, such as --rate 100 --duration 30s"),
        (["--rate=1", "--users=1"], "--rate and --users stand side by side"),
        (["--rate=abc"], 'expected a rate such as 2/s or 10MiB/min, got "abc"'),
        (["--rate=0"], "expected at least 0.001"),
        (["--rate=1", "--stages=10s"], "expected stages such as 30s:200,1m:200,10s:0"),
        (["--rate=1", "--executor=constant"], '--executor: unknown "constant", did you mean "constant_vus"?'),
        (["--users=1", "--arrivals=poisson"], "--arrivals has no effect on constant_vus"),
        (["--rate=1", "--threshold=p(95) <"], "expected a limit such as 200ms"),
        (["--rate=1", "--threshold=speed: p(95) < 1s"], 'unknown metric "speed"'),
        (["--rate=1", "--module=htpp"], 'unknown "htpp"'),
        (["--rate=1", "--iterations=3"], "--iterations"),
        (["--rate=1", "--think=1s"], "--think has no effect on constant_arrival_rate"),
        (["--users=1", "--max-in-flight=5"], "--max-in-flight has no effect on constant_vus"),
    ],
)
def test_bad_usage_is_104_and_says_what_was_expected(arguments, message, capsys):
    assert 104 == run(["load", "http://127.0.0.1:1/", *arguments])
    assert message in capsys.readouterr().err


def test_a_word_that_is_neither_url_nor_file_is_refused(capsys):
    assert 104 == run(["load", "shop", "--rate=1"])
    assert 'expected a URL, HOST:PORT, or a file of scenarios that ends in .yml, got "shop"' in capsys.readouterr().err
