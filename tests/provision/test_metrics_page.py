"""The page of all metrics names each of them, and is current."""

from pathlib import Path

import pytest

from perfmon import kinds
from perfmon.provision.metrics_page import BEGIN, END, refreshed

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_every_family_has_its_row():
    tables = PAGE.read_text().partition(END)[0]
    rows = [line.split("|") for line in tables.splitlines() if line.startswith("| `")]
    written = {row[1].strip(" `"): (row[2].strip(), row[3].strip()) for row in rows}

    assert {name: (family.type, family.unit) for name, family in kinds.catalogue().items()} == written
    assert len(rows) == len(written)


def test_the_committed_page_is_current():
    assert refreshed(PAGE.read_text()) == PAGE.read_text()


def test_text_around_the_tables_is_kept():
    page = refreshed(f"before\n{BEGIN}of yesterday{END}after\n")

    assert page.startswith(f"before\n{BEGIN}")
    assert page.endswith(f"{END}after\n")
    assert "of yesterday" not in page


def test_a_page_without_markers_is_refused():
    with pytest.raises(ValueError, match="expected the lines"):
        refreshed("# Metrics\n")
