import asyncio
import gc
import gzip
import re
import subprocess
import time
import zlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from page_oracle import families, key, series
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from structlog.testing import capture_logs

from perfmon.clock import ManualClock, SystemClock
from perfmon.metrics import FAMILIES, LATENCY_BUCKETS_S, Family
from perfmon.model import PHASES, Check, Confirm, Failure, Measurement, Module, Sample, Sampler, Target, fact_key
from perfmon.monitor.exemplar import RunId, check_id
from perfmon.monitor.exemplar import read as read_run_id
from perfmon.monitor.exposition import Exposition, render_probe
from perfmon.monitor.selfmetrics import Instruments
from perfmon.monitor.textformat import OPENMETRICS, TEXT, TIMING_LINES

GOLDEN = Path(__file__).parent / "golden" / "metrics.txt"
DECLARED = {
    family.name: family
    for family in (
        *FAMILIES,
        Family("probe_http_status_code", "gauge", "Status code of the final response."),
        Family("probe_http_duration_seconds", "gauge", "Time by phase.", ("phase",), "seconds"),
        Family("perfmon_host_load1", "gauge", "Load average of the last minute."),
        Family("perfmon_host_cpu_seconds_total", "counter", "CPU time by mode.", ("mode",), "seconds"),
    )
}
REFUSED = Failure(reason="connect_refused", phase="connect", message="connection refused")
SHOP = {"probe": "shop", "target": "http://shop/", "module": "http_2xx"}
RUNS = "perfmon_probe_runs_total"


def make_check(address="http://shop/", *, probe="shop", labels=None, timeout_s=5.0):
    module = Module(name="http_2xx", kind="http", timeout_s=timeout_s, config=None)
    target = Target(probe=probe, address=address, labels=labels or {})
    return Check(target=target, module=module, interval_s=15.0)


def make_run(check, *, at=1000.0, duration_s=0.25, phases=None, facts=None, failure=None):
    return Measurement(
        target=check.target,
        module=check.module.name,
        at=at,
        duration_s=duration_s,
        phases=phases or {},
        facts=facts or {},
        failure=failure,
    )


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """As `perfmon.measure.Reading`."""

    samples: list[Sample]
    duration_s: float = 0.002
    error: str = ""


HOST = Sampler(name="host", kind="host", interval_s=10.0, config=None)


@pytest.fixture
def instruments():
    return Instruments()


@pytest.fixture
def exposition(instruments):
    return Exposition(ManualClock(), 1_000_000, instruments, DECLARED)


async def page_of(exposition, form=TEXT):
    return b"".join([chunk async for chunk in exposition.render(form)])


def without_the_process(page):
    """The page but for what perfmon's own process takes, which is another figure each time."""
    return re.sub(rb"(?m)^(# \w+ )?(process|python_gc)_.*\n", b"", page)


async def series_of(exposition):
    """The series of checks and samplers, without perfmon's own."""
    own = tuple(family.name for _, samples in exposition._instruments.collect() for family in samples)
    return {found: value for found, value in series(await page_of(exposition)).items() if not found[0].startswith(own)}


# ---------------------------------------------------------------- a check


async def test_a_run_becomes_its_gauges_its_counter_and_its_histogram(exposition):
    check = make_check()

    exposition.observe(
        make_run(check, phases={"connect": 0.05, "tls": 0.2}, facts={"probe_http_status_code": 200.0}), check
    )

    below, above = [b for b in LATENCY_BUCKETS_S if b < 0.25], [b for b in LATENCY_BUCKETS_S if b >= 0.25]
    expected = {
        key("probe_success", **SHOP): 1.0,
        key("probe_duration_seconds", **SHOP): 0.25,
        key("probe_timeout_seconds", **SHOP): 5.0,
        key("perfmon_probe_last_run_timestamp_seconds", **SHOP): 1_800_000_000.0,
        key(RUNS, result="success", reason="none", **SHOP): 1.0,
        key("perfmon_probe_phase_seconds", phase="connect", **SHOP): 0.05,
        key("perfmon_probe_phase_seconds", phase="tls", **SHOP): 0.2,
        key("probe_http_status_code", **SHOP): 200.0,
        **{key("perfmon_probe_latency_seconds_bucket", le=str(b), **SHOP): 0.0 for b in below},
        **{key("perfmon_probe_latency_seconds_bucket", le=str(b), **SHOP): 1.0 for b in above},
        key("perfmon_probe_latency_seconds_bucket", le="+Inf", **SHOP): 1.0,
        key("perfmon_probe_latency_seconds_count", **SHOP): 1.0,
        key("perfmon_probe_latency_seconds_sum", **SHOP): 0.25,
    }
    assert expected == await series_of(exposition)
    assert len(expected) == exposition.series_count


