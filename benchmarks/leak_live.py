"""When does a leaking service reach its limit: what perfmon says each half minute, and when it does.

The shop leaks 256 KiB at each request, and perfmon makes one a second; its process is sampled each second, and a
`leak` rule with a window of five minutes and a limit of 120 MiB judges it. Once the alert fires the daemon looks into the
process, and Debian's Alertmanager must hear where it leaks. Printed for each half minute from the first verdict on: the
time left that `perfmon_leak_seconds_to_limit` tells, the time that it really took, and the error; and what Alertmanager
knows in the end.

    .venv/bin/python benchmarks/leak_live.py [--limit-mib 120]
"""

import argparse
import json
import shutil
import time
from pathlib import Path

from harness import PERFMON, free_port, get, metric, perfmon, process, temporary, verdict, workplace

EVERY_S = 30.0
GIVE_UP_S = 1800.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit-mib", type=float, default=120.0)
    limit = parser.parse_args().limit_mib * 2**20
    print(workplace())
    with temporary() as name:
        folder, port = Path(name), free_port()
        pager, nobody = free_port(), "{route: {receiver: nobody}, receivers: [{name: nobody}]}"
        (folder / "alertmanager.yml").write_text(nobody)
        alertmanager = [
            shutil.which("prometheus-alertmanager") or "prometheus-alertmanager",
            *(f"--config.file={folder}/alertmanager.yml", f"--storage.path={folder}/data"),
            *(f"--web.listen-address=127.0.0.1:{pager}", "--cluster.listen-address="),
        ]
        shop = [*PERFMON, "simulate", "shop", f"--port={port}", "--leak-limit=1GiB"]
        with (
            process(shop, ready=f"http://127.0.0.1:{port}/health", log=folder / "shop.log"),
            process(alertmanager, ready=f"http://127.0.0.1:{pager}/-/ready", log=folder / "alertmanager.log"),
            perfmon(config(port, limit, pager), folder) as (_, url),
        ):
            told, reached_at = watch(url, limit)
            report(told, reached_at, url)
            [alert] = json.loads(get(f"http://127.0.0.1:{pager}/api/v2/alerts"))
            print(f"at Alertmanager: {alert['annotations'].get('leak_stack', 'no leak_stack')}")


def config(port: int, limit: float, pager: int) -> str:
    return f"""
probes: [{{name: leak, interval: 1s, targets: ["http://127.0.0.1:{port}/leak?kb=256"]}}]
samplers: [{{name: services, interval: 1s, process: {{groups: [{{name: shop, port: {port}}}], profile: true}}}}]
rules:
  - name: ShopLeak
    metric: perfmon_process_private_memory_bytes
    leak: {{window: 5m, limit: {limit:.0f}}}
receivers: [{{name: alertmanager, alertmanager: {{urls: ["http://127.0.0.1:{pager}"]}}}}]
"""


def watch(url: str, limit: float) -> tuple[list[tuple[float, float]], float]:
    """(when, seconds left) as told, and when the limit was reached; all in seconds since the beginning."""
    began, told = time.monotonic(), []
    while (at := time.monotonic() - began) < GIVE_UP_S:
        page = get(f"{url}/metrics")
        if metric(page, "perfmon_process_private_memory_bytes") >= limit:
            return told, at
        if metric(page, "perfmon_leak_verdict", verdict="leak") and (not told or at - told[-1][0] >= EVERY_S):
            told.append((at, metric(page, "perfmon_leak_seconds_to_limit")))
        time.sleep(0.5)
    raise SystemExit(f"the limit was not reached in {GIVE_UP_S:.0f} s")


def report(told: list[tuple[float, float]], reached_at: float, url: str) -> None:
    [alert] = json.loads(get(f"{url}/api/v1/alerts"))["alerts"]
    print(f"limit reached after {reached_at:.0f} s; alert {alert['state']}: {alert['why']}")
    print("| after | told | true | error |\n|---|---|---|---|")
    errors = []
    for at, left in told:
        true = reached_at - at
        errors.append(abs(left - true) / true)
        print(f"| {at:.0f} s | {left:.0f} s | {true:.0f} s | {errors[-1]:.1%} |")
    print(verdict("largest error", 100 * max(errors), 20.0, " %"))


if __name__ == "__main__":
    main()
