"""What ships beside the program, as files to take along: rules, dashboards, the stack, units and manifests.

In a wheel they are `perfmon/assets/`, in a checkout they are where they are written; either way a path names the same
file, and an exported tree has the checkout's layout, so what points from one file to another holds in both.
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import msgspec

import perfmon
from perfmon.errors import UsageError

__all__ = ["SETS", "Export", "Set", "export", "files"]


class Set(msgspec.Struct, frozen=True):
    """Files that belong together: paths, or folders where they end in a slash."""

    name: str
    about: str
    paths: tuple[str, ...]


class Export(msgspec.Struct, frozen=True):
    """What became of an export: paths below the folder that was written to."""

    written: tuple[str, ...]
    unchanged: tuple[str, ...]  # were there already, to the last byte


_SERVERS = ("deploy/prometheus/", "deploy/alertmanager/", "deploy/grafana/")
_SHOWN = ("rules/", "docs/runbooks.md", "dashboards/")

SETS = (
    Set("rules", "Prometheus' rules, and what to do about each alert", ("rules/", "docs/runbooks.md")),
    Set("dashboards", "Grafana's dashboards", ("dashboards/",)),
    Set("prometheus", "prometheus.yml", ("deploy/prometheus/",)),
    Set("alertmanager", "alertmanager.yml: routes and inhibitions", ("deploy/alertmanager/",)),
    Set("grafana", "data sources and folders for Grafana's provisioning", ("deploy/grafana/",)),
    Set("systemd", "the unit, its socket, and drop-ins for what needs a privilege", ("deploy/systemd/",)),
    Set("kubernetes", "manifests and dashboards for kubectl apply -k", ("deploy/kubernetes/", "dashboards/")),
    Set("example", "a perfmon.yml with everything it can be told", ("deploy/examples/",)),
    Set(
        "compose",
        "the whole stack for docker compose",
        ("docker-compose.yml", "deploy/Dockerfile", "deploy/perfmon.yml", *_SERVERS, *_SHOWN),
    ),
)
"""They overlap: what one of them points to is in it."""


def files(only: Collection[str] = ()) -> Mapping[str, bytes]:
    """Content by path, of all sets or of those named in `only`. UsageError when the files are not there."""
    wanted = {path for one in SETS if not only or one.name in only for path in one.paths}
    root = _root()
    return {path: (root / path).read_bytes() for path in sorted(_below(root, wanted))}


def export(wanted: Mapping[str, bytes], folder: Path, *, force: bool = False) -> Export:
    """Write files below a folder: all of them or, when one is there with another content, none.

    `force` overwrites those. UsageError names the ones in the way, or the one that cannot be written.
    """
    there = {path: _content(folder / path) for path in wanted}
    changed = [path for path, content in there.items() if content not in (None, wanted[path])]
    if changed and not force:
        raise UsageError(f"{folder}: there already, and different: {_listed(changed)}; --force overwrites")
    new = [path for path in wanted if there[path] != wanted[path]]
    for path in new:
        _write(folder / path, wanted[path])
    return Export(written=tuple(new), unchanged=tuple(path for path in wanted if path not in new))


def _root() -> Path:
    package = Path(perfmon.__path__[0])
    for root in (package / "assets", package.parent):
        if (root / "docker-compose.yml").is_file():
            return root
    raise UsageError(f"{package}: came without its assets; a wheel and a checkout of perfmon have them")


def _below(root: Path, wanted: Collection[str]) -> Iterator[str]:
    for path in wanted:
        within = (root / path).rglob("*") if path.endswith("/") else [root / path]
        yield from (file.relative_to(root).as_posix() for file in within if file.is_file())


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes() if file.exists() else None
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {str(error.strerror).lower()}") from error


def _write(file: Path, content: bytes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    except OSError as error:
        raise UsageError(f"{file}: cannot be written: {str(error.strerror).lower()}") from error


def _listed(paths: list[str]) -> str:
    shown = ", ".join(paths[:5])
    return f"{shown} and {len(paths) - 5} more" if len(paths) > 5 else shown
