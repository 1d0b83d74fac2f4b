"""What a target must be and what a module brings along, wherever the target comes from."""

from functools import cache
from urllib.parse import urlsplit

import msgspec

from perfmon import kinds
from perfmon.config.yaml_places import Node
from perfmon.metrics import PROBE_FAMILIES, SAMPLER_FAMILIES, Family
from perfmon.model import Module

__all__ = ["ALERT_LABELS", "Timed", "own_labels", "password_in", "with_timeout"]

_TARGET_LABELS = frozenset({"probe", "target", "module", "sampler"})
ALERT_LABELS = _TARGET_LABELS | {"alertname", "severity"}
_METRIC_LABELS = frozenset({"le", "quantile", "reason", "result", "phase"})


@cache
def own_labels(folder: str, kind: str) -> frozenset[str]:
    """Labels that the series of a kind have already, "" for a kind that is not known."""
    families: tuple[Family, ...] = PROBE_FAMILIES if folder == "probes" else SAMPLER_FAMILIES
    families += getattr(kinds.load(folder, kind), "FAMILIES", ()) if kind else ()
    return ALERT_LABELS | _METRIC_LABELS | {label for family in families for label in family.labels}


class Timed(msgspec.Struct, frozen=True):
    """A module, and whether its timeout is the user's wish."""

    module: Module
    wished: bool
    node: Node | None = None  # its settings as they are written; None when a target cannot change them


def with_timeout(module: Module, timeout_s: float) -> Module:
    """Most checks share their module; only those with a time of their own get their own."""
    return module if timeout_s == module.timeout_s else msgspec.structs.replace(module, timeout_s=timeout_s)


def password_in(address: str) -> str:
    """What to say of an address that holds a password, "" for one that holds none."""
    url = address if "://" in address else f"//{address}"  # http needs no scheme
    try:
        parts = urlsplit(url)
        shown = f"{parts.username}:<secret>@{parts.hostname}"
    except ValueError:
        return ""
    if not parts.password:
        return ""
    scheme = f"{parts.scheme}://" if parts.scheme else ""
    return f'"{scheme}{shown}" holds a password, and the address is shown in labels and pages: set it in the module'
