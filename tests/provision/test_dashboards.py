"""The dashboards: current, of Grafana's schema, and as dashboard-linter would have them."""

import json
import re
import subprocess
import sys
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import get_args

import jsonschema
import promql
import pytest
import yaml
from promql_parser import MatchOp

from perfmon.model import Phase, Reason
from perfmon.provision.dashboards import documents
from perfmon.provision.dashboards.asked import PHASE_COLORS, REASON_COLORS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "dashboards"
SCHEMA = Path(__file__).parent / "schema"

DASHBOARDS = {file.name: json.loads(file.read_text()) for file in sorted(FOLDER.glob("*.json"))}
PANELS = [
    pytest.param(panel, id=f"{name}-{panel['id']}")
    for name, board in DASHBOARDS.items()
    for panel in board["panels"]
    if panel["type"] != "row"
]
QUERIES = [
    pytest.param(target["expr"], id=f"{name}-{panel['id']}-{target['refId']}")
    for name, board in DASHBOARDS.items()
    for panel in board["panels"]
    for target in panel.get("targets", [])
]
ANNOTATIONS = [
    pytest.param(annotation["expr"], id=f"{name}-{annotation['name']}")
    for name, board in DASHBOARDS.items()
    for annotation in board["annotations"]["list"]
]
BOARDS = [pytest.param(board, id=name) for name, board in DASHBOARDS.items()]

CHOICES = {
    "perfmon-fleet": ["job", "instance", "probe", "target"],
    "perfmon-target": ["job", "instance", "probe", "target"],
    "perfmon-resources": ["job", "instance", "group", "cgroup"],
    "perfmon-slo": ["job", "instance", "probe", "target", "objective"],
    "perfmon-load": ["job", "instance", "scenario", "test"],
    "perfmon-itself": ["job", "instance"],
}

RATES = ("rate", "increase", "irate")
OF_PROMETHEUS = ("ALERTS", "scrape_samples_scraped")
BURN_WINDOWS = {"5m", "30m", "1h", "2h", "6h", "1d", "3d"}  # of the SRE Workbook: what they say hangs on their length


def as_asked(expression):
    """The query with Grafana's variables filled in, as when all is chosen."""
    for variable, value in {"$__rate_interval": "1m", "$__range": "1h"}.items():
        expression = expression.replace(f"[{variable}]", f"[{value}]")
    return re.sub(r"\$\w+", ".+", expression.replace("$objective", "99.9"))


def names(asked):
    """Of the series that a selector asks for; `a_(b|c)_d` is two."""
    if asked.name:
        return [asked.name]
    _, pattern = asked.matchers["__name__"]
    before, choice, after = re.fullmatch(r"(\w+)\((.+)\)(\w+)", pattern).groups()
    return [f"{before}{one}{after}" for one in choice.split("|")]


def flaws(schema, value):
    return [
        f"{'/'.join(map(str, error.absolute_path))}: {error.message}" for error in _validator(schema).iter_errors(value)
    ]


@cache
def _validator(schema):
    return jsonschema.Draft7Validator(json.loads((SCHEMA / schema).read_text()))


# ---------------------------------------------------------------- files


def test_the_committed_dashboards_are_current():
    """`perfmon dashboards` was run after the last change, and writes the same text each time."""
    assert documents() == {file.name: file.read_text() for file in FOLDER.glob("*.json")}


@pytest.mark.parametrize("board", BOARDS)
def test_dashboard_has_grafanas_schema(board):
    """But for what Prometheus adds to annotations, which Grafana's own types leave out."""
    beyond = {"expr", "titleFormat", "textFormat", "useValueForTime"}
    annotations = [
        {key: value for key, value in one.items() if key not in beyond} for one in board["annotations"]["list"]
    ]

    assert [] == flaws("dashboard.json", {**board, "annotations": {"list": annotations}})


@pytest.mark.parametrize("panel", PANELS)
def test_panel_has_the_schema_of_its_kind(panel):
    kind = panel["type"].replace("-", "")

    assert [] == flaws(f"{kind}.options.json", panel["options"])
    if (SCHEMA / f"{kind}.custom.json").exists():
        assert [] == flaws(f"{kind}.custom.json", panel["fieldConfig"]["defaults"].get("custom", {}))


