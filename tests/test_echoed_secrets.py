"""Targets, proxies and token endpoints that say all they were told: none of it is a secret any more when it is shown."""

import asyncio
import json
import urllib.parse
from base64 import b64decode, b64encode

import msgspec
import pytest
from daemon import get, perfmon
from daemon import service as running_service
from probing import probe_exec, probe_http, probe_tcp
from servers import Request, answer, http, serve

from perfmon.errors import PassingError
from perfmon.network.credentials import BasicAuth, OAuth2
from perfmon.network.query_response import Label, QueryResponse
from perfmon.post import BasicAuth as ReceiverAuth
from perfmon.post import Http, post
from perfmon.probes.http import HttpHeader
from perfmon.secret import Secret, hidden, masked

SECRET = 'hunter2 "+/hunter'


def echo(request: Request) -> bytes:
    """All that came, and what base64 hides of it."""
    if request.path == "/token":
        return answer(json.dumps({"access_token": "t0k3n-t0k3n-t0k3n"}).encode())
    said = f"{request.path} {request.headers} {request.body.decode()} {_decoded(request)}".encode()
    if request.path == "/no-token":
        return answer(json.dumps({"error": said.decode()[:190]}).encode(), status=401)
    return answer(said, status=500)


def _decoded(request: Request) -> list[str]:
    sent = [request.headers.get(name, "") for name in ("authorization", "proxy-authorization")]
    return [b64decode(value.removeprefix("Basic ")).decode() for value in sent if value.startswith("Basic ")]


def shapes(secret: str) -> list[str]:
    return [
        secret, urllib.parse.quote(secret, safe=""), urllib.parse.quote_plus(secret), json.dumps(secret)[1:-1],
        b64encode(f"me:{secret}".encode()).decode(), b64encode(f"me:{urllib.parse.quote_plus(secret)}".encode()).decode(),
    ]  # fmt: skip


def whole(run) -> str:
    return msgspec.json.encode([run.failure, run.steps, run.lines, list(run.facts)]).decode()


def assert_untold(run, *secrets: str):
    assert "<secret>" in whole(run)
    for secret in secrets:
        assert [] == [shape for shape in shapes(secret) if shape in whole(run)]


# ---------------------------------------------------------------- http


async def test_user_and_password_of_files(network, tmp_path):
    (tmp_path / "user").write_text("me\n")
    (tmp_path / "password").write_text(SECRET + "\n")
    config = BasicAuth(username_file=str(tmp_path / "user"), password_file=str(tmp_path / "password"))
    async with serve(http(echo)) as port:
        run = await probe_http(network, f"http://127.0.0.1:{port}/", debug=True, basic_auth=config)

    assert_untold(run, SECRET)


async def test_a_token_is_hidden_also_in_the_runs_that_did_not_fetch_it(network):
    async with serve(http(echo)) as port:
        config = OAuth2(client_id="me", client_secret=SECRET, token_url=f"http://127.0.0.1:{port}/token")
        runs = [await probe_http(network, f"http://127.0.0.1:{port}/", debug=True, oauth2=config) for _ in range(2)]

    for run in runs:
        assert_untold(run, SECRET, "t0k3n-t0k3n-t0k3n")


@pytest.mark.parametrize("in_file", [True, False])
async def test_the_secret_that_a_token_endpoint_repeats(network, tmp_path, in_file):
    (tmp_path / "secret").write_text(SECRET)
    which = {"client_secret_file": str(tmp_path / "secret")} if in_file else {"client_secret": SECRET}
    async with serve(http(echo)) as port:
        config = OAuth2(client_id="me", token_url=f"http://127.0.0.1:{port}/no-token", **which)
        run = await probe_http(network, f"http://127.0.0.1:{port}/", debug=True, oauth2=config)

    assert "auth" == run.failure.reason
    assert_untold(run, SECRET)


