"""Read the resources of groups of processes, through their restarts.

A group holds every process that matches what its entry names. Its counters add up what each life of a process used:
one that was born after the last look is counted from its birth, one that was there before from its first sight. So
they start at 0, take a restart or a pid given again without a step, and never go backwards. What children used that
lived between two readings is not lost.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from perfmon.cgroup_usage import memory_limit
from perfmon.cgroupfs import Cgroupfs, path_glob
from perfmon.clock import Clock
from perfmon.metrics import family_named
from perfmon.model import Labels, Sample
from perfmon.process_life import BORN, GAUGES, Key, Life, Moment, PssBudget, up_to
from perfmon.process_table import Look, in_words
from perfmon.procfs import ProcessStat, Procfs
from perfmon.profile.order import Order
from perfmon.short_form import Growth, Sentence, Short
from perfmon.units import Bytes, Duration, format_duration

__all__ = ["FAMILIES", "Config", "Group", "Reader", "check", "open"]


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which processes to add up under one name: those that match everything that is given."""

    name: Annotated[str, Meta(min_length=1, extra_json_schema={"x-public": True})]  # the label `group`
    pid: Annotated[int, Meta(ge=1)] | None = None
    pidfile: str = ""
    comm: str = ""  # exact name of the program, as `ps -o comm` shows it
    cmdline: str = ""  # regular expression, found anywhere in the arguments joined by spaces; never perfmon itself
    port: Annotated[int, Meta(ge=1, le=65535)] | None = None  # listens on this TCP port
    cgroup: str = ""  # glob of the path of its control group: /system.slice/nginx.service, /kubepods.slice/**
    itself: bool = msgspec.field(default=False, name="self")  # perfmon


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The groups, and how often to look for new members while the known ones live."""

    groups: Annotated[tuple[Group, ...], Meta(min_length=1)]
    discover_s: Annotated[Duration, Meta(gt=0)] = msgspec.field(default=10.0, name="discover")
    names: Annotated[tuple[Literal["perfmon", "process_exporter"], ...], Meta(min_length=1)] = ("perfmon",)
    pss: bool = False  # PSS and USS too: the kernel walks all pages while the process waits for its memory
    pss_max_bytes: Bytes = msgspec.field(
        default=2.0 * 1024**3, name="pss_max"
    )  # not of larger ones: some 25 ms per GiB
    pss_budget_s: Annotated[Duration, Meta(gt=0)] = msgspec.field(default=0.1, name="pss_budget")  # of one reading
    profile: bool = False  # memray into the largest process of a group when its memory leaks; it is slower meanwhile
    profile_every_s: Annotated[Duration, Meta(gt=0)] = msgspec.field(default=3600.0, name="profile_every")  # each
    profile_short_s: Annotated[Duration, Meta(ge=1, le=3600)] = msgspec.field(
        default=10.0, name="profile_short"
    )  # a capture
    profile_long_s: Annotated[Duration, Meta(ge=1, le=3600)] = msgspec.field(
        default=40.0, name="profile_long"
    )  # the next
    cgroups: str = "/sys/fs/cgroup"  # where limits of control groups are found: /host/sys/fs/cgroup in a container
    procfs: str = "/proc"  # where the kernel's files are mounted: /host/proc in a container


_OWN = (
    family_named("perfmon_process_up", "Whether at least one process of the group was found.", "group"),
    family_named("perfmon_process_processes", "Processes in the group, without zombies.", "group"),
    family_named(
        "perfmon_process_cpu_seconds_total",
        "CPU time that the group's processes used, by mode: user, system.",
        "group",
        "mode",
    ),
    family_named("perfmon_process_cpu_usage_seconds_total", "The same in both modes.", "group"),
    family_named(
        "perfmon_process_children_cpu_seconds_total",
        "CPU time of children that ended and were waited for, less what was counted of them as members of the group:"
        " those that lived too short to be seen, and those that do not match.",
        "group",
        "mode",
    ),
    family_named(
        "perfmon_process_resident_memory_bytes",
        "Memory in RAM, summed over processes: pages that they share count for each.",
        "group",
    ),
    family_named(
        "perfmon_process_shared_memory_bytes",
        "The part of the resident memory that is files and shared memory.",
        "group",
    ),
    family_named(
        "perfmon_process_private_memory_bytes",
        "Resident less shared memory: heap and stacks, where a leak shows.",
        "group",
    ),
    family_named("perfmon_process_virtual_memory_bytes", "Address space reserved, used or not.", "group"),
    family_named("perfmon_process_swap_memory_bytes", "Memory that was moved out to swap.", "group"),
    family_named(
        "perfmon_process_read_bytes_total",
        "Bytes fetched from storage devices, by children that were waited for as well.",
        "group",
    ),
    family_named(
        "perfmon_process_written_bytes_total",
        "Bytes sent to storage devices, by children that were waited for as well.",
        "group",
    ),
    family_named(
        "perfmon_process_page_faults_total",
        "Page faults by kind: major ones waited for a storage device, minor ones did not.",
        "group",
        "kind",
    ),
    family_named(
        "perfmon_process_context_switches_total",
        "Context switches of the processes' main threads (the kernel tells no sum over all threads) by kind:"
        " voluntary ones waited for something, involuntary ones made room for others.",
        "group",
        "kind",
    ),
    family_named("perfmon_process_open_fds", "Open file descriptors.", "group"),
    family_named(
        "perfmon_process_worst_fd_ratio",
        "Open file descriptors over the soft limit, of the process nearest to it.",
        "group",
    ),
    family_named("perfmon_process_fds_limit", "File descriptors that the processes may have open.", "group"),
    family_named(
        "perfmon_process_memory_limit_bytes",
        "What the group's memory cannot pass: the limit of the control group that all its processes are in, or of one"
        " above it; absent when there is none, or the machine has less.",
        "group",
    ),
    family_named(
        "perfmon_process_proportional_memory_bytes",
        "Resident memory in which a page that n processes share counts for 1/n of it (PSS); with `pss` only.",
        "group",
    ),
    family_named(
        "perfmon_process_unique_memory_bytes",
        "Resident memory that ending the processes would free (USS); with `pss` only.",
        "group",
    ),
    family_named(
        "perfmon_process_pss_skipped_total",
        "Processes that were too large to be asked for PSS, or for which no time was left in a reading.",
        "group",
    ),
    family_named("perfmon_process_threads", "Threads.", "group"),
    family_named(
        "perfmon_process_children", "Child processes at the last look for them, zombies and members included.", "group"
    ),
    family_named(
        "perfmon_process_oldest_start_timestamp_seconds",
        "When the oldest process of the group started, in Unix time.",
        "group",
    ),
    family_named(
        "perfmon_process_restarts_total", "Times that a process of the group ended and another took its place.", "group"
    ),
    family_named(
        "perfmon_process_read_errors_total",
        "Files of processes that could not be read; what they hold is absent, not 0.",
        "group",
    ),
)

_PROCESS_EXPORTER = {  # our name and own label's value; what process-exporter calls it, and its own label
    ("processes", ""): ("num_procs", {}),
    ("cpu_seconds_total", "user"): ("cpu_seconds_total", {"mode": "user"}),
    ("cpu_seconds_total", "system"): ("cpu_seconds_total", {"mode": "system"}),
    ("read_bytes_total", ""): ("read_bytes_total", {}),
    ("written_bytes_total", ""): ("write_bytes_total", {}),
    ("page_faults_total", "major"): ("major_page_faults_total", {}),
    ("page_faults_total", "minor"): ("minor_page_faults_total", {}),
    ("context_switches_total", "voluntary"): ("context_switches_total", {"ctxswitchtype": "voluntary"}),
    ("context_switches_total", "involuntary"): ("context_switches_total", {"ctxswitchtype": "nonvoluntary"}),
    ("resident_memory_bytes", ""): ("memory_bytes", {"memtype": "resident"}),
    ("virtual_memory_bytes", ""): ("memory_bytes", {"memtype": "virtual"}),
    ("swap_memory_bytes", ""): ("memory_bytes", {"memtype": "swapped"}),
    ("proportional_memory_bytes", ""): ("memory_bytes", {"memtype": "proportionalResident"}),
    ("open_fds", ""): ("open_filedesc", {}),
    ("worst_fd_ratio", ""): ("worst_fd_ratio", {}),
    ("oldest_start_timestamp_seconds", ""): ("oldest_start_time_seconds", {}),
    ("threads", ""): ("num_threads", {}),
}
_WITHOUT_COUNTERPART = ("up", "restarts_total", "read_errors_total", "pss_skipped_total")  # so they are always there

FAMILIES = (
    *_OWN,
    *(
        family_named(f"namedprocess_namegroup_{name}", "As process-exporter names it.", "groupname", *labels)
        for name, labels in {name: tuple(own) for name, own in _PROCESS_EXPORTER.values()}.items()
    ),
)

LIFE = "perfmon_process_oldest_start_timestamp_seconds"
CEILINGS = {
    **{
        f"perfmon_process_{what}_memory_bytes": "perfmon_process_memory_limit_bytes"
        for what in ("resident", "private", "proportional", "unique")
    },
    "perfmon_process_open_fds": "perfmon_process_fds_limit",
}


_SHORT: Mapping[str, Short] = {
    "memory": Sentence(
        alert="MemoryHigh", metric="perfmon_process_resident_memory_bytes", begin="last <=", unit="bytes"
    ),
    "memory_growth": Growth(alert="MemoryGrowth", metric="perfmon_process_resident_memory_bytes", unit="bytes"),
    "cpu": Sentence(
        alert="CpuHigh", metric="perfmon_process_cpu_usage_seconds_total", begin="rate <=", unit="ratio", over_s=60.0
    ),
    "fds": Sentence(alert="FdsHigh", metric="perfmon_process_open_fds", begin="last <=", unit=""),
    "threads": Sentence(alert="ThreadsHigh", metric="perfmon_process_threads", begin="last <=", unit=""),
}


def thresholds(config: Config) -> Mapping[str, Short]:
    """The words for `thresholds`; none where perfmon's own names are not exported, which they are about."""
    return _SHORT if "perfmon" in config.names else {}


