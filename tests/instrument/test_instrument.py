"""Gauges of a Python process: true to what the process does, readable by Prometheus, and light to have."""

import gc
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from perfmon.instrument import malloc, python
from perfmon.instrument.page import Page
from perfmon.instrument.pauses import watched

pytestmark = pytest.mark.alone

LOADED = """
import sys
from perfmon.instrument import python
python.text()
print(*sorted(name for name in sys.modules if name.split(".")[0] in
      ("perfmon", "msgspec", "prometheus_client", "structlog", "http", "email", "requests")))
"""


def value(name):
    return sum(reading.value for reading in python.read() if reading.name == name)


def get(port, path="/metrics", method="GET"):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.status, answer.read().decode()


def test_objects_that_are_kept_show_as_blocks_and_go_when_they_are_let_go():
    gc.collect()  # else the garbage of other tests may go in between
    gc.disable()
    before = value("perfmon_python_allocated_blocks")
    kept = [[] for _ in range(50_000)]
    grown = value("perfmon_python_allocated_blocks")
    kept.clear()
    left = value("perfmon_python_allocated_blocks")
    gc.enable()

    assert abs(grown - before - 50_000) < 1000
    assert abs(left - before) < 1000


@pytest.mark.skipif(malloc.heap() is None, reason="malloc is not glibc's")
def test_fragmentation_shows_as_memory_that_malloc_has_and_nobody_uses():
    """Every second block is freed: what is in use falls by half, what was taken from the kernel does not."""
    blocks = [bytes(4000) for _ in range(5000)]
    full = malloc.heap()
    del blocks[::2]
    holed = malloc.heap()

    assert full.in_use - holed.in_use > 9_000_000
    assert full.arena - holed.arena < 1_000_000


def test_a_run_of_the_collector_is_a_pause():
    watched()
    before = sum(watched().buckets)
    gc.collect()

    assert before + 1 <= sum(watched().buckets)
    assert 0 < watched().seconds < 60


def test_pauses_are_counted_in_the_bucket_of_their_length():
    pauses = type(watched())()
    for seconds in (0.00005, 0.0001, 0.02, 7.0):
        pauses.note(seconds)

    assert [2, 0, 0, 0, 0, 1, 0, 0, 0, 1] == pauses.buckets


def test_memory_threads_and_start_are_those_of_the_process():
    ready, over = threading.Event(), threading.Event()
    before = value("perfmon_python_threads")
    thread = threading.Thread(target=lambda: (ready.set(), over.wait(10)))
    thread.start()
    ready.wait(10)
    during = value("perfmon_python_threads")
    over.set()
    thread.join()
    age_s = time.time() - value("perfmon_python_start_timestamp_seconds")
    told = float(subprocess.check_output(["ps", "-o", "etimes=", "-p", str(os.getpid())]))

    assert before + 1 == during
    assert abs(age_s - told) < 2
    assert 10_000_000 < value("perfmon_python_resident_memory_bytes") < 10_000_000_000


def test_tracked_objects_are_counted_on_request_only():
    names = [reading.name for reading in python.read()]
    asked = {reading.name: reading.value for reading in python.read(objects=True)}

    assert "perfmon_python_tracked_objects" not in names
    assert asked["perfmon_python_tracked_objects"] > 1000


def test_the_text_is_read_by_the_reference_parser_with_all_that_is_declared():
    families = {family.name: family for family in text_string_to_metric_families(python.text(objects=True))}

    assert {name.removesuffix("_total") for name in (*python.HELP, python.PAUSES)} == set(families)
    assert all(family.samples and family.documentation for family in families.values())


@pytest.mark.servers
def test_promtool_finds_nothing_wrong_with_it(binary):
    ended = subprocess.run(
        [binary("promtool"), "check", "metrics"],
        input=python.text(objects=True),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, "") == (ended.returncode, ended.stdout + ended.stderr)


def test_a_registry_of_prometheus_client_writes_the_same_series():
    registry = CollectorRegistry()
    python.register(registry, objects=True)
    page = generate_latest(registry).decode()

    def series(text):
        return {line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")}

    assert series(python.text(objects=True)) == series(page)


def test_the_page_answers_metrics_and_nothing_else():
    with python.serve(0) as page:
        status, body = get(page.port)
        assert (200, True) == (status, "perfmon_python_allocated_blocks " in body)
        assert (200, "") == get(page.port, method="HEAD")
        for path, method, code in (("/etc/passwd", "GET", 404), ("/metrics", "POST", 405)):
            with pytest.raises(urllib.error.HTTPError) as refused:
                get(page.port, path, method)
            refused.value.close()
            assert code == refused.value.code


def test_the_page_is_over_when_it_is_closed():
    page = python.serve(0)
    page.close()

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", page.port), timeout=5)


def test_a_client_that_says_nothing_holds_up_the_next_for_two_seconds_at_most():
    with python.serve(0) as page, socket.create_connection(("127.0.0.1", page.port)):
        began = time.monotonic()
        assert 200 == get(page.port)[0]
        assert time.monotonic() - began < 4


def test_a_page_that_cannot_be_written_says_why_and_the_next_one_is():
    def render():
        if not failed:
            failed.append(True)
            raise RuntimeError("no luck")
        return "fine 1\n"

    failed = []
    with Page(render, 0, "127.0.0.1") as page:
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(page.port)
        assert (500, b"RuntimeError: no luck\n") == (refused.value.code, refused.value.read())
        refused.value.close()
        assert (200, "fine 1\n") == get(page.port)


def test_importing_it_loads_nothing_else():
    loaded = subprocess.check_output([sys.executable, "-c", LOADED], text=True).split()

    assert [
        "perfmon",
        *(f"perfmon.instrument{name}" for name in ("", ".malloc", ".page", ".pauses", ".python")),
    ] == loaded
