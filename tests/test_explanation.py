"""What a run explains of itself, over real sockets: the same value for the terminal, the API and the page."""

import json
import re

import msgspec
import pytest
from probing import probe_http
from servers import answer, http, redirecting, serve

from perfmon import measure
from perfmon.clock import SystemClock
from perfmon.explanation import explain, sections, settings
from perfmon.model import Failure, Module, Target
from perfmon.probes import tcp
from perfmon.probes.http import BasicAuth, Config
from perfmon.secret import Secret, hidden, without
from perfmon.steps import Certificate, Demand, Exchange, LookUp, Said, Timed
from perfmon.trace import Trace


def told(measurement, kind):
    return [step for step in measurement.steps if isinstance(step, kind)]


def module(**config):
    return Module(name="shop", kind="http", timeout_s=2.0, config=Config(**config))


async def test_each_hop_tells_both_headers_and_its_phases_at_their_time(network):
    async with serve(http(redirecting(1))) as port:
        run = await probe_http(network, f"http://localhost:{port}/0", preferred_ip_protocol="ip4", debug=True)

    first, second = told(run, Exchange)
    assert (f"http://localhost:{port}/0", f"127.0.0.1:{port}") == (first.url, first.address)
    assert "GET /0 HTTP/1.1" == first.sent[0]
    assert first.received[0].startswith("HTTP/1.1 302 ")
    assert second.received[0].startswith("HTTP/1.1 200 ")
    assert ["localhost", "localhost"] == [look.host for look in told(run, LookUp)]
    spans = told(run, Timed)
    assert spans == sorted(spans, key=lambda span: span.begin_s)
    assert pytest.approx(run.duration_s) == sum(span.seconds for span in spans)


async def test_a_run_that_nobody_asked_about_tells_nothing(network):
    async with serve(http(answer())) as port:
        run = await probe_http(network, f"http://127.0.0.1:{port}/")

    assert ((), ()) == (run.lines, run.steps)


async def test_a_chain_is_told_also_when_it_is_refused(network, authority):
    async with serve(http(answer()), tls=authority.context("localhost", "shop.example")) as port:
        run = await probe_http(network, f"https://localhost:{port}/", preferred_ip_protocol="ip4", debug=True)

    assert "tls_untrusted" == run.failure.reason
    leaf = told(run, Certificate)[0]
    assert ("localhost", "shop.example") == leaf.names
    assert re.fullmatch("[0-9a-f]{64}", leaf.fingerprint)


async def test_a_dialogue_is_told_line_by_line_with_what_was_expected(network):
    async def greet(reader, writer):
        writer.write(b"220 mail ready\r\n")
        await reader.readline()
        writer.write(b"554 go away\r\n")
        writer.close()

    steps = [tcp.QueryResponse(expect="^220", send="EHLO x"), tcp.QueryResponse(expect="^250")]
    async with serve(greet) as port:
        run = await measure.probe(
            Target(probe="mail", address=f"127.0.0.1:{port}"),
            Module(name="smtp", kind="tcp", timeout_s=2.0, config=tcp.Config(query_response=steps)),
            clock=SystemClock(),
            network=network,
            debug=True,
        )

    said = [(one.by, one.text) for one in told(run, Said)]
    assert [("target", "220 mail ready"), ("perfmon", "EHLO x"), ("target", "554 go away")] == said
    assert [
        Demand(name="step 1: line", expected='a line that matches "^220"', got='"220 mail ready"', met=True),
        Demand(name="step 2: line", expected='a line that matches "^250"', got='"554 go away"', met=False),
    ] == told(run, Demand)


# ---------------------------------------------------------------- secrets


def echo(request):
    """Send back all that came and is nobody's business."""
    words = [request.headers.get(name, "") for name in ("authorization", "x-api-key")]
    body = " ".join([*words, request.body.decode()])
    return answer(body.encode(), status=500, headers={"X-Echo": words[1]})


