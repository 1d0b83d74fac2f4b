""".github: the workflows have GitHub's schema, zizmor finds nothing in them, and they do what the project itself does.

They cannot be run here; that the actions exist under these hashes, public repositories that use them say.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = {file.name: yaml.load(file.read_text(), yaml.BaseLoader) for file in (GITHUB / "workflows").iterdir()}


def run(name, *arguments):
    program = Path(sys.executable).with_name(name)
    ran = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, cwd=ROOT)
    return ran.returncode, ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("schema", "files"),
    [("github-workflows", sorted((GITHUB / "workflows").iterdir())), ("dependabot", [GITHUB / "dependabot.yml"])],
    ids=["workflows", "dependabot"],
)
def test_the_files_have_githubs_schema(schema, files):
    code, printed = run("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *files)

    assert 0 == code, printed


def test_zizmor_finds_nothing():
    code, printed = run("zizmor", "--offline", "--persona=pedantic", ".github")

    assert 0 == code, printed
    assert "No findings" in printed


def test_zizmor_would_find_something(tmp_path):
    """Such as a workflow that follows a tag and runs what a stranger wrote."""
    workflow = tmp_path / ".github" / "workflows" / "test.yml"
    workflow.parent.mkdir(parents=True)
    workflow.write_text("""
on: issues
jobs:
  a:
    runs-on: ubuntu-24.04
    steps:
      - uses: actions/checkout@v6
      - run: echo ${{ github.event.issue.title }}
""")
    code, printed = run("zizmor", "--offline", tmp_path)

    assert 0 != code
    assert {"unpinned-uses", "template-injection"} <= set(re.findall(r"error\[([a-z-]+)\]", printed))


def test_nothing_is_allowed_that_no_job_asks_for():
    for name, workflow in WORKFLOWS.items():
        assert {} == workflow["permissions"], name
        assert all("permissions" in job and "timeout-minutes" in job for job in workflow["jobs"].values()), name


def test_every_action_is_pinned_and_says_its_version():
    lines = [
        line for file in (GITHUB / "workflows").iterdir() for line in file.read_text().splitlines() if "uses:" in line
    ]

    assert lines
    assert [] == [line for line in lines if not re.search(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line)]


def test_the_release_is_built_without_a_secret_and_after_its_tag_was_compared():
    release = (GITHUB / "workflows" / "release.yml").read_text()

    assert "secrets." not in release
    assert {"contents": "read", "id-token": "write", "attestations": "write"} == WORKFLOWS["release.yml"]["jobs"][
        "build"
    ]["permissions"]
    assert {"id-token": "write"} == WORKFLOWS["release.yml"]["jobs"]["publish"]["permissions"]
    assert release.index("uv version --short") < release.index("uv build")


def test_versions_are_those_of_the_project():
    """uv and the image of Python, each of which stands in more places than one."""
    makefile, dockerfile = (ROOT / "Makefile").read_text(), (ROOT / "deploy" / "Dockerfile").read_text()
    uv = re.search(r"^UV_VERSION := (.+)$", makefile, re.MULTILINE)[1]
    steps = [step for workflow in WORKFLOWS.values() for job in workflow["jobs"].values() for step in job["steps"]]
    used = {step["with"]["version"] for step in steps if "setup-uv" in step.get("uses", "")}
    [base] = set(re.findall(r"^FROM (python:\S+)", dockerfile, re.MULTILINE))

    assert {uv} == used
    assert f"uv=={uv}" in dockerfile
    assert WORKFLOWS["test.yml"]["jobs"]["test"]["container"]["image"].startswith(f"{base}@sha256:")


def test_the_pythons_are_those_that_the_package_names():
    project = (ROOT / "pyproject.toml").read_text()

    assert (
        re.findall(r"Python :: (3\.\d+)", project)
        == WORKFLOWS["test.yml"]["jobs"]["python"]["strategy"]["matrix"]["python"]
    )
