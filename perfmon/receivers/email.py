"""Mail each change of an alert, as text and as HTML, so that what belongs together stands in one thread.

The Message-ID comes of the alert's fingerprint and its beginning: the end and each reminder refer to it (RFC 5322,
3.6.4), and a mail that was sent twice by a crash in between is the same mail to whoever looks. The subject says nothing
that changes in an episode, since Gmail makes its threads by subjects too.
"""

import smtplib
import socket
import ssl
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from html import escape
from typing import Literal

import msgspec

from perfmon.clock import SystemClock
from perfmon.errors import PassingError, PermanentError
from perfmon.post import Tls
from perfmon.receivers import Notice
from perfmon.secret import hidden, without
from perfmon.units import Duration, format_duration

__all__ = ["BATCH", "Config", "check", "letter", "notify", "split"]

BATCH = 1
PORTS = {"starttls": 587, "tls": 465, "none": 25}


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """By which server, from whom, to whom."""

    to: list[str]
    from_: str = msgspec.field(name="from")
    host: str
    port: int = 0  # 0 = 587 with starttls, 465 with tls, 25 without either
    tls: Literal["starttls", "tls", "none"] = "starttls"
    username: str = ""
    password: str = ""
    tls_config: Tls = Tls()
    timeout: Duration = 10.0


class _ForOne(Config, frozen=True, kw_only=True):
    """The same for one of them, who has a queue of his own."""

    recipient: str


def notify(notices: Sequence[Notice], config: Config) -> str:
    """A mail for each notice and address; answers with what the server said at last.

    What is wrong with the connection or the log-in may heal, and so may a 4xx; a 5xx to the mail itself does not.
    """
    recipients = [config.recipient] if isinstance(config, _ForOne) else config.to
    answers = [_send(letter(notice, config), to, config) for notice in notices for to in recipients]
    return answers[-1] if answers else ""


def split(config: Config) -> Mapping[str, Config]:
    """A config for each address: one that is refused costs the others nothing. All of them stand in `To`."""
    whole = msgspec.structs.asdict(config)
    return {_bare(to): _ForOne(**whole, recipient=to) for to in config.to}


def check(config: Config) -> Iterable[tuple[str, str]]:
    """Mistakes that types cannot express."""
    if not config.to:
        yield "to", "expected at least one address"
    for number, to in enumerate(config.to):
        if not _is_address(to):
            yield f"to[{number}]", "expected an address such as ops@example.org"
        elif _bare(to) in map(_bare, config.to[:number]):
            yield f"to[{number}]", "the same address stands above"
    if not _is_address(config.from_):
        yield "from", "expected an address such as perfmon@example.org"
    # An IPv6 address has more than one colon.
    if not config.host or any(sign.isspace() for sign in config.host) or config.host.count(":") == 1:
        yield "host", "expected the name or the address of a mail server, its port goes into `port`"
    if not 0 <= config.port <= 65535:
        yield "port", f"expected 1 to 65535, got {config.port}"
    if bool(config.username) != bool(config.password):
        yield "username" if config.username else "password", "expected username and password, or neither"
    if config.password and config.tls == "none":
        yield "password", "would be sent in clear text, expected `tls: starttls` or `tls: tls` beside it"
    if config.tls_config.key_file and not config.tls_config.cert_file:
        yield "tls_config.key_file", "needs cert_file: a key without its certificate proves nothing"
    if config.timeout <= 0:
        yield "timeout", f"expected more than 0 s, got {config.timeout:g}"


# ---------------------------------------------------------------- the letter


def letter(notice: Notice, config: Config) -> EmailMessage:
    """The mail, without its date. Whatever labels and annotations hold, they make no header and no element."""
    message = EmailMessage(policy=SMTP)
    first = f"<perfmon.{notice.fingerprint}.{notice.starts_at * 1000:.0f}@{_domain(config)}>"
    message["From"] = config.from_
    message["To"] = ", ".join(config.to)
    if notice.ends_at is None and notice.reminder_at is None:
        message["Subject"] = _subject(notice)
        message["Message-ID"] = first
    else:
        message["Subject"] = f"Re: {_subject(notice)}"
        message["Message-ID"] = first.replace("<perfmon.", f"<perfmon.{_part(notice)}.")
        message["In-Reply-To"] = first
        message["References"] = first
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence answers it
    message.set_content(_text(notice), cte="quoted-printable")
    message.add_alternative(_html(notice), subtype="html", cte="quoted-printable")
    return message


