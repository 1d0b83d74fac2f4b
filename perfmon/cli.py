"""The console script: finds the commands, and alone prints errors and picks the exit code."""

import ast
import errno
import io
import os
import sys
import traceback
from importlib.util import find_spec
from pathlib import Path

import click

from perfmon import __version__, kinds
from perfmon.errors import EXIT_CONFIG, EXIT_DEFECT, EXIT_FINE, EXIT_INTERRUPTED, PerfmonError

__all__ = ["main"]

_EPILOG = """\b
Exit codes:
    0  fine
    1  a defect of perfmon's own; also what --check or healthcheck found wrong,
       or a process that cannot be profiled
   97  too little was seen to say (watch), or the generator and not the target was
       the limit (load)
   99  a probe failed, a threshold is broken, or what is watched leaks
  104  bad configuration or usage
  105  interrupted
"""


def main() -> None:
    """Run the command line and exit with the code that the outcome deserves."""
    _settle_streams()
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code; prints errors to stderr."""
    try:
        outcome = cli.main(arguments, prog_name="perfmon", standalone_mode=False)
    except click.ClickException as error:
        error.show(sys.stderr)
        return EXIT_CONFIG
    except PerfmonError as error:
        _print_error(error)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except SystemExit:
        # What click and rich make of a broken pipe: the reader went away (`perfmon probe --count 9 ... | head -1`).
        return EXIT_FINE
    except Exception as error:  # noqa: BLE001 - the last line of defence
        _print_defect(error)
        return EXIT_DEFECT
    return outcome if isinstance(outcome, int) else EXIT_FINE


def _settle_streams() -> None:
    """Make stdin, stdout and stderr what the commands take them for."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # Closed (`perfmon probe ... >&-`): a socket would get the number, and libuv aborts when it closes it.
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - until the end
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # bars and foreign names, where the locale has no letters for them


class _Commands(click.Group):
    """Commands are files; one is imported when it is called, and only read for its summary in a listing."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return [name.replace("_", "-") for name in kinds.names("commands")]

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        module_name = name.replace("-", "_")
        if module_name not in kinds.names("commands"):
            return None
        command = kinds.load("commands", module_name).command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = arguments[0]
        known = tuple(self.list_commands(context))
        if name not in known and not name.startswith("-"):
            raise click.UsageError(f"no such command: {kinds.unknown(name, known)}", context)
        return super().resolve_command(context, arguments)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, _summary(name.replace("-", "_"))) for name in self.list_commands(context)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(cls=_Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="perfmon", message="%(prog)s %(version)s")
def cli() -> None:
    """Watch services for performance, and prove it under load.

    \b
    Examples:
      perfmon serve http://localhost:8080/     watch a service now, without a file
      perfmon serve --config.file perfmon.yml  watch what the file says
      perfmon probe https://example.org/       one probe, explained
    """


def _summary(module_name: str) -> str:
    """First line of a command's module docstring, read without importing it: `--help` stays fast."""
    spec = find_spec(f"perfmon.commands.{module_name}")
    if spec is None or spec.origin is None:
        return (kinds.load("commands", module_name).__doc__ or "").partition("\n")[0]
    docstring = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]


def _print_error(error: PerfmonError) -> None:
    lines = str(error).splitlines() or [type(error).__name__]
    for line in lines:
        click.echo(f"perfmon: {line}", err=True)


def _print_defect(error: Exception) -> None:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        click.echo("perfmon: no space left on device", err=True)  # nobody's defect, and what was written is not all
        return
    traceback.print_exc()
    click.echo("perfmon: this is a defect of perfmon's own; please report it with the lines above", err=True)
