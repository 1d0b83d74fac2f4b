"""The process sampler: real children with psutil as the oracle, fixture trees for what is hard to provoke."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path

import msgspec
import psutil
import pytest

from perfmon.clock import ManualClock, SystemClock
from perfmon.procfs import Procfs
from perfmon.profile.order import Order
from perfmon.samplers import process
from perfmon.samplers.process import Config, Group

# ---------------------------------------------------------------- real processes

OBEDIENT = """
import sys
print("ready", flush=True)
for line in sys.stdin:
    exec(line, globals())
    print("done", flush=True)
"""
BURN = "import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end: pass"

TICKS_S = 0.02  # user and system time are each rounded down to 10 ms


class Child:
    """A real process that does what it is told, and can be found by a word on its command line."""

    def __init__(self, word, **options):
        self.popen = subprocess.Popen(
            [sys.executable, "-S", "-c", OBEDIENT, word],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **options,
        )
        self.pid = self.popen.pid
        self.hear("ready")

    def hear(self, word):
        """Wait until the child has said it, and then until it stands still: its numbers must not change any more."""
        assert f"{word}\n" == self.popen.stdout.readline()
        until(lambda: psutil.Process(self.pid).status() == psutil.STATUS_SLEEPING)

    def do(self, code):
        """Run code in the child, and wait until it is done."""
        self.popen.stdin.write(f"exec({code!r})\n")
        self.popen.stdin.flush()
        self.hear("done")

    def ask(self, expression):
        """What the child says to that, as a text."""
        self.popen.stdin.write(f"print({expression})\n")
        self.popen.stdin.flush()
        answer = self.popen.stdout.readline().strip()
        self.hear("done")
        return answer

    def burn(self, seconds):
        """Use that much CPU."""
        self.do(BURN.format(seconds=seconds))

    def kill(self, *, wait=True):
        """End it; a zombie stays when nobody waits."""
        self.popen.kill()
        if wait:
            self.popen.wait()
        else:
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)

    def close(self):
        self.popen.kill()
        self.popen.wait()
        self.popen.stdin.close()
        self.popen.stdout.close()


def until(holds, seconds=5):
    """Wait for another process."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.002)


@pytest.fixture
def word():
    return f"perfmon-test-{uuid.uuid4().hex}"


@pytest.fixture
def spawn(word):
    children = []

    def start(**options):
        children.append(Child(word, **options))
        return children[-1]

    yield start
    for child in children:
        child.close()


def reading(config_or_group, clock=None):
    config = config_or_group if isinstance(config_or_group, Config) else Config(groups=(config_or_group,))
    return process.open(config, clock or ManualClock())  # on which looking takes no time, so it is always allowed


def values(samples, group="g"):
    """By family less its prefix, and by `mode` or `kind` where it has one."""
    found = {}
    for sample in samples:
        if sample.labels["group"] == group:
            name, own = sample.name.removeprefix("perfmon_process_"), list(sample.labels.values())[1:]
            found[(name, *own) if own else name] = sample.value
    return found


def cpu(found):
    return found["cpu_seconds_total", "user"] + found["cpu_seconds_total", "system"]


def children_cpu(found):
    return found["children_cpu_seconds_total", "user"] + found["children_cpu_seconds_total", "system"]


def test_a_process_is_read_as_psutil_reads_it(spawn, word):
    """Every gauge, of a child that stands still."""
    child = spawn()
    found = values(reading(Group("g", cmdline=word), SystemClock()).sample())
    oracle = psutil.Process(child.pid)
    memory = oracle.memory_info()

    assert (1.0, 1.0) == (found["up"], found["processes"])
    assert memory.rss == found["resident_memory_bytes"]
    assert memory.vms == found["virtual_memory_bytes"]
    assert memory.shared == found["shared_memory_bytes"]
    assert memory.rss - memory.shared == found["private_memory_bytes"]
    assert 0.0 == found["swap_memory_bytes"]
    assert oracle.num_fds() == found["open_fds"]
    assert oracle.num_fds() / oracle.rlimit(psutil.RLIMIT_NOFILE)[0] == pytest.approx(found["worst_fd_ratio"])
    assert oracle.num_threads() == found["threads"]
    assert len(oracle.children()) == found["children"]
    assert oracle.create_time() == pytest.approx(found["oldest_start_timestamp_seconds"], abs=1.5)


def test_what_a_process_uses_is_counted_as_psutil_counts_it(spawn, word, tmp_path):
    child = spawn()
    reader = reading(Group("g", cmdline=word))
    first = values(reader.sample())
    oracle = psutil.Process(child.pid)
    before = oracle.cpu_times(), oracle.io_counters(), oracle.num_ctx_switches()

    child.burn(0.1)
    child.do(
        f"import os\nf = open({str(tmp_path / 'file')!r}, 'wb')\nf.write(bytes(2_000_000))\nf.flush()\nos.fsync(f.fileno())"
    )
    child.do("import time\nfor _ in range(20): time.sleep(0.001)")
    found = values(reader.sample())
    after = oracle.cpu_times(), oracle.io_counters(), oracle.num_ctx_switches()

    used = sum(after[0][:2]) - sum(before[0][:2])
    assert used == pytest.approx(cpu(found) - cpu(first), abs=0.001)
    assert used >= 0.1 - TICKS_S
    written = after[1].write_bytes - before[1].write_bytes  # 0 where /tmp is in memory
    assert written == found["written_bytes_total"] - first["written_bytes_total"]
    switched = after[2].voluntary - before[2].voluntary
    assert switched == found["context_switches_total", "voluntary"] - first["context_switches_total", "voluntary"]
    assert switched >= 20


