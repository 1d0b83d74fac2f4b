"""Draws a dashboard from what Prometheus answered, about as Grafana would: an HTML page of SVG, 1280 pixels wide.

No Grafana server can be had where perfmon is made. So this draws what hangs on the dashboard itself: which series there
are, how they are called, their units, colours and thresholds, and whether it all has room.
"""

import html
import math
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

WIDTH = 1280
GAP, ROW, MARGIN = 8, 38, 16  # pixels; a row of Grafana's grid has a gap in it
COLUMN = (WIDTH - 2 * MARGIN + GAP) / 24

PALETTE = ("#7EB26D", "#EAB839", "#6ED0E0", "#EF843C", "#E24D42", "#1F78C1", "#BA43A9", "#705DA0", "#508642", "#CCA300")
HUES = {
    "red": ("#C4162A", "#E02F44", "#F2495C", "#FF7383", "#FFA6B0"),
    "orange": ("#FA6400", "#FF780A", "#FF9830", "#FFB357", "#FFCB7D"),
    "yellow": ("#E0B400", "#F2CC0C", "#FADE2A", "#FFEE52", "#FFF899"),
    "green": ("#37872D", "#56A64B", "#73BF69", "#96D98D", "#C8F2C2"),
    "blue": ("#1F60C4", "#3274D9", "#5794F2", "#8AB8FF", "#C0D8FF"),
    "purple": ("#8F3BB8", "#A352CC", "#B877D9", "#CA95E5", "#DEB6F2"),
}
SHADES = ("dark-", "semi-dark-", "", "light-", "super-light-")
NAMED = {f"{shade}{hue}": color for hue, colors in HUES.items() for shade, color in zip(SHADES, colors, strict=True)}
NAMED["text"] = "currentColor"
LEGEND_ROW = 18


class Series(NamedTuple):
    """One of an answer: its name, and its values by time (Unix seconds); an instant query has one value."""

    name: str
    labels: Mapping[str, str]
    points: Sequence[tuple[float, float]]
    ref: str = "A"

    @property
    def last(self) -> float:
        return self.points[-1][1] if self.points else math.nan


class Answer(NamedTuple):
    """What was asked for a panel, the span of time, and single runs: time and value of each exemplar."""

    series: Sequence[Series]
    begin: float
    end: float
    dots: Sequence[tuple[float, float]] = ()


def page(board: Mapping[str, Any], answers: Mapping[int, Answer], *, dark: bool) -> str:
    """The whole dashboard; `answers` by the panels' ids."""
    panels = board["panels"]
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) * ROW + 64
    drawn = "".join(_placed(panel, answers.get(panel["id"])) for panel in panels)
    title = html.escape(board["title"])
    look = "--page:#111217;--panel:#181b1f;--line:#2c3235;--ink:#ccccdc;--soft:#8e8e99" if dark else _LIGHT
    return (
        f"<!doctype html><meta charset=utf-8><title>{title}</title><style>:root{{{look}}}{_STYLE}</style>"
        f'<main style="height:{height}px"><h1>{title}</h1>{drawn}</main>'
    )


_LIGHT = "--page:#f4f5f5;--panel:#fff;--line:#e4e7e7;--ink:#24292e;--soft:#6c757d"
_STYLE = """
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);font:12px Inter,Roboto,Arial,sans-serif}
main{position:relative;width:1280px}h1{margin:0;padding:14px 16px;font-size:16px;font-weight:500}
.panel,.row{position:absolute;overflow:hidden}.panel{background:var(--panel);border:1px solid var(--line);
border-radius:2px}.row{font-size:15px;font-weight:500;padding:6px 0}.panel h2{margin:0;padding:7px 8px 0;font-size:13px;
font-weight:500;white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.big{display:flex;align-items:center;justify-content:center;font-weight:500;height:calc(100% - 26px)}
table{border-collapse:collapse;width:100%}.fixed{table-layout:fixed}td,th{text-align:left;padding:5px 8px;border-top:1px solid var(--line);
white-space:nowrap;font-weight:400;overflow:hidden;text-overflow:ellipsis;max-width:330px}th{font-weight:500;color:#6e9fff}
.legend td,.legend th{padding:1px 8px;border:0;line-height:16px}.legend .n{text-align:right}i{display:inline-block;
width:14px;height:4px;border-radius:2px;margin-right:6px;vertical-align:middle}text{fill:var(--soft);font-size:11px}
.none{color:var(--soft);display:flex;align-items:center;justify-content:center;height:calc(100% - 26px);font-size:14px}
.bar{display:flex;align-items:center;padding:3px 10px;gap:8px}.bar span{width:36%;overflow:hidden;white-space:nowrap;
text-overflow:ellipsis}.bar div{flex:1;background:var(--line);height:18px}.bar b{display:block;height:18px}
.bar em{width:80px;font-style:normal;text-align:right}
"""


