"""Watch services: probe, sample, judge, alert, and show it all."""

from pathlib import Path
from typing import Literal

import click
import msgspec
from msgspec.structs import replace

from perfmon import config
from perfmon.errors import UsageError

__all__ = ["command"]


@click.command("serve", context_settings={"show_default": True})
@click.argument("urls", nargs=-1, metavar="[URL|HOST:PORT]...")
@click.option(
    "--config.file", "files", multiple=True, type=click.Path(path_type=Path), help="What to watch; repeatable."
)
@click.option(
    "--web.listen-address",
    "listen",
    multiple=True,
    metavar="HOST:PORT",
    help="Where to listen; repeatable. [127.0.0.1:10737]",
)
@click.option("--state.path", "state", metavar="FILE", help="Where to keep state; '' keeps none.")
@click.option("--log.level", "level", type=click.Choice(["debug", "info", "warning", "error"]), help="[info]")
@click.option("--log.format", "format_", type=click.Choice(["console", "json"]), help="[console]")
def command(
    urls: tuple[str, ...],
    files: tuple[Path, ...],
    listen: tuple[str, ...],
    state: str | None,
    level: Literal["debug", "info", "warning", "error"] | None,
    format_: Literal["console", "json"] | None,
) -> None:
    """Watch services: probe, sample, judge, alert, and show it all on a page and on /metrics.

    \b
    Examples:
      perfmon serve http://localhost:8080/ localhost:5432
      perfmon serve --config.file perfmon.yml --log.format json

    SIGHUP or POST /-/reload reads the files anew; SIGTERM ends it.
    """
    if bool(urls) == bool(files):
        raise UsageError("give either URLs to watch or --config.file (try: perfmon serve http://localhost:8080/)")
    from perfmon.monitor.daemon import run  # noqa: PLC0415 - loads the whole daemon

    flags = Flags(listen=listen, state=state, level=level, format=format_)
    run(lambda: flags.over(config.load(files) if files else config.from_urls(urls)))


class Flags(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says beside the files; it wins over them, also at a reload."""

    listen: tuple[str, ...]
    state: str | None
    level: Literal["debug", "info", "warning", "error"] | None
    format: Literal["console", "json"] | None

    def over(self, read: config.Config) -> config.Config:
        """The config with the flags that were given in place of what the files say."""
        log = replace(read.log, level=self.level or read.log.level, format=self.format or read.log.format)
        state = read.state if self.state is None else replace(read.state, path=self.state)
        web = replace(read.web, listen=self.listen) if self.listen else read.web
        return replace(read, log=log, state=state, web=web)
