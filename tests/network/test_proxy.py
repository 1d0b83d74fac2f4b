"""Which URL goes through which proxy."""

import pytest

from perfmon.network import proxy
from perfmon.network.address import parse_url
from perfmon.probes.http import Config

PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("no_proxy", "url", "expected"),
    [
        ("", "http://a.example/", True),
        ("", "http://127.0.0.1/", True),
        ("other", "http://127.0.0.1/", False),
        ("other", "http://localhost/", False),
        ("other", "http://[::1]/", False),
        ("*", "http://a.example/", False),
        ("a.example", "http://a.example/", False),
        ("a.example", "http://b.a.example/", False),
        ("a.example", "http://ba.example/", True),
        (".a.example", "http://b.a.example/", False),
        (".a.example", "http://a.example/", True),
        ("*.a.example", "http://b.a.example/", False),
        ("A.Example", "http://a.example/", False),
        ("b, a.example", "http://a.example/", False),
        ("a.example:8080", "http://a.example:8080/", False),
        ("a.example:8080", "http://a.example/", True),
        ("192.0.2.0/24", "http://192.0.2.7/", False),
        ("192.0.2.0/24", "http://198.51.100.1/", True),
        ("192.0.2.7", "http://192.0.2.7/", False),
        ("192.0.2.7:80", "http://192.0.2.7:81/", True),
        ("2001:db8::/32", "http://[2001:db8::1]/", False),
        ("[2001:db8::1]:80", "http://[2001:db8::1]/", False),
        ("2.7", "http://192.0.2.7/", True),
        ("no network/99", "http://192.0.2.7/", True),
    ],
)
def test_exceptions_are_those_of_go(no_proxy, url, expected):
    proxies = proxy.of_config(Config(proxy_url=PROXY, no_proxy=no_proxy), {})

    assert expected == (proxies.of(parse_url(url)) is not None)


@pytest.mark.parametrize(
    ("env", "url", "expected"),
    [
        ({"HTTP_PROXY": PROXY}, "http://a.example/", "proxy.example:3128"),
        ({"http_proxy": PROXY}, "http://a.example/", "proxy.example:3128"),
        ({"HTTP_PROXY": PROXY}, "https://a.example/", "None"),
        ({"https_proxy": "https://p.example"}, "https://a.example/", "p.example:443"),
        ({"HTTP_PROXY": PROXY, "no_proxy": "a.example"}, "http://a.example/", "None"),
        ({"HTTP_PROXY": PROXY}, "http://localhost/", "None"),
        ({"HTTP_PROXY": "socks5://p.example"}, "http://a.example/", "None"),
        ({}, "http://a.example/", "None"),
    ],
)
def test_the_environment_is_read_as_go_reads_it(env, url, expected):
    proxies = proxy.of_config(Config(proxy_from_environment=True), env)

    assert expected == str(proxies.of(parse_url(url)))


def test_without_settings_there_is_no_proxy_whatever_the_environment_says():
    assert proxy.of_config(Config(), {"HTTP_PROXY": PROXY}) is None
