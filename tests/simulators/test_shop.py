"""The shop, over real connections to a real process."""

import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from urllib.parse import urlsplit

import psutil
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

FLAGS = ("--seed", "7", "--flaky-rate", "40%", "--slow-ms", "30", "--jitter-ms", "0", "--leak-limit", "12MiB")


@contextmanager
def running_shop(*flags):
    """A shop of its own process on a port of its own; yields the process and its address."""
    command = [sys.executable, "-m", "perfmon", "simulate", "shop", "--port", "0", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process, re.search(r"http://\S+[^/\s]", process.stdout.readline())[0].rstrip("/")
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def shop():
    with running_shop(*FLAGS) as (process, url):
        yield process, url


@pytest.fixture(scope="module")
def url(shop):
    return shop[1]


def get(address, **query):
    return requests.get(address, params=query, timeout=5)


def receive_all(url, path):
    """What arrives on a bare connection until it ends, and the error that ended it."""
    parts = urlsplit(url)
    received = b""
    with socket.create_connection((parts.hostname, parts.port), timeout=5) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: shop\r\n\r\n".encode())
        try:
            while chunk := connection.recv(1 << 20):
                received += chunk
        except ConnectionResetError as error:
            return received, error
    return received, None


def counted(url):
    families = text_string_to_metric_families(get(f"{url}/metrics").text)
    samples = [sample for family in families for sample in family.samples if sample.name == "shop_requests_total"]
    return {(sample.labels["endpoint"], sample.labels["status"]): sample.value for sample in samples}


def test_index_names_every_endpoint(url):
    index = get(f"{url}/").text

    assert all(path in index for path in ("/fast", "/slow", "/flaky", "/leak", "/fail", "/health", "/metrics"))


def test_fast_and_health_answer_at_once(url):
    assert (200, "here you are\n") == ((answer := get(f"{url}/fast")).status_code, answer.text)
    assert (200, "ok\n") == ((answer := get(f"{url}/health")).status_code, answer.text)


@pytest.mark.parametrize(("query", "expected_s"), [({}, 0.03), ({"ms": 120, "jitter": 0}, 0.12)])
def test_slow_takes_as_long_as_told(url, query, expected_s):
    began = time.monotonic()
    get(f"{url}/slow", **query)
    took = time.monotonic() - began

    assert expected_s - 0.002 <= took < expected_s + 0.25


def test_slow_varies_by_no_more_than_the_jitter(url):
    told = [float(re.search(r"after (\d+) ms", get(f"{url}/slow", ms=10, jitter=5).text)[1]) for _ in range(10)]

    assert all(5 <= ms <= 15 for ms in told)
    assert len(set(told)) > 1


def test_flaky_follows_its_seed():
    """The same seed gives the same sequence, in every process."""
    luck = random.Random(7)
    expected = [503 if luck.random() < 0.4 else 200 for _ in range(30)]

    with running_shop(*FLAGS) as (_process, url):
        assert expected == [get(f"{url}/flaky").status_code for _ in range(30)]


def test_flaky_takes_rate_and_status_from_the_query(url):
    assert {200} == {get(f"{url}/flaky", rate=0).status_code for _ in range(20)}
    assert {418} == {get(f"{url}/flaky", rate=1, status=418).status_code for _ in range(5)}


def test_leak_is_resident_bounded_and_let_go(shop):
    process, url = shop
    resident = psutil.Process(process.pid).memory_info
    before = resident().rss

    for _ in range(3):
        get(f"{url}/leak", kb=4096)
    assert resident().rss - before > 11 * 2**20
    assert f"full: keeping {12 * 2**20} bytes\n" == get(f"{url}/leak", kb=1).text

    assert "keeping 0 bytes\n" == get(f"{url}/leak/reset").text
    assert f"keeping {64 * 1024} bytes\n" == get(f"{url}/leak").text


def test_fail_by_status(url):
    assert 500 == get(f"{url}/fail", how="status").status_code


def test_fail_by_reset(url):
    received, error = receive_all(url, "/fail?how=reset")

    assert b"" == received
    assert isinstance(error, ConnectionResetError)


def test_fail_by_hanging_up_without_an_answer(url):
    began = time.monotonic()

    assert (b"", None) == receive_all(url, "/fail?how=hang&seconds=0.2")
    assert 0.19 <= time.monotonic() - began < 1


def test_fail_by_dripping(url):
    began = time.monotonic()
    answer = get(f"{url}/fail", how="drip", seconds=0.5)

    assert "....." == answer.text
    assert 0.45 <= time.monotonic() - began < 1.5


def test_fail_by_a_short_body(url):
    received, error = receive_all(url, "/fail?how=short")
    head, body = received.split(b"\r\n\r\n")

    assert b"content-length: 1000" in head.lower()
    assert (100, None) == (len(body), error)


def test_fail_by_an_endless_body_is_cut_in_time(url):
    began = time.monotonic()
    received, _error = receive_all(url, "/fail?how=endless&seconds=0.3")

    assert len(received) > 2**20
    assert not received.endswith(b"0\r\n\r\n")  # chunked, and never ended
    assert time.monotonic() - began < 1.5


def test_a_client_that_leaves_ends_the_failure(shop):
    """Nobody is served for 30 s who has hung up long ago."""
    _process, url = shop
    before = counted(url).get(("/fail", "200"), 0)
    parts = urlsplit(url)
    for how in ("drip", "endless"):
        with socket.create_connection((parts.hostname, parts.port), timeout=5) as connection:
            connection.sendall(f"GET /fail?how={how} HTTP/1.1\r\nHost: shop\r\n\r\n".encode())
            connection.recv(100)

    deadline = time.monotonic() + 3
    while counted(url).get(("/fail", "200"), 0) < before + 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert before + 2 == counted(url).get(("/fail", "200"), 0)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/slow?ms=soon", 'ms="soon" is not a number'),
        ("/slow?ms=nan", "ms=nan is not between 0 and 60000"),
        ("/flaky?rate=1.5", "rate=1.5 is not between 0 and 1"),
        ("/flaky?status=200", "status=200 is not between 400 and 599"),
        ("/fail?seconds=3600", "seconds=3600 is not between 0 and 30"),
        (
            "/fail?how=badly",
            'unknown how "badly", expected one of: status, hang, reset, drip, short, endless',
        ),
    ],
)
def test_a_query_that_makes_no_sense_is_refused_in_words(url, path, expected):
    answer = get(url + path)

    assert (400, expected) == (answer.status_code, answer.text)


