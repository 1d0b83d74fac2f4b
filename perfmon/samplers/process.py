"""Read the resources of groups of processes, through their restarts.

A group holds every process that matches what its entry names. Its counters add up what each life of a process used:
one that was born after the last look is counted from its birth, one that was there before from its first sight. So
they start at 0, take a restart or a pid given again without a step, and never go backwards.

Two numbers of a process rise when a child of its ends and is waited for: the CPU time of its children, and, less well
known, the bytes it read and wrote. What was counted for such a child as a member is taken off again, so nothing
counts twice, and what children used that lived between two readings is not lost.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from perfmon.clock import Clock, to_wall
from perfmon.metrics import family_named
from perfmon.model import Sample
from perfmon.procfs import PAGE_BYTES, ProcessStat, Procfs
from perfmon.units import Duration

__all__ = ["FAMILIES", "Config", "Group", "Reader", "check", "open"]


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which processes to add up under one name: those that match everything that is given."""

    name: Annotated[str, Meta(min_length=1, extra_json_schema={"x-public": True})]  # the label `group`
    pid: Annotated[int, Meta(ge=1)] | None = None
    pidfile: str = ""
    comm: str = ""  # exact name of the program, as `ps -o comm` shows it
    cmdline: str = ""  # regular expression, found anywhere in the arguments joined by spaces; never perfmon itself
    port: Annotated[int, Meta(ge=1, le=65535)] | None = None  # listens on this TCP port
    itself: bool = msgspec.field(default=False, name="self")  # perfmon


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The groups, and how often to look for new members while the known ones live."""

    groups: Annotated[tuple[Group, ...], Meta(min_length=1)]
    discover_s: Annotated[Duration, Meta(gt=0)] = msgspec.field(default=10.0, name="discover")
    procfs: str = "/proc"  # where the kernel's files are mounted: /host/proc in a container


_UP = "perfmon_process_up"
_PROCESSES = "perfmon_process_processes"
_CPU = "perfmon_process_cpu_seconds_total"
_CHILDREN_CPU = "perfmon_process_children_cpu_seconds_total"
_RESIDENT = "perfmon_process_resident_memory_bytes"
_SHARED = "perfmon_process_shared_memory_bytes"
_PRIVATE = "perfmon_process_private_memory_bytes"
_VIRTUAL = "perfmon_process_virtual_memory_bytes"
_SWAP = "perfmon_process_swap_memory_bytes"
_READ = "perfmon_process_read_bytes_total"
_WRITTEN = "perfmon_process_written_bytes_total"
_FAULTS = "perfmon_process_page_faults_total"
_SWITCHES = "perfmon_process_context_switches_total"
_OPEN_FDS = "perfmon_process_open_fds"
_FD_RATIO = "perfmon_process_worst_fd_ratio"
_THREADS = "perfmon_process_threads"
_CHILDREN = "perfmon_process_children"
_STARTED = "perfmon_process_oldest_start_timestamp_seconds"
_RESTARTS = "perfmon_process_restarts_total"
_READ_ERRORS = "perfmon_process_read_errors_total"


FAMILIES = (
    family_named(_UP, "Whether at least one process of the group was found.", "group"),
    family_named(_PROCESSES, "Processes in the group, without zombies.", "group"),
    family_named(_CPU, "CPU time that the group's processes used, by mode: user, system.", "group", "mode"),
    family_named(
        _CHILDREN_CPU,
        "CPU time of children that ended and were waited for, less what was counted of them as members of the group:"
        " those that lived too short to be seen, and those that do not match.",
        "group",
        "mode",
    ),
    family_named(_RESIDENT, "Memory in RAM, summed over processes: pages that they share count for each.", "group"),
    family_named(_SHARED, "The part of the resident memory that is files and shared memory.", "group"),
    family_named(_PRIVATE, "Resident less shared memory: heap and stacks, where a leak shows.", "group"),
    family_named(_VIRTUAL, "Address space reserved, used or not.", "group"),
    family_named(_SWAP, "Memory that was moved out to swap.", "group"),
    family_named(_READ, "Bytes fetched from storage devices, by children that were waited for as well.", "group"),
    family_named(_WRITTEN, "Bytes sent to storage devices, by children that were waited for as well.", "group"),
    family_named(
        _FAULTS, "Page faults by kind: major ones waited for a storage device, minor ones did not.", "group", "kind"
    ),
    family_named(
        _SWITCHES,
        "Context switches of the processes' main threads (the kernel tells no sum over all threads) by kind:"
        " voluntary ones waited for something, involuntary ones made room for others.",
        "group",
        "kind",
    ),
    family_named(_OPEN_FDS, "Open file descriptors.", "group"),
    family_named(_FD_RATIO, "Open file descriptors over the soft limit, of the process nearest to it.", "group"),
    family_named(_THREADS, "Threads.", "group"),
    family_named(_CHILDREN, "Child processes at the last look for them, zombies and members included.", "group"),
    family_named(_STARTED, "When the oldest process of the group started, in Unix time.", "group"),
    family_named(_RESTARTS, "Times that a process of the group ended and another took its place.", "group"),
    family_named(_READ_ERRORS, "Files of processes that could not be read; what they hold is absent, not 0.", "group"),
)


def check(config: Config) -> Iterator[tuple[str, str]]:
    """Mistakes that types cannot express."""
    names = Counter(group.name for group in config.groups)
    for index, group in enumerate(config.groups):
        path = f"groups[{index}]"
        if names[group.name] > 1:
            yield f"{path}.name", f'"{group.name}" names {names[group.name]} groups, expected one of each name'
        for field, message in _mistakes(group):
            yield f"{path}.{field}" if field else path, message


def open(config: Config, clock: Clock) -> "Reader":  # noqa: A001 - the contract of all samplers
    """A reader that has looked at nothing yet."""
    return Reader(config, Procfs(config.procfs), clock)


class Reader:
    """Knows the members of each group between readings, and what they have used."""

    def __init__(self, config: Config, procfs: Procfs, clock: Clock) -> None:
        self.missing = ""
        self._procfs = procfs
        self._clock = clock
        self._crowds = [_Crowd(group) for group in config.groups]
        self._discover_s = config.discover_s
        self._next_look = self._next_search = clock.monotonic()
        self._table: Mapping[int, ProcessStat] | None = None  # the process table at the last look, None before it
        self._children: Mapping[int, int] = {}  # how many of each parent's, at the last look

    def sample(self) -> list[Sample]:
        """All groups, found or not; LookupError when there is no process table at all."""
        view = _View(self._procfs, self._clock, before=self._table)
        for crowd in self._crowds:
            crowd.advance(view)
        began = self._clock.monotonic()
        looks = self._look_is_due(began)
        if looks:
            view.look()
        for crowd in self._crowds:
            if looks or crowd.is_named:
                crowd.find(view)
        if looks:
            self._remember(view, began)
        self.missing = _sentence(self._crowds, len(view.unreadable))
        return [sample for crowd in self._crowds for sample in crowd.samples(self._children)]

    def _look_is_due(self, now: float) -> bool:
        """Regularly, and sooner when somebody is sought, within what looking may cost."""
        return now >= self._next_look or (now >= self._next_search and any(crowd.seeks for crowd in self._crowds))

    def _remember(self, view: "_View", began: float) -> None:
        """Keep what the look saw, and set when to look next: it takes at most a hundredth of one core."""
        self._table = view.table
        self._children = Counter(stat.parent for stat in view.table.values())
        now = self._clock.monotonic()
        self._next_search = now + 100 * (now - began)
        self._next_look = max(began + self._discover_s, self._next_search)


# ---------------------------------------------------------------- one process at one moment

_Key = tuple[str, str]  # a family, and the value of its own label `mode` or `kind`, "" when it has none

_USER, _SYSTEM = (_CPU, "user"), (_CPU, "system")
_CHILDREN_USER, _CHILDREN_SYSTEM = (_CHILDREN_CPU, "user"), (_CHILDREN_CPU, "system")
_BYTES_READ, _BYTES_WRITTEN = (_READ, ""), (_WRITTEN, "")

_BORN: Mapping[_Key, float] = {
    _USER: 0.0,
    _SYSTEM: 0.0,
    _CHILDREN_USER: 0.0,
    _CHILDREN_SYSTEM: 0.0,
    _BYTES_READ: 0.0,
    _BYTES_WRITTEN: 0.0,
    (_FAULTS, "major"): 0.0,
    (_FAULTS, "minor"): 0.0,
    (_SWITCHES, "voluntary"): 0.0,
    (_SWITCHES, "involuntary"): 0.0,
}
"""The counters of a process at its birth."""

_GAUGES: Mapping[str, Callable[[Iterable[float]], float]] = {
    _RESIDENT: sum,
    _SHARED: sum,
    _PRIVATE: sum,
    _VIRTUAL: sum,
    _SWAP: sum,
    _OPEN_FDS: sum,
    _FD_RATIO: max,
    _THREADS: sum,
}
"""How the values of several processes become that of their group."""

_INHERITED: Mapping[_Key, tuple[_Key, ...]] = {
    _CHILDREN_USER: (_USER, _CHILDREN_USER),
    _CHILDREN_SYSTEM: (_SYSTEM, _CHILDREN_SYSTEM),
    _BYTES_READ: (_BYTES_READ,),
    _BYTES_WRITTEN: (_BYTES_WRITTEN,),
}
"""What a process takes over from a child that it waited for (`wait_task_zombie` in the kernel's exit.c), by what of
the child it is made of. /proc/PID/io does not tell a process's own bytes from those of such children."""


class _Reading(msgspec.Struct, frozen=True):
    """A process at one moment: every value that could be read."""

    stat: ProcessStat
    alive: bool  # False for a zombie, and for one that ended while it was being read
    values: Mapping[_Key, float]
    errors: int  # files that could not be read


def _read(procfs: Procfs, pid: int) -> _Reading:
    """All of a process; FileNotFoundError or ProcessLookupError when there is none."""
    stat = procfs.stat(pid)
    values = _of_stat(stat)
    alive, errors = not stat.ended, 0
    for part in (_memory, _switches_and_swap, _transfers, _descriptors) if alive else ():
        try:
            values |= part(procfs, pid)
        except (FileNotFoundError, ProcessLookupError):
            alive = alive and _goes_on(procfs, stat)  # if so, this kernel keeps no such file: absent, and no error
        except OSError:
            errors += 1
    return _Reading(stat, alive, values, errors)


def _goes_on(procfs: Procfs, stat: ProcessStat) -> bool:
    try:
        return procfs.stat(stat.pid).start_s == stat.start_s
    except (FileNotFoundError, ProcessLookupError):
        return False


def _of_stat(stat: ProcessStat) -> dict[_Key, float]:
    return {
        _USER: stat.user_s,
        _SYSTEM: stat.system_s,
        _CHILDREN_USER: stat.children_user_s,
        _CHILDREN_SYSTEM: stat.children_system_s,
        (_FAULTS, "major"): stat.major_faults,
        (_FAULTS, "minor"): stat.minor_faults,
        (_THREADS, ""): stat.threads,
    }


def _memory(procfs: Procfs, pid: int) -> dict[_Key, float]:
    """From `statm`; never from `smaps`, for which the kernel walks every page and a large process stands still."""
    size, resident, shared, *_ = (int(pages) * PAGE_BYTES for pages in procfs.read(f"{pid}/statm").split())
    return {
        (_VIRTUAL, ""): size,
        (_RESIDENT, ""): resident,
        (_SHARED, ""): shared,
        (_PRIVATE, ""): resident - shared,
    }


def _switches_and_swap(procfs: Procfs, pid: int) -> dict[_Key, float]:
    """A kernel thread has no line for swap."""
    lines = {
        (_SWITCHES, "voluntary"): b"\nvoluntary_ctxt_switches:",
        (_SWITCHES, "involuntary"): b"\nnonvoluntary_ctxt_switches:",
        (_SWAP, ""): b"\nVmSwap:",  # in kB
    }
    found = _numbers(procfs.read(f"{pid}/status"), lines)
    return found | {key: 1024 * number for key, number in found.items() if key == (_SWAP, "")}


def _transfers(procfs: Procfs, pid: int) -> dict[_Key, float]:
    lines = {_BYTES_READ: b"\nread_bytes:", _BYTES_WRITTEN: b"\nwrite_bytes:"}
    return _numbers(procfs.read(f"{pid}/io"), lines)


def _descriptors(procfs: Procfs, pid: int) -> dict[_Key, float]:
    count = procfs.descriptors(pid)
    _, _, tail = procfs.read(f"{pid}/limits").partition(b"Max open files")
    soft = tail.split(maxsplit=1)[0]
    return {(_OPEN_FDS, ""): count, (_FD_RATIO, ""): 0.0 if soft == b"unlimited" else count / max(1, int(soft))}


def _numbers(raw: bytes, lines: Mapping[_Key, bytes]) -> dict[_Key, float]:
    """The numbers that stand after these words, where they do: no need to split the 60 lines of `status` for three."""
    places = {key: raw.find(line) + len(line) for key, line in lines.items() if line in raw}
    return {key: int(raw[place:].split(maxsplit=1)[0]) for key, place in places.items()}


# ---------------------------------------------------------------- one look around


_T = TypeVar("_T")


class _View:
    """What one call of `sample` sees: a file is read once, however many groups ask for it."""

    def __init__(self, procfs: Procfs, clock: Clock, *, before: Mapping[int, ProcessStat] | None) -> None:
        self.before = before  # the process table at the look before, None when there was none
        self.table: dict[int, ProcessStat] = {}  # the process table, once `look` was called
        self.unreadable: set[int] = set()  # pids that are hidden from us
        self._procfs = procfs
        self._clock = clock
        self._readings: dict[int, _Reading | None] = {}
        self._command_lines: dict[int, str] = {}
        self._listeners: dict[int, set[str]] = {}

    @cached_property
    def own_pid(self) -> int | None:
        """perfmon's, as this process table counts; None when it is not in it."""
        return self._procfs.own_pid()

    def look(self) -> None:
        """Read the process table; LookupError when there is none."""
        try:
            pids = self._procfs.pids()
        except OSError as error:
            raise LookupError(f'no process table at "{self._procfs.path}": {_words(error)}') from error
        if not pids:
            raise LookupError(f'no process table at "{self._procfs.path}": no process in it')
        self.table = {pid: stat for pid in pids if (stat := self.stat(pid)) is not None}

    def process(self, pid: int) -> _Reading | None:
        """All of a process, None when there is none."""
        if pid not in self._readings:
            self._readings[pid] = self._unless_gone(pid, partial(_read, self._procfs, pid))
        return self._readings[pid]

    def stat(self, pid: int) -> ProcessStat | None:
        """What the process table holds of a process, None when there is none."""
        reading = self._readings.get(pid)
        known = reading.stat if reading else self.table.get(pid)
        return known or self._unless_gone(pid, partial(self._procfs.stat, pid))

    def command_line(self, pid: int) -> str:
        """Its arguments joined by spaces, "" when there is none."""
        if pid not in self._command_lines:
            self._command_lines[pid] = self._unless_gone(pid, partial(self._procfs.command_line, pid)) or ""
        return self._command_lines[pid]

    def listens(self, pid: int, port: int) -> bool:
        """Whether it has a socket open that listens on this TCP port."""
        if port not in self._listeners:
            self._listeners[port] = self._procfs.listeners(port)
        sockets = self._listeners[port]
        return bool(sockets and self._unless_gone(pid, partial(self._procfs.holds, pid, sockets)))

    def started_at(self, stat: ProcessStat) -> float:
        """Unix time of a start. Asked once for each life: asked again it would tremble with the wall clock."""
        age_s = self._procfs.uptime_s() - stat.start_s
        return to_wall(self._clock, self._clock.monotonic() - age_s)

    def _unless_gone(self, pid: int, read: Callable[[], _T]) -> _T | None:
        try:
            return read()
        except (FileNotFoundError, ProcessLookupError):
            return None  # it ended since its pid was heard of
        except PermissionError:
            self.unreadable.add(pid)
            return None


def _words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


# ---------------------------------------------------------------- one process from birth to end


class _Life:
    """A process from its first sight in the group to its end; a later one with the same pid is another life."""

    def __init__(self, reading: _Reading, *, counted: Mapping[_Key, float], started_at: float) -> None:
        self.reading = reading
        self.started_at = started_at
        self.ended = False
        self.counted = counted  # the counters up to which it is counted
        self._owed: dict[_Key, float] = {}
        self._owed_for = 0  # readings

    @property
    def pid(self) -> int:
        """Free again when this life is over."""
        return self.reading.stat.pid

    def is_of(self, reading: _Reading | None) -> bool:
        """Whether what stands under its pid now is still this life."""
        return reading is not None and reading.stat.start_s == self.reading.stat.start_s

    def grow(self, reading: _Reading) -> dict[_Key, float]:
        """What it used since it was last counted. What cannot be read for a while is counted when it can be again."""
        growth = {
            key: self._less_owed(key, reading.values[key] - self.counted[key])
            for key in _BORN
            if key in reading.values and key in self.counted
        }
        self.counted = {**self.counted, **reading.values}
        self.reading = reading
        return growth

    def inherit(self, child: "_Life") -> None:
        """A child ended that was counted as a member: its counters will show in this process too.

        Now, or in the next reading: parents are read first, and the child may have gone just after.
        """
        for key, parts in _INHERITED.items():
            self._owed[key] = self._owed.get(key, 0.0) + sum(child.counted.get(part, 0.0) for part in parts)
        self._owed_for = 2

    def _less_owed(self, key: _Key, growth: float) -> float:
        """Never below 0, whatever the kernel's counter does."""
        owed = self._owed.get(key, 0.0)
        if owed:
            self._owed[key] = max(0.0, owed - growth)
        return max(0.0, growth - owed)

    def settle(self) -> None:
        """Forget what did not show in two readings: a parent that ignores SIGCHLD inherits nothing."""
        self._owed_for -= 1
        if self._owed_for <= 0:
            self._owed.clear()


# ---------------------------------------------------------------- one group


class _Crowd:
    """The processes of one group, and what they have used since perfmon first looked."""

    def __init__(self, group: Group) -> None:
        self.is_named = group.itself or group.pid is not None or group.pidfile != ""  # found without a process table
        self._group = group
        self._pattern = re.compile(group.cmdline)
        self._lives: dict[int, _Life] = {}
        self._totals = dict(_BORN)
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

    def advance(self, view: _View) -> None:
        """Take in what the known members used since the last reading, and let go of those that are no more."""
        lives = sorted(self._lives.values(), key=lambda life: life.reading.stat.start_s)  # parents before children
        readings = {life.pid: view.process(life.pid) for life in lives}
        for life in lives:
            if not life.is_of(readings[life.pid]):
                self._bury(life)
        for pid, life in self._lives.items():
            self._take(life, readings[pid])

    def find(self, view: _View) -> None:
        """Look who belongs to the group now."""
        found = {pid for pid in self._candidates(view) if self._matches(pid, view)}
        for life in self._alive():
            # A process whose main thread has ended goes on without a command line.
            if life.pid not in found and life.reading.stat.state not in "ZX":
                del self._lives[life.pid]
        for pid in sorted(found - self._lives.keys()):
            self._join(pid, view)
        self._lost = False

    def samples(self, children: Mapping[int, int]) -> Iterator[Sample]:
        """What the group is and has used; `children` tells how many a pid has."""
        alive = self._alive()
        yield self._sample(_UP, bool(alive))
        yield self._sample(_PROCESSES, len(alive))
        yield self._sample(_RESTARTS, self._restarts)
        yield self._sample(_READ_ERRORS, self._errors)
        for key, total in self._totals.items():
            if all(key in life.reading.values for life in alive):
                yield self._sample(key[0], total, of=key[1])
        if alive:
            yield from self._gauges(alive, children)

    # ------------------------------------------------------------ who belongs to it

    def _candidates(self, view: _View) -> Iterable[int]:
        group = self._group
        if group.pidfile:
            pid, self._remark = _pid_in(group.pidfile)
        else:
            pid = view.own_pid if group.itself else group.pid
        if self.is_named:
            return [] if pid is None else [pid]
        return view.table

    def _matches(self, pid: int, view: _View) -> bool:
        """The dear questions come last, for those that passed the others."""
        group, stat = self._group, view.stat(pid)
        return (
            stat is not None
            and (not group.comm or group.comm == stat.comm)
            and (not group.cmdline or (pid != view.own_pid and bool(self._pattern.search(view.command_line(pid)))))
            and (group.port is None or view.listens(pid, group.port))
        )

    def _join(self, pid: int, view: _View) -> None:
        reading = view.process(pid)
        if reading is None or not reading.alive:
            return  # a zombie, or ended since it was found
        life = _Life(reading, counted=_counted(reading, view.before), started_at=view.started_at(reading.stat))
        self._lives[pid] = life
        self._take(life, reading)
        if self._vacant:
            self._vacant -= 1
            self._restarts += 1

    # ------------------------------------------------------------ what it uses

    def _alive(self) -> list[_Life]:
        return [life for life in self._lives.values() if life.reading.alive]

    def _take(self, life: _Life, reading: _Reading | None) -> None:
        assert reading is not None, "the dead are buried before the living are counted"
        for key, growth in life.grow(reading).items():
            self._totals[key] += growth
        life.settle()
        self._errors += reading.errors
        if not reading.alive:
            self._end(life)

    def _bury(self, life: _Life) -> None:
        """Nothing stands under its pid any more: it was waited for, and its parent has what it used."""
        self._end(life)
        del self._lives[life.pid]
        parent = self._lives.get(life.reading.stat.parent)
        if parent is not None:
            parent.inherit(life)

    def _end(self, life: _Life) -> None:
        if not life.ended:  # a zombie ends once, and is buried later
            life.ended = self._lost = True
            self._vacant += 1

    def _gauges(self, alive: list[_Life], children: Mapping[int, int]) -> Iterator[Sample]:
        """Of all members or not at all: a sum that lacks one would be a smaller one, not a missing one."""
        for name, combine in _GAUGES.items():
            if all((name, "") in life.reading.values for life in alive):
                yield self._sample(name, combine(life.reading.values[name, ""] for life in alive))
        yield self._sample(_CHILDREN, sum(children.get(life.pid, 0) for life in alive))
        yield self._sample(_STARTED, min(life.started_at for life in alive))

    def _sample(self, name: str, value: float, *, of: str = "") -> Sample:
        labels = {"group": self._group.name}
        return Sample(name=name, value=float(value), labels=labels | {_OWN_LABEL[name]: of} if of else labels)


_OWN_LABEL = {family.name: family.labels[-1] for family in FAMILIES}


def _counted(reading: _Reading, before: Mapping[int, ProcessStat] | None) -> Mapping[_Key, float]:
    """Up to where a new member counts as counted, by the process table at the look before.

    One that was not in it was born since: all that it used belongs to the group. One that was in it was no member
    then (it had not yet become another program by exec, say): what it used since belongs to the group. At the very
    first look, what was used before is before our time.
    """
    if before is None:
        return reading.values
    former = before.get(reading.stat.pid)
    if former is None or former.start_s != reading.stat.start_s:
        return _BORN
    return {**reading.values, **_of_stat(former)}


def _pid_in(path: str) -> tuple[int | None, str]:
    """What a pidfile says, and a remark for a person if that leads nowhere."""
    try:
        with Path(path).open("rb") as file:
            words = file.read(64).split()
    except OSError as error:
        return None, f" ({_words(error)})"
    if words and words[0].isdigit():
        return int(words[0]), f" (it says {int(words[0])})"
    return None, " (it holds no pid)"


def _wanted(group: Group) -> str:
    """`comm "nginx" and port 80`."""
    texts = {"pidfile": group.pidfile, "comm": group.comm, "cmdline": group.cmdline}
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


def _mistakes(group: Group) -> Iterator[tuple[str, str]]:
    """A field of the group, or "" for all of it, and what is wrong with it."""
    if not _wanted(group):
        yield "", f"expected one of: pid, pidfile, comm, cmdline, port, self; they say which processes {group.name} is"
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
    try:
        re.compile(group.cmdline)
    except re.error as error:
        yield "cmdline", f'"{group.cmdline}" is no regular expression: {error}'


_COMM_BYTES = 15  # TASK_COMM_LEN of include/linux/sched.h, less its closing zero
