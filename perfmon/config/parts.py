"""From the sections of the files to what the daemon runs, with the mistakes that only show between them.

Each function reads all its sections, right or wrong, and says of each setting what is wrong with it; what it returns
is complete when nothing was.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from perfmon import kinds, selection
from perfmon.annotation import check_annotations
from perfmon.config.convert import WRONG, Reading
from perfmon.config.discovered import Blueprint, Discovery
from perfmon.config.file import (
    DEFAULT_TIMEOUT_S,
    Address,
    ConfirmSection,
    DiscoverySection,
    ModuleSection,
    Name,
    ProbeSettings,
    ReceiverSection,
    RuleSection,
    SamplerSection,
    Section,
    TargetSection,
)
from perfmon.config.maintenance import check_dependencies, needs_of
from perfmon.config.sections import Place, kind_config, kind_key, seen_from, settings
from perfmon.config.short_forms import check_names, short_rules
from perfmon.config.targets import ALERT_LABELS, Timed, own_labels, password_in, with_timeout
from perfmon.config.yaml_places import Entry, Node, Scalar, is_null
from perfmon.config.yaml_places import Mapping as MappingNode
from perfmon.config.yaml_places import Sequence as SequenceNode
from perfmon.model import Check, Confirm, Labels, Module, Receiver, Rule, Sampler, Target
from perfmon.selection import Selectable
from perfmon.short_form import OF_PROBES, Short
from perfmon.units import format_duration, quoted

__all__ = ["BUILT_IN", "modules_of", "probes_of", "receivers_of", "rules_of", "samplers_of"]

Fields = Mapping[str, Any]  # of a section by name, each its value or WRONG


def modules_of(written: Sequence[tuple[Scalar, Place]], reading: Reading) -> dict[str, Any]:
    """Modules by name as Timed, WRONG for those that are there but cannot be used.

    A later one of the same name wins, which is a mistake unless the first is built in.
    """
    modules: dict[str, Any] = {}
    first: dict[str, Scalar] = {}
    for key, place in written:
        other = first.get(key.text)
        if other is not None and other.file != BUILT_IN:
            reading.problem(key, place.path, f"{quoted(key.text)} is taken by a module in {seen_from(key, other)}")
        first[key.text] = key
        name = reading.convert(key, Name, place.path)
        module = _module(name, place)
        modules[key.text] = WRONG if name is WRONG else module
    return modules


def probes_of(
    places: Sequence[Place], modules: Mapping[str, Any], watched: list[Selectable], short: list[Rule]
) -> tuple[list[Check], list[Discovery]]:
    """A check for each target of each probe, and the sources of more.

    Adds to `watched` what rules may select, and to `short` the rules that stand there in short.
    """
    _check_names(places, "probe")
    checks: list[Check] = []
    discoveries: list[Discovery] = []
    depending: dict[str, tuple[Place, Sequence[Labels]]] = {}
    for place in places:
        probe = settings(place, ProbeSettings, beside=("targets", "discover"))
        if probe["name"] == "sampler":
            # `Check.key` would be that of a sampler.
            place.problem("name", '"sampler" is taken by perfmon itself, expected another name')
        _check_module(place, probe["module"], modules)
        targets = [(at, _target(at)) for at in _targets(place)]
        _check_addresses(targets)
        checks += [_check(place, probe, at, target, modules) for at, target in targets]
        # A probe whose targets are missing is one that rules may have meant.
        watched += [_selectable(probe, target) for target in [target for _, target in targets] or [_UNKNOWN_TARGET]]
        if place.has("discover"):
            discoveries += _discoveries(place, probe, modules)
            watched.append(_selectable(probe, _FOUND_TARGET))
        if WRONG not in (probe["name"], probe["depends_on"]) and probe["depends_on"]:
            depending[probe["name"]] = (place, needs_of(probe["depends_on"]))
        if WRONG not in (probe["name"], probe["interval"], probe["thresholds"]):
            owner = {"probe": probe["name"]}
            short += short_rules(place, probe["thresholds"], OF_PROBES, owner, probe["interval"])
    check_dependencies(depending, watched)
    return checks, discoveries


def samplers_of(places: Sequence[Place], watched: list[Selectable], short: list[Rule]) -> list[Sampler]:
    """The samplers; adds to `watched` what rules may select, and to `short` the rules that stand there in short."""
    _check_names(places, "sampler")
    samplers: list[Sampler] = []
    for place in places:
        values = settings(place, SamplerSection, beside=kinds.names("samplers"))
        kind, config = _kind(place, SamplerSection, "samplers")
        _check_labels(place, own_labels("samplers", kind))
        watched.append(selection.of_sampler(_known(values["name"]), kind, _known(values["labels"])))
        sampler = Sampler(
            name=values["name"], kind=kind, interval_s=values["interval"], config=config, labels=values["labels"]
        )
        samplers.append(sampler)
        if WRONG not in (config, values["name"], values["interval"], values["thresholds"]):
            read = getattr(kinds.load("samplers", kind), "thresholds", None)
            words: Mapping[str, Short] = read(config) if read is not None else {}
            owner = {"sampler": values["name"]}
            short += short_rules(place, values["thresholds"], words, owner, values["interval"])
    return samplers


def rules_of(places: Sequence[Place], watched: Sequence[Selectable], short: Sequence[Rule]) -> list[Rule]:
    """The rules, each of which must be able to be about something, and those that stand in `short` elsewhere."""
    _check_names(places, "rule")
    check_names(places, short)
    rules: list[Rule] = []
    for place in places:
        values = settings(place, RuleSection, beside=kinds.names("conditions"))
        kind, config = _kind(place, RuleSection, "conditions")
        _check_labels(place, ALERT_LABELS)
        if WRONG not in (values["select"], values["metric"]):
            for below, message in selection.mistakes(values["select"], values["metric"], watched):
                place.problem(below, message)
            _check_fit(place, values, watched, kind, config)
            _check_counters(place, watched, kind, config)
            _check_beside(place, watched, kind, config)
            _check_own_labels(place, values, watched)
        _check_annotations(place, values, watched)
        _check_severity(place, kind, config)
        for_s = _for_s(place, values["for_"], kind, config)
        if WRONG not in (*values.values(), config):
            rules.append(_rule(values, kind, config, for_s))
    return [*rules, *short]


def label_names(watched: Sequence[Selectable], rules: Sequence[Rule]) -> set[str] | None:
    """Those that alerts may have; None when only a run shows them, or something is wrong in a way that hides them."""
    if not all(one.complete and not one.any_labels for one in watched):
        return None
    of_series = {name for one in watched for name in (*one.labels, *one.open)}
    return of_series | {name for rule in rules for name in rule.labels}


def receivers_of(places: Sequence[Place]) -> list[Receiver]:
    """The receivers."""
    _check_names(places, "receiver")
    receivers: list[Receiver] = []
    for place in places:
        values = settings(place, ReceiverSection, beside=kinds.names("receivers"))
        kind, config = _kind(place, ReceiverSection, "receivers")
        if WRONG not in (*values.values(), config):
            receivers.append(
                Receiver(
                    name=values["name"],
                    kind=kind,
                    config=config,
                    send_resolved=values["send_resolved"],
                    reminder_s=values["reminder"],
                )
            )
    return receivers


# ---------------------------------------------------------------- modules and targets

BUILT_IN = "built in"
"""In place of a file's name, where no file says it."""


