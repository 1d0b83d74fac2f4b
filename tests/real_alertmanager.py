"""Debian's Alertmanager on a free port, telling a webhook of each alert by itself unless it is told otherwise."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Self

import msgspec
import requests
from daemon import free_port
from listener import eventually

EACH_BY_ITSELF = {"receiver": "pager", "group_by": ["..."], "group_wait": "50ms", "group_interval": "100ms"}


class Alertmanager:
    """`with Alertmanager(...) as it:`; on the same port and with the same memory after a `restart`."""

    def __init__(
        self, binary: str, folder: Path, pager_url: str, *, route: Mapping[str, Any] = EACH_BY_ITSELF, **settings: Any
    ) -> None:
        """`folder` takes its config, data and log; `settings` are further sections of its config."""
        address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{address}"
        folder.mkdir(exist_ok=True)
        pager = {"name": "pager", "webhook_configs": [{"url": pager_url, "send_resolved": True}]}
        config = {"route": route, "receivers": [pager], **settings}
        (folder / "alertmanager.yml").write_bytes(msgspec.json.encode(config))
        self._log: IO[str] = (folder / "alertmanager.log").open("a")
        self._command = [
            binary,
            f"--config.file={folder}/alertmanager.yml",
            f"--storage.path={folder}/data",
            f"--web.listen-address={address}",
            "--cluster.listen-address=",
        ]

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stderr=self._log, stdout=self._log)
        eventually(self._is_ready, 15)

    def stop(self) -> None:
        """SIGTERM, by which it writes down whom it told what."""
        self._process.terminate()
        self._process.wait(15)

    def api(self, path: str) -> Any:
        with requests.Session() as session:
            return session.get(f"{self.url}/api/v2/{path}", timeout=5).json()

    def states(self) -> dict[tuple[str, str], str]:
        """`active` or `suppressed`, by name and severity of the alert."""
        return {
            (alert["labels"]["alertname"], alert["labels"]["severity"]): alert["status"]["state"]
            for alert in self.api("alerts")
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()
        self._log.close()

    def _is_ready(self) -> bool:
        try:
            return requests.get(f"{self.url}/-/ready", timeout=1).ok
        except requests.ConnectionError:
            return False


@contextmanager
def running_alertmanager(binary: str, folder: Path, pager_url: str) -> Iterator[str]:
    """Its URL, once it is ready."""
    with Alertmanager(binary, folder, pager_url) as running:
        yield running.url
