"""Who alerts: Prometheus, Alertmanagers, or perfmon itself; one of them, so that nobody is paged twice."""

from collections.abc import Collection, Iterable, Sequence

import msgspec
from msgspec.structs import replace

from perfmon import kinds
from perfmon.annotation import check_annotations
from perfmon.config.convert import WRONG
from perfmon.config.file import AlertingSection, HeartbeatSection
from perfmon.config.sections import Place, settings
from perfmon.model import Labels, Rule
from perfmon.receivers import ALL_MODES, Mode
from perfmon.units import quoted

__all__ = ["Alerting", "alerting_of", "linked"]


class Alerting(msgspec.Struct, frozen=True, kw_only=True):
    """The mode, and how others notice that perfmon is gone."""

    mode: Mode
    watchdog: bool = False
    heartbeat: HeartbeatSection | None = None
    links: Labels = {}  # annotations of rules that have none of the name


def alerting_of(place: Place, receivers: Sequence[Place], label_names: Collection[str] | None) -> Alerting | None:
    """The mode that is written or that the receivers ask for; None when something here is no value at all.

    `label_names` are all that an alert may have; None when that is not known.
    """
    values = settings(place, AlertingSection)
    if WRONG in values.values():
        return None
    kinds_at = [(at, kind) for at in receivers if (kind := _kind(at))]
    mode = values["mode"] or _derived([kind for _, kind in kinds_at])
    _check_places(kinds_at, mode, written=values["mode"] is not None)
    if values["mode"] in _WHO and not any(mode in _modes(kind) and not _anywhere(kind) for _, kind in kinds_at):
        place.problem("mode", f"{quoted(mode)} tells nobody: expected {_WHO[mode]} among the receivers")
    if values["watchdog"] and mode != "alertmanager":
        place.problem("watchdog", f"has no effect in mode {quoted(mode)}: it is told to Alertmanagers")
    for at, kind in kinds_at:
        _check_repeated(at, kind)
    if values["heartbeat"] is not None:
        _check_address(place, values["heartbeat"].url)
    links = {name: values[name] for name in _LINKS if values[name]}
    _check_links(place, links, label_names)
    return Alerting(mode=mode, watchdog=values["watchdog"], heartbeat=values["heartbeat"], links=links)


def linked(rules: Iterable[Rule], links: Labels) -> tuple[Rule, ...]:
    """The rules with the links that they do not have themselves; an empty one of a rule's own stays away."""
    return tuple(replace(rule, annotations={**links, **rule.annotations}) for rule in rules)


_LINKS = ("runbook_url", "dashboard_url")

_WHO = {"alertmanager": "an alertmanager", "notify": "somebody whom perfmon tells itself"}


def _kind(place: Place) -> str:
    """The kind of a receiver; "" when it has none or several, which is said elsewhere."""
    named = [key for key in place.written if key in kinds.names("receivers")]
    return named[0] if len(named) == 1 else ""


def _modes(kind: str) -> Sequence[Mode]:
    modes: Sequence[Mode] = getattr(kinds.load("receivers", kind), "MODES", ("notify",))
    return modes


def _anywhere(kind: str) -> bool:
    return set(_modes(kind)) == set(ALL_MODES)


def _derived(asking: Sequence[str]) -> Mode:
    asked = {mode for kind in asking if not _anywhere(kind) for mode in _modes(kind)}
    return "alertmanager" if "alertmanager" in asked else "notify" if "notify" in asked else "rules"


def _check_places(kinds_at: Sequence[tuple[Place, str]], mode: Mode, *, written: bool) -> None:
    """Say of each receiver that has no place in the mode why; whether that is written, or asked for by another one."""
    other = next((at for at, kind in kinds_at if mode in _modes(kind) and not _anywhere(kind)), None)
    for at, kind in kinds_at:
        if mode in _modes(kind):
            continue
        if written or other is None:
            at.problem(kind, f"has no place in mode {quoted(mode)}: {_WHY[mode]}")
        else:
            beside = f"stands beside Alertmanager in {other.seen_from(at)}, and who hears from both is paged twice"
            at.problem(kind, f"{beside}: {_WHY[mode]}")


_WHY = {
    "rules": "there Prometheus alone alerts, and perfmon tells its log at most",
    "alertmanager": 'it tells people itself (webhook_configs, email_configs), expected that there or mode "notify"',
    "notify": "there perfmon tells people itself, and Alertmanager would tell them again",
}


def _check_links(place: Place, links: Labels, label_names: Collection[str] | None) -> None:
    for name, template in links.items():
        if not template.startswith(("http://", "https://")):
            place.problem(name, f"expected an address that begins with http:// or https://, got {quoted(template)}")
    for name, message in check_annotations(links, label_names) if label_names is not None else ():
        place.problem(name, message)


def _check_address(place: Place, url: str) -> None:
    from perfmon.post import check_url  # noqa: PLC0415 - loads requests, which no `--help` needs

    for below, message in check_url(url, "heartbeat.url"):
        place.problem(below, message)


def _check_repeated(place: Place, kind: str) -> None:
    """Who is told again and again decides himself what to make of it."""
    if not hasattr(kinds.load("receivers", kind), "resend_s"):
        return
    for setting, instead in (("reminder", "repeat_interval"), ("send_resolved", "send_resolved")):
        if place.has(setting):
            place.problem(setting, f"has no effect: {kind} hears of everything, expected its own `{instead}` to be set")
