"""The probes of databases against servers that misbehave, by raw sockets. Names like q08 are rows of the conformance cases."""

import asyncio
import itertools
import resource
import struct
import time
from hashlib import sha256
from pathlib import Path

import pytest
from database_words import (
    MY_OK,
    PG_READY,
    ROW,
    SALT,
    UNTIL_ROWS,
    greeting,
    my,
    pg,
    saying,
)
from probing import outcome, probe_database
from servers import closing, full_backlog, serve, silent

from perfmon.network.tls import TlsConfig

KINDS = ("postgres", "mysql", "redis")
PASSWORD = "S3cret-probe"
LOGIN = {"username": "probe", "password": PASSWORD}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def run(network):
    async def run(kind, handler, *, timeout_s=0.3, **config):
        async with serve(handler) as port:
            began = time.monotonic()
            measurement = await probe_database(
                kind, network, f"127.0.0.1:{port}", timeout_s=timeout_s, **({"query": "SELECT 1"} | LOGIN | config)
            )
            assert time.monotonic() - began < timeout_s + 0.2
            assert PASSWORD not in repr(measurement.failure)
            return measurement

    return run


async def test_q08_a_server_that_never_speaks(network, kind):
    gone = asyncio.Event()

    async def mute(reader, writer):
        await silent(reader, writer)
        gone.set()

    async with serve(mute) as port, asyncio.timeout(1):
        measurement = await probe_database(kind, network, f"127.0.0.1:{port}", timeout_s=0.3, **LOGIN)
        await gone.wait()

    assert "timeout" == outcome(measurement)
    assert "request" == measurement.failure.phase
    assert 0.25 < measurement.phases["request"] < 0.4
    assert measurement.failure.message.startswith("log-in at 127.0.0.1:")


async def test_nobody_takes_the_connection(network, kind):
    with full_backlog() as port:
        measurement = await probe_database(kind, network, f"127.0.0.1:{port}", timeout_s=0.2, **LOGIN)

    assert ["connect_timeout", "connect"] == [outcome(measurement), measurement.failure.phase]


async def test_a_server_that_closes_at_once(run, kind):
    assert outcome(await run(kind, closing)) in ("closed", "reset")


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n" + b"x" * 200,
        b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n" + b"x" * 200,
        b"\x00" * 400,
        b"\x16\x03\x01\x02\x00\x01" * 100,
    ],
    ids=["http", "ssh", "zeros", "tls"],
)
async def test_a_server_of_another_protocol(run, kind, said):
    """Only to MySQL a row of zeros is something: packets without end that say nothing."""
    measurement = await run(kind, saying(said, then="wait"))

    assert "header" == outcome(measurement)
    assert "does not speak" in measurement.failure.message
    assert "first_bytes" in measurement.failure.evidence


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("postgres", b"R" + struct.pack("!I", 0x7FFFFFFF)),
        ("postgres", b"E" + struct.pack("!I", 0xFFFFFFFF)),
        ("mysql", b"\xff\xff\xff\0" + b"\x0a"),
        ("redis", b"$999999999999\r\n"),
        ("redis", b"+" + b"x" * 200_000),
    ],
)
async def test_a_huge_length_is_not_believed(run, kind, said):
    measurement = await run(kind, saying(said))

    assert outcome(measurement) in ("too_large", "header")
    assert "timeout" != outcome(measurement)


async def test_a_connection_lost_in_the_middle_of_the_answer(run, kind):
    *before, start = UNTIL_ROWS[kind]
    broken = await run(kind, saying(*before, start + ROW[kind] + ROW[kind][:3], then="close"))
    rude = await run(kind, saying(*before, start + ROW[kind], then="reset"))

    assert ["closed", "transfer"] == [outcome(broken), broken.failure.phase]
    assert "in the middle of the answer" in broken.failure.message
    assert ["reset", "transfer"] == [outcome(rude), rude.failure.phase]


async def test_an_answer_without_end_takes_no_memory_and_not_the_loop(run, kind):
    *before, start = UNTIL_ROWS[kind]

    async def handle(reader, writer):
        await saying(*before[:1], *before[1:], start, then="nothing")(reader, _Open(writer))
        chunk = ROW[kind] * 10_000
        while True:
            writer.write(chunk)
            await writer.drain()

    longest = 0.0

    async def beat():
        nonlocal longest
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.001)
            longest = max(longest, time.monotonic() - began)

    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    task = asyncio.create_task(beat())
    measurement = await run(kind, handle, timeout_s=0.5)
    task.cancel()

    assert ["timeout", "transfer"] == [outcome(measurement), measurement.failure.phase]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 8_000
    assert longest < 0.15


