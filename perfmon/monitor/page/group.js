// The page of one process group or control group: what it used in the last hour, whether it leaks and why one thinks so.

import { showAlerts, tickAlerts } from "./alerts.js";
import { icon, startAsking } from "./asking.js";
import { byId, h, keyed, setAttribute, setClass, setHidden, setText } from "./dom.js";
import { bytes, count, digits, number, quantity, span } from "./format.js";
import { isLeak, leakList } from "./leaks.js";
import { added, cores, groupPath, seriesName, sum } from "./series.js";
import { timeline } from "./timeline.js";

const WORDS = { down: "not found", unknown: "not read yet", up: "running" };
const HOUR = 3600;
const SHORTEST_S = 600; // a daemon that has just begun shows ten minutes, not an empty hour

// The charts of the hour, in their order: those of which a series is there are shown. A line adds up the series of its
// name, but for those that `of` leaves out; `limit` names the series that says how much there may be.
const perS = (value) => `${bytes(value)}/s`;
const share = (value) => `${digits(value * 100)} %`;
const P = "perfmon_process_";
const C = "perfmon_cgroup_";
const CHARTS = [
  { title: "Memory", words: bytes, lines: [["resident", `${P}resident_memory_bytes`], ["private", `${P}private_memory_bytes`], ["swap", `${P}swap_memory_bytes`, null, true]] },
  { title: "CPU", words: cores, zero: true, lines: [["", `${P}cpu_seconds_total`]] },
  { title: "File descriptors", words: number, limit: `${P}fds_limit`, lines: [["", `${P}open_fds`]] },
  { title: "Threads and processes", words: number, zero: true, lines: [["threads", `${P}threads`], ["processes", `${P}processes`], ["children", `${P}children`, null, true]] },
  { title: "Disk", words: perS, zero: true, lines: [["read", `${P}read_bytes_total`], ["written", `${P}written_bytes_total`]] },
  { title: "Memory", words: bytes, limit: `${C}memory_limit_bytes`, lines: [["working set", `${C}memory_working_set_bytes`], ["anonymous", `${C}memory_anonymous_bytes`]] },
  { title: "CPU", words: cores, zero: true, limit: `${C}cpu_limit`, lines: [["", `${C}cpu_seconds_total`]] },
  { title: "Held back by its CPU limit", words: (value) => `${digits(value)} s/s`, zero: true, lines: [["", `${C}cpu_throttled_seconds_total`]] },
  { title: "Pressure, share of the time", words: share, zero: true, lines: ["cpu", "memory", "io"].map((resource) => [resource, `${C}pressure_waiting_seconds_total`, { resource }]) },
  { title: "Tasks", words: number, limit: `${C}tasks_limit`, lines: [["", `${C}tasks`]] },
  { title: "Disk", words: perS, zero: true, lines: [["read", `${C}io_read_bytes_total`], ["written", `${C}io_written_bytes_total`]] },
];

const query = new URLSearchParams(location.search);
const wanted = Object.fromEntries(["sampler", "group", "cgroup"].map((name) => [name, query.get(name) ?? ""]));
const path = `/api/v1/group?${new URLSearchParams(wanted)}`;
const showLeaks = leakList(byId("leaks"));
const showCharts = keyed(byId("charts"), makeChart);
const arrangeMembers = keyed(byId("members-list"), makeMember);
const showRest = keyed(byId("rest"), makeRow);

let group = null;

byId("as-json").href = path;
const daemon = startAsking({ paths: () => [path], take, tick });

function take(answer) {
  group = answer.group;
  setHidden(byId("group"), group === null);
  setText(byId("footer"), `perfmon ${answer.version}`);
  if (group === null) return;
  const now = daemon.now();
  const marks = marksOf(answer.alerts);
  const oldest = Math.min(...group.series.map(({ history }) => history[0]?.[0] ?? now));
  const from = Math.max(now - HOUR, Math.min(oldest, now - SHORTEST_S));
  showAlerts(answer.alerts, now);
  showLeaks(group.leaks, { now, marks: marks.filter(({ kind }) => kind !== "restart"), intervalS: group.interval_s });
  showNoLeaks();
  showMembers(answer.cgroups);
  const around = { from, to: now, marks, gapS: Math.max(90, 2 * group.interval_s) };
  const charts = CHARTS.map((chart) => ({ ...chart, ...around, series: seriesOf(chart) })).filter(({ series }) => series.length);
  showCharts(charts, ({ lines }) => lines[0][1]);
  setHidden(byId("hour-title").parentElement, charts.length === 0);
  setText(byId("hour-title"), `Last ${now - from > HOUR - 90 ? "hour" : span(now - from)}`);
  showRest(group.series, (one) => JSON.stringify([one.name, one.labels]));
}

// Restarts of what is watched, and alerts about it, as marks of a chart.
function marksOf(alerts) {
  const fired = alerts.filter((alert) => alert.fired_at !== null).map((alert) => ({ t: alert.fired_at, kind: "firing", rule: alert.rule, words: `${alert.rule} fired` }));
  const resolved = alerts.filter((alert) => alert.resolved_at !== null).map((alert) => ({ t: alert.resolved_at, kind: "resolved", rule: alert.rule, words: `${alert.rule} resolved` }));
  return [...group.restarts.map((t) => ({ t, kind: "restart", words: "restart" })), ...fired, ...resolved];
}