async def test_the_time_of_a_run_is_when_it_began_by_the_wall_clock(exposition):
    exposition._clock.advance(7.0)
    check = make_check()

    exposition.observe(make_run(check, at=1005.0), check)

    assert 1_800_000_005.0 == (await series_of(exposition))[key("perfmon_probe_last_run_timestamp_seconds", **SHOP)]


async def test_a_failure_is_counted_under_its_reason_beside_the_successes(exposition):
    check = make_check()

    exposition.observe(make_run(check, failure=REFUSED), check)
    first = await series_of(exposition)
    for failure in (None, REFUSED):
        exposition.observe(make_run(check, failure=failure), check)
    then = await series_of(exposition)

    assert 0.0 == first[key("probe_success", **SHOP)]
    assert [0.0, 1.0] == [first[key(RUNS, result=result, reason=reason, **SHOP)] for result, reason in OUTCOMES]
    assert [1.0, 2.0] == [then[key(RUNS, result=result, reason=reason, **SHOP)] for result, reason in OUTCOMES]


OUTCOMES = [("success", "none"), ("failure", "connect_refused")]


async def test_a_confirmed_run_shows_its_result_its_first_try_and_how_many_it_took(exposition):
    """Case D26. One run is one duration, so that failures are still the histogram's count less the successes."""
    check = replace(make_check(), confirm=Confirm(attempts=3, failures=3))
    exposition.observe(make_run(check), check)
    first = make_run(check, duration_s=4.0, failure=REFUSED)
    exposition.observe(replace(make_run(check, duration_s=0.002), earlier=(first, first)), check)
    found = await series_of(exposition)

    first_try = "perfmon_probe_first_try_runs_total"
    assert (1.0, 0.002) == (found[key("probe_success", **SHOP)], found[key("probe_duration_seconds", **SHOP)])
    assert 2.0 == found[key(RUNS, result="success", reason="none", **SHOP)]
    assert [1.0, 1.0] == [found[key(first_try, result=result, reason=reason, **SHOP)] for result, reason in OUTCOMES]
    assert 4.0 == found[key("perfmon_probe_attempts_total", **SHOP)]
    assert 3.0 == found[key("perfmon_probe_last_run_attempts", **SHOP)]
    latency = "perfmon_probe_latency_seconds"
    assert (2.0, 4.25) == (found[key(f"{latency}_count", **SHOP)], found[key(f"{latency}_sum", **SHOP)])
    assert len(found) == exposition.series_count


async def test_a_recheck_is_counted_apart_and_is_none_of_the_durations(exposition):
    check = replace(make_check(), interval_failing_s=2.0)
    exposition.observe(make_run(check, failure=REFUSED), check)
    for failure in (REFUSED, None):
        exposition.observe(replace(make_run(check, duration_s=0.002, failure=failure), recheck=True), check)
    found = await series_of(exposition)

    rechecks = "perfmon_probe_rechecks_total"
    assert [0.0, 1.0] == [found[key(RUNS, result=result, reason=reason, **SHOP)] for result, reason in OUTCOMES]
    assert [1.0, 1.0] == [found[key(rechecks, result=result, reason=reason, **SHOP)] for result, reason in OUTCOMES]
    assert (1.0, 0.002) == (found[key("probe_success", **SHOP)], found[key("probe_duration_seconds", **SHOP)])
    assert 1.0 == found[key("perfmon_probe_latency_seconds_count", **SHOP)]


async def test_first_tries_are_counted_apart_only_while_runs_are_confirmed(exposition):
    check = make_check()
    confirmed = replace(check, confirm=Confirm(attempts=2, failures=2))
    exposition.observe(make_run(check), check)
    without = set(await series_of(exposition))
    exposition.observe(make_run(confirmed), confirmed)
    within = await series_of(exposition)
    exposition.observe(make_run(check), check)

    assert 2.0 == within[key(RUNS, result="success", reason="none", **SHOP)]
    assert 3 == len(set(within) - without)
    assert without == set(await series_of(exposition))


