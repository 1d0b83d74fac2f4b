"""The kernel's files, against psutil as the oracle."""

import os
import socket
import subprocess

import psutil
import pytest

from perfmon.procfs import Procfs, parse_stat

TAIL = "S 7 1 1 0 -1 4194560 10 20 3 40 150 25 300 5 20 0 2 0 12345 1000 50 18446744073709551615"


@pytest.mark.parametrize("comm", ["shop", "a b", "(sd-pam)", "a) S (b", ") R 1 1", ""])
def test_a_name_may_hold_blanks_and_parentheses(comm):
    stat = parse_stat(f"42 ({comm}) {TAIL}\n".encode())

    assert (42, comm, "S", 7) == (stat.pid, stat.comm, stat.state, stat.parent)


def test_the_fields_of_a_process_are_those_of_proc_pid_stat():
    stat = parse_stat(f"42 (shop) {TAIL}\n".encode())

    assert (10, 3) == (stat.minor_faults, stat.major_faults)
    assert (1.5, 0.25, 3.0, 0.05) == (stat.user_s, stat.system_s, stat.children_user_s, stat.children_system_s)
    assert (2, 123.45) == (stat.threads, stat.start_s)


@pytest.mark.parametrize(
    ("state", "threads", "ended"), [("S", 1, False), ("Z", 1, True), ("Z", 0, True), ("X", 0, True), ("Z", 3, False)]
)
def test_a_zombie_has_ended_unless_other_threads_go_on(state, threads, ended):
    tail = TAIL.replace("S ", f"{state} ", 1).replace(" 20 0 2 0 ", f" 20 0 {threads} 0 ")

    assert ended == parse_stat(f"42 (shop) {tail}".encode()).ended


def test_this_process_is_read_as_psutil_reads_it():
    procfs, oracle = Procfs(), psutil.Process()
    stat = procfs.stat(os.getpid())

    assert os.getpid() == procfs.own_pid()
    assert os.getpid() in procfs.pids()
    assert oracle.ppid() == stat.parent
    assert oracle.name()[:15] == stat.comm
    assert oracle.num_threads() == stat.threads
    assert " ".join(oracle.cmdline()) == procfs.command_line(os.getpid())


def test_descriptors_are_counted_as_psutil_counts_them():
    """Of a process without threads: one that waits in accept() has a descriptor reserved, which only the kernel counts."""
    with subprocess.Popen(["sleep", "60"], stdin=subprocess.PIPE) as another:
        counted = Procfs().descriptors(another.pid), psutil.Process(another.pid).num_fds()
        another.kill()

    assert (3, 3) == counted


def test_descriptors_are_counted_where_the_kernel_tells_no_size(tmp_path):
    """Before Linux 6.2 the folder's size is 0; an ordinary folder's size means something else."""
    folder = tmp_path / "7" / "fd"
    folder.mkdir(parents=True)
    for number in range(3):
        (folder / str(number)).touch()

    assert 3 == Procfs(str(tmp_path)).descriptors(7)


def test_a_process_table_without_us_in_it_knows_no_own_pid(tmp_path):
    assert Procfs(str(tmp_path)).own_pid() is None


@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")], ids=["ip4", "ip6"]
)
def test_listeners_are_found_with_those_who_hold_them(family, address):
    procfs = Procfs()
    with socket.socket(family) as server:
        server.bind((address, 0))
        port = server.getsockname()[1]
        assert set() == procfs.listeners(port), "bound is not yet listening"

        server.listen()
        links = procfs.listeners(port)

        assert {f"socket:[{os.fstat(server.fileno()).st_ino}]"} == links
        assert procfs.holds(os.getpid(), links)
        with subprocess.Popen(["sleep", "60"]) as another:
            assert not procfs.holds(another.pid, links)
            another.kill()
    assert set() == procfs.listeners(port)


def test_a_table_of_connections_is_not_read_past_its_listeners(tmp_path):
    """The listeners come first; what follows a row of another state is not even looked at."""
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tcp").write_text(
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n"
        "   1: 0100007F:1F91 00000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0 0 10 0\n"
        "no row\n"
    )

    assert {"socket:[4711]"} == Procfs(str(tmp_path)).listeners(8080)
    assert set() == Procfs(str(tmp_path)).listeners(8081)
