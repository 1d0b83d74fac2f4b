"""What an http probe may demand of an answer, against real servers. Ids are rows of the conformance cases."""

import time
from datetime import UTC, datetime, timedelta
from email.utils import formatdate

import pytest
from probing import outcome, probe_http
from servers import answer, http, serve

from perfmon.answer.headers import HeaderRule
from perfmon.answer.json_rules import JsonRule
from perfmon.network.tls import TlsConfig
from perfmon.probes.http import Config, check


@pytest.mark.parametrize(
    ("body", "field", "condition", "expected"),
    [
        pytest.param('{"foo":{"bar":"baz"}}', "matches", "body.foo.bar == 'baz'", "json", id="H37 met"),
        pytest.param('{"foo":{"bar":"qux"}}', "matches", "body.foo.bar == 'baz'", "ok", id="H37 not met"),
        pytest.param("{}", "matches", "body.foo.bar == 'baz'", "json", id="H38 no key"),
        pytest.param('{"foo":{"bar":"baz"}}', "matches", "body.foo.bar", "json", id="H38 no bool"),
        pytest.param("hello world", "matches", "body.foo.bar == 'baz'", "json", id="H38 no JSON"),
        pytest.param("", "matches", "body.foo.bar == 'baz'", "json", id="H38 empty"),
        pytest.param("🤠🤠🤠", "matches", "body.foo.bar == 'baz'", "json", id="H38 emoji"),
        pytest.param("{}", "not_matches", "!has(body.foo)", "ok", id="H40"),
        pytest.param('{"foo":1}', "not_matches", "!has(body.foo)", "json", id="H40 not met"),
    ],
)
async def test_a_condition_in_cel_decides(network, body, field, condition, expected):
    async with serve(http(answer(body.encode()))) as port:
        measurement = await probe_http(
            network, f"http://127.0.0.1:{port}/", **{f"fail_if_body_json_{field}_cel": condition}
        )

    assert expected == outcome(measurement)
    assert float(expected != "ok") == measurement.facts["probe_failed_due_to_cel"]
    assert len(body.encode()) == measurement.facts["probe_http_uncompressed_body_length"]


async def test_a_failed_status_is_no_failure_of_a_condition(network):
    async with serve(http(answer(b"{}", status=500))) as port:
        measurement = await probe_http(
            network, f"http://127.0.0.1:{port}/", fail_if_body_json_not_matches_cel="body.a == 1.0"
        )

    assert "status" == outcome(measurement)
    assert 0.0 == measurement.facts["probe_failed_due_to_cel"]


async def test_without_a_condition_there_is_no_such_gauge(network):
    async with serve(http(answer())) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/")

    assert "probe_failed_due_to_cel" not in measurement.facts


@pytest.mark.parametrize(
    ("body", "rule", "expected"),
    [
        pytest.param(b'{"queue":{"depth":3}}', JsonRule(path="queue.depth", expect_value="< 5"), "ok", id="E07"),
        pytest.param(b'{"queue":{}}', JsonRule(path="queue.depth", expect_value="< 5"), "json", id="E05"),
        pytest.param(b"no JSON", JsonRule(path="queue.depth"), "json", id="E19 invalid JSON"),
        pytest.param(b" " * 100_000 + b'{"queue":{"depth":3}}', JsonRule(path="queue.depth"), "ok", id="long"),
    ],
)
async def test_a_value_in_json_decides(network, body, rule, expected):
    async with serve(http(answer(body))) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/", fail_if_body_json_not_matches=[rule])

    assert expected == outcome(measurement)


async def test_a_number_in_json_becomes_a_gauge_also_when_it_fails(network):
    async with serve(http(answer(b'{"queue":{"depth":7}}'))) as port:
        measurement = await probe_http(
            network,
            f"http://127.0.0.1:{port}/",
            fail_if_body_json_not_matches=[JsonRule(path="queue.depth", expect_value="< 5")],
        )

    assert 'queue.depth is 7, expected "< 5"' == measurement.failure.message
    assert 7.0 == measurement.facts['probe_http_json_value{json_path="queue.depth"}']


@pytest.mark.parametrize(
    ("status", "valid", "invalid", "expected"),
    [
        pytest.param(204, ["200-299", 301, 302, 404], [403, 404, "500-502"], "ok", id="E22 fine"),
        pytest.param(404, ["200-299", 301, 302, 404], [403, 404, "500-502"], "status", id="E22 failure wins"),
        pytest.param(204, [], [204], "status", id="invalid alone"),
        pytest.param(201, [], [204], "ok", id="the others stay"),
        pytest.param(503, ["2xx", "5xx"], [], "ok", id="classes"),
    ],
)
async def test_a_status_is_among_ranges(network, status, valid, invalid, expected):
    async with serve(http(answer(status=status))) as port:
        measurement = await probe_http(
            network, f"http://127.0.0.1:{port}/", valid_status_codes=valid, invalid_status_codes=invalid
        )

    assert expected == outcome(measurement)


SUCCESS = [("X-Success", "some"), ("X-Success", "truly"), ("X-Success", "last")]


