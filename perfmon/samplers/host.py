"""Read the resources of this machine: CPU, memory, pressure, disks, filesystems, network.

Each part is read by itself: what this kernel does not have is absent, what cannot be read is absent and counted.
Only filesystems on local devices are asked for their usage: with a dead NFS server that question never returns.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from errno import EOPNOTSUPP
from fnmatch import fnmatchcase
from functools import partial
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from perfmon.cgroupfs import parse_pressure
from perfmon.clock import Clock
from perfmon.metrics import family_named
from perfmon.model import Sample
from perfmon.procfs import Procfs

__all__ = ["FAMILIES", "Config", "Reader", "check", "open"]


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to leave out. A list holds globs: what one of them matches is taken, unless one with `!` matches it too."""

    mounts: tuple[str, ...] = ("*",)
    # Not the partitions: what they do is in the disk's own numbers.
    disks: tuple[str, ...] = (
        "*",
        *("!loop*", "!ram*", "!zram*", "!fd[0-9]*", "!sr[0-9]*"),
        *("!sd*[0-9]", "!hd*[0-9]", "!vd*[0-9]", "!xvd*[0-9]", "!nvme*p[0-9]*", "!mmcblk*p[0-9]*"),
    )
    interfaces: tuple[str, ...] = ("*", "!lo", "!veth*")
    names: Annotated[tuple[Literal["perfmon", "node_exporter"], ...], Meta(min_length=1)] = ("perfmon",)  # of pressure
    procfs: str = "/proc"  # where the kernel's files are mounted: /host/proc in a container
    rootfs: str = "/"  # where the machine's root is mounted: /host in a container


_NODE_EXPORTER = {  # how and for which resource, and what node_exporter calls it
    (how, resource): f"node_pressure_{resource}_{how}_seconds_total"
    for how, resources in (("waiting", ("cpu", "memory", "io")), ("stalled", ("memory", "io", "irq")))
    for resource in resources
}

FAMILIES = (
    family_named(
        "perfmon_host_cpu_seconds_total",
        "Time of all CPUs by mode: user, nice, system, idle, iowait, irq, softirq, steal. Guests count as user.",
        "mode",
    ),
    family_named("perfmon_host_cpus", "CPUs that are online."),
    family_named("perfmon_host_load1", "Threads that run or wait for a CPU or a disk, mean of 1 minute."),
    family_named("perfmon_host_load5", "Threads that run or wait for a CPU or a disk, mean of 5 minutes."),
    family_named("perfmon_host_load15", "Threads that run or wait for a CPU or a disk, mean of 15 minutes."),
    family_named("perfmon_host_processes_running", "Threads that run or wait for a CPU."),
    family_named("perfmon_host_processes_blocked", "Threads that wait for a disk."),
    family_named("perfmon_host_forks_total", "Processes and threads started since boot."),
    family_named("perfmon_host_context_switches_total", "Context switches of all CPUs."),
    family_named("perfmon_host_boot_timestamp_seconds", "When the machine started, in Unix time."),
    family_named("perfmon_host_memory_total_bytes", "RAM that the kernel can use."),
    family_named(
        "perfmon_host_memory_available_bytes",
        "Memory that programs can get before the machine has to swap, by the kernel's estimate.",
    ),
    family_named("perfmon_host_memory_used_bytes", "Memory that is not available: the total less the available."),
    family_named("perfmon_host_swap_total_bytes", "Size of the swap space, 0 when there is none."),
    family_named("perfmon_host_swap_used_bytes", "Swap space in use."),
    family_named(
        "perfmon_host_pressure_waiting_seconds_total",
        "Time in which at least one task waited for the resource: cpu, memory, io (`some` in /proc/pressure).",
        "resource",
    ),
    family_named(
        "perfmon_host_pressure_stalled_seconds_total",
        "Time in which all tasks waited for the resource: memory, io, irq (`full` in /proc/pressure).",
        "resource",
    ),
    *(
        family_named(name, f"As node_exporter names it; see perfmon_host_pressure_{how}_seconds_total.")
        for (how, _), name in _NODE_EXPORTER.items()
    ),
    family_named("perfmon_host_fds_allocated", "File descriptors allocated on the machine."),
    family_named("perfmon_host_fds_max", "File descriptors that the machine may allocate."),
    *(
        family_named(f"perfmon_host_filesystem_{name}", text, "device", "fstype", "mountpoint")
        for name, text in (
            ("size_bytes", "Size of the filesystem."),
            ("used_bytes", "Space in use."),
            ("available_bytes", "Space left for those who are not root."),
            ("inodes", "Files that the filesystem can hold; absent when it sets no limit."),
            ("inodes_free", "Files that it can still take; absent when it sets no limit."),
            ("readonly", "Whether it is mounted read-only, as it is after an error of the disk."),
        )
    ),
    *(
        family_named(f"perfmon_host_disk_{name}_total", text, "device")
        for name, text in (
            ("reads", "Reads completed."),
            ("read_bytes", "Bytes read."),
            ("read_time_seconds", "Time that reads took, waiting included, added up."),
            ("writes", "Writes completed."),
            ("written_bytes", "Bytes written."),
            ("write_time_seconds", "Time that writes took, waiting included, added up."),
            ("io_time_seconds", "Time in which the disk had something to do."),
        )
    ),
    *(
        family_named(f"perfmon_host_network_{way}_{name}_total", text, "device")
        for way, done in (("receive", "received"), ("transmit", "sent"))
        for name, text in (
            ("bytes", f"Bytes {done}."),
            ("errors", f"Packets that could not be {done} for an error."),
            ("drops", f"Packets that were not {done} for want of room."),
        )
    ),
    family_named("perfmon_host_read_errors_total", "Parts that could not be read; they are absent, not 0."),
)

