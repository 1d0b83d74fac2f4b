"""`perfmon serve --blackbox` as a process, asked as blackbox_exporter is: the cases of its handler's own tests."""

import asyncio
import json
import signal
import time
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from daemon import eventually, get, perfmon
from prometheus_client.parser import text_string_to_metric_families
from servers import answer, http, name_server, serve, silent
from servers import unused_port as closed_port

from perfmon import config
from perfmon.cli import run
from perfmon.commands.serve import Flags
from perfmon.errors import EXIT_CONFIG, EXIT_FINE

MODULES = """
modules:
  http_2xx: {prober: http, http: {preferred_ip_protocol: ip4}}
  patient: {prober: http, timeout: 20s}
  vhost: {prober: http, http: {headers: {host: own.example}}}
  secretive:
    prober: http
    timeout: 2s
    http:
      basic_auth: {username: user, password: geheim-1}
      headers: {X-Api-Key: geheim-2, Cookie: geheim-3}
      preferred_ip_protocol: ip4
  bearer: {prober: http, timeout: 2s, http: {bearer_token: geheim-4}}
  tcp: {prober: tcp, timeout: 2s}
  tls: {prober: tcp, timeout: 2s, tcp: {tls: true, tls_config: {ca_file: CA}}}
  inline: {prober: tcp, timeout: 2s, tcp: {tls: true, tls_config: {ca: INLINE}}}
  inline_http: {prober: http, timeout: 2s, http: {preferred_ip_protocol: ip4, tls_config: {ca: INLINE}}}
  banner:
    prober: tcp
    timeout: 2s
    tcp: {query_response: [{expect: "^(.*)$", labels: [{name: banner, value: "${1}"}]}]}
  dns: {prober: dns, timeout: 2s, dns: {query_name: first.example, query_type: A}}
"""
SECRETS = ("geheim-1", "geheim-2", "geheim-3", "geheim-4")


@pytest.fixture(scope="module")
def file(tmp_path_factory, authority):
    path = tmp_path_factory.mktemp("blackbox") / "blackbox.yml"
    root = json.dumps(Path(authority.file).read_text())
    path.write_text(MODULES.replace("CA", authority.file).replace("INLINE", root))
    return path


@pytest.fixture(scope="module")
def daemon(file):
    with perfmon(file.parent, f"--blackbox={file}", "--log.level=debug") as running:
        yield running


@pytest.fixture
def ask(daemon):
    """Ask for a path with these parameters: status and body."""

    async def send(path, headers=None, **parameters):
        return await asyncio.to_thread(get, f"{daemon.url}{path}?{urlencode(parameters)}", headers=headers)

    return send


def samples(page):
    return {sample.name: sample for family in text_string_to_metric_families(page) for sample in family.samples}


def value(page, name):
    return samples(page)[name].value


# ---------------------------------------------------------------- /probe


async def test_p01_what_cannot_be_probed_is_a_400_and_an_unknown_module_is_counted(ask, daemon):
    before = daemon.metric("blackbox_module_unknown_total")

    assert (400, "Target parameter is missing\n") == await ask("/probe")
    assert (400, 'Unknown module "nope"\n') == await ask("/probe", target="a", module="nope")
    assert (400, 'Unknown module "http_post_2xx"\n') == await ask("/probe", target="a", module="http_post_2xx")
    assert before + 2 == daemon.metric("blackbox_module_unknown_total")


async def test_p02_without_a_module_it_is_http_2xx(ask):
    async with serve(http(lambda _request: answer())) as port:
        status, page = await ask("/probe", target=f"127.0.0.1:{port}")

    assert (200, 1.0, 200.0) == (status, value(page, "probe_success"), value(page, "probe_http_status_code"))


async def test_p04_p07_a_run_ends_before_the_scraper_gives_up(ask):
    async with serve(silent) as port:
        target = f"http://127.0.0.1:{port}/"
        began = time.monotonic()
        status, page = await ask("/probe", {"X-Prometheus-Scrape-Timeout-Seconds": "1"}, target=target)
        took_s = time.monotonic() - began
        hasty = (await ask("/probe", {"X-Prometheus-Scrape-Timeout-Seconds": "0.2"}, target=target))[1]

    assert (200, 0.0, 0.5) == (status, value(page, "probe_success"), value(page, "probe_timeout_seconds"))
    assert 0.5 <= took_s < 1.0
    assert 0.1 == value(hasty, "probe_timeout_seconds")


