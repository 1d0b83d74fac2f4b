"""The nouns of perfmon: frozen values that every part shares.

All instants (`at`, `since`, ...) are monotonic seconds (see `perfmon.clock`), all durations seconds,
all sizes bytes, unless the name says otherwise.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from perfmon.steps import Step

Labels = Mapping[str, str]

Phase = Literal["resolve", "connect", "tls", "request", "processing", "transfer"]
PHASES: tuple[Phase, ...] = ("resolve", "connect", "tls", "request", "processing", "transfer")

Reason = Literal[
    "dns_nxdomain",
    "dns_servfail",
    "dns_timeout",
    "connect_refused",
    "connect_timeout",
    "unreachable",
    "tls_expired",
    "tls_name_mismatch",
    "tls_untrusted",
    "tls_handshake",
    "timeout",
    "status",
    "header",
    "body",
    "json",
    "too_large",
    "short_body",
    "auth",
    "permission",
    "loading",
    "readonly",
    "query",
    "reset",
    "closed",
    "internal",
]


# ---------------------------------------------------------------- what is watched


class Module(msgspec.Struct, frozen=True, kw_only=True):
    """How to probe: a kind of probe with its settings. One module serves many targets."""

    name: str
    kind: str  # probes/<kind>.py
    timeout_s: float
    config: Any  # that kind's own `Config`


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What to probe, and under which names the result is known."""

    probe: str  # the name of the check it belongs to
    address: str  # as the user wrote it: URL, host:port
    hostname: str = ""  # Host header and TLS server name when they differ from the address
    labels: Labels = {}  # the user's own, exported on every series of this target; `group` among them
    tags: tuple[str, ...] = ()  # the user's words for it, not exported


class Confirm(msgspec.Struct, frozen=True, kw_only=True):
    """How a failed try is repeated before a run counts as failed: when `failures` of `attempts` tries failed."""

    attempts: int  # 2 or more, the first one included
    failures: int  # 2 to `attempts`
    pause_s: float = 0.0  # before each try but the first


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One target on a schedule: the unit that the daemon runs."""

    target: Target
    module: Module
    interval_s: float
    confirm: Confirm | None = None  # None = the first try is the result
    interval_failing_s: float | None = None  # how often it is rechecked while it fails; None = not at all
    depends_on: tuple[Labels, ...] = ()  # globs of labels; while all checks of one of them are down, its alerts wait

    @property
    def key(self) -> str:
        """Stable across reloads and restarts; the schedule's phase and the state hang on it."""
        return f"{self.target.probe}/{self.target.address}"

    @property
    def labels(self) -> dict[str, str]:
        """The labels of every series of this check."""
        return {"probe": self.target.probe, "target": self.target.address, "module": self.module.name} | dict(
            self.target.labels
        )


