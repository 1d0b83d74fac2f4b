"""Panels and dashboards with perfmon's defaults, over grafana-foundation-sdk.

The SDK writes what Grafana's schema calls default, which is not what Grafana's editor sets: a legend that is hidden, a
stat that reduces by nothing, panels and rows without an id of their own. This layer sets them, so that whoever
describes a panel says only what is his. It needs the SDK, a development dependency; what it writes is committed.
"""

# ruff: noqa: FBT003 - the SDK takes bare booleans

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

with warnings.catch_warnings():
    # The SDK warns at import that its classic dashboards are old; they are what Grafana 10 to 13 read.
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.builders import (
        bargauge,
        common,
        dashboard,
        heatmap,
        prometheus,
        stat,
        statetimeline,
        table,
        timeseries,
    )
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

__all__ = [
    "Annotation",
    "Board",
    "Choice",
    "Column",
    "Frame",
    "Query",
    "Row",
    "Variable",
    "document",
    "gauges",
    "heat",
    "lines",
    "number",
    "states",
    "targets_table",
]

SCHEMA_VERSION = 39
"""That of Grafana 10.4: older ones than the SDK's own migrate up on load, newer ones are not read by old Grafanas."""

TAG = "perfmon"

_SOURCE = common_model.DataSourceRef(type_val="prometheus", uid="${datasource}")

Panel = timeseries.Panel | stat.Panel | table.Panel | statetimeline.Panel | bargauge.Panel | heatmap.Panel
_P = TypeVar("_P", timeseries.Panel, stat.Panel, table.Panel, statetimeline.Panel, bargauge.Panel, heatmap.Panel)

Steps = Sequence[tuple[float | None, str]]  # from which value on (None: the lowest) which colour
PLAIN: Steps = ((None, "text"),)


class Frame(msgspec.Struct, frozen=True):
    """What every panel has. The id never changes: links and annotations hold on to it."""

    id: int
    title: str
    description: str
    unit: str
    width: int = 8  # of 24
    height: int = 8
    steps: Steps = PLAIN
    decimals: int | None = None
    empty: str = ""  # what to show when there is no data
    opens: str = ""  # where a click on a series or a number leads
    colors: Mapping[str, str] = {}  # by the name of a series, for those that always have the same


class Query(msgspec.Struct, frozen=True):
    """PromQL with the name of its series."""

    expr: str
    legend: str = ""
    exemplars: bool = False  # whether single runs are shown as dots over it


class Column(msgspec.Struct, frozen=True):
    """One column of a table: its query gives one value for each row."""

    title: str
    expr: str
    unit: str
    steps: Steps = PLAIN
    words: Mapping[str, tuple[str, str]] = {}  # value -> text and colour
    decimals: int | None = None


class Row(msgspec.Struct, frozen=True):
    """A titled row of panels."""

    id: int
    title: str
    panels: tuple[Panel, ...]


class Variable(msgspec.Struct, frozen=True):
    """A choice at the top of the dashboard: the values of a label."""

    label: str
    title: str
    series: str  # a selector; `label_values` is asked of it


class Choice(msgspec.Struct, frozen=True):
    """One of some values, at the top of the dashboard; the first is chosen."""

    name: str
    title: str
    values: tuple[str, ...]


class Annotation(msgspec.Struct, frozen=True):
    """Events from a query, drawn over the panels."""

    name: str
    expr: str
    title: str
    text: str
    color: str
    value_is_time: bool = False


class Board(msgspec.Struct, frozen=True):
    """A whole dashboard."""

    uid: str
    title: str
    description: str
    variables: tuple[Variable | Choice, ...]
    annotations: tuple[Annotation, ...]
    rows: tuple[Row, ...]
    since: str = "now-1h"  # what is shown at first


def document(board: Board) -> str:
    """The dashboard as JSON, the same text for the same board."""
    builder = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags([TAG])
        .readonly()
        .timezone("browser")
        .time(board.since, "now")
        .refresh("30s")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .link(_link_to_others())
        .with_variable(_source_variable())
    )
    for variable in board.variables:
        builder.with_variable(_variable(variable) if isinstance(variable, Variable) else _choice(variable))
    for annotation in board.annotations:
        builder.annotation(_annotation(annotation))
    for row in board.rows:
        builder.with_row(dashboard.Row(row.title).id(row.id))
        for panel in row.panels:
            builder.with_panel(panel)
    return _written(builder.build())


# ---------------------------------------------------------------- panels


