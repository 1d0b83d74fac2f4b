"""How a request proves who sends it: the settings, and the `Authorization` header that comes of them."""

from collections.abc import Iterable
from typing import Protocol

import msgspec

from perfmon.model import Failure
from perfmon.network import oauth2
from perfmon.network.address import Url
from perfmon.network.header import is_value
from perfmon.network.oauth2 import OAuth2
from perfmon.network.own_files import Files, Unreadable, missing
from perfmon.secret import basic_proof
from perfmon.trace import Trace
from perfmon.units import FilePath

__all__ = ["Authorization", "BasicAuth", "Credentials", "OAuth2", "authorization", "check", "prove"]


class BasicAuth(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`Authorization: Basic`."""

    username: str = ""
    username_file: FilePath = ""
    password: str = ""
    password_file: FilePath = ""


class Authorization(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`Authorization: <type> <credentials>`."""

    type: str = "Bearer"
    credentials: str = ""
    credentials_file: FilePath = ""


class Credentials(Protocol):
    """The settings of a kind that can prove who it is."""

    @property
    def basic_auth(self) -> BasicAuth | None:
        """User and password."""

    @property
    def bearer_token(self) -> str:
        """`Authorization: Bearer`."""

    @property
    def bearer_token_file(self) -> str:
        """The same from a file."""

    @property
    def authorization(self) -> Authorization | None:
        """Any other `Authorization`."""

    @property
    def oauth2(self) -> OAuth2 | None:
        """Where to get a token from."""


_WAYS = ("basic_auth", "bearer_token", "bearer_token_file", "authorization", "oauth2")


def check(config: Credentials) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express, as (path, message)."""
    ways = [field for field in _WAYS if getattr(config, field)]
    if len(ways) > 1:
        yield ways[0], f"at most one of {', '.join(_WAYS)} may be given"
    yield from missing({"bearer_token_file": config.bearer_token_file})
    if not is_value(config.bearer_token):
        yield "bearer_token", _NO_VALUE
    if config.basic_auth is not None:
        yield from ((f"basic_auth.{path}", message) for path, message in _bad_basic(config.basic_auth))
    if config.authorization is not None:
        yield from ((f"authorization.{path}", message) for path, message in _bad_authorization(config.authorization))
    if config.oauth2 is not None:
        yield from ((f"oauth2.{path}", message) for path, message in oauth2.check(config.oauth2))


_NO_VALUE = "holds a line break or another character that no header can have"  # it may be a secret: it is not shown


def _bad_basic(basic: BasicAuth) -> Iterable[tuple[str, str]]:
    for field in ("username", "password"):
        if getattr(basic, field) and getattr(basic, f"{field}_file"):
            yield f"{field}_file", f"{field} is there already"
    yield from missing({"username_file": basic.username_file, "password_file": basic.password_file})
    if ":" in basic.username:
        yield "username", "holds a colon, behind which the password begins"


def _bad_authorization(proof: Authorization) -> Iterable[tuple[str, str]]:
    if proof.credentials and proof.credentials_file:
        yield "credentials_file", "credentials are there already"
    if not proof.credentials and not proof.credentials_file:
        yield "credentials", "is missing, expected what follows the type"
    if proof.type.strip().lower() == "basic":
        yield "type", 'expected another type than "basic", for which there is basic_auth'
    yield from missing({"credentials_file": proof.credentials_file})
    yield from ((field, _NO_VALUE) for field in ("type", "credentials") if not is_value(getattr(proof, field)))


def authorization(config: Credentials, url: Url, files: Files) -> str:
    """The header's value, "" for none that is known before the run; the user in the URL counts when nothing else does.

    Raises Unreadable for a file that cannot be used.
    """
    other = config.authorization
    if other is not None:
        return f"{other.type} {files.secret(other.credentials_file) if other.credentials_file else other.credentials}"
    if config.bearer_token or config.bearer_token_file:
        return f"Bearer {config.bearer_token or files.secret(config.bearer_token_file)}"
    if config.basic_auth is not None:
        proof = basic_proof(*_user_and_password(config.basic_auth, files))
        files.secrets.append(proof)
        return f"Basic {proof}"
    return f"Basic {basic_proof(url.user, url.password)}" if url.user or url.password else ""


async def prove(config: Credentials, url: Url, trace: Trace) -> str | Failure:
    """The header's value for one run, "" for none; files are read and a token is fetched for it."""
    if config.oauth2 is not None:
        token = await oauth2.token(config.oauth2, trace)
        trace.facts["probe_http_oauth2_duration_seconds"] = 0.0 if isinstance(token, Failure) else token.fetched_s
        return token if isinstance(token, Failure) else token.text
    files = Files()
    try:
        proof = authorization(config, url, files)
    except Unreadable as error:
        return Failure(reason=error.reason, phase="", message=str(error))
    trace.hide(*files.secrets)
    return proof


def _user_and_password(basic: BasicAuth, files: Files) -> tuple[str, str]:
    user = files.secret(basic.username_file) if basic.username_file else basic.username
    return user, files.secret(basic.password_file) if basic.password_file else basic.password