async def test_a_fact_that_the_last_run_has_not_is_gone_and_comes_back(exposition):
    check = make_check()
    seen = []
    for facts in ({"probe_http_status_code": 200.0}, {}, {"probe_http_status_code": 503.0}):
        exposition.observe(make_run(check, facts=facts), check)
        page = await series_of(exposition)
        assert len(page) == exposition.series_count
        seen.append(page.get(key("probe_http_status_code", **SHOP)))

    assert [200.0, None, 503.0] == seen


async def test_a_family_that_nobody_has_any_more_leaves_no_header(exposition):
    check = make_check()
    exposition.observe(make_run(check, facts={"probe_http_status_code": 200.0}), check)
    assert "probe_http_status_code" in families(await page_of(exposition))

    exposition.observe(make_run(check), check)

    assert "probe_http_status_code" not in families(await page_of(exposition))


async def test_a_removed_check_is_gone_at_once_and_forgets_its_counts(exposition):
    check, other = make_check(), make_check("http://other/")
    for each in (check, other, check):
        exposition.observe(make_run(each), each)

    exposition.remove(check.key)
    without = await series_of(exposition)
    exposition.observe(make_run(check), check)

    assert {"http://other/"} == {dict(labels)["target"] for _, labels in without}
    assert 1.0 == (await series_of(exposition))[key(RUNS, result="success", reason="none", **SHOP)]


def test_to_remove_what_is_not_there_is_no_mistake(exposition):
    exposition.remove("shop/http://never/")

    assert 0 == exposition.series_count


async def test_a_reload_keeps_the_counts_of_a_check_whose_labels_stay(exposition):
    before, after = make_check(timeout_s=5.0), make_check(timeout_s=2.0)
    exposition.observe(make_run(before), before)

    exposition.observe(make_run(after), after)

    page = await series_of(exposition)
    assert 2.0 == page[key(RUNS, result="success", reason="none", **SHOP)]
    assert 2.0 == page[key("perfmon_probe_latency_seconds_count", **SHOP)]
    assert 2.0 == page[key("probe_timeout_seconds", **SHOP)]


async def test_a_check_with_other_labels_is_a_new_one_and_the_old_series_go(exposition):
    before, after = make_check(), make_check(labels={"team": "web"})
    exposition.observe(make_run(before), before)

    exposition.observe(make_run(after), after)

    page = await series_of(exposition)
    assert {"web"} == {dict(labels).get("team") for _, labels in page}
    assert 1.0 == page[key(RUNS, result="success", reason="none", team="web", **SHOP)]
    assert len(page) == exposition.series_count


async def test_the_order_of_the_page_does_not_hang_on_the_order_of_the_runs():
    checks = [make_check(f"http://{name}/") for name in "cab"]
    pages = []
    for order in (checks, checks[::-1]):
        exposition = Exposition(ManualClock(), 1000, Instruments(), DECLARED)
        for check in order:
            exposition.observe(make_run(check), check)
        pages.append(without_the_process(await page_of(exposition)))

    assert pages[0] == pages[1]


# ---------------------------------------------------------------- a sampler


async def test_a_reading_becomes_gauges_and_counters_and_its_own_cost(exposition):
    samples = [
        Sample(name="perfmon_host_load1", value=0.5),
        Sample(name="perfmon_host_cpu_seconds_total", value=12.5, labels={"mode": "user"}),
    ]

    for _ in range(2):
        exposition.observe_reading(HOST, Read(samples=samples))

    expected = {
        key("perfmon_sampler_success", sampler="host"): 1.0,
        key("perfmon_sampler_duration_seconds_total", sampler="host"): 0.004,
        key("perfmon_sampler_runs_total", sampler="host", result="success"): 2.0,
        key("perfmon_sampler_runs_total", sampler="host", result="failure"): 0.0,
        key("perfmon_host_load1", sampler="host"): 0.5,
        key("perfmon_host_cpu_seconds_total", sampler="host", mode="user"): 12.5,
    }
    assert expected == await series_of(exposition)
    assert len(expected) == exposition.series_count


async def test_what_a_reading_did_not_find_is_gone_and_counted(exposition):
    exposition.observe_reading(HOST, Read(samples=[Sample(name="perfmon_host_load1", value=0.5)]))

    exposition.observe_reading(HOST, Read(samples=[], error="no process has the name shop"))

    page = await series_of(exposition)
    assert key("perfmon_host_load1", sampler="host") not in page
    assert 0.0 == page[key("perfmon_sampler_success", sampler="host")]
    assert 1.0 == page[key("perfmon_sampler_runs_total", sampler="host", result="failure")]


