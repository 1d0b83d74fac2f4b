"""Read YAML files into one frozen Config, or say everything that is wrong with them.

A mistake names its file, line and path, what stood there and what was expected; all are reported at once. What the
sections look like stands in `file`, how a node becomes a value in `convert`, what must hold across sections in `parts`,
and the settings of a kind in that kind's own file.
"""

import ipaddress
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from perfmon import kinds, selection
from perfmon.config import blackbox as blackbox_file
from perfmon.config import yaml_places
from perfmon.config.alerting import Alerting, alerting_of, linked
from perfmon.config.convert import WRONG, Reading, key_path
from perfmon.config.discovered import Discovery
from perfmon.config.file import File, LimitsSection, LogSection, StateSection, WebSection
from perfmon.config.maintenance import windows_of
from perfmon.config.parts import BUILT_IN, label_names, modules_of, probes_of, receivers_of, rules_of, samplers_of
from perfmon.config.scenarios import scenarios_of
from perfmon.config.sections import Place, items, members, seen_from, settings, single
from perfmon.config.targets import Timed
from perfmon.config.yaml_places import Mapping as MappingNode
from perfmon.config.yaml_places import Scalar, is_null
from perfmon.errors import ConfigError, Problem
from perfmon.maintenance import Maintenance
from perfmon.model import Check, Module, Receiver, Rule, Sampler
from perfmon.scenario import Scenario
from perfmon.selection import Selectable
from perfmon.units import quoted

__all__ = [
    "Alerting",
    "Blackbox",
    "Config",
    "Limits",
    "Log",
    "Network",
    "Public",
    "State",
    "Web",
    "for_scenario",
    "from_mapping",
    "from_urls",
    "load",
    "schema",
]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Public(msgspec.Struct, frozen=True, kw_only=True):
    """What outsiders are shown."""

    title: str
    select: Mapping[str, str]
    show_target: bool
    listen: tuple[str, ...]  # addresses for this alone


class Web(msgspec.Struct, frozen=True, kw_only=True):
    """The daemon's own pages."""

    listen: tuple[str, ...]  # "HOST:PORT", "[IPV6]:PORT" or ":PORT"
    probe_allow: tuple[Network, ...] = ()  # beside this machine, who may call /probe and run checks
    timeout_offset_s: float = 0.5  # of the scraper's time, what /probe keeps back
    external_url: str = ""  # where people reach the page; "" = the first of `listen`
    config_file: str = ""  # a web-config.yml; "" = neither TLS nor passwords
    public: Public | None = None  # None = outsiders are shown nothing


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What a restart must not forget."""

    path: str  # "" = memory only


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds that keep a mistake from becoming an outage."""

    series: int
    in_flight: int
    in_flight_per_host: int
    targets: int


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """What the daemon writes to stderr."""

    level: Literal["debug", "info", "warning", "error"]
    format: Literal["console", "json"]