def _part(notice: Notice) -> str:
    """Which mail of the thread it is."""
    return "end" if notice.ends_at is not None else f"after-{notice.lasted_s:.0f}s"


def _subject(notice: Notice) -> str:
    labels = notice.labels
    severity = labels.get("severity", "")
    about = labels.get("target") or " ".join(
        value for name, value in labels.items() if name not in ("alertname", "severity")
    )
    words = [severity, labels.get("alertname", ""), about]
    return _line(": ".join(word for word in words if word))[:200]


def _headline(notice: Notice) -> str:
    if notice.ends_at is not None:
        return f"resolved after {_span(notice)}"
    return "is firing" if notice.reminder_at is None else f"still firing after {_span(notice)}"


def _span(notice: Notice) -> str:
    return format_duration(notice.lasted_s, brief=True)


def _rows(notice: Notice) -> list[tuple[str, str]]:
    """What there is to say, by name."""
    told = {name: text for name, text in notice.annotations.items() if text and name != "summary"}
    times = [("since", _moment(notice.starts_at))]
    if notice.ends_at is not None:
        times.append(("until", _moment(notice.ends_at)))
    labels = [(name, text) for name, text in sorted(notice.labels.items()) if text and name != "alertname"]
    page = [("perfmon", notice.page_url)] if notice.page_url else []
    return [*times, *told.items(), *labels, *page]


def _text(notice: Notice) -> str:
    summary = notice.annotations.get("summary", "")
    rows = [(_line(name), _lines(text)) for name, text in _rows(notice)]
    width = max(len(name) for name, _ in rows)
    table = [f"{name:<{width}}  " + text.replace("\n", "\n" + " " * (width + 2)) for name, text in rows]
    head = f"{_line(notice.labels.get('alertname', ''))} {_headline(notice)}"
    return "\n".join([head, *([_lines(summary)] if summary else []), "", *table, ""])


def _html(notice: Notice) -> str:
    """One table, no image, nothing from elsewhere; colours that are told apart in a dark client too."""
    colour = "#2e7d32" if notice.ends_at is not None else _COLOURS.get(notice.labels.get("severity", ""), "#b71c1c")
    summary = notice.annotations.get("summary", "")
    rows = "\n".join(
        f'<tr><td style="{_NAME}">{escape(_line(name))}</td><td style="{_VALUE}">{_shown(text)}</td></tr>'
        for name, text in _rows(notice)
    )
    return f"""\
<!DOCTYPE html>
<html lang="en"><body style="font-family:sans-serif;font-size:14px;line-height:1.4">
<div style="border-left:6px solid {colour};padding:2px 12px">
<div style="font-size:18px"><b>{escape(_line(notice.labels.get("alertname", "")))}</b> {escape(_headline(notice))}</div>
<div>{escape(_lines(summary))}</div>
</div>
<table style="border-collapse:collapse;margin-top:12px">
{rows}
</table>
</body></html>
"""


_COLOURS = {"warning": "#b26a00", "info": "#1565c0", "none": "#616161"}
_NAME = "padding:2px 16px 2px 0;vertical-align:top;white-space:nowrap;opacity:0.7"
_VALUE = "padding:2px 0;vertical-align:top"


def _shown(text: str) -> str:
    """A text, as a link when that is all it is."""
    clean = escape(_lines(text))
    plain_link = text.startswith(("http://", "https://")) and not any(sign.isspace() for sign in text)
    return f'<a href="{clean}">{clean}</a>' if plain_link else clean.replace("\n", "<br>")


