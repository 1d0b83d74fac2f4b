"""From targets that a source names to checks: what those written in a file go through, in words and without lines.

Labels of a target that begin with `__` tell how to probe it, as they do in Prometheus:

    __param_module        its module            __scrape_interval__   how often
    __param_hostname      Host and SNI          __scrape_timeout__    how long a run may take

and the others of that kind are dropped. A label that perfmon sets itself becomes `exported_<name>`, as Prometheus does
it.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from perfmon import kinds
from perfmon.config.file import DEFAULT_TIMEOUT_S
from perfmon.config.targets import Timed, own_labels, password_in, with_timeout
from perfmon.model import Check, Confirm, Labels, Target
from perfmon.target_groups import Found
from perfmon.units import format_duration, parse_duration, quoted

__all__ = ["Blueprint", "Discovery", "checks_of", "told"]


class Blueprint(msgspec.Struct, frozen=True, kw_only=True):
    """What the targets of a probe have in common."""

    probe: str
    module: str
    interval_s: float
    interval_failing_s: float | None  # None = not rechecked
    timeout_s: float | None  # None = the module's
    confirm: Confirm | None
    labels: Labels
    tags: tuple[str, ...]
    modules: Mapping[str, Timed]
    depends_on: tuple[Labels, ...] = ()


class Discovery(msgspec.Struct, frozen=True, kw_only=True):
    """A source of targets, and what becomes of them."""

    key: str  # stable across reloads: "shop/discover[0]/file"
    kind: str  # discoveries/<kind>.py
    config: Any  # that kind's own `Config`
    refresh_s: float
    blueprint: Blueprint


def checks_of(blueprint: Blueprint, found: Iterable[Found]) -> tuple[dict[str, Check], list[str]]:
    """A check for each target by its key, and sentences for those that cannot be watched."""
    checks: dict[str, Check] = {}
    refused: list[str] = []
    for one in found:
        try:
            check = _check(blueprint, one)
        except ValueError as error:
            refused.append(f"{one.where}: {error}")
            continue
        known = checks.setdefault(check.key, check)
        if known is not check and known != check:
            refused.append(f"{one.where}: {quoted(one.address)} is a target of this probe already, with other labels")
    return checks, refused


def told(labels: Labels) -> Labels:
    """Without those that change nothing."""
    return {name: value for name, value in labels.items() if not name.startswith("__") or name in _SETTINGS}


_SETTINGS = ("__param_module", "__param_hostname", "__scrape_interval__", "__scrape_timeout__")

# ---------------------------------------------------------------- one target

_ADDRESS = re.compile(r"\S([^\x00-\x1f\x7f]{0,2000}\S)?")
_HOSTNAME = re.compile(r"[^\s\x00-\x1f\x7f]{0,253}")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def _check(blueprint: Blueprint, found: Found) -> Check:
    """ValueError with a sentence when the target cannot be watched."""
    _check_address(found.address)
    timed = _timed(blueprint, found.labels)
    interval_s = _duration(found.labels, "__scrape_interval__", at_least_s=0.1) or blueprint.interval_s
    failing_s = blueprint.interval_failing_s
    if failing_s is not None and failing_s >= interval_s:
        failing_s = None  # a target that is probed as often as that needs no rechecks
    problem = _problem(found.address, timed)
    if problem:
        raise ValueError(problem)
    hostname = found.labels.get("__param_hostname", "")
    if not _HOSTNAME.fullmatch(hostname):
        raise ValueError(f"__param_hostname: expected a host's name, got {quoted(hostname)}")
    labels = dict(blueprint.labels) | _shown(found.labels, own_labels("probes", timed.module.kind))
    return Check(
        target=Target(
            probe=blueprint.probe, address=found.address, hostname=hostname, labels=labels, tags=blueprint.tags
        ),
        module=with_timeout(timed.module, _timeout_s(blueprint, found.labels, timed, failing_s or interval_s)),
        interval_s=interval_s,
        confirm=blueprint.confirm,
        interval_failing_s=failing_s,
        depends_on=blueprint.depends_on,
    )


def _check_address(address: str) -> None:
    if password_in(address):
        raise ValueError(password_in(address))
    if not _ADDRESS.fullmatch(address):
        raise ValueError(f"expected an address without blanks around it, got {quoted(address)}")


def _problem(address: str, timed: Timed) -> str:
    """Kinds may say by `check_target(address, config)` why they cannot probe an address."""
    check_target = getattr(kinds.load("probes", timed.module.kind), "check_target", None)
    message = check_target(address, timed.module.config) if check_target else None
    return "" if not message else message if quoted(address) in message else f"{quoted(address)}: {message}"


def _timed(blueprint: Blueprint, labels: Labels) -> Timed:
    name = labels.get("__param_module") or blueprint.module
    if name not in blueprint.modules:
        raise ValueError(f"__param_module: {kinds.unknown(name, tuple(blueprint.modules))}")
    return blueprint.modules[name]


def _timeout_s(blueprint: Blueprint, labels: Labels, timed: Timed, interval_s: float) -> float:
    """How long a try may take: all fit into the interval, and what the target does not wish itself gives way."""
    own_s = _duration(labels, "__scrape_timeout__", at_least_s=0.001)
    attempts, pause_s = (blueprint.confirm.attempts, blueprint.confirm.pause_s) if blueprint.confirm else (1, 0.0)
    longest_s = (interval_s - (attempts - 1) * pause_s) / attempts
    if longest_s < _SHORTEST_S:
        raise ValueError(f"__scrape_interval__: {format_duration(interval_s)} leaves no time for {attempts} attempts")
    if own_s is not None and own_s > longest_s:
        tries = "" if attempts == 1 else f"what {attempts} attempts have in "
        room = f"{tries}the interval {format_duration(interval_s)}"
        raise ValueError(f"__scrape_timeout__: the timeout {format_duration(own_s)} is longer than {room}")
    wished_s = own_s or blueprint.timeout_s or (timed.module.timeout_s if timed.wished else DEFAULT_TIMEOUT_S)
    return min(wished_s, longest_s)


_SHORTEST_S = 0.001


def _duration(labels: Labels, name: str, *, at_least_s: float) -> float | None:
    if not labels.get(name):
        return None
    try:
        seconds = parse_duration(labels[name])
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if seconds < at_least_s:
        raise ValueError(f"{name}: expected at least {format_duration(at_least_s)}, got {quoted(labels[name])}")
    return seconds


def _shown(labels: Labels, taken: Iterable[str]) -> dict[str, str]:
    """The labels to export. An empty one is an absent one, to Prometheus."""
    for name in labels:
        if not _LABEL.fullmatch(name):
            raise ValueError(f'{quoted(name)}: expected a label name (letters, digits and "_", no digit first)')
    plain = {name: value for name, value in labels.items() if value and not name.startswith("__")}
    return {f"exported_{name}" if name in taken else name: value for name, value in plain.items()}
