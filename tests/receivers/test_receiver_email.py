"""Mail: what a letter says, whatever the labels hold, and how it gets to a real server."""

import contextlib
import email
import email.policy
import socket
import threading

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from servers import Authority

from perfmon.errors import PassingError, PermanentError
from perfmon.post import Tls
from perfmon.receivers import Notice
from perfmon.receivers import email as mail

LABELS = {"alertname": "ShopDown", "severity": "critical", "target": "http://shop/"}
FIRING = Notice(
    labels=LABELS,
    annotations={"summary": "the shop is down", "description": "rate is 100%", "runbook_url": "https://wiki/down"},
    why="rate is 100%",
    starts_at=1_800_000_000.25,
    page_url="http://perfmon:10737/",
)
HOSTILE = "x\r\nBcc: all@evil.example\r\n\r\n<script>alert('1')</script>\x1b[2J\u202e\u2028"


def over(notice, **kwargs):
    return Notice(**({name: getattr(notice, name) for name in notice.__struct_fields__} | kwargs))


def config(**kwargs):
    return mail.Config(**({"to": ["ops@example.org"], "from_": "perfmon <perfmon@example.org>", "host": "h"} | kwargs))


class Inbox:
    """What the server took, and what it answers."""

    def __init__(self):
        self.mails = []
        self.replies = {}  # "MAIL", "RCPT", "DATA" -> reply

    async def handle_MAIL(self, _server, _session, envelope, address, _options):  # noqa: N802 - aiosmtpd calls it so
        envelope.mail_from = address
        return self.replies.get("MAIL", "250 OK")

    async def handle_RCPT(self, _server, _session, envelope, address, _options):  # noqa: N802 - aiosmtpd calls it so
        envelope.rcpt_tos.append(address)
        return self.replies.get(address, self.replies.get("RCPT", "250 OK"))

    async def handle_DATA(self, _server, session, envelope):  # noqa: N802 - aiosmtpd calls it so
        reply = self.replies.get("DATA", "250 queued as 7")
        if reply.startswith("2"):
            parsed = email.message_from_bytes(envelope.content, policy=email.policy.default)
            self.mails.append((session, envelope.rcpt_tos, parsed))
        return reply


def authenticate(_server, _session, _envelope, _mechanism, data):
    return AuthResult(success=(data.login, data.password) == (b"me", b"p4ssw0rd"), handled=False)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def server(authority):
    """A real server with STARTTLS and a log-in, both demanded."""
    inbox = Inbox()
    controller = Controller(
        inbox,
        hostname="127.0.0.1",
        port=0,
        tls_context=authority.context("127.0.0.1"),
        require_starttls=True,
        authenticator=authenticate,
        auth_required=True,
        ready_timeout=20,
    )
    with started(controller) as port:
        yield inbox, port


