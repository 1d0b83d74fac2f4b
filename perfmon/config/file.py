"""The sections of a configuration file, as a user writes them.

Each setting's type, limits, default and description stand here once: the reader (`perfmon.config`) and the JSON Schema
for editors (`perfmon.config.schema`) both come from these structs. What a kind adds is in that kind's own `Config`.
"""

from typing import Annotated, Literal

import msgspec

from perfmon.units import Duration

__all__ = [
    "DEFAULT_TIMEOUT_S",
    "KINDS",
    "AlertingSection",
    "ConfirmSection",
    "DiscoverySection",
    "File",
    "HeartbeatSection",
    "LimitsSection",
    "LogSection",
    "MaintenanceSection",
    "ModuleSection",
    "Name",
    "ProbeSection",
    "ProbeSettings",
    "PublicSection",
    "ReceiverSection",
    "RuleSection",
    "SamplerSection",
    "ScenarioSection",
    "StateSection",
    "TargetSection",
    "WebSection",
]

DEFAULT_TIMEOUT_S = 5.0
"""Of a module that sets none; of a check that runs more often, its interval."""


def _public(expected: str, pattern: str) -> msgspec.Meta:
    """A text that is shown in labels and on pages, so no secret may stand in it."""
    return msgspec.Meta(pattern=pattern, extra_json_schema={"x-public": True, "x-expected": expected})


Name = Annotated[str, _public('a name of 1 to 100 characters without "/"', r"^[^\s/][^/\x00-\x1f\x7f]{0,99}$")]
Address = Annotated[str, _public("an address without blanks around it", r"^\S([^\x00-\x1f\x7f]{0,2000}\S)?$")]
LabelName = Annotated[
    str,
    _public('a label name (letters, digits and "_", no digit first, no "__")', r"^(?!__)[a-zA-Z_][a-zA-Z0-9_]*$"),
]
Tag = Annotated[str, _public("a tag of 1 to 60 characters without blanks or commas", r"^[^\s,\x00-\x1f\x7f]{1,60}$")]
PublicText = Annotated[str, msgspec.Meta(extra_json_schema={"x-public": True})]
Labels = dict[LabelName, PublicText]
Thresholds = dict[PublicText, PublicText]
_PORT = "([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
Listen = Annotated[
    str,
    _public(
        'an address to listen on: "HOST:PORT", "[IPV6]:PORT" or ":PORT"',
        r"^([^\s:\[\]/]*|\[[0-9a-fA-F:.]+\]):" + _PORT + "$",
    ),
]
Interval = Annotated[Duration, msgspec.Meta(ge=0.1, le=31 * 86_400.0)]
Timeout = Annotated[Duration, msgspec.Meta(ge=0.001, le=31 * 86_400.0)]
Wait = Annotated[Duration, msgspec.Meta(ge=0, le=366 * 86_400.0)]


def _says(text: str) -> msgspec.Meta:
    return msgspec.Meta(description=text)


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mapping of a file."""


class ModuleSection(Section, frozen=True, kw_only=True):
    """How to probe, in blackbox_exporter's form: a prober, and under its name its settings."""

    prober: Annotated[
        str, msgspec.Meta(description="The kind of probe.", extra_json_schema={"x-expected": "a prober such as http"})
    ]
    timeout: Annotated[
        Timeout | None, _says("How long a run may take. Default 5s, or the interval where that is shorter.")
    ] = None


class ConfirmSection(Section, frozen=True, kw_only=True):
    """How a failed try is repeated at once, before the run counts as failed."""

    attempts: Annotated[
        int, msgspec.Meta(ge=1, le=10, description="How many tries a run may take, the first included.")
    ]
    failures: Annotated[
        int | None, _says("How many of them must fail for the run to fail, 2 at least. Default: all of them.")
    ] = None
    pause: Annotated[Wait, _says("How long to wait before each repetition.")] = 0.0

    def __post_init__(self) -> None:
        if self.failures is None:
            return
        if self.attempts == 1:
            raise ValueError("failures has no effect, since 1 attempt repeats nothing")
        if not 2 <= self.failures <= self.attempts:
            raise ValueError(f"expected failures of 2 to {self.attempts}, the attempts, got {self.failures}")