CEILINGS = {"perfmon_host_memory_used_bytes": "perfmon_host_memory_total_bytes"}


def check(config: Config) -> Iterator[tuple[str, str]]:
    """Mistakes that types cannot express."""
    for field, globs in (("mounts", config.mounts), ("disks", config.disks), ("interfaces", config.interfaces)):
        if globs and all(glob.startswith("!") for glob in globs):
            yield (
                field,
                f'takes nothing, since each of its globs leaves something out: expected "*" before "{globs[0]}"',
            )


def open(config: Config, clock: Clock) -> "Reader":  # noqa: A001, ARG001 - the contract of all samplers
    """A reader that has read nothing yet."""
    return Reader(config, Procfs(config.procfs))


class Reader:
    """Reads the machine part by part."""

    def __init__(self, config: Config, procfs: Procfs) -> None:
        self.missing = ""
        self._config = config
        self._procfs = procfs
        self._cpu = _Rising()
        self._errors = 0

    def sample(self) -> list[Sample]:
        """All that this kernel tells; LookupError when it tells nothing."""
        left_out: list[str] = []
        samples: list[Sample] = []
        for part in self._parts(left_out):
            samples += self._unless_absent(part)
        if not samples:
            raise LookupError(f'nothing that a kernel tells at "{self._procfs.path}"')
        self.missing = "; ".join(left_out)
        return [*samples, Sample(name="perfmon_host_read_errors_total", value=float(self._errors))]

    def _parts(self, left_out: list[str]) -> Iterator[Callable[[], Iterable[Sample]]]:
        procfs, config = self._procfs, self._config
        yield partial(_scheduler, procfs, self._cpu)
        yield partial(_load, procfs)
        yield partial(_memory, procfs)
        yield partial(_descriptors, procfs)
        for resource in ("cpu", "memory", "io", "irq"):
            yield partial(_pressure, procfs, resource, config.names)
        yield partial(_disks, procfs, config.disks, left_out)
        yield partial(_network, procfs, config.interfaces, left_out)
        yield partial(self._filesystems, left_out)

    def _filesystems(self, left_out: list[str]) -> Iterator[Sample]:
        """A filesystem that cannot be asked is absent and counted; the others are there."""
        rootfs = self._config.rootfs.rstrip("/")
        for mount in _bounded(_mounts(self._procfs, rootfs, self._config.mounts), "mounts", left_out):
            try:
                yield from _usage(mount, rootfs)
            except OSError:
                self._errors += 1

    def _unless_absent(self, part: Callable[[], Iterable[Sample]]) -> Sequence[Sample]:
        try:
            return list(part())
        except FileNotFoundError:
            return ()  # this kernel has no such thing
        except OSError as error:
            if error.errno != EOPNOTSUPP:  # so says a kernel started with psi=0, file by file
                self._errors += 1
            return ()


