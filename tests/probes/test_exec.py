"""The exec probe runs real programs. Names like x01 are rows of other systems' tests of scripted probes."""

import asyncio
import contextlib
import gc
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
import uvloop
from probing import outcome, probe_exec

from perfmon.clock import SystemClock
from perfmon.network import Network
from perfmon.probes.exec import MOST_VALUES, Config, check, check_target
from perfmon.secret import Secret

SH = ("/bin/sh", "-c")


def value(measurement, name, **labels):
    own = "".join(f',{label}="{text}"' for label, text in labels.items())
    return measurement.facts.get(f'perfmon_exec_value{{name="{name}"{own}}}')


def alive(pid):
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


async def comes_true(what, within_s=2.0):
    until = time.monotonic() + within_s
    while not what() and time.monotonic() < until:  # noqa: ASYNC110 - no event tells of another process' state
        await asyncio.sleep(0.01)
    return what()


async def gone(pid):
    return await comes_true(lambda: not alive(pid))


def descriptors():
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def children():
    return set(Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split())


# ---------------------------------------------------------------- exit codes


@pytest.mark.parametrize(
    ("script", "valid", "expected"),
    [
        ("exit 0", [], "ok"),
        ("exit 1", [], "status"),
        ("exit 3", [0, 3], "ok"),
        ("exit 0", [3], "status"),
        ("kill -SEGV $$", [], "status"),
        ("kill -TERM 0", [], "status"),
    ],
)
async def test_x01_the_exit_code_decides(network, script, valid, expected):
    measurement = await probe_exec(network, *SH, script, valid_exit_codes=valid)

    assert expected == outcome(measurement)


async def test_a_wrong_exit_code_says_what_came_and_shows_what_was_printed(network):
    measurement = await probe_exec(network, *SH, "echo out; echo the disk is full >&2; exit 7")

    assert '"/bin/sh" ended with exit code 7, expected 0' == measurement.failure.message
    assert "processing" == measurement.failure.phase
    assert {"exit_code": "7", "stdout": "out\n", "stderr": "the disk is full\n"} == measurement.failure.evidence
    assert 7 == measurement.facts["perfmon_exec_exit_code"]


async def test_a_signal_is_called_by_its_name(network):
    measurement = await probe_exec(network, *SH, "kill -SEGV $$")

    assert '"/bin/sh" was ended by SIGSEGV, expected 0' == measurement.failure.message
    assert -11 == measurement.facts["perfmon_exec_exit_code"]


async def test_the_phases_are_the_start_and_the_run(network):
    measurement = await probe_exec(network, *SH, "sleep 0.2")

    assert ["connect", "processing"] == list(measurement.phases)
    assert measurement.duration_s == sum(measurement.phases.values())
    assert 0.2 <= measurement.phases["processing"] < 1.0


@pytest.mark.parametrize(("mode", "reason"), [(0o644, "permission"), (None, "unreachable")])
async def test_a_program_that_cannot_be_started_is_said_so(network, tmp_path, mode, reason):
    """A file that went away, or lost its mode, after the config was read."""
    script = tmp_path / "a"
    if mode is not None:
        script.write_text("#!/bin/sh\n")
        script.chmod(mode)

    failure = (await probe_exec(network, str(script))).failure

    assert (reason, "connect") == (failure.reason, failure.phase)
    assert " cannot be started: " in failure.message


# ---------------------------------------------------------------- time


async def test_x01_a_program_that_overruns_its_time_is_told_to_end(network, tmp_path):
    said = tmp_path / "said"
    script = f"trap 'echo told > {said}; exit 1' TERM; sleep 60 & wait"
    began = time.monotonic()

    measurement = await probe_exec(network, *SH, script, timeout_s=0.5)

    assert "timeout" == outcome(measurement)
    assert time.monotonic() - began < 1.0
    assert '"/bin/sh" had not ended after 4' in measurement.failure.message
    assert "told\n" == said.read_text()


