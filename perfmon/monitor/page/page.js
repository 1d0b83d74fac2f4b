// The status page: asks the daemon every two seconds and shows what it says.

import { alertWords, showAlerts, tickAlerts } from "./alerts.js";
import { icon, local, startAsking } from "./asking.js";
import { minutesShown, slotOf } from "./chart.js";
import { byId, setAttribute, setClass, setHidden, setText } from "./dom.js";
import { count, span, stamp } from "./format.js";
import { showMaintenance } from "./maintenance.js";
import { showDays, showProbes, startProbes, tickProbes } from "./probes.js";
import { showSamplers, tickSamplers } from "./samplers.js";

const WHOLE_HISTORY = 60;
const NEWEST_MINUTES = 3; // the rest of the hour is known already
const FORGET_AFTER_S = 120;
const DAYS_EVERY_S = 60; // a cell of a day's strip is a quarter of an hour

// What is known of the daemon; instants are Unix seconds of its clock.
const state = { targets: null, alerts: null, oldest: Infinity, daysAt: -Infinity };

startProbes();
const daemon = startAsking({ paths, take, tick });
const now = () => daemon.now();

function paths() {
  const days = local() - state.daysAt >= DAYS_EVERY_S || state.incomplete ? ["/api/v1/days"] : [];
  return [`/api/v1/targets?minutes=${minutesWanted()}`, "/api/v1/alerts", ...days];
}

function minutesWanted() {
  const known = state.targets !== null && !state.incomplete && local() - daemon.answeredAt() < FORGET_AFTER_S;
  return known ? NEWEST_MINUTES : WHOLE_HISTORY;
}

function take(targets, alerts, days) {
  // A daemon that was restarted, or a probe that came with a reload, may know more than was sent.
  const before = state.targets;
  const keys = new Set(before?.probes.map((probe) => probe.key));
  state.incomplete = before !== null && (Math.abs(before.started_at - targets.started_at) > 1 || targets.probes.some((probe) => !keys.has(probe.key)));
  Object.assign(state, { targets, alerts });
  show();
  if (!days) return;
  state.daysAt = local();
  showDays(days);
}

// ---------------------------------------------------------------- showing

function show() {
  const { probes, samplers } = state.targets;
  state.oldest = Math.min(state.oldest, ...probes.map(oldestOf), ...samplers.flatMap((sampler) => sampler.series).map(oldestOf));
  const minutes = minutesShown(state.oldest, slotOf(now()));
  state.counts = showProbes(probes, now(), minutes);
  showMaintenance(state.alerts, now());
  state.alertCounts = showAlerts(state.alerts.alerts, now());
  state.samplersDown = showSamplers(samplers, now(), minutes);
  setHidden(byId("empty"), probes.length + samplers.length > 0);
  setText(byId("footer"), `perfmon ${state.targets.version}`);
}

// The slot of the first minute in which something was measured. A probe's entry is an object with a count of
// runs, a sampler's a pair of time and value.
function oldestOf({ history }) {
  const first = history.find((entry) => entry.runs !== 0);
  return first ? slotOf(first.t ?? first[0]) : Infinity;
}

function tick(silent) {
  if (state.targets === null) return;
  if (!silent) {
    tickProbes(now());
    tickAlerts(now());
    tickSamplers(now());
  }
  const [sentence, mood] = verdict(state.counts, state.targets.samplers.length, state.samplersDown);
  const shown = mood === "up" && state.alertCounts.firing ? "firing" : mood;
  setText(byId("sentence-text"), sentence);
  setClass(byId("sentence-mark"), `mark ${mood}`);
  setText(byId("facts"), facts());
  setText(document.querySelector("title"), `${silent ? "no answer" : brief(sentence)} · perfmon`);
  setAttribute(byId("icon"), "href", icon(silent ? "silent" : shown));
}

// The sentence at the top, and which mark stands before it.
function verdict({ up, down, unknown }, samplers, samplersDown) {
  const total = up + down + unknown;
  if (!total && !samplers) return ["Nothing is watched yet", "unknown"];
  if (!total && samplersDown) return [`${among(samplersDown, samplers, "sampler")} finding nothing`, "down"];
  if (!total) return [`${among(samplers, samplers, "sampler")} reading`, "up"];
  if (down) return [`${among(down, total, "probe")} failing`, "down"];
  if (unknown === total) return ["No probe has a result yet", "unknown"];
  if (unknown) return [`${among(up, total, "probe")} up, ${unknown.toLocaleString("en")} without a result yet`, "unknown"];
  return [`${among(up, total, "probe")} up`, "up"];
}

// "2 of 12 probes are", "All 12 probes are", "The probe is"
function among(some, all, noun) {
  if (all === 1) return `The ${noun} is`;
  const which = some === all ? "All" : `${some.toLocaleString("en")} of`;
  return `${which} ${all.toLocaleString("en")} ${noun}s ${some === 1 ? "is" : "are"}`;
}

// The same for the title of a tab, where room is short: "2 of 12 failing".
const brief = (sentence) => sentence.replace(/ (probes|samplers) (is|are)/, "").replace(/^The (probe|sampler) is /, "").replace(/^All/, "all");

function facts() {
  const { samplers, started_at: started } = state.targets;
  const words = [
    alertWords(state.alertCounts),
    samplers.length ? count(samplers.length, "sampler") + (state.samplersDown ? `, ${state.samplersDown} of them finding nothing` : "") : "",
    `watching for ${span(now() - started)}`,
  ];
  setAttribute(byId("facts"), "title", `perfmon was started ${stamp(started)}; this is how things were ${stamp(state.targets.now)}`);
  return words.filter(Boolean).join("  ·  ");
}
