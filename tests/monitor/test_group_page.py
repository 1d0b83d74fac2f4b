"""The page of a process group or control group in headless Chromium; behind it is a hand-written view."""

import time
from urllib.parse import urlencode, urlsplit

import pytest
from browser import chromium
from test_page import ASK_NOW, CONTRAST, LOOKS
from watched import WatchedView, alert, hostile, house, leak, sampler, series
from web_face import served

pytestmark = pytest.mark.servers

STACK = "shop.py:118 leak\n  routing.py:73 app"


@pytest.fixture(scope="module")
def new_tab(request):
    binary = request.getfixturevalue("binary")("chromium")
    with chromium(binary) as new:
        yield new


@pytest.fixture
def visit(new_tab):
    """Open the page of a group; when the test is over the page must have done nothing wrong."""
    visited = []

    def open_page(address, sampler="services", group="shop", cgroup="", **look):
        tab = new_tab(**look)
        tab.open(f"http://{address}/group?{urlencode({'sampler': sampler, 'group': group, 'cgroup': cgroup})}")
        tab.until("document.getElementById('footer')?.textContent.startsWith('perfmon')")
        visited.append((tab, address))
        return tab

    yield open_page
    for tab, address in visited:
        tab.send("Page.stopLoading")
        assert [] == [error for error in tab.errors if "status of 404" not in error]
        assert {address} == {urlsplit(url).netloc for url in tab.urls if url.startswith("http")}


def leaking():
    """The house of the other pages, and a leak in the shop."""
    view = WatchedView(*house())
    view.leaks = [
        leak(),
        leak("growing", rule="Cautious", remarks={"deceleration": "it bends down"}, p=0.002, seconds_to_limit=None),
    ]
    view.restarts = [time.time() - 900]
    view.known_alerts = [
        alert("MemoryLeak", labels={"sampler": "services", "group": "shop"}, ago_s=300.0, leak_stack=STACK, why="leak: grows 1 MiB/min")
    ]  # fmt: skip
    return view


@pytest.mark.parametrize(("width", "dark"), LOOKS)
def test_a_leak_is_told_with_how_fast_how_sure_and_where_and_fits_the_screen(visit, width, dark):
    with served(leaking()) as address:
        tab = visit(address, width=width, dark=dark)
        text, title = tab.text(), tab.ask("document.title")
        unreadable = tab.ask(CONTRAST)
        overflow = tab.ask("document.documentElement.scrollWidth - innerWidth")

    expected = [
        "shop",
        "running  ·  oldest started 3 h 11 min ago",
        "1 restart in the last hour",
        "sampler services (process), every 5 s",
        "MemoryLeak",
        "Where it allocates",
        STACK,
        "Does it leak?",
        "leakprocess_private_memory_bytesrule MemoryLeak, over 30 min",
        "It rises, and nothing speaks against a leak.",
        "grows by1.00 MiB/min",
        "95 % interval922 KiB/min to 1.10 MiB/min",
        "by chancep < 0.001",
        "limit reachedin 11 h 6 min, at this rate",
        "rests on1,800 points, judged every 60 s",
        "growing",
        "decelerationit bends down",
        "Last hour",
        "Memoryresident 212 MiBprivate 106 MiB",
        "CPU0.31 cores",
        "File descriptors48",
        "Threads and processes",
        "All series",
    ]
    assert -1 not in [text.find(words) for words in expected], [one for one in expected if one not in text]
    assert expected == sorted(expected, key=text.find)
    assert "leak · shop · perfmon" == title
    assert [] == unreadable
    assert 0 == overflow


def test_the_chart_has_points_line_band_and_marks_and_is_read_by_arrows(visit):
    with served(leaking()) as address:
        tab = visit(address)
        drawn = tab.ask(
            "Object.fromEntries(['line-0', 'fit', 'band', 'firing', 'cut', 'restart'].map((name) => "
            "[name, document.querySelector(`.leak .plot .${name}`).getAttribute('d').length > 0]))"
        )
        restarts = tab.ask(
            "[...document.querySelectorAll('.chart .plot .restart')].every((one) => one.getAttribute('d'))"
        )
        whole = tab.text(".leak .readout")
        tab.ask("document.querySelector('.leak .plot').focus()")
        tab.press("ArrowLeft")
        newest = tab.text(".leak .readout")
        tab.press("ArrowLeft")
        before = tab.text(".leak .readout")
        tab.press("Escape")
        closed = tab.text(".leak .readout")

    # A restart that the window of the rule knows of is drawn there; this one is known to the hour alone.
    assert {"line-0": True, "fit": True, "band": True, "firing": True, "cut": True, "restart": False} == drawn
    assert restarts
    assert whole.startswith("90.2 MiB to 120 MiB; MemoryLeak fired ")
    assert newest.endswith(": 120 MiB; the line 120 MiB")
    assert newest != before
    assert whole == closed


