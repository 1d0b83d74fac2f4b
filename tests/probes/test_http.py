"""The http probe against real servers. Names like h01 are rows of blackbox_exporter's own tests, restated."""

import asyncio
import gzip
import time
import zlib

import pytest
import yaml
from probing import outcome, probe_http
from servers import (
    answer,
    closing,
    dripping,
    endless,
    endless_header,
    full_backlog,
    garbage,
    hanging_up,
    http,
    read_request,
    redirecting,
    resetting,
    resetting_in_body,
    serve,
    silent,
    unused_port,
)

from perfmon.answer.demands import HeaderRule
from perfmon.model import PHASES
from perfmon.network.credentials import Authorization, BasicAuth
from perfmon.network.tls import TlsConfig
from perfmon.probes.http import Config, check, check_target
from perfmon.secret import Secret

# ---------------------------------------------------------------- status and version


@pytest.mark.parametrize(
    ("status", "valid", "expected"),
    [
        (200, [], "ok"),
        (201, [], "ok"),
        (299, [], "ok"),
        (300, [], "status"),
        (404, [], "status"),
        (503, [], "status"),
        (404, [404, 410], "ok"),
        (200, [404], "status"),
    ],
)
async def test_h01_h02_a_status_is_2xx_or_as_listed(network, status, valid, expected):
    async with serve(http(answer(status=status))) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/", valid_status_codes=valid)

    assert expected == outcome(measurement)
    assert status == measurement.facts["probe_http_status_code"]


async def test_e02_a_wrong_status_says_what_came_and_shows_the_body(network):
    async with serve(http(answer(b"the database is gone" + b"." * 1000, status=503))) as port:
        failure = (await probe_http(network, f"http://127.0.0.1:{port}/")).failure

    assert "status 503, expected 2xx" == failure.message
    assert "processing" == failure.phase
    assert "503" == failure.evidence["status"]
    assert 200 == len(failure.evidence["body"])
    assert failure.evidence["body"].startswith("the database is gone")


@pytest.mark.parametrize(
    ("valid", "expected"),
    [([], "ok"), (["HTTP/1.1"], "ok"), (["HTTP/1.1", "HTTP/2.0"], "ok"), (["HTTP/2.0"], "status")],
)
async def test_h04_h05_the_version_is_any_or_as_listed(network, valid, expected):
    async with serve(http(answer())) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/", valid_http_versions=valid)

    assert expected == outcome(measurement)
    assert 1.1 == measurement.facts["probe_http_version"]


async def test_http_1_0_is_told_as_such(network):
    async with serve(http(answer(version="1.0"))) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/")

    assert 1.0 == measurement.facts["probe_http_version"]


# ---------------------------------------------------------------- body


async def test_h07_a_failed_status_still_has_its_lengths(network):
    async with serve(http(answer(b"not found", status=404))) as port:
        facts = (await probe_http(network, f"http://127.0.0.1:{port}/")).facts

    assert 9 == facts["probe_http_content_length"]
    assert 9 == facts["probe_http_uncompressed_body_length"]


async def test_h08_nothing_is_decoded_that_was_not_asked_for(network):
    seen = []
    packed = gzip.compress(b"x" * 1000)
    async with serve(http(answer(packed, headers={"Content-Encoding": "gzip"}), seen=seen)) as port:
        facts = (await probe_http(network, f"http://127.0.0.1:{port}/")).facts

    assert "accept-encoding" not in seen[0].headers
    assert len(packed) == facts["probe_http_content_length"]
    assert len(packed) == facts["probe_http_uncompressed_body_length"]


@pytest.mark.parametrize("accepted", [None, "gzip", "br, gzip", "*"])
async def test_h11_gzip_is_asked_for_and_undone(network, accepted):
    seen = []
    app = answer(gzip.compress(b"x" * 1000), headers={"Content-Encoding": "gzip"})
    headers = {"Accept-Encoding": accepted} if accepted else {}
    async with serve(http(app, seen=seen)) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/", compression="gzip", headers=headers)

    assert "ok" == outcome(measurement)
    assert (accepted or "gzip") == seen[0].headers["accept-encoding"]
    assert 1000 == measurement.facts["probe_http_uncompressed_body_length"]


async def test_h10_another_encoding_than_asked_for_is_a_failure(network):
    packed = gzip.compress(b"x" * 1000)
    async with serve(http(answer(packed, headers={"Content-Encoding": "gzip"}))) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/", compression="deflate")

    assert "body has encoding gzip, expected deflate" == measurement.failure.message
    assert len(packed) == measurement.facts["probe_http_content_length"]
    assert 0 == measurement.facts["probe_http_uncompressed_body_length"]