function showNoLeaks() {
  setHidden(byId("leaks-none"), group.leaks.length > 0);
  const [metric] = [`${P}private_memory_bytes`, `${C}memory_anonymous_bytes`].filter((name) => group.series.some((one) => one.name === name));
  setHidden(byId("leaks-title").parentElement, group.leaks.length === 0 && !metric);
  setText(byId("leaks-example"), `rules:\n  - {name: MemoryLeak, metric: ${metric}, leak: {window: 2h}}`);
}

// A name that holds several control groups leads to each.
function showMembers(cgroups) {
  setHidden(byId("members"), cgroups.length === 0);
  arrangeMembers(cgroups, (cgroup) => cgroup);
}

function makeMember() {
  const link = h("a");
  const update = (cgroup) => {
    setText(link, cgroup);
    setAttribute(link, "href", groupPath(wanted.sampler, wanted.group, cgroup));
  };
  return { element: h("li", {}, link), update };
}

// ---------------------------------------------------------------- the head

function tick(silent) {
  const state = group?.state ?? "unknown";
  if (daemon.answeredAt() === null && !silent) return;
  const word = group === null ? "not watched" : WORDS[state];
  const leaking = group?.leaks.some(isLeak);
  setText(byId("name"), group === null ? (daemon.answeredAt() === null ? "No answer" : "No such group") : group.group);
  setText(byId("address"), group?.cgroup || (group === null ? Object.values(wanted).filter(Boolean).join(" · ") : ""));
  setClass(byId("mark"), `mark ${state}`);
  setText(byId("facts"), facts(word));
  setHidden(byId("trouble"), !(group?.state === "down"));
  setText(byId("trouble"), group?.last?.error || "no process or control group of it is there");
  setText(document.querySelector("title"), `${silent ? "no answer" : leaking ? "leak" : word} · ${group?.group ?? wanted.group} · perfmon`);
  setAttribute(byId("icon"), "href", icon(silent ? "silent" : leaking && state === "up" ? "firing" : state));
  if (!silent) tickAlerts(daemon.now());
}

function facts(word) {
  if (group === null) return daemon.answeredAt() === null ? "" : "perfmon does not watch it, or watches it no longer.";
  const now = daemon.now();
  const value = (name) => group.series.find((one) => one.name === name)?.value ?? null;
  const processes = value(`${P}processes`);
  const born = value(`${P}oldest_start_timestamp_seconds`);
  return [
    word,
    processes ? count(processes, "process", "processes") : "",
    born && group.state === "up" ? `oldest started ${span(now - born)} ago` : "",
    group.restarts.length ? `${count(group.restarts.length, "restart")} in the last hour` : "",
    `sampler ${group.sampler} (${group.kind}), every ${group.interval_s < 1 ? `${digits(group.interval_s)} s` : span(group.interval_s)}`,
    ...Object.entries(group.labels).map(([name, label]) => `${name}=${label}`),
    group.last === null ? "" : `read ${span(now - group.last.at)} ago`,
  ].filter(Boolean).join("  ·  ");
}

// ---------------------------------------------------------------- the charts of the hour

const isOf = (one, [, name, labels]) => one.name === name && Object.entries(labels ?? {}).every(([label, value]) => one.labels[label] === value);
const seriesOf = ({ lines }) => group.series.filter((one) => lines.some((line) => isOf(one, line)));

function makeChart() {
  const title = h("h3");
  const legend = h("ul", { class: "figures" });
  const chart = timeline();
  const element = h("article", { class: "chart" }, h("div", { class: "section-head" }, title, legend), chart.element);
  const update = ({ title: name, lines, limit, series, words, zero, ...around }) => {
    const known = lines.map((line) => ({ line, members: series.filter((one) => isOf(one, line)) }));
    // A line that is marked so is left out while it is all zero: swap that nobody uses.
    const shown = known.filter(({ line, members }) => members.length && !(line[3] && members.every((one) => !one.value && one.history.every(([, value]) => !value))));
    const ceiling = group.series.find((one) => one.name === limit)?.value ?? null;
    setText(title, name);
    legend.replaceChildren(
      ...shown.map(({ line, members }, i) => h("li", { class: `line-${i}` }, h("span", { class: "swatch" }), [line[0], inWords(sum(members.map((one) => one.value)), words)].filter(Boolean).join(" "))),
      ...(ceiling === null ? [] : [h("li", {}, `limit ${words(ceiling)}`)]),
    );
    chart.draw({ ...around, words, zero, whole: words === number, limit: ceiling, lines: shown.map(({ line, members }) => ({ name: line[0], points: added(members).map(([slot, value]) => [slot * 60 + 30, value]) })) });
  };
  return { element, update };
}

const inWords = (value, words) => (value === null ? "–" : words(value));

function makeRow() {
  const name = h("dt");
  const value = h("dd");
  const element = h("div", {}, name, value);
  const update = (one) => {
    setText(name, seriesName(one));
    setText(value, quantity(one.value, one));
  };
  return { element, update };
}
