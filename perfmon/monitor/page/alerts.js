// Open alerts in words: which rule, on what, since when, why.

import { byId, h, keyed, setAttribute, setClass, setHidden, setText } from "./dom.js";
import { at, count, span, stamp } from "./format.js";

const RESOLVED_FOR = 3600;
const SEVERITIES = ["critical", "warning", "info", "none"];
const NAMED_ELSEWHERE = new Set(["alertname", "severity", "probe", "target", "module", "sampler", "group"]);

let showOpen;
let showResolved;
let shown = [];

// Show the alerts of an answer; returns how many fire and how many are pending.
export function showAlerts(alerts, now) {
  showOpen ??= keyed(byId("alerts-open"), makeAlert);
  showResolved ??= keyed(byId("alerts-resolved"), makeAlert);
  const open = alerts.filter((alert) => alert.state !== "inactive").sort(byUrgency);
  const resolved = alerts.filter((alert) => isRecent(alert, now)).sort((a, b) => b.resolved_at - a.resolved_at);
  shown = [...showOpen(open, keyOf), ...showResolved(resolved, keyOf)];
  setHidden(byId("alerts"), open.length + resolved.length === 0);
  setText(byId("alerts-title"), open.length ? "Open alerts" : "No open alerts");
  setHidden(byId("alerts-past"), resolved.length === 0);
  setText(byId("alerts-past-title"), `${resolved.length} resolved in the last hour`);
  const firing = open.filter((alert) => alert.state === "firing").length;
  return { firing, pending: open.length - firing };
}

// Bring the spans up to date.
export function tickAlerts(now) {
  for (const view of shown) view.tick(now);
}

const keyOf = (alert) => JSON.stringify([alert.rule, Object.entries(alert.labels).sort()]);
const isRecent = (alert, now) => alert.state === "inactive" && alert.resolved_at !== null && now - alert.resolved_at < RESOLVED_FOR;
const severityOf = (alert) => (SEVERITIES.includes(alert.labels.severity) ? alert.labels.severity : "none");
const rank = (alert) => (alert.state === "firing" ? 0 : 10) + SEVERITIES.indexOf(severityOf(alert));
const byUrgency = (a, b) => rank(a) - rank(b) || (a.active_at ?? 0) - (b.active_at ?? 0);

function makeAlert() {
  const mark = h("span", { class: "mark" });
  const rule = h("strong");
  const severity = h("span", { class: "severity" });
  const subject = h("span", { class: "subject" });
  const since = h("time", { class: "since" });
  const why = h("p", { class: "why" });
  const note = h("p", { class: "note" });
  const stack = makeStack();
  const element = h("li", {}, h("p", { class: "head" }, mark, rule, severity, subject, since), why, note, stack.element);
  let alert;
  const update = (next) => {
    alert = next;
    setClass(element, `alert ${alert.state} ${severityOf(alert)}`);
    setClass(mark, `mark ${alert.state}`);
    setText(rule, alert.rule);
    setText(severity, alert.state === "pending" ? `${severityOf(alert)}, pending` : severityOf(alert));
    setText(subject, subjectOf(alert.labels));
    setText(why, alert.why);
    showNote(note, alert);
    stack.update(stackOf(alert.annotations));
  };
  const tick = (now) => setSince(since, alert, now);
  return { element, update, tick };
}

function subjectOf(labels) {
  const what = [labels.probe ?? labels.sampler, labels.target ?? labels.group].filter(Boolean).join(" · ");
  const rest = Object.entries(labels).filter(([name]) => !NAMED_ELSEWHERE.has(name));
  return [what, ...rest.map(([name, value]) => `${name}=${value}`)].filter(Boolean).join("  ");
}

function setSince(element, alert, now) {
  const from = alert.state === "firing" ? (alert.fired_at ?? alert.active_at) : alert.state === "pending" ? alert.active_at : alert.resolved_at;
  if (from === null) return setText(element, "");
  const words = alert.state === "inactive" ? `resolved ${span(now - from)} ago` : `${alert.state} for ${span(now - from)}`;
  setText(element, `${words}, since ${at(from, now)}`.replace(/ ago, since .*/, " ago"));
  setAttribute(element, "title", stamp(from));
}

// Only a web address becomes a link: "javascript:..." stays out.
const linkTo = (url, name) =>
  /^https?:\/\//.test(url) ? [h("a", { href: url, rel: "noreferrer", target: "_blank" }, name), " "] : [];

function showNote(note, alert) {
  const { summary = "", runbook_url: runbook = "", dashboard_url: dashboard = "" } = alert.annotations;
  const signature = JSON.stringify([summary, runbook, dashboard]);
  if (note.dataset.signature === signature) return;
  note.dataset.signature = signature;
  const links = [linkTo(runbook, "runbook"), linkTo(dashboard, "dashboard")].flat();
  note.replaceChildren(...(summary ? [summary, " "] : []), ...links);
  setHidden(note, note.childNodes.length === 0);
}

const stackOf = ({ leak_stack: places, leak_flamegraph: path }) =>
  [places, places && path && `flamegraph: ${path}`].filter(Boolean).join("\n");

// Where a leak allocates, as the attribution wrote it: lines of text.
function makeStack() {
  const lines = h("pre", { tabindex: "0", "aria-label": "Top stacks" });
  const element = h("details", { class: "stack-of" }, h("summary", {}, "Where it allocates"), lines);
  element.open = true;
  const update = (text) => {
    setText(lines, text);
    setHidden(element, text === "");
  };
  return { element, update };
}

export const alertWords = ({ firing, pending }) => {
  if (!firing && !pending) return "no open alerts";
  const words = [firing && `${count(firing, "alert")} firing`, pending && `${firing ? pending : count(pending, "alert")} pending`];
  return words.filter(Boolean).join(", ");
};