@contextlib.contextmanager
def started(controller):
    """Its port. aiosmtpd connects to the port that it was given to see that it is there, so 0 will not do."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        controller.port = sock.getsockname()[1]
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


@pytest.fixture
def inbox(server):
    inbox, _ = server
    inbox.mails.clear()
    inbox.replies.clear()
    return inbox


@pytest.fixture
def settings(server, authority):
    return {
        "host": "127.0.0.1",
        "port": server[1],
        "username": "me",
        "password": "p4ssw0rd",
        "tls_config": Tls(ca_file=authority.file),
    }


# ---------------------------------------------------------------- the letter


def test_the_end_and_the_reminders_stand_in_the_thread_of_the_beginning():
    first, reminder, end = (
        mail.letter(notice, config())
        for notice in (
            FIRING,
            over(FIRING, reminder_at=FIRING.starts_at + 3600, annotations={"summary": "something else by now"}),
            over(FIRING, ends_at=FIRING.starts_at + 7260),
        )
    )

    assert f"<perfmon.{FIRING.fingerprint}.1800000000250@example.org>" == first["Message-ID"]
    assert 3 == len({first["Message-ID"], reminder["Message-ID"], end["Message-ID"]})
    for later in (reminder, end):
        assert (first["Message-ID"], first["Message-ID"]) == (later["In-Reply-To"], later["References"])
        assert f"Re: {first['Subject']}" == later["Subject"]
    assert "critical: ShopDown: http://shop/" == first["Subject"]
    assert first["Message-ID"] == mail.letter(FIRING, config())["Message-ID"], "a repetition is the same mail"


def test_it_says_what_since_when_and_how_long():
    def text(notice):
        return mail.letter(notice, config()).get_body(["plain"]).get_content()

    lines = text(FIRING).splitlines()
    assert ["ShopDown is firing", "the shop is down", ""] == lines[:3]
    assert "since        2027-01-15 08:00:00 UTC" in lines
    assert "runbook_url  https://wiki/down" in lines
    assert "perfmon      http://perfmon:10737/" in lines
    assert (
        "ShopDown still firing after 4h" == text(over(FIRING, reminder_at=FIRING.starts_at + 4 * 3600)).split("\n")[0]
    )
    assert "ShopDown resolved after 2m5s" == text(over(FIRING, ends_at=FIRING.starts_at + 125)).split("\n")[0]


def test_hostile_labels_make_neither_headers_nor_elements():
    notice = over(
        FIRING, labels=LABELS | {"target": HOSTILE, "<b>": "x"}, annotations={"summary": HOSTILE, "x_url": HOSTILE}
    )

    letter = email.message_from_bytes(mail.letter(notice, config()).as_bytes(), policy=email.policy.default)

    assert {"From", "To", "Subject", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"} == set(
        letter.keys()
    )
    assert "critical: ShopDown: x Bcc: all@evil.example <script>alert('1')</script> [2J" == letter["Subject"].strip()
    html = letter.get_body(["html"]).get_content()
    plain = letter.get_body(["plain"]).get_content()
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert 'href="x' not in html
    for steering in "\x1b\r\u202e\u2028":
        assert steering not in html.replace("\r\n", "\n")
        assert steering not in plain.replace("\r\n", "\n")


def test_a_letter_to_several_names_them_all_and_each_has_a_queue():
    whole = config(to=["Ops <ops@example.org>", "boss@example.org"])

    parts = mail.split(whole)

    assert ["ops@example.org", "boss@example.org"] == list(parts)
    assert {"Ops <ops@example.org>, boss@example.org"} == {mail.letter(FIRING, part)["To"] for part in parts.values()}


@pytest.mark.parametrize(
    ("kwargs", "path"),
    [
        ({"to": []}, "to"),
        ({"to": ["nobody"]}, "to[0]"),
        ({"to": ["a@b\r\nBcc: c@d"]}, "to[0]"),
        ({"to": ["a@b", "A <a@b>"]}, "to[1]"),
        ({"from_": "x"}, "from"),
        ({"host": "a b"}, "host"),
        ({"host": "localhost:25"}, "host"),
        ({"port": 70000}, "port"),
        ({"username": "me"}, "username"),
        ({"username": "me", "password": "p", "tls": "none"}, "password"),
        ({"tls_config": Tls(key_file="k")}, "tls_config.key_file"),
        ({"timeout": 0}, "timeout"),
    ],
)
def test_mistakes_in_the_settings_are_said(kwargs, path):
    assert [path] == [where for where, _ in mail.check(config(**kwargs))]
    assert [] == list(mail.check(config()))


# ---------------------------------------------------------------- a real server


def test_it_goes_over_starttls_with_a_log_in_and_arrives_whole(inbox, settings):
    said = mail.notify([FIRING], config(to=["ops@example.org", "boss@example.org"], **settings))

    assert f"127.0.0.1:{settings['port']}: 250 queued as 7" == said
    assert [["ops@example.org"], ["boss@example.org"]] == [recipients for _, recipients, _ in inbox.mails]
    session, _, got = inbox.mails[0]
    assert session.ssl is not None
    assert session.authenticated
    sent = mail.letter(FIRING, config(to=["ops@example.org", "boss@example.org"]))
    assert sent.get_body(["html"]).get_content() == got.get_body(["html"]).get_content().replace("\r\n", "\n")
    assert sent["Message-ID"] == got["Message-ID"]
    assert got["Date"]


def test_it_goes_over_tls_from_the_beginning(authority):
    inbox = Inbox()
    controller = Controller(inbox, hostname="127.0.0.1", port=0, ssl_context=authority.context("127.0.0.1"))
    with started(controller) as port:
        tls = Tls(ca_file=authority.file)
        mail.notify([FIRING], config(host="127.0.0.1", port=port, tls="tls", tls_config=tls))

    assert 1 == len(inbox.mails)


@pytest.mark.parametrize(
    ("step", "reply", "expected"),
    [
        ("MAIL", "451 try later", PassingError),
        ("RCPT", "450 greylisted", PassingError),
        ("RCPT", "550 no such user", PermanentError),
        ("DATA", "452 disk full", PassingError),
        ("DATA", "554 spam", PermanentError),
    ],
)
def test_a_4xx_may_heal_and_a_5xx_does_not(inbox, settings, step, reply, expected):
    inbox.replies[step] = reply

    with pytest.raises(expected, match=f": {reply}$"):
        mail.notify([FIRING], config(**settings))

    assert [] == inbox.mails


def test_a_wrong_password_and_a_wrong_certificate_may_heal_and_are_shown_nowhere(inbox, settings):
    with pytest.raises(PassingError, match="535") as caught:
        mail.notify([FIRING], config(**settings | {"password": "s3cr3t-w0rd"}))
    assert "s3cr3t" not in str(caught.value)
    with pytest.raises(PassingError, match="no trusted TLS connection"):
        mail.notify([FIRING], config(**settings | {"tls_config": Tls()}))


def test_a_server_without_starttls_is_told_nothing():
    inbox = Inbox()
    with started(Controller(inbox, hostname="127.0.0.1", port=0)) as port:
        plain = {"host": "127.0.0.1", "port": port}
        with pytest.raises(PassingError, match="starttls"):
            mail.notify([FIRING], config(**plain))
        mail.notify([FIRING], config(**plain, tls="none"))

    assert 1 == len(inbox.mails)


def test_nobody_there_and_nobody_who_speaks_may_heal():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(PassingError, match=r"no answer within 0\.1 s"):
            mail.notify([FIRING], config(host="127.0.0.1", port=port, timeout=0.1))
    with pytest.raises(PassingError, match="connection refused"):
        mail.notify([FIRING], config(host="127.0.0.1", port=port, timeout=0.5))


def test_what_was_taken_is_taken_however_the_connection_ends():
    """A server that says nothing more after the mail: another try would be another page."""

    def serve(listener):
        client, _ = listener.accept()
        with client, client.makefile("rb") as lines:
            client.sendall(b"220 here\r\n")
            for line in lines:
                if line.startswith(b"data"):
                    client.sendall(b"354 go on\r\n")
                    while next(lines) != b".\r\n":
                        pass
                    client.sendall(b"250 taken\r\n")
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(b"250 fine\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        said = mail.notify([FIRING], config(host="127.0.0.1", port=listener.getsockname()[1], tls="none"))
        thread.join()

    assert said.endswith(": 250 taken")
