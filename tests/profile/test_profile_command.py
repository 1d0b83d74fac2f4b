"""`perfmon profile`: what it asks, what it tells, snapshots compared, a script run from begin to end."""

import json
import os
import pty
import subprocess
import sys

import programs
import pytest
from programs import running

from perfmon.cli import run

LEAK = """
import sys
kept = []
def remember():
    kept.append(bytearray(3_000_000))
def pass_through():
    bytearray(9_000_000)
for _ in range(5):
    pass_through()
    remember()
print(sys.argv[1:])
sys.exit(int(sys.argv[-1]))
"""


def perfmon(*arguments, cwd=None, stdin=subprocess.DEVNULL):
    return subprocess.run(
        [sys.executable, "-m", "perfmon", "profile", *map(str, arguments)],
        check=False, capture_output=True, text=True, timeout=60, cwd=cwd, stdin=stdin,
    )  # fmt: skip


def refused(capsys, *arguments):
    """(exit code, the last line on stderr)."""
    code = run(["profile", *arguments])
    return code, capsys.readouterr().err.splitlines()[-1]


@pytest.fixture
def script(tmp_path):
    file = tmp_path / "leak.py"
    file.write_text(LEAK)
    return file


# ---------------------------------------------------------------- usage


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["1", "2", "--yes"], "perfmon: expected one PID or NAME, got 2"),
        (["1", "--yess"], "perfmon: no such option: --yess"),
        (["1", "--short", "10s", "--long", "10s"], "perfmon: --long: expected more than --short (10s), got 10s"),
        (["--compare", "one"], "perfmon: --compare: expected two snapshots, got 1"),
        (["--compare", "--run", "one"], "perfmon: --compare and --run exclude each other"),
        (
            ["1", "--flamegraph", "a.html", "--no-flamegraph"],
            "perfmon: --flamegraph and --no-flamegraph exclude each other",
        ),
        (["no such program"], 'perfmon: no process is called "no such program"'),
    ],
)
def test_usage_that_makes_no_sense(arguments, problem, capsys):
    assert (104, problem) == refused(capsys, *arguments)


@pytest.mark.parametrize("duration", ["0s", "1.5s", "2h", "soon"])
def test_durations_are_whole_seconds(duration, capsys):
    code, problem = refused(capsys, "1", "--short", duration)

    assert (104, True) == (code, "--short" in problem or "expected" in problem)


def test_nothing_is_done_without_a_yes():
    with running(programs.IS_HEALTHY) as target:
        done = perfmon(target.pid)

        assert (104, "") == (done.returncode, done.stdout)
        assert done.stderr.endswith("perfmon: nobody is there to agree to this: say --yes\n")
        assert "x13 for tight arithmetic" in done.stderr


def test_a_no_on_the_terminal_is_a_no():
    ours, theirs = pty.openpty()
    os.write(ours, b"n\n")
    with running(programs.IS_HEALTHY) as target:
        done = perfmon(target.pid, stdin=theirs)
    os.close(ours)
    os.close(theirs)

    assert (105, True) == (done.returncode, "go on? [y/N]" in done.stderr)


def test_a_name_that_several_have_is_asked_for_by_pid(capsys):
    text = "# perfmon-twin\n" + programs.IS_HEALTHY
    name = text.rpartition("/")[2]  # the last part of an argument is what a process is called
    with running(text) as one, running(text) as other:
        code = run(["profile", name, "--yes"])
        said = capsys.readouterr().err

    assert (104, True) == (code, said.startswith("perfmon: 2 processes are called"))
    assert [str(pid) for pid in sorted([one.pid, other.pid])] == [
        line.split()[1] for line in said.splitlines() if line.startswith("perfmon:   ")
    ]


def test_a_refusal_is_json_too(capsys):
    code = run(["profile", str(os.getpid()), "--yes", "--json"])

    assert (1, "itself") == (code, json.loads(capsys.readouterr().out)["refused"])


# ---------------------------------------------------------------- a run


def test_a_whole_run_is_told(script, tmp_path):
    done = perfmon("--run", script, "--its-own", "0", "--flamegraph", tmp_path / "run.html")

    lines = done.stdout.splitlines()
    assert (0, "['--its-own', '0']") == (done.returncode, lines[0])
    assert lines[1].startswith("in use when it used most memory: ")
    end = lines.index(next(line for line in lines if line.startswith("in use at its end: ")))
    assert f"remember ({script}:5)" in lines[end + 1]
    assert " 14.3 MiB " in lines[end + 1]
    assert not [line for line in lines[end:] if "pass_through" in line]
    assert b"<html" in (tmp_path / "run.html").read_bytes()


def test_a_script_that_fails_is_told_with_what_was_found(script):
    done = perfmon("--run", "--json", script, "3")

    told = json.loads(done.stdout.splitlines()[-1])
    assert (1, 3, "remember") == (done.returncode, told["exit_code"], told["end"][0]["stack"][0]["function"])


def test_a_script_that_is_not_there(tmp_path):
    done = perfmon("--run", "nowhere.py", cwd=tmp_path)

    assert (1, True) == (done.returncode, "nowhere.py" in done.stderr)
    assert "Traceback" not in done.stderr


# ---------------------------------------------------------------- snapshots


def test_snapshots_before_and_after_are_compared(script, tmp_path, capsys):
    before, after = tmp_path / "before.bin", tmp_path / "after.bin"
    quiet = tmp_path / "quiet.py"
    quiet.write_text(LEAK.replace("range(5)", "range(1)"))
    perfmon("--run", "--snapshot", before, quiet, "0")
    script.rename(quiet)
    perfmon("--run", "--snapshot", after, quiet, "0")

    assert 0 == run(["profile", "--compare", "--top", "1", "--json", str(before), str(after)])
    (site,) = json.loads(capsys.readouterr().out)["sites"]
    assert ("remember", 4) == (site["stack"][0]["function"], site["blocks"])


@pytest.mark.parametrize("content", [None, b"", b"no capture at all"])
def test_what_is_no_snapshot_is_said(content, tmp_path, capsys):
    file = tmp_path / "file.bin"
    if content is not None:
        file.write_bytes(content)
    code, problem = refused(capsys, "--compare", str(file), str(file))

    assert (1, True) == (code, problem.startswith(f"perfmon: {file}: not a capture that this memray can read: "))


def test_a_pipe_in_place_of_a_capture_holds_up_nobody(tmp_path, capsys):
    """The target owns the folder: it may put there what it likes."""
    os.mkfifo(tmp_path / "pipe")

    code, problem = refused(capsys, "--compare", str(tmp_path / "pipe"), str(tmp_path / "pipe"))

    assert (1, True) == (code, problem.endswith("expected a plain file"))


@pytest.mark.servers
def test_a_running_process_from_the_terminal(binary, tmp_path):
    """A snapshot, then what grows, with its flamegraph kept."""
    binary("gdb")
    with running(programs.LEAKS_SMALL_OBJECTS) as target:
        taken = perfmon(target.pid, "--yes", "--short", "1s", "--snapshot", tmp_path / "now.bin")
        found = perfmon(target.pid, "--yes", "--short", "1s", "--long", "3s", cwd=tmp_path)

        assert (0, 0, "") == (taken.returncode, found.returncode, taken.stdout)
        assert (tmp_path / "now.bin").stat().st_size > 1000
        lines = found.stdout.splitlines()
        assert "remember (<string>:" in lines[2]
        (page,) = tmp_path.glob(f"profile_{target.pid}_*.html")
        assert f"flamegraph: {page.name}" == lines[-1]
        assert target.is_unharmed()
