"""The flamegraphs of leaks, in a folder beside the state file: the newest are kept."""

from pathlib import Path

import structlog

from perfmon.clock import iso

__all__ = ["KEPT", "Flamegraphs"]

KEPT = 20

_log = structlog.get_logger(__name__)


class Flamegraphs:
    """A folder that its owner alone may read: pages of some 1 MB, with lines of source of what was looked into."""

    def __init__(self, state_path: str) -> None:
        """Beside the state file; with none ("") nothing is kept."""
        self._folder = Path(state_path).absolute().parent / "flamegraphs" if state_path else None

    def place(self, pid: int, wall: float) -> Path | None:
        """Where the next one goes, once there is room for it; None where none can be kept."""
        if self._folder is None:
            return None
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for former in sorted(self._folder.glob("leak_*.html"))[: -(KEPT - 1)]:
                former.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("no flamegraph is kept", folder=str(self._folder), error=str(error))
            return None
        # The time stands first, so that names sort by age.
        stamp = iso(wall).partition(".")[0].replace("-", "").replace(":", "").replace("T", "_")
        return self._folder / f"leak_{stamp}_{pid}.html"
