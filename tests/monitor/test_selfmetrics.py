import platform

import prometheus_client
from page_oracle import families, key, series

import perfmon
from perfmon.metrics import BLACKBOX_FAMILIES, SELF_FAMILIES
from perfmon.monitor.selfmetrics import Instruments
from perfmon.monitor.textformat import OPENMETRICS, TEXT, write_samples


def page_of(instruments, form=TEXT):
    return (
        "".join(write_samples(family, samples, form) for family, samples in instruments.collect()) + form.end
    ).encode()


def test_every_family_of_the_catalogue_has_one_instrument_and_no_other_exists():
    collected = [family for family, _ in Instruments().collect()]

    assert sorted(SELF_FAMILIES, key=str) == sorted(collected, key=str)


def test_those_of_blackbox_exporter_are_shown_only_in_its_place():
    beside = {family for family, _ in Instruments(blackbox=True).collect()} - set(SELF_FAMILIES)

    assert set(BLACKBOX_FAMILIES) == beside


def test_instruments_stay_out_of_the_global_registry():
    before = list(prometheus_client.REGISTRY.collect())
    Instruments()
    Instruments()

    assert len(before) == len(list(prometheus_client.REGISTRY.collect()))


def test_an_instrument_says_what_it_was_told_in_both_formats():
    instruments = Instruments()
    instruments.lateness.observe(0.02)
    instruments.skipped.labels("overrun").inc(3)
    instruments.notifications.labels("pager", 'sent "twice"\n').inc()

    for form in (TEXT, OPENMETRICS):
        page = series(page_of(instruments, form), openmetrics=form is OPENMETRICS)

        assert 1.0 == page[key("perfmon_schedule_lateness_seconds_bucket", le="0.025")]
        assert 0.0 == page[key("perfmon_schedule_lateness_seconds_bucket", le="0.01")]
        assert 0.02 == page[key("perfmon_schedule_lateness_seconds_sum")]
        assert 3.0 == page[key("perfmon_schedule_skipped_total", why="overrun")]
        assert 1.0 == page[key("perfmon_notifications_total", receiver="pager", outcome='sent "twice"\n')]


def test_created_series_are_left_out():
    instruments = Instruments()
    instruments.due.inc()

    assert [] == [name for name, _ in series(page_of(instruments)) if name.endswith("_created")]


def test_the_build_is_known_from_the_start():
    page = series(page_of(Instruments()))

    assert 1.0 == page[key("perfmon_build_info", version=perfmon.__version__, pythonversion=platform.python_version())]


def test_each_family_stands_on_the_page_once():
    instruments = Instruments()
    instruments.skipped.labels("overrun").inc()
    instruments.skipped.labels("in_flight").inc()

    assert 1 == families(page_of(instruments)).count("perfmon_schedule_skipped_total")


def test_the_process_says_what_it_takes():
    page = series(page_of(Instruments(), OPENMETRICS), openmetrics=True)

    assert page[key("process_resident_memory_bytes")] > 2**20
    assert page[key("process_cpu_seconds_total")] > 0
    assert {"0", "1", "2"} == {
        dict(labels)["generation"] for name, labels in page if name == "python_gc_collections_total"
    }