async def test_one_that_does_not_heed_it_is_killed_at_the_deadline_with_all_that_it_started(network, tmp_path):
    pids = tmp_path / "pids"
    script = f"trap '' TERM; sleep 60 & echo $$ $! > {pids}; while :; do sleep 60; done"
    began = time.monotonic()

    measurement = await probe_exec(network, *SH, script, timeout_s=0.6)

    assert "timeout" == outcome(measurement)
    assert 0.5 <= time.monotonic() - began < 1.2
    assert all([await gone(pid) for pid in pids.read_text().split()])


async def test_what_it_leaves_in_the_background_ends_with_it(network):
    """It holds the pipe open too, and is not waited for."""
    began = time.monotonic()

    measurement = await probe_exec(network, *SH, "sleep 60 & echo pid $!", output="prometheus")

    assert "ok" == outcome(measurement)
    assert time.monotonic() - began < 2
    assert await gone(int(value(measurement, "pid")))


async def test_a_program_that_closes_its_pipes_is_still_waited_for(network):
    measurement = await probe_exec(network, *SH, "exec >&- 2>&-; sleep 0.2; exit 4")

    assert 4 == measurement.facts["perfmon_exec_exit_code"]


@pytest.mark.parametrize("trap", ["", "trap '' TERM;"])
async def test_a_cancelled_run_leaves_neither_process_nor_zombie_nor_descriptor(network, tmp_path, trap):
    pids, before = tmp_path / "pids", descriptors()
    task = asyncio.create_task(probe_exec(network, *SH, f"{trap} sleep 60 & echo $$ $! > {pids}; wait", timeout_s=30))
    assert await comes_true(lambda: pids.exists() and pids.read_text().endswith("\n"))

    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task

    assert task.cancelled()
    assert all([await gone(pid) for pid in pids.read_text().split()])
    assert set() == children() & set(pids.read_text().split())
    assert before == descriptors()


async def test_x01_a_hundred_runs_leak_nothing(network):
    await probe_exec(network, "/bin/true")
    before, threads, others = descriptors(), threading.active_count(), children()

    for number in range(100):
        script = ("exit 0", "echo a; exit 3", "sleep 5 & exit 0", "kill -9 $$")[number % 4]
        await probe_exec(network, *SH, script, stdin="x")
    await probe_exec(network, "/nowhere/at/all")
    await probe_exec(network, *SH, "sleep 5", timeout_s=0.05)

    gc.collect()
    assert before == descriptors()
    assert threads == threading.active_count()
    assert others == children()


async def test_it_is_told_how_long_it_has(network):
    script = 'echo "left $PERFMON_TIMEOUT_SECONDS"; echo "until $PERFMON_DEADLINE"'
    before = time.time()

    measurement = await probe_exec(network, *SH, script, timeout_s=4.0, output="prometheus")

    assert 3.5 < value(measurement, "left") <= 3.6  # a tenth is kept for its end
    assert before + 3.5 < value(measurement, "until") < time.time() + 3.6


async def test_runs_go_on_side_by_side(network):
    began = time.monotonic()

    measurements = await asyncio.gather(*(probe_exec(network, "/bin/sleep", "0.3") for _ in range(10)))

    assert {"ok"} == {outcome(measurement) for measurement in measurements}
    assert time.monotonic() - began < 2


# ---------------------------------------------------------------- what it is given


async def test_the_environment_is_what_is_written_and_nothing_else(network, monkeypatch):
    monkeypatch.setenv("PERFMON_TEST_PASSED", "from outside")
    monkeypatch.setenv("PERFMON_TEST_KEPT", "back")
    script = 'tr "\\0" "\\n" < /proc/self/environ'

    measurement = await probe_exec(
        network,
        *SH,
        f"{script}; exit 1",
        env={"GIVEN": "a $HOME `id`"},
        env_pass=["PERFMON_TEST_PASSED", "PERFMON_TEST_NOT_SET"],
    )

    names = {line.partition("=")[0] for line in measurement.failure.evidence["stdout"].splitlines()}
    assert {"PATH", "GIVEN", "PERFMON_TEST_PASSED", "PWD"} >= names - {"PERFMON_TIMEOUT_SECONDS", "PERFMON_DEADLINE"}
    assert "GIVEN=a $HOME `id`\n" in measurement.failure.evidence["stdout"]
    assert "PERFMON_TEST_KEPT" not in names


