"""A process that leaks, watched by the daemon: verdict, gauges, alert; and all of it goes on after a restart."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from daemon import eventually, perfmon

LEAKY = """
import time
kept = []
for _ in range(1200):  # 240 MB at most
    kept.append(bytearray(b"x" * 200_000))
    time.sleep(0.05)
"""
RSS = "perfmon_process_resident_memory_bytes"


@pytest.fixture
def leaky():
    with subprocess.Popen([sys.executable, "-c", LEAKY]) as process:
        yield process.pid
        process.kill()


def test_a_leaking_process_is_told_of_and_still_is_after_a_restart_of_perfmon(leaky, tmp_path):
    file = tmp_path / "perfmon.yml"
    file.write_text(
        f"""
samplers:
  - name: leaky
    interval: 100ms
    process: {{groups: [{{name: leaky, pid: {leaky}}}], discover: 1s}}
rules:
  - {{name: MemoryLeak, metric: {RSS}, leak: {{window: 16s, limit: 1GiB, agree: 2}}}}
state: {{path: state.sqlite3}}
"""
    )
    with perfmon(tmp_path, f"--config.file={file}") as daemon:
        eventually(lambda: [one for one in daemon.alerts() if one["state"] == "firing"], "it fires", within_s=40)
        assert 1.0 == daemon.metric("perfmon_leak_verdict", verdict="leak")
        rate = daemon.metric("perfmon_leak_slope_bytes_per_second")
        left_s = daemon.metric("perfmon_leak_seconds_to_limit")
        assert (2**30 - daemon.metric(RSS)) / rate == pytest.approx(left_s, rel=0.2)
        [alert] = daemon.alerts()
        assert "at this rate the limit of 1 GiB is reached in " in alert["why"]
        daemon.stop()  # killed, it would lose what it saw since it last wrote it down

    began = time.monotonic()
    with perfmon(tmp_path, f"--config.file={file}") as daemon:
        eventually(lambda: daemon.metric("perfmon_leak_verdict", verdict="leak"), "it is known again", within_s=15)
        [alert] = daemon.alerts()
        os.kill(leaky, signal.SIGKILL)
        eventually(
            lambda: [one for one in daemon.alerts() if one["state"] != "firing"], "its alert is over", within_s=20
        )
        [over] = daemon.alerts()
    assert over["why"].startswith(f"it is gone: no {RSS} for ")
    seen_s = float(re.search(r" over ([0-9.]+)s, n ", alert["why"])[1])
    assert time.monotonic() - began + 2 < seen_s  # it rests on what the former daemon saw
