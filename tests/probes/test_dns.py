"""The dns probe against name servers on loopback. Names of tests begin with the ids of the conformance cases."""

import asyncio
import socket
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dns.flags
import dns.message
import msgspec
import pytest
import uvloop
from dns_server import answering, name_server
from probing import outcome, probe_dns
from real_blackbox import running_blackbox
from servers import LONG_AGO, reset, serve, silent, unused_port

from perfmon.clock import SystemClock
from perfmon.network import Network
from perfmon.network.tls import TlsConfig
from perfmon.probes.dns import Config, RecordRules, check, check_target

A2 = ("example.com. 3600 IN A 127.0.0.1", "example.com. 3600 IN A 127.0.0.2")
ISP = {
    "authority": ("example.com. 7200 IN NS ns1.isp.net.", "example.com. 7200 IN NS ns2.isp.net."),
    "additional": (
        "ns1.isp.net. 7200 IN A 127.0.0.1",
        "ns1.isp.net. 7200 IN AAAA ::1",
        "ns2.isp.net. 7200 IN A 127.0.0.2",
    ),
}
RECURSIVE = answering(*A2, flags="RA")
AUTHORITATIVE = answering(A2[0], flags="AA", **ISP)


async def ask(network, tell, *, transport="udp", timeout_s=0.5, **config):
    """One run against a server that says the same over UDP and TCP."""
    given = {"query_name": "example.com", "query_type": "A", "transport_protocol": transport} | config
    async with name_server(tell, tell) as (address, _):
        return await probe_dns(network, address, timeout_s=timeout_s, **given)


def sections(**rules):
    """`answer={"fail_if_matches_regexp": [...]}` as the config has it."""
    return {f"validate_{name}_rrs": RecordRules(**rule) for name, rule in rules.items()}


def counts(measurement):
    names = ("answer_rrs", "authority_rrs", "additional_rrs", "query_succeeded")
    return [measurement.facts[f"probe_dns_{name}"] for name in names]


# ---------------------------------------------------------------- conformance

CASES = [
    ("D01", RECURSIVE, {}, "ok", [2, 0, 0, 1]),
    ("D02", RECURSIVE, {"valid_rcodes": ["SERVFAIL", "NXDOMAIN"]}, "status", [2, 0, 0, 1]),
    ("D04", RECURSIVE, sections(authority={"fail_if_matches_regexp": [".*"]}), "ok", [2, 0, 0, 1]),
    ("D05", RECURSIVE, sections(additional={"fail_if_not_matches_regexp": [".*"]}), "body", [2, 0, 0, 1]),
    ("D07", AUTHORITATIVE, {}, "ok", [1, 2, 3, 1]),
    (
        "D10",
        AUTHORITATIVE,
        sections(answer={"fail_if_matches_regexp": [".*3600.*"], "fail_if_not_matches_regexp": [".*3600.*"]}),
        "body",
        [1, 2, 3, 1],
    ),
    ("D11", AUTHORITATIVE, sections(answer={"fail_if_not_matches_regexp": [".*7200.*"]}), "body", [1, 2, 3, 1]),
    ("D13a", AUTHORITATIVE, sections(additional={"fail_if_not_matches_regexp": ["^ns.*.isp"]}), "ok", [1, 2, 3, 1]),
    ("D13b", AUTHORITATIVE, sections(additional={"fail_if_matches_regexp": ["^ns.*.isp"]}), "body", [1, 2, 3, 1]),
    ("D14", AUTHORITATIVE, sections(additional={"fail_if_all_match_regexp": [".*127.0.0.*"]}), "body", [1, 2, 3, 1]),
    ("D16a", answering(rcode="SERVFAIL"), {}, "status", [0, 0, 0, 1]),
    ("D16b", answering(rcode="SERVFAIL"), {"valid_rcodes": ["SERVFAIL", "NXDOMAIN"]}, "ok", [0, 0, 0, 1]),
    ("D17a", RECURSIVE, {"query_type": "NOT_A_TYPE"}, "query", [0, 0, 0, 0]),
    ("D17b", RECURSIVE, {"valid_rcodes": ["NOT_A_RCODE"]}, "query", [2, 0, 0, 1]),
    ("D22a", answering(A2[0]), {"min_answers": 1}, "ok", [1, 0, 0, 1]),
    ("D22b", answering(A2[0]), {"min_answers": 2}, "body", [1, 0, 0, 1]),
]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
async def test_conformance(network, transport, case):
    _, tell, config, expected, rrs = case
    measurement = await ask(network, tell, transport=transport, **config)

    assert expected == outcome(measurement), measurement.failure
    assert rrs == counts(measurement)