async def test_deflate_is_undone(network):
    async with serve(http(answer(zlib.compress(b"x" * 1000), headers={"Content-Encoding": "deflate"}))) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/", compression="deflate")

    assert "ok" == outcome(measurement)
    assert 1000 == measurement.facts["probe_http_uncompressed_body_length"]


async def test_a_body_that_is_not_what_its_encoding_says_is_a_failure(network):
    async with serve(http(answer(b"plain text", headers={"Content-Encoding": "gzip"}))) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/", compression="gzip")

    assert "body" == outcome(measurement)


@pytest.mark.parametrize(("size", "expected"), [(128, "ok"), (129, "too_large")])
async def test_h13_a_body_over_its_limit_is_a_failure(network, size, expected):
    async with serve(http(answer(b"x" * size))) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/", body_size_limit=128)

    assert expected == outcome(measurement)
    assert size == measurement.facts["probe_http_content_length"]
    assert 128 == measurement.facts["probe_http_uncompressed_body_length"]


async def test_h14_a_zip_bomb_stops_at_the_limit(network):
    bomb = gzip.compress(b"A" * 5_000_000)
    async with serve(http(answer(bomb, headers={"Content-Encoding": "gzip"}))) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/", compression="gzip", body_size_limit=128)

    assert "body is longer than 128B" == measurement.failure.message.replace(" B", "B")
    assert 128 == measurement.facts["probe_http_uncompressed_body_length"]


async def test_a_zip_bomb_stops_without_a_limit_too(network):
    """libcurl unpacks all that came before it lets the loop go on."""
    bomb = gzip.compress(b"A" * 200_000_000, 1)
    async with serve(http(answer(bomb, headers={"Content-Encoding": "gzip"}))) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/", compression="gzip")

    assert "body is longer than 64MiB" == measurement.failure.message.replace(" M", "M")


@pytest.mark.parametrize(
    ("body", "rules", "expected"),
    [
        (b"could not connect to database", {"fail_if_body_matches_regexp": ["could not connect to database"]}, "body"),
        (b"Download the latest version", {"fail_if_body_matches_regexp": ["could not connect to database"]}, "ok"),
        (b"internal error", {"fail_if_body_matches_regexp": ["could not connect", "internal error"]}, "body"),
        (b"hello", {"fail_if_body_matches_regexp": ["could not connect", "internal error"]}, "ok"),
        (b"Download the latest", {"fail_if_body_not_matches_regexp": ["Download the latest"]}, "ok"),
        (b"could not connect", {"fail_if_body_not_matches_regexp": ["Download the latest"]}, "body"),
        (b"one", {"fail_if_body_not_matches_regexp": ["one", "two"]}, "body"),
        (b"one two", {"fail_if_body_not_matches_regexp": ["one", "two"]}, "ok"),
        (b"\xff\xfe broken UTF-8 ok", {"fail_if_body_not_matches_regexp": ["ok$"]}, "ok"),
        (b"x" * 300_000 + b"needle", {"fail_if_body_not_matches_regexp": ["needle"]}, "ok"),
    ],
)
async def test_h25_h26_h28_the_body_matches_as_demanded(network, body, rules, expected):
    async with serve(http(answer(body))) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/", **rules)

    assert expected == outcome(measurement)
    assert (expected == "body") == measurement.facts["probe_failed_due_to_regex"]
    assert len(body) == measurement.facts["probe_http_content_length"]
    assert len(body) == measurement.facts["probe_http_uncompressed_body_length"]


async def test_a_body_that_cannot_be_kept_whole_cannot_pass_a_match(network):
    async with serve(http(answer(b"x" * (11 * 1024 * 1024)))) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/", fail_if_body_matches_regexp=["error"])

    assert "too_large" == outcome(measurement)
    assert "body is longer than the 10MiB" in measurement.failure.message.replace(" MiB", "MiB")


@pytest.mark.parametrize("server", [garbage, http(answer(b"plain", headers={"Content-Encoding": "gzip"}))])
async def test_only_a_pattern_counts_as_a_failure_of_a_pattern(network, server):
    async with serve(server) as port:
        measurement = await probe_http(
            network,
            f"http://127.0.0.1:{port}/",
            compression="gzip",
            fail_if_body_matches_regexp=["x"],
            fail_if_header_matches=[HeaderRule(header="X", regexp="x", allow_missing=True)],
        )

    assert outcome(measurement) in ("header", "body")
    assert 0 == measurement.facts["probe_failed_due_to_regex"]


async def test_a_pattern_that_came_by_reference_is_not_told(network):
    pattern = Secret("s3cret")
    rule = HeaderRule(header="X-Name", regexp=pattern)
    async with serve(http(answer(headers={"X-Name": "me"}))) as port:
        body = await probe_http(network, f"http://127.0.0.1:{port}/", fail_if_body_not_matches_regexp=[pattern])
        header = await probe_http(network, f"http://127.0.0.1:{port}/", fail_if_header_not_matches=[rule])

    assert "body does not match <secret>" == body.failure.message
    assert 'header X-Name does not match <secret>: "me"' == header.failure.message


