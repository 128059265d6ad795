/** One device: each metric over the last minutes, its alerts, and what its status was. */

import { hasCharts, makeChart } from "../chart.js";
import { arrange, fill, flash, h, icon, write } from "../dom.js";
import { number, time, title } from "../format.js";
import { alertLine, empty, panel, renewAges, stateMark } from "./parts.js";

const ALERTS = 20;

/** @typedef {ReturnType<typeof makeMetric>} Metric */

export class Device {
  /** @param {import("../app.js").Context} context */
  constructor(context) {
    this.context = context;
    this.title = "Device";
    this.key = "";
    this.heading = h("h1", {});
    this.state = h("span", { class: "device-state" });
    this.text = h("p", { class: "headline" });
    this.metrics = h("div", { class: "metrics" });
    this.alerts = h("ul", { class: "rows alerts" });
    this.statuses = h("ul", { class: "rows" });
    this.missing = empty("Nothing is known of this device yet.");
    const hint = h(
      "p",
      { class: "notice" },
      "These are simple charts. For zoomable ones, with values under the pointer, install npm and build the package again: ",
      h("code", {}, "pip install --force-reinstall --no-deps ."),
      " puts uPlot beside this page.",
    );
    this.element = h(
      "div",
      { class: "view device" },
      h("p", { class: "crumb" }, h("a", { href: "#devices" }, icon("back"), "All devices")),
      h("div", { class: "device-head" }, this.heading, this.state),
      this.text,
      !hasCharts() && hint,
      this.missing,
      this.metrics,
      h("div", { class: "pair" }, panel("Alerts of this device", this.alerts), panel("Status", this.statuses)),
    );
    /** @type {Map<string, Metric>} */
    this.charts = new Map();
    this.version = -1;
    this.seenAlerts = -1;
    this.seenAt = 0;
  }

  /** @param {string} key */
  enter(key) {
    this.leave();
    this.key = key;
    this.title = `Device ${key}`;
    write(this.heading, this.title);
    this.version = -1;
    this.seenAlerts = -1;
    this.context.live.look(key);
  }

  leave() {
    this.context.live.look(null);
    for (const each of this.charts.values()) each.chart.destroy();
    this.charts.clear();
    this.metrics.replaceChildren();
  }

  repaint() {
    for (const each of this.charts.values()) each.chart.repaint();
  }

  /** @param {number} now */
  update(now) {
    const { store } = this.context;
    const device = store.devices.get(this.key);
    this.missing.hidden = device !== undefined;
    if (device === undefined) return;
    if (this.version !== device.version) {
      this.version = device.version;
      for (const metric of device.metrics.values()) {
        let each = this.charts.get(metric.name);
        if (each === undefined) {
          each = makeMetric(metric, this.charts.size);
          this.charts.set(metric.name, each);
          this.metrics.append(each.element);
        }
        each.update();
      }
      if (this.state.dataset["state"] !== device.state) {
        this.state.dataset["state"] = device.state;
        fill(this.state, stateMark(device.state));
      }
      write(this.text, device.statuses[0]?.reason ?? "");
      const key = `${device.statuses.length} ${device.statuses[0]?.time}`;
      if (this.statuses.dataset["key"] !== `${this.key} ${key}`) {
        this.statuses.dataset["key"] = `${this.key} ${key}`;
        const rows = device.statuses.map((each) =>
          h(
            "li",
            { class: "row" },
            stateMark(each.to),
            h("span", { class: "row-text" }, each.reason),
            h("time", {}, time(each.time)),
          ),
        );
        fill(this.statuses, ...(rows.length ? rows : [h("li", { class: "none" }, "No change was reported.")]));
      }
    }
    if (this.seenAlerts !== store.alertsVersion) {
      this.seenAlerts = store.alertsVersion;
      const rows = store.alerts
        .filter((alert) => alert.device === this.key)
        .slice(0, ALERTS)
        .map((alert) => alertLine(alert, true));
      arrange(this.alerts, rows.length ? rows : [h("li", { class: "none" }, "None in the last minutes.")]);
    }
    if (now - this.seenAt > 5000) {
      this.seenAt = now;
      renewAges(this.alerts, now);
    }
  }
}

/**
 * @param {import("../store.js").Metric} metric
 * @param {number} index
 */
function makeMetric(metric, index) {
  const value = h("span", { class: "value" });
  const range = h("p", { class: "metric-range" });
  const name = title(metric.name);
  const chart = makeChart([{ label: name, color: `data-${(index % 6) + 1}`, fill: true }], {
    format: number,
    height: 150,
    label: `${name} over the last minutes`,
  });
  const head = h(
    "header",
    {},
    h("h2", {}, name),
    h("p", { class: "metric-value" }, value, h("span", { class: "unit" }, metric.unit)),
    range,
  );
  let first = true;
  return {
    element: h("section", { class: "panel metric", "aria-label": name }, head, chart.element),
    chart,
    update() {
      if (write(value, number(metric.value)) && !first) flash(value);
      first = false;
      if (!metric.series.length) return;
      const { least, mean, most } = metric.series.summary();
      write(range, `least ${number(least)} · mean ${number(mean)} · most ${number(most)}`);
      chart.update(metric.series.since(0));
    },
  };
}
