"""What is measured, beside what is true in closed form: the short ones of the accuracy cases (A1 to A16)."""

import asyncio
import socket
import time

import pytest
from loading import Onlooker, arrivals, run, scenario, served, users

from perfmon import simulators
from perfmon.clock import SystemClock
from perfmon.offer import Closed, Course
from perfmon.run import percentile
from perfmon.simulators import shop

pytestmark = pytest.mark.alone

SLACK_S = 0.03  # this machine may be busy with other tests


def quantiles(histogram, *shares):
    return [percentile(histogram, 0, share) for share in shares]


def stall(q, *, every=1.0, stalled=0.3):
    """A3: the share `stalled / every` of all arrivals meets the freeze, spread evenly over what is left of it."""
    share = stalled / every
    return max(0.0, stalled * (q - (1 - share)) / share)


async def test_a_constant_delay_is_that_delay(server):
    """A1."""
    report = await run(scenario(f"{server}/delay?ms=50", arrivals(100, 1)))

    assert 100 == report.run.total.done == served(server) - 1  # it is asked once before
    assert quantiles(report.run.total.response, 0.5, 0.9) == pytest.approx([0.05, 0.05], abs=SLACK_S)


async def test_a_server_that_stalls_cannot_hide_it(server):
    """A3: the freeze is in every percentile that it belongs to, not in the last one alone."""
    report = await run(scenario(f"{server}/stall?every=1&for=0.3", arrivals(200, 3)))

    shares = (0.9, 0.95, 0.99)
    assert 600 == report.run.total.done
    assert quantiles(report.run.total.response, *shares) == pytest.approx(list(map(stall, shares)), abs=2 * SLACK_S)
    assert percentile(report.run.total.response, 0, 0.5) < SLACK_S


async def test_few_connections_change_nothing_of_it_but_tell_who_waited_where(server):
    """A4: the response time is the same; most of it is queue time now, and the service time is short."""
    report = await run(scenario(f"{server}/stall?every=1&for=0.3", arrivals(200, 3), max_in_flight=10))
    total = report.run.total

    shares = (0.9, 0.95, 0.99)
    assert quantiles(total.response, *shares) == pytest.approx(list(map(stall, shares)), abs=2 * SLACK_S)
    assert percentile(total.service, 0, 0.95) < SLACK_S
    assert percentile(total.queue, 0, 0.95) == pytest.approx(stall(0.95), abs=0.06)


async def test_users_who_wait_for_the_target_hardly_see_the_same_freeze(server):
    """The closed model as a witness: ten users are ten samples of a freeze that hundreds of people would meet."""
    report = await run(scenario(f"{server}/stall?every=1&for=0.3", users(10, 2), think_s=0.01))

    assert percentile(report.run.total.response, 0, 0.95) < 0.1 < stall(0.95)
    assert report.run.total.response.max > 0.25


async def test_a_target_that_takes_less_than_is_offered_is_saturated_and_late(server):
    """A7: 75/s to one that does 50/s for 2 s; the arrival of the instant t takes t/2."""
    report = await run(scenario(f"{server}/capped?rate=50", arrivals(75, 2)))
    total = report.run.total

    assert 150 == total.done
    assert quantiles(total.response, 0.5, 0.99) == pytest.approx([0.52, 1.0], abs=0.08)
    assert report.run.took_s == pytest.approx(3.0, abs=0.3)
    assert report.run.generator.verdict in ("SATURATED", "INVALID")  # a busy machine is the generator's own trouble


async def test_what_is_dropped_counts_as_missed(server):
    """A12: ten may be under way; of 80 arrivals of a freeze of 0.4 s, 70 find no room."""
    one = scenario(f"{server}/stall?every=1&for=0.4", arrivals(200, 2), max_in_flight=10, late="drop")
    report = await run(one)

    assert 140 == pytest.approx(report.run.total.dropped, abs=12)
    assert 400 == report.run.n == report.run.total.done + report.run.missed
    assert not report.passed
    assert {"dropped": report.run.total.dropped} == dict(report.run.reasons)