class Blackbox(msgspec.Struct, frozen=True, kw_only=True):
    """A file of blackbox_exporter's."""

    file: str
    warnings: tuple[str, ...] = ()  # what it takes, too, and what will not do what its author thought


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a user can set. Two readings of the same files are equal."""

    modules: Mapping[str, Module]  # by name; those that exist without being written only where there is no `blackbox`
    checks: tuple[Check, ...]  # one for each target that is written
    discoveries: tuple[Discovery, ...]  # where further targets are looked up
    samplers: tuple[Sampler, ...]
    rules: tuple[Rule, ...]
    receivers: tuple[Receiver, ...]
    alerting: Alerting
    maintenance: tuple[Maintenance, ...]
    scenarios: tuple[Scenario, ...]
    web: Web
    state: State
    limits: Limits
    log: Log
    blackbox: Blackbox | None = None


def load(
    paths: Sequence[str | Path], *, blackbox: str | Path | None = None, env: Mapping[str, str] = os.environ
) -> Config:
    """Read files that make one configuration together. Raises ConfigError with all mistakes of all files.

    `blackbox` is a file of blackbox_exporter's whose modules stand beside the others; alone, nothing is watched and
    no state is kept.
    """
    reading = Reading(env)
    roots = [_parse(_content(str(path), reading), str(path), reading) for path in paths]
    if not paths:
        roots.append(_parse(_STATELESS, BUILT_IN, reading))
    return _assembled([root for root in roots if root is not None], reading, _foreign(blackbox, reading))


def from_urls(urls: Sequence[str], *, blackbox: str | Path | None = None) -> Config:
    """What `perfmon serve URL...` watches: the URLs (or host:port), this machine, and perfmon itself.

    Raises ConfigError with all addresses that cannot be probed.
    """
    reading = Reading({})
    reading.problems += [_unclear(url) for url in urls if ":" not in url]
    root = _parse(msgspec.json.encode(_document([url for url in urls if ":" in url])), _COMMAND_LINE, reading)
    assert root is not None, "our own document is never empty"
    try:
        return _assembled([root], reading, _foreign(blackbox, reading))
    except ConfigError as error:
        # Lines and paths of a file that nobody wrote help nobody; the messages name the address.
        raise ConfigError([_without_place(problem) for problem in error.problems]) from None


def _unclear(address: str) -> Problem:
    """A bare name may be a page or a port."""
    expected = f"expected a URL such as https://{address}/, or HOST:PORT"
    if Path(address).is_file():
        expected = f"expected --config.file {address} for a file"
    return Problem(_COMMAND_LINE, 0, "", f"{expected}, got {quoted(address)}")


def from_mapping(document: Mapping[str, Any], *, env: Mapping[str, str] = os.environ) -> Config:
    """What a file with this content says. Raises ConfigError with all mistakes, each with its path."""
    reading = Reading(env)
    try:
        data = msgspec.json.encode(document)
    except (TypeError, ValueError) as error:
        raise ConfigError([Problem(_MAPPING, 0, "", f"cannot be written as YAML: {error}")]) from None
    root = _parse(data, _MAPPING, reading)
    try:
        return _assembled([] if root is None else [root], reading)
    except ConfigError as error:
        # It stands in no lines.
        raise ConfigError([msgspec.structs.replace(one, line=0) for one in error.problems]) from None


def for_scenario(document: Mapping[str, Any], paths: Sequence[str | Path] = ()) -> Scenario:
    """A scenario of the command line, `document` as a file would have it; `paths` are files with modules.

    Raises ConfigError with all that is wrong.
    """
    reading = Reading(os.environ)
    own = _parse(msgspec.json.encode({"scenarios": [document]}), _COMMAND_LINE, reading)
    roots = [_parse(_content(str(path), reading), str(path), reading) for path in paths]
    try:
        return _assembled([root for root in (*roots, own) if root is not None], reading).scenarios[-1]
    except ConfigError as error:
        raise ConfigError([_without_place(problem) for problem in error.problems]) from None


def _without_place(problem: Problem) -> Problem:
    return Problem(_COMMAND_LINE, 0, "", problem.message) if problem.file == _COMMAND_LINE else problem


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a file, for editors."""
    from perfmon.config.json_schema import build  # noqa: PLC0415 - loads every kind there is

    return build()


# ---------------------------------------------------------------- built in

_COMMAND_LINE = "command line"
_MAPPING = "mapping"

_STATELESS = b'state: {path: ""}'

_MODULES = b"""
modules:
  http_2xx: {prober: http}
  http_post_2xx: {prober: http, http: {method: POST}}
  tcp_connect: {prober: tcp}
"""


def _built_in(reading: Reading) -> list[tuple[Scalar, Place]]:
    root = _parse(_MODULES, BUILT_IN, reading)
    assert root is not None, "our own modules are readable"
    return members([root], "modules", reading)


