"""What a request's method and headers may consist of (RFC 9110, sections 5.5 and 5.6.2)."""

import re

__all__ = ["is_token", "is_value"]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"(?:[!-~](?:[\t -~]*[!-~])?)?")


def is_token(text: str) -> bool:
    """Whether it can be a method, a header's name, or the name of a subprotocol."""
    return _TOKEN.fullmatch(text) is not None


def is_value(text: str) -> bool:
    """Whether a header can have this value: no line break, nothing that is not ASCII, no blanks around it."""
    return _VALUE.fullmatch(text) is not None
