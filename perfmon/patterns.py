"""Regular expressions by RE2: linear in the text whatever the pattern, and the syntax that blackbox_exporter has."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Protocol

import re2

__all__ = ["Match", "Pattern", "compile_pattern", "expand", "problem"]


class Match(Protocol):
    """What RE2 found."""

    def group(self, number: int = 0) -> str | None:
        """A group's text, None when it took no part; 0 is all."""
        ...

    def groups(self) -> tuple[str | None, ...]:
        """All groups but 0."""
        ...

    def groupdict(self) -> Mapping[str, str | None]:
        """The named groups."""
        ...


class Pattern(Protocol):
    """What RE2 makes of a regular expression."""

    pattern: str | bytes

    def search(self, text: str | bytes) -> Match | None:
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


def expand(template: str, match: Match) -> str:
    """Fill in what a pattern found: `$1`, `${1}`, `${name}`, and `$$` for a dollar, as Go's `Regexp.Expand` does.

    A bare name is as long as it can be (`$1x` is `${1x}`), a group that is not there is empty, and a dollar that begins
    nothing stays.
    """

    def fill(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        name = found[1] or found[2]
        if _NUMBER.fullmatch(name):
            number = int(name)
            return (match.group(number) or "") if number <= len(match.groups()) else ""
        return match.groupdict().get(name) or ""

    return _REFERENCE.sub(fill, template)


_REFERENCE = re.compile(r"\$\$|\$\{(\w+)\}|\$(\w+)")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")
