"""Looking into real processes: the leaking function is named first, and whoever cannot be looked into is left unharmed."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import programs
import pytest
from programs import running

from perfmon.clock import SystemClock
from perfmon.procfs import Procfs
from perfmon.profile.attribution import Plan, attribute
from perfmon.profile.capture import alone
from perfmon.profile.sites import Frame
from perfmon.profile.subject import Refused, inspect

PROC = Procfs()
QUICK = Plan(short_s=1, long_s=4)

pytestmark = pytest.mark.servers


@pytest.fixture(autouse=True)
def gdb(binary):
    return binary("gdb")


def look(pid, plan=QUICK):
    return attribute(pid, plan, graph=None, procfs=PROC, clock=SystemClock(), tell=lambda _: None)


def refusal(pid, plan=QUICK):
    """The reason and the sentence with which a process is not profiled."""
    with pytest.raises(Refused) as refused:
        look(pid, plan)
    return refused.value.reason, str(refused.value)


# ---------------------------------------------------------------- what leaks


def test_the_leaking_function_is_named_first(tmp_path):
    """Two leaks at once, of small objects and of large buffers, each in a process of its own."""
    plan = Plan(short_s=1, long_s=4, folder=tmp_path)
    with (
        running(programs.LEAKS_SMALL_OBJECTS) as small,
        running(programs.LEAKS_LARGE_BUFFERS) as large,
        ThreadPoolExecutor(2) as pool,
    ):
        of_small, of_large = pool.map(lambda target: look(target.pid, plan), [small, large])

        line = 1 + programs.LEAKS_SMALL_OBJECTS.splitlines().index('    kept.append({"number": number})')
        assert Frame("remember", "<string>", line) == of_small.sites[0].stack[0]
        assert "receive" == of_large.sites[0].stack[0].function
        assert of_large.sites[0].size_bytes == pytest.approx(200_000 * of_large.sites[0].blocks, rel=0.01)
        assert (True, True) == (small.is_unharmed(), large.is_unharmed())
        assert [] == list(tmp_path.iterdir())


# ---------------------------------------------------------------- who cannot be looked into


def test_a_process_that_is_gone():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()

    assert ("gone", f"there is no process with pid {ended.pid}") == refusal(ended.pid)


def test_a_zombie():
    with subprocess.Popen(["true"]) as zombie:
        while PROC.stat(zombie.pid).state != "Z":
            time.sleep(0.01)
        assert ("gone", f"pid {zombie.pid} has ended: it is a zombie") == refusal(zombie.pid)


def test_perfmon_itself():
    assert "itself" == refusal(os.getpid())[0]


def test_a_process_that_is_not_python():
    with subprocess.Popen(["sleep", "60"]) as other:
        message = f"pid {other.pid} (sleep) is not Python: no part of Python is in its memory"
        assert ("not_python", message) == refusal(other.pid)
        other.kill()


def test_a_stopped_process():
    with running(programs.IS_HEALTHY) as target:
        os.kill(target.pid, signal.SIGSTOP)
        while PROC.stat(target.pid).state != "T":
            time.sleep(0.01)
        assert ("stopped", f"pid {target.pid} is stopped, send it SIGCONT first") == refusal(target.pid)
        os.kill(target.pid, signal.SIGCONT)
        assert target.is_unharmed()


def test_a_process_that_is_debugged_already(gdb):
    with running(programs.IS_HEALTHY) as target:
        debugger = subprocess.Popen(
            [gdb, "-batch", "-nx", "-p", str(target.pid), "-ex", "continue"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        while target.tracer() == 0:
            time.sleep(0.01)
        message = f"pid {target.pid} is traced by pid {debugger.pid} already: one debugger at a time"
        assert ("traced", message) == refusal(target.pid)
        while debugger.poll() is None:  # one that is still starting does not hear the first
            debugger.send_signal(signal.SIGINT)
            time.sleep(0.2)
        assert target.is_unharmed()


def test_a_process_that_another_perfmon_looks_into():
    with running(programs.IS_HEALTHY) as target, alone(inspect(target.pid, PROC)):
        assert ("taken", f"pid {target.pid} is being profiled by another perfmon") == refusal(target.pid)


def test_a_python_without_memray():
    bare = (sys._base_executable, "-I", "-S")
    with running(programs.IS_HEALTHY, python=bare) as target:
        message = f"memray is missing in the Python of pid {target.pid}: install it there (pip install memray)"
        assert ("no_memray", message) == refusal(target.pid)
        assert target.is_unharmed()


def test_no_right_to_trace():
    """As nobody, who may not look into a process of ours."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    reading, writing = os.pipe()
    with running(programs.IS_HEALTHY) as target:
        child = os.fork()
        if child == 0:
            os.setuid(65534)
            try:
                inspect(target.pid, PROC)
            except Refused as refused:
                os.write(writing, f"{refused.reason}: {refused}".encode())
            os._exit(0)
        os.waitpid(child, 0)
        os.close(writing)
        with os.fdopen(reading) as told:
            assert told.read().startswith(f"no_right: no right to trace pid {target.pid}: run perfmon as root or")
        assert target.is_unharmed()


