"""Protocols of databases, whatever a server says; and demands on an answer."""

import asyncio
import socket
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfmon.clock import SystemClock
from perfmon.model import Failure
from perfmon.network import Network, mysqlwire, pgwire, resp
from perfmon.network.address import parse_service
from perfmon.network.database import Answer, DatabaseConfig, Demands, check, judge, number_of
from perfmon.network.scram import MAX_ROUNDS, Scram, ScramError, prepared
from perfmon.network.stream import Broken, Stream
from perfmon.network.wire import Wire
from perfmon.probes import redis
from perfmon.trace import Trace

CLOCK = SystemClock()
CREDENTIALS = mysqlwire.Credentials(username="probe", password="x", database="")


def conversation(kind, answer):
    if kind == "postgres":
        return pgwire.PostgresConversation(answer, {"user": "probe"}, "x", "SELECT 1", tls=False)
    if kind == "mysql":
        return mysqlwire.MysqlConversation(answer, CREDENTIALS, "SELECT 1", tls=False, statement_timeout_s=1)
    return resp.RespConversation(answer, [resp.command("AUTH", "x")], resp.command("PING"), read_info=redis.facts_of)


async def hear(kind, said):
    """What a conversation makes of a server that says this and hangs up."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)  # noqa: FBT003 - the name says what it sets
    with theirs:
        theirs.sendall(said)
        theirs.shutdown(socket.SHUT_WR)
        trace = Trace(clock=CLOCK, deadline=CLOCK.monotonic() + 5, network=Network(clock=CLOCK))
        stream = Stream(ours, "peer", trace)
        wire, one = Wire(stream, trace), conversation(kind, Answer())
        try:
            await one.before_tls(wire)
            return await one.talk(wire)
        except Broken as broken:
            return broken.failure
        finally:
            stream.close(one.farewell)


def pg(kind, body):
    return kind + struct.pack("!I", len(body) + 4) + body


def my(body):
    return len(body).to_bytes(3, "little") + b"\0" + body


# Bytes that mean nothing, and pieces that mean something, cut and joined anyhow.
PIECES = {
    "postgres": st.sampled_from([pg(b"R", b"\0\0\0\0"), pg(b"Z", b"I"), pg(b"C", b"SELECT 1\0"), pg(b"I", b"")])
    | st.builds(pg, st.sampled_from([bytes([letter]) for letter in b"RENTDCSKZ"]), st.binary(max_size=40)),
    "mysql": st.sampled_from([my(b"\0\0\0\2\0\0\0"), my(b"\xfe\0\0\2\0"), my(b"\1")])
    | st.builds(my, st.binary(max_size=40))
    | st.builds(lambda rest: my(b"\x0a8\0" + rest), st.binary(min_size=31, max_size=80)),
    "redis": st.sampled_from([b"+OK\r\n", b":1\r\n", b"$-1\r\n", b"*2\r\n", b"$1\r\nx\r\n", b"-ERR\r\n", b"*-1\r\n"])
    | st.builds(lambda n: b"$%d\r\n" % n, st.integers())
    | st.builds(lambda n: b"*%d\r\n" % n, st.integers()),
}


@pytest.mark.parametrize("kind", PIECES)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_whatever_a_server_says_there_is_an_answer_or_a_failure(kind, data):
    said = b"".join(data.draw(st.lists(PIECES[kind] | st.binary(max_size=20), max_size=12)))
    heard = asyncio.run(hear(kind, said))

    assert heard is None or isinstance(heard, Failure)
    assert heard is None or heard.message.isprintable()


@given(st.binary(max_size=200))
def test_parts_of_messages_are_read_whatever_they_are(body):
    for read in (pgwire.columns_of, pgwire.cells_of, mysqlwire.cells_of):
        assert isinstance(read(body), tuple)
    assert isinstance(pgwire.fields_of(body), dict)
    assert isinstance(mysqlwire.column_of(body), str)
    greeting = mysqlwire.greeting_of(body)
    assert greeting is None or len(greeting.salt) <= len(body)


@given(st.lists(st.none() | st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=300), max_size=5))
def test_cells_come_back_as_they_were(cells):
    raw = [None if cell is None else cell.encode() for cell in cells]
    row = b"".join(b"\xff\xff\xff\xff" if cell is None else struct.pack("!I", len(cell)) + cell for cell in raw)

    assert tuple(cells) == pgwire.cells_of(struct.pack("!H", len(cells)) + row)
    assert tuple(cells) == mysqlwire.cells_of(b"".join(b"\xfb" if cell is None else _counted(cell) for cell in raw))


def _counted(text):
    return (bytes([len(text)]) if len(text) < 251 else b"\xfc" + struct.pack("<H", len(text))) + text


@given(st.text(max_size=200))
def test_info_is_read_whatever_it_is(text):
    facts = redis.facts_of(resp.fields_of(text))

    assert all(name.startswith("probe_redis_") and isinstance(value, float) for name, value in facts.items())


# ---------------------------------------------------------------- SCRAM


@given(st.binary(max_size=80))
def test_scram_takes_no_nonsense(said):
    scram = Scram("x", nonce="abc")

    with pytest.raises(ScramError):
        scram.final(said)
    with pytest.raises(ScramError):
        scram.verify(said)
    assert not scram.proved


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"r=abcdef,s=eA==,i=0", "rounds"),
        (b"r=abcdef,s=eA==,i=%d" % (MAX_ROUNDS + 1), "rounds"),
        (b"r=abcdef,s=eA==,i=99999999999999999999", "rounds"),
        (b"r=abc,s=eA==,i=4096", "nonce"),
        (b"r=abcdef,s=?,i=4096", "base64"),
        (b"e=other-error", "refused: other-error"),
    ],
)
def test_scram_says_what_is_wrong(said, words):
    with pytest.raises(ScramError, match=words):
        Scram("x", nonce="abc").final(said)


def test_passwords_are_prepared():
    assert ["a b", "IX", "plain"] == [prepared("a\u00a0\u00adb"), prepared("Ⅸ"), prepared("plain")]


# ---------------------------------------------------------------- demands


@pytest.mark.parametrize(
    ("first", "rows", "demands", "words"),
    [
        (("1",), 1, {"expect": "1"}, ""),
        (("2",), 1, {"expect": "1"}, 'the value is "2", expected "1"'),
        ((None,), 1, {"expect": "1"}, "the value is NULL"),
        ((), 0, {"expect": "1"}, "no row came, expected a value"),
        (("31",), 1, {"expect_value": "< 30s"}, 'the value is "31", expected < 30s'),
        (("NaN",), 1, {"expect_value": "< 30s"}, 'the value is "NaN", expected < 30s'),
        (("1_0",), 1, {"expect_value": "< 30s"}, 'the value is "1_0", expected < 30s'),
        (("1e1",), 1, {"expect_value": "< 30s"}, ""),
        (("x",), 3, {"expect_rows": "!= 3"}, "3 rows came, expected != 3"),
        (("x",), 3, {"expect_rows": ">= 3"}, ""),
        (("fine",), 1, {"expect_regexp": "^f"}, ""),
    ],
)
def test_an_answer_is_held_against_the_demands(first, rows, demands, words):
    config = DatabaseConfig(query="q", **demands)
    failure = judge(Answer(first=first, rows=rows), Demands.of(config))

    assert words == (failure.message if failure else "")


@pytest.mark.parametrize(
    ("config", "path", "words"),
    [
        ({"query": "q", "expect_value": "30"}, "expect_value", "an operator and a number"),
        ({"query": "q", "expect_value": "p(95) < 30"}, "expect_value", "an operator and a number"),
        ({"query": "q", "expect_value": "< 30 over 5m"}, "expect_value", "an operator and a number"),
        ({"query": "q", "expect_value": "< 30 for 5m"}, "expect_value", "an operator and a number"),
        ({"query": "q", "expect_rows": "> baseline"}, "expect_rows", "an operator and a number"),
        ({"query": "q", "expect_rows": "> 1 warning, 2 critical"}, "expect_rows", "an operator and a number"),
        ({"query": "q", "expect_regexp": "("}, "expect_regexp", "not a regular expression"),
        ({"expect": "1"}, "expect", 'has no effect without a "query"'),
        ({"username": "a\0b"}, "username", "NUL"),
    ],
)
def test_mistakes_in_demands_are_found(config, path, words):
    (problem,) = check(DatabaseConfig(**config))

    assert path == problem[0]
    assert words in problem[1]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_read_as_it_is_written(number):
    assert number == number_of(repr(number))


@given(st.text())
def test_no_text_is_a_number_by_chance(text):
    number = number_of(text)

    assert number is None or "_" not in text


# ---------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("db", ("db", 5432, "")),
        ("db:1", ("db", 1, "")),
        ("db:1/", ("db", 1, "")),
        ("db:1/shop", ("db", 1, "shop")),
        ("[::1]:1/od'd%20name", ("::1", 1, "od'd name")),
        ("bücher.example/shop", ("xn--bcher-kva.example", 5432, "shop")),
    ],
)
def test_services_are_read(text, expected):
    assert expected == parse_service(text, 5432)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":1",
        "db:0",
        "db:99999",
        "db:x",
        'od\'d "host":1',
        "host with blanks:1",
        "db/shop?sslmode=off",
        "db/shop#x",
        "db/a%00b",
        "postgres://db/shop",
        "postgres://user:S3cret@db/shop",
        "user:S3cret@db/shop",
        "user:S3/cret#S3cret?@db/shop",
    ],
)
def test_q04_q05_what_is_no_service_is_refused_without_its_password(text):
    with pytest.raises(ValueError, match=r".+") as caught:
        parse_service(text, 5432)

    assert "S3cret" not in str(caught.value)
