"""The whole daemon as a process, against a real service: start, reload, fail, restart, end."""

import itertools
import json
import os
import signal
import subprocess
import sys
from urllib.parse import quote

import pytest
from daemon import eventually, free_port, get, perfmon, service

from perfmon.clock import SystemClock
from perfmon.monitor.daemon import page_url
from perfmon.monitor.store import MinuteRow, Store


def config(shop, pager=None, *, extra="", rule_for="0s"):
    receivers = f"receivers: [{{name: pager, webhook: {{url: '{pager.url}/'}}}}]" if pager else ""
    return f"""
probes:
  - name: shop
    interval: 200ms
    timeout: 150ms
    targets: ["{shop.url}/a", "{shop.url}/b"]
{extra}
rules:
  - {{name: ShopDown, select: {{probe: shop}}, threshold: "last < 1", for: {rule_for}}}
{receivers}
state: {{path: state.sqlite3}}
"""


@pytest.fixture
def shop():
    with service() as running:
        yield running


@pytest.fixture
def pager():
    with service() as running:
        yield running


@pytest.fixture
def file(tmp_path):
    return tmp_path / "perfmon.yml"


def test_a_bare_url_is_watched_without_a_file(shop, tmp_path):
    with perfmon(tmp_path, f"{shop.url}/") as daemon:
        assert 1.0 == eventually(lambda: daemon.metric("probe_success", target=f"{shop.url}/"), "the probe succeeds")
        assert eventually(lambda: daemon.metric("perfmon_process_up", group="perfmon"), "perfmon watches itself")
        assert "up" == daemon.targets()["probes"][0]["state"]
        assert 200 == get(f"{daemon.url}/")[0]
        assert (200, "Healthy\n") == get(f"{daemon.url}/-/healthy")
        assert 0 == daemon.stop()


def test_s02_it_ends_cleanly_on_sigterm_while_probes_hang(tmp_path):
    with service() as shop:
        hanging = free_port()
        listener = subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"import socket,time; s=socket.create_server(('127.0.0.1',{hanging})); time.sleep(60)",
            ]
        )
        try:
            with perfmon(tmp_path, f"{shop.url}/", f"http://127.0.0.1:{hanging}/") as daemon:
                eventually(lambda: daemon.metric("perfmon_probes_in_flight"), "a probe hangs")
                assert 0 == daemon.stop()
                assert "stopped" == daemon.events()[-1]["event"]
        finally:
            listener.kill()
            listener.wait()


def test_a_sampler_that_hangs_is_said_and_holds_up_neither_the_others_nor_the_end(file, tmp_path):
    """Reading a named pipe that nobody writes to never ends, as with a network filesystem whose server is gone."""
    hanging = [tmp_path / name for name in "abcde"]
    for folder in hanging:
        folder.mkdir()
        os.mkfifo(folder / "stat")
    file.write_text(
        "samplers:\n"
        + "".join(f"  - {{name: {one.name}, interval: 200ms, host: {{procfs: '{one}'}}}}\n" for one in hanging)
        + "  - {name: z, interval: 200ms, host: {}}\n"
        + "state: {path: ''}\n"
    )
    with perfmon(tmp_path, f"--config.file={file}") as daemon:
        eventually(lambda: daemon.metric("perfmon_sampler_runs_total", sampler="z", result="success"), "one is read")
        words = dict.fromkeys("abcde", "hangs: it has not come back for 10s") | {"z": ""}
        eventually(lambda: words == said(daemon), "the others hang")
        assert 0.0 == daemon.metric("perfmon_sampler_success", sampler="e")
        assert list("abcde") == sorted(one["sampler"] for one in daemon.events() if one["event"] == "sampler fails")
        assert 0 == daemon.stop()


