// Series of samplers: several that are one to the eye are added up, and what they are called.

import { digits } from "./format.js";

// A rate of CPU seconds is a number of cores.
export const cores = (value) => `${digits(value)} ${value === 1 ? "core" : "cores"}`;

// One history out of those of several series: minute by minute, their sum.
export function added(series) {
  const bySlot = new Map();
  for (const [t, value] of series.flatMap((one) => one.history)) {
    const slot = Math.floor(t / 60);
    if (value !== null) bySlot.set(slot, (bySlot.get(slot) ?? 0) + value);
  }
  return [...bySlot].sort((a, b) => a[0] - b[0]);
}

export function sum(values) {
  const known = values.filter((value) => value !== null);
  return known.length ? known.reduce((all, value) => all + value, 0) : null;
}

// Without the labels that say which group it is of.
export function seriesName({ name, labels }) {
  const inner = Object.entries(labels).filter(([label]) => label !== "group" && label !== "cgroup").map(([label, value]) => `${label}="${value}"`);
  return name.replace(/^perfmon_/, "") + (inner.length ? `{${inner.join(", ")}}` : "");
}

// The page of one group.
export const groupPath = (sampler, group, cgroup) => `/group?${new URLSearchParams({ sampler, group, ...(cgroup ? { cgroup } : {}) })}`;
