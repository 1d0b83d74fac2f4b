"""What strangers send to a real daemon: bounded, answered with 4xx or cut, never 5xx; it goes on probing meanwhile."""

import asyncio
import contextlib
import json
import re

import pytest
from daemon import eventually, perfmon, service
from web_face import connection

HOST = b"Host: localhost\r\n"
END = b"\r\n\r\n"

SMUGGLED = {
    "length and chunked": b"POST /-/reload HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /config HTTP/1.1\r\n" + HOST + b"\r\n",
    "two lengths": b"POST /-/reload HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\nContent-Length: 40\r\n\r\nGET /config HTTP/1.1\r\n" + HOST + b"\r\n",
    "negative length": b"POST /-/reload HTTP/1.1\r\n" + HOST + b"Content-Length: -1" + END,
    "length that is no number": b"POST /-/reload HTTP/1.1\r\n" + HOST + b"Content-Length: 0x10" + END,
    "length beyond all numbers": b"POST /-/reload HTTP/1.1\r\n" + HOST + b"Content-Length: " + b"9" * 40 + END,
    "chunked that is not last": b"POST /-/reload HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked, identity\r\n\r\n0" + END,
    "chunk of a size that is none": b"POST /-/reload HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "folded header": b"GET /-/healthy HTTP/1.1\r\n" + HOST + b" Content-Length: 5" + END,
    "blank before the colon": b"GET /-/healthy HTTP/1.1\r\n" + HOST + b"Content-Length : 5" + END,
    "bare line feeds": b"GET /-/healthy HTTP/1.1\nHost: localhost\nX: \x00\n\n",
    "null in a header": b"GET /-/healthy HTTP/1.1\r\n" + HOST + b"X: a\x00b" + END,
    "no version": b"GET /-/healthy\r\n\r\n",
    "version of the future": b"GET /-/healthy HTTP/9.9\r\n" + HOST + b"\r\n",
    "preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "upgrade to HTTP/2": b"GET /-/healthy HTTP/1.1\r\n" + HOST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk" + END,
    "upgrade to a WebSocket": b"GET / HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==" + END,
    "a tunnel": b"CONNECT 127.0.0.1:22 HTTP/1.1\r\n" + HOST + b"\r\n",
    "a proxy": b"GET http://169.254.169.254/latest HTTP/1.1\r\n" + HOST + b"\r\n",
    "all of it": b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    "expectation": b"POST /-/reload HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
}  # fmt: skip
PATHS = (
    "/page/../server.py", "/page/..%2fserver.py", "/page/%2e%2e/server.py", "/page/....//server.py", "/page//etc/passwd",
    "/page/page.css%00.py", "/page/page.css/", "/page", "/page/", "/../../etc/passwd", "//etc/passwd", "/%2e%2e/%2e%2e/etc/passwd",
    "/page/\\..\\server.py", "/.git/config", "/page/%c0%ae%c0%ae/server.py", "/api/v1/../../config/x",
)  # fmt: skip
METHODS = ("HEAD", "OPTIONS", "TRACE", "DELETE", "PATCH", "PROPFIND", "PUT", "POST")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    with service() as shop:
        probe = {"name": "shop", "module": "http_2xx", "interval": "0.1s", "targets": [shop.url]}
        (folder / "perfmon.yml").write_text(json.dumps({"probes": [probe]}))
        with perfmon(folder, "--config.file=perfmon.yml", "--state.path=") as running:
            yield running
            assert 0 == (running.metric("perfmon_defects_total") or 0)


@pytest.fixture
def ask(daemon):
    """Send bytes; the statuses of all answers, and all that came, until the server closes or says no more."""
    address = f"127.0.0.1:{daemon.port}"

    async def send(raw, *, within_s=10.0):
        received = b""
        async with connection(address) as (reader, writer):
            writer.write(raw)
            with contextlib.suppress(TimeoutError, ConnectionError):
                while data := await asyncio.wait_for(reader.read(65_536), within_s):
                    received += data
        return [int(code) for code in re.findall(rb"^HTTP/1\.1 (\d{3})", received, flags=re.MULTILINE)], received

    return send


