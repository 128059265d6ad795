/** The host and the server: gauges of the channel `system`, and what the server counts. */

import { fill, h, write } from "../dom.js";
import { bytes, duration, number, rate, title } from "../format.js";
import { drawSpark, makeSpark } from "../spark.js";
import { empty, makeMeter, panel, tile } from "./parts.js";

/** What is shown as a gauge: how it is written, and whether it is a share of a hundred. */
const GAUGES = /** @type {[string, string, string, (value: number) => string, boolean][]} */ ([
  ["cpu_usage", "CPU", "%", number, true],
  ["memory_usage", "Memory", "%", number, true],
  ["disk_usage", "Disk", "%", number, true],
  ["process_cpu_usage", "CPU of the server", "% of a core", number, true],
  ["process_memory_bytes", "Memory of the server", "", bytes, false],
  ["active_connections", "Connections", "", number, false],
  ["messages_per_second", "Messages out", "/s", rate, false],
  ["load_1m", "Load, 1 min", "", number, false],
  ["network_in_bytes_per_second", "Network in", "/s", bytes, false],
  ["network_out_bytes_per_second", "Network out", "/s", bytes, false],
  ["process_open_fds", "Open descriptors", "", number, false],
  ["uptime_seconds", "Uptime", "", duration, false],
]);

export class System {
  /** @param {import("../app.js").Context} context */
  constructor(context) {
    this.context = context;
    this.title = "System";
    this.seenSystem = -1;
    this.seenStats = -1;
    this.waiting = empty("Waiting for the first figures of this host.");
    this.gauges = GAUGES.map(([name, label, unit, format, share]) => {
      const [spark, meter] = [makeSpark(), makeMeter()];
      const drawing = h("div", { class: "gauge" }, share && meter.element, name !== "uptime_seconds" && spark.element);
      const { element, value } = tile(label, unit, drawing);
      element.hidden = true;
      return { name, format, share, spark, meter, element, value };
    });
    this.others = h("dl", { class: "facts" });
    this.problem = h("p", { class: "notice", hidden: true });
    this.channels = h("tbody");
    this.facts = h("dl", { class: "facts" });
    this.closes = h("dl", { class: "facts" });
    this.producers = h("dl", { class: "facts" });
    const heads = ["Channel", "Published", "Matched", "Delivered", "Conflated", "Bytes out"];
    this.table = h(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "Channels" },
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, ...heads.map((head) => h("th", { scope: "col" }, head)))),
        this.channels,
      ),
    );
    this.counted = h(
      "div",
      { class: "pair" },
      h("div", { class: "stack" }, panel("Channels", this.table), panel("Ended and refused", this.closes)),
      h("div", { class: "stack" }, panel("Connections", this.facts), panel("Producers", this.producers)),
    );
    this.element = h(
      "div",
      { class: "view system" },
      h("h1", {}, "System"),
      h("p", { class: "headline" }, "This host, and what the server counts."),
      this.waiting,
      h("div", { class: "tiles" }, ...this.gauges.map((gauge) => gauge.element)),
      this.others,
      this.problem,
      this.counted,
    );
  }

  enter() {
    this.seenSystem = -1;
    this.seenStats = -1;
  }

  leave() {}

  repaint() {}

  update() {
    const { store, stats, live } = this.context;
    if (this.seenSystem !== store.systemVersion) {
      this.seenSystem = store.systemVersion;
      this.drawGauges();
    }
    if (!store.system.size && live.channels.length && !live.channels.includes("system")) {
      write(this.waiting, "This token does not permit the figures of the host.");
    }
    if (this.seenStats !== stats.version) {
      this.seenStats = stats.version;
      this.problem.hidden = !stats.problem;
      write(this.problem, stats.problem);
      this.counted.hidden = stats.latest === null;
      if (stats.latest !== null) this.drawFigures(stats.latest);
    }
  }

  drawGauges() {
    const { system } = this.context.store;
    this.waiting.hidden = system.size > 0;
    for (const gauge of this.gauges) {
      const metric = system.get(gauge.name);
      gauge.element.hidden = metric === undefined;
      if (metric === undefined || typeof metric.value !== "number") continue;
      write(gauge.value, gauge.format(metric.value));
      if (gauge.share) gauge.meter.set(metric.value);
      drawSpark(gauge.spark, metric.series, 0.2);
    }
    const known = new Set([...GAUGES.map(([name]) => name), "load_5m", "load_15m", "process_threads"]);
    facts(
      this.others,
      [...system.values()]
        .filter((metric) => !known.has(metric.name))
        .map((metric) => [title(metric.name), number(metric.value)]),
    );
  }

  /** @param {Record<string, any>} figures */
  drawFigures(figures) {
    fill(
      this.channels,
      ...Object.entries(figures["channels"]).map(([name, each]) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, name),
          ...[each.publications, each.matched, each.deliveries, each.conflated].map((value) =>
            h("td", {}, number(value)),
          ),
          h("td", {}, bytes(each.bytes)),
        ),
      ),
    );
    facts(this.facts, [
      ["Open", number(figures["active_connections"])],
      ["Since the start", number(figures["total_connections"])],
      ["Average duration", duration(figures["average_connection_duration"])],
      ["Messages received", number(figures["messages_received"])],
      ["Messages sent", number(figures["messages_sent"])],
      ["Over the rate, dropped", number(figures["messages_dropped"])],
      ["Slow readers", number(figures["slow_readers"].behind)],
      ["Waiting for them", bytes(figures["slow_readers"].queued_bytes)],
      ["Subscriptions in the index", number(figures["index"].entries)],
      ["Server running for", duration(figures["uptime"])],
    ]);
    const counts = (/** @type {Record<string, number>} */ all, /** @type {string} */ prefix) =>
      Object.entries(all).map(
        ([name, count]) => /** @type {[string, string]} */ ([`${prefix} ${name.replaceAll("_", " ")}`, number(count)]),
      );
    const ended = [
      ...counts(figures["close_codes"], "Closed with"),
      ...counts(figures["refused"], "Refused:"),
      ...counts(figures["auth_failures"], "Token:"),
      ...counts(figures["http_auth_failures"], "HTTP:"),
    ];
    facts(this.closes, ended.length ? ended : [["Nothing yet", ""]]);
    const parts = { ...figures["producers"], [`backplane ${figures["backplane"].name ?? ""}`]: figures["backplane"] };
    facts(
      this.producers,
      Object.entries(parts).map(([name, each]) => [
        title(name),
        Object.entries(each)
          .filter(([key, value]) => key !== "name" && key !== "ready" && typeof value !== "object")
          .map(([key, value]) => `${key.replaceAll("_", " ")} ${number(value)}`)
          .join(" · ") || "this server alone",
      ]),
    );
  }
}

/**
 * @param {Element} list
 * @param {[string, string][]} rows
 */
function facts(list, rows) {
  fill(list, ...rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}
