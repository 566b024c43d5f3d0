// Numbers, instants and units as people read them. Instants come as strings of nanoseconds, since a double cannot hold them.

const DURATIONS = [
  [1, "ns"],
  [1e3, "µs"],
  [1e6, "ms"],
  [1e9, "s"],
];

/** Return a number with three figures that count: 1.23, 12.3, 123, 1,234. */
export function figures(value) {
  const size = Math.abs(value);
  if (size !== 0 && size < 0.001) return value.toExponential(1);
  const digits = size >= 100 || Number.isInteger(value) ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
  return value.toLocaleString("en", { maximumFractionDigits: digits });
}

/** Return 61 as "1 min 01 s", 60 as "1 min". */
function pair(number, large, small) {
  const rest = number % 60;
  return `${Math.floor(number / 60)} ${large}${rest ? ` ${String(rest).padStart(2, "0")} ${small}` : ""}`;
}

/** Return a duration in nanoseconds as text. */
export function duration(ns) {
  if (ns >= 3600e9) return pair(Math.floor(ns / 60e9), "h", "min");
  if (ns >= 60e9) return pair(Math.floor(ns / 1e9), "min", "s");
  const [size, unit] = DURATIONS.findLast(([least]) => ns >= least) ?? DURATIONS[0];
  return `${figures(ns / size)} ${unit}`;
}

/** Return the nanoseconds that a person meant by "250ms", "1.5 s" or "2m"; null for nothing, NaN for something else. */
export function parseDuration(text) {
  if (!text.trim()) return null;
  const found = /^\s*(\d+(?:[.,]\d+)?)\s*(ns|us|µs|μs|ms|s|m|min|h)?\s*$/i.exec(text);
  if (!found) return NaN;
  const unit = { ns: 1, us: 1e3, µs: 1e3, μs: 1e3, ms: 1e6, s: 1e9, m: 60e9, min: 60e9, h: 3600e9 }[(found[2] ?? "ms").toLowerCase()];
  return Math.round(Number(found[1].replace(",", ".")) * unit);
}

/** Return how many nanoseconds `later` is after `earlier`. */
export const since = (later, earlier) => Number(BigInt(later) - BigInt(earlier));

/** Return an instant as milliseconds of the Unix epoch. */
export const millis = (ns) => Number(BigInt(ns) / 1000n) / 1000;

const two = (number) => String(number).padStart(2, "0");

/** Return the time of day of an instant, with the day when that is not today. */
export function clock(ns, digits = 3) {
  const at = new Date(millis(ns));
  const day = at.toDateString() === new Date().toDateString() ? "" : `${at.toLocaleString("en", { month: "short", day: "numeric" })} `;
  const rest = digits ? `.${String(at.getMilliseconds()).padStart(3, "0")}` : "";
  return `${day}${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}${rest}`;
}

/** Return an instant in full, for tooltips. */
export const instant = (ns) => `${new Date(millis(ns)).toISOString().slice(0, -1)}${String(BigInt(ns) % 1000000n).padStart(6, "0")}Z`;

/** Return how long ago an instant was, roughly. */
export function ago(ns, now = Date.now()) {
  const seconds = Math.max(0, (now - millis(ns)) / 1000);
  if (seconds < 60) return `${Math.round(seconds)} s ago`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86400)} d ago`;
}

/** Return a whole number with separators. */
export const count = (number) => number.toLocaleString("en");

/** Return "1 span", "2 spans". */
export const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

/** Return a whole number in little room: 1.2k. */
export const compact = (number) => (number < 1000 ? String(number) : number.toLocaleString("en", { notation: "compact", maximumFractionDigits: 1 }).toLowerCase());

const TIME_STEPS = [
  [1e-9, "ns"],
  [1e-6, "µs"],
  [1e-3, "ms"],
  [1, "s"],
  [60, "min"],
  [3600, "h"],
];
const SIZE_STEPS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"].map((name, power) => [1024 ** power, name]);
const PLAIN_STEPS = [
  [1, ""],
  [1e3, "k"],
  [1e6, "M"],
  [1e9, "G"],
];
const SECONDS = { ns: 1e-9, us: 1e-6, ms: 1e-3, s: 1, min: 60, h: 3600 };
const BYTES = { By: 1, KiBy: 1024, MiBy: 1024 ** 2, GiBy: 1024 ** 3, kBy: 1e3, MBy: 1e6, GBy: 1e9 };
const RATIO = /utili[sz]ation|ratio|fraction|percent/;

const reach = (steps, largest) => steps.findLast(([size]) => largest >= size) ?? steps[0];

/**
 * Return how to write values of a metric: `{size, text(value), own(value)}`.
 *
 * `size` is the step that an axis counts in; `text` writes in that step, `own` in the step that suits the value itself.
 *
 * A unit "1" is a share only where the name or the values say so: a queue's depth has the same unit.
 */
export function scale({ name = "", unit = "", kind = "" }, largest, rate = false) {
  const share = unit === "1" && !rate && kind !== "counter" && (RATIO.test(name) || largest <= 1);
  const word = unit === "1" ? "" : unit.replace(/[{}]/g, "");
  const [factor, steps] = share ? [1, [[0.01, "%"]]] : Object.hasOwn(SECONDS, unit) ? [SECONDS[unit], TIME_STEPS] : Object.hasOwn(BYTES, unit) ? [BYTES[unit], SIZE_STEPS] : [1, PLAIN_STEPS];
  const plain = steps === PLAIN_STEPS;
  const write = (value, [size, letter]) => {
    if (value === null) return "–";
    const suffix = (plain ? word : letter) + (rate ? "/s" : "");
    return `${figures((value * factor) / size + 0)}${plain ? letter : ""}${suffix ? " " : ""}${suffix}`;
  };
  const fitting = (value) => reach(steps, Math.abs(value) * factor || 1);
  return { size: fitting(largest)[0] / factor, text: (value) => write(value, fitting(largest)), own: (value) => write(value, value === null ? steps[0] : fitting(value)) };
}

/** Return about `wanted` round values from `low` to `high`, counted in steps of `size`. */
export function ticks(low, high, wanted = 5, size = 1) {
  const span = (high - low) / size;
  if (!(span > 0)) return [low];
  const raw = span / wanted;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((digit) => digit * power).find((candidate) => candidate >= raw) * size;
  const first = Math.ceil(low / step - 1e-9);
  const found = [];
  for (let index = first; index * step <= high + step * 1e-9; index++) found.push(index * step + 0); // no -0
  return found;
}