def check(config: Config) -> Iterator[tuple[str, str]]:
    """Mistakes that types cannot express."""
    names = Counter(group.name for group in config.groups)
    for index, group in enumerate(config.groups):
        path = f"groups[{index}]"
        if names[group.name] > 1:
            yield f"{path}.name", f'"{group.name}" names {names[group.name]} groups, expected one of each name'
        for field, message in _mistakes(group):
            yield f"{path}.{field}" if field else path, message
    yield from _mistakes_of_profile(config)


def open(config: Config, clock: Clock) -> "Reader":  # noqa: A001 - the contract of all samplers
    """A reader that has looked at nothing yet."""
    return Reader(config, Procfs(config.procfs), clock)


class Reader:
    """Knows the members of each group between readings, and what they have used."""

    def __init__(self, config: Config, procfs: Procfs, clock: Clock) -> None:
        self.missing = ""
        self._procfs = procfs
        self._clock = clock
        self._cgroups = Cgroupfs(config.cgroups)
        self._crowds = [_Crowd(group) for group in config.groups]
        self._config = config
        self._next_look = self._next_search = clock.monotonic()
        self._table: Mapping[int, ProcessStat] | None = None  # the process table at the last look, None before it
        self._largest: Mapping[str, int] = {}  # by group: whom to profile
        self._children: Mapping[int, int] = {}  # how many of each parent's, at the last look

    def sample(self) -> list[Sample]:
        """All groups, found or not; LookupError when there is no process table at all."""
        view = Look(self._procfs, self._clock, before=self._table)
        for crowd in self._crowds:
            crowd.advance(view)
        began, used_s = self._clock.monotonic(), self._clock.cpu()
        looks = self._look_is_due(began)
        if looks:
            view.look()
        for crowd in self._crowds:
            if looks or crowd.is_named:
                crowd.find(view)
            if looks:
                crowd.find_limit(view, self._cgroups)
        if looks:
            self._remember(view, began, cost_s=self._clock.cpu() - used_s)
        self.missing = _sentence(self._crowds, len(view.unreadable))
        if self._config.profile:
            largest = {crowd.name: crowd.largest(view) for crowd in self._crowds}
            self._largest = {name: pid for name, pid in largest.items() if pid is not None}  # whole, for other threads
        if self._config.pss:
            self._ask_for_pss()
        return [sample for crowd in self._crowds for sample in crowd.samples(self._children, self._config.names)]

    def to_profile(self, metric: str, labels: Labels) -> Order | None:
        """The largest process of the group, when the series is one of its memory and the config gives leave."""
        pid = self._largest.get(labels.get("group") or labels.get("groupname", ""))
        if pid is None or not metric.endswith("_memory_bytes"):
            return None
        config = self._config
        short_s, long_s = int(config.profile_short_s), int(config.profile_long_s)
        return Order(pid=pid, every_s=config.profile_every_s, short_s=short_s, long_s=long_s)

    def _ask_for_pss(self) -> None:
        """Of the members of all groups in turn, until the time for it is used up."""
        budget = PssBudget(self._clock, largest_bytes=self._config.pss_max_bytes, time_s=self._config.pss_budget_s)
        for crowd in self._crowds:
            crowd.ask_for_pss(self._procfs, budget)

    def _look_is_due(self, now: float) -> bool:
        """Regularly, and sooner when somebody is sought, within what looking may cost."""
        return now >= self._next_look or (now >= self._next_search and any(crowd.seeks for crowd in self._crowds))

    def _remember(self, view: Look, began: float, *, cost_s: float) -> None:
        """Keep what the look saw, and set when to look next: it takes at most a hundredth of one core.

        Not of the time: on a busy machine most of it goes by while perfmon waits for its turn, and it would look ever
        more seldom when there is the most to see.
        """
        self._table = view.table
        self._children = Counter(stat.parent for stat in view.table.values())
        self._next_search = self._clock.monotonic() + 100 * cost_s
        self._next_look = max(began + self._config.discover_s, self._next_search)


