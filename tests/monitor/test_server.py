"""The routes of the web face over real sockets; the daemon behind it is a hand-written `View`."""

import asyncio
import json
import socket
import time

import pytest
import pytest_asyncio
from web_face import FakeView, connection, pick, request, until

from perfmon.monitor.server import app, serve

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server():
    """One server for all tests of this file: its address and its view."""
    view = FakeView()
    async with serve(app(view, listen=["perfmon.internal:10737"]), ["127.0.0.1:0"]) as (address,):
        yield address, view


@pytest.fixture
def view(server):
    """The server's view, as new."""
    server[1].__init__()
    return server[1]


@pytest.fixture
def ask(server, view):
    """Send one request; (status, headers, body)."""
    address, _ = server

    async def send(path, method="GET", **headers):
        return await request(address, path, method=method, headers=headers)

    return send


# ---------------------------------------------------------------- /probe


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "Target parameter is missing\n"),
        ("?target=", "Target parameter is missing\n"),
        ("?module=nope", 'Unknown module "nope"\n'),
        ("?module=no%22p%0ae&target=x", 'Unknown module "no\\"p\\ne"\n'),
        ("?target=conflict&hostname=b", "host header defined both in module configuration (a) and with URL-parameter 'hostname' (b)\n"),
    ],
)  # fmt: skip
async def test_probe_refuses_bad_parameters_in_the_words_of_blackbox_exporter(ask, query, expected):
    status, _, body = await ask("/probe" + query)

    assert (400, expected) == (status, body)


async def test_probe_of_a_failing_target_is_answered_with_200(ask):
    status, headers, body = await ask("/probe?target=127.0.0.1:1")

    assert (200, "probe_success 0\n") == (status, body)
    assert "text/plain; version=0.0.4; charset=utf-8" == headers["content-type"]


async def test_probe_hands_on_its_parameters_decoded_once_and_the_first_of_each(ask, view):
    await ask("/probe?target=http%3A%2F%2Fa%2F%253A%3Fq%3D1&target=b&module=slow&hostname=shop.example&debug=true")

    assert [("http://a/%3A?q=1", "shop.example", "slow", 20.0, True)] == view.probed


async def test_probe_keeps_to_the_scrape_timeout(ask, view):
    await ask("/probe?target=a", X_Prometheus_Scrape_Timeout_Seconds="1")

    assert [("a", "", "http_2xx", 0.5, False)] == view.probed


async def test_probe_keeps_back_as_much_as_the_configuration_says(ask, view):
    view.timeout_offset_s = 2.0
    await ask("/probe?target=a", X_Prometheus_Scrape_Timeout_Seconds="4.5")

    assert [("a", "", "http_2xx", 2.5, False)] == view.probed


@pytest.mark.parametrize(
    ("written", "target"),
    [
        ("http%3A%2F%2F127.0.0.1%3A80%2F", "http://127.0.0.1:80/"),
        ("http://127.0.0.1%253A80/", "http://127.0.0.1:80/"),
        ("127.0.0.1%253a22", "127.0.0.1:22"),
        ("http%253A%252F%252F127.0.0.1%253A80%252Fa%253Fb", "http://127.0.0.1:80/a?b"),
        ("http://a/%253A", "http://a/%3A"),
        ("http://a?b=%253A", "http://a?b=%3A"),
        ("http://%255B::1%255D/", "http://%5B::1%5D/"),
        ("http://[fe80::1%2525eth0]:80/", "http://[fe80::1%25eth0]:80/"),
    ],
)
async def test_a_target_that_was_encoded_twice_is_decoded_up_to_its_path(ask, view, written, target):
    await ask(f"/probe?target={written}")

    assert [target] == [probed[0] for probed in view.probed]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?id=7", (200, "run 7\n")),
        ("?target=a", (200, "newest run of a \n")),
        ("?target=a&module=http_2xx", (200, "newest run of a http_2xx\n")),
        ("?target=a&id=x", (200, "newest run of a \n")),
        ("?target=a&module=icmp", (404, "Probe target not found\n")),
        ("?target=b", (404, "Probe target not found\n")),
        ("?id=8", (404, "Probe id not found\n")),
        ("?id=7&target=a", (400, "Probe id and target can't be defined at the same time\n")),
        ("", (400, "Probe id or target must be defined as http query parameters\n")),
        ("?module=http_2xx", (400, "Probe id or target must be defined as http query parameters\n")),
        ("?id=-1", (400, "Probe id or target must be defined as http query parameters\n")),
        ("?id=" + "9" * 5_000, (400, "Probe id or target must be defined as http query parameters\n")),
    ],
)
async def test_logs_answer_as_blackbox_exporter_does(ask, query, expected):
    assert expected == pick(await ask(f"/logs{query}"))