# ---------------------------------------------------------------- hostile values


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ('say "hi"', 'say "hi"'),
        ("C:\\temp\\new", "C:\\temp\\new"),
        ("two\nlines", "two\nlines"),
        ("bad \udcff byte", "bad ? byte"),
        ('a="b",c={d}', 'a="b",c={d}'),
        ("\r\0\x85\u2028", "\r\0\x85\u2028"),
        ("日本", "日本"),
        ("", ""),
    ],
)
async def test_p26_any_text_can_be_a_label_value(exposition, text, read):
    check = make_check(f"http://{text}/", labels={"team": text})
    exposition.observe(make_run(check, facts={fact_key("probe_tls_version_info", version=text): 1.0}), check)

    labels = {**SHOP, "target": f"http://{read}/", "team": read}
    assert 1.0 == (await series_of(exposition))[key("probe_tls_version_info", version=read, **labels)]


async def test_an_own_label_gives_way_to_one_of_the_users(exposition):
    """One name twice in a series would cost Prometheus the whole page; it renames the same way."""
    check = make_check(labels={"phase": "beta", "reason": "x=", "version": "2"})
    facts = {
        fact_key(
            "probe_tls_version_info",
            version='phase="',
        ): 1.0
    }
    exposition.observe(make_run(check, phases={"tls": 0.1}, facts=facts), check)

    page = await series_of(exposition)
    labels = {**SHOP, "phase": "beta", "reason": "x=", "version": "2"}
    assert 0.1 == page[key("perfmon_probe_phase_seconds", exported_phase="tls", **labels)]
    assert 1.0 == page[key(RUNS, result="success", exported_reason="none", **labels)]
    assert 1.0 == page[key("probe_tls_version_info", exported_version='phase="', **labels)]


async def test_not_every_number_is_finite(exposition):
    check = make_check()
    facts = {
        fact_key("probe_http_duration_seconds", phase=str(value)): value for value in map(float, ("inf", "-inf", "nan"))
    }
    exposition.observe(make_run(check, facts=facts), check)

    lines = (await page_of(exposition)).decode().splitlines()
    assert ["+Inf", "-Inf", "NaN"] == [line.split()[-1] for line in lines if line.startswith("probe_http_duration")]


async def test_a_flag_of_a_careless_probe_is_a_number(exposition):
    """To the type checker a bool is a float; as `True` it would cost Prometheus the whole page."""
    check = make_check()
    exposition.observe(make_run(check, facts={"probe_http_status_code": True}), check)

    assert 1.0 == (await series_of(exposition))[key("probe_http_status_code", **SHOP)]


@pytest.mark.parametrize("name", ["probe_nobody_declared", "perfmon_schedule_lateness_seconds"])
async def test_a_fact_without_a_family_is_a_defect_said_once(exposition, instruments, name):
    check = make_check()
    with capture_logs() as logs:
        for _ in range(3):
            exposition.observe(make_run(check, facts={name: 1.0, "probe_http_status_code": 200.0}), check)

    page = await series_of(exposition)
    assert 200.0 == page[key("probe_http_status_code", **SHOP)]
    assert len(page) == exposition.series_count
    assert [(name, "error")] == [(entry["family"], entry["log_level"]) for entry in logs]
    assert 1.0 == instruments.registry.get_sample_value("perfmon_defects_total", {"where": "exposition"})


async def test_a_probe_that_writes_a_series_of_ours_does_not_write_it_twice(exposition, instruments):
    check = make_check()
    with capture_logs() as logs:
        exposition.observe(make_run(check, facts={"probe_success": 0.0}), check)

    page = await series_of(exposition)
    assert 1.0 == page[key("probe_success", **SHOP)]
    assert len(page) == exposition.series_count
    assert ["written twice"] == [entry["why"] for entry in logs]


# ---------------------------------------------------------------- the limit