async def test_what_times_out_took_at_least_the_timeout(server):
    """A13."""
    report = await run(scenario(f"{server}/hang", arrivals(50, 1), timeout_s=0.3), look_first=False)

    assert {"timeout": 50} == dict(report.run.reasons)
    assert report.run.total.response.min >= 0.3
    assert report.run.total.response.max < 0.3 + 10 * SLACK_S


async def test_answers_that_never_come_are_missed_and_not_left_out(server):
    one = scenario(f"{server}/hang", arrivals(20, 1), "p(50) < 1s", timeout_s=30.0, stop_s=0.2)
    report = await run(one, look_first=False)

    assert 20 == report.run.unfinished
    assert "p50 of duration is never" in report.judged[0].verdict.why
    assert not report.passed


async def test_a_generator_that_stands_still_says_so(server):
    """A11: blocked for 150 ms each 0.5 s, it keeps the intended instants and calls its own run invalid."""

    class Blocking(Onlooker):
        def second(self, second, tally):
            super().second(second, tally)
            time.sleep(0.15)

    report = await run(scenario(f"{server}/delay?ms=1", arrivals(100, 2.5)), Blocking())

    assert "INVALID" == report.run.generator.verdict
    assert report.run.generator.lag_p99_s > 0.1
    assert 250 == report.run.total.due == report.run.total.done


async def test_nothing_measured_is_no_success(server):
    """A15."""
    report = await run(
        scenario(f"{server}/hang", users(1, 0.2), "p(95) < 1h", stop_s=0.0, timeout_s=9), look_first=False
    )

    assert "no_data" == report.judged[0].verdict.level or report.run.missed
    assert not report.passed


async def test_a_step_of_the_wall_clock_changes_nothing(server):
    """A16."""

    class Stepped(SystemClock):
        def wall(self):
            return super().wall() + (3600 if self.monotonic() % 0.4 < 0.2 else 0)

    report = await run(scenario(f"{server}/delay?ms=20", arrivals(100, 1)), clock=Stepped())

    assert 100 == report.run.total.done
    assert report.run.total.response.max < 1


async def test_every_arrival_that_the_server_saw_is_a_row_and_the_seconds_add_up(server):
    onlooker = Onlooker()
    report = await run(scenario(f"{server}/delay?ms=5", arrivals(300, 1.5)), onlooker)

    assert 450 == len(onlooker.rows) == served(server) - 1
    assert 450 == sum(second.done for second in onlooker.seconds) == report.run.total.response.count
    assert len(onlooker.seconds) >= 2
    assert [] == onlooker.defects


async def test_shared_iterations_end_the_test_when_they_are_made(server):
    report = await run(scenario(f"{server}/delay?ms=5", users(4, 60, iterations=50, shared=True)))

    assert 50 == report.run.total.done == served(server) - 1
    assert report.run.took_s < 10


async def test_each_user_makes_his_iterations(server):
    report = await run(scenario(f"{server}/delay?ms=5", users(4, 60, iterations=5)))

    assert 20 == report.run.total.done


async def test_users_come_and_go_as_the_stages_say(server):
    course = Course.through(1, [(1, 1), (0, 5), (1, 5), (0, 0), (0.5, 0)])
    onlooker = Onlooker()
    await run(scenario(f"{server}/delay?ms=20", Closed(course=course)), onlooker)

    began = min(row.started for row in onlooker.rows)
    early = sum(row.started - began < 1 for row in onlooker.rows)
    late = sum(1 <= row.started - began < 2 for row in onlooker.rows)
    assert 20 <= early <= 50  # one user, 20 ms and what the machine adds
    assert 2.5 * early < late < 8 * early  # five users


@pytest.mark.parametrize("how", ["status", "hang", "reset", "short"])
async def test_a_target_that_fails_in_each_way_gets_its_reason(how):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/fail?how={how}&seconds=5"
        task = asyncio.create_task(simulators.serve(shop.app(shop.Config()), listener))
        await asyncio.sleep(0.1)
        report = await run(scenario(url, arrivals(40, 0.5), timeout_s=0.4), look_first=False)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    expected = {"status": "status 500", "hang": "timeout", "reset": "reset", "short": "short_body"}[how]
    assert {expected: 20} == dict(report.run.reasons)
    assert not report.passed
