"""Dialogues of the tcp probe. Names like c05 are rows of blackbox_exporter's own tests, restated."""

import asyncio
import itertools
import socket
import ssl
import time

import pytest
from probing import outcome, probe_tcp
from servers import LONG_AGO, full_backlog, reset, serve, silent, unused_port

from perfmon import measure
from perfmon.clock import SystemClock
from perfmon.model import Module, Target
from perfmon.network.query_response import Label, QueryResponse
from perfmon.network.tls import TlsConfig
from perfmon.probes.tcp import Config, check
from perfmon.secret import Secret

EARLIEST = "probe_ssl_earliest_cert_expiry"
REGEX = "probe_failed_due_to_regex"
BYTES = "probe_failed_due_to_bytes"


def talk(*entries):
    return [QueryResponse(**entry) for entry in entries]


def saying(*words, heard=None, wait=True):
    """A server that sends one text after the other, a line of the client's between them, and keeps what it heard."""

    async def handle(reader, writer):
        for number, text in enumerate(words):
            if number:
                line = await reader.readline()
                if heard is not None:
                    heard.append(line)
            writer.write(text)
            await writer.drain()
        if heard is not None:
            heard.append(await reader.read(1000))
        elif wait:
            await reader.read(1000)

    return handle


# ---------------------------------------------------------------- hearing and saying


async def test_c05_lines_that_do_not_match_are_skipped(network):
    heard = []
    server = saying(
        b":ircd.localhost NOTICE AUTH :*** Looking up your hostname...\n:ircd.localhost 001 gopher :Welcome\n",
        heard=heard,
    )
    steps = talk({"send": "NICK prober"}, {"send": "USER prober prober prober :prober"}, {"expect": "^:[^ ]+ 001"})
    async with serve(server) as port:
        measurement = await probe_tcp(network, f"127.0.0.1:{port}", query_response=steps)
        await asyncio.sleep(0.02)

    assert "ok" == outcome(measurement)
    assert [b"NICK prober\nUSER prober prober prober :prober\n"] == heard
    assert 0 == measurement.facts[REGEX]


async def test_c07_what_was_heard_is_said_and_told(network):
    heard = []
    steps = talk(
        {
            "expect": "^SSH-2.0-([^ -]+)(?: (.*))?$",
            "send": "CONFIRM ${1}",
            "labels": [Label(name="ssh_version", value="${1}"), Label(name="ssh_comments", value="${2}")],
        }
    )
    async with serve(saying(b"SSH-2.0-OpenSSH_6.9p1 Debian-2\r\n", heard=heard)) as port:
        measurement = await probe_tcp(network, f"127.0.0.1:{port}", query_response=steps)
        await asyncio.sleep(0.02)

    assert "ok" == outcome(measurement)
    assert [b"CONFIRM OpenSSH_6.9p1\n"] == heard
    assert 1 == measurement.facts['probe_expect_info{ssh_version="OpenSSH_6.9p1",ssh_comments="Debian-2"}']


async def test_c08_labels_are_templates(network):
    labels = [Label(name="one", value="got ${1} here"), Label(name="two", value="${1} on ${2}")]
    async with serve(saying(b"SSH-2.0-OpenSSH_6.9p1 Debian-2\n")) as port:
        measurement = await probe_tcp(
            network,
            f"127.0.0.1:{port}",
            query_response=talk({"expect": "^SSH-2.0-([^ -]+)(?: (.*))?$", "labels": labels}),
        )

    assert 1 == measurement.facts['probe_expect_info{one="got OpenSSH_6.9p1 here",two="OpenSSH_6.9p1 on Debian-2"}']


async def test_c10_other_bytes_than_expected(network):
    async with serve(saying(b"SSH-2.0-OpenSSH_6.9p1 Debian-2\n")) as port:
        measurement = await probe_tcp(network, f"127.0.0.1:{port}", query_response=talk({"expect_bytes": "Test"}))

    assert "body" == outcome(measurement)
    assert "expected the bytes 'Test', got 'SSH-'" == measurement.failure.message
    assert (0, 1) == (measurement.facts[REGEX], measurement.facts[BYTES])