def test_the_schema_sees_a_misspelt_key():
    """Or the tests above would prove nothing."""
    board = {**DASHBOARDS["fleet.json"], "titel": "fleet", "annotations": {"list": []}}

    assert [": Additional properties are not allowed ('titel' was unexpected)"] == flaws("dashboard.json", board)


# ---------------------------------------------------------------- the dashboard


@pytest.mark.parametrize("board", BOARDS)
def test_dashboard_is_provisioned_and_stays_what_it_is(board):
    assert (False, 39, ["perfmon"]) == (board["editable"], board["schemaVersion"], board["tags"])
    assert re.fullmatch(r"perfmon-[a-z-]+", board["uid"])
    assert "__inputs" not in board
    assert "${DS_" not in json.dumps(board)


@pytest.mark.parametrize("board", BOARDS)
def test_variables_choose_the_data_source_and_every_label(board):
    source, *others = board["templating"]["list"]

    assert ("datasource", "Data source", "datasource", "prometheus") == tuple(
        source[key] for key in ("name", "label", "type", "query")
    )
    assert CHOICES[board["uid"]] == [variable["name"] for variable in others]
    for variable in others:
        if variable["type"] == "custom":
            assert variable["query"].split(", ")[0] == variable["current"]["value"]
            continue
        assert (True, True, ".+", 2) == tuple(variable[key] for key in ("multi", "includeAll", "allValue", "refresh"))
        assert "${datasource}" == variable["datasource"]["uid"]
        selector, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"]).groups()
        assert label == variable["name"]
        assert {name for one in promql.asked(as_asked(selector)) for name in names(one)} <= set(promql.exported())


@pytest.mark.parametrize("board", BOARDS)
def test_ids_are_unique_and_panels_do_not_overlap(board):
    panels = board["panels"]
    places = [panel["gridPos"] for panel in panels]

    assert len(panels) == len({panel["id"] for panel in panels})
    assert all(panel["id"] > 0 for panel in panels)
    assert all(place["x"] + place["w"] <= 24 for place in places)
    assert not [
        (one, other)
        for one, other in combinations(places, 2)
        if one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    ]


@pytest.mark.parametrize("board", BOARDS)
def test_links_keep_time_and_choice(board):
    link = board["links"][0]

    assert (["perfmon"], True, True, True) == tuple(
        link[key] for key in ("tags", "asDropdown", "keepTime", "includeVars")
    )


@pytest.mark.parametrize("board", BOARDS)
def test_ways_lead_to_dashboards_and_variables_that_exist(board):
    uids = {one["uid"]: one for one in DASHBOARDS.values()}
    ways = re.findall(r"/d/([\w-]+)\?([^\"]*)", json.dumps(board).replace('\\"', "'"))
    for uid, query in ways:
        names = {variable["name"] for variable in uids[uid]["templating"]["list"]}
        assert set(re.findall(r"var-(\w+)=", query)) <= names
        assert "${__url_time_range}&${datasource:queryparam}" in query


@pytest.mark.parametrize("board", BOARDS)
def test_alerts_and_reloads_are_marked(board):
    assert {"Alerts", "Config reloads"} <= {one["name"] for one in board["annotations"]["list"]}


def test_each_phase_and_reason_has_a_colour_of_its_own():
    assert set(get_args(Phase)) == set(PHASE_COLORS)
    assert set(get_args(Reason)) == set(REASON_COLORS)
    assert len(REASON_COLORS) == len(set(REASON_COLORS.values()))


def test_single_runs_are_shown_over_the_latency_of_probes():
    """In each panel that is drawn from its buckets over time."""
    buckets = [
        (name, panel["title"], [target.get("exemplar") for target in panel["targets"]])
        for name, board in DASHBOARDS.items()
        for panel in board["panels"]
        if panel["type"] in ("timeseries", "heatmap")
        and any("perfmon_probe_latency_seconds_bucket" in target["expr"] for target in panel["targets"])
    ]

    assert [
        ("fleet.json", "Latency p95 by target"),
        ("fleet.json", "Latency"),
        ("target.json", "Latency"),
        ("target.json", "Percentiles"),
    ] == [(name, title) for name, title, shown in buckets if any(shown)]
    assert all(any(shown) for *_, shown in buckets)


