// The page of one probe: how it is, how the last hour was, what failed and why, and what a run does.

import { showAlerts, tickAlerts } from "./alerts.js";
import { icon, startAsking } from "./asking.js";
import { minutesShown, past, slotOf } from "./chart.js";
import { byId, h, keyed, setAttribute, setClass, setHidden, setText } from "./dom.js";
import { explanationOf } from "./explanation.js";
import { at, count, digits, latency, reason, share, span, stamp } from "./format.js";
import { hourChart } from "./hour.js";
import { makeIncident } from "./incidents.js";
import { PHASES } from "./phases.js";
import { readStrip } from "./strip.js";

const WORDS = { down: "failing", unknown: "no result yet", up: "up" };
const key = new URLSearchParams(location.search).get("key") ?? "";
const sought = new URLSearchParams(location.search).get("run") ?? ""; // the id of a run that somebody comes for
const query = `key=${encodeURIComponent(key)}`;
const chart = hourChart();

let probe = null;

byId("hour").append(chart.element);
byId("legend").append(...PHASES.map((phase) => h("li", {}, h("span", { class: `swatch ${phase}` }), phase)));
byId("as-json").href = `/api/v1/target?${query}`;
byId("run").addEventListener("click", runNow);
const showFailures = keyed(byId("failures"), makeFailure);
const day = readStrip("Last 24 hours", ["24 h ago", "now"]);
const days = readStrip("Last 90 days", ["90 days ago", "today"]);
byId("strips").append(day.element, days.element);
const showIncidents = keyed(byId("incidents"), makeIncident);
let incidents = [];
const showRuns = keyed(byId("runs"), makeRun);
const showSought = keyed(byId("sought-run"), makeRun);
let failures = [];
const daemon = startAsking({ paths: () => [`/api/v1/target?${query}`, ...(sought ? [`/api/v1/run?id=${encodeURIComponent(sought)}`] : [])], take, tick });

function take(answer, found) {
  probe = answer.probe;
  setHidden(byId("target"), probe === null);
  setText(byId("footer"), `perfmon ${answer.version}`);
  if (probe === null) return;
  const now = daemon.now();
  const oldest = probe.history.find((entry) => entry.runs !== 0);
  const minutes = minutesShown(oldest ? slotOf(oldest.t) : Infinity, slotOf(now));
  showAlerts(answer.alerts, now);
  setText(byId("hour-title"), `Latency, last ${past(minutes)}`);
  chart.draw(probe.history, { minutes, intervalS: probe.interval_s });
  showFigures();
  showPast(answer.maintenance ?? []);
  const most = Math.max(...probe.recent.map((run) => run.duration_s), 0);
  showRuns(probe.recent.map((run) => ({ run, most })), ({ run }) => String(run.at));
  setText(byId("runs-said"), runsInWords(probe.recent));
  if (found?.run?.key === key) showRunSought(found.run);
  failures = showFailures(probe.failure_spells, (spell) => String(spell.first_at));
  setHidden(byId("failures-none"), probe.failure_spells.length > 0);
  showSettings();
}

function tick(silent) {
  const state = probe?.state ?? "unknown";
  const word = probe === null ? "not watched" : WORDS[state];
  if (daemon.answeredAt() === null && !silent) return;
  setText(byId("name"), probe?.probe ?? (daemon.answeredAt() === null ? "No answer" : "No such probe"));
  setText(byId("address"), probe?.target ?? key);
  setClass(byId("mark"), `mark ${state}`);
  setText(byId("facts"), facts(daemon.now(), state, word));
  setText(document.querySelector("title"), `${silent ? "no answer" : word} · ${probe?.probe ?? key} · perfmon`);
  setAttribute(byId("icon"), "href", icon(silent ? "silent" : state));
  showTrouble(daemon.now());
  if (!silent) {
    tickAlerts(daemon.now());
    for (const view of [...failures, ...incidents]) view.tick(daemon.now());
  }
}

