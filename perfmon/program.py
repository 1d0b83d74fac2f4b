"""Run a program for a while: in a session of its own, its output bounded, and nothing of it left afterwards.

The event loop watches a pidfd and two pipes; there is no thread and no SIGCHLD. Whatever way a run ends (by itself, at
its deadline, cancelled), its whole process group is killed before the program is reaped: until then its number cannot
be another's. What a program moves into a session of its own (a daemon) is beyond that.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec

from perfmon.clock import Clock

__all__ = ["Ended", "Program", "run"]

_PIPE_BYTES = 1 << 16
_REAP_S = 0.5  # what the kernel has to end a process that was killed; one that waits for a disk takes longer


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """What to run."""

    arguments: Sequence[str]  # the program first: a name to be found in env's PATH, or an absolute path
    env: Mapping[str, str]  # all of it
    directory: str  # "" = perfmon's own
    stdin: bytes  # b"" = the end of a file at once
    limit_bytes: int  # of stdout, and of stderr


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How it went."""

    exit_code: int | None  # -15: ended by SIGTERM; None: not even SIGKILL ended it so far
    stdout: bytes
    stderr: bytes
    cut: Literal["", "timeout", "too_large"]  # why it was not let to its end


async def run(
    program: Program, *, clock: Clock, patience: float, deadline: float, on_start: Callable[[], None]
) -> Ended:
    """Run to the end, to `patience` when SIGTERM is sent, or to `deadline` when SIGKILL is (both monotonic).

    OSError when it cannot be started. The start itself, a fork and an exec, takes the event loop some milliseconds;
    `on_start` is called when it is over.
    """
    running = _Running(program)
    try:
        on_start()
        cut = await running.stop_or(patience - clock.monotonic())
        if cut:
            running.kill(signal.SIGTERM)
            await running.death(deadline - clock.monotonic())
    finally:
        running.kill(signal.SIGKILL)
        exit_code = await running.bury()
    if running.printed_too_much:  # it may have ended before that was seen
        cut = "too_large"
    return Ended(exit_code=exit_code, stdout=bytes(running.stdout), stderr=bytes(running.stderr), cut=cut)


class _Running:
    """A program under way; `bury` must be awaited whatever happens."""

    def __init__(self, program: Program) -> None:
        self.stdout = bytearray()
        self.stderr = bytearray()
        self._loop = asyncio.get_running_loop()
        self._limit_bytes = program.limit_bytes
        self._too_large = self._loop.create_future()
        self._dead = self._loop.create_future()
        self._watched: dict[int, bytearray] = {}
        self._process = _started(program)
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._watched[self._process.stdout.fileno()] = self.stdout
        self._watched[self._process.stderr.fileno()] = self.stderr
        for pipe in self._watched:
            os.set_blocking(pipe, False)
            self._loop.add_reader(pipe, self._read, pipe)
        try:
            self._pidfd = os.pidfd_open(self._process.pid)
        except OSError:  # no descriptor is left; nobody awaits `bury` yet
            self._let_go()
            self.kill(signal.SIGKILL)
            self._process.wait()
            raise
        self._loop.add_reader(self._pidfd, self._note_death)

    @property
    def printed_too_much(self) -> bool:
        """Whether more came than the limit allows, as far as it was read."""
        return self._too_large.done()

    async def stop_or(self, patience_s: float) -> Literal["", "timeout", "too_large"]:
        """Wait for its end; why it must be ended, "" when it has."""
        await asyncio.wait(
            {self._dead, self._too_large}, timeout=max(0.0, patience_s), return_when=asyncio.FIRST_COMPLETED
        )
        if self.printed_too_much:
            return "too_large"
        return "" if self._dead.done() else "timeout"

    async def death(self, patience_s: float) -> None:
        """Wait for its end, so long at most."""
        await asyncio.wait({self._dead}, timeout=max(0.0, patience_s))

    def kill(self, number: signal.Signals) -> None:
        """Send a signal to the program and to all that it started."""
        # Nobody is left, or who is left has become another user: there is nothing that could be done about it.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    async def bury(self) -> int | None:
        """Take what it said last, its exit code, and every descriptor back; it must have been killed."""
        try:
            await self.death(_REAP_S)
            for pipe in tuple(self._watched):
                self._read(pipe)
        finally:
            self._let_go()
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
        if self._dead.done():
            return self._process.wait()
        self._leave_behind()
        return None

    def _leave_behind(self) -> None:
        """It hangs in the kernel. It will be a zombie one day, and somebody must be there to reap it then."""
        threading.Thread(target=self._process.wait, name="perfmon-undertaker", daemon=True).start()

    def _note_death(self) -> None:
        self._loop.remove_reader(self._pidfd)
        if not self._dead.done():
            self._dead.set_result(None)

    def _read(self, pipe: int) -> None:
        """Take what is there: at most the limit, and more is no reason to read it."""
        kept = self._watched[pipe]
        try:
            data = os.read(pipe, _PIPE_BYTES)
        except BlockingIOError:
            return
        room = self._limit_bytes - len(kept)
        kept += data[:room]
        if len(data) > room and not self.printed_too_much:
            self._too_large.set_result(None)
        if len(data) > room or not data:
            self._loop.remove_reader(pipe)
            del self._watched[pipe]

    def _let_go(self) -> None:
        for pipe in self._watched:
            self._loop.remove_reader(pipe)
        self._watched.clear()
        for file in (self._process.stdout, self._process.stderr):
            if file is not None:
                file.close()


def _started(program: Program) -> "subprocess.Popen[bytes]":
    with contextlib.ExitStack() as stack:
        stdin = _readable(program.stdin, stack) if program.stdin else subprocess.DEVNULL
        return subprocess.Popen(  # noqa: S603 - the config file names it, and there is no shell
            program.arguments,
            env=program.env,
            cwd=program.directory or None,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            close_fds=True,
            start_new_session=True,
        )


def _readable(text: bytes, stack: contextlib.ExitStack) -> int:
    """A file in memory: unlike a pipe, nobody must be there to write while it is read."""
    file = os.memfd_create("perfmon-stdin")
    stack.callback(os.close, file)
    os.write(file, text)
    os.lseek(file, 0, os.SEEK_SET)
    return file