def test_a_verdict_builds_up_by_itself(visit):
    view = leaking()
    view.leaks = [leak("insufficient_data", why="14m of memory so far, expected half the window", slope=None, low=None, high=None, p=None, seconds_to_limit=None, lines=[])]  # fmt: skip
    with served(view) as address:
        tab = visit(address)
        assert "insufficient dataprocess_private" in tab.text(".leak")
        assert "14m of memory so far, expected half the window" in tab.text(".leak")
        view.leaks = [leak("clean")]
        tab.until("document.querySelector('.leak .word').textContent === 'clean'", meanwhile=ASK_NOW)

        assert "Nothing rises" in tab.text(".leak")
        assert "clean: grows 1 MiB/min" == tab.text(".leak .why")


def test_the_simple_rule_has_no_verdict_but_its_words(visit):
    view = leaking()
    view.leaks = [
        leak(
            "",
            level="critical",
            why="grows 9 MiB/min, expected at most 1 MiB/min",
            p=None,
            seconds_to_limit=None,
            lines=[],
        )
    ]
    with served(view) as address:
        text = visit(address).text(".leak")

    assert "grows too fastprocess_private_memory_bytes" in text
    assert text.endswith("grows 9 MiB/min, expected at most 1 MiB/min")


def test_without_a_rule_it_says_which_would_look(visit):
    view = leaking()
    view.leaks = []
    with served(view) as address:
        text = visit(address).text("#leaks-none")

    assert "{name: MemoryLeak, metric: perfmon_process_private_memory_bytes, leak: {window: 2h}}" in text


def test_a_control_group_shows_its_limit_and_its_name_leads_to_each(visit):
    own = {"group": "api", "cgroup": "/system.slice/api.service"}
    view = WatchedView(samplers=[sampler("units", "cgroup", [
        series("perfmon_cgroup_up", 1, group="api"),
        series("perfmon_cgroup_memory_working_set_bytes", 400 * 2**20, unit="bytes", **own),
        series("perfmon_cgroup_memory_limit_bytes", 512 * 2**20, unit="bytes", **own),
        series("perfmon_cgroup_cpu_throttled_seconds_total", 0.25, kind="counter", unit="seconds", **own),
        series("perfmon_cgroup_pressure_waiting_seconds_total", 0.1, kind="counter", unit="seconds", resource="io", **own),
    ])])  # fmt: skip
    view.cgroups = ["/system.slice/api.service", "/b"]
    with served(view) as address:
        tab = visit(address, "units", "api")
        tab.ask("document.querySelector('#members a').click()")
        tab.until("document.getElementById('address')?.textContent === '/system.slice/api.service'")
        view.cgroups = []
        tab.until("document.getElementById('members').hidden", meanwhile=ASK_NOW)
        text = tab.text("#charts")
        limit = tab.ask("document.querySelector('.plot .limit').getAttribute('d').length > 0")

    assert "Memoryworking set 400 MiBlimit 512 MiB" in text
    assert "Held back by its CPU limit0.25 s/s" in text
    assert "Pressure, share of the timeio 10.0 %" in text
    assert limit


def test_a_row_of_the_page_of_all_leads_there_and_back(visit, new_tab):
    with served(leaking()) as address:
        tab = new_tab()
        tab.open(f"http://{address}/")
        tab.until("document.querySelector('.group h4 a[href*=\"group=shop\"]') !== null")
        tab.ask("document.querySelector('.group h4 a[href*=\"group=shop\"]').click()")
        tab.until("document.getElementById('name')?.textContent === 'shop'")
        tab.ask("document.querySelector('a.wordmark').click()")
        tab.until("document.getElementById('sentence-text') !== null")

        assert [] == tab.errors


def test_a_group_that_is_not_watched_is_said_to_be_so(visit):
    with served(WatchedView(*house())) as address:
        tab = visit(address, group="gone")

        assert "No such group" == tab.text("#name")
        assert "perfmon does not watch it, or watches it no longer." == tab.text("#facts")
        assert tab.ask("document.getElementById('group').hidden")


def test_a_group_that_is_gone_says_why(visit):
    view = WatchedView(samplers=[sampler("web", "process", [series("perfmon_process_up", 0, group="nginx")], state="down", error='no process has the name "nginx"')])  # fmt: skip
    with served(view) as address:
        tab = visit(address, "web", "nginx")

        assert "not found" in tab.text("#facts")
        assert 'no process has the name "nginx"' == tab.text("#trouble")


def test_hostile_names_are_names(visit):
    _, samplers, _ = hostile()
    view = WatchedView(samplers=samplers)
    nasty = samplers[1]["sampler"]
    view.leaks = [leak(rule=nasty, metric=nasty, group=nasty, why=nasty, remarks={nasty: nasty})]
    view.known_alerts = [alert(nasty, labels={"group": nasty}, leak_stack=nasty)]
    with served(view) as address:
        tab = visit(address, nasty, nasty, width=390)

        assert nasty == tab.text("#name")
        assert [None, 1, 0] == tab.ask("[window.pwned ?? null, document.scripts.length, document.images.length]")
        assert 0 == tab.ask("document.documentElement.scrollWidth - innerWidth")
