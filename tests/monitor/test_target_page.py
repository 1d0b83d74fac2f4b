"""The page of one probe in headless Chromium, as a person meets it; behind it is a hand-written view."""

import json
import time
from urllib.parse import quote, urlsplit

import pytest
from browser import chromium
from test_page import ASK_NOW, CONTRAST, LOOKS
from watched import REFUSED, WatchedView, alert, explained, hostile, house, probe, spell
from web_face import served

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def new_tab(request):
    binary = request.getfixturevalue("binary")("chromium")
    with chromium(binary) as new:
        yield new


@pytest.fixture
def visit(new_tab):
    """Open the page of a probe; when the test is over the page must have done nothing wrong."""
    visited = []

    def open_page(address, key, *, run="", **look):
        tab = new_tab(**look)
        tab.open(f"http://{address}/target?key={quote(key, safe='')}{run and f'&run={run}'}")
        tab.until("document.getElementById('footer')?.textContent.startsWith('perfmon')")
        visited.append((tab, address))
        return tab

    yield open_page
    for tab, address in visited:
        tab.send("Page.stopLoading")
        assert [] == [error for error in tab.errors if "ERR_CONNECTION_REFUSED" not in error]
        assert {address} == {urlsplit(url).netloc for url in tab.urls if url.startswith("http")}


def checkout(view):
    return next(one for one in view.probes if one["probe"] == "checkout")