def lines(
    frame: Frame,
    *queries: Query,
    stacked: bool = False,
    bars: bool = False,
    top: float | None = None,
    bottom: float | None = 0,
    log: bool = False,
) -> Panel:
    """Series over time, with their last and highest value in a table beneath."""
    panel = _framed(timeseries.Panel(), frame)
    if bottom is not None:
        panel.min(bottom)
    panel.legend(_legend(["lastNotNull", "max"])).tooltip(_tooltip())
    panel.override_by_regexp("/ limit$/", _LIMIT)
    panel.line_width(1).fill_opacity(60 if stacked else 8).show_points(common_model.VisibilityMode.NEVER)
    if top is not None:
        panel.max(top)
    if log:
        panel.scale_distribution(common.ScaleDistributionConfig().type(common_model.ScaleDistribution.LOG).log(10))
    if stacked:
        panel.stacking(common.StackingConfig().mode(common_model.StackingMode.NORMAL).group("A"))
    if bars:
        panel.draw_style(common_model.GraphDrawStyle.BARS)
    if frame.steps is not PLAIN:
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(common_model.GraphThresholdsStyleMode.DASHED))
    return _asking(panel, queries)


def number(
    frame: Frame, query: Query, *, history: bool = False, words: Mapping[str, tuple[str, str]] | None = None
) -> Panel:
    """One number, or a word for it, coloured by its thresholds."""
    panel = _framed(stat.Panel(), frame).reduce_options(_last()).color_mode(common_model.BigValueColorMode.VALUE)
    if words:
        panel.mappings([_mapping(words)])
    panel.graph_mode(common_model.BigValueGraphMode.AREA if history else common_model.BigValueGraphMode.NONE)
    return panel.with_target(_query(query, "A").range() if history else _query(query, "A").instant())


def gauges(frame: Frame, query: Query, *, top: float) -> Panel:
    """One bar for each series, by its last value."""
    panel = _framed(bargauge.Panel(), frame).reduce_options(_last()).min(0).max(top)
    panel.display_mode(common_model.BarGaugeDisplayMode.BASIC).orientation(common_model.VizOrientation.HORIZONTAL)
    return panel.with_target(_query(query, "A").instant())


def states(
    frame: Frame,
    query: Query,
    words: Mapping[str, tuple[str, str]],
    ranges: Sequence[tuple[float, float, str]] = (),
) -> Panel:
    """One band for each series, coloured by its state over time; `ranges` are numbers from, to, and their colour."""
    panel = _framed(statetimeline.Panel(), frame).mappings([_mapping(words), *(_range(*each) for each in ranges)])
    panel.legend(_legend([])).tooltip(_tooltip())
    panel.show_value(common_model.VisibilityMode.AUTO if ranges else common_model.VisibilityMode.NEVER)
    panel.row_height(0.8).fill_opacity(80).line_width(0).merge_values(True)
    return panel.with_target(_query(query, "A").range())


def heat(frame: Frame, query: Query) -> Panel:
    """A histogram over time, with single runs as dots. The query sums by `le`."""
    panel = _framed(heatmap.Panel(), frame).calculate(False).y_axis(heatmap.YAxisConfig().unit(frame.unit))
    panel.color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Spectral").steps(64).exponent(0.5))
    panel.cell_gap(1).filter_values(heatmap.FilterValueRange().le(1e-9)).exemplars_color("rgba(255, 152, 48, 0.85)")
    panel.tooltip(heatmap.HeatmapTooltip().mode(common_model.TooltipDisplayMode.SINGLE).y_histogram(True)).hide_legend()
    return panel.with_target(_query(query, "A").range().format(PromQueryFormat.HEATMAP))


def targets_table(
    frame: Frame,
    labels: Mapping[str, str],
    columns: Sequence[Column],
    links: Mapping[str, tuple[str, str]],
    *,
    without: Sequence[str] = (),
) -> Panel:
    """A row for each set of label values: `labels` name its first columns, `links` what a click on one says and opens.

    Labels `without` a column still tell rows apart.
    """
    panel = _framed(table.Panel(), frame).filterable(True).cell_options(common_model.TableAutoCellOptions())
    for ref, column in zip("ABCDEFGHIJ", columns, strict=False):
        panel.with_target(_query(Query(column.expr), ref).instant().format(PromQueryFormat.TABLE))
        panel.override_by_name(column.title, _settings(column))
    for label in filter(_WIDTHS.get, labels):
        panel.override_by_name(labels[label], [model.DynamicConfigValue("custom.width", _WIDTHS[label])])
    for label, (title, url) in links.items():
        link = {"title": title, "url": url}
        panel.override_by_name(labels[label], [model.DynamicConfigValue("links", [link])])
    titles = {**labels, **{f"Value #{ref}": column.title for ref, column in zip("ABCDEFGHIJ", columns, strict=False)}}
    return panel.with_transformation(model.DataTransformerConfig("merge", options={})).with_transformation(
        model.DataTransformerConfig(
            "organize",
            options={
                "excludeByName": dict.fromkeys(("Time", *without), True),
                "indexByName": {name: index for index, name in enumerate(titles)},
                "renameByName": titles,
            },
        )
    )


_WIDTHS = {"target": 320, "metric": 320, "cgroup": 220, "subject": 220, "issuer": 220, "test": 320}
"""Of columns whose values are long, in pixels; the others share what is left."""


