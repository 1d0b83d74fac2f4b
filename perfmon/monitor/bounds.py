"""What one client of the web face, and all together, may take."""

import msgspec

__all__ = ["Bounds"]


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What one client, and all together, may take."""

    request_bytes: int = 65_536  # head and body; no request that is answered needs a body
    request_s: float = 10.0  # from a request's first byte, or the connection's begin, to its last; so long a handshake
    connections: int = 512  # those whose handshake is under way included
    keep_alive_s: int = 75  # longer than the usual scrape interval, so that a scraper keeps its connection
    stop_s: int = 3  # what answers under way have left at the end
