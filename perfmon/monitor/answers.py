"""What `/api/v1` answers, as types: the API's document comes from these, and a test holds real answers against them.

The answers are put together as plain values, in turns (`perfmon.monitor.status`); these say what they are. Times are
Unix seconds, durations seconds; None where there is nothing yet.
"""

from typing import Literal

import msgspec

from perfmon.model import AlertState, Failure
from perfmon.monitor.components import State
from perfmon.monitor.deliveries import Said

__all__ = ["Alerts", "Days", "Group", "Run", "Runs", "Status", "Target", "Targets"]

Labels = dict[str, str]
Phases = dict[str, float]
Seen = Literal["up", "down", "unknown"]


class Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Part of an answer: these fields and no others."""


class Minute(Answer, frozen=True, kw_only=True):
    """One minute of a probe."""

    t: int  # when it began
    runs: int
    failures: int
    p50: float | None
    max: float | None


class MinuteInFull(Minute, frozen=True, kw_only=True):
    """One minute of a probe, with its tails."""

    p95: float | None
    p99: float | None


class Earlier(Answer, frozen=True, kw_only=True):
    """A try of a run that was repeated."""

    at: float
    duration_s: float
    reason: str | None
    message: str


class LastRun(Answer, frozen=True, kw_only=True):
    """The newest run."""

    at: float
    duration_s: float
    phases: Phases
    failure: Failure | None
    earlier: list[Earlier]


class LastFailure(Answer, frozen=True, kw_only=True):
    """The newest failure."""

    at: float
    reason: str
    phase: str
    message: str


class ProbeSeen(Answer, frozen=True, kw_only=True):
    """A probe of one target: its state and its last run; its hour is told in less detail or in more."""

    key: str
    probe: str
    target: str
    module: str
    kind: str
    labels: Labels
    group: str
    tags: list[str]
    interval_s: float
    state: Seen
    since: float | None
    runs: int
    failures: int
    last: LastRun | None
    last_failure: LastFailure | None
    p50: float | None
    p95: float | None
    p99: float | None
    success_ratio: float | None


class Probe(ProbeSeen, frozen=True, kw_only=True):
    """A probe of one target: its state, its last run, its hour."""

    history: list[Minute]


class SampleSeries(Answer, frozen=True, kw_only=True):
    """One series of a sampler with its hour, pairs of time and value."""

    name: str
    labels: Labels
    type: str
    unit: str
    value: float | None
    history: list[tuple[float, float]]


class Reading(Answer, frozen=True, kw_only=True):
    """How the last reading of a sampler went."""

    at: float
    duration_s: float
    error: str


class Sampler(Answer, frozen=True, kw_only=True):
    """A sampler, and its series."""

    key: str
    sampler: str
    kind: str
    labels: Labels
    interval_s: float
    state: Seen
    since: float | None
    last: Reading | None
    series: list[SampleSeries]


class Targets(Answer, frozen=True, kw_only=True):
    """Every probe and sampler."""

    now: float
    version: str
    started_at: float
    probes: list[Probe]
    samplers: list[Sampler]


class DayOfProbe(Answer, frozen=True, kw_only=True):
    """The last day of a probe: of each slot the share of runs that failed."""

    key: str
    failed: list[float | None]
    success_ratio: float | None


class Days(Answer, frozen=True, kw_only=True, rename={"from_": "from"}):
    """The last day of every probe."""

    now: float
    from_: float  # when the first slot began
    every_s: float
    probes: list[DayOfProbe]


class Told(Answer, frozen=True, kw_only=True):
    """What an address was told of an alert last, as often as it came to the same."""

    to: str
    said: Said
    starts_at: float
    outcome: str
    words: str
    at: float
    again_at: float
    times: int


class Waiting(Answer, frozen=True, kw_only=True):
    """What an address has yet to hear of an alert."""

    to: str
    statuses: list[str]
    retry_in_s: float | None
    trouble: str


class Alert(Answer, frozen=True, kw_only=True):
    """An alert, and what it says."""

    rule: str
    state: AlertState
    labels: Labels
    annotations: Labels
    active_at: float | None
    fired_at: float | None
    resolved_at: float | None
    value: float | None
    limit: float | None
    why: str
    held_back: str  # why a pending one does not fire although it is time, "" when it is not so


class AlertInFull(Alert, frozen=True, kw_only=True):
    """An alert, and who was told of it."""

    fingerprint: str
    told: list[Told]
    waiting: list[Waiting]


class Window(Answer, frozen=True, kw_only=True):
    """A maintenance window, open from the one time to the other."""

    name: str
    since: float
    until: float


class Alerts(Answer, frozen=True, kw_only=True):
    """Every alert that is pending, firing, or was resolved."""

    now: float
    mode: str
    maintenance: list[Window]  # open now
    maintenance_next: list[Window]
    alerts: list[AlertInFull]


class ConfirmShown(Answer, frozen=True, kw_only=True):
    """How a failed try is repeated."""

    attempts: int
    failures: int
    pause_s: float


class Failing(Answer, frozen=True, kw_only=True):
    """For how many runs in a row a probe fails, and since when."""

    runs: int
    since: float | None


class RecentRun(Answer, frozen=True, kw_only=True):
    """One of the newest runs."""

    at: float
    duration_s: float
    success: bool
    phases: Phases


class FailureSpell(Answer, frozen=True, kw_only=True):
    """Failures of one reason in one phase, one after the other, and the newest of them in full."""

    first_at: float
    last_at: float
    runs: int
    reason: str
    phase: str
    message: str
    evidence: Labels
    phases: Phases
    duration_s: float
    address: str


class Counted(Answer, frozen=True, kw_only=True):
    """Runs and failures of a period."""

    runs: int
    failures: int
    success_ratio: float | None


class Strip(Answer, frozen=True, kw_only=True, rename={"from_": "from"}):
    """Slots of equal length, oldest first, each with its runs and failures."""

    from_: float
    every_s: float
    counts: list[tuple[int, int]]


class CauseShown(Answer, frozen=True, kw_only=True):
    """One reason in one phase, and how many runs failed of it."""

    reason: str
    phase: str
    runs: int


class IncidentShown(Answer, frozen=True, kw_only=True):
    """From the first run that failed to the first that did not."""

    began_at: float
    last_at: float
    ended_at: float | None
    runs: int
    causes: list[CauseShown]
    message: str
    p95_before_s: float | None


class ProbeInFull(ProbeSeen, frozen=True, kw_only=True):
    """A probe with all that is known of it."""

    history: list[MinuteInFull]
    hostname: str
    timeout_s: float
    interval_failing_s: float | None
    confirm: ConfirmShown | None
    config: str
    failing: Failing
    recent: list[RecentRun]
    failure_spells: list[FailureSpell]
    uptime: dict[str, Counted]
    day: Strip
    days: Strip
    incidents: list[IncidentShown]


class Target(Answer, frozen=True, kw_only=True):
    """One probe, and the alerts about it; `probe` is null with a 404."""

    now: float
    version: str
    probe: ProbeInFull | None
    maintenance: list[Window]  # of the last day
    alerts: list[Alert]


class RunShown(Answer, frozen=True, kw_only=True):
    """One run; its figures are null when it is not kept any more."""

    id: str
    key: str
    probe: str
    target: str
    at: float
    duration_s: float | None
    success: bool | None
    phases: Phases | None
    reason: str | None


class Run(Answer, frozen=True, kw_only=True):
    """One run by its id; `run` is null with a 404."""

    now: float
    version: str
    run: RunShown | None


class Leak(Answer, frozen=True, kw_only=True):
    """What a rule that looks back for long says of a series, with the points and the line."""

    rule: str
    metric: str
    labels: Labels
    type: str
    unit: str
    window_s: float
    every_s: float
    level: str
    verdict: str
    why: str
    remarks: Labels
    slope: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int
    seconds_to_limit: float | None
    points: list[tuple[float, float]]
    restarts: list[float]
    cuts: list[float]
    lines: list[list[list[float]]]


class GroupShown(Sampler, frozen=True, kw_only=True):
    """A process group or control group."""

    group: str
    cgroup: str
    restarts: list[float]
    leaks: list[Leak]


class Group(Answer, frozen=True, kw_only=True):
    """One group, and the alerts about it; `group` is null with a 404, and where a name holds several `cgroups`."""

    now: float
    version: str
    group: GroupShown | None
    cgroups: list[str]
    alerts: list[Alert]


class RequestedRun(Answer, frozen=True, kw_only=True):
    """A run of `/probe`."""

    id: int
    at: float
    module: str
    target: str
    success: bool


class Runs(Answer, frozen=True, kw_only=True):
    """The latest runs of `/probe`."""

    runs: list[RequestedRun]


# ---------------------------------------------------------------- for outsiders


class Shares(Answer, frozen=True, kw_only=True):
    """Shares of runs that failed, oldest first; the last slot is under way."""

    every_s: float
    failed: list[float | None]


class Incident(Answer, frozen=True, kw_only=True):
    """A time in which a component failed; `ended_at` is null while it does."""

    began_at: int
    ended_at: int | None
    words: str


class Component(Answer, frozen=True, kw_only=True):
    """A probe, or one of its targets with `web.public.show_target`, which alone shows `target`."""

    key: str
    name: str
    target: str | msgspec.UnsetType = msgspec.UNSET
    group: str
    state: State
    uptime: dict[str, float | None]
    day: Shares
    days: Shares
    incidents: list[Incident]


class Announced(Answer, frozen=True, kw_only=True):
    """Maintenance of components, by their names."""

    since: int
    until: int
    names: list[str]


class Status(Answer, frozen=True, kw_only=True):
    """The page for outsiders."""

    title: str
    now: float
    state: State
    sentence: str
    maintenance: list[Announced]
    components: list[Component]