def _module(name: str, place: Place) -> Any:
    probers = kinds.names("probes")
    own = _settings_of(place.text("prober"))
    values = settings(place, ModuleSection, beside=(*probers, *own))
    for key in place.written:
        if key in own:
            place.problem(key, f"is a setting of the prober, expected it below `{values['prober']}:`")
    kind = values["prober"]
    if kind is WRONG:
        return WRONG
    if kind not in probers:
        place.problem("prober", kinds.unknown(kind, probers))
        return WRONG
    for other in place.written:
        if other in probers and other != kind:
            place.problem(other, f"has no effect, since the prober is {quoted(kind)}")
    config = kind_config(place.at(kind), "probes", kind)
    if WRONG in (config, values["timeout"]):
        return WRONG
    timeout_s = values["timeout"] or DEFAULT_TIMEOUT_S
    return Timed(
        Module(name=name, kind=kind, timeout_s=timeout_s, config=config),
        wished=place.has("timeout"),
        node=place.at(kind).node,
    )


def _settings_of(prober: str | None) -> Collection[str]:
    """The names of a prober's own settings, which belong below its name; none of an unknown prober."""
    if prober not in kinds.names("probes"):
        return ()
    of_all = {field.encode_name for field in msgspec.structs.fields(ModuleSection)}
    fields = msgspec.structs.fields(kinds.load("probes", prober).Config)
    return {field.encode_name for field in fields} - of_all - {*kinds.names("probes")}


