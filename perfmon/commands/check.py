"""Check configuration files, and say all that is wrong with them."""

import json

import click

from perfmon import config
from perfmon.config import Config
from perfmon.config.written import rules_as_written
from perfmon.errors import UsageError

__all__ = ["command"]


@click.command("check")
@click.argument("files", metavar="FILE...", nargs=-1)
@click.option("--blackbox", metavar="FILE", help="A blackbox.yml to check, alone or beside the files.")
@click.option("--web.config.file", "web_file", metavar="FILE", help="A web-config.yml to check, alone or beside them.")
@click.option("--show-rules", is_flag=True, help="Print all rules in full, `thresholds` of probes and samplers too.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of a file, for editors, and check nothing.")
def command(
    files: tuple[str, ...], blackbox: str | None, web_file: str | None, *, show_rules: bool, schema: bool
) -> None:
    """Check configuration files, and say all that is wrong with them.

    Several files make one configuration, as they do for `perfmon serve`. Every mistake is named with its file, line
    and path, and with what was expected; the exit code is 104 then. Secrets are looked up, and never shown.

    \b
    Examples:
      perfmon check perfmon.yml
      perfmon check perfmon.yml targets.yml
      perfmon check --blackbox blackbox.yml
      perfmon check --web.config.file web-config.yml
      perfmon check --show-rules perfmon.yml
      perfmon check --schema > perfmon.schema.json
    """
    if schema:
        click.echo(json.dumps(config.schema(), indent=2))
    elif files or blackbox:
        read = config.load(files, blackbox=blackbox)
        _check_web_file(web_file or read.web.config_file)
        for warning in read.blackbox.warnings if read.blackbox else ():
            click.echo(f"warning: {warning}", err=True)
        if show_rules:
            click.echo(rules_as_written(read.rules), nl=False)
        else:
            click.echo(f"{', '.join([*files, *filter(None, [blackbox])])}: fine: {_summary(read)}")
    elif web_file:
        _check_web_file(web_file)
        click.echo(f"{web_file}: fine")
    else:
        raise UsageError("expected a FILE to check, or --schema")


def _check_web_file(path: str) -> None:
    """Read a web-config.yml and the certificates that it names; none where `path` is ""."""
    if path:
        from perfmon.monitor.web_config import WebConfig  # noqa: PLC0415 - few have one

        WebConfig(path)


def _summary(read: Config) -> str:
    """`3 probes (12 targets, 1 source of more), 2 samplers, 5 rules, 1 receiver`; of a blackbox.yml, `12 modules`."""
    if read.blackbox is not None and not (read.checks or read.discoveries or read.samplers):
        return _count(len(read.modules), "module")
    probes = {check.target.probe for check in read.checks} | {one.blueprint.probe for one in read.discoveries}
    sources = f", {_count(len(read.discoveries), 'source')} of more" if read.discoveries else ""
    counts = [
        f"{_count(len(probes), 'probe')} ({_count(len(read.checks), 'target')}{sources})",
        _count(len(read.samplers), "sampler"),
        _count(len(read.rules), "rule"),
        _count(len(read.receivers), "receiver"),
    ]
    return ", ".join(counts)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
