"""Side by side with Debian's blackbox_exporter: `perfmon serve --blackbox` with the same file and the same servers.

Each case is one target under one module. Both must agree on success, status code, families and phases, but for the
differences of `WANTED`, each of which is argued there; one that is gone must leave the list.
"""

import asyncio
import ssl
import subprocess
from contextlib import AsyncExitStack
from urllib.parse import urlencode

import msgspec
import pytest
from daemon import eventually, get, perfmon
from dns_server import answering, name_server
from prometheus_client.parser import text_string_to_metric_families
from servers import LONG_AGO, answer, closing, garbage, http, read_request, redirecting, resetting, serve, silent
from servers import unused_port as closed_port

pytestmark = pytest.mark.servers

MODULES = """
modules:
  http_2xx: {prober: http, timeout: 2s, http: {preferred_ip_protocol: ip4}}
  hasty: {prober: http, timeout: 500ms, http: {preferred_ip_protocol: ip4}}
  ip6: {prober: http, timeout: 2s, http: {preferred_ip_protocol: ip6}}
  only_ip4: {prober: http, timeout: 2s, http: {preferred_ip_protocol: ip4, ip_protocol_fallback: false}}
  http_404: {prober: http, timeout: 2s, http: {valid_status_codes: [404]}}
  stay: {prober: http, timeout: 2s, http: {follow_redirects: false, valid_status_codes: [302]}}
  post: {prober: http, timeout: 2s, http: {method: POST, body: '{"a": 1}', headers: {Content-Type: application/json}}}
  head: {prober: http, timeout: 2s, http: {method: HEAD}}
  headers: {prober: http, timeout: 2s, http: {headers: {Host: vhost.example, Accept-Language: de, X-Empty: ""}}}
  basic: {prober: http, timeout: 2s, http: {basic_auth: {username: user, password: word}}}
  no_hello: {prober: http, timeout: 2s, http: {fail_if_body_matches_regexp: ["hel+o"]}}
  only_bye: {prober: http, timeout: 2s, http: {fail_if_body_not_matches_regexp: ["^bye"]}}
  only_hello: {prober: http, timeout: 2s, http: {fail_if_body_not_matches_regexp: ["hel+o"]}}
  no_java:
    {prober: http, timeout: 2s, http: {fail_if_header_matches: [{header: Content-Type, regexp: javascript}]}}
  accented:
    {prober: http, timeout: 2s, http: {fail_if_header_not_matches: [{header: X-Name, regexp: "^é$"}]}}
  some_header:
    {prober: http, timeout: 2s, http: {fail_if_header_not_matches: [{header: X-Any, regexp: ".*"}]}}
  limit: {prober: http, timeout: 2s, http: {body_size_limit: 4B}}
  gzip: {prober: http, timeout: 2s, http: {compression: gzip}}
  only_plain: {prober: http, timeout: 2s, http: {fail_if_ssl: true, tls_config: {ca_file: CA}}}
  only_tls: {prober: http, timeout: 2s, http: {fail_if_not_ssl: true}}
  only_h2: {prober: http, timeout: 2s, http: {valid_http_versions: [HTTP/2.0]}}
  trusting: {prober: http, timeout: 2s, http: {preferred_ip_protocol: ip4, tls_config: {ca_file: CA}}}
  believing: {prober: http, timeout: 2s, http: {tls_config: {insecure_skip_verify: true}}}
  renamed: {prober: http, timeout: 2s, http: {tls_config: {ca_file: CA, server_name: elsewhere.example}}}
  tls13: {prober: http, timeout: 2s, http: {preferred_ip_protocol: ip4, tls_config: {ca_file: CA, min_version: TLS13}}}
  tcp: {prober: tcp, timeout: 2s, tcp: {preferred_ip_protocol: ip4}}
  banner:
    prober: tcp
    timeout: 1s
    tcp: {preferred_ip_protocol: ip4, query_response: [{expect: "^SSH-2.0-(.*)$", send: "SSH-2.0-probe"}]}
  dns: {prober: dns, timeout: 1s, dns: {query_name: shop.example, query_type: A, preferred_ip_protocol: ip4}}
  dns_soa: {prober: dns, timeout: 1s, dns: {query_name: shop.example, query_type: SOA}}
  dns_tcp: {prober: dns, timeout: 1s, dns: {query_name: shop.example, query_type: A, transport_protocol: tcp}}
  dns_rcode: {prober: dns, timeout: 1s, dns: {query_name: shop.example, valid_rcodes: [NXDOMAIN]}}
  dns_ttl:
    prober: dns
    timeout: 1s
    dns: {query_name: shop.example, query_type: A, validate_answer_rrs: {fail_if_not_matches_regexp: ["\t300\t"]}}
  icmp: {prober: icmp, timeout: 1s, icmp: {preferred_ip_protocol: ip4}}
  icmp6: {prober: icmp, timeout: 1s, icmp: {preferred_ip_protocol: ip6, payload_size: 100}}
  tcp_tls: {prober: tcp, timeout: 400ms, tcp: {preferred_ip_protocol: ip4, tls: true, tls_config: {ca_file: CA}}}
"""


