"""The server of known behaviour."""

import subprocess
import sys
from pathlib import Path

import pytest
from loading import served

SCRIPT = Path(__file__).parents[1] / "load_server.py"


@pytest.fixture
def server(truth):
    """Its URL without the last slash; it knows nothing of former tests."""
    served(truth)
    return truth


@pytest.fixture(scope="session")
def truth():
    child = subprocess.Popen([sys.executable, str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with child:
        yield f"http://127.0.0.1:{int(child.stdout.readline())}"
        child.stdin.close()
        child.kill()
