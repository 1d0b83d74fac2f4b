"""The same files, read by Debian's Prometheus and by perfmon: the same targets with the same labels."""

import json
import subprocess
import urllib.request

import pytest
from daemon import eventually, free_port, perfmon

FILES = {
    "a.json": [
        {"targets": ["http://127.0.0.1:9/a", "http://127.0.0.1:9/b"], "labels": {"env": "prod", "__param_module": "web"}},
        {"targets": ["http://127.0.0.1:9/c"]},
    ],
    "b.yml": "- targets: ['http://127.0.0.1:9/d']\n  labels: {release: 1.10, __meta_x: y}\n- targets: []\n",
}  # fmt: skip
PROMETHEUS = """
scrape_configs:
  - job_name: blackbox
    metrics_path: /probe
    file_sd_configs: [{files: [targets/*.json, targets/*.yml]}]
    relabel_configs:
      - {source_labels: [__address__], target_label: __param_target}
      - {source_labels: [__param_target], target_label: instance}
      - {target_label: __address__, replacement: "127.0.0.1:1"}
"""
PERFMON = """
modules: {web: {prober: http}}
probes: [{name: blackbox, discover: [{file: {paths: [targets/*.json, targets/*.yml], refresh_interval: 1s}}]}]
state: {path: ""}
"""
OF_ITS_OWN = {"job", "instance"}  # what Prometheus adds by itself


@pytest.mark.servers
def test_a_file_sd_of_prometheus_gives_the_same_targets(binary, tmp_path):
    (tmp_path / "targets").mkdir()
    for name, content in FILES.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / "targets" / name).write_text(text)
    (tmp_path / "prometheus.yml").write_text(PROMETHEUS)
    (tmp_path / "perfmon.yml").write_text(PERFMON)
    subprocess.run([binary("promtool"), "check", "config", tmp_path / "prometheus.yml"], check=True, timeout=20)

    theirs = targets_of_prometheus(binary("prometheus"), tmp_path)
    with perfmon(tmp_path, "--config.file=perfmon.yml") as daemon:
        probes = eventually(lambda: daemon.targets()["probes"], "the targets are found")
    ours = {one["target"]: (one["module"], one["labels"]) for one in probes}

    assert 4 == len(theirs)
    assert theirs == ours


def targets_of_prometheus(binary, folder):
    """Target to module and labels, once there are some."""
    address = f"127.0.0.1:{free_port()}"
    command = [binary, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address={address}"], stdout=log, stderr=log)
    try:
        active = eventually(lambda: ask(address), "Prometheus has targets")
    finally:
        process.terminate()
        process.wait(20)
    return {
        one["labels"]["instance"]: (
            one["discoveredLabels"].get("__param_module", "http_2xx"),
            {name: value for name, value in one["labels"].items() if name not in OF_ITS_OWN},
        )
        for one in active
    }


def ask(address):
    with urllib.request.urlopen(f"http://{address}/api/v1/targets", timeout=5) as answer:
        return json.load(answer)["data"]["activeTargets"]