def found(location):
    return answer(b"", status=302, headers={"Location": location})


HELLO = answer(headers={"Content-Type": "text/plain"})
ANSWERS = {
    "/200": HELLO,
    "/java": answer(headers={"Content-Type": "text/javascript"}),
    "/empty-header": answer(headers={"X-Any": ""}),
    "/accent": HELLO.replace(b"text/plain", b"text/plain\r\nX-Name: \xc3\xa9"),
    "/modified": answer(headers={"Last-Modified": "Fri, 20 Nov 2026 12:00:00 GMT"}),
    "/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello\n\r\n0\r\n\r\n",
    "/long": answer(b"x" * 100_000),
    "/short": answer(b"half", length=8),
    "/until-close": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
    "/cut": b"HTTP/1.1 200 OK\r\nContent-Type: text/pl",
    "/flood": b"HTTP/1.1 200 OK\r\n" + b"X-Header: y\r\n" * 6000 + b"Content-Length: 0\r\n\r\n",
    "/lies": b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok",
    "/huge": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nok",
    "/early": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3 + HELLO,
    "/nothing": b"HTTP/1.1 204 No Content\r\n\r\n",
    "/file": found("file:///etc/passwd"),
    "/gopher": found("gopher://127.0.0.1/"),
    "/script": found("javascript:alert(1)"),
    "/lonely": answer(b"", status=302),
}
DEMANDS = {  # 200 when all of it was sent, 400 when not
    "/vhost": {"host": "vhost.example", "accept-language": "de", "x-empty": ""},
    "/basic": {"authorization": "Basic dXNlcjp3b3Jk"},
    "/json": {"content-type": "application/json", "content-length": "8"},
    "/named": {"host": "named.example"},
}


def plain(request):
    """What the plain server answers, by path; `/404` is a 404."""
    if request.path in DEMANDS:
        return answer(status=200 if DEMANDS[request.path].items() <= request.headers.items() else 400)
    return ANSWERS.get(request.path) or answer(status=int(request.path[1:]))


async def without_body(reader, writer):
    """Answer HEAD as it should be answered."""
    request = await read_request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n" + (b"" if request.method == "HEAD" else b"hello\n"))
    await writer.drain()
    writer.close()


# ---------------------------------------------------------------- the differences that are wanted

# Newer blackbox_exporters have them, Debian's 0.23 does not.
NEWER = ("+probe_timeout_seconds", "+probe_failed_due_to_bytes")
# Beside all of theirs: each step of a dialogue timed, questions counted, more than one packet and what became of each.
OWN = (
    "+probe_step_duration_seconds",
    "+probe_dns_attempts",
    "+probe_icmp_packet",
    "+probe_icmp_duration_rtt",
    "+probe_icmp_jitter",
)
EVERYWHERE = (*NEWER, *OWN)

# A certificate that was refused is still shown: it is what has to be looked at (their issues 653 and 1119).
CERTIFICATE = ("+probe_ssl_earliest_cert_expiry", "+probe_ssl_last_chain_info")
# Phases are there in each run, so that no series comes and goes with its target's health.
PHASES = ("+phase connect", "+phase processing", "+phase tls", "+phase transfer")
# What was seen before it went wrong is told; blackbox_exporter forgets it.
REMEMBERED = ("status 302, not 0", "probe_http_version 1.1, not 0")

