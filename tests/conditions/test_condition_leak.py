"""The condition `leak`: what it says of a window, in words and in numbers."""

import math
import random
import re

import pytest
from msgspec.structs import replace

from perfmon.conditions import leak
from perfmon.leak import VERDICTS
from perfmon.model import Window

NOW = 100_000.0
MIB = 2.0**20


def window(values, *, every=10.0, unit="bytes", metric="memory", **more):
    times = [NOW - every * (len(values) - 1 - i) for i in range(len(values))]
    return Window(
        metric=metric, type="gauge", unit=unit, times=times, values=values, now=NOW, span_s=0.0, since=0.0,
        last_at=NOW, interval_s=every, **more,
    )  # fmt: skip


def memory(per_min, *, n=252, every=10.0, noise=0.3, start=100.0):
    """MiB that grow by so many a minute, with noise."""
    chance = random.Random(7)
    return [(start + per_min * i * every / 60 + chance.gauss(0, noise)) * MIB for i in range(n)]


def judge(raw, seen):
    return leak.evaluate(seen, leak.parse(raw))


def verdict_of(found):
    named = {name for name in VERDICTS if found.facts.get(f'perfmon_leak_verdict{{verdict="{name}"}}')}
    assert len(named) == 1
    return named.pop()


# ---------------------------------------------------------------- what it says


def test_a_leak_says_how_fast_how_sure_and_how_long_it_will_take():
    found = judge({"window": "42m", "limit": "1GiB"}, window(memory(1.2)))

    assert "critical" == found.level
    assert (
        "leak: grows 1.2 MiB/min (95 % interval 1.19 to 1.21) over 41m50s, n 252, p < 0.001; "
        "at this rate the limit of 1 GiB is reached in 12h7m"
    ) == found.why
    assert found.low < found.value < found.high
    assert (252, 0.0) == (found.n, found.limit)


def test_a_leak_is_exported_with_its_bounds_and_the_time_left():
    found = judge({"window": "42m", "limit": "1GiB"}, window(memory(1.2)))

    assert "leak" == verdict_of(found)
    assert found.value == found.facts["perfmon_leak_slope_bytes_per_second"]
    assert found.low == found.facts["perfmon_leak_slope_lower_bytes_per_second"]
    assert found.high == found.facts["perfmon_leak_slope_upper_bytes_per_second"]
    assert (1024 - 150) / 1.2 * 60 == pytest.approx(found.facts["perfmon_leak_seconds_to_limit"], rel=0.05)
    assert set(found.facts) - {family.name for family in leak.FAMILIES} == {
        f'perfmon_leak_verdict{{verdict="{name}"}}' for name in VERDICTS
    }


def test_what_only_fills_says_why_it_is_no_leak():
    values = [value + 50 * MIB * (1 - math.exp(-i / 80)) for i, value in enumerate(memory(0))]
    found = judge({"window": "42m"}, window(values))

    assert ("ok", "growing") == (found.level, verdict_of(found))
    assert found.why.startswith("growing: grows ")
    assert "it slows down" in found.why
    assert found.why.endswith(")")


def test_what_stands_still_is_clean_and_has_no_time_left():
    found = judge({"window": "42m", "limit": "1GiB"}, window(memory(0)))

    assert ("ok", "clean") == (found.level, verdict_of(found))
    assert "perfmon_leak_seconds_to_limit" not in found.facts
    assert "is reached" not in found.why


