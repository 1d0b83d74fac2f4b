// Windows of maintenance in words: those that are open, and the next ones.

import { byId, h, keyed, setClass, setHidden, setText } from "./dom.js";
import { at, span, stamp } from "./format.js";

let showList;

export function showMaintenance({ maintenance = [], maintenance_next: next = [] }, now) {
  showList ??= keyed(byId("maintenance-list"), makeWindow);
  setHidden(byId("maintenance"), maintenance.length + next.length === 0);
  showList([...maintenance, ...next].map((window) => ({ ...window, now })), ({ name, since }) => `${since} ${name}`);
}

function makeWindow() {
  const name = h("strong");
  const when = h("span", { class: "when" });
  const element = h("li", {}, name, " ", when);
  const update = ({ name: called, since, until, now }) => {
    const open = since <= now;
    setClass(element, open ? "work open" : "work");
    setText(name, called);
    setText(when, open ? `under way for ${span(now - since)}, until ${at(until, now)}; alerts are held back` : `from ${at(since, now)} to ${at(until, now)}`);
    when.title = `${stamp(since)} to ${stamp(until)}`;
  };
  return { element, update };
}
