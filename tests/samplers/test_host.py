"""The host sampler: fixture trees for what the kernel may say, psutil as the oracle for what this one says."""

import os
from errno import EACCES, EOPNOTSUPP

import psutil
import pytest
from msgspec.structs import replace

from perfmon.clock import ManualClock
from perfmon.procfs import Procfs
from perfmon.samplers import host

STAT = """\
cpu  1000 200 300 4000 50 6 7 8 9 10
cpu0 500 100 150 2000 25 3 3 4 4 5
cpu1 500 100 150 2000 25 3 4 4 5 5
intr 1000 0 0 0
ctxt 123456
btime 1700000000
processes 789
procs_running 3
procs_blocked 1
"""
DISKSTATS = """\
   7       0 loop0 1 0 2 3 0 0 0 0 0 4 5 0 0 0 0
   8       0 sda 100 0 2000 300 50 0 4000 600 0 700 900 0 0 0 0 0 0
   8       1 sda1 90 0 1800 270 45 0 3600 540 0 630 810
 259       0 nvme0n1 1 0 8 1 1 0 8 1 0 1 2
 259       1 nvme0n1p1 1 0 8 1 1 0 8 1 0 1 2
"""
NET_DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    3193      29    0    0    0     0          0         0     3193      29    0    0    0     0       0          0
  eth0: 1000 10 1 2 0 0 0 0 2000 20 3 4 0 0 0 0
vethab: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0
"""


def tree(folder, **files):
    """A /proc of these files; `__` stands for a slash."""
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return host.open(host.Config(procfs=str(folder)), ManualClock())


def values(samples):
    """By family less its prefix, and by its label's value where it has one: {"load1": 0.5, ("disk_reads_total", "sda"): 3.0}."""
    found = {}
    for sample in samples:
        name = sample.name.removeprefix("perfmon_host_")
        found[(name, *sample.labels.values()) if sample.labels else name] = sample.value
    return found


# ---------------------------------------------------------------- R01, R02: pressure


def test_pressure_is_told_in_seconds(tmp_path):
    """R01: the values of node_exporter's fixtures."""
    reader = tree(
        tmp_path,
        pressure__cpu="some avg10=0.00 avg60=0.00 avg300=0.00 total=14036781\n",
        pressure__io="some avg10=0.18 avg60=0.34 avg300=0.10 total=159886802\n"
        "full avg10=0.18 avg60=0.34 avg300=0.10 total=159229614\n",
        pressure__irq="full avg10=0.00 avg60=0.00 avg300=0.00 total=8494\n",
    )

    assert {
        ("pressure_waiting_seconds_total", "cpu"): 14.036781,
        ("pressure_waiting_seconds_total", "io"): 159.886802,
        ("pressure_stalled_seconds_total", "io"): 159.229614,
        ("pressure_stalled_seconds_total", "irq"): 0.008494,
        "read_errors_total": 0.0,
    } == values(reader.sample())


PRESSURE = {
    "pressure__cpu": "some avg10=0.00 total=1000000\nfull avg10=0.00 total=0\n",
    "pressure__memory": "some avg10=0.00 total=2000000\nfull avg10=0.00 total=3000000\n",
    "pressure__io": "some avg10=0.00 total=4000000\nfull avg10=0.00 total=5000000\n",
    "pressure__irq": "full avg10=0.00 total=6000000\n",
}
BY_NODE_EXPORTER = {
    "node_pressure_cpu_waiting_seconds_total": 1.0,
    "node_pressure_memory_waiting_seconds_total": 2.0,
    "node_pressure_memory_stalled_seconds_total": 3.0,
    "node_pressure_io_waiting_seconds_total": 4.0,
    "node_pressure_io_stalled_seconds_total": 5.0,
    "node_pressure_irq_stalled_seconds_total": 6.0,
}


@pytest.mark.parametrize("names", [("node_exporter",), ("perfmon", "node_exporter")])
def test_pressure_has_the_names_of_node_exporter_on_request(tmp_path, names):
    """They take the place of perfmon's or stand beside them; what node_exporter names otherwise stays perfmon's."""
    tree(tmp_path, **PRESSURE, loadavg="0.5 0.4 0.3 1/2 3")
    found = values(host.open(host.Config(procfs=str(tmp_path), names=names), ManualClock()).sample())

    assert BY_NODE_EXPORTER == {key: value for key, value in found.items() if key[:4] == "node"}
    assert 6 * ("perfmon" in names) == sum(key[0].startswith("pressure_") for key in found)
    assert 0.5 == found["load1"]


