"""The JSON Schema of a configuration file, for editors: completion, descriptions, and mistakes while typing.

It comes from the same structs as the reading does. A field's description is its `msgspec.Meta(description=...)`, or
else the comment behind it in the source, so a kind's author writes it once and where it belongs. What only shows
between sections (an unknown module, a rule that selects nothing) is beyond a schema: `perfmon check` says it.
"""

import inspect
import io
import tokenize
from collections.abc import Iterator
from typing import Any

import msgspec

from perfmon import kinds
from perfmon.config.file import KINDS, File

__all__ = ["build", "structs_of", "written_types"]

Schema = dict[str, Any]


def build() -> Schema:
    """Draft 2020-12, complete: no reference leads out of it."""
    types = list(dict.fromkeys([File, *written_types().values()]))
    references, definitions = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    by_type = dict(zip(types, references, strict=True))
    for struct in structs_of(types):
        _describe(definitions, struct)
    for section, folder in KINDS.items():
        kinds_here = {name: by_type[written_types()[folder, name]] for name in kinds.names(folder)}
        _add_kinds(definitions[section.__name__], kinds_here, exactly_one=folder != "probes")
    _add_kinds(definitions["TargetSection"], _partial_probers(definitions, by_type), exactly_one=False)
    _name_probers(definitions["ModuleSection"])
    definitions["ProbeSection"]["anyOf"] = [{"required": ["targets"]}, {"required": ["discover"]}]
    definitions["File"]["patternProperties"] = {"^x-": {"description": "Anything: the place for YAML anchors."}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "perfmon",
        **by_type[File],
        "$defs": {name: _loosened(definition) for name, definition in sorted(definitions.items())},
    }


_REFERENCE = "#/$defs/{name}"


def written_types() -> dict[tuple[str, str], Any]:
    """What stands under each kind's key: its `Written` where the file's form differs from its Config."""
    loaded = {(folder, name): kinds.load(folder, name) for folder in KINDS.values() for name in kinds.names(folder)}
    return {key: getattr(kind, "Written", kind.Config) for key, kind in loaded.items()}


def _partial_probers(definitions: Schema, by_type: dict[Any, Schema]) -> dict[str, Schema]:
    """What a target may set above its module: the prober's settings, none of them required."""
    wholes = {name: by_type[written_types()["probes", name]] for name in kinds.names("probes")}
    named = {name: definitions[whole["$ref"].rpartition("/")[2]] for name, whole in wholes.items()}
    return {name: {key: value for key, value in whole.items() if key != "required"} for name, whole in named.items()}


def _add_kinds(section: Schema, kinds_here: dict[str, Schema], *, exactly_one: bool) -> None:
    """Let a section have a further key that names a kind."""
    nothing = {"type": "null"}
    section["properties"] |= {name: {"anyOf": [schema, nothing]} for name, schema in kinds_here.items()}
    if exactly_one:
        section["oneOf"] = [{"required": [name]} for name in kinds_here]


def _name_probers(section: Schema) -> None:
    """A module names its kind in words, and settings of another kind would have no effect."""
    probers = kinds.names("probes")
    section["properties"]["prober"]["enum"] = list(probers)
    section["allOf"] = [
        {
            "if": {"required": [name]},
            "then": {"properties": {"prober": {"const": name}}},
        }
        for name in probers
    ]


def _loosened(schema: Any) -> Any:
    """Say what the reader accepts beyond JSON's types: "30s" for a number with a unit, 1.10 for a text of a label."""
    if isinstance(schema, list):
        return [_loosened(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    loose = {key: _loosened(value) for key, value in schema.items() if key not in ("x-public", "x-expected", "x-path")}
    if "x-unit" in loose:
        loose["type"] = ["number", "string"]
        loose["pattern"] = r"^\s*[+-]?[0-9.]|\$\{"
    values = loose.get("additionalProperties")
    if isinstance(values, dict) and values.get("type") == "string":
        loose["additionalProperties"] = values | {"type": ["string", "number", "boolean"]}
    return loose


# ---------------------------------------------------------------- descriptions


def structs_of(types: list[Any]) -> Iterator[type[msgspec.Struct]]:
    """All structs that the types lead to, each once."""
    seen: set[Any] = set()
    waiting: list[Any] = list(msgspec.inspect.multi_type_info(types))
    while waiting:
        info = waiting.pop()
        if isinstance(info, msgspec.inspect.StructType):
            if info.cls in seen:
                continue
            seen.add(info.cls)
            yield info.cls
            waiting += [field.type for field in info.fields]
        elif isinstance(info, msgspec.inspect.UnionType):
            waiting += info.types
        else:
            waiting += [
                getattr(info, name) for name in ("type", "item_type", "key_type", "value_type") if hasattr(info, name)
            ]


def _describe(definitions: dict[str, Schema], struct: type[msgspec.Struct]) -> None:
    """Give the fields that have none the comment behind them as a description."""
    definition = definitions.get(f"{struct.__module__}.{struct.__name__}") or definitions[struct.__name__]
    for field in msgspec.structs.fields(struct):
        written = definition["properties"][field.encode_name]
        comment = next((found for cls in struct.__mro__ if (found := _comments(cls).get(field.name))), "")
        if comment:
            written.setdefault("description", comment)


def _comments(struct: type) -> dict[str, str]:
    """The comment at the end of each field's first line."""
    if not issubclass(struct, msgspec.Struct) or struct is msgspec.Struct:
        return {}
    found: dict[str, str] = {}
    field = ""
    for token in tokenize.generate_tokens(io.StringIO(inspect.getsource(struct)).readline):
        if token.type == tokenize.NAME and token.start[1] == _INDENT:
            field = token.string
        elif token.type == tokenize.COMMENT and token.start[1] > _INDENT and token.line.strip().startswith(f"{field}:"):
            found[field] = token.string.lstrip("# ")
    return found


_INDENT = 4