async def test_bytes_that_come_one_by_one_are_put_together(network):
    async def dripping(reader, writer):
        for byte in b"\x00\xffOK":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.01)

    async with serve(dripping) as port:
        measurement = await probe_tcp(network, f"127.0.0.1:{port}", query_response=talk({"expect_hex": "00 ff 4f 4b"}))

    assert "ok" == outcome(measurement)
    assert 0 == measurement.facts[BYTES]


async def test_c11_a_server_that_closes_without_a_word(network):
    async with serve(saying(b"", wait=False)) as port:
        measurement = await probe_tcp(network, f"127.0.0.1:{port}", query_response=talk({"expect": "^220"}))

    assert ("closed", "processing") == (outcome(measurement), measurement.failure.phase)
    assert f'127.0.0.1:{port} closed the connection, expected a line that matches "^220"' == measurement.failure.message
    assert 1 == measurement.facts[REGEX]


async def test_no_line_that_matches_says_which_came_last(network):
    async with serve(saying(b"one\r\n554 no service\r\n", wait=False)) as port:
        measurement = await probe_tcp(network, f"127.0.0.1:{port}", query_response=talk({"expect": "^220"}))

    assert "body" == outcome(measurement)
    assert 'expected a line that matches "^220", the last was "554 no service"' == measurement.failure.message
    assert {"step": "1", "line": "554 no service"} == measurement.failure.evidence
    assert (1, 0) == (measurement.facts[REGEX], measurement.facts[BYTES])


async def test_a_last_line_without_an_end_is_a_line(network):
    async with serve(saying(b"220 ready", wait=False)) as port:
        measurement = await probe_tcp(network, f"127.0.0.1:{port}", query_response=talk({"expect": "^220 ready$"}))

    assert "ok" == outcome(measurement)


async def test_bytes_that_are_no_text_can_be_matched_around(network):
    async with serve(saying(b"\xff\xfe 220 ready\n")) as port:
        measurement = await probe_tcp(network, f"127.0.0.1:{port}", query_response=talk({"expect": "220 ready$"}))

    assert "ok" == outcome(measurement)


async def test_c16_a_line_and_bytes_in_one_segment(network):
    steps = talk({"expect": "^HELLO"}, {"expect_bytes": "DATA"}, {"expect": "^END"})
    async with serve(saying(b"HELLO\r\nDATAEND\n")) as port:
        apart = await probe_tcp(network, f"127.0.0.1:{port}", query_response=steps)
        together = await probe_tcp(
            network, f"127.0.0.1:{port}", query_response=talk({"expect": "^HELLO", "expect_bytes": "DATAEND"})
        )

    assert ["ok", "ok"] == [outcome(apart), outcome(together)]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"send": "PING"}, b"PING\n"),
        ({"send_bytes": "PING"}, b"PING"),
        ({"send_bytes": "PING\r\n"}, b"PING\r\n"),
        ({"send_hex": "00000008 04d2162f"}, b"\x00\x00\x00\x08\x04\xd2\x16\x2f"),
        ({"send": "costs $1"}, b"costs $1\n"),  # nothing was heard, so nothing is filled in
    ],
)
async def test_c17_what_is_sent_is_exactly_what_was_asked_for(network, entry, expected):
    heard = []
    async with serve(saying(b"", heard=heard)) as port:
        measurement = await probe_tcp(network, f"127.0.0.1:{port}", query_response=talk(entry))
        await asyncio.sleep(0.02)

    assert "ok" == outcome(measurement)
    assert [expected] == heard


