// Charts over time as SVG: lines, and a heat map. Both have axes in the metric's unit, a crosshair that reads out, and exemplars.

import { h, say, svg } from "./dom.js";
import { clock, ticks } from "./format.js";

const HEIGHT = 240;
const PAD = { top: 10, right: 14, bottom: 24, left: 64 };
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400].map((seconds) => seconds * 1000);

function timeMarks(from, to, wanted) {
  const step = STEPS.find((candidate) => (to - from) / candidate <= wanted) ?? Math.ceil((to - from) / wanted / STEPS.at(-1)) * STEPS.at(-1);
  const shift = new Date(from).getTimezoneOffset() * 60000;
  const marks = [];
  for (let at = Math.ceil((from - shift) / step) * step + shift; at <= to; at += step) marks.push(at);
  return { marks, write: (at) => clock(String(BigInt(Math.round(at)) * 1000000n), 0).slice(0, step < 60000 ? undefined : -3) };
}

/** The frame of a chart; `describe` says how to draw into it. See `lines` and `heat`. */
class Chart {
  constructor(label) {
    this.plot = svg("svg", { height: HEIGHT, role: "group", "aria-label": label });
    this.read = h("div.readout", { hidden: true, "aria-hidden": "true" });
    this.element = h("figure.chart", { tabindex: "0", role: "group", "aria-label": `${label}. Left and right move the reading.` }, this.plot, this.read);
    this.cross = null;
    this.data = null;
    new ResizeObserver(() => this.paint()).observe(this.element);
    this.element.addEventListener("pointermove", (event) => this.#point(event));
    this.element.addEventListener("pointerleave", () => this.#reading(null));
    this.element.addEventListener("blur", () => this.#reading(null));
    this.element.addEventListener("keydown", (event) => this.#step(event));
  }

  draw(data) {
    this.data = data;
    this.paint();
  }

  paint() {
    const width = this.element.clientWidth;
    if (!width || !this.data) return;
    const { range, y } = this.data;
    const [from, to] = range[1] > range[0] ? range : [range[0] - 30000, range[1] + 30000];
    const left = width < 480 ? 52 : PAD.left;
    this.box = { left, right: width - PAD.right, top: PAD.top, bottom: HEIGHT - PAD.bottom, from, to };
    this.x = (time) => left + ((time - from) / (to - from)) * (width - PAD.right - left);
    this.time = (x) => from + ((x - left) / (width - PAD.right - left)) * (to - from);
    this.y = (share) => HEIGHT - PAD.bottom - share * (HEIGHT - PAD.bottom - PAD.top);
    this.plot.setAttribute("width", width);
    const { marks, write } = timeMarks(from, to, Math.max(2, Math.floor(width / 110)));
    this.cross = svg("g.cross", { visibility: "hidden" });
    this.plot.replaceChildren(
      ...y.marks.map(({ at, text }) => svg("g", {}, svg("line.gridline", { x1: left, x2: width - PAD.right, y1: this.y(at), y2: this.y(at) }), svg("text", { x: left - 8, y: this.y(at) + 4, "text-anchor": "end" }, text))),
      ...marks.map((at) => svg("text", { x: this.x(at), y: HEIGHT - 6, "text-anchor": "middle" }, write(at))),
      ...this.data.marks(this),
      this.cross,
      ...(this.data.exemplars ?? []).map((found) => this.#exemplar(found)),
    );
  }

  #exemplar({ time, at, text, href }) {
    const [x, y] = [this.x(time), this.y(Math.max(0, Math.min(1, at)))];
    return svg("a.exemplar", { href, "aria-label": `Exemplar ${text}, to its trace` }, svg("title", {}, `${text}: open its trace`), svg("circle.reach", { cx: x, cy: y, r: 9 }), svg("path", { d: `M${x} ${y - 4.5}L${x + 4.5} ${y}L${x} ${y + 4.5}L${x - 4.5} ${y}Z` }));
  }

  #point(event) {
    if (!this.box) return;
    const box = this.plot.getBoundingClientRect();
    const x = event.clientX - box.left;
    const y = event.clientY - box.top;
    this.#reading(x < this.box.left - 4 || x > this.box.right + 4 ? null : this.time(x), 1 - (y - PAD.top) / (HEIGHT - PAD.top - PAD.bottom));
  }

  #step(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || !this.box) return;
    event.preventDefault();
    event.stopPropagation();
    const beat = (this.box.to - this.box.from) / 60;
    this.#reading(Math.max(this.box.from, Math.min(this.box.to, (this.at ?? (step > 0 ? this.box.from - beat : this.box.to + beat)) + step * beat)), null, true);
  }

  #reading(time, height = null, aloud = false) {
    this.at = time;
    const found = time === null || !this.data ? null : this.data.read(time, height);
    this.read.hidden = !found;
    this.cross?.setAttribute("visibility", found ? "visible" : "hidden");
    if (!found) return;
    const x = this.x(found.time);
    this.cross.replaceChildren(svg("line", { x1: x, x2: x, y1: this.box.top, y2: this.box.bottom }), ...found.dots.map(({ at, tint }) => svg(`circle.${tint}`, { cx: x, cy: this.y(at), r: 3.5 })));
    const stamp = clock(String(BigInt(Math.round(found.time)) * 1000000n), 0);
    this.read.replaceChildren(h("b", {}, stamp), ...found.lines.map(({ tint, name, text }) => h(`p${tint ? `.${tint}` : ""}`, {}, tint ? h("i.dot") : null, h("span", {}, name), h("b", {}, text))));
    const room = this.element.clientWidth;
    const left = x + 14 + this.read.offsetWidth > room ? Math.max(0, x - 14 - this.read.offsetWidth) : x + 14;
    this.read.style.setProperty("transform", `translate(${left}px, 12px)`);
    if (aloud) say(`${stamp}: ${found.lines.map(({ name, text }) => `${name} ${text}`).join(", ")}`);
  }
}

/** Return the index of the point that is nearest to a time. */
function nearest(points, time) {
  let [low, high] = [0, points.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle][0] < time) low = middle + 1;
    else high = middle;
  }
  return low > 0 && time - points[low - 1][0] < points[low][0] - time ? low - 1 : low;
}