class _Open:
    """A writer that `saying` cannot close."""

    def __init__(self, writer):
        self._writer = writer

    def write(self, data):
        self._writer.write(data)

    async def drain(self):
        await self._writer.drain()

    def close(self):
        pass

    async def wait_closed(self):
        pass


async def test_a_byte_at_a_time_for_ever(run, kind):
    endless = {"postgres": pg(b"N", b"x" * 1000), "mysql": b"\x40\0\0\0", "redis": b"+"}[kind]

    async def drip(reader, writer):
        for byte in itertools.cycle(endless):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.01)

    assert "timeout" == outcome(await run(kind, drip))


async def test_no_descriptor_and_no_task_is_left(run, kind):
    def open_files():
        return len(list(Path("/proc/self/fd").iterdir()))

    async def all_of_them():
        await run(kind, silent, timeout_s=0.05)
        await run(kind, closing)
        await run(kind, saying(b"\xff" * 100))
        task = asyncio.create_task(run(kind, silent))
        await asyncio.sleep(0.03)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    await all_of_them()
    await asyncio.sleep(0.05)
    files, tasks = open_files(), len(asyncio.all_tasks())
    for _ in range(4):
        await all_of_them()
    await asyncio.sleep(0.05)

    assert [files, tasks] == [open_files(), len(asyncio.all_tasks())]


# ---------------------------------------------------------------- passwords


@pytest.mark.parametrize(
    ("kind", "parts", "expected"),
    [
        ("postgres", (b"", pg(b"E", f"SFATAL\0C28P01\0Mpassword {PASSWORD} is wrong\0\0".encode())), "auth"),
        ("mysql", (greeting(), my(2, b"\xff\x15\x04#28000" + f"no: {PASSWORD}".encode())), "auth"),
        ("redis", (b"", f"-WRONGPASS {PASSWORD} is wrong\r\n".encode()), "auth"),
    ],
)
async def test_a_server_that_repeats_the_password_is_not_quoted(run, kind, parts, expected):
    measurement = await run(kind, saying(*parts), debug=True)

    assert expected == outcome(measurement)
    assert "<secret>" in measurement.failure.message
    assert PASSWORD not in "".join(measurement.lines)


@pytest.mark.parametrize(
    ("kind", "parts", "words"),
    [
        ("postgres", (b"", pg(b"R", b"\0\0\0\3")), "in clear text, which is sent over TLS only"),
        ("postgres", (b"", pg(b"R", b"\0\0\0\7")), "wants authentication by GSSAPI"),
        (
            "postgres",
            (b"", pg(b"R", b"\0\0\0\x0aSCRAM-SHA-256\0\0"), pg(b"R", b"\0\0\0\0") + pg(b"Z", b"I")),
            "did not prove",
        ),
        (
            "postgres",
            (b"", pg(b"R", b"\0\0\0\x0aSCRAM-SHA-256\0\0"), pg(b"R", b"\0\0\0\x0br=x,s=eA==,i=1")),
            "does not continue",
        ),
        ("mysql", (greeting(), my(2, b"\xfemysql_clear_password\0\0")), 'authentication by "mysql_clear_password"'),
        ("mysql", (greeting(), my(2, b"\xfeclient_ed25519\0" + SALT)), 'authentication by "client_ed25519"'),
        ("mysql", (greeting(b"caching_sha2_password"), my(2, b"\1\4")), "in clear text, which is sent over TLS only"),
    ],
)
async def test_no_password_for_a_server_that_may_be_none(run, kind, parts, words):
    measurement = await run(kind, saying(*parts))

    assert ["auth", "request"] == [outcome(measurement), measurement.failure.phase]
    assert words in measurement.failure.message


