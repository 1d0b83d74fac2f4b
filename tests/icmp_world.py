"""A machine of its own for the icmp probe: `unshare --net python icmp_world.py` prints what its runs gave, as JSON.

In a network namespace ICMP can be told to behave: the kernel answers no echo here, a raw socket does instead, and says
what a run needs. So late, doubled, foreign and spoilt replies are real packets.
"""

import fcntl
import json
import os
import socket
import struct
import threading
import time
from pathlib import Path

import msgspec
import uvloop
from probing import probe_icmp

from perfmon.clock import SystemClock
from perfmon.model import Measurement
from perfmon.network import Network
from perfmon.network.icmp_packet import checksum

HERE = "127.0.0.1"
NOBODY = 65_534


def reply(request: bytes, *, ident: int | None = None, payload: bytes | None = None) -> bytes:
    own, sequence = struct.unpack("!HH", request[4:8])
    body = struct.pack("!HH", own if ident is None else ident, sequence) + (request[8:] if payload is None else payload)
    return b"\0\0" + struct.pack("!H", checksum(b"\0\0\0\0" + body)) + body


def unreachable(request: bytes, *, ident: int | None = None) -> bytes:
    """A router's word that the host is not there, with the packet that it is about."""
    quoted = request if ident is None else request[:4] + struct.pack("!H", ident) + request[6:]
    here = socket.inet_aton(HERE)
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(quoted), 0, 0, 64, socket.IPPROTO_ICMP, 0, here, here)
    body = bytes(4) + header + quoted
    return b"\3\1" + struct.pack("!H", checksum(b"\3\1\0\0" + body)) + body


def spoilt(request: bytes) -> bytes:
    return reply(request, payload=request[8:-1] + bytes([request[-1] ^ 1]))


# What the machine answers: pairs of seconds to wait and bytes to send.
ANSWERS = {
    "good": lambda request: [(0, reply(request))],
    "twice": lambda request: [(0, reply(request)), (0, reply(request))],
    "late": lambda request: [(0.12, reply(request))],
    "spoilt": lambda request: [(0, spoilt(request))],
    "short": lambda request: [(0, reply(request, payload=request[8:-1]))],
    "foreign": lambda request: [(0, reply(request, ident=(struct.unpack("!H", request[4:6])[0] + 1) & 0xFFFF))],
    "stranger": lambda request: [(0, reply(request))],
    "silent": lambda request: [],
    "unreachable": lambda request: [(0, unreachable(request))],
    "unreachable for others": lambda request: [(0, unreachable(request, ident=1)), (0.02, reply(request))],
    "some": lambda request: [(0, reply(request))] if request[7] % 2 == 0 else [],
    "slower": lambda request: [(0.01 * (1 + request[7] % 2), reply(request))],
}


class Responder(threading.Thread):
    """Answers echo requests to this machine in the kernel's stead."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.how = "good"
        self.requests: list[bytes] = []
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self._elsewhere = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self._elsewhere.bind(("127.0.0.2", 0))

    def run(self) -> None:
        while True:
            packet, sender = self._sock.recvfrom(65_535)
            request = packet[20:]
            if request[0] == 8:
                self.requests.append(request)
                for wait_s, answer in ANSWERS[self.how](request):
                    time.sleep(wait_s)
                    sock = self._elsewhere if self.how == "stranger" else self._sock
                    sock.sendto(answer, sender)


def up() -> None:
    """Bring the loopback device up, and let the kernel answer no echo."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: up, running
        fcntl.ioctl(sock, 0x8922, struct.pack("16si12x", b"lo", 1_500))  # SIOCSIFMTU


def allow(groups: str) -> None:
    Path("/proc/sys/net/ipv4/ping_group_range").write_text(groups)


def kernel_answers(*, yes: bool) -> None:
    Path("/proc/sys/net/ipv4/icmp_echo_ignore_all").write_text("0" if yes else "1")


def told(measurement: Measurement) -> dict[str, object]:
    return msgspec.to_builtins(
        {"failure": measurement.failure, "facts": measurement.facts, "phases": measurement.phases}
    ) | {"duration_s": measurement.duration_s}


RUNS = {
    "good": ("good", {}),
    "payload": ("good", {"payload_size": 3}),
    "many": ("slower", {"packets": 6, "packet_interval": 0.02}),
    "twice": ("twice", {"packets": 3, "packet_interval": 0.05}),
    "late": ("late", {"packets": 2, "packet_interval": 0.15, "reply_timeout": 0.1}),
    "late but in time": ("late", {}),
    "spoilt": ("spoilt", {}),
    "short": ("short", {}),
    "foreign": ("foreign", {}),
    "stranger": ("stranger", {}),
    "silent": ("silent", {}),
    "some": ("some", {"packets": 4, "packet_interval": 0.01, "max_loss": 0.25, "reply_timeout": 0.1}),
    "enough": ("some", {"packets": 4, "packet_interval": 0.01, "max_loss": 0.5, "reply_timeout": 0.1}),
    "too many": ("good", {"packets": 100, "packet_interval": 0.1}),
    "cut": ("good", {"dont_fragment": True, "payload_size": 3_000}),
    "whole": ("good", {"payload_size": 3_000}),
    "unreachable": ("unreachable", {}),
    "unreachable for others": ("unreachable for others", {}),
}


async def all_runs(responder: Responder, names: list[str]) -> dict[str, object]:
    """Each run in its own time, one after the other."""
    seen = {}
    async with Network(clock=SystemClock()) as network:
        for name in names:
            responder.how, config = RUNS[name]
            responder.requests.clear()
            began = time.monotonic()
            seen[name] = told(await probe_icmp(network, HERE, timeout_s=0.3, **config))
            seen[name] |= {"took_s": time.monotonic() - began, "requests": [r.hex() for r in responder.requests]}
    return seen


async def one_run(address: str) -> dict[str, object]:
    async with Network(clock=SystemClock()) as network:
        return told(await probe_icmp(network, address, timeout_s=0.4))


def main() -> None:
    up()
    kernel_answers(yes=False)
    responder = Responder()
    responder.start()
    seen: dict[str, object] = {}
    allow("1 0")
    seen["raw"] = uvloop.run(all_runs(responder, list(RUNS)))
    allow("0 2147483647")
    seen["ping"] = uvloop.run(all_runs(responder, list(RUNS)))
    kernel_answers(yes=True)
    seen["no route"] = uvloop.run(one_run("192.0.2.1"))
    os.setegid(NOBODY)
    os.seteuid(NOBODY)  # as root comes back, only what is in force is given up
    seen["unprivileged"] = {address: uvloop.run(one_run(address)) for address in (HERE, "::1")}
    os.seteuid(0)
    allow("1 0")
    os.seteuid(NOBODY)
    seen["forbidden"] = uvloop.run(one_run(HERE))
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
