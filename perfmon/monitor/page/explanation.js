// One run explained: where its time went, what was sent and came back, what was expected and what came. The shape is
// that of `perfmon.explanation.Explanation`.

import { h } from "./dom.js";
import { at, count, latency, reason, span, stamp } from "./format.js";

const DAY = 86400;

export function explanationOf(explained, now) {
  const only = (kind) => explained.steps.filter((step) => step.step === kind);
  return h("div", { class: "explanation" },
    verdict(explained, now),
    ...part("Where the time went", waterfall(explained.steps)),
    ...part("What was expected", demands(only("demand"))),
    ...part("Names", lookUps(only("look_up"))),
    ...part("What went over the wire", [...exchanges(only("exchange")), ...dialogue(only("said"))]),
    ...part("Certificates", certificates(only("certificate"), explained.at)),
    folded(`${count(explained.metrics.length, "metric")} it made`, explained.metrics),
    folded(`${count(explained.log.length, "line")} of its log`, explained.log),
  );
}

const part = (title, children) => (children.length ? [h("h3", {}, title), ...children] : []);
const rows = (pairs) => h("dl", { class: "detail-facts" }, ...pairs.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));

function folded(title, lines) {
  return h("details", {}, h("summary", {}, title), h("pre", { tabindex: "0" }, lines.join("\n")));
}

function verdict(explained, now) {
  const { failure, success, duration_s: duration, timeout_s: timeout, address } = explained;
  const words = success ? "Succeeded" : "Failed";
  const facts = [`in ${latency(duration)} of ${latency(timeout)}`, address ? `at ${address}` : "", at(explained.at, now)].filter(Boolean);
  return h("div", { class: `verdict ${success ? "up" : "down"}` },
    h("p", {}, h("span", { class: `mark ${success ? "up" : "down"}` }), h("strong", {}, words), ` ${facts.join(", ")}`),
    ...(failure ? [h("p", { class: "what" }, failure.message), h("p", { class: "note" }, `${reason(failure.reason)} [${failure.reason}]${failure.phase ? ` in ${failure.phase}` : ""}`)] : []),
    ...(failure && Object.keys(failure.evidence).length ? [rows(Object.entries(failure.evidence).map(([name, text]) => [name, text.trim()]))] : []),
  );
}

// A hop's phases stand before its exchange; the next hop's stand a little apart.
function waterfall(steps) {
  const spans = steps.filter((step) => step.step === "timed");
  if (!spans.length) return [];
  const begins = new Set(steps.flatMap((step, i) => (step.step === "exchange" ? steps.slice(i + 1).filter((one) => one.step === "timed").slice(0, 1) : [])));
  const end = Math.max(...spans.map((one) => one.begin_s + one.seconds)) || 1;
  return [h("ul", { class: "waterfall" }, ...spans.map((one) => {
    const bar = h("span", { class: `${one.phase} bar-of-time` });
    bar.style.marginLeft = `${(100 * one.begin_s) / end}%`;
    bar.style.width = `${(100 * one.seconds) / end}%`;
    return h("li", begins.has(one) ? { class: "next" } : {}, h("span", { class: "phase" }, one.phase), h("span", { class: "track", "aria-hidden": "true" }, bar), h("span", { class: "took" }, latency(one.seconds)));
  }))];
}

function demands(all) {
  if (!all.length) return [];
  return [h("ul", { class: "demands" }, ...all.map((one) => h("li", { class: one.met ? "up" : "down" },
    h("span", { class: `mark ${one.met ? "up" : "down"}` }),
    h("span", { class: "word" }, one.met ? "met" : "not met"),
    h("span", { class: "demand" }, one.name),
    h("span", { class: "got" }, h("span", { class: "note" }, "got "), one.got),
    h("span", { class: "expected" }, h("span", { class: "note" }, "expected "), one.expected),
  )))];
}

function lookUps(all) {
  const seen = new Map(all.map((one) => [JSON.stringify(one), one]));
  return seen.size ? [rows([...seen.values()].map((one) => [one.host, one.error || `${one.addresses.join(", ")}${one.addresses.length > 1 ? `; used ${one.used}` : ""}`]))] : [];
}

function exchanges(all) {
  return all.map((one, i) => {
    const status = one.received.findLast((line) => line.startsWith("HTTP/")) ?? one.error;
    const what = one.url ? `${one.sent[0]?.split(" ")[0] ?? ""} ${one.url}` : `connection to ${one.address}`;
    const fold = h("details", { class: "exchange" },
      h("summary", {}, h("span", { class: "subject" }, what), h("span", { class: one.error ? "what" : "note" }, status || "connected")),
      ...(one.url ? [h("p", { class: "note" }, `at ${one.address}`)] : []),
      ...[["sent", one.sent], ["received", one.received]].filter(([, lines]) => lines.length).map(([title, lines]) => h("div", { class: "head-lines" }, h("h4", {}, title), h("pre", { tabindex: "0" }, lines.join("\n")))),
      ...(one.error && one.error !== status ? [h("p", { class: "what" }, one.error)] : []),
    );
    fold.open = i === all.length - 1;
    return fold;
  });
}

function dialogue(all) {
  if (!all.length) return [];
  return [h("ol", { class: "dialogue" }, ...all.map((one) => h("li", { class: one.by },
    h("span", { class: "took" }, latency(one.at_s)),
    h("span", { class: "by" }, one.by === "perfmon" ? "we said" : "it said"),
    h("span", { class: "text" }, one.text),
  )))];
}

function certificates(all, when) {
  return all.map((one, i) => h("div", { class: "certificate" },
    h("h4", {}, i === 0 ? "the server's own" : `issuer ${i}`),
    rows([
      ["subject", one.subject || "none"],
      ["issuer", one.issuer || "none"],
      ...(one.names.length ? [["names", one.names.join(", ")]] : []),
      ["valid", `${stamp(one.not_before)} to ${stamp(one.not_after)}`],
      ["", validity(one, when)],
      ["serial", one.serial],
      ["SHA-256", one.fingerprint],
    ]),
  ));
}

function validity({ not_before: first, not_after: last }, when) {
  if (when < first) return "not valid yet";
  const left = Math.abs(last - when);
  const words = left >= 2 * DAY ? `${Math.round(left / DAY).toLocaleString("en")} days` : span(left);
  return last >= when ? `${words} left` : `expired ${words} ago`;
}
