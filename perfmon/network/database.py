"""What the probes of databases share: where to connect and as whom, and what to demand of an answer."""

from collections.abc import Callable, Iterable
from functools import lru_cache
from math import isfinite
from typing import Literal

import msgspec

from perfmon.model import Failure, Target, fact_key
from perfmon.network import tls
from perfmon.network.address import objection, parse_name, parse_service
from perfmon.network.stream import Route
from perfmon.network.tls import TlsConfig
from perfmon.network.wire import Conversation, converse
from perfmon.patterns import compile_pattern, problem
from perfmon.secret import cut_out
from perfmon.threshold import Threshold, comparison
from perfmon.trace import Trace
from perfmon.units import quoted

__all__ = [
    "Answer",
    "DatabaseConfig",
    "Demands",
    "Plan",
    "ask",
    "check",
    "check_target",
    "judge",
    "number_of",
    "shown",
    "way_to",
]

MAX_MESSAGE_BYTES = 1 << 20
"""The longest piece of an answer that is read as a whole; more of it only where nobody looks into it."""
_SHOWN = 200  # characters of a value or an error in a message
_GAUGES, _NAME_CHARACTERS = 16, 64  # columns of the first row that become gauges, and how much of their names


class DatabaseConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of every kind of database."""

    username: str = ""  # Who logs in.
    password: str = ""  # The password, by reference.
    preferred_ip_protocol: Literal["ip4", "ip6"] = "ip6"  # Which addresses of a name to prefer.
    ip_protocol_fallback: bool = True  # Whether to use the other kind when there is none of the preferred.
    tls: bool = False  # Whether to demand TLS. A server that offers none fails.
    tls_config: TlsConfig = TlsConfig()  # See [tls_config](#tls_config).

    query: str = ""  # What to ask. Without it, only whether the server answers.
    expect: str = ""  # The value that must come: the first of the first row.
    expect_regexp: str = ""  # What must be found in that value (RE2).
    expect_value: str = ""  # What that value must be as a number, such as `< 30`.
    expect_rows: str = ""  # How many rows must come, such as `>= 1`.


class Answer(msgspec.Struct, kw_only=True):
    """What came back to a query: the first row, and how many there were."""

    columns: tuple[str, ...] = ()
    first: tuple[str | None, ...] = ()  # None is NULL
    rows: int = 0

    @property
    def value(self) -> str | None:
        """The one that is judged; None where there is none."""
        return self.first[0] if self.first else None


class Demands(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What is expected of an answer, parsed."""

    config: DatabaseConfig
    value: Threshold | None
    rows: Threshold | None

    @classmethod
    def of(cls, config: DatabaseConfig) -> "Demands":
        """The demands of a config that `check` has let pass."""
        return cls(config=config, value=comparison(config.expect_value), rows=comparison(config.expect_rows))


# ---------------------------------------------------------------- what config.py asks