async def test_c19_each_phase_and_each_step_has_its_time(network, authority):
    async def slow(reader, writer):
        await asyncio.sleep(0.03)
        writer.write(b"220\n")
        await reader.readline()
        await asyncio.sleep(0.06)
        writer.write(b"250\n")
        await reader.read()

    steps = talk({"expect": "^220", "send": "EHLO"}, {"expect": "^250"})
    async with serve(slow, tls=authority.context("localhost")) as port:
        measurement = await probe_tcp(
            network,
            f"localhost:{port}",
            query_response=steps,
            tls=True,
            tls_config=TlsConfig(ca_file=authority.file),
        )

    first, second = (measurement.facts[f'probe_step_duration_seconds{{step="{step}"}}'] for step in (1, 2))
    assert "ok" == outcome(measurement)
    assert ["resolve", "connect", "tls", "processing", "request"] == list(measurement.phases)
    assert 0.03 <= first < 0.055 < second < 0.09
    assert measurement.phases["processing"] + measurement.phases["request"] == pytest.approx(first + second, abs=0.003)


@pytest.mark.parametrize(
    "entry", [{"expect": Secret("^hidden$")}, {"expect_bytes": Secret("hidden")}, {"expect_hex": Secret("68")}]
)
async def test_what_came_by_reference_is_shown_nowhere(network, entry):
    module = Module(name="tcp", kind="tcp", timeout_s=0.2, config=Config(query_response=talk(entry)))
    shown = []
    for text in (b"hidden\n", b"other\n", b""):
        async with serve(saying(text)) as port:
            target = Target(probe="test", address=f"127.0.0.1:{port}")
            measurement = await measure.probe(target, module, clock=SystemClock(), network=network, debug=True)
        shown += [str(measurement.failure), *measurement.lines]

    assert "<secret>" in "".join(shown)
    assert "hidden" not in "".join(shown)
    assert "'h'" not in "".join(shown)


# ---------------------------------------------------------------- servers that do not play


async def test_a_server_that_says_something_else_for_ever_ends_in_time(network):
    """As fast as it can: neither the deadline nor other probes may suffer."""

    async def flood(reader, writer):
        for number in itertools.count():
            writer.write(b"%d no\n" % number * 5000)
            await writer.drain()

    async with serve(flood) as port:
        began = time.monotonic()
        measurement = await probe_tcp(
            network, f"127.0.0.1:{port}", query_response=talk({"expect": "^220"}), timeout_s=0.3
        )

    assert time.monotonic() - began < 0.9
    assert ("timeout", "processing") == (outcome(measurement), measurement.failure.phase)
    assert measurement.failure.evidence["line"].endswith(" no")
    assert 0 == measurement.facts[REGEX]


async def test_a_flood_of_tls_records_ends_in_time(network, authority):
    async def flood(reader, writer):
        while True:
            writer.write(b"no\n" * 5000)
            await writer.drain()

    async with serve(flood, tls=authority.context("localhost")) as port:
        began = time.monotonic()
        measurement = await probe_tcp(
            network,
            f"localhost:{port}",
            query_response=talk({"expect": "^220"}),
            tls=True,
            tls_config=TlsConfig(ca_file=authority.file),
            timeout_s=0.4,
        )

    assert time.monotonic() - began < 1.0
    assert ("timeout", "processing") == (outcome(measurement), measurement.failure.phase)


async def test_a_line_without_an_end_fills_no_memory(network):
    async def endless(reader, writer):
        while True:
            writer.write(b"x" * 10_000)
            await writer.drain()

    async with serve(endless) as port:
        measurement = await probe_tcp(network, f"127.0.0.1:{port}", query_response=talk({"expect": "^220"}))

    assert "too_large" == outcome(measurement)
    assert measurement.duration_s < 1


async def test_a_silent_server_is_told_with_what_was_expected(network):
    async with serve(silent) as port:
        line = await probe_tcp(network, f"127.0.0.1:{port}", query_response=talk({"expect": "^220"}), timeout_s=0.1)
        data = await probe_tcp(network, f"127.0.0.1:{port}", query_response=talk({"expect_hex": "00"}), timeout_s=0.1)

    assert ("timeout", "processing") == (outcome(line), line.failure.phase)
    assert f'127.0.0.1:{port} had not sent a line that matches "^220" after ' in line.failure.message
    assert f"127.0.0.1:{port} had not sent the bytes '\\x00' after " in data.failure.message