@pytest.fixture(scope="module")
def blackbox(binary, tmp_path_factory):
    """blackbox_exporter with a module for each case that it can be told, over either transport."""
    modules = {
        f"{name}_{transport}": {
            "prober": "dns",
            "timeout": "2s",
            "dns": {"query_name": "example.com", "query_type": "A", "transport_protocol": transport}
            | {"preferred_ip_protocol": "ip4"}
            | msgspec.to_builtins({key: _as_written(value) for key, value in config.items()}),
        }
        for transport in ("udp", "tcp")
        for name, _, config, *_ in CASES
        if name not in REFUSED_BY_BLACKBOX
    }
    folder = tmp_path_factory.mktemp("blackbox")
    with running_blackbox(binary("prometheus-blackbox-exporter"), folder, modules) as running:
        yield running


REFUSED_BY_BLACKBOX = ("D17a", "D22a", "D22b")  # at load: a type that is none, a field that it has not


def _as_written(value):
    if not isinstance(value, RecordRules):
        return value
    return {name: getattr(value, name) for name in RecordRules.__struct_fields__ if getattr(value, name)}


@pytest.mark.servers
@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("case", [c for c in CASES if c[0] not in REFUSED_BY_BLACKBOX], ids=lambda case: case[0])
async def test_blackbox_exporter_says_the_same(network, blackbox, transport, case):
    name, tell, config, *_ = case
    given = {"query_name": "example.com", "query_type": "A", "transport_protocol": transport} | config
    async with name_server(tell, tell) as (address, _):
        theirs = await asyncio.to_thread(blackbox.probe, f"{name}_{transport}", address)
        measurement = await probe_dns(network, address, **given)
    ours = measurement.facts | {"probe_success": float(measurement.success)}
    timed = {key for key in theirs if "seconds" in key}

    assert {key for key in theirs if key not in ours} <= {"probe_duration_seconds"}
    assert {key: value for key, value in theirs.items() if key not in timed} == {
        key: ours[key] for key in theirs if key not in timed
    }


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_d08_the_serial_of_a_zone_is_told(network, transport):
    soa = answering("example.com. 3600 IN SOA ns.example.com. noc.example.com. 1000 7200 3600 1209600 3600")
    measurement = await ask(network, soa, transport=transport, query_type="SOA")

    assert "ok" == outcome(measurement)
    assert 1000 == measurement.facts["probe_dns_serial"]


async def test_d08_without_asking_for_soa_there_is_no_serial(network):
    assert "probe_dns_serial" not in (await ask(network, RECURSIVE)).facts


ONE_OF_THREE = [".*127.0.0.1$"]
ALL_OF_THREE = ["^ns"]