async def test_series_beyond_the_limit_are_not_exported_but_counted_and_said(instruments):
    exposition = Exposition(ManualClock(), 25, instruments, DECLARED)
    checks = [make_check(f"http://{number}/") for number in range(3)]

    with capture_logs() as logs:
        for check in checks:
            exposition.observe(make_run(check), check)

    page = await series_of(exposition)
    each = 5 + TIMING_LINES  # four gauges, one counter, the histogram
    assert (25, 25) == (len(page), exposition.series_count)
    assert 3 * each - 25 == instruments.registry.get_sample_value("perfmon_series_dropped_total")
    assert [("series dropped", 25)] == [(entry["event"], entry["limit"]) for entry in logs]


async def test_room_that_becomes_free_is_used_by_the_next_run(instruments):
    exposition = Exposition(ManualClock(), 20, instruments, DECLARED)
    first, second = make_check("http://1/"), make_check("http://2/")
    for check in (first, second):
        exposition.observe(make_run(check), check)
    assert 20 == exposition.series_count

    exposition.remove(first.key)
    exposition.observe(make_run(second), second)

    assert {"http://2/"} == {dict(labels)["target"] for _, labels in await series_of(exposition)}
    assert 5 + TIMING_LINES == exposition.series_count


async def test_a_histogram_is_exported_whole_or_not_at_all(instruments):
    exposition = Exposition(ManualClock(), 5 + TIMING_LINES - 1, instruments, DECLARED)
    check = make_check()
    exposition.observe(make_run(check), check)

    assert "perfmon_probe_latency_seconds" not in families(await page_of(exposition))
    assert 5 == exposition.series_count == len(await series_of(exposition))


# ---------------------------------------------------------------- the oracle

numbers = st.floats() | st.integers(0, 10**9).map(float)
facts_made = st.dictionaries(
    st.one_of(
        st.just("probe_http_status_code"),
        st.builds(lambda text: fact_key("probe_tls_version_info", version=text), st.text()),
        st.builds(lambda phase: fact_key("probe_http_duration_seconds", phase=phase), st.sampled_from(PHASES)),
    ),
    numbers,
    max_size=8,
)
runs_made = st.lists(
    st.tuples(
        st.sampled_from(["http://a/", "http://b/", 'tcp "c"\n']),
        st.floats(0.0, 100.0),
        facts_made,
        st.dictionaries(st.sampled_from(PHASES), st.floats(0.0, 10.0)),
        st.sampled_from([None, REFUSED]),
    ),
    max_size=12,
)


@given(runs=runs_made)
def test_both_formats_say_exactly_what_was_observed(runs):
    exposition = Exposition(ManualClock(), 1_000_000, Instruments(), DECLARED)
    expected = {}
    count, total, below = {}, {}, {}
    for address, duration_s, facts, phases, failure in runs:
        check = make_check(address)
        exposition.observe(make_run(check, duration_s=duration_s, facts=facts, phases=phases, failure=failure), check)
        outcome = ("success", "none") if failure is None else ("failure", failure.reason)
        count.setdefault(address, {("success", "none"): 0}).setdefault(outcome, 0)
        count[address][outcome] += 1
        total[address] = total.get(address, 0.0) + duration_s
        for bound in (*LATENCY_BUCKETS_S, float("inf")):
            below[address, bound] = below.get((address, bound), 0) + (duration_s <= bound)
        expected[address] = {
            ("probe_success", frozenset()): float(failure is None),
            ("probe_duration_seconds", frozenset()): duration_s,
            ("probe_timeout_seconds", frozenset()): 5.0,
            ("perfmon_probe_last_run_timestamp_seconds", frozenset()): 1_800_000_000.0,
            **{key("perfmon_probe_phase_seconds", phase=phase): value for phase, value in phases.items()},
            **{next(iter(series(f"{fact} 0\n".encode()))): value for fact, value in facts.items()},
        }
    whole = {
        (name, own | frozenset({"probe": "shop", "target": address, "module": "http_2xx"}.items())): value
        for address, page in expected.items()
        for (name, own), value in page.items()
    }
    for address in expected:
        of = {"probe": "shop", "target": address, "module": "http_2xx"}
        whole |= {key(RUNS, result=r, reason=why, **of): float(n) for (r, why), n in count[address].items()}
        whole |= {
            key("perfmon_probe_latency_seconds_bucket", le=str(bound).replace("inf", "+Inf"), **of): float(
                below[address, bound]
            )
            for bound in (*LATENCY_BUCKETS_S, float("inf"))
        }
        whole[key("perfmon_probe_latency_seconds_count", **of)] = float(sum(count[address].values()))
        whole[key("perfmon_probe_latency_seconds_sum", **of)] = total[address]

    for form in (TEXT, OPENMETRICS):
        page = asyncio.run(page_of(exposition, form))
        found = series(page, openmetrics=form is OPENMETRICS)
        families(page)
        assert by_repr(whole) == by_repr({each: value for each, value in found.items() if ("probe", "shop") in each[1]})
    assert len(whole) == exposition.series_count


