"""How a request proves who sends it: the settings, and the `Authorization` header that comes of them."""

from base64 import b64encode
from collections.abc import Iterable
from typing import Protocol

import msgspec

from perfmon.network.address import Url

__all__ = ["Authorization", "BasicAuth", "Credentials", "authorization", "check"]


class BasicAuth(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`Authorization: Basic`."""

    username: str
    password: str = ""


class Authorization(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`Authorization: <type> <credentials>`."""

    type: str = "Bearer"
    credentials: str


class Credentials(Protocol):
    """The settings of a kind that can prove who it is."""

    @property
    def basic_auth(self) -> BasicAuth | None:
        """User and password."""

    @property
    def bearer_token(self) -> str:
        """`Authorization: Bearer`."""

    @property
    def authorization(self) -> Authorization | None:
        """Any other `Authorization`."""


def check(config: Credentials) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express, as (path, message)."""
    ways = [field for field in ("basic_auth", "bearer_token", "authorization") if getattr(config, field)]
    if len(ways) > 1:
        yield ways[0], "at most one of basic_auth, bearer_token and authorization may be given"


def authorization(config: Credentials, url: Url) -> str:
    """The header's value, "" for none; the user in the URL counts when nothing else is given."""
    if config.authorization is not None:
        return f"{config.authorization.type} {config.authorization.credentials}"
    if config.bearer_token:
        return f"Bearer {config.bearer_token}"
    user, password = url.user, url.password
    if config.basic_auth is not None:
        user, password = config.basic_auth.username, config.basic_auth.password
    if not user and not password and config.basic_auth is None:
        return ""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()
