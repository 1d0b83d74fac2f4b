"""The grpc probe against grpcio's server, and against answers that no sane server gives. Names like g01 are rows of
blackbox_exporter's and Uptime Kuma's own tests, restated."""

import asyncio
import contextlib
import ssl
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from google.protobuf.message import DecodeError
from grpc_frames import GOOD, HEAD, OK_TRAILER, data, frame, headers, speaking
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from hypothesis import given
from hypothesis import strategies as st
from probing import outcome
from servers import LONG_AGO, Authority, answer, closing, http, name_server, serve, silent, unused_port

from perfmon import measure
from perfmon.clock import SystemClock
from perfmon.config import load
from perfmon.model import Module, Target
from perfmon.network.resolve import Resolver
from perfmon.network.tls import TlsConfig
from perfmon.probes.grpc import Config, check, check_target, read_status, unframed
from perfmon.probes.grpc import _service_field as service_field
from perfmon.probes.grpc import probe as probe_once
from perfmon.secret import Secret
from perfmon.steps import Demand
from perfmon.trace import Trace

TRUST_ANYTHING = TlsConfig(insecure_skip_verify=True)
STATUSES = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"]


async def probe(network, address, *, timeout_s=1.0, hostname="", debug=False, **config):
    module = Module(name="grpc", kind="grpc", timeout_s=timeout_s, config=Config(**config))
    target = Target(probe="test", address=address, hostname=hostname)
    return await measure.probe(target, module, clock=SystemClock(), network=network, debug=debug)


def code(measurement):
    return measurement.facts["probe_grpc_status_code"]


def serving(measurement):
    """The health told, "" for none; exactly four gauges there must be."""
    told = {name: value for name, value in measurement.facts.items() if "healthcheck_response" in name}
    assert [f'probe_grpc_healthcheck_response{{serving_status="{status}"}}' for status in STATUSES] == list(told)
    return "".join(status for status, value in zip(STATUSES, told.values(), strict=True) if value == 1)


# ---------------------------------------------------------------- a real server


class Seen(grpc.ServerInterceptor):
    """Keeps the metadata of each call."""

    def __init__(self):
        self.calls = []

    def intercept_service(self, continuation, details):
        self.calls.append(details.invocation_metadata)
        return continuation(details)


@contextlib.contextmanager
def server(*addresses, services=None, seen=None, tls=None, with_health=True):
    """A server of grpcio's; gives its ports. `test.Echo/Say` answers what it was sent, `/Fail` fails."""
    with ThreadPoolExecutor(4) as threads:
        running = grpc.server(threads, interceptors=[seen] if seen else [])
        if with_health:
            servicer = health.HealthServicer()
            for service, status in (services or {}).items():
                servicer.set(service, status)
            health_pb2_grpc.add_HealthServicer_to_server(servicer, running)
        methods = {
            "Say": grpc.unary_unary_rpc_method_handler(lambda request, _: request),
            "Fail": grpc.unary_unary_rpc_method_handler(
                lambda request, context: context.abort(_code(request), "größe")
            ),
        }
        running.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", methods),))
        ports = [
            running.add_secure_port(address, tls) if tls else running.add_insecure_port(address)
            for address in addresses or ("127.0.0.1:0",)
        ]
        running.start()
        try:
            yield ports[0] if len(ports) == 1 else ports
        finally:
            running.stop(0).wait()


def credentials(authority, *names, until=None):
    leaf = authority.issue(*names, until=until)
    chain = b"".join(pem.bytes() for pem in leaf.cert_chain_pems)
    return grpc.ssl_server_credentials([(leaf.private_key_pem.bytes(), chain)])


SERVICES = {
    "shop": health_pb2.HealthCheckResponse.SERVING,
    "cart": health_pb2.HealthCheckResponse.NOT_SERVING,
    "odd": health_pb2.HealthCheckResponse.UNKNOWN,
    "s" * 300: health_pb2.HealthCheckResponse.SERVING,
}


@pytest.fixture(scope="module")
def port():
    with server(services=SERVICES) as port:
        yield port


