"""Log in to MySQL or MariaDB, ask a question, and hold the answer against what was demanded.

Phases: `connect` is TCP, `request` the server's greeting and the log-in (the server cannot begin with a question before
it knows who asks), `tls` the handshake between these two, `processing` from the question to the first packet of its
answer, `transfer` to its end. The protocol is spoken by perfmon itself: the drivers tell neither the certificate nor
what took how long, and some look names up in threads of their own.
"""

from collections.abc import Iterable

from perfmon.metrics import Family
from perfmon.model import Failure, Target
from perfmon.network import database
from perfmon.network.database import Answer, DatabaseConfig, Demands, Plan, ask, way_to
from perfmon.network.mysqlwire import Credentials, MysqlConversation
from perfmon.trace import Trace

__all__ = ["FAMILIES", "Config", "check", "check_target", "probe"]

FAMILIES: tuple[Family, ...] = ()  # rows and values are families of all probes of databases
_PORT = 3306


class Config(DatabaseConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom to log in as, what to ask, and what must come."""

    statement_timeout: bool = True  # Let the server end a query at the deadline, by a `SET` before it.


def check(config: Config) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express, as (path, message)."""
    yield from database.check(config)
    if not config.username:
        yield "username", "expected the name of an account"


def check_target(address: str, config: Config) -> str | None:
    """Why an address cannot be probed."""
    return database.check_target(address, config, _PORT)


async def probe(target: Target, config: Config, trace: Trace) -> Failure | None:
    """Fail unless the log-in succeeds and the answer to `query` is all that `config` demands."""
    plan = trace.network.prepared.get(target, config, _plan)
    return plan if isinstance(plan, Failure) else await ask(plan, trace)


def _plan(target: Target, config: Config) -> Plan:
    route, name = way_to(target, config, _PORT)
    credentials = Credentials(username=config.username, password=config.password, database=name)

    def begin(answer: Answer, seconds: float) -> MysqlConversation:
        limit_s = max(seconds, 0.001) if config.statement_timeout else 0.0
        return MysqlConversation(answer, credentials, config.query, tls=config.tls, statement_timeout_s=limit_s)

    return Plan(route=route, demands=Demands.of(config), begin=begin)
