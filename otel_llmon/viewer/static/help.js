// The keys, in a dialog.

import { h } from "./dom.js";

const KEYS = [
  ["Everywhere", [["/", "search"], ["t l m", "traces, logs, metrics"], ["p", "pause or resume live updates"], ["d", "light or dark"], ["?", "this list"], ["Esc Backspace", "back"]]],
  ["Lists", [["j k ↓ ↑", "next, previous"], ["Enter", "open"]]],
  ["A trace", [["j k ↓ ↑", "next, previous span"], ["→ ←", "unfold or go in, fold or go out"], ["Enter", "fold or unfold"], ["e", "next span with an error"], ["n", "next call of a model"], ["z 0", "zoom to the span, whole time"]]],
  ["A chart", [["→ ←", "move the reading"]]],
];

let dialog;

/** Show the keys. */
export function openHelp() {
  dialog ??= document.body.appendChild(
    h(
      "dialog",
      { "aria-labelledby": "keys-title" },
      h("h2", { id: "keys-title" }, "Keys"),
      h("div.keys", {}, KEYS.map(([title, keys]) => h("section", {}, h("h3", {}, title), h("dl", {}, keys.map(([names, text]) => h("div", {}, h("dt", {}, names.split(" ").map((name) => h("kbd", {}, name))), h("dd", {}, text))))))),
      h("button", { type: "button", onclick: () => dialog.close() }, "Close"),
    ),
  );
  if (!dialog.open) dialog.showModal();
}
