"""The cgroup sampler: trees of files as kernels write them, and a real control group where one can be made."""

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from cgroup_files import V2, put
from hypothesis import given
from hypothesis import strategies as st

from perfmon.cgroupfs import Cgroupfs, flat, parse_pressure, single
from perfmon.clock import ManualClock
from perfmon.samplers import cgroup
from perfmon.samplers.cgroup import Config, Group

ID = "4f1c0de5" * 8

OF_V2 = {
    "memory_usage_bytes": 104857600,
    "memory_working_set_bytes": 73400320,  # less inactive_file
    "memory_anonymous_bytes": 41943040,
    "memory_file_bytes": 52428800,
    "memory_shared_bytes": 1048576,
    "memory_kernel_bytes": 6291456,
    "memory_slab_bytes": 2097152,
    "memory_socket_bytes": 4096,
    "memory_swap_bytes": 8192,
    "memory_peak_bytes": 123456789,
    "memory_limit_bytes": 268435456,
    ("memory_faults_total", "major"): 10,
    ("memory_faults_total", "minor"): 990,
    ("memory_refaults_total", "anon"): 3,
    ("memory_refaults_total", "file"): 4,
    ("memory_events_total", "low"): 1,
    ("memory_events_total", "high"): 2,
    ("memory_events_total", "max"): 3,
    ("memory_events_total", "oom"): 4,
    ("memory_events_total", "oom_kill"): 5,
    ("memory_events_total", "oom_group_kill"): 6,
    ("cpu_seconds_total", "user"): 2.0,
    ("cpu_seconds_total", "system"): 1.0,
    "cpu_usage_seconds_total": 3.0,
    "cpu_limit": 0.5,
    "cpu_periods_total": 40,
    "cpu_throttled_periods_total": 10,
    "cpu_throttled_seconds_total": 2.5,
    "tasks": 17,
    "io_read_bytes_total": 5120,
    "io_written_bytes_total": 8192,
    "io_reads_total": 2,
    "io_writes_total": 2,
    ("pressure_waiting_seconds_total", "cpu"): 14.036781,
    ("pressure_stalled_seconds_total", "cpu"): 0.008494,
    ("pressure_waiting_seconds_total", "io"): 159.886802,
    ("pressure_stalled_seconds_total", "io"): 159.229614,
    ("pressure_waiting_seconds_total", "memory"): 0,
    ("pressure_stalled_seconds_total", "memory"): 0,
}

V1 = {
    "memory": {
        "memory.usage_in_bytes": "104857600\n",
        "memory.max_usage_in_bytes": "123456789\n",
        "memory.kmem.usage_in_bytes": "6291456\n",
        "memory.kmem.tcp.usage_in_bytes": "4096\n",
        "memory.failcnt": "3\n",
        "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n",
        "memory.stat": "cache 1\nrss 2\nhierarchical_memory_limit 268435456\ntotal_cache 52428800\ntotal_rss 41943040\n"
        "total_shmem 1048576\ntotal_swap 8192\ntotal_pgfault 1000\ntotal_pgmajfault 10\ntotal_inactive_file 31457280\n"
        "total_workingset_refault_anon 3\ntotal_workingset_refault_file 4\n",
    },
    "cpu,cpuacct": {
        "cpuacct.usage_user": "2000000000\n",
        "cpuacct.usage_sys": "1000000000\n",
        "cpu.stat": "nr_periods 40\nnr_throttled 10\nthrottled_time 2500000000\n",
        "cpu.cfs_quota_us": "50000\n",
        "cpu.cfs_period_us": "100000\n",
    },
    "pids": {"pids.current": "17\n", "pids.max": "max\n"},
    "blkio": {
        "blkio.throttle.io_service_bytes_recursive": "8:0 Read 4096\n8:0 Write 8192\n8:0 Sync 9\n8:16 Read 1024\nTotal 13312\n",
        "blkio.throttle.io_serviced_recursive": "8:0 Read 1\n8:0 Write 2\n8:16 Read 1\nTotal 4\n",
    },
}
OF_V1 = {
    key: value
    for key, value in OF_V2.items()
    if "pressure" not in key[0]
    and key
    not in (
        "memory_slab_bytes",
        *(("memory_events_total", event) for event in ("low", "high", "oom", "oom_group_kill")),
    )
}


