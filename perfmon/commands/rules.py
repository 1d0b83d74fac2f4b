"""Write the Prometheus rules, or tell whether those that are there are current."""

from pathlib import Path

import click

from perfmon.provision import drift
from perfmon.provision.rules import Links, document
from perfmon.units import parse_duration

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
@click.option("--config", "files", metavar="FILE", multiple=True, help="Write the rules of this configuration as well.")
@click.option("--job", default="perfmon", show_default=True, help="Prometheus' job that scrapes perfmon.")
@click.option("--scrape-interval", default="15s", show_default=True, help="How often it does.")
@click.option("--runbooks-url", default=Links().runbooks, show_default=True, help="Where docs/runbooks.md can be read.")
@click.option("--grafana-url", default=Links().grafana, show_default=True, help="Where the dashboards can be seen.")
def command(
    out: Path,
    check: bool,  # noqa: FBT001 - click passes by name
    files: tuple[str, ...],
    job: str,
    scrape_interval: str,
    runbooks_url: str,
    grafana_url: str,
) -> int:
    """Write perfmon.rules.yml: what Prometheus should record and alert on.

    With --config also perfmon.user.rules.yml: your own rules as Prometheus', for when it alone alerts. What PromQL
    cannot say is told as a warning.

    \b
    Examples:
      perfmon rules --out /etc/prometheus/rules
      perfmon rules --config perfmon.yml --scrape-interval 5s
      perfmon rules --grafana-url https://grafana.example
      perfmon rules --check
    """
    written = {out / "perfmon.rules.yml": document(Links(runbooks=runbooks_url, grafana=grafana_url.rstrip("/")))}
    if files:
        written[out / "perfmon.user.rules.yml"] = _of_user(files, job, scrape_interval)
    return drift.settle(written, check=check)


def _of_user(files: tuple[str, ...], job: str, scrape_interval: str) -> str:
    from perfmon import config  # noqa: PLC0415 - only where it is read
    from perfmon.provision.user_rules import Scraping, unheard  # noqa: PLC0415 - only where it is read
    from perfmon.provision.user_rules import document as of_user  # noqa: PLC0415 - only where it is read

    try:
        scraping = Scraping(job=job, interval_s=parse_duration(scrape_interval))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--scrape-interval") from None
    read = config.load(files)
    made = of_user(read, scraping)
    for name, why in made.missing:
        click.echo(f"warning: {name} is left out: {why}", err=True)
    for setting in unheard(read):
        click.echo(
            f"warning: {setting} holds none of these back: say it in Alertmanager (docs/prometheus.md)", err=True
        )
    return made.text
