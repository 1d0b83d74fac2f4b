// The table of probes: one row each, by groups where there are any, failing ones first, kept up to date in place.

import { gapOf, merge, past, slotOf, sparkline } from "./chart.js";
import { byId, h, keyed, setAttribute, setClass, setHidden, setText } from "./dom.js";
import { STATES, inGroups, isFolded, makeHeading } from "./groups.js";
import { PHASES } from "./phases.js";
import { at, count, digits, latency, minuteOf, reason, share, span, stamp } from "./format.js";
import { strip } from "./strip.js";

const WORDS = { down: "failing", unknown: "no result", up: "up" };
const FILTER_FROM = 11; // a filter for ten probes would be one more thing to read
const HOUR = 3600;

let showRows;
let rows = [];
let headings = [];
let wantedText = [];
let wantedState = "";
let minutes = 60; // that the charts show

// Wire up what stands in the page from the beginning.
export function startProbes() {
  showRows = keyed(byId("probe-rows"), (item) => (item.members ? makeHeading(filterRows) : makeRow()));
  byId("legend").append(...PHASES.map((phase) => h("li", {}, h("span", { class: `swatch ${phase}` }), phase)));
  byId("filter-text").addEventListener("input", (event) => {
    wantedText = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    filterRows();
  });
  document.addEventListener("keydown", focusFilter);
  byId("filter-states").append(...["", ...STATES].map(makeChip));
}

// Show the probes of an answer, with that many minutes in their charts; returns how many are in each state.
export function showProbes(probes, now, minutesShown) {
  minutes = minutesShown;
  setText(byId("trend-title"), `Median, last ${past(minutes)}`);
  const views = showRows(inGroups(probes), (item) => item.key);
  rows = views.filter((view) => !view.group);
  headings = views.filter((view) => view.group);
  const counts = Object.fromEntries(STATES.map((state) => [state, probes.filter((probe) => probe.state === state).length]));
  setHidden(byId("probes"), probes.length === 0);
  setHidden(byId("filter"), probes.length < FILTER_FROM && !wantedText.length && !wantedState);
  for (const chip of byId("filter-states").children) labelChip(chip, counts, probes.length);
  filterRows();
  tickProbes(now);
  return counts;
}

// Show the last day of each probe.
export function showDays({ probes }) {
  const byKey = new Map(probes.map((day) => [day.key, day]));
  for (const row of rows) if (byKey.has(row.probe.key)) row.showDay(byKey.get(row.probe.key));
}

export function tickProbes(now) {
  for (const row of rows) row.tick(now);
}

// ---------------------------------------------------------------- filter

function makeChip(state) {
  const chip = h("button", { type: "button", "aria-pressed": String(state === wantedState), "data-state": state });
  chip.addEventListener("click", () => {
    wantedState = state;
    for (const other of chip.parentElement.children) setAttribute(other, "aria-pressed", String(other === chip));
    filterRows();
  });
  return chip;
}

function labelChip(chip, counts, total) {
  const state = chip.dataset.state;
  setHidden(chip, state !== "" && state !== wantedState && counts[state] === 0);
  setText(chip, state ? `${WORDS[state]} ${counts[state].toLocaleString("en")}` : `all ${total.toLocaleString("en")}`);
}

function filterRows() {
  const filtered = Boolean(wantedState || wantedText.length);
  const found = rows.filter(isWanted);
  for (const row of rows) setHidden(row.element, !isWanted(row) || (!filtered && isFolded(row.probe)));
  const groups = new Set(found.map((row) => row.probe.group));
  for (const heading of headings) setHidden(heading.element, !groups.has(heading.group.name));
  setClass(byId("probe-rows"), filtered ? "filtered" : "");
  const none = byId("probes-none");
  setHidden(none, found.length > 0 || rows.length === 0);
  setText(none, `No probe matches${wantedState ? ` “${WORDS[wantedState]}”` : ""}${wantedText.length ? ` “${wantedText.join(" ")}”` : ""}.`);
  setHidden(byId("probe-table"), found.length === 0);
}

