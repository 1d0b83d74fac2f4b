"""What outsiders are shown: what was chosen, in plain words, and nothing else."""

import asyncio
import re
import xml.etree.ElementTree as ET
from typing import get_args

import msgspec
import pytest
from outsiders import INSIDE, REFUSED, STATUS, Client, Street, check, street

from perfmon.clock import iso
from perfmon.maintenance import Maintenance, dates
from perfmon.model import Reason
from perfmon.monitor import public
from perfmon.monitor.components import WORDS
from perfmon.monitor.server import app, public_app

PATHS = ["/", "/status", "/status.json", "/status.atom", "/status.css"]
BADGES = ["/badge/uptime?key=shop&period=7d", "/badge/state?key=till", "/badge/latency?key=mail"]


def alone(view):
    return Client(public_app(view))


def components(view):
    return {one["key"]: one for one in alone(view).get("/status.json").json()["components"]}


def test_nothing_but_what_was_chosen_leaves():
    outside = alone(street())
    answers = [outside.get(path) for path in PATHS + BADGES]
    texts = "\n".join(answer.text + str(answer.headers) for answer in answers).replace("http://www.w3.org", "")

    assert {200} == {answer.status_code for answer in answers}
    assert [] == [word for word in INSIDE if word in texts.replace("12.3 ms", "")]
    assert "Example Shop" in texts


@pytest.mark.parametrize(
    "path",
    ["/metrics", "/api/v1/targets", "/api/v1/alerts", "/config", "/logs?id=1", "/probe?target=x", "/target?key=shop",
     "/page/page.js", "/-/reload", "/-/healthy", "/group", "/status/", "/..%2f", "/badge/uptime/../../metrics"],
)  # fmt: skip
def test_alone_it_serves_nothing_else(path):
    assert 404 == alone(street()).get(path).status_code


@pytest.mark.parametrize("key", ["warehouse", "warehouse/http://warehouse.internal/", "till/10.11.12.13:8443", "", "x"])
def test_outside_no_badge_tells_whether_what_is_not_shown_exists(key):
    answers = [alone(street()).get(f"/badge/{kind}", params={"key": key}) for kind in ("uptime", "state", "latency")]
    unknown = alone(street()).get("/badge/state?key=there-is-none")

    assert {(404, unknown.text)} == {(answer.status_code, answer.text) for answer in answers}


def test_inside_a_badge_is_of_any_probe_and_of_any_target():
    inside = Client(app(street()))

    assert "warehouse: down" in inside.get("/badge/state?key=warehouse").text
    assert "till: down" in inside.get("/badge/state", params={"key": "till/10.11.12.13:8443"}).text


def test_without_a_public_page_there_is_none():
    view = Street()
    view.settings = None

    assert [404, 404, 404] == [
        alone(view).get(path).status_code for path in ("/", "/status.json", "/badge/state?key=x")
    ]


def test_a_line_is_a_probe_with_all_its_targets():
    shown = components(street())

    assert {"shop": "degraded", "till": "down", "mail": "up", "new": "unknown"} == {
        key: one["state"] for key, one in shown.items()
    }
    assert 1 - 10 / 40 == shown["shop"]["uptime"]["1h"]
    assert 90 == len(shown["shop"]["days"]["failed"])
    assert 0.052 == shown["shop"]["days"]["failed"][-10]
    assert None is shown["new"]["uptime"]["90d"]


def test_no_period_is_told_of_which_no_more_is_known_than_of_a_shorter_one():
    view = Street()
    view.add(check("new", "1"), None)
    view.add(check("weeks", "2"), None, days=[(20, 5760, 60), (3, 5760, 0)])
    told = {name: re.findall(r"<dt>(.*?)</dt>", line) for name, line in _lines(alone(view).get("/").text)}

    assert {"new": ["24 h"], "weeks": ["24 h", "7 d", "30 d"]} == told


def _lines(page):
    return re.findall(r"<h3>(.*?)</h3>(.*?)</li>", page, re.DOTALL)


def test_addresses_are_shown_when_that_is_asked_for():
    view = street(show_target=True)
    shown = components(view)
    page = alone(view).get("/status").text

    assert "shop/http://a.secret.internal:8443/" in shown
    assert "http://b.secret.internal:8443/" in page
    assert "warehouse" not in page


def test_incidents_are_in_words_of_people_and_single_runs_are_none():
    view = Street()
    view.add(check("a", "1"), None, *[REFUSED] * 8, *[STATUS] * 4, None)
    view.add(check("b", "1"), None, REFUSED, None)
    view.add(check("c", "1"), None, *[REFUSED] * 9)
    shown = components(view)

    assert [("not reachable, then errors in its answers", 180)] == [
        (one["words"], one["ended_at"] - one["began_at"]) for one in shown["a"]["incidents"]
    ]
    assert [] == shown["b"]["incidents"]
    assert [None] == [one["ended_at"] for one in shown["c"]["incidents"]]


def test_incidents_of_several_targets_that_overlap_are_one():
    view = Street()
    for address, outcomes in (("1", (None, *[REFUSED] * 10, None)), ("2", (None, *[STATUS] * 6, *[None] * 5))):
        view.add(check("a", address), *outcomes)

    assert [("not reachable", 150)] == [
        (one["words"], one["ended_at"] - one["began_at"]) for one in components(view)["a"]["incidents"]
    ]