@pytest.fixture
def v2(tmp_path):
    root = tmp_path / "cgroup"
    put(root, {"cgroup.controllers": "cpu io memory pids\n"})
    put(root / "system.slice", {"memory.max": "max\n"})
    put(root / "system.slice/shop.service", V2)
    return root


@pytest.fixture
def v1(tmp_path):
    root = tmp_path / "cgroup"
    for tree, files in V1.items():
        put(root / tree, {})
        put(root / tree / "system.slice/shop.service", files)
    return root


def reading(root, *groups, **more):
    return cgroup.open(Config(groups=groups, root=str(root), **more), ManualClock())


def values(samples, prefix="perfmon_cgroup_", **labels):
    """By family less its prefix, and by its own label where it has one."""
    found = {}
    for sample in samples:
        if sample.name.startswith(prefix) and labels.items() <= sample.labels.items():
            name = sample.name.removeprefix(prefix)
            own = [value for key, value in sample.labels.items() if key not in ("group", "cgroup", "id", "name")]
            found[(name, *own) if own else name] = sample.value
    if "cgroup" in labels:
        del found["generation"]  # the folder's own, different each time
    return found


UNIT = Group("shop", unit="shop.service")


# ---------------------------------------------------------------- layouts


def test_version_2_tells_all(v2):
    """R14, all six events of memory among them."""
    found = values(reading(v2, UNIT).sample(), cgroup="/system.slice/shop.service")

    assert pytest.approx(OF_V2) == found


def test_version_1_tells_the_same_by_other_files(v1):
    found = values(reading(v1, UNIT).sample(), cgroup="/system.slice/shop.service")

    assert pytest.approx(OF_V1) == found


def test_a_hybrid_has_its_pressure_in_the_tree_beside(v1):
    pressure = {name: text for name, text in V2.items() if name.endswith(".pressure")}
    put(v1 / "unified/system.slice/shop.service", pressure)

    found = values(reading(v1, UNIT).sample(), cgroup="/system.slice/shop.service")

    assert pytest.approx(OF_V1 | {key: value for key, value in OF_V2.items() if "pressure" in key[0]}) == found


def test_version_1_of_an_old_kernel_counts_cpu_in_ticks(v1):
    folder = v1 / "cpu,cpuacct/system.slice/shop.service"
    (folder / "cpuacct.usage_user").unlink()
    put(folder, {"cpuacct.stat": "user 200\nsystem 100\n"})

    found = values(reading(v1, UNIT).sample(), cgroup="/system.slice/shop.service")

    ticks = os.sysconf("SC_CLK_TCK")
    assert (200 / ticks, 100 / ticks) == (found["cpu_seconds_total", "user"], found["cpu_seconds_total", "system"])


def test_the_limit_is_the_lowest_on_the_way_up(v2):
    put(v2 / "system.slice", {"memory.max": "134217728\n"})

    assert 134217728 == values(reading(v2, UNIT).sample())["memory_limit_bytes"]


def test_no_limit_is_absent_and_not_a_number(v1, v2):
    put(v2 / "system.slice/shop.service", {"memory.max": "max\n", "cpu.max": "max 100000\n"})
    put(v1 / "memory/system.slice/shop.service", {"memory.stat": "hierarchical_memory_limit 9223372036854771712\n"})
    put(v1 / "cpu,cpuacct/system.slice/shop.service", {"cpu.cfs_quota_us": "-1\n"})
    (v2 / "cgroup.controllers").unlink()  # both stand in one folder
    ones = values(reading(v1, UNIT).sample())
    (v2 / "cgroup.controllers").touch()
    twos = values(reading(v2, UNIT).sample())

    for found in (ones, twos):
        assert not found.keys() & {"memory_limit_bytes", "cpu_limit", "memory_high_bytes", "tasks_limit"}


# ---------------------------------------------------------------- which groups


