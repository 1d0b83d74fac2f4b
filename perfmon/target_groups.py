"""Targets as others list them: Prometheus' target groups, `[{"targets": [...], "labels": {...}}]`, in JSON or YAML.

What one group or target has wrong is refused in words, and the others go on; a text that is no list at all is a
ValueError. Bounded against hostile input: nothing is followed but the way to a target, so an alias costs what it says.
"""

from collections.abc import Iterator
from typing import Any, Literal

import msgspec
import yaml

from perfmon.model import Labels
from perfmon.units import quoted

__all__ = ["MAX_BYTES", "Form", "Found", "Listing", "read"]

Form = Literal["json", "yaml"]

MAX_BYTES = 16 << 20
MAX_TARGETS = 100_000  # of one text; a few aliases in YAML can name more than any memory holds
_MAX_DEPTH = 8  # a list of mappings of lists and mappings is 4


class Found(msgspec.Struct, frozen=True):
    """A target as its source names it."""

    address: str
    labels: Labels  # as they are written, those that begin with "__" among them
    where: str  # it stands: "targets/shop.yml [0].targets[3]"


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """What one look at a source found."""

    found: tuple[Found, ...]
    refused: tuple[str, ...] = ()  # what stands there and cannot be a target, in words
    broken: tuple[str, ...] = ()  # parts that could not be read, in words; what they said last is among `found`


def read(data: bytes, source: str, form: Form) -> Listing:
    """The targets of a text; `source` says in messages where it came from. ValueError when it is no list of groups."""
    groups = _plain(data, form)
    if not isinstance(groups, list):
        raise ValueError(f"expected a list of target groups, got {_kind(groups)}")  # noqa: TRY004 - a text's mistake
    found: list[Found] = []
    refused: list[str] = []
    for number, group in enumerate(groups):
        for one in _targets(group, f"{source} [{number}]"):
            if len(found) + len(refused) == MAX_TARGETS:
                raise ValueError(f"names more than {MAX_TARGETS} targets")
            if isinstance(one, Found):
                found.append(one)
            else:
                refused.append(one)
    return Listing(found=tuple(found), refused=tuple(refused))


# ---------------------------------------------------------------- groups


def _targets(group: Any, where: str) -> Iterator[Found | str]:
    """The targets of a group, and sentences for what is none."""
    mistake = _mistake(group)
    if mistake:
        yield f"{where}: {mistake}"
        return
    labels = group.get("labels") or {}
    for number, address in enumerate(group["targets"] or ()):
        place = f"{where}.targets[{number}]"
        if isinstance(address, str):
            yield Found(address, labels, place)
        else:
            yield f"{place}: expected an address, got {_kind(address)}"


def _mistake(group: Any) -> str:
    """Why a group cannot be read, "" when it can."""
    if not isinstance(group, dict):
        return f"expected a mapping with targets and labels, got {_kind(group)}"
    further = [name for name in group if name not in ("targets", "labels")]
    if further:
        return f"expected targets and labels, got {quoted(str(further[0]))}"
    if not isinstance(group.get("targets"), list):
        return f"targets: expected a list of addresses, got {_kind(group.get('targets'))}"
    labels = group.get("labels") or {}
    if not isinstance(labels, dict):
        return f"labels: expected a mapping, got {_kind(labels)}"
    wrong = [name for name, value in labels.items() if not isinstance(value, str)]
    return f"labels.{wrong[0]}: expected a text, got {_kind(labels[wrong[0]])}" if wrong else ""


def _kind(value: Any) -> str:
    match value:
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case None | "":
            return "nothing"
        case bool() | int() | float():
            return str(value)[:40]
        case _:
            return quoted(str(value)[:40])


# ---------------------------------------------------------------- texts


def _plain(data: bytes, form: Form) -> Any:
    """The text as lists, dicts and scalars. ValueError for one that is neither."""
    if len(data) > MAX_BYTES:
        raise ValueError(f"is larger than {MAX_BYTES >> 20} MiB")
    # A file that is just being written is empty for a moment, and no targets are written as `[]`.
    if not data.strip():
        raise ValueError("is empty, expected a list of target groups ([] for none)")
    return _from_json(data) if form == "json" else _from_yaml(data)


def _from_json(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"is not JSON: {error}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def _from_yaml(data: bytes) -> Any:
    """Scalars stay as they are written: a label's `1.10` is a text here, as it is in Prometheus."""
    try:
        text = data.decode("utf-8-sig")
        _check_depth(text)
        return yaml.load(text, yaml.CBaseLoader)  # noqa: S506 - it makes texts, lists and dicts only
    except yaml.YAMLError as error:
        raise ValueError(f"is not YAML: {' '.join(str(error).split())}") from None
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None


def _check_depth(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, yaml.CBaseLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MAX_DEPTH:
                raise ValueError(f"is nested deeper than {_MAX_DEPTH} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
