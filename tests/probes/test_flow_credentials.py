"""A flow's requests to its target prove who they are, in all ways that the http probe knows."""

import json

from servers import answer, http, serve, unused_port

from perfmon import measure
from perfmon.answer.demands import Demands
from perfmon.clock import SystemClock
from perfmon.model import Module, Target
from perfmon.network.draft import Request
from perfmon.network.oauth2 import OAuth2
from perfmon.probes.flow import Config, Step


async def run(network, port, **config):
    steps = [Step(name=name, request=Request(url=f"/{name}"), expect=Demands()) for name in ("one", "two")]
    module = Module(name="flow", kind="flow", timeout_s=2.0, config=Config(steps=steps, **config))
    target = Target(probe="test", address=f"http://127.0.0.1:{port}")
    return await measure.probe(target, module, clock=SystemClock(), network=network)


async def test_a_token_comes_from_a_file(network, tmp_path):
    (tmp_path / "token").write_text("t0ken\n")
    seen = []
    async with serve(http(answer(), seen=seen)) as port:
        measurement = await run(network, port, bearer_token_file=str(tmp_path / "token"))

    assert measurement.success, measurement.failure
    assert ["Bearer t0ken"] * 2 == [request.headers["authorization"] for request in seen]


async def test_a_token_comes_from_its_endpoint_once(network):
    asked, seen = [], []
    said = answer(json.dumps({"access_token": "t0ken", "expires_in": 60}).encode())
    async with serve(http(said, seen=asked)) as tokens, serve(http(answer(), seen=seen)) as port:
        client = OAuth2(client_id="me", client_secret="s3cret", token_url=f"http://127.0.0.1:{tokens}/")
        measurement = await run(network, port, oauth2=client)

    assert measurement.success, measurement.failure
    assert 1 == len(asked)
    assert ["Bearer t0ken"] * 2 == [request.headers["authorization"] for request in seen]


async def test_without_a_token_nothing_is_asked(network):
    seen = []
    async with serve(http(answer(), seen=seen)) as port:
        client = OAuth2(client_id="me", token_url=f"http://127.0.0.1:{unused_port()}/")
        measurement = await run(network, port, oauth2=client)

    assert "auth" == measurement.failure.reason
    assert [] == seen