def test_full_pressure_on_the_cpu_means_nothing_and_is_left_out(tmp_path):
    reader = tree(tmp_path, pressure__cpu="some avg10=0.00 total=5\nfull avg10=0.00 total=0\n")

    assert ("pressure_stalled_seconds_total", "cpu") not in values(reader.sample())


def test_a_kernel_without_pressure_is_no_error(tmp_path):
    """R02, the folder is missing."""
    found = values(tree(tmp_path, loadavg="0.5 0.4 0.3 1/2 3").sample())

    assert {"load1": 0.5, "load5": 0.4, "load15": 0.3, "read_errors_total": 0.0} == found


class Refusing(Procfs):
    """A /proc whose pressure files open, and answer a read with this error."""

    def __init__(self, path, number):
        super().__init__(path)
        self.number = number

    def read(self, name):
        if name.startswith("pressure/"):
            raise OSError(self.number, os.strerror(self.number))
        return super().read(name)


@pytest.mark.parametrize(("number", "errors"), [(EOPNOTSUPP, 0.0), (EACCES, 4.0)], ids=["switched off", "forbidden"])
def test_pressure_that_is_switched_off_is_no_error_and_a_forbidden_one_is(tmp_path, number, errors):
    """R02, a kernel started with psi=0 answers ENOTSUP; the other parts are there either way."""
    tree(tmp_path, loadavg="0.5 0.4 0.3 1/2 3")
    reader = host.Reader(host.Config(), Refusing(str(tmp_path), number))

    found = values(reader.sample())

    assert {"load1", "load5", "load15", "read_errors_total"} == set(found)
    assert errors == found["read_errors_total"]


# ---------------------------------------------------------------- the other parts


def test_cpu_time_by_mode_and_the_scheduler_as_proc_stat_tells_them(tmp_path):
    found = values(tree(tmp_path, stat=STAT).sample())

    modes = {key[1]: value for key, value in found.items() if key[0] == "cpu_seconds_total"}
    assert {
        "user": 10.0,
        "nice": 2.0,
        "system": 3.0,
        "idle": 40.0,
        "iowait": 0.5,
        "irq": 0.06,
        "softirq": 0.07,
        "steal": 0.08,
    } == modes
    assert 2.0 == found["cpus"]
    assert (3.0, 1.0) == (found["processes_running"], found["processes_blocked"])
    assert (789.0, 123456.0) == (found["forks_total"], found["context_switches_total"])
    assert 1_700_000_000.0 == found["boot_timestamp_seconds"]


def test_cpu_time_that_the_kernel_takes_back_makes_no_step(tmp_path):
    """R16: iowait may fall; as a counter that would be a restart, and all of it would count anew."""
    reader = tree(tmp_path, stat=STAT)
    seen = []
    for iowait in (50, 48, 53):
        (tmp_path / "stat").write_text(STAT.replace(" 4000 50 ", f" 4000 {iowait} "))
        seen.append(values(reader.sample())["cpu_seconds_total", "iowait"])

    assert [0.5, 0.5, 0.55] == pytest.approx(seen)


def test_memory_used_is_what_is_not_available(tmp_path):
    meminfo = "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 400 kB\nSwapTotal: 50 kB\nSwapFree: 20 kB\nHugePages_Total: 0\n"
    found = values(tree(tmp_path, meminfo=meminfo).sample())

    assert (1000 * 1024, 400 * 1024, 600 * 1024) == tuple(
        found[f"memory_{name}_bytes"] for name in ("total", "available", "used")
    )
    assert (50 * 1024, 30 * 1024) == (found["swap_total_bytes"], found["swap_used_bytes"])


def test_a_kernel_that_estimates_no_available_memory_leaves_it_absent(tmp_path):
    found = values(tree(tmp_path, meminfo="MemTotal: 1000 kB\nMemFree: 100 kB\n").sample())

    assert {"memory_total_bytes", "read_errors_total"} == set(found)


def test_descriptors_of_the_machine(tmp_path):
    found = values(tree(tmp_path, **{"sys__fs__file-nr": "629\t0\t2466177\n"}).sample())

    assert (629.0, 2466177.0) == (found["fds_allocated"], found["fds_max"])


