"""The pictures of dashboards (tests/pictures.py), drawn here from answers by hand."""

import json
import math
from pathlib import Path

import pytest
from panel_drawing import Answer, Series, page, shown

DASHBOARDS = {
    file.stem: json.loads(file.read_text())
    for file in sorted((Path(__file__).parents[2] / "dashboards").glob("*.json"))
}


def answer(panel):
    """Two series of each query, one with a gap; a histogram's have bounds."""
    labels = {"target": "http://<script>", "reason": "timeout"}
    return Answer(
        [
            Series(
                f"{le} of {target['refId']}",
                labels | {"le": le},
                [(100.0 + at, at % 3.0) for at in times],
                target["refId"],
            )
            for target in panel["targets"]
            for le, times in (("0.5", range(0, 60, 5)), ("+Inf", [0, 5, 50]))
        ],
        begin=100.0,
        end=160.0,
        dots=[(120.0, 0.25)],
    )


@pytest.mark.parametrize("name", DASHBOARDS)
@pytest.mark.parametrize("dark", [False, True])
def test_every_panel_is_drawn_and_no_name_is_markup(name, dark):
    board = DASHBOARDS[name]
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    drawn = page(board, {panel["id"]: answer(panel) for panel in panels}, dark=dark)

    assert len(panels) == drawn.count('class="panel"')
    assert "<script" not in drawn
    assert "NaN" not in drawn


def test_a_panel_without_an_answer_says_so():
    panel = next(panel for panel in DASHBOARDS["target"]["panels"] if panel["title"] == "Redirects")

    assert "no HTTP" in page({"title": "a", "panels": [panel]}, {panel["id"]: Answer([], 0.0, 60.0)}, dark=False)


@pytest.mark.parametrize(
    ("value", "unit", "decimals", "words"),
    [
        (0.0123, "s", None, "12.3 ms"),
        (90.0, "s", None, "1.5 min"),
        (86400.0 * 14, "dtdurations", None, "2 weeks"),
        (0.98765, "percentunit", 2, "98.77%"),
        (1536.0, "Bps", None, "1.5 KiB/s"),
        (12_345.0, "short", None, "12.3 K"),
        (math.nan, "short", None, "-"),
    ],
)
def test_a_value_is_worded_in_its_unit(value, unit, decimals, words):
    assert words == shown(value, unit, decimals)
