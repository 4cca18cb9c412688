// The main figures on a screen: uPlot gives axes, pointer and zoom, the layers are drawn here.
//
// An axis is linear in a place: the logarithm of a value, or of the failure rate 1 - R, or the value itself.

const SCALES = {
  linear: { place: (value) => value, value: (place) => place },
  log: { place: Math.log10, value: (place) => 10 ** place },
  failure: {
    place: (value) => -Math.log10(Math.max(1 - value, 1e-9)),
    value: (place) => 1 - 10 ** -place,
  },
};
const DASHES = { dash: [6, 4], dotted: [2, 3] };
const REACH = 40; // pixels from a pointer to the point that it means
const FONT = '13px "STIX Two Text", Charter, Georgia, serif';

// -- ticks, as rlscale.analysis.figures.style sets them -----------------------------

function ticks(scale, low, high) {
  if (scale === "log") return log_ticks(low, high);
  if (scale === "failure") return failure_ticks(low, high);
  return even_ticks(low, high);
}

function even_ticks(low, high, wanted = 6) {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: Math.max(last - first + 1, 0) }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

function log_ticks(low, high) {
  const span = high - low;
  if (span < 0.3) return even_ticks(10 ** low, 10 ** high, 4).filter((x) => x > 0).map(Math.log10);
  const factors = span < 1 ? [1, 2, 5] : span < 2 ? [1, 3] : [1];
  const step = Math.max(Math.ceil(span / 8), 1);
  const found = [];
  for (let decade = Math.floor(low); decade <= high; decade++) {
    if (decade % step !== 0) continue;
    for (const factor of factors) {
      const place = decade + Math.log10(factor);
      if (place >= low - 1e-9 && place <= high + 1e-9) found.push(place);
    }
  }
  return found;
}

const ROUND_RETURNS = [
  0.9, 0.99, 0.999, 0.9999, 0.5, 0.95, 0.995, 0.9995, 0.8, 0.98, 0.998, 0, 0.2, 0.7, 0.97, 0.96, 0.6, 0.85, 0.93, 0.4,
];

function failure_ticks(low, high) {
  const chosen = [];
  for (const value of ROUND_RETURNS) {
    const place = SCALES.failure.place(value);
    const apart = chosen.every((other) => Math.abs(place - other) > 0.08 * (high - low));
    if (place >= low && place <= high && apart) chosen.push(place);
  }
  if (chosen.length >= 3) return chosen.sort((a, b) => a - b);
  return even_ticks(SCALES.failure.value(low), SCALES.failure.value(high), 5).map(SCALES.failure.place);
}

function tick_text(axis, place) {
  const value = SCALES[axis.scale].value(place);
  if (axis.scale !== "log") return with_minus_sign(String(Number(value.toPrecision(6))));
  return axis.counts ? compact_count(value) : scientific(value, 3);
}

// -- one chart ----------------------------------------------------------------------

/** A colour of the print figures as the page shows it, which may be dark. */
function shown_colour(colour) {
  const own = getComputedStyle(document.documentElement).getPropertyValue(`--c${colour.slice(1)}`).trim();
  return own || colour;
}

function page_colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

class Chart {
  /**
   * @param place the element that holds the chart
   * @param spec axes, layers and marks, from rlscale.analysis.reports.charts
   * @param shown what is switched on, shared by all charts: {sizes, hidden_sizes, hidden_runs, runs}
   */
  constructor(place, spec, shown) {
    this.place = place;
    this.spec = spec;
    this.shown = shown;
    this.layers = spec.layers.map((layer) => this._placed(layer));
    this.limits = { x: this._limits(spec.x), y: this._limits(spec.y) };
    this.hovered = null;
    this.tip = document.createElement("div");
    this.tip.className = "tip";
    this.tip.hidden = true;
    this.plot = new uPlot(this._options(), [this.limits.x, this.limits.y], place);
    this.plot.over.append(this.tip);
    new ResizeObserver(() => this._fit()).observe(place);
  }

  redraw() {
    this.plot.redraw(false, true);
    this._point();
  }

  /** Show a part: `factor` of what is seen, about its middle; all of it without. */
  zoom(factor = null) {
    for (const key of ["x", "y"]) {
      const { min, max } = this.plot.scales[key];
      const half = factor === null ? 0 : (factor * (max - min)) / 2;
      const [low, high] = factor === null ? this.limits[key] : [(min + max) / 2 - half, (min + max) / 2 + half];
      this.plot.setScale(key, { min: low, max: high });
    }
  }

