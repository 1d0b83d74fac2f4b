"""Send ICMP echo requests and hold what comes back against what was sent: loss, round trip times, jitter."""

import math
import secrets
import statistics
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Literal

import msgspec

from perfmon.metrics import Family
from perfmon.model import Failure, Reason, Target, fact_key
from perfmon.network import ping
from perfmon.network.address import objection, parse_name
from perfmon.network.datagram import Datagram, Datagrams
from perfmon.network.icmp_packet import build_request, read_echo
from perfmon.network.reach import look_up
from perfmon.network.stream import check_source
from perfmon.trace import Trace
from perfmon.units import Duration, Ratio, format_duration, format_ratio

__all__ = ["FAMILIES", "Config", "check", "check_target", "probe"]


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """blackbox_exporter's `icmp` section, field by field, and what more than one packet needs."""

    preferred_ip_protocol: Literal["ip4", "ip6"] = "ip6"  # Which addresses of a name to prefer.
    ip_protocol_fallback: bool = True  # Whether to use the other kind when there is none of the preferred.
    source_ip_address: str = ""  # Address to send from.
    dont_fragment: bool = False  # Fail rather than let the packet be cut on its way.
    payload_size: int = 0  # Bytes of each packet's payload. 0 for 28.
    ttl: int = 0  # Hop limit of the packets. 0 for the machine's own.
    packets: int = 1  # How many packets to send.
    packet_interval: Duration = 0.2  # Time from one packet to the next.
    reply_timeout: Duration = 0.0  # When a reply counts as late, and its packet as lost. 0 for the end of the run.
    max_loss: Ratio = 0.0  # The largest share of packets that may be lost.


FAMILIES = (
    Family(
        "probe_icmp_duration_seconds",
        "gauge",
        "Time taken by each phase; `rtt` is the mean of all packets.",
        ("phase",),
        "seconds",
    ),
    Family("probe_icmp_reply_hop_limit", "gauge", "Hop limit (TTL) of the last reply, where the kernel tells it."),
    Family("probe_icmp_packets_sent", "gauge", "Packets sent in the last run."),
    Family("probe_icmp_packets_received", "gauge", "Packets that came back whole and in time."),
    Family("probe_icmp_packets_late", "gauge", "Replies that came after `reply_timeout`."),
    Family("probe_icmp_packets_duplicate", "gauge", "Replies to packets that had been answered already."),
    Family("probe_icmp_packets_corrupt", "gauge", "Replies with another payload than was sent."),
    Family("probe_icmp_packet_loss_ratio", "gauge", "Share of packets that were not answered in time.", (), "ratio"),
    Family("probe_icmp_duration_rtt_min_seconds", "gauge", "Shortest round trip of the last run.", (), "seconds"),
    Family("probe_icmp_duration_rtt_max_seconds", "gauge", "Longest round trip of the last run.", (), "seconds"),
    Family("probe_icmp_duration_rtt_mean_seconds", "gauge", "Mean round trip of the last run.", (), "seconds"),
    Family(
        "probe_icmp_duration_rtt_stddev_seconds",
        "gauge",
        "Standard deviation of the round trips of the last run.",
        (),
        "seconds",
    ),
    Family(
        "probe_icmp_jitter_seconds",
        "gauge",
        "Mean difference between a round trip and the one before.",
        (),
        "seconds",
    ),
)

_PAYLOAD_BYTES = 28
_LARGEST_PAYLOAD = 65_507  # 65,535 less the IP and ICMP headers
_MOST_PACKETS = 1_000
_SHORTEST_INTERVAL_S = 0.01  # a probe is no flood
_TOKEN_BYTES = 8  # random, at the beginning of each payload: a reply to an older run is none to this one
_PATTERN = bytes(range(256)) * 256


# ---------------------------------------------------------------- what config.py asks


