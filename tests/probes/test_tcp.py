"""The tcp probe against real servers."""

import time

import pytest
from probing import outcome, probe_tcp
from servers import closing, full_backlog, serve, silent, unused_port

from perfmon.probes.tcp import Config, check_target


async def test_c01_a_server_that_takes_and_closes_is_fine(network):
    async with serve(closing) as port:
        measurement = await probe_tcp(network, f"127.0.0.1:{port}")

    assert "ok" == outcome(measurement)


async def test_c19_phases_are_there_and_add_up(network):
    async with serve(silent) as port:
        measurement = await probe_tcp(network, f"localhost:{port}")

    assert ["resolve", "connect"] == list(measurement.phases)
    assert sum(measurement.phases.values()) == measurement.duration_s
    assert 0 < measurement.phases["connect"] < 0.05
    assert 4 == measurement.facts["probe_ip_protocol"]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (":9", "no host"),
        ("127.0.0.1:0", "port 0"),
        ("127.0.0.1", "expected host:port"),
        ("http://127.0.0.1:80", "expected host:port"),
        ("127.0.0.1:80/path", "expected host:port"),
        ("127.0.0.1:99999", "port"),
    ],
)
async def test_c02_an_address_that_is_none_fails_in_words(network, address, words):
    measurement = await probe_tcp(network, address)

    assert "unreachable" == outcome(measurement)
    assert words in measurement.failure.message.lower()
    assert measurement.failure.message == check_target(address, Config())


async def test_c20_closed_and_filtered_are_told_apart(network):
    closed = await probe_tcp(network, f"127.0.0.1:{unused_port()}")
    with full_backlog() as port:
        began = time.monotonic()
        filtered = await probe_tcp(network, f"127.0.0.1:{port}", timeout_s=0.2)

    assert "connect_refused" == outcome(closed)
    assert "connect_timeout" == outcome(filtered)
    assert time.monotonic() - began < 0.3


async def test_ipv6_is_probed(network):
    try:
        async with serve(silent, host="::1") as port:
            measurement = await probe_tcp(network, f"[::1]:{port}")
    except OSError:
        pytest.skip("this machine has no IPv6 on loopback")

    assert "ok" == outcome(measurement)
    assert 6 == measurement.facts["probe_ip_protocol"]


async def test_a_refused_ipv6_address_is_named_in_brackets(network):
    port = unused_port()
    measurement = await probe_tcp(network, f"[::1]:{port}")

    assert measurement.failure.message.startswith((f"connection refused by [::1]:{port}", f"[::1]:{port} cannot be"))


async def test_an_address_of_the_wrong_family_fails_where_no_other_is_allowed(network):
    measurement = await probe_tcp(network, "127.0.0.1:80", preferred_ip_protocol="ip6", ip_protocol_fallback=False)

    assert '"127.0.0.1" has no IPv6 address' == measurement.failure.message
    assert "resolve" == measurement.failure.phase