def _targets(place: Place) -> list[Place]:
    """The members of `targets`, which must have one at least where nothing is discovered."""
    if not place.has("targets"):
        if isinstance(place.node, MappingNode) and not any(
            kinds.nearest(key, ("targets", "discover")) for key in place.written if key != "targets"
        ):
            place.problem("", '"targets" is missing, expected a list of addresses, or "discover"')
        return []
    targets = place.at("targets")
    if not isinstance(targets.node, SequenceNode):
        place.reading.unexpected(targets.node, targets.path, "a list of addresses")
        return []
    if not targets.node.items:
        targets.problem("", "expected at least one address, got an empty list")
    return [targets.item(index) for index in range(len(targets.node.items))]


def _target(place: Place) -> Fields:
    """The fields of a TargetSection; an address alone is a target too."""
    if isinstance(place.node, MappingNode):
        return settings(place, TargetSection, beside=kinds.names("probes"))
    if isinstance(place.node, SequenceNode) or is_null(place.node):
        address = place.reading.unexpected(place.node, place.path, "an address, or a mapping with one")
    else:
        address = place.reading.convert(place.node, Address, place.path)
    return msgspec.structs.asdict(TargetSection(address=address))


def _check(place: Place, probe: Fields, target_place: Place, target: Fields, modules: Mapping[str, Any]) -> Any:
    """The check of one target, or WRONG."""
    _check_module(target_place, target["module"], modules)
    timed = modules.get(target["module"] or probe["module"], WRONG)
    own = own_labels("probes", "" if timed is WRONG else timed.module.kind)
    for section in (place, target_place):
        _check_labels(section, own)
        _check_group(section)
    if timed is WRONG:
        return WRONG
    _check_effect(place, target_place, timed.module.kind)
    timeout_s = _timeout_s(_Pace.of(place, probe, target_place, target, timed))
    module = _own_module(target_place, timed)
    _check_address(target_place, target["address"], timed.module if module is WRONG else module)
    if WRONG in (*probe.values(), *target.values(), timeout_s, module):
        return WRONG
    return Check(
        target=Target(
            probe=probe["name"],
            address=target["address"],
            hostname=target["hostname"],
            labels=_labels(probe) | _labels(target),
            tags=_tags(probe["tags"], target["tags"]),
        ),
        module=with_timeout(module, timeout_s),
        interval_s=target["interval"] or probe["interval"],
        confirm=_confirm(target["confirm"] or probe["confirm"]),
        interval_failing_s=target["interval_failing"] or probe["interval_failing"],
        depends_on=needs_of(probe["depends_on"]),
    )


def _check_effect(place: Place, target_place: Place, kind: str) -> None:
    """Kinds may say by `WITHOUT_EFFECT` which settings mean nothing to them."""
    for section in (place, target_place):
        for setting in getattr(kinds.load("probes", kind), "WITHOUT_EFFECT", ()):
            if section.has(setting):
                section.problem(setting, f"has no effect, since the prober is {quoted(kind)}")