def test_memory_that_grows_shows_as_private(spawn, word):
    child = spawn()
    reader = reading(Group("g", cmdline=word))
    before = values(reader.sample())

    child.do("kept = b'x' * 30_000_000")
    after = values(reader.sample())

    assert 30e6 == pytest.approx(after["private_memory_bytes"] - before["private_memory_bytes"], rel=0.1)
    assert 30e6 == pytest.approx(after["resident_memory_bytes"] - before["resident_memory_bytes"], rel=0.1)
    assert after["page_faults_total", "minor"] - before["page_faults_total", "minor"] > 1000


def test_open_descriptors_and_threads_show(spawn, word):
    child = spawn()
    reader = reading(Group("g", cmdline=word))
    before = values(reader.sample())

    child.do("kept = [open('/dev/null') for _ in range(40)]")
    child.do(
        "import threading, time\nfor _ in range(3): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()"
    )
    after = values(reader.sample())

    assert 40.0 == after["open_fds"] - before["open_fds"]
    assert after["worst_fd_ratio"] > before["worst_fd_ratio"]
    assert 4.0 == after["threads"]


def test_counters_begin_at_zero_and_then_add_what_was_used(spawn, word):
    """R04: what a process used before perfmon looked is before its time."""
    child = spawn()
    child.burn(0.1)
    reader = reading(Group("g", cmdline=word))
    first = values(reader.sample())
    child.burn(0.05)
    second = values(reader.sample())

    assert 0.0 == cpu(first) == first["page_faults_total", "minor"] == first["context_switches_total", "voluntary"]
    assert 0.05 == pytest.approx(cpu(second), abs=0.03)


def test_a_process_born_between_two_readings_is_counted_from_its_birth(spawn, word):
    """R05 and R10, better: nothing of what it used before it was first read is lost."""
    reader = reading(Group("g", cmdline=word))
    assert 0.0 == values(reader.sample())["up"]

    spawn().burn(0.1)
    found = values(reader.sample())

    assert 1.0 == found["up"]
    assert cpu(found) >= 0.1 - TICKS_S
    assert 0.0 == found["restarts_total"]


def test_a_group_adds_up_its_processes(spawn, word):
    oracles = [psutil.Process(spawn().pid) for _ in range(3)]
    found = values(reading(Group("g", cmdline=word), SystemClock()).sample())

    assert 3.0 == found["processes"]
    assert sum(oracle.memory_info().rss for oracle in oracles) == found["resident_memory_bytes"]
    assert min(oracle.create_time() for oracle in oracles) == pytest.approx(
        found["oldest_start_timestamp_seconds"], abs=1.5
    )


def test_a_restart_is_counted_and_no_counter_goes_backwards(spawn, word):
    first = spawn()
    reader = reading(Group("g", cmdline=word))
    reader.sample()
    first.burn(0.1)
    before = values(reader.sample())

    first.kill()
    gone = values(reader.sample())
    spawn()
    after = values(reader.sample())

    assert (1.0, 0.0, 1.0) == (before["up"], gone["up"], after["up"])
    assert (0.0, 0.0, 1.0) == (before["restarts_total"], gone["restarts_total"], after["restarts_total"])
    for name in before:
        if name[-1] in ("user", "system", "major", "minor", "voluntary", "involuntary"):
            assert before[name] <= gone[name] <= after[name], name


def test_a_restart_within_one_interval_is_seen(spawn, word):
    """The reading that misses the old life looks for the new one at once."""
    first = spawn()
    reader = reading(Group("g", cmdline=word))
    reader.sample()

    first.kill()
    spawn().burn(0.05)
    found = values(reader.sample())

    assert (1.0, 1.0) == (found["up"], found["restarts_total"])
    assert cpu(found) >= 0.05 - TICKS_S
    assert "" == reader.missing


def test_a_process_that_is_gone_leaves_no_gauge_behind(spawn, word):
    child = spawn()
    reader = reading(Group("g", cmdline=word))
    reader.sample()
    child.kill()
    found = values(reader.sample())

    assert {"up", "processes", "restarts_total", "read_errors_total"} == {
        key for key in found if isinstance(key, str)
    } - {
        "cpu_usage_seconds_total",
        "read_bytes_total",
        "written_bytes_total",
    }
    assert f'no process matches cmdline "{word}" (group "g")' == reader.missing


def test_a_zombie_gives_its_last_use_and_is_no_process_any_more(spawn, word):
    child = spawn()
    reader = reading(Group("g", cmdline=word))
    reader.sample()

    child.burn(0.1)
    child.kill(wait=False)
    found = values(reader.sample())
    again = values(reader.sample())

    assert (0.0, 0.0) == (found["up"], found["processes"])
    assert cpu(found) >= 0.1 - TICKS_S
    assert cpu(found) == cpu(again)
    child.popen.wait()
    reader.sample()
    spawn(), spawn()
    found = values(reader.sample())
    assert (2.0, 1.0) == (found["processes"], found["restarts_total"]), "one ended, so only one of two takes a place"


def test_a_zombie_is_no_member_even_by_its_name(spawn, word):
    """It keeps its name to the end; that it goes for good is no end of a life of the group."""
    comm = word[-15:]
    child = spawn()
    child.do(f"open('/proc/self/comm', 'w').write({comm!r})")
    child.kill(wait=False)
    reader = reading(Group("g", comm=comm))
    assert 0.0 == values(reader.sample())["up"]

    child.popen.wait()
    spawn().do(f"open('/proc/self/comm', 'w').write({comm!r})")
    found = values(reader.sample())

    assert (1.0, 0.0) == (found["up"], found["restarts_total"])


def test_what_children_used_that_nobody_saw_is_not_lost(spawn, word):
    """R10: they lived between two readings; who waited for them has it."""
    child = spawn()
    reader = reading(Group("g", cmdline=word))
    reader.sample()

    burn = BURN.format(seconds=0.1)
    child.do(f"import subprocess, sys\nsubprocess.run([sys.executable, '-S', '-c', {burn!r}])")
    found = values(reader.sample())

    assert children_cpu(found) >= 0.1 - TICKS_S
    assert cpu(found) < 0.1


