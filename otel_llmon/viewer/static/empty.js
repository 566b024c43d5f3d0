// What is said where there is nothing to show, and what to do about it.

import { get } from "./api.js";
import { copyButton, h } from "./dom.js";

function command(text) {
  return h("div.command", {}, h("code", {}, text), copyButton(() => text, "Copy the command"));
}

/** Return the element for a viewer that has received nothing yet. */
export function emptyStore() {
  const steps = h("div");
  const element = h(
    "section.empty",
    {},
    h("i.waiting", { "aria-hidden": "true" }),
    h("h2", {}, "Waiting for the first telemetry"),
    h("p", {}, "This page fills by itself as soon as a program sends OpenTelemetry data here."),
    steps,
  );
  get("/api/status")
    .then((status) => steps.replaceChildren(...instructions(status.otlp_url)))
    .catch(() => {}); // the note on the connection says so already
  return element;
}

function instructions(endpoint) {
  return [
    h("h3", {}, "A Python program, with everything set for you"),
    command("llmon run -- python app.py"),
    h("h3", {}, "Any program with an OpenTelemetry SDK: the endpoint to set"),
    command(`export OTEL_EXPORTER_OTLP_ENDPOINT=${endpoint} OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf`),
    h("p.hint", {}, "Then start it as usual, for example ", h("code", {}, "opentelemetry-instrument python app.py"), ". If nothing appears, ", h("code", {}, "llmon doctor"), " says where it got lost."),
  ];
}

/** Return the element for filters that let nothing through. */
export function nothingFound(noun, clear) {
  return h("section.empty.small", {}, h("h2", {}, `No ${noun} matches these filters`), h("button", { type: "button", onclick: clear }, "Clear the filters"));
}
