"""Put a target under load, and prove what it can take."""

import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click
import msgspec

from perfmon import kinds, units
from perfmon.errors import EXIT_FINE, EXIT_INTERRUPTED, EXIT_INVALID_RUN, EXIT_THRESHOLD, UsageError
from perfmon.offer import Open
from perfmon.scenario import STANDARD, Scenario, named_demand
from perfmon.units import quoted

if TYPE_CHECKING:
    from perfmon.clock import Clock
    from perfmon.run import Report, Snapshot, Tally

__all__ = ["command"]


class _Written(click.ParamType[Any]):
    """A value as it stands in a configuration file, read by one of the functions of `units` or `scenario`."""

    def __init__(self, name: str, read: Any) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self._read(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _stages(text: str) -> list[dict[str, float]]:
    """`30s:200,1m:200,10s:0` as stages."""
    stages = []
    for part in text.split(","):
        duration, colon, target = part.partition(":")
        if not colon:
            raise ValueError(f"expected stages such as 30s:200,1m:200,10s:0, got {quoted(text)}")
        height = units.parse_rate(target.strip())
        whole = int(height) if height.is_integer() else height  # users are whole
        stages.append({"duration": units.parse_duration(duration.strip()), "target": whole})
    return stages


_DURATION, _RATE = _Written("duration", units.parse_duration), _Written("rate", units.parse_rate)


@click.command("load")
@click.argument("where", metavar="URL|HOST:PORT|FILE")
@click.option("--scenario", "name", metavar="NAME", help="Which of the file's scenarios. [the only one]")
@click.option("--rate", type=_RATE, help="Arrivals per second, however long each takes: 200, 200/s, 600/min.")
@click.option("--users", type=click.IntRange(1, 100_000), help="Users who come again when they are done.")
@click.option("--duration", type=_DURATION, help="How long. [30s]")
@click.option("--stages", type=_Written("stages", _stages), help="DURATION:TARGET,... from 0, of arrivals per second.")
@click.option("--preset", type=click.Choice(["load", "stress", "spike", "burst", "ramp", "soak"]), help="A shape.")
@click.option("--iterations", type=click.IntRange(min=1), help="Runs that --users share, in place of a duration.")
@click.option("--executor", metavar="NAME", help="How it is offered, where the other options leave a choice.")
@click.option("--arrivals", type=click.Choice(["uniform", "poisson"]), help="How arrivals are spaced. [uniform]")
@click.option("--seed", type=int, help="Of poisson. [1]")
@click.option(
    "--threshold",
    "demands",
    multiple=True,
    type=_Written("threshold", named_demand),
    help="What must hold: 'p(95) < 200ms', 'failed: rate < 1%', 'done: rate > 100/s'; repeatable.",
)
@click.option("--module", metavar="NAME", help="What one arrival does. [http_2xx, or tcp_connect for HOST:PORT]")
@click.option("--config", "--config.file", "files", multiple=True, type=click.Path(), help="Where modules stand.")
@click.option("--timeout", "timeout_s", type=_DURATION, help="Of one arrival, in place of the module's.")
@click.option("--think", "think_s", type=_DURATION, help="Pause of a user between two runs. [0s]")
@click.option("--max-in-flight", type=click.IntRange(1, 100_000), help="Arrivals at the same time. [1000]")
@click.option("--late", type=click.Choice(["queue", "drop"]), help="What becomes of those beyond it. [queue]")
@click.option("--keep-alive/--no-keep-alive", default=None, help="Whether connections are used again. [they are]")
@click.option("--abort", is_flag=True, help="End as soon as a threshold is broken for certain.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("reports/performance"), help="Where runs are kept."
)
@click.option("--rows/--no-rows", default=True, help="Write a row for each request. [written]")
@click.option("--json", "as_json", is_flag=True, help="metrics.json on stdout in place of words.")
@click.option("--preflight/--no-preflight", default=True, help="Ask the target once before any load. [asked]")
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    help="Serve /metrics on this port of 127.0.0.1; 0 takes a free one.",
)
@click.option("--metrics-listen", metavar="ADDRESS:PORT", help="The same on an address that others can reach.")
@click.option("--metrics-linger", type=_DURATION, help="How long after the end, so that the end is scraped. [0s]")
@click.option("--allow-public", is_flag=True, help="Let load go to addresses of the Internet.")
def command(where: str, name: str | None, **options: Any) -> int:
    """Put a target under load, and prove what it can take.

    Latency counts from the intended start, so a target that stalls cannot hide it; what is dropped or never answered is
    a miss. Exits with 0 when every threshold holds, 99 when one is broken, 97 when the generator and not the target was
    the limit, 105 when interrupted or when the target does not answer at all, 104 for bad usage.

    \b
    Examples:
      perfmon load http://127.0.0.1:8080/ --rate 200 --duration 30s --threshold 'p(95) < 200ms'
      perfmon load http://127.0.0.1:8080/ --users 10 --think 100ms --duration 1m
      perfmon load http://127.0.0.1:8080/ --preset spike --rate 500 --duration 2m --arrivals poisson
      perfmon load perfmon.yml --scenario checkout
      perfmon load http://127.0.0.1:8080/ --rate 200 --metrics-port 10738 --metrics-linger 30s
    """
    given = {key: value for key, value in options.items() if value is not None}
    listen = _listen(given)
    scenario = _of_file(where, name, given) if _is_file(where) else _of_flags(where, name, given)
    report = _run(scenario, given, listen)
    return _exit_code(report)