def _labels(section: Fields) -> dict[str, str]:
    """The labels of a probe or target, its group among them."""
    return dict(section["labels"]) | ({"group": section["group"]} if section["group"] else {})


def _tags(*lists: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tag for tags in lists for tag in tags))


def _check_group(place: Place) -> None:
    if place.has("group") and place.has("labels") and "group" in place.at("labels").written:
        place.problem("labels.group", "stands here and as group, expected one of them")


def _own_module(place: Place, timed: Timed) -> Any:
    """The module with what the target sets above it, or WRONG."""
    kind = timed.module.kind
    own = [key for key in place.written if key in kinds.names("probes") and place.has(key)]
    for other in own:
        if other != kind:
            place.problem(
                other, f"has no effect, since the prober of module {quoted(timed.module.name)} is {quoted(kind)}"
            )
        elif timed.node is None:
            place.problem(other, f"module {quoted(timed.module.name)} is of a blackbox.yml, which no target can change")
    if not own:
        return timed.module
    if own != [kind] or timed.node is None:
        return WRONG
    here = place.at(kind)
    config = kind_config(Place(here.reading, _over(here.node, timed.node), here.path), "probes", kind)
    return WRONG if config is WRONG else msgspec.structs.replace(timed.module, config=config)


def _over(above: Node, below: Node) -> Node:
    """The settings of one mapping above those of another, level by level; lists and single values are replaced."""
    if is_null(above):
        return below
    if not isinstance(above, MappingNode) or not isinstance(below, MappingNode):
        return above
    entries = dict(below.entries)
    for key, entry in above.entries.items():
        former = entries.get(key)
        entries[key] = entry if former is None else Entry(entry.key, _over(entry.value, former.value))
    return MappingNode(above.file, above.line, entries)


_UNKNOWN_TARGET = dict.fromkeys(TargetSection.__struct_fields__, WRONG) | {"module": None, "labels": {}, "group": ""}
_FOUND_TARGET = dict.fromkeys(TargetSection.__struct_fields__, WRONG)  # its source may say all of it


# ---------------------------------------------------------------- discovery


def _discoveries(place: Place, probe: Fields, modules: Mapping[str, Any]) -> list[Discovery]:
    """The sources of a probe's targets."""
    written = place.at("discover")
    if not isinstance(written.node, SequenceNode):
        place.reading.unexpected(written.node, written.path, "a list of sources of targets")
        return []
    if not written.node.items:
        written.problem("", "expected at least one source of targets, got an empty list")
    if WRONG not in probe.values():
        _check_times(place, probe, modules)
    found = [_discovery(written.item(index), index, probe, modules) for index in range(len(written.node.items))]
    return [one for one in found if one is not WRONG]


def _discovery(place: Place, index: int, probe: Fields, modules: Mapping[str, Any]) -> Any:
    """One source, or WRONG."""
    settings(place, DiscoverySection, beside=kinds.names("discoveries"))
    kind, config = _kind(place, DiscoverySection, "discoveries")
    if WRONG in (config, *probe.values(), *modules.values()):
        return WRONG
    source = kinds.load("discoveries", kind)
    if hasattr(source, "within"):
        config = source.within(config, Path(place.node.file).parent)
    return Discovery(
        key=f"{probe['name']}/discover[{index}]/{kind}",
        kind=kind,
        config=config,
        refresh_s=source.refresh_s(config, probe["interval"]),
        blueprint=Blueprint(
            probe=probe["name"],
            module=probe["module"],
            interval_s=probe["interval"],
            interval_failing_s=probe["interval_failing"],
            depends_on=needs_of(probe["depends_on"]),
            timeout_s=probe["timeout"],
            confirm=_confirm(probe["confirm"]),
            labels=_labels(probe),
            tags=_tags(probe["tags"]),
            modules={name: msgspec.structs.replace(timed, node=None) for name, timed in modules.items()},
        ),
    )