def test_a_failing_target_pages_once_and_resolves_once(shop, pager, file, tmp_path):
    file.write_text(config(shop, pager))
    with perfmon(tmp_path, f"--config.file={file}") as daemon:
        eventually(lambda: daemon.metric("probe_success", target=f"{shop.url}/a") == 1.0, "the target is up")
        shop.status = 503
        eventually(lambda: len(statuses(pager)) >= 2, "both targets page")
        shop.status = 200
        eventually(lambda: len(statuses(pager)) >= 4, "both targets resolve")

        assert {("firing", "a"): 1, ("firing", "b"): 1, ("resolved", "a"): 1, ("resolved", "b"): 1} == counted(pager)
        reasons = daemon.metric("perfmon_probe_runs_total", target=f"{shop.url}/a", reason="status")
        assert reasons >= 1
        turns = [event["event"] for event in daemon.events() if event["event"].startswith("probe")]
        assert ["probe fails"] * 2 + ["probe recovered"] * 2 == turns


def test_a_failure_is_confirmed_before_it_counts_and_the_first_tries_stay_visible(shop, file, tmp_path):
    """Of three requests one is answered with 200, as in case D26; only a rule on the first tries fires."""
    file.write_text(
        f"""
probes:
  - {{name: shop, interval: 500ms, timeout: 150ms, confirm: {{attempts: 3}}, targets: ["{shop.url}/"]}}
rules:
  - {{name: Down, threshold: last < 1}}
  - {{name: Shaky, metric: first_try_failed, threshold: last < 1, severity: warning}}
state: {{path: ''}}
"""
    )
    shop.statuses = itertools.cycle([503, 503, 200])
    with perfmon(tmp_path, f"--config.file={file}") as daemon:
        eventually(lambda: (daemon.metric("perfmon_probe_runs_total", result="success") or 0) >= 3, "it runs")
        runs, tries, firsts = (
            daemon.metric("perfmon_probe_latency_seconds_count"),
            daemon.metric("perfmon_probe_attempts_total"),
            daemon.metric("perfmon_probe_first_try_runs_total", result="failure", reason="status"),
        )
        assert (1.0, 3.0) == (daemon.metric("probe_success"), daemon.metric("perfmon_probe_last_run_attempts"))
        assert daemon.metric("perfmon_probe_runs_total", result="failure") is None
        assert runs <= firsts <= runs + 1
        assert 3 * runs <= tries <= 3 * runs + 3
        assert [("Shaky", "firing")] == [(alert["rule"], alert["state"]) for alert in daemon.alerts()]


def test_a_target_that_fails_is_rechecked_sooner_and_found_when_it_is_back(shop, file, tmp_path):
    """Runs are due every 2 s, so what is seen here within a second is seen by rechecks."""
    file.write_text(
        f"""
probes:
  - {{name: shop, interval: 2s, interval_failing: 100ms, targets: ["{shop.url}/"]}}
rules: [{{name: Down, threshold: last < 1}}]
state: {{path: ''}}
"""
    )
    shop.status = 503
    with perfmon(tmp_path, f"--config.file={file}") as daemon:
        eventually(lambda: (daemon.metric("perfmon_probe_rechecks_total", reason="status") or 0) >= 5, "it rechecks")
        assert ["firing"] == [alert["state"] for alert in daemon.alerts()]
        shop.status = 200
        eventually(lambda: daemon.metric("perfmon_probe_rechecks_total", result="success"), "it is back")
        assert [] == [alert for alert in daemon.alerts() if alert["state"] == "firing"]
        rechecks = daemon.metrics().count("perfmon_probe_rechecks_total{")
        eventually(lambda: daemon.metric("perfmon_probe_runs_total", result="success"), "the next run is fine, too")

        assert 2 == rechecks
        assert 1.0 == daemon.metric("perfmon_probe_rechecks_total", result="success")
        assert daemon.metric("perfmon_probe_latency_seconds_count") <= 3


