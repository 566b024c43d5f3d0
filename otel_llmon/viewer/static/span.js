// The panel of one span: everything that it carries.

import { attributeTable, stackTrace } from "./attributes.js";
import { colour } from "./colours.js";
import { copyButton, h } from "./dom.js";
import { duration, instant, since } from "./format.js";
import { isContent, llmSection } from "./llm.js";
import { logCells, logDetails } from "./logs.js";

function event(found, start) {
  const attributes = { ...found.attributes };
  const stack = attributes["exception.stacktrace"];
  const { "exception.type": kind, "exception.message": message } = attributes;
  if (stack) delete attributes["exception.stacktrace"];
  return h(
    `li.event${kind ? ".exception" : ""}`,
    {},
    h("p", {}, h("b", {}, kind || found.name), h("time", { datetime: instant(found.time), title: instant(found.time) }, ` +${duration(Math.max(0, since(found.time, start)))}`)),
    message ? h("p.message-text", {}, message) : null,
    stack ? stackTrace(stack) : null,
    attributeTable("Event attributes", attributes, { closed: Boolean(kind) }),
  );
}

function section(title, items, open = true) {
  return items.length ? h("details.section", { open }, h("summary", {}, title, h("small", {}, ` ${items.length}`)), h("ul.plain", {}, items)) : null;
}

function link(found) {
  return h("li", {}, h("a", { href: `/trace/${found.trace_id}?span=${found.span_id}` }, h("code", {}, found.trace_id.slice(0, 16), "…")), attributeTable("Link attributes", found.attributes ?? {}));
}

function record(log, start) {
  const item = h("li.small-log", {}, h("details", {}, h("summary", {}, logCells(log, start)), logDetails({ ...log, trace_id: null })));
  return item;
}

/** Return the panel of a node; `logs` are the records of its trace. */
export function panel(node, trace, logs, { close, zoom }) {
  const { span } = node;
  const rest = span.llm ? Object.fromEntries(Object.entries(span.attributes).filter(([key]) => !isContent(key))) : span.attributes;
  const own = logs.filter((log) => log.span_id === span.span_id);
  return h(
    "aside.panel",
    { "aria-label": `Span ${span.name}` },
    h(
      "header",
      {},
      h(`span.service.${colour(span.service)}`, {}, h("i.dot", { "aria-hidden": "true" }), h("span", {}, span.service || "unknown")),
      h("button.icon", { type: "button", "aria-label": "Look at the time of this span only", title: "Zoom to this span (z)", onclick: zoom }, h("i.lens", { "aria-hidden": "true" })),
      h("button.icon.close", { type: "button", "aria-label": "Close the span", title: "Close (Esc)", onclick: close }, "×"),
    ),
    h("h2", {}, span.name || "(no name)"),
    h(
      "dl.facts",
      {},
      h("div", {}, h("dt", {}, "Duration"), h("dd", {}, duration(span.duration))),
      node.children.length ? h("div", {}, h("dt", {}, "Own time"), h("dd", {}, duration(node.own))) : null,
      h("div", {}, h("dt", {}, "Starts at"), h("dd", { title: instant(span.start) }, `+${duration(Math.max(0, node.start))}`)),
      h("div", {}, h("dt", {}, "Kind"), h("dd", {}, span.kind)),
      h("div.broad", {}, h("dt", {}, "Span id"), h("dd", {}, h("code", {}, span.span_id), copyButton(() => span.span_id, "Copy the span id"))),
      span.scope ? h("div", {}, h("dt", {}, "Scope"), h("dd", {}, span.scope)) : null,
    ),
    span.status === "error" ? h("p.failure", {}, h("b", {}, "Error"), span.message ? `: ${span.message}` : "") : null,
    node.orphan ? h("p.hint", {}, "Its parent ", h("code", {}, span.parent_id), " has not arrived.") : null,
    span.llm ? llmSection(span, logs) : null,
    section("Events", span.events.map((found) => event(found, trace.start))),
    attributeTable("Attributes", rest),
    section("Logs", own.map((log) => record(log, trace.start))),
    section("Links", span.links.map(link)),
    attributeTable("Resource", span.resource, { closed: true }),
  );
}
