"""HTTP/2, which Debian's nginx speaks and our own little servers do not."""

import subprocess
import time

import pytest
from probing import outcome, probe_http
from servers import unused_port

from perfmon.network.tls import TlsConfig

CONFIG = """
worker_processes 1; pid {folder}/pid; error_log {folder}/error.log; daemon off;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
    uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
    server {{
        listen 127.0.0.1:{port} ssl http2;
        ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.key;
        location / {{ return 200 "hello"; }}
        location /cut {{ return 444; }}
    }}
}}
"""


@pytest.fixture(scope="module")
def nginx(binary, authority, tmp_path_factory):
    folder, port = tmp_path_factory.mktemp("nginx"), unused_port()
    leaf = authority.issue("localhost")
    leaf.private_key_pem.write_to_path(folder / "server.key")
    (folder / "server.pem").write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
    (folder / "nginx.conf").write_text(CONFIG.format(folder=folder, port=port))
    server = subprocess.Popen([binary("nginx"), "-c", folder / "nginx.conf", "-p", folder], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 5
    while not (folder / "pid").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    yield port
    server.terminate()
    server.wait()


@pytest.mark.servers
async def test_http_2_is_spoken_and_told(network, nginx, authority):
    config = {"tls_config": TlsConfig(ca_file=authority.file), "valid_http_versions": ["HTTP/2.0"]}
    measurement = await probe_http(network, f"https://localhost:{nginx}/", **config)

    assert "ok" == outcome(measurement), measurement.failure
    assert 2.0 == measurement.facts["probe_http_version"]
    assert 5 == measurement.facts["probe_http_uncompressed_body_length"]


@pytest.mark.servers
async def test_debug_tells_no_secret_of_http_2_either(network, nginx, authority):
    measurement = await probe_http(
        network,
        f"https://localhost:{nginx}/",
        tls_config=TlsConfig(ca_file=authority.file),
        bearer_token="s3cret",
        headers={"X-Api-Key": "k3y"},
        debug=True,
    )

    told = "\n".join(measurement.lines)
    assert "[HTTP/2]" in told
    assert "s3cret" not in told
    assert "k3y" not in told


@pytest.mark.servers
async def test_a_stream_that_is_cut_is_not_green(network, nginx, authority):
    measurement = await probe_http(
        network, f"https://localhost:{nginx}/cut", tls_config=TlsConfig(ca_file=authority.file)
    )

    assert outcome(measurement) in ("reset", "closed"), measurement.failure