def test_disks_are_told_without_their_partitions_and_loops(tmp_path):
    found = values(tree(tmp_path, diskstats=DISKSTATS).sample())

    assert {"sda", "nvme0n1"} == {key[1] for key in found if key[0] == "disk_reads_total"}
    assert {
        "reads": 100.0,
        "read_bytes": 2000 * 512,
        "read_time_seconds": 0.3,
        "writes": 50.0,
        "written_bytes": 4000 * 512,
        "write_time_seconds": 0.6,
        "io_time_seconds": 0.7,
    } == {key[0][5:-6]: value for key, value in found.items() if key[1:] == ("sda",)}


def test_interfaces_are_told_without_the_loopback_and_ends_of_containers(tmp_path):
    found = values(tree(tmp_path, net__dev=NET_DEV).sample())

    assert {"eth0"} == {key[1] for key in found if key[0] == "network_receive_bytes_total"}
    assert [1000.0, 1.0, 2.0, 2000.0, 3.0, 4.0] == [
        found[f"network_{way}_{what}_total", "eth0"]
        for way in ("receive", "transmit")
        for what in ("bytes", "errors", "drops")
    ]


@pytest.mark.parametrize(
    ("globs", "taken"),
    [
        (("*",), {"lo", "eth0", "vethab"}),
        (("eth*",), {"eth0"}),
        (("*", "!*0"), {"lo", "vethab"}),
        (("lo", "vethab"), {"lo", "vethab"}),
        ((), set()),
    ],
)
def test_the_names_taken_are_those_the_globs_say(tmp_path, globs, taken):
    tree(tmp_path, net__dev=NET_DEV, loadavg="0 0 0 1/1 1", diskstats=DISKSTATS)
    reader = host.open(host.Config(procfs=str(tmp_path), interfaces=globs, disks=("sda?",)), ManualClock())

    found = values(reader.sample())

    assert taken == {key[1] for key in found if key[0] == "network_receive_bytes_total"}
    assert {"sda1"} == {key[1] for key in found if key[0] == "disk_reads_total"}


def test_a_list_is_bounded_and_says_what_it_leaves_out(tmp_path):
    rows = "".join(f"  if{number}: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n" for number in range(130))
    reader = tree(tmp_path, net__dev="head\nhead\n" + rows)

    found = values(reader.sample())

    assert 100 == sum(1 for key in found if key[0] == "network_receive_bytes_total")
    assert "30 of 130 are left out: more than 100 match interfaces" == reader.missing


# ---------------------------------------------------------------- filesystems


MOUNTS = """\
sysfs /sys sysfs rw 0 0
/dev/sda1 / ext4 rw 0 0
tmpfs /run tmpfs rw 0 0
/dev/sda1 /var/lib/bind ext4 rw 0 0
/dev/sdb1 /my\\040data xfs ro 0 0
/dev/loop3 /snap/core squashfs ro 0 0
filer:/home /home nfs4 rw 0 0
pool/tank /tank zfs rw 0 0
"""
FILESYSTEMS = "nodev\tsysfs\nnodev\ttmpfs\n\text4\n\txfs\n\tsquashfs\nnodev\tnfs4\nnodev\tzfs\n"


@pytest.fixture
def mounted(tmp_path):
    """A machine's root and its /proc, seen from a container: of the mounts only / and `/my data` can be reached."""
    procfs, rootfs = tmp_path / "proc", tmp_path / "root"
    (rootfs / "my data").mkdir(parents=True)
    tree(procfs, **{"1__mounts": MOUNTS, "filesystems": FILESYSTEMS})
    return host.Config(procfs=str(procfs), rootfs=str(rootfs))


def test_only_local_filesystems_are_asked_each_once(mounted):
    """Neither the NFS server, which may never answer, nor images, nor a second place of the same device."""
    found = values(host.open(mounted, ManualClock()).sample())

    places = {key[1:] for key in found if key[0] == "filesystem_size_bytes"}
    assert {("/dev/sda1", "ext4", "/"), ("/dev/sdb1", "xfs", "/my data")} == places


def test_a_filesystem_that_cannot_be_asked_is_counted(mounted):
    """It is mounted by what /proc says, so a place that is not there is no absence."""
    reader = host.open(mounted, ManualClock())

    assert 1.0 == values(reader.sample())["read_errors_total"]
    assert 2.0 == values(reader.sample())["read_errors_total"]