FORK = "import os, signal\npid = os.fork()\nif not pid:\n{work}\n    signal.pause()"


def test_what_a_member_used_counts_once_when_its_parent_has_waited_for_it(spawn, word, tmp_path):
    """The kernel adds a child's CPU time and bytes to the parent's when it is waited for: both are members here."""
    parent = spawn()
    clock = ManualClock()
    reader = reading(Group("g", cmdline=word), clock)
    reader.sample()
    work = (
        f"{BURN.format(seconds=0.2)}\nf = open({str(tmp_path / 'file')!r}, 'wb')\nf.write(bytes(4_000_000))\n"
        "f.flush()\nos.fsync(f.fileno())\nopen(%r, 'w').close()" % str(tmp_path / "flag")
    )
    parent.do(FORK.format(work="\n".join("    " + line for line in work.splitlines())))
    until((tmp_path / "flag").exists)
    clock.advance(10)
    both = values(reader.sample())
    written = psutil.Process(int(parent.ask("pid"))).io_counters().write_bytes  # 0 where /tmp is in memory
    parent.do("os.kill(pid, 9)\nos.waitpid(pid, 0)")
    after = [values(reader.sample()) for _ in range(3)][-1]

    assert (2.0, 1.0) == (both["processes"], after["processes"])
    assert cpu(both) >= 0.2 - TICKS_S
    assert cpu(after) == pytest.approx(cpu(both), abs=0.05)
    assert children_cpu(after) == pytest.approx(0, abs=0.05)
    assert written <= both["written_bytes_total"]
    assert after["written_bytes_total"] == pytest.approx(both["written_bytes_total"], abs=200_000)


def test_children_are_counted_zombies_included(spawn, word):
    child = spawn()
    child.do("import os, signal")
    for _ in range(3):
        child.do("if not os.fork(): os.execv('/bin/sleep', ['sleep', '60'])")
    child.do("pid = os.fork()\nif not pid: os._exit(0)")
    child.do("os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)")
    family = psutil.Process(child.pid).children()
    try:
        assert 4.0 == values(reading(Group("g", pid=child.pid)).sample())["children"]
    finally:
        for one in family:
            one.kill()


def test_a_program_that_matches_only_after_exec_is_counted_from_then(spawn, word):
    """At the look before, it was there as another program: what it used since is the group's."""
    child = spawn()
    reader = reading(Config(groups=(Group("g", comm="sleep", pid=child.pid),)))
    child.burn(0.2)
    assert 0.0 == values(reader.sample())["up"]

    child.popen.stdin.write("import os; os.execv('/bin/sleep', ['sleep', '60'])\n")
    child.popen.stdin.flush()
    until(lambda: psutil.Process(child.pid).name() == "sleep")
    found = values(reader.sample())

    assert 1.0 == found["up"]
    assert cpu(found) < 0.1


def test_a_name_with_blanks_and_parentheses_is_found(spawn):
    child = spawn()
    child.do("open('/proc/self/comm', 'w').write('a) S (b c')")

    assert 1.0 == values(reading(Group("g", comm="a) S (b c")).sample())["up"]
    assert 0.0 == values(reading(Group("g", comm="a")).sample())["up"]


def test_perfmon_is_not_what_a_command_line_means():
    """An expression given on perfmon's own command line matches that line."""
    me = psutil.Process()
    expression = re.escape(me.cmdline()[-1])

    reader = reading(Config(groups=(Group("g", cmdline=expression, pid=me.pid), Group("me", itself=True))))
    samples = reader.sample()

    assert 0.0 == values(samples)["up"]
    assert 1.0 == values(samples, "me")["up"]
    assert me.memory_info().rss == pytest.approx(values(samples, "me")["resident_memory_bytes"], rel=0.05)


def test_a_pidfile_is_followed_to_the_next_process(spawn, tmp_path):
    first, second = spawn(), spawn()
    pidfile = tmp_path / "shop.pid"
    pidfile.write_text(f"{first.pid}\n")
    reader = reading(Group("g", pidfile=str(pidfile)))
    reader.sample()
    first.do("kept = [open('/dev/null') for _ in range(40)]")
    of_first = values(reader.sample())

    pidfile.write_text(f"{second.pid}\n/var/lib/more\n")  # as postmaster.pid has it
    of_second = values(reader.sample())

    assert (1.0, 1.0) == (of_first["processes"], of_second["processes"])
    assert 40.0 == of_first["open_fds"] - of_second["open_fds"]


@pytest.mark.parametrize(
    ("text", "remark"),
    [
        (None, "no such file or directory"),
        ("", "it holds no pid"),
        ("x", "it holds no pid"),
        ("4194399", "it says 4194399"),
    ],
)
def test_a_pidfile_that_leads_nowhere_says_why(tmp_path, text, remark):
    pidfile = tmp_path / "shop.pid"
    if text is not None:
        pidfile.write_text(text)
    reader = reading(Group("g", pidfile=str(pidfile)))

    assert 0.0 == values(reader.sample())["up"]
    assert f'no process matches pidfile "{pidfile}" ({remark}) (group "g")' == reader.missing


def test_a_process_is_found_by_the_port_it_listens_on(spawn):
    child, other = spawn(), spawn()
    for one in (child, other):
        one.do("import socket\nserver = socket.create_server(('127.0.0.1', 0))")
    port = int(child.ask("server.getsockname()[1]"))
    reader = reading(Group("g", port=port))
    child.do("kept = [open('/dev/null') for _ in range(40)]")
    found = values(reader.sample())

    assert 1.0 == found["processes"]
    assert psutil.Process(child.pid).num_fds() == found["open_fds"]
    child.kill()
    assert 0.0 == values(reader.sample())["up"]
    assert f'no process matches port {port} (group "g")' == reader.missing


