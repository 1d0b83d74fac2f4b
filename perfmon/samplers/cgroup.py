"""Read the resources of control groups: of containers, systemd units, or any others.

Each group's numbers are the kernel's own; nothing is added up, so what short-lived processes used is not lost. What a
kernel, a layout or a controller does not tell is absent, never 0. A group that goes away and comes back is another
life: its counters begin anew, and `perfmon_cgroup_restarts_total` counts it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from perfmon.cgroup_usage import Key, usage
from perfmon.cgroupfs import Cgroup, Cgroupfs, path_glob
from perfmon.clock import Clock
from perfmon.containers import container_ids, is_container
from perfmon.metrics import family_named
from perfmon.model import Sample
from perfmon.procfs import Procfs
from perfmon.short_form import Growth, Sentence, Short
from perfmon.units import Duration

__all__ = ["FAMILIES", "Config", "Group", "Reader", "check", "open"]


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which control groups to read under one name."""

    name: Annotated[str, Meta(min_length=1, extra_json_schema={"x-public": True})]  # the label `group`
    path: str = ""  # below the root, a glob: /kubepods.slice/*/*; * does not cross a slash, ** does
    unit: str = ""  # of systemd: nginx.service
    container: str = ""  # of Docker, Podman, containerd or CRI-O: its id (12 digits will do), or its name
    itself: bool = msgspec.field(default=False, name="self")  # the one that perfmon runs in


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The groups, and how often to look for new ones."""

    groups: Annotated[tuple[Group, ...], Meta(min_length=1)]
    discover_s: Annotated[Duration, Meta(gt=0)] = msgspec.field(default=10.0, name="discover")
    names: Annotated[tuple[Literal["perfmon", "cadvisor"], ...], Meta(min_length=1)] = ("perfmon",)
    root: str = "/sys/fs/cgroup"  # where the kernel's files are mounted: /host/sys/fs/cgroup in a container
    procfs: str = "/proc"
    rootfs: str = "/"  # where the machine's root is mounted; the names of containers are read there


_LABELS = ("group", "cgroup")


def _family(name: str, text: str, *labels: str) -> tuple[str, str, tuple[str, ...]]:
    return f"perfmon_cgroup_{name}", text, labels


_UP = "perfmon_cgroup_up"
_CGROUPS = "perfmon_cgroup_cgroups"
_RESTARTS = "perfmon_cgroup_restarts_total"
_READ_ERRORS = "perfmon_cgroup_read_errors_total"
_GENERATION = "perfmon_cgroup_generation"

_OF_A_CGROUP = (
    _family("memory_usage_bytes", "Memory that is charged to the group, file cache included."),
    _family("memory_working_set_bytes", "Usage less file cache that was not used lately: what the OOM killer weighs."),
    _family("memory_anonymous_bytes", "Heap, stacks and the like: where a leak shows."),
    _family("memory_file_bytes", "File cache, shared memory included."),
    _family("memory_shared_bytes", "Shared memory and tmpfs: a part of the file cache that cannot be dropped."),
    _family("memory_kernel_bytes", "The kernel's own memory for the group."),
    _family("memory_slab_bytes", "The part of the kernel's memory that holds its objects: inodes, dentries and such."),
    _family("memory_socket_bytes", "Buffers of network connections."),
    _family("memory_swap_bytes", "Memory that was moved out to swap."),
    _family("memory_peak_bytes", "The highest usage so far."),
    _family("memory_limit_bytes", "The lowest limit on the group and on those above it; absent when there is none."),
    _family("memory_high_bytes", "Usage above which the group is slowed down; absent when there is none."),
    _family("memory_swap_limit_bytes", "The most that may be moved out to swap; absent when there is no limit."),
    _family("memory_faults_total", "Page faults by kind: major ones waited for a storage device.", "kind"),
    _family("memory_refaults_total", "Pages read again soon after they were dropped, by kind: anon, file.", "kind"),
    _family(
        "memory_events_total",
        "Times that the kernel did something about the group's memory: low, high, max (the limit was hit), oom,"
        " oom_kill (a process was killed), oom_group_kill.",
        "event",
    ),
    _family("cpu_seconds_total", "CPU time by mode: user, system.", "mode"),
    _family("cpu_usage_seconds_total", "The same in both modes."),
    _family("cpu_limit", "CPUs that the group may use at a time; absent when there is no limit."),
    _family("cpu_periods_total", "Periods in which the group ran under a CPU limit."),
    _family("cpu_throttled_periods_total", "Periods in which it had used up its share."),
    _family("cpu_throttled_seconds_total", "Time for which its threads were held back, added up."),
    _family("tasks", "Processes and threads."),
    _family("tasks_limit", "The most it may have; absent when there is no limit."),
    _family("io_read_bytes_total", "Bytes read from storage devices."),
    _family("io_written_bytes_total", "Bytes written to storage devices."),
    _family("io_reads_total", "Reads from storage devices."),
    _family("io_writes_total", "Writes to storage devices."),
    _family("pressure_waiting_seconds_total", "Time in which at least one task waited for the resource.", "resource"),
    _family("pressure_stalled_seconds_total", "Time in which all tasks waited for the resource.", "resource"),
)

_CADVISOR = {  # our name and own label's value, and what cAdvisor calls it
    ("memory_usage_bytes", ""): "container_memory_usage_bytes",
    ("memory_working_set_bytes", ""): "container_memory_working_set_bytes",
    ("memory_anonymous_bytes", ""): "container_memory_rss",
    ("memory_file_bytes", ""): "container_memory_cache",
    ("memory_swap_bytes", ""): "container_memory_swap",
    ("memory_peak_bytes", ""): "container_memory_max_usage_bytes",
    ("memory_limit_bytes", ""): "container_spec_memory_limit_bytes",
    ("memory_events_total", "max"): "container_memory_failcnt",
    ("memory_events_total", "oom_kill"): "container_oom_events_total",
    ("cpu_seconds_total", "user"): "container_cpu_user_seconds_total",
    ("cpu_seconds_total", "system"): "container_cpu_system_seconds_total",
    ("cpu_periods_total", ""): "container_cpu_cfs_periods_total",
    ("cpu_throttled_periods_total", ""): "container_cpu_cfs_throttled_periods_total",
    ("cpu_throttled_seconds_total", ""): "container_cpu_cfs_throttled_seconds_total",
    ("tasks", ""): "container_threads",
    ("tasks_limit", ""): "container_threads_max",
    **{
        (f"pressure_{how}_seconds_total", resource): f"container_pressure_{resource}_{how}_seconds_total"
        for how in ("waiting", "stalled")
        for resource in ("cpu", "memory", "io")
    },
}
_CADVISOR_CPU = "container_cpu_usage_seconds_total"  # the sum of both modes

_OWN_LABEL = {name.removeprefix("perfmon_cgroup_"): labels[0] for name, _text, labels in _OF_A_CGROUP if labels}

FAMILIES = (
    family_named(_UP, "Whether at least one control group of the name was found.", "group"),
    family_named(_CGROUPS, "Control groups found.", "group"),
    family_named(_RESTARTS, "Times that a control group went and another took its place.", "group"),
    family_named(_READ_ERRORS, "Files that could not be read; what they hold is absent, not 0.", "group"),
    family_named(
        _GENERATION, "The number of the control group's folder: another one since it was made anew.", *_LABELS
    ),
    *(family_named(name, text, *_LABELS, *labels) for name, text, labels in _OF_A_CGROUP),
    *(
        family_named(name, "As cAdvisor names it; see its perfmon_cgroup_ counterpart.", "id", "name")
        for name in (*dict.fromkeys(_CADVISOR.values()), _CADVISOR_CPU)
    ),
)

LIFE = _GENERATION
CEILINGS = {
    **{
        f"perfmon_cgroup_memory_{what}_bytes": "perfmon_cgroup_memory_limit_bytes"
        for what in ("usage", "working_set", "anonymous")
    },
    "perfmon_cgroup_tasks": "perfmon_cgroup_tasks_limit",
}


_SHORT: Mapping[str, Short] = {
    "memory": Sentence(
        alert="MemoryHigh", metric="perfmon_cgroup_memory_working_set_bytes", begin="last <=", unit="bytes"
    ),
    "memory_growth": Growth(alert="MemoryGrowth", metric="perfmon_cgroup_memory_working_set_bytes", unit="bytes"),
    "cpu": Sentence(
        alert="CpuHigh", metric="perfmon_cgroup_cpu_usage_seconds_total", begin="rate <=", unit="ratio", over_s=60.0
    ),
    "tasks": Sentence(alert="TasksHigh", metric="perfmon_cgroup_tasks", begin="last <=", unit=""),
}


def thresholds(config: Config) -> Mapping[str, Short]:
    """The words for `thresholds`; none where perfmon's own names are not exported, which they are about."""
    return _SHORT if "perfmon" in config.names else {}


