"""Growth for each request, told apart from growth by time."""

import math
import random
from itertools import pairwise

import pytest

from perfmon.leak import per_request, per_request_of_load

SECONDS = range(900)
KIB = 1024.0


def load(seed=3):
    """A counter of requests: quiet minutes and busy ones."""
    chance = random.Random(seed)
    done = [0.0]
    for second in SECONDS[1:]:
        done.append(done[-1] + chance.choice((0, 10, 40) if second // 90 % 3 else (0, 1)))
    return done


def memory(requests, *, each=0.0, per_s=0.0, noise=20 * KIB, seed=5):
    chance = random.Random(seed)
    return [
        50e6 + each * done + per_s * second + chance.gauss(0, noise)
        for second, done in zip(SECONDS, requests, strict=True)
    ]


def test_what_each_request_leaves_is_found_with_its_interval():
    requests = load()
    found = per_request(SECONDS, memory(requests, each=4.1 * KIB), requests)

    assert "requests" == found.cause
    assert found.low < 4.1 * KIB < found.high
    assert 4.1 * KIB == pytest.approx(found.per_request, rel=0.05)
    assert requests[-1] == found.requests
    assert found.sentence("bytes").startswith("4.1 KiB per request (95 % interval 4.")
    assert found.sentence("bytes").endswith("), nothing by time alone")


def test_growth_by_time_is_not_blamed_on_requests():
    requests = load()
    found = per_request(SECONDS, memory(requests, per_s=40 * KIB), requests)

    assert "time" == found.cause
    assert 40 * KIB == pytest.approx(found.per_second, rel=0.05)
    assert found.low < 0 < found.high
    assert found.sentence("bytes").startswith("40 KiB/s (95 % interval ")
    assert found.sentence("bytes").endswith(" by time alone, nothing per request")


def test_both_are_told_apart():
    requests = load()
    found = per_request(SECONDS, memory(requests, each=4 * KIB, per_s=40 * KIB), requests)

    assert "both" == found.cause
    assert (4 * KIB, 40 * KIB) == pytest.approx((found.per_request, found.per_second), rel=0.1)
    assert " per request (95 % interval " in found.sentence("bytes")
    assert ", and " in found.sentence("bytes")


def test_nothing_grows():
    requests = load()

    found = per_request(SECONDS, memory(requests), requests)

    assert ("neither", "nothing, neither per request nor by time") == (found.cause, found.sentence("bytes"))


def test_a_steady_load_cannot_tell_the_two_apart_and_says_so():
    requests = [10.0 * second for second in SECONDS]
    found = per_request(SECONDS, memory(requests, each=4 * KIB), requests)

    assert ("indistinguishable", None) == (found.cause, found.per_second)
    assert "it may as well be time" in found.sentence("bytes")
    assert 4 * KIB == pytest.approx(found.per_request, rel=0.05)


def test_a_counter_may_begin_anew():
    requests = load()
    values = memory(requests, each=4.1 * KIB)
    began_anew = [done if done < requests[500] else done - requests[500] for done in requests]

    assert 4.1 * KIB == pytest.approx(per_request(SECONDS, values, began_anew).per_request, rel=0.05)


@pytest.mark.parametrize(
    ("times", "values", "requests"),
    [
        ([], [], []),
        (SECONDS, [1.0] * 900, [0.0] * 900),
        (SECONDS, [math.nan] * 900, load()),
        ([1.0] * 900, [1.0] * 900, load()),
        ([*range(899), 1e9], [1.0] * 900, load()),
    ],
)
def test_too_little_is_said_to_be(times, values, requests):
    found = per_request(times, values, requests)

    assert ("insufficient_data", "too few points, or no requests") == (found.cause, found.sentence("bytes"))


# ---------------------------------------------------------------- of a load


def test_a_load_that_was_counted_by_seconds_will_do():
    """Memory is read at other times than the load's seconds end."""
    requests = load()
    done = [now - before for before, now in zip([0.0, *requests], requests, strict=False)]
    times = [second + 0.5 for second in SECONDS[:-1]]
    between = [(before + now) / 2 for before, now in pairwise(requests)]
    chance = random.Random(5)
    values = [50e6 + 4.1 * KIB * count + chance.gauss(0, 20 * KIB) for count in between]
    found = per_request_of_load(times, values, list(map(float, SECONDS)), done)

    assert ("requests", requests[-1]) == (found.cause, pytest.approx(found.requests, rel=0.01))
    assert found.low < 4.1 * KIB < found.high


@pytest.mark.parametrize(("ends", "done"), [([], []), ([1.0], [5]), ([1.0, 2.0], [5, 0])])
def test_a_load_of_nothing_tells_nothing(ends, done):
    found = per_request_of_load(SECONDS, [50e6 + second for second in SECONDS], ends, done)

    assert "insufficient_data" == found.cause