def _exit_code(report: "Report") -> int:
    run = report.run
    if run.ended == "interrupted":
        return EXIT_INTERRUPTED
    if run.generator.verdict == "INVALID":
        return EXIT_INVALID_RUN
    return EXIT_FINE if report.passed else EXIT_THRESHOLD


# ---------------------------------------------------------------- the scenario

_OF_OFFER = ("rate", "users", "duration", "stages", "preset", "iterations", "executor", "arrivals", "seed")


def _is_file(where: str) -> bool:
    return where.endswith((".yml", ".yaml")) and "://" not in where


def _of_file(where: str, name: str | None, given: Mapping[str, Any]) -> Scenario:
    """The scenario as it is written; what it offers can only be changed there."""
    from perfmon import config  # noqa: PLC0415 - reads YAML, which --help need not

    for flag in (*_OF_OFFER, "module"):
        if flag in given:
            raise UsageError(f"--{flag} has no effect on a scenario of a file, where it is written")
    scenarios = config.load([where, *given["files"]]).scenarios
    if not scenarios:
        raise UsageError(f'"{where}" has no scenarios')
    known = tuple(one.name for one in scenarios)
    if name is None and len(scenarios) > 1:
        raise UsageError(f'--scenario is missing: "{where}" has {len(scenarios)} of them, {kinds.choice(known)}')
    if name is not None and name not in known:
        raise UsageError(f"--scenario: {kinds.unknown(name, known)}")
    chosen = next(one for one in scenarios if name in (None, one.name))
    demands = (*chosen.demands, *given["demands"])
    return _adjusted(msgspec.structs.replace(chosen, demands=demands), given)


def _of_flags(where: str, name: str | None, given: Mapping[str, Any]) -> Scenario:
    """The flags as the scenario that a file would have, so that they are read as one."""
    from perfmon import config  # noqa: PLC0415 - reads YAML, which --help need not

    if "://" not in where and ":" not in where:
        raise UsageError(f"expected a URL, HOST:PORT, or a file of scenarios that ends in .yml, got {quoted(where)}")
    executor = given.get("executor") or _executor(given)
    if executor not in kinds.names("executors"):
        raise UsageError(f"--executor: {kinds.unknown(executor, kinds.names('executors'))}")
    document = {
        "name": name or _name_of(where),
        "target": where,
        executor: _settings(executor, given),
        **({"module": given["module"]} if "module" in given else {}),
    }
    scenario = config.for_scenario(document, given["files"])
    demands = given["demands"] or STANDARD
    return _adjusted(msgspec.structs.replace(scenario, demands=tuple(demands)), given)


def _name_of(where: str) -> str:
    """The host of a URL: what a run is called when nobody calls it anything."""
    rest = where.partition("://")[2] or where
    return re.split(r"[/?#]", rest.rpartition("@")[2], maxsplit=1)[0][:100] or "test"


def _executor(given: Mapping[str, Any]) -> str:
    """The executor that the flags mean."""
    if "rate" in given and "users" in given:
        raise UsageError(
            "--rate and --users stand side by side: arrivals wait for nobody, users do; expected one of them"
        )
    shaped = "stages" in given or "preset" in given
    if "users" in given:
        return "ramping_vus" if shaped else "shared_iterations" if "iterations" in given else "constant_vus"
    if "iterations" in given:
        raise UsageError("--iterations needs --users, who make them")
    if shaped:
        return "ramping_arrival_rate"
    if "rate" not in given:
        raise UsageError("expected --rate (arrivals per second) or --users, such as --rate 100 --duration 30s")
    return "constant_arrival_rate"


