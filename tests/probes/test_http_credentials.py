"""How an http probe proves who it is: files, tokens of OAuth 2.0, and whom they are told. Ids are conformance rows."""

import asyncio
import base64
import json

import msgspec
import pytest
from probing import outcome, probe_http
from servers import Request, answer, http, serve, silent, unused_port

from perfmon import config as configs
from perfmon import measure
from perfmon.clock import SystemClock
from perfmon.model import Module, Target
from perfmon.network.credentials import Authorization, BasicAuth
from perfmon.network.oauth2 import OAuth2
from perfmon.network.tls import TlsConfig
from perfmon.probes.http import Config, HttpHeader, check
from perfmon.secret import Secret


async def probe(network, port, config, **how):
    """One run with this very config, since what is kept hangs on it."""
    module = Module(name="http", kind="http", timeout_s=2.0, config=config)
    target = Target(probe="test", address=f"http://127.0.0.1:{port}/")
    return await measure.probe(target, module, clock=SystemClock(), network=network, **how)


# ---------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"basic_auth": BasicAuth(username="u", password_file="FILE")}, b"u:s3cret"),
        ({"basic_auth": BasicAuth(username_file="FILE", password="p")}, b"s3cret:p"),
        ({"bearer_token_file": "FILE"}, "Bearer s3cret"),
        ({"authorization": Authorization(type="Token", credentials_file="FILE")}, "Token s3cret"),
    ],
)
async def test_a_secret_comes_from_a_file_and_is_read_anew_when_it_changes(network, tmp_path, settings, expected):
    file, seen = tmp_path / "secret", []
    file.write_text("s3cret\n")
    config = msgspec.convert(
        json.loads(json.dumps(msgspec.to_builtins(settings)).replace("FILE", str(file))), Config, strict=True
    )
    async with serve(http(answer(), seen=seen)) as port:
        await probe(network, port, config)
        await probe(network, port, config)
        file.write_text("an0ther")
        await probe(network, port, config)

    first = expected if isinstance(expected, str) else "Basic " + base64.b64encode(expected).decode()
    assert [first, first] == [request.headers["authorization"] for request in seen[:2]]
    assert first != seen[2].headers["authorization"]


async def test_a_file_that_is_gone_fails_in_words_until_it_is_back(network, tmp_path):
    file = tmp_path / "secret"
    config = Config(bearer_token_file=str(file))
    async with serve(http(answer())) as port:
        gone = await probe(network, port, config)
        file.write_text("t0ken")
        back = await probe(network, port, config)

    assert "auth" == outcome(gone)
    assert f'the file "{file}" cannot be read: no such file or directory' == gone.failure.message
    assert "ok" == outcome(back)


async def test_h49_a_body_comes_from_a_file_byte_for_byte(network, tmp_path):
    file, seen = tmp_path / "body", []
    file.write_bytes(b"\x00\xff\r\n ")
    config = Config(method="POST", body_file=str(file))
    async with serve(http(answer(), seen=seen)) as port:
        await probe(network, port, config)
        file.write_bytes(b"another")
        await probe(network, port, config)

    assert [b"\x00\xff\r\n ", b"another"] == [request.body for request in seen]


