/** Sparklines: one SVG path each, in a box of 100 by 24 that is stretched to its place. */

import { svg } from "./dom.js";

const WIDTH = 100;
const HEIGHT = 24;
const POINTS = 60;

/** Make an empty one. */
export function makeSpark() {
  const line = svg("path", { class: "spark-line", fill: "none", "vector-effect": "non-scaling-stroke" });
  const area = svg("path", { class: "spark-area", stroke: "none" });
  const box = { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" };
  return { element: svg("svg", box, area, line), line, area };
}

/**
 * Draw the last values of a series. A series that hardly moves is drawn so: its noise is not blown up.
 * @param {ReturnType<typeof makeSpark>} spark
 * @param {import("./series.js").Series} series
 * @param {number} [floor] the least span of the vertical axis, as a share of the values' size
 */
export function drawSpark(spark, series, floor = 0.08) {
  const first = Math.max(0, series.length - POINTS);
  const count = series.length - first;
  if (count < 2) {
    spark.line.setAttribute("d", "");
    spark.area.setAttribute("d", "");
    return;
  }
  let [least, most] = [Infinity, -Infinity];
  for (let i = first; i < series.length; i += 1) {
    least = Math.min(least, series.value(i));
    most = Math.max(most, series.value(i));
  }
  const span = Math.max(most - least, Math.abs(most) * floor, 1e-9);
  const bottom = (least + most - span) / 2;
  let path = "";
  for (let i = first; i < series.length; i += 1) {
    // The newest value stands at the right end, however few there are.
    const x = WIDTH - ((series.length - 1 - i) * WIDTH) / (POINTS - 1);
    const y = HEIGHT - 2 - ((series.value(i) - bottom) / span) * (HEIGHT - 4);
    path += `${path ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
  }
  const left = WIDTH - ((count - 1) * WIDTH) / (POINTS - 1);
  spark.line.setAttribute("d", path);
  spark.area.setAttribute("d", `${path}L${WIDTH} ${HEIGHT}L${left.toFixed(1)} ${HEIGHT}Z`);
}
