"""Connect to a TCP port, do the TLS handshake when asked, and nothing more."""

from typing import Literal

import msgspec

from perfmon.metrics import Family
from perfmon.tls import TlsConfig

__all__ = ["FAMILIES", "Config"]


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """blackbox_exporter's `tcp` section, field by field."""

    preferred_ip_protocol: Literal["ip4", "ip6"] = "ip6"
    ip_protocol_fallback: bool = True
    tls: bool = False
    tls_config: TlsConfig = TlsConfig()


FAMILIES: tuple[Family, ...] = ()
