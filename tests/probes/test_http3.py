"""The http probe over HTTP/3, against aioquic."""

import socket

import pytest
from http3_server import http3
from probing import outcome, probe_http
from servers import LONG_AGO, Authority, unused_port

from perfmon.network.tls import TlsConfig


@pytest.mark.parametrize("scheme", ["HtTp://", "https://", ""])
async def test_h52_http_is_upgraded_and_http_3_is_spoken(network, authority, tmp_path, scheme):
    seen = []
    async with http3(authority.issue("localhost"), tmp_path, seen=seen) as port:
        measurement = await probe_http(
            network,
            f"{scheme}localhost:{port}/path",
            preferred_ip_protocol="ip4",
            enable_http3=True,
            valid_http_versions=["HTTP/3.0"],
            tls_config=TlsConfig(ca_file=authority.file),
        )

    assert "ok" == outcome(measurement), measurement.failure
    assert 3.0 == measurement.facts["probe_http_version"]
    assert 1.0 == measurement.facts["probe_http_ssl"]
    assert 1.0 == measurement.facts['probe_tls_version_info{version="TLS 1.3"}']
    assert measurement.facts["probe_ssl_earliest_cert_expiry"] > 0
    assert ["resolve", "connect", "tls", "request", "processing", "transfer"] == list(measurement.phases)
    assert b"/path" == seen[0][b":path"]


async def test_http_3_keeps_its_handles_for_the_next_run(network, authority, tmp_path):
    async with http3(authority.issue("localhost"), tmp_path) as port:
        for _ in range(3):
            measurement = await probe_http(
                network,
                f"https://localhost:{port}/",
                preferred_ip_protocol="ip4",
                enable_http3=True,
                tls_config=TlsConfig(ca_file=authority.file),
            )
            assert "ok" == outcome(measurement)


@pytest.mark.parametrize(
    ("until", "host", "root", "expected"),
    [
        pytest.param(LONG_AGO, "localhost", "ca", "tls_expired", id="T10 expired"),
        pytest.param(None, "127.0.0.1", "ca", "tls_name_mismatch", id="T10 name"),
        pytest.param(None, "localhost", "other", "tls_untrusted", id="T10 untrusted"),
    ],
)
async def test_a_refused_certificate_has_its_facts(network, tmp_path, until, host, root, expected):  # noqa: PLR0917
    Authority(tmp_path, "other")
    async with http3(Authority(tmp_path).issue("localhost", until=until), tmp_path) as port:
        measurement = await probe_http(
            network,
            f"https://{host}:{port}/",
            preferred_ip_protocol="ip4",
            enable_http3=True,
            tls_config=TlsConfig(ca_file=str(tmp_path / f"{root}.pem")),
        )

    assert expected == outcome(measurement)
    assert "tls" == measurement.failure.phase
    assert "not_after" in measurement.failure.evidence
    assert "probe_ssl_earliest_cert_expiry" in measurement.facts


async def test_a_closed_port_is_told_from_a_silent_one(network):
    closed = await probe_http(network, f"https://127.0.0.1:{unused_port()}/", enable_http3=True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        slow = await probe_http(network, url, enable_http3=True, timeout_s=0.3)

    assert ("connect_refused", "connect") == (closed.failure.reason, closed.failure.phase)
    assert ("connect_timeout", "connect") == (slow.failure.reason, slow.failure.phase)
    assert slow.duration_s < 0.5