/** Return a path of points; of many in one pixel only the first, the last and the extremes are drawn. */
function path(points, x, y) {
  let text = "";
  let pen = "M";
  let column = null;
  const put = ([time, value]) => {
    text += `${pen}${x(time).toFixed(1)} ${y(value).toFixed(1)}`;
    pen = "L";
  };
  const leave = () => {
    if (!column) return;
    for (const point of [...new Set([column.first, column.low, column.high, column.last])].sort((a, b) => a[0] - b[0])) put(point);
    column = null;
  };
  for (const point of points) {
    const [time, value] = point;
    if (value === null) {
      leave();
      pen = "M";
      continue;
    }
    const pixel = Math.round(x(time));
    if (!column || column.pixel !== pixel) {
      leave();
      column = { pixel, first: point, low: point, high: point, last: point };
    } else {
      if (value < column.low[1]) column.low = point;
      if (value > column.high[1]) column.high = point;
      column.last = point;
    }
  }
  leave();
  return text;
}

/**
 * Return a chart of lines with `draw({series: [{name, tint, points}], range, scale, exemplars})`.
 *
 * `scale` writes values (see format.js); exemplars are `{time, value, text, href}`, and one without a value sits on the line.
 */
export function lines(label) {
  const chart = new Chart(label);
  return {
    element: chart.element,
    draw({ series, range, scale, exemplars = [] }) {
      const values = [...series.flatMap(({ points }) => points.map(([, value]) => value)), ...exemplars.map(({ value }) => value)].filter(Number.isFinite);
      const [least, largest] = [values.reduce((a, b) => Math.min(a, b), Infinity), values.reduce((a, b) => Math.max(a, b), -Infinity)];
      const close = least > 0 && largest - least < largest * 0.2 && largest > least;
      const low = values.length && (least < 0 || close) ? least - (largest - least) * 0.1 : 0;
      const marks = ticks(low, values.length ? largest + (largest - low) * 0.06 || low + scale.size : 1, 4, scale.size);
      const top = Math.max(largest === -Infinity ? 1 : largest, marks.at(-1), low + 1e-300) + (largest - low || 1) * 0.02;
      const share = (value) => (value - low) / (top - low);
      chart.draw({
        range,
        y: { marks: marks.map((value) => ({ at: share(value), text: scale.text(value) })) },
        marks: ({ x, y }) =>
          series.flatMap(({ points, tint }) => {
            const drawn = points.filter(([, value]) => value !== null);
            const at = (value) => y(share(value));
            return [svg(`path.line.${tint}`, { d: path(points, x, at) }), ...(drawn.length < 12 ? drawn.map(([time, value]) => svg(`circle.point.${tint}`, { cx: x(time), cy: at(value), r: 2.5 })) : [])];
          }),
        exemplars: exemplars.map((found) => ({ ...found, at: share(found.value) })),
        read(time) {
          const near = series.filter(({ points }) => points.length).map((one) => ({ one, point: one.points[nearest(one.points, time)] }));
          const held = near.filter(({ point }) => point[1] !== null);
          if (!held.length) return null;
          const at = held.map(({ point }) => point[0]).reduce((a, b) => (Math.abs(a - time) <= Math.abs(b - time) ? a : b));
          const here = held.filter(({ point }) => Math.abs(point[0] - at) <= (range[1] - range[0]) / 40 + 1);
          return {
            time: at,
            dots: here.map(({ one, point }) => ({ at: share(point[1]), tint: one.tint })),
            lines: here.toSorted((a, b) => b.point[1] - a.point[1]).slice(0, 12).map(({ one, point }) => ({ tint: one.tint, name: one.name, text: scale.own(point[1]) })),
          };
        },
      });
    },
  };
}

