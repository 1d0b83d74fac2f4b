"""The grammar of thresholds: what each sentence means, and what is said of one that means nothing."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmon import threshold
from perfmon.threshold import Limit, Threshold
from perfmon.units import Quantity


def ms(amount, level=""):
    return Limit(Quantity(amount / 1000, "seconds"), level=level)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("p(95) < 200ms", Threshold(aggregation="p", percentile=95.0, op="<", limits=(ms(200),), over_s=300.0)),
        ("p99.9<=1s", Threshold(aggregation="p", percentile=99.9, op="<=", limits=(ms(1000),), over_s=300.0)),
        ("rate < 1% over 1m for 10s", Threshold(aggregation="rate", op="<", limits=(Limit(Quantity(0.01, "ratio")),), over_s=60.0, for_s=10.0)),
        ("rate < 10MiB/min", Threshold(aggregation="rate", op="<", limits=(Limit(Quantity(10485760 / 60, "bytes", per_s=True)),), over_s=300.0)),
        ("> 3 within 10m", Threshold(aggregation="last", op=">", limits=(Limit(Quantity(3.0)),), over_s=0.0, within_s=600.0)),
        ("mean === 5", Threshold(aggregation="avg", op="==", limits=(Limit(Quantity(5.0)),), over_s=300.0)),
        ("median != -1.5s", Threshold(aggregation="med", op="!=", limits=(ms(-1500),), over_s=300.0)),
        ("max < 500 MiB critical", Threshold(aggregation="max", op="<", limits=(Limit(Quantity(524288000.0, "bytes"), level="critical"),), over_s=300.0)),
        (
            "p(95) < 500ms critical, 200ms warning for 1m over 1h 30m",
            Threshold(aggregation="p", percentile=95.0, op="<", limits=(ms(200, "warning"), ms(500, "critical")), over_s=5400.0, for_s=60.0),
        ),
        ("p95 < baseline * 1.10", Threshold(aggregation="p", percentile=95.0, op="<", limits=(Limit(Quantity(0.0), 1.1),), over_s=300.0)),
        ("avg < baseline + 10%", Threshold(aggregation="avg", op="<", limits=(Limit(Quantity(0.0), 1.1),), over_s=300.0)),
        ("avg < baseline+5ms", Threshold(aggregation="avg", op="<", limits=(Limit(Quantity(0.005, "seconds"), 1.0),), over_s=300.0)),
        ("avg > baseline - 5", Threshold(aggregation="avg", op=">", limits=(Limit(Quantity(-5.0), 1.0),), over_s=300.0)),
        ("avg <= baseline", Threshold(aggregation="avg", op="<=", limits=(Limit(Quantity(0.0), 1.0),), over_s=300.0)),
    ],
)  # fmt: skip
def test_a_sentence_means_what_it_says(text, expected):
    assert expected == threshold.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'expected a threshold such as "p(95) < 200ms over 5m", got ""'),
        ("p95 200ms", 'expected a threshold such as "p(95) < 200ms over 5m", got "p95 200ms"'),
        ("p95 = 200ms", 'expected a threshold such as "p(95) < 200ms over 5m", got "p95 = 200ms"'),
        ("avrg < 3", 'unknown aggregation "avrg", expected one of: p(N), avg, min, max, med, stddev, count, rate, sum, last'),
        ("p < 3", 'unknown aggregation "p", expected one of: p(N), avg, min, max, med, stddev, count, rate, sum, last'),
        ("p(101) < 3", 'expected a percentile from 0 to 100, got "p(101)"'),
        ("p9.9.9 < 3", 'expected a percentile from 0 to 100, got "p9.9.9"'),
        ("avg <", 'expected a limit such as 200ms, 1%, 500MiB, 3 or "baseline * 1.10", got ""'),
        ("avg << 3", 'expected a limit such as 200ms, 1%, 500MiB, 3 or "baseline * 1.10", got "< 3"'),
        ("avg < 3 parsecs", 'expected a limit such as 200ms, 1%, 500MiB, 3 or "baseline * 1.10", got "3 parsecs"'),
        ("avg < 200ms fatal", 'expected a limit such as 200ms, 1%, 500MiB, 3 or "baseline * 1.10", got "200ms fatal"'),
        ("avg < baseline * 5ms", 'expected a limit such as 200ms, 1%, 500MiB, 3 or "baseline * 1.10", got "baseline * 5ms"'),
        ("avg < baseline - 100%", 'expected a limit such as 200ms, 1%, 500MiB, 3 or "baseline * 1.10", got "baseline - 100%"'),
        ("avg < baseline / 2", 'expected a limit such as 200ms, 1%, 500MiB, 3 or "baseline * 1.10", got "baseline / 2"'),
        ("avg < .5", 'expected a limit such as 200ms, 1%, 500MiB, 3 or "baseline * 1.10", got ".5"'),
        ("avg < 3 over", 'after "over" expected a duration such as 250ms, 5s or 1h30m, got ""'),
        ("avg < 3 for 5 parsecs", 'after "for" expected a duration such as 250ms, 5s or 1h30m, got "5 parsecs"'),
        ("avg < 3 over 0s", 'after "over" expected a duration above 0, got "0s"'),
        ("avg < 3 over 5m over 1m", 'expected "over" once, got it twice'),
        ("last < 3 over 5m", '`last` looks at the newest point alone, expected no "over"'),
        ("avg < 3, 5", "expected one limit, or two of which one says warning and one says critical"),
        ("avg < 3 warning, 5 warning", "expected one limit, or two of which one says warning and one says critical"),
        ("avg < 3 warning, 5 critical, 6", "expected one limit, or two of which one says warning and one says critical"),
        ("avg == 3 warning, 5 critical", '"==" has no degrees, expected one limit'),
        ("avg < 500ms warning, 200ms critical", "expected the warning before the critical limit, got 500ms warning, 200ms critical"),
        ("avg > 3 warning, 3 critical", "expected the warning before the critical limit, got 3 warning, 3 critical"),
        ("avg < 5ms warning, 1MiB critical", "expected both limits in one unit, got bytes and seconds"),
        ("count > 5ms", '`count` counts points, expected a bare number, got "5ms"'),
        ("p95 < 2/s", 'only `rate` has a limit per time, got "2/s"'),
    ],
)  # fmt: skip
def test_a_sentence_that_means_nothing_is_told_why(text, message):
    with pytest.raises(ValueError) as error:
        threshold.parse(text)

    assert message == str(error.value)


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("avg < 200ms", 0.199, ("ok", 0.2)),
        ("avg < 200ms", 0.2, ("critical", 0.2)),
        ("avg <= 200ms", 0.2, ("ok", 0.2)),
        ("avg > 3", 3.0, ("critical", 3.0)),
        ("avg >= 3", 3.0, ("ok", 3.0)),
        ("avg == 3", 3.0, ("ok", 3.0)),
        ("avg != 3", 3.0, ("critical", 3.0)),
        ("avg < 200ms warning", 0.3, ("warning", 0.2)),
        ("avg < 200ms warning, 500ms critical", 0.1, ("ok", 0.2)),
        ("avg < 200ms warning, 500ms critical", 0.3, ("warning", 0.2)),
        ("avg < 200ms warning, 500ms critical", 0.5, ("critical", 0.5)),
        ("avg > 20 warning, 10 critical", 15.0, ("warning", 20.0)),
        ("avg > 20 warning, 10 critical", 9.0, ("critical", 10.0)),
        ("avg < 200ms", None, ("no_data", 0.2)),
        ("avg != 3", math.nan, ("no_data", 3.0)),
    ],
)
def test_a_value_is_judged_by_the_severest_limit_it_breaks(text, value, expected):
    assert expected == threshold.parse(text).evaluate(value)


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("avg < baseline * 1.5", 2.9, ("ok", 3.0)),
        ("avg < baseline * 1.5", 3.0, ("critical", 3.0)),
        ("avg < baseline + 50%", 3.0, ("critical", 3.0)),
        ("avg < baseline + 500ms", 2.4, ("ok", 2.5)),
        ("avg > baseline - 50%", 1.0, ("critical", 1.0)),
    ],
)
def test_a_baseline_of_two_moves_the_limit(text, value, expected):
    assert expected == threshold.parse(text).evaluate(value, baseline=2.0)


def test_without_its_baseline_a_sentence_has_no_data():
    assert ("no_data", None) == threshold.parse("avg < baseline * 1.5").evaluate(1.0)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("p95<200ms", "p(95) < 200ms over 5m"),
        ("< 3", "last < 3"),
        ("mean < 1 critical, 0.5 warning within 1h over 60s", "avg < 0.5 warning, 1 critical over 1m within 1h"),
        ("p95 < baseline + 10% for 90s", "p(95) < baseline * 1.1 over 5m for 1m30s"),
        ("p95 < baseline - 5ms", "p(95) < baseline - 5ms over 5m"),
    ],
)
def test_a_sentence_is_written_in_one_canonical_way(text, canonical):
    assert canonical == str(threshold.parse(text))


# ---------------------------------------------------------------- properties

numbers = st.floats(0, 1e6).map(lambda x: f"{x:f}")
durations = st.sampled_from(["250ms", "1s", "5m", "1h30m", "2d", "0.1s"])
units = st.sampled_from(["", "ms", "s", "%", "MiB", "kB", "B"])
aggregations = st.sampled_from(
    ["", "avg", "mean", "min", "max", "med", "median", "stddev", "rate", "sum", "last"]
) | st.floats(0, 100).map(lambda n: f"p({n:f})")
ops = st.sampled_from(["<", "<=", ">", ">=", "==", "===", "!="])


@st.composite
def terms(draw):
    amount = draw(numbers) + draw(units)
    factor = draw(st.floats(0.001, 1000)).__format__("f")
    return draw(st.sampled_from([amount, f"-{amount}", "baseline", f"baseline * {factor}", f"baseline + {amount}"]))


@st.composite
def sentences(draw):
    aggregation = draw(aggregations)
    limits = draw(terms()) + draw(st.sampled_from(["", " warning", " critical"]))
    words = draw(st.permutations(["over", "for", "within"]))[: draw(st.integers(0, 3))]
    clauses = [f"{word} {draw(durations)}" for word in words if word != "over" or aggregation not in ("", "last")]
    space = draw(st.sampled_from(["", " ", "  "]))
    return f"{aggregation}{space}{draw(ops)}{space}{limits} {' '.join(clauses)}"


@given(sentences())
def test_a_sentence_written_out_reads_back_as_itself(text):
    parsed = threshold.parse(text)

    assert parsed == threshold.parse(str(parsed))


@given(numbers, numbers, units, st.sampled_from(["<", "<=", ">", ">="]))
def test_two_levels_read_back_as_themselves_in_either_order(one, other, unit, op):
    low, high = sorted((float(one), float(other)))
    if low < high:
        mild, severe = (low, high) if op.startswith("<") else (high, low)
        warning, critical = f"{mild:f}{unit} warning", f"{severe:f}{unit} critical"
        parsed = threshold.parse(f"avg {op} {critical}, {warning}")

        assert parsed == threshold.parse(f"avg {op} {warning}, {critical}") == threshold.parse(str(parsed))


WORDS = ["p(95)", "p95", "avg", "rate", "<", ">=", "==", "200ms", "1%", "3", "5m", "0", "-", ",", "baseline", "*", "+",
         "warning", "critical", "over", "for", "within", "(", ")", ".", "1e999", "٣"]  # fmt: skip


@given(st.text() | st.lists(st.sampled_from(WORDS)).map(" ".join) | st.lists(st.sampled_from(WORDS)).map("".join))
def test_random_text_is_a_threshold_or_a_value_error(text):
    try:
        parsed = threshold.parse(text)
    except ValueError:
        return
    assert parsed == threshold.parse(str(parsed))


@pytest.mark.parametrize("op", ["<", "<=", ">", ">=", "==", "!="])
@pytest.mark.parametrize("form", ["last {} 200", "last{}200", "{} 200"])
def test_e01_each_comparison_has_one_operator_and_both_sides(op, form):
    assert (op, 200.0) == (
        threshold.parse(form.format(op)).op,
        threshold.parse(form.format(op)).limits[0].quantity.value,
    )


@pytest.mark.parametrize("text", ["last ? 200", "last = = 200", "last = 200", "last ==", "== ==", "last", "last 200"])
def test_e01_half_a_comparison_is_none(text):
    with pytest.raises(ValueError, match="expected"):
        threshold.parse(text)
