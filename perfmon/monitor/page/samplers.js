// Processes and hosts: what each sampler reads, its main series as tiles with a line, the rest to unfold.

import { gapOf, merge, past, sparkline } from "./chart.js";
import { byId, h, keyed, setAttribute, setClass, setHidden, setText } from "./dom.js";
import { count, quantity, span, stamp } from "./format.js";
import { added, cores, groupPath, seriesName, sum } from "./series.js";

const WORDS = { up: "", down: "finds nothing", unknown: "has not read yet" };
const UNFEATURED_TILES = 4; // of a sampler that none of the series below belong to

// The series that matter, in the order of their tiles. Those of one name that differ in other labels than
// `group` and `cgroup` are added up, but for those that `not` leaves out.
const notBusy = ({ mode }) => mode === "idle" || mode === "iowait";
const FEATURED = [
  { title: "memory", name: "perfmon_process_resident_memory_bytes" },
  { title: "CPU", name: "perfmon_process_cpu_seconds_total", words: cores },
  { title: "descriptors", name: "perfmon_process_open_fds" },
  { title: "threads", name: "perfmon_process_threads" },
  { title: "memory", name: "perfmon_cgroup_memory_working_set_bytes" },
  { title: "CPU", name: "perfmon_cgroup_cpu_seconds_total", words: cores },
  { title: "held back", name: "perfmon_cgroup_cpu_throttled_seconds_total" },
  { title: "tasks", name: "perfmon_cgroup_tasks" },
  { title: "CPU", name: "perfmon_host_cpu_seconds_total", words: cores, not: notBusy },
  { title: "memory free", name: "perfmon_host_memory_available_bytes" },
  { title: "load", name: "perfmon_host_load1" },
  { title: "received", name: "perfmon_host_network_receive_bytes_total" },
  { title: "sent", name: "perfmon_host_network_transmit_bytes_total" },
];

let arrangeSamplers;
let views = [];
let minutes = 60; // that the charts show

// Show the samplers of an answer, with that many minutes in their charts; returns how many find nothing.
export function showSamplers(samplers, now, minutesShown) {
  minutes = minutesShown;
  arrangeSamplers ??= keyed(byId("sampler-list"), makeSampler);
  views = arrangeSamplers(samplers, (sampler) => sampler.key);
  setHidden(byId("samplers"), samplers.length === 0);
  tickSamplers(now);
  return samplers.filter((sampler) => sampler.state === "down").length;
}

export function tickSamplers(now) {
  for (const view of views) view.tick(now);
}

// ---------------------------------------------------------------- a sampler

function makeSampler() {
  const mark = h("span", { class: "mark" });
  const name = h("span", { class: "sampler-name" });
  const about = h("span", { class: "about" });
  const trouble = h("p", { class: "trouble" });
  const groups = h("div", { class: "groups" });
  const rest = makeRest();
  const element = h("article", { class: "sampler" }, h("h3", {}, mark, name, " ", about), trouble, groups, rest.element);
  const arrangeGroups = keyed(groups, makeGroup);
  let sampler;
  const update = (next) => {
    sampler = next;
    setClass(mark, `mark ${sampler.state}`);
    setText(name, sampler.sampler);
    setText(trouble, sampler.state === "down" ? sampler.last?.error || "finds nothing" : "");
    setHidden(trouble, !trouble.textContent);
    const { tiled, untiled } = split(sampler.series);
    arrangeGroups(tiled.map((item) => ({ ...item, sampler: sampler.sampler, intervalS: sampler.interval_s })), (item) => JSON.stringify([item.group, item.cgroup]));
    rest.update(untiled);
  };
  const tick = (now) => {
    const since = sampler.state === "down" && sampler.since !== null ? ` for ${span(now - sampler.since)}` : "";
    const words = [sampler.kind, ...labelWords(sampler.labels), `every ${span(sampler.interval_s)}`, WORDS[sampler.state] + since];
    setText(about, words.filter(Boolean).join(", "));
    setAttribute(about, "title", sampler.since === null ? "" : `since ${stamp(sampler.since)}`);
  };
  return { element, update, tick };
}

