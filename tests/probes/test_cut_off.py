"""A run that is cancelled, as the backstop does it when the loop was late, leaves its kind's gauges and phases behind."""

import asyncio

import pytest
from servers import serve, silent

from perfmon.clock import SystemClock
from perfmon.model import Target
from perfmon.network.query_response import QueryResponse
from perfmon.probes import flow, grpc, http, redis, tcp, tls, websocket
from perfmon.trace import Trace

SETTINGS = {
    "http": ("http://{}/", http, http.Config()),
    "grpc": ("{}", grpc, grpc.Config()),
    "websocket": ("ws://{}/", websocket, websocket.Config()),
    "tls": ("{}", tls, tls.Config()),
    "tcp": ("{}", tcp, tcp.Config(query_response=[QueryResponse(expect="never")])),
    "redis": ("{}", redis, redis.Config()),
    "flow": ("http://{}", flow, flow.Config(steps=[flow.Step(name="a", request=flow.Request(url="/"))])),
}
GAUGES = {
    "http": {"probe_http_status_code", 'probe_http_duration_seconds{phase="processing"}', "probe_http_version"},
    "grpc": {"probe_grpc_status_code", 'probe_grpc_duration_seconds{phase="check"}'},
    "websocket": {"probe_websocket_status_code", 'probe_websocket_duration_seconds{phase="processing"}'},
    "tls": set(),
    "tcp": {"probe_failed_due_to_regex"},
    "redis": set(),
    "flow": {"probe_flow_steps", "probe_flow_steps_passed", 'probe_flow_step_success{step="a"}'},
}
UNDER_WAY = {"tls": "tls"}


@pytest.mark.parametrize("kind", SETTINGS)
async def test_a_cancelled_run_leaves_its_gauges_behind(network, kind):
    address, probe, config = SETTINGS[kind]
    clock = SystemClock()
    async with serve(silent) as port:
        trace = Trace(clock=clock, deadline=clock.monotonic() + 9.0, network=network)
        target = Target(probe="test", address=address.format(f"127.0.0.1:{port}"))
        running = asyncio.create_task(probe.probe(target, config, trace))
        await asyncio.sleep(0.2)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    assert running.cancelled()
    assert {"probe_ip_protocol", *GAUGES[kind]} <= trace.facts.keys()
    assert UNDER_WAY.get(kind, "processing") in (trace.phase, trace.last, *trace.phases)
    assert 0.1 < sum(trace.phases.values()) or trace.phase