def _placed(panel: Mapping[str, Any], answer: Answer | None) -> str:
    place = panel["gridPos"]
    left, top = MARGIN + place["x"] * COLUMN, 46 + place["y"] * ROW
    width, height = place["w"] * COLUMN - GAP, place["h"] * ROW - GAP
    style = f"left:{left:.0f}px;top:{top:.0f}px;width:{width:.0f}px;height:{height:.0f}px"
    title = html.escape(panel["title"])
    if panel["type"] == "row":
        return f'<div class="row" style="{style}">⌄ {title}</div>'
    assert answer is not None, f"nobody asked for {panel['title']}"
    body = _DRAWN[panel["type"]](panel, answer, width - 2, height - 30) if answer.series else _nothing(panel)
    return f'<div class="panel" style="{style}"><h2>{title}</h2>{body}</div>'


def _nothing(panel: Mapping[str, Any]) -> str:
    return f'<div class="none">{html.escape(panel["fieldConfig"]["defaults"].get("noValue", "No data"))}</div>'


# ---------------------------------------------------------------- values in words and colours


def shown(value: float, unit: str, decimals: int | None = None) -> str:
    """A value in its unit, as Grafana words it."""
    if not math.isfinite(value):
        return "-"
    if unit in ("percentunit", "percent"):
        share = value * 100 if unit == "percentunit" else value
        return f"{_digits(share, decimals)}%"
    if unit in ("s", "dtdurations"):
        return _span(value, long=unit == "dtdurations", decimals=decimals)
    if unit in ("bytes", "Bps"):
        return _scaled(value, 1024, ("B", "KiB", "MiB", "GiB", "TiB"), decimals) + ("/s" if unit == "Bps" else "")
    if unit == "dateTimeFromNow":
        return f"{max(0, time.time() - value / 1000):.0f} seconds ago"
    after = {"reqps": " req/s", "cps": " c/s", "d": " d"}.get(unit, "")
    return _scaled(value, 1000, ("", " K", " Mil", " Bil"), decimals) + after


def _scaled(value: float, base: int, units: Sequence[str], decimals: int | None) -> str:
    power = 0
    while abs(value) >= base and power < len(units) - 1:
        value, power = value / base, power + 1
    unit = units[power]
    return f"{_digits(value, decimals)}{' ' if base == 1024 else ''}{unit}"


def _span(seconds: float, *, long: bool, decimals: int | None) -> str:
    size = abs(seconds)
    if size >= 60 or (long and size >= 1):
        scales = (("year", 31536000), ("month", 2628000), ("week", 604800), ("day", 86400), ("hour", 3600), ("min", 60))
        name, length = next((scale for scale in scales if size >= scale[1]), ("s", 1))
        number = _digits(seconds / length, decimals)
        return f"{number} {name}{'s' if name not in ('min', 's') and number != '1' else ''}"
    for unit, length in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9)):
        if size >= length:
            return f"{_digits(seconds / length, decimals)} {unit}"
    return "0 s"


def _digits(value: float, decimals: int | None) -> str:
    if decimals is not None:
        return f"{value:.{decimals}f}"
    places = 0 if abs(value) >= 100 or value == int(value) else 1 if abs(value) >= 10 else 2
    text = f"{value:.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _color(name: str) -> str:
    return NAMED.get(name, name)


def _by_steps(value: float, steps: Sequence[Mapping[str, Any]]) -> str:
    found = [step for step in steps if step["value"] is None or value >= step["value"]]
    return _color((found or steps)[-1 if found else 0]["color"])


