"""ICMP echo as bytes: requests to write, replies to read. Pure."""

import struct
from typing import Final

import msgspec

__all__ = ["Echo", "build_request", "read_echo"]

_HEADER = struct.Struct("!BBHHH")
_REQUEST: Final = {4: 8, 6: 128}
_REPLY: Final = {4: 0, 6: 129}


class Echo(msgspec.Struct, frozen=True):
    """An echo reply, or a request as an error message quotes it."""

    ident: int
    sequence: int
    payload: bytes
    hop_limit: int = -1  # from an IP header that came along, -1 = none did


def build_request(version: int, ident: int, sequence: int, payload: bytes) -> bytes:
    """An echo request for IPv4 or IPv6. The checksum of IPv6 covers addresses, so it is left to the kernel."""
    head = _HEADER.pack(_REQUEST[version], 0, 0, ident, sequence)
    if version == 6:
        return head + payload
    return _HEADER.pack(_REQUEST[version], 0, checksum(head + payload), ident, sequence) + payload


def read_echo(version: int, data: bytes, *, with_ip_header: bool = False, request: bool = False) -> Echo | None:
    """The echo reply in `data`, or the request where `request` asks for one; None when it is something else.

    Raw sockets of IPv4 give packets with their IP header.
    """
    hop_limit = -1
    if with_ip_header:
        if len(data) < 20:
            return None
        hop_limit = data[8]
        data = data[4 * (data[0] & 0x0F) :]
    if len(data) < _HEADER.size:
        return None
    kind, code, _checksum, ident, sequence = _HEADER.unpack_from(data)
    if kind != (_REQUEST if request else _REPLY)[version] or code != 0:
        return None
    return Echo(ident, sequence, data[_HEADER.size :], hop_limit)


def checksum(data: bytes) -> int:
    """RFC 1071: the ones' complement of the ones' complement sum of 16 bit words.

    A sum modulo 65,535 is a ones' complement sum, and Python takes it of the whole packet as one number.
    """
    if len(data) % 2:
        data += b"\0"
    total = int.from_bytes(data, "big")
    return 0xFFFF - (total % 0xFFFF or (0xFFFF if total else 0))
