"""What a run with `debug` saw and did, in the order in which it happened: the values that an explanation is made of."""

from typing import Literal

import msgspec

__all__ = ["Certificate", "Demand", "Exchange", "LookUp", "Said", "Step", "Timed"]


class Timed(msgspec.Struct, frozen=True, kw_only=True, tag_field="step", tag="timed"):
    """A phase of one hop."""

    phase: str
    begin_s: float  # since the run began
    seconds: float


class LookUp(msgspec.Struct, frozen=True, kw_only=True, tag_field="step", tag="look_up"):
    """A name that led to addresses, or to none."""

    host: str
    addresses: tuple[str, ...]  # all that it has
    used: str  # the one that was gone to, "" when there is none
    error: str = ""


class Exchange(msgspec.Struct, frozen=True, kw_only=True, tag_field="step", tag="exchange"):
    """One hop: what was sent, and what came back. Bodies are not among it."""

    url: str  # "" for a bare connection
    address: str  # "127.0.0.1:443"
    sent: tuple[str, ...]  # lines of the header; of two headers where there were two
    received: tuple[str, ...]
    error: str = ""  # what ended it, in words


class Said(msgspec.Struct, frozen=True, kw_only=True, tag_field="step", tag="said"):
    """A piece of a dialogue."""

    at_s: float  # since the run began
    by: Literal["perfmon", "target"]
    text: str


class Certificate(msgspec.Struct, frozen=True, kw_only=True, tag_field="step", tag="certificate"):
    """One of the chain that a server presented, the server's own first."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: float  # Unix time
    not_after: float  # Unix time
    serial: str  # hexadecimal
    fingerprint: str  # SHA-256, hexadecimal


class Demand(msgspec.Struct, frozen=True, kw_only=True, tag_field="step", tag="demand"):
    """Something that was expected, what came instead or indeed, and whether that was fine."""

    name: str  # "status code", "body matches"
    expected: str
    got: str
    met: bool


Step = Timed | LookUp | Exchange | Said | Certificate | Demand
