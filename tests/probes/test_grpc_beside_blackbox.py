"""The grpc probe beside Debian's blackbox_exporter: the same modules, the same server, the same verdicts and gauges."""

import re
import subprocess
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from servers import unused_port

from perfmon import measure
from perfmon.clock import SystemClock
from perfmon.config import load
from perfmon.model import Target

pytestmark = pytest.mark.servers

MODULES = """
modules:
  plain: {{prober: grpc, grpc: {{preferred_ip_protocol: ip4}}}}
  serving: {{prober: grpc, grpc: {{preferred_ip_protocol: ip4, service: shop}}}}
  not_serving: {{prober: grpc, grpc: {{preferred_ip_protocol: ip4, service: cart}}}}
  gone: {{prober: grpc, grpc: {{preferred_ip_protocol: ip4, service: gone}}}}
  tls: {{prober: grpc, grpc: {{preferred_ip_protocol: ip4, tls: true, tls_config: {{ca_file: {roots}}}}}}}
  tls_unverified: {{prober: grpc, grpc: {{preferred_ip_protocol: ip4, tls: true, tls_config: {{insecure_skip_verify: true}}}}}}
"""
EXPIRY = "probe_ssl_earliest_cert_expiry"
GAUGES = ("probe_success", "probe_grpc_status_code", "probe_grpc_ssl", "probe_grpc_healthcheck_response", "probe_ip_protocol", "probe_ip_addr_hash", EXPIRY, "probe_tls_version_info")  # fmt: skip


@pytest.fixture(scope="module")
def servers(authority):
    """Ports by name: a healthy server, the same with TLS, one without the health service, and nobody."""
    leaf = authority.issue("localhost")
    chain = b"".join(pem.bytes() for pem in leaf.cert_chain_pems)
    with ThreadPoolExecutor(4) as threads:
        healthy, bare = grpc.server(threads), grpc.server(threads)
        servicer = health.HealthServicer()
        servicer.set("shop", health_pb2.HealthCheckResponse.SERVING)
        servicer.set("cart", health_pb2.HealthCheckResponse.NOT_SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, healthy)
        ports = {
            "healthy": healthy.add_insecure_port("127.0.0.1:0"),
            "tls": healthy.add_secure_port(
                "127.0.0.1:0", grpc.ssl_server_credentials([(leaf.private_key_pem.bytes(), chain)])
            ),
            "bare": bare.add_insecure_port("127.0.0.1:0"),
            "nobody": unused_port(),
        }
        healthy.start()
        bare.start()
        yield ports
        healthy.stop(0).wait()
        bare.stop(0).wait()


@pytest.fixture(scope="module")
def modules(authority, tmp_path_factory):
    file = tmp_path_factory.mktemp("blackbox") / "blackbox.yml"
    file.write_text(MODULES.format(roots=authority.file))
    return file


@pytest.fixture(scope="module")
def blackbox(binary, modules):
    """`blackbox(module, target)` gives the gauges of a probe of blackbox_exporter's."""
    port = unused_port()
    command = [
        binary("prometheus-blackbox-exporter"), f"--config.file={modules}", f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]  # fmt: skip
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def get(path):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
            return response.read().decode()

    def probe(module, target):
        found = re.findall(
            r"^(probe_\w+(?:\{.*\})?) (\S+)$", get(f"/probe?module={module}&target={target}"), re.MULTILINE
        )
        return {name: float(value) for name, value in found if name.partition("{")[0] in GAUGES}

    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            get("/-/healthy")
            break
        except OSError:
            time.sleep(0.05)
    yield probe
    running.terminate()
    running.wait()


@pytest.mark.parametrize(
    "case",
    [
        ("plain", "healthy"),
        ("serving", "healthy"),
        ("not_serving", "healthy"),
        ("gone", "healthy"),
        ("plain", "bare"),
        ("plain", "nobody"),
        ("plain", "tls"),
        ("tls", "tls"),
        ("tls", "healthy"),
        ("tls", "nobody"),
        ("tls_unverified", "tls"),
    ],
)
async def test_both_say_the_same(network, servers, modules, blackbox, case):
    module, server = case
    address = f"localhost:{servers[server]}"
    theirs = blackbox(module, address)
    if theirs["probe_grpc_ssl"] == 0:
        theirs.pop(EXPIRY, None)  # 0.23 exports one of 0 without TLS, later releases do not
    ours = await measure.probe(
        Target(probe="test", address=address), load([modules]).modules[module], clock=SystemClock(), network=network
    )

    gauges = {name: value for name, value in ours.facts.items() if name.partition("{")[0] in GAUGES}
    assert theirs == gauges | {"probe_success": float(ours.success)}, ours.failure
