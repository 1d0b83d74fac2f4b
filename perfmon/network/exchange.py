"""What goes out on a connection and what comes back: the values of one HTTP exchange or one bare connection."""

from collections.abc import Mapping
from typing import Literal, Protocol

import msgspec

from perfmon.model import Failure, Phase
from perfmon.network.proxy import Proxy
from perfmon.network.tls import TlsConfig

__all__ = ["FIRST_BYTES", "Request", "Response", "Talk"]

FIRST_BYTES = 200  # of every body, for the evidence of a failure


class Request(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What to send, and how much of the answer to keep. Made once, performed many times."""

    url: str  # http or https, ws or wss
    name: str  # the URL's host: what Host and SNI say and the certificate must be for, not where the connection goes
    port: int  # the URL's, also when it is the scheme's own
    method: str = "GET"
    headers: tuple[str, ...] = ()  # "Name: value"; "Name;" sends an empty one
    body: bytes | None = None
    tls: TlsConfig | None = None  # None = plain text
    decode: str = ""  # the Content-Encoding to ask for and to undo
    keep_headers: bool = False
    keep_body_bytes: int = FIRST_BYTES
    body_limit_bytes: float = 0.0  # a longer body fails; 0 = none
    connect_only: bool = False  # end when the connection stands, TLS included
    http2: bool = False  # speak HTTP/2 and nothing else, over plain text too, as gRPC does
    versions: Literal["", "1.1", "3"] = ""  # the one to speak; "" = HTTP/2 where TLS agrees on it, else HTTP/1.1
    proxy: Proxy | None = None
    websocket: bool = False  # ask for the upgrade, and keep the connection for `Response.websocket`
    fresh: bool = True


class Talk(Protocol):
    """A WebSocket that stands; `perfmon.network.websocket` has it."""

    async def receive(self) -> bytes:
        """The next message, however long it takes."""
        ...

    async def send(self, text: bytes) -> None:
        """Send one text message."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """What came back. Zeros where nothing did."""

    phases: Mapping[Phase, float]  # those that were begun, in seconds
    error: Failure | None
    status: int
    http_version: float  # 1.1
    content_length: int  # -1 when the response did not say
    body_bytes: int  # after decoding, the limit at most
    body: bytes  # its beginning
    headers: tuple[tuple[str, str], ...]  # names in lower case; only with `keep_headers`
    last_modified: int  # Unix time, -1 = not said
    location: str  # where a redirect leads, absolute
    cookies: tuple[bytes, ...]  # all that are known now, in libcurl's form, for `Transfer.perform(cookies=...)`
    certificates: tuple[str, ...]  # PEM, leaf first; also those of a name that did not match
    tls_version: str  # "TLSv1.3"
    resent: int = 0  # how often libcurl sent the request again on its own
    websocket: Talk | None = None  # stands after an upgrade, and is for whoever asked to close
