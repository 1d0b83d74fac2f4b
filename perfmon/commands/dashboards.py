"""Write the Grafana dashboards, or tell whether those that are there are current."""

from collections.abc import Mapping
from pathlib import Path

import click

from perfmon.errors import UsageError
from perfmon.provision import drift

__all__ = ["command"]


@click.command()
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("dashboards"),
    show_default=True,
    help="Folder of the JSON files.",
)
@click.option("--check", is_flag=True, help="Write nothing; exit 1 with the difference when there is one.")
def command(out: Path, check: bool) -> int:  # noqa: FBT001 - click passes by name
    """Write the Grafana dashboards as JSON files, for Grafana's file provisioning.

    \b
    Examples:
      perfmon dashboards --out /var/lib/grafana/dashboards
      perfmon dashboards --check
    """
    files = {out / name: text for name, text in _documents().items()}
    return drift.settle(files, check=check)


def _documents() -> Mapping[str, str]:
    try:
        from perfmon.provision.dashboards import documents  # noqa: PLC0415 - needs an extra
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("grafana_foundation_sdk"):
            raise
        raise UsageError(
            "generating dashboards needs grafana-foundation-sdk: pip install 'perfmon[dashboards]' "
            "(perfmon's source has them ready made in dashboards/)"
        ) from error
    return documents()
