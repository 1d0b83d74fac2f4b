"""What the http probe shows of an answer that failed it: status, header, first bytes, certificate."""

import pytest
from probing import probe_http
from servers import answer, dripping, http, redirecting, serve

from perfmon.answer.demands import HeaderRule
from perfmon.network.tls import TlsConfig

SERVED = {
    "gone": http(answer(b"the database is gone", status=503, headers={"Via": "a, b"})),
    "short": http(answer(b"cut", length=10)),
    "long": http(answer(b"x" * 1000)),
    "slow": dripping(0.05),
}


@pytest.mark.parametrize(
    ("served", "config", "reason", "evidence"),
    [
        ("gone", {}, "status", {"status": "503", "body": "the database is gone"}),
        (
            "gone",
            {"valid_status_codes": [503], "fail_if_header_not_matches": [HeaderRule(header="Via", regexp="c")]},
            "header",
            {"status": "503", "body": "the database is gone", "header Via": "a, b"},
        ),
        (
            "gone",
            {"valid_status_codes": [503], "fail_if_header_not_equals": {"Gone": "x"}},
            "header",
            {"status": "503", "body": "the database is gone"},
        ),
        ("short", {}, "short_body", {"status": "200", "body": "cut"}),
        ("long", {"body_size_limit": 500.0}, "too_large", {"status": "200"}),
    ],
)
async def test_evidence(network, served, config, reason, evidence):
    async with serve(SERVED[served]) as port:
        run = await probe_http(network, f"http://127.0.0.1:{port}/", **config)

    assert reason == run.failure.reason
    assert evidence == {name: run.failure.evidence.get(name) for name in evidence}
    assert set(run.failure.evidence) <= {*evidence, "body"}


async def test_an_answer_that_takes_too_long_shows_what_came_of_it(network):
    async with serve(SERVED["slow"]) as port:
        run = await probe_http(network, f"http://127.0.0.1:{port}/", timeout_s=0.3)

    assert ("timeout", "transfer", "200") == (run.failure.reason, run.failure.phase, run.failure.evidence["status"])


async def test_redirects_without_end_show_where_to_without_a_password(network):
    def around(request):
        return redirecting(None)(request).replace(
            b"Location: /", f"Location: http://u:p@{request.headers['host']}/".encode()
        )

    async with serve(http(around)) as port:
        run = await probe_http(network, f"http://127.0.0.1:{port}/0")

    assert {"status": "302", "location": f"http://127.0.0.1:{port}/11"} == run.failure.evidence


async def test_a_certificate_that_ends_soon_is_shown(network, authority):
    async with serve(http(answer()), tls=authority.context("localhost")) as port:
        run = await probe_http(
            network,
            f"https://localhost:{port}/",
            tls_config=TlsConfig(ca_file=str(authority.file)),
            fail_if_certificate_expires_within=1e10,
        )

    assert "tls_expired" == run.failure.reason
    assert {"status", "body", "subject", "issuer", "names", "not_before", "not_after"} == set(run.failure.evidence)
    assert "localhost" == run.failure.evidence["names"]
