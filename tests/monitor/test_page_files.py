"""The pages' files: one head for all."""

import re

import pytest

from perfmon.monitor.page_files import FOLDER, framed

PAGES = ["index.html", "target.html", "group.html"]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_and_names_files_that_are_there(name):
    page = framed(name).decode()
    named = re.findall(r'(?:href|src)="/page/([^"]+)"', page)

    assert [1, 1, 1, 1, 1] == [
        page.count(tag) for tag in ("<!doctype html>", "<title>", "<header>", "</main>", "</html>")
    ]
    assert [] == [file for file in named if not (FOLDER / file).is_file()]
    assert len(named) == len(set(named))
    assert "$" not in page


@pytest.mark.parametrize("name", PAGES)
def test_every_module_that_a_page_will_import_is_told_beforehand(name):
    page = framed(name).decode()
    told = set(re.findall(r'modulepreload" href="/page/([^"]+)"', page))
    (script,) = re.findall(r'<script type="module" src="/page/([^"]+)">', page)
    texts = [(FOLDER / module).read_text() for module in {script, *told}]

    assert told == {module for text in texts for module in re.findall(r'from "\./([^"]+)"', text)}


def test_no_page_has_a_head_of_its_own():
    assert [] == [
        file.name for file in FOLDER.glob("*.html") if file.name != "frame.html" and "<head>" in file.read_text()
    ]
