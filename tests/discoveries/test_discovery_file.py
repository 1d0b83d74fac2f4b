"""file_sd: files are read again when they change, and what is broken keeps what it said last."""

import json
import os
from pathlib import Path

import pytest

from perfmon.clock import SystemClock
from perfmon.discoveries import file
from perfmon.discoveries.file import Config


def finder(network, tmp_path, *paths):
    config = file.within(Config(paths=paths), tmp_path)
    return file.open(config, network, SystemClock())


def write(path: Path, *targets: str):
    path.parent.mkdir(exist_ok=True)
    text = [{"targets": list(targets), "labels": {"from": path.name}}]
    path.write_text(json.dumps(text))  # which is YAML too


def addresses(listing):
    return [one.address for one in listing.found]


async def test_files_of_all_paths_are_read_relative_to_the_configuration_each_once(network, tmp_path):
    write(tmp_path / "b.yml", "b:1")
    write(tmp_path / "sub" / "c.json", "c:1")
    write(tmp_path / "sub" / "a.json", "a:1", "a:2")
    listing = await finder(network, tmp_path, "b.yml", "sub/*.json", "sub/a.json").find()

    assert ["b:1", "a:1", "a:2", "c:1"] == addresses(listing)
    assert {"from": "a.json"} == listing.found[1].labels
    assert f"{tmp_path}/sub/a.json [0].targets[1]" == listing.found[2].where


async def test_a_file_that_changed_is_read_again_also_when_its_time_and_size_did_not(network, tmp_path):
    path = tmp_path / "a.json"
    write(path, "a:1")
    find = finder(network, tmp_path, "a.json")
    first = await find.find()
    times = path.stat()
    write(tmp_path / "new.json", "a:2")
    os.utime(tmp_path / "new.json", ns=(times.st_atime_ns, times.st_mtime_ns))
    (tmp_path / "new.json").replace(path)  # as careful writers do

    assert (["a:1"], ["a:2"]) == (addresses(first), addresses(await find.find()))


async def test_a_broken_file_keeps_its_targets_and_the_others_go_on(network, tmp_path):
    write(tmp_path / "a.json", "a:1")
    write(tmp_path / "b.json", "b:1")
    find = finder(network, tmp_path, "*.json")
    await find.find()
    (tmp_path / "a.json").write_text('[{"targets": ["a:')
    write(tmp_path / "b.json", "b:2")
    broken = await find.find()
    again = await find.find()
    write(tmp_path / "a.json", "a:3")
    mended = await find.find()

    assert ["a:1", "b:2"] == addresses(broken)
    assert (f"{tmp_path}/a.json: is not JSON: Input data was truncated",) == broken.broken == again.broken
    assert (["a:3", "b:2"], ()) == (addresses(mended), mended.broken)


async def test_a_file_of_a_glob_that_is_gone_takes_its_targets_along_and_a_named_one_does_not(network, tmp_path):
    for name in ("a.json", "b.json"):
        write(tmp_path / name, f"{name}:1")
    find = finder(network, tmp_path, "a*.json", "b.json")
    await find.find()
    for name in ("a.json", "b.json"):
        (tmp_path / name).unlink()
    listing = await find.find()

    assert ["b.json:1"] == addresses(listing)
    assert (f"{tmp_path}/b.json: cannot be read: no such file or directory",) == listing.broken


async def test_an_empty_file_is_one_that_is_being_written_and_an_empty_list_is_an_answer(network, tmp_path):
    path = tmp_path / "a.json"
    write(path, "a:1")
    find = finder(network, tmp_path, "a.json")
    await find.find()
    path.write_text("")
    written = await find.find()
    path.write_text("[]")

    assert (["a:1"], 1) == (addresses(written), len(written.broken))
    assert ([], ()) == (addresses(empty := await find.find()), empty.broken)


async def test_what_is_no_file_is_not_waited_for(network, tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder.json").mkdir()
    listing = await finder(network, tmp_path, "*.json").find()

    assert (f"{tmp_path}/folder.json: is no file", f"{tmp_path}/pipe.json: is no file") == listing.broken


@pytest.mark.parametrize("path", ["a.json", "/etc/t/*.YML", "x-*.yaml", "t/[ab].json"])
def test_paths_as_prometheus_takes_them(path):
    assert [] == list(file.check(Config(paths=(path,))))


@pytest.mark.parametrize("path", ["a.txt", "*/a.json", "a*b*.json", "", "a.json/"])
def test_paths_as_prometheus_refuses_them(path):
    assert ["paths[0]"] == [below for below, _ in file.check(Config(paths=(path,)))]
