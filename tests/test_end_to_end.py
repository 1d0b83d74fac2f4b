"""The whole of it with the real things: what `make run` starts, and the shipped stack through an outage.

What is shipped and what is substituted in it is said in tests/stack.py.
"""

import contextlib
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import yaml
from browser import chromium
from daemon import eventually, free_port, get
from stack import stack as real_stack

ROOT = Path(__file__).parents[1]
DASHBOARDS = {file.stem: json.loads(file.read_text()) for file in sorted((ROOT / "dashboards").glob("*.json"))}
PANELS = [
    pytest.param(panel, board, id=f"{name}-{panel['id']}-{panel['title']}")
    for name, board in DASHBOARDS.items()
    for panel in board["panels"]
    if panel["type"] != "row"
]
ANNOTATIONS = [
    pytest.param(annotation, board, id=f"{name}-{annotation['name']}")
    for name, board in DASHBOARDS.items()
    for annotation in board["annotations"]["list"]
]
VARIABLES = [
    pytest.param(variable, board, id=f"{name}-{variable['name']}")
    for name, board in DASHBOARDS.items()
    for variable in board["templating"]["list"][1:]
    if variable["type"] == "query"
]
OF_PRESSURE = ("Pressure", "Somebody waits", "Everybody waits")
DATA_SOURCES = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/perfmon.yml").read_text())["datasources"]

pytestmark = pytest.mark.servers


# ---------------------------------------------------------------- make run


@pytest.fixture
def make_run(binary, tmp_path):
    """`make run` in a copy of what it reads, as from a terminal; with its two addresses."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    listen, shop = f"127.0.0.1:{free_port()}", free_port()
    settings = [f"BIN={Path(sys.executable).parent}", f"LISTEN={listen}", f"SHOP_PORT={shop}"]
    # What the tests run in is what it would install: `--old-file` spares the copy that.
    command = [binary("make"), "--old-file=.venv/.runtime", "run", *settings]
    with (tmp_path / "said").open("wb") as out:
        make = subprocess.Popen(command, cwd=tmp_path, stdout=out, stderr=out, start_new_session=True)
    yield make, f"http://{listen}", f"http://127.0.0.1:{shop}", tmp_path / "said"
    with contextlib.suppress(ProcessLookupError):
        os.killpg(make.pid, signal.SIGKILL)
    make.wait()


def test_make_run_watches_the_shop_this_machine_and_itself_until_ctrl_c(make_run, binary):
    make, perfmon, shop, said = make_run
    states = eventually(lambda: all_known(f"{perfmon}/api/v1/targets"), f"all has been looked at; it said: {said}")
    page = get(f"{perfmon}/metrics")[1]
    lint = [binary("promtool"), "check", "metrics"]
    linted = subprocess.run(lint, input=page, capture_output=True, text=True, check=False)
    os.killpg(make.pid, signal.SIGINT)  # as a terminal does on Ctrl-C
    make.wait(30)

    targets = [f"{shop}/fast", f"{shop}/slow?ms=200&jitter=50", f"{shop}/health", shop.removeprefix("http://")]
    assert dict.fromkeys([*targets, "host", "processes"], "up") == states
    assert 'perfmon_process_up{group="shop",sampler="processes"} 1.0\n' in page
    assert (0, "") == (linted.returncode, linted.stdout + linted.stderr)
    assert [] == processes_of(make.pid)
    assert all(f" {address}/\n" in said.read_text() for address in (perfmon, shop))
    assert "Traceback" not in said.read_text()


def test_make_run_leaves_nothing_behind_in_a_terminal_that_is_closed(make_run):
    """To the daemon by itself a SIGHUP is the wish that it read its configuration anew."""
    make, perfmon, _, _ = make_run
    eventually(lambda: get(f"{perfmon}/-/ready")[0] == 200, "perfmon is ready")
    assert 2 == [process.name() for process in processes_of(make.pid)].count("perfmon"), "the shop and the daemon"
    os.killpg(make.pid, signal.SIGHUP)
    make.wait(30)

    eventually(lambda: not processes_of(make.pid), "nothing is left")


def test_make_run_that_is_killed_alone_takes_with_it_what_it_started(make_run):
    """As by `kill`, or by a supervisor that knows make only; make hands the signal to what it runs itself."""
    make, perfmon, _, _ = make_run
    eventually(lambda: get(f"{perfmon}/-/ready")[0] == 200, "perfmon is ready")
    make.terminate()
    make.wait(30)

    eventually(lambda: not processes_of(make.pid), "nothing is left")


def all_known(url):
    """What is watched and how it is, once each probe and sampler has run."""
    watched = json.loads(get(url)[1])
    states = {probe["target"]: probe["state"] for probe in watched["probes"]}
    states |= {sampler["sampler"]: sampler["state"] for sampler in watched["samplers"]}
    return states if "unknown" not in states.values() else {}


def processes_of(group):
    """Those that live, of a process group."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


