/** The first view: is all well, how much goes through, and what needs attention. */

import { makeChart } from "../chart.js";
import { arrange, fill, h, svg, write } from "../dom.js";
import { ago, bytes, milliseconds, number, rate } from "../format.js";
import { drawSpark, makeSpark } from "../spark.js";
import { STATES, sortDevices } from "../store.js";
import { alertLine, panel, renewAges, stateMark, tile } from "./parts.js";

const WORST = 6;
const ALERTS = 6;

/** @typedef {import("../store.js").Device} Device */

export class Overview {
  /** @param {import("../app.js").Context} context */
  constructor(context) {
    this.context = context;
    this.title = "Overview";
    this.headline = h("p", { class: "headline" });
    this.problem = h("p", { class: "notice", hidden: true });
    this.share = svg("svg", {
      class: "share",
      viewBox: "0 0 100 8",
      preserveAspectRatio: "none",
      "aria-hidden": "true",
    });
    this.sparks = {
      input: makeSpark(),
      output: makeSpark(),
      behind: makeSpark(),
      lag: makeSpark(),
      connections: makeSpark(),
    };
    const { input, output, behind, lag, connections } = this.sparks;
    this.tiles = {
      devices: tile("Devices", "", this.share),
      connections: tile("Connections", "", connections.element),
      input: tile("Messages in", "/s", input.element),
      output: tile("Messages out", "/s", output.element),
      behind: tile("Slow readers", "", behind.element),
      lag: tile("Event loop lag", "ms", lag.element),
    };
    this.throughput = makeChart(
      [
        { label: "matched", color: "data-2", fill: true },
        { label: "out", color: "data-1" },
        { label: "in", color: "data-3" },
      ],
      { format: rate, floor: 0, height: 190, label: "Messages a second over the last minutes" },
    );
    this.connections = makeChart([{ label: "open", color: "data-1", fill: true }], {
      format: number,
      floor: 0,
      whole: true,
      height: 190,
      label: "Open connections over the last minutes",
    });
    this.worst = h("ul", { class: "rows" });
    this.alerts = h("ul", { class: "rows alerts" });
    const legend = (/** @type {[string, number][]} */ ...lines) =>
      h(
        "p",
        { class: "legend" },
        ...lines.map(([name, color]) => h("span", {}, h("i", { class: `swatch swatch-data-${color}` }), name)),
      );
    this.figures = h(
      "div",
      { class: "charts" },
      panel("Messages a second", legend(["in", 3], ["matched", 2], ["out", 1]), this.throughput.element),
      panel("Connections", legend(["open", 1]), this.connections.element),
    );
    this.element = h(
      "div",
      { class: "view overview" },
      h("h1", {}, "Overview"),
      this.headline,
      this.problem,
      h("div", { class: "tiles" }, ...Object.values(this.tiles).map((each) => each.element)),
      this.figures,
      h("div", { class: "pair" }, panel("Needs attention", this.worst), panel("Latest alerts", this.alerts)),
    );
    this.seenStats = -1;
    this.seenDevices = -1;
    this.seenAlerts = -1;
    this.seenAt = 0;
  }

  enter() {
    this.seenStats = -1;
    this.seenDevices = -1;
    this.seenAlerts = -1;
  }

  leave() {}

  repaint() {
    this.throughput.repaint();
    this.connections.repaint();
  }

  /** @param {number} now */
  update(now) {
    const { store, stats } = this.context;
    if (this.seenDevices !== store.membership) {
      this.seenDevices = store.membership;
      this.drawDevices();
    }
    if (this.seenAlerts !== store.alertsVersion) {
      this.seenAlerts = store.alertsVersion;
      const newest = store.alerts.slice(0, ALERTS).map((alert) => alertLine(alert, true));
      arrange(this.alerts, newest.length ? newest : [h("li", { class: "none" }, "Nothing was reported yet.")]);
    }
    if (this.seenStats !== stats.version) {
      this.seenStats = stats.version;
      this.drawFigures();
    }
    if (now - this.seenAt > 5000) {
      this.seenAt = now;
      renewAges(this.element, now);
    }
  }

  drawDevices() {
    const { store } = this.context;
    const counts = store.counts();
    const total = store.devices.size;
    write(this.tiles.devices.value, number(total));
    write(
      this.tiles.devices.note,
      total ? `${number(counts.online)} online, ${number(total - counts.online)} not` : "none yet",
    );
    let x = 0;
    fill(
      this.share,
      ...STATES.toReversed().map((state) => {
        const width = total ? (counts[state] / total) * 100 : 0;
        const part = svg("rect", { class: `share-${state}`, x, width, height: 8 });
        x += width;
        return part;
      }),
    );
    const ill = [...store.devices.values()].filter((device) => device.state !== "online" && device.state !== "unknown");
    const bad = ill.filter((device) => device.state !== "maintenance").length;
    write(
      this.headline,
      !total
        ? "Waiting for the first device."
        : bad
          ? `${bad} of ${total} devices need attention.`
          : `All ${total} devices are well.`,
    );
    const rows = sortDevices(ill, "trouble")
      .slice(0, WORST)
      .map((device) => this.row(device));
    if (ill.length > WORST)
      rows.push(h("li", { class: "more" }, h("a", { href: "#devices" }, `and ${ill.length - WORST} more`)));
    arrange(this.worst, rows.length ? rows : [h("li", { class: "none" }, "No device needs attention.")]);
  }

  /** @param {Device} device */
  row(device) {
    const said = device.statuses[0];
    const link = h("a", { href: `#devices/${encodeURIComponent(device.key)}` }, `Device ${device.key}`);
    const age = said && h("time", { "data-time": said.time }, ago(said.time, Date.now()));
    return h(
      "li",
      { class: "row" },
      stateMark(device.state),
      link,
      h("span", { class: "row-text" }, said?.reason ?? ""),
      age,
    );
  }

  drawFigures() {
    const { stats } = this.context;
    const { latest } = stats;
    this.problem.hidden = !stats.problem;
    write(this.problem, stats.problem);
    this.figures.hidden = latest === null;
    for (const [name, each] of Object.entries(this.tiles))
      each.element.hidden = name !== "devices" && latest === null && stats.problem !== "";
    if (latest === null) return;
    write(this.tiles.connections.value, number(latest["active_connections"]));
    write(this.tiles.connections.note, `${number(latest["total_connections"])} since the start`);
    write(this.tiles.input.value, rate(stats.last("input")));
    write(this.tiles.input.note, `${rate(stats.last("matched"))}/s matched`);
    write(this.tiles.output.value, rate(stats.last("output")));
    write(this.tiles.output.note, `${bytes(stats.last("bytes"))}/s`);
    write(this.tiles.behind.value, number(latest["slow_readers"].behind));
    write(this.tiles.behind.note, `${bytes(latest["slow_readers"].queued_bytes)} queued`);
    const loop = latest["event_loop"];
    write(this.tiles.lag.value, milliseconds(loop?.lag));
    write(this.tiles.lag.note, `longest ${milliseconds(loop?.longest)} ms`);
    for (const name of /** @type {const} */ (["input", "output", "behind", "lag", "connections"])) {
      drawSpark(this.sparks[name], stats.series[name], 0.2);
    }
    const { input, matched, output, connections } = stats.series;
    const [times, out] = output.since(0);
    if (times.length > 1) this.throughput.update([times, matched.since(0)[1], out, input.since(0)[1]]);
    this.connections.update(connections.since(0));
  }
}
