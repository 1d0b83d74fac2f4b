"""Pure decisions of the web face; what it does with them is in test_server.py."""

from ipaddress import ip_network

import pytest

from perfmon.monitor import guard
from perfmon.monitor.server import probe_timeout


@pytest.mark.parametrize(
    ("client", "allow", "allowed"),
    [
        ("127.0.0.1", [], True),
        ("::1", [], True),
        ("::ffff:127.0.0.1", [], True),
        ("172.18.0.3", [], False),
        ("172.18.0.3", ["172.16.0.0/12"], True),
        ("::ffff:172.18.0.3", ["172.16.0.0/12"], True),
        ("2001:db8::7", ["2001:db8::/32"], True),
        ("2001:db8::7", ["172.16.0.0/12"], False),
        ("", ["0.0.0.0/0"], False),
    ],
)
def test_only_loopback_and_the_allow_list_may_probe(client, allow, allowed):
    objection = guard.client_objection(client, [ip_network(network) for network in allow])

    assert ("" if allowed else f"/probe is refused to {client}: add its network to web.probe_allow") == objection


@pytest.mark.parametrize(
    ("module_s", "header", "offset_s", "expected"),
    [
        (0, "15", 0.5, 14.5),
        (0, "15", 0, 15),
        (20, "15", 0.5, 14.5),
        (5, "15", 0.5, 5),
        (10, "", 0.5, 10),
        (10, "10", 0.5, 9.5),
        (9.5, "", 1, 9.5),
        (0, "", 0.5, 119.5),
        (0, "", 0, 120),
        (0, "1", 0.5, 0.5),
        (0, "0", 0.5, 119.5),
        (0, "0.3", 0.5, 0.15),
        (5, "0.3", 0.5, 0.15),
        (0, "0.5", 0.5, 0.25),
    ],
)
def test_timeout_of_a_probe_on_request_follows_blackbox_exporter(module_s, header, offset_s, expected):
    assert pytest.approx(expected) == probe_timeout(module_s, header, offset_s)


@pytest.mark.parametrize("header", ["abc", "-1", "nan", "inf", "1s"])
def test_a_scrape_timeout_that_is_no_number_of_seconds_is_named(header):
    with pytest.raises(ValueError, match=f'"{header}" is not a number of seconds'):
        probe_timeout(5, header)
