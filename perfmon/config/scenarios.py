"""The section `scenarios`: tests under load, each with the executor that its further key names."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from perfmon import kinds
from perfmon.config.convert import WRONG
from perfmon.config.file import DEFAULT_TIMEOUT_S, ScenarioSection
from perfmon.config.sections import Place, kind_config, kind_key, settings
from perfmon.config.targets import Timed, password_in
from perfmon.model import Module, Target
from perfmon.offer import Closed
from perfmon.scenario import STANDARD, Demand, Scenario, named_demand
from perfmon.units import quoted

__all__ = ["scenarios_of"]


def scenarios_of(places: Sequence[Place], modules: Mapping[str, Any]) -> list[Scenario]:
    """The scenarios; complete when nothing was wrong."""
    _check_names(places)
    made = [_scenario(place, modules) for place in places]
    return [one for one in made if one is not WRONG]


def _check_names(places: Sequence[Place]) -> None:
    first: dict[str, Place] = {}
    for place in places:
        name = place.text("name")
        if name is not None and first.setdefault(name, place) is not place:
            place.problem("name", f"{quoted(name)} is taken by a scenario in {first[name].seen_from(place)}")


def _scenario(place: Place, modules: Mapping[str, Any]) -> Any:
    """One scenario, or WRONG."""
    values = settings(place, ScenarioSection, beside=kinds.names("executors"))
    kind = kind_key(place, "executors", [field.encode_name for field in msgspec.structs.fields(ScenarioSection)])
    config = kind_config(place.at(kind), "executors", kind) if kind else WRONG
    module = _module(place, values, modules)
    demands = _demands(place, values["thresholds"])
    if WRONG in (*values.values(), config, module, demands):
        return WRONG
    offer = kinds.load("executors", kind).offer(config)
    _check_fit(place, closed=isinstance(offer, Closed))
    return Scenario(
        name=values["name"],
        target=Target(probe=values["name"], address=values["target"], hostname=values["hostname"]),
        module=module,
        executor=kind,
        settings=config,
        offer=offer,
        demands=demands or STANDARD,
        max_in_flight=values["max_in_flight"],
        late=values["late"],
        think_s=values["think_time"],
        stop_s=values["graceful_stop"],
        keep_alive=values["keep_alive"],
    )


def _check_fit(place: Place, *, closed: bool) -> None:
    """Settings that only one of the two models has."""
    for setting in ("max_in_flight", "late") if closed else ("think_time",):
        if place.has(setting):
            whom = "users, each of whom waits for his own answer" if closed else "arrivals, who come but once"
            place.problem(setting, f"has no effect on {whom}")


def _module(place: Place, values: Mapping[str, Any], modules: Mapping[str, Any]) -> Any:
    """What an arrival does, with the scenario's own timeout; WRONG when the target is none for it."""
    address, name = values["target"], values["module"]
    if WRONG in (address, name, values["timeout"]):
        return WRONG
    name = name or ("tcp_connect" if _BARE_PORT.fullmatch(address) else "http_2xx")
    if name not in modules:
        place.problem("module", kinds.unknown(name, tuple(modules)))
        return WRONG
    timed = modules[name]
    return WRONG if timed is WRONG else _aimed(place, values, timed, address)


def _aimed(place: Place, values: Mapping[str, Any], timed: Timed, address: str) -> Any:
    module: Module = timed.module
    check_target = getattr(kinds.load("probes", module.kind), "check_target", None)
    message = password_in(address) or (check_target(address, module.config) if check_target else None)
    if message:
        place.problem("target", message)
        return WRONG
    return msgspec.structs.replace(module, timeout_s=values["timeout"] or module.timeout_s or DEFAULT_TIMEOUT_S)


_BARE_PORT = re.compile(r"[^/]+:[0-9]+")


def _demands(place: Place, texts: Any) -> Any:
    """The sentences, or WRONG."""
    if texts is WRONG:
        return WRONG
    found: list[Demand] = []
    for index, text in enumerate(texts):
        try:
            found.append(named_demand(text))
        except ValueError as error:
            place.problem(f"thresholds[{index}]", str(error))
    return tuple(found) if len(found) == len(texts) else WRONG
