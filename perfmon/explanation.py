"""One run explained: a single value that the terminal, `/probe?debug=true`, the API and the page all show.

It is made of what a run with `debug` told (`perfmon.steps`), and holds no secret: `perfmon.measure` has cut them out of
the run, and the module's settings are masked here.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count, starmap
from typing import Any, TypeVar

import msgspec
import yaml

from perfmon.clock import iso
from perfmon.model import Failure, Measurement, Module
from perfmon.network.address import masked as masked_address
from perfmon.secret import hidden, masked, without
from perfmon.steps import Certificate, Demand, Exchange, LookUp, Said, Step, Timed
from perfmon.units import format_bytes, format_duration, format_ratio, printable, unit_of

__all__ = ["Explanation", "Section", "certificate_dates", "explain", "sections", "settings"]

_BAR_COLUMNS = 44
_DAY_S = 86_400

Section = tuple[str, Sequence[str]]
"""A title and the lines below it."""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What a run was told to do, what it saw, and what came of it. As JSON it is what the API answers."""

    probe: str  # the name of the check, "" for a run that belongs to none
    target: str
    hostname: str
    module: str
    kind: str
    at: float  # when it began, Unix time
    success: bool
    duration_s: float
    timeout_s: float
    phases: Mapping[str, float]
    address: str
    failure: Failure | None
    steps: Sequence[Step]
    log: Sequence[str]  # what was told while it ran, each line with its Unix time
    metrics: Sequence[str]  # one series each, as the exposition format has them
    config: str  # the module as YAML, without what is as it always is, secrets masked


def explain(
    measurement: Measurement, module: Module, *, at: float, timeout_s: float, metrics: Iterable[str]
) -> Explanation:
    """The explanation of a run; `at` is when it began in Unix time, `metrics` the lines of the page that it made."""
    return Explanation(
        probe=measurement.target.probe,
        target=masked_address(measurement.target.address),
        hostname=measurement.target.hostname,
        module=module.name,
        kind=module.kind,
        at=at,
        success=measurement.success,
        duration_s=measurement.duration_s,
        timeout_s=timeout_s,
        phases={str(phase): seconds for phase, seconds in measurement.phases.items()},
        address=measurement.address,
        failure=measurement.failure,
        steps=measurement.steps,
        log=measurement.lines,
        # A label of a metric may hold what the target said.
        metrics=without(hidden(module.config), tuple(line for line in metrics if line and not line.startswith("#"))),
        config=settings(module),
    )


def settings(module: Module) -> str:
    """A module as it is written in a file, with what differs from the defaults, secrets masked."""
    whole = {"prober": module.kind, "timeout": format_duration(module.timeout_s)}
    own = _differing(module.config)
    text = yaml.safe_dump(whole | ({module.kind: own} if own else {}), sort_keys=False, allow_unicode=True)
    return text.rstrip()


def sections(explained: Explanation) -> Iterable[Section]:
    """All of it in words, for a terminal or a plain page; the verdict itself is left to whoever asks."""
    found = (
        ("time", _times(explained)),
        ("name", _names(explained)),
        *_exchanges(explained),
        ("dialogue", [f"{_since(said):>8} {_MARKS[said.by]} {said.text}" for said in _only(explained, Said)]),
        ("expected", [_demand(demand) for demand in _only(explained, Demand)]),
        *_certificates(explained),
        ("failure", _failure(explained.failure)),
        ("metrics", explained.metrics),
        ("module", [f"{explained.module}:", *(f"  {line}" for line in explained.config.splitlines())]),
    )
    return (
        (title, [printable(line) for text in lines for line in text.splitlines()]) for title, lines in found if lines
    )


def certificate_dates(certificate: Certificate, wall: float) -> str:
    """How long a certificate is valid, seen from the Unix time `wall`."""
    first, last = (iso(at)[:16].replace("T", " ") for at in (certificate.not_before, certificate.not_after))
    if wall < certificate.not_before:
        return f"{first} to {last} UTC, not valid yet"
    left_s = certificate.not_after - wall
    days = f"{abs(left_s) / _DAY_S:.0f} days" if abs(left_s) >= 2 * _DAY_S else format_duration(abs(left_s), brief=True)
    return f"{first} to {last} UTC, " + (f"{days} left" if left_s >= 0 else f"expired {days} ago")


# ---------------------------------------------------------------- the parts

_MARKS = {"perfmon": ">", "target": "<"}
_Kind = TypeVar("_Kind", bound=Step)