def by_repr(page):
    """NaN equals NaN, and 0.0 is not -0.0."""
    return {each: repr(float(value)) for each, value in page.items()}


# ---------------------------------------------------------------- exemplars


def exemplars(page):
    """By the bound of the bucket: labels, value and time of each exemplar on an OpenMetrics page."""
    samples = [sample for family in parse_openmetrics(page.decode()) for sample in family.samples]
    return {
        float(one.labels["le"]): (one.exemplar.labels, one.exemplar.value, float(one.exemplar.timestamp))
        for one in samples
        if one.exemplar
    }


async def test_the_newest_run_of_a_bucket_stands_for_it_under_an_id_that_finds_it(exposition):
    check = make_check()
    for at, duration_s in ((1000.0, 0.2), (1001.5, 0.21), (1003.0, 7.0)):
        exposition.observe(make_run(check, at=at, duration_s=duration_s, phases={"tls": duration_s}), check)
    found = exemplars(await page_of(exposition, OPENMETRICS))

    name = check_id(check.key)
    ids = [f"{name}-{1_800_000_001_500:x}", f"{name}-{1_800_000_003_000:x}"]
    assert {
        0.25: ({"run_id": ids[0]}, 0.21, 1_800_000_001.5),
        10.0: ({"run_id": ids[1]}, 7.0, 1_800_000_003.0),
    } == found
    assert (7.0, 1_800_000_003.0, {"tls": 7.0}, "none") == exposition.run(check.key, read_run_id(ids[1]))
    assert exposition.run(check.key, RunId(name, 1_800_000_000_000)) is None
    assert exposition.run("gone", read_run_id(ids[1])) is None


async def test_a_run_that_failed_at_first_stands_there_with_its_first_try(exposition):
    """As in the histogram; a recheck, and a run of the daemon's former life, stand for nothing."""
    check = make_check()
    exposition.observe(make_run(check, duration_s=2.0), check, counted=False)
    exposition.observe(replace(make_run(check, duration_s=3.0), recheck=True), check)
    first = make_run(check, duration_s=0.2, failure=REFUSED)
    exposition.observe(replace(make_run(check, duration_s=4.0), earlier=(first,)), check)
    page = await page_of(exposition, OPENMETRICS)
    [(_, (labels, value, _))] = exemplars(page).items()

    assert 0.2 == value
    assert "connect_refused" == exposition.run(check.key, read_run_id(labels["run_id"]))[3]


async def test_only_openmetrics_has_a_place_for_exemplars(exposition):
    check = make_check()
    exposition.observe(make_run(check), check)

    assert b" # {" not in await page_of(exposition, TEXT)


@given(check=st.from_regex("[0-9a-f]{8}", fullmatch=True), at_ms=st.integers(0, 2**53))
def test_an_id_is_read_as_it_was_written(check, at_ms):
    assert (check, at_ms) == read_run_id(str(RunId(check, at_ms)))


@pytest.mark.parametrize("text", ["", "1c291ca3", "1c291ca3-", "1C291CA3-1", "1c291ca3-1 ", "1c291ca3-" + "1" * 15])
def test_other_texts_are_no_ids(text):
    assert read_run_id(text) is None


# ---------------------------------------------------------------- the golden page