@pytest.mark.parametrize(
    "folder",
    [
        f"docker/{ID}",
        f"system.slice/docker-{ID}.scope",
        f"kubepods.slice/kubepods-pod7.slice/cri-containerd-{ID}.scope",
        f"kubepods/burstable/pod7/{ID}",
        f"machine.slice/libpod-{ID}.scope",
        f"kubepods.slice/crio-{ID}.scope",
    ],
)
def test_a_container_is_found_by_its_id_wherever_its_runtime_puts_it(v2, folder):
    put(v2 / folder, V2)
    put(v2 / f"docker/{'b' * 64}", V2)

    found = values(reading(v2, Group("web", container=ID[:12])).sample(), cgroup=f"/{folder}")

    assert pytest.approx(OF_V2) == found


def test_a_container_is_found_by_its_name_without_a_socket(v2, tmp_path):
    put(v2 / f"docker/{ID}", V2)
    put(v2 / f"docker/{'b' * 64}", V2)
    put(v2 / f"machine.slice/libpod-{'c' * 64}.scope", V2)
    put(tmp_path / f"host/var/lib/docker/containers/{ID}", {"config.v2.json": json.dumps({"Name": "/web"})})
    put(tmp_path / f"host/var/lib/docker/containers/{'b' * 64}", {"config.v2.json": "{ no JSON"})
    podman = json.dumps([{"id": "c" * 64, "names": ["pod"]}, "odd"])
    put(tmp_path / "host/var/lib/containers/storage/overlay-containers", {"containers.json": podman})
    put(tmp_path / "host/var/log/containers", {f"front-7f_prod_nginx-{'b' * 64}.log": ""})

    def paths(name):
        reader = reading(v2, Group("g", container=name), rootfs=str(tmp_path / "host"))
        samples = reader.sample()
        return {sample.labels["cgroup"] for sample in samples if "cgroup" in sample.labels} or reader.missing

    assert {f"/docker/{ID}"} == paths("web")
    assert {f"/machine.slice/libpod-{'c' * 64}.scope"} == paths("pod")
    assert {f"/docker/{'b' * 64}"} == paths("nginx")
    assert 'no control group is container "nobody" (group "g")' == paths("nobody")


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("/", {"/"}),
        ("/*", {"/a.slice", "/system.slice"}),
        ("/a.slice/*", {"/a.slice/b", "/a.slice/c"}),
        ("/a.slice/?/d", {"/a.slice/b/d"}),
        ("/a.slice/**", {"/a.slice/b", "/a.slice/c", "/a.slice/b/d"}),
        ("/a.slice/", {"/a.slice"}),
        ("/nowhere/*", set()),
    ],
)
def test_a_path_is_a_glob_that_stops_at_slashes(v2, glob, expected):
    put(v2 / "a.slice/b/d", V2)
    put(v2 / "a.slice/c", V2)
    put(v2 / "system.slice", V2)
    put(v2, V2)

    samples = reading(v2, Group("g", path=glob)).sample()

    assert expected == {sample.labels["cgroup"] for sample in samples if "cgroup" in sample.labels}
    assert bool(expected) == values(samples)["up"]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("0::/system.slice/shop.service\n", "/system.slice/shop.service"),
        ("0::/somewhere/on/the/machine\n", "/"),  # in a container that sees only its own part
    ],
)
def test_perfmons_own_group_is_the_one_it_runs_in(v2, tmp_path, told, expected):
    put(tmp_path / "proc/self", {"cgroup": told})
    put(v2, V2)

    samples = reading(v2, Group("me", itself=True), procfs=str(tmp_path / "proc")).sample()

    assert pytest.approx(OF_V2) == values(samples, cgroup=expected)


def test_trees_that_hold_a_process_elsewhere_do_not_count_as_its_own(v1, tmp_path):
    """Version 1 may keep a process in a group of its own for memory, and in the machine's root for CPU."""
    put(tmp_path / "proc/self", {"cgroup": "9:memory:/system.slice/shop.service\n2:cpu,cpuacct:/\n0::/\n"})

    found = values(reading(v1, Group("me", itself=True), procfs=str(tmp_path / "proc")).sample())

    assert "memory_usage_bytes" in found
    assert not [key for key in found if "cpu" in key[0]]


