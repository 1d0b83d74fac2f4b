"""Every setting has its line in docs/configuration.md: name, type with unit, default."""

import re
from pathlib import Path

import msgspec
import pytest
from msgspec import inspect

from perfmon import kinds
from perfmon.config.file import KINDS, File
from perfmon.config.json_schema import structs_of, written_types
from perfmon.units import format_bytes, format_duration, format_ratio

DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"
FORMATS = {"duration": format_duration, "bytes": format_bytes, "ratio": format_ratio}
UNITS = {"duration": "duration", "bytes": "size", "ratio": "share"}
WORDS = {
    inspect.StrType: "text",
    inspect.IntType: "whole number",
    inspect.FloatType: "number",
    inspect.BoolType: "true or false",
    inspect.DictType: "mapping",
    inspect.StructType: "mapping",
    inspect.AnyType: "anything",
}


def words(info):
    """The type as the document writes it."""
    match info:
        case inspect.Metadata():
            unit = (info.extra_json_schema or {}).get("x-unit")
            return UNITS[unit] if unit else words(info.type)
        case inspect.UnionType():
            return " or ".join(words(option) for option in info.types if not isinstance(option, inspect.NoneType))
        case inspect.LiteralType():
            return ", ".join(f"`{value}`" for value in info.values if value != "")
        case inspect.ListType() | inspect.VarTupleType():
            return "list of " + re.sub("(text|number|mapping)", r"\1s", words(info.item_type))
        case _:
            return WORDS[type(info)]


def default(field):
    """The default as the document writes it; "-" for nothing."""
    if field.required:
        return "required"
    value = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    unit = (getattr(field.type, "extra_json_schema", None) or {}).get("x-unit")
    if value is None or value == "" or value in ([], (), {}) or isinstance(value, msgspec.Struct):
        return "-"
    if unit:
        return f"`{FORMATS[unit](value)}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`[{', '.join(map(str, value))}]`" if isinstance(value, list | tuple) else f"`{value}`"


def rows(struct):
    """The beginning of each setting's line."""
    info = inspect.type_info(struct)
    return [f"| `{field.encode_name}` | {words(field.type)} | {default(field)} | " for field in info.fields]


STRUCTS = sorted(structs_of([File, *written_types().values()]), key=lambda struct: (struct.__module__, struct.__name__))


def table_of(struct):
    """The lines below the struct's mark, up to the next heading or mark."""
    mark = f"<!-- {struct.__module__}.{struct.__name__} -->"
    assert mark in DOCUMENT.read_text(), f"docs/configuration.md has no {mark}"
    return re.split(r"\n#|\n<!--", DOCUMENT.read_text().partition(mark)[2])[0].splitlines()


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: f"{struct.__module__}.{struct.__name__}")
def test_every_setting_has_its_line(struct):
    lines = table_of(struct)

    assert [] == [
        row for row in rows(struct) if not any(line.startswith(row) and len(line) > len(row) + 3 for line in lines)
    ]


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: f"{struct.__module__}.{struct.__name__}")
def test_no_line_is_about_a_setting_that_is_gone(struct):
    named = {match[1] for line in table_of(struct) if (match := re.match(r"\| `(\S+)` \|", line))}

    assert set() == named - {field.encode_name for field in msgspec.structs.fields(struct)}


@pytest.mark.parametrize(
    ("folder", "name"), [(folder, name) for folder in KINDS.values() for name in kinds.names(folder)]
)
def test_every_kind_has_its_heading(folder, name):
    assert re.search(rf"^#+ .*`{name}`", DOCUMENT.read_text(), re.MULTILINE)
