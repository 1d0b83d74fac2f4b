"""The http probe through proxies, against real ones."""

import base64

import pytest
from probing import outcome, probe_http
from proxy_server import proxying
from servers import answer, http, redirecting, serve, silent, unused_port

from perfmon.network.tls import TlsConfig
from perfmon.probes.http import Config, check


async def test_plain_text_is_asked_for_by_its_address_and_keeps_its_name(network):
    asked, seen = [], []
    async with serve(http(answer(), seen=seen)) as port, serve(proxying(seen=asked)) as proxy:
        measurement = await probe_http(
            network,
            f"http://localhost:{port}/a?b",
            preferred_ip_protocol="ip4",
            proxy_url=f"http://127.0.0.1:{proxy}",
            proxy_connect_header={"X-Proxy": ["secret"]},
        )

    assert "ok" == outcome(measurement), measurement.failure
    assert f"http://127.0.0.1:{port}/a?b" == asked[0].path
    assert f"localhost:{port}" == seen[0].headers["host"]
    assert "x-proxy" not in asked[0].headers
    assert 4.0 == measurement.facts["probe_ip_protocol"]


async def test_a_name_may_be_left_to_the_proxy(network):
    asked = []
    async with serve(http(answer())) as port, serve(proxying(seen=asked)) as proxy:
        measurement = await probe_http(
            network,
            f"http://nowhere.invalid:{port}/",
            proxy_url=f"http://127.0.0.1:{proxy}",
            skip_resolve_phase_with_proxy=True,
        )

    assert "ok" == outcome(measurement), measurement.failure
    assert f"http://nowhere.invalid:{port}/" == asked[0].path
    assert "probe_ip_protocol" not in measurement.facts


async def test_a_redirect_through_a_proxy_stays_at_the_name(network):
    asked = []
    async with serve(http(redirecting(2))) as port, serve(proxying(seen=asked)) as proxy:
        measurement = await probe_http(
            network,
            f"http://localhost:{port}/0",
            preferred_ip_protocol="ip4",
            bearer_token="t0ken",
            proxy_url=f"127.0.0.1:{proxy}",
        )

    assert "ok" == outcome(measurement), measurement.failure
    assert ["/0", "/1", "/2"] == [request.path.partition(str(port))[2] for request in asked]
    assert [f"localhost:{port}"] * 3 == [request.headers["host"] for request in asked]
    assert ["Bearer t0ken"] * 3 == [request.headers["authorization"] for request in asked]


@pytest.mark.parametrize("skip", [False, True])
async def test_tls_goes_through_a_tunnel_that_headers_open(network, authority, skip):
    asked, seen = [], []
    tls = authority.context("localhost")
    async with serve(http(answer(), seen=seen), tls=tls) as port, serve(proxying(seen=asked)) as proxy:
        measurement = await probe_http(
            network,
            f"https://localhost:{port}/",
            preferred_ip_protocol="ip4",
            headers={"X-Own": "mine"},
            proxy_url=f"http://user:pass%20word@127.0.0.1:{proxy}",
            proxy_connect_header={"X-Proxy": ["one", "two"]},
            skip_resolve_phase_with_proxy=skip,
            tls_config=TlsConfig(ca_file=authority.file),
            fail_if_header_matches=[],
        )

    assert "ok" == outcome(measurement), measurement.failure
    assert ("CONNECT", f"{'localhost' if skip else '127.0.0.1'}:{port}") == (asked[0].method, asked[0].path)
    assert "two" == asked[0].headers["x-proxy"]
    assert "Basic " + base64.b64encode(b"user:pass word").decode() == asked[0].headers["proxy-authorization"]
    assert "x-own" not in asked[0].headers
    assert {"x-proxy", "proxy-authorization"} & seen[0].headers.keys() == set()
    assert 200 == measurement.facts["probe_http_status_code"]
    assert "probe_ssl_earliest_cert_expiry" in measurement.facts


@pytest.mark.parametrize(
    ("refuse", "reason"), [(407, "auth"), (403, "permission"), (502, "unreachable"), (503, "unreachable")]
)
async def test_a_refused_tunnel_is_a_failure_in_words(network, refuse, reason):
    async with serve(proxying(refuse=refuse)) as proxy:
        measurement = await probe_http(network, "https://127.0.0.1:9/", proxy_url=f"http://127.0.0.1:{proxy}")

    assert reason == outcome(measurement)
    expected = f"proxy 127.0.0.1:{proxy} opens no tunnel to 127.0.0.1:9: it answered {refuse} to CONNECT"
    assert expected == measurement.failure.message


