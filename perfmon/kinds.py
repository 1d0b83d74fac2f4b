"""Finds kinds: a file in a plural folder, or an entry point of the group `perfmon.<folder>`.

Nothing is registered and nothing is imported before it is used: a kind that nobody asks for costs
no start-up time, and adding one edits no other file.
"""

import difflib
import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

import perfmon
from perfmon.metrics import FAMILIES, Family
from perfmon.units import quoted

_FOLDERS_WITH_FAMILIES = ("probes", "samplers", "conditions")
_SHOWN = 12  # names in a message


@cache
def names(folder: str) -> tuple[str, ...]:
    """The kinds in a folder, sorted: files first seen here, then those that other packages add."""
    here = {module.name for module in pkgutil.iter_modules([str(Path(perfmon.__path__[0]) / folder)])}
    return tuple(sorted(here | set(_foreign(folder))))


@cache
def load(folder: str, name: str) -> ModuleType:
    """The module of a kind; LookupError with the nearest right name when there is none."""
    if name not in names(folder):
        raise LookupError(unknown(name, names(folder)))
    foreign = _foreign(folder).get(name)
    if foreign is not None:
        module = foreign.load()
        assert isinstance(module, ModuleType), f"entry point {foreign} must name a module"
        return module
    return importlib.import_module(f"perfmon.{folder}.{name}")


@cache
def catalogue() -> Mapping[str, Family]:
    """Every family that perfmon can export, by name, those of the kinds included."""
    families = {family.name: family for family in FAMILIES}
    for folder in _FOLDERS_WITH_FAMILIES:
        for name in names(folder):
            families |= {family.name: family for family in getattr(load(folder, name), "FAMILIES", ())}
    return families


def unknown(name: str, known: Sequence[str], what: str = "") -> str:
    """`unknown "htp", did you mean "http"?`, or the choice when nothing is near; `what` names the sort of thing."""
    return f"unknown {what and what + ' '}{quoted(name)}, {hint(name, known)}"


def hint(name: str, known: Sequence[str]) -> str:
    """`did you mean "http"?`, or the choice when nothing is near."""
    near = nearest(name, known)
    return f'did you mean "{near[0]}"?' if near else choice(known)


def nearest(name: str, known: Sequence[str]) -> list[str]:
    """The name that was probably meant, when there is one: the most alike, or the only one with that word in it."""
    whole = [one for one in known if name in one.split("_")]
    return difflib.get_close_matches(name, known, n=1) or (whole if len(whole) == 1 else [])


def choice(known: Sequence[str]) -> str:
    """`expected one of: http, tcp`; of many names only the first."""
    if not known:
        return "expected none"
    shown = ", ".join(known[:_SHOWN])
    return f"expected one of: {shown}{', ...' if len(known) > _SHOWN else ''}"


@cache
def _foreign(folder: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=f"perfmon.{folder}")}