async def test_e28_a_catastrophic_pattern_takes_no_time(network):
    async with serve(http(answer(b"a" * 100_000 + b"b"))) as port:
        began = time.monotonic()
        measurement = await probe_http(
            network, f"http://127.0.0.1:{port}/", fail_if_body_not_matches_regexp=["(a+)+c", "(x+x+)+y"]
        )

    assert "body" == outcome(measurement)
    assert time.monotonic() - began < 1.0


# ---------------------------------------------------------------- headers


@pytest.mark.parametrize(
    ("sent", "rule", "expected"),
    [
        ([("Content-Type", "text/javascript")], {"header": "Content-Type", "regexp": "text/javascript"}, "header"),
        ([("Content-Type", "application/json")], {"header": "Content-Type", "regexp": "text/javascript"}, "ok"),
        ([("Content-Type", "application/json")], {"header": "content-type", "regexp": "text/javascript"}, "ok"),
        ([("Content-Type", "text/javascript")], {"header": "content-type", "regexp": "text/javascript"}, "header"),
        ([], {"header": "X-None", "regexp": ".*", "allow_missing": False}, "header"),
        ([], {"header": "X-None", "regexp": ".*", "allow_missing": True}, "ok"),
        ([("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")], {"header": "Set-Cookie", "regexp": "b=2"}, "header"),
    ],
)
async def test_h29_h31_h32_a_header_must_not_match(network, sent, rule, expected):
    async with serve(http(answer(headers=sent))) as port:
        rules = [HeaderRule(**rule)]
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/", fail_if_header_matches=rules)

    assert expected == outcome(measurement)
    assert (expected == "header") == measurement.facts["probe_failed_due_to_regex"]


@pytest.mark.parametrize(
    ("sent", "rule", "expected"),
    [
        ([("X-It", "")], {"header": "X-It", "regexp": ".*"}, "ok"),
        ([], {"header": "X-It", "regexp": ".*"}, "header"),
        ([], {"header": "X-It", "regexp": ".*", "allow_missing": True}, "ok"),
        ([("X-It", "no"), ("X-It", "yes")], {"header": "X-It", "regexp": "yes"}, "ok"),
        ([("X-It", "no")], {"header": "X-It", "regexp": "yes"}, "header"),
    ],
)
async def test_h34_a_header_must_match(network, sent, rule, expected):
    async with serve(http(answer(headers=sent))) as port:
        rules = [HeaderRule(**rule)]
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/", fail_if_header_not_matches=rules)

    assert expected == outcome(measurement)


@pytest.mark.parametrize(("raw", "pattern"), [(b"\xc3\xa9", "^é$"), (b"\xe9", "^é$")])
async def test_a_header_is_utf_8_where_it_can_be(network, raw, pattern):
    named = answer().replace(b"\r\n", b"\r\nX-Name: " + raw + b"\r\n", 1)
    async with serve(http(named)) as port:
        measurement = await probe_http(
            network,
            f"http://127.0.0.1:{port}/",
            fail_if_header_not_matches=[HeaderRule(header="X-Name", regexp=pattern)],
        )

    assert "ok" == outcome(measurement)


