"""What a perfmon with a web-config.yml demands of those who ask it: whom they trust, and who they are."""

import ipaddress
import os
import ssl
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from perfmon.errors import UsageError
from perfmon.secret import References, Secret, basic_proof

__all__ = ["opener", "options", "proof", "words"]

_OPTIONS = (
    click.option("--ca-file", metavar="FILE", help="Whom to trust with https; what the machine trusts when not given."),
    click.option(
        "--insecure", is_flag=True, help="Trust any certificate; of this machine only, by a loopback address."
    ),
    click.option("--cert-file", metavar="FILE", help="A certificate of one's own, where the server demands one."),
    click.option("--key-file", metavar="FILE", help="Its key."),
    click.option("--username", metavar="NAME", help="A user of basic_auth_users."),
    click.option("--password", metavar="REFERENCE", help="Where the password is: ${env:NAME} or ${file:PATH}."),
)


def options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a command that asks a perfmon."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def opener(
    url: str, *, ca_file: str | None, cert_file: str | None, key_file: str | None, insecure: bool
) -> urllib.request.OpenerDirector:
    """What opens `url`. By no proxy: it is a machine of ours that is asked, whatever the environment says of others."""
    if insecure and not _is_loopback(url):
        raise UsageError("--insecure trusts anybody, so it is for loopback addresses such as https://127.0.0.1:10737")
    trust = _trust(ca_file, cert_file, key_file, insecure=insecure)
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust))


def proof(username: str | None, password: str | None) -> dict[str, str]:
    """The headers that say who asks; none where nobody is named."""
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


def words(error: object) -> str:
    """What went wrong, in lower case."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return said.strip().lower() or type(error).__name__


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
        raise UsageError(f"cannot use {named}: {words(error)}") from None
    if insecure:
        trust.check_hostname = False
        trust.verify_mode = ssl.CERT_NONE
    return trust
