"""The web-config.yml in use: looked at before each connection and each request, read anew when it has changed.

So are the certificates that it names. A file that cannot be used is told and counted once, and the former one goes on:
half a file, seen while somebody writes it, locks nobody out and lets nobody in.
"""

import ssl
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from perfmon.config.web_file import WebFile, read
from perfmon.errors import ConfigError, Problem
from perfmon.monitor.tls import context, files, read_bounded

__all__ = ["OUTCOMES", "InUse", "WebConfig"]

OUTCOMES = ("taken", "refused")

Stamps = tuple[tuple[int, ...], ...]  # of each file its identity, size and times; () of one that is not there

_log = structlog.get_logger(__name__)


class InUse(msgspec.Struct, frozen=True):
    """What one reading came to."""

    file: WebFile
    context: ssl.SSLContext | None  # None where connections are plain


class WebConfig:
    """Raises ConfigError where the file is wrong at the start."""

    def __init__(self, path: str, on_read: Callable[[str], None] = lambda _outcome: None) -> None:
        """`on_read` is told one of OUTCOMES after each reading but the first."""
        self._path = path
        self._on_read = on_read
        self._watched: tuple[str, ...] = (path,)
        self._stamps: Stamps = ()
        self._in_use = self._read()

    def now(self) -> InUse:
        """What counts now: a look at four files, some 10 us, and a reading when one of them has changed."""
        if self._stamps != _stamps(self._watched):
            self._read_anew()
        return self._in_use

    def _read_anew(self) -> None:
        try:
            read = self._read()
            self._refuse_other_scheme(read)
        except ConfigError as error:
            _log.error("web config not taken", problems=str(error).splitlines())
            self._on_read("refused")
            return
        self._in_use = read
        _log.info("web config taken", file=self._path)
        self._on_read("taken")

    def _read(self) -> InUse:
        """The files as they are. Stamps are from before: what changes meanwhile is read again; a wrong one is not."""
        self._stamps = _stamps(self._watched)
        (of_file,) = _stamps((self._path,))
        written = read(_content(self._path), self._path)
        self._watched = (self._path, *files(written.file.tls_server_config))
        self._stamps = (of_file, *_stamps(self._watched[1:]))
        return InUse(written.file, context(written))

    def _refuse_other_scheme(self, read: InUse) -> None:
        if (read.context is None) != (self._in_use.context is None):
            raise ConfigError([Problem(self._path, 0, "tls_server_config", "to begin or end TLS takes a restart")])


def _content(path: str) -> bytes:
    return read_bounded(path, lambda why: ConfigError([Problem(path, 0, "", why)]))


def _stamps(paths: tuple[str, ...]) -> Stamps:
    return tuple(map(_stamp, paths))


def _stamp(path: str) -> tuple[int, ...]:
    try:
        seen = Path(path).stat()
    except (OSError, ValueError):
        return ()  # one that is not there is read, which says why
    return seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns
