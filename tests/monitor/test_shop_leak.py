"""The shop leaks under a real daemon: on the page, in the gauges, and at Alertmanager with the line that allocates.

Sampled each second, with the error of the time to the limit over minutes: `benchmarks/leak_live.py`.
"""

import json
import re
import subprocess
import sys
import threading
import time
from itertools import count
from statistics import linear_regression

import pytest
import requests
from daemon import eventually, get, perfmon
from listener import Listener
from real_alertmanager import running_alertmanager

PRIVATE = "perfmon_process_private_memory_bytes"
PER_S, KIB = 25, 48
LIMIT_BYTES = 2**30


class Load:
    """Requests to /leak at an even rate, from one thread; what the shop said that it keeps, over time."""

    def __init__(self, url):
        self.kept = []  # (monotonic time, bytes)
        self._url = f"{url}/leak?kb={KIB}"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def bytes_per_s(self, over_s):
        """The leak's true rate of late."""
        seen = [point for point in list(self.kept) if point[0] > time.monotonic() - over_s]
        return linear_regression(*zip(*seen, strict=True)).slope

    def stop(self):
        self._over.set()
        self._thread.join()

    def _ask(self):
        began = time.monotonic()
        for number in count():
            if self._over.wait(max(0.0, began + number / PER_S - time.monotonic())):
                return
            self.kept.append((time.monotonic(), int(get(self._url)[1].split()[1])))


@pytest.fixture
def shop():
    """Its address."""
    command = [sys.executable, "-m", "perfmon", "simulate", "shop", "--port", "0", "--leak-limit", "400MiB"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield re.search(r"http://\S+[^/\s]", process.stdout.readline())[0].rstrip("/")
        process.terminate()


@pytest.fixture
def load(shop):
    load = Load(shop)
    yield load
    load.stop()


@pytest.mark.servers
def test_the_leaking_endpoint_is_told_of_with_its_line_and_the_time_that_is_left(shop, load, binary, tmp_path):
    binary("gdb")
    port = shop.rpartition(":")[2]
    with Listener() as pager, running_alertmanager(binary("prometheus-alertmanager"), tmp_path, pager.url) as at:
        file = tmp_path / "perfmon.yml"
        file.write_text(
            f"""
samplers:
  - name: services
    interval: 100ms
    process: {{groups: [{{name: shop, port: {port}}}], discover: 1s, profile: true, profile_short: 1s, profile_long: 2s}}
rules: [{{name: ShopLeak, metric: {PRIVATE}, leak: {{window: 16s, limit: {LIMIT_BYTES}B, agree: 2}}}}]
receivers: [{{name: alertmanager, alertmanager: {{urls: ["{at}"], resend: 1s}}}}]
state: {{path: ""}}
"""
        )

        def annotations():
            found = requests.get(f"{at}/api/v2/alerts", timeout=10).json()
            return next((one["annotations"] for one in found if one["labels"]["alertname"] == "ShopLeak"), {})

        with perfmon(tmp_path, f"--config.file={file}") as daemon:

            def asked():
                return json.loads(get(f"{daemon.url}/api/v1/group?sampler=services&group=shop")[1])

            eventually(lambda: daemon.metric("perfmon_leak_verdict", verdict="leak"), "a leak is found", within_s=60)
            told_s, memory = daemon.metric("perfmon_leak_seconds_to_limit"), daemon.metric(PRIVATE)
            true_s = (LIMIT_BYTES - memory) / load.bytes_per_s(over_s=10)
            [leak] = asked()["group"]["leaks"]  # a profile cuts the window: afterwards there may be too little to judge
            stack = eventually(lambda: annotations().get("leak_stack"), "Alertmanager has the line", within_s=60)
            [alert] = asked()["alerts"]

    assert true_s == pytest.approx(told_s, rel=0.2)
    assert re.match(r"leak \(\S+/perfmon/simulators/shop\.py:\d+\)  \d+", stack), stack
    assert ("ShopLeak", stack) == (leak["rule"], alert["annotations"]["leak_stack"])
    assert leak["lines"]
