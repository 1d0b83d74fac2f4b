"""Which of a name's addresses an http probe goes to. Ids are rows of the conformance cases."""

import pytest
from probing import outcome, probe_http
from servers import answer, full_backlog, http, serve, unused_port

from perfmon.clock import SystemClock
from perfmon.network.resolve import Resolver


@pytest.fixture
def two_addresses(network, tmp_path):
    """`two.example` is at 127.0.0.1 and at 127.0.0.2."""
    file = tmp_path / "hosts"
    file.write_text("127.0.0.1 two.example\n127.0.0.2 two.example\n")
    network.resolver = Resolver(clock=SystemClock(), hosts_file=str(file))
    return network


@pytest.mark.parametrize(
    ("policy", "expected"),
    [pytest.param("first", "connect_refused", id="H68 first"), pytest.param("any", "ok", id="H68 any")],
)
async def test_h68_the_first_address_refuses(two_addresses, policy, expected):
    async with serve(http(answer()), host="127.0.0.2") as port:
        measurement = await probe_http(two_addresses, f"http://two.example:{port}/", ip_policy=policy)

    assert expected == outcome(measurement)
    assert ("127.0.0.2" if policy == "any" else "127.0.0.1") == measurement.address


async def test_an_address_that_is_silent_leaves_time_for_the_next(two_addresses):
    with full_backlog() as port:
        async with serve(http(answer()), host="127.0.0.2", port=port):
            measurement = await probe_http(two_addresses, f"http://two.example:{port}/", ip_policy="any", timeout_s=1.0)

    assert "ok" == outcome(measurement), measurement.failure
    assert measurement.phases["connect"] > 0.4


async def test_when_no_address_will_do_the_last_one_is_blamed(two_addresses):
    port = unused_port()
    measurement = await probe_http(two_addresses, f"http://two.example:{port}/", ip_policy="any")

    assert f"connection refused by 127.0.0.2:{port}" == measurement.failure.message


async def test_a_server_that_answers_badly_decides(two_addresses):
    port = unused_port()
    async with (
        serve(http(answer(status=500)), host="127.0.0.1", port=port),
        serve(http(answer()), host="127.0.0.2", port=port),
    ):
        measurement = await probe_http(two_addresses, f"http://two.example:{port}/", ip_policy="any")

    assert "status" == outcome(measurement)
