"""Say which alerts there are and who was told; try a receiver."""

import http.client
import json
import textwrap
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import click
from click import Context

from perfmon import admission, kinds
from perfmon.clock import SystemClock
from perfmon.errors import EXIT_DEFECT, EXIT_FINE, PerfmonError, ReceiverError, UsageError
from perfmon.units import format_duration, printable, quoted

__all__ = ["command"]

Json = dict[str, Any]
WIDTH = 80
URL = "http://127.0.0.1:10737/"
TIMEOUT_S = 10.0
MOST_BYTES = 64 << 20

_from = (
    click.option("--url", metavar="URL", help=f"The page of a running perfmon. [{URL}]"),
    click.option("--state", metavar="FILE", type=click.Path(), help="Its state file instead; also of one that ended."),
    click.option("--json", "as_json", is_flag=True, help="All that is known, as JSON."),
)


def _source(function: Any) -> Any:
    function = admission.options(function)
    for option in reversed(_from):
        function = option(function)
    return function


@click.group("alerts", invoke_without_command=True)
@_source
@click.pass_context
def command(context: Context, /, url: str | None, state: str | None, *, as_json: bool, **admitted: Any) -> None:
    """List alerts: those that fire, are about to, or were resolved.

    \b
    Examples:
      perfmon alerts                                  of this machine's daemon
      perfmon alerts --state perfmon.sqlite3          of one that does not run
      perfmon alerts explain ShopDown                 why, since when, told whom
      perfmon alerts test pager --config perfmon.yml  sends a real message
      perfmon alerts --url https://127.0.0.1:10737 --ca-file ca.pem \\
        --username ann --password '${env:PASSWORD}'   of one with a web-config
    """
    context.obj = (url, state, admitted)
    if context.invoked_subcommand is not None:
        return
    known = _known(url, state, admitted)
    if as_json:
        click.echo(json.dumps(known, indent=2))
        return
    for line in _table(known["alerts"], known["now"]):
        click.echo(printable(line))


@command.command("explain")
@click.argument("name", metavar="NAME|FINGERPRINT")
@_source
@click.pass_obj
def explain(
    above: tuple[str | None, str | None, Json],
    /,
    name: str,
    url: str | None,
    state: str | None,
    *,
    as_json: bool,
    **admitted: Any,
) -> None:
    """Say why an alert fires or waits, since when, and who was told.

    Each alert of the NAME, and what came of telling each receiver.
    """
    known = _known(url or above[0], state or above[1], {key: given or above[2][key] for key, given in admitted.items()})
    found = [alert for alert in known["alerts"] if name in (alert["labels"]["alertname"], alert["fingerprint"])]
    if not found:
        names = sorted({alert["labels"]["alertname"] for alert in known["alerts"]})
        raise UsageError(f"no such alert: {kinds.unknown(name, names)}" if names else "there are no alerts")
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for number, alert in enumerate(found):
        if number:
            click.echo()
        for line in _explained(alert, known["now"], known.get("mode", "")):
            click.echo(printable(line))


