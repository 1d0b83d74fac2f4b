"""The status page in headless Chromium, as a person meets it; behind it is a hand-written view."""

import json
import time
from urllib.parse import urlsplit

import pytest
from browser import chromium
from watched import REFUSED, WatchedView, alert, fleet, hostile, house, probe, sampler, series
from web_face import served

pytestmark = pytest.mark.servers

LOOKS = [(width, dark) for width in (1280, 390) for dark in (False, True)]
ASK_NOW = "document.dispatchEvent(new Event('visibilitychange'))"  # as when a tab comes to the front: no wait for the next turn
ROWS = "[...document.querySelectorAll('#probe-rows > .probe')]"


@pytest.fixture(scope="module")
def new_tab(request):
    binary = request.getfixturevalue("binary")("chromium")
    with chromium(binary) as new:
        yield new


@pytest.fixture
def visit(new_tab):
    """Open the page of a view; when the test is over the page must have done nothing wrong."""
    visited = []

    def open_page(address, **look):
        tab = new_tab(**look)
        tab.open(f"http://{address}/")
        tab.until("document.getElementById('footer')?.textContent.startsWith('perfmon')")
        tab.until(
            "document.querySelector('#probe-rows > .probe .word')?.innerText !== ''"
        )  # rows are laid out a frame later
        visited.append((tab, address))
        return tab

    yield open_page
    for tab, address in visited:
        tab.send("Page.stopLoading")
        assert [] == [error for error in tab.errors if "ERR_CONNECTION_REFUSED" not in error]
        assert {address} == {urlsplit(url).netloc for url in tab.urls if url.startswith("http")}


# ---------------------------------------------------------------- first sight


@pytest.mark.parametrize(("width", "dark"), LOOKS)
def test_it_says_first_what_is_wrong_and_fits_the_screen(visit, width, dark):
    with served(WatchedView(*house())) as address:
        tab = visit(address, width=width, dark=dark)
        first = tab.text(), tab.ask("document.title")
        unreadable = tab.ask(CONTRAST)
        overflow = tab.ask("document.documentElement.scrollWidth - innerWidth")
        background = tab.ask("getComputedStyle(document.body).backgroundColor")

    text, title = first
    expected = [
        "2 of 12 probes are failing",
        "2 alerts firing, 1 pending",
        "ProbeDown",
        "100 % of runs failed over 1 min, expected less than 50 %",
        "1 resolved in the last hour",
        "connection refused by 127.0.0.1:8443 (connect)",
        "Processes and hosts",
        "212 MiB",
        "0.31 cores",
        'no process has the name "nginx"',
    ]
    assert expected == sorted(expected, key=text.find)
    assert -1 not in [text.find(words) for words in expected]
    assert "2 of 12 failing · perfmon" == title
    assert [] == unreadable
    assert 0 == overflow
    assert dark == (sum(map(int, background[4:-1].split(", "))) < 3 * 128)


# Text whose contrast with what is behind it is under 4.5 to 1 (WCAG 2 AA), as [text, ratio].
CONTRAST = """(() => {
  const parse = (color) => (color.match(/[\\d.]+/g) ?? []).map(Number);
  const lum = ([r, g, b]) => { const f = (c) => { c /= 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
    return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b); };
  const behind = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] === 1) return c; }
    return [255, 255, 255]; };
  const low = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let checked = 0;
  for (let node; (node = walker.nextNode());) {
    if (!node.data.trim() || !node.parentElement.checkVisibility()) continue;
    checked += 1;
    const [a, b] = [lum(parse(getComputedStyle(node.parentElement).color)), lum(behind(node.parentElement))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) low.push([node.data, ratio]);
  }
  return checked > 100 ? low : ["too little text was checked", checked];
})()"""


