"""Chats by Apprise: through its json:// to a local server."""

import subprocess
import sys

import pytest
from listener import Answer, Listener

from perfmon.errors import PassingError, PermanentError
from perfmon.receivers import Notice, apprise

# What it does at its import on Python 3.11 is its own affair.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

FIRING = Notice(
    labels={"alertname": "ShopDown", "severity": "critical", "target": "http://shop/"},
    annotations={"summary": "the shop is down", "description": "rate is 100%", "runbook_url": "https://wiki/down"},
    why="rate is 100%",
    starts_at=1_800_000_000.0,
    page_url="http://perfmon:10737/",
)
OVER = Notice(labels=FIRING.labels, annotations=FIRING.annotations, why="", starts_at=0.0, ends_at=125.0)


@pytest.fixture
def listener():
    with Listener() as listener:
        yield listener


def config(listener, key="t0ken-of-the-room"):
    return apprise.Config(urls=[f"{listener.url.replace('http', 'json')}/{key}"])


def test_a_message_arrives_with_its_title_its_words_and_how_bad_it_is(listener):
    apprise.notify([FIRING, OVER], config(listener))

    bodies = [request.body for request in listener.requests]
    assert ["ShopDown firing", "ShopDown resolved after 2m5s"] == [body["title"] for body in bodies]
    assert ["failure", "success"] == [body["type"] for body in bodies]
    assert "the shop is down\nrate is 100%\nhttps://wiki/down\nhttp://perfmon:10737/" == bodies[0]["message"]


@pytest.mark.parametrize(
    ("status", "expected"), [(500, PassingError), (429, PassingError), (401, PermanentError), (404, PermanentError)]
)
def test_what_may_heal_is_told_from_what_does_not_and_the_address_is_not_shown(listener, status, expected):
    listener.answer = lambda _request: Answer(status)

    with pytest.raises(expected) as caught:
        apprise.notify([FIRING], config(listener))

    assert f"apprise could not tell json: answered {status}" == str(caught.value)


def test_nobody_there_may_heal():
    with Listener() as gone:
        pass
    with pytest.raises(PassingError, match=r"^apprise could not tell json$"):
        apprise.notify([FIRING], config(gone))


def test_an_address_that_apprise_does_not_understand_is_said_without_it():
    with pytest.raises(PermanentError, match=r"^apprise does not understand the address nonsense://\.\.\.$"):
        apprise.notify([FIRING], apprise.Config(urls=["nonsense://t0ken"]))


def test_each_address_has_a_queue_under_a_name_without_secrets():
    parts = apprise.split(apprise.Config(urls=["tgram://t0ken/chat", "json://x/", "tgram://other/chat"]))

    assert ["tgram #1", "json #2", "tgram #3"] == list(parts)


def test_mistakes_in_the_settings_are_said():
    def check(*urls):
        return [path for path, _ in apprise.check(apprise.Config(urls=list(urls)))]

    assert ["urls"] == check()
    assert ["urls[1]"] == check("json://a", "nonsense")
    assert ["urls[1]"] == check("json://a", "json://a")


def test_it_is_loaded_by_whoever_is_told_and_by_nobody_else():
    script = "import sys\nfrom perfmon.receivers import apprise\nlist(apprise.check(apprise.Config(urls=['json://a'])))\nprint('apprise' in sys.modules)"

    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert "False\n" == ended.stdout
