"""The redis probe against Debian's Redis. Names like q07 are rows of the conformance cases."""

import asyncio
import socket
import time

import databases
import pytest
from probing import outcome, probe_database
from servers import unused_port

from perfmon.network.tls import TlsConfig

pytestmark = pytest.mark.servers
PASSWORD = "S3cret-probe"


@pytest.fixture(scope="module")
def server(binary, authority):
    with databases.redis(binary, authority) as (database, tls_port):
        yield database, tls_port


@pytest.fixture
def probe(network, server):
    async def run(query="", *, target="", password=PASSWORD, **how):
        return await probe_database("redis", network, server[0].address + target, query=query, password=password, **how)

    return run


@pytest.fixture
def redis(server):
    """`redis("SET key value")`: ask the server behind the probe's back."""

    def ask(text):
        with socket.create_connection(("127.0.0.1", server[0].port), 2) as connection:
            connection.sendall(f"AUTH {PASSWORD}\r\n{text}\r\nECHO end\r\n".encode())
            said = b""
            while not said.endswith(b"$3\r\nend\r\n"):
                said += connection.recv(65_536)
        return said.decode()

    return ask


async def test_q07_ping(probe, network):
    good = await probe()
    refused = await probe_database("redis", network, f"127.0.0.1:{unused_port()}")

    assert ["ok", "connect_refused"] == [outcome(good), outcome(refused)]
    assert ["resolve", "connect", "request", "processing", "transfer"] == list(good.phases)
    assert sum(good.phases.values()) == good.duration_s


@pytest.mark.parametrize(
    ("query", "demands", "expected"),
    [
        ("GET known", {"expect": "fine"}, "ok"),
        ("GET known", {"expect": "bad"}, "body"),
        ("GET unknown", {}, "ok"),
        ("GET unknown", {"expect": ""}, "ok"),
        ("GET unknown", {"expect": "fine"}, "body"),
        ("GET unknown", {"expect_rows": ">= 1"}, "body"),
        ("STRLEN known", {"expect_value": "<= 4"}, "ok"),
        ("LRANGE list 0 -1", {"expect_rows": "== 3", "expect": "c"}, "ok"),
        ("LRANGE none 0 -1", {"expect_rows": "== 0"}, "ok"),
        ("SET 'two words' \"x y\"", {"expect": "OK"}, "ok"),
        ("LPUSH known x", {}, "query"),
        ("NOSUCH command", {}, "query"),
        ("EVAL 'return {{1,2},{3}}' 0", {"expect_rows": "== 2", "expect": "1"}, "ok"),
        ("GET long", {}, "too_large"),
    ],
)
async def test_q02_the_reply_decides(probe, redis, query, demands, expected):
    redis("SET known fine\r\nDEL list\r\nLPUSH list a b c\r\nSETRANGE long 2000000 x")

    assert expected == outcome(await probe(query, **demands))


@pytest.mark.parametrize(
    ("who", "expected", "phase"),
    [
        ({"password": "wrong-password"}, "auth", "request"),
        ({"password": ""}, "auth", "transfer"),
        ({"username": "nobody"}, "auth", "request"),
        ({"username": "default"}, "ok", ""),
        ({"username": "reader"}, "ok", ""),
        ({"username": "reader", "query": "SET a b"}, "permission", "transfer"),
        ({"username": "reader", "info": True}, "permission", "transfer"),
        ({"username": "reader", "target": "/3"}, "permission", "request"),
        ({"target": "/3"}, "ok", ""),
        ({"target": "/99"}, "status", "request"),
    ],
)
async def test_q07_who_logs_in_and_where(probe, who, expected, phase):
    measurement = await probe(**who)

    assert expected == outcome(measurement)
    assert phase == (measurement.failure.phase if measurement.failure else "")


async def test_q07_a_replica_refuses_to_write(probe, redis):
    redis(f"REPLICAOF 127.0.0.1 {unused_port()}")
    try:
        measurement = await probe("SET a b", info=True)
        asked = await probe(info=True)
    finally:
        redis("REPLICAOF NO ONE")

    assert "readonly" == outcome(measurement)
    assert 0 == asked.facts["probe_redis_master"]
    assert 0 == asked.facts["probe_redis_master_link_up"]


async def test_info_is_exported(probe, redis):
    redis("CONFIG RESETSTAT\r\nSET known fine\r\nGET known\r\nGET known\r\nGET known\r\nGET unknown")
    facts = (await probe(info=True)).facts

    assert 0.75 == facts["probe_redis_hit_ratio"]
    assert [3, 1] == [facts["probe_redis_keyspace_hits_total"], facts["probe_redis_keyspace_misses_total"]]
    assert 1 == facts["probe_redis_master"]
    assert "probe_redis_master_link_up" not in facts
    assert facts["probe_redis_used_memory_bytes"] > 100_000
    assert facts["probe_redis_connected_clients"] >= 1


@pytest.mark.parametrize(
    ("tls_config", "expected"),
    [
        ({}, "ok"),
        ({"server_name": "elsewhere.example"}, "tls_name_mismatch"),
        ({"ca_file": ""}, "tls_untrusted"),
        ({"ca_file": "", "insecure_skip_verify": True}, "ok"),
    ],
)
async def test_tls(network, server, authority, tls_config, expected):
    config = TlsConfig(**({"ca_file": authority.file} | tls_config))
    measurement = await probe_database(
        "redis", network, f"localhost:{server[1]}", password=PASSWORD, tls=True, tls_config=config, info=True
    )

    assert expected == outcome(measurement)
    assert measurement.phases["tls"] > 0
    assert measurement.facts["probe_ssl_earliest_cert_expiry"] > 4e9


async def test_tls_where_there_is_none(probe):
    measurement = await probe(tls=True, tls_config=TlsConfig(insecure_skip_verify=True), timeout_s=0.5)

    assert "tls" == measurement.failure.phase
    assert "timeout" == outcome(measurement)  # Redis takes the handshake for the beginning of a line


async def test_the_connection_is_closed_at_the_deadline(probe, redis):
    began = time.monotonic()
    measurement = await probe("BLPOP nothing 30", timeout_s=0.3)

    assert time.monotonic() - began < 0.5
    assert ["timeout", "processing"] == [outcome(measurement), measurement.failure.phase]
    end = time.monotonic() + 3
    while "cmd=blpop" in redis("CLIENT LIST"):
        assert time.monotonic() < end
        await asyncio.sleep(0.05)
