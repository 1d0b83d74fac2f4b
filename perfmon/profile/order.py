"""Leave to profile one process, as a sampler gives it to the daemon for a series of its own that leaks."""

import msgspec

__all__ = ["Order"]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to look into, and how."""

    pid: int
    every_s: float  # not again for the same series before this time is over
    short_s: int
    long_s: int
