"""The stack as it ships, of real servers on loopback: nginx and the shop are watched, Prometheus and Alertmanager hear.

Taken as they are: deploy/prometheus/prometheus.yml with its intervals, rules/perfmon.rules.yml, and the routes and
inhibitions of deploy/alertmanager/alertmanager.yml. Substituted: the containers' addresses and the folders of rules and
targets; who
is paged, for the shipped file names nobody; and how long Alertmanager gathers alerts before it tells of them.
"""

import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import requests
import yaml
from cgroup_files import V2, put
from daemon import Perfmon, eventually, free_port, perfmon
from listener import Listener
from servers import Authority

ROOT = Path(__file__).parents[1]

Binary = Callable[[str], str]


class Nginx:
    """One small page over HTTP and HTTPS, on ports that stay."""

    def __init__(self, binary: str, folder: Path, authority: Authority) -> None:
        self.pidfile = folder / "nginx.pid"
        http, https = free_port(), free_port()
        self.url, self.tls_url = f"http://127.0.0.1:{http}/", f"https://127.0.0.1:{https}/"
        leaf = authority.issue("127.0.0.1")
        leaf.private_key_pem.write_to_path(folder / "key.pem")
        leaf.cert_chain_pems[0].write_to_path(folder / "cert.pem")
        temporary = "".join(
            f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (folder / "nginx.conf").write_text(f"""
daemon off; worker_processes 1; pid {self.pidfile};
events {{}}
http {{
  access_log off; {temporary}
  server {{
    listen 127.0.0.1:{http}; listen 127.0.0.1:{https} ssl;
    ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
    location / {{ return 200 "hello\\n"; }}
  }}
}}
""")
        self._log = folder / "nginx.log"
        self._command = [binary, "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
        self.start()

    def start(self) -> None:
        self._running = contextlib.ExitStack()
        self._running.enter_context(running(self._command, self._log, ready=self.url))

    def stop(self) -> None:
        self._running.close()

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        self.stop()
        try:
            yield
        finally:
            self.start()


class Prometheus(NamedTuple):
    url: str
    log: Path

    def api(self, path: str, **parameters: Any) -> Any:
        answer = requests.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=10)
        assert answer.ok, f"{parameters}: {answer.text}"
        return answer.json()["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Series now: `metric` has the labels, `value` the time and the value as text."""
        return self.api("query", query=expression)["result"]

    def value(self, expression: str) -> float | None:
        """Of the one series that the expression gives; None when there is none."""
        values = [float(series["value"][1]) for series in self.query(expression)]
        assert len(values) < 2, f"{len(values)} series: {expression}"
        return values[0] if values else None


class Alertmanager(NamedTuple):
    url: str

    def active(self, matcher: str) -> dict[str, dict[str, Any]]:
        """By name: alerts that are not over."""
        answer = requests.get(f"{self.url}/api/v2/alerts", params={"filter": matcher}, timeout=10)
        answer.raise_for_status()
        return {alert["labels"]["alertname"]: alert for alert in answer.json()}


class Stack(NamedTuple):
    nginx: Nginx
    perfmon: Perfmon
    prometheus: Prometheus
    alertmanager: Alertmanager
    pager: Listener  # what Alertmanager tells people


@contextlib.contextmanager
def stack(binary: Binary, folder: Path, authority: Authority) -> Iterator[Stack]:
    """All of it, up and watching."""
    shop, at_prometheus, at_alertmanager, test = (f"127.0.0.1:{free_port()}" for _ in range(4))
    binaries = [binary(name) for name in ("nginx", "prometheus-alertmanager", "prometheus")]
    with contextlib.ExitStack() as parts:
        pager = parts.enter_context(Listener())
        nobody = parts.enter_context(socket.socket())
        nobody.bind(("127.0.0.1", 0))  # and does not listen: it keeps the port from whoever would
        parts.enter_context(_busy_cgroup(folder / "cgroup"))
        nginx = Nginx(binaries[0], folder, authority)
        parts.callback(nginx.stop)
        parts.enter_context(_shop(folder, shop))
        parts.enter_context(_load(folder, shop, test))
        alertmanager = parts.enter_context(_alertmanager(binaries[1], folder, at_alertmanager, pager.url))
        file = folder / "perfmon.yml"
        file.write_text(
            _watched(folder, nginx, authority, shop=shop, nobody=nobody.getsockname()[1], alertmanager=alertmanager.url)
        )
        daemon = parts.enter_context(perfmon(folder, f"--config.file={file}"))
        addresses = {
            "perfmon:10737": daemon.url.removeprefix("http://"),
            "shop:8080": shop,
            "localhost:9090": at_prometheus,
            "alertmanager:9093": at_alertmanager,
            "  # - job_name: perf-test\n  #   static": "  - job_name: perf-test\n    static",
            "  #     - targets: [host.docker.internal:10738]": f"      - targets: ['{test}']",
            "/etc/prometheus/rules/": f"{ROOT}/rules/",
            "/etc/prometheus/targets/": f"{ROOT}/deploy/prometheus/targets/basic/",
        }
        prometheus = parts.enter_context(_prometheus(binaries[2], folder, at_prometheus, addresses))
        yield Stack(nginx, daemon, prometheus, alertmanager, pager)


@contextlib.contextmanager
def running(command: list[str], log: Path, *, ready: str) -> Iterator[subprocess.Popen]:
    """A server from when `ready` answers to its SIGTERM."""
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        eventually(lambda: _is_ready(process, ready, log), f"{ready} answers")
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_ready(process: subprocess.Popen, url: str, log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    return requests.get(url, timeout=1).ok


def _watched(folder: Path, nginx: Nginx, authority: Authority, *, shop: str, nobody: int, alertmanager: str) -> str:
    """A perfmon.yml: nginx, what is slow, what always fails, the machine, processes, control groups; two rules.

    One of the probes makes the shop leak 160 KiB a second.
    """
    return f"""
modules:
  nginx_tls: {{prober: http, http: {{tls_config: {{ca_file: {authority.file}}}}}}}
probes:
  - {{name: nginx, interval: 1s, targets: ["{nginx.url}"]}}
  - {{name: nginx-tls, module: nginx_tls, interval: 1s, targets: ["{nginx.tls_url}"]}}
  - {{name: shop, interval: 1s, targets: ["http://{shop}/slow?ms=50&jitter=20"], discover: [{{file: {{paths: ["{folder}/none*.yml"], refresh_interval: 1s}}}}]}}
  - {{name: leak, interval: 200ms, targets: ["http://{shop}/leak?kb=32"]}}
  - {{name: nobody, module: tcp_connect, interval: 1s, targets: ["127.0.0.1:{nobody}"]}}
samplers:
  - {{name: host, interval: 1s, host: {{}}}}
  - {{name: processes, interval: 1s, process: {{groups: [{{name: nginx, pidfile: {nginx.pidfile}}}, {{name: perfmon, self: true}}]}}}}
  - {{name: leaking, interval: 200ms, process: {{groups: [{{name: shop, port: {shop.rpartition(":")[2]}}}, {{name: alertmanager, port: {alertmanager.rpartition(":")[2]}}}]}}}}
  - {{name: units, interval: 1s, cgroup: {{root: {folder}/cgroup, groups: [{{name: api, path: /system.slice/*}}]}}}}
rules:
  - {{name: ShopLeak, metric: perfmon_process_private_memory_bytes, select: {{group: shop}}, leak: {{window: 40s, limit: 1GiB}}}}
  - {{name: CgroupLeak, metric: perfmon_cgroup_memory_anonymous_bytes, leak: {{window: 40s}}}}
  - {{name: FdLeak, metric: perfmon_process_open_fds, select: {{group: alertmanager}}, leak: {{window: 40s}}}}
  - {{name: NginxDown, select: {{probe: nginx}}, threshold: "rate < 50% over 5s", for: 3s, severity: critical}}
receivers:
  - {{name: alertmanager, alertmanager: {{urls: ["{alertmanager}"]}}}}
state: {{path: state.sqlite3}}
"""


@contextlib.contextmanager
def _busy_cgroup(root: Path) -> Iterator[None]:
    """A tree of control groups as files, for not every kernel has one; its CPU time goes on, and it is throttled."""
    folder, over = root / "system.slice/api.service", threading.Event()
    put(root, {"cgroup.controllers": "cpuset cpu io memory pids\n"})
    put(folder, V2 | {"pids.max": "100\n"})

    def work() -> None:
        seconds = 0
        while not over.wait(0.5):
            seconds += 1
            stat = f"usage_usec {seconds}00000\nuser_usec {seconds}00000\nsystem_usec 0\n"
            part = folder / "cpu.stat.new"
            part.write_text(f"{stat}nr_periods {10 * seconds}\nnr_throttled {seconds}\nthrottled_usec {seconds}0000\n")
            part.rename(folder / "cpu.stat")

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield
    finally:
        over.set()
        worker.join()


def _shop(folder: Path, address: str) -> contextlib.AbstractContextManager[subprocess.Popen]:
    command = [sys.executable, "-m", "perfmon", "simulate", "shop", "--port", address.partition(":")[2]]
    return running(command, folder / "shop.log", ready=f"http://{address}/health")


def _load(folder: Path, shop: str, address: str) -> contextlib.AbstractContextManager[subprocess.Popen]:
    """A load test that outlasts all tests, some of whose arrivals fail, and one of whose thresholds is broken."""
    command = [sys.executable, "-m", "perfmon", "load", f"http://{shop}/flaky", "--scenario=shop", "--rate=20"]
    command += ["--duration=1h", "--no-rows", "--threshold=p(95) < 1us", "--threshold=p(99) < 10s"]
    command += [f"--metrics-listen={address}", f"--out={folder}/runs"]
    return running(command, folder / "load.log", ready=f"http://{address}/metrics")


@contextlib.contextmanager
def _alertmanager(binary: str, folder: Path, address: str, pager_url: str) -> Iterator[Alertmanager]:
    config = yaml.safe_load((ROOT / "deploy/alertmanager/alertmanager.yml").read_text())
    config["route"] |= {"group_wait": "1s", "group_interval": "1s"}
    [people] = [receiver for receiver in config["receivers"] if receiver["name"] == "people"]
    people["webhook_configs"] = [{"url": pager_url, "send_resolved": True}]
    file = folder / "alertmanager.yml"
    file.write_text(yaml.safe_dump(config))
    command = [
        binary,
        f"--config.file={file}",
        f"--storage.path={folder}/alertmanager",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    ]
    with running(command, folder / "alertmanager.log", ready=f"http://{address}/-/ready"):
        yield Alertmanager(f"http://{address}")


@contextlib.contextmanager
def _prometheus(binary: str, folder: Path, address: str, substitutes: dict[str, str]) -> Iterator[Prometheus]:
    text = (ROOT / "deploy/prometheus/prometheus.yml").read_text()
    for shipped, here in substitutes.items():
        assert shipped in text
        text = text.replace(shipped, here)
    file = folder / "prometheus.yml"
    file.write_text(text)
    log = folder / "prometheus.log"
    command = [
        binary,
        f"--config.file={file}",
        f"--storage.tsdb.path={folder}/prometheus",
        f"--web.listen-address={address}",
        "--enable-feature=exemplar-storage",
    ]
    with running(command, log, ready=f"http://{address}/-/ready"):
        yield Prometheus(f"http://{address}", log)
