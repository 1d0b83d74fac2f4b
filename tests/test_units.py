"""Quantities as people write them, to base units and back."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmon import units
from perfmon.units import Quantity

finite = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(min_value=0, allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("raw", "seconds"),
    [
        ("1h30m", 5400.0),
        ("1h 30m", 5400.0),
        ("250ms", 0.25),
        ("0.1s", 0.1),
        ("1.5h", 5400.0),
        ("5min", 300.0),
        ("1w", 604800.0),
        ("10us", 1e-05),
        ("10µs", 1e-05),
        ("10\u03bcs", 1e-05),
        ("3ns", 3e-09),
        ("1d2h3m4s5ms", 93784.005),
        ("5", 5.0),
        (" 5 s ", 5.0),
        (5, 5.0),
        (0.5, 0.5),
        (0, 0.0),
    ],
)
def test_a_duration_reads_as_written(raw, seconds):
    assert seconds == units.parse_duration(raw)


@pytest.mark.parametrize(
    ("raw", "size"),
    [
        ("10MiB", 10485760.0),
        ("10 MiB", 10485760.0),
        ("1.5kB", 1500.0),
        ("1GB", 1e9),
        ("7B", 7.0),
        ("1024", 1024.0),
        (1024, 1024.0),
    ],
)
def test_a_size_reads_as_written(raw, size):
    assert size == units.parse_bytes(raw)


@pytest.mark.parametrize(("raw", "share"), [("5%", 0.05), ("0.1%", 0.001), ("250%", 2.5), (0.05, 0.05), ("1", 1.0)])
def test_a_share_reads_as_written(raw, share):
    assert share == units.parse_ratio(raw)


@pytest.mark.parametrize(
    ("raw", "rate"), [("2/s", 2.0), ("120/min", 2.0), ("10MiB/min", 10485760 / 60), ("3600 / h", 1.0), (2, 2.0)]
)
def test_a_rate_is_per_second(raw, rate):
    assert rate == units.parse_rate(raw)


@pytest.mark.parametrize(
    ("text", "quantity"),
    [
        ("3", Quantity(3.0)),
        ("-1.5s", Quantity(-1.5, "seconds")),
        ("200ms", Quantity(0.2, "seconds")),
        ("1%", Quantity(0.01, "ratio")),
        ("500MiB", Quantity(524288000.0, "bytes")),
        ("1e3", Quantity(1000.0)),
        ("10kB/s", Quantity(10000.0, "bytes", per_s=True)),
    ],
)
def test_a_quantity_knows_its_unit(text, quantity):
    assert quantity == units.parse_quantity(text)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("abc", '"abc"'),
        ("", '""'),
        ("5 parsecs", '"5 parsecs"'),
        ("5MS", '"5MS"'),
        ("1m30m", '"1m30m"'),
        ("30m1h", '"30m1h"'),
        ("1h30", '"1h30"'),
        ("1 2s", '"1 2s"'),
        ("-5s", '"-5s"'),
        ("5%", '"5%"'),
        ("5s/s", '"5s/s"'),
        ("inf", '"inf"'),
        ("1e999s", '"1e999s"'),
        ("٣s", '"٣s"'),
        (-1, "-1"),
        (True, "true"),
        (None, "null"),
        (["5s"], '["5s"]'),
        (math.nan, "NaN"),
        (10**400, "1" + "0" * 55 + "...0"),
        ("x" * 100, '"' + "x" * 55 + '..."'),
    ],
)
def test_what_is_no_duration_is_named_with_what_was_expected(raw, shown):
    with pytest.raises(ValueError) as error:
        units.parse_duration(raw)

    assert f"expected a duration such as 250ms, 5s or 1h30m, got {shown}" == str(error.value)


@pytest.mark.parametrize(
    ("parse", "raw", "message"),
    [
        (units.parse_bytes, "10mib", 'expected a size such as 512B, 1.5kB or 10MiB, got "10mib"'),
        (units.parse_bytes, "5s", 'expected a size such as 512B, 1.5kB or 10MiB, got "5s"'),
        (units.parse_ratio, "5ms", 'expected a share such as 5% or 0.05, got "5ms"'),
        (units.parse_ratio, -0.1, "expected a share such as 5% or 0.05, got -0.1"),
        (units.parse_rate, "10MiB", 'expected a rate such as 2/s or 10MiB/min, got "10MiB"'),
        (units.parse_rate, "2/parsec", 'expected a rate such as 2/s or 10MiB/min, got "2/parsec"'),
        (units.parse_rate, "-2/s", 'expected a rate such as 2/s or 10MiB/min, got "-2/s"'),
        (units.parse_quantity, "1MiB 2KiB", 'expected a quantity such as 3, 250ms, 10MiB, 5% or 2/s, got "1MiB 2KiB"'),
    ],
)
def test_every_parser_says_what_it_expected(parse, raw, message):
    with pytest.raises(ValueError) as error:
        parse(raw)

    assert message == str(error.value)


@pytest.mark.parametrize(
    ("seconds", "exact", "brief"),
    [
        (0, "0s", "0s"),
        (0.25, "250ms", "250ms"),
        (1.5, "1.5s", "1.5s"),
        (0.3123456, "312.3456ms", "312ms"),
        (150, "2m30s", "2m30s"),
        (59.98, "59.98s", "1m"),
        (3599.7, "59m59.7s", "1h"),
        (273600, "3d4h", "3d4h"),
        (273655.5, "3d4h55.5s", "3d4h"),
        (-90, "-1m30s", "-1m30s"),
        (math.inf, "inf", "inf"),
    ],
)
def test_a_duration_is_written_exactly_or_for_the_eye(seconds, exact, brief):
    assert (exact, brief) == (units.format_duration(seconds), units.format_duration(seconds, brief=True))


@pytest.mark.parametrize(
    ("size", "exact", "brief"),
    [
        (0, "0 B", "0 B"),
        (10 * 2**20, "10 MiB", "10 MiB"),
        (1.5 * 2**30, "1.5 GiB", "1.5 GiB"),
        (10485761, "10485761 B", "10 MiB"),
        (1_000_000, "1000000 B", "977 KiB"),
        (1023, "1023 B", "1023 B"),
    ],
)
def test_a_size_is_written_exactly_or_for_the_eye(size, exact, brief):
    assert (exact, brief) == (units.format_bytes(size), units.format_bytes(size, brief=True))


@pytest.mark.parametrize(
    ("value", "unit", "exact", "brief"),
    [
        (0.05, "ratio", "5%", "5%"),
        (1 / 3, "ratio", "33.33333333333333%", "33.3%"),
        (1234567, "", "1234567", "1234567"),
        (999.5, "", "999.5", "1000"),  # and not "1e+03"
        (2.5, "", "2.5", "2.5"),
        (0.123456, "", "0.123456", "0.123"),
    ],
)
def test_any_quantity_is_written_in_its_unit(value, unit, exact, brief):
    assert (exact, brief) == (units.format_quantity(value, unit), units.format_quantity(value, unit, brief=True))


@given(positive)
def test_what_is_written_exactly_reads_back_as_the_same_float(value):
    assert value == units.parse_duration(units.format_duration(value))
    assert value == units.parse_bytes(units.format_bytes(value))


@given(st.floats(min_value=0, max_value=1e300))
def test_a_share_reads_back_as_the_same_float(share):
    assert share == units.parse_ratio(units.format_ratio(share))


@given(st.builds(Quantity, finite, st.sampled_from(["seconds", "bytes", "ratio", ""]), st.booleans()))
def test_a_quantity_reads_back_as_itself(quantity):
    assert quantity == units.parse_quantity(str(quantity))


@given(finite, st.sampled_from(["seconds", "bytes", "ratio", ""]))
def test_the_brief_form_is_short_and_near_by(value, unit):
    """Within half of the third digit, or of the second largest part of a long duration."""
    if 1e-9 < abs(value) < 1e12:
        text = units.format_quantity(value, unit, brief=True)

        assert len(text) <= 15
        assert math.isclose(value, units.parse_quantity(text).value, rel_tol=0.03)


@given(st.text() | st.text("0123456789.eE+-/ smhdnuµwkKMGTPiB%"))
def test_random_text_is_a_quantity_or_a_value_error(text):
    for parse in (units.parse_quantity, units.parse_duration, units.parse_bytes, units.parse_ratio, units.parse_rate):
        try:
            value = parse(text)
        except ValueError:
            continue
        assert value == parse(f" {text} ")


def test_what_is_quoted_commands_no_terminal():
    assert r'"a\u001b[2J\x7f\x9b2J\nü"' == units.quoted("a\x1b[2J\x7f\x9b2J\nü")
