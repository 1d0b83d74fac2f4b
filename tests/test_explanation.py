"""What a run explains of itself, over real sockets: the same value for the terminal, the API and the page."""

import json
import re

import msgspec
import pytest
from dns_server import answering, name_server
from probing import probe_http
from servers import answer, http, redirecting, serve, silent, unused_port
from websocket_server import passing, upgrading

from perfmon import measure
from perfmon.clock import SystemClock
from perfmon.explanation import explain, sections, settings
from perfmon.model import Failure, Module, Target
from perfmon.probes import dns, flow, redis, tcp, tls, websocket
from perfmon.probes import exec as exec_probe
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


# ---------------------------------------------------------------- what each kind demands


async def explained_run(network, kind, address, config, *, timeout_s=2.0):
    return await measure.probe(
        Target(probe="test", address=address),
        Module(name=kind, kind=kind, timeout_s=timeout_s, config=config),
        clock=SystemClock(),
        network=network,
        debug=True,
    )


def demands(run):
    return [(one.name, one.expected, one.got, one.met) for one in told(run, Demand)]


def dialogue(run):
    return [(one.by, one.text) for one in told(run, Said)]


async def test_a_dialogue_that_takes_too_long_tells_what_it_waited_for(network):
    steps = [tcp.QueryResponse(expect="^220")]
    async with serve(silent) as port:
        run = await explained_run(network, "tcp", f"127.0.0.1:{port}", tcp.Config(query_response=steps), timeout_s=0.1)

    assert [("step 1: answer", 'a line that matches "^220"', "nothing of it in time", False)] == demands(run)


async def test_a_port_that_should_be_closed(network):
    address = f"127.0.0.1:{unused_port()}"
    run = await explained_run(network, "tcp", address, tcp.Config(expect_closed="filtered"))

    assert [("port", "filtered", "refused", False)] == demands(run)


async def test_a_question_to_a_name_server_and_its_answer(network):
    rules = dns.RecordRules(fail_if_not_matches_regexp=[r"10\.0\.0\.7$"])
    config = dns.Config(
        query_name="shop.example",
        query_type="A",
        min_answers=2,
        fail_if_not_authoritative=True,
        validate_answer_rrs=rules,
    )
    async with name_server(answering("shop.example. 60 IN A 10.0.0.8", flags="AA")) as (address, _):
        run = await explained_run(network, "dns", address, config)

    record = '"shop.example. 60 IN A 10.0.0.8"'
    assert [
        ("response code", "NOERROR", "NOERROR", True),
        ("authoritative (AA)", "set", "set", True),
        ("records in the answer section", "2 or more", "1", False),
        (
            "answer section",
            'fail_if_not_matches_regexp: "10\\\\.0\\\\.0\\\\.7$"',
            f'record {record} does not match "10\\\\.0\\\\.0\\\\.7$"',
            False,
        ),
    ] == demands(run)
    assert [("perfmon", "shop.example IN A?"), ("target", "NOERROR, authoritative")] == dialogue(run)[:2]


async def test_a_handshake_that_is_asked_for_more(network, authority):
    context = authority.context("localhost")
    context.set_alpn_protocols(["h2"])
    config = tls.Config(
        tls_config=tcp.TlsConfig(ca_file=str(authority.file)), alpn=["h2"], fail_if_expires_within=1e10,
        fail_if_accepts=["TLS12"],
    )  # fmt: skip
    async with serve(http(answer()), tls=context) as port:
        run = await explained_run(network, "tls", f"localhost:{port}", config)

    assert [("protocol of ALPN", "h2", "h2", True), ("certificate lasts", False)] == [
        demands(run)[0],
        (demands(run)[1][0], demands(run)[1][3]),
    ]
    assert "localhost" in told(run, Certificate)[0].names


async def test_the_messages_of_a_websocket(network):
    steps = [websocket.Step(expect="incoming_(.+)", send="outgoing_${1}"), websocket.Step(expect="^never")]
    async with serve(upgrading(passing)) as port:
        run = await explained_run(
            network, "websocket", f"ws://127.0.0.1:{port}/", websocket.Config(query_response=steps)
        )

    assert [
        ("connection", "upgraded to a WebSocket", "upgraded", True),
        ("step 1: message", 'matches "incoming_(.+)"', '"incoming_test"', True),
        ("step 2: message", 'matches "^never"', '"passed"', False),
    ] == demands(run)
    assert [("target", "incoming_test"), ("perfmon", "outgoing_test"), ("target", "passed")] == dialogue(run)