async def test_it_runs_where_it_is_told_and_reads_what_it_is_given(network, tmp_path):
    text = "two\nlines" * 10_000
    script = "pwd; wc -c; exit 1"

    measurement = await probe_exec(network, *SH, script, working_directory=str(tmp_path), stdin=text)

    assert [str(tmp_path), str(len(text))] == measurement.failure.evidence["stdout"].split()


async def test_without_a_stdin_there_is_nothing_to_read(network):
    assert "ok" == outcome(await probe_exec(network, *SH, 'test -z "$(cat)"', timeout_s=2))


@pytest.mark.parametrize(
    "command",
    [
        "sh -c {target}", "bash -lc {target}", "sh -c -- {target}", "bash -o errexit -c {target}", "sh {target}",
        "python3 -c'{target}'", "perl -ne {target}", "perl -E {target}", "php -r {target}", "env A=b sh -c {target}",
        "timeout 5 sh -c {target}", "su nobody -c {target}", "busybox sh -c {target}", "sh -c {hostname}",
    ],
)  # fmt: skip
def test_a_target_is_no_part_of_a_script(command):
    assert any("part of the script" in message for _, message in check(Config(command=command.split())))


@pytest.mark.parametrize(
    "command",
    [
        "sh -c x sh {target}", "sh /opt/check.sh -c {target}", "python3 -W ignore check.py --host={target}",
        "python3 -m check {target}", "ping -c1 -- {target}", "timeout 5 curl -e {target}", "check --shell sh {target}",
        "env sh -c x sh {target}",
    ],
)  # fmt: skip
def test_a_target_is_an_argument(command):
    assert not any("part of the script" in message for _, message in check(Config(command=command.split())))


async def test_it_inherits_no_descriptor(network):
    with tempfile.TemporaryFile() as file:
        os.set_inheritable(file.fileno(), True)  # noqa: FBT003 - the standard library's
        measurement = await probe_exec(network, *SH, "ls /proc/self/fd; exit 1")

    # The fourth is the folder that ls itself reads.
    assert "0\n1\n2\n3\n" == measurement.failure.evidence["stdout"]


async def test_the_target_is_an_argument_whole_or_in_part(network):
    measurement = await probe_exec(
        network,
        sys.executable,
        "-c",
        "import json, sys; print(json.dumps(sys.argv[1:])); sys.exit(1)",
        "{target}",
        "--url=https://{target}/{hostname}?a={b}",
        target="shop.example; reboot $(id) {hostname}",
        hostname="{target}",
    )

    target = "shop.example; reboot $(id) {hostname}"
    assert [target, f"--url=https://{target}/{{target}}?a={{b}}"] == json.loads(measurement.failure.evidence["stdout"])


@pytest.mark.parametrize(
    ("target", "hostname"), [("-oProxyCommand=id", ""), ("--help", ""), ("shop", "-x"), ("a\nb", "")]
)
async def test_a_target_that_would_be_an_option_is_refused(network, tmp_path, target, hostname):
    ran = tmp_path / "ran"

    measurement = await probe_exec(network, *SH, f"touch {ran}", "{target}", target=target, hostname=hostname)

    assert ("permission", "") == (measurement.failure.reason, measurement.failure.phase)
    assert not ran.exists()


def test_a_target_of_the_config_file_is_refused_when_it_is_read():
    assert 'the target begins with "-", and the program would take it for an option' == check_target(
        "-rf", Config(command=["rm"])
    )
    assert check_target("shop.example", Config(command=["ping"])) is None


# ---------------------------------------------------------------- what it prints


