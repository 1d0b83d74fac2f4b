"""What only the tls probe does: STARTTLS by name, ALPN, how long a certificate lasts, versions that must be refused."""

import ssl
import time
from datetime import UTC, datetime, timedelta

import pytest
from probing import outcome, probe_tls
from servers import closing, full_backlog, serve, silent, unused_port

from perfmon.network.tls import TlsConfig
from perfmon.probes.tls import Config, check, check_target

EARLIEST = "probe_ssl_earliest_cert_expiry"


@pytest.fixture
def trusting(authority):
    return TlsConfig(ca_file=authority.file)


async def quiet(reader, writer):
    await reader.read()


def script(context, *exchanges, greeting=b""):
    """A server that greets, answers each thing that it hears, and after the last one goes over to TLS."""

    async def handle(reader, writer):
        writer.write(greeting)
        for heard, answer in exchanges:
            await reader.readuntil(heard)
            writer.write(answer)
            await writer.drain()
        await writer.start_tls(context)
        await reader.read()

    return handle


FTP = {"greeting": b"220-Welcome\r\n220 ready\r\n", "exchanges": [(b"AUTH TLS\r\n", b"234 go\r\n")]}
IMAP = {
    "greeting": b"* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n",
    "exchanges": [(b"1 STARTTLS\r\n", b"1 OK go\r\n")],
}
POP3 = {"greeting": b"+OK ready\r\n", "exchanges": [(b"STLS\r\n", b"+OK go\r\n")]}
POSTGRES = {"exchanges": [(b"\x00\x00\x00\x08\x04\xd2\x16\x2f", b"S")]}
SMTP = {
    "greeting": b"220-slow\r\n220 mail.example ESMTP\r\n",
    "exchanges": [
        (b"EHLO perfmon\r\n", b"250-mail.example\r\n250-STARTTLS\r\n250 DSN\r\n"),
        (b"STARTTLS\r\n", b"220 go\r\n"),
    ],
}
XMPP = {
    "exchanges": [
        (
            b"version='1.0'>",
            b"<?xml version='1.0'?><stream:stream><stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        ),
        (b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
    ]
}
SCRIPTS = {"ftp": FTP, "imap": IMAP, "pop3": POP3, "postgres": POSTGRES, "smtp": SMTP, "xmpp": XMPP}


def server_of(protocol, context):
    told = SCRIPTS[protocol]
    return script(context, *told["exchanges"], greeting=told.get("greeting", b""))


# ---------------------------------------------------------------- STARTTLS


@pytest.mark.parametrize("protocol", SCRIPTS)
async def test_t14_starttls_is_up_with_a_good_certificate_and_down_with_another(network, authority, trusting, protocol):
    async with serve(server_of(protocol, authority.context("localhost"))) as port:
        good = await probe_tls(network, f"localhost:{port}", starttls=protocol, tls_config=trusting)
        other = await probe_tls(network, f"127.0.0.1:{port}", starttls=protocol, tls_config=trusting)

    assert ["ok", "tls_name_mismatch"] == [outcome(good), outcome(other)]
    assert good.facts[EARLIEST] == other.facts[EARLIEST] > 4e9
    assert "is for localhost, not for 127.0.0.1" in other.failure.message
    assert sum(good.phases.values()) == good.duration_s


async def test_t14_implicit_tls_is_up(network, authority, trusting):
    async with serve(quiet, tls=authority.context("localhost")) as port:
        measurement = await probe_tls(network, f"localhost:{port}", tls_config=trusting)

    assert "ok" == outcome(measurement)
    assert ["resolve", "connect", "tls"] == list(measurement.phases)


async def test_t13_an_invalid_address_and_one_where_nobody_is(network, trusting):
    invalid = await probe_tls(network, "localhost", starttls="smtp", tls_config=trusting)
    nobody = await probe_tls(network, f"localhost:{unused_port()}", starttls="smtp", tls_config=trusting)
    with full_backlog() as port:
        filtered = await probe_tls(network, f"127.0.0.1:{port}", tls_config=trusting, timeout_s=0.1)

    assert ["unreachable", "connect_refused", "connect_timeout"] == [
        outcome(invalid),
        outcome(nobody),
        outcome(filtered),
    ]
    assert 'expected host:port, got "localhost"' == invalid.failure.message == check_target("localhost", Config())


@pytest.mark.parametrize(
    ("protocol", "answer", "words"),
    [
        ("smtp", b"554 no service\r\n", 'refused TLS: "554 no service"'),
        ("imap", b"* OK\r\n1 BAD unknown command\r\n", 'refused TLS: "1 BAD unknown command"'),
        ("pop3", b"+OK\r\n-ERR no\r\n", 'refused TLS: "-ERR no"'),
        ("ftp", b"220 hello\r\n534 no TLS\r\n", 'refused TLS: "534 no TLS"'),
    ],
)
async def test_a_server_that_refuses_starttls_is_told_at_once(network, protocol, answer, words):
    async def refusing(reader, writer):
        writer.write(answer)
        await reader.read()

    async with serve(refusing) as port:
        measurement = await probe_tls(network, f"127.0.0.1:{port}", starttls=protocol)

    assert ("tls_handshake", "processing") == (outcome(measurement), measurement.failure.phase)
    assert measurement.failure.message.endswith(words)
    assert measurement.duration_s < 1


async def test_a_postgres_without_tls_is_told(network):
    async def refusing(reader, writer):
        writer.write(b"N")
        await reader.read()

    async with serve(refusing) as port:
        measurement = await probe_tls(network, f"127.0.0.1:{port}", starttls="postgres")

    assert "expected the bytes 'S', got 'N'" == measurement.failure.message
    assert not [name for name in measurement.facts if name.startswith("probe_failed_due_to")]


@pytest.mark.parametrize("protocol", ["xmpp", "smtp"])
async def test_a_server_that_closes_or_is_silent(network, protocol):
    async with serve(closing) as port:
        closed = await probe_tls(network, f"127.0.0.1:{port}", starttls=protocol)
    async with serve(silent) as port:
        mute = await probe_tls(network, f"127.0.0.1:{port}", starttls=protocol, timeout_s=0.1)

    assert outcome(closed) in ("closed", "reset")
    assert ("timeout", "processing") == (outcome(mute), mute.failure.phase)


# ---------------------------------------------------------------- certificates that end soon


@pytest.mark.parametrize(("within", "expected"), [(0.0, "ok"), (9 * 86_400.0, "ok"), (11 * 86_400.0, "tls_expired")])
async def test_a_certificate_must_last(network, authority, trusting, within, expected):
    until = datetime.now(UTC) + timedelta(days=10, minutes=5)
    async with serve(quiet, tls=authority.context("localhost", until=until)) as port:
        measurement = await probe_tls(network, f"localhost:{port}", tls_config=trusting, fail_if_expires_within=within)

    assert expected == outcome(measurement)
    if expected != "ok":
        assert (
            f"certificate of localhost:{port} expires on {until:%Y-%m-%d}, in 10d, expected 11d at least"
            == measurement.failure.message
        )
        assert measurement.failure.evidence["not_after"].startswith(f"{until:%Y-%m-%d}")


@pytest.mark.parametrize(("days", "words"), [(1.1, "expires on "), (-1, "expired on ")])
async def test_a_certificate_that_is_not_verified_must_last_as_well(network, authority, days, words):
    until = datetime.now(UTC) + timedelta(days=days)
    async with serve(quiet, tls=authority.context("elsewhere", until=until)) as port:
        measurement = await probe_tls(
            network,
            f"localhost:{port}",
            tls_config=TlsConfig(insecure_skip_verify=True),
            fail_if_expires_within=2 * 86_400.0,
        )

    assert "tls_expired" == outcome(measurement)
    assert f"{words}{until:%Y-%m-%d}, " in measurement.failure.message
    assert measurement.failure.message.endswith("expected 2d at least")


# ---------------------------------------------------------------- protocols and versions


async def test_alpn_must_agree_on_one(network, authority, trusting):
    context = authority.context("localhost")
    context.set_alpn_protocols(["h2"])
    plain = authority.context("localhost")
    async with serve(quiet, tls=context) as port:
        good = await probe_tls(network, f"localhost:{port}", tls_config=trusting, alpn=["h2", "http/1.1"])
    async with serve(quiet, tls=plain) as port:
        none = await probe_tls(network, f"localhost:{port}", tls_config=trusting, alpn=["h2", "http/1.1"])

    assert ["ok", "tls_handshake"] == [outcome(good), outcome(none)]
    assert 1 == good.facts['probe_tls_alpn_info{protocol="h2"}']
    assert f"localhost:{port} takes none of the protocols h2, http/1.1" == none.failure.message


async def test_versions_that_must_be_refused(network, authority, trusting):
    context = authority.context("localhost")  # TLS 1.2 and 1.3
    async with serve(quiet, tls=context) as port:
        good = await probe_tls(
            network, f"localhost:{port}", tls_config=trusting, fail_if_accepts=["TLS10", "TLS11"], timeout_s=5
        )
        bad = await probe_tls(network, f"localhost:{port}", tls_config=trusting, fail_if_accepts=["TLS11", "TLS12"])

    assert ["ok", "tls_handshake"] == [outcome(good), outcome(bad)]
    assert f"localhost:{port} accepts TLS 1.2, expected it refused" == bad.failure.message
    assert 0 == good.facts['probe_tls_accepts{version="TLS 1.0"}'] == good.facts['probe_tls_accepts{version="TLS 1.1"}']
    assert 1 == bad.facts['probe_tls_accepts{version="TLS 1.2"}']


async def test_a_version_that_is_accepted_is_found_whatever_its_age(network, authority, trusting):
    """So a refusal is the server's, not that of the OpenSSL here."""
    context = authority.context("localhost")
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    async with serve(quiet, tls=context) as port:
        found = [
            outcome(await probe_tls(network, f"localhost:{port}", tls_config=trusting, fail_if_accepts=[version]))
            for version in ("TLS10", "TLS11", "TLS12", "TLS13")
        ]

    assert ["tls_handshake"] * 4 == found


async def test_a_version_that_cannot_be_tried_is_not_refused(network, authority, trusting):
    """The server shakes hands once and then no more, which says nothing of versions."""
    connections = []

    async def once(reader, writer):
        connections.append(writer)
        if len(connections) > 1:
            await reader.read()
        await writer.start_tls(authority.context("localhost"))
        await reader.read()

    async with serve(once) as port:
        measurement = await probe_tls(
            network, f"localhost:{port}", tls_config=trusting, fail_if_accepts=["TLS11"], timeout_s=0.3
        )

    assert ("timeout", "tls") == (outcome(measurement), measurement.failure.phase)


async def test_t11_a_server_that_never_shakes_hands_after_starttls(network):
    async def stuck(reader, writer):
        writer.write(b"+OK\r\n+OK\r\n")
        await reader.read()

    async with serve(stuck) as port:
        began = time.monotonic()
        measurement = await probe_tls(network, f"127.0.0.1:{port}", starttls="pop3", timeout_s=0.2)

    assert time.monotonic() - began < 0.3
    assert ("timeout", "tls") == (outcome(measurement), measurement.failure.phase)
    assert 0.1 < measurement.phases["tls"] <= 0.21


# ---------------------------------------------------------------- files and configs that cannot be used


async def test_files_that_openssl_cannot_read_are_told(network, authority, tmp_path):
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate")
    async with serve(quiet, tls=authority.context("localhost")) as port:
        roots = await probe_tls(network, f"localhost:{port}", tls_config=TlsConfig(ca_file=str(junk)))
        own = await probe_tls(
            network,
            f"localhost:{port}",
            tls_config=TlsConfig(ca_file=authority.file, cert_file=str(junk), key_file=str(junk)),
        )

    assert ["tls_untrusted", "tls_handshake"] == [outcome(roots), outcome(own)]
    assert "the file of trusted roots cannot be read" in roots.failure.message
    assert "the client certificate cannot be used" in own.failure.message


async def test_t08_a_client_certificate_is_shown(network, authority, trusting):
    cert_file, key_file = authority.client_files()
    context = authority.context("localhost", ask_client=True)
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # TLS 1.3 judges after the handshake
    with_one = TlsConfig(ca_file=authority.file, cert_file=cert_file, key_file=key_file)
    async with serve(quiet, tls=context) as port:
        given = await probe_tls(network, f"localhost:{port}", tls_config=with_one)
        missing = await probe_tls(network, f"localhost:{port}", tls_config=trusting)

    assert ["ok", "tls_handshake"] == [outcome(given), outcome(missing)]


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"alpn": [""]}, "alpn[0]"),
        ({"alpn": ["h2", "x" * 256]}, "alpn[1]"),
        ({"source_ip_address": "here"}, "source_ip_address"),
        ({"tls_config": TlsConfig(ca_file="/nowhere")}, "tls_config.ca_file"),
    ],
)
def test_mistakes_are_named(config, path):
    ((where, _),) = check(Config(**config))

    assert path == where


def test_a_good_config_has_no_mistakes():
    assert [] == list(check(Config(alpn=["h2"], fail_if_accepts=["TLS10"], source_ip_address="127.0.0.1")))
