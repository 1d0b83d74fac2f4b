"""Ask a running perfmon whether it is healthy; for containers, which have no curl."""

import http.client
import sys
import urllib.error
import urllib.request
from typing import Any

import click

from perfmon import admission
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
@admission.options
def command(
    url: str,
    timeout_s: float,
    ca_file: str | None,
    cert_file: str | None,
    key_file: str | None,
    username: str | None,
    password: str | None,
    *,
    insecure: bool,
) -> int:
    """Exit with 0 when the answer is 200, else with 1 and the reason.

    A server with a web-config.yml demands of this command what it demands of everybody.

    \b
    Examples:
      perfmon healthcheck --url http://127.0.0.1:10737/-/ready
      perfmon healthcheck --url https://127.0.0.1:10737/-/healthy --insecure \\
        --username health --password '${file:/run/secrets/health}'
    """
    request = _request(url, admission.proof(username, password))
    opener = admission.opener(url, ca_file=ca_file, cert_file=cert_file, key_file=key_file, insecure=insecure)
    try:
        with opener.open(request, timeout=timeout_s) as answer:
            unchecked = " (the server's certificate was not verified)" if insecure else ""
            click.echo(answer.read(1000).decode(errors="replace").rstrip() + unchecked)
    except urllib.error.HTTPError as refusal:
        return _unhealthy(f"{refusal.code} {refusal.read(1000).decode(errors='replace').strip()}")
    except (http.client.InvalidURL, ValueError) as error:
        raise click.BadParameter(f"expected an http URL, got {quoted(url)}", param_hint="--url") from error
    except OSError as error:
        return _unhealthy(admission.words(getattr(error, "reason", error)))
    except http.client.HTTPException as error:
        return _unhealthy(f"no answer in HTTP: {admission.words(error)}")
    return 0


def _request(url: str, headers: dict[str, str]) -> urllib.request.Request:
    try:
        if url.startswith(("http://", "https://")):
            return urllib.request.Request(url, headers=headers)  # noqa: S310 - its scheme was looked at
    except ValueError:
        pass  # it is no URL: the words below are for it too
    raise click.BadParameter(f"expected an http URL, got {quoted(url)}", param_hint="--url")


def _unhealthy(why: str) -> int:
    sys.stderr.write(f"perfmon: unhealthy: {why}\n")
    return 1
