"""The websocket probe. Names like w01 are rows of blackbox_exporter's and Uptime Kuma's own tests, restated."""

import asyncio
import base64
import contextlib
import gc
import resource
import socket
import threading
import time
from pathlib import Path

import pytest
from probing import outcome
from servers import LONG_AGO, Authority, Request, answer, closing, http, reset, serve, silent, unused_port
from websocket_server import BINARY, CLOSE, PING, PONG, TEXT, accept_of, frame, passing, read_frame, saying, upgrading

from perfmon import measure
from perfmon.clock import SystemClock
from perfmon.config import load
from perfmon.model import Module, Target
from perfmon.network import Network
from perfmon.network.tls import TlsConfig
from perfmon.probes import websocket
from perfmon.probes.websocket import BasicAuth, HttpConfig, Step, check, check_target
from perfmon.secret import Secret


async def probe(network, address, *, timeout_s=1.0, hostname="", debug=False, **config):
    module = Module(name="ws", kind="websocket", timeout_s=timeout_s, config=websocket.Config(**config))
    target = Target(probe="test", address=address, hostname=hostname)
    return await measure.probe(target, module, clock=SystemClock(), network=network, debug=debug)


def fact(measurement, name):
    return measurement.facts[f"probe_websocket_{name}"]


STEPS = [Step(expect="incoming_(.+)", send="outgoing_${1}"), Step(expect="^passed")]


# ---------------------------------------------------------------- rows


async def test_w01_the_dialogue_is_held_and_timed(network):
    async with serve(upgrading(passing)) as port:
        measurement = await probe(network, f"ws://127.0.0.1:{port}/", query_response=STEPS)

    assert "ok" == outcome(measurement), measurement.failure
    assert (101, 1, 0) == tuple(
        fact(measurement, name) for name in ("status_code", "connection_upgraded", "failed_due_to_regex")
    )
    phases = {name: value for name, value in measurement.facts.items() if name.startswith("probe_websocket_duration")}
    assert [
        f'probe_websocket_duration_seconds{{phase="{phase}"}}'
        for phase in ("resolve", "connect", "processing", "transfer")
    ] == list(phases)
    assert all(value >= 0 for value in phases.values())
    assert sum(measurement.phases.values()) == pytest.approx(sum(phases.values()))
    assert sum(measurement.phases.values()) == measurement.duration_s


async def test_w02_a_last_message_that_does_not_match_fails(network):
    steps = [STEPS[0], Step(expect="^someotherstring")]
    async with serve(upgrading(passing)) as port:
        measurement = await probe(network, f"ws://127.0.0.1:{port}/", query_response=steps)

    assert "body" == outcome(measurement)
    assert 'step 2: message does not match "^someotherstring": "passed"' == measurement.failure.message
    assert {"step": "2", "message": "passed"} == measurement.failure.evidence
    assert 1 == fact(measurement, "connection_upgraded")
    assert 1 == fact(measurement, "failed_due_to_regex")


