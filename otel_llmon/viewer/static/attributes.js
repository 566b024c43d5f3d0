// Tables of attributes that can be searched and copied, and stack traces.

import { clipped, copyButton, h } from "./dom.js";

/** Return an attribute's value as text; structures as JSON. */
export function written(value) {
  if (typeof value === "string") return value;
  return typeof value === "object" && value !== null ? JSON.stringify(value) : String(value);
}

/** Return text that is JSON inside in its readable form, everything else as it is. */
export function readable(value) {
  const found = written(value);
  if (!/^\s*[[{]/.test(found)) return found;
  try {
    return JSON.stringify(JSON.parse(found), null, 2);
  } catch {
    return found;
  }
}

function line(key, value) {
  const short = Array.isArray(value) && value.every((item) => typeof item !== "object") ? value.join(", ") : null;
  const shown = short ?? (written(value).length > 80 ? readable(value) : written(value));
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, key),
    h("td", {}, clipped(shown, 600, "span.value"), copyButton(() => written(value), `Copy the value of ${key}`)),
  );
}

/** Return a section with a table of attributes, or null without any. `closed` folds it away at first. */
export function attributeTable(title, attributes, { closed = false } = {}) {
  const entries = Object.entries(attributes ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  if (!entries.length) return null;
  const body = h("tbody", {}, entries.map(([key, value]) => line(key, value)));
  const table = h("table.attributes", {}, h("caption.heard", {}, title), body);
  const filter = entries.length > 7 ? h("input.filter", { type: "search", placeholder: `Filter ${entries.length} ${title.toLowerCase()} entries`, "aria-label": `Filter ${title.toLowerCase()}`, autocomplete: "off", spellcheck: "false" }) : null;
  filter?.addEventListener("input", () => {
    const wanted = filter.value.toLowerCase();
    entries.forEach(([key, value], index) => {
      body.rows[index].hidden = !`${key} ${written(value)}`.toLowerCase().includes(wanted);
    });
  });
  return h("details.section", { open: !closed }, h("summary", {}, title, h("small", {}, ` ${entries.length}`)), filter, table);
}

/** Return a stack trace; lines of installed libraries stand back, since the cause is seldom there. */
export function stackTrace(text) {
  let foreign = false;
  const lines = String(text).trimEnd().split("\n").map((content) => {
    if (/^\s+File "/.test(content)) foreign = /site-packages|[/\\]lib[/\\]python\d/.test(content);
    else if (!/^\s/.test(content)) foreign = false;
    return h(foreign ? "span.foreign" : "span", {}, `${content}\n`);
  });
  return h("div.stack", {}, h("pre", { tabindex: "0", "aria-label": "Stack trace" }, lines), copyButton(() => text, "Copy the stack trace"));
}