async def test_a_reset_in_the_middle(network):
    async def rude(reader, writer):
        writer.write(b"220 ready\n")
        await reader.readline()
        reset(writer)

    steps = talk({"expect": "^220", "send": "EHLO"}, {"expect": "^250"})
    async with serve(rude) as port:
        measurement = await probe_tcp(network, f"127.0.0.1:{port}", query_response=steps)

    assert ("reset", "processing") == (outcome(measurement), measurement.failure.phase)
    assert "2" == measurement.failure.evidence["step"]


async def test_a_server_that_takes_nothing_ends_in_time(network):
    async def deaf(reader, writer):
        writer.transport.pause_reading()
        await asyncio.sleep(60)

    async with serve(deaf) as port:
        measurement = await probe_tcp(
            network, f"127.0.0.1:{port}", query_response=talk({"send_bytes": "x" * 20_000_000}), timeout_s=0.2
        )

    assert ("timeout", "request") == (outcome(measurement), measurement.failure.phase)


async def test_refused_and_filtered_with_a_dialogue(network):
    steps = talk({"expect": "."})
    refused = await probe_tcp(network, f"127.0.0.1:{unused_port()}", query_response=steps)
    with full_backlog() as port:
        filtered = await probe_tcp(network, f"127.0.0.1:{port}", query_response=steps, timeout_s=0.2)

    assert ["connect_refused", "connect_timeout"] == [outcome(refused), outcome(filtered)]
    assert ["connect", "connect"] == [refused.failure.phase, filtered.failure.phase]
    assert 0.15 < filtered.phases["connect"] <= 0.25


async def test_localhost_is_tried_at_all_its_addresses(network):
    """It resolves to ::1 as well, where the server does not listen."""
    async with serve(saying(b"220\n")) as port:
        measurement = await probe_tcp(network, f"localhost:{port}", query_response=talk({"expect": "^220"}))

    assert "ok" == outcome(measurement)


# ---------------------------------------------------------------- STARTTLS


def smtp(context, heard=None, *, extra=b""):
    """Enough of a mail server to go over to TLS."""

    async def handle(reader, writer):
        writer.write(b"220 mail.example ESMTP\n")
        await reader.readline()
        writer.write(b"250-smtp.example\n250-STARTTLS\n250 DSN\n")
        await reader.readline()
        writer.write(b"220 go ahead\n" + extra)
        await writer.drain()
        await writer.start_tls(context)
        if heard is not None:
            heard.append(await reader.readline())
        writer.write(b"250-smtp.example\n250-AUTH\n250 DSN\n")
        if heard is not None:
            heard.append(await reader.readline())
        await reader.read()

    return handle


SMTP = talk(
    {"expect": "^220.*ESMTP.*$"},
    {"send": "EHLO tls.prober"},
    {"expect": "^250-STARTTLS"},
    {"send": "STARTTLS"},
    {"expect": "^220"},
    {"starttls": True},
    {"send": "EHLO tls.prober"},
    {"expect": "^250-AUTH"},
    {"send": "QUIT"},
)


async def test_c04_a_mail_server_goes_over_to_tls(network, authority):
    heard = []
    async with serve(smtp(authority.context("localhost"), heard)) as port:
        measurement = await probe_tcp(
            network, f"localhost:{port}", query_response=SMTP, tls_config=TlsConfig(ca_file=authority.file)
        )
        await asyncio.sleep(0.02)

    assert "ok" == outcome(measurement)
    assert [b"EHLO tls.prober\n", b"QUIT\n"] == heard
    assert measurement.facts[EARLIEST] > 4e9
    assert 1 == measurement.facts['probe_tls_version_info{version="TLS 1.3"}']
    assert measurement.phases["tls"] > 0


async def test_p10_a_hostname_is_what_the_certificate_must_be_for(network, authority):
    async with serve(smtp(authority.context("shop.example"))) as port:
        measurement = await probe_tcp(
            network,
            f"127.0.0.1:{port}",
            hostname="shop.example",
            query_response=SMTP,
            tls_config=TlsConfig(ca_file=authority.file),
        )

    assert "ok" == outcome(measurement)


