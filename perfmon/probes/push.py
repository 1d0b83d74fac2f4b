"""Nothing is sent: whoever does the work tells how it went, and silence for an interval is a failure."""

import hmac
from collections.abc import Iterable

import msgspec

from perfmon.metrics import Family
from perfmon.model import Failure, Target
from perfmon.trace import Trace

__all__ = ["FAMILIES", "WITHOUT_EFFECT", "Config", "check", "may_push", "probe", "silence"]

FAMILIES: tuple[Family, ...] = ()

WITHOUT_EFFECT = ("timeout", "confirm", "interval_failing")  # settings of probes and targets

_SHORTEST_TOKEN = 16


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may push."""

    token: str  # What `Authorization: Bearer` must bring, 16 characters at least: `${env:NAME}` or `${file:PATH}`.


def check(config: Config) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express, as (path, message)."""
    if len(config.token) < _SHORTEST_TOKEN or not (config.token.isascii() and config.token.isprintable()):
        yield "token", f"expected at least {_SHORTEST_TOKEN} printable characters of ASCII"


def may_push(token: str, config: Config) -> bool:
    """Whether it is the token, in a time that tells nothing of it."""
    return hmac.compare_digest(token.encode(), config.token.encode())


def silence(words: str) -> Failure:
    """What it means that nobody pushed."""
    return Failure(reason="timeout", phase="", message=f"no push came for {words}")


async def probe(_target: Target, _config: Config, _trace: Trace) -> Failure | None:
    """A run on request has nothing to ask."""
    return Failure(reason="timeout", phase="", message="results are pushed here, there is nothing to probe")
