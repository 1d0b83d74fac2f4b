"""schemathesis asks a real daemon whatever comes to its mind, by the API's own document, for minutes.

Claim: no answer is a 5xx or a status or a shape that the document does not have, and the daemon goes on probing.

    python benchmarks/fuzz_api.py --minutes 5 --seed 1

A seed asks the same again; what it found is printed with the request that shows it.
"""

import argparse
import contextlib
import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from perfmon.monitor.openapi import document


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--minutes", type=float, default=5.0)
    arguments.add_argument("--seed", type=int, default=1)
    wanted = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder, daemon(Path(folder)) as url:
        before, began, asked, rounds = runs(url), time.monotonic(), 0, 0
        while time.monotonic() - began < wanted.minutes * 60:
            asked += ask_all(url, wanted.seed + rounds)
            rounds += 1
        seconds, ran = time.monotonic() - began, runs(url) - before
    print(f"{asked} requests in {seconds:.0f} s, {rounds} rounds from seed {wanted.seed}: nothing found")
    print(f"{ran:.0f} runs of a probe of every 100 ms meanwhile, {seconds * 10:.0f} were due")
    return 0 if ran > 0.9 * seconds * 10 else 1


@contextlib.contextmanager
def daemon(folder: Path):
    """A real one that watches a port of its own; its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    probe = {"name": "<own>", "module": "tcp_connect", "interval": "0.1s", "targets": [f"127.0.0.1:{port}"]}
    own = {"name": "own", "interval": "0.5s", "process": {"groups": [{"name": "perfmon", "self": True}]}}
    (folder / "perfmon.yml").write_text(json.dumps({"probes": [probe], "samplers": [own], "log": {"level": "error"}}))
    command = [sys.executable, "-m", "perfmon", "serve", "--config.file=perfmon.yml", "--state.path="]
    process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], cwd=folder)
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(200):
            with contextlib.suppress(OSError):
                if runs(url):
                    break
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def runs(url: str) -> float:
    """How many runs of the probe were counted."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=20) as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("perfmon_probe_runs_total{"))


def ask_all(url: str, number: int) -> int:
    """Every operation but /probe, which would send requests to whatever comes up; how many requests that were."""
    schema = schemathesis.openapi.from_dict(document()).exclude(path=["/probe"])
    return sum(ask(operation.ok(), url, number) for operation in schema.get_all_operations())


def ask(operation, url: str, number: int) -> int:
    """One operation, a hundred times at most."""
    # What OpenAPI cannot say: /logs takes one of two parameters, and exactly one.
    unsaid = [positive_data_acceptance] if operation.path == "/logs" else []
    asked = 0

    @seed(number)
    @settings(
        max_examples=100, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy())
    def one(case):
        nonlocal asked
        asked += 1
        case.call_and_validate(base_url=url, timeout=20, excluded_checks=unsaid)

    one()
    return asked


if __name__ == "__main__":
    sys.exit(main())