@command.command("test")
@click.argument("receiver", metavar="RECEIVER")
@click.option("--config", "--config.file", "files", multiple=True, required=True, type=click.Path(), help="Repeatable.")
@click.option("--severity", default="info", show_default=True, help="Label of the alert that is sent.")
@click.option("--resolved", is_flag=True, help="Say afterwards that it is over.")
def test(receiver: str, files: tuple[str, ...], severity: str, *, resolved: bool) -> int:
    """Send a real message to a receiver, and print its answer.

    The alert is called PerfmonTest. Exits with 1 when it was not taken. At an Alertmanager it ends by itself after a
    minute.
    """
    from perfmon import config, logs  # noqa: PLC0415 - loads every kind that the files name
    from perfmon.receivers import Notice  # noqa: PLC0415

    read = config.load(files)
    logs.configure(level=read.log.level, form=read.log.format)
    chosen = next((one for one in read.receivers if one.name == receiver), None)
    if chosen is None:
        raise UsageError(kinds.unknown(receiver, [one.name for one in read.receivers], "receiver"))
    now = SystemClock().wall()
    firing = Notice(
        labels={"alertname": "PerfmonTest", "severity": severity, "receiver": receiver},
        annotations={"summary": "a test: nothing is wrong", "description": "sent by `perfmon alerts test`"},
        why="a test: nothing is wrong",
        starts_at=now,
        valid_until=now + 60,
        page_url=read.web.external_url,
        receiver=receiver,
    )
    kind = kinds.load("receivers", chosen.kind)
    parts = kind.split(chosen.config) if hasattr(kind, "split") else {"": chosen.config}
    notices = [firing, _over(firing)] if resolved else [firing]
    taken = [
        _try(kind, notice, settings, f"{receiver} {address}".strip())
        for address, settings in parts.items()
        for notice in notices
    ]
    return EXIT_FINE if all(taken) else EXIT_DEFECT


def _over(notice: Any) -> Any:
    from msgspec.structs import replace  # noqa: PLC0415 - `--help` needs it not

    return replace(notice, ends_at=notice.starts_at + 1, valid_until=None)


def _try(kind: Any, notice: Any, settings: Any, to: str) -> bool:
    try:
        words = kind.notify([notice], settings)
    except ReceiverError as error:
        click.echo(printable(f"{to}: {notice.status} was not taken: {error}"), err=True)
        return False
    click.echo(printable(f"{to}: {notice.status} was taken{f': {words}' if words else ''}"))
    return True


# ---------------------------------------------------------------- what is known


def _known(url: str | None, state: str | None, admitted: Json) -> Json:
    if url and state:
        raise UsageError("give either --url or --state")
    if state is None:
        return _asked(url or URL, **admitted)
    from perfmon.monitor import left_behind  # noqa: PLC0415 - loads half of the daemon

    return left_behind.alerts(state, SystemClock())


def _asked(url: str, *, username: str | None = None, password: str | None = None, **trust: Any) -> Json:
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"--url: expected an http URL, got {quoted(url)}")
    opener = admission.opener(url, **trust)
    place = f"{url.rstrip('/')}/api/v1/alerts"
    try:
        request = urllib.request.Request(place, headers=admission.proof(username, password))  # noqa: S310 - see above
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            found: Json = json.loads(answer.read(MOST_BYTES))
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == HTTPStatus.UNAUTHORIZED:
            raise PerfmonError(
                f"{url} answered 401: a user and a password are needed (--username, --password)"
            ) from None
        raise PerfmonError(f"{url} answered {error.code}: is that perfmon's page?") from None
    except (http.client.HTTPException, ValueError):
        raise PerfmonError(f"{url} answered what is no list of alerts: is that perfmon's page?") from None
    except OSError as error:
        why = getattr(error, "reason", error)
        raise PerfmonError(
            f"{url} does not answer: {admission.words(why)} (--url, or --state FILE for one that ended)"
        ) from None
    return found


# ---------------------------------------------------------------- in words

_INDENT = " " * 14
_ORDER = {"firing": 0, "pending": 1, "inactive": 2}


def _table(alerts: Sequence[Json], now: float) -> Iterator[str]:
    """Up to four lines for each: what and since when, why, what holds it back, who was told; 80 columns."""
    if not alerts:
        yield "no alerts"
        return
    for alert in sorted(alerts, key=lambda one: (_ORDER[one["state"]], one["labels"]["alertname"], _about(one))):
        word, since = _state(alert)
        ago = format_duration(max(0.0, now - since), brief=True)
        head = (
            f"{word:<9}{ago:<9}{alert['labels'].get('severity', ''):<9}{alert['labels']['alertname']}  {_about(alert)}"
        )
        yield _cut(head)
        yield from (
            _cut(f"         {line}")
            for line in (_one_line(alert["why"]), _held_in_short(alert), _told_in_short(alert))
            if line
        )


