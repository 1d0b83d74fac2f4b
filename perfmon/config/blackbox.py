"""Read an unchanged blackbox.yml.

The kinds' settings have blackbox_exporter's names. What differs stands here: how Go programs write values (durations,
sizes, an empty text for "not set", references that are none), settings with another name or without effect, and those
that perfmon does not have, each refused by its name with a sentence. The file as blackbox_exporter describes it:
https://github.com/prometheus/blackbox_exporter/blob/master/CONFIGURATION.md
"""

import os
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

import msgspec

from perfmon import kinds
from perfmon.config.convert import WRONG, Reading, key_path, node_at
from perfmon.config.yaml_places import Entry, Mapping, Node, Scalar, Sequence, is_null, plain_scalar
from perfmon.model import Module
from perfmon.units import quoted

__all__ = ["PROBERS", "REFUSED", "WITHOUT_EFFECT", "plain_reading", "read_modules"]

PROBERS = ("dns", "grpc", "http", "icmp", "tcp", "unix", "websocket")

_NO_REVOCATION = "perfmon looks up no revocation lists; alert on what your certificate authority publishes"
_NO_PROXY = "perfmon connects to WebSockets itself, without a proxy; expected no proxy setting here"
_NOT_ON_WEBSOCKET = "has no effect on a WebSocket, in blackbox_exporter neither; expected it to be left out"

REFUSED = {
    "check_revoked": _NO_REVOCATION,
    "oauth2.grant_type": "perfmon asks for tokens by client credentials only, which is what no grant_type means",
    "oauth2.client_certificate_key": "perfmon signs no tokens; expected client_secret",
    "oauth2.client_certificate_key_file": "perfmon signs no tokens; expected client_secret",
    "oauth2.client_certificate_key_id": "perfmon signs no tokens; expected client_secret",
    "oauth2.signature_algorithm": "perfmon signs no tokens; expected client_secret",
    "oauth2.iss": "perfmon signs no tokens; expected client_secret",
    "oauth2.audience": "perfmon signs no tokens; expected client_secret",
    "oauth2.claims": "perfmon signs no tokens; expected client_secret",
    "basic_auth.username_file": 'perfmon reads no user name from a file; expected "username"',
    "basic_auth.password_file": 'perfmon reads no password from a file here; expected "password"',
    "authorization.credentials_file": 'perfmon reads no credentials from a file here; expected "credentials"',
    "bearer_token_file": 'perfmon reads no token from a file here; expected "bearer_token"',
    "websocket.http_config.oauth2": "perfmon asks for no OAuth 2.0 tokens; expected another way to authenticate",
    "websocket.http_config.authorization.credentials_file": 'expected "credentials", which no file can hold here',
    "websocket.http_config.proxy_url": _NO_PROXY,
    "websocket.http_config.no_proxy": _NO_PROXY,
    "websocket.http_config.proxy_from_environment": _NO_PROXY,
    "websocket.http_config.proxy_connect_header": _NO_PROXY,
    "websocket.http_config.http_headers": 'expected these headers in "headers" of the module',
    "websocket.headers.*.files": 'perfmon reads no header from a file here; expected "secrets" or "values"',
    "websocket.query_response.starttls": _NOT_ON_WEBSOCKET,
    "websocket.query_response.expect_bytes": _NOT_ON_WEBSOCKET,
    "websocket.query_response.labels": _NOT_ON_WEBSOCKET,
}
"""Settings of blackbox_exporter that perfmon refuses, by their last names, for as long as the kind has none of it.

One that is not set (`check_revoked: false`) is refused by nobody.
"""

WITHOUT_EFFECT = frozenset({"websocket.http_config.enable_http2", "websocket.http_config.follow_redirects"})
"""Settings that say what is so anyway: an upgrade is HTTP/1.1, and its redirects are not followed."""