class _Rising:
    """Counters that the kernel lets fall at times, by a little: idle and iowait do, when a CPU sleeps or goes offline.

    A fall would be taken for a restart from 0, and the whole of it for use.
    """

    def __init__(self) -> None:
        self._seen: dict[str, float] = {}
        self._total: dict[str, float] = {}

    def total(self, name: str, seen: float) -> float:
        """The first value seen, and each rise since."""
        rise = max(0.0, seen - self._seen[name]) if name in self._seen else seen
        self._seen[name] = seen
        self._total[name] = self._total.get(name, 0.0) + rise
        return self._total[name]


# ---------------------------------------------------------------- the parts

_CPU_MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_SECTOR_BYTES = 512  # of /proc/diskstats, whatever the disk's own are


def _sample(name: str, value: float, **labels: str) -> Sample:
    return Sample(name=f"perfmon_host_{name}", value=float(value), labels=labels)


def _scheduler(procfs: Procfs, cpu: _Rising) -> Iterator[Sample]:
    """From /proc/stat: lines of a name and numbers, see proc_stat(5)."""
    lines = [line.split() for line in procfs.read("stat").decode().splitlines()]
    fields = {name: numbers for name, *numbers in lines}
    for mode, ticks in zip(_CPU_MODES, fields["cpu"], strict=False):
        yield _sample("cpu_seconds_total", cpu.total(mode, int(ticks) / _TICKS_PER_S), mode=mode)
    yield _sample("cpus", sum(1 for name in fields if re.fullmatch(r"cpu\d+", name)))
    yield _sample("processes_running", int(fields["procs_running"][0]))
    yield _sample("processes_blocked", int(fields["procs_blocked"][0]))
    yield _sample("forks_total", int(fields["processes"][0]))
    yield _sample("context_switches_total", int(fields["ctxt"][0]))
    yield _sample("boot_timestamp_seconds", int(fields["btime"][0]))


def _load(procfs: Procfs) -> Iterator[Sample]:
    for name, value in zip(("load1", "load5", "load15"), procfs.read("loadavg").split(), strict=False):
        yield _sample(name, float(value))


def _memory(procfs: Procfs) -> Iterator[Sample]:
    lines = (line.partition(":") for line in procfs.read("meminfo").decode().splitlines())
    size = {name: int(text.split()[0]) * 1024 for name, _, text in lines}
    yield _sample("memory_total_bytes", size["MemTotal"])
    if "MemAvailable" in size:
        yield _sample("memory_available_bytes", size["MemAvailable"])
        yield _sample("memory_used_bytes", size["MemTotal"] - size["MemAvailable"])
    if "SwapTotal" in size:
        yield _sample("swap_total_bytes", size["SwapTotal"])
        yield _sample("swap_used_bytes", size["SwapTotal"] - size["SwapFree"])


def _descriptors(procfs: Procfs) -> Iterator[Sample]:
    allocated, _, most = procfs.read("sys/fs/file-nr").split()
    yield _sample("fds_allocated", int(allocated))
    yield _sample("fds_max", int(most))


def _pressure(procfs: Procfs, resource: str, names: Sequence[str]) -> Iterator[Sample]:
    """A machine's `full` of cpu says nothing: while all wait for a CPU, something runs on it.

    See https://docs.kernel.org/accounting/psi.html.
    """
    seconds = parse_pressure(procfs.read(f"pressure/{resource}").decode())
    for how, told in (("waiting", "some"), ("stalled", "full")):
        if told not in seconds or (told, resource) == ("full", "cpu"):
            continue
        if "perfmon" in names:
            yield _sample(f"pressure_{how}_seconds_total", seconds[told], resource=resource)
        if "node_exporter" in names and (how, resource) in _NODE_EXPORTER:
            yield Sample(name=_NODE_EXPORTER[how, resource], value=seconds[told])


def _disks(procfs: Procfs, globs: Sequence[str], left_out: list[str]) -> Iterator[Sample]:
    """See https://docs.kernel.org/admin-guide/iostats.html; times in milliseconds."""
    rows = {row[2]: [int(number) for number in row[3:]] for row in map(str.split, _lines(procfs, "diskstats"))}
    taken = [name for name in rows if _taken(name, globs)]
    for name in _bounded(taken, "disks", left_out):
        reads, _, sectors_read, read_ms, writes, _, sectors_written, write_ms, _, io_ms, *_ = rows[name]
        yield _sample("disk_reads_total", reads, device=name)
        yield _sample("disk_read_bytes_total", sectors_read * _SECTOR_BYTES, device=name)
        yield _sample("disk_read_time_seconds_total", read_ms / 1e3, device=name)
        yield _sample("disk_writes_total", writes, device=name)
        yield _sample("disk_written_bytes_total", sectors_written * _SECTOR_BYTES, device=name)
        yield _sample("disk_write_time_seconds_total", write_ms / 1e3, device=name)
        yield _sample("disk_io_time_seconds_total", io_ms / 1e3, device=name)


