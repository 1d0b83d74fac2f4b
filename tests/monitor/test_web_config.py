"""web-config.yml in use: TLS, certificates of clients, passwords, headers and pace, and what changes meanwhile."""

import asyncio
import base64
import os
import re
import ssl
from contextlib import asynccontextmanager

import pytest
import trustme
import uvloop
from outsiders import street
from starlette.middleware import Middleware
from web_face import FakeView, connection, exchange, parse
from web_files import HASH, PASSWORD, WebFiles

from perfmon.clock import ManualClock
from perfmon.errors import ConfigError
from perfmon.monitor.gate import FromWebConfig, Gate
from perfmon.monitor.listen import Bounds
from perfmon.monitor.passwords import Crowded, Passwords, credentials
from perfmon.monitor.server import app, public_app, serve
from perfmon.monitor.web_config import WebConfig

BOUNDS = Bounds()
STRICT = {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "ca.pem"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Certificates take a moment to make: one set for all tests."""
    return WebFiles(tmp_path_factory.mktemp("web"))


@pytest.fixture
def files(made):
    made.issue("server", "localhost", "127.0.0.1")
    return made


@asynccontextmanager
async def serving(files, bounds=BOUNDS, clock=None):
    outcomes = []
    config = WebConfig(str(files.path), outcomes.append)
    gate = [Middleware(Gate, config=config, clock=clock or ManualClock())]
    secure = FromWebConfig(config) if config.now().context else None
    async with serve(app(FakeView(), gate=gate), ["127.0.0.1:0"], bounds, secure=secure) as (address,):
        yield address, outcomes


async def ask(address, trust=None, *, path="/-/healthy", **headers):
    """One request; its status, headers and body."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=trust)
    fields = {"Host": address, "Connection": "close"} | headers
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    writer.write(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
    try:
        return parse(await asyncio.wait_for(reader.read(), 20))
    finally:
        writer.close()


async def status(address, trust=None, **headers):
    return (await ask(address, trust, **headers))[0]


def basic(user, password=PASSWORD):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


# ---------------------------------------------------------------- TLS


@pytest.mark.parametrize("loop", [asyncio, uvloop], ids=["asyncio", "uvloop"])
def test_it_is_served_by_tls_on_both_loops_and_ends_at_once(files, loop):
    files.write(tls={})

    async def run():
        async with serving(files) as (address, _):
            held = await asyncio.open_connection(*address.split(":"), ssl=files.client())  # says nothing
            whole = await ask(address, files.client(), path="/page/page.css")
            began = asyncio.get_running_loop().time()
        held[1].transport.abort()
        return whole[0], len(whole[2]) == int(whole[1]["content-length"]), asyncio.get_running_loop().time() - began

    code, complete, stopping_s = loop.run(run())
    assert (200, True) == (code, complete)
    assert stopping_s < 2.5  # not the 3 s that a busy connection has


CERTIFICATES = [
    ({}, "", 200),
    ({"client_auth_type": "NoClientCert"}, "stranger", 200),
    ({"client_auth_type": "RequestClientCert"}, "stranger", 200),
    ({**STRICT, "client_auth_type": "VerifyClientCertIfGiven"}, "", 200),
    ({**STRICT, "client_auth_type": "VerifyClientCertIfGiven"}, "stranger", "refused"),
    (STRICT, "", "refused"),
    (STRICT, "stranger", "refused"),
    (STRICT, "client", 200),
    ({**STRICT, "client_allowed_sans": ["scraper@shop.example"]}, "client", 200),
    ({**STRICT, "client_allowed_sans": ["other@shop.example"]}, "client", "refused"),
    ({**STRICT, "client_allowed_sans": ["2001:db8::1"]}, "by_address", 200),
    ({**STRICT, "client_allowed_sans": ["2001:db8::2"]}, "by_address", "refused"),
]


async def test_a_client_shows_the_certificate_that_is_demanded(files):
    """One server for all: it takes each change at the next connection, as another test shows."""
    files.issue("stranger", "scraper@shop.example", authority=trustme.CA())
    files.issue("by_address", "2001:db8::1")
    files.write(tls={})
    answers = []
    async with serving(files) as (address, _):
        for tls, client, _ in CERTIFICATES:
            files.write(tls=tls)
            answers.append((tls, client, await seen(address, files.client(certificate=client))))

    assert CERTIFICATES == answers


async def seen(address, trust):
    """The status, or that the connection was refused: TLS 1.3 tells a client at its first reading."""
    try:
        return await status(address, trust)
    except (OSError, IndexError):
        return "refused"


VERSIONS = [
    ({}, {"maximum_version": ssl.TLSVersion.TLSv1_2}, "TLSv1.2"),
    ({}, {}, "TLSv1.3"),
    ({"max_version": "TLS12"}, {}, "TLSv1.2"),
    ({"min_version": "TLS13"}, {"maximum_version": ssl.TLSVersion.TLSv1_2}, "refused"),
    ({"cipher_suites": ["TLS_AES_128_GCM_SHA256"]}, {"maximum_version": ssl.TLSVersion.TLSv1_2}, "refused"),
]


async def test_it_speaks_the_versions_that_are_allowed(files):
    answers = await negotiated(files, [(tls, files.client(**client)) for tls, client, _ in VERSIONS])

    assert [expected for _, _, expected in VERSIONS] == [version for version, _ in answers]


async def test_suites_and_their_order_are_the_servers(files):
    wanted = ["TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]
    client = files.client(maximum_version=ssl.TLSVersion.TLSv1_2)
    client.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305")

    settings = [{"cipher_suites": wanted, "prefer_server_cipher_suites": preferred} for preferred in (True, False)]
    answers = await negotiated(files, [(tls, client) for tls in settings])

    expected = ["ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-GCM-SHA256"]
    assert expected == [suite for _, suite in answers]


async def test_a_curve_that_the_client_lacks_is_no_connection(files):
    client = files.client()
    client.set_ecdh_curve("secp384r1")

    answers = await negotiated(files, [({"curve_preferences": [curve]}, client) for curve in ("CurveP384", "X25519")])

    assert ["TLSv1.3", "refused"] == [version for version, _ in answers]


async def negotiated(files, asked):
    """Version and suite that each pair of settings and client agreed on; one server, which takes each change."""
    files.write(tls={})
    answers = []
    async with serving(files) as (address, _):
        for tls, client in asked:
            files.write(tls=tls)
            answers.append(await agreed(address, client))
    return answers


async def agreed(address, client):
    try:
        _, writer = await asyncio.open_connection(*address.split(":"), ssl=client)
    except OSError:
        return "refused", ""
    connected = writer.get_extra_info("ssl_object")
    writer.transport.abort()
    return connected.version(), connected.cipher()[0]


async def test_certificates_may_stand_in_the_file(files):
    inline = {"cert": (files.folder / "server.pem").read_text(), "key": (files.folder / "server.key").read_text()}
    files.write(tls_server_config=inline)
    async with serving(files) as (address, _):
        assert 200 == await status(address, files.client())


async def test_handshakes_are_bounded_in_number_and_in_time(files):
    files.write(tls={})
    async with serving(files, Bounds(connections=2, request_s=1.0)) as (address, _):
        async with connection(address) as first, connection(address) as second:
            assert "refused" == await seen(address, files.client())
            assert (b"", b"") == (await first[0].read(), await second[0].read())  # cut when their time was over
        assert 200 == await status(address, files.client())


async def test_who_does_not_speak_tls_is_sent_away_in_silence(files, caplog):
    files.write(tls={})
    strange = [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\0" * 70_000, b"\0"]
    async with serving(files, Bounds(request_s=1.0)) as (address, _):
        answers = await asyncio.gather(*(exchange(address, raw) for raw in strange))
        assert 200 == await status(address, files.client())

    assert [] == [answer for answer in answers if b"HTTP" in answer]
    assert [] == caplog.records


# ---------------------------------------------------------------- what changes


async def test_a_new_certificate_counts_from_the_next_connection_on(files):
    files.write(tls={})
    async with serving(files) as (address, outcomes):
        before = await serial(address, files)
        files.issue("server", "localhost", "127.0.0.1")
        after = await serial(address, files)

    assert before != after
    assert "taken" in outcomes


async def serial(address, files):
    _, writer = await asyncio.open_connection(*address.split(":"), ssl=files.client())
    shown = writer.get_extra_info("peercert")["serialNumber"]
    writer.transport.abort()
    return shown


async def test_a_broken_file_is_told_once_and_the_former_one_goes_on(files):
    files.write(tls={}, basic_auth_users={"ann": HASH})
    async with serving(files) as (address, outcomes):
        files.path.write_text("tls_server_config: {cert_file: nowhere.pem")
        broken = [await status(address, files.client(), Authorization=basic("ann")) for _ in range(3)]
        files.write(basic_auth_users={"ann": HASH})
        without_tls = await status(address, files.client(), Authorization=basic("ann"))
        files.write(tls=STRICT, basic_auth_users={"ann": HASH})
        strict = await seen(address, files.client())

    assert ([200] * 3, 200, "refused") == (broken, without_tls, strict)
    assert ["refused", "refused", "taken"] == outcomes


async def test_a_half_that_is_mended_in_the_certificate_is_taken(files):
    files.write(tls={})
    config = WebConfig(str(files.path), (outcomes := []).append)
    files.write(tls={"cert_file": "later.pem", "key_file": "later.key"})
    first = config.now()
    files.issue("later", "localhost")
    second = config.now()
    for name in ("later.pem", "later.key"):
        (files.folder / name).unlink()

    assert first.context is not second.context
    assert ["refused", "taken"] == outcomes
    assert second is config.now()


# ---------------------------------------------------------------- passwords


AUTHORIZATIONS = [
    (basic("ann"), 200),
    ("", 401),
    (basic("ann", "wrong"), 401),
    (basic("ann", ""), 401),
    (basic("ann", PASSWORD + "\0"), 401),
    (basic("ann", "x" * 5_000), 401),
    (basic("bob"), 401),
    (basic("", PASSWORD), 401),
    (basic("\udcff".encode("utf-8", "surrogateescape").decode("latin-1")), 401),
    ("Basic " + base64.b64encode(b"\xff\xfe:\xff").decode(), 401),
    ("Basic " + base64.b64encode(b"ann").decode(), 401),
    ("Basic !!!", 401),
    ("Basic", 401),
    ("Bearer " + base64.b64encode(f"ann:{PASSWORD}".encode()).decode(), 401),
]


async def test_only_a_user_with_the_password_is_let_in(files):
    files.write(basic_auth_users={"ann": HASH})
    async with serving(files) as (address, _):
        answers = [
            await ask(address, **({"Authorization": brought} if brought else {})) for brought, _ in AUTHORIZATIONS
        ]

    assert [expected for _, expected in AUTHORIZATIONS] == [code for code, _, _ in answers]
    for code, headers, _ in answers:
        assert ("Basic" if code == 401 else None) == headers.get("www-authenticate")
        assert "default-src 'none'" in headers["content-security-policy"]


async def test_no_route_is_free_of_a_password(files):
    files.write(basic_auth_users={"ann": HASH})
    paths = (
        "/",
        "/-/healthy",
        "/-/ready",
        "/metrics",
        "/probe?target=a",
        "/page/page.css",
        "/api/v1/targets",
        "/nothing",
    )
    async with serving(files) as (address, _):
        assert [401] * len(paths) == [await status(address, path=path) for path in paths]


class Bcrypt:
    """Counts what is verified."""

    def __init__(self):
        self.asked = []

    def __call__(self, password, hashed):
        import bcrypt

        self.asked.append(hashed.decode())
        return bcrypt.checkpw(password, hashed)


async def test_a_verified_password_is_not_verified_again_and_a_wrong_one_always(files):
    verify, users = Bcrypt(), {"ann": HASH}
    passwords = Passwords(verify)
    good = [await passwords.holds(users, "ann", PASSWORD.encode()) for _ in range(3)]
    wrong = [await passwords.holds(users, "ann", b"wrong") for _ in range(2)]
    nobody = [await passwords.holds(users, "bob", PASSWORD.encode()) for _ in range(2)]

    assert ([True] * 3, [False] * 2, [False] * 2) == (good, wrong, nobody)
    assert [HASH] * 3 == verify.asked[:3]
    assert [HASH[4:6]] * 2 == [hashed[4:6] for hashed in verify.asked[3:]]  # a wrong user costs as much
    assert 5 == len(verify.asked)


async def test_a_password_that_was_changed_is_not_remembered(files):
    import bcrypt

    verify = Bcrypt()
    passwords = Passwords(verify)
    other = bcrypt.hashpw(b"other", bcrypt.gensalt(4)).decode()

    assert await passwords.holds({"ann": HASH}, "ann", PASSWORD.encode())
    assert not await passwords.holds({"ann": other}, "ann", PASSWORD.encode())
    assert not await passwords.holds({"bob": HASH}, "ann", PASSWORD.encode())
    assert 3 == len(verify.asked)


async def test_a_flood_of_passwords_is_bounded(files):
    passwords = Passwords(Bcrypt())
    asked = [passwords.holds({"ann": HASH}, "ann", b"wrong %d" % number) for number in range(100)]
    answers = await asyncio.gather(*asked, return_exceptions=True)

    assert {False, Crowded} == {answer if isinstance(answer, bool) else type(answer) for answer in answers}
    assert not await passwords.holds({"ann": HASH}, "ann", b"wrong")  # and over again


def test_a_colon_may_stand_in_a_password():
    assert ("ann", b"a:b") == credentials("basic " + base64.b64encode(b"ann:a:b").decode())


# ---------------------------------------------------------------- headers and pace


async def test_headers_of_the_file_stand_in_place_of_perfmons_own(files):
    files.write(
        http_server_config={"headers": {"X-Frame-Options": "sameorigin", "Strict-Transport-Security": "max-age=9"}}
    )
    async with serving(files) as (address, _):
        _, headers, _ = await ask(address)

    assert ("sameorigin", "max-age=9") == (headers["x-frame-options"], headers["strict-transport-security"])


async def test_a_policy_of_the_file_is_the_only_one_on_the_page_for_outsiders_which_asks_for_no_password(files):
    files.write(
        http_server_config={"headers": {"Content-Security-Policy": "img-src *"}}, basic_auth_users={"ann": HASH}
    )
    gate = Middleware(Gate, config=WebConfig(str(files.path)), clock=ManualClock(), locked=False)
    async with serve(public_app(street(), gate=[gate]), ["127.0.0.1:0"]) as (address,):
        raw = await exchange(address, b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")

    assert 200 == parse(raw)[0]
    assert [b"img-src *"] == re.findall(rb"(?i)^content-security-policy: (.*)\r$", raw, re.MULTILINE)


async def test_requests_beyond_the_pace_are_refused_until_there_are_tokens_again(files):
    clock = ManualClock()
    files.write(rate_limit={"interval": "1s", "burst": 2})
    async with serving(files, clock=clock) as (address, _):
        first = [await status(address) for _ in range(3)]
        clock.advance(1.0)
        second = [await status(address) for _ in range(2)]
        files.write(rate_limit={"interval": "0s", "burst": 0})
        third = [await status(address) for _ in range(3)]

    assert ([200, 200, 429], [200, 429], [200] * 3) == (first, second, third)


# ---------------------------------------------------------------- mistakes


WRONG = {
    "tls_server_config: {cert_file: server.pem, key_file: nowhere.key}": ':1: tls_server_config.key_file: the file "{folder}/nowhere.key" cannot be read: no such file or directory',
    "tls_server_config: {cert_file: server.pem, key_file: client.key}": ":1: tls_server_config.cert_file: is no certificate with its key: key values mismatch",
    "tls_server_config:\n  cert_file: server.pem": ":2: tls_server_config.key_file: is missing, expected key or key_file",
    "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n  client_ca_file: server.key\n  client_auth_type: RequireAndVerifyClientCert": ":4: tls_server_config.client_ca_file: has no certificate in PEM: no start line",
    "tls_server_config: {cert_file: a, key_file: b, client_ca_file: ca.pem}": ":1: tls_server_config.client_auth_type: client CAs have no effect without it: expected RequireAndVerifyClientCert or VerifyClientCertIfGiven",
    "tls_server_config: {cert_file: a, key_file: b, client_auth_type: RequireAnyClientCert}": ":1: tls_server_config.client_auth_type: perfmon cannot demand a certificate without verifying it, and it would keep nobody out: anybody can make one; expected RequireAndVerifyClientCert",
    "tls_server_config: {cert_file: a, key_file: b, client_allowed_sans: [c]}": ":1: tls_server_config.client_allowed_sans: expected client_auth_type RequireAndVerifyClientCert: otherwise a client need not show a certificate",
    "tls_server_config: {cert_file: a, key_file: b, cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]}": 'unknown cipher suite "TLS_RSA_WITH_RC4_128_SHA"',
    "tls_server_config: {cert_file: a, key_file: b, curve_preferences: [CurveP521, X25519]}": ":1: tls_server_config.curve_preferences: expected one curve, got 2: Python's TLS can be told one, or none",
    "tls_server_config: {cert_file: a, key_file: b, min_version: TLS13, max_version: TLS12}": ":1: tls_server_config.max_version: expected TLS13, the min_version, or a later one, got TLS12",
    "tls_server_config: {cert_file: a, key_file: b, min_version: SSLv3}": ":1: tls_server_config.min_version: ",
    "basic_auth_users:\n  ann: hunter2": ':2: basic_auth_users.ann: expected a bcrypt hash, such as `htpasswd -nBC 10 ""` prints behind the colon',
    "basic_auth_users: {ann: $2y$31$" + "a" * 53 + "}": ":1: basic_auth_users.ann: expected a hash of cost 4 to 18, got 31",
    "http_server_config: {headers: {X-Mine: a}}": 'unknown header "X-Mine"',
    "http_server_config: {headers: {X-Frame-Options: no}}": ":1: http_server_config.headers.X-Frame-Options: expected deny or sameorigin, got",
    'http_server_config: {headers: {Content-Security-Policy: "a\\r\\nSet-Cookie: b"}}': ":1: http_server_config.headers.Content-Security-Policy: expected printable ASCII characters",
    "rate_limit: {interval: 1s}": ":1: rate_limit.burst: expected at least 1: with none, no request would ever be answered",
    "tls_config: {}": ':1: tls_config: unknown setting "tls_config"',
    "- a": ":1: expected a mapping, got a list",
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_a_mistake_is_told_with_its_line_and_what_was_expected(files, text):
    files.path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        WebConfig(str(files.path))

    assert WRONG[text].format(folder=files.folder) in str(caught.value)
    assert str(caught.value).startswith(str(files.path))
    assert "hunter2" not in str(caught.value)


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_password(files):
    from cryptography.hazmat.primitives import serialization as form

    key = form.load_pem_private_key((files.folder / "server.key").read_bytes(), None)
    locked = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.BestAvailableEncryption(b"secret"))
    (files.folder / "locked.key").write_bytes(locked)
    files.write(tls={"key_file": "locked.key"})

    with pytest.raises(ConfigError, match="the key is encrypted, expected one without a password"):
        WebConfig(str(files.path))


def test_a_file_without_end_is_not_read_to_its_end(files):
    files.write(tls={"cert_file": "/dev/zero"})

    with pytest.raises(ConfigError, match='"/dev/zero" is larger than 1 MiB'):
        WebConfig(str(files.path))


def test_an_empty_file_demands_nothing(files):
    files.path.write_text("")

    assert WebConfig(str(files.path)).now().context is None


def test_a_file_that_is_not_there_is_a_mistake(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: no such file or directory"):
        WebConfig(os.fspath(tmp_path / "web-config.yml"))


async def test_a_push_is_asked_for_its_own_token_in_place_of_a_password(files):
    files.write(basic_auth_users={"ann": HASH})
    async with serving(files) as (address, _):
        assert 401 == (await ask(address, path="/api/v1/targets"))[0]
        assert 405 == (await ask(address, path="/api/v1/push"))[0]  # which takes POST alone