# ---------------------------------------------------------------- one group


class _Crowd:
    """The processes of one group, and what they have used since perfmon first looked."""

    def __init__(self, group: Group) -> None:
        self.is_named = group.itself or group.pid is not None or group.pidfile != ""  # found without a process table
        self.name = group.name
        self._group = group
        self._pattern = re.compile(group.cmdline)
        self._cgroup = path_glob(group.cgroup) if group.cgroup else None
        self._pss_skipped: int | None = None  # until it is asked for
        self._limit: float | None = None  # of memory
        self._lives: dict[int, Life] = {}
        self._totals = dict(BORN)
        self._errors = 0
        self._restarts = 0
        self._vacant = 0  # lives that ended and have no successor yet
        self._lost = False  # somebody, since the last look
        self._remark = ""  # why there is nobody, where it is known

    @property
    def seeks(self) -> bool:
        """Whether a look at the process table may find what is wanted."""
        return not self.is_named and (self._lost or not self._alive())

    @property
    def missing(self) -> str:
        """What was looked for and not found; "" when it was."""
        if self._alive():
            return ""
        return f'no process matches {_wanted(self._group)}{self._remark} (group "{self._group.name}")'

    def advance(self, view: Look) -> None:
        """Take in what the known members used since the last reading, and let go of those that are no more."""
        lives = sorted(self._lives.values(), key=lambda life: life.reading.stat.start_s)  # parents before children
        readings = {life.pid: view.process(life.pid) for life in lives}
        for life in lives:
            if not life.is_of(readings[life.pid]):
                self._bury(life)
        for pid, life in self._lives.items():
            self._take(life, readings[pid])

    def find(self, view: Look) -> None:
        """Look who belongs to the group now."""
        found = {pid for pid in self._candidates(view) if self._matches(pid, view)}
        for life in self._alive():
            # A process whose main thread has ended goes on without a command line.
            if life.pid not in found and life.reading.stat.state not in "ZX":
                del self._lives[life.pid]
        for pid in sorted(found - self._lives.keys()):
            self._join(pid, view)
        self._lost = False

    def find_limit(self, view: Look, cgroups: Cgroupfs) -> None:
        """What their memory cannot pass: the limit of the one control group that all of them are in.

        The machine's memory is none: a leak that would take a month to fill it is a leak all the same.
        """
        told = {view.cgroup_file(life.pid) for life in self._alive()}
        limit = memory_limit(cgroups.of_process(told.pop())) if len(told) == 1 else None
        machine = None if limit is None else view.machine_bytes()
        self._limit = limit if machine is None or (limit is not None and limit < machine) else None

    def largest(self, view: Look) -> int | None:
        """The pid of the member with most private memory, perfmon aside, which cannot be looked into by itself."""
        others = [life for life in self._alive() if life.pid != view.own_pid]
        private = {life.pid: life.reading.values.get(("private_memory_bytes", ""), 0.0) for life in others}
        return max(private, key=private.__getitem__, default=None)

    def ask_for_pss(self, procfs: Procfs, budget: PssBudget) -> None:
        """Add PSS and USS to what is known of each member, as far as the budget goes."""
        self._pss_skipped = self._pss_skipped or 0
        for life in self._alive():
            errors = life.reading.errors
            life.reading, asked = budget.ask(procfs, life.reading)
            self._errors += life.reading.errors - errors
            self._pss_skipped += not asked

    def samples(self, children: Mapping[int, int], names: Sequence[str]) -> Iterator[Sample]:
        """What the group is and has used; `children` tells how many a pid has."""
        group = self._group.name
        for (name, own), value in self._values(children):
            if "perfmon" in names or name in _WITHOUT_COUNTERPART:
                labels = {"group": group} | ({_OWN_LABEL[name]: own} if own else {})
                yield Sample(name=f"perfmon_process_{name}", value=float(value), labels=labels)
            if "process_exporter" in names and (name, own) in _PROCESS_EXPORTER:
                theirs, label = _PROCESS_EXPORTER[name, own]
                labels = {"groupname": group, **label}
                yield Sample(name=f"namedprocess_namegroup_{theirs}", value=float(value), labels=labels)

    def _values(self, children: Mapping[int, int]) -> Iterator[tuple[Key, float]]:
        alive = self._alive()
        yield ("up", ""), bool(alive)
        yield ("processes", ""), len(alive)
        yield ("restarts_total", ""), self._restarts
        yield ("read_errors_total", ""), self._errors
        if self._pss_skipped is not None:
            yield ("pss_skipped_total", ""), self._pss_skipped
        for key, total in self._totals.items():
            if all(key in life.reading.values for life in alive):
                yield key, total
        yield ("cpu_usage_seconds_total", ""), sum(self._totals["cpu_seconds_total", mode] for mode in _MODES)
        if alive:
            yield from self._gauges(alive, children)

    # ------------------------------------------------------------ who belongs to it

    def _candidates(self, view: Look) -> Iterable[int]:
        group = self._group
        if group.pidfile:
            pid, self._remark = _pid_in(group.pidfile)
        else:
            pid = view.own_pid if group.itself else group.pid
        if self.is_named:
            return [] if pid is None else [pid]
        return view.table

    def _matches(self, pid: int, view: Look) -> bool:
        """The dear questions come last, for those that passed the others."""
        group, stat = self._group, view.stat(pid)
        return (
            stat is not None
            and (not group.comm or group.comm == stat.comm)
            and (not group.cmdline or (pid != view.own_pid and bool(self._pattern.search(view.command_line(pid)))))
            and (self._cgroup is None or any(map(self._cgroup.fullmatch, view.cgroups(pid))))
            and (group.port is None or view.listens(pid, group.port))
        )

    def _join(self, pid: int, view: Look) -> None:
        reading = view.process(pid)
        if reading is None or not reading.alive:
            return  # a zombie, or ended since it was found
        life = Life(reading, counted=_counted(reading, view.before), started_at=view.started_at(reading.stat))
        self._lives[pid] = life
        self._take(life, reading)
        if self._vacant:
            self._vacant -= 1
            self._restarts += 1

    # ------------------------------------------------------------ what it uses

    def _alive(self) -> list[Life]:
        return [life for life in self._lives.values() if life.reading.alive]

    def _take(self, life: Life, reading: Moment | None) -> None:
        assert reading is not None, "the dead are buried before the living are counted"
        for key, growth in life.grow(reading).items():
            self._totals[key] += growth
        life.settle()
        self._errors += reading.errors
        if not reading.alive:
            self._end(life)

    def _bury(self, life: Life) -> None:
        """Nothing stands under its pid any more: it was waited for, and its parent has what it used."""
        self._end(life)
        del self._lives[life.pid]
        parent = self._lives.get(life.reading.stat.parent)
        if parent is not None:
            parent.inherit(life)

    def _end(self, life: Life) -> None:
        if not life.ended:  # a zombie ends once, and is buried later
            life.ended = self._lost = True
            self._vacant += 1

    def _gauges(self, alive: list[Life], children: Mapping[int, int]) -> Iterator[tuple[Key, float]]:
        """Of all members or not at all: a sum that lacks one would be a smaller one, not a missing one."""
        for name, combine in GAUGES.items():
            if all((name, "") in life.reading.values for life in alive):
                yield (name, ""), combine(life.reading.values[name, ""] for life in alive)
        if self._limit is not None:
            yield ("memory_limit_bytes", ""), self._limit
        yield ("children", ""), sum(children.get(life.pid, 0) for life in alive)
        yield ("oldest_start_timestamp_seconds", ""), min(life.started_at for life in alive)


