"""The mysql probe against Debian's MariaDB. Names like q01 are rows of the conformance cases."""

import asyncio
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
    with databases.mariadb(binary, authority) as database:
        yield database


@pytest.fixture
def sql(binary, server):
    return lambda text: databases.sql(binary, server, text)


@pytest.fixture
def probe(network, server):
    async def run(query="", *, target="shop", username="probe", password=PASSWORD, **how):
        address = f"{server.address}/{target}"
        return await probe_database("mysql", network, address, query=query, username=username, password=password, **how)

    return run


async def test_q01_without_a_query_the_log_in_decides(probe, network):
    good = await probe()
    refused = await probe_database("mysql", network, f"127.0.0.1:{unused_port()}", username="probe")

    assert ["ok", "connect_refused"] == [outcome(good), outcome(refused)]
    assert ["resolve", "connect", "request", "processing", "transfer"] == list(good.phases)
    assert sum(good.phases.values()) == good.duration_s


@pytest.mark.parametrize(
    ("query", "demands", "expected"),
    [
        ("SELECT 1", {}, "ok"),
        ("SELECT 1", {"expect": "1"}, "ok"),
        ("SELECT 2", {"expect": "1"}, "body"),
        ("SELECT 'shop: fine'", {"expect_regexp": "fine$"}, "ok"),
        ("SELECT 'shop: down'", {"expect_regexp": "fine$"}, "body"),
        ("SELECT 29.5", {"expect_value": "< 30s"}, "ok"),
        ("SELECT 30", {"expect_value": "< 30s"}, "body"),
        ("SELECT NULL", {"expect": "NULL"}, "body"),
        ("SELECT n FROM item", {"expect_rows": "== 0"}, "ok"),
        ("SELECT n FROM item", {"expect": "1"}, "body"),
        ("SELECT seq FROM seq_1_to_1000", {"expect_rows": ">= 1000", "expect": "1"}, "ok"),
        ("SELECT seq, repeat('x', 2000) FROM seq_1_to_1000", {"expect_rows": "== 1000", "expect": "1"}, "ok"),
        ("SELECT seq, repeat('x', 300000 * (seq - 1)) FROM seq_1_to_10", {"expect_rows": "== 10"}, "ok"),
        ("SELECT '', repeat('x', 70000)", {"expect_rows": "== 1"}, "ok"),
        ("SELECT repeat('x', 2000000)", {}, "too_large"),
        ("SELEC 1", {}, "query"),
        ("DO 1", {}, "ok"),
        ("INSERT INTO item VALUES (1)", {}, "permission"),
        ("SELECT * FROM no_such_table", {}, "query"),
    ],
)
async def test_q02_the_answer_decides(probe, query, demands, expected):
    assert expected == outcome(await probe(query, **demands))


async def test_a_server_that_is_read_only_says_so(probe, sql):
    sql("GRANT INSERT ON shop.* TO probe@'127.0.0.1'; SET GLOBAL read_only = 1")
    try:
        measurement = await probe("INSERT INTO item VALUES (1)")
    finally:
        sql("SET GLOBAL read_only = 0; REVOKE INSERT ON shop.* FROM probe@'127.0.0.1'")

    assert "readonly" == outcome(measurement)


async def test_numbers_of_the_first_row_are_exported(probe):
    measurement = await probe("SELECT 7 AS waiting, 1.5 AS oldest, 'x' AS name, NULL AS nothing")

    assert {
        'probe_query_value{column="waiting"}': 7.0,
        'probe_query_value{column="oldest"}': 1.5,
        "probe_query_rows": 1.0,
    } == {name: value for name, value in measurement.facts.items() if name.startswith("probe_query")}


@pytest.mark.parametrize(
    ("who", "expected", "words"),
    [
        ({"username": "free", "password": ""}, "ok", ""),
        ({"target": ""}, "ok", ""),
        ({"password": "wrong-password"}, "auth", "Access denied for user 'probe'"),
        ({"username": "nobody"}, "auth", "Access denied for user 'nobody'"),
        ({"username": "ciphered", "password": "x"}, "auth", "Access denied for user 'ciphered'"),
        ({"target": "closed"}, "permission", "to database 'closed'"),
        ({"target": "no-such"}, "permission", "to database 'no-such'"),
    ],
)
async def test_who_logs_in_and_where(probe, who, expected, words):
    measurement = await probe(**who)

    assert expected == outcome(measurement)
    if expected != "ok":
        assert "request" == measurement.failure.phase
        assert words in measurement.failure.message


@pytest.mark.parametrize(
    ("tls_config", "host", "expected"),
    [
        ({}, "localhost", "ok"),
        ({}, "127.0.0.1", "ok"),
        ({"server_name": "elsewhere.example"}, "localhost", "tls_name_mismatch"),
        ({"ca_file": ""}, "localhost", "tls_untrusted"),
        ({"ca_file": "", "insecure_skip_verify": True}, "localhost", "ok"),
    ],
)
async def test_tls(network, server, authority, tls_config, host, expected):  # noqa: PLR0917 - fixtures and a row
    config = TlsConfig(**({"ca_file": authority.file} | tls_config))
    measurement = await probe_database(
        "mysql", network, f"{host}:{server.port}", username="ciphered", password="x", tls=True, tls_config=config
    )

    assert expected == outcome(measurement)
    assert measurement.phases["tls"] > 0
    assert measurement.facts["probe_ssl_earliest_cert_expiry"] > 4e9


async def test_the_server_ends_a_query_at_the_deadline(probe, sql):
    began = time.monotonic()
    measurement = await probe("SELECT SLEEP(30)", timeout_s=0.3)

    assert time.monotonic() - began < 0.5
    assert "timeout" == outcome(measurement)
    assert "processing" == measurement.failure.phase
    await _gone(sql)


async def test_a_cancelled_run_leaves_no_connection(probe, sql):
    task = asyncio.create_task(probe("SELECT BENCHMARK(100000000000, 1 + 1)", timeout_s=1))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    await _gone(sql)


async def _gone(sql):
    end = time.monotonic() + 3
    while rest := sql("SELECT id, command, info FROM information_schema.processlist WHERE user IN ('probe', 'free')"):
        assert time.monotonic() < end, rest
        await asyncio.sleep(0.05)


async def test_many_runs_count_as_no_aborted_clients(probe, sql):
    """A client that goes without a word is counted by the server, and written into its log."""

    def aborted():
        return sql("SHOW GLOBAL STATUS LIKE 'Aborted_clients'")

    before = aborted()
    for _ in range(5):
        assert "ok" == outcome(await probe("SELECT 1"))

    assert before == aborted()


async def test_a_server_with_too_many_clients_says_so(probe, sql):
    sql("SET GLOBAL max_connections = 10")
    tasks = [asyncio.create_task(probe("SELECT SLEEP(1)", timeout_s=1.5)) for _ in range(16)]
    seen = [outcome(measurement) for measurement in await asyncio.gather(*tasks)]
    sql("SET GLOBAL max_connections = 151")

    assert {"ok", "status"} == set(seen)
