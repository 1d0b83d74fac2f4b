// The incidents of a probe in words: since when, for how long, of what, and how it was before.

import { h, setClass, setText } from "./dom.js";
import { at, count, latency, reason, span, stamp } from "./format.js";

export function makeIncident() {
  const when = h("time", { class: "when" });
  const what = h("span", { class: "what" });
  const more = h("span", { class: "more-of" });
  const element = h("li", {}, when, what, more);
  let incident;
  const update = (next) => {
    incident = next;
    setClass(element, incident.ended_at === null ? "incident open" : "incident");
    setText(what, incident.causes.map(cause).join("; "));
    const before = incident.p95_before_s === null ? "" : `; p95 before ${latency(incident.p95_before_s)}`;
    setText(more, `${incident.message}${before}`);
  };
  const tick = (now) => {
    const { began_at: began, ended_at: ended } = incident;
    setText(when, ended === null ? `down since ${at(began, now)} (${span(now - began)})` : `down ${at(began, now)} – ${until(began, ended, now)} (${span(ended - began)})`);
    when.title = `${stamp(began)} to ${ended === null ? "now" : stamp(ended)}`;
  };
  return { element, update, tick };
}

const cause = ({ reason: name, phase, runs }) => `${reason(name)}${phase ? ` (${phase})` : ""}, ${count(runs, "run")}`;

// The end without the day, when that is the day of the beginning.
function until(began, ended, now) {
  const [from, to] = [at(began, now), at(ended, now)];
  const day = (text) => text.slice(0, text.lastIndexOf(" ") + 1);
  return day(from) === day(to) ? to.slice(day(to).length) : to;
}
