"""Debian's Alertmanager on a free port, telling a webhook of each alert by itself."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import requests
from listener import eventually


@contextmanager
def running_alertmanager(binary: str, folder: Path, pager_url: str) -> Iterator[str]:
    """Its URL, once it is ready; `folder` takes its config, data and log."""
    address = f"127.0.0.1:{_free_port()}"
    settings = {
        "route": {"receiver": "pager", "group_by": ["..."], "group_wait": "50ms", "group_interval": "100ms"},
        "receivers": [{"name": "pager", "webhook_configs": [{"url": pager_url, "send_resolved": True}]}],
    }
    (folder / "alertmanager.yml").write_bytes(msgspec.json.encode(settings))
    command = [
        binary,
        f"--config.file={folder}/alertmanager.yml",
        f"--storage.path={folder}/data",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    ]
    with (folder / "alertmanager.log").open("w") as log, subprocess.Popen(command, stderr=log, stdout=log) as process:
        try:
            eventually(lambda: _is_ready(address), 15)
            yield f"http://{address}"
        finally:
            process.terminate()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _is_ready(address: str) -> bool:
    try:
        return requests.get(f"http://{address}/-/ready", timeout=1).ok
    except requests.ConnectionError:
        return False
