"""Each demand on an HTTP answer is explained, met or not, whatever came before it."""

import pytest
from probing import probe_http
from servers import answer, http, serve

from perfmon.answer.demands import HeaderRule, JsonRule
from perfmon.secret import Secret
from perfmon.steps import Demand

BODY = b'{"state": "degraded", "replicas": [1, 2]}'
STATUS = ("status code", "2xx", "200", True)


async def told(network, body=BODY, *, status=200, headers=(), **config):
    async with serve(http(answer(body, status=status, headers=list(headers)))) as port:
        run = await probe_http(network, f"http://127.0.0.1:{port}/", debug=True, **config)
    return [(one.name, one.expected, one.got, one.met) for one in run.steps if isinstance(one, Demand)]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, []),
        ({"valid_http_versions": ["HTTP/2.0"]}, [("HTTP version", "HTTP/2.0", "HTTP/1.1", False)]),
        ({"fail_if_not_ssl": True}, [("transport", "TLS", "plain text", False)]),
        ({"fail_if_ssl": True}, [("transport", "plain text", "plain text", True)]),
        ({"compression": "gzip"}, [("body's encoding", "gzip", "none", False)]),
        ({"fail_if_last_modified_older_than": 60.0}, [("Last-Modified", "less than 1m ago", "no such header", False)]),
        ({"fail_if_certificate_expires_within": 60.0}, [("certificate lasts", "1m at least", "no certificate", False)]),
        ({"fail_if_body_matches_regexp": ["degr.d.d"]}, [("body", 'does not match "degr.d.d"', '"degraded"', False)]),
        ({"fail_if_body_not_matches_regexp": ["fine"]}, [("body", 'matches "fine"', "no match in 41 B", False)]),
        ({"fail_if_body_not_matches_regexp": [Secret("fine")]}, [("body", "matches <secret>", "no match in 41 B", False)]),
        (
            {"fail_if_body_json_not_matches_cel": "body.state == 'fine'"},
            [("condition", "holds: \"body.state == 'fine'\"", "body does not meet the condition \"body.state == 'fine'\"", False)],
        ),
        (
            {"fail_if_body_json_not_matches": [JsonRule(path="state", expect="fine"), JsonRule(path="replicas", expect_length=">= 2")]},
            [("JSON at state", 'is "fine"', '"degraded"', False), ("JSON at replicas", 'has a length of ">= 2"', "a list of 2", True)],
        ),
        ({"fail_if_body_json_not_matches": [JsonRule(path="gone")]}, [("JSON at gone", "any value", "no value", False)]),
    ],
)  # fmt: skip
async def test_a_demand_says_what_was_expected_and_what_came(network, config, expected):
    assert [STATUS, *expected] == await told(network, **config)


async def test_headers_are_told_with_all_their_values(network):
    rules = [HeaderRule(header="Via", regexp="^b"), HeaderRule(header="Gone", regexp="x", allow_missing=True)]
    found = await told(
        network,
        headers=[("Via", "a"), ("via", "b")],
        fail_if_header_not_matches=rules,
        fail_if_header_not_equals={"Via": "c"},
    )

    assert [
        STATUS,
        ("header Via", 'matches "^b"', '"a", "b"', True),
        ("header Gone", 'matches "x"', "no such header", True),
        ("header Via", '"c"', '"a", "b"', False),
    ] == found


async def test_demands_after_the_one_that_failed_are_told_too(network):
    found = await told(network, status=503, fail_if_body_not_matches_regexp=["degraded"])

    assert [("status code", "2xx", "503", False), ("body", 'matches "degraded"', '"degraded"', True)] == found


async def test_a_body_that_is_no_json_is_told_for_each_of_its_values(network):
    found = await told(network, b"oops", fail_if_body_json_not_matches=[JsonRule(path="a"), JsonRule(path="b")])

    assert [False, False] == [met for _, _, _, met in found[1:]]
    assert all(got.startswith("body is not JSON") for _, _, got, _ in found[1:])