class Sampler(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of resources on a schedule."""

    name: str
    kind: str  # samplers/<kind>.py
    interval_s: float
    config: Any  # that kind's own `Config`
    labels: Labels = {}

    @property
    def key(self) -> str:
        """Stable across reloads and restarts."""
        return f"sampler/{self.name}"


# ---------------------------------------------------------------- what was seen


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a target failed, in the closed vocabulary `reason` x `phase` and in words."""

    reason: Reason
    phase: Phase | Literal[""]  # where it happened; "" when no phase applies
    message: str  # a sentence a person understands, lower case, no full stop
    evidence: Mapping[str, str] = {}  # "status": "503", "body": first bytes, "subject": ..., "not_after": ...


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a probe; of one that was repeated the last try, which decided, with those before it in `earlier`."""

    target: Target
    module: str
    at: float  # when it began
    duration_s: float  # the sum of the phases, for kinds that have them
    phases: Mapping[Phase, float]  # only those that were begun, in seconds
    facts: Mapping[str, float]  # "probe_http_status_code", 'probe_http_duration_seconds{phase="tls"}': see `fact_key`
    failure: Failure | None = None
    address: str = ""  # what the target's name led to, of the first hop; "" when nothing was looked up
    lines: Sequence[str] = ()  # what a run with `debug` had to say
    steps: Sequence[Step] = ()  # what a run with `debug` saw, for its explanation
    earlier: Sequence["Measurement"] = ()  # tries of the same run before this one, oldest first
    resent: int = 0  # requests that the transport sent again on its own, over connections that are kept
    recheck: bool = False  # between due times, since the last run failed: none of the runs that are counted

    @property
    def first(self) -> "Measurement":
        """The first try. Statistics of durations rest on it alone.

        A repetition comes only after a failure: with all tries, bad times would count more often, and with the one
        that succeeded in the end nothing would show what it took.
        """
        return self.earlier[0] if self.earlier else self

    @property
    def attempts(self) -> int:
        """How many tries the run took."""
        return 1 + len(self.earlier)

    @property
    def success(self) -> bool:
        """True when nothing failed."""
        return self.failure is None


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One value read by a sampler. `name` is a family that the sampler's file declares."""

    name: str
    value: float
    labels: Labels = {}


class Count(NamedTuple):
    """Runs, and how many of them failed."""

    runs: int
    failures: int


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """The recent past of one series, as a condition sees it; `values[i]` was taken at `times[i]`, ascending."""

    metric: str
    type: Literal["gauge", "counter", "flag"]  # a flag is 0 or 1 (a probe's `failed`)
    unit: Literal["seconds", "bytes", "ratio", ""]
    times: Sequence[float]  # now - span_s < t <= now
    values: Sequence[float]
    now: float
    span_s: float
    since: float  # when perfmon began to expect this series
    last_at: float | None  # the newest point ever seen, also one older than the window
    interval_s: float  # how often a point is due
    newer: tuple[float, float] | None = None  # time and value of a recheck after the last point; none of the points
    lows: Sequence[float] | None = None  # of a summarised past: the lowest value that `values[i]` stands for
    restarts: Sequence[float] = ()  # when what is watched began anew, where that is known
    cuts: Sequence[float] = ()  # when perfmon itself changed its level (by a profile), though it lived on
    gone_s: float = 0.0  # for so long its sampler has seen others, and not this one
    ceiling: float | None = None  # what the value cannot pass, where the sampler knows it
    requests: Sequence[float] = ()  # where a condition counts them: how many came until each of `times`, nan = unknown
    counts: Mapping[float, Count] = {}  # where a condition wants them: all there was in each span, in seconds
    beside: "Mapping[str, Window]" = {}  # other series that a condition wants to see too, by their metric

    def __len__(self) -> int:
        return len(self.values)


# ---------------------------------------------------------------- what is judged

Level = Literal["ok", "warning", "critical", "no_data", "waiting"]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a condition says of a window. `no_data` counts as broken; `waiting` leaves things as they are."""

    level: Level
    why: str  # in words: what was expected, what was seen
    value: float | None = None
    limit: float | None = None
    n: int = 0  # how many points the value rests on
    low: float | None = None  # interval of the value, where one can be given
    high: float | None = None
    p: float | None = None  # the chance of such a value without a cause, where one can be given
    facts: Mapping[str, float] = {}  # gauges to export, see `fact_key`; of families that the condition's file declares
    word: str = ""  # the condition's own word for what it found, where it has finer ones than the level
    remarks: Mapping[str, str] = {}  # what else there is to say, by a name that documentation knows: a leak's guards

    @property
    def broken(self) -> bool:
        """True when somebody should hear of it."""
        return self.level in ("warning", "critical", "no_data")


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What to demand of which series, and what to say when it does not hold."""

    name: str  # CamelCase by custom: it becomes the label `alertname`
    kind: str  # conditions/<kind>.py
    config: Any  # that kind's own `Config`
    select: Labels = {}  # label -> glob; a series must match all: {"probe": "shop-*"}
    metric: str = "failed"  # one of `selection.PROBE_METRICS`, or a sampler's family name
    for_s: float = 0.0  # broken this long, without a break, before it fires
    keep_firing_for_s: float = 0.0  # goes on firing this long after it was last broken
    reminder_s: float = 0.0  # how often receivers hear again while it fires, from its beginning on; 0 = never
    severity: Literal["critical", "warning", "info", "none"] = "critical"  # of a rule without two levels
    labels: Labels = {}
    annotations: Labels = {}  # summary, description, runbook_url, dashboard_url; {{label}} is filled in


AlertState = Literal["inactive", "pending", "firing"]


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One rule on one series. Its labels are its identity, here and in Alertmanager."""

    rule: str
    labels: Labels  # alertname, severity and the series' own; never a value that changes
    series: str  # key of the series it is about
    state: AlertState = "inactive"
    active_at: float | None = None  # when it was first seen broken, of this episode
    fired_at: float | None = None
    broken_at: float | None = None  # when it was last seen broken
    resolved_at: float | None = None  # set when it went from firing to inactive; kept until the next episode
    verdict: Verdict | None = None
    annotations: Labels = {}
    notes: Labels = {}  # annotations that were found out in this episode, not written in the rule
    held: str = ""  # why a pending one does not fire although it is time, in words


class Receiver(msgspec.Struct, frozen=True, kw_only=True):
    """Where alerts go."""

    name: str
    kind: str  # receivers/<kind>.py
    config: Any  # that kind's own `Config`
    send_resolved: bool = True  # whether it hears that an alert is over
    reminder_s: float = 0.0  # how often it hears again of what still fires; 0 = only of changes


# ---------------------------------------------------------------- facts


def fact_key(name: str, /, **labels: str) -> str:
    """The key of a fact: its family, and its own labels as the exposition format writes them.

    >>> fact_key("probe_http_duration_seconds", phase="tls")
    'probe_http_duration_seconds{phase="tls"}'
    """
    if not labels:
        return name
    return f"{name}{{{render_labels(labels)}}}"


def render_labels(labels: Labels) -> str:
    r"""`a="1",b="x\"y"`, escaped as the text format demands; no braces."""
    return ",".join(f'{name}="{escape(value)}"' for name, value in labels.items())


def escape(value: str) -> str:
    """A label value for the text format: backslash, quote and newline escaped, invalid surrogates replaced."""
    clean = value.encode("utf-8", "replace").decode()
    return clean.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