async def test_a_proxy_that_is_not_there_is_blamed_and_not_the_target(network):
    port = unused_port()
    measurement = await probe_http(network, "http://127.0.0.1:9/", proxy_url=f"http://127.0.0.1:{port}")

    assert "connect_refused" == outcome(measurement)
    assert f"connection refused by proxy 127.0.0.1:{port}" == measurement.failure.message


async def test_a_proxy_whose_name_leads_nowhere_is_blamed(network):
    measurement = await probe_http(network, "http://127.0.0.1:9/", proxy_url="http://nowhere.invalid:3128")

    assert "dns_nxdomain" == outcome(measurement)
    assert measurement.failure.message.startswith("proxy: ")


async def test_a_silent_proxy_ends_in_time(network):
    async with serve(silent) as proxy:
        measurement = await probe_http(
            network, "https://127.0.0.1:9/", proxy_url=f"http://127.0.0.1:{proxy}", timeout_s=0.3
        )

    assert "timeout" == outcome(measurement)
    assert f"proxy 127.0.0.1:{proxy} had not opened a tunnel to 127.0.0.1:9" in measurement.failure.message
    assert measurement.duration_s < 0.5


async def test_a_certificate_that_is_refused_behind_a_proxy_has_its_facts(network, authority):
    async with serve(http(answer()), tls=authority.context("localhost")) as port, serve(proxying()) as proxy:
        measurement = await probe_http(
            network, f"https://localhost:{port}/", proxy_url=f"http://127.0.0.1:{proxy}", preferred_ip_protocol="ip4"
        )

    assert "tls_untrusted" == outcome(measurement)
    assert "probe_ssl_earliest_cert_expiry" in measurement.facts


async def test_the_way_to_the_proxy_may_be_tls(network, authority):
    async with (
        serve(http(answer()), tls=authority.context("localhost")) as port,
        serve(proxying(), tls=authority.context("localhost")) as proxy,
    ):
        measurement = await probe_http(
            network,
            f"https://localhost:{port}/",
            proxy_url=f"https://localhost:{proxy}",
            preferred_ip_protocol="ip4",
            tls_config=TlsConfig(ca_file=authority.file),
        )

    assert "ok" == outcome(measurement), measurement.failure


async def test_the_environment_names_the_proxy_where_that_is_asked_for(network, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{unused_port()}")
    monkeypatch.setenv("NO_PROXY", "example.org")
    through = await probe_http(network, "http://192.0.2.1:9/", proxy_from_environment=True)
    async with serve(http(answer())) as port:
        straight = await probe_http(network, f"http://127.0.0.1:{port}/", proxy_from_environment=True)

    assert "connection refused by proxy" in through.failure.message
    assert "ok" == outcome(straight)


async def test_debug_tells_no_secret_of_a_proxy(network, authority):
    async with serve(http(answer()), tls=authority.context("localhost")) as port, serve(proxying()) as proxy:
        measurement = await probe_http(
            network,
            f"https://localhost:{port}/",
            debug=True,
            preferred_ip_protocol="ip4",
            proxy_url=f"http://user:s3cret@127.0.0.1:{proxy}",
            proxy_connect_header={"X-Proxy": ["t0psecret"]},
            tls_config=TlsConfig(ca_file=authority.file),
        )

    told = "\n".join(measurement.lines)
    assert "CONNECT" in told
    assert "t0psecret" not in told
    assert "s3cret" not in told
    assert base64.b64encode(b"user:s3cret").decode() not in told


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"proxy_url": "ftp://a"}, "proxy_url"),
        ({"proxy_url": "http://a:99999"}, "proxy_url"),
        ({"proxy_url": "http://"}, "proxy_url"),
        ({"no_proxy": "a"}, "no_proxy"),
        ({"proxy_connect_header": {"A": ["b"]}}, "proxy_connect_header"),
        ({"proxy_url": "http://a", "proxy_from_environment": True}, "proxy_from_environment"),
        ({"proxy_url": "http://a", "proxy_connect_header": {"A": ["b\r\nc"]}}, "proxy_connect_header.A"),
        ({"proxy_url": "http://a", "proxy_connect_header": {"A b": ["c"]}}, "proxy_connect_header.A b"),
        ({"proxy_url": "http://a", "enable_http3": True}, "enable_http3"),
    ],
)
def test_settings_of_a_proxy_that_make_no_sense_are_named(config, path):
    assert [path] == [path for path, _ in check(Config(**config))]


def test_a_password_of_a_proxy_is_not_told():
    [(_, message)] = check(Config(proxy_url="ftp://user:s3cret@host"))

    assert "s3cret" not in message
