"""From thresholds in short (`perfmon.short_form`) to the rules that they stand for."""

import glob
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from perfmon import kinds
from perfmon.config.sections import Place
from perfmon.model import Rule
from perfmon.short_form import LEVELS, Growth, Short, limit
from perfmon.units import Quantity, quoted

__all__ = ["check_names", "short_rules"]


def short_rules(
    place: Place,
    thresholds: Mapping[str, str],
    shorts: Mapping[str, Short],
    owner: Mapping[str, str],
    interval_s: float,
) -> list[Rule]:
    """The rules that a section's `thresholds` stand for; `owner` is the label that its series have: `{probe: shop}`.

    Mistakes are reported at their place, and what is wrong makes no rule.
    """
    select = {name: glob.escape(value) for name, value in owner.items()}
    found: list[Rule] = []
    for word, limits in _by_word(place, thresholds, shorts).items():
        try:
            found.append(_rule(shorts[word], limits, select, interval_s))
        except ValueError as error:
            place.problem(f"thresholds.{next(iter(_written(word, limits)))}", str(error))
    return found


def check_names(places: Iterable[Place], short: Iterable[Rule]) -> None:
    """No written rule may be called like one that was written in short: nobody could tell their alerts apart."""
    taken = {rule.name: next(f"{name} {quoted(text)}" for name, text in rule.select.items()) for rule in short}
    for place in places:
        name = place.text("name")
        if name in taken:
            place.problem("name", f"{quoted(name)} is taken by the thresholds of {taken[name]}, expected another name")


def _by_word(
    place: Place, thresholds: Mapping[str, str], shorts: Mapping[str, Short]
) -> Mapping[str, Mapping[str, Quantity]]:
    """Limits by word and level, "" for the one without; the milder level first."""
    known = [form for word in shorts for form in _forms(word)]
    found: dict[str, dict[str, Quantity]] = {}
    for written, text in thresholds.items():
        word, level = _split(written)
        if word not in shorts:
            place.problem(f"thresholds.{written}", kinds.unknown(written, known, "threshold"))
            continue
        if found.get(word) and _clash(shorts[word], level, found[word]):
            others = " and ".join(_written(word, found[word]))
            place.problem(f"thresholds.{written}", f"stands here beside {others}, expected one of them")
            continue
        try:
            found.setdefault(word, {})[level] = limit(text, shorts[word])
        except ValueError as error:
            place.problem(f"thresholds.{written}", place.reading.references.mask(str(error)))
    return {word: dict(sorted(limits.items(), reverse=True)) for word, limits in found.items() if limits}


def _rule(short: Short, limits: Mapping[str, Quantity], select: Mapping[str, str], interval_s: float) -> Rule:
    """ValueError when the limits do not fit together."""
    settings: Any
    if isinstance(short, Growth):
        ((level, growth),) = limits.items()
        kind, settings, severity = "leak", {"growth": str(growth)}, level
    else:
        kind, settings, severity = "threshold", short.write(limits, interval_s), ""
    condition = kinds.load("conditions", kind)
    config = condition.parse(settings)
    return Rule(
        name=short.alert,
        kind=kind,
        config=config,
        select=select,
        metric=short.metric,
        for_s=condition.for_s(config) or 0.0,
        severity="warning" if severity == "warning" else "critical",
    )


def _forms(word: str) -> Iterator[str]:
    yield word
    yield from (f"{word}_{level}" for level in LEVELS)


def _split(written: str) -> tuple[str, str]:
    word, _, level = written.rpartition("_")
    return (word, level) if level in LEVELS else (written, "")


def _written(word: str, limits: Iterable[str]) -> list[str]:
    return [f"{word}_{level}" if level else word for level in limits]


def _clash(short: Short, level: str, others: Iterable[str]) -> bool:
    """Without a level it is critical, so both would be one; growth has one level."""
    return isinstance(short, Growth) or level == "" or "" in others