def test_requests_are_counted_by_endpoint_and_status(url):
    before = counted(url)
    get(f"{url}/fast")
    get(f"{url}/flaky", rate=1)
    get(f"{url}/no/such/{random.random()}")
    receive_all(url, "/fail?how=reset")
    after = counted(url)

    rows = [("/fast", "200"), ("/flaky", "503"), ("other", "404"), ("/fail", "none")]
    assert [1, 1, 1, 1] == [after[row] - before.get(row, 0) for row in rows]


@pytest.mark.servers
def test_metrics_pass_promtool(url, binary):
    page = get(f"{url}/metrics").content
    checked = subprocess.run([binary("promtool"), "check", "metrics"], input=page, capture_output=True, check=False)

    assert (0, b"") == (checked.returncode, checked.stderr)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0_also_while_somebody_waits(number):
    with running_shop() as (process, url):
        parts = urlsplit(url)
        with socket.create_connection((parts.hostname, parts.port), timeout=5) as connection:
            connection.sendall(b"GET /fail?how=hang HTTP/1.1\r\nHost: shop\r\n\r\n")
            time.sleep(0.1)
            process.send_signal(number)
            assert 0 == process.wait(timeout=5)


def test_a_port_in_use_is_said_in_words():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = subprocess.run(
            [sys.executable, "-m", "perfmon", "simulate", "shop", "--port", port],
            capture_output=True,
            text=True,
            check=False,
        )

    expected = f'perfmon: cannot listen on "127.0.0.1", port {port}: {os.strerror(98).lower()}; see --port\n'
    assert (104, expected) == (ended.returncode, ended.stderr)


@pytest.mark.parametrize(
    ("flag", "value", "words"),
    [
        ("--flaky-rate", "200%", "expected 0% to 100%, got 200%"),
        ("--slow-ms", "-3", "expected 0 to 60000, got -3"),
        ("--jitter-ms", "nan", "expected 0 to 60000, got nan"),
        ("--leak-kb", "1.5", 'expected a whole number, got "1.5"'),
        ("--leak-limit", "-1MiB", 'expected a size such as 512B, 1.5kB or 10MiB, got "-1MiB"'),
    ],
)
def test_a_flag_that_makes_no_sense_is_refused_in_words(flag, value, words):
    command = [sys.executable, "-m", "perfmon", "simulate", "shop", "--port", "0", flag, value]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)

    assert (104, f"Error: Invalid value for '{flag}': {words}") == (ended.returncode, ended.stderr.splitlines()[-1])
