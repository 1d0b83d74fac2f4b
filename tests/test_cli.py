"""The console script where its streams are not what they should be, and where what it is told makes no sense."""

import os
import signal
import subprocess
import sys

import pytest
from servers import unused_port

from perfmon.cli import run

PERFMON = (sys.executable, "-m", "perfmon")


def shell(line, **environment):
    """(exit code, stdout, stderr) of a line of bash; `perfmon` in it is the command."""
    function = f'perfmon() {{ "{sys.executable}" -m perfmon "$@"; }}; {line}'
    settings = {**os.environ, "COLUMNS": "80", **environment}
    done = subprocess.run(
        ["bash", "-c", function], check=False, capture_output=True, text=True, timeout=20, env=settings
    )
    return done.returncode, done.stdout, done.stderr


# ---------------------------------------------------------------- streams


def test_a_log_that_nobody_reads_stops_no_watching(tmp_path):
    """What the daemon has to say is lost; its probes, its state and its end are not."""
    reading, writing = os.pipe()
    port = unused_port()
    arguments = ["serve", "http://127.0.0.1:1/", "--web.listen-address", f"127.0.0.1:{port}", "--state.path", "state"]
    daemon = subprocess.Popen([*PERFMON, *arguments], stderr=writing, cwd=tmp_path)
    os.close(writing)
    with os.fdopen(reading) as log:
        assert "watching" in log.readline()
    daemon.send_signal(signal.SIGTERM)

    assert 0 == daemon.wait(10)


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_no_harm(closed):
    """libuv aborts the process when a socket of its own has the number of a standard stream."""
    assert (99, "") == shell(f"perfmon probe 127.0.0.1:{unused_port()} {closed}")[::2]


def test_a_reader_who_has_had_enough_is_no_error():
    probes = f"perfmon probe 127.0.0.1:{unused_port()} --count 9 --interval 20ms"
    code, out, err = shell(f"{probes} | head -1; exit ${{PIPESTATUS[0]}}")

    assert (0, 1, "") == (code, len(out.splitlines()), err)


def test_a_full_disk_is_said_in_words():
    assert (1, "", "perfmon: no space left on device\n") == shell("perfmon check --schema >/dev/full")


def test_letters_that_the_terminal_does_not_have_are_replaced():
    code, out, err = shell(f"perfmon probe 127.0.0.1:{unused_port()}", PYTHONIOENCODING="ascii")

    assert (99, "") == (code, err)
    assert "connect    ??????" in out


# ---------------------------------------------------------------- what makes no sense


@pytest.mark.parametrize(("command", "file"), [("rules", "perfmon.rules.yml"), ("dashboards", "fleet.json")])
def test_a_folder_where_nothing_can_be_written_or_read_is_said(command, file, tmp_path, capsys):
    (tmp_path / file).mkdir()
    assert 104 == run([command, "--out", str(tmp_path)])
    assert f"{file}: cannot be written: is a directory; see --out" in capsys.readouterr().err
    assert 104 == run([command, "--out", str(tmp_path), "--check"])
    assert f"{file}: cannot be read: is a directory; see --out" in capsys.readouterr().err


def test_a_simulator_that_is_not_there_is_answered_with_the_nearest(capsys):
    assert 104 == run(["simulate", "shpo"])
    assert 'no such simulator: unknown "shpo", did you mean "shop"?' in capsys.readouterr().err


def test_a_timeout_of_nothing_is_refused(capsys):
    assert 104 == run(["probe", "localhost:1", "--timeout", "0"])
    assert 'expected at least 1ms, got "0"' in capsys.readouterr().err


def test_ctrl_c_while_it_is_still_loading_shows_no_traceback(tmp_path):
    """A click that takes its time, and during which the signal comes."""
    (tmp_path / "click.py").write_text("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(5)\n")

    assert (105, "", "") == shell("perfmon --version", PYTHONPATH=str(tmp_path))
