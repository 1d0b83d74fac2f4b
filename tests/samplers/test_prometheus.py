"""The prometheus and python samplers against real pages of metrics, and against servers that behave badly."""

import asyncio
import contextlib
import gzip
import os
import subprocess
import sys
import threading
import time

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge
from servers import answer, dripping, endless, garbage, http, redirecting, serve, silent, unused_port

from perfmon import config, measure
from perfmon.clock import ManualClock, SystemClock
from perfmon.errors import ConfigError
from perfmon.instrument import python as instrument
from perfmon.kinds import catalogue
from perfmon.model import Sampler
from perfmon.monitor.series import Series
from perfmon.samplers import prometheus, python
from perfmon.samplers.prometheus import Config, Selection

PAGE = b"""\
# TYPE orders_total counter
orders_total{path="/buy",code="200"} 7
orders_total{path="/buy",code="500"} 2
orders_total{path="/look",code="200"} 9
# TYPE heap_bytes gauge
heap_bytes 1024
# TYPE wait_seconds histogram
wait_seconds_bucket{le="+Inf"} 3
wait_seconds_sum 1.5
wait_seconds_count 3
"""


def reader(port, *series, clock=None, **settings):
    source = Config(url=f"http://127.0.0.1:{port}/metrics", series=series, **settings)
    assert [] == list(prometheus.check(source))
    return prometheus.open(source, clock or SystemClock())


def told(samples):
    """{(family, labels): value}, without what the sampler says of the page."""
    own = ("perfmon_prometheus_page_series", "perfmon_prometheus_unread_lines_total")
    return {(one.name, *sorted(one.labels.items())): one.value for one in samples if one.name not in own}


async def read(one):
    return await asyncio.to_thread(one.sample)


@contextlib.contextmanager
def exporter(registry):
    server, thread = prometheus_client.start_http_server(0, "127.0.0.1", registry)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# ---------------------------------------------------------------- which series


async def test_named_series_keep_type_unit_labels_and_name():
    async with serve(http(answer(PAGE))) as port:
        one = reader(port, "heap_bytes", "wait_seconds_*", Selection("orders_total", {"path": "/b*", "code": "5*"}))
        samples = await read(one)

    assert {
        ("perfmon_prometheus_value_bytes", ("series", "heap_bytes")): 1024,
        ("perfmon_prometheus_counted_total", ("le", "+Inf"), ("series", "wait_seconds_bucket")): 3,
        ("perfmon_prometheus_counted_seconds_total", ("series", "wait_seconds_sum")): 1.5,
        ("perfmon_prometheus_counted_total", ("series", "wait_seconds_count")): 3,
        ("perfmon_prometheus_counted_total", ("code", "500"), ("path", "/buy"), ("series", "orders_total")): 2,
    } == told(samples)
    assert "" == one.missing
    assert {sample.name for sample in samples} <= catalogue().keys()


async def test_a_real_exporter_that_packs_its_answer_is_read():
    registry = CollectorRegistry()
    Gauge("queue_length", "Waiting.", registry=registry).set(12)
    for index in range(200):
        Counter(f"filler_{index}", "So that it is worth packing.", registry=registry)
    with exporter(registry) as port:
        samples = await read(reader(port, "queue_length"))

    assert {("perfmon_prometheus_value", ("series", "queue_length")): 12} == told(samples)


async def test_a_series_that_is_not_there_is_said_and_the_others_are_read():
    async with serve(http(answer(PAGE))) as port:
        one = reader(port, "heap_bytes", "heep_*", Selection("orders_total", {"code": "404"}))
        samples = await read(one)

    assert {("perfmon_prometheus_value_bytes", ("series", "heap_bytes")): 1024} == told(samples)
    assert 'no series is called "heep_*"; no series is called "orders_total" with these labels' == one.missing


async def test_labels_of_perfmons_own_are_renamed_as_prometheus_does():
    page = b'x{sampler="a",severity="high",alertname="n",series="s",rule="r",metric="m"} 1\n'
    async with serve(http(answer(page))) as port:
        (sample, *_) = await read(reader(port, "x"))

    renamed = {"alertname": "n", "metric": "m", "rule": "r", "sampler": "a", "series": "s", "severity": "high"}
    assert {"series": "x"} | {f"exported_{name}": value for name, value in renamed.items()} == dict(sample.labels)


