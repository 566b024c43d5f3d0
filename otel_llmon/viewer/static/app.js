// The shell around the views: addresses, keys, the note on the connection, the line at the bottom.

import { get, live } from "./api.js";
import { h, legible, paced } from "./dom.js";
import { count, plural, scale } from "./format.js";
import { openHelp } from "./help.js";
import * as logs from "./logs.js";
import * as metric from "./metric.js";
import * as metrics from "./metrics.js";
import * as trace from "./trace.js";
import * as traces from "./traces.js";

const ROUTES = [
  [/^\/(?:traces)?$/, traces, "/"],
  [/^\/trace\/([^/]+)$/, trace, null],
  [/^\/logs$/, logs, "/logs"],
  [/^\/metrics$/, metrics, "/metrics"],
  [/^\/metrics\/(.+)$/, metric, null],
];
const place = document.getElementById("view");
const kept = new Map(); // lists stay as they were left: path to view
let view = null;

const address = () => location.pathname + location.search;

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // typed by hand, with a stray percent sign
  }
}

function context(path, match) {
  return {
    args: match.slice(1).map(decoded),
    query: new URLSearchParams(location.search),
    go,
    back,
    setQuery(values) {
      if (view?.path !== path) return;
      const query = new URLSearchParams(Object.entries(values).filter(([, value]) => value));
      history.replaceState(history.state, "", query.size ? `${path}?${query}` : path);
      view.address = address();
      point();
    },
    retitle(title) {
      if (view?.path === path) document.title = `${legible(title)} · llmon`;
    },
  };
}

/** Go to an address inside the page; `fresh` begins its list anew. */
function go(to, { fresh = false } = {}) {
  if (fresh) kept.delete(new URL(to, location.href).pathname);
  history.pushState({ depth: (history.state?.depth ?? 0) + 1 }, "", to);
  route();
}

/** Go back to where one came from, or to a list when the page was entered here. */
function back(otherwise) {
  if (history.state?.depth > 0) history.back();
  else go(otherwise);
}

function route() {
  const path = location.pathname;
  const [pattern, module, list] = ROUTES.find(([candidate]) => candidate.test(path)) ?? ROUTES[0];
  if (view?.address === address() && view.element.isConnected) return;
  put();
  const old = list ? kept.get(list) : null;
  const same = old && old.address === address();
  view = same ? old : create(module, path, path.match(pattern) ?? [""]);
  if (list) kept.set(list, view);
  place.classList.toggle("fixed", Boolean(view.fixed));
  place.replaceChildren(view.element);
  place.scrollTop = view.scrollTop ?? 0;
  document.title = `${legible(view.title)} · llmon`;
  point();
  if (same && view.focused?.isConnected) view.focused.focus({ preventScroll: true });
  else if (view.focus) view.focus();
  else place.focus({ preventScroll: true });
  fresh();
}

function create(module, path, match) {
  const made = module.open(context(path, match));
  made.path = path;
  made.address = address();
  made.run = paced(async () => {
    try {
      await made.refresh();
    } catch (error) {
      if (error.status !== 0) console.error(error); // while the viewer is away, the note says enough
    }
  }, made.pace);
  return made;
}

/** Remember where the view that is left was. */
function put() {
  if (!view) return;
  view.scrollTop = place.scrollTop;
  view.focused = view.element.contains(document.activeElement) ? document.activeElement : null;
}

/** Mark the part of the page that one is in; a part that was filtered is returned to as it was. */
function point() {
  const area = location.pathname.startsWith("/metrics") ? "/metrics" : location.pathname.startsWith("/logs") ? "/logs" : "/";
  for (const link of document.querySelectorAll("nav a")) {
    link.toggleAttribute("aria-current", false);
    if (link.dataset.path === area) link.setAttribute("aria-current", "page");
    const list = kept.get(link.dataset.path);
    if (list) link.setAttribute("href", list === view ? link.dataset.path : list.address);
  }
}

