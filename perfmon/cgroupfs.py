"""The kernel's files under /sys/fs/cgroup: where each controller keeps a control group, and what its files say.

Three layouts are in use. Version 2 has one tree for all controllers. Version 1 has a tree for each, in which the same
group may even have another path. The hybrid has the trees of version 1, and beside them one of version 2 in `unified`
that holds no controllers, but on many kernels the pressure files.
See https://docs.kernel.org/admin-guide/cgroup-v2.html and .../cgroup-v1/index.html.

Functions that read raise OSError as the kernel gives it; FileNotFoundError where this kernel, this layout or this group
has no such file.
"""

import os
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import msgspec

__all__ = ["Cgroup", "Cgroupfs", "flat", "parse_pressure", "path_glob", "single"]

_MOST_FOLDERS = 20_000  # of a walk: a machine with more groups would be walked for seconds
_DEEPEST = 32

_V1_TREES = {  # by controller, the folders that it may be mounted at
    "memory": ("memory",),
    "cpu": ("cpu", "cpu,cpuacct"),
    "cpuacct": ("cpuacct", "cpu,cpuacct"),
    "pids": ("pids",),
    "blkio": ("blkio",),
    "": ("unified",),  # the tree of version 2 in a hybrid
}


class Cgroup(msgspec.Struct, frozen=True):
    """One control group: its path in the tree, and the folder in which each controller keeps it."""

    path: str  # "/system.slice/nginx.service"; "/" is the root
    folders: Mapping[str, str]  # by controller; version 2 has the same for all, under ""
    trees: Mapping[str, str]  # the roots of those folders

    @property
    def is_v2(self) -> bool:
        """Whether all its controllers are of version 2."""
        return self.folders.keys() == {""}

    def read(self, controller: str, name: str) -> str:
        """A file of one controller of version 1, or of the tree of version 2 (``""``)."""
        folder = self.folders.get(controller)
        if folder is None:
            raise FileNotFoundError(name)
        return Path(folder, name).read_text(encoding="utf-8", errors="replace")

    def life(self) -> int:
        """The folder's number: one that is made again under the same name has another."""
        for folder in self.folders.values():
            if os.path.isdir(folder):  # noqa: PTH112 - a Path costs more than the call
                return os.stat(folder).st_ino  # noqa: PTH116 - as above
        raise FileNotFoundError(self.path)

    def upwards(self, controller: str) -> Iterator[str]:
        """Its folder of one controller and those of its ancestors, as far as they can be seen."""
        folder, top = self.folders.get(controller, ""), self.trees.get(controller, "")
        while folder and folder.startswith(top):
            yield folder
            if folder == top:
                return
            folder = os.path.dirname(folder)  # noqa: PTH120 - as above


class Cgroupfs:
    """One mounted /sys/fs/cgroup, or a folder of files that looks like it."""

    def __init__(self, root: str = "/sys/fs/cgroup") -> None:
        self.root = root.rstrip("/") or "/"

    @cached_property
    def trees(self) -> Mapping[str, str]:
        """The root folder of each controller, "" for the tree of version 2; empty when there is none at all."""
        if os.path.exists(f"{self.root}/cgroup.controllers"):  # noqa: PTH110 - as above
            return {"": self.root}
        found = {}
        for controller, names in _V1_TREES.items():
            for name in names:
                if os.path.isdir(f"{self.root}/{name}"):  # noqa: PTH112 - as above
                    found[controller] = f"{self.root}/{name}"
                    break
        return found

    def at(self, path: str) -> Cgroup:
        """The group of that path, the same in all trees; whether it exists is another matter."""
        return self._group(dict.fromkeys(self.trees, path), path)

    def of_process(self, raw: str) -> Cgroup:
        """The group that /proc/PID/cgroup tells: lines of `4:memory:/shop`, or `0::/shop` of version 2."""
        told: dict[str, str] = {}
        for line in raw.splitlines():
            _, controllers, path = line.split(":", 2)
            told |= dict.fromkeys(controllers.split(","), path)
        told = {
            controller: self._seen(controller, path) for controller, path in told.items() if controller in self.trees
        }
        path = told.get("memory") or told.get("") or next(iter(told.values()), "/")
        # Where controllers hold the process in groups of other paths, those are shared with others: not its own use.
        return self._group({controller: path for controller in self.trees if told.get(controller) == path}, path)

    def walk(self) -> Iterator[str]:
        """Paths of all groups, parents first; those of the memory controller where each has its own tree."""
        tree = self.trees.get("") if self.trees.keys() == {""} else self.trees.get("memory", self.trees.get("cpu"))
        if tree is None:
            return
        left = _MOST_FOLDERS
        for folder, folders, _files in os.walk(tree, followlinks=False):
            path = folder.removeprefix(tree) or "/"
            folders[:] = sorted(folders) if path.count("/") < _DEEPEST else []
            yield path
            left -= 1
            if left == 0:
                return

    def _seen(self, controller: str, path: str) -> str:
        """In a container the group may be mounted as the root, while its path is told as the machine sees it."""
        return path if os.path.isdir(self.trees[controller] + path) else "/"  # noqa: PTH112 - as above

    def _group(self, paths: Mapping[str, str], path: str) -> Cgroup:
        trees = {controller: self.trees[controller] for controller in paths}
        folders = {controller: (trees[controller] + inside).rstrip("/") for controller, inside in paths.items()}
        return Cgroup(path, folders, trees)


def path_glob(glob: str) -> re.Pattern[str]:
    """For `fullmatch` with a path: `*` and `?` stop at a slash, `**` does not."""
    parts = (
        ".*" if part == "**" else "[^/]*" if part == "*" else "[^/]" if part == "?" else re.escape(part)
        for part in re.split(r"(\*\*|\*|\?)", glob.rstrip("/") or "/")
    )
    return re.compile("".join(parts), re.DOTALL)


def flat(text: str) -> dict[str, int]:
    """Of lines of `anon 4096`, as `memory.stat`, `memory.events` and `cpu.stat` have them; other lines are left out."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and _is_number(pair[1])}


def single(text: str) -> int | None:
    """A file of one number; None where it says `max`, or is empty."""
    word = text.strip()
    return int(word) if _is_number(word) else None


def parse_pressure(text: str) -> dict[str, float]:
    """Of `some avg10=0.00 avg60=0.00 avg300=0.00 total=14036781` and the same for `full`: seconds, by kind."""
    found = {}
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        total = rest.rpartition("total=")[2]
        if kind in ("some", "full") and _is_number(total):
            found[kind] = int(total) / 1e6
    return found


def _is_number(word: str) -> bool:
    return word.isascii() and word.removeprefix("-").isdigit()
