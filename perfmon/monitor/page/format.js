// Numbers, spans and instants in words. Pure; seconds and Unix time in, text out.

const MINUTE = 60;
const HOUR = 3600;
const DAY = 86400;

// A latency, three digits: 0.42 ms, 12.3 ms, 1.24 s.
export function latency(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds >= MINUTE) return span(seconds);
  return seconds >= 0.9995 ? `${digits(seconds)} s` : `${digits(seconds * 1000)} ms`;
}

// How long something lasts, in its two largest units: 12 s, 4 min, 3 h 12 min, 5 d 2 h.
export function span(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < MINUTE) return `${whole} s`;
  if (whole < HOUR) return `${Math.floor(whole / MINUTE)} min`;
  if (whole < DAY) return two(whole, HOUR, "h", MINUTE, "min");
  return two(whole, DAY, "d", HOUR, "h");
}

function two(whole, large, largeName, small, smallName) {
  const rest = Math.floor((whole % large) / small);
  const first = `${Math.floor(whole / large)} ${largeName}`;
  return rest ? `${first} ${rest} ${smallName}` : first;
}

// A share. Never rounded up: 99.996 % of successes is not 100 %.
export function share(ratio) {
  if (ratio === null || ratio === undefined) return "–";
  if (ratio === 1 || ratio === 0) return `${ratio * 100} %`;
  const percent = Math.floor(ratio * 10000 + 1e-9) / 100;
  return percent === 0 ? "< 0.01 %" : `${percent} %`;
}

const BINARY = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

export function bytes(count) {
  let value = Math.abs(count);
  let step = 0;
  while (value >= 999.5 && step < BINARY.length - 1) {
    value /= 1024;
    step += 1;
  }
  return `${count < 0 ? "−" : ""}${step ? digits(value) : Math.round(value)} ${BINARY[step]}`;
}

// A plain number: 0.031, 12.3, 4,812, 1.25 M.
export function number(value) {
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e6) return value.toLocaleString("en");
  if (size >= 1e6) return value.toLocaleString("en", { notation: "compact", maximumSignificantDigits: 3 });
  return size >= 1000 ? Math.round(value).toLocaleString("en") : digits(value);
}

// The value of a series with its unit; a counter's value is its rate.
export function quantity(value, series) {
  if (value === null || value === undefined) return "–";
  const counter = series.type === "counter";
  if (series.unit === "bytes") return bytes(value) + (counter ? "/s" : "");
  if (series.unit === "ratio") return `${digits(value * 100)} %`;
  if (series.name.endsWith("_timestamp_seconds")) return stamp(value);
  if (series.unit === "seconds") return counter ? `${digits(value)} s/s` : latency(value);
  return number(value) + (counter ? "/s" : "");
}

export function digits(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 0.001) return value.toExponential(1);
  return value.toFixed(size < 0.995 ? (size < 0.0995 ? 3 : 2) : size < 9.995 ? 2 : size < 99.95 ? 1 : 0);
}

export const count = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const SHORT = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const DATE = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const FULL = new Intl.DateTimeFormat("en-GB", {
  weekday: "short",
  day: "numeric",
  month: "short",
  year: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  timeZoneName: "short",
});

// An instant in the viewer's zone: "14:03:22" today, "19 Nov 14:03" on another day.
export function at(unix, now) {
  const date = new Date(unix * 1000);
  const sameDay = date.toDateString() === new Date(now * 1000).toDateString();
  return sameDay ? CLOCK.format(date) : `${DATE.format(date)} ${SHORT.format(date)}`;
}

export const minuteOf = (unix) => SHORT.format(new Date(unix * 1000));

// In full, for the hover text: "Fri, 20 Nov 2026, 14:03:22 CET".
export const stamp = (unix) => FULL.format(new Date(unix * 1000));

// The closed set of reasons, as a person says them.
const REASONS = {
  dns_nxdomain: "name does not exist",
  dns_servfail: "name server failed",
  dns_timeout: "name server did not answer",
  connect_refused: "connection refused",
  connect_timeout: "no answer to connect",
  unreachable: "not reachable",
  tls_expired: "certificate expiry",
  tls_name_mismatch: "certificate is for another name",
  tls_untrusted: "certificate not trusted",
  tls_handshake: "TLS handshake failed",
  timeout: "timed out",
  status: "wrong status",
  header: "wrong header",
  body: "wrong body",
  json: "wrong JSON",
  too_large: "answer too large",
  short_body: "answer cut short",
  auth: "not authorised",
  permission: "not permitted",
  loading: "not ready yet",
  readonly: "read-only",
  query: "query failed",
  reset: "connection reset",
  closed: "connection closed",
  internal: "defect in perfmon",
};

export const reason = (name) => REASONS[name] ?? name;
