"""Every kind of probe against every fault: it ends by its deadline with the right reason, and leaves nothing behind."""

import asyncio
import contextlib
import resource
import ssl
import time
import zlib
from pathlib import Path

import brotli
import pytest
from database_words import MY_COLUMN, MY_OK, PG_COLUMN, PG_READY, PG_ROW, greeting, my, pg, saying
from dns_server import answering, name_server
from faults import (
    behind,
    broken_off,
    counted,
    delayed,
    dripping,
    flipped,
    flood,
    half_closed,
    noise,
    stuck,
    torn,
    untouched,
)
from grpc_frames import GOOD, HEAD, OK_TRAILER, data, speaking
from servers import LONG_AGO, Authority, answer, endless, endless_header, garbage, http, redirecting, reset, serve
from websocket_server import passing, upgrading

from perfmon import kinds, measure
from perfmon.clock import SystemClock
from perfmon.model import Module, Target
from perfmon.network.query_response import QueryResponse
from perfmon.network.tls import TlsConfig
from perfmon.probes.websocket import HttpConfig, Step

TIMEOUT_S = 0.3
GRACE_S = 0.25  # of a machine that runs ten probes and ten servers in one loop
LARGEST_KIB = 16_000

ANY = TlsConfig(insecure_skip_verify=True)


async def mail(reader, writer):
    writer.write(b"220 mail.example ready\r\n")
    await reader.readuntil(b"\r\n")
    writer.write(b"250-mail.example\r\n250 fine\r\n")
    await reader.read()


async def held(reader, writer):
    await reader.read()


GREET = [QueryResponse(expect="^220 ", send="EHLO perfmon\r\n"), QueryResponse(expect="^250 ")]
PG_ROWS = PG_COLUMN + PG_ROW + pg(b"C", b"SELECT 1\0") + pg(b"Z", b"I")
MY_ROWS = MY_COLUMN + my(4, b"\1" + b"1") + my(5, b"\xfe\0\0\2\0")

# Kind of server: how it is well, whether it speaks TLS, the probe that is happy with it, and that probe's config.
SERVERS = {
    "http": (http(answer(b"x" * 3000)), False, "http", "http://127.0.0.1:{}/", {}),
    "https": (http(answer(b"x" * 3000)), True, "http", "https://127.0.0.1:{}/", {"tls_config": ANY}),
    "tcp": (mail, False, "tcp", "127.0.0.1:{}", {"query_response": GREET}),
    "tls": (held, True, "tls", "127.0.0.1:{}", {"tls_config": ANY}),
    "dns": (None, False, "dns", "127.0.0.1:{}", {"query_name": "a.test", "transport_protocol": "tcp"}),
    "grpc": (speaking(HEAD, data(GOOD), OK_TRAILER), False, "grpc", "127.0.0.1:{}", {}),
    "websocket": (
        upgrading(passing),
        False,
        "websocket",
        "ws://127.0.0.1:{}/",
        {"query_response": [Step(expect="incoming_(.+)", send="outgoing_${1}"), Step(expect="^passed")]},
    ),
    "postgres": (
        saying(b"", PG_READY, PG_ROWS),
        False,
        "postgres",
        "127.0.0.1:{}",
        {"username": "u", "query": "SELECT 1", "expect": "1"},
    ),
    "mysql": (
        saying(greeting(), my(2, MY_OK), my(1, MY_OK), MY_ROWS),
        False,
        "mysql",
        "127.0.0.1:{}",
        {"username": "u", "query": "SELECT 1", "expect": "1"},
    ),
    "redis": (saying(b"", b"$4\r\nyes!\r\n"), False, "redis", "127.0.0.1:{}", {"query": "GET x", "expect": "yes!"}),
}


@contextlib.asynccontextmanager
async def well(kind, authority):
    """The port of a server of that kind with which nothing is wrong."""
    handler, with_tls, *_ = SERVERS[kind]
    if kind == "dns":
        async with name_server(None, answering("a.test. 60 IN A 192.0.2.1")) as (address, _):
            yield int(address.partition(":")[2])
        return
    async with serve(handler, tls=authority.context("localhost") if with_tls else None) as port:
        yield port


