"""The page for outsiders in headless Chromium, and on addresses of its own beside a real daemon."""

from functools import partial
from urllib.parse import urlsplit

import pytest
import web_face
from browser import chromium
from daemon import eventually, free_port, get, perfmon
from outsiders import Street, street
from test_page import CONTRAST, LOOKS

from perfmon.monitor.server import public_app


@pytest.fixture(scope="module")
def new_tab(request):
    binary = request.getfixturevalue("binary")("chromium")
    with chromium(binary) as new:
        yield new


served = partial(web_face.served, face=public_app)  # the face for outsiders alone


@pytest.mark.servers
@pytest.mark.parametrize(("width", "dark"), LOOKS)
def test_it_reads_well_everywhere_and_needs_no_script(new_tab, width, dark):
    tab = new_tab(width=width, dark=dark)
    tab.send("Emulation.setScriptExecutionDisabled", value=True)
    with served(street()) as address:
        tab.open(f"http://{address}/")
        tab.until("document.readyState === 'complete' && document.querySelector('footer') !== null")
        text = tab.text()
        seen = tab.ask(
            "({overflow: document.documentElement.scrollWidth - innerWidth, scripts: document.scripts.length,"
            " links: [...document.links].map((link) => new URL(link.href).pathname),"
            " unnamed: [...document.querySelectorAll('[role=img]')].filter((one) => !one.ariaLabel).length})"
        )
        unreadable = tab.ask(CONTRAST.replace("checked > 100", "checked > 40"))

    expected = ["Example Shop", "1 of 4 is down, 1 is degraded", "Pay", "till", "Web", "shop", "mail", "Incidents"]
    assert expected == sorted(expected, key=text.find)
    assert {"overflow": 0, "scripts": 0, "links": ["/status.json", "/status.atom"], "unnamed": 0} == seen
    assert [] == unreadable
    assert [] == tab.errors
    assert {address} == {urlsplit(url).netloc for url in tab.urls if url.startswith("http")}


@pytest.mark.servers
def test_without_a_component_it_says_so(new_tab):
    tab = new_tab(width=390)
    with served(Street()) as address:
        tab.open(f"http://{address}/")
        tab.until("document.readyState === 'complete' && document.querySelector('footer') !== null")

        assert "No component is shown here yet." in tab.text("main")


def test_a_daemon_serves_it_on_addresses_of_its_own_beside_its_pages(tmp_path):
    outside, target = free_port(), free_port()
    (tmp_path / "perfmon.yml").write_text(
        f"""
probes:
  - {{name: till, module: tcp_connect, interval: 1s, tags: [public], targets: ["127.0.0.1:{target}"]}}
  - {{name: vault, module: tcp_connect, interval: 1s, targets: ["127.0.0.1:{target}"]}}
web:
  public: {{title: Example Shop, select: {{tag: public}}, listen: ["127.0.0.1:{outside}"]}}
state: {{path: ""}}
"""
    )
    with perfmon(tmp_path, "--config.file", "perfmon.yml") as daemon:
        eventually(lambda: {"down"} == {one["state"] for one in daemon.targets()["probes"]}, "both have run")
        page = get(f"http://127.0.0.1:{outside}/")[1]

        assert "1 of 1 is down" in page
        assert [False, False] == ["vault" in page, str(target) in page]
        assert [404, 404, 200] == [
            get(f"http://127.0.0.1:{outside}{path}")[0] for path in ("/metrics", "/api/v1/targets", "/status")
        ]
        assert 200 == get(f"{daemon.url}/status")[0]