def _settings(executor: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that the executor has a setting for; one that it has none for is refused by its name."""
    known = {field.name for field in msgspec.structs.fields(kinds.load("executors", executor).Config)}
    named = {"duration": "max_duration"} if "max_duration" in known else {}
    settings = {named.get(flag, flag): given[flag] for flag in _OF_OFFER if flag in given and flag != "executor"}
    if "duration" in known and not {"duration", "stages"} & settings.keys():
        settings["duration"] = _DEFAULT_DURATION_S
    for flag in settings:
        if flag not in known:
            raise UsageError(f"--{flag} has no effect on {executor}, which has: {', '.join(sorted(known))}")
    return settings


_DEFAULT_DURATION_S = 30.0


def _adjusted(scenario: Scenario, given: Mapping[str, Any]) -> Scenario:
    """With what flags may set of any scenario."""
    flags = ("max_in_flight", "late", "think_s", "keep_alive")
    module = scenario.module
    without_effect = ("think_s",) if isinstance(scenario.offer, Open) else ("max_in_flight", "late")
    for flag in without_effect:
        if flag in given:
            name = flag.removesuffix("_s").replace("_", "-")
            raise UsageError(f"--{name} has no effect on {scenario.executor}")
    if "timeout_s" in given:
        module = msgspec.structs.replace(module, timeout_s=max(0.001, given["timeout_s"]))
    own = {flag: given[flag] for flag in flags if flag in given}
    return msgspec.structs.replace(scenario, module=module, **own)


# ---------------------------------------------------------------- the run


def _listen(given: Mapping[str, Any]) -> tuple[str, ...]:
    """Where metrics are served; nowhere when nobody asked."""
    if "metrics_port" in given and "metrics_listen" in given:
        raise UsageError("--metrics-port and --metrics-listen stand side by side, expected one of them")
    if "metrics_port" in given:
        return (f"127.0.0.1:{given['metrics_port']}",)
    if "metrics_listen" in given:
        return (given["metrics_listen"],)
    if "metrics_linger" in given:
        raise UsageError("--metrics-linger has no effect without --metrics-port or --metrics-listen")
    return ()


def _run(scenario: Scenario, given: Mapping[str, Any], listen: tuple[str, ...]) -> "Report":
    import uvloop  # noqa: PLC0415 - --help need not load it

    return uvloop.run(_watched(scenario, given, listen))


async def _watched(scenario: Scenario, given: Mapping[str, Any], listen: tuple[str, ...]) -> "Report":
    """The run, with what it leaves; its metrics are served from before the first arrival, and on request longer."""
    from perfmon.perftest.load import linger  # noqa: PLC0415 - loads libcurl

    watched: list[_Watch] = []
    async with _serving(watched, listen):
        report = await _load(scenario, given, watched)
        render = kinds.load("reports", "json" if given["as_json"] else "text").render
        click.echo(render(report), nl=False)
        click.echo(f"{watched[0].path}/", err=True)
        if given.get("metrics_linger") and report.run.ended != "interrupted":
            await linger(given["metrics_linger"])
    return report


@contextlib.asynccontextmanager
async def _serving(watched: "list[_Watch]", listen: tuple[str, ...]) -> AsyncIterator[None]:
    if not listen:
        yield
        return
    from perfmon.monitor import one_page  # noqa: PLC0415 - loads the web server

    async with one_page.serve(lambda: watched[0].exported() if watched else (), listen) as addresses:
        for address in addresses:
            click.echo(f"metrics at http://{address}{one_page.PATH}", err=True)
        yield


async def _load(scenario: Scenario, given: Mapping[str, Any], watched: "list[_Watch]") -> "Report":
    from perfmon.clock import SystemClock  # noqa: PLC0415 - --help need not load it
    from perfmon.perftest import load  # noqa: PLC0415 - loads libcurl

    clock = SystemClock()

    def begin() -> _Watch:
        watched.append(_Watch(scenario, given, clock))
        return watched[0]

    report = await load.run(
        scenario,
        begin,
        clock=clock,
        rows=given["rows"],
        abort=given["abort"],
        public=given["allow_public"],
        look_first=given["preflight"],
    )
    return watched[0].finish(report)


class _Watch:
    """Looks on: shows what happens on stderr, and keeps it in the run's folder."""

    def __init__(self, scenario: Scenario, given: Mapping[str, Any], clock: "Clock") -> None:
        from rich.console import Console  # noqa: PLC0415 - --help need not load it

        from perfmon.perftest.exported import Exported  # noqa: PLC0415 - as above
        from perfmon.perftest.folder import Folder, folder_name  # noqa: PLC0415 - as above
        from perfmon.perftest.live import open_view  # noqa: PLC0415 - as above

        now = clock.wall()
        self.path = given["out"] / folder_name(scenario, now)
        self._folder = Folder(self.path, scenario, clock=clock, rows=given["rows"])
        self._exported = Exported(scenario, test=self.path.name, began=now)
        self.exported = self._exported.families
        self._view = open_view(scenario, Console(stderr=True, highlight=False, soft_wrap=True))
        self._defects: dict[str, int] = {}
        self.row = self._folder.row

    def __enter__(self) -> Self:
        self._view.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._view.__exit__(kind, error, traceback)

    def second(self, second: "Snapshot", tally: "Tally") -> None:
        """Keep it and show it."""
        self._folder.second(second)
        self._exported.second(tally)
        self._view.second(second, tally)

    def defect(self, where: str, error: Exception) -> None:
        """Count it; the report names it."""
        what = f"defect of perfmon's own in {where}: {type(error).__name__}: {error}"
        if what in self._defects or len(self._defects) < _MOST_DEFECTS:
            self._defects[what] = self._defects.get(what, 0) + 1

    def finish(self, report: "Report") -> "Report":
        """Write the reports."""
        self._exported.finish(report)
        notes = tuple(f"{what} ({count} times)" for what, count in self._defects.items())
        report = msgspec.structs.replace(report, run=msgspec.structs.replace(report.run, notes=notes))
        return self._folder.finish(report)


_MOST_DEFECTS = 20