def plain_reading() -> Reading:
    """A reading of a file in which `${env:NAME}` is a plain text, and secrets stand as they are."""
    return Reading(None, secrets=_SECRET)


# What Prometheus' settings call a secret; of a WebSocket's headers all, since `secrets` and `values` become one.
_SECRET = re.compile(
    r"(?i)\.(password|bearer_token|credentials|client_secret|client_certificate_key|key|authorization)$"
    r"|\.(proxy_connect_header|http_config\.headers)\b|\.secrets\["
)


def read_modules(root: Mapping, reading: Reading) -> tuple[dict[str, tuple[Scalar, Any]], tuple[str, ...]]:
    """The modules of a blackbox.yml by name, each its key and a Module or WRONG; and warnings, as sentences.

    `reading` is a `plain_reading`, and gets the mistakes.
    """
    for key, entry in root.entries.items():
        if key != "modules":
            reading.problem(entry.key, key_path("", key), kinds.unknown(key, ("modules",), "section"))
    written = root.entries.get("modules")
    if written is None:
        reading.problem(root, "", '"modules" is missing, expected a mapping of modules by name')
        return {}, ()
    if not isinstance(written.value, Mapping):
        reading.unexpected(written.value, "modules", "a mapping of modules by name")
        return {}, ()
    warnings: list[str] = []
    modules = {
        name: (entry.key, _module(name, entry.value, key_path("modules", name), reading, warnings))
        for name, entry in written.value.entries.items()
    }
    return modules, tuple(warnings)


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A module but for its timeout, and for the settings of its prober."""

    prober: str


def _module(name: str, node: Node, path: str, reading: Reading, warnings: list[str]) -> Any:
    if not isinstance(node, Mapping):
        return reading.unexpected(node, path, "a module: a mapping with its prober")
    prober = reading.fields(node, _Section, path, beside=("timeout", *PROBERS))["prober"]
    timeout_s = _timeout_s(node, path, reading)
    if prober is WRONG:
        return WRONG
    if prober not in PROBERS:
        reading.problem(node_at(node, "prober"), f"{path}.prober", kinds.unknown(prober, PROBERS))
        return WRONG
    config = _config(prober, node, key_path(path, prober), reading, warnings)
    if WRONG in (config, timeout_s):
        return WRONG
    return Module(name=name, kind=prober, timeout_s=timeout_s, config=config)


def _timeout_s(node: Mapping, path: str, reading: Reading) -> Any:
    """Seconds; 0 for a module that leaves it to the scraper, as one without a timeout does."""
    entry = node.entries.get("timeout")
    if entry is None or is_null(entry.value):
        return 0.0
    text = entry.value.text if isinstance(entry.value, Scalar) else ""
    # A bare 0 is a number, and to Go no number is a duration.
    seconds = None if isinstance(entry.value, Scalar) and plain_scalar(entry.value) == 0 else _go_sum(text, _GO_SECONDS)
    if seconds is None:
        return reading.unexpected(entry.value, f"{path}.timeout", "a duration of Go such as 5s, 500ms or 1h30m")
    return max(0.0, float(seconds))


def _config(prober: str, node: Mapping, path: str, reading: Reading, warnings: list[str]) -> Any:
    """The settings of the prober, WRONG when they cannot be used. Those of other probers have no effect."""
    entry = node.entries.get(prober)
    written = Mapping(node.file, node.line, {}) if entry is None or is_null(entry.value) else entry.value
    kind = kinds.load("probes", prober)
    native = _Translation(kind.Config, reading, warnings).node(written, prober, path)
    config = reading.convert(native, kind.Config, path)
    if config is WRONG:
        return WRONG
    mistakes = [
        (below, message) for below, message in kind.check(config) if not _comes_later(native, below, path, warnings)
    ]
    for below, message in mistakes:
        reading.problem(node_at(native, below), f"{path}.{below}", reading.references.mask(message))
    return WRONG if mistakes else config


def _comes_later(native: Node, below: str, path: str, warnings: list[str]) -> bool:
    """Whether a mistake is that of a file which is not there yet. blackbox_exporter looks at each probe, too."""
    node = node_at(native, below)
    if not (_OF_A_FILE.search(below) and isinstance(node, Scalar)) or Path(node.text).exists():
        return False
    warnings.append(f"{native.file}:{node.line}: {path}.{below}: no such file: {quoted(node.text)}")
    return True


_OF_A_FILE = re.compile(r"(_file|\.files\[[0-9]+\])$")


# ---------------------------------------------------------------- from the one form to the other


class _Translation:
    """Writes the settings of a prober as perfmon's kind wants them."""

    def __init__(self, config: type[msgspec.Struct], reading: Reading, warnings: list[str]) -> None:
        self._config = config
        self._reading = reading
        self._warnings = warnings

    def node(self, node: Node, setting: str, path: str) -> Node:
        """The node of a setting, whose name holds no indexes and `*` for what users name, and all its path."""
        if isinstance(node, Mapping):
            return self._mapping(node, setting, path)
        if isinstance(node, Sequence):
            items = tuple(self.node(item, setting, f"{path}[{i}]") for i, item in enumerate(node.items))
            return Sequence(node.file, node.line, self._versions(items, path) if _is(setting, _VERSIONS) else items)
        return self._scalar(node, setting, path)

    def _mapping(self, node: Mapping, setting: str, path: str) -> Mapping:
        named = setting.rpartition(".")[2] in _NAMED_BY_USERS
        entries: dict[str, Entry] = {}
        for key, entry in node.entries.items():
            here = key_path(path, key)
            if named:
                entries[key] = Entry(entry.key, self.node(_filled(entry.value), f"{setting}.*", here))
            elif not self._left_out(entry, f"{setting}.{key}", here):
                entries[key] = Entry(entry.key, self.node(entry.value, f"{setting}.{key}", here))
        if setting == "http":
            entries = self._followed(entries, path)
        if setting == "websocket":
            entries = self._upgrade(entries, path)
        if _is(setting, ("tls_config",)):
            entries = self._filed(entries, path)
        return Mapping(node.file, node.line, entries)

    def _left_out(self, entry: Entry, setting: str, path: str) -> bool:
        """Whether nothing is set here, or nothing that has an effect, or what perfmon refuses and says so."""
        if _unset(entry.value) or setting in WITHOUT_EFFECT:
            return True
        names = [name for name in setting.split(".")[1:] if name != "*"]
        reason = None if _has(self._config, names) else _refusal(setting)
        if reason is None:
            return False
        if not _is_off(entry.value):
            self._reading.problem(entry.key, path, reason)
        return True

    def _scalar(self, node: Scalar, setting: str, path: str) -> Node:
        if setting == "http.body_size_limit":
            return self._size(node, path)
        if setting.endswith("_file") or _is(setting, ("files",)):
            return Scalar(node.file, node.line, _found(node), quoted=True)
        return node

    def _size(self, node: Scalar, path: str) -> Scalar:
        """A size of github.com/alecthomas/units: MB is 1024 * 1024 bytes, as MiB is; a negative one is no limit."""
        size = next((size for units in _GO_BYTES if (size := _go_sum(node.text, units)) is not None), None)
        if size is None:
            self._reading.unexpected(node, path, "a size such as 512B, 10MB or 1GiB")
        return Scalar(node.file, node.line, f"{max(0, int(size or 0))}B")

    def _versions(self, items: tuple[Node, ...], path: str) -> tuple[Node, ...]:
        """Without versions that no answer ever has (`HTTP/2` for `HTTP/2.0`), as long as another one is left."""
        known = tuple(item for item in items if isinstance(item, Scalar) and _VERSION.fullmatch(item.text))
        if not known:
            return items
        for item in items:
            if item not in known and isinstance(item, Scalar):
                self._warnings.append(f"{item.file}:{item.line}: {path}: no answer has version {quoted(item.text)}")
        return known

    def _filed(self, entries: dict[str, Entry], path: str) -> dict[str, Entry]:
        """`ca`, `cert` and `key`, which hold the PEM itself, as files that are in memory only."""
        for name in ("ca", "cert", "key"):
            entry = entries.pop(name, None)
            if entry is None:
                continue
            if f"{name}_file" in entries:
                self._reading.problem(
                    entry.key, f"{path}.{name}", f"{name}_file stands beside it, expected one of them"
                )
            text = self._reading.convert(entry.value, str, f"{path}.{name}")
            if text is not WRONG:
                place = Scalar(entry.key.file, entry.key.line, _in_memory(text), quoted=True)
                entries[f"{name}_file"] = Entry(entry.key, place)
        return entries

    def _followed(self, entries: dict[str, Entry], path: str) -> dict[str, Entry]:
        """`no_follow_redirects`, which was its name once."""
        old = entries.pop("no_follow_redirects", None)
        if old is None:
            return entries
        stays = self._reading.convert(old.value, bool, f"{path}.no_follow_redirects")
        value = Scalar(old.value.file, old.value.line, "false" if stays is True else "true")
        return entries | {"follow_redirects": Entry(old.key, value)}

    def _upgrade(self, entries: dict[str, Entry], path: str) -> dict[str, Entry]:
        """A WebSocket's `headers` and `authorization` to where perfmon has them: `http_config.headers`."""
        http, headers = entries.get("http_config"), entries.pop("headers", None)
        if http is not None and not isinstance(http.value, Mapping):
            return entries  # whoever reads it will say so
        entries.pop("http_config", None)
        inner = dict(http.value.entries) if http is not None and isinstance(http.value, Mapping) else {}
        sent = self._headers(inner.pop("headers", None), f"{path}.http_config.headers")
        sent |= self._authorization(inner.pop("authorization", None), f"{path}.http_config.authorization")
        sent |= self._headers(headers, f"{path}.headers")
        place = (http or headers or Entry(Scalar("", 0, ""), Scalar("", 0, ""))).key
        if sent:
            inner["headers"] = Entry(place, Mapping(place.file, place.line, sent))
        return entries | ({"http_config": Entry(place, Mapping(place.file, place.line, inner))} if inner else {})

    def _headers(self, entry: Entry | None, path: str) -> dict[str, Entry]:
        """Headers by name, each a text, a list of texts, or a mapping of `values` and `secrets`."""
        if entry is None:
            return {}
        if not isinstance(entry.value, Mapping):
            self._reading.unexpected(entry.value, path, "a mapping of headers by name")
            return {}
        return {
            name: Entry(header.key, self._values(header.value, key_path(path, name)))
            for name, header in entry.value.entries.items()
        }

    def _values(self, node: Node, path: str) -> Node:
        """The list of a header's `values` and `secrets`, one after the other; any other form as it is."""
        if not isinstance(node, Mapping):
            return node
        written = self._reading.convert(node, _Header, path)
        texts = () if written is WRONG else (*written.values, *written.secrets)
        return Sequence(node.file, node.line, tuple(Scalar(node.file, node.line, text, quoted=True) for text in texts))

    def _authorization(self, entry: Entry | None, path: str) -> dict[str, Entry]:
        written = WRONG if entry is None else self._reading.convert(entry.value, _Authorization, path)
        if entry is None or written is WRONG:
            return {}
        file, line = entry.key.file, entry.key.line
        value = Scalar(file, line, f"{written.type} {written.credentials}", quoted=True)
        return {"Authorization": Entry(Scalar(file, line, "Authorization"), value)}