const isWanted = ({ probe, haystack }) => (!wantedState || probe.state === wantedState) && wantedText.every((word) => haystack.includes(word));

function focusFilter(event) {
  const typing = event.target instanceof HTMLInputElement;
  if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || byId("filter").hidden) return;
  event.preventDefault();
  byId("filter-text").focus();
}

const haystackOf = (probe) =>
  [probe.probe, probe.target, probe.module, probe.kind, WORDS[probe.state], probe.state, probe.last?.failure?.reason ?? "",
    ...(probe.tags ?? []),
    ...Object.entries(probe.labels).map(([name, value]) => `${name}=${value}`)].join("\n").toLowerCase();

// ---------------------------------------------------------------- a row

const ROW = document.createElement("template");
const cell = (name, ...children) => h("div", { role: "cell", class: name }, ...children);
const labelled = (name, label) => cell(`number ${name}`, h("span", { class: "label", "aria-hidden": "true" }, label), h("span", { class: "value" }));
ROW.content.append(
  h("div", { role: "row" },
    cell("state", h("span", { class: "mark" }), h("span", { class: "word" }), h("time", { class: "since" })),
    cell("name", h("button", { type: "button", class: "title", "aria-expanded": "false" }), h("span", { class: "module" }),
      h("a", { class: "more" }, "more"),
      h("span", { class: "target" }), h("span", { class: "day", role: "img" })),
    cell("trend"),
    labelled("p50", "p50"), labelled("p95", "p95"), labelled("p99", "p99"), labelled("success", "success"),
    cell("phases", h("span", { class: "bar", role: "img" }), h("span", { class: "total" })),
    cell("trouble", h("span", { class: "what" }), h("time", { class: "when" })),
  ),
);

function makeRow() {
  const element = ROW.content.firstElementChild.cloneNode(true);
  const part = (selector) => element.querySelector(selector);
  const parts = {
    mark: part(".mark"), word: part(".word"), since: part(".since"), title: part(".title"), module: part(".module"), more: part(".more"),
    target: part(".target"), day: part(".day"), p50: part(".p50 .value"), p95: part(".p95 .value"), p99: part(".p99 .value"),
    success: part(".success .value"), bar: part(".bar"), total: part(".total"),
    trouble: part(".trouble"), what: part(".what"), when: part(".when"), chart: sparkline(),
  };
  part(".trend").append(parts.chart.element);
  const row = { element, probe: null, haystack: "", history: [], detail: null };
  let known = "";
  row.update = (probe) => {
    const next = minutes + JSON.stringify(probe); // far cheaper than a look at every cell: few rows differ from one answer to the next
    if (next !== known) updateRow(row, parts, probe);
    known = next;
  };
  row.tick = (now) => tickRow(row, parts, now);
  row.showDay = (day) => showDay(row, parts.day, day);
  parts.title.addEventListener("click", () => toggleDetail(row, parts));
  return row;
}

function updateRow(row, parts, probe) {
  row.probe = probe;
  row.haystack = haystackOf(probe);
  row.history = merge(row.history, probe.history, (entry) => slotOf(entry.t));
  setClass(row.element, `probe ${probe.state}${row.detail ? " open" : ""}`);
  setClass(parts.mark, `mark ${probe.state}`);
  setText(parts.word, WORDS[probe.state]);
  setText(parts.title, probe.probe);
  setText(parts.module, probe.module);
  setAttribute(parts.more, "href", pageOf(probe));
  setAttribute(parts.more, "aria-label", `all about ${probe.probe}, ${probe.target}`);
  setText(parts.target, probe.target);
  setAttribute(parts.target, "title", probe.target);
  for (const name of ["p50", "p95", "p99"]) setText(parts[name], latency(probe[name]));
  setText(parts.success, share(probe.success_ratio));
  setClass(parts.success, probe.success_ratio === 1 ? "value full" : "value");
  parts.chart.draw(trend(row.history, probe.interval_s));
  showPhases(parts, probe.last);
  showTrouble(parts, probe);
}