async def test_modules_and_runs_can_be_looked_at(ask):
    assert (200, "modules: {}\n") == pick(await ask("/config"))
    assert [{"id": 7, "module": "http_2xx", "target": "a", "success": False}] == json.loads(
        (await ask("/api/v1/runs"))[2]
    )["runs"]


@pytest.mark.parametrize("path", ["/probe?target=a", "/logs?id=7", "/config", "/api/v1/runs"])
async def test_what_a_browser_is_made_to_ask_by_another_site_is_not_answered(ask, view, path):
    status, _, _ = await ask(path, Sec_Fetch_Site="cross-site")

    assert (403, []) == (status, view.probed)


async def test_a_scrape_timeout_that_cannot_be_read_is_a_500_as_in_blackbox_exporter(ask):
    status, _, body = await ask("/probe?target=a", X_Prometheus_Scrape_Timeout_Seconds="abc")

    assert (500, 'Failed to parse timeout from Prometheus header: "abc" is not a number of seconds\n') == (status, body)


async def test_a_client_that_disconnects_cancels_its_probe_within_100_ms(server, view):
    address, _ = server
    view.probe_seconds = 30
    before = asyncio.all_tasks()
    async with connection(address) as (_, writer):
        writer.write(f"GET /probe?target=a HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
        await until(lambda: view.probed)
    left_at = time.monotonic()
    await until(lambda: view.cancelled_at)
    await until(lambda: asyncio.all_tasks() <= before)

    assert view.cancelled_at - left_at < 0.1


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example"]
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/probe?target=a"),
        ("POST", "/-/reload"),
        ("GET", "/"),
        ("GET", "/metrics"),
        ("GET", "/api/v1/targets"),
        ("GET", "/api/v1/alerts"),
        ("GET", "/logs?id=7"),
        ("GET", "/config"),
        ("GET", "/api/v1/runs"),
        ("GET", "/api/v1/target?key=x"),
        ("POST", "/api/v1/target/run?key=x"),
        ("GET", "/target?key=x"),
        ("GET", "/run?id=x"),
        ("GET", "/api/v1/run?id=x"),
        ("GET", "/group?sampler=x&group=y"),
        ("GET", "/api/v1/group?sampler=x&group=y"),
        ("GET", "/status"),
        ("GET", "/status.json"),
        ("GET", "/status.atom"),
        ("GET", "/badge/state?key=x"),
    ],
)
async def test_a_rebound_dns_name_can_neither_read_nor_probe_nor_reload(ask, view, host, method, path):
    status, _, body = await ask(path, method=method, Host=host)

    expected = f'host "{host.partition(":")[0]}" is not a name of this address; call it as localhost, or set web.external_url\n'
    assert (403, expected) == (status, body)
    assert ([], [], 0) == (view.probed, view.ran, view.reloads)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:10737",
        "127.0.0.1:10737",
        "[::1]:10737",
        "a.localhost",
        "perfmon.internal:10737",
        socket.gethostname(),
    ],
)
async def test_names_of_this_machine_may_probe(ask, host):  # fmt: skip
    status, _, _ = await ask("/probe?target=a", Host=host)

    assert 200 == status


async def test_a_page_of_another_site_cannot_make_a_browser_probe(ask, view):
    status, _, body = await ask("/probe?target=a", Sec_Fetch_Site="cross-site")

    assert (403, "refused: a page of another site asked for it\n") == (status, body)
    assert [] == view.probed


# ---------------------------------------------------------------- health and reload


async def test_health_and_readiness_say_so(ask, view):
    assert [(200, "Healthy\n"), (200, "Healthy\n")] == [pick(await ask(p)) for p in ("/-/healthy", "/-/ready")]

    view.health = (False, "no run for 60 s")

    assert (503, "no run for 60 s\n") == pick(await ask("/-/healthy"))


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_reload_reads_the_configuration_anew(ask, view, method):
    assert (200, "") == pick(await ask("/-/reload", method=method))
    assert 1 == view.reloads


async def test_a_reload_that_fails_tells_every_problem(ask, view):
    view.problems = ["perfmon.yml:3: probes[0].interval: must be a duration", "perfmon.yml:9: rules: must be a list"]

    status, headers, body = await ask("/-/reload", method="POST")

    assert 500 == status
    assert "text/plain; charset=utf-8" == headers["content-type"]
    assert "failed to reload config:\n" + "\n".join(view.problems) + "\n" == body