WANTED = {
    "redirect to file": REMEMBERED,
    "redirect to gopher": REMEMBERED,
    "redirect to javascript": REMEMBERED,
    "header cut": ("status 200, not 0", "probe_http_content_length -1, not 0", "probe_http_version 1.1, not 0"),
    "length is no number": (
        "status 200, not 0",
        "probe_http_content_length -1, not 0",
        "probe_http_version 1.1, not 0",
    ),
    "length is too large a number": (
        "status 200, not 0",
        "probe_http_content_length -1, not 0",
        "probe_http_uncompressed_body_length 2, not 0",
        "probe_http_version 1.1, not 0",
    ),
    # libcurl takes 5,000 header lines and 300 KB, Go's client a megabyte: no sane server sends as much.
    "header flood": ("success 0, not 1", "probe_http_content_length -1, not 0"),
    "IPv6 literal, IPv4 only": PHASES,
    "no such name": PHASES,
    "127.1": PHASES,
    # Nothing was looked up, so there is nothing to say of it.
    "no URL": ("-probe_dns_lookup_time_seconds", "-probe_ip_addr_hash", "-probe_ip_protocol", *PHASES),
    "TLS, server name": CERTIFICATE,
    "TLS, not trusted": CERTIFICATE,
    "TLS, wrong name": CERTIFICATE,
    "TLS, expired": CERTIFICATE,
    # Nobody verified the chain; blackbox_exporter says that it lasts until the year 1.
    "TLS, unverified": ("-probe_ssl_last_chain_expiry_timestamp_seconds",),
    "tcp TLS, wrong name": CERTIFICATE,
    # `hostname` is the name to verify, as in newer blackbox_exporters (their handler_test.go).
    "tcp TLS with a hostname": (
        "success 1, not 0",
        "+probe_ssl_earliest_cert_expiry",
        "+probe_ssl_last_chain_expiry_timestamp_seconds",
        "+probe_ssl_last_chain_info",
        "+probe_tls_version_info",
    ),
}


# ---------------------------------------------------------------- running both


class Seen(msgspec.Struct, frozen=True):
    """What one exporter says of one case."""

    success: float
    status: float | None
    families: frozenset[str]
    phases: frozenset[str]
    facts: dict[str, float]


def read(text):
    series = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    facts = {sample.name: sample.value for sample in series}
    return Seen(
        success=facts["probe_success"],
        status=facts.get("probe_http_status_code"),
        families=frozenset(facts),
        phases=frozenset(s.labels["phase"] for s in series if s.name in PHASED),
        facts={name: value for name, value in facts.items() if name in COMPARED},
    )


PHASED = ("probe_http_duration_seconds", "probe_dns_duration_seconds", "probe_icmp_duration_seconds")
COMPARED = (
    "probe_dns_answer_rrs", "probe_dns_authority_rrs", "probe_dns_additional_rrs", "probe_dns_query_succeeded",
    "probe_dns_serial", "probe_icmp_reply_hop_limit",
    "probe_ip_protocol", "probe_ip_addr_hash", "probe_http_redirects", "probe_http_ssl", "probe_http_version",
    "probe_http_content_length", "probe_http_uncompressed_body_length", "probe_failed_due_to_regex",
    "probe_http_last_modified_timestamp_seconds", "probe_ssl_earliest_cert_expiry",
    "probe_ssl_last_chain_expiry_timestamp_seconds",
)  # fmt: skip