def test_killed_while_firing_it_comes_back_firing_and_pages_nobody_twice(shop, pager, file, tmp_path):
    """Case A08: same alert, same start, no second page."""
    file.write_text(config(shop, pager))
    shop.status = 503
    with perfmon(tmp_path, f"--config.file={file}") as daemon:
        eventually(lambda: len(statuses(pager)) >= 2, "both targets page")
        eventually(lambda: daemon.metric("perfmon_notifications_queued", receiver="pager") == 0, "all is sent")
        before = {alert["labels"]["target"]: alert["fired_at"] for alert in daemon.alerts()}
        daemon.kill()
        daemon.start()
        eventually(lambda: daemon.metric("perfmon_probe_runs_total", reason="status"), "it probes again")
        after = {alert["labels"]["target"]: alert["fired_at"] for alert in daemon.alerts()}
        shop.status = 200
        eventually(lambda: len(statuses(pager)) >= 4, "both targets resolve")

        assert before.keys() == after.keys()
        assert all(abs(before[target] - after[target]) < 0.01 for target in before)
        assert {("firing", "a"): 1, ("firing", "b"): 1, ("resolved", "a"): 1, ("resolved", "b"): 1} == counted(pager)


def test_a_restart_shows_the_last_hour_and_leaves_out_what_it_does_not_understand(shop, tmp_path):
    clock, key = SystemClock(), f"http/{shop.url}/"
    former = Store(tmp_path / "state.sqlite3", clock=clock)
    former.put_minutes([MinuteRow(key, clock.wall() - 600.0, (6, 1, 0.25, 0.5)), MinuteRow(key, clock.wall(), (1,))])
    former.close()
    with perfmon(tmp_path, f"{shop.url}/", "--state.path=state.sqlite3") as daemon:
        history = daemon.targets()["probes"][0]["history"]

    assert [(6, 1, 0.25, 0.5)] == [tuple(one.values())[1:] for one in history if one["runs"] == 6]


def test_a_reload_keeps_counters_and_alerts_of_what_did_not_change(shop, pager, file, tmp_path):
    """Case S14, and S07: the series of a removed target end at once."""
    file.write_text(config(shop, pager))
    with perfmon(tmp_path, f"--config.file={file}") as daemon:
        shop.status = 503
        eventually(lambda: len(statuses(pager)) >= 2, "both targets page")
        runs = eventually(
            lambda: daemon.metric("perfmon_probe_runs_total", target=f"{shop.url}/a", reason="status"), "it runs"
        )
        gone = f"{shop.url}/b"
        file.write_text(config(shop, pager).replace(f', "{gone}"', ""))
        assert (200, "") == get(f"{daemon.url}/-/reload", method="POST")

        assert daemon.metric("perfmon_probe_runs_total", target=f"{shop.url}/a", reason="status") >= runs
        assert daemon.metric("probe_success", target=gone) is None
        assert ["/a"] == [alert["labels"]["target"][-2:] for alert in daemon.alerts() if alert["state"] == "firing"]
        eventually(lambda: ("resolved", "b") in counted(pager), "the removed target's alert is resolved")
        assert ("resolved", "a") not in counted(pager)


def test_a_broken_config_is_told_and_the_old_one_goes_on(shop, file, tmp_path):
    file.write_text(config(shop))
    with perfmon(tmp_path, f"--config.file={file}") as daemon:
        file.write_text(config(shop).replace("interval: 200ms", "intervall: 200ms"))
        status, text = get(f"{daemon.url}/-/reload", method="POST")

        assert 500 == status
        assert 'did you mean "interval"' in text
        assert 0.0 == daemon.metric("perfmon_config_last_reload_successful")
        eventually(lambda: daemon.metric("probe_success", target=f"{shop.url}/a") == 1.0, "it still probes")

        file.write_text(config(shop, extra="    labels: {team: web}\n"))
        os.kill(daemon.process.pid, signal.SIGHUP)
        eventually(lambda: daemon.metric("perfmon_config_last_reload_successful") == 1.0, "SIGHUP is heeded")
        eventually(lambda: daemon.metric("probe_success", team="web") == 1.0, "with its new label")
        assert 2 == sum(line.startswith("probe_success{") for line in daemon.metrics().splitlines())