class TargetSection(Section, frozen=True, kw_only=True):
    """One target, with what it does otherwise than its probe.

    Under the name of its module's prober may stand settings of that prober, which count above those of the module.
    """

    address: Annotated[Address, _says("URL or host:port, as the prober wants it. Exported as label `target`.")]
    hostname: Annotated[PublicText, _says("Host header and TLS server name, where they differ from the address.")] = ""
    module: Annotated[Name | None, _says("Module of this target. Default: the probe's.")] = None
    interval: Annotated[Interval | None, _says("How often it is probed. Default: the probe's.")] = None
    interval_failing: Annotated[
        Interval | None, _says("How often it is rechecked while it fails. Default: the probe's.")
    ] = None
    timeout: Annotated[Timeout | None, _says("How long a run may take. Default: the probe's.")] = None
    confirm: Annotated[
        ConfirmSection | None, _says("When to repeat a failed try, see [confirm](#confirm). Default: the probe's.")
    ] = None
    group: Annotated[
        PublicText, _says("What it belongs to: label `group`, a heading on the page. Default: the probe's.")
    ] = ""
    tags: Annotated[tuple[Tag, ...], _says("Words to find it by, beside the probe's; not exported.")] = ()
    labels: Annotated[Labels, _says("Labels on every series of this target, beside and above the probe's.")] = {}


class ProbeSettings(Section, frozen=True, kw_only=True):
    """What the targets of a probe have in common."""

    name: Annotated[Name, _says("Exported as label `probe`.")]
    module: Annotated[Name, _says("The module to probe with.")] = "http_2xx"
    interval: Annotated[Interval, _says("How often each target is probed.")] = 15.0
    interval_failing: Annotated[
        Interval | None, _says("How often one that fails is [rechecked](#interval_failing). Without it, not at all.")
    ] = None
    timeout: Annotated[
        Timeout | None, _says("How long a run may take, at most the interval. Default: the module's.")
    ] = None
    confirm: Annotated[
        ConfirmSection | None, _says("When to repeat a failed try, see [confirm](#confirm). Without it, never.")
    ] = None
    group: Annotated[PublicText, _says("What these targets belong to: label `group`, and a heading on the page.")] = ""
    tags: Annotated[
        tuple[Tag, ...], _says("Words to find them by: on the page, in the API, in rules as `tag`; not exported.")
    ] = ()
    labels: Annotated[Labels, _says("Labels on every series of these targets.")] = {}
    thresholds: Annotated[Thresholds, _says("Rules in short, see [thresholds](#thresholds).")] = {}
    depends_on: Annotated[
        tuple[Name | Labels, ...],
        _says("Probes, or labels of checks, while which are down its alerts wait: see [depends_on](#depends_on)."),
    ] = ()


class DiscoverySection(Section, frozen=True, kw_only=True):
    """Where to look targets up. Exactly one key names the kind of discovery and holds that kind's settings."""


class ProbeSection(ProbeSettings, frozen=True, kw_only=True):
    """Targets that are probed in the same way. Each becomes a check of its own."""

    targets: Annotated[
        list[Address | TargetSection],
        msgspec.Meta(min_length=1, description="Addresses, or mappings with `address` and more."),
    ] = []
    discover: Annotated[
        list[DiscoverySection],
        msgspec.Meta(min_length=1, description="Where further targets are looked up, beside or instead of `targets`."),
    ] = []


class SamplerSection(Section, frozen=True, kw_only=True):
    """A reading of resources. Exactly one further key names its kind and holds that kind's settings."""

    name: Annotated[Name, _says("Exported as label `sampler`.")]
    interval: Annotated[Interval, _says("How often it is read.")] = 10.0
    labels: Annotated[Labels, _says("Labels on every series of this sampler.")] = {}
    thresholds: Annotated[Thresholds, _says("Rules in short, see [thresholds](#thresholds).")] = {}


class RuleSection(Section, frozen=True, kw_only=True):
    """What must hold of which series. Exactly one further key names the condition and holds its settings."""

    name: Annotated[Name, _says("The alert's name, in CamelCase by custom. Exported as label `alertname`.")]
    select: Annotated[
        Labels, _says("Labels that a series must have; values may hold `*`, `?` and `[...]`. Default: every series.")
    ] = {}
    metric: Annotated[
        PublicText,
        _says(
            "Of a probe `failed`, `first_try_failed`, `duration`, `duration:tls` (any phase); of a sampler a metric."
        ),
    ] = "failed"
    for_: Annotated[Wait, _says("How long it must be broken, without a break, before the alert fires.")] = (
        msgspec.field(default=0.0, name="for")
    )
    keep_firing_for: Annotated[Wait, _says("How long the alert goes on after it was last broken.")] = 0.0
    reminder: Annotated[
        Wait, _says("How often receivers hear again while it fires, counted from its beginning. 0 for never.")
    ] = 0.0
    severity: Annotated[
        Literal["critical", "warning", "info", "none"], _says("Label `severity` of a rule without two levels.")
    ] = "critical"
    labels: Annotated[Labels, _says("Labels on the alert, above those of the series.")] = {}
    annotations: Annotated[
        Labels,
        _says("Texts for the person who is paged: `summary`, `description`, `runbook_url`. `{{label}}` is filled in."),
    ] = {}