@pytest.mark.parametrize(("width", "dark"), LOOKS)
def test_a_failing_probe_says_why_since_when_and_how_often_and_fits_the_screen(visit, width, dark):
    view = WatchedView(*house())
    with served(view) as address:
        tab = visit(address, checkout(view)["key"], width=width, dark=dark)
        tab.ask("document.getElementById('run').click()")
        tab.until("document.querySelector('.explanation') !== null")
        tab.ask("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        text, title = tab.text(), tab.ask("document.title")
        unreadable = tab.ask(CONTRAST)
        overflow = tab.ask("document.documentElement.scrollWidth - innerWidth")

    expected = [
        "checkout",
        "https://checkout.internal:8443/health",
        "failing for ",
        "every 15 s",
        "http_2xx (http)",
        "connection refused by 127.0.0.1:8443 (connect), 12 times in a row",
        "ProbeDown",
        "100 % of runs failed over 1 min, expected less than 50 %",
        "Latency, last hour",
        "Last runs, by phase",
        "12 times in a row from ",
        "It counts in no figure, no metric and no alert.",
        "Where the time went",
        "labelsteam=pay",
        "prober: http",
    ]
    assert -1 not in [text.find(words) for words in expected]
    assert expected == sorted(expected, key=text.find)
    assert "failing · checkout · perfmon" == title
    assert [] == unreadable
    assert 0 == overflow


def test_a_change_of_state_shows_by_itself(visit):
    view = WatchedView([probe("shop", "http://shop/")])
    with served(view) as address:
        tab = visit(address, "shop/http://shop/")
        assert "up for 3 h 10 min" in tab.text("#facts")
        assert tab.ask("document.getElementById('trouble').hidden")
        view.probes[0] = probe("shop", "http://shop/", state="down", since_s=2, failure=REFUSED)
        view.known_alerts = [alert("ShopDown", labels={"probe": "shop"}, why="1 of 1 runs failed")]
        tab.until("document.getElementById('facts').innerText.startsWith('failing for ')", meanwhile=ASK_NOW)

        assert "ShopDown" in tab.text("#alerts")
        assert 1 == tab.ask("document.querySelectorAll('.failure').length")
        assert "failing · shop · perfmon" == tab.ask("document.title")


def test_the_chart_is_read_by_pointer_and_by_arrows(visit):
    one = probe("shop", "http://shop/")
    one["history"][29] |= {"runs": 4, "failures": 2, "p50": 0.02, "max": 0.35}
    with served(WatchedView([one])) as address:
        tab = visit(address, one["key"])
        whole = tab.text(".latency .readout")
        tab.ask(
            "(e => { const box = e.getBoundingClientRect(); e.dispatchEvent(new PointerEvent('pointermove', {clientX: box.left + box.width * 29.5 / 60})); })(document.querySelector('.plot'))"
        )
        pointed = tab.text(".latency .readout")
        tab.ask("document.querySelector('.plot').focus()")
        for key in ("ArrowRight", "ArrowLeft"):
            tab.press(key)
        stepped = tab.text(".latency .readout")
        marks = tab.ask("document.querySelector('.plot .marks').getAttribute('d').includes('M29 100v-50h1')")

    assert whole.endswith(", the slowest took 350 ms")
    assert pointed.endswith("4 runs, 2 failed, p50 20.0 ms, p95 38.0 ms, p99 46.0 ms, slowest 350 ms")
    assert pointed == stepped
    assert marks


def test_settings_have_labels_and_tags(visit):
    one = probe("shop", "http://shop/", labels={"group": "pay", "region": "eu"}) | {"tags": ["night", "core"]}
    with served(WatchedView([one])) as address:
        settings = visit(address, one["key"]).text("#settings")

    assert "labelsgroup=pay  region=eutagsnight  core" in settings
    assert "every 15 s, given 5 s at most, failed when 2 of 3 tries failed, 0.50 s apart" in settings


def test_failures_unfold_with_what_came(visit):
    one = probe("shop", "http://shop/", failure=("status", "processing", "status 503, expected 2xx"))
    older = one["last_failure"] | {
        "reason": "timeout",
        "message": "no answer after 5s",
        "at": one["last_failure"]["at"] - 900,
    }
    one["spells"] = [spell(one["last_failure"], 1, status="503", body="gone\n"), spell(older, 7)]
    with served(WatchedView([one])) as address:
        tab = visit(address, one["key"])
        heads = tab.ask("[...document.querySelectorAll('.failure .what')].map((e) => e.textContent)")
        opened = tab.ask("[...document.querySelectorAll('.failure details')].map((e) => e.open)")
        evidence = tab.text(".failure .detail-facts")

    assert [
        "wrong status: status 503, expected 2xx (processing)",
        "timed out: no answer after 5s (processing)",
    ] == heads
    assert [True, False] == opened
    assert "took1.10 ms, connect 1.10 msaddress127.0.0.1status503bodygone" == evidence


# ---------------------------------------------------------------- running it


def test_a_run_by_keyboard_shows_each_step_and_what_was_expected(visit):
    view = WatchedView([probe("shop", "http://shop/")])
    with served(view) as address:
        tab = visit(address, "shop/http://shop/")
        tab.ask("document.getElementById('run').focus()")
        tab.press("Enter")
        tab.until("document.querySelector('.explanation') !== null")
        text = tab.text(".explanation")
        demands = tab.ask("[...document.querySelectorAll('.demands li')].map((e) => e.textContent)")
        bars = tab.ask("[...document.querySelectorAll('.bar-of-time')].map((e) => [e.style.marginLeft, e.style.width])")

        assert ["shop/http://shop/"] == view.ran
        assert [
            "metstatus codegot 200expected 2xx",
            "not metbody matchesgot <img src=x onerror=window.pwned=2>expected nope",
        ] == demands
        assert ["0%", "93.3"] == [bars[0][0], bars[1][1][:4]]
        for words in (
            "Succeeded in 30.0 ms of 5.00 s",
            "Authorization: <secret>",
            "127.0.0.1, ::1; used 127.0.0.1",
            "CN=Testing CA",
            "30 days left",
        ):
            assert words in text
        assert "Run it again" == tab.text("#run")
        assert [None, 1, 0] == tab.ask("[window.pwned ?? null, document.scripts.length, document.images.length]")


def test_a_run_that_fails_shows_its_evidence(visit):
    view = WatchedView([one := probe("shop", "http://shop/")])
    failure = {
        "reason": "status",
        "phase": "processing",
        "message": "status 503, expected 2xx",
        "evidence": {"body": "gone"},
    }
    view.explanation = explained(one, failure=failure)
    with served(view) as address:
        tab = visit(address, one["key"])
        tab.ask("document.getElementById('run').click()")
        tab.until("document.querySelector('.explanation') !== null")

        for words in (
            "Failed in 30.0 ms",
            "status 503, expected 2xx",
            "wrong status [status] in processing",
            "bodygone",
        ):
            assert words in tab.text(".verdict")


def test_a_run_that_is_refused_says_why(visit):
    view = WatchedView([probe("shop", "http://shop/")])
    view.refusal = "a run of this check is under way"
    with served(view) as address:
        tab = visit(address, "shop/http://shop/")
        tab.ask("document.getElementById('run').click()")
        tab.until("!document.getElementById('run-said').hidden")

        assert "a run of this check is under way" == tab.text("#run-said")
        assert False is tab.ask("document.getElementById('run').disabled")
        tab.errors[:] = [error for error in tab.errors if "status of 429" not in error]


# ---------------------------------------------------------------- from and to, and hostile


def test_a_row_of_the_page_of_all_leads_there_and_back(visit, new_tab):
    view = WatchedView([probe("shop", "http://shop/a?b=1&c=%2F#d")])
    with served(view) as address:
        tab = new_tab()
        tab.open(f"http://{address}/")
        tab.until("document.querySelector('.more')?.href")
        tab.ask("document.querySelector('.more').click()")
        tab.until("document.getElementById('address')?.textContent === 'http://shop/a?b=1&c=%2F#d'")
        tab.ask("document.querySelector('a.wordmark').click()")
        tab.until("document.querySelector('#probe-rows .title')?.textContent === 'shop'")

        assert [] == tab.errors


@pytest.mark.parametrize("width", [1280, 390])
def test_names_headers_and_bodies_that_are_markup_are_only_text(visit, width):
    probes, samplers, alerts = hostile()
    view = WatchedView(probes, samplers, alerts)
    for one in probes:
        name = one["probe"]
        failure = {"reason": name, "phase": name, "message": name, "evidence": {name: name}}
        one["spells"] = [spell(one["last_failure"] | {"message": name}, 2, **{name: name})]
        steps = [
            {"step": "exchange", "url": name, "address": name, "sent": [name], "received": [name], "error": name},
            {"step": "said", "at_s": 0.0, "by": "target", "text": name},
            {"step": "demand", "name": name, "expected": name, "got": name, "met": False},
            {"step": "look_up", "host": name, "addresses": [name], "used": name, "error": name},
        ]
        view.explanation = explained(one, failure=failure, steps=steps)
        with served(view) as address:
            tab = visit(address, one["key"], width=width)
            tab.ask("document.getElementById('run').click()")
            tab.until("document.querySelector('.explanation') !== null")
            tab.ask("document.querySelectorAll('details').forEach((all) => { all.open = true; })")
            time.sleep(0.05)

            assert name.strip() in tab.text("#target")
            assert [None, 1, 0] == tab.ask("[window.pwned ?? null, document.scripts.length, document.images.length]")
            assert {"http:"} == set(tab.ask("[...document.links].map((link) => new URL(link.href).protocol)"))
            assert 0 == tab.ask("document.documentElement.scrollWidth - innerWidth"), name


def test_a_minute_without_neighbours_is_a_dash_as_wide_as_it_is(visit):
    """As after a start, where a dot would hardly be seen."""
    one = probe("shop", "http://shop/")
    one["history"] = one["history"][-1:]
    with served(WatchedView([one])) as address:
        drawn = "[...document.querySelectorAll('.plot :is(.p50, .p95, .p99)')].map((one) => one.getBoundingClientRect().width)"
        *lines, plot = visit(address, one["key"]).ask(
            f"[...{drawn}, document.querySelector('.plot').getBoundingClientRect().width]"
        )

    assert 3 == len([width for width in lines if plot / 61 <= width <= plot / 8])


def test_a_probe_that_is_not_watched_is_said(visit):
    with served(WatchedView([probe("shop", "http://shop/")])) as address:
        tab = visit(address, "<script>window.pwned=1</script>")
        tab.until("document.getElementById('name').textContent === 'No such probe'")

        assert "perfmon does not watch it, or watches it no longer." == tab.text("#facts")
        assert tab.ask("document.getElementById('target').hidden && document.getElementById('banner').hidden")
        tab.errors[:] = [error for error in tab.errors if "status of 404" not in error]


def test_a_daemon_that_is_gone_is_said_and_its_return_too(visit):
    view = WatchedView([probe("shop", "http://shop/")])
    with served(view) as address:
        tab = visit(address, "shop/http://shop/")
    tab.until(
        "document.getElementById('banner').innerText.includes('perfmon does not answer since ')", meanwhile=ASK_NOW
    )
    assert "no answer · shop · perfmon" == tab.ask("document.title")
    with served(view, address):
        tab.until("document.getElementById('banner').hidden", meanwhile=ASK_NOW)
    assert json.dumps("shop") in json.dumps(tab.text("h1"))


def test_the_run_of_an_exemplar_is_shown_and_stays_when_it_is_not_kept_any_more(visit):
    one = probe("shop", "http://shop/")
    view = WatchedView([one])
    run = {"id": "1c291ca3-1", "key": one["key"], "at": time.time() - 60, "success": False, "reason": "timeout"}
    view.known_runs["1c291ca3-1"] = run | {"duration_s": 5.0, "phases": {"connect": 0.5, "processing": 4.5}}
    with served(view) as address:
        tab = visit(address, one["key"], run="1c291ca3-1")
        shown = tab.text("#sought")
        bars = tab.ask("[...document.querySelectorAll('#sought .stack span')].map((e) => e.className)")
        view.known_runs["1c291ca3-1"] = run | {"duration_s": None, "success": None, "phases": None, "reason": None}
        view.probes[0] = probe("shop", "http://shop/", state="down", since_s=2, failure=REFUSED)
        tab.until("document.getElementById('facts').innerText.startsWith('failing for ')", meanwhile=ASK_NOW)
        later = tab.text("#sought")
        known_late = visit(address, one["key"], run="1c291ca3-1").text("#sought")

    assert "failed after 5.00 s, connect 500 ms, processing 4.50 s; timed out" in shown
    assert ["connect", "processing"] == bars
    assert shown == later
    assert "this one is none of these any more" in known_late


# ---------------------------------------------------------------- months


def test_months_are_shares_strips_and_incidents_in_words(visit):
    view = WatchedView(*house())
    with served(view) as address:
        tab = visit(address, checkout(view)["key"])
        uptime = tab.ask(
            "[...document.querySelectorAll('#uptime div')].map((one) => one.innerText.replace('\\n', ' '))"
        )
        labels = tab.ask("[...document.querySelectorAll('.cells')].map((one) => one.ariaLabel)")
        incidents = tab.ask("[...document.querySelectorAll('.incident')].map((one) => one.innerText)")
        viewed = tab.ask("[...document.querySelectorAll('.cells .strip')].map((one) => one.getAttribute('viewBox'))")

    assert ["1 h 57.91 %", "24 h 98.17 %", "7 d", "30 d", "90 d"] == [
        *uptime[:2],
        *(one[:4].strip() for one in uptime[2:]),
    ]
    assert ["0 0 96 10", "0 0 90 10"] == viewed
    assert labels[0].startswith("Last 24 hours: 5,520 runs, 101 failed, in 2 quarters of an hour, the last ")
    assert labels[1].startswith("Last 90 days: 172,800 runs, ")
    assert incidents[0].startswith("down since ")
    assert "(7 min)" in incidents[1]
    assert "connection refused (connect), 28 runs" in incidents[1]
    assert "p95 before 12.0 ms" in incidents[1]


def test_a_strip_is_read_by_arrows(visit):
    view = WatchedView(*house())
    with served(view) as address:
        tab = visit(address, checkout(view)["key"])
        tab.ask("document.querySelector('.cells').focus()")
        tab.press("ArrowLeft")
        newest = tab.text(".past .readout")
        tab.press("ArrowLeft")
        before = tab.text(".past .readout")
        tab.ask("document.querySelectorAll('.cells')[1].focus()")

    assert newest.endswith(": 60 runs, 60 failed (100 %)")
    assert before.endswith(": 60 runs, 41 failed (68.33 %)")


def test_maintenance_is_marked_in_the_last_day(visit):
    view = WatchedView(*house())
    view.maintenance = [{"name": "move", "since": time.time() - 3_000, "until": time.time() + 3_000}]
    with served(view) as address:
        tab = visit(address, checkout(view)["key"])
        cells = tab.ask("document.querySelector('.cells .kept').getAttribute('d').split('z').length - 1")
        tab.ask("document.querySelector('.cells').focus()")
        tab.press("ArrowLeft")
        newest = tab.text(".past .readout")

    assert cells in (4, 5)
    assert newest.endswith("60 failed (100 %); maintenance")
