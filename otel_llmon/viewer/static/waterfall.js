// The waterfall of a trace. Only the rows in sight exist, so ten thousand spans cost what forty do.

import { colour } from "./colours.js";
import { h, legible, reconcile } from "./dom.js";
import { compact, duration, ticks } from "./format.js";
import { minimap } from "./minimap.js";
import { visible } from "./tree.js";

const ROW = 26;
const SPARE = 8;
const UNITS = [1, 1e3, 1e6, 1e9, 60e9, 3600e9];

/** Return the short text of a chat's model and tokens, or null. */
function talk({ attributes, llm }) {
  if (!llm) return null;
  const tokens = [attributes["gen_ai.usage.input_tokens"], attributes["gen_ai.usage.output_tokens"]];
  const known = tokens.filter((found) => Number.isFinite(found));
  const used = known.length ? `${known.map(compact).join(" → ")} tok` : "";
  return h("span.llm", { title: "A call of a language model; tokens in → out" }, "LLM", used ? h("small", {}, ` ${used}`) : null);
}

/** The waterfall of one tree; `selected(node)` is told what a person chose. */
export class Waterfall {
  constructor(selected) {
    this.selected = selected;
    this.closed = new Set();
    this.rows = [];
    this.current = null;
    this.found = null;
    this.map = minimap((from, to) => this.zoom(from, to));
    this.axis = h("div.axis", { "aria-hidden": "true" });
    this.grid = h("div.grid", { "aria-hidden": "true" });
    this.lines = h("div.lines", { role: "presentation" });
    this.space = h("div.space", { role: "presentation" }, this.grid, this.lines);
    this.body = h("div.spans", { role: "tree", tabindex: "0", "aria-label": "Spans" }, this.space);
    this.element = h("div.waterfall", {}, this.map.element, h("div.head", {}, h("span", { "aria-hidden": "true" }, "Span"), this.axis), this.body);
    this.body.addEventListener("scroll", () => requestAnimationFrame(() => this.#paint()), { passive: true });
    new ResizeObserver(() => this.#layout()).observe(this.body);
    this.#dragging();
  }

  /** Show a tree; what is folded, chosen and zoomed stays. */
  show(tree, name) {
    const whole = !this.tree || (this.from === 0 && this.to === this.tree.length);
    this.tree = tree;
    this.body.setAttribute("aria-label", `Spans of ${legible(name)}`);
    if (whole) [this.from, this.to] = [0, tree.length];
    this.element.style.setProperty("--indent", `${Math.min(14, 190 / Math.max(1, tree.depth))}px`);
    this.#fold();
  }

  /** Look at a part of the time only. */
  zoom(from, to) {
    const least = Math.max(1, this.tree.length * 1e-6);
    this.from = Math.max(0, Math.min(from, this.tree.length - least));
    this.to = Math.min(this.tree.length, Math.max(to, this.from + least));
    this.#layout();
  }

  #fold() {
    this.rows = visible(this.tree, this.closed);
    this.places = new Map(this.rows.map((node, index) => [node, index]));
    this.space.style.setProperty("height", `${this.rows.length * ROW}px`);
    this.#layout();
  }

  #layout() {
    if (!this.tree) return;
    const width = this.axis.clientWidth || 400;
    const span = this.to - this.from;
    const size = UNITS.findLast((unit) => span >= unit * 2) ?? 1;
    const marks = ticks(this.from, this.to, Math.max(2, Math.min(7, Math.floor(width / 90))), size);
    const at = (time) => `${(((time - this.from) / span) * 100).toFixed(3)}%`;
    this.axis.replaceChildren(...marks.map((time) => h(time - this.from > span * 0.9 ? "span.last" : "span", { vars: { left: at(time) } }, duration(Math.round(time)))));
    this.grid.replaceChildren(...marks.map((time) => h("i", { vars: { left: at(time) } })));
    this.map.draw(this.tree, this.from, this.to);
    this.element.classList.toggle("zoomed", this.from > 0 || this.to < this.tree.length);
    this.#paint();
  }

  #paint() {
    if (!this.tree) return;
    const first = Math.max(0, Math.floor(this.body.scrollTop / ROW) - SPARE);
    const last = Math.min(this.rows.length, Math.ceil((this.body.scrollTop + this.body.clientHeight) / ROW) + SPARE);
    const shown = this.rows.slice(first, last);
    reconcile(this.lines, shown, (node) => node.span.span_id, (node) => this.#row(node), (element, node) => this.#update(element, node));
    if (this.current && this.places.has(this.current)) this.body.setAttribute("aria-activedescendant", `span-${this.current.span.span_id}`);
    else this.body.removeAttribute("aria-activedescendant");
  }

  #row(node) {
    const { span } = node;
    const service = colour(span.service);
    const foreign = !node.parent || node.parent.span.service !== span.service;
    const toggle = node.children.length ? h("i.fold", { "aria-hidden": "true" }) : null;
    const row = h(
      `div.row.${service}`,
      { role: "treeitem", id: `span-${span.span_id}`, "aria-level": node.depth + 1, "aria-label": this.#spoken(node) },
      h(
        "div.label",
        { vars: { "--depth": node.depth } },
        toggle ?? h("i.leaf", { "aria-hidden": "true" }),
        h("i.stripe", { "aria-hidden": "true" }),
        span.status === "error" ? h("b.mark", { title: "error" }, "!") : node.errorsBelow ? h("b.mark.below", { title: "an error below" }, "!") : null,
        h("span.name", { title: span.name }, span.name || "(no name)"),
        talk(span),
        node.orphan ? h("em", { title: `Its parent ${span.parent_id} has not arrived` }, "parent missing") : null,
        foreign ? h("span.of", {}, span.service) : null,
        node.children.length ? h("small.below", { title: "spans below" }, compact(node.below)) : null,
      ),
      h("div.track", {}, h("i.bar"), h("span.took", {}, duration(span.duration))),
    );
    row.addEventListener("click", (event) => {
      if (event.target.classList.contains("fold")) this.fold(node);
      else this.choose(node, { scroll: false });
    });
    row.addEventListener("dblclick", () => this.fold(node));
    this.#update(row, node);
    return row;
  }

  #spoken({ span, errorsBelow, below }) {
    return [span.name, span.service, duration(span.duration), span.status === "error" ? "error" : "", below ? `${below} spans below` : "", errorsBelow ? `${errorsBelow} with an error` : ""].filter(Boolean).join(", ");
  }

