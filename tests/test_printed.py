"""Numbers among what programs print."""

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmon.printed import Number, nagios_numbers, prometheus_numbers


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("up 1", Number("up", 1.0)),
        ("  up\t1.5e-3  ", Number("up", 0.0015)),
        ("a:b_total .5 1395066363000", Number("a:b_total", 0.5)),
        ("up{} -Inf", Number("up", -math.inf)),
        ('up{a="1",b="x y"} 2', Number("up", 2.0, {"a": "1", "b": "x y"})),
        ('up { a = "1" , } 2', None),
        ('up {a="1" , b="" ,} 2', Number("up", 2.0, {"a": "1", "b": ""})),
        (r'up{path="C:\\DIR\n\"q\" \x"} 2', Number("up", 2.0, {"path": 'C:\\DIR\n"q" \\x'})),
        ("# HELP up Whether.", None),
        ("all is well", None),
        ("up", None),
        ("up one", None),
        ("1up 1", None),
        ("up 1 2 3", None),
        ("up 1_000", None),
        ("up{a=1} 1", None),
        ("up\xa01", None),
        (f"{'u' * 201} 1", None),
        (f"up {'0' * 1000}", None),
    ],
)
def test_a_sample_in_prometheus_form(line, expected):
    assert ([expected] if expected else []) == list(prometheus_numbers(f"text\n{line}\nmore\n"))


def test_nan_is_a_number():
    (number,) = prometheus_numbers("up NaN")

    assert math.isnan(number.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("OK", {}),
        ("OK | time=0.1s;1;2;0;10 size=1234B", {"time": 0.1, "size": 1234.0}),
        ("OK|/=2643MB;5948;5958;0;5968\n/boot 68 MB\n/home 69357 MB | /boot=68MB;88;93;0;98\n/home=69357MB", {"/": 2643e6, "/boot": 68e6, "/home": 69357e6}),
        ("OK | 'a b'=1 'it''s'=2c users=3;;;0", {"a b": 1.0, "it's": 2.0, "users": 3.0}),
        ("OK | load1=0.050;5.000;4.000;0; temperature=-23.5C;", {"load1": 0.05, "temperature": -23.5}),
        ("OK | rta=80ms packet=5% us=20us kb=2KB", {"rta": 0.08, "packet": 0.05, "us": 2e-5, "kb": 2000.0}),
        ("OK | unknown=U empty= =5 bad=1.2.3 comma=1,5 exp=1e3", {}),
    ],
)  # fmt: skip
def test_performance_data_of_nagios(text, expected):
    assert expected == {number.name: pytest.approx(number.value) for number in nagios_numbers(text)} or not expected
    assert expected.keys() == {number.name for number in nagios_numbers(text)}


@given(st.text())
def test_no_text_is_too_much(text):
    for number in (*prometheus_numbers(text), *nagios_numbers(f"OK|{text}")):
        assert number.name
        assert isinstance(number.value, float)


@given(
    st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,40}", fullmatch=True),
    st.dictionaries(st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,10}", fullmatch=True), st.text(max_size=20), max_size=4),
    st.floats(allow_nan=False),
)
def test_what_prometheus_clients_write_is_read_back(name, labels, value):
    from prometheus_client.openmetrics.exposition import floatToGoString

    escaped = {key: text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") for key, text in labels.items()}
    pairs = ",".join(f'{key}="{text}"' for key, text in escaped.items())

    assert [Number(name, value, labels)] == list(prometheus_numbers(f"{name}{{{pairs}}} {floatToGoString(value)}\n"))


@pytest.mark.parametrize(
    "text", ["'" * 60_000, "''" * 30_000 + "=", "a=" * 30_000, "x" * 60_000, 'up{a="' + "\\" * 60_000]
)
def test_the_time_is_that_of_the_length(text):
    began = time.process_time()
    list(nagios_numbers(f"OK|{text}"))
    list(prometheus_numbers(text))
    list(prometheus_numbers("\n".join(text[start : start + 1000] for start in range(0, len(text), 1000))))

    assert time.process_time() - began < 1.0