@pytest.mark.parametrize("service", ["", "shop", "s" * 300])
async def test_g01_serving_is_fine(network, port, service):
    measurement = await probe(network, f"localhost:{port}", service=service)

    assert "ok" == outcome(measurement), measurement.failure
    assert (0, 0) == (code(measurement), measurement.facts["probe_grpc_ssl"])
    assert "SERVING" == serving(measurement)
    assert ["resolve", "connect", "request", "processing", "transfer"] == list(measurement.phases)
    assert sum(measurement.phases.values()) == measurement.duration_s
    told = [measurement.facts[f'probe_grpc_duration_seconds{{phase="{phase}"}}'] for phase in ("resolve", "check")]
    assert measurement.duration_s == pytest.approx(sum(told))


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ("cart", [("status of gRPC", "0 OK", True), ("health", "NOT_SERVING", False)]),
        ("gone", [("status of gRPC", "status 5 NOT_FOUND", False)]),
    ],
)
async def test_what_is_demanded_is_explained(network, port, service, expected):
    module = Module(name="grpc", kind="grpc", timeout_s=2.0, config=Config(service=service))
    target = Target(probe="test", address=f"localhost:{port}")
    run = await measure.probe(target, module, clock=SystemClock(), network=network, debug=True)

    assert expected == [(one.name, one.got, one.met) for one in run.steps if isinstance(one, Demand)]


@pytest.mark.parametrize(
    ("service", "expected", "words"),
    [
        ("cart", (0, "NOT_SERVING"), 'service "cart" is NOT_SERVING, expected SERVING'),
        ("odd", (0, "UNKNOWN"), 'service "odd" is UNKNOWN, expected SERVING'),
        ("gone", (5, ""), "status 5 NOT_FOUND"),
    ],
)
async def test_g01_any_other_health_fails(network, port, service, expected, words):
    measurement = await probe(network, f"127.0.0.1:{port}", service=service)

    assert "status" == outcome(measurement)
    assert expected == (code(measurement), serving(measurement))
    assert words in measurement.failure.message


async def test_g02_the_server_receives_all_metadata(network):
    seen = Seen()
    metadata = {"key1": ["value1", "value2"], "key2-bin": ["tëst"], "Authorization": ["Bearer token"], "empty": [""]}
    with server(seen=seen) as port:
        measurement = await probe(network, f"127.0.0.1:{port}", metadata=metadata)

    assert "ok" == outcome(measurement), measurement.failure
    received = [(key, value) for key, value in seen.calls[0] if not key.startswith("user-agent")]
    expected = {
        "key1": ["value1", "value2"],
        "key2-bin": ["tëst".encode()],
        "authorization": ["Bearer token"],
        "empty": [""],
    }
    assert expected == {name: [value for key, value in received if key == name] for name in expected}


async def test_g04_tls_and_its_version_are_told(network, authority, port):
    """An old terminator before a server: TLS 1.2 is the best it speaks."""
    context = authority.context("localhost")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])

    async def forward(reader, writer):
        there, onward = await asyncio.open_connection("127.0.0.1", port)
        try:
            await asyncio.gather(_copy(reader, onward), _copy(there, writer))
        finally:
            onward.transport.abort()

    async with serve(forward, tls=context) as terminator:
        measurement = await probe(network, f"localhost:{terminator}", tls=True, tls_config=TRUST_ANYTHING)

    assert "ok" == outcome(measurement), measurement.failure
    assert (0, 1) == (code(measurement), measurement.facts["probe_grpc_ssl"])
    assert 1 == measurement.facts['probe_tls_version_info{version="TLS 1.2"}']
    assert "probe_ssl_earliest_cert_expiry" in measurement.facts


async def _copy(reader, writer):
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


async def test_g04_a_server_of_grpcio_with_tls(network, authority):
    with server("localhost:0", tls=credentials(authority, "localhost")) as port:
        measurement = await probe(network, f"localhost:{port}", tls=True, tls_config=TlsConfig(ca_file=authority.file))

    assert "ok" == outcome(measurement), measurement.failure
    assert 1 == measurement.facts["probe_grpc_ssl"]
    assert 4_102_444_800 == measurement.facts["probe_ssl_last_chain_expiry_timestamp_seconds"]
    assert measurement.phases["tls"] > 0