@pytest.mark.parametrize(("module", "header", "expected"), [("http_2xx", "15", 14.5), ("patient", "15", 14.5), ("tcp", "15", 2), ("tcp", "", 2), ("http_2xx", "", 119.5)])  # fmt: skip
async def test_p05_the_shorter_of_module_and_scraper_counts(ask, module, header, expected):
    headers = {"X-Prometheus-Scrape-Timeout-Seconds": header} if header else {}
    _, page = await ask("/probe", headers, target=f"127.0.0.1:{closed_port()}", module=module)

    assert expected == value(page, "probe_timeout_seconds")


async def test_p08_hostname_is_the_host_header_and_must_not_differ_from_the_modules(ask):
    hosts = []
    async with serve(http(lambda request: hosts.append(request.headers["host"]) or answer())) as port:
        target = f"http://127.0.0.1:{port}/"
        _, page = await ask("/probe", target=target, hostname="foo.example.com")
        clash = await ask("/probe", target=target, hostname="foo.example.com", module="vhost")
        same = await ask("/probe", target=target, hostname="own.example", module="vhost")

    words = "in module configuration (own.example) and with URL-parameter 'hostname' (foo.example.com)"
    assert (400, f"host header defined both {words}\n") == clash
    assert (1.0, 200) == (value(page, "probe_success"), same[0])
    assert ["foo.example.com", "own.example"] == hosts


async def test_p08_p10_hostname_is_the_name_that_the_certificate_is_for(ask, authority):
    async with serve(http(lambda _request: answer()), tls=authority.context("foo.example.com")) as port:
        _, named = await ask("/probe", target=f"127.0.0.1:{port}", module="tls", hostname="foo.example.com")
        _, unnamed = await ask("/probe", target=f"127.0.0.1:{port}", module="tls")

    assert (1.0, 0.0) == (value(named, "probe_success"), value(unnamed, "probe_success"))


async def test_roots_that_stand_in_the_file_itself_are_trusted(ask, authority):
    async with serve(http(lambda _request: answer()), tls=authority.context("localhost")) as port:
        _, tcp = await ask("/probe", target=f"localhost:{port}", module="inline")
        _, web = await ask("/probe", target=f"https://localhost:{port}/", module="inline_http")

    assert (1.0, 1.0) == (value(tcp, "probe_success"), value(web, "probe_success"))


async def test_hostname_is_the_name_that_dns_is_asked_for(ask):
    async with name_server({"first.example": ["127.0.0.1"], "other.example": ["127.0.0.2"]}) as (address, server):
        await ask("/probe", target=address, module="dns")
        _, page = await ask("/probe", target=address, module="dns", hostname="other.example")
        bad = await ask("/probe", target=address, module="dns", hostname="a..b")

    assert ["first.example", "other.example"] == server.asked
    assert 1.0 == value(page, "probe_success")
    assert (400, True) == (bad[0], bad[1].startswith("URL-parameter 'hostname': query_name: not a name"))


async def test_p11_a_target_may_be_encoded_once_more_than_needed(daemon):
    paths = []
    async with serve(http(lambda request: paths.append(request.path) or answer())) as port:
        plain = f"http://127.0.0.1:{port}/a%3Ab"
        for target in (
            f"http://127.0.0.1%253A{port}/a%253Ab",
            quote(plain, safe=""),
            quote(quote(plain, safe=""), safe=""),
        ):
            _, page = await asyncio.to_thread(get, f"{daemon.url}/probe?target={target}")
            assert 1.0 == value(page, "probe_success")

    assert ["/a%3Ab"] * 3 == paths


async def test_p25_a_client_that_goes_ends_its_probe_within_100_ms_and_leaves_no_socket(daemon):
    ended_s = [await given_up(daemon)]
    before = open_files(daemon)
    ended_s += [await given_up(daemon) for _ in range(5)]
    await asyncio.to_thread(eventually, lambda: open_files(daemon) <= before, "its sockets are closed")

    assert max(ended_s) < 0.1