# ---------------------------------------------------------------- the shipped stack


@pytest.fixture(scope="module")
def stack(binary, authority, tmp_path_factory):
    with real_stack(binary, tmp_path_factory.mktemp("stack"), authority) as running:
        yield running


BOTH = {"NginxDown", "ProbeDown"}  # perfmon's own rule, and the shipped one that Prometheus judges


def test_an_outage_pages_once_by_either_way_though_perfmon_is_killed_in_the_middle(stack):
    nginx, perfmon, prometheus, _, pager = stack
    seen_up = 'increase(perfmon_probe_runs_total{probe="nginx", result="success"}[10m])'
    eventually(lambda: prometheus.value(seen_up), "Prometheus has seen nginx up")

    with nginx.stopped():
        eventually(lambda: held(stack).keys() == BOTH, "Alertmanager holds both alerts", within_s=30)
        eventually(lambda: set(told(pager)) == BOTH, "somebody is paged")
        fired_at = perfmon_fired_at(perfmon)

        perfmon.kill()
        eventually(lambda: prometheus.value('up{job="perfmon"}') == 0, "Prometheus misses perfmon")
        perfmon.start()
        eventually(lambda: perfmon.metric("probe_success", probe="nginx") == 0, "it has probed again")
        eventually(judged_after(prometheus, time.time()), "Prometheus has judged what it now says")
        assert fired_at == pytest.approx(perfmon_fired_at(perfmon), abs=0.01)
        assert BOTH == held(stack).keys()

    eventually(lambda: not held(stack), "both are over", within_s=30)
    eventually(lambda: all(pages[-1][0] == "resolved" for pages in told(pager).values()), "and somebody is told so")
    starts = {name: pages[0][1] for name, pages in told(pager).items()}
    assert {name: [("firing", starts[name]), ("resolved", starts[name])] for name in BOTH} == told(pager)


def held(stack):
    """What Alertmanager holds of nginx over HTTP: alerts by name; but what the outage cost is told longer than it is."""
    found = stack.alertmanager.active('probe="nginx"')
    return {name: alert for name, alert in found.items() if name != "ErrorBudgetBurns"}


def told(pager):
    """What came out behind Alertmanager of it: status and beginning of each page, by the alert's name."""
    pages = {}
    for alert in pager.alerts():
        if alert["labels"].get("probe") == "nginx" and alert["labels"]["alertname"] != "ErrorBudgetBurns":
            pages.setdefault(alert["labels"]["alertname"], []).append((alert["status"], alert["startsAt"]))
    return pages


def perfmon_fired_at(perfmon):
    [alert] = [alert for alert in perfmon.alerts() if alert["rule"] == "NginxDown"]
    return alert["fired_at"]


def judged_after(prometheus, moment):
    """Whether every rule was evaluated on a scrape of perfmon that is younger than the moment (Unix time)."""

    def judged():
        if not (scraped := prometheus.value(f'timestamp(up{{job="perfmon"}}) > {moment}')):
            return False
        # Groups of long windows are evaluated more rarely, and tell of no outage.
        groups = [group for group in prometheus.api("rules")["groups"] if group["interval"] < 60]
        return all(datetime.fromisoformat(group["lastEvaluation"]).timestamp() > scraped for group in groups)

    return judged


