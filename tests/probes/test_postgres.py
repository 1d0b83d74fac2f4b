"""The postgres probe against Debian's PostgreSQL. Names like q01 are rows of the conformance cases."""

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
    with databases.postgres(binary, authority) as database:
        yield database


@pytest.fixture
def psql(binary, server):
    return lambda sql: databases.psql(binary, server, sql)


@pytest.fixture
def probe(network, server):
    async def run(query="", *, target="postgres", username="probe", password=PASSWORD, **how):
        address = f"{server.address}/{target}"
        return await probe_database(
            "postgres", network, address, query=query, username=username, password=password, **how
        )

    return run


async def test_q01_without_a_query_the_log_in_decides(probe, network):
    good = await probe()
    refused = await probe_database("postgres", network, f"127.0.0.1:{unused_port()}", username="probe")

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
        ("SELECT 'many'", {"expect_value": "< 30"}, "body"),
        ("SELECT NULL", {"expect_value": "< 30"}, "body"),
        ("SELECT 1 WHERE false", {"expect": "1"}, "body"),
        ("SELECT 1 WHERE false", {"expect_rows": "== 0"}, "ok"),
        ("SELECT generate_series(1, 1000)", {"expect_rows": ">= 1000", "expect": "1"}, "ok"),
        ("SELECT generate_series(1, 999)", {"expect_rows": ">= 1000"}, "body"),
        ("SELEC 1", {}, "query"),
        ("SELECT 1/0", {}, "query"),
        ("SELECT n FROM secret", {}, "permission"),
        ("SET default_transaction_read_only = on; CREATE TEMP TABLE t (n int)", {}, "ok"),
        ("BEGIN READ ONLY; CREATE TABLE t (n int)", {}, "readonly"),
        ("COPY (SELECT 1) TO STDOUT", {}, "query"),
        ("SELECT repeat('x', 2000000)", {}, "too_large"),
    ],
)
async def test_q02_the_answer_decides(probe, query, demands, expected):
    assert expected == outcome(await probe(query, **demands))


async def test_numbers_of_the_first_row_are_exported(probe):
    measurement = await probe(
        "SELECT 7 AS waiting, 1.5 AS oldest, 'x' AS name, NULL AS nothing UNION ALL SELECT 8, 2, 'y', NULL"
    )

    assert {
        'probe_query_value{column="waiting"}': 7.0,
        'probe_query_value{column="oldest"}': 1.5,
        "probe_query_rows": 2.0,
    } == {name: value for name, value in measurement.facts.items() if name.startswith("probe_query")}


@pytest.mark.parametrize(
    ("who", "expected", "words"),
    [
        ({"username": "old"}, "ok", ""),
        ({"username": "free", "password": ""}, "ok", ""),
        ({"password": "wrong-password"}, "auth", 'password authentication failed for user "probe"'),
        ({"username": "old", "password": "wrong-password"}, "auth", 'password authentication failed for user "old"'),
        ({"username": "nobody"}, "auth", "no pg_hba.conf entry"),
        ({"username": "clear"}, "auth", "clear text, which is sent over TLS only"),
        ({"username": "ciphered"}, "auth", "no encryption"),
        ({"target": "no-such-database"}, "status", 'database "no-such-database" does not exist'),
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
        ({"max_version": "TLS12"}, "localhost", "ok"),
    ],
)
async def test_tls(network, server, authority, tls_config, host, expected):  # noqa: PLR0917 - fixtures and a row
    config = TlsConfig(**({"ca_file": authority.file} | tls_config))
    measurement = await probe_database(
        "postgres",
        network,
        f"{host}:{server.port}/postgres",
        username="clear",
        password=PASSWORD,
        tls=True,
        tls_config=config,
    )

    assert expected == outcome(measurement)
    assert measurement.phases["tls"] > 0
    assert measurement.facts["probe_ssl_earliest_cert_expiry"] > 4e9
    assert any(name.startswith("probe_ssl_last_chain_info") for name in measurement.facts)


async def test_a_password_that_is_no_ascii(probe, psql):
    """The server hashes it as SASLprep writes it: one letter `Ⅸ` becomes the two of `IX`, a soft hyphen nothing."""
    psql("CREATE ROLE unicode LOGIN PASSWORD 'pässwörd Ⅸ\u00ad'")

    assert "ok" == outcome(await probe(username="unicode", password="pässwörd Ⅸ\u00ad"))
    assert "ok" == outcome(await probe(username="unicode", password="pässwörd IX"))
    assert "auth" == outcome(await probe(username="unicode", password="pässwörd X"))


async def test_q05_a_name_with_quotes_and_spaces(probe, psql):
    psql("""CREATE DATABASE "od'd \\ name=x" """)
    measurement = await probe("SELECT current_database()", target="od'd%20%5C%20name=x", expect="od'd \\ name=x")

    assert "ok" == outcome(measurement)


async def test_the_server_ends_a_query_at_the_deadline(probe, psql):
    began = time.monotonic()
    measurement = await probe("SELECT pg_sleep(30) /* the long one */", timeout_s=0.3)

    assert time.monotonic() - began < 0.5
    assert "timeout" == outcome(measurement)
    assert "processing" == measurement.failure.phase
    assert 0.2 < measurement.phases["processing"] < 0.4
    await _gone(psql)


async def test_a_cancelled_run_leaves_no_connection(probe, psql):
    task = asyncio.create_task(probe("SELECT 1 FROM generate_series(1, 2000000000)", timeout_s=1))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    await _gone(psql)


async def _gone(psql):
    end = time.monotonic() + 3
    while rest := psql("SELECT pid, state, query FROM pg_stat_activity WHERE application_name = 'perfmon'"):
        assert time.monotonic() < end, rest
        await asyncio.sleep(0.05)


async def test_debug_tells_the_steps_without_the_password(probe):
    measurement = await probe("SELECT 1", debug=True)

    assert any("asked to authenticate" in line for line in measurement.lines)
    assert PASSWORD not in "\n".join(measurement.lines)