  is_on(layer) {
    if (layer.size !== null && this.shown.hidden_sizes.has(layer.size)) return false;
    if (layer.run === undefined) return !(layer.size !== null && this.shown.runs && this.spec.has_runs);
    return this.shown.runs && !this.shown.hidden_runs.has(layer.run);
  }

  /** The point that a place in pixels means: {layer, i}, or null. */
  nearest(left, top) {
    let best = null;
    let least = REACH ** 2;
    for (const layer of this.layers) {
      if (!(layer.kind === "line" || layer.kind === "dots") || !this.is_on(layer)) continue;
      for (let i = 0; i < layer.px.length; i++) {
        const x = this.plot.valToPos(layer.px[i], "x") - left;
        const y = this.plot.valToPos(layer.py[i], "y") - top;
        if (x * x + y * y < least) {
          least = x * x + y * y;
          best = { layer, i };
        }
      }
    }
    return best;
  }

  /** What there is to say of a point, a line each. */
  said({ layer, i }) {
    const { x, y } = this.spec;
    const lines = [layer.name];
    if (layer.seed) lines[0] += `, seed ${layer.seed}`;
    if (layer.size !== null) lines.push(`${this.shown.sizes[layer.size].label} ${this.shown.unit}`);
    const values = { [x.name]: layer.x[i], ...Object.fromEntries(Object.entries(layer.also).map(([k, v]) => [k, v[i]])), [y.name]: layer.y[i] };
    for (const [name, value] of Object.entries(values)) {
      const text = name === "return" ? typeset_number(value, 4) : name === "C" || name === "I" ? scientific(value, 3) : compact_count(value);
      lines.push(`${name} = ${text}`);
    }
    return lines;
  }

  _placed(layer) {
    const x = SCALES[this.spec.x.scale].place;
    const y = SCALES[this.spec.y.scale].place;
    const placed = { ...layer };
    if (layer.x) placed.px = layer.x.map(x);
    if (layer.y) placed.py = layer.y.map(y);
    if (layer.low) placed.plow = layer.low.map(y);
    if (layer.high) placed.phigh = layer.high.map(y);
    if (layer.at !== undefined) placed.pat = x(layer.at);
    return placed;
  }

  _limits({ scale, limits }) {
    const [low, high] = limits.map(SCALES[scale].place);
    const pad = 0.04 * (high - low || 1);
    return [low - pad, high + pad];
  }

  _height(width) {
    return Math.round(Math.min(Math.max(0.56 * width, 280), 460));
  }

  _fit() {
    const width = this.place.clientWidth;
    if (width > 0 && width !== this.plot.width) this.plot.setSize({ width, height: this._height(width) });
  }

  _options() {
    const width = this.place.clientWidth || 700;
    const axis = (key, given, more) => ({
      scale: key,
      font: FONT,
      stroke: () => page_colour("--ink"),
      grid: { stroke: () => page_colour("--faint"), width: 1 },
      ticks: { stroke: () => page_colour("--faint"), width: 1, size: 5 },
      splits: (_, __, min, max) => ticks(given.scale, min, max),
      values: (_, places) => places.map((place) => tick_text(given, place)),
      ...more,
    });
    const scale = (key) => ({ time: false, auto: false, range: (_, min, max) => [min, max], ...this._initial(key) });
    return {
      width,
      height: this._height(width),
      padding: [12, 14, 0, 0],
      legend: { show: false },
      cursor: {
        y: false,
        x: false,
        points: { show: false },
        drag: { x: true, y: true, uni: 30, dist: 6 },
        bind: { dblclick: () => () => this.zoom() },
      },
      scales: { x: scale("x"), y: scale("y") },
      series: [{}, { show: true, paths: () => null, points: { show: false } }],
      axes: [
        axis("x", this.spec.x, { size: 30 }),
        axis("y", this.spec.y, { size: (_, values) => this._widest(values) }),
      ],
      hooks: { draw: [(u) => this._draw(u)], setCursor: [() => this._point()] },
    };
  }

  _initial(key) {
    const [min, max] = this.limits[key];
    return { min, max };
  }

  _widest(values) {
    const ctx = document.createElement("canvas").getContext("2d");
    ctx.font = FONT;
    return Math.ceil(Math.max(24, ...(values ?? []).map((text) => ctx.measureText(text).width))) + 14;
  }