async def test_http_headers_are_values_secrets_and_files(network, tmp_path):
    (tmp_path / "file").write_text("three\n")
    lines = []

    async def handle(reader, writer):
        lines.extend((await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n"))
        writer.write(answer())
        await writer.drain()
        writer.close()

    header = HttpHeader(values=["one", ""], secrets=["two"], files=[str(tmp_path / "file")])
    async with serve(handle) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/", http_headers={"X-Many": header})

    assert "ok" == outcome(measurement)
    assert ["X-Many: one", "X-Many:", "X-Many: two", "X-Many: three"] == [line for line in lines if "X-Many" in line]


async def test_what_an_answer_echoes_of_a_file_is_not_told(network, tmp_path):
    (tmp_path / "token").write_text("s3cret-t0ken")
    config = Config(bearer_token_file=str(tmp_path / "token"))

    def echo(request):
        return answer(request.headers["authorization"].encode(), status=500)

    async with serve(http(echo)) as port:
        measurement = await probe(network, port, config, debug=True)

    assert "s3cret" not in str(measurement.failure)
    assert "s3cret" not in "".join(measurement.lines)
    assert "<secret>" in measurement.failure.evidence["body"]


async def test_a_relative_file_counts_from_the_folder_of_the_configuration(tmp_path, monkeypatch):
    for name in ("token", "ca.pem", "body"):
        (tmp_path / name).write_text("x")
    (tmp_path / "perfmon.yml").write_text(
        "modules:\n  a:\n    prober: http\n    http:\n      bearer_token_file: token\n      body_file: ./body\n"
        "      tls_config: {ca_file: ca.pem}\n"
    )
    monkeypatch.chdir("/")
    config = configs.load([tmp_path / "perfmon.yml"]).modules["a"].config

    assert (str(tmp_path / "token"), str(tmp_path / "body")) == (config.bearer_token_file, config.body_file)
    assert str(tmp_path / "ca.pem") == config.tls_config.ca_file


# ---------------------------------------------------------------- OAuth 2.0


def token_server(seen, *, lifetime_s=3600, status=200, body=None, in_body=False):
    def app(request: Request) -> bytes:
        seen.append(request)
        if in_body and "client_secret" not in request.body.decode():
            return answer(b'{"error": "invalid_client"}', status=401)
        said = {"access_token": f"t0ken-{len(seen)}", "token_type": "bearer", "expires_in": lifetime_s}
        return answer(json.dumps(said).encode() if body is None else body, status=status)

    return http(app)


def oauth(port, **more):
    return OAuth2(client_id="me", client_secret="s3cret", token_url=f"http://127.0.0.1:{port}/token", **more)


async def test_h58_a_token_is_fetched_once_and_sent_with_each_request(network):
    asked, seen = [], []
    async with serve(token_server(asked)) as tokens, serve(http(answer(), seen=seen)) as port:
        config = Config(oauth2=oauth(tokens, scopes=["a", "b"], endpoint_params={"audience": "x y"}))
        first = await probe(network, port, config)
        second = await probe(network, port, config)

    assert ["ok", "ok"] == [outcome(first), outcome(second)]
    assert ["Bearer t0ken-1"] * 2 == [request.headers["authorization"] for request in seen]
    assert 1 == len(asked)
    assert b"grant_type=client_credentials&scope=a+b&audience=x+y" == asked[0].body
    assert "Basic " + base64.b64encode(b"me:s3cret").decode() == asked[0].headers["authorization"]
    assert "application/x-www-form-urlencoded" == asked[0].headers["content-type"]
    assert first.facts["probe_http_oauth2_duration_seconds"] > 0
    assert 0.0 == second.facts["probe_http_oauth2_duration_seconds"]
    assert first.duration_s == pytest.approx(sum(first.phases.values()))


async def test_h58_an_expired_token_is_fetched_anew(network):
    asked, seen = [], []
    async with serve(token_server(asked, lifetime_s=5)) as tokens, serve(http(answer(), seen=seen)) as port:
        config = Config(oauth2=oauth(tokens))
        for _ in range(2):
            await probe(network, port, config)

    assert ["Bearer t0ken-1", "Bearer t0ken-2"] == [request.headers["authorization"] for request in seen]


async def test_a_token_that_the_target_refuses_is_not_kept(network):
    asked = []
    async with serve(token_server(asked)) as tokens, serve(http(answer(status=401))) as port:
        config = Config(oauth2=oauth(tokens))
        for _ in range(2):
            assert "status" == outcome(await probe(network, port, config))

    assert 2 == len(asked)


async def test_runs_at_the_same_time_fetch_one_token(network):
    asked = []
    async with serve(token_server(asked)) as tokens, serve(http(answer())) as port:
        config = Config(oauth2=oauth(tokens))
        measurements = await asyncio.gather(*(probe(network, port, config) for _ in range(5)))

    assert {"ok"} == set(map(outcome, measurements))
    assert 1 == len(asked)


async def test_an_endpoint_that_wants_the_secret_in_the_body_gets_it_there(network):
    asked = []
    async with serve(token_server(asked, in_body=True, lifetime_s=1)) as tokens, serve(http(answer())) as port:
        config = Config(oauth2=oauth(tokens))
        for _ in range(2):
            assert "ok" == outcome(await probe(network, port, config))

    assert [False, True, True] == [b"client_secret=s3cret" in request.body for request in asked]


async def test_the_secret_of_a_client_comes_from_a_file(network, tmp_path):
    (tmp_path / "secret").write_text("fr0m-a-file\n")
    asked = []
    async with serve(token_server(asked)) as tokens, serve(http(answer())) as port:
        client = OAuth2(
            client_id="me", client_secret_file=str(tmp_path / "secret"), token_url=f"http://127.0.0.1:{tokens}/"
        )
        await probe(network, port, Config(oauth2=client))

    assert "Basic " + base64.b64encode(b"me:fr0m-a-file").decode() == asked[0].headers["authorization"]


async def test_a_token_endpoint_has_tls_settings_of_its_own(network, authority):
    asked = []
    async with (
        serve(token_server(asked), tls=authority.context("localhost")) as tokens,
        serve(http(answer())) as port,
    ):
        url = f"https://localhost:{tokens}/"
        trusted = OAuth2(client_id="a", token_url=url, tls_config=TlsConfig(ca_file=authority.file))
        good = await probe(network, port, Config(oauth2=trusted))
        bad = await probe(network, port, Config(oauth2=OAuth2(client_id="a", token_url=url)))

    assert ["ok", "auth"] == [outcome(good), outcome(bad)]
    assert "is not trusted" in bad.failure.message


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, b'{"error": "invalid_client", "error_description": "who?"}', "it answered 401 invalid_client: who?"),
        (400, b'{"error": "invalid_scope"}', "it answered 400 invalid_scope"),
        (500, b"<html>", "it answered 500 without a token"),
        (200, b"{}", "it answered 200 without a token"),
        (200, b"not JSON", "it answered 200 without a token"),
        (200, b"[" * 50_000, "it answered 200 without a token"),
        (200, b'{"access_token": "a\\r\\nX: y"}', "its token holds a character that no header can have"),
        (200, b'{"access_token": "' + b"a" * 70_000 + b'"}', "body is longer than 64 KiB"),
        (302, b"", "it answered 302 without a token"),
    ],
)
async def test_what_goes_wrong_at_the_token_endpoint_is_auth_in_words(network, status, body, words):
    asked, seen = [], []
    endpoint = token_server(asked, status=status, body=body)
    async with serve(endpoint) as tokens, serve(http(answer(), seen=seen)) as port:
        measurement = await probe(network, port, Config(oauth2=oauth(tokens)))

    assert "auth" == outcome(measurement)
    assert f"no token from http://127.0.0.1:{tokens}/token: {words}" == measurement.failure.message
    assert [] == seen
    assert 0.0 == measurement.facts["probe_http_status_code"]


