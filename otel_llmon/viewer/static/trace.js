// One trace: its waterfall, the panel of the chosen span, and its logs.

import { get } from "./api.js";
import { colour } from "./colours.js";
import { copyButton, h, reconcile, say } from "./dom.js";
import { clock, count, duration, instant, plural } from "./format.js";
import { logCells } from "./logs.js";
import { panel } from "./span.js";
import { grow } from "./tree.js";
import { Waterfall } from "./waterfall.js";
import { written } from "./attributes.js";

const LOGS = 500;

/** Return the view of the trace with the id in the path. */
export function open(context) {
  const id = context.args[0];
  const waterfall = new Waterfall((node) => choose(node));
  const heading = h("div.heading", {}, h("h1", {}, "…"));
  const tools = toolbar();
  const logs = h("ol.rows.trace-logs");
  const logTitle = h("h2", {}, "Logs");
  const logBox = h("section.logs-of-trace", { hidden: true, "aria-label": "Logs of this trace" }, logTitle, logs);
  const side = h("div.side", { hidden: true });
  const main = h("div.stage", {}, h("div.left", {}, waterfall.element, logBox), side);
  const element = h("div.view.one-trace", {}, heading, tools, main);
  let trace = null;
  let tree = null;
  let records = [];
  let drawn = "";

  async function load() {
    try {
      const [found, { logs: said }] = await Promise.all([get(`/api/traces/${encodeURIComponent(id)}`), get("/api/logs", { trace_id: id, limit: LOGS })]);
      const state = `${found.spans.length} ${found.duration} ${said.length} ${found.spans.reduce((sum, span) => sum + span.duration, 0)}`;
      if (state === drawn) return;
      drawn = state;
      trace = found;
      records = said.reverse();
      draw();
    } catch (error) {
      if (error.status) missing(error);
    }
  }

  /** Ask for the whole trace again only when its summary says that it grew. */
  async function refresh() {
    if (!trace) return load();
    const [{ traces }, { logs: said }] = await Promise.all([get("/api/traces", { search: id, limit: 1 }), get("/api/logs", { trace_id: id, limit: LOGS })]);
    const found = traces.find((candidate) => candidate.trace_id === id);
    if (found && (found.spans !== trace.spans.length + (trace.more ?? 0) || said.length !== records.length || found.duration !== trace.duration)) await load();
    return undefined;
  }

  function missing(error) {
    if (trace) return;
    element.replaceChildren(h("section.empty.small", {}, h("h2", {}, error.status === 404 ? "This trace is not here" : "The trace cannot be shown"), h("p", { role: "alert" }, error.message), h("a.button", { href: "/" }, "All traces")));
  }

  function draw() {
    const chosen = waterfall.current?.span.span_id ?? context.query.get("span");
    tree = grow(trace);
    const root = tree.roots.find((node) => !node.span.parent_id) ?? tree.roots[0];
    const name = root?.span.name ?? id;
    drawHeading(name, root);
    waterfall.current = tree.byId.get(chosen) ?? null;
    waterfall.show(tree, name);
    drawLogs();
    context.retitle(name);
    if (waterfall.current) waterfall.choose(waterfall.current, { scroll: side.hidden });
  }

  function drawHeading(name, root) {
    const errors = tree.nodes.filter((node) => node.span.status === "error").length;
    const services = [...new Set(tree.nodes.map((node) => node.span.service))];
    heading.replaceChildren(
      h("h1", {}, h("a.back", { href: "/", "aria-label": "Back to the list", title: "Back (Esc)", onclick: (event) => (event.preventDefault(), event.stopPropagation(), context.back("/")) }, "←"), h("span", {}, name)),
      h("p.meta", {}, h("b", {}, duration(trace.duration)), h("span", {}, plural(tree.nodes.length, "span")), errors ? h("span.badge.error", {}, h("b", { "aria-hidden": "true" }, "! "), plural(errors, "error")) : null, h("time", { datetime: instant(trace.start), title: instant(trace.start) }, clock(trace.start)), trace.more ? h("em", {}, `and ${count(trace.more)} more that are not shown`) : null, root && root.orphan ? h("em", {}, "root not arrived") : null, h("span.id", {}, h("code", {}, id), copyButton(() => id, "Copy the trace id"))),
      h("ul.legend", { "aria-label": "Services" }, services.slice(0, 12).map((service) => h(`li.${colour(service)}`, {}, h("i.dot", { "aria-hidden": "true" }), service || "unknown")), services.length > 12 ? h("li", {}, `and ${services.length - 12} more`) : null),
    );
    tools.querySelector(".next-error").hidden = !errors;
    tools.querySelector(".next-llm").hidden = !tree.nodes.some((node) => node.span.llm);
  }

  function toolbar() {
    const find = h("input", { type: "search", placeholder: "Find in this trace", "aria-label": "Find spans of this trace", autocomplete: "off", spellcheck: "false", "aria-keyshortcuts": "/" });
    const found = h("span.summary");
    find.addEventListener("input", () => {
      const number = waterfall.mark(matcher(find.value));
      found.textContent = find.value.trim() ? plural(number, "span") : "";
    });
    find.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && find.value.trim()) waterfall.next((node) => waterfall.found?.has(node));
    });
    const button = (label, title, work, extra = "") => h(`button${extra}`, { type: "button", title, onclick: work }, label);
    return h(
      "div.toolbar",
      {},
      h("div.search", { role: "search" }, find, h("kbd", { "aria-hidden": "true" }, "/")),
      found,
      h("span.spring"),
      button("Next error", "Next span with an error (e)", nextError, ".next-error"),
      button("Next model call", "Next call of a model (n)", nextModel, ".next-llm"),
      button("Fold", "Fold everything", () => waterfall.foldAll(true)),
      button("Unfold", "Unfold everything", () => waterfall.foldAll(false)),
      button("Whole time", "Show the whole time (0)", () => waterfall.zoom(0, tree.length), ".whole"),
    );
  }

  function matcher(text) {
    const wanted = text.trim().toLowerCase();
    if (!wanted) return null;
    return ({ span }) => [span.name, span.service, span.message, span.span_id, ...Object.entries(span.attributes).map(([key, value]) => `${key} ${written(value)}`)].some((held) => held?.toLowerCase().includes(wanted));
  }

  function nextError() {
    if (!waterfall.next((node) => node.span.status === "error")) say("No span has an error");
  }

  function nextModel() {
    if (!waterfall.next((node) => node.span.llm)) say("No span is a call of a model");
  }

  function choose(node) {
    const top = side.firstElementChild?.dataset.key === node.span.span_id ? side.scrollTop : 0;
    const shown = panel(node, trace, records, { close, zoom });
    shown.dataset.key = node.span.span_id;
    side.replaceChildren(shown);
    side.hidden = false;
    side.scrollTop = top;
    for (const row of logs.children) row.classList.toggle("chosen", row.dataset.span === node.span.span_id);
    context.setQuery({ span: node.span.span_id });
  }

  function close() {
    side.hidden = true;
    side.replaceChildren();
    context.setQuery({});
    waterfall.body.focus();
  }

  function zoom() {
    const node = waterfall.current;
    const room = Math.max(1, (node.end - node.start) * 0.03);
    waterfall.zoom(node.start - room, node.end + room);
  }

  function drawLogs() {
    logBox.hidden = !records.length;
    logTitle.textContent = `Logs ${count(records.length)}${records.length === LOGS ? "+" : ""}`;
    const names = new Map(records.map((log, index) => [log, `${index} ${log.time} ${log.span_id}`]));
    reconcile(logs, records, (log) => names.get(log), logRow);
  }

  function logRow(log) {
    const node = tree.byId.get(log.span_id);
    const button = h("button.log", { type: "button", title: node ? `In ${node.span.name}` : "Its span has not arrived", disabled: !node }, logCells(log, trace.start));
    button.addEventListener("click", () => waterfall.choose(tree.byId.get(log.span_id)));
    const row = h("li", {}, button);
    row.dataset.span = log.span_id;
    return row;
  }

  const inTree = (work) => () => tree && work();
  return {
    element,
    title: "Trace",
    pace: 1500,
    fixed: true,
    refresh,
    repaint: () => waterfall.map.repaint(),
    focus: () => waterfall.body.focus({ preventScroll: true }),
    search: () => tools.querySelector("input"),
    leave: () => (side.hidden ? false : (close(), true)),
    keys: {
      j: inTree(() => waterfall.move(1)),
      k: inTree(() => waterfall.move(-1)),
      ArrowDown: inTree(() => waterfall.move(1)),
      ArrowUp: inTree(() => waterfall.move(-1)),
      PageDown: inTree(() => waterfall.move(20)),
      PageUp: inTree(() => waterfall.move(-20)),
      Home: inTree(() => waterfall.move(-1e9)),
      End: inTree(() => waterfall.move(1e9)),
      ArrowRight: inTree(() => waterfall.sideways(true)),
      ArrowLeft: inTree(() => waterfall.sideways(false)),
      Enter: inTree(() => (waterfall.current ? waterfall.fold(waterfall.current) : waterfall.move(1))),
      e: inTree(nextError),
      n: inTree(nextModel),
      z: inTree(() => waterfall.current && zoom()),
      0: inTree(() => waterfall.zoom(0, tree.length)),
    },
  };
}