async def test_g05_tls_against_a_server_of_plain_text(network, port):
    measurement = await probe(network, f"127.0.0.1:{port}", tls=True, tls_config=TRUST_ANYTHING)

    assert "tls" == measurement.failure.phase
    assert (14, 0, "") == (code(measurement), measurement.facts["probe_grpc_ssl"], serving(measurement))


async def test_g05_plain_text_against_a_server_with_tls(network, authority):
    with server("localhost:0", tls=credentials(authority, "localhost")) as port:
        measurement = await probe(network, f"localhost:{port}")

    assert outcome(measurement) in ("reset", "closed", "header")
    assert 14 == code(measurement)


async def test_g07_a_server_without_the_health_service(network):
    with server(with_health=False) as port:
        measurement = await probe(network, f"127.0.0.1:{port}")

    assert "status" == outcome(measurement)
    assert (12, "") == (code(measurement), serving(measurement))
    assert measurement.failure.message.startswith("status 12 UNIMPLEMENTED")


async def test_g08_a_failed_connection_tells_no_certificate(network):
    measurement = await probe(network, f"127.0.0.1:{unused_port()}", tls=True)

    assert ("connect_refused", 14) == (outcome(measurement), code(measurement))
    assert [] == [name for name in measurement.facts if name.startswith(("probe_ssl_", "probe_tls_"))]


async def test_g10_an_ipv6_literal_is_dialled(network):
    with server("[::1]:0") as port:
        measurement = await probe(network, f"[::1]:{port}")

    assert "ok" == outcome(measurement), measurement.failure
    assert ("::1", 6) == (measurement.address, measurement.facts["probe_ip_protocol"])


async def test_g10_the_address_that_was_looked_up_is_the_one_that_is_dialled(network):
    """Only the second address of the name has a server: the first was timed, so the first decides."""
    zone = {"two.example": ["127.0.0.2", "127.0.0.3"], "owt.example": ["127.0.0.3", "127.0.0.2"]}
    async with name_server(zone) as (where, _):
        network.resolver = Resolver(clock=SystemClock(), servers=[where])
        with server("127.0.0.3:0") as port:
            second = await probe(network, f"two.example:{port}")
            first = await probe(network, f"owt.example:{port}")

    assert ("connect_refused", "127.0.0.2") == (outcome(second), second.address)
    assert f"connection refused by 127.0.0.2:{port}" == second.failure.message
    assert ("ok", "127.0.0.3") == (outcome(first), first.address)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"fail_if_response_not_matches_regexp": ["keyword"]}, "ok"),
        ({"fail_if_response_not_matches_regexp": ["keyword", "missing"]}, "body"),
        ({"fail_if_response_matches_regexp": ["keyword"]}, "body"),
        ({"fail_if_response_matches_regexp": ["missing"]}, "ok"),
    ],
)
async def test_g11_words_in_the_answer_of_any_method(network, port, rules, expected):
    request = b64encode(b"\x0a\x0ethe keyword so\xff").decode()
    measurement = await probe(network, f"127.0.0.1:{port}", method="/test.Echo/Say", request=request, **rules)

    assert expected == outcome(measurement), measurement.failure
    assert 0 == code(measurement)
    assert [] == [name for name in measurement.facts if "healthcheck" in name]


async def test_g11_words_that_are_a_secret_are_not_told(network, port):
    measurement = await probe(
        network, f"127.0.0.1:{port}", method="/test.Echo/Say", fail_if_response_not_matches_regexp=[Secret("hidden")]
    )

    assert "response does not match <secret>" == measurement.failure.message