WITHOUT_RIGHTS = """
import json, os, sys, msgspec
from perfmon.clock import SystemClock
from perfmon.samplers.process import Config, Group, open
if os.getuid() == 0:
    os.setuid(65534)
reader = open(Config(groups=(Group("g", pid=int(sys.argv[1])),)), SystemClock())
reader.sample()
print(json.dumps(msgspec.to_builtins(reader.sample())))
"""


def test_what_may_not_be_read_is_absent_and_counted(spawn):
    """R13: the bytes that another user's process reads are hidden; all the rest is there."""
    pid = spawn().pid if os.getuid() == 0 else 1
    if os.getuid() == psutil.Process(1).uids().real != 0:
        pytest.skip("nobody else's process is here, and we are not root to become somebody else")
    script = subprocess.run(
        [sys.executable, "-c", WITHOUT_RIGHTS, str(pid)], capture_output=True, text=True, check=True, cwd="/"
    )
    found = {sample["name"].removeprefix("perfmon_process_"): sample["value"] for sample in json.loads(script.stdout)}

    assert "read_bytes_total" not in found
    assert "written_bytes_total" not in found
    assert 2.0 <= found["read_errors_total"]
    assert 1.0 == found["up"]
    assert 0 < found["resident_memory_bytes"]
    assert "cpu_seconds_total" in found


# ---------------------------------------------------------------- trees of files


def put(proc, pid, *, comm="shop", cmdline="shop serve", state="S", parent=1, threads=1, start_s=50.0, **more):
    """Write a process into a tree of files; `more` are its numbers in units of perfmon."""
    folder = proc / str(pid)
    (folder / "fd").mkdir(parents=True, exist_ok=True)
    for entry in (folder / "fd").iterdir():
        entry.unlink()
    for number in range(more.get("fds", 3)):
        (folder / "fd" / str(number)).touch()
    ticks = [round(more.get(name, 0) * 100) for name in ("user_s", "system_s", "children_user_s", "children_system_s")]
    (folder / "stat").write_text(
        f"{pid} ({comm}) {state} {parent} 1 1 0 -1 0 {more.get('minor', 0)} 0 {more.get('major', 0)} 0"
        f" {' '.join(map(str, ticks))} 20 0 {threads} 0 {round(start_s * 100)} 4096 1 0\n"
    )
    (folder / "statm").write_text("1000 500 200 1 0 300 0\n")
    (folder / "status").write_text(
        f"Name:\t{comm}\nVmSwap:\t    {more.get('swap_kb', 0)} kB\nvoluntary_ctxt_switches:\t7\n"
        "nonvoluntary_ctxt_switches:\t8\n"
    )
    (folder / "io").write_text(
        f"rchar: 9\nwchar: 9\nread_bytes: {more.get('read', 0)}\nwrite_bytes: {more.get('written', 0)}\n"
    )
    (folder / "limits").write_text(
        "Limit                     Soft Limit           Hard Limit           Units     \n"
        f"Max open files            {more.get('most_fds', 1024)}                 4096                 files     \n"
    )
    (folder / "cmdline").write_bytes(b"".join(part.encode() + b"\0" for part in cmdline.split()))


@pytest.fixture
def proc(tmp_path):
    (tmp_path / "uptime").write_text("1000.00 2000.00\n")
    (tmp_path / "loadavg").touch()  # no process
    put(tmp_path, 1, comm="init", cmdline="/sbin/init", start_s=0.5)
    return tmp_path


def of_tree(proc, *groups, clock=None, **more):
    return process.open(Config(groups=groups, procfs=str(proc), **more), clock or ManualClock())


SHOP = Group("g", cmdline="^shop")


def test_the_worst_share_of_descriptors_is_that_of_one_process(proc):
    """R07: 4 of 400 and 40 of 400."""
    put(proc, 7, fds=4, most_fds=400)
    put(proc, 8, fds=40, most_fds=400)
    found = values(of_tree(proc, SHOP).sample())

    assert (44.0, 0.1) == (found["open_fds"], found["worst_fd_ratio"])


def test_a_process_without_a_limit_is_far_from_it(proc):
    put(proc, 7, most_fds="unlimited")

    assert 0.0 == values(of_tree(proc, SHOP).sample())["worst_fd_ratio"]


def test_swap_and_faults_come_from_the_kernels_files(proc):
    put(proc, 7, swap_kb=30, major=1, minor=10)
    reader = of_tree(proc, SHOP)
    first = values(reader.sample())
    put(proc, 7, swap_kb=30, major=3, minor=15)
    found = values(reader.sample())

    assert 30 * 1024 == found["swap_memory_bytes"]
    assert (0.0, 0.0) == (first["page_faults_total", "major"], first["page_faults_total", "minor"])
    assert (2.0, 5.0) == (found["page_faults_total", "major"], found["page_faults_total", "minor"])


def test_a_pid_given_again_is_another_life(proc):
    """R08: the same pid with another start; what the new one used comes on top, and nothing is subtracted."""
    put(proc, 7, user_s=100)
    reader = of_tree(proc, Group("g", pid=7))
    reader.sample()
    put(proc, 7, user_s=100.5)
    before = values(reader.sample())
    put(proc, 7, user_s=0.25, start_s=999)
    found = values(reader.sample())

    assert (0.5, 0.75) == (cpu(before), cpu(found))
    assert (0.0, 1.0) == (before["restarts_total"], found["restarts_total"])


def test_a_pid_given_again_to_a_stranger_is_no_member(proc):
    put(proc, 7, user_s=100)
    reader = of_tree(proc, SHOP)
    reader.sample()
    put(proc, 7, comm="cron", cmdline="cron -f", user_s=3, start_s=999)
    found = values(reader.sample())

    assert (0.0, 0.0, 0.0) == (found["up"], found["restarts_total"], cpu(found))