def _state(alert: Json) -> tuple[str, float]:
    if alert["state"] == "firing":
        return "firing", alert["fired_at"]
    if alert["state"] == "pending":
        return "pending", alert["active_at"]
    return "resolved", alert["resolved_at"] or alert["fired_at"] or 0.0


def _about(alert: Json) -> str:
    """`shop http://shop.example/`: two probes may ask the same target."""
    labels = alert["labels"]
    if "target" in labels:
        return f"{labels.get('probe', '')} {labels['target']}".lstrip()
    return " ".join(value for name, value in labels.items() if name not in ("alertname", "severity"))


def _held_in_short(alert: Json) -> str:
    return f"held back: {_one_line(alert['held_back'])}" if alert.get("held_back") else ""


def _told_in_short(alert: Json) -> str:
    waiting = [one["to"] for one in alert["waiting"]]
    told = [one["to"] for one in alert["told"] if one["outcome"] == "sent" and one["to"] not in waiting]
    failed = [one["to"] for one in alert["told"] if one["outcome"] in ("failed", "dropped")]
    parts = [("told", told), ("waiting", waiting), ("FAILED", failed)]
    return "; ".join(f"{word}: {', '.join(names)}" for word, names in parts if names)


def _explained(alert: Json, now: float, mode: str) -> Iterator[str]:
    word, since = _state(alert)
    ago = format_duration(max(0.0, now - since), brief=True)
    yield _cut(f"{alert['labels']['alertname']}  {word} since {_moment(since)} ({ago})")
    labels = {name: value for name, value in alert["labels"].items() if name != "alertname"}
    yield from _row("labels", ", ".join(f'{name}="{value}"' for name, value in labels.items()))
    yield from _row("why", alert["why"])
    times = [("broken", alert["active_at"]), ("fired", alert["fired_at"]), ("resolved", alert["resolved_at"])]
    yield from _row("when", ", ".join(f"{what} {_moment(at)}" for what, at in times if at is not None))
    for name, text in alert["annotations"].items():
        yield from _row(name, text)
    for told in alert["told"]:
        yield from _row("told", _one_told(told))
    if not alert["told"]:
        yield from _row("told", "nobody")
    for reason in _held(alert, mode):
        yield from _row("held", reason)


def _one_told(told: Json) -> str:
    often = f", {told['times']} times until {_moment(told['again_at'])}" if told["times"] > 1 else ""
    words = f": {told['words']}" if told["words"] else ""
    return f"{told['to']}: {told['said']} {told['outcome']} {_moment(told['at'])}{often}{words}"


def _held(alert: Json, mode: str) -> Iterable[str]:
    """What keeps people from hearing of it."""
    if alert.get("held_back"):
        yield alert["held_back"]
    elif alert["state"] == "pending":
        yield "not broken for long enough yet (`for` of the rule)"
    if mode == "rules":
        yield 'mode "rules": perfmon tells its log at most, and Prometheus alerts'
    for waiting in alert["waiting"]:
        retry_s = waiting["retry_in_s"]
        when = "" if retry_s is None else f", next try in {format_duration(retry_s, brief=True)}"
        why = f": {waiting['trouble']}" if waiting["trouble"] else ""
        yield f"{waiting['to']} has yet to hear: {', '.join(waiting['statuses'])}{when}{why}"


def _row(name: str, text: str) -> Iterator[str]:
    """The lines of a text (a leak's places have one each), folded; the name stands before the first."""
    before = f"  {name:<11} "
    for line in filter(None, map(_one_line, text.splitlines())):
        yield from textwrap.wrap(line, WIDTH, initial_indent=before, subsequent_indent=_INDENT, break_on_hyphens=False)
        before = _INDENT


def _moment(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"