def check(config: DatabaseConfig) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express, as (path, message)."""
    for path, message in tls.check(config.tls_config):
        yield f"tls_config.{path}", message
    for field in ("username", "password", "query"):
        if "\0" in getattr(config, field):
            yield field, "a text without the character NUL is expected"
    if config.expect_regexp and (message := problem(config.expect_regexp) or ""):
        yield "expect_regexp", message
    for field in ("expect_value", "expect_rows"):
        try:
            comparison(getattr(config, field))
        except ValueError as error:
            yield field, str(error)
    for field in ("expect", "expect_regexp", "expect_value", "expect_rows"):
        if getattr(config, field) and not config.query:
            yield field, 'has no effect without a "query"'


def check_target(address: str, config: DatabaseConfig, default_port: int) -> str | None:
    """Why an address cannot be probed."""
    return objection(lambda text: way_to(Target(probe="", address=text), config, default_port), address)


# ---------------------------------------------------------------- a run


class Plan(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """All that can be known before the run."""

    route: Route
    demands: Demands
    begin: Callable[[Answer, float], Conversation]  # for one connection: where the answer goes, and the seconds left


async def ask(plan: Plan, trace: Trace) -> Failure | None:
    """One conversation and the verdict on its answer; no word of it holds the password."""
    answer, config = Answer(), plan.demands.config
    failure = await converse(plan.route, lambda: plan.begin(answer, trace.remaining()), trace, tls=config.tls)
    if failure is None and config.query:
        write_facts(answer, trace)
        if trace.steps is not None:
            _tell_demands(answer, plan.demands, trace)
        failure = judge(answer, plan.demands)
    return None if failure is None else masked(failure, config.password)


def way_to(target: Target, config: DatabaseConfig, default_port: int) -> tuple[Route, str]:
    """The way to the server, and what stands behind the slash; BadAddress with a sentence."""
    host, port, name = parse_service(target.address, default_port)
    route = Route(
        host=host,
        port=port,
        name=parse_name(config.tls_config.server_name or target.hostname or host),
        prefer=config.preferred_ip_protocol,
        fallback=config.ip_protocol_fallback,
        tls=config.tls_config,
    )
    return route, name


# ---------------------------------------------------------------- the verdict


def judge(answer: Answer, demands: Demands) -> Failure | None:
    """The first demand that the answer does not meet; a value that is missing meets none."""
    config, value = demands.config, answer.value
    if demands.rows is not None and demands.rows.evaluate(answer.rows)[0] != "ok":
        message = f"{answer.rows} rows came, expected {config.expect_rows}"
    elif not (config.expect or config.expect_regexp or demands.value):
        return None
    elif value is None:
        message = "the value is NULL" if answer.first else "no row came, expected a value"
    else:
        message = _wrong_value(value, demands)
    if not message:
        return None
    evidence = {} if value is None else {"value": shown(value)}
    return Failure(reason="body", phase="transfer", message=message, evidence=evidence)


def _wrong_value(value: str, demands: Demands) -> str:
    config = demands.config
    if config.expect and value != config.expect:
        return f"the value is {quoted(value)}, expected {quoted(config.expect)}"
    if config.expect_regexp and compile_pattern(config.expect_regexp).search(value) is None:
        return f"the value {quoted(value)} does not match {quoted(config.expect_regexp)}"
    if demands.value is not None and demands.value.evaluate(number_of(value))[0] != "ok":
        return f"the value is {quoted(value)}, expected {config.expect_value}"
    return ""


def _tell_demands(answer: Answer, demands: Demands, trace: Trace) -> None:
    """The question, the answer, and all that is expected of it, met or not."""
    config, value = demands.config, answer.value
    got = "no row" if not answer.first else "NULL" if value is None else quoted(shown(value))
    trace.said("perfmon", config.query)
    trace.said("target", f"rows: {answer.rows}; first value: {got}")
    for field, name in (
        ("expect_rows", "rows"),
        ("expect", "value"),
        ("expect_regexp", "value"),
        ("expect_value", "value"),
    ):
        wanted = getattr(config, field)
        if wanted:
            expected = f"matches {quoted(wanted)}" if field == "expect_regexp" else wanted
            met = judge(answer, Demands.of(_only(config, field))) is None
            trace.demand(name, expected=expected, got=answer.rows if field == "expect_rows" else got, met=met)


def _only(config: DatabaseConfig, field: str) -> DatabaseConfig:
    """The config with this expectation alone."""
    others = {"expect", "expect_regexp", "expect_value", "expect_rows"} - {field}
    return msgspec.structs.replace(config, **dict.fromkeys(others, ""))


def write_facts(answer: Answer, trace: Trace) -> None:
    """The rows, and the numbers of the first one under their columns' names."""
    trace.facts["probe_query_rows"] = float(answer.rows)
    for column, text in list(zip(answer.columns, answer.first, strict=False))[:_GAUGES]:
        number = None if text is None else number_of(text)
        if number is not None:
            trace.heard(_gauge(column[:_NAME_CHARACTERS]), number)


def masked(failure: Failure, password: str) -> Failure:
    """The failure without the password, whatever the server put into its words."""
    if not password:
        return failure
    evidence = {name: cut_out(password, text) for name, text in failure.evidence.items()}
    return msgspec.structs.replace(failure, message=cut_out(password, failure.message), evidence=evidence)


def shown(raw: bytes | str) -> str:
    """What a server sent, for a message: text, cut, without control characters."""
    text = raw if isinstance(raw, str) else raw[: 4 * _SHOWN].decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else " " for letter in text[:_SHOWN]).strip()


def number_of(text: str) -> float | None:
    """A finite number, as databases write it; None for every other text."""
    try:
        number = float(text if "_" not in text else "")  # Python alone takes 1_000
    except ValueError:
        return None
    return number if isfinite(number) else None


@lru_cache(maxsize=4096)
def _gauge(column: str) -> str:
    return fact_key("probe_query_value", column=column)
