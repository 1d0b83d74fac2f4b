"""Load: what each generator says of a server that freezes, beside what is true.

    python benchmarks/load_accuracy.py [--seconds 30]

The server answers at once, but freezes for the last second of every ten. To 200 arrivals a second that is, in closed form:
p50 near 0, p95 = 500 ms, p99 = 900 ms, p99.9 = 990 ms. Each generator is asked for 200 requests a second over ten
connections (wrk knows no rate and goes as fast as it can), alone, against a server of its own. "arrived" is what the
server counted. What is not installed is left out, and said.
"""

import argparse
import csv
import json
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import harness

QUANTILES = (0.5, 0.95, 0.99, 0.999)
RATE, CONNECTIONS, EVERY_S, FROZEN_S = 200, 10, 10, 1
LOCUSTFILE = """
from locust import FastHttpUser, constant_throughput, task
class User(FastHttpUser):
    wait_time = constant_throughput(20)
    @task
    def get(self):
        self.client.get("/stall?every=10&for=1")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=30)
    seconds = parser.parse_args().seconds
    print(f"{'ms':<34}{'arrived/s':>10}" + "".join(f"{f'p{q * 100:g}':>9}" for q in QUANTILES))
    tell("truth", RATE, [truth(q) for q in QUANTILES])
    for name, run in RIVALS.items():
        with tempfile.TemporaryDirectory() as folder, server() as url:
            measured = run(url, Path(folder), seconds)
            arrived = count(url)
        if measured is None:
            print(f"{name}: not installed here, left out", file=sys.stderr)
        else:
            tell(name, arrived / seconds, measured)


def truth(q):
    """The share of arrivals that meet a freeze is spread evenly over what is left of it."""
    share = FROZEN_S / EVERY_S
    return max(0.0, FROZEN_S * (q - (1 - share)) / share)


def tell(name, per_s, seconds):
    print(f"{name:<34}{per_s:>10.1f}" + "".join(f"{value * 1e3:>9.1f}" for value in seconds), flush=True)


@contextmanager
def server():
    script = harness.ROOT / "tests" / "load_server.py"
    with subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        yield f"http://127.0.0.1:{int(child.stdout.readline())}"
        child.stdin.close()
        child.kill()


def count(url):
    with urllib.request.urlopen(f"{url}/count", timeout=10) as answer:
        return int(answer.read())


def output(command):
    """What a rival prints; None when it is not there."""
    if shutil.which(command[0]) is None:
        return None
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def perfmon(url, folder, seconds, *options, latency="response"):
    flags = [f"--rate={RATE}", f"--duration={seconds}s", f"--out={folder}", "--no-preflight", "--json"]
    stdout = output([*harness.PERFMON, "load", stalling(url), *flags, *options])
    told = json.loads(stdout)
    print(f"  {told['generator']['verdict']}, lag p99 {told['latency_s']['lag']['p99'] * 1e3:.1f} ms", file=sys.stderr)
    return [told["latency_s"][latency][f"p{q * 100:g}"] for q in QUANTILES]


def stalling(url):
    return f"{url}/stall?every={EVERY_S}&for={FROZEN_S}"


def hey(url, _folder, seconds):
    per_worker = str(RATE // CONNECTIONS)
    stdout = output(["hey", "-z", f"{seconds}s", "-c", str(CONNECTIONS), "-q", per_worker, "-o", "csv", stalling(url)])
    if stdout is None:
        return None
    times = sorted(float(row["response-time"]) for row in csv.DictReader(stdout.splitlines()))
    return [times[min(len(times) - 1, int(q * len(times)))] for q in QUANTILES]


def wrk(url, folder, seconds):
    """Its own percentiles, by a script, since its --latency prints no p95 and p99.9."""
    script = folder / "quantiles.lua"
    shares = ", ".join(f"{q * 100:g}" for q in QUANTILES)
    script.write_text(
        f"done = function(s, l, r) for _, q in ipairs({{{shares}}}) do print('Q', l:percentile(q)) end end"
    )
    stdout = output(["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script), stalling(url)])
    return None if stdout is None else [float(us) / 1e6 for us in re.findall(r"^Q\s+([\d.]+)", stdout, re.MULTILINE)]


def locust(url, folder, seconds):
    (folder / "locustfile.py").write_text(LOCUSTFILE)
    command = ["locust", "-f", str(folder / "locustfile.py"), "--headless", "--only-summary", "-H", url]
    if output([*command, f"-u{CONNECTIONS}", f"-r{CONNECTIONS}", f"-t{seconds}s", f"--csv={folder}/locust"]) is None:
        return None
    row = list(csv.DictReader((folder / "locust_stats.csv").open()))[-1]
    return [float(row[name]) / 1e3 for name in ("50%", "95%", "99%", "99.9%")]


RIVALS = {
    "perfmon load": perfmon,
    "perfmon load --max-in-flight 10": lambda *where: perfmon(*where, f"--max-in-flight={CONNECTIONS}"),
    "  its service time (what most print)": lambda *where: perfmon(
        *where, f"--max-in-flight={CONNECTIONS}", latency="service"
    ),
    "hey -q 20 -c 10": hey,
    "wrk -c 10 (as fast as it can)": wrk,
    "Locust, 10 x constant_throughput": locust,
}


if __name__ == "__main__":
    main()
