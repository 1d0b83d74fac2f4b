"""Four services that leak, under one daemon: what each leaks by, and whether it is a leak, is told.

One fragments its heap and one keeps what it made, so their memory grows alike; under the same uneven load one keeps memory for
each request, and one by the second.
"""

import contextlib
import subprocess
import sys
import threading
import time

import pytest
from daemon import eventually, get, perfmon

OF_ITSELF = """
import sys, time
from perfmon.instrument import python
page = python.serve(0)
print(page.port, flush=True)
# Buffers that are cut down to what they hold: what is left between them is free, and each one that comes is larger than
# all that is free. The newest is cut when the next one stands behind it, so that nothing goes back to the kernel.
kept, before = [], bytearray()
for number in range(2000):  # 110 MiB at most
    newest = bytearray(b"x") * (49_152 + 16 * number)
    if sys.argv[1] == "fragments":
        del before[256:]
    kept.append(before)
    before = newest
    time.sleep(0.02)
time.sleep(60)
"""
UNDER_LOAD = """
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
PROGRAMS = {"fragments": OF_ITSELF, "keeps": OF_ITSELF, "requests": UNDER_LOAD, "time": UNDER_LOAD}
BUSY_S, QUIET_S, PER_S = 2.0, 2.0, 30


@pytest.fixture(scope="module")
def services():
    """Process id and port of each, by how it leaks."""
    with contextlib.ExitStack() as stack:
        started = {}
        for how, program in PROGRAMS.items():
            process = stack.enter_context(
                subprocess.Popen([sys.executable, "-c", program, how], stdout=subprocess.PIPE, text=True)
            )
            stack.callback(process.kill)
            started[how] = (process.pid, int(process.stdout.readline()))
        yield started


@pytest.fixture(scope="module")
def load(services):
    """Busy and quiet by turns, from one thread, so never more than one request at a time."""
    over = threading.Event()

    def ask():
        while not over.wait(QUIET_S):
            busy_until = time.monotonic() + BUSY_S
            while time.monotonic() < busy_until and not over.wait(1 / PER_S):
                for how in ("requests", "time"):
                    get(f"http://127.0.0.1:{services[how][1]}/work")

    thread = threading.Thread(target=ask)
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.fixture(scope="module")
def daemon(services, load, tmp_path_factory):
    folder = tmp_path_factory.mktemp("daemon")
    file = folder / "perfmon.yml"
    file.write_text("\n".join(["samplers:", *samplers(services), "rules:", *rules()]))
    with perfmon(folder, f"--config.file={file}") as running:
        yield running


def samplers(services):
    for how, (pid, port) in services.items():
        page = f"'http://127.0.0.1:{port}/metrics'"
        yield f"  - {{name: memory-{how}, interval: 100ms, process: {{groups: [{{name: {how}, pid: {pid}}}]}}}}"
        if PROGRAMS[how] is OF_ITSELF:
            yield f"  - {{name: page-{how}, interval: 200ms, python: {{url: {page}}}}}"
        else:
            series = f"{{url: {page}, series: [work_requests_total]}}"
            yield f"  - {{name: page-{how}, interval: 200ms, prometheus: {series}}}"


def rules():
    for how, program in PROGRAMS.items():
        counter = f"{{metric: perfmon_prometheus_counted_total, select: {{sampler: page-{how}}}}}"
        beside = f"python: page-{how}" if program is OF_ITSELF else f"requests: {counter}"
        leak = f"{{window: 20s, agree: 1, {beside}}}"
        yield f"  - {{name: It_{how}, metric: {MEMORY}, select: {{group: {how}}}, leak: {leak}}}"


def test_memory_that_is_free_and_cannot_be_given_back_is_told_from_what_is_kept(daemon):
    def heap(how, course):
        return daemon.metric("perfmon_leak_heap", rule=f"It_{how}", heap=course)

    def fired():
        found = {alert["labels"]["group"]: alert["why"] for alert in daemon.alerts()}
        return found.keys() >= {"fragments", "keeps"} and found

    eventually(lambda: heap("fragments", "flat") and heap("keeps", "grows"), "they are told apart", within_s=50)
    words = eventually(fired, "both fire", within_s=30)
    assert words["fragments"].endswith("): fragmentation or native memory, not Python objects")
    assert words["keeps"].endswith("): something is kept")


def test_growth_by_request_and_growth_by_time_are_told_apart(daemon):
    def found(cause):
        return daemon.metric("perfmon_leak_cause", rule=f"It_{cause}", cause=cause)

    eventually(lambda: found("requests") and found("time"), "both causes are found", within_s=60)
    each = daemon.metric("perfmon_leak_slope_bytes_per_request", rule="It_requests")
    assert 65536 == pytest.approx(each, rel=0.2)
