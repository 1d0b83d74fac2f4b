// Groups in the table of probes: what belongs together stands under one heading, groups with failures first.

import { h, setAttribute, setClass, setHidden, setText } from "./dom.js";

export const STATES = ["down", "unknown", "up"];

const FOLD_FROM = 60; // probes; of so many, those of a group that are up are out of sight until somebody unfolds it
const rank = (probe) => STATES.indexOf(probe.state);

// What the reader unfolded or folded, by the name of the group, and what holds of all others.
const chosen = new Map();
const usual = { grouped: false, folded: false };

// The rows of the table in their order: each group's heading, and its probes; without any group the probes alone.
export function inGroups(probes) {
  Object.assign(usual, { grouped: probes.some((probe) => probe.group), folded: probes.length >= FOLD_FROM });
  const ordered = [...probes].sort((a, b) => rank(a) - rank(b)); // stable: as in the config otherwise
  if (!usual.grouped) return ordered;
  const groups = new Map();
  for (const probe of ordered) {
    if (!groups.has(probe.group)) groups.set(probe.group, []);
    groups.get(probe.group).push(probe);
  }
  return [...groups].flatMap(([name, members]) => [{ key: `\n${name}`, name, members }, ...members]); // no probe's key begins so
}

// Whether a probe is out of sight since its group is folded. One that fails never is.
export const isFolded = (probe) => usual.grouped && probe.state === "up" && isGroupFolded(probe.group);

const isGroupFolded = (name) => chosen.get(name) ?? usual.folded;

// The heading of a group; `changed` is called when it was folded or unfolded.
export function makeHeading(changed) {
  const mark = h("span", { class: "mark" });
  const title = h("span", { class: "group-title" });
  const tally = h("span", { class: "group-tally" });
  const fold = h("button", { type: "button", "aria-controls": "probe-rows" });
  const heading = { element: h("div", { role: "row", class: "probe-group" }, h("div", { role: "rowheader" }, mark, title, tally, fold)), group: null };
  heading.update = (group) => {
    heading.group = group;
    const of = (state) => group.members.filter((probe) => probe.state === state).length;
    const [down, unknown, up] = STATES.map(of);
    setClass(mark, `mark ${STATES[rank(group.members[0])]}`); // they begin with the worst
    setText(title, group.name || "without a group");
    setText(tally, tallyWords(down, unknown, up));
    setHidden(fold, up === 0);
    setText(fold, `${isGroupFolded(group.name) ? "show" : "hide"} ${up.toLocaleString("en")} that ${up === 1 ? "is" : "are"} up`);
    setAttribute(fold, "aria-expanded", String(!isGroupFolded(group.name)));
  };
  fold.addEventListener("click", () => {
    chosen.set(heading.group.name, !isGroupFolded(heading.group.name));
    heading.update(heading.group);
    changed();
  });
  return heading;
}

function tallyWords(down, unknown, up) {
  const total = (down + unknown + up).toLocaleString("en");
  if (down) return `${down.toLocaleString("en")} of ${total} failing`;
  return unknown ? `${unknown.toLocaleString("en")} of ${total} without a result` : `${total} up`;
}
