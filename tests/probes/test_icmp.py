"""The icmp probe: on this machine's loopback, and in a network namespace where replies can be late, doubled or spoilt."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from probing import outcome, probe_icmp
from real_blackbox import running_blackbox

from perfmon.network.icmp_packet import build_request, checksum, read_echo
from perfmon.probes.icmp import Config, _Tally, check, check_target

pytestmark = pytest.mark.alone

TESTS = Path(__file__).parents[1]

allowed = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: raw sockets, network namespaces")


@pytest.fixture(scope="module")
def world():
    """What all runs in the namespace gave, by kind of socket and name."""
    ended = subprocess.run(
        ["unshare", "--net", sys.executable, "-W", "error", str(TESTS / "icmp_world.py")],
        capture_output=True, text=True, check=False, timeout=60,
        env=os.environ | {"PYTHONPATH": f"{TESTS.parent}:{TESTS}"},
    )  # fmt: skip
    if "unshare failed" in ended.stderr:
        pytest.skip(f"no network namespaces here: {ended.stderr.strip()}")
    assert 0 == ended.returncode, ended.stderr
    return json.loads(ended.stdout)


@pytest.fixture(params=["raw", "ping"])
def runs(request, world):
    """The same runs by raw sockets and by ping sockets."""
    return world[request.param]


def packets(run):
    names = ("sent", "received", "late", "duplicate", "corrupt")
    return [run["facts"][f"probe_icmp_packets_{name}"] for name in names]


def reason(run):
    return run["failure"] and run["failure"]["reason"]


# ---------------------------------------------------------------- this machine


@allowed
@pytest.mark.parametrize(("address", "protocol"), [("127.0.0.1", 4), ("::1", 6), ("[::1]", 6), ("localhost", 4)])
async def test_i01_a_reply_gives_all_phases_and_the_hop_limit(network, address, protocol):
    measurement = await probe_icmp(network, address, preferred_ip_protocol=f"ip{protocol}")
    facts = measurement.facts
    phases = [facts[f'probe_icmp_duration_seconds{{phase="{phase}"}}'] for phase in ("resolve", "setup", "rtt")]

    assert "ok" == outcome(measurement), measurement.failure
    assert protocol == facts["probe_ip_protocol"]
    assert 64 == facts["probe_icmp_reply_hop_limit"]
    assert sum(phases) == pytest.approx(measurement.duration_s)
    assert 0 < phases[2] < 0.1
    assert 0 == facts["probe_icmp_packet_loss_ratio"]


@allowed
async def test_runs_at_once_do_not_take_each_others_replies(network):
    runs = [probe_icmp(network, "127.0.0.1", packets=3, packet_interval=0.01) for _ in range(100)]
    measurements = await asyncio.gather(*runs)

    assert {"ok"} == {outcome(measurement) for measurement in measurements}
    assert {3} == {measurement.facts["probe_icmp_packets_received"] for measurement in measurements}
    assert {0} == {measurement.facts["probe_icmp_packets_corrupt"] for measurement in measurements}


@allowed
async def test_the_address_to_send_from_is_used(network):
    good = await probe_icmp(network, "localhost", source_ip_address="127.0.0.5")
    bad = await probe_icmp(network, "127.0.0.1", source_ip_address="192.0.2.77")
    worse = await probe_icmp(network, "127.0.0.1", source_ip_address="here")

    assert "ok" == outcome(good)
    assert ("unreachable", "") == (outcome(worse), worse.failure.phase)
    assert ("unreachable", "connect") == (outcome(bad), bad.failure.phase)


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


@allowed
async def test_nothing_leaks(network):
    files = open_files()
    tasks = [asyncio.create_task(probe_icmp(network, "127.0.0.1", packets=9)) for _ in range(20)]
    await asyncio.sleep(0.05)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert files == open_files()


@allowed
@pytest.mark.servers
@pytest.mark.parametrize(("address", "protocol"), [("127.0.0.1", "ip4"), ("::1", "ip6"), ("192.0.2.", "ip4")])
async def test_blackbox_exporter_says_the_same(network, binary, tmp_path, address, protocol):
    module = {"prober": "icmp", "timeout": "2s", "icmp": {"preferred_ip_protocol": protocol, "payload_size": 64}}
    with running_blackbox(binary("prometheus-blackbox-exporter"), tmp_path, {"ping": module}) as blackbox:
        theirs = await asyncio.to_thread(blackbox.probe, "ping", address)
    measurement = await probe_icmp(network, address, preferred_ip_protocol=protocol, payload_size=64)
    ours = measurement.facts | {"probe_success": float(measurement.success)}
    timed = {key for key in theirs if "seconds" in key}

    assert {key for key in theirs if key not in ours} <= {"probe_duration_seconds"}
    assert {key: value for key, value in theirs.items() if key not in timed} == {
        key: ours[key] for key in theirs if key not in timed
    }


# ---------------------------------------------------------------- a machine of its own


@allowed
def test_i02_the_payload_is_as_long_as_asked_for(runs):
    assert [8 + 3] == [len(bytes.fromhex(request)) for request in runs["payload"]["requests"]]
    assert [8 + 28] == [len(bytes.fromhex(request)) for request in runs["good"]["requests"]]


@allowed
@pytest.mark.parametrize(
    ("name", "expected", "counted"),
    [
        ("good", None, [1, 1, 0, 0, 0]),
        ("payload", None, [1, 1, 0, 0, 0]),
        ("many", None, [6, 6, 0, 0, 0]),
        ("twice", None, [3, 3, 0, 2, 0]),  # the last packet's double comes when the run is over
        ("late", "timeout", [2, 0, 1, 0, 0]),
        ("late but in time", None, [1, 1, 0, 0, 0]),
        ("spoilt", "body", [1, 0, 0, 0, 1]),
        ("short", "body", [1, 0, 0, 0, 1]),
        ("foreign", "timeout", [1, 0, 0, 0, 0]),
        ("stranger", "timeout", [1, 0, 0, 0, 0]),
        ("silent", "timeout", [1, 0, 0, 0, 0]),
        ("some", "timeout", [4, 2, 0, 0, 0]),
        ("enough", None, [4, 2, 0, 0, 0]),
    ],
)
def test_i04_i05_only_whole_replies_in_time_count(runs, name, expected, counted):
    assert expected == reason(runs[name]), runs[name]["failure"]
    assert counted == packets(runs[name])


@allowed
def test_every_run_ends_in_time(runs):
    assert {True} == {run["took_s"] < 0.4 for run in runs.values()}
    assert runs["good"]["took_s"] < 0.1
    assert 0.3 <= runs["silent"]["took_s"]


@allowed
def test_the_phases_of_a_failure_say_where_the_time_went(runs):
    assert "processing" == runs["silent"]["failure"]["phase"]
    assert 0.28 <= runs["silent"]["phases"]["processing"] < 0.4
    assert "no reply from 127.0.0.1" == runs["silent"]["failure"]["message"]


@allowed
def test_round_trips_are_summed_up(runs):
    facts = runs["many"]["facts"]
    low, mean, high, spread = (
        facts[f"probe_icmp_duration_rtt_{name}_seconds"] for name in ("min", "mean", "max", "stddev")
    )

    assert 0.01 <= low < mean < high < 0.03
    assert 0.003 < spread < 0.01
    assert 0.007 < facts["probe_icmp_jitter_seconds"] < 0.015
    assert mean == facts['probe_icmp_duration_seconds{phase="rtt"}'] == runs["many"]["phases"]["processing"]


@allowed
def test_a_share_of_loss_is_told_in_words(runs):
    assert "2 of 4 packets to 127.0.0.1 lost, expected 25% at most" == runs["some"]["failure"]["message"]
    assert 0.5 == runs["some"]["facts"]["probe_icmp_packet_loss_ratio"]
    assert "1 came back late, after up to " in runs["late"]["failure"]["message"]


@allowed
def test_more_packets_than_there_is_time_for_fail(runs):
    assert "timeout" == reason(runs["too many"])
    assert "packets could be sent in time, one each 100ms" in runs["too many"]["failure"]["message"]


@allowed
def test_a_packet_that_may_not_be_cut_and_does_not_fit_is_too_large(runs):
    assert "too_large" == reason(runs["cut"])
    assert "127.0.0.1 cannot be reached: the packet is larger than the way takes" in runs["cut"]["failure"]["message"]
    assert reason(runs["whole"]) is None


@allowed
def test_a_routers_word_ends_the_run_at_once(runs):
    run = runs["unreachable"]

    assert "unreachable" == reason(run)
    assert "127.0.0.1 cannot be reached: host unreachable, says 127.0.0.1" == run["failure"]["message"]
    assert run["took_s"] < 0.1


@allowed
def test_a_routers_word_about_the_packets_of_others_is_not_ours(runs):
    assert runs["unreachable for others"]["failure"] is None


@allowed
def test_an_address_without_a_route_is_unreachable(world):
    assert "192.0.2.1 cannot be reached: network is unreachable" == world["no route"]["failure"]["message"]
    assert "connect" == world["no route"]["failure"]["phase"]


@allowed
def test_who_may_open_neither_kind_of_socket_is_told_how(world):
    assert ("permission", "connect") == (reason(world["forbidden"]), world["forbidden"]["failure"]["phase"])
    assert "net.ipv4.ping_group_range" in world["forbidden"]["failure"]["message"]


@allowed
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_an_unprivileged_process_pings_where_its_group_may(world, address):
    run = world["unprivileged"][address]

    assert run["failure"] is None
    assert [1, 1, 0, 0, 0] == packets(run)


# ---------------------------------------------------------------- mistakes in a file


@pytest.mark.parametrize("ttl", [0, 1, 255])
def test_i02_a_hop_limit_of_a_byte_is_taken(ttl):
    assert [] == list(check(Config(ttl=ttl)))


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"ttl": -1}, "ttl"),
        ({"ttl": 256}, "ttl"),
        ({"payload_size": -1}, "payload_size"),
        ({"payload_size": 65_508}, "payload_size"),
        ({"packets": 0}, "packets"),
        ({"packets": 1_001}, "packets"),
        ({"packet_interval": 0.005}, "packet_interval"),
        ({"max_loss": 1.0}, "max_loss"),
        ({"source_ip_address": "here"}, "source_ip_address"),
    ],
)
def test_i02_each_mistake_is_named(config, path):
    ((found, message),) = check(Config(**config))

    assert path == found
    assert message.startswith("expected ") or "address" in message


@pytest.mark.parametrize("address", ["", "127.0.0.1:80", "http://a.test", "a b", "a.test/", "[::1]:7"])
async def test_an_address_that_is_none_fails_in_words(network, address):
    measurement = await probe_icmp(network, address)

    assert "unreachable" == outcome(measurement)
    assert check_target(address, Config()) == measurement.failure.message


# ---------------------------------------------------------------- packets


def rfc_1071(data):
    """Word by word, as the RFC has it."""
    total = 0
    for at in range(0, len(data), 2):
        total += (data[at] << 8) + (data[at + 1] if at + 1 < len(data) else 0)
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


@given(st.binary(max_size=200))
def test_the_checksum_is_that_of_rfc_1071(data):
    assert rfc_1071(data) == checksum(data)


@pytest.mark.parametrize(("received", "share"), [(7, 0.3), (9, 0.1), (3, 0.7), (4, 0.6)])
def test_a_share_of_loss_is_as_it_is_written(received, share):
    tally = _Tally(Config(packets=10))
    for sequence in range(10):
        tally.sent_at[sequence] = 0.0
    for sequence in range(received):
        tally.answer(sequence, 0.1)

    assert share == tally.loss


@given(st.sampled_from([4, 6]), st.integers(0, 65_535), st.integers(0, 65_535), st.binary(max_size=64))
def test_a_request_is_read_as_it_was_written(version, ident, sequence, payload):
    packet = build_request(version, ident, sequence, payload)
    echo = read_echo(version, packet, request=True)

    assert (ident, sequence, payload) == (echo.ident, echo.sequence, echo.payload)
    assert read_echo(version, packet) is None
    assert version == 6 or checksum(packet) == 0


@given(st.sampled_from([4, 6]), st.binary(max_size=100), st.booleans(), st.booleans())
def test_whatever_comes_is_read_or_is_none(version, data, with_ip_header, request):
    echo = read_echo(version, data, with_ip_header=with_ip_header, request=request)

    assert echo is None or data.endswith(echo.payload)
