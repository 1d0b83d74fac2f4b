"""Pages of metrics are read as the reference reads them, and no page whatever stops the reading."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from perfmon.prometheus_text import MAX_LABEL_CHARS, Series, read

OPENMETRICS = """\
# HELP orders Orders.
# TYPE orders counter
# UNIT orders orders
orders_total{path="/buy"} 3.0 1520879607.789 # {trace_id="x } y"} 1.0 1520879607.0
orders_created{path="/buy"} 1.5e9
# TYPE door stateset
door{door="open"} 1
# TYPE wait gaugehistogram
wait_bucket{le="+Inf"} 4
wait_gsum 3
# TYPE build info
build_info{version="1"} 1
# EOF
"""


def all_of(text):
    return read(text, lambda _name: True)


def by_reference(text):
    """(name, labels without empty ones, value) of every finite sample."""
    return {
        (sample.name, tuple(sorted((name, value) for name, value in sample.labels.items() if value)), sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if math.isfinite(sample.value)
    }


def page_of_everything(values):
    registry = CollectorRegistry()
    gauge = Gauge("level_bytes", "With \\ and \n in its help.", ["path", "of"], registry=registry)
    counter = Counter("orders", "Orders.", ["path"], registry=registry)
    histogram = Histogram("wait_seconds", "Waiting.", ["path"], registry=registry)
    summary = Summary("size_bytes", "Sizes.", registry=registry)
    for index, value in enumerate(values):
        gauge.labels(value, str(index)).set(index - 0.5)
        counter.labels(value).inc(3)
        histogram.labels(value).observe(0.1)
        summary.observe(index)
    return registry


@given(
    st.lists(
        st.text(
            st.characters(exclude_categories=["Cs"], exclude_characters="\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"),
            max_size=20,
        ),
        max_size=5,
    )
)
def test_it_reads_what_the_reference_parser_reads(values):
    page = generate_latest(page_of_everything(values)).decode()

    assert by_reference(page) == {(one.name, one.labels, one.value) for one in all_of(page).series}
    assert 0 == all_of(page).unread_lines


def test_a_series_has_the_type_that_the_page_says():
    page = generate_latest(page_of_everything(["/"])).decode()
    types = {one.name: one.type for one in all_of(page).series}

    assert {
        "level_bytes": "gauge",
        "orders_total": "counter",
        "orders_created": "gauge",
        "wait_seconds_bucket": "counter",
        "wait_seconds_sum": "counter",
        "wait_seconds_count": "counter",
        "wait_seconds_created": "gauge",
        "size_bytes_sum": "counter",
        "size_bytes_count": "counter",
        "size_bytes_created": "gauge",
    } == types


def test_openmetrics_with_exemplars_timestamps_and_its_own_types():
    found = all_of(OPENMETRICS)

    assert [
        Series("orders_total", "counter", (("path", "/buy"),), 3.0),
        Series("orders_created", "gauge", (("path", "/buy"),), 1.5e9),
        Series("door", "gauge", (("door", "open"),), 1.0),
        Series("wait_bucket", "gauge", (("le", "+Inf"),), 4.0),
        Series("wait_gsum", "gauge", (), 3.0),
        Series("build_info", "gauge", (("version", "1"),), 1.0),
    ] == found.series
    assert 0 == found.unread_lines


def test_the_same_registry_reads_the_same_in_both_formats():
    registry = page_of_everything(["a", "b"])
    both = [all_of(write(registry).decode()).series for write in (generate_latest, generate_openmetrics)]

    assert set(both[0]) == set(both[1])


@pytest.mark.parametrize(
    ("line", "series"),
    [
        ("a_total 1", Series("a_total", "counter", (), 1.0)),
        ("a 1", Series("a", "gauge", (), 1.0)),
        ("  a\t 1 \t", Series("a", "gauge", (), 1.0)),
        ("a{} 1", Series("a", "gauge", (), 1.0)),
        ('a { b = "c" , } 1 123', Series("a", "gauge", (("b", "c"),), 1.0)),
        (r'a{b="c\\d\"e\nf}"} 1', Series("a", "gauge", (("b", 'c\\d"e\nf}'),), 1.0)),
        ('a{b="",c="d"} 1', Series("a", "gauge", (("c", "d"),), 1.0)),
        ('a{b="1"}2', Series("a", "gauge", (("b", "1"),), 2.0)),
        ("a:b:c 1e3 # {} 1", Series("a:b:c", "gauge", (), 1000.0)),
    ],
)
def test_what_a_line_may_look_like(line, series):
    assert [series] == all_of(line + "\n").series


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("a", "no name that could be read"),
        ("a ", "no value"),
        ("1a 1", "no name that could be read"),
        ("a one", "the value is no number"),
        ("a 1_0", "the value is no number"),
        ("a 1 then", "no value"),
        ('a{b="c} 1', "its labels cannot be read"),
        ('a{b="c"', "its labels cannot be read"),
        ("a{b=c} 1", "its labels cannot be read"),
        ('a{b="c" d="e"} 1', "its labels cannot be read"),
        ('a{"b.c"="d"} 1', "its labels cannot be read"),
        ('a{b="c",b="d"} 1', "one label stands there twice"),
        ("b 2", "stands there twice"),
        (f'a{{b="{"x" * MAX_LABEL_CHARS}"}} 1', f"its labels are longer than {MAX_LABEL_CHARS} characters"),
        ("<html><body>", "no name that could be read"),
    ],
)
def test_a_line_that_cannot_be_read_is_said_and_costs_itself_alone(line, why):
    found = all_of(f"b 1\n{line}\nc 3\n")

    assert [("b", 1.0), ("c", 3.0)] == [(one.name, one.value) for one in found.series]
    assert (1, True) == (found.unread_lines, found.unread.startswith(f"{why}: "))


def test_what_is_no_number_now_is_absent():
    assert ["d"] == [one.name for one in all_of("a NaN\nb +Inf\nc -Inf\nd 4\n").series]


def test_names_that_nobody_asked_for_are_asked_about_once_and_read_no_further():
    asked = []
    page = 'a{b="1"} 1\na{b="2"} 2\nb {broken\nc 3\n'
    found = read(page, lambda name: asked.append(name) or name == "c")

    assert ["a", "b", "c"] == asked
    assert ([("c", 3.0)], 4, 0) == ([(one.name, one.value) for one in found.series], found.lines, found.unread_lines)


@given(st.text())
def test_any_text_is_read_to_its_end(text):
    all_of(text)


def test_a_page_that_was_broken_anywhere_is_read_to_its_end():
    chance = random.Random(20261120)
    page = generate_latest(page_of_everything(["/", 'q"\\'])).decode()
    for _ in range(500):
        at = chance.randrange(len(page))
        found = all_of(page[:at] + chance.choice('{}"\\ \n=,#xé\0') + page[at + 1 :])
        assert len(found.series) + found.unread_lines + 3 >= found.lines