async def probe(network, name, address, settings):
    """One run, which ends by its deadline whatever happens."""
    config = kinds.load("probes", name).Config(**settings)
    module = Module(name=name, kind=name, timeout_s=TIMEOUT_S, config=config)
    began = time.monotonic()
    measurement = await measure.probe(
        Target(probe="test", address=address), module, clock=SystemClock(), network=network
    )
    assert time.monotonic() - began < TIMEOUT_S + GRACE_S, measurement.failure
    return measurement


async def through(fault, kind, network, authority):
    """What a probe of that kind says with a fault in between."""
    _, _, name, address, settings = SERVERS[kind]
    async with well(kind, authority) as port, behind(port, fault) as proxy:
        return told(await probe(network, name, address.format(proxy), settings))


def told(measurement):
    """`reason phase`, or `ok`."""
    failure = measurement.failure
    return "ok" if failure is None else f"{failure.reason} {failure.phase}"


def differing(expected, found):
    """The cells that are not as expected; one that may go either way has both, divided by a bar."""
    return {kind: found[kind] for kind, cell in expected.items() if found[kind] not in cell.split(" | ")}


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


@contextlib.asynccontextmanager
async def leaving_nothing_behind():
    """Neither memory nor descriptors nor tasks."""
    files, tasks = open_files(), len(asyncio.all_tasks())
    memory_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    await asyncio.sleep(0.05)  # the servers' ends of connections that were just cut
    assert [files, tasks] == [open_files(), len(asyncio.all_tasks())]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory_kib < LARGEST_KIB


# ---------------------------------------------------------------- what a server says does not come as it was said


def every(usual, **others):
    """What each kind says: the usual, but for some."""
    return dict.fromkeys(SERVERS, usual) | others


def databases(said):
    return {"postgres": said, "mysql": said}


HANDSHAKES = {"https": "tls_handshake tls", "tls": "tls_handshake tls"}
NO_SUCH_PROTOCOL = every("header processing", **HANDSHAKES, **databases("header request"), redis="header transfer")

