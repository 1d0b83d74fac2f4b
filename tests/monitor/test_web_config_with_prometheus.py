"""A real daemon behind a web-config.yml: Debian's Prometheus scrapes it, promtool and perfmon agree on files."""

import json
import ssl
import subprocess
import sys
import urllib.request

import bcrypt
import pytest
import trustme
from daemon import eventually, free_port
from stack import Prometheus, running
from web_files import PASSWORD, WebFiles

HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
DEMANDED = {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "ca.pem"}
STRICT = {**DEMANDED, "client_allowed_sans": ["scraper@shop.example"]}  # younger than Debian's promtool
GOOD = {
    "tls": {"tls": {}},
    "client certificate": {"tls": DEMANDED},
    "ciphers": {"tls": {"cipher_suites": ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"], "curve_preferences": ["X25519"]}},
    "versions": {"tls": {"min_version": "TLS10", "max_version": "TLS12", "prefer_server_cipher_suites": False}},
    "users": {"basic_auth_users": {"ann": HASH}},
    "headers": {"http_server_config": {"http2": False, "headers": {"X-Frame-Options": "deny"}}},
}
BAD = {
    "key of another": {"tls": {"key_file": "client.key"}},
    "no such file": {"tls": {"cert_file": "nowhere.pem"}},
    "no key": {"tls_server_config": {"cert_file": "server.pem"}},
    "authority without demand": {"tls": {"client_ca_file": "ca.pem"}},
    "version": {"tls": {"min_version": "SSL3"}},
    "curve": {"tls": {"curve_preferences": ["brainpool"]}},
    "cipher": {"tls": {"cipher_suites": ["ECDHE-RSA-AES128-SHA"]}},
    "plain password": {"basic_auth_users": {"ann": "hunter2"}},
    "header": {"http_server_config": {"headers": {"X-Mine": "a"}}},
    "value of header": {"http_server_config": {"headers": {"X-Frame-Options": "no"}}},
    "section": {"tls_config": {}},
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return WebFiles(tmp_path_factory.mktemp("web"))


def perfmon(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "perfmon", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.servers
def test_promtool_and_perfmon_agree_on_files(files, binary):
    from perfmon.errors import ConfigError
    from perfmon.monitor.web_config import WebConfig

    def said(written):
        path = files.write(**written)
        try:
            WebConfig(str(path))
        except ConfigError:
            return "bad"
        return "good"

    def promtool_says(written):
        command = [binary("promtool"), "check", "web-config", files.write(**written)]
        done = subprocess.run(command, capture_output=True, timeout=20, check=False)
        return "bad" if done.returncode else "good"

    both = {name: (said(written), promtool_says(written)) for name, written in {**GOOD, **BAD}.items()}
    assert dict.fromkeys(GOOD, ("good", "good")) | dict.fromkeys(BAD, ("bad", "bad")) == both


def test_perfmon_check_reads_it_alone_and_beside_a_config(files, tmp_path):
    path = files.write(tls={"key_file": "client.key"})
    config = tmp_path / "perfmon.yml"
    config.write_text(
        f"web: {{config_file: {path}}}\nprobes: [{{name: a, module: tcp_connect, targets: ['127.0.0.1:1']}}]\n"
    )

    expected = f"{path}:2: tls_server_config.cert_file: is no certificate with its key: key values mismatch"
    alone, beside = perfmon("check", "--web.config.file", path), perfmon("check", config)
    assert (104, 104) == (alone[0], beside[0])
    assert expected in alone[1]
    assert expected in beside[1]
    assert (0, f"{path}: fine\n") == perfmon("check", "--web.config.file", files.write(tls={}))


# ---------------------------------------------------------------- one daemon


@pytest.fixture(scope="module")
def daemon(files):
    """Behind TLS, a client's certificate and a password; its address."""
    files.write(tls=STRICT, basic_auth_users={"ann": HASH})
    address, log = f"127.0.0.1:{free_port()}", files.folder / "perfmon.log"
    command = [sys.executable, "-m", "perfmon", "serve", "http://127.0.0.1:1/", "--state.path=", "--log.format=json"]
    command += [f"--web.listen-address={address}", f"--web.config.file={files.path}"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        eventually(lambda: "watching" in log.read_text(), "perfmon watches")
        yield address
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.servers
def test_prometheus_scrapes_with_certificate_and_password(files, daemon, binary, tmp_path):
    (tmp_path / "password").write_text(PASSWORD)
    job = {
        "scheme": "https",
        "tls_config": {
            "ca_file": f"{files.folder}/ca.pem",
            "cert_file": f"{files.folder}/client.pem",
            "key_file": f"{files.folder}/client.key",
        },
        "basic_auth": {"username": "ann", "password_file": str(tmp_path / "password")},
        "static_configs": [{"targets": [daemon]}],
    }
    jobs = [
        {**job, "job_name": "good"},
        {**job, "job_name": "no_password", "basic_auth": {"username": "ann", "password": "wrong"}},
        {**job, "job_name": "no_certificate", "tls_config": {"ca_file": f"{files.folder}/ca.pem"}},
    ]
    (tmp_path / "prometheus.yml").write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}))
    url = f"http://127.0.0.1:{free_port()}"
    command = [binary("prometheus"), f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
    command += [f"--web.listen-address={url.removeprefix('http://')}"]

    with running(command, tmp_path / "prometheus.log", ready=f"{url}/-/ready"):
        prometheus = Prometheus(url, tmp_path / "prometheus.log")

        def targets():
            known = prometheus.api("targets")["activeTargets"]
            return all(one["health"] != "unknown" for one in known) and {one["labels"]["job"]: one for one in known}

        seen = eventually(targets, "all were scraped")
        assert 0 < eventually(lambda: prometheus.value('scrape_samples_scraped{job="good"}'), "samples")

    assert {"good": "up", "no_password": "down", "no_certificate": "down"} == {
        job: one["health"] for job, one in seen.items()
    }
    assert "401" in seen["no_password"]["lastError"]
    assert "tls" in seen["no_certificate"]["lastError"]


def test_healthcheck_brings_what_is_demanded(files, daemon, monkeypatch):
    monkeypatch.setenv("HEALTH", PASSWORD)
    own = ["--cert-file", files.folder / "client.pem", "--key-file", files.folder / "client.key"]
    user = ["--username", "ann", "--password", "${env:HEALTH}"]
    asked = ["healthcheck", "--timeout", "20s", "--url", f"https://{daemon}/-/healthy"]

    assert (0, "Healthy\n") == perfmon(*asked, "--ca-file", files.folder / "ca.pem", *own, *user)
    assert (0, "Healthy (the server's certificate was not verified)\n") == perfmon(*asked, "--insecure", *own, *user)
    assert (1, "perfmon: unhealthy: 401 a user and a password are needed\n") == perfmon(*asked, "--insecure", *own)
    code, said = perfmon(*asked, *own, *user)
    assert 1 == code
    assert "certificate verify failed" in said


def test_alerts_are_told_to_whom_it_lets_in(files, daemon, monkeypatch):
    monkeypatch.setenv("ANN", PASSWORD)
    source = ["--url", f"https://{daemon}/", "--ca-file", files.folder / "ca.pem"]
    source += ["--cert-file", files.folder / "client.pem", "--key-file", files.folder / "client.key"]
    user = ["--username", "ann", "--password", "${env:ANN}"]

    assert 0 == perfmon("alerts", *source, *user)[0]
    code, explained = perfmon("alerts", *source, *user, "explain", "Nope")
    assert (104, True) == (code, "alert" in explained)
    code, refused = perfmon("alerts", *source)
    assert 1 == code
    assert "answered 401: a user and a password are needed (--username, --password)" in refused


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--url", "https://perfmon.example/", "--insecure"], "--insecure trusts anybody"),
        (["--username", "ann", "--password", "hunter2"], "--password: expected a reference"),
        (["--username", "ann", "--password", "${env:NOT_SET}"], 'the environment variable "NOT_SET" is not set'),
        (["--username", "ann"], "expected both --username and --password"),
        (["--ca-file", "/nowhere"], "cannot use /nowhere: no such file or directory"),
        (["--key-file", "a"], "--key-file is the key of a --cert-file"),
    ],
)
def test_healthcheck_refuses_what_makes_no_sense(arguments, expected):
    from click.testing import CliRunner

    from perfmon.commands.healthcheck import command
    from perfmon.errors import UsageError

    said = CliRunner().invoke(command, arguments).exception
    assert isinstance(said, UsageError)
    assert expected in str(said)
    assert "hunter2" not in str(said)


def test_who_has_all_of_it_reads_the_page(files, daemon):
    trust = files.client(certificate="client")
    request = urllib.request.Request(f"https://{daemon}/", headers={"Authorization": "Basic YW5uOmNvcnJlY3QgaG9yc2U="})
    with urllib.request.urlopen(request, timeout=20, context=trust) as answer:
        assert "<title>perfmon" in answer.read().decode()


def test_a_stranger_ends_in_the_handshake(files, daemon):
    files.issue("stranger", "scraper@shop.example", authority=trustme.CA())
    with pytest.raises((ssl.SSLError, OSError)):
        urllib.request.urlopen(f"https://{daemon}/", timeout=20, context=files.client(certificate="stranger"))


def test_the_example_is_what_perfmon_and_its_document_say():
    from test_docs import ROOT

    from perfmon.config.web_file import HttpServer, RateLimit, TlsServer, WebFile, read

    example = ROOT / "deploy" / "examples" / "web-config.yml"
    said = (ROOT / "docs" / "web.md").read_text()

    assert ["prometheus"] == list(read(example.read_bytes(), str(example)).file.basic_auth_users)
    for struct in (WebFile, TlsServer, HttpServer, RateLimit):
        assert [] == [
            name for name in struct.__struct_fields__ if f"`{name}`" not in said and f"`  {name}`" not in said
        ]
