// How long the listed traces took, over time: a strip of dots above the list.

import { colour } from "./colours.js";
import { svg, h } from "./dom.js";
import { clock, duration, millis } from "./format.js";

const HEIGHT = 64;
const PAD = 8;

/** Return `{element, draw(traces)}`; the list below says the same in words, so the strip is only for the eye and the pointer. */
export function scatter(opened) {
  const plot = svg("svg", { height: HEIGHT, "aria-hidden": "true" });
  const element = h("div.scatter", { hidden: true }, plot);
  let shown = [];
  new ResizeObserver(() => paint()).observe(element);

  function draw(traces) {
    shown = traces;
    element.hidden = traces.length < 3;
    paint();
  }

  function paint() {
    const width = element.clientWidth;
    if (!width || shown.length < 3) return;
    const times = shown.map((trace) => millis(trace.start));
    const lengths = shown.map((trace) => Math.log10(Math.max(1, trace.duration)));
    const [first, last] = [Math.min(...times), Math.max(...times)];
    const [low, high] = [Math.min(...lengths), Math.max(...lengths)];
    const x = (time) => PAD + 52 + ((time - first) / (last - first || 1)) * (width - 2 * PAD - 52);
    const y = (length) => HEIGHT - PAD - ((length - low) / (high - low || 1)) * (HEIGHT - 2 * PAD);
    plot.setAttribute("width", width);
    plot.replaceChildren(
      svg("text", { x: 4, y: PAD + 6 }, duration(10 ** high)),
      svg("text", { x: 4, y: HEIGHT - PAD + 2 }, duration(10 ** low)),
      ...shown.map((trace, index) => dot(trace, x(times[index]), y(lengths[index]))),
    );
  }

  function dot(trace, x, y) {
    const mark = svg(`circle.${colour(trace.service)}`, { cx: x.toFixed(1), cy: y.toFixed(1), r: trace.errors ? 4 : 3.2 });
    if (trace.errors) mark.classList.add("failed");
    mark.append(svg("title", {}, `${trace.root}, ${trace.service}, ${duration(trace.duration)}, ${clock(trace.start)}`));
    mark.addEventListener("click", () => opened(trace));
    return mark;
  }

  return { element, draw };
}