def test_descriptors_are_counted_by_the_hour():
    values = [float(40 + i // 12) for i in range(252)]
    found = judge({"window": "42m", "limit": 1024}, window(values, unit="", metric="perfmon_process_open_fds"))

    assert "critical" == found.level
    assert found.low < 30 / 3600 < found.high
    assert (
        "leak: grows 30.6/h (95 % interval 28.7 to 32.6) over 41m50s, n 252, p < 0.001; "
        "at this rate the limit of 1024 is reached in 1d7h"
    ) == found.why
    assert "perfmon_leak_slope_per_second" in found.facts
    assert "perfmon_leak_slope_bytes_per_second" not in found.facts


def test_a_fall_is_told_as_a_fall():
    assert judge({"window": "42m"}, window(memory(-1.2, start=1000.0))).why.startswith(
        "clean: falls 1.2 MiB/min (95 % interval "
    )


# ---------------------------------------------------------------- settings


def test_growth_below_the_least_that_matters_is_not_broken():
    found = judge({"window": "42m", "growth": "2MiB/min"}, window(memory(1.2)))

    assert ("ok", "leak", 2 * MIB / 60) == (found.level, verdict_of(found), found.limit)
    assert "less than the 2 MiB/min that would matter" in found.why


def test_the_limit_is_what_the_sampler_knows_unless_the_rule_names_one():
    seen = window(memory(1.2), ceiling=1024 * MIB)

    assert "the limit of 1 GiB is reached" in judge({"window": "42m"}, seen).why
    assert "the limit of 1 GiB is reached" in judge({"window": "42m", "limit": "auto"}, seen).why
    assert "the limit of 512 MiB is reached" in judge({"window": "42m", "limit": "512MiB"}, seen).why


def test_a_limit_beyond_the_horizon_makes_it_clean():
    found = judge({"window": "42m", "limit": "1TiB", "horizon": "1d"}, window(memory(1.2)))

    assert ("ok", "clean") == (found.level, verdict_of(found))
    assert "(horizon)" in found.why


@pytest.mark.parametrize(("per_min", "level"), [(12, "critical"), (9, "ok"), (-30, "ok")])
def test_growth_alone_is_the_simple_rule(per_min, level):
    found = judge({"growth": "10MiB/min"}, window(memory(per_min, n=40, start=1000.0)))

    assert (level, 10 * MIB / 60) == (found.level, found.limit)
    assert found.why.endswith("over 6m30s, n 40, expected at most 10 MiB/min")


def test_the_simple_rule_does_not_ask_for_the_shape():
    steps = [value + 100 * MIB * (i > 30) + 100 * MIB * (i > 45) for i, value in enumerate(memory(0, n=60))]

    assert "critical" == judge({"growth": "10MiB/min"}, window(steps)).level


def test_a_window_that_is_not_half_full_is_awaited():
    found = judge({"window": "2h"}, window(memory(1.2)))

    assert ("waiting", "insufficient_data") == (found.level, verdict_of(found))
    assert "41m50s of memory so far, expected half the window of 2h at least" == found.why.replace("42m", "41m50s")


def test_no_point_at_all_is_awaited():
    assert "waiting" == judge({}, window([])).level


def test_few_points_are_awaited_however_long_the_window():
    found = judge({"window": "1h"}, window(memory(1.2, n=50, every=60.0), every=60.0))

    assert ("waiting", "memory: 50 points, 96 are needed") == (found.level, found.why)


def test_restarts_and_lows_of_the_window_are_used():
    values = [value + (i % 84) * 0.2 * MIB for i, value in enumerate(memory(0))]
    lows = [value - MIB for value in values]
    restarts = [NOW - 10.0 * (251 - i) for i in (84, 168)]

    found = judge({"window": "42m"}, window(values, lows=lows, restarts=restarts))
    assert "leak" == verdict_of(found)
    assert "; seen over 3 lives, the one under way began 13m50s ago" in found.why


def test_a_profile_parts_the_window_and_makes_no_life():
    cuts = [NOW - 1260.0]
    values = [value + (15 * MIB if i >= 126 else 0.0) for i, value in enumerate(memory(1.2))]
    found = judge({"window": "42m"}, window(values, cuts=cuts))

    assert ("leak", False) == (verdict_of(found), "lives" in found.why)
    assert 1.2 * MIB / 60 == pytest.approx(found.value, rel=0.1)


def test_two_days_are_held_against_a_cycle_of_a_day():
    """A window of two days or more takes the daily cycle out without being told of it."""
    n = 900
    daily = [
        (100 + 10 * i / n + 8 * math.sin(4 * math.pi * i / n) + random.Random(i).gauss(0, 0.5)) * MIB for i in range(n)
    ]
    found = judge({"window": "2d"}, window(daily, every=192.5))

    assert "leak" == verdict_of(found)


def test_it_is_judged_thirty_times_a_window_within_reason():
    every = {text: leak.every_s(leak.parse({"window": text})) for text in ("10s", "30m", "14d")}

    assert {"10s": 1.0, "30m": 60.0, "14d": 600.0} == every


def test_agreement_is_a_time_for_so_many_verdicts():
    assert 120.0 == leak.for_s(leak.parse({}))
    assert 0.0 == leak.for_s(leak.parse({"agree": 1}))


@pytest.mark.parametrize(
    ("raw", "window_s"),
    [
        ({}, 1800),
        ({"growth": "1MiB/min"}, 600),
        ({"growth": "1MiB/min", "window": "1h"}, 3600),
        ({"season": "24h"}, 172_800),
    ],
)
def test_the_window_fits_what_is_asked(raw, window_s):
    assert window_s == leak.span_s(leak.parse(raw))


# ---------------------------------------------------------------- by request


def requests_of(n=252, seed=5):
    """A counter: busy minutes and quiet ones, ten seconds between two readings."""
    chance, done = random.Random(seed), [0.0]
    for i in range(1, n):
        done.append(done[-1] + (chance.randint(100, 400) if i // 20 % 3 else chance.randint(0, 5)))
    return done


def by_request(each=4.1 * 1024, per_min=0.0):
    return [
        value + each * done for value, done in zip(memory(per_min, noise=0.05), requests_of(), strict=True)
    ]  # fmt: skip


COUNTED = {"metric": "perfmon_prometheus_counted_total", "select": {"series": "shop_requests_total", "path": "/leak"}}


def cause_of(found):
    causes = [key for key, value in found.facts.items() if key.startswith("perfmon_leak_cause{") and value]
    assert 1 == len(causes)
    return causes[0].partition('"')[2].partition('"')[0]


def test_growth_for_each_request_is_told_with_its_interval_and_exported():
    found = judge({"window": "42m", "requests": COUNTED}, window(by_request(), requests=requests_of()))

    assert "requests" == cause_of(found)
    assert "; 4.09 KiB per request (95 % interval 4.08 to 4.1), nothing by time alone, over " in found.why
    assert found.why.endswith(' of perfmon_prometheus_counted_total{series="shop_requests_total",path="/leak"}')
    assert 4.1 * 1024 == pytest.approx(found.facts["perfmon_leak_slope_bytes_per_request"], rel=0.02)
    assert (
        found.facts["perfmon_leak_slope_lower_bytes_per_request"]
        < 4.1 * 1024
        < found.facts["perfmon_leak_slope_upper_bytes_per_request"]
    )


def test_growth_by_time_is_no_growth_by_request():
    found = judge({"window": "42m", "requests": COUNTED}, window(memory(1.2), requests=requests_of()))

    assert ("critical", "time") == (found.level, cause_of(found))
    assert " by time alone, nothing per request, over " in found.why
    assert not any("per_request" in key for key in found.facts)


def test_steady_requests_are_said_to_tell_nothing():
    found = judge({"window": "42m", "requests": COUNTED}, window(memory(1.2), requests=[5.0 * i for i in range(252)]))

    assert "indistinguishable" == cause_of(found)
    assert "so it may as well be time" in found.why
    assert not any("per_request" in key for key in found.facts)


def test_only_the_life_that_is_under_way_is_regressed():
    """The level of the life before was another one, which no request explains."""
    half, done = 126, requests_of()
    values = [value + (300 * MIB if i < half else 0.0) for i, value in enumerate(by_request())]
    seen = window(values, requests=done, restarts=[NOW - 10.0 * (251 - half)])
    found = judge({"window": "42m", "requests": COUNTED}, seen)

    assert 4.1 * 1024 == pytest.approx(found.facts["perfmon_leak_slope_bytes_per_request"], rel=0.1)


def test_that_no_counter_is_there_is_said():
    found = judge({"window": "42m", "requests": COUNTED}, window(memory(1.2)))

    assert ("critical", "insufficient_data") == (found.level, cause_of(found))
    assert found.why.endswith("none there, or more than can be added up")


def test_what_is_clean_says_nothing_of_requests():
    found = judge({"window": "42m", "requests": COUNTED}, window(memory(0), requests=requests_of()))

    assert ("ok", "neither") == (found.level, cause_of(found))
    assert "request" not in found.why


# ---------------------------------------------------------------- what is in use inside


BLOCKS, IN_USE, MAPPED = (
    "perfmon_python_allocated_blocks",
    "perfmon_python_malloc_in_use_bytes",
    "perfmon_python_malloc_mapped_bytes",
)


def with_heap(seen, *, blocks=0.0, in_use=0.0, mapped=0.0, noise=20.0, without=()):
    """The window and gauges of the inside: so many blocks and bytes more a second, from a sampler out of step."""
    chance = random.Random(11)
    times = [at - 3.0 for at in seen.times]
    rates = {BLOCKS: blocks, IN_USE: in_use, MAPPED: mapped}
    beside = {
        metric: replace(
            seen,
            metric=metric,
            times=times,
            values=[1e6 + rate * (at - times[0]) + chance.gauss(0, noise) for at in times],
        )
        for metric, rate in rates.items()
        if metric not in without
    }
    return replace(seen, beside=beside)


def heap_of(found):
    return [name for name in leak.HEAPS if found.facts[f'perfmon_leak_heap{{heap="{name}"}}']]


INSIDE = {"window": "42m", "python": "shop-inside"}


def test_memory_that_grows_while_what_is_in_use_stays_is_said_to_be_no_python_objects():
    found = judge(INSIDE, with_heap(window(memory(1.2))))

    assert ("leak", ["flat"]) == (found.word, heap_of(found))
    assert re.search(r"; the heap in use does not grow \(.* blocks/s and .*/s of malloc\): fragmentation or", found.why)


@pytest.mark.parametrize(
    "grows",
    [{"blocks": 100.0}, {"in_use": 18_000.0}, {"mapped": 18_000.0}],
    ids=["small objects", "buffers", "large buffers"],
)
def test_what_is_kept_shows_wherever_python_or_malloc_puts_it(grows):
    """20 KiB/s in all."""
    found = judge(INSIDE, with_heap(window(memory(1.2)), **grows))

    assert ["grows"] == heap_of(found)
    assert "; the heap in use grows along (" in found.why


def test_what_goes_up_and_down_more_than_memory_grows_says_nothing():
    found = judge(INSIDE, with_heap(window(memory(1.2)), noise=1e6))

    assert ["unknown"] == heap_of(found)
    assert " may be chance" in found.why


def test_without_its_gauges_nobody_knows():
    found = judge(INSIDE, window(memory(1.2)))

    assert ["unknown"] == heap_of(found)
    assert found.why.endswith("cannot be told: its gauges are not there, or too few")


def test_where_malloc_tells_nothing_blocks_alone_say_it():
    found = judge(INSIDE, with_heap(window(memory(1.2)), without=(IN_USE, MAPPED)))

    assert ["flat"] == heap_of(found)


def test_of_a_life_that_is_over_nothing_is_asked():
    """The blocks of the life before are another heap's."""
    seen = with_heap(window(memory(1.2)))
    restarted = seen.times[len(seen) // 2]
    values = [value + 1e6 * (at >= restarted) for at, value in zip(seen.times, seen.beside[BLOCKS].values, strict=True)]
    jumped = replace(seen.beside[BLOCKS], values=values)
    found = judge(INSIDE, replace(seen, beside={**seen.beside, BLOCKS: jumped}, restarts=[restarted]))

    assert ["flat"] == heap_of(found)


def test_of_what_does_not_grow_nothing_is_said():
    found = judge(INSIDE, with_heap(window(memory(0.0))))

    assert ("clean", ["unknown"]) == (found.word, heap_of(found))
    assert "heap" not in found.why


def test_python_tells_of_memory_alone():
    assert "the series is in bare numbers, and python tells of memory" == leak.problem(leak.parse(INSIDE), "gauge", "")


# ---------------------------------------------------------------- what is gone


@pytest.mark.parametrize("raw", [{"window": "42m"}, {"growth": "100KiB/min"}], ids=["by shape", "the simple rule"])
def test_what_is_gone_leaks_no_more(raw):
    """Longer than a restart takes: three readings, and once from one judgement to the next."""
    least_s = max(3 * 10.0, leak.every_s(leak.parse(raw)))
    still, gone = (judge(raw, replace(window(memory(1.2)), gone_s=gone_s)) for gone_s in (least_s, least_s + 1.0))

    assert ("critical", "ok") == (still.level, gone.level)
    assert re.match(r"it is gone: no memory for \S+, while its sampler reads on$", gone.why)
    assert ("insufficient_data" if "window" in raw else "") == gone.word