function tickRow(row, parts, now) {
  const { state, since, last_failure: failure } = row.probe;
  setText(parts.since, since === null ? "" : `for ${span(now - since)}`);
  setAttribute(parts.since, "title", since === null ? "" : `since ${stamp(since)}`);
  if (failure) {
    setText(parts.when, `${state === "down" ? "" : "last failed "}${at(failure.at, now)}, ${span(now - failure.at)} ago`);
    setAttribute(parts.when, "title", stamp(failure.at));
    setHidden(parts.trouble, state !== "down" && now - failure.at > HOUR);
  }
  row.detail?.tick(now);
}

function showTrouble(parts, probe) {
  const failure = probe.last_failure;
  setHidden(parts.trouble, !failure);
  if (failure) setText(parts.what, troubleWords(failure));
}

function troubleWords({ reason: name, phase, message }) {
  const words = reason(name);
  const sentence = message.startsWith(words) ? message : `${words}: ${message}`;
  return phase ? `${sentence} (${phase})` : sentence;
}

function trend(history, intervalS) {
  const failed = history.reduce((sum, entry) => sum + entry.failures, 0);
  const runs = history.reduce((sum, entry) => sum + entry.runs, 0);
  const medians = history.map((entry) => entry.p50).filter((value) => value !== null);
  const range = medians.length ? `, median between ${latency(Math.min(...medians))} and ${latency(Math.max(...medians))}` : "";
  return {
    minutes,
    points: history.map((entry) => [slotOf(entry.t), entry.runs ? entry.p50 : null]),
    marks: history.filter((entry) => entry.failures).map((entry) => [slotOf(entry.t), entry.failures / entry.runs]),
    newest: history.length ? slotOf(history.at(-1).t) : 0,
    gap: gapOf(intervalS),
    label: `last ${past(minutes)}: ${count(runs, "run")}, ${failed.toLocaleString("en")} failed${range}`,
  };
}

// Strips are drawn when they come into sight: of a thousand rows a screen shows a dozen.
const drawers = new WeakMap();
const sight = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) if (isIntersecting) drawers.get(target)?.();
});

function showDay(row, place, { failed, success_ratio: ratio }) {
  const known = JSON.stringify(failed);
  if (row.knownDay === known) return;
  row.knownDay = known;
  setAttribute(place, "aria-label", dayInWords(failed, ratio));
  drawers.set(place, () => {
    row.day ??= strip();
    row.day.draw({ failed });
    if (!row.day.element.isConnected) place.append(row.day.element);
    sight.unobserve(place);
  });
  sight.observe(place);
}

function dayInWords(failed, ratio) {
  if (ratio === null) return "last day: no run is known";
  const bad = failed.filter((part) => part > 0).length;
  return `last day: ${share(ratio)} of runs succeeded${bad ? `, failures in ${count(bad, "quarter of an hour", "quarters of an hour")}` : ""}`;
}

function showPhases({ bar, total }, last) {
  setText(total, last ? latency(last.duration_s) : "–");
  const phases = last ? PHASES.filter((phase) => last.phases[phase] > 0) : [];
  const sum = phases.reduce((all, phase) => all + last.phases[phase], 0);
  const words = phases.map((phase) => `${phase} ${latency(last.phases[phase])}`).join(", ") || "no phases";
  if (bar.title === words) return;
  bar.title = words;
  bar.setAttribute("aria-label", words);
  while (bar.children.length > phases.length) bar.lastElementChild.remove();
  while (bar.children.length < phases.length) bar.append(h("span"));
  phases.forEach((phase, i) => {
    setClass(bar.children[i], phase);
    bar.children[i].style.flexGrow = (last.phases[phase] / sum).toFixed(4);
  });
}

