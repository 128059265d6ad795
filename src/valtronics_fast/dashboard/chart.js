/**
 * Line charts over time: uPlot's where the build put it beside these files, else small ones of our own.
 */

import { h, svg } from "./dom.js";
import { time } from "./format.js";

/**
 * @typedef {{ label: string, color: string, fill?: boolean }} Line
 * @typedef {{ element: HTMLElement, update(data: number[][]): void, repaint(): void, destroy(): void }} Chart
 * @typedef {{ height?: number, format: (value: number) => string, floor?: number, whole?: boolean, label: string }} Options
 */

const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000];

/** Half the width of a time below a chart, less what there is beside it. */
const HALF_LABEL = 18;

/** @type {any} */
let UPlot = null;

/** Load uPlot, if it is there. */
export async function loadCharts() {
  document.head.append(h("link", { rel: "stylesheet", href: "dashboard/vendor/uPlot.min.css" }));
  try {
    const path = "./vendor/uPlot.esm.js";
    UPlot = (await import(path)).default;
  } catch {
    UPlot = null;
  }
}

/** Whether uPlot is there. */
export function hasCharts() {
  return UPlot !== null;
}

const probe = h("span", { hidden: true });

/**
 * Return what a colour of the style sheet is at present: canvases know no variables.
 * @param {string} name
 */
function colour(name) {
  if (!probe.isConnected) document.body.append(probe);
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}

/**
 * Make a chart. Its data are the times in seconds, then the values of each line.
 * @param {Line[]} lines
 * @param {Options} options
 * @returns {Chart}
 */
export function makeChart(lines, options) {
  return UPlot === null ? plain(lines, options) : plotted(lines, options);
}

/**
 * The span of an axis: with some air, at least as wide as asked for, and never below zero for what is never negative.
 * @param {number} least
 * @param {number} most
 * @param {Options} options
 * @returns {[number, number]}
 */
export function span(least, most, options) {
  if (!Number.isFinite(least) || !Number.isFinite(most)) return [0, 1];
  const size = Math.max(most - least, Math.abs(most) * 0.02, 1e-6);
  const middle = (least + most) / 2;
  const low = middle - size * 0.6;
  const high = middle + size * 0.6;
  return options.floor === undefined
    ? [low, high]
    : [Math.min(options.floor, least), Math.max(most * 1.2, options.floor + 1)];
}

/**
 * The labels of the axis of times; one that would be cut off at the right end is left out.
 * @param {any} plot
 * @param {number[]} at
 */
function clocks(plot, at) {
  const { min, max } = plot.scales.x;
  return at.map((each) => (((max - each) / (max - min)) * plot.width < HALF_LABEL ? "" : time(each * 1000)));
}

/**
 * The width of an axis: that of its longest label.
 * @param {any} _
 * @param {string[] | null} labels
 */
function widest(_, labels) {
  return 14 + 6.5 * Math.max(1, ...(labels ?? []).map((label) => label.length));
}

/**
 * @param {Line[]} lines
 * @param {Options} options
 * @returns {Chart}
 */