class ReceiverSection(Section, frozen=True, kw_only=True):
    """Who hears of alerts. Exactly one further key names its kind and holds that kind's settings."""

    name: Annotated[Name, _says("Exported as label `receiver`.")]
    send_resolved: Annotated[bool, _says("Whether it hears that an alert is over.")] = True
    reminder: Annotated[
        Wait, _says("How often it hears again of what still fires, counted from its beginning. 0 for never.")
    ] = 0.0


class HeartbeatSection(Section, frozen=True, kw_only=True):
    """Somebody outside who raises the alarm when he hears nothing of perfmon any more."""

    url: Annotated[str, _says("What to ask, by reference: to know it is often all that it takes.")]
    interval: Annotated[Interval, _says("How often.")] = 60.0
    method: Annotated[Literal["GET", "POST"], _says("How; a POST has a small JSON as its body.")] = "GET"
    timeout: Annotated[Timeout, _says("How long an answer may take.")] = 10.0


class AlertingSection(Section, frozen=True, kw_only=True):
    """Who alerts. There is one mode at a time, so that nobody is paged twice."""

    mode: Annotated[
        Literal["rules", "alertmanager", "notify"] | None,
        _says("Who alerts, see [modes](#modes). Default: what the receivers ask for."),
    ] = None
    watchdog: Annotated[
        bool, _says("Whether Alertmanagers are told of an alert `Watchdog` that fires as long as perfmon is well.")
    ] = False
    runbook_url: Annotated[
        PublicText, _says("Where an alert leads whose rule has no `runbook_url` of its own, see [links](#links).")
    ] = ""
    dashboard_url: Annotated[
        PublicText, _says("Where an alert leads whose rule has no `dashboard_url` of its own, see [links](#links).")
    ] = ""
    heartbeat: Annotated[
        HeartbeatSection | None, _says("Whom to tell that perfmon lives, see [heartbeat](#heartbeat).")
    ] = None


class MaintenanceSection(Section, frozen=True, kw_only=True):
    """Work that was announced: measuring goes on, alerts wait. `from` and `to`, or `cron` and `duration`."""

    name: Annotated[Name, _says("Exported as label `name` of `perfmon_maintenance`.")]
    from_: Annotated[
        PublicText, _says("When it begins: `2026-12-01T20:00`, `Fri 20:00` of each week, `18:00` of each day.")
    ] = msgspec.field(default="", name="from")
    to: Annotated[PublicText, _says("When it is over, in the same form.")] = ""
    weekdays: Annotated[tuple[PublicText, ...], _says("Days on which `18:00` begins. Default: every day.")] = ()
    cron: Annotated[PublicText, _says("A crontab's five fields, such as `30 2 * * sun`, for when it begins.")] = ""
    duration: Annotated[Wait, _says("How long it lasts then, 31d at most.")] = 0.0
    time_zone: Annotated[PublicText, _says("Whose clock that is, such as `Europe/Berlin`.")] = "UTC"
    select: Annotated[
        Labels,
        _says("Labels of the probes and samplers whose alerts wait, as in a rule's `select`. Default: all of them."),
    ] = {}
    counted: Annotated[bool, _says("Whether runs meanwhile count in error budgets (`burn_rate`).")] = True


class ScenarioSection(Section, frozen=True, kw_only=True):
    """A test under load. Exactly one further key names the executor and holds its settings."""

    name: Annotated[Name, _says("By which `perfmon load FILE --scenario NAME` finds it.")]
    target: Annotated[Address, _says("URL or host:port, as the module's prober wants it.")]
    hostname: Annotated[PublicText, _says("Host header and TLS server name, where they differ from the target.")] = ""
    module: Annotated[
        Name | None, _says("What one arrival does. Default: `http_2xx`, of a bare host:port `tcp_connect`.")
    ] = None
    timeout: Annotated[Timeout | None, _says("How long one arrival may take. Default: the module's.")] = None
    thresholds: Annotated[
        tuple[PublicText, ...],
        _says(
            "What must hold of the whole, see [thresholds](#thresholds-of-a-scenario). Default: `failed: rate < 1%`."
        ),
    ] = ()
    max_in_flight: Annotated[
        int, msgspec.Meta(ge=1, le=100_000, description="Arrivals under way at the same time at most.")
    ] = 1_000
    late: Annotated[
        Literal["queue", "drop"],
        _says(
            "What becomes of arrivals beyond that: they wait, which is part of their time, or are dropped and missed."
        ),
    ] = "queue"
    think_time: Annotated[Wait, _says("Pause of a user between two runs.")] = 0.0
    graceful_stop: Annotated[
        Wait, _says("How long to wait for answers after the last arrival; what comes later is missed.")
    ] = 30.0
    keep_alive: Annotated[bool, _says("Whether HTTP connections are used again, as browsers and clients do.")] = True