def test_prometheus_takes_all_that_the_stack_exposes(stack):
    """By OpenMetrics: only that has units."""
    prometheus = stack.prometheus
    refused = 'sum({__name__=~"prometheus_target_scrapes_(sample|exceeded|exemplar)_.*_total"})'
    eventually(lambda: len(prometheus.query("up == 1")) == 5, "all jobs are up")
    eventually(lambda: prometheus.value(refused) is not None, "Prometheus has scraped itself")
    [family] = prometheus.api(
        "targets/metadata", match_target='{job="perfmon"}', metric="perfmon_probe_latency_seconds"
    )

    assert 0 == prometheus.value(refused)
    assert 0 < prometheus.value('scrape_samples_scraped{job="perfmon"}')
    assert "seconds" == family["unit"]
    assert [] == [line for line in prometheus.log.read_text().splitlines() if " level=info " not in line]


def test_an_exemplar_in_prometheus_opens_the_run_in_perfmon(stack):
    """As Grafana does it: it asks for those of a panel's query, and takes the label to the address in its data source."""
    asked = {"query": 'perfmon_probe_latency_seconds_bucket{probe="nginx"}', "start": time.time() - 600}
    found = eventually(lambda: stack.prometheus.api("query_exemplars", end=time.time(), **asked), "an exemplar")
    newest = max((one for series in found for one in series["exemplars"]), key=lambda one: one["timestamp"])
    url = destination(newest["labels"]).replace("http://127.0.0.1:10737", stack.perfmon.url)
    run = json.loads(get(url.replace("/run?", "/api/v1/run?"))[1])["run"]

    assert ("nginx", stack.nginx.url) == (run["probe"], run["target"])
    assert newest["timestamp"] == pytest.approx(run["at"], abs=0.001)
    assert 'id="sought"' in get(url)[1]


def destination(labels):
    [leads] = DATA_SOURCES[0]["jsonData"]["exemplarTraceIdDestinations"]
    return leads["url"].replace("$${__value.raw}", labels[leads["name"]])


# ---------------------------------------------------------------- a leak


def test_the_leak_of_the_shop_is_on_its_page_in_the_gauges_at_prometheus_and_at_alertmanager(stack):
    """And the time that is left is right: the shop's own count of what it keeps says how fast it grows."""
    _, perfmon, prometheus, alertmanager, pager = stack
    eventually(lambda: "ShopLeak" in alertmanager.active('group="shop"'), "Alertmanager hears of it", within_s=90)
    group = json.loads(get(f"{perfmon.url}/api/v1/group?sampler=leaking&group=shop")[1])
    [leak] = group["group"]["leaks"]
    [alert] = group["alerts"]

    assert ("leak", "firing") == (leak["verdict"], alert["state"])
    assert 1 == len(leak["lines"])
    assert 1 == perfmon.metric("perfmon_leak_verdict", verdict="leak", group="shop")
    in_prometheus = 'perfmon_leak_verdict{verdict="leak", group="shop"}'
    eventually(lambda: prometheus.value(in_prometheus) == 1, "Prometheus knows the verdict")
    eventually(lambda: any(one["labels"]["alertname"] == "ShopLeak" for one in pager.alerts()), "somebody is paged")
    assert "leak: grows " in alertmanager.active('group="shop"')["ShopLeak"]["annotations"]["description"]

    growth = growth_of_the_shop(perfmon)
    left = 2**30 - perfmon.metric("perfmon_process_private_memory_bytes", group="shop")
    assert left / growth == pytest.approx(perfmon.metric("perfmon_leak_seconds_to_limit", group="shop"), rel=0.2)


def growth_of_the_shop(perfmon):
    """Bytes a second that it keeps, by its own count."""
    [leaking] = [probe["target"] for probe in perfmon.targets()["probes"] if probe["probe"] == "leak"]

    def kept():
        page = get(f"http://{urlsplit(leaking).netloc}/metrics")[1]
        return time.monotonic(), float(re.search(r"^shop_leaked_bytes (.+)$", page, flags=re.MULTILINE)[1])

    began, before = kept()
    time.sleep(5)
    ended, after = kept()
    return (after - before) / (ended - began)


# ---------------------------------------------------------------- the dashboards


@pytest.mark.parametrize(("panel", "board"), PANELS)
def test_panel_shows_something(stack, panel, board):
    if panel["title"] in OF_PRESSURE and "host" in panel["targets"][0]["expr"] and not Path("/proc/pressure").exists():
        pytest.skip("this kernel tells no pressure")
    for target in panel["targets"]:
        look = partial(shown, stack, as_grafana_asks(target["expr"], board), instant=target["instant"])
        eventually(look, target["expr"], within_s=60)