def _check_times(place: Place, probe: Fields, modules: Mapping[str, Any]) -> None:
    """What a target without wishes of its own would get."""
    timed = modules.get(probe["module"], WRONG)
    if timed is not WRONG:
        _check_labels(place, own_labels("probes", timed.module.kind))
        _check_group(place)
        _timeout_s(_Pace.of(place, probe, place, _NO_WISHES, timed))


_NO_WISHES: Fields = dict.fromkeys(("interval", "interval_failing", "timeout", "confirm"))


def _confirm(written: ConfirmSection | None) -> Confirm | None:
    if written is None or written.attempts == 1:
        return None
    return Confirm(attempts=written.attempts, failures=written.failures or written.attempts, pause_s=written.pause)


class _Pace(msgspec.Struct, frozen=True, kw_only=True):
    """What of one target must fit together, each WRONG or as it is written, and where it stands."""

    place: Place
    target_place: Place
    module: Module
    interval_s: Any
    failing_s: Any  # the interval while failing; None = there is none
    wished_s: Any  # the timeout; None = nobody wished for one
    of_module: bool  # whether it is the module's wish
    confirm: Any

    @classmethod
    def of(cls, place: Place, probe: Fields, target_place: Place, target: Fields, timed: Timed) -> "_Pace":
        nearer_s = target["timeout"] or probe["timeout"]
        return cls(
            place=place,
            target_place=target_place,
            module=timed.module,
            interval_s=target["interval"] or probe["interval"],
            failing_s=target["interval_failing"] or probe["interval_failing"],
            wished_s=nearer_s or (timed.module.timeout_s if timed.wished else None),
            of_module=not nearer_s,
            confirm=target["confirm"] or probe["confirm"],
        )

    @property
    def attempts(self) -> int:
        return self.confirm.attempts if self.confirm else 1

    @property
    def pauses_s(self) -> float:
        return (self.attempts - 1) * self.confirm.pause if self.confirm else 0.0

    def problem(self, message: str, *settings_: str) -> Any:
        """Said of the first of the settings that is written, at the target before its probe."""
        places = (self.target_place, self.place)
        blamed, below = _written_first(*((place, setting) for place in places for setting in settings_ or _OF_PACE))
        blamed.problem(below, message)
        return WRONG


_OF_PACE = ("timeout", "confirm", "interval_failing", "interval", "module")


def _timeout_s(pace: _Pace) -> Any:
    """How long a try may take: all tries and pauses fit into the interval; the default gives way to a short one."""
    if WRONG in (pace.interval_s, pace.failing_s, pace.wished_s, pace.confirm):
        return WRONG
    if pace.failing_s is not None and pace.failing_s >= pace.interval_s:
        words = f"the interval_failing {format_duration(pace.failing_s)} is not shorter than the interval"
        return pace.problem(f"{words} {format_duration(pace.interval_s)}", "interval_failing", "interval")
    longest_s = ((pace.failing_s or pace.interval_s) - pace.pauses_s) / pace.attempts
    if pace.wished_s is None and longest_s >= _SHORTEST_TIMEOUT_S:
        return min(DEFAULT_TIMEOUT_S, longest_s)
    if pace.wished_s is not None and pace.wished_s <= longest_s + 1e-9:
        return pace.wished_s
    return pace.problem(_too_long(pace))


def _too_long(pace: _Pace) -> str:
    """How the tries are too long for the shorter of the intervals."""
    which = "interval" if pace.failing_s is None else "interval_failing"
    interval = f"the {which} {format_duration(pace.failing_s or pace.interval_s)}"
    if pace.wished_s is None:
        return f"{_tries(pace)} leave no time for the tries in {interval}"
    whose = f" of module {quoted(pace.module.name)}" if pace.of_module else ""
    timeout = f"the timeout {format_duration(pace.wished_s)}{whose}"
    if pace.attempts == 1:
        return f"{timeout} is longer than {interval}"
    needed_s = pace.attempts * pace.wished_s + pace.pauses_s
    return f"{_tries(pace)} and {timeout} each take up to {format_duration(needed_s)}, longer than {interval}"


