"""The dashboards that perfmon ships, a file each.

Ids are for good: a new panel takes a new number, a removed one leaves a gap.
"""

from collections.abc import Mapping

from perfmon.provision.dashboards import fleet, itself, load, resources, slo, target
from perfmon.provision.grafana import document

__all__ = ["documents"]


def documents() -> Mapping[str, str]:
    """The JSON of each dashboard by the name of its file."""
    boards = {"fleet": fleet, "target": target, "resources": resources, "slo": slo, "load": load, "perfmon": itself}
    return {f"{name}.json": document(part.board()) for name, part in boards.items()}