async def given_up(daemon):
    """Seconds from when a client of `/probe` went until the connection to its target was closed."""
    came, gone = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def watch(reader, _writer):
        came.set()
        while await reader.read(1000):
            pass
        gone.set_result(time.monotonic())

    async with serve(watch) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
        asked = f"/probe?module=patient&target=http://127.0.0.1:{port}/"
        writer.write(f"GET {asked} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await asyncio.wait_for(came.wait(), 5)
        left_at = time.monotonic()
        writer.close()
        return await asyncio.wait_for(gone, 5) - left_at


def open_files(daemon):
    return len(list(Path(f"/proc/{daemon.process.pid}/fd").iterdir()))


@pytest.mark.parametrize(
    "target", ['a"b', "a\\b", "a\nb", "%FF%FE", "a\0b", "\u2028", "http://a\r\nX: y/", "x" * 60_000]
)
async def test_p26_whatever_a_target_holds_the_answer_can_be_read(daemon, target):
    encoded = target if target.startswith("%") else quote(target)
    for module in ("http_2xx", "tcp", "dns"):
        status, page = await asyncio.to_thread(get, f"{daemon.url}/probe?module={module}&target={encoded}")

        assert (200, 0.0) == (status, value(page, "probe_success"))


async def test_p26_what_a_target_says_becomes_a_label_that_can_be_read(ask):
    async def speak(_reader, writer):
        writer.write(b'say "hi" \\ \xff\xfe\n')
        await writer.drain()

    async with serve(speak) as port:
        _, page = await ask("/probe", target=f"127.0.0.1:{port}", module="banner")

    assert {"banner": 'say "hi" \\ \ufffd\ufffd'} == samples(page)["probe_expect_info"].labels


# ---------------------------------------------------------------- what it says of its runs


async def test_p13_no_page_tells_a_secret_and_all_say_that_there_is_one(ask):
    def echo(request):
        return answer(" ".join(request.headers.values()).encode(), status=500)

    async with serve(http(echo)) as port:
        target = f"http://127.0.0.1:{port}/"
        pages = [
            (await ask("/probe", target=target, module="secretive", debug="true"))[1],
            (await ask("/probe", target=target, module="bearer", debug="true"))[1],
            (await ask("/logs", target=target))[1],
            (await ask("/config"))[1],
        ]

    for page in pages:
        assert "<secret>" in page
        assert not [secret for secret in SECRETS if secret in page]


async def test_p14_the_debug_page_says_all_and_the_daemons_log_a_line_a_run_only_at_debug(ask, daemon, file, tmp_path):
    target = f"127.0.0.1:{closed_port()}"
    _, page = await ask("/probe", target=target, module="tcp", debug="true")

    titles = ["Logs for the probe:", "Metrics that would have been returned:", "Module configuration:"]
    assert titles == [line for line in page.splitlines() if line in titles]
    assert "Beginning probe probe=tcp module=tcp timeout_seconds=2" in page
    assert "Probe failed duration_seconds=" in page
    assert "reason connect_refused" in page
    assert [target] == [event["target"].strip('"') for event in runs_of(daemon) if target in event["target"]]

    with perfmon(tmp_path, f"--blackbox={file}") as quiet:
        url = f"{quiet.url}/probe?{urlencode({'target': target, 'module': 'tcp', 'debug': 'true'})}"
        same = (await asyncio.to_thread(get, url))[1]
        assert "Beginning probe" in same
        assert "connection refused" in same
        assert [] == list(runs_of(quiet))


def runs_of(daemon):
    return (event for event in daemon.events() if event["event"] == "probe on request")


async def test_p16_p17_logs_have_the_newest_run_of_a_target(ask, daemon):
    statuses = iter((500, 404, 200, 500, 503, 500))
    async with serve(http(lambda _request: answer(status=next(statuses)))) as port:
        target = f"http://127.0.0.1:{port}/"
        for _ in range(5):
            await ask("/probe", target=target)
        await ask("/probe", target=target, module="patient")

        newest = (await ask("/logs", target=target, module="http_2xx"))[1]
        runs = [run for run in (await ask_runs(daemon)) if run["target"] == target]
        first = (await ask("/logs", id=runs[-1]["id"]))[1]

    assert "status 503, expected 2xx" in newest
    assert "GET / HTTP/1.1" in newest  # heard, since the run before had failed
    assert "status 500, expected 2xx" in first
    assert [False, False, False, True, False, False] == [run["success"] for run in runs]
    assert (404, "Probe target not found\n") == await ask("/logs", target=target, module="tcp")
    assert (404, "Probe id not found\n") == await ask("/logs", id=123_456)
    assert (
        400
        == (await ask("/logs"))[0]
        == (await ask("/logs", id=1, target=target))[0]
        == (await ask("/logs", module="tcp"))[0]
    )


async def ask_runs(daemon):
    return json.loads((await asyncio.to_thread(get, f"{daemon.url}/api/v1/runs"))[1])["runs"]


def test_p19_it_is_healthy(daemon):
    assert (200, "Healthy\n") == get(f"{daemon.url}/-/healthy")


def test_p20_a_reload_takes_the_file_and_an_unchanged_one_changes_nothing(tmp_path):
    file = tmp_path / "blackbox.yml"
    file.write_text("modules: {tcp: {prober: tcp}}")
    with perfmon(tmp_path, f"--blackbox={file}") as daemon:
        stamp = "blackbox_exporter_config_last_reload_success_timestamp_seconds"
        taken_at = daemon.metric(stamp)
        assert (200, "") == get(f"{daemon.url}/-/reload", method="POST")
        assert "config is unchanged" in [event["event"] for event in daemon.events()]
        assert daemon.metric(stamp) > taken_at

        file.write_text("modules: {tcp: {prober: tpc}}")
        status, told = get(f"{daemon.url}/-/reload", method="POST")
        assert (500, True) == (status, 'modules.tcp.prober: unknown "tpc", did you mean "tcp"?' in told)
        assert 0.0 == daemon.metric("blackbox_exporter_config_last_reload_successful")

        file.write_text("modules: {tcp: {prober: tcp}, icmp: {prober: icmp}}")
        daemon.process.send_signal(signal.SIGHUP)
        eventually(lambda: "icmp" in get(f"{daemon.url}/config")[1], "SIGHUP takes the file")
        assert 1.0 == daemon.metric("blackbox_exporter_config_last_reload_successful")
        assert 1.0 == daemon.metric("blackbox_exporter_build_info")


# ---------------------------------------------------------------- beside all else, and from elsewhere


def test_it_stands_beside_a_configuration_of_perfmons_own(tmp_path, file):
    own = tmp_path / "perfmon.yml"
    own.write_text(f"""
modules: {{mine: {{prober: tcp}}}}
probes: [{{name: p, module: tcp, interval: 1s, timeout: 900ms, targets: ["127.0.0.1:{closed_port()}"]}}]
state: {{path: ""}}
web: {{timeout_offset: 1s}}
""")
    with perfmon(tmp_path, f"--config.file={own}", f"--blackbox={file}") as daemon:
        for module in ("mine", "tcp"):
            headers = {"X-Prometheus-Scrape-Timeout-Seconds": "2.5"}
            page = get(f"{daemon.url}/probe?module={module}&target=127.0.0.1:1", headers=headers)[1]
            assert 1.5 == value(page, "probe_timeout_seconds")
        eventually(lambda: daemon.metric("probe_success", probe="p", module="tcp") == 0.0, "the check runs")


def test_alone_it_leaves_no_state_behind(daemon, file):
    assert [file.name, daemon.log.name] == sorted(path.name for path in file.parent.iterdir())


def test_flags_win_over_what_a_file_says_of_probe(tmp_path):
    (tmp_path / "perfmon.yml").write_text("web: {probe_allow: [192.0.2.0/24], timeout_offset: 2s}")
    read = config.load([tmp_path / "perfmon.yml"])
    none = {"listen": (), "state": None, "level": None, "format": None, "web_file": None}
    given = Flags(probe_allow=(ip_network("10.0.0.0/8"),), timeout_offset_s=0.0, **none).over(read).web
    left = Flags(probe_allow=(), timeout_offset_s=None, **none).over(read).web

    assert (["10.0.0.0/8"], 0.0) == (list(map(str, given.probe_allow)), given.timeout_offset_s)
    assert (["192.0.2.0/24"], 2.0) == (list(map(str, left.probe_allow)), left.timeout_offset_s)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--blackbox", "b.yml", "--web.probe-allow", "10.0.0.1/8"], '--web.probe-allow: expected a network such as 10.0.0.0/8, got "10.0.0.1/8"'),
        (["--blackbox", "b.yml", "--config.file", "a.yml", "http://127.0.0.1/"], "give either URLs to watch or --config.file"),
        (["--blackbox", "none.yml"], "none.yml: cannot be read: no such file or directory"),
    ],
)  # fmt: skip
def test_arguments_that_cannot_be_are_told(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)

    assert EXIT_CONFIG == run(["serve", *arguments])
    assert words in capsys.readouterr().err


def test_check_names_mistakes_and_warnings_of_a_blackbox_yml(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "blackbox.yml"
    file.write_text("modules: {a: {prober: tcp, tcp: {tls_config: {ca_file: /none}}}, b: {prober: icmp}}")

    assert EXIT_FINE == run(["check", "--blackbox", "blackbox.yml"])
    said = capsys.readouterr()
    assert "blackbox.yml: fine: 2 modules\n" == said.out
    assert 'warning: blackbox.yml:1: modules.a.tcp.tls_config.ca_file: no such file: "/none"\n' == said.err
