// One metric: its charts, the legend of its series, and the exemplars that lead to traces.

import { get } from "./api.js";
import { heat, lines } from "./chart.js";
import { slot } from "./colours.js";
import { h } from "./dom.js";
import { clock, instant, millis, plural, scale } from "./format.js";
import { choice, serviceChoice } from "./lists.js";
import { kindName } from "./metrics.js";
import { columns, levels, names, opening, quantile, rates, reach } from "./series.js";

const RANGES = [
  ["300", "Last 5 minutes"],
  ["900", "Last 15 minutes"],
  ["3600", "Last hour"],
  ["21600", "Last 6 hours"],
  ["86400", "Last day"],
  ["", "Everything"],
];
const QUANTILES = [
  [0.5, "p50", "q50"],
  [0.95, "p95", "q95"],
  [0.99, "p99", "q99"],
];
const DRAWN = 12; // lines that an eye can still tell apart
const LISTED = 300;
const COLUMNS = 90;
const EXEMPLARS = 60;

const isHistogram = (kind) => kind === "histogram" || kind === "exponential_histogram";
const isCounter = (kind) => kind === "counter" || kind === "sum";

/** Return the view of the metric whose name is in the path. */
export function open(context) {
  const name = context.args[0];
  const filters = { range: context.query.get("range") ?? "3600", service: context.query.get("service") ?? "", as: context.query.get("as") ?? "" };
  const shown = new Map(); // series by their full name: does a person want to see it
  const heading = h("div.heading", {}, h("h1", {}, h("a.back", { href: "/metrics", "aria-label": "Back to the list", onclick: (event) => (event.preventDefault(), event.stopPropagation(), context.back("/metrics")) }, "←"), h("code", {}, name)));
  const about = h("p.meta");
  const body = h("div.charts");
  const legend = h("div.series");
  const rows = h("tbody");
  const legendFilter = h("input.filter", { type: "search", placeholder: "Filter the series", "aria-label": "Filter the series", hidden: true });
  const exemplarList = h("div.exemplars");
  const way = choice("Show", [["", "Rate"], ["total", "Total"]], filters.as, (value) => set("as", value));
  const charts = {};
  let metric = null;
  let asked = null;
  let listable = [];

  async function refresh() {
    asked = filters.range ? Date.now() - Number(filters.range) * 1000 : null;
    try {
      const found = await fetched(asked);
      if (asked !== null && !found.series.some(({ points }) => points.length)) {
        const everything = await fetched(null); // what stopped earlier is better than nothing
        asked = null;
        metric = everything;
      } else metric = found;
      draw();
    } catch (error) {
      if (error.status) body.replaceChildren(h("p.failure", { role: "alert" }, error.message));
    }
  }

  const fetched = (from) => get(`/api/metrics/${encodeURIComponent(name)}`, { since: from === null ? null : `${Math.round(from)}000000`, service: filters.service });

  function set(key, value) {
    filters[key] = value;
    context.setQuery({ ...filters, range: filters.range === "3600" ? "" : filters.range || "all" });
    refresh();
  }

  function draw() {
    about.replaceChildren(h("span.badge", {}, kindName(metric.kind)), metric.unit ? h("span.badge.unit", {}, metric.unit) : "", h("span", {}, metric.description));
    way.hidden = !isCounter(metric.kind);
    const labels = names(metric.series);
    const all = metric.series.map((one, index) => ({ ...one, ...labels[index] })).filter(({ points }) => points.length);
    all.sort((a, b) => (a.short < b.short ? -1 : 1));
    all.forEach((one, index) => {
      one.tint = slot(index);
      if (!shown.has(one.full)) shown.set(one.full, isHistogram(metric.kind) || index < DRAWN);
    });
    const range = reach(isCounter(metric.kind) || isHistogram(metric.kind) ? all : all.map((one) => ({ ...one, earlier: true })), asked);
    if (!range) {
      body.replaceChildren(h("section.empty.small", {}, h("h2", {}, "No points in this time")));
      return;
    }
    const picked = all.filter((one) => shown.get(one.full));
    if (isHistogram(metric.kind)) drawHistogram(picked, range);
    else if (metric.kind === "summary") drawSummary(picked, range);
    else drawLines(picked, range);
    listable = all;
    drawLegend(all);
    drawExemplars(picked);
  }

  /** Show these charts, each under its title; those that are there already stay. */
  function place(...wanted) {
    const parts = wanted.map(({ title, make }) => (charts[title] ??= { chart: make(`${title} of ${name}`), title }));
    const boxes = parts.map((part) => (part.box ??= h("section", {}, h("h2", {}, part.title), part.chart.element)));
    if (body.children.length !== boxes.length || boxes.some((box, index) => body.children[index] !== box)) body.replaceChildren(...boxes);
    return parts.map(({ chart }) => chart);
  }

  const largest = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value ?? 0)), 0);

  function drawLines(picked, range) {
    const rated = isCounter(metric.kind) && filters.as !== "total" && picked.some((one) => one.points.length > 1 || opening(one, asked) !== null);
    const series = picked.map((one) => ({ name: one.short, tint: one.tint, points: rated ? rates(one.points, opening(one, asked)) : levels(one.points) }));
    const written = scale(metric, largest(series.flatMap(({ points }) => points.map(([, value]) => value))), rated);
    const title = rated ? "Rate" : isCounter(metric.kind) ? "Total" : "Value";
    const [chart] = place({ title, make: lines });
    const on = (index, time) => series[index].points.filter(([, value]) => value !== null).reduce((near, point) => (near && Math.abs(near[0] - time) <= Math.abs(point[0] - time) ? near : point), null)?.[1];
    const exemplars = picked.flatMap((one, index) => exemplarsOf(one, range, scale(metric, 0)).map((found) => ({ ...found, value: on(index, found.time) ?? found.value })));
    chart.draw({ series, range, scale: written, exemplars });
  }

  function drawHistogram(picked, range) {
    const found = columns(picked, range, COLUMNS, asked);
    const centre = ({ from, to }) => Math.min(range[1], (from + to) / 2);
    const series = QUANTILES.map(([q, label, tint]) => ({ name: label, tint, points: found.map((column) => [centre(column), quantile(column, q)]) }));
    const written = scale(metric, largest(series.flatMap(({ points }) => points.map(([, value]) => value))));
    const exemplars = picked.flatMap((one) => exemplarsOf(one, range, written)).slice(-EXEMPLARS);
    const [percentiles, map] = place({ title: "Percentiles", make: lines }, { title: "Distribution", make: heat });
    const wide = found.length ? [Math.min(range[0], found[0].from), Math.max(range[1], found.at(-1).to)] : range;
    percentiles.draw({ series, range: wide, scale: written, exemplars });
    map.draw({ columns: found, range: wide, scale: written, exemplars });
    const count = found.reduce((sum, column) => sum + column.count, 0);
    const sum = found.reduce((total, column) => total + column.sum, 0);
    const whole = series.map(({ name: label, points, tint }) => ({ label, tint, value: points.at(-1)?.[1] ?? null }));
    charts.Percentiles.key ??= charts.Percentiles.box.insertBefore(h("p.key"), charts.Percentiles.chart.element);
    charts.Percentiles.key.replaceChildren(...whole.map(({ label, tint, value }) => h(`span.${tint}`, {}, h("i.dot", { "aria-hidden": "true" }), `${label} `, h("b", {}, written.own(value)))), h("span", {}, "mean ", h("b", {}, count ? written.own(sum / count) : "–")), h("span", {}, "observations ", h("b", {}, Math.round(count).toLocaleString("en"))));
  }

  function drawSummary(picked, range) {
    const series = picked.flatMap((one) => [...new Set(one.points.flatMap(({ quantiles }) => quantiles.map(({ quantile: q }) => q)))].map((q, index) => ({ name: `${one.short} q=${q}`, tint: slot(index), points: levels(one.points.map(({ time, quantiles }) => ({ time, value: quantiles.find((held) => held.quantile === q)?.value ?? null }))) })));
    const [chart] = place({ title: "Quantiles", make: lines });
    chart.draw({ series, range, scale: scale(metric, largest(series.flatMap(({ points }) => points.map(([, value]) => value)))) });
  }

  function exemplarsOf(one, [from, to], written) {
    return (one.exemplars ?? [])
      .filter((found) => found.trace_id && found.value !== null)
      .map((found) => ({ time: millis(found.time), value: found.value, stamp: found.time, text: written.own(found.value), name: one.short, href: `/trace/${found.trace_id}${found.span_id ? `?span=${found.span_id}` : ""}` }))
      .filter(({ time }) => time >= from - 120000 && time <= to + 120000)
      .map((found) => ({ ...found, time: Math.max(from, Math.min(to, found.time)) }));
  }

  function latest(one) {
    const point = one.points.at(-1);
    if (metric.kind === "summary" || isHistogram(metric.kind)) return point.count.toLocaleString("en");
    return scale(metric, Math.abs(point.value ?? 0)).own(point.value);
  }

  function drawLegend(all) {
    legendFilter.hidden = all.length < 9;
    const wanted = legendFilter.value.toLowerCase();
    const listed = all.filter((one) => one.full.toLowerCase().includes(wanted)).slice(0, LISTED);
    const focused = rows.contains(document.activeElement) ? document.activeElement.value : null;
    rows.replaceChildren(...listed.map((one) => legendRow(one, all)));
    if (focused) [...rows.querySelectorAll("input")].find((box) => box.value === focused)?.focus();
    legend.replaceChildren(
      h("h2", {}, plural(all.length, "series").replace("seriess", "series"), metric.more ? h("small", {}, " the newest; there are more") : null, listed.length < all.length ? h("small", {}, ` ${listed.length} listed`) : null),
      legendFilter,
      h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, h("span.heard", {}, "Shown")), h("th", { scope: "col" }, "Series"), h("th", { scope: "col" }, isHistogram(metric.kind) || metric.kind === "summary" ? "Count" : "Latest"))), rows),
    );
  }

  function legendRow(one, all) {
    const box = h("input", { type: "checkbox", "aria-label": `Show ${one.short}`, value: one.full });
    box.checked = shown.get(one.full);
    box.addEventListener("change", () => {
      shown.set(one.full, box.checked);
      draw();
    });
    const only = h("button.link", { type: "button", title: "Only this one; again for all", "aria-label": `Only ${one.short}` }, one.short);
    only.addEventListener("click", () => {
      const alone = shown.get(one.full) && all.every((other) => other === one || !shown.get(other.full));
      all.forEach((other, index) => shown.set(other.full, alone ? isHistogram(metric.kind) || index < DRAWN : other === one));
      draw();
    });
    const tint = isHistogram(metric.kind) ? "" : `.${one.tint}`;
    return h("tr", { title: one.full }, h("td", {}, box), h(`td${tint}`, {}, tint ? h("i.dot", { "aria-hidden": "true" }) : null, only), h("td.number", {}, latest(one)));
  }

  function drawExemplars(picked) {
    const found = picked.flatMap((one) => exemplarsOf(one, [-Infinity, Infinity], scale(metric, largest((one.exemplars ?? []).map(({ value }) => value))))).sort((a, b) => (BigInt(b.stamp) > BigInt(a.stamp) ? 1 : -1));
    exemplarList.replaceChildren(
      ...(found.length
        ? [h("h2", {}, "Exemplars", h("small", {}, " single measurements with their trace")), h("ol.rows", {}, found.slice(0, 20).map((one) => h("li", {}, h("a.exemplar-row", { href: one.href }, h("time", { datetime: instant(one.stamp) }, clock(one.stamp)), h("b", {}, one.text), h("span", {}, one.name), h("span.go", {}, "trace")))))]
        : []),
    );
  }

  legendFilter.addEventListener("input", () => drawLegend(listable));
  if (filters.range === "all") filters.range = "";
  const element = h(
    "div.view.one-metric",
    {},
    heading,
    about,
    h(
      "div.toolbar",
      {},
      choice("Time", RANGES, filters.range, (value) => set("range", value)),
      serviceChoice(filters.service, (value) => set("service", value)),
      way,
    ),
    body,
    h("div.beneath", {}, legend, exemplarList),
  );
  return { element, title: name, pace: 5000, refresh, keys: {} };
}