class _Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A header of a WebSocket's, as Prometheus writes headers."""

    values: list[str] = []
    secrets: list[str] = []


class _Authorization(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`Authorization: <type> <credentials>`."""

    type: str = "Bearer"
    credentials: str = ""


# ---------------------------------------------------------------- small pieces

_NAMED_BY_USERS = ("headers", "metadata", "http_headers", "proxy_connect_header", "endpoint_params", "claims")
"""Mappings whose keys are no settings."""

_VERSIONS = ("valid_http_versions",)
_VERSION = re.compile(r"HTTP/(1\.0|1\.1|2\.0|3\.0)")


def _is(setting: str, names: Iterable[str]) -> bool:
    return setting.rpartition(".")[2] in names


def _filled(node: Node) -> Node:
    """`X-Empty:` without a value is an empty text where Go wants a text."""
    return Scalar(node.file, node.line, "", quoted=True) if is_null(node) else node


def _unset(node: Node) -> bool:
    """Nothing, or an empty text: what Go takes for not written."""
    return is_null(node) or (isinstance(node, Scalar) and node.text == "")


def _is_off(node: Node) -> bool:
    """What a setting is anyway: false, or a list or mapping of nothing."""
    if isinstance(node, Scalar):
        return node.text.lower() in ("false", "no", "off", "n")
    return not (node.items if isinstance(node, Sequence) else node.entries)


def _refusal(setting: str) -> str | None:
    """Why a setting is refused; None for one that nobody knows, or that perfmon has."""
    names = setting.split(".")
    return next((REFUSED[name] for i in range(len(names)) if (name := ".".join(names[i:])) in REFUSED), None)


def _has(struct: type[msgspec.Struct], names: list[str]) -> bool:
    """Whether a kind has a setting: one that it learns later is refused no more."""
    field = next((field for field in msgspec.structs.fields(struct) if field.encode_name == names[0]), None)
    if field is None:
        return False
    return len(names) == 1 or any(_has(inner, names[1:]) for inner in _structs_in(field.type))


def _structs_in(wanted: Any) -> Iterator[type[msgspec.Struct]]:
    if isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
        yield wanted
    for inner in get_args(wanted):
        yield from _structs_in(inner)


@lru_cache(maxsize=1024)
def _in_memory(text: str) -> str:
    """A path that leads to this text for as long as the process lives, and for no other process of another user.

    libcurl and OpenSSL take certificates and keys from files. The same text has the same path, so that two readings
    are equal.
    """
    number = os.memfd_create("perfmon-pem", os.MFD_CLOEXEC)
    with os.fdopen(number, "wb", closefd=False) as file:
        file.write(text.encode())
    return f"/proc/self/fd/{number}"


def _found(node: Scalar) -> str:
    """A path from the file's folder; from the working directory, where blackbox_exporter looks, if it is only there."""
    path = Path(node.text)
    beside = Path(node.file).parent.absolute() / path
    return str(path.absolute() if not beside.exists() and path.exists() else beside)


# ---------------------------------------------------------------- Go's quantities

_GO_SECONDS = {
    "ns": Decimal("1e-9"),
    **dict.fromkeys(("us", "µs", "\u03bcs"), Decimal("1e-6")),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
}
_GO_BYTES = tuple(  # in one size only units of one sort: 1MB512KB or 1MiB512KiB
    {"B": Decimal(1)} | {f"{letter}{rest}": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", 1)}
    for rest in ("iB", "B")
)
_GO_PART = re.compile(r"([0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})([A-Za-zµ\u03bc]+)")


def _go_sum(text: str, units: dict[str, Decimal]) -> Decimal | None:
    """The sum of `1h30m` or `1.5MB512KB` with a sign, as Go's time.ParseDuration has it; None for anything else."""
    amount = text[1:] if text[:1] in ("-", "+") else text
    if amount == "0":
        return Decimal(0)
    parts = _GO_PART.findall(amount)
    if not parts or _GO_PART.sub("", amount) or any(unit not in units for _, unit in parts):
        return None
    total = sum((Decimal(number) * units[unit] for number, unit in parts), Decimal(0))
    return -total if text.startswith("-") else total
