"""Ask a running perfmon whether it is healthy; for containers, which have no curl."""

import http.client
import sys
import urllib.error
import urllib.request
from typing import Any

import click

from perfmon.units import parse_duration, quoted

__all__ = ["command"]


def _seconds(_context: click.Context, _option: click.Parameter, text: Any) -> float:
    try:
        timeout_s = parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if not timeout_s:
        raise click.BadParameter(f"expected more than 0s, got {quoted(text)}")
    return timeout_s


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
        raise click.BadParameter(f"expected an http URL, got {quoted(url)}", param_hint="--url")
    # No proxy: it is this machine that is asked, whatever the environment says of others.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout_s) as answer:
            click.echo(answer.read(1000).decode(errors="replace").rstrip())
    except urllib.error.HTTPError as refusal:
        return _unhealthy(f"{refusal.code} {refusal.read(1000).decode(errors='replace').strip()}")
    except (http.client.InvalidURL, ValueError) as error:
        raise click.BadParameter(f"expected an http URL, got {quoted(url)}", param_hint="--url") from error
    except OSError as error:
        return _unhealthy(_words(getattr(error, "reason", error)))
    except http.client.HTTPException as error:
        return _unhealthy(f"no answer in HTTP: {_words(error)}")
    return 0


def _words(error: object) -> str:
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return said.strip().lower() or type(error).__name__


def _unhealthy(why: str) -> int:
    sys.stderr.write(f"perfmon: unhealthy: {why}\n")
    return 1