def _network(procfs: Procfs, globs: Sequence[str], left_out: list[str]) -> Iterator[Sample]:
    """Two lines of headings, then `eth0: <8 numbers received> <8 numbers transmitted>`: bytes packets errs drop ..."""
    lines = [line.rpartition(":") for line in _lines(procfs, "net/dev")[2:]]
    rows = {name.strip(): numbers.split() for name, _, numbers in lines}
    taken = [name for name in rows if _taken(name, globs)]
    for name in _bounded(taken, "interfaces", left_out):
        for way, (size, _, errors, drops) in (("receive", rows[name][0:4]), ("transmit", rows[name][8:12])):
            yield _sample(f"network_{way}_bytes_total", int(size), device=name)
            yield _sample(f"network_{way}_errors_total", int(errors), device=name)
            yield _sample(f"network_{way}_drops_total", int(drops), device=name)


# ---------------------------------------------------------------- filesystems


class _Mount(msgspec.Struct, frozen=True):
    device: str
    point: str
    fstype: str


_FULL_BY_NATURE = ("squashfs", "iso9660", "erofs", "udf")  # images: made full, and they stay so


def _mounts(procfs: Procfs, rootfs: str, globs: Sequence[str]) -> list[_Mount]:
    """Local filesystems, each once: of several places of one device, that with the shortest path."""
    lines = [line.split() for line in _lines(procfs, "1/mounts" if rootfs else "self/mounts")]
    on_devices = {line.strip() for line in _lines(procfs, "filesystems") if not line.startswith("nodev")} | {"zfs"}
    on_top = {_unescape(point): _Mount(device, _unescape(point), fstype) for device, point, fstype, *_ in lines}
    mine = [
        mount
        for mount in on_top.values()
        # The root of a container is an overlay: not on a device by itself, but nothing else tells how full it is.
        if (mount.fstype in on_devices or mount.point == "/")
        and mount.fstype not in _FULL_BY_NATURE
        and _taken(mount.point, globs)
    ]
    by_device: dict[str, _Mount] = {}
    for mount in sorted(mine, key=lambda mount: len(mount.point)):
        by_device.setdefault(mount.device, mount)
    return list(by_device.values())


def _usage(mount: _Mount, rootfs: str) -> Iterator[Sample]:
    usage = os.statvfs(rootfs + mount.point)
    sample = partial(_sample, device=mount.device, fstype=mount.fstype, mountpoint=mount.point)
    yield sample("filesystem_size_bytes", usage.f_blocks * usage.f_frsize)
    yield sample("filesystem_used_bytes", (usage.f_blocks - usage.f_bfree) * usage.f_frsize)
    yield sample("filesystem_available_bytes", usage.f_bavail * usage.f_frsize)
    yield sample("filesystem_readonly", bool(usage.f_flag & os.ST_RDONLY))
    if usage.f_files:
        yield sample("filesystem_inodes", usage.f_files)
        yield sample("filesystem_inodes_free", usage.f_ffree)


def _unescape(text: str) -> str:
    r"""A blank in a path stands as `\040` in /proc/mounts."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


# ---------------------------------------------------------------- lists of names

_MOST = 100
_T = TypeVar("_T")


def _lines(procfs: Procfs, name: str) -> list[str]:
    return procfs.read(name).decode(errors="replace").splitlines()


def _taken(name: str, globs: Sequence[str]) -> bool:
    """Whether a glob matches, and none with `!` does."""
    wanted = any(fnmatchcase(name, glob) for glob in globs if not glob.startswith("!"))
    return wanted and not any(fnmatchcase(name, glob[1:]) for glob in globs if glob.startswith("!"))


def _bounded(items: Sequence[_T], field: str, left_out: list[str]) -> Sequence[_T]:
    """No more than a hundred, since each makes several series; says how many are left out."""
    if len(items) > _MOST:
        left_out.append(f"{len(items) - _MOST} of {len(items)} are left out: more than {_MOST} match {field}")
    return items[:_MOST]
