// The chart of the last hour of one probe: p50, p95 and p99 of each minute, and the share of its runs that failed.

import { gapOf, label, slotOf } from "./chart.js";
import { h, s, setAttribute, setText } from "./dom.js";
import { count, latency, minuteOf } from "./format.js";

const HEIGHT = 100;
const LINES = ["p99", "p95", "p50"];
const TICK_MINUTES = { 10: 2, 20: 5, 60: 10 };

// An element with draw(history, {minutes, intervalS}). Arrows move along the minutes, as the pointer does.
export function hourChart() {
  const parts = Object.fromEntries(["grid", "marks", "feet", "area", ...LINES, "cursor"].map((name) => [name, s("path", { class: name })]));
  const svg = s("svg", { preserveAspectRatio: "none", "aria-hidden": "true" }, ...Object.values(parts));
  const heights = h("div", { class: "heights", "aria-hidden": "true" });
  const times = h("div", { class: "times", "aria-hidden": "true" });
  const plot = h("div", { class: "plot", tabindex: "0", role: "img" }, svg);
  const readout = h("p", { class: "readout", role: "status" });
  const element = h("figure", { class: "latency" }, heights, plot, times, readout);
  const chart = { parts, svg, heights, times, plot, readout, entries: [], minutes: 60, at: null };
  plot.addEventListener("pointermove", (event) => point(chart, slotUnder(chart, event)));
  plot.addEventListener("pointerleave", () => point(chart, null));
  plot.addEventListener("blur", () => point(chart, null));
  plot.addEventListener("keydown", (event) => step(chart, event));
  return { element, draw: (history, how) => draw(chart, history, how) };
}

function draw(chart, history, { minutes, intervalS }) {
  const newest = history.length ? slotOf(history.at(-1).t) : 0;
  chart.minutes = minutes;
  chart.entries = history.map((entry) => ({ ...entry, x: slotOf(entry.t) - newest + minutes - 1 })).filter((entry) => entry.x >= 0);
  const top = niceTop(Math.max(...chart.entries.flatMap((entry) => [...LINES, "max"].map((name) => entry[name] ?? 0)), 0));
  const y = (value) => round(HEIGHT - (value / top) * HEIGHT);
  setAttribute(chart.svg, "viewBox", `0 0 ${minutes} ${HEIGHT}`);
  setAttribute(chart.parts.grid, "d", [0.5, 1].map((share) => `M0 ${y(share * top)}H${minutes}`).join(""));
  for (const name of LINES) setAttribute(chart.parts[name], "d", through(chart.entries, name, y, gapOf(intervalS)));
  setAttribute(chart.parts.area, "d", under(chart.entries, y, gapOf(intervalS)));
  const failed = chart.entries.filter((entry) => entry.failures);
  setAttribute(chart.parts.marks, "d", failed.map((entry) => column(entry.x, Math.max(0.2, entry.failures / entry.runs))).join(""));
  setAttribute(chart.parts.feet, "d", failed.map((entry) => column(entry.x, 0.04)).join(""));
  label(chart.heights, [top, top / 2, 0].map((value) => [latency(value), 1 - value / top, "top"]));
  label(chart.times, ticks(chart.entries, minutes));
  setAttribute(chart.plot, "aria-label", inWords(chart.entries));
  point(chart, chart.at);
}

// Where the vertical axis ends: 1, 2 or 5 times a power of ten, in seconds.
function niceTop(most) {
  if (!(most > 0)) return 0.001;
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 5, 10].map((step) => step * power).find((value) => value >= most * 0.999);
}

function runsOf(entries, name, gap) {
  const known = entries.filter((entry) => entry.runs && entry[name] !== null && entry[name] !== undefined);
  const runs = [];
  known.forEach((entry, i) => {
    if (i === 0 || entry.x - known[i - 1].x > gap) runs.push([]);
    runs.at(-1).push(entry);
  });
  return runs;
}

// A minute without neighbours is a dash as wide as it is: a dot would not be seen.
const alone = (entry, height) => `M${entry.x} ${height}h1`;
const line = (run, name, y) => `M${run.map((entry) => `${entry.x + 0.5} ${y(entry[name])}`).join("L")}`;
const through = (entries, name, y, gap) => runsOf(entries, name, gap).map((run) => (run.length === 1 ? alone(run[0], y(run[0][name])) : line(run, name, y))).join("");
const under = (entries, y, gap) => runsOf(entries, "p50", gap).filter((run) => run.length > 1).map((run) => `M${run[0].x + 0.5} ${HEIGHT}L${run.map((entry) => `${entry.x + 0.5} ${y(entry.p50)}`).join("L")}L${run.at(-1).x + 0.5} ${HEIGHT}z`).join("");
const column = (x, part) => `M${x} ${HEIGHT}v${round(-HEIGHT * part)}h1V${HEIGHT}z`;
const round = (value) => Math.round(value * 100) / 100;

function ticks(entries, minutes) {
  const step = Object.entries(TICK_MINUTES).find(([most]) => minutes <= Number(most))[1];
  return entries.filter((entry) => slotOf(entry.t) % step === 0 && entry.x > 0 && entry.x < minutes - 1).map((entry) => [minuteOf(entry.t), (entry.x + 0.5) / minutes, "left"]);
}

// ---------------------------------------------------------------- reading it

function slotUnder({ plot, minutes }, event) {
  const box = plot.getBoundingClientRect();
  return Math.floor(((event.clientX - box.left) / box.width) * minutes);
}

function step(chart, event) {
  const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (event.key === "Escape") point(chart, null);
  if (!move) return;
  event.preventDefault();
  const from = chart.at ?? chart.minutes - 1 - Math.min(move, 0);
  point(chart, Math.min(chart.minutes - 1, Math.max(0, from + move)));
}

function point(chart, x) {
  chart.at = x;
  const entry = chart.entries.find((one) => one.x === x);
  setAttribute(chart.parts.cursor, "d", entry ? `M${entry.x + 0.5} 0V${HEIGHT}` : "");
  setText(chart.readout, entry ? minuteInWords(entry) : inWords(chart.entries));
}

function minuteInWords({ t, runs, failures, p50, p95, p99, max }) {
  if (!runs) return `${minuteOf(t)}: no run`;
  const known = [["p50", p50], ["p95", p95], ["p99", p99]].filter(([, value]) => value !== null && value !== undefined);
  return `${minuteOf(t)}: ${count(runs, "run")}, ${failures} failed, ${[...known, ["slowest", max]].map(([name, value]) => `${name} ${latency(value)}`).join(", ")}`;
}

function inWords(entries) {
  const runs = entries.reduce((sum, entry) => sum + entry.runs, 0);
  const failed = entries.reduce((sum, entry) => sum + entry.failures, 0);
  if (!runs) return "No run yet.";
  const slowest = Math.max(...entries.map((entry) => entry.max ?? 0));
  return `${count(runs, "run")}, ${failed.toLocaleString("en")} failed, the slowest took ${latency(slowest)}`;
}