async def test_a_question_to_a_database_and_its_answer(network):
    async def redis_like(reader, writer):
        await reader.readuntil(b"GET\r\n$4\r\nlag1\r\n")
        writer.write(b"$2\r\n42\r\n")
        await reader.read()

    config = redis.Config(query="GET lag1", expect_value="< 30", expect_regexp="^4", expect_rows=">= 1")
    async with serve(redis_like) as port:
        run = await explained_run(network, "redis", f"127.0.0.1:{port}", config)

    assert [
        ("rows", ">= 1", "1", True),
        ("value", 'matches "^4"', '"42"', True),
        ("value", "< 30", '"42"', False),
    ] == demands(run)
    assert [("perfmon", "GET lag1"), ("target", 'rows: 1; first value: "42"')] == dialogue(run)


async def test_what_a_program_prints_and_how_it_ends(network):
    config = exec_probe.Config(
        command=["/bin/sh", "-c", "echo $GIVEN; exit 3"], env={"GIVEN": Secret("sesame")},
        fail_if_output_not_matches_regexp=["fine"],
    )  # fmt: skip
    run = await explained_run(network, "exec", "x", config)

    assert [("exit code", "0", "3", False), ("output", 'matches "fine"', "no match", False)] == demands(run)
    assert [("target", "stdout: <secret>")] == [(by, text.strip()) for by, text in dialogue(run)]


async def test_the_demands_of_a_flow_name_their_step(network):
    async with serve(http(lambda request: answer(status=200 if request.path == "/a" else 404))) as port:
        steps = [flow.Step(name=name, request=flow.Request(url=f"/{name}")) for name in ("a", "b")]
        run = await explained_run(network, "flow", f"http://127.0.0.1:{port}/", flow.Config(steps=steps))

    assert [("step a: status code", True), ("step b: status code", False)] == [
        (name, met) for name, _, _, met in demands(run) if "status" in name
    ]
    assert 2 == len(told(run, Exchange))


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


async def test_the_time_of_each_hop_stands_under_its_number(network):
    async with serve(http(redirecting(1))) as port:
        run = await probe_http(network, f"http://127.0.0.1:{port}/", debug=True)
    found = dict(sections(explain(run, module(), at=1.8e9, timeout_s=2.0, metrics=[])))

    assert ["hop 1", "hop 2"] == [line for line in found["time"] if line.startswith("hop")]
    assert "hop 1" == found["time"][0]


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


def test_a_label_that_holds_what_the_target_said_shows_no_secret():
    run = measure.Measurement(
        target=Target(probe="a", address="x"), module="shop", at=0.0, duration_s=0.0, phases={}, facts={}
    )
    line = 'probe_expect_info{said="hello sesame-open"} 1'
    explained = explain(run, module(bearer_token="sesame-open"), at=1.0, timeout_s=2.0, metrics=[line])

    assert ('probe_expect_info{said="hello <secret>"} 1',) == explained.metrics


def test_a_module_is_shown_with_what_is_its_own_and_no_secret():
    assert "prober: http\ntimeout: 2s" == settings(module())
    assert (
        "prober: http\ntimeout: 2s\nhttp:\n  bearer_token: <secret>\n  tls_config:\n    insecure_skip_verify: true"
        == settings(module(bearer_token="t", tls_config=tcp.TlsConfig(insecure_skip_verify=True)))
    )


def test_a_module_is_shown_in_the_words_of_a_file():
    expiring = Module(name="cert", kind="tls", timeout_s=2.0, config=tls.Config(fail_if_expires_within=30 * 86_400.0))
    order = flow.Config(
        steps=[
            flow.Step(name="buy", request=flow.Request(url="{{target}}"), extract={"id": flow.Extract(json="$.id")}),
        ]
    )

    assert settings(expiring).endswith("tls:\n  fail_if_expires_within: 30d")
    assert settings(module(body_size_limit=2.0**20)).endswith("http:\n  body_size_limit: 1 MiB")
    assert settings(Module(name="order", kind="flow", timeout_s=2.0, config=order)).endswith(
        "    extract:\n      id:\n        json: $.id"
    )