def _document(urls: Sequence[str]) -> dict[str, Any]:
    """The configuration for bare URLs, as a user would write it."""
    web = list(dict.fromkeys(url for url in urls if "://" in url))
    ports = list(dict.fromkeys(url for url in urls if "://" not in url))
    return {
        "probes": [
            {"name": name, "module": module, "interval": "5s", "targets": targets}
            for name, module, targets in (("http", "http_2xx", web), ("tcp", "tcp_connect", ports))
            if targets
        ],
        "samplers": [
            {"name": "host", "host": {}},
            {"name": "perfmon", "process": {"groups": [{"name": "perfmon", "self": True}]}},
        ],
        "rules": [
            {
                "name": "ProbeDown",
                "threshold": "rate < 50% over 1m",
                "for": "10s",
                "keep_firing_for": "1m",
                "annotations": {"summary": "{{target}} is down"},
            }
        ]
        if urls
        else [],
        "receivers": [{"name": "log", "log": {}}],
    }


# ---------------------------------------------------------------- files


def _content(path: str, reading: Reading) -> bytes:
    """The file's bytes, never more than one beyond what is allowed; b"" and a problem when it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return file.read(yaml_places.MAX_BYTES + 1)
    except OSError as error:
        reading.problems.append(Problem(path, 0, "", f"cannot be read: {str(error.strerror).lower()}"))
    except ValueError as error:
        reading.problems.append(Problem(path, 0, "", f"cannot be read: {error}"))
    return b""


def _parse(data: bytes, path: str, reading: Reading) -> MappingNode | None:
    """The sections of a file."""
    before = len(reading.problems)
    root, problems = yaml_places.parse(data, path)
    reading.problems += problems
    if isinstance(root, MappingNode):
        return root
    if root is not None and not is_null(root):
        reading.problem(root, "", f"expected a mapping of {', '.join(File.__struct_fields__)}")
    elif not problems and not any(problem.file == path for problem in reading.problems[:before]):
        reading.problems.append(Problem(path, 0, "", "is empty"))
    return None


# ---------------------------------------------------------------- assembly


class _Foreign(msgspec.Struct, frozen=True):
    """The modules of a blackbox.yml, each its key and a Module or WRONG."""

    modules: Mapping[str, tuple[Scalar, Any]] = {}
    blackbox: Blackbox | None = None


def _foreign(file: str | Path | None, reading: Reading) -> _Foreign:
    if file is None:
        return _Foreign()
    plain = blackbox_file.plain_reading()
    root = _parse(_content(str(file), plain), str(file), plain)
    modules, warnings = blackbox_file.read_modules(root, plain) if root is not None else ({}, ())
    reading.problems += plain.problems
    return _Foreign(modules, Blackbox(file=str(file), warnings=warnings))


def _with_foreign(
    modules: dict[str, Any], written: Sequence[tuple[Scalar, Place]], foreign: _Foreign
) -> dict[str, Any]:
    """All modules that checks may name. A name that two files give is a mistake; one that is built in gives way."""
    for key, place in written:
        if key.text in foreign.modules:
            other, _ = foreign.modules[key.text]
            place.problem("", f"{quoted(key.text)} is taken by a module in {seen_from(key, other)}")
    timed = {
        name: WRONG if module is WRONG else Timed(module, wished=module.timeout_s > 0)
        for name, (_, module) in foreign.modules.items()
    }
    return modules | timed


def _assembled(roots: Sequence[MappingNode], reading: Reading, foreign: _Foreign | None = None) -> Config:
    """All parts of all files; each is read even when another is wrong."""
    foreign = foreign or _Foreign()
    for root in roots:
        _check_sections(root, reading)
    written = members(roots, "modules", reading)
    modules = _with_foreign(modules_of([*_built_in(reading), *written], reading), written, foreign)
    watched: list[Selectable] = []
    short: list[Rule] = []
    checks, discoveries = probes_of(items(roots, "probes", reading), modules, watched, short)
    parts: dict[str, Any] = {
        "checks": checks,
        "discoveries": discoveries,
        "samplers": samplers_of(items(roots, "samplers", reading), watched, short),
        "rules": rules_of(items(roots, "rules", reading), watched, short),
        "receivers": receivers_of(receivers := items(roots, "receivers", reading)),
        "maintenance": windows_of(items(roots, "maintenance", reading), watched),
        "scenarios": scenarios_of(items(roots, "scenarios", reading), modules),
    }
    alerting = alerting_of(single(roots, "alerting", reading), receivers, label_names(watched, parts["rules"]))
    parts["rules"] = linked(parts["rules"], alerting.links if alerting else {})
    web = _web(single(roots, "web", reading), watched)
    state = settings(single(roots, "state", reading), StateSection)
    limits = _limits(single(roots, "limits", reading), len(checks))
    log = settings(single(roots, "log", reading), LogSection)
    if reading.problems:
        # What stands behind an alias is read at each of its uses, and is wrong once.
        raise ConfigError(tuple(dict.fromkeys(reading.problems)))
    named = {key.text for key, _ in written} | foreign.modules.keys()
    return Config(
        # To blackbox_exporter a module is unknown when its file does not name it.
        modules={name: timed.module for name, timed in modules.items() if foreign.blackbox is None or name in named},
        blackbox=foreign.blackbox,
        **{name: tuple(part) for name, part in parts.items()},
        alerting=alerting or Alerting(mode="rules"),
        web=Web(**web),
        state=State(**state),
        limits=Limits(**limits),
        log=Log(**log),
    )


def _check_sections(root: MappingNode, reading: Reading) -> None:
    for key, entry in root.entries.items():
        # As with Docker Compose, `x-...` is the place for anchors.
        if key not in File.__struct_fields__ and not key.startswith("x-"):
            reading.problem(entry.key, key_path("", key), kinds.unknown(key, File.__struct_fields__, "section"))


def _web(place: Place, watched: Sequence[Selectable]) -> dict[str, Any]:
    """The fields of a Web."""
    values = settings(place, WebSection)
    listen = values["listen"] if values["listen"] is not WRONG else []
    for index, address in enumerate(listen):
        if address in listen[:index] and not address.endswith(":0"):
            place.problem(f"listen[{index}]", f"{quoted(address)} stands here a second time")
    allowed = values["probe_allow"] if values["probe_allow"] is not WRONG else []
    networks = [_network(place, f"probe_allow[{index}]", text) for index, text in enumerate(allowed)]
    url = values["external_url"]
    if url is not WRONG and url and not _is_page(url):
        place.problem("external_url", f"expected a URL such as https://perfmon.example/, got {quoted(url)}")
    return {
        "listen": tuple(listen),
        "probe_allow": tuple(networks),
        "external_url": url,
        "config_file": values["config_file"],
        "timeout_offset_s": values["timeout_offset"],
        "public": _public(place, values["public"], watched),
    }


def _public(place: Place, section: Any, watched: Sequence[Selectable]) -> Public | None:
    """What outsiders are shown; its addresses are nobody else's."""
    if section is None or section is WRONG:
        return None
    if not section.select:  # by mistake nobody shows everything
        place.problem("public.select", "expected at least one label or tag, got none")
        return None
    for below, message in selection.mistakes(section.select, "failed", watched):
        place.problem(f"public.{below}".rstrip("."), message)
    return Public(
        title=section.title, select=section.select, show_target=section.show_target, listen=tuple(section.listen)
    )


def _limits(place: Place, targets: int) -> dict[str, Any]:
    """The fields of a Limits."""
    values = settings(place, LimitsSection)
    most = values["targets"]
    if most is not WRONG and targets > most:
        place.problem("targets", f"{targets} targets are written, more than {most}: raise the limit")
    return values


def _is_page(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and not (parts.query or parts.fragment)
    except ValueError:
        return False


def _network(place: Place, below: str, text: str) -> Any:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        place.problem(below, f"expected a network such as 10.0.0.0/8 or ::1/128, got {quoted(text)}")
        return WRONG