@pytest.mark.parametrize(
    ("field", "patterns", "records", "expected"),
    [
        ("fail_if_all_match_regexp", ONE_OF_THREE, True, "body"),  # blackbox_exporter's meaning: all must match
        ("fail_if_all_match_regexp", ALL_OF_THREE, True, "ok"),
        ("fail_if_all_match_regexp", ALL_OF_THREE, False, "ok"),
        ("fail_if_every_record_matches_regexp", ONE_OF_THREE, True, "ok"),  # what the name says
        ("fail_if_every_record_matches_regexp", ALL_OF_THREE, True, "body"),
        ("fail_if_every_record_matches_regexp", ALL_OF_THREE, False, "ok"),
        ("fail_if_none_matches_regexp", ONE_OF_THREE, True, "ok"),
        ("fail_if_none_matches_regexp", ["nowhere", "127.0.0.2"], True, "ok"),
        ("fail_if_none_matches_regexp", ["nowhere"], True, "body"),
        ("fail_if_none_matches_regexp", ALL_OF_THREE, False, "body"),
        ("fail_if_not_matches_regexp", ONE_OF_THREE, True, "body"),
        ("fail_if_matches_regexp", ["nowhere"], True, "ok"),
    ],
)
async def test_d14_each_rule_means_one_thing(network, field, patterns, records, expected):
    tell = answering(A2[0], additional=ISP["additional"] if records else ())

    assert expected == outcome(await ask(network, tell, **sections(additional={field: patterns})))


async def test_a_rule_is_matched_against_name_ttl_class_type_and_data_with_tabs(network):
    line = r"^example\.com\.\t3600\tIN\tA\t127\.0\.0\.1$"
    measurement = await ask(network, answering(A2[0]), **sections(answer={"fail_if_not_matches_regexp": [line]}))

    assert "ok" == outcome(measurement)


async def test_d19_without_a_transport_it_is_udp(network):
    async with name_server(None, RECURSIVE) as (address, asked):
        measurement = await probe_dns(network, address, query_name="example.com", timeout_s=0.3)

    assert "connect_refused" == outcome(measurement)
    assert [] == asked.tcp


@pytest.mark.parametrize(
    ("address", "config", "expected"),
    [
        ("ns.test", {}, ("ns.test", 53)),
        ("192.0.2.1", {}, ("192.0.2.1", 53)),
        ("::1", {}, ("::1", 53)),
        ("[::1]", {}, ("::1", 53)),
        ("[::1]:5353", {}, ("::1", 5353)),
        ("192.0.2.1", {"dns_over_tls": True, "transport_protocol": "tcp"}, ("192.0.2.1", 853)),
        ("192.0.2.1:8853", {"dns_over_tls": True, "transport_protocol": "tcp"}, ("192.0.2.1", 8853)),
    ],
)
def test_d20_a_target_without_a_port_has_that_of_its_transport(address, config, expected):
    from perfmon.probes.dns import _server_of

    assert expected == _server_of(address, Config(query_name="a.test", **config))


def test_d20_dns_over_tls_needs_tcp():
    assert [("dns_over_tls", "DNS over TLS needs transport_protocol: tcp")] == list(
        check(Config(query_name="a.test", dns_over_tls=True))
    )


@pytest.mark.parametrize(
    ("config", "expected"), [({}, True), ({"recursion_desired": True}, True), ({"recursion_desired": False}, False)]
)
async def test_d23_recursion_is_desired_unless_it_is_not(network, config, expected):
    async with name_server(RECURSIVE) as (address, asked):
        await probe_dns(network, address, query_name="example.com", **config)

    assert expected == bool(asked.udp[0].flags & dns.flags.RD)


@pytest.mark.parametrize(
    ("kind", "name", "record"),
    [
        ("A", "a.test", "a.test. 60 IN A 192.0.2.1"),
        ("AAAA", "a.test", "a.test. 60 IN AAAA 2001:db8::1"),
        ("CNAME", "a.test", "a.test. 60 IN CNAME b.test."),
        ("MX", "a.test", "a.test. 60 IN MX 10 mail.test."),
        ("NS", "a.test", "a.test. 60 IN NS ns.test."),
        ("PTR", "1.2.0.192.in-addr.arpa", "1.2.0.192.in-addr.arpa. 60 IN PTR a.test."),
        ("PTR", "192.0.2.1", "1.2.0.192.in-addr.arpa. 60 IN PTR a.test."),
        ("TXT", "a.test", 'a.test. 60 IN TXT "v=spf1 -all"'),
        ("CAA", "a.test", 'a.test. 60 IN CAA 0 issue "ca.test"'),
        ("TYPE65534", "a.test", r"a.test. 60 IN TYPE65534 \# 2 abcd"),
    ],
)
async def test_d25_every_type_is_asked_for_and_read(network, kind, name, record):
    data = record.split(None, 4)[4].replace("\\", r"\\").replace(".", r"\.")
    async with name_server(answering(record)) as (address, asked):
        measurement = await probe_dns(
            network, address, query_name=name, query_type=kind,
            **sections(answer={"fail_if_not_matches_regexp": [f"\\t{kind}\\t{data}$"]}),
        )  # fmt: skip

    assert "ok" == outcome(measurement), measurement.failure
    assert record.split()[0] == asked.udp[0].question[0].name.to_text()


