"""Tell chats, phones and what else Apprise knows (https://github.com/caronc/apprise), by its addresses.

`pip install 'perfmon[notify]'` brings it. It is imported when there is first something to tell, in the receiver's own
thread: it takes 0.3 s and 36 MB.
"""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec

import msgspec

from perfmon.errors import PassingError, PermanentError
from perfmon.receivers import Notice
from perfmon.units import format_duration

__all__ = ["BATCH", "Config", "check", "notify", "split"]

BATCH = 1


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to. An address holds what proves that one may: it is shown nowhere."""

    urls: list[str]


def notify(notices: Sequence[Notice], config: Config) -> str:
    """A message for each notice. Apprise says no more than that it went wrong, but for a status of HTTP in its log."""
    import apprise  # noqa: PLC0415 - heavy, and few need it

    for url in config.urls:
        service = apprise.Apprise()
        with apprise.LogCapture(level=logging.WARNING) as log:  # type: ignore[no-untyped-call]
            if not service.add(url):
                raise PermanentError(f"apprise does not understand the address {_scheme(url)}://...")
            for notice in notices:
                # As plain text, so that Apprise escapes it where a service takes markup.
                if not service.notify(_body(notice), _title(notice), _type(notice), body_format="text"):
                    raise _refusal(f"apprise could not tell {_scheme(url)}", log.getvalue())
    return f"apprise told {', '.join(map(_scheme, config.urls))}"


def split(config: Config) -> Mapping[str, Config]:
    """A config for each address, under a name that shows its scheme only."""
    return {f"{_scheme(url)} #{number}": Config(urls=[url]) for number, url in enumerate(config.urls, 1)}


def check(config: Config) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express."""
    if find_spec("apprise") is None:
        yield "", "needs the package apprise: pip install 'perfmon[notify]'"
    if not config.urls:
        yield "urls", "expected at least one address"
    for number, url in enumerate(config.urls):
        if not re.fullmatch(r"[a-zA-Z][a-zA-Z0-9.+-]{0,30}://\S+", url):
            yield f"urls[{number}]", "expected an address of Apprise's, such as tgram://TOKEN/CHAT"
        elif url in config.urls[:number]:
            yield f"urls[{number}]", "the same address stands above"


def _scheme(url: str) -> str:
    return url.partition("://")[0].lower()


def _refusal(words: str, log: str) -> Exception:
    """A 4xx cannot be helped by another try, but for those of `perfmon.post`; the log may hold secrets, and is cut."""
    found = re.findall(r"error=(\d{3})\b", log)
    if not found:
        return PassingError(words)
    passing = found[-1] in ("408", "425", "429") or not found[-1].startswith("4")
    return (PassingError if passing else PermanentError)(f"{words}: answered {found[-1]}")


def _title(notice: Notice) -> str:
    word = "still firing" if notice.reminder_at is not None else notice.status
    lasted = f" after {format_duration(notice.lasted_s, brief=True)}" if notice.lasted_s else ""
    return f"{notice.labels.get('alertname', '')} {word}{lasted}"


def _body(notice: Notice) -> str:
    told = [notice.annotations.get(name, "") for name in ("summary", "description")]
    links = [text for name, text in notice.annotations.items() if name.endswith("_url")]
    return "\n".join(text for text in (*told, *links, notice.page_url) if text)


def _type(notice: Notice) -> str:
    """Apprise's word for how bad it is."""
    if notice.ends_at is not None:
        return "success"
    return {"warning": "warning", "info": "info", "none": "info"}.get(notice.labels.get("severity", ""), "failure")
