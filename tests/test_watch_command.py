"""`perfmon watch`, as a person types it, and what it draws."""

import asyncio
import contextlib
import fcntl
import io
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios

import pytest
from rich.console import Console

from perfmon import watched
from perfmon.leak import LEAST_POINTS
from perfmon.model import Verdict
from perfmon.watched import Seen, Track

LEAKER = "import time\nkept = []\nwhile True: kept.append(b'x' * 100_000); time.sleep(0.02)"
SLEEPER = "import time; time.sleep({seconds})"


@contextlib.contextmanager
def running(program, name="victim"):
    """A Python program that has the name in its command line; yields its process."""
    process = subprocess.Popen([sys.executable, "-c", program, name])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def perfmon_watch(*arguments, interrupt_at=""):
    """(exit code, stdout, stderr) of the command, which gets a Ctrl-C when it says so much."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "perfmon", "watch", *map(str, arguments),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"COLUMNS": "80", "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    said = b""
    while interrupt_at and interrupt_at.encode() not in said:
        said += await asyncio.wait_for(process.stdout.readline(), 40)
    if interrupt_at:
        process.send_signal(signal.SIGINT)
    out, err = await asyncio.wait_for(process.communicate(), 40)
    return process.returncode, (said + out).decode(), err.decode()


async def test_a_leak_builds_up_to_its_verdict_and_ends_with_99():
    with running(LEAKER) as leaker:
        code, out, err = await perfmon_watch(
            leaker.pid, "--interval=100ms", "--limit=4GiB", interrupt_at="memory: leak: grows "
        )
    lines = out.splitlines()
    leak = next(i for i, line in enumerate(lines) if line.startswith("  memory: leak: grows "))

    assert (99, "") == (code, err)
    assert re.match(r"\+[\d.]+m?s +memory .+ MiB  cpu –  fds \d+  threads 1  0 of 96 samples", lines[0])
    assert any(line.endswith(("  95 of 96 samples", "  94 of 96 samples")) for line in lines[:leak])
    end = out[out.index(f"watched pid {leaker.pid} for ") :]
    assert re.search(r"memory +leak: grows .+ MiB/min \(95 % interval", end)
    assert "at this rate the limit of 4 GiB is" in " ".join(end.split())
    assert "\n  threads  " in end
    assert max(map(len, lines)) <= 80


async def test_too_little_to_judge_ends_with_97_and_says_how_much():
    with running(SLEEPER.format(seconds=60)) as sleeper:
        code, out, _ = await perfmon_watch(sleeper.pid, "--interval=100ms", "--duration=1s")

    assert 97 == code
    assert re.search(r"\n  memory   insufficient data: \d+ of 96 samples\n", out)


async def test_json_is_one_object_a_look_and_nothing_else():
    with running(SLEEPER.format(seconds=60)) as sleeper:
        _, out, err = await perfmon_watch(sleeper.pid, "--interval=100ms", "--duration=600ms", "--json")
    looks = [json.loads(line) for line in out.splitlines()]

    assert "" == err
    assert 4 <= len(looks) <= 7
    last = looks[-1]
    assert (f"pid {sleeper.pid}", True, 1, 0) == tuple(
        last[name] for name in ("subject", "up", "processes", "restarts")
    )
    assert last["resident_bytes"] > last["memory"] > 0
    assert last["cpu"] is not None
    assert (1, 3) == (last["threads"], last["fds"])
    assert "insufficient_data" == last["verdict"]
    assert {"memory", "fds", "threads"} == last["verdicts"].keys()
    assert looks[0]["at"] < last["at"]


async def test_all_processes_of_a_name_are_watched_together():
    name = f"together-{os.getpid()}"
    with running(SLEEPER.format(seconds=60), name), running(SLEEPER.format(seconds=60), name):
        _, out, _ = await perfmon_watch(name, "--interval=100ms", "--duration=200ms", "--json")

    assert (name, 2) == tuple(json.loads(out.splitlines()[-1])[field] for field in ("subject", "processes"))


async def test_ctrl_c_ends_with_a_summary():
    with running(SLEEPER.format(seconds=60)) as sleeper:
        code, out, err = await perfmon_watch(sleeper.pid, "--interval=100ms", interrupt_at="1 of 96 samples")

    assert (97, "") == (code, err)
    assert f"\nwatched pid {sleeper.pid} for " in out


async def test_the_end_of_the_process_is_the_end():
    with running(SLEEPER.format(seconds=2)) as sleeper:
        waiting = asyncio.create_task(perfmon_watch(sleeper.pid, "--interval=100ms"))
        await asyncio.to_thread(sleeper.wait)
        _, out, _ = await waiting

    assert "  not there\n" in out
    assert re.search(r"\nwatched pid \d+ for .+; it has ended\n", out)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["99999999"], "perfmon: no process has the pid 99999999\n"),
        (
            ["nobody-is-called-so"],
            'perfmon: no process is called "nobody-is-called-so", nor has that in its command line\n',
        ),
        (["0"], "perfmon: no process has the pid 0\n"),
        (["9" * 5000], 'perfmon: no process is called "9999'),
        ([""], 'perfmon: expected a pid or a name, got ""\n'),
        (["1", "--interval=5ms"], "expected at least 100ms, got"),
        (["1", "--limit=many"], "expected a size"),
        ([], "Missing argument 'PID|NAME'"),
    ],
)
async def test_what_makes_no_sense_is_said_in_words(arguments, words):
    code, out, err = await perfmon_watch(*arguments)

    assert (104, "") == (code, out)
    assert words in err


async def test_who_started_it_with_the_name_among_its_arguments_is_not_what_is_sought():
    process = await asyncio.create_subprocess_exec(
        "timeout", "20", sys.executable, "-m", "perfmon", "watch", "nobody-is-called-so", stderr=asyncio.subprocess.PIPE
    )
    _, err = await process.communicate()

    assert (104, True) == (process.returncode, b"no process is called" in err)


def test_in_a_terminal_it_is_a_table_of_80_columns():
    with running(SLEEPER.format(seconds=60)) as sleeper:
        arguments = ["watch", str(sleeper.pid), "--interval=100ms", "--duration=500ms"]
        said = in_terminal([sys.executable, "-m", "perfmon", *arguments])
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said)

    assert "\x1b[" in said
    assert f"perfmon watch  pid {sleeper.pid}" in plain
    assert re.search(r"memory .+ MiB +.+private; resident", plain)
    assert re.search(r"fds +insufficient data: \d+ of 96 samples", plain)
    assert max(len(line.rstrip()) for line in re.split(r"[\r\n]+", plain)) <= 80


def in_terminal(command):
    """What a command writes to a terminal of 80 columns."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        command, stdin=terminal, stdout=terminal, stderr=terminal, env=os.environ | {"TERM": "xterm"}
    )
    os.close(terminal)
    said = b""
    with contextlib.suppress(OSError):  # as Linux tells the end of a terminal
        while piece := os.read(controller, 65_536):
            said += piece
    process.wait(10)
    os.close(controller)
    return said.decode()


