// A call of a language model: who was asked, what it took, and what was said when content was captured.

import { clipped, copyButton, h } from "./dom.js";
import { count, duration, figures } from "./format.js";
import { readable, written } from "./attributes.js";

const CONTENT = ["gen_ai.system_instructions", "gen_ai.input.messages", "gen_ai.output.messages"];
const OLD_ROLES = { "gen_ai.system.message": "system", "gen_ai.user.message": "user", "gen_ai.assistant.message": "assistant", "gen_ai.tool.message": "tool", "gen_ai.choice": "assistant" };

/** Return a value that is JSON or text of JSON; null when it is neither. */
function structure(value) {
  if (typeof value !== "string") return value ?? null;
  try {
    return JSON.parse(value);
  } catch {
    return null;
  }
}

const list = (value) => (Array.isArray(value) ? value : value === null || value === undefined ? [] : [value]);

/** Return a part of a message as `{kind, title, text}`. */
function part(found) {
  if (typeof found === "string") return { kind: "text", text: found };
  const { type, content, name, arguments: given, response, result } = found ?? {};
  if (type === "tool_call") return { kind: "call", title: `calls ${name ?? "a tool"}`, text: readable(given ?? {}) };
  if (type === "tool_call_response") return { kind: "result", title: "tool result", text: readable(response ?? result ?? "") };
  if (type === "reasoning") return { kind: "reasoning", title: "reasoning", text: written(content ?? "") };
  if (typeof content === "string") return { kind: "text", text: content };
  return { kind: "other", title: type ?? "part", text: readable(found) };
}

function message(found, role) {
  if (typeof found === "string") return { role, parts: [part(found)] };
  const own = found.parts ?? found.content ?? [];
  const calls = list(found.tool_calls).map((call) => ({ type: "tool_call", name: call.function?.name ?? call.name, arguments: structure(call.function?.arguments) ?? call.function?.arguments }));
  return { role: found.role ?? role, finish: found.finish_reason, parts: [...list(own), ...calls].map(part) };
}

/** Return the messages of one holder of attributes: a span, or a log record about it. */
function messagesOf(attributes) {
  const [instructions, input, output] = CONTENT.map((key) => (key in attributes ? (structure(attributes[key]) ?? attributes[key]) : null));
  const system = list(instructions);
  return [
    ...(system.length ? [{ role: "system", parts: system.map(part) }] : []),
    ...list(input).map((found) => message(found, "user")),
    ...list(output).map((found) => message(found, "assistant")),
  ];
}

/** Return the messages that older instrumentations put into one event each. */
function messagesOfEvent(name, attributes, body) {
  if (!Object.hasOwn(OLD_ROLES, name ?? "")) return [];
  const content = body ?? attributes["gen_ai.event.content"] ?? attributes.content ?? attributes;
  const found = structure(content) ?? content;
  const inner = found.message ?? found;
  return [message(typeof inner === "object" ? { content: inner.content, tool_calls: inner.tool_calls, role: inner.role, finish_reason: found.finish_reason } : inner, OLD_ROLES[name])];
}

/** Return all messages of a span, from its attributes, its events, or the log records that belong to it. */
export function messages(span, logs) {
  const own = messagesOf(span.attributes);
  if (own.length) return own;
  const events = span.events.flatMap((event) => [...messagesOf(event.attributes ?? {}), ...messagesOfEvent(event.name, event.attributes ?? {})]);
  if (events.length) return events;
  const records = logs.filter((log) => log.span_id === span.span_id);
  return records.flatMap((log) => [...messagesOf(log.attributes ?? {}), ...messagesOfEvent(log.event, log.attributes ?? {}, log.body)]);
}

function drawn({ role, finish, parts }) {
  const whole = parts.map((found) => found.text).join("\n\n");
  return h(
    `article.message.${["system", "user", "assistant", "tool"].includes(role) ? role : "other"}`,
    {},
    h("header", {}, h("b", {}, role || "message"), finish ? h("small", {}, ` ${finish}`) : null, copyButton(() => whole, `Copy what ${role || "it"} said`)),
    parts.map((found) => h(`div.part.${found.kind}`, {}, found.title ? h("h4", {}, found.title) : null, clipped(found.text || "(empty)", 1200, "pre"))),
  );
}

function fact(term, value) {
  return value === null || value === undefined || value === "" ? null : h(String(value).length > 14 ? "div.broad" : "div", {}, h("dt", {}, term), h("dd", {}, value));
}

function tokens(attributes) {
  const taken = attributes["gen_ai.usage.input_tokens"];
  const given = attributes["gen_ai.usage.output_tokens"];
  if (!Number.isFinite(taken) && !Number.isFinite(given)) return null;
  const cached = attributes["gen_ai.usage.cache_read.input_tokens"];
  const share = (number) => `${((number ?? 0) / Math.max(1, (taken ?? 0) + (given ?? 0))) * 100}%`;
  const said = [Number.isFinite(taken) ? `${count(taken)} in` : "", Number.isFinite(given) ? `${count(given)} out` : ""].filter(Boolean).join(", ");
  return h(
    "div.tokens",
    {},
    h("p", {}, h("b", {}, said), h("span", {}, " tokens", cached ? `, ${count(cached)} from the cache` : "")),
    h("div.meter", { "aria-hidden": "true" }, h("i.taken", { vars: { width: share(taken) } }), h("i.given", { vars: { width: share(given) } })),
  );
}

function speed(span) {
  const given = span.attributes["gen_ai.usage.output_tokens"];
  const first = span.attributes["gen_ai.response.time_to_first_chunk"] ?? 0;
  const seconds = span.duration / 1e9 - first;
  return Number.isFinite(given) && given > 1 && seconds > 0 ? `${figures(given / seconds)} tokens/s` : null;
}

/** Return the section about a model call. */
export function llmSection(span, logs) {
  const a = span.attributes;
  const asked = a["gen_ai.request.model"];
  const answered = a["gen_ai.response.model"];
  const first = a["gen_ai.response.time_to_first_chunk"];
  const said = messages(span, logs);
  return h(
    "section.llm-call",
    {},
    h("h3", {}, "Model call"),
    h(
      "dl.facts",
      {},
      fact("Model", asked ?? answered),
      fact("Provider", a["gen_ai.provider.name"] ?? a["gen_ai.system"]),
      fact("Operation", a["gen_ai.operation.name"]),
      fact("Answered by", answered !== asked ? answered : null),
      fact("First chunk after", Number.isFinite(first) ? duration(first * 1e9) : null),
      fact("Output", speed(span)),
      fact("Finish", list(structure(a["gen_ai.response.finish_reasons"]) ?? a["gen_ai.response.finish_reasons"]).join(", ")),
      fact("Temperature", a["gen_ai.request.temperature"]),
      fact("Error", a["error.type"]),
    ),
    tokens(a),
    said.length
      ? h("div.messages", {}, said.map(drawn))
      : h("p.hint", {}, "What was said was not captured. It stays private unless ", h("code", {}, "OTEL_LLMON_CAPTURE_CONTENT=true"), " is set where the program runs."),
  );
}

/** Is this attribute shown as messages already? */
export const isContent = (key) => CONTENT.includes(key);