_MODES = ("user", "system")
_OWN_LABEL = {family.name.removeprefix("perfmon_process_"): family.labels[-1] for family in _OWN}


def _counted(reading: Moment, before: Mapping[int, ProcessStat] | None) -> Mapping[Key, float]:
    """Up to where a new member counts as counted, by the process table at the look before.

    One that was not in it was born since: all that it used belongs to the group. One that was in it was no member
    then (it had not yet become another program by exec, say): what it used since belongs to the group. At the very
    first look, what was used before is before our time.
    """
    if before is None:
        return reading.values
    former = before.get(reading.stat.pid)
    if former is None or former.start_s != reading.stat.start_s:
        return BORN
    return {**reading.values, **up_to(former)}


def _pid_in(path: str) -> tuple[int | None, str]:
    """What a pidfile says, and a remark for a person if that leads nowhere."""
    try:
        with Path(path).open("rb") as file:
            words = file.read(64).split()
    except OSError as error:
        return None, f" ({in_words(error)})"
    if words and words[0].isdigit():
        return int(words[0]), f" (it says {int(words[0])})"
    return None, " (it holds no pid)"


def _wanted(group: Group) -> str:
    """`comm "nginx" and port 80`."""
    texts = {"pidfile": group.pidfile, "comm": group.comm, "cmdline": group.cmdline, "cgroup": group.cgroup}
    numbers = {"pid": group.pid, "port": group.port}
    words = [f"{name} {number}" for name, number in numbers.items() if number is not None]
    words += [f'{name} "{text}"' for name, text in texts.items() if text]
    return " and ".join(["self"] * group.itself + words)


