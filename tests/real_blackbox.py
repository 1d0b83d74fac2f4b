"""Debian's blackbox_exporter on a free port, with modules as a test gives them."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
import requests
from daemon import free_port
from listener import eventually
from prometheus_client.parser import text_string_to_metric_families

from perfmon.model import fact_key


class Blackbox:
    """`probe(module, target)` gives every gauge by its name and labels, as perfmon's facts have them."""

    def __init__(self, url: str) -> None:
        self._url = url

    def probe(self, module: str, target: str) -> dict[str, float]:
        page = requests.get(f"{self._url}/probe", params={"module": module, "target": target}, timeout=10)
        assert 200 == page.status_code, page.text
        return {
            fact_key(sample.name, **sample.labels): sample.value
            for family in text_string_to_metric_families(page.text)
            for sample in family.samples
        }


@contextmanager
def running_blackbox(binary: str, folder: Path, modules: Mapping[str, object]) -> Iterator[Blackbox]:
    """Up and ready; `folder` takes its config and log. JSON is YAML."""
    url = f"http://127.0.0.1:{free_port()}"
    (folder / "blackbox.yml").write_bytes(msgspec.json.encode({"modules": modules}))
    command = [
        binary,
        f"--config.file={folder}/blackbox.yml",
        f"--web.listen-address={url.removeprefix('http://')}",
        "--log.level=error",
    ]
    with (folder / "blackbox.log").open("w") as log, subprocess.Popen(command, stderr=log, stdout=log) as process:
        try:
            eventually(lambda: _is_ready(url), 15)
            yield Blackbox(url)
        finally:
            process.terminate()


def _is_ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/-/healthy", timeout=1).ok
    except requests.ConnectionError:
        return False
