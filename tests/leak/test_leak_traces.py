"""The 19 labelled traces of real processes: every leak found, at most one false alarm, slopes as labelled."""

import csv
import gzip
from functools import cache
from pathlib import Path

import pytest

from perfmon.leak import judge

TRACES = Path(__file__).parent.parent / "data" / "leak"
LABELS = {row["file"]: row for row in csv.DictReader((TRACES / "labels.csv").read_text().splitlines())}
LEAKS = [name for name, row in LABELS.items() if row["label"] == "positive"]
HEALTHY = [name for name, row in LABELS.items() if row["label"] != "positive"]


@cache
def points(name):
    with gzip.open(TRACES / name, "rt") as file:
        rows = list(csv.reader(file))[1:]
    return [float(t) for t, _ in rows], [float(value) for _, value in rows]


def judged(name, minutes):
    times, values = points(name)
    count = sum(t <= 60 * minutes for t in times)
    return judge(times[:count], values[:count])


@pytest.mark.parametrize("minutes", [22, 45])
@pytest.mark.parametrize("name", LEAKS)
def test_every_leak_is_found(name, minutes):
    found = judged(name, minutes)

    assert ("leak", {}) == (found.verdict, found.failed)


@pytest.mark.parametrize(("minutes", "allowed"), [(10, 1), (22, 1), (45, 1)])
def test_at_most_one_false_alarm(minutes, allowed):
    assert allowed >= len([name for name in HEALTHY if judged(name, minutes).verdict == "leak"])


def test_a_cache_that_is_still_filling_at_the_end_is_growing():
    assert "growing" == judged("neg_zipf_cache.csv.gz", 45).verdict


def test_slopes_are_as_labelled():
    off = []
    for name in LEAKS:
        true = float(LABELS[name]["theil_sen_slope_after_25pct"])
        off.append(abs(judged(name, 45).growth.slope / true - 1))

    assert len([error for error in off if error <= 0.1]) >= 7
    assert max(off) <= 0.3