@pytest.mark.parametrize(
    ("sent", "good", "bad", "expected"),
    [
        pytest.param(SUCCESS, "s[om]me", "", "ok", id="E23"),
        pytest.param(SUCCESS, "best", "", "header", id="E23 no success"),
        pytest.param([*SUCCESS, ("X-Bad", "some-bad")], "s[om]me", "some-bad", "header", id="E23 bad"),
        pytest.param([*SUCCESS, ("X-Bad", "some-bad")], "s[om]me", "really-bad", "ok", id="E23 other bad"),
        pytest.param(SUCCESS, "s[om]me", "some-bad", "ok", id="E23 no bad"),
    ],
)
async def test_one_header_must_match_and_another_must_not(network, sent, good, bad, expected):
    async with serve(http(answer(headers=sent))) as port:
        measurement = await probe_http(
            network,
            f"http://127.0.0.1:{port}/",
            fail_if_header_not_matches=[HeaderRule(header="X-Success", regexp=good)],
            fail_if_header_matches=[HeaderRule(header="X-Bad", regexp=bad, allow_missing=True)] if bad else [],
        )

    assert expected == outcome(measurement)


@pytest.mark.parametrize(
    ("sent", "expected"), [([("X-A", "b")], "ok"), ([("X-A", "a b")], "header"), ([], "header"), (SUCCESS, "header")]
)
async def test_a_header_must_equal(network, sent, expected):
    async with serve(http(answer(headers=sent))) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/", fail_if_header_not_equals={"x-a": "b"})

    assert expected == outcome(measurement)
    assert 0.0 == measurement.facts["probe_failed_due_to_regex"]


@pytest.mark.parametrize(
    ("limit_s", "age_s", "expected"),
    [
        pytest.param(0, 86_400, "ok", id="E25 off"),
        pytest.param(1, -1, "ok", id="E25 now"),
        pytest.param(60, 3600, "header", id="E25 60 s"),
        pytest.param(3602, 3600, "ok", id="E25 within"),
        pytest.param(3600, 3600, "header", id="E25 strictly less"),
        pytest.param(3600, None, "header", id="E25 missing"),
    ],
)
async def test_last_modified_has_an_age_limit(network, limit_s, age_s, expected):
    sent = {} if age_s is None else {"Last-Modified": formatdate(time.time() - age_s, usegmt=True)}
    async with serve(http(answer(headers=sent))) as port:
        measurement = await probe_http(
            network, f"http://127.0.0.1:{port}/", fail_if_last_modified_older_than=float(limit_s)
        )

    assert expected == outcome(measurement)


@pytest.mark.parametrize(
    ("left_h", "expected"), [pytest.param(24, "tls_expired", id="E17"), pytest.param(72, "ok", id="E17 later")]
)
async def test_a_certificate_that_ends_soon_fails(network, authority, left_h, expected):
    until = datetime.now(UTC) + timedelta(hours=left_h, minutes=1)
    async with serve(http(answer()), tls=authority.context("localhost", until=until)) as port:
        measurement = await probe_http(
            network,
            f"https://localhost:{port}/",
            tls_config=TlsConfig(ca_file=authority.file),
            fail_if_certificate_expires_within=48 * 3600.0,
        )

    assert expected == outcome(measurement)
    if measurement.failure:
        assert "certificate expires in 1d, expected 2d at least" == measurement.failure.message
        assert until.strftime("%Y-%m-%dT%H:%M") == measurement.failure.evidence["not_after"][:16]


async def test_without_tls_no_certificate_lasts_long_enough(network):
    """E17: an operand that is missing fails."""
    async with serve(http(answer())) as port:
        measurement = await probe_http(network, f"http://127.0.0.1:{port}/", fail_if_certificate_expires_within=3600.0)

    assert "tls_handshake" == outcome(measurement)


@pytest.mark.parametrize(
    ("config", "path"),
    [
        (Config(fail_if_body_json_matches_cel="bdy == 1"), "fail_if_body_json_matches_cel"),
        (Config(fail_if_body_json_not_matches_cel="body +"), "fail_if_body_json_not_matches_cel"),
        (Config(fail_if_body_json_not_matches=[JsonRule(path="a[*]")]), "fail_if_body_json_not_matches[0].path"),
        (Config(valid_status_codes=["potato"]), "valid_status_codes[0]"),
        (Config(fail_if_body_matches_regexp=[""]), "fail_if_body_matches_regexp[0]"),
        (Config(fail_if_body_not_matches_regexp=["(?=a)"]), "fail_if_body_not_matches_regexp[0]"),
        (Config(fail_if_header_matches=[HeaderRule(header="A", regexp="")]), "fail_if_header_matches[0].regexp"),
        (Config(fail_if_header_matches=[HeaderRule(header="", regexp="a")]), "fail_if_header_matches[0].header"),
        (Config(invalid_status_codes=[200, "0xx"]), "invalid_status_codes[1]"),
        (Config(fail_if_ssl=True, fail_if_certificate_expires_within=1.0), "fail_if_certificate_expires_within"),
    ],
)
def test_a_demand_that_makes_no_sense_is_named_e04_e26(config, path):
    assert [path] == [path for path, _ in check(config)]