async def test_g11_words_that_must_not_be_there_are_no_excuse_for_no_answer(network):
    measurement = await probe(
        network, f"127.0.0.1:{unused_port()}", method="/a.B/C", fail_if_response_matches_regexp=["x"]
    )

    assert "connect_refused" == outcome(measurement)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, "auth"),
        (grpc.StatusCode.PERMISSION_DENIED, "permission"),
        (grpc.StatusCode.INTERNAL, "status"),
    ],
)
async def test_what_the_server_says_is_told(network, port, status, reason):
    number = status.value[0]
    measurement = await probe(
        network, f"127.0.0.1:{port}", method="/test.Echo/Fail", request=b64encode(str(number).encode()).decode()
    )

    assert (reason, number) == (outcome(measurement), code(measurement))
    assert f'status {number} {status.name}: "größe"' == measurement.failure.message


def _code(request):
    return next(status for status in grpc.StatusCode if status.value[0] == int(request))


# ---------------------------------------------------------------- certificates


@pytest.mark.parametrize(
    ("issued", "reason"),
    [
        ({"names": ["localhost"], "until": LONG_AGO}, "tls_expired"),
        ({"names": ["shop.example"]}, "tls_name_mismatch"),
        ({"names": ["localhost"]}, "tls_untrusted"),
    ],
)
async def test_a_bad_certificate_is_told_and_shown(network, authority, tmp_path, issued, reason):
    roots = Authority(tmp_path).file if reason == "tls_untrusted" else authority.file
    tls = credentials(authority, *issued["names"], until=issued.get("until"))
    with server("localhost:0", tls=tls) as port:
        measurement = await probe(network, f"localhost:{port}", tls=True, tls_config=TlsConfig(ca_file=roots))

    assert (reason, "tls", 14) == (measurement.failure.reason, measurement.failure.phase, code(measurement))
    assert "probe_ssl_earliest_cert_expiry" in measurement.facts
    assert 0 == measurement.facts["probe_grpc_ssl"]


# ---------------------------------------------------------------- answers of no sane server


async def test_the_little_server_of_these_tests_is_understood(network):
    async with serve(speaking(HEAD, data(GOOD), OK_TRAILER)) as port:
        measurement = await probe(network, f"127.0.0.1:{port}")

    assert "ok" == outcome(measurement), measurement.failure


@pytest.mark.parametrize(
    ("frames", "expected", "words"),
    [
        pytest.param([HEAD, data(GOOD, end=True)], ("header", 2), "no status of gRPC", id="no-trailers"),
        pytest.param([HEAD, data(GOOD), headers(("grpc-status", "x"), end=True)], ("header", 2), "no status of gRPC", id="no-number"),
        pytest.param([HEAD, data(GOOD), headers(("grpc-status", "99"), end=True)], ("status", 99), "no code of gRPC", id="no-code"),
        pytest.param([headers((":status", "503"), end=True)], ("status", 14), "status 503 of HTTP", id="503"),
        pytest.param([headers((":status", "404"), ("content-type", "text/html")), data(b"<h1>", end=True)], ("status", 12), "status 404", id="404"),
        pytest.param([headers((":status", "401"), end=True)], ("status", 16), "status 401", id="401"),
        pytest.param([headers((":status", "418"), end=True)], ("status", 2), "status 418", id="418"),
        pytest.param([headers((":status", "200"), ("content-type", "text/html")), data(b"<h1>", end=True)], ("header", 2), "text/html", id="html"),
        pytest.param([HEAD, OK_TRAILER], ("body", 13), "0 bytes", id="ok-but-no-message"),
        pytest.param([HEAD, data(b"\1" + GOOD[1:]), OK_TRAILER], ("body", 13), "compressed", id="compressed"),
        pytest.param([HEAD, data(GOOD + b"x"), OK_TRAILER], ("body", 13), "2 B announced, 3 B came", id="too-much"),
        pytest.param([HEAD, data(GOOD[:-1]), OK_TRAILER], ("body", 13), "2 B announced, 1 B came", id="too-little"),
        pytest.param([HEAD, data(GOOD * 2), OK_TRAILER], ("body", 13), "announced", id="two-messages"),
        pytest.param([HEAD, data(b"\0\0\0\0\1\xff"), OK_TRAILER], ("body", 13), "not a health", id="no-protobuf"),
        pytest.param([HEAD, data(b"\0\0\0\0\2\x08\x07"), OK_TRAILER], ("status", 0), "is 7", id="unknown-health"),
        pytest.param([HEAD, data(b"\0\0\0\0\0"), OK_TRAILER], ("status", 0), "is UNKNOWN", id="empty-health"),
        pytest.param([HEAD, frame(3, 0, (8).to_bytes(4))], ("reset", 14), "CANCEL", id="stream-reset"),
        pytest.param([HEAD, data(b"x" * 16_000), data(b"x" * 16_000), data(b"x" * 16_000), data(b"x" * 16_000), data(b"x" * 16_000)], ("too_large", 14), "64 KiB", id="too-large"),
        pytest.param([HEAD, data(GOOD)], ("timeout", 4), " after ", id="no-end"),
        pytest.param([], ("timeout", 4), " after ", id="silent"),
    ],
)  # fmt: skip
async def test_an_answer_that_is_not_whole_is_never_green(network, frames, expected, words):
    async with serve(speaking(*frames)) as port:
        measurement = await probe(network, f"127.0.0.1:{port}", timeout_s=0.3)

    assert expected == (outcome(measurement), code(measurement)), measurement.failure
    assert words in measurement.failure.message
    assert "SERVING" != serving(measurement)


