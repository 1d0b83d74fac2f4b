"""Ask a running perfmon whether it is healthy; for containers, which have no curl."""

import http.client
import ipaddress
import os
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import click

from perfmon.errors import UsageError
from perfmon.secret import References, Secret, basic_proof
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
@click.option("--ca-file", metavar="FILE", help="Whom to trust with https; what the machine trusts when not given.")
@click.option("--insecure", is_flag=True, help="Trust any certificate; of this machine only, by a loopback address.")
@click.option("--cert-file", metavar="FILE", help="A certificate of one's own, where the server demands one.")
@click.option("--key-file", metavar="FILE", help="Its key.")
@click.option("--username", metavar="NAME", help="A user of basic_auth_users.")
@click.option("--password", metavar="REFERENCE", help="Where the password is: ${env:NAME} or ${file:PATH}.")
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
    request = _request(url, _proof(username, password))
    if insecure and not _is_loopback(url):
        raise UsageError("--insecure trusts anybody, so it is for loopback addresses such as https://127.0.0.1:10737")
    trust = _trust(ca_file, cert_file, key_file, insecure=insecure)
    # No proxy: it is this machine that is asked, whatever the environment says of others.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust))
    try:
        with opener.open(request, timeout=timeout_s) as answer:
            unchecked = " (the server's certificate was not verified)" if insecure else ""
            click.echo(answer.read(1000).decode(errors="replace").rstrip() + unchecked)
    except urllib.error.HTTPError as refusal:
        return _unhealthy(f"{refusal.code} {refusal.read(1000).decode(errors='replace').strip()}")
    except (http.client.InvalidURL, ValueError) as error:
        raise click.BadParameter(f"expected an http URL, got {quoted(url)}", param_hint="--url") from error
    except OSError as error:
        return _unhealthy(_words(getattr(error, "reason", error)))
    except http.client.HTTPException as error:
        return _unhealthy(f"no answer in HTTP: {_words(error)}")
    return 0


def _request(url: str, headers: dict[str, str]) -> urllib.request.Request:
    try:
        if url.startswith(("http://", "https://")):
            return urllib.request.Request(url, headers=headers)  # noqa: S310 - its scheme was looked at
    except ValueError:
        pass  # it is no URL: the words below are for it too
    raise click.BadParameter(f"expected an http URL, got {quoted(url)}", param_hint="--url")


def _is_loopback(url: str) -> bool:
    host = urllib.parse.urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _trust(ca_file: str | None, cert_file: str | None, key_file: str | None, *, insecure: bool) -> ssl.SSLContext:
    if key_file and not cert_file:
        raise UsageError("--key-file is the key of a --cert-file, which is missing")
    try:
        trust = ssl.create_default_context(cafile=ca_file)
        if cert_file:
            trust.load_cert_chain(cert_file, key_file)
    except OSError as error:
        named = ", ".join(filter(None, (ca_file, cert_file, key_file)))
        raise UsageError(f"cannot use {named}: {_words(error)}") from None
    if insecure:
        trust.check_hostname = False
        trust.verify_mode = ssl.CERT_NONE
    return trust


def _proof(username: str | None, password: str | None) -> dict[str, str]:
    if username is None and password is None:
        return {}
    if username is None or password is None:
        raise UsageError("expected both --username and --password, or neither")
    try:
        secret = References(os.environ).resolve(password, Path())
    except ValueError as error:
        raise UsageError(f"--password: {error}") from None
    if not isinstance(secret, Secret):
        raise UsageError(
            "--password: expected a reference such as ${env:PASSWORD}: others see what stands on a command line"
        )
    return {"Authorization": f"Basic {basic_proof(username, secret)}"}


def _words(error: object) -> str:
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return said.strip().lower() or type(error).__name__


def _unhealthy(why: str) -> int:
    sys.stderr.write(f"perfmon: unhealthy: {why}\n")
    return 1