def test_the_usage_is_what_statvfs_says(mounted):
    found = values(host.open(mounted, ManualClock()).sample())
    usage = os.statvfs(mounted.rootfs)

    assert usage.f_blocks * usage.f_frsize == found["filesystem_size_bytes", "/dev/sda1", "ext4", "/"]
    assert usage.f_files == found["filesystem_inodes", "/dev/sda1", "ext4", "/"]
    assert 0.0 == found["filesystem_readonly", "/dev/sda1", "ext4", "/"]


def test_mounts_can_be_left_out(mounted):
    config = host.Config(procfs=mounted.procfs, rootfs=mounted.rootfs, mounts=("*", "!/my*", "!/tank"))
    found = values(host.open(config, ManualClock()).sample())

    assert {"/"} == {key[3] for key in found if key[0] == "filesystem_size_bytes"}
    assert 0.0 == found["read_errors_total"]


def test_the_root_of_a_container_is_told_though_it_is_an_overlay(tmp_path):
    reader = tree(
        tmp_path, self__mounts="overlay / overlay rw 0 0\nshm /dev/shm tmpfs rw 0 0\n", filesystems=FILESYSTEMS
    )

    found = values(reader.sample())

    assert {"/"} == {key[3] for key in found if key[0] == "filesystem_size_bytes"}


# ---------------------------------------------------------------- the whole


def test_nothing_at_all_is_a_lookup_error(tmp_path):
    reader = tree(tmp_path)

    with pytest.raises(LookupError, match=f'nothing that a kernel tells at "{tmp_path}"'):
        reader.sample()


def test_every_sample_is_of_a_family_with_its_labels():
    labels = {family.name: family.labels for family in host.FAMILIES}
    samples = host.open(host.Config(interfaces=("*",)), ManualClock()).sample()

    assert {sample.name: tuple(sample.labels) for sample in samples}.items() <= labels.items()
    assert len(samples) == len({(sample.name, *sample.labels.values()) for sample in samples})


def test_every_family_is_told_by_some_machine(mounted, tmp_path):
    """No family is declared that nothing fills."""
    tree(
        tmp_path / "proc",
        stat=STAT,
        loadavg="0 0 0 1/1 1",
        meminfo="MemTotal: 1 kB\nMemAvailable: 1 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n",
        diskstats=DISKSTATS,
        net__dev=NET_DEV,
        **PRESSURE,
        **{"sys__fs__file-nr": "1 0 1"},
    )
    samples = host.open(replace(mounted, names=("perfmon", "node_exporter")), ManualClock()).sample()

    assert {family.name for family in host.FAMILIES} == {sample.name for sample in samples}


def test_this_machine_is_read_as_psutil_reads_it():
    found = values(host.open(host.Config(interfaces=("*",)), ManualClock()).sample())
    memory, times, network = psutil.virtual_memory(), psutil.cpu_times(), psutil.net_io_counters(pernic=True)

    assert psutil.cpu_count() == found["cpus"]
    assert psutil.boot_time() == pytest.approx(found["boot_timestamp_seconds"], abs=1.5)
    assert memory.total == found["memory_total_bytes"]
    assert memory.available == pytest.approx(found["memory_available_bytes"], rel=0.05)
    assert psutil.swap_memory().used == pytest.approx(found["swap_used_bytes"], abs=2**24)
    assert times.idle == pytest.approx(found["cpu_seconds_total", "idle"], abs=1)
    assert times.system == pytest.approx(found["cpu_seconds_total", "system"], abs=1)
    assert set(network) == {key[1] for key in found if key[0] == "network_receive_bytes_total"}
    assert psutil.getloadavg()[2] == pytest.approx(found["load15"], abs=0.2)
    assert psutil.disk_usage("/").total in [value for key, value in found.items() if key[0] == "filesystem_size_bytes"]


@pytest.mark.parametrize("field", ["mounts", "disks", "interfaces"])
def test_a_list_that_only_leaves_out_is_a_mistake(field):
    config = host.Config(**{field: ("!lo", "!eth*")})

    assert [(field, 'takes nothing, since each of its globs leaves something out: expected "*" before "!lo"')] == list(
        host.check(config)
    )


def test_the_defaults_are_no_mistake():
    assert [] == list(host.check(host.Config()))
