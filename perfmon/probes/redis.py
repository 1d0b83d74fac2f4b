"""Log in to Redis, send a command, and hold its reply against what was demanded; or just PING.

Phases: `connect` is TCP, `tls` the handshake, `request` the log-in (AUTH and SELECT; without these nothing but sending
the command), `processing` from the command to the first byte of its reply, `transfer` to the end of the reply and, if
it is asked for, of INFO's, which goes out together with the command.
"""

import shlex
from collections.abc import Iterable, Mapping

from perfmon.metrics import Family, family_named
from perfmon.model import Failure, Target
from perfmon.network import database
from perfmon.network.database import Answer, DatabaseConfig, Demands, Plan, ask, number_of, way_to
from perfmon.network.resp import PING, RespConversation, command
from perfmon.trace import Trace
from perfmon.units import quoted

__all__ = ["FAMILIES", "Config", "check", "check_target", "probe"]

_PORT = 6379


class Config(DatabaseConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom to log in as, which command to send, and what must come."""

    info: bool = False  # Whether to ask for INFO too, and export [its figures](metrics.md).


# INFO's field, the family, and what it says.
_INFO = (
    ("uptime_in_seconds", "probe_redis_uptime_seconds", "How long the server has been running."),
    ("connected_clients", "probe_redis_connected_clients", "Clients that are connected."),
    ("blocked_clients", "probe_redis_blocked_clients", "Clients that wait in a blocking command."),
    ("used_memory", "probe_redis_used_memory_bytes", "Memory that the server has taken for its data."),
    ("maxmemory", "probe_redis_max_memory_bytes", "Memory that it may take at most, 0 for no limit."),
    ("keyspace_hits", "probe_redis_keyspace_hits_total", "Look-ups of keys that were there."),
    ("keyspace_misses", "probe_redis_keyspace_misses_total", "Look-ups of keys that were not there."),
    ("evicted_keys", "probe_redis_evicted_keys_total", "Keys dropped because memory was short."),
    ("expired_keys", "probe_redis_expired_keys_total", "Keys dropped because their time was over."),
    ("rejected_connections", "probe_redis_rejected_connections_total", "Connections refused: too many clients."),
    ("total_commands_processed", "probe_redis_commands_total", "Commands processed."),
    ("connected_slaves", "probe_redis_connected_replicas", "Replicas that are connected."),
    ("loading", "probe_redis_loading", "Whether the server is reading its data from disk."),
)
_HITS, _MISSES = "probe_redis_keyspace_hits_total", "probe_redis_keyspace_misses_total"
_HIT_RATIO, _IS_MASTER, _LINK = "probe_redis_hit_ratio", "probe_redis_master", "probe_redis_master_link_up"

FAMILIES = (
    *(family_named(name, text) for _, name, text in _INFO),
    Family(_HIT_RATIO, "gauge", "Share of look-ups that found their key, since the server began.", (), "ratio"),
    Family(_IS_MASTER, "gauge", "Whether the server is a master."),
    Family(_LINK, "gauge", "Whether a replica's link to its master is up; absent on a master."),
)


def check(config: Config) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express, as (path, message)."""
    yield from database.check(config)
    if config.username and not config.password:
        yield "username", 'has no effect without a "password"'
    try:
        empty = bool(config.query) and not shlex.split(config.query)
    except ValueError as error:
        yield "query", f"cannot be split into words: {error}".lower()
    else:
        if empty:
            yield "query", "expected a command"


def check_target(address: str, config: Config) -> str | None:
    """Why an address cannot be probed."""
    return database.check_target(address, config, _PORT) or _number_problem(address, config)


async def probe(target: Target, config: Config, trace: Trace) -> Failure | None:
    """Fail unless the log-in succeeds and the reply to the command is all that `config` demands."""
    plan = trace.network.prepared.get(target, config, _plan)
    return plan if isinstance(plan, Failure) else await ask(plan, trace)


def _number_problem(address: str, config: Config) -> str | None:
    _, name = way_to(Target(probe="", address=address), config, _PORT)
    return None if not name or (name.isascii() and name.isdigit()) else f"expected a number, got {quoted(name)}"


def _plan(target: Target, config: Config) -> Plan:
    route, number = way_to(target, config, _PORT)
    log_in = []
    if config.password:
        log_in.append(command("AUTH", *filter(None, (config.username, config.password))))
    if number:
        log_in.append(command("SELECT", number))
    query = command(*shlex.split(config.query)) if config.query else PING

    def begin(answer: Answer, _seconds: float) -> RespConversation:
        return RespConversation(answer, log_in, query, read_info=facts_of if config.info else None)

    return Plan(route=route, demands=Demands.of(config), begin=begin)


# ---------------------------------------------------------------- INFO


def facts_of(info: Mapping[str, str]) -> dict[str, float]:
    """The figures of INFO that are exported; one that is missing or no number is left out."""
    facts = {name: number for field, name, _ in _INFO if (number := number_of(info.get(field, ""))) is not None}
    hits, misses = facts.get(_HITS), facts.get(_MISSES)
    if hits is not None and misses is not None and hits + misses > 0:
        facts[_HIT_RATIO] = hits / (hits + misses)
    if "role" in info:
        facts[_IS_MASTER] = float(info["role"] == "master")
    if "master_link_status" in info:
        facts[_LINK] = float(info["master_link_status"] == "up")
    return facts