@pytest.mark.parametrize(
    ("handler", "config", "expected"),
    [
        pytest.param(http(answer()), {}, ("status", 200, 0), id="not-a-websocket"),
        pytest.param(http(answer(status=404)), {}, ("status", 404, 0), id="wrong-status"),
        pytest.param(http(answer(status=302, headers={"Location": "/"})), {}, ("status", 302, 0), id="redirect"),
        pytest.param(upgrading(Sec_WebSocket_Accept="bm90IHlvdXJz"), {}, ("header", 101, 0), id="bad-accept"),
        pytest.param(upgrading(Sec_WebSocket_Accept=None), {}, ("header", 101, 0), id="no-accept"),
        pytest.param(upgrading(Sec_WebSocket_Accept="x"), {"ignore_bad_accept": True}, ("ok", 101, 1), id="ignored-accept"),
        pytest.param(upgrading(Upgrade=None), {}, ("header", 101, 0), id="no-upgrade"),
        pytest.param(upgrading(Connection="close"), {}, ("header", 101, 0), id="no-connection"),
        pytest.param(upgrading(Connection="keep-alive, Upgrade"), {}, ("ok", 101, 1), id="two-connections"),
        pytest.param(upgrading(Sec_WebSocket_Extensions="x"), {}, ("header", 101, 0), id="extension"),
        pytest.param(upgrading(), {"subprotocols": ["chat"]}, ("header", 101, 0), id="unsupported-subprotocol"),
        pytest.param(upgrading(Sec_WebSocket_Protocol="b"), {"subprotocols": ["a"]}, ("header", 101, 0), id="other-subprotocol"),
        pytest.param(upgrading(Sec_WebSocket_Protocol="b"), {}, ("header", 101, 0), id="unasked-subprotocol"),
        pytest.param(upgrading(Sec_WebSocket_Protocol="b"), {"subprotocols": ["a", "b"]}, ("ok", 101, 1), id="subprotocol"),
    ],
)  # fmt: skip
async def test_w04_what_is_no_proper_upgrade_fails(network, handler, config, expected):
    async with serve(handler) as port:
        measurement = await probe(network, f"ws://127.0.0.1:{port}/", **config)

    got = (outcome(measurement), fact(measurement, "status_code"), fact(measurement, "connection_upgraded"))
    assert expected == got
    assert "ok" == outcome(measurement) or "processing" == measurement.failure.phase


def test_w04_characters_that_a_subprotocol_cannot_have_are_a_mistake():
    mistakes = dict(check(websocket.Config(subprotocols=["chat", "a b", "", "a,b"])))

    assert ["subprotocols[1]", "subprotocols[2]", "subprotocols[3]"] == list(mistakes)


async def test_w05_a_server_that_upgrades_and_then_is_silent_fails_in_time(network):
    async with serve(upgrading()) as port:
        began = time.monotonic()
        measurement = await probe(network, f"ws://127.0.0.1:{port}/", timeout_s=0.2, query_response=[Step(expect="x")])
        took = time.monotonic() - began

    assert ("timeout", "transfer") == (measurement.failure.reason, measurement.failure.phase)
    assert 'step 1: time is over, no message came to match "x"' == measurement.failure.message
    assert 1 == fact(measurement, "connection_upgraded")
    assert 0.15 < measurement.phases["transfer"] < 0.4
    assert took < 0.5


# ---------------------------------------------------------------- the upgrade


async def test_the_request_is_what_the_module_says(network):
    seen = []
    http_config = HttpConfig(
        headers={"X-One": "1", "X-Two": ["a", "b"], "User-Agent": "me", "X-Empty": ""},
        basic_auth=BasicAuth(username="u", password="p"),
    )
    async with serve(upgrading(seen=seen)) as port:
        measurement = await probe(
            network, f"ws://localhost:{port}/chat?room=1", http_config=http_config, hostname="chat.example"
        )

    assert "ok" == outcome(measurement), measurement.failure
    assert "/chat?room=1" == seen[0].path
    headers = seen[0].headers
    assert ("1", "b", "me", "") == tuple(headers[name] for name in ("x-one", "x-two", "user-agent", "x-empty"))
    assert "Basic dTpw" == headers["authorization"]
    assert "chat.example" == headers["host"]
    assert ("13", "websocket") == (headers["sec-websocket-version"], headers["upgrade"])
    assert "accept" not in headers


async def test_each_run_has_a_key_of_its_own(network):
    seen = []
    config = websocket.Config(http_config=HttpConfig(bearer_token="t0ken"))
    module = Module(name="ws", kind="websocket", timeout_s=1, config=config)
    async with serve(upgrading(seen=seen)) as port:
        target = Target(probe="test", address=f"ws://127.0.0.1:{port}/")
        for _ in range(3):
            run = await measure.probe(target, module, clock=SystemClock(), network=network)
            assert "ok" == outcome(run), run.failure

    keys = {request.headers["sec-websocket-key"] for request in seen}
    assert {16} == {len(base64.b64decode(key)) for key in keys}
    assert 3 == len(keys)
    assert {"Bearer t0ken"} == {request.headers["authorization"] for request in seen}


