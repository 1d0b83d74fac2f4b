"""The tcp probe beside Debian's blackbox_exporter 0.23: the same modules, the same servers, the same answers."""

import asyncio
import contextlib
import ssl
import subprocess
import time
import urllib.request
from urllib.parse import urlencode

import pytest
import yaml
from daemon import free_port
from probing import probe_tcp
from servers import answer, closing, http, serve, silent, unused_port

from perfmon.network.query_response import QueryResponse
from perfmon.network.tls import TlsConfig

pytestmark = pytest.mark.servers

SSH = "^SSH-2.0-([^ -]+)(?: (.*))?$"
COMPARED = (
    "probe_success",
    "probe_failed_due_to_regex",
    "probe_ip_protocol",
    "probe_ip_addr_hash",
    "probe_ssl_earliest_cert_expiry",
)


def saying(*texts, heard):
    """A server that sends a text, hears a line, sends the next one, and keeps all that it heard."""

    async def handle(reader, writer):
        for number, text in enumerate(texts):
            if number:
                heard.append(await reader.readline())
            writer.write(text)
            await writer.drain()
        writer.write_eof()
        heard.append(await reader.read())

    return handle


# Name, what the server says, and the entries of query_response.
DIALOGUES = {
    "c05_irc": ([b":a NOTICE AUTH :***\n:a 001 gopher\n"], [{"send": "NICK x"}, {"send": "USER x x x :x"}, {"expect": "^:[^ ]+ 001"}]),
    "c07_ssh": ([b"SSH-2.0-OpenSSH_6.9p1 Debian-2\n", b""], [{"expect": SSH, "send": "CONFIRM ${1}"}]),
    "c08_groups": (
        [b"SSH-2.0-OpenSSH_6.9p1 Debian-2\n", b""],
        [{"expect": SSH, "send": "got ${1} here, ${1} on ${2}"}],
    ),
    "missing_group": ([b"SSH-2.0-dropbear\n", b""], [{"expect": SSH, "send": "<${1}|${2}|${3}>"}]),
    "templates": (
        [b"key=value\n", b""],
        [{"expect": "^(?P<name>[a-z]+)=(.*)$", "send": "$name ${name} $1 $1x ${1}x $2$ $$1 ${ $01 ${9} $- end$"}],
    ),
    "nothing_left_to_send": ([b"SSH-2.0-dropbear\n"], [{"expect": SSH, "send": "${2}"}]),
    "no_expect_no_template": ([b""], [{"send": "costs $1"}]),
    "c11_no_word": ([b""], [{"expect": "^220"}]),
    "no_match": ([b"one\r\ntwo\r\n"], [{"expect": "^220"}]),
    "last_line_without_end": ([b"220 ready"], [{"expect": "^220 ready$"}]),
    "carriage_return": ([b"220 ready\r\r\n"], [{"expect": "^220 ready\r$"}]),
    "empty_line": ([b"\n\n220\n"], [{"expect": "^$"}, {"expect": "^220$"}]),
    "not_utf8": ([b"\xff\xfe 220 ready\n", b""], [{"expect": "^.. 220 (.*)$", "send": "${1}"}]),
    "long_line": ([b"x" * 100_000 + b"\n220\n"], [{"expect": "^220$"}]),
    "longest_line": ([b"x" * 65_000 + b"\n220\n"], [{"expect": "^220$"}]),
}  # fmt: skip


@pytest.fixture(scope="module")
def blackbox(binary, authority, tmp_path_factory):
    """Ask it: `blackbox(module, target)` gives its metrics."""
    modules = {
        name: {"prober": "tcp", "timeout": "2s", "tcp": {"preferred_ip_protocol": "ip4", "query_response": entries}}
        for name, (_, entries) in DIALOGUES.items()
    }
    modules["connect"] = {"prober": "tcp", "timeout": "300ms", "tcp": {"preferred_ip_protocol": "ip4"}}
    modules["hears"] = {"prober": "tcp", "timeout": "300ms", "tcp": {"query_response": [{"expect": "^220"}]}}
    modules["tls"] = {"prober": "tcp", "timeout": "2s", "tcp": {"tls": True, "tls_config": {"ca_file": authority.file}}}
    folder = tmp_path_factory.mktemp("blackbox")
    (folder / "blackbox.yml").write_text(yaml.safe_dump({"modules": modules}))
    port = free_port()
    with (folder / "log").open("w") as log:
        child = subprocess.Popen(
            [
                binary("prometheus-blackbox-exporter"),
                f"--config.file={folder}/blackbox.yml",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stderr=log,
        )
    try:
        wait_until_healthy(port, child)
        yield lambda module, target: ask(port, module, target)
    finally:
        child.terminate()
        child.wait()


def wait_until_healthy(port, child):
    for _ in range(100):
        assert child.poll() is None, "blackbox_exporter ended"
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/-/healthy", timeout=1):
            return
        time.sleep(0.05)
    pytest.fail("blackbox_exporter does not come up")


def ask(port, module, target):
    query = urlencode({"module": module, "target": target})
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/probe?{query}", timeout=5) as page:
        lines = page.read().decode().splitlines()
    return {key: float(value) for key, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def comparable(metrics):
    """What must be the same."""
    return {key: metrics[key] for key in metrics if key in COMPARED or key.startswith("probe_tls_version_info")}


def said_by(measurement):
    return comparable({"probe_success": float(measurement.success), **measurement.facts})


@pytest.mark.parametrize("name", DIALOGUES)
async def test_dialogues_end_alike(network, blackbox, name):
    texts, entries = DIALOGUES[name]
    entries = [QueryResponse(**entry) for entry in entries]
    ours, theirs = [], []
    async with serve(saying(*texts, heard=ours)) as port:
        measurement = await probe_tcp(network, f"127.0.0.1:{port}", query_response=entries, preferred_ip_protocol="ip4")
        await asyncio.sleep(0.02)
    async with serve(saying(*texts, heard=theirs)) as port:
        expected = await asyncio.to_thread(blackbox, name, f"127.0.0.1:{port}")
        await asyncio.sleep(0.02)

    assert comparable(expected) == said_by(measurement)
    assert theirs == ours


@pytest.mark.parametrize("module", ["connect", "hears"])
async def test_servers_that_do_not_play_end_alike(network, blackbox, module):
    entries = [QueryResponse(expect="^220")] if module == "hears" else []
    async with serve(closing) as closed, serve(silent) as mute:
        for target in (f"127.0.0.1:{closed}", f"127.0.0.1:{mute}", f"127.0.0.1:{unused_port()}", ":0"):
            expected = await asyncio.to_thread(blackbox, module, target)
            measurement = await probe_tcp(network, target, query_response=entries, timeout_s=0.3)

            assert expected["probe_success"] == float(measurement.success), target
            assert expected["probe_failed_due_to_regex"] == measurement.facts["probe_failed_due_to_regex"], target


async def test_certificates_are_told_alike(network, blackbox, authority):
    context = authority.context("localhost")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with serve(http(answer()), tls=context) as port:
        for host in ("localhost", "127.0.0.1"):
            expected = await asyncio.to_thread(blackbox, "tls", f"{host}:{port}")
            measurement = await probe_tcp(
                network, f"{host}:{port}", tls=True, tls_config=TlsConfig(ca_file=authority.file)
            )
            common = comparable(expected).items() & said_by(measurement).items()

            assert expected["probe_success"] == float(measurement.success)
            # Certificates that are refused are told by perfmon alone.
            assert comparable(expected).items() - common <= {("probe_ip_protocol", 4.0)}
