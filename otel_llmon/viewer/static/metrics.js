// The list of metrics.

import { get } from "./api.js";
import { h, reconcile } from "./dom.js";
import { emptyStore, nothingFound } from "./empty.js";
import { ago, instant, plural } from "./format.js";
import { searchBox } from "./lists.js";

const KINDS = { updowncounter: "up-down counter", exponential_histogram: "histogram", sum: "counter" };

/** Return the name that people have for a kind of metric. */
export const kindName = (kind) => KINDS[kind] ?? kind;

function cells(metric) {
  return [
    h("span.name", {}, h("code", {}, metric.name)),
    h("span.kind", {}, h("span.badge", {}, kindName(metric.kind)), metric.unit && metric.unit !== "1" ? h("span.badge.unit", {}, metric.unit) : null),
    h("span.text", {}, metric.description),
    h("span.services", {}, metric.services.join(", ")),
    h("span.count", {}, plural(metric.series, "series").replace("seriess", "series")),
    h("time", { datetime: instant(metric.last), title: instant(metric.last) }, ago(metric.last)),
  ];
}

/** Return the view of all metrics. */
export function open(context) {
  let wanted = context.query.get("search") ?? "";
  let all = [];
  const rows = h("ol.rows", { "aria-label": "Metrics" });
  const note = h("div.note");
  const summary = h("p.summary", { role: "status" });

  async function refresh() {
    try {
      ({ metrics: all } = await get("/api/metrics"));
      draw();
    } catch (error) {
      if (error.status) note.replaceChildren(h("p.failure", { role: "alert" }, error.message));
    }
  }

  function draw() {
    const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = all.filter((metric) => words.every((word) => `${metric.name} ${metric.description} ${metric.kind} ${metric.unit} ${metric.services.join(" ")}`.toLowerCase().includes(word)));
    reconcile(
      rows,
      shown,
      (metric) => `${metric.name} ${metric.unit} ${metric.kind}`,
      (metric) => h("li.metric", {}, h("a", { href: `/metrics/${encodeURIComponent(metric.name)}` }, cells(metric))),
      (item, metric) => item.firstElementChild.replaceChildren(...cells(metric)),
    );
    summary.textContent = all.length ? plural(shown.length, "metric") : "";
    note.replaceChildren(shown.length ? "" : all.length ? nothingFound("metric", () => context.go("/metrics", { fresh: true })) : emptyStore(context));
  }

  function move(step) {
    const links = [...rows.querySelectorAll("a")];
    const at = links.indexOf(document.activeElement);
    links[at < 0 ? 0 : Math.max(0, Math.min(links.length - 1, at + step))]?.focus();
  }

  const element = h(
    "div.view.metrics",
    {},
    h("h1.heard", {}, "Metrics"),
    h(
      "div.toolbar",
      {},
      searchBox("Search names, descriptions, units, services", wanted, (value) => {
        wanted = value;
        context.setQuery({ search: value });
        draw();
      }),
      summary,
    ),
    rows,
    note,
  );
  return {
    element,
    title: "Metrics",
    pace: 3000,
    refresh,
    search: () => element.querySelector("input[type=search]"),
    keys: { j: () => move(1), k: () => move(-1), ArrowDown: () => move(1), ArrowUp: () => move(-1) },
  };
}
