// Small charts of the last hour, or of as much of it as is known, one slot a minute. Drawn with DOM calls;
// the style is in page.css.

import { h, s, setAttribute, setText } from "./dom.js";

export const MINUTES = 60;
const FEWEST_MINUTES = 10; // a daemon that has just begun fills a chart of ten minutes sooner than one of sixty
const HEIGHT = 24;
const TOP = 2; // room for the line's own width

// How many minutes the charts of a page show, from the oldest slot that is known to the newest; the same for
// all of them, so that they can be compared.
export const minutesShown = (oldest, newest) => Math.min(MINUTES, Math.max(FEWEST_MINUTES, newest - oldest + 1));

export const past = (minutes) => (minutes === MINUTES ? "hour" : `${minutes} min`);

export const slotOf = (unix) => Math.round(unix / 60);

// The history that is known, brought forward by newer entries; entries are what `slotIn` finds a time in.
export function merge(known, news, slotIn) {
  const bySlot = new Map(known.map((entry) => [slotIn(entry), entry]));
  for (const entry of news) bySlot.set(slotIn(entry), entry);
  const slots = [...bySlot.keys()].sort((a, b) => a - b).slice(-MINUTES);
  return slots.map((slot) => bySlot.get(slot));
}

// A sparkline. draw() redraws what differs: `points` are [slot, value or null], `marks` are [slot, share of
// failures], `newest` is the slot at the right edge of `minutes`, `gap` how far apart two points are still joined.
export function sparkline() {
  const marks = s("path", { class: "marks" });
  const feet = s("path", { class: "feet" });
  const area = s("path", { class: "area" });
  const line = s("path", { class: "line" });
  const element = s("svg", { preserveAspectRatio: "none", role: "img", class: "spark" }, marks, feet, area, line);
  const draw = ({ points, marks: failures = [], newest, minutes, gap = 1, zero = true, label }) => {
    const x = (slot) => slot - newest + minutes - 1;
    const shown = points.filter(([slot, value]) => value !== null && x(slot) >= 0);
    const y = scale(shown.map((point) => point[1]), zero);
    const runs = unbroken(shown, gap).map((run) => run.map(([slot, value]) => [x(slot) + 0.5, y(value)]));
    setAttribute(element, "viewBox", `0 0 ${minutes} ${HEIGHT}`);
    setAttribute(marks, "d", failures.map(([slot, part]) => bar(x(slot), Math.max(0.25, part))).join(""));
    setAttribute(feet, "d", failures.map(([slot]) => bar(x(slot), 0.125)).join(""));
    setAttribute(area, "d", runs.map(under).join(""));
    setAttribute(line, "d", runs.map(through).join(""));
    setAttribute(element, "aria-label", label);
  };
  return { element, draw };
}

// From a value to a height. With `zero` the foot is 0; otherwise what varies fills the height, but less
// than a tenth of the value's size never looks like much.
function scale(values, zero) {
  const high = Math.max(...values, Number.MIN_VALUE);
  const low = Math.min(...values);
  const range = zero ? high : Math.max(high - low, 0.1 * high, Number.MIN_VALUE);
  const foot = zero ? 0 : Math.max(0, (high + low - range) / 2);
  return (value) => round(HEIGHT - TOP - ((value - foot) / range) * (HEIGHT - 2 * TOP));
}

function unbroken(points, gap) {
  const runs = [];
  let last = null;
  for (const point of points) {
    if (last === null || point[0] - last > gap) runs.push([]);
    runs.at(-1).push(point);
    last = point[0];
  }
  return runs;
}

// The labels of an axis: [text, share of its length, "left" or "top"].
export function label(parent, labels) {
  while (parent.children.length > labels.length) parent.lastElementChild.remove();
  while (parent.children.length < labels.length) parent.append(h("span"));
  labels.forEach(([text, share, side], i) => {
    setText(parent.children[i], text);
    parent.children[i].style[side] = `${round(share * 100)}%`;
  });
}

const through = (run) => `M${run.map((point) => point.join(" ")).join("L")}${run.length === 1 ? "h.01" : ""}`;
const under = (run) => (run.length < 2 ? "" : `M${run[0][0]} ${HEIGHT}L${run.map((p) => p.join(" ")).join("L")}L${run.at(-1)[0]} ${HEIGHT}z`);
export const gapOf = (intervalS) => Math.max(1, Math.ceil(intervalS / 60));
const bar = (left, part) => `M${left} ${HEIGHT}v${round(-HEIGHT * part)}h1V${HEIGHT}z`;
const round = (value) => Math.round(value * 100) / 100;