def check(config: Config) -> Iterator[tuple[str, str]]:
    """Mistakes that types cannot express."""
    names = Counter(group.name for group in config.groups)
    for index, group in enumerate(config.groups):
        place = f"groups[{index}]"
        if names[group.name] > 1:
            yield f"{place}.name", f'"{group.name}" names {names[group.name]} groups, expected one of each name'
        given = [field for field in ("path", "unit", "container", "itself") if getattr(group, field)]
        if len(given) != 1:
            yield place, "expected exactly one of: path, unit, container, self; it says which control groups these are"
        if group.path and not group.path.startswith("/"):
            yield f"{place}.path", f'"{group.path}" does not begin with a slash, expected "/{group.path}"'
        if "/" in group.unit:
            yield f"{place}.unit", f'"{group.unit}" is a path, expected the name of a unit such as nginx.service'


def open(config: Config, clock: Clock) -> "Reader":  # noqa: A001 - the contract of all samplers
    """A reader that has looked at nothing yet."""
    return Reader(config, clock)


class Reader:
    """Knows the control groups between readings, and when to look for them again."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self.missing = ""
        self._config = config
        self._clock = clock
        self._fs = Cgroupfs(config.root)
        self._procfs = Procfs(config.procfs)
        self._crowds = [_Crowd(group) for group in config.groups]
        self._next_look = clock.monotonic()

    def sample(self) -> list[Sample]:
        """All groups, found or not; LookupError when there are no control groups here at all."""
        if not self._fs.trees:
            del self._fs.trees  # mounted later, perhaps
            raise LookupError(f'no control groups at "{self._config.root}"')
        if self._clock.monotonic() >= self._next_look:
            self._look()
        samples = [sample for crowd in self._crowds for sample in crowd.samples(self._config.names)]
        self.missing = "; ".join(crowd.missing for crowd in self._crowds if crowd.missing)
        return samples

    def _look(self) -> None:
        """Find the groups; it takes at most a hundredth of one core, however long that is on a busy machine."""
        began, used_s = self._clock.monotonic(), self._clock.cpu()
        paths: list[str] | None = None
        for crowd in self._crowds:
            if crowd.group.itself:
                crowd.take([self._own()])
                continue
            paths = list(self._fs.walk()) if paths is None else paths
            crowd.take([self._fs.at(path) for path in _found(crowd.group, paths, self._config.rootfs)])
        cost_s = self._clock.cpu() - used_s
        self._next_look = max(began + self._config.discover_s, self._clock.monotonic() + 100 * cost_s)

    def _own(self) -> Cgroup:
        try:
            return self._fs.of_process(self._procfs.read("self/cgroup").decode(errors="replace"))
        except FileNotFoundError:
            return self._fs.at("/")


# ---------------------------------------------------------------- which control groups

_MOST = 100  # of one name: each makes some forty series


def _found(group: Group, paths: Sequence[str], rootfs: str) -> list[str]:
    if group.path:
        pattern = path_glob(group.path)
        return [path for path in paths if pattern.fullmatch(path) and (path != "/" or group.path == "/")]
    if group.unit:
        return [path for path in paths if path.rpartition("/")[2] == group.unit]
    wanted = container_ids(group.container, rootfs)
    return [path for path in paths if is_container(path.rpartition("/")[2], wanted)]


# ---------------------------------------------------------------- the control groups of one name


class _Crowd:
    """The control groups of one name, and their lives."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self._known: list[Cgroup] = []
        self._lives: dict[str, int] = {}  # the number of the folder that each path had last
        self._restarts = 0
        self._errors = 0
        self._left_out = 0
        self._alive = 0

    @property
    def missing(self) -> str:
        """What was looked for and not found, in words."""
        if not self._alive:
            return f'no control group is {_wanted(self.group)} (group "{self.group.name}")'
        if self._left_out:
            return f'{self._left_out} control groups of "{self.group.name}" are left out: more than {_MOST} match'
        return ""

    def take(self, found: Sequence[Cgroup]) -> None:
        """Read these from now on."""
        self._known, self._left_out = list(found[:_MOST]), max(0, len(found) - _MOST)
        if len(self._lives) > 2 * _MOST:  # paths that never come back, as those of pods
            self._lives = {group.path: self._lives[group.path] for group in self._known if group.path in self._lives}

    def samples(self, names: Sequence[str]) -> Iterator[Sample]:
        """What the name holds, and what each of its control groups uses."""
        alive = [group for group in self._known if self._lives_on(group)]
        self._alive = len(alive)
        read = [(group, self._read(group)) for group in alive]
        counts = {_UP: bool(alive), _CGROUPS: len(alive), _RESTARTS: self._restarts, _READ_ERRORS: self._errors}
        for name, value in counts.items():
            yield Sample(name=name, value=float(value), labels={"group": self.group.name})
        for group, values in read:
            if "perfmon" in names:
                labels = {"group": self.group.name, "cgroup": group.path}
                yield Sample(name=_GENERATION, value=float(self._lives[group.path] % _MOST_EXACT), labels=labels)
                yield from _ours(values, self.group.name, group.path)
            if "cadvisor" in names:
                yield from _cadvisors(values, self.group.name, group.path)

    def _read(self, group: Cgroup) -> Mapping[Key, float]:
        values, errors = usage(group)
        self._errors += errors
        return values

    def _lives_on(self, group: Cgroup) -> bool:
        try:
            number = group.life()
        except OSError:
            return False
        if self._lives.setdefault(group.path, number) != number:
            self._lives[group.path] = number
            self._restarts += 1
        return True


