"""Write the Prometheus rules, or tell whether those that are there are current."""

from pathlib import Path

import click

from perfmon.provision import drift
from perfmon.provision.rules import Links, document

__all__ = ["command"]


@click.command()
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("rules"),
    show_default=True,
    help="Folder of perfmon.rules.yml.",
)
@click.option("--check", is_flag=True, help="Write nothing; exit 1 with the difference when there is one.")
@click.option("--runbooks-url", default=Links().runbooks, show_default=True, help="Where docs/runbooks.md can be read.")
@click.option("--grafana-url", default=Links().grafana, show_default=True, help="Where the dashboards can be seen.")
def command(out: Path, check: bool, runbooks_url: str, grafana_url: str) -> int:  # noqa: FBT001 - click passes by name
    """Write perfmon.rules.yml: what Prometheus should record and alert on.

    \b
    Examples:
      perfmon rules --out /etc/prometheus/rules
      perfmon rules --grafana-url https://grafana.example
      perfmon rules --check
    """
    files = {out / "perfmon.rules.yml": document(Links(runbooks=runbooks_url, grafana=grafana_url.rstrip("/")))}
    return drift.settle(files, check=check)
