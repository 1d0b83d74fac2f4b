"""Probe a target now, once or some times, and explain what happened."""

import asyncio
import re
from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING

import click
import msgspec
from msgspec import structs

from perfmon import kinds
from perfmon.clock import Clock, SystemClock, to_wall
from perfmon.errors import EXIT_FINE, EXIT_INTERRUPTED, EXIT_THRESHOLD, UsageError
from perfmon.model import Measurement, Module, Target
from perfmon.units import format_duration, parse_duration, printable, quoted

if TYPE_CHECKING:
    from perfmon.explanation import Explanation

__all__ = ["command"]


class _Duration(click.ParamType[float]):
    """`250ms`, `5s`, or seconds as a bare number."""

    name = "duration"

    def __init__(self, *, least_s: float = 0.0) -> None:
        self.least_s = least_s

    def convert(self, value: object, _param: click.Parameter | None, _context: click.Context | None) -> float:
        try:
            duration_s = parse_duration(value)
        except ValueError as error:
            self.fail(str(error))
        if duration_s < self.least_s:
            self.fail(f"expected at least {format_duration(self.least_s)}, got {quoted(str(value))}")
        return duration_s


@click.command("probe")
@click.argument("address", metavar="URL|HOST:PORT")
@click.option(
    "--module",
    "module_name",
    metavar="NAME",
    help="A module, or a prober that needs no settings: tls, icmp, redis ... [http_2xx, or tcp_connect for HOST:PORT]",
)
@click.option(
    "--config", "--config.file", "files", multiple=True, type=click.Path(), help="Where modules stand; repeatable."
)
@click.option("--timeout", "timeout_s", type=_Duration(least_s=0.001), help="Instead of the module's.")
@click.option("--count", type=click.IntRange(min=1), default=1, help="How often to probe; more than once, sum it up.")
@click.option("--interval", "interval_s", type=_Duration(), default=1.0, help="From start to start. [1s]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a run on stdout, and nothing else.")
@click.option(
    "--explain", is_flag=True, help="Show all of it: every header, demand and certificate, the metrics, the module."
)
@click.option("--debug", is_flag=True, help="Tell each step on stderr: addresses, handshakes, headers without secrets.")
def command(
    address: str,
    module_name: str | None,
    files: tuple[str, ...],
    timeout_s: float | None,
    count: int,
    interval_s: float,
    *,
    as_json: bool,
    explain: bool,
    debug: bool,
) -> int:
    """Probe a target now, once or some times, and explain what happened.

    Exits with 0 when every run succeeded, 99 when one failed, 104 for bad usage, 105 when interrupted.

    \b
    Examples:
      perfmon probe https://example.org/
      perfmon probe localhost:5432 --count 20 --interval 100ms
      perfmon probe example.org:443 --module tls
      perfmon probe http://localhost:8080/ --module shop --config perfmon.yml --explain
    """
    module = _module(address, module_name, files)
    plan = Plan(
        target=Target(probe="probe", address=address),
        module=module,
        timeout_s=module.timeout_s if timeout_s is None else timeout_s,
        count=count,
        interval_s=interval_s,
        explain=explain,
        debug=debug,
    )
    report = _report(plan, as_json=as_json)
    seen: list[Measurement] = []
    interrupted = _run(plan, seen, report.run)
    report.end(seen)
    if interrupted:
        return EXIT_INTERRUPTED
    return EXIT_FINE if all(measurement.success for measurement in seen) else EXIT_THRESHOLD


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to probe, how, and how often."""

    target: Target
    module: Module
    timeout_s: float
    count: int
    interval_s: float
    explain: bool
    debug: bool


def _module(address: str, name: str | None, files: Sequence[str]) -> Module:
    from perfmon import config  # noqa: PLC0415 - reads YAML, which --help need not

    modules = (config.load(files) if files else config.from_urls([])).modules
    bare_port = re.fullmatch(r"[^/]+:[0-9]+", address) is not None
    name = name or ("tcp_connect" if bare_port else "http_2xx")
    module = modules.get(name) or _bare(name, tuple(modules))
    check_target = getattr(kinds.load("probes", module.kind), "check_target", None)
    problem = check_target(address, module.config) if check_target else None
    if problem:
        raise UsageError(problem)
    return module


def _bare(kind: str, modules: Sequence[str]) -> Module:
    """A prober with nothing set, for who wants to look at a port by TLS, or to ping a host, without a file."""
    from perfmon.config.file import DEFAULT_TIMEOUT_S  # noqa: PLC0415 - as above

    probers = kinds.names("probes")
    if kind not in probers:
        raise UsageError(f"--module: {kinds.unknown(kind, (*modules, *probers))}")
    why = _lacks(kinds.load("probes", kind))
    if why:
        raise UsageError(f"--module: {kind} needs settings ({why}): write a module, and name its file by --config")
    return Module(name=kind, kind=kind, timeout_s=DEFAULT_TIMEOUT_S, config=kinds.load("probes", kind).Config())


def _lacks(prober: ModuleType) -> str:
    """What a prober cannot do without, "" when it can do without any setting."""
    for field in structs.fields(prober.Config):
        if field.required:
            return f"{quoted(field.encode_name)} is missing"
    check = getattr(prober, "check", None)
    return next((f"{below}: {message}" for below, message in check(prober.Config())), "") if check else ""


# ---------------------------------------------------------------- running


def _run(plan: Plan, seen: list[Measurement], tell: Callable[[int, Measurement], None]) -> bool:
    """Fill `seen` and tell of each run; True when Ctrl-C ended it early."""
    import uvloop  # noqa: PLC0415 - --help need not load it

    try:
        uvloop.run(_probe(plan, seen, tell))
    except KeyboardInterrupt:
        return True
    return False


async def _probe(plan: Plan, seen: list[Measurement], tell: Callable[[int, Measurement], None]) -> None:
    from perfmon import measure  # noqa: PLC0415 - loads libcurl
    from perfmon.network import Network  # noqa: PLC0415 - as above

    clock = SystemClock()
    began = clock.monotonic()
    async with Network(clock=clock) as network:
        for number in range(plan.count):
            await asyncio.sleep(max(0.0, began + number * plan.interval_s - clock.monotonic()))
            measurement = await measure.probe(
                plan.target,
                plan.module,
                clock=clock,
                network=network,
                timeout_s=plan.timeout_s,
                debug=plan.debug or plan.explain,
            )
            seen.append(measurement)
            for line in measurement.lines if plan.debug else ():
                click.echo(printable(line), err=True)
            tell(number + 1, measurement)


# ---------------------------------------------------------------- telling


class Report(msgspec.Struct, frozen=True):
    """What is printed: after each run, and at the end."""

    run: Callable[[int, Measurement], None]
    end: Callable[[Sequence[Measurement]], None]


def _report(plan: Plan, *, as_json: bool) -> Report:
    clock = SystemClock()
    if as_json:
        shape = partial(_explained, plan=plan) if plan.explain else _plain
        return Report(run=lambda _number, seen: click.echo(_json(shape(seen, clock=clock))), end=_nothing)
    from rich.console import Console  # noqa: PLC0415 - --help need not load it

    from perfmon import waterfall  # noqa: PLC0415 - as above

    console = Console(highlight=False)
    if plan.explain:
        return Report(
            run=lambda _number, seen: waterfall.tell_all(console, seen, _explained(seen, plan=plan, clock=clock)),
            end=partial(waterfall.sum_up, console) if plan.count > 1 else _nothing,
        )
    if plan.count == 1:
        return Report(run=lambda _number, seen: waterfall.explain(console, seen, clock.wall()), end=_nothing)
    return Report(
        run=lambda number, seen: console.print(waterfall.line(number, plan.count, seen)),
        end=lambda seen: waterfall.sum_up(console, seen),
    )


def _nothing(_seen: Sequence[Measurement]) -> None:
    """One run speaks for itself, and so does JSON."""


def _json(told: object) -> str:
    return msgspec.json.encode(told).decode()


def _plain(measurement: Measurement, *, clock: Clock) -> dict[str, object]:
    from perfmon.network.address import masked  # noqa: PLC0415 - its package loads libcurl, which --help need not

    failure = measurement.failure
    return {
        "target": masked(measurement.target.address),
        "module": measurement.module,
        "at": to_wall(clock, measurement.at),
        "success": measurement.success,
        "duration_s": measurement.duration_s,
        "phases": measurement.phases,
        "failure": None if failure is None else structs.asdict(failure),
        "address": measurement.address,
        "facts": measurement.facts,
    }


def _explained(measurement: Measurement, *, plan: Plan, clock: Clock) -> "Explanation":
    from perfmon.explanation import explain  # noqa: PLC0415 - reads YAML, which --help need not
    from perfmon.monitor.exposition import render_probe  # noqa: PLC0415 - as above

    page = render_probe(measurement, plan.timeout_s).decode()
    at = to_wall(clock, measurement.at)
    return explain(measurement, plan.module, at=at, timeout_s=plan.timeout_s, metrics=page.split("\n"))