  _draw(u) {
    const { ctx } = u;
    const ratio = uPlot.pxRatio;
    const at = (places, key) => places.map((place) => u.valToPos(place, key, true));
    ctx.save();
    ctx.beginPath();
    ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
    ctx.clip();
    for (const layer of this.layers) {
      if (!this.is_on(layer)) continue;
      const colour = shown_colour(layer.colour ?? this.shown.sizes[layer.size].colour);
      ctx.globalAlpha = layer.alpha ?? 1;
      ctx.strokeStyle = ctx.fillStyle = colour;
      ctx.lineWidth = (layer.width ?? 1) * ratio;
      ctx.setLineDash((DASHES[layer.dash] ?? []).map((length) => length * ratio));
      if (layer.kind === "vline") stroke(ctx, [at([layer.pat], "x")[0], at([layer.pat], "x")[0]], [u.bbox.top, u.bbox.top + u.bbox.height]);
      else if (layer.kind === "line") stroke(ctx, at(layer.px, "x"), at(layer.py, "y"));
      else if (layer.kind === "band") fill_between(ctx, at(layer.px, "x"), at(layer.plow, "y"), at(layer.phigh, "y"));
      else if (layer.kind === "bars") bars(ctx, at(layer.px, "x"), at(layer.plow, "y"), at(layer.phigh, "y"));
      else dots(ctx, at(layer.px, "x"), at(layer.py, "y"), 2.6 * ratio, layer, page_colour("--paper"));
    }
    ctx.setLineDash([]);
    ctx.globalAlpha = 1;
    if (this.hovered) {
      const { layer, i } = this.hovered;
      ctx.strokeStyle = page_colour("--ink");
      ctx.lineWidth = 1.5 * ratio;
      ctx.beginPath();
      ctx.arc(at([layer.px[i]], "x")[0], at([layer.py[i]], "y")[0], 5 * ratio, 0, 2 * Math.PI);
      ctx.stroke();
    }
    ctx.restore();
  }

  /** Say what lies under the pointer. */
  _point() {
    const { left, top } = this.plot.cursor;
    const found = left >= 0 && top >= 0 ? this.nearest(left, top) : null;
    const changed = found?.layer !== this.hovered?.layer || found?.i !== this.hovered?.i;
    this.hovered = found;
    if (changed) this.plot.redraw(false, false);
    this.tip.hidden = found === null;
    if (found === null) return;
    this.tip.replaceChildren(...this.said(found).map((line) => Object.assign(document.createElement("div"), { textContent: line })));
    const x = this.plot.valToPos(found.layer.px[found.i], "x");
    const y = this.plot.valToPos(found.layer.py[found.i], "y");
    const { clientWidth, clientHeight } = this.plot.over;
    const right = x + 14 + this.tip.offsetWidth > clientWidth;
    this.tip.style.left = `${Math.max(right ? x - 14 - this.tip.offsetWidth : x + 14, 0)}px`;
    this.tip.style.top = `${Math.max(Math.min(y - 10, clientHeight - this.tip.offsetHeight), 0)}px`;
  }
}

function stroke(ctx, x, y) {
  ctx.beginPath();
  x.forEach((at, i) => ctx.lineTo(at, y[i]));
  ctx.stroke();
}

function fill_between(ctx, x, low, high) {
  ctx.beginPath();
  x.forEach((at, i) => ctx.lineTo(at, high[i]));
  for (let i = x.length - 1; i >= 0; i--) ctx.lineTo(x[i], low[i]);
  ctx.fill();
}

function bars(ctx, x, low, high) {
  x.forEach((at, i) => stroke(ctx, [at, at], [low[i], high[i]]));
}

function dots(ctx, x, y, radius, { hollow, shape }, paper) {
  const size = shape === "diamond" ? 1.5 * radius : radius;
  x.forEach((at, i) => {
    ctx.beginPath();
    if (shape === "diamond") {
      ctx.moveTo(at, y[i] - size);
      ctx.lineTo(at + size, y[i]);
      ctx.lineTo(at, y[i] + size);
      ctx.lineTo(at - size, y[i]);
      ctx.closePath();
    } else ctx.arc(at, y[i], size, 0, 2 * Math.PI);
    if (!hollow) return ctx.fill();
    const colour = ctx.fillStyle;
    ctx.fillStyle = paper;
    ctx.fill();
    ctx.fillStyle = colour;
    ctx.stroke();
  });
}

