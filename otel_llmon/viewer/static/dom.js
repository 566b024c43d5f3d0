// Elements are built here and only here; whatever a server says becomes a text node or a plain attribute, never markup.

const SVG = "http://www.w3.org/2000/svg";
const TURNING = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
const READ = new Set(["title", "aria-label"]); // attributes that people read; others must stay as they are

/** Return text with the characters that turn its direction named: unseen they make a name look like another. */
export const legible = (text) => String(text).replace(TURNING, (sign) => `⟨U+${sign.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "vars") for (const [key, number] of Object.entries(value)) element.style.setProperty(key, number);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : READ.has(name) ? legible(value) : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false).map((child) => (child instanceof Node ? child : legible(child))));
  return element;
}

/** Return an element: `h("a.row.new", {href: "/"}, "text", child)`. */
export function h(spec, props, ...children) {
  const [tag, ...classes] = spec.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  return fill(element, props, children);
}

/** Return an SVG element, written like `h`. */
export function svg(spec, props, ...children) {
  const [tag, ...classes] = spec.split(".");
  const element = document.createElementNS(SVG, tag);
  if (classes.length) element.setAttribute("class", classes.join(" "));
  return fill(element, props, children);
}

/** Make `parent` show one child per item, in order; a child whose key stays is kept, with its focus and its state. */
export function reconcile(parent, items, key, make, update = () => {}) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = key(item);
    let child = known.get(name);
    if (child) {
      known.delete(name);
      update(child, item);
    } else {
      child = make(item);
      child.dataset.key = name;
    }
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
  for (const child of known.values()) child.remove();
}

/** Return a button that copies what `text()` returns. */
export function copyButton(text, label) {
  const button = h("button.copy", { type: "button", "aria-label": label, title: label }, h("i", { "aria-hidden": "true" }));
  button.addEventListener("click", async (event) => {
    event.preventDefault();
    event.stopPropagation();
    try {
      await navigator.clipboard.writeText(text());
      say("Copied");
      button.classList.add("done");
      setTimeout(() => button.classList.remove("done"), 1200);
    } catch {
      say("The browser does not let this page copy");
    }
  });
  return button;
}

let spoken;

/** Tell those who hear the page what those who see it have noticed. */
export function say(text) {
  spoken ??= document.body.appendChild(h("p.heard", { role: "status" }));
  spoken.textContent = legible(text);
}

/** Return `text` in an element; past `limit` characters the rest waits behind a button. */
export function clipped(text, limit, spec = "span") {
  if (text.length <= limit) return h(spec, {}, text);
  const shown = h(spec, {}, `${text.slice(0, limit)}…`);
  const more = h("button.more", { type: "button", "aria-expanded": "false" }, `show all ${text.length.toLocaleString("en")} characters`);
  more.addEventListener("click", () => {
    const open = more.getAttribute("aria-expanded") === "true";
    more.setAttribute("aria-expanded", String(!open));
    shown.textContent = legible(open ? `${text.slice(0, limit)}…` : text);
    more.textContent = open ? `show all ${text.length.toLocaleString("en")} characters` : "show less";
  });
  return h("div.clipped", {}, shown, more);
}

/** Return a function that runs `work` at most once in `pause` milliseconds, never twice at a time, and once more after calls in between. */
export function paced(work, pause) {
  let busy = false;
  let again = false;
  return async function run() {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    again = false;
    try {
      await work();
    } finally {
      setTimeout(() => {
        busy = false;
        if (again) run();
      }, pause);
    }
  };
}
