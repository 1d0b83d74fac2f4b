"""http_sd against a real server, well-behaved and otherwise: targets, or a sentence in time."""

import asyncio
import contextlib
import time

import msgspec
import pytest
from servers import (
    answer,
    dripping,
    endless,
    endless_header,
    garbage,
    hanging_up,
    http,
    redirecting,
    resetting,
    serve,
    silent,
    unused_port,
)

from perfmon.clock import SystemClock
from perfmon.discoveries import http as discovery
from perfmon.discoveries.http import Config
from perfmon.network.credentials import BasicAuth
from perfmon.network.oauth2 import OAuth2
from perfmon.network.tls import TlsConfig
from perfmon.secret import Secret
from perfmon.target_groups import MAX_BYTES

GROUPS = msgspec.json.encode([{"targets": ["http://a/"], "labels": {"env": "prod"}}])
JSON = {"Content-Type": "application/json"}


@contextlib.asynccontextmanager
async def finding(network, handler, path="/sd", tls=None, **settings):
    async with serve(handler, tls=tls) as port:
        scheme, host = ("https", "localhost") if tls else ("http", "127.0.0.1")
        config = Config(url=f"{scheme}://{host}:{port}{path}", **settings)
        assert [] == list(discovery.check(config))
        yield discovery.open(config, network, SystemClock())


async def test_targets_are_asked_for_as_prometheus_does(network):
    seen = []
    handler = http(answer(GROUPS, headers=JSON), seen=seen)
    async with finding(network, handler, "/sd?site=1", basic_auth=BasicAuth(username="u", password="p")) as finder:
        listing = await finder.find()

    assert [("http://a/", {"env": "prod"})] == [(one.address, one.labels) for one in listing.found]
    assert ("GET", "/sd?site=1", "Basic dTpw", "60") == (
        seen[0].method, seen[0].path, seen[0].headers["authorization"],
        seen[0].headers["x-prometheus-refresh-interval-seconds"],
    )  # fmt: skip


async def test_an_answer_in_yaml_is_read_as_yaml(network):
    handler = http(answer(b"- targets: [a:1]", headers={"Content-Type": "application/yaml"}))
    async with finding(network, handler) as finder:
        assert ["a:1"] == [one.address for one in (await finder.find()).found]


async def test_redirects_are_followed_and_secrets_stay_with_their_host(network):
    seen = []
    async with serve(http(answer(GROUPS, headers=JSON), seen=seen)) as elsewhere:
        away = answer(b"", status=302, headers={"Location": f"http://localhost:{elsewhere}/sd"})
        async with finding(network, http(away), bearer_token=Secret("hush")) as finder:
            assert 1 == len((await finder.find()).found)
    assert "authorization" not in seen[0].headers


async def test_tls_is_verified_against_the_authority_given(network, authority):
    handler = http(answer(GROUPS, headers=JSON))
    tls = authority.context("localhost")
    async with finding(network, handler, tls=tls, tls_config=TlsConfig(ca_file=authority.file)) as finder:
        assert 1 == len((await finder.find()).found)
    async with finding(network, handler, tls=tls) as finder:
        with pytest.raises(LookupError, match="certificate"):
            await finder.find()


LONG = b'["' + b"a" * MAX_BYTES + b'"]'


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (http(answer(b"no", status=500)), "answered 500, expected 200"),
        (http(answer(b"", status=204)), "answered 204, expected 200"),
        (http(answer(b"<html>", headers=JSON)), ": is not JSON"),
        (http(answer(b"", headers=JSON)), ": is empty"),
        (http(answer(b"{}", headers=JSON)), ": expected a list of target groups, got a mapping"),
        (http(answer(LONG, headers=JSON)), "body"),
        (http(answer(GROUPS, length=len(GROUPS) + 9)), "closed"),
        (http(redirecting(None)), "still redirected after 10 redirects"),
        (silent, "after"),
        (hanging_up, "closed"),
        (resetting, "reset"),
        (dripping(), "after"),
        (endless, ""),
        (endless_header, ""),
        (garbage, ""),
    ],
    ids=lambda given: given if isinstance(given, str) else "",  # functions have addresses, which differ by process
)
async def test_a_faulty_server_is_told_in_a_sentence_in_time_without_the_path(network, handler, words):
    async with finding(network, handler, "/hidden-path", timeout=1.0) as finder:
        began = time.monotonic()
        with pytest.raises(LookupError) as caught:
            await finder.find()

    assert time.monotonic() - began < 4.0
    assert words in str(caught.value)
    assert str(caught.value).startswith("http://127.0.0.1:")
    assert "hidden-path" not in str(caught.value)


async def test_nobody_listening_is_told_too(network):
    config = Config(url=f"http://127.0.0.1:{unused_port()}/")
    with pytest.raises(LookupError, match="connection refused"):
        await discovery.open(config, network, SystemClock()).find()


async def test_one_that_is_asked_again_and_again_leaves_no_connections_behind(network):
    open_now = 0

    async def counting(reader, writer):
        nonlocal open_now
        open_now += 1
        try:
            await http(answer(GROUPS, headers=JSON))(reader, writer)
        finally:
            open_now -= 1

    async with finding(network, counting) as finder:
        listings = [await finder.find() for _ in range(20)]
        await asyncio.sleep(0.05)

    assert all(listing is listings[0] for listing in listings)  # an answer that is the same is not read again
    assert 0 == open_now


async def test_a_token_comes_from_a_file(network, tmp_path):
    (tmp_path / "token").write_text("hush\n")
    seen = []
    async with finding(
        network, http(answer(GROUPS, headers=JSON), seen=seen), bearer_token_file=str(tmp_path / "token")
    ) as finder:
        await finder.find()

    assert "Bearer hush" == seen[0].headers["authorization"]


async def test_a_token_that_does_not_come_is_told_in_words(network, tmp_path):
    client = OAuth2(client_id="me", client_secret="hush", token_url=f"http://127.0.0.1:{unused_port()}/")
    async with finding(network, http(answer(GROUPS, headers=JSON)), oauth2=client) as finder:
        with pytest.raises(LookupError, match=r"no token from .*: connection refused"):
            await finder.find()