async def test_h53_last_modified_is_a_fact_when_it_was_sent(network):
    name = "probe_http_last_modified_timestamp_seconds"
    async with serve(http(answer(headers={"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}))) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/")
    async with serve(http(answer())) as port:
        without = await probe_http(network, f"http://127.0.0.1:{port}/")

    assert 1445412480 == measurement.facts[name]
    assert name not in without.facts


# ---------------------------------------------------------------- what is sent


async def test_h20_basic_auth_is_sent_as_such(network):
    seen = []
    async with serve(http(answer(), seen=seen)) as port:
        await probe_http(network, f"http://127.0.0.1:{port}/", basic_auth=BasicAuth(username="u", password="p:q"))

    assert "Basic dTpwOnE=" == seen[0].headers["authorization"]


async def test_credentials_come_as_bearer_authorization_or_in_the_url(network):
    seen = []
    async with serve(http(answer(), seen=seen)) as port:
        await probe_http(network, f"http://127.0.0.1:{port}/", bearer_token="abc")
        await probe_http(
            network, f"http://127.0.0.1:{port}/", authorization=Authorization(type="Token", credentials="xyz")
        )
        await probe_http(network, f"http://u:p%40q@127.0.0.1:{port}/")

    assert ["Bearer abc", "Token xyz", "Basic dTpwQHE="] == [request.headers["authorization"] for request in seen]


async def test_h35_configured_headers_are_sent_exactly(network):
    seen = []
    headers = {"Host": "my-host.example", "User-Agent": "me/1", "Accept-Language": "en-US", "X-Empty": ""}
    async with serve(http(answer(), seen=seen)) as port:
        await probe_http(network, f"http://127.0.0.1:{port}/", headers=headers)

    assert "my-host.example" == seen[0].headers["host"]
    assert "me/1" == seen[0].headers["user-agent"]
    assert "en-US" == seen[0].headers["accept-language"]
    assert "" == seen[0].headers["x-empty"]


async def test_perfmon_says_who_it_is_and_host_is_the_target(network):
    seen = []
    async with serve(http(answer(), seen=seen)) as port:
        await probe_http(network, f"http://127.0.0.1:{port}/a%20b?c=d&e")

    assert seen[0].headers["user-agent"].startswith("perfmon/")
    assert f"127.0.0.1:{port}" == seen[0].headers["host"]
    assert "/a%20b?c=d&e" == seen[0].path


@pytest.mark.parametrize("method", ["GET", "CONNECT", "DELETE", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "TRACE"])
async def test_h19_every_method_works(network, method):
    seen = []
    body = b"" if method == "HEAD" else b"hello"
    async with serve(http(answer(body, length=5), seen=seen)) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/", method=method)

    assert "ok" == outcome(measurement)
    assert method == seen[0].method


async def test_h49_a_body_arrives_byte_for_byte(network):
    seen = []
    body = '{"a": "ü"}' + "x" * 2_000_000  # libcurl would ask for 100 Continue first
    async with serve(http(answer(), seen=seen)) as port:
        await probe_http(network, f"http://127.0.0.1:{port}/", method="POST", body=body)

    assert body.encode() == seen[0].body
    assert not {"expect", "content-type"} & set(seen[0].headers)


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [("http://", "ok"), ("HTTP://", "ok"), ("HtTp://", "ok"), ("", "ok"), ("invalid://", "unreachable")],
)
async def test_h50_the_scheme_is_http_in_any_case_or_none(network, scheme, expected):
    async with serve(http(answer())) as port:
        measurement = await probe_http(network, f"{scheme}127.0.0.1:{port}")

    assert expected == outcome(measurement)


async def test_a_proxy_of_the_environment_is_not_used(network, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_port()}")
    async with serve(http(answer())) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/")

    assert "ok" == outcome(measurement)


async def test_hostname_is_what_host_says(network):
    seen = []
    async with serve(http(answer(), seen=seen)) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/", hostname="shop.example")

    assert "ok" == outcome(measurement)
    assert "shop.example" == seen[0].headers["host"]


# ---------------------------------------------------------------- redirects


async def test_h16_a_redirect_not_followed_is_an_answer(network):
    async with serve(http(redirecting(1))) as port:
        measurement = await probe_http(
            network, f"http://127.0.0.1:{port}/", follow_redirects=False, valid_status_codes=[302]
        )

    assert "ok" == outcome(measurement)
    assert 302 == measurement.facts["probe_http_status_code"]


async def test_h17_an_endless_chain_ends_after_ten_redirects(network):
    seen = []
    async with serve(http(redirecting(None), seen=seen)) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/0")

    assert "still redirected after 10 redirects" == measurement.failure.message
    assert 11 == measurement.facts["probe_http_redirects"]
    assert 302 == measurement.facts["probe_http_status_code"]
    assert 11 == len(seen)


@pytest.mark.parametrize(("hops", "expected"), [(1, "ok"), (10, "ok"), (11, "status")])
async def test_redirects_are_followed_and_counted(network, hops, expected):
    async with serve(http(redirecting(hops))) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/0")

    assert expected == outcome(measurement)
    assert hops == measurement.facts["probe_http_redirects"]


@pytest.mark.parametrize(("most", "path", "status"), [(0, "/0", 307), (1, "/1", 307), (2, "/2", 200)])
async def test_h55_as_many_redirects_are_followed_as_the_module_says(network, most, path, status):
    seen = []
    async with serve(http(redirecting(2, status=307), seen=seen)) as port:
        measurement = await probe_http(
            network, f"http://127.0.0.1:{port}/0", max_redirects=most, valid_status_codes=[status]
        )

    assert "ok" == outcome(measurement)
    assert (path, status) == (seen[-1].path, measurement.facts["probe_http_status_code"])


@pytest.mark.parametrize(
    ("written", "sent"),
    [("bar", "bar"), ("v1 ", "v1"), ("", "")],
)
async def test_h59_a_header_has_its_value_as_yaml_reads_it(network, tmp_path, written, sent):
    """Blanks after the colon are YAML's own; one that no header can end with is a mistake in the file."""
    assert {"h1": written.strip()} == yaml.safe_load(f"h1:   '{written.strip()}'")
    if written != sent:
        assert ["headers.h1"] == [path for path, _ in check(Config(headers={"h1": written}))]
        return
    seen = []
    async with serve(http(answer(), seen=seen)) as port:
        await probe_http(network, f"http://127.0.0.1:{port}/", headers={"h1": written, "uSER-aGENT": "mine"})

    assert (sent, "mine") == (seen[0].headers["h1"], seen[0].headers["user-agent"])


async def test_phases_are_summed_over_redirects(network):
    async with serve(http(redirecting(3), delay_s=0.03)) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/0")

    assert 0.12 <= measurement.phases["processing"] < 0.3


async def test_h47_a_cookie_set_by_one_hop_is_sent_on_the_next(network):
    seen = []

    def app(request):
        if request.path == "/":
            return answer(b"", status=302, headers=[("Location", "/next"), ("Set-Cookie", "session=abc; Path=/")])
        return answer(status=200 if request.headers.get("cookie") == "session=abc" else 403)

    async with serve(http(app, seen=seen)) as port:
        first = await probe_http(network, f"http://127.0.0.1:{port}/")

    assert "ok" == outcome(first)
    assert "cookie" not in seen[0].headers


async def test_cookies_do_not_outlive_their_run(network):
    seen = []
    headers = [("Location", "/1"), ("Set-Cookie", "session=abc; Path=/")]

    def app(request):
        return answer(b"", status=302, headers=headers) if request.path == "/0" else answer()

    from perfmon import measure
    from perfmon.clock import SystemClock
    from perfmon.model import Module, Target

    async with serve(http(app, seen=seen)) as port:
        target = Target(probe="test", address=f"http://127.0.0.1:{port}/0")
        module = Module(name="http", kind="http", timeout_s=2, config=Config())
        for _ in range(2):
            await measure.probe(target, module, clock=SystemClock(), network=network)

    assert ["/0", "/1", "/0", "/1"] == [request.path for request in seen]
    assert [False, True, False, True] == ["cookie" in request.headers for request in seen]


@pytest.mark.parametrize("length", [5, 9], ids=["whole", "cancelled"])
async def test_nor_do_those_of_the_last_answer(network, length):
    from perfmon import measure
    from perfmon.clock import SystemClock
    from perfmon.model import Module, Target

    seen = []

    async def staying(reader, writer):
        seen.append(await read_request(reader))
        writer.write(answer(b"hello", headers=[("Set-Cookie", "a=1; Path=/")], length=length))
        await reader.read()

    target_module = Module(name="http", kind="http", timeout_s=2, config=Config())
    async with serve(staying) as port:
        target = Target(probe="test", address=f"http://127.0.0.1:{port}/")
        for _ in range(2):
            run = asyncio.create_task(measure.probe(target, target_module, clock=SystemClock(), network=network))
            await asyncio.wait({run}, timeout=0.2)
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)

    assert [False, False] == ["cookie" in request.headers for request in seen]


async def test_secrets_are_not_told_to_another_host(network):
    there, here = [], []
    async with serve(http(answer(), seen=there)) as other:
        app = answer(b"", status=307, headers={"Location": f"http://localhost:{other}/"})
        async with serve(http(app, seen=here)) as port:
            measurement = await probe_http(
                network,
                f"http://127.0.0.1:{port}/",
                bearer_token="secret",
                headers={"X-Api-Key": "secret", "User-Agent": "me/1", "Host": "shop.example"},
            )

    assert "ok" == outcome(measurement)
    assert "Bearer secret" == here[0].headers["authorization"]
    assert not {"authorization", "x-api-key"} & set(there[0].headers)
    assert "me/1" == there[0].headers["user-agent"]
    assert f"localhost:{other}" == there[0].headers["host"]


async def test_hostname_stays_the_host_on_a_redirect_of_the_same_server(network):
    seen = []
    async with serve(http(redirecting(1), seen=seen)) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/0", hostname="shop.example")

    assert "ok" == outcome(measurement)
    assert ["shop.example"] * 2 == [request.headers["host"] for request in seen]


async def test_secrets_go_with_a_redirect_on_the_same_host(network):
    seen = []
    async with serve(http(redirecting(1), seen=seen)) as port:
        await probe_http(network, f"http://127.0.0.1:{port}/0", bearer_token="secret", headers={"Host": "shop.example"})

    assert ["Bearer secret"] * 2 == [request.headers["authorization"] for request in seen]
    assert ["shop.example"] * 2 == [request.headers["host"] for request in seen]


@pytest.mark.parametrize(
    ("status", "expected"),
    [(301, ("GET", b"")), (302, ("GET", b"")), (303, ("GET", b"")), (307, ("POST", b"hi")), (308, ("POST", b"hi"))],
)
async def test_a_post_becomes_a_get_where_the_standard_says_so(network, status, expected):
    seen = []
    async with serve(http(redirecting(1, status=status), seen=seen)) as port:
        await probe_http(network, f"http://127.0.0.1:{port}/0", method="POST", body="hi")

    assert expected == (seen[1].method, seen[1].body)


async def test_a_redirect_to_nowhere_is_a_failure_in_words(network):
    async with serve(http(answer(b"", status=302, headers={"Location": "ftp://127.0.0.1/"}))) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/")

    assert "unreachable" == outcome(measurement)
    assert "redirect leads nowhere: expected an http or https URL" in measurement.failure.message


@pytest.mark.parametrize(
    ("location", "words"),
    [
        (b"file:///etc/passwd", "expected an http or https URL"),
        (b"javascript:alert(1)", "expected an http or https URL"),
        (b"http://ex\xe4mple.test/", "no host can be named as in"),
        (b"http://u:s3cret@ex\xe2\x84\x80mple.test/", "not a URL"),
        (b"http://[::1/", "not a URL"),
        (b"http://127.0.0.1:99999/", "expected a port of 1 to 65535"),
    ],
)
async def test_no_location_is_a_defect_of_ours_or_tells_its_password(network, location, words):
    redirect = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + location + b"\r\n\r\n"
    async with serve(http(redirect)) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/", debug=True)

    assert "unreachable" == outcome(measurement)
    assert words in measurement.failure.message
    assert "s3cret" not in str(measurement)


async def test_a_cookie_of_any_bytes_is_sent_back_as_it_came(network):
    cookie = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nSet-Cookie: a=\xff\xfe; Path=/\r\nLocation: /1\r\n\r\n"
    seen = []
    async with serve(http(lambda request: cookie if request.path == "/" else answer(), seen=seen)) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/")

    assert "ok" == outcome(measurement)
    assert b"a=\xff\xfe" == seen[1].headers["cookie"].encode("latin-1")


async def test_a_redirect_to_a_closed_port_is_red(network):
    port = unused_port()
    async with serve(http(answer(b"", status=302, headers={"Location": f"http://127.0.0.1:{port}/"}))) as first:
        measurement = await probe_http(network, f"http://127.0.0.1:{first}/")

    assert "connect_refused" == outcome(measurement)
    assert 1 == measurement.facts["probe_http_redirects"]


# ---------------------------------------------------------------- plain text and TLS


async def test_h22_plain_text_where_tls_is_demanded(network):
    async with serve(http(answer())) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/", fail_if_not_ssl=True)

    assert "not over SSL" in measurement.failure.message
    assert 0 == measurement.facts["probe_http_ssl"]


async def test_h23_a_dead_server_is_blamed_for_its_death_not_for_plain_text(network):
    async with serve(closing) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/", fail_if_not_ssl=True)

    assert outcome(measurement) in ("closed", "reset")
    assert "SSL" not in measurement.failure.message


async def test_h43_tls_settings_matter_nothing_to_plain_http(network):
    async with serve(http(answer())) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/", tls_config=TlsConfig(min_version="TLS13"))

    assert "ok" == outcome(measurement)
    assert 0 == measurement.facts["probe_http_ssl"]


async def test_h41_h44_h46_https_is_verified_by_the_name_of_the_target(network, authority):
    async with serve(http(answer()), tls=authority.context("localhost")) as port:
        untrusted = await probe_http(network, f"https://localhost:{port}/")
        trusted = await probe_http(
            network, f"https://localhost:{port}/", tls_config=TlsConfig(ca_file=authority.file), fail_if_not_ssl=True
        )

    assert "tls_untrusted" == outcome(untrusted)
    assert 0 == untrusted.facts["probe_http_ssl"]
    assert "ok" == outcome(trusted)
    assert 1 == trusted.facts["probe_http_ssl"]
    shown = [name for name in trusted.facts if name.startswith("probe_http_duration_seconds")]
    phases = ("resolve", "connect", "tls", "processing", "transfer")
    assert [f'probe_http_duration_seconds{{phase="{phase}"}}' for phase in phases] == shown
    assert trusted.facts['probe_http_duration_seconds{phase="tls"}'] > 0


async def test_h65_a_redirect_from_tls_to_plain_text_is_seen(network, authority):
    secrets = []
    async with serve(http(answer(), seen=secrets)) as plain:
        app = answer(b"", status=302, headers={"Location": f"http://localhost:{plain}/"})
        async with serve(http(app), tls=authority.context("localhost")) as port:
            measurement = await probe_http(
                network,
                f"https://localhost:{port}/",
                tls_config=TlsConfig(ca_file=authority.file),
                fail_if_not_ssl=True,
                bearer_token="secret",
            )

    assert "not over SSL" in measurement.failure.message
    assert 0 == measurement.facts["probe_http_ssl"]
    assert "authorization" not in secrets[0].headers


async def test_fail_if_ssl_is_the_other_way_round(network, authority):
    async with serve(http(answer()), tls=authority.context("localhost")) as port:
        measurement = await probe_http(
            network, f"https://localhost:{port}/", tls_config=TlsConfig(ca_file=authority.file), fail_if_ssl=True
        )

    assert "expected plain text" in measurement.failure.message


# ---------------------------------------------------------------- servers that misbehave


async def test_refused_is_told_from_everything_else(network):
    port = unused_port()
    measurement = await probe_http(network, f"http://127.0.0.1:{port}/")

    assert "connect_refused" == outcome(measurement)
    assert "connect" == measurement.failure.phase
    assert f"connection refused by 127.0.0.1:{port}" == measurement.failure.message
    assert 0 == measurement.facts["probe_http_status_code"]


@pytest.mark.parametrize(
    ("server", "expected", "phase"),
    [
        (hanging_up, "closed", "processing"),
        (resetting, "reset", "processing"),
        (resetting_in_body, "reset", "transfer"),
        (garbage, "header", "processing"),
        (endless_header, "too_large", "transfer"),
        (http(answer(b"short", length=500)), "short_body", "transfer"),
        (http(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"), "short_body", "transfer"),
        (http(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot a number\r\n"), "body", "transfer"),
        (http(b"HTTP/1.1 200 OK\r\n"), "short_body", "transfer"),
        (http(b"HTTP/1.1 200 OK\r\nServer: ngi"), "short_body", "transfer"),
        (http(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nServer: ngi"), "short_body", "transfer"),
        (http(b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nVia: HTTP/1.1 a\r\n"), "short_body", "transfer"),
        (http(b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok"), "header", "transfer"),
        (http(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nok"), "header", "transfer"),
    ],
)
async def test_h64_a_broken_answer_is_never_green(network, server, expected, phase):
    async with serve(server) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/")

    assert (expected, phase) == (measurement.failure.reason, measurement.failure.phase), measurement.failure.message


@pytest.mark.parametrize(
    "whole",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\n\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nVia: HTTP/1.1 a\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTrailer: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
async def test_an_answer_without_a_body_is_whole_all_the_same(network, whole):
    async with serve(http(whole)) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/")

    assert "ok" == outcome(measurement), measurement.failure


@pytest.mark.parametrize(("server", "phase"), [(silent, "processing"), (dripping(), "transfer"), (endless, "transfer")])
async def test_h61_h62_a_slow_answer_ends_in_time_and_keeps_its_phases(network, server, phase):
    async with serve(server) as port:
        began = time.monotonic()
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/", timeout_s=0.2)

    assert time.monotonic() - began < 0.3
    assert ("timeout", phase) == (measurement.failure.reason, measurement.failure.phase)
    assert phase == list(measurement.phases)[-1]
    assert 0.15 < sum(measurement.phases.values()) <= 0.21
    assert f'probe_http_duration_seconds{{phase="{phase}"}}' in measurement.facts


async def test_a_connection_that_nobody_takes_ends_in_time(network):
    with full_backlog() as port:
        began = time.monotonic()
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/", timeout_s=0.2)

    assert time.monotonic() - began < 0.3
    assert "connect_timeout" == outcome(measurement)
    assert "connect" == measurement.failure.phase
    assert {"resolve", "connect"} == set(measurement.phases)


async def test_a_timeout_within_the_body_knows_the_status(network):
    async with serve(dripping()) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/", timeout_s=0.2)

    assert 200 == measurement.facts["probe_http_status_code"]
    assert "bytes of body came" in measurement.failure.message


async def test_h67_phases_add_up_to_the_duration(network):
    async with serve(http(answer(b"x" * 100_000), delay_s=0.05)) as port:
        began = time.monotonic()
        measurement = await probe_http(network, f"http://localhost:{port}/")
        elapsed = time.monotonic() - began

    assert sum(measurement.phases.values()) == measurement.duration_s
    assert [phase for phase in PHASES if phase != "tls"] == list(measurement.phases)
    assert 0.05 <= measurement.phases["processing"] < 0.08
    assert measurement.duration_s <= elapsed <= measurement.duration_s * 1.05 + 0.005


# ---------------------------------------------------------------- debug, names, settings


async def test_debug_tells_what_happened_and_no_secret(network):
    async with serve(http(answer(headers={"Set-Cookie": "session=s3cret"}))) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/", bearer_token="s3cret", debug=True)

    told = "\n".join(measurement.lines)
    assert "< HTTP/1.1 200 Whatever" in told
    assert "> GET / HTTP/1.1" in told
    assert "> Authorization: <secret>" in told
    assert "s3cret" not in told


async def test_debug_tells_no_secret_of_the_server_either(network):
    redirect = answer(b"", status=302, headers={"Location": "ftp://user:s3cret@127.0.0.1/"})
    cookie = redirect.replace(b"\r\n", b"\r\nSet-Cookie:a=s3cret\r\n", 1)
    async with serve(http(cookie)) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/", debug=True)

    assert any("Location: ftp://<secret>@127.0.0.1/" in line for line in measurement.lines)
    assert "s3cret" not in str(measurement)


@pytest.mark.parametrize(
    "hostname", ["a/b", "a#b", "a?b", "a@b", "a b", "a:99", "a\r\nX: y", "a\0b", "\ud800", "[::1", ".." * 200 + "é"]
)
async def test_a_hostname_that_is_none_fails_in_words(network, hostname):
    """It must never become a part of the URL: `a/b` would lead to another port."""
    async with serve(http(answer())) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/", hostname=hostname)

    assert "unreachable" == outcome(measurement)
    assert "expected a host without a port" in measurement.failure.message or "no host" in measurement.failure.message


@pytest.mark.parametrize(
    ("hostname", "host"),
    [("Shop.Example", "shop.example"), ("bücher.example", "xn--bcher-kva.example"), ("::1", "[::1]")],
)
async def test_a_hostname_is_written_as_a_host_header_wants_it(network, hostname, host):
    seen = []
    async with serve(http(answer(), seen=seen)) as port:
        await probe_http(network, f"http://127.0.0.1:{port}/", hostname=hostname)

    assert host == seen[0].headers["host"]


async def test_without_debug_there_are_no_lines(network):
    measurement = await probe_http(network, f"http://127.0.0.1:{unused_port()}/")

    assert () == measurement.lines


async def test_facts_of_the_address(network):
    async with serve(http(answer())) as port:
        facts = (await probe_http(network, f"http://127.0.0.1:{port}/")).facts

    assert 4 == facts["probe_ip_protocol"]
    assert 3668918509 == facts["probe_ip_addr_hash"]  # FNV-1a of 7f 00 00 01, computed with Go's hash/fnv
    assert 0 == facts["probe_dns_lookup_time_seconds"]


async def test_localhost_is_found_at_whichever_loopback_address_serves(network):
    async with serve(http(answer())) as port:
        measurement = await probe_http(network, f"http://localhost:{port}/")

    assert "ok" == outcome(measurement)


@pytest.mark.parametrize(
    ("config", "path", "words"),
    [
        ({"fail_if_body_matches_regexp": ["ok", "(a"]}, "fail_if_body_matches_regexp[1]", "missing )"),
        ({"fail_if_body_not_matches_regexp": ["(?=x)"]}, "fail_if_body_not_matches_regexp[0]", "RE2"),
        (
            {"fail_if_header_matches": [HeaderRule(header="X", regexp="[")]},
            "fail_if_header_matches[0].regexp",
            "missing ]",
        ),
        ({"headers": {"X": "a\r\nY: b"}}, "headers.X", "line break"),
        ({"headers": {"X Y": "a"}}, "headers.X Y", "the name of a header"),
        ({"bearer_token": "\N{SNOWMAN}"}, "bearer_token", "no header can have"),
        ({"authorization": Authorization(credentials="a\nb")}, "authorization.credentials", "line break"),
        ({"method": "GET /"}, "method", "such as GET"),
        ({"valid_status_codes": [200, 600]}, "valid_status_codes[1]", "100 to 599"),
        ({"fail_if_ssl": True, "fail_if_not_ssl": True}, "fail_if_ssl", "never be met"),
        ({"basic_auth": BasicAuth(username="u"), "bearer_token": "t"}, "basic_auth", "at most one"),
        ({"valid_http_versions": ["HTTP/2"]}, "valid_http_versions", "HTTP/2.0"),
        ({"tls_config": TlsConfig(ca_file="/nonexistent")}, "tls_config.ca_file", "no such file"),
        ({"tls_config": TlsConfig(cert_file="/etc/hosts")}, "tls_config.cert_file", "together"),
        ({"tls_config": TlsConfig(min_version="TLS13", max_version="TLS12")}, "tls_config.min_version", "above"),
    ],
)
def test_a_mistake_in_the_settings_is_named(config, path, words):
    (problem,) = check(Config(**config))

    assert path == problem[0]
    assert words in problem[1]


def test_good_settings_have_no_problems():
    assert [] == list(check(Config(fail_if_body_matches_regexp=["a|b"], headers={"X": "y"})))


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://", "no host"),
        ("http://127.0.0.1:0/", "port 0"),
        ("http://127.0.0.1:99999/", "port"),
        ("ftp://127.0.0.1/", "expected an http or https URL"),
        ("http://[::1/", ""),
    ],
)
async def test_an_address_that_is_no_url_fails_in_words(network, address, words):
    measurement = await probe_http(network, address)

    assert "unreachable" == outcome(measurement)
    assert words in measurement.failure.message.lower().replace("url", "URL")
    assert measurement.failure.message == check_target(address, Config())
