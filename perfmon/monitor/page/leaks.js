// Verdicts on leaks: the word, the points with the fitted line and its band, how fast, how sure, and what speaks against it.

import { h, keyed, setClass, setHidden, setText } from "./dom.js";
import { count, digits, quantity, span } from "./format.js";
import { seriesName } from "./series.js";
import { timeline } from "./timeline.js";

// Each verdict: the mark before it, and what it means for somebody who has not read the documentation.
const VERDICTS = {
  clean: ["up", "Nothing rises, or by less than could matter."],
  suspect: ["firing", "It rises, and something speaks against a leak."],
  growing: ["firing", "It rises and slows down: filling, not leaking, as far as one can tell."],
  leak: ["down", "It rises, and nothing speaks against a leak."],
  insufficient_data: ["unknown", "Too little was seen to judge."],
};
const SIMPLE = { ok: ["up", "within its limit"], critical: ["down", "grows too fast"], waiting: ["unknown", "not judged yet"] };
const PACES = [[60, "min"], [3600, "h"], [86400, "d"]];

// A list of verdicts under `parent`: show(leaks, {now, marks, intervalS}).
export function leakList(parent) {
  const arrange = keyed(parent, makeLeak);
  return (leaks, around) => arrange(leaks.map((leak) => ({ leak, ...around })), ({ leak }) => JSON.stringify([leak.rule, leak.metric, leak.labels]));
}

export const isLeak = (leak) => leak.verdict === "leak" || (leak.verdict === "" && leak.level === "critical");

function makeLeak() {
  const mark = h("span", { class: "mark" });
  const word = h("strong", { class: "word" });
  const name = h("span", { class: "subject" });
  const rule = h("span", { class: "about" });
  const meaning = h("p", { class: "note" });
  const why = h("p", { class: "why" });
  const chart = timeline();
  const facts = h("dl", { class: "detail-facts" });
  const element = h("article", { class: "leak" }, h("h3", {}, mark, word, name, rule), meaning, chart.element, facts, why);
  const update = ({ leak, now, marks, intervalS }) => {
    const [shape, means] = VERDICTS[leak.verdict] ?? SIMPLE[leak.level] ?? SIMPLE.waiting;
    setClass(element, `leak ${shape}`);
    setClass(mark, `mark ${shape}`);
    setText(word, leak.verdict ? leak.verdict.replace("_", " ") : means);
    setText(name, seriesName({ name: leak.metric, labels: leak.labels }));
    setText(rule, `rule ${leak.rule}, over ${pace(leak.window_s)}`);
    setText(meaning, leak.verdict ? means : "");
    setHidden(meaning, !leak.verdict);
    setText(why, leak.why);
    chart.draw({
      from: now - leak.window_s,
      to: now,
      lines: [{ name: "", points: leak.points }],
      whole: leak.unit === "" && leak.points.every(([, value]) => Number.isInteger(value)),
      fits: leak.lines,
      marks: [...marks.filter((mark) => mark.rule === leak.rule), ...leak.restarts.map((t) => ({ t, kind: "restart", words: "restart" })), ...leak.cuts.map((t) => ({ t, kind: "cut", words: "profiled by perfmon" }))],
      gapS: Math.max(3 * intervalS, leak.window_s / 30),
      words: (value) => quantity(value, { name: leak.metric, type: "gauge", unit: leak.unit }),
    });
    fill(facts, factsOf(leak));
  };
  return { element, update };
}

function fill(list, pairs) {
  const known = JSON.stringify(pairs);
  if (list.dataset.known === known) return;
  list.dataset.known = known;
  list.replaceChildren(...pairs.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

function factsOf(leak) {
  if (leak.slope === null) return [];
  const left = leak.seconds_to_limit;
  return [
    ["grows by", rate(leak.slope, leak)],
    ["95 % interval", `${rate(leak.low, leak)} to ${rate(leak.high, leak)}`],
    ...(leak.p === null ? [] : [["by chance", leak.p < 0.001 ? "p < 0.001" : `p ${leak.p.toPrecision(2)}`]]),
    ...(left === null ? [] : [["limit reached", left === 0 ? "already" : `in ${span(left)}, at this rate`]]),
    ["rests on", `${count(leak.n, "point")}, judged every ${pace(leak.every_s)}`],
    ...Object.entries(leak.remarks).map(([guard, words]) => [guard.replaceAll("_", " "), words]),
  ];
}

const pace = (seconds) => (seconds < 600 ? `${Number.isInteger(seconds) ? seconds : digits(seconds)} s` : span(seconds));

// A slope with the time in which it is a number that one can read.
function rate(perS, leak) {
  const series = { name: "", type: "gauge", unit: leak.unit };
  const least = leak.unit === "bytes" ? 1024 : 1;
  const [seconds, name] = PACES.find(([pace]) => Math.abs(leak.slope) * pace >= least) ?? PACES.at(leak.slope === 0 ? 0 : -1);
  return `${quantity(perS * seconds, series)}/${name}`;
}