def golden_page():
    """A service that is well, one that is not and has a hostile name, a sampler that reads and one that does not."""
    exposition = Exposition(ManualClock(), 1_000_000, Instruments(), DECLARED)
    good = make_check("https://shop.example/", labels={"team": "web"})
    bad = make_check('tcp "7"\\\n', probe="odd")
    phases = {
        "resolve": 0.001,
        "connect": 0.002,
        "tls": 0.02,
        "request": 0.0001,
        "processing": 0.03,
        "transfer": 0.0005,
    }
    facts = {
        "probe_dns_lookup_time_seconds": 0.001,
        "probe_ip_protocol": 4.0,
        "probe_ip_addr_hash": 3268949123.0,
        **{
            fact_key("probe_http_duration_seconds", phase=phase): phases[phase]
            for phase in PHASES
            if phase != "request"
        },
        "probe_http_status_code": 200.0,
        "probe_ssl_earliest_cert_expiry": 1_900_000_000.0,
        "probe_ssl_last_chain_expiry_timestamp_seconds": 1_900_000_000.0,
        fact_key(
            "probe_ssl_last_chain_info",
            fingerprint_sha256="ab12",
            subject='CN=shop.example,O="Shop, Inc."',
            issuer="CN=ca",
            subjectalternative="shop.example",
            serialnumber="1f",
        ): 1.0,
        fact_key("probe_tls_version_info", version="TLS 1.3"): 1.0,
    }
    exposition.observe(make_run(good, duration_s=0.0536, phases=phases, facts=facts), good)
    exposition.observe(make_run(bad, duration_s=0.004, phases={"connect": 0.004}, failure=REFUSED), bad)
    samples = [Sample(name="perfmon_host_load1", value=0.25)]
    samples += [Sample(name="perfmon_host_cpu_seconds_total", value=n, labels={"mode": m}) for m, n in CPU.items()]
    exposition.observe_reading(HOST, Read(samples=samples))
    lost = Sampler(name="shop", kind="process", interval_s=10.0, config=None, labels={"team": "web"})
    exposition.observe_reading(lost, Read(samples=[], error='no process has the name "shop"'))
    page = without_the_process(asyncio.run(page_of(exposition))).decode()
    return re.sub(r"perfmon_build_info\{.*\}", 'perfmon_build_info{version="1.2.3",pythonversion="3.11.0"}', page)


CPU = {"user": 1234.56, "system": 321.0}


def test_the_page_is_the_golden_one():
    """To accept a change: `python tests/monitor/test_exposition.py`, and read the diff."""
    assert GOLDEN.read_text() == golden_page()


@pytest.mark.servers
def test_promtool_finds_nothing_to_say_about_the_golden_page(binary):
    answer = subprocess.run(
        [binary("promtool"), "check", "metrics"], input=GOLDEN.read_bytes(), capture_output=True, check=False
    )

    assert (0, b"", b"") == (answer.returncode, answer.stdout, answer.stderr)


# ---------------------------------------------------------------- a scrape


def filled(clock, *, targets):
    exposition = Exposition(clock, 1_000_000, Instruments(), DECLARED)
    phases = dict.fromkeys(PHASES, 0.001)
    facts = {fact_key("probe_tls_version_info", version=str(number)): 1.0 for number in range(14)}
    for number in range(targets):
        check = make_check(f"http://127.0.0.1:8080/{number}")
        exposition.observe(make_run(check, phases=phases, facts=facts), check)
    return exposition


async def test_a_scrape_is_compressed_when_the_client_takes_that(exposition):
    exposition = filled(ManualClock(), targets=10)
    plain, headers = await exposition.scrape("", "")
    packed, packed_headers = await exposition.scrape("", "gzip")

    assert "Content-Encoding" not in headers
    assert "text/plain; version=0.0.4; charset=utf-8" == headers["Content-Type"] == packed_headers["Content-Type"]
    assert "gzip" == packed_headers["Content-Encoding"]
    assert series(plain).keys() == series(gzip.decompress(packed)).keys()


async def test_a_scrape_answers_in_openmetrics_when_asked(exposition):
    check = make_check()
    exposition.observe(make_run(check), check)

    body, headers = await exposition.scrape("application/openmetrics-text;version=1.0.0", "")

    assert "application/openmetrics-text; version=1.0.0; charset=utf-8" == headers["Content-Type"]
    assert body.endswith(b"# EOF\n")
    assert 1.0 == series(body, openmetrics=True)[key(RUNS, result="success", reason="none", **SHOP)]


async def test_a_scrape_is_timed(exposition, instruments):
    await exposition.scrape("", "")

    assert 1.0 == instruments.registry.get_sample_value("perfmon_scrape_duration_seconds_count")