def test_a_probe_by_hand_uses_the_modules_and_keeps_nothing(shop, file, tmp_path):
    file.write_text(config(shop))
    with perfmon(tmp_path, f"--config.file={file}") as daemon:
        status, text = get(f"{daemon.url}/probe?module=tcp_connect&target=127.0.0.1:{shop.port}")
        assert 200 == status
        assert "probe_success 1" in text
        assert (400, 'Unknown module "nope"\n') == get(f"{daemon.url}/probe?module=nope&target=x")
        _, debug = get(f"{daemon.url}/probe?target={shop.url}/&debug=true")
        assert "Logs for the probe:" in debug
        assert "prober: http" in debug
        assert 2 == len(daemon.targets()["probes"])


def test_secrets_show_nowhere(shop, file, tmp_path):
    file.write_text(
        f"""
modules:
  locked: {{prober: http, timeout: 150ms, http: {{basic_auth: {{username: u, password: "${{env:SHOP_PASSWORD}}"}}}}}}
probes: [{{name: shop, module: locked, interval: 200ms, targets: ["{shop.url}/"]}}]
receivers: [{{name: pager, webhook: {{url: "{shop.url}/hook?token=${{env:SHOP_PASSWORD}}"}}}}]
rules: [{{name: ShopDown, select: {{probe: shop}}, threshold: "last < 1"}}]
state: {{path: state.sqlite3}}
log: {{level: debug}}
"""
    )
    secret = "hunter2-and-more"
    with perfmon(tmp_path, f"--config.file={file}", env={"SHOP_PASSWORD": secret}) as daemon:
        eventually(lambda: daemon.metric("probe_success") == 1.0, "the target is up")
        shop.status = 500
        eventually(lambda: shop.posted, "somebody is paged")
        pages = [daemon.metrics(), str(daemon.targets()), str(daemon.alerts())]
        pages.append(get(f"{daemon.url}/probe?module=locked&target={shop.url}/&debug=true")[1])
        pages.append(daemon.log.read_text())

        assert not [page for page in pages if secret in page]
        assert "<secret>" in pages[3]


def test_a_taken_port_is_an_error_and_no_traceback(shop, tmp_path):
    with perfmon(tmp_path, f"{shop.url}/") as daemon:
        second = subprocess.run(
            [sys.executable, "-m", "perfmon", "serve", "x:1", "--state.path=",
             f"--web.listen-address=127.0.0.1:{daemon.port}"],
            capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip

    assert 104 == second.returncode
    assert f"perfmon: cannot listen on 127.0.0.1:{daemon.port}: address already in use\n" == second.stderr


def test_a_second_daemon_on_one_state_file_is_refused_and_touches_nothing(shop, pager, file, tmp_path):
    """It would take the alerts of the first for those of its former life, and tell that they are over."""
    file.write_text(config(shop, pager))
    shop.status = 503
    with perfmon(tmp_path, f"--config.file={file}") as daemon:
        eventually(lambda: len(statuses(pager)) >= 2, "both targets page")
        second = subprocess.run(
            [sys.executable, "-m", "perfmon", "serve", "http://x/", "--state.path=state.sqlite3",
             f"--web.listen-address=127.0.0.1:{free_port()}"],
            capture_output=True, text=True, timeout=20, check=False, cwd=tmp_path,
        )  # fmt: skip
        eventually(lambda: daemon.metric("perfmon_notifications_queued", receiver="pager") == 0, "all is sent")

    assert 104 == second.returncode
    words = 'the state file "state.sqlite3" is in use by another perfmon: give each its own (--state.path)'
    assert f"perfmon: {words}\n" == second.stderr
    assert {("firing", "a"): 1, ("firing", "b"): 1} == counted(pager)


@pytest.mark.parametrize("arguments", [[], ["http://x/", "--config.file=perfmon.yml"], ["--config.file=missing.yml"]])
def test_wrong_usage_ends_with_a_sentence(arguments, tmp_path):
    ended = subprocess.run(
        [sys.executable, "-m", "perfmon", "serve", *arguments],
        capture_output=True, text=True, timeout=20, check=False, cwd=tmp_path,
    )  # fmt: skip

    assert 104 == ended.returncode
    assert ended.stderr.startswith("perfmon: ")
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("listen", "page"),
    [
        ("127.0.0.1:10737", "http://127.0.0.1:10737/"),
        ("[::1]:10737", "http://[::1]:10737/"),
        ("[::]:10737", "http://localhost:10737/"),
        (":10737", "http://localhost:10737/"),
    ],
)
def test_the_page_is_where_a_browser_finds_it(listen, page):
    assert page == page_url(listen)


