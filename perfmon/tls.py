"""TLS as probes see it: what a user may demand of a connection, and what its certificates say."""

from typing import Literal

import msgspec

__all__ = ["TlsConfig"]

Version = Literal["", "TLS10", "TLS11", "TLS12", "TLS13"]


class TlsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """blackbox_exporter's `tls_config`. Files are read by libcurl at each handshake, so a renewed one is seen."""

    insecure_skip_verify: bool = False
    ca_file: str = ""  # "" = what the machine trusts
    cert_file: str = ""
    key_file: str = ""
    server_name: str = ""  # "" = the host of the target
    min_version: Version = ""  # "" = TLS 1.2, as libcurl and Go have it
    max_version: Version = ""