def _only(explained: Explanation, kind: type[_Kind]) -> list[_Kind]:
    return [step for step in explained.steps if isinstance(step, kind)]


def _times(explained: Explanation) -> Sequence[str]:
    spans = _only(explained, Timed)
    end = max((span.begin_s + span.seconds for span in spans), default=0.0)
    hops = len(_only(explained, Exchange))
    first = spans[0].phase if spans else ""
    number = count(1)
    lines: list[str] = []
    for span in spans:
        if hops > 1 and span.phase == first:
            lines.append(f"hop {next(number)}")
        lines.append(f"{span.phase:<10} {_brief(span.seconds):>8} {_bar(span, end)}".rstrip())
    return lines


def _bar(span: Timed, end: float) -> str:
    """The place of a phase in the run; one that took next to nothing is still a tick."""
    scale = _BAR_COLUMNS / end if end else 0.0
    begin = min(int(span.begin_s * scale), _BAR_COLUMNS - 1)
    columns = round(span.seconds * scale)
    return " " * begin + ("█" * columns or "▏")


def _names(explained: Explanation) -> Sequence[str]:
    return [
        f"{look.host}: {look.error}" if look.error else f"{look.host} is {', '.join(look.addresses)}; used {look.used}"
        for look in _only(explained, LookUp)
    ]


def _exchanges(explained: Explanation) -> Iterable[Section]:
    exchanges = _only(explained, Exchange)
    for number, exchange in enumerate(exchanges, 1):
        title = f"hop {number} of {len(exchanges)}" if len(exchanges) > 1 else "exchange"
        sent = [f"> {line}" for line in exchange.sent]
        received = [f"< {line}" for line in exchange.received]
        ended = [f"! {exchange.error}"] if exchange.error else []
        where = f"{exchange.url} at {exchange.address}" if exchange.url else f"connection to {exchange.address}"
        yield title, [where, *sent, *received, *ended]


def _demand(demand: Demand) -> str:
    return f"{'ok  ' if demand.met else 'FAIL'}  {demand.name}: got {demand.got}; expected: {demand.expected}"


def _certificates(explained: Explanation) -> Iterable[Section]:
    chain = _only(explained, Certificate)
    for number, certificate in enumerate(chain, 1):
        yield (
            "certificate" if len(chain) == 1 else f"certificate {number} of {len(chain)}",
            [
                f"subject {certificate.subject or 'none'}",
                f"issuer  {certificate.issuer or 'none'}",
                f"names   {', '.join(certificate.names) or 'none'}",
                f"valid   {certificate_dates(certificate, explained.at)}",
                f"serial  {certificate.serial}",
                f"sha256  {certificate.fingerprint}",
            ],
        )


def _failure(failure: Failure | None) -> Sequence[str]:
    if failure is None:
        return ()
    where = f" in {failure.phase}" if failure.phase else ""
    return [failure.message, f"{failure.reason}{where}", *starmap(_evidence, failure.evidence.items())]


def _evidence(name: str, text: str) -> str:
    """In one line, or with its lines below the name."""
    lines = text.strip().splitlines()
    return f"{name}: {text.strip()}" if len(lines) < 2 else "\n".join([f"{name}:", *(f"  {line}" for line in lines)])


def _since(said: Said) -> str:
    return _brief(said.at_s)


def _brief(seconds: float) -> str:
    return format_duration(seconds, brief=True)


# ---------------------------------------------------------------- settings


def _differing(config: Any) -> dict[str, Any]:
    """The settings that are not as they are by default, as plain values in the words of a file."""
    shown: Mapping[str, Any] = masked(config)
    kept: dict[str, Any] = {}
    for field in msgspec.structs.fields(config):
        value = getattr(config, field.name)
        default = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
        if value != default or type(value) is not type(default):
            kept[field.name] = _written(value, shown[field.name], unit_of(field.type))
    return kept


def _written(value: Any, shown: Any, unit: str) -> Any:
    """A setting as it would stand in a file; `shown` is the same without secrets."""
    match value:
        case msgspec.Struct():
            return _differing(value)
        case list() | tuple():
            return [_written(*item, "") for item in zip(value, shown, strict=True)]
        case Mapping() if any(isinstance(item, msgspec.Struct) for item in value.values()):
            return {name: _written(item, shown[name], "") for name, item in value.items()}
        case float() if unit in _IN_UNITS:
            return _IN_UNITS[unit](value)
    return shown


_IN_UNITS: Mapping[str, Callable[[float], str]] = {
    "duration": format_duration,
    "bytes": format_bytes,
    "ratio": format_ratio,
}
