"""Send JSON to somebody who may be slow, gone, or wrong: HTTP off the hot path, for receivers.

Blocking, for a thread that may wait. Whatever goes wrong becomes a PassingError or a PermanentError whose message names
the host and never a path, a header or a password: a webhook's path is often its secret.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec
import requests
from urllib3.exceptions import HTTPError

from perfmon.errors import PassingError, PermanentError
from perfmon.units import Duration

__all__ = ["BasicAuth", "Http", "Tls", "check", "place", "post"]

_EXCERPT_BYTES = 300
_LONGEST_RETRY_AFTER_S = 3600.0
_PASSING = frozenset({408, 425, 429})


class BasicAuth(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`Authorization: Basic`."""

    username: str
    password: str = ""


class Tls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to trust the other side, and how to be trusted; files are read at each request."""

    ca_file: str = ""  # "" = what the machine trusts
    cert_file: str = ""
    key_file: str = ""
    insecure_skip_verify: bool = False


class Http(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every receiver that speaks HTTP can be told."""

    headers: dict[str, str] = {}
    basic_auth: BasicAuth | None = None
    bearer_token: str = ""
    tls_config: Tls = Tls()
    connect_timeout: Duration = 3.0
    timeout: Duration = 10.0  # the longest silence after the connection stands
