"""Texts that come by reference, `${env:NAME}` and `${file:PATH}`, and are never shown.

Where a value is shown anyway (an address, a label), a variable of the environment may stand for it, unless its name
says that it holds a secret.
"""

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from html import escape
from pathlib import Path
from typing import Any, Self, TypeVar, cast
from urllib.parse import quote, quote_plus, unquote

import msgspec

from perfmon.kinds import unknown
from perfmon.units import quoted

__all__ = [
    "References",
    "Secret",
    "basic_proof",
    "cut_out",
    "hidden",
    "masked",
    "quoted_or_masked",
    "secret_in",
    "shell_variable_in",
    "without",
]

MAX_FILE_BYTES = 64 << 10

Told = TypeVar("Told")


class Secret(str):
    """A text for use, not for show: its `repr` is `<secret>`, and so is that of every struct that holds it."""

    __slots__ = ("parts",)

    parts: tuple[str, ...]  # what the references in it stood for: of "Bearer ${env:TOKEN}" the token

    def __new__(cls, text: str = "", parts: Iterable[str] = ()) -> Self:
        """Without `parts` all of it is the secret."""
        secret = super().__new__(cls, text)
        secret.parts = tuple(parts) or (text,)
        return secret

    def __repr__(self) -> str:
        return "<secret>"


def quoted_or_masked(text: str) -> str:
    """A text in a message: in quotes, or `<secret>`."""
    return repr(text) if isinstance(text, Secret) else quoted(text)


