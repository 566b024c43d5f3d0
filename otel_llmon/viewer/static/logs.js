// Log records: the list of all of them, and one record as it is drawn wherever records are shown.

import { colour } from "./colours.js";
import { h, say } from "./dom.js";
import { emptyStore, nothingFound } from "./empty.js";
import { clock, duration, instant, plural, since } from "./format.js";
import { choice, LiveList, searchBox, serviceChoice } from "./lists.js";
import { attributeTable, stackTrace } from "./attributes.js";

const FILTERS = ["search", "service", "severity"];
const LEVELS = [
  ["", "All severities"],
  ["5", "Debug and above"],
  ["9", "Info and above"],
  ["13", "Warnings and above"],
  ["17", "Errors and above"],
];

/** Return the class of a severity number: trace, debug, info, warn, error or fatal; "none" where a record has none. */
const severityClass = (number) => (number > 0 ? ["trace", "debug", "info", "warn", "error", "fatal"][Math.min(5, Math.floor((number - 1) / 4))] : "none");

const text = (body) => (typeof body === "string" ? body : body === null || body === undefined ? "" : JSON.stringify(body));

/** Return what a record says in one line. */
export const said = (log) => text(log.body) || log.event || log.attributes?.["exception.message"] || "(empty)";

/** Return the cells of a record: when, how severe, from where, what. With `start`, the time counts from there. */
export function logCells(log, start) {
  return [
    h("time", { datetime: instant(log.time), title: instant(log.time) }, start ? `+${duration(Math.max(0, since(log.time, start)))}` : clock(log.time)),
    h(`span.level.${severityClass(log.severity)}`, {}, log.level),
    h(`span.service.${colour(log.service)}`, {}, h("i.dot", { "aria-hidden": "true" }), h("span", {}, log.service || "unknown")),
    h("span.said", {}, log.event ? h("span.badge", {}, log.event) : null, log.event && said(log) === log.event ? null : said(log)),
  ];
}

/** Return everything that a record holds. */
export function logDetails(log) {
  const attributes = { ...log.attributes };
  const stack = attributes["exception.stacktrace"];
  delete attributes["exception.stacktrace"];
  const body = log.body !== null && typeof log.body === "object" ? JSON.stringify(log.body, null, 2) : text(log.body);
  return h(
    "div.details",
    {},
    log.trace_id ? h("p", {}, h("a.button", { href: `/trace/${log.trace_id}${log.span_id ? `?span=${log.span_id}` : ""}` }, "Open its trace")) : null,
    body.length > 120 || body.includes("\n") ? h("pre.body", {}, body) : null,
    stack ? stackTrace(stack) : null,
    attributeTable("Attributes", attributes),
    attributeTable("Resource", log.resource ?? {}, { closed: true }),
  );
}

function row(log) {
  const button = h("button.log", { type: "button", "aria-expanded": "false" }, logCells(log));
  const item = h("li", {}, button);
  if (log.trace_id) item.append(h("a.jump", { href: `/trace/${log.trace_id}${log.span_id ? `?span=${log.span_id}` : ""}`, "aria-label": `Trace of: ${said(log).slice(0, 80)}` }, "trace"));
  button.addEventListener("click", () => {
    const opened = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!opened));
    if (opened) item.querySelector(".details").remove();
    else item.append(logDetails(log));
  });
  return item;
}

/** Records have no id of their own; two that are the same in everything are told apart by their count. */
function named(logs) {
  const seen = new Map();
  for (const log of logs) {
    const name = [log.time, log.service, log.span_id, log.severity, text(log.body)].join("\u0000");
    seen.set(name, (seen.get(name) ?? 0) + 1);
    log.key = `${name}\u0000${seen.get(name)}`;
  }
  return logs;
}

/** Return the view of all log records. */
export function open(context) {
  const filters = Object.fromEntries(FILTERS.map((name) => [name, context.query.get(name) ?? ""]));
  const params = () => ({ ...filters });
  const summary = h("p.summary");
  const list = new LiveList(
    {
      path: "/api/logs",
      field: "logs",
      limit: 100,
      label: "Log records, newest first",
      noun: "record",
      key: (log) => log.key ?? named([log])[0].key,
      time: (log) => log.time,
      row,
      empty: () => (FILTERS.some((name) => filters[name]) ? nothingFound("record", () => context.go("/logs", { fresh: true })) : emptyStore(context)),
    },
    params,
    (logs, more) => {
      summary.textContent = logs.length ? `${plural(logs.length, "record")}${more ? ", more to load" : ""}` : "";
    },
  );
  const set = async (name, value) => {
    filters[name] = value;
    context.setQuery(filters);
    await list.filter(params);
    say(plural(list.items.length, "record"));
  };
  const element = h(
    "div.view.logs",
    {},
    h("h1.heard", {}, "Logs"),
    h(
      "div.toolbar",
      {},
      searchBox("Search the records", filters.search, (value) => set("search", value)),
      serviceChoice(filters.service, (value) => set("service", value)),
      choice("Severity", LEVELS, filters.severity, (value) => set("severity", value)),
      summary,
    ),
    list.element,
  );
  return {
    element,
    title: "Logs",
    pace: 500,
    refresh: () => list.refresh(),
    scrolled: () => list.scrolled(),
    search: () => element.querySelector("input[type=search]"),
    keys: { j: () => list.move(1), k: () => list.move(-1), ArrowDown: () => list.move(1), ArrowUp: () => list.move(-1) },
  };
}
