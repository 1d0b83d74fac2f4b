"""What the documents say is there: their links lead somewhere, and what they list is complete."""

import re
from itertools import count
from pathlib import Path
from textwrap import dedent
from typing import get_args

import pytest

from perfmon import config, errors
from perfmon.cli import run
from perfmon.model import Reason

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


def links(document):
    """(path or "", anchor or "") of each link that stays in the repository."""
    written = re.findall(r"\]\(([^)\s]+)\)", document.read_text())
    return [tuple(link.partition("#")[::2]) for link in written if "://" not in link]


def anchors(document):
    """Those that GitHub gives the headings: lower case, dashes for blanks, numbered when they come again."""
    text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)
    found = []
    for heading in re.findall(r"^#+ +(.+)$", text, flags=re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        names = (slug if not number else f"{slug}-{number}" for number in count())
        found.append(next(name for name in names if name not in found))
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    for path, anchor in links(document):
        there = (document.parent / path) if path else document
        assert there.exists(), path
        assert not anchor or anchor in anchors(there), f"{path}#{anchor}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_configurations_are_fine(document, tmp_path):
    """Those whose first line says that they are perfmon's, lest `perfmon check` refuses what a document shows."""
    blocks = re.findall(r"^ *```yaml\n( *# perfmon.*?)^ *```", document.read_text(), flags=re.DOTALL | re.MULTILINE)
    for number, block in enumerate(blocks):
        path = tmp_path / f"{number}.yml"
        path.write_text(dedent(block))

        assert config.load([path], env={"TOKEN": "t0ken-of-test"}).checks


def test_every_reason_is_explained():
    section = (ROOT / "docs" / "metrics.md").read_text().partition("\n## Reasons\n")[2]

    assert sorted(get_args(Reason)) == sorted(set(re.findall(r"`([a-z_]+)`", section)) & set(get_args(Reason)))
    rows = re.findall(r"^\| `([a-z_]+)`", section, flags=re.MULTILINE)
    assert set(rows) <= set(get_args(Reason))
    assert len(set(rows)) == len(rows)


def test_exit_codes_are_the_same_everywhere(capsys):
    run(["--help"])
    helped = set(re.findall(r"^ +(\d+)  ", capsys.readouterr().out.partition("Exit codes:")[2], flags=re.MULTILINE))
    sentence = (ROOT / "README.md").read_text().partition("\nExit codes:")[2].partition("`serve`")[0]
    not_yet = (errors.EXIT_REGRESSION,)  # for a command to come
    used = {code for name, code in vars(errors).items() if name.startswith("EXIT_")} - set(not_yet)

    assert {str(code) for code in used} == helped == set(re.findall(r"\d+", sentence))
