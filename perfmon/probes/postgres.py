"""Log in to PostgreSQL, ask a question, and hold the answer against what was demanded.

Phases: `connect` is TCP, `tls` the request for TLS and its handshake, `request` the log-in (the server cannot begin
with a question before it knows who asks), `processing` from the question to the first byte of its answer, `transfer`
to its end. The protocol is spoken by perfmon itself: libpq tells neither the certificate nor what took how long, and
reads the machine's roots anew for each connection.
"""

from collections.abc import Iterable

from perfmon.metrics import Family
from perfmon.model import Failure, Target
from perfmon.network import database
from perfmon.network.database import Answer, DatabaseConfig, Demands, Plan, ask, way_to
from perfmon.network.pgwire import PostgresConversation
from perfmon.trace import Trace

__all__ = ["FAMILIES", "Config", "check", "check_target", "probe"]

FAMILIES: tuple[Family, ...] = ()  # rows and values are families of all probes of databases
_PORT = 5432


class Config(DatabaseConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom to log in as, what to ask, and what must come."""

    statement_timeout: bool = True  # Let the server end a query at the deadline. `false` for PgBouncer.


def check(config: Config) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express, as (path, message)."""
    yield from database.check(config)
    if not config.username:
        yield "username", "expected the name of a role"


def check_target(address: str, config: Config) -> str | None:
    """Why an address cannot be probed."""
    return database.check_target(address, config, _PORT)


async def probe(target: Target, config: Config, trace: Trace) -> Failure | None:
    """Fail unless the log-in succeeds and the answer to `query` is all that `config` demands."""
    plan = trace.network.prepared.get(target, config, _plan)
    return plan if isinstance(plan, Failure) else await ask(plan, trace)


def _plan(target: Target, config: Config) -> Plan:
    route, database_name = way_to(target, config, _PORT)
    parameters = {"user": config.username, "application_name": "perfmon", "client_encoding": "UTF8"}
    if database_name:
        parameters["database"] = database_name

    def begin(answer: Answer, seconds: float) -> PostgresConversation:
        timeout = {"statement_timeout": f"{max(1, round(1000 * seconds))}"} if config.statement_timeout else {}
        return PostgresConversation(answer, parameters | timeout, config.password, config.query, tls=config.tls)

    return Plan(route=route, demands=Demands.of(config), begin=begin)