@pytest.mark.parametrize(
    ("handler", "reasons"),
    [
        (closing, ("closed", "reset")),
        (silent, ("timeout",)),
        (http(bytes(range(256))), ("header",)),
    ],
)
async def test_a_server_that_never_answers_the_upgrade(network, handler, reasons):
    async with serve(handler) as port:
        measurement = await probe(network, f"ws://127.0.0.1:{port}/", timeout_s=0.2, query_response=STEPS)

    assert outcome(measurement) in reasons
    assert (0, 0, 0) == tuple(
        fact(measurement, name) for name in ("status_code", "connection_upgraded", "failed_due_to_regex")
    )


async def test_a_port_that_refuses(network):
    measurement = await probe(network, f"ws://127.0.0.1:{unused_port()}/")

    assert ("connect_refused", "connect") == (measurement.failure.reason, measurement.failure.phase)
    assert "probe_websocket_failed_due_to_regex" not in measurement.facts


# ---------------------------------------------------------------- the talk


@pytest.mark.parametrize(
    ("talk", "steps"),
    [
        (saying(frame(TEXT, b"hel", final=False), frame(PING, b"p"), frame(0, b"lo")), [Step(expect="^hello$")]),
        (saying(frame(BINARY, b"\xff\x00ok")), [Step(expect="ok$")]),
        (saying(frame(TEXT)), [Step(expect="^$")]),
        (saying(frame(PONG, b"unasked"), frame(TEXT, b"a"), frame(TEXT, b"b")), [Step(expect="a"), Step(expect="b")]),
        (saying(frame(TEXT, b"x" * 300_000 + b"end")), [Step(expect="^x+end$")]),
        (saying(frame(TEXT, "größe 7".encode())), [Step(expect="^größe ([0-9])$")]),
    ],
)
async def test_messages_come_whole(network, talk, steps):
    async with serve(upgrading(talk)) as port:
        measurement = await probe(network, f"ws://127.0.0.1:{port}/", query_response=steps)

    assert "ok" == outcome(measurement), measurement.failure


async def test_what_is_sent_arrives_whole_and_the_end_is_said(network):
    got = []

    async def talk(reader, writer):
        writer.write(frame(TEXT, b"n=5 name=bob"))
        got.extend([await read_frame(reader), await read_frame(reader), await read_frame(reader)])

    text = "ü" * 40_000
    steps = [Step(expect="n=(?P<n>.) name=(.+)", send="$n ${2} $$ ${9}$"), Step(send=text)]
    async with serve(upgrading(talk)) as port:
        measurement = await probe(network, f"ws://127.0.0.1:{port}/", query_response=steps)
        await asyncio.sleep(0.05)

    assert "ok" == outcome(measurement), measurement.failure
    assert [(TEXT, b"5 bob $ $"), (TEXT, text.encode()), (CLOSE, b"\x03\xe8")] == got


async def test_a_ping_is_answered(network):
    got = []

    async def talk(reader, writer):
        writer.write(frame(PING, b"there?"))
        got.append(await read_frame(reader))
        writer.write(frame(TEXT, b"well"))

    async with serve(upgrading(talk)) as port:
        measurement = await probe(network, f"ws://127.0.0.1:{port}/", query_response=[Step(expect="well")])

    assert "ok" == outcome(measurement), measurement.failure
    assert [(PONG, b"there?")] == got


