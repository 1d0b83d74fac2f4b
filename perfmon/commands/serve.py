"""Watch services: probe, sample, judge, alert, and show it all."""

import ipaddress
import os
from pathlib import Path
from typing import Literal

import click
import msgspec
from msgspec.structs import replace

from perfmon import config
from perfmon.errors import UsageError
from perfmon.units import quoted

__all__ = ["command"]


@click.command("serve", context_settings={"show_default": True})
@click.argument("urls", nargs=-1, metavar="[URL|HOST:PORT]...")
@click.option(
    "--config.file", "files", multiple=True, type=click.Path(path_type=Path), help="What to watch; repeatable."
)
@click.option(
    "--blackbox",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A blackbox.yml, unchanged: its modules answer /probe as blackbox_exporter does.",
)
@click.option(
    "--web.listen-address",
    "listen",
    multiple=True,
    metavar="HOST:PORT",
    help="Where to listen; repeatable. [127.0.0.1:10737]",
)
@click.option(
    "--web.systemd-socket", "systemd_socket", is_flag=True, help="Listen on the sockets of perfmon.socket instead."
)
@click.option(
    "--web.config.file",
    "web_file",
    metavar="FILE",
    help="A web-config.yml: TLS, passwords, headers and pace, as Prometheus' exporters read it.",
)
@click.option(
    "--web.probe-allow",
    "probe_allow",
    multiple=True,
    metavar="NETWORK",
    callback=lambda _context, _option, texts: tuple(map(_network, texts)),
    help="Who may call /probe beside this machine, such as 10.0.0.0/8; repeatable.",
)
@click.option(
    "--timeout-offset",
    "timeout_offset_s",
    type=click.FloatRange(min=0, max=86_400),
    metavar="SECONDS",
    help="What /probe keeps back of the scraper's time. [0.5]",
)
@click.option("--state.path", "state", metavar="FILE", help="Where to keep state; '' keeps none.")
@click.option("--log.level", "level", type=click.Choice(["debug", "info", "warning", "error"]), help="[info]")
@click.option("--log.format", "format_", type=click.Choice(["console", "json"]), help="[console]")
def command(
    urls: tuple[str, ...],
    files: tuple[Path, ...],
    blackbox: Path | None,
    listen: tuple[str, ...],
    web_file: str | None,
    probe_allow: tuple[config.Network, ...],
    timeout_offset_s: float | None,
    state: str | None,
    level: Literal["debug", "info", "warning", "error"] | None,
    format_: Literal["console", "json"] | None,
    *,
    systemd_socket: bool,
) -> None:
    """Watch services: probe, sample, judge, alert, and show it all on a page and on /metrics.

    \b
    Examples:
      perfmon serve http://localhost:8080/ localhost:5432
      perfmon serve --config.file perfmon.yml --log.format json
      perfmon serve --config.file perfmon.yml --web.config.file web-config.yml
      perfmon serve --blackbox blackbox.yml --web.probe-allow 10.0.0.0/8

    SIGHUP or POST /-/reload reads the files anew; SIGTERM ends it.
    """
    if urls and files:
        raise UsageError("give either URLs to watch or --config.file")
    if not (urls or files or blackbox):
        raise UsageError("give URLs to watch, --config.file or --blackbox (try: perfmon serve http://localhost:8080/)")
    if systemd_socket and listen:
        raise UsageError("give either --web.listen-address or --web.systemd-socket")
    from perfmon.monitor import systemd  # noqa: PLC0415 - loads the whole daemon
    from perfmon.monitor.daemon import run  # noqa: PLC0415
    from perfmon.monitor.listen import addresses  # noqa: PLC0415

    sockets = systemd.passed_sockets(os.environ, os.getpid()) if systemd_socket else []
    flags = Flags(
        listen=listen or addresses(sockets),
        web_file=web_file,
        probe_allow=probe_allow,
        timeout_offset_s=timeout_offset_s,
        state=state,
        level=level,
        format=format_,
    )
    run(lambda: flags.over(_read(urls, files, blackbox)), sockets=sockets)


def _read(urls: tuple[str, ...], files: tuple[Path, ...], blackbox: Path | None) -> config.Config:
    return config.from_urls(urls, blackbox=blackbox) if urls else config.load(files, blackbox=blackbox)


def _network(text: str) -> config.Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise UsageError(f"--web.probe-allow: expected a network such as 10.0.0.0/8, got {quoted(text)}") from None


class Flags(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says beside the files; it wins over them, also at a reload."""

    listen: tuple[str, ...]
    web_file: str | None
    probe_allow: tuple[config.Network, ...]
    timeout_offset_s: float | None
    state: str | None
    level: Literal["debug", "info", "warning", "error"] | None
    format: Literal["console", "json"] | None

    def over(self, read: config.Config) -> config.Config:
        """The config with the flags that were given in place of what the files say."""
        log = replace(read.log, level=self.level or read.log.level, format=self.format or read.log.format)
        state = read.state if self.state is None else replace(read.state, path=self.state)
        offset_s = read.web.timeout_offset_s if self.timeout_offset_s is None else self.timeout_offset_s
        web = replace(
            read.web,
            listen=self.listen or read.web.listen,
            probe_allow=self.probe_allow or read.web.probe_allow,
            timeout_offset_s=offset_s,
            config_file=read.web.config_file if self.web_file is None else self.web_file,
        )
        return replace(read, log=log, state=state, web=web)
