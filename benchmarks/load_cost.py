"""Load: requests a second and CPU a request of perfmon, wrk, ab, hey and Locust on one nginx; and a schedule kept.

    python benchmarks/load_cost.py [--seconds 5] [--connections 10]

Each rival runs alone, one after the other, against the same nginx. CPU is the generator's own, of all of its threads. Each of
them is held to one core's worth of work by asking for one thread; Locust and perfmon have one anyway. What is not
installed is left out, and said. The last rows offer a rate: what was due, what the dispatch lag was.

Claims (DESIGN): no fewer requests a second than hey, three times Locust's FastHttpUser; 10,000/s scheduled with a lag of
p99 under 2 ms. Two cores are needed, one of them nginx's, and nothing else may run.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import harness

LOCUSTFILE = """
from locust import FastHttpUser, constant, task
class User(FastHttpUser):
    wait_time = constant(0)
    @task
    def get(self):
        self.client.get("/")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=10)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, harness.nginx(Path(name)) as (port, _):
        url, folder = f"http://127.0.0.1:{port}/", Path(name)
        rows = [closed(generator, url, folder, arguments) for generator in RIVALS]
        print(f"{'generator':<28}{'requests/s':>12}{'us CPU each':>13}{'of a core':>11}")
        for row in filter(None, rows):
            print(row)
        for rate in (1_000, 5_000, 10_000):
            scheduled(url, folder, rate, arguments.seconds)


def closed(generator, url, folder, arguments):
    """The line of one generator with so many connections, as fast as it can."""
    command, count = RIVALS[generator]
    if command is None or not (shutil.which(command(url, folder, 1, 1)[0])):
        print(f"{generator}: not installed here, left out", file=sys.stderr)
        return None
    before = children_s()
    done = subprocess.run(
        command(url, folder, arguments.connections, arguments.seconds), capture_output=True, text=True, check=False
    )
    cpu = children_s() - before
    requests = count(done.stdout, folder)
    per_s = requests / arguments.seconds
    return f"{generator:<28}{per_s:>12.0f}{cpu / requests * 1e6:>13.1f}{cpu / arguments.seconds:>10.0%}"


def children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def scheduled(url, folder, rate, seconds) -> None:
    done = subprocess.run(
        [*perfmon(url, folder), f"--rate={rate}", f"--duration={seconds}s"], capture_output=True, text=True, check=False
    )
    told = json.loads(done.stdout)
    lag, response, counts = (told["latency_s"]["lag"], told["latency_s"]["response"], told["counts"])
    print(
        f"perfmon at {rate}/s: {counts['due']} due, {counts['done']} done, lag p99 {lag['p99'] * 1e3:.2f} ms,"
        f" response p50 {response['p50'] * 1e3:.2f} p99 {response['p99'] * 1e3:.2f} ms,"
        f" core {told['generator']['cpu_share']:.0%}, {told['generator']['verdict']}"
    )


def perfmon(url, folder):
    return [*harness.PERFMON, "load", url, "--json", "--no-rows", f"--out={folder}/runs"]


def of_perfmon(stdout, _folder):
    return json.loads(stdout)["counts"]["done"]


def of_wrk(stdout, _folder):
    return next(int(line.split()[0]) for line in stdout.splitlines() if " requests in " in line)


def of_ab(stdout, _folder):
    return next(int(line.split()[2]) for line in stdout.splitlines() if line.startswith("Complete requests"))


def of_hey(stdout, _folder):
    lines = stdout.splitlines()
    return sum(int(line.split()[1]) for line in lines if line.strip().startswith("[2"))


def of_locust(_stdout, folder):
    rows = (folder / "locust_stats.csv").read_text().splitlines()
    return int(rows[-1].split(",")[2])


def locust(url, folder, users, seconds):
    (folder / "locustfile.py").write_text(LOCUSTFILE)
    command = ["locust", "-f", str(folder / "locustfile.py"), "--headless", "--only-summary", "-H", url.rstrip("/")]
    return [*command, f"-u{users}", f"-r{users}", f"-t{seconds}s", "--csv", str(folder / "locust")]


RIVALS = {
    "wrk -t1": (lambda url, _, n, s: ["wrk", "-t1", f"-c{n}", f"-d{s}s", url], of_wrk),
    "ab -k": (lambda url, _, n, s: ["ab", "-k", f"-c{n}", f"-t{s}", "-n100000000", url], of_ab),
    "hey -cpus 1": (lambda url, _, n, s: ["hey", "-cpus", "1", "-c", str(n), "-z", f"{s}s", url], of_hey),
    "perfmon load --users": (
        lambda url, folder, n, s: [*perfmon(url, folder), f"--users={n}", f"--duration={s}s"],
        of_perfmon,
    ),
    "Locust FastHttpUser": (locust, of_locust),
}


if __name__ == "__main__":
    main()