def _framed(panel: _P, frame: Frame) -> _P:
    panel.id(frame.id).title(frame.title).description(frame.description).datasource(_SOURCE)
    panel.span(frame.width).height(frame.height).unit(frame.unit).thresholds(_thresholds(frame.steps))
    if frame.decimals is not None:
        panel.decimals(frame.decimals)
    if frame.empty:
        panel.no_value(frame.empty)
    for name, color in frame.colors.items():
        panel.override_by_name(name, [model.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": color})])
    if frame.opens:
        link = {"title": "Open in detail", "url": frame.opens}
        panel.override_by_regexp("/.*/", [model.DynamicConfigValue("links", [link])])
    return panel


_LIMIT = [
    model.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": "red"}),
    model.DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [8, 6]}),
    model.DynamicConfigValue("custom.fillOpacity", 0),
]
"""How a limit is drawn beside what it limits."""


def _asking(panel: timeseries.Panel, queries: Sequence[Query]) -> timeseries.Panel:
    for ref, query in zip("ABCDEFGHIJ", queries, strict=False):
        panel.with_target(_query(query, ref).range())
    return panel


def _query(query: Query, ref: str) -> prometheus.Dataquery:
    asked = prometheus.Dataquery().ref_id(ref).datasource(_SOURCE).expr(query.expr).exemplar(query.exemplars)
    return asked.legend_format(query.legend) if query.legend else asked


def _settings(column: Column) -> list[model.DynamicConfigValue]:
    settings: dict[str, object] = {"unit": column.unit}
    if column.decimals is not None:
        settings["decimals"] = column.decimals
    if column.words:
        settings["mappings"] = [_mapping(column.words)]
    if column.words or column.steps is not PLAIN:
        settings["thresholds"] = _thresholds(column.steps).build()
        settings["custom.cellOptions"] = {"type": "color-text"}
    return [model.DynamicConfigValue(name, value) for name, value in settings.items()]


def _thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    made = [model.Threshold(value, color) for value, color in steps]
    return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(made)


def _mapping(words: Mapping[str, tuple[str, str]]) -> model.ValueMap:
    options = {
        value: model.ValueMappingResult(text=text, color=color, index=index)
        for index, (value, (text, color)) in enumerate(words.items())
    }
    return model.ValueMap(options=options)


def _range(low: float, high: float, color: str) -> model.RangeMap:
    result = model.ValueMappingResult(color=color)
    return model.RangeMap(options=model.DashboardRangeMapOptions(from_val=low, to=high, result=result))


def _legend(calcs: list[str]) -> common.VizLegendOptions:
    legend = common.VizLegendOptions().show_legend(True).placement(common_model.LegendPlacement.BOTTOM)
    mode = common_model.LegendDisplayMode.TABLE if calcs else common_model.LegendDisplayMode.LIST
    return legend.display_mode(mode).calcs(calcs)


def _tooltip() -> common.VizTooltipOptions:
    return (
        common.VizTooltipOptions().mode(common_model.TooltipDisplayMode.MULTI).sort(common_model.SortOrder.DESCENDING)
    )


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"])


# ---------------------------------------------------------------- what stands around the panels


def _source_variable() -> dashboard.DatasourceVariable:
    return dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")


def _variable(variable: Variable) -> dashboard.QueryVariable:
    query = f"label_values({variable.series}, {variable.label})"
    return (
        dashboard.QueryVariable(variable.label)
        .label(variable.title)
        .datasource(_SOURCE)
        .query({"query": query, "refId": variable.label})
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".+")
        .current(model.VariableOption(text=["All"], value=["$__all"], selected=True))
    )


def _choice(choice: Choice) -> dashboard.CustomVariable:
    first, *_ = choice.values
    made = dashboard.CustomVariable(choice.name).label(choice.title).values(", ".join(choice.values))
    return made.current(model.VariableOption(text=first, value=first, selected=True))


def _annotation(annotation: Annotation) -> dashboard.AnnotationQuery:
    return (
        dashboard.AnnotationQuery()
        .name(annotation.name)
        .datasource(_SOURCE)
        .enable(True)
        .icon_color(annotation.color)
        .expr(annotation.expr)
        .title_format(annotation.title)
        .text_format(annotation.text)
        .use_value_for_time(annotation.value_is_time)
    )


def _link_to_others() -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink("perfmon")
        .type(model.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)
        .keep_time(True)
        .include_vars(True)
    )


def _written(built: model.Dashboard) -> str:
    raw: dict[str, Any] = json.loads(JSONEncoder().encode(built))
    raw["schemaVersion"] = SCHEMA_VERSION
    for variable in raw["templating"]["list"]:
        for name in ("auto", "auto_count", "auto_min"):  # settings of another type of variable
            variable.pop(name, None)
    for shown in (*raw["annotations"]["list"], *raw["links"]):
        shown.pop("placement", None)  # the SDK's default hides it in a menu
    for panel in raw["panels"]:
        panel.get("options", {}).pop("footer", None)  # of tables; gone from Grafana's schema
    return json.dumps(raw, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