@pytest.mark.parametrize("where", ["", ">&2"])
async def test_one_that_prints_without_end_is_stopped(network, where):
    began = time.monotonic()

    measurement = await probe_exec(network, *SH, f"yes {where}", output_limit=10_000.0)

    assert "too_large" == outcome(measurement)
    assert '"/bin/sh" printed more than 10000 B' == measurement.failure.message
    assert 10_000 == measurement.facts["perfmon_exec_output_bytes"]
    assert time.monotonic() - began < 2


async def test_one_that_has_ended_before_it_is_stopped_printed_too_much_all_the_same(network):
    runs = (probe_exec(network, "head", "-c", "10001", "/dev/zero", output_limit=10_000.0) for _ in range(10))

    assert ["too_large"] * 10 == [outcome(measurement) for measurement in await asyncio.gather(*runs)]


async def test_as_much_as_the_limit_is_fine(network):
    measurement = await probe_exec(network, *SH, "head -c 200000 /dev/zero", output_limit=200_000.0)

    assert "ok" == outcome(measurement)
    assert 200_000 == measurement.facts["perfmon_exec_output_bytes"]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"fail_if_output_matches_regexp": ["disk [0-9]+%"]}, "body"),
        ({"fail_if_output_matches_regexp": ["memory"]}, "ok"),
        ({"fail_if_output_not_matches_regexp": ["^disk", "%$"]}, "ok"),
        ({"fail_if_output_not_matches_regexp": ["^disk", "memory"]}, "body"),
    ],
)
async def test_the_output_is_matched(network, config, expected):
    assert expected == outcome(await probe_exec(network, *SH, "printf 'disk 93%%'", **config))


async def test_x02_numbers_printed_before_a_failure_are_exported(network):
    script = """
        echo 'checking the shop 5 times'
        echo '# HELP orders_total Orders.'
        echo 'orders_total{shop="eu",name="x"} 42'
        echo 'queue_seconds 0.5'
        exit 2
    """
    measurement = await probe_exec(network, *SH, script, output="prometheus")

    assert "status" == outcome(measurement)
    assert 42 == value(measurement, "orders_total", label_name="x", shop="eu")
    assert 0.5 == value(measurement, "queue_seconds")
    assert 2 == len([key for key in measurement.facts if key.startswith("perfmon_exec_value{")])


async def test_x02_numbers_printed_before_the_deadline_are_exported(network):
    measurement = await probe_exec(network, *SH, "echo a 1; sleep 60", output="prometheus", timeout_s=0.3)

    assert "timeout" == outcome(measurement)
    assert 1 == value(measurement, "a")


async def test_numbers_are_bounded(network):
    script = "import sys\nfor n in range(1000): print(f'n{n} {n}')"

    measurement = await probe_exec(network, sys.executable, "-c", script, output="prometheus")

    assert MOST_VALUES == len([key for key in measurement.facts if key.startswith("perfmon_exec_value{")])
    assert 1000 - MOST_VALUES == measurement.facts["perfmon_exec_values_ignored"]


async def test_text_is_no_number_unless_the_module_says_so(network):
    measurement = await probe_exec(network, *SH, "echo a 1")

    assert {"perfmon_exec_exit_code", "perfmon_exec_output_bytes"} == set(measurement.facts)


@pytest.mark.parametrize(
    ("code", "said", "expected"),
    [
        (0, "DISK OK", "ok"),
        (1, "DISK WARNING", "WARNING (exit code 1): DISK WARNING - free: 5%"),
        (2, "DISK CRITICAL", "CRITICAL (exit code 2): DISK CRITICAL - free: 5%"),
        (3, "DISK UNKNOWN", "UNKNOWN (exit code 3): DISK UNKNOWN - free: 5%"),
        (4, "DISK", "no state of Nagios (exit code 4): DISK - free: 5%"),
    ],
)
async def test_a_plugin_of_nagios_speaks_for_itself(network, code, said, expected):
    script = f"echo \"{said} - free: 5%|free=5%;10;5 'read time'=12ms\"; exit {code}"

    measurement = await probe_exec(network, *SH, script, output="nagios")

    assert expected == (measurement.failure.message if measurement.failure else "ok")
    assert (0.05, 0.012) == (value(measurement, "free"), value(measurement, "read time"))


