import math
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from page_oracle import families, series

from perfmon import kinds
from perfmon.metrics import FAMILIES, Family
from perfmon.monitor.textformat import OPENMETRICS, TEXT, number, write

LABELS = 'target="a"} '


@given(value=st.floats())
def test_a_number_comes_back_as_itself(value):
    back = float(number(value))

    assert repr(value) == repr(back)


@pytest.mark.parametrize(
    ("value", "text"),
    [(math.nan, "NaN"), (math.inf, "+Inf"), (-math.inf, "-Inf"), (1, "1.0"), (0.1, "0.1"), (1e22, "1e+22")],
)
def test_a_number_is_written_as_go_reads_it(value, text):
    assert text == number(value)


def test_help_is_escaped_as_each_format_demands():
    family = Family("perfmon_odd", "gauge", 'a \\ b\nc "d"')

    assert '# HELP perfmon_odd a \\\\ b\\nc "d"\n# TYPE perfmon_odd gauge\n' == TEXT.header(family)
    assert '# HELP perfmon_odd a \\\\ b\\nc \\"d\\"\n# TYPE perfmon_odd gauge\n' == OPENMETRICS.header(family)


def test_openmetrics_names_a_counters_family_without_total_and_says_its_unit():
    family = Family("perfmon_busy_seconds_total", "counter", "Busy.", (), "seconds")

    expected = (
        "# HELP perfmon_busy_seconds Busy.\n# TYPE perfmon_busy_seconds counter\n# UNIT perfmon_busy_seconds seconds\n"
    )
    assert expected == OPENMETRICS.header(family)


def test_openmetrics_says_no_unit_that_the_name_does_not_end_in():
    family = Family("probe_ssl_earliest_cert_expiry", "gauge", "Expiry.", (), "seconds")

    assert "# UNIT" not in OPENMETRICS.header(family)


def catalogue_page(form):
    """One series of each gauge and counter of the whole catalogue, the kinds' own included."""
    simple = {name: family for name, family in kinds.catalogue().items() if family.type != "histogram"}
    rows = [(LABELS, list(simple), [float(number) for number in range(len(simple))])]
    return sorted(simple), ("".join(write(rows, [], simple, form)) + form.end).encode()


@pytest.mark.parametrize("form", [TEXT, OPENMETRICS])
def test_the_parsers_accept_every_family_of_the_catalogue(form):
    """No two families clash in OpenMetrics, where a counter `x_total` also takes the name `x`."""
    names, page = catalogue_page(form)

    assert len(names) == len(series(page, openmetrics=form is OPENMETRICS))
    assert [name.removesuffix("_total") for name in names] == [name.removesuffix("_total") for name in families(page)]


@pytest.mark.servers
def test_promtool_finds_nothing_to_say_about_the_catalogue(binary):
    _, page = catalogue_page(TEXT)

    answer = subprocess.run([binary("promtool"), "check", "metrics"], input=page, capture_output=True, check=False)

    assert (0, b"", b"") == (answer.returncode, answer.stdout, answer.stderr)


def test_a_page_comes_in_small_pieces():
    """A piece is what the event loop has to wait for."""
    families = {"probe_success": FAMILIES[0]}
    rows = [(f'target="{n}"}} ', ("probe_success",), (1.0,)) for n in range(5000)]
    timings = [(f'target="{n}"}} ', [1] * 13, 0.5, "", {}) for n in range(1000)]
    families["perfmon_probe_latency_seconds"] = next(f for f in FAMILIES if f.type == "histogram")

    pieces = list(write(rows, timings, families, TEXT))

    assert 500 >= max(piece.count("\n") for piece in pieces)
    assert 100 <= sum(piece == "" for piece in pieces)
