// From points as they were received to what a chart shows: rates, differences, quantiles. Pure; times are milliseconds.

import { millis } from "./format.js";

const median = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0;

/** Return `[time, value]` of points; a hole of several beats gets a null, so that no line spans it. */
export function levels(points) {
  return holes(points.map(({ time, value }) => [millis(time), value]));
}

/** Return since when the first of a series' points counts, where all of that time was asked for; else null. */
export function opening({ points, earlier = false }, asked = null) {
  const first = points[0];
  if (!first?.start || earlier) return null;
  const start = millis(first.start);
  return start < millis(first.time) && (asked === null || start >= asked || points.length === 1) ? start : null;
}

/**
 * Return `[time, per second]` of a cumulative count; a count that fell has begun again at zero.
 *
 * `since` is when the first point began to count: the rate until then is drawn from there, be it the only one.
 */
export function rates(points, since = null) {
  const found = [];
  let before = since === null ? null : { at: since, value: 0 };
  for (const point of points) {
    const at = millis(point.time);
    if (point.value === null) continue;
    if (before && at > before.at) {
      const start = point.start ? millis(point.start) : before.at;
      const anew = start > before.at && start < at; // another process: it counts from its own start
      const again = anew || point.value < before.value;
      const rate = (again ? point.value : point.value - before.value) / ((at - (anew ? start : before.at)) / 1000);
      if (before.at === since) found.push([since, rate]);
      found.push([at, rate]);
    }
    before = { at, value: point.value };
  }
  return holes(found);
}

function holes(points) {
  if (points.length < 3) return points;
  const beat = median(points.slice(1).map(([time], index) => time - points[index][0]));
  return points.flatMap((point, index) => (index && point[0] - points[index - 1][0] > 4 * beat + 1000 ? [[points[index - 1][0] + beat, null], point] : [point]));
}

/**
 * Return what came between each point of a cumulative histogram and the one before: `{at, edges, buckets, count, sum}`.
 *
 * The first point holds what came since its program began, at `since` if that is known; `cut` says that earlier points were left out, so that it tells nothing.
 */
export function differences(points, cut = false, since = null) {
  const found = points.map((point, index) => {
    const before = points[index - 1];
    const same = before && before.count <= point.count && before.edges.length === point.edges.length && before.edges.every((edge, at) => edge === point.edges[at]);
    const grown = same && point.buckets.every((value, at) => value >= before.buckets[at]);
    return {
      at: millis(point.time),
      since: before ? null : since,
      edges: point.edges,
      buckets: grown ? point.buckets.map((value, at) => value - before.buckets[at]) : point.buckets,
      count: grown ? point.count - before.count : point.count,
      sum: grown ? point.sum - before.sum : point.sum,
      low: point.min ?? null,
      high: point.max ?? null,
    };
  });
  return cut ? found.slice(1) : found;
}

/** Add up histograms whose edges may differ: a bucket that is cut gives each piece its share of the width. */
export function together(histograms) {
  const edges = [...new Set(histograms.flatMap((found) => found.edges))].sort((a, b) => a - b);
  const buckets = new Array(edges.length + 1).fill(0);
  const known = (values, pick) => (values.length ? pick(...values) : null);
  for (const found of histograms) {
    found.buckets.forEach((number, index) => {
      if (!number) return;
      const first = index === 0 ? 0 : edges.indexOf(found.edges[index - 1]) + 1;
      const last = index === found.edges.length ? edges.length : edges.indexOf(found.edges[index]);
      const width = (at) => (at === 0 || at === edges.length ? 0 : edges[at] - edges[at - 1]);
      let whole = 0;
      for (let at = first; at <= last; at++) whole += width(at);
      for (let at = first; at <= last; at++) buckets[at] += number * (whole ? width(at) / whole : at === last ? 1 : 0);
    });
  }
  return {
    edges,
    buckets,
    count: histograms.reduce((sum, found) => sum + found.count, 0),
    sum: histograms.reduce((sum, found) => sum + (found.sum ?? 0), 0),
    low: known(histograms.map((found) => found.low).filter((value) => value !== null), Math.min),
    high: known(histograms.map((found) => found.high).filter((value) => value !== null), Math.max),
  };
}