def test_a_counter_that_falls_counts_nothing(proc):
    """R16: the kernel never should; if it does, a counter of ours stands still."""
    put(proc, 7, user_s=100)
    reader = of_tree(proc, SHOP)
    reader.sample()
    seen = []
    for user_s in (101, 100, 103):
        put(proc, 7, user_s=user_s)
        seen.append(cpu(values(reader.sample())))

    assert [1.0, 1.0, 4.0] == pytest.approx(seen)


def test_a_kernel_thread_has_no_memory_and_no_command_line(proc):
    put(proc, 2, comm="kthreadd", cmdline="", parent=0)
    (proc / "2" / "statm").write_text("0 0 0 0 0 0 0\n")
    (proc / "2" / "status").write_text("Name:\tkthreadd\nvoluntary_ctxt_switches:\t1\nnonvoluntary_ctxt_switches:\t0\n")
    found = values(of_tree(proc, Group("g", comm="kthreadd")).sample())

    assert (1.0, 0.0) == (found["up"], found["resident_memory_bytes"])
    assert "swap_memory_bytes" not in found
    assert 0.0 == values(of_tree(proc, Group("g", cmdline="kthreadd")).sample())["up"]


def test_a_process_goes_on_without_its_main_thread(proc):
    """Its command line is gone then, and a look would not find it again."""
    clock = ManualClock()
    put(proc, 7, threads=4)
    reader = of_tree(proc, SHOP, clock=clock)
    reader.sample()
    put(proc, 7, threads=3, state="Z", cmdline="")
    clock.advance(60)

    assert (1.0, 3.0) == (values(reader.sample())["up"], values(reader.sample())["threads"])


def test_a_file_that_this_kernel_does_not_keep_is_absent_and_no_error(proc):
    put(proc, 7)
    (proc / "7" / "io").unlink()
    found = values(of_tree(proc, SHOP).sample())

    assert "read_bytes_total" not in found
    assert (1.0, 0.0) == (found["up"], found["read_errors_total"])
    assert found["resident_memory_bytes"] > 0


def test_a_file_that_cannot_be_read_is_absent_and_counted_for_the_whole_group(proc):
    """A sum that lacks one process would look like one that fell."""
    put(proc, 7), put(proc, 8)
    (proc / "7" / "statm").unlink()
    (proc / "7" / "statm").mkdir()  # reading a folder is an error, for root as well
    reader = of_tree(proc, SHOP)

    assert 1.0 == values(reader.sample())["read_errors_total"]
    found = values(reader.sample())
    assert 2.0 == found["read_errors_total"]
    assert "resident_memory_bytes" not in found
    assert (2.0, 6.0) == (found["processes"], found["open_fds"])


def test_what_could_not_be_read_for_a_while_is_counted_afterwards(proc):
    put(proc, 7, written=1000)
    reader = of_tree(proc, SHOP)
    reader.sample()
    (proc / "7" / "io").rename(proc / "hidden")
    (proc / "7" / "io").mkdir()
    assert "written_bytes_total" not in values(reader.sample())
    (proc / "7" / "io").rmdir()
    put(proc, 7, written=5000)

    assert 4000.0 == values(reader.sample())["written_bytes_total"]


class Vanishing(Procfs):
    """A /proc in which a process ends as soon as the file of this name is opened."""

    def __init__(self, path, name):
        super().__init__(path)
        self.name = name

    def read(self, name):
        if name == self.name:
            shutil.rmtree(Path(self.path) / name.split("/")[0])
        return super().read(name)


@pytest.mark.parametrize("name", ["stat", "statm", "status", "io", "limits"])
def test_a_process_that_ends_while_it_is_read_is_gone_and_no_error(proc, name):
    """R13: between two files, and between the list and the first of them."""
    put(proc, 7, user_s=1), put(proc, 8, user_s=1, start_s=60)
    reader = of_tree(proc, SHOP)
    reader.sample()
    put(proc, 7, user_s=3)
    reader._procfs = Vanishing(str(proc), f"7/{name}")
    found = values(reader.sample())

    assert (1.0, 0.0) == (found["processes"], found["read_errors_total"])
    assert 3.0 == found["open_fds"]
    assert cpu(found) == (0.0 if name == "stat" else 2.0), "what was read before it ended counts"


def test_a_process_that_ends_while_it_is_looked_for_is_not_found(proc):
    put(proc, 7)
    for name in ("stat", "cmdline", "statm"):
        put(proc, 7)
        reader = process.Reader(
            Config(groups=(SHOP,), procfs=str(proc)), Vanishing(str(proc), f"7/{name}"), ManualClock()
        )
        assert 0.0 == values(reader.sample())["up"], name


def test_a_parent_that_ignores_its_children_keeps_its_own_count(proc):
    """It inherits nothing, so what is held back for that comes free after two readings."""
    put(proc, 7, written=0)
    put(proc, 8, written=1000, parent=7, start_s=60)
    reader = of_tree(proc, SHOP)
    reader.sample()
    shutil.rmtree(proc / "8")
    for _ in range(3):
        reader.sample()
    put(proc, 7, written=500)

    assert 500.0 == values(reader.sample())["written_bytes_total"]


def test_what_a_parent_inherits_in_the_next_reading_is_still_held_back(proc):
    """Parents are read before their children: the child may be waited for between the two."""
    put(proc, 7, written=0)
    put(proc, 8, written=1000, parent=7, start_s=60)
    reader = of_tree(proc, SHOP)
    reader.sample()
    shutil.rmtree(proc / "8")
    reader.sample()
    put(proc, 7, written=1200)

    assert 200.0 == values(reader.sample())["written_bytes_total"]


