"""What the tests of the web face share: a hand-written daemon behind it, and a client that hides nothing."""

import asyncio
import threading
import time
from contextlib import asynccontextmanager, contextmanager
from ipaddress import ip_network

from perfmon.errors import UsageError
from perfmon.model import Module
from perfmon.monitor.rerun import Busy
from perfmon.monitor.server import app, serve

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


class FakeView:
    """A daemon with two modules that answers as it was told."""

    def __init__(self):
        self.probe_allow = LOOPBACK
        self.timeout_offset_s = 0.5
        self.health = (True, "Healthy")
        self.problems = []
        self.probed = []
        self.ran = []
        self.defects = []
        self.reloads = 0
        self.asked_minutes = []
        self.probe_seconds = 0.0
        self.cancelled_at = None
        self.error = None

    async def targets(self, minutes):
        self.asked_minutes.append(minutes)
        return {"now": 1.5, "version": "1", "started_at": 1.0, "probes": [], "samplers": []}

    async def days(self):
        return {"now": 1.5, "from": 0.0, "every_s": 900.0, "probes": []}

    def target(self, key):
        known = {"key": key, "probe": "shop"} if key == "shop/http://a/?b=1&c" else None
        return {"now": 1.5, "version": "1", "probe": known, "alerts": []}

    def run(self, sought):
        known = {"id": str(sought), "key": "shop/http://a/?b=1&c"} if str(sought) == "1c291ca3-19aa3f2c1b0" else None
        return {"now": 1.5, "version": "1", "run": known}

    def group(self, sampler, group, cgroup):
        known = {"group": group, "cgroup": cgroup} if (sampler, group) == ("shops", "a&b") else None
        return {"now": 1.5, "version": "1", "group": known, "cgroups": [], "alerts": []}

    async def run_now(self, key):
        self.ran.append(key)
        if key == "gone":
            raise LookupError(key)
        if key == "busy":
            raise Busy("a run is under way")
        try:
            await asyncio.sleep(self.probe_seconds)
        except asyncio.CancelledError:
            self.cancelled_at = time.monotonic()
            raise
        return b'{"success":true}'

    async def alerts(self):
        if self.error:
            raise self.error
        return {"now": 1.5, "alerts": []}

    async def status(self):
        return None

    def badge(self, kind, key, period, *, chosen):
        return None

    def healthy(self):
        return self.health

    def ready(self):
        return self.health

    def module(self, name):
        return {
            "http_2xx": Module(name="http_2xx", kind="http", timeout_s=5.0, config=None),
            "slow": Module(name="slow", kind="tcp", timeout_s=20.0, config=None),
        }.get(name)

    def modules(self):
        return "modules: {}\n"

    def runs(self):
        return [{"id": 7, "module": "http_2xx", "target": "a", "success": False}]

    def run_by_id(self, number):
        return "run 7\n" if number == 7 else None

    def newest_run(self, target, module):
        return f"newest run of a {module}\n" if (target, module) in [("a", ""), ("a", "http_2xx")] else None

    async def scrape(self, accept, accept_encoding):
        return f"# {accept} {accept_encoding}\n".encode(), {"Content-Type": "text/plain; version=0.0.4"}

    async def probe(self, target, module, *, timeout_s, debug):
        self.probed.append((target.address, target.hostname, module.name, timeout_s, debug))
        if target.address == "conflict":
            raise UsageError(
                "host header defined both in module configuration (a) and with URL-parameter 'hostname' (b)"
            )
        try:
            await asyncio.sleep(self.probe_seconds)
        except asyncio.CancelledError:
            self.cancelled_at = time.monotonic()
            raise
        return b"probe_success 0\n", {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}

    async def reload(self):
        self.reloads += 1
        return self.problems

    def defect(self, error):
        self.defects.append(error)


async def request(address, path, *, method="GET", body=b"", headers=None):
    fields = {"Host": address, "Connection": "close"} | {k.replace("_", "-"): v for k, v in (headers or {}).items()}
    if body:
        fields["Content-Length"] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return parse(await exchange(address, f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body))


async def exchange(address, raw):
    async with connection(address) as (reader, writer):
        writer.write(raw)
        return await asyncio.wait_for(reader.read(), 5)


@asynccontextmanager
async def connection(address):
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    try:
        yield reader, writer
    finally:
        writer.close()


def parse(raw):
    head, _, body = raw.partition(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    return int(status.split()[1]), {k.lower(): v for k, _, v in (f.partition(": ") for f in fields)}, body.decode()


def pick(answer):
    return answer[0], answer[2]


async def until(condition, within_s=2.0):
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        await asyncio.sleep(0.005)


@contextmanager
def served(view, listen="127.0.0.1:0", *, face=app):
    """A server in a thread of its own, for tests that wait for something else; yields its address."""
    started = threading.Event()
    seen = {}

    async def run():
        seen["loop"], seen["stop"] = asyncio.get_running_loop(), asyncio.Event()
        async with serve(face(view), [listen]) as (seen["address"],):
            started.set()
            await seen["stop"].wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert started.wait(10)
    try:
        yield seen["address"]
    finally:
        seen["loop"].call_soon_threadsafe(seen["stop"].set)
        thread.join()