class Ticking:
    """A clock on which each look takes a millisecond, so that a render yields at every piece."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        self.now += 0.001
        return self.now

    def wall(self):
        return self.now


async def test_a_page_shows_one_instant_whatever_happens_while_it_is_written():
    exposition = filled(Ticking(), targets=60)
    check = make_check("http://127.0.0.1:8080/59")
    chunks = []
    async for chunk in exposition.render():
        exposition.observe(make_run(check, duration_s=9.0, facts={"probe_http_status_code": 1.0}), check)
        exposition.remove(make_check("http://127.0.0.1:8080/58").key)
        chunks.append(chunk)

    page = series(b"".join(chunks))
    of = {**SHOP, "target": "http://127.0.0.1:8080/59"}
    assert len(chunks) > 5
    assert 0.25 == page[key("probe_duration_seconds", **of)] == page[key("perfmon_probe_latency_seconds_sum", **of)]
    assert 1.0 == page[key("perfmon_probe_latency_seconds_count", **of)]
    assert key("probe_success", **{**SHOP, "target": "http://127.0.0.1:8080/58"}) in page


async def test_scrapes_at_the_same_time_each_get_a_whole_page():
    exposition = filled(Ticking(), targets=40)

    answers = await asyncio.gather(*(exposition.scrape("", "gzip" if n % 2 else "") for n in range(6)))

    pages = [zlib.decompress(body, wbits=31) if "Content-Encoding" in headers else body for body, headers in answers]
    assert 1 == len({frozenset(series(page)) for page in pages})


async def test_a_cancelled_scrape_lets_the_next_one_through():
    exposition = filled(Ticking(), targets=40)
    leaving = asyncio.create_task(exposition.scrape("", ""))
    await asyncio.sleep(0)
    leaving.cancel()

    body, _ = await asyncio.wait_for(exposition.scrape("", ""), timeout=5)

    assert leaving.cancelled()
    assert len(series(body)) > 40


async def test_a_large_page_does_not_hold_up_the_loop():
    """100,000 series; benchmarks/scrape_cost.py has the real figure, this bound allows for a busy machine."""
    exposition = filled(SystemClock(), targets=2500)
    gc.freeze()  # as the daemon does once it has started: a full collection is not what is looked at
    gaps = []

    async def beat():
        while True:
            began = time.thread_time()  # of this thread alone: what others on the machine do is not our lag
            await asyncio.sleep(0)
            gaps.append(time.thread_time() - began)

    heart = asyncio.create_task(beat())
    async for _ in exposition.render():
        pass
    heart.cancel()
    gc.unfreeze()

    assert 100_000 == exposition.series_count
    assert len(gaps) > 20
    assert max(gaps) < 0.010


# ---------------------------------------------------------------- /probe


def test_a_single_probe_answers_as_blackbox_exporter_does():
    facts = {fact_key("probe_http_duration_seconds", phase="tls"): 0.02, "probe_http_status_code": 503.0}
    measurement = make_run(make_check(labels={"team": "web"}), phases={"tls": 0.02}, facts=facts, failure=REFUSED)

    page = render_probe(measurement, 4.5, DECLARED)

    expected = {
        key("probe_success"): 0.0,
        key("probe_duration_seconds"): 0.25,
        key("probe_timeout_seconds"): 4.5,
        key("probe_http_status_code"): 503.0,
        key("probe_http_duration_seconds", phase="tls"): 0.02,
    }
    assert expected == series(page)
    assert sorted({name for name, _ in expected}) == families(page)
    assert b"probe_success 0\n" in page


def test_a_fact_without_a_family_is_left_out_of_a_single_probe_and_said():
    with capture_logs() as logs:
        page = render_probe(make_run(make_check(), facts={"probe_nobody_declared": 1.0}), 5.0, DECLARED)

    assert "probe_nobody_declared" not in families(page)
    assert ["probe_nobody_declared"] == [entry["family"] for entry in logs]


if __name__ == "__main__":
    GOLDEN.write_text(golden_page())


async def test_what_a_rule_says_of_a_series_is_shown_until_it_is_over(instruments):
    exposition = Exposition(ManualClock(), 1000, instruments)
    labels = {"rule": "Leak", "metric": "rss", "sampler": "shop"}
    exposition.observe_facts("/rule/Leak/x", labels, {'perfmon_leak_verdict{verdict="leak"}': 1.0})
    exposition.observe_facts("/rule/Leak/x", labels, {"perfmon_leak_seconds_to_limit": 60.0})

    page = (await page_of(exposition)).decode()
    assert 'perfmon_leak_seconds_to_limit{rule="Leak",metric="rss",sampler="shop"} 60.0\n' in page
    assert "perfmon_leak_verdict" not in page
    exposition.observe_facts("/rule/Leak/x", labels, {})
    assert "perfmon_leak" not in (await page_of(exposition)).decode()
    assert 0 == exposition.series_count