def test_a_child_that_is_waited_for_within_a_reading_counts_once(proc):
    """After it was read, before the end of the reading: its parent has been read already."""

    class WaitedFor(Procfs):
        def read(self, name):
            content = super().read(name)
            if name == "8/limits":
                shutil.rmtree(proc / "8")
                put(proc, 7, written=1200)
            return content

    put(proc, 7, written=0)
    put(proc, 8, written=1000, parent=7, start_s=60)
    reader = of_tree(proc, SHOP)
    reader.sample()
    reader._procfs = WaitedFor(str(proc))

    assert [0.0, 200.0] == [values(reader.sample())["written_bytes_total"] for _ in range(2)]


# ---------------------------------------------------------------- when it looks


def test_one_of_several_that_is_lost_is_looked_for_at_once(proc):
    put(proc, 7), put(proc, 8)
    reader = of_tree(proc, SHOP)
    reader.sample()
    shutil.rmtree(proc / "8")
    put(proc, 9, start_s=1001)
    found = values(reader.sample())

    assert (2.0, 1.0) == (found["processes"], found["restarts_total"])


def test_new_members_are_looked_for_now_and_then(proc):
    """Not at each reading: that would read every process of the machine each time."""
    clock = ManualClock()
    put(proc, 7)
    reader = of_tree(proc, SHOP, clock=clock, discover_s=10)
    reader.sample()
    put(proc, 8, start_s=1001)

    clock.advance(9)
    assert 1.0 == values(reader.sample())["processes"]
    clock.advance(1)
    assert 2.0 == values(reader.sample())["processes"]


class SlowClock(ManualClock):
    """Each look at it takes 10 ms."""

    def monotonic(self):
        self.advance(0.01)
        return super().monotonic()

    def cpu(self):
        self.advance(0.01)
        return super().cpu()


class IdleClock(ManualClock):
    """Whatever goes by, others were at work."""

    def cpu(self):
        return 0.0


def test_looking_takes_no_more_than_a_hundredth_of_the_time(proc):
    """A group that is not there makes each reading look, but a look of 10 ms is followed by a second without."""
    clock = SlowClock()
    reader = of_tree(proc, SHOP, clock=clock)
    reader.sample()
    put(proc, 7)

    clock.advance(0.8)
    assert 0.0 == values(reader.sample())["up"]
    clock.advance(0.3)
    assert 1.0 == values(reader.sample())["up"]


def test_a_look_that_waits_for_its_turn_on_a_busy_machine_does_not_make_the_next_one_late(proc):
    clock = IdleClock()

    class Starved(Procfs):
        def pids(self):
            clock.advance(0.5)
            return super().pids()

    reader = process.Reader(Config(groups=(SHOP,)), Starved(str(proc)), clock)
    reader.sample()
    put(proc, 7)

    clock.advance(1.0)
    assert 1.0 == values(reader.sample())["up"]


def test_reading_command_lines_is_part_of_the_look(proc):
    """They are most of what it costs."""
    clock = ManualClock()

    class Slow(Procfs):
        def command_line(self, pid):
            clock.advance(0.02)
            return super().command_line(pid)

    reader = process.Reader(Config(groups=(SHOP,)), Slow(str(proc)), clock)
    reader.sample()
    put(proc, 7)

    clock.advance(1.9)
    assert 0.0 == values(reader.sample())["up"]
    clock.advance(0.2)
    assert 1.0 == values(reader.sample())["up"]


def test_a_look_reads_each_process_once_for_all_groups(proc):
    read = []

    class Listing(Procfs):
        def read(self, name):
            read.append(name)
            return super().read(name)

    put(proc, 7)
    groups = (Group("a", cmdline="nobody"), Group("b", cmdline="nothing"), Group("c", comm="none"))
    process.Reader(Config(groups=groups), Listing(str(proc)), ManualClock()).sample()

    assert ["1/cmdline", "1/stat", "7/cmdline", "7/stat"] == sorted(read)


def test_a_process_known_by_its_pid_needs_no_look(proc):
    clock = SlowClock()
    reader = of_tree(proc, Group("g", pid=7), clock=clock)
    assert 0.0 == values(reader.sample())["up"]
    put(proc, 7)

    assert 1.0 == values(reader.sample())["up"]


# ---------------------------------------------------------------- what it says


def test_a_missing_group_does_not_hide_the_others(proc):
    put(proc, 7)
    reader = of_tree(proc, SHOP, Group("x", comm="nginx", port=80), Group("y", pid=99))
    samples = reader.sample()

    assert (1.0, 0.0, 0.0) == tuple(values(samples, group)["up"] for group in ("g", "x", "y"))
    assert (
        'no process matches port 80 and comm "nginx" (group "x"); no process matches pid 99 (group "y")'
        == reader.missing
    )
    put(proc, 99)
    reader.sample()
    assert 'no process matches port 80 and comm "nginx" (group "x")' == reader.missing


def test_a_process_that_is_hidden_from_us_may_be_the_one_that_is_missing(proc):
    class Hiding(Procfs):
        def command_line(self, pid):
            raise PermissionError

    put(proc, 7)
    reader = process.Reader(Config(groups=(SHOP,)), Hiding(str(proc)), ManualClock())
    reader.sample()

    assert 'no process matches cmdline "^shop" (group "g"); 2 processes may not be read' == reader.missing


@pytest.mark.parametrize("folder", ["", "nowhere"])
def test_no_process_table_is_a_lookup_error(tmp_path, folder):
    reader = of_tree(tmp_path / folder, SHOP)

    with pytest.raises(LookupError, match="no process table at"):
        reader.sample()


def test_every_family_is_told_with_its_labels(spawn, word):
    spawn()
    labels = {family.name: family.labels for family in process.FAMILIES}
    everything = Config(groups=(Group("g", cmdline=word),), names=("perfmon", "process_exporter"), pss=True)
    samples = reading(everything).sample()

    limited = {"perfmon_process_memory_limit_bytes": ("group",)}  # where a control group has a limit
    assert labels == {sample.name: tuple(sample.labels) for sample in samples} | limited
    assert len(samples) == len({(sample.name, *sample.labels.values()) for sample in samples})