async def test_a_token_endpoint_that_is_gone_or_silent_is_auth_within_the_deadline(network):
    gone = await probe(network, 9, Config(oauth2=oauth(unused_port())))
    async with serve(silent) as port:
        slow = await probe(network, 9, Config(oauth2=oauth(port)), timeout_s=0.3)

    assert ("auth", "auth") == (outcome(gone), outcome(slow))
    assert "connection refused" in gone.failure.message
    assert "no answer" in slow.failure.message
    assert slow.duration_s < 0.5


async def test_neither_token_nor_secret_is_told(network):
    def echo(request):
        return answer(request.headers["authorization"].encode(), status=500)

    async with serve(token_server([])) as tokens, serve(http(echo)) as port:
        measurement = await probe(network, port, Config(oauth2=oauth(tokens)), debug=True)

    told = str(measurement.failure) + "".join(measurement.lines)
    assert "t0ken" not in told
    assert "s3cret" not in told
    assert base64.b64encode(b"me:s3cret").decode() not in told
    assert "token fetched" in told


# ---------------------------------------------------------------- whom they are told


async def test_credentials_stay_with_their_origin_port_included(network):
    async def through(locate):
        """What the second server hears when the first one leads to it."""
        seen = []
        async with serve(http(answer(), seen=seen)) as second:
            first = http(lambda _: answer(b"", status=307, headers={"Location": locate(second)}))
            async with serve(first) as port:
                await probe_http(
                    network,
                    f"http://127.0.0.1:{port}/",
                    bearer_token="t0ken",
                    headers={"X-Api-Key": "k3y", "Accept": "text/html"},
                    http_headers={"X-More": HttpHeader(secrets=["s3cret"])},
                )
        return seen[0].headers

    other_port = await through(lambda port: f"http://127.0.0.1:{port}/")
    other_name = await through(lambda port: f"http://localhost:{port}/")

    for heard in (other_port, other_name):
        assert {"authorization", "x-api-key", "x-more"} & heard.keys() == set()
        assert "text/html" == heard["accept"]


