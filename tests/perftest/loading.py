"""A test under load in one line, for tests."""

import contextlib
import urllib.request

from perfmon.clock import SystemClock
from perfmon.model import Module, Target
from perfmon.offer import Closed, Course, Open
from perfmon.perftest import load
from perfmon.probes import http
from perfmon.scenario import STANDARD, Scenario, named_demand


class Onlooker:
    """Keeps what it is told."""

    def __init__(self):
        self.seconds = []
        self.rows = []
        self.defects = []

    def second(self, second, tally):
        self.seconds.append(second)

    def row(self, row):
        self.rows.append(row)

    def defect(self, where, error):
        self.defects.append((where, error))


def arrivals(rate, duration_s, **more):
    return Open(course=Course.level(rate, duration_s), **more)


def users(number, duration_s, **more):
    return Closed(course=Course.level(number, duration_s), **more)


def scenario(url, offer, *demands, timeout_s=5.0, **more):
    return Scenario(
        name="test",
        target=Target(probe="test", address=url),
        module=Module(name="http_2xx", kind="http", timeout_s=timeout_s, config=http.Config()),
        executor="by_hand",
        settings=None,
        offer=offer,
        demands=tuple(map(named_demand, demands)) or STANDARD,
        **more,
    )


async def run(one, onlooker=None, *, clock=None, **options):
    """The report of a test."""
    begin = lambda: contextlib.nullcontext(onlooker or Onlooker())  # noqa: E731 - a line
    return await load.run(one, begin, clock=clock or SystemClock(), **options)


def served(server):
    """How many requests the server has had; it forgets them, and when it froze."""
    with urllib.request.urlopen(f"{server}/count", timeout=5) as answer:
        return int(answer.read())
