"""`perfmon probe`, as a person types it."""

import asyncio
import json
import re
import signal
import sys

import pytest
from servers import LONG_AGO, answer, http, redirecting, serve, silent, unused_port


async def perfmon_probe(*arguments, interrupt_after_s=None):
    """(exit code, stdout, stderr) of the command at 80 columns."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "perfmon",
        "probe",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"COLUMNS": "80", "PATH": "/usr/bin:/bin"},
    )
    if interrupt_after_s is not None:
        await asyncio.sleep(interrupt_after_s)
        process.send_signal(signal.SIGINT)
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


@pytest.fixture
def config_file(tmp_path, authority):
    path = tmp_path / "perfmon.yml"
    path.write_text(
        f"modules:\n  shop: {{prober: http, timeout: 2s, http: {{tls_config: {{ca_file: {authority.file}}}}}}}\n"
    )
    return str(path)


async def test_success_shows_phases_status_and_address():
    async with serve(http(answer())) as port:
        code, out, err = await perfmon_probe(f"http://127.0.0.1:{port}/")

    assert (0, "") == (code, err)
    assert out.startswith(f"ok  http://127.0.0.1:{port}/")
    shown = [line.split()[0] for line in out.splitlines() if line.startswith("  ")]
    phases = ["resolve", "connect", "request", "processing", "transfer", "total"]
    assert [*phases, "address", "status", "body"] == shown
    assert "200 (HTTP/1.1)" in out
    assert max(map(len, out.splitlines())) < 80, "neither wrapped nor filled up to the width"


async def test_what_a_server_sends_commands_no_terminal():
    evil = b"\x1b[2J\x1b]0;owned\x07\xc2\x9b31m"
    named = answer(evil, status=404).replace(b"\r\n", b"\r\nX-Name: " + evil + b"\r\n", 1)
    async with serve(http(named)) as port:
        _, out, err = await perfmon_probe(f"http://127.0.0.1:{port}/", "--debug")

    assert "\\x1b[2J" in out
    assert "\\x1b[2J" in err
    assert not {"\x1b", "\x07", "\x9b"} & set(out + err)


async def test_a_refused_connection_is_said_in_words():
    port = unused_port()
    code, out, _ = await perfmon_probe(f"127.0.0.1:{port}")

    assert 99 == code
    assert out.startswith(f"FAILED  127.0.0.1:{port}")
    assert "connect_refused in connect" in out
    assert f"connection refused by 127.0.0.1:{port}" in out


async def test_a_timeout_shows_the_phase_in_which_it_happened():
    async with serve(silent) as port:
        code, out, _ = await perfmon_probe(f"http://127.0.0.1:{port}/", "--timeout", "200ms")

    assert 99 == code
    assert "timeout in processing" in out
    assert re.search(rf"no answer from 127\.0\.0\.1:{port} after (19\d|20\d)ms", out), out


async def test_a_wrong_status_shows_the_answer():
    async with serve(http(answer(b"the database is gone", status=503))) as port:
        code, out, _ = await perfmon_probe(f"http://127.0.0.1:{port}/")

    assert 99 == code
    assert "status 503, expected 2xx" in out
    assert "answer     the database is gone" in out


async def test_redirects_are_counted():
    async with serve(http(redirecting(2))) as port:
        code, out, _ = await perfmon_probe(f"http://127.0.0.1:{port}/0")

    assert 0 == code
    assert "redirects  2" in out


async def test_a_certificate_is_shown(authority, config_file):
    async with serve(http(answer()), tls=authority.context("localhost", "shop.example")) as port:
        code, out, _ = await perfmon_probe(f"https://localhost:{port}/", "--module", "shop", "--config", config_file)

    assert 0 == code
    assert "protocol   TLS 1.3" in out
    assert "names      localhost, shop.example" in out
    assert "issuer     OU=Testing CA" in out
    assert "(2100-01-01 00:00 UTC)" in out


async def test_an_expired_certificate_is_shown_all_the_same(authority, config_file):
    async with serve(http(answer()), tls=authority.context("localhost", until=LONG_AGO)) as port:
        code, out, _ = await perfmon_probe(f"https://localhost:{port}/", "--module", "shop", "--config", config_file)

    assert 99 == code
    assert "tls_expired in tls" in out
    assert f"certificate of localhost:{port} expired on 2020-01-01" in out
    assert "days ago (2020-01-01 00:00 UTC)" in out


async def test_many_runs_are_lines_and_a_summary():
    replies = iter([answer(), answer(status=500), answer(), answer()])
    async with serve(http(lambda _request: next(replies))) as port:
        code, out, _ = await perfmon_probe(f"http://127.0.0.1:{port}/", "--count", "4", "--interval", "10ms")

    lines = out.splitlines()
    assert 99 == code
    assert ["ok", "FAIL", "ok", "ok"] == [line.split()[1] for line in lines[:4]]
    assert "4 runs, 3 ok, 1 failed" in lines
    assert "      1  status in processing" in lines
    assert lines[-1].endswith("(n = 3)")
    assert ["min", "mean", "p50", "p95", "max"] == [word for word in lines[-1].split() if word[0] in "mp"]


async def test_ctrl_c_prints_the_summary():
    async with serve(http(answer())) as port:
        code, out, _ = await perfmon_probe(
            f"http://127.0.0.1:{port}/", "--count", "1000", "--interval", "50ms", interrupt_after_s=1.5
        )

    assert 105 == code
    assert " ok, 0 failed" in out


async def test_json_is_one_object_a_run():
    async with serve(http(answer(status=503))) as port:
        code, out, _ = await perfmon_probe(f"http://127.0.0.1:{port}/", "--json", "--count", "2", "--interval", "1ms")

    runs = [json.loads(line) for line in out.splitlines()]
    assert 99 == code
    assert [False, False] == [run["success"] for run in runs]
    assert "status" == runs[0]["failure"]["reason"]
    assert 503 == runs[0]["facts"]["probe_http_status_code"]
    assert "127.0.0.1" == runs[0]["address"]
    assert abs(sum(runs[0]["phases"].values()) - runs[0]["duration_s"]) < 1e-9


async def test_numbers_that_the_target_says_are_shown(tmp_path):
    path = tmp_path / "perfmon.yml"
    path.write_text(
        "modules:\n  jobs: {prober: exec, exec: {command: [printf, 'jobs{queue=\"mail\"} 5\\n'], output: prometheus}}\n"
    )

    code, out, _ = await perfmon_probe("here", "--module", "jobs", "--config", str(path))

    assert (0, "value jobs mail 5") == (code, " ".join(out.splitlines()[-1].split()))


async def test_debug_goes_to_stderr():
    async with serve(http(answer())) as port:
        _, out, err = await perfmon_probe(f"http://127.0.0.1:{port}/", "--debug")

    assert "< HTTP/1.1 200 Whatever" in err
    assert "HTTP/1.1 200 Whatever" not in out


async def test_explain_shows_all_of_it_within_80_columns(config_file):
    async with serve(http(redirecting(1))) as port:
        code, out, err = await perfmon_probe(f"http://127.0.0.1:{port}/0", "--explain")

    titles = [line for line in out.splitlines() if line and not line.startswith((" ", "ok  "))]
    assert (0, "") == (code, err)
    expected = ["time", "hop 1 of 2", "hop 2 of 2", "metrics", "module"]
    assert expected == [title for title in titles if title != "expected"]
    assert "  < HTTP/1.1 302 Whatever" in out
    assert "  probe_http_redirects 1" in out
    assert max(map(len, out.splitlines())) <= 80
    assert [] == [line for line in out.splitlines() if line != line.rstrip()]


async def test_long_words_are_folded_below_themselves():
    async with serve(http(answer(b"x" * 150 + b"\nend", status=503))) as port:
        _, out, _ = await perfmon_probe(f"http://127.0.0.1:{port}/")

    lines = out.splitlines()
    first = lines.index("  answer     " + "x" * 67)
    assert [" " * 13 + "x" * 67, " " * 13 + "x" * 16, " " * 13 + "end"] == lines[first + 1 : first + 4]


async def test_explain_as_json_is_the_whole_explanation():
    async with serve(http(answer(status=503))) as port:
        code, out, _ = await perfmon_probe(f"http://127.0.0.1:{port}/", "--explain", "--json")

    explained = json.loads(out)
    assert 99 == code
    assert ("http_2xx", "status") == (explained["module"], explained["failure"]["reason"])
    assert {"timed", "exchange"} <= {step["step"] for step in explained["steps"]}
    assert "probe_success 0" in explained["metrics"]
    assert "prober: http\ntimeout: 5s" == explained["config"]


async def test_a_prober_that_needs_no_settings_needs_no_file():
    async with serve(silent) as port:
        code, out, _ = await perfmon_probe(f"127.0.0.1:{port}", "--module", "tls", "--timeout", "200ms")

    assert (99, "timeout in tls") == (code, " ".join(out.splitlines()[0].split()[-3:]))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["127.0.0.1", "--module", "dns"], 'dns needs settings ("query_name" is missing)'),
        (["127.0.0.1:5432", "--module", "postgres"], "postgres needs settings (username: "),
        (["ftp://127.0.0.1/"], "expected an http or https URL"),
        (["http://127.0.0.1/", "--module", "htp_2xx"], 'did you mean "http_2xx"?'),
        (["http://127.0.0.1/", "--timeout", "soon"], 'got "soon"'),
        (["http://127.0.0.1/", "--count", "0"], "--count"),
        (["http://127.0.0.1/", "--config", "/nonexistent.yml"], "/nonexistent.yml"),
        ([], "Missing argument"),
    ],
)
async def test_bad_usage_exits_with_104(arguments, words):
    code, out, err = await perfmon_probe(*arguments)

    assert (104, "") == (code, out)
    assert words in err


async def test_a_verdict_that_is_too_long_for_a_line_has_its_cause_below():
    address = f"http://127.0.0.1:{unused_port()}/{'long' * 10}"

    _, out, _ = await perfmon_probe(address)

    first, second, *_ = out.splitlines()
    assert first.startswith(f"FAILED  {address}  ")
    assert "  connect_refused in connect" == second


async def test_a_flow_shows_its_steps(tmp_path):
    path = tmp_path / "perfmon.yml"
    path.write_text(
        "modules:\n  buy:\n    prober: flow\n    flow:\n"
        "      steps: [{name: log in, request: {url: /}}, {name: pay, request: {url: /pay}}]\n"
        "      cleanup: [{name: log out, request: {url: /}}]\n"
    )
    async with serve(http(lambda request: answer(status=500 if request.path == "/pay" else 200))) as port:
        code, out, _ = await perfmon_probe(f"http://127.0.0.1:{port}", "--module", "buy", "--config", str(path))

    assert 99 == code
    assert ["200", "500", "200"] == [re.split(r"\s+", shown_of(out, name))[-2] for name in ("log in", "pay", "log out")]
    assert max(map(len, out.splitlines())) <= 80


def shown_of(out, name):
    return next(line.strip() for line in out.splitlines() if line.strip().startswith(f"{name} "))


async def test_a_password_of_the_address_is_not_shown():
    for arguments in ([], ["--json"], ["--explain"], ["--json", "--explain"]):
        _, out, err = await perfmon_probe(f"http://me:hunter2@127.0.0.1:{unused_port()}/", *arguments)

        assert "<secret>@127.0.0.1" in out
        assert "hunter2" not in out + err