@pytest.mark.parametrize(("annotation", "board"), ANNOTATIONS)
def test_annotation_marks_something(stack, annotation, board):
    """Alerts too: one probe of the stack always fails. But no rule on a group fires so soon, nor one on perfmon."""
    expression = re.sub('group!="", |, group=~"[^"]+"|alertname=~"Perf(?:mon|Test)[^"]+", ', "", annotation["expr"])
    look = partial(shown, stack, as_grafana_asks(expression, board), instant=False)
    eventually(look, annotation["expr"], within_s=60)


@pytest.mark.parametrize(("variable", "board"), VARIABLES)
def test_variable_has_something_to_choose_from(stack, variable, board):
    selector, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"]).groups()
    values = f"label/{label}/values"
    eventually(lambda: stack.prometheus.api(values, **{"match[]": as_grafana_asks(selector, board)}), selector)


def test_a_chosen_target_is_shown_alone(stack):
    board = DASHBOARDS["fleet"]
    [state] = [panel for panel in board["panels"] if panel["title"] == "State"]
    expression = as_grafana_asks(state["targets"][0]["expr"], board, probe="nginx", target=stack.nginx.url)
    eventually(lambda: stack.prometheus.query(expression), expression)

    assert [stack.nginx.url] == [series["metric"]["target"] for series in stack.prometheus.query(expression)]


def as_grafana_asks(expression, board, **chosen):
    """The expression with Grafana's variables filled in: all of everything, but for what is chosen."""
    number, unit = re.fullmatch(r"now-(\d+)([hd])", board["time"]["from"]).groups()
    scrape_s = int(DATA_SOURCES[0]["jsonData"]["timeInterval"].removesuffix("s"))
    variables = board["templating"]["list"][1:]
    values = {one["name"]: one["allValue"] if one["type"] == "query" else one["current"]["value"] for one in variables}
    values |= {name: re.sub(r"[$^*{}\[\]'+?.()|]", r"\\\\\g<0>", value) for name, value in chosen.items()}
    values |= {"__range": f"{int(number) * {'h': 3600, 'd': 86400}[unit]}s", "__rate_interval": f"{4 * scrape_s}s"}
    return re.sub(r"\$(\w+)", lambda match: values[match[1]], expression)


def shown(stack, expression, *, instant):
    """The series that have a finite value to draw."""
    if instant:
        return [one for one in stack.prometheus.query(expression) if math.isfinite(float(one["value"][1]))]
    now = time.time()
    found = stack.prometheus.api("query_range", query=expression, start=now - 300, end=now, step=5)["result"]
    return [one for one in found if any(math.isfinite(float(value)) for _, value in one["values"])]


# ---------------------------------------------------------------- the status page


def test_the_page_follows_an_outage_in_every_look_and_asks_nobody_else(stack, binary):
    with chromium(binary("chromium")) as new_tab:
        tabs = [new_tab(width=width, dark=dark) for width in (1280, 390) for dark in (False, True)]
        for tab in tabs:
            tab.send("Emulation.setFocusEmulationEnabled", enabled=True)  # a tab in the background asks more rarely
            tab.open(f"{stack.perfmon.url}/")
        see(tabs, stack.nginx.url, "up", "1 of 5 failing")
        with stack.nginx.stopped():
            see(tabs, stack.nginx.url, "failing", "3 of 5 failing")
        see(tabs, stack.nginx.url, "up", "1 of 5 failing")

        assert [] == [error for tab in tabs for error in tab.errors]
        assert {urlsplit(stack.perfmon.url).netloc} == {urlsplit(url).netloc for tab in tabs for url in tab.urls}


def see(tabs, target, state, title):
    """Wait until every tab, left alone, shows the target in this state, and this title."""
    rows = "[...document.querySelectorAll('#probe-rows > .probe')]"
    row = f"{rows}.find((row) => row.textContent.includes({json.dumps(target)}))"
    for tab in tabs:
        tab.until(f"{row}?.querySelector('.word').textContent === '{state}'")
        tab.until(f"document.title === '{title} · perfmon'")
