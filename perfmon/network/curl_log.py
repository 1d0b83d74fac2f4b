"""What libcurl says while it works, fit to be shown: secrets left out, bodies not told."""

import re
from collections.abc import Callable, Iterable

import pycurl

__all__ = ["HARMLESS", "teller"]

HARMLESS = (
    *("accept", "accept-encoding", "accept-language", "cache-control", "content-type", "te", "user-agent"),
    "sec-websocket-protocol",
)
"""Headers that a user may set and that tell nothing; the value of any other one may be a secret."""

_PREFIX = {pycurl.INFOTYPE_TEXT: "", pycurl.INFOTYPE_HEADER_IN: "< ", pycurl.INFOTYPE_HEADER_OUT: "> "}
# As headers, as HTTP/2 has them ("[HTTP/2] [1] [cookie: a=b]"), and as libcurl's cookie engine tells ("Added cookie").
_SECRET = re.compile(r"(?i)((?:authorization|cookie)\b:?)[ :].*")
_USER = re.compile(r"//[^/\s]*@")  # of a Location


def teller(note: Callable[[str], None], headers: Iterable[str]) -> Callable[[int, bytes], None]:
    """A debug function for libcurl that tells `note` line by line; `headers` are the request's, as `Name: value`."""
    pairs = [header.partition(":")[::2] for header in headers]
    secrets = [value.strip() for name, value in pairs if value.strip() and name.lower() not in (*HARMLESS, "host")]

    def tell(kind: int, text: bytes) -> None:
        prefix = _PREFIX.get(kind)
        if prefix is None:
            return
        for line in text.decode("utf-8", "replace").splitlines():
            shown = _USER.sub("//<secret>@", _SECRET.sub(r"\1 <secret>", line))
            for secret in secrets:
                shown = shown.replace(secret, "<secret>")
            if shown:
                note(prefix + shown)

    return tell
