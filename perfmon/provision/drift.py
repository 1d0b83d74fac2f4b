"""Writes generated files, or says how those that are there differ."""

import contextlib
import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from perfmon.errors import EXIT_DEFECT, EXIT_FINE, UsageError

__all__ = ["differences", "settle", "write"]


def settle(files: Mapping[Path, str], *, check: bool) -> int:
    """Write the files, or with `check` print how they differ; the exit code: 1 when they do."""
    if not check:
        write(files)
        return EXIT_FINE
    difference = differences(files)
    click.echo(difference, nl=False)
    return EXIT_DEFECT if difference else EXIT_FINE


def write(files: Mapping[Path, str]) -> None:
    """Write each file, making its folder when there is none. UsageError when that cannot be."""
    for path, text in files.items():
        with _or_say("written", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


def differences(files: Mapping[Path, str]) -> str:
    """A unified diff from what is there to what should be; empty when nothing differs. A missing file is empty.

    UsageError when a file cannot be read.
    """
    return "".join(line for path, text in files.items() for line in _diff(path, text))


def _diff(path: Path, text: str) -> list[str]:
    with _or_say("read", path):
        there = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    lines = difflib.unified_diff(
        there.splitlines(keepends=True), text.splitlines(keepends=True), str(path), f"{path} (generated)"
    )
    return [line if line.endswith("\n") else f"{line}\n" for line in lines]


@contextlib.contextmanager
def _or_say(done: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"{path}: cannot be {done}: {str(error.strerror).lower()}; see --out") from error