_SHORTEST_TIMEOUT_S = 0.001


def _tries(pace: _Pace) -> str:
    """`3 attempts with pauses of 1s`."""
    pauses = f" with pauses of {format_duration(pace.confirm.pause)}" if pace.confirm.pause else ""
    return f"{pace.attempts} attempts{pauses}"


def _written_first(*settings_: tuple[Place, str]) -> tuple[Place, str]:
    return next(((place, below) for place, below in settings_ if place.has(below)), (settings_[-1][0], ""))


def _check_address(place: Place, address: Any, module: Module) -> None:
    """Kinds may say by `check_target(address, config)` why they cannot probe an address."""
    from perfmon.network.address import shown  # noqa: PLC0415 - its package loads libcurl, which --help need not

    check_target = getattr(kinds.load("probes", module.kind), "check_target", None)
    message = check_target(address, module.config) if check_target and address is not WRONG else None
    # The password itself would stand in the message.
    if message and not password_in(address):
        _blame_address(place, message if shown(address) in message else f"{shown(address)}: {message}")


def _blame_address(place: Place, message: str) -> None:
    place.problem("address" if isinstance(place.node, MappingNode) else "", message)


def _selectable(probe: Fields, target: Fields) -> Selectable:
    """A check, right or wrong, as rules can select it."""
    identity = {"probe": probe["name"], "target": target["address"], "module": target["module"] or probe["module"]}
    return selection.of_check(
        {name: _known(value) for name, value in identity.items()},
        None if WRONG in _labelling(probe, target) else _labels(probe) | _labels(target),
        _tags(*(section["tags"] for section in (probe, target) if section["tags"] is not WRONG)),
    )


def _labelling(*sections: Fields) -> list[Any]:
    return [section[field] for section in sections for field in ("labels", "group")]


def _known(value: Any) -> Any:
    return None if value is WRONG else value


# ---------------------------------------------------------------- rules


def _check_fit(place: Place, values: Fields, watched: Sequence[Selectable], kind: str, config: Any) -> None:
    """Conditions may say by `problem(config, type, unit)` why they make no sense of a series."""
    problem = getattr(kinds.load("conditions", kind), "problem", None) if config is not WRONG else None
    if problem is None:
        return
    chosen = selection.selected(values["select"], watched)
    metrics = {one.metrics[values["metric"]] for one in chosen if values["metric"] in one.metrics}
    for message in sorted({problem(config, metric.type, metric.unit) or "" for metric in metrics} - {""}):
        place.problem(kind, message)


def _check_counters(place: Place, watched: Sequence[Selectable], kind: str, config: Any) -> None:
    """Conditions may name by `counters(config)` what is to be counted beside the series: that must be there."""
    read = getattr(kinds.load("conditions", kind), "counters", None) if config is not WRONG else None
    asked = read(config) if read is not None else None
    if asked is None:
        return
    requests = place.at(kind).at("requests")
    counted = selection.countable(watched)
    for below, message in selection.mistakes(asked.select, asked.metric, counted):
        requests.problem(below, message)
    chosen = selection.selected(asked.select, counted)
    types = {one.metrics[asked.metric].type for one in chosen if asked.metric in one.metrics}
    if types - {"counter"}:
        requests.problem("metric", f"expected a counter, {quoted(asked.metric)} is a {min(types)}")


def _check_beside(place: Place, watched: Sequence[Selectable], kind: str, config: Any) -> None:
    """Conditions may name by `beside(config)` other series that they want to see: those must be there."""
    read = getattr(kinds.load("conditions", kind), "beside", None) if config is not WRONG else None
    problems: dict[str, str] = {}  # by setting; several series of one sampler lack for the same reason
    for asked in read(config) if read is not None else ():
        for _, message in selection.mistakes(asked.select, asked.metric, watched):
            # Which metrics there are instead is no help: the condition names them, not the user.
            problems.setdefault(asked.setting, message.partition("; expected one of")[0])
    for setting, message in problems.items():
        place.at(kind).problem(setting, message)