async def test_reload_by_get_is_refused(ask, view):
    status, headers, body = await ask("/-/reload")

    assert (405, "This endpoint requires a POST request.\n") == (status, body)
    assert {"POST", "PUT"} == set(headers["allow"].split(", "))
    assert 0 == view.reloads


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
async def test_a_page_of_another_origin_cannot_reload(ask, view, headers):
    status, _, body = await ask("/-/reload", method="POST", **headers)

    assert 403 == status
    assert body.startswith("refused: ")
    assert 0 == view.reloads


async def test_a_page_of_its_own_origin_can_reload(server, ask, view):
    status, _, _ = await ask("/-/reload", method="POST", Origin=f"http://{server[0]}", Sec_Fetch_Site="same-origin")

    assert (200, 1) == (status, view.reloads)


# ---------------------------------------------------------------- one probe, and running it


async def test_one_probe_is_asked_for_by_its_key_decoded_once(ask):
    status, headers, body = await ask("/api/v1/target?key=shop%2Fhttp%3A%2F%2Fa%2F%3Fb%3D1%26c")

    assert (200, "application/json") == (status, headers["content-type"])
    assert {"key": "shop/http://a/?b=1&c", "probe": "shop"} == json.loads(body)["probe"]


@pytest.mark.parametrize("query", ["", "?key=", "?key=gone"])
async def test_a_probe_that_is_not_watched_is_a_404_with_the_time(ask, query):
    status, _, body = await ask(f"/api/v1/target{query}")

    assert (404, None, 1.5) == (status, json.loads(body)["probe"], json.loads(body)["now"])


RUN = {"id": "1c291ca3-19aa3f2c1b0", "key": "shop/http://a/?b=1&c"}


async def test_one_run_is_asked_for_by_the_id_of_its_exemplar(ask):
    status, _, body = await ask("/api/v1/run?id=1c291ca3-19aa3f2c1b0")

    assert (200, RUN) == (status, json.loads(body)["run"])


@pytest.mark.parametrize(
    ("query", "status"), [("?id=1c291ca3-1", 404), ("", 400), ("?id=7", 400), ("?id=1c291ca3-1%0d%0aX:%201", 400)]
)
async def test_a_run_that_nobody_made_is_not_there(ask, query, status):
    assert status == (await ask(f"/api/v1/run{query}"))[0]
    assert 404 == (await ask(f"/run{query}"))[0]


async def test_an_exemplars_link_leads_to_the_page_of_its_probe(ask):
    status, headers, _ = await ask("/run?id=1c291ca3-19aa3f2c1b0")

    assert (303, "/target?key=shop%2Fhttp%3A%2F%2Fa%2F%3Fb%3D1%26c&run=1c291ca3-19aa3f2c1b0") == (
        status,
        headers["location"],
    )


@pytest.mark.parametrize(
    ("query", "status", "group"),
    [
        ("?sampler=shops&group=a%26b&cgroup=%2Fx", 200, {"group": "a&b", "cgroup": "/x"}),
        ("?sampler=shops&group=gone", 404, None),
        ("", 404, None),
    ],
)
async def test_one_group_is_asked_for_by_sampler_group_and_cgroup(ask, query, status, group):
    answered, _, body = await ask(f"/api/v1/group{query}")

    assert (status, group) == (answered, json.loads(body)["group"])


@pytest.mark.parametrize("headers", [{}, {"Sec_Fetch_Site": "same-origin"}])
async def test_a_check_is_run_now_by_post(server, ask, view, headers):
    own = {"Origin": f"http://{server[0]}"} if headers else {}
    answered = pick(await ask("/api/v1/target/run?key=shop%2Fa", method="POST", **headers, **own))

    assert (200, '{"success":true}') == answered
    assert ["shop/a"] == view.ran


async def test_a_check_is_not_run_by_get(ask, view):
    status, headers, _ = await ask("/api/v1/target/run?key=shop%2Fa")

    assert (405, "POST", []) == (status, headers["allow"], view.ran)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
async def test_a_page_of_another_origin_cannot_run_a_check(ask, view, headers):
    status, answered, body = await ask("/api/v1/target/run?key=a", method="POST", **headers)

    assert (403, []) == (status, view.ran)
    assert body.startswith("refused: ")
    assert not [name for name in answered if name.startswith("access-control-")]


async def test_a_client_that_may_not_probe_may_not_run_a_check(view):
    """The server listens beyond loopback, and the client is on the network but not on the allow-list."""
    refused = []

    async def nothing():
        return {"type": "http.disconnect"}

    async def keep(message):
        refused.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/api/v1/target/run", "query_string": b"key=a",
        "headers": [(b"host", b"192.0.2.1")], "client": ("198.51.100.7", 5), "server": ("192.0.2.1", 80),
    }  # fmt: skip
    await app(view)(scope, nothing, keep)

    assert (403, []) == (refused[0]["status"], view.ran)
    assert b"running a check now is refused to 198.51.100.7: add its network to web.probe_allow\n" == refused[1]["body"]