async def test_mysql_8_logs_in_by_caching_sha2(run):
    """Debian has no MySQL 8, so this server follows the formula of its documentation."""
    heard = []

    async def handle(reader, writer):
        writer.write(greeting(b"caching_sha2_password"))
        heard.append(await reader.read(65_536))
        writer.write(my(2, b"\1\3") + my(3, MY_OK))
        await reader.read(65_536)
        writer.write(my(1, MY_OK))
        await silent(reader, writer)

    measurement = await run("mysql", handle, query="")
    hashed = sha256(PASSWORD.encode()).digest()
    mask = sha256(sha256(hashed).digest() + SALT).digest()

    assert "ok" == outcome(measurement)
    assert bytes(a ^ b for a, b in zip(hashed, mask, strict=True)) in heard[0]


async def test_mysql_gives_no_file(run):
    measurement = await run("mysql", saying(greeting(), my(2, MY_OK), my(1, MY_OK), my(1, b"\xfb/etc/passwd")))

    assert "query" == outcome(measurement)
    assert "file of the client's" in measurement.failure.message


async def test_pgbouncer_is_told_how(run):
    refused = pg(b"E", b"SFATAL\0C08P01\0Munsupported startup parameter: statement_timeout\0\0")
    measurement = await run("postgres", saying(b"", refused))

    assert "status" == outcome(measurement)
    assert measurement.failure.message.endswith("set statement_timeout: false")


# ---------------------------------------------------------------- what a server says of itself


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b"-LOADING Redis is loading the dataset in memory\r\n", "loading"),
        (b"-READONLY You can't write against a read only replica.\r\n", "readonly"),
        (b"-MASTERDOWN Link with MASTER is down\r\n", "loading"),
        (b"-BUSY Redis is busy running a script\r\n", "status"),
        (b"-DENIED Redis is running in protected mode\r\n", "permission"),
        (b"-ERR max number of clients reached\r\n", "status"),
        (b"-NOAUTH Authentication required.\r\n", "auth"),
        (b"-ERR something else\r\n", "query"),
    ],
)
async def test_q07_what_redis_refuses(run, said, expected):
    assert expected == outcome(await run("redis", saying(b"", said), password="", username=""))


async def test_postgres_that_starts_up(run):
    said = pg(b"E", b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0")
    measurement = await run("postgres", saying(b"", said, then="close"))

    assert ["loading", "request"] == [outcome(measurement), measurement.failure.phase]
    assert {"code": "57P03", "severity": "FATAL"} == measurement.failure.evidence


@pytest.mark.parametrize(
    ("kind", "said"), [("postgres", (b"", b"N")), ("mysql", (greeting(capabilities=0xF7FE & ~0x800),))]
)
async def test_tls_where_there_is_none(run, kind, said):
    measurement = await run(kind, saying(*said), tls=True)

    assert "tls_handshake" == outcome(measurement)
    assert measurement.failure.message.endswith("does not offer TLS")


@pytest.mark.parametrize(
    "said",
    [
        [b"R\0\0\0\x17\0\0\0\nSCRAM-SHA-256\0\0", b"Z\0\0\0\5I"],  # asked who we are, and let us in unheard
        [PG_READY, b"Z\0\0\0\5I"],  # let us in, and was silent about the query
    ],
    ids=["log-in", "query"],
)
async def test_postgres_that_says_it_is_ready_when_it_should_answer(run, said):
    measurement = await run("postgres", saying(*said, then="wait"))

    assert "header" == outcome(measurement)


@pytest.mark.parametrize("said", [b"+OK POP3 ready\r\n", b":1\r\n", b"*0\r\n", b"$-1\r\n"])
async def test_a_reply_to_ping_that_is_no_pong_is_none_of_redis(run, said):
    measurement = await run("redis", saying(said, then="wait"), query="", username="", password="")

    assert "header" == outcome(measurement)
    assert "does not speak Redis' protocol" in measurement.failure.message


async def test_words_ahead_of_tls_are_not_believed(run):
    """CVE-2021-23222: somebody between us puts words before the handshake."""
    measurement = await run(
        "postgres", saying(b"", b"S" + PG_READY), tls=True, tls_config=TlsConfig(insecure_skip_verify=True)
    )

    assert "tls_handshake" == outcome(measurement)
    assert "more than it may" in measurement.failure.message


async def test_q08_tls_that_never_answers(run):
    measurement = await run("redis", silent, tls=True)

    assert ["timeout", "tls"] == [outcome(measurement), measurement.failure.phase]
