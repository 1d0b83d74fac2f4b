"""The stack of docker-compose.yml: every file in it is accepted by the program that reads it, and hardened.

There is no container engine where this runs: what is not shown here is that the images start.
"""

import re
import socket
import subprocess
import sys
import time
import tomllib
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
import requests
import yaml

from perfmon import config

ROOT = Path(__file__).parents[1]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
DEPLOY = ROOT / "deploy"
ALERTMANAGER = DEPLOY / "alertmanager" / "alertmanager.yml"


@pytest.fixture
def free_port():
    """A port that nobody listened on a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def run(*command):
    """Exit code and everything printed."""
    ran = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, cwd=ROOT)
    return ran.returncode, ran.stdout + ran.stderr


def of_venv(name):
    return Path(sys.executable).with_name(name)


# ---------------------------------------------------------------- docker-compose.yml


def test_compose_file_has_the_schema():
    code, printed = run(of_venv("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", "docker-compose.yml")

    assert 0 == code, printed


@pytest.mark.parametrize("name", SERVICES)
def test_service_is_hardened(name):
    service = SERVICES[name]
    user = service["user"].partition(":")[0]
    limits = service["deploy"]["resources"]["limits"]

    assert (True, ["ALL"], ["no-new-privileges:true"]) == (
        service["read_only"],
        service["cap_drop"],
        service["security_opt"],
    )
    assert user.isdecimal()
    assert user != "0"
    assert any(mount.startswith("/tmp:") for mount in service["tmpfs"])
    assert {"cpus", "memory", "pids"} == set(limits)
    assert {"max-size", "max-file"} == set(service["logging"]["options"])
    assert "privileged" not in service
    assert "cap_add" not in service


@pytest.mark.parametrize("name", SERVICES)
def test_service_is_pinned_and_on_loopback_only(name):
    service = SERVICES[name]

    assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+", service["image"])
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


@pytest.mark.parametrize("name", SERVICES)
def test_service_tells_its_health_and_waits_for_that_of_others(name):
    service = SERVICES[name]

    assert {"test", "interval", "timeout", "retries", "start_period", "start_interval"} == set(service["healthcheck"])
    assert {"service_healthy"} >= {other["condition"] for other in service.get("depends_on", {}).values()}


@pytest.mark.parametrize("name", SERVICES)
@pytest.mark.parametrize("profile", ["basic", "full"])
def test_what_is_mounted_exists(name, profile):
    """Of the machine only for reading; only a named volume is written to."""
    mounts = [
        mount.replace("${COMPOSE_PROFILES:-basic}", profile).split(":") for mount in SERVICES[name].get("volumes", [])
    ]
    volumes = [mount for mount in mounts if mount[0] in COMPOSE["volumes"]]
    files = [mount for mount in mounts if mount not in volumes]

    assert [] == [source for source, *_ in files if not (ROOT / source).exists()]
    assert all(mount[-1].split(",")[0] == "ro" for mount in files)


def test_only_what_is_in_a_profile_may_be_left_out():
    """What runs always depends on nothing that does not; `up` would refuse it."""
    always = {name for name, service in SERVICES.items() if "profiles" not in service}

    assert {"perfmon", "shop", "prometheus", "alertmanager", "grafana"} == always
    assert {"full"} == {profile for service in SERVICES.values() for profile in service.get("profiles", [])}
    assert set() == {other for name in always for other in SERVICES[name].get("depends_on", {})} - always


def test_image_is_built_of_the_version_of_the_package():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    dockerfile = (DEPLOY / "Dockerfile").read_text()

    assert f"perfmon:{version}" == SERVICES["perfmon"]["image"] == SERVICES["shop"]["image"]
    assert f'"perfmon[cel]=={version}"' in dockerfile
    assert f'org.opencontainers.image.version="{version}"' in dockerfile


# ---------------------------------------------------------------- the image


def test_dockerfile_passes_hadolint():
    code, printed = run(of_venv("hadolint"), DEPLOY / "Dockerfile")

    assert (0, "") == (code, printed)


def test_the_image_is_built_of_what_the_wheel_is_built_of():
    """`.dockerignore` lets that through, and nothing else."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    sources = {
        *wheel["packages"],
        *wheel["force-include"],
        project["project"]["readme"],
        *project["project"]["license-files"],
    }
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}

    assert {*sources, "pyproject.toml", "uv.lock"} == allowed
    assert all((ROOT / source).exists() for source in sources)


# ---------------------------------------------------------------- what the servers read


def test_perfmons_configuration_is_read():
    read = config.load([DEPLOY / "perfmon.yml"])

    assert ("0.0.0.0:10737",) == read.web.listen
    assert {re.match(r"(?:http://)?(\w+):", check.target.address)[1] for check in read.checks} <= set(SERVICES)


