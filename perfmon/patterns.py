"""Regular expressions by RE2: linear in the text whatever the pattern, and the syntax that blackbox_exporter has."""

from functools import lru_cache
from typing import Protocol

import re2

__all__ = ["Pattern", "compile_pattern", "problem"]


class Pattern(Protocol):
    """What RE2 makes of a regular expression."""

    pattern: str | bytes

    def search(self, text: str | bytes) -> object | None:
        """A match anywhere in the text, or None."""
        ...


@lru_cache(maxsize=4096)
def compile_pattern(text: str) -> Pattern:
    """A compiled pattern; ValueError with RE2's words."""
    options = re2.Options()
    options.log_errors = False
    try:
        pattern: Pattern = re2.compile(text, options)
    except re2.error as error:
        said = error.args[0]
        raise ValueError(said.decode() if isinstance(said, bytes) else str(said)) from None
    return pattern


def problem(text: str) -> str | None:
    """Why a pattern cannot be used."""
    try:
        compile_pattern(text)
    except ValueError as error:
        return f"not a regular expression of RE2 (https://github.com/google/re2/wiki/Syntax): {error}"
    return None