def test_what_failed_is_known_after_a_restart_and_a_check_is_run_on_request(shop, file, tmp_path):
    shop.status = 503
    file.write_text(config(shop))
    key = quote(f"shop/{shop.url}/a", safe="")

    def target(daemon):
        return json.loads(get(f"{daemon.url}/api/v1/target?key={key}")[1])

    with perfmon(tmp_path, f"--config.file={file}") as daemon:
        eventually(lambda: target(daemon)["probe"]["failing"]["runs"] > 1, "it fails twice")
        assert "ShopDown" in [alert["rule"] for alert in target(daemon)["alerts"]]
        status, body = get(f"{daemon.url}/api/v1/target/run?key={key}", method="POST")
        explained = json.loads(body)
        refused, _ = get(
            f"{daemon.url}/api/v1/target/run?key={key}", method="POST", headers={"Origin": "http://evil.example"}
        )
        first = target(daemon)["probe"]["failure_spells"][0]["first_at"]
        daemon.stop()
        shop.status = 200
        daemon.start()
        eventually(lambda: target(daemon)["probe"]["state"] == "up", "it is up again")
        [spell] = target(daemon)["probe"]["failure_spells"]
        daemon.stop()

    assert (200, False, "status", 403) == (status, explained["success"], explained["failure"]["reason"], refused)
    assert {"timed", "exchange", "demand"} == {step["step"] for step in explained["steps"]}
    assert ("status", {"status": "503", "body": "ok"}) == (spell["reason"], spell["evidence"])
    assert abs(first - spell["first_at"]) < 1
    assert spell["runs"] > 1


def said(daemon):
    """What each sampler's last reading did not find, in words."""
    return {one["sampler"]: one["last"] and one["last"]["error"] for one in daemon.targets()["samplers"]}


def statuses(pager):
    return [(alert["status"], alert["labels"]["target"][-1]) for post in pager.posted for alert in post["alerts"]]


def counted(pager):
    found = statuses(pager)
    return {one: found.count(one) for one in found}


def test_a_sampler_read_at_another_interval_goes_on_as_it_was(pager, file, tmp_path):
    def text(interval):
        return f"""
samplers: [{{name: me, interval: {interval}, process: {{groups: [{{name: perfmon, self: true}}]}}}}]
rules:
  - name: TooManyThreads
    select: {{sampler: me}}
    metric: perfmon_process_threads
    threshold: "last < 1"
receivers: [{{name: pager, webhook: {{url: "{pager.url}/"}}}}]
state: {{path: state.sqlite3}}
"""

    file.write_text(text("200ms"))
    with perfmon(tmp_path, f"--config.file={file}") as daemon:
        eventually(lambda: pager.posted, "somebody is paged")
        runs = daemon.metric("perfmon_sampler_runs_total", result="success")
        file.write_text(text("300ms"))
        assert 200 == get(f"{daemon.url}/-/reload", method="POST")[0]
        eventually(lambda: daemon.metric("perfmon_sampler_runs_total", result="success") > runs + 3, "it is read on")

        assert ["firing"] == [alert["status"] for post in pager.posted for alert in post["alerts"]]
