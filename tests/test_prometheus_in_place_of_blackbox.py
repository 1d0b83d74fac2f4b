"""Prometheus, with the scrape configuration that everybody has for blackbox_exporter, and perfmon at the address in it.

Taken from the README of blackbox_exporter: the target goes over from `__address__` to `__param_target` and `instance`,
and `__address__` becomes that of the exporter. The same jobs ask Debian's blackbox_exporter beside it.
"""

import subprocess
from contextlib import ExitStack, contextmanager

import pytest
import requests
import yaml
from daemon import eventually, free_port, perfmon, service
from servers import unused_port as closed_port
from stack import Prometheus, running

pytestmark = pytest.mark.servers

MODULES = """
modules:
  http_2xx: {prober: http, timeout: 2s, http: {preferred_ip_protocol: ip4}}
  not_ok: {prober: http, timeout: 2s, http: {preferred_ip_protocol: ip4, fail_if_body_matches_regexp: ["^ok"]}}
  tcp_connect: {prober: tcp, timeout: 2s}
  icmp: {prober: icmp, timeout: 2s, icmp: {preferred_ip_protocol: ip4}}
"""
NEWER = {"probe_timeout_seconds", "probe_failed_due_to_bytes"}  # in newer blackbox_exporters, not in Debian's
OWN = ("probe_icmp_packet", "probe_icmp_duration_rtt", "probe_icmp_jitter")


def scrape(exporter, jobs, address):
    """The jobs that ask one exporter."""
    return [
        {
            "job_name": f"{exporter} {module}",
            "metrics_path": "/probe",
            "params": {"module": [module]},
            "static_configs": [{"targets": targets, "labels": {"exporter": exporter}}],
            "relabel_configs": [
                {"source_labels": ["__address__"], "target_label": "__param_target"},
                {"source_labels": ["__param_target"], "target_label": "instance"},
                {"target_label": "__address__", "replacement": address},
            ],
        }
        for module, targets in jobs.items()
    ]