def masked(value: Any) -> Any:
    """A setting as plain values for show: structs and mappings become dicts, secrets `<secret>`.

    Secrets are what came by reference, and what is called like one: `password`, a header `X-Api-Key`.
    """
    if isinstance(value, Secret):
        return repr(value)
    if isinstance(value, msgspec.Struct):
        value = msgspec.structs.asdict(value)
    if isinstance(value, Mapping):
        return {
            masked(key): masked([Secret(text) for text in item] if isinstance(item, list | tuple) else Secret(item))
            if _is_called_secret(key, item)
            else masked(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [masked(item) for item in value]
    if isinstance(value, str):
        return _USER_OF_URL.sub("://<secret>@", value)
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def hidden(value: Any) -> tuple[str, ...]:
    """What `masked` would hide of a setting, and what the references in it stood for: long ones first.

    Each in every shape in which an answer may echo it.
    """
    found = {str(secret) for secret in _hidden(value) if secret.strip()}
    shapes = {shape for secret in found for shape in _shapes(secret)}
    return tuple(sorted(shapes, key=len, reverse=True))


def _shapes(secret: str) -> Iterable[str]:
    """As it is, and as URLs, forms, pages, JSON and labels have it."""
    return (
        secret,
        quote(secret, safe=""),
        quote_plus(secret),
        escape(secret),
        msgspec.json.encode(secret).decode()[1:-1],
    )


def without(secrets: Sequence[str], told: Told) -> Told:
    """A text, a failure or another value of texts with none of these in its words, whoever put them there.

    Long ones first. Words of perfmon's own vocabulary stay.
    """
    return cast("Told", _cleaned(told, secrets)) if secrets else told


class References(msgspec.Struct):
    """Resolves references, and remembers what they stood for so that messages can be cleaned of it."""

    env: Mapping[str, str] | None  # None where `${...}` is a plain text
    seen: set[str] = msgspec.field(default_factory=set)

    def resolve(self, text: str, folder: Path, *, public: bool = False) -> str:
        """The text with its references replaced: a Secret if there were any, unless it is `public`.

        `$${env:X}` is a literal `${env:X}`; a relative path counts from `folder`. Raises ValueError with a sentence
        that holds no secret.
        """
        if self.env is None or "${" not in text:
            return text
        values = {match[0]: self._value(match, folder) for match in _references(text)}
        resolved = _REFERENCE.sub(lambda match: match[0][1:] if match["escape"] else values[match[0]], text)
        if public or not values:
            return resolved
        self.seen |= {value for value in values.values() if value}
        return Secret(resolved, filter(None, values.values()))

    def hide(self, text: str) -> "Secret":
        """A secret that stands in the file itself."""
        self.seen |= {text} - {""}
        return Secret(text)

    def mask(self, message: str) -> str:
        """The message with everything that a reference stood for cut out, also where only its beginning is quoted."""
        for value in sorted(self.seen, key=len, reverse=True):
            message = cut_out(value, message)
        return message

    def _value(self, match: re.Match[str], folder: Path) -> str:
        kind, name = match["kind"], match["name"]
        if kind not in _KINDS:
            raise ValueError(f"{quoted(match[0])}: {unknown(kind, _KINDS)}; `$$` begins a plain text")
        return self._variable(name) if kind == "env" else _content(folder / name)

    def _variable(self, name: str) -> str:
        if self.env is None or name not in self.env:
            raise ValueError(f"the environment variable {quoted(name)} is not set")
        return self.env[name]


def basic_proof(user: str, password: str) -> str:
    """User and password as `Authorization: Basic` sends them: base64 hides nothing."""
    return b64encode(f"{user}:{password}".encode()).decode()


def cut_out(value: str, message: str) -> str:
    """The message without this secret, also where it is quoted, or only its beginning is.

    A very short one goes only where it is a word of its own: a hole in every word that has a "p" would tell it.
    """
    value = str(value)
    if 0 < len(value) < _SHORTEST_WITHIN_WORDS:
        return re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "<secret>", message)
    for shape in (value, repr(value)[1:-1], msgspec.json.encode(value).decode()[1:-1]):
        shown = next((n for n in range(len(shape), min(len(shape), 8) - 1, -1) if shape[:n] in message), 0)
        message = message.replace(shape[:shown], "<secret>") if shown else message
    return message


def secret_in(text: str) -> str:
    """The first reference to something that must not be shown, "" when there is none."""
    hidden = (match[0] for match in _references(text) if match["kind"] == "file" or _SECRET_NAME.search(match["name"]))
    return next(hidden, "")


def shell_variable_in(path: str, text: str) -> str:
    """`${TOKEN}` in a setting that is called like a secret: a variable as others write it, here a plain text."""
    found = _SHELL_VARIABLE.search(text) if _SECRET_NAME.search(path) else None
    return found[0] if found else ""


def _cleaned(value: object, secrets: Sequence[str]) -> object:
    match value:
        case str():
            # Whole ones first: the beginning of one shape may be all but the end of another.
            long = [secret for secret in secrets if len(secret) >= _SHORTEST_WITHIN_WORDS]
            whole = reduce(lambda text, secret: text.replace(secret, "<secret>"), long, value)
            return reduce(lambda text, secret: cut_out(secret, text), secrets, whole)
        case tuple():
            return tuple(_cleaned(item, secrets) for item in value)
        case Mapping():
            return {name: _cleaned(item, secrets) for name, item in value.items()}
        case msgspec.Struct():
            fields = msgspec.structs.asdict(value).items()
            changed = {name: _cleaned(item, secrets) for name, item in fields if name not in _VOCABULARY}
            return msgspec.structs.replace(value, **changed)
    return value


_VOCABULARY = ("reason", "phase", "by")


def _hidden(value: Any) -> Iterator[str]:
    if isinstance(value, Secret):
        yield from (value, *value.parts)
    elif isinstance(value, msgspec.Struct):
        yield from _hidden(msgspec.structs.asdict(value))
    elif isinstance(value, Mapping):
        if value.get("username") and value.get("password"):  # as HTTP sends them
            yield basic_proof(value["username"], value["password"])
        for key, item in value.items():
            yield from _hidden(key)
            yield from _hidden(item)
            for text in _texts(item) if _is_called_secret(key, item) else ():
                yield text
                yield from (word for word in text.split() if len(word) >= _LIKELY_SECRET)  # of "Bearer 1a2b3c4d"
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _hidden(item)
    elif isinstance(value, str):
        yield from (unquote(found[1]) for found in _USER_OF_URL.finditer(value) if found[1])


_USER_OF_URL = re.compile(r"://[^/?#\s@:]*:?([^/?#\s@]*)@")
_LIKELY_SECRET = 8
_SHORTEST_WITHIN_WORDS = 4
_KINDS = ("env", "file")
_SECRET_NAME = re.compile("TOKEN|SECRET|PASS|PWD|KEY|CREDENTIAL|AUTH|COOKIE", re.IGNORECASE)
_SHELL_VARIABLE = re.compile(r"(?<!\$)\$\{[A-Za-z_][A-Za-z0-9_]*\}")
_REFERENCE = re.compile(r"(?P<escape>\$?)\$\{(?P<kind>[A-Za-z]+):(?P<name>[^}]*)\}")


def _is_called_secret(name: Any, value: Any) -> bool:
    named = isinstance(name, str) and _SECRET_NAME.search(name) is not None and not name.endswith(_NO_SECRET)
    return named and any(_texts(value))


_NO_SECRET = ("_file", "_url", "env_pass")  # what is called like a secret, and says where one is to be found


def _texts(value: Any) -> Sequence[str]:
    """A text, or those of a list of texts; nothing of anything else."""
    texts = (value,) if isinstance(value, str) else value if isinstance(value, list | tuple) else ()
    return texts if all(isinstance(text, str) for text in texts) else ()


def _references(text: str) -> list[re.Match[str]]:
    return [match for match in _REFERENCE.finditer(text) if not match["escape"]]


def _content(path: Path) -> str:
    """A file's text without the newline that editors and `echo` put at its end."""
    name = json.dumps(str(path), ensure_ascii=False)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        text = data.decode()
    except OSError as error:
        raise ValueError(f"the file {name} cannot be read: {str(error.strerror).lower()}") from None
    except ValueError:
        # A null byte in the path, or bytes that are no text.
        raise ValueError(f"the file {name} cannot be read: not UTF-8 text") from None
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"the file {name} is larger than {MAX_FILE_BYTES >> 10} KiB")
    return text.rstrip("\r\n")