/** Return the value below which the share `q` of a histogram lies, or null of an empty one. */
export function quantile({ edges, buckets, low, high }, q) {
  const total = buckets.reduce((sum, number) => sum + number, 0);
  if (!total) return null;
  let below = 0;
  const at = buckets.findIndex((number) => {
    below += number;
    return number > 0 && below >= q * total - 1e-9;
  });
  const upper = at < edges.length ? edges[at] : Math.max(high ?? edges.at(-1), edges.at(-1) ?? high ?? 0);
  const lower = at > 0 ? edges[at - 1] : Math.min(low ?? 0, upper, edges[0] > 0 ? Math.max(0, low ?? 0) : (low ?? edges[0] ?? 0));
  const inside = (q * total - (below - buckets[at])) / buckets[at];
  const value = lower + (upper - lower) * Math.max(0, Math.min(1, inside));
  return Math.max(low ?? value, Math.min(high ?? value, value));
}

/** Sort the differences of several series into columns of equal length: `{from, to, ...histogram}`, without the empty ones; `asked` is since when there may be points. */
export function columns(series, [from, to], most, asked = null) {
  const beat = median(series.flatMap(({ points }) => points.slice(1).map((point, index) => millis(point.time) - millis(points[index].time))));
  const cut = (one) => Boolean(one.earlier) || (one.points.length > 1 && Boolean(one.points[0].start) && asked !== null && millis(one.points[0].start) < asked);
  const found = series.flatMap((one) => differences(one.points, cut(one), opening(one, asked))).filter((one) => one.count > 0 && one.at >= from && one.at <= to);
  const width = Math.max((to - from) / most, beat, 1);
  const sorted = new Map();
  for (const one of found) {
    const place = Math.min(Math.floor((one.at - from) / width), Math.max(0, Math.ceil((to - from) / width) - 1));
    sorted.set(place, [...(sorted.get(place) ?? []), one]);
  }
  let last = -Infinity;
  return [...sorted].sort(([a], [b]) => a - b).map(([place, ones]) => {
    const begun = Math.min(from + place * width, ...ones.map(({ since }) => since ?? Infinity)); // all since a start is of one column
    const column = { from: Math.max(begun, last), to: from + (place + 1) * width, ...together(ones) };
    last = column.to;
    return column;
  });
}

/** Return the first and the last time of all points, and of what came before the first, or null when there are none. */
export function reach(series, asked = null) {
  const times = series.flatMap((one) => (one.points.length ? [opening(one, asked) ?? millis(one.points[0].time), millis(one.points.at(-1).time)] : []));
  return times.length ? [Math.min(...times), Math.max(...times)] : null;
}

const INSTANCE = "service.instance.id";

/** Return short and full names of series: only what tells them apart, and everything. */
export function names(series) {
  const several = (values) => new Set(values.map(String)).size > 1;
  const services = several(series.map((one) => one.service));
  const instances = several(series.map((one) => one.resource?.[INSTANCE]));
  const keys = [...new Set(series.flatMap((one) => Object.keys(one.attributes)))].sort();
  const telling = keys.filter((key) => several(series.map((one) => one.attributes[key])));
  return series.map((one) => {
    const instance = one.resource?.[INSTANCE];
    const own = (telling.length || services || instances ? telling : keys).filter((key) => key in one.attributes);
    const short = own.map((key) => `${key.split(".").at(-1)}=${one.attributes[key]}`);
    const full = keys.filter((key) => key in one.attributes).map((key) => `${key}=${one.attributes[key]}`);
    return {
      short: [services ? one.service : null, ...short, instances && instance ? `instance ${String(instance).slice(0, 8)}` : null].filter(Boolean).join(" · ") || one.service || "value",
      full: [one.service, ...full, instance ? `${INSTANCE}=${instance}` : null].filter(Boolean).join("\n"),
    };
  });
}
