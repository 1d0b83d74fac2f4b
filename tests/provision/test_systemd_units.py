"""deploy/systemd: systemd's own tools take the units, and perfmon lives under what they forbid."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from daemon import eventually, free_port, get, service

from perfmon import kinds

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "deploy" / "systemd"
DROP_INS = sorted(file.name for file in (UNITS / "drop-ins").iterdir())


@pytest.fixture
def analyze(binary, tmp_path):
    """`systemd-analyze ARGUMENTS` on the units with some drop-ins, as /etc would have them; exit code and output."""
    program = binary("systemd-analyze")

    def run(*arguments, drop_ins=(), more=""):
        perfmon = str(Path(sys.executable).with_name("perfmon"))  # it must be there for `verify`
        for unit in ("perfmon.service", "perfmon.socket"):
            (tmp_path / unit).write_text((UNITS / unit).read_text().replace("/opt/perfmon/bin/perfmon", perfmon))
        folder = tmp_path / "perfmon.service.d"
        folder.mkdir()
        for name in drop_ins:
            text = (UNITS / "drop-ins" / name).read_text()
            (folder / name).write_text(text.replace("/opt/perfmon/bin/perfmon", perfmon))
        (folder / "more.conf").write_text(more)
        env = {**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:", "SYSTEMD_COLORS": "0"}
        ran = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, env=env)
        return ran.returncode, ran.stdout + ran.stderr

    return run


def test_the_units_start_perfmon_with_flags_that_it_has():
    command = kinds.load("commands", "serve").command
    known = {flag for parameter in command.params for flag in parameter.opts}
    starts = [
        line.split()[1:]
        for unit in UNITS.rglob("*.*")
        for line in unit.read_text().splitlines()
        if line.startswith("ExecStart=/")
    ]

    assert starts
    for serve, *arguments in starts:
        assert "serve" == serve
        assert {argument for argument in arguments if argument.startswith("-")} <= known


@pytest.mark.servers
@pytest.mark.parametrize("drop_ins", [[], DROP_INS, *([name] for name in DROP_INS)], ids="+".join)
def test_the_units_are_valid(analyze, drop_ins):
    verify = ("verify", "--recursive-errors=yes", "perfmon.service", "perfmon.socket")

    assert (0, "") == analyze(*verify, drop_ins=drop_ins)


@pytest.mark.servers
def test_a_misspelt_setting_would_be_found(analyze):
    code, printed = analyze("verify", "--recursive-errors=yes", "perfmon.service", more="[Service]\nProtectHme=yes\n")

    assert 1 == code
    assert "Unknown key" in printed


@pytest.mark.servers
@pytest.mark.parametrize(
    ("drop_in", "at_most"), [("", 1.2), ("icmp.conf", 1.6), ("processes.conf", 1.9), ("socket.conf", 1.2)]
)
def test_the_unit_is_exposed_no_more_than_it_must_be(analyze, drop_in, at_most):
    threshold = f"--threshold={round(at_most * 10)}"
    code, printed = analyze(
        "security", "--offline=true", threshold, "perfmon.service", drop_ins=[drop_in] if drop_in else []
    )

    assert 0 == code, printed
    assert float(re.search(r"exposure level for perfmon.service: ([\d.]+)", printed)[1]) <= at_most


@pytest.mark.servers
def test_perfmon_does_its_work_under_what_the_unit_forbids(binary, tmp_path):
    """Probes of several kinds, samplers, the state file, a reload and an orderly end."""
    binary("systemd-analyze")
    port, file, log = free_port(), tmp_path / "perfmon.yml", tmp_path / "log"
    with service() as shop, log.open("wb") as out:
        file.write_text(f"""
modules: {{runs: {{prober: exec, exec: {{command: [{sys.executable}, -c, "print(1)"]}}}}}}
probes:
  - {{name: http, interval: 500ms, targets: ["{shop.url.replace("127.0.0.1", "localhost")}/"]}}
  - {{name: tcp, module: tcp_connect, interval: 500ms, targets: ["127.0.0.1:{shop.port}"]}}
  - {{name: exec, module: runs, interval: 1s, targets: [one]}}
samplers:
  - {{name: host, interval: 500ms, host: {{}}}}
  - {{name: own, interval: 500ms, process: {{groups: [{{name: perfmon, self: true}}]}}}}
rules: [{{name: Down, threshold: "rate < 50% over 5s"}}]
receivers: [{{name: log, log: {{}}}}]
""")
        sandbox = [sys.executable, str(ROOT / "tests" / "sandbox.py"), str(UNITS / "perfmon.service")]
        serve = ["serve", f"--config.file={file}", f"--state.path={tmp_path}/state.sqlite3"]
        listen = f"--web.listen-address=127.0.0.1:{port}"
        process = subprocess.Popen([*sandbox, *serve, listen], stdout=out, stderr=out, cwd=tmp_path)
        try:

            def succeed():
                assert process.poll() is None, log.read_text()
                page = get(f"http://127.0.0.1:{port}/metrics")[1]
                return len(re.findall(r"^(?:probe|perfmon_sampler)_success{.*} 1(?:\.0)?$", page, re.MULTILINE)) == 5

            eventually(succeed, "three probes and two samplers succeed")
            assert 200 == get(f"http://127.0.0.1:{port}/-/reload", method="POST")[0]
            process.send_signal(signal.SIGTERM)
            assert 0 == process.wait(20), log.read_text()
        finally:
            process.kill()
            process.wait()

    assert (tmp_path / "state.sqlite3").stat().st_size > 0
    assert "not permitted" not in log.read_text()


@pytest.mark.servers
def test_what_the_unit_forbids_is_forbidden(binary, tmp_path):
    """Or the test above would show nothing: a packet socket and a mount are refused in the same sandbox."""
    binary("systemd-analyze")
    program = f"""
import ctypes, socket, sys
sys.path.insert(0, "{ROOT}/tests")
import sandbox
sandbox.enter("{UNITS}/perfmon.service")
socket.socket(socket.AF_INET).close()
try:
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
except PermissionError:
    print("no packets")
libc = ctypes.CDLL(None, use_errno=True)
print(libc.mount(b"none", b"/nowhere", b"tmpfs", 0, None), ctypes.get_errno())
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "no packets\n-1 1\n" == ran.stdout