async def test_d26_a_question_is_asked_again_until_it_is_answered(network):
    def third(query):
        return RECURSIVE(query) if len(asked.udp) == 3 else []

    async with name_server(third) as (address, asked):
        measurement = await probe_dns(network, address, query_name="example.com", attempts=4, timeout_s=0.4)

    assert "ok" == outcome(measurement)
    assert 3 == measurement.facts["probe_dns_attempts"]
    assert 3 == len({query.id for query in asked.udp})


async def test_d26_attempts_that_fail_are_counted_too(network):
    measurement = await ask(network, lambda query: [], attempts=3, timeout_s=0.15)

    assert "timeout" == outcome(measurement)
    assert 3 == measurement.facts["probe_dns_attempts"]


# ---------------------------------------------------------------- what is not an answer


def other_id(query):
    response = RECURSIVE(query)
    response.id = (query.id + 1) & 0xFFFF
    return response


def other_question(query):
    wire = bytearray(RECURSIVE(query).to_wire())
    wire[13:20] = b"exemple"
    return [bytes(wire)]


def other_type(query):
    asked = dns.message.make_query("example.com", "AAAA", id=query.id)
    return answering("example.com. 60 IN AAAA ::1")(asked)


def no_response(query):
    return [query.to_wire()]


def too_short(query):
    return [b"", query.to_wire()[:11]]


WRONG = [
    (tell, transport) for tell in (other_id, other_question, other_type, no_response) for transport in ("udp", "tcp")
]


@pytest.mark.parametrize(("tell", "transport"), [*WRONG, (too_short, "udp")])
async def test_d28_what_answers_something_else_is_ignored(network, tell, transport):
    measurement = await ask(network, tell, transport=transport, timeout_s=0.1)

    assert "timeout" == outcome(measurement)
    assert "processing" == measurement.failure.phase
    assert "to another question" in measurement.failure.message
    assert 0 == measurement.facts["probe_dns_query_succeeded"]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("tell", [other_id, other_question, other_type], ids=lambda tell: tell.__name__)
async def test_d28_the_right_answer_after_a_wrong_one_counts(network, transport, tell):
    def both(query):
        wrong = tell(query)
        return [*(wrong if isinstance(wrong, list) else [wrong.to_wire()]), RECURSIVE(query).to_wire()]

    assert "ok" == outcome(await ask(network, both, transport=transport))


