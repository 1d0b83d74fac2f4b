"""blackbox_exporter's `query_response`, as the kinds that talk over a stream have it: settings and checks."""

import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from perfmon.model import Failure, fact_key
from perfmon.network.dialogue import Dialogue, Step, hold
from perfmon.patterns import compile_pattern, problem
from perfmon.secret import Secret
from perfmon.trace import Trace

__all__ = ["BLAMELESS", "Label", "QueryResponse", "check_entries", "steps_of", "talk"]


class Label(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A label of `probe_expect_info`; its value may name groups of `expect`."""

    name: str
    value: str = ""


class QueryResponse(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of a dialogue: what to hear, then what to say, then whether to go over to TLS.

    `expect`, `expect_bytes`, `labels`, `send` and `starttls` are blackbox_exporter's, the rest is perfmon's own.
    """

    expect: str = ""  # RE2, found anywhere in a line; lines that do not match are skipped
    labels: list[Label] = []
    expect_bytes: str = ""  # UTF-8
    expect_hex: str = ""
    send: str = ""  # a line; "\n" is added
    send_bytes: str = ""  # UTF-8, exactly
    send_hex: str = ""
    starttls: bool = False


BLAMELESS: Mapping[str, float] = {"probe_failed_due_to_regex": 0.0, "probe_failed_due_to_bytes": 0.0}
_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")


def check_entries(entries: Sequence[QueryResponse], *, tls: bool) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express, as (path, message); `tls` from the beginning."""
    for number, entry in enumerate(entries):
        if entry.starttls and tls:
            yield f"query_response[{number}].starttls", "the connection has TLS already"
        tls = tls or entry.starttls
        for path, message in _check_entry(entry):
            yield f"query_response[{number}].{path}", message


def steps_of(entries: Sequence[QueryResponse]) -> tuple[Step, ...]:
    """The dialogue that the entries describe."""
    return tuple(_step(number, entry) for number, entry in enumerate(entries, 1))


async def talk(dialogue: Dialogue, trace: Trace) -> Failure | None:
    """Hold the dialogue, and write into the trace what is to blame when the words were not the expected."""
    ended = await hold(dialogue, trace)
    if ended.mismatch:
        trace.facts[f"probe_failed_due_to_{ended.mismatch}"] = 1.0
    return ended.failure


def _check_entry(entry: QueryResponse) -> Iterable[tuple[str, str]]:
    if entry.expect and (message := problem(entry.expect)):
        yield "expect", message
    for field in ("expect_hex", "send_hex"):
        try:
            bytes.fromhex(getattr(entry, field))
        except ValueError as error:
            yield field, f"expected pairs of hexadecimal digits: {error}"
    for choice in (("expect_bytes", "expect_hex"), ("send", "send_bytes", "send_hex")):
        given = [field for field in choice if getattr(entry, field)]
        if len(given) > 1:
            yield given[0], f"at most one of {', '.join(choice)} may be given"
    for number, label in enumerate(entry.labels):
        if not _LABEL.fullmatch(label.name):
            yield f"labels[{number}].name", f'"{label.name}" is no label name'
        if isinstance(label.value, Secret):
            yield f"labels[{number}].value", "a label is shown, so no secret may stand in it"
    if len({label.name for label in entry.labels}) < len(entry.labels):
        yield "labels", "one label name stands there twice"
    if entry.labels and not entry.expect:
        yield "labels", "labels are filled in from what expect found, and there is no expect"


def _step(number: int, entry: QueryResponse) -> Step:
    line = f"{entry.send}\n".encode() if entry.send else b""
    return Step(
        pattern=compile_pattern(entry.expect) if entry.expect else None,
        labels=tuple((label.name, label.value) for label in entry.labels),
        expected=entry.expect_bytes.encode() or bytes.fromhex(entry.expect_hex),
        reply=entry.send if entry.expect else "",
        data=entry.send_bytes.encode() or bytes.fromhex(entry.send_hex) or (b"" if entry.expect else line),
        starttls=entry.starttls,
        secret=any(isinstance(text, Secret) for text in (entry.expect, entry.expect_bytes, entry.expect_hex)),
        secret_reply=any(isinstance(text, Secret) for text in (entry.send, entry.send_bytes, entry.send_hex)),
        duration_key=fact_key("probe_step_duration_seconds", step=str(number)),
    )
