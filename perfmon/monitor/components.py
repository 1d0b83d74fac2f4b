"""What outsiders are told of the probes chosen for them: names, states, shares, incidents in plain words.

A component is a probe: all its targets together, or each by itself where addresses may be shown. No address, module,
label or message goes into a value of this file unless the user has asked for it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, groupby
from typing import Literal

import msgspec

from perfmon.maintenance import Open
from perfmon.model import Count, Labels
from perfmon.monitor.history import DAY_QUARTERS, PERIODS
from perfmon.monitor.incidents import Incident
from perfmon.monitor.series import CheckSeries
from perfmon.monitor.tally import DAYS, total
from perfmon.selection import matches

__all__ = ["WORDS", "Choice", "Component", "Outage", "State", "Work", "component", "parted", "state_of", "works"]

State = Literal["up", "degraded", "down", "unknown"]

_SHORTEST_S = 60.0
"""Of an incident that outsiders are told of: a single run that failed is none."""
_OUTAGES = 10


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What may be shown."""

    select: Labels
    show_target: bool = False


class Outage(msgspec.Struct, frozen=True, kw_only=True):
    """A time in which something failed, in Unix time."""

    began_at: float
    ended_at: float | None
    words: str


class Component(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a page for outsiders."""

    key: str  # by which a badge asks for it
    name: str
    target: str  # "" unless it may be shown
    group: str
    state: State
    uptime: Mapping[str, Count]  # by period
    day: Sequence[Count]  # quarters of an hour, oldest first
    days: Sequence[Count]  # of UTC, oldest first
    p95_s: float | None  # of the last hour, of the slowest target
    outages: Sequence[Outage]  # newest first


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """Maintenance that is under way or to come, in Unix time. What it is called is nobody's business out there."""

    since: float
    until: float
    names: Sequence[str]  # of the components that it touches


def works(occurrences: Iterable[Open], by_key: Mapping[str, Sequence[CheckSeries]]) -> list[Work]:
    """Those that touch something that is shown."""
    found = []
    for one in occurrences:
        touched = (
            past.check.target.probe
            for members in by_key.values()
            for past in members
            if matches(one.window.select, past.check.labels, past.check.target.tags)
        )
        names = tuple(dict.fromkeys(touched))
        if names:
            found.append(Work(since=one.since, until=one.until, names=names))
    return found


def parted(checks: Iterable[CheckSeries], choice: Choice) -> dict[str, list[CheckSeries]]:
    """The checks that may be shown, by the key of their component, in the order they have."""
    found: dict[str, list[CheckSeries]] = {}
    for past in checks:
        if matches(choice.select, past.check.labels, past.check.target.tags):
            key = past.check.key if choice.show_target else past.check.target.probe
            found.setdefault(key, []).append(past)
    return found


def component(
    key: str, members: Sequence[CheckSeries], choice: Choice, minute: int, wall: Callable[[float], float]
) -> Component:
    """One component of one check or more; `wall` gives the Unix time of an instant."""
    first = members[0].check.target
    return Component(
        key=key,
        name=first.probe,
        target=first.address if choice.show_target else "",
        group=first.labels.get("group", ""),
        state=state_of(members),
        uptime={name: total(past.counts(span_s, minute) for past in members) for name, span_s in PERIODS.items()},
        day=_added(past.quarters(minute, DAY_QUARTERS) for past in members),
        days=_added(past.days(minute, DAYS) for past in members),
        p95_s=max((tails[1] for past in members if (tails := past.quantiles(minute))), default=None),
        outages=_outages(members, wall),
    )


def state_of(members: Iterable[CheckSeries]) -> State:
    """Of all of them together."""
    seen = [past.last.success for past in members if past.last is not None]
    if not seen:
        return "unknown"
    return "up" if all(seen) else "degraded" if any(seen) else "down"


def _added(columns: Iterable[Sequence[Count]]) -> list[Count]:
    return [total(counts) for counts in zip(*columns, strict=True)]


# ---------------------------------------------------------------- incidents


def _outages(members: Iterable[CheckSeries], wall: Callable[[float], float]) -> list[Outage]:
    """Those of all members, what overlaps as one, newest first."""
    every = chain.from_iterable(past.incidents.newest_first() for past in members)
    known = sorted((_outage(one, wall) for one in every), key=lambda one: one.began_at)
    return [one for one in reversed(list(_merged(known))) if _is_worth_telling(one)][:_OUTAGES]


def _is_worth_telling(one: Outage) -> bool:
    return one.ended_at is None or one.ended_at - one.began_at >= _SHORTEST_S


def _outage(one: Incident, wall: Callable[[float], float]) -> Outage:
    words = [word for word, _ in groupby(WORDS.get(cause.reason, WORDS["internal"]) for cause in one.causes)]
    ended_at = None if one.ended_at is None else wall(one.ended_at)
    return Outage(began_at=wall(one.began_at), ended_at=ended_at, words=", then ".join(words))


def _merged(known: Iterable[Outage]) -> Iterator[Outage]:
    held: Outage | None = None
    for one in known:
        if held is None or (held.ended_at is not None and one.began_at > held.ended_at):
            if held is not None:
                yield held
            held = one
        elif held.ended_at is not None and (one.ended_at is None or one.ended_at > held.ended_at):
            held = msgspec.structs.replace(held, ended_at=one.ended_at)
    if held is not None:
        yield held


_WRONG = "errors in its answers"
_NAME = "its name could not be looked up"
_UNREACHABLE = "not reachable"
_INSECURE = "no secure connection"
_BROKEN = "connections broke off"
_REFUSED = "access was refused"

WORDS: Mapping[str, str] = {
    "dns_nxdomain": _NAME,
    "dns_servfail": _NAME,
    "dns_timeout": _NAME,
    "connect_refused": _UNREACHABLE,
    "connect_timeout": _UNREACHABLE,
    "unreachable": _UNREACHABLE,
    "tls_expired": _INSECURE,
    "tls_name_mismatch": _INSECURE,
    "tls_untrusted": _INSECURE,
    "tls_handshake": _INSECURE,
    "timeout": "no answer in time",
    "status": _WRONG,
    "header": _WRONG,
    "body": _WRONG,
    "json": _WRONG,
    "too_large": _WRONG,
    "short_body": _WRONG,
    "query": _WRONG,
    "loading": "starting up",
    "readonly": _WRONG,
    "auth": _REFUSED,
    "permission": _REFUSED,
    "reset": _BROKEN,
    "closed": _BROKEN,
    "internal": "could not be checked",
}
"""What outsiders are told of a reason: what it was like, and nothing of how the service is built."""
