"""DNS discovery against a real name server on loopback."""

import pytest
from dns_server import answering, name_server

from perfmon.clock import SystemClock
from perfmon.discoveries import dns as discovery
from perfmon.discoveries.dns import Config

A = ("api.example. 60 IN A 192.0.2.2", "api.example. 60 IN A 192.0.2.1")
AAAA = ("api.example. 60 IN AAAA 2001:db8::1",)
SRV = (
    "_https._tcp.example. 60 IN SRV 1 5 8443 b.example.",
    "_https._tcp.example. 60 IN SRV 0 5 443 a.example.",
)


async def find(network, tell, tcp=None, **settings):
    async with name_server(tell, tcp) as (server, _):
        config = Config(server=server, **{"name": "api.example", "type": "A"} | settings)
        assert [] == list(discovery.check(config))
        return await discovery.open(config, network, SystemClock()).find()


def found(listing):
    return [(one.address, one.labels.get("__param_hostname", "")) for one in listing.found]


@pytest.mark.parametrize(
    ("records", "settings", "expected"),
    [
        (A, {"port": 8443}, [("192.0.2.1:8443", "api.example"), ("192.0.2.2:8443", "api.example")]),
        (A[:1], {}, [("192.0.2.2", "api.example")]),
        (A[:1], {"url": "https://{{host}}/x"}, [("https://192.0.2.2/x", "api.example")]),
        (AAAA, {"type": "AAAA"}, [("2001:db8::1", "api.example")]),
        (AAAA, {"type": "AAAA", "port": 80}, [("[2001:db8::1]:80", "api.example")]),
        (
            AAAA,
            {"type": "AAAA", "port": 80, "url": "http://{{host}}:{{ port }}/"},
            [("http://[2001:db8::1]:80/", "api.example")],
        ),
        (SRV, {"name": "_https._tcp.example", "type": "SRV"}, [("a.example:443", ""), ("b.example:8443", "")]),
        (
            SRV[:1],
            {"name": "_https._tcp.example.", "type": "SRV", "url": "https://{{host}}:{{port}}/health"},
            [("https://b.example:8443/health", "")],
        ),
        (("_x._tcp.example. 60 IN SRV 0 0 0 .",), {"name": "_x._tcp.example", "type": "SRV"}, []),
        (("api.example. 60 IN CNAME www.example.", "www.example. 60 IN A 192.0.2.9"), {}, [("192.0.2.9", "api.example")]),
    ],
)  # fmt: skip
async def test_each_record_becomes_a_target(network, records, settings, expected):
    assert expected == found(await find(network, answering(*records), **settings))


async def test_a_name_without_records_and_one_that_is_not_there_have_no_targets(network):
    assert [] == found(await find(network, answering()))
    assert [] == found(await find(network, answering(rcode="NXDOMAIN")))


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED"])
async def test_a_server_that_cannot_say_is_a_failure(network, rcode):
    with pytest.raises(LookupError, match=f'A of "api.example": 127.0.0.1:[0-9]+ answered {rcode}'):
        await find(network, answering(rcode=rcode))


async def test_a_silent_server_is_a_failure_in_time(network):
    with pytest.raises(LookupError, match="no answer from"):
        await find(network, lambda _query: [], timeout=0.2)


async def test_bytes_that_are_no_message_are_a_failure(network):
    with pytest.raises(LookupError, match="cannot be read"):
        await find(network, lambda query: [answering(*A)(query).to_wire()[:-3]])


async def test_an_answer_that_was_cut_is_asked_for_again_over_tcp(network):
    many = [f"api.example. 60 IN A 192.0.2.{n}" for n in range(1, 201)]
    listing = await find(network, answering(flags="TC"), answering(*many))

    assert 200 == len(listing.found)


def test_a_refresh_is_never_more_frequent_than_the_probe():
    """S04: it could not be noticed."""
    config = Config(name="api.example", type="A", refresh_interval=10.0)

    assert (10.0, 60.0) == (discovery.refresh_s(config, 5.0), discovery.refresh_s(config, 60.0))