@pytest.mark.servers
@pytest.mark.parametrize("profile", ["basic", "full"])
def test_prometheus_configuration_passes_promtool(binary, tmp_path, profile):
    """With the rules and the profile's targets where the container has them."""
    text = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    text = text.replace("/etc/prometheus/rules/", f"{ROOT}/rules/")
    file = tmp_path / "prometheus.yml"
    file.write_text(text.replace("/etc/prometheus/targets/", f"{DEPLOY}/prometheus/targets/{profile}/"))
    code, printed = run(binary("promtool"), "check", "config", "--lint-fatal", file)

    assert 0 == code, printed
    assert "rules found" in printed


def test_prometheus_scrapes_services_of_the_stack_under_the_rules_job():
    jobs = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in jobs if "static_configs" in job}

    assert ["perfmon:10737"] == targets["perfmon"]
    assert {target.split(":")[0] for found in targets.values() for target in found} <= {*SERVICES, "localhost"}


def test_prometheus_scrapes_what_the_profile_adds():
    """Prometheus reads any number of files of that form; who adds no profile gets a list with nothing in it."""
    lists = {file.parent.name: yaml.safe_load(file.read_text()) for file in DEPLOY.glob("prometheus/targets/*/*.yml")}
    profile = {name for name, service in SERVICES.items() if service.get("profiles") == ["full"]}

    assert {"basic": [], "full": lists["full"]} == lists
    assert profile == {target.split(":")[0] for one in lists["full"] for target in one["targets"]}
    assert {"node", "blackbox_exporter", "blackbox", "pushgateway"} == {one["labels"]["job"] for one in lists["full"]}


def test_what_blackbox_exporter_measures_pages_nobody():
    """It has the names of perfmon's own metrics, whose rules would tell of one outage twice: Prometheus renames it."""
    jobs = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    [[renaming]] = [job["metric_relabel_configs"] for job in jobs if job["job_name"] == "more"]

    assert (["__name__"], "__name__") == (renaming["source_labels"], renaming["target_label"])
    assert re.fullmatch(renaming["regex"], "probe_success")
    assert "blackbox_$1" == renaming["replacement"]
    assert not re.fullmatch(renaming["regex"], "node_load1")


@pytest.mark.servers
def test_alertmanager_configuration_passes_amtool(binary):
    code, printed = run(binary("amtool"), "check-config", ALERTMANAGER)

    assert 0 == code, printed


@pytest.mark.servers
@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["alertname=Watchdog", "severity=none"], "watchdog"),
        (["alertname=Anything", "severity=none"], "nobody"),
        (["alertname=PerfmonDown", "severity=critical", "job=perfmon"], "people"),
        (["alertname=ProbeDown", "severity=critical", "target=http://shop:8080/fast"], "people"),
        (["alertname=PerfmonDefect", "severity=info"], "people"),
        (["alertname=ShopTooSlow", "severity=warning"], "people"),
    ],
)
def test_alerts_go_where_they_should(binary, labels, receiver):
    routes = ("config", "routes", "test", f"--config.file={ALERTMANAGER}", f"--verify.receivers={receiver}")
    code, printed = run(binary("amtool"), *routes, *labels)

    assert 0 == code, printed


def test_grafana_is_given_the_data_source_and_the_folder_of_dashboards():
    provisioning = DEPLOY / "grafana" / "provisioning"
    sources = yaml.safe_load((provisioning / "datasources" / "perfmon.yml").read_text())["datasources"]
    provider = yaml.safe_load((provisioning / "dashboards" / "perfmon.yml").read_text())["providers"][0]
    scrape = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["global"]["scrape_interval"]
    mounted = dict(mount.split(":")[:2] for mount in SERVICES["grafana"]["volumes"])

    assert [("prometheus", "http://prometheus:9090"), ("alertmanager", "http://alertmanager:9093")] == [
        (source["uid"], source["url"]) for source in sources
    ]
    assert (scrape, "POST", True) == tuple(
        sources[0]["jsonData"][setting] for setting in ("timeInterval", "httpMethod", "manageAlerts")
    )
    assert (False, True, 30) == tuple(
        provider[key] for key in ("allowUiUpdates", "disableDeletion", "updateIntervalSeconds")
    )
    assert mounted["./dashboards"] == provider["options"]["path"]
    assert (ROOT / "dashboards" / "fleet.json").exists()


# ---------------------------------------------------------------- alerts that silence others


def test_an_exemplar_leads_to_its_run_at_the_address_where_perfmon_is_published():
    source = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/perfmon.yml").read_text())["datasources"][0]
    [destination] = source["jsonData"]["exemplarTraceIdDestinations"]
    perfmon = config.load([DEPLOY / "perfmon.yml"]).web.external_url

    assert ("run_id", f"{perfmon}run?id=$${{__value.raw}}") == (destination["name"], destination["url"])
    assert SERVICES["perfmon"]["ports"][0].rpartition(":")[0] in destination["url"]
    assert "--enable-feature=exemplar-storage" in SERVICES["prometheus"]["command"]