function facts(now, state, word) {
  if (probe === null) return daemon.answeredAt() === null ? "" : "perfmon does not watch it, or watches it no longer.";
  const runs = probe.history.reduce((sum, entry) => sum + entry.runs, 0);
  return [
    probe.since === null ? word : `${word} for ${span(now - probe.since)}`,
    probe.success_ratio === null ? "" : `${share(probe.success_ratio)} of ${count(runs, "run")} in the last hour`,
    `every ${every(probe.interval_s)}`,
    `${probe.module} (${probe.kind})`,
    probe.last === null ? "" : `last run ${span(now - probe.last.at)} ago`,
  ].filter(Boolean).join("  ·  ");
}

function showTrouble(now) {
  const failure = probe?.last?.failure;
  setHidden(byId("trouble"), !failure);
  if (!failure) return;
  const times = probe.failing.runs > 1 ? `, ${count(probe.failing.runs, "time")} in a row for ${span(now - probe.failing.since)}` : "";
  setText(byId("trouble"), `${sentence(failure)}${times}`);
}

const every = (seconds) => (seconds < 1 ? `${digits(seconds)} s` : span(seconds));

function sentence({ reason: name, phase, message }) {
  const words = reason(name);
  return `${message.startsWith(words) ? message : `${words}: ${message}`}${phase ? ` (${phase})` : ""}`;
}

// ---------------------------------------------------------------- the hour, and the last runs

function showFigures() {
  const figures = [["p50", probe.p50], ["p95", probe.p95], ["p99", probe.p99]];
  byId("figures").replaceChildren(...figures.map(([name, value]) => h("li", { class: name }, h("span", { class: "swatch" }), `${name} ${latency(value)}`)));
}

function showPast(windows) {
  const periods = Object.entries(probe.uptime).map(([name, { runs, failures, success_ratio: ratio }]) => [name, share(ratio), `${count(runs, "run")}, ${failures.toLocaleString("en")} failed`]);
  byId("uptime").replaceChildren(...periods.map(([name, ratio, words]) => h("div", { title: words }, h("dt", {}, name.replace(/(\d)(\D)/, "$1 $2")), h("dd", {}, ratio))));
  const { from, every_s: every } = probe.day;
  day.draw(probe.day, (cell) => windows.some(({ since, until }) => since < from + (cell + 1) * every && until > from + cell * every));
  days.draw(probe.days);
  incidents = showIncidents(probe.incidents, (incident) => String(incident.began_at));
  setHidden(byId("incidents-none"), probe.incidents.length > 0);
}

function makeRun() {
  const bar = h("span", { class: "stack" });
  const element = h("li", {}, bar);
  const update = ({ run, most }) => {
    const words = runInWords(run);
    setClass(element, run.success ? "run" : "run failed");
    setAttribute(element, "title", words);
    setAttribute(element, "aria-label", words);
    bar.style.height = `${most ? Math.max(2, (run.duration_s / most) * 100) : 2}%`;
    const phases = PHASES.filter((phase) => run.phases[phase] > 0);
    bar.replaceChildren(...phases.map((phase) => {
      const part = h("span", { class: phase });
      part.style.flexGrow = String(run.phases[phase] / (run.duration_s || 1));
      return part;
    }));
  };
  return { element, update };
}

function runInWords(run) {
  const phases = PHASES.filter((phase) => phase in run.phases).map((phase) => `${phase} ${latency(run.phases[phase])}`);
  return [`${at(run.at, daemon.now())}: ${run.success ? "succeeded" : "failed"} after ${latency(run.duration_s)}`, ...phases].join(", ");
}

// What is known of it goes with time, so what was seen once stays.
let soughtKnown = false;

function showRunSought(run) {
  setHidden(byId("sought"), false);
  if (run.phases === null) {
    if (!soughtKnown) setText(byId("sought-said"), `It began ${stamp(run.at)}. perfmon keeps the newest twenty runs, and the newest in each bucket of the latency histogram; this one is none of these any more.`);
    return;
  }
  soughtKnown = true;
  setText(byId("sought-said"), `${runInWords(run)}${run.reason ? `; ${reason(run.reason)}` : ""}`);
  showSought([{ run, most: run.duration_s }], () => run.id);
}

