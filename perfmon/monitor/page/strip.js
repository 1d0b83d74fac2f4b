// A strip of states: one cell for each slot of time, low and calm where nothing failed, tall where something did, with
// the share that failed from its foot up. The style is in page.css.

import { h, s, setAttribute, setText } from "./dom.js";
import { at, count, minuteOf, share } from "./format.js";

const HEIGHT = 10;
const CALM = 5; // height of a cell in which nothing failed
const LEAST = 3; // of the part that failed: one run of a thousand is to be seen
const WIDTH = 0.82; // of a cell; the rest is air
const DAY_S = 86400;

// An element with draw({failed, kept}): `failed` has a share for each cell, null where there was no run; kept(x) says which
// lie in maintenance. mark(x) points at one.
export function strip() {
  const parts = Object.fromEntries(["unknown", "fine", "rest", "failed", "kept", "cursor"].map((name) => [name, s("path", { class: name })]));
  const element = s("svg", { preserveAspectRatio: "none", "aria-hidden": "true", class: "strip" }, ...Object.values(parts));
  const draw = ({ failed, kept = () => false }) => {
    const cells = (wanted, top) => failed.map((part, x) => (wanted(part, x) ? cell(x, top(part), HEIGHT) : "")).join("");
    setAttribute(element, "viewBox", `0 0 ${failed.length} ${HEIGHT}`);
    setAttribute(parts.unknown, "d", cells((part) => part === null, () => HEIGHT - 1));
    setAttribute(parts.fine, "d", cells((part) => part === 0, () => HEIGHT - CALM));
    setAttribute(parts.rest, "d", cells((part) => part > 0, () => 0));
    setAttribute(parts.failed, "d", cells((part) => part > 0, (part) => HEIGHT - Math.max(LEAST, part * HEIGHT)));
    setAttribute(parts.kept, "d", cells((part, x) => kept(x), () => HEIGHT - 1.4));
  };
  const mark = (x) => setAttribute(parts.cursor, "d", x === null ? "" : `M${x + WIDTH / 2} -1.5V${HEIGHT + 1}`);
  return { element, draw, mark };
}

const cell = (x, top, foot) => `M${x} ${round(top)}h${WIDTH}V${foot}h${-WIDTH}z`;
const round = (value) => Math.round(value * 100) / 100;

// A strip with its ends named, that is read cell by cell: by pointer, and by arrows. draw({counts, from, every_s}) takes
// what the API has; counts are [runs, failures].
export function readStrip(title, ends) {
  const drawn = strip();
  const ratio = h("span", { class: "ratio" });
  const plot = h("div", { class: "cells", tabindex: "0", role: "img" }, drawn.element);
  const readout = h("p", { class: "readout", role: "status" });
  const head = h("div", { class: "strip-head" }, h("h3", {}, title), ratio);
  const axis = h("p", { class: "axis" }, ...ends.map((end) => h("span", {}, end)));
  const element = h("figure", { class: "past" }, head, plot, axis, readout);
  const view = { drawn, plot, readout, shown: null, x: null };
  plot.addEventListener("pointermove", (event) => point(view, cellUnder(view, event)));
  plot.addEventListener("pointerleave", () => point(view, null));
  plot.addEventListener("blur", () => point(view, null));
  plot.addEventListener("keydown", (event) => step(view, event));
  const draw = (shown, kept = () => false) => {
    view.shown = { ...shown, kept };
    drawn.draw({ failed: shown.counts.map(([runs, failures]) => (runs ? failures / runs : null)), kept });
    const [runs, failures] = total(shown.counts);
    setText(ratio, runs ? `${share(1 - failures / runs)} up` : "");
    setAttribute(plot, "aria-label", `${title}: ${inWords(shown)}`);
    point(view, view.x);
  };
  return { element, draw };
}

const total = (counts) => counts.reduce(([runs, failures], one) => [runs + one[0], failures + one[1]], [0, 0]);

function inWords({ counts, every_s: every, from }) {
  const [runs, failures] = total(counts);
  if (!runs) return "No run is known.";
  const bad = counts.flatMap(([, failed], x) => (failed ? [x] : []));
  const worst = bad.length ? `, in ${count(bad.length, every === DAY_S ? "day" : "quarter of an hour", every === DAY_S ? "days" : "quarters of an hour")}, the last ${slotName(from + bad.at(-1) * every, every)}` : "";
  return `${count(runs, "run")}, ${failures.toLocaleString("en")} failed${worst}`;
}

// Days are of UTC, whatever the viewer's zone.
const UTC_DAY = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short", timeZone: "UTC" });
export const slotName = (began, every) => (every === DAY_S ? UTC_DAY.format(new Date(began * 1000)) : `${at(began, began + every).replace(/:00$/, "")} to ${minuteOf(began + every)}`);

function cellUnder({ plot, shown }, event) {
  const box = plot.getBoundingClientRect();
  return Math.min(shown.counts.length - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * shown.counts.length)));
}

function step(view, event) {
  const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (event.key === "Escape") point(view, null);
  if (!move || !view.shown) return;
  event.preventDefault();
  const from = view.x ?? view.shown.counts.length - Math.min(move, 0) - 1;
  point(view, Math.min(view.shown.counts.length - 1, Math.max(0, from + move)));
}

function point(view, x) {
  const { shown } = view;
  view.x = x;
  if (!shown) return;
  view.drawn.mark(x);
  if (x === null) return setText(view.readout, inWords(shown));
  const [runs, failures] = shown.counts[x];
  const what = runs ? `${count(runs, "run")}, ${failures ? `${failures.toLocaleString("en")} failed (${share(failures / runs)})` : "none failed"}` : "nobody looked";
  const work = shown.kept(x) ? "; maintenance" : "";
  setText(view.readout, `${slotName(shown.from + x * shown.every_s, shown.every_s)}: ${what}${work}`);
}