async def asked(port, case):
    """What the exporter on that port says of a case."""
    query = urlencode(
        {"module": case.module, "target": case.target} | ({"hostname": case.hostname} if case.hostname else {})
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /probe?{query} HTTP/1.0\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert b"200" in head.split(b"\r\n")[0], body
    return read(body.decode())


def differences(ours, theirs):
    """Each as one string: `success 0, not 1`, `+probe_x`, `-probe_x`, `+phase tls`, `probe_x 0, not 1`."""
    for name, mine, other in [("success", ours.success, theirs.success), ("status", ours.status, theirs.status)]:
        if mine != other:
            yield f"{name} {mine:g}, not {other:g}"
    for sign, names in (("+", ours.families - theirs.families), ("-", theirs.families - ours.families)):
        yield from (f"{sign}{name}" for name in sorted(names))
    for sign, names in (("+", ours.phases - theirs.phases), ("-", theirs.phases - ours.phases)):
        yield from (f"{sign}phase {name}" for name in sorted(names))
    for name in sorted(ours.facts.keys() & theirs.facts.keys()):
        if ours.facts[name] != theirs.facts[name]:
            yield f"{name} {ours.facts[name]:g}, not {theirs.facts[name]:g}"


@pytest.fixture(scope="module")
def modules_file(authority, tmp_path_factory):
    file = tmp_path_factory.mktemp("beside") / "blackbox.yml"
    file.write_text(MODULES.replace("CA}", f"{authority.file}}}").replace("CA,", f"{authority.file},"))
    return file


@pytest.fixture(scope="module")
def blackbox(binary, modules_file):
    port = closed_port()
    log = modules_file.with_suffix(".log")
    with log.open("wb") as out:
        process = subprocess.Popen(
            [
                binary("prometheus-blackbox-exporter"),
                f"--config.file={modules_file}", f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=out, stderr=out,
        )  # fmt: skip
    eventually(lambda: get(f"http://127.0.0.1:{port}/-/healthy")[0] == 200, f"blackbox_exporter, its log: {log}")
    yield port
    process.terminate()
    process.wait()


@pytest.fixture(scope="module")
def daemon(modules_file):
    with perfmon(modules_file.parent, f"--blackbox={modules_file}") as running:
        yield running.port


async def test_blackbox_exporter_says_the_same_but_for_what_is_wanted(blackbox, daemon, authority):
    async with AsyncExitStack() as stack:
        cases = [Case(*case) for case in await all_cases(stack, authority)]

        at_once = asyncio.Semaphore(8)

        async def both(case):
            async with at_once:
                one, other = await asyncio.gather(asked(daemon, case), asked(blackbox, case))
            return case.name, tuple(each for each in differences(one, other) if not each.startswith(EVERYWHERE))

        seen = dict(await asyncio.gather(*map(both, cases)))

    assert WANTED == {name: different for name, different in seen.items() if different}


class Case(msgspec.Struct, frozen=True):
    name: str
    module: str
    target: str
    hostname: str = ""


async def all_cases(stack, authority):
    async def at(handler, **how):
        return await stack.enter_async_context(serve(handler, **how))

    web = f"127.0.0.1:{await at(http(plain))}"
    loop = f"127.0.0.1:{await at(http(redirecting(None)))}"
    thrice = f"127.0.0.1:{await at(http(redirecting(3)))}"
    good = await at(http(plain), tls=authority.context("localhost"))
    old_tls = authority.context("localhost")
    old_tls.maximum_version = ssl.TLSVersion.TLSv1_2
    old = await at(http(plain), tls=old_tls)
    expired = await at(http(plain), tls=authority.context("localhost", until=LONG_AGO))

    async def named(udp, tcp=None):
        return (await stack.enter_async_context(name_server(udp, tcp)))[0]

    async def greet(reader, writer):
        writer.write(b"SSH-2.0-OpenSSH_6.9p1 Debian-2\r\n")
        await reader.read()

    known = answering("shop.example. 300 IN A 127.0.0.1", additional=["ns.shop.example. 60 IN A 127.0.0.2"])
    soa = answering("shop.example. 300 IN SOA ns.example. admin.example. 1000 1 2 3 4")
    unknown = answering(rcode="NXDOMAIN")
    return [
        ("dns", "dns", await named(known)),
        ("dns over tcp", "dns_tcp", await named(None, known)),
        ("dns SOA", "dns_soa", await named(soa)),
        ("dns, no such name", "dns", await named(unknown)),
        ("dns, no such name wanted", "dns_rcode", await named(unknown)),
        ("dns, server fails", "dns", await named(answering(rcode="SERVFAIL"))),
        ("dns, TTL as wanted", "dns_ttl", await named(known)),
        ("dns, other TTL", "dns_ttl", await named(answering("shop.example. 60 IN A 127.0.0.1"))),
        ("dns, silent", "dns", await named(lambda _query: [])),
        ("dns, refused", "dns_tcp", f"127.0.0.1:{closed_port()}"),
        ("icmp", "icmp", "127.0.0.1"),
        ("icmp, IPv6", "icmp6", "::1"),
        ("icmp, no such name", "icmp", "nowhere.invalid"),
        ("banner", "banner", f"127.0.0.1:{await at(greet)}"),
        ("banner, another protocol", "banner", web),
        ("banner, refused", "banner", f"127.0.0.1:{closed_port()}"),
        ("200", "http_2xx", f"http://{web}/200"),
        ("no scheme", "http_2xx", f"{web}/200"),
        ("299", "http_2xx", f"http://{web}/299"),
        ("204", "http_2xx", f"http://{web}/nothing"),
        ("404", "http_2xx", f"http://{web}/404"),
        ("404 wanted", "http_404", f"http://{web}/404"),
        ("503", "http_2xx", f"http://{web}/503"),
        ("300", "http_2xx", f"http://{web}/300"),
        ("redirects", "http_2xx", f"http://{thrice}/0"),
        ("redirect not followed", "stay", f"http://{thrice}/0"),
        ("redirect loop", "http_2xx", f"http://{loop}/0"),
        ("redirect to file", "http_2xx", f"http://{web}/file"),
        ("redirect to gopher", "http_2xx", f"http://{web}/gopher"),
        ("redirect to javascript", "http_2xx", f"http://{web}/script"),
        ("redirect without location", "http_2xx", f"http://{web}/lonely"),
        ("chunked", "http_2xx", f"http://{web}/chunked"),
        ("until close", "http_2xx", f"http://{web}/until-close"),
        ("last modified", "http_2xx", f"http://{web}/modified"),
        ("100 kB", "http_2xx", f"http://{web}/long"),
        ("early hints", "http_2xx", f"http://{web}/early"),
        ("HEAD", "head", f"http://127.0.0.1:{await at(without_body)}/"),
        ("POST", "post", f"http://{web}/json"),
        ("headers", "headers", f"http://{web}/vhost"),
        ("basic auth", "basic", f"http://{web}/basic"),
        ("basic auth in the URL", "http_2xx", f"http://user:word@{web}/basic"),
        ("body must not match", "no_hello", f"http://{web}/200"),
        ("body must match, does not", "only_bye", f"http://{web}/200"),
        ("body must match, does", "only_hello", f"http://{web}/200"),
        ("header must not match", "no_java", f"http://{web}/java"),
        ("header is missing", "no_java", f"http://{web}/200"),
        ("header is empty", "some_header", f"http://{web}/empty-header"),
        ("header in UTF-8", "accented", f"http://{web}/accent"),
        ("over the body limit", "limit", f"http://{web}/200"),
        ("gzip demanded, not sent", "gzip", f"http://{web}/200"),
        ("version", "only_h2", f"http://{web}/200"),
        ("short body", "http_2xx", f"http://{web}/short"),
        ("header cut", "http_2xx", f"http://{web}/cut"),
        ("header flood", "http_2xx", f"http://{web}/flood"),
        ("length is no number", "http_2xx", f"http://{web}/lies"),
        ("length is too large a number", "http_2xx", f"http://{web}/huge"),
        ("garbage", "http_2xx", f"http://127.0.0.1:{await at(garbage)}/"),
        ("closes", "http_2xx", f"http://127.0.0.1:{await at(closing)}/"),
        ("resets", "http_2xx", f"http://127.0.0.1:{await at(resetting)}/"),
        ("silent", "hasty", f"http://127.0.0.1:{await at(silent)}/"),
        ("refused", "http_2xx", f"http://127.0.0.1:{closed_port()}/"),
        ("refused with patterns", "only_hello", f"http://127.0.0.1:{closed_port()}/"),
        ("IPv6", "ip6", f"http://[::1]:{await at(http(plain), host='::1')}/200"),
        ("IPv6 literal, IPv4 only", "only_ip4", "http://[::1]:9/"),
        ("localhost", "http_2xx", f"http://localhost:{web.partition(':')[2]}/200"),
        ("no such name", "http_2xx", "http://nowhere.invalid/"),
        ("127.1", "http_2xx", f"http://127.1:{web.partition(':')[2]}/200"),
        ("no URL", "http_2xx", "ftp://127.0.0.1/"),
        ("hostname", "http_2xx", f"http://{web}/named", "named.example"),
        ("TLS", "trusting", f"https://localhost:{good}/200"),
        ("TLS with a hostname", "trusting", f"https://127.0.0.1:{good}/200", "localhost"),
        ("TLS, server name", "renamed", f"https://localhost:{good}/200"),
        ("TLS, unverified", "believing", f"https://127.0.0.1:{good}/200"),
        ("TLS, not trusted", "http_2xx", f"https://localhost:{good}/200"),
        ("TLS, wrong name", "trusting", f"https://127.0.0.1:{good}/200"),
        ("TLS, expired", "trusting", f"https://localhost:{expired}/200"),
        ("TLS 1.2", "trusting", f"https://localhost:{old}/200"),
        ("TLS 1.2 where 1.3 is demanded", "tls13", f"https://localhost:{old}/200"),
        ("TLS to plain text", "trusting", f"https://{web}/200"),
        ("plain text to TLS", "http_2xx", f"http://127.0.0.1:{good}/200"),
        ("plain text demanded, TLS", "only_plain", f"https://localhost:{good}/200"),
        ("TLS demanded, plain text", "only_tls", f"http://{web}/200"),
        ("tcp", "tcp", web),
        ("tcp refused", "tcp", f"127.0.0.1:{closed_port()}"),
        ("tcp no such name", "tcp", "nowhere.invalid:80"),
        ("tcp without a port", "tcp", "127.0.0.1"),
        ("tcp TLS", "tcp_tls", f"localhost:{good}"),
        ("tcp TLS with a hostname", "tcp_tls", f"127.0.0.1:{good}", "localhost"),
        ("tcp TLS, wrong name", "tcp_tls", f"127.0.0.1:{good}"),
        ("tcp TLS, silent", "tcp_tls", f"127.0.0.1:{await at(silent)}"),
    ]