function runsInWords(runs) {
  return runs.length ? `Newest at the right, ${runInWords(runs.at(-1))}` : "None yet.";
}

// ---------------------------------------------------------------- failures

function makeFailure(newest) {
  const what = h("span", { class: "what" });
  const when = h("time", { class: "when" });
  const evidence = h("dl", { class: "detail-facts" });
  const fold = h("details", {}, h("summary", { class: "head" }, what, when), evidence);
  fold.open = newest === probe.failure_spells[0]; // the others unfold one by one
  const element = h("li", { class: "failure" }, fold);
  let spell;
  const update = (next) => {
    spell = next;
    setText(what, sentence(spell));
    const pairs = evidenceOf(spell);
    if (evidence.dataset.known === JSON.stringify(pairs)) return;
    evidence.dataset.known = JSON.stringify(pairs);
    evidence.replaceChildren(...pairs.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
  };
  const tick = (now) => {
    setText(when, whenInWords(spell, now));
    setAttribute(when, "title", `${stamp(spell.first_at)} to ${stamp(spell.last_at)}`);
  };
  return { element, update, tick };
}

function whenInWords({ first_at: first, last_at: last, runs }, now) {
  if (runs === 1) return `${at(last, now)}, ${span(now - last)} ago`;
  return `${count(runs, "time")} in a row from ${at(first, now)} to ${at(last, now)}, ${span(now - last)} ago`;
}

function evidenceOf(spell) {
  const phases = PHASES.filter((phase) => phase in spell.phases).map((phase) => `${phase} ${latency(spell.phases[phase])}`);
  return [
    ["took", [latency(spell.duration_s), ...phases].join(", ")],
    ...(spell.address ? [["address", spell.address]] : []),
    ...Object.entries(spell.evidence).map(([name, text]) => [name, text.trim()]),
  ];
}

// ---------------------------------------------------------------- settings

function schedule({ interval_s: interval, timeout_s: timeout, interval_failing_s: failing, confirm }) {
  const words = [`every ${every(interval)}`, `given ${every(timeout)} at most`];
  if (failing) words.push(`every ${every(failing)} while it fails`);
  if (confirm) words.push(`failed when ${confirm.failures} of ${confirm.attempts} tries failed${confirm.pause_s ? `, ${every(confirm.pause_s)} apart` : ""}`);
  return words.join(", ");
}

function showSettings() {
  const labels = Object.entries(probe.labels).map(([name, value]) => `${name}=${value}`);
  const pairs = [
    ["target", probe.target],
    ...(probe.hostname ? [["host name", probe.hostname]] : []),
    ["schedule", schedule(probe)],
    ...(labels.length ? [["labels", labels.join("  ")]] : []),
    ...(probe.tags?.length ? [["tags", probe.tags.join("  ")]] : []),
    ["runs", `${probe.runs.toLocaleString("en")} since perfmon was started, of which ${probe.failures.toLocaleString("en")} failed`],
    ["module", probe.module],
  ];
  const known = JSON.stringify(pairs);
  if (byId("settings").dataset.known === known) return;
  byId("settings").dataset.known = known;
  byId("settings").replaceChildren(...pairs.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
  setText(byId("config"), probe.config);
}

// ---------------------------------------------------------------- running it

async function runNow() {
  const button = byId("run");
  button.disabled = true;
  setText(button, "Running");
  const [explained, trouble] = await asked();
  button.disabled = false;
  setText(button, "Run it again");
  setHidden(byId("run-said"), trouble === "");
  setText(byId("run-said"), trouble);
  if (explained) byId("explanation").replaceChildren(explanationOf(explained, daemon.now()));
}

// [the explanation, ""] or [null, why there is none].
async function asked() {
  try {
    const answer = await fetch(`/api/v1/target/run?${query}`, { method: "POST", cache: "no-store" });
    return answer.ok ? [await answer.json(), ""] : [null, (await answer.text()).trim()];
  } catch {
    return [null, "perfmon does not answer"];
  }
}
