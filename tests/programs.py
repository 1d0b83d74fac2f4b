"""Small Python programs to look into: each answers a line on its stdin with "here", and ends at the end of it."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_ANSWER = """
import select, sys, time
def answer(wait_s):
    if select.select([sys.stdin], [], [], wait_s)[0]:
        if not sys.stdin.readline():
            sys.exit(0)
        print("here", flush=True)
"""

LEAKS_SMALL_OBJECTS = (
    _ANSWER
    + """
kept = []
def remember(number):
    kept.append({"number": number})
def work():
    return [str(number) for number in range(50)]
number = 0
while True:
    number += 1
    work()
    remember(number)
    answer(0.001)
"""
)
LEAKS_LARGE_BUFFERS = (
    _ANSWER
    + """
kept = []
def receive():
    kept.append(bytearray(200_000))
def work():
    return [str(number) for number in range(50)]
while True:
    work()
    receive()
    answer(0.02)
"""
)
IS_HEALTHY = (
    _ANSWER
    + """
while True:
    [str(number) for number in range(50)]
    answer(0.005)
"""
)
SLEEPS_A_WHILE = (
    _ANSWER
    + """
print("begun", flush=True)
time.sleep(4)
while True:
    [bytearray(100_000) for _ in range(10)]
    answer(0.01)
"""
)
IS_BUSY_IN_C = SLEEPS_A_WHILE.replace("time.sleep(4)", "import itertools; sum(itertools.repeat(1, 800_000_000))")
ENDS_SOON = (
    _ANSWER
    + """
until = time.monotonic() + 2.5
while time.monotonic() < until:
    [str(number) for number in range(50)]
    answer(0.005)
"""
)
MAY_WRITE_NOTHING = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n" + IS_HEALTHY


class Running:
    """A program under way."""

    def __init__(self, process: subprocess.Popen) -> None:
        self.process = process
        self.pid = process.pid

    def answers(self) -> bool:
        """Ask it, and wait for what it says; False when it has ended."""
        self.process.stdin.write("?\n")
        self.process.stdin.flush()
        return self.process.stdout.readline() == "here\n"

    def tracer(self) -> int:
        """Who debugs it, 0 for nobody."""
        with Path(f"/proc/{self.pid}/status").open() as status:
            return next(int(line.split()[1]) for line in status if line.startswith("TracerPid:"))

    def is_unharmed(self) -> bool:
        """Whether it goes on, untraced, and ends in its own way when its time has come."""
        fine = self.tracer() == 0 and self.answers()
        self.process.stdin.close()
        return fine and self.process.wait(10) == 0


@contextlib.contextmanager
def running(text: str, *, python: tuple[str, ...] = (sys.executable,)) -> Iterator[Running]:
    """Run a program; it has begun when this gives it."""
    process = subprocess.Popen(
        [*python, "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        program = Running(process)
        if "begun" in text:
            assert process.stdout.readline() == "begun\n"
        else:
            assert program.answers()
        yield program
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