// -- the charts of a page -----------------------------------------------------------

/** Put each chart beside the print figure of its name, with switches that all of them share. */
function start_charts({ sizes, unit, charts }) {
  const shown = { sizes, unit, hidden_sizes: new Set(), hidden_runs: new Set(), runs: false };
  const made = [];
  const redraw = () => {
    made.forEach((chart) => chart.redraw());
    document.querySelectorAll("[data-size]").forEach((chip) => {
      chip.setAttribute("aria-pressed", String(!shown.hidden_sizes.has(Number(chip.dataset.size))));
    });
  };
  for (const [name, spec] of Object.entries(charts)) {
    const place = document.getElementById(`chart-${name}`);
    if (place === null) continue;
    spec.has_runs = spec.layers.some((layer) => layer.run !== undefined);
    place.hidden = false;
    const canvas = element("div", "canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", place.dataset.alt);
    const [x, y] = [element("div", "axis x", spec.x.label), element("div", "axis y", spec.y.label)];
    place.append(switches(spec, shown, redraw), y, canvas, x, legend(spec.marks));
    const chart = new Chart(canvas, spec, shown);
    place.querySelector(".zoom").append(
      button("+", "zoom in", () => chart.zoom(0.5)),
      button("−", "zoom out", () => chart.zoom(2)),
      button("all", "show all", () => chart.zoom()),
    );
    made.push(chart);
  }
  for (const query of ["(prefers-color-scheme: dark)"]) window.matchMedia(query).addEventListener("change", redraw);
  document.documentElement.classList.add("charted");
  redraw();
  return made;
}

/** Chips of the sizes, and, where there are any, the switches of single runs. */
function switches(spec, shown, redraw) {
  const row = element("div", "switches");
  if (spec.layers.some((layer) => layer.size !== null)) {
    const every = button("all", "show all sizes", () => {
      shown.hidden_sizes.clear();
      redraw();
    });
    const none = button("none", "hide all sizes", () => {
      shown.sizes.forEach((_, size) => shown.hidden_sizes.add(size));
      redraw();
    });
    row.append(element("span", "what", shown.unit), every, none);
    shown.sizes.forEach((one, size) => {
      const chip = button(one.label, `show or hide size ${one.label}`, () => {
        if (!shown.hidden_sizes.delete(size)) shown.hidden_sizes.add(size);
        redraw();
      });
      chip.dataset.size = size;
      chip.className = "chip";
      const dot = element("span", "dot");
      dot.style.background = `var(--c${one.colour.slice(1)}, ${one.colour})`;
      chip.prepend(dot);
      row.append(chip);
    });
  }
  row.append(element("span", "zoom"));
  if (!spec.has_runs) return row;
  const both = element("div");
  both.append(row, run_switches(spec, shown, redraw));
  return both;
}

function run_switches(spec, shown, redraw) {
  const runs = spec.layers.filter((layer) => layer.run !== undefined);
  const details = element("details", "runs-shown");
  details.append(element("summary", "", `single runs (${runs.length})`));
  details.addEventListener("toggle", () => {
    shown.runs = details.open;
    redraw();
  });
  const list = element("div", "run-list");
  for (const layer of runs) {
    const label = element("label");
    const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: true });
    box.addEventListener("change", () => {
      if (box.checked) shown.hidden_runs.delete(layer.run);
      else shown.hidden_runs.add(layer.run);
      redraw();
    });
    const seed = layer.seed ? `seed ${layer.seed}` : layer.run;
    label.title = layer.run;
    label.append(box, ` ${shown.sizes[layer.size].label}, ${seed}`);
    list.append(label);
  }
  details.append(list);
  return details;
}

function legend(marks) {
  const row = element("div", "legend");
  for (const { kind, colour, text } of marks) {
    const entry = element("span", "entry");
    const mark = element("span", `mark ${kind}`, kind === "diamond" ? "◆" : "");
    mark.style.color = `var(--c${colour.slice(1)}, ${colour})`;
    entry.append(mark, text);
    row.append(entry);
  }
  return row;
}

function element(tag, kind = "", text = "") {
  const made = document.createElement(tag);
  if (kind) made.className = kind;
  made.textContent = text;
  return made;
}

function button(text, label, pressed) {
  const made = element("button", "", text);
  made.type = "button";
  made.setAttribute("aria-label", label);
  made.addEventListener("click", pressed);
  return made;
}