def _worded(value: float, mappings: Sequence[Mapping[str, Any]]) -> tuple[str, str] | None:
    """Text and colour of a value that has words."""
    for mapping in mappings:
        options = mapping["options"]
        if mapping["type"] == "value" and (found := options.get(f"{value:g}")):
            return found["text"], _color(found["color"])
        if mapping["type"] == "range" and options["from"] <= value <= options["to"]:
            return f"{value:g}", _color(options["result"]["color"])
    return None


def _overrides(panel: Mapping[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for override in panel["fieldConfig"]["overrides"]:
        matcher, wanted = override["matcher"]["id"], override["matcher"]["options"]
        if wanted == name if matcher == "byName" else re.search(wanted.strip("/"), name):
            found |= {each["id"]: each["value"] for each in override["properties"]}
    return found


# ---------------------------------------------------------------- panels


def _lines(panel: Mapping[str, Any], answer: Answer, width: float, height: float) -> str:
    defaults = panel["fieldConfig"]["defaults"]
    custom, unit = defaults["custom"], defaults["unit"]
    stacked, bars = custom.get("stacking", {}).get("mode") == "normal", custom.get("drawStyle") == "bars"
    log = custom.get("scaleDistribution", {}).get("type") == "log"
    rows = min(len(answer.series) + 1, 7)
    plot = _Plot(answer, width, height - rows * LEGEND_ROW - 6, log=log)
    colors = {
        series.name: _color(_overrides(panel, series.name).get("color", {}).get("fixedColor", PALETTE[index % 10]))
        for index, series in enumerate(answer.series)
    }
    steps = [step for step in defaults["thresholds"]["steps"] if step["value"] is not None]
    marked = steps if "thresholdsStyle" in custom and custom["thresholdsStyle"]["mode"] != "off" else []
    layers = _stacked(answer.series) if stacked else [(series, [0.0] * len(series.points)) for series in answer.series]
    tops = [low + value for series, lows in layers for low, (_, value) in zip(lows, series.points, strict=True)]
    plot.span([*tops, *(each for _, each in answer.dots)], low=defaults.get("min"), high=defaults.get("max"))
    parts = [plot.axes(unit)]
    step = (answer.end - answer.begin) / 120
    for series, lows in layers:
        dashed = "custom.lineStyle" in _overrides(panel, series.name)
        parts.append(
            plot.layer(series, lows, colors[series.name], bars=bars, stacked=stacked, dashed=dashed, step=step)
        )
    parts.extend(plot.threshold(each["value"], _color(each["color"])) for each in marked)
    parts.extend(plot.dot(*each, "#FF9830") for each in answer.dots)
    return plot.svg(parts) + _legend(answer.series, colors, unit, defaults.get("decimals"))


def _stacked(series: Sequence[Series]) -> list[tuple[Series, list[float]]]:
    below: dict[float, float] = {}
    layers = []
    for each in series:
        lows = [below.get(at, 0.0) for at, _ in each.points]
        below |= {at: low + value for low, (at, value) in zip(lows, each.points, strict=True)}
        layers.append((each, lows))
    return layers


def _legend(series: Sequence[Series], colors: Mapping[str, str], unit: str, decimals: int | None) -> str:
    rows = "".join(
        f'<tr><td><i style="background:{colors[each.name]}"></i>{html.escape(each.name)}</td>'
        f'<td class="n">{shown(each.last, unit, decimals)}</td>'
        f'<td class="n">{shown(max(value for _, value in each.points), unit, decimals)}</td></tr>'
        for each in series
    )
    return f'<table class="legend"><tr><th>Name</th><th class="n">Last *</th><th class="n">Max</th></tr>{rows}</table>'


class _Plot:
    """A field of time to the right and values upwards."""

    LEFT, RIGHT, TOP, BOTTOM = 62, 12, 8, 20

    def __init__(self, answer: Answer, width: float, height: float, *, log: bool = False) -> None:
        self.answer, self.width, self.height, self.log = answer, width, max(height, 60), log
        self.low, self.high = 0.0, 1.0

    def span(self, values: Sequence[float], low: float | None, high: float | None) -> None:
        finite = [value for value in values if math.isfinite(value)] or [0.0]
        self.low = min(finite) if low is None else low
        self.high = max(finite) * 1.05 if high is None else high
        if self.log:
            self.low = min(value for value in finite if value > 0)
        if self.high <= self.low:
            self.high = self.low + 1.0

    def x(self, at: float) -> float:
        share = (at - self.answer.begin) / (self.answer.end - self.answer.begin)
        return self.LEFT + share * (self.width - self.LEFT - self.RIGHT)

    def y(self, value: float) -> float:
        if self.log:
            share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.height - self.BOTTOM - min(max(share, 0), 1) * (self.height - self.TOP - self.BOTTOM)

    def axes(self, unit: str) -> str:
        parts = []
        for tick in _ticks(self.low, self.high, log=self.log, binary=unit in ("bytes", "Bps")):
            y = self.y(tick)
            parts.append(f'<line x1="{self.LEFT}" x2="{self.width - self.RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="g"/>')
            parts.append(f'<text x="{self.LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{shown(tick, unit)}</text>')
        return "".join(parts) + self.times()

    def times(self) -> str:
        begin, end = self.answer.begin, self.answer.end
        step = next(
            step for step in (15, 30, 60, 300, 900, 3600, 86400, 864000) if (end - begin) / step <= self.width / 70
        )
        first = math.ceil(begin / step) * step
        return "".join(
            f'<text x="{self.x(at):.0f}" y="{self.height - 5:.0f}" text-anchor="middle">'
            f"{datetime.fromtimestamp(at, UTC):%H:%M:%S}</text>"
            for at in range(first, int(end), step)
            if self.x(at) < self.width - 30
        )

    def layer(
        self, series: Series, lows: Sequence[float], color: str, *, bars: bool, stacked: bool, dashed: bool, step: float
    ) -> str:
        points = [(at, low, low + value) for low, (at, value) in zip(lows, series.points, strict=True)]
        points = [point for point in points if math.isfinite(point[2])]
        if bars:
            wide = max(2.0, (self.x(self.answer.begin + step) - self.LEFT) * 0.8)
            return "".join(
                f'<rect x="{self.x(at) - wide / 2:.1f}" y="{self.y(top):.1f}" width="{wide:.1f}" '
                f'height="{self.y(low) - self.y(top):.1f}" fill="{color}" fill-opacity=".7"/>'
                for at, low, top in points
            )
        runs = _unbroken(points, 3 * step)
        opacity = 0.6 if stacked else 0.0 if dashed else 0.08
        return "".join(self._area(run, color, opacity) + self._line(run, color, dashed=dashed) for run in runs)

    def _line(self, points: Sequence[tuple[float, float, float]], color: str, *, dashed: bool) -> str:
        path = " ".join(f"{self.x(at):.1f},{self.y(top):.1f}" for at, _, top in points)
        dash = ' stroke-dasharray="8 6"' if dashed else ""
        return f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.2"{dash}/>'

    def _area(self, points: Sequence[tuple[float, float, float]], color: str, opacity: float) -> str:
        above = [f"{self.x(at):.1f},{self.y(top):.1f}" for at, _, top in points]
        below = [f"{self.x(at):.1f},{self.y(low):.1f}" for at, low, _ in reversed(points)]
        return f'<polygon points="{" ".join(above + below)}" fill="{color}" fill-opacity="{opacity}"/>'

    def threshold(self, value: float, color: str) -> str:
        if not self.low <= value <= self.high:
            return ""
        y = self.y(value)
        return (
            f'<line x1="{self.LEFT}" x2="{self.width - self.RIGHT}" y1="{y:.1f}" y2="{y:.1f}" '
            f'stroke="{color}" stroke-dasharray="8 6"/>'
        )

    def dot(self, at: float, value: float, color: str) -> str:
        if not self.answer.begin <= at <= self.answer.end:
            return ""
        x, y = self.x(at), self.y(value)
        return f'<path d="M{x:.1f} {y - 4:.1f}l4 4-4 4-4-4z" fill="{color}" fill-opacity=".85"/>'

    def svg(self, parts: Sequence[str]) -> str:
        style = "<style>.g{stroke:var(--line)}</style>"
        return f'<svg width="{self.width:.0f}" height="{self.height:.0f}">{style}{"".join(parts)}</svg>'


def _unbroken(points: Sequence[tuple[float, float, float]], most: float) -> list[list[tuple[float, float, float]]]:
    runs: list[list[tuple[float, float, float]]] = []
    for point in points:
        if runs and point[0] - runs[-1][-1][0] <= most:
            runs[-1].append(point)
        else:
            runs.append([point])
    return runs


def _ticks(low: float, high: float, *, log: bool, binary: bool) -> list[float]:
    if log:
        return [10.0**power for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
    rough = (high - low) / 4
    size = 10 ** math.floor(math.log10(rough))
    step = next(size * each for each in (1, 2, 2.5, 5, 10) if size * each >= rough)
    if binary and rough > 1:
        step = 2.0 ** math.ceil(math.log2(rough))
    return [tick * step for tick in range(math.ceil(low / step), math.floor(high / step + 1e-9) + 1)]


def _number(panel: Mapping[str, Any], answer: Answer, width: float, height: float) -> str:
    defaults, series = panel["fieldConfig"]["defaults"], answer.series[0]
    words = _worded(series.last, defaults.get("mappings", []))
    text, color = words or (
        shown(series.last, defaults["unit"], defaults.get("decimals")),
        _by_steps(series.last, defaults["thresholds"]["steps"]),
    )
    size = min(height * 0.55, width / max(len(text), 1) * 1.5, 64)
    plot = ""
    if panel["options"]["graphMode"] == "area" and len(series.points) > 1:
        plot = _sparkline(answer, series, color, width)
    return f'<div class="big" style="color:{color};font-size:{size:.0f}px">{html.escape(text)}</div>{plot}'


def _sparkline(answer: Answer, series: Series, color: str, width: float) -> str:
    most = max((value for _, value in series.points if math.isfinite(value)), default=1) or 1
    points = " ".join(
        f"{(at - answer.begin) / (answer.end - answer.begin) * width:.1f},{34 - value / most * 32:.1f}"
        for at, value in series.points
        if math.isfinite(value)
    )
    return (
        f'<svg width="{width:.0f}" height="36" style="position:absolute;bottom:0;left:0;color:{color}">'
        f'<polyline points="{points}" fill="none" stroke="{color}"/></svg>'
    )


def _bands(panel: Mapping[str, Any], answer: Answer, width: float, height: float) -> str:
    mappings = panel["fieldConfig"]["defaults"]["mappings"]
    plot = _Plot(answer, width, height)
    plot.LEFT = 250 if width > 800 else 190
    worded = panel["options"]["showValue"] != "never"
    room = (plot.height - 28) / len(answer.series)
    parts, step = [plot.times()], (answer.end - answer.begin) / 120
    for row, series in enumerate(answer.series):
        y = 4 + row * room
        name = series.name if len(series.name) < 40 else f"{series.name[:38]}…"
        parts.append(
            f'<text x="{plot.LEFT - 8}" y="{y + room / 2 + 4:.1f}" text-anchor="end">{html.escape(name)}</text>'
        )
        for at, value in series.points:
            _, color = _worded(value, mappings) or ("", "#888")
            wide = plot.x(at + step) - plot.x(at) + 0.5
            parts.append(
                f'<rect x="{plot.x(at):.1f}" y="{y:.1f}" width="{wide:.1f}" height="{room * 0.8:.1f}" '
                f'fill="{color}" fill-opacity=".8"/>'
            )
        if worded:
            parts.append(f'<text x="{plot.LEFT + 6}" y="{y + room / 2:.1f}">{series.last:g}</text>')
    return plot.svg(parts)


def _heat(panel: Mapping[str, Any], answer: Answer, width: float, height: float) -> str:
    bounds = sorted(answer.series, key=lambda series: float(series.labels["le"]))
    names = [float(series.labels["le"]) for series in bounds]
    plot = _Plot(answer, width, height)
    room = (plot.height - plot.BOTTOM - 12) / len(bounds)
    counts = [dict(series.points) for series in bounds]
    alone = [
        {at: value - (counts[row - 1].get(at, 0) if row else 0) for at, value in each.items()}
        for row, each in enumerate(counts)
    ]
    most = max((value for each in alone for value in each.values()), default=1) or 1
    step = (answer.end - answer.begin) / 120
    parts = [plot.times()]
    for row, each in enumerate(alone):
        y = 10 + (len(bounds) - 1 - row) * room
        label = "+Inf" if math.isinf(names[row]) else shown(names[row], panel["options"]["yAxis"]["unit"])
        parts.append(f'<text x="56" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
        parts.extend(
            f'<rect x="{plot.x(at):.1f}" y="{y:.1f}" width="{max(1.0, plot.x(at + step) - plot.x(at) - 1):.1f}" '
            f'height="{room - 1:.1f}" fill="{_spectral((value / most) ** 0.5)}"/>'
            for at, value in each.items()
            if value > 1e-9
        )
    for at, value in answer.dots:
        if answer.begin <= at <= answer.end:
            row = next(index for index, bound in enumerate(names) if value <= bound)
            x, y = plot.x(at), 10 + (len(bounds) - 0.5 - row) * room
            parts.append(
                f'<path d="M{x:.1f} {y - 4:.1f}l4 4-4 4-4-4z" fill="#FF9830" stroke="#000" stroke-width=".5"/>'
            )
    return plot.svg(parts)


def _spectral(share: float) -> str:
    ramp = ((94, 79, 162), (50, 136, 189), (102, 194, 165), (230, 245, 152), (253, 174, 97), (213, 62, 79))
    place = min(max(share, 0), 1) * (len(ramp) - 1)
    low = min(int(place), len(ramp) - 2)
    mixed = (round(a + (b - a) * (place - low)) for a, b in zip(ramp[low], ramp[low + 1], strict=True))
    return f"rgb({','.join(map(str, mixed))})"


def _bars(panel: Mapping[str, Any], answer: Answer, width: float, height: float) -> str:
    defaults = panel["fieldConfig"]["defaults"]
    return "".join(
        f'<div class="bar"><span>{html.escape(series.name)}</span><div><b style="width:'
        f"{min(series.last / defaults['max'], 1) * 100:.1f}%;background:"
        f'{_by_steps(series.last, defaults["thresholds"]["steps"])}"></b></div>'
        f"<em>{shown(series.last, defaults['unit'], defaults.get('decimals'))}</em></div>"
        for series in answer.series
    )


def _table(panel: Mapping[str, Any], answer: Answer, width: float, height: float) -> str:
    [organize] = [each["options"] for each in panel["transformations"] if each["id"] == "organize"]
    names, hidden = organize["renameByName"], organize["excludeByName"]
    rows: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
    for series in answer.series:
        labels = {name: value for name, value in series.labels.items() if name != "__name__"}
        row = rows.setdefault(tuple(sorted(labels.items())), labels | {})
        title = names[f"Value #{series.ref}"]
        row[f"Value #{series.ref}"] = _cell(panel, title, series.last)
    kept = [name for name in sorted(names, key=organize["indexByName"].__getitem__) if name not in hidden]
    widths = {name: _overrides(panel, names[name]).get("custom.width", "auto") for name in kept}
    head = "".join(f'<th style="width:{widths[name]}px">{html.escape(names[name])}</th>' for name in kept)
    body = "".join(
        f"<tr>{''.join(f'<td>{_marked(row.get(name, str()))}</td>' for name in kept)}</tr>" for row in rows.values()
    )
    return f'<table class="fixed"><tr>{head}</tr>{body}</table>'


def _cell(panel: Mapping[str, Any], title: str, value: float) -> str:
    set_ = _overrides(panel, title)
    words = _worded(value, set_.get("mappings", []))
    steps = set_.get("thresholds", {}).get("steps", [])
    text, color = words or (
        shown(value, set_.get("unit", "short"), set_.get("decimals")),
        _by_steps(value, steps) if steps else "inherit",
    )
    return f"\0{color}\0{text}"


def _marked(text: str) -> str:
    if not text.startswith("\0"):
        return html.escape(text)
    _, color, words = text.split("\0")
    return f'<span style="color:{color}">{html.escape(words)}</span>'


_DRAWN = {
    "timeseries": _lines,
    "stat": _number,
    "state-timeline": _bands,
    "heatmap": _heat,
    "bargauge": _bars,
    "table": _table,
}
