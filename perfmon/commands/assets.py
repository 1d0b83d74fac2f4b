"""Write what ships beside the program: rules, dashboards, the stack, units and manifests."""

from pathlib import Path

import click

from perfmon import kinds
from perfmon.errors import UsageError
from perfmon.provision import assets

__all__ = ["command"]

_NAMES = tuple(one.name for one in assets.SETS)


def _known(_context: click.Context, _option: click.Parameter, only: tuple[str, ...]) -> tuple[str, ...]:
    for name in only:
        if name not in _NAMES:
            raise UsageError(f"--only: {kinds.unknown(name, _NAMES)}")
    return only


_only = click.option("--only", multiple=True, metavar="SET", callback=_known, help="Of this set alone; repeatable.")


@click.group("assets")
def command() -> None:
    """Take along what ships beside the program, from a checkout or from an installed package.

    \b
    Examples:
      perfmon assets list
      perfmon assets export monitoring
      perfmon assets export monitoring --only rules --only dashboards
    """


@command.command("list")
@_only
def list_(only: tuple[str, ...]) -> None:
    """Print the sets and their files.

    \b
    Examples:
      perfmon assets list
      perfmon assets list --only compose
    """
    for one in assets.SETS:
        if not only or one.name in only:
            click.echo(f"{one.name}: {one.about}")
            for path in assets.files([one.name]):
                click.echo(f"  {path}")


@command.command("export")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@_only
@click.option("--force", is_flag=True, help="Overwrite files that are there and differ.")
def export(folder: Path, only: tuple[str, ...], *, force: bool) -> None:
    """Write the files below DIR; a file that was changed there is not overwritten.

    \b
    Examples:
      perfmon assets export monitoring && cd monitoring && docker compose up --build
      perfmon assets export /etc/prometheus --only rules
    """
    done = assets.export(assets.files(only), folder, force=force)
    for path in done.written:
        click.echo(f"{folder / path}")
    click.echo(f"{len(done.written)} written, {len(done.unchanged)} were there already", err=True)