const labelWords = (labels) => Object.entries(labels).map(([name, value]) => `${name}=${value}`);

// The series that become tiles, by their group, and those that do not.
function split(series) {
  const anyFeatured = series.some(featureOf);
  const isTiled = (one, i) => (anyFeatured ? featureOf(one) !== undefined : i < UNFEATURED_TILES);
  const groups = new Map();
  for (const one of series.filter(isTiled)) {
    const { group = "", cgroup = "" } = one.labels;
    const key = JSON.stringify([group, cgroup]);
    if (!groups.has(key)) groups.set(key, { group, cgroup, members: [] });
    groups.get(key).members.push(one);
  }
  return {
    tiled: [...groups.values()].map(({ group, cgroup, members }) => ({ group, cgroup, tiles: tilesOf(members) })),
    untiled: series.filter((one, i) => !isTiled(one, i)),
  };
}

const featureOf = (one) => FEATURED.find((feature) => feature.name === one.name && !feature.not?.(one.labels));

function tilesOf(members) {
  const tiles = FEATURED.map((feature) => ({ feature, series: members.filter((one) => featureOf(one) === feature) }));
  const known = tiles.filter((tile) => tile.series.length);
  return known.length ? known : members.map((one) => ({ feature: { title: seriesName(one) }, series: [one] }));
}

// ---------------------------------------------------------------- a group and its tiles

function makeGroup() {
  const link = h("a");
  const path = h("span", { class: "path" });
  const tiles = h("div", { class: "tiles" });
  const element = h("section", { class: "group" }, h("h4", {}, link, path), tiles);
  const arrangeTiles = keyed(tiles, makeTile);
  const update = ({ sampler, group, cgroup, tiles: items, intervalS }) => {
    setText(link, group);
    if (group) setAttribute(link, "href", groupPath(sampler, group, cgroup));
    setText(path, cgroup);
    arrangeTiles(items.map((item) => ({ ...item, intervalS })), (item) => item.feature.title);
  };
  return { element, update };
}

function makeTile() {
  const title = h("span", { class: "tile-title" });
  const value = h("span", { class: "tile-value" });
  const chart = sparkline();
  const element = h("div", { class: "tile" }, title, value, chart.element);
  let history = [];
  const update = ({ feature, series, intervalS }) => {
    const words = (amount) => (amount === null ? "–" : (feature.words ?? ((one) => quantity(one, series[0])))(amount));
    history = merge(history, added(series), (entry) => entry[0]);
    const values = history.map((entry) => entry[1]);
    setText(title, feature.title);
    setText(value, words(sum(series.map((one) => one.value))));
    chart.draw({
      points: history,
      minutes,
      newest: history.at(-1)?.[0] ?? 0,
      gap: gapOf(intervalS),
      zero: series[0].type === "counter",
      label: values.length ? `last ${past(minutes)}: ${words(Math.min(...values))} to ${words(Math.max(...values))}` : "no history",
    });
    setAttribute(element, "title", chart.element.getAttribute("aria-label"));
  };
  return { element, update };
}

// ---------------------------------------------------------------- the rest

function makeRest() {
  const summary = h("summary");
  const list = h("dl");
  const element = h("details", { class: "rest" }, summary, list);
  let series = [];
  const fill = () => element.open && list.replaceChildren(...series.map(restRow));
  element.addEventListener("toggle", fill);
  const update = (next) => {
    series = next;
    setHidden(element, series.length === 0);
    setText(summary, `${count(series.length, "more series", "more series")}`);
    fill();
  };
  return { element, update };
}

function restRow(one) {
  const group = one.labels.group ? `${one.labels.group}: ` : "";
  return h("div", {}, h("dt", {}, group + seriesName(one)), h("dd", {}, quantity(one.value, one)));
}
