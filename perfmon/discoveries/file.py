"""Read targets from files in Prometheus' `file_sd` form, and again when they change."""

import glob
import re
import stat
from collections.abc import Iterable
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Annotated

import msgspec

from perfmon.clock import Clock
from perfmon.network import Network
from perfmon.target_groups import MAX_BYTES, Listing, read
from perfmon.threads import in_thread
from perfmon.units import Duration, quoted

__all__ = ["Config", "check", "open", "refresh_s", "within"]


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prometheus' `file_sd_config`, with its `files` as `paths`."""

    paths: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]  # a glob in the last part: "targets/*.json"
    refresh_interval: Annotated[Duration, msgspec.Meta(ge=1.0, le=86_400.0)] = 5.0  # how often to look for changes


def check(config: Config) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express, as (path, message)."""
    for index, path in enumerate(config.paths):
        if not _PATH.fullmatch(path):
            expected = "expected a path that ends in .json, .yml or .yaml, with * in its last part only"
            yield f"paths[{index}]", f"{expected}, got {quoted(path)}"


def within(config: Config, folder: Path) -> Config:
    """Paths count from the folder of the configuration, as in Prometheus."""
    return msgspec.structs.replace(config, paths=tuple(str(folder / path) for path in config.paths))


def refresh_s(config: Config, _interval_s: float) -> float:
    """A look at a file on this machine costs next to nothing, so a slow probe does not make it rarer."""
    return config.refresh_interval


def open(config: Config, _network: Network, _clock: Clock) -> "_Finder":  # noqa: A001 - the contract's name
    """What watches the files."""
    return _Finder(config)


_PATH = re.compile(r"[^*\x00-\x1f]*(\*[^/*\x00-\x1f]*)?\.(json|yml|yaml)", re.IGNORECASE)
_GLOB = re.compile(r"[*?\[]")


class _Read(msgspec.Struct, frozen=True):
    """A file as it was when it was last looked at."""

    stamp: tuple[int, ...]  # by which a change is seen
    listing: Listing  # what it said last that made sense
    broken: str = ""  # why what it says now does not


class _Finder:
    def __init__(self, config: Config) -> None:
        self._config = config
        self._known: dict[str, _Read] = {}

    async def find(self) -> Listing:
        # A file on a network that is gone may hang for ever, and would hold up the end of the daemon.
        known = await in_thread(partial(_look, self._config, dict(self._known)), name="perfmon-discovery-file")
        self._known = known
        return Listing(
            found=tuple(chain.from_iterable(one.listing.found for one in known.values())),
            refused=tuple(chain.from_iterable(one.listing.refused for one in known.values())),
            broken=tuple(one.broken for one in known.values() if one.broken),
        )


def _look(config: Config, known: dict[str, _Read]) -> dict[str, _Read]:
    """All files that there are, those that changed read anew. Runs in a thread of its own."""
    return {path: _looked_at(path, known.get(path)) for path in _files(config)}


def _files(config: Config) -> list[str]:
    """Paths of files, each once. One without a glob is expected to be there; of a glob, what is gone is gone."""
    named = chain.from_iterable(
        sorted(glob.glob(path)) if _GLOB.search(path) else [path]  # noqa: PTH207 - Path has no glob for whole paths
        for path in config.paths
    )
    return list(dict.fromkeys(named))


def _looked_at(path: str, before: _Read | None) -> _Read:
    last = before.listing if before is not None else _NOTHING
    try:
        seen = Path(path).stat()
    except OSError as error:
        return _Read((), last, f"{path}: cannot be read: {str(error.strerror).lower()}")
    if not stat.S_ISREG(seen.st_mode):
        return _Read((), last, f"{path}: is no file")
    stamp = (seen.st_dev, seen.st_ino, seen.st_mtime_ns, seen.st_size)
    if before is not None and before.stamp == stamp:
        return before
    try:
        return _Read(stamp, read(_content(path), path, "json" if path.lower().endswith(".json") else "yaml"))
    except OSError as error:
        return _Read((), last, f"{path}: cannot be read: {str(error.strerror).lower()}")
    except ValueError as error:
        return _Read(stamp, last, f"{path}: {error}")


_NOTHING = Listing(found=())


def _content(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(MAX_BYTES + 1)