def _check_own_labels(place: Place, values: Fields, watched: Sequence[Selectable]) -> None:
    """A label that a series has already: two series that differ in it alone would share one alert."""
    if values["labels"] is WRONG:
        return
    theirs = {name for one in selection.selected(values["select"], watched) for name in (*one.labels, *one.open)}
    for name in values["labels"].keys() & (theirs - ALERT_LABELS):
        place.problem(
            f"labels.{name}", f"{quoted(name)} is a label of series that the rule selects, expected another name"
        )


def _check_annotations(place: Place, values: Fields, watched: Sequence[Selectable]) -> None:
    """Whether every `{{name}}` can be filled in for one at least of the series that the rule selects."""
    if WRONG in (values["annotations"], values["select"], values["labels"]):
        return
    chosen = selection.selected(values["select"], watched)
    if all(one.complete and not one.any_labels for one in chosen):
        names = {name for one in chosen for name in (*one.labels, *one.open)} | values["labels"].keys()
        for annotation, message in check_annotations(values["annotations"], names):
            place.problem(f"annotations.{annotation}", message)


def _check_severity(place: Place, kind: str, config: Any) -> None:
    read = getattr(kinds.load("conditions", kind), "severities", None) if config is not WRONG else None
    if read is not None and read(config) and place.has("severity"):
        place.problem("severity", f"has no effect, since the {kind} names levels of its own")


def _for_s(place: Place, wished_s: Any, kind: str, config: Any) -> Any:
    """The rule's `for`, or the one in its condition's own words; not both."""
    read = getattr(kinds.load("conditions", kind), "for_s", None) if config is not WRONG else None
    told_s = read(config) if read is not None else None
    if told_s is None:
        return wished_s
    if place.has("for"):
        place.problem("for", f"stands here and in the {kind}, expected one of them")
    return told_s


def _rule(values: Fields, kind: str, config: Any, for_s: float) -> Rule:
    return Rule(
        name=values["name"],
        kind=kind,
        config=config,
        select=values["select"],
        metric=values["metric"],
        for_s=for_s,
        keep_firing_for_s=values["keep_firing_for"],
        reminder_s=values["reminder"],
        severity=values["severity"],
        labels=values["labels"],
        annotations=values["annotations"],
    )


# ---------------------------------------------------------------- what many sections share


def _check_labels(place: Place, taken: Collection[str]) -> None:
    if not place.has("labels"):
        return
    for name in place.at("labels").written:
        if name in taken:
            place.problem(f"labels.{name}", f"{quoted(name)} is a label of perfmon's own, expected another name")


def _check_names(places: Sequence[Place], what: str) -> None:
    first: dict[str, Place] = {}
    for place in places:
        name = place.text("name")
        if name is not None and first.setdefault(name, place) is not place:
            place.problem("name", f"{quoted(name)} is taken by a {what} in {first[name].seen_from(place)}")


def _check_addresses(targets: Sequence[tuple[Place, Fields]]) -> None:
    first: dict[str, Place] = {}
    for place, target in targets:
        address = target["address"]
        if address is WRONG:
            continue
        if password_in(address):
            _blame_address(place, password_in(address))
        elif first.setdefault(address, place) is not place:
            place.problem(
                "", f"{quoted(address)} is a target of this probe already, in {first[address].seen_from(place)}"
            )


def _check_module(place: Place, name: Any, modules: Mapping[str, Any]) -> None:
    if name is not WRONG and name is not None and name not in modules:
        place.problem("module", kinds.unknown(name, tuple(modules)))


def _kind(place: Place, section: type[Section], folder: str) -> tuple[str, Any]:
    """The kind that a section's further key names, and its Config, WRONG when there is none."""
    own = [field.encode_name for field in msgspec.structs.fields(section)]
    kind = kind_key(place, folder, own)
    return kind, kind_config(place.at(kind), folder, kind) if kind else WRONG