@pytest.mark.parametrize(
    ("group", "path", "message"),
    [
        (
            Group("g"),
            "groups[0]",
            "expected one of: pid, pidfile, comm, cmdline, port, cgroup, self; they say what g is",
        ),
        (Group("g", itself=True, pid=1), "groups[0].self", "perfmon itself needs no other description"),
        (Group("g", pid=1, pidfile="/run/x"), "groups[0].pidfile", "expected pid or pidfile, not both"),
        (
            Group("g", comm="prometheus-alertmanager"),
            "groups[0].comm",
            '"prometheus-alertmanager" never matches: the kernel keeps 15 bytes, expected "prometheus-aler", or cmdline',
        ),
        (
            Group("g", cmdline="shop ("),
            "groups[0].cmdline",
            '"shop (" is no regular expression: missing ), unterminated subpattern at position 5',
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(group, path, message):
    assert [(path, message)] == list(process.check(Config(groups=(group,))))


def test_two_groups_of_one_name_are_a_mistake():
    config = Config(groups=(Group("g", pid=1), Group("x", pid=2), Group("g", pid=3)))
    message = '"g" names 2 groups, expected one of each name'

    assert [("groups[0].name", message), ("groups[2].name", message)] == list(process.check(config))


def test_a_config_is_written_with_the_words_of_the_file():
    written = {"groups": [{"name": "me", "self": True}, {"name": "shop", "cmdline": "simulate shop"}], "discover": 5}
    config = msgspec.convert(written, Config)

    assert Config(groups=(Group("me", itself=True), Group("shop", cmdline="simulate shop")), discover_s=5.0) == config
    assert [] == list(process.check(config))


# ---------------------------------------------------------------- on request


def test_proportional_and_unique_memory_are_psutils_pss_and_uss(spawn, word):
    child = spawn()
    config = Config(groups=(Group("g", cmdline=word),), pss=True)
    found = values(reading(config).sample())
    told = psutil.Process(child.pid).memory_full_info()

    assert (told.pss, told.uss) == (found["proportional_memory_bytes"], found["unique_memory_bytes"])
    assert 0 == found["pss_skipped_total"]


def test_the_walk_through_all_pages_is_not_begun_unless_somebody_asks_for_it(proc):
    """R11: reading `smaps_rollup` would stop the process for as long as the walk takes."""
    put(proc, 7)
    (proc / "7/smaps_rollup").mkdir()  # to read it is an error, for root too

    assert 0 == values(of_tree(proc, SHOP).sample())["read_errors_total"]
    assert 1 == values(of_tree(proc, SHOP, pss=True).sample())["read_errors_total"]


def test_pss_is_not_asked_of_a_process_that_is_too_large_nor_when_its_time_is_over(proc):
    """R11, where it was asked for."""
    put(proc, 7)  # 500 pages
    put(proc, 8)
    for pid in (7, 8):
        (proc / str(pid) / "smaps_rollup").write_text(
            "Rss: 9 kB\nPss:    5 kB\nPrivate_Clean: 1 kB\nPrivate_Dirty: 2 kB\n"
        )

    class Slow(ManualClock):
        def monotonic(self):
            self.advance(0.04)
            return super().monotonic()

    unlimited = values(of_tree(proc, SHOP, pss=True).sample())
    small = values(of_tree(proc, SHOP, pss=True, pss_max_bytes=1e6).sample())
    slow = values(of_tree(proc, SHOP, pss=True, pss_budget_s=0.05, clock=Slow()).sample())
    never = values(of_tree(proc, SHOP).sample())

    assert (2 * 5120, 2 * 3072, 0) == tuple(
        unlimited[name] for name in ("proportional_memory_bytes", "unique_memory_bytes", "pss_skipped_total")
    )
    for found, skipped in ((small, 2), (slow, 1)):
        assert skipped == found["pss_skipped_total"]
        assert not found.keys() & {"proportional_memory_bytes", "unique_memory_bytes"}  # a sum lacks a member
    assert not never.keys() & {"pss_skipped_total", "proportional_memory_bytes", "unique_memory_bytes"}


def test_a_kernel_thread_has_no_pss_and_that_is_no_error(proc):
    put(proc, 7)
    (proc / "7/smaps_rollup").write_text("")

    found = values(of_tree(proc, SHOP, pss=True).sample())

    assert (0, 0) == (found["read_errors_total"], found["pss_skipped_total"])
    assert "proportional_memory_bytes" not in found


def test_process_exporters_names_stand_beside_ours_or_alone(proc):
    put(proc, 7, fds=4, most_fds=400, minor=5, user_s=3.0)
    put(proc, 8, fds=40, most_fds=400)
    both = of_tree(proc, SHOP, names=("perfmon", "process_exporter")).sample()
    alone = of_tree(proc, SHOP, names=("process_exporter",)).sample()

    def theirs(samples):
        return {
            (sample.name.removeprefix("namedprocess_namegroup_"), *list(sample.labels.values())[1:]): sample.value
            for sample in samples
            if sample.labels.get("groupname") == "g"
        }

    assert theirs(both) == theirs(alone)
    assert {("num_procs",): 2, ("open_filedesc",): 44, ("worst_fd_ratio",): 0.1}.items() <= theirs(alone).items()
    assert ("memory_bytes", "resident") in theirs(alone)
    assert ("context_switches_total", "nonvoluntary") in theirs(alone)
    assert {"up", "restarts_total", "read_errors_total"} == values([s for s in alone if "group" in s.labels]).keys()


# ---------------------------------------------------------------- who belongs, and what is hard to read


def test_processes_are_found_by_their_control_group(proc):
    for pid, group in (
        (7, "0::/kubepods.slice/pod7/a\n"),
        (8, "9:memory:/kubepods.slice/pod8\n0::/\n"),
        (9, "0::/x\n"),
    ):
        put(proc, pid)
        (proc / str(pid) / "cgroup").write_text(group)

    def found(glob):
        return values(of_tree(proc, Group("g", cgroup=glob)).sample())["processes"]

    assert [2, 1, 1, 0] == [found(glob) for glob in ("/kubepods.slice/**", "/kubepods.slice/*", "/x", "/y")]


def test_the_limit_on_descriptors_is_that_of_all_processes_together(proc):
    put(proc, 7, most_fds=400)
    put(proc, 8, most_fds=200)

    assert 600 == values(of_tree(proc, SHOP).sample())["fds_limit"]


@pytest.mark.parametrize(
    ("limits", "groups", "expected"),
    [
        (("500", "max"), ("/a/b", "/a/b"), 500),
        (("500", "300"), ("/a/b", "/a/b"), 300),  # of the one above
        (("max", "max"), ("/a/b", "/a/b"), None),
        (("4096", "max"), ("/a/b", "/a/b"), None),  # the machine has less
        (("500", "max"), ("/a/b", "/a"), None),  # several have none in common
    ],
)
def test_memory_cannot_pass_the_limit_of_the_control_group(proc, tmp_path, limits, groups, expected):
    tree = tmp_path / "cgroup"
    (tree / "a/b").mkdir(parents=True)
    (tree / "cgroup.controllers").touch()
    for folder, limit in zip(("a/b", "a"), limits, strict=True):
        (tree / folder / "memory.max").write_text(f"{limit}\n")
    (proc / "meminfo").write_text("MemTotal:  1 kB\nMemFree: 1 kB\n")
    for pid, group in zip((7, 8), groups, strict=True):
        put(proc, pid)
        (proc / str(pid) / "cgroup").write_text(f"0::{group}\n")

    assert expected == values(of_tree(proc, SHOP, cgroups=str(tree)).sample()).get("memory_limit_bytes")


@pytest.mark.parametrize(
    "argument", ["a\nb", 'say "x"', "\x1b[31mred", "\u202egnp", "x" * 100_000, "{{target}}", "\udcff"]
)
def test_a_hostile_command_line_is_matched_and_never_shown(spawn, word, argument):
    child = spawn()
    process_ = subprocess.Popen(
        [sys.executable, "-S", "-c", "input()", os.fsencode(f"{word}-hostile"), os.fsencode(argument)],
        stdin=subprocess.PIPE,
    )
    try:
        reader = reading(Group("g", cmdline=f"{word}-hostile"))
        until(lambda: values(reading(Group("g", cmdline=f"{word}-hostile")).sample())["processes"] == 1)
        samples = reader.sample()
    finally:
        process_.communicate(b"\n")

    assert child.popen.poll() is None
    assert {"g"} == {sample.labels["group"] for sample in samples}
    assert all(argument not in value for sample in samples for value in sample.labels.values())


def test_a_thousand_children_are_counted_and_cost_no_more_than_a_look(spawn, word):
    child = spawn()
    child.do("import os, signal, time")
    child.do("pids = []")
    child.do("for _ in range(1000):\n pid = os.fork()\n if pid == 0:\n  signal.pause()\n pids.append(pid)")
    try:
        reader = reading(Group("g", cmdline=word))
        began = time.monotonic()
        found = values(reader.sample())
        took_s = time.monotonic() - began
    finally:
        child.do("for pid in pids: os.kill(pid, 9)\nfor pid in pids: os.waitpid(pid, 0)")

    assert 1001 == found["processes"]
    assert 1000 == found["children"]
    assert took_s < 5.0
    assert 1 == values(reader.sample())["processes"]


# ---------------------------------------------------------------- leave to profile


def test_the_process_to_look_into_is_the_one_with_most_private_memory_and_only_of_memory(proc):
    for pid, resident, shared in ((7, 900, 800), (8, 700, 100), (9, 500, 100)):  # pages
        put(proc, pid)
        (proc / str(pid) / "statm").write_text(f"1000 {resident} {shared} 1 0 300 0\n")
    reader = of_tree(proc, SHOP, profile=True, profile_short_s=2.0, profile_long_s=5.0)
    memory = "perfmon_process_private_memory_bytes"

    assert None is reader.to_profile(memory, {"group": "g"})
    reader.sample()
    assert Order(pid=8, every_s=3600.0, short_s=2, long_s=5) == reader.to_profile(memory, {"group": "g"})
    assert None is reader.to_profile("perfmon_process_open_fds", {"group": "g"})
    assert None is reader.to_profile(memory, {"group": "other"})


def test_without_leave_nobody_is_to_be_looked_into(proc):
    put(proc, 7)
    reader = of_tree(proc, SHOP)
    reader.sample()

    assert None is reader.to_profile("perfmon_process_private_memory_bytes", {"group": "g"})


def test_perfmon_does_not_offer_itself():
    reader = reading(Config(groups=(Group("me", itself=True),), profile=True))
    reader.sample()

    assert None is reader.to_profile("perfmon_process_private_memory_bytes", {"group": "me"})


def test_a_limit_that_cannot_be_read_spoils_no_reading(proc, tmp_path):
    (tmp_path / "cgroup/a/memory.max").mkdir(parents=True)  # reading it fails for root too
    (tmp_path / "cgroup/cgroup.controllers").touch()
    put(proc, 7)
    (proc / "7/cgroup").write_text("0::/a\n")

    found = values(of_tree(proc, SHOP, cgroups=str(tmp_path / "cgroup")).sample())

    assert 1 == found["processes"]
    assert "memory_limit_bytes" not in found