function fresh() {
  view?.run();
}

// --- what is said at the top and at the bottom

const connection = document.getElementById("connection");
const liveButton = document.getElementById("live");
const bottom = document.getElementById("status");

function drawState() {
  connection.textContent = live.state === "lost" ? "Reconnecting to the viewer…" : "";
  liveButton.setAttribute("aria-pressed", String(live.paused));
  liveButton.classList.toggle("lost", live.state === "lost");
  liveButton.querySelector("span").textContent = live.paused ? (live.missed ? `Paused, ${count(live.missed)} new` : "Paused") : "Live";
}

const drawStatus = paced(async () => {
  const status = await get("/api/status").catch(() => null);
  if (!status) return;
  const full = status.queue.capacity && status.queue.waiting > status.queue.capacity / 2;
  const parts = [
    plural(status.traces, "trace"),
    plural(status.spans, "span"),
    plural(status.logs, "record"),
    plural(status.points, "point"),
    scale({ unit: "By" }, 1).own(status.database.bytes),
  ];
  bottom.replaceChildren(
    ...parts.map((text) => h("span", {}, text)),
    status.rejected ? h("span.warning", { title: "Sent, but malformed or of an unknown form" }, `${count(status.rejected)} rejected`) : "",
    full ? h("span.warning", {}, `${count(status.queue.waiting)} waiting to be stored`) : "",
    h("span.spring"),
    h("span", {}, "OTLP ", h("code", {}, status.otlp_url)),
    h("span", {}, status.version),
  );
}, 2000);

live.addEventListener("state", drawState);
live.addEventListener("change", () => {
  fresh();
  drawStatus();
});
liveButton.addEventListener("click", () => live.pause(!live.paused));
document.getElementById("theme").addEventListener("click", () => window.llmonTheme.toggle());
document.getElementById("help").addEventListener("click", () => openHelp());
addEventListener("themechange", () => view?.repaint?.());
place.addEventListener("scroll", () => view?.scrolled?.(), { passive: true });

// --- links and keys

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a");
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const to = new URL(link.getAttribute("href"), location.href);
  if (to.origin !== location.origin || to.pathname.startsWith("/static/") || to.hash) return;
  event.preventDefault();
  if (to.pathname + to.search !== address()) go(to.pathname + to.search);
});

const COMMON = {
  "/": () => {
    view.search?.()?.focus();
    view.search?.()?.select();
  },
  "?": () => openHelp(),
  t: () => document.querySelector('nav a[data-path="/"]').click(),
  l: () => document.querySelector('nav a[data-path="/logs"]').click(),
  m: () => document.querySelector('nav a[data-path="/metrics"]').click(),
  p: () => live.pause(!live.paused),
  d: () => window.llmonTheme.toggle(),
  Escape: leave,
  Backspace: leave,
};

function leave() {
  if (view.leave?.()) return;
  if (view.path.startsWith("/trace/")) back("/");
  else if (view.path.startsWith("/metrics/")) back("/metrics");
}

document.addEventListener("keydown", (event) => {
  if (event.metaKey || event.ctrlKey || event.altKey || event.defaultPrevented || document.querySelector("dialog[open]")) return;
  const { target, key } = event;
  const typing = target.matches?.("input:not([type=checkbox]), select, textarea");
  if (typing && key === "Escape") target.blur();
  if (typing && !(key === "ArrowDown" && target.type === "search")) return;
  const pressing = key === "Enter" && target.matches?.("a, button, summary, input");
  const scrolling = key.startsWith("Arrow") && target.closest?.(".side");
  const work = pressing || scrolling ? null : (view.keys?.[key] ?? COMMON[key]);
  if (!work) return;
  event.preventDefault();
  work();
});

addEventListener("popstate", route);
if (!history.state) history.replaceState({ depth: 0 }, "");
live.start();
route();
drawState();
drawStatus();