// ---------------------------------------------------------------- what a row unfolds to

function toggleDetail(row, parts) {
  if (row.detail) {
    row.detail.element.remove();
    row.detail = null;
  } else {
    row.detail = makeDetail(row);
    row.element.append(row.detail.element);
  }
  parts.title.setAttribute("aria-expanded", String(row.detail !== null));
  setClass(row.element, `probe ${row.probe.state}${row.detail ? " open" : ""}`);
}

function makeDetail(row) {
  const chart = sparkline();
  const high = h("span", { class: "high" });
  const readout = h("p", { class: "readout" });
  const left = h("span");
  const figure = h("figure", { class: "hour" }, high, chart.element, h("p", { class: "axis" }, left, h("span", {}, "now")), readout);
  const facts = h("dl", { class: "detail-facts" });
  const element = h("div", { class: "detail", role: "cell" }, figure, facts);
  chart.element.addEventListener("pointermove", (event) => setText(readout, readoutAt(row.history, event)));
  chart.element.addEventListener("pointerleave", () => setText(readout, summary(row.history)));
  setText(readout, summary(row.history));
  let shown = "";
  const tick = (now) => {
    const medians = row.history.map((entry) => entry.p50 ?? 0);
    chart.draw(trend(row.history, row.probe.interval_s));
    setText(left, `${minutes === 60 ? "an hour" : past(minutes)} ago`);
    setText(high, latency(Math.max(...medians, 0)));
    const pairs = detailFacts(row.probe, now);
    const next = JSON.stringify(pairs);
    if (next === shown) return;
    shown = next;
    facts.replaceChildren(...pairs.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]), h("dt", {}, "try"), h("dd", {}, tryLink(row.probe)));
  };
  tick(Date.now() / 1000);
  return { element, tick };
}

const summary = (history) => trend(history, 60).label.replace(/^last [^:]*: /, "");

function readoutAt(history, event) {
  const box = event.currentTarget.getBoundingClientRect();
  const back = Math.floor((1 - (event.clientX - box.left) / box.width) * minutes);
  const newest = history.length ? slotOf(history.at(-1).t) : 0;
  const entry = history.find((one) => slotOf(one.t) === newest - back);
  if (!entry?.runs) return entry ? `${minuteOf(entry.t)}: no run` : "not known";
  return `${minuteOf(entry.t)}: ${count(entry.runs, "run")}, ${entry.failures} failed, median ${latency(entry.p50)}, slowest ${latency(entry.max)}`;
}

function detailFacts(probe, now) {
  const { last, last_failure: failure } = probe;
  const labels = Object.entries(probe.labels).map(([name, value]) => `${name}=${value}`);
  const evidence = Object.entries(last?.failure?.evidence ?? {});
  return [
    ["target", probe.target],
    ["module", `${probe.module} (${probe.kind}), every ${span(probe.interval_s)}`.replace("every 0 s", `every ${digits(probe.interval_s)} s`)],
    ...(labels.length ? [["labels", labels.join("  ")]] : []),
    ["runs", `${probe.runs.toLocaleString("en")}, of which ${probe.failures.toLocaleString("en")} failed`],
    ...(last ? [["last run", `${at(last.at, now)}, took ${latency(last.duration_s)}`]] : []),
    ...(last ? PHASES.filter((phase) => phase in last.phases).map((phase) => [phase, latency(last.phases[phase])]) : []),
    ...(failure ? [["last failure", `${stamp(failure.at)}: ${troubleWords(failure)} [${failure.reason}]`]] : []),
    ...evidence,
  ];
}

const pageOf = (probe) => `/target?key=${encodeURIComponent(probe.key)}`;

function tryLink(probe) {
  const query = new URLSearchParams({ target: probe.target, module: probe.module, debug: "true" });
  return h("a", { href: `/probe?${query}` }, "probe it now, with every step told");
}
