"""Sockets for ICMP echo: the kernel's unprivileged ping sockets first, raw ones where only those are allowed.

A ping socket hears only replies to its own identifier. A raw one hears every ICMP packet of the machine, so it gets
a filter in the kernel: thousands of runs at once do not wake each other.
"""

import ctypes
import errno
import ipaddress
import itertools
import secrets
import socket
import struct
from collections.abc import Iterator

import msgspec

from perfmon.model import Reason
from perfmon.network.icmp_packet import read_echo

__all__ = ["Line", "NotAllowed", "Obstacle", "Options", "obstacles", "open_line"]

# Linux' own numbers (linux/in.h, linux/in6.h, asm-generic/socket.h), which Python has no names for.
_IP_RECVERR, _IPV6_RECVERR = 11, 25
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PMTUDISC_DO = 10, 23, 2
_SO_ATTACH_FILTER = 26
_MSG_ERRQUEUE = 0x2000
_idents = itertools.count(secrets.randbits(16))  # of raw sockets: 65,536 runs pass before one comes again
_FORBIDDEN = (errno.EPERM, errno.EACCES, errno.EPROTONOSUPPORT)


class NotAllowed(Exception):
    """Neither kind of socket may be opened by this process."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the packets are to be like."""

    source: str = ""
    hop_limit: int = 0  # 0 = the machine's own
    dont_fragment: bool = False


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """An open socket, connected to the target."""

    sock: socket.socket
    version: int  # 4 or 6
    peer: str  # the target's address, as the kernel writes that of a sender
    ident: int
    raw: bool

    @property
    def with_ip_header(self) -> bool:
        """Whether what comes begins with the IP header."""
        return self.raw and self.version == 4


class Obstacle(msgspec.Struct, frozen=True, kw_only=True):
    """Why a packet did not arrive."""

    reason: Reason
    text: str
    own: bool  # the packet was one of this line's: raw sockets hear of those of others, too


def open_line(address: str, options: Options) -> Line:
    """A socket towards `address`. NotAllowed, or OSError when there is no way there."""
    version = 6 if ":" in address else 4
    sock, raw = _socket(version)
    try:
        if options.source or not raw:
            sock.bind((options.source, 0))
        _set(sock, version, options)
        ident = next(_idents) & 0xFFFF if raw else sock.getsockname()[1]
        if raw:
            _hear_only(sock, version, ident)
        sock.connect((address, 0))
    except OSError:
        sock.close()
        raise
    peer = str(ipaddress.ip_address(address.partition("%")[0]))
    return Line(sock=sock, version=version, peer=peer, ident=ident, raw=raw)


def obstacles(line: Line, error: OSError) -> Iterator[Obstacle]:
    """Why packets did not arrive, after `error` said that some did not.

    All that the kernel has in store must be fetched, or the socket would stay readable for ever.
    https://man7.org/linux/man-pages/man7/ip.7.html, IP_RECVERR
    """
    found = False
    while True:
        try:
            data, ancillary, _flags, _source = line.sock.recvmsg(65_535, 512, _MSG_ERRQUEUE)
        except BlockingIOError:
            break
        for level, kind, told in ancillary:
            if (level, kind) in ((socket.IPPROTO_IP, _IP_RECVERR), (socket.IPPROTO_IPV6, _IPV6_RECVERR)):
                found = True
                yield _obstacle(line, told, data)
    if not found:
        reason: Reason = "too_large" if error.errno == errno.EMSGSIZE else "unreachable"
        yield Obstacle(reason=reason, text=(error.strerror or str(error)).lower(), own=True)


def _socket(version: int) -> tuple[socket.socket, bool]:
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    protocol = socket.IPPROTO_ICMPV6 if version == 6 else socket.IPPROTO_ICMP
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            return socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol), kind == socket.SOCK_RAW
        except OSError as error:
            if error.errno not in _FORBIDDEN:
                raise
    raise NotAllowed


def _set(sock: socket.socket, version: int, options: Options) -> None:
    v6 = version == 6
    level = socket.IPPROTO_IPV6 if v6 else socket.IPPROTO_IP
    sock.setsockopt(level, _IPV6_RECVERR if v6 else _IP_RECVERR, 1)
    if options.hop_limit:
        sock.setsockopt(level, socket.IPV6_UNICAST_HOPS if v6 else socket.IP_TTL, options.hop_limit)
    if options.dont_fragment:
        sock.setsockopt(level, _IPV6_MTU_DISCOVER if v6 else _IP_MTU_DISCOVER, _PMTUDISC_DO)


def _hear_only(sock: socket.socket, version: int, ident: int) -> None:
    """Let the kernel drop all but echo replies with our identifier, by a program of classic BPF.

    IPv4 packets begin with their IP header here, IPv6 ones do not. https://docs.kernel.org/networking/filter.html
    """
    reply = 129 if version == 6 else 0
    program = b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in (
            (0xB1, 0, 0, 0) if version == 4 else (0x01, 0, 0, 0),  # x = length of the IP header, or 0
            (0x50, 0, 0, 0),  # a = byte at x: the type
            (0x15, 0, 3, reply),  # another type: drop
            (0x48, 0, 0, 4),  # a = word at x + 4: the identifier
            (0x15, 0, 1, ident),  # another one: drop
            (0x06, 0, 0, 0xFFFF_FFFF),  # keep
            (0x06, 0, 0, 0),  # drop
        )
    )
    kept = ctypes.create_string_buffer(program, len(program))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", 7, ctypes.addressof(kept)))


def _obstacle(line: Line, told: bytes, quoted: bytes) -> Obstacle:
    """Of `struct sock_extended_err`, with the address of who said so behind it, and the packet that it is about."""
    _errno, origin, kind, code, _pad, info, _data = struct.unpack_from("=IBBBBII", told)
    if origin == _ORIGIN_LOCAL:  # the packet never left this machine
        text = f"the packet is larger than the way takes, {info} bytes at most"
        return Obstacle(reason="too_large", text=text, own=True)
    text = _MESSAGES.get((line.version, kind, code)) or _MESSAGES.get((line.version, kind, -1), "")
    text = text or f"ICMP type {kind}, code {code}"
    offender = _offender(line.version, told[16:])
    echo = read_echo(line.version, quoted, request=True)
    return Obstacle(
        reason="too_large" if (line.version, kind, code) in _TOO_LARGE else "unreachable",
        text=f"{text}, says {offender}" if offender else text,
        own=echo is None or echo.ident == line.ident,
    )


def _offender(version: int, address: bytes) -> str:
    """Who said so, of a `sockaddr_in` or `sockaddr_in6`."""
    if version == 4 and len(address) >= 8:
        return socket.inet_ntop(socket.AF_INET, address[4:8])
    if version == 6 and len(address) >= 24:
        return socket.inet_ntop(socket.AF_INET6, address[8:24])
    return ""


_ORIGIN_LOCAL = 1
_TOO_LARGE = ((4, 3, 4), (6, 2, 0))
_MESSAGES = {
    (4, 3, 0): "network unreachable",
    (4, 3, 1): "host unreachable",
    (4, 3, 2): "protocol unreachable",
    (4, 3, 4): "fragmentation needed and not allowed",
    (4, 3, 13): "forbidden by a filter",
    (4, 3, -1): "destination unreachable",
    (4, 11, -1): "hop limit exceeded on the way",
    (6, 1, 0): "no route",
    (6, 1, 1): "forbidden by a filter",
    (6, 1, 3): "address unreachable",
    (6, 1, -1): "destination unreachable",
    (6, 2, -1): "packet too big",
    (6, 3, -1): "hop limit exceeded on the way",
}