@pytest.mark.parametrize(
    ("talk", "expected"),
    [
        pytest.param(saying(frame(CLOSE, b"\x03\xf0go away")), ("closed", "said good-bye with code 1008 (go away)"), id="close"),
        pytest.param(saying(frame(CLOSE)), ("closed", "said good-bye with no code"), id="close-without-code"),
        pytest.param(saying(then=lambda writer: writer.close()), ("closed", "without a close frame"), id="end"),
        pytest.param(saying(b"\x81\x09half", then=lambda writer: writer.close()), ("closed", "without a close frame"), id="half"),
        pytest.param(saying(then=reset), ("reset", "reset"), id="reset"),
        pytest.param(saying(frame(TEXT, b"a", masked=True)), ("body", "masked"), id="masked"),
        pytest.param(saying(b"\xf1\x01a"), ("body", "reserved"), id="reserved-bits"),
        pytest.param(saying(b"\x83\x01a"), ("body", "opcode"), id="unknown-opcode"),
        pytest.param(saying(frame(0, b"a")), ("body", "no ongoing"), id="continues-nothing"),
        pytest.param(saying(frame(TEXT, b"a", final=False), frame(TEXT, b"b")), ("body", "interrupted"), id="interrupted"),
        pytest.param(saying(frame(PING, b"a", final=False)), ("body", "PING"), id="ping-in-parts"),
        pytest.param(saying(frame(PING, b"a" * 200)), ("body", "PING"), id="ping-too-long"),
        pytest.param(saying(frame(TEXT, b"a" * (1 << 20)), frame(TEXT, b"b")), ("body", "does not match"), id="longest"),
        pytest.param(saying(frame(TEXT, b"a" * (1 << 20) + b"a")), ("too_large", "longer than 1 MiB"), id="too-long"),
    ],
)  # fmt: skip
async def test_a_talk_that_breaks_says_how(network, talk, expected):
    reason, words = expected
    async with serve(upgrading(talk)) as port:
        measurement = await probe(network, f"ws://127.0.0.1:{port}/", query_response=[Step(expect="never")])

    assert (reason, "transfer") == (measurement.failure.reason, measurement.failure.phase)
    assert words in measurement.failure.message
    assert 1 == fact(measurement, "connection_upgraded")


async def test_an_endless_message_takes_no_memory_and_no_time(network):
    async def talk(_reader, writer):
        writer.write(b"\x01\x7f" + (1 << 62).to_bytes(8))
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()

    async with serve(upgrading(talk)) as port:
        await probe(network, f"ws://127.0.0.1:{port}/", query_response=[Step(expect="never")])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        measurement = await probe(network, f"ws://127.0.0.1:{port}/", query_response=[Step(expect="never")])

    assert "too_large" == outcome(measurement)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4_000  # KiB


@pytest.fixture
def flood():
    """A server in a thread, which never pauses: after the upgrade it sends what it was asked to, for ever."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve_one(data):
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                head = connection.recv(65_536).decode().split("\r\n\r\n")[0].split("\r\n")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
                accept = accept_of(Request("GET", "/", headers))
                lines = [
                    "HTTP/1.1 101 Ok",
                    "Upgrade: websocket",
                    "Connection: Upgrade",
                    f"Sec-WebSocket-Accept: {accept}",
                ]
                connection.sendall("\r\n".join([*lines, "", ""]).encode())
                while True:
                    connection.sendall(data)

        def start(data):
            threading.Thread(target=serve_one, args=(data,), daemon=True).start()
            return listener.getsockname()[1]

        yield start


@pytest.mark.parametrize(
    "data", [frame(PONG) * 1000, frame(TEXT, b"", final=False) + frame(0, b"", final=False) * 1000]
)
async def test_a_server_that_never_pauses_holds_up_nobody(network, flood, data):
    port = flood(data)
    longest = 0.0

    async def watch():
        nonlocal longest
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.001)
            longest = max(longest, time.monotonic() - began)

    watcher = asyncio.create_task(watch())
    began = time.monotonic()
    measurement = await probe(network, f"ws://127.0.0.1:{port}/", timeout_s=0.3, query_response=[Step(expect="x")])
    took = time.monotonic() - began
    watcher.cancel()

    assert outcome(measurement) in ("timeout", "body")
    assert took < 0.5
    assert longest < 0.1


async def test_nothing_leaks_whatever_happens(network):
    def files():
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir()))

    async with serve(upgrading()) as mute, serve(upgrading(passing)) as good, serve(http(answer())) as other:

        async def all_of_them():
            await asyncio.gather(
                probe(network, f"ws://127.0.0.1:{good}/", query_response=STEPS),
                probe(network, f"ws://127.0.0.1:{good}/"),
                probe(network, f"ws://127.0.0.1:{mute}/", timeout_s=0.05, query_response=STEPS),
                probe(network, f"ws://127.0.0.1:{other}/", query_response=STEPS),
            )
            cancelled = asyncio.create_task(probe(network, f"ws://127.0.0.1:{mute}/", query_response=STEPS))
            await asyncio.sleep(0.03)
            cancelled.cancel()
            await asyncio.gather(cancelled, return_exceptions=True)

        await all_of_them()
        await asyncio.sleep(0.1)
        open_files, tasks = files(), len(asyncio.all_tasks())
        for _ in range(5):
            await all_of_them()
        await asyncio.sleep(0.1)

        assert files() <= open_files + 2
        assert len(asyncio.all_tasks()) <= tasks + 2


async def test_a_network_that_closes_ends_the_talk():
    async with serve(upgrading()) as port:
        async with Network(clock=SystemClock()) as network:
            task = asyncio.create_task(probe(network, f"ws://127.0.0.1:{port}/", query_response=STEPS))
            await asyncio.sleep(0.05)
        ended, _ = await asyncio.wait([task], timeout=0.5)

    assert {task} == ended


async def test_many_at_once_each_hear_their_own(network):
    async def echo(reader, writer):
        writer.write(frame(TEXT, (await read_frame(reader))[1]))

    async with serve(upgrading(echo)) as port:
        runs = await asyncio.gather(
            *(
                probe(
                    network,
                    f"ws://127.0.0.1:{port}/",
                    timeout_s=5,
                    query_response=[Step(send=f"number {number}"), Step(expect=f"^number {number}$")],
                )
                for number in range(50)
            )
        )

    assert {"ok"} == {outcome(run) for run in runs}


async def test_a_read_that_never_ends_is_cut(network):
    """As TLS may, which skips records that say nothing: whoever reads on the loop is freed by the watchman."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        began = time.monotonic()
        got = network.transfer._multi(None).talk(ours.fileno(), ours.recv, 1)

    assert b"" == got
    assert time.monotonic() - began < 4


