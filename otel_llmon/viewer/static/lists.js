// A list that is newest first, grows at the top while it is read, and can be extended at the bottom.

import { get } from "./api.js";
import { h, reconcile } from "./dom.js";
import { plural } from "./format.js";

/**
 * The rows of one endpoint.
 *
 * `source` says `path`, `field` (where the answer holds its items), `limit`, `key(item)`, `time(item)`, `row(item)`,
 * `update(row, item)`, `noun`, and `empty(filtered)`, the element for when there is nothing.
 */
export class LiveList {
  constructor(source, params, changed = () => {}) {
    this.source = source;
    this.params = params;
    this.changed = changed;
    this.items = [];
    this.next = null;
    this.fresh = 0;
    this.asked = 0;
    this.rows = h("ol.rows", { "aria-label": source.label });
    this.moreButton = h("button.wide", { type: "button", onclick: () => this.more(), hidden: true }, "Load more");
    this.pill = h("button.pill", { type: "button", hidden: true, onclick: () => this.top() });
    this.note = h("div.note");
    this.element = h("div.list", {}, this.pill, this.rows, this.note, this.moreButton);
  }

  /** The element that scrolls. */
  get scroller() {
    return this.element.closest("main");
  }

  /** Begin again with other filters. */
  async filter(params) {
    this.params = params;
    this.items = [];
    this.next = null;
    await this.refresh();
    this.top();
  }

  /** Ask for the newest items and weave them in; raises nothing, an error is shown in place. */
  async refresh() {
    const turn = ++this.asked;
    try {
      const page = await get(this.source.path, { ...this.params(), limit: this.source.limit });
      if (turn === this.asked) this.#weave(page[this.source.field], page.next);
    } catch (error) {
      if (turn === this.asked && error.status) this.#say(h("p.failure", { role: "alert" }, error.message));
    }
  }

  #weave(newest, next) {
    const { key, time } = this.source;
    const known = new Set(this.items.map(key));
    const arrived = newest.filter((item) => !known.has(key(item)));
    const apart = this.items.length > 0 && arrived.length === newest.length && newest.length === this.source.limit;
    if (apart && this.#away()) {
      this.#offer(Infinity); // more came than one page holds: what is being read stays as it is
      return;
    }
    const here = new Set(newest.map(key));
    const oldest = next === null ? 0n : newest.length ? BigInt(time(newest.at(-1))) : null; // a search may find nothing in its first seconds
    const older = apart ? [] : this.items.filter((item) => (oldest === null || BigInt(time(item)) <= oldest) && !here.has(key(item)));
    const first = this.items.length === 0;
    this.items = [...newest, ...older];
    if (first || apart || older.length === 0) this.next = next;
    this.#draw(first ? new Set() : new Set(arrived.map(key)));
  }

  /** Add the next page at the bottom. */
  async more() {
    this.moreButton.disabled = true;
    try {
      const page = await get(this.source.path, { ...this.params(), limit: this.source.limit, before: this.next });
      const known = new Set(this.items.map(this.source.key));
      this.items = [...this.items, ...page[this.source.field].filter((item) => !known.has(this.source.key(item)))];
      this.next = page.next;
      this.#draw(new Set());
    } catch (error) {
      this.#say(h("p.failure", { role: "alert" }, error.message));
    } finally {
      this.moreButton.disabled = false;
    }
  }

  /** Show the newest. */
  top() {
    this.pill.hidden = true;
    this.fresh = 0;
    this.scroller?.scrollTo({ top: 0 });
    if (this.stale) {
      this.stale = false;
      this.items = [];
      this.refresh();
    }
  }

  /** Is somebody reading or pointing at a row, so that nothing may move? */
  #away() {
    const inside = this.rows.contains(document.activeElement) || this.rows.matches(":hover");
    return Boolean(this.scroller) && (this.scroller.scrollTop > 0 || inside);
  }

  #draw(arrived) {
    const { source, scroller } = this;
    const away = arrived.size > 0 && this.#away();
    const still = away ? this.#landmark() : null;
    const before = still?.getBoundingClientRect().top;
    this.note.replaceChildren();
    reconcile(this.rows, this.items, source.key, (item) => this.#row(item, arrived), source.update);
    if (still?.isConnected) scroller.scrollTop += still.getBoundingClientRect().top - before;
    if (away && scroller.scrollTop > 0) this.#offer(arrived.size);
    this.moreButton.hidden = this.next === null;
    this.moreButton.textContent = this.items.length ? "Load more" : "Search further back";
    if (!this.items.length) this.#say(this.next ? h("p.hint", { role: "status" }, "Nothing found so far; there is more to look through.") : source.empty());
    this.changed(this.items, this.next !== null);
  }

  #row(item, arrived) {
    const row = this.source.row(item);
    if (arrived.has(this.source.key(item))) row.classList.add("fresh");
    return row;
  }

  #landmark() {
    const focused = document.activeElement?.closest?.("ol.rows > li");
    if (focused && this.rows.contains(focused)) return focused;
    const edge = this.scroller.getBoundingClientRect().top;
    return [...this.rows.children].find((row) => row.getBoundingClientRect().bottom > edge);
  }

  #offer(number) {
    this.stale ||= number === Infinity;
    this.fresh += number;
    this.pill.textContent = Number.isFinite(this.fresh) ? `↑ ${plural(this.fresh, `new ${this.source.noun}`)}` : `↑ Many new ${this.source.noun}s`;
    this.pill.hidden = false;
  }

  #say(element) {
    this.note.replaceChildren(element ?? "");
  }

  /** Forget what is offered once the top is in sight. */
  scrolled() {
    if (this.scroller?.scrollTop === 0 && !this.stale) {
      this.pill.hidden = true;
      this.fresh = 0;
    }
  }

  /** Move the focus by some rows; the first move comes from the top. */
  move(step) {
    const links = [...this.rows.querySelectorAll(":scope > li > :first-child")];
    const at = links.findIndex((link) => link.parentElement.contains(document.activeElement));
    const target = links[at < 0 ? 0 : Math.min(links.length - 1, Math.max(0, at + step))];
    target?.focus();
    target?.scrollIntoView({ block: "nearest" });
  }
}

/** Return a search box that calls `changed` a moment after the last letter. */
export function searchBox(label, value, changed) {
  let wait = 0;
  const input = h("input", { type: "search", placeholder: label, "aria-label": label, value: value ?? "", spellcheck: "false", autocomplete: "off", "aria-keyshortcuts": "/" });
  input.addEventListener("input", () => {
    clearTimeout(wait);
    wait = setTimeout(() => changed(input.value.trim()), 180);
  });
  return h("div.search", { role: "search" }, input, h("kbd", { "aria-hidden": "true" }, "/"));
}

/** Return a drop-down list with `[value, text]` options. */
export function choice(label, options, value, changed) {
  const select = h("select", { "aria-label": label }, options.map(([key, text]) => h("option", { value: key }, text)));
  select.value = value ?? "";
  select.addEventListener("change", () => changed(select.value));
  return select;
}

/** Return a list of services that fills itself; one that is asked for is there although it is unknown. */
export function serviceChoice(value, changed) {
  const select = choice("Service", [["", "All services"], ...(value ? [[value, value]] : [])], value, changed);
  const load = async () => {
    const { services } = await get("/api/services");
    const there = new Set([...select.options].map((option) => option.value));
    for (const name of services) if (!there.has(name)) select.append(h("option", { value: name }, name));
  };
  load().catch(() => {}); // the list itself says what is wrong
  select.addEventListener("focus", () => load().catch(() => {}));
  return select;
}