async def test_d28_an_answer_from_another_address_is_none(network):
    """The server's second socket knows the id and the question, and is not who was asked."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere:
        elsewhere.bind(("127.0.0.2", 0))

        def from_elsewhere(query):
            elsewhere.sendto(RECURSIVE(query).to_wire(), asked.heard_from[-1])
            return []

        async with name_server(from_elsewhere) as (address, asked):
            measurement = await probe_dns(network, address, query_name="example.com", timeout_s=0.1)

    assert 1 == len(asked.heard_from)
    assert "timeout" == outcome(measurement)
    assert "no answer from" in measurement.failure.message


async def test_a_server_may_write_the_name_in_other_letters(network):
    def shouting(query):
        wire = RECURSIVE(query).to_wire()
        return [wire.replace(b"example", b"EXAMPLE", 1)]

    assert "ok" == outcome(await ask(network, shouting))


async def test_a_refusal_without_the_question_is_an_answer(network):
    def bare(query):
        return [query.id.to_bytes(2, "big") + bytes([0x80, 0x05]) + bytes(8)]

    measurement = await ask(network, bare)

    assert "status" == outcome(measurement)
    assert "answered REFUSED, expected NOERROR" == measurement.failure.message


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_records_that_break_off_are_no_answer(network, transport):
    measurement = await ask(network, lambda query: [RECURSIVE(query).to_wire()[:-3]], transport=transport)

    assert "body" == outcome(measurement)
    assert "answer is not a message of DNS" in measurement.failure.message
    assert 0 == measurement.facts["probe_dns_query_succeeded"]


# ---------------------------------------------------------------- TC


async def test_an_answer_that_was_cut_is_asked_for_again_over_tcp(network):
    async with name_server(answering(flags="TC"), RECURSIVE) as (address, asked):
        measurement = await probe_dns(network, address, query_name="example.com")

    assert "ok" == outcome(measurement)
    assert [2, 0, 0, 1] == counts(measurement)
    assert (1, 1, 2) == (len(asked.udp), len(asked.tcp), measurement.facts["probe_dns_attempts"])


async def test_an_answer_may_be_cut_in_the_middle_of_a_record(network):
    def cut(query):
        return [answering(*A2, flags="TC")(query).to_wire()[:-5]]

    async with name_server(cut, RECURSIVE) as (address, _):
        measurement = await probe_dns(network, address, query_name="example.com")

    assert "ok" == outcome(measurement)


async def test_a_run_with_debug_tells_what_was_answered(network):
    async with name_server(answering(flags="TC"), AUTHORITATIVE) as (address, _):
        measurement = await probe_dns(network, address, query_name="example.com", debug=True)
    told = "\n".join(measurement.lines)

    assert f"asking server={address} name=example.com type=ANY" in told
    assert "answer was cut, asking again over TCP" in told
    assert "answered rcode=NOERROR authoritative=True" in told
    assert "authority: example.com. 7200 IN NS ns1.isp.net." in told


async def test_an_answer_that_was_cut_is_none_where_nobody_listens_on_tcp(network):
    async with name_server(answering(A2[0], flags="TC")) as (address, _):
        measurement = await probe_dns(network, address, query_name="example.com")

    assert "connect_refused" == outcome(measurement)
    assert "connect" == measurement.failure.phase


async def test_an_answer_over_tcp_that_was_cut_is_short(network):
    assert "short_body" == outcome(await ask(network, answering(A2[0], flags="TC"), transport="tcp"))


async def test_an_answer_of_64_kib_is_read(network):
    many = [f"example.com. 60 IN TXT {'x' * 200}{number}" for number in range(280)]
    measurement = await ask(network, answering(*many), transport="tcp", min_answers=280)

    assert "ok" == outcome(measurement)
    assert 280 == measurement.facts["probe_dns_answer_rrs"]


# ---------------------------------------------------------------- D29


def signed(until):
    stamp = until.strftime("%Y%m%d%H%M%S")
    return answering(
        A2[0], f"example.com. 3600 IN RRSIG A 8 2 3600 {stamp} 20200101000000 1 example.com. AAAA", flags="AD"
    )


async def test_d29_a_question_for_signatures_says_so(network):
    async with name_server(RECURSIVE) as (address, asked):
        await probe_dns(network, address, query_name="example.com", dnssec=True)
        await probe_dns(network, address, query_name="example.com")

    with_edns, without = asked.udp
    assert (0, True, 1232) == (with_edns.edns, bool(with_edns.ednsflags & dns.flags.DO), with_edns.payload)
    assert -1 == without.edns


@pytest.mark.parametrize(("flags", "expected"), [("AD", "ok"), ("", "auth")])
async def test_d29_the_server_must_have_verified_the_signatures(network, flags, expected):
    measurement = await ask(network, answering(A2[0], flags=flags), dnssec=True, fail_if_not_authenticated=True)

    assert expected == outcome(measurement)


@pytest.mark.parametrize(("days", "expected"), [(30, "ok"), (3, "body"), (-1, "body")])
async def test_d29_a_signature_that_ends_soon_is_told(network, days, expected):
    until = datetime.now(UTC) + timedelta(days=days)
    measurement = await ask(network, signed(until), dnssec=True, fail_if_rrsig_expires_within=7 * 86_400.0)

    assert expected == outcome(measurement)
    assert int(until.timestamp()) == measurement.facts["probe_dns_rrsig_expiry_timestamp_seconds"]


async def test_d29_an_answer_without_a_signature_has_none_that_lasts(network):
    measurement = await ask(network, RECURSIVE, dnssec=True, fail_if_rrsig_expires_within=60.0)

    assert "the answer has no signature (RRSIG)" == measurement.failure.message


async def test_d29_a_name_that_leads_back_to_itself_fails(network):
    loop = answering("example.com. 60 IN CNAME b.test.", "b.test. 60 IN CNAME c.test.", "c.test. 60 IN CNAME B.test.")
    measurement = await ask(network, loop)

    assert "CNAME loop: example.com. -> b.test. -> c.test. -> b.test." == measurement.failure.message


async def test_the_server_must_speak_for_the_zone_where_that_is_asked(network):
    assert "ok" == outcome(await ask(network, AUTHORITATIVE, fail_if_not_authoritative=True))
    assert "status" == outcome(await ask(network, RECURSIVE, fail_if_not_authoritative=True))


# ---------------------------------------------------------------- over TLS


async def ask_over_tls(network, authority, context, **how):
    given = {"hostname": "ns.example", "tls_config": TlsConfig(ca_file=authority.file)} | how
    async with name_server(None, RECURSIVE, tls=context) as (address, _):
        return await probe_dns(
            network, address, query_name="example.com", transport_protocol="tcp", dns_over_tls=True, **given
        )


async def test_dns_over_tls_tells_of_certificates_and_of_its_phases(network, authority):
    measurement = await ask_over_tls(network, authority, authority.context("ns.example"))
    facts, phases = measurement.facts, measurement.phases

    assert "ok" == outcome(measurement)
    assert ["resolve", "connect", "tls", "request", "processing"] == list(phases)
    assert phases["connect"] + phases["tls"] == facts['probe_dns_duration_seconds{phase="connect"}']
    assert datetime(2100, 1, 1, tzinfo=UTC).timestamp() == facts["probe_ssl_earliest_cert_expiry"]
    assert 1 == facts['probe_tls_version_info{version="TLS 1.3"}']


async def test_a_certificate_that_has_expired_is_told_and_shown(network, authority):
    measurement = await ask_over_tls(network, authority, authority.context("ns.example", until=LONG_AGO))

    assert "tls_expired" == outcome(measurement)
    assert "tls" == measurement.failure.phase
    assert "expired on 2020-01-01" in measurement.failure.message
    assert LONG_AGO.timestamp() == measurement.facts["probe_ssl_earliest_cert_expiry"]
    assert 0 == measurement.facts["probe_dns_query_succeeded"]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"hostname": "other.example"}, "tls_name_mismatch"),
        ({"tls_config": TlsConfig()}, "tls_untrusted"),
        ({"tls_config": TlsConfig(insecure_skip_verify=True)}, "ok"),
        ({"hostname": "", "tls_config": TlsConfig(insecure_skip_verify=True)}, "ok"),
    ],
)
async def test_the_name_and_the_authority_of_the_certificate_count(network, authority, how, expected):
    assert expected == outcome(await ask_over_tls(network, authority, authority.context("ns.example"), **how))


async def test_a_server_that_speaks_no_tls_is_told(network, authority):
    measurement = await ask_over_tls(network, authority, None, timeout_s=0.2)

    assert outcome(measurement) in ("tls_handshake", "reset", "timeout")
    assert "tls" == measurement.failure.phase


# ---------------------------------------------------------------- faults


async def drip(reader, writer):
    await reader.read(100)
    writer.write(b"\xff\xff")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


async def flood(reader, writer):
    """Messages without end that answer nothing."""
    await reader.read(100)
    while True:
        writer.write((b"\x10\x00" + bytes(4096)) * 16)
        await writer.drain()


async def half(reader, writer):
    await reader.read(100)
    writer.write(b"\x00\x50" + bytes(10))
    await writer.drain()
    writer.close()


async def leaving(reader, writer):
    await reader.read(100)
    writer.close()


async def rude(reader, writer):
    await reader.read(100)
    reset(writer)


@pytest.mark.parametrize(
    ("server", "expected", "phase"),
    [
        (silent, "timeout", "processing"),
        (leaving, "closed", "processing"),
        (rude, "reset", "processing"),
        (half, "short_body", "processing"),
        (drip, "timeout", "processing"),
        (flood, "timeout", "processing"),
    ],
)
async def test_every_fault_of_a_connection_ends_in_time_with_its_reason(network, server, expected, phase):
    async with serve(server) as port:
        began = time.monotonic()
        measurement = await probe_dns(
            network, f"127.0.0.1:{port}", query_name="a.test", transport_protocol="tcp", timeout_s=0.2
        )

    assert (expected, phase) == (outcome(measurement), measurement.failure.phase), measurement.failure
    assert time.monotonic() - began < 0.4
    assert sum(measurement.phases.values()) == measurement.duration_s < 0.3


async def test_silence_over_udp_ends_in_time(network):
    began = time.monotonic()
    measurement = await ask(network, lambda query: [], timeout_s=0.1)

    assert ("timeout", "processing") == (outcome(measurement), measurement.failure.phase)
    assert 0.1 <= time.monotonic() - began < 0.2
    assert measurement.failure.message.startswith("no answer from 127.0.0.1:")


async def test_a_flood_over_udp_holds_up_nobody(network):
    """While 1,000 datagrams that answer nothing come at once, the loop goes on."""
    longest = 0.0

    async def watch():
        nonlocal longest
        while True:
            began = time.monotonic()
            await asyncio.sleep(0)
            longest = max(longest, time.monotonic() - began)

    async with name_server(lambda query: []) as (address, asked):
        task = asyncio.create_task(probe_dns(network, address, query_name="a.test", timeout_s=0.2))
        await asyncio.sleep(0.02)
        watcher = asyncio.create_task(watch())
        for _ in range(1000):
            asked.reply(b"x" * 512)
        measurement = await task
        watcher.cancel()

    assert "timeout" == outcome(measurement)
    assert longest < 0.05


async def test_a_port_that_nobody_listens_on_is_refused(network):
    for transport in ("udp", "tcp"):
        measurement = await probe_dns(
            network, f"127.0.0.1:{unused_port()}", query_name="a.test", transport_protocol=transport
        )
        assert "connect_refused" == outcome(measurement)


async def test_localhost_is_asked_at_the_address_that_listens(network):
    async with name_server(RECURSIVE) as (address, _):
        measurement = await probe_dns(network, address.replace("127.0.0.1", "localhost"), query_name="example.com")

    assert "ok" == outcome(measurement)


async def test_a_name_server_whose_own_name_is_unknown_is_the_resolvers_failure(network):
    measurement = await probe_dns(network, "ns.invalid..", query_name="example.com", timeout_s=0.3)

    assert "dns_nxdomain" == outcome(measurement)
    assert "resolve" == measurement.failure.phase


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_the_address_to_send_from_is_used(network, transport):
    good = await ask(network, RECURSIVE, transport=transport, source_ip_address="127.0.0.5")
    bad = await ask(network, RECURSIVE, transport=transport, source_ip_address="192.0.2.77")
    worse = await ask(network, RECURSIVE, transport=transport, source_ip_address="here")

    assert "ok" == outcome(good)
    assert ("unreachable", "") == (outcome(worse), worse.failure.phase)
    assert ("unreachable", "connect") == (outcome(bad), bad.failure.phase)
    assert "192.0.2.77" in bad.failure.message


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_nothing_leaks_when_a_run_is_cancelled(network):
    async with name_server(lambda query: [], lambda query: []) as (address, _):
        await probe_dns(network, address, query_name="a.test", timeout_s=0.05)
        files = open_files()
        for transport in ("udp", "tcp"):
            tasks = [
                asyncio.create_task(probe_dns(network, address, query_name="a.test", transport_protocol=transport))
                for _ in range(20)
            ]
            await asyncio.sleep(0.03)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.03)

        assert open_files() <= files + 20  # the server's own ends of the connections


async def test_phases_add_up(network):
    for transport in ("udp", "tcp"):
        measurement = await ask(network, RECURSIVE, transport=transport)
        parts = [
            measurement.facts[f'probe_dns_duration_seconds{{phase="{phase}"}}']
            for phase in ("resolve", "connect", "request")
        ]

        assert sum(parts) == pytest.approx(measurement.duration_s)
        assert min(parts[1:]) > 0


async def test_evidence_is_the_code_and_the_first_records(network):
    measurement = await ask(network, answering(A2[0], rcode="NXDOMAIN"))

    assert "answered NXDOMAIN, expected NOERROR" == measurement.failure.message
    assert {"rcode": "NXDOMAIN", "answer": "example.com. 3600 IN A 127.0.0.1"} == measurement.failure.evidence


# ---------------------------------------------------------------- mistakes in a file


@pytest.mark.parametrize(
    ("config", "path", "words"),
    [
        ({"query_name": "a" * 70}, "query_name", "not a name"),
        ({"query_name": "a..b"}, "query_name", "not a name"),
        ({"query_type": "B"}, "query_type", "no type"),
        ({"query_class": "B"}, "query_class", "no type or class"),
        ({"valid_rcodes": ["NOERROR", "OOPS"]}, "valid_rcodes[1]", '"OOPS" is no response code'),
        ({"source_ip_address": "here"}, "source_ip_address", "address"),
        ({"attempts": 0}, "attempts", "expected 1 to 100"),
        ({"min_answers": -1}, "min_answers", "expected 0 or more"),
        ({"fail_if_not_authenticated": True}, "fail_if_not_authenticated", "dnssec: true"),
        ({"fail_if_rrsig_expires_within": 5.0}, "fail_if_rrsig_expires_within", "dnssec: true"),
        (sections(answer={"fail_if_matches_regexp": ["("]}), "validate_answer_rrs.fail_if_matches_regexp[0]", "RE2"),
        ({"tls_config": TlsConfig(ca_file="/nowhere")}, "tls_config.ca_file", "no such file"),
    ],
)
def test_each_mistake_is_named(config, path, words):
    ((found, message),) = check(Config(**{"query_name": "a.test"} | config))

    assert path == found
    assert words in message


@pytest.mark.parametrize("address", ["", "a b", "127.0.0.1:0", "127.0.0.1:99999", "http://a.test", "[::1"])
def test_an_address_that_is_none_is_refused(address):
    assert check_target(address, Config(query_name="a.test"))


async def test_an_address_that_is_none_fails_in_words(network):
    measurement = await probe_dns(network, "127.0.0.1:0", query_name="a.test")

    assert "unreachable" == outcome(measurement)
    assert check_target("127.0.0.1:0", Config(query_name="a.test")) == measurement.failure.message


# ---------------------------------------------------------------- the daemon's event loop


def test_on_uvloop_it_is_the_same():
    """libuv tells of an error on a socket in a way of its own."""

    async def run():
        async with Network(clock=SystemClock()) as network, name_server(RECURSIVE, RECURSIVE) as (address, _):
            refused = f"127.0.0.1:{unused_port()}"
            return [
                outcome(await probe_dns(network, whom, query_name="example.com", transport_protocol=transport))
                for transport in ("udp", "tcp")
                for whom in (address, refused)
            ]

    assert ["ok", "connect_refused", "ok", "connect_refused"] == uvloop.run(run())
