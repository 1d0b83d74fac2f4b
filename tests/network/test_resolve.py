"""Names to addresses, against a name server and hosts files of our own."""

import time

import pytest
from servers import answer, http, name_server, serve

from perfmon.clock import ManualClock, SystemClock
from perfmon.network.resolve import ResolveFailed, Resolver

BOTH = ["192.0.2.1", "::1"]


@pytest.fixture
def resolver_of(tmp_path):
    """Make a resolver: `resolver_of(server, "127.0.0.1 localhost")`."""

    def make(server="127.0.0.1:1", hosts="", clock=None):
        (tmp_path / "hosts").write_text(hosts)
        return Resolver(clock=clock or SystemClock(), servers=[server], hosts_file=str(tmp_path / "hosts"))

    return make


async def look_up(resolver, host, *, prefer="ip6", fallback=True, timeout_s=1.0):
    """The answer, or the failure's reason and words."""
    deadline = resolver._clock.monotonic() + timeout_s
    try:
        return await resolver.resolve(host, prefer=prefer, fallback=fallback, deadline=deadline)
    except ResolveFailed as error:
        return error.failure.reason, error.failure.message
    finally:
        await resolver.close()


@pytest.mark.parametrize(("host", "family"), [("192.0.2.7", "ip4"), ("::1", "ip6"), ("2001:db8::7", "ip6")])
async def test_a_literal_costs_nothing_and_asks_nobody(resolver_of, host, family):
    found = await look_up(resolver_of(), host)

    assert (host, family, 0.0) == (found.address, found.family, found.seconds)


@pytest.mark.parametrize("zone", ["nope", "99999"])
async def test_a_zone_that_is_no_interface_of_this_machine_is_told_at_once(resolver_of, zone):
    expected = ("unreachable", f'no network interface "{zone}" on this machine')

    assert expected == await look_up(resolver_of(), f"fe80::1%{zone}")


@pytest.mark.parametrize("zone", ["lo", "1"])
async def test_a_zone_is_told_by_name_or_number(resolver_of, zone):
    assert f"fe80::1%{zone}" == (await look_up(resolver_of(), f"fe80::1%{zone}")).address


async def test_a_literal_of_the_wrong_family_fails_without_fallback(resolver_of):
    expected = ("dns_nxdomain", '"192.0.2.7" has no IPv6 address')

    assert expected == await look_up(resolver_of(), "192.0.2.7", fallback=False)


async def test_a_name_is_asked_for_and_timed(resolver_of):
    async with name_server({"shop.test": ["192.0.2.1"]}) as (address, server):
        found = await look_up(resolver_of(address), "shop.test")

    assert ("192.0.2.1", "ip4", ("192.0.2.1",)) == (found.address, found.family, found.all_addresses)
    assert 0 < found.seconds < 0.5
    assert {"shop.test"} == set(server.asked)


@pytest.mark.parametrize(
    ("addresses", "prefer", "fallback", "expected"),
    [
        (BOTH, "ip6", True, "::1"),
        (BOTH, "ip4", True, "192.0.2.1"),
        (BOTH, "ip6", False, "::1"),
        (["192.0.2.1"], "ip6", True, "192.0.2.1"),
        (["192.0.2.1"], "ip6", False, None),
        (["::1"], "ip4", True, "::1"),
        (["::1"], "ip4", False, None),
    ],
)
async def test_the_preferred_family_wins_where_there_is_one(resolver_of, addresses, prefer, fallback, expected):
    async with name_server({"shop.test": addresses}) as (address, _):
        found = await look_up(resolver_of(address), "shop.test", prefer=prefer, fallback=fallback)

    if expected is None:
        assert "dns_nxdomain" == found[0]
    else:
        assert expected == found.address
        assert set(addresses) == set(found.all_addresses)


async def test_an_address_that_this_machine_cannot_send_to_counts_as_missing(resolver_of):
    """As IPv6 does on a machine without it; here it is the broadcast address, which no machine connects to."""
    async with name_server({"shop.test": ["255.255.255.255", "::1"]}) as (address, _):
        found = await look_up(resolver_of(address), "shop.test", prefer="ip4")

    assert "::1" == found.address


async def test_every_way_to_fail_is_told_apart(resolver_of):
    zone = {"empty.test": []}
    async with name_server(zone, broken=("broken.test",), mute=("mute.test",)) as (address, _):
        missing = await look_up(resolver_of(address), "missing.test")
        empty = await look_up(resolver_of(address), "empty.test")
        broken = await look_up(resolver_of(address), "broken.test")
        mute = await look_up(resolver_of(address), "mute.test", timeout_s=0.2)
        wrong = await look_up(resolver_of(address), "not..a name")

    assert ("dns_nxdomain", 'no such name: "missing.test"') == missing
    assert ("dns_nxdomain", '"empty.test" has no address') == empty
    assert "dns_servfail" == broken[0]
    assert ("dns_timeout", 'look-up of "mute.test" was not over in time') == mute
    assert ("dns_nxdomain", '"not..a name" cannot be a name') == wrong


async def test_a_look_up_ends_at_its_deadline(resolver_of):
    async with name_server({}, mute=("mute.test",)) as (address, _):
        began = time.monotonic()
        await look_up(resolver_of(address), "mute.test", timeout_s=0.1)

    assert time.monotonic() - began < 0.2


async def test_an_answer_is_a_second_old_at_most_whatever_its_time_to_live(resolver_of):
    clock = ManualClock()
    async with name_server({"shop.test": ["192.0.2.1"]}) as (address, server):
        resolver = resolver_of(address, clock=clock)
        how = {"prefer": "ip4", "fallback": True, "deadline": clock.monotonic() + 60}
        first = await resolver.resolve("shop.test", **how)
        server.zone["shop.test"] = ["192.0.2.2"]
        clock.advance(0.5)
        soon = await resolver.resolve("shop.test", **how)
        clock.advance(0.6)
        later = await resolver.resolve("shop.test", **how)
        await resolver.close()

    assert ["192.0.2.1", "192.0.2.1", "192.0.2.2"] == [found.address for found in (first, soon, later)]


async def test_the_hosts_file_comes_first_and_is_read_again_when_it_changes(resolver_of, tmp_path):
    resolver = resolver_of(hosts="# mine\n192.0.2.5  shop.test Shop2 # the shop\n::5 shop.test\nnonsense line\n")
    both = await look_up(resolver, "shop.test", prefer="ip4")
    alias = await look_up(resolver, "SHOP2.")
    (tmp_path / "hosts").write_text("192.0.2.66 shop.test\n")
    changed = await look_up(resolver, "shop.test")

    assert ("192.0.2.5", ("192.0.2.5", "::5")) == (both.address, both.all_addresses)
    assert "192.0.2.5" == alias.address
    assert "192.0.2.66" == changed.address


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST", "shop.localhost"])
async def test_localhost_needs_no_file_and_no_server(resolver_of, name):
    found = await look_up(resolver_of(), name, prefer="ip4")

    assert ("127.0.0.1", ("127.0.0.1", "::1")) == (found.address, found.all_addresses)


async def test_localhost_is_probed_at_the_address_that_serves(network, resolver_of):
    """Debian's hosts file has ::1 as localhost, most servers under development listen on 127.0.0.1 alone."""
    from probing import outcome, probe_http

    network.resolver = resolver_of(hosts="127.0.0.1 localhost\n::1 localhost\n")
    async with serve(http(answer())) as port:
        measurement = await probe_http(network, f"http://localhost:{port}/")

    assert "ok" == outcome(measurement)