async def test_an_answer_that_echoes_our_secrets_shows_none_of_them(network):
    async with serve(http(echo)) as port:
        run = await probe_http(
            network,
            f"http://127.0.0.1:{port}/",
            debug=True,
            method="POST",
            basic_auth=BasicAuth(username="probe", password="hunter2-hunter2"),
            headers={"X-Api-Key": "k3y-k3y-k3y"},
            body=Secret('{"pin": "sesame-open"}', ["sesame-open"]),
        )

    whole = msgspec.json.encode([run.failure, run.steps, run.lines]).decode()
    assert "X-Echo: <secret>" in told(run, Exchange)[0].received
    for secret in ("hunter2", "k3y-k3y", "sesame", "cHJvYmU6aHVudGVy"):
        assert secret not in whole
    assert "Basic <secret> <secret> <secret>" == run.failure.evidence["body"]


async def test_a_password_in_an_address_is_told_to_nobody(network):
    async with serve(http(echo)) as port:
        run = await probe_http(network, f"http://probe:s%3Csame-open@127.0.0.1:{port}/", debug=True)

    whole = msgspec.json.encode([run.failure, run.steps, run.lines]).decode()
    assert "<secret>" in run.failure.evidence["body"]
    assert "same-open" not in whole
    assert "cHJvYmU6czxzYW1lLW9wZW4" not in whole


def test_every_shape_of_a_secret_is_cut_out():
    secrets = hidden(Config(bearer_token=Secret('a"b<c d&e'), headers={"Cookie": "sid=0123456789"}))

    for shape in ('a"b<c d&e', 'a\\"b<c d&e', "a%22b%3Cc%20d%26e", "a&quot;b&lt;c d&amp;e", "sid=0123456789"):
        assert "got <secret>." == without(secrets, f"got {shape}.")


# ---------------------------------------------------------------- bounds


def test_a_server_that_says_much_fills_no_memory():
    trace = Trace(clock=SystemClock(), deadline=1e12, network=None, debug=True)
    for _ in range(5_000):
        trace.note("x" * 5_000)
        trace.said("target", "x" * 5_000)

    assert (2_000, 1_000) == (len(trace.lines), len(trace.steps))
    assert max(map(len, trace.lines)) < 1_100
    assert max(len(step.text) for step in trace.steps) < 1_100


# ---------------------------------------------------------------- words


async def test_the_sections_say_all_that_was_seen(network):
    async with serve(http(answer(b"one\ntwo\x1b[2J\n", status=503))) as port:
        run = await probe_http(network, f"http://127.0.0.1:{port}/", debug=True)
    explained = explain(run, module(), at=1.8e9, timeout_s=2.0, metrics=["# HELP x", "probe_success 0"])
    found = dict(sections(explained))

    assert ["time", "exchange", *(["expected"] if "expected" in found else []), "failure", "metrics", "module"] == list(
        found
    )
    assert [f"http://127.0.0.1:{port}/ at 127.0.0.1:{port}", "> GET / HTTP/1.1"] == found["exchange"][:2]
    assert "status 503, expected 2xx" == found["failure"][0]
    assert ["  one", "  two\\x1b[2J"] == [line for line in found["failure"] if line.startswith("  ")]
    assert ["probe_success 0"] == found["metrics"]


def test_an_explanation_is_json(network):
    run = measure.Measurement(
        target=Target(probe="a", address="x"), module="shop", at=0.0, duration_s=0.0, phases={}, facts={},
        failure=Failure(reason="status", phase="processing", message="m", evidence={"body": "🦀"}),
        steps=[Demand(name="status code", expected="2xx", got="503", met=False)],
    )  # fmt: skip
    shown = json.loads(msgspec.json.encode(explain(run, module(), at=1.0, timeout_s=2.0, metrics=())))

    assert {"step": "demand", "name": "status code", "expected": "2xx", "got": "503", "met": False} == shown["steps"][0]
    assert ("a", "x", "shop", "http", False) == tuple(
        shown[k] for k in ("probe", "target", "module", "kind", "success")
    )


def test_a_module_is_shown_with_what_is_its_own_and_no_secret():
    assert "prober: http\ntimeout: 2s" == settings(module())
    assert (
        "prober: http\ntimeout: 2s\nhttp:\n  bearer_token: <secret>\n  tls_config:\n    insecure_skip_verify: true"
        == settings(module(bearer_token="t", tls_config=tcp.TlsConfig(insecure_skip_verify=True)))
    )