async def test_the_users_labels_of_a_sampler_stand_before_those_of_its_series():
    clock = SystemClock()
    async with serve(http(answer(b'x{team="theirs"} 1\n'))) as port:
        one = reader(port, "x")
        sampler = Sampler(name="shop", kind="prometheus", interval_s=1, config=None, labels={"team": "ours"})
        reading = await asyncio.to_thread(measure.sample, sampler, one, clock=clock)
    series = Series(clock)
    series.add_sampler(sampler)
    known = {new.what.name: new.labels for new in series.add_reading(sampler, reading)}

    assert {"sampler": "shop", "series": "x", "team": "ours", "exported_team": "theirs"} == known[
        "perfmon_prometheus_value"
    ]


async def test_more_series_than_the_limit_are_left_out_and_said_and_those_shown_before_stay():
    pages = [b"".join(b'x{n="%d"} 1\n' % number for number in numbers) for numbers in (range(5), (7, 8, 1, 0, 2, 9))]
    async with serve(http(lambda _request: answer(pages.pop(0)))) as port:
        one = reader(port, "x", limit=3)
        first, missing = await read(one), one.missing
        second = await read(one)

    numbers = [[sample.labels["n"] for sample in samples if "n" in sample.labels] for samples in (first, second)]
    assert [["0", "1", "2"], ["1", "0", "2"]] == numbers
    assert "2 series are left out: more than 3 match, or their labels change all the time" == missing


async def test_labels_that_change_at_each_reading_do_not_grow_without_bound():
    clock, numbers = ManualClock(), iter(range(1000))
    async with serve(http(lambda _request: answer(b'x{n="%d"} 1\n' % next(numbers)))) as port:
        one = reader(port, "x", limit=5, clock=clock)
        shown = sum([len(told(await read(one))) for _ in range(50)])
        clock.advance(3601)
        later = len(told(await read(one)))

    assert (20, 1) == (shown, later)


# ---------------------------------------------------------------- targets that behave badly


@pytest.mark.parametrize(
    ("handler", "settings", "message"),
    [
        (silent, {"timeout": 0.2}, "no answer from 127.0.0.1:PORT after 2"),
        (dripping(), {"timeout": 0.3}, "response of 127.0.0.1:PORT was not over after"),
        (endless, {"body_limit": 100_000}, "body is longer than 100000 B"),
        (garbage, {}, "answer of 127.0.0.1:PORT is not HTTP"),
        (http(answer(status=503)), {}, "answered 503, expected 200"),
        (http(redirecting(None)), {}, "answered 302, expected 200"),
        (http(answer(b"<html>\n<body>\n")), {}, "the answer is no page of metrics"),
        (http(answer(b"")), {}, "the answer is no page of metrics"),
        (
            http(answer(gzip.compress(b"x 1\n" * 5_000_000), headers={"Content-Encoding": "gzip"})),
            {"body_limit": 1e6},
            "body is longer than 1000000 B",
        ),
        (http(answer(b"no gzip", headers={"Content-Encoding": "gzip"})), {}, "body cannot be decoded"),
    ],
    ids=["silent", "dripping", "endless", "garbage", "503", "redirect", "html", "empty", "bomb", "not-gzip"],
)
async def test_a_target_without_a_page_says_why_in_time(handler, settings, message):
    async with serve(handler) as port:
        began = time.monotonic()
        with pytest.raises(LookupError) as raised:
            await read(reader(port, "x", **settings))

    assert str(raised.value).startswith(f"http://127.0.0.1:{port}: {message.replace('PORT', str(port))}")
    assert time.monotonic() - began < 5


def test_nobody_there_and_no_such_name():
    port = unused_port()
    with pytest.raises(LookupError) as refused:
        reader(port, "x").sample()
    with pytest.raises(LookupError) as unknown:
        prometheus.open(Config(url="http://does-not-exist.invalid/metrics", series=("x",)), SystemClock()).sample()

    assert f"http://127.0.0.1:{port}: connection refused by 127.0.0.1:{port}" == str(refused.value)
    assert "http://does-not-exist.invalid: the name leads to no address" == str(unknown.value)


async def test_lines_that_cannot_be_read_are_counted_and_said():
    async with serve(http(answer(PAGE + b"broken{ 1\n"))) as port:
        one = reader(port, "heap_bytes", "broken")
        await read(one)
        samples = await read(one)

    assert 2 == next(sample.value for sample in samples if sample.name == "perfmon_prometheus_unread_lines_total")
    assert '1 line cannot be read, the first: its labels cannot be read: "broken{ 1"' in one.missing


async def test_credentials_headers_and_the_time_left_are_sent():
    seen = []
    async with serve(http(answer(PAGE), seen=seen)) as port:
        await read(reader(port, "heap_bytes", bearer_token="t0ken", headers={"X-Scope": "a"}, timeout=2.5))

    assert ("Bearer t0ken", "a", "2.5") == tuple(
        seen[0].headers[name] for name in ("authorization", "x-scope", "x-prometheus-scrape-timeout-seconds")
    )


