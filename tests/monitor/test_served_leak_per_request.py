"""Two services under the same uneven load, one that keeps memory for each request and one by the second, told apart."""

import subprocess
import sys
import threading
import time

import pytest
from daemon import eventually, get, perfmon

SERVICE = """
import http.server, sys, threading, time
requests, kept = 0, []
def keep():
    if len(kept) < 2000:  # 125 MiB
        kept.append(b"x" * 65536)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global requests
        if self.path == "/metrics":
            body = f"# TYPE work_requests_total counter\\nwork_requests_total {requests}\\n".encode()
        else:
            requests, body = requests + 1, b"done"
            keep() if sys.argv[1] == "requests" else None
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
def by_time():
    while True:
        time.sleep(0.05)
        keep()
if sys.argv[1] == "time":
    threading.Thread(target=by_time, daemon=True).start()
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""
MEMORY = "perfmon_process_private_memory_bytes"
BUSY_S, QUIET_S, PER_S = 3.0, 3.0, 30


@pytest.fixture
def services():
    """Process id and port of each, by what it leaks by."""
    started = {}
    for cause in ("requests", "time"):
        process = subprocess.Popen([sys.executable, "-c", SERVICE, cause], stdout=subprocess.PIPE, text=True)
        started[cause] = (process, int(process.stdout.readline()))
    yield {cause: (process.pid, port) for cause, (process, port) in started.items()}
    for process, _ in started.values():
        process.kill()
        process.communicate()


@pytest.fixture
def load(services):
    """Busy and quiet by turns, from one thread, so never more than one request at a time."""
    over = threading.Event()

    def ask():
        while not over.wait(QUIET_S):
            busy_until = time.monotonic() + BUSY_S
            while time.monotonic() < busy_until and not over.wait(1 / PER_S):
                for _, port in services.values():
                    get(f"http://127.0.0.1:{port}/work")

    thread = threading.Thread(target=ask)
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.mark.usefixtures("load")
def test_growth_by_request_and_growth_by_time_are_told_apart(services, tmp_path):
    config = ["samplers:"]
    for cause, (pid, port) in services.items():
        config += [
            f"  - {{name: memory-{cause}, interval: 100ms, process: {{groups: [{{name: {cause}, pid: {pid}}}]}}}}",
            f"  - name: page-{cause}",
            "    interval: 200ms",
            f"    prometheus: {{url: 'http://127.0.0.1:{port}/metrics', series: [work_requests_total]}}",
        ]
    config.append("rules:")
    for cause in services:
        counter = f"{{metric: perfmon_prometheus_counted_total, select: {{sampler: page-{cause}}}}}"
        leak = f"{{window: 24s, agree: 1, requests: {counter}}}"
        config.append(f"  - {{name: By_{cause}, metric: {MEMORY}, select: {{group: {cause}}}, leak: {leak}}}")
    file = tmp_path / "perfmon.yml"
    file.write_text("\n".join(config))

    with perfmon(tmp_path, f"--config.file={file}") as daemon:

        def found(cause):
            return daemon.metric("perfmon_leak_cause", rule=f"By_{cause}", cause=cause)

        eventually(lambda: found("requests") and found("time"), "both causes are found", within_s=50)
        each = daemon.metric("perfmon_leak_slope_bytes_per_request", rule="By_requests")
        assert 65536 == pytest.approx(each, rel=0.2)