function plotted(lines, options) {
  const element = h("div", { class: "chart", role: "img", "aria-label": options.label });
  const height = options.height ?? 160;
  /** @type {any} */
  let plot = null;
  /** @type {number[][]} */
  let data = [[], ...lines.map(() => [])];
  const make = () => {
    const [grid, ink] = [colour("line"), colour("muted")];
    const font = `11px ${getComputedStyle(document.documentElement).fontFamily}`;
    const axis = { stroke: ink, font, ticks: { show: false } };
    return new UPlot(
      {
        width: Math.max(element.clientWidth, 40),
        height,
        padding: [8, 8, 0, 0],
        legend: { show: false },
        cursor: { y: false, points: { size: 7 }, drag: { x: false, y: false } },
        scales: {
          y: {
            range: (/** @type {any} */ _, /** @type {number} */ least, /** @type {number} */ most) =>
              span(least, most, options),
          },
        },
        axes: [
          { ...axis, grid: { show: false }, space: 70, size: 24, values: clocks },
          {
            ...axis,
            grid: { stroke: grid, width: 1 },
            size: widest,
            space: 34,
            ...(options.whole && { incrs: WHOLE }),
            values: (/** @type {any} */ _, /** @type {number[]} */ at) => at.map(options.format),
          },
        ],
        series: [
          {},
          ...lines.map((line) => ({
            label: line.label,
            stroke: colour(line.color),
            fill: line.fill ? colour(`${line.color}-wash`) : undefined,
            width: 1.75,
            points: { show: false },
          })),
        ],
        plugins: [tooltip(lines, options)],
      },
      data,
      element,
    );
  };
  const fit = () => {
    if (element.clientWidth < 40) return;
    if (plot === null) plot = make();
    else plot.setSize({ width: element.clientWidth, height });
  };
  const observer = new ResizeObserver(() => requestAnimationFrame(fit));
  observer.observe(element);
  return {
    element,
    update(fresh) {
      data = fresh;
      plot?.setData(fresh);
    },
    repaint() {
      plot?.destroy();
      plot = null;
      fit();
    },
    destroy() {
      observer.disconnect();
      plot?.destroy();
      plot = null;
    },
  };
}

/**
 * Show the values under the pointer.
 * @param {Line[]} lines
 * @param {Options} options
 */
function tooltip(lines, options) {
  const texts = lines.map(() => document.createTextNode(""));
  const when = h("strong");
  const rows = lines.map((line, i) =>
    h("span", {}, h("i", { class: `swatch swatch-${line.color}` }), texts[i], lines.length > 1 && ` ${line.label}`),
  );
  const box = h("div", { class: "chart-tip", hidden: true }, when, ...rows);
  return {
    hooks: {
      init: (/** @type {any} */ plot) => plot.over.append(box),
      setCursor: (/** @type {any} */ plot) => {
        const { idx, left } = plot.cursor;
        box.hidden = idx === null || idx === undefined || left < 0;
        if (box.hidden) return;
        when.textContent = time(plot.data[0][idx] * 1000);
        texts.forEach((text, i) => {
          const value = plot.data[i + 1][idx];
          text.data = value === null || value === undefined ? "–" : options.format(value);
        });
        const right = left > plot.over.clientWidth / 2;
        box.style.transform = `translateX(${Math.round(left)}px) translateX(${right ? "calc(-100% - 10px)" : "10px"})`;
      },
    },
  };
}

/**
 * @param {Line[]} lines
 * @param {Options} options
 * @returns {Chart}
 */
function plain(lines, options) {
  const [width, height] = [300, options.height ?? 160];
  const paths = lines.map((line) =>
    svg("path", { class: `plain-line stroke-${line.color}`, fill: "none", "vector-effect": "non-scaling-stroke" }),
  );
  const drawing = svg(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", class: "plain-plot", height },
    ...paths,
  );
  const [top, bottom] = [h("span"), h("span")];
  const element = h(
    "div",
    { class: "chart plain", role: "img", "aria-label": options.label },
    drawing,
    h("div", { class: "plain-axis" }, top, bottom),
  );
  return {
    element,
    update(data) {
      const times = data[0] ?? [];
      const values = data
        .slice(1)
        .flat()
        .filter((value) => Number.isFinite(value));
      const [low, high] = span(Math.min(...values), Math.max(...values), options);
      const [first, last] = [times[0] ?? 0, times.at(-1) ?? 1];
      top.textContent = values.length ? options.format(high) : "";
      bottom.textContent = values.length ? options.format(low) : "";
      paths.forEach((path, line) => {
        let text = "";
        times.forEach((at, i) => {
          const value = data[line + 1]?.[i];
          if (value === undefined || value === null) return;
          const x = ((at - first) / (last - first || 1)) * width;
          const y = height - ((value - low) / (high - low)) * height;
          text += `${text ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
        });
        path.setAttribute("d", text);
      });
    },
    repaint() {},
    destroy() {},
  };
}
