// The whole trace in a strip: where the time went, and which part of it the waterfall shows.

import { colour } from "./colours.js";
import { h } from "./dom.js";

const HEIGHT = 44;
const FEWEST = 24;

/** Return `{element, draw(tree, from, to), repaint()}`; `zoomed(from, to)` is told what a person marked with the pointer. */
export function minimap(zoomed) {
  const canvas = h("canvas", { "aria-hidden": "true" });
  const shadeLeft = h("i.shade");
  const shadeRight = h("i.shade.right");
  const element = h("div.minimap", { hidden: true, title: "Drag to look at a part, double-click for the whole" }, canvas, shadeLeft, shadeRight);
  let tree = null;
  let drawn = "";
  new ResizeObserver(() => tree && paint()).observe(element);
  drag();

  function draw(shown, from, to) {
    if (tree !== shown) drawn = "";
    tree = shown;
    element.hidden = tree.nodes.length < FEWEST;
    shadeLeft.style.setProperty("width", `${(from / tree.length) * 100}%`);
    shadeRight.style.setProperty("width", `${(1 - to / tree.length) * 100}%`);
    element.classList.toggle("part", from > 0 || to < tree.length);
    paint();
  }

  function paint() {
    const width = element.clientWidth;
    if (!width || drawn === String(width)) return;
    drawn = String(width);
    const ratio = devicePixelRatio || 1;
    canvas.width = width * ratio;
    canvas.height = HEIGHT * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const tints = palette();
    const step = (HEIGHT - 6) / tree.nodes.length;
    tree.nodes.forEach((node, index) => {
      pen.fillStyle = node.span.status === "error" ? tints.error : tints[colour(node.span.service)];
      pen.fillRect((node.start / tree.length) * width, 3 + index * step, Math.max(1, ((node.end - node.start) / tree.length) * width), Math.max(1, Math.min(3, step)));
    });
  }

  function palette() {
    const probe = element.appendChild(h("i"));
    const found = {};
    for (const name of ["error", ...Array.from({ length: 10 }, (_, index) => `c${index}`)]) {
      probe.className = `tint ${name}`;
      found[name] = getComputedStyle(probe).color;
    }
    probe.remove();
    return found;
  }

  function drag() {
    let start = null;
    const at = (event) => {
      const box = element.getBoundingClientRect();
      return Math.max(0, Math.min(1, (event.clientX - box.left) / box.width)) * tree.length;
    };
    element.addEventListener("pointerdown", (event) => {
      start = at(event);
      element.setPointerCapture(event.pointerId);
    });
    element.addEventListener("pointermove", (event) => {
      const [low, high] = start === null ? [0, 0] : [start, at(event)].sort((a, b) => a - b);
      if (high - low > tree.length * 0.005) zoomed(low, high);
    });
    element.addEventListener("pointerup", () => {
      start = null;
    });
    element.addEventListener("dblclick", () => zoomed(0, tree.length));
  }

  function repaint() {
    drawn = "";
    if (tree) paint();
  }

  return { element, draw, repaint };
}