def test_every_reason_has_words_for_outsiders():
    assert set(get_args(Reason)) == WORDS.keys()


@pytest.mark.parametrize(
    ("outcomes", "sentence"),
    [
        ({}, "Nothing is known yet"),
        ({"a": [None]}, "All systems are up"),
        ({"a": [None], "b": []}, "All systems are up that are known, 1 not yet"),
        ({"a": [REFUSED], "b": [None]}, "1 of 2 is down"),
        ({"a": [REFUSED], "b": [REFUSED]}, "2 of 2 are down"),
    ],
)
def test_one_sentence_says_how_things_are(outcomes, sentence):
    view = Street()
    for name, runs in outcomes.items():
        view.add(check(name, "x"), *runs)

    assert sentence == alone(view).get("/status.json").json()["sentence"]


def test_of_too_many_those_that_are_up_are_left_out(monkeypatch):
    monkeypatch.setattr(public, "MOST_COMPONENTS", 3)
    view = Street()
    for name in "abcde":
        view.add(check(name, "x"), REFUSED if name in "be" else None)
    page = alone(view).get("/").text

    assert "2 of 5 are down" in page
    assert "2 more are not shown." in page
    assert {"b", "e"} < components(view).keys()


def test_maintenance_of_what_is_shown_is_announced_without_its_name():
    view = street()
    at = iso(view.clock.wall())[:11]
    view.windows = (
        Maintenance(name="secret move", when=dates(f"{at}07:00", f"{at}10:00", "UTC"), select={"probe": "s*"}),
        Maintenance(name="secret audit", when=dates(f"{at}20:00", f"{at}21:00", "UTC"), select={"probe": "till"}),
        Maintenance(name="secret", when=dates(f"{at}07:00", f"{at}21:00", "UTC"), select={"probe": "warehouse"}),
    )
    page, told = alone(view).get("/").text, alone(view).get("/status.json").json()["maintenance"]

    assert [["shop"], ["till"]] == [one["names"] for one in told]
    assert "under way until" in page
    assert [False, False] == ["secret" in page, "warehouse" in page]


EVIL = "<script>alert(1)</script>\"'&\u202eevil"


def test_hostile_names_are_text_on_the_page_in_the_feed_and_on_badges():
    view = Street(Street().settings)
    view.settings = msgspec.structs.replace(view.settings, title=EVIL, show_target=True)
    view.add(check(EVIL, "x<img src=y>", group=EVIL), None, *[REFUSED] * 9)
    outside = alone(view)
    page, feed = outside.get("/").text, outside.get("/status.atom").text
    svg = outside.get("/badge/state", params={"key": f"{EVIL}/x<img src=y>"})

    assert [False, False] == ["<script" in page, "<img" in page]
    assert EVIL.replace("\u202e", "�") == ET.fromstring(feed)[1].text
    assert 200 == svg.status_code
    assert [] == [one.tag for one in ET.fromstring(svg.text).iter() if one.tag.endswith(("script", "image", "style"))]


def test_a_badge_has_its_words_and_fits_them():
    root = ET.fromstring(alone(street()).get("/badge/uptime?key=till&period=1h").text)

    assert "till 1h: 4.76 %" == root.get("aria-label")
    assert int(root.get("width")) > 60


@pytest.mark.parametrize(
    ("path", "status"), [("/badge/uptime?key=shop&period=2h", 400), ("/badge/speed?key=shop", 404)]
)
def test_a_badge_that_is_none_says_what_there_is(path, status):
    answer = alone(street()).get(path)

    assert status == answer.status_code
    assert "expected a" in answer.text


def test_answers_may_be_cached_but_not_for_others_than_who_asked_and_badges_stand_in_other_sites():
    """`public` would let a proxy keep for everybody what it got with somebody's password."""
    outside = alone(street())
    page, badge = outside.get("/status.json"), outside.get(BADGES[0])

    assert ("max-age=30", "max-age=60") == (
        page.headers["cache-control"],
        badge.headers["cache-control"],
    )
    assert ("same-origin", "cross-origin") == tuple(
        answer.headers["cross-origin-resource-policy"] for answer in (page, badge)
    )
    assert 304 == outside.get("/status.json", headers={"If-None-Match": page.headers["etag"]}).status_code


async def test_it_is_made_once_however_many_ask():
    view = street()
    first, *others = await asyncio.gather(*(view.status() for _ in range(20)))
    view.clock.advance(6.0)

    assert all(one is first for one in others)
    assert first is not await view.status()


def test_the_feed_has_an_entry_for_each_incident_with_an_id_that_stays():
    view = street()
    ids = [entry[0].text for entry in ET.fromstring(alone(view).get("/status.atom").text).iter() if entry.tag.endswith("entry")]  # fmt: skip
    view.clock.advance(60.0)
    again = [entry[0].text for entry in ET.fromstring(alone(view).get("/status.atom").text).iter() if entry.tag.endswith("entry")]  # fmt: skip

    assert 3 == len(ids) == len(set(ids))
    assert ids == again
