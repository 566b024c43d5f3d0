// The list of traces: the first thing that is seen.

import { colour } from "./colours.js";
import { h, say } from "./dom.js";
import { emptyStore, nothingFound } from "./empty.js";
import { clock, compact, count, duration, instant, parseDuration, plural } from "./format.js";
import { LiveList, searchBox, serviceChoice } from "./lists.js";
import { scatter } from "./scatter.js";

const FILTERS = ["search", "service", "status", "min"];

function errorMark(errors) {
  return errors ? h("span.badge.error", { title: plural(errors, "span") + " with an error" }, h("b", { "aria-hidden": "true" }, "!"), ` ${count(errors)}`, h("span.heard", {}, errors === 1 ? " error" : " errors")) : null;
}

function cells(trace) {
  return [
    h("time", { datetime: instant(trace.start), title: instant(trace.start) }, clock(trace.start)),
    h(`span.service.${colour(trace.service)}`, {}, h("i.dot", { "aria-hidden": "true" }), h("span", {}, trace.service || "unknown")),
    h("span.name", {}, trace.root || "(no name)", trace.complete === false ? h("em", { title: "The root span has not arrived" }, " no root yet") : null),
    h("span.errors", {}, errorMark(trace.errors)),
    h("span.spans", {}, compact(trace.spans), h("span.heard", {}, trace.spans === 1 ? " span" : " spans")),
    h("span.length", {}, h("i.bar", { "aria-hidden": "true", vars: { "--d": trace.duration } }), h("span", {}, duration(trace.duration))),
  ];
}

function row(trace) {
  const link = h("a", { href: `/trace/${encodeURIComponent(trace.trace_id)}` }, cells(trace));
  if (trace.errors) link.classList.add("failed");
  return Object.assign(h("li.trace", {}, link), { drawn: JSON.stringify(trace) });
}

function update(item, trace) {
  const wanted = JSON.stringify(trace);
  if (item.drawn === wanted) return;
  item.drawn = wanted;
  item.firstElementChild.replaceChildren(...cells(trace));
  item.firstElementChild.classList.toggle("failed", trace.errors > 0);
}

/** Return the view of all traces. */
export function open(context) {
  const filters = Object.fromEntries(FILTERS.map((name) => [name, context.query.get(name) ?? ""]));
  const filtered = () => FILTERS.some((name) => filters[name]);
  const params = () => ({ search: filters.search, service: filters.service, status: filters.status, min_duration: parseDuration(filters.min) || null });
  const summary = h("p.summary", { "aria-live": "off" });
  const picture = scatter((trace) => context.go(`/trace/${trace.trace_id}`));

  const list = new LiveList(
    {
      path: "/api/traces",
      field: "traces",
      limit: 50,
      label: "Traces, newest first",
      noun: "trace",
      key: (trace) => trace.trace_id,
      time: (trace) => trace.start,
      row,
      update,
      empty: () => (filtered() ? nothingFound("trace", clear) : emptyStore(context)),
    },
    params,
    (traces, more) => {
      const lengths = traces.map((trace) => trace.duration).sort((a, b) => a - b);
      list.rows.style.setProperty("--longest", Math.max(1, lengths[Math.floor(lengths.length * 0.97)] ?? 1));
      summary.textContent = traces.length ? `${plural(traces.length, "trace")}${more ? ", more to load" : ""}` : "";
      picture.draw(traces);
    },
  );

  const set = async (name, value) => {
    filters[name] = value;
    context.setQuery(filters);
    await list.filter(params);
    say(plural(list.items.length, "trace"));
  };
  function clear() {
    context.go("/", { fresh: true });
  }

  const least = h("input.least", { type: "text", "aria-label": "Minimum duration", placeholder: "min. duration", value: filters.min, spellcheck: "false", autocomplete: "off", title: "For example 250ms, 1.5s, 2m" });
  least.addEventListener("change", () => {
    const bad = Number.isNaN(parseDuration(least.value));
    least.setAttribute("aria-invalid", String(bad));
    if (bad) say("Not a duration; write for example 250ms");
    else set("min", least.value.trim());
  });
  const errors = h("button.toggle", { type: "button", "aria-pressed": String(filters.status === "error") }, "Errors only");
  errors.addEventListener("click", () => {
    const on = filters.status !== "error";
    errors.setAttribute("aria-pressed", String(on));
    set("status", on ? "error" : "");
  });

  const element = h(
    "div.view.traces",
    {},
    h("h1.heard", {}, "Traces"),
    h(
      "div.toolbar",
      {},
      searchBox("Search names, services, attributes, or a trace id", filters.search, (value) => set("search", value)),
      serviceChoice(filters.service, (value) => set("service", value)),
      least,
      errors,
      summary,
    ),
    picture.element,
    h("div.columns", { "aria-hidden": "true" }, ["Time", "Service", "Trace", "", "Spans", "Duration"].map((text) => h("span", {}, text))),
    list.element,
  );
  return {
    element,
    title: "Traces",
    pace: 500,
    refresh: () => list.refresh(),
    scrolled: () => list.scrolled(),
    search: () => element.querySelector("input[type=search]"),
    keys: { j: () => list.move(1), k: () => list.move(-1), ArrowDown: () => list.move(1), ArrowUp: () => list.move(-1) },
  };
}