_MOST_EXACT = 2**53  # a number of 64 bits is none that a float holds


def _wanted(group: Group) -> str:
    if group.itself:
        return "perfmon's own"
    field = next(field for field in ("path", "unit", "container") if getattr(group, field))
    return f'{field} "{getattr(group, field)}"'


def _ours(values: Mapping[Key, float], name: str, path: str) -> Iterator[Sample]:
    if ("cpu_seconds_total", "user") in values:
        values = {**values, ("cpu_usage_seconds_total", ""): _cpu_usage(values)}
    for (family, of), value in values.items():
        labels = {"group": name, "cgroup": path} | ({_OWN_LABEL[family]: of} if of else {})
        yield Sample(name=f"perfmon_cgroup_{family}", value=value, labels=labels)


def _cadvisors(values: Mapping[Key, float], name: str, path: str) -> Iterator[Sample]:
    labels = {"id": path, "name": name}
    for key, theirs in _CADVISOR.items():
        if key in values:
            yield Sample(name=theirs, value=values[key], labels=labels)
    if ("cpu_seconds_total", "user") in values:
        yield Sample(name=_CADVISOR_CPU, value=_cpu_usage(values), labels=labels)


def _cpu_usage(values: Mapping[Key, float]) -> float:
    return values["cpu_seconds_total", "user"] + values["cpu_seconds_total", "system"]