@contextmanager
def alertmanager(binary, folder, port):
    """A real one with the shipped configuration; yields the address of its API."""
    command = [
        binary("prometheus-alertmanager"),
        f"--config.file={ALERTMANAGER}",
        f"--storage.path={folder}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            eventually(lambda: requests.get(f"{url}/-/ready", timeout=1).ok)
            yield f"{url}/api/v2"
        finally:
            process.terminate()


def eventually(holds, within_s=10):
    deadline = time.monotonic() + within_s
    while True:
        try:
            if holds():
                return
        except requests.ConnectionError:
            pass  # not up yet
        assert time.monotonic() < deadline, f"not within {within_s} s"
        time.sleep(0.05)


def alert(name, severity, **labels):
    return {"labels": {"alertname": name, "severity": severity, "job": "perfmon", "instance": "a:10737", **labels}}


@pytest.mark.servers
def test_the_worse_alert_silences_the_milder_ones_of_the_same_thing(binary, tmp_path, free_port):
    target = {"probe": "shop", "target": "http://shop/"}
    other = {"probe": "shop", "target": "http://other/"}
    alerts = [
        alert("CertificateExpiring", "critical", **target),
        alert("CertificateExpiring", "warning", **target),
        alert("CertificateExpiring", "warning", **other),
        alert("ProbeDown", "critical", **other),
        alert("ProbeSlow", "warning", **other),
        alert("ErrorBudgetBurns", "warning", **other),
        alert("ErrorBudgetBurns", "critical", **target),
        alert("ErrorBudgetBurns", "warning", **target),
        alert("ProbeSlow", "warning", **target),
        alert("HostFilesystemFull", "critical", sampler="host", mountpoint="/"),
        alert("HostFilesystemFull", "warning", sampler="host", mountpoint="/srv"),
        alert("LeakNearLimit", "critical", sampler="services", group="shop", metric="memory", rule="MemoryLeak"),
        alert(
            "LeakFound", "warning", sampler="services", group="shop", metric="memory", rule="MemoryLeak", verdict="leak"
        ),
        alert("LeakFound", "warning", sampler="services", group="shop", metric="fds", rule="FdLeak", verdict="leak"),
        alert("OutOfTasks", "critical", sampler="units", group="api", cgroup="/a"),
        alert("OutOfTasks", "warning", sampler="units", group="api", cgroup="/b"),
        alert("PerfmonDown", "critical", instance="b:10737"),
        alert("ProbeDown", "critical", instance="b:10737", **target),
        alert("Watchdog", "none", instance="b:10737"),
    ]
    silenced = {
        ("CertificateExpiring", "warning", "a:10737", "http://shop/"),
        ("ProbeSlow", "warning", "a:10737", "http://other/"),
        ("ErrorBudgetBurns", "warning", "a:10737", "http://other/"),
        ("ErrorBudgetBurns", "warning", "a:10737", "http://shop/"),
        ("ProbeDown", "critical", "b:10737", "http://shop/"),
        ("LeakFound", "warning", "a:10737", ""),
    }

    with alertmanager(binary, tmp_path, free_port) as api:
        requests.post(f"{api}/alerts", json=alerts, timeout=5).raise_for_status()

        def inhibited():
            shown = requests.get(f"{api}/alerts", timeout=5).json()
            return {
                tuple(one["labels"].get(label, "") for label in ("alertname", "severity", "instance", "target"))
                for one in shown
                if one["status"]["inhibitedBy"]
            }

        eventually(lambda: silenced == inhibited(), within_s=20)
        [leak] = [
            one for one in requests.get(f"{api}/alerts", timeout=5).json() if one["labels"].get("rule") == "FdLeak"
        ]
        assert [] == leak["status"]["inhibitedBy"]


# ---------------------------------------------------------------- perfmon healthcheck


@contextmanager
def answering(status, body):
    """A server that gives one answer to everything; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Not to the test's output."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/-/healthy"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [(200, b"Healthy\n", (0, "Healthy\n")), (503, b"stuck\n", (1, "perfmon: unhealthy: 503 stuck\n"))],
)
def test_healthcheck_exits_by_the_answer(status, body, expected):
    with answering(status, body) as url:
        assert expected == run(sys.executable, "-m", "perfmon", "healthcheck", "--url", url)


def test_healthcheck_of_nobody_fails_in_words(free_port):
    url = f"http://127.0.0.1:{free_port}/-/healthy"

    code, printed = run(sys.executable, "-m", "perfmon", "healthcheck", "--url", url, "--timeout", "500ms")
    assert 1 == code
    assert "perfmon: unhealthy: connection refused\n" == printed


@pytest.mark.parametrize(
    "arguments",
    [
        ["--url", "file:///etc/passwd"],
        ["--url", "http://[::1/"],
        ["--url", "http://h/a b"],
        ["--timeout", "soon"],
        ["--timeout", "0"],
    ],
)
def test_healthcheck_refuses_what_makes_no_sense(arguments):
    assert 104 == run(sys.executable, "-m", "perfmon", "healthcheck", *arguments)[0]


def test_health_checks_of_the_stack_are_commands_that_exist():
    """`perfmon` in its own image; wget in those of Grafana and of Prometheus' projects, whose base is busybox."""
    for service in SERVICES.values():
        own = service["image"].startswith("perfmon:")
        assert ["perfmon" if own else "wget"] == service["healthcheck"]["test"][1:2]