def check(config: Config) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express, as (path, message)."""
    bounds = (("ttl", 0, 255), ("payload_size", 0, _LARGEST_PAYLOAD), ("packets", 1, _MOST_PACKETS))
    for field, low, high in bounds:
        value = getattr(config, field)
        if not low <= value <= high:
            yield field, f"expected {low} to {high}, got {value}"
    if config.packet_interval < _SHORTEST_INTERVAL_S:
        shortest = format_duration(_SHORTEST_INTERVAL_S)
        yield "packet_interval", f"expected {shortest} or more, got {format_duration(config.packet_interval)}"
    if config.max_loss >= 1:
        yield "max_loss", f"expected less than 100%, got {format_ratio(config.max_loss)}"
    yield from check_source(config.source_ip_address)


def check_target(address: str, _config: Config) -> str | None:
    """Why an address cannot be probed."""
    return objection(parse_name, address)


# ---------------------------------------------------------------- a run


async def probe(target: Target, config: Config, trace: Trace) -> Failure | None:
    """Fail unless enough of the packets came back, in time and as they were sent."""
    tally = _Tally(config)
    try:
        return await _run(target, config, trace, tally)
    finally:
        _write_facts(trace, tally)  # also of a run that is cut off


async def _run(target: Target, config: Config, trace: Trace, tally: "_Tally") -> Failure | None:
    message = check_target(target.address, config)
    message = message or next((words for _, words in check_source(config.source_ip_address)), None)
    if message is not None:
        return Failure(reason="unreachable", phase="", message=message)
    source = config.source_ip_address
    resolved = await look_up(
        parse_name(target.address),
        trace,
        prefer=config.preferred_ip_protocol if not source else "ip6" if ":" in source else "ip4",
        fallback=config.ip_protocol_fallback and not source,
    )
    if isinstance(resolved, Failure):
        return resolved
    trace.begin("connect")
    try:
        line = ping.open_line(resolved.address, _options(config))
    except ping.NotAllowed:
        return Failure(reason="permission", phase="connect", message=_NOT_ALLOWED)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        return Failure(reason="unreachable", phase="connect", message=f"{resolved.address} cannot be reached: {why}")
    with Datagrams(line.sock, trace.clock) as socket:
        trace.end()
        trace.note("pinging", address=resolved.address, socket="raw" if line.raw else "ping", packets=config.packets)
        await _exchange(line, socket, trace, tally)
    if trace.steps is not None:
        lost = f"{format_ratio(tally.loss, brief=True)} of {tally.sent}"
        fine = f"{format_ratio(config.max_loss)} at most"
        trace.demand("packets lost", expected=fine, got=lost, met=tally.loss <= config.max_loss)
    return _judge(config, tally, resolved.address)


def _options(config: Config) -> ping.Options:
    return ping.Options(source=config.source_ip_address, hop_limit=config.ttl, dont_fragment=config.dont_fragment)


_NOT_ALLOWED = (
    "this process may not send ICMP: let the group of its user into the sysctl net.ipv4.ping_group_range, "
    "or give it CAP_NET_RAW"
)


async def _exchange(line: ping.Line, socket: Datagrams, trace: Trace, tally: "_Tally") -> None:
    """Send packets at their times and take replies in between, until nothing more can come."""
    clock = trace.clock
    began = clock.monotonic()
    trace.begin("processing")
    while tally.obstacle is None:
        now = clock.monotonic()
        due = tally.next_due() if tally.sent else began
        until = min(due, trace.deadline, tally.last_reply_due())
        if now >= trace.deadline or tally.complete or (due == math.inf and now >= until):
            break
        if now >= due:
            _send(line, tally, now)
            continue
        try:
            datagram = await socket.receive(until)
        except TimeoutError:
            continue
        except OSError as error:
            _take_error(line, error, tally)
            continue
        if datagram.source == line.peer:
            _take(line, datagram, tally)
    waited_s = clock.monotonic() - began
    trace.note("over", sent=tally.sent, received=len(tally.rtts), late=len(tally.late), duplicates=tally.duplicates)
    # The pauses between packets are our own: what the run took is the mean round trip, as it is of one packet.
    trace.end(at=began)
    trace.add("processing", statistics.fmean(tally.rtts.values()) if tally.rtts else waited_s)


def _send(line: ping.Line, tally: "_Tally", now: float) -> None:
    sequence = tally.sent
    try:
        line.sock.send(build_request(line.version, line.ident, sequence, tally.payload))
    except OSError as error:
        _take_error(line, error, tally)
        return
    tally.sent_at[sequence] = now


def _take(line: ping.Line, datagram: Datagram, tally: "_Tally") -> None:
    """Count a reply for what it is; one that is to nobody's packet of this run counts for nothing."""
    echo = read_echo(line.version, datagram.data, with_ip_header=line.with_ip_header)
    if echo is None or echo.ident != line.ident or echo.sequence not in tally.sent_at:
        return
    if echo.payload != tally.payload:
        tally.corrupt += 1
        return
    tally.answer(echo.sequence, datagram.at)
    tally.hop_limit = max(datagram.hop_limit, echo.hop_limit)


def _take_error(line: ping.Line, error: OSError, tally: "_Tally") -> None:
    """A router's word ends the run, if it is about a packet of ours."""
    for obstacle in ping.obstacles(line, error):
        if obstacle.own:
            tally.obstacle = obstacle