async def test_a_secret_that_was_expected_is_not_told(network):
    async with serve(upgrading(saying(frame(TEXT, b"a")))) as port:
        wrong = await probe(network, f"ws://127.0.0.1:{port}/", query_response=[Step(expect=Secret("hidden"))])
        steps = [Step(expect="a"), Step(expect=Secret("hidden"))]
        missing = await probe(network, f"ws://127.0.0.1:{port}/", query_response=steps, timeout_s=0.1)

    assert 'step 1: message does not match <secret>: "a"' == wrong.failure.message
    assert "step 2: time is over, no message came to match <secret>" == missing.failure.message


async def test_debug_tells_the_talk_and_no_secret(network):
    http_config = HttpConfig(bearer_token="t0ken", headers={"X-Key": "k3y"})
    async with serve(upgrading(passing)) as port:
        measurement = await probe(
            network, f"ws://127.0.0.1:{port}/", query_response=STEPS, http_config=http_config, debug=True
        )

    told = "\n".join(measurement.lines)
    assert 'received step=1 message="incoming_test" matches=True' in told
    assert "101 Switching Protocols" in told
    assert "t0ken" not in told
    assert "k3y" not in told


# ---------------------------------------------------------------- TLS


async def test_wss_shows_the_certificate(network, authority):
    trusting = HttpConfig(tls_config=TlsConfig(ca_file=authority.file))
    async with serve(upgrading(passing), tls=authority.context("localhost")) as port:
        measurement = await probe(network, f"wss://localhost:{port}/", query_response=STEPS, http_config=trusting)

    assert "ok" == outcome(measurement), measurement.failure
    assert 4_102_444_800 == measurement.facts["probe_ssl_earliest_cert_expiry"]
    assert 1 == measurement.facts['probe_tls_version_info{version="TLS 1.3"}']
    assert any(name.startswith("probe_ssl_last_chain_info") for name in measurement.facts)
    assert measurement.phases["tls"] > 0
    assert measurement.facts['probe_websocket_duration_seconds{phase="connect"}'] > measurement.phases["tls"]