# The fault, of as many bytes as the server says when all is well, and what it leads to.
# A dialogue of `tcp` is judged by its lines: when they end, none of them matched.
# A server of gRPC that leaves in the middle is still being spoken to: whether its end or the reset comes first is chance.
ON_THE_WAY = {
    "none": (lambda size: untouched, every("ok")),
    "slow": (lambda size: delayed(0.02), every("ok")),
    "late": (
        lambda size: delayed(1),
        every("timeout processing", https="timeout tls", tls="timeout tls", **databases("timeout request")),
    ),
    "silent": (
        lambda size: stuck(0),
        every("timeout processing", https="timeout tls", tls="timeout tls", **databases("timeout request")),
    ),
    "stuck in the middle": (
        lambda size: stuck(size // 2),
        every(
            "timeout transfer",
            https="timeout processing",
            tcp="timeout processing",
            tls="timeout tls",
            dns="timeout processing",
            mysql="timeout request",
        ),
    ),
    "drip": (
        lambda size: dripping(0.05),
        every(
            "timeout processing",
            https="timeout tls",
            tls="timeout tls",
            **databases("timeout request"),
            redis="timeout transfer",
        ),
    ),
    "closed at once": (
        lambda size: torn(0),
        every(
            "closed processing",
            **HANDSHAKES,
            **databases("closed request"),
            grpc="closed processing | reset processing",
        ),
    ),
    "closed in the middle": (
        lambda size: torn(size // 2),
        every(
            "short_body transfer",
            https="closed processing",
            tcp="body processing",
            tls="tls_handshake tls",
            dns="short_body processing",
            grpc="closed transfer | reset transfer",
            postgres="closed transfer",
            mysql="closed request",
            redis="closed transfer",
        ),
    ),
    "half closed in the middle": (
        lambda size: half_closed(size // 2),
        every(
            "short_body transfer",
            https="closed processing",
            tcp="body processing",
            tls="tls_handshake tls",
            dns="short_body processing",
            grpc="closed transfer | reset transfer",
            postgres="closed transfer",
            mysql="closed request",
            redis="closed transfer",
        ),
    ),
    "all but the last byte": (  # of a line's end, or of a good-bye of TLS, none is missed
        lambda size: torn(size - 1),
        every(
            "closed transfer",
            http="short_body transfer",
            https="ok",
            tcp="ok",
            tls="ok | tls_handshake tls",
            dns="short_body processing",
            grpc="short_body transfer | closed transfer | reset transfer",
        ),
    ),
    "reset at once": (
        lambda size: broken_off(0),
        every("reset processing", https="reset tls", tls="reset tls", **databases("reset request")),
    ),
    "reset in the middle": (
        lambda size: broken_off(size // 2),
        every(
            "reset transfer",
            https="reset processing",
            tcp="reset processing",
            tls="reset tls",
            dns="reset processing",
            mysql="reset request",
        ),
    ),
    "noise": (  # which to DNS and gRPC begins with the length of something longer
        lambda size: noise,
        NO_SUCH_PROTOCOL | {"tcp": "timeout processing", "dns": "timeout processing", "grpc": "timeout processing"},
    ),
    "flood of letters": (
        lambda size: flood(b"~"),
        NO_SUCH_PROTOCOL | {"tcp": "too_large processing", "dns": "timeout processing"},
    ),
    "flood of lines": (
        lambda size: flood(b"a\r\n"),
        NO_SUCH_PROTOCOL | {"tcp": "timeout processing", "dns": "timeout processing"},
    ),
    "flood of zeros": (
        lambda size: flood(b"\0"),
        NO_SUCH_PROTOCOL | {"tcp": "too_large processing", "dns": "short_body processing"},
    ),
}


@pytest.fixture
async def sizes(network, authority):
    """How many bytes each kind of server says when all is well. All that is made once is made here."""
    said = {kind: [] for kind in SERVERS}
    found = await gathered({kind: through(counted(said[kind]), kind, network, authority) for kind in SERVERS})
    assert every("ok") == found
    await asyncio.sleep(0.05)
    return {kind: size for kind, (size,) in said.items()}


async def gathered(runs):
    return dict(zip(runs, await asyncio.gather(*runs.values()), strict=True))


@pytest.mark.parametrize("fault", ON_THE_WAY)
async def test_a_fault_on_the_way_is_told_by_every_kind_in_time(network, authority, sizes, fault):
    make, expected = ON_THE_WAY[fault]
    async with leaving_nothing_behind():
        found = await gathered({kind: through(make(size), kind, network, authority) for kind, size in sizes.items()})

    assert {} == differing(expected, found)


@pytest.mark.parametrize("kind", SERVERS)
async def test_a_flipped_bit_wherever_it_is_is_no_defect_of_ours(network, authority, sizes, kind):
    places = [round(share / 24 * (sizes[kind] - 1)) for share in range(25)]
    runs = (through(flipped(at, bit=number % 8), kind, network, authority) for number, at in enumerate(places))
    found = await asyncio.gather(*runs)

    assert [] == [told for told in found if told.startswith("internal")]


# ---------------------------------------------------------------- TLS goes wrong

TLS_PROBES = {
    "http": ("https://localhost:{}/", {}),
    "tcp": ("localhost:{}", {"tls": True, "query_response": GREET}),
    "tls": ("localhost:{}", {}),
    "dns": ("localhost:{}", {"query_name": "a.test", "transport_protocol": "tcp", "dns_over_tls": True}),
    "grpc": ("localhost:{}", {"tls": True}),
    "websocket": ("wss://localhost:{}/", {}),
    "postgres": ("localhost:{}", {"username": "u", "tls": True}),
    "mysql": ("localhost:{}", {"username": "u", "tls": True}),
    "redis": ("localhost:{}", {"tls": True}),
}


def until_tls(kind):
    """What a server of that kind says before both sides go over to TLS."""

    async def talk(reader, writer):
        if kind == "postgres":
            await reader.readexactly(8)
            writer.write(b"S")
        elif kind == "mysql":
            writer.write(greeting(capabilities=0xFFFE))
            await reader.readexactly(36)

    return talk


def answering_with(said=None, then=None):
    """Hear something, say something, and leave in some way or stay."""

    async def handle(reader, writer):
        await reader.read(65_536)
        writer.write(said or b"")
        await writer.drain()
        if then is None:
            await asyncio.Event().wait()
        then(writer)

    return handle


def leaving_by(leave):
    async def handle(_reader, writer):
        leave(writer)

    return handle


def close(writer):
    writer.close()


def all_kinds(usual, **others):
    return dict.fromkeys(TLS_PROBES, usual) | others


# What the server does in place of TLS, and what that leads to.
NO_TLS = {
    "silent": (answering_with(), all_kinds("timeout tls")),
    "closes": (answering_with(then=close), all_kinds("tls_handshake tls")),
    "resets": (answering_with(then=reset), all_kinds("reset tls")),
    "speaks plain text": (answering_with(b"HTTP/1.1 400 Bad Request\r\n\r\n"), all_kinds("tls_handshake tls")),
    "speaks nothing at all": (answering_with(bytes(range(251, 3, -7))), all_kinds("tls_handshake tls")),
    "sends an alert": (answering_with(b"\x15\x03\x03\0\2\2\x28"), all_kinds("tls_handshake tls")),
}


@pytest.mark.parametrize("fault", NO_TLS)
async def test_a_server_that_shakes_no_hands_is_told_by_every_kind_in_time(network, authority, fault):
    handler, expected = NO_TLS[fault]
    found = await gathered({kind: over_tls(kind, network, authority, serve(handler)) for kind in TLS_PROBES})

    assert {} == differing(expected, {kind: told(measurement) for kind, measurement in found.items()})


# What the server does once hands are shaken, and what that leads to; the tls probe has all it wanted by then.
SHAKEN = all_kinds("closed processing", tls="ok", **databases("closed request"))
AFTER_TLS = {
    "closes": (leaving_by(close), SHAKEN),
    "resets": (
        leaving_by(reset),
        all_kinds("reset processing", tls="ok | reset tls", **databases("reset request")),
    ),
    "silent": (held, all_kinds("timeout processing", tls="ok", **databases("timeout request"))),
}


@pytest.mark.parametrize("fault", AFTER_TLS)
async def test_a_server_that_shakes_hands_and_no_more_is_told_by_every_kind_in_time(network, authority, fault):
    handler, expected = AFTER_TLS[fault]
    context = authority.context("localhost")
    found = await gathered(
        {kind: over_tls(kind, network, authority, serve(handler, tls=context)) for kind in TLS_PROBES}
    )

    assert {} == differing(expected, {kind: told(measurement) for kind, measurement in found.items()})
    assert all("probe_ssl_earliest_cert_expiry" in measurement.facts for measurement in found.values())


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """An authority that signed nothing here."""
    return Authority(tmp_path_factory.mktemp("stranger"))


@pytest.mark.parametrize(
    ("reason", "certificate"),
    [
        ("tls_expired", ("localhost", LONG_AGO)),
        ("tls_name_mismatch", ("other.example", None)),
        ("tls_untrusted", ("localhost", None)),
    ],
)
async def test_a_bad_certificate_is_told_and_shown_by_every_kind(network, authority, stranger, reason, certificate):
    name, until = certificate
    context = authority.context(name, until=until)
    trusted = stranger if reason == "tls_untrusted" else authority
    found = await gathered({kind: over_tls(kind, network, trusted, serve(held, tls=context)) for kind in TLS_PROBES})

    assert all_kinds(f"{reason} tls") == {kind: told(measurement) for kind, measurement in found.items()}
    assert all("probe_ssl_earliest_cert_expiry" in measurement.facts for measurement in found.values())


async def test_a_version_that_is_too_old_is_told_by_every_kind(network, authority):
    context = authority.context("localhost")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    found = await gathered(
        {kind: over_tls(kind, network, authority, serve(held, tls=context), "TLS13") for kind in TLS_PROBES}
    )

    assert all_kinds("tls_handshake tls") == {kind: told(measurement) for kind, measurement in found.items()}


async def over_tls(kind, network, trusted, server, min_version=""):
    """A run that verifies, against a server that is reached after what its kind says before TLS."""
    address, settings = TLS_PROBES[kind]
    tls = TlsConfig(ca_file=trusted.file, min_version=min_version)
    where = {"http_config": HttpConfig(tls_config=tls)} if kind == "websocket" else {"tls_config": tls}
    async with server as port, behind(port, untouched, before=until_tls(kind)) as proxy:
        return await probe(network, kind, address.format(proxy), settings | where)


# ---------------------------------------------------------------- HTTP goes wrong

HEAD_200 = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD_200 + b"Transfer-Encoding: chunked\r\n\r\n"


def bomb():
    """200 MiB of zeros, in a kilobyte each."""
    packer = zlib.compressobj(wbits=31)
    first, again = (packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + 199 * again


def repeating(first, again):
    async def handle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(first)
        while True:
            writer.write(again)
            await writer.drain()

    return handle


HTTP_FAULTS = {
    "endless body": (endless, {}, "timeout transfer"),
    "endless body with a limit": (endless, {"body_size_limit": 1000.0}, "too_large transfer"),
    "endless header": (endless_header, {}, "too_large transfer"),
    "endless header line": (repeating(HEAD_200 + b"X: ", b"x" * 65_536), {}, "too_large transfer"),
    "endless early hints": (
        repeating(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000),
        {},
        "too_large transfer | timeout transfer",
    ),
    "endless chunk extension": (repeating(CHUNKED + b"5;", b"x" * 65_536), {}, "body transfer | timeout transfer"),
    "endless trailer": (repeating(CHUNKED + b"0\r\n", b"X: y\r\n" * 1000), {}, "too_large transfer | timeout transfer"),
    "shorter than its length": (http(answer(b"short", length=500)), {}, "short_body transfer"),
    "length no number": (http(HEAD_200 + b"Content-Length: x\r\n\r\n"), {}, "header transfer"),
    "length below zero": (http(HEAD_200 + b"Content-Length: -5\r\n\r\nhello"), {}, "header transfer"),
    "chunk cut": (http(CHUNKED + b"5\r\nhel"), {}, "short_body transfer"),
    "chunk without a size": (http(CHUNKED + b"\r\nhello\r\n"), {}, "body transfer"),
    "chunk of a huge size": (http(CHUNKED + b"ffffffffffffffffff\r\nhello"), {}, "body transfer"),
    "chunk longer than its size": (http(CHUNKED + b"2\r\nhello\r\n0\r\n\r\n"), {}, "body transfer"),
    "last chunk missing": (http(CHUNKED + b"5\r\nhello\r\n"), {}, "short_body transfer"),
    "garbage": (garbage, {}, "header processing"),
    "garbage for headers": (http(HEAD_200 + bytes(range(14, 256)) + b"\r\n\r\n"), {}, "header transfer | ok"),
    "NUL in a header": (http(HEAD_200 + b"X: a\0b\r\nContent-Length: 0\r\n\r\n"), {}, "header transfer"),
    "redirect loop": (http(redirecting(None)), {}, "status processing"),
    "redirect to itself": (http(answer(b"", status=302, headers={"Location": "/"})), {}, "status processing"),
    "gzip bomb": (
        http(answer(bomb(), headers={"Content-Encoding": "gzip"})),
        {"compression": "gzip"},
        "too_large transfer",
    ),
    "gzip cut": (
        http(answer(zlib.compress(b"hello" * 100, wbits=31)[:20], headers={"Content-Encoding": "gzip"})),
        {"compression": "gzip"},
        "short_body transfer",
    ),
    "brotli cut": (
        http(answer(brotli.compress(b"hello" * 100)[:-3], headers={"Content-Encoding": "br"})),
        {"compression": "br"},
        "short_body transfer",
    ),
    "gzip with a wrong sum": (
        http(answer(zlib.compress(b"hello" * 100, wbits=31)[:-6] + b"wrong!", headers={"Content-Encoding": "gzip"})),
        {"compression": "gzip"},
        "body transfer",
    ),
    "gzip with more behind it": (
        http(answer(zlib.compress(b"hello", wbits=31) + b"more", headers={"Content-Encoding": "gzip"})),
        {"compression": "gzip"},
        "body transfer",
    ),
    "deflate cut": (
        http(answer(zlib.compress(b"hello" * 100)[:10], headers={"Content-Encoding": "deflate"})),
        {"compression": "deflate"},
        "short_body transfer",
    ),
    "gzip that is none": (http(answer(headers={"Content-Encoding": "gzip"})), {"compression": "gzip"}, "body transfer"),
}


@pytest.mark.parametrize("fault", HTTP_FAULTS)
async def test_a_fault_of_http_is_told_in_time(network, fault):
    handler, settings, expected = HTTP_FAULTS[fault]
    async with serve(http(answer())) as port:
        await probe(network, "http", f"http://127.0.0.1:{port}/", {})
    await asyncio.sleep(0.02)
    async with leaving_nothing_behind(), serve(handler) as port:
        measurement = await probe(network, "http", f"http://127.0.0.1:{port}/", settings)

    assert told(measurement) in expected.split(" | ")