async def test_what_was_said_before_tls_is_forgotten(network, authority):
    """Otherwise who sits between could put words into the server's mouth (CVE-2011-0411)."""
    async with serve(smtp(authority.context("localhost"), extra=b"250-AUTH injected\n")) as port:
        measurement = await probe_tcp(
            network,
            f"localhost:{port}",
            query_response=[*SMTP[:-3], *talk({"expect": "injected"})],
            tls_config=TlsConfig(ca_file=authority.file),
            timeout_s=0.3,
        )

    assert "timeout" == outcome(measurement)


@pytest.mark.parametrize(
    "case",
    [
        {
            "name": "shop.example",
            "until": None,
            "expected": "tls_name_mismatch",
            "words": "is for shop.example, not for",
        },
        {"name": "localhost", "until": LONG_AGO, "expected": "tls_expired", "words": "expired on 2020-01-01"},
    ],
)
async def test_a_certificate_that_is_refused_after_starttls_is_shown(network, authority, case):
    async with serve(smtp(authority.context(case["name"], until=case["until"]))) as port:
        measurement = await probe_tcp(
            network, f"localhost:{port}", query_response=SMTP, tls_config=TlsConfig(ca_file=authority.file)
        )

    assert (case["expected"], "tls") == (outcome(measurement), measurement.failure.phase)
    assert case["words"] in measurement.failure.message
    assert measurement.failure.evidence["subject"]
    assert EARLIEST in measurement.facts
    assert "probe_ssl_last_chain_expiry_timestamp_seconds" not in measurement.facts


async def test_starttls_with_a_server_of_plain_text(network):
    async with serve(saying(b"220 ready\n", b"no TLS here\n", b"")) as port:
        measurement = await probe_tcp(
            network,
            f"127.0.0.1:{port}",
            query_response=talk({"expect": "^220", "send": "STARTTLS"}, {"starttls": True}),
        )

    assert ("tls_handshake", "tls") == (outcome(measurement), measurement.failure.phase)
    assert f"TLS handshake with 127.0.0.1:{port} failed: wrong version number" == measurement.failure.message


async def test_a_name_that_cannot_be_asked_for_is_told(network, authority):
    async with serve(smtp(authority.context("localhost"))) as port:
        measurement = await probe_tcp(
            network, f"localhost:{port}", query_response=SMTP, tls_config=TlsConfig(server_name=".example")
        )

    assert "tls_name_mismatch" == outcome(measurement)
    assert '".example" is no name to ask for by TLS' in measurement.failure.message


async def test_old_tls_is_spoken_when_asked_for(network, authority):
    context = authority.context("localhost")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    async with serve(saying(b"220\n"), tls=context) as port:
        measurement = await probe_tcp(
            network,
            f"localhost:{port}",
            tls=True,
            query_response=talk({"expect": "220"}),
            tls_config=TlsConfig(ca_file=authority.file, min_version="TLS10", max_version="TLS11"),
        )

    assert "ok" == outcome(measurement)
    assert 1 == measurement.facts['probe_tls_version_info{version="TLS 1.1"}']


# ---------------------------------------------------------------- where from


async def test_c13_the_source_address_is_used(network):
    seen = []

    async def handle(reader, writer):
        seen.append(writer.get_extra_info("peername")[0])

    async with serve(handle) as port:
        measurement = await probe_tcp(network, f"127.0.0.1:{port}", source_ip_address="127.0.0.9")
        await asyncio.sleep(0.02)

    assert "ok" == outcome(measurement)
    assert ["127.0.0.9"] == seen


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("not an address", "does not appear to be an IPv4 or IPv6 address"),
        ("192.0.2.1", "cannot assign requested address (from 192.0.2.1)"),
        ("::1", "(from ::1)"),
    ],
)
async def test_c13_a_source_address_of_no_use_fails(network, source, words):
    async with serve(silent) as port:
        measurement = await probe_tcp(network, f"127.0.0.1:{port}", source_ip_address=source)

    assert "unreachable" == outcome(measurement)
    assert words in measurement.failure.message


# ---------------------------------------------------------------- closed on purpose