def _moment(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _line(text: str) -> str:
    """On one line, without what would steer a terminal, a mail's header or the direction of writing."""
    return " ".join("".join(" " if _steers(sign) else sign for sign in text).split())


def _lines(text: str) -> str:
    """The same, line by line."""
    return "\n".join(_line(line) for line in text.splitlines())


def _steers(sign: str) -> bool:
    return unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp")


# ---------------------------------------------------------------- the postman


def _send(message: EmailMessage, to: str, config: Config) -> str:
    """What the server said when it had taken the mail."""
    place = f"{config.host}:{config.port or PORTS[config.tls]}"
    message["Date"] = format_datetime(datetime.fromtimestamp(SystemClock().wall(), UTC))
    try:
        with _connected(config) as server:
            code, answer = _posted(server, message, _bare(config.from_), _bare(to))
    except smtplib.SMTPResponseException as error:
        refused = _said(error.smtp_code, error.smtp_error, config)
        raise PassingError(f"{place}: {refused}") from None
    except ssl.SSLError as error:
        raise PassingError(f"{place}: no trusted TLS connection: {str(error).lower()}") from None
    except (smtplib.SMTPServerDisconnected, TimeoutError) as error:
        late = isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError)
        words = f"no answer within {config.timeout:g} s" if late else "the connection was closed"
        raise PassingError(f"{place}: {words}") from None
    except (smtplib.SMTPException, OSError) as error:
        raise PassingError(f"{place}: {_words(error, config)}") from None
    said = f"{place}: {_said(code, answer, config)}"
    if code < 400:
        return said
    raise PassingError(said) if code < 500 else PermanentError(said)


@contextmanager
def _connected(config: Config) -> Iterator[smtplib.SMTP]:
    """A server that knows who we are. However it takes the end: what it took is taken."""
    port = config.port or PORTS[config.tls]
    # smtplib would look this machine's name up in DNS, which may take long just when everything is down.
    mine = socket.gethostname()
    if config.tls == "tls":
        context = _context(config.tls_config)
        server: smtplib.SMTP = smtplib.SMTP_SSL(config.host, port, mine, timeout=config.timeout, context=context)
    else:
        server = smtplib.SMTP(config.host, port, mine, timeout=config.timeout)
    try:
        if config.tls == "starttls":
            server.starttls(context=_context(config.tls_config))
        if config.username:
            server.login(config.username, config.password)
        server.ehlo_or_helo_if_needed()
        yield server
        with suppress(OSError, smtplib.SMTPException):
            server.send("quit\r\n")  # and wait for no answer
    finally:
        server.close()


def _posted(server: smtplib.SMTP, message: EmailMessage, sender: str, to: str) -> tuple[int, bytes]:
    """The server's last word: to the first step that it refuses, or to the mail as a whole."""
    code, words = server.mail(sender)
    if code < 400:
        code, words = server.rcpt(to)
    if code >= 400:
        return code, words
    try:
        return server.data(message.as_bytes())
    except smtplib.SMTPDataError as refusal:
        return refusal.smtp_code, _bytes(refusal.smtp_error)


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca_file or None)
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert_file:
        context.load_cert_chain(tls.cert_file, tls.key_file or None)
    return context


def _said(code: int, words: bytes | str, config: Config) -> str:
    return f"{code} {without(hidden(config), _line(_bytes(words).decode('utf-8', 'replace'))[:300])}"


def _words(error: Exception, config: Config) -> str:
    text = (error.strerror if isinstance(error, OSError) and error.strerror else str(error)) or type(error).__name__
    return without(hidden(config), _line(text).lower()[:300])


def _bytes(words: bytes | str) -> bytes:
    return words if isinstance(words, bytes) else words.encode()


# ---------------------------------------------------------------- addresses


def _bare(address: str) -> str:
    """`ops@example.org` of `Ops <ops@example.org>`."""
    return parseaddr(address)[1]


def _domain(config: Config) -> str:
    return _bare(config.from_).rpartition("@")[2]


def _is_address(text: str) -> bool:
    user, at, domain = _bare(text).rpartition("@")
    clean = text.isprintable() and "," not in text and not any(sign.isspace() for sign in user + domain)
    return bool(user and at and domain) and clean