@pytest.mark.parametrize("by", ["text", "reference", "environment"])
async def test_the_password_of_a_proxy(network, monkeypatch, by):
    url = f"http://me:{urllib.parse.quote(SECRET, safe='')}@127.0.0.1"
    async with serve(http(echo)) as port:
        monkeypatch.setenv("HTTP_PROXY", f"{url}:{port}")
        config = {
            "text": {"proxy_url": f"{url}:{port}"},
            "reference": {"proxy_url": Secret(f"{url}:{port}")},
            "environment": {"proxy_from_environment": True},
        }[by]
        run = await probe_http(network, "http://192.0.2.1/", debug=True, skip_resolve_phase_with_proxy=True, **config)

    assert "status" == run.failure.reason
    assert_untold(run, SECRET)


@pytest.mark.parametrize("user", ["me:hunter2hunter2@", "http://me:hunter2hunter2@", "http://hunter2hunter2@"])
async def test_user_and_password_of_an_address(network, user):
    async with serve(http(echo)) as port:
        run = await probe_http(network, f"{user}127.0.0.1:{port}/", debug=True)

    assert_untold(run, "hunter2hunter2")
    assert b64encode(b"hunter2hunter2:").decode() not in whole(run)


# ---------------------------------------------------------------- labels


async def test_a_label_of_what_a_server_said_has_no_secret(network):
    async def echoing(reader, writer):
        while line := await reader.readline():
            writer.write(line)

    steps = [
        QueryResponse(send=Secret("AUTH hunter2-hunter2", ["hunter2-hunter2"])),
        QueryResponse(expect="AUTH (.*)", labels=[Label(name="said", value="${1}")]),
    ]
    async with serve(echoing) as port:
        run = await probe_tcp(network, f"127.0.0.1:{port}", query_response=steps)

    assert run.success
    assert 'probe_expect_info{said="<secret>"}' in run.facts


async def test_a_label_of_what_a_program_printed_has_no_secret(network):
    env = {"TOKEN": Secret("hunter2-hunter2")}
    script = 'echo "orders{by=\\"$TOKEN\\"} 5"'
    run = await probe_exec(network, "/bin/sh", "-c", script, env=env, output="prometheus")

    assert run.success
    assert 'perfmon_exec_value{name="orders",by="<secret>"}' in run.facts


# ---------------------------------------------------------------- settings


def test_a_list_under_a_secret_name_is_masked_and_hidden():
    setting = {"X-Token": ["hunter2"], "http_headers": {"X": HttpHeader(values=["seen"], secrets=["hunter3"])}}

    assert {"X-Token": ["<secret>"]}.items() <= masked(setting).items()
    assert {"values": ["seen"], "secrets": ["<secret>"], "files": []} == masked(setting)["http_headers"]["X"]
    assert {"hunter2", "hunter3"} <= set(hidden(setting))
    assert {"env_pass": ["PASSWORD_FILE"]} == masked({"env_pass": ["PASSWORD_FILE"]})


# ---------------------------------------------------------------- receivers


async def test_what_a_receiver_or_its_proxy_repeats(monkeypatch):
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    config = Http(basic_auth=ReceiverAuth(username="me", password=SECRET), headers={"X-Key": "k3y-k3y-k3y"})
    async with serve(http(echo_of_credentials)) as port:
        monkeypatch.setenv("http_proxy", f"http://me:pr0xy-pr0xy@127.0.0.1:{port}")
        with pytest.raises(PassingError) as raised:
            await asyncio.to_thread(post, "http://192.0.2.1/hook", {}, config)

    assert "answered 500: <secret> <secret> <secret>" in str(raised.value)


def echo_of_credentials(request: Request) -> bytes:
    sent = (request.headers[name] for name in ("authorization", "proxy-authorization", "x-key"))
    return answer(" ".join(value.removeprefix("Basic ") for value in sent).encode(), status=500)


# ---------------------------------------------------------------- the daemon


def test_an_address_with_a_password_is_listed_without_it(tmp_path):
    with running_service() as service, perfmon(tmp_path, "http://127.0.0.1:1/") as daemon:
        target = service.url.replace("http://", "http://me:hunter2@")
        for one in (target, target.removeprefix("http://")):
            get(f"{daemon.url}/probe?target={urllib.parse.quote(one, safe='')}")
        listed = [run["target"] for run in json.loads(get(f"{daemon.url}/api/v1/runs")[1])["runs"]]

    assert [f"<secret>@127.0.0.1:{service.port}", f"http://<secret>@127.0.0.1:{service.port}"] == listed
