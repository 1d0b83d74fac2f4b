"""TLS and certificates, by the http, the tcp and the tls probe. Names like t01 are rows of blackbox_exporter's own tests, restated."""

import ssl
import time
from datetime import UTC, datetime

import pytest
from probing import outcome, probe_http, probe_tcp, probe_tls
from servers import LONG_AGO, Authority, answer, flooding, http, serve, silent

from perfmon.network.tls import TlsConfig

EARLIEST = "probe_ssl_earliest_cert_expiry"
LAST_CHAIN = "probe_ssl_last_chain_expiry_timestamp_seconds"


def info(measurement):
    """The labels of `probe_ssl_last_chain_info`, "" when it is absent."""
    return next((name for name in measurement.facts if name.startswith("probe_ssl_last_chain_info")), "")


@pytest.fixture(params=["http", "tcp", "tls"])
def probe(request, network):
    """The same TLS run by each probe: `await probe(host, port, tls_config)`."""

    async def run(host, port, tls_config, **how):
        if request.param == "http":
            return await probe_http(network, f"https://{host}:{port}/", tls_config=tls_config, **how)
        if request.param == "tls":
            return await probe_tls(network, f"{host}:{port}", tls_config=tls_config, **how)
        return await probe_tcp(network, f"{host}:{port}", tls=True, tls_config=tls_config, **how)

    return run


async def test_t01_t02_the_certificate_must_be_for_the_name_of_the_target(probe, authority):
    trusting = TlsConfig(ca_file=authority.file)
    async with serve(http(answer()), tls=authority.context("localhost")) as port:
        by_address = await probe("127.0.0.1", port, trusting)
        by_name = await probe("localhost", port, trusting)

    assert "tls_name_mismatch" == outcome(by_address)
    assert "ok" == outcome(by_name)


async def test_a_good_certificate_gives_all_facts(probe, authority):
    async with serve(http(answer()), tls=authority.context("localhost", "127.0.0.1")) as port:
        measurement = await probe("127.0.0.1", port, TlsConfig(ca_file=authority.file))

    expected = datetime(2100, 1, 1, tzinfo=UTC).timestamp()
    assert "ok" == outcome(measurement)
    assert expected == measurement.facts[EARLIEST]
    assert expected == measurement.facts[LAST_CHAIN]
    assert 1 == measurement.facts['probe_tls_version_info{version="TLS 1.3"}']
    assert 'subjectalternative="localhost"' in info(measurement)
    assert measurement.phases["tls"] > 0


async def test_t10_an_expired_certificate_is_told_and_shown(probe, authority):
    async with serve(http(answer()), tls=authority.context("localhost", until=LONG_AGO)) as port:
        measurement = await probe("localhost", port, TlsConfig(ca_file=authority.file))

    assert "tls_expired" == outcome(measurement)
    assert "tls" == measurement.failure.phase
    assert f"certificate of localhost:{port} expired on 2020-01-01" == measurement.failure.message
    assert "2020-01-01T00:00:00.000Z" == measurement.failure.evidence["not_after"]
    assert LONG_AGO.timestamp() == measurement.facts[EARLIEST]
    assert LAST_CHAIN not in measurement.facts
    assert info(measurement)


async def test_t10_a_certificate_for_another_name_is_told_and_shown(probe, authority):
    async with serve(http(answer()), tls=authority.context("shop.example", "10.0.0.1")) as port:
        measurement = await probe("localhost", port, TlsConfig(ca_file=authority.file))

    assert "tls_name_mismatch" == outcome(measurement)
    assert "is for shop.example, 10.0.0.1, not for localhost" in measurement.failure.message
    assert "shop.example, 10.0.0.1" == measurement.failure.evidence["names"]
    assert EARLIEST in measurement.facts
    assert LAST_CHAIN not in measurement.facts


async def test_t10_an_untrusted_certificate_is_told_and_shown(probe, authority, tmp_path):
    other = Authority(tmp_path)
    async with serve(http(answer()), tls=authority.context("localhost")) as port:
        measurement = await probe("localhost", port, TlsConfig(ca_file=other.file))

    assert "tls_untrusted" == outcome(measurement)
    assert "trustme" in measurement.failure.evidence["issuer"]
    assert "which is not trusted" in measurement.failure.message
    assert EARLIEST in measurement.facts
    assert info(measurement)


async def test_unverified_is_green_but_promises_no_chain(probe, authority):
    async with serve(http(answer()), tls=authority.context("shop.example", until=LONG_AGO)) as port:
        measurement = await probe("localhost", port, TlsConfig(insecure_skip_verify=True))

    assert "ok" == outcome(measurement)
    assert LONG_AGO.timestamp() == measurement.facts[EARLIEST]
    assert LAST_CHAIN not in measurement.facts


