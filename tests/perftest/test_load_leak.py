"""What each request leaves in the shop, by a load on its leaking endpoint with its process looked at meanwhile."""

import asyncio
import contextlib
import re
import subprocess
import sys
import time

import pytest
from loading import Onlooker, run, scenario

from perfmon.leak import per_request_of_load
from perfmon.offer import Course, Open
from perfmon.procfs import Procfs

KIB = 96
LOOK_S = 0.03
BUSY, QUIET = [(0.0, 50.0), (1.2, 50.0)], [(0.0, 3.0), (1.2, 3.0)]


@pytest.fixture
def shop():
    """Its process and its address."""
    command = [sys.executable, "-m", "perfmon", "simulate", "shop", "--port", "0", "--leak-limit", "400MiB"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process.pid, re.search(r"http://\S+[^/\s]", process.stdout.readline())[0].rstrip("/")
        process.terminate()


@contextlib.asynccontextmanager
async def looked_at(pid):
    """Unix time and private pages of a process, as they come."""
    points = []

    async def look():
        while True:
            _, resident, shared, *_ = map(int, Procfs().read(f"{pid}/statm").split())
            points.append((time.time(), 4096.0 * (resident - shared)))
            await asyncio.sleep(LOOK_S)

    task = asyncio.create_task(look())
    yield points
    task.cancel()


async def test_memory_goes_with_the_requests_of_a_load_and_so_much_with_each(shop):
    pid, url = shop
    onlooker = Onlooker()
    offer = Open(course=Course.through(30.0, [*BUSY, *QUIET] * 3))
    async with looked_at(pid) as points:
        report = await run(scenario(f"{url}/leak?kb={KIB}", offer), onlooker)
    times, values = [at - report.run.began for at, _ in points], [value for _, value in points]
    ends, done = [second.end_s for second in onlooker.seconds], [second.done for second in onlooker.seconds]
    found = per_request_of_load(times, values, ends, done)

    assert found.cause in ("requests", "both"), found
    assert KIB * 1024 == pytest.approx(found.per_request, rel=0.25)
    assert re.match(r"\S+ KiB per request \(95 % interval \S+ to \S+\), ", found.sentence("bytes"))