def test_more_than_a_hundred_of_one_name_are_left_out_and_it_is_said(v2):
    for number in range(103):
        put(v2 / f"pods/{number}", {"memory.current": "1\n", "memory.stat": ""})
    reader = reading(v2, Group("pods", path="/pods/*"))

    assert 100 == values(reader.sample())["cgroups"]
    assert '3 control groups of "pods" are left out: more than 100 match' == reader.missing


def test_a_group_that_goes_and_comes_back_is_another_life(v2, tmp_path):
    reader = reading(v2, UNIT)
    folder = v2 / "system.slice/shop.service"
    before = values(reader.sample())
    folder.rename(tmp_path / "gone")
    gone = values(reader.sample())
    put(folder, V2)
    after = values(reader.sample())

    assert [(1, 0), (0, 0), (1, 1)] == [(found["up"], found["restarts_total"]) for found in (before, gone, after)]
    assert "memory_usage_bytes" not in gone
    assert before["generation"] != after["generation"]
    assert "" == reader.missing


def test_new_groups_are_looked_for_now_and_then(v2):
    clock = ManualClock()
    config = Config(groups=(Group("g", path="/pods/*"),), root=str(v2), discover_s=10.0)
    reader = cgroup.open(config, clock)
    seen = [values(reader.sample())["cgroups"]]
    put(v2 / "pods/1", V2)
    for _ in range(2):
        clock.advance(6.0)
        seen.append(values(reader.sample())["cgroups"])

    assert [0, 0, 1] == seen


class WorkingClock(ManualClock):
    """Each look takes 200 ms of CPU time."""

    def cpu(self):
        self.advance(0.2)
        return super().cpu()


class WaitingClock(WorkingClock):
    """Each look takes as long, while others are at work."""

    def cpu(self):
        return 0.0 * super().cpu()


@pytest.mark.parametrize(("clock", "seen"), [(WorkingClock(), 0), (WaitingClock(), 1)])
def test_looking_takes_no_more_than_a_hundredth_of_one_core(v2, clock, seen):
    reader = cgroup.open(Config(groups=(Group("g", path="/pods/*"),), root=str(v2), discover_s=10.0), clock)
    reader.sample()
    put(v2 / "pods/1", V2)
    clock.advance(15.0)

    assert seen == values(reader.sample())["cgroups"]


# ---------------------------------------------------------------- what cannot be read


def test_a_file_that_this_kernel_has_not_is_absent_and_no_error(v2):
    for name in ("cpu.pressure", "memory.peak", "io.stat"):
        (v2 / "system.slice/shop.service" / name).unlink()

    found = values(reading(v2, UNIT).sample())

    assert 0 == found["read_errors_total"]
    assert not found.keys() & {("pressure_waiting_seconds_total", "cpu"), "memory_peak_bytes", "io_reads_total"}
    assert "memory_usage_bytes" in found


def test_a_file_that_cannot_be_read_is_absent_and_counted(v2):
    file = v2 / "system.slice/shop.service/memory.events"
    file.unlink()
    file.mkdir()  # reading it fails for root too
    reader = reading(v2, UNIT)
    reader.sample()

    found = values(reader.sample())

    assert 2 == found["read_errors_total"]
    assert ("memory_events_total", "oom_kill") not in found
    assert "memory_usage_bytes" in found


def test_no_control_groups_at_all_is_a_lookup_error_until_they_are_mounted(tmp_path):
    reader = reading(tmp_path / "cgroup", UNIT)
    with pytest.raises(LookupError, match=f'^no control groups at "{tmp_path}/cgroup"$'):
        reader.sample()
    put(tmp_path / "cgroup", {"cgroup.controllers": ""})

    assert 0 == values(reader.sample())["up"]


# ---------------------------------------------------------------- names


def test_cadvisors_names_stand_beside_ours_or_alone(v2):
    both = reading(v2, UNIT, names=("perfmon", "cadvisor")).sample()
    alone = reading(v2, UNIT, names=("cadvisor",)).sample()

    theirs = values(both, "container_", id="/system.slice/shop.service", name="shop")
    assert theirs == values(alone, "container_")
    assert OF_V2.items() <= values(both, cgroup="/system.slice/shop.service").items()
    assert {"up": 1, "cgroups": 1, "restarts_total": 0, "read_errors_total": 0} == values(alone)
    assert (3.0, 73400320, 5, 14.036781) == (
        theirs["cpu_usage_seconds_total"],
        theirs["memory_working_set_bytes"],
        theirs["oom_events_total"],
        theirs["pressure_cpu_waiting_seconds_total"],
    )