async def test_a_page_over_tls_is_read_and_one_of_a_stranger_is_not(authority):
    async with serve(http(answer(PAGE)), tls=authority.context("localhost")) as port:
        url = f"https://localhost:{port}/metrics"
        trusting = Config(
            url=url, series=("heap_bytes",), tls_config=prometheus.scrape.TlsConfig(ca_file=authority.file)
        )
        samples = await read(prometheus.open(trusting, SystemClock()))
        with pytest.raises(LookupError) as refused:
            await read(prometheus.open(Config(url=url, series=("heap_bytes",)), SystemClock()))

    assert {("perfmon_prometheus_value_bytes", ("series", "heap_bytes")): 1024} == told(samples)
    assert "is not trusted" in str(refused.value)


# ---------------------------------------------------------------- in a file

RULES = """
samplers:
  - name: shop
    prometheus: {url: "http://127.0.0.1:9101/metrics", series: ["orders_total", {name: heap_bytes}]}
rules:
  - {name: Errors, select: {sampler: shop, series: orders_total, code: "5*"}, metric: perfmon_prometheus_counted_total, threshold: "rate < 1/s"}
  - {name: HeapLeaks, select: {series: heap_bytes}, metric: perfmon_prometheus_value_bytes, leak: {growth: 10MiB/min}}
"""


def test_rules_select_by_labels_that_only_the_target_knows(tmp_path):
    (tmp_path / "perfmon.yml").write_text(RULES)
    read_ = config.load([tmp_path / "perfmon.yml"])

    assert ["Errors", "HeapLeaks"] == [rule.name for rule in read_.rules]


def test_a_wrong_unit_or_metric_is_still_found(tmp_path):
    (tmp_path / "perfmon.yml").write_text(
        RULES.replace("counted_total,", "counted_totl,").replace("10MiB/min", "10s/min")
    )
    with pytest.raises(ConfigError) as raised:
        config.load([tmp_path / "perfmon.yml"])

    first, second = str(raised.value).splitlines()
    assert 'rules[0].metric: unknown metric "perfmon_prometheus_counted_totl", did you mean' in first
    assert "rules[1].leak: the series is in bytes, and growth is in seconds" in second


# ---------------------------------------------------------------- the inside of a Python service

SERVICE = """
import sys
from perfmon.instrument import python
page = python.serve(0)
print(page.port, flush=True)
kept = []
for line in sys.stdin:
    kept.extend([] for _ in range(int(line)))
    print("done", flush=True)
"""


@pytest.fixture
def service():
    """A process that shows its inside, and keeps as many objects more as it is told."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVICE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ
    ) as process:
        port = int(process.stdout.readline())

        def keep(count):
            process.stdin.write(f"{count}\n")
            process.stdin.flush()
            assert "done\n" == process.stdout.readline()

        yield port, keep, process.pid
        process.stdin.close()


def of_python(port, path="/metrics"):
    return python.open(python.Config(url=f"http://127.0.0.1:{port}{path}"), SystemClock())


def test_a_service_that_keeps_objects_shows_more_blocks(service):
    port, keep, _ = service
    one = of_python(port)
    before = {sample.name: sample.value for sample in one.sample()}
    keep(100_000)
    after = {sample.name: sample.value for sample in one.sample()}

    grown = after["perfmon_python_allocated_blocks"] - before["perfmon_python_allocated_blocks"]
    assert abs(grown - 100_000) < 1000
    assert before[python.LIFE] == after[python.LIFE]


def test_all_that_the_service_shows_arrives_under_declared_names(service):
    samples = of_python(service[0]).sample()
    declared = {family.name: set(family.labels) for family in python.FAMILIES}

    assert all(set(sample.labels) == declared[sample.name] for sample in samples)
    assert declared.keys() - {"perfmon_python_tracked_objects"} == {sample.name for sample in samples}


async def test_they_are_found_beside_metrics_of_prometheus_client():
    registry = CollectorRegistry()
    Gauge("mine", "Another.", registry=registry).set(1)
    instrument.register(registry)
    with exporter(registry) as port:
        names = {sample.name for sample in await read(of_python(port))}

    assert "perfmon_python_allocated_blocks" in names
    assert "mine" not in names


async def test_a_page_without_them_says_what_to_do():
    async with serve(http(answer(PAGE))) as port:
        with pytest.raises(LookupError) as raised:
            await read(of_python(port))

    assert (
        f"http://127.0.0.1:{port}: the page has no gauges of perfmon.instrument: does the service register them?"
        == str(raised.value)
    )


def test_no_thread_is_left_over_from_a_reading(service):
    before = threading.active_count()
    of_python(service[0]).sample()

    assert before == threading.active_count()
