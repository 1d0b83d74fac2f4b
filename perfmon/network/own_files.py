"""Files of the user's that a request is made of: a password, a token, a body. Read anew when they have changed."""

from collections.abc import Mapping
from pathlib import Path

from perfmon.model import Reason
from perfmon.units import format_bytes

__all__ = ["Files", "Unreadable", "missing"]

Stamp = tuple[int, int, int] | None  # None = not there

_MOST_SECRET_BYTES = 64 << 10
_MOST_BODY_BYTES = 16 << 20


class Unreadable(Exception):
    """A file that cannot be used; says in words why, and what that makes impossible."""

    def __init__(self, message: str, reason: Reason) -> None:
        self.reason: Reason = reason
        super().__init__(message)


class Files:
    """Reads files, and remembers in which state they were."""

    def __init__(self) -> None:
        self._stamps: dict[str, Stamp] = {}
        self.secrets: list[str] = []  # what `secret` has read, and what was made of it

    def __bool__(self) -> bool:
        return bool(self._stamps)

    def secret(self, name: str) -> str:
        """The text of a file without the blanks around it, since editors end it with a newline. Unreadable."""
        try:
            text = self._read(name, _MOST_SECRET_BYTES, "auth").decode().strip()
        except UnicodeDecodeError:
            raise Unreadable(f'the file "{name}" cannot be read: not UTF-8 text', "auth") from None
        if text:
            self.secrets.append(text)
        return text

    def content(self, name: str) -> bytes:
        """All bytes of a file. Unreadable."""
        return self._read(name, _MOST_BODY_BYTES, "unreachable")

    def changed(self) -> bool:
        """Whether a file is in another state than when it was read."""
        return any(_stamp(name) != stamp for name, stamp in self._stamps.items())

    def _read(self, name: str, most: int, reason: Reason) -> bytes:
        self._stamps[name] = _stamp(name)
        try:
            with Path(name).open("rb") as file:
                data = file.read(most + 1)
        except OSError as error:
            words = str(error.strerror).lower()
            raise Unreadable(f'the file "{name}" cannot be read: {words}', reason) from None
        if len(data) > most:
            raise Unreadable(f'the file "{name}" is larger than {format_bytes(most)}', reason)
        return data


def _stamp(name: str) -> Stamp:
    try:
        state = Path(name).stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size, state.st_ino


def missing(names: Mapping[str, str]) -> list[tuple[str, str]]:
    """Of files by the setting that names them those that are not there, as (path, message)."""
    return [(path, f'no such file: "{name}"') for path, name in names.items() if name and not Path(name).is_file()]
