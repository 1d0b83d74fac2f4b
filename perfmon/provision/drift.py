"""Writes generated files, or says how those that are there differ."""

import difflib
from collections.abc import Mapping
from pathlib import Path

__all__ = ["differences", "write"]


def write(files: Mapping[Path, str]) -> None:
    """Write each file, making its folder when there is none."""
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def differences(files: Mapping[Path, str]) -> str:
    """A unified diff from what is there to what should be; empty when nothing differs. A missing file is empty."""
    return "".join(line for path, text in files.items() for line in _diff(path, text))


def _diff(path: Path, text: str) -> list[str]:
    there = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = difflib.unified_diff(
        there.splitlines(keepends=True), text.splitlines(keepends=True), str(path), f"{path} (generated)"
    )
    return [line if line.endswith("\n") else f"{line}\n" for line in lines]