@pytest.mark.parametrize(
    ("expected", "when_refused", "when_filtered", "when_open"),
    [
        ("refused", "ok", "connect_timeout", "status"),
        ("filtered", "connect_refused", "ok", "status"),
        ("either", "ok", "ok", "status"),
    ],
)
async def test_h56_c20_a_port_that_must_be_closed(network, expected, when_refused, when_filtered, when_open):
    refused = await probe_tcp(network, f"127.0.0.1:{unused_port()}", expect_closed=expected)
    with full_backlog() as port:
        filtered = await probe_tcp(network, f"127.0.0.1:{port}", expect_closed=expected, timeout_s=0.1)
    async with serve(silent) as port:
        opened = await probe_tcp(network, f"127.0.0.1:{port}", expect_closed=expected)

    assert [when_refused, when_filtered, when_open] == [outcome(refused), outcome(filtered), outcome(opened)]
    states = [
        next(fact for fact in measurement.facts if fact.startswith("probe_tcp_port_info"))
        for measurement in (refused, filtered, opened)
    ]
    assert [f'probe_tcp_port_info{{state="{state}"}}' for state in ("refused", "filtered", "open")] == states


async def test_c20_what_says_nothing_of_the_port_is_never_green(network):
    missing = await probe_tcp(
        network, "127.0.0.1:80", expect_closed="either", preferred_ip_protocol="ip6", ip_protocol_fallback=False
    )
    no_route = await probe_tcp(network, "255.255.255.255:80", expect_closed="either")

    assert ["dns_nxdomain", "unreachable"] == [outcome(missing), outcome(no_route)]


# ---------------------------------------------------------------- configs that cannot be meant


@pytest.mark.parametrize(
    ("config", "path", "words"),
    [
        ({"query_response": talk({"expect": "("})}, "query_response[0].expect", "not a regular expression"),
        ({"query_response": talk({}, {"send_hex": "0"})}, "query_response[1].send_hex", "hexadecimal"),
        ({"query_response": talk({"send": "a", "send_hex": "00"})}, "query_response[0].send", "at most one of"),
        (
            {"query_response": talk({"expect_bytes": "a", "expect_hex": "00"})},
            "query_response[0].expect_bytes",
            "at most",
        ),
        (
            {"query_response": talk({"expect": ".", "labels": [Label(name="a-b")]})},
            "query_response[0].labels[0].name",
            '"a-b" is no label name',
        ),
        ({"query_response": talk({"labels": [Label(name="a")]})}, "query_response[0].labels", "there is no expect"),
        (
            {"query_response": talk({"expect": ".", "labels": [Label(name="a"), Label(name="a")]})},
            "query_response[0].labels",
            "twice",
        ),
        (
            {"query_response": talk({"expect": ".", "labels": [Label(name="a", value=Secret("word"))]})},
            "query_response[0].labels[0].value",
            "no secret may stand in it",
        ),
        ({"query_response": talk({"starttls": True}), "tls": True}, "query_response[0].starttls", "has TLS already"),
        ({"query_response": talk(*[{"starttls": True}] * 2)}, "query_response[1].starttls", "has TLS already"),
        ({"source_ip_address": "here"}, "source_ip_address", "does not appear to be"),
        ({"expect_closed": "either", "tls": True}, "expect_closed", "has no TLS"),
    ],
)
def test_mistakes_are_named(config, path, words):
    ((where, message),) = check(Config(**config))

    assert path == where
    assert words in message


def test_a_good_config_has_no_mistakes():
    assert [] == list(check(Config(query_response=SMTP, source_ip_address="::1")))


# ---------------------------------------------------------------- nothing stays


async def test_a_dialogue_that_is_cancelled_leaves_nothing(network):
    async with serve(silent) as port:
        for _ in range(3):
            task = asyncio.create_task(
                probe_tcp(network, f"127.0.0.1:{port}", query_response=talk({"expect": "."}), timeout_s=30)
            )
            await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        with socket.create_connection(("127.0.0.1", port)):
            await asyncio.sleep(0.02)
    # An open socket would be a ResourceWarning, which is an error here.
