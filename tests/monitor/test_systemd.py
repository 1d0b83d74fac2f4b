"""What systemd is told, over a real socket of its kind, and the sockets that it opens for the daemon."""

import asyncio
import os
import re
import socket
import subprocess
import sys
import time

import pytest
from daemon import eventually, free_port, get, perfmon

from perfmon.clock import SystemClock
from perfmon.config import from_mapping
from perfmon.errors import UsageError
from perfmon.monitor.daemon import Daemon
from perfmon.monitor.systemd import Supervisor, passed_sockets

CONFIG = 'probes: [{name: shop, targets: ["http://127.0.0.1:9/"]}]\n'


class Listener:
    """systemd's end of NOTIFY_SOCKET."""

    def __init__(self, address):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.settimeout(20)

    def close(self):
        self._socket.close()

    def next(self):
        """The next message, as its variables."""
        lines = self._socket.recv(4096).decode().split("\n")
        return dict(line.split("=", 1) for line in lines)

    def until(self, variable):
        """The next message that sets a variable, those before it left out."""
        while variable not in (message := self.next()):
            pass
        return message

    def drain(self):
        """All that came and was not read."""
        self._socket.settimeout(0)
        found = []
        while True:
            try:
                found.append(self.next())
            except BlockingIOError:
                return found


@pytest.fixture
def listener(tmp_path):
    listener = Listener(str(tmp_path / "notify"))
    yield listener
    listener.close()


def test_systemd_hears_the_whole_life_of_the_daemon(listener, tmp_path):
    file = tmp_path / "perfmon.yml"
    file.write_text(CONFIG)
    watched = "watching: 1 targets, 0 samplers, 0 rules, 0 receivers"
    env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "30000000"}
    with perfmon(tmp_path, f"--config.file={file}", "--state.path=", env=env) as daemon:
        assert {"READY": "1", "STATUS": watched} == listener.until("READY")
        assert {"WATCHDOG": "1"} == listener.until("WATCHDOG")

        asked_at = time.monotonic()
        assert 200 == get(f"{daemon.url}/-/reload", method="POST")[0]
        reloading = listener.until("RELOADING")
        assert asked_at <= int(reloading["MONOTONIC_USEC"]) / 1e6 + 1e-6
        assert int(reloading["MONOTONIC_USEC"]) / 1e6 <= time.monotonic()
        assert {"READY": "1", "STATUS": watched} == listener.until("READY")

        file.write_text("probes: [{name: shop}]\n")
        assert 500 == get(f"{daemon.url}/-/reload", method="POST")[0]
        assert listener.until("READY")["STATUS"].startswith(f"configuration not taken: {file}:1: probes[0]")

        assert 0 == daemon.stop()
        assert {"STOPPING": "1", "STATUS": "ending what is under way"} == listener.until("STOPPING")
        assert [] == [message for message in listener.drain() if "READY" in message]


async def test_a_daemon_whose_schedule_stands_still_is_not_said_to_be_alive(listener, network, tmp_path):
    """Its event loop goes on meanwhile, so a daemon that were asked would say that it is healthy."""
    settings = {"web": {"listen": ["127.0.0.1:0"]}, "state": {"path": ""}}
    config = from_mapping({"probes": [{"name": "a", "targets": ["127.0.0.1:9"], "module": "tcp_connect"}], **settings})
    supervisor = Supervisor(str(tmp_path / "notify"), watchdog=True)
    daemon = Daemon(lambda: config, config, clock=SystemClock(), network=network, embedded=True, supervisor=supervisor)
    stop = asyncio.Event()
    watching = asyncio.create_task(daemon.watch(stop))
    try:
        await asyncio.to_thread(listener.until, "WATCHDOG")
        await daemon.runs.schedule.stop()
        listener.drain()
        lag = daemon.instruments.loop_lag
        beats = beats_of(lag)
        # Two seconds of the loop, in which two sweeps would have been due.
        await asyncio.to_thread(eventually, lambda: beats_of(lag) >= beats + 8, "the loop goes on")

        assert [] == listener.drain()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


def beats_of(histogram):
    return next(sample.value for sample in histogram.collect()[0].samples if sample.name.endswith("_count"))


def test_without_a_watchdog_nobody_is_told_that_it_is_alive(listener, tmp_path):
    Supervisor.of({"NOTIFY_SOCKET": str(tmp_path / "notify")}, os.getpid()).alive()
    Supervisor.of(
        {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}, os.getpid()
    ).alive()

    assert [] == listener.drain()


def test_an_abstract_address_is_told(tmp_path):
    name = f"perfmon-test-{os.getpid()}"
    listener = Listener(f"\0{name}")
    environment = {"NOTIFY_SOCKET": f"@{name}", "PATH": "/bin"}
    Supervisor.of(environment, os.getpid()).ready("two\nlines")

    assert {"READY": "1", "STATUS": "two"} == listener.next()
    assert {"PATH": "/bin"} == environment
    listener.close()


def test_nobody_at_the_address_is_no_reason_to_end(tmp_path):
    """It is logged; the daemon goes on."""
    Supervisor(str(tmp_path / "nobody"), watchdog=True).alive()
    Supervisor().ready("nobody waits")


@pytest.mark.servers
def test_the_daemon_listens_on_the_socket_that_systemd_opened(binary, tmp_path):
    """By systemd-socket-activate: it listens, and starts the program at the first connection."""
    port = free_port()
    serve = [sys.executable, "-m", "perfmon", "serve", "127.0.0.1:9", "--state.path=", "--web.systemd-socket"]
    command = [binary("systemd-socket-activate"), "-l", f"127.0.0.1:{port}", "-E", "PYTHONPATH", *serve]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path)
    try:
        answer = eventually(lambda: get(f"http://127.0.0.1:{port}/-/ready")[0] == 200, "the passed socket answers")
        assert answer
        assert re.search(rf"page=\S*http://127.0.0.1:{port}/", (tmp_path / "log").read_text())
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize(
    "environment",
    [{}, {"LISTEN_FDS": "1", "LISTEN_PID": "1"}, {"LISTEN_FDS": "0"}, {"LISTEN_FDS": "many"}],
    ids=["nothing", "meant for another", "none", "no number"],
)
def test_without_sockets_the_way_out_is_told(environment):
    with pytest.raises(UsageError, match=r"passed no sockets; expected a start by perfmon\.socket"):
        passed_sockets({"LISTEN_PID": str(os.getpid()), **environment}, os.getpid())


def test_sockets_that_are_not_tcp_are_refused():
    """In a process of its own, whose descriptors from 3 on are free to take."""
    program = """
import os, socket
from perfmon.monitor.systemd import passed_sockets
left, right = socket.socketpair()
os.dup2(left.fileno(), 3)
passed_sockets({"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}, os.getpid())
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert "expected TCP sockets (ListenStream=HOST:PORT), got AF_UNIX" in ended.stderr


def test_addresses_are_not_given_twice(capsys):
    from perfmon.cli import run

    assert 104 == run(["serve", "127.0.0.1:9", "--web.systemd-socket", "--web.listen-address=127.0.0.1:0"])
    assert "give either --web.listen-address or --web.systemd-socket" in capsys.readouterr().err