async def test_a_token_stays_with_its_origin(network):
    seen = []
    async with serve(token_server([])) as tokens, serve(http(answer(), seen=seen)) as second:
        first = http(answer(b"", status=302, headers={"Location": f"http://127.0.0.1:{second}/"}), seen=seen)
        async with serve(first) as port:
            await probe(network, port, Config(oauth2=oauth(tokens)))

    assert [True, False] == ["authorization" in request.headers for request in seen]


async def test_an_upgrade_to_tls_is_another_origin(network, authority):
    seen = []
    async with serve(http(answer(), seen=seen), tls=authority.context("127.0.0.1")) as second:
        first = http(answer(b"", status=301, headers={"Location": f"https://127.0.0.1:{second}/"}))
        async with serve(first) as port:
            measurement = await probe_http(
                network,
                f"http://127.0.0.1:{port}/",
                bearer_token="t0ken",
                tls_config=TlsConfig(ca_file=authority.file),
            )

    assert "ok" == outcome(measurement)
    assert "authorization" not in seen[0].headers


async def test_a_cookie_of_one_host_is_not_told_to_another(network):
    seen = []
    async with serve(http(answer(), seen=seen)) as second:

        def locate(host):
            headers = [("Set-Cookie", "plain=1"), ("Location", f"http://{host}:{second}/")]
            return http(answer(b"", status=302, headers=headers))

        for host in ("localhost", "127.0.0.1"):
            async with serve(locate(host)) as port:
                await probe_http(network, f"http://127.0.0.1:{port}/")

    assert [None, "plain=1"] == [request.headers.get("cookie") for request in seen]


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"bearer_token": "a", "oauth2": OAuth2(client_id="a", token_url="http://a/")}, "bearer_token"),
        ({"bearer_token": "a", "bearer_token_file": "/dev/null/no"}, "bearer_token"),
        ({"oauth2": OAuth2(client_id="", token_url="http://a/")}, "oauth2.client_id"),
        ({"oauth2": OAuth2(client_id="a", token_url="ftp://a/")}, "oauth2.token_url"),
        (
            {"oauth2": OAuth2(client_id="a", token_url="http://a/", tls_config=TlsConfig(cert_file=__file__))},
            "oauth2.tls_config.cert_file",
        ),
        ({"oauth2": OAuth2(client_id="a", token_url="http://a/", proxy_url="ftp://a")}, "oauth2.proxy_url"),
        ({"basic_auth": BasicAuth(username="a:b")}, "basic_auth.username"),
        ({"basic_auth": BasicAuth(username="a", password="b", password_file=__file__)}, "basic_auth.password_file"),
        ({"basic_auth": BasicAuth(username="a", password_file="/nowhere")}, "basic_auth.password_file"),
        ({"authorization": Authorization()}, "authorization.credentials"),
        ({"authorization": Authorization(type="Basic", credentials="a")}, "authorization.type"),
        ({"authorization": Authorization(credentials=Secret("a\nb"))}, "authorization.credentials"),
        ({"body": "a", "body_file": __file__}, "body_file"),
        ({"body_file": "/nowhere"}, "body_file"),
        ({"http_headers": {"Host": HttpHeader(values=["a"])}}, "http_headers.Host"),
        ({"http_headers": {"X": HttpHeader(secrets=["a\nb"])}}, "http_headers.X.secrets[0]"),
        ({"http_headers": {"X": HttpHeader(files=["/nowhere"])}}, "http_headers.X.files[0]"),
        ({"compression": "gzip", "headers": {"Accept-Encoding": "br, identity"}}, "headers.Accept-Encoding"),
    ],
)
def test_settings_that_make_no_sense_are_named(config, path):
    assert path == next(path for path, _ in check(Config(**config)))