@pytest.mark.parametrize(
    ("issued", "reason"),
    [
        ({"names": ["localhost"], "until": LONG_AGO}, "tls_expired"),
        ({"names": ["chat.example"]}, "tls_name_mismatch"),
        ({"names": ["localhost"]}, "tls_untrusted"),
    ],
)
async def test_a_bad_certificate_is_told_and_shown(network, authority, tmp_path, issued, reason):
    roots = Authority(tmp_path).file if reason == "tls_untrusted" else authority.file
    config = HttpConfig(tls_config=TlsConfig(ca_file=roots))
    async with serve(upgrading(), tls=authority.context(*issued["names"], until=issued.get("until"))) as port:
        measurement = await probe(network, f"wss://localhost:{port}/", http_config=config)

    assert (reason, "tls") == (measurement.failure.reason, measurement.failure.phase)
    assert "probe_ssl_earliest_cert_expiry" in measurement.facts
    assert 0 == fact(measurement, "status_code")


# ---------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("127.0.0.1:80", "expected a ws or wss URL"),
        ("http://127.0.0.1/", "expected a ws or wss URL"),
        ("ws:///path", "no host"),
        ("ws://127.0.0.1:0/", "port 0"),
        ("ws://user:hunter22@127.0.0.1/", "basic_auth"),
    ],
)
async def test_an_address_that_is_none_fails_in_words(network, address, words):
    measurement = await probe(network, address)

    assert "unreachable" == outcome(measurement)
    assert words in measurement.failure.message
    assert measurement.failure.message == check_target(address, websocket.Config())


async def test_a_hostname_that_is_none_fails_in_words(network):
    measurement = await probe(network, "ws://127.0.0.1:1/", hostname="a/b")

    assert "unreachable" == outcome(measurement)
    assert 'no host can be named as in "a/b"' == measurement.failure.message


def test_a_scheme_may_be_in_capitals_and_a_port_may_be_left_out():
    assert check_target("WSS://chat.example", websocket.Config()) is None


@pytest.mark.parametrize(
    ("config", "path"),
    [
        (websocket.Config(query_response=[Step(expect="(")]), "query_response[0].expect"),
        (websocket.Config(query_response=[Step()]), "query_response[0]"),
        (websocket.Config(http_config=HttpConfig(headers={"X": ["a", "a\nb"]})), "http_config.headers.X"),
        (websocket.Config(http_config=HttpConfig(headers={"X Y": "a"})), "http_config.headers.X Y"),
        (websocket.Config(http_config=HttpConfig(bearer_token="a\r\nb")), "http_config.bearer_token"),
        (websocket.Config(http_config=HttpConfig(headers={"Upgrade": "h2c"})), "http_config.headers.Upgrade"),
        (websocket.Config(http_config=HttpConfig(headers={"Sec-WebSocket-Key": "a"})), "http_config.headers.Sec-WebSocket-Key"),
        (websocket.Config(http_config=HttpConfig(basic_auth=BasicAuth(username="u"), bearer_token="t")), "http_config.basic_auth"),
        (websocket.Config(http_config=HttpConfig(tls_config=TlsConfig(ca_file="/nowhere"))), "http_config.tls_config.ca_file"),
    ],
)  # fmt: skip
def test_mistakes_are_named(config, path):
    assert [path] == [found for found, _ in check(config)]


def test_modules_of_blackbox_exporter_load(tmp_path):
    """The examples of its CONFIGURATION.md."""
    file = tmp_path / "blackbox.yml"
    file.write_text(r"""
modules:
  websocket_basic_auth:
    prober: websocket
    timeout: 5s
    websocket:
      http_config:
        basic_auth: {username: "user", password: "password"}
        headers: {X-Custom-Header: "value", X-Many: [a, b]}
        tls_config: {insecure_skip_verify: true}
      query_response:
        - expect: "^Hello, (.+)$"
          send: "Hello server, I am ${1}"
  websocket_bearer_token:
    prober: websocket
    websocket:
      http_config: {bearer_token: "secret_token"}
      query_response: [{expect: "^Welcome"}, {send: "PING"}, {expect: "^PONG"}]
""")

    modules = load([file]).modules
    basic = modules["websocket_basic_auth"].config

    assert {"X-Custom-Header": "value", "X-Many": ["a", "b"]} == basic.http_config.headers
    assert Step(expect="^Hello, (.+)$", send="Hello server, I am ${1}") == basic.query_response[0]
    assert ["", "PING", ""] == [step.send for step in modules["websocket_bearer_token"].config.query_response]
