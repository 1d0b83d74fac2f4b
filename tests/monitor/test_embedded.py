"""perfmon inside of another program, against the shop as a real process."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import structlog
from daemon import Service, eventually, free_port, get

import perfmon
from perfmon import Monitor
from perfmon.errors import ConfigError, UsageError

GUIDE = Path(__file__).parents[2] / "docs" / "python.md"

RULE = {"name": "Down", "threshold": "rate < 50% over 2s"}


def config_of(address, folder, **more):
    return {
        "probes": [{"name": "shop", "interval": "100ms", "targets": [address]}],
        "rules": [RULE],
        "web": {"listen": ["127.0.0.1:0"]},
        "state": {"path": str(folder / "state.sqlite3")},
        "log": {"level": "error"},
    } | more


@pytest.fixture(autouse=True)
def no_log_of_others():
    """As in a program that has set nothing about logs; other tests have, and shall not find what these set."""
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


@pytest.fixture
def service():
    service = Service()
    try:
        yield service
    finally:
        service.stop()


def statuses(seen):
    return [(alert.labels["alertname"], alert.status) for alert in seen]


def test_a_callback_hears_when_an_alert_begins_and_when_it_is_over(service, tmp_path):
    seen = []
    monitor = Monitor(config_of(service.url, tmp_path))
    monitor.on_alert(seen.append)
    service.status = 503
    with monitor:
        eventually(lambda: seen, "the alert fires")
        service.status = 200
        eventually(lambda: len(seen) == 2, "the alert is over")

    assert [("Down", "firing"), ("Down", "resolved")] == statuses(seen)
    assert "rate of failed over 2s is 100%, expected < 50%" in seen[0].why
    assert service.url == seen[0].labels["target"]


def test_a_callback_that_raises_is_counted_and_the_next_alert_reaches_it(service, tmp_path):
    seen = []

    def clumsy(alert):
        seen.append(alert)
        raise RuntimeError("no luck")

    monitor = Monitor(config_of(service.url, tmp_path))
    monitor.on_alert(clumsy)
    service.status = 503
    with monitor:
        eventually(lambda: seen, "the alert fires")
        service.status = 200
        eventually(lambda: len(seen) == 2, "the alert is over")
        counted = eventually(
            lambda: (
                re.search(
                    r"perfmon_notifications_total\{outcome=\"failed\",receiver=\"(on_alert .*clumsy)\"\} 2",
                    metrics(monitor),
                )
                or re.search(
                    r"perfmon_notifications_total\{receiver=\"(on_alert .*clumsy)\",outcome=\"failed\"\} 2",
                    metrics(monitor),
                )
            ),
            "both are counted",
        )

    assert counted


def test_a_callback_that_hangs_delays_neither_probes_nor_others_nor_the_end_for_long(service, tmp_path):
    seen, over = [], threading.Event()
    monitor = Monitor(config_of(service.url, tmp_path))
    monitor.on_alert(lambda _alert: over.wait(60))
    monitor.on_alert(seen.append)
    service.status = 503
    try:
        with monitor:
            eventually(lambda: seen, "the other hears of it")
            runs = total_runs(monitor)
            eventually(lambda: total_runs(monitor) > runs + 5, "probes go on")
            service.status = 200
            eventually(lambda: len(seen) == 2, "the other hears of its end")
            began = time.monotonic()
        assert time.monotonic() - began < 12
    finally:
        over.set()


def metrics(monitor):
    return get(f"{monitor.url}metrics")[1]


def total_runs(monitor):
    return sum(
        float(line.rpartition(" ")[2])
        for line in metrics(monitor).splitlines()
        if line.startswith("perfmon_probe_runs_total{")
    )


def test_the_program_around_it_keeps_its_signals_its_collector_and_its_log(service, tmp_path, capfd):
    import gc
    import logging

    before = (
        signal.getsignal(signal.SIGTERM),
        signal.getsignal(signal.SIGHUP),
        gc.get_threshold(),
        gc.get_freeze_count(),
        logging.root.handlers[:],
    )
    with Monitor(config_of(service.url, tmp_path)):
        during = (
            signal.getsignal(signal.SIGTERM),
            signal.getsignal(signal.SIGHUP),
            gc.get_threshold(),
            gc.get_freeze_count(),
            logging.root.handlers[:],
        )

    assert before == during
    assert "" == capfd.readouterr().out


def test_it_can_be_started_again_and_not_twice(service, tmp_path):
    monitor = Monitor(config_of(service.url, tmp_path))
    with monitor:
        with pytest.raises(UsageError) as twice:
            monitor.start()
        with pytest.raises(UsageError) as late:
            monitor.on_alert(print)
    with monitor:
        assert 200 == get(f"{monitor.url}-/ready")[0]
    monitor.stop()

    assert "the monitor runs already" == str(twice.value)
    assert "on_alert: the monitor runs already, expected callbacks before its start" == str(late.value)


def test_a_start_that_fails_says_why(service, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monitor = Monitor(config_of(service.url, tmp_path, web={"listen": [f"127.0.0.1:{port}"]}))
        with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1:{port}: "):
            monitor.start()
        monitor.stop()


def test_mistakes_in_a_mapping_are_named_by_their_path():
    with pytest.raises(ConfigError) as raised:
        Monitor({"probes": [{"name": "shop", "interval": "5 parsecs", "targets": []}], "rulse": []})

    assert [
        'mapping: probes[0].interval: expected a duration such as 250ms, 5s or 1h30m, got "5 parsecs"',
        "mapping: probes[0].targets: expected at least one address, got an empty list",
        'mapping: rulse: unknown section "rulse", did you mean "rules"?',
    ] == str(raised.value).splitlines()


def test_what_no_file_could_say_is_a_mistake_too():
    with pytest.raises(ConfigError) as raised:
        Monitor({"probes": {1, object()}})

    assert str(raised.value).startswith("mapping: cannot be written as YAML: ")


def test_secrets_come_by_reference_in_a_mapping_too(monkeypatch):
    monkeypatch.setenv("SHOP_TOKEN", "hunter2")
    modules = {"api": {"prober": "http", "http": {"bearer_token": "${env:SHOP_TOKEN}"}}}
    read = perfmon_config(
        {"modules": modules, "probes": [{"name": "a", "module": "api", "targets": ["http://127.0.0.1/"]}]}
    )

    assert "hunter2" == read.checks[0].module.config.bearer_token
    assert "hunter2" not in repr(read)


def perfmon_config(mapping):
    from perfmon import config

    return config.from_mapping(mapping)


def test_the_script_of_the_guide_does_what_it_says(tmp_path):
    """Ten lines, a real shop that fails, and SIGTERM."""
    script, *_ = re.findall(r"```python\n(from perfmon import Monitor.*?)```", GUIDE.read_text(), re.DOTALL)
    (file, *_) = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    with shop() as port:
        text = (
            file.replace(":8080", f":{port}").replace("over 1m", "over 2s").replace("interval: 5s", "interval: 100ms")
        )
        (tmp_path / "perfmon.yml").write_text(text + f'web: {{listen: ["127.0.0.1:{free_port()}"]}}\n')
        process = subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        try:
            told = process.stdout.readline()
            process.send_signal(signal.SIGTERM)
            code = process.wait(20)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            process.stdout.close()

    assert told.startswith("firing ShopFails ")
    assert 0 == code


@contextlib.contextmanager
def shop():
    command = [sys.executable, "-m", "perfmon", "simulate", "shop", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            line = process.stdout.readline()
            yield int(re.search(r":(\d+)", line)[1])
        finally:
            process.terminate()


def test_everything_that_is_public_is_there():
    assert ["Monitor", "__version__"] == sorted(perfmon.__all__)
    assert all(getattr(perfmon, name) for name in perfmon.__all__)
    with pytest.raises(AttributeError):
        perfmon.Moniter  # noqa: B018 - to see that it is not there


def test_importing_perfmon_loads_nothing_of_it():
    code = "import perfmon, sys; print([name for name in sys.modules if name.startswith('perfmon')])"

    assert "['perfmon']\n" == subprocess.check_output([sys.executable, "-c", code], text=True)