def test_every_sample_is_of_a_family_that_is_declared_with_its_labels(v2):
    declared = {family.name: set(family.labels) for family in cgroup.FAMILIES}

    for sample in reading(v2, UNIT, names=("perfmon", "cadvisor")).sample():
        assert declared[sample.name] == set(sample.labels)


# ---------------------------------------------------------------- parsers


@given(st.text())
def test_no_text_breaks_a_parser(text):
    assert all(isinstance(value, int) for value in flat(text).values())
    assert {"some", "full"} >= parse_pressure(text).keys()
    assert isinstance(single(text), int | None)


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,9}", fullmatch=True), st.integers(0, 2**63)))
def test_a_flat_file_comes_back_as_it_was_written(values):
    assert values == flat("".join(f"{name} {value}\n" for name, value in values.items()))


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("groups", "place", "message"),
    [
        (
            (Group("a"),),
            "groups[0]",
            "expected exactly one of: path, unit, container, self; it says which control groups these are",
        ),
        (
            (Group("a", path="/x", unit="y"),),
            "groups[0]",
            "expected exactly one of: path, unit, container, self; it says which control groups these are",
        ),
        ((Group("a", path="x/y"),), "groups[0].path", '"x/y" does not begin with a slash, expected "/x/y"'),
        (
            (Group("a", unit="s/x.service"),),
            "groups[0].unit",
            '"s/x.service" is a path, expected the name of a unit such as nginx.service',
        ),
        (
            (Group("a", path="/x"), Group("a", path="/y")),
            "groups[0].name",
            '"a" names 2 groups, expected one of each name',
        ),
    ],
)
def test_a_mistake_in_a_group_is_told_with_its_place(groups, place, message):
    assert (place, message) in list(cgroup.check(Config(groups=groups)))


# ---------------------------------------------------------------- a real one

HOG = """
import os, sys
open(sys.argv[1] + "/cgroup.procs", "w").write(str(os.getpid()))
block = bytearray(24 * 1024 * 1024)
for at in range(0, len(block), 4096): block[at] = 1
print("ready", flush=True)
if sys.stdin.readline().strip() == "more":
    more = bytearray(64 * 1024 * 1024)
    for at in range(0, len(more), 4096): more[at] = 1
"""


@pytest.fixture
def real():
    """A control group of our own for memory, limited to 48 MiB; skipped where the kernel does not allow it."""
    fs = Cgroupfs()
    tree = fs.trees.get("memory") or fs.trees.get("")
    folder = Path(tree or "/nowhere", f"perfmon-test-{uuid.uuid4().hex[:8]}")
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        limit = folder / ("memory.max" if fs.trees.keys() == {""} else "memory.limit_in_bytes")
        if not limit.exists():
            pytest.skip("the memory controller is not handed down to control groups made here")
        limit.write_text(str(48 * 1024 * 1024))
        yield folder
    finally:
        folder.rmdir()


def test_a_real_group_shows_its_memory_its_limit_and_the_kill_for_want_of_it(real):
    reader = cgroup.open(Config(groups=(Group("hog", path=f"/{real.name}"),)), ManualClock())
    child = subprocess.Popen(
        [sys.executable, "-S", "-c", HOG, str(real)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert "ready\n" == child.stdout.readline()
        before = values(reader.sample())
        child.stdin.write("more\n")
        child.stdin.close()
        assert -9 == child.wait(30)
        after = values(reader.sample())
    finally:
        child.kill()
        child.wait()
        child.stdout.close()

    assert 24 * 1024 * 1024 <= before["memory_anonymous_bytes"] <= before["memory_usage_bytes"] <= 48 * 1024 * 1024
    assert 48 * 1024 * 1024 == before["memory_limit_bytes"]
    assert (0, 1) == tuple(found["memory_events_total", "oom_kill"] for found in (before, after))