@pytest.mark.parametrize(
    ("handler", "reasons"),
    [
        (closing, ("closed", "reset")),
        (speaking(HEAD, data(GOOD), then_close=True), ("closed", "reset", "short_body")),
        (http(answer()), ("reset", "header")),
        (http(answer(version="1.0", body=b"\0" * 100)), ("reset", "header")),
        (silent, ("timeout",)),
    ],
)
async def test_what_is_no_http_2_is_never_green(network, handler, reasons):
    async with serve(handler) as port:
        began = time.monotonic()
        measurement = await probe(network, f"127.0.0.1:{port}", timeout_s=0.2)

    assert outcome(measurement) in reasons, measurement.failure
    assert time.monotonic() - began < 0.4
    assert code(measurement) in (4, 14)


async def test_a_run_that_is_cut_off_leaves_its_gauges(network):
    clock = SystemClock()
    trace = Trace(clock=clock, deadline=clock.monotonic() + 60, network=network)
    async with serve(silent) as port:
        target = Target(probe="test", address=f"127.0.0.1:{port}")
        run = asyncio.create_task(probe_once(target, Config(), trace))
        await asyncio.sleep(0.05)
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)

    assert run.cancelled()
    assert (4, "") == (code(trace), serving(trace))


@pytest.mark.parametrize("protocols", [[], ["http/1.1"]])
async def test_tls_without_http_2_is_never_green(network, authority, protocols):
    context = authority.context("localhost")
    if protocols:
        context.set_alpn_protocols(protocols)
    async with serve(http(answer()), tls=context) as port:
        measurement = await probe(network, f"localhost:{port}", tls=True, tls_config=TRUST_ANYTHING, timeout_s=0.5)

    assert "ok" != outcome(measurement)
    assert 0 != code(measurement)
    assert "internal" != outcome(measurement), measurement.failure


# ---------------------------------------------------------------- parsers


@given(st.text())
def test_a_request_is_what_protobuf_makes_of_it(service):
    assert health_pb2.HealthCheckRequest(service=service).SerializeToString() == service_field(service)


@given(st.integers(-(1 << 31), (1 << 31) - 1), st.binary(max_size=8), st.integers(2, 15))
def test_a_health_is_read_as_protobuf_wrote_it_whatever_stands_beside(status, other, field):
    written = health_pb2.HealthCheckResponse(status=status).SerializeToString()
    beside = bytes([field << 3 | 2, len(other)]) + other

    assert status == read_status(written) == read_status(beside + written + beside)