@contextmanager
def prometheus(binary, folder, jobs, exporters):
    address = f"127.0.0.1:{free_port()}"
    whole = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [job for exporter, at in exporters.items() for job in scrape(exporter, jobs, at)]
        + [{"job_name": "exporters", "static_configs": [{"targets": list(exporters.values())}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(whole))
    subprocess.run([binary("promtool"), "check", "config", folder / "prometheus.yml"], check=True, capture_output=True)
    command = [
        binary("prometheus"), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address={address}", "--log.level=warn",
    ]  # fmt: skip
    log = folder / "prometheus.log"
    with running(command, log, ready=f"http://{address}/-/ready"):
        yield Prometheus(f"http://{address}", log)


@pytest.fixture(scope="module")
def scraped(binary, tmp_path_factory):
    """A Prometheus that has scraped both exporters for all targets, and what the targets are."""
    folder = tmp_path_factory.mktemp("drop-in")
    (folder / "blackbox.yml").write_text(MODULES)
    with ExitStack() as parts:
        good, bad = parts.enter_context(service()), parts.enter_context(service())
        bad.status = 503
        jobs = {
            "http_2xx": [f"{good.url}/", f"{bad.url}/", f"http://127.0.0.1:{closed_port()}/", f"127.0.0.1:{good.port}"],
            "not_ok": [f"{good.url}/"],
            "tcp_connect": [f"127.0.0.1:{good.port}", f"127.0.0.1:{closed_port()}"],
            "icmp": ["127.0.0.1"],
        }
        daemon = parts.enter_context(perfmon(folder, f"--blackbox={folder}/blackbox.yml"))
        port = free_port()
        parts.enter_context(
            running(
                [
                    binary("prometheus-blackbox-exporter"),
                    f"--config.file={folder}/blackbox.yml",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                folder / "blackbox.log",
                ready=f"http://127.0.0.1:{port}/-/healthy",
            )
        )
        exporters = {"perfmon": f"127.0.0.1:{daemon.port}", "blackbox": f"127.0.0.1:{port}"}
        seen = parts.enter_context(prometheus(binary, folder, jobs, exporters))
        targets = sum(map(len, jobs.values()))
        eventually(
            lambda: seen.value("count(probe_success)") == 2 * targets and seen.value("sum(up)") == 2 * targets + 2,
            f"all is scraped: {seen.query('up == 0')}",
        )
        yield seen, jobs


def series(prometheus, exporter):
    """(module, name, instance, other labels) -> value, of one exporter."""
    found = {}
    for one in prometheus.query(f'{{exporter="{exporter}", __name__=~"probe_.*"}}'):
        labels = dict(one["metric"])
        module = labels.pop("job").removeprefix(f"{exporter} ")
        name, instance = labels.pop("__name__"), labels.pop("instance")
        del labels["exporter"]
        found[module, name, instance, frozenset(labels.items())] = float(one["value"][1])
    return found


def test_each_target_has_its_instance_and_its_verdict(scraped):
    prometheus, jobs = scraped
    good, bad, refused, bare = jobs["http_2xx"]
    success = {key[::2]: value for key, value in series(prometheus, "perfmon").items() if key[1] == "probe_success"}
    status = {key[2]: v for key, v in series(prometheus, "perfmon").items() if key[1] == "probe_http_status_code"}

    assert {
        ("http_2xx", good): 1.0, ("http_2xx", bad): 0.0, ("http_2xx", refused): 0.0, ("http_2xx", bare): 1.0,
        ("not_ok", good): 0.0,
        ("tcp_connect", jobs["tcp_connect"][0]): 1.0, ("tcp_connect", jobs["tcp_connect"][1]): 0.0,
        ("icmp", "127.0.0.1"): 1.0,
    } == success  # fmt: skip
    assert {good: 200.0, bad: 503.0, refused: 0.0, bare: 200.0} == status


def test_the_same_configuration_gives_the_series_of_blackbox_exporter(scraped):
    prometheus, _ = scraped
    ours, theirs = series(prometheus, "perfmon"), series(prometheus, "blackbox")

    assert set() == theirs.keys() - ours.keys()
    added = {name for _, name, _, _ in ours.keys() - theirs.keys()}
    assert NEWER == {name for name in added if not name.startswith(OWN)}


@pytest.mark.parametrize("name", ["probe_success", "probe_http_status_code", "probe_http_content_length", "probe_ip_addr_hash", "probe_ip_protocol", "probe_http_version", "probe_failed_due_to_regex"])  # fmt: skip
def test_what_does_not_depend_on_time_is_the_same(scraped, name):
    prometheus, _ = scraped
    ours, theirs = series(prometheus, "perfmon"), series(prometheus, "blackbox")

    assert {key: v for key, v in theirs.items() if key[1] == name} == {
        key: v for key, v in ours.items() if key[1] == name
    }


def test_what_dashboards_ask_of_the_exporter_itself_is_there(scraped):
    prometheus, _ = scraped

    assert 2 == len(prometheus.query("blackbox_exporter_config_last_reload_successful == 1"))
    assert 2 == len(prometheus.query("time() - blackbox_exporter_config_last_reload_success_timestamp_seconds < 300"))
    assert 2 == len(prometheus.query("blackbox_exporter_build_info"))
    assert 2 == len(prometheus.query("blackbox_module_unknown_total"))


def test_the_usual_alerts_see_the_same(scraped):
    """Of awesome-prometheus-alerts: the probe fails, the status is none of 200 to 399, the probe is slow."""
    prometheus, _ = scraped
    for expression in (
        "probe_success == 0",
        "probe_http_status_code <= 199 or probe_http_status_code >= 400",
        "avg_over_time(probe_http_duration_seconds[1m]) > 1",
    ):
        found = {"perfmon": set(), "blackbox": set()}
        for one in prometheus.query(expression):
            found[one["metric"]["exporter"]].add((one["metric"]["instance"], one["metric"]["job"].partition(" ")[2]))
        assert found["perfmon"] == found["blackbox"], expression


def test_no_scrape_was_refused(scraped):
    prometheus, _ = scraped
    answer = requests.get(f"{prometheus.url}/api/v1/targets", timeout=10).json()

    assert {""} == {target["lastError"] for target in answer["data"]["activeTargets"]}
