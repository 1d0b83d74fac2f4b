"""Every page of a real daemon whose names, targets and answers would do harm, under its Content-Security-Policy."""

import json
import re
import urllib.error
import urllib.request
from urllib.parse import quote, urlencode
from xml.etree import ElementTree as ET

import pytest
from browser import chromium
from daemon import eventually, free_port, get, perfmon

pytestmark = pytest.mark.servers

SCRIPT = "<script>alert(1)<\u2215script>"  # a name holds no slash; the parser needs none to begin a script
IMAGE = "\"'><img src=x onerror=alert(2)>"
RIGHT_TO_LEFT = "\u202ergb\u202c \u65e5\u672c\u8a9e"
WATCH = """
  window.violations = [];
  addEventListener('securitypolicyviolation', (event) => violations.push(event.effectiveDirective));
  window.alert = (what) => violations.push(`alert ${what}`);
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    names = (SCRIPT, IMAGE, RIGHT_TO_LEFT)
    outside = free_port()
    annotations = {"summary": f"{SCRIPT} {{{{why}}}}", "runbook_url": "javascript:alert(3)"}
    config = {
        "probes": [
            {
                "name": name,
                "module": "tcp_connect",
                "interval": "0.2s",
                "labels": {"group": name, "note": IMAGE},
                "targets": [f"127.0.0.1:{free_port()}"],
            }
            for name in names
        ]
        + [{"name": "url", "module": "http_2xx", "interval": "0.2s", "targets": [f"http://127.0.0.1:{free_port()}/?a='<b>&c=%22"]}],
        "samplers": [{"name": SCRIPT, "interval": "0.2s", "process": {"groups": [{"name": name, "self": True} for name in names]}}],
        "web": {"public": {"title": SCRIPT, "select": {"probe": "*"}, "show_target": True, "listen": [f"127.0.0.1:{outside}"]}},
        "rules": [{"name": name, "threshold": "rate < 50% over 2s", "annotations": annotations} for name in names],
    }  # fmt: skip
    (folder / "perfmon.yml").write_text(json.dumps(config))
    with perfmon(folder, "--config.file=perfmon.yml", "--state.path=") as running:
        eventually(running.alerts, "an alert")
        eventually(lambda: "perfmon_process_up" in running.metrics(), "a reading")
        running.outside = f"http://127.0.0.1:{outside}"
        yield running


@pytest.fixture(scope="module")
def tab(request):
    with chromium(request.getfixturevalue("binary")("chromium")) as new:
        opened = new()
        opened.send("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        yield opened


def pages(daemon):
    keys = [probe["key"] for probe in daemon.targets()["probes"]]
    groups = [{"sampler": SCRIPT, "group": name} for name in (SCRIPT, IMAGE, RIGHT_TO_LEFT)]
    return [
        "/",
        *(f"/target?key={quote(key, safe='')}" for key in keys),
        *(f"/group?{urlencode(one)}" for one in groups),
    ]


def test_every_page_shows_them_as_texts_and_violates_nothing(daemon, tab):
    seen = {}
    for path in pages(daemon):
        tab.open(daemon.url + path)
        tab.until("document.getElementById('footer')?.textContent.startsWith('perfmon')")
        tab.until(
            f"document.body.textContent.includes({json.dumps('http' if '%2F%3Fa' in path else '127.0.0.1' if path[1:7] == 'target' else '<script>')})"
        )
        seen[path] = tab.ask(
            "[violations, document.scripts.length, document.images.length, document.querySelectorAll('[onclick], [onerror], style').length]"
        )
        assert {"http:"} >= set(tab.ask("[...document.links].map((link) => new URL(link.href).protocol)"))

    assert {path: [[], 1, 0, 0] for path in seen} == seen
    assert [] == tab.errors


def test_the_page_for_outsiders_shows_them_as_texts_and_may_run_no_script_at_all(daemon, tab):
    shown = {}
    for page in (f"{daemon.url}/status", f"{daemon.outside}/"):
        tab.open(page)
        tab.until("document.readyState === 'complete' && document.querySelector('footer') !== null")
        counted = "document.querySelectorAll('script, img, style, [style], [onerror]').length"
        harm = tab.ask(f"[violations, {counted}, getComputedStyle(document.body).margin]")
        names = tab.ask("[...document.querySelectorAll('h3')].map((one) => one.firstChild.textContent)")
        shown[page] = [*harm, names.count(SCRIPT), names.count(IMAGE), tab.text(".brand")]

    assert [[[], 0, "0px", 1, 1, SCRIPT]] * 2 == list(shown.values())
    assert [] == tab.errors
    tab.ask("document.body.append(Object.assign(document.createElement('script'), {src: '/page/page.js'}))")
    tab.until("violations.length")
    assert ["script-src-elem"] == tab.ask("violations")
    tab.errors.clear()


def test_an_inline_script_would_be_blocked_and_reported(daemon, tab):
    tab.open(daemon.url + "/")
    tab.until("document.getElementById('footer')?.textContent.startsWith('perfmon')")
    tab.ask("document.body.append(Object.assign(document.createElement('script'), {textContent: 'alert(4)'}))")
    tab.until("violations.length")

    assert ["script-src-elem"] == tab.ask("violations")
    tab.errors.clear()


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        "/api/v1/targets",
        "/api/v1/alerts",
        "/api/v1/days",
        "/config",
        "/status.json",
        "/api/v1/run?id=%3Cscript%3E",
        "/run?id=%3Cscript%3E",
        "/badge/%3Cscript%3E",
        "/badge/uptime?period=%3Cscript%3E",
        "/logs?target=%3Cscript%3E",
        "/%3Cscript%3E",
    ],
)
def test_no_answer_beside_the_pages_is_markup(daemon, path):
    try:
        with urllib.request.urlopen(daemon.url + path, timeout=20) as answer:
            headers = answer.headers
    except urllib.error.HTTPError as refusal:
        headers = refusal.headers

    assert re.match("text/plain|application/json", headers["Content-Type"])
    assert "nosniff" == headers["X-Content-Type-Options"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]


@pytest.mark.parametrize("name", [SCRIPT, IMAGE, RIGHT_TO_LEFT])
@pytest.mark.parametrize("kind", ["uptime", "state", "latency"])
def test_a_badge_is_two_words_whatever_the_name(daemon, kind, name):
    code, svg = get(f"{daemon.url}/badge/{kind}?{urlencode({'key': name})}")

    assert 200 == code
    assert {"svg", "title", "clipPath", "rect", "g", "text"} == {
        one.tag.removeprefix("{http://www.w3.org/2000/svg}") for one in ET.fromstring(svg).iter()
    }


def test_nothing_that_a_terminal_obeys_is_printed(daemon):
    hostile = quote("127.0.0.1:1\x1b[2J\x07", safe="")
    code, said = get(f"{daemon.url}/probe?target={hostile}&module=tcp_connect&debug=true")

    assert code in {200, 400}
    assert "\x1b" not in said
    assert "\x07" not in said