class PublicSection(Section, frozen=True, kw_only=True):
    """A status page for outsiders: chosen probes by name, with no address and no link to what is inside."""

    select: Annotated[
        Labels,
        msgspec.Meta(
            min_length=1,
            description="Labels and `tag` of the probes to show; values may hold `*`, `?` and `[...]`.",
        ),
    ]
    title: Annotated[PublicText, _says("What it is called.")] = "Status"
    show_target: Annotated[
        bool, _says("Whether each target has a line of its own, with its address. Without it, a line is a probe.")
    ] = False
    listen: Annotated[
        tuple[Listen, ...],
        _says(
            "Addresses that serve this and nothing else. It is at `/status` of the daemon's own addresses in any case."
        ),
    ] = ()


class WebSection(Section, frozen=True, kw_only=True):
    """The daemon's own pages."""

    listen: Annotated[
        tuple[Listen, ...],
        msgspec.Meta(
            min_length=1, description="Addresses to listen on: `HOST:PORT`, `[IPV6]:PORT`, or `:PORT` for all."
        ),
    ] = ("127.0.0.1:10737",)
    probe_allow: Annotated[
        tuple[PublicText, ...],
        _says(
            "Networks that may call `/probe`, which probes whatever it is asked to, and run a check at once from its"
            " page. This machine always may."
        ),
    ] = ()
    timeout_offset: Annotated[
        Wait, _says("What `/probe` keeps back of the time that the scraper gives, for the answer's way.")
    ] = 0.5
    external_url: Annotated[
        PublicText, _says("Where people reach the page, for links in alerts; the first of `listen` when not given.")
    ] = ""
    config_file: Annotated[
        str,
        msgspec.Meta(
            description="A web-config.yml: TLS, passwords, headers and pace, see [web.md](web.md).",
            extra_json_schema={"x-path": True},
        ),
    ] = ""
    public: Annotated[
        PublicSection | None, _says("A status page for outsiders, see [public](#public). Without it there is none.")
    ] = None


class StateSection(Section, frozen=True, kw_only=True):
    """What a restart must not forget."""

    path: Annotated[str, _says('File for alert states and long series. "" keeps them in memory only.')] = (
        "perfmon.sqlite3"
    )


class LimitsSection(Section, frozen=True, kw_only=True):
    """Bounds that keep a mistake from becoming an outage."""

    series: Annotated[int, msgspec.Meta(ge=1, description="Series exported at most; further ones are counted.")] = (
        200_000
    )
    in_flight: Annotated[int, msgspec.Meta(ge=1, description="Probes running at once at most.")] = 500
    in_flight_per_host: Annotated[
        int, msgspec.Meta(ge=1, description="Of these, at most so many to one host of targets' addresses.")
    ] = 50
    targets: Annotated[
        int, msgspec.Meta(ge=1, description="Targets at most, discovered ones included; further ones are left out.")
    ] = 10_000


class LogSection(Section, frozen=True, kw_only=True):
    """What the daemon writes to stderr."""

    level: Annotated[Literal["debug", "info", "warning", "error"], _says("The least that is worth a line.")] = "info"
    format: Annotated[Literal["console", "json"], _says("For a person, or for a program.")] = "console"


class File(Section, frozen=True, kw_only=True):
    """A configuration of perfmon. Several files make one: lists are joined, mappings too."""

    modules: Annotated[
        dict[Name, ModuleSection], _says("How to probe. `http_2xx`, `http_post_2xx` and `tcp_connect` exist.")
    ] = {}
    probes: Annotated[list[ProbeSection], _says("What to probe.")] = []
    samplers: Annotated[list[SamplerSection], _says("What to read.")] = []
    rules: Annotated[list[RuleSection], _says("What must hold.")] = []
    receivers: Annotated[list[ReceiverSection], _says("Who hears of it when it does not.")] = []
    alerting: Annotated[AlertingSection, _says("Who alerts: Prometheus, Alertmanager or perfmon.")] = AlertingSection()
    maintenance: Annotated[list[MaintenanceSection], _says("When nobody is to be woken.")] = []
    scenarios: Annotated[list[ScenarioSection], _says("Tests that `perfmon load` runs.")] = []
    web: Annotated[WebSection, _says("The daemon's own pages.")] = WebSection()
    state: Annotated[StateSection, _says("What a restart must not forget.")] = StateSection()
    limits: Annotated[LimitsSection, _says("Bounds that keep a mistake from becoming an outage.")] = LimitsSection()
    log: Annotated[LogSection, _says("What the daemon writes to stderr.")] = LogSection()


KINDS: dict[type[Section], str] = {
    ModuleSection: "probes",
    SamplerSection: "samplers",
    RuleSection: "conditions",
    ReceiverSection: "receivers",
    DiscoverySection: "discoveries",
    ScenarioSection: "executors",
}
"""Sections with a further key, and the folder whose kinds may stand there."""