  #update(row, node) {
    const { span } = node;
    const scope = this.to - this.from;
    const from = (node.start - this.from) / scope;
    const to = (node.end - this.from) / scope;
    const index = this.places.get(node);
    row.style.setProperty("transform", `translateY(${index * ROW}px)`);
    row.setAttribute("aria-posinset", index + 1);
    row.setAttribute("aria-setsize", this.rows.length);
    row.classList.toggle("chosen", node === this.current);
    row.classList.toggle("failed", span.status === "error");
    row.classList.toggle("dim", this.found !== null && !this.found.has(node));
    row.setAttribute("aria-selected", String(node === this.current));
    if (node.children.length) row.setAttribute("aria-expanded", String(!this.closed.has(span.span_id)));
    const [bar, took] = row.lastElementChild.children;
    const left = Math.max(0, Math.min(1, from));
    const right = Math.max(0, Math.min(1, to));
    bar.style.setProperty("left", `${(left * 100).toFixed(3)}%`);
    bar.style.setProperty("width", `${((right - left) * 100).toFixed(3)}%`);
    bar.hidden = to < 0 || from > 1;
    took.classList.toggle("before", right > 0.8 && left > 0.2);
    took.classList.toggle("inside", right > 0.8 && left <= 0.2);
    took.style.setProperty("--left", `${(left * 100).toFixed(3)}%`);
    took.style.setProperty("--right", `${(right * 100).toFixed(3)}%`);
  }

  /** Fold or unfold what is below a node. */
  fold(node, closed = !this.closed.has(node.span.span_id)) {
    if (!node.children.length) return;
    if (closed) this.closed.add(node.span.span_id);
    else this.closed.delete(node.span.span_id);
    this.#fold();
  }

  /** Fold everything below the roots, or unfold all. */
  foldAll(closed) {
    this.closed = new Set(closed ? this.tree.nodes.filter((node) => node.children.length && node.depth > 0).map((node) => node.span.span_id) : []);
    if (this.current) this.#reveal(this.current);
    this.#fold();
  }

  #reveal(node) {
    for (let above = node.parent; above; above = above.parent) this.closed.delete(above.span.span_id);
  }

  /** Make a node the chosen one, unfolded and in sight. */
  choose(node, { scroll = true, tell = true } = {}) {
    this.current = node;
    if (!this.places.has(node)) {
      this.#reveal(node);
      this.#fold();
    }
    if (scroll) {
      const top = this.places.get(node) * ROW;
      if (top < this.body.scrollTop + ROW) this.body.scrollTop = Math.max(0, top - ROW);
      else if (top > this.body.scrollTop + this.body.clientHeight - 2 * ROW) this.body.scrollTop = top - this.body.clientHeight + 2 * ROW;
    }
    this.#paint();
    if (tell) this.selected(node);
  }

  /** Move the choice by some rows. */
  move(step) {
    if (!this.rows.length) return;
    const at = this.current ? (this.places.get(this.current) ?? -1) : -1;
    this.choose(this.rows[Math.max(0, Math.min(this.rows.length - 1, at + step))]);
  }

  /** Go in (unfold, then to the first child) or out (fold, then to the parent), as trees do. */
  sideways(inward) {
    const node = this.current;
    if (!node) this.move(1);
    else if (inward && this.closed.has(node.span.span_id)) this.fold(node, false);
    else if (inward && node.children.length) this.choose(node.children[0]);
    else if (!inward && node.children.length && !this.closed.has(node.span.span_id)) this.fold(node, true);
    else if (!inward && node.parent) this.choose(node.parent);
  }

  /** Choose the next node after the current one that `wanted` says yes to; return whether there is one. */
  next(wanted) {
    const from = this.current ? this.tree.nodes.indexOf(this.current) + 1 : 0;
    const found = [...this.tree.nodes.slice(from), ...this.tree.nodes.slice(0, from)].find(wanted);
    if (found) this.choose(found);
    return Boolean(found);
  }

  /** Let the nodes that `matches` says no to stand back; null ends that. Returns how many match. */
  mark(matches) {
    this.found = matches ? new Set(this.tree.nodes.filter(matches)) : null;
    this.#paint();
    return this.found?.size ?? 0;
  }

  #dragging() {
    let start = null;
    const veil = h("i.veil", { hidden: true });
    const time = (event) => {
      const box = this.axis.getBoundingClientRect();
      return this.from + Math.max(0, Math.min(1, (event.clientX - box.left) / box.width)) * (this.to - this.from);
    };
    this.axis.addEventListener("pointerdown", (event) => {
      start = time(event);
      this.axis.setPointerCapture(event.pointerId);
      this.axis.append(veil);
    });
    this.axis.addEventListener("pointermove", (event) => {
      if (start === null) return;
      const [low, high] = [start, time(event)].sort((a, b) => a - b);
      const scope = this.to - this.from;
      veil.hidden = false;
      veil.style.setProperty("left", `${((low - this.from) / scope) * 100}%`);
      veil.style.setProperty("width", `${((high - low) / scope) * 100}%`);
    });
    this.axis.addEventListener("pointerup", (event) => {
      const [low, high] = [start, time(event)].sort((a, b) => a - b);
      start = null;
      veil.hidden = true;
      if (high - low > (this.to - this.from) * 0.01) this.zoom(low, high);
    });
    this.axis.addEventListener("dblclick", () => this.zoom(0, this.tree.length));
  }
}