@given(st.binary(max_size=40) | st.lists(st.sampled_from([8, 1, 0x80, 0xFF, 0x0A, 0x0D, 0x09, 0x12, 0])).map(bytes))
def test_any_bytes_are_read_as_protobuf_reads_them_or_refused(message):
    """Ours is the stricter one: it refuses groups, which no version 3 of the language can write."""
    try:
        status = read_status(message)
    except ValueError:
        return
    try:
        expected = health_pb2.HealthCheckResponse.FromString(message).status
    except DecodeError:
        pytest.fail(f"protobuf refuses {message!r}")
    assert expected == status


@given(st.binary())
def test_any_bytes_are_a_frame_or_are_refused(body):
    try:
        message = unframed(body)
    except ValueError:
        return
    assert b"\0" + len(message).to_bytes(4) + message == body


@given(st.binary())
def test_a_frame_gives_its_message(message):
    assert message == unframed(b"\0" + len(message).to_bytes(4) + message)


# ---------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("127.0.0.1", "expected host:port"),
        (":1", "no host"),
        ("127.0.0.1:0", "port 0"),
        ("https://127.0.0.1", "expected host:port"),
        ("ftp://127.0.0.1:1", "expected host:port"),
    ],
)
async def test_an_address_that_is_none_fails_in_words(network, address, words):
    measurement = await probe(network, address)

    assert ("unreachable", 14) == (outcome(measurement), code(measurement))
    assert words in measurement.failure.message
    assert measurement.failure.message == check_target(address, Config())


async def test_a_hostname_that_is_none_fails_in_words(network):
    measurement = await probe(network, "127.0.0.1:1", hostname="a/b")

    assert "unreachable" == outcome(measurement)
    assert 'no host can be named as in "a/b"' == measurement.failure.message


async def test_a_url_does_as_well_as_for_blackbox_exporter(network, port):
    assert "ok" == outcome(await probe(network, f"HTTP://127.0.0.1:{port}/"))


@pytest.mark.parametrize(
    ("config", "paths"),
    [
        (Config(metadata={"a b": ["x"]}), ["metadata.a b"]),
        (Config(metadata={"grpc-timeout": ["1S"], "TE": [""]}), ["metadata.grpc-timeout", "metadata.TE"]),
        (Config(metadata={"key": ["ü"], "key-bin": ["ü\n"]}), ["metadata.key"]),
        (Config(metadata={"key": ["a\r\nb"]}), ["metadata.key"]),
        (Config(metadata={"key": [" a"]}), ["metadata.key"]),
        (Config(request="AA=="), ["request"]),
        (Config(fail_if_response_matches_regexp=["("]), ["fail_if_response_matches_regexp", "fail_if_response_matches_regexp[0]"]),
        (Config(method="a.B/C"), ["method"]),
        (Config(method="/a.B/C?d"), ["method"]),
        (Config(method="/a.B/C", service="x", request="%"), ["service", "request"]),
        (Config(tls_config=TlsConfig(ca_file="/nowhere")), ["tls_config.ca_file"]),
        (Config(method="/a.B/C", request="AA==", metadata={"key": ["a", ""], "k-bin": ["ü"]}), []),
    ],
)  # fmt: skip
def test_mistakes_are_named(config, paths):
    assert paths == [path for path, _ in check(config)]


async def test_debug_tells_no_secret(network, port):
    measurement = await probe(network, f"127.0.0.1:{port}", metadata={"authorization": ["Bearer t0ken"]}, debug=True)

    told = "\n".join(measurement.lines)
    assert "content-type: application/grpc" in told
    assert "grpc-status: 0" in told
    assert "t0ken" not in told


def test_a_module_of_blackbox_exporter_loads(tmp_path):
    """The examples of its CONFIGURATION.md and example.yml."""
    file = tmp_path / "blackbox.yml"
    file.write_text("""
modules:
  grpc:
    prober: grpc
    grpc: {tls: true, preferred_ip_protocol: "ip4", metadata: {authorization: ["Bearer x"], k: [a, b]}}
  grpc_plain: {prober: grpc, grpc: {tls: false, service: "service1", ip_protocol_fallback: false}}
""")
    modules = load([file]).modules

    assert {"authorization": ["Bearer x"], "k": ["a", "b"]} == modules["grpc"].config.metadata
    assert "service1" == modules["grpc_plain"].config.service
