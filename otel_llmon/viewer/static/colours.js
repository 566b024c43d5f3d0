// A service keeps its colour: the slot that its name hashes to, or the next free one; remembered in this browser.

const SLOTS = 10;
const taken = load();

function load() {
  try {
    return new Map(Object.entries(JSON.parse(localStorage.getItem("llmon.colours") ?? "{}")));
  } catch {
    return new Map();
  }
}

function hash(text) {
  let value = 2166136261;
  for (const letter of text) value = Math.imul(value ^ letter.codePointAt(0), 16777619);
  return value >>> 0;
}

/** Return the class that gives an element its service's colour, as `--c`. */
export function colour(service) {
  const name = service || "unknown";
  if (!taken.has(name)) {
    const used = new Set(taken.values());
    const first = hash(name) % SLOTS;
    const free = Array.from({ length: SLOTS }, (_, step) => (first + step) % SLOTS).find((slot) => !used.has(slot));
    taken.set(name, free ?? first);
    try {
      localStorage.setItem("llmon.colours", JSON.stringify(Object.fromEntries([...taken].slice(-200))));
    } catch {
      // then it holds until the page is left
    }
  }
  return `c${Number(taken.get(name)) % SLOTS}`;
}

/** Return the class of the n-th series of a chart. */
export const slot = (index) => `c${index % SLOTS}`;
