"""H68, policy `all`: one result for each address of a name, each asked by the name."""

import asyncio
import time
from contextlib import asynccontextmanager
from pathlib import Path

from dns_server import answering, name_server
from msgspec.structs import replace
from servers import answer, http, serve

from perfmon import config
from perfmon.clock import SystemClock
from perfmon.monitor.daemon import Daemon

CONFIG = """
modules: {{api: {{prober: http, http: {{tls_config: {{ca_file: {ca}}}}}}}}}
probes:
  - name: api
    module: api
    interval: 200ms
    discover:
      - dns: {{name: api.example, type: A, port: {port}, url: "https://{{{{host}}}}:{{{{port}}}}/health", server: "{server}"}}
web: {{listen: ["127.0.0.1:0"]}}
state: {{path: ""}}
"""


@asynccontextmanager
async def watching(path: Path, network):
    read = config.load([path])
    read = replace(read, discoveries=tuple(replace(one, refresh_s=0.05) for one in read.discoveries))
    stop = asyncio.Event()
    daemon = Daemon(lambda: read, read, clock=SystemClock(), network=network)
    life = asyncio.create_task(daemon.watch(stop))
    try:
        yield daemon
    finally:
        stop.set()
        await life


async def until(true, what):
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.02)


async def test_each_address_of_a_name_has_a_result_of_its_own_and_is_asked_by_the_name(network, authority, tmp_path):
    """Of two addresses one refuses: one fails, the other does not; and a server that says nothing changes nothing."""
    seen, names, records = [], [], ["api.example. 1 IN A 127.0.0.2", "api.example. 1 IN A 127.0.0.1"]
    broken = False

    def tell(query):
        return [] if broken else answering(*records)(query)

    tls = authority.context("api.example")
    tls.sni_callback = lambda _sock, name, _context: names.append(name)
    async with serve(http(answer(), seen=seen), tls=tls) as port, name_server(tell) as (server, _):
        path = tmp_path / "perfmon.yml"
        path.write_text(CONFIG.format(ca=authority.file, port=port, server=server))
        async with watching(path, network) as daemon:
            alive, dead = (f"api/https://127.0.0.{n}:{port}/health" for n in (1, 2))
            checks = daemon.series.checks
            await until(lambda: {alive, dead} == checks.keys(), "both are watched")
            await until(lambda: all(past.last is not None for past in checks.values()), "both have run")
            assert (True, False) == (checks[alive].last.success, checks[dead].last.success)
            assert "connect_refused" == checks[dead].last.failure.reason

            broken = True
            await asyncio.sleep(0.3)
            assert {alive, dead} == checks.keys()
            broken = False
            del records[0]
            await until(lambda: {alive} == checks.keys(), "the other is gone")

    assert {"api.example"} == set(names)
    assert {"api.example"} == {request.headers["host"] for request in seen}