def test_no_debugger(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with running(programs.IS_HEALTHY) as target:
        assert ("no_debugger", "no debugger is there: install gdb (apt-get install gdb)") == refusal(target.pid)
        assert target.is_unharmed()


@pytest.mark.parametrize("program", [programs.SLEEPS_A_WHILE, programs.IS_BUSY_IN_C], ids=["asleep", "busy in C"])
def test_a_process_that_cannot_be_entered(program):
    with running(program) as target:
        reason, message = refusal(target.pid, Plan(short_s=1, long_s=2, limit_s=1.0))

        assert ("timeout", True) == (reason, "could not be entered within 1s" in message)
        assert target.is_unharmed()


def test_a_process_that_ends_meanwhile():
    """And nothing keeps it from ending."""
    with running(programs.ENDS_SOON) as target:
        began = time.monotonic()
        assert ("gone", f"pid {target.pid} ended while it was being profiled") == refusal(target.pid, Plan(short_s=20))
        assert 0 == target.process.wait()
        assert time.monotonic() - began < 8


def test_a_process_that_cannot_write_its_capture():
    with running(programs.MAY_WRITE_NOTHING) as target:
        assert "not_written" == refusal(target.pid)[0]
        assert target.is_unharmed()


# ---------------------------------------------------------------- killed midway


def test_a_terminated_perfmon_ends_the_tracking(tmp_path):
    arguments = ["profile", "--yes", "--short", "60s", "--long", "70s", "--folder", str(tmp_path)]
    with running(programs.IS_HEALTHY) as target:
        perfmon = subprocess.Popen(
            [sys.executable, "-m", "perfmon", *arguments, str(target.pid)], stderr=subprocess.PIPE
        )
        while not any(tmp_path.glob("*/short.bin")):
            time.sleep(0.05)
        time.sleep(0.5)
        perfmon.terminate()
        perfmon.communicate(timeout=20)

        assert (105, []) == (perfmon.returncode, list(tmp_path.iterdir()))
        assert [] == [link for link in links(target.pid) if "short.bin" in link]
        assert target.is_unharmed()


def test_a_kill_of_all_while_the_debugger_waits_spares_the_target():
    """A service manager sends SIGTERM to all, gdb included; it would leave its breakpoints in the target."""
    with running(programs.SLEEPS_A_WHILE) as target:
        arguments = ["profile", "--yes", "--timeout", "2s", str(target.pid)]
        perfmon = subprocess.Popen([sys.executable, "-m", "perfmon", *arguments], stderr=subprocess.PIPE)
        while not (debugger := target.tracer()):
            time.sleep(0.02)
        time.sleep(0.7)
        os.kill(PROC.stat(debugger).parent, signal.SIGTERM)
        os.kill(debugger, signal.SIGTERM)
        perfmon.kill()
        perfmon.communicate()
        while target.tracer():
            time.sleep(0.05)

        assert target.is_unharmed()


def links(pid):
    return [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]


def test_a_debugger_that_crashes_leaves_no_core_behind():
    """It would be as large as the debugger, and lie wherever perfmon was started."""
    seen = (
        "import resource, sys\n"
        "from perfmon.profile import injector\n"
        "_, most = resource.getrlimit(resource.RLIMIT_CORE)\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (most, most))\n"
        "sys.argv = ['injector', '5', '--help']\n"
        "try: injector.main()\n"
        "except SystemExit: pass\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE)[0])\n"
    )

    told = subprocess.run([sys.executable, "-c", seen], capture_output=True, text=True, timeout=30, check=True)

    assert "0" == told.stdout.splitlines()[-1]
