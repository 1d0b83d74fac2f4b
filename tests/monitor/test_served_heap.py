"""Two services whose memory grows alike, watched by a daemon: one that fragments its heap, one that keeps what it made."""

import subprocess
import sys

import pytest
from daemon import eventually, perfmon

SERVICE = """
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
MEMORY = "perfmon_process_private_memory_bytes"


@pytest.fixture
def services():
    """Process id and port of the page of each."""
    started = {}
    for how in ("fragments", "keeps"):
        process = subprocess.Popen([sys.executable, "-c", SERVICE, how], stdout=subprocess.PIPE, text=True)
        started[how] = (process, int(process.stdout.readline()))
    yield {how: (process.pid, port) for how, (process, port) in started.items()}
    for process, _ in started.values():
        process.kill()
        process.communicate()


def test_memory_that_is_free_and_cannot_be_given_back_is_told_from_what_is_kept(services, tmp_path):
    config = ["samplers:"]
    for how, (pid, port) in services.items():
        config += [
            f"  - {{name: {how}, interval: 100ms, process: {{groups: [{{name: {how}, pid: {pid}}}]}}}}",
            f"  - {{name: inside-{how}, interval: 200ms, python: {{url: 'http://127.0.0.1:{port}/metrics'}}}}",
        ]
    config.append("rules:")
    for how in services:
        leak = f"{{window: 20s, agree: 1, python: inside-{how}}}"
        config.append(f"  - {{name: It_{how}, metric: {MEMORY}, select: {{group: {how}}}, leak: {leak}}}")
    file = tmp_path / "perfmon.yml"
    file.write_text("\n".join(config))

    with perfmon(tmp_path, f"--config.file={file}") as daemon:

        def heap(how, course):
            return daemon.metric("perfmon_leak_heap", rule=f"It_{how}", heap=course)

        eventually(lambda: heap("fragments", "flat") and heap("keeps", "grows"), "they are told apart", within_s=50)
        alerts = eventually(lambda: len(daemon.alerts()) == 2 and daemon.alerts(), "both fire", within_s=20)
    words = {alert["labels"]["group"]: alert["why"] for alert in alerts}
    assert words["fragments"].endswith("): fragmentation or native memory, not Python objects")
    assert words["keeps"].endswith("): something is kept")