# ---------------------------------------------------------------- panels


@pytest.mark.parametrize("panel", PANELS)
def test_panel_says_what_it_shows(panel):
    defaults = panel["fieldConfig"]["defaults"]

    assert panel["title"]
    assert panel["description"].endswith(".")
    assert defaults["unit"]
    assert defaults["thresholds"]["steps"]
    assert "${datasource}" == panel["datasource"]["uid"]
    assert panel["targets"]
    assert all("${datasource}" == target["datasource"]["uid"] for target in panel["targets"])


@pytest.mark.parametrize("panel", PANELS)
def test_panel_is_set_as_the_editor_would(panel):
    """The SDK's defaults are the schema's: no legend, nothing to reduce by."""
    options = panel["options"]

    if panel["type"] in ("timeseries", "state-timeline"):
        assert (True, "multi") == (options["legend"]["showLegend"], options["tooltip"]["mode"])
    if panel["type"] in ("stat", "bargauge"):
        assert ["lastNotNull"] == options["reduceOptions"]["calcs"]


# ---------------------------------------------------------------- queries


@pytest.mark.parametrize("query", [*QUERIES, *ANNOTATIONS])
def test_query_asks_for_known_series_of_the_chosen_perfmon(query):
    for one in promql.asked(as_asked(query)):
        assert one.name in promql.exported() or one.name in OF_PROMETHEUS
        assert [(MatchOp.Re, ".+")] * 2 == [one.matchers.get(label) for label in ("job", "instance")]


@pytest.mark.parametrize("query", QUERIES)
def test_counters_are_rated_and_nothing_else_is(query):
    for one in promql.asked(as_asked(query)):
        family = promql.exported().get(one.name)
        if family is not None:
            assert (family.type != "gauge") == (one.function in RATES)


@pytest.mark.parametrize("query", QUERIES)
def test_ranges_are_grafanas(query):
    """Another range is too short for one scrape interval, and too long for another; but burn rates have their own."""
    allowed = {"$__rate_interval", "$__range"} | (BURN_WINDOWS if "$objective" in query else set())
    assert set(re.findall(r"\[([^\]]*)\]", query)) <= allowed


@pytest.mark.servers
def test_prometheus_accepts_every_query(binary, tmp_path):
    """As recording rules, which promtool parses with Prometheus' own parser."""
    rules = [
        {"record": f"panel:{index}", "expr": as_asked(query.values[0])}
        for index, query in enumerate([*QUERIES, *ANNOTATIONS])
    ]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    checked = subprocess.run(
        [binary("promtool"), "check", "rules", str(file)], capture_output=True, text=True, check=False
    )

    assert 0 == checked.returncode, checked.stdout + checked.stderr


# ---------------------------------------------------------------- the command


def perfmon(*arguments):
    """Runs in its own process: exit code, stdout, stderr."""
    ran = subprocess.run([sys.executable, "-m", "perfmon", *arguments], capture_output=True, text=True, check=False)
    return ran.returncode, ran.stdout, ran.stderr


@pytest.mark.parametrize(("command", "file"), [("dashboards", "fleet.json"), ("rules", "perfmon.rules.yml")])
def test_check_shows_how_a_file_differs(command, file, tmp_path):
    """Silent when nothing does; a file that is missing differs as well."""
    assert 1 == perfmon(command, "--check", "--out", str(tmp_path))[0]
    assert (0, "", "") == perfmon(command, "--out", str(tmp_path))
    assert (0, "", "") == perfmon(command, "--check", "--out", str(tmp_path))

    (tmp_path / file).write_text("stale\n" + (tmp_path / file).read_text())
    code, printed, _ = perfmon(command, "--check", "--out", str(tmp_path))
    assert 1 == code
    assert "-stale\n" in printed


def test_without_the_sdk_it_says_what_to_install():
    program = (
        "import sys; sys.modules['grafana_foundation_sdk'] = None; from perfmon.cli import run; "
        "sys.exit(run(['dashboards', '--check']))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert 104 == ran.returncode
    assert ran.stderr.startswith(
        "perfmon: generating dashboards needs grafana-foundation-sdk: pip install 'perfmon[dashboards]'"
    )
