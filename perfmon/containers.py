"""Which control groups are containers, and the names that their runtimes gave them.

Read from the files that Docker, Podman and the kubelet keep: no socket of a runtime is needed, and none is asked for,
since who may speak to it is root.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["container_ids", "is_container"]

_ID = re.compile(r"[0-9a-f]{12,64}")
_SCOPE = re.compile(r"(?:[a-z]+(?:-[a-z]+)*-)?([0-9a-f]{64})(?:\.scope)?")
"""`docker-<id>.scope`, `cri-containerd-<id>.scope`, `crio-<id>.scope`, `libpod-<id>.scope`, or the id alone."""


def is_container(folder: str, ids: Iterable[str]) -> bool:
    """Whether a control group's folder is that of a container whose id begins with one of these."""
    match = _SCOPE.fullmatch(folder)
    return match is not None and any(match[1].startswith(known) for known in ids)


def container_ids(wanted: str, rootfs: str) -> set[str]:
    """What is written is an id if it looks like one; else the name is sought in the files of the runtimes."""
    if _ID.fullmatch(wanted):
        return {wanted}
    return {known for name, known in _container_names(rootfs.rstrip("/")) if name == wanted}


def _container_names(rootfs: str) -> Iterator[tuple[str, str]]:
    """Name and id of the containers of Docker, Podman and the kubelet; what cannot be read tells none."""
    for file in Path(f"{rootfs}/var/lib/docker/containers").glob("*/config.v2.json"):
        known = _json(file)
        if isinstance(known, dict):
            yield str(known.get("Name", "")).removeprefix("/"), file.parent.name
    known = _json(Path(f"{rootfs}/var/lib/containers/storage/overlay-containers/containers.json"))
    for entry in known if isinstance(known, list) else ():
        if isinstance(entry, dict):
            yield from ((str(name), str(entry.get("id", ""))) for name in entry.get("names") or ())
    # The kubelet links <pod>_<namespace>_<container>-<id>.log for each container.
    for file in Path(f"{rootfs}/var/log/containers").glob("*_*_*-*.log"):
        name, _, known_id = file.name.removesuffix(".log").rpartition("-")
        yield name.rpartition("_")[2], known_id


def _json(file: Path) -> object:
    try:
        return json.loads(file.read_bytes()[:_MOST_JSON_BYTES])
    except (OSError, ValueError):
        return None  # not this runtime, or not ours to read: the group is then missing, and said to be


_MOST_JSON_BYTES = 16 * 1024 * 1024
