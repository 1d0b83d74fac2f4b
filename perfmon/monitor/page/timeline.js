// A chart of series over time, each point where it is: lines, the line that a verdict fitted with its band, and marks at
// restarts, profiles and alerts. Read by pointer and by arrows.

import { label } from "./chart.js";
import { h, s, setAttribute, setText } from "./dom.js";
import { at, minuteOf } from "./format.js";

const WIDTH = 1000;
const HEIGHT = 100;
const LEAST_RANGE = 0.04; // of a value's size: less never looks like much
const NEAR = 1.6; // times the highest value: a limit that is further away is not drawn
const MOST_LINES = 3;
const KINDS = ["restart", "cut", "firing", "resolved"];

// An element with draw({from, to, lines, fits, marks, zero, whole, limit, gapS, words}). Times are Unix seconds. `lines`
// are {name, points: [[t, value]]}; `fits` are lists of [t, value, low, high]; `marks` are {t, kind, words}.
export function timeline() {
  const names = ["grid", "band", "limit", ...Array.from({ length: MOST_LINES }, (_, i) => `line line-${i}`), "fit", ...KINDS.map((kind) => `event ${kind}`), "cursor"];
  const parts = Object.fromEntries(names.map((name) => [name, s("path", { class: name })]));
  const svg = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, ...Object.values(parts));
  const heights = h("div", { class: "heights", "aria-hidden": "true" });
  const times = h("div", { class: "times", "aria-hidden": "true" });
  const plot = h("div", { class: "plot", tabindex: "0", role: "img" }, svg);
  const readout = h("p", { class: "readout", role: "status" });
  const element = h("figure", { class: "timeline" }, heights, plot, times, readout);
  const chart = { parts, heights, times, plot, readout, shown: null, at: null };
  plot.addEventListener("pointermove", (event) => point(chart, instantUnder(chart, event)));
  plot.addEventListener("pointerleave", () => point(chart, null));
  plot.addEventListener("blur", () => point(chart, null));
  plot.addEventListener("keydown", (event) => step(chart, event));
  return { element, draw: (shown) => draw(chart, shown) };
}

function draw(chart, shown) {
  const { from, to, lines, fits = [], marks = [], limit = null, gapS, words } = shown;
  const { parts } = chart;
  const seen = lines.map((line) => line.points.filter(([t, value]) => t >= from && value !== null));
  const values = [...seen.flat(), ...fits.flat()].map(([, value]) => value);
  const [low, high] = range(values, shown);
  const x = (t) => round(((t - from) / (to - from || 1)) * WIDTH);
  const y = (value) => clamp(round(HEIGHT - ((value - low) / (high - low)) * HEIGHT));
  chart.shown = shown;
  chart.instants = [...new Set(seen.flat().map(([t]) => t))].sort((a, b) => a - b);
  setAttribute(parts.grid, "d", [(low + high) / 2, high].map((value) => `M0 ${y(value)}H${WIDTH}`).join(""));
  for (let i = 0; i < MOST_LINES; i += 1) setAttribute(parts[`line line-${i}`], "d", through(seen[i] ?? [], gapS, x, y));
  setAttribute(parts.fit, "d", fits.map((fit) => polyline(fit, x, y)).join(""));
  setAttribute(parts.band, "d", fits.map((fit) => `${polyline(edges(fit), x, y)}z`).join(""));
  setAttribute(parts.limit, "d", limit !== null && limit >= low && limit <= high ? `M0 ${y(limit)}H${WIDTH}` : "");
  for (const kind of KINDS) setAttribute(parts[`event ${kind}`], "d", marks.filter((mark) => mark.kind === kind && mark.t >= from && mark.t <= to).map(({ t }) => `M${x(t)} 0V${HEIGHT}`).join(""));
  label(chart.heights, [high, (high + low) / 2, low].map((value, i) => [values.some(Boolean) || !value ? words(value) : "", i / 2, "top"]));
  label(chart.times, ticks(from, to));
  setAttribute(chart.plot, "aria-label", whole(shown));
  point(chart, chart.at);
}

const polyline = (points, x, y) => `M${points.map(([t, value]) => `${x(t)} ${y(value)}`).join("L")}`;
const edges = (fit) => [...fit.map(([t, , , top]) => [t, top]), ...fit.toReversed().map(([t, , foot]) => [t, foot])];