async def test_server_name_is_what_is_verified(probe, authority):
    async with serve(http(answer()), tls=authority.context("shop.example")) as port:
        measurement = await probe("127.0.0.1", port, TlsConfig(ca_file=authority.file, server_name="shop.example"))

    assert "ok" == outcome(measurement)


async def test_hostname_is_what_is_verified_and_what_host_says(network, authority):
    seen = []
    async with serve(http(answer(), seen=seen), tls=authority.context("shop.example")) as port:
        measurement = await probe_http(
            network,
            f"https://127.0.0.1:{port}/",
            hostname="shop.example",
            tls_config=TlsConfig(ca_file=authority.file),
        )

    assert "ok" == outcome(measurement)
    assert "shop.example" == seen[0].headers["host"]


async def test_t07_a_version_below_the_lowest_one_is_refused(probe, authority):
    context = authority.context("localhost")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with serve(http(answer()), tls=context) as port:
        refused = await probe("localhost", port, TlsConfig(ca_file=authority.file, min_version="TLS13"))
        taken = await probe("localhost", port, TlsConfig(ca_file=authority.file))

    assert "tls_handshake" == outcome(refused)
    assert "tls" == refused.failure.phase
    assert 1 == taken.facts['probe_tls_version_info{version="TLS 1.2"}']


async def test_max_version_is_the_highest(probe, authority):
    async with serve(http(answer()), tls=authority.context("localhost")) as port:
        measurement = await probe("localhost", port, TlsConfig(ca_file=authority.file, max_version="TLS12"))

    assert 1 == measurement.facts['probe_tls_version_info{version="TLS 1.2"}']


async def test_t08_a_server_that_asks_for_a_certificate_gets_it(network, authority):
    cert_file, key_file = authority.client_files()
    with_one = TlsConfig(ca_file=authority.file, cert_file=cert_file, key_file=key_file)
    async with serve(http(answer()), tls=authority.context("localhost", ask_client=True)) as port:
        given = await probe_http(network, f"https://localhost:{port}/", tls_config=with_one)
        missing = await probe_http(network, f"https://localhost:{port}/", tls_config=TlsConfig(ca_file=authority.file))

    assert "ok" == outcome(given)
    # TLS 1.3 ends for the client before the server has looked; asyncio's server then goes away without an alert.
    assert outcome(missing) in ("tls_handshake", "closed")


async def test_t11_a_server_that_never_shakes_hands_ends_in_time(probe, authority):
    async with serve(silent) as port:
        began = time.monotonic()
        measurement = await probe("localhost", port, TlsConfig(ca_file=authority.file), timeout_s=0.2)

    assert time.monotonic() - began < 0.3
    assert ("timeout", "tls") == (measurement.failure.reason, measurement.failure.phase)
    assert 0.15 < measurement.phases["tls"] <= 0.21
    assert EARLIEST not in measurement.facts


async def test_a_flood_of_hello_requests_ends_and_frees_the_loop(probe):
    """OpenSSL skips them one after the other, and would do so for ever."""
    with flooding(b"\x16\x03\x03\x40\x00" + bytes(16_384)) as port:
        began = time.monotonic()
        measurement = await probe("127.0.0.1", port, TlsConfig(), timeout_s=0.3)

    assert outcome(measurement) in ("tls_handshake", "timeout")
    assert time.monotonic() - began < 4


async def test_tls_to_a_server_of_plain_text_is_a_failed_handshake(probe, authority):
    async with serve(http(answer())) as port:
        measurement = await probe("localhost", port, TlsConfig(ca_file=authority.file), timeout_s=0.5)

    assert outcome(measurement) in ("tls_handshake", "timeout")
    assert "tls" == measurement.failure.phase


async def test_a_renewed_file_of_roots_is_seen_by_the_next_run(network, authority, tmp_path):
    roots = tmp_path / "roots.pem"
    roots.write_bytes(Authority(tmp_path).ca.cert_pem.bytes())
    config = TlsConfig(ca_file=str(roots))
    async with serve(http(answer()), tls=authority.context("localhost")) as port:
        before = await probe_http(network, f"https://localhost:{port}/", tls_config=config)
        roots.write_bytes(authority.ca.cert_pem.bytes())
        after = await probe_http(network, f"https://localhost:{port}/", tls_config=config)

    assert ["tls_untrusted", "ok"] == [outcome(before), outcome(after)]


async def test_no_session_is_resumed_so_a_changed_certificate_is_seen(network, authority):
    context = authority.context("localhost")
    config = TlsConfig(ca_file=authority.file)
    async with serve(http(answer()), tls=context) as port:
        before = await probe_http(network, f"https://localhost:{port}/", tls_config=config)
        authority.issue("localhost", until=LONG_AGO).configure_cert(context)
        after = await probe_http(network, f"https://localhost:{port}/", tls_config=config)

    assert ["ok", "tls_expired"] == [outcome(before), outcome(after)]