class _Tally:
    """What was sent and what became of it."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.payload = (secrets.token_bytes(_TOKEN_BYTES) + _PATTERN)[: config.payload_size or _PAYLOAD_BYTES]
        self.sent_at: dict[int, float] = {}
        self.rtts: dict[int, float] = {}  # of packets that were answered in time
        self.late: dict[int, float] = {}  # of those answered later
        self.duplicates = 0
        self.corrupt = 0
        self.hop_limit = -1
        self.obstacle: ping.Obstacle | None = None  # what ended the run

    @property
    def sent(self) -> int:
        return len(self.sent_at)

    @property
    def complete(self) -> bool:
        return len(self.rtts) + len(self.late) == self.config.packets

    @property
    def loss(self) -> float:
        """A quotient of whole numbers, so that 3 of 10 are no more than 30%."""
        return (self.sent - len(self.rtts)) / self.sent if self.sent else 1.0

    def next_due(self) -> float:
        """When the next packet is to be sent; never two at once, also when the loop was late."""
        if self.sent == self.config.packets:
            return math.inf
        return self.sent_at[self.sent - 1] + self.config.packet_interval

    def last_reply_due(self) -> float:
        """When the last of the packets sent so far counts as lost."""
        if not self.config.reply_timeout or not self.sent_at:
            return math.inf
        return self.sent_at[self.sent - 1] + self.config.reply_timeout

    def answer(self, sequence: int, at: float) -> None:
        if sequence in self.rtts or sequence in self.late:
            self.duplicates += 1
            return
        rtt = max(0.0, at - self.sent_at[sequence])
        late = 0 < self.config.reply_timeout < rtt
        (self.late if late else self.rtts)[sequence] = rtt

    def jitter(self) -> float:
        """The mean difference between a round trip and that of the packet answered before it."""
        rtts = [self.rtts[sequence] for sequence in sorted(self.rtts)]
        return statistics.fmean(abs(b - a) for a, b in pairwise(rtts)) if len(rtts) > 1 else 0.0


# ---------------------------------------------------------------- the verdict


def _judge(config: Config, tally: _Tally, address: str) -> Failure | None:
    if tally.obstacle is not None:
        message = f"{address} cannot be reached: {tally.obstacle.text}"
        return Failure(reason=tally.obstacle.reason, phase="processing", message=message, evidence=_evidence(tally))
    if tally.sent < config.packets:
        message = f"only {tally.sent} of {config.packets} packets could be sent in time, one each "
        message += format_duration(config.packet_interval)
        return Failure(reason="timeout", phase="request", message=message, evidence=_evidence(tally))
    if tally.loss <= config.max_loss:
        return None
    return Failure(
        reason=_why_lost(tally),
        phase="processing",
        message=", ".join(_story(config, tally, address)),
        evidence=_evidence(tally),
    )


def _why_lost(tally: _Tally) -> Reason:
    return "body" if tally.corrupt and not tally.late else "timeout"


def _story(config: Config, tally: _Tally, address: str) -> Iterator[str]:
    if config.packets == 1 and not (tally.late or tally.corrupt):
        yield f"no reply from {address}"
        return
    yield f"{tally.sent - len(tally.rtts)} of {config.packets} packets to {address} lost"
    if tally.late:
        slowest = format_duration(max(tally.late.values()), brief=True)
        yield f"{len(tally.late)} came back late, after up to {slowest}"
    if tally.corrupt:
        yield f"{tally.corrupt} came back with another payload"
    if config.max_loss:
        yield f"expected {format_ratio(config.max_loss)} at most"


def _evidence(tally: _Tally) -> dict[str, str]:
    return {"sent": str(tally.sent), "received": str(len(tally.rtts)), "loss": format_ratio(tally.loss, brief=True)}


# ---------------------------------------------------------------- facts

_RESOLVE, _SETUP, _RTT = (fact_key("probe_icmp_duration_seconds", phase=phase) for phase in ("resolve", "setup", "rtt"))


def _write_facts(trace: Trace, tally: _Tally) -> None:
    facts, rtts = trace.facts, tuple(tally.rtts.values())
    facts[_RESOLVE] = trace.phases.get("resolve", 0.0)
    facts[_SETUP] = trace.phases.get("connect", 0.0)
    facts[_RTT] = statistics.fmean(rtts) if rtts else 0.0
    facts["probe_icmp_packets_sent"] = tally.sent
    facts["probe_icmp_packets_received"] = len(rtts)
    facts["probe_icmp_packets_late"] = len(tally.late)
    facts["probe_icmp_packets_duplicate"] = tally.duplicates
    facts["probe_icmp_packets_corrupt"] = tally.corrupt
    facts["probe_icmp_packet_loss_ratio"] = tally.loss
    if tally.hop_limit >= 0:
        facts["probe_icmp_reply_hop_limit"] = tally.hop_limit
    if rtts:
        facts["probe_icmp_duration_rtt_min_seconds"] = min(rtts)
        facts["probe_icmp_duration_rtt_max_seconds"] = max(rtts)
        facts["probe_icmp_duration_rtt_mean_seconds"] = facts[_RTT]
        facts["probe_icmp_duration_rtt_stddev_seconds"] = statistics.pstdev(rtts) if len(rtts) > 1 else 0.0
        facts["probe_icmp_jitter_seconds"] = tally.jitter()
