"""`perfmon assets`: the files that ship beside the program, out of a wheel as out of a checkout."""

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

from perfmon.cli import run
from perfmon.provision import assets

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built of this checkout, without an index."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], check=True, cwd=ROOT)
    [wheel] = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def exported(wheel, tmp_path_factory):
    """What a perfmon writes that knows nothing of this checkout: the wheel in a fresh environment, no index at hand."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "venv", with_pip=True)
    bin_ = folder / "venv" / "bin"
    subprocess.run([bin_ / "python", "-m", "pip", "install", "-q", "--no-index", "--no-deps", wheel], check=True)
    # What perfmon needs is in this environment already; perfmon itself is in the fresh one.
    env = {"PATH": "/nowhere", "PYTHONPATH": sysconfig.get_path("purelib")}
    subprocess.run([bin_ / "perfmon", "assets", "export", "stack"], check=True, cwd=folder, env=env)
    return folder / "stack"


def below(folder):
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_the_wheel_has_the_package_and_its_assets_and_no_more(wheel):
    with zipfile.ZipFile(wheel) as archive:
        members = archive.infolist()
    paths = [Path(member.filename) for member in members]

    assert {"perfmon"} == {path.parts[0] for path in paths if not path.parts[0].endswith(".dist-info")}
    assert [] == [path for path in paths if {"tests", "benchmarks"} & set(path.parts)]
    assert max(member.file_size for member in members) < 512 * 1024
    assert wheel.stat().st_size < 4 * 1024 * 1024


def test_an_installed_package_exports_what_the_checkout_has(exported):
    """To the last byte, each file at its place, so that what points from one to another holds."""
    found = below(exported)

    assert assets.files() == found
    assert {path: (ROOT / path).read_bytes() for path in found} == found


def test_every_file_that_ships_is_in_a_set():
    """But for what `make run` starts from a checkout."""
    shipped = {path for path in below(ROOT / "deploy") if path not in ("run.sh", "run.yml")}

    assert {f"deploy/{path}" for path in shipped} <= set(assets.files())
    assert {f"rules/{path}" for path in below(ROOT / "rules")} <= set(assets.files())
    assert {f"dashboards/{path}" for path in below(ROOT / "dashboards")} <= set(assets.files())


def test_a_set_is_whole_by_itself(tmp_path):
    """Compose finds what it mounts when nothing else was exported."""
    assert 0 == run(["assets", "export", str(tmp_path), "--only", "compose"])

    services = yaml.safe_load((tmp_path / "docker-compose.yml").read_text())["services"]
    mounts = {mount.split(":")[0] for one in services.values() for mount in one.get("volumes", [])}
    mounted = {mount.removesuffix("/${COMPOSE_PROFILES") for mount in mounts if mount.startswith("./")}
    assert len(mounted) > 5
    assert [] == [mount for mount in mounted if not (tmp_path / mount).exists()]
    assert (tmp_path / services["perfmon"]["build"]["dockerfile"]).is_file()


def test_an_export_comes_again_without_a_change(tmp_path, capsys):
    run(["assets", "export", str(tmp_path), "--only", "rules"])
    before = below(tmp_path)
    capsys.readouterr()

    assert 0 == run(["assets", "export", str(tmp_path), "--only", "rules"])
    assert before == below(tmp_path)
    assert ("", "0 written, 2 were there already\n") == tuple(capsys.readouterr())


def test_what_somebody_changed_is_overwritten_by_force_alone(tmp_path, capsys):
    """And nothing else is written either: half an export is none."""
    mine = tmp_path / "rules" / "perfmon.rules.yml"
    mine.parent.mkdir()
    mine.write_text("groups: []\n")

    assert 104 == run(["assets", "export", str(tmp_path)])
    assert {"rules/perfmon.rules.yml": b"groups: []\n"} == below(tmp_path)
    assert (
        f"perfmon: {tmp_path}: there already, and different: rules/perfmon.rules.yml; --force overwrites\n"
        == capsys.readouterr().err
    )
    assert 0 == run(["assets", "export", str(tmp_path), "--force"])
    assert assets.files() == below(tmp_path)


def test_the_list_names_the_sets_and_their_files(capsys):
    assert 0 == run(["assets", "list"])
    printed = capsys.readouterr().out.splitlines()

    assert [one.name for one in assets.SETS] == [line.split(":")[0] for line in printed if not line.startswith(" ")]
    assert set(assets.files()) == {line.strip() for line in printed if line.startswith(" ")}


def test_mistakes_are_told_in_words(tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("")

    assert 104 == run(["assets", "list", "--only", "rulez"])
    assert 104 == run(["assets", "export", str(tmp_path), "--only", "rulez"])
    assert 104 == run(["assets", "export", str(file / "below"), "--only", "rules"])
    assert capsys.readouterr().err.splitlines() == [
        'perfmon: --only: unknown "rulez", did you mean "rules"?',
        'perfmon: --only: unknown "rulez", did you mean "rules"?',
        f"perfmon: {file}/below/docs/runbooks.md: cannot be written: not a directory",
    ]