def _sentence(crowds: Iterable[_Crowd], unreadable: int) -> str:
    """What is missing of all groups, in words; processes that are hidden from us may be it."""
    missing = [crowd.missing for crowd in crowds if crowd.missing]
    if missing and unreadable:
        missing.append(f"{unreadable} processes may not be read")
    return "; ".join(missing)


# ---------------------------------------------------------------- mistakes in a config


def _mistakes_of_profile(config: Config) -> Iterator[tuple[str, str]]:
    """Whole seconds are what memray takes, and its processes those that perfmon itself sees."""
    for field, spans_s in (("profile_short", config.profile_short_s), ("profile_long", config.profile_long_s)):
        if spans_s != int(spans_s):
            yield field, f"expected whole seconds, got {format_duration(spans_s)}"
    if config.profile_long_s <= config.profile_short_s:
        yield "profile_long", f"expected more than profile_short, which is {format_duration(config.profile_short_s)}"
    if config.profile and config.procfs != "/proc":
        yield "profile", f'expected no profile with procfs "{config.procfs}": those processes have other pids here'


def _mistakes(group: Group) -> Iterator[tuple[str, str]]:
    """A field of the group, or "" for all of it, and what is wrong with it."""
    if not _wanted(group):
        yield (
            "",
            f"expected one of: pid, pidfile, comm, cmdline, port, cgroup, self; they say what {group.name} is",
        )
    if group.itself and _wanted(group) != "self":
        yield "self", "perfmon itself needs no other description"
    if group.pid is not None and group.pidfile:
        yield "pidfile", "expected pid or pidfile, not both"
    if len(group.comm.encode()) > _COMM_BYTES:
        kept = group.comm[:_COMM_BYTES]
        yield (
            "comm",
            f'"{group.comm}" never matches: the kernel keeps {_COMM_BYTES} bytes, expected "{kept}", or cmdline',
        )
    if group.cgroup and not group.cgroup.startswith("/"):
        yield "cgroup", f'"{group.cgroup}" does not begin with a slash, expected "/{group.cgroup}"'
    try:
        re.compile(group.cmdline)
    except re.error as error:
        yield "cmdline", f'"{group.cmdline}" is no regular expression: {error}'


_COMM_BYTES = 15  # TASK_COMM_LEN of include/linux/sched.h, less its closing zero
