"""The section `maintenance`, and `depends_on` of probes: what holds alerts back."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from perfmon import selection
from perfmon.config.convert import WRONG
from perfmon.config.file import MaintenanceSection
from perfmon.config.sections import Place, settings
from perfmon.maintenance import Cron, Dates, Maintenance, Weekly, cron, dates, is_date, weekly
from perfmon.model import Labels
from perfmon.selection import Selectable
from perfmon.units import quoted

__all__ = ["check_dependencies", "needs_of", "windows_of"]


def windows_of(places: Sequence[Place], watched: Sequence[Selectable]) -> list[Maintenance]:
    """The windows; complete when nothing was wrong."""
    first: dict[str, Place] = {}
    found = []
    for place in places:
        name = place.text("name")
        if name is not None and first.setdefault(name, place) is not place:
            place.problem("name", f"{quoted(name)} is taken by a window in {first[name].seen_from(place)}")
        values = settings(place, MaintenanceSection)
        when = _when(place, values)
        _check_select(place, values["select"], watched)
        if WRONG not in (*values.values(), when):
            found.append(
                Maintenance(name=values["name"], when=when, select=values["select"], counted=values["counted"])
            )
    return found


def needs_of(written: Sequence[str | Labels]) -> tuple[Labels, ...]:
    """What `depends_on` names, as labels."""
    return tuple({"probe": one} if isinstance(one, str) else dict(one) for one in written)


def check_dependencies(probes: Mapping[str, tuple[Place, Sequence[Labels]]], watched: Sequence[Selectable]) -> None:
    """Whether every entry of `depends_on` names somebody else, and no circle is closed. `probes` are by name."""
    checks = [one for one in watched if "probe" in one.labels]
    graph: dict[str, set[str]] = {name: set() for name in probes}
    for name, (place, needs) in probes.items():
        for index, need in enumerate(needs):
            for _, message in selection.mistakes_of_select(need, checks):
                place.problem(f"depends_on[{index}]", message)
            named = (one for one in checks if selection.matches(need, one.labels, one.tags))
            graph[name] |= {one.labels["probe"] for one in named}
    for circle in _circles(graph):
        if len(circle) == 1:
            message = "depends on itself: what others depend on belongs into a probe of its own"
        else:
            message = f"depends on itself, by way of {' -> '.join((*circle, circle[0]))}"
        probes[circle[0]][0].problem("depends_on", message)


# ---------------------------------------------------------------- windows

_FORMS = "expected from and to, or cron and duration"


def _when(place: Place, values: Mapping[str, Any]) -> Any:
    """What stands there of the three forms, or WRONG."""
    if WRONG in values.values():
        return WRONG
    try:
        return _read(values)
    except ValueError as error:
        place.problem("", str(error))
        return WRONG


def _read(values: Mapping[str, Any]) -> Dates | Cron | Weekly:
    begin, end, line, duration_s, days, time_zone = (
        values[name] for name in ("from_", "to", "cron", "duration", "weekdays", "time_zone")
    )
    by_clock, by_cron = (bool(begin), bool(end)), (bool(line), bool(duration_s))
    if {by_clock, by_cron} != {(True, True), (False, False)}:
        raise ValueError(_FORMS)
    if days and (any(by_cron) or is_date(begin) or is_date(end)):
        raise ValueError("weekdays has no effect, since there is a date or a crontab's line")
    if any(by_cron):
        return cron(line, duration_s, time_zone)
    return dates(begin, end, time_zone) if is_date(begin) or is_date(end) else weekly(begin, end, days, time_zone)


def _check_select(place: Place, select: Any, watched: Sequence[Selectable]) -> None:
    """What names the alert itself, or a label of a rule, no series tells."""
    if select is not WRONG and not select.keys() & {"alertname", "severity"}:
        for below, message in selection.mistakes_of_select(select, watched):
            place.problem(below, message)


# ---------------------------------------------------------------- circles


def _circles(graph: Mapping[str, set[str]]) -> Iterator[list[str]]:
    """One way round for each circle of the graph, told of the first of it."""
    told: set[str] = set()
    for name in graph:
        way = [] if name in told else _way_back(name, graph)
        if way:
            told |= set(way)
            yield way


def _way_back(name: str, graph: Mapping[str, set[str]]) -> list[str]:
    """The shortest way from a node to itself, without its end; empty when there is none."""
    ways, seen = [[name]], set()
    for way in ways:
        for following in sorted(graph.get(way[-1], ())):
            if following == name:
                return way
            if following not in seen:
                seen.add(following)
                ways.append([*way, following])
    return []
