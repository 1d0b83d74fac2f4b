"""Run a small real server to watch or to test against."""

import math
import socket
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import click
import msgspec

from perfmon import kinds, units
from perfmon.errors import UsageError

__all__ = ["command"]


class _Simulators(click.Group):
    """A simulator is a file in `perfmon/simulators`; its flags are the fields of its `Config`."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return list(kinds.names("simulators"))

    def get_command(self, context: click.Context, name: str) -> click.Command:
        if name not in kinds.names("simulators"):
            raise click.UsageError(f"no such simulator: {kinds.unknown(name, kinds.names('simulators'))}", context)
        return _command(name)


@click.group(cls=_Simulators)
def command() -> None:
    """Run a small real server to watch or to test against; Ctrl-C or SIGTERM ends it.

    \b
    Example:
      perfmon simulate shop --port 8080 --flaky-rate 5% --slow-ms 300
    """


def _command(name: str) -> click.Command:
    simulator = kinds.load("simulators", name)
    summary, _, _rest = (simulator.__doc__ or "").partition("\n")

    def run(host: str, port: int, **settings: Any) -> None:
        _serve(name, simulator, simulator.Config(**settings), host, port)

    return click.Command(name, callback=run, help=summary, short_help=summary, params=_options(simulator))


def _serve(name: str, simulator: ModuleType, config: object, host: str, port: int) -> None:
    # Imported here: the server and its loop cost start-up time that `perfmon simulate --help` need not pay.
    import uvloop  # noqa: PLC0415 - see above

    from perfmon.simulators import serve  # noqa: PLC0415 - see above

    with _listener(host, port) as listener:
        address, bound = listener.getsockname()[:2]
        shown = f"[{address}]" if ":" in address else address
        click.echo(f"{name}: http://{shown}:{bound}/ (Ctrl-C ends it)")
        uvloop.run(serve(simulator.app(config), listener))


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        why = (error.strerror or str(error)).partition(" (while")[0].lower()  # the rest is the address once more
        raise UsageError(f'cannot listen on "{host}", port {port}: {why}; see --port') from error


# ---------------------------------------------------------------- flags from fields


def _options(simulator: ModuleType) -> list[click.Parameter]:
    own = [_option(field) for field in _fields(simulator)]
    return [
        click.Option(["--host"], default="127.0.0.1", show_default=True, help="Address to listen on."),
        click.Option(["--port"], type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 picks one."),
        *own,
    ]


def _fields(simulator: ModuleType) -> tuple[msgspec.inspect.Field, ...]:
    described = msgspec.inspect.type_info(simulator.Config)
    assert isinstance(described, msgspec.inspect.StructType)
    return described.fields


def _option(field: msgspec.inspect.Field) -> click.Option:
    annotated = field.type
    notes = annotated.extra_json_schema or {} if isinstance(annotated, msgspec.inspect.Metadata) else {}
    bare = annotated.type if isinstance(annotated, msgspec.inspect.Metadata) else annotated
    assert isinstance(bare, msgspec.inspect.IntType | msgspec.inspect.FloatType), "a flag is a number"
    number = _Number(notes.get("x-unit", type(field.default).__name__), bare.ge, bare.le)
    return click.Option(
        [f"--{field.name.replace('_', '-')}"],
        type=number,
        default=number.write(field.default),
        show_default=True,
        help=notes.get("description"),
    )


class _Number(click.ParamType[float]):
    """A number within bounds, with its unit where it has one, as in a configuration file: "200MiB", "5%", "30s"."""

    def __init__(self, unit: str, low: float | None, high: float | None) -> None:
        self.name = unit
        self._low = -math.inf if low is None else low
        self._high = math.inf if high is None else high
        self._parse, self.write = _NUMBERS[unit]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if not self._low <= number <= self._high:  # nor is a NaN
            self.fail(f"expected {self.write(self._low)} to {self.write(self._high)}, got {value}", param, ctx)
        return number


def _integer(raw: Any) -> int:
    try:
        return int(raw)
    except ValueError:
        raise ValueError(f"expected a whole number, got {units.quoted(raw)}") from None


def _float(raw: Any) -> float:
    try:
        return float(raw)
    except ValueError:
        raise ValueError(f"expected a number, got {units.quoted(raw)}") from None


_NUMBERS: Mapping[str, tuple[Callable[[Any], float], Callable[[float], str]]] = {
    "duration": (units.parse_duration, units.format_duration),
    "bytes": (units.parse_bytes, units.format_bytes),
    "ratio": (units.parse_ratio, units.format_ratio),
    "int": (_integer, str),
    "float": (_float, lambda number: f"{number:g}"),
}