# ---------------------------------------------------------------- what is drawn


def seen(*tracks, **more):
    given = {
        "subject": "shop", "at": 1000.0, "elapsed_s": 130.0, "interval_s": 1.0, "up": True, "processes": 2,
        "restarts": 1, "age_s": 11_520.0, "resident_bytes": 2.0**27, "tracks": tracks,
    }  # fmt: skip
    return Seen(**(given | more))


def track(word, *, n=300, name="memory", why="", **more):
    verdict = Verdict(level="ok", why=why or f"{word}: grows 1 MiB/min", word=word, n=n)
    return Track(name=name, unit="bytes", value=2.0**26, history=(1.0, 2.0, 3.0), verdict=verdict, **more)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["clean", "leak", "insufficient_data"], "leak"),
        (["clean", "growing", "suspect"], "growing"),
        (["clean", "insufficient_data"], "clean"),
        (["insufficient_data"], "insufficient_data"),
        ([], "insufficient_data"),
    ],
)
def test_the_verdict_that_matters_most_decides(words, expected):
    assert expected == watched.worst(seen(*map(track, words)))


def test_the_table_fits_80_columns_and_says_all_of_it():
    long = "leak: grows 11.3 MiB/min (95 % interval 11.1 to 11.5) over 2m29s, n 146, p < 0.001; at this rate the limit of 400 MiB is reached in 28m5s"
    console = Console(width=80, record=True, highlight=False, file=io.StringIO())
    console.print(watched.table(seen(track("leak", why=long), track("insufficient_data", name="fds", n=40))))
    text = console.export_text()

    assert "running · 2 processes · up for 3h12m · 1 restart · watched for 2m10s, every 1s" in text
    assert " ".join(long.split()) in " ".join(text.split())
    assert f"insufficient data: 40 of {LEAST_POINTS} samples" in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80


def test_a_sparkline_is_flat_for_what_hardly_varies():
    assert "▁▁▁" == watched.spark([100.0, 100.1, 100.0])
    assert "▁▅█" == watched.spark([0.0, 5.0, 10.0])
    assert "" == watched.spark([])
    assert 30 == len(watched.spark(list(range(100))))


def test_a_verdict_is_told_when_it_changes_and_only_then():
    first, second = seen(track("insufficient_data")), seen(track("clean", why="clean: grows 0/min"))

    assert [] == watched.changes(None, first)
    assert ["  memory: clean: grows 0/min"] == watched.changes(first, second)
    assert [] == watched.changes(second, second)


def test_what_names_itself_hostile_commands_no_terminal():
    assert "\\x1b[2J" in watched.summary(seen(subject="\x1b[2J"), ended=False)[0]