async def goes_on(daemon):
    before = await asyncio.to_thread(daemon.metric, "perfmon_probe_runs_total") or 0
    await asyncio.to_thread(
        eventually, lambda: daemon.metric("perfmon_probe_runs_total") > before, "it goes on probing"
    )


async def test_what_smuggles_is_refused_and_nothing_is_smuggled(daemon, ask):
    answers = dict(
        zip(SMUGGLED, await asyncio.gather(*(ask(raw, within_s=1.0) for raw in SMUGGLED.values())), strict=True)
    )

    assert {} == {name: codes for name, (codes, _) in answers.items() if any(code >= 500 for code in codes)}
    assert [] == [name for name, (_, received) in answers.items() if b"modules:" in received or b"http_2xx" in received]
    two = {name: codes for name, (codes, _) in answers.items() if len([code for code in codes if code != 100]) > 1}
    assert {} == two
    await goes_on(daemon)


async def test_no_path_leads_out_of_the_folder(ask):
    answers = await asyncio.gather(
        *(ask(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()) for path in PATHS)
    )

    assert {path: [404] for path in PATHS} == {path: codes for path, (codes, _) in zip(PATHS, answers, strict=True)}
    assert not any(b"root:" in received or b"import " in received for _, received in answers)


@pytest.mark.parametrize("path", ["/", "/metrics", "/api/v1/targets", "/page/page.css", "/-/healthy", "/nothing"])
async def test_other_methods_are_refused_with_those_that_are_not(ask, path):
    answers = await asyncio.gather(
        *(
            ask(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            for method in METHODS
        )
    )

    for method, (codes, received) in zip(METHODS, answers, strict=True):
        expected = {404} if path == "/nothing" else {200} if method == "HEAD" else {400, 405}
        assert set(codes) <= expected, method
        assert len(codes) == 1
        assert codes != [405] or re.search(rb"^allow: .*GET", received, flags=re.MULTILINE)
        assert method != "HEAD" or received.endswith(END)


async def test_huge_requests_are_cut(daemon, ask):
    huge = [
        b"GET /api/v1/targets?minutes=" + b"9" * 60_000 + b" HTTP/1.1\r\n" + HOST + b"Connection: close" + END,
        b"GET /api/v1/target?" + b"key=a&" * 10_000 + b" HTTP/1.1\r\n" + HOST + b"Connection: close" + END,
        b"GET /-/healthy?" + b"a" * 3_000_000 + b" HTTP/1.1\r\n" + HOST + END,
        b"GET /-/healthy HTTP/1.1\r\n" + b"X: y\r\n" * 100_000 + END,
        b"GET /-/healthy HTTP/1.1\r\n" + HOST + b"X: " + b"y" * 60_000 + b"\r\nConnection: close" + END,
        b"X" * 1_000_000,
    ]
    answers = await asyncio.gather(*map(ask, huge))

    assert [[400], [404]] == [codes for codes, _ in answers[:2]]
    assert [200] == answers[4][0]
    assert {400} >= {code for codes, _ in (*answers[2:4], answers[5]) for code in codes}
    await goes_on(daemon)


async def test_a_crowd_that_says_nothing_to_the_end_keeps_nobody_from_probing(daemon, ask):
    """More than the daemon serves at once, each with half a request; when they are gone others are served."""
    async with contextlib.AsyncExitStack() as crowd:
        for _ in range(530):
            _, writer = await crowd.enter_async_context(connection(f"127.0.0.1:{daemon.port}"))
            writer.write(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
        with contextlib.suppress(ConnectionError):
            assert [] == (await ask(b"GET /-/healthy HTTP/1.1\r\n" + HOST + b"Connection: close" + END))[0]

    def served():
        return daemon.metric("perfmon_probe_runs_total")

    assert 0 < await asyncio.to_thread(eventually, served, "it serves others again")
    await goes_on(daemon)