@pytest.mark.parametrize(
    ("key", "status", "words"), [("gone", 404, 'no probe has the key "gone"\n'), ("busy", 429, "a run is under way\n")]
)
async def test_a_check_that_cannot_be_run_now_says_why(ask, key, status, words):
    assert (status, words) == pick(await ask(f"/api/v1/target/run?key={key}", method="POST"))


async def test_a_client_that_leaves_ends_the_run_it_asked_for(server, view):
    address, _ = server
    view.probe_seconds = 30
    async with connection(address) as (_, writer):
        writer.write(f"POST /api/v1/target/run?key=a HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
        await until(lambda: view.ran)
    await until(lambda: view.cancelled_at)

    assert view.cancelled_at is not None


# ---------------------------------------------------------------- metrics, JSON, files


async def test_metrics_are_what_the_view_makes_of_the_headers(ask):
    status, headers, body = await ask("/metrics", Accept="application/openmetrics-text", Accept_Encoding="gzip")

    assert (200, "# application/openmetrics-text gzip\n") == (status, body)
    assert ("text/plain; version=0.0.4", "no-store") == (headers["content-type"], headers["cache-control"])


async def test_targets_can_be_asked_with_less_history(ask, view):
    status, headers, body = await ask("/api/v1/targets?minutes=3")
    await ask("/api/v1/targets")

    assert (200, "application/json") == (status, headers["content-type"])
    assert 1.5 == json.loads(body)["now"]
    assert [3, 60] == view.asked_minutes


@pytest.mark.parametrize("minutes", ["0", "61", "x", "-1", "%C2%B2", "99999999999999999999999"])
async def test_an_impossible_history_is_refused(ask, view, minutes):
    status, _, body = await ask(f"/api/v1/targets?minutes={minutes}")

    assert 400 == status
    assert body.startswith('parameter "minutes" must be 1 to 60, not "')
    assert [] == view.asked_minutes


async def test_alerts_are_json(ask):
    assert (200, '{"now":1.5,"alerts":[]}') == pick(await ask("/api/v1/alerts"))


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/target", "text/html; charset=utf-8"),
        ("/page/page.css", "text/css; charset=utf-8"),
        ("/page/page.js", "text/javascript; charset=utf-8"),
        ("/page/icon.svg", "image/svg+xml"),
    ],
)
async def test_a_file_of_the_page_is_sent_once_and_then_known(ask, path, kind):
    status, headers, body = await ask(path)
    again = await ask(path, If_None_Match=headers["etag"])

    assert (200, kind, "no-cache") == (status, headers["content-type"], headers["cache-control"])
    assert len(body) > 100
    assert (304, "") == pick(again)


@pytest.mark.parametrize(
    "path", ["/page/../server.py", "/page/%2e%2e/server.py", "/page/..%2fserver.py", "/page/", "/page/__init__.py", "/x", "/metrics/"]
)  # fmt: skip
async def test_nothing_else_is_there(ask, path):
    status, headers, body = await ask(path)

    assert 404 == status
    assert body.startswith("there is nothing at /")
    assert "text/plain; charset=utf-8" == headers["content-type"]


# ---------------------------------------------------------------- security and bounds


@pytest.mark.parametrize(
    "path",
    ["/", "/metrics", "/probe", "/-/healthy", "/-/reload", "/api/v1/alerts", "/nothing", "/page/page.js", "/target"],
)
async def test_every_answer_has_the_security_headers(ask, view, path):  # fmt: skip
    view.error = RuntimeError("inner detail")

    _, headers, _ = await ask(path)

    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert ("nosniff", "no-referrer") == (headers["x-content-type-options"], headers["referrer-policy"])
    assert "server" not in headers


async def test_a_defect_is_reported_inside_and_not_told_outside(ask, view, caplog):
    view.error = RuntimeError("inner detail")

    status, _, body = await ask("/api/v1/alerts")

    assert (500, "perfmon failed to answer; its log says why\n") == (status, body)
    assert [view.error] == view.defects
    assert [] == caplog.records


async def test_an_answer_that_meets_a_cut_connection_is_no_defect(view):
    """uvloop's transports raise where asyncio's drop what is written in silence."""

    async def cut(_message):
        raise RuntimeError(
            "unable to perform operation on <TCPTransport closed=True reading=False>; the handler is closed"
        )

    async def nothing():
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "GET", "path": "/metrics", "headers": [], "query_string": b""}
    await app(view)(scope, nothing, cut)

    assert [] == view.defects
