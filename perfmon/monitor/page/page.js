// The status page: asks the daemon every two seconds and shows what it says.

import { alertWords, showAlerts, tickAlerts } from "./alerts.js";
import { minutesShown, slotOf } from "./chart.js";
import { byId, setAttribute, setClass, setHidden, setText } from "./dom.js";
import { at, count, span, stamp } from "./format.js";
import { showProbes, startProbes, tickProbes } from "./probes.js";
import { showSamplers, tickSamplers } from "./samplers.js";

const EVERY_S = 2;
const EVERY_HIDDEN_S = 20; // the title and the icon of a tab in the background still tell
const BACK_OFF_MOST_S = 30;
const ANSWER_WITHIN_S = 10;
const WHOLE_HISTORY = 60;
const NEWEST_MINUTES = 3; // the rest of the hour is known already
const FORGET_AFTER_S = 120;

// What is known of the daemon; instants are Unix seconds of its clock.
const state = { targets: null, alerts: null, serverAhead: 0, answeredAt: null, failures: 0, silentSince: null, why: "", nextAt: 0, oldest: Infinity };

const local = () => Date.now() / 1000;
const now = () => local() + state.serverAhead;

startProbes();
setInterval(tick, 1000);
let timer = setTimeout(ask, 0);
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  clearTimeout(timer);
  ask();
});

// ---------------------------------------------------------------- asking

let asking = false;

async function ask() {
  if (asking) return;
  asking = true;
  const answers = await Promise.all([get(`/api/v1/targets?minutes=${minutesWanted()}`), get("/api/v1/alerts")]).catch(miss);
  asking = false;
  if (answers) Object.assign(state, { answeredAt: local(), failures: 0, silentSince: null });
  timer = setTimeout(ask, 1000 * waitS()); // before anything is shown: a mistake there must not end the asking
  state.nextAt = local() + waitS();
  if (answers) take(...answers);
  tick();
}

async function get(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(1000 * ANSWER_WITHIN_S), cache: "no-store" });
  if (!answer.ok) throw new Error(`it answers ${answer.status}`);
  return answer.json();
}

function minutesWanted() {
  const known = state.targets !== null && !state.incomplete && local() - state.answeredAt < FORGET_AFTER_S;
  return known ? NEWEST_MINUTES : WHOLE_HISTORY;
}

function take(targets, alerts) {
  // A daemon that was restarted, or a probe that came with a reload, may know more than was sent.
  const before = state.targets;
  const keys = new Set(before?.probes.map((probe) => probe.key));
  state.incomplete = before !== null && (Math.abs(before.started_at - targets.started_at) > 1 || targets.probes.some((probe) => !keys.has(probe.key)));
  Object.assign(state, { targets, alerts, serverAhead: targets.now - local() });
  show();
}

function miss(error) {
  state.failures += 1;
  state.silentSince ??= state.answeredAt ?? local();
  state.why = error.message.startsWith("it answers") ? `: ${error.message}` : "";
}

function waitS() {
  if (state.failures) return Math.min(BACK_OFF_MOST_S, EVERY_S * 2 ** (state.failures - 1));
  return document.hidden ? EVERY_HIDDEN_S : EVERY_S;
}

// ---------------------------------------------------------------- showing

function show() {
  const { probes, samplers } = state.targets;
  state.oldest = Math.min(state.oldest, ...probes.map(oldestOf), ...samplers.flatMap((sampler) => sampler.series).map(oldestOf));
  const minutes = minutesShown(state.oldest, slotOf(now()));
  state.counts = showProbes(probes, now(), minutes);
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

function tick() {
  const silent = state.failures > 0;
  setHidden(byId("banner"), !silent);
  setClass(document.body, silent ? "silent" : "");
  if (silent) showSilence();
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

// The countdown stands apart, so that a screen reader says the rest once and not every second.
function showSilence() {
  const below = state.targets === null ? "" : " What is below is from then.";
  setText(byId("silence"), `perfmon does not answer since ${at(state.silentSince, local())}${state.why}.${below}`);
  const wait = Math.max(0, Math.ceil(state.nextAt - local()));
  setText(byId("again"), asking || wait === 0 ? "Asking again now." : `Asking again in ${wait} s.`);
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

// The same shapes and colours as the marks in page.css.
const ICONS = {
  up: '<circle cx="16" cy="16" r="12" fill="#1f8a55"/>',
  down: '<path d="M16 1 31 16 16 31 1 16z" fill="#d0342c"/>',
  firing: '<path d="M16 3 31 29H1z" fill="#c77d0a"/>',
  unknown: '<circle cx="16" cy="16" r="10" fill="none" stroke="#7b8087" stroke-width="5"/>',
  silent: '<path d="M5 5 27 27M27 5 5 27" stroke="#7b8087" stroke-width="5"/>',
};

const icon = (name) => `data:image/svg+xml,${encodeURIComponent(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">${ICONS[name]}</svg>`)}`;