@pytest.mark.parametrize(
    ("probes", "sentence", "title"),
    [
        ([], "Nothing is watched yet", "Nothing is watched yet · perfmon"),
        ([probe("a", "x")], "The probe is up", "up · perfmon"),
        ([probe("a", "x", state="down", failure=REFUSED)], "The probe is failing", "failing · perfmon"),
        ([probe("a", "x"), probe("b", "x")], "All 2 probes are up", "all 2 up · perfmon"),
        ([probe("a", "x", state="down", failure=REFUSED), probe("b", "x")], "1 of 2 probes is failing", "1 of 2 failing · perfmon"),
        ([probe(n, "x", state="down", failure=REFUSED) for n in "abc"], "All 3 probes are failing", "all 3 failing · perfmon"),
        ([probe("a", "x"), probe("b", "x", state="unknown")], "1 of 2 probes is up, 1 without a result yet", "1 of 2 up, 1 without a result yet · perfmon"),
        ([probe("a", "x", state="unknown")], "No probe has a result yet", "No probe has a result yet · perfmon"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_one_sentence_says_how_things_are(changing, probes, sentence, title):
    view, tab = changing
    view.probes = probes
    tab.until(f"document.querySelector('h1').textContent.trim() === {json.dumps(sentence)}", meanwhile=ASK_NOW)

    assert title == tab.ask("document.title")


@pytest.fixture(scope="module")
def changing(new_tab):
    """One view and one open page of it, for many small cases."""
    view = WatchedView([probe("first", "x"), probe("second", "x"), probe("third", "x"), probe("fourth", "x")])
    with served(view) as address:
        tab = new_tab()
        tab.open(f"http://{address}/")
        tab.until("document.querySelector('h1')?.textContent.includes('All 4')")
        yield view, tab


def test_a_page_without_data_says_how_to_get_some(visit):
    with served(WatchedView()) as address:
        assert "perfmon serve http://localhost:8080/" in visit(address, width=390).text("main")


def test_a_state_has_its_word_and_its_shape_beside_its_colour(visit):
    with served(WatchedView(*house())) as address:
        tab = visit(address)
        words = tab.ask(f"{ROWS}.map((row) => row.querySelector('.word').textContent)")
        shapes = tab.ask(f"{ROWS}.map((row) => getComputedStyle(row.querySelector('.mark')).clipPath !== 'none')")
        hollow = tab.ask(f"{ROWS}.map((row) => getComputedStyle(row.querySelector('.mark')).borderWidth !== '0px')")

    assert ["failing"] * 2 + ["no result"] + ["up"] * 9 == words
    assert [True] * 2 + [False] * 10 == shapes
    assert [False] * 2 + [True] + [False] * 9 == hollow


def test_figures_of_a_row(visit):
    one = probe("shop", "https://shop.example/", median_s=0.0123)
    one["last"] = {"at": time.time(), "duration_s": 0.02, "phases": {"connect": 0.005, "tls": 0.015}, "failure": None}
    one["success_ratio"] = 0.99996
    with served(WatchedView([one])) as address:
        tab = visit(address)
        texts = tab.ask(
            "['.p50', '.p95', '.p99', '.success', '.total'].map((s) => document.querySelector('#probe-rows ' + s).innerText)"
        )
        bar = tab.ask(
            "[...document.querySelectorAll('.bar > span')].map((e) => [e.className, Math.round(e.getBoundingClientRect().width / e.parentElement.getBoundingClientRect().width * 100)])"
        )
        said = tab.ask("document.querySelector('.bar').ariaLabel")
        since = tab.text(".since")

    assert ["12.3 ms", "23.4 ms", "51.7 ms", "99.99 %", "20.0 ms"] == texts
    assert ["connect", "tls"] == [phase for phase, _ in bar]
    assert pytest.approx([25, 75], abs=2) == [width for _, width in bar]
    assert "connect 5.00 ms, tls 15.0 ms" == said
    assert "for 3 h 10 min" == since


# ---------------------------------------------------------------- live


def test_a_change_of_state_shows_by_itself(visit):
    view = WatchedView(*house(trouble=False))
    with served(view) as address:
        tab = visit(address)
        assert "All 12 probes are up" == tab.text("h1").strip()
        green = tab.ask("document.getElementById('icon').href")
        tab.ask("document.querySelectorAll('#probe-rows > .probe')[5].kept = true")

        view.probes[5] = probe(
            "postgres", "127.0.0.1:5432", module="tcp_connect", state="down", since_s=1, failure=REFUSED
        )
        view.known_alerts = [alert("DatabaseDown", labels={"probe": "postgres"}, why="1 of 1 runs failed")]
        tab.until("document.querySelector('h1').innerText.includes('1 of 12 probes is failing')")

        assert tab.text("#probe-rows > .probe .name").startswith("postgres")
        assert tab.ask("document.querySelector('#probe-rows > .probe').kept"), "the row was moved, not made anew"
        assert "DatabaseDown" in tab.text("#alerts")
        assert "1 of 12 failing · perfmon" == tab.ask("document.title")
        assert green != tab.ask("document.getElementById('icon').href")

        view.probes[5] = probe("postgres", "127.0.0.1:5432", module="tcp_connect", since_s=1)
        view.known_alerts = []
        tab.until("document.querySelector('h1').innerText.includes('All 12 probes are up')", meanwhile=ASK_NOW)

        assert tab.ask("document.querySelectorAll('#probe-rows > .probe')[5].kept")
        assert tab.ask("document.getElementById('alerts').hidden")
        assert green == tab.ask("document.getElementById('icon').href")


def test_probes_come_and_go_with_a_reload(visit):
    view = WatchedView([probe("a", "x"), probe("b", "x")])
    with served(view) as address:
        tab = visit(address)
        view.probes = [probe("b", "x"), probe("c", "x")]
        tab.until(f"{ROWS}.map((row) => row.querySelector('.title').textContent).join() === 'b,c'", meanwhile=ASK_NOW)
        tab.until(
            "performance.getEntriesByType('resource').filter((e) => e.name.endsWith('minutes=60')).length === 2",
            meanwhile=ASK_NOW,
        )


def test_spans_tick_between_two_answers(visit):
    with served(WatchedView([probe("a", "x", since_s=5)])) as address:
        tab = visit(address)
        first = tab.text("#probe-rows .since")
        tab.until(f"document.querySelector('#probe-rows .since').textContent !== {json.dumps(first)}")
        asked = tab.ask("performance.getEntriesByType('resource').filter((e) => e.name.includes('/targets')).length")

    assert first.startswith("for ")
    assert 1 == asked


def test_the_whole_history_is_asked_once_and_then_the_newest(visit):
    view = WatchedView([probe("a", "x")])
    with served(view) as address:
        tab = visit(address)
        before = tab.ask("document.querySelector('.spark .line').getAttribute('d')")
        view.probes[0]["history"][-1]["p50"] = 9.0
        tab.until(
            f"document.querySelector('.spark .line').getAttribute('d') !== {json.dumps(before)}", meanwhile=ASK_NOW
        )
        after = tab.ask("document.querySelector('.spark .line').getAttribute('d')")

    assert [60, 3] == view.asked_minutes[:2]
    assert 60 == before.count(" ") == after.count(" ")


def test_a_daemon_that_has_just_begun_has_charts_of_ten_minutes(visit):
    one = probe("a", "x")
    for entry in one["history"][:-2]:
        entry |= {"runs": 0, "failures": 0, "p50": None, "max": None}
    with served(WatchedView([one])) as address:
        tab = visit(address)
        assert ["Median, last 10 min", "0 0 10 24"] == [
            tab.text("#trend-title"),
            tab.ask("document.querySelector('.spark').getAttribute('viewBox')"),
        ]
        assert tab.ask("document.querySelector('.spark').ariaLabel").startswith("last 10 min: 8 runs, ")


def test_a_daemon_that_is_gone_is_said_and_its_return_too(visit):
    view = WatchedView(*house())
    with served(view) as address:
        tab = visit(address)
        assert tab.ask("document.getElementById('banner').hidden")
    tab.until(
        "document.getElementById('banner').innerText.includes('perfmon does not answer since ')", meanwhile=ASK_NOW
    )
    assert "no answer · perfmon" == tab.ask("document.title")
    assert "2 of 12 probes are failing" == tab.text("h1").strip()
    with served(view, address):
        tab.until("document.getElementById('banner').hidden", meanwhile=ASK_NOW)
        assert "2 of 12 failing · perfmon" == tab.ask("document.title")


def test_a_daemon_that_answers_with_an_error_is_said(visit):
    view = WatchedView([probe("a", "x")])
    with served(view) as address:
        tab = visit(address)
        view.targets = None
        tab.until(
            "document.getElementById('banner').innerText.includes(': it answers 500. What is below is from then.')"
        )
        del view.targets
        tab.until("document.getElementById('banner').hidden", meanwhile=ASK_NOW)
        tab.errors[:] = [error for error in tab.errors if "status of 500" not in error]


# ---------------------------------------------------------------- groups


def grouped(group, *names, state="up"):
    return [
        probe(name, "x", state=state, failure=REFUSED if state == "down" else None) | {"group": group} for name in names
    ]


def test_groups_have_headings_and_those_with_failures_come_first(visit):
    probes = [
        *grouped("edge", "cdn"),
        *grouped("shop", "cart"),
        *grouped("shop", "pay", state="down"),
        probe("lone", "x"),
    ]
    with served(WatchedView(probes)) as address:
        tab = visit(address)
        headings = tab.ask(
            "[...document.querySelectorAll('.probe-group')].map((row) => row.innerText.split('\\n').join(' '))"
        )
        order = tab.ask(f"{ROWS}.map((row) => row.querySelector('.title').textContent)")

    assert ["shop 1 of 2 failing hide 1 that is up", "edge 1 up hide 1 that is up",
            "without a group 1 up hide 1 that is up"] == headings  # fmt: skip
    assert ["pay", "cart", "cdn", "lone"] == order


def test_without_any_group_there_are_no_headings(visit):
    with served(WatchedView([probe("a", "x"), probe("b", "x")])) as address:
        assert 0 == visit(address).ask("document.querySelectorAll('.probe-group').length")


def test_of_many_probes_a_group_shows_what_fails_until_it_is_unfolded(visit):
    with served(WatchedView([one | {"group": f"zone-{i % 2}"} for i, one in enumerate(fleet(100, down=4))])) as address:
        tab = visit(address)
        shown = f"{ROWS}.filter((row) => !row.hidden).length"
        assert 4 == tab.ask(shown)
        tab.ask("document.querySelector('.probe-group button').click()")
        assert 4 + 48 == tab.ask(shown)
        assert "true" == tab.ask("document.querySelector('.probe-group button').ariaExpanded")
        tab.ask("document.querySelector('#filter-states [data-state=up]').click()")
        assert 96 == tab.ask(shown), "who asks for what is up is shown all of it"


# ---------------------------------------------------------------- many, and hostile


@pytest.mark.alone
def test_a_thousand_probes_show_soon_and_update_in_place(visit, new_tab):
    view = WatchedView(fleet(1000))
    with served(view) as address:
        tab = new_tab()
        tab.send("Performance.setTimeDomain", timeDomain="threadTicks")  # CPU time, whatever else the machine does
        tab.send("Performance.enable")
        tab.open(f"http://{address}/")
        tab.until(f"{ROWS}.length === 1000")
        tab.ask("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        first_s = busy_s(tab)
        tab.ask("window.changes = 0; new MutationObserver((all) => { changes += all.length; })"
                ".observe(document.getElementById('probe-rows'), {subtree: true, childList: true, attributes: true, characterData: true})")  # fmt: skip
        view.probes[500] = view.probes[500] | {"p50": 0.5}
        before_s = busy_s(tab)
        tab.until(f"{ROWS}.some((row) => row.querySelector('.p50').textContent.includes('500 ms'))", meanwhile=ASK_NOW)
        update_s = busy_s(tab) - before_s
        changes = tab.ask("changes")

    assert first_s < 3.0  # of CPU; half a second on a quiet machine
    assert update_s < 0.9
    assert changes < 1000 + 50, "a 1,000 ticks of 'for 15 min' at most, and one row"
    assert [] == tab.errors


def busy_s(tab):
    metrics = {metric["name"]: metric["value"] for metric in tab.send("Performance.getMetrics")["metrics"]}
    return metrics["TaskDuration"]


def test_a_thousand_probes_can_be_filtered_by_text_and_state(visit):
    with served(WatchedView(fleet(1000))) as address:
        tab = visit(address)
        tab.press("/")
        for key in "SITE-09 region=eu":
            tab.press(key)
        shown = f"{ROWS}.filter((row) => !row.hidden).length"
        assert 34 == tab.ask(shown)
        tab.ask("document.querySelector('#filter-states [data-state=down]').click()")
        assert 0 == tab.ask(shown)
        assert "No probe matches “failing” “site-09 region=eu”." == tab.text("#probes-none")
        tab.ask("(e => { e.value = ''; e.dispatchEvent(new Event('input')); })(document.getElementById('filter-text'))")
        assert 3 == tab.ask(shown)
        assert "true" == tab.ask("document.querySelector('#filter-states [data-state=down]').ariaPressed")


@pytest.mark.parametrize("width", [1280, 390])
def test_names_that_are_markup_are_only_names(visit, width):
    with served(WatchedView(*hostile())) as address:
        tab = visit(address, width=width)
        tab.ask("document.querySelectorAll('.title').forEach((button) => button.click())")
        tab.ask("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        time.sleep(0.2)
        links = tab.ask("[...document.links].map((link) => new URL(link.href).protocol)")

        assert "<script>window.pwned=1</script>" in tab.text("#alerts")
        assert "<img src=x onerror=window.pwned=2>" in tab.text("#probes")
        assert "<img src=x onerror=window.pwned=2>" in tab.text("#samplers")
        assert [None, 1, 0] == tab.ask("[window.pwned ?? null, document.scripts.length, document.images.length]")
        assert {"http:"} == set(links)
        assert 0 == tab.ask("document.documentElement.scrollWidth - innerWidth")


# ---------------------------------------------------------------- a closer look


def test_a_row_unfolds_by_keyboard_to_all_that_is_known(visit):
    with served(WatchedView(*house())) as address:
        tab = visit(address)
        tab.ask("document.getElementById('filter-states').lastElementChild.focus()")
        tab.press("Tab")
        assert "checkout" == tab.ask("document.activeElement.innerText")
        tab.press("Enter")
        detail = tab.text(".detail")
        link = tab.ask("document.querySelector('.detail a').getAttribute('href')")
        expanded = tab.ask("document.activeElement.ariaExpanded")
        tab.press("Enter")

        for words in ("[connect_refused]", "127.0.0.1:8443", "team=pay", "every 15 s", "240 runs, "):
            assert words in detail
        assert "/probe?target=https%3A%2F%2Fcheckout.internal%3A8443%2Fhealth&module=http_2xx&debug=true" == link
        assert ("true", "false") == (expanded, tab.ask("document.activeElement.ariaExpanded"))
        assert "" == tab.text(".detail")


def test_the_chart_of_a_row_tells_the_minute_under_the_pointer(visit):
    one = probe("a", "x")
    one["history"][29] |= {"runs": 4, "failures": 2, "p50": 0.02, "max": 0.35}
    minute = time.strftime("%H:%M", time.localtime(one["history"][29]["t"]))
    with served(WatchedView([one])) as address:
        tab = visit(address, zone="UTC" if time.localtime().tm_gmtoff == 0 else "Europe/Berlin")
        tab.ask("document.querySelector('#probe-rows .title').click()")
        tab.ask(
            "(e => { const box = e.getBoundingClientRect(); e.dispatchEvent(new PointerEvent('pointermove', {clientX: box.left + box.width * 29.5 / 60})); })(document.querySelector('.hour .spark'))"
        )
        readout = tab.text(".readout")

    assert readout.endswith("4 runs, 2 failed, median 20.0 ms, slowest 350 ms")
    assert time.localtime().tm_gmtoff != 0 or readout.startswith(minute)


def test_times_are_in_the_zone_of_the_viewer(visit):
    one = alert("X", why="y")
    one["fired_at"] = 1_800_000_000.0
    view = WatchedView([probe("a", "x")], alerts=[one])
    with served(view) as address:
        here = {
            zone: visit(address, zone=zone).ask("document.querySelector('#alerts .since').title")
            for zone in ("Asia/Tokyo", "UTC")
        }

    assert {"Asia/Tokyo": "Fri, 15 Jan 2027, 17:00:00 GMT+9", "UTC": "Fri, 15 Jan 2027, 08:00:00 UTC"} == here


def test_a_sampler_of_an_unknown_kind_shows_its_first_series_and_the_rest_unfolded(visit):
    many = [series(f"acme_queue_{i}", float(i), unit="bytes", queue="mail") for i in range(7)]
    many[6] = many[6] | {"value": None, "history": []}
    with served(WatchedView(samplers=[sampler("queue", "acme", many)])) as address:
        tab = visit(address)
        tab.ask("document.querySelector('.rest summary').click()")
        tab.until("document.querySelector('.rest dl').children.length === 3")
        tiles = tab.ask("[...document.querySelectorAll('.tile')].map((tile) => tile.innerText.replace(/\\s+/g, ' '))")
        rest = tab.ask("[...document.querySelectorAll('.rest dl > div > *')].map((one) => one.textContent)")

    assert [f'acme_queue_{i}{{queue="mail"}} {i} B' for i in range(4)] == tiles
    assert [
        'acme_queue_4{queue="mail"}',
        "4 B",
        'acme_queue_5{queue="mail"}',
        "5 B",
        'acme_queue_6{queue="mail"}',
        "–",
    ] == rest


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("latency(0)", "0 ms"),
        ("latency(0.00042)", "0.42 ms"),
        ("latency(0.0099951)", "10.0 ms"),
        ("latency(0.0123)", "12.3 ms"),
        ("latency(0.09996)", "100 ms"),
        ("latency(0.9994)", "999 ms"),
        ("latency(0.9996)", "1.00 s"),
        ("latency(12.34)", "12.3 s"),
        ("latency(75)", "1 min"),
        ("latency(null)", "–"),
        ("span(0.9)", "0 s"),
        ("span(59.9)", "59 s"),
        ("span(60)", "1 min"),
        ("span(3599)", "59 min"),
        ("span(11520)", "3 h 12 min"),
        ("span(7200)", "2 h"),
        ("span(86400 * 5 + 7300)", "5 d 2 h"),
        ("span(-3)", "0 s"),
        ("share(1)", "100 %"),
        ("share(0)", "0 %"),
        ("share(0.99999)", "99.99 %"),
        ("share(0.29)", "29 %"),
        ("share(0.00001)", "< 0.01 %"),
        ("bytes(0)", "0 B"),
        ("bytes(999)", "999 B"),
        ("bytes(1000)", "0.98 KiB"),
        ("bytes(212 * 2 ** 20)", "212 MiB"),
        ("bytes(2 ** 60)", "1024 PiB"),
        ("number(4812)", "4,812"),
        ("number(0.0123)", "0.012"),
        ("number(0.00004)", "4.0e-5"),
        ("number(1234567)", "1.23M"),
        ("number(1234.56)", "1,235"),
        ("count(1, 'alert')", "1 alert"),
        ("count(1200, 'alert')", "1,200 alerts"),
        ("quantity(0.93, {unit: 'ratio', name: 'x', type: 'gauge'})", "93.0 %"),
        ("quantity(2048, {unit: 'bytes', name: 'x', type: 'counter'})", "2.00 KiB/s"),
        ("quantity(3, {unit: '', name: 'x', type: 'counter'})", "3/s"),
        ("quantity(null, {unit: '', name: 'x', type: 'gauge'})", "–"),
        ("reason('tls_expired')", "certificate expiry"),
        ("reason('brand_new')", "brand_new"),
    ],
)  # fmt: skip
def test_figures_in_words(words, call, expected):
    assert expected == words(call)


@pytest.fixture(scope="module")
def words(new_tab):
    """Evaluate a call of a function of format.js."""
    with served(WatchedView()) as address:
        tab = new_tab()
        tab.open(f"http://{address}/")
        tab.until("document.getElementById('footer')?.textContent.startsWith('perfmon')")
        tab.ask("import('/page/format.js').then((all) => { window.words = all; })")
        yield lambda call: tab.ask(f"words.{call}")


def test_every_reason_has_words(words):
    from typing import get_args

    from perfmon.model import Reason

    assert {} == {
        reason: words(f"reason('{reason}')") for reason in get_args(Reason) if words(f"reason('{reason}')") == reason
    }


# ---------------------------------------------------------------- the last day


def test_each_row_has_its_last_day_which_is_asked_for_once_a_minute(visit):
    with served(WatchedView(*house())) as address:
        tab = visit(address)
        tab.until("document.querySelector('#probe-rows .strip') !== null")
        labels = tab.ask("[...document.querySelectorAll('#probe-rows .day')].map((one) => one.ariaLabel)")
        tab.until(
            "performance.getEntriesByType('resource').filter((one) => one.name.includes('/targets')).length > 2",
            meanwhile=ASK_NOW,
        )
        asked = tab.ask("performance.getEntriesByType('resource').filter((one) => one.name.endsWith('/days')).length")

    assert "last day: 98.17 % of runs succeeded, failures in 2 quarters of an hour" == labels[0]
    assert "last day: no run is known" == labels[2]
    assert 1 == asked


# ---------------------------------------------------------------- maintenance


def window(name, since_s, until_s):
    return {"name": name, "since": time.time() + since_s, "until": time.time() + until_s}


def test_maintenance_that_is_under_way_and_to_come_is_told(visit):
    view = WatchedView(*house())
    view.maintenance, view.coming = [window("move <b>", -3_700, 3_600)], [window("nightly", 7_200, 9_000)]
    with served(view) as address:
        tab = visit(address)
        shown = tab.ask("[...document.querySelectorAll('.work')].map((one) => [one.className, one.innerText])")
        view.maintenance = view.coming = []
        tab.until("document.getElementById('maintenance').hidden", meanwhile=ASK_NOW)

    assert ["work open", "work"] == [kind for kind, _ in shown]
    assert shown[0][1].startswith("move <b> under way for 1 h 1 min, until ")
    assert shown[1][1].startswith("nightly from ")