async def test_a_warning_is_fine_where_the_module_says_so(network):
    assert "ok" == outcome(await probe_exec(network, *SH, "exit 1", output="nagios", valid_exit_codes=[0, 1]))


async def test_a_secret_that_is_printed_is_not_shown(network, monkeypatch):
    monkeypatch.setenv("SHOP_TOKEN", "passed-on-token")
    secret = Secret("user:hunter22", ["hunter22"])

    measurement = await probe_exec(
        network, *SH, 'echo "$LOGIN $SHOP_TOKEN"; echo "password hunter22" >&2; exit 1',
        env={"LOGIN": secret}, env_pass=["SHOP_TOKEN"], debug=True,
    )  # fmt: skip

    shown = repr(measurement)
    assert "<secret>" in shown
    assert "hunter22" not in shown
    assert "passed-on-token" not in shown


# ---------------------------------------------------------------- config


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"command": ["/no/such/program"]}, ("command[0]", 'no program "/no/such/program" that could be run')),
        ({"command": ["no-such-program"]}, ("command[0]", 'no program "no-such-program" that could be run')),
        ({"command": ["sh"], "env": {"PATH": "/nowhere"}}, ("command[0]", 'no program "sh" that could be run')),
        ({"command": ["./check"]}, ("command[0]", 'expected an absolute path, or a name to be found in PATH, got "./check"')),
        ({"command": ["{target}"]}, ("command[0]", "the program must be named here, so that no target can choose it")),
        ({"command": ["true", "a\0b"]}, ("command[1]", "a text without the character NUL is expected")),
        ({"command": ["true"], "env": {"A=B": ""}}, ("env.A=B", 'expected the name of a variable, PERFMON_ not at its beginning, got "A=B"')),
        ({"command": ["true"], "env": {"A": ""}, "env_pass": ["A"]}, ("env_pass[0]", '"A" stands in env too, expected it in one of them')),
        ({"command": ["true"], "env_pass": ["A B"]}, ("env_pass[0]", 'expected the name of a variable, got "A B"')),
        ({"command": ["true"], "working_directory": "/nowhere"}, ("working_directory", 'no such folder: "/nowhere"')),
        ({"command": ["true"], "valid_exit_codes": [0, 256]}, ("valid_exit_codes[1]", "expected an exit code of 0 to 255, got 256")),
    ],
)  # fmt: skip
def test_x04_x05_mistakes_are_found_when_the_config_is_read(config, expected):
    assert [expected] == list(check(Config(**config)))


@pytest.mark.parametrize(
    "command",
    [
        ["sh", "-c", "ping {target}"],
        ["/bin/bash", "-ec", "x={hostname}"],
        ["python3", "-c", "print('{target}')"],
        ["perl", "-e", "{target}"],
    ],
)
def test_no_target_may_stand_within_a_script(command):
    assert ["command[2]"] == [path for path, _ in check(Config(command=command)) if path != "command[0]"]


def test_a_target_beside_a_script_may_stand():
    assert [] == list(check(Config(command=["sh", "-c", 'ping "$1"', "sh", "{target}"])))


async def test_one_that_was_stopped_is_killed_all_the_same(network):
    assert "timeout" == outcome(await probe_exec(network, *SH, "kill -STOP $$", timeout_s=0.4))


def test_it_works_on_the_daemons_event_loop(tmp_path):
    async def both():
        async with Network(clock=SystemClock()) as network:
            fine = await probe_exec(network, *SH, "echo a 1", output="prometheus")
            return fine, await probe_exec(network, *SH, "trap '' TERM; sleep 5", timeout_s=0.3)

    fine, late = uvloop.run(both())

    assert 1 == value(fine, "a")
    assert "timeout" == outcome(late)
