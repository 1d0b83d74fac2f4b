"""Ask a running perfmon whether it is healthy; for containers, which have no curl."""

import sys
import urllib.error
import urllib.request
from typing import Any

import click

from perfmon.units import parse_duration

__all__ = ["command"]


def _seconds(_context: click.Context, _option: click.Parameter, text: Any) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@click.option("--url", default="http://127.0.0.1:10737/-/healthy", show_default=True, help="What to GET.")
@click.option("--timeout", "timeout_s", default="3s", show_default=True, callback=_seconds, help="How long to wait.")
def command(url: str, timeout_s: float) -> int:
    """Exit with 0 when the answer is 200, else with 1 and the reason.

    \b
    Example:
      perfmon healthcheck --url http://127.0.0.1:10737/-/ready
    """
    if not url.startswith(("http://", "https://")):
        raise click.BadParameter(f'expected an http URL, got "{url}"', param_hint="--url")
    # No proxy: it is this machine that is asked, whatever the environment says of others.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout_s) as answer:
            click.echo(answer.read(1000).decode(errors="replace").rstrip())
    except urllib.error.HTTPError as refusal:
        return _unhealthy(f"{refusal.code} {refusal.read(1000).decode(errors='replace').strip()}")
    except OSError as error:
        return _unhealthy(str(getattr(error, "reason", error)))
    return 0


def _unhealthy(why: str) -> int:
    sys.stderr.write(f"perfmon: unhealthy: {why}\n")
    return 1