// Where the vertical axis begins and ends. A limit is shown when it is not so far away that the line would lie flat; of
// what is counted in whole numbers the ends and the middle are such.
function range(values, { zero = false, whole: counted = false, limit = null }) {
  const [low, high] = rangeOf(values, zero, limit);
  if (!counted) return [low, high];
  const foot = zero ? 0 : Math.max(0, Math.floor(low - 1));
  return [foot, foot + 2 * Math.ceil((high - foot) / 2)];
}

function rangeOf(values, zero, limit) {
  const most = Math.max(...values, 0);
  const top = limit !== null && limit > most && limit <= NEAR * most ? limit : most;
  if (zero || !values.length) return [0, top * 1.06 || 1];
  const foot = Math.min(...values);
  const reach = Math.max(top - foot, LEAST_RANGE * Math.abs(top), Number.MIN_VALUE);
  const low = Math.max(0, (top + foot - reach) / 2 - 0.08 * reach);
  return [low, low + 1.16 * reach];
}

function through(points, gapS, x, y) {
  let last = null;
  return points.map(([t, value]) => {
    const joint = last !== null && t - last <= gapS ? "L" : "M";
    last = t;
    return `${joint}${x(t)} ${y(value)}`;
  }).join("");
}

function ticks(from, to) {
  const count = 4;
  const brief = to - from < 600;
  const instants = Array.from({ length: count - 1 }, (_, i) => from + ((i + 1) * (to - from)) / count);
  return instants.map((t, i) => [brief ? at(t, t) : minuteOf(t), (i + 1) / count, "left"]);
}

const clamp = (value) => Math.min(HEIGHT, Math.max(0, value));
const round = (value) => Math.round(value * 100) / 100;

// ---------------------------------------------------------------- reading it

function instantUnder({ plot, shown, instants }, event) {
  if (!instants?.length) return null;
  const box = plot.getBoundingClientRect();
  const wanted = shown.from + ((event.clientX - box.left) / box.width) * (shown.to - shown.from);
  return instants.reduce((best, t) => (Math.abs(t - wanted) < Math.abs(best - wanted) ? t : best));
}

function step(chart, event) {
  const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (event.key === "Escape") point(chart, null);
  if (!move || !chart.instants?.length) return;
  event.preventDefault();
  const known = chart.at === null ? -1 : chart.instants.indexOf(chart.at);
  const from = known >= 0 ? known : move < 0 ? chart.instants.length : -1;
  point(chart, chart.instants[Math.min(chart.instants.length - 1, Math.max(0, from + move))]);
}

function point(chart, instant) {
  const { shown } = chart;
  chart.at = instant;
  if (!shown) return;
  const known = instant !== null && instant >= shown.from;
  const x = known ? round(((instant - shown.from) / (shown.to - shown.from || 1)) * WIDTH) : 0;
  setAttribute(chart.parts.cursor, "d", known ? `M${x} 0V${HEIGHT}` : "");
  setText(chart.readout, known ? reading(shown, instant) : whole(shown));
}

function reading({ lines, fits = [], marks = [], gapS, words }, instant) {
  const values = lines.map((line) => [line.name, line.points.find(([t]) => t === instant)?.[1] ?? null]).filter(([, value]) => value !== null);
  const near = marks.filter((mark) => Math.abs(mark.t - instant) <= gapS).map((mark) => mark.words);
  return [`${at(instant, instant)}: ${values.map(([name, value]) => `${name ? `${name} ` : ""}${words(value)}`).join(", ")}`, ...fitted(fits, instant, words), ...near].join("; ");
}

function fitted(fits, instant, words) {
  const fit = fits.find((one) => instant >= one[0][0] && instant <= one.at(-1)[0]);
  if (!fit) return [];
  const [[t0, v0], , [t1, v1]] = fit;
  return [`the line ${words(v0 + ((v1 - v0) * (instant - t0)) / (t1 - t0 || 1))}`];
}

function whole(shown) {
  const told = shown.lines.map((line) => {
    const values = line.points.filter(([t, value]) => value !== null && t >= shown.from).map(([, value]) => value);
    const [low, high] = [Math.min(...values), Math.max(...values)].map(shown.words);
    return values.length ? `${line.name ? `${line.name} ` : ""}${low === high ? low : `${low} to ${high}`}` : "";
  });
  return [told.filter(Boolean).join(", ") || "Nothing known yet", ...(shown.marks ?? []).filter((mark) => mark.t >= shown.from).map((mark) => `${mark.words} ${at(mark.t, shown.to)}`)].join("; ");
}