/** Return a heat map with `draw({columns, range, scale, exemplars})`: one cell for each bucket and column of a histogram. */
export function heat(label) {
  const chart = new Chart(label);
  return {
    element: chart.element,
    draw({ columns, range, scale, exemplars = [] }) {
      const all = [...new Set(columns.flatMap(({ edges }) => edges))].sort((a, b) => a - b);
      const used = columns.flatMap(({ edges, buckets }) => buckets.flatMap((number, index) => (number > 0 ? [index === 0 ? -1 : all.indexOf(edges[index - 1]), index === edges.length ? all.length : all.indexOf(edges[index])] : [])));
      const first = Math.max(-1, Math.min(...used, all.length));
      const last = Math.min(all.length, Math.max(...used, first + 1));
      const rows = last - first;
      const share = (index) => (index - first) / rows;
      const place = (value) => {
        const over = all.findIndex((edge) => value <= edge);
        const index = over < 0 ? all.length : over;
        const [below, above] = [all[index - 1] ?? 0, all[index] ?? value];
        return share(index - 1 + (above > below ? Math.max(0, Math.min(1, (value - below) / (above - below))) : 0.5));
      };
      const most = columns.reduce((largest, { buckets }) => Math.max(largest, ...buckets), 0);
      const every = Math.ceil(rows / 8);
      const name = (index) => (index < 0 ? `≤ ${scale.own(all[0] ?? 0)}` : index >= all.length - 1 ? `> ${scale.own(all.at(-1) ?? 0)}` : `${scale.own(all[index])} – ${scale.own(all[index + 1])}`);
      chart.draw({
        range,
        y: { marks: all.map((edge, index) => ({ at: share(index), text: scale.own(edge), index })).filter(({ index, at }) => at >= 0 && at <= 1 && (index - first) % every === 0) },
        marks: ({ x, y }) =>
          columns.flatMap(({ from, to, edges, buckets }) =>
            buckets.flatMap((number, index) => {
              if (number <= 0) return [];
              const low = index === 0 ? -1 : all.indexOf(edges[index - 1]);
              const high = index === edges.length ? all.length : all.indexOf(edges[index]);
              const [left, right, top] = [x(from), x(to), y(share(high))];
              return [svg("rect.cell", { x: left.toFixed(1), y: (top + 0.5).toFixed(1), width: Math.max(1, right - left - 0.6).toFixed(1), height: Math.max(1, y(share(low)) - top - 1).toFixed(1), "fill-opacity": (0.12 + 0.88 * Math.sqrt(number / most)).toFixed(3) })];
            }),
          ),
        exemplars: exemplars.map((found) => ({ ...found, at: place(found.value) })),
        read(time, height) {
          const column = columns.find(({ from, to }) => time >= from && time <= to);
          if (!column) return null;
          const held = column.buckets.map((number, index) => ({ number, low: index === 0 ? -1 : all.indexOf(column.edges[index - 1]) })).filter(({ number }) => number > 0);
          const wanted = height === null ? null : Math.floor(height * rows) + first;
          const shown = held.filter(({ low }) => low === wanted);
          return {
            time: (column.from + column.to) / 2,
            dots: [],
            lines: (shown.length ? shown : held.toReversed().slice(0, 10)).map(({ number, low }) => ({ name: name(low), text: Number.isInteger(number) ? String(number) : number.toFixed(1) })),
          };
        },
      });
    },
  };
}
