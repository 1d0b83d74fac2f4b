"""Every report of a test: verdict first, figures that agree, and nothing of foreign origin that could command anything."""

import json
import re
import xml.etree.ElementTree as ET
from collections import Counter

import pytest

from perfmon import kinds
from perfmon.executors import constant_arrival_rate
from perfmon.model import Failure, Module, Target
from perfmon.perftest import gate, generator
from perfmon.probes import http
from perfmon.run import Report, Run, Snapshot, Tally, Timeline
from perfmon.scenario import Scenario, named_demand

HOSTILE = "<script>alert(1)</script> | `x` @all\x1b[31m \"'&]]>"


def report(*demands, dropped=0, failed=0, name="shop", seconds=10, ended="complete", backlog=0, lag_s=0.0001):
    settings = constant_arrival_rate.Config(rate=100, duration=float(seconds))
    scenario = Scenario(
        name=name,
        target=Target(probe=name, address="http://127.0.0.1:8080/"),
        module=Module(name="http_2xx", kind="http", timeout_s=5, config=http.Config()),
        executor="constant_arrival_rate",
        settings=settings,
        offer=constant_arrival_rate.offer(settings),
        demands=tuple(map(named_demand, demands)),
    )
    tally, timeline = Tally(), Timeline()
    for number in range(seconds):
        second = Snapshot(begin_s=number, end_s=number + 1.0, due=100, started=100, done=100)
        for k in range(100):
            second.response.record((k + 1) / 1000)
            second.service.record((k + 1) / 2000)
            second.queue.record((k + 1) / 2000)
            second.lag.record(lag_s)
        tally.add(second)
        timeline.add(second)
    total = tally.sum
    total.dropped, total.done = dropped, total.done
    if failed:
        total.failed = Counter({"status 500": failed})
        total.examples["status 500"] = Failure(reason="status", phase="processing", message=HOSTILE)
    run = Run(
        scenario=scenario,
        began=1_800_000_000.0,
        took_s=float(seconds),
        ended=ended,
        total=total,
        timeline=timeline.points,
        unfinished=0,
        cut=0,
        generator=generator.judge(scenario, total, backlog=backlog, unfinished=0, took_s=float(seconds)),
    )
    judged = tuple(gate.judge(one, total, unfinished=0, took_s=float(seconds)) for one in scenario.demands)
    return Report(run=run, judged=judged)


def rendered(kind, one):
    return kinds.load("reports", kind).render(one)


KINDS = kinds.names("reports")


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_a_file_of_its_own_and_says_the_verdict_first(kind):
    text = rendered(kind, report("p(95) < 90ms", "failed: rate < 1%"))
    files = [kinds.load("reports", name).FILE for name in KINDS]

    assert len(set(files)) == len(KINDS)
    assert "FAILED: 1 of 2 thresholds is broken" in text
    assert "95" in text


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_foreign_is_text_and_nothing_else(kind):
    text = rendered(kind, report("p(95) < 90ms", failed=3, name=HOSTILE))

    assert "\x1b" not in text
    if kind in ("html", "junit"):
        assert "<script" not in text
    if kind == "markdown":
        assert not re.search(r"(?<!\\)[`@<]", re.sub(r"^### |\*\*broken\*\*", "", text))


def test_text_says_what_was_seen_with_limit_n_and_interval():
    text = rendered("text", report("p(95) < 90ms warning, 200ms critical", "failed: rate < 1%"))

    assert text.startswith("PASSED: 2 thresholds hold\n")
    assert re.search(
        r"p95 of duration is 95ms \(95 % between 9[34]\S* and 9[67]\S*, n=1000\), expected < 90ms warning, 200ms critical",
        text,
    )
    assert "warning duration" in text
    assert "holds failed" in text


def test_what_was_dropped_is_slower_than_any_percentile_and_a_failure():
    one = report(
        "p(95) < 1s", "avg < 1s", "service: p(95) < 1s", "failed: rate < 1%", "done: count >= 1000", dropped=100
    )
    verdicts = [judged.verdict for judged in one.judged]

    assert [False, False, True, False, True] == [judged.passed for judged in one.judged]
    assert "p95 of duration is never" in verdicts[0].why
    assert 1100 == verdicts[0].n
    assert verdicts[3].value == pytest.approx(100 / 1100)
    assert "SATURATED" == one.run.generator.verdict


def test_json_can_be_read_back_and_merged():
    told = json.loads(rendered("json", report("p(95) < 90ms", dropped=900)))

    assert (None, 900) == (told["latency_s"]["response"]["p95"], told["latency_s"]["response"]["missed"])
    assert 0.0475 == pytest.approx(told["latency_s"]["service"]["p95"], rel=1e-3)
    assert 1000 == sum(count for _, count in told["latency_s"]["response"]["histogram"]["counts"])


def test_junit_has_a_case_for_each_threshold_and_an_error_where_the_run_is_invalid():
    good = ET.fromstring(rendered("junit", report("p(95) < 90ms", "failed: rate < 1%")))
    bad = ET.fromstring(rendered("junit", report("p(95) < 90ms", "failed: rate < 1%", lag_s=0.5)))

    assert ("2", "1", "0") == (good.get("tests"), good.get("failures"), good.get("errors"))
    assert "p95 of duration is 95ms" in good.find(".//failure").get("message")
    assert ("2", "0", "2") == (bad.get("tests"), bad.get("failures"), bad.get("errors"))


def test_the_page_fetches_nothing_and_runs_nothing():
    page = rendered("html", report("p(95) < 90ms", failed=5))

    assert "default-src 'none'" in page
    assert not re.findall(r"(?:src|href)=|@import|url\(|<script", page)
    assert 3 == page.count("<svg")


@pytest.mark.servers
def test_the_page_fits_a_screen_and_a_telephone(tmp_path, binary):
    from browser import chromium

    (tmp_path / "report.html").write_text(rendered("html", report("p(95) < 90ms", "failed: rate < 1%", failed=5)))
    with chromium(binary("chromium")) as tab:
        for width in (1280, 390):
            page = tab(width=width)
            page.open(f"file://{tmp_path}/report.html")
            page.until("document.querySelectorAll('svg').length == 3")
            assert page.ask("document.documentElement.scrollWidth") <= width
            assert "FAILED: 2 of 2 thresholds are broken" in page.text() or "1 of 2" in page.text()


def test_a_timeline_of_any_length_is_so_many_points_and_loses_nothing():
    timeline = Timeline(most=10)
    for number in range(1_003):
        second = Snapshot(begin_s=number, end_s=number + 1.0, done=1)
        second.response.record(0.001)
        timeline.add(second)

    points = timeline.points
    assert len(points) <= 10
    assert 1_003 == sum(point.done for point in points) == sum(point.response.count for point in points)
    assert [point.begin_s for point in points[1:]] == [point.end_s for point in points[:-1]]
