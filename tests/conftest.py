"""What tests of all parts share."""

import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from servers import Authority

from perfmon.clock import SystemClock
from perfmon.network import Network

# Debian puts servers there, and only root has it in PATH; PostgreSQL's tools are in nobody's.
_BEYOND_PATH = ":".join(["/usr/sbin", "/sbin", *map(str, Path("/usr/lib/postgresql").glob("*/bin"))])


def pytest_configure() -> None:
    """Children inherit which signals are ignored (by nohup, or by a shell's `&`), and some tests send them these."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def binary() -> Callable[[str], str]:
    """Path of a server or tool that is no Python package: `binary("promtool")`.

    A test that asks for one that is missing is skipped with the reason; with CI=true it fails, so that a
    pipeline never goes green by skipping. Mark such a test with `pytest.mark.servers`.
    """

    def find(name: str) -> str:
        path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_BEYOND_PATH}")
        if path is not None:
            return path
        why = f'"{name}" is not installed: as root, `make test` installs the Debian package that has it'
        if os.environ.get("CI") == "true":
            pytest.fail(f"{why} (a failure, since CI=true)")
        pytest.skip(why)

    return find


@pytest.fixture
async def network() -> AsyncIterator[Network]:
    """What probes reach the network through, for one test."""
    async with Network(clock=SystemClock()) as network:
        yield network


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority of our own."""
    return Authority(tmp_path_factory.mktemp("authority"))
