"""Send an HTTP request, follow its redirects, and hold the answer against what was demanded."""

from typing import Literal

import msgspec

from perfmon.metrics import Family
from perfmon.tls import TlsConfig
from perfmon.units import Bytes

__all__ = ["FAMILIES", "Config"]


class BasicAuth(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`Authorization: Basic`."""

    username: str
    password: str = ""


class Authorization(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`Authorization: <type> <credentials>`."""

    type: str = "Bearer"
    credentials: str


class HeaderRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A demand on one response header; `regexp` is RE2 and matches anywhere in the value."""

    header: str
    regexp: str
    allow_missing: bool = False


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """blackbox_exporter's `http` section, field by field."""

    method: str = "GET"
    headers: dict[str, str] = {}
    body: str = ""
    preferred_ip_protocol: Literal["ip4", "ip6"] = "ip6"
    ip_protocol_fallback: bool = True
    follow_redirects: bool = True
    compression: Literal["", "gzip", "br", "deflate", "identity"] = ""
    basic_auth: BasicAuth | None = None
    bearer_token: str = ""
    authorization: Authorization | None = None
    tls_config: TlsConfig = TlsConfig()

    valid_status_codes: list[int] = []  # empty = 2xx
    valid_http_versions: list[str] = []  # "HTTP/1.1", "HTTP/2.0"; empty = any
    body_size_limit: Bytes = 0.0  # 0 = none
    fail_if_ssl: bool = False
    fail_if_not_ssl: bool = False
    fail_if_body_matches_regexp: list[str] = []
    fail_if_body_not_matches_regexp: list[str] = []
    fail_if_header_matches: list[HeaderRule] = []
    fail_if_header_not_matches: list[HeaderRule] = []


FAMILIES = (
    Family(
        "probe_http_duration_seconds",
        "gauge",
        "Time taken by each phase of the request, summed over redirects.",
        ("phase",),
        "seconds",
    ),
    Family("probe_http_status_code", "gauge", "Status code of the final response."),
    Family("probe_http_content_length", "gauge", "Content-Length of the final response, -1 when it had none."),
    Family("probe_http_uncompressed_body_length", "gauge", "Bytes of the final body, after decompression."),
    Family("probe_http_redirects", "gauge", "How many redirects were met."),
    Family("probe_http_ssl", "gauge", "Whether the final response came over TLS."),
    Family("probe_http_version", "gauge", "HTTP version of the final response."),
    Family(
        "probe_http_last_modified_timestamp_seconds",
        "gauge",
        "Last-Modified of the final response in Unix time; absent when it had none.",
        (),
        "seconds",
    ),
)
